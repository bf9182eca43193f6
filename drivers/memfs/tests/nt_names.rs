//! Names, sharing and oplock requests: nt-fs.md sections 14 and 15, rules NT-NAM, NT-SHR.
mod device;
mod support;

use nt_abi::NtStatus;
use nt_abi::io::{FILE_OBJECT, FO_VOLUME_OPEN, IRP_MJ_CREATE};
use nt_io::create::{self, CreateSpec};
use nt_ob::Handle;
use support::names::*;
use support::*;

const INVALID: NtStatus = NtStatus::OBJECT_NAME_INVALID;
const ATTRIBUTES: u32 = 0x80;
const NON_DIR: u32 = 0x40;
const BY_ID: u32 = 0x2000;

fn open(world: &World, spec: CreateSpec) -> Result<(Handle, u64), NtStatus> {
    create::nt_create_file(&world.frame(), &spec)
        .map(|(handle, result)| (handle, result.information))
        .map_err(NtStatus::from)
}

fn raw(world: &World, name: &str, options: u32, disposition: u32) -> Result<u64, NtStatus> {
    let name = name.encode_utf16().collect();
    let spec = CreateSpec {
        access: ATTRIBUTES | SYNCHRONIZE,
        name,
        options: SYNC | options,
        disposition,
        ..CreateSpec::default()
    };
    open(world, spec).map(|(handle, information)| {
        drop(world.adopt(handle));
        information
    })
}

fn relative(world: &World, root: &File<'_>, name: &[u16], options: u32) -> Result<Handle, NtStatus> {
    let spec = CreateSpec {
        access: GENERIC_READ | SYNCHRONIZE,
        root: root.handle,
        name: name.to_vec(),
        options: SYNC | options,
        ..CreateSpec::default()
    };
    open(world, spec).map(|(handle, _)| handle)
}

fn units(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

#[test]
fn nt_nam_01_what_is_left_of_a_name_for_the_file_system() {
    let world = World::new();
    world.fill("d", &["f"]);
    let recorder = device::over_the_volume(&world);
    let asked = || recorder.of(IRP_MJ_CREATE).last().and_then(|seen| seen.name_after.clone()).expect("a create");
    for (name, told) in [("\\??\\C:", ""), ("\\??\\C:\\", "\\"), ("\\??\\C:\\d\\f", "\\d\\f")] {
        assert!(raw(&world, name, 0, 1).is_ok());
        assert_eq!(asked(), told);
    }
    let root = world.directory("d");
    drop(world.adopt(relative(&world, &root, &units("f"), 0).expect("relative")));
    assert_eq!(asked(), "f", "without a leading backslash");
}

#[test]
fn nt_nam_02_a_doubled_backslash() {
    let world = World::new();
    world.fill("a", &["b"]);
    assert_eq!(raw(&world, "\\??\\C:\\\\a\\b", 0, 1), Ok(1), "trimmed at the front");
    assert_eq!(raw(&world, "\\??\\C:\\a\\\\b", 0, 1), Err(INVALID));
}

#[test]
fn nt_nam_03_a_trailing_backslash() {
    let world = World::new();
    world.fill("d", &["f"]);
    assert_eq!(raw(&world, &full("d\\"), 0, 1), Ok(1));
    assert_eq!(raw(&world, &full("new\\"), DIR, 2), Ok(2));
    assert_eq!(raw(&world, &full("newer\\"), 0, 2), Err(INVALID));
    assert_eq!(raw(&world, &full("d\\f\\"), DIR, 1), Err(NtStatus::NOT_A_DIRECTORY));
    assert_eq!(raw(&world, &full("d\\f\\"), 0, 1), Err(INVALID));
}

#[test]
fn nt_nam_04_what_is_missing() {
    let world = World::new();
    world.fill("d", &["f"]);
    assert_eq!(world.absent("d\\none"), Some(NtStatus::OBJECT_NAME_NOT_FOUND));
    assert_eq!(world.absent("none\\f"), Some(NtStatus::OBJECT_PATH_NOT_FOUND));
    assert_eq!(world.absent("d\\f\\x"), Some(NtStatus::OBJECT_PATH_NOT_FOUND));
}

#[test]
fn nt_nam_05_the_kind_that_is_asked_for() {
    let world = World::new();
    world.fill("d", &["f"]);
    assert_eq!(raw(&world, &full("d\\f"), DIR, 1), Err(NtStatus::NOT_A_DIRECTORY));
    assert_eq!(raw(&world, &full("d"), NON_DIR, 1), Err(NtStatus::FILE_IS_A_DIRECTORY));
    assert_eq!(raw(&world, &full("d"), DIR | NON_DIR, 1), Err(NtStatus::INVALID_PARAMETER));
}

#[test]
fn nt_nam_06_dispositions_on_a_directory() {
    let world = World::new();
    drop(world.directory("d"));
    for disposition in [0, 4, 5] {
        assert_eq!(raw(&world, &full("d"), DIR, disposition), Err(NtStatus::INVALID_PARAMETER), "{disposition}");
    }
    for disposition in [0, 2, 4, 5] {
        assert_eq!(raw(&world, &full("d"), 0, disposition), Err(NtStatus::OBJECT_NAME_COLLISION), "{disposition}");
    }
    for (disposition, options) in [(1, 0), (3, 0), (1, DIR), (3, DIR)] {
        assert_eq!(raw(&world, &full("d"), options, disposition), Ok(1));
    }
}

#[test]
fn nt_nam_07_relative_to_a_directory() {
    let world = World::new();
    world.fill("Dir", &["File"]);
    let root = world.open_file("DIR", SYNCHRONIZE, SYNC | DIR);
    let file = world.adopt(relative(&world, &root, &units("FILE"), 0).expect("relative"));
    assert_eq!(file.name(), "\\Dir\\File");
}

#[test]
fn nt_nam_08_nothing_is_relative_to_a_file() {
    let world = World::new();
    let root = world.sync_file("f");
    assert_eq!(relative(&world, &root, &units("x"), 0), Err(NtStatus::OBJECT_PATH_NOT_FOUND));
}

#[test]
fn nt_nam_09_an_empty_name_opens_the_same_again() {
    let world = World::new();
    world.put("f", b"data");
    let file = world.sync_file("f");
    file.seek(3);
    let again = world.adopt(relative(&world, &file, &[], 0).expect("the same"));
    assert_eq!((again.id(), again.position(), again.name()), (file.id(), 0, "\\f".to_owned()));
    assert_eq!(again.write(b"x", Some(0)), refused(NtStatus::ACCESS_DENIED), "with rights of its own");
    let dir = world.directory("d");
    let again = world.adopt(relative(&world, &dir, &[], DIR).expect("the same"));
    assert_eq!(again.id(), dir.id());
}

#[test]
fn nt_nam_10_a_relative_name_has_no_leading_backslash() {
    let world = World::new();
    world.fill("d", &["f"]);
    for root in [world.sync_file("d\\f"), world.directory("d")] {
        assert_eq!(relative(&world, &root, &units("\\f"), 0), Err(INVALID));
    }
}

fn id_name(id: u64) -> Vec<u16> {
    (0..4).map(|at| (id >> (16 * at)) as u16).collect()
}

#[test]
fn nt_nam_11_by_its_id() {
    let world = World::new();
    world.fill("d", &["f"]);
    let (file, dir) = (world.sync_file("d\\f"), world.directory("d"));
    let root = world.directory("");
    for hint in [&root, &file, &dir] {
        let opened = world.adopt(relative(&world, hint, &id_name(file.id()), BY_ID).expect("by id"));
        assert_eq!((opened.id(), opened.name()), (file.id(), "\\d\\f".to_owned()));
    }
    let opened = world.adopt(relative(&world, &root, &id_name(dir.id()), BY_ID | DIR).expect("a directory"));
    assert_eq!(opened.id(), dir.id());
    let wide: Vec<u16> = id_name(file.id()).into_iter().chain([0; 4]).collect();
    assert_eq!(world.adopt(relative(&world, &root, &wide, BY_ID).expect("128 bits")).id(), file.id());
}

#[test]
fn nt_nam_12_only_an_open_of_what_is_there() {
    let world = World::new();
    let (file, root) = (world.to_delete_new("f"), world.directory(""));
    let id = file.id();
    let by_id = |name: Vec<u16>, disposition: u32| {
        let spec = CreateSpec {
            access: ATTRIBUTES | SYNCHRONIZE,
            root: root.handle,
            name,
            options: SYNC | BY_ID,
            disposition,
            ..CreateSpec::default()
        };
        open(&world, spec).map(|(handle, _)| drop(world.adopt(handle)))
    };
    for disposition in [0, 2, 3, 4, 5] {
        assert_eq!(by_id(id_name(id), disposition), Err(NtStatus::INVALID_PARAMETER), "{disposition}");
    }
    assert_eq!(by_id(id_name(id), 1), Ok(()));
    assert_eq!(by_id(units("abc"), 1), Err(NtStatus::INVALID_PARAMETER), "a length that is none");
    assert_eq!(by_id(id_name(0x0000_7777_7777_7777), 1), Err(NtStatus::INVALID_PARAMETER), "unknown");
    assert_eq!(file.dispose(true), NtStatus::SUCCESS);
    drop(file);
    assert_eq!(by_id(id_name(id), 1), Err(NtStatus::INVALID_PARAMETER), "deleted");
}

#[test]
fn nt_nam_13_illegal_characters() {
    let world = World::new();
    let legal = |c: char| {
        let name = full(&format!("a{c}b"));
        (raw(&world, &name, 0, 3), raw(&world, &name, DIR, 1))
    };
    for c in (0..32_u8).map(char::from).chain("\"*/<>?|".chars()) {
        assert_eq!(legal(c), (Err(INVALID), Err(INVALID)), "{c:?}");
    }
    for name in ["a:b\\c", "a:b:c", ":a\\b"] {
        assert_eq!(raw(&world, &full(name), 0, 3), Err(INVALID), "{name}: a colon outside the stream part");
    }
    for c in [' ', '.', '+', '[', ';', '\u{7f}', '\u{f03a}'] {
        if !(on_dir() && c == '\u{f03a}') {
            assert_eq!(legal(c).0, Ok(2), "{c:?}");
        }
    }
}

#[test]
fn nt_nam_15_dots_and_spaces() {
    let world = World::new();
    for name in ["a.", "a..", "a ", "...", ".a", " a"] {
        assert_eq!(raw(&world, &full(name), 0, 2), Ok(2), "{name:?}");
        assert_eq!(world.open_file(name, ATTRIBUTES | SYNCHRONIZE, SYNC).name(), format!("\\{name}"));
    }
    drop(world.directory("d"));
    for name in [".", "..", "d\\..", "d\\.", "..\\a"] {
        assert_eq!(raw(&world, &full(name), 0, 3), Err(INVALID), "{name:?}");
    }
}

#[test]
fn nt_nam_16_the_longest_names() {
    let world = World::new();
    for options in [0, DIR] {
        let unit = if options == 0 { "f" } else { "d" };
        assert_eq!(raw(&world, &full(&unit.repeat(255)), options, 2), Ok(2));
        assert_eq!(raw(&world, &full(&unit.repeat(256)), options, 2), Err(INVALID));
    }
    let path = format!("d{}", "\\d".repeat(0x4000));
    assert_eq!(raw(&world, &full(&path), 0, 1), Err(INVALID), "longer than a counted string");
}

#[test]
fn nt_nam_17_names_are_units() {
    if on_dir() {
        return; // a name of the host is bytes: what has no UTF-8 form has no name there
    }
    let world = World::new();
    let lone = [units(&full("")), vec![0xD800, 0x61]].concat();
    let spec = CreateSpec { access: ATTRIBUTES, name: lone.clone(), disposition: 2, ..CreateSpec::default() };
    drop(world.adopt(open(&world, spec).expect("an unpaired surrogate").0));
    assert_eq!(raw(&world, &full("\u{e9}"), 0, 2), Ok(2));
    assert_eq!(raw(&world, &full("e\u{301}"), 0, 2), Ok(2), "no normalization: another name");
}

#[test]
fn nt_nam_18_case_counts_for_those_who_mind_it() {
    let world = World::new();
    world.put("MixedCase", b"x");
    assert_eq!(raw(&world, &full("mixedcASE"), 0, 1), Ok(1));
    assert_eq!(world.strict("mixedcase", ATTRIBUTES, 1).err(), Some(NtStatus::OBJECT_NAME_NOT_FOUND));
    assert!(world.strict("MixedCase", ATTRIBUTES, 1).is_ok());
    assert_eq!(world.open_file("MIXEDCASE", ATTRIBUTES | SYNCHRONIZE, SYNC).name(), "\\MixedCase", "stored as it was");
    world.put("\u{e9}", b"x");
    assert_eq!(raw(&world, &full("\u{c9}"), 0, 1), Ok(1), "by the upcase table");
    assert_eq!(raw(&world, &full("e"), 0, 1), Err(NtStatus::OBJECT_NAME_NOT_FOUND));
}

#[test]
fn nt_nam_19_among_several_the_exact_match_or_the_first() {
    let world = World::new();
    let ids: Vec<u64> =
        ["aB", "Ab", "AB"].iter().map(|name| world.strict(name, ATTRIBUTES, 2).expect("by case").id()).collect();
    let id = |name: &str| world.open_file(name, ATTRIBUTES | SYNCHRONIZE, SYNC).id();
    assert_eq!([id("aB"), id("Ab"), id("AB")], ids[..]);
    assert_eq!(id("ab"), ids[2], "the first in order");
}

#[test]
fn nt_nam_22_create_makes_and_never_opens() {
    let world = World::new();
    drop(world.directory("d"));
    world.put("f", b"");
    for name in ["d", "f"] {
        assert_eq!(raw(&world, &full(name), 0, 2), Err(NtStatus::OBJECT_NAME_COLLISION));
    }
    for round in 0..30 {
        let barrier = std::sync::Barrier::new(4);
        let made: usize = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..4)
                .map(|_| {
                    let (kernel, processes, process, barrier) =
                        (&world.kernel, &world.processes, &world.process, &barrier);
                    scope.spawn(move || {
                        let thread = processes.create_thread(kernel, process).expect("thread");
                        let entered = nt_ke::enter(kernel, &thread, nt_ke::Mode::User);
                        barrier.wait();
                        let spec = CreateSpec {
                            access: ATTRIBUTES,
                            name: full(&format!("r{round}")).encode_utf16().collect(),
                            disposition: 2,
                            ..CreateSpec::default()
                        };
                        match create::nt_create_file(entered.frame(), &spec) {
                            Ok((handle, _)) => {
                                nt_io::event::close(entered.frame(), handle).expect("close");
                                1
                            }
                            Err(error) => {
                                assert_eq!(error.status(), NtStatus::OBJECT_NAME_COLLISION);
                                0
                            }
                        }
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().expect("a racer")).sum()
        });
        assert_eq!(made, 1, "exactly one made it");
    }
}

#[test]
fn nt_nam_23_a_directory_of_names_is_no_file() {
    let world = World::new();
    for name in ["\\??\\", "\\DosDevices\\", "\\??", "\\Device"] {
        assert_eq!(raw(&world, name, 0, 1), Err(INVALID), "{name}");
    }
}

#[test]
fn nt_nam_24_the_volume_itself() {
    let world = World::new();
    let volume = "\\??\\C:";
    for disposition in [0, 2, 4, 5] {
        assert_eq!(raw(&world, volume, 0, disposition), Err(NtStatus::ACCESS_DENIED), "{disposition}");
    }
    for disposition in [1, 3] {
        assert_eq!(raw(&world, volume, 0, disposition), Ok(1));
    }
    let spec = CreateSpec {
        access: DELETE | SYNCHRONIZE,
        name: units(volume),
        options: SYNC | DELETE_ON_CLOSE,
        ..CreateSpec::default()
    };
    assert_eq!(open(&world, spec).err(), Some(NtStatus::CANNOT_DELETE));
    let opened = world.volume(GENERIC_READ);
    let flags = device::file_object(&world, opened.handle).get(FILE_OBJECT::Flags);
    assert_eq!(flags & FO_VOLUME_OPEN, FO_VOLUME_OPEN);
}

#[test]
fn nt_nam_25_what_a_create_did() {
    let world = World::new();
    let file = full("f");
    for (disposition, told) in [(2, 2), (1, 1), (3, 1), (4, 3), (5, 3), (0, 0)] {
        assert_eq!(raw(&world, &file, 0, disposition), Ok(told), "{disposition}");
    }
    for (name, disposition) in [("g", 3), ("h", 5), ("i", 0)] {
        assert_eq!(raw(&world, &full(name), 0, disposition), Ok(2));
    }
}

const NEITHER: [u32; 5] = [ATTRIBUTES, 0x100, 8, SYNCHRONIZE, 0x2_0000];
const SHARE_ALL: u32 = 7;

#[test]
fn nt_shr_01_only_data_and_delete_take_part() {
    let world = World::new();
    for access in NEITHER {
        let held = world.shared("f", access, 0).expect("open");
        let exclusive = world.shared("f", GENERIC_READ | GENERIC_WRITE | DELETE, 0).expect("not in its way");
        drop(world.shared("f", access, 0).expect("nor the other way round"));
        drop((held, exclusive));
    }
}

#[test]
fn nt_shr_02_the_table_of_rights_and_shares() {
    let world = World::new();
    let rights = [(READ_DATA, 1), (0x20, 1), (WRITE_DATA, 2), (APPEND_DATA, 2), (DELETE, 4)];
    for (first, bit) in rights {
        for (second, other) in rights {
            for share_first in 0..8 {
                for share_second in 0..8 {
                    let held = world.shared("f", first, share_first).expect("the first");
                    let fits = share_first & other != 0 && share_second & bit != 0;
                    let opened = world.shared("f", second, share_second);
                    let expected = if fits { None } else { Some(NtStatus::SHARING_VIOLATION) };
                    let status = opened.as_ref().err().copied();
                    assert_eq!(status, expected, "{first:#x}/{share_first} {second:#x}/{share_second}");
                    drop((held, opened));
                }
            }
        }
    }
}

#[test]
fn nt_shr_04_a_refusal_changes_nothing() {
    let world = World::new();
    world.put("f", b"data");
    let held = world.shared("f", GENERIC_READ, 1).expect("open");
    for disposition in [0, 4, 5] {
        let status = world.try_open("f", GENERIC_WRITE | SYNCHRONIZE, SYNC, disposition).err();
        assert_eq!(status, Some(NtStatus::SHARING_VIOLATION), "{disposition}");
    }
    assert_eq!((held.eof(), held.read(4, Some(0)).1), (4, b"data".to_vec()));
    drop(held);
    drop(world.shared("f", GENERIC_WRITE, SHARE_ALL).expect("nothing was left behind"));
}

#[test]
fn nt_shr_06_directories_obey_the_same_rules() {
    let world = World::new();
    let lister = world.shared_directory("d", 1, 1);
    let try_dir = |access: u32, share: u32| {
        let spec = CreateSpec {
            access: access | SYNCHRONIZE,
            name: full("d").encode_utf16().collect(),
            options: SYNC | DIR,
            share,
            ..CreateSpec::default()
        };
        open(&world, spec).map(|(handle, _)| drop(world.adopt(handle)))
    };
    assert_eq!(try_dir(2, SHARE_ALL), Err(NtStatus::SHARING_VIOLATION), "ADD_FILE is writing");
    assert_eq!(try_dir(4, SHARE_ALL), Err(NtStatus::SHARING_VIOLATION), "ADD_SUBDIRECTORY too");
    assert_eq!(try_dir(1, 2), Err(NtStatus::SHARING_VIOLATION), "LIST_DIRECTORY is reading");
    assert_eq!(try_dir(1, 1), Ok(()));
    drop(lister);
    assert_eq!(try_dir(2, 0), Ok(()));
}
