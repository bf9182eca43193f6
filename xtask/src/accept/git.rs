//! git: 200 commits with branches, merges and packing; fsck; the host's git on a `dir` volume's folder.
//!
//! Room: xtask. Called by: `accept`.

use super::{Mount, Run, shell};

pub(super) const RUN: Run = Run {
    name: "git",
    shows: "200 commits, branches, a clone, gc; fsck --strict; on dir the host's git finds the folder sound",
    needs: &[("git", "git")],
    options: &[],
    act,
};

const SCRIPT: &str = r#"
export HOME="$PWD" GIT_CONFIG_NOSYSTEM=1
git init -q r; cd r
git config user.email a@b.c; git config user.name n; git config core.fsync all
i=1
while [ $i -le 200 ]; do
  mkdir -p d$((i % 10)); seq $i $((i * 7)) > d$((i % 10))/f$i; echo $i >> log; rm -f d$(((i + 5) % 10))/f$((i - 15))
  git add -A; git commit -qm "commit $i"
  case $((i % 50)) in 0) git checkout -qb side$i HEAD~3; echo side > side$i; git add .; git commit -qm side; git checkout -q -; git merge -q -m merge side$i; git repack -adq;; esac
  i=$((i + 1))
done
git gc -q; git fsck --full --strict
test "$(git rev-list --count HEAD)" -ge 200
test -z "$(git status --porcelain)"
cd ..; git clone -q r c; cd c; git fsck --full --strict; diff -r --exclude=.git . ../r
git -C ../r count-objects -v | tr '\n' ' '
"#;

fn act(mount: &Mount) -> Result<String, String> {
    let said = shell(&mount.at, SCRIPT, 1500)?;
    if let Some(behind) = &mount.behind {
        shell(&behind.join("r"), "git -c safe.directory='*' fsck --full --strict; test -z \"$(git -c safe.directory='*' status --porcelain)\"", 300)
            .map_err(|why| format!("the host's git: {why}"))?;
    }
    Ok(said.lines().last().unwrap_or_default().trim().to_owned())
}
