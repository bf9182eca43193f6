//! The words of the command line.
//!
//! Room: front/cli. Called by: `main`. Calls: clap. Source: the command line's contract. An option of the contract that is not there
//! yet is taken and refused by name, so that a script learns which one and why.

use crate::verdict::Failure;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Runs the Windows NT write path, and drivers on it, in user space.
#[derive(Debug, Parser)]
#[command(name = "ntio", version = concat!(env!("CARGO_PKG_VERSION"), " (behaves as Windows 11)"), arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Mount a volume, run a command in it, unmount, report
    #[command(after_long_help = "Example:\n  ntio run -f spy -- git clone --depth 1 https://example.org/repo.git")]
    Run(RunArgs),
    /// Mount a volume until it is unmounted
    #[command(
        after_long_help = "Example:\n  mkdir -p /tmp/c && ntio mount /tmp/c -v ram:1G -f spy\n\nIt ends with 0 when the volume is \
                                 unmounted (umount, fusermount3 -u) or on SIGTERM or SIGHUP, with 130 when it is interrupted, and with 1 when there are findings."
    )]
    Mount(MountArgs),
    /// Load a driver, call DriverEntry, unload it
    #[command(after_long_help = "Example:\n  ntio load ./x.sys --timeout 10")]
    Load(LoadArgs),
    /// List a driver's imports: full, partial or absent
    #[command(after_long_help = "Example:\n  ntio imports ./x.sys --json")]
    Imports(ImportsArgs),
    /// List the rules and how far each is implemented
    #[command(after_long_help = "Example:\n  ntio rules --json")]
    Rules(RulesArgs),
    /// Steer a mount (not there yet)
    Fltmc(Rest),
    /// Check a driver in CI (not there yet)
    Check(Rest),
    /// Kernel streaming tools (not there yet)
    Ks(Rest),
    /// Print or convert a trace
    #[command(
        after_long_help = "Example:\n  ntio trace t.jsonl --filter 'op=write and status'\n\nAn expression compares members of an \
                                 event (op, file, offset, length, status, fast, rules, filter ...) by = != < <= > >= and ~ \
                                 (contains), joined by and, or, not and parentheses."
    )]
    Trace(TraceArgs),
    /// Measure against limits taken in the same run
    #[command(after_long_help = "Example:\n  ntio bench io --json")]
    Bench(BenchArgs),
    /// The journal filter's history (not there yet)
    Journal(Rest),
    /// Write the driver kit (not there yet)
    Ddk(Rest),
    #[command(name = "__server", hide = true)]
    Server,
    #[command(name = "__keeper", hide = true)]
    Keeper,
}

impl Command {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Mount(_) => "mount",
            Self::Load(_) => "load",
            Self::Imports(_) => "imports",
            Self::Rules(_) => "rules",
            Self::Fltmc(_) => "fltmc",
            Self::Check(_) => "check",
            Self::Ks(_) => "ks",
            Self::Trace(_) => "trace",
            Self::Bench(_) => "bench",
            Self::Journal(_) => "journal",
            Self::Ddk(_) => "ddk",
            Self::Server => "__server",
            Self::Keeper => "__keeper",
        }
    }
}

/// Words of a command that is not there yet.
#[derive(Debug, Args)]
pub(crate) struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Let other users use the mount too
    #[arg(long)]
    pub(crate) allow_other: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct MountArgs {
    /// An empty directory
    pub(crate) mountpoint: PathBuf,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Let other users use the mount too
    #[arg(long)]
    pub(crate) allow_other: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The driver image
    pub(crate) image: PathBuf,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Give up after so many seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// A trace, as --trace wrote it
    pub(crate) file: PathBuf,
    /// Only events for which this holds, for instance 'op=write and length>4096'
    #[arg(long, value_name = "EXPR")]
    pub(crate) filter: Option<String>,
    /// Print as text, jsonl or perfetto; without it by the ending of the output
    #[arg(long, value_name = "FORMAT")]
    format: Option<TraceFormat>,
    /// Write to a file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

impl TraceArgs {
    /// The format asked for, or the one that the output's ending names.
    pub(crate) fn format(&self) -> TraceFormat {
        let ending = self.output.as_ref().and_then(|path| path.extension()).and_then(|ending| ending.to_str());
        self.format.unwrap_or(match ending {
            Some("jsonl") => TraceFormat::Jsonl,
            Some("json") => TraceFormat::Perfetto,
            _ => TraceFormat::Text,
        })
    }
}

/// How a trace is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TraceFormat {
    Text,
    Jsonl,
    Perfetto,
}

#[derive(Debug, Args)]
pub(crate) struct ImportsArgs {
    /// The driver image
    pub(crate) image: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to measure: io, ks, fuse; flt and loader are not there yet
    #[arg(default_value = "io")]
    pub(crate) what: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Compare with other implementations (not there yet)
    #[arg(long)]
    pub(crate) peers: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ReportKind {
    Text,
    Json,
    None,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Windows {
    Win7,
    Win8,
    Win10,
    Win11,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Completion {
    Inline,
    Worker,
    Dispatch,
    #[value(hide = true)]
    Random,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Verify {
    Off,
    #[value(hide = true)]
    Standard,
    #[value(hide = true)]
    Full,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum FsType {
    Ntfs,
    #[value(hide = true)]
    Fat,
    #[value(hide = true)]
    Refs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Cache {
    Through,
    Behind,
}

/// Options that all machines share.
#[derive(Debug, Args)]
pub(crate) struct MachineArgs {
    /// A volume: ram, ram:SIZE, dir:PATH (what is mounted below PATH is not shown); the first is C:
    #[arg(short, long = "volume", value_name = "VOL")]
    pub(crate) volumes: Vec<std::ffi::OsString>,
    /// A filter: spy, or PATH/to/x.sys; with @ALTITUDE
    #[arg(short, long = "filter", value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
    /// Write a trace: FILE.jsonl, one event a line; FILE.json for Perfetto or chrome://tracing
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// The form of the report
    #[arg(long, value_enum)]
    pub(crate) report: Option<ReportKind>,
    /// Write the report there instead of stderr
    #[arg(long, value_name = "FILE")]
    pub(crate) report_file: Option<PathBuf>,
    /// Which Windows the machine behaves as
    #[arg(long, value_enum, default_value = "win11")]
    pub(crate) windows: Windows,
    /// How drivers that may choose complete their requests
    #[arg(long = "async", value_enum)]
    pub(crate) completion: Option<Completion>,
    /// Load drivers with imports that are missing; a call of one is a bug check that names it
    #[arg(long)]
    pub(crate) allow_missing: bool,
    /// Bind an import to a routine that returns STATUS (a number, 0x for hexadecimal)
    #[arg(long = "stub", value_name = "NAME=STATUS")]
    pub(crate) stubs: Vec<String>,
    /// Check the drivers' behaviour (only 'off' yet)
    #[arg(long, value_enum)]
    verify: Option<Verify>,
    /// What the volume says it is (only 'ntfs' yet)
    #[arg(long, value_enum)]
    fs_type: Option<FsType>,
    /// When cached data goes down: before the call returns, or about a second later; each volume has its own default
    #[arg(long, value_enum)]
    pub(crate) cache: Option<Cache>,
    /// A file whose name is made anew within 15 seconds keeps its creation time and its short name, as on NTFS
    #[arg(long)]
    pub(crate) tunnel: bool,
    /// Give names short ones (PROGRA~1) that drivers can open them by; a 'dir' volume keeps them in its folder .ntio
    #[arg(long)]
    pub(crate) short_names: bool,
    /// Write-protect the volumes, and mount read-only
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Start of what is chosen at random (not there yet)
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Read instances from a driver's INF (not there yet)
    #[arg(long, value_name = "FILE")]
    inf: Option<PathBuf>,
    /// A value of the drivers' service keys: Parameters\\Name=dword:1, Name=text
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) reg: Vec<String>,
    /// What process-name queries answer for CMD (not there yet)
    #[arg(long, value_name = "NAME")]
    image_name: Option<String>,
    /// Leave out findings of a rule (not there yet)
    #[arg(long, value_name = "RULE")]
    suppress: Vec<String>,
    /// A streaming device: null, rawsink:PATH
    #[arg(long, value_name = "NAME[:ARGS]")]
    pub(crate) ks: Vec<String>,
}

impl MachineArgs {
    /// Refuses what is not there yet, by name.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let absent = [
            ("--verify standard", self.verify == Some(Verify::Standard), "leave it out, or say --verify off"),
            ("--verify full", self.verify == Some(Verify::Full), "leave it out, or say --verify off"),
            ("--fs-type fat", self.fs_type == Some(FsType::Fat), "the volume says it is NTFS"),
            ("--fs-type refs", self.fs_type == Some(FsType::Refs), "the volume says it is NTFS"),
            ("--async random", self.completion == Some(Completion::Random), "there are inline, worker and dispatch"),
            ("--seed", self.seed.is_some(), "nothing is chosen at random yet"),
            ("--inf", self.inf.is_some(), "give the altitude as FILTER@ALTITUDE"),
            ("--image-name", self.image_name.is_some(), "leave it out"),
            ("--suppress", !self.suppress.is_empty(), "leave it out"),
        ];
        if let Some((name, _, instead)) = absent.iter().find(|(_, given, _)| *given) {
            return Err(Failure::usage(format!("option '{name}' is not there yet; {instead}")));
        }
        if let Some(trace) = self
            .trace
            .as_ref()
            .filter(|trace| trace.extension().is_none_or(|ending| ending != "jsonl" && ending != "json"))
        {
            return Err(Failure::usage(format!(
                "trace '{}': the ending picks the format; FILE.jsonl has one event a line, FILE.json is for Perfetto",
                trace.display()
            )));
        }
        Ok(())
    }

    /// Reads KEY=VALUE words: {subkey, name, dword or text}.
    pub(crate) fn registry(&self) -> Result<Vec<RegistryValue>, Failure> {
        self.reg.iter().map(|word| RegistryValue::read(word)).collect()
    }

    /// Reads NAME=STATUS words.
    pub(crate) fn stubs(&self) -> Result<Vec<(String, u64)>, Failure> {
        let read = |word: &String| {
            let (name, value) = word.split_once('=')?;
            let value = match value.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16).ok()?,
                None => value.parse().ok()?,
            };
            Some((name.to_owned(), value))
        };
        let bad = |word: &String| {
            Failure::usage(format!("--stub '{word}' is not NAME=STATUS; for instance ZwLoadDriver=0xC0000022"))
        };
        self.stubs.iter().map(|word| read(word).ok_or_else(|| bad(word))).collect()
    }
}

/// The words of the command line that are not UTF-8, as well as they can be shown: clap tells only that there are some.
pub(crate) fn without_utf8() -> Vec<String> {
    std::env::args_os().filter(|word| word.to_str().is_none()).map(|word| format!("{word:?}")).collect()
}

/// A value for the service keys of the drivers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RegistryValue {
    /// Below the service key; empty for the key itself.
    pub(crate) subkey: String,
    pub(crate) name: String,
    pub(crate) dword: Option<u32>,
    pub(crate) text: String,
}

impl RegistryValue {
    fn read(word: &str) -> Result<Self, Failure> {
        let bad = || Failure::usage(format!("--reg '{word}' is not KEY=VALUE; for instance Parameters\\Name=dword:1"));
        let (key, value) = word.split_once('=').ok_or_else(bad)?;
        let (subkey, name) = key.rsplit_once('\\').unwrap_or(("", key));
        if name.is_empty() {
            return Err(bad());
        }
        let dword = match value.strip_prefix("dword:") {
            None => None,
            Some(number) => Some(
                match number.strip_prefix("0x") {
                    Some(hex) => u32::from_str_radix(hex, 16).ok(),
                    None => number.parse().ok(),
                }
                .ok_or_else(bad)?,
            ),
        };
        Ok(Self { subkey: subkey.to_owned(), name: name.to_owned(), dword, text: value.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_words_are_read_or_refused() {
        let read = |word: &str| RegistryValue::read(word).map(|v| (v.subkey, v.name, v.dword, v.text)).ok();
        let text = |text: &str| text.to_owned();
        assert_eq!(
            read("Parameters\\N=dword:0x10"),
            Some((text("Parameters"), text("N"), Some(16), text("dword:0x10")))
        );
        assert_eq!(read("Name=a=b"), Some((String::new(), text("Name"), None, text("a=b"))));
        for bad in ["Name", "=x", "A\\=x", "N=dword:", "N=dword:x"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
