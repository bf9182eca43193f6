//! Contexts by the rules of fltmgr.md section 8.
mod support;

use nt_abi::NtStatus;
use nt_abi::flt::*;
use nt_abi::io::*;
use nt_abi::mm::{FSRTL_ADVANCED_FCB_HEADER, FSRTL_FLAG2_IS_PAGING_FILE};
use nt_ex::pool::PoolKind::{NonPaged, Paged};
use nt_fltmgr::context::{self, Context, ContextSpec, Object};
use nt_fltmgr::{CallbackData, FltMgr, PostOp, PreOp};
use nt_ke::Mutex;
use std::sync::Arc;
use support::*;

const ALL: [u16; 5] =
    [FLT_VOLUME_CONTEXT, FLT_INSTANCE_CONTEXT, FLT_FILE_CONTEXT, FLT_STREAM_CONTEXT, FLT_STREAMHANDLE_CONTEXT];

fn any(kind: u16) -> ContextSpec {
    ContextSpec { kind, size: None, inexact: false }
}

fn keeper(name: &'static str, altitude: &'static str) -> Watch {
    Watch { contexts: ALL.map(any).to_vec(), ..Watch::new(name, altitude, &[]) }
}

fn allocate(own: &Watching, kind: u16) -> Context {
    context::allocate(&own.filter, kind, 24, NonPaged).expect("allocated")
}

fn status<T>(result: nt_abi::NtResult<T>) -> NtStatus {
    result.map_or_else(NtStatus::from, |_| NtStatus::SUCCESS)
}

fn volume(world: &World) -> Arc<nt_fltmgr::Volume> {
    FltMgr::of(&world.kernel).expect("room").volumes().remove(0)
}

/// All five objects that a context can hang on.
fn objects<'a>(
    own: &'a Watching,
    volume: &'a Arc<nt_fltmgr::Volume>,
    file: nt_cell::Foreign<FILE_OBJECT>,
) -> [(u16, Object<'a>); 5] {
    let of = |kind| Object::File(kind, &own.instance, Some(file));
    [
        (FLT_VOLUME_CONTEXT, Object::Volume(&own.filter, volume)),
        (FLT_INSTANCE_CONTEXT, Object::Instance(&own.instance)),
        (FLT_FILE_CONTEXT, of(FLT_FILE_CONTEXT)),
        (FLT_STREAM_CONTEXT, of(FLT_STREAM_CONTEXT)),
        (FLT_STREAMHANDLE_CONTEXT, of(FLT_STREAMHANDLE_CONTEXT)),
    ]
}

#[test]
fn flt_c_01_an_allocation_has_one_reference_or_says_why_not() {
    let world = filtered();
    let own = world.watch(Watch {
        contexts: vec![ContextSpec { kind: FLT_STREAM_CONTEXT, size: Some(40), inexact: false }],
        ..Watch::new("Own", "200000", &[])
    });
    let made = context::allocate(&own.filter, FLT_STREAM_CONTEXT, 40, Paged).expect("allocated");
    assert_eq!((context::count(made), context::kind_of(made)), (1, Some(FLT_STREAM_CONTEXT)));
    assert_eq!(made.addr() % 16, 0);
    context::release(made);
    assert_eq!((context::count(made), own.watch.cleaned.lock().clone()), (0, vec![FLT_STREAM_CONTEXT]));
    let refused = |kind, size| status(context::allocate(&own.filter, kind, size, NonPaged));
    assert_eq!(refused(FLT_STREAM_CONTEXT, 39), NtStatus::FLT_CONTEXT_ALLOCATION_NOT_FOUND, "another size");
    assert_eq!(refused(FLT_FILE_CONTEXT, 40), NtStatus::FLT_CONTEXT_ALLOCATION_NOT_FOUND, "not registered");
    assert_eq!(refused(FLT_STREAM_CONTEXT, 0), NtStatus::INVALID_PARAMETER);
    assert_eq!(refused(3, 40), NtStatus::INVALID_PARAMETER, "two types at once");
    assert_eq!(refused(FLT_STREAM_CONTEXT, 0x1_0000), NtStatus::INVALID_BUFFER_SIZE);
    FltMgr::of(&world.kernel).expect("room").unregister(&own.filter);
    assert_eq!(refused(FLT_STREAM_CONTEXT, 40), NtStatus::FLT_DELETING_OBJECT);
}

#[test]
fn flt_c_02_fixed_sizes_are_exact_unless_the_entry_says_otherwise_and_come_first() {
    let world = filtered();
    let fixed = |size, inexact| ContextSpec { kind: FLT_STREAM_CONTEXT, size: Some(size), inexact };
    let own = world.watch(Watch {
        contexts: vec![fixed(64, true), fixed(16, false), fixed(32, true)],
        ..Watch::new("Own", "200000", &[])
    });
    let served = |size| {
        let made = context::allocate(&own.filter, FLT_STREAM_CONTEXT, size, NonPaged);
        made.map(|made| {
            let block = nt_ex::pool::size_of_block(made.addr() - 0x20).expect("pool");
            context::release(made);
            block
        })
    };
    // The block holds what stands in front of the context and the entry's size: the best fit serves.
    let sizes: Vec<_> = [16, 20, 32, 33, 64].into_iter().map(|size| served(size).expect("served") - 0x20).collect();
    assert_eq!(sizes, [16, 32, 32, 64, 64]);
    assert_eq!(served(65).map_err(NtStatus::from), Err(NtStatus::FLT_CONTEXT_ALLOCATION_NOT_FOUND));
    let other = world.watch(Watch {
        contexts: vec![ContextSpec { kind: FLT_STREAM_CONTEXT, size: None, inexact: false }, fixed(32, false)],
        ..Watch::new("Other", "210000", &[])
    });
    for size in [1, 31, 32, 1000, 0xFFFF] {
        let made = context::allocate(&other.filter, FLT_STREAM_CONTEXT, size, NonPaged).expect("any size");
        context::release(made);
    }
}

#[test]
fn flt_c_03_volume_contexts_are_nonpaged() {
    let world = filtered();
    let own = world.watch(keeper("Own", "200000"));
    let paged = |kind| status(context::allocate(&own.filter, kind, 8, Paged).inspect(|made| context::release(*made)));
    assert_eq!(paged(FLT_VOLUME_CONTEXT), NtStatus::FLT_MUST_BE_NONPAGED_POOL);
    for kind in &ALL[1..] {
        assert_eq!(paged(*kind), NtStatus::SUCCESS);
    }
}

#[test]
fn flt_c_06_keep_leaves_what_is_there_and_shows_it() {
    let world = filtered();
    let own = world.watch(keeper("Own", "200000"));
    let (file, volume) = (world.sync_file("c06"), volume(&world));
    let object = file.object();
    for (kind, place) in objects(&own, &volume, *object) {
        let (first, second) = (allocate(&own, kind), allocate(&own, kind));
        let (result, old) = context::set(place, false, first, true);
        assert_eq!((status(result), old, context::count(first)), (NtStatus::SUCCESS, None, 2), "{kind}");
        let (result, old) = context::set(place, false, second, true);
        assert_eq!((status(result), old), (NtStatus::FLT_CONTEXT_ALREADY_DEFINED, Some(first)), "{kind}");
        assert_eq!((context::count(first), context::count(second)), (3, 1));
        context::release(first);
        let (result, old) = context::set(place, false, second, false);
        assert_eq!((status(result), old, context::count(first)), (NtStatus::FLT_CONTEXT_ALREADY_DEFINED, None, 2));
        context::release(second);
        context::release(first);
    }
}

#[test]
fn flt_c_07_replace_links_the_new_and_gives_the_former_back() {
    let world = filtered();
    let own = world.watch(keeper("Own", "200000"));
    let (file, volume) = (world.sync_file("c07"), volume(&world));
    let object = file.object();
    for (kind, place) in objects(&own, &volume, *object) {
        let made = [(); 3].map(|()| allocate(&own, kind));
        let (result, old) = context::set(place, true, made[0], true);
        assert_eq!((status(result), old), (NtStatus::SUCCESS, None));
        let (result, old) = context::set(place, true, made[1], true);
        assert_eq!((status(result), old), (NtStatus::SUCCESS, Some(made[0])));
        assert_eq!((context::count(made[0]), context::count(made[1])), (2, 2), "the link's reference is the caller's");
        context::release(made[0]);
        let (result, old) = context::set(place, true, made[2], false);
        assert_eq!((status(result), old, context::count(made[1])), (NtStatus::SUCCESS, None, 1), "released");
        assert_eq!(context::get(place).map_err(NtStatus::from), Ok(made[2]));
        context::release(made[2]);
        for each in made {
            context::release(each);
        }
    }
}

#[test]
fn flt_c_08_a_linked_context_a_wrong_type_and_a_going_object_are_refused() {
    let world = filtered();
    let own = world.watch(keeper("Own", "200000"));
    let (one, two) = (world.sync_file("c08a"), world.sync_file("c08b"));
    let (one, two) = (one.object(), two.object());
    let made = allocate(&own, FLT_STREAM_CONTEXT);
    let stream = |file: nt_cell::Foreign<FILE_OBJECT>| Object::File(FLT_STREAM_CONTEXT, &own.instance, Some(file));
    assert_eq!(status(context::set(stream(*one), true, made, false).0), NtStatus::SUCCESS);
    for file in [*one, *two] {
        assert_eq!(status(context::set(stream(file), true, made, false).0), NtStatus::FLT_CONTEXT_ALREADY_LINKED);
    }
    let handle = Object::File(FLT_STREAMHANDLE_CONTEXT, &own.instance, Some(*one));
    let other = allocate(&own, FLT_STREAM_CONTEXT);
    assert_eq!(status(context::set(handle, true, other, false).0), NtStatus::INVALID_PARAMETER);
    context::release(made);
    let manager = FltMgr::of(&world.kernel).expect("room");
    manager.detach_manually(&own.filter, &volume(&world), None).expect("detached");
    assert_eq!(status(context::set(stream(*two), true, other, false).0), NtStatus::FLT_DELETING_OBJECT);
    context::release(other);
    assert_eq!(own.watch.cleaned.lock().len(), 2);
}

#[test]
fn flt_c_09_references_are_counted_and_the_cleanup_runs_once() {
    let world = filtered();
    let own = world.watch(keeper("Own", "200000"));
    let (file, volume) = (world.sync_file("c09"), volume(&world));
    let object = file.object();
    let made = allocate(&own, FLT_STREAMHANDLE_CONTEXT);
    let place = Object::File(FLT_STREAMHANDLE_CONTEXT, &own.instance, Some(*object));
    let mut counts = vec![context::count(made)];
    context::set(place, false, made, false).0.expect("set");
    counts.push(context::count(made));
    context::release(made);
    counts.push(context::count(made));
    context::get(place).expect("there");
    counts.push(context::count(made));
    context::release(made);
    counts.push(context::count(made));
    assert_eq!(counts, [1, 2, 1, 2, 1]);
    assert!(own.watch.cleaned.lock().is_empty());
    drop(object);
    drop(file); // IRP_MJ_CLOSE: the object is torn down
    assert_eq!((context::count(made), own.watch.cleaned.lock().clone()), (0, vec![FLT_STREAMHANDLE_CONTEXT]));
    let unset = allocate(&own, FLT_INSTANCE_CONTEXT);
    context::release(unset);
    assert_eq!(own.watch.cleaned.lock().len(), 2);
    drop(volume);
}

#[test]
fn flt_c_10_a_get_finds_or_says_that_there_is_none() {
    let world = filtered();
    let own = world.watch(keeper("Own", "200000"));
    let (file, volume) = (world.sync_file("c10"), volume(&world));
    let object = file.object();
    for (kind, place) in objects(&own, &volume, *object) {
        assert_eq!(context::get(place).map_err(NtStatus::from), Err(NtStatus::NOT_FOUND), "{kind}");
        let made = allocate(&own, kind);
        context::set(place, false, made, false).0.expect("set");
        assert_eq!(context::get(place).map_err(NtStatus::from), Ok(made));
        assert_eq!(context::count(made), 3);
        context::release(made);
        context::release(made);
    }
    let none = Object::File(FLT_STREAM_CONTEXT, &own.instance, None);
    assert_eq!(context::get(none).map_err(NtStatus::from), Err(NtStatus::NOT_SUPPORTED));
}

#[test]
fn flt_c_11_a_deleted_context_is_found_no_more_and_lives_as_long_as_it_is_referenced() {
    let world = filtered();
    let own = world.watch(keeper("Own", "200000"));
    let (file, volume) = (world.sync_file("c11"), volume(&world));
    let object = file.object();
    for (kind, place) in objects(&own, &volume, *object) {
        let made = allocate(&own, kind);
        context::set(place, false, made, false).0.expect("set");
        context::delete(made);
        assert_eq!(context::count(made), 1, "the caller's own reference survives");
        assert_eq!(context::get(place).map_err(NtStatus::from), Err(NtStatus::NOT_FOUND));
        context::set(place, false, made, false).0.expect("it can be set again");
        context::release(made);
        assert_eq!(context::delete_from(place, true).map_err(NtStatus::from), Ok(Some(made)));
        assert_eq!(context::count(made), 1, "the link's reference came with it");
        context::set(place, false, made, false).0.expect("set");
        context::release(made);
        assert_eq!(context::delete_from(place, false).map_err(NtStatus::from), Ok(None));
        assert_eq!(context::count(made), 0);
        assert_eq!(context::delete_from(place, false).map_err(NtStatus::from), Err(NtStatus::NOT_FOUND));
    }
    assert_eq!(own.watch.cleaned.lock().len(), ALL.len());
}

#[test]
fn flt_c_12_the_cleanup_of_a_release_at_dispatch_level_runs_in_a_worker() {
    let world = filtered();
    let own = world.watch(keeper("Own", "200000"));
    let made = allocate(&own, FLT_STREAM_CONTEXT);
    {
        let _level = nt_ke::irql::at(nt_ke::irql::DISPATCH_LEVEL);
        context::release(made);
    }
    world.kernel.drain();
    assert_eq!(*own.watch.cleaned.lock(), [FLT_STREAM_CONTEXT]);
    let cleaner = *own.watch.cleaner.lock();
    assert!(cleaner.is_some_and(|cleaner| cleaner != std::thread::current().id()), "not here, at DISPATCH_LEVEL");
}

#[test]
fn flt_c_13_contexts_go_with_what_they_hang_on() {
    let world = filtered();
    let own = world.watch(keeper("Own", "200000"));
    let volume = volume(&world);
    let file = world.sync_file("c13");
    let object = file.object();
    for (kind, place) in objects(&own, &volume, *object) {
        let made = allocate(&own, kind);
        context::set(place, false, made, false).0.expect("set");
        context::release(made);
    }
    drop(object);
    drop(file);
    assert_eq!(std::mem::take(&mut *own.watch.cleaned.lock()), [FLT_STREAMHANDLE_CONTEXT], "IRP_MJ_CLOSE");
    let (handle, _) = world.try_open("c13", 0x1_0000, 0x1000, FILE_OPEN).expect("delete on close");
    nt_io::event::close(&world.frame(), handle).expect("closed");
    let mut gone = std::mem::take(&mut *own.watch.cleaned.lock());
    gone.sort_unstable();
    assert_eq!(gone, [FLT_FILE_CONTEXT, FLT_STREAM_CONTEXT], "the file system freed the file");
    let manager = FltMgr::of(&world.kernel).expect("room");
    manager.detach_manually(&own.filter, &volume, None).expect("detached");
    assert_eq!(std::mem::take(&mut *own.watch.cleaned.lock()), [FLT_INSTANCE_CONTEXT], "teardown");
    manager.unregister(&own.filter);
    assert_eq!(std::mem::take(&mut *own.watch.cleaned.lock()), [FLT_VOLUME_CONTEXT], "FltUnregisterFilter");
}

#[test]
fn flt_c_13_a_teardown_takes_the_instances_contexts_off_open_files() {
    let world = filtered();
    let own = world.watch(keeper("Own", "200000"));
    let other = world.watch(keeper("Other", "210000"));
    let volume = volume(&world);
    let file = world.sync_file("c13t");
    let object = file.object();
    for watching in [&own, &other] {
        for (kind, place) in objects(watching, &volume, *object).into_iter().skip(1) {
            let made = allocate(watching, kind);
            context::set(place, false, made, false).0.expect("set");
            context::release(made);
        }
    }
    FltMgr::of(&world.kernel).expect("room").detach_manually(&own.filter, &volume, None).expect("detached");
    assert_eq!((own.watch.cleaned.lock().len(), other.watch.cleaned.lock().len()), (4, 0));
}

#[test]
fn flt_c_14_what_takes_no_contexts_says_not_supported() {
    let world = filtered();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (before, after) = (seen.clone(), seen.clone());
    let supported = |data: CallbackData| context::supports(FLT_STREAM_CONTEXT, data.file());
    let own = world.watch(Watch {
        contexts: ALL.map(any).to_vec(),
        pre: Box::new(move |data| {
            let instance = data.target_instance().expect("instance");
            let made = context::allocate(instance.filter(), FLT_STREAM_CONTEXT, 8, NonPaged).expect("allocated");
            let place = Object::File(FLT_STREAM_CONTEXT, &instance, data.file());
            before.lock().push((supported(data), status(context::set(place, false, made, false).0)));
            PreOp::WithCallback(made.addr())
        }),
        post: Box::new(move |data| {
            let instance = data.target_instance().expect("instance");
            let made = context::allocate(instance.filter(), FLT_STREAM_CONTEXT, 8, NonPaged).expect("allocated");
            let place = Object::File(FLT_STREAM_CONTEXT, &instance, data.file());
            after.lock().push((supported(data), status(context::set(place, false, made, false).0)));
            context::release(made);
            PostOp::Finished
        }),
        ..Watch::new("Own", "200000", &[IRP_MJ_CREATE, IRP_MJ_CLOSE])
    });
    let findings = world.findings();
    let file = world.sync_file("c14");
    let object = file.object();
    let (yes, no) = ((true, NtStatus::SUCCESS), (false, NtStatus::NOT_SUPPORTED));
    assert_eq!(std::mem::take(&mut *seen.lock()), [no, yes], "before the create, and after it");
    let header = object.ptr(FILE_OBJECT::FsContext).expect("open").view::<FSRTL_ADVANCED_FCB_HEADER>();
    header.or8(FSRTL_ADVANCED_FCB_HEADER::Flags2, FSRTL_FLAG2_IS_PAGING_FILE);
    let place = Object::File(FLT_STREAM_CONTEXT, &own.instance, Some(*object));
    assert_eq!(context::get(place).map_err(NtStatus::from), Err(NtStatus::NOT_SUPPORTED), "a paging file");
    header.set(FSRTL_ADVANCED_FCB_HEADER::Flags2, 0);
    assert_eq!(context::get(place).map_err(NtStatus::from), Err(NtStatus::NOT_SUPPORTED), "no filter contexts");
    header.set(FSRTL_ADVANCED_FCB_HEADER::Flags2, 2);
    drop(object);
    drop(file);
    let closing = std::mem::take(&mut *seen.lock());
    assert_eq!(closing.last(), Some(&no), "after the close: {closing:?}");
    FltMgr::of(&world.kernel).expect("room").unregister(&own.filter);
    assert_eq!(findings.take("FLT-V-06").len(), 2, "the two of the pre callbacks were never released");
}

#[test]
fn flt_c_14_a_context_made_before_a_create_is_set_after_it() {
    let world = filtered();
    let own = world.watch(Watch {
        contexts: ALL.map(any).to_vec(),
        pre: Box::new(|data| {
            let instance = data.target_instance().expect("instance");
            let made = context::allocate(instance.filter(), FLT_STREAMHANDLE_CONTEXT, 8, NonPaged).expect("allocated");
            MADE.lock().replace(made);
            PreOp::WithCallback(0)
        }),
        post: Box::new(|data| {
            let instance = data.target_instance().expect("instance");
            let made = MADE.lock().take().expect("from the pre callback");
            let place = Object::File(FLT_STREAMHANDLE_CONTEXT, &instance, data.file());
            context::set(place, false, made, false).0.expect("set");
            context::release(made);
            PostOp::Finished
        }),
        ..Watch::new("Own", "200000", &[IRP_MJ_CREATE])
    });
    static MADE: Mutex<Option<Context>> = Mutex::new(None);
    let file = world.sync_file("c14p");
    let object = file.object();
    let found = context::get(Object::File(FLT_STREAMHANDLE_CONTEXT, &own.instance, Some(*object)));
    context::release(found.expect("set after the create"));
}

#[test]
fn flt_c_15_hard_links_share_the_file_context_and_every_file_has_its_own() {
    let world = filtered();
    let own = world.watch(keeper("Own", "200000"));
    let (file, other) = (world.file("c15", GENERIC_WRITE | SYNCHRONIZE, SYNC), world.sync_file("c15other"));
    let name: Vec<u8> = "c15link".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut link = vec![0; 20];
    link[16..20].copy_from_slice(&(name.len() as u32).to_le_bytes());
    link.extend(&name);
    link.resize(link.len().max(24), 0);
    assert_eq!(file.set(nt_io::info::class::LINK, &link), NtStatus::SUCCESS);
    let linked = world.sync_file("c15link");
    let objects = [file.object(), linked.object(), other.object()];
    let [a, b, c] = [0, 1, 2].map(|at| Object::File(FLT_FILE_CONTEXT, &own.instance, Some(*objects[at])));
    assert!(context::supports(FLT_FILE_CONTEXT, Some(*objects[0])));
    let made = allocate(&own, FLT_FILE_CONTEXT);
    context::set(a, false, made, false).0.expect("set");
    assert_eq!(context::get(b).map_err(NtStatus::from), Ok(made), "one file, two names");
    assert_eq!(context::get(c).map_err(NtStatus::from), Err(NtStatus::NOT_FOUND));
    let stream = Object::File(FLT_STREAM_CONTEXT, &own.instance, Some(*objects[0]));
    assert_eq!(context::get(stream).map_err(NtStatus::from), Err(NtStatus::NOT_FOUND), "a table of its own");
    context::release(made);
    context::release(made);
}

#[test]
fn flt_c_15_without_file_contexts_of_the_file_system_they_are_kept_on_the_stream() {
    let world = filtered();
    let own = world.watch(keeper("Own", "200000"));
    let file = world.sync_file("c15s");
    let object = file.object();
    let header = object.ptr(FILE_OBJECT::FsContext).expect("open").view::<FSRTL_ADVANCED_FCB_HEADER>();
    header.set_ptr(FSRTL_ADVANCED_FCB_HEADER::FileContextSupportPointer, None);
    assert!(!context::supports(FLT_FILE_CONTEXT, Some(*object)), "FltSupportsFileContexts");
    assert!(context::supports(FLT_STREAM_CONTEXT, Some(*object)), "which FltSupportsFileContextsEx asks");
    let place = Object::File(FLT_FILE_CONTEXT, &own.instance, Some(*object));
    let made = allocate(&own, FLT_FILE_CONTEXT);
    context::set(place, false, made, false).0.expect("set");
    assert_eq!(context::get(place).map_err(NtStatus::from), Ok(made));
    context::release(made);
    context::release(made);
}

#[test]
fn flt_c_17_a_leaked_reference_is_reported_and_cleaned_up() {
    let world = filtered();
    let findings = world.findings();
    let own = world.watch(keeper("Own", "200000"));
    let file = world.sync_file("c17");
    let object = file.object();
    let made = allocate(&own, FLT_STREAM_CONTEXT);
    context::set(Object::File(FLT_STREAM_CONTEXT, &own.instance, Some(*object)), false, made, false).0.expect("set");
    FltMgr::of(&world.kernel).expect("room").unregister(&own.filter);
    let told = findings.take("FLT-V-06");
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("a stream context of 24 bytes still has 1 reference"), "{told:?}");
    assert_eq!((context::count(made), own.watch.cleaned.lock().len()), (0, 1));
}

#[test]
fn flt_c_18_two_instances_of_a_filter_keep_their_contexts_apart() {
    let world = filtered();
    let own = world.watch(keeper("Own", "200000"));
    let manager = FltMgr::of(&world.kernel).expect("room");
    let second = manager
        .attach_manually(&world.kernel, &own.filter, &volume(&world), Some("second"), Some("200001"))
        .expect("attached");
    let file = world.sync_file("c18");
    let object = file.object();
    for kind in [FLT_FILE_CONTEXT, FLT_STREAM_CONTEXT, FLT_STREAMHANDLE_CONTEXT] {
        let made = [allocate(&own, kind), allocate(&own, kind)];
        for (instance, made) in [(&own.instance, made[0]), (&second, made[1])] {
            let place = Object::File(kind, instance, Some(*object));
            context::set(place, false, made, false).0.expect("set");
            assert_eq!(context::get(place).map_err(NtStatus::from), Ok(made));
            context::release(made);
            context::release(made);
        }
    }
}

#[test]
fn flt_v_06_over_releases_and_uses_of_freed_contexts_are_reported() {
    let world = filtered();
    let findings = world.findings();
    let own = world.watch(keeper("Own", "200000"));
    let made = allocate(&own, FLT_STREAM_CONTEXT);
    context::release(made);
    assert_eq!(findings.take("FLT-V-06").len(), 0);
    context::release(made);
    context::reference(made);
    context::delete(made);
    assert_eq!(findings.take("FLT-V-06").len(), 3);
    assert_eq!(own.watch.cleaned.lock().len(), 1, "cleaned up once");
}

#[test]
fn flt_c_05_an_array_of_contexts_that_the_page_forbids_is_refused() {
    let world = filtered();
    let fixed = |size| ContextSpec { kind: FLT_STREAM_CONTEXT, size: Some(size), inexact: false };
    let register = |contexts: Vec<ContextSpec>| {
        let watch = Arc::new(Watch { contexts, ..Watch::new("Own", "200000", &[]) });
        let made = nt_fltmgr::register_native(&world.kernel, watch);
        made.map(|made| FltMgr::of(&world.kernel).expect("room").unregister(&made)).map_err(NtStatus::from)
    };
    let refused = Err(NtStatus::FLT_INVALID_CONTEXT_REGISTRATION);
    assert_eq!(register(vec![fixed(1), fixed(2), fixed(3), any(FLT_STREAM_CONTEXT)]), Ok(()), "three and one");
    assert_eq!(register(vec![fixed(1), fixed(2), fixed(3), fixed(4)]), refused);
    assert_eq!(register(vec![fixed(1), fixed(1), fixed(1), fixed(1)]), Ok(()), "identical entries count once");
    assert_eq!(register(vec![any(FLT_STREAM_CONTEXT), fixed(0)]), Ok(()), "in any order, and size 0");
    assert_eq!(register(vec![any(0)]), refused);
    assert_eq!(register(vec![any(FLT_STREAM_CONTEXT | FLT_FILE_CONTEXT)]), refused);
}

#[test]
fn flt_r_08_the_registered_types_are_those_that_can_be_allocated() {
    let world = filtered();
    let own = world.watch(Watch { contexts: vec![any(FLT_FILE_CONTEXT)], ..Watch::new("Own", "200000", &[]) });
    for kind in ALL {
        let made = context::allocate(&own.filter, kind, 8, NonPaged).inspect(|made| context::release(*made));
        let expected =
            if kind == FLT_FILE_CONTEXT { NtStatus::SUCCESS } else { NtStatus::FLT_CONTEXT_ALLOCATION_NOT_FOUND };
        assert_eq!(status(made), expected, "{kind}");
    }
    let bad = Arc::new(Watch { contexts: vec![any(3)], ..Watch::new("Bad", "210000", &[]) });
    let refused = nt_fltmgr::register_native(&world.kernel, bad).map(|_| ()).map_err(NtStatus::from);
    assert_eq!(refused, Err(NtStatus::FLT_INVALID_CONTEXT_REGISTRATION));
}
