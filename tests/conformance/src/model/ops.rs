//! The operations, drawn from a seed.
//!
//! Room: tests/conformance. Called by: `model`. An operation names handles by slot and files by number, and none depends on what
//! another did: any part of a list can be done by itself, which is what makes a failing list short.

/// A small generator of its own: the same numbers from a seed on every machine and in every version.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts at a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (splitmix64).
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit
    }

    fn one<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// How many handles there are at most.
pub const SLOTS: usize = 6;
/// How many names there are.
pub const NAMES: usize = 4;

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// NtCreateFile.
    Open {
        /// Where the handle goes; what is there is closed once the open succeeded.
        slot: usize,
        /// Which name.
        name: usize,
        /// CreateDisposition.
        disposition: u32,
        /// DesiredAccess.
        access: u32,
        /// ShareAccess.
        share: u32,
        /// CreateOptions.
        options: u32,
    },
    /// NtWriteFile.
    Write {
        /// Which handle.
        slot: usize,
        /// *ByteOffset.
        at: Option<i64>,
        /// Length.
        length: usize,
        /// The first byte; the next ones count on.
        fill: u8,
        /// *Key.
        key: u32,
    },
    /// NtReadFile.
    Read {
        /// Which handle.
        slot: usize,
        /// *ByteOffset.
        at: Option<i64>,
        /// Length.
        length: usize,
        /// *Key.
        key: u32,
    },
    /// FileEndOfFileInformation.
    SetEnd {
        /// Which handle.
        slot: usize,
        /// The new end.
        end: i64,
    },
    /// FSCTL_SET_SPARSE.
    Sparse {
        /// Which handle.
        slot: usize,
        /// SetSparse.
        on: bool,
    },
    /// FSCTL_SET_ZERO_DATA.
    Zero {
        /// Which handle.
        slot: usize,
        /// FileOffset and BeyondFinalZero.
        range: (i64, i64),
    },
    /// FSCTL_QUERY_ALLOCATED_RANGES of all of the file.
    Ranges {
        /// Which handle.
        slot: usize,
    },
    /// FilePositionInformation.
    Seek {
        /// Which handle.
        slot: usize,
        /// The new position.
        to: i64,
    },
    /// FileStandardInformation and FilePositionInformation.
    Look {
        /// Which handle.
        slot: usize,
    },
    /// FileRenameInformation.
    Rename {
        /// Which handle.
        slot: usize,
        /// The new name.
        name: usize,
        /// ReplaceIfExists.
        replace: bool,
    },
    /// FileDispositionInformation.
    Delete {
        /// Which handle.
        slot: usize,
        /// DeleteFile.
        on: bool,
    },
    /// NtLockFile.
    Lock {
        /// Which handle.
        slot: usize,
        /// The range and its key.
        range: (u64, u64, u32),
        /// ExclusiveLock.
        exclusive: bool,
        /// FailImmediately.
        at_once: bool,
    },
    /// NtUnlockFile.
    Unlock {
        /// Which handle.
        slot: usize,
        /// The range and its key.
        range: (u64, u64, u32),
    },
    /// NtCancelIoFile or NtCancelIoFileEx.
    Cancel {
        /// Which handle.
        slot: usize,
        /// The newer call.
        ex: bool,
    },
    /// NtClose.
    Close {
        /// Which handle.
        slot: usize,
    },
}

const EVERYTHING: u32 = 0x8000_0000 | 0x4000_0000;
const RIGHTS: [u32; 16] = [
    EVERYTHING,
    EVERYTHING,
    EVERYTHING,
    EVERYTHING,
    EVERYTHING | 0x1_0000,
    EVERYTHING | 0x1_0000,
    3,
    3,
    3 | 0x1_0000,
    3 | 0x1_0000,
    1,
    2,
    4,
    5,
    0x1_0000,
    0,
];
const SHARES: [u32; 16] = [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 3, 1, 5, 0];
const KINDS: [u32; 8] = [0x20, 0x20, 0x20, 0x22, 0x28, 0, 0, 8];

fn offset(random: &mut Random) -> Option<i64> {
    match random.below(20) {
        0..=5 => None,
        6 | 7 => Some(-1),
        8 => Some(-2),
        9 => Some(-3 - random.below(3) as i64),
        10..=14 => Some(random.below(2_500) as i64),
        15 | 16 => Some(512 * random.below(20) as i64),
        17 => Some(random.below(150_000) as i64),
        18 => Some(random.one(&[0, 1, 4095, 4096, 8192, 12_288])),
        _ if random.chance(20) => Some(i64::MAX - random.below(600) as i64),
        _ => Some(random.below(200) as i64),
    }
}

fn length(random: &mut Random) -> usize {
    let length = match random.below(10) {
        0 => 0,
        1..=4 => random.below(100),
        5 | 6 => 512 * (1 + random.below(8)),
        7 => random.below(3_000),
        8 => random.one(&[1, 511, 513, 4095, 4096, 4097]),
        _ => random.below(9_000),
    };
    length as usize
}

fn range(random: &mut Random) -> (u64, u64, u32) {
    let start = random.one(&[0, 0, 0, 100, 100, 2000]);
    (start, random.one(&[10, 100, 100, 5000, 5000, 0]), u32::from(random.chance(10)))
}

impl Op {
    /// The operation's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Write { .. } => "write",
            Self::Read { .. } => "read",
            Self::SetEnd { .. } => "set-end",
            Self::Sparse { .. } => "sparse",
            Self::Zero { .. } => "zero",
            Self::Ranges { .. } => "ranges",
            Self::Seek { .. } => "seek",
            Self::Look { .. } => "look",
            Self::Rename { .. } => "rename",
            Self::Delete { .. } => "delete",
            Self::Lock { .. } => "lock",
            Self::Unlock { .. } => "unlock",
            Self::Cancel { .. } => "cancel",
            Self::Close { .. } => "close",
        }
    }
}

/// Draws one operation.
pub fn draw(random: &mut Random) -> Op {
    let slot = random.below(SLOTS as u64) as usize;
    match random.below(106) {
        0..=5 => {
            let access = random.one(&RIGHTS) | 0x10_0000;
            let on_close = if random.chance(6) { 0x1000 } else { 0 };
            Op::Open {
                slot,
                name: random.below(NAMES as u64) as usize,
                disposition: random.one(&[3, 3, 3, 3, 3, 3, 5, 5, 1, 2, 4, 0]),
                access,
                share: random.one(&SHARES),
                options: random.one(&KINDS) | on_close,
            }
        }
        6..=35 => Op::Write {
            slot,
            at: offset(random),
            length: length(random),
            fill: random.draw() as u8,
            key: u32::from(random.chance(20)),
        },
        36..=59 => Op::Read { slot, at: offset(random), length: length(random), key: u32::from(random.chance(20)) },
        60..=64 => {
            let end = match random.below(10) {
                0 => -1,
                1 => 0,
                3 => 4096 * random.below(4) as i64,
                _ => random.below(20_000) as i64,
            };
            Op::SetEnd { slot, end }
        }
        65..=69 => Op::Seek { slot, to: random.one(&[0, 1, 100, 512, 4096, 4097, 10_000, 30_000]) },
        70..=73 => Op::Look { slot },
        74..=77 => Op::Rename { slot, name: random.below(NAMES as u64) as usize, replace: random.chance(60) },
        78..=80 => Op::Delete { slot, on: random.chance(60) },
        81..=89 => Op::Lock { slot, range: range(random), exclusive: random.chance(60), at_once: random.chance(50) },
        90..=96 => Op::Unlock { slot, range: range(random) },
        97 | 98 => Op::Cancel { slot, ex: random.chance(50) },
        99 => Op::Close { slot },
        100 => Op::Sparse { slot, on: random.chance(70) },
        101..=103 => {
            let bound = |random: &mut Random| match random.below(4) {
                0 => 65_536 * random.below(4) as i64,
                1 => 4096 * random.below(8) as i64,
                2 => random.below(10_000) as i64,
                _ => random.below(150_000) as i64 - 10,
            };
            let (one, two) = (bound(random), bound(random));
            let range = if random.chance(95) { (one.min(two), one.max(two)) } else { (one, two) };
            Op::Zero { slot, range }
        }
        _ => Op::Ranges { slot },
    }
}

/// The bytes of a write.
#[must_use]
pub fn bytes(length: usize, fill: u8) -> Vec<u8> {
    (0..length).map(|at| fill.wrapping_add((at as u8).wrapping_mul(7)).wrapping_add((at >> 8) as u8)).collect()
}
