//! Rename: nt-fs.md section 4, rules NT-REN.
mod device;
mod support;

use nt_abi::NtStatus;
use nt_abi::io::{IRP_MJ_CREATE, SL_OPEN_TARGET_DIRECTORY};
use nt_io::info::class;
use nt_ob::Handle;
use support::directory::word;
use support::names::*;
use support::*;

const SHARE_ALL: u32 = 7;
const COLLISION: NtStatus = NtStatus::OBJECT_NAME_COLLISION;
const DENIED: NtStatus = NtStatus::ACCESS_DENIED;
const GONE: Option<NtStatus> = Some(NtStatus::OBJECT_NAME_NOT_FOUND);

#[test]
fn nt_ren_01_the_information_is_checked() {
    let world = World::new();
    world.put("f", b"");
    let file = world.to_delete("f");
    let good = name_information(0, Handle::NULL, "g");
    assert_eq!(file.set(class::RENAME, &good[..23]), NtStatus::INFO_LENGTH_MISMATCH);
    for length in [0_u32, 1, 3, 6, 200] {
        let mut bad = good.clone();
        bad[16..20].copy_from_slice(&length.to_le_bytes());
        assert_eq!(file.try_set(class::RENAME, &bad), (NtStatus::INVALID_PARAMETER, Iosb::Untouched), "{length}");
    }
}

#[test]
fn nt_ren_02_a_rename_needs_delete_access() {
    let world = World::new();
    let file = world.sync_file("f");
    assert_eq!((file.rename("g", false), file.rename_ex("g", 0)), (DENIED, DENIED));
    assert_eq!(world.absent("f"), None);
}

#[test]
fn nt_ren_03_every_open_of_the_name_shows_the_new_path() {
    let world = World::new();
    drop(world.directory("d"));
    let (file, other) = (world.file("d\\old", DELETE | SYNCHRONIZE, SYNC), world.sync_file("d\\old"));
    let done = file.try_set(class::RENAME, &name_information(0, Handle::NULL, "new"));
    assert_eq!(done, (NtStatus::SUCCESS, Iosb::Is(NtStatus::SUCCESS, 0)));
    assert_eq!((world.absent("d\\old"), world.absent("d\\new")), (GONE, None));
    assert_eq!((file.name(), other.name()), ("\\d\\new".to_owned(), "\\d\\new".to_owned()));
}

#[test]
fn nt_ren_04_without_replace_an_existing_name_stays() {
    let world = World::new();
    for (source, target) in [("f1", "f2"), ("d1", "f2"), ("d1", "d2"), ("f1", "d2")] {
        for held in [false, true] {
            for name in [source, target] {
                if name.starts_with('d') { drop(world.directory(name)) } else { world.put(name, name.as_bytes()) }
            }
            let _held = held.then(|| world.open_file(target, 0x80 | SYNCHRONIZE, SYNC));
            let file = world.to_delete(source);
            let done = file.try_set(class::RENAME, &name_information(0, Handle::NULL, target));
            assert_eq!(done, (COLLISION, Iosb::Untouched), "{source} {target} {held}");
            assert_eq!((world.absent(source), world.absent(target)), (None, None));
        }
    }
}

#[test]
fn nt_ren_05_replace_takes_the_place_of_a_closed_file() {
    let world = World::new();
    world.put("a", b"source");
    world.put("b", b"target");
    assert_eq!(world.to_delete("a").rename("b", true), NtStatus::SUCCESS);
    assert_eq!((world.absent("a"), world.get("b")), (GONE, Some(b"source".to_vec())));
}

#[test]
fn nt_ren_06_an_open_target_is_not_replaced() {
    let world = World::new();
    world.put("a", b"source");
    world.put("b", b"target");
    let source = world.to_delete("a");
    for (access, share) in [(GENERIC_READ, SHARE_ALL), (0x80, SHARE_ALL), (0x80, 0)] {
        let held = world.shared("b", access, share).expect("open");
        let done = source.try_set(class::RENAME, &name_information(1, Handle::NULL, "b"));
        assert_eq!(done, (DENIED, Iosb::Untouched), "{access:#x} {share}");
        drop(held);
        assert_eq!(world.get("b"), Some(b"target".to_vec()));
    }
    assert_eq!(source.rename("b", true), NtStatus::SUCCESS);
}

#[test]
fn nt_ren_07_a_directory_replaces_a_closed_file() {
    if on_dir() {
        return; // rename(2) of the host knows no such thing: ENOTDIR
    }
    let world = World::new();
    drop(world.directory("d"));
    world.put("f", b"target");
    let source = world.to_delete("d");
    let held = world.sync_file("f");
    assert_eq!(source.rename("f", true), DENIED);
    drop(held);
    assert_eq!(source.rename("f", true), NtStatus::SUCCESS);
    assert_eq!((world.absent("d"), world.directory("f").names(None).len()), (GONE, 2));
}

#[test]
fn nt_ren_08_no_directory_is_replaced_without_posix_semantics() {
    let world = World::new();
    world.put("f", b"");
    drop((world.directory("d"), world.directory("e")));
    assert_eq!(world.to_delete("f").rename("e", true), DENIED);
    assert_eq!(world.to_delete("d").rename("e", true), DENIED);
}

#[test]
fn nt_ren_09_a_read_only_target_needs_to_be_ignored() {
    let world = World::new();
    world.put("a", b"source");
    world.put("b", b"target");
    world.attributes("b", 1);
    let source = world.to_delete("a");
    assert_eq!(source.rename("b", true), DENIED);
    assert_eq!(source.rename_ex("b", REPLACE), DENIED);
    assert_eq!(source.rename_ex("b", REPLACE | IGNORE_READONLY), NtStatus::SUCCESS);
    assert_eq!(world.get("b"), Some(b"source".to_vec()));
}

#[test]
fn nt_ren_10_posix_replace_asks_the_share_modes() {
    let world = World::new();
    world.put("a", b"source");
    world.put("b", b"target");
    let source = world.to_delete("a");
    for (access, share) in [(GENERIC_READ, 3), (GENERIC_WRITE, 3), (DELETE, 3), (GENERIC_READ, 0)] {
        let _held = world.shared("b", access, share).expect("open");
        let status = source.rename_ex("b", REPLACE | POSIX);
        assert_eq!(status, NtStatus::SHARING_VIOLATION, "{access:#x} {share}");
    }
}

#[test]
fn nt_ren_11_an_open_for_attributes_takes_no_part() {
    let world = World::new();
    world.put("a", b"source");
    world.put("b", b"target");
    let held = world.shared("b", 0x80, 0).expect("open");
    assert_eq!(world.to_delete("a").rename_ex("b", REPLACE | POSIX), NtStatus::SUCCESS);
    assert_eq!(held.links(), (0, true));
}

#[test]
fn nt_ren_12_posix_replace_leaves_the_targets_opens_alive() {
    let world = World::new();
    world.put("a", b"source");
    world.put("b", b"target");
    let held = world.shared("b", GENERIC_READ | GENERIC_WRITE, SHARE_ALL).expect("open");
    assert_eq!(held.links(), (1, false));
    assert_eq!(world.to_delete("a").rename_ex("b", REPLACE | POSIX), NtStatus::SUCCESS);
    assert_eq!(held.links(), (0, true));
    assert_eq!(held.read(6, Some(0)).1, b"target");
    assert_eq!(held.write(b"TARGET", Some(0)), success(6));
    assert_eq!(held.read(6, Some(0)).1, b"TARGET");
    assert_eq!(world.get("b"), Some(b"source".to_vec()));
}

#[test]
fn nt_ren_13_posix_alone_replaces_nothing() {
    let world = World::new();
    world.put("a", b"source");
    world.put("b", b"target");
    let source = world.to_delete("a");
    assert_eq!(source.rename_ex("b", POSIX), COLLISION);
    assert_eq!(source.rename_ex("c", POSIX), NtStatus::SUCCESS);
    assert_eq!((world.absent("a"), world.get("c")), (GONE, Some(b"source".to_vec())));
}

#[test]
fn nt_ren_14_posix_replace_with_directories() {
    let world = World::new();
    world.fill("full", &["x"]);
    for name in ["d", "empty"] {
        drop(world.directory(name));
    }
    world.put("f", b"");
    let both = REPLACE | POSIX;
    let dir = world.to_delete("d");
    assert_eq!(dir.rename_ex("full", both), NtStatus::DIRECTORY_NOT_EMPTY);
    assert_eq!(dir.rename_ex("f", both), NtStatus::NOT_A_DIRECTORY);
    assert_eq!(world.to_delete("f").rename_ex("empty", both), NtStatus::FILE_IS_A_DIRECTORY);
    assert_eq!(dir.rename_ex("empty", both), NtStatus::SUCCESS);
    assert_eq!((world.absent("d"), world.absent("empty")), (GONE, None));
}

#[test]
fn nt_ren_15_the_same_name_changes_nothing() {
    let world = World::new();
    world.put("same", b"x");
    let file = world.to_delete("same");
    let before = file.basic();
    for _ in 0..2 {
        assert_eq!(file.rename("same", false), NtStatus::SUCCESS);
    }
    assert_eq!((file.basic(), world.get("same")), (before, Some(b"x".to_vec())));
}

#[test]
fn nt_ren_16_another_case_of_the_same_name_is_stored() {
    let world = World::new();
    drop(world.directory("d"));
    world.put("d\\name", b"x");
    drop(world.directory("d\\sub"));
    assert_eq!(world.to_delete("d\\name").rename("NAME", false), NtStatus::SUCCESS);
    assert_eq!(world.to_delete("d\\sub").rename("Sub", false), NtStatus::SUCCESS);
    assert_eq!(world.directory("d").names(Some("*")), [".", "..", "NAME", "Sub"]);
}

#[test]
fn nt_ren_17_another_files_name_in_another_case_exists() {
    let world = World::new();
    drop(world.directory("d"));
    world.put("d\\one", b"1");
    world.put("d\\Two", b"2");
    let file = world.to_delete("d\\one");
    assert_eq!(file.rename("TWO", false), COLLISION);
    assert_eq!(file.rename("TWO", true), NtStatus::SUCCESS);
    drop(file);
    assert_eq!(world.directory("d").names(Some("*")), [".", "..", "TWO"]);
    world.put("d\\one", b"1");
    let strict = world.strict("d\\one", DELETE, 1).expect("by case");
    assert_eq!(strict.rename("two", false), NtStatus::SUCCESS, "a caller that minds case has two names");
    drop(strict);
    assert_eq!(world.directory("d").names(Some("*")), [".", "..", "TWO", "two"]);
}

#[test]
fn nt_ren_18_a_name_relative_to_a_directory_handle() {
    let world = World::new();
    drop(world.directory("to"));
    world.put("f", b"x");
    let root = world.open_file("to", SYNCHRONIZE, SYNC | DIR);
    let file = world.to_delete("f");
    assert_eq!(file.set(class::RENAME, &name_information(0, root.handle, "g")), NtStatus::SUCCESS);
    assert_eq!((file.name(), world.get("to\\g")), ("\\to\\g".to_owned(), Some(b"x".to_vec())));
}

#[test]
fn nt_ren_19_simple_and_full_names() {
    let world = World::new();
    drop((world.directory("a"), world.directory("b")));
    world.put("a\\f", b"x");
    let file = world.to_delete("a\\f");
    assert_eq!(file.rename("g", false), NtStatus::SUCCESS);
    assert_eq!(file.name(), "\\a\\g", "in its own directory");
    assert_eq!(file.rename(&full("b\\h"), false), NtStatus::SUCCESS);
    assert_eq!((file.name(), world.absent("a\\g")), ("\\b\\h".to_owned(), GONE));
    let other = nt_memfs::mount(&world.kernel, 2, None).expect("a second volume");
    assert_eq!(file.rename(&format!("{}\\x", other.link), false), NtStatus::NOT_SAME_DEVICE);
    assert_eq!(file.rename(&full("none\\x"), false), NtStatus::OBJECT_PATH_NOT_FOUND);
}

#[test]
fn nt_ren_20_a_simple_name_holds_no_backslash() {
    let world = World::new();
    drop(world.directory("d"));
    world.put("f", b"");
    let file = world.to_delete("f");
    assert_eq!(file.rename("d\\f", false), NtStatus::OBJECT_NAME_INVALID);
    let root = world.directory("d");
    let rooted = name_information(0, root.handle, "\\f");
    assert_eq!(file.set(class::RENAME, &rooted), NtStatus::OBJECT_NAME_INVALID);
}

#[test]
fn nt_ren_21_the_targets_directory_is_opened_and_may_refuse() {
    let world = World::new();
    drop(world.directory("d"));
    world.put("f", b"");
    let file = world.to_delete("f");
    let held = world.shared_directory("d", 1, 1);
    assert_eq!(file.rename(&full("d\\f"), false), NtStatus::SHARING_VIOLATION, "it may not add a file there");
    assert_eq!(world.absent("f"), None);
    drop(held);
    assert_eq!(file.rename(&full("f\\x"), false), NtStatus::OBJECT_PATH_NOT_FOUND);
    assert_eq!(file.rename(&full("d\\f"), false), NtStatus::SUCCESS);
}

#[test]
fn nt_ren_22_that_open_is_a_create_that_filters_see() {
    let world = World::new();
    drop(world.directory("d"));
    world.put("f", b"");
    world.put("d\\there", b"");
    let recorder = device::over_the_volume(&world);
    let file = world.to_delete("f");
    let creates = || recorder.of(IRP_MJ_CREATE).len();
    let before = creates();
    assert_eq!(file.rename("simple", false), NtStatus::SUCCESS);
    assert_eq!(creates(), before, "none for a simple rename");
    assert_eq!(file.rename(&full("d\\there"), false), COLLISION);
    let seen = recorder.of(IRP_MJ_CREATE);
    let last = seen.last().expect("a create");
    assert_eq!((seen.len(), last.stack_flags & SL_OPEN_TARGET_DIRECTORY), (before + 1, SL_OPEN_TARGET_DIRECTORY));
    assert_eq!((last.name_after.as_deref(), last.information_after), (Some("there"), 4), "FILE_EXISTS");
    assert_eq!(file.rename(&full("d\\free"), false), NtStatus::SUCCESS);
    let last = recorder.of(IRP_MJ_CREATE).pop().expect("a create");
    assert_eq!((last.name_after.as_deref(), last.information_after), (Some("free"), 5), "FILE_DOES_NOT_EXIST");
}

#[test]
fn nt_ren_23_a_directory_with_something_open_beneath_stays() {
    let world = World::new();
    world.fill("d", &[]);
    world.fill("d\\sub", &["f"]);
    let dir = world.to_delete("d");
    let rights = [("d\\sub\\f", GENERIC_READ, 0), ("d\\sub", 0x80, 0), ("d\\sub\\f", DELETE, DELETE_ON_CLOSE)];
    for (name, access, options) in rights {
        let held = world.open_file(name, access | SYNCHRONIZE, SYNC | options);
        assert_eq!(dir.rename("e", false), DENIED, "{name} {access:#x}");
        drop(held);
    }
    let posix = world.strict("d\\sub", 0x80, 1).expect("as a POSIX program");
    assert_eq!(dir.rename("e", false), NtStatus::SUCCESS, "one that minds case does not hinder (DIS-FS-03)");
    assert_eq!(posix.name(), "\\e\\sub", "and follows");
    let held = world.open_file("e\\sub", 0x80 | SYNCHRONIZE, SYNC);
    assert_eq!(dir.rename("g", false), DENIED, "counted where it stands now");
    drop(held);
    assert_eq!(dir.rename("g", false), NtStatus::SUCCESS);
}

#[test]
fn nt_ren_25_the_root_is_not_renamed() {
    let world = World::new();
    let root = world.open_file("", DELETE | SYNCHRONIZE, SYNC | DIR);
    assert_eq!(root.rename("x", false), NtStatus::INVALID_PARAMETER);
}

#[test]
fn nt_ren_26_a_directory_does_not_move_under_itself() {
    let world = World::new();
    drop((world.directory("d"), world.directory("d\\sub")));
    let dir = world.to_delete("d");
    let shared = NtStatus::SHARING_VIOLATION; // the open of the target's directory meets the renaming handle itself
    for (target, status) in [("d\\x", shared), ("d\\sub\\x", DENIED)] {
        assert_eq!(dir.rename(&full(target), false), status, "{target}");
    }
    let strict = world.strict("d", DELETE, 1).expect("as a POSIX program");
    assert_eq!(strict.rename(&full("d\\sub\\x"), false), DENIED);
    assert_eq!(world.absent("d\\sub"), None);
}

#[test]
fn nt_ren_27_opens_that_share_delete_do_not_hinder() {
    let world = World::new();
    world.put("f", b"x");
    let _reader = world.shared("f", GENERIC_READ, SHARE_ALL).expect("open");
    let _looker = world.shared("f", 0x80, 0).expect("open");
    let file = world.to_delete("f");
    assert_eq!(file.rename("g", false), NtStatus::SUCCESS);
    let keeper = world.shared("k", GENERIC_READ, 3).expect("open");
    assert_eq!(world.try_open("k", DELETE, 0, 1).err(), Some(NtStatus::SHARING_VIOLATION));
    drop(keeper);
}

#[test]
fn nt_ren_28_a_deleted_source_is_not_renamed() {
    let world = World::new();
    world.put("f", b"x");
    let (one, two) = (world.to_delete("f"), world.to_delete("f"));
    assert_eq!(one.dispose(true), NtStatus::SUCCESS);
    assert_eq!(two.rename("g", false), DENIED, "pending");
    assert_eq!(one.dispose_ex(3), NtStatus::SUCCESS);
    drop(one);
    assert_eq!(two.rename("g", false), DENIED, "gone");
    assert_eq!((world.absent("f"), world.absent("g")), (GONE, GONE));
}

#[test]
fn nt_ren_29_an_illegal_target_name_is_refused() {
    let world = World::new();
    world.put("f", b"");
    let file = world.to_delete("f");
    let long = "x".repeat(256);
    for bad in ["a*b", "a?b", "a<b", "a>b", "a|b", "a\"b", "a/b", "a\u{1}b", ".", "..", &long] {
        assert_eq!(file.rename(bad, false), NtStatus::OBJECT_NAME_INVALID, "{bad:?}");
        if bad.len() < 10 && !bad.starts_with('.') {
            assert_eq!(file.rename(&full(bad), false), NtStatus::OBJECT_NAME_INVALID, "{bad:?}");
        }
    }
}

#[test]
fn nt_ren_30_a_link_is_replaced_or_moved_itself() {
    let world = World::new();
    world.put("file", b"target");
    world.put("link", b"");
    let link = world.file("link", GENERIC_WRITE | SYNCHRONIZE, SYNC);
    assert_eq!(link.control(0x9_00A4, &lx_symlink_data("file"), 0).0, NtStatus::SUCCESS);
    drop(link);
    let moved = world.open_file("link", DELETE | 0x80 | SYNCHRONIZE, SYNC | OPEN_REPARSE);
    assert_eq!(moved.rename("moved", false), NtStatus::SUCCESS);
    assert_eq!(word(&moved.query(class::ATTRIBUTE_TAG, 8), 4), 0xA000_001D, "as it is");
    drop(moved);
    world.put("new", b"new");
    assert_eq!(world.to_delete("new").rename("moved", true), NtStatus::SUCCESS);
    assert_eq!((world.get("moved"), world.get("file")), (Some(b"new".to_vec()), Some(b"target".to_vec())));
}

#[test]
fn nt_ren_31_which_times_a_rename_moves() {
    let world = World::new();
    drop((world.directory("from"), world.directory("to")));
    world.put("from\\f", b"x");
    world.attributes("from\\f", 0x80);
    let file = world.to_delete("from\\f");
    let ([from, to], before) = (["from", "to"].map(|name| world.directory(name).basic().0), file.basic());
    world.pause();
    assert_eq!(file.rename(&full("to\\f"), false), NtStatus::SUCCESS);
    let (after, attributes) = file.basic();
    assert_eq!(after[..3], before.0[..3], "created, accessed, written");
    assert!(after[3] > before.0[3], "changed");
    if !on_dir() {
        assert_eq!((before.1 & 0x20, attributes & 0x20), (0, 0x20), "ARCHIVE");
    }
    for (name, was) in [("from", from), ("to", to)] {
        let now = world.directory(name).basic().0;
        assert!(now[2] > was[2] && now[3] > was[3], "{name}");
    }
}

#[test]
fn nt_ren_33_a_leading_dot_hides_nothing() {
    let world = World::new();
    world.put("foo", b"x");
    let file = world.to_delete("foo");
    world.attributes("foo", 0x20);
    let before = file.basic().1;
    for name in [".foo", "foo"] {
        assert_eq!(file.rename(name, false), NtStatus::SUCCESS);
        assert_eq!(file.basic().1, before, "{name}");
    }
}

#[test]
fn nt_ren_35_reserve_and_pin_flags_are_ignored_and_others_refused() {
    let world = World::new();
    world.put("f", b"x");
    let file = world.to_delete("f");
    for (round, flags) in [4, 8, 0x10, 0x20, 0x30, 0x80, 0x100].into_iter().enumerate() {
        assert_eq!(file.rename_ex(&format!("f{round}"), flags), NtStatus::SUCCESS, "{flags:#x}");
    }
    for flags in [0x200, 0x8000_0000] {
        assert_eq!(file.rename_ex("g", flags), NtStatus::INVALID_PARAMETER, "{flags:#x}");
    }
}

#[test]
fn nt_ren_36_the_older_class_reads_one_byte() {
    let world = World::new();
    world.put("f", b"x");
    world.put("g", b"y");
    let file = world.to_delete("f");
    let info = |flags: u32| name_information(flags, Handle::NULL, "g");
    assert_eq!(file.set(class::RENAME, &info(0xFFFF_FF00)), COLLISION);
    assert_eq!(file.set(class::RENAME, &info(0xFFFF_FF02)), NtStatus::SUCCESS, "any Boolean that is not 0");
}

#[test]
fn nt_ren_38_a_failure_leaves_the_status_block() {
    let world = World::new();
    world.put("g", b"");
    for options in [SYNC, 0] {
        let file = world.file("f", DELETE | SYNCHRONIZE, options);
        let done = file.try_set(class::RENAME, &name_information(0, Handle::NULL, "g"));
        assert_eq!(done, (COLLISION, Iosb::Untouched));
    }
}
