//! What a run does: operations from a seed.
//!
//! Room: tests. Called by: the runner. Calls: nothing.

/// Size and shape of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the random numbers begin.
    pub seed: u64,
    /// How many operations.
    pub operations: u64,
    /// The file grows up to here.
    pub most: usize,
    /// The longest transfer.
    pub longest: usize,
    /// Whether O_DIRECT takes part.
    pub direct: bool,
}

/// How fallocate is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Plain,
    KeepSize,
    Punch,
    Zero,
    ZeroKeepSize,
}

impl Kind {
    pub(crate) const fn mode(self) -> i32 {
        match self {
            Self::Plain => 0,
            Self::KeepSize => libc::FALLOC_FL_KEEP_SIZE,
            Self::Punch => libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
            Self::Zero => libc::FALLOC_FL_ZERO_RANGE,
            Self::ZeroKeepSize => libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE,
        }
    }
    pub(crate) const fn grows(self) -> bool {
        matches!(self, Self::Plain | Self::Zero)
    }
    pub(crate) const fn zeroes(self) -> bool {
        matches!(self, Self::Punch | Self::Zero | Self::ZeroKeepSize)
    }
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write { at: usize, len: usize },
    Append { len: usize },
    DirectWrite { at: usize, len: usize },
    Read { at: usize, len: usize },
    DirectRead { at: usize, len: usize },
    MapRead { at: usize, len: usize },
    MapWrite { at: usize, len: usize, sync: bool },
    Truncate { to: usize },
    Allocate { at: usize, len: usize, kind: Kind },
    Sync,
    Reopen,
}

impl Step {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Write { .. } => "write",
            Self::Append { .. } => "append",
            Self::DirectWrite { .. } => "direct write",
            Self::Read { .. } => "read",
            Self::DirectRead { .. } => "direct read",
            Self::MapRead { .. } => "map read",
            Self::MapWrite { .. } => "map write",
            Self::Truncate { .. } => "truncate",
            Self::Allocate { .. } => "fallocate",
            Self::Sync => "fsync",
            Self::Reopen => "reopen",
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Random(u64);

const SECTOR: usize = 512;

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    const fn below(&mut self, end: usize) -> usize {
        (self.next() % if end == 0 { 1 } else { end as u64 }) as usize
    }
    /// A length that is often small, sometimes whole pages.
    fn length(&mut self, most: usize) -> usize {
        let len = match self.below(4) {
            0 => self.below(64) + 1,
            1 => (self.below(4) + 1) * 4096,
            _ => self.below(most) + 1,
        };
        len.min(most)
    }
    /// The next operation on a file of `size` bytes.
    pub(crate) fn step(&mut self, plan: &Plan, size: usize) -> Step {
        let len = self.length(plan.longest);
        let at = self.below(plan.most - len);
        let inside = |random: &mut Self| {
            let at = random.below(size);
            (at, len.min(size - at))
        };
        let sectors = |at: usize, len: usize| (at / SECTOR * SECTOR, len.div_ceil(SECTOR) * SECTOR);
        match self.below(100) {
            0..20 => Step::Write { at, len },
            20..30 if size + len <= plan.most => Step::Append { len },
            30..50 => Step::Read { at: self.below(size + size / 8 + 1), len },
            50..62 if size != 0 => {
                let (at, len) = inside(self);
                Step::MapRead { at, len }
            }
            62..76 if size != 0 => {
                let (at, len) = inside(self);
                Step::MapWrite { at, len, sync: self.below(2) == 0 }
            }
            76..82 => Step::Truncate { to: self.below(plan.most) },
            82..86 if plan.direct => {
                let (at, len) = sectors(at, len);
                Step::DirectWrite { at, len }
            }
            86..90 if plan.direct => {
                let (at, len) = sectors(at, len);
                Step::DirectRead { at, len }
            }
            90..95 => {
                let kinds = [Kind::Plain, Kind::KeepSize, Kind::Punch, Kind::Zero, Kind::ZeroKeepSize];
                Step::Allocate { at, len, kind: kinds[self.below(kinds.len())] }
            }
            95..97 => Step::Sync,
            97..100 => Step::Reopen,
            _ => Step::Read { at, len },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_run_again() {
        let plan = Plan { seed: 7, operations: 0, most: 1 << 18, longest: 1 << 16, direct: true };
        let steps = |seed| {
            let mut random = Random::new(seed);
            (0..100).map(|at| format!("{:?}", random.step(&plan, at * 1000))).collect::<Vec<_>>()
        };
        assert_eq!(steps(7), steps(7));
        assert_ne!(steps(7), steps(8));
    }
}
