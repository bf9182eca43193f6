//! Manual attachment and names by the rules of fltmgr.md section 7.
mod support;

use nt_abi::NtStatus;
use nt_fltmgr::{CallbackData, FltMgr, MiniFilter, PreOp, register_native};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::filtered;

#[derive(Default)]
struct Counter {
    writes: AtomicU32,
    may_leave: bool,
}

impl MiniFilter for Counter {
    fn name(&self) -> &str {
        "counter"
    }
    fn altitude(&self) -> &str {
        "200000"
    }
    fn operations(&self) -> Vec<(u8, u32)> {
        vec![(nt_abi::io::IRP_MJ_WRITE, 0)]
    }
    fn pre_operation(&self, _data: CallbackData) -> PreOp {
        self.writes.fetch_add(1, Ordering::SeqCst);
        PreOp::NoCallback
    }
    fn query_teardown(&self) -> NtStatus {
        if self.may_leave { NtStatus::SUCCESS } else { NtStatus::FLT_DO_NOT_DETACH }
    }
}

#[test]
fn flt_i_07_a_second_instance_needs_its_own_name_and_altitude() {
    let world = filtered();
    let manager = FltMgr::of(&world.kernel).expect("room");
    let counter = Arc::new(Counter::default());
    let filter = register_native(&world.kernel, counter.clone()).expect("registered");
    let volume = manager.volumes().remove(0);
    let attach = |name, altitude| {
        let made = manager.attach_manually(&world.kernel, &filter, &volume, name, altitude);
        made.map(|_| ()).map_err(NtStatus::from)
    };
    assert_eq!(attach(None, Some("1")), Err(NtStatus::FLT_INSTANCE_NAME_COLLISION));
    assert_eq!(attach(Some("x"), None), Err(NtStatus::OBJECT_NAME_COLLISION), "FltAttachVolume names it so: FLT-I-06");
    assert_eq!(attach(Some("x"), Some("0200000.0")), Err(NtStatus::FLT_INSTANCE_ALTITUDE_COLLISION));
    assert_eq!(attach(Some("x"), Some("1.2.3")), Err(NtStatus::INVALID_PARAMETER));
    assert_eq!(attach(Some("x"), Some("200000.5")), Ok(()));
    world.sync_file("i07").write(b"abcd", None);
    assert_eq!(counter.writes.load(Ordering::SeqCst), 2, "both instances saw the write");
}

#[test]
fn flt_i_08_detaching_asks_the_filter_and_says_what_is_not_there() {
    for may_leave in [false, true] {
        let world = filtered();
        let manager = FltMgr::of(&world.kernel).expect("room");
        let counter = Arc::new(Counter { may_leave, ..Counter::default() });
        let filter = register_native(&world.kernel, counter.clone()).expect("registered");
        let volume = manager.volumes().remove(0);
        let detach = |name| manager.detach_manually(&filter, &volume, name).map_err(NtStatus::from);
        assert_eq!(detach(Some("nobody")), Err(NtStatus::FLT_INSTANCE_NOT_FOUND));
        assert_eq!(detach(None), if may_leave { Ok(()) } else { Err(NtStatus::FLT_DO_NOT_DETACH) });
        world.sync_file("i08").write(b"abcd", None);
        assert_eq!(counter.writes.load(Ordering::SeqCst), u32::from(!may_leave));
        if may_leave {
            assert_eq!(detach(None), Err(NtStatus::FLT_INSTANCE_NOT_FOUND));
        }
    }
}

#[test]
fn flt_i_13_volumes_are_found_by_name() {
    let world = filtered();
    let manager = FltMgr::of(&world.kernel).expect("room");
    let there = manager.volumes().remove(0);
    let found = manager.volume_named(&there.name().to_uppercase()).expect("found");
    assert!(Arc::ptr_eq(&found, &there));
    let missing = manager.volume_named("\\Device\\Nowhere").map(|_| ()).map_err(NtStatus::from);
    assert_eq!(missing, Err(NtStatus::FLT_VOLUME_NOT_FOUND));
}
