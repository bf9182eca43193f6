//! Watched directories, as an embedding program sees them, and under a filter (nt-fs.md section 10).

use nt_abi::flt::FLT_IO_PARAMETER_BLOCK;
use nt_fltmgr::{CallbackData, FltMgr, MiniFilter, PostOp, PreOp};
use nt_machine::file::spec;
use nt_machine::watch::{Action, Changed, Changes, WatchSpec};
use nt_machine::{Client, CreateSpec, Handle, Machine, NtStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const FILE_NAME: u32 = 1;

fn machine() -> (Machine, Client) {
    let machine = Machine::builder().build().expect("a machine");
    let client = machine.process("watcher").expect("a process");
    (machine, client)
}

fn directory(client: &Client, name: &str, options: u32) -> Handle {
    let wanted = CreateSpec { access: 0x11_0001, options: 1 | options, ..spec(&format!("C:\\{name}")) };
    client.create(&wanted).expect("a directory").0
}

fn make(client: &Client, name: &str) {
    let (file, _) = client.create(&spec(&format!("C:\\{name}"))).expect("a file");
    client.close(file).expect("open");
}

fn added(names: &[&str]) -> Changes {
    let one = |name: &&str| Changed { action: Action::Added, name: (*name).to_owned() };
    Changes::These(names.iter().map(one).collect())
}

fn end(machine: Machine, client: Client) {
    drop(client);
    let leaks = machine.shutdown();
    assert_eq!((leaks.requests, leaks.handles.len()), (0, 0), "{leaks:?}");
}

#[test]
fn a_client_starts_waits_and_drops_requests_for_changes() {
    let (machine, client) = machine();
    let folder = directory(&client, "d", 0);
    let mut first = client.start_watch(folder, &WatchSpec::new(FILE_NAME)).expect("a watch");
    let second = client.start_watch(folder, &WatchSpec::new(FILE_NAME)).expect("a watch");
    assert!(!first.is_done());
    make(&client, "d\\a");
    assert!(first.is_done());
    assert_eq!(first.wait(), Ok(added(&["a"])));
    drop(second); // cancelled; the watch stays
    make(&client, "d\\b");
    make(&client, "d\\c");
    assert_eq!(client.watch(folder, FILE_NAME, false), Ok(added(&["b", "c"])));
    let small = WatchSpec { length: 0, ..WatchSpec::new(FILE_NAME) };
    let other = directory(&client, "d", 0);
    let many = client.start_watch(other, &small).expect("a watch");
    make(&client, "d\\e");
    assert_eq!(many.wait(), Ok(Changes::TooMany));
    let last = client.start_watch(other, &small).expect("a watch");
    client.close(other).expect("open");
    assert_eq!(last.wait(), Ok(Changes::Closed));
    let refused = client.start_watch(folder, &WatchSpec::new(0)).expect_err("no filter");
    assert_eq!(refused.status(), NtStatus::INVALID_PARAMETER);
    client.close(folder).expect("open");
    end(machine, client);
}

#[test]
fn a_synchronous_handle_waits_for_another_thread() {
    let (machine, client) = machine();
    let folder = directory(&client, "d", 0x20);
    let other = client.thread().expect("a thread");
    std::thread::scope(|scope| {
        let machine = &machine;
        scope.spawn(move || {
            let maker = machine.process("maker").expect("a process");
            // The watch begins meanwhile: the machine's clock says when.
            let _slept = maker.call(|frame| nt_io::thread::nt_delay_execution(frame, false, -300_000));
            make(&maker, "d\\new");
        });
        assert_eq!(other.watch(folder, FILE_NAME, false), Ok(added(&["new"])));
    });
    client.close(folder).expect("open");
    drop(other);
    end(machine, client);
}

/// Sees requests for changes and their ends.
#[derive(Default)]
struct Watcher {
    /// {minor, Length, CompletionFilter, SL_WATCH_TREE} of each.
    seen: Mutex<Vec<(u8, u32, u32, u8)>>,
    ended: AtomicU64,
    drained: AtomicU64,
    information: AtomicU64,
}

impl MiniFilter for Watcher {
    fn name(&self) -> &str {
        "watcher"
    }
    fn altitude(&self) -> &str {
        "370200"
    }
    fn operations(&self) -> Vec<(u8, u32)> {
        vec![(0x0C, 0)]
    }
    fn pre_operation(&self, data: CallbackData) -> PreOp {
        let iopb = data.iopb();
        let seen = (
            iopb.get(FLT_IO_PARAMETER_BLOCK::MinorFunction),
            iopb.get(FLT_IO_PARAMETER_BLOCK::NotifyDirectory_Length),
            iopb.get(FLT_IO_PARAMETER_BLOCK::NotifyDirectory_CompletionFilter),
            data.operation_flags(),
        );
        self.seen.lock().expect("no other holder panics").push(seen);
        PreOp::WithCallback(0)
    }
    fn post_operation(&self, data: CallbackData, _context: u64) -> PostOp {
        if data.is_draining() {
            self.drained.fetch_add(1, Ordering::Relaxed);
        } else {
            self.ended.fetch_add(1, Ordering::Relaxed);
            self.information.store(data.status().information, Ordering::Relaxed);
        }
        PostOp::Finished
    }
}

#[test]
fn nt_nfy_25_a_filter_sees_the_request_and_a_detach_does_not_wait_for_its_end() {
    let (machine, client) = machine();
    let filter = Arc::new(Watcher::default());
    let registered = machine.add_filter(filter.clone()).expect("a filter");
    let folder = directory(&client, "d", 0);
    let tree = WatchSpec { tree: true, length: 512, ..WatchSpec::new(FILE_NAME) };
    let watching = client.start_watch(folder, &tree).expect("a watch");
    let seen = filter.seen.lock().expect("no other holder panics").clone();
    assert_eq!((seen, filter.ended.load(Ordering::Relaxed)), (vec![(2, 512, FILE_NAME, 1)], 0));
    make(&client, "d\\a");
    assert_eq!(watching.wait(), Ok(added(&["a"])));
    assert_eq!((filter.ended.load(Ordering::Relaxed), filter.information.load(Ordering::Relaxed)), (1, 0xE));
    // A request that is under way when the filter goes: its post callback is drained, the request itself goes on.
    let watching = client.start_watch(folder, &tree).expect("a watch");
    {
        let _system = machine.enter_system();
        FltMgr::of(machine.kernel()).expect("the room").unregister(&registered);
    }
    assert_eq!((filter.drained.load(Ordering::Relaxed), filter.ended.load(Ordering::Relaxed)), (1, 1));
    make(&client, "d\\b");
    assert_eq!(watching.wait(), Ok(added(&["b"])));
    assert_eq!(filter.ended.load(Ordering::Relaxed), 1, "it is not called any more");
    client.close(folder).expect("open");
    drop(registered);
    end(machine, client);
}
