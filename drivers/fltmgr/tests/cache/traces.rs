//! The reference traces, event by event, under `behind` and under `through`.

use crate::scene::*;
use crate::support::*;
use nt_abi::NtStatus;
use nt_abi::io::*;
use nt_cc::Policy;
use nt_fltmgr::PreOp;
use nt_io::info::class;
use nt_io::irp::IoStatus;
use nt_io::system::AsyncPolicy;

#[test]
fn nt_ct_01_a_small_cached_write_then_a_flush() {
    let scene = Scene::new();
    let f1 = scene.open("F1", "ct01", 0);
    scene.events();
    assert_eq!(f1.write(b"12345", None), success(5));
    assert_eq!(scene.take(), ["U> WRITE F1 0+5 a00", "U< WRITE F1 5"]);
    let object = f1.object();
    let sections = scene.sections(&f1);
    assert!(object.addr_at(FILE_OBJECT::PrivateCacheMap) != 0 && nt_cc::map_of(sections).is_some());
    assert!(sections.addr_at(nt_abi::mm::SECTION_OBJECT_POINTERS::DataSectionObject) != 0);
    assert_eq!(scene.sizes(&f1), (5, 5));
    assert_eq!(f1.write(b"67890", None), success(5));
    assert_eq!((f1.position(), scene.sizes(&f1)), (10, (10, 10)));
    assert_eq!(scene.take(), ["U> FAST WRITE F1 5+5", "U< FAST WRITE F1 5"]);
    assert_eq!(scene.medium(&f1, 0, 10), [0; 10], "not there yet");
    assert_eq!(scene.flush(&f1), NtStatus::SUCCESS);
    let events = scene.tape.events.lock().clone();
    let sent = &events[3];
    assert!(sent.mdl.is_some() && !sent.from_user && sent.irql == 0);
    let nested = [
        "U> FLUSH F1",
        "U> FB F1",
        "U< FB F1",
        "U> WRITE F1 0+1000 43",
        "U< WRITE F1 a",
        "U> FA F1",
        "U< FA F1",
        "U< FLUSH F1",
    ];
    assert_eq!(scene.take(), nested);
    assert_eq!(scene.medium(&f1, 0, 10), b"1234567890");
    assert_eq!((scene.flush(&f1), scene.sizes(&f1)), (NtStatus::SUCCESS, (10, 10)));
    assert_eq!(scene.take(), ["U> FLUSH F1", "U< FLUSH F1"], "nothing is dirty");
}

#[test]
fn nt_ct_01_through_writes_before_each_call_returns() {
    let scene = Scene::with(Policy::Through);
    let f1 = scene.open("F1", "ct01t", 0);
    scene.events();
    f1.write(b"12345", None);
    let grown = ["S> WRITE F1 0+1000 43", "S< WRITE F1 5", "S> SETINFO F1", "S< SETINFO F1"];
    assert_eq!(scene.take(), [&["U> WRITE F1 0+5 a00", "U< WRITE F1 5"][..], &grown].concat());
    assert_eq!(scene.medium(&f1, 0, 5), b"12345");
    f1.write(b"67890", None);
    let grown = ["S> WRITE F1 0+1000 43", "S< WRITE F1 a", "S> SETINFO F1", "S< SETINFO F1"];
    assert_eq!(scene.take(), [&["U> FAST WRITE F1 5+5", "U< FAST WRITE F1 5"][..], &grown].concat());
    scene.flush(&f1);
    assert_eq!(scene.take(), ["U> FLUSH F1", "U< FLUSH F1"]);
}

#[test]
fn nt_ct_02_the_lazy_writer_instead_of_the_flush() {
    let scene = Scene::new();
    let f1 = scene.open("F1", "ct02", 0);
    f1.write(b"12345", None);
    f1.write(b"67890", None);
    scene.events();
    scene.round();
    let events = scene.tape.events.lock().clone();
    assert_eq!((events[0].top_level, events[0].process), (2, 4));
    assert_eq!(
        scene.take(),
        ["S> WRITE F1 0+1000 43", "S< WRITE F1 a", "S> SETINFO F1", "S< SETINFO F1"],
        "and no acquisition around it"
    );
    scene.round();
    assert_eq!(scene.take(), [""; 0]);
    let through = Scene::with(Policy::Through);
    let f1 = through.open("F1", "ct02", 0);
    f1.write(b"12345", None);
    through.events();
    through.round();
    assert_eq!(through.take(), [""; 0], "no later round");
}

#[test]
fn nt_ct_03_a_cached_append_past_the_end_with_a_gap() {
    let scene = Scene::new();
    let f1 = scene.open("F1", "ct03", 0);
    f1.write(&[1; 0x10], None);
    scene.forget(&f1);
    assert_eq!(f1.write(&[2; 0x10], Some(0x3000)), success(0x10));
    let events = scene.tape.events.lock().clone();
    let fault = events.iter().find(|event| event.major == IRP_MJ_READ).expect("page 0 is read");
    assert_eq!(fault.sizes, (0x3010, 0x10), "the end moves first, the valid data last");
    let sent = [
        "U> FAST WRITE F1 3000+10",
        "U< FAST WRITE F1 C01C0004",
        "U> WRITE F1 3000+10 a00",
        "U> READ F1 0+1000 43",
        "U< READ F1 1000",
        "U< WRITE F1 10",
    ];
    assert_eq!(scene.take(), sent);
    assert_eq!(scene.sizes(&f1), (0x3010, 0x3010));
    scene.round();
    let round = scene.take();
    assert_eq!(round[..2], ["S> WRITE F1 0+4000 43", "S< WRITE F1 3010"]);
    let medium = scene.medium(&f1, 0, 0x3010);
    assert_eq!((&medium[..0x10], &medium[0x3000..]), (&[1; 0x10][..], &[2; 0x10][..]));
    assert!(medium[0x10..0x3000].iter().all(|byte| *byte == 0));
    // An offset of -1 is seen as it was given; the file system resolves it.
    assert_eq!(f1.write(b"end", Some(-1)), success(3));
    assert_eq!(scene.take()[0], "U> FAST WRITE F1 -1+3".replace("-1", "ffffffffffffffff"));
}

#[test]
fn nt_ct_04_a_cached_write_through() {
    for policy in [Policy::Behind, Policy::Through] {
        let scene = Scene::with(policy);
        let f1 = scene.open("F1", "ct04", 2);
        scene.events();
        assert_eq!(f1.write(b"12345", Some(0)), success(5));
        let events = scene.tape.events.lock().clone();
        assert_eq!(events[0].stack_flags & SL_WRITE_THROUGH, SL_WRITE_THROUGH);
        let sent = events.iter().find(|event| event.irp_flags == 0x43).expect("a paging write");
        assert!(sent.top_level > 0xFFFF, "the write is the top-level packet");
        assert_eq!(sent.sizes, (5, 0), "the valid data follows");
        let nested = [
            "U> WRITE F1 0+5 a00",
            "U> FB F1",
            "U< FB F1",
            "U> WRITE F1 0+1000 43",
            "U< WRITE F1 5",
            "U> FA F1",
            "U< FA F1",
            "U< WRITE F1 5",
        ];
        assert_eq!(scene.take(), nested, "{policy:?}");
        assert_eq!((scene.sizes(&f1), scene.medium(&f1, 0, 5)), ((5, 5), b"12345".to_vec()));
        f1.write(b"54321", Some(0));
        let again: Vec<_> = scene.take().into_iter().filter(|line| !line.contains("FAST")).collect();
        assert_eq!(again, nested, "fast I/O is refused, the second time too");
        let other = scene.open("F2", "ct04b", 2);
        scene.fail_paging_writes(NtStatus::ACCESS_DENIED);
        assert_eq!(other.write(b"12345", Some(0)), refused(NtStatus::ACCESS_DENIED));
        assert_eq!(scene.sizes(&other), (0, 0));
        scene.off();
    }
}

#[test]
fn nt_ct_05_a_noncached_write_after_a_cached_one() {
    for policy in [Policy::Behind, Policy::Through] {
        let scene = Scene::with(policy);
        let f1 = scene.open("F1", "ct05", 0);
        let f2 = scene.open("F2", "ct05", NONCACHED);
        f1.write(&[1; 0x600], Some(0));
        scene.events();
        assert_eq!(f2.write(&[2; 0x200], Some(0x200)), success(0x200));
        let trace = scene.take();
        assert_eq!(
            (trace[0].as_str(), trace[trace.len() - 1].as_str()),
            ("U> WRITE F2 200+200 a01", "U< WRITE F2 200")
        );
        let nested = ["U> FB F1", "U< FB F1", "U> WRITE F1 0+1000 43", "U< WRITE F1 600", "U> FA F1", "U< FA F1"];
        let nested: &[&str] = if policy == Policy::Behind { &nested } else { &[] };
        assert_eq!(trace[1..trace.len() - 1], *nested, "{policy:?}");
        let (_, bytes) = f1.read(0x600, Some(0));
        assert_eq!(
            (&bytes[..0x200], &bytes[0x200..0x400], &bytes[0x400..]),
            (&[1; 0x200][..], &[2; 0x200][..], &[1; 0x200][..])
        );
        let trace = scene.take();
        assert!(trace.contains(&"U> READ F1 0+1000 43".to_owned()), "the page was purged: {trace:?}");
    }
}

#[test]
fn nt_ct_06_a_cached_and_a_noncached_handle() {
    let scene = Scene::new();
    let f1 = scene.open("F1", "ct06", 0);
    let f2 = scene.open("F2", "ct06", NONCACHED);
    f1.write(&[1; 0x200], Some(0));
    scene.round();
    scene.events();
    assert_eq!(f2.read(0x200, Some(0)).1, [1; 0x200]);
    assert_eq!(scene.take(), ["U> READ F2 0+200 901", "U< READ F2 200"], "nothing is dirty");
    f1.write(b"55555", Some(0));
    scene.events();
    assert_eq!(f2.read(0x200, Some(0)).1[..6], *b"55555\x01");
    let trace = scene.take();
    assert_eq!((trace[0].as_str(), trace[3].as_str()), ("U> READ F2 0+200 901", "U> WRITE F1 0+1000 43"));
    f1.read(5, Some(0));
    assert!(scene.take().iter().all(|line| !line.contains("READ F1 0+1000")), "the page stayed");
    f1.write(b"66666", Some(0));
    scene.events();
    drop(f1);
    let trace = scene.take();
    assert_eq!(trace[0], "U> CLEANUP F1");
    assert!(trace.contains(&"U> WRITE F1 0+1000 43".to_owned()), "{trace:?}");
    assert_eq!(trace[trace.len() - 2..], ["U> CLOSE F1", "U< CLOSE F1"]);
    assert_eq!(f2.read(0x200, Some(0)).1[..5], *b"66666");
    f2.write(&[3; 0x200], Some(0));
    let trace = scene.take();
    assert_eq!(trace, ["U> READ F2 0+200 901", "U< READ F2 200", "U> WRITE F2 0+200 a01", "U< WRITE F2 200"]);
}

#[test]
fn nt_ct_07_truncation_with_dirty_pages() {
    for policy in [Policy::Behind, Policy::Through] {
        let scene = Scene::with(policy);
        let f1 = scene.open("F1", "ct07", 0);
        f1.write(&[7; 0x5000], Some(0));
        scene.events();
        assert_eq!(f1.set(class::END_OF_FILE, &0x1800_i64.to_le_bytes()), NtStatus::SUCCESS);
        assert_eq!(scene.take(), ["U> SETINFO F1", "U< SETINFO F1"], "dropped, not written");
        assert_eq!(scene.sizes(&f1), (0x1800, 0x1800));
        scene.flush(&f1);
        let trace = scene.take();
        if policy == Policy::Behind {
            assert_eq!(trace[3..5], ["U> WRITE F1 0+2000 43", "U< WRITE F1 1800"]);
        } else {
            assert_eq!(trace, ["U> FLUSH F1", "U< FLUSH F1"], "zeroing the tail does not dirty the page");
        }
        f1.set(class::END_OF_FILE, &0x3000_i64.to_le_bytes());
        assert_eq!(scene.sizes(&f1), (0x3000, 0x1800));
        scene.events();
        assert_eq!(f1.read(0x1800, Some(0x1800)).1, [0; 0x1800]);
        assert!(scene.take().iter().all(|line| !line.contains(" 43")), "no page past the valid data is read");
    }
}

#[test]
fn nt_ct_09_delete_on_close_with_dirty_data() {
    let scene = Scene::new();
    let f1 = scene.open("F1", "ct09", 0x1000);
    f1.write(&[9; 0x5000], None);
    scene.events();
    drop(f1);
    assert_eq!(scene.take(), ["U> CLEANUP F1", "U< CLEANUP F1", "U> CLOSE F1", "U< CLOSE F1"]);
    assert_eq!(scene.world.try_open("ct09", READ_DATA, 0, 1).err(), Some(NtStatus::OBJECT_NAME_NOT_FOUND));
    let share = |options| {
        let spec = nt_io::create::CreateSpec {
            access: GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE | 0x1_0000,
            name: "\\??\\C:\\ct09b".encode_utf16().collect(),
            options: SYNC | options,
            disposition: 3,
            share: 7,
            ..nt_io::create::CreateSpec::default()
        };
        scene.world.adopt(nt_io::create::nt_create_file(&scene.world.frame(), &spec).expect("open").0)
    };
    let (first, second) = (share(0x1000), share(0));
    first.write(&[9; 0x1000], None);
    second.write(&[8; 0x1000], Some(0x1000));
    drop(first);
    scene.round();
    assert_eq!(scene.paging_writes().len(), 1, "paging writes may still pass");
    assert_eq!(scene.sizes(&second), (0x2000, 0x2000), "the first cleanup does not delete");
    second.write(&[7; 0x1000], Some(0));
    drop(second);
    assert_eq!(scene.paging_writes().len(), 0);
    assert_eq!(scene.world.try_open("ct09b", READ_DATA, 0, 1).err(), Some(NtStatus::OBJECT_NAME_NOT_FOUND));
}

#[test]
fn nt_ct_10_close_with_dirty_data_and_open_again() {
    let scene = Scene::new();
    let f1 = scene.open("F1", "ct10", 0);
    f1.write(b"12345", None);
    scene.events();
    drop(f1);
    assert_eq!(scene.take(), ["U> CLEANUP F1", "U< CLEANUP F1"], "no close yet");
    let f2 = scene.open("F2", "ct10", 0);
    assert_eq!(f2.write(b"67890", Some(5)), success(5));
    assert_eq!(scene.take(), ["U> CREATE F2", "U< CREATE F2", "U> WRITE F2 5+5 a00", "U< WRITE F2 5"]);
    scene.round();
    assert_eq!(scene.take()[..2], ["S> WRITE F1 0+1000 43", "S< WRITE F1 a"]);
    drop(f2);
    scene.round();
    let trace = scene.take();
    let close = |name: &str| trace.iter().position(|line| line.ends_with(&format!("> CLOSE {name}")));
    assert!(trace.contains(&"U> CLEANUP F2".to_owned()) && close("F2").is_some() && close("F1").is_some(), "{trace:?}");
    let through = Scene::with(Policy::Through);
    let f1 = through.open("F1", "ct10", 0);
    f1.write(b"12345", None);
    through.events();
    drop(f1);
    assert_eq!(through.take(), ["U> CLEANUP F1", "U< CLEANUP F1", "U> CLOSE F1", "U< CLOSE F1"]);
}

#[test]
fn nt_ct_11_a_paging_write_fails_and_nobody_waits() {
    let scene = Scene::new();
    let findings = scene.world.findings();
    let f1 = scene.open("F1", "ct11", 0);
    assert_eq!(f1.write(b"12345", None), success(5));
    scene.fail_paging_writes(NtStatus::DISK_FULL);
    scene.events();
    for round in 1..=3 {
        assert!(scene.manager().losses().is_empty(), "not before the third round: {round}");
        scene.round();
        assert_eq!(scene.take(), ["S> WRITE F1 0+1000 43", "S< WRITE F1 C000007F"]);
    }
    let losses = scene.manager().losses();
    assert_eq!((losses.len(), losses[0].status, losses[0].length), (1, NtStatus::DISK_FULL, 0x1000));
    let found = findings.take("NT-CC-79");
    assert!(found.len() == 1 && found[0].starts_with("lost delayed write"), "{found:?}");
    assert_eq!(scene.flush(&f1), NtStatus::SUCCESS, "the page is clean");
    scene.off();
    let through = Scene::with(Policy::Through);
    let f1 = through.open("F1", "ct11", 0);
    through.fail_paging_writes(NtStatus::DISK_FULL);
    assert_eq!(f1.write(b"12345", None).returned, NtStatus::DISK_FULL);
    assert_eq!(through.sizes(&f1).0, 5, "the end of file has moved");
    assert!(through.manager().losses().is_empty());
    through.off();
    assert_eq!(f1.write(b"6", Some(5)), success(1));
    assert_eq!(through.medium(&f1, 0, 6), b"123456", "tried again at the next write");
}

#[test]
fn nt_ct_12_a_throttled_write_of_an_asynchronous_handle() {
    let scene = Scene::new();
    let f1 = scene.world.async_file("ct12");
    scene.label("F1", &f1);
    scene.world.policy(AsyncPolicy::Inline);
    assert_eq!(f1.write(&[1; 0x2000], Some(0)), success(0x2000));
    scene.manager().set_dirty_limit(2);
    // The round that the refusal calls for cannot end before the caller has returned.
    let gate = std::sync::Arc::new(nt_ke::Mutex::new(()));
    let held = gate.lock();
    let wait = std::sync::Arc::clone(&gate);
    scene.on(move |event, _| {
        if event.irp_flags == 0x43 {
            drop(wait.lock());
        }
        None::<PreOp>
    });
    scene.tape.events.lock().clear();
    let buffer = nt_cell::arena::UserBlock::new(0x1000).expect("arena");
    buffer.region().fill(2).expect("arena");
    let done = f1.raw_write(nt_cell::Addr::user(buffer.addr()), 0x1000, Some(0x2000));
    assert_eq!((done.returned, done.iosb), (NtStatus::PENDING, Iosb::Untouched));
    drop(held);
    for _ in 0..50_000 {
        if f1.iosb() != Iosb::Untouched {
            break;
        }
        scene.sleep(2);
    }
    assert_eq!(f1.iosb(), Iosb::Is(NtStatus::SUCCESS, 0x1000));
    let trace = scene.take();
    assert!(trace.contains(&"U> WRITE F1 2000+1000 a00".to_owned()), "{trace:?}");
    assert!(trace.contains(&"S< WRITE F1 1000".to_owned()), "the copy's end comes in a worker: {trace:?}");
    scene.off();
    let _silent: Option<IoStatus> = None;
}
