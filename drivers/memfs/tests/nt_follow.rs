//! Reparse points that are followed: nt-fs.md section 7, NT-REP-18 to NT-REP-31, through NtCreateFile on a volume.
mod support;

use nt_abi::NtStatus;
use nt_io::create::{self, CreateSpec};
use nt_io::info::class;
use nt_ke::WindowsVersion;
use nt_ob::Handle;
use support::names::*;
use support::notify::*;
use support::reparse::*;
use support::*;

const NOT_FOUND: NtStatus = NtStatus::OBJECT_NAME_NOT_FOUND;
const NO_PATH: NtStatus = NtStatus::OBJECT_PATH_NOT_FOUND;
const BAD_NAME: NtStatus = NtStatus::OBJECT_NAME_INVALID;
const UNRESOLVED: NtStatus = NtStatus::REPARSE_POINT_NOT_RESOLVED;
const NOT_HANDLED: NtStatus = NtStatus::IO_REPARSE_TAG_NOT_HANDLED;
const OPEN_IF: u32 = 3;
const CREATE: u32 = 2;

/// Why an open for reading fails, or `None`.
fn opens(world: &World, name: &str, options: u32) -> Option<NtStatus> {
    match world.try_open(name, READ_DATA | 0x80 | SYNCHRONIZE, SYNC | options, 1) {
        Ok((handle, _)) => {
            drop(world.adopt(handle));
            None
        }
        Err(status) => Some(status),
    }
}

/// The name that an open file is known by.
fn name_of(file: &File<'_>) -> String {
    let bytes = file.query(class::NAME, 600);
    let length = u32::from_le_bytes(bytes[..4].try_into().expect("four")) as usize;
    let units: Vec<u16> = bytes[4..4 + length].chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    String::from_utf16(&units).expect("text")
}

#[test]
fn nt_rep_18_links_are_followed_and_other_tags_are_for_somebody_above() {
    let world = World::new();
    world.put("target", b"the data");
    world.folder("d");
    world.put("d\\inside", b"below");
    world.symlink("link", "target", true);
    world.directory_link("junction", &mount_data("\\??\\C:\\d"));
    world.linked("own", &guid_data(OURS, 7, b"x"));
    world.linked("nfs", &[&0x8000_0014_u32.to_le_bytes()[..], &[8, 0, 0, 0], &[1; 8]].concat());
    world.linked("lx", &lx_symlink_data("target"));
    assert_eq!(world.get("link"), Some(b"the data".to_vec()));
    assert_eq!(world.get("junction\\inside"), Some(b"below".to_vec()));
    assert_eq!(opens(&world, "junction", DIR), None);
    for name in ["own", "nfs", "lx"] {
        assert_eq!(opens(&world, name, 0), Some(NOT_HANDLED), "{name}");
        assert_eq!(opens(&world, name, OPEN_REPARSE), None, "{name}");
    }
}

#[test]
fn nt_rep_20_the_option_is_about_the_last_component() {
    let world = World::new();
    world.folder("d");
    world.put("d\\file", b"found");
    world.directory_link("way", &mount_data("\\??\\C:\\d"));
    world.directory_link("custom", &guid_data(OURS, 7, b"x"));
    assert_eq!(opens(&world, "way\\file", OPEN_REPARSE), None);
    assert_eq!(opens(&world, "custom\\file", OPEN_REPARSE), Some(NOT_HANDLED));
    assert_eq!(opens(&world, "custom", OPEN_REPARSE | DIR), None);
    // With the bit that filled directories may have it is a directory as any other (NT-REP-08).
    world.folder("cloud");
    world.put("cloud\\file", b"x");
    assert_eq!(set(&world.itself("cloud"), &reparse_data(0x9000_001A, b"data")), NtStatus::SUCCESS);
    assert_eq!((opens(&world, "cloud\\file", 0), opens(&world, "cloud", DIR)), (None, None));
}

#[test]
fn nt_rep_22_a_mount_point_leads_to_an_absolute_name() {
    let world = World::new();
    world.folder("d");
    world.put("d\\f", b"1");
    for (name, target, expected) in [
        ("good", "\\??\\C:\\d", None),
        ("slash", "\\??\\C:\\d\\", None),
        ("device", "\\Device\\HarddiskVolume1\\d", None),
        ("garbage", "foobar", Some(BAD_NAME)),
        ("drive", "C:\\d", Some(BAD_NAME)),
        ("win32", "\\\\?\\C:\\d", Some(BAD_NAME)),
        ("absent", "\\??\\C:\\nowhere", Some(NOT_FOUND)),
        ("itself", "\\??\\C:\\itself", Some(UNRESOLVED)),
    ] {
        world.directory_link(name, &mount_data(target));
        assert_eq!(opens(&world, name, DIR), expected, "{target}");
        let below = if expected == Some(NOT_FOUND) { Some(NO_PATH) } else { expected };
        assert_eq!(opens(&world, &format!("{name}\\f"), 0), below, "{target}");
    }
    world.directory_link("one", &mount_data("\\??\\C:\\other"));
    world.directory_link("other", &mount_data("\\??\\C:\\one"));
    assert_eq!(opens(&world, "one\\f", 0), Some(UNRESOLVED));
}

#[test]
fn nt_rep_23_sixty_three_links_and_no_more() {
    let world = World::new();
    world.put("l0", b"end");
    for number in 1..=64 {
        world.symlink(&format!("l{number}"), &format!("l{}", number - 1), true);
    }
    assert_eq!(world.get("l63"), Some(b"end".to_vec()));
    assert_eq!(opens(&world, "l64", 0), Some(UNRESOLVED));
    assert_eq!(opens(&world, "l64", OPEN_REPARSE), None);
}

#[test]
fn nt_rep_24_a_relative_link_starts_beside_itself() {
    let world = World::new();
    for directory in ["a", "a\\b", "a\\c"] {
        world.folder(directory);
    }
    world.put("top", b"top");
    world.put("a\\f", b"a");
    world.put("a\\b\\f", b"b");
    let f = |name: &str| world.get(name);
    for (number, (target, expected)) in [
        ("f", Ok(b"b".as_slice())),
        (".\\f", Ok(b"b")),
        ("..\\f", Ok(b"a")),
        ("..\\c\\..\\b\\.\\f", Ok(b"b")),
        ("..\\..\\top", Ok(b"top")),
        ("\\top", Ok(b"top")),
        ("\\a\\f", Ok(b"a")),
        ("..\\..\\..\\top", Err(NtStatus::IO_REPARSE_DATA_INVALID)),
        ("../f", Err(BAD_NAME)),
        ("..\\\\f", Err(BAD_NAME)),
        ("C:\\a\\f", Err(BAD_NAME)),
        ("f.", Err(NOT_FOUND)),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("a\\b\\link{number}");
        world.symlink(&name, target, true);
        match expected {
            Ok(bytes) => assert_eq!(f(&name).as_deref(), Some(bytes), "{target}"),
            Err(status) => assert_eq!(opens(&world, &name, 0), Some(status), "{target}"),
        }
    }
    // The directories themselves: "..", and a slash or a dot at the end.
    for (number, target) in ["..", "..\\b\\", "..\\b\\.", "."].into_iter().enumerate() {
        let name = format!("a\\b\\dir{number}");
        world.directory_link(&name, &symlink_data(target, true));
        assert_eq!(opens(&world, &name, DIR), None, "{target}");
        let expected = if target == ".." { b"a" } else { b"b" };
        assert_eq!(f(&format!("{name}\\f")).as_deref(), Some(expected.as_slice()), "{target}");
        assert_eq!(opens(&world, &format!("{name}\\"), DIR), None, "{target}: a slash behind the link");
    }
    // A name that starts at a directory's handle.
    let root = world.open_file("a", READ_DATA | SYNCHRONIZE, SYNC | DIR);
    let spec = CreateSpec {
        access: READ_DATA | SYNCHRONIZE,
        root: root.handle,
        name: "b\\link2".encode_utf16().collect(),
        options: SYNC,
        ..CreateSpec::default()
    };
    let (handle, _) = create::nt_create_file(&world.frame(), &spec).expect("relative to a handle");
    assert_eq!(world.adopt(handle).read(1, Some(0)).1, b"a");
}

#[test]
fn nt_rep_25_an_absolute_link_is_an_nt_name_and_nothing_is_made_of_its_dots() {
    let world = World::new();
    world.folder("a");
    world.put("a\\f", b"a");
    for (number, (target, relative, expected)) in [
        ("\\??\\C:\\a\\f", false, None),
        ("\\\\?\\C:\\a\\f", false, Some(BAD_NAME)),
        ("C:\\a\\f", false, Some(BAD_NAME)),
        ("a\\f", false, Some(BAD_NAME)),
        ("\\??\\C:\\a\\.\\f", false, Some(NO_PATH)),
        ("\\??\\C:\\a\\..\\a\\f", false, Some(BAD_NAME)),
        ("\\??\\C:\\a\\f", true, Some(BAD_NAME)),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("link{number}");
        world.symlink(&name, target, relative);
        assert_eq!(opens(&world, &name, 0), expected, "{target}, relative: {relative}");
    }
}

#[test]
fn nt_rep_26_a_link_holds_what_its_kind_promises() {
    for (windows, checked) in [
        (WindowsVersion::Win7, false),
        (WindowsVersion::Win8, false),
        (WindowsVersion::Win10, true),
        (WindowsVersion::Win11, true),
    ] {
        let world = World::with(windows, None);
        world.folder("d");
        world.put("f", b"data");
        world.symlink("to d", "d", true);
        world.directory_link("to f", &symlink_data("f", true));
        let expected = |status| checked.then_some(status);
        for options in [0, 0x1000_u32] {
            let access = if options == 0 { 0x80 } else { 0x80 | DELETE };
            let open = |name: &str, disposition| {
                let result = world.try_open(name, access | SYNCHRONIZE, SYNC, disposition);
                result.map(|(handle, _)| drop(world.adopt(handle))).err()
            };
            for disposition in [1, OPEN_IF] {
                assert_eq!(open("to d", disposition), expected(NtStatus::FILE_IS_A_DIRECTORY), "{windows:?}");
                assert_eq!(open("to f", disposition), expected(NtStatus::NOT_A_DIRECTORY), "{windows:?}");
            }
        }
        // Whoever asks for the other kind is refused in any case, and what was not promised is not deleted.
        let deleting = |name: &str, kind: u32, disposition: u32| {
            world.try_open(name, DELETE | 0x80 | SYNCHRONIZE, SYNC | kind | DELETE_ON_CLOSE, disposition).err()
        };
        if checked {
            assert_eq!(deleting("to f", 0x40, 1), Some(NtStatus::NOT_A_DIRECTORY));
            assert_eq!(deleting("to f", 0, OPEN_IF), Some(NtStatus::NOT_A_DIRECTORY));
            assert_eq!(deleting("to d", 0, OPEN_IF), Some(NtStatus::FILE_IS_A_DIRECTORY));
        }
        assert_eq!(opens(&world, "d", DIR), None);
        assert_eq!(world.get("f"), Some(b"data".to_vec()));
        // What only passes through the link makes no difference.
        world.put("d\\x", b"x");
        world.symlink("way", "d", true);
        assert_eq!(world.get("way\\x"), Some(b"x".to_vec()));
    }
}

#[test]
fn nt_rep_27_a_link_to_nowhere_makes_its_target() {
    let world = World::new();
    for (number, disposition) in [OPEN_IF, CREATE, 5, 0].into_iter().enumerate() {
        let (link, target) = (format!("link{number}"), format!("target{number}"));
        world.symlink(&link, &target, true);
        assert_eq!(opens(&world, &link, 0), Some(NOT_FOUND));
        let (handle, made) = world.try_open(&link, WRITE_DATA | SYNCHRONIZE, SYNC, disposition).expect("made");
        assert_eq!((made, world.adopt(handle).write(b"new", Some(0))), (2, success(3)));
        assert_eq!(world.get(&target), Some(b"new".to_vec()));
        assert_eq!(world.itself(&link).basic().1 & 0x400, 0x400, "the link stays");
        let again = world.try_open(&link, WRITE_DATA | SYNCHRONIZE, SYNC, CREATE);
        assert_eq!(again.err(), Some(NtStatus::OBJECT_NAME_COLLISION));
    }
    // No type check: a directory link makes the file that was asked for.
    world.directory_link("dirlink", &symlink_data("made", true));
    drop(world.file("dirlink", WRITE_DATA | SYNCHRONIZE, SYNC));
    assert_eq!(opens(&world, "made", 0x40), None);
    // CreateDirectory opens the link itself.
    let made = world.try_open("link0", 0x80 | SYNCHRONIZE, SYNC | DIR | OPEN_REPARSE, CREATE);
    assert_eq!(made.err(), Some(NtStatus::OBJECT_NAME_COLLISION));
}

#[test]
fn nt_rep_28_a_link_is_no_directory_to_start_from() {
    let world = World::new();
    world.folder("d");
    world.put("d\\f", b"x");
    world.directory_link("link", &symlink_data("d", true));
    world.directory_link("junction", &mount_data("\\??\\C:\\d"));
    for name in ["link", "junction"] {
        let root = world.open_file(name, READ_DATA | SYNCHRONIZE, SYNC | DIR | OPEN_REPARSE);
        let open = |name: &str, options: u32| {
            let spec = CreateSpec {
                access: 0x80 | SYNCHRONIZE,
                root: root.handle,
                name: name.encode_utf16().collect(),
                options: SYNC | options,
                ..CreateSpec::default()
            };
            let made = create::nt_create_file(&world.frame(), &spec);
            made.map(|(handle, _)| drop(world.adopt(handle))).err().map(NtStatus::from)
        };
        assert_eq!((open("f", 0), open("f", OPEN_REPARSE)), (Some(UNRESOLVED), Some(UNRESOLVED)));
        assert_eq!((open("", 0), open("", OPEN_REPARSE)), (Some(NtStatus::IO_REPARSE_DATA_INVALID), None));
        // Opened through, it is the directory that it leads to.
        let through = world.open_file(name, READ_DATA | SYNCHRONIZE, SYNC | DIR);
        let spec = CreateSpec {
            access: READ_DATA | SYNCHRONIZE,
            root: through.handle,
            name: "f".encode_utf16().collect(),
            options: SYNC,
            ..CreateSpec::default()
        };
        drop(world.adopt(create::nt_create_file(&world.frame(), &spec).expect("below the target").0));
    }
}

#[test]
fn nt_rep_29_the_name_of_what_was_opened_is_the_targets() {
    let world = World::new();
    world.folder("d");
    world.put("d\\f", b"x");
    world.symlink("link", "d\\f", true);
    world.directory_link("junction", &mount_data("\\??\\C:\\d"));
    for name in ["link", "junction\\f"] {
        assert_eq!(name_of(&world.open_file(name, 0x80 | SYNCHRONIZE, SYNC)), "\\d\\f", "{name}");
    }
    assert_eq!(name_of(&world.itself("link")), "\\link");
}

#[test]
fn nt_rep_31_who_opens_the_link_deletes_and_renames_the_link() {
    let world = World::new();
    world.put("target", b"stays");
    world.symlink("link", "target", true);
    assert_eq!(world.itself("link").rename("renamed", false), NtStatus::SUCCESS);
    assert_eq!(world.get("renamed"), Some(b"stays".to_vec()));
    assert_eq!(world.itself("renamed").dispose(true), NtStatus::SUCCESS);
    assert_eq!((world.absent("renamed"), world.get("target")), (Some(NOT_FOUND), Some(b"stays".to_vec())));
    // Opened through, it is the target that gets another name.
    world.symlink("link", "target", true);
    assert_eq!(world.to_delete("link").rename("moved", false), NtStatus::SUCCESS);
    assert_eq!((world.get("moved"), opens(&world, "link", 0)), (Some(b"stays".to_vec()), Some(NOT_FOUND)));
}

#[test]
fn nt_del_29_ntdeletefile_deletes_the_target() {
    let world = World::new();
    world.put("target", b"goes");
    world.symlink("link", "target", true);
    let name: Vec<u16> = full("link").encode_utf16().collect();
    assert_eq!(create::nt_delete_file(&world.frame(), Handle::NULL, &name, 0x40), NtStatus::SUCCESS);
    assert_eq!(world.absent("target"), Some(NOT_FOUND));
    assert_eq!(world.itself("link").basic().1 & 0x400, 0x400, "the link is there, and leads nowhere");
}

#[test]
fn nt_rep_32_putting_one_on_and_off_is_a_change() {
    let world = World::new();
    let file = world.file("f", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC);
    let old = |file: &File<'_>| {
        let mut basic = vec![0; 40];
        for at in [0, 8, 16, 24] {
            basic[at..at + 8].copy_from_slice(&0x01D0_0000_0000_0000_i64.to_le_bytes());
        }
        basic[32..36].copy_from_slice(&0x80_u32.to_le_bytes());
        assert_eq!(file.set(class::BASIC, &basic), NtStatus::SUCCESS);
    };
    let state = |file: &File<'_>| {
        let bytes = file.query(class::BASIC, 40);
        let at = |at: usize| i64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight")) != 0x01D0_0000_0000_0000;
        (at(0), at(16), at(24), bytes[32] & 0x20 != 0)
    };
    // `file` wrote no data and no times of its own: what changes is what the control changes.
    let other = world.open_file("f", GENERIC_WRITE | SYNCHRONIZE, SYNC);
    old(&file);
    assert_eq!(state(&file), (false, false, on_dir(), false));
    assert_eq!(set(&other, &guid_data(OURS, 7, b"x")), NtStatus::SUCCESS);
    assert_eq!(state(&file), (false, true, true, true));
    old(&file);
    assert_eq!(other.control(0x9_00AC, &guid_data(OURS, 7, &[]), 0).0, NtStatus::SUCCESS);
    assert_eq!(state(&file), (false, true, true, true));
}

#[test]
fn nt_rep_32_and_whoever_watches_attributes_hears_of_it() {
    let world = World::new();
    world.folder("w");
    world.put("w\\f", b"");
    let dir = world.watched("w");
    let file = world.open_file("w\\f", GENERIC_WRITE | SYNCHRONIZE, SYNC);
    for (code, data) in [(0x9_00A4, guid_data(OURS, 7, b"x")), (0x9_00AC, guid_data(OURS, 7, &[]))] {
        let wait = dir.watch_sized(ATTRIBUTES, 256);
        assert_eq!(file.control(code, &data, 0).0, NtStatus::SUCCESS);
        assert_eq!(wait.told(), told(&[(MODIFIED, "f")]));
    }
}

#[test]
fn nothing_is_followed_where_the_caller_says_so() {
    let world = World::new();
    world.put("target", b"x");
    world.folder("d");
    world.put("d\\f", b"x");
    world.symlink("link", "target", true);
    world.directory_link("junction", &mount_data("\\??\\C:\\d"));
    let open = |name: &str, attributes: u32, stop: bool| {
        let spec = CreateSpec {
            access: 0x80 | SYNCHRONIZE,
            name: name.encode_utf16().collect(),
            options: SYNC,
            attributes,
            stop_on_symlink: stop,
            ..CreateSpec::default()
        };
        let made = create::nt_create_file(&world.frame(), &spec);
        made.map(|(handle, _)| drop(world.adopt(handle))).err().map(NtStatus::from)
    };
    const DONT_REPARSE: u32 = 0x1040;
    let encountered = Some(NtStatus::REPARSE_POINT_ENCOUNTERED);
    assert_eq!(open("\\Device\\HarddiskVolume1\\target", DONT_REPARSE, false), None);
    assert_eq!(open("\\Device\\HarddiskVolume1\\link", DONT_REPARSE, false), encountered);
    assert_eq!(open("\\Device\\HarddiskVolume1\\junction\\f", DONT_REPARSE, false), encountered);
    assert_eq!(open("\\??\\C:\\target", DONT_REPARSE, false), encountered, "the drive letter is a link too");
    assert_eq!(open("\\??\\C:\\link", 0x40, true), Some(NtStatus::STOPPED_ON_SYMLINK));
    assert_eq!(open("\\??\\C:\\junction\\f", 0x40, true), None, "a junction is no symbolic link");
}

#[test]
fn a_rename_into_a_linked_directory_lands_in_its_target() {
    let world = World::new();
    world.folder("d");
    world.directory_link("junction", &mount_data("\\??\\C:\\d"));
    world.put("f", b"x");
    let to = name_information(0, Handle::NULL, &full("junction\\moved"));
    assert_eq!(world.to_delete("f").set(class::RENAME, &to), NtStatus::SUCCESS);
    assert_eq!(world.get("d\\moved"), Some(b"x".to_vec()));
}

#[test]
fn nt_rep_22_a_mount_point_leads_to_another_volume() {
    let world = World::new();
    let other = nt_memfs::mount(&world.kernel, 2, None).expect("a second volume");
    world.directory_link("disk", &mount_data("\\??\\D:\\"));
    world.put("disk\\f", b"over there");
    let spec = CreateSpec {
        access: READ_DATA | SYNCHRONIZE,
        name: "\\??\\D:\\f".encode_utf16().collect(),
        options: SYNC,
        ..CreateSpec::default()
    };
    let (handle, _) = create::nt_create_file(&world.frame(), &spec).expect("on the other volume");
    assert_eq!(world.adopt(handle).read(10, Some(0)).1, b"over there");
    // A relative link over there stays over there.
    world.folder("disk\\d");
    world.symlink("disk\\d\\link", "..\\f", true);
    assert_eq!(world.get("disk\\d\\link"), Some(b"over there".to_vec()));
    let to = name_information(0, Handle::NULL, &full("disk\\moved"));
    world.put("here", b"x");
    assert_eq!(world.to_delete("here").set(class::RENAME, &to), NtStatus::NOT_SAME_DEVICE);
    drop(other);
}

#[test]
fn nt_rep_34_the_newer_control_names_the_tag_that_it_replaces() {
    const SET_EX: u32 = 0x9_040C;
    let world = World::new();
    let file = world.file("f", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC);
    let put = |existing: u32, guid: u8, data: &[u8]| {
        let mut input = 0_u32.to_le_bytes().to_vec();
        input.extend_from_slice(&existing.to_le_bytes());
        input.extend_from_slice(&[guid; 16]);
        input.extend_from_slice(&[0; 8]);
        input.extend_from_slice(data);
        file.control(SET_EX, &input, 0).0
    };
    let mismatch = NtStatus::IO_REPARSE_TAG_MISMATCH;
    assert_eq!(put(OURS, 7, &guid_data(OURS, 7, b"x")), mismatch, "there is none yet");
    assert_eq!(put(0, 0, &guid_data(OURS, 7, b"one")), NtStatus::SUCCESS, "as the older control");
    assert_eq!(put(0, 0, &guid_data(OURS + 1, 7, b"x")), mismatch);
    assert_eq!(
        (put(OURS + 1, 7, &guid_data(OURS, 7, b"x")), put(OURS, 8, &guid_data(OURS, 7, b"x"))),
        (mismatch, mismatch)
    );
    assert_eq!(put(OURS, 7, &guid_data(OURS + 1, 9, b"two")), NtStatus::SUCCESS, "that very one gives way");
    assert_eq!(file.control(0x9_00A8, &[], 64).2[..27], guid_data(OURS + 1, 9, b"two"));
    assert_eq!(put(OURS + 1, 9, &symlink_data("target", true)), NtStatus::SUCCESS);
    assert_eq!(file.control(SET_EX, &[0; 31], 0).0, NtStatus::IO_REPARSE_DATA_INVALID);
}
