//! Noncached writes on a cached stream.

use crate::scene::*;
use crate::support::*;
use nt_abi::NtStatus;
use nt_abi::io::*;

#[test]
fn nt_cc_55_the_range_is_flushed_and_purged_before_the_device_is_written() {
    let scene = Scene::new();
    let (file, raw) = (scene.open("F1", "cc55", 0), scene.open("F2", "cc55", NONCACHED));
    file.write(&[1; 0x3000], None);
    scene.events();
    assert_eq!(raw.write(&[2; 0x1000], Some(0x1000)), success(0x1000));
    let trace = scene.take();
    assert_eq!(trace[0], "U> WRITE F2 1000+1000 a01");
    assert!(trace.contains(&"U> WRITE F1 1000+1000 43".to_owned()), "{trace:?}");
    assert!(!trace.iter().any(|line| line.contains("F1 0+")), "only the range");
    assert_eq!(file.bytes_of("cc55"), [vec![1; 0x1000], vec![2; 0x1000], vec![1; 0x1000]].concat());
}

#[test]
fn nt_cc_56_dirty_pages_in_the_range_are_written_first() {
    let scene = Scene::new();
    let (file, raw) = (scene.open("F1", "cc56", 0), scene.open("F2", "cc56", NONCACHED));
    file.write(&[1; 0x2000], None);
    scene.events();
    raw.write(&[2; 0x200], Some(0x200));
    assert_eq!(scene.paging_writes().len(), 1);
    assert_eq!(scene.medium(&file, 0, 0x600), [vec![1; 0x200], vec![2; 0x200], vec![1; 0x200]].concat());
    file.write(&[3; 0x1000], Some(0x1000));
    scene.events();
    raw.write(&[4; 0x1000], Some(0x1000));
    let sent = scene.paging_writes();
    assert!(sent.len() == 1 && sent[0].bytes == [3; 0x1000], "also those about to be overwritten");
    assert_eq!(file.read(0x1000, Some(0x1000)).1, [4; 0x1000]);
}

#[test]
fn nt_cc_57_what_cannot_be_purged_is_let_be() {
    let scene = Scene::new();
    let (file, raw) = (scene.open("F1", "cc57", 0), scene.open("F2", "cc57", NONCACHED));
    file.write(&[1; 0x1000], None);
    let object = *file.object();
    let (chain, _) = nt_cc::mdl_read(object, 0, 0x1000).map_err(NtStatus::from).expect("lent");
    let purged = nt_cc::coherency_flush_and_purge(scene.sections(&file), 0, 0x1000, false);
    assert_eq!(purged.status, NtStatus::CACHE_PAGE_LOCKED);
    assert_eq!(raw.write(&[2; 0x200], Some(0)), success(0x200), "ignored");
    assert_eq!((file.read(4, Some(0)).1, scene.medium(&file, 0, 4)), (vec![1; 4], vec![2; 4]), "they differ now");
    nt_cc::mdl_read_complete(object, chain).map_err(NtStatus::from).expect("back");
    // A flush that fails counts as a purge that fails.
    file.write(&[3; 4], Some(0));
    scene.fail_paging_writes(NtStatus::IO_DEVICE_ERROR);
    assert_eq!(raw.write(&[4; 0x200], Some(0)), success(0x200));
    scene.off();
}

#[test]
fn nt_cc_58_an_extending_noncached_write_moves_both_sizes_and_tells_the_cache() {
    let scene = Scene::new();
    let (file, raw) = (scene.open("F1", "cc58", 0), scene.open("F2", "cc58", NONCACHED));
    file.write(&[1; 0x200], None);
    let map = scene.map(&file).expect("cached");
    scene.round();
    raw.write(&[2; 0x200], Some(0x1000));
    assert_eq!(scene.sizes(&file), (0x1200, 0x1200));
    assert_eq!((map.sizes().file, map.sizes().valid), (0x1200, 0x1200));
    scene.events();
    assert_eq!(file.read(0x200, Some(0x1000)).1, [2; 0x200]);
    let trace = scene.take();
    assert!(trace.contains(&"U> READ F1 1000+1000 43".to_owned()), "the reader faults the new bytes: {trace:?}");
}

#[test]
fn nt_cc_59_without_a_section_nothing_is_nested() {
    let scene = Scene::new();
    let raw = scene.open("F1", "cc59", NONCACHED);
    scene.events();
    raw.write(&[1; 0x200], Some(0));
    raw.write(&[2; 0x200], Some(0x200));
    let trace = scene.take();
    assert_eq!(trace, ["U> WRITE F1 0+200 a01", "U< WRITE F1 200", "U> WRITE F1 200+200 a01", "U< WRITE F1 200"]);
    assert_eq!(raw.object().get(FILE_OBJECT::Flags) & FO_CACHE_SUPPORTED, 0);
}
