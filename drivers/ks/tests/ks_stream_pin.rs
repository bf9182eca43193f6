//! IOCTL_KS_WRITE_STREAM and IOCTL_KS_READ_STREAM on the pins of a built-in device (ks.md sections 6 and 7).
mod device;
mod pins;
mod stream;
#[path = "../../memfs/tests/support/mod.rs"]
mod support;

use device::{Findings, wait_for};
use nt_abi::NtStatus;
use nt_abi::io::{FILE_OBJECT, IO_STACK_LOCATION, IO_STATUS_BLOCK, IRP};
use nt_abi::ks::*;
use nt_cell::Addr;
use nt_cell::arena::UserBlock;
use nt_io::cancel;
use nt_ke::{Mode, Mutex, dispatcher};
use nt_ks::frames::FrameList;
use nt_ks::sink::Sink;
use nt_ks::streamio::{self, ControlRequest, StreamRequest};
use nt_ks::userio::{self, HResult};
use pins::*;
use std::sync::Arc;
use stream::*;
use support::*;

#[test]
fn ks_i_01_the_driver_cannot_tell_who_sent_the_request() {
    let world = World::new();
    let (kind, seen) = noting(|irp| {
        let (major, code) = code_of(irp);
        let stack = irp.stack();
        (
            major,
            code,
            stack.get(IO_STACK_LOCATION::DeviceIoControl_OutputBufferLength),
            irp.irp().addr_at(IRP::UserBuffer),
        )
    });
    let stream = Stream::new(&world, kind);
    let user = UserList::new(&[Head::of(8, 8)]);
    let frame = world.frame();
    for (code, flags) in [(0x002F_8013, KSSTREAM_WRITE), (0x002F_4017, KSSTREAM_READ)] {
        let output = (user.addr(), user.length);
        let request =
            StreamRequest { mode: Mode::User, headers: user.addr(), length: user.length, flags, ..stream.request() };
        assert_eq!(stream.go(&request), NtStatus::SUCCESS);
        let none = (Addr::NULL, 0);
        let control = ControlRequest { file: *stream.file, mode: Mode::User, code, input: none, output };
        let result = frame.with_mode(Mode::Kernel, || streamio::synchronous_control(&frame, &control));
        assert_eq!(result.status, NtStatus::SUCCESS);
        assert_eq!(device_control(&world, stream.handle, code, none, output).1, (NtStatus::SUCCESS, 8));
        let answer = userio::synchronous_device_control(&frame, stream.handle, code, none, output);
        assert_eq!(answer, (HResult::NOERROR, 8));
        assert_eq!(seen.lock().drain(..).collect::<Vec<_>>(), [(0x0E, code, 56, user.addr().value()); 4]);
    }
}

#[test]
fn ks_i_02_the_codes_access_bits_are_checked_against_the_handle() {
    const READ: u32 = 0x0010_0001;
    const WRITE: u32 = 0x0010_0002;
    let world = World::new();
    let stream = Stream::new(&world, Kind::answering(NtStatus::SUCCESS, 8));
    for (access, code, expected) in [
        (READ, IOCTL_KS_WRITE_STREAM, NtStatus::ACCESS_DENIED),
        (WRITE, IOCTL_KS_WRITE_STREAM, NtStatus::SUCCESS),
        (READ, IOCTL_KS_READ_STREAM, NtStatus::SUCCESS),
        (WRITE, IOCTL_KS_READ_STREAM, NtStatus::ACCESS_DENIED),
    ] {
        let handle = stream.open(access);
        stream.reset();
        let user = UserList::new(&[Head::of(8, 8)]);
        let (status, _) = device_control(&world, handle, code, (Addr::NULL, 0), (user.addr(), user.length));
        assert_eq!(status, expected, "{access:#x} {code:#x}");
        assert_eq!(stream.came().len(), usize::from(expected == NtStatus::SUCCESS), "the driver is not called");
        // KsStreamIo takes a file object, which knows no handle.
        stream.reset();
        let file = file_of(&world, handle);
        assert_eq!(stream.go(&StreamRequest { file: *file, ..stream.request() }), NtStatus::SUCCESS);
        drop(file);
        nt_io::event::close(&world.frame(), handle).expect("close");
    }
}

#[test]
fn ks_pn_02_the_access_of_a_pin_decides_what_its_client_may_send() {
    let pins = Pins::recording();
    let (filled, empty, none) = (UserList::new(&[Head::of(3, 3)]), UserList::new(&[Head::of(3, 0)]), (Addr::NULL, 0));
    for (id, access, code, list, expected) in [
        (0, GENERIC_WRITE, IOCTL_KS_WRITE_STREAM, &filled, NtStatus::SUCCESS),
        (0, GENERIC_READ, IOCTL_KS_WRITE_STREAM, &filled, NtStatus::ACCESS_DENIED),
        (2, GENERIC_READ, IOCTL_KS_READ_STREAM, &empty, NtStatus::SUCCESS),
        (2, GENERIC_WRITE, IOCTL_KS_READ_STREAM, &empty, NtStatus::ACCESS_DENIED),
    ] {
        let pin = pins.open(id, access | SYNCHRONIZE, SYNC);
        pins.state(pin, KSSTATE_RUN);
        let (status, _) = pins.control(pin, code, none, (list.addr(), list.length));
        assert_eq!(status, expected, "pin {id} opened for {access:#x}");
    }
}

#[test]
fn ks_i_04_a_list_in_the_input_buffer_is_taken_and_the_output_buffer_wins() {
    let pins = Pins::recording();
    let pin = pins.running(0, SYNC);
    let (one, two) = (UserList::new(&[Head::of(1, 1)]), UserList::new(&[Head::of(2, 2), Head::of(3, 3)]));
    let named = |list: &UserList| (list.addr(), list.length);
    assert_eq!(pins.control(pin, IOCTL_KS_WRITE_STREAM, named(&one), (Addr::NULL, 0)).1, (NtStatus::SUCCESS, 1));
    assert_eq!(pins.control(pin, IOCTL_KS_WRITE_STREAM, named(&one), named(&two)).1, (NtStatus::SUCCESS, 5));
    assert_eq!(pins.bytes(), [1, 1, 1, 2, 2, 2]);
}

#[test]
fn ks_i_05_the_length_is_the_lists_and_the_data_lies_where_the_headers_point() {
    let pins = Pins::recording();
    let pin = pins.running(0, SYNC);
    let far = UserBlock::new(64).expect("arena");
    far.region().fill(7).expect("block");
    let list = UserList::new(&[Head { data: Some(far.addr()), ..Head::of(4, 4) }, Head::of(2, 2), Head::of(9, 9)]);
    let write = |length| pins.control(pin, IOCTL_KS_WRITE_STREAM, (list.addr(), length), (Addr::NULL, 0));
    assert_eq!(write(2 * 56).1, (NtStatus::SUCCESS, 6), "two of three headers");
    assert_eq!(pins.bytes(), [7, 7, 7, 7, 2, 2]);
    assert_eq!(write(2 * 56 + 1).0, NtStatus::INVALID_BUFFER_SIZE, "bytes, not headers, and whole ones");
}

#[test]
fn ks_v_15_headers_in_the_input_buffer_are_noted_once_a_client() {
    let pins = Pins::recording();
    let findings = Findings::listen(&pins.world);
    let pin = pins.running(0, SYNC);
    let list = UserList::new(&[Head::of(1, 1)]);
    let (named, none) = ((list.addr(), list.length), (Addr::NULL, 0));
    assert_eq!(pins.control(pin, IOCTL_KS_WRITE_STREAM, none, named).1, (NtStatus::SUCCESS, 1));
    assert!(findings.rules().is_empty());
    for _ in 0..3 {
        assert_eq!(pins.control(pin, IOCTL_KS_WRITE_STREAM, named, none).1, (NtStatus::SUCCESS, 1));
    }
    assert_eq!(findings.rules(), ["KS-V-15"]);
}

#[test]
fn ks_i_07_a_read_returns_the_size_of_the_list_and_the_headers_say_the_bytes() {
    let pins = Pins::recording();
    let pin = pins.running(2, SYNC);
    let list = UserList::new(&[Head::of(5, 0), Head::of(0, 0), Head::of(100, 0)]);
    let none = (Addr::NULL, 0);
    let (status, result) = pins.control(pin, IOCTL_KS_READ_STREAM, none, (list.addr(), list.length));
    assert_eq!((status, result), (NtStatus::SUCCESS, (NtStatus::SUCCESS, 3 * 56)));
    assert_eq!(list.used(), [5, 0, 100], "105 bytes were read");
}

#[test]
fn ks_i_08_a_write_brings_filled_frames_and_a_read_empty_ones() {
    let pins = Pins::recording();
    let (none, sink, source) = ((Addr::NULL, 0), pins.running(0, SYNC), pins.running(2, SYNC));
    let filled = UserList::new(&[Head::of(4, 4)]);
    let empty = UserList::new(&[Head::of(4, 0)]);
    let named = |list: &UserList| (list.addr(), list.length);
    assert_eq!(pins.control(sink, IOCTL_KS_WRITE_STREAM, none, named(&filled)).1, (NtStatus::SUCCESS, 4));
    assert_eq!(pins.control(source, IOCTL_KS_READ_STREAM, none, named(&empty)).0, NtStatus::SUCCESS);
    assert_eq!((empty.used(), empty.frame(0)), (vec![4], vec![0; 4]), "the buffer is filled");
    assert_eq!(pins.control(source, IOCTL_KS_READ_STREAM, none, named(&filled)).0, NtStatus::INVALID_BUFFER_SIZE);
}

#[test]
fn ks_i_09_times_that_are_not_valid_are_not_looked_at() {
    let pins = Pins::recording();
    let findings = Findings::listen(&pins.world);
    let pin = pins.running(0, SYNC);
    let list = UserList::new(&[Head::of(3, 3)]);
    let header = list.region();
    header.store::<i64>(KSSTREAM_HEADER::PresentationTime_Time.offset(), i64::MIN).expect("block");
    header.store::<u32>(KSSTREAM_HEADER::PresentationTime_Numerator.offset(), 0).expect("block");
    header.store::<u32>(KSSTREAM_HEADER::PresentationTime_Denominator.offset(), 0).expect("block");
    header.store::<i64>(KSSTREAM_HEADER::Duration.offset(), -1).expect("block");
    let write = || pins.control(pin, IOCTL_KS_WRITE_STREAM, (Addr::NULL, 0), (list.addr(), list.length));
    assert_eq!(write().1, (NtStatus::SUCCESS, 3));
    assert!(findings.rules().is_empty());
    header.store::<u32>(KSSTREAM_HEADER::OptionsFlags.offset(), KSSTREAM_HEADER_OPTIONSF_TIMEVALID).expect("block");
    assert_eq!(write().1, (NtStatus::SUCCESS, 3), "a time over nothing is no time");
    assert_eq!(findings.rules(), ["KS-H-12"], "and reported");
}

#[test]
fn ks_i_10_the_direction_is_the_pins_and_a_filter_has_none() {
    let pins = Pins::recording();
    let list = UserList::new(&[Head::of(3, 0)]);
    for (handle, code) in [
        (pins.running(0, SYNC), IOCTL_KS_READ_STREAM),
        (pins.running(2, SYNC), IOCTL_KS_WRITE_STREAM),
        (pins.filter, IOCTL_KS_READ_STREAM),
        (pins.filter, IOCTL_KS_WRITE_STREAM),
    ] {
        let (status, _) = pins.control(handle, code, (Addr::NULL, 0), (list.addr(), list.length));
        assert_eq!(status, NtStatus::INVALID_DEVICE_REQUEST);
    }
}

#[test]
fn ks_i_13_a_pin_in_reset_is_not_ready_whatever_its_state() {
    let pins = Pins::recording();
    let pin = pins.running(0, SYNC);
    let list = UserList::new(&[Head::of(3, 3)]);
    let write = || pins.control(pin, IOCTL_KS_WRITE_STREAM, (Addr::NULL, 0), (list.addr(), list.length));
    assert_eq!(pins.reset(pin, KSRESET_BEGIN), NtStatus::SUCCESS);
    assert_eq!(write(), (NtStatus::DEVICE_NOT_READY, (NtStatus(PATTERN as u32), PATTERN)), "inline, nothing stored");
    pins.state(pin, KSSTATE_STOP);
    assert_eq!(write().0, NtStatus::DEVICE_NOT_READY, "the reset is looked at before the state");
    assert_eq!(pins.reset(pin, KSRESET_END), NtStatus::SUCCESS);
    assert_eq!(write().0, NtStatus::INVALID_DEVICE_REQUEST);
    pins.state(pin, KSSTATE_RUN);
    assert_eq!(write().1, (NtStatus::SUCCESS, 3));
}

#[test]
fn ks_i_14_a_queued_request_pends_and_the_file_can_be_waited_for() {
    let pins = Pins::recording();
    let pin = pins.running(0, 0);
    pins.state(pin, KSSTATE_PAUSE);
    let file = file_of(&pins.world, pin);
    let own = file.at(FILE_OBJECT::Event);
    let list = UserList::new(&[Head::of(3, 3)]);
    let block = pattern_block();
    dispatcher::set_event(own);
    let status = pins.start(pin, IOCTL_KS_WRITE_STREAM, (list.addr(), list.length), &block);
    assert_eq!((status, iosb_at(&block)), (NtStatus::PENDING, Iosb::Untouched));
    assert!(!dispatcher::read_state(own));
    pins.state_of(pin, KSSTATE_RUN);
    assert_eq!(iosb_at(&block), Iosb::Is(NtStatus::SUCCESS, 3));
    let waited = nt_io::event::wait_for(&pins.world.frame(), pin, false, Some(0)).expect("wait");
    assert_eq!(waited, NtStatus::SUCCESS, "who has no event waits for the file");
    let status = pins.start(pin, IOCTL_KS_WRITE_STREAM, (list.addr(), list.length), &block);
    assert_eq!(status, NtStatus::SUCCESS, "and one that need not wait ends at once");
}

#[test]
fn ks_i_15_the_first_of_several_faults_is_the_answer() {
    let pins = Pins::recording();
    let (bad, none) = (UserList::new(&[Head::of(3, 4)]), (Addr::NULL, 0));
    let write = |pin| pins.control(pin, IOCTL_KS_WRITE_STREAM, none, (bad.addr(), bad.length)).0;
    // Access before everything else: a handle that may only read, in reset, stopped, with a bad list.
    let reader = pins.open(0, GENERIC_READ, SYNC);
    assert_eq!(pins.reset(reader, KSRESET_BEGIN), NtStatus::SUCCESS);
    assert_eq!(write(reader), NtStatus::ACCESS_DENIED);
    let pin = pins.open(0, GENERIC_WRITE | SYNCHRONIZE, SYNC);
    assert_eq!(pins.reset(pin, KSRESET_BEGIN), NtStatus::SUCCESS);
    assert_eq!(write(pin), NtStatus::DEVICE_NOT_READY, "then the reset");
    assert_eq!(pins.reset(pin, KSRESET_END), NtStatus::SUCCESS);
    assert_eq!(write(pin), NtStatus::INVALID_DEVICE_REQUEST, "then the state");
    pins.state(pin, KSSTATE_RUN);
    assert_eq!(write(pin), NtStatus::INVALID_BUFFER_SIZE, "then the list");
    bad.region().store::<u32>(KSSTREAM_HEADER::DataUsed.offset(), 3).expect("block");
    assert_eq!(write(pin), NtStatus::SUCCESS);
}

#[test]
fn ks_i_16_queued_requests_are_cancelled_by_their_thread_and_by_the_close() {
    let pins = Pins::recording();
    let list = UserList::new(&[Head::of(3, 3)]);
    for by_close in [false, true] {
        let pin = pins.open(0, GENERIC_WRITE | SYNCHRONIZE, 0);
        pins.state(pin, KSSTATE_PAUSE);
        let file = file_of(&pins.world, pin);
        let iosb = nt_ex::pool::zeroed::<IO_STATUS_BLOCK>(nt_ex::pool::tag(b"tKsC")).expect("pool");
        let frames = FrameList::filled(&[b"abc"]).expect("pool");
        let request = StreamRequest {
            file: *file,
            event: None,
            port_context: 0,
            completion: None,
            iosb,
            headers: frames.addr(),
            length: frames.length(),
            flags: KSSTREAM_WRITE,
            mode: Mode::Kernel,
        };
        let frame = pins.world.frame();
        let status = frame.with_mode(Mode::Kernel, || streamio::stream_io(&frame, &request));
        assert_eq!(status, NtStatus::PENDING);
        if by_close {
            nt_io::event::close(&frame, pin).expect("close");
        } else {
            let block = pattern_block();
            let status = cancel::nt_cancel_io_file(&frame, pin, Addr::user(block.addr()));
            assert_eq!(status, NtStatus::SUCCESS);
            assert_eq!(iosb.get(IO_STATUS_BLOCK::Status), NtStatus::CANCELLED);
            pins.state(pin, KSSTATE_RUN);
            nt_io::event::close(&frame, pin).expect("close");
        }
        pins.world.kernel.drain();
        assert_eq!(pins.world.processes.in_flight(), 0, "{by_close}");
        nt_ex::pool::free(iosb);
    }
    assert!(pins.bytes().is_empty() && list.length == 56, "nothing was taken");
}

#[test]
fn ks_h_14_a_request_ends_once_after_its_last_frame() {
    let pins = Pins::recording();
    let pin = pins.running(0, SYNC);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let block = pattern_block();
    let (at, store) = (block.region(), Arc::clone(&seen));
    pins.on_frame(move |bytes| store.lock().push((bytes.len(), at.load::<u64>(0).expect("block") == PATTERN)));
    let list = UserList::new(&[Head::of(3, 3), Head::of(4, 4)]);
    let status = pins.start(pin, IOCTL_KS_WRITE_STREAM, (list.addr(), list.length), &block);
    assert_eq!((status, iosb_at(&block)), (NtStatus::SUCCESS, Iosb::Is(NtStatus::SUCCESS, 7)));
    assert_eq!(*seen.lock(), [(3, true), (4, true)], "each frame is taken before the caller learns of any");
}

#[test]
fn ks_h_20_a_lone_header_changes_the_format() {
    let pins = Pins::recording();
    let pin = pins.running(0, SYNC);
    let mut format = nt_ks::connect::stream_format();
    format[8..12].copy_from_slice(&192_u32.to_le_bytes()); // SampleSize
    let data = UserBlock::new(64).expect("arena");
    data.region().sub(0, 64).write_from(&format).expect("block");
    let change = Head { options: KSSTREAM_HEADER_OPTIONSF_TYPECHANGED, data: Some(data.addr()), ..Head::of(64, 64) };
    let none = (Addr::NULL, 0);
    let list = UserList::new(&[change]);
    assert_eq!(pins.control(pin, IOCTL_KS_WRITE_STREAM, none, (list.addr(), list.length)).0, NtStatus::SUCCESS);
    assert_eq!(pins.format(pin), format, "KSPROPERTY_CONNECTION_DATAFORMAT says the new one");
    assert!(pins.bytes().is_empty(), "a format is no data");
    let two = UserList::new(&[change, Head::of(4, 4)]);
    let status = pins.control(pin, IOCTL_KS_WRITE_STREAM, none, (two.addr(), two.length)).0;
    assert_eq!(status, NtStatus::INVALID_BUFFER_SIZE, "KS-P-12");
    data.region().store::<u32>(16, 0x1234).expect("block");
    let status = pins.control(pin, IOCTL_KS_WRITE_STREAM, none, (list.addr(), list.length)).0;
    assert_eq!((status, pins.format(pin)), (NtStatus::NO_MATCH, format.to_vec()), "one that the pin does not take");
}

#[test]
fn ks_h_09_a_device_that_took_less_says_success_and_how_much() {
    struct Small(u64);
    impl std::io::Write for Small {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let room = usize::try_from(self.0).unwrap_or(0).min(bytes.len());
            if room == 0 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            self.0 -= room as u64;
            Ok(room)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let pins = Pins::new(Sink::writer(Small(5)));
    let pin = pins.running(0, SYNC);
    let list = UserList::new(&[Head::of(3, 3), Head::of(4, 4)]);
    let write = || pins.control(pin, IOCTL_KS_WRITE_STREAM, (Addr::NULL, 0), (list.addr(), list.length));
    assert_eq!(write().1, (NtStatus::SUCCESS, 5), "of seven");
    assert_eq!(write().0, NtStatus::DISK_FULL, "nothing at all is an error");
    // A request that is cancelled after some of its frames: the count of what was consumed goes with the status.
    let world = World::new();
    let stream = Stream::new(&world, Kind::later(NtStatus::CANCELLED, 3));
    assert_eq!(stream.go(&stream.request()), NtStatus::PENDING);
    wait_for(&world, stream.file_event());
    assert_eq!(stream.result(), (NtStatus::CANCELLED, 3));
}

#[test]
fn ks_x_01_the_user_form_waits_and_returns_an_hresult() {
    let world = World::new();
    let none = (Addr::NULL, 0);
    for (kind, expected) in [
        (Kind::answering(NtStatus::SUCCESS, 8), (HResult::NOERROR, 8)),
        (Kind::later(NtStatus::SUCCESS, 9), (HResult::NOERROR, 9)),
        (Kind::answering(NtStatus::INVALID_DEVICE_REQUEST, 0), (HResult(0x8007_0001), 0)),
        (Kind::later(NtStatus::DEVICE_NOT_READY, 0), (HResult(0x8007_0015), 0)),
        (Kind::later(NtStatus::INVALID_BUFFER_SIZE, 0), (HResult(0x8007_06F8), 0)),
        (Kind::answering(NtStatus::PROPSET_NOT_FOUND, 0), (HResult(0x8007_0492), 0)),
    ] {
        let stream = Stream::new(&world, kind); // an overlapped handle
        let answer =
            userio::synchronous_device_control(&world.frame(), stream.handle, IOCTL_KS_WRITE_STREAM, none, none);
        assert_eq!((answer.0, if answer.0 == HResult::NOERROR { answer.1 } else { 0 }), expected);
    }
    let gone = userio::synchronous_device_control(&world.frame(), nt_ob::Handle(0x9990), 0, none, none);
    assert_eq!(gone.0, HResult(0x8007_0006), "ERROR_INVALID_HANDLE");
}

#[test]
fn ks_x_02_a_port_gets_no_packet_for_the_user_form() {
    let world = World::new();
    let stream = Stream::new(&world, Kind::later(NtStatus::SUCCESS, 8));
    let frame = world.frame();
    let queue = nt_io::port::create(&frame, 0x001F_0003).expect("port");
    nt_io::port::associate(&frame, *stream.file, queue, 0xAB).expect("association");
    dispatcher::clear_event(stream.file_event());
    let none = (Addr::NULL, 0);
    let answer = userio::synchronous_device_control(&frame, stream.handle, IOCTL_KS_WRITE_STREAM, none, none);
    assert_eq!(answer, (HResult::NOERROR, 8));
    world.kernel.drain();
    assert_eq!(nt_io::port::remove(&frame, queue, Some(0)).expect("port"), Err(NtStatus::TIMEOUT));
    assert!(!stream.file_signalled(), "the event was the call's own");
}

#[test]
fn ks_x_04_the_kernel_form_waits_and_returns_status_and_information() {
    let world = World::new();
    let frame = world.frame();
    for (kind, status, information) in [
        (Kind::answering(NtStatus::SUCCESS, 8), NtStatus::SUCCESS, 8),
        (Kind::later(NtStatus::SUCCESS, 9), NtStatus::SUCCESS, 9),
        (Kind::later(NtStatus::DISK_FULL, 3), NtStatus::DISK_FULL, 3),
    ] {
        let stream = Stream::new(&world, kind);
        let result = frame.with_mode(Mode::Kernel, || streamio::synchronous_control(&frame, &stream.control()));
        assert_eq!((result.status, result.information), (status, information));
    }
}

#[test]
fn ks_x_06_bytes_returned_holds_information_for_warnings_and_errors_too() {
    let world = World::new();
    let frame = world.frame();
    for status in [NtStatus::SUCCESS, NtStatus::BUFFER_OVERFLOW, NtStatus::BUFFER_TOO_SMALL] {
        let stream = Stream::new(&world, Kind::answering(status, 40));
        let result = frame.with_mode(Mode::Kernel, || streamio::synchronous_control(&frame, &stream.control()));
        assert_eq!((result.status, result.information), (status, 40));
    }
}

#[test]
fn ks_x_05_fast_device_control_is_asked_first_and_told_to_wait() {
    let world = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let frame = world.frame();
    for taken in [true, false] {
        let store = Arc::clone(&seen);
        let noted = Arc::new(Mutex::new(Vec::new()));
        let packets = Arc::clone(&noted);
        let kind = Kind::new(move |irp| {
            let (packet, stack) = (irp.irp(), irp.stack());
            packets.lock().push((
                stack.addr_at(IO_STACK_LOCATION::DeviceIoControl_Type3InputBuffer),
                packet.addr_at(IRP::UserBuffer),
                packet.get(IRP::Flags) & nt_abi::io::IRP_SYNCHRONOUS_API != 0,
                packet.addr_at(IRP::UserEvent) != 0,
            ));
            irp.complete(NtStatus::SUCCESS, 4)
        });
        let stream = Stream::new(
            &world,
            kind.control(move |call| {
                store.lock().push((call.wait, call.code, call.input, call.output));
                taken.then_some(nt_io::irp::IoStatus::new(NtStatus::BUFFER_OVERFLOW, 5))
            }),
        );
        let input = FrameList::filled(&[b"in"]).expect("pool");
        let control = ControlRequest { input: (input.addr(), 3), ..stream.control() };
        for (requestor, previous, fast) in
            [(Mode::Kernel, Mode::Kernel, true), (Mode::Kernel, Mode::User, true), (Mode::User, Mode::Kernel, false)]
        {
            let control = ControlRequest { mode: requestor, ..control };
            let result = frame.with_mode(previous, || streamio::synchronous_control(&frame, &control));
            let (input, output) = ((control.input.0.value(), 3), (control.output.0.value(), control.output.1));
            let expected = if fast { vec![(true, control.code, input, output)] } else { vec![] };
            assert_eq!(seen.lock().drain(..).collect::<Vec<_>>(), expected, "{requestor:?} under {previous:?}");
            let went = if fast && taken { (NtStatus::BUFFER_OVERFLOW, 5) } else { (NtStatus::SUCCESS, 4) };
            assert_eq!((result.status, result.information), went);
            let packet = if fast && taken { vec![] } else { vec![(input.0, output.0, true, true)] };
            assert_eq!(noted.lock().drain(..).collect::<Vec<_>>(), packet);
        }
    }
}

#[test]
fn ks_x_07_the_sets_of_an_object_can_be_asked_for() {
    let pins = Pins::recording();
    let mut request = [0_u8; 24];
    request[20..24].copy_from_slice(&KSPROPERTY_TYPE_SETSUPPORT.to_le_bytes());
    let input = UserBlock::new(24).expect("arena");
    input.region().sub(0, 24).write_from(&request).expect("block");
    let output = UserBlock::new(64).expect("arena");
    let ask = |handle, code, room| {
        let named = (Addr::user(output.addr()), room);
        pins.control(handle, code, (Addr::user(input.addr()), 24), named)
    };
    assert_eq!(ask(pins.filter, IOCTL_KS_PROPERTY, 64).1, (NtStatus::SUCCESS, 16));
    let mut set = [0; 16];
    output.region().sub(0, 16).read_to(&mut set).expect("block");
    assert_eq!(GUID::from_bytes(set), KSPROPSETID_Pin);
    let pin = pins.open(0, GENERIC_WRITE | SYNCHRONIZE, SYNC);
    assert_eq!(ask(pin, IOCTL_KS_PROPERTY, 0).1, (NtStatus::BUFFER_OVERFLOW, 32), "the room that it takes");
    assert_eq!(ask(pin, IOCTL_KS_PROPERTY, 64).1, (NtStatus::SUCCESS, 32), "connection and stream interface");
    for code in [IOCTL_KS_METHOD, IOCTL_KS_ENABLE_EVENT] {
        assert_eq!(ask(pin, code, 64).0, NtStatus::SUCCESS, "none, and that is no error");
    }
}
