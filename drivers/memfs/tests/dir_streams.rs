//! Named streams of a `dir` volume: where the host has them, what the host does to them.

mod support;

use nt_abi::NtStatus;
use nt_ke::WindowsVersion;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use support::names::*;
use support::*;

const ABSENT: Option<NtStatus> = Some(NtStatus::OBJECT_NAME_NOT_FOUND);

fn on(ground: &Ground) -> World {
    World::on(WindowsVersion::default(), None, Some(ground.lend()))
}

fn side(ground: &Ground, file: &str) -> PathBuf {
    let id = fs::metadata(ground.path().join(file)).expect("a file").ino();
    ground.path().join(".ntio").join(format!("{id:x}"))
}

fn listed(path: &Path) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = fs::read_dir(path)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().as_bytes().into())
        .collect();
    names.sort();
    names
}

#[test]
fn streams_are_found_again_by_another_machine() {
    let ground = Ground::new();
    let long = "\u{20AC}".repeat(200);
    {
        let world = on(&ground);
        world.put("f", b"main");
        world.put("f:s", b"stream");
        world.put(&format!("f:{long}"), b"long");
        drop(world.directory("d"));
        world.put("d:s", b"of a directory");
        let renamed = world.to_delete("f:s");
        assert_eq!(renamed.rename(":t", false), NtStatus::SUCCESS);
    }
    assert_eq!(fs::read(side(&ground, "f").join("=t")).expect("a file"), b"stream");
    let world = on(&ground);
    assert_eq!(world.get("f:t").as_deref(), Some(&b"stream"[..]));
    assert_eq!(world.get("F:T").as_deref(), Some(&b"stream"[..]));
    assert_eq!(world.get(&format!("f:{long}")).as_deref(), Some(&b"long"[..]));
    assert_eq!(world.get("d:s").as_deref(), Some(&b"of a directory"[..]));
    assert_eq!(world.absent("f:s"), ABSENT);
    // The host's own rename takes them along, and every hard link has them.
    fs::rename(ground.path().join("f"), ground.path().join("d").join("g")).expect("renamed");
    fs::hard_link(ground.path().join("d").join("g"), ground.path().join("h")).expect("linked");
    assert_eq!(world.get("d\\g:t").as_deref(), Some(&b"stream"[..]));
    assert_eq!(world.get("h:t").as_deref(), Some(&b"stream"[..]));
    // One name of two is not the last.
    let link = world.to_delete("h");
    assert_eq!(link.dispose(true), NtStatus::SUCCESS);
    drop(link);
    assert_eq!(world.get("d\\g:t").as_deref(), Some(&b"stream"[..]));
}

#[test]
fn the_folder_of_the_streams_is_not_of_the_volume() {
    let ground = Ground::new();
    let world = on(&ground);
    world.put("f", b"");
    assert_eq!(listed(ground.path()), [b"f"], "who has no streams has no folder");
    world.put("f:s", b"");
    assert_eq!(listed(ground.path()), [&b".ntio"[..], b"f"]);
    let root = world.open_file("", READ_DATA | SYNCHRONIZE, SYNC | DIR);
    assert_eq!(root.names(None), ["f"]);
    for name in [".ntio", ".ntio\\x"] {
        assert_eq!(world.absent(name), Some(NtStatus::ACCESS_DENIED), "{name}");
    }
    assert_eq!(world.to_delete("f").rename(".ntio", true), NtStatus::ACCESS_DENIED);
    drop(world.directory("d"));
    world.put("d\\.ntio", b"elsewhere it is a name");
    assert!(world.get("d\\.ntio").is_some());
    // EAs do not show the mark, and a program cannot set it.
    let file = world.sync_file("f");
    let bare = world.sync_file("bare");
    use nt_io::info::class::EA;
    assert_eq!(file.query(EA, 4), bare.query(EA, 4));
}

#[test]
fn nothing_is_left_of_what_was_deleted() {
    let ground = Ground::new();
    let world = on(&ground);
    for name in ["a", "b", "c", "d"] {
        world.put(&format!("{name}:s"), b"x");
    }
    let folder = ground.path().join(".ntio");
    assert_eq!(listed(&folder).len(), 4);
    let file = world.to_delete("a");
    assert_eq!(file.dispose(true), NtStatus::SUCCESS);
    drop(file);
    assert_eq!(listed(&folder).len(), 3, "delete");
    let file = world.to_delete("b");
    assert_eq!(file.rename("c", true), NtStatus::SUCCESS);
    drop(file);
    assert_eq!(listed(&folder).len(), 2, "replaced by a rename");
    assert_eq!(world.get("c:s").as_deref(), Some(&b"x"[..]), "which keeps its own");
    let stream = world.to_delete("c:s");
    assert_eq!(stream.dispose(true), NtStatus::SUCCESS);
    drop(stream);
    assert_eq!(listed(&folder).len(), 1, "the last stream of a file");
    let (handle, _) = world.try_open("d", GENERIC_WRITE | SYNCHRONIZE, SYNC, 5).expect("overwritten");
    drop(world.adopt(handle));
    assert_eq!(listed(&folder).len(), 0, "overwriting");
    // With a handle of the stream still open, the name goes with the file, the bytes with the handle.
    world.put("e:s", b"kept");
    let held = world.open_file("e:s", GENERIC_READ | SYNCHRONIZE, SYNC);
    let file = world.to_delete("e");
    assert_eq!(file.dispose_ex(3), NtStatus::SUCCESS);
    drop(file);
    assert_eq!(listed(&folder).len(), 0);
    assert_eq!(held.read(4, Some(0)).1, b"kept");
}

#[test]
fn streams_of_another_file_are_not_taken_for_ones_own() {
    let ground = Ground::new();
    let world = on(&ground);
    world.put("f:s", b"secret");
    world.put("copy", b"");
    // A copy that the host made with attributes and all.
    let mark = {
        let mut value = [0; 64];
        let length =
            rustix::fs::getxattr(ground.path().join("f"), "user.ntio.streams", &mut value[..]).expect("a mark");
        value[..length].to_vec()
    };
    let copy = ground.path().join("copy");
    rustix::fs::setxattr(&copy, "user.ntio.streams", &mark, rustix::fs::XattrFlags::empty()).expect("a mark");
    assert_eq!(world.absent("copy:s"), ABSENT);
    // What a file left behind that the host deleted, found under the number of a new one.
    world.put("new", b"");
    fs::rename(side(&ground, "f"), side(&ground, "new")).expect("renamed");
    assert_eq!((world.absent("new:s"), world.absent("f:s")), (ABSENT, ABSENT));
    world.put("new:t", b"own");
    assert_eq!(listed(&side(&ground, "new")), [b"=t"], "and it goes when the new one makes its own");
}

#[test]
fn the_host_may_change_or_remove_a_stream() {
    let ground = Ground::new();
    let world = on(&ground);
    world.put("f:s", b"old");
    let path = side(&ground, "f").join("=s");
    fs::write(&path, b"longer than it was").expect("written");
    assert_eq!(world.get("f:s").as_deref(), Some(&b"longer than it was"[..]));
    fs::remove_file(&path).expect("removed");
    assert_eq!(world.absent("f:s"), ABSENT);
    world.put("f:s", b"again");
    assert_eq!(fs::read(&path).expect("a file"), b"again");
    fs::remove_dir_all(ground.path().join(".ntio")).expect("removed");
    assert_eq!(world.absent("f:s"), ABSENT);
    world.put("f:s", b"anew");
    assert_eq!(fs::read(&path).expect("a file"), b"anew");
}
