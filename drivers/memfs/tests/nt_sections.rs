//! Sections of files: their views and the cache are one memory, and what a file system refuses while they are there.
mod support;

use nt_abi::NtStatus;
use nt_abi::io::FILE_OBJECT;
use nt_abi::mm::*;
use nt_cell::Region;
use nt_io::info::class;
use nt_io::observe::{Hop, Observer, Request};
use nt_ob::{Handle, ObjectRef, ObjectType};
use nt_section::{CreateSection, MapView};
use std::sync::atomic::{AtomicBool, Ordering};
use support::names::*;
use support::*;

const OK: NtStatus = NtStatus::SUCCESS;
const MAPPED: NtStatus = NtStatus::USER_MAPPED_FILE;
const SHARED: NtStatus = NtStatus::SHARING_VIOLATION;
const GONE: Option<NtStatus> = Some(NtStatus::OBJECT_NAME_NOT_FOUND);

fn try_section(file: &File<'_>, kind: u32, protection: u32, size: Option<i64>) -> Result<Handle, NtStatus> {
    let args = CreateSection { access: SECTION_ALL_ACCESS, attributes: 0, size, protection, kind, file: file.handle };
    nt_section::create(&file.world.frame(), &args).map_err(|error| error.status())
}

fn section(file: &File<'_>, protection: u32) -> Handle {
    try_section(file, SEC_COMMIT, protection, None).expect("a section")
}

fn try_view(world: &World, section: Handle, protection: u32, offset: i64, size: u64) -> Result<Region, NtStatus> {
    let args = MapView { section, process: Handle::CURRENT_PROCESS, base: 0, offset, size, protection };
    nt_section::map(&world.frame(), &args).map_err(|error| error.status())
}

fn view(world: &World, section: Handle, protection: u32) -> Region {
    try_view(world, section, protection, 0, 0).expect("a view")
}

fn unmap(world: &World, view: Region) {
    nt_section::unmap(&world.frame(), Handle::CURRENT_PROCESS, view.addr()).expect("mapped");
}

fn close(world: &World, handle: Handle) {
    nt_io::event::close(&world.frame(), handle).expect("a handle");
}

fn object(file: &File<'_>) -> ObjectRef<FILE_OBJECT> {
    let mode = nt_ke::Mode::Kernel;
    let found = nt_io::event::reference(&file.world.frame(), file.handle, ObjectType::File, 0, mode);
    found.expect("a file").0.retype()
}

fn flush(file: &File<'_>) -> NtStatus {
    let block = nt_cell::UserBlock::new(16).expect("arena");
    nt_io::flush::nt_flush_buffers_file(&file.world.frame(), file.handle, nt_cell::Addr::user(block.addr()))
}

/// What the host has of a file of a `dir` volume.
fn on_host(world: &World, name: &str) -> Option<Vec<u8>> {
    std::fs::read(world.ground.as_ref()?.path().join(name)).ok()
}

fn load(view: Region, offset: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    nt_section::read(view.sub(offset, length), &mut bytes).expect("the view");
    bytes
}

fn store(view: Region, offset: usize, bytes: &[u8]) {
    nt_section::write(view.sub(offset, bytes.len()), bytes).expect("the view");
}

fn end_of_file(file: &File<'_>, end: i64) -> NtStatus {
    file.set(class::END_OF_FILE, &end.to_le_bytes())
}

/// The smallest file that counts as a program.
fn program() -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3C] = 0x80;
    bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
    bytes[0x84..0x86].copy_from_slice(&0x8664_u16.to_le_bytes());
    bytes[0x98..0x9A].copy_from_slice(&0x20B_u16.to_le_bytes());
    bytes[0xD0..0xD4].copy_from_slice(&0x3000_u32.to_le_bytes());
    bytes
}

#[test]
fn nt_cc_65_a_view_and_the_cache_are_the_same_pages() {
    let world = World::new();
    let bytes: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    world.put("f", &bytes);
    let file = world.sync_file("f");
    let section = section(&file, PAGE_READWRITE);
    let (one, two) = (view(&world, section, PAGE_READWRITE), view(&world, section, PAGE_READONLY));
    assert_eq!(one.len(), 200_000_usize.next_multiple_of(4096));
    assert_eq!(load(one, 0, bytes.len()), bytes, "paged in across views of the cache");
    assert_eq!(load(one, 200_000, 704), vec![0; 704], "the rest of the last page is zero");
    store(one, 70_000, b"stored");
    assert_eq!(file.read(6, Some(70_000)).1, b"stored", "a cached read sees a store at once");
    assert_eq!(load(two, 70_000, 6), b"stored", "and so does another view");
    file.write(b"written", Some(150_000));
    assert_eq!((load(one, 150_000, 7), load(two, 150_000, 7)), (b"written".to_vec(), b"written".to_vec()));
    let private = view(&world, section, PAGE_WRITECOPY);
    assert_eq!(load(private, 70_000, 6), b"stored");
    store(private, 70_000, b"secret");
    assert_eq!((load(private, 70_000, 6), load(one, 70_000, 6)), (b"secret".to_vec(), b"stored".to_vec()));
    assert_eq!(file.read(6, Some(70_000)).1, b"stored", "what is stored to a copy is the copy's");
    let denied = nt_section::write(two.sub(0, 1), b"x").map_err(|error| error.status());
    assert_eq!(denied, Err(NtStatus::ACCESS_VIOLATION));
    // A service takes a view for a buffer, as it takes any memory of the caller's, though no page of it is there yet.
    let fresh = view(&world, section, PAGE_READWRITE);
    let buffer = |view: Region, at: usize| nt_cell::Addr::user(view.addr() + at as u64);
    assert_eq!(file.raw_write(buffer(fresh, 70_000), 6, Some(0)), success(6));
    assert_eq!(load(two, 0, 6), b"stored", "also of the same file");
    assert_eq!(file.raw_read(buffer(fresh, 40_000), 7, Some(150_000)), success(7));
    assert_eq!(file.read(7, Some(40_000)).1, b"written");
    for view in [one, two, private, fresh] {
        unmap(&world, view);
        assert_eq!(view.load::<u8>(0).map_err(|fault| fault.address), Err(view.addr()), "nothing is there any more");
    }
    assert_eq!(load_after(&world, section), b"stored");
    close(&world, section);
    drop(file);
    nt_cc::Manager::of(&world.kernel).write_all();
    let mut expected = bytes;
    expected[..6].copy_from_slice(b"stored");
    expected[40_000..40_007].copy_from_slice(b"written");
    expected[70_000..70_006].copy_from_slice(b"stored");
    expected[150_000..150_007].copy_from_slice(b"written");
    assert!(world.get("f").as_deref() == Some(&expected[..]), "what was stored is in the file");
}

fn load_after(world: &World, section: Handle) -> Vec<u8> {
    let view = view(world, section, PAGE_READONLY);
    let bytes = load(view, 70_000, 6);
    unmap(world, view);
    bytes
}

#[test]
fn nt_cc_65_what_a_view_stored_is_known_as_dirty_when_somebody_asks_for_it() {
    let world = World::new();
    world.put("f", &[1; 0x3000]);
    nt_cc::Manager::of(&world.kernel).write_all();
    let file = world.sync_file("f");
    let section = section(&file, PAGE_READWRITE);
    let mapped = view(&world, section, PAGE_READWRITE);
    let map =
        nt_cc::map_of(object(&file).ptr(FILE_OBJECT::SectionObjectPointer).expect("a stream")).expect("a section");
    store(mapped, 0x1000, b"a");
    assert_eq!(map.dirty_pages(), 0, "a store is nobody's news");
    assert!(!map.is_clean());
    let before = on_host(&world, "f");
    assert_eq!(flush(&file), OK);
    assert!(map.is_clean());
    if let (Some(before), Some(after)) = (before, on_host(&world, "f")) {
        assert_eq!((before[0x1000], after[0x1000]), (1, b'a'), "on the host only then");
    }
    store(mapped, 0x1001, b"b");
    assert!(!map.is_clean(), "a store to a page that was flushed is noticed again");
    unmap(&world, mapped);
    assert_eq!(map.dirty_pages(), 1, "unmapping asks too");
    close(&world, section);
    assert_eq!(file.read(3, Some(0x1000)).1, b"ab\x01");
}

#[test]
fn nt_i_09_a_mapped_file_is_not_cut_below_its_end() {
    let world = World::new();
    world.put("f", b"12345678");
    let file = world.sync_file("f");
    let small = try_section(&file, SEC_COMMIT, PAGE_READONLY, Some(4)).expect("a section");
    assert_eq!((end_of_file(&file, 6), end_of_file(&file, 3), file.eof()), (MAPPED, MAPPED, 8), "wherever it ends");
    assert_eq!(file.set(class::ALLOCATION, &2_i64.to_le_bytes()), MAPPED);
    assert_eq!((end_of_file(&file, 8), end_of_file(&file, 10), file.eof()), (OK, OK, 10), "the same, and further");
    let mapped = view(&world, small, PAGE_READONLY);
    close(&world, small);
    assert_eq!((end_of_file(&file, 9), file.eof()), (MAPPED, 10), "a view alone will do");
    assert_eq!(load(mapped, 0, 8), b"12345678");
    unmap(&world, mapped);
    assert_eq!((end_of_file(&file, 6), file.eof()), (OK, 6));
}

/// Whether a request said that it made a cache map for itself.
#[derive(Default)]
struct Met(AtomicBool);

impl Observer for Met {
    fn begin(&self, _request: &Request) -> u64 {
        1
    }
    fn end(&self, _span: u64, _status: NtStatus, _information: u64) {
        if nt_trace::so_far().iter().any(|id| id.rule().id == "NT-CC-09") {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    fn finding(&self, _rule: &str, _severity: &str, _driver: &str, _message: &str) {}
    fn hop(&self, _span: u64, _hop: &Hop<'_>) {}
}

#[test]
fn nt_cc_09_a_size_is_set_under_a_cache_map_that_goes_again() {
    let world = World::new();
    world.put("f", b"12345678");
    nt_cc::Manager::of(&world.kernel).write_all(); // what wrote it lets go
    let file = world.sync_file("f");
    let section = section(&file, PAGE_READWRITE);
    let sections = object(&file).ptr(FILE_OBJECT::SectionObjectPointer).expect("a stream");
    let shown = || {
        let at = |field| sections.addr_at(field) != 0;
        (at(SECTION_OBJECT_POINTERS::DataSectionObject), at(SECTION_OBJECT_POINTERS::SharedCacheMap))
    };
    assert_eq!(shown(), (true, false), "a section without a cache map");
    let met = std::sync::Arc::new(Met::default());
    let asking = nt_trace::Asking::start();
    world.system().observe(Some(met.clone()));
    assert_eq!(end_of_file(&file, 0x2000), OK);
    world.system().observe(None);
    drop(asking);
    assert!(met.0.load(Ordering::Relaxed), "while the request was under way there was one");
    assert_eq!((shown(), object(&file).addr_at(FILE_OBJECT::PrivateCacheMap)), ((true, false), 0));
    assert_eq!(nt_section::extend(&world.frame(), section, 0x2000).expect("in the file"), 0x2000);
    let mapped = view(&world, section, PAGE_READWRITE);
    store(mapped, 0x1FFF, b"x");
    assert_eq!(file.read(1, Some(0x1FFF)).1, b"x");
    assert_eq!(shown(), (true, true), "the read made a cache map of it");
    close(&world, section);
    unmap(&world, mapped);
}

#[test]
fn nt_del_10_a_mapped_file_is_not_deleted_by_its_disposition() {
    let world = World::new();
    world.put("f", b"data");
    let (file, other) = (world.to_delete("f"), world.sync_file("f"));
    let section = section(&other, PAGE_READONLY);
    assert_eq!((file.dispose(true), file.dispose(false)), (NtStatus::CANNOT_DELETE, OK));
    let mapped = view(&world, section, PAGE_READONLY);
    close(&world, section);
    assert_eq!((file.dispose(true), file.dispose(false)), (NtStatus::CANNOT_DELETE, OK), "by a view alone");
    assert!(!file.links().1);
    unmap(&world, mapped);
    assert_eq!(file.dispose(true), OK);
    drop((file, other));
    assert_eq!(world.absent("f"), GONE);
}

#[test]
fn nt_del_11_delete_on_close_takes_the_name_of_a_mapped_file() {
    let world = World::new();
    world.put("f", b"still here");
    let file = world.open_file("f", DELETE | GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | 0x1000);
    let section = section(&file, PAGE_READWRITE);
    let mapped = view(&world, section, PAGE_READWRITE);
    drop(file);
    assert_eq!(world.absent("f"), GONE);
    assert_eq!(load(mapped, 0, 10), b"still here", "the section lives on");
    store(mapped, 0, b"S");
    assert_eq!(load(mapped, 0, 5), b"Still");
    close(&world, section);
    unmap(&world, mapped);
    world.put("f", b"new");
    assert_eq!(world.get("f").as_deref(), Some(&b"new"[..]));
}

#[test]
fn nt_del_12_a_running_program_is_not_deleted_in_any_form() {
    const DELETE_NOW: u32 = 1;
    const POSIX: u32 = 2;
    const FORCE_IMAGE_SECTION_CHECK: u32 = 4;
    let world = World::new();
    world.put("f", &program());
    let file = world.to_delete("f");
    let reader = world.shared("f", GENERIC_READ | SYNCHRONIZE, 7).expect("open");
    let image = try_section(&reader, SEC_IMAGE, PAGE_READONLY, None).expect("an image");
    let refused = NtStatus::CANNOT_DELETE;
    assert_eq!(file.dispose(true), refused);
    assert_eq!(file.dispose_ex(DELETE_NOW | POSIX), refused);
    assert_eq!(file.dispose_ex(DELETE_NOW | POSIX | FORCE_IMAGE_SECTION_CHECK), refused);
    assert_eq!(world.try_open("f", DELETE | SYNCHRONIZE, SYNC | 0x1000, 1).err(), Some(refused), "delete on close");
    close(&world, image);
    let section = section(&reader, PAGE_READONLY);
    assert_eq!(file.dispose(true), refused);
    assert_eq!(file.dispose_ex(DELETE_NOW | POSIX | FORCE_IMAGE_SECTION_CHECK), OK, "data does not hinder that way");
    drop(file);
    assert_eq!(world.absent("f"), GONE);
    close(&world, section);
}

#[test]
fn nt_cc_75_the_cache_itself_hinders_no_deletion_and_an_image_does() {
    let world = World::new();
    world.put("f", &program());
    let (file, other) = (world.to_delete("f"), world.sync_file("f"));
    other.write(b"M", Some(0));
    assert!(object(&other).addr_at(FILE_OBJECT::PrivateCacheMap) != 0 || on_dir());
    let image = try_section(&other, SEC_IMAGE, PAGE_READONLY, None).expect("an image");
    let sections = object(&other).ptr(FILE_OBJECT::SectionObjectPointer).expect("a stream");
    assert_ne!(sections.addr_at(SECTION_OBJECT_POINTERS::ImageSectionObject), 0);
    assert_eq!(file.dispose(true), NtStatus::CANNOT_DELETE);
    close(&world, image);
    assert_eq!(sections.addr_at(SECTION_OBJECT_POINTERS::ImageSectionObject), 0);
    assert_eq!(file.dispose(true), OK, "cached data is no section of a program's");
}

#[test]
fn nt_shr_03_a_section_counts_after_the_handles_are_gone() {
    const READ: u32 = GENERIC_READ | SYNCHRONIZE;
    const WRITE: u32 = GENERIC_WRITE | SYNCHRONIZE;
    const SHARE_ALL: u32 = 7;
    const SHARE_READ: u32 = 1;
    let world = World::new();
    world.put("f", &program());
    let opened = |access, share| world.shared("f", access, share).err();
    let image = {
        let file = world.shared("f", READ, SHARE_ALL).expect("open");
        try_section(&file, SEC_IMAGE, PAGE_READONLY, None).expect("an image")
    };
    assert_eq!((opened(WRITE, SHARE_ALL), opened(READ, SHARE_READ), opened(DELETE, 0)), (Some(SHARED), None, None));
    assert_eq!(world.try_open("f", WRITE, SYNC, 5).err(), Some(SHARED), "overwriting a program");
    close(&world, image);
    assert_eq!(opened(WRITE, SHARE_ALL), None);
    let writable = {
        let file = world.sync_file("f");
        section(&file, PAGE_READWRITE)
    };
    for access in [READ, WRITE, DELETE | SYNCHRONIZE] {
        assert_eq!((opened(access, SHARE_READ), opened(access, SHARE_ALL)), (Some(SHARED), None), "{access:#x}");
    }
    assert_eq!(opened(0x80 | SYNCHRONIZE, 0), None, "attributes are no data");
    assert_eq!(world.try_open("f", WRITE, SYNC, 5).err(), Some(MAPPED), "overwriting");
    close(&world, writable);
    let read_only = {
        let file = world.sync_file("f");
        section(&file, PAGE_READONLY)
    };
    assert_eq!((opened(READ, 0), opened(WRITE, 0)), (None, None), "a section that nobody can store to is no writer");
    assert_eq!(world.try_open("f", WRITE, SYNC, 4).err(), Some(MAPPED));
    close(&world, read_only);
    assert_eq!(world.try_open("f", WRITE, SYNC, 4).map(|(handle, _)| close(&world, handle)), Ok(()));
}

#[test]
fn a_section_says_what_is_wrong_with_it() {
    let world = World::new();
    world.put("f", b"12345678");
    world.put("empty", b"");
    let reader = world.shared("f", GENERIC_READ | SYNCHRONIZE, 7).expect("open");
    let refused = |file: &File<'_>, kind, protection, size| try_section(file, kind, protection, size).err();
    assert_eq!(refused(&reader, SEC_COMMIT, PAGE_READWRITE, None), Some(NtStatus::ACCESS_DENIED));
    assert_eq!(refused(&reader, SEC_COMMIT, PAGE_READONLY, Some(9)), Some(NtStatus::SECTION_TOO_BIG));
    assert_eq!(refused(&reader, SEC_COMMIT, PAGE_NOACCESS, None), Some(NtStatus::INVALID_PAGE_PROTECTION));
    assert_eq!(refused(&reader, 0, PAGE_READONLY, None), Some(NtStatus::INVALID_PARAMETER_6));
    assert_eq!(refused(&reader, SEC_IMAGE, PAGE_READONLY, None), Some(NtStatus::INVALID_IMAGE_FORMAT));
    let empty = world.sync_file("empty");
    assert_eq!(refused(&empty, SEC_COMMIT, PAGE_READONLY, None), Some(NtStatus::MAPPED_FILE_SIZE_ZERO));
    let grown = try_section(&empty, SEC_COMMIT, PAGE_READWRITE, Some(100_000)).expect("made as large");
    assert_eq!(empty.eof(), 100_000);
    let mapped = try_view(&world, grown, PAGE_READWRITE, 0x1_0000, 0).expect("the rest of it");
    assert_eq!(mapped.len(), 100_000_usize.next_multiple_of(4096) - 0x1_0000);
    store(mapped, 0, b"far");
    assert_eq!(empty.read(3, Some(0x1_0000)).1, b"far");
    let of = |protection, offset, size| try_view(&world, grown, protection, offset, size).err();
    assert_eq!(of(PAGE_READONLY, 4096, 0), Some(NtStatus::MAPPED_ALIGNMENT));
    assert_eq!(of(PAGE_READONLY, 0x2_0000, 0), Some(NtStatus::INVALID_VIEW_SIZE));
    assert_eq!(of(PAGE_READONLY, 0, 200_000), Some(NtStatus::INVALID_VIEW_SIZE));
    let weak = section(&reader, PAGE_READONLY);
    assert_eq!(try_view(&world, weak, PAGE_READWRITE, 0, 0).err(), Some(NtStatus::SECTION_PROTECTION));
    let nowhere = nt_section::unmap(&world.frame(), Handle::CURRENT_PROCESS, mapped.addr() + mapped.len() as u64);
    assert_eq!(nowhere.map_err(|error| error.status()), Err(NtStatus::NOT_MAPPED_VIEW));
    unmap(&world, mapped);
    for handle in [grown, weak] {
        close(&world, handle);
    }
}

#[test]
fn many_threads_store_and_write_and_flush_and_nothing_is_lost() {
    const PAGES: usize = 40;
    let world = World::new();
    world.put("f", &vec![0; PAGES * 4096]);
    let file = world.sync_file("f");
    let section = section(&file, PAGE_READWRITE);
    let mapped = view(&world, section, PAGE_READWRITE);
    std::thread::scope(|scope| {
        for thread in 0..3_usize {
            let kernel = std::sync::Arc::clone(&world.kernel);
            let own = world.processes.create_thread(&kernel, &world.process).expect("a thread");
            scope.spawn(move || {
                let _entered = nt_ke::enter(&kernel, &own, nt_ke::Mode::User);
                for round in 1..=60_u8 {
                    for page in 0..PAGES {
                        store(mapped, page * 4096 + thread, &[round]);
                    }
                    if round % 20 == 0 {
                        nt_cc::Manager::of(&kernel).write_mapped();
                    }
                }
            });
        }
        for _ in 0..30 {
            assert_eq!(flush(&file), OK);
        }
    });
    assert_eq!(flush(&file), OK);
    unmap(&world, mapped);
    close(&world, section);
    drop(file);
    nt_cc::Manager::of(&world.kernel).write_all();
    let bytes = world.get("f").expect("there");
    assert!(bytes.chunks(4096).all(|page| page[..4] == [60, 60, 60, 0]), "every last store is there");
}

#[test]
fn nt_opl_03_what_caches_reads_is_refused_beside_a_section_that_stores() {
    use support::oplock::{LEVEL_2, R, RH};
    let world = World::new();
    let cancel = |file: &File<'_>| {
        let block = nt_cell::UserBlock::new(16).expect("arena");
        nt_io::cancel::nt_cancel_io_file(&world.frame(), file.handle, nt_cell::Addr::user(block.addr()))
    };
    world.put("f", &[0; 4096]);
    for (protection, refused) in [(PAGE_READONLY, false), (PAGE_READWRITE, true)] {
        let file = world.async_file("f");
        let section = section(&file, protection);
        drop(file);
        let holder = world.adopt(world.try_open("f", 0x80 | SYNCHRONIZE, 0, 1).expect("there").0);
        drop(holder.hold(LEVEL_2));
        assert_eq!(cancel(&holder), OK);
        for level in [R, RH] {
            let asked = holder.request(level);
            assert_eq!(asked.returned == NtStatus::OPLOCK_NOT_GRANTED, refused, "{level} {protection}");
            assert_eq!(asked.is_held(), !refused, "{level} {protection}");
            assert_eq!(cancel(&holder), OK);
        }
        close(&world, section);
        drop(holder.hold(R)); // it goes with the section
    }
}

/// What takes the last name of "f", or all its bytes.
fn replace(world: &World, way: usize) {
    const LINK: fn(&File<'_>) -> NtStatus = |file| file.link("f", true);
    const LINK_POSIX: fn(&File<'_>) -> NtStatus = |file| file.link_ex("f", 1 | POSIX);
    match way {
        0 => assert_eq!(world.to_delete("t").rename("f", true), OK),
        1 => assert_eq!(world.to_delete("t").rename_ex("f", 1 | POSIX), OK),
        2 | 3 => {
            let file = world.file("t", GENERIC_READ | DELETE | SYNCHRONIZE, SYNC | DELETE_ON_CLOSE);
            assert_eq!(if way == 2 { LINK(&file) } else { LINK_POSIX(&file) }, OK);
        }
        4 => drop(world.file("f", DELETE | SYNCHRONIZE, SYNC | DELETE_ON_CLOSE)),
        // FILE_SUPERSEDE, FILE_OVERWRITE.
        _ => {
            let disposition = if way == 5 { 0 } else { 4 };
            let (handle, _) = world.try_open("f", GENERIC_WRITE | DELETE | SYNCHRONIZE, SYNC, disposition).expect("f");
            drop(world.adopt(handle));
        }
    }
}

#[test]
fn nt_cc_74_a_replaced_files_dirty_data_is_dropped_and_its_room_is_free_at_once() {
    const PAGES: usize = 256;
    // Room for two such files and a bit, not for three.
    let world = World::with(nt_ke::WindowsVersion::default(), Some(5 * PAGES as u64 * 4096 / 2));
    let manager = nt_cc::Manager::of(&world.kernel);
    manager.set_policy(Some(nt_cc::Policy::Behind));
    let data = |byte| vec![byte; PAGES * 4096];
    for way in 0..7 {
        for round in 0..3 {
            world.put("f", &data(1));
            let replaces = way < 4;
            if replaces {
                world.put("t", &data(2));
                world.put("f:stream", b"dirty too");
            }
            replace(&world, way);
            world.kernel.work.drain(); // the CLOSE of a deleted file may be a worker's (NT-CC-70)
            let left = if replaces { PAGES } else { 0 };
            assert!(manager.dirty_pages() <= left, "way {way}, round {round}: {}", manager.dirty_pages());
            if replaces {
                assert!(world.get("f") == Some(data(2)), "way {way}, round {round}");
                assert_eq!(world.absent("f:stream"), GONE);
            }
            world.put("u", &data(3)); // there is room
            drop(world.file("u", DELETE | SYNCHRONIZE, SYNC | DELETE_ON_CLOSE));
            world.kernel.work.drain();
        }
    }
    // Held by an open, it goes with that; seen by a view, it stays for it.
    world.put("f", &data(1));
    world.put("t", &data(2));
    let held = world.shared("f", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, 7).expect("f");
    replace(&world, 1);
    assert_eq!(held.read(4, Some(0)).1, [1; 4]);
    drop(held);
    world.kernel.work.drain();
    world.put("u", &data(3));
    drop(world.file("u", DELETE | SYNCHRONIZE, SYNC | DELETE_ON_CLOSE));
    world.kernel.work.drain();
    let mapped = section(&world.sync_file("f"), PAGE_READWRITE);
    let view = view(&world, mapped, PAGE_READWRITE);
    world.put("t", &data(4));
    replace(&world, 1);
    assert_eq!(load(view, 4096 * (PAGES - 1), 4096), [2; 4096]);
    store(view, 0, b"stored");
    assert_eq!(load(view, 0, 6), b"stored");
    unmap(&world, view);
    close(&world, mapped);
    assert!(world.get("f") == Some(data(4)));
}
