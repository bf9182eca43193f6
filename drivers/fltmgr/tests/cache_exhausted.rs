//! Cache maps when the pool is empty; a test binary of its own, because the pool belongs to the process.
mod support;

use nt_abi::io::FILE_OBJECT;
use nt_abi::mm::SECTION_OBJECT_POINTERS;
use nt_abi::{Bytes, NtStatus};
use nt_cc::{CacheClient, Callbacks, Sizes};
use nt_cell::Foreign;
use nt_ex::pool::{self, PoolKind};
use std::sync::Arc;
use support::*;

struct Quiet;

impl CacheClient for Quiet {
    fn acquire_for_lazy_write(&self, _wait: bool) -> bool {
        true
    }
    fn release_from_lazy_write(&self) {}
}

/// Takes all memory there is: the large pieces first, then every small size.
fn exhaust() -> Vec<Foreign<Bytes>> {
    let mut taken = Vec::new();
    let mut take = |size| {
        while let Some(block) = pool::allocate(size, pool::tag(b"tAll"), PoolKind::NonPaged) {
            taken.push(block);
        }
    };
    (12..=40).rev().for_each(|power| take(1 << power));
    (1..=256).rev().for_each(|units| take(units * 16));
    taken
}

#[test]
fn nt_cc_08_without_memory_there_is_no_map_and_the_status_says_so() {
    let world = filtered();
    let file = world.sync_file("cc08");
    let object = file.object();
    let taken = exhaust();
    let made = nt_cc::initialize(*object, Sizes::default(), Callbacks::Native(Arc::new(Quiet)));
    for block in taken {
        pool::free(block);
    }
    assert_eq!(made.map_err(NtStatus::from), Err(NtStatus::INSUFFICIENT_RESOURCES));
    let sections = object.ptr(FILE_OBJECT::SectionObjectPointer).expect("a stream");
    let left = (
        object.addr_at(FILE_OBJECT::PrivateCacheMap),
        sections.addr_at(SECTION_OBJECT_POINTERS::SharedCacheMap),
        sections.addr_at(SECTION_OBJECT_POINTERS::DataSectionObject),
    );
    assert_eq!(left, (0, 0, 0));
}
