//! Filters between a query and the fast routines of a volume: nt-fs.md section 13, fltmgr.md section 4.
mod support;

use nt_abi::NtStatus;
use nt_abi::flt::*;
use nt_abi::io::{IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_QUERY_INFORMATION};
use nt_cell::Addr;
use nt_cell::arena::UserBlock;
use nt_fltmgr::{CallbackData, PostOp, PreOp};
use nt_io::byname::{Named, nt_query_full_attributes_file, nt_query_information_by_name};
use nt_io::info::class;
use nt_io::irp::IoStatus;
use nt_ke::{Mutex, WindowsVersion};
use nt_ob::Handle;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use support::*;

const OK: NtStatus = NtStatus::SUCCESS;
const REFUSED: NtStatus = NtStatus::FLT_DISALLOW_FAST_IO;
const TIME: i64 = 0x01D0_0000_DEAD_BEEF;
/// A name that is opened to be queried.
const OPENED: [u8; 4] = [IRP_MJ_CREATE, IRP_MJ_QUERY_INFORMATION, IRP_MJ_CLEANUP, IRP_MJ_CLOSE];

/// What the filter below does with a fast query.
const PASS: u8 = 0;
const REFUSE: u8 = 1;
const WITHDRAW: u8 = 2;
const ANSWER: u8 = 3;
const WRONG: u8 = 4;

struct Scene {
    world: World,
    mode: Arc<AtomicU8>,
    /// What the filter above saw at the end: {major, kind, status}.
    above: Arc<Mutex<Vec<(u8, u32, NtStatus)>>>,
    below: Watching,
}

fn kind(data: CallbackData) -> u32 {
    data.flags() & 7
}

fn answer(data: CallbackData) -> PreOp {
    let iopb = data.iopb();
    let (buffer, length, at) = match data.major() {
        IRP_MJ_NETWORK_QUERY_OPEN => (FLT_IO_PARAMETER_BLOCK::NetworkQueryOpen_NetworkInformation, 56, 0),
        IRP_MJ_QUERY_OPEN => (FLT_IO_PARAMETER_BLOCK::QueryOpen_FileInformation, 72, 8),
        _ => (FLT_IO_PARAMETER_BLOCK::QueryFileInformation_InfoBuffer, 40, 0),
    };
    iopb.region_at(buffer, length).store::<i64>(at, TIME).expect("the caller's buffer");
    PreOp::Complete(IoStatus::new(OK, length as u64))
}

fn scene() -> Scene {
    scene_on(WindowsVersion::default())
}

fn scene_on(windows: WindowsVersion) -> Scene {
    let world = filtered_with(windows, None);
    let (mode, above) = (Arc::new(AtomicU8::new(PASS)), Arc::new(Mutex::new(Vec::new())));
    let majors = [&OPENED[..], &[IRP_MJ_NETWORK_QUERY_OPEN, IRP_MJ_QUERY_OPEN]].concat();
    let ends = above.clone();
    let _above = world.watch(Watch {
        post: Box::new(move |data| {
            ends.lock().push((data.major(), kind(data), data.status().status));
            PostOp::Finished
        }),
        ..Watch::new("Above", "300000", &majors)
    });
    let (pre, post) = (mode.clone(), mode.clone());
    let below = world.watch(Watch {
        pre: Box::new(move |data| match (pre.load(Ordering::Relaxed), kind(data)) {
            (_, FLTFL_CALLBACK_DATA_IRP_OPERATION) => PreOp::NoCallback,
            (REFUSE, FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION) => PreOp::DisallowFsFilterIo,
            (REFUSE, _) => PreOp::DisallowFastIo,
            (WRONG, FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION) => PreOp::DisallowFastIo,
            (WRONG, _) => PreOp::DisallowFsFilterIo,
            (ANSWER, _) => answer(data),
            _ => PreOp::WithCallback(0),
        }),
        post: Box::new(move |data| match (post.load(Ordering::Relaxed), data.major()) {
            (WITHDRAW, IRP_MJ_QUERY_OPEN) => PostOp::DisallowFsFilterIo,
            _ => PostOp::Finished,
        }),
        ..Watch::new("Below", "200000", &majors)
    });
    assert_eq!(world.sync_file("f").write(b"12345", Some(0)), success(5));
    Scene { world, mode, above, below }
}

impl Scene {
    fn mode(&self, mode: u8) {
        self.mode.store(mode, Ordering::Relaxed);
        self.forget();
    }
    fn forget(&self) {
        self.below.watch.pres();
        self.above.lock().clear();
    }
    fn ends(&self) -> Vec<(u8, u32, NtStatus)> {
        std::mem::take(&mut *self.above.lock())
    }
    /// NtQueryFullAttributesFile: the time of creation.
    fn network(&self) -> i64 {
        let block = UserBlock::new(56).expect("arena");
        let status = nt_query_full_attributes_file(&self.world.frame(), &named(), Addr::user(block.addr()));
        assert_eq!(status, OK);
        block.region().load::<i64>(0).expect("arena")
    }
    /// NtQueryInformationByName: the time of creation.
    fn stat(&self) -> i64 {
        let (block, iosb) = (UserBlock::new(72).expect("arena"), UserBlock::new(16).expect("arena"));
        let (buffer, iosb) = (Addr::user(block.addr()), Addr::user(iosb.addr()));
        assert_eq!(nt_query_information_by_name(&self.world.frame(), &named(), iosb, buffer, 72, class::STAT), OK);
        block.region().load::<i64>(8).expect("arena")
    }
}

fn named() -> Named {
    Named { root: Handle::NULL, name: "\\??\\C:\\f".encode_utf16().collect(), attributes: 0x40 }
}

fn created(file: &File<'_>) -> i64 {
    i64::from_le_bytes(*file.query(class::BASIC, 40).first_chunk().expect("a time"))
}

const FAST: u32 = FLTFL_CALLBACK_DATA_FAST_IO_OPERATION;
const FS_FILTER: u32 = FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION;
const PACKET: u32 = FLTFL_CALLBACK_DATA_IRP_OPERATION;

#[test]
fn nt_qry_25_filters_see_the_fast_query_refuse_it_or_answer_it() {
    let scene = scene();
    let file = scene.world.sync_file("f");
    scene.mode(PASS);
    let time = created(&file);
    assert_eq!(scene.ends(), [(IRP_MJ_QUERY_INFORMATION, FAST, OK)]);
    scene.mode(REFUSE);
    assert_eq!(created(&file), time, "the caller sees nothing of it");
    let refused = [(IRP_MJ_QUERY_INFORMATION, FAST, REFUSED), (IRP_MJ_QUERY_INFORMATION, PACKET, OK)];
    assert_eq!(scene.ends(), refused);
    scene.mode(ANSWER);
    assert_eq!(created(&file), TIME);
    assert_eq!(scene.ends(), [(IRP_MJ_QUERY_INFORMATION, FAST, OK)]);
    assert_eq!(scene.below.watch.pres(), [IRP_MJ_QUERY_INFORMATION]);
}

#[test]
fn nt_qry_25_filters_see_the_query_of_a_name_as_network_query_open() {
    let scene = scene();
    let time = created(&scene.world.sync_file("f"));
    scene.mode(PASS);
    assert_eq!(scene.network(), time);
    assert_eq!(scene.ends(), [(IRP_MJ_NETWORK_QUERY_OPEN, FAST, OK)]);
    scene.mode(REFUSE);
    assert_eq!(scene.network(), time);
    assert_eq!(scene.ends()[0], (IRP_MJ_NETWORK_QUERY_OPEN, FAST, REFUSED));
    assert_eq!(scene.below.watch.pres(), [&[IRP_MJ_NETWORK_QUERY_OPEN], &OPENED[..]].concat());
    scene.mode(ANSWER);
    assert_eq!(scene.network(), TIME);
    assert_eq!(scene.below.watch.pres(), [IRP_MJ_NETWORK_QUERY_OPEN]);
}

#[test]
fn nt_qry_28_filters_see_the_query_by_name_as_query_open_and_force_an_open() {
    let scene = scene();
    let time = created(&scene.world.sync_file("f"));
    scene.mode(PASS);
    assert_eq!(scene.stat(), time);
    assert_eq!(scene.ends(), [(IRP_MJ_QUERY_OPEN, FS_FILTER, OK)]);
    scene.mode(REFUSE);
    assert_eq!(scene.stat(), time);
    assert_eq!(scene.ends()[0], (IRP_MJ_QUERY_OPEN, FS_FILTER, REFUSED));
    assert_eq!(scene.below.watch.pres(), [&[IRP_MJ_QUERY_OPEN], &OPENED[..]].concat());
    scene.mode(WITHDRAW);
    assert_eq!(scene.stat(), time);
    assert_eq!(scene.ends()[0], (IRP_MJ_QUERY_OPEN, FS_FILTER, REFUSED), "the filter's own post refused it");
    assert_eq!(scene.below.watch.pres(), [&[IRP_MJ_QUERY_OPEN], &OPENED[..]].concat());
    scene.mode(ANSWER);
    assert_eq!(scene.stat(), TIME);
    assert_eq!(scene.below.watch.pres(), [IRP_MJ_QUERY_OPEN]);
}

#[test]
fn nt_qry_28_before_windows_10_a_query_by_name_is_an_open() {
    let scene = scene_on(WindowsVersion::Win8);
    let time = created(&scene.world.sync_file("f"));
    scene.mode(PASS);
    assert_eq!(scene.stat(), time);
    assert_eq!(scene.below.watch.pres(), OPENED);
    assert_eq!(scene.network(), time);
    assert_eq!(scene.below.watch.pres(), [IRP_MJ_NETWORK_QUERY_OPEN]);
}

#[test]
fn flt_o_09_each_refusal_is_for_its_own_kind_of_operation() {
    let scene = scene();
    let findings = scene.world.findings();
    let file = scene.world.sync_file("f");
    scene.mode(WRONG);
    let _time = created(&file);
    let told = findings.take("FLT-O-09");
    assert!(told.len() == 1 && told[0].contains("DISALLOW_FSFILTER_IO"), "{told:?}");
    assert_eq!(scene.ends(), [(IRP_MJ_QUERY_INFORMATION, FAST, OK)], "it went on");
    let _time = scene.stat();
    let told = findings.take("FLT-O-09");
    assert!(told.len() == 1 && told[0].contains("DISALLOW_FASTIO"), "{told:?}");
    assert_eq!(scene.ends(), [(IRP_MJ_QUERY_OPEN, FS_FILTER, OK)], "it went on");
    scene.world.system().observe(None);
}
