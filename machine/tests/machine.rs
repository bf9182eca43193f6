//! A machine as a Rust program uses it.

use nt_io::service::Caller;
use nt_machine::client::Client;
use nt_machine::file::{GENERIC_READ, GENERIC_WRITE, spec};
use nt_machine::{CreateSpec, Handle, Machine, NtStatus, Recorder, VolumeSpec, ea};

fn machine() -> Machine {
    Machine::builder().volume(VolumeSpec::Ram { size: Some(64 << 20) }).build().expect("a machine")
}

fn open(client: &Client, spec: &CreateSpec) -> Handle {
    client.create(spec).expect("an open").0
}

#[test]
fn what_is_written_is_read_and_nothing_is_left_behind() {
    let machine = machine();
    let client = machine.process("writer").expect("a process");
    let file = open(&client, &spec("C:\\a.bin"));
    assert_eq!(client.write(file, Some(0), b"0123456789"), Ok(10));
    assert_eq!(client.write(file, None, b"ab"), Ok(2));
    assert_eq!(client.write(file, Some(-1), b"end"), Ok(3));
    let mut bytes = [0; 32];
    assert_eq!(client.read(file, Some(0), &mut bytes), Ok(15));
    assert_eq!(&bytes[..15], b"0123456789abend");
    client.close(file).expect("an open handle");
    drop(client);
    let leaks = machine.shutdown();
    assert_eq!((leaks.requests, leaks.handles.len()), (0, 0), "{leaks:?}");
}

#[test]
fn an_open_handle_is_a_leak_by_process() {
    let machine = machine();
    let client = machine.process("leaky").expect("a process");
    let _file = open(&client, &spec("C:\\a.bin"));
    drop(client);
    assert_eq!(machine.shutdown().handles, vec![("leaky".to_owned(), 1)]);
}

#[test]
fn requests_show_in_the_report_with_their_statuses() {
    let recorder = Recorder::new(None);
    let machine = Machine::builder().recorder(recorder.clone()).build().expect("a machine");
    let client = machine.process("writer").expect("a process");
    let file = open(&client, &spec("C:\\a.bin"));
    for _ in 0..5 {
        client.write(file, None, &[7; 100]).expect("a write");
    }
    let missing = CreateSpec { disposition: 1, ..spec("C:\\missing") };
    assert_eq!(client.create(&missing).map(|_| ()), Err(NtStatus::OBJECT_NAME_NOT_FOUND.error()));
    client.close(file).expect("an open handle");
    let report = recorder.report();
    // When the cache manager writes is its own affair.
    let writes = || report.requests.iter().filter(|row| row.major == "IRP_MJ_WRITE" && !row.paging);
    let (writes, bytes): (u64, u64) = (writes().map(|row| row.count).sum(), writes().map(|row| row.bytes).sum());
    assert_eq!((writes, bytes), (5, 500), "{}", report.text());
    let create = report.requests.iter().find(|row| row.major == "IRP_MJ_CREATE").expect("creates");
    assert_eq!(create.statuses.get("0xc0000034"), Some(&1));
    assert!(create.p50_ns <= create.p99_ns && create.p99_ns <= create.max_ns);
}

#[test]
fn an_append_only_handle_appends_and_a_paging_write_through_it_does_not() {
    let machine = machine();
    let client = machine.process("mapper").expect("a process");
    let file = open(&client, &spec("C:\\a.bin"));
    client.write(file, Some(0), &[b'-'; 8192]).expect("a write");
    let append = CreateSpec { access: GENERIC_READ | (GENERIC_WRITE & !2), ..spec("C:\\a.bin") };
    let append = open(&client, &append);
    client.write(append, Some(0), b"end").expect("a write");
    let system = machine.system_client().expect("a thread");
    let block = nt_cell::UserBlock::pages(4096).expect("arena");
    let page = block.region();
    for (at, byte) in [(4096, b'p'), (8192, b'q')] {
        page.fill(byte).expect("memory");
        client.paging_write(&system, append, at, page).expect("a paging write");
    }
    let mut bytes = vec![0; 20_000];
    assert_eq!(client.read(file, Some(0), &mut bytes), Ok(8195));
    assert!(bytes[..4096].iter().all(|&b| b == b'-') && bytes[4096..8192].iter().all(|&b| b == b'p'));
    assert_eq!(&bytes[8192..8195], b"qqq");
    for handle in [file, append] {
        client.close(handle).expect("an open handle");
    }
    drop((client, system));
    assert_eq!(machine.shutdown().requests, 0);
}

#[test]
fn attributes_given_at_create_are_read_back() {
    let machine = machine();
    let client = machine.process("owner").expect("a process");
    let list = ea::encode(&[(b"$LXMOD", &0o100644u32.to_le_bytes()), (b"$LXUID", &7u32.to_le_bytes())]);
    let file = open(&client, &CreateSpec { ea: list, ..spec("C:\\a.bin") });
    client.set_ea(file, &ea::encode(&[(b"$LXUID", &8u32.to_le_bytes())]).expect("short")).expect("set");
    let mut out = [0; 512];
    let count = client.query_ea(file, &mut out).expect("attributes");
    let found = ea::decode(&out[..count]);
    assert!(found.contains(&(b"$LXMOD".to_vec(), 0o100644u32.to_le_bytes().to_vec())), "{found:?}");
    assert!(found.contains(&(b"$LXUID".to_vec(), 8u32.to_le_bytes().to_vec())), "{found:?}");
    client.close(file).expect("an open handle");
}

#[test]
fn a_volume_that_is_full_says_so() {
    let machine = Machine::builder().volume(VolumeSpec::Ram { size: Some(1 << 20) }).build().expect("a machine");
    let client = machine.process("filler").expect("a process");
    let file = open(&client, &spec("C:\\big"));
    let full = (0..64).find_map(|_| client.write(file, None, &[1; 65_536]).err());
    assert_eq!(full, Some(NtStatus::DISK_FULL.error()));
    client.close(file).expect("an open handle");
}

#[test]
fn two_machines_share_nothing() {
    let (one, two) = (machine(), machine());
    let (a, b) = (one.process("a").expect("a process"), two.process("b").expect("a process"));
    let file = open(&a, &spec("C:\\only.one"));
    let missing = CreateSpec { disposition: 1, ..spec("C:\\only.one") };
    assert_eq!(b.create(&missing).map(|_| ()), Err(NtStatus::OBJECT_NAME_NOT_FOUND.error()));
    a.close(file).expect("an open handle");
}

#[test]
fn a_write_into_a_hole_of_the_file_is_kept() {
    let machine = machine();
    let client = machine.process("sparse").expect("a process");
    let file = open(&client, &spec("C:\\holes"));
    client.set_information(file, 20, &(4u64 << 20).to_le_bytes()).expect("end of file");
    for at in [3 << 20, 65_530, 1 << 20, 0] {
        assert_eq!(client.write(file, Some(at), b"written here"), Ok(12));
    }
    for at in [3 << 20, 65_530, 1 << 20, 0] {
        let mut bytes = [0; 13];
        assert_eq!(client.read(file, Some(at), &mut bytes), Ok(13));
        assert_eq!(&bytes, b"written here\0", "at {at}");
    }
    client.close(file).expect("an open handle");
}

#[test]
fn a_thread_that_ends_takes_its_requests_and_apcs_along() {
    use nt_io::lock::{LockArguments, nt_lock_file};
    let machine = machine();
    let client = machine.process("locker").expect("a process");
    let file = spec("C:\\locked");
    let (first, second) = (open(&client, &file), client.thread().expect("a thread"));
    let other = open(&second, &CreateSpec { options: 0, ..file });
    let block = nt_cell::UserBlock::new(64).expect("arena");
    block.region().store::<u32>(0, 0x7777_7777).expect("block");
    block.region().store::<i64>(24, 10).expect("block");
    let at = |offset| nt_cell::Addr::user(block.addr() + offset);
    let lock = |handle| LockArguments {
        caller: Caller::plain(handle, at(0)),
        byte_offset: at(16),
        length: at(24),
        key: 0,
        fail_immediately: false,
        exclusive: true,
    };
    assert_eq!(client.call(|frame| nt_lock_file(frame, &lock(first))), NtStatus::SUCCESS);
    block.region().store::<u32>(0, 0x7777_7777).expect("block");
    assert_eq!(second.call(|frame| nt_lock_file(frame, &lock(other))), NtStatus::PENDING);
    assert_eq!(machine.processes().in_flight(), 1);
    drop(second);
    assert_eq!(machine.processes().in_flight(), 0);
    assert_eq!(block.region().load::<u32>(0), Ok(NtStatus::CANCELLED.0));
    client.close(first).expect("open");
    client.close(other).expect("open");
    drop(client);
    let leaks = machine.shutdown();
    assert_eq!((leaks.requests, leaks.handles.len()), (0, 0), "{leaks:?}");
}

#[test]
fn what_each_program_read_and_wrote_can_be_asked_and_stands_in_the_report() {
    let recorder = Recorder::new(None);
    let machine = Machine::builder().recorder(recorder.clone()).build().expect("a machine");
    let (writer, reader) = (machine.process("writer").expect("one"), machine.process("reader").expect("another"));
    let file = open(&writer, &spec("C:\\counted"));
    for _ in 0..3 {
        writer.write(file, None, &[7; 100]).expect("a write");
    }
    assert!(writer.write(file, Some(-3), b"refused").is_err(), "reaches no device");
    let seen = open(&reader, &spec("C:\\counted"));
    let mut bytes = [0; 400];
    assert_eq!(reader.read(seen, Some(0), &mut bytes), Ok(300));
    assert!(reader.read(seen, Some(300), &mut bytes).is_err(), "counts as a read, and brings no bytes");
    reader.query_information(seen, 5, &mut bytes).expect("standard information");
    let (wrote, read, all) = (writer.statistics(), reader.statistics(), machine.statistics());
    assert_eq!((wrote.writes, wrote.write_bytes, wrote.reads, wrote.read_bytes), (3, 300, 0, 0));
    assert_eq!((read.reads, read.read_bytes, read.writes, read.others), (2, 300, 0, 1));
    assert_eq!((all.writes, all.write_bytes, all.reads, all.read_bytes), (3, 300, 2, 300));
    let row = |name: &str| recorder.report().processes.into_iter().find(|row| row.name == name).expect("a row");
    assert_eq!((row("reader").reads, row("reader").processes), (2, 1), "while it lives");
    // Another process of the same name is in the same row; those that ended stay in it.
    let again = machine.process("reader").expect("another");
    let opened = open(&again, &spec("C:\\counted"));
    assert_eq!(again.read(opened, Some(0), &mut bytes), Ok(300));
    for (client, handle) in [(&writer, file), (&reader, seen), (&again, opened)] {
        client.close(handle).expect("open");
    }
    let process = again.process().clone();
    drop(again);
    machine.end_process(&process);
    drop((writer, reader));
    let leaks = machine.shutdown();
    assert_eq!((leaks.requests, leaks.handles.len()), (0, 0), "{leaks:?}");
    assert_eq!((row("reader").processes, row("reader").reads, row("reader").read_bytes), (2, 3, 600));
    assert_eq!((row("writer").writes, row("writer").write_bytes), (3, 300));
    let text = recorder.report().text();
    assert!(text.contains("program") && text.contains("reader"), "{text}");
}
