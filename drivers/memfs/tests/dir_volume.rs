//! A `dir` volume: what is the host's own shows, what the host changes is seen, nothing leads out of the directory.

mod support;

use nt_abi::NtStatus;
use nt_io::info::class;
use nt_ke::WindowsVersion;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use support::*;

const DELETE: u32 = 0x1_0000;
const DIRECTORY: u32 = 1;
const OPEN: u32 = 1;
const CREATE: u32 = 2;
const OPEN_REPARSE_POINT: u32 = 0x0020_0000;
const GET_REPARSE: u32 = 0x0009_00A8;

fn world() -> World {
    World::on(WindowsVersion::default(), None, Some(Ground::new()))
}

impl World {
    fn host(&self, name: impl AsRef<Path>) -> PathBuf {
        self.ground.as_ref().expect("a directory").path().join(name)
    }
    fn opened(&self, name: &str, options: u32) -> Result<File<'_>, NtStatus> {
        let access = GENERIC_READ | SYNCHRONIZE;
        self.try_open(name, access, SYNC | options, OPEN).map(|(handle, _)| self.adopt(handle))
    }
    fn status(&self, name: &str, access: u32, options: u32, disposition: u32) -> NtStatus {
        match self.try_open(name, access | SYNCHRONIZE, SYNC | options, disposition) {
            Ok((handle, _)) => {
                drop(self.adopt(handle));
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }
}

fn basic(file: &File<'_>) -> ([i64; 4], u32) {
    let bytes = file.query(class::BASIC, 40);
    let time = |at: usize| i64::from_le_bytes(bytes[at * 8..at * 8 + 8].try_into().expect("8"));
    ([0, 1, 2, 3].map(time), u32::from_le_bytes(bytes[32..36].try_into().expect("4")))
}

fn set_basic(file: &File<'_>, times: [i64; 4], attributes: u32) -> NtStatus {
    let mut bytes: Vec<u8> = times.iter().flat_map(|time| time.to_le_bytes()).collect();
    bytes.extend_from_slice(&attributes.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    file.set(class::BASIC, &bytes)
}

fn ea(name: &[u8], value: &[u8], flags: u8) -> Vec<u8> {
    let mut list = vec![0, 0, 0, 0, flags, name.len() as u8];
    list.extend_from_slice(&(value.len() as u16).to_le_bytes());
    list.extend_from_slice(name);
    list.push(0);
    list.extend_from_slice(value);
    list
}

#[test]
fn what_programs_and_drivers_leave_is_found_again() {
    let ground = Ground::new();
    let times = [132_000_000_000_000_000, 132_000_000_000_000_010, 132_000_000_000_000_020, 0];
    {
        let world = World::on(WindowsVersion::default(), None, Some(ground.lend()));
        let file = world.sync_file("kept");
        assert_eq!(file.write(b"data", None), success(4));
        assert_eq!(file.set_ea(&ea(b"COMMENT", b"a value", 0x80)), NtStatus::SUCCESS);
        assert_eq!(set_basic(&file, times, 0x1 | 0x2 | 0x4), NtStatus::SUCCESS);
        drop(world.file("d", GENERIC_READ | SYNCHRONIZE, SYNC | DIRECTORY));
        let hidden = world.file("d", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | DIRECTORY);
        assert_eq!(set_basic(&hidden, [0; 4], 0x2), NtStatus::SUCCESS);
    }
    let world = World::on(WindowsVersion::default(), None, Some(ground.lend()));
    let file = world.opened("kept", 0).expect("it is there");
    let (found, attributes) = basic(&file);
    assert_eq!((&found[..3], attributes), (&times[..3], 0x1 | 0x2 | 0x4), "times, READONLY, HIDDEN, SYSTEM");
    assert_eq!(file.read(10, Some(0)).1, b"data");
    assert_eq!(fs::read(ground.path().join("kept")).expect("on the host"), b"data");
    let size = u32::from_le_bytes(file.query(class::EA, 4)[..4].try_into().expect("4"));
    assert_ne!(size, 0);
    assert_eq!(world.status("kept", GENERIC_WRITE, 0, OPEN), NtStatus::ACCESS_DENIED, "READONLY");
    assert_eq!(basic(&world.opened("d", DIRECTORY).expect("it is there")).1, 0x12);
}

#[test]
fn an_ordinary_file_leaves_nothing_on_the_host_but_itself() {
    let world = world();
    drop(world.sync_file("plain"));
    world.sync_file("plain").write(b"x", None);
    let names = rustix::fs::listxattr(world.host("plain"), &mut [0; 256][..]).unwrap_or(0);
    assert_eq!(names, 0, "no extended attribute for a file like any other");
    assert_eq!(fs::metadata(world.host("plain")).expect("a file").mode() & 0o600, 0o600);
    assert_eq!(fs::read_dir(world.host("")).expect("a directory").count(), 1);
}

#[test]
fn a_host_that_makes_a_file_longer_or_shorter_is_seen() {
    let world = world();
    let file = world.sync_file("f");
    file.write(b"0123456789", None);
    let host = fs::File::options().read(true).write(true).open(world.host("f")).expect("the file");
    host.write_at(b"more", 10).expect("longer");
    assert_eq!((file.read(100, Some(0)).1.as_slice(), file.eof()), (&b"0123456789more"[..], 14));
    host.set_len(3).expect("shorter");
    assert_eq!(file.read(100, Some(0)).1, b"012");
    assert_eq!(file.read(4, Some(8)).0.returned, NtStatus::END_OF_FILE);
    assert_eq!(file.eof(), 3);
    // An append goes to the end that is there now.
    let append = world.file("f", APPEND_DATA | SYNCHRONIZE, SYNC);
    host.write_at(b"3", 3).expect("longer");
    append.write(b"!", None);
    assert_eq!(fs::read(world.host("f")).expect("the file"), b"0123!");
    host.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1)).expect("a time");
    assert_eq!(basic(&file).0[2], 116_444_736_010_000_000);
}

#[test]
fn a_file_that_the_host_took_away_lives_as_long_as_its_handle() {
    let world = world();
    let file = world.file("gone", GENERIC_READ | GENERIC_WRITE | DELETE | SYNCHRONIZE, SYNC);
    file.write(b"data", None);
    fs::remove_file(world.host("gone")).expect("the host may");
    assert_eq!(file.read(10, Some(0)).1, b"data");
    assert_eq!(file.write(b"more", Some(4)), success(4));
    assert_eq!(world.status("gone", GENERIC_READ, 0, OPEN), NtStatus::OBJECT_NAME_NOT_FOUND);
    // Somebody else's file by now: neither the handle nor its end touches it.
    fs::write(world.host("gone"), b"another").expect("a new file");
    assert_eq!(file.set(class::DISPOSITION, &[1]), NtStatus::SUCCESS);
    drop(file);
    assert_eq!(fs::read(world.host("gone")).expect("untouched"), b"another");
    assert_eq!(world.sync_file("gone").read(10, Some(0)).1, b"another");
}

#[test]
fn a_file_that_the_host_replaced_is_another_one() {
    let world = world();
    let old = world.sync_file("f");
    old.write(b"old", None);
    fs::write(world.host("new"), b"new one").expect("a file");
    fs::rename(world.host("new"), world.host("f")).expect("the host may");
    assert_eq!(old.read(10, Some(0)).1, b"old");
    assert_eq!(world.sync_file("f").read(10, Some(0)).1, b"new one");
    assert_ne!(old.query(class::INTERNAL, 8), world.sync_file("f").query(class::INTERNAL, 8));
}

#[test]
fn a_directory_that_vanishes_says_so() {
    let world = world();
    drop(world.file("d", GENERIC_READ | SYNCHRONIZE, SYNC | DIRECTORY));
    let inside = world.sync_file("d\\f");
    fs::remove_dir_all(world.host("d")).expect("the host may");
    assert_eq!(inside.write(b"still", None), success(5));
    assert_eq!(world.status("d\\g", GENERIC_WRITE, 0, CREATE), NtStatus::OBJECT_PATH_NOT_FOUND);
    drop(inside);
    let kept = world.sync_file("kept");
    let root = world.host("");
    let elsewhere = root.with_extension("moved");
    fs::rename(&root, &elsewhere).expect("the host may");
    assert_eq!(kept.write(b"x", None), success(1), "the volume goes where its directory goes");
    assert_eq!(fs::read(elsewhere.join("kept")).expect("there"), b"x");
    fs::remove_dir_all(&elsewhere).expect("the host may");
    assert_eq!(world.status("new", GENERIC_WRITE, 0, CREATE), NtStatus::VOLUME_DISMOUNTED);
    assert_eq!(world.status("kept", GENERIC_READ, 0, OPEN), NtStatus::VOLUME_DISMOUNTED);
    assert_eq!(kept.read(1, Some(0)).1, b"x");
    fs::create_dir(&root).expect("for the end of the test");
}

#[test]
fn no_link_leads_anywhere() {
    let world = world();
    let outside = tempfile::tempdir().expect("a directory");
    fs::write(outside.path().join("secret"), b"secret").expect("a file");
    for (name, target) in [
        ("file", outside.path().join("secret")),
        ("dir", outside.path().to_owned()),
        ("up", PathBuf::from("..")),
        ("self", PathBuf::from("self")),
        ("dangling", PathBuf::from("nowhere")),
    ] {
        symlink(&target, world.host(name)).expect("a link");
        let opened = world.status(name, GENERIC_READ, 0, OPEN);
        assert_eq!(opened, NtStatus::IO_REPARSE_TAG_NOT_HANDLED, "{name}");
        let through = world.status(&format!("{name}\\secret"), GENERIC_READ, 0, OPEN);
        assert_eq!(through, NtStatus::IO_REPARSE_TAG_NOT_HANDLED, "{name}\\secret");
        let made = world.status(&format!("{name}\\new"), GENERIC_WRITE, 0, CREATE);
        assert_eq!(made, NtStatus::IO_REPARSE_TAG_NOT_HANDLED, "{name}\\new");
        let link = world.opened(name, OPEN_REPARSE_POINT).expect("the link itself");
        let (status, _, data) = link.control(GET_REPARSE, &[], 4200);
        assert_eq!(status, NtStatus::SUCCESS);
        let bytes = target.as_os_str().as_bytes();
        assert_eq!(&data[..4], &0xA000_001D_u32.to_le_bytes());
        assert_eq!(&data[12..12 + bytes.len()], bytes);
        assert_eq!(link.read(10, Some(0)).0.returned, NtStatus::END_OF_FILE, "a link has no data");
    }
    // The link goes, not what it names.
    let link = world.try_open("file", DELETE | SYNCHRONIZE, SYNC | OPEN_REPARSE_POINT, OPEN).expect("the link").0;
    assert_eq!(world.adopt(link).set(class::DISPOSITION, &[1]), NtStatus::SUCCESS);
    assert!(world.host("file").symlink_metadata().is_err());
    assert_eq!(fs::read(outside.path().join("secret")).expect("untouched"), b"secret");
}

#[test]
fn a_name_that_becomes_a_link_is_not_followed() {
    let world = world();
    let outside = tempfile::tempdir().expect("a directory");
    drop(world.file("d", GENERIC_READ | SYNCHRONIZE, SYNC | DIRECTORY));
    let held = world.opened("d", DIRECTORY).expect("the directory");
    fs::remove_dir(world.host("d")).expect("the host may");
    symlink(outside.path(), world.host("d")).expect("a link in its place");
    assert_ne!(world.status("d\\new", GENERIC_WRITE, 0, CREATE), NtStatus::SUCCESS);
    drop(held);
    assert_eq!(fs::read_dir(outside.path()).expect("a directory").count(), 0);
}

#[test]
fn pipes_sockets_and_devices_are_shown_and_never_opened() {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let world = world();
    let mode = Mode::from_raw_mode(0o666);
    mknodat(CWD, world.host("pipe"), FileType::Fifo, mode, 0).expect("a pipe");
    let _socket = std::os::unix::net::UnixListener::bind(world.host("socket")).expect("a socket");
    let mut all = vec![("pipe", 0x8000_0024_u32), ("socket", 0x8000_0023)];
    if mknodat(CWD, world.host("zero"), FileType::CharacterDevice, mode, makedev(1, 5)).is_ok() {
        all.push(("zero", 0x8000_0025));
    }
    for (name, tag) in all {
        assert_eq!(world.status(name, GENERIC_READ, 0, OPEN), NtStatus::IO_REPARSE_TAG_NOT_HANDLED, "{name}");
        let access = GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE;
        let (handle, _) = world.try_open(name, access, SYNC | OPEN_REPARSE_POINT, OPEN).expect(name);
        let file = world.adopt(handle);
        assert_eq!(&file.control(GET_REPARSE, &[], 64).2[..4], &tag.to_le_bytes(), "{name}");
        assert_eq!(file.read(8, Some(0)).0.returned, NtStatus::END_OF_FILE, "{name}");
        assert_eq!(file.write(b"x", Some(0)), refused(NtStatus::ACCESS_DENIED), "{name}");
        assert_eq!(file.set(class::END_OF_FILE, &0_i64.to_le_bytes()), NtStatus::ACCESS_DENIED, "{name}");
    }
}

#[test]
fn names_that_the_host_has_and_nt_has_not_stay_out_of_sight() {
    let world = world();
    let bad = std::ffi::OsStr::from_bytes(b"bad\xff");
    fs::create_dir(world.host("d")).expect("a directory");
    fs::write(world.host("d").join(bad), b"x").expect("a file");
    fs::write(world.host("d/\u{f03a}"), b"x").expect("a name that another one maps to");
    fs::write(world.host("d/a:b"), b"colon").expect("a file");
    let dir = world.file("d", GENERIC_READ | DELETE | SYNCHRONIZE, SYNC | DIRECTORY);
    assert_eq!(world.sync_file("d\\a\u{f03a}b").read(9, Some(0)).1, b"colon");
    assert_eq!(world.status("d\\a:b", GENERIC_READ, 0, OPEN), NtStatus::OBJECT_NAME_NOT_FOUND, "a stream of d\\a");
    assert_eq!(world.status("d\\bad\u{fffd}", GENERIC_READ, 0, OPEN), NtStatus::OBJECT_NAME_NOT_FOUND);
    fs::remove_file(world.host("d/a:b")).expect("the host may");
    // What is out of sight is there: the directory is not empty.
    assert_eq!(dir.set(class::DISPOSITION, &[1]), NtStatus::DIRECTORY_NOT_EMPTY);
}

#[test]
fn the_longest_names_work_and_longer_ones_are_refused() {
    let world = world();
    let longest = "n".repeat(255);
    assert_eq!(world.status(&longest, GENERIC_WRITE, 0, CREATE), NtStatus::SUCCESS);
    assert!(world.host(&longest).exists());
    assert_eq!(world.status(&"n".repeat(256), GENERIC_WRITE, 0, CREATE), NtStatus::OBJECT_NAME_INVALID);
    // 255 units of three bytes each: too long for the host, and said as such.
    let wide = "\u{20ac}".repeat(85);
    assert_eq!(world.status(&wide, GENERIC_WRITE, 0, CREATE), NtStatus::SUCCESS);
    assert_eq!(world.status(&format!("{wide}x"), GENERIC_WRITE, 0, CREATE), NtStatus::OBJECT_NAME_INVALID);
    let deep = vec!["d".repeat(250); 20];
    for end in 1..=deep.len() {
        drop(world.file(&deep[..end].join("\\"), GENERIC_READ | SYNCHRONIZE, SYNC | DIRECTORY));
    }
    let file = world.sync_file(&format!("{}\\f", deep.join("\\")));
    assert_eq!(file.write(b"deeper than any path of the host", None), success(32));
}

#[test]
fn names_that_differ_in_case_are_two_files() {
    let world = world();
    fs::write(world.host("case"), b"lower").expect("a file");
    fs::write(world.host("CASE"), b"upper").expect("a file");
    assert_eq!(world.sync_file("case").read(9, Some(0)).1, b"lower");
    assert_eq!(world.sync_file("CASE").read(9, Some(0)).1, b"upper");
    assert_eq!(world.sync_file("Gr\u{fc}n").write(b"x", None), success(1));
    assert!(world.host("Gr\u{fc}n").exists());
}

#[test]
fn a_directory_without_rights_is_refused_and_nothing_else_is() {
    // Root may do all: then there is nothing to see.
    let world = world();
    fs::create_dir(world.host("closed")).expect("a directory");
    fs::write(world.host("closed/f"), b"x").expect("a file");
    fs::set_permissions(world.host("closed"), fs::Permissions::from_mode(0o000)).expect("no rights");
    let root = fs::read_dir(world.host("closed")).is_ok();
    let expected = if root { NtStatus::SUCCESS } else { NtStatus::ACCESS_DENIED };
    assert_eq!(world.status("closed\\f", GENERIC_READ, 0, OPEN), expected);
    assert_eq!(world.status("closed\\g", GENERIC_WRITE, 0, CREATE), expected);
    fs::set_permissions(world.host("closed"), fs::Permissions::from_mode(0o755)).expect("rights");
    assert_eq!(world.sync_file("closed\\f").read(9, Some(0)).1, b"x");
}

#[test]
fn offsets_at_the_limits_are_refused_and_the_file_stays() {
    let world = world();
    let file = world.sync_file("f");
    file.write(b"data", None);
    let before = fs::metadata(world.host("f")).expect("a file").blocks();
    for offset in [i64::MAX - 1, i64::MAX - 4096, 1 << 62, 1 << 55] {
        let done = file.write(b"x", Some(offset)).returned;
        assert!(matches!(done, NtStatus::FILE_TOO_LARGE | NtStatus::INVALID_PARAMETER | NtStatus::DISK_FULL), "{done}");
        let done = file.set(class::END_OF_FILE, &offset.to_le_bytes());
        assert!(matches!(done, NtStatus::FILE_TOO_LARGE | NtStatus::INVALID_PARAMETER | NtStatus::DISK_FULL), "{done}");
        let done = file.set(class::ALLOCATION, &offset.to_le_bytes());
        assert!(matches!(done, NtStatus::FILE_TOO_LARGE | NtStatus::INVALID_PARAMETER | NtStatus::DISK_FULL), "{done}");
    }
    assert_eq!((file.eof(), file.bytes_of("f").as_slice()), (4, &b"data"[..]));
    assert_eq!(fs::metadata(world.host("f")).expect("a file").blocks(), before);
}

#[test]
fn nt_s_09_what_comes_late_to_the_host_keeps_the_date_it_was_given() {
    let world = world();
    let manager = nt_cc::Manager::of(&world.kernel);
    manager.set_policy(Some(nt_cc::Policy::Behind));
    let written = |name: &str| fs::metadata(world.host(name)).expect("there").modified().expect("a time");
    let old = 125_000_000_000_000_000;
    // A program sets the time of a file whose data the cache still has.
    let file = world.sync_file("late");
    assert_eq!(file.write(&[1; 5000], None), success(5000));
    assert_eq!(set_basic(&file, [0, 0, old, 0], 0), NtStatus::SUCCESS);
    let set = written("late");
    drop(file);
    assert_eq!(written("late"), set, "the handle's end dates nothing that was set");
    assert_eq!(
        fs::read(world.host("late")).expect("there").iter().filter(|byte| **byte == 1).count(),
        0,
        "not there yet"
    );
    manager.write_all();
    assert_eq!(fs::read(world.host("late")).expect("there"), [1; 5000]);
    assert_eq!(written("late"), set);
    let again = world.opened("late", 0).expect("there");
    assert_eq!(basic(&again).0[2], old);
    // Who asks for the time gets that of the write, and gets it again when the data has reached the host.
    let file = world.sync_file("asked");
    fs::File::open(world.host("asked")).expect("there").set_modified(set).expect("set");
    assert_eq!(file.write(&[2; 5000], None), success(5000));
    let asked = basic(&file).0;
    assert!(written("asked") > set, "dated when it was asked for");
    world.pause();
    manager.write_all();
    assert_eq!(fs::read(world.host("asked")).expect("there"), [2; 5000]);
    assert_eq!(basic(&file).0[2], asked[2]);
    assert_eq!(basic(&file).0[3], asked[3], "the time of change neither");
    // What was not asked for in between is dated when the handle goes, at the latest.
    assert_eq!(file.write(&[3; 5000], Some(0)), success(5000));
    drop(file);
    let closed = written("asked");
    manager.write_all();
    assert_eq!((written("asked"), fs::read(world.host("asked")).expect("there")), (closed, vec![3; 5000]));
}

#[test]
fn nt_nfy_26_what_the_host_changes_is_seen_but_not_told() {
    use support::notify::{ADDED, ALL, told};
    let world = world();
    drop(world.directory("d"));
    let dir = world.watched("d");
    let wait = dir.watch(ALL);
    fs::write(world.host("d/behind"), b"bytes").expect("written by the host");
    assert_eq!(world.get("d\\behind"), Some(b"bytes".to_vec()));
    fs::remove_file(world.host("d/behind")).expect("removed by the host");
    assert!(wait.is_waiting());
    world.put("d\\ours", b"");
    assert_eq!(wait.told(), told(&[(ADDED, "ours")]));
}
