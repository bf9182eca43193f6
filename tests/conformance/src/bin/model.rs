//! `cargo run --release -p ntio_conformance --bin model -- [--ops N] [--seed N] [--dir PATH] [--inline]`: the model test at any length.

use nt_io::system::AsyncPolicy;
use nt_machine::{NtStatus, VolumeSpec};
use ntio_conformance::model::{self, Plan};
use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "usage: model [--ops N] [--seed N] [--dir PATH] [--inline]";

fn plan() -> Result<Plan, String> {
    let volume = VolumeSpec::Ram { size: Some(256 << 20) };
    let mut plan = Plan { operations: 100_000, seed: 1, volume, policy: AsyncPolicy::Pend };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(USAGE);
        let number = |word: String| word.replace('_', "").parse::<u64>().map_err(|error| format!("{word}: {error}"));
        match word.as_str() {
            "--ops" => plan.operations = number(value()?)?,
            "--seed" => plan.seed = number(value()?)?,
            "--dir" => plan.volume = VolumeSpec::Dir { path: value()?.into() },
            "--inline" => plan.policy = AsyncPolicy::Inline,
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(plan)
}

fn main() -> ExitCode {
    let outcome = plan().and_then(|plan| model::run(&plan).map(|done| (plan, done)));
    match outcome {
        Ok((plan, met)) => {
            let mut text = String::new();
            for ((name, status), count) in &met {
                let _ = writeln!(text, "{count:>9} {name} {:?}", NtStatus(*status));
            }
            let (operations, seed, done) = (plan.operations, plan.seed, met.values().sum::<u64>());
            let _ = writeln!(
                text,
                "seed {seed}: {operations} operations, {done} of them on an open handle, {} ways to end, no difference",
                met.len()
            );
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(text) => {
            let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}
