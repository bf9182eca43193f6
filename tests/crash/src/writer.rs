//! One writer: a program that works in the mount until the mount is gone.
//!
//! Room: tests.

use crate::model::{Folder, Random, Step, Thing, Under, common, difference};
use crate::read_folder;
use crate::unflushed::{Loose, Unflushed};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// The file that all writers share, each in a part of its own.
pub(crate) const SHARED: &str = "shared";
/// How a round's phases are told: everything works; the server is being killed; it could not be killed.
const BUSY: u8 = 0;
pub(crate) const KILLED: u8 = 1;
pub(crate) const GIVEN_UP: u8 = 2;

/// How a round stands, for all its writers.
#[derive(Default)]
pub(crate) struct Round {
    pub(crate) phase: AtomicU8,
    acknowledged: AtomicU64,
    flushes: AtomicU64,
}

impl Round {
    /// Whether so many calls were acknowledged, and where that is what promises anything a flush among them.
    pub(crate) fn is_worth_a_kill(&self, least: u64, behind: bool) -> bool {
        self.acknowledged.load(Ordering::Relaxed) >= least && (!behind || self.flushes.load(Ordering::Relaxed) != 0)
    }
}

const PART: usize = 256 << 10;
const LONGEST: u64 = 96 << 10;
const MOST: u64 = 1 << 20;

pub(crate) struct Writer {
    number: usize,
    random: Random,
    folder: Folder,
    /// The part of the shared file.
    part: Vec<u8>,
    /// What may be missing; `None`: nothing may.
    unflushed: Option<(Unflushed, Loose)>,
    counter: u64,
    acknowledged: u64,
    flushes: u64,
}

/// A folder and a part as they were found.
pub(crate) struct There {
    folder: Folder,
    part: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(number: usize, seed: u64, behind: bool) -> Self {
        Self {
            number,
            random: Random::new(seed),
            folder: Folder::default(),
            part: vec![0; PART],
            unflushed: behind.then(|| (Unflushed::default(), Loose::flushed(vec![0; PART].into()))),
            counter: 0,
            acknowledged: 0,
            flushes: 0,
        }
    }

    pub(crate) fn folder(&self) -> String {
        format!("w{}", self.number)
    }

    /// Calls that were acknowledged since the last time this was asked, and flushes among them.
    pub(crate) fn acknowledged(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.acknowledged), std::mem::take(&mut self.flushes))
    }

    fn data(&mut self, longest: u64) -> Vec<u8> {
        let length = match self.random.below(4) {
            0 => 1 + self.random.below(64),
            1 => 4096,
            _ => 1 + self.random.below(longest),
        };
        // No two calls write the same bytes: a call that is missing shows.
        self.counter += 1;
        let start = self.counter.wrapping_mul(0x0101_0101_0101_0101) ^ self.random.number();
        (0..length).map(|at| (start.rotate_left((at % 64) as u32) ^ at) as u8).collect()
    }

    fn step(&mut self) -> Step {
        let files: Vec<String> = self.folder.0.keys().filter(|name| name.starts_with('f')).cloned().collect();
        let others: Vec<String> = self.folder.0.keys().filter(|name| !name.starts_with('f')).cloned().collect();
        self.counter += 1;
        let fresh = self.counter;
        let pick = |random: &mut Random, names: &[String]| names[random.below(names.len() as u64) as usize].clone();
        if files.len() < 3 {
            return Step::Create { name: format!("f{fresh}") };
        }
        let name = pick(&mut self.random, &files);
        match self.random.below(20) {
            0 if files.len() < 8 => Step::Create { name: format!("f{fresh}") },
            1 => Step::Cut { to: self.random.below(MOST) as usize, name },
            2 => Step::Rename { to: format!("f{fresh}"), from: name },
            // Over another: as programs replace a file.
            3 => match pick(&mut self.random, &files) {
                to if to != name => Step::Rename { from: name, to },
                _ => Step::Flush { name },
            },
            4 => Step::Remove { name },
            5 if others.len() < 6 => Step::Symlink { name: format!("l{fresh}"), target: name },
            6 if others.len() < 6 => Step::Create { name: format!("x{fresh}") },
            5 | 6 => Step::Remove { name: pick(&mut self.random, &others) },
            7 if self.random.below(3) == 0 => Step::FlushShared,
            7 => Step::Flush { name },
            8..=11 => match self.data(LONGEST / 4) {
                data if self.folder.length(&name) < MOST as usize => Step::Append { name, data },
                _ => Step::Cut { name, to: 0 },
            },
            12..=14 => {
                let data = self.data(PART as u64 / 2);
                Step::Shared { at: self.random.below((PART - data.len()) as u64) as usize, data }
            }
            _ => {
                let at = self.random.below(MOST / 2) as usize;
                Step::Write { name, at, data: self.data(LONGEST) }
            }
        }
    }

    fn act(&self, at: &Path, step: &Step) -> io::Result<()> {
        let own = at.join(self.folder());
        let open = |name: &str| OpenOptions::new().write(true).open(own.join(name));
        match step {
            Step::Create { name } => File::create_new(own.join(name)).map(drop),
            Step::Write { name, at, data } => once(open(name)?.write_at(data, *at as u64)?, data),
            Step::Append { name, data } => {
                once(OpenOptions::new().append(true).open(own.join(name))?.write(data)?, data)
            }
            Step::Cut { name, to } => open(name)?.set_len(*to as u64),
            Step::Rename { from, to } => std::fs::rename(own.join(from), own.join(to)),
            Step::Remove { name } => std::fs::remove_file(own.join(name)),
            Step::Symlink { name, target } => std::os::unix::fs::symlink(target, own.join(name)),
            Step::Flush { name } => open(name)?.sync_all(),
            Step::FlushShared => OpenOptions::new().write(true).open(at.join(SHARED))?.sync_all(),
            Step::Shared { at: start, data } => {
                let file = OpenOptions::new().write(true).open(at.join(SHARED))?;
                once(file.write_at(data, (self.number * PART + start) as u64)?, data)
            }
        }
    }

    /// Works until a call fails; returns that call. Only a server that is being killed may fail one.
    pub(crate) fn work(&mut self, at: &Path, round: &Round) -> Result<Under, String> {
        loop {
            let step = self.step();
            match self.act(at, &step) {
                Ok(()) => {
                    if let Some((files, part)) = &mut self.unflushed {
                        files.apply(&self.folder, &step);
                        match &step {
                            Step::Shared { at, data } => part.write(*at, data),
                            Step::FlushShared => *part = Loose::flushed(self.part.clone().into()),
                            _ => {}
                        }
                    }
                    self.folder.apply(&step, usize::MAX);
                    if let Step::Shared { at, data } = &step {
                        self.part[*at..*at + data.len()].copy_from_slice(data);
                    }
                    let flushes = u64::from(matches!(step, Step::Flush { .. } | Step::FlushShared));
                    self.flushes += flushes;
                    self.acknowledged += 1;
                    round.flushes.fetch_add(flushes, Ordering::Relaxed);
                    round.acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) if round.phase.load(Ordering::SeqCst) != BUSY => return Ok(Under(Some(step))),
                Err(error) => return Err(format!("{}: {error} before the kill: {}", self.folder(), told(&step))),
            }
            if round.phase.load(Ordering::Relaxed) == GIVEN_UP {
                return Ok(Under::default());
            }
        }
    }

    /// Reads what is there and compares it.
    pub(crate) fn compare(&self, at: &Path, under: &Under) -> Result<There, String> {
        let folder = read_folder(&at.join(self.folder()))?;
        let say = |what: String| {
            let call = under.0.as_ref().map_or_else(|| "no call".to_owned(), told);
            format!("{}: {what}; under way: {call}", self.folder())
        };
        let misfit = match &self.unflushed {
            Some((files, _)) => under.misfit(&self.folder, files, &folder),
            None => (!under.explains(&self.folder, &folder)).then(|| difference(&self.folder, &folder)),
        };
        if let Some(why) = misfit {
            return Err(say(why));
        }
        let shared = std::fs::read(at.join(SHARED)).map_err(|error| format!("{SHARED}: {error}"))?;
        let start = (self.number * PART).min(shared.len());
        let mut part = shared[start..shared.len().min(start + PART)].to_vec();
        part.resize(PART, 0);
        if let Some((_, loose)) = &self.unflushed {
            let mut loose = loose.clone();
            if let Some(Step::Shared { at, data }) = &under.0 {
                loose.write(*at, data);
            }
            return match loose.misfit(&part) {
                Some(why) => Err(say(format!("part {} of {SHARED}: {why}", self.number))),
                None => Ok(There { folder, part }),
            };
        }
        let fits = match &under.0 {
            Some(Step::Shared { at, data }) => {
                let done = common(data, &part[*at..]);
                let mut expected = self.part.clone();
                expected[*at..*at + done].copy_from_slice(&data[..done]);
                expected == part
            }
            _ => part == self.part,
        };
        if !fits {
            let from = part.iter().zip(&self.part).position(|(a, b)| a != b);
            return Err(say(format!("part {} of {SHARED} is different from {from:?} on", self.number)));
        }
        Ok(There { folder, part })
    }

    /// Files that are not what the calls left, as only a cache that writes behind may have it.
    pub(crate) fn lacking(&self, there: &There) -> u64 {
        let files = self.folder.0.iter().filter(|(name, thing)| match there.folder.0.get(*name) {
            Some(Thing::File(bytes)) => **thing != Thing::File(bytes.clone()),
            _ => false,
        });
        files.count() as u64 + u64::from(there.part != self.part)
    }

    /// Goes on from what is there; tells whether the call that was under way had begun.
    pub(crate) fn adopt(&mut self, there: There, under: &Under) -> bool {
        let begun = !under.is_nothing() && (there.folder != self.folder || there.part != self.part);
        self.folder = there.folder;
        self.folder.0.retain(|name, _| !name.starts_with(".ntio-"));
        self.part = there.part;
        if let Some(unflushed) = &mut self.unflushed {
            *unflushed = (Unflushed::of(&self.folder), Loose::flushed(self.part.clone().into()));
        }
        begun
    }
}

fn once(count: usize, data: &[u8]) -> io::Result<()> {
    if count == data.len() { Ok(()) } else { Err(io::Error::other("a short write")) }
}

fn told(step: &Step) -> String {
    let text = format!("{step:?}");
    text.chars().take(120).collect()
}
