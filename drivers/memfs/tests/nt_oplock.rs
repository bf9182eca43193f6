//! Oplocks on a volume: nt-fs.md section 16, rules NT-OPL, NT-REN-24, and the clauses about them of NT-L-12 and NT-K-07.
mod support;

use nt_abi::NtStatus;
use nt_abi::mm::FSRTL_ADVANCED_FCB_HEADER;
use nt_io::info::class;
use support::names::*;
use support::oplock::*;
use support::*;

const OK: NtStatus = NtStatus::SUCCESS;
const BROKEN_TO_2: Iosb = Iosb::Is(OK, TO_2);
const BROKEN_TO_NONE: Iosb = Iosb::Is(OK, TO_NONE);
const TOLD: Iosb = Iosb::Is(OK, 24);
const ATTRIBUTES: u32 = 0x80 | SYNCHRONIZE;

/// The holder's handle: for attributes only, asynchronous.
fn holder(world: &World) -> File<'_> {
    world.put("f", b"data");
    world.adopt(world.try_open("f", ATTRIBUTES, 0, 1).expect("there").0)
}

#[test]
fn nt_opl_01_each_kind_is_granted_and_waits_until_it_is_broken() {
    let world = World::new();
    for kind in [LEVEL_1, LEVEL_2, BATCH, FILTER, R, RH, RW, RWH] {
        let file = holder(&world);
        let held = file.hold(kind);
        world.pause();
        assert!(held.is_waiting(), "{kind:#x}");
    }
    let file = holder(&world);
    for (level, flags) in [(0, 1), (2, 1), (4, 1), (6, 1), (8, 1), (R, 0), (R, 3)] {
        assert_eq!(file.ask(REQUEST, &input(level, flags)).returned, NtStatus::INVALID_PARAMETER, "{level} {flags}");
    }
    let mut version = input(R, 1);
    version[0] = 2;
    assert_eq!(file.ask(REQUEST, &version).returned, NtStatus::INVALID_PARAMETER);
    assert_eq!(file.ask(REQUEST, &input(R, 1)[..8]).returned, NtStatus::BUFFER_TOO_SMALL);
}

#[test]
fn nt_opl_02_a_refusal_comes_at_once() {
    let world = World::new();
    for options in [0, SYNC] {
        let (file, _second) = (world.file("f", ATTRIBUTES, options), world.sync_file("f"));
        for kind in [LEVEL_1, BATCH, FILTER, RW, RWH] {
            let asked = if kind < 8 { file.request(kind) } else { file.ask(kind, &[]) };
            assert_eq!((asked.returned, asked.iosb()), (NtStatus::OPLOCK_NOT_GRANTED, Iosb::Untouched), "{kind:#x}");
            assert_eq!(world.processes.in_flight(), 0);
        }
    }
}

#[test]
fn nt_opl_03_what_is_refused_although_oplocks_are_granted() {
    let world = World::new();
    let dir = world.watched("d");
    for code in [LEVEL_1, LEVEL_2, BATCH, FILTER] {
        assert_eq!(dir.ask(code, &[]).returned, NtStatus::INVALID_PARAMETER, "{code:#x}");
    }
    let synchronous = world.sync_file("f");
    for kind in [LEVEL_1, LEVEL_2, BATCH, FILTER] {
        assert_eq!(synchronous.ask(kind, &[]).returned, NtStatus::OPLOCK_NOT_GRANTED, "{kind:#x}");
    }
    let file = world.async_file("f");
    for kind in [LEVEL_1, BATCH, FILTER] {
        assert_eq!(file.ask(kind, &[]).returned, NtStatus::OPLOCK_NOT_GRANTED, "two opens, {kind:#x}");
    }
    for level in [RW, RWH] {
        assert_eq!(file.request(level).returned, NtStatus::OPLOCK_NOT_GRANTED, "two opens, {level}");
    }
    assert_eq!(synchronous.lock(0, 4, 0, true).returned, OK);
    assert_eq!(file.ask(LEVEL_2, &[]).returned, NtStatus::OPLOCK_NOT_GRANTED, "a byte-range lock");
    for level in [R, RH] {
        assert_eq!(file.request(level).returned, NtStatus::OPLOCK_NOT_GRANTED, "a byte-range lock");
    }
}

#[test]
fn nt_opl_08_a_second_open_and_a_write_break_each_kind_as_ntfs_does() {
    let world = World::new();
    // {kind, told at the open, acknowledged to, told at the write}; 0 is none.
    for (kind, at_open, keeps, at_write) in [
        (LEVEL_1, Some(BROKEN_TO_2), Some(ACKNOWLEDGE), Some(BROKEN_TO_NONE)),
        (LEVEL_2, None, None, Some(BROKEN_TO_NONE)),
        (RWH, Some(TOLD), Some(RH), Some(TOLD)),
        (RW, Some(TOLD), Some(R), Some(TOLD)),
        (RH, None, None, Some(TOLD)),
        (R, None, None, Some(TOLD)),
    ] {
        let file = holder(&world);
        let mut held = file.hold(kind);
        let write = world.elsewhere(plain("f"), |file| vec![file.write()]);
        if let (Some(told), Some(keeps)) = (at_open, keeps) {
            held.wait(&world);
            assert_eq!(held.iosb(), told, "{kind:#x}");
            assert!(write.is_blocked(), "{kind:#x}: the open waits");
            held = if keeps == ACKNOWLEDGE { file.ask(keeps, &[]) } else { file.accept(keeps) };
            assert_eq!(
                held.returned,
                NtStatus::PENDING,
                "{kind:#x}: the acknowledgement is the request of what is left"
            );
        }
        assert_eq!(write.finish(), [OK, OK], "{kind:#x}: neither break makes the write wait");
        assert_eq!(Some(held.iosb()), at_write, "{kind:#x}: at the write");
    }
    for kind in [LEVEL_2, RH, R] {
        let file = holder(&world);
        let held = file.hold(kind);
        assert_eq!(world.elsewhere(plain("f"), |file| vec![file.read()]).finish(), [OK, OK]);
        assert!(held.is_waiting(), "{kind:#x}: neither an open nor a read");
    }
    for (kind, told) in [(BATCH, BROKEN_TO_2), (FILTER, BROKEN_TO_NONE)] {
        let file = holder(&world);
        let held = file.hold(kind);
        let write = world.elsewhere(plain("f"), |file| vec![file.write()]);
        held.wait(&world);
        assert_eq!(held.iosb(), told, "{kind:#x}");
        assert!(write.is_blocked());
        drop(file); // the holder gets out of the way
        assert_eq!(write.finish(), [OK, OK], "{kind:#x}");
    }
    // Who only looks at attributes, or only reads beside a filter, disturbs nobody.
    for (kind, access) in [(BATCH, ATTRIBUTES), (RWH, ATTRIBUTES), (FILTER, GENERIC_READ | SYNCHRONIZE)] {
        let file = holder(&world);
        let held = file.hold(kind);
        assert_eq!(world.elsewhere(spec("f", access, SYNC, 7, 1), |_| vec![]).finish(), [OK]);
        assert!(held.is_waiting(), "{kind:#x}");
    }
    // What replaces the data leaves nothing.
    for (kind, waits) in
        [(LEVEL_1, true), (BATCH, true), (LEVEL_2, false), (RWH, true), (RW, true), (RH, false), (R, false)]
    {
        let file = holder(&world);
        let held = file.hold(kind);
        let other = world.elsewhere(spec("f", GENERIC_WRITE | SYNCHRONIZE, SYNC, 7, 5), |_| vec![]);
        held.wait(&world);
        if kind < 8 {
            assert_eq!(held.output().3, 0, "{kind:#x}");
        } else {
            assert_eq!(held.iosb(), BROKEN_TO_NONE, "{kind:#x}");
        }
        assert_eq!(other.is_blocked(), waits, "{kind:#x}");
        drop(file);
        if waits {
            assert_eq!(other.finish(), [OK], "{kind:#x}");
        }
    }
}

#[test]
fn nt_opl_09_what_is_told_and_how_it_is_acknowledged() {
    let world = World::new();
    for (kind, told, flags) in [(RWH, RH, 1), (RW, R, 1)] {
        let file = holder(&world);
        let held = file.hold(kind);
        let other = world.elsewhere(plain("f"), |_| vec![]);
        held.wait(&world);
        assert_eq!((held.iosb(), held.output()), (TOLD, (1, 0x18, kind, told, flags)));
        for wrong in [ACKNOWLEDGE, NO_2, CLOSE_PENDING] {
            assert_eq!(
                file.ask(wrong, &[]).returned,
                NtStatus::INVALID_OPLOCK_PROTOCOL,
                "{wrong:#x} is of the older kinds"
            );
        }
        assert_eq!(file.accept(RWH).returned, NtStatus::INVALID_OPLOCK_PROTOCOL, "more than it was told");
        assert_eq!(file.accept(0).returned, OK, "nothing is kept");
        assert_eq!(other.finish(), [OK]);
        assert_eq!(file.accept(0).returned, NtStatus::INVALID_OPLOCK_PROTOCOL, "once");
    }
    for (kind, told) in [(R, 0), (RH, 1)] {
        let file = holder(&world);
        let held = file.hold(kind);
        assert_eq!(world.elsewhere(plain("f"), |file| vec![file.write()]).finish(), [OK, OK], "the write goes on");
        assert_eq!((held.iosb(), held.output()), (TOLD, (1, 0x18, kind, 0, told)));
        let accepted = if kind == R { NtStatus::INVALID_OPLOCK_PROTOCOL } else { OK };
        assert_eq!(file.accept(0).returned, accepted);
    }
    for (code, keeps) in [(ACKNOWLEDGE, true), (NO_2, false), (CLOSE_PENDING, false)] {
        let file = holder(&world);
        let held = file.hold(LEVEL_1);
        let other = world.elsewhere(plain("f"), |_| vec![]);
        held.wait(&world);
        assert_eq!(held.iosb(), BROKEN_TO_2);
        assert!(other.is_blocked(), "until it is acknowledged");
        let accepted = file.ask(code, &[]);
        assert_eq!(accepted.returned, if keeps { NtStatus::PENDING } else { OK }, "{code:#x}");
        assert_eq!(other.finish(), [OK]);
        assert_eq!(accepted.is_waiting(), keeps, "level 2 or nothing");
    }
    // A close acknowledges, and of a batch oplock only that when it was announced.
    for announced in [false, true] {
        let file = holder(&world);
        let held = file.hold(BATCH);
        let other = world.elsewhere(plain("f"), |_| vec![]);
        held.wait(&world);
        if announced {
            assert_eq!(file.ask(CLOSE_PENDING, &[]).returned, OK);
        }
        assert!(other.is_blocked());
        drop(file);
        assert_eq!(other.finish(), [OK]);
    }
}

fn flush(file: &File<'_>) -> NtStatus {
    let block = pattern_block();
    nt_io::flush::nt_flush_buffers_file(&file.world.frame(), file.handle, nt_cell::Addr::user(block.addr()))
}

#[test]
fn nt_opl_10_what_each_operation_breaks_of_what_can_be_shared() {
    type Act = fn(&File<'_>) -> NtStatus;
    let changes: [(&str, Act); 5] = [
        ("write", |file| file.write(b"new", Some(0)).returned),
        ("end of file", |file| file.set(class::END_OF_FILE, &9_u64.to_le_bytes())),
        ("allocation", |file| file.set(class::ALLOCATION, &4096_u64.to_le_bytes())),
        ("lock", |file| file.lock(0, 4, 0, true).returned),
        ("zeroes", |file| file.control(0x9_80C8, &[&0_u64.to_le_bytes()[..], &4_u64.to_le_bytes()].concat(), 0).0),
    ];
    let rest: [(&str, Act); 2] = [("read", |file| file.read(4, Some(0)).0.returned), ("flush", flush)];
    let world = World::new();
    for kind in [LEVEL_2, R, RH] {
        for (what, act) in changes {
            let file = holder(&world);
            let other = world.file("f", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC);
            let held = file.hold(kind);
            assert_eq!(act(&other), OK, "{what}");
            assert!(!held.is_waiting(), "{what} breaks {kind:#x}");
            assert_eq!(if kind < 8 { held.output().3 } else { 0 }, 0, "{what}: to none");
        }
        for (what, act) in rest {
            let file = holder(&world);
            let other = world.file("f", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC);
            let held = file.hold(kind);
            assert_eq!(act(&other), OK, "{what}");
            assert!(held.is_waiting(), "{what} leaves {kind:#x}");
        }
        // Its owner's own writes: level 2 knows no owner.
        let file = {
            holder(&world);
            world.async_file("f")
        };
        let held = file.hold(kind);
        let _done = file.write(b"own", Some(0));
        settled(&file);
        assert_eq!(file.iosb(), Iosb::Is(OK, 3));
        assert_eq!(held.is_waiting(), kind != LEVEL_2, "{kind:#x}");
    }
    // Names: who keeps the handle gives that up, and the operation waits for it.
    for delete in [false, true] {
        for kind in [LEVEL_2, R, RH] {
            let file = holder(&world);
            let held = file.hold(kind);
            let spec = spec("f", 0x1_0000 | ATTRIBUTES, SYNC, 7, 1);
            let other = world.elsewhere(spec, move |file| {
                let new = name_information(0, nt_ob::Handle::NULL, "g");
                vec![if delete { file.set(class::DISPOSITION, &[1]) } else { file.set(class::RENAME, &new) }]
            });
            if kind == RH {
                held.wait(&world);
                assert_eq!(held.output(), (1, 0x18, RH, R, 1));
                assert!(other.is_blocked());
                assert_eq!(file.accept(R).returned, NtStatus::PENDING);
            }
            assert_eq!(other.finish(), [OK, OK], "{kind:#x}");
            assert_eq!(held.is_waiting(), kind != RH, "{kind:#x}");
            drop(file);
            let _gone =
                world.try_open("g", 0x1_0000 | ATTRIBUTES, 0x1000 | SYNC, 1).map(|(handle, _)| world.adopt(handle));
        }
    }
}

#[test]
fn nt_opl_11_a_request_ends_with_its_handle_or_by_a_cancel() {
    let world = World::new();
    for kind in [LEVEL_1, LEVEL_2, BATCH, FILTER, R, RH, RW, RWH] {
        let file = holder(&world);
        let held = file.hold(kind);
        drop(file);
        if kind < 8 {
            assert_eq!(held.iosb(), Iosb::Is(NtStatus::OPLOCK_HANDLE_CLOSED, 24), "{kind:#x}");
            assert_eq!(held.output(), (1, 0x18, kind, 0, 0));
        } else {
            assert_eq!(held.iosb(), BROKEN_TO_NONE, "{kind:#x}");
        }
        let file = holder(&world);
        let held = file.hold(kind);
        let block = pattern_block();
        let frame = world.frame();
        let cancelled = nt_io::cancel::nt_cancel_io_file(&frame, file.handle, nt_cell::Addr::user(block.addr()));
        assert_eq!((cancelled, held.iosb()), (OK, Iosb::Is(NtStatus::CANCELLED, 0)), "{kind:#x}");
        assert_eq!(world.elsewhere(plain("f"), |file| vec![file.write()]).finish(), [OK, OK], "{kind:#x} is gone");
    }
}

#[test]
fn nt_opl_11_a_waiter_can_be_cancelled_and_the_oplock_stays() {
    let world = World::new();
    let file = holder(&world);
    let held = file.hold(LEVEL_1);
    let other = world.elsewhere(plain("f"), |_| vec![]);
    held.wait(&world);
    assert!(other.is_blocked());
    assert_eq!(nt_io::cancel::cancel_synchronous(&other.id), 1);
    assert_eq!(other.finish(), [NtStatus::CANCELLED]);
    assert_eq!(file.ask(ACKNOWLEDGE, &[]).returned, NtStatus::PENDING, "the break is still to be acknowledged");
}

#[test]
fn nt_opl_12_batch_and_filter_break_before_the_share_check_the_others_after_it() {
    let world = World::new();
    world.put("f", b"data");
    let refused = [NtStatus::SHARING_VIOLATION];
    let alone = || {
        let spec = spec("f", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, 0, 0, 1);
        world.adopt(nt_io::create::nt_create_file(&world.frame(), &spec).expect("there").0)
    };
    for kind in [BATCH, FILTER] {
        for close in [false, true] {
            let file = alone();
            let held = file.hold(kind);
            let other = world.elsewhere(plain("f"), |_| vec![]);
            held.wait(&world);
            assert!(other.is_blocked(), "{kind:#x}: sharing is looked at later");
            if close {
                drop(file);
                assert_eq!(other.finish(), [OK]);
            } else {
                let _two = file.ask(ACKNOWLEDGE, &[]);
                assert_eq!(other.finish(), refused);
            }
        }
    }
    for kind in [LEVEL_1, LEVEL_2, R, RW] {
        let file = alone();
        let held = file.hold(kind);
        assert_eq!(world.elsewhere(plain("f"), |_| vec![]).finish(), refused);
        assert!(held.is_waiting(), "{kind:#x}: what fails breaks nothing");
    }
    for (kind, left) in [(RH, R), (RWH, RW)] {
        for close in [false, true] {
            let file = alone();
            let held = file.hold(kind);
            let other = world.elsewhere(plain("f"), |_| vec![]);
            held.wait(&world);
            assert_eq!(held.output(), (1, 0x18, kind, left, 3), "to acknowledge, and the modes are told");
            assert!(other.is_blocked());
            if close {
                drop(file);
                assert_eq!(other.finish(), [OK]);
            } else {
                assert_eq!(file.accept(left).returned, NtStatus::PENDING);
                assert_eq!(other.finish(), refused);
            }
        }
    }
}

#[test]
fn nt_opl_12_fast_io_is_not_possible_while_somebody_could_be_told() {
    let world = World::new();
    let possible = |file: &File<'_>| {
        use nt_abi::io::FILE_OBJECT;
        let found = nt_io::event::reference(
            &world.frame(),
            file.handle,
            nt_ob::types::ObjectType::File,
            0,
            nt_ke::Mode::Kernel,
        );
        let opened = found.expect("open").0.body().view::<FILE_OBJECT>();
        let header = opened.ptr(FILE_OBJECT::FsContext).expect("an FCB").view::<FSRTL_ADVANCED_FCB_HEADER>();
        header.get(FSRTL_ADVANCED_FCB_HEADER::IsFastIoPossible)
    };
    for (kind, expected) in [(LEVEL_2, 0), (R, 0), (RH, 0), (LEVEL_1, 1), (BATCH, 1), (FILTER, 1), (RW, 1), (RWH, 1)] {
        let file = holder(&world);
        assert_eq!(possible(&file), 1);
        let held = file.hold(kind);
        assert_eq!(possible(&file), expected, "{kind:#x}");
        if expected == 1 && kind != FILTER {
            let other = world.elsewhere(plain("f"), |_| vec![]);
            held.wait(&world);
            assert!(other.is_blocked());
            assert_eq!(possible(&file), 0, "{kind:#x}: it is breaking");
            drop(file);
            other.finish();
        }
    }
}

#[test]
fn nt_opl_05_create_options_about_oplocks() {
    let world = World::new();
    const GOES_ON: u32 = 0x100 | SYNC;
    let raw = |options, disposition| {
        let opened = world.try_open("f", ATTRIBUTES, SYNC | options, disposition);
        opened.map(|(handle, information)| {
            drop(world.adopt(handle));
            information
        })
    };
    assert_eq!(raw(0x100, 3), Ok(2), "COMPLETE_IF_OPLOCKED: nothing to complete");
    assert_eq!(raw(0x1_0000, 1), Ok(1), "OPEN_REQUIRING_OPLOCK: nothing to break");
    assert_eq!(raw(0x10_0000, 1), Ok(1), "RESERVE_OPFILTER of a closed file");
    {
        let _held = world.sync_file("f");
        assert_eq!(raw(0x10_0000, 1), Err(NtStatus::OPLOCK_NOT_GRANTED));
    }
    let open = |access, options| world.elsewhere(spec("f", access, options, 7, 1), |file| vec![file.write()]);
    let file = holder(&world);
    let held = file.hold(LEVEL_1);
    assert_eq!(open(GENERIC_WRITE | SYNCHRONIZE, 0x1_0000 | SYNC).finish(), [NtStatus::CANNOT_BREAK_OPLOCK]);
    assert!(held.is_waiting(), "nothing was broken");
    assert_eq!(open(ATTRIBUTES, 0x1_0000 | SYNC).finish()[0], OK, "one that would break none");
    assert!(held.is_waiting());
    let other = open(GENERIC_WRITE | SYNCHRONIZE, GOES_ON);
    held.wait(&world);
    assert!(other.is_blocked(), "the open went on, its write waits");
    assert_eq!(file.ask(ACKNOWLEDGE, &[]).returned, NtStatus::PENDING, "kept, and broken by the write");
    assert_eq!(other.finish(), [NtStatus::OPLOCK_BREAK_IN_PROGRESS, OK]);
    drop(file);
    // A batch oplock breaks although the open fails.
    let alone = spec("f", GENERIC_READ | SYNCHRONIZE, 0, 0, 1);
    let file = world.adopt(nt_io::create::nt_create_file(&world.frame(), &alone).expect("there").0);
    let held = file.hold(BATCH);
    assert_eq!(open(GENERIC_WRITE | SYNCHRONIZE, GOES_ON).finish(), [NtStatus::SHARING_VIOLATION]);
    assert_eq!(held.iosb(), BROKEN_TO_2);
}

#[test]
fn nt_opl_04_what_is_no_acknowledgement_of_a_break() {
    let world = World::new();
    let file = holder(&world);
    for code in [ACKNOWLEDGE, CLOSE_PENDING, NO_2] {
        assert_eq!(file.ask(code, &[]).returned, NtStatus::INVALID_OPLOCK_PROTOCOL, "{code:#x}");
    }
    assert_eq!(file.accept(R).returned, NtStatus::INVALID_OPLOCK_PROTOCOL);
    assert_eq!(file.ask(NOTIFY, &[]).returned, OK, "no oplock");
    let held = file.hold(LEVEL_1);
    assert_eq!(file.ask(NOTIFY, &[]).returned, OK, "no break");
    assert_eq!(file.ask(ACKNOWLEDGE, &[]).returned, NtStatus::INVALID_OPLOCK_PROTOCOL, "not broken");
    let other = world.elsewhere(plain("f"), |_| vec![]);
    held.wait(&world);
    let notified = file.ask(NOTIFY, &[]);
    assert!(notified.is_held(), "a break is under way");
    assert_eq!(file.ask(NO_2, &[]).returned, OK);
    assert_eq!((other.finish(), notified.iosb()), (vec![OK], Iosb::Is(OK, 0)));
}

/// Waits until a request of the file is over.
fn settled(file: &File<'_>) {
    for _ in 0..20_000 {
        if file.iosb() != Iosb::Untouched {
            return;
        }
        file.world.pause();
    }
    panic!("it never ended");
}

#[test]
fn nt_l_12_a_write_breaks_before_it_looks_at_locks_and_waits_for_who_has_to_acknowledge() {
    let world = World::new();
    let file = holder(&world);
    let held = file.hold(LEVEL_1);
    // An open that did not wait: an asynchronous write of it is pending until the break is acknowledged.
    let options = 0x100;
    let (handle, _) = world.try_open("f", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, options, 1).expect("there");
    let other = world.adopt(handle);
    assert_eq!(held.iosb(), BROKEN_TO_2);
    let done = other.write(b"late", Some(0));
    assert_eq!(done, Done { returned: NtStatus::PENDING, iosb: Iosb::Untouched });
    world.pause();
    assert_eq!(other.iosb(), Iosb::Untouched);
    let two = file.ask(ACKNOWLEDGE, &[]);
    settled(&other);
    assert_eq!((other.iosb(), two.iosb()), (Iosb::Is(OK, 4), BROKEN_TO_NONE));
    assert_eq!(world.get("f"), Some(b"late".to_vec()));
    drop((file, other));
    // One that a byte-range lock forbids waits for the oplock first.
    let file = world.async_file("f");
    assert_eq!(file.lock(0, 4, 0, true).returned, OK);
    let held = file.hold(RW);
    let other = world.adopt(world.try_open("f", GENERIC_WRITE | SYNCHRONIZE, options, 1).expect("there").0);
    assert_eq!(held.iosb(), TOLD);
    let done = other.write(b"none", Some(0));
    assert_eq!(done, Done { returned: NtStatus::PENDING, iosb: Iosb::Untouched });
    assert_eq!(file.accept(0).returned, OK);
    settled(&other);
    assert_eq!(other.iosb(), Iosb::Is(NtStatus::FILE_LOCK_CONFLICT, 0));
}

#[test]
fn nt_ren_24_a_handle_kept_by_an_oplock_gets_a_chance_to_be_closed() {
    let world = World::new();
    drop(world.directory("d"));
    for kind in [BATCH, FILTER, RH] {
        for close in [true, false] {
            for (name, new, replace) in [("source", "f", true), ("d", "e", false)] {
                let _ = world.try_open("e", 0x1_0000 | SYNCHRONIZE, SYNC, 1).map(|(handle, _)| {
                    assert_eq!(world.adopt(handle).rename("d", false), OK);
                });
                world.put("source", b"new");
                let held_name = if replace { "f" } else { "d\\f" };
                world.put(held_name, b"data");
                let file = world.adopt(world.try_open(held_name, ATTRIBUTES, 0, 1).expect("there").0);
                let held = file.hold(kind);
                let spec = spec(name, 0x1_0000 | SYNCHRONIZE, SYNC, 7, 1);
                let other = world.elsewhere(spec, move |file| {
                    vec![file.set(class::RENAME, &name_information(u32::from(replace), nt_ob::Handle::NULL, new))]
                });
                held.wait(&world);
                assert!(other.is_blocked(), "{kind:#x} {name}");
                if close {
                    drop(file);
                    assert_eq!(other.finish(), [OK, OK], "{kind:#x} {name}: looked at again");
                } else {
                    let kept = if kind == RH { file.accept(R) } else { file.ask(NO_2, &[]) };
                    assert!(!kept.returned.is_error());
                    assert_eq!(other.finish(), [OK, NtStatus::ACCESS_DENIED], "{kind:#x} {name}: still open");
                }
            }
        }
    }
}

#[test]
fn nt_opl_10_who_caches_a_listing_is_told_of_names() {
    let world = World::new();
    let dir = world.watched("d");
    for kind in [R, RH] {
        let held = dir.hold(kind);
        world.put("d\\other", b"");
        assert_eq!((held.iosb(), held.output()), (TOLD, (1, 0x18, kind, 0, u32::from(kind == RH))));
        if kind == RH {
            assert_eq!(dir.accept(0).returned, OK);
        }
        let held = dir.hold(R);
        assert_eq!(world.to_delete("d\\other").rename("new", true), OK);
        assert!(!held.is_waiting());
        let held = dir.hold(R);
        assert_eq!(world.to_delete("d\\new").dispose(true), OK);
        assert!(!held.is_waiting(), "gone with its handle");
    }
    assert_eq!(dir.request(RW).returned, NtStatus::INVALID_PARAMETER);
}

#[test]
fn nt_opl_03_the_kinds_that_stand_together_on_a_stream() {
    let world = World::new();
    let file = holder(&world);
    let second = world.adopt(world.try_open("f", ATTRIBUTES, 0, 1).expect("there").0);
    let grants = |first: u32, then: u32, same: bool| {
        let held = file.hold(first);
        let other = if same { &file } else { &second };
        let asked = if then < 8 { other.request(then) } else { other.ask(then, &[]) };
        let answer = (asked.is_held(), held.iosb());
        let block = pattern_block();
        for each in [&file, &second] {
            let _done =
                nt_io::cancel::nt_cancel_io_file(&world.frame(), each.handle, nt_cell::Addr::user(block.addr()));
        }
        answer
    };
    let (still, switched) = (Iosb::Untouched, Iosb::Is(NtStatus::OPLOCK_SWITCHED_TO_NEW_HANDLE, 24));
    for (first, then, granted) in
        [(LEVEL_2, LEVEL_2, true), (LEVEL_2, R, true), (R, LEVEL_2, true), (R, R, true), (R, RH, true), (RH, R, true)]
    {
        assert_eq!(grants(first, then, false), (granted, still), "{first:#x} {then:#x}");
    }
    for (first, then) in [(LEVEL_2, RH), (RH, LEVEL_2)] {
        assert_eq!(grants(first, then, false), (false, still), "{first:#x} {then:#x}");
    }
    for (first, then, answer) in [
        (R, R, (true, switched)),
        (R, RH, (true, switched)),
        (RH, R, (false, still)),
        (LEVEL_2, LEVEL_2, (true, still)),
    ] {
        assert_eq!(grants(first, then, true), answer, "{first:#x} {then:#x} on one handle");
    }
    drop(second);
    let one = |first: u32, then: u32| {
        let file = holder(&world);
        let held = file.hold(first);
        let asked = if then < 8 { file.request(then) } else { file.ask(then, &[]) };
        (asked.is_held(), held.iosb())
    };
    drop(file);
    for (first, then) in [(R, RW), (R, RWH), (RH, RWH), (RW, RWH)] {
        assert_eq!(one(first, then), (true, switched), "{first:#x} {then:#x}: it goes up");
    }
    for (first, then) in [(RH, RW), (RWH, RW), (RWH, R), (LEVEL_1, BATCH), (BATCH, R), (LEVEL_2, RW)] {
        assert_eq!(one(first, then), (false, still), "{first:#x} {then:#x}");
    }
    assert_eq!(one(LEVEL_2, BATCH), (true, BROKEN_TO_NONE), "level 2 makes way");
}
