//! Extra create parameters: a caller's, those that filters add on the way, and whose they are at the end.
mod support;

use nt_abi::io::*;
use nt_abi::ke::LOOKASIDE_LIST_EX;
use nt_abi::{GUID, NtStatus};
use nt_cell::{CodePtr, Foreign, Region};
use nt_ex::pool::{self, PoolKind};
use nt_fltmgr::{CallbackData, PostOp, PreOp, calls, ecp as flt};
use nt_io::create::{self, CreateSpec};
use nt_io::ecp::{self, Context, EcpList, Found, Spec};
use nt_ke::Mutex;
use std::cell::RefCell;
use std::sync::Arc;
use support::reparse::*;
use support::*;

const FIRST: GUID = GUID::parse("d1f7a1c0-0001-4e2a-9f3b-5a6b7c8d9e0f");
const SECOND: GUID = GUID::parse("d1f7a1c0-0002-4e2a-9f3b-5a6b7c8d9e0f");
const TAG: u32 = pool::tag(b"tEcp");
const OPENS: &[u8] = &[IRP_MJ_CREATE];

thread_local! {
    /// What the cleanup callback got: the first byte of the context, the type's address behind its header.
    static CLEANED: RefCell<Vec<(u8, GUID)>> = const { RefCell::new(Vec::new()) };
}

extern "win64" fn cleanup(context: u64, of: u64) {
    let bytes = |address: u64, length| Region::pool(Foreign::of_table(address), length).to_vec().expect("an ECP");
    let of = GUID::from_bytes(bytes(of, 16).try_into().expect("sixteen"));
    CLEANED.with_borrow_mut(|all| all.push((bytes(context, 1)[0], of)));
}

fn cleaned() -> Vec<(u8, GUID)> {
    CLEANED.with_borrow_mut(std::mem::take)
}

fn spec(of: GUID, size: u32) -> Spec {
    let routine: extern "win64" fn(u64, u64) = cleanup;
    Spec { of, size, kind: PoolKind::Paged, tag: TAG, cleanup: Some(CodePtr::from(routine)) }
}

/// A context of sixteen bytes that begins with `mark`.
fn ecp(of: GUID, mark: u8) -> Context {
    let context = ecp::allocate(&spec(of, 16), None).expect("memory");
    Region::pool(context, 1).write_from(&[mark]).expect("an ECP");
    context
}

fn list(ecps: &[(GUID, u8)]) -> EcpList {
    let list = ecp::allocate_list().expect("memory");
    for (of, mark) in ecps {
        assert_eq!(ecp::insert(list, ecp(*of, *mark)), NtStatus::SUCCESS);
    }
    list
}

fn mark(found: Found) -> u8 {
    Region::pool(found.context, 1).to_vec().expect("an ECP")[0]
}

/// {type, mark, acknowledged} of all that a list holds, in its order.
fn all(list: EcpList) -> Vec<(GUID, u8, bool)> {
    std::iter::successors(ecp::next(list, None), |each| ecp::next(list, Some(each.context)))
        .map(|each| (each.of, mark(each), ecp::is_acknowledged(each.context)))
        .collect()
}

type Log = Arc<Mutex<Vec<Vec<(GUID, u8, bool)>>>>;

/// A filter that notes what each create carries, acknowledges one of this type, and adds what it is to add.
fn seeing(
    world: &World,
    name: &'static str,
    altitude: &'static str,
    acknowledges: Option<GUID>,
    adds: Option<(GUID, u8)>,
) -> (Watching, Log) {
    let log = Log::default();
    let seen = Arc::clone(&log);
    let pre = move |data: CallbackData| {
        let there = flt::list_of(data.data()).expect("a create");
        seen.lock().push(there.map(all).unwrap_or_default());
        if let Some(found) = there.zip(acknowledges).and_then(|(list, of)| ecp::find(list, of)) {
            ecp::acknowledge(found.context);
        }
        if let Some((of, mark)) = adds {
            match there {
                Some(list) if ecp::find(list, of).is_some() => {} // a restart: it is there already
                Some(list) => assert_eq!(ecp::insert(list, ecp(of, mark)), NtStatus::SUCCESS),
                None => {
                    let own = list(&[(of, mark)]);
                    assert_eq!(flt::attach(data.data(), own), NtStatus::SUCCESS);
                    assert_eq!(flt::attach(data.data(), own), NtStatus::INVALID_PARAMETER_3);
                }
            }
        }
        PreOp::WithCallback(0)
    };
    let after = Arc::clone(&log);
    let post = move |data: CallbackData| {
        let there = flt::list_of(data.data()).expect("a create");
        after.lock().push(there.map(all).unwrap_or_default());
        PostOp::Finished
    };
    let watch = Watch { pre: Box::new(pre), post: Box::new(post), ..Watch::new(name, altitude, OPENS) };
    (world.watch(watch), log)
}

fn taken(log: &Log) -> Vec<Vec<(GUID, u8, bool)>> {
    std::mem::take(&mut *log.lock())
}

fn create(world: &World, name: &str, ecps: Option<EcpList>) -> Result<u64, NtStatus> {
    let spec = CreateSpec { ecps, ..own_create(world, name, SYNC) };
    let (handle, result) = create::nt_create_file(&world.frame(), &spec).map_err(NtStatus::from)?;
    drop(world.adopt(handle));
    Ok(result.information)
}

/// Blocks of ours that nobody freed.
fn left_over(world: &World) -> usize {
    let outstanding = pool::outstanding(world.kernel.id());
    let ours = [TAG, ecp::TAG, pool::tag(b"EcpL")];
    outstanding.iter().filter(|(tag, ..)| ours.contains(tag)).map(|(_, count, _)| *count).sum()
}

#[test]
fn nt_ecp_01_contexts_come_from_the_pool_or_a_lookaside_list() {
    let world = filtered();
    let _frame = world.frame();
    let fresh = ecp::allocate_list().expect("memory");
    assert_eq!(ecp::next(fresh, None), None);
    let context = ecp::allocate(&spec(FIRST, 40), None).expect("memory");
    assert_eq!(Region::pool(context, 40).to_vec(), Ok(vec![0; 40]));
    assert!(!ecp::is_acknowledged(context) && ecp::find(fresh, FIRST).is_none());
    ecp::free(context);
    ecp::free_list(fresh);
    {
        let _starved = pool::starve(TAG);
        assert_eq!(ecp::allocate(&spec(FIRST, 40), None), None);
    }
    let lookaside = pool::zeroed::<LOOKASIDE_LIST_EX>(pool::tag(b"tLoo")).expect("memory");
    ecp::initialize_lookaside(lookaside, true, 40, ecp::TAG);
    let first = ecp::allocate(&spec(FIRST, 40), Some(lookaside)).expect("memory");
    Region::pool(first, 40).fill(0xEE).expect("an ECP");
    ecp::free(first);
    let again = ecp::allocate(&spec(SECOND, 8), Some(lookaside)).expect("memory");
    assert_eq!(again, first, "the list kept it");
    assert_eq!(Region::pool(again, 8).to_vec(), Ok(vec![0; 8]));
    let larger = ecp::allocate(&spec(FIRST, 41), Some(lookaside)).expect("memory");
    assert_eq!(Region::pool(larger, 41).to_vec(), Ok(vec![0; 41]));
    ecp::free(larger);
    let counts = || (lookaside.get(LOOKASIDE_LIST_EX::TotalAllocates), lookaside.get(LOOKASIDE_LIST_EX::TotalFrees));
    assert_eq!(counts(), (2, 1), "that one was of the pool");
    ecp::free(again);
    nt_ex::lists::exports::delete(lookaside);
    pool::free(lookaside);
    assert_eq!(left_over(&world), 0);
}

#[test]
fn nt_ecp_02_a_list_holds_one_of_a_type_and_gives_them_in_order() {
    let world = filtered();
    let _frame = world.frame();
    let own = list(&[(FIRST, 1), (SECOND, 2)]);
    let twin = ecp(FIRST, 3);
    assert_eq!(ecp::insert(own, twin), NtStatus::INVALID_PARAMETER);
    assert_eq!(all(own), [(FIRST, 1, false), (SECOND, 2, false)]);
    let found = ecp::find(own, SECOND).expect("there");
    assert_eq!((found.of, found.size, mark(found)), (SECOND, 16, 2));
    assert_eq!(ecp::next(own, Some(found.context)), None, "the last one");
    assert_eq!(ecp::remove(own, FIRST).map(mark), Some(1));
    assert_eq!((ecp::remove(own, FIRST), ecp::find(own, FIRST)), (None, None));
    assert_eq!(cleaned(), [], "removed, not freed");
    assert_eq!(ecp::insert(own, twin), NtStatus::SUCCESS);
    assert_eq!(all(own), [(SECOND, 2, false), (FIRST, 3, false)]);
    ecp::free_list(own);
    assert_eq!(cleaned(), [(2, SECOND), (3, FIRST)]);
}

#[test]
fn nt_ecp_03_a_mark_that_a_filter_sets_is_seen_by_the_caller() {
    let world = filtered();
    let frame = world.frame();
    let (_below, log) = seeing(&world, "Below", "100000", Some(SECOND), None);
    let own = list(&[(FIRST, 1), (SECOND, 2)]);
    for _ in 0..2 {
        create(&world, "f", Some(own)).expect("made");
        assert_eq!(all(own), [(FIRST, 1, false), (SECOND, 2, true)]);
        assert_eq!(taken(&log)[0], [(FIRST, 1, false), (SECOND, 2, false)]);
        ecp::prepare_to_reuse(ecp::find(own, SECOND).expect("there").context);
        assert_eq!(all(own), [(FIRST, 1, false), (SECOND, 2, false)]);
    }
    ecp::free_list(own);
    drop(frame);
}

#[test]
fn nt_ecp_04_a_callers_list_goes_with_each_create_and_comes_back_as_it_was() {
    let world = filtered();
    world.folder("d");
    world.put("d\\f", b"x");
    world.directory_link("junction", &mount_data("\\??\\C:\\d"));
    let (_above, above) = seeing(&world, "Above", "300000", None, None);
    let (_adds, _) = seeing(&world, "Adds", "200000", None, Some((SECOND, 2)));
    let (_below, below) = seeing(&world, "Below", "100000", None, None);
    let own = list(&[(FIRST, 1)]);
    let (callers, both) = (vec![(FIRST, 1, false)], vec![(FIRST, 1, false), (SECOND, 2, false)]);
    for round in 0..2 {
        assert_eq!(create(&world, "junction\\f", Some(own)), Ok(u64::from(FILE_OPENED)));
        // Two packets, before and after each.
        assert_eq!(taken(&above), [&callers[..], &both, &both, &both], "round {round}");
        assert_eq!(taken(&below), [&both[..], &both, &both, &both]);
        assert_eq!(all(own), callers, "what was added is gone");
        assert_eq!(cleaned(), [(2, SECOND)]);
        assert_eq!(create(&world, "none\\f", Some(own)), Err(NtStatus::OBJECT_PATH_NOT_FOUND));
        assert_eq!((all(own), cleaned()), (callers.clone(), vec![(2, SECOND)]), "also when it fails");
        assert_eq!((taken(&above).len(), taken(&below).len()), (2, 2));
    }
    ecp::free_list(own);
    assert_eq!((cleaned(), left_over(&world)), (vec![(1, FIRST)], 0));
}

#[test]
fn nt_ecp_05_what_a_filter_attaches_is_seen_below_and_goes_with_the_create() {
    let world = filtered();
    world.folder("d");
    world.put("d\\f", b"x");
    world.directory_link("junction", &mount_data("\\??\\C:\\d"));
    let (_above, above) = seeing(&world, "Above", "300000", None, None);
    let (_adds, _) = seeing(&world, "Adds", "200000", None, Some((SECOND, 2)));
    let (_below, below) = seeing(&world, "Below", "100000", Some(SECOND), None);
    let (none, there, marked): (Vec<(GUID, u8, bool)>, _, _) =
        (vec![], vec![(SECOND, 2, false)], vec![(SECOND, 2, true)]);
    assert_eq!(create(&world, "junction\\f", None), Ok(u64::from(FILE_OPENED)));
    assert_eq!(taken(&above), [&none[..], &marked, &marked, &marked], "the restart finds it");
    assert_eq!(taken(&below), [&there[..], &marked, &marked, &marked]);
    assert_eq!((cleaned(), left_over(&world)), (vec![(2, SECOND)], 0));
    assert_eq!(create(&world, "none\\f", None), Err(NtStatus::OBJECT_PATH_NOT_FOUND));
    assert_eq!((cleaned(), left_over(&world)), (vec![(2, SECOND)], 0));
}

#[test]
fn nt_ecp_05_only_creates_have_lists_and_a_drivers_own_packet_leaves_its_list_alone() {
    let world = filtered();
    let _frame = world.frame();
    let own = list(&[(FIRST, 1)]);
    for (major, is_create) in [(IRP_MJ_CREATE, true), (IRP_MJ_WRITE, false)] {
        let packet = nt_io::irp::allocate(2).expect("memory");
        nt_io::irp::next(packet).set(IO_STACK_LOCATION::MajorFunction, major);
        nt_io::irp::advance(packet, -1);
        let before = if is_create { Ok(None) } else { Err(NtStatus::INVALID_PARAMETER) };
        assert_eq!(ecp::of_packet(packet).map_err(NtStatus::from), before);
        let status = if is_create { NtStatus::SUCCESS } else { NtStatus::INVALID_PARAMETER_2 };
        assert_eq!(ecp::attach(packet, own), status);
        if is_create {
            assert_eq!(ecp::of_packet(packet).map_err(NtStatus::from), Ok(Some(own)));
            assert_eq!(ecp::attach(packet, own), NtStatus::INVALID_PARAMETER_3);
        }
        nt_io::irp::release(packet);
    }
    assert_eq!((all(own), cleaned()), (vec![(FIRST, 1, false)], vec![]));
    ecp::free_list(own);
    assert_eq!(left_over(&world), 0);
}

#[test]
fn nt_ecp_06_the_cleanup_callback_runs_once_wherever_the_context_goes() {
    let world = filtered();
    let _frame = world.frame();
    ecp::free(ecp(FIRST, 1));
    assert_eq!(cleaned(), [(1, FIRST)]);
    let own = list(&[(FIRST, 2), (SECOND, 3)]);
    let removed = ecp::remove(own, FIRST).expect("there");
    ecp::free(removed.context);
    assert_eq!(cleaned(), [(2, FIRST)]);
    ecp::free_list(own);
    assert_eq!(cleaned(), [(3, SECOND)]);
    let lookaside = pool::zeroed::<LOOKASIDE_LIST_EX>(pool::tag(b"tLoo")).expect("memory");
    ecp::initialize_lookaside(lookaside, false, 16, ecp::TAG);
    let context = ecp::allocate(&spec(SECOND, 16), Some(lookaside)).expect("memory");
    ecp::free(context);
    assert_eq!(cleaned(), [(0, SECOND)]);
    nt_ex::lists::exports::delete(lookaside);
    pool::free(lookaside);
    let silent = ecp::allocate(&Spec { cleanup: None, ..spec(FIRST, 16) }, None).expect("memory");
    ecp::free(silent);
    let (_adds, _) = seeing(&world, "Adds", "200000", None, Some((FIRST, 4)));
    create(&world, "f", None).expect("made");
    assert_eq!((cleaned(), left_over(&world)), (vec![(4, FIRST)], 0));
}

#[test]
fn nt_ecp_08_who_frees_what_is_not_free_to_go_is_found() {
    let world = filtered();
    let findings = world.findings();
    let frame = world.frame();
    let told = |what: &str| {
        let all = findings.take("NT-ECP-08");
        assert!(all.len() == 1 && all[0].contains(what), "{what}: {all:?}");
    };
    let own = list(&[(FIRST, 1)]);
    ecp::free(ecp::find(own, FIRST).expect("there").context);
    told("0x10C FSRTL_EXTRA_CREATE_PARAMETER_VIOLATION, 0x6");
    assert_eq!((all(own), cleaned()), (vec![(FIRST, 1, false)], vec![]), "it stays");
    ecp::free_list(own);
    ecp::free_list(own);
    told("0x11");
    assert_eq!(cleaned(), [(1, FIRST)]);
    let context = ecp(FIRST, 2);
    ecp::free(context);
    ecp::free(context);
    told("0x1:");
    assert_eq!(cleaned(), [(2, FIRST)]);
    let empty = list(&[]);
    assert_eq!(create(&world, "f", Some(empty)), Ok(u64::from(FILE_CREATED)));
    told("0x15");
    ecp::free_list(empty);
    // A filter frees the list of a create that it did not begin: the create keeps it to its end.
    let frees = Watch {
        pre: Box::new(|data| {
            if let Ok(Some(list)) = flt::list_of(data.data()) {
                ecp::free_list(list);
            }
            PreOp::WithCallback(0)
        }),
        ..Watch::new("Frees", "200000", OPENS)
    };
    let _frees = world.watch(frees);
    let (_below, below) = seeing(&world, "Below", "100000", None, None);
    let own = list(&[(FIRST, 3)]);
    assert_eq!(create(&world, "f", Some(own)), Ok(u64::from(FILE_OPENED)));
    told("a create on its way");
    assert_eq!(taken(&below)[0], [(FIRST, 3, false)]);
    assert_eq!((all(own), cleaned()), (vec![(FIRST, 3, false)], vec![]));
    ecp::free_list(own);
    assert_eq!((findings.take("NT-ECP-08"), left_over(&world)), (vec![], 0));
    drop(frame);
}

#[test]
fn flt_g_16_a_create_below_an_instance_takes_a_list_along() {
    let world = filtered();
    let (_above, above) = seeing(&world, "Above", "300000", None, None);
    let own = world.watch(Watch::new("Own", "200000", OPENS));
    let (_below, below) = seeing(&world, "Below", "100000", Some(FIRST), None);
    let frame = world.frame();
    let given = list(&[(FIRST, 1)]);
    let spec = CreateSpec { ecps: Some(given), ..own_create(&world, "f", SYNC) };
    drop(calls::create(&frame, Some(&own.instance), &spec).expect("made"));
    assert_eq!((taken(&above), own.watch.pres()), (vec![], vec![]));
    assert_eq!(taken(&below), [[(FIRST, 1, false)], [(FIRST, 1, true)]]);
    assert_eq!(all(given), [(FIRST, 1, true)]);
    ecp::free_list(given);
    // Fast I/O and other operations have no list to get or to set.
    let statuses = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&statuses);
    let asks = Watch {
        pre: Box::new(move |data| {
            let extra = ecp::allocate_list().expect("memory");
            let got = flt::list_of(data.data()).map(drop).map_err(NtStatus::from);
            seen.lock().push((got, flt::attach(data.data(), extra)));
            ecp::free_list(extra);
            PreOp::NoCallback
        }),
        ..Watch::new("Asks", "150000", &[IRP_MJ_WRITE])
    };
    let _asks = world.watch(asks);
    let file = world.sync_file("f");
    file.write(b"x", Some(0));
    let refused = (Err(NtStatus::INVALID_PARAMETER), NtStatus::INVALID_PARAMETER_2);
    let statuses = statuses.lock();
    assert!(!statuses.is_empty() && statuses.iter().all(|each| *each == refused), "{statuses:?}");
}
