//! `ntio`: the command line.
//!
//! Room: front/cli. Called by: people, scripts, CI. Calls: `nt_machine`, `ntio_fuse`, `nt_ldr`.
//! Two processes (house rule 10): the supervisor runs the command and owns report and verdict; the server, this program
//! started again with a hidden argument, holds the machine and the drivers and is locked down before one of them runs.
//! Data goes to stdout, messages to stderr. Exit codes: see `verdict`.

mod args;
mod bench;
mod imports;
mod keeper;
mod lockdown;
mod place;
mod rules;
mod server;
mod supervisor;
mod trace;
mod verdict;
mod wire;

use args::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        if error.kind() == clap::error::ErrorKind::InvalidUtf8 {
            verdict::say(&format!("ntio: no UTF-8: {}", args::without_utf8().join(", ")));
        }
        error.exit()
    });
    let done = match cli.command {
        Command::Run(run) => supervisor::run(&run),
        Command::Mount(mount) => supervisor::mount(&mount),
        Command::Load(load) => supervisor::load(&load),
        Command::Imports(imports) => imports::print(&imports),
        Command::Rules(rules) => rules::print(&rules),
        Command::Trace(trace) => trace::print(&trace),
        Command::Bench(bench) => bench::print(&bench),
        Command::Keeper => return ExitCode::from(keeper::keep()),
        Command::Server => return ExitCode::from(server::serve()),
        other => Err(verdict::Failure::usage(format!(
            "the command '{}' is not there yet; there are run, mount, load, imports, rules, trace and bench",
            other.name()
        ))),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            verdict::say(&format!("ntio: {failure}"));
            ExitCode::from(failure.code)
        }
    }
}
