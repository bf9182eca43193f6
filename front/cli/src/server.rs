//! The server: holds the machine and the drivers, locked down before the first of them runs.
//!
//! Room: front/cli. Called by: `supervisor`, as a process of its own with the socket as its standard input.
//! Calls: `nt_machine`, `ntio_fuse`, `lockdown`. What it says is a claim: the verdict is the supervisor's.

use crate::lockdown;
use crate::verdict::{BROKEN, CANNOT_LOAD, FINDINGS, FINE, USAGE};
use crate::wire::{Event, Incoming, Setup, Who, send};
use nt_io::registry::Value;
use nt_io::system::AsyncPolicy;
use nt_machine::driver::{Driver, DriverError, DriverOptions, Unloaded};
use nt_machine::perfetto::{Jsonl, Perfetto, TraceSink};
use nt_machine::report::Finding;
use nt_machine::spec::FilterKind;
use nt_machine::{CachePolicy, FilterSpec, KsSpec, Machine, Recorder, Report, VolumeSpec, WindowsVersion};
use std::io::BufWriter;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The supervisor's end of the line, shared by everybody who has something to say.
#[derive(Clone)]
struct Line(Arc<Mutex<UnixStream>>);

impl Line {
    /// Says something; a supervisor that is gone has no use for it.
    fn say(&self, event: &Event) {
        let mut stream = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _gone = send(&mut stream, event);
    }
}

/// Why the machine could not be built.
struct Refusal {
    code: u8,
    message: String,
}

impl Refusal {
    fn new(code: u8, message: impl std::fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }
}

/// A driver image that was read before the lock-down.
struct Pending {
    file: String,
    /// The names that it imports.
    imports: Vec<String>,
    bytes: Vec<u8>,
    altitude: Option<String>,
}

/// What is usual for programs and wrong for a volume: to end when a file gets longer than the shell allows, and to have few
/// files open. What the host refuses of these stays as it was, and shows as a status when it matters.
fn settle() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use nix::sys::signal::{SigSet, Signal};
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGXFSZ);
    let _as_it_was = blocked.thread_block();
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _as_it_was = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// A panic is ntio's fault, or of a driver that wrote where it must not: the report names both.
fn name_drivers_in_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let mut line = nt_cell::fault::RawLine::new();
        line.text(&format!("ntio: bugcheck: {panic}"));
        nt_cell::fault::blame(&mut line);
        line.text("\n").write();
    }));
}

/// Serves one machine to its end; returns the exit code of this process.
pub(crate) fn serve() -> u8 {
    settle();
    name_drivers_in_panics();
    let Ok(descriptor) = std::io::stdin().as_fd().try_clone_to_owned() else { return BROKEN };
    let stream = UnixStream::from(descriptor);
    let Ok(reader) = stream.try_clone() else { return BROKEN };
    let mut incoming = Incoming::new(reader);
    let Ok(Some(setup)) = incoming.next::<Setup>() else {
        crate::verdict::say("ntio: this command is ntio's own; it starts it itself");
        return USAGE;
    };
    let Ok(supervisor) = stream.try_clone() else { return BROKEN };
    let line = Line(Arc::new(Mutex::new(stream)));
    match machine(&setup, &line, incoming, supervisor) {
        Ok(()) => FINE,
        Err(refusal) => {
            line.say(&Event::Failed { code: refusal.code, message: refusal.message });
            refusal.code
        }
    }
}

/// Whether the supervisor is gone: its end of the socket is closed.
fn alone(stream: &UnixStream, wait: bool) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        let mut asked = [PollFd::new(stream, PollFlags::RDHUP)];
        match poll(&mut asked, if wait { None } else { Some(&at_once) }) {
            Ok(ready) => return ready != 0 && asked[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// What happens when the supervisor is killed, or hangs up: somebody unmounts, which ends this process by the ordinary way. Where
/// nobody does that, or a driver keeps us busy, what was written is flushed and this process ends all the same, after `conclude`,
/// which is told whether that came to its end.
fn watch(
    stream: UnixStream,
    machine: std::sync::Weak<Machine>,
    mounted: bool,
    conclude: impl FnOnce(bool) + Send + 'static,
) -> Result<(), Refusal> {
    const BY_ITSELF: Duration = Duration::from_secs(8);
    const TO_FLUSH: Duration = Duration::from_secs(60);
    let watching = std::thread::Builder::new().name("ntio-watch".into()).spawn(move || {
        if !alone(&stream, true) {
            return;
        }
        if mounted {
            std::thread::sleep(BY_ITSELF);
        }
        let (done, flushed) = std::sync::mpsc::channel();
        let flushing = std::thread::spawn(move || {
            match machine.upgrade() {
                Some(machine) => {
                    if machine.flush().is_ok() {
                        let _late = done.send(());
                    }
                }
                // It shuts down, which flushes too, and this process ends with it.
                None => std::thread::sleep(TO_FLUSH),
            }
        });
        conclude(flushed.recv_timeout(TO_FLUSH).is_ok());
        drop(flushing);
        std::process::exit(BROKEN.into());
    });
    watching.map(drop).map_err(|error| Refusal::new(BROKEN, format!("no thread to watch the supervisor: {error}")))
}

fn read_driver(path: &Path, altitude: Option<String>) -> Result<Pending, Refusal> {
    let bytes = crate::imports::read(path).map_err(|why| {
        Refusal::new(CANNOT_LOAD, format!("{}: {why}; give the path of a driver image", path.display()))
    })?;
    let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    // Refused before anything is mounted or run.
    let pe = nt_pe::parse(&file, &bytes).map_err(|error| Refusal::new(CANNOT_LOAD, error))?;
    if pe.entry == 0 {
        let why = "it has no entry point, so there is no DriverEntry to call; only drivers can be loaded";
        return Err(Refusal::new(CANNOT_LOAD, format!("{file}: {why}")));
    }
    let imports = pe.imports.into_iter().map(|import| import.name).collect();
    Ok(Pending { file, imports, bytes, altitude })
}

fn machine(setup: &Setup, line: &Line, incoming: Incoming, supervisor: UnixStream) -> Result<(), Refusal> {
    let usage = |error: nt_machine::SpecError| Refusal::new(USAGE, error);
    let filters = setup.filters.iter().map(|text| text.parse::<FilterSpec>()).collect::<Result<Vec<_>, _>>();
    let streams = setup.streams.iter().map(|text| text.parse::<KsSpec>()).collect::<Result<Vec<_>, _>>();
    let (filters, mut streams) = (filters.map_err(usage)?, streams.map_err(usage)?);
    if setup.load.is_some() && !streams.contains(&KsSpec::Null) {
        streams.push(KsSpec::Null); // the machine of `load` has it
    }
    for stream in &streams {
        stream.check().map_err(|error| Refusal::new(BROKEN, error))?;
    }
    for volume in &setup.volumes {
        volume.check().map_err(|error| Refusal::new(BROKEN, error))?;
    }
    let directories: Vec<PathBuf> = setup
        .volumes
        .iter()
        .filter_map(|volume| match volume {
            VolumeSpec::Dir { path } => Some(path.clone()),
            VolumeSpec::Ram { .. } => None,
        })
        .collect();
    let mut pending = Vec::new();
    let mut built_in = Vec::new();
    for filter in filters {
        match filter.kind {
            FilterKind::Image(path) => pending.push(read_driver(&path, filter.altitude)?),
            FilterKind::BuiltIn(name) => built_in.push((name, filter.altitude)),
        }
    }
    if let Some(path) = &setup.load {
        pending.push(read_driver(path, None)?);
    }
    all_stubs_count(&setup.stubs, &pending)?;
    let trace = match &setup.trace {
        None => None,
        Some(path) => {
            let file = std::fs::File::create(path).map_err(|error| {
                let remedy = "give --trace a file in a directory that can be written";
                Refusal::new(BROKEN, format!("{}: {error}; {remedy}", path.display()))
            })?;
            let file = BufWriter::new(file);
            Some(if path.extension().is_some_and(|ending| ending == "json") {
                Box::new(Perfetto::new(file)) as Box<dyn TraceSink>
            } else {
                Box::new(Jsonl(file))
            })
        }
    };
    let recorder = Recorder::with_sink(trace);
    let names: Vec<&str> = pending.iter().map(|each| each.file.as_str()).collect();
    let (prints, driver) = (line.clone(), if names.is_empty() { "driver".to_owned() } else { names.join("+") });
    let mut builder = Machine::builder()
        .windows(match setup.windows.as_str() {
            "win7" => WindowsVersion::Win7,
            "win8" => WindowsVersion::Win8,
            "win10" => WindowsVersion::Win10,
            _ => WindowsVersion::Win11,
        })
        .completion(match setup.completion.as_str() {
            "inline" => AsyncPolicy::Inline,
            "worker" => AsyncPolicy::Worker,
            "dispatch" => AsyncPolicy::Dispatch,
            _ => AsyncPolicy::default(),
        })
        .cache(match setup.cache.as_str() {
            "through" => Some(CachePolicy::Through),
            "behind" => Some(CachePolicy::Behind),
            _ => None,
        })
        .read_only(setup.read_only)
        .recorder(Arc::clone(&recorder))
        .debug(move |text| prints.say(&Event::Debug { driver: driver.clone(), text: text.to_owned() }));
    for volume in &setup.volumes {
        builder = builder.volume(volume.clone());
    }
    for stream in streams {
        builder = builder.ks(stream);
    }
    let machine = builder.build().map_err(|error| Refusal::new(BROKEN, format!("no machine: {:?}", error.status())))?;
    let machine = Arc::new(machine);
    for volume in machine.volumes() {
        volume.set_tunnelling(setup.tunnel);
        volume.set_short_names(setup.short_names);
    }
    let mounted = match &setup.mount {
        None => None,
        Some(at) => {
            let options = ntio_fuse::MountOptions {
                others: setup.allow_other,
                identify: Some(identify(line, incoming)),
                ..Default::default()
            };
            let mounted = ntio_fuse::mount_with(&machine, 0, at, &options);
            Some(mounted.map_err(|error| Refusal::new(BROKEN, error))?)
        }
    };
    // One that was killed meanwhile unmounts nothing any more: dropping the mount does.
    if alone(&supervisor, false) {
        return Err(Refusal::new(BROKEN, "the supervisor is gone"));
    }
    let lockdown = lockdown::apply(&directories);
    let (said, so_far) = (line.clone(), Arc::clone(&recorder));
    let (windows, locked) = (setup.windows.clone(), lockdown.clone());
    let conclude = move |flushed: bool| {
        let text = if flushed {
            "the machine was ended under way: what was written is flushed, and nobody looked for leaks"
        } else {
            "the machine was ended under way, and not all that was written could be flushed"
        };
        let severity = if flushed { "warning" } else { "error" };
        so_far.add_finding(Finding { severity: severity.into(), message: text.into(), ..Finding::default() });
        said.say(&Event::Report(Box::new(report(&so_far, &windows, locked))));
    };
    watch(supervisor, Arc::downgrade(&machine), mounted.is_some(), conclude)?;
    attach_built_in(&machine, &recorder, &built_in)?;
    let mut drivers = Vec::new();
    for each in pending {
        drivers.extend(start(setup, line, &machine, &recorder, each)?);
    }
    tell_filters(&machine, &recorder);
    line.say(&Event::Ready { lockdown: lockdown.clone() });
    if let Some(mounted) = mounted
        && let Err(error) = mounted.serve()
    {
        return Err(Refusal::new(BROKEN, format!("the mount failed: {error}")));
    }
    for driver in drivers.into_iter().rev() {
        stop(&machine, &recorder, line, driver);
    }
    let machine = Arc::into_inner(machine).ok_or_else(|| Refusal::new(BROKEN, "the machine is still in use"))?;
    leaks(&recorder, &machine.shutdown());
    line.say(&Event::Report(Box::new(report(&recorder, &setup.windows, lockdown))));
    Ok(())
}

fn report(recorder: &Recorder, windows: &str, lockdown: Vec<String>) -> Report {
    Report { lockdown, windows: windows.to_owned(), ..recorder.report() }
}

/// Asks the supervisor who calls, one question at a time.
fn identify(line: &Line, incoming: Incoming) -> Arc<ntio_fuse::Identify> {
    let (line, incoming) = (line.clone(), Mutex::new(incoming));
    Arc::new(move |thread| {
        let mut incoming = incoming.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        line.say(&Event::Who(thread));
        let Who(found) = incoming.next::<Who>().ok().flatten()?;
        found.map(|(process, name)| ntio_fuse::Identity { process, name })
    })
}

/// A stub for a name that nobody imports is a mistake: most often a misspelt name.
fn all_stubs_count(stubs: &[(String, u64)], drivers: &[Pending]) -> Result<(), Refusal> {
    let imported = |name: &String| drivers.iter().any(|driver| driver.imports.contains(name));
    let Some((name, _)) = stubs.iter().find(|(name, _)| !imported(name)) else { return Ok(()) };
    let files: Vec<&str> = drivers.iter().map(|driver| driver.file.as_str()).collect();
    Err(Refusal::new(
        USAGE,
        if files.is_empty() {
            format!("--stub {name}: there is no driver image to bind it in; give one with -f PATH/to/x.sys")
        } else {
            format!("--stub {name}: not imported by {}; 'ntio imports FILE' lists the names", files.join(", "))
        },
    ))
}

/// Registers the filters that ntio brings along, before any driver: they are part of the machine.
fn attach_built_in(
    machine: &Machine,
    recorder: &Recorder,
    built_in: &[(String, Option<String>)],
) -> Result<(), Refusal> {
    for (name, altitude) in built_in {
        let filter = machine.add_built_in(name, altitude.as_deref()).map_err(|error| {
            let remedy = if error.status() == nt_machine::NtStatus::FLT_INSTANCE_ALTITUDE_COLLISION {
                format!("; another filter has its altitude: give each its own, for instance -f {name}@385200")
            } else {
                String::new()
            };
            Refusal::new(USAGE, format!("the filter '{name}' could not be registered: {error}{remedy}"))
        })?;
        recorder.add_filter(filter.name(), filter.altitude().text());
    }
    Ok(())
}

/// Names the minifilters that a driver registered; one that is on no volume is a finding.
fn tell_filters(machine: &Machine, recorder: &Recorder) {
    for (name, altitude, instances) in machine.filters() {
        recorder.add_filter(&name, &altitude);
        if instances == 0 {
            let text = "the filter attached to no volume: its InstanceSetup refused, or it was never started";
            recorder.add_finding(finding(&name, "FLT-I-05", text.into()));
        }
    }
}

fn imports_filter_manager(bytes: &[u8]) -> bool {
    nt_pe::parse("", bytes)
        .is_ok_and(|pe| pe.imports.iter().any(|import| import.image.eq_ignore_ascii_case("fltmgr.sys")))
}

fn finding(driver: &str, rule: &str, message: String) -> Finding {
    Finding { rule: rule.into(), severity: "error".into(), driver: driver.into(), message, place: String::new() }
}

/// Loads a driver; a DriverEntry that fails is a finding, an image that cannot be loaded ends the machine.
fn start(
    setup: &Setup,
    line: &Line,
    machine: &Machine,
    recorder: &Recorder,
    driver: Pending,
) -> Result<Option<Driver>, Refusal> {
    let given = setup.registry.iter().any(|each| each.subkey.to_ascii_lowercase().starts_with("instances"));
    let altitude = match driver.altitude {
        None if !given => {
            let chosen = machine.free_altitude();
            if imports_filter_manager(&driver.bytes) {
                let text = format!("{}: no altitude given; {chosen} is chosen", driver.file);
                line.say(&Event::Note(text));
            }
            Some(chosen)
        }
        other => other,
    };
    let options = DriverOptions {
        altitude,
        allow_missing: setup.allow_missing,
        stubs: setup.stubs.clone(),
        registry: setup
            .registry
            .iter()
            .map(|each| {
                let value = each.dword.map_or_else(|| Value::Text(each.text.clone()), Value::Dword);
                (each.subkey.clone(), each.name.clone(), value)
            })
            .collect(),
    };
    match machine.load_driver(&driver.file, &driver.bytes, &options) {
        Ok(loaded) => Ok(Some(loaded)),
        Err(DriverError::Load(error)) => {
            let hint = match error {
                nt_ldr::LoadError::Missing(..) => {
                    "\n  --allow-missing loads it all the same, --stub NAME=STATUS answers for one"
                }
                _ => "",
            };
            Err(Refusal::new(CANNOT_LOAD, format!("{error}{hint}")))
        }
        Err(error) if setup.load.is_some() => {
            recorder.add_finding(finding(&driver.file, "", error.to_string()));
            Ok(None)
        }
        Err(error) => Err(Refusal::new(FINDINGS, format!("{}: {error}", driver.file))),
    }
}

fn stop(machine: &Machine, recorder: &Recorder, line: &Line, driver: Driver) {
    let name = driver.name().to_owned();
    match machine.unload_driver(driver) {
        Unloaded::Yes => line.say(&Event::Note(format!("{name}: loaded, unloaded"))),
        Unloaded::NoRoutine => line.say(&Event::Note(format!("{name}: has no unload routine and stays"))),
        Unloaded::Raised(status) => {
            recorder.add_finding(finding(&name, "", format!("the unload routine raised {status:?}")));
        }
    }
}

fn leaks(recorder: &Recorder, leaks: &nt_machine::Leaks) {
    for line in leaks.lines() {
        recorder.add_finding(finding("", "", line));
    }
}
