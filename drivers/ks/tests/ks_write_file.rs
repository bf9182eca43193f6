//! KsWriteFile and KsReadFile on files, by the rules of ks.md sections 3 and 4: the native door.
#[path = "../../memfs/tests/support/mod.rs"]
mod support;

use nt_abi::io::{FILE_OBJECT, IO_STATUS_BLOCK};
use nt_abi::ke::KEVENT;
use nt_abi::{Bytes, NtStatus};
use nt_cell::arena::{Protection, UserBlock};
use nt_cell::{Addr, Foreign, Region};
use nt_io::rw::Direction;
use nt_io::system::AsyncPolicy;
use nt_ke::{Mode, dispatcher};
use nt_ks::clientio::{self, Transfer};
use nt_ob::types::ObjectType;
use nt_ob::{ObjectRef, object};
use nt_ps::counters::Operation;
use support::*;

/// A kernel caller with a status block and a buffer in pool.
struct Caller<'a> {
    world: &'a World,
    object: ObjectRef<FILE_OBJECT>,
    iosb: Foreign<IO_STATUS_BLOCK>,
    buffer: Foreign<Bytes>,
    previous: Mode,
}

impl<'a> Caller<'a> {
    fn new(world: &'a World, file: &File<'_>, data: &[u8]) -> Self {
        let kind = ObjectType::File;
        let (found, _) = nt_io::event::reference(&world.frame(), file.handle, kind, 0, Mode::Kernel).expect("file");
        let buffer =
            nt_ex::pool::allocate(data.len().max(1), nt_ex::pool::tag(b"tKsB"), nt_ex::pool::PoolKind::NonPaged);
        let buffer = buffer.expect("pool");
        Region::pool(buffer, data.len()).write_from(data).expect("own block");
        let iosb = nt_ex::pool::zeroed::<IO_STATUS_BLOCK>(nt_ex::pool::tag(b"tKsI")).expect("pool");
        iosb.set(IO_STATUS_BLOCK::Information, PATTERN);
        Self { world, object: found.retype(), iosb, buffer, previous: Mode::Kernel }
    }

    fn request(&self, length: u32) -> Transfer {
        Transfer {
            file: self.object.body(),
            event: None,
            port_context: 0,
            iosb: self.iosb,
            buffer: Addr::from(self.buffer),
            length,
            key: 0,
            mode: Mode::Kernel,
            direction: Direction::Write,
        }
    }

    fn go(&self, request: &Transfer) -> NtStatus {
        let frame = self.world.frame();
        frame.with_mode(self.previous, || clientio::transfer(&frame, request))
    }

    fn result(&self) -> (NtStatus, u64) {
        (self.iosb.get(IO_STATUS_BLOCK::Status), self.iosb.get(IO_STATUS_BLOCK::Information))
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        nt_ex::pool::free(self.iosb);
        nt_ex::pool::free(self.buffer);
    }
}

fn event_object(world: &World) -> ObjectRef<KEVENT> {
    let handle = world.event(true);
    let kind = ObjectType::Event;
    let (object, _) = nt_io::event::reference(&world.frame(), handle, kind, 0, Mode::Kernel).expect("event");
    object.retype()
}

#[test]
fn ks_w_01_exactly_one_write_of_the_bytes_reaches_the_device() {
    let world = World::new();
    let file = world.sync_file("w01");
    let caller = Caller::new(&world, &file, b"stream");
    assert_eq!(caller.go(&caller.request(6)), NtStatus::SUCCESS);
    assert_eq!((caller.result(), file.bytes_of("w01")), ((NtStatus::SUCCESS, 6), b"stream".to_vec()));
}

#[test]
fn ks_w_03_the_write_starts_at_the_current_byte_offset() {
    let world = World::new();
    let file = world.sync_file("w03");
    file.write(b"0123456789", None);
    file.seek(4);
    let caller = Caller::new(&world, &file, b"xy");
    assert_eq!(caller.go(&caller.request(2)), NtStatus::SUCCESS);
    assert_eq!((file.position(), file.bytes_of("w03")), (6, b"0123xy6789".to_vec()));
}

#[test]
fn ks_w_05_a_user_requestor_under_kernel_previous_mode_gets_a_packet() {
    // The file object's own event tells the paths apart: a packet clears and sets it, fast I/O leaves it (KS-W-10).
    for (mode, previous, packet) in [
        (Mode::Kernel, Mode::Kernel, false),
        (Mode::User, Mode::User, false),
        (Mode::Kernel, Mode::User, false),
        (Mode::User, Mode::Kernel, true),
    ] {
        let world = World::new();
        let file = world.async_file("w05");
        let mut caller = Caller::new(&world, &file, b"abc");
        caller.previous = previous;
        world.policy(AsyncPolicy::Inline);
        file.write(b"caches", Some(0));
        let user = UserBlock::new(3).expect("arena");
        dispatcher::clear_event(caller.object.at(FILE_OBJECT::Event));
        let buffer = if mode == Mode::User { Addr::user(user.addr()) } else { Addr::from(caller.buffer) };
        assert_eq!(caller.go(&Transfer { mode, buffer, ..caller.request(3) }), NtStatus::SUCCESS);
        let set = dispatcher::read_state(caller.object.at(FILE_OBJECT::Event));
        assert_eq!(set, packet, "requestor {mode:?}, previous {previous:?}");
    }
}

#[test]
fn ks_w_10_fast_io_signals_the_event_given() {
    let world = World::new();
    let file = world.async_file("w10");
    file.write(b"caches", Some(0));
    let caller = Caller::new(&world, &file, b"abc");
    let event = event_object(&world);
    dispatcher::clear_event(*event);
    assert_eq!(caller.go(&Transfer { event: Some(*event), ..caller.request(3) }), NtStatus::SUCCESS);
    assert!(dispatcher::read_state(*event));
}

#[test]
fn ks_w_11_the_statistics_count_one_operation_and_its_bytes() {
    let world = World::new();
    let file = world.sync_file("w11");
    let caller = Caller::new(&world, &file, b"abcde");
    let before = nt_ps::process::processes(&world.kernel).counters(Operation::Write);
    let process = nt_ps::current_process(&world.frame()).counters.read(Operation::Write);
    assert_eq!(caller.go(&caller.request(5)), NtStatus::SUCCESS);
    let after = nt_ps::process::processes(&world.kernel).counters(Operation::Write);
    let process_after = nt_ps::current_process(&world.frame()).counters.read(Operation::Write);
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 5));
    assert_eq!((process_after.0 - process.0, process_after.1 - process.1), (1, 5));
}

#[test]
fn ks_w_14_a_bad_user_buffer_is_an_access_violation_and_nothing_is_sent() {
    let world = World::new();
    let file = world.sync_file("w14");
    let caller = Caller::new(&world, &file, b"");
    let block = UserBlock::pages(8192).expect("arena");
    block.protect(4096, 4096, Protection::NoAccess).expect("protect");
    let event = event_object(&world);
    for address in [block.addr() + 4090, 0, u64::MAX - 5] {
        let request =
            Transfer { mode: Mode::User, buffer: Addr::user(address), event: Some(*event), ..caller.request(32) };
        assert_eq!(caller.go(&request), NtStatus::ACCESS_VIOLATION, "{address:#x}");
    }
    assert_eq!((caller.result().1, file.eof(), dispatcher::read_state(*event)), (PATTERN, 0, false));
    assert_eq!(nt_ps::process::processes(&world.kernel).counters(Operation::Write).0, 0);
}

#[test]
fn ks_w_17_zero_bytes_are_dispatched_and_succeed() {
    let world = World::new();
    let file = world.sync_file("w17");
    let caller = Caller::new(&world, &file, b"");
    let request = Transfer { mode: Mode::User, buffer: Addr::NULL, ..caller.request(0) };
    assert_eq!((caller.go(&request), caller.result()), (NtStatus::SUCCESS, (NtStatus::SUCCESS, 0)));
}

#[test]
fn ks_w_18_a_stale_event_is_cleared_first() {
    let world = World::new();
    let file = world.sync_file("w18");
    let caller = Caller::new(&world, &file, b"");
    let event = event_object(&world);
    assert!(dispatcher::read_state(*event));
    let request = Transfer { mode: Mode::User, buffer: Addr::NULL, event: Some(*event), ..caller.request(8) };
    assert_eq!(caller.go(&request), NtStatus::ACCESS_VIOLATION);
    assert!(!dispatcher::read_state(*event));
}

#[test]
fn ks_w_19_the_event_is_counted_once_and_the_count_is_dropped() {
    let world = World::new();
    world.policy(AsyncPolicy::Worker);
    let file = world.async_file("w19");
    let mut caller = Caller::new(&world, &file, b"");
    caller.previous = Mode::Kernel;
    let user = UserBlock::new(4).expect("arena");
    let event = event_object(&world);
    let before = object::pointer_count(*event);
    let request =
        Transfer { mode: Mode::User, buffer: Addr::user(user.addr()), event: Some(*event), ..caller.request(4) };
    assert_eq!(caller.go(&request), NtStatus::PENDING);
    let header = event.at(KEVENT::Header);
    let _done = nt_ke::wait::wait_for_single(&world.frame(), header, Mode::Kernel, false, None);
    world.kernel.drain();
    assert_eq!((object::pointer_count(*event), caller.result()), (before, (NtStatus::SUCCESS, 4)));
}

#[test]
fn ks_w_21_without_an_event_the_file_object_tells_when_it_is_done() {
    let world = World::new();
    world.policy(AsyncPolicy::Worker);
    let file = world.async_file("w21");
    let caller = Caller::new(&world, &file, b"");
    let user = UserBlock::new(4).expect("arena");
    let request = Transfer { mode: Mode::User, buffer: Addr::user(user.addr()), ..caller.request(4) };
    assert_eq!(caller.go(&request), NtStatus::PENDING);
    let header = caller.object.at(FILE_OBJECT::Event).at(KEVENT::Header);
    let _done = nt_ke::wait::wait_for_single(&world.frame(), header, Mode::Kernel, false, None);
    assert_eq!(caller.result(), (NtStatus::SUCCESS, 4));
}

#[test]
fn ks_w_22_with_an_event_the_file_object_stays_unsignalled() {
    let world = World::new();
    let file = world.async_file("w22");
    let caller = Caller::new(&world, &file, b"");
    let user = UserBlock::new(4).expect("arena");
    let event = event_object(&world);
    let request =
        Transfer { mode: Mode::User, buffer: Addr::user(user.addr()), event: Some(*event), ..caller.request(4) };
    assert_eq!(caller.go(&request), NtStatus::PENDING);
    assert_eq!(
        (dispatcher::read_state(*event), dispatcher::read_state(caller.object.at(FILE_OBJECT::Event))),
        (true, false)
    );
}

#[test]
fn ks_w_25_the_status_block_may_be_a_kernel_address_for_a_user_requestor() {
    let world = World::new();
    let file = world.sync_file("w25");
    let mut caller = Caller::new(&world, &file, b"");
    caller.previous = Mode::User;
    let user = UserBlock::new(4).expect("arena");
    let request = Transfer { mode: Mode::User, buffer: Addr::user(user.addr()), ..caller.request(4) };
    assert_eq!((caller.go(&request), caller.result()), (NtStatus::SUCCESS, (NtStatus::SUCCESS, 4)));
}

#[test]
fn ks_w_30_the_devices_error_is_returned_unchanged() {
    let world = World::with(nt_ke::WindowsVersion::default(), Some(8192));
    let file = world.sync_file("w30");
    let caller = Caller::new(&world, &file, &[1; 20_000]);
    assert_eq!(caller.go(&caller.request(20_000)), NtStatus::DISK_FULL);
}

#[test]
fn ks_r_01_reads_are_the_mirror_image() {
    let world = World::new();
    let file = world.sync_file("r01");
    file.write(b"0123456789", None);
    file.seek(2);
    let caller = Caller::new(&world, &file, &[0; 4]);
    assert_eq!(caller.go(&Transfer { direction: Direction::Read, ..caller.request(4) }), NtStatus::SUCCESS);
    assert_eq!(Region::pool(caller.buffer, 4).to_vec().expect("own"), b"2345");
    assert_eq!((file.position(), caller.result()), (6, (NtStatus::SUCCESS, 4)));
}

#[test]
fn ks_r_03_the_end_of_file_is_passed_through() {
    let world = World::new();
    let file = world.sync_file("r03");
    let caller = Caller::new(&world, &file, &[0; 4]);
    assert_eq!(caller.go(&Transfer { direction: Direction::Read, ..caller.request(4) }), NtStatus::END_OF_FILE);
}
