//! A file exerciser: random operations on one file, each compared with a copy in memory.
//!
//! Room: tests. Called by: front/fuse's tests, `cargo xtask accept fsx`. Calls: the host's file calls, `nt_cell::HostMap`.
//! The idea is that of fsx (Apple, 1991): what is written by one way is read by another, and the file's whole content is
//! known at each moment. A run follows from its seed alone.

mod plan;

use nt_cell::HostMap;
pub use plan::Plan;
use plan::{Random, Step};
use rustix::fs::SeekFrom;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

const PAGE: usize = 4096;

/// What a run did: how often each operation.
#[derive(Debug, Default)]
pub struct Done {
    /// Operations by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Bytes compared.
    pub compared: u64,
}

/// What was not as the copy says, with the seed and the last operations.
#[derive(Debug)]
pub struct Difference(String);

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for Difference {}

struct Runner<'a> {
    path: &'a Path,
    file: File,
    append: File,
    direct: Option<File>,
    model: Vec<u8>,
    done: Done,
}

/// Runs a plan on the file at `path`, which is made, and removed at the end.
///
/// # Errors
/// The first difference, or the first operation that the host refused.
pub fn run(path: &Path, plan: &Plan) -> Result<Done, Difference> {
    let mut random = Random::new(plan.seed);
    let mut last = VecDeque::new();
    let failed = |number: u64, last: &VecDeque<Step>, why: &str| {
        let mut text = format!("{why}\nat operation {number} of seed {}; the last ones were:\n", plan.seed);
        for step in last {
            let _infallible = writeln!(text, "  {step:?}");
        }
        Difference(text)
    };
    let mut runner = Runner::new(path, plan).map_err(|error| failed(0, &last, &error.to_string()))?;
    for number in 1..=plan.operations {
        let step = random.step(plan, runner.model.len());
        if last.len() == 24 {
            last.pop_front();
        }
        *runner.done.counts.entry(step.name()).or_default() += 1;
        last.push_back(step.clone());
        runner.act(&step, number).map_err(|error| failed(number, &last, &error.to_string()))?;
    }
    runner.check_all().map_err(|error| failed(plan.operations, &last, &error.to_string()))?;
    std::fs::remove_file(path).map_err(|error| failed(plan.operations, &last, &error.to_string()))?;
    Ok(runner.done)
}

fn other(text: String) -> io::Error {
    io::Error::other(text)
}

fn open(path: &Path, append: bool, direct: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(append).write(true);
    options.custom_flags(if direct { libc::O_DIRECT } else { 0 }).open(path)
}

/// Bytes that tell their operation and their place.
fn pattern(number: u64, len: usize) -> Vec<u8> {
    (0..len).map(|at| (number as u8) ^ (at as u8) ^ ((at >> 8) as u8).wrapping_mul(31)).collect()
}

/// A buffer that begins at a multiple of the sector size, as O_DIRECT wants it.
fn aligned<R>(len: usize, act: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut bytes = vec![0; len + PAGE];
    let skip = bytes.as_ptr().align_offset(PAGE);
    act(&mut bytes[skip..skip + len])
}

impl<'a> Runner<'a> {
    fn new(path: &'a Path, plan: &Plan) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        let direct = if plan.direct { Some(open(path, false, true)?) } else { None };
        Ok(Self { path, file, append: open(path, true, false)?, direct, model: Vec::new(), done: Done::default() })
    }

    fn act(&mut self, step: &Step, number: u64) -> io::Result<()> {
        match *step {
            Step::Write { at, len } => {
                let bytes = pattern(number, len);
                self.file.write_all_at(&bytes, at as u64)?;
                self.put(at, &bytes);
            }
            Step::Append { len } => {
                let bytes = pattern(number, len);
                let written = io::Write::write(&mut self.append, &bytes)?;
                if written != len {
                    return Err(other(format!("an append of {len} wrote {written}")));
                }
                self.put(self.model.len(), &bytes);
            }
            Step::DirectWrite { at, len } => {
                let bytes = pattern(number, len);
                let Some(direct) = &self.direct else { return Ok(()) };
                aligned(len, |buffer| {
                    buffer.copy_from_slice(&bytes);
                    direct.write_all_at(buffer, at as u64)
                })?;
                self.put(at, &bytes);
            }
            Step::Read { at, len } => {
                let mut bytes = vec![0; len];
                let got = read_full(&self.file, &mut bytes, at)?;
                self.compare("read", at, &bytes[..got], len)?;
            }
            Step::DirectRead { at, len } => {
                let Some(direct) = &self.direct else { return Ok(()) };
                let bytes = aligned(len, |buffer| read_full(direct, buffer, at).map(|got| buffer[..got].to_vec()))?;
                self.compare("read with O_DIRECT", at, &bytes, len)?;
            }
            Step::MapRead { at, len } => self.map_read(at, len)?,
            Step::MapWrite { at, len, sync } => {
                let bytes = pattern(number, len);
                let mut map = HostMap::new(self.file.as_fd(), self.model.len(), true)?;
                map.store(at, &bytes).map_err(|fault| other(fault.to_string()))?;
                if sync {
                    map.sync()?;
                }
                drop(map);
                self.put(at, &bytes);
            }
            Step::Truncate { to } => {
                self.file.set_len(to as u64)?;
                self.model.resize(to, 0);
            }
            Step::Allocate { at, len, kind } => self.allocate(at, len, kind)?,
            Step::Sync => self.file.sync_all()?,
            Step::Reopen => {
                self.file = open(self.path, false, false)?;
                self.append = open(self.path, true, false)?;
                if self.direct.is_some() {
                    self.direct = Some(open(self.path, false, true)?);
                }
            }
        }
        let size = self.file.metadata()?.len();
        if size != self.model.len() as u64 {
            return Err(other(format!("the size is {size}, not {}", self.model.len())));
        }
        if number.is_multiple_of(2000) { self.check_all() } else { Ok(()) }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if end > self.model.len() {
            self.model.resize(end, 0);
        }
        self.model[at..end].copy_from_slice(bytes);
    }

    fn allocate(&mut self, at: usize, len: usize, kind: plan::Kind) -> io::Result<()> {
        let done = nt_cell::hostmap::allocate(self.file.as_fd(), kind.mode(), at as u64, len as u64);
        match done {
            // What a file system does not offer it may refuse, by this one word.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                *self.done.counts.entry("refused").or_default() += 1;
                return Ok(());
            }
            other => other?,
        }
        let end = at + len;
        if kind.grows() && end > self.model.len() {
            self.model.resize(end, 0);
        }
        if kind.zeroes() {
            let end = end.min(self.model.len());
            if at < end {
                self.model[at..end].fill(0);
            }
        }
        Ok(())
    }

    fn map_read(&mut self, at: usize, len: usize) -> io::Result<()> {
        let size = self.model.len();
        let map = HostMap::new(self.file.as_fd(), size.next_multiple_of(PAGE), false)?;
        let mut bytes = vec![0; len];
        map.load(at, &mut bytes).map_err(|fault| other(fault.to_string()))?;
        self.compare("load through a mapping", at, &bytes, len)?;
        let mut tail = vec![0; size.next_multiple_of(PAGE) - size];
        map.load(size, &mut tail).map_err(|fault| other(fault.to_string()))?;
        if tail.iter().any(|&byte| byte != 0) {
            return Err(other(format!("the page's tail behind the end of file at {size} is not zero")));
        }
        Ok(())
    }

    fn compare(&mut self, by: &str, at: usize, got: &[u8], asked: usize) -> io::Result<()> {
        let end = (at + asked).min(self.model.len());
        let wanted = self.model.get(at..end).unwrap_or(&[]);
        self.done.compared += got.len() as u64;
        if wanted.len() != got.len() {
            return Err(other(format!("a {by} of {asked} at {at} gave {} bytes, not {}", got.len(), wanted.len())));
        }
        match wanted.iter().zip(got).position(|(a, b)| a != b) {
            None => Ok(()),
            Some(place) => {
                let wrong = wanted.iter().zip(got).filter(|(a, b)| a != b).count();
                Err(other(format!(
                    "a {by} of {asked} at {at}: {wrong} bytes differ, the first at {:#x} is {:#04x}, not {:#04x}",
                    at + place,
                    got[place],
                    wanted[place]
                )))
            }
        }
    }

    fn check_all(&mut self) -> io::Result<()> {
        let mut bytes = vec![0; self.model.len() + 1];
        let got = read_full(&self.file, &mut bytes, 0)?;
        let asked = bytes.len();
        self.compare("read", 0, &bytes[..got], asked)?;
        self.check_holes()
    }

    /// What is said to be a hole has nothing in it.
    fn check_holes(&self) -> io::Result<()> {
        let (mut at, size) = (0, self.model.len());
        while at < size {
            let data = match rustix::fs::seek(&self.file, SeekFrom::Data(at as u64)) {
                Err(rustix::io::Errno::NXIO) => size,
                found => (found? as usize).min(size),
            };
            if let Some(place) = self.model[at..data].iter().position(|&byte| byte != 0) {
                return Err(other(format!("the hole from {at} to {data} has bytes at {}", at + place)));
            }
            if data < size {
                at = rustix::fs::seek(&self.file, SeekFrom::Hole(data as u64))? as usize;
            } else {
                break;
            }
        }
        Ok(())
    }
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &File, buffer: &mut [u8], at: usize) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], (at + got) as u64)? {
            0 => break,
            count => got += count,
        }
    }
    Ok(got)
}
