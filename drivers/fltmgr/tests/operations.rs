//! Callbacks, callback data and neighbours: the rest of fltmgr.md sections 4, 5, 6 and 7.
mod support;

use nt_abi::NtStatus;
use nt_abi::flt::*;
use nt_abi::io::*;
use nt_fltmgr::generated::{Transfer, complete_pended_pre, transfer};
use nt_fltmgr::objects::{self, Neighbour};
use nt_fltmgr::{CallbackData, FltMgr, PostOp, PreOp};
use nt_io::irp::IoStatus;
use nt_ke::{Mutex, irql};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::*;

fn status<T>(result: nt_abi::NtResult<T>) -> NtStatus {
    result.map_or_else(NtStatus::from, |_| NtStatus::SUCCESS)
}

/// Sends one write of `bytes` through an instance.
fn own_write(world: &World, own: &Watching, file: &File<'_>, bytes: &[u8], at: i64, flags: u32) -> IoStatus {
    let block = pool_buffer(bytes);
    let object = file.object();
    let request = Transfer { flags, ..plain_write(*object, Some(at), block.into(), bytes.len() as u32) };
    let result = transfer(&world.frame(), &own.instance, &request, None).expect("sent");
    nt_ex::pool::free(block);
    result
}

#[test]
fn flt_o_05_pre_callbacks_run_at_passive_level_in_the_requesting_thread() {
    let world = filtered();
    // A write that extends its file ends in its own thread (NT-S-14): this one does not.
    assert_eq!(world.sync_file("o05").write(b"DATA", Some(0)), success(4));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (before, after) = (seen.clone(), seen.clone());
    let _own = world.watch(Watch {
        pre: Box::new(move |_| {
            before.lock().push((irql::current(), nt_ke::current().thread.id()));
            PreOp::WithCallback(0)
        }),
        post: Box::new(move |_| {
            after.lock().push((irql::current(), nt_ke::current().thread.id()));
            PostOp::Finished
        }),
        ..Watch::new("Own", "200000", &[IRP_MJ_WRITE])
    });
    let me = world.frame().thread.id();
    let file = world.async_file("o05");
    world.policy(nt_io::system::AsyncPolicy::Dispatch);
    assert_eq!(file.write(b"data", Some(0)).returned, NtStatus::PENDING);
    world.kernel.drain();
    world.policy(nt_io::system::AsyncPolicy::Inline);
    let seen = std::mem::take(&mut *seen.lock());
    assert_eq!(seen[0], (irql::PASSIVE_LEVEL, me));
    assert_eq!(seen[1].0, irql::DISPATCH_LEVEL, "a post callback may run at DISPATCH_LEVEL");
    assert_ne!(seen[1].1, me, "in an arbitrary thread");
}

#[test]
fn flt_o_14_post_create_runs_in_the_creating_thread_at_passive_level() {
    let world = filtered();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let after = seen.clone();
    let _own = world.watch(Watch {
        post: Box::new(move |_| {
            after.lock().push((irql::current(), nt_ke::current().thread.id()));
            PostOp::Finished
        }),
        ..Watch::new("Own", "200000", &[IRP_MJ_CREATE])
    });
    drop(world.async_file("o14"));
    assert_eq!(*seen.lock(), [(irql::PASSIVE_LEVEL, world.frame().thread.id())]);
}

#[test]
fn flt_o_10_a_filter_that_refuses_fast_io_gets_the_packet() {
    let world = filtered();
    let kinds = Arc::new(Mutex::new(Vec::new()));
    let seen = kinds.clone();
    let above_status = Arc::new(Mutex::new(Vec::new()));
    let statuses = above_status.clone();
    let _above = world.watch(Watch {
        post: Box::new(move |data| {
            statuses.lock().push((data.is_fast_io(), data.status().status));
            PostOp::Finished
        }),
        ..Watch::new("Above", "300000", &[IRP_MJ_WRITE])
    });
    let _own = world.watch(Watch {
        pre: Box::new(move |data| {
            seen.lock().push(data.is_fast_io());
            if data.is_fast_io() { PreOp::DisallowFastIo } else { PreOp::NoCallback }
        }),
        ..Watch::new("Own", "200000", &[IRP_MJ_WRITE])
    });
    let file = world.sync_file("o10");
    assert_eq!(file.write(b"one", None), success(3));
    kinds.lock().clear();
    above_status.lock().clear();
    assert_eq!(file.write(b"two", None), success(3), "the caller sees nothing of it");
    assert_eq!(*kinds.lock(), [true, false], "first fast I/O, then the packet");
    assert_eq!(*above_status.lock(), [(true, NtStatus::FLT_DISALLOW_FAST_IO), (false, NtStatus::SUCCESS)]);
    assert_eq!(file.bytes_of("o10"), b"onetwo");
}

#[test]
fn flt_o_09_pending_fast_io_and_refusing_packets_are_reported() {
    let world = filtered();
    let findings = world.findings();
    let wrong = Arc::new(AtomicU32::new(0));
    let which = wrong.clone();
    let _own = world.watch(Watch {
        pre: Box::new(move |data| match (which.load(Ordering::SeqCst), data.is_fast_io()) {
            (1, true) => PreOp::Pending,
            (2, false) => PreOp::DisallowFastIo,
            _ => PreOp::NoCallback,
        }),
        ..Watch::new("Own", "200000", &[IRP_MJ_WRITE])
    });
    let file = world.sync_file("o09");
    assert_eq!(file.write(b"one", None), success(3));
    wrong.store(1, Ordering::SeqCst);
    assert_eq!(file.write(b"two", None), success(3), "the fast call failed, the packet did it");
    assert_eq!(findings.take("FLT-O-09").len(), 1);
    wrong.store(2, Ordering::SeqCst);
    let other = world.sync_file("o09b");
    assert_eq!(other.write(b"abc", Some(0)), success(3), "treated as NO_CALLBACK");
    assert_eq!(findings.take("FLT-O-09").len(), 1);
}

#[test]
fn flt_o_13_a_pended_operation_belongs_to_its_filter_and_changes_count_with_the_dirty_bit() {
    for dirty in [false, true] {
        let world = filtered();
        let held = Arc::new(Mutex::new(None));
        let store = held.clone();
        let _own = world.watch(Watch {
            pre: Box::new(move |data| {
                if data.irp_flags() & IRP_PAGING_IO != 0 {
                    return PreOp::NoCallback; // the lazy writer
                }
                *store.lock() = Some(data);
                PreOp::Pending
            }),
            ..Watch::new("Own", "200000", &[IRP_MJ_WRITE])
        });
        let file = world.async_file("o13");
        let buffer = nt_cell::UserBlock::new(4).expect("arena");
        buffer.region().sub(0, 4).write_from(b"abcd").expect("own block");
        assert_eq!(file.raw_write(nt_cell::Addr::user(buffer.addr()), 4, Some(0)).returned, NtStatus::PENDING);
        let data: CallbackData = held.lock().take().expect("held");
        data.set_length(2);
        if dirty {
            data.set_dirty();
        }
        complete_pended_pre(data, PreOp::NoCallback);
        let expected = if dirty { 2 } else { 4 };
        assert_eq!(file.iosb(), Iosb::Is(NtStatus::SUCCESS, expected));
    }
}

#[test]
fn flt_o_23_fast_io_that_the_file_system_refuses_shows_in_the_posts() {
    let world = filtered();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let after = seen.clone();
    let _own = world.watch(Watch {
        post: Box::new(move |data| {
            after.lock().push((data.is_fast_io(), data.status().status));
            PostOp::Finished
        }),
        ..Watch::new("Own", "200000", &[IRP_MJ_WRITE])
    });
    let file = world.sync_file("o23");
    assert_eq!(file.write(b"first", None), success(5));
    let object = file.object();
    let header = object.ptr(FILE_OBJECT::FsContext).expect("open").view::<nt_abi::mm::FSRTL_ADVANCED_FCB_HEADER>();
    header.set(nt_abi::mm::FSRTL_ADVANCED_FCB_HEADER::IsFastIoPossible, 0);
    seen.lock().clear();
    assert_eq!(file.write(b"again", None), success(5));
    let seen = seen.lock().clone();
    assert_eq!(seen.last(), Some(&(false, NtStatus::SUCCESS)), "the packet did it: {seen:?}");
    assert!(seen.iter().all(|(fast, status)| !fast || *status == NtStatus::FLT_DISALLOW_FAST_IO), "{seen:?}");
}

#[test]
fn flt_o_25_the_related_objects_name_filter_volume_instance_and_file() {
    let world = filtered();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (before, after) = (seen.clone(), seen.clone());
    let note = |data: CallbackData| {
        let related = data.related();
        (
            data.id(),
            related.get(FLT_RELATED_OBJECTS::Size),
            [
                related.addr_at(FLT_RELATED_OBJECTS::Filter),
                related.addr_at(FLT_RELATED_OBJECTS::Volume),
                related.addr_at(FLT_RELATED_OBJECTS::Instance),
                related.addr_at(FLT_RELATED_OBJECTS::FileObject),
                related.addr_at(FLT_RELATED_OBJECTS::Transaction),
            ],
        )
    };
    let own = world.watch(Watch {
        pre: Box::new(move |data| {
            before.lock().push(note(data));
            PreOp::WithCallback(0)
        }),
        post: Box::new(move |data| {
            after.lock().push(note(data));
            PostOp::Finished
        }),
        ..Watch::new("Own", "200000", &[IRP_MJ_WRITE])
    });
    let file = world.sync_file("o25");
    assert_eq!(file.write(b"x", Some(0)), success(1));
    let volume = FltMgr::of(&world.kernel).expect("room").volumes().remove(0);
    let object = file.object();
    let seen = seen.lock().clone();
    let expected =
        [own.filter.pointer().addr(), volume.pointer().addr(), own.instance.pointer().addr(), object.addr(), 0];
    assert_eq!((seen[0].1, seen[0].2), (0x30, expected));
    assert_eq!(seen[0], seen[1], "the same data and objects before and after");
}

#[test]
fn flt_d_02_flags_mode_and_thread_are_the_packets() {
    let world = filtered();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let before = seen.clone();
    let _own = world.watch(Watch {
        pre: Box::new(move |data| {
            let thread = data.data().addr_at(FLT_CALLBACK_DATA::Thread);
            before.lock().push((data.operation_flags(), data.irp_flags() & IRP_NOCACHE, data.from_user(), thread));
            PreOp::NoCallback
        }),
        ..Watch::new("Own", "200000", &[IRP_MJ_WRITE])
    });
    let file = world.file("d02", GENERIC_WRITE | SYNCHRONIZE, SYNC | NONCACHED | FILE_WRITE_THROUGH);
    assert_eq!(file.write(&[1; 512], Some(0)), success(512));
    assert_eq!(*seen.lock(), [(SL_WRITE_THROUGH, IRP_NOCACHE, true, world.frame().thread.object())]);
}

#[test]
fn flt_d_05_the_major_function_cannot_be_changed() {
    let world = filtered();
    let below = Arc::new(Mutex::new(Vec::new()));
    let seen = below.clone();
    let _own = world.watch(Watch {
        pre: Box::new(|data| {
            data.iopb().set(FLT_IO_PARAMETER_BLOCK::MajorFunction, IRP_MJ_READ);
            data.set_dirty();
            PreOp::NoCallback
        }),
        ..Watch::new("Own", "200000", &[IRP_MJ_WRITE])
    });
    let _below = world.watch(Watch {
        pre: Box::new(move |data| {
            seen.lock().push(data.major());
            PreOp::NoCallback
        }),
        ..Watch::new("Below", "100000", &[IRP_MJ_WRITE, IRP_MJ_READ])
    });
    let file = world.sync_file("d05");
    assert_eq!(file.write(b"x", Some(0)), success(1));
    assert_eq!(*below.lock(), [IRP_MJ_WRITE]);
}

#[test]
fn flt_d_07_the_dirty_bit_is_clear_in_every_pre_callback() {
    let world = filtered();
    let below = Arc::new(Mutex::new(Vec::new()));
    let seen = below.clone();
    let _own = world.watch(Watch {
        pre: Box::new(|data| {
            data.set_dirty();
            PreOp::NoCallback
        }),
        ..Watch::new("Own", "200000", &[IRP_MJ_WRITE])
    });
    let _below = world.watch(Watch {
        pre: Box::new(move |data| {
            seen.lock().push(data.flags() & FLTFL_CALLBACK_DATA_DIRTY);
            PreOp::NoCallback
        }),
        ..Watch::new("Below", "100000", &[IRP_MJ_WRITE])
    });
    assert_eq!(world.sync_file("d07").write(b"x", Some(0)), success(1));
    assert_eq!(*below.lock(), [0]);
}

#[test]
fn flt_g_12_neighbours_are_found_by_altitude() {
    let world = filtered();
    let watch = |name, altitude| world.watch(Watch::new(name, altitude, &[]));
    let (low, high, middle) = (watch("Low", "100000"), watch("High", "300000"), watch("Middle", "200000"));
    let volume = FltMgr::of(&world.kernel).expect("room").volumes().remove(0);
    let of = |which| objects::neighbour(which).map(|found| found.filter().name().to_owned()).map_err(NtStatus::from);
    assert_eq!(of(Neighbour::Top(&volume)), Ok("High".into()));
    assert_eq!(of(Neighbour::Bottom(&volume)), Ok("Low".into()));
    assert_eq!(of(Neighbour::Above(&middle.instance)), Ok("High".into()));
    assert_eq!(of(Neighbour::Below(&middle.instance)), Ok("Low".into()));
    assert_eq!(of(Neighbour::Above(&high.instance)), Err(NtStatus::NO_MORE_ENTRIES));
    assert_eq!(of(Neighbour::Below(&low.instance)), Err(NtStatus::NO_MORE_ENTRIES));
    let manager = FltMgr::of(&world.kernel).expect("room");
    assert_eq!(objects::instances(&manager, Some(&volume), None).len(), 3);
    assert_eq!(objects::instances(&manager, None, Some(&middle.filter)).len(), 1);
}

#[test]
fn flt_i_14_the_disk_and_the_properties_of_a_volume() {
    let world = filtered();
    let volume = FltMgr::of(&world.kernel).expect("room").volumes().remove(0);
    assert_eq!(objects::disk(&volume), Some(world.volume.storage));
    let properties = objects::properties(&volume);
    assert_eq!((properties.sector, properties.device[0]), (512, 7), "a disk");
    assert_eq!(properties.names[2], world.volume.name);
}

#[test]
fn nt_vol_21_every_volume_is_ntfs_by_type_and_by_the_name_of_its_driver() {
    let world = filtered();
    let folder = tempfile::tempdir().expect("a folder");
    let others = [
        nt_memfs::mount(&world.kernel, 5, None).expect("another volume"),
        nt_memfs::mount_dir(&world.kernel, 6, folder.path()).expect("a folder's"),
    ];
    let manager = FltMgr::of(&world.kernel).expect("room");
    for other in &others {
        nt_fltmgr::Volume::attach(&world.kernel, &manager, other.device, &other.name).expect("attached");
    }
    let volumes = manager.volumes();
    assert_eq!(volumes.len(), 3);
    for volume in &volumes {
        assert_eq!(objects::properties(volume).names[0], "\\FileSystem\\Ntfs", "{}", volume.name());
    }
    let drivers: Vec<_> = [&world.volume, &others[0], &others[1]]
        .map(|volume| volume.device.ptr(nt_abi::io::DEVICE_OBJECT::DriverObject))
        .into_iter()
        .collect();
    assert!(drivers[0].is_some() && drivers.iter().all(|driver| *driver == drivers[0]), "one driver has them all");
}

#[test]
fn flt_r_05_two_filters_cannot_have_one_altitude() {
    let world = filtered();
    let _first = world.watch(Watch::new("First", "200000", &[]));
    for altitude in ["200000", "0200000", "200000.0"] {
        let made = nt_fltmgr::register_native(&world.kernel, Arc::new(Watch::new("Second", altitude, &[])));
        assert_eq!(status(made), NtStatus::FLT_INSTANCE_ALTITUDE_COLLISION, "{altitude}");
    }
}

#[test]
fn flt_q_08_a_worker_continues_a_packet_and_nothing_else() {
    let world = filtered();
    let queued = Arc::new(Mutex::new(Vec::new()));
    let seen = queued.clone();
    let _own = world.watch(Watch {
        pre: Box::new(move |data| {
            let posted = data.queue_work(|data| {
                assert_eq!(irql::current(), irql::PASSIVE_LEVEL);
                complete_pended_pre(data, PreOp::NoCallback);
            });
            seen.lock().push((data.is_fast_io(), status(posted)));
            if seen.lock().last().is_some_and(|(_, status)| *status == NtStatus::SUCCESS) {
                PreOp::Pending
            } else {
                PreOp::NoCallback
            }
        }),
        ..Watch::new("Own", "200000", &[IRP_MJ_WRITE])
    });
    let above = world.watch(Watch::new("Above", "300000", &[]));
    let file = world.sync_file("q08");
    assert_eq!(file.write(b"abc", None), success(3));
    assert_eq!(file.write(b"def", None), success(3));
    let refused = NtStatus::FLT_NOT_SAFE_TO_POST_OPERATION;
    assert_eq!(std::mem::take(&mut *queued.lock()), [(false, NtStatus::SUCCESS), (true, refused)]);
    let paging = FLTFL_IO_OPERATION_PAGING | FLTFL_IO_OPERATION_NON_CACHED;
    own_write(&world, &above, &file, &[0; 512], 0, paging);
    world.frame().thread.set_top_level(1);
    own_write(&world, &above, &file, b"x", 0, 0);
    world.frame().thread.set_top_level(0);
    assert_eq!(std::mem::take(&mut *queued.lock()), [(false, refused), (false, refused)], "paging, and nested");
}

#[test]
fn flt_q_11_a_pended_write_blocks_its_handle_but_not_the_filters_own_requests() {
    let world = filtered();
    let held = Arc::new(Mutex::new(None));
    let store = held.clone();
    let own = world.watch(Watch {
        pre: Box::new(move |data| {
            if data.irp_flags() & IRP_PAGING_IO != 0 {
                return PreOp::NoCallback; // the lazy writer
            }
            *store.lock() = Some(data);
            PreOp::Pending
        }),
        ..Watch::new("Own", "200000", &[IRP_MJ_WRITE])
    });
    let file = world.sync_file("q11");
    let object = file.object();
    let target = nt_cell_target(&own, &object);
    let (kernel, held2) = (world.kernel.clone(), held.clone());
    let busy = Arc::new(AtomicU32::new(0));
    let (mark, seen) = (busy.clone(), target);
    nt_ke::work::WorkQueue::queue(&kernel, move || {
        while held2.lock().is_none() {
            std::hint::spin_loop();
        }
        // The writer waits; a request of the filter's own for the same file object does not.
        let block = pool_buffer(b"OWN");
        let request = plain_write(seen.1, Some(4), block.into(), 3);
        let done = transfer(&nt_ke::current(), &seen.0, &request, None).expect("sent");
        mark.store(u32::from(done.status == NtStatus::SUCCESS && seen.1.get(FILE_OBJECT::Busy) != 0), Ordering::SeqCst);
        nt_ex::pool::free(block);
        complete_pended_pre(held2.lock().take().expect("held"), PreOp::NoCallback);
    });
    assert_eq!(file.write(b"data", None), success(4));
    assert_eq!(busy.load(Ordering::SeqCst), 1, "the handle was locked all the time");
    FltMgr::of(&world.kernel).expect("room").unregister(&own.filter);
    drop(object);
    assert_eq!(file.bytes_of("q11"), b"dataOWN");
}

fn nt_cell_target(
    own: &Watching,
    object: &nt_ob::ObjectRef<FILE_OBJECT>,
) -> (Arc<nt_fltmgr::Instance>, nt_cell::Foreign<FILE_OBJECT>) {
    (own.instance.clone(), **object)
}

#[test]
fn flt_tr_05_a_write_from_a_pre_callback_moves_no_position_and_does_not_deadlock() {
    let world = filtered();
    let order = Arc::new(Mutex::new(Vec::new()));
    let (a_pre, a_post, b_pre, b_post) = (order.clone(), order.clone(), order.clone(), order.clone());
    let _a = world.watch(Watch {
        pre: Box::new(move |data| {
            let file = data.file().expect("file");
            a_pre.lock().push("A>".to_owned());
            let old = file.get(FILE_OBJECT::CurrentByteOffset);
            let block = pool_buffer(b"xx");
            let request = Transfer {
                flags: FLTFL_IO_OPERATION_DO_NOT_UPDATE_BYTE_OFFSET,
                ..plain_write(file, Some(100), block.into(), 2)
            };
            let instance = data.target_instance().expect("instance");
            transfer(&nt_ke::current(), &instance, &request, None).expect("sent");
            nt_ex::pool::free(block);
            assert_eq!(file.get(FILE_OBJECT::CurrentByteOffset), old);
            PreOp::WithCallback(0)
        }),
        post: Box::new(move |_| {
            a_post.lock().push("A<".to_owned());
            PostOp::Finished
        }),
        ..Watch::new("A", "300000", &[IRP_MJ_WRITE])
    });
    let _b = world.watch(Watch {
        pre: Box::new(move |data| {
            let generated = if data.flags() & FLTFL_CALLBACK_DATA_GENERATED_IO != 0 { "generated " } else { "" };
            b_pre.lock().push(format!("B> {generated}{}", data.offset()));
            PreOp::WithCallback(0)
        }),
        post: Box::new(move |data| {
            let position = data.file().expect("file").get(FILE_OBJECT::CurrentByteOffset);
            b_post.lock().push(format!("B< {position}"));
            PostOp::Finished
        }),
        ..Watch::new("B", "200000", &[IRP_MJ_WRITE])
    });
    let file = world.sync_file("tr05");
    assert_eq!(file.write(b"data", None), success(4));
    assert_eq!(*order.lock(), ["A>", "B> generated 100", "B< 102", "B> 0", "B< 4", "A<"]);
    assert_eq!(file.position(), 4);
}

#[test]
fn flt_tr_09_an_asynchronous_own_write_calls_back_once_and_nobody_else() {
    let world = filtered();
    let a = world.watch(Watch::new("A", "300000", &[IRP_MJ_WRITE]));
    let b = world.watch(Watch::new("B", "200000", &[IRP_MJ_WRITE]));
    let file = world.async_file("tr09");
    let object = file.object();
    let told = Arc::new(Mutex::new(Vec::new()));
    let (sink, instance, file_object) = (told.clone(), b.instance.clone(), *object);
    world.policy(nt_io::system::AsyncPolicy::Worker);
    nt_ke::work::WorkQueue::queue(&world.kernel, move || {
        let block = pool_buffer(b"system");
        let request = plain_write(file_object, Some(0), block.into(), 6);
        let done = Box::new(move |_, result| {
            nt_ex::pool::free(block);
            sink.lock().push(result);
        });
        transfer(&nt_ke::current(), &instance, &request, Some(done)).expect("sent");
    });
    world.kernel.drain();
    world.policy(nt_io::system::AsyncPolicy::Inline);
    assert_eq!(*told.lock(), [IoStatus::new(NtStatus::SUCCESS, 6)]);
    assert_eq!((a.watch.pres().len(), b.watch.pres().len()), (0, 0));
}

#[test]
fn flt_w_36_called_at_too_high_an_irql_it_is_reported() {
    let world = filtered();
    let findings = world.findings();
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let file = world.sync_file("w36");
    let paging = FLTFL_IO_OPERATION_PAGING | FLTFL_IO_OPERATION_NON_CACHED;
    assert_eq!(file.write(&[0; 512], Some(0)), success(512));
    {
        let _level = irql::at(irql::APC_LEVEL);
        own_write(&world, &own, &file, &[1; 512], 0, paging);
        assert_eq!(findings.take("FLT-V-11").len(), 0, "a paging write may come at APC_LEVEL");
        own_write(&world, &own, &file, &[1; 512], 0, 0);
    }
    let told = findings.take("FLT-V-11");
    assert!(told.len() == 1 && told[0].contains("FLT-W-36"), "{told:?}");
}

#[test]
fn flt_w_37_a_generated_request_signals_nothing_of_the_file() {
    let world = filtered();
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let file = world.async_file("w37");
    let object = file.object();
    nt_ke::dispatcher::clear_event(object.at(FILE_OBJECT::Event));
    assert_eq!(own_write(&world, &own, &file, b"quiet", 0, 0), IoStatus::new(NtStatus::SUCCESS, 5));
    assert!(!nt_ke::dispatcher::read_state(object.at(FILE_OBJECT::Event)), "the file's event stays as it was");
    assert_eq!(file.iosb(), Iosb::Is(NtStatus(0), 0));
}

#[test]
fn flt_w_43_a_generated_request_is_a_packet_even_where_fast_io_would_do() {
    let world = filtered();
    let fast = Arc::new(Mutex::new(Vec::new()));
    let seen = fast.clone();
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let _below = world.watch(Watch {
        pre: Box::new(move |data| {
            seen.lock().push(data.is_fast_io());
            PreOp::NoCallback
        }),
        ..Watch::new("Below", "100000", &[IRP_MJ_WRITE])
    });
    let file = world.sync_file("w43");
    assert_eq!(file.write(b"one", None), success(3));
    assert_eq!(file.write(b"two", None), success(3));
    own_write(&world, &own, &file, b"three", 0, 0);
    assert_eq!(*fast.lock(), [false, true, false]);
}

#[test]
fn flt_w_46_a_generated_write_leaves_the_marks_of_any_write() {
    let world = filtered();
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let file = world.sync_file("w46");
    let object = file.object();
    own_write(&world, &own, &file, b"marks", 0, 0);
    let flags = object.get(FILE_OBJECT::Flags);
    assert_eq!(flags & (FO_FILE_MODIFIED | FO_FILE_SIZE_CHANGED), FO_FILE_MODIFIED | FO_FILE_SIZE_CHANGED);
    assert!(object.ptr(FILE_OBJECT::PrivateCacheMap).is_some(), "the next NtWriteFile may be fast");
}

#[test]
fn flt_w_39_the_key_reaches_the_filters_and_the_file_system() {
    let world = filtered();
    let keys = Arc::new(Mutex::new(Vec::new()));
    let seen = keys.clone();
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let _below = world.watch(Watch {
        pre: Box::new(move |data| {
            if data.irp_flags() & IRP_PAGING_IO == 0 {
                seen.lock().push(data.key());
            }
            PreOp::NoCallback
        }),
        ..Watch::new("Below", "100000", &[IRP_MJ_WRITE])
    });
    let file = world.sync_file("w39");
    let object = file.object();
    let block = pool_buffer(b"key");
    for key in [0, 0x1234] {
        let request = Transfer { key, ..plain_write(*object, Some(0), block.into(), 3) };
        assert_eq!(status(transfer(&world.frame(), &own.instance, &request, None)), NtStatus::SUCCESS);
    }
    nt_ex::pool::free(block);
    assert_eq!(*keys.lock(), [0, 0x1234]);
}

#[test]
fn flt_w_40_an_mdl_of_the_callers_is_the_buffer_and_stays_the_callers() {
    let world = filtered();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let before = seen.clone();
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let _below = world.watch(Watch {
        pre: Box::new(move |data| {
            if data.irp_flags() & IRP_PAGING_IO == 0 {
                let iopb = data.iopb();
                let mdl = iopb.addr_at(FLT_IO_PARAMETER_BLOCK::Write_MdlAddress);
                before.lock().push((mdl, iopb.addr_at(FLT_IO_PARAMETER_BLOCK::Write_WriteBuffer), data.length()));
            }
            PreOp::NoCallback
        }),
        ..Watch::new("Below", "100000", &[IRP_MJ_WRITE])
    });
    let file = world.sync_file("w40");
    let object = file.object();
    let block = pool_buffer(b"mdl");
    let mdl = nt_mm::mdl::for_pool(block, 3).expect("mdl");
    let request = |buffer: nt_cell::Addr| Transfer {
        file: *object,
        offset: Some(0),
        length: 3,
        buffer,
        mdl: Some(mdl),
        flags: 0,
        key: 0,
        write: true,
    };
    let send = |buffer| status(transfer(&world.frame(), &own.instance, &request(buffer), None));
    assert_eq!(send(block.into()), NtStatus::INVALID_PARAMETER, "both a buffer and an MDL");
    assert_eq!(send(nt_cell::Addr::NULL), NtStatus::SUCCESS);
    assert_eq!(*seen.lock(), [(mdl.addr(), 0, 3)]);
    assert!(nt_ex::pool::size_of_block(mdl.addr()).is_some(), "not freed at the completion");
    nt_mm::mdl::release(mdl);
    nt_ex::pool::free(block);
    assert_eq!(file.bytes_of("w40"), b"mdl");
}
