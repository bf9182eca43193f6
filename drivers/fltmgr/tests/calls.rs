//! Requests of a filter's own by the rules of fltmgr.md section 6.
mod support;

use nt_abi::NtStatus;
use nt_abi::flt::*;
use nt_abi::io::*;
use nt_cell::{Addr, Region};
use nt_fltmgr::calls::{self, Control, Target, data};
use nt_fltmgr::data::IOPB_WORDS;
use nt_fltmgr::generated::transfer;
use nt_fltmgr::{CallbackData, PostOp, PreOp};
use nt_io::info::class;
use nt_io::irp::IoStatus;
use nt_ke::{Mode, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::*;

const LIFE: &[u8] = &[IRP_MJ_CREATE, IRP_MJ_READ, IRP_MJ_WRITE, IRP_MJ_CLEANUP, IRP_MJ_CLOSE];

fn write(world: &World, target: Target<'_>, bytes: &[u8], at: i64) -> IoStatus {
    let block = pool_buffer(bytes);
    let request = plain_write(target.file, Some(at), block.into(), bytes.len() as u32);
    let result = transfer(&world.frame(), target.instance, &request, None).expect("sent");
    nt_ex::pool::free(block);
    result
}

#[test]
fn flt_g_08_a_create_through_an_instance_is_seen_below_it_only() {
    let world = filtered();
    let above = world.watch(Watch::new("Above", "300000", LIFE));
    let own = world.watch(Watch::new("Own", "200000", LIFE));
    let below = world.watch(Watch::new("Below", "100000", LIFE));
    let frame = world.frame();
    let opened = calls::create(&frame, Some(&own.instance), &own_create(&world, "g08", SYNC)).expect("created");
    assert_eq!(opened.result, IoStatus::new(NtStatus::SUCCESS, u64::from(FILE_CREATED)));
    assert_eq!((above.watch.pres(), own.watch.pres(), below.watch.pres()), (vec![], vec![], vec![IRP_MJ_CREATE]));
    drop(opened);
    let opened = calls::create(&frame, None, &own_create(&world, "g08", SYNC)).expect("opened from the top");
    let all = vec![IRP_MJ_CREATE];
    assert_eq!(below.watch.pres(), [IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE]);
    assert_eq!((above.watch.pres(), own.watch.pres()), (all.clone(), all));
    drop(opened);
}

#[test]
fn flt_g_08_a_noncached_open_of_its_own_makes_its_writes_noncached() {
    let world = filtered();
    let flags = Arc::new(Mutex::new(Vec::new()));
    let seen = flags.clone();
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let _below = world.watch(Watch {
        pre: Box::new(move |data| {
            if data.irp_flags() & IRP_PAGING_IO == 0 {
                seen.lock().push(data.irp_flags() & IRP_NOCACHE != 0);
            }
            PreOp::NoCallback
        }),
        ..Watch::new("Below", "100000", &[IRP_MJ_WRITE])
    });
    for (options, noncached) in [(SYNC, false), (SYNC | NONCACHED, true)] {
        let opened =
            calls::create(&world.frame(), Some(&own.instance), &own_create(&world, "g08n", options)).expect("open");
        assert_eq!(opened.file().get(FILE_OBJECT::Flags) & FO_NO_INTERMEDIATE_BUFFERING != 0, noncached);
        let target = Target { instance: &own.instance, file: opened.file() };
        assert_eq!(write(&world, target, &[7; 512], 0), IoStatus::new(NtStatus::SUCCESS, 512));
        assert_eq!(std::mem::take(&mut *flags.lock()), [noncached]);
    }
}

#[test]
fn flt_g_08_a_handle_and_its_file_object_are_two_references() {
    let world = filtered();
    let own = world.watch(Watch::new("Own", "200000", LIFE));
    let below = world.watch(Watch::new("Below", "100000", LIFE));
    let frame = world.frame();
    let (handle, file, result) =
        calls::create_file(&frame, Some(&own.instance), &own_create(&world, "g08h", SYNC)).expect("open");
    assert!(handle.is_kernel() && result.status == NtStatus::SUCCESS);
    assert_eq!(nt_ob::object::handle_count(*file), 1);
    frame.with_mode(Mode::Kernel, || nt_io::event::close(&frame, handle)).expect("closed");
    assert_eq!(below.watch.pres(), [IRP_MJ_CREATE, IRP_MJ_CLEANUP], "the object is still referenced");
    drop(file);
    assert_eq!((own.watch.pres(), below.watch.pres()), (vec![], vec![IRP_MJ_CLOSE]));
}

#[test]
fn flt_g_08_the_name_must_be_on_the_instances_volume() {
    let world = filtered();
    let own = world.watch(Watch::new("Own", "200000", LIFE));
    let mut spec = own_create(&world, "x", SYNC);
    spec.name = "\\Device\\Nowhere\\x".encode_utf16().collect();
    let refused =
        calls::create(&world.frame(), Some(&own.instance), &spec).map(|_| ()).map_err(|refused| refused.status);
    assert_eq!(refused, Err(NtStatus::OBJECT_PATH_NOT_FOUND));
    let second = nt_memfs::mount(&world.kernel, 5, None).expect("another volume");
    spec.name = format!("{}\\x", second.name).encode_utf16().collect();
    let refused =
        calls::create(&world.frame(), Some(&own.instance), &spec).map(|_| ()).map_err(|refused| refused.status);
    assert_eq!(refused, Err(NtStatus::INVALID_DEVICE_OBJECT_PARAMETER));
}

#[test]
fn flt_g_09_what_a_file_object_does_starts_where_its_create_started() {
    let world = filtered();
    let own = world.watch(Watch::new("Own", "200000", LIFE));
    let below = world.watch(Watch::new("Below", "100000", LIFE));
    let frame = world.frame();
    let (handle, file, _) =
        calls::create_file(&frame, Some(&own.instance), &own_create(&world, "g09", SYNC)).expect("open");
    drop(file);
    let data = pool_buffer(b"data");
    let iosb = pool_buffer(&[0; 16]);
    let status = frame.with_mode(Mode::Kernel, || {
        let arguments = nt_io::rw::Arguments {
            handle,
            event: nt_ob::Handle::NULL,
            apc_routine: None,
            apc_context: 0,
            iosb: iosb.into(),
            buffer: data.into(),
            length: 4,
            byte_offset: Addr::NULL,
            key: Addr::NULL,
        };
        nt_io::write::nt_write_file(&frame, &arguments)
    });
    assert_eq!(status, NtStatus::SUCCESS);
    frame.with_mode(Mode::Kernel, || nt_io::event::close(&frame, handle)).expect("closed");
    assert_eq!(below.watch.pres(), [IRP_MJ_CREATE, IRP_MJ_WRITE, IRP_MJ_CLEANUP]);
    nt_cc::Manager::of(&world.kernel).write_all(); // the cache lets go of it once it is written
    assert_eq!(own.watch.pres(), []);
    assert_eq!(below.watch.pres(), [IRP_MJ_WRITE, IRP_MJ_CLOSE]);
    let file = world.sync_file("g09");
    assert_eq!(own.watch.pres(), [IRP_MJ_CREATE], "other file objects of the same file start at the top");
    drop(file);
    nt_ex::pool::free(data);
    nt_ex::pool::free(iosb);
}

#[test]
fn flt_g_10_queries_and_sets_go_below_and_reach_the_file_system() {
    let world = filtered();
    let majors = &[IRP_MJ_QUERY_INFORMATION, IRP_MJ_SET_INFORMATION, IRP_MJ_QUERY_VOLUME_INFORMATION];
    let own = world.watch(Watch::new("Own", "200000", majors));
    let below = world.watch(Watch::new("Below", "100000", majors));
    let file = world.sync_file("g10");
    assert_eq!(file.write(b"0123456789", None), success(10));
    let object = file.object();
    let frame = world.frame();
    let target = Target { instance: &own.instance, file: *object };
    let out = pool_buffer(&[0; 512]);
    let region = Region::pool(out, 512);
    let done = calls::query_information(&frame, target, class::STANDARD, out, 24);
    assert_eq!((done, region.load::<u64>(8)), (IoStatus::new(NtStatus::SUCCESS, 24), Ok(10)));
    let done = calls::query_information(&frame, target, class::POSITION, out, 8);
    assert_eq!((done, region.load::<u64>(0)), (IoStatus::new(NtStatus::SUCCESS, 8), Ok(10)));
    assert_eq!(below.watch.pres(), [IRP_MJ_QUERY_INFORMATION; 2], "the position too, unlike NtQueryInformationFile");
    region.store::<u64>(0, 3).expect("own block");
    assert_eq!(calls::set_information(&frame, target, class::POSITION, out, 8).status, NtStatus::SUCCESS);
    assert_eq!(object.get(FILE_OBJECT::CurrentByteOffset), 3);
    let done = calls::volume_information(&frame, target, 1, out, 512, true);
    assert!(done.status == NtStatus::SUCCESS && done.information >= 18, "{done:?}");
    assert_eq!(below.watch.pres(), [IRP_MJ_SET_INFORMATION, IRP_MJ_QUERY_VOLUME_INFORMATION]);
    assert_eq!(own.watch.pres(), []);
    let refused = calls::query_information(&frame, target, 4711, out, 24).status;
    assert!(refused.is_error(), "the file system's own status: {refused}");
    let code = 0x0009_0000 | (0x7FF << 2);
    let request = Control { file_system: true, code, input: region.sub(0, 8), output: region };
    let status = calls::control(&frame, target, &request).status;
    assert_eq!(status, NtStatus::INVALID_DEVICE_REQUEST, "a control code that no file system knows");
    nt_ex::pool::free(out);
}

#[test]
fn flt_g_13_a_flush_goes_below_the_instance_and_returns_its_status() {
    let world = filtered();
    let own = world.watch(Watch::new("Own", "200000", &[IRP_MJ_FLUSH_BUFFERS]));
    let deny = Arc::new(AtomicU32::new(0));
    let denies = deny.clone();
    let below = world.watch(Watch {
        pre: Box::new(move |_| match denies.load(Ordering::SeqCst) {
            0 => PreOp::NoCallback,
            _ => PreOp::Complete(IoStatus::new(NtStatus::DISK_FULL, 0)),
        }),
        ..Watch::new("Below", "100000", &[IRP_MJ_FLUSH_BUFFERS])
    });
    let file = world.sync_file("g13");
    let object = file.object();
    let target = Target { instance: &own.instance, file: *object };
    assert_eq!(calls::flush(&world.frame(), target, 0).status, NtStatus::SUCCESS);
    deny.store(1, Ordering::SeqCst);
    assert_eq!(calls::flush(&world.frame(), target, 0).status, NtStatus::DISK_FULL);
    assert_eq!((own.watch.pres().len(), below.watch.pres().len()), (0, 2));
}

#[test]
fn flt_g_14_sizes_are_set_without_a_right_and_renames_move_the_file() {
    let world = filtered();
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let file = world.file("g14", GENERIC_READ | SYNCHRONIZE | 0x1_0000, SYNC);
    let object = file.object();
    let frame = world.frame();
    let target = Target { instance: &own.instance, file: *object };
    let data = pool_buffer(&[0; 128]);
    let region = Region::pool(data, 128);
    region.store::<u64>(0, 4096).expect("own block");
    assert_eq!(file.set(class::END_OF_FILE, &4096_u64.to_le_bytes()), NtStatus::ACCESS_DENIED, "the handle may not");
    assert_eq!(calls::set_information(&frame, target, class::END_OF_FILE, data, 8).status, NtStatus::SUCCESS);
    assert_eq!(file.eof(), 4096);
    for name in ["moved".to_owned(), "\\??\\C:\\again".to_owned()] {
        let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        region.fill(0).expect("own block");
        region.store::<u32>(16, units.len() as u32).expect("own block");
        region.sub(20, units.len()).write_from(&units).expect("own block");
        let done = calls::set_information(&frame, target, class::RENAME, data, 20 + units.len() as u32);
        assert_eq!(done.status, NtStatus::SUCCESS, "{name}");
    }
    drop(object);
    drop(file);
    assert!(world.try_open("again", GENERIC_READ, 0, FILE_OPEN).is_ok());
    assert_eq!(world.try_open("g14", GENERIC_READ, 0, FILE_OPEN).map(|_| ()), Err(NtStatus::OBJECT_NAME_NOT_FOUND));
    nt_ex::pool::free(data);
}

#[test]
fn flt_g_15_a_cancelled_open_is_closed_below_and_what_it_made_stays() {
    let world = filtered();
    let flags = Arc::new(AtomicU32::new(0));
    let seen = flags.clone();
    let majors = &[IRP_MJ_CREATE, IRP_MJ_CLEANUP, IRP_MJ_CLOSE];
    let deny = world.watch(Watch {
        post: Box::new(move |data: CallbackData| {
            let instance = data.target_instance().expect("instance");
            let file = data.file().expect("file");
            calls::cancel_open(&nt_ke::current(), Target { instance: &instance, file }).expect("cancelled");
            seen.store(file.get(FILE_OBJECT::Flags), Ordering::SeqCst);
            data.set_status(IoStatus::new(NtStatus::ACCESS_DENIED, 0));
            PostOp::Finished
        }),
        ..Watch::new("Deny", "200000", &[IRP_MJ_CREATE])
    });
    let below = world.watch(Watch::new("Below", "100000", majors));
    assert_eq!(world.try_open("g15", GENERIC_WRITE, 0, FILE_CREATE).map(|_| ()), Err(NtStatus::ACCESS_DENIED));
    assert_eq!(below.watch.pres(), [IRP_MJ_CREATE, IRP_MJ_CLEANUP, IRP_MJ_CLOSE]);
    assert_ne!(flags.load(Ordering::SeqCst) & FO_FILE_OPEN_CANCELLED, 0);
    nt_fltmgr::FltMgr::of(&world.kernel).expect("room").unregister(&deny.filter);
    let file = world.sync_file("g15");
    assert_eq!(file.eof(), 0, "the file that was made is there");
    let object = file.object();
    let target = Target { instance: &below.instance, file: *object };
    let late = calls::cancel_open(&world.frame(), target).map_err(NtStatus::from);
    assert_eq!(late, Err(NtStatus::INVALID_PARAMETER), "a handle exists");
}

#[test]
fn flt_g_01_callback_data_of_its_own_names_instance_and_file_and_nothing_else() {
    let world = filtered();
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let file = world.sync_file("g01");
    let object = file.object();
    let made = data::allocate(&own.instance, Some(*object)).expect("allocated");
    let iopb = made.ptr(FLT_CALLBACK_DATA::Iopb).expect("a block");
    assert_eq!(iopb.ptr(FLT_IO_PARAMETER_BLOCK::TargetFileObject), Some(*object));
    assert_eq!(iopb.addr_at(FLT_IO_PARAMETER_BLOCK::TargetInstance), own.instance.pointer().addr());
    let block = iopb.view::<IOPB_WORDS>();
    let words: Vec<u64> = (3..9).map(|index| block.get(IOPB_WORDS::Words.index(index))).collect();
    assert_eq!(words, [0; 6]);
    assert_eq!((iopb.get(FLT_IO_PARAMETER_BLOCK::IrpFlags), iopb.get(FLT_IO_PARAMETER_BLOCK::MajorFunction)), (0, 0));
    assert_eq!(nt_ex::pool::kind_of_block(made.addr()), Some(nt_ex::pool::PoolKind::NonPaged));
    data::free(made).expect("freed");
}

/// A filter's own write of these bytes, filled in.
fn own_write(
    own: &Watching,
    file: nt_cell::Foreign<FILE_OBJECT>,
    block: nt_cell::Foreign<nt_abi::Bytes>,
    length: u32,
) -> nt_cell::Foreign<FLT_CALLBACK_DATA> {
    let made = data::allocate(&own.instance, Some(file)).expect("allocated");
    fill_write(made, block, length);
    made
}

fn fill_write(made: nt_cell::Foreign<FLT_CALLBACK_DATA>, block: nt_cell::Foreign<nt_abi::Bytes>, length: u32) {
    let iopb = made.ptr(FLT_CALLBACK_DATA::Iopb).expect("a block");
    iopb.set(FLT_IO_PARAMETER_BLOCK::MajorFunction, IRP_MJ_WRITE);
    iopb.set(FLT_IO_PARAMETER_BLOCK::Write_Length, length);
    iopb.set_ptr(FLT_IO_PARAMETER_BLOCK::Write_WriteBuffer, Some(block));
}

fn result_of(made: nt_cell::Foreign<FLT_CALLBACK_DATA>) -> IoStatus {
    let block = made.at(FLT_CALLBACK_DATA::IoStatus);
    IoStatus::new(block.get(IO_STATUS_BLOCK::Status), block.get(IO_STATUS_BLOCK::Information))
}

#[test]
fn flt_g_02_a_synchronous_request_goes_below_and_its_result_is_final() {
    let world = filtered();
    let own = world.watch(Watch::new("Own", "200000", LIFE));
    let generated = Arc::new(Mutex::new(Vec::new()));
    let seen = generated.clone();
    let _below = world.watch(Watch {
        pre: Box::new(move |data| {
            seen.lock().push(data.flags() & (FLTFL_CALLBACK_DATA_GENERATED_IO | FLTFL_CALLBACK_DATA_IRP_OPERATION));
            PreOp::NoCallback
        }),
        ..Watch::new("Below", "100000", &[IRP_MJ_WRITE])
    });
    world.policy(nt_io::system::AsyncPolicy::Worker);
    let file = world.async_file("g02"); // the file system pends
    let object = file.object();
    let block = pool_buffer(b"performed");
    let made = own_write(&own, *object, block, 9);
    let result = data::perform(&world.frame(), made).expect("own");
    assert_eq!((result, result_of(made)), (IoStatus::new(NtStatus::SUCCESS, 9), result));
    assert_eq!(*generated.lock(), [FLTFL_CALLBACK_DATA_GENERATED_IO | FLTFL_CALLBACK_DATA_IRP_OPERATION]);
    own.watch.seen.lock().clear();
    data::free(made).expect("freed");
    nt_ex::pool::free(block);
    world.policy(nt_io::system::AsyncPolicy::Inline);
    assert_eq!(file.bytes_of("g02"), b"performed");
}

#[test]
fn flt_g_03_the_callback_of_an_asynchronous_request_always_runs_and_the_status_says_how() {
    let world = filtered();
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let complete = Arc::new(AtomicU32::new(0));
    let completes = complete.clone();
    let _below = world.watch(Watch {
        pre: Box::new(move |_| match completes.load(Ordering::SeqCst) {
            0 => PreOp::NoCallback,
            _ => PreOp::Complete(IoStatus::new(NtStatus::ACCESS_DENIED, 0)),
        }),
        ..Watch::new("Below", "100000", &[IRP_MJ_WRITE])
    });
    let file = world.async_file("g03");
    let object = file.object();
    let block = pool_buffer(b"abcd");
    let made = own_write(&own, *object, block, 4);
    let told = Arc::new(Mutex::new(Vec::new()));
    let send = || {
        let told = told.clone();
        let done = Box::new(move |_, result| told.lock().push(result));
        data::perform_asynchronously(&world.frame(), made, done).expect("own")
    };
    let denied = IoStatus::new(NtStatus::ACCESS_DENIED, 0);
    let good = IoStatus::new(NtStatus::SUCCESS, 4);
    assert_eq!((send(), std::mem::take(&mut *told.lock())), (NtStatus::SUCCESS, vec![good]));
    complete.store(1, Ordering::SeqCst);
    assert_eq!((send(), std::mem::take(&mut *told.lock())), (NtStatus::FLT_IO_COMPLETE, vec![denied]));
    assert_eq!(result_of(made), denied, "the real outcome");
    complete.store(0, Ordering::SeqCst);
    world.policy(nt_io::system::AsyncPolicy::Worker);
    assert_eq!(send(), NtStatus::PENDING);
    world.kernel.drain();
    assert_eq!(std::mem::take(&mut *told.lock()), [good]);
    world.policy(nt_io::system::AsyncPolicy::Inline);
    let iopb = made.ptr(FLT_CALLBACK_DATA::Iopb).expect("a block");
    iopb.set(FLT_IO_PARAMETER_BLOCK::MajorFunction, IRP_MJ_CREATE);
    let refused = NtStatus::FLT_INVALID_ASYNCHRONOUS_REQUEST;
    assert_eq!((send(), std::mem::take(&mut *told.lock())), (refused, vec![IoStatus::new(refused, 0)]));
    data::free(made).expect("freed");
    nt_ex::pool::free(block);
}

#[test]
fn flt_g_04_reused_data_keeps_instance_and_file_and_frees_its_mdl() {
    let world = filtered();
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let file = world.sync_file("g04");
    let object = file.object();
    let block = pool_buffer(b"twice");
    let made = own_write(&own, *object, block, 5);
    let iopb = made.ptr(FLT_CALLBACK_DATA::Iopb).expect("a block");
    let mdl = nt_mm::mdl::for_pool(block, 5).expect("mdl");
    iopb.set_ptr(FLT_IO_PARAMETER_BLOCK::Write_MdlAddress, Some(mdl));
    assert_eq!(data::perform(&world.frame(), made), Ok(IoStatus::new(NtStatus::SUCCESS, 5)));
    assert!(nt_ex::pool::size_of_block(mdl.addr()).is_some(), "the request does not free it");
    data::reuse(made).expect("reused");
    assert!(nt_ex::pool::size_of_block(mdl.addr()).is_none());
    assert_eq!(iopb.ptr(FLT_IO_PARAMETER_BLOCK::TargetFileObject), Some(*object));
    assert_eq!(iopb.addr_at(FLT_IO_PARAMETER_BLOCK::TargetInstance), own.instance.pointer().addr());
    assert_eq!(
        (iopb.get(FLT_IO_PARAMETER_BLOCK::MajorFunction), iopb.get(FLT_IO_PARAMETER_BLOCK::Write_Length)),
        (0, 0)
    );
    fill_write(made, block, 5);
    iopb.set(FLT_IO_PARAMETER_BLOCK::Write_ByteOffset, 5);
    assert_eq!(data::perform(&world.frame(), made), Ok(IoStatus::new(NtStatus::SUCCESS, 5)));
    data::free(made).expect("freed");
    nt_ex::pool::free(block);
    assert_eq!(file.bytes_of("g04"), b"twicetwice");
}

#[test]
fn flt_v_12_callback_data_of_others_or_under_way_is_refused() {
    let world = filtered();
    let misuse = Arc::new(Mutex::new(Vec::new()));
    let seen = misuse.clone();
    let own = world.watch(Watch {
        pre: Box::new(move |data| {
            let frame = nt_ke::current();
            seen.lock().push((
                data::free(data.data()),
                data::reuse(data.data()),
                data::perform(&frame, data.data()).map(|_| ()),
            ));
            PreOp::NoCallback
        }),
        ..Watch::new("Own", "200000", &[IRP_MJ_WRITE])
    });
    let findings = world.findings();
    let file = world.sync_file("v12");
    assert_eq!(file.write(b"x", Some(0)), success(1));
    assert_eq!(findings.take("FLT-V-12").len(), 3);
    let not_own = Err(data::Misuse::NotOwn);
    assert_eq!(*misuse.lock(), [(not_own, not_own, not_own)]);
    let object = file.object();
    let block = pool_buffer(b"x");
    let made = own_write(&own, *object, block, 1);
    let inside = Arc::new(Mutex::new(None));
    let store = inside.clone();
    let _below = world.watch(Watch {
        pre: Box::new(move |_| {
            *store.lock() = Some((data::free(made), data::reuse(made)));
            PreOp::NoCallback
        }),
        ..Watch::new("Below", "100000", &[IRP_MJ_WRITE])
    });
    assert_eq!(data::perform(&world.frame(), made), Ok(IoStatus::new(NtStatus::SUCCESS, 1)));
    let under_way = Err(data::Misuse::Outstanding);
    assert_eq!(*inside.lock(), Some((under_way, under_way)));
    assert_eq!(findings.take("FLT-V-12").len(), 2);
    data::free(made).expect("freed");
    assert_eq!(data::free(made), not_own, "gone");
    nt_ex::pool::free(block);
}
