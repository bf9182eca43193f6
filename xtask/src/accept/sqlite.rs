//! sqlite: 10,000 transactions in each journal mode, and the integrity check.
//!
//! Room: xtask. Called by: `accept`.

use super::{Mount, Run, shell};

pub(super) const RUN: Run = Run {
    name: "sqlite",
    shows: "10,000 transactions with journal_mode DELETE and WAL, two connections, integrity_check",
    needs: &[("python3", "python3")],
    options: &[],
    act,
};

const SCRIPT: &str = r#"
import sqlite3, time, sys
out = []
for mode in ('DELETE', 'WAL'):
    db = sqlite3.connect(mode + '.db', isolation_level=None)
    assert db.execute('pragma journal_mode=' + mode).fetchone()[0].upper() == mode
    db.execute('create table t(id integer primary key, v text, n int)')
    other = sqlite3.connect(mode + '.db', isolation_level=None)
    begun = time.time()
    for i in range(10000):
        db.execute('begin immediate')
        db.execute('insert into t values(?, ?, ?)', (i, 'x' * (i % 500), i))
        if i % 3 == 0: db.execute('update t set n = n + 1 where id = ?', (i // 2,))
        if i % 7 == 0: db.execute('delete from t where id = ?', (i // 3,))
        db.execute('rollback' if i % 100 == 99 else 'commit')
        if i % 1000 == 500:
            assert other.execute('select max(id) from t').fetchone()[0] == (i if i % 100 != 99 else i - 1)
    took = time.time() - begun
    rows = db.execute('select count(*), sum(id) from t').fetchone()
    db.close(); other.close()
    db = sqlite3.connect(mode + '.db')
    assert db.execute('pragma integrity_check').fetchone()[0] == 'ok'
    kept = set()
    for i in range(10000):
        if i % 100 != 99: kept.add(i)
        if i % 7 == 0 and i % 100 != 99: kept.discard(i // 3)
    assert rows == (len(kept), sum(kept)), rows
    assert db.execute('select count(*), sum(id) from t').fetchone() == rows
    out.append('%s %.0f transactions/s' % (mode, 10000 / took))
print(', '.join(out))
"#;

fn act(mount: &Mount) -> Result<String, String> {
    let script = mount.scratch.join("run.py");
    std::fs::write(&script, SCRIPT).map_err(|error| error.to_string())?;
    Ok(shell(&mount.at, &format!("exec python3 {}", script.display()), 1500)?.trim().to_owned())
}
