//! What the machine costs on top of FUSE: the same calls on a mounted volume and on a mount that only keeps bytes.
//!
//! Room: front/fuse. Called by: front/cli. Calls: `session` with two services. The limit is measured in the same rounds: a service on
//! the same transport that keeps files in vectors, so the ratio is what NT services, handles and the volume add. Left to the
//! scheduler a call costs one to four times as much, as it finds server and caller on one processor or on two, and the two servers
//! seldom have the same luck: so each is told where to run, once both on one processor and once on two.

use crate::attr::Attr;
use crate::door::MountError;
use crate::protocol::{Answer, Reply, Request, opcode};
use crate::session::{MOST, Service, Session};
use crate::transport;
use nt_cell::Region;
use nt_machine::{Machine, VolumeSpec};
use parking_lot::Mutex;
use rustix::thread::CpuSet;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where server and caller run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Both on one processor.
    One,
    /// On a processor each.
    Two,
}

/// A figure: what, on how many bytes, nanoseconds here and at the limit (medians).
#[derive(Clone, Debug)]
pub struct Figure {
    /// What was measured.
    pub name: &'static str,
    /// Where.
    pub place: Place,
    /// Bytes in one call.
    pub bytes: u32,
    /// Nanoseconds a call on the volume.
    pub ns: f64,
    /// Nanoseconds a call at the limit.
    pub limit_ns: f64,
}

/// A directory of files in memory: the least that a FUSE server can do.
#[derive(Default)]
struct Plain {
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    names: HashMap<Vec<u8>, u64>,
    bytes: HashMap<u64, Vec<u8>>,
    last: u64,
}

impl Files {
    fn attr(&self, node: u64) -> Attr {
        let size = self.bytes.get(&node).map_or(0, |bytes| bytes.len() as u64);
        let mode = if node == 1 { libc::S_IFDIR | 0o755 } else { libc::S_IFREG | 0o644 };
        Attr { node, size, mode, links: 1, ..Attr::default() }
    }
    fn put(&mut self, node: u64, at: usize, data: Region) -> Result<(), i32> {
        let bytes = self.bytes.entry(node).or_default();
        if bytes.len() < at + data.len() {
            bytes.resize(at + data.len(), 0);
        }
        data.read_to(&mut bytes[at..at + data.len()]).map_err(|_| libc::EFAULT)
    }
    fn get(&self, node: u64, at: usize, room: Region) -> Result<usize, i32> {
        let bytes = self.bytes.get(&node).map_or(&[][..], Vec::as_slice);
        let part = &bytes[at.min(bytes.len())..(at + room.len()).min(bytes.len())];
        room.sub(0, part.len()).write_from(part).map_err(|_| libc::EFAULT)?;
        Ok(part.len())
    }
}

impl Service for Plain {
    fn serve(&self, request: &Request) -> Option<Result<Reply, i32>> {
        let (node, body) = (request.header.node, request.body());
        let mut files = self.files.lock();
        let done = match request.header.opcode {
            opcode::LOOKUP => match files.names.get(body.name(0).0) {
                Some(&found) => Ok(Answer::entry(&files.attr(found)).done()),
                None => Err(libc::ENOENT),
            },
            opcode::FORGET | opcode::BATCH_FORGET => return None,
            opcode::GETATTR => Ok(Answer::attributes(&files.attr(node))),
            opcode::SETATTR => {
                files.bytes.entry(node).or_default().clear();
                Ok(Answer::attributes(&files.attr(node)))
            }
            opcode::CREATE => {
                files.last += 1;
                let made = files.last + 1;
                files.names.insert(body.name(16).0.to_vec(), made);
                files.bytes.insert(made, Vec::new());
                Ok(Answer::entry(&files.attr(made)).opened(made, crate::data::DIRECT_IO))
            }
            opcode::OPEN | opcode::OPENDIR => Ok(Answer::new().opened(node, crate::data::DIRECT_IO)),
            opcode::WRITE => {
                let put = files.put(node, body.long(8) as usize, request.data);
                put.map(|()| Answer::new().word(request.data.len() as u32).word(0).done())
            }
            opcode::READ => {
                let (at, len) = (body.long(8) as usize, body.word(16) as usize);
                return Some(files.get(node, at, request.room.sub(0, len.min(request.room.len()))).map(Reply::Room));
            }
            opcode::UNLINK => match files.names.remove(body.name(0).0) {
                Some(gone) => {
                    files.bytes.remove(&gone);
                    Ok(Vec::new())
                }
                None => Err(libc::ENOENT),
            },
            opcode::FLUSH | opcode::RELEASE | opcode::RELEASEDIR => Ok(Vec::new()),
            _ => Err(libc::ENOSYS),
        };
        Some(done.map(Reply::Bytes))
    }
    fn cancel(&self, _thread: &nt_ke::Thread) -> bool {
        false
    }
    fn end(&self) {}
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Nanoseconds of each call.
fn time(count: u32, mut call: impl FnMut(u32) -> std::io::Result<()>) -> Result<Vec<u64>, String> {
    (0..count)
        .map(|number| {
            let begun = Instant::now();
            call(number).map_err(said)?;
            Ok(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX))
        })
        .collect()
}

fn median(mut all: Vec<u64>) -> f64 {
    all.sort_unstable();
    all.get(all.len() / 2).map_or(0.0, |&middle| middle as f64)
}

const FILE: u64 = 4 << 20;
const PAGE: usize = 4096;

/// What is measured: a name, the bytes, and how often in a round.
const KINDS: [(&str, u32, u32); 6] = [
    ("write", 4 << 10, 400),
    ("write", 64 << 10, 200),
    ("write", 1 << 20, 40),
    ("read", 4 << 10, 400),
    ("read", 64 << 10, 200),
    ("create+write+unlink", 100, 60),
];

fn measure(at: &Path, file: &File, kind: (&str, u32, u32)) -> Result<Vec<u64>, String> {
    let (name, bytes, count) = kind;
    // From a page on: a transfer of 1 MiB that begins within one is two requests.
    let mut memory = vec![7; bytes as usize + PAGE];
    let begin = memory.as_ptr().align_offset(PAGE);
    let buffer = &mut memory[begin..begin + bytes as usize];
    let place = |number: u32| u64::from(number) * u64::from(bytes) % FILE;
    match name {
        "write" => time(count, |number| file.write_all_at(buffer, place(number))),
        "read" => time(count, |number| file.read_exact_at(buffer, place(number))),
        _ => time(count, |number| {
            let path = at.join(format!("f{number}"));
            fs::write(&path, &*buffer)?;
            fs::remove_file(&path)
        }),
    }
}

/// Has this thread, and those that it makes from now on, run there.
fn run_on(processors: &CpuSet) -> Result<(), String> {
    rustix::thread::sched_setaffinity(None, processors).map_err(said)
}

/// Measures in alternating rounds, at each place.
///
/// # Errors
/// What could not be mounted or called.
pub fn run(rounds: u32) -> Result<Vec<Figure>, String> {
    let machine = Machine::builder().volume(VolumeSpec::Ram { size: Some(256 << 20) }).build();
    let machine = Arc::new(machine.map_err(|error| format!("no machine: {:?}", error.status()))?);
    let folder = |word: &str| -> Result<_, String> {
        let at = std::env::temp_dir().join(format!("ntio-bench-{word}-{}", std::process::id()));
        fs::create_dir(&at).map_err(said)?;
        Ok(at)
    };
    let (ours, plain) = (folder("volume")?, folder("limit")?);
    let all = rustix::thread::sched_getaffinity(None).map_err(said)?;
    let mut each = (0..CpuSet::MAX_CPU).filter(|&number| all.is_set(number)).map(|number| {
        let mut one = CpuSet::new();
        one.set(number);
        one
    });
    let first = each.next().ok_or("no processor")?;
    let mut measured = mounted(&machine, (&ours, &plain), rounds, (Place::One, first, first));
    if let (Ok(figures), Some(second)) = (&mut measured, each.next()) {
        match mounted(&machine, (&ours, &plain), rounds, (Place::Two, first, second)) {
            Ok(more) => figures.extend(more),
            Err(error) => measured = Err(error),
        }
    }
    for at in [&ours, &plain] {
        let _gone = transport::unmount(at, true);
        let _gone = fs::remove_dir(at);
    }
    run_on(&all)?;
    measured
}

fn mounted(
    machine: &Arc<Machine>,
    (ours, plain): (&Path, &Path),
    rounds: u32,
    (place, here, there): (Place, CpuSet, CpuSet),
) -> Result<Vec<Figure>, String> {
    let volume = crate::mount(machine, 0, ours).map_err(|error: MountError| said(error))?;
    let device = transport::mount(plain, "ntio-bench", false, false).map_err(said)?;
    let limit = Session::new(device, Plain::default(), MOST).map_err(said)?;
    run_on(&there)?;
    let servers = [std::thread::spawn(move || volume.serve()), std::thread::spawn(move || limit.serve())];
    run_on(&here)?;
    let measured = (|| {
        let open = |at: &Path| -> Result<File, String> {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(at.join("data"));
            let file = file.map_err(said)?;
            file.write_all_at(&vec![1; FILE as usize], 0).map_err(said)?;
            Ok(file)
        };
        let (mine, least) = (open(ours)?, open(plain)?);
        let mut figures = Vec::new();
        for kind in KINDS {
            let (mut ns, mut limit_ns) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                ns.extend(measure(ours, &mine, kind)?);
                limit_ns.extend(measure(plain, &least, kind)?);
            }
            figures.push(Figure { name: kind.0, place, bytes: kind.1, ns: median(ns), limit_ns: median(limit_ns) });
        }
        Ok(figures)
    })();
    for at in [ours, plain] {
        // What the kernel still has to release it releases on its own time.
        let end = Instant::now() + Duration::from_secs(5);
        while transport::unmount(at, false).is_err() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _gone = transport::unmount(at, true);
    }
    for server in servers {
        server.join().map_err(|_| "a server panicked".to_owned())?.map_err(said)?;
    }
    measured
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_figure_has_a_limit_of_the_same_run() {
        if std::env::var_os("NTIO_NO_FUSE").is_some_and(|value| value == "1") {
            return;
        }
        let figures = super::run(1).expect("a mount (NTIO_NO_FUSE=1 where there is no FUSE)");
        let places = figures.iter().filter(|figure| figure.place == super::Place::Two).count();
        assert_eq!(figures.len(), super::KINDS.len() + places);
        assert!(places == 0 || places == super::KINDS.len(), "one place or two: {figures:?}");
        assert!(figures.iter().all(|figure| figure.ns > 0.0 && figure.limit_ns > 0.0), "{figures:?}");
    }
}
