//! Security as a mounted program meets it: docs/posix-door.md, Security; rules NT-SEC that a Linux program can see.
//!
//! These tests fail where /dev/fuse is absent; NTIO_NO_FUSE=1 says that it is known to be.

mod support;

use nt_machine::CreateSpec;
use nt_machine::security::{Ace, Acl, Descriptor, Sid};
use std::fs::{self, File, OpenOptions};
use std::io::{Error, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use support::Mount;

const OWNER_GROUP_DACL: u32 = 7;
const DACL: u32 = 4;
const ALL: u32 = 0x1F_01FF;
const WRITE_DATA: u32 = 2;
const APPEND_DATA: u32 = 4;
const DELETE_CHILD: u32 = 0x40;
const DELETE: u32 = 0x1_0000;
/// What the door needs to tell of a name, READ_ATTRIBUTES, and SYNCHRONIZE, which each of its opens asks for.
const SHOWN: u32 = 0x10_0080;
const EACCES: Option<i32> = Some(13);

fn spec(name: &str) -> CreateSpec {
    // READ_CONTROL, WRITE_DAC and SYNCHRONIZE of what is there, whatever it is.
    let name = format!("\\??\\C:\\{name}").encode_utf16().collect();
    CreateSpec { access: 0x16_0000, name, options: 0x20_0020, ..CreateSpec::default() }
}

/// A native program gives a file a DACL by which everybody has `mask`.
fn guard(mount: &Mount, name: &str, mask: u32) {
    let native = mount.native();
    let (handle, _) = native.create(&spec(name)).expect("opened");
    let new = Descriptor::new(Sid::ADMINISTRATORS, Sid::SYSTEM, Acl::new(vec![Ace::allow(mask, &Sid::EVERYONE)]));
    native.set_security(handle, DACL | 0x8000_0000, &new.bytes()).expect("set");
    native.close(handle).expect("closed");
}

fn descriptor(mount: &Mount, name: &str) -> Descriptor {
    let native = mount.native();
    let (handle, _) = native.create(&spec(name)).expect("opened");
    let bytes = native.query_security(handle, OWNER_GROUP_DACL).expect("queried");
    native.close(handle).expect("closed");
    Descriptor::parse(&bytes).expect("a descriptor")
}

fn refused<T>(result: Result<T, Error>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn nt_sec_06_an_open_file_goes_on_as_it_was_opened() {
    let Some(mount) = Mount::new() else { return };
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(mount.at("f")).expect("create");
    file.write_all(b"before").expect("write");
    guard(&mount, "f", SHOWN);
    assert_eq!(refused(File::open(mount.at("f"))), EACCES, "although its mode allows it");
    file.write_all(b" and behind").expect("the handle has what it was granted");
    let mut bytes = [0; 17];
    file.read_exact_at(&mut bytes, 0).expect("read");
    assert_eq!(&bytes, b"before and behind");
    guard(&mount, "f", ALL);
    let mut text = String::new();
    File::open(mount.at("f")).expect("open again").read_to_string(&mut text).expect("read");
    assert_eq!(text, "before and behind");
}

#[test]
fn nt_sec_07_chmod_and_a_native_descriptor_move_the_time_of_change_and_no_other() {
    let Some(mount) = Mount::new() else { return };
    fs::write(mount.at("f"), b"x").expect("write");
    let seen = || {
        let meta = fs::metadata(mount.at("f")).expect("stat");
        ((meta.ctime(), meta.ctime_nsec()), (meta.mtime(), meta.mtime_nsec()))
    };
    let start = seen();
    std::thread::sleep(std::time::Duration::from_millis(5));
    fs::set_permissions(mount.at("f"), fs::Permissions::from_mode(0o600)).expect("chmod");
    let changed = seen();
    assert!(changed.0 > start.0, "chmod");
    std::thread::sleep(std::time::Duration::from_millis(5));
    guard(&mount, "f", ALL & !WRITE_DATA);
    let guarded = seen();
    assert!(guarded.0 > changed.0, "a descriptor");
    assert_eq!((changed.1, guarded.1), (start.1, start.1), "written when it was");
}

#[test]
fn nt_sec_11_what_a_descriptor_does_not_grant_is_eacces() {
    let Some(mount) = Mount::new() else { return };
    for name in ["reads", "writes"] {
        fs::write(mount.at(name), name).expect("write");
        fs::set_permissions(mount.at(name), fs::Permissions::from_mode(0o666)).expect("chmod");
    }
    guard(&mount, "reads", ALL & !(WRITE_DATA | APPEND_DATA));
    guard(&mount, "writes", ALL & !1);
    let (read, write) =
        (|name: &str| File::open(mount.at(name)), |name: &str| OpenOptions::new().write(true).open(mount.at(name)));
    assert_eq!((refused(read("reads")), refused(write("reads"))), (None, EACCES));
    assert_eq!((refused(read("writes")), refused(write("writes"))), (EACCES, None));
    assert_eq!(fs::read_to_string(mount.at("reads")).expect("read"), "reads");
    // A read-only file, as Windows has it.
    fs::write(mount.at("readonly"), b"x").expect("write");
    let native = mount.native();
    let attributes = CreateSpec { access: 0x10_0100, ..spec("readonly") };
    let (handle, _) = native.create(&attributes).expect("opened");
    let mut basic = [0; 40];
    basic[32] = 1;
    native.set_information(handle, 4, &basic).expect("set");
    native.close(handle).expect("closed");
    assert_eq!((refused(read("readonly")), refused(write("readonly"))), (None, EACCES));
}

#[test]
fn nt_sec_12_who_may_delete_in_a_directory_deletes_files_that_let_nobody_in() {
    let Some(mount) = Mount::new() else { return };
    fs::create_dir(mount.at("d")).expect("mkdir");
    for name in ["d/f", "d/g"] {
        fs::write(mount.at(name), b"x").expect("write");
    }
    guard(&mount, "d\\f", SHOWN);
    guard(&mount, "d\\g", SHOWN);
    assert_eq!(refused(File::open(mount.at("d/f"))), EACCES);
    fs::remove_file(mount.at("d/f")).expect("the directory grants it");
    guard(&mount, "d", ALL & !DELETE_CHILD);
    // unlink(2) says EACCES or EPERM of what may not be removed; the file stays.
    assert!(fs::remove_file(mount.at("d/g")).is_err());
    assert!(fs::metadata(mount.at("d/g")).is_ok());
    guard(&mount, "d\\g", SHOWN | DELETE);
    fs::remove_file(mount.at("d/g")).expect("the file grants it");
}

#[test]
fn nt_del_27_unlink_and_rmdir_want_delete_of_the_file_or_delete_child_of_its_directory() {
    let Some(mount) = Mount::new() else { return };
    for (number, (of_directory, own, may)) in [
        (ALL & !DELETE_CHILD, ALL & !DELETE, false),
        (ALL & !DELETE_CHILD, SHOWN | DELETE, true),
        (ALL, ALL & !DELETE, true),
        (ALL, ALL, true),
    ]
    .into_iter()
    .enumerate()
    {
        let directory = format!("d{number}");
        fs::create_dir(mount.at(&directory)).expect("mkdir");
        fs::write(mount.at(&directory).join("f"), b"x").expect("write");
        fs::create_dir(mount.at(&directory).join("sub")).expect("mkdir");
        for name in ["f", "sub"] {
            guard(&mount, &format!("{directory}\\{name}"), own);
        }
        guard(&mount, &directory, of_directory);
        let removed =
            [fs::remove_file(mount.at(&directory).join("f")), fs::remove_dir(mount.at(&directory).join("sub"))];
        assert_eq!(removed.map(|result| result.is_ok()), [may; 2], "{of_directory:#x} {own:#x}");
        assert_eq!(fs::read_dir(mount.at(&directory)).expect("list").count(), if may { 0 } else { 2 });
    }
}

#[test]
fn nt_sec_14_names_are_made_where_the_directory_lets_them() {
    let Some(mount) = Mount::new() else { return };
    for (name, mask, file, directory) in
        [("files", ALL & !APPEND_DATA, None, EACCES), ("folders", ALL & !WRITE_DATA, EACCES, None)]
    {
        fs::create_dir(mount.at(name)).expect("mkdir");
        guard(&mount, name, mask);
        assert_eq!(refused(File::create(mount.at(name).join("f"))), file, "a file in {name}");
        assert_eq!(refused(fs::create_dir(mount.at(name).join("d"))), directory, "a directory in {name}");
    }
}

#[test]
fn nt_sec_20_mounted_programs_may_all_and_chmod_is_no_descriptor() {
    let Some(mount) = Mount::new() else { return };
    fs::create_dir(mount.at("d")).expect("mkdir");
    fs::write(mount.at("d/f"), b"x").expect("write");
    let before = (descriptor(&mount, "d"), descriptor(&mount, "d\\f"));
    for made in [&before.0, &before.1] {
        let aces = &made.dacl.as_ref().expect("a DACL").aces;
        assert_eq!((aces.len(), aces[0].mask(), aces[0].sid()), (1, ALL, Some(Sid::EVERYONE)));
    }
    fs::set_permissions(mount.at("d/f"), fs::Permissions::from_mode(0o400)).expect("chmod");
    std::os::unix::fs::chown(mount.at("d/f"), Some(12), Some(34)).expect("chown");
    assert_eq!(fs::metadata(mount.at("d/f")).expect("stat").mode() & 0o777, 0o400);
    assert_eq!((descriptor(&mount, "d"), descriptor(&mount, "d\\f")), before, "neither owner nor DACL follow");
    let report = mount.recorder.report();
    let count = |major: &str| report.requests.iter().filter(|row| row.major == major).map(|row| row.count).sum::<u64>();
    assert!(count("IRP_MJ_SET_EA") >= 2, "filters see extended attributes");
    assert_eq!(count("IRP_MJ_SET_SECURITY"), 0, "and no descriptor");
}

#[test]
fn nt_sec_04_a_new_dacl_shows_no_other_mode() {
    let Some(mount) = Mount::new() else { return };
    fs::write(mount.at("f"), b"x").expect("write");
    fs::set_permissions(mount.at("f"), fs::Permissions::from_mode(0o640)).expect("chmod");
    let owner = descriptor(&mount, "f").owner;
    guard(&mount, "f", ALL & !DELETE);
    assert_eq!(descriptor(&mount, "f").owner, owner, "the owner stays");
    assert_eq!(fs::metadata(mount.at("f")).expect("stat").mode(), 0o100_640);
}
