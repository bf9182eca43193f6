//! Named streams: nt-fs.md section 11, rules NT-STR, NT-SHR-05, NT-REN-34, NT-DEL-31.
mod device;
mod support;

use nt_abi::NtStatus;
use nt_abi::io::{FILE_OBJECT, IRP_MJ_CLEANUP};
use nt_cell::Addr;
use nt_io::create::{self, CreateSpec};
use nt_io::info::class;
use support::directory::{long, word};
use support::names::*;
use support::notify::*;
use support::*;

const OK: NtStatus = NtStatus::SUCCESS;
const INVALID_NAME: Option<NtStatus> = Some(NtStatus::OBJECT_NAME_INVALID);
const ABSENT: Option<NtStatus> = Some(NtStatus::OBJECT_NAME_NOT_FOUND);
const PENDING: Option<NtStatus> = Some(NtStatus::DELETE_PENDING);
const VIOLATION: Option<NtStatus> = Some(NtStatus::SHARING_VIOLATION);
const ATTRIBUTES: u32 = 0x180;
const NON_DIRECTORY: u32 = 0x40;

/// The disposition's Information.
const CREATED: u64 = 2;
const OVERWRITTEN: u64 = 3;
const SUPERSEDED: u64 = 0;

impl World {
    fn why(&self, name: &str, access: u32, options: u32, disposition: u32) -> Option<NtStatus> {
        self.try_open(name, access | SYNCHRONIZE, SYNC | options, disposition)
            .map(|(handle, _)| drop(self.adopt(handle)))
            .err()
    }

    fn why_shared(&self, name: &str, access: u32, share: u32) -> Option<NtStatus> {
        self.shared(name, access, share).map(drop).err()
    }

    fn make(&self, name: &str, disposition: u32, options: u32) -> u64 {
        let access = GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE;
        let (handle, information) = self.try_open(name, access, SYNC | options, disposition).expect(name);
        drop(self.adopt(handle));
        information
    }

    /// {name, size, allocation} of every stream.
    fn streams(&self, name: &str) -> Vec<(String, u64, u64)> {
        self.open_file(name, SYNCHRONIZE, SYNC).streams()
    }

    fn stream_names(&self, name: &str) -> Vec<String> {
        self.streams(name).into_iter().map(|stream| stream.0).collect()
    }
}

impl File<'_> {
    fn flush(&self) -> NtStatus {
        let iosb = pattern_block();
        nt_io::flush::nt_flush_buffers_file(&self.world.frame(), self.handle, Addr::user(iosb.addr()))
    }

    fn streams(&self) -> Vec<(String, u64, u64)> {
        let (status, bytes, iosb) = self.try_query(class::STREAM, 8192);
        let Iosb::Is(OK, used) = iosb else { panic!("{status}") };
        let (mut at, mut found) = (0, Vec::new());
        if used == 0 {
            return found;
        }
        loop {
            assert_eq!(at % 8, 0);
            let length = word(&bytes, at + 4) as usize;
            let name: Vec<u16> = bytes[at + 24..at + 24 + length]
                .chunks_exact(2)
                .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
                .collect();
            found.push((String::from_utf16(&name).expect("a name"), long(&bytes, at + 8), long(&bytes, at + 16)));
            match word(&bytes, at) as usize {
                0 => {
                    assert_eq!(at + 24 + length, used as usize);
                    return found;
                }
                next => at += next,
            }
        }
    }
}

#[test]
fn nt_str_01_the_type_of_a_data_stream_may_be_left_out() {
    let world = World::new();
    world.put("f", b"main");
    world.put("f:s", b"stream");
    for name in ["f:s", "f:s:$DATA", "f:s:$data", "f:S", "F:S:$Data"] {
        assert_eq!(world.get(name).as_deref(), Some(&b"stream"[..]), "{name}");
    }
    for name in ["f", "f::$DATA", "f::$data"] {
        assert_eq!(world.get(name).as_deref(), Some(&b"main"[..]), "{name}");
    }
    world.put("new::$DATA", b"x");
    assert_eq!(world.get("new").as_deref(), Some(&b"x"[..]));
    assert_eq!(world.stream_names("f"), ["::$DATA", ":s:$DATA"]);
}

#[test]
fn nt_str_02_half_a_stream_name_is_none() {
    let world = World::new();
    world.put("f", b"");
    world.put("f:s", b"");
    for name in
        ["f:", "f::", "f:s:", "f:s:$UNKNOWN", "f:s:$DATA:", "f:s:$DATA:x", "f::$UNKNOWN", "f:s:$INDEX_ALLOCATION"]
    {
        for disposition in [1, 3] {
            assert_eq!(world.why(name, READ_DATA, 0, disposition), INVALID_NAME, "{name}");
        }
    }
    assert_eq!(world.stream_names("f").len(), 2);
}

#[test]
fn nt_str_03_the_names_of_a_directory_are_its_index() {
    let world = World::new();
    world.make("d", 2, DIR);
    world.put("f", b"");
    for name in ["d:$I30:$INDEX_ALLOCATION", "d::$INDEX_ALLOCATION", "d::$index_allocation"] {
        let directory = world.open_file(name, READ_DATA | SYNCHRONIZE, SYNC);
        assert_eq!(directory.name(), "\\d");
        assert_eq!(directory.query(class::STANDARD, 24)[21], 1);
        assert_eq!(directory.names(None), [".", ".."]);
    }
    assert_eq!(world.why("f::$INDEX_ALLOCATION", READ_DATA, 0, 1), Some(NtStatus::NOT_A_DIRECTORY));
    assert_eq!(world.why("d::$DATA", READ_DATA, 0, 1), Some(NtStatus::FILE_IS_A_DIRECTORY));
    world.make("e::$INDEX_ALLOCATION", 2, 0);
    assert_eq!(world.open_file("e", ATTRIBUTES | SYNCHRONIZE, SYNC).basic().1 & 0x10, 0x10);
}

#[test]
fn nt_str_04_a_stream_brings_its_file() {
    const NAMES: u32 = 0x200 | 1;
    let world = World::new();
    drop(world.directory("d"));
    let watcher = world.watched("d");
    let wait = watcher.watch(NAMES);
    assert_eq!(world.make("d\\f:s", 3, 0), CREATED);
    let mut came = wait.told();
    came.extend(watcher.watch(NAMES).told());
    assert_eq!(came, told(&[(1, "f"), (6, "f:s")]), "ADDED, then ADDED_STREAM");
    assert_eq!(world.make("f:s", 3, 0), CREATED);
    assert_eq!(world.streams("f"), [("::$DATA".into(), 0, 0), (":s:$DATA".into(), 0, 0)]);
    assert_eq!(world.make("f:t", 2, 0), CREATED);
    assert_eq!(world.make("f:t", 1, 0), 1);
    assert_eq!(world.why("f:t", READ_DATA, 0, 2), Some(NtStatus::OBJECT_NAME_COLLISION));
    // What cannot have the stream does not get the file.
    assert_eq!(world.why("g:s", READ_DATA, DIR, 3), Some(NtStatus::NOT_A_DIRECTORY));
    assert_eq!(world.absent("g"), ABSENT);
    assert_eq!(world.why("no\\g:s", READ_DATA, 0, 3), Some(NtStatus::OBJECT_PATH_NOT_FOUND));
}

#[test]
fn nt_str_05_to_open_makes_none() {
    let world = World::new();
    world.put("f", b"");
    for disposition in [1, 4] {
        assert_eq!(world.why("f:s", READ_DATA, 0, disposition), ABSENT);
        assert_eq!(world.why("g:s", READ_DATA, 0, disposition), ABSENT);
    }
    assert_eq!((world.stream_names("f").len(), world.absent("g")), (1, ABSENT));
}

#[test]
fn nt_str_06_a_directory_has_streams_of_data() {
    let world = World::new();
    world.make("d", 2, DIR);
    world.put("d:s", b"of a directory");
    world.put(":root", b"of the root");
    assert_eq!(world.get("d:s").as_deref(), Some(&b"of a directory"[..]));
    assert_eq!(world.get(":root").as_deref(), Some(&b"of the root"[..]));
    assert_eq!(world.why("d:s", READ_DATA, DIR, 1), Some(NtStatus::NOT_A_DIRECTORY));
    assert_eq!(world.why("d:new", READ_DATA, DIR, 3), Some(NtStatus::NOT_A_DIRECTORY));
    let stream = world.open_file("d:s", GENERIC_READ | SYNCHRONIZE, SYNC | NON_DIRECTORY);
    assert_eq!(stream.query(class::STANDARD, 24)[21], 0, "what is open is data");
    assert_eq!(stream.basic().1 & 0x10, 0);
    assert_eq!(world.open_file("d", ATTRIBUTES | SYNCHRONIZE, SYNC).basic().1 & 0x10, 0x10);
    stream.world.attributes("d:s", 2);
    assert_eq!(world.open_file("d", ATTRIBUTES | SYNCHRONIZE, SYNC).basic().1 & 0x12, 0x12, "still a directory");
}

#[test]
fn nt_str_07_a_stream_is_no_directory() {
    let world = World::new();
    world.put("f:s", b"");
    world.make("d", 2, DIR);
    world.put("d:s", b"");
    for name in ["f:s\\x", "d:s\\x", "f:s\\", "d::$INDEX_ALLOCATION\\x", "d\\:s"] {
        assert_eq!(world.why(name, READ_DATA, 0, 3), INVALID_NAME, "{name}");
    }
    let root = world.open_file("d:s", GENERIC_READ | SYNCHRONIZE, SYNC);
    let relative = |name: &str| CreateSpec {
        access: READ_DATA | SYNCHRONIZE,
        root: root.handle,
        name: name.encode_utf16().collect(),
        options: SYNC,
        ..CreateSpec::default()
    };
    let opened = create::nt_create_file(&world.frame(), &relative("x"));
    assert_eq!(opened.err().map(NtStatus::from), Some(NtStatus::OBJECT_PATH_NOT_FOUND));
}

#[test]
fn nt_str_08_each_stream_has_its_own_share_modes() {
    let world = World::new();
    world.put("f", b"");
    world.put("f:s", b"");
    world.put("f:t", b"");
    let main = world.shared("f", READ_DATA | WRITE_DATA, 0).expect("alone");
    assert_eq!(world.why_shared("f", READ_DATA, 7), VIOLATION);
    let stream = world.shared("f:s", READ_DATA | WRITE_DATA, 0).expect("another stream");
    assert_eq!(world.why_shared("f:s", READ_DATA, 7), VIOLATION);
    assert_eq!(world.why_shared("f:t", READ_DATA, 0), None);
    drop(stream);
    assert_eq!(world.why_shared("f:s", READ_DATA, 7), None);
    drop(main);
    assert_eq!(world.why_shared("f", READ_DATA, 7), None);
}

#[test]
fn nt_shr_05_a_file_is_not_deleted_under_a_stream_that_does_not_share_it() {
    const DATA: [u32; 2] = [READ_DATA, WRITE_DATA];
    let world = World::new();
    world.put("f", b"");
    world.put("f:s", b"");
    for share in [0, 7] {
        // (a)
        let main = world.shared("f", DELETE, share).expect("to delete");
        for access in [READ_DATA, WRITE_DATA, DELETE] {
            assert_eq!(world.why_shared("f:s", access, 3), VIOLATION);
            assert_eq!(world.why_shared("f:s", access, 4), None);
        }
        assert_eq!(world.why_shared("f:s", 0x80, 0), None, "no data, no part in it");
        assert_eq!(world.why_shared("f:new", READ_DATA, 3), VIOLATION);
        drop(main);
        assert_eq!(world.stream_names("f").len(), 2, "what could not be opened was not made");
        // (b)
        let stream = world.shared("f:s", DELETE, share).expect("to delete");
        for access in DATA {
            assert_eq!((world.why_shared("f", access, 0), world.why_shared("f", access, 7)), (None, None));
        }
        drop(stream);
    }
    for access in DATA {
        // (c), (d)
        let stream = world.shared("f:s", access, 3).expect("data");
        assert_eq!((world.why_shared("f", DELETE, 0), world.why_shared("f", DELETE, 7)), (VIOLATION, VIOLATION));
        drop(stream);
        let stream = world.shared("f:s", access, 4).expect("data");
        assert_eq!((world.why_shared("f", DELETE, 0), world.why_shared("f", DELETE, 7)), (None, None));
        drop(stream);
    }
}

#[test]
fn nt_str_09_bytes_are_the_streams_all_else_is_the_files() {
    let world = World::new();
    world.put("f", b"");
    let (main, stream) = (world.sync_file("f"), world.sync_file("f:s"));
    assert_eq!(stream.set(class::END_OF_FILE, &5000_u64.to_le_bytes()), OK);
    assert_eq!((main.eof(), stream.eof()), (0, 5000));
    assert_eq!(stream.write(b"abc", Some(4997)), success(3));
    assert_eq!(stream.read(4, Some(4996)).1, b"\0abc", "what was not written is zero");
    assert_eq!(main.write(b"main", Some(0)), success(4));
    stream.seek(7);
    assert_eq!((main.position(), stream.position()), (4, 7));
    // Locks.
    assert_eq!(main.lock(0, 100, 0, true).returned, OK);
    let other = world.sync_file("f:s");
    assert_eq!(other.lock(0, 100, 0, true).returned, OK);
    assert_eq!(stream.read(1, Some(0)).0.returned, NtStatus::FILE_LOCK_CONFLICT);
    assert_eq!(stream.read(1, Some(200)).0.returned, OK);
    drop((other, main));
    // The sections, and with them the cached pages, are each stream's.
    let main = world.sync_file("f");
    let object = |file: &File<'_>| device::file_object(&world, file.handle);
    let addresses = |file: &File<'_>| {
        (object(file).addr_at(FILE_OBJECT::FsContext), object(file).addr_at(FILE_OBJECT::SectionObjectPointer))
    };
    let (of_main, of_stream) = (addresses(&main), addresses(&stream));
    assert!(of_main.0 != of_stream.0 && of_main.1 != of_stream.1);
    assert_eq!(addresses(&world.sync_file("f:S")), of_stream, "one control block for one stream");
    // The file's.
    assert_eq!(main.id(), stream.id());
    let (access, time) = (GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, 0x01D0_0000_0000_0000_i64);
    let mut basic = vec![0; 40];
    basic[16..24].copy_from_slice(&time.to_le_bytes());
    basic[32] = 0x22;
    let setter = world.open_file("f:s", access, SYNC);
    assert_eq!(setter.set(class::BASIC, &basic), OK);
    assert_eq!((main.basic().0[2], main.basic().1), (time, 0x22));
    drop(setter);
    assert_eq!((main.basic().0[2], stream.basic().1), (time, 0x22));
    assert_eq!(main.links(), stream.links());
    let ea = |file: &File<'_>| word(&file.query(class::EA, 4), 0);
    let before = ea(&main);
    assert_eq!(stream.set_ea(&[0, 0, 0, 0, 0, 1, 1, 0, b'A', 0, b'1', 0]), OK);
    assert!(ea(&main) > before);
    assert_eq!(ea(&main), ea(&stream));
    // A write to a stream is a change of the file.
    assert_eq!(stream.write(b"now", Some(0)), success(3));
    assert!(main.basic().0[2] > time, "also while the stream is open");
}

#[test]
fn nt_str_10_overwriting_the_file_takes_its_streams() {
    let world = World::new();
    for (disposition, information) in [(0, SUPERSEDED), (4, OVERWRITTEN), (5, OVERWRITTEN)] {
        world.put("f", b"main");
        world.put("f:s", b"one");
        world.put("f:t", b"two");
        assert_eq!(world.make("f:s", disposition, 0), information);
        assert_eq!((world.get("f").as_deref(), world.get("f:s").as_deref()), (Some(&b"main"[..]), Some(&b""[..])));
        assert_eq!(world.get("f:t").as_deref(), Some(&b"two"[..]));
        let held = world.sync_file("f:t");
        assert_eq!(world.make("f", disposition, 0), information);
        assert_eq!(world.get("f").as_deref(), Some(&b""[..]));
        assert_eq!(world.why("f:s", READ_DATA, 0, 1), ABSENT);
        assert_eq!((world.why("f:t", READ_DATA, 0, 1), world.why("f:t", READ_DATA, 0, 3)), (PENDING, PENDING));
        assert_eq!(held.read(3, Some(0)).1, b"two", "its opens keep it");
        drop(held);
        assert_eq!(world.why("f:t", READ_DATA, 0, 1), ABSENT);
        assert_eq!(world.stream_names("f"), ["::$DATA"]);
    }
}

#[test]
fn nt_str_11_all_streams_are_listed() {
    let world = World::new();
    world.put("f", b"0123");
    assert_eq!(world.stream_names("f"), ["::$DATA"]);
    world.put("f:zz", &[1; 5000]);
    world.put("f:Long name.txt", b"");
    world.put("f:a", b"1");
    let streams = world.streams("f");
    let names: Vec<&str> = streams.iter().map(|stream| stream.0.as_str()).collect();
    assert_eq!(names, ["::$DATA", ":a:$DATA", ":Long name.txt:$DATA", ":zz:$DATA"]);
    assert_eq!(streams.iter().map(|stream| stream.1).collect::<Vec<_>>(), [4, 1, 0, 5000]);
    assert!(streams[3].2 >= 5000);
    assert_eq!(world.streams("f:a"), streams, "through any stream");
    world.make("d", 2, DIR);
    assert_eq!(world.streams("d"), [], "a directory has no unnamed one");
    let (status, _, iosb) = world.open_file("d", SYNCHRONIZE, SYNC).try_query(class::STREAM, 512);
    assert_eq!((status, iosb), (OK, Iosb::Is(OK, 0)));
    world.put("d:s", b"12");
    assert_eq!(world.stream_names("d"), [":s:$DATA"]);
}

#[test]
fn nt_str_12_records_come_whole() {
    let world = World::new();
    world.put("f", b"");
    world.put("f:second", b"");
    let file = world.open_file("f", SYNCHRONIZE, SYNC);
    let (status, bytes, iosb) = file.try_query(class::STREAM, 31);
    assert_eq!((status, iosb, bytes[0]), (NtStatus::INFO_LENGTH_MISMATCH, Iosb::Untouched, 0xEE));
    // 24 bytes and the name: 38, then at 40 another 24 and 26.
    for (length, used) in [(32, 0), (37, 0), (38, 38), (89, 38), (90, 90), (96, 90)] {
        let (status, bytes, iosb) = file.try_query(class::STREAM, length);
        let wanted = if used == 90 { OK } else { NtStatus::BUFFER_OVERFLOW };
        assert_eq!((status, iosb), (wanted, Iosb::Is(wanted, used)), "{length}");
        assert!(bytes[used as usize..].iter().all(|&byte| byte == 0xEE), "{length}");
    }
}

#[test]
fn nt_str_13_a_handle_shows_the_sizes_of_its_stream() {
    let world = World::new();
    world.put("Dir", b"");
    world.put("f", b"0123");
    world.put("f:Stream", &[7; 9000]);
    let (main, stream) = (world.sync_file("f"), world.open_file("f:stream:$DATA", GENERIC_READ | SYNCHRONIZE, SYNC));
    let standard = |file: &File<'_>| long(&file.query(class::STANDARD, 24), 8);
    let network = |file: &File<'_>| long(&file.query(class::NETWORK_OPEN, 56), 40);
    let all = |file: &File<'_>| long(&file.query(class::ALL, 256), 48);
    for size in [standard, network, all] {
        assert_eq!((size(&main), size(&stream)), (4, 9000));
    }
    for at in [0, 32] {
        let of =
            |file: &File<'_>| long(&file.query(if at == 0 { class::STANDARD } else { class::NETWORK_OPEN }, 56), at);
        assert!(of(&main) < of(&stream), "and what is allocated");
    }
    let root = world.open_file("", READ_DATA | SYNCHRONIZE, SYNC | DIR);
    let entry = root.list(1, 4096, 0, Some("f")).records(1).pop().expect("the file");
    assert_eq!(long(&entry.bytes, 0x28), 4);
    assert_eq!((main.name().as_str(), stream.name().as_str()), ("\\f", "\\f:Stream"));
}

#[test]
fn nt_str_14_delete_through_a_stream_takes_the_stream() {
    let world = World::new();
    world.put("f", b"main");
    for marking in [0, 1] {
        world.put("f:s", b"x");
        let other = world.open_file("f:s", READ_DATA | SYNCHRONIZE, SYNC);
        let access = DELETE | READ_DATA | SYNCHRONIZE;
        let stream = world.open_file("f:s", access, SYNC | if marking == 1 { DELETE_ON_CLOSE } else { 0 });
        if marking == 0 {
            assert_eq!((stream.dispose(true), stream.links().1), (OK, true));
        }
        drop(stream);
        assert_eq!(world.why("f:s", READ_DATA, 0, 1), PENDING);
        assert_eq!(other.read(1, Some(0)).1, b"x");
        drop(other);
        assert_eq!(world.why("f:s", READ_DATA, 0, 1), ABSENT);
        assert_eq!(world.get("f").as_deref(), Some(&b"main"[..]), "the file stays");
    }
    world.put("f:s", b"x");
    let stream = world.open_file("f:s", DELETE | SYNCHRONIZE, SYNC);
    assert_eq!((stream.dispose(true), stream.dispose(false)), (OK, OK));
    drop(stream);
    assert_eq!(world.get("f:s").as_deref(), Some(&b"x"[..]), "the mark was taken off");
    let main = world.open_file("f::$DATA", DELETE | SYNCHRONIZE, SYNC);
    assert_eq!(main.dispose(true), OK);
    drop(main);
    assert_eq!(world.absent("f"), ABSENT);
}

#[test]
fn nt_del_31_a_stream_handle_deletes_its_stream_the_file_handle_all() {
    let world = World::new();
    let recorder = device::over_the_volume(&world);
    let last = || recorder.of(IRP_MJ_CLEANUP).last().map(|seen| seen.information_after);
    world.put("f", b"");
    world.put("f:s", b"");
    world.put("f:t", b"");
    let stream = world.to_delete("f:s");
    assert_eq!(stream.dispose_ex(1), OK);
    assert_eq!((stream.links().1, world.open_file("f", ATTRIBUTES | SYNCHRONIZE, SYNC).links().1), (true, false));
    drop(stream);
    assert_eq!(last(), Some(0x10), "FILE_CLEANUP_STREAM_DELETED");
    assert_eq!(world.stream_names("f"), ["::$DATA", ":t:$DATA"]);
    let posix = world.to_delete("f:t");
    let other = world.open_file("f:t", 0x80 | SYNCHRONIZE, SYNC);
    assert_eq!(posix.dispose_ex(3), OK);
    drop(posix);
    assert_eq!(world.stream_names("f"), ["::$DATA"], "at once");
    drop(other);
    world.put("f:s", b"");
    let held = world.open_file("f:s", 0x80 | SYNCHRONIZE, SYNC);
    let main = world.to_delete("f");
    assert_eq!(main.dispose(true), OK);
    assert_eq!((world.why("f:s", READ_DATA, 0, 1), world.why("f:new", READ_DATA, 0, 3)), (PENDING, PENDING));
    drop(main);
    assert_eq!(world.absent("f"), PENDING, "until the last handle of any of its streams");
    drop(held);
    assert_eq!(world.absent("f"), ABSENT);
    world.put("f", b"");
    assert_eq!(world.stream_names("f"), ["::$DATA"], "a new file has none of the old one's");
}

#[test]
fn nt_str_15_a_marked_file_opens_no_stream_and_streams_fill_no_directory() {
    let world = World::new();
    world.put("f:s", b"");
    let main = world.to_delete("f");
    assert_eq!(main.dispose(true), OK);
    for disposition in [1, 3, 5] {
        assert_eq!(world.why("f:s", READ_DATA, 0, disposition), PENDING);
        assert_eq!(world.why("f:t", READ_DATA, 0, disposition), PENDING);
    }
    assert_eq!(main.dispose(false), OK);
    assert_eq!(world.why("f:s", READ_DATA, 0, 1), None);
    world.make("d", 2, DIR);
    world.put("d:s", b"bytes");
    let directory = world.open_file("d", DELETE | READ_DATA | SYNCHRONIZE, SYNC | DIR);
    assert_eq!(directory.names(None), [".", ".."]);
    assert_eq!(directory.dispose(true), OK);
    drop(directory);
    assert_eq!(world.absent("d"), ABSENT);
}

#[test]
fn nt_str_16_a_name_of_a_colon_is_relative_to_the_file() {
    let world = World::new();
    world.put("f", b"main");
    world.put("f:s", b"stream");
    let root = world.open_file("f", READ_DATA | SYNCHRONIZE, SYNC);
    let stream = world.open_file("f:s", READ_DATA | SYNCHRONIZE, SYNC);
    let open = |root: &File<'_>, name: &str, disposition| {
        let spec = CreateSpec {
            access: GENERIC_READ | SYNCHRONIZE,
            root: root.handle,
            name: name.encode_utf16().collect(),
            options: SYNC,
            disposition,
            ..CreateSpec::default()
        };
        create::nt_create_file(&world.frame(), &spec).map(|(handle, _)| world.adopt(handle)).map_err(NtStatus::from)
    };
    let read = |root: &File<'_>, name: &str| open(root, name, 1).map(|file| file.read(16, Some(0)).1);
    for root in [&root, &stream] {
        assert_eq!(read(root, ":s"), Ok(b"stream".to_vec()));
        assert_eq!(read(root, "::$DATA"), Ok(b"main".to_vec()));
        assert_eq!(open(root, ":none", 1).err(), ABSENT);
        assert_eq!(open(root, "x", 1).err(), Some(NtStatus::OBJECT_PATH_NOT_FOUND), "NT-NAM-08");
    }
    assert_eq!((read(&root, ""), read(&stream, "")), (Ok(b"main".to_vec()), Ok(b"stream".to_vec())));
    assert_eq!(open(&root, ":made", 2).err(), None);
    assert_eq!(world.stream_names("f").len(), 3);
}

#[test]
fn a_stream_is_reached_through_a_symbolic_link() {
    if on_dir() {
        return; // such links are refused there
    }
    let world = World::new();
    world.put("f:s", b"stream");
    let link = world.sync_file("link");
    assert_eq!(link.control(0x9_00A4, &symlink_data("\\??\\C:\\f", false), 0).0, OK);
    drop(link);
    assert_eq!(world.get("link:s").as_deref(), Some(&b"stream"[..]));
    assert_eq!(world.get("link:s:$DATA").as_deref(), Some(&b"stream"[..]));
}

#[test]
fn nt_str_17_a_stream_may_have_nearly_any_name() {
    let world = World::new();
    world.put("f", b"");
    let longest = "\u{20AC}".repeat(255);
    let names = ["\u{1}\u{1F}", "<>*?|\"", ".", "..", "a b", "#x", "=x", "\u{F03A}", "$DATA", &longest];
    for (at, name) in names.iter().enumerate() {
        world.put(&format!("f:{name}"), &[at as u8]);
    }
    for (at, name) in names.iter().enumerate() {
        assert_eq!(world.get(&format!("f:{name}")), Some(vec![at as u8]), "{name:?}");
    }
    let mut listed: Vec<String> = names.iter().map(|name| format!(":{name}:$DATA")).collect();
    listed.push("::$DATA".into());
    listed.sort();
    let mut found = world.stream_names("f");
    found.sort();
    assert_eq!(found, listed);
    for name in ["f:a/b", "f:a\0", &format!("f:{}", "x".repeat(256))] {
        assert_eq!(world.why(name, READ_DATA, 0, 3), INVALID_NAME, "{name:?}");
    }
    // Half a surrogate pair is a name too.
    let mut name: Vec<u16> = full("f:").encode_utf16().collect();
    name.push(0xD800);
    let spec = |disposition| CreateSpec {
        access: READ_DATA | SYNCHRONIZE,
        name: name.clone(),
        options: SYNC,
        disposition,
        ..CreateSpec::default()
    };
    let open = |disposition| create::nt_create_file(&world.frame(), &spec(disposition)).map(|made| world.adopt(made.0));
    drop(open(2).expect("made"));
    drop(open(1).expect("found"));
}

#[test]
fn nt_str_19_streams_take_room() {
    let world = World::with(Default::default(), Some(1 << 20));
    let free = || long(&world.volume(0x80).query_volume(3, 24).expect("sizes"), 8);
    let stream = world.sync_file("f:s");
    let before = free();
    assert_eq!(stream.write(&[1; 100_000], Some(0)), success(100_000));
    assert_eq!(stream.flush(), OK);
    assert!(before - free() >= 100_000 / 4096, "{before} {}", free());
    let allocated = world.streams("f")[1].2;
    assert!(allocated >= 100_000 && allocated.is_multiple_of(4096), "whole clusters: {allocated}");
    assert_eq!(stream.write(&vec![1; 2 << 20], Some(0)).returned, NtStatus::DISK_FULL);
    drop(stream);
    let file = world.to_delete("f");
    assert_eq!(file.dispose(true), OK);
    drop(file);
    assert!(free() >= before, "the file takes its streams along");
}

#[test]
fn what_goes_with_its_file_is_not_written_first() {
    if on_dir() {
        return; // the host frees it when it likes
    }
    let world = World::with(Default::default(), Some(1 << 20));
    let free = || long(&world.volume(0x80).query_volume(3, 24).expect("sizes"), 8);
    world.put("f", b"");
    world.put("g", b"");
    let before = free();
    for (name, overwritten) in [("f", true), ("g", false)] {
        world.put(&format!("{name}:s"), &[1; 200_000]);
        assert!(free() < before);
        if overwritten {
            world.make(name, 5, 0);
        } else {
            assert_eq!(world.to_delete(name).dispose(true), OK);
        }
        assert_eq!(free(), before, "{name}");
    }
}

#[test]
fn nt_ren_34_a_stream_is_renamed_within_its_file() {
    let world = World::new();
    world.put("f", b"main");
    world.put("f:a", b"bytes");
    world.put("f:empty", b"");
    world.put("f:full", b"x");
    let stream = world.to_delete("f:a");
    assert_eq!(stream.rename("b", false), NtStatus::INVALID_PARAMETER, "no colon");
    assert_eq!(stream.rename(&full("g"), false), NtStatus::INVALID_PARAMETER, "another file");
    assert_eq!(stream.link(":b", false), NtStatus::INVALID_PARAMETER, "NT-LNK-11");
    for name in [":", ":b:", ":b:$UNKNOWN", ":a/b", "::$INDEX_ALLOCATION"] {
        assert_eq!(stream.rename(name, false), NtStatus::INVALID_PARAMETER, "{name}");
    }
    assert_eq!(stream.rename(":b", false), OK);
    assert_eq!(stream.name(), "\\f:b");
    assert_eq!((world.why("f:a", 0x80, 0, 1), world.why("f:b", 0x80, 0, 1)), (ABSENT, None));
    assert_eq!(stream.rename(":B:$DATA", false), OK);
    assert_eq!(world.stream_names("f"), ["::$DATA", ":B:$DATA", ":empty:$DATA", ":full:$DATA"]);
    assert_eq!(stream.rename(":empty", false), NtStatus::OBJECT_NAME_COLLISION);
    assert_eq!(stream.rename(":full", true), NtStatus::INVALID_PARAMETER, "only an empty one makes way");
    let held = world.open_file("f:empty", 0x80 | SYNCHRONIZE, SYNC);
    assert_eq!(stream.rename(":empty", true), NtStatus::INVALID_PARAMETER, "and one that nobody has open");
    drop(held);
    assert_eq!(stream.rename(":EMPTY", true), OK);
    assert_eq!(world.stream_names("f"), ["::$DATA", ":EMPTY:$DATA", ":full:$DATA"]);
    drop(stream);
    assert_eq!(world.get("f:empty").as_deref(), Some(&b"bytes"[..]));
    // The unnamed stream gets a name, an empty one stays; and takes a named one's bytes.
    let main = world.open_file("f", GENERIC_READ | GENERIC_WRITE | DELETE | SYNCHRONIZE, SYNC);
    let (id, other) = (main.id(), world.open_file("f", 0x80 | SYNCHRONIZE, SYNC));
    assert_eq!(
        main.rename(":was main", false),
        NtStatus::SHARING_VIOLATION,
        "another handle would be left with nothing"
    );
    drop(other);
    assert_eq!(main.write(b"MAIN!", Some(0)), success(5));
    assert_eq!(main.rename(":full", true), NtStatus::INVALID_PARAMETER);
    assert_eq!(main.rename(":was main", false), OK);
    assert_eq!((main.name().as_str(), main.eof(), main.id()), ("\\f:was main", 5, id));
    assert_eq!(main.write(b"+", Some(5)), success(1));
    assert_eq!(main.read(9, Some(0)).1, b"MAIN!+");
    assert_eq!((world.get("f").as_deref(), world.get("f:was main").as_deref()), (Some(&b""[..]), Some(&b"MAIN!+"[..])));
    assert_eq!(world.stream_names("f"), ["::$DATA", ":EMPTY:$DATA", ":full:$DATA", ":was main:$DATA"]);
    assert_eq!(world.why_shared("f", READ_DATA, 0), None, "the unnamed stream is free");
    assert_eq!(main.rename("::$DATA", false), NtStatus::OBJECT_NAME_COLLISION);
    assert_eq!(main.rename("::$DATA", true), OK);
    assert_eq!((main.name().as_str(), main.read(9, Some(0)).1), ("\\f", b"MAIN!+".to_vec()));
    drop(main);
    assert_eq!(world.stream_names("f"), ["::$DATA", ":EMPTY:$DATA", ":full:$DATA"]);
    assert_eq!(world.get("f").as_deref(), Some(&b"MAIN!+"[..]));
    // A program that deletes itself: the name goes with the stream, the file after it.
    let main = world.to_delete("f");
    assert_eq!((main.rename(":gone", false), main.dispose(true)), (OK, OK));
    drop(main);
    assert_eq!((world.get("f").as_deref(), world.why("f:gone", 0x80, 0, 1)), (Some(&b""[..]), ABSENT));
    world.make("d", 2, DIR);
    let directory = world.open_file("d", DELETE | SYNCHRONIZE, SYNC | DIR);
    assert_eq!(directory.rename(":s", false), NtStatus::INVALID_PARAMETER, "a directory's names are no data");
    world.put("d:s", b"");
    assert_eq!(world.to_delete("d:s").rename("::$DATA", true), NtStatus::INVALID_PARAMETER);
    // The file moves with all it has.
    let main = world.to_delete("f");
    assert_eq!(main.rename("g", false), OK);
    drop(main);
    assert_eq!(world.get("g:empty").as_deref(), Some(&b"bytes"[..]));
    assert_eq!(world.absent("f"), ABSENT);
}
