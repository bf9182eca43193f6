//! Delete in all its forms: nt-fs.md section 5, rules NT-DEL.
mod device;
mod support;

use nt_abi::NtStatus;
use nt_abi::io::{FILE_OBJECT, IRP_MJ_CLEANUP};
use nt_io::create::{self, CreateSpec};
use nt_io::info::class;
use support::names::*;
use support::*;

const GONE: Option<NtStatus> = Some(NtStatus::OBJECT_NAME_NOT_FOUND);
const PENDING: Option<NtStatus> = Some(NtStatus::DELETE_PENDING);
const CANNOT: NtStatus = NtStatus::CANNOT_DELETE;
const OK: NtStatus = NtStatus::SUCCESS;

#[test]
fn nt_del_01_the_first_byte_says_it() {
    let world = World::new();
    world.put("f", b"");
    let file = world.to_delete("f");
    assert_eq!(file.try_set(class::DISPOSITION, &[]), (NtStatus::INFO_LENGTH_MISMATCH, Iosb::Untouched));
    assert_eq!(file.set(class::DISPOSITION, &0x100_u32.to_le_bytes()), OK);
    assert!(!file.links().1, "do not delete");
    assert_eq!(file.set(class::DISPOSITION, &[1, 0xFF, 0xFF, 0xFF, 7]), OK);
    assert!(file.links().1);
}

#[test]
fn nt_del_02_both_values_need_delete_access() {
    let world = World::new();
    let file = world.sync_file("f");
    assert_eq!((file.dispose(true), file.dispose(false)), (NtStatus::ACCESS_DENIED, NtStatus::ACCESS_DENIED));
    assert_eq!(file.dispose_ex(1), NtStatus::ACCESS_DENIED);
    assert_eq!(world.to_delete("f").try_query(class::DISPOSITION, 8).0, NtStatus::INVALID_INFO_CLASS);
}

#[test]
fn nt_del_03_the_name_goes_with_its_last_open() {
    let world = World::new();
    world.put("f", b"x");
    let (file, other) = (world.to_delete("f"), world.sync_file("f"));
    assert_eq!(file.dispose(true), OK);
    assert_eq!((file.links(), other.links()), ((0, true), (0, true)), "on every open at once");
    drop(file);
    assert_eq!(world.absent("f"), PENDING, "the other open keeps it");
    drop(other);
    assert_eq!(world.absent("f"), GONE);
}

#[test]
fn nt_del_04_no_open_succeeds_while_it_is_pending() {
    let world = World::new();
    world.put("f", b"x");
    let narrow = world.shared("f", DELETE | GENERIC_READ, 0).expect("open");
    assert_eq!(narrow.dispose(true), OK);
    for access in [0x80, GENERIC_READ, GENERIC_WRITE, DELETE] {
        for disposition in [1, 2, 3, 4, 5, 0] {
            let status = world.try_open("f", access | SYNCHRONIZE, SYNC, disposition).err();
            assert_eq!(status, PENDING, "{access:#x} {disposition}: also in place of a sharing violation");
        }
    }
}

#[test]
fn nt_del_05_any_open_may_undo_it() {
    let world = World::new();
    world.put("f", b"x");
    let (file, other) = (world.to_delete("f"), world.to_delete("f"));
    assert_eq!((file.dispose(true), other.dispose(false)), (OK, OK));
    assert!(!file.links().1);
    assert_eq!(file.dispose(true), OK);
    drop(file);
    assert!(other.links().1, "its setter's close keeps it pending");
    assert_eq!(other.dispose(false), OK);
    drop(other);
    assert_eq!(world.absent("f"), None);
}

#[test]
fn nt_del_06_a_read_only_file_cannot_be_deleted() {
    let world = World::new();
    let spec = CreateSpec {
        access: DELETE | SYNCHRONIZE,
        name: full("new").encode_utf16().collect(),
        options: SYNC,
        disposition: 2,
        file_attributes: 1,
        ..CreateSpec::default()
    };
    let new = world.adopt(create::nt_create_file(&world.frame(), &spec).expect("a read-only file").0);
    assert_eq!((new.dispose(true), new.dispose(false)), (CANNOT, OK), "also by the handle that made it so");
    world.put("old", b"");
    world.attributes("old", 1);
    let old = world.to_delete("old");
    assert_eq!((old.dispose(true), old.dispose_ex(1), old.dispose_ex(3)), (CANNOT, CANNOT, CANNOT));
}

#[test]
fn nt_del_07_unless_read_only_is_to_be_ignored() {
    let world = World::new();
    world.put("f", b"");
    world.attributes("f", 1);
    assert_eq!(world.to_delete("f").dispose_ex(0x11), OK);
    assert_eq!(world.absent("f"), GONE);
}

#[test]
fn nt_del_08_a_filled_directory_stays() {
    let world = World::new();
    world.fill("d", &["x"]);
    let dir = world.to_delete("d");
    assert_eq!((dir.dispose(true), dir.dispose_ex(3)), (NtStatus::DIRECTORY_NOT_EMPTY, NtStatus::DIRECTORY_NOT_EMPTY));
    world.attributes("d", 1);
    assert_eq!(dir.dispose(true), CANNOT, "read-only is looked at first");
    world.attributes("d", 0x80);
    drop(dir);
    assert_eq!(world.to_delete("d\\x").dispose(true), OK);
    assert_eq!(world.to_delete("d").dispose(true), OK);
    assert_eq!(world.absent("d"), GONE);
}

#[test]
fn nt_del_09_a_read_only_directory_is_filled_and_emptied_but_stays() {
    let world = World::new();
    drop(world.directory("d"));
    world.attributes("d", 1);
    world.put("d\\x", b"x");
    assert_eq!(world.to_delete("d\\x").dispose(true), OK);
    assert_eq!(world.to_delete("d").dispose(true), CANNOT);
    assert_eq!(world.absent("d"), None);
}

#[test]
fn nt_del_13_a_posix_mark_acts_at_its_setters_close() {
    let world = World::new();
    world.fill("d", &["f"]);
    let (setter, other) = (world.to_delete("d\\f"), world.sync_file("d\\f"));
    assert_eq!(setter.dispose_ex(3), OK);
    assert_eq!(world.directory("d").names(Some("f")), ["f"], "still told");
    assert_eq!(world.absent("d\\f"), PENDING);
    drop(setter);
    assert_eq!(world.directory("d").names(Some("f")), [""; 0]);
    assert_eq!(world.absent("d\\f"), GONE, "although another has it open");
    assert_eq!(other.write(b"alive", Some(0)), success(5));
}

#[test]
fn nt_del_14_a_posix_mark_can_be_taken_back() {
    let world = World::new();
    world.put("f", b"x");
    let file = world.to_delete("f");
    assert_eq!((file.dispose_ex(3), file.dispose_ex(0)), (OK, OK));
    drop(file);
    assert_eq!(world.absent("f"), None);
}

#[test]
fn nt_del_15_an_open_without_a_name_lives_on() {
    let world = World::new();
    world.put("f", b"data");
    let setter = world.to_delete("f");
    let other = world.open_file("f", DELETE | GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC);
    assert_eq!(setter.dispose_ex(3), OK);
    drop(setter);
    assert_eq!((other.dispose(true), other.dispose(false)), (NtStatus::FILE_DELETED, NtStatus::FILE_DELETED));
    assert_eq!(other.dispose_ex(0), NtStatus::FILE_DELETED);
    assert_eq!(other.rename("g", false), NtStatus::ACCESS_DENIED);
    assert_eq!((other.write(b"DATA", Some(0)), other.read(4, Some(0)).1), (success(4), b"DATA".to_vec()));
    assert_eq!(other.links(), (0, true));
}

#[test]
fn nt_del_16_the_freed_name_can_be_made_anew() {
    let world = World::new();
    world.put("f", b"old");
    let (setter, old) = (world.to_delete("f"), world.sync_file("f"));
    assert_eq!(setter.dispose_ex(3), OK);
    drop(setter);
    let new = world.sync_file("f");
    assert_eq!(new.write(b"newer", Some(0)), success(5));
    assert_eq!((old.read(3, Some(0)).1, new.read(5, Some(0)).1), (b"old".to_vec(), b"newer".to_vec()));
    assert_ne!(old.id(), new.id());
    assert_eq!((old.links(), new.links()), ((0, true), (1, false)));
    drop(old);
    assert_eq!(world.get("f"), Some(b"newer".to_vec()), "the old one's end does not touch it");
}

#[test]
fn nt_del_17_a_directory_goes_under_its_opens() {
    let world = World::new();
    world.fill("full", &["x"]);
    drop(world.directory("d"));
    assert_eq!(world.to_delete("full").dispose_ex(3), NtStatus::DIRECTORY_NOT_EMPTY);
    let held = world.directory("d");
    assert_eq!(world.to_delete("d").dispose_ex(3), OK);
    assert_eq!(world.absent("d"), GONE);
    assert!(held.links().1);
    let inside = CreateSpec {
        access: GENERIC_WRITE | SYNCHRONIZE,
        root: held.handle,
        name: "x".encode_utf16().collect(),
        options: SYNC,
        disposition: 2,
        ..CreateSpec::default()
    };
    let made = create::nt_create_file(&world.frame(), &inside).map(|_| ()).map_err(NtStatus::from);
    assert_eq!(made, Err(NtStatus::DELETE_PENDING), "nothing is made in it any more");
}

#[test]
fn nt_del_18_delete_on_close_can_be_taken_off() {
    let world = World::new();
    let file = world.file("f", DELETE | SYNCHRONIZE, SYNC | DELETE_ON_CLOSE);
    assert_eq!(file.dispose_ex(8), OK);
    drop(file);
    assert_eq!(world.absent("f"), None);
}

#[test]
fn nt_del_19_but_not_put_on() {
    let world = World::new();
    world.put("f", b"");
    let file = world.to_delete("f");
    assert_eq!((file.dispose_ex(9), file.dispose_ex(8)), (NtStatus::NOT_SUPPORTED, NtStatus::NOT_SUPPORTED));
    let marked = world.file("g", DELETE | SYNCHRONIZE, SYNC | DELETE_ON_CLOSE);
    assert_eq!((marked.dispose_ex(8), marked.dispose_ex(9)), (OK, OK), "back on where it had been");
    drop(marked);
    assert_eq!(world.absent("g"), GONE);
}

#[test]
fn nt_del_20_no_flag_is_false_and_unknown_ones_are_refused() {
    let world = World::new();
    world.put("f", b"");
    let file = world.to_delete("f");
    assert_eq!((file.dispose(true), file.dispose_ex(0)), (OK, OK));
    assert!(!file.links().1);
    for flags in [0x20, 0x21, 0x8000_0000] {
        assert_eq!(file.dispose_ex(flags), NtStatus::INVALID_PARAMETER, "{flags:#x}");
    }
}

#[test]
fn nt_del_21_delete_on_close_needs_delete_access() {
    let world = World::new();
    let open = |access: u32| world.try_open("f", access | SYNCHRONIZE, SYNC | DELETE_ON_CLOSE, 3).err();
    assert_eq!(open(GENERIC_READ | GENERIC_WRITE), Some(NtStatus::INVALID_PARAMETER));
    assert_eq!(world.absent("f"), GONE, "nothing was made");
    let (handle, _) = world.try_open("f", DELETE | SYNCHRONIZE, SYNC | DELETE_ON_CLOSE, 3).expect("with DELETE");
    drop(world.adopt(handle));
}

#[test]
fn nt_del_22_delete_on_close_of_a_read_only_file() {
    let world = World::new();
    world.put("f", b"");
    world.attributes("f", 1);
    let open = |options: u32| world.try_open("f", DELETE | SYNCHRONIZE, SYNC | options, 1);
    assert_eq!(open(DELETE_ON_CLOSE).err(), Some(CANNOT));
    drop(world.adopt(open(0).expect("plain DELETE").0));
    let spec = CreateSpec {
        access: DELETE | SYNCHRONIZE,
        name: full("new").encode_utf16().collect(),
        options: SYNC | DELETE_ON_CLOSE,
        disposition: 2,
        file_attributes: 1,
        ..CreateSpec::default()
    };
    let made = create::nt_create_file(&world.frame(), &spec).map(|_| ()).map_err(NtStatus::from);
    assert_eq!((made, world.absent("new")), (Err(CANNOT), GONE));
}

#[test]
fn nt_del_23_delete_on_close_is_not_pending_yet() {
    let world = World::new();
    let file = world.file("f", DELETE | SYNCHRONIZE, SYNC | DELETE_ON_CLOSE);
    assert!(!file.links().1);
    assert_eq!(world.absent("f"), None, "attributes by name");
    drop(world.shared("f", GENERIC_READ, 7).expect("with share-delete"));
    assert_eq!(world.shared("f", GENERIC_READ, 3).err(), Some(NtStatus::SHARING_VIOLATION));
}

#[test]
fn nt_del_24_it_is_pending_from_the_close_to_the_last_close() {
    let world = World::new();
    let file = world.file("f", DELETE | SYNCHRONIZE, SYNC | DELETE_ON_CLOSE);
    let other = world.shared("f", GENERIC_READ, 7).expect("open");
    drop(file);
    assert_eq!((world.absent("f"), other.links()), (PENDING, (0, true)));
    drop(other);
    assert_eq!(world.absent("f"), GONE);
}

#[test]
fn nt_del_25_the_older_class_does_not_undo_it() {
    let world = World::new();
    let file = world.file("f", DELETE | SYNCHRONIZE, SYNC | DELETE_ON_CLOSE);
    let other = world.shared("f", DELETE, 7).expect("open");
    assert_eq!((file.dispose(false), other.dispose(false)), (OK, OK));
    drop((file, other));
    assert_eq!(world.absent("f"), GONE);
}

#[test]
fn nt_del_26_a_filled_directory_survives_delete_on_close() {
    let world = World::new();
    world.fill("d", &["x"]);
    let dir = world.open_file("d", DELETE | SYNCHRONIZE, SYNC | DIR | DELETE_ON_CLOSE);
    drop(dir);
    assert_eq!((world.absent("d"), world.absent("d\\x")), (None, None));
    let filled_later = world.file("e", DELETE | SYNCHRONIZE, SYNC | DIR | DELETE_ON_CLOSE);
    world.put("e\\x", b"");
    drop(filled_later);
    assert_eq!(world.absent("e\\x"), None);
}

#[test]
fn nt_del_28_nt_delete_file_opens_and_closes() {
    let world = World::new();
    world.fill("full", &["x"]);
    drop(world.directory("empty"));
    world.put("f", b"x");
    let delete = |name: &str| {
        let name: Vec<u16> = full(name).encode_utf16().collect();
        create::nt_delete_file(&world.frame(), nt_ob::Handle::NULL, &name, 0x40)
    };
    assert_eq!((delete("f"), delete("empty"), delete("full")), (OK, OK, OK));
    assert_eq!((world.absent("f"), world.absent("empty"), world.absent("full\\x")), (GONE, GONE, None));
    assert_eq!(delete("none"), NtStatus::OBJECT_NAME_NOT_FOUND);
    world.put("r", b"");
    world.attributes("r", 1);
    assert_eq!(delete("r"), CANNOT);
}

#[test]
fn nt_del_30_the_mark_is_on_one_name() {
    let world = World::new();
    world.put("one", b"data");
    let file = world.sync_file("one");
    assert_eq!(file.link("two", false), OK);
    let two = world.to_delete("two");
    assert_eq!(two.dispose(true), OK);
    assert_eq!((file.links(), two.links()), ((1, false), (1, true)));
    assert_eq!((world.absent("one"), world.absent("two")), (None, PENDING));
    drop(two);
    assert_eq!((world.absent("two"), world.get("one")), (GONE, Some(b"data".to_vec())));
    assert_eq!(file.links(), (1, false));
}

#[test]
fn nt_del_33_nothing_is_made_in_a_directory_that_goes() {
    let world = World::new();
    let dir = world.file("d", DELETE | SYNCHRONIZE, SYNC | DIR);
    assert_eq!(dir.dispose(true), OK);
    assert_eq!(world.try_open("d\\x", GENERIC_WRITE | SYNCHRONIZE, SYNC, 2).err(), PENDING);
    assert_eq!(dir.dispose(false), OK);
    drop(world.sync_file("d\\x"));
}

#[test]
fn nt_del_35_a_cleanup_tells_what_went() {
    let world = World::new();
    let recorder = device::over_the_volume(&world);
    let last = || recorder.of(IRP_MJ_CLEANUP).last().map(|seen| seen.information_after);
    drop(world.sync_file("f"));
    assert_eq!(last(), Some(2), "FILE_REMAINS");
    let file = world.sync_file("f");
    assert_eq!(file.link("g", false), OK);
    drop(file);
    let two = world.to_delete("g");
    assert_eq!(two.dispose(true), OK);
    drop(two);
    assert_eq!(last(), Some(8), "LINK_DELETED");
    let one = world.to_delete("f");
    assert_eq!(one.dispose(true), OK);
    drop(one);
    assert_eq!(last(), Some(4), "FILE_DELETED");
    drop(world.sync_file("p"));
    let held = world.sync_file("p");
    let posix = world.to_delete("p");
    assert_eq!(posix.dispose_ex(3), OK);
    drop(posix);
    assert_eq!(last(), Some(0x24), "POSIX_STYLE_DELETE");
    drop(held);
    assert_eq!(last(), Some(2));
    let flags = world.volume(GENERIC_READ).query_volume(5, 64).expect("attributes");
    assert_eq!(support::directory::word(&flags, 0) & 0x200, 0x200, "RETURNS_CLEANUP_RESULT_INFO");
}

#[test]
fn nt_del_36_the_file_object_shows_it() {
    let world = World::new();
    world.put("f", b"");
    let file = world.open_file("f", DELETE | 0x180 | SYNCHRONIZE, SYNC);
    let pending = || device::file_object(&world, file.handle).get(FILE_OBJECT::DeletePending);
    assert_eq!((pending(), file.dispose(true), pending()), (0, OK, 1));
    assert_eq!((file.dispose_ex(0), pending(), file.dispose_ex(3), pending()), (OK, 0, OK, 1));
    file.set_attributes(1);
    assert_eq!((file.dispose(false), file.dispose(true), pending()), (OK, CANNOT, 0), "not by a set that failed");
}

#[test]
fn nt_del_37_the_root_stays() {
    let world = World::new();
    let root = world.open_file("", DELETE | SYNCHRONIZE, SYNC | DIR);
    assert_eq!((root.dispose(true), root.dispose_ex(3), root.dispose(false)), (CANNOT, CANNOT, OK));
}
