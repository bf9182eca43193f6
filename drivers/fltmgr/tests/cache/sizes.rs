//! Sizes, truncation, purge.

use crate::scene::*;
use crate::support::*;
use nt_abi::NtStatus;
use nt_abi::mm::SECTION_OBJECT_POINTERS;
use nt_io::info::class;

#[test]
fn nt_cc_60_the_cache_is_told_of_sizes_and_cuts_without_writing() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc60", 0);
    file.write(&[1; 0x4000], None);
    let map = scene.map(&file).expect("cached");
    scene.events();
    file.set(class::END_OF_FILE, &0x8000_i64.to_le_bytes());
    assert_eq!((map.sizes().file, map.sizes().valid), (0x8000, 0x4000));
    file.set(class::ALLOCATION, &0x20000_i64.to_le_bytes());
    assert_eq!(map.sizes().allocation, 0x20000);
    file.set(class::END_OF_FILE, &0x1800_i64.to_le_bytes());
    assert_eq!((map.sizes().file, map.dirty_pages()), (0x1800, 2));
    assert!(scene.take().iter().all(|line| !line.contains("WRITE")), "nothing is sent");
    file.set(class::END_OF_FILE, &0x2000_i64.to_le_bytes());
    assert_eq!(file.read(0x800, Some(0x1800)).1, [0; 0x800], "the tail of the last page is zero");
}

#[test]
fn nt_cc_61_a_smaller_end_drops_what_is_dirty_past_it() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc61", 0);
    file.write(&[1; 0x5000], None);
    scene.events();
    assert_eq!(file.set(class::END_OF_FILE, &0x1000_i64.to_le_bytes()), NtStatus::SUCCESS);
    assert_eq!(scene.take(), ["U> SETINFO F1", "U< SETINFO F1"], "no flush before, no paging write after");
    assert_eq!((scene.sizes(&file), scene.map(&file).expect("cached").dirty_pages()), ((0x1000, 0x1000), 1));
    scene.round();
    assert_eq!(scene.paging_writes().len(), 1);
}

#[test]
fn nt_cc_62_growing_keeps_what_is_dirty_and_writes_nothing() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc62", 0);
    file.write(&pattern(0, 0x1000), None);
    scene.events();
    for end in [0x2000_i64, 0x10000, 0x100000] {
        file.set(class::END_OF_FILE, &end.to_le_bytes());
    }
    assert_eq!((scene.paging_writes().len(), scene.map(&file).expect("cached").dirty_pages()), (0, 1));
    assert_eq!(file.read(0x1000, Some(0)).1, pattern(0, 0x1000));
}

#[test]
fn nt_cc_63_a_purge_drops_and_never_writes() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc63", 0);
    file.write(&[1; 0x3000], None);
    scene.round();
    file.write(&[2; 0x3000], Some(0));
    scene.events();
    assert!(nt_cc::purge(scene.sections(&file), Some((0x1000, 0x1000))));
    assert_eq!(file.read(0x3000, Some(0)).1, [vec![2; 0x1000], vec![1; 0x1000], vec![2; 0x1000]].concat());
    assert!(nt_cc::purge(scene.sections(&file), Some((0x1000, 0))), "length 0 is to the end");
    assert_eq!(file.read(4, Some(0x2000)).1, [1; 4]);
    assert_eq!(scene.paging_writes().len(), 0);
    let (chain, _) = nt_cc::mdl_read(*file.object(), 0, 16).map_err(NtStatus::from).expect("lent");
    assert!(!nt_cc::purge(scene.sections(&file), None), "a page in use stays, and nothing is lost");
    assert_eq!(file.read(4, Some(0)).1, [2; 4]);
    nt_cc::mdl_read_complete(*file.object(), chain).map_err(NtStatus::from).expect("back");
    assert!(nt_cc::purge(scene.sections(&file), None));
    let other = scene.open("F2", "cc63", 0);
    other.read(1, Some(0));
    nt_cc::uninitialize_all(scene.sections(&file));
    let private = |file: &File<'_>| file.object().addr_at(nt_abi::io::FILE_OBJECT::PrivateCacheMap);
    assert_eq!((private(&file), private(&other)), (0, 0), "UNINITIALIZE_CACHE_MAPS");
    assert_eq!(scene.sections(&file).addr_at(SECTION_OBJECT_POINTERS::SharedCacheMap), 0);
}
