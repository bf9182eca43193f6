//! The supervisor: starts the server, runs the command, owns report and verdict.
//!
//! Room: front/cli. Called by: `main`. Calls: `wire`, the host. House rule 10: what comes from the server may have been
//! written by a driver, so it is data here and nothing more.

use crate::args::{LoadArgs, MachineArgs, MountArgs, ReportKind, RunArgs};
use crate::keeper::{self, Keeper, Word, clear, unmount};
use crate::place::{Place, covers_no_volume, fit, tell_of_mounts_below};
use crate::verdict::{BROKEN, FINDINGS, FINE, Failure, INTERRUPTED, NOT_EXECUTABLE, NOT_FOUND, out, say};
use crate::wire::{Event, Incoming, Setup, Who, send};
use clap::ValueEnum;
use nt_machine::report::{Checks, CommandRow, Finding};
use nt_machine::{FilterKind, FilterSpec, KsSpec, Report, VolumeSpec};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

/// How long programs that are left behind may keep the mount.
const TO_LET_GO: Duration = Duration::from_secs(5);

/// Somebody asked for the end.
static STOPPED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
/// It was an interrupt from the keyboard. SIGTERM and SIGHUP ask for an orderly end.
static INTERRUPT: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Prints what drivers print, by whole lines, and counts their checks.
#[derive(Default)]
struct Prints {
    /// `load` sends it to stdout as it is; the others to stderr with the driver's name in front.
    plain: bool,
    partial: String,
    driver: String,
    checks: Checks,
    failed: Vec<String>,
    /// Stdout took nothing any more, which was said.
    unheard: bool,
}

impl Prints {
    fn take(&mut self, driver: &str, text: &str) {
        driver.clone_into(&mut self.driver);
        self.partial.push_str(text);
        while let Some(end) = self.partial.find('\n') {
            let line: String = self.partial.drain(..=end).collect();
            self.line(line.trim_end_matches(['\n', '\r']));
        }
    }
    fn end(&mut self) {
        if !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            self.line(&line);
        }
    }
    fn line(&mut self, line: &str) {
        if line.starts_with("ok ") {
            self.checks.ok += 1;
        } else if let Some(check) = line.strip_prefix("not ok ") {
            self.checks.not_ok += 1;
            self.failed.push(check.to_owned());
        }
        if self.plain {
            if let Err(failure) = out(&format!("{line}\n"))
                && !std::mem::replace(&mut self.unheard, true)
            {
                say(&format!("ntio: {failure}; what drivers print is lost from here on"));
            }
        } else {
            say(&format!("[{}] {line}", self.driver));
        }
    }
}

/// How the conversation with the server stands.
enum Step {
    Ready(Vec<String>),
    Failed(Failure),
    Report(Box<Report>),
    /// The server ended without a report.
    Gone,
}

struct Server {
    child: Child,
    steps: Receiver<Step>,
    prints: Arc<Mutex<Prints>>,
    /// The driver images that it holds, by name.
    drivers: String,
    line: UnixStream,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ends what a driver keeps busy; a server that has ended already is only waited for.
        let _ended = self.child.kill();
        let _code = self.child.wait();
    }
}

/// A path of the command line for the server, which works elsewhere.
fn from_here(path: PathBuf) -> String {
    std::path::absolute(&path).unwrap_or(path).display().to_string()
}

/// A `dir` volume is as read-only as its folder.
fn tell_of_protection(folder: &Path) {
    use rustix::fs::{Access, access};
    let told = match access(folder, Access::WRITE_OK) {
        Err(rustix::io::Errno::ROFS) => {
            "lies on a file system that is mounted read-only, so the volume is write-protected; remount that one (mount -o remount,rw)"
        }
        Err(rustix::io::Errno::ACCESS) => "cannot be written to by this user; change its owner or its mode",
        _ => return,
    };
    say(&format!("ntio: volume 'dir:{}' {told}, or say --read-only if it is meant so", folder.display()));
}

fn setup(machine: &MachineArgs) -> Result<Setup, Failure> {
    machine.check()?;
    try_report_file(machine)?;
    let mut volumes = Vec::new();
    for text in &machine.volumes {
        volumes.push(match VolumeSpec::from_os(text).map_err(|error| Failure::usage(error.to_string()))? {
            VolumeSpec::Dir { path } => {
                let path = std::path::absolute(&path).unwrap_or(path);
                tell_of_mounts_below(&path);
                if !machine.read_only {
                    tell_of_protection(&path);
                }
                VolumeSpec::Dir { path }
            }
            ram @ VolumeSpec::Ram { .. } => ram,
        });
    }
    let mut filters = Vec::new();
    for text in &machine.filters {
        let spec = text.parse::<FilterSpec>().map_err(|error| Failure::usage(error.to_string()))?;
        filters.push(match (spec.kind, spec.altitude) {
            (FilterKind::BuiltIn(_), _) => text.clone(),
            (FilterKind::Image(path), None) => from_here(path),
            (FilterKind::Image(path), Some(altitude)) => format!("{}@{altitude}", from_here(path)),
        });
    }
    let mut streams = Vec::new();
    for (at, text) in machine.ks.iter().enumerate() {
        let spec = text.parse::<KsSpec>().map_err(|error| Failure::usage(error.to_string()))?;
        if machine.ks[..at]
            .iter()
            .filter_map(|other| other.parse::<KsSpec>().ok())
            .any(|other| other.name() == spec.name())
        {
            return Err(Failure::usage(format!(
                "there is a streaming device '{}' already; give each name once",
                spec.name()
            )));
        }
        streams.push(match spec {
            KsSpec::RawSink { path } => format!("rawsink:{}", from_here(path)),
            KsSpec::Null => text.clone(),
        });
    }
    let word = |value: Option<clap::builder::PossibleValue>| {
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    };
    Ok(Setup {
        volumes,
        filters,
        streams,
        trace: machine.trace.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone())),
        windows: word(machine.windows.to_possible_value()),
        completion: word(machine.completion.and_then(|completion| completion.to_possible_value())),
        tunnel: machine.tunnel,
        short_names: machine.short_names,
        read_only: machine.read_only,
        cache: word(machine.cache.and_then(|cache| cache.to_possible_value())),
        allow_missing: machine.allow_missing,
        stubs: machine.stubs()?,
        registry: machine.registry()?,
        ..Setup::default()
    })
}

impl Server {
    /// Starts one; `before` gets its process's number before it knows what to do.
    fn start(setup: &Setup, plain: bool, before: impl FnOnce(u32) -> Result<(), Failure>) -> Result<Self, Failure> {
        let broken = |what: &str, error: std::io::Error| Failure::broken(format!("{what}: {error}"));
        let (mut ours, theirs) = UnixStream::pair().map_err(|error| broken("no socket pair", error))?;
        let program = std::env::current_exe().map_err(|error| broken("ntio does not find itself", error))?;
        let child = Command::new(program)
            .arg("__server")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            // Nothing of the caller's environment is the drivers' business.
            .env_clear()
            .current_dir("/")
            // An interrupt from the terminal is the supervisor's to handle.
            .process_group(0)
            .spawn()
            .map_err(|error| broken("the server does not start", error))?;
        before(child.id())?;
        send(&mut ours, setup).map_err(|error| broken("the server does not listen", error))?;
        let prints = Arc::new(Mutex::new(Prints { plain, ..Prints::default() }));
        let (said, steps) = channel();
        let printing = Arc::clone(&prints);
        let line = ours.try_clone().map_err(|error| broken("the socket has one end only", error))?;
        let mut answers = ours.try_clone().map_err(|error| broken("the socket has one end only", error))?;
        std::thread::spawn(move || {
            let mut incoming = Incoming::new(ours);
            while let Ok(Some(event)) = incoming.next::<Event>() {
                let step = match event {
                    Event::Debug { driver, text } => {
                        printing.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take(&driver, &text);
                        continue;
                    }
                    Event::Who(thread) => {
                        // The server is locked down and cannot look: it would also see what is no driver's business.
                        let found = ntio_fuse::Identity::of_thread(thread);
                        let _gone = send(&mut answers, &Who(found.map(|found| (found.process, found.name))));
                        continue;
                    }
                    Event::Note(text) => {
                        say(&format!("ntio: {text}"));
                        continue;
                    }
                    Event::Ready { lockdown } => Step::Ready(lockdown),
                    Event::Failed { code, message } => Step::Failed(Failure::new(code, message)),
                    Event::Report(report) => Step::Report(report),
                };
                if said.send(step).is_err() {
                    return;
                }
            }
            let _gone = said.send(Step::Gone);
        });
        let images = setup.filters.iter().filter_map(|text| match text.parse::<FilterSpec>().ok()?.kind {
            FilterKind::Image(path) => Some(path),
            FilterKind::BuiltIn(_) => None,
        });
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let drivers: Vec<String> = images.chain(setup.load.clone()).filter_map(|path| name(&path)).collect();
        Ok(Self { child, steps, prints, drivers: drivers.join(", "), line })
    }

    /// What it fell or hangs with.
    fn with(&self) -> &str {
        if self.drivers.is_empty() { "no driver image in it" } else { &self.drivers }
    }

    /// Waits for the next step; `None` when the time is over or somebody interrupted.
    fn next(&self, most: Option<Duration>, interruptible: bool) -> Option<Step> {
        let end = most.map(|most| Instant::now() + most);
        loop {
            match self.steps.recv_timeout(Duration::from_millis(50)) {
                Ok(step) => return Some(step),
                Err(RecvTimeoutError::Disconnected) => return Some(Step::Gone),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if end.is_some_and(|end| Instant::now() >= end) || (interruptible && STOPPED.load(Ordering::Relaxed)) {
                return None;
            }
        }
    }

    /// Waits until the machine stands.
    fn ready(&self, most: Duration) -> Result<Vec<String>, Failure> {
        match self.next(Some(most), true) {
            Some(Step::Ready(lockdown)) => Ok(lockdown),
            Some(Step::Failed(failure)) => Err(failure),
            Some(_) => {
                Err(Failure::new(FINDINGS, "the server ended before the machine stood; its last words are above"))
            }
            None if STOPPED.load(Ordering::Relaxed) => Err(Failure::new(INTERRUPTED, "interrupted")),
            None => {
                let text = format!("the machine did not stand within {} s, with {}", most.as_secs(), self.with());
                Err(Failure::broken(text))
            }
        }
    }

    /// Hangs up on a server whose mount is still in use, or that is late: it flushes, tells what it has counted, and ends by itself.
    fn hang_up(&mut self) -> Result<Report, Failure> {
        const TO_FLUSH: Duration = Duration::from_secs(90);
        let _gone = self.line.shutdown(std::net::Shutdown::Write);
        self.report(TO_FLUSH)
    }

    /// Waits for the report when the volume, which has this device number, is unmounted: the mount is over and the server ends,
    /// unless another mount namespace has a copy of the mount.
    fn report_of_unmounted(&mut self, device: Option<&str>) -> Result<Report, Failure> {
        const SOON: Duration = Duration::from_secs(2);
        let mut step = self.next(Some(SOON), false);
        if step.is_none()
            && let Some((process, program)) = device.and_then(keeper::holder)
        {
            let message = format!(
                "the mount namespace of {program} (process {process}) has a copy of the mount, which ends with ours"
            );
            say(&format!("ntio: {message}; what was written is flushed"));
            let mut report = self.hang_up()?;
            report.findings.push(Finding { severity: "warning".into(), message, ..Finding::default() });
            return Ok(report);
        }
        // Without a driver image the machine waits for nothing but the host, which may be slow to take what was written.
        let most = Duration::from_secs(if self.drivers.is_empty() { 600 } else { 30 });
        step = step.or_else(|| self.next(Some(most), false));
        if step.is_some() {
            return self.end(step, most);
        }
        let message = self.late(most);
        let mut report = self.hang_up()?;
        report.findings.push(Finding { severity: "error".into(), message, ..Finding::default() });
        Ok(report)
    }

    fn late(&self, most: Duration) -> String {
        format!("the machine did not end within {} s, with {}", most.as_secs(), self.with())
    }

    /// Waits for the report; a server that fell is a finding.
    fn report(&mut self, most: Duration) -> Result<Report, Failure> {
        let step = self.next(Some(most), false);
        self.end(step, most)
    }

    /// Makes a report of the last step, whatever it was; what the drivers' checks said goes in.
    fn end(&mut self, step: Option<Step>, most: Duration) -> Result<Report, Failure> {
        let mut report = match step {
            Some(Step::Report(report)) => *report,
            Some(Step::Failed(failure)) => return Err(failure),
            Some(Step::Gone | Step::Ready(_)) => {
                let ended = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                fallen(
                    &self.drivers,
                    format!("the machine fell with {} ({ended}); what it said last is above", self.with()),
                )
            }
            None => fallen(&self.drivers, self.late(most)),
        };
        let mut prints = self.prints.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        prints.end();
        report.checks = prints.checks.clone();
        for failed in std::mem::take(&mut prints.failed) {
            let (rule, message) = (rule_of(&failed), format!("not ok {failed}"));
            let driver = prints.driver.clone();
            report.findings.push(Finding { rule, severity: "error".into(), driver, message, place: String::new() });
        }
        Ok(report)
    }
}

fn fallen(drivers: &str, message: String) -> Report {
    let finding = Finding { severity: "error".into(), driver: drivers.to_owned(), message, ..Finding::default() };
    Report { findings: vec![finding], ..Report::default() }
}

/// `nt_w_07_...` is a check of NT-W-07.
fn rule_of(check: &str) -> String {
    let mut words = check.split(['_', ':', ' ']);
    let (Some(book), Some(chapter), Some(number)) = (words.next(), words.next(), words.next()) else {
        return String::new();
    };
    let known = matches!(book, "nt" | "flt" | "ks" | "cc" | "tw");
    if known && number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("{book}-{chapter}-{number}").to_uppercase()
    } else {
        String::new()
    }
}

/// Prints the report where it belongs.
fn tell(machine: &MachineArgs, report: &Report, default: ReportKind) -> Result<(), Failure> {
    let kind = machine.report.unwrap_or(if machine.report_file.is_some() { ReportKind::Text } else { default });
    let text = match kind {
        ReportKind::Text => report.text(),
        ReportKind::Json => {
            let json = serde_json::to_string_pretty(report).map_err(|error| Failure::broken(error.to_string()))?;
            json + "\n"
        }
        ReportKind::None => return Ok(()),
    };
    match &machine.report_file {
        None => say(text.trim_end_matches('\n')),
        Some(path) => {
            let written = std::fs::File::create(path).and_then(|mut file| file.write_all(text.as_bytes()));
            if let Err(error) = written {
                // What was measured is not lost with the file.
                say(text.trim_end_matches('\n'));
                return Err(Failure::broken(format!(
                    "--report-file {}: {error}; the report stands above",
                    path.display()
                )));
            }
        }
    }
    Ok(())
}

/// Sees, before anything runs, whether the report can be written.
fn try_report_file(machine: &MachineArgs) -> Result<(), Failure> {
    let Some(path) = &machine.report_file else { return Ok(()) };
    let tried = std::fs::File::options().append(true).create(true).open(path);
    tried.map(drop).map_err(|error| {
        let remedy = "give a file in a directory that can be written";
        Failure::broken(format!("--report-file {}: {error}; {remedy}", path.display()))
    })
}

/// The last line, where drivers printed checks.
fn count(report: &Report) {
    if report.checks.ok + report.checks.not_ok != 0 {
        say(&format!("{} ok, {} not ok", report.checks.ok, report.checks.not_ok));
    }
}

/// What went wrong with ntio itself (no rule names it) is said even where no report is wanted.
fn tell_of_ourselves(machine: &MachineArgs, report: &Report) {
    if machine.report == Some(ReportKind::None) {
        for finding in report.findings.iter().filter(|finding| finding.rule.is_empty() && finding.severity == "error") {
            say(&format!("ntio: {}", finding.message));
        }
    }
}

fn listen_for_interrupts() -> Result<(), Failure> {
    let both = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP].map(|signal| (signal, &STOPPED));
    for (signal, flag) in both.into_iter().chain([(libc::SIGINT, &INTERRUPT)]) {
        signal_hook::flag::register(signal, Arc::clone(flag))
            .map_err(|error| Failure::broken(format!("no handler for signal {signal}: {error}")))?;
    }
    Ok(())
}

/// Starts the server of a mount, and its keeper before the server can mount anything.
fn serve_at(at: &Path, ours: bool, setup: &Setup) -> Result<(Server, Keeper), Failure> {
    let mut keeper = None;
    let server = Server::start(setup, false, |server| {
        let broken = |error| Failure::broken(format!("the keeper of the mount does not start: {error}"));
        keeper = Some(Keeper::start(at, ours, server).map_err(broken)?);
        Ok(())
    })?;
    keeper.map(|keeper| (server, keeper)).ok_or_else(|| Failure::broken("the mount has no keeper"))
}

/// `ntio run`.
pub(crate) fn run(args: &RunArgs) -> Result<u8, Failure> {
    let mut setup = setup(&args.machine)?;
    listen_for_interrupts()?;
    let place = Place::new()?;
    let at = place.0.as_path();
    setup.mount = Some(at.to_owned());
    setup.allow_other = args.allow_other;
    let (server, mut keeper) = serve_at(at, true, &setup)?;
    let done = run_in(args, server, at, &mut keeper);
    // The server is gone by now, and may have left its mount.
    clear(at);
    drop(place);
    done
}

fn run_in(args: &RunArgs, mut server: Server, at: &Path, keeper: &mut Keeper) -> Result<u8, Failure> {
    if let Err(failure) = server.ready(Duration::from_secs(60)) {
        drop(server);
        let _gone = unmount(at, TO_LET_GO);
        return Err(failure);
    }
    let (program, words) = args.command.split_first().ok_or_else(|| Failure::usage("no command was given"))?;
    let spawned = Command::new(program).args(words).current_dir(at).env("NTIO_MOUNT", at).spawn();
    let mut failure = None;
    let code = match spawned {
        Ok(child) => {
            keeper.tell(&Word::Command(child.id()));
            pass_on_signals(child.id());
            wait(child)
        }
        Err(error) => {
            let found = error.kind() != std::io::ErrorKind::NotFound;
            failure = Some(format!("{}: {error}", program.to_string_lossy()));
            if found { NOT_EXECUTABLE } else { NOT_FOUND }
        }
    };
    let device = keeper::device(at);
    let unmounted = unmount(at, TO_LET_GO);
    let mut report =
        if unmounted.is_err() { server.hang_up()? } else { server.report_of_unmounted(device.as_deref())? };
    if let Err(why) = unmounted {
        let message = format!("the volume could not be unmounted: {why}");
        report.findings.push(Finding { severity: "error".into(), message, ..Finding::default() });
    }
    let argv = args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    report.command = Some(CommandRow { argv, exit: i32::from(code) });
    tell(&args.machine, &report, ReportKind::Text)?;
    tell_of_ourselves(&args.machine, &report);
    count(&report);
    if let Some(failure) = failure {
        return Err(Failure::new(code, failure));
    }
    Ok(if code == FINE && report.failed() { FINDINGS } else { code })
}

/// SIGTERM and SIGHUP for ntio are the command's: it ends, the volume is unmounted, the report is made. (An interrupt from
/// the terminal reaches the command by itself.)
fn pass_on_signals(command: u32) {
    let Ok(mut signals) = signal_hook::iterator::Signals::new([libc::SIGTERM, libc::SIGHUP]) else { return };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let known = nix::sys::signal::Signal::try_from(signal).ok();
            let _gone = nix::sys::signal::kill(nix::unistd::Pid::from_raw(command.cast_signed()), known);
        }
    });
}

/// Waits for the command; its code as shells tell it.
fn wait(mut child: Child) -> u8 {
    match child.wait() {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => u8::try_from(code & 0xFF).unwrap_or(BROKEN),
            (None, Some(signal)) => u8::try_from(128 + signal).unwrap_or(BROKEN),
            _ => BROKEN,
        },
        Err(_) => BROKEN,
    }
}

/// `ntio mount`.
pub(crate) fn mount(args: &MountArgs) -> Result<u8, Failure> {
    let mut setup = setup(&args.machine)?;
    listen_for_interrupts()?;
    let at = keeper::resolved(&args.mountpoint);
    covers_no_volume(&at, &setup.volumes)?;
    fit(&at)?;
    setup.mount = Some(at.clone());
    setup.allow_other = args.allow_other;
    let (server, _keeper) = serve_at(&at, false, &setup)?;
    let done = mount_at(args, server, &at);
    // The server is gone by now, and may have left its mount.
    clear(&at);
    done
}

fn mount_at(args: &MountArgs, mut server: Server, at: &Path) -> Result<u8, Failure> {
    server.ready(Duration::from_secs(60))?;
    say(&format!("ntio: C: is mounted at {}; unmount it, or interrupt, to end", at.display()));
    let device = keeper::device(at);
    // A server whose mount has a copy elsewhere does not see that somebody unmounted ours.
    let unmounted = || device.is_some() && keeper::device(at) != device;
    let ended = loop {
        let step = server.next(Some(Duration::from_secs(1)), true);
        if step.is_some() || STOPPED.load(Ordering::Relaxed) || unmounted() {
            break step;
        }
    };
    let stopped = ended.is_none();
    let unmounted = if stopped { unmount(at, TO_LET_GO) } else { Ok(()) };
    let mut report = match (stopped, &unmounted) {
        (_, Err(_)) => server.hang_up()?,
        (true, Ok(())) => server.report_of_unmounted(device.as_deref())?,
        (false, Ok(())) => server.end(ended, Duration::ZERO)?,
    };
    if let Err(why) = unmounted {
        let message = format!("the volume could not be unmounted: {why}");
        report.findings.push(Finding { severity: "error".into(), message, ..Finding::default() });
    }
    tell(&args.machine, &report, ReportKind::Text)?;
    tell_of_ourselves(&args.machine, &report);
    count(&report);
    Ok(if report.failed() {
        FINDINGS
    } else if stopped && INTERRUPT.load(Ordering::Relaxed) {
        INTERRUPTED
    } else {
        FINE
    })
}

/// `ntio load`.
pub(crate) fn load(args: &LoadArgs) -> Result<u8, Failure> {
    let mut setup = setup(&args.machine)?;
    listen_for_interrupts()?;
    setup.load = Some(std::path::absolute(&args.image).unwrap_or_else(|_| args.image.clone()));
    let limit = Duration::from_secs(args.timeout);
    let begun = Instant::now();
    let mut server = Server::start(&setup, true, |_| Ok(()))?;
    let report = match server.next(Some(limit), true) {
        Some(Step::Ready(_)) => server.report(limit.saturating_sub(begun.elapsed()))?,
        Some(step) => server.end(Some(step), limit)?,
        None if STOPPED.load(Ordering::Relaxed) => return Err(Failure::new(INTERRUPTED, "interrupted")),
        None => {
            let message = format!("{} did not end within {} s (--timeout)", args.image.display(), args.timeout);
            return Err(Failure::new(FINDINGS, message));
        }
    };
    if args.machine.report.is_none() && args.machine.report_file.is_none() {
        for finding in report.findings.iter().filter(|finding| !finding.message.starts_with("not ok ")) {
            say(&format!("ntio: {}: {}", finding.severity, finding.message));
        }
    }
    tell(&args.machine, &report, ReportKind::None)?;
    count(&report);
    Ok(if report.failed() { FINDINGS } else { FINE })
}
