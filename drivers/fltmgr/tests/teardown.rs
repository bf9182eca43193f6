//! Attaching, draining, tearing down, unloading: fltmgr.md sections 3, 4 and 7.
mod support;

use nt_abi::NtStatus;
use nt_abi::flt::*;
use nt_abi::io::*;
use nt_cell::Foreign;
use nt_fltmgr::context::{self, Context, ContextSpec, Object};
use nt_fltmgr::generated::{complete_pended_post, complete_pended_pre, transfer};
use nt_fltmgr::{CallbackData, FltMgr, Instance, MiniFilter, PostOp, PreOp, register_native};
use nt_io::irp::IoStatus;
use nt_ke::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use support::*;

type Log2 = Arc<Mutex<Vec<String>>>;

/// A filter whose every routine writes one line.
struct Teller {
    name: &'static str,
    altitude: &'static str,
    log: Log2,
    setup: NtStatus,
    may_leave: NtStatus,
    unload: NtStatus,
    pre: Pre,
    post: Post,
}

impl Teller {
    fn new(name: &'static str, altitude: &'static str, log: &Log2) -> Self {
        Self {
            name,
            altitude,
            log: log.clone(),
            setup: NtStatus::SUCCESS,
            may_leave: NtStatus::SUCCESS,
            unload: NtStatus::SUCCESS,
            pre: Box::new(|_| PreOp::WithCallback(0xC0)),
            post: Box::new(|_| PostOp::Finished),
        }
    }
    fn tell(&self, line: String) {
        self.log.lock().push(format!("{} {line}", self.name));
    }
}

impl MiniFilter for Teller {
    fn name(&self) -> &str {
        self.name
    }
    fn altitude(&self) -> &str {
        self.altitude
    }
    fn operations(&self) -> Vec<(u8, u32)> {
        // What the cache manager writes on its own account passes: a filter that holds that holds its own teardown.
        vec![(IRP_MJ_WRITE, nt_abi::flt::FLTFL_OPERATION_REGISTRATION_SKIP_PAGING_IO)]
    }
    fn setup(&self, _instance: &Arc<Instance>, flags: u32) -> NtStatus {
        self.tell(format!("setup {flags}"));
        self.setup
    }
    fn query_teardown(&self) -> NtStatus {
        self.tell("query".into());
        self.may_leave
    }
    fn teardown_start(&self, _instance: &Arc<Instance>, reason: u32) {
        self.tell(format!("start {reason}"));
    }
    fn teardown_complete(&self, _instance: &Arc<Instance>, reason: u32) {
        self.tell(format!("complete {reason}"));
    }
    fn unload(&self, mandatory: bool) -> NtStatus {
        self.tell(format!("unload {mandatory}"));
        self.unload
    }
    fn contexts(&self) -> Vec<ContextSpec> {
        vec![ContextSpec { kind: FLT_INSTANCE_CONTEXT, size: None, inexact: false }]
    }
    fn context_cleanup(&self, _context: Context, kind: u16) {
        self.tell(format!("cleanup {kind}"));
    }
    fn pre_operation(&self, data: CallbackData) -> PreOp {
        self.tell("pre".into());
        (self.pre)(data)
    }
    fn post_operation(&self, data: CallbackData, context: u64) -> PostOp {
        let draining = if data.is_draining() { " draining" } else { "" };
        self.tell(format!("post {context:#x}{draining} {}", data.status().status));
        (self.post)(data)
    }
}

fn take(log: &Log2) -> Vec<String> {
    std::mem::take(&mut *log.lock())
}

/// Holds each write until it is told to go on.
fn holding(world: &World, name: &'static str, altitude: &'static str, log: &Log2) -> Arc<Mutex<Vec<CallbackData>>> {
    let held = Arc::new(Mutex::new(Vec::new()));
    let store = held.clone();
    let pre: Pre = Box::new(move |data| {
        store.lock().push(data);
        PreOp::Pending
    });
    register_native(&world.kernel, Arc::new(Teller { pre, ..Teller::new(name, altitude, log) })).expect("register");
    take(log);
    held
}

fn detach(world: &World, filter: &Arc<nt_fltmgr::Filter>) -> NtStatus {
    let manager = FltMgr::of(&world.kernel).expect("room");
    let volume = manager.volumes().remove(0);
    manager.detach_manually(filter, &volume, None).map_or_else(NtStatus::from, |()| NtStatus::SUCCESS)
}

#[test]
fn flt_i_05_setup_decides_and_is_told_how_the_volume_came() {
    let world = filtered();
    let log = Log2::default();
    let manager = FltMgr::of(&world.kernel).expect("room");
    for (setup, attached) in [
        (NtStatus::SUCCESS, true),
        (NtStatus(0x4000_0000), true),
        (NtStatus::FLT_DO_NOT_ATTACH, false),
        (NtStatus::BUFFER_OVERFLOW, false),
    ] {
        let filter = register_native(&world.kernel, Arc::new(Teller { setup, ..Teller::new("I", "200000", &log) }));
        let filter = filter.expect("registered");
        let there = manager.volumes()[0].instances().iter().any(|each| Arc::ptr_eq(each.filter(), &filter));
        assert_eq!(there, attached, "{setup}");
        assert_eq!(take(&log)[0], "I setup 1", "automatic");
        manager.unregister(&filter);
        take(&log);
    }
    let filter = register_native(&world.kernel, Arc::new(Teller::new("I", "200000", &log))).expect("registered");
    let volume = manager.volumes().remove(0);
    manager.attach_manually(&world.kernel, &filter, &volume, Some("two"), Some("200001")).expect("attached");
    assert_eq!(take(&log), ["I setup 1", "I setup 2"], "manual");
    let second = nt_memfs::mount(&world.kernel, 5, None).expect("another volume");
    nt_fltmgr::Volume::attach(&world.kernel, &manager, second.device, &second.name).expect("attached");
    assert_eq!(take(&log), ["I setup 5"], "automatic, newly mounted");
}

#[test]
fn flt_i_09_only_a_detachment_by_hand_asks() {
    let world = filtered();
    let log = Log2::default();
    let manager = FltMgr::of(&world.kernel).expect("room");
    let refuses = Teller { may_leave: NtStatus::FLT_DO_NOT_DETACH, ..Teller::new("I", "200000", &log) };
    let filter = register_native(&world.kernel, Arc::new(refuses)).expect("registered");
    take(&log);
    assert_eq!(detach(&world, &filter), NtStatus::FLT_DO_NOT_DETACH);
    assert_eq!(take(&log), ["I query"]);
    let second = nt_memfs::mount(&world.kernel, 5, None).expect("another volume");
    let second = nt_fltmgr::Volume::attach(&world.kernel, &manager, second.device, &second.name).expect("attached");
    take(&log);
    manager.dismount(&second);
    assert_eq!(take(&log), ["I start 8", "I complete 8"], "a dismount does not ask");
    manager.unregister(&filter);
    assert_eq!(take(&log), ["I start 2", "I complete 2"], "nor does an unload");
}

#[test]
fn flt_i_10_a_teardown_goes_in_its_order_with_one_reason() {
    let world = filtered();
    let log = Log2::default();
    let filter = register_native(&world.kernel, Arc::new(Teller::new("I", "200000", &log))).expect("registered");
    let instance = world.instance(&filter);
    let made = context::allocate(&filter, FLT_INSTANCE_CONTEXT, 8, nt_ex::pool::PoolKind::NonPaged).expect("made");
    context::set(Object::Instance(&instance), false, made, false).0.expect("set");
    context::release(made);
    take(&log);
    assert_eq!(detach(&world, &filter), NtStatus::SUCCESS);
    let expected = ["I query", "I start 1", "I complete 1", &format!("I cleanup {FLT_INSTANCE_CONTEXT}")];
    assert_eq!(take(&log), expected);
    world.sync_file("i10").write(b"x", None);
    assert_eq!(take(&log), Vec::<String>::new(), "no callback any more");
    let manager = FltMgr::of(&world.kernel).expect("room");
    let volume = manager.volumes().remove(0);
    for reason in [FLTFL_INSTANCE_TEARDOWN_FILTER_UNLOAD, FLTFL_INSTANCE_TEARDOWN_VOLUME_DISMOUNT] {
        let name = format!("{reason}");
        manager.attach_manually(&world.kernel, &filter, &volume, Some(&name), Some("200001")).expect("attached");
        let there = volume.instances().iter().find(|each| each.name() == name).cloned().expect("there");
        take(&log);
        manager.tear_down(&there, reason);
        assert_eq!(take(&log), [format!("I start {reason}"), format!("I complete {reason}")]);
    }
}

#[test]
fn flt_i_11_a_filter_may_write_through_its_instance_until_teardown_complete() {
    struct Flusher {
        instance: Mutex<Option<Arc<Instance>>>,
        file: Mutex<Option<Foreign<FILE_OBJECT>>>,
        wrote: Mutex<Vec<NtStatus>>,
    }
    impl Flusher {
        fn flush(&self) {
            let (instance, file) = (self.instance.lock().clone().expect("set"), self.file.lock().expect("set"));
            let block = pool_buffer(b"last");
            let request = plain_write(file, Some(0), block.into(), 4);
            let done = transfer(&nt_ke::current(), &instance, &request, None);
            self.wrote.lock().push(done.map_or_else(NtStatus::from, |result| result.status));
            nt_ex::pool::free(block);
        }
    }
    impl MiniFilter for Flusher {
        fn name(&self) -> &str {
            "Flusher"
        }
        fn altitude(&self) -> &str {
            "200000"
        }
        fn operations(&self) -> Vec<(u8, u32)> {
            Vec::new()
        }
        fn query_teardown(&self) -> NtStatus {
            NtStatus::SUCCESS
        }
        fn teardown_start(&self, _: &Arc<Instance>, _: u32) {
            self.flush();
        }
        fn teardown_complete(&self, _: &Arc<Instance>, _: u32) {
            self.flush();
        }
    }
    let world = filtered();
    let flusher = Arc::new(Flusher { instance: Mutex::default(), file: Mutex::default(), wrote: Mutex::default() });
    let filter = register_native(&world.kernel, flusher.clone()).expect("registered");
    let file = world.sync_file("i11");
    let object = file.object();
    *flusher.instance.lock() = Some(world.instance(&filter));
    *flusher.file.lock() = Some(*object);
    assert_eq!(detach(&world, &filter), NtStatus::SUCCESS);
    assert_eq!(*flusher.wrote.lock(), [NtStatus::SUCCESS; 2]);
    drop(object);
    assert_eq!(file.bytes_of("i11"), b"last");
}

#[test]
fn flt_o_19_a_draining_post_gets_a_copy_once_and_the_real_end_skips_it() {
    let world = filtered();
    let log = Log2::default();
    let ids = Arc::new(Mutex::new(Vec::new()));
    let (before, after) = (ids.clone(), ids.clone());
    let drained = Teller {
        pre: Box::new(move |data| {
            before.lock().push(data.id());
            PreOp::WithCallback(0xD1)
        }),
        post: Box::new(move |data| {
            after.lock().push(data.id());
            assert_eq!((data.length(), data.major()), (4, IRP_MJ_WRITE), "the parameters are there");
            assert_eq!(data.lock_user_buffer().map_err(NtStatus::from), Err(NtStatus::INVALID_PARAMETER));
            PostOp::Finished
        }),
        ..Teller::new("B", "200000", &log)
    };
    let filter = register_native(&world.kernel, Arc::new(drained)).expect("registered");
    let held = holding(&world, "Holds", "100000", &log);
    let file = world.async_file("o19");
    let sent = file.write(b"data", Some(0));
    assert_eq!(sent.returned, NtStatus::PENDING);
    take(&log);
    assert_eq!(detach(&world, &filter), NtStatus::SUCCESS);
    let told = ["B query", "B start 1", "B post 0xd1 draining STATUS_SUCCESS (0x00000000)", "B complete 1"];
    assert_eq!(take(&log), told, "before the result is known");
    let ids = std::mem::take(&mut *ids.lock());
    assert!(ids.len() == 2 && ids[0] != ids[1], "the draining post sees a copy");
    complete_pended_pre(held.lock().remove(0), PreOp::NoCallback);
    assert_eq!(take(&log), Vec::<String>::new(), "the real completion skips the instance");
    assert_eq!(file.iosb(), Iosb::Is(NtStatus::SUCCESS, 4));
}

#[test]
fn flt_tr_10_a_detached_filter_drains_and_the_filters_above_see_the_end() {
    let world = filtered();
    let log = Log2::default();
    register_native(&world.kernel, Arc::new(Teller::new("A", "300000", &log))).expect("registered");
    let filter = register_native(&world.kernel, Arc::new(Teller::new("B", "200000", &log))).expect("registered");
    let held = holding(&world, "Delay", "100000", &log);
    let file = world.async_file("tr10");
    assert_eq!(file.write(b"data", Some(0)).returned, NtStatus::PENDING);
    assert_eq!(take(&log), ["A pre", "B pre", "Delay pre"]);
    assert_eq!(detach(&world, &filter), NtStatus::SUCCESS);
    let drained = take(&log);
    assert_eq!(drained.iter().filter(|line| line.starts_with("B post 0xc0 draining")).count(), 1, "{drained:?}");
    complete_pended_pre(held.lock().remove(0), PreOp::NoCallback);
    assert_eq!(take(&log), ["A post 0xc0 STATUS_SUCCESS (0x00000000)"]);
    assert_eq!(file.iosb(), Iosb::Is(NtStatus::SUCCESS, 4));
}

#[test]
fn flt_d_10_a_swapped_buffer_is_not_drained_the_teardown_waits_for_the_end() {
    let world = filtered();
    let log = Log2::default();
    let swaps = Teller {
        pre: Box::new(|data| {
            let block = pool_buffer(b"SWAP");
            data.iopb().set_ptr(FLT_IO_PARAMETER_BLOCK::Write_WriteBuffer, Some(block));
            data.set_dirty();
            PreOp::WithCallback(block.addr())
        }),
        ..Teller::new("B", "200000", &log)
    };
    let filter = register_native(&world.kernel, Arc::new(swaps)).expect("registered");
    let held = holding(&world, "Delay", "100000", &log);
    let file = world.async_file("d10");
    assert_eq!(file.write(b"data", Some(0)).returned, NtStatus::PENDING);
    take(&log);
    let released = Arc::new(AtomicBool::new(false));
    let (mark, data) = (released.clone(), held.lock().remove(0));
    let lines = log.clone();
    nt_ke::work::WorkQueue::queue(&world.kernel, move || {
        while !lines.lock().iter().any(|line| line == "B start 1") {
            std::hint::spin_loop();
        }
        mark.store(true, Ordering::SeqCst);
        complete_pended_pre(data, PreOp::NoCallback);
    });
    assert_eq!(detach(&world, &filter), NtStatus::SUCCESS);
    assert!(released.load(Ordering::SeqCst));
    let told = take(&log);
    let post = told.iter().position(|line| line.starts_with("B post") && !line.contains("draining"));
    let complete = told.iter().position(|line| line == "B complete 1");
    assert!(post.is_some() && post < complete, "the real post, before TeardownComplete: {told:?}");
    world.kernel.drain();
    assert_eq!(file.iosb(), Iosb::Is(NtStatus::SUCCESS, 4));
}

#[test]
fn flt_r_12_an_unregistered_filter_is_torn_down_everywhere_and_called_no_more() {
    let world = filtered();
    let log = Log2::default();
    let manager = FltMgr::of(&world.kernel).expect("room");
    let second = nt_memfs::mount(&world.kernel, 5, None).expect("another volume");
    nt_fltmgr::Volume::attach(&world.kernel, &manager, second.device, &second.name).expect("attached");
    let filter = register_native(&world.kernel, Arc::new(Teller::new("B", "200000", &log))).expect("registered");
    let held = holding(&world, "Delay", "100000", &log);
    let instance = world.instance(&filter);
    let made = context::allocate(&filter, FLT_INSTANCE_CONTEXT, 8, nt_ex::pool::PoolKind::NonPaged).expect("made");
    context::set(Object::Instance(&instance), false, made, false).0.expect("set");
    context::release(made);
    let file = world.async_file("r12");
    assert_eq!(file.write(b"data", Some(0)).returned, NtStatus::PENDING);
    take(&log);
    manager.unregister(&filter);
    let told = take(&log);
    let of = |what: &str| told.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!((of("B start 2"), of("B complete 2"), of("B post"), of("B cleanup")), (2, 2, 1, 1), "{told:?}");
    complete_pended_pre(held.lock().remove(0), PreOp::NoCallback);
    file.write(b"more", Some(4));
    assert_eq!(take(&log), ["Delay pre"], "no callback of B");
    complete_pended_pre(held.lock().remove(0), PreOp::NoCallback);
    assert!(manager.filters().iter().all(|each| each.name() != "B"));
}

#[test]
fn flt_v_08_what_is_never_resumed_is_reported_at_the_teardown_and_goes_on() {
    for post in [false, true] {
        let world = filtered();
        let log = Log2::default();
        let findings = world.findings();
        let keeps = Teller {
            pre: Box::new(move |_| if post { PreOp::WithCallback(0) } else { PreOp::Pending }),
            post: Box::new(|_| PostOp::MoreProcessing),
            ..Teller::new("Keeps", "200000", &log)
        };
        let filter = register_native(&world.kernel, Arc::new(keeps)).expect("registered");
        let file = world.async_file("v08");
        assert_eq!(file.write(b"data", Some(0)).returned, NtStatus::PENDING);
        assert_eq!(detach(&world, &filter), NtStatus::SUCCESS);
        let told = findings.take("FLT-V-08");
        assert!(told.len() == 1 && told[0].contains("never resumed"), "{told:?}");
        assert_eq!(file.iosb(), Iosb::Is(NtStatus::SUCCESS, 4));
    }
}

#[test]
fn flt_v_15_a_draining_post_must_say_finished() {
    let world = filtered();
    let log = Log2::default();
    let findings = world.findings();
    let posts = Arc::new(AtomicU32::new(0));
    let count = posts.clone();
    let more = Teller {
        post: Box::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            PostOp::MoreProcessing
        }),
        ..Teller::new("More", "200000", &log)
    };
    let filter = register_native(&world.kernel, Arc::new(more)).expect("registered");
    let held = holding(&world, "Delay", "100000", &log);
    let file = world.async_file("v15");
    assert_eq!(file.write(b"data", Some(0)).returned, NtStatus::PENDING);
    assert_eq!(detach(&world, &filter), NtStatus::SUCCESS);
    assert_eq!((findings.take("FLT-V-15").len(), posts.load(Ordering::SeqCst)), (1, 1));
    complete_pended_pre(held.lock().remove(0), PreOp::NoCallback);
    assert_eq!(file.iosb(), Iosb::Is(NtStatus::SUCCESS, 4));
}

#[test]
fn flt_o_17_more_processing_is_no_answer_for_fast_io_or_a_draining_post() {
    let world = filtered();
    let log = Log2::default();
    let findings = world.findings();
    let fast_only: Post = Box::new(|data| if data.is_fast_io() { PostOp::MoreProcessing } else { PostOp::Finished });
    let more = Teller { post: fast_only, ..Teller::new("More", "200000", &log) };
    register_native(&world.kernel, Arc::new(more)).expect("registered");
    let file = world.sync_file("o17");
    assert_eq!(file.write(b"first", None), success(5));
    assert_eq!(findings.take("FLT-O-17").len(), 0);
    assert_eq!(file.write(b"fast", None), success(4), "treated as FINISHED");
    assert_eq!(findings.take("FLT-O-17").len(), 1);
}

#[test]
fn flt_o_16_a_held_completion_stops_until_it_is_resumed() {
    let world = filtered();
    let log = Log2::default();
    register_native(&world.kernel, Arc::new(Teller::new("Above", "300000", &log))).expect("registered");
    let held = Arc::new(Mutex::new(Vec::new()));
    let store = held.clone();
    let holds = Teller {
        post: Box::new(move |data| {
            store.lock().push(data);
            PostOp::MoreProcessing
        }),
        ..Teller::new("Holds", "200000", &log)
    };
    register_native(&world.kernel, Arc::new(holds)).expect("registered");
    take(&log);
    let file = world.async_file("o16");
    assert_eq!(file.write(b"data", Some(0)), Done { returned: NtStatus::PENDING, iosb: Iosb::Untouched });
    let done = "post 0xc0 STATUS_SUCCESS (0x00000000)".to_owned();
    assert_eq!(take(&log), ["Above pre", "Holds pre", &format!("Holds {done}")]);
    let data = held.lock().remove(0);
    data.set_status(IoStatus::new(NtStatus::SUCCESS, 4));
    complete_pended_post(data);
    assert_eq!(take(&log), [format!("Above {done}")]);
    assert_eq!(file.iosb(), Iosb::Is(NtStatus::SUCCESS, 4));
}

#[test]
fn flt_r_13_an_unload_may_be_refused_unless_it_is_mandatory() {
    let world = filtered();
    let log = Log2::default();
    let manager = FltMgr::of(&world.kernel).expect("room");
    let refuses = Teller { unload: NtStatus::FLT_DO_NOT_DETACH, ..Teller::new("B", "200000", &log) };
    let filter = register_native(&world.kernel, Arc::new(refuses)).expect("registered");
    take(&log);
    let unload = |filter| manager.unload(filter).map_or_else(NtStatus::from, |()| NtStatus::SUCCESS);
    assert_eq!((unload(&filter), take(&log)), (NtStatus::FLT_DO_NOT_DETACH, vec!["B unload false".to_owned()]));
    world.sync_file("r13").write(b"x", None);
    assert_eq!(take(&log).len(), 2, "it stays loaded and sees writes");
    let agrees = register_native(&world.kernel, Arc::new(Teller::new("C", "210000", &log))).expect("registered");
    take(&log);
    assert_eq!(unload(&agrees), NtStatus::SUCCESS);
    assert_eq!(take(&log), ["C unload false", "C start 2", "C complete 2"]);
}
