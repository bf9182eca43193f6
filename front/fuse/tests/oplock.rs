//! Oplocks of NT programs and Linux programs that meet them: nt-fs.md section 16. Leases of the kernel are another thing.

mod support;

use nt_abi::NtStatus;
use nt_cell::Addr;
use nt_cell::arena::UserBlock;
use nt_io::control::{ControlArguments, nt_control_file};
use nt_io::service::Caller;
use nt_machine::file::spec;
use nt_machine::{Client, CreateSpec, Handle};
use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;
use support::{Mount, until};

const FILTER: u32 = 0x9_005C;
const LEVEL_1: u32 = 0x9_0000;
const LEVEL_2: u32 = 0x9_0004;
const BATCH: u32 = 0x9_0008;
const ACKNOWLEDGE: u32 = 0x9_000C;
const UNTOUCHED: u64 = 0x5555_5555_5555_5555;

/// A control about oplocks that may wait.
struct Asked {
    returned: NtStatus,
    iosb: UserBlock,
}

impl Asked {
    fn new(client: &Client, handle: Handle, code: u32) -> Self {
        let iosb = UserBlock::new(16).expect("arena");
        iosb.region().store::<u64>(0, UNTOUCHED).expect("arena");
        iosb.region().store::<u64>(8, UNTOUCHED).expect("arena");
        let args = ControlArguments {
            caller: Caller::plain(handle, Addr::user(iosb.addr())),
            code,
            input: (Addr::NULL, 0),
            output: (Addr::NULL, 0),
            file_system: true,
        };
        let returned = client.call(|frame| nt_control_file(frame, &args));
        Self { returned, iosb }
    }

    /// FILE_OPLOCK_BROKEN_TO_*, once it is.
    fn broken(&self) -> Option<u64> {
        let information = self.iosb.region().load::<u64>(8).expect("arena");
        (information != UNTOUCHED).then_some(information)
    }
}

/// Who holds an oplock. A claim that fails while others wait for its acknowledgement must not leave them waiting.
struct Holder<'a> {
    client: &'a Client,
    handle: Handle,
    held: Asked,
}

impl<'a> Holder<'a> {
    /// Opens for attributes only, asynchronously, as holders of oplocks do.
    fn of(client: &'a Client, name: &str, code: u32) -> Self {
        let spec = CreateSpec { access: 0x10_0080, options: 0, disposition: 1, ..spec(name) };
        let (handle, _) = client.create(&spec).expect("there");
        let holder = Self { client, handle, held: Asked::new(client, handle, code) };
        assert_eq!(holder.held.returned, NtStatus::PENDING);
        assert_eq!(holder.broken(), None);
        holder
    }

    fn broken(&self) -> Option<u64> {
        self.held.broken()
    }

    fn acknowledges(&self) -> Asked {
        Asked::new(self.client, self.handle, ACKNOWLEDGE)
    }
}

impl Drop for Holder<'_> {
    fn drop(&mut self) {
        self.client.close(self.handle).expect("open");
    }
}

/// Makes a file that nobody has open any more: the door hears of a close after the program went on.
fn make(mount: &Mount, client: &Client, name: &str, data: &str) {
    const RESERVE_OPFILTER: u32 = 0x10_0000;
    fs::write(mount.at(name), data).expect("write");
    until("the door has closed it", || {
        let name = format!("C:\\{name}");
        let spec = CreateSpec { access: 0x10_0080, options: RESERVE_OPFILTER, disposition: 1, ..spec(&name) };
        client.create(&spec).map(|(handle, _)| client.close(handle)).is_ok()
    });
}

#[test]
fn nt_opl_13_a_linux_program_breaks_an_oplock_and_waits_and_stops_nobody_else() {
    const WAITING: usize = 40;
    let Some(mount) = Mount::new() else { return };
    let client = mount.native();
    make(&mount, &client, "f", "before");
    let holder = Holder::of(&client, "C:\\f", BATCH);
    assert_eq!(fs::metadata(mount.at("f")).expect("stat").len(), 6, "to look at it disturbs nobody");
    assert_eq!(holder.broken(), None);
    let openers: Vec<_> = (0..WAITING)
        .map(|_| {
            let path = mount.at("f");
            std::thread::spawn(move || fs::File::options().read(true).write(true).open(path))
        })
        .collect();
    until("the oplock breaks", || holder.broken() == Some(7));
    fs::write(mount.at("other"), "goes on").expect("a write beside them");
    assert_eq!(fs::read_to_string(mount.at("other")).expect("a read beside them"), "goes on");
    assert!(openers.iter().all(|opener| !opener.is_finished()), "they wait for the acknowledgement");
    let level_2 = holder.acknowledges();
    assert_eq!(level_2.returned, NtStatus::PENDING);
    let files: Vec<_> = openers.into_iter().map(|opener| opener.join().expect("a thread").expect("open")).collect();
    assert_eq!(level_2.broken(), None, "an open leaves level 2");
    files[0].write_at(b"after!", 0).expect("write");
    assert_eq!(level_2.broken(), Some(8), "a write does not, and waits for nobody");
    drop(files);
    drop(holder);
    assert_eq!(fs::read_to_string(mount.at("f")).expect("read"), "after!");
}

#[test]
fn nt_opl_13_a_filter_oplock_lets_linux_readers_in_and_a_truncating_writer_wait() {
    let Some(mount) = Mount::new() else { return };
    let client = mount.native();
    make(&mount, &client, "f", "before");
    let holder = Holder::of(&client, "C:\\f", FILTER);
    assert_eq!(fs::read_to_string(mount.at("f")).expect("read"), "before");
    assert_eq!(holder.broken(), None, "a reader is not in its way");
    let path = mount.at("f");
    let writer = std::thread::spawn(move || fs::write(path, "after"));
    until("the oplock breaks", || holder.broken() == Some(8));
    fs::write(mount.at("other"), "goes on").expect("an open that waits does not lock its directory");
    std::thread::sleep(Duration::from_millis(50));
    assert!(!writer.is_finished(), "it waits");
    drop(holder);
    writer.join().expect("a thread").expect("the close was the acknowledgement");
    assert_eq!(fs::read_to_string(mount.at("f")).expect("read"), "after");
}

#[test]
fn nt_opl_13_a_linux_program_that_waits_for_an_oplock_can_be_interrupted() {
    let Some(mount) = Mount::new() else { return };
    let client = mount.native();
    make(&mount, &client, "f", "");
    let holder = Holder::of(&client, "C:\\f", LEVEL_1);
    let mut program = Command::new("cat").arg(mount.at("f")).spawn().expect("cat starts");
    until("the oplock breaks", || holder.broken() == Some(7));
    std::thread::sleep(Duration::from_millis(50));
    assert!(program.try_wait().expect("a child").is_none(), "it waits");
    program.kill().expect("killed");
    program.wait().expect("it ends, although nobody acknowledges");
    drop(holder);
    assert_eq!(fs::read_to_string(mount.at("f")).expect("read"), "", "the close was the acknowledgement");
}

#[test]
fn nt_opl_13_leases_stay_with_the_kernel_and_know_nothing_of_oplocks() {
    let Some(mount) = Mount::new() else { return };
    let client = mount.native();
    make(&mount, &client, "f", "data");
    // Asks for a lease, says what came of it, and holds it until its input ends.
    let script = "import fcntl, os, sys, errno
f = os.open(sys.argv[1], os.O_RDONLY)
try:
    fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    print('held', fcntl.fcntl(f, fcntl.F_GETLEASE) == fcntl.F_RDLCK)
except OSError as e:
    print(errno.errorcode[e.errno])
os.close(f)
f = os.open(sys.argv[1], os.O_RDONLY)
print(os.read(f, 9).decode())";
    let run = || {
        let done = Command::new("python3").arg("-c").arg(script).arg(mount.at("f")).output().expect("python3");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("text")
    };
    let alone = run();
    // EINVAL: a kernel where file systems have leases only if they say so.
    assert!(["held True\ndata\n", "EAGAIN\ndata\n", "EINVAL\ndata\n"].contains(&alone.as_str()), "{alone}");
    let holder = Holder::of(&client, "C:\\f", LEVEL_2);
    assert_eq!(run(), alone, "an oplock changes nothing of it");
    assert_eq!(holder.broken(), None, "nor does a lease break one");
    drop(holder);
}
