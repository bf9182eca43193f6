//! Requests that wait in a filter: nobody else waits for them, and an interrupted program gets away.

mod support;

use nt_abi::NtStatus;
use nt_abi::io::{IRP_MJ_READ, IRP_MJ_WRITE, IRP_PAGING_IO};
use nt_fltmgr::generated::complete_pended_pre;
use nt_fltmgr::{CallbackData, MiniFilter, PreOp};
use nt_io::irp::IoStatus;
use ntio_fuse::MountOptions;
use parking_lot::Mutex;
use std::fs;
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use support::{Mount, until};

/// Pends what goes to files named `*.held`.
#[derive(Default)]
struct Holder {
    held: Mutex<Vec<CallbackData>>,
}

impl MiniFilter for Holder {
    fn name(&self) -> &str {
        "holder"
    }
    fn altitude(&self) -> &str {
        "385998"
    }
    fn operations(&self) -> Vec<(u8, u32)> {
        vec![(IRP_MJ_READ, 0), (IRP_MJ_WRITE, 0)]
    }
    fn pre_operation(&self, data: CallbackData) -> PreOp {
        let name = data.file().map(|file| file.at(nt_abi::io::FILE_OBJECT::FileName));
        let name: Vec<u16> = name.and_then(|name| nt_rtl::unicode::units(name).ok()).unwrap_or_default();
        let name = String::from_utf16_lossy(&name);
        // What the cache manager writes for them goes on.
        if !name.ends_with(".held") || data.irp_flags() & IRP_PAGING_IO != 0 {
            return PreOp::NoCallback;
        }
        if data.is_fast_io() {
            return PreOp::DisallowFastIo;
        }
        self.held.lock().push(data);
        PreOp::Pending
    }
}

fn mount(options: &MountOptions) -> Option<(Mount, Arc<Holder>)> {
    let holder = Arc::new(Holder::default());
    let filter = Arc::clone(&holder);
    let mount = Mount::as_told(options, move |machine| {
        machine.add_filter(filter).expect("the filter registers");
    })?;
    Some((mount, holder))
}

#[test]
fn six_hundred_requests_that_wait_stop_nobody_else() {
    const WAITING: usize = 600;
    let Some((mount, holder)) = mount(&MountOptions::default()) else { return };
    let writers: Vec<_> = (0..WAITING)
        .map(|number| {
            let path = mount.at(&format!("{number}.held"));
            std::thread::spawn(move || fs::write(path, number.to_string()))
        })
        .collect();
    until("all of them wait", || holder.held.lock().len() == WAITING);
    fs::write(mount.at("free"), "goes on").expect("a write beside them");
    assert_eq!(fs::read_to_string(mount.at("free")).expect("a read beside them"), "goes on");
    assert_eq!(fs::read_dir(mount.at("")).expect("a listing beside them").count(), WAITING + 1);
    for data in std::mem::take(&mut *holder.held.lock()) {
        mount.in_system(|| complete_pended_pre(data, PreOp::NoCallback));
    }
    for writer in writers {
        writer.join().expect("a thread").expect("its write, when it was let go");
    }
    for number in 0..WAITING {
        assert_eq!(
            fs::metadata(mount.at(&format!("{number}.held"))).expect("stat").len() as usize,
            number.to_string().len()
        );
    }
}

#[test]
fn a_signal_cancels_what_waits_and_the_program_learns_of_it() {
    let Some((mount, holder)) = mount(&MountOptions::default()) else { return };
    // Once a signal that ends the program, once one that it catches: the write then says EINTR.
    let caught = "import os, signal, sys\n\
class Told(Exception): pass\n\
def tell(*_): raise Told()\n\
signal.signal(signal.SIGUSR1, tell)\n\
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)\n\
try: os.write(fd, b'x'); sys.exit(3)\n\
except Told: sys.exit(42)\n";
    for (signal, expected) in [("TERM", None), ("USR1", Some(42))] {
        let mut program =
            Command::new("python3").arg("-c").arg(caught).arg(mount.at("x.held")).spawn().expect("python3 starts");
        until("the write waits", || holder.held.lock().len() == 1);
        let data = holder.held.lock()[0];
        assert!(!data.is_canceled(), "nobody asked yet");
        let killed = Command::new("kill").args(["-s", signal, &program.id().to_string()]).status().expect("kill");
        assert!(killed.success());
        until("the request is cancelled", || data.is_canceled());
        assert!(program.try_wait().expect("wait").is_none(), "the program waits for the answer");
        holder.held.lock().clear();
        let cancelled = PreOp::Complete(IoStatus::new(NtStatus::CANCELLED, 0));
        mount.in_system(|| complete_pended_pre(data, cancelled));
        let status = program.wait().expect("it ends");
        assert_eq!(status.code(), expected, "after {signal}");
    }
    fs::write(mount.at("free"), "the mount goes on").expect("a write");
}

/// More requests than there can be readers: the last one still hears that the program was killed.
#[test]
fn more_requests_than_readers_wait_and_can_all_be_interrupted() {
    const READERS: usize = 64;
    const WAITING: usize = READERS + 40;
    let options = MountOptions { readers: NonZero::new(READERS), ..MountOptions::default() };
    let Some((mount, holder)) = mount(&options) else { return };
    let script = format!(
        "import os, sys, threading\n\
files = [os.open(sys.argv[1] + '/%d.held' % number, os.O_CREAT | os.O_WRONLY) for number in range({WAITING})]\n\
for file in files: threading.Thread(target=os.write, args=(file, b'x')).start()\n"
    );
    let mut program = Command::new("python3").arg("-c").arg(script).arg(mount.at("")).spawn().expect("python3 starts");
    // One reader is left over for what cannot wait.
    until("all readers but one wait", || holder.held.lock().len() >= READERS - 1);
    assert_eq!(holder.held.lock().len(), READERS - 1);
    program.kill().expect("killed");
    let held = std::mem::take(&mut *holder.held.lock());
    until("each request is cancelled", || held.iter().all(|data| data.is_canceled()));
    holder.held.lock().extend(held);
    // What was put aside may come to the filter now, before its interrupt does.
    until("the program ends", || {
        for data in std::mem::take(&mut *holder.held.lock()) {
            mount.in_system(|| complete_pended_pre(data, PreOp::Complete(IoStatus::new(NtStatus::CANCELLED, 0))));
        }
        program.try_wait().expect("wait").is_some()
    });
    fs::write(mount.at("free"), "the mount goes on").expect("a write");
    assert_eq!(fs::read_dir(mount.at("")).expect("a listing").count(), WAITING + 1);
}

#[test]
fn what_was_put_aside_goes_to_the_first_reader_that_comes_free() {
    const READERS: usize = 16;
    let options = MountOptions { readers: NonZero::new(READERS), ..MountOptions::default() };
    let Some((mount, holder)) = mount(&options) else { return };
    let made = (0..READERS).map(|number| fs::File::create(mount.at(&format!("{number}.held"))).expect("made"));
    let files: Vec<_> = made.map(Arc::new).collect();
    let write = |count: usize| -> Vec<_> {
        let files = files[..count].iter().cloned();
        files.map(|file| std::thread::spawn(move || file.write_at(b"x", 0))).collect()
    };
    let go = |data| mount.in_system(|| complete_pended_pre(data, PreOp::NoCallback));
    let end = |writers: Vec<std::thread::JoinHandle<std::io::Result<usize>>>| {
        std::mem::take(&mut *holder.held.lock()).into_iter().for_each(go);
        writers.into_iter().for_each(|writer| assert_eq!(writer.join().expect("a thread").expect("a write"), 1));
    };
    // As many readers as can be, and all of them idle then.
    let writers = write(READERS - 1);
    until("all readers but one wait", || holder.held.lock().len() == READERS - 1);
    end(writers);
    let writers = write(READERS);
    until("all readers but one wait again", || holder.held.lock().len() == READERS - 1);
    std::thread::sleep(Duration::from_millis(50));
    let first = holder.held.lock().remove(0);
    go(first);
    until("what was put aside comes to the filter", || holder.held.lock().len() == READERS - 1);
    end(writers);
}
