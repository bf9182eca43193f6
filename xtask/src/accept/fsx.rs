//! fsx: a million random operations on one file, each compared with a copy in memory.
//!
//! Room: xtask. Called by: `accept`. Calls: tests/fsx. NTIO_SEED gives another seed than the date's.

use super::{Mount, Run};
use ntio_fsx::Plan;

pub(super) const RUN: Run = Run {
    name: "fsx",
    shows: "1,000,000 random reads, writes, loads and stores through mappings, truncates, appends, fallocates, O_DIRECT, reopens on a file against a copy",
    needs: &[],
    options: &[],
    act,
};

fn act(mount: &Mount) -> Result<String, String> {
    let seed = super::seed()?;
    let plan = Plan { seed, operations: 1_000_000, most: 1 << 18, longest: 1 << 16, direct: true };
    let done = ntio_fsx::run(&mount.at.join("file"), &plan).map_err(|difference| difference.to_string())?;
    let counts: Vec<String> = done.counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    Ok(format!("seed {seed}; {} MB compared; {}", done.compared / 1_000_000, counts.join(", ")))
}
