//! A compiled filter with contexts, names, work items, a queue, requests of its own, and a port (tests/drivers/t_fltctx.c).

mod compiled;

use compiled::{Lines, all_good, at, listening};
use nt_fltmgr::port::Connection;
use nt_io::create::CreateSpec;
use nt_io::system::AsyncPolicy;
use nt_machine::driver::Unloaded;
use nt_machine::file::spec;
use nt_machine::{Machine, NtStatus};

const SECONDS: i64 = -10_000_000;

fn asynchronous(name: &str) -> CreateSpec {
    CreateSpec { options: 0, ..spec(name) }
}

fn loaded() -> (Machine, nt_machine::driver::Driver, Lines) {
    let (machine, lines) = listening(Machine::builder());
    let image = include_bytes!("../../tests/drivers/t_fltctx.sys");
    let driver = machine.load_driver("t_fltctx.sys", image, &at("260000")).expect("the filter loads");
    (machine, driver, lines)
}

#[test]
fn flt_p_05_a_closed_server_port_takes_no_connection_and_keeps_those_it_has() {
    let (machine, driver, lines) = loaded();
    let client = machine.process("program").expect("a process");
    let port = client.call(|frame| Connection::open(frame, "\\FltTestPort", b"hello")).expect("connected");
    assert_eq!(port.reply(1, b"unasked"), Err(NtStatus::FLT_NO_WAITER_FOR_REPLY.error()));
    client.call(|frame| port.send(frame, &[3], 0)).expect("the filter closes its server port");
    let late = client.call(|frame| Connection::open(frame, "\\FltTestPort", b"hello").map(|_| ()));
    assert_eq!(late, Err(NtStatus::OBJECT_NAME_NOT_FOUND.error()));
    assert_eq!(client.call(|frame| port.send(frame, &[7], 4)), Ok(vec![8]), "the connection lives on");
    drop(port);
    drop(client);
    machine.unload_driver(driver);
    let bad = lines.lock().expect("no panic").iter().filter(|line| line.starts_with("not ok flt_p")).count();
    assert_eq!(bad, 0);
}

#[test]
fn flt_s_10_a_compiled_filter_keeps_contexts_asks_for_names_and_talks_to_a_program() {
    let (machine, driver, lines) = loaded();
    let client = machine.process("program").expect("a process");

    // FLT-P-02: a refusal is the program's, a second connection is one too many.
    let refused = client.call(|frame| Connection::open(frame, "\\FltTestPort", b"hell!").map(|_| ()));
    assert_eq!(refused, Err(NtStatus::ACCESS_DENIED.error()));
    let port = client.call(|frame| Connection::open(frame, "\\FltTestPort", b"hello")).expect("connected");
    let second = client.call(|frame| Connection::open(frame, "\\FltTestPort", b"hello").map(|_| ()));
    assert_eq!(second, Err(NtStatus::CONNECTION_COUNT_LIMIT.error()));
    assert_eq!(client.call(|frame| port.send(frame, &[7], 4)).expect("answered"), [8]);

    let plain = client.create(&spec("C:\\plain.txt")).expect("a file").0;
    for _ in 0..3 {
        assert_eq!(client.write(plain, None, b"1234567"), Ok(7));
    }
    client.close(plain).expect("open");

    // FLT-Q-08: a write that a worker continues, of either kind of handle.
    for made in [spec("C:\\one.defer"), asynchronous("C:\\two.defer")] {
        let file = client.create(&made).expect("a file").0;
        assert_eq!(client.write(file, Some(0), b"deferred"), Ok(8));
        assert_eq!(client.write(file, Some(8), b"deferred"), Ok(8));
        let mut bytes = [0; 16];
        assert_eq!(client.read(file, Some(0), &mut bytes), Ok(16));
        assert_eq!(&bytes, b"deferreddeferred");
        client.close(file).expect("open");
    }

    // FLT-Q-03: a queued write goes on when the program says so.
    std::thread::scope(|scope| {
        let other = client.thread().expect("a thread");
        let file = client.create(&spec("C:\\x.queue")).expect("a file").0;
        let writer = scope.spawn(move || (other.write(file, Some(0), b"queued"), other.close(file)));
        while !lines.lock().expect("no panic").iter().any(|line| line.starts_with("ok flt_q_02_a_packet_is_queued")) {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        client.call(|frame| port.send(frame, &[2], 0)).expect("answered");
        assert_eq!(writer.join().expect("no panic").0, Ok(6));
    });

    // FLT-Q-04: closing the last handle cancels what is queued.
    let file = client.create(&asynchronous("C:\\y.queue")).expect("a file").0;
    let data = nt_cell::UserBlock::new(64).expect("arena");
    let arguments = nt_io::rw::Arguments {
        handle: file,
        event: nt_ob::Handle::NULL,
        apc_routine: None,
        apc_context: 0,
        iosb: nt_cell::Addr::user(data.addr()),
        buffer: nt_cell::Addr::user(data.addr() + 32),
        length: 8,
        byte_offset: nt_cell::Addr::user(data.addr() + 16),
        key: nt_cell::Addr::NULL,
    };
    assert_eq!(client.nt_write_file(&arguments), NtStatus::PENDING);
    let cancel = nt_cell::Addr::user(data.addr() + 48);
    assert_eq!(client.call(|frame| nt_io::cancel::nt_cancel_io_file(frame, file, cancel)), NtStatus::SUCCESS);
    let waited = client.call(|frame| nt_io::event::wait_for(frame, file, false, Some(120 * SECONDS))).expect("waited");
    assert_eq!(waited, NtStatus::SUCCESS);
    assert_eq!(data.region().load::<u32>(0), Ok(NtStatus::CANCELLED.0));
    client.close(file).expect("open");

    // FLT-P-04: the program is asked about a write and says no, then yes.
    for (answer, expected) in [(b"n", Err(NtStatus::ACCESS_DENIED.error())), (b"y", Ok(6))] {
        std::thread::scope(|scope| {
            let other = client.thread().expect("a thread");
            let file = client.create(&asynchronous("C:\\ask.msg")).expect("a file").0;
            let writer = scope.spawn(move || (other.write(file, Some(0), b"asking"), other.close(file)));
            let message = client.call(|frame| port.get(frame, Some(120 * SECONDS))).expect("a message");
            assert_eq!((&message.bytes[..], message.reply_length), (&b"may I?\0"[..], 8));
            assert_eq!(port.reply(message.id + 100, answer), Err(NtStatus::FLT_NO_WAITER_FOR_REPLY.error()));
            port.reply(message.id, answer).expect("somebody waits");
            assert_eq!(writer.join().expect("no panic").0, expected);
        });
    }

    // FLT-G: requests of the filter's own.
    client.call(|frame| port.send(frame, &[1], 0)).expect("answered");
    let own = client.create(&spec("C:\\own.bin")).expect("the filter's file").0;
    let mut bytes = [0; 8];
    assert_eq!(client.read(own, Some(0), &mut bytes), Ok(3));
    assert_eq!(&bytes[..3], b"own");
    client.close(own).expect("open");

    // FLT-O-21: a post callback at DISPATCH_LEVEL and one below it.
    for policy in [AsyncPolicy::Inline, AsyncPolicy::Dispatch] {
        machine.io().set_policy(policy);
        let file = client.create(&asynchronous("C:\\post.safe")).expect("a file").0;
        assert_eq!(client.write(file, Some(0), b"safe"), Ok(4));
        client.close(file).expect("open");
    }
    machine.io().set_policy(AsyncPolicy::Inline);

    // FLT-Q-05: what is still queued goes on at the teardown.
    let file = client.create(&asynchronous("C:\\z.queue")).expect("a file").0;
    let left = nt_io::rw::Arguments { handle: file, ..arguments };
    assert_eq!(client.nt_write_file(&left), NtStatus::PENDING);

    drop(port);
    assert_eq!(machine.unload_driver(driver), Unloaded::Yes);
    assert_eq!(data.region().load::<u64>(8), Ok(8), "all bytes are written");
    client.close(file).expect("open");
    drop(client);
    all_good(&lines, 155);
    let leaks = machine.shutdown();
    assert_eq!((leaks.requests, leaks.handles.len()), (0, 0), "{leaks:?}");
}
