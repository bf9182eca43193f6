//! What a request left in the status block, and what it returned. Shared with the tests of the rooms above.

use nt_abi::NtStatus;
use nt_cell::arena::UserBlock;

/// What a status block has that nobody wrote to.
pub const PATTERN: u64 = 0xEADB_EEF0_EADB_EEF0;

/// What a request left in the status block, and what it returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Done {
    pub returned: NtStatus,
    pub iosb: Iosb,
}

/// A status block as a test sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Iosb {
    Untouched,
    Is(NtStatus, u64),
}

/// E0/E1/E2: the status, and nothing in the status block.
pub fn refused(status: NtStatus) -> Done {
    Done { returned: status, iosb: Iosb::Untouched }
}

/// S(n).
pub fn success(count: u64) -> Done {
    Done { returned: NtStatus::SUCCESS, iosb: Iosb::Is(NtStatus::SUCCESS, count) }
}

/// P(st, n).
pub fn pended(status: NtStatus, count: u64) -> Done {
    Done { returned: NtStatus::PENDING, iosb: Iosb::Is(status, count) }
}

/// Makes the status block at the start of `block` one that a test can tell from a written one.
pub fn fill_pattern(block: &UserBlock) {
    block.region().store::<u64>(0, PATTERN).expect("block");
    block.region().store::<u64>(8, PATTERN).expect("block");
}

pub fn pattern_block() -> UserBlock {
    let block = UserBlock::new(16).expect("arena");
    fill_pattern(&block);
    block
}

pub fn iosb_at(block: &UserBlock) -> Iosb {
    let (low, high) = (block.region().load::<u64>(0).expect("block"), block.region().load::<u64>(8).expect("block"));
    if low == PATTERN && high == PATTERN { Iosb::Untouched } else { Iosb::Is(NtStatus(low as u32), high) }
}
