//! Which thread does a write, and whose pages it goes through: nt-io.md sections 7 and 18.
mod support;

use nt_abi::NtStatus;
use nt_abi::io::*;
use nt_abi::mm::{MDL, MDL_PAGES_LOCKED, SECTION_OBJECT_POINTERS};
use nt_cell::arena::UserBlock;
use nt_cell::{Addr, Foreign};
use nt_io::device::{self, Device, DeviceSpec};
use nt_io::driver::{self, Answer, NativeDriver, OwnedIrp};
use nt_io::info::class;
use nt_io::irp::{self, IoStatus};
use nt_io::system::AsyncPolicy;
use nt_io::{event, paging, send};
use nt_ke::{Mode, Mutex, wait};
use nt_ob::Handle;
use nt_ob::types::ObjectType;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::*;

const POLICIES: [AsyncPolicy; 4] = [AsyncPolicy::Inline, AsyncPolicy::Pend, AsyncPolicy::Worker, AsyncPolicy::Dispatch];
const FSCTL_SET_PURGE_FAILURE_MODE: u32 = 0x0009_0270;

fn object(world: &World, file: &File<'_>) -> Foreign<FILE_OBJECT> {
    let found = event::reference(&world.frame(), file.handle, ObjectType::File, 0, Mode::Kernel).expect("a file");
    found.0.body().view()
}

fn sections(world: &World, file: &File<'_>) -> Foreign<SECTION_OBJECT_POINTERS> {
    object(world, file).ptr(FILE_OBJECT::SectionObjectPointer).expect("a stream")
}

/// What the dispatch routine of a driver over the volume saw of a write that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Write {
    offset: i64,
    flags: u32,
    returned: NtStatus,
    /// The packet's MDL when the volume's dispatch routine had returned: {flags, address}.
    mdl: Option<(u16, u64)>,
}

/// A driver over the volume that writes down what writes come back with, and holds paging reads while it is shut.
struct Above {
    below: Device,
    seen: Mutex<Vec<Write>>,
    shut: AtomicU32,
    held: AtomicU32,
    /// What paging writes are answered with, 0 when they go down.
    answer: AtomicU32,
}

impl NativeDriver for Above {
    fn dispatch(&self, _device: Device, irp: OwnedIrp) -> Answer {
        let (packet, stack) = (irp.irp(), irp.stack());
        let (major, flags) = (stack.get(IO_STACK_LOCATION::MajorFunction), packet.get(IRP::Flags));
        if flags & IRP_PAGING_IO != 0 && major == IRP_MJ_READ {
            while self.shut.load(Ordering::SeqCst) != 0 {
                self.held.fetch_add(1, Ordering::SeqCst);
                let _slept = wait::delay(&nt_ke::current(), Mode::Kernel, false, -10_000);
            }
        }
        if major != IRP_MJ_WRITE {
            return irp.skip_to(self.below);
        }
        let answer = NtStatus(self.answer.load(Ordering::SeqCst));
        if flags & IRP_PAGING_IO != 0 && answer != NtStatus::SUCCESS {
            return irp.complete(answer, 0);
        }
        let offset = stack.get(IO_STACK_LOCATION::Write_ByteOffset);
        let posted = flags & IRP_PAGING_IO == 0 && self.shut.load(Ordering::SeqCst) != 0;
        let answer = irp.skip_to(self.below);
        // The packet of a write that a worker does stays until its page is there, which this driver decides.
        let mdl = packet.ptr(IRP::MdlAddress).filter(|_| posted);
        let mdl = mdl.map(|mdl| (mdl.get(MDL::MdlFlags), nt_mm::mdl::virtual_address(mdl)));
        self.seen.lock().push(Write { offset, flags, returned: answer.status(), mdl });
        answer
    }
    fn has_fast_io(&self) -> bool {
        false
    }
}

fn above(world: &World) -> Arc<Above> {
    let above = Arc::new(Above {
        below: world.volume.device,
        seen: Mutex::default(),
        shut: AtomicU32::new(0),
        held: AtomicU32::new(0),
        answer: AtomicU32::new(0),
    });
    let made = driver::create_native(&world.kernel, "\\Driver\\Above", Arc::clone(&above) as _).expect("driver");
    let device =
        device::create(&world.kernel, *made, &DeviceSpec { kind: 8, ..DeviceSpec::default() }).expect("device");
    device::attach(device.body(), world.volume.device).expect("attaches");
    device::ready(device.body());
    above
}

/// An extending write of an asynchronous handle is at its end when the call returns, and all who are told are told.
fn extends_at_once(world: &World, name: &str, options: u32, offset: i64) {
    let frame = world.frame();
    let access = GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE;
    let data = vec![7; 512];
    let mut file = world.file(name, access, options);
    file.event = world.event(false);
    let done = file.write(&data, Some(offset));
    assert!(matches!(done.returned, NtStatus::SUCCESS | NtStatus::PENDING), "{done:?}");
    assert_eq!(done.iosb, Iosb::Is(NtStatus::SUCCESS, 512), "final when the call returns");
    assert!(world.signaled(file.event));
    assert_eq!(file.position(), 0);
    // A port: its packet is there; one with an APC: it is queued and runs at the next alertable wait.
    let (port, told) = (nt_io::port::create(&frame, 0x001F_0003).expect("a port"), world.file(name, access, options));
    let info = [port.0.to_le_bytes(), 0xBEE_u64.to_le_bytes()].concat();
    assert_eq!(told.set(class::COMPLETION, &info), NtStatus::SUCCESS);
    let mut told = told;
    told.context = 0xC0;
    let done = told.write(&data, Some(-1));
    assert_eq!(done.iosb, Iosb::Is(NtStatus::SUCCESS, 512));
    let packet = nt_io::port::remove(&frame, port, Some(0)).expect("a port").expect("a packet is there already");
    assert_eq!((packet.key, packet.context, packet.result), (0xBEE, 0xC0, IoStatus::new(NtStatus::SUCCESS, 512)));
    event::close(&frame, port).expect("open");
    let apc = count_apcs(world, &file, &data);
    assert_eq!(apc, (NtStatus::SUCCESS, 0, 1), "{name}");
}

thread_local! {
    /// APCs run in the thread that asked for them: each test counts its own.
    static APCS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}
extern "win64" fn count_apc(_context: u64, _iosb: u64, _reserved: u64) {
    APCS.set(APCS.get() + 1);
}

/// An extending write with an APC: {status block, calls before an alertable wait, calls after it}.
fn count_apcs(world: &World, file: &File<'_>, data: &[u8]) -> (NtStatus, u32, u32) {
    APCS.set(0);
    let buffer = nt_cell::arena::UserBlock::new(data.len() + 8).expect("arena");
    buffer.region().sub(0, data.len()).write_from(data).expect("arena");
    buffer.region().store::<i64>(data.len(), -1).expect("arena");
    let routine: extern "win64" fn(u64, u64, u64) = count_apc;
    let done = file.with_arguments(|args| {
        args.event = Handle::NULL;
        args.apc_routine = Some(nt_cell::CodePtr::from(routine));
        args.buffer = Addr::user(buffer.addr());
        args.length = data.len() as u32;
        args.byte_offset = Addr::user(buffer.addr() + data.len() as u64);
    });
    let Iosb::Is(status, 512) = done.iosb else { panic!("{done:?}") };
    let before = APCS.get();
    let _interrupted = wait::delay(&world.frame(), Mode::User, true, 0);
    (status, before, APCS.get())
}

#[test]
fn nt_n_09_an_extending_noncached_write_is_at_its_end_when_the_call_returns() {
    for policy in POLICIES {
        let world = World::new();
        world.policy(policy);
        let above = above(&world);
        extends_at_once(&world, "n09", NONCACHED, 0);
        assert!(above.seen.lock().iter().all(|write| write.flags & IRP_NOCACHE != 0), "nothing went around");
        // One that does not extend ends when its driver likes.
        let file = world.file("n09", GENERIC_WRITE | SYNCHRONIZE, NONCACHED);
        let done = file.write(&[8; 512], Some(0));
        assert_eq!(done.returned == NtStatus::PENDING, policy != AsyncPolicy::Inline, "{policy:?}");
        world.kernel.work.drain();
        assert_eq!(file.iosb(), Iosb::Is(NtStatus::SUCCESS, 512));
        drop(file);
        device::detach(world.volume.device);
    }
}

#[test]
fn nt_s_14_an_extending_write_of_an_asynchronous_handle_waits_inside_the_file_system() {
    for policy in POLICIES {
        let world = World::new();
        world.policy(policy);
        for (name, options) in [("s14", 0), ("s14n", NONCACHED), ("s14w", 2)] {
            extends_at_once(&world, name, options, 0);
            extends_at_once(&world, &format!("{name}g"), options, 0x1000);
        }
        // Also where the page that it covers in part has to be read first: nobody else does it.
        let above = above(&world);
        let file = world.async_file("s14p");
        file.write(&[1; 100], Some(0));
        assert!(nt_cc::purge(sections(&world, &file), None) || on_dir());
        above.seen.lock().clear();
        assert_eq!(file.write(&[2; 100], Some(100)).iosb, Iosb::Is(NtStatus::SUCCESS, 100));
        assert_eq!(above.seen.lock()[0].mdl, None);
        drop(file);
        device::detach(world.volume.device);
    }
}

#[test]
fn nt_s_13_what_need_not_wait_is_not_posted() {
    let world = World::new();
    world.policy(AsyncPolicy::Inline);
    let raw = world.file("s13i", GENERIC_WRITE | SYNCHRONIZE, SYNC | NONCACHED);
    assert_eq!(raw.write(&[1; 0x2000], Some(0)), success(0x2000));
    // The first cached write of the stream settles which way its data takes.
    let file = world.async_file("s13i");
    assert_eq!(file.write(&[2; 0x1000], Some(0)), success(0x1000));
}

#[test]
fn nt_s_13_a_request_that_cannot_block_is_posted() {
    let world = World::new();
    nt_cc::Manager::of(&world.kernel).set_policy(Some(nt_cc::Policy::Behind));
    let above = above(&world);
    let file = world.async_file("s13");
    file.write(&[1; 0x2000], Some(0));
    let flushed = nt_cc::coherency_flush_and_purge(sections(&world, &file), 0, 0x2000, false);
    assert_eq!(flushed.status, NtStatus::SUCCESS);
    // Its page is not in the cache, and reading it takes as long as this test likes.
    above.shut.store(1, Ordering::SeqCst);
    above.seen.lock().clear();
    let buffer = nt_cell::arena::UserBlock::new(64).expect("arena");
    buffer.region().sub(0, 6).write_from(b"posted").expect("arena");
    let done = file.raw_write(Addr::user(buffer.addr()), 6, Some(100));
    assert_eq!(done, Done { returned: NtStatus::PENDING, iosb: Iosb::Untouched });
    let seen = above.seen.lock()[0];
    assert_eq!((seen.offset, seen.returned), (100, NtStatus::PENDING));
    let (flags, address) = seen.mdl.expect("the user's buffer is locked in an MDL");
    assert!(flags & MDL_PAGES_LOCKED != 0 && address == buffer.addr(), "{flags:#x}");
    let packet = *world.frame().thread.irps().first().expect("on its way");
    let control = irp::current(Foreign::<IRP>::of_table(packet)).get(IO_STACK_LOCATION::Control);
    assert_ne!(control & SL_PENDING_RETURNED, 0, "marked pending");
    assert_eq!(file.position(), 0);
    while above.held.load(Ordering::SeqCst) == 0 {
        world.pause();
    }
    // A synchronous handle's request waits in its own thread instead (below, without the gate).
    above.shut.store(0, Ordering::SeqCst);
    world.kernel.work.drain();
    assert_eq!((file.iosb(), file.position()), (Iosb::Is(NtStatus::SUCCESS, 6), 0));
    let flushed = nt_cc::coherency_flush_and_purge(sections(&world, &file), 0, 0x2000, false);
    assert_eq!(flushed.status, NtStatus::SUCCESS);
    let own = world.sync_file("s13");
    assert_eq!((own.write(b"waited", Some(200)), own.position()), (success(6), 206));
    let bytes = file.bytes_of("s13");
    assert_eq!((&bytes[100..106], &bytes[200..206], bytes[99]), (&b"posted"[..], &b"waited"[..], 1));
    // The same while another thread has the stream to itself.
    let raw = world.file("s13", GENERIC_WRITE | SYNCHRONIZE, NONCACHED);
    let chain = nt_cc::mdl_read(object(&world, &own), 0, 8).map_err(NtStatus::from).expect("lent").0;
    assert_eq!(raw.write(&[3; 512], Some(0)).returned, NtStatus::PENDING);
    world.kernel.work.drain();
    assert_eq!(raw.iosb(), Iosb::Is(NtStatus::SUCCESS, 512));
    nt_cc::mdl_read_complete(object(&world, &own), chain).map_err(NtStatus::from).expect("back");
    // A buffer that cannot be locked fails the write, at once.
    let flushed = nt_cc::coherency_flush_and_purge(sections(&world, &file), 0, 0x2000, false);
    assert_eq!(flushed.status, NtStatus::SUCCESS);
    let bad = file.raw_write(Addr::user(buffer.addr() + (1 << 40)), 6, Some(100));
    assert!(bad.returned.is_error() && bad.iosb == Iosb::Untouched, "{bad:?}");
    drop((file, own, raw));
    device::detach(world.volume.device);
}

#[test]
fn nt_s_10_the_first_cached_transfer_makes_the_cache_map() {
    let world = World::new();
    for (index, options) in [0, 4, 0x800].into_iter().enumerate() {
        // FILE_SEQUENTIAL_ONLY and FILE_RANDOM_ACCESS only tune it; FILE_ATTRIBUTE_TEMPORARY too.
        for (kind, attributes) in [("plain", 0x80), ("temporary", 0x100)] {
            let name = format!("s10{kind}{index}");
            let spec = nt_io::create::CreateSpec {
                access: GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE,
                name: format!("\\??\\C:\\{name}").encode_utf16().collect(),
                options: SYNC | options,
                disposition: 3,
                file_attributes: attributes,
                share: 7,
                ..nt_io::create::CreateSpec::default()
            };
            let open = || world.adopt(nt_io::create::nt_create_file(&world.frame(), &spec).expect("a file").0);
            let (writer, reader, third) = (open(), open(), open());
            let map = |file: &File<'_>| object(&world, file).addr_at(FILE_OBJECT::PrivateCacheMap);
            assert_eq!((map(&writer), map(&reader), map(&third)), (0, 0, 0));
            assert_eq!(writer.write(b"", Some(0)), success(0));
            assert_eq!(map(&writer), 0, "no transfer");
            assert_eq!(writer.write(b"first", Some(0)), success(5));
            assert!(map(&writer) != 0 && map(&reader) == 0, "each file object has its own");
            assert_eq!(reader.read(5, Some(0)), (success(5), b"first".to_vec()));
            assert!(map(&reader) != 0 && map(&reader) != map(&writer) && map(&third) == 0);
            // From now on the fast path is tried.
            let refused = |file: &File<'_>| {
                let block = nt_cell::arena::UserBlock::new(8).expect("arena");
                let call = nt_io::FastCall {
                    file: object(&world, file),
                    offset: 0,
                    length: 5,
                    wait: true,
                    key: 0,
                    buffer: block.region().sub(0, 5),
                    device: world.volume.device,
                };
                nt_io::rw::call_fast(nt_io::rw::Direction::Read, call).is_none()
            };
            assert!(refused(&third) && !refused(&writer) && !refused(&reader));
            let flags = object(&world, &writer).get(FILE_OBJECT::Flags);
            assert_eq!(flags & FO_SEQUENTIAL_ONLY != 0, options == 4);
            assert_eq!(flags & FO_RANDOM_ACCESS != 0, options == 0x800);
            assert_eq!(flags & FO_TEMPORARY_FILE != 0, attributes == 0x100);
        }
    }
    let raw = world.file("s10raw", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | NONCACHED);
    assert_eq!(raw.write(&[1; 512], Some(0)), success(512));
    assert_eq!(object(&world, &raw).addr_at(FILE_OBJECT::PrivateCacheMap), 0, "cached transfers only");
}

#[test]
fn nt_s_11_a_write_through_ends_with_the_status_of_its_flush() {
    let world = World::new();
    let manager = nt_cc::Manager::of(&world.kernel);
    manager.set_policy(Some(nt_cc::Policy::Behind));
    let above = above(&world);
    let through = world.file("s11", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | 2);
    assert_eq!(through.write(&[1; 100], Some(0)), success(100));
    let paging = |above: &Above| above.seen.lock().iter().filter(|write| write.flags & IRP_PAGING_IO != 0).count();
    assert_eq!(paging(&above), 1, "after the copy, inside the request");
    let map = nt_cc::map_of(sections(&world, &through)).expect("cached");
    assert!(map.is_clean());
    for failure in [NtStatus::DISK_FULL, NtStatus::IO_DEVICE_ERROR, NtStatus::MEDIA_WRITE_PROTECTED] {
        above.answer.store(failure.0, Ordering::SeqCst);
        assert_eq!(through.write(&[2; 100], Some(0)), refused(failure), "the flush's error is the write's");
        // Another handle's write is not flushed for, and does not fail.
        let cached = world.sync_file("s11b");
        assert_eq!(cached.write(&[3; 100], Some(0)), success(100));
        above.answer.store(0, Ordering::SeqCst);
    }
    assert_eq!(through.write(&[4; 100], Some(0)), success(100));
    let raw = world.file("s11", GENERIC_READ | SYNCHRONIZE, SYNC | NONCACHED);
    assert_eq!(raw.read(512, Some(0)).1, [4; 100], "on the medium");
    manager.set_policy(None);
    drop((through, raw));
    device::detach(world.volume.device);
}

/// A packet of a driver's own: IRP_MJ_WRITE of a minor function.
fn mdl_packet(world: &World, file: &File<'_>, minor: u8, offset: i64, length: u32) -> irp::Irp {
    let top = device::related(object(world, file)).expect("a device");
    let packet = irp::allocate(top.get(DEVICE_OBJECT::StackSize)).expect("memory");
    packet.set_addr(IRP::Tail_Thread, world.frame().thread.object());
    packet.set(IRP::RequestorMode, 0);
    let stack = irp::next(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, IRP_MJ_WRITE);
    stack.set(IO_STACK_LOCATION::MinorFunction, minor);
    stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(object(world, file)));
    stack.set(IO_STACK_LOCATION::Write_Length, length);
    stack.set(IO_STACK_LOCATION::Write_ByteOffset, offset);
    packet
}

fn sent(world: &World, packet: irp::Irp) -> (NtStatus, u64) {
    let returned = send::call_driver(world.volume.device, packet);
    let result = irp::status(packet);
    assert_eq!(returned, result.status);
    (result.status, result.information)
}

#[test]
fn nt_s_12_pages_are_lent_filled_and_given_back() {
    for policy in [nt_cc::Policy::Behind, nt_cc::Policy::Through] {
        let world = World::new();
        nt_cc::Manager::of(&world.kernel).set_policy(Some(policy));
        let file = world.sync_file("s12");
        assert_eq!(file.write(&[b'.'; 0x1800], Some(0)), success(0x1800));
        for (offset, length) in [(0x10, 0x20), (0xFF0, 0x20), (0x1700, 0x3000), (0x8000, 0x41000)] {
            let packet = mdl_packet(&world, &file, IRP_MN_MDL, offset, length);
            assert_eq!(sent(&world, packet), (NtStatus::SUCCESS, length.into()));
            let chain: Vec<_> = nt_mm::mdl::chain(packet.ptr(IRP::MdlAddress)).collect();
            assert!(!chain.is_empty(), "an MDL chain of cache pages");
            let bytes: u32 = chain.iter().map(|mdl| mdl.get(MDL::ByteCount)).sum();
            assert_eq!(bytes, length);
            assert!(!nt_cc::purge(sections(&world, &file), None), "they are pinned: they are the cache's own");
            for mdl in &chain {
                nt_mm::mdl::region(*mdl).expect("mapped").fill(b'#').expect("ours to fill");
            }
            let complete = mdl_packet(&world, &file, IRP_MN_MDL | IRP_MN_COMPLETE, offset, length);
            complete.set_ptr(IRP::MdlAddress, packet.ptr(IRP::MdlAddress));
            assert_eq!(sent(&world, complete), (NtStatus::SUCCESS, length.into()));
            assert_eq!(complete.ptr(IRP::MdlAddress), None, "the chain is gone");
            packet.set_ptr(IRP::MdlAddress, None);
            irp::release(packet);
            irp::release(complete);
            let end = (offset as u64 + u64::from(length)).max(0x1800);
            assert_eq!(file.eof(), end);
            let read = file.read(end as usize, Some(0)).1;
            let lent = offset as usize..offset as usize + length as usize;
            assert!(read[lent.clone()].iter().all(|byte| *byte == b'#'), "{offset:#x}");
            assert_eq!((read[0], read[lent.start - 1]), (b'.', if offset == 0x8000 { 0 } else { b'.' }));
            assert_eq!(file.write(b".", Some(lent.start as i64)), success(1), "an ordinary write goes on");
            assert_eq!(
                file.write(&vec![b'.'; lent.end.min(0x1800) - lent.start.min(0x1800)], Some(lent.start as i64))
                    .returned,
                NtStatus::SUCCESS
            );
        }
        let flags = object(&world, &file).get(FILE_OBJECT::Flags);
        assert_ne!(flags & FO_FILE_MODIFIED, 0);
        let whole = file.bytes_of("s12");
        let raw = world.file("s12", GENERIC_READ | SYNCHRONIZE, SYNC | NONCACHED);
        assert_eq!(raw.read(whole.len(), Some(0)).1, whole, "and reaches the medium");
        // Only the cache has pages to lend; a range that another owner locked is refused before.
        let raw_packet = mdl_packet(&world, &raw, IRP_MN_MDL, 0, 512);
        raw_packet.or32(IRP::Flags, IRP_NOCACHE);
        assert_eq!(sent(&world, raw_packet).0, NtStatus::INVALID_PARAMETER);
        irp::release(raw_packet);
        let other = world.sync_file("s12");
        assert_eq!(other.lock(0, 16, 0, true), success(0));
        let locked = mdl_packet(&world, &file, IRP_MN_MDL, 8, 16);
        assert_eq!(sent(&world, locked).0, NtStatus::FILE_LOCK_CONFLICT);
        irp::release(locked);
    }
}

#[test]
fn nt_n_07_the_cache_is_flushed_and_purged_before_a_noncached_write() {
    let world = World::new();
    nt_cc::Manager::of(&world.kernel).set_policy(Some(nt_cc::Policy::Behind));
    let above = above(&world);
    let (file, raw) =
        (world.sync_file("n07"), world.file("n07", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | NONCACHED));
    assert_eq!(file.write(&[1; 0x3000], Some(0)), success(0x3000));
    above.seen.lock().clear();
    assert_eq!(raw.write(&[2; 0x1000], Some(0x1000)), success(0x1000));
    let paging: Vec<i64> =
        above.seen.lock().iter().filter(|write| write.flags & IRP_PAGING_IO != 0).map(|write| write.offset).collect();
    assert_eq!(paging, [0x1000], "what is dirty in the range is flushed first, and no more");
    let expected = [vec![1; 0x1000], vec![2; 0x1000], vec![1; 0x1000]].concat();
    assert_eq!(file.read(0x3000, Some(0)).1, expected, "purged: the cached handle sees it");
    // A page that somebody has locked cannot go: ignored, but for a file in purge-failure mode.
    let lent = |start| nt_cc::mdl_read(object(&world, &file), start, 16).map_err(NtStatus::from).expect("lent").0;
    let back = |chain| nt_cc::mdl_read_complete(object(&world, &file), chain).map_err(NtStatus::from).expect("back");
    let chain = lent(0);
    assert_eq!(raw.write(&[3; 512], Some(0)), success(512));
    let mode = |file: &File<'_>, flags: u32| {
        world.frame().with_mode(Mode::Kernel, || file.control(FSCTL_SET_PURGE_FAILURE_MODE, &flags.to_le_bytes(), 0).0)
    };
    assert_eq!(raw.control(FSCTL_SET_PURGE_FAILURE_MODE, &1_u32.to_le_bytes(), 0).0, NtStatus::INVALID_PARAMETER);
    assert_eq!((mode(&file, 2), mode(&file, 3)), (NtStatus::INVALID_PARAMETER, NtStatus::INVALID_PARAMETER));
    assert_eq!((mode(&file, 1), mode(&file, 1)), (NtStatus::SUCCESS, NtStatus::SUCCESS));
    let eof = raw.eof();
    for (offset, length) in [(0, 512), (0, 0x8000)] {
        assert_eq!(raw.write(&vec![4; length], Some(offset)), refused(NtStatus::PURGE_FAILED));
    }
    assert_eq!((raw.eof(), raw.read(512, Some(0)).1), (eof, vec![3; 512]), "nothing was written");
    assert_eq!(raw.write(&[5; 512], Some(0x8_0000)), success(512), "pages of another view");
    assert_eq!(mode(&file, 2), NtStatus::SUCCESS);
    assert_eq!(raw.write(&[4; 512], Some(0)), refused(NtStatus::PURGE_FAILED), "still once");
    assert_eq!(mode(&file, 2), NtStatus::SUCCESS);
    assert_eq!(raw.write(&[6; 512], Some(0)), success(512));
    back(chain);
    let other = world.file("n07b", GENERIC_WRITE | SYNCHRONIZE, SYNC | NONCACHED);
    assert_eq!(other.write(&[1; 512], Some(0)), success(512), "a file without a section has nothing to purge");
    drop((file, raw, other));
    device::detach(world.volume.device);
}

#[test]
fn nt_r_02_the_end_that_counts_is_the_files_although_the_medium_has_less_of_it_yet() {
    const END: usize = 2_000_005;
    for policy in [nt_cc::Policy::Behind, nt_cc::Policy::Through] {
        let world = World::new();
        nt_cc::Manager::of(&world.kernel).set_policy(Some(policy));
        for (name, first) in [("empty", 0), ("short", 700), ("pages", 0x3000)] {
            let file = world.sync_file(name);
            if first != 0 {
                assert_eq!(file.write(&vec![7; first], Some(0)), success(first as u64));
                nt_cc::Manager::of(&world.kernel).write_all();
            }
            assert_eq!(file.write(b"hello", Some(END as i64 - 5)), success(5));
            let raw = world.file(name, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | NONCACHED);
            let expected = [vec![7; first], vec![0; END - 5 - first], b"hello".to_vec()].concat();
            // Inside the gap, over the medium's own end, and from below it.
            for offset in [0x10_0000, 0x8000, first & !0x1FF, 0] {
                let (done, bytes) = raw.read(4096, Some(offset as i64));
                assert_eq!(done, success(4096), "{policy:?} {name} at {offset:#x}");
                assert_eq!(bytes[..4096], expected[offset..offset + 4096], "{policy:?} {name} at {offset:#x}");
            }
            let page = UserBlock::new(0x1000).expect("arena");
            let opened = object(&world, &file);
            let paging =
                paging::transfer(&world.frame(), opened, IRP_MJ_READ, paging::SYNCHRONOUS, 0x9000, page.region());
            assert_eq!((paging.status, paging.information), (NtStatus::SUCCESS, 0x1000), "{policy:?} {name}");
            assert_eq!(page.region().to_vec().expect("there"), [0; 0x1000]);
            let (done, bytes) = raw.read(0x20_0000, Some(0));
            assert_eq!(done, success(END as u64), "{policy:?} {name}");
            assert_eq!(bytes[..END], expected, "{policy:?} {name}");
            assert_eq!(raw.read(512, Some(0x20_0000)).0.returned, NtStatus::END_OF_FILE);
        }
    }
}
