//! A write-protected volume through the mount: it is mounted read-only, and nothing changes.

mod support;

use nt_machine::file::spec;
use std::fs::{self, OpenOptions};
use support::Mount;

const EROFS: i32 = 30;

#[test]
fn nt_s_03_a_protected_volume_is_mounted_read_only() {
    let mount = Mount::with(|machine| {
        let client = machine.process("before").expect("a process");
        let file = client.create(&spec("C:\\f")).expect("a file").0;
        client.write(file, Some(0), b"data").expect("room");
        client.close(file).expect("open");
        machine.volumes()[0].protect().expect("nothing is open");
    });
    let Some(mount) = mount else { return };
    let at = |name: &str| mount.at(name);
    let top = mount.at("");
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc");
    let own = top.to_str().expect("UTF-8").trim_end_matches('/');
    let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(own)).expect("it is mounted");
    assert!(line.split(' ').nth(3).expect("options").split(',').any(|option| option == "ro"), "{line}");
    assert_eq!(fs::read(at("f")).expect("it can be read"), b"data");
    let refused = |done: std::io::Result<()>| assert_eq!(done.map_err(|error| error.raw_os_error()), Err(Some(EROFS)));
    refused(fs::write(at("new"), b"x"));
    refused(OpenOptions::new().write(true).open(at("f")).map(drop));
    refused(fs::create_dir(at("d")));
    refused(fs::rename(at("f"), at("g")));
    refused(fs::remove_file(at("f")));
    assert_eq!(fs::read(at("f")).expect("still there"), b"data");
}
