//! Named streams of a volume as Linux programs see them: NT-STR-18, NT-STR-10.
//!
//! These tests fail where /dev/fuse is absent; NTIO_NO_FUSE=1 says that it is known to be.

mod support;

use nt_machine::file::spec;
use nt_machine::{Machine, NtStatus};
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::fs::{self, OpenOptions};
use std::path::Path;
use support::Mount;

/// A native program of the machine makes files and streams.
fn put(machine: &Machine, name: &str, bytes: &[u8]) {
    let client = machine.process("native").expect("a process");
    let file = client.create(&spec(name)).expect(name).0;
    if !bytes.is_empty() {
        assert_eq!(client.write(file, Some(0), bytes), Ok(bytes.len() as u64));
    }
    client.close(file).expect("open");
}

fn bytes(machine: &Machine, name: &str) -> Result<Vec<u8>, NtStatus> {
    let client = machine.process("native").expect("a process");
    let file = client.create(&nt_io::create::CreateSpec { disposition: 1, ..spec(name) }).map_err(NtStatus::from)?.0;
    let mut bytes = [0; 64];
    let count = client.read(file, Some(0), &mut bytes).unwrap_or(0);
    client.close(file).expect("open");
    Ok(bytes[..count].to_vec())
}

fn listed(path: &Path) -> Vec<String> {
    let mut buffer = [0; 4096];
    let used = rustix::fs::listxattr(path, &mut buffer[..]).expect("a list");
    let names = buffer[..used].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let mut names: Vec<String> = names.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    names.sort();
    names
}

fn value(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 64 << 10];
    let used = rustix::fs::getxattr(path, name, &mut buffer[..])?;
    Ok(buffer[..used].to_vec())
}

#[test]
fn nt_str_18_streams_are_attributes_that_can_be_read_and_a_colon_is_a_character() {
    let made = |machine: &Machine| {
        put(machine, "C:\\f", b"main");
        put(machine, "C:\\f:Zone.Identifier", b"[ZoneTransfer]");
        put(machine, "C:\\f:empty", b"");
        put(machine, "C:\\f:large", &vec![1; (64 << 10) + 1]);
        put(machine, &format!("C:\\f:{}", "x".repeat(250)), b"no attribute has such a name");
    };
    let Some(mount) = Mount::with(made) else { return };
    let file = mount.at("f");
    rustix::fs::setxattr(&file, "user.own", b"1", XattrFlags::empty()).expect("an attribute");
    let stream = |name: &str| format!("user.ntio.stream.{name}");
    assert_eq!(listed(&file), [stream("Zone.Identifier"), stream("empty"), stream("large"), "user.own".into()]);
    assert_eq!(value(&file, &stream("Zone.Identifier")), Ok(b"[ZoneTransfer]".to_vec()));
    assert_eq!(value(&file, &stream("empty")), Ok(Vec::new()));
    assert_eq!(value(&file, &stream("zone.identifier")), Err(Errno::NODATA), "in its own case");
    assert_eq!(value(&file, &stream("large")), Err(Errno::TOOBIG));
    assert_eq!(value(&file, "user.own"), Ok(b"1".to_vec()));
    // They are not to be written here.
    for flags in [XattrFlags::empty(), XattrFlags::CREATE, XattrFlags::REPLACE] {
        for name in ["Zone.Identifier", "new"] {
            assert_eq!(rustix::fs::setxattr(&file, stream(name), b"x", flags), Err(Errno::PERM));
        }
    }
    assert_eq!(rustix::fs::removexattr(&file, stream("empty")), Err(Errno::PERM));
    assert_eq!(listed(&file).len(), 4);
    // A colon in a Linux name is a character of it.
    fs::write(mount.at("f:empty"), "a file").expect("a plain name");
    assert_eq!(value(&file, &stream("empty")), Ok(Vec::new()));
    let mut names: Vec<_> =
        fs::read_dir(mount.at("")).expect("a list").map(|entry| entry.expect("it").file_name()).collect();
    names.sort();
    assert_eq!(names, ["f", "f:empty"]);
    assert_eq!(mount.with_machine(|machine| bytes(machine, "C:\\f\u{f03a}empty")), Ok(b"a file".to_vec()));
}

#[test]
fn nt_str_10_o_trunc_cuts_the_file_and_keeps_its_streams() {
    let made = |machine: &Machine| {
        put(machine, "C:\\f", b"main");
        put(machine, "C:\\f:s", b"stream");
    };
    let Some(mount) = Mount::with(made) else { return };
    // It is a new length, not an overwriting of the file (docs of the POSIX door).
    drop(OpenOptions::new().write(true).truncate(true).open(mount.at("f")).expect("cut"));
    assert_eq!(fs::metadata(mount.at("f")).expect("a file").len(), 0);
    assert_eq!(mount.with_machine(|machine| bytes(machine, "C:\\f:s")), Ok(b"stream".to_vec()));
    // A rename takes them along, a file that is replaced or removed loses them.
    fs::rename(mount.at("f"), mount.at("g")).expect("renamed");
    assert_eq!(value(&mount.at("g"), "user.ntio.stream.s"), Ok(b"stream".to_vec()));
    fs::write(mount.at("h"), "").expect("a file");
    fs::rename(mount.at("h"), mount.at("g")).expect("replaced");
    assert_eq!(listed(&mount.at("g")), [""; 0]);
    fs::remove_file(mount.at("g")).expect("removed");
    fs::write(mount.at("g"), "").expect("a new file");
    let gone = mount.with_machine(|machine| bytes(machine, "C:\\g:s"));
    assert_eq!(gone, Err(NtStatus::OBJECT_NAME_NOT_FOUND));
}
