//! Cache maps when the pool is empty; a test binary of its own, because the pool belongs to the process.
mod support;

use nt_abi::NtStatus;
use nt_abi::io::FILE_OBJECT;
use nt_abi::mm::SECTION_OBJECT_POINTERS;
use nt_cc::{CacheClient, Callbacks, Sizes};
use std::sync::Arc;
use support::*;

struct Quiet;

impl CacheClient for Quiet {
    fn acquire_for_lazy_write(&self, _wait: bool) -> bool {
        true
    }
    fn release_from_lazy_write(&self) {}
}

#[test]
fn nt_cc_08_without_memory_there_is_no_map_and_the_status_says_so() {
    let world = filtered();
    let file = world.sync_file("cc08");
    let object = file.object();
    let callbacks = Callbacks::Native(Arc::new(Quiet));
    let made = pool::without_memory(|| nt_cc::initialize(*object, Sizes::default(), callbacks));
    assert_eq!(made.map_err(NtStatus::from), Err(NtStatus::INSUFFICIENT_RESOURCES));
    let sections = object.ptr(FILE_OBJECT::SectionObjectPointer).expect("a stream");
    let left = (
        object.addr_at(FILE_OBJECT::PrivateCacheMap),
        sections.addr_at(SECTION_OBJECT_POINTERS::SharedCacheMap),
        sections.addr_at(SECTION_OBJECT_POINTERS::DataSectionObject),
    );
    assert_eq!(left, (0, 0, 0));
}
