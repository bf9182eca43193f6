//! Changes that come through the POSIX door, as NT programs watch them, and changes by NT programs, as Linux programs see them:
//! nt-fs.md section 10.
//!
//! These tests fail where /dev/fuse is absent; NTIO_NO_FUSE=1 says that it is known to be.

mod support;

use nt_machine::file::spec;
use nt_machine::watch::{Action, Changes, WatchSpec};
use nt_machine::{Client, CreateSpec, Handle, NtStatus, VolumeSpec};
use ntio_fuse::MountOptions;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use support::Mount;

const NAMES: u32 = 3;
const SIZE: u32 = 8;

/// A mount, and a process of its machine.
fn mounted() -> Option<(Mount, Client)> {
    let mut client = None;
    let mount = Mount::with(|machine| client = Some(machine.process("watcher").expect("a process")))?;
    Some((mount, client.expect("made")))
}

fn root(client: &Client) -> Handle {
    client.create(&CreateSpec { access: 0x10_0001, options: 1, disposition: 1, ..spec("C:\\") }).expect("the root").0
}

/// What comes until `last` does; a door's close is asynchronous to close(2).
fn until(client: &Client, handle: Handle, last: (Action, &str)) -> Vec<(Action, String)> {
    let mut all = Vec::new();
    while !all.iter().any(|(action, name): &(Action, String)| (*action, name.as_str()) == last) {
        let Changes::These(these) = client.watch(handle, NAMES | SIZE, true).expect("a watch") else {
            panic!("more than the buffer holds")
        };
        all.extend(these.into_iter().map(|change| (change.action, change.name)));
    }
    all
}

fn owned(all: &[(Action, &str)]) -> Vec<(Action, String)> {
    all.iter().map(|&(action, name)| (action, name.to_owned())).collect()
}

#[test]
fn nt_nfy_26_what_linux_programs_change_is_told_to_nt_watchers_in_full() {
    let Some((mount, client)) = mounted() else { return };
    let handle = root(&client);
    let spec = WatchSpec { tree: true, ..WatchSpec::new(NAMES | SIZE) };
    let first = client.start_watch(handle, &spec).expect("a watch");
    fs::create_dir(mount.at("d")).expect("mkdir");
    let Changes::These(these) = first.wait().expect("a change") else { panic!("more than the buffer holds") };
    assert_eq!((these.len(), these[0].action, these[0].name.as_str()), (1, Action::Added, "d"));
    // NT-NFY-19: the bytes are told when the writer's handle goes.
    fs::write(mount.at("d/a"), b"bytes").expect("write");
    let came = until(&client, handle, (Action::Modified, "d\\a"));
    assert_eq!(came, owned(&[(Action::Added, "d\\a"), (Action::Modified, "d\\a")]));
    fs::rename(mount.at("d/a"), mount.at("d/b")).expect("rename");
    fs::rename(mount.at("d/b"), mount.at("c")).expect("move");
    fs::hard_link(mount.at("c"), mount.at("link")).expect("link");
    fs::remove_file(mount.at("c")).expect("unlink");
    fs::remove_dir(mount.at("d")).expect("rmdir");
    let came = until(&client, handle, (Action::Removed, "d"));
    let expected = [
        (Action::RenamedFrom, "d\\a"),
        (Action::RenamedTo, "d\\b"),
        (Action::Removed, "d\\b"),
        (Action::Added, "c"),
        (Action::Added, "link"),
        (Action::Removed, "c"),
        (Action::Removed, "d"),
    ];
    assert_eq!(came, owned(&expected));
    client.close(handle).expect("open");
    drop(client);
}

/// The names that inotify has told of since the last look.
fn heard(watch: &OwnedFd) -> Vec<String> {
    let mut space = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(watch, &mut space);
    let mut names = Vec::new();
    while let Ok(event) = reader.next() {
        names.extend(event.file_name().map(|name| name.to_string_lossy().into_owned()));
    }
    names
}

#[test]
fn nt_nfy_26_what_nt_programs_change_linux_programs_see_at_the_next_request_but_inotify_is_not_told() {
    let Some((mount, client)) = mounted() else { return };
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("inotify");
    let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MODIFY | WatchFlags::MOVE;
    inotify::add_watch(&watch, mount.at(""), flags).expect("a watch");
    fs::write(mount.at("linux"), b"1").expect("write");
    let names = heard(&watch);
    assert!(!names.is_empty() && names.iter().all(|name| name == "linux"), "{names:?}");
    assert_eq!(fs::metadata(mount.at("native")).expect_err("absent").kind(), std::io::ErrorKind::NotFound);
    let (file, _) = client.create(&spec("C:\\native")).expect("a file");
    client.write(file, Some(0), b"one").expect("written");
    assert_eq!(fs::read(mount.at("native")).expect("read"), b"one", "a name that was absent a moment ago");
    client.write(file, Some(0), b"longer").expect("written");
    assert_eq!(fs::read(mount.at("native")).expect("read"), b"longer");
    assert_eq!(fs::metadata(mount.at("native")).expect("stat").len(), 6);
    client.close(file).expect("open");
    let listed = |name: &str| {
        fs::read_dir(mount.at("")).expect("list").any(|entry| entry.expect("entry").file_name().to_str() == Some(name))
    };
    assert!(listed("native"));
    // FileDispositionInformation.
    let (file, _) = client.create(&CreateSpec { access: 0x11_0000, ..spec("C:\\native") }).expect("a file");
    client.set_information(file, 13, &[1]).expect("marked");
    client.close(file).expect("open");
    assert_eq!(fs::metadata(mount.at("native")).expect_err("gone").kind(), std::io::ErrorKind::NotFound);
    assert!(!listed("native"));
    let opened = client.create(&CreateSpec { disposition: 1, ..spec("C:\\native") });
    assert_eq!(opened.expect_err("gone").status(), NtStatus::OBJECT_NAME_NOT_FOUND);
    assert_eq!(heard(&watch), [] as [String; 0], "inotify is the Linux kernel's own");
    drop(client);
}

/// A program that has a file mapped. For each line it looks at the file, and says its time and what the mapping shows.
struct Mapper {
    program: Child,
    lines: BufReader<ChildStdout>,
}

impl Mapper {
    fn of(path: &Path) -> Self {
        let script = "import mmap, os, sys\n\
f = open(sys.argv[1], 'rb')\n\
m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\n\
for word in sys.stdin: print(os.fstat(f.fileno()).st_mtime_ns, m[:].decode(), flush=True)\n";
        let (tell, hear) = (Stdio::piped(), Stdio::piped());
        let program = Command::new("python3").args(["-c", script]).arg(path).stdin(tell).stdout(hear).spawn();
        let mut program = program.expect("python3 is needed to map a file");
        let lines = BufReader::new(program.stdout.take().expect("piped"));
        Self { program, lines }
    }

    /// The file's time, and the mapped bytes.
    fn sees(&mut self) -> (i64, String) {
        self.program.stdin.as_mut().expect("piped").write_all(b"look\n").expect("it runs");
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it answers");
        let (time, bytes) = line.trim_end().split_once(' ').expect("two words");
        (time.parse().expect("a number"), bytes.to_owned())
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        drop(self.program.stdin.take());
        let _ended = self.program.wait();
    }
}

#[test]
fn a_mapping_shows_what_nt_programs_wrote_once_a_program_looks_at_the_file() {
    let Some((mount, client)) = mounted() else { return };
    fs::write(mount.at("f"), "before").expect("write");
    let mut mapper = Mapper::of(&mount.at("f"));
    let first = mapper.sees();
    assert_eq!(first.1, "before");
    let (file, _) = client.create(&CreateSpec { disposition: 1, ..spec("C:\\f") }).expect("a file");
    for text in ["behind", "hidden"] {
        client.write(file, Some(0), text.as_bytes()).expect("written");
        assert_eq!(mapper.sees().1, text);
    }
    client.close(file).expect("open");
    assert!(mapper.sees().0 > first.0);
    drop(client);
}

#[test]
fn a_mapping_shows_what_the_host_wrote_below_a_dir_volume_once_a_program_looks_at_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let volume = VolumeSpec::Dir { path: folder.path().to_owned() };
    let Some(mount) = Mount::of(volume, &MountOptions::default(), |_| {}) else { return };
    fs::write(mount.at("f"), "before").expect("write");
    let mut mapper = Mapper::of(&mount.at("f"));
    let first = mapper.sees();
    assert_eq!(first.1, "before");
    // Times of the host have its own steps; what is written in the same one is not seen.
    let host = fs::File::options().write(true).open(folder.path().join("f")).expect("on the host");
    let mut seen = first.clone();
    support::until("the host's time moves", || {
        host.write_all_at(b"behind", 0).expect("the host writes");
        seen = mapper.sees();
        seen.0 != first.0
    });
    assert_eq!(seen.1, "behind");
}
