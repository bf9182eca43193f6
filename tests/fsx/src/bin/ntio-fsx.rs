//! `ntio-fsx FILE [SEED [OPERATIONS]]`: the exerciser by hand, on any file system.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for people")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default| words.get(at).map_or(Some(default), |word| word.parse().ok());
    let (Some(path), Some(seed), Some(operations)) = (words.first(), number(1, 1), number(2, 100_000)) else {
        eprintln!("usage: ntio-fsx FILE [SEED [OPERATIONS]]");
        return ExitCode::from(2);
    };
    let direct = std::env::var_os("FSX_NO_DIRECT").is_none();
    let plan = ntio_fsx::Plan { seed, operations, most: 1 << 18, longest: 1 << 16, direct };
    match ntio_fsx::run(path.as_ref(), &plan) {
        Ok(done) => {
            println!("{done:?}");
            ExitCode::SUCCESS
        }
        Err(difference) => {
            eprintln!("{difference}");
            ExitCode::FAILURE
        }
    }
}
