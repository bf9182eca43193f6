//! FltWriteFile and FltReadFile by the rules of fltmgr.md section 2: the native door.
mod support;

use nt_abi::NtStatus;
use nt_abi::flt::*;
use nt_abi::io::{FILE_OBJECT, IRP_NOCACHE, IRP_PAGING_IO, IRP_SYNCHRONOUS_API, IRP_SYNCHRONOUS_PAGING_IO};
use nt_cell::Addr;
use nt_fltmgr::generated::{self, Transfer};
use nt_fltmgr::{Instance, PreOp};
use nt_io::irp::IoStatus;
use nt_io::system::AsyncPolicy;
use nt_ke::{Mode, WindowsVersion};
use std::sync::Arc;
use support::*;

/// Three filters, and the middle one's instance, from which the requests start.
fn stack(world: &World) -> (Log, Arc<Instance>) {
    let log = Log::default();
    world.probe("A", "400000", &log);
    let middle = world.probe("I", "300000", &log);
    world.probe("B", "200000", &log);
    (log, world.instance(&middle))
}

fn flt_write(
    world: &World,
    from: &Arc<Instance>,
    file: &File<'_>,
    data: &[u8],
    offset: Option<i64>,
    flags: u32,
) -> Result<IoStatus, NtStatus> {
    write_object(world, from, *file.object(), data, offset, flags)
}

fn write_object(
    world: &World,
    from: &Arc<Instance>,
    file: nt_cell::Foreign<FILE_OBJECT>,
    data: &[u8],
    offset: Option<i64>,
    flags: u32,
) -> Result<IoStatus, NtStatus> {
    let block = pool_buffer(data);
    let request = Transfer { flags, ..plain_write(file, offset, Addr::from(block), data.len() as u32) };
    let frame = world.frame();
    let result = frame.with_mode(Mode::Kernel, || generated::transfer(&frame, from, &request, None));
    nt_ex::pool::free(block);
    result.map_err(NtStatus::from)
}

fn wrote(count: u64) -> Result<IoStatus, NtStatus> {
    Ok(IoStatus::new(NtStatus::SUCCESS, count))
}

const REFUSED: Result<IoStatus, NtStatus> = Err(NtStatus::INVALID_PARAMETER);

#[test]
fn flt_w_01_writes_data_to_an_open_file() {
    let world = filtered();
    let (_, from) = stack(&world);
    let file = world.sync_file("w01");
    assert_eq!(flt_write(&world, &from, &file, b"abc", Some(0), 0), wrote(3));
    assert_eq!(file.bytes_of("w01"), b"abc");
}

#[test]
fn flt_w_02_only_instances_below_see_the_request() {
    let world = filtered();
    let (log, from) = stack(&world);
    let file = world.sync_file("w02");
    flt_write(&world, &from, &file, b"abc", Some(0), 0).expect("write");
    let log = log.lock();
    let seen: Vec<_> = log.iter().map(|seen| (seen.filter, seen.post, seen.generated, seen.fast)).collect();
    assert_eq!(seen, [("B", false, true, false), ("B", true, true, false)]);
}

#[test]
fn flt_w_03_never_as_fast_io_straight_to_the_file_system() {
    let world = filtered();
    let log = Log::default();
    let lowest = world.probe("L", "100", &log);
    let from = world.instance(&lowest);
    let file = world.sync_file("w03");
    file.write(b"cached", None);
    file.write(b"cached", None);
    log.lock().clear();
    assert_eq!(flt_write(&world, &from, &file, b"xy", Some(0), 0), wrote(2));
    assert!(log.lock().is_empty());
}

#[test]
fn flt_w_05_a_file_of_another_volume_is_refused() {
    let world = filtered();
    let (_, from) = stack(&world);
    let other = nt_memfs::mount(&world.kernel, 2, None).expect("second volume");
    let spec = nt_io::create::CreateSpec {
        access: GENERIC_WRITE,
        name: format!("{}\\x", other.name).encode_utf16().collect(),
        disposition: 3,
        ..Default::default()
    };
    let (handle, _) = nt_io::create::nt_create_file(&world.frame(), &spec).expect("create");
    let kind = nt_ob::types::ObjectType::File;
    let (object, _) = nt_io::event::reference(&world.frame(), handle, kind, 0, Mode::Kernel).expect("file");
    let block = pool_buffer(b"x");
    let request = plain_write(object.body().view(), Some(0), Addr::from(block), 1);
    let result = generated::transfer(&world.frame(), &from, &request, None).map_err(NtStatus::from);
    nt_ex::pool::free(block);
    assert_eq!(result, REFUSED);
}

#[test]
fn flt_w_06_a_file_that_is_not_open_yet_is_refused() {
    let world = filtered();
    let (log, from) = stack(&world);
    let findings = world.findings();
    let unopened = nt_io::file::create(&world.frame(), world.volume.storage).expect("file object");
    assert_eq!(write_object(&world, &from, *unopened, b"x", Some(0), 0), REFUSED);
    assert!(log.lock().is_empty(), "nothing was sent");
    assert_eq!(findings.take("FLT-V-11"), ["the file is not open yet (FLT-W-06)"]);
}

#[test]
fn flt_w_06_after_cleanup_only_paging_writes_pass() {
    let world = filtered();
    let (log, from) = stack(&world);
    let file = world.sync_file("w06");
    file.write(&[1; 512], Some(0));
    let object = file.object();
    drop(file);
    // The cache is updated by nobody but itself (NT-CC-83): it must not hold the page.
    let sections = object.ptr(FILE_OBJECT::SectionObjectPointer).expect("a stream");
    assert_eq!(nt_cc::coherency_flush_and_purge(sections, 0, u64::MAX, false).status, NtStatus::SUCCESS);
    log.lock().clear();
    let findings = world.findings();
    let closed = Ok(IoStatus::new(NtStatus::FILE_CLOSED, 0));
    assert_eq!(write_object(&world, &from, *object, b"x", Some(0), 0), closed);
    assert_eq!(log.lock().len(), 2, "the file system's verdict, seen by the filter below");
    assert_eq!(findings.take("FLT-V-11"), ["the file is past its cleanup (FLT-W-06)"]);
    assert_eq!(write_object(&world, &from, *object, &[2; 512], Some(0), FLTFL_IO_OPERATION_PAGING), wrote(512));
    assert!(findings.take("FLT-V-11").is_empty());
    assert_eq!(world.sync_file("w06").bytes_of("w06"), [2; 512]);
}

#[test]
fn flt_w_07_zero_bytes_travel_and_change_nothing() {
    let world = filtered();
    let (log, from) = stack(&world);
    let file = world.sync_file("w07");
    assert_eq!(flt_write(&world, &from, &file, b"", Some(5), 0), wrote(0));
    assert_eq!((log.lock().len(), file.position(), file.eof()), (2, 0, 0));
}

/// The table of section 2.6: start, position below, position after.
#[test]
fn flt_w_08_to_16_offsets_and_positions() {
    for (synchronous, offset, keep, start, after) in [
        (true, None, false, 4, 6),
        (true, Some(-2), false, 4, 6),
        (true, Some(1), false, 1, 3),
        (true, Some(-1), false, 10, 12),
        (true, None, true, 4, 4),
        (true, Some(-2), true, 4, 4),
        (true, Some(1), true, 1, 4),
        (true, Some(-1), true, 10, 4),
        (false, Some(1), false, 1, 0),
        (false, Some(-1), false, 10, 0),
        (false, Some(1), true, 1, 0),
    ] {
        let world = filtered();
        let (log, from) = stack(&world);
        world.sync_file("t").write(b"0123456789", Some(0));
        let file = if synchronous { world.sync_file("t") } else { world.async_file("t") };
        if synchronous {
            file.seek(4);
        }
        log.lock().clear();
        let flags = if keep { FLTFL_IO_OPERATION_DO_NOT_UPDATE_BYTE_OFFSET } else { 0 };
        let case = format!("synchronous {synchronous}, {offset:?}, keep {keep}");
        assert_eq!(flt_write(&world, &from, &file, b"xy", offset, flags), wrote(2), "{case}");
        assert_eq!(file.object().get(FILE_OBJECT::CurrentByteOffset), after, "{case}: position after");
        let below = log.lock().iter().find(|seen| seen.post).map(|seen| seen.position);
        assert_eq!(below, Some(if synchronous { start + 2 } else { 0 }), "{case}: position below (FLT-W-14)");
        let bytes = file.bytes_of("t");
        assert_eq!(&bytes[start as usize..start as usize + 2], b"xy", "{case}");
    }
}

#[test]
fn flt_w_09_the_file_pointer_value_needs_a_synchronous_file() {
    let world = filtered();
    let (log, from) = stack(&world);
    let file = world.async_file("w09");
    assert_eq!(flt_write(&world, &from, &file, b"x", Some(-2), 0), REFUSED);
    assert!(log.lock().is_empty());
}

#[test]
fn flt_w_11_no_offset_needs_a_synchronous_file() {
    let world = filtered();
    let (log, from) = stack(&world);
    let file = world.async_file("w11");
    assert_eq!(flt_write(&world, &from, &file, b"x", None, 0), REFUSED);
    assert!(log.lock().is_empty());
}

#[test]
fn flt_w_13_the_position_is_put_back_when_asked() {
    let world = filtered();
    let (_, from) = stack(&world);
    let file = world.sync_file("w13");
    file.seek(3);
    flt_write(&world, &from, &file, b"abc", Some(20), FLTFL_IO_OPERATION_DO_NOT_UPDATE_BYTE_OFFSET).expect("write");
    assert_eq!(file.position(), 3);
}

#[test]
fn flt_w_14_filters_below_see_the_position_move_that_the_caller_does_not() {
    let world = filtered();
    let (log, from) = stack(&world);
    let file = world.sync_file("w14");
    file.seek(3);
    let keep = FLTFL_IO_OPERATION_DO_NOT_UPDATE_BYTE_OFFSET;
    for (offset, after) in [(20, 23), (0, 3), (-1, 26)] {
        log.lock().clear();
        assert_eq!(flt_write(&world, &from, &file, b"abc", Some(offset), keep), wrote(3));
        let seen: Vec<_> = log.lock().iter().map(|seen| (seen.post, seen.position)).collect();
        assert_eq!(seen, [(false, 3), (true, after)], "before and after the file system moved it");
        assert_eq!(file.position(), 3);
    }
}

#[test]
fn flt_w_17_before_windows_8_the_special_offsets_are_refused() {
    let world = filtered_with(WindowsVersion::Win7, None);
    let (_, from) = stack(&world);
    let file = world.sync_file("w17");
    assert_eq!(flt_write(&world, &from, &file, b"x", Some(-1), 0), REFUSED);
    assert_eq!(flt_write(&world, &from, &file, b"x", Some(-2), 0), REFUSED);
    assert_eq!(flt_write(&world, &from, &file, b"x", Some(0), 0), wrote(1));
}

#[test]
fn flt_w_18_other_negative_offsets_are_refused() {
    let world = filtered();
    let (_, from) = stack(&world);
    for file in [world.sync_file("w18"), world.async_file("w18")] {
        for offset in [-3, -20, i64::MIN] {
            assert_eq!(flt_write(&world, &from, &file, b"x", Some(offset), 0), REFUSED, "{offset}");
        }
    }
}

#[test]
fn flt_w_20_noncached_by_flag_or_by_open() {
    let world = filtered();
    let (log, from) = stack(&world);
    let cached = world.sync_file("w20");
    let noncached = world.file("w20", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | NONCACHED);
    let sector = [9; 512];
    flt_write(&world, &from, &cached, &sector, Some(0), 0).expect("cached");
    flt_write(&world, &from, &cached, &sector, Some(0), FLTFL_IO_OPERATION_NON_CACHED).expect("flag");
    flt_write(&world, &from, &noncached, &sector, Some(0), 0).expect("open");
    let flags: Vec<_> = log
        .lock()
        .iter()
        .filter(|seen| !seen.post && seen.irp_flags & IRP_PAGING_IO == 0)
        .map(|seen| seen.irp_flags & IRP_NOCACHE != 0)
        .collect();
    assert_eq!(flags, [false, true, true]);
}

#[test]
fn flt_w_21_a_cached_read_sees_a_noncached_write() {
    let world = filtered();
    let (_, from) = stack(&world);
    let file = world.sync_file("w21");
    file.write(&[1; 1024], Some(0));
    flt_write(&world, &from, &file, &[2; 512], Some(512), FLTFL_IO_OPERATION_NON_CACHED).expect("write");
    let (done, bytes) = file.read(1024, Some(0));
    assert_eq!(done, success(1024));
    assert!(bytes[..512].iter().all(|&byte| byte == 1) && bytes[512..].iter().all(|&byte| byte == 2));
}

#[test]
fn flt_w_22_misaligned_noncached_requests_get_the_file_systems_verdict() {
    let world = filtered();
    let (log, from) = stack(&world);
    let file = world.sync_file("w22");
    let flags = FLTFL_IO_OPERATION_NON_CACHED;
    let refused = Ok(IoStatus::new(NtStatus::INVALID_PARAMETER, 0));
    assert_eq!(flt_write(&world, &from, &file, b"four", Some(0), flags), refused);
    assert_eq!(flt_write(&world, &from, &file, &[0; 512], Some(4), flags), refused);
    assert_eq!(log.lock().len(), 4, "both requests reached the filter below");
}

#[test]
fn flt_w_23_aligned_pool_is_good_for_every_device() {
    let world = filtered();
    let (_, from) = stack(&world);
    let file = world.sync_file("w23");
    let findings = world.findings();
    for mask in [0, 1, 3, 7, 0xF, 0x1F, 0x3F, 0x7F, 0xFF, 0x1FF] {
        world.volume.device.set(nt_abi::io::DEVICE_OBJECT::AlignmentRequirement, mask);
        for size in [0, 1, 512, 513, 4096, 70_000] {
            let kind = nt_ex::pool::PoolKind::NonPaged;
            let block = generated::allocate_aligned(Some(&from), size, nt_ex::pool::tag(b"tAli"), kind).expect("pool");
            assert_eq!(block.addr() & u64::from(mask), 0, "mask {mask:#x}, {size} bytes");
            if size == 512 {
                let buffer = Addr::from(block);
                let flags = FLTFL_IO_OPERATION_NON_CACHED;
                let offset = Some(0);
                let file = *file.object();
                let request = Transfer { flags, ..plain_write(file, offset, buffer, 512) };
                let done = generated::transfer(&world.frame(), &from, &request, None).map_err(NtStatus::from);
                assert_eq!(done, wrote(512));
            }
            nt_ex::pool::free(block);
        }
    }
    assert!(findings.take("FLT-V-11").is_empty());
}

#[test]
fn flt_w_24_paging_writes_follow_the_paging_rules() {
    let world = filtered();
    let (log, from) = stack(&world);
    let file = world.sync_file("w24");
    file.write(&[1; 600], Some(0));
    log.lock().clear();
    assert_eq!(flt_write(&world, &from, &file, &[2; 512], Some(512), FLTFL_IO_OPERATION_PAGING), wrote(88));
    assert_eq!((file.eof(), file.position()), (600, 600));
    assert_ne!(log.lock()[0].irp_flags & IRP_PAGING_IO, 0);
}

#[test]
fn flt_w_25_synchronous_paging_goes_with_paging_only() {
    let world = filtered();
    let (log, from) = stack(&world);
    let file = world.sync_file("w25");
    file.write(&[1; 512], Some(0));
    log.lock().clear();
    let alone = FLTFL_IO_OPERATION_SYNCHRONOUS_PAGING;
    assert_eq!(flt_write(&world, &from, &file, &[2; 512], Some(0), alone), REFUSED);
    assert_eq!(flt_write(&world, &from, &file, &[2; 512], Some(0), alone | FLTFL_IO_OPERATION_PAGING), wrote(512));
    assert_ne!(log.lock()[0].irp_flags & IRP_SYNCHRONOUS_PAGING_IO, 0);
}

#[test]
fn flt_w_26_unknown_flags_are_refused() {
    let world = filtered();
    let (_, from) = stack(&world);
    assert_eq!(flt_write(&world, &from, &world.sync_file("w26"), b"x", Some(0), 0x10), REFUSED);
}

#[test]
fn flt_w_27_a_call_that_waits_says_so_below() {
    let world = filtered();
    let (log, from) = stack(&world);
    flt_write(&world, &from, &world.async_file("w27"), b"x", Some(0), 0).expect("write");
    assert_ne!(log.lock()[0].irp_flags & IRP_SYNCHRONOUS_API, 0);
}

#[test]
fn flt_w_28_without_a_callback_the_call_waits_also_on_an_asynchronous_file() {
    let world = filtered();
    let (_, from) = stack(&world);
    for policy in [AsyncPolicy::Inline, AsyncPolicy::Pend, AsyncPolicy::Worker, AsyncPolicy::Dispatch] {
        world.policy(policy);
        let file = world.async_file("w28");
        assert_eq!(flt_write(&world, &from, &file, b"abc", Some(0), 0), wrote(3), "{policy:?}");
    }
}

#[test]
fn flt_w_29_with_a_callback_it_is_called_once_with_the_result() {
    let world = filtered();
    let (log, from) = stack(&world);
    for policy in [AsyncPolicy::Inline, AsyncPolicy::Pend, AsyncPolicy::Worker, AsyncPolicy::Dispatch] {
        world.policy(policy);
        let file = world.async_file("w29");
        let block = pool_buffer(b"abcd");
        let request = plain_write(*file.object(), Some(0), Addr::from(block), 4);
        let (sender, receiver) = std::sync::mpsc::channel();
        let seen = Arc::clone(&log);
        let callback: generated::Completed = Box::new(move |_data, result| {
            sender.send((result, seen.lock().len())).expect("test waits");
        });
        let returned = generated::transfer(&world.frame(), &from, &request, Some(callback)).expect("sent");
        let (result, posts_before) = receiver.recv().expect("called");
        assert_eq!(result, IoStatus::new(NtStatus::SUCCESS, 4), "{policy:?}");
        assert!(matches!(returned.status, NtStatus::SUCCESS | NtStatus::PENDING), "{policy:?}");
        assert!(posts_before.is_multiple_of(2), "the posts below ran first");
        assert!(receiver.recv().is_err(), "called once");
        nt_ex::pool::free(block);
    }
}

/// Where and when a completion callback ran.
fn asynchronous(world: &World, from: &Arc<Instance>, file: &File<'_>) -> (bool, bool, u8) {
    let block = pool_buffer(b"abcd");
    let request = plain_write(*file.object(), Some(0), Addr::from(block), 4);
    let (sender, receiver) = std::sync::mpsc::channel();
    let gate = Arc::new(nt_ke::Mutex::new(false));
    let returned = Arc::clone(&gate);
    let callback: generated::Completed = Box::new(move |_, result| {
        assert_eq!(result, IoStatus::new(NtStatus::SUCCESS, 4));
        let thread = nt_ke::current().thread.object();
        sender.send((thread, nt_ke::irql::current(), *returned.lock())).expect("test waits");
    });
    let status = {
        // Held over the call: a callback of another thread waits until the call has returned.
        let inline = world.system().policy() == AsyncPolicy::Inline;
        let mut held = (!inline).then(|| gate.lock());
        let status = generated::transfer(&world.frame(), from, &request, Some(callback)).expect("sent").status;
        if let Some(held) = &mut held {
            **held = true;
        }
        status
    };
    let (thread, irql, after_return) = receiver.recv().expect("called");
    assert_eq!(status == NtStatus::PENDING, after_return);
    world.kernel.drain();
    nt_ex::pool::free(block);
    (thread == world.frame().thread.object(), after_return, irql)
}

#[test]
fn flt_w_30_the_callback_runs_in_any_thread_up_to_dispatch_level() {
    use nt_ke::irql::{DISPATCH_LEVEL, PASSIVE_LEVEL};
    let world = filtered();
    let (_, from) = stack(&world);
    let file = world.async_file("w30");
    for (policy, expected) in [
        (AsyncPolicy::Inline, (true, false, PASSIVE_LEVEL)),
        (AsyncPolicy::Worker, (false, true, PASSIVE_LEVEL)),
        (AsyncPolicy::Dispatch, (false, true, DISPATCH_LEVEL)),
    ] {
        world.policy(policy);
        assert_eq!(asynchronous(&world, &from, &file), expected, "{policy:?}");
    }
}

#[test]
fn flt_w_34_the_status_of_a_filter_below_is_returned() {
    let world = filtered();
    let log = Log::default();
    let upper = world.probe("U", "300000", &log);
    world.deciding("V", "200000", &log, |_, _| PreOp::Complete(IoStatus::new(NtStatus::ACCESS_DENIED, 0)));
    let from = world.instance(&upper);
    let denied = Ok(IoStatus::new(NtStatus::ACCESS_DENIED, 0));
    assert_eq!(flt_write(&world, &from, &world.sync_file("w34"), b"x", Some(0), 0), denied);
}

#[test]
fn flt_w_35_writing_the_same_file_from_its_own_pre_write_does_not_deadlock() {
    let world = filtered();
    let log = Log::default();
    let kernel = world.kernel.clone();
    world.probe("B", "200000", &log);
    let upper = world.deciding("A", "400000", &log, move |_, data| {
        if data.offset() != 100 && data.irp_flags() & IRP_PAGING_IO == 0 {
            let manager = nt_fltmgr::FltMgr::of(&kernel).expect("room");
            let instance = manager.volumes()[0].instances()[0].clone();
            let block = pool_buffer(b"zz");
            let request = Transfer {
                flags: FLTFL_IO_OPERATION_DO_NOT_UPDATE_BYTE_OFFSET,
                ..plain_write(data.file().expect("file"), Some(100), Addr::from(block), 2)
            };
            let frame = nt_ke::current();
            let result = generated::transfer(&frame, &instance, &request, None).expect("inner write");
            assert_eq!(result, IoStatus::new(NtStatus::SUCCESS, 2));
            nt_ex::pool::free(block);
        }
        PreOp::WithCallback(0)
    });
    let _instance = world.instance(&upper);
    let file = world.sync_file("w35");
    assert_eq!(file.write(b"abcd", None), success(4));
    let order: Vec<_> = log.lock().iter().map(|seen| (seen.filter, seen.post, seen.offset)).collect();
    let expected =
        [("A", false, 0), ("B", false, 100), ("B", true, 100), ("B", false, 0), ("B", true, 0), ("A", true, 0)];
    assert_eq!(order, expected);
    assert_eq!((file.position(), file.eof()), (4, 102));
}

#[test]
fn flt_v_11_broken_preconditions_are_reported_each_by_its_rule() {
    let world = filtered();
    let (_, from) = stack(&world);
    let file = world.sync_file("v11");
    let findings = world.findings();
    let told = |data: &[u8], offset, flags| {
        let _status = flt_write(&world, &from, &file, data, Some(offset), flags);
        findings.take("FLT-V-11")
    };
    assert!(told(b"fine", 0, 0).is_empty());
    let noncached = FLTFL_IO_OPERATION_NON_CACHED;
    assert!(told(&[0; 512], 512, noncached).is_empty());
    assert_eq!(told(b"four", 0, noncached), ["a noncached request that is not aligned (FLT-W-22)"]);
    assert_eq!(told(&[0; 512], 4, noncached), ["a noncached request that is not aligned (FLT-W-22)"]);
    assert_eq!(told(b"x", 0, FLTFL_IO_OPERATION_SYNCHRONOUS_PAGING), ["SYNCHRONOUS_PAGING without PAGING (FLT-W-25)"]);
    let _apc = nt_ke::irql::at(nt_ke::irql::APC_LEVEL);
    assert_eq!(told(b"x", 0, 0), ["called at too high an IRQL (FLT-W-36)"]);
    assert!(told(&[0; 512], 0, FLTFL_IO_OPERATION_PAGING).is_empty());
}

#[test]
fn flt_w_42_flt_read_file_reads_below() {
    let world = filtered();
    let (log, from) = stack(&world);
    let file = world.sync_file("w42");
    file.write(b"0123456789", Some(0));
    log.lock().clear();
    let block = pool_buffer(&[0; 8]);
    let read = |offset| {
        let request = Transfer { write: false, ..plain_write(*file.object(), offset, Addr::from(block), 4) };
        generated::transfer(&world.frame(), &from, &request, None).map_err(NtStatus::from)
    };
    assert_eq!(read(Some(3)), wrote(4));
    assert_eq!(nt_cell::Region::pool(block, 4).to_vec().expect("own"), b"3456");
    assert_eq!(read(Some(10)), Ok(IoStatus::new(NtStatus::END_OF_FILE, 0)));
    assert_eq!(read(Some(-1)), REFUSED);
    nt_ex::pool::free(block);
    assert!(log.lock().iter().all(|seen| seen.filter == "B" && seen.major == 3));
}

#[test]
fn flt_w_47_paging_uses_the_position_and_leaves_it() {
    let world = filtered();
    let (_, from) = stack(&world);
    let file = world.sync_file("w47");
    file.write(&[1; 1024], Some(0));
    file.seek(512);
    assert_eq!(flt_write(&world, &from, &file, &[2; 512], None, FLTFL_IO_OPERATION_PAGING), wrote(512));
    assert_eq!(file.position(), 512);
    assert_eq!(flt_write(&world, &from, &file, &[2; 512], Some(-1), FLTFL_IO_OPERATION_PAGING), REFUSED);
}
