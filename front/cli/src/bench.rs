//! `ntio bench`: our figures as ratios against limits measured in the same run.
//!
//! Room: front/cli. Calls: `nt_bench`, `ntio_fuse::bench`.

use crate::args::BenchArgs;
use crate::verdict::{Failure, out};
use nt_bench::{Effort, Row};
use std::fmt::Write as _;

pub(crate) fn print(args: &BenchArgs) -> Result<u8, Failure> {
    let bench = match args.what.as_str() {
        "io" => nt_bench::io,
        "ks" => nt_bench::ks,
        "fuse" => fuse,
        name @ ("flt" | "loader") => {
            return Err(Failure::usage(format!(
                "'bench {name}' is not there yet; there are 'bench io', 'bench ks' and 'bench fuse'"
            )));
        }
        name => {
            let text = format!("there is no bench '{name}'; there are 'bench io', 'bench ks' and 'bench fuse'");
            return Err(Failure::usage(text));
        }
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
            "{:<34}{:>8} B {:>9.1} ns   {:<22}{:>9.1} ns  x{:.2}",
            row.name, row.bytes, row.ns, row.limit, row.limit_ns, row.ratio
        );
    }
    out(&text)
}

/// The mount beside a FUSE server that only keeps bytes.
fn fuse(effort: Effort) -> Result<Vec<Row>, String> {
    let figures = ntio_fuse::bench::run(effort.rounds.clamp(1, 10))?;
    let row = |figure: &ntio_fuse::bench::Figure| {
        let place = if figure.place == ntio_fuse::bench::Place::One { "one cpu" } else { "two cpus" };
        Row::new(format!("fuse {}, {place}", figure.name), figure.bytes, figure.ns, "bare FUSE server", figure.limit_ns)
    };
    Ok(figures.iter().map(row).collect())
}
