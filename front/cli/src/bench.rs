//! `ntio bench`: our figures as ratios against limits measured in the same run.
//!
//! Room: front/cli. Calls: `nt_bench`.

use crate::args::BenchArgs;
use crate::verdict::{Failure, out};
use std::fmt::Write as _;

pub(crate) fn print(args: &BenchArgs) -> Result<u8, Failure> {
    let bench = match args.what.as_str() {
        "io" => nt_bench::io,
        "ks" => nt_bench::ks,
        name @ ("flt" | "loader" | "fuse") => {
            return Err(Failure::usage(format!(
                "'bench {name}' is not there yet; there are 'bench io' and 'bench ks'"
            )));
        }
        name => return Err(Failure::usage(format!("there is no bench '{name}'; there are 'bench io' and 'bench ks'"))),
    };
    if args.peers {
        return Err(Failure::usage("option '--peers' is not there yet; leave it out"));
    }
    let rows = bench(nt_bench::Effort::FULL).map_err(Failure::broken)?;
    if args.json {
        let json = serde_json::to_string_pretty(&rows).map_err(|error| Failure::broken(error.to_string()))?;
        return out(&(json + "\n"));
    }
    let mut text = String::new();
    for row in &rows {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:<24}{:>8} B {:>9.1} ns   {:<22}{:>9.1} ns  x{:.2}",
            row.name, row.bytes, row.ns, row.limit, row.limit_ns, row.ratio
        );
    }
    out(&text)
}
