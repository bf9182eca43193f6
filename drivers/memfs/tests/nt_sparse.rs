//! Sparse files: nt-fs.md section 20, rules NT-SPA.
mod support;

use nt_abi::NtStatus;
use nt_abi::mm::{PAGE_READWRITE, SEC_COMMIT, SECTION_ALL_ACCESS};
use nt_cc::{Manager, Policy};
use nt_cell::Region;
use nt_io::info::class;
use nt_ke::WindowsVersion;
use nt_ob::Handle;
use nt_section::{CreateSection, MapView};
use std::os::unix::fs::FileExt;
use support::directory::{RESTART, long, word};
use support::names::*;
use support::notify::*;
use support::*;

const OK: NtStatus = NtStatus::SUCCESS;
const FULL: NtStatus = NtStatus::DISK_FULL;
const INVALID: NtStatus = NtStatus::INVALID_PARAMETER;
const SET_SPARSE: u32 = 0x9_00C4;
const SET_ZERO_DATA: u32 = 0x9_80C8;
const QUERY_ALLOCATED_RANGES: u32 = 0x9_40CF;
const UNIT: u64 = 0x1_0000;
const SPARSE: u32 = 0x200;
const NONCACHED: u32 = 8;
const TERABYTE: u64 = 1 << 40;

/// What is allocated and freed at a time: the host's blocks on a `dir` volume.
fn unit() -> u64 {
    if on_dir() { 4096 } else { UNIT }
}

fn pair(first: u64, second: u64) -> Vec<u8> {
    [first.to_le_bytes(), second.to_le_bytes()].concat()
}

impl File<'_> {
    fn set_sparse(&self, sparse: u8) -> NtStatus {
        self.control(SET_SPARSE, &[sparse], 0).0
    }
    fn zero(&self, start: u64, beyond: u64) -> NtStatus {
        self.control(SET_ZERO_DATA, &pair(start, beyond), 0).0
    }
    /// {start, end} of the ranges in `[start, end)`.
    fn ranges_in(&self, start: u64, end: u64) -> Vec<(u64, u64)> {
        let (status, iosb, bytes) = self.control(QUERY_ALLOCATED_RANGES, &pair(start, end - start), 4096);
        let Iosb::Is(OK, count) = iosb else { panic!("{status}: {iosb:?}") };
        bytes[..count as usize].chunks(16).map(|range| (long(range, 0), long(range, 0) + long(range, 8))).collect()
    }
    fn ranges(&self) -> Vec<(u64, u64)> {
        self.ranges_in(0, i64::MAX as u64)
    }
    fn attributes(&self) -> u32 {
        word(&self.query(class::BASIC, 40), 32)
    }
    fn is_sparse(&self) -> bool {
        self.attributes() & SPARSE != 0
    }
    fn allocation(&self) -> u64 {
        long(&self.query(class::STANDARD, 24), 0)
    }
    fn set_eof(&self, eof: u64) -> NtStatus {
        self.set(class::END_OF_FILE, &eof.to_le_bytes())
    }
    #[track_caller]
    fn put(&self, at: u64, bytes: &[u8]) {
        assert_eq!(self.write(bytes, Some(at as i64)), success(bytes.len() as u64));
    }
    fn get(&self, at: u64, length: usize) -> Vec<u8> {
        self.read(length, Some(at as i64)).1
    }
    fn has(&self, wanted: &[u8]) {
        let got = self.get(0, wanted.len() + 1);
        let differs = got.iter().zip(wanted).position(|(a, b)| a != b);
        assert_eq!((got.len(), differs), (wanted.len(), None));
    }
}

impl World {
    /// An empty sparse file.
    fn sparse(&self, name: &str) -> File<'_> {
        let file = self.file(name, GENERIC_READ | GENERIC_WRITE | DELETE | SYNCHRONIZE, SYNC);
        assert_eq!(file.set_sparse(1), OK);
        file
    }
    fn free(&self) -> u64 {
        long(&self.volume(GENERIC_READ).query_volume(7, 32).expect("sizes"), 16)
    }
    /// The directory's entry of a file: {end of file, allocated, attributes}.
    fn entry(&self, name: &str) -> (u64, u64, u32) {
        let listing = self.directory("").list(1, 4096, RESTART, Some(name));
        let bytes = &listing.records(1)[0].bytes;
        (long(bytes, 0x28), long(bytes, 0x30), word(bytes, 0x38))
    }
    /// Takes all the room there is with a file; tells its name.
    fn fill_up(&self) -> &'static str {
        let file = self.sync_file("filler");
        let (mut at, mut step) = (0, UNIT as usize);
        while step >= 512 {
            match file.write(&vec![9; step], Some(at)).returned {
                OK => at += step as i64,
                status => {
                    assert_eq!(status, FULL);
                    step /= 2;
                }
            }
        }
        "filler"
    }
    /// Gives it back. A file goes with its last reference, which the cache may let go of a little later.
    fn make_room(&self, filler: &str) {
        drop(self.file(filler, DELETE | SYNCHRONIZE, SYNC | DELETE_ON_CLOSE));
        while self.free() < UNIT / 4096 {
            self.pause();
        }
    }
    fn small() -> Self {
        Self::with(WindowsVersion::default(), Some(1 << 20))
    }
    fn behind(self) -> Self {
        Manager::of(&self.kernel).set_policy(Some(Policy::Behind));
        self
    }
}

fn section(file: &File<'_>) -> Handle {
    let (kind, protection) = (SEC_COMMIT, PAGE_READWRITE);
    let args =
        CreateSection { access: SECTION_ALL_ACCESS, attributes: 0, size: None, protection, kind, file: file.handle };
    nt_section::create(&file.world.frame(), &args).expect("a section")
}

/// Gives a view of all of a file to `look`.
fn viewed<R>(file: &File<'_>, look: impl FnOnce(Region) -> R) -> R {
    let (world, section) = (file.world, section(file));
    let protection = PAGE_READWRITE;
    let args = MapView { section, process: Handle::CURRENT_PROCESS, base: 0, offset: 0, size: 0, protection };
    let view = nt_section::map(&world.frame(), &args).expect("a view");
    let result = look(view);
    nt_section::unmap(&world.frame(), Handle::CURRENT_PROCESS, view.addr()).expect("mapped");
    nt_io::event::close(&world.frame(), section).expect("a handle");
    result
}

fn load(view: Region, length: usize) -> Vec<u8> {
    let mut bytes = vec![0xEE; length];
    nt_section::read(view.sub(0, length), &mut bytes).expect("a view");
    bytes
}

fn store(view: Region, at: u64, bytes: &[u8]) {
    nt_section::write(view.sub(at as usize, bytes.len()), bytes).expect("a view");
}

fn flush(file: &File<'_>) -> NtStatus {
    let block = nt_cell::UserBlock::new(16).expect("arena");
    nt_io::flush::nt_flush_buffers_file(&file.world.frame(), file.handle, nt_cell::Addr::user(block.addr()))
}

#[test]
fn nt_spa_01_a_file_becomes_sparse_and_keeps_what_it_has() {
    let world = World::new();
    let watch = world.watched("");
    let file = world.sync_file("f");
    file.put(0, &[7; 3 * UNIT as usize]);
    let allocated = file.allocation();
    assert!(!file.is_sparse());
    let changed = |file: &File<'_>| long(&file.query(class::BASIC, 40), 24);
    let before = changed(&file);
    world.pause();
    let told_of = watch.watch(ATTRIBUTES);
    let (status, iosb, _) = file.control(SET_SPARSE, &[], 0);
    assert_eq!((status, iosb), (OK, Iosb::Is(OK, 0)));
    assert_eq!(told_of.told(), told(&[(MODIFIED, "f")]));
    assert!(changed(&file) > before);
    for again in [&[][..], &[0xFF], &[&[1][..], &[0; 99]].concat()] {
        assert!(file.is_sparse());
        assert_eq!((file.allocation(), file.ranges()), (allocated, vec![(0, 3 * UNIT)]));
        assert_eq!(file.control(SET_SPARSE, again, 0).0, OK);
    }
    assert_ne!(world.entry("f").2 & SPARSE, 0);
    file.has(&[7; 3 * UNIT as usize]);
    drop(file);
    assert!(world.sync_file("f").is_sparse(), "it is the file's, not the handle's");
}

#[test]
fn nt_spa_02_a_file_that_is_sparse_no_longer_has_all_of_its_room() {
    let world = World::small();
    let file = world.sparse("f");
    file.put(3 * UNIT, &[7; 100]);
    let mut bytes = vec![0; 3 * UNIT as usize];
    bytes.extend([7; 100]);
    assert_eq!(file.ranges(), [(3 * UNIT, 3 * UNIT + 100)]);
    assert_eq!(file.control(SET_SPARSE, &[0; 100], 0).0, OK);
    assert!(!file.is_sparse());
    assert_eq!(file.ranges(), [(0, 3 * UNIT + 100)]);
    assert!(file.allocation() >= 3 * UNIT + 100);
    file.has(&bytes);

    let file = world.sparse("g");
    file.put(0, &[7; 100]);
    assert_eq!(file.set_eof(2 << 20), OK);
    let (free, ranges) = (world.free(), file.ranges());
    assert_eq!(file.set_sparse(0), FULL);
    assert!(file.is_sparse());
    assert_eq!((world.free(), file.ranges()), (free, ranges));
    assert_eq!(file.set_eof(UNIT), OK);
    assert_eq!((file.set_sparse(0), file.is_sparse()), (OK, false));
}

#[test]
fn nt_spa_03_who_may_make_a_file_sparse_zero_it_and_ask() {
    let world = World::new();
    drop(world.sync_file("f"));
    let denied = NtStatus::ACCESS_DENIED;
    // READ_DATA, WRITE_DATA, APPEND_DATA, READ_EA, WRITE_EA, READ_ATTRIBUTES, WRITE_ATTRIBUTES.
    for (access, sets, zeroes, asks) in [
        (0x01, denied, denied, OK),
        (0x02, OK, OK, denied),
        (0x04, OK, denied, denied),
        (0x08, denied, denied, denied),
        (0x10, denied, denied, denied),
        (0x80, denied, denied, denied),
        (0x100, OK, denied, denied),
    ] {
        let file = world.file("f", access | SYNCHRONIZE, SYNC);
        assert_eq!(file.control(SET_SPARSE, &[], 0).0, sets, "{access:#x}");
        assert_eq!(file.zero(0, 100), zeroes, "{access:#x}");
        assert_eq!(file.control(QUERY_ALLOCATED_RANGES, &pair(0, 100), 64).0, asks, "{access:#x}");
    }
    let directory = world.file("d", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | 1);
    assert_eq!(directory.control(SET_SPARSE, &[], 0).0, INVALID);
    assert_eq!(directory.zero(0, 100), INVALID);
    assert_eq!(directory.control(QUERY_ALLOCATED_RANGES, &pair(0, 100), 64).0, INVALID);
}

#[test]
fn nt_spa_04_only_its_control_makes_a_file_sparse_and_an_overwrite_ends_it() {
    const CREATE: u32 = 2;
    let world = World::new();
    let spec = nt_io::create::CreateSpec {
        access: GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE,
        name: "\\??\\C:\\f".encode_utf16().collect(),
        options: SYNC,
        disposition: CREATE,
        attributes: SPARSE,
        ..Default::default()
    };
    let (handle, _) = nt_io::create::nt_create_file(&world.frame(), &spec).expect("a file");
    let file = world.adopt(handle);
    let set = |attributes: u32| file.set(class::BASIC, &[&[0; 32][..], &attributes.to_le_bytes(), &[0; 4]].concat());
    assert!(!file.is_sparse());
    assert_eq!((set(SPARSE | 2), file.attributes()), (OK, 2));
    assert_eq!(file.set_sparse(1), OK);
    assert_eq!((set(4), file.attributes()), (OK, SPARSE | 4));
    assert_eq!((set(0x80), file.attributes()), (OK, SPARSE));
    drop(file);
    for (name, disposition) in [("f", 5), ("g", 0)] {
        drop(world.sparse(name));
        let access = GENERIC_READ | GENERIC_WRITE | DELETE | SYNCHRONIZE;
        let (handle, _) = world.try_open(name, access, SYNC, disposition).expect("replaced");
        let file = world.adopt(handle);
        assert!(!file.is_sparse(), "{name}");
        file.put(5 * UNIT, &[1]);
        if !on_dir() {
            // A host leaves a gap unallocated in any file.
            assert_eq!(file.ranges(), [(0, 5 * UNIT + 1)], "{name}");
        }
    }
}

#[test]
fn nt_spa_05_sparse_files_are_claimed_where_holes_are_kept() {
    let claims =
        |world: &World| word(&world.volume(GENERIC_READ).query_volume(5, 64).expect("attributes"), 0) & 0x40 != 0;
    let world = World::new();
    assert!(claims(&world));
    assert_eq!(world.sync_file("f").set_sparse(1), OK);
    // This one knows of no holes.
    let Some(ground) = Ground::of("ramfs", &[]) else { return };
    let world = World::on(WindowsVersion::default(), None, Some(ground));
    assert!(!claims(&world));
    let file = world.sync_file("f");
    file.put(0, &[7; 3 * UNIT as usize]);
    assert_eq!(file.set_sparse(1), NtStatus::INVALID_DEVICE_REQUEST);
    assert_eq!((file.zero(10, UNIT), file.is_sparse()), (OK, false));
    assert_eq!(file.ranges(), [(0, 3 * UNIT)]);
    assert_eq!((file.get(9, 2), file.get(UNIT - 1, 2)), (vec![7, 0], vec![0, 7]));
}

#[test]
fn nt_spa_06_a_question_for_ranges_is_looked_at_before_it_is_answered() {
    let world = World::new();
    let ask = |file: &File<'_>, input: &[u8], output: usize| {
        let (status, iosb, _) = file.control(QUERY_ALLOCATED_RANGES, input, output);
        (status, iosb)
    };
    let nothing = (OK, Iosb::Is(OK, 0));
    for sparse in [0, 1] {
        let file = world.sync_file(if sparse == 0 { "f" } else { "g" });
        if sparse == 1 {
            assert_eq!(file.set_sparse(1), OK);
        }
        assert_eq!(ask(&file, &pair(0, 1024), 0), nothing, "an empty file");
        file.put(0, &[7; 4096]);
        for input in [pair(0, 0), pair(4096, 1024), pair(1 << 40, i64::MAX as u64 - (1 << 40))] {
            for output in [0, 64] {
                assert_eq!(ask(&file, &input, output), nothing);
            }
        }
        assert_eq!(ask(&file, &[pair(0, 4096), vec![0xEE; 16]].concat(), 64), (OK, Iosb::Is(OK, 16)));
        for input in [&[][..], &[0; 15], &pair(u64::MAX, 10), &pair(0, u64::MAX), &pair(512, i64::MAX as u64)] {
            assert_eq!(ask(&file, input, 64).0, INVALID, "{input:?}");
        }
    }
}

#[test]
fn nt_spa_07_ranges_are_cut_to_the_question_and_told_as_far_as_they_fit() {
    let world = World::new();
    let file = world.sparse("f");
    for number in 0..10 {
        file.put((2 * number + 1) * UNIT, &[7; UNIT as usize]);
    }
    let all: Vec<_> = (0..10).map(|number| ((2 * number + 1) * UNIT, (2 * number + 2) * UNIT)).collect();
    assert_eq!(file.ranges(), all);
    assert_eq!(file.ranges_in(UNIT + 1, 3 * UNIT + 5), [(UNIT + 1, 2 * UNIT), (3 * UNIT, 3 * UNIT + 5)]);
    assert_eq!(file.ranges_in(0, UNIT), []);
    assert_eq!(file.ranges_in(2 * UNIT - 1, 3 * UNIT), [(2 * UNIT - 1, 2 * UNIT)]);
    let ask = |output| file.control(QUERY_ALLOCATED_RANGES, &pair(0, TERABYTE), output);
    for output in [0, 15] {
        assert_eq!(ask(output).0, NtStatus::BUFFER_TOO_SMALL);
    }
    let (status, iosb, bytes) = ask(3 * 16 + 15);
    assert_eq!((status, iosb), (NtStatus::BUFFER_OVERFLOW, Iosb::Is(NtStatus::BUFFER_OVERFLOW, 48)));
    assert_eq!(bytes[..48], [pair(UNIT, UNIT), pair(3 * UNIT, UNIT), pair(5 * UNIT, UNIT)].concat());
    assert_eq!(bytes[48..], [0xEE; 15]);
    assert_eq!(ask(160).1, Iosb::Is(OK, 160), "all of them fit");
}

#[test]
fn nt_spa_08_a_file_that_is_not_sparse_is_one_range() {
    let world = World::new();
    let file = world.sync_file("f");
    file.put(0, &[7; 2 * UNIT as usize]);
    assert_eq!(file.zero(0, UNIT), OK);
    let end = 2 * UNIT;
    assert_eq!(file.ranges_in(0, end - 1), [(0, end - 1)]);
    assert_eq!(file.ranges_in(0, end + 1), [(0, end)]);
    assert_eq!(file.ranges_in(1, end + 1), [(1, end)]);
}

#[test]
fn nt_spa_09_what_was_written_to_is_allocated_by_units() {
    let world = World::new();
    let file = world.sparse("f");
    file.put(4096, &[7; 1024]);
    assert_eq!(file.ranges(), [(4096 / unit() * unit(), 5120)]);
    assert_eq!(file.allocation(), unit());
    let file = world.sparse("g");
    file.put(UNIT, &[7; 1024]);
    assert_eq!(file.ranges(), [(UNIT, UNIT + 1024)]);
    file.put(5 * UNIT - 1, &[7; 2]);
    assert_eq!(file.ranges()[1..], [(5 * UNIT - unit(), 5 * UNIT + 1)]);
    let Some(ground) = &world.ground else { return };
    // The host's own.
    let path = ground.path().join("host");
    let made = std::fs::File::create(&path).expect("a file of the host");
    made.set_len(8 * UNIT).expect("a length");
    made.write_all_at(&[7; 4096], 4 * UNIT).expect("bytes");
    let file = world.sync_file("host");
    assert!(file.is_sparse());
    assert_eq!(file.ranges(), [(4 * UNIT, 4 * UNIT + 4096)]);
    made.write_all_at(&[7; 4096], 6 * UNIT).expect("bytes");
    assert_eq!(file.ranges(), [(4 * UNIT, 4 * UNIT + 4096), (6 * UNIT, 6 * UNIT + 4096)]);
    made.write_all_at(&[7; 8 * UNIT as usize], 0).expect("bytes");
    assert_eq!((file.is_sparse(), file.ranges()), (false, vec![(0, 8 * UNIT)]));
}

#[test]
fn nt_spa_10_a_file_that_is_not_sparse_is_zeroed_in_place() {
    let world = World::new();
    let file = world.sync_file("f");
    file.put(0, &[7; 3 * UNIT as usize]);
    let (allocated, free) = (file.allocation(), world.free());
    assert_eq!(file.zero(100, 2 * UNIT + 100), OK);
    let mut bytes = vec![7; 3 * UNIT as usize];
    bytes[100..2 * UNIT as usize + 100].fill(0);
    file.has(&bytes);
    assert_eq!((file.allocation(), file.ranges()), (allocated, vec![(0, 3 * UNIT)]));
    if !on_dir() {
        assert_eq!(world.free(), free);
    }
    for (start, beyond) in [(3 * UNIT, 3 * UNIT + 8), (9 * UNIT, 10 * UNIT), (50, 50)] {
        assert_eq!(file.zero(start, beyond), OK);
    }
    file.has(&bytes);
    assert_eq!(file.zero(3 * UNIT - 10, 9 * UNIT), OK);
    bytes[3 * UNIT as usize - 10..].fill(0);
    file.has(&bytes);
    for (start, beyond) in [(51, 50), (u64::MAX, 50), (0, u64::MAX)] {
        assert_eq!(file.zero(start, beyond), INVALID);
    }
    for short in [0, 15] {
        assert_eq!(file.control(SET_ZERO_DATA, &vec![0; short], 0).0, INVALID);
    }
    file.has(&bytes);
}

#[test]
fn nt_spa_11_zeroed_units_of_a_sparse_file_are_freed() {
    let world = World::new();
    let file = world.sparse("f");
    let (size, part) = (3 * UNIT + 100, 2 * UNIT + 4096);
    let mut bytes = vec![7; size as usize];
    file.put(0, &bytes);
    let (allocated, free) = (file.allocation(), world.free());
    assert_eq!(file.zero(100, part), OK);
    bytes[100..part as usize].fill(0);
    file.has(&bytes);
    let (from, to) = (unit(), part / unit() * unit());
    assert_eq!(file.ranges(), [(0, from), (to, size)]);
    assert_eq!(file.allocation(), allocated - (to - from));
    if !on_dir() {
        assert_eq!(world.free(), free + (to - from) / 4096);
    }
    // To the end: the unit that it lies in goes too.
    assert_eq!(file.zero(part, size + 5), OK);
    bytes[part as usize..].fill(0);
    file.has(&bytes);
    let left = [(0, unit())].into_iter().chain((!on_dir()).then_some((2 * UNIT, 3 * UNIT)));
    assert_eq!(file.ranges(), left.collect::<Vec<_>>());
    assert_eq!(file.eof(), size);
    // All of it.
    assert_eq!(file.zero(0, size), OK);
    assert_eq!((file.ranges(), file.allocation()), (vec![], 0));
    // Two halves.
    file.put(0, &[7; 2 * UNIT as usize]);
    assert_eq!((file.zero(0, UNIT / 2), file.zero(UNIT / 2, UNIT)), (OK, OK));
    assert_eq!(file.ranges(), [(if on_dir() { UNIT } else { 0 }, 2 * UNIT)]);
    assert_eq!((file.get(0, 1), file.get(UNIT, 1)), (vec![0], vec![7]));
    // A unit that was freed is had again.
    assert_eq!(file.zero(0, 2 * UNIT), OK);
    file.put(UNIT + 5, &[1, 2, 3]);
    assert_eq!(file.get(UNIT, 10), [0, 0, 0, 0, 0, 1, 2, 3, 0, 0]);
}

#[test]
fn nt_spa_12_locked_bytes_are_not_zeroed_by_others() {
    let world = World::new();
    let (file, owner) = (world.sync_file("f"), world.sync_file("f"));
    file.put(0, &[7; UNIT as usize]);
    assert_eq!(owner.lock(0, UNIT, 0, true).returned, OK);
    assert_eq!(file.set_sparse(1), OK);
    assert_eq!(file.zero(0, 4096), NtStatus::FILE_LOCK_CONFLICT);
    assert_eq!(file.ranges(), [(0, UNIT)]);
    assert_eq!(file.zero(UNIT, 2 * UNIT), OK, "past the end");
    assert_eq!(owner.get(0, 1), [7]);
    assert_eq!(owner.zero(0, 4096), OK, "its own");
    assert_eq!(owner.unlock(0, UNIT, 0).returned, OK);
    assert_eq!(file.zero(0, UNIT), OK);
    assert_eq!(file.ranges(), []);
}

#[test]
fn nt_spa_13_what_is_allocated_is_told_and_a_length_takes_no_room() {
    let world = World::small();
    let file = world.sparse("f");
    let before = world.free();
    file.put(0, &[1, 2]);
    file.put(1 << 20, &[3]);
    let two = 2 * unit();
    assert_eq!((file.eof(), file.allocation()), ((1 << 20) + 1, two));
    assert_eq!(world.free(), before - two / 4096);
    assert_eq!(file.set_eof(TERABYTE), OK);
    assert_eq!((file.eof(), file.allocation(), world.free()), (TERABYTE, two, before - two / 4096));
    let network = file.query(class::NETWORK_OPEN, 56);
    assert_eq!((long(&network, 32), long(&network, 40)), (two, TERABYTE));
    assert_eq!(long(&file.query(class::COMPRESSION, 16), 0), two);
    assert_eq!(long(&file.query(class::STREAM, 64), 16), two);
    let (eof, allocated, attributes) = world.entry("f");
    assert_eq!((eof, allocated, attributes & SPARSE), (TERABYTE, two, SPARSE));
    let plain = world.sync_file("plain");
    plain.put(0, &[1; 100]);
    assert_eq!(long(&plain.query(class::COMPRESSION, 16), 0), 100);
    // At the very end, and cut again.
    file.put(TERABYTE - 1, &[9]);
    assert_eq!((file.allocation(), file.get(TERABYTE - 3, 9)), (3 * unit(), vec![0, 0, 9]));
    if !on_dir() {
        let longest = 0x0FFF_FFFF_0000;
        assert_eq!((file.set_eof(longest), file.set_eof(longest + 1)), (OK, FULL));
        assert_eq!(file.write(&[9; 2], Some(longest as i64 - 1)).returned, FULL);
        assert_eq!(file.eof(), longest);
    }
    assert_eq!(file.set_eof(5), OK);
    assert_eq!(file.allocation(), unit());
    file.has(&[1, 2, 0, 0, 0]);
    assert_eq!(file.set_eof(0), OK);
    drop((file, plain));
}

#[test]
fn nt_spa_14_a_write_into_a_hole_takes_its_room_first() {
    for behind in [false, true] {
        let world = if behind { World::small().behind() } else { World::small() };
        let file = world.sparse("f");
        assert_eq!(file.set_eof(8 << 20), OK);
        file.put(0, &[7; 4096]);
        // In the cache, as zeros.
        assert_eq!(file.get(2 << 20, 4096), [0; 4096]);
        file.put(4 << 20, &[7; 100]);
        let filler = world.fill_up();
        let (ranges, allocated) = (file.ranges(), file.allocation());
        for at in [2 << 20, 3 << 20, (4 << 20) - 4096, 9 << 20] {
            assert_eq!(file.write(&[8; 4096], Some(at)).returned, FULL, "{at:#x}");
        }
        let direct = world.file("f", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | NONCACHED);
        assert_eq!(direct.write(&[8; 4096], Some(5 << 20)).returned, FULL);
        assert_eq!((file.ranges(), file.allocation(), file.eof()), (ranges, allocated, 8 << 20));
        assert_eq!(file.get(2 << 20, 4096), [0; 4096]);
        // What has room is written to.
        file.put(10, &[6; 100]);
        file.put(4 << 20, &[6; 100]);
        world.make_room(filler);
        for at in [2 << 20, 5 << 20] {
            file.put(at, &[8; 4096]);
        }
        let refilled = world.fill_up();
        assert_eq!(flush(&file), OK, "all that was taken has room");
        assert_eq!(direct.get(2 << 20, 4096), [8; 4096]);
        assert_eq!(
            (direct.get(0, 512)[10..110].to_vec(), direct.get(4 << 20, 512)[..100].to_vec()),
            (vec![6; 100], vec![6; 100])
        );
        world.make_room(refilled);
    }
}

#[test]
fn nt_l_10_locks_refuse_a_write_into_a_hole_before_it_waits_for_room() {
    for behind in [false, true] {
        let world = if behind { World::new().behind() } else { World::new() };
        world.policy(nt_io::system::AsyncPolicy::Inline);
        let (file, owner, other) = (world.sparse("f"), world.sync_file("f"), world.async_file("f"));
        file.put(2 * UNIT, &[7; 100]);
        assert_eq!(owner.lock(0, 5000, 0, true).returned, OK);
        let ranges = file.ranges();
        assert_eq!(
            other.write(&[8; 100], Some(58)).returned,
            NtStatus::FILE_LOCK_CONFLICT,
            "not PENDING, and then that"
        );
        assert_eq!(file.ranges(), ranges);
    }
}

#[test]
fn nt_spa_15_a_hole_reads_as_zero_however_it_is_read() {
    let world = World::new();
    let file = world.sparse("f");
    file.put(4 * UNIT, &[7; UNIT as usize]);
    assert_eq!(file.set_eof(20 * UNIT), OK);
    let allocated = file.allocation();
    let direct = world.file("f", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | NONCACHED);
    let mut wanted = vec![0; 20 * UNIT as usize];
    wanted[4 * UNIT as usize..5 * UNIT as usize].fill(7);
    assert!(direct.get(0, wanted.len()) == wanted);
    assert!(file.get(0, wanted.len()) == wanted);
    assert!(viewed(&file, |view| load(view, wanted.len())) == wanted);
    assert_eq!((file.ranges(), file.allocation()), (vec![(4 * UNIT, 5 * UNIT)], allocated));
}

#[test]
fn nt_spa_16_a_new_allocation_leaves_the_holes() {
    let world = World::new();
    let file = world.sparse("f");
    let allocate = |to: u64| file.set(class::ALLOCATION, &to.to_le_bytes());
    file.put(0, &[7; UNIT as usize]);
    assert_eq!(file.set_eof(2 * UNIT), OK);
    assert_eq!((allocate(5 * UNIT), file.eof(), file.allocation()), (OK, 2 * UNIT, 4 * UNIT));
    assert_eq!(file.ranges(), [(0, UNIT)]);
    if !on_dir() {
        assert_eq!((allocate(2 * UNIT), file.eof(), file.allocation()), (OK, 2 * UNIT, UNIT));
    }
    assert_eq!(
        (allocate(UNIT / 2), file.eof(), file.allocation()),
        (OK, UNIT / 2, if on_dir() { UNIT / 2 } else { UNIT })
    );
    assert_eq!(file.get(0, 5), [7; 5]);
    // What was reserved is there for what comes.
    let world = World::small();
    let file = world.sparse("f");
    assert_eq!(file.set(class::ALLOCATION, &(3 * UNIT).to_le_bytes()), OK);
    world.fill_up();
    file.put(0, &[7; 3 * UNIT as usize]);
    assert_eq!(flush(&file), OK);
}

#[test]
fn nt_spa_17_a_gap_is_a_hole() {
    for (behind, options) in [(false, SYNC), (false, SYNC | NONCACHED), (true, SYNC)] {
        let world = if behind { World::new().behind() } else { World::new() };
        // A short gap, a long one, and one behind the valid data.
        for (name, ahead, at) in [("short", 0, 9 * UNIT), ("long", 0, 900 * UNIT), ("inside", 990 * UNIT, 950 * UNIT)] {
            let file = world.file(name, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, options);
            assert_eq!((file.set_sparse(1), file.set_eof(0)), (OK, OK));
            file.put(0, &[7; 512]);
            if ahead != 0 {
                assert_eq!(file.set_eof(ahead), OK);
            }
            file.put(at, &[8; 512]);
            let end = (at + unit()).min(file.eof());
            assert_eq!(file.ranges(), [(0, unit()), (at, end)], "{name} {options:#x}");
            assert_eq!(file.allocation(), 2 * unit());
            assert_eq!(file.get(at - UNIT, UNIT as usize), [0; UNIT as usize]);
            assert_eq!((file.get(0, 1024)[..512].to_vec(), file.get(at, 512)), (vec![7; 512], vec![8; 512]));
            assert_eq!(file.get(512, 3584), [0; 3584]);
        }
    }
}

#[test]
fn nt_spa_18_zeros_are_seen_by_the_cache_and_by_views() {
    for behind in [false, true] {
        let world = if behind { World::new().behind() } else { World::new() };
        let file = world.sparse("f");
        let mut wanted = vec![7; 4 * UNIT as usize];
        file.put(0, &wanted);
        // Dirty pages around, and a page of which a part is zeroed.
        file.put(UNIT - 10, &[5; 20]);
        file.put(3 * UNIT - 10, &[5; 20]);
        assert_eq!(file.zero(UNIT, 3 * UNIT), OK);
        wanted[UNIT as usize - 10..UNIT as usize].fill(5);
        wanted[UNIT as usize..3 * UNIT as usize].fill(0);
        wanted[3 * UNIT as usize..3 * UNIT as usize + 10].fill(5);
        file.has(&wanted);
        assert_eq!(file.ranges(), [(0, UNIT), (3 * UNIT, 4 * UNIT)]);
        viewed(&file, |view| {
            assert!(load(view, wanted.len()) == wanted);
            store(view, 3 * UNIT + 100, &[1, 2, 3, 4]);
            assert_eq!(file.zero(3 * UNIT, 4 * UNIT - 5), OK);
            wanted[3 * UNIT as usize..4 * UNIT as usize - 5].fill(0);
            assert!(load(view, wanted.len()) == wanted);
            file.has(&wanted);
            assert_eq!(file.ranges().last(), Some(&(3 * UNIT, 4 * UNIT)), "nothing goes under a view");
        });
        assert_eq!(flush(&file), OK);
        file.has(&wanted);
        assert_eq!(file.zero(3 * UNIT, 4 * UNIT), OK);
        assert_eq!(file.ranges(), [(0, UNIT)]);
    }
}

#[test]
fn nt_spa_19_a_store_into_a_hole_takes_its_room_when_it_is_written() {
    let world = World::small();
    let file = world.sparse("f");
    file.put(0, &[7; 100]);
    assert_eq!(file.set_eof(4 * UNIT), OK);
    let filler = world.fill_up();
    viewed(&file, |view| {
        store(view, 2 * UNIT, &[1, 2, 3, 4]);
        assert_eq!(flush(&file), FULL);
        world.make_room(filler);
        assert_eq!(flush(&file), OK);
    });
    assert_eq!((file.get(0, 100), file.get(2 * UNIT, 5)), (vec![7; 100], vec![1, 2, 3, 4, 0]));
    assert_eq!(file.ranges(), [(0, unit()), (2 * UNIT, 2 * UNIT + unit())]);
}

#[test]
fn nt_spa_20_each_stream_is_sparse_by_itself() {
    let world = World::new();
    let (file, stream, other) = (world.sync_file("f"), world.sync_file("f:s"), world.sync_file("f:t"));
    assert_eq!(stream.set_sparse(1), OK);
    assert!(file.is_sparse() && stream.is_sparse() && other.is_sparse(), "the attribute is the file's");
    for each in [&file, &stream, &other] {
        each.put(5 * UNIT, &[7]);
    }
    assert_eq!(stream.ranges(), [(5 * UNIT, 5 * UNIT + 1)]);
    if !on_dir() {
        assert_eq!((file.ranges(), other.ranges()), (vec![(0, 5 * UNIT + 1)], vec![(0, 5 * UNIT + 1)]));
    }
    assert_eq!((file.set_sparse(1), file.set_sparse(0), other.set_sparse(0)), (OK, OK, OK));
    assert!(file.is_sparse(), "one of its streams is");
    assert_eq!((stream.set_sparse(0), file.is_sparse()), (OK, false));
    for each in [&file, &stream, &other] {
        assert_eq!((each.ranges(), each.get(5 * UNIT - 1, 5)), (vec![(0, 5 * UNIT + 1)], vec![0, 7]));
    }
}
