//! tar: a large tree goes in and comes out byte for byte, with modes, owners, times, links and holes.
//!
//! Room: xtask. Called by: `accept`.

use super::{Mount, Run, shell};

pub(super) const RUN: Run = Run {
    name: "tar",
    shows: "/usr/share and /usr/include by tar into the mount and out again, compared byte for byte with modes, owners and times",
    needs: &[("tar", "tar"), ("find", "findutils"), ("cmp", "diffutils")],
    options: &[],
    act,
};

fn act(mount: &Mount) -> Result<String, String> {
    // A file that changes meanwhile would be no fault of ours: one archive is made first.
    let script = format!(
        r#"
cd {scratch}
tar -C /usr -cf in.tar --sort=name --ignore-failed-read share/doc share/perl* share/zoneinfo share/man include 2>/dev/null || test $? -eq 1
mkdir -p plain; tar -xpf in.tar -C plain
truncate -s 50M plain/sparse; printf x | dd of=plain/sparse bs=1 seek=40000000 conv=notrunc status=none
mkfifo plain/fifo; ln -s 'no where' plain/dangling; touch -d @1 plain/old
rm in.tar; tar -cf in.tar --sort=name -C plain .
tar -xpf in.tar -C {at}
tar -cf out.tar --sort=name -C {at} .
cmp in.tar out.tar
diff -r --no-dereference --exclude=fifo plain {at}; test -p {at}/fifo
echo $(find {at} | wc -l) names, $(stat -c %s in.tar) bytes of archive
rm -rf {at}/* plain in.tar out.tar
test -z "$(ls -A {at})"
"#,
        scratch = mount.scratch.display(),
        at = mount.at.display()
    );
    Ok(shell(&mount.at, &script, 1700)?.trim().to_owned())
}
