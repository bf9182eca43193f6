//! Tasks of the project.
//!
//! Room: xtask. Source: design of the tree, section 9.

mod fixtures;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.split_first() {
        Some((task, rest)) if task == "fixtures" => fixtures::run(rest),
        _ => Err("usage: cargo xtask fixtures [--check]".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}
