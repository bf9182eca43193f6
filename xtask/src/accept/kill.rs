//! dir-kill: the server of a `dir` volume is killed under load, a hundred times.
//!
//! Room: xtask. Called by: `accept`. Calls: tests/crash, which mounts for itself. NTIO_SEED gives another seed than the date's.

use super::{Mount, Run};
use ntio_crash::Plan;

pub(super) const RUN: Run = Run {
    name: "dir-kill",
    shows: "kill -9 of the server under load on `dir`, 100 times: every file is what a prefix of the acknowledged calls gives, none is missing, and the next mount shows the same; with `--cache behind`, nothing that a completed flush promised is missing",
    needs: &[],
    options: &[],
    act,
};

fn act(mount: &Mount) -> Result<String, String> {
    let seed = super::seed()?;
    let words = if mount.cache.is_empty() { Vec::new() } else { vec!["--cache".to_owned(), mount.cache.clone()] };
    let plan = Plan { program: super::mount::program(), words, behind: mount.cache == "behind", rounds: 100, seed };
    let done = ntio_crash::run(&mount.scratch, &plan)?;
    Ok(if plan.behind {
        format!(
            "seed {seed}; {} kills, {} calls acknowledged, {} flushes and all there that they promised; {} files lacked what came later",
            done.rounds, done.acknowledged, done.flushes, done.lacking
        )
    } else {
        format!(
            "seed {seed}; {} kills, {} calls acknowledged and all there; {} calls were under way, of {} something was there",
            done.rounds, done.acknowledged, done.under_way, done.begun
        )
    })
}
