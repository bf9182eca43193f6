//! model: random operations on a machine and on a reference model, compared one by one.
//!
//! Room: xtask. Called by: `accept`. Runs `ntio_conformance`'s program of that name, which prints the seed and, of a difference, the shortest
//! list of operations that shows it. NTIO_SEED gives another seed than the date's. The mount is not used: the calls are native.

use super::{Mount, Run};
use std::process::Command;

pub(super) const RUN: Run = Run {
    name: "model",
    shows: "10,000,000 random creates, writes, reads, appends, renames, deletes, locks, cancels and closes on two processes' handles do what a reference model does; another 1,000,000 where requests end in the call",
    needs: &[],
    options: &[],
    act,
};

fn act(mount: &Mount) -> Result<String, String> {
    let seed = super::seed()?;
    let mut figures = Vec::new();
    for (count, more) in [(10_000_000_u64, &[][..]), (1_000_000, &["--inline"][..])] {
        let folder = mount.scratch.join(format!("model{}", more.len()));
        let mut words = vec!["--ops".to_owned(), count.to_string(), "--seed".to_owned(), seed.to_string()];
        words.extend(more.iter().map(|&word| word.to_owned()));
        if mount.volume == "dir" {
            std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            words.extend(["--dir".to_owned(), folder.display().to_string()]);
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["run", "--release", "--quiet", "-p", "ntio_conformance", "--bin", "model", "--"]).args(&words);
        let done = command.current_dir(crate::root()).output().map_err(|error| format!("cargo: {error}"))?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        if !done.status.success() {
            return Err(format!("{}\n{}", done.status, String::from_utf8_lossy(&done.stderr)));
        }
        figures.push(said.lines().last().unwrap_or("").to_owned());
    }
    Ok(figures.join("; "))
}
