//! The rules that decided a request stand in its trace event, whichever thread it ends on.

use nt_abi::io::IRP_PAGING_IO;
use nt_fltmgr::{CallbackData, MiniFilter, PostOp, PreOp};
use nt_io::irp::IoStatus;
use nt_io::rw::Arguments;
use nt_io::system::AsyncPolicy;
use nt_machine::file::spec;
use nt_machine::{Client, CreateSpec, Handle, KsSpec, Machine, NtStatus, Recorder};
use serde_json::Value;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn events(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
    /// The last event of an operation that is no paging, and its rules; it is written after its caller was told.
    fn last(&self, op: &str) -> (Value, Vec<String>) {
        let until = Instant::now() + Duration::from_secs(120);
        let event = loop {
            let asked =
                |event: &Value| event["flags"].as_u64().is_none_or(|flags| flags & u64::from(IRP_PAGING_IO) == 0);
            match self.events().into_iter().rev().find(|event| event["op"] == op && asked(event)) {
                Some(event) => break event,
                None => assert!(Instant::now() < until, "{op}: no such event in {:?}", self.events()),
            }
            std::thread::yield_now();
        };
        let rules = event["rules"].as_array().expect("a list").iter();
        let rules = rules.map(|rule| rule.as_str().expect("an id").to_owned()).collect();
        (event, rules)
    }
    /// The rules of the last IRP_MJ_WRITE.
    fn write_rules(&self) -> Vec<String> {
        self.last("IRP_MJ_WRITE").1
    }
}

struct House {
    machine: Machine,
    client: Client,
    lines: Lines,
}

fn house(policy: AsyncPolicy) -> House {
    let lines = Lines::default();
    let recorder = Recorder::new(Some(Box::new(lines.clone())));
    let built = Machine::builder().ks("null".parse::<KsSpec>().expect("a spec")).completion(policy);
    let machine = built.recorder(recorder).build().expect("a machine");
    let client = machine.process("writer").expect("a process");
    House { machine, client, lines }
}

const ASYNCHRONOUS: fn(&str) -> CreateSpec = |name| CreateSpec { options: 0, ..spec(name) };

fn has(rules: &[String], wanted: &[&str]) {
    for id in wanted {
        assert!(rules.iter().any(|rule| rule == id), "{id} is not in {rules:?}");
    }
}

fn lacks(rules: &[String], unwanted: &[&str]) {
    for id in unwanted {
        assert!(!rules.iter().any(|rule| rule == id), "{id} is in {rules:?}");
    }
}

#[test]
fn a_write_tells_where_it_started_and_what_it_did_to_the_file() {
    let house = house(AsyncPolicy::default());
    let file = house.client.create(&spec("C:\\a")).expect("an open").0;
    house.client.write(file, Some(0), b"abcd").expect("a write");
    has(&house.lines.write_rules(), &["NT-O-03", "NT-W-04"]);
    lacks(&house.lines.write_rules(), &["NT-O-01", "NT-K-01"]);
    house.client.write(file, None, b"ef").expect("a write");
    let (event, rules) = house.lines.last("IRP_MJ_WRITE");
    assert_eq!(event["fast"], true);
    has(&rules, &["NT-O-01", "NT-K-01", "NT-K-04", "NT-K-09", "NT-W-04"]);
    lacks(&rules, &["NT-O-03", "NT-W-05"]);
    house.client.write(file, Some(0), b"A").expect("a write");
    has(&house.lines.write_rules(), &["NT-O-03", "NT-W-03"]);
    house.client.write(file, Some(100), b"A").expect("a write");
    has(&house.lines.write_rules(), &["NT-W-05"]);
    house.client.write(file, Some(100_000), b"A").expect("a write");
    let (event, rules) = house.lines.last("IRP_MJ_WRITE");
    assert_eq!(event["fast"], false, "too far past the end for fast I/O");
    has(&rules, &["NT-K-07", "NT-K-03", "NT-W-05"]);
}

#[test]
fn an_append_only_handle_says_so() {
    let house = house(AsyncPolicy::default());
    let file = house.client.create(&CreateSpec { access: 0x10_0004, ..spec("C:\\a") }).expect("an open").0;
    house.client.write(file, Some(7), b"abcd").expect("a write");
    has(&house.lines.write_rules(), &["NT-V-14", "NT-O-08", "NT-S-15"]);
}

#[test]
fn a_refused_call_is_an_event_that_names_the_rule() {
    let house = house(AsyncPolicy::default());
    let file = house.client.create(&spec("C:\\a")).expect("an open").0;
    let refused = |status: NtStatus| {
        let (event, rules) = house.lines.last("NtWriteFile");
        assert_eq!(event["status"], format!("{:#010x}", status.0));
        (event, rules)
    };
    assert!(house.client.write(file, Some(-5), b"abcd").is_err());
    let (event, rules) = refused(NtStatus::INVALID_PARAMETER);
    assert_eq!((&event["file"], &event["offset"], &event["length"]), (&"\\a".into(), &(-5).into(), &4.into()));
    assert_eq!(rules, ["NT-V-12"]);
    let reader = house.client.create(&CreateSpec { access: 0x10_0001, ..spec("C:\\a") }).expect("an open").0;
    assert!(house.client.write(reader, Some(0), b"abcd").is_err());
    has(&refused(NtStatus::ACCESS_DENIED).1, &["NT-V-03", "NT-A-02"]);
    assert!(house.client.write(Handle(0x7770), Some(0), b"abcd").is_err());
    assert_eq!(refused(NtStatus::INVALID_HANDLE).1, ["NT-V-01"]);
    let both = CreateSpec { options: 0x30, ..spec("C:\\a") };
    assert!(house.client.create(&both).is_err());
    let (event, rules) = house.lines.last("NtCreateFile");
    assert_eq!((&event["file"], rules), (&"\\??\\C:\\a".into(), vec!["NT-A-09".to_owned()]));
    assert!(house.lines.events().iter().all(|event| event["op"] != "IRP_MJ_WRITE"), "no request came of any");
}

#[test]
fn a_request_that_ends_on_another_thread_keeps_its_rules() {
    for policy in [AsyncPolicy::Pend, AsyncPolicy::Worker, AsyncPolicy::Dispatch] {
        let house = house(policy);
        let file = house.client.create(&ASYNCHRONOUS("C:\\a")).expect("an open").0;
        house.client.write(file, Some(-1), b"abcd").expect("a write");
        has(&house.lines.write_rules(), &["NT-C-13", "NT-W-04", "NT-S-15"]);
        let mut bytes = [0; 4];
        assert!(house.client.read(file, Some(4), &mut bytes).is_err());
        has(&house.lines.last("IRP_MJ_READ").1, &["NT-R-03", "NT-C-04"]);
    }
}

/// Refuses fast I/O, and answers writes at 4096 itself.
struct Judge;

impl MiniFilter for Judge {
    fn name(&self) -> &str {
        "judge"
    }
    fn altitude(&self) -> &str {
        "370000"
    }
    fn operations(&self) -> Vec<(u8, u32)> {
        vec![(4, 0)]
    }
    fn pre_operation(&self, data: CallbackData) -> PreOp {
        if data.is_fast_io() {
            return PreOp::DisallowFastIo;
        }
        if data.offset() == 4096 {
            return PreOp::Complete(IoStatus::new(NtStatus::ACCESS_DENIED, 0));
        }
        PreOp::NoCallback
    }
    fn post_operation(&self, _data: CallbackData, _context: u64) -> PostOp {
        PostOp::Finished
    }
}

#[test]
fn what_a_filter_decided_is_told_by_its_rule() {
    let house = house(AsyncPolicy::default());
    house.machine.add_filter(Arc::new(Judge)).expect("the filter registers");
    let file = house.client.create(&spec("C:\\a")).expect("an open").0;
    house.client.write(file, Some(0), b"abcd").expect("a write");
    lacks(&house.lines.write_rules(), &["FLT-O-10"]);
    house.client.write(file, Some(0), b"abcd").expect("a write");
    has(&house.lines.write_rules(), &["FLT-O-04", "FLT-O-10", "NT-K-03"]);
    assert!(house.client.write(file, Some(4096), b"abcd").is_err());
    has(&house.lines.write_rules(), &["FLT-O-06", "NT-C-02"]);
}

#[test]
fn the_other_calls_name_their_rules_too() {
    let house = house(AsyncPolicy::default());
    house.machine.add_filter(Arc::new(Judge)).expect("the filter registers");
    let kernel = house.machine.kernel_client().expect("a kernel client");
    let instance = house.machine.instance("judge", 0).expect("an instance");
    let file = kernel.open(&spec("C:\\a")).expect("an open");
    file.flt_write(&instance, Some(-1), b"abc").expect("a write");
    let (event, rules) = house.lines.last("IRP_MJ_WRITE");
    assert_eq!(event["generated"], true);
    has(&rules, &["FLT-W-10", "NT-S-15", "NT-W-04"]);
    assert!(file.flt_write(&instance, Some(-9), b"abc").is_err());
    assert_eq!(house.lines.last("FltWriteFile").1, ["FLT-W-18"]);
    file.ks_write(b"abc").expect("a write");
    let (event, rules) = house.lines.last("IRP_MJ_WRITE");
    assert_eq!(event["fast"], false, "{event}");
    has(&rules, &["KS-W-07", "FLT-O-10", "KS-W-21"]);
}

#[test]
fn nobody_asks_and_nothing_is_collected() {
    let recorder = Recorder::new(None);
    let machine = Machine::builder().recorder(recorder).build().expect("a machine");
    let client = machine.process("writer").expect("a process");
    let file = client.create(&spec("C:\\a")).expect("an open").0;
    let status = client.nt_write_file(&Arguments {
        handle: file,
        event: Handle::NULL,
        apc_routine: None,
        apc_context: 0,
        iosb: nt_cell::Addr::NULL,
        buffer: nt_cell::Addr::NULL,
        length: 0,
        byte_offset: nt_cell::Addr::NULL,
        key: nt_cell::Addr::NULL,
    });
    assert_eq!(status, NtStatus::ACCESS_VIOLATION);
    assert!(nt_trace::so_far().is_empty() && nt_trace::span() == 0);
}
