//! Services around a transfer: ports and their modes, flush, gather, transfers whose buffers go away. Rules of nt-io.md.
mod device;
mod support;

use nt_abi::NtStatus;
use nt_abi::io::{
    DEVICE_OBJECT, DO_BUFFERED_IO, DO_DIRECT_IO, FILE_OBJECT, FO_NAMED_PIPE, IO_STACK_LOCATION, IRP_MJ_CLEANUP,
    IRP_MJ_CLOSE, IRP_MJ_CREATE,
};
use nt_abi::ke::KEVENT;
use nt_cell::arena::{Protection, UserBlock};
use nt_cell::{Addr, Foreign};
use nt_ex::pool;
use nt_io::create::{self, CreateSpec};
use nt_io::device::{Device, DeviceSpec};
use nt_io::driver::{self, Answer, FastCall, NativeDriver, OwnedIrp};
use nt_io::gather::{GatherArguments, nt_write_file_gather};
use nt_io::info::class;
use nt_io::irp::IoStatus;
use nt_io::service::Caller;
use nt_io::system::AsyncPolicy;
use nt_io::{flush, port};
use nt_ke::dispatcher;
use nt_ob::Handle;
use std::sync::Arc;
use support::*;

fn open_device(world: &World, name: &str, access: u32, options: u32) -> Handle {
    let spec = CreateSpec {
        access,
        name: format!("\\Device\\{name}").encode_utf16().collect(),
        options,
        ..CreateSpec::default()
    };
    create::nt_create_file(&world.frame(), &spec).expect("open").0
}

/// Puts status and Information into one value.
fn is(status: NtStatus, information: u64) -> Iosb {
    Iosb::Is(status, information)
}

#[test]
fn nt_a_05_a_pipes_create_instance_right_does_not_write() {
    let world = World::new();
    let recorder = device::stand_alone(&world, "A05", DO_BUFFERED_IO);
    for (access, pipe, enough) in [
        (APPEND_DATA, false, true),
        (APPEND_DATA, true, false),
        (WRITE_DATA, true, true),
        (WRITE_DATA | APPEND_DATA, true, true),
    ] {
        let file = world.adopt(open_device(&world, "A05", access | SYNCHRONIZE, SYNC));
        if pipe {
            device::file_object(&world, file.handle).or32(FILE_OBJECT::Flags, FO_NAMED_PIPE);
        }
        let before = recorder.count();
        let expected = if enough { success(4) } else { refused(NtStatus::ACCESS_DENIED) };
        assert_eq!(file.write(b"data", Some(0)), expected, "{access:#x} {pipe}");
        assert_eq!(recorder.count() - before, usize::from(enough));
    }
}

#[test]
fn nt_n_11_no_transfer_is_too_large_for_its_mdl() {
    let world = World::new();
    let recorder = device::stand_alone(&world, "N11", DO_DIRECT_IO);
    let file = world.adopt(device::open(&world, "N11", SYNC | NONCACHED));
    let block = UserBlock::pages(80 << 20).expect("arena");
    assert_eq!(file.raw_write(Addr::user(block.addr()), 80 << 20, Some(0)), success(80 << 20));
    assert!(recorder.last().mdl != 0);
}

#[test]
fn nt_n_12_gathering_needs_an_asynchronous_noncached_handle_and_whole_pages() {
    let world = World::new();
    let pages = UserBlock::pages(4 * 4096).expect("arena");
    for page in 0..4_usize {
        pages.region().sub(page * 4096, 4096).fill(b'a' + page as u8).expect("arena");
    }
    let block = UserBlock::new(64).expect("arena");
    for (at, page) in [2_u64, 0, 3].into_iter().enumerate() {
        block.region().store::<u64>(at * 8, pages.addr() + page * 4096).expect("arena");
    }
    block.region().store::<i64>(32, 0).expect("arena");
    let gather = |handle: Handle, length: u32| {
        let iosb = pattern_block();
        let args = GatherArguments {
            caller: Caller::plain(handle, Addr::user(iosb.addr())),
            segments: Addr::user(block.addr()),
            length,
            byte_offset: Addr::user(block.addr() + 32),
            key: Addr::NULL,
        };
        (nt_write_file_gather(&world.frame(), &args), iosb_at(&iosb))
    };
    let invalid = (NtStatus::INVALID_PARAMETER, Iosb::Untouched);
    let rights = GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE;
    for (options, name) in [(SYNC | NONCACHED, "synchronous"), (0, "cached"), (SYNC, "both")] {
        assert_eq!(gather(world.file("n12", rights, options).handle, 8192), invalid, "{name}");
    }
    world.policy(AsyncPolicy::Inline);
    let file = world.file("n12", rights, NONCACHED);
    for length in [0, 1, 512, 4095, 4097, 8192 + 512] {
        assert_eq!(gather(file.handle, length), invalid, "{length}");
    }
    assert_eq!(gather(file.handle, 3 * 4096), (NtStatus::SUCCESS, is(NtStatus::SUCCESS, 3 * 4096)));
    let bytes = file.bytes_of("n12");
    let expected: Vec<u8> = [b'c', b'a', b'd'].into_iter().flat_map(|byte| [byte; 4096]).collect();
    assert_eq!(bytes, expected, "in the order of the array");
}

/// A device that makes the caller's status block unwritable while it serves a request.
struct Spoiler {
    block: UserBlock,
    fast: bool,
}

impl NativeDriver for Spoiler {
    fn dispatch(&self, _device: Device, irp: OwnedIrp) -> Answer {
        let major = irp.stack().get(IO_STACK_LOCATION::MajorFunction);
        if matches!(major, IRP_MJ_CREATE | IRP_MJ_CLEANUP | IRP_MJ_CLOSE) {
            return irp.complete(NtStatus::SUCCESS, 0);
        }
        self.block.protect(0, 4096, Protection::ReadOnly).expect("protect");
        irp.complete(NtStatus::SUCCESS, 4)
    }
    fn has_fast_io(&self) -> bool {
        self.fast
    }
    fn fast_write(&self, _call: &FastCall) -> Option<IoStatus> {
        self.block.protect(0, 4096, Protection::ReadOnly).expect("protect");
        Some(IoStatus::new(NtStatus::SUCCESS, 4))
    }
}

fn spoiled_write(fast: bool) -> (NtStatus, bool) {
    let world = World::new();
    let block = UserBlock::pages(4096).expect("arena");
    let iosb = block.addr();
    let made = driver::create_native(&world.kernel, "\\Driver\\Spoiler", Arc::new(Spoiler { block, fast }));
    let spec = DeviceSpec { name: Some("\\Device\\Spoiler"), kind: 0x22, ..DeviceSpec::default() };
    let device = nt_io::device::create(&world.kernel, made.expect("driver").body(), &spec).expect("device").body();
    device.or32(DEVICE_OBJECT::Flags, DO_BUFFERED_IO);
    nt_io::device::ready(device);
    let mut file = world.adopt(device::open(&world, "Spoiler", SYNC));
    let object = device::file_object(&world, file.handle);
    let map: Option<Foreign<nt_abi::Bytes>> =
        fast.then(|| pool::allocate(16, pool::tag(b"Test"), pool::PoolKind::NonPaged).expect("pool"));
    object.set_ptr(FILE_OBJECT::PrivateCacheMap, map.map(Foreign::view));
    file.event = world.event(false);
    let buffer = UserBlock::new(16).expect("arena");
    let done = file.with_arguments(|args| {
        args.iosb = Addr::user(iosb);
        args.buffer = Addr::user(buffer.addr());
        args.length = 4;
    });
    object.set_ptr(FILE_OBJECT::PrivateCacheMap, None);
    if let Some(map) = map {
        pool::free(map);
    }
    (done.returned, world.signaled(file.event))
}

#[test]
fn nt_b_09_a_status_block_that_goes_away_is_told_by_fast_io_only() {
    assert_eq!(spoiled_write(true).0, NtStatus::ACCESS_VIOLATION, "the exception's code");
    assert_eq!(spoiled_write(false), (NtStatus::SUCCESS, true), "silently; the event is set all the same");
}

#[test]
fn nt_b_08_faults_of_the_service_are_return_values() {
    let world = World::new();
    let file = world.sync_file("b08");
    let block = UserBlock::guarded(64).expect("arena");
    let past = block.addr() + 64_u64.next_multiple_of(4096);
    let refuse = |change: &dyn Fn(&mut nt_io::rw::Arguments)| file.with_arguments(change).returned;
    // Captured and probed by the service: the exception's status, a misalignment as the warning that it is.
    assert_eq!(refuse(&|args| args.iosb = Addr::user(past)), NtStatus::ACCESS_VIOLATION);
    assert_eq!(refuse(&|args| args.byte_offset = Addr::user(past)), NtStatus::ACCESS_VIOLATION);
    assert_eq!(refuse(&|args| args.key = Addr::user(past)), NtStatus::ACCESS_VIOLATION);
    assert_eq!(refuse(&|args| args.byte_offset = Addr::user(block.addr() + 1)), NtStatus::DATATYPE_MISALIGNMENT);
    assert_eq!(refuse(&|args| args.iosb = Addr::user(block.addr() + 2)), NtStatus::DATATYPE_MISALIGNMENT);
    // Read by the file system: its own conversion.
    let buffer = file.with_arguments(|args| {
        args.buffer = Addr::user(past);
        args.length = 16;
    });
    assert_eq!(buffer, refused(NtStatus::INVALID_USER_BUFFER));
    assert_eq!(file.eof(), 0);
}

#[test]
fn nt_s_23_a_bad_buffer_is_mapped_before_the_packet_is_completed() {
    let world = World::new();
    let recorder = device::over_the_volume(&world);
    let file = world.sync_file("s23b");
    let before = recorder.count();
    let bad = file.with_arguments(|args| {
        args.buffer = Addr::user(16);
        args.length = 8;
    });
    assert_eq!(bad, refused(NtStatus::INVALID_USER_BUFFER), "not the fault's own ACCESS_VIOLATION");
    assert_eq!(recorder.count() - before, 1, "the file system was asked, and answered");
    // No memory for the cache map: the file system's own status, and nothing is done.
    let file = world.sync_file("s23");
    for tag in [b"CcPr", b"CcSc"] {
        let starved = pool::starve(pool::tag(tag));
        assert_eq!(file.write(b"data", Some(0)), refused(NtStatus::INSUFFICIENT_RESOURCES));
        drop(starved);
        assert_eq!((file.eof(), file.position()), (0, 0));
    }
    assert_eq!(file.write(&[1; 4096], Some(0)), success(4096));
    // A request that would have to wait for a lock is pended and posted: CANT_WAIT stays inside.
    let (raw, own) =
        (world.file("s23", GENERIC_WRITE | SYNCHRONIZE, NONCACHED), device::file_object(&world, file.handle));
    let lent = nt_cc::mdl_read(own, 0, 8).map_err(NtStatus::from).expect("lent").0;
    let asked = recorder.count();
    let done = raw.write(&[2; 512], Some(0));
    assert_eq!((done.returned, recorder.count() - asked), (NtStatus::PENDING, 1));
    world.kernel.work.drain();
    assert_eq!(raw.iosb(), is(NtStatus::SUCCESS, 512));
    nt_cc::mdl_read_complete(own, lent).map_err(NtStatus::from).expect("back");
}

#[test]
fn nt_i_16_one_port_to_an_asynchronous_file() {
    let world = World::new();
    let frame = world.frame();
    let new_port = || port::create(&frame, 0x001F_0003).expect("port");
    let (one, two) = (new_port(), new_port());
    let info = |handle: Handle, key: u64| {
        let mut bytes = handle.0.to_le_bytes().to_vec();
        bytes.extend_from_slice(&key.to_le_bytes());
        bytes
    };
    let invalid = (NtStatus::INVALID_PARAMETER, Iosb::Untouched);
    assert_eq!(world.sync_file("i16").try_set(class::COMPLETION, &info(one, 1)), invalid);
    let file = world.async_file("i16");
    let event = device::file_object(&world, file.handle).at(FILE_OBJECT::Event);
    let signaled = || event.at(KEVENT::Header).get(nt_abi::ke::DISPATCHER_HEADER::SignalState) != 0;
    let wrong = world.event(false);
    assert_eq!(file.set(class::COMPLETION, &info(wrong, 1)), NtStatus::OBJECT_TYPE_MISMATCH);
    assert_eq!(file.set(class::COMPLETION, &info(Handle(0x7770), 1)), NtStatus::INVALID_HANDLE);
    dispatcher::clear_event(event);
    assert_eq!(file.try_set(class::COMPLETION, &info(one, 7)), (NtStatus::SUCCESS, is(NtStatus::SUCCESS, 0)));
    assert!(signaled(), "the file object is signalled");
    assert_eq!(file.try_set(class::COMPLETION, &info(two, 8)), invalid, "a second association");
    assert_eq!(file.set(class::REPLACE_COMPLETION, &info(two, 9)), NtStatus::SUCCESS);
    assert_eq!(file.set(class::REPLACE_COMPLETION, &info(Handle::NULL, 0)), NtStatus::SUCCESS, "taken off");
    assert_eq!(file.set(class::COMPLETION, &info(one, 7)), NtStatus::SUCCESS, "free again");
    let quiet = world.async_file("i16");
    assert_eq!(quiet.set(class::IO_COMPLETION_NOTIFICATION, &2_u32.to_le_bytes()), NtStatus::SUCCESS);
    let event = device::file_object(&world, quiet.handle).at(FILE_OBJECT::Event);
    dispatcher::clear_event(event);
    assert_eq!(quiet.set(class::COMPLETION, &info(one, 7)), NtStatus::SUCCESS);
    assert_eq!(event.at(KEVENT::Header).get(nt_abi::ke::DISPATCHER_HEADER::SignalState), 0, "SKIP_SET_EVENT_ON_HANDLE");
}

#[test]
fn nt_i_17_notification_modes_only_grow() {
    let world = World::new();
    let modes = |file: &File<'_>| {
        let (status, bytes, iosb) = file.try_query(class::IO_COMPLETION_NOTIFICATION, 4);
        assert_eq!((status, iosb), (NtStatus::SUCCESS, is(NtStatus::SUCCESS, 4)));
        support::directory::word(&bytes, 0)
    };
    let set = |file: &File<'_>, flags: u32| file.set(class::IO_COMPLETION_NOTIFICATION, &flags.to_le_bytes());
    let file = world.async_file("i17");
    assert_eq!(modes(&file), 0, "a fresh handle has none");
    assert_eq!(file.set(class::IO_COMPLETION_NOTIFICATION, &[0; 3]), NtStatus::INFO_LENGTH_MISMATCH);
    for (flags, sum) in [(2, 2), (0, 2), (4, 6), (0xDEAD_BEEF, 7), (0, 7)] {
        assert_eq!(set(&file, flags), NtStatus::SUCCESS, "{flags:#x}");
        assert_eq!(modes(&file), sum, "{flags:#x}");
    }
    let synchronous = world.sync_file("i17");
    assert_eq!(set(&synchronous, 1), NtStatus::INVALID_PARAMETER);
    assert_eq!((set(&synchronous, 2), modes(&synchronous)), (NtStatus::SUCCESS, 2));
}

fn flushed(world: &World, handle: Handle, iosb: Addr) -> NtStatus {
    flush::nt_flush_buffers_file(&world.frame(), handle, iosb)
}

#[test]
fn nt_f_01_a_flush_needs_a_right_to_write() {
    let world = World::new();
    drop(world.sync_file("f01"));
    for (access, expected) in [
        (WRITE_DATA, NtStatus::SUCCESS),
        (APPEND_DATA, NtStatus::SUCCESS),
        (READ_DATA, NtStatus::ACCESS_DENIED),
        (0x80, NtStatus::ACCESS_DENIED),
    ] {
        let file = world.file("f01", access | SYNCHRONIZE, SYNC);
        let iosb = pattern_block();
        assert_eq!(flushed(&world, file.handle, Addr::user(iosb.addr())), expected, "{access:#x}");
        let told = if expected == NtStatus::SUCCESS { is(NtStatus::SUCCESS, 0) } else { Iosb::Untouched };
        assert_eq!(iosb_at(&iosb), told);
    }
    device::stand_alone(&world, "F01", 0);
    let pipe = world.adopt(open_device(&world, "F01", APPEND_DATA | SYNCHRONIZE, SYNC));
    let iosb = pattern_block();
    assert_eq!(flushed(&world, pipe.handle, Addr::user(iosb.addr())), NtStatus::SUCCESS);
    device::file_object(&world, pipe.handle).or32(FILE_OBJECT::Flags, FO_NAMED_PIPE);
    assert_eq!(flushed(&world, pipe.handle, Addr::user(iosb.addr())), NtStatus::ACCESS_DENIED);
}

#[test]
fn nt_f_02_the_status_block_is_looked_at_before_the_handle() {
    let world = World::new();
    let file = world.sync_file("f02");
    for handle in [file.handle, Handle::NULL, Handle(0x7770)] {
        assert_eq!(flushed(&world, handle, Addr::NULL), NtStatus::ACCESS_VIOLATION);
        assert_eq!(flushed(&world, handle, Addr::user(0x10)), NtStatus::ACCESS_VIOLATION);
    }
    for handle in [Handle::NULL, Handle(0x7770)] {
        let iosb = pattern_block();
        assert_eq!(flushed(&world, handle, Addr::user(iosb.addr())), NtStatus::INVALID_HANDLE);
        assert_eq!(iosb_at(&iosb), Iosb::Untouched);
    }
}

#[test]
fn nt_f_03_a_flush_is_over_when_it_returns() {
    let world = World::new();
    for (name, policy) in [("inline", AsyncPolicy::Inline), ("worker", AsyncPolicy::Worker)] {
        world.policy(policy);
        let file = world.async_file(name);
        let iosb = pattern_block();
        assert_eq!(flushed(&world, file.handle, Addr::user(iosb.addr())), NtStatus::SUCCESS, "{name}");
        assert_eq!(iosb_at(&iosb), is(NtStatus::SUCCESS, 0), "final at once");
    }
    world.policy(AsyncPolicy::Inline);
    let file = world.sync_file("s");
    let event = device::file_object(&world, file.handle).at(FILE_OBJECT::Event);
    dispatcher::clear_event(event);
    let iosb = pattern_block();
    assert_eq!(flushed(&world, file.handle, Addr::user(iosb.addr())), NtStatus::SUCCESS);
    assert!(world.signaled(file.handle), "a synchronous handle ends signalled");
}

#[test]
fn nt_f_04_the_file_system_is_asked_and_answers_for_the_volume() {
    let world = World::new();
    let recorder = device::over_the_volume(&world);
    let file = world.sync_file("f04");
    let iosb = pattern_block();
    let block = Addr::user(iosb.addr());
    assert_eq!(flushed(&world, file.handle, block), NtStatus::SUCCESS);
    assert_eq!(recorder.of(nt_abi::io::IRP_MJ_FLUSH_BUFFERS).len(), 1);
    let volume = world.volume(GENERIC_READ | GENERIC_WRITE);
    assert_eq!(flushed(&world, volume.handle, block), NtStatus::SUCCESS);
    assert_eq!(volume.fsctl(0x9_0020), NtStatus::SUCCESS, "dismount");
    assert_eq!(flushed(&world, file.handle, block), NtStatus::VOLUME_DISMOUNTED);
    device::stand_alone(&world, "F04", 0).answers_others(NtStatus::MEDIA_WRITE_PROTECTED);
    let protected = world.adopt(device::open(&world, "F04", SYNC));
    let iosb = pattern_block();
    assert_eq!(flushed(&world, protected.handle, Addr::user(iosb.addr())), NtStatus::MEDIA_WRITE_PROTECTED);
    assert_eq!(iosb_at(&iosb), Iosb::Untouched);
}

#[test]
fn nt_f_05_what_was_written_is_on_the_volume() {
    let world = World::new();
    let file = world.sync_file("f05");
    assert_eq!(file.write(b"durable", Some(0)), success(7));
    let iosb = pattern_block();
    assert_eq!(flushed(&world, file.handle, Addr::user(iosb.addr())), NtStatus::SUCCESS);
    if let Some(ground) = &world.ground {
        assert_eq!(std::fs::read(ground.path().join("f05")).expect("the host's file"), b"durable");
    }
    let raw = world.file("f05", GENERIC_READ | SYNCHRONIZE, SYNC | NONCACHED);
    assert_eq!(raw.read(512, Some(0)).1, b"durable", "past any cache");
}

#[test]
fn nt_r_08_bytes_told_of_a_missing_buffer() {
    let world = World::new();
    let recorder = device::stand_alone(&world, "R08", DO_BUFFERED_IO);
    recorder.answers(NtStatus::BUFFER_OVERFLOW, 17);
    let file = world.adopt(device::open(&world, "R08", SYNC));
    let unpended = file.with_read_arguments(|args| args.length = 0);
    assert_eq!(unpended, refused(NtStatus::BUFFER_OVERFLOW), "returned as it came, told nowhere");
    recorder.pends();
    let pended = file.with_read_arguments(|args| args.length = 0);
    assert_eq!(pended.returned, NtStatus::ACCESS_VIOLATION, "the copy's fault takes its place");
}

#[test]
fn nt_s_03_a_write_protected_volume_says_so() {
    // Only a directory of a read-only file system is such a volume here.
    let Some(ground) = Ground::small(1 << 20) else { return };
    ground.protect();
    let world = World::on(nt_ke::WindowsVersion::default(), None, Some(ground));
    for (access, disposition) in [(GENERIC_WRITE, 3), (GENERIC_READ, 2), (GENERIC_WRITE, 2)] {
        let refused = world.try_open("s03", access | SYNCHRONIZE, SYNC, disposition).err();
        assert_eq!(refused, Some(NtStatus::MEDIA_WRITE_PROTECTED), "{access:#x} {disposition}");
    }
    assert_eq!(world.directory("").names(None), [""; 0], "reading goes on");
}

#[test]
fn nt_t_08_what_a_driver_may_read_of_a_file_object() {
    let world = World::new();
    let file = world.sync_file("t08");
    let object = device::file_object(&world, file.handle);
    let flag = |field| object.get(field) != 0;
    assert_eq!(
        [
            flag(FILE_OBJECT::ReadAccess),
            flag(FILE_OBJECT::WriteAccess),
            flag(FILE_OBJECT::DeleteAccess),
            flag(FILE_OBJECT::SharedRead),
            flag(FILE_OBJECT::SharedWrite),
            flag(FILE_OBJECT::SharedDelete),
        ],
        [true, true, false, true, true, true]
    );
    assert_eq!(file.write(b"12345", Some(10)), success(5));
    assert_eq!(object.get(FILE_OBJECT::CurrentByteOffset), 15);
    assert!(!flag(FILE_OBJECT::LockOperation));
    assert_eq!(file.lock(0, 1, 0, true).returned, NtStatus::SUCCESS);
    assert!(flag(FILE_OBJECT::LockOperation));
    assert_eq!(file.unlock(0, 1, 0).returned, NtStatus::SUCCESS);
    assert!(flag(FILE_OBJECT::LockOperation), "once taken, for good");
    let other = device::file_object(&world, world.async_file("t08").handle);
    assert_eq!(object.addr_at(FILE_OBJECT::SectionObjectPointer), other.addr_at(FILE_OBJECT::SectionObjectPointer));
    let apart = device::file_object(&world, world.sync_file("t08b").handle);
    assert_ne!(object.addr_at(FILE_OBJECT::SectionObjectPointer), apart.addr_at(FILE_OBJECT::SectionObjectPointer));
    assert!(object.addr_at(FILE_OBJECT::Vpb) != 0);
    device::stand_alone(&world, "T08", 0);
    let bare = world.adopt(device::open(&world, "T08", SYNC));
    assert_eq!(device::file_object(&world, bare.handle).addr_at(FILE_OBJECT::Vpb), 0);
}
