//! Hard links: nt-fs.md section 6, rules NT-LNK.
mod support;

use nt_abi::NtStatus;
use nt_io::info::class;
use nt_ob::Handle;
use support::directory::word;
use support::names::*;
use support::*;

const SHARE_ALL: u32 = 7;
const COLLISION: NtStatus = NtStatus::OBJECT_NAME_COLLISION;
const DENIED: NtStatus = NtStatus::ACCESS_DENIED;

#[test]
fn nt_lnk_01_two_names_are_one_file() {
    let world = World::new();
    world.put("one", b"data");
    let file = world.open_file("one", GENERIC_READ | SYNCHRONIZE, SYNC);
    assert_eq!(file.link("two", false), NtStatus::SUCCESS);
    let second = world.open_file("two", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC);
    assert_eq!((file.links(), second.links(), file.id()), ((2, false), (2, false), second.id()));
    assert_eq!(second.write(b"DATA", Some(0)), success(4));
    assert_eq!(file.read(4, Some(0)).1, b"DATA");
    world.attributes("two", 2);
    assert_eq!((file.basic(), file.basic().1 & 2), (second.basic(), 2));
    let mut record = vec![0, 0, 0, 0, 0, 1, 1, 0];
    record.extend_from_slice(b"E\0v");
    let writer = world.open_file("one", 0x10 | SYNCHRONIZE, SYNC);
    assert_eq!(writer.set_ea(&record), NtStatus::SUCCESS);
    assert_eq!(second.query(class::EA, 4), file.query(class::EA, 4));
}

#[test]
fn nt_lnk_02_an_existing_name_is_not_linked_over() {
    let world = World::new();
    world.put("f", b"");
    world.put("g", b"g");
    drop(world.directory("d"));
    let file = world.sync_file("f");
    for held in [false, true] {
        for target in ["g", "d"] {
            let _held = held.then(|| world.open_file(target, 0x80 | SYNCHRONIZE, SYNC));
            let done = file.try_set(class::LINK, &name_information(0, Handle::NULL, target));
            assert_eq!(done, (COLLISION, Iosb::Untouched), "{target} {held}");
        }
    }
    assert_eq!(file.links().0, 1);
}

#[test]
fn nt_lnk_03_replace_takes_a_closed_files_name() {
    let world = World::new();
    world.put("f", b"f");
    world.put("g", b"g");
    world.put("r", b"r");
    world.attributes("r", 1);
    drop(world.directory("d"));
    let file = world.sync_file("f");
    let held = world.sync_file("g");
    assert_eq!((file.link("g", true), file.link("d", true), file.link("r", true)), (DENIED, DENIED, DENIED));
    drop(held);
    assert_eq!(file.link("g", true), NtStatus::SUCCESS);
    assert_eq!((world.get("g"), file.links().0), (Some(b"f".to_vec()), 2));
    assert_eq!(file.link_ex("r", REPLACE | IGNORE_READONLY), NtStatus::SUCCESS);
    assert_eq!((world.get("r"), file.links().0), (Some(b"f".to_vec()), 3));
}

#[test]
fn nt_lnk_04_a_directory_has_one_name() {
    let world = World::new();
    world.put("f", b"");
    drop(world.directory("d"));
    let dir = world.open_file("d", 0x80 | SYNCHRONIZE, SYNC);
    for target in ["new", "f", "d"] {
        assert_eq!(dir.link(target, true), NtStatus::FILE_IS_A_DIRECTORY, "{target}");
    }
}

#[test]
fn nt_lnk_05_a_link_onto_the_own_name() {
    let world = World::new();
    world.put("name", b"x");
    let file = world.sync_file("name");
    for name in ["name", "NAME"] {
        assert_eq!(file.link(name, false), COLLISION, "{name}");
        assert_eq!(file.link(name, true), NtStatus::SUCCESS, "{name}");
    }
    assert_eq!(file.links().0, 1);
}

#[test]
fn nt_lnk_06_replace_stores_the_case_of_the_request() {
    let world = World::new();
    world.fill("d", &["own", "other"]);
    let file = world.sync_file("d\\own");
    assert_eq!(file.link("OWN", true), NtStatus::SUCCESS);
    assert_eq!(file.link("OTHER", true), NtStatus::SUCCESS);
    assert_eq!(world.directory("d").names(Some("*")), [".", "..", "OTHER", "OWN"]);
    assert_eq!(file.links().0, 2);
}

#[test]
fn nt_lnk_07_root_directory_and_simple_names() {
    let world = World::new();
    drop((world.directory("a"), world.directory("b")));
    world.put("a\\f", b"x");
    let file = world.sync_file("a\\f");
    let root = world.directory("b");
    assert_eq!(file.set(class::LINK, &name_information(0, root.handle, "g")), NtStatus::SUCCESS);
    assert_eq!(file.link("h", false), NtStatus::SUCCESS);
    assert_eq!((world.absent("b\\g"), world.absent("a\\h"), file.links().0), (None, None, 3));
}

#[test]
fn nt_lnk_08_any_handle_may_link() {
    let world = World::new();
    world.put("f", b"x");
    for (access, name) in [(SYNCHRONIZE, "a"), (READ_DATA | SYNCHRONIZE, "b"), (0x80 | SYNCHRONIZE, "c")] {
        assert_eq!(world.open_file("f", access, SYNC).link(name, false), NtStatus::SUCCESS, "{access:#x}");
    }
}

#[test]
fn nt_lnk_09_a_file_has_so_many_names_and_no_more() {
    if on_dir() {
        return; // the host's own limit is its file system's: 65,000 on ext4
    }
    let world = World::new();
    let file = world.sync_file("f");
    for at in 1..1024 {
        assert_eq!(file.link(&format!("l{at}"), false), NtStatus::SUCCESS, "{at}");
    }
    assert_eq!(file.link("one_more", false), NtStatus::TOO_MANY_LINKS);
    assert_eq!(file.links().0, 1024);
}

#[test]
fn nt_lnk_10_a_deleted_source_gets_no_name() {
    let world = World::new();
    world.put("f", b"x");
    let (one, two) = (world.to_delete("f"), world.sync_file("f"));
    assert_eq!(one.dispose(true), NtStatus::SUCCESS);
    assert_eq!(two.link("g", false), DENIED);
    assert_eq!(one.dispose_ex(3), NtStatus::SUCCESS);
    drop(one);
    assert_eq!(two.link("g", false), DENIED);
}

#[test]
fn nt_lnk_11_other_volumes_and_illegal_names() {
    let world = World::new();
    world.put("f", b"x");
    let file = world.sync_file("f");
    let other = nt_memfs::mount(&world.kernel, 2, None).expect("a second volume");
    assert_eq!(file.link(&format!("{}\\x", other.link), false), NtStatus::NOT_SAME_DEVICE);
    for bad in ["a*b", "a?", "..", "a|b"] {
        assert_eq!(file.link(bad, false), NtStatus::OBJECT_NAME_INVALID, "{bad}");
    }
}

#[test]
fn nt_lnk_12_a_reparse_point_may_have_two_names() {
    let world = World::new();
    world.put("p", b"");
    let point = world.file("p", GENERIC_WRITE | SYNCHRONIZE, SYNC);
    assert_eq!(point.control(0x9_00A4, &lx_symlink_data("x"), 0).0, NtStatus::SUCCESS);
    drop(point);
    let point = world.open_file("p", 0x80 | SYNCHRONIZE, SYNC | OPEN_REPARSE);
    assert_eq!(point.link("q", false), NtStatus::SUCCESS);
    let second = world.open_file("q", 0x80 | SYNCHRONIZE, SYNC | OPEN_REPARSE);
    assert_eq!((second.links().0, second.id()), (2, point.id()));
    let get = |file: &File<'_>| file.control(0x9_00A8, &[], 256).2;
    assert_eq!(get(&second), get(&point));
}

#[test]
fn nt_lnk_13_posix_replace_asks_the_share_modes() {
    let world = World::new();
    world.put("f", b"f");
    world.put("g", b"g");
    let file = world.sync_file("f");
    let narrow = world.shared("g", GENERIC_READ, 3).expect("open");
    assert_eq!(file.link_ex("g", REPLACE | POSIX), NtStatus::SHARING_VIOLATION);
    drop(narrow);
    let wide = world.shared("g", GENERIC_READ, SHARE_ALL).expect("open");
    assert_eq!(file.link_ex("g", REPLACE | POSIX), NtStatus::SUCCESS);
    assert_eq!((wide.links(), wide.read(1, Some(0)).1), ((0, true), b"g".to_vec()));
    assert_eq!(world.get("g"), Some(b"f".to_vec()));
}

#[test]
fn nt_lnk_14_which_times_a_link_moves() {
    let world = World::new();
    drop(world.directory("d"));
    world.put("f", b"x");
    let file = world.sync_file("f");
    let (before, dir) = (file.basic().0, world.directory("d").basic().0);
    world.pause();
    assert_eq!(file.link(&full("d\\g"), false), NtStatus::SUCCESS);
    let (after, now) = (file.basic().0, world.directory("d").basic().0);
    assert_eq!(after[..3], before[..3]);
    assert!(after[3] > before[3] && now[2] > dir[2] && now[3] > dir[3]);
    assert_eq!(file.write(&[1; 100], Some(0)), success(100));
    let entry = world.directory("d").list(1, 512, 0, Some("g"));
    assert_eq!(support::directory::long(&entry.records(1)[0].bytes, 0x28), 100, "the other name's entry does not lag");
}

#[test]
fn nt_lnk_15_marked_and_removed_names_do_not_count() {
    let world = World::new();
    world.put("one", b"x");
    let file = world.sync_file("one");
    assert_eq!((file.link("two", false), file.link("three", false)), (NtStatus::SUCCESS, NtStatus::SUCCESS));
    let standard_link = |file: &File<'_>| {
        let bytes = file.query(class::STANDARD_LINK, 12);
        (word(&bytes, 0), word(&bytes, 4), bytes[8], bytes[9])
    };
    assert_eq!(standard_link(&file), (3, 3, 0, 0));
    let two = world.to_delete("two");
    assert_eq!(two.dispose(true), NtStatus::SUCCESS);
    assert_eq!((file.links(), two.links()), ((2, false), (2, true)));
    assert_eq!((standard_link(&file), standard_link(&two)), ((2, 3, 0, 0), (2, 3, 1, 0)));
    drop(two);
    assert_eq!(standard_link(&file), (2, 2, 0, 0));
    for name in ["three", "one"] {
        assert_eq!(world.to_delete(name).dispose_ex(3), NtStatus::SUCCESS);
    }
    assert_eq!(file.links(), (0, true), "its last name went under it");
}

#[test]
fn nt_lnk_16_a_directory_counts_one() {
    let world = World::new();
    world.fill("d", &[]);
    drop((world.directory("d\\a"), world.directory("d\\b")));
    assert_eq!(world.directory("d").links(), (1, false));
}

#[test]
fn nt_lnk_17_the_volume_says_that_it_has_hard_links() {
    let world = World::new();
    let bytes = world.volume(GENERIC_READ).query_volume(5, 64).expect("attributes");
    assert_eq!(word(&bytes, 0) & 0x40_0000, 0x40_0000);
}

#[test]
fn nt_lnk_18_all_names_of_a_file_are_told() {
    let world = World::new();
    drop((world.directory("a"), world.directory("b")));
    world.put("a\\one", b"x");
    let file = world.sync_file("a\\one");
    assert_eq!(file.link(&full("b\\second"), false), NtStatus::SUCCESS);
    let id = |name: &str| world.directory(name).id();
    let expected = [(id("a"), "one".to_owned()), (id("b"), "second".to_owned())];
    let parse = |bytes: &[u8]| {
        let (mut at, mut found) = (8, Vec::new());
        for _ in 0..word(bytes, 4) {
            let length = word(bytes, at + 16) as usize * 2;
            let units: Vec<u16> = bytes[at + 20..at + 20 + length]
                .chunks_exact(2)
                .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
                .collect();
            found.push((support::directory::long(bytes, at + 8), String::from_utf16_lossy(&units)));
            at += word(bytes, at) as usize;
        }
        found.sort();
        found
    };
    let (status, bytes, _) = file.try_query(class::HARD_LINK, 256);
    let mut wanted = expected.to_vec();
    wanted.sort();
    assert_eq!((status, parse(&bytes)), (NtStatus::SUCCESS, wanted));
    let needed = word(&bytes, 0) as usize;
    let (status, small, _) = file.try_query(class::HARD_LINK, needed - 1);
    assert_eq!((status, word(&small, 0) as usize, word(&small, 4)), (NtStatus::BUFFER_OVERFLOW, needed, 1));
    let (status, least, _) = file.try_query(class::HARD_LINK, 32);
    assert_eq!((status, word(&least, 0) as usize), (NtStatus::BUFFER_OVERFLOW, needed));
}
