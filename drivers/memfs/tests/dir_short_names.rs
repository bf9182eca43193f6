//! Short names of a `dir` volume: where the host has them, what the host does to the long ones.

mod support;

use nt_abi::NtStatus;
use nt_io::info::class;
use nt_ke::WindowsVersion;
use rustix::fs::inotify;
use rustix::io::Errno;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use support::directory::{units, word};
use support::names::*;
use support::*;

const ABSENT: Option<NtStatus> = Some(NtStatus::OBJECT_NAME_NOT_FOUND);

fn on(ground: &Ground) -> World {
    let world = World::on(WindowsVersion::default(), None, Some(ground.lend()));
    world.volume.set_short_names(true);
    world
}

/// The short name of a file; empty where it has none.
fn short(world: &World, name: &str) -> String {
    let file = world.open_file(name, 0x80 | SYNCHRONIZE, SYNC);
    let (status, bytes, _) = file.try_query(class::ALTERNATE_NAME, 64);
    if status == NtStatus::OBJECT_NAME_NOT_FOUND {
        return String::new();
    }
    assert_eq!(status, NtStatus::SUCCESS, "{name}");
    let text: Vec<u16> = bytes[4..4 + word(&bytes, 0) as usize]
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    String::from_utf16(&text).expect("text")
}

/// Where those of a directory lie.
fn kept(ground: &Ground, directory: &str) -> PathBuf {
    let id = fs::metadata(ground.path().join(directory)).expect("a directory").ino();
    ground.path().join(".ntio").join(format!("{id:x}")).join("8.3")
}

#[test]
fn nt_nam_21_another_machine_finds_the_same_short_names() {
    let ground = Ground::new();
    {
        let world = on(&ground);
        drop(world.directory("d"));
        for number in [3, 1, 2] {
            world.put(&format!("d\\long name {number}"), &[number]);
        }
        assert_eq!(world.to_delete("d\\LONGNA~1").dispose(true), NtStatus::SUCCESS, "long name 3");
        world.run_as(nt_se::TokenSpec::system().with_privilege(nt_abi::se::SE_RESTORE_PRIVILEGE));
        let file = world.open_file("d\\long name 2", DELETE | 0x100 | SYNCHRONIZE, SYNC);
        let set = |name: &str| [&(name.len() as u32 * 2).to_le_bytes()[..], &units(name), &[0; 4]].concat();
        assert_eq!(file.set(class::SHORT_NAME, &set("MINE.X")), NtStatus::SUCCESS);
        world.put("d\\another long name", b"");
        let file = world.open_file("d\\another long name", DELETE | 0x100 | SYNCHRONIZE, SYNC);
        assert_eq!(file.set(class::SHORT_NAME, &set("")), NtStatus::SUCCESS);
    }
    // Without the option they rest.
    let plain = World::on(WindowsVersion::default(), None, Some(ground.lend()));
    assert_eq!((plain.absent("d\\MINE.X"), plain.directory("d").names(None).len()), (ABSENT, 5));
    drop(plain);
    // A name that the host makes meanwhile gets what is left.
    fs::write(ground.path().join("d").join("long name 0"), [0]).expect("a file");
    let world = on(&ground);
    for (name, expected) in
        [("long name 0", "LONGNA~1"), ("long name 1", "LONGNA~2"), ("long name 2", "MINE.X"), ("another long name", "")]
    {
        assert_eq!(short(&world, &format!("d\\{name}")), expected, "{name}");
    }
    assert_eq!(world.get("d\\mine.x"), Some(vec![2]));
}

#[test]
fn nt_nam_21_what_the_host_does_to_long_names_is_seen() {
    let ground = Ground::new();
    let at = |name: &str| ground.path().join(name);
    fs::write(at("made by the host b"), b"b").expect("a file");
    fs::write(at("made by the host a"), b"a").expect("a file");
    let world = on(&ground);
    assert_eq!(world.get("MADEBY~1").as_deref(), Some(&b"a"[..]), "in the order of their names");
    assert_eq!(world.get("MADEBY~2").as_deref(), Some(&b"b"[..]));
    // Gone, renamed, made under a name that is another's short one.
    fs::remove_file(at("made by the host a")).expect("removed");
    assert_eq!(world.absent("MADEBY~1"), ABSENT);
    fs::rename(at("made by the host b"), at("moved by the host")).expect("renamed");
    assert_eq!((world.absent("MADEBY~2"), world.get("MOVEDB~1").as_deref()), (ABSENT, Some(&b"b"[..])));
    fs::write(at("MOVEDB~1"), b"long").expect("a file");
    assert_eq!(world.get("movedb~1").as_deref(), Some(&b"long"[..]), "a long name wins");
    assert_eq!(world.directory("").names(Some("MOVEDB~1")), ["MOVEDB~1"]);
    assert_eq!(short(&world, "moved by the host"), "MOVEDB~2");
    assert_eq!(world.get("MOVEDB~2").as_deref(), Some(&b"b"[..]));
}

#[test]
fn nt_nam_21_what_is_kept_does_not_grow_with_what_is_gone_and_goes_with_its_directory() {
    let ground = Ground::new();
    let world = on(&ground);
    drop(world.directory("d"));
    for number in 0..200 {
        let name = format!("d\\temporary file {number}");
        world.put(&name, b"");
        assert_eq!(world.to_delete(&name).dispose(true), NtStatus::SUCCESS);
    }
    let place = kept(&ground, "d");
    let length = fs::metadata(&place).expect("a file").len();
    assert!(length < 40 * 70, "{length} bytes of names that are gone");
    world.put("d\\the last long name", b"");
    drop(world);
    // Half a record, as a crash leaves it, is none; the next one stands behind the whole ones.
    let mut bytes = fs::read(&place).expect("a file");
    bytes.extend_from_slice(&[20, 8, b'x', 0]);
    fs::write(&place, &bytes).expect("written");
    let world = on(&ground);
    assert_eq!(short(&world, "d\\the last long name"), "THELAS~1");
    world.put("d\\the last long names", b"");
    drop(world);
    let world = on(&ground);
    assert_eq!(short(&world, "d\\the last long names"), "THELAS~2");
    assert_eq!(world.directory("").names(None), ["d"], "the folder is not shown");
    for name in ["d\\THELAS~1", "d\\THELAS~2", "d"] {
        assert_eq!(world.to_delete(name).dispose(true), NtStatus::SUCCESS, "{name}");
    }
    assert!(!place.parent().expect("a folder").exists());
}

#[test]
fn nt_nam_21_a_host_that_lets_nothing_be_written_has_them_for_one_mount() {
    let Some(ground) = Ground::tmpfs(&[]) else { return };
    fs::write(ground.path().join("a long name"), b"bytes").expect("a file");
    ground.protect();
    let world = on(&ground);
    assert_eq!(short(&world, "a long name"), "ALONGN~1");
    assert_eq!(world.get("ALONGN~1").as_deref(), Some(&b"bytes"[..]));
}

/// Was the directory listed since this was asked last?
fn was_listed(watch: &rustix::fd::OwnedFd) -> bool {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(watch, &mut buffer);
    let mut listed = false;
    loop {
        match reader.next() {
            Ok(event) => listed |= event.events().contains(inotify::ReadFlags::ACCESS),
            Err(Errno::AGAIN) => return listed,
            Err(errno) => panic!("{errno}"),
        }
    }
}

#[test]
fn nt_nam_21_names_that_come_and_go_list_no_directory() {
    let ground = Ground::new();
    let world = on(&ground);
    world.fill("d", &["long name 1", "long name 2"]);
    let path = ground.path().join("d");
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).expect("a watch");
    inotify::add_watch(&watch, &path, inotify::WatchFlags::ACCESS).expect("watched");
    assert!(!was_listed(&watch));
    assert_eq!(short(&world, "d\\long name 1"), "LONGNA~1");
    was_listed(&watch);
    // A caller that minds case: any other asks the host for names that differ in case only.
    for number in 3..40 {
        drop(world.strict(&format!("d\\long name {number}"), GENERIC_WRITE | SYNCHRONIZE, 2).expect("made"));
    }
    let renamed = world.strict("d\\long name 3", DELETE | SYNCHRONIZE, 1).expect("there");
    assert_eq!(renamed.rename("another long name", false), NtStatus::SUCCESS);
    assert_eq!(renamed.dispose(true), NtStatus::SUCCESS);
    drop(renamed);
    assert!(!was_listed(&watch), "neither by a create nor by a rename nor by a delete");
    assert!(!short(&world, "d\\long name 39").is_empty() && !was_listed(&watch), "nor by who asks for a short name");
    // What the host made meanwhile is minded all the same.
    fs::write(path.join("OTHERN~1"), b"long").expect("a file");
    drop(world.strict("d\\other names", GENERIC_WRITE | SYNCHRONIZE, 2).expect("made"));
    assert_eq!(short(&world, "d\\other names"), "OTHERN~2");
    assert!(!was_listed(&watch));
    fs::write(path.join("made by the host"), b"host").expect("a file");
    assert_eq!(short(&world, "d\\made by the host"), "MADEBY~1");
    assert!(was_listed(&watch), "a file that nobody saw yet");
}
