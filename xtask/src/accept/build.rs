//! cargo build: this workspace, copied into the mount and built there; a second build has nothing to do; what was built runs.
//!
//! Room: xtask. Called by: `accept`.

use super::{Mount, Run, shell};

pub(super) const RUN: Run = Run {
    name: "cargo-build",
    shows: "this workspace built inside the mount (target folder too); a second build is fresh; the result runs from the mount",
    needs: &[("cargo", "cargo"), ("git", "git")],
    options: &[],
    act,
};

fn act(mount: &Mount) -> Result<String, String> {
    let script = format!(
        r#"
git -C {root} archive HEAD | tar -x
cargo build --offline -q -p ntio_cli -p nt_memfs 2>&1
target/debug/ntio --version
again=$(cargo build --offline -v -p ntio_cli -p nt_memfs 2>&1 | grep -c 'Running' || true)
test "$again" = 0 || {{ echo "the second build ran $again commands"; exit 1; }}
touch abi/src/lib.rs
cargo build --offline -v -p nt_abi 2>&1 | grep -q Running || {{ echo "a changed file was not built again"; exit 1; }}
target/debug/ntio rules --json > /dev/null
echo $(du -sm --apparent-size target | cut -f1) MiB in target
"#,
        root = crate::root().display()
    );
    Ok(shell(&mount.at, &script, 1700)?.lines().last().unwrap_or_default().to_owned())
}
