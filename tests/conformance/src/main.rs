//! `cargo run -p ntio_conformance [-- PART-OF-A-NAME]`: the table of cases and doors. `--write`: doors.txt.

use ntio_conformance::table::{self, Way};
use std::io::Write;
use std::process::ExitCode;

const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/doors.txt");

fn main() -> ExitCode {
    let word = std::env::args().nth(1).unwrap_or_default();
    let write = word == "--write";
    let filter = if write { String::new() } else { word };
    let mut columns = Vec::new();
    for way in Way::ALL {
        for refuses in [false, true] {
            match table::column(way, refuses, &filter) {
                Ok(column) => columns.push(column),
                Err(left) => {
                    let _ = writeln!(std::io::stderr(), "{way:?}: {left}");
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    if write && let Err(error) = std::fs::write(LIST, table::doors(&columns)) {
        let _ = writeln!(std::io::stderr(), "{LIST}: {error}");
        return ExitCode::FAILURE;
    }
    let _ = std::io::stdout().write_all(table::print(&columns).as_bytes());
    if columns.iter().any(|column| column.counts().2 != 0) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
