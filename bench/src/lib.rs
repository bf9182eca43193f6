//! `ntio bench`: our figures as ratios to limits measured in the same run.
//!
//! Room: bench. Called by: `front/cli`. Calls: `nt_machine` as an embedding program does.
//! Source of the limits: `src/floor.c`, a C model of what a user-mode NtWriteFile cannot avoid. Ratios travel between
//! machines; nanoseconds do not.
#![expect(unsafe_code, reason = "one call of the C model")]

use nt_abi::ks::{IOCTL_KS_WRITE_STREAM, KSSTATE_ACQUIRE, KSSTATE_PAUSE, KSSTATE_RUN, KSSTREAM_WRITE};
use nt_cell::Addr;
use nt_cell::arena::UserBlock;
use nt_io::create::CreateSpec;
use nt_io::event::LocalEvent;
use nt_io::rw::Arguments;
use nt_io::system::AsyncPolicy;
use nt_ke::Frame;
use nt_ke::dispatcher::EventType;
use nt_ks::frames::FrameList;
use nt_ks::streamio::{self, StreamRequest};
use nt_machine::{KernelFile, KsSpec, Machine, VolumeSpec};
use nt_ob::Handle;
use serde::Serialize;
use std::os::unix::fs::FileExt;
use std::time::Instant;

mod floor {
    unsafe extern "C" {
        pub(crate) safe fn ntio_floor(packet: i32, length: u32, count: i64, rounds: i32) -> f64;
    }
}

/// What the floor model is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// The fast path of the model.
    Fast,
    /// The packet path of the model.
    Packet,
    /// A memcpy into the same window.
    Copy,
}

/// One line of a bench.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Bytes per operation.
    pub bytes: u32,
    /// Nanoseconds per operation, best round.
    pub ns: f64,
    /// What the limit is.
    pub limit: &'static str,
    /// Its nanoseconds in the same run.
    pub limit_ns: f64,
    /// `ns / limit_ns`.
    pub ratio: f64,
}

impl Row {
    /// Makes a row of a figure and its limit.
    #[must_use]
    pub fn new(name: impl Into<String>, bytes: u32, ns: f64, limit: &'static str, limit_ns: f64) -> Self {
        Self { name: name.into(), bytes, ns, limit, limit_ns, ratio: ns / limit_ns }
    }
}

/// Returns the model's nanoseconds per write.
#[must_use]
pub fn limit(kind: Limit, bytes: u32, count: u32, rounds: u32) -> f64 {
    let kind = match kind {
        Limit::Fast => 0,
        Limit::Packet => 1,
        Limit::Copy => 2,
    };
    // One caller at a time: the model keeps its state in statics.
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE.lock();
    floor::ntio_floor(kind, bytes, i64::from(count), rounds as i32)
}

/// How long a bench takes: `tiny` for the test that keeps it from rotting.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Operations a round at 64 bytes.
    pub count: u32,
    /// Rounds; the best counts.
    pub rounds: u32,
}

impl Effort {
    /// A second or two, in rounds of a few milliseconds: the best of them ran undisturbed.
    pub const FULL: Self = Self { count: 40_000, rounds: 60 };
    /// A blink.
    pub const TINY: Self = Self { count: 200, rounds: 1 };

    fn scaled(self, bytes: u32) -> u32 {
        (self.count / (1 + bytes / 512)).max(8)
    }
}

/// How a write tells its end besides the status block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// By nothing else.
    Block,
    /// By an event, which is waited for.
    Event,
    /// By a packet of a completion port, which is taken off it.
    Port,
}

const ALL_ACCESS: u32 = 0x001F_0003;
const SYNCHRONOUS: u32 = 0x20;
const READ_WRITE: u32 = 0xC010_0000;
const WINDOW: i64 = 64 << 20;

/// `ntio bench io`: NtWriteFile on a `ram` volume, by fast I/O and by packet, against the model; on a `dir` volume against
/// the host's own write.
///
/// # Errors
/// When the machine cannot be built or a write fails: the text says which.
pub fn io(effort: Effort) -> Result<Vec<Row>, String> {
    let directory = tempfile::tempdir().map_err(|error| format!("no directory for the dir volume: {error}"))?;
    let machine = Machine::builder()
        .volume(VolumeSpec::Ram { size: None })
        .volume(VolumeSpec::Dir { path: directory.path().to_owned() })
        .completion(AsyncPolicy::Inline)
        .build()
        .map_err(|error| format!("the machine could not be built: {error}"))?;
    let client = machine.process("bench").map_err(|error| format!("no process: {error}"))?;
    let mut rows = Vec::new();
    for bytes in [64, 4096, 65_536] {
        let count = effort.scaled(bytes);
        let fast = writes(&client, "C:\\fast", SYNCHRONOUS, bytes, count, effort.rounds, Told::Block)?;
        let packet = writes(&client, "C:\\packet", 0, bytes, count, effort.rounds, Told::Block)?;
        let copy = limit(Limit::Copy, bytes, count, effort.rounds);
        let floor_fast = limit(Limit::Fast, bytes, count, effort.rounds);
        let floor_packet = limit(Limit::Packet, bytes, count, effort.rounds);
        rows.push(Row::new("NtWriteFile, fast I/O", bytes, fast, "model, fast I/O", floor_fast));
        rows.push(Row::new("NtWriteFile, IRP", bytes, packet, "model, IRP", floor_packet));
        if bytes == 64 {
            // Completed inline; the event is waited for and the packet taken off the port, as a program does.
            let event = writes(&client, "C:\\event", 0, bytes, count, effort.rounds, Told::Event)?;
            let port = writes(&client, "C:\\port", 0, bytes, count, effort.rounds, Told::Port)?;
            rows.push(Row::new("write and event, IRP", bytes, event, "model, IRP", floor_packet));
            rows.push(Row::new("write and port, IRP", bytes, port, "model, IRP", floor_packet));
        }
        rows.push(Row::new("NtWriteFile, fast I/O", bytes, fast, "memcpy, same window", copy));
        // What the host does is nobody's to save: this row is judged by its difference, at most 150 ns at 4 KiB.
        let (bare, ours) = on_a_directory(&client, &directory, bytes, count, effort.rounds)?;
        rows.push(Row::new("NtWriteFile, dir volume", bytes, ours, "pwrite, same directory", bare));
    }
    drop(client);
    let leaks = machine.shutdown();
    if !leaks.is_empty() {
        return Err(format!("the bench left something behind: {leaks:?}"));
    }
    Ok(rows)
}

/// Writes so many bytes again and again on one path, for a profiler; on a `dir` volume if a directory is given.
///
/// # Errors
/// As [`io`].
pub fn hot(
    packet: bool,
    told: Told,
    bytes: u32,
    directory: Option<std::path::PathBuf>,
    seconds: u32,
) -> Result<(), String> {
    let machine = Machine::builder()
        .volume(directory.map_or(VolumeSpec::Ram { size: None }, |path| VolumeSpec::Dir { path }))
        .completion(AsyncPolicy::Inline)
        .build()
        .map_err(|error| format!("the machine could not be built: {error}"))?;
    let client = machine.process("bench").map_err(|error| format!("no process: {error}"))?;
    let options = if packet { 0 } else { SYNCHRONOUS };
    writes(&client, "C:\\hot", options, bytes, 256_000_000 / bytes, seconds, told)?;
    Ok(())
}

/// The host's own write and ours to files of one directory, in turns: what the machine does besides hits both alike.
fn on_a_directory(
    client: &nt_machine::Client,
    directory: &tempfile::TempDir,
    bytes: u32,
    count: u32,
    rounds: u32,
) -> Result<(f64, f64), String> {
    let file = std::fs::File::create(directory.path().join("bare")).map_err(|error| format!("bare: {error}"))?;
    let (mut bare, mut ours) = (f64::INFINITY, f64::INFINITY);
    for round in 0..=rounds {
        let each = pwrites(&file, bytes, count)?;
        if round > 0 {
            bare = bare.min(each);
        }
        ours = ours.min(writes(client, "D:\\ours", SYNCHRONOUS, bytes, count, 1, Told::Block)?);
    }
    Ok((bare, ours))
}

fn pwrites(file: &std::fs::File, bytes: u32, count: u32) -> Result<f64, String> {
    // At the start of a page, as the other's buffer is: the host copies such bytes faster.
    let room = vec![5; bytes as usize + 4096];
    let skip = room.as_ptr().align_offset(4096);
    let data = &room[skip..skip + bytes as usize];
    let mut offset = 0_i64;
    let start = Instant::now();
    for _ in 0..count {
        let done = file.write_at(data, offset as u64).map_err(|error| format!("pwrite: {error}"))?;
        if done != data.len() {
            return Err(format!("pwrite: {done} of {bytes} bytes"));
        }
        offset = (offset + i64::from(bytes)) % WINDOW;
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(count))
}

/// A write that the cache put off until there is room is waited for: the round that it is in is not the best.
fn settled(frame: &Frame, handle: Handle, status: nt_abi::NtStatus) -> nt_abi::NtStatus {
    if status != nt_abi::NtStatus::PENDING {
        return status;
    }
    let waited = nt_io::event::wait_for(frame, handle, false, None);
    waited.unwrap_or_else(|error| error.status())
}

/// The object that tells the end of writes on `file`: an event, or a port that the file is associated with.
fn teller(client: &nt_machine::Client, file: Handle, told: Told) -> Result<Handle, String> {
    let say = |error: nt_abi::NtError| format!("{told:?}: {error}");
    let made = client.call(|frame| match told {
        Told::Block => Ok(Handle::NULL),
        Told::Event => nt_io::event::create(frame, ALL_ACCESS, 0, EventType::Notification, false),
        Told::Port => nt_io::port::create(frame, ALL_ACCESS),
    });
    let made = made.map_err(say)?;
    if told == Told::Port {
        let association = [made.0.to_le_bytes(), 1_u64.to_le_bytes()].concat();
        client.set_information(file, nt_io::info::class::COMPLETION, &association).map_err(say)?;
    }
    Ok(made)
}

fn writes(
    client: &nt_machine::Client,
    name: &str,
    options: u32,
    bytes: u32,
    count: u32,
    rounds: u32,
    told: Told,
) -> Result<f64, String> {
    let spec = nt_io::create::CreateSpec {
        access: READ_WRITE,
        name: format!("\\??\\{name}-{bytes}").encode_utf16().collect(),
        disposition: 3,
        options,
        ..Default::default()
    };
    let (handle, _) = client.create(&spec).map_err(|error| format!("create {name}: {error}"))?;
    let data = UserBlock::new(bytes as usize).ok_or("no room in the user arena")?;
    let block = UserBlock::new(64).ok_or("no room in the user arena")?;
    let _filled = data.region().fill(5);
    let teller = teller(client, handle, told)?;
    let arguments = Arguments {
        handle,
        event: if told == Told::Event { teller } else { Handle::NULL },
        apc_routine: None,
        apc_context: u64::from(told == Told::Port),
        iosb: Addr::user(block.addr()),
        buffer: Addr::user(data.addr()),
        length: bytes,
        byte_offset: Addr::user(block.addr() + 16),
        key: Addr::NULL,
    };
    let result = client.call(|frame| {
        let offsets = block.region();
        let mut best = f64::INFINITY;
        let mut offset = 0_i64;
        // The first pass makes what the rounds will write to; they go on through the window, so that it stays cold.
        let all = i64::from(count) * i64::from(rounds + 1) * i64::from(bytes);
        for at in (0..all.min(WINDOW)).step_by(bytes as usize) {
            let _own = offsets.store::<i64>(16, at);
            let status = settled(frame, handle, nt_io::write::nt_write_file(frame, &arguments));
            if told == Told::Port {
                let _nobody_counts_these = nt_io::port::remove(frame, teller, Some(0));
            }
            if !status.is_success() {
                return Err(format!("{name}: the first write of {bytes} bytes at {at} failed: {status}"));
            }
        }
        for _ in 0..rounds {
            let start = Instant::now();
            for _ in 0..count {
                let _own = offsets.store::<i64>(16, offset);
                let status = settled(frame, handle, nt_io::write::nt_write_file(frame, &arguments));
                let known = match told {
                    Told::Block => true,
                    Told::Event => nt_io::event::wait_for(frame, teller, false, None) == Ok(nt_abi::NtStatus::SUCCESS),
                    Told::Port => matches!(nt_io::port::remove(frame, teller, None), Ok(Ok(_))),
                };
                if status != nt_abi::NtStatus::SUCCESS || !known {
                    return Err(format!("{name}: a write of {bytes} bytes at {offset} failed: {status}"));
                }
                offset = (offset + i64::from(bytes)) % WINDOW;
            }
            let each = start.elapsed().as_nanos() as f64 / f64::from(count);
            best = best.min(each);
        }
        Ok(best)
    });
    client.close(handle).map_err(|error| format!("close {name}: {error}"))?;
    if told != Told::Block {
        client.close(teller).map_err(|error| format!("close of what tells: {error}"))?;
    }
    result
}

/// `ntio bench ks`: stream writes of the built-in `null` device and plain writes of its raw pin, against the packet path of
/// the model. A stream write is asked for under 600 ns with one header.
///
/// # Errors
/// When the machine cannot be built or a request fails: the text says which.
pub fn ks(effort: Effort) -> Result<Vec<Row>, String> {
    let say = |what: &'static str| move |error: nt_abi::NtError| format!("{what}: {error}");
    let machine = Machine::builder().ks(KsSpec::Null).build().map_err(say("the machine could not be built"))?;
    let kernel = machine.kernel_client().map_err(say("no thread"))?;
    let device = CreateSpec { disposition: 1, ..nt_machine::file::spec("\\??\\NtioKs.null") };
    let filter = kernel.open(&device).map_err(say("open of NtioKs.null"))?;
    let pin = filter.pin(0, false).map_err(say("pin 0"))?;
    for state in [KSSTATE_ACQUIRE, KSSTATE_PAUSE, KSSTATE_RUN] {
        pin.set_state(state).map_err(say("a state change"))?;
    }
    let raw = filter.pin(1, false).map_err(say("pin 1"))?;
    let mut rows = Vec::new();
    for (headers, bytes) in [(1, 64), (1, 4096), (4, 4096), (16, 4096)] {
        let data = vec![5; bytes as usize];
        let frames = FrameList::filled(&vec![data.as_slice(); headers]).map_err(say("no pool"))?;
        let total = bytes * headers as u32;
        let count = effort.scaled(64);
        let ns = kernel.call(|frame| streams(frame, &pin, &frames, count, effort.rounds))?;
        let floor = limit(Limit::Packet, 64, count, effort.rounds);
        rows.push(Row::new(format!("KsStreamIo, {headers} header(s)"), total, ns, "model, IRP, 64 B", floor));
        let control = || pin.control(IOCTL_KS_WRITE_STREAM, (Addr::NULL, 0), (frames.addr(), frames.length()));
        let ns = best(count, effort.rounds, || control().map(|_| ()).map_err(say("IOCTL_KS_WRITE_STREAM")))?;
        rows.push(Row::new(format!("..._WRITE_STREAM, {headers} h."), total, ns, "model, IRP, 64 B", floor));
    }
    let count = effort.scaled(64);
    let ns = best(count, effort.rounds, || raw.ks_write(&[5; 64]).map(|_| ()).map_err(say("KsWriteFile")))?;
    let floor = limit(Limit::Fast, 64, count, effort.rounds);
    rows.push(Row::new("KsWriteFile, raw pin", 64, ns, "model, fast I/O", floor));
    drop((raw, pin, filter, kernel));
    let leaks = machine.shutdown();
    if !leaks.is_empty() {
        return Err(format!("the bench left something behind: {leaks:?}"));
    }
    Ok(rows)
}

fn best(count: u32, rounds: u32, mut each: impl FnMut() -> Result<(), String>) -> Result<f64, String> {
    let mut best = f64::INFINITY;
    for _ in 0..=rounds {
        let start = Instant::now();
        for _ in 0..count {
            each()?;
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(count));
    }
    Ok(best)
}

fn streams(frame: &Frame, pin: &KernelFile, frames: &FrameList, count: u32, rounds: u32) -> Result<f64, String> {
    let local = LocalEvent::new().ok_or("no pool")?;
    let request = StreamRequest::of_kernel(pin.object(), frames, &local, KSSTREAM_WRITE);
    best(count, rounds, || match streamio::stream_io(frame, &request) {
        nt_abi::NtStatus::SUCCESS => Ok(()),
        status => Err(format!("KsStreamIo: {status}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bench_of_writes_runs_and_every_figure_has_its_limit() {
        let rows = io(Effort::TINY).expect("bench");
        assert_eq!(rows.len(), 14);
        assert!(rows.iter().all(|row| row.ns > 0.0 && row.limit_ns > 0.0));
    }

    #[test]
    fn the_bench_of_streams_runs_and_every_figure_has_its_limit() {
        let rows = ks(Effort::TINY).expect("bench");
        assert_eq!(rows.len(), 9);
        assert!(rows.iter().all(|row| row.ns > 0.0 && row.limit_ns > 0.0));
    }
}
