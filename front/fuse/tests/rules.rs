//! Rules of nt-fs.md that a Linux program can see, through the mount.
//!
//! These tests fail where /dev/fuse is absent; NTIO_NO_FUSE=1 says that it is known to be.

mod support;

use nt_abi::NtStatus;
use nt_abi::io::{IRP_MJ_SET_EA, IRP_MJ_SET_INFORMATION};
use nt_machine::{CreateSpec, ea, file};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, XattrFlags, makedev, mknodat, renameat_with, setxattr};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::sync::Arc;
use support::watcher::{Asked, Watcher};
use support::{Mount, until};

const RENAME_EX: u32 = 65;
const DISPOSITION_EX: u32 = 64;

fn watched() -> Option<(Mount, Arc<Watcher>)> {
    let watcher = Arc::new(Watcher::default());
    let filter = Arc::clone(&watcher);
    let mount = Mount::with(move |machine| {
        machine.add_filter(filter).expect("the filter registers");
    })?;
    Some((mount, watcher))
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.expect_err("refused").raw_os_error().expect("by the kernel")
}

#[test]
fn nt_ren_39_rename_is_the_newer_class_and_its_flags() {
    let Some((mount, watcher)) = watched() else { return };
    let rename = |from: &str, to: &str, flags| {
        renameat_with(CWD, mount.at(from), CWD, mount.at(to), flags).map_err(io::Error::from)
    };
    fs::write(mount.at("a"), "a").expect("create");
    fs::write(mount.at("b"), "b").expect("create");
    watcher.take();
    fs::rename(mount.at("a"), mount.at("b")).expect("rename over");
    assert_eq!(watcher.sets(), [(RENAME_EX, 1 | 2 | 0x40)]);
    assert_eq!(fs::read_to_string(mount.at("b")).expect("read"), "a");
    rename("b", "c", RenameFlags::NOREPLACE).expect("a free name");
    assert_eq!(watcher.sets(), [(RENAME_EX, 2)]);
    fs::write(mount.at("d"), "d").expect("create");
    watcher.take();
    assert_eq!(errno(rename("c", "d", RenameFlags::NOREPLACE)), libc::EEXIST);
    assert_eq!(errno(rename("c", "d", RenameFlags::EXCHANGE)), libc::EINVAL);
    assert_eq!(watcher.sets(), [], "no NT request is an exchange");
    assert_eq!(
        fs::read_to_string(mount.at("c")).expect("read") + &fs::read_to_string(mount.at("d")).expect("read"),
        "ad"
    );
}

#[test]
fn nt_del_38_unlink_and_rmdir_open_mark_and_close() {
    let Some((mount, watcher)) = watched() else { return };
    fs::write(mount.at("f"), "x").expect("create");
    fs::create_dir(mount.at("d")).expect("mkdir");
    let removal = |name: &str, kind: u32| {
        let asked = watcher.take();
        let opened = asked.iter().any(|asked| {
            matches!(asked, Asked::Create(there, access, options, 7) if *there == format!("\\{name}")
                && access & 0x1_0000 != 0 && *options == 0x0100_0000 | 0x20_0000 | 0x20 | kind)
        });
        assert!(opened, "{asked:?}");
        asked.into_iter().filter(|asked| matches!(asked, Asked::Set(..))).collect::<Vec<_>>()
    };
    for (status, expected) in [(NtStatus::ACCESS_DENIED, libc::EACCES), (NtStatus::CANNOT_DELETE, libc::EPERM)] {
        watcher.refuse(IRP_MJ_SET_INFORMATION, DISPOSITION_EX, status);
        assert_eq!(errno(fs::remove_file(mount.at("f"))), expected);
        assert_eq!(errno(fs::remove_dir(mount.at("d"))), expected);
        assert!(mount.at("f").exists() && mount.at("d").exists());
    }
    watcher.allow();
    watcher.take();
    fs::remove_file(mount.at("f")).expect("unlink");
    assert_eq!(removal("f", 0x40), [Asked::Set(DISPOSITION_EX, 0x13)]);
    fs::remove_dir(mount.at("d")).expect("rmdir");
    assert_eq!(removal("d", 1), [Asked::Set(DISPOSITION_EX, 0x13)]);
    assert!(!mount.at("f").exists() && !mount.at("d").exists());
}

/// The value of one attribute in what a filter saw.
fn value(list: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    ea::decode(list).into_iter().find(|(there, _)| there == name).map(|(_, value)| value)
}

fn stat_lx(mount: &Mount, name: &str) -> [u32; 5] {
    const STAT_LX: u32 = 70;
    let client = mount.native();
    let spec = CreateSpec {
        access: 0x80 | file::SYNCHRONIZE,
        disposition: 1,
        options: 0x20 | 0x20_0000,
        attributes: 0,
        ..file::spec(&format!("C:\\{name}"))
    };
    let (handle, _) = client.create(&spec).expect("a native open");
    let mut answer = [0; 96];
    client.query_information(handle, STAT_LX, &mut answer).expect("FileStatLxInformation");
    client.close(handle).expect("open");
    // LxUid, LxGid, LxMode, LxDeviceIdMajor, LxDeviceIdMinor.
    [76, 80, 84, 88, 92].map(|at| u32::from_le_bytes(answer[at..at + 4].try_into().expect("four bytes")))
}

#[test]
fn nt_ea_25_owner_and_mode_are_attributes_that_filters_see() {
    let Some((mount, watcher)) = watched() else { return };
    File::create(mount.at("f")).expect("create");
    watcher.take();
    let last = || {
        let set = watcher
            .take()
            .into_iter()
            .rev()
            .find_map(|asked| if let Asked::Ea(list) = asked { Some(list) } else { None });
        set.expect("IRP_MJ_SET_EA")
    };
    chown(mount.at("f"), Some(1234), Some(5678)).expect("chown");
    let seen = last();
    let four = |number: u32| Some(number.to_le_bytes().to_vec());
    assert_eq!((value(&seen, b"$LXUID"), value(&seen, b"$LXGID")), (four(1234), four(5678)));
    fs::set_permissions(mount.at("f"), fs::Permissions::from_mode(0o640)).expect("chmod");
    assert_eq!(value(&last(), b"$LXMOD"), four(0o100640));
    assert_eq!(stat_lx(&mount, "f"), [1234, 5678, 0o100640, 0, 0]);
    // A node's numbers, eight bytes: major, minor.
    mknodat(CWD, mount.at("n"), FileType::CharacterDevice, Mode::from_raw_mode(0o600), makedev(5, 1)).expect("mknod");
    assert_eq!(stat_lx(&mount, "n")[2..], [0o020600, 5, 1]);
    assert_eq!(fs::symlink_metadata(mount.at("n")).expect("stat").rdev(), makedev(5, 1));
    // An attribute of a user's, as the page of the door has it.
    setxattr(mount.at("f"), "user.Name", b"value", XattrFlags::empty()).expect("setxattr");
    assert!(value(&last(), b"U.!4EAME").is_some_and(|value| value.ends_with(b"value")));
    let nameless = setxattr(mount.at("f"), "user.", b"value", XattrFlags::empty()).map_err(io::Error::from);
    assert_eq!(errno(nameless), libc::EINVAL);
}

#[test]
fn nt_ea_24_a_volume_without_attributes_says_so() {
    let Some((mount, watcher)) = watched() else { return };
    fs::write(mount.at("f"), "x").expect("create");
    watcher.refuse(IRP_MJ_SET_EA, 0, NtStatus::EAS_NOT_SUPPORTED);
    let set = setxattr(mount.at("f"), "user.name", b"value", XattrFlags::empty()).map_err(io::Error::from);
    assert_eq!(errno(set), libc::ENOTSUP);
}

#[test]
fn nt_shr_08_the_door_shares_everything_and_native_programs_need_not() {
    let Some((mount, watcher)) = watched() else { return };
    fs::write(mount.at("f"), "x").expect("create");
    let one = File::options().read(true).write(true).open(mount.at("f")).expect("open");
    let two = File::options().write(true).open(mount.at("f")).expect("open again");
    let opens = watcher.take();
    assert!(opens.iter().all(|asked| !matches!(asked, Asked::Create(_, _, _, share) if *share != 7)), "{opens:?}");
    let client = mount.native();
    let open = |share: u32| client.create(&CreateSpec { share, ..file::spec("C:\\f") });
    assert_eq!(open(0).map_err(NtStatus::from), Err(NtStatus::SHARING_VIOLATION), "both are open for writing");
    let (all, _) = open(7).expect("who shares as much may");
    client.close(all).expect("open");
    drop((one, two));
    // RELEASE comes after close(2) returned.
    let mut narrow = None;
    until("nobody else has it", || {
        narrow = open(1).ok();
        narrow.is_some()
    });
    let (narrow, _) = narrow.expect("opened");
    assert_eq!(errno(File::options().write(true).open(mount.at("f"))), libc::EBUSY);
    assert_eq!(fs::read_to_string(mount.at("f")).expect("reading is shared"), "x");
    assert_eq!(errno(fs::remove_file(mount.at("f"))), libc::EBUSY);
    client.close(narrow).expect("open");
    fs::remove_file(mount.at("f")).expect("nobody is in the way");
}

#[test]
fn nt_qry_09_an_inode_is_the_volumes_file_id() {
    let Some(mount) = Mount::new() else { return };
    fs::write(mount.at("f"), "x").expect("create");
    fs::create_dir(mount.at("d")).expect("mkdir");
    let client = mount.native();
    for name in ["f", "d"] {
        let (handle, _) = client
            .create(&CreateSpec {
                access: 0x80 | file::SYNCHRONIZE,
                disposition: 1,
                ..file::spec(&format!("C:\\{name}"))
            })
            .expect("open");
        let mut id = [0; 8];
        client.query_information(handle, 6, &mut id).expect("FileInternalInformation");
        client.close(handle).expect("open");
        let inode = fs::metadata(mount.at(name)).expect("stat").ino();
        assert_eq!((inode, inode >> 48), (u64::from_le_bytes(id), 1), "{name}");
    }
    use std::os::unix::fs::DirEntryExt;
    for entry in fs::read_dir(mount.at("")).expect("list") {
        let entry = entry.expect("entry");
        assert_eq!(entry.ino(), entry.metadata().expect("stat").ino(), "a listing says the same");
    }
}

#[test]
fn nt_qry_30_a_program_fills_a_directory_that_minds_case_natively_too() {
    const CASE_SENSITIVE: u32 = 71;
    let Some(mount) = Mount::new() else { return };
    fs::create_dir(mount.at("d")).expect("mkdir");
    let client = mount.native();
    let native = |name: &str, access: u32, options: u32| {
        client.create(&CreateSpec {
            access: access | file::SYNCHRONIZE,
            disposition: 1,
            options: 0x20 | options,
            ..file::spec(name)
        })
    };
    let (handle, _) = native("C:\\d", 0x100 | 0x80 | 2 | 4 | 0x40, 1).expect("the directory");
    client.set_information(handle, CASE_SENSITIVE, &1_u32.to_le_bytes()).expect("empty");
    client.close(handle).expect("open");
    for name in ["case", "CASE"] {
        fs::write(mount.at("d").join(name), name).expect("create");
    }
    for name in ["case", "CASE"] {
        let (handle, _) = native(&format!("C:\\d\\{name}"), 1, 0).expect("either");
        let mut bytes = [0; 4];
        assert_eq!(client.read(handle, Some(0), &mut bytes), Ok(4));
        client.close(handle).expect("open");
        assert_eq!(bytes, name.as_bytes());
    }
    assert!(native("C:\\d\\Case", 1, 0).is_err());
}

#[test]
fn nt_nam_21_a_program_finds_long_names_only_and_its_files_have_short_ones() {
    let Some(mount) = Mount::with(|machine| machine.volumes()[0].set_short_names(true)) else { return };
    fs::write(mount.at("A long name.text"), "of a program").expect("create");
    let short = |name: &str| fs::metadata(mount.at(name)).map(drop).map_err(|error| error.kind());
    assert_eq!(short("ALONGN~1.TEX"), Err(std::io::ErrorKind::NotFound));
    let client = mount.native();
    let native = |name: &str| {
        let spec = CreateSpec { access: 1 | file::SYNCHRONIZE, disposition: 1, options: 0x20, ..file::spec(name) };
        let (handle, _) = client.create(&spec)?;
        let mut bytes = [0; 32];
        let count = client.read(handle, Some(0), &mut bytes);
        client.close(handle).expect("open");
        count.map(|count| String::from_utf8_lossy(&bytes[..count]).into_owned())
    };
    assert_eq!(native("C:\\ALONGN~1.TEX").as_deref(), Ok("of a program"), "a driver finds it");
    // A name of that kind is a name like any other to a program.
    fs::write(mount.at("ALONGN~1.TEX"), "another").expect("create");
    assert_eq!(fs::read_to_string(mount.at("A long name.text")).expect("read"), "of a program");
    assert_eq!(native("C:\\ALONGN~1.TEX").as_deref(), Ok("another"), "the long name wins");
    assert_eq!(native("C:\\ALONGN~2.TEX").as_deref(), Ok("of a program"), "and the file has another short one");
    let mut names: Vec<_> =
        fs::read_dir(mount.at("")).expect("list").map(|entry| entry.expect("entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["A long name.text", "ALONGN~1.TEX"]);
}

#[test]
fn nt_ren_37_a_volume_may_tunnel_names() {
    let birth = |mount: &Mount| {
        let when = rustix::fs::statx(CWD, mount.at("f"), rustix::fs::AtFlags::empty(), rustix::fs::StatxFlags::BTIME)
            .expect("statx")
            .stx_btime;
        (when.tv_sec, when.tv_nsec)
    };
    for (tunnels, same) in [(true, true), (false, false)] {
        let Some(mount) = Mount::with(|machine| machine.volumes()[0].set_tunnelling(tunnels)) else { return };
        File::create(mount.at("f")).expect("create");
        let before = birth(&mount);
        std::thread::sleep(std::time::Duration::from_millis(2));
        fs::remove_file(mount.at("f")).expect("unlink");
        File::create(mount.at("f")).expect("create again");
        assert_eq!(birth(&mount) == before, same, "tunnelling: {tunnels}");
    }
}
