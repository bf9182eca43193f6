//! Cache maps: their birth, and whom they call back.

use crate::scene::*;
use crate::support::*;
use nt_abi::NtStatus;
use nt_abi::io::*;
use nt_abi::mm::SECTION_OBJECT_POINTERS;
use nt_cc::{CacheClient, Callbacks, Sizes};
use nt_ke::Mutex;
use std::sync::Arc;

fn private(file: &File<'_>) -> u64 {
    file.object().addr_at(FILE_OBJECT::PrivateCacheMap)
}

fn shared(scene: &Scene, file: &File<'_>) -> u64 {
    scene.sections(file).addr_at(SECTION_OBJECT_POINTERS::SharedCacheMap)
}

#[test]
fn nt_cc_01_initializing_sets_the_three_pointers_and_every_file_object_is_cached() {
    let scene = Scene::new();
    let (file, other) = (scene.open("F1", "cc01", 0), scene.open("F2", "cc01", 0));
    assert!(!nt_cc::is_cached(*file.object()));
    file.write(b"x", Some(0));
    assert!(private(&file) != 0 && shared(&scene, &file) != 0);
    assert!(scene.sections(&file).addr_at(SECTION_OBJECT_POINTERS::DataSectionObject) != 0);
    assert!(nt_cc::is_cached(*file.object()) && nt_cc::is_cached(*other.object()));
}

#[test]
fn nt_cc_02_the_first_cached_transfer_of_each_file_object_makes_its_map() {
    let scene = Scene::new();
    let (writer, reader) = (scene.open("F1", "cc02", 0), scene.open("F2", "cc02", 0));
    assert_eq!((private(&writer), private(&reader)), (0, 0), "not the open");
    scene.events();
    writer.write(b"one", Some(0));
    writer.write(b"two", Some(0));
    assert_eq!(private(&reader), 0);
    reader.read(3, Some(0));
    reader.read(3, Some(0));
    let pre: Vec<_> = scene.take().into_iter().filter(|line| line.contains('>')).collect();
    let expected = ["U> WRITE F1 0+3 a00", "U> FAST WRITE F1 0+3", "U> READ F2 0+3 900", "U> FAST READ F2 0+3"];
    assert_eq!(pre, expected);
    assert!(private(&reader) != 0 && private(&reader) != private(&writer));
    assert_eq!(shared(&scene, &reader), shared(&scene, &writer));
}

#[test]
fn nt_cc_03_a_noncached_handle_has_the_streams_pointers_and_no_map() {
    let scene = Scene::new();
    let cached = scene.open("F1", "cc03", 0);
    let raw = scene.open("F2", "cc03", NONCACHED);
    assert_eq!(scene.sections(&raw), scene.sections(&cached), "from the create on");
    cached.write(b"x", Some(0));
    raw.read(512, Some(0));
    assert!(shared(&scene, &raw) != 0 && private(&raw) == 0 && nt_cc::is_cached(*raw.object()));
}

#[test]
fn nt_cc_04_a_cached_open_says_so() {
    let scene = Scene::new();
    let supported = |options| {
        let file = scene.open("F", "cc04", options);
        file.object().get(FILE_OBJECT::Flags) & FO_CACHE_SUPPORTED != 0
    };
    assert_eq!((supported(0), supported(2), supported(NONCACHED)), (true, true, false));
}

#[test]
fn nt_cc_05_every_paging_request_carries_the_first_file_object() {
    let scene = Scene::new();
    let first = scene.open("F1", "cc05", 0);
    let second = scene.open("F2", "cc05", 0);
    first.write(&[1; 0x2000], Some(0));
    let held = nt_ob::object::pointer_count(*first.object());
    scene.forget(&first);
    second.write(b"22222", Some(0x1000));
    scene.round();
    let paging: Vec<_> = scene.take().into_iter().filter(|line| line.contains(" 43")).collect();
    assert_eq!(paging, ["U> READ F1 1000+1000 43", "S> WRITE F1 1000+1000 43"]);
    let map = scene.map(&first).expect("cached");
    assert_eq!(map.file(), *first.object());
    assert!(held > 2, "the map holds a reference: {held}");
}

#[test]
fn nt_cc_06_the_first_file_object_stays_also_without_write_access() {
    let scene = Scene::new();
    scene.open("F0", "cc06", 0).write(b"12345", Some(0));
    scene.round();
    let reader = scene.world.file("cc06", GENERIC_READ | SYNCHRONIZE, SYNC);
    scene.label("R", &reader);
    reader.read(5, Some(0));
    let writer = scene.open("W", "cc06", 0);
    writer.write(b"54321", Some(0));
    drop(reader);
    scene.events();
    scene.round();
    assert_eq!(scene.take()[..2], ["S> WRITE R 0+1000 43", "S< WRITE R 5"]);
    assert_eq!(scene.medium(&writer, 0, 5), b"54321");
}

/// A file system's four routines, as they are called.
#[derive(Default)]
struct Calls(Mutex<Vec<&'static str>>, bool);

impl CacheClient for Calls {
    fn acquire_for_lazy_write(&self, _wait: bool) -> bool {
        self.0.lock().push("acquire");
        !self.1
    }
    fn release_from_lazy_write(&self) {
        self.0.lock().push("release");
    }
    fn acquire_for_read_ahead(&self, _wait: bool) -> bool {
        self.0.lock().push("acquire ahead");
        true
    }
    fn release_from_read_ahead(&self) {
        self.0.lock().push("release ahead");
    }
}

#[test]
fn nt_cc_07_the_creators_callbacks_are_called() {
    let scene = Scene::new();
    let (first, second) = (scene.open("F1", "cc07", 0), scene.open("F2", "cc07", 0));
    let (mine, other) = (Arc::new(Calls::default()), Arc::new(Calls::default()));
    for (file, calls) in [(&first, &mine), (&second, &other)] {
        nt_cc::initialize(*file.object(), Sizes::default(), Callbacks::Native(calls.clone())).expect("a map");
    }
    second.write(&[1; 0x40000], Some(0));
    scene.round();
    assert_eq!(*mine.0.lock(), ["acquire", "release"]);
    scene.forget(&first);
    scene.manager().set_read_ahead(true);
    for at in 0..4 {
        second.read(0x1000, Some(at * 0x1000));
    }
    scene.world.kernel.drain();
    assert_eq!(mine.0.lock()[2..4], ["acquire ahead", "release ahead"]);
    assert!(other.0.lock().is_empty(), "a later file object's routines are not");
    scene.manager().set_read_ahead(false);
}

#[test]
fn nt_cc_35_a_stream_that_is_not_to_be_had_waits_for_the_next_round() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc35", 0);
    let calls = Arc::new(Calls(Mutex::default(), true));
    nt_cc::initialize(*file.object(), Sizes::default(), Callbacks::Native(calls.clone())).expect("a map");
    file.write(b"x", Some(0));
    scene.events();
    scene.round();
    assert_eq!((scene.paging_writes().len(), scene.map(&file).expect("cached").dirty_pages()), (0, 1));
    assert_eq!(*calls.0.lock(), ["acquire"], "not released what was not had");
    assert_eq!(scene.flush(&file), NtStatus::SUCCESS, "a flush does not ask");
}
