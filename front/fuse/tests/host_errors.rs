//! Errors of the host reach an NT program on a `dir` volume as what they are, and nothing is lost by them.
//!
//! The host that fails on demand is another machine's mount: a filter there answers with a status, the POSIX door makes an
//! errno of it, and the `dir` volume on top must make the status of it again. NTIO_NO_FUSE=1 says that /dev/fuse is absent.

use nt_abi::{NtResult, NtStatus};
use nt_fltmgr::{CallbackData, MiniFilter, PreOp};
use nt_io::create::CreateSpec;
use nt_io::info::class;
use nt_io::irp::IoStatus;
use nt_machine::{Client, Handle, Machine, VolumeSpec};
use parking_lot::Mutex;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const CREATE: u8 = 0x00;
const READ: u8 = 0x03;
const WRITE: u8 = 0x04;
const SET_INFORMATION: u8 = 0x06;
const SET_EA: u8 = 0x08;
const FLUSH: u8 = 0x09;

/// Fails requests of one kind; counts flushes.
#[derive(Default)]
struct Trouble {
    now: Mutex<Option<(u8, NtStatus)>>,
    flushes: AtomicU32,
}

impl MiniFilter for Trouble {
    fn name(&self) -> &str {
        "trouble"
    }
    fn altitude(&self) -> &str {
        "370000"
    }
    fn operations(&self) -> Vec<(u8, u32)> {
        [CREATE, READ, WRITE, SET_INFORMATION, SET_EA, FLUSH].map(|major| (major, 0)).to_vec()
    }
    fn pre_operation(&self, data: CallbackData) -> PreOp {
        if data.major() == FLUSH {
            self.flushes.fetch_add(1, Ordering::SeqCst);
        }
        match *self.now.lock() {
            Some((major, status)) if major == data.major() => PreOp::Complete(IoStatus::new(status, 0)),
            _ => PreOp::NoCallback,
        }
    }
}

/// The host, and the machine on top of it.
struct Stack {
    directory: tempfile::TempDir,
    trouble: Arc<Trouble>,
    server: Option<std::thread::JoinHandle<()>>,
    host: Option<Arc<Machine>>,
    machine: Option<Machine>,
}

impl Stack {
    fn new() -> Option<Self> {
        if std::env::var_os("NTIO_NO_FUSE").is_some_and(|value| value == "1") {
            return None;
        }
        let host = Arc::new(Machine::builder().build().expect("a machine"));
        let trouble = Arc::new(Trouble::default());
        host.add_filter(Arc::clone(&trouble) as Arc<dyn MiniFilter>).expect("a filter");
        let directory = tempfile::tempdir().expect("a directory");
        let mounted =
            ntio_fuse::mount(&host, 0, directory.path()).expect("a mount (NTIO_NO_FUSE=1 where there is no FUSE)");
        let server = std::thread::spawn(move || mounted.serve().expect("a session"));
        let volume = VolumeSpec::Dir { path: directory.path().to_owned() };
        let machine = Machine::builder().volume(volume).build().expect("a machine on the mount");
        Some(Self { directory, trouble, server: Some(server), host: Some(host), machine: Some(machine) })
    }
    fn client(&self) -> Client {
        self.machine.as_ref().expect("a machine").process("test").expect("a process")
    }
    /// Does something while the host fails all requests of a kind.
    fn during<R>(&self, major: u8, status: NtStatus, body: impl FnOnce() -> R) -> R {
        *self.trouble.now.lock() = Some((major, status));
        let result = body();
        *self.trouble.now.lock() = None;
        result
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let leaks = self.machine.take().expect("a machine").shutdown();
        // A worker that saw the last handle go may still be about to let go of the host's.
        let lazily = !(0..2400).any(|_| {
            let done = Command::new("umount").arg(self.directory.path()).status().expect("umount");
            if !done.success() {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            done.success()
        });
        if lazily {
            let _gone = Command::new("umount").arg("-l").arg(self.directory.path()).status();
        }
        self.server.take().expect("served once").join().expect("the server ends");
        let host = Arc::into_inner(self.host.take().expect("a machine")).expect("nobody else holds the machine");
        let below = host.shutdown();
        if !std::thread::panicking() {
            assert!(!lazily, "the dir volume kept a file of the host open");
            assert!(leaks.requests == 0 && leaks.handles.is_empty(), "{leaks:?}");
            assert!(below.requests == 0 && below.handles.is_empty(), "{below:?}");
        }
    }
}

fn spec(name: &str, disposition: u32, options: u32) -> CreateSpec {
    CreateSpec {
        access: 0xC011_0000,
        name: format!("\\??\\C:\\{name}").encode_utf16().collect(),
        disposition,
        options: 0x20 | options,
        ..CreateSpec::default()
    }
}

/// FILE_RENAME_INFORMATION to a name from the root.
fn renaming(name: &str) -> Vec<u8> {
    let name: Vec<u8> = format!("\\??\\C:\\{name}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut bytes = vec![0; 20];
    bytes[16..].copy_from_slice(&(name.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&name);
    bytes
}

fn open(client: &Client, name: &str) -> Handle {
    client.create(&spec(name, 3, 0)).unwrap_or_else(|error| panic!("{name}: {error}")).0
}

fn status<T: std::fmt::Debug>(result: NtResult<T>) -> NtStatus {
    result.map_or_else(|error| error.status(), |_| NtStatus::SUCCESS)
}

fn all(client: &Client, handle: Handle) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    let count = client.read(handle, Some(0), &mut bytes).expect("a read");
    bytes.truncate(count);
    bytes
}

#[test]
fn each_error_of_a_write_is_told_and_the_file_stays_as_it_was() {
    let Some(stack) = Stack::new() else { return };
    let client = stack.client();
    let file = open(&client, "f");
    client.write(file, Some(0), b"what was there").expect("a write");
    for (below, above) in [
        (NtStatus::DISK_FULL, NtStatus::DISK_FULL),
        (NtStatus::DISK_QUOTA_EXCEEDED, NtStatus::DISK_QUOTA_EXCEEDED),
        (NtStatus::FILE_TOO_LARGE, NtStatus::FILE_TOO_LARGE),
        (NtStatus::MEDIA_WRITE_PROTECTED, NtStatus::MEDIA_WRITE_PROTECTED),
        (NtStatus::ACCESS_DENIED, NtStatus::ACCESS_DENIED),
        (NtStatus::INSUFFICIENT_RESOURCES, NtStatus::INSUFFICIENT_RESOURCES),
        (NtStatus::IO_DEVICE_ERROR, NtStatus::IO_DEVICE_ERROR),
        (NtStatus::FILE_CORRUPT_ERROR, NtStatus::IO_DEVICE_ERROR),
        (NtStatus::NO_SUCH_DEVICE, NtStatus::NO_SUCH_DEVICE),
        (NtStatus::FILE_INVALID, NtStatus::FILE_INVALID),
    ] {
        stack.during(WRITE, below, || {
            assert_eq!(status(client.write(file, Some(5), b"other bytes, and more")), above, "{below}");
            assert_eq!(status(client.write(file, Some(1000), b"past the end")), above, "{below}");
        });
        assert_eq!(all(&client, file), b"what was there", "{below}");
        client.write(file, Some(0), b"what was").expect("the next write works");
    }
    client.close(file).expect("close");
}

#[test]
fn errors_of_reads_flushes_and_names_are_told() {
    let Some(stack) = Stack::new() else { return };
    let client = stack.client();
    let file = open(&client, "f");
    client.write(file, Some(0), b"data").expect("a write");
    let failed = stack.during(READ, NtStatus::IO_DEVICE_ERROR, || client.read(file, Some(0), &mut [0; 4]));
    assert_eq!(status(failed), NtStatus::IO_DEVICE_ERROR);
    assert_eq!(all(&client, file), b"data");
    let failed = stack.during(FLUSH, NtStatus::IO_DEVICE_ERROR, || client.flush(file));
    assert_eq!(status(failed), NtStatus::IO_DEVICE_ERROR, "a flush that failed is not a success");
    let failed = stack.during(SET_EA, NtStatus::DISK_FULL, || client.set_ea(file, b"\0\0\0\0\0\x01\x01\0A\0x"));
    assert!(failed.is_err());
    let end = stack.during(SET_INFORMATION, NtStatus::DISK_FULL, || {
        client.set_information(file, class::END_OF_FILE, &100_i64.to_le_bytes())
    });
    assert_eq!(status(end), NtStatus::DISK_FULL);
    let rename = renaming("g");
    let moved = stack
        .during(SET_INFORMATION, NtStatus::IO_DEVICE_ERROR, || client.set_information(file, class::RENAME, &rename));
    assert_eq!(status(moved), NtStatus::IO_DEVICE_ERROR);
    for below in [NtStatus::MEDIA_WRITE_PROTECTED, NtStatus::ACCESS_DENIED, NtStatus::DISK_FULL] {
        stack.during(CREATE, below, || {
            assert_eq!(status(client.create(&spec("new", 2, 0))), below);
            assert_eq!(status(client.create(&spec("new dir", 2, 1))), below);
        });
    }
    assert_eq!(all(&client, file), b"data");
    client.close(file).expect("close");
    let names: Vec<_> =
        std::fs::read_dir(stack.directory.path()).expect("the host").map(|e| e.expect("a name").file_name()).collect();
    assert_eq!(names, ["f"], "nothing half-made is left");
}

#[test]
fn a_delete_that_the_host_refuses_leaves_the_file() {
    let Some(stack) = Stack::new() else { return };
    let client = stack.client();
    let file = open(&client, "f");
    client.write(file, Some(0), b"data").expect("a write");
    client.set_information(file, class::DISPOSITION, &[1]).expect("marked");
    let _told = stack.during(SET_INFORMATION, NtStatus::IO_DEVICE_ERROR, || client.close(file));
    let file = open(&client, "f");
    assert_eq!(all(&client, file), b"data");
    client.close(file).expect("close");
}

#[test]
fn a_flush_makes_the_file_and_its_name_durable() {
    let Some(stack) = Stack::new() else { return };
    let client = stack.client();
    let flushes = || stack.trouble.flushes.swap(0, Ordering::SeqCst);
    let file = open(&client, "f");
    client.write(file, Some(0), b"data").expect("a write");
    assert_eq!(flushes(), 0, "a write is no flush");
    client.flush(file).expect("a flush");
    assert_eq!(flushes(), 2, "the file, and the directory that has its new name");
    client.write(file, Some(0), b"more").expect("a write");
    client.flush(file).expect("a flush");
    assert_eq!(flushes(), 1, "the file: its name is durable");
    let directory = client.create(&spec("d", 3, 1)).expect("a directory").0;
    client.flush(directory).expect("a flush");
    assert!(flushes() >= 1);
    client.close(directory).expect("close");
    client.set_information(file, class::RENAME, &renaming("d\\g")).expect("a rename");
    client.flush(file).expect("a flush");
    assert_eq!(flushes(), 3, "the file, the directory that it left, the one that it went to");
    client.close(file).expect("close");
}
