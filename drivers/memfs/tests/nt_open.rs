//! Opening and access: nt-io.md section 4, and what a handle's options do to its writes.
mod device;
mod support;

use nt_abi::NtStatus;
use nt_abi::io::{FILE_OBJECT, IRP_NOCACHE, SL_WRITE_THROUGH};
use nt_io::create::{self, CreateSpec};
use nt_io::handles::{self, Duplicate};
use nt_io::info::class;
use nt_io::system::AsyncPolicy;
use nt_ke::Mode;
use nt_ob::Handle;
use support::security::{DACL, READ_CONTROL, WRITE_DAC, everyone};
use support::*;

const SAME_ACCESS: u32 = 2;
const DELETE: u32 = 0x1_0000;
const DELETE_ON_CLOSE: u32 = 0x1000;
const ALERT: u32 = 0x10;
const WRITE_THROUGH: u32 = 2;
const READONLY: u32 = 1;

fn refused_open(world: &World, access: u32, options: u32) -> Option<NtStatus> {
    world.try_open("refused", access, options, 3).err()
}

#[test]
fn nt_a_03_append_access_does_not_read() {
    let world = World::new();
    world.sync_file("a03").write(b"abc", Some(0));
    let file = world.file("a03", APPEND_DATA | SYNCHRONIZE, SYNC);
    assert_eq!(file.read(3, Some(0)).0, refused(NtStatus::ACCESS_DENIED));
    let both = world.file("a03", READ_DATA | APPEND_DATA | SYNCHRONIZE, SYNC);
    assert_eq!((both.read(3, Some(0)), both.write(b"def", None)), ((success(3), b"abc".to_vec()), success(3)));
    assert_eq!(both.bytes_of("a03"), b"abcdef");
}

#[test]
fn nt_a_09_contradicting_options_are_refused() {
    let world = World::new();
    let invalid = Some(NtStatus::INVALID_PARAMETER);
    assert_eq!(refused_open(&world, GENERIC_WRITE | SYNCHRONIZE, SYNC | ALERT), invalid);
    assert_eq!(refused_open(&world, GENERIC_WRITE | SYNCHRONIZE, SYNC | DELETE_ON_CLOSE), invalid);
    assert_eq!(refused_open(&world, GENERIC_WRITE | SYNCHRONIZE, SYNC | 0x0100_0000), invalid);
    let (handle, _) = world.try_open("a09", DELETE | SYNCHRONIZE, SYNC | DELETE_ON_CLOSE, 3).expect("with DELETE");
    nt_io::event::close(&world.frame(), handle).expect("close");
    assert_eq!(world.try_open("refused", GENERIC_READ, 0, 1).err(), Some(NtStatus::OBJECT_NAME_NOT_FOUND));
}

#[test]
fn nt_a_10_append_access_in_so_many_words_does_not_go_with_noncached() {
    let world = World::new();
    for access in [APPEND_DATA, WRITE_DATA | APPEND_DATA, GENERIC_WRITE | APPEND_DATA] {
        let invalid = Some(NtStatus::INVALID_PARAMETER);
        assert_eq!(refused_open(&world, access | SYNCHRONIZE, SYNC | NONCACHED), invalid, "{access:#x}");
    }
    for access in [GENERIC_WRITE, WRITE_DATA] {
        let file = world.file("a10", access | SYNCHRONIZE, SYNC | NONCACHED);
        assert_eq!(file.write(&[1; 512], Some(0)), success(512), "{access:#x}");
    }
}

#[test]
fn nt_a_11_plain_kernel_callers_are_not_checked() {
    let world = World::new();
    let open = |access: u32, options: u32| {
        let spec = CreateSpec {
            access,
            name: "\\??\\C:\\a11".encode_utf16().collect(),
            options,
            disposition: 3,
            ..CreateSpec::default()
        };
        let made = create::nt_create_file(&world.frame(), &spec).map(|(handle, _)| handle);
        made.map(|handle| nt_io::event::close(&world.frame(), handle).expect("close")).map_err(NtStatus::from)
    };
    for (access, options) in
        [(WRITE_DATA, SYNC), (WRITE_DATA | SYNCHRONIZE, SYNC | DELETE_ON_CLOSE), (APPEND_DATA, NONCACHED)]
    {
        assert_eq!(open(access, options), Err(NtStatus::INVALID_PARAMETER), "{access:#x} {options:#x}");
        let kernel = world.frame().with_mode(Mode::Kernel, || open(access, options));
        assert_eq!(kernel, Ok(()), "{access:#x} {options:#x}");
    }
}

#[test]
fn nt_a_14_a_read_only_file_is_not_opened_for_writing() {
    let world = World::new();
    let open = |access: u32, options: u32, disposition: u32| {
        let spec = CreateSpec {
            access: access | SYNCHRONIZE,
            name: "\\??\\C:\\a14".encode_utf16().collect(),
            options: options | SYNC,
            disposition,
            file_attributes: READONLY,
            ..CreateSpec::default()
        };
        create::nt_create_file(&world.frame(), &spec).map(|(handle, _)| handle).map_err(NtStatus::from)
    };
    let mut maker = world.sync_file("other");
    maker.handle = open(GENERIC_READ | GENERIC_WRITE, 0, 2).expect("a new read-only file");
    assert_eq!(maker.write(b"first", Some(0)), success(5), "the handle that made it writes");
    for access in [GENERIC_WRITE, 0x12_0116, WRITE_DATA, APPEND_DATA] {
        assert_eq!(open(access, 0, 1), Err(NtStatus::ACCESS_DENIED), "{access:#x}");
    }
    assert_eq!(open(DELETE, DELETE_ON_CLOSE, 1), Err(NtStatus::CANNOT_DELETE));
    assert!(open(DELETE, 0, 1).is_ok() && open(GENERIC_READ, 0, 1).is_ok());
}

#[test]
fn nt_a_15_waiting_on_the_file_needs_synchronize() {
    let world = World::new();
    let file = world.file("a15", GENERIC_READ | WRITE_DATA, 0);
    let wait = |handle, timeout| nt_io::event::wait_for(&world.frame(), handle, false, timeout);
    // GENERIC_READ maps to a mask that holds SYNCHRONIZE; a bare right does not.
    assert_eq!(wait(file.handle, Some(0)).expect("granted"), NtStatus::SUCCESS);
    let bare = world.file("a15", WRITE_DATA, 0);
    assert_eq!(wait(bare.handle, Some(0)).map_err(NtStatus::from), Err(NtStatus::ACCESS_DENIED));
    world.policy(AsyncPolicy::Worker);
    for _ in 0..50 {
        let done = file.write(&[5; 3000], Some(0));
        assert_eq!(done.returned, NtStatus::PENDING);
        assert_eq!(wait(file.handle, None).expect("granted"), NtStatus::SUCCESS);
        assert_eq!(file.iosb(), Iosb::Is(NtStatus::SUCCESS, 3000), "final when the wait returns");
    }
}

#[test]
fn nt_a_16_the_granted_access_is_told() {
    let world = World::new();
    let access = GENERIC_READ | GENERIC_WRITE | DELETE | SYNCHRONIZE;
    let file = world.file("a16", access, SYNC | DELETE_ON_CLOSE);
    assert_eq!(file.query(class::ACCESS, 4), 0x0013_019F_u32.to_le_bytes());
    assert_eq!(file.try_query(class::ACCESS, 3).0, NtStatus::INFO_LENGTH_MISMATCH);
    let mut bad = world.sync_file("a16b");
    bad.handle = nt_ob::Handle(0x7770);
    assert_eq!(bad.try_query(class::ACCESS, 4).0, NtStatus::INVALID_HANDLE);
}

#[test]
fn nt_a_17_access_is_fixed_at_the_open() {
    let world = World::new();
    let file = world.sync_file("a17");
    let mut basic = vec![0; 40];
    basic[32] = 1;
    assert_eq!(file.set(class::BASIC, &basic), NtStatus::SUCCESS);
    assert_eq!(world.try_open("a17", WRITE_DATA, 0, 1).err(), Some(NtStatus::ACCESS_DENIED), "read-only now");
    assert_eq!(file.write(b"still", Some(0)), success(5));
    // The descriptor takes nothing from a handle either.
    let file = world.sync_file("a17d");
    assert_eq!(world.open_file("a17d", WRITE_DAC, 0).set_security(DACL, &everyone(READ_CONTROL)), NtStatus::SUCCESS);
    assert_eq!(world.try_open("a17d", WRITE_DATA, 0, 1).err(), Some(NtStatus::ACCESS_DENIED), "nobody writes now");
    assert_eq!(file.write(b"still", Some(0)), success(5));
    assert_eq!(file.read(5, Some(0)), (success(5), b"still".to_vec()));
    // Nor has a copy more than its source.
    let reader = world.file("a17c", READ_DATA | SYNCHRONIZE, SYNC);
    let copy = |access, options| {
        let what = Duplicate {
            source_process: Handle::CURRENT_PROCESS,
            source: reader.handle,
            target_process: Some(Handle::CURRENT_PROCESS),
            access,
            attributes: 0,
            options,
        };
        handles::duplicate(&world.frame(), &what).map_err(NtStatus::from).map(|made| world.adopt(made.expect("one")))
    };
    for wider in [READ_DATA | WRITE_DATA, GENERIC_WRITE, DELETE] {
        assert_eq!(copy(wider, 0).err(), Some(NtStatus::ACCESS_DENIED), "{wider:#x}");
    }
    assert_eq!(copy(0, SAME_ACCESS).expect("a copy").write(b"no", Some(0)), refused(NtStatus::ACCESS_DENIED));
    let narrower = copy(SYNCHRONIZE, 0).expect("a copy");
    assert_eq!(narrower.read(1, Some(0)).0, refused(NtStatus::ACCESS_DENIED), "as little as was asked for");
}

#[test]
fn nt_w_12_a_write_through_handle_says_so_below() {
    let world = World::new();
    let recorder = device::over_the_volume(&world);
    nt_cc::Manager::of(&world.kernel).set_policy(Some(nt_cc::Policy::Behind));
    let file = world.file("w12", GENERIC_WRITE | SYNCHRONIZE, SYNC | WRITE_THROUGH);
    let clean = || {
        let sections = device::file_object(&world, file.handle).ptr(nt_abi::io::FILE_OBJECT::SectionObjectPointer);
        sections.and_then(nt_cc::map_of).is_none_or(|map| map.is_clean())
    };
    for round in 1..=3 {
        assert_eq!(file.write(b"through", Some(0)), success(7));
        assert!(clean(), "on the volume before it is completed");
        assert_eq!((recorder.last().stack_flags, recorder.count()), (SL_WRITE_THROUGH, round), "always a packet");
    }
    world.sync_file("w12").write(b"cached", Some(0));
    assert!(!clean(), "another handle's data is not");
    assert_eq!(recorder.last().stack_flags, 0);
    assert_eq!(file.bytes_of("w12"), b"cachedh");
}

#[test]
fn nt_n_08_a_noncached_packet_is_marked() {
    let world = World::new();
    let recorder = device::over_the_volume(&world);
    let file = world.file("n08", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | NONCACHED);
    assert_eq!(file.write(&[1; 512], Some(0)), success(512));
    assert_eq!(recorder.last().irp_flags & IRP_NOCACHE, IRP_NOCACHE);
    file.read(512, Some(0));
    assert_eq!(recorder.last().irp_flags & IRP_NOCACHE, IRP_NOCACHE);
    world.sync_file("n08").write(b"cached", Some(0));
    assert_eq!(recorder.last().irp_flags & IRP_NOCACHE, 0);
}

#[test]
fn nt_w_13_cached_and_noncached_handles_see_each_other() {
    let world = World::new();
    let cached = world.sync_file("w13");
    let raw = world.file("w13", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | NONCACHED);
    for round in 0..20_u8 {
        assert_eq!(cached.write(&[round; 2048], Some(0)), success(2048));
        assert_eq!(raw.read(2048, Some(0)).1, vec![round; 2048]);
        assert_eq!(raw.write(&[round + 100; 512], Some(512)), success(512));
        assert_eq!(cached.read(512, Some(512)).1, vec![round + 100; 512]);
    }
}

#[test]
fn nt_w_17_after_the_last_handle_only_paging_writes_go() {
    let world = World::new();
    let file = world.sync_file("w17");
    file.write(b"kept", Some(0));
    let kind = nt_ob::types::ObjectType::File;
    let held = nt_io::event::reference(&world.frame(), file.handle, kind, 0, Mode::Kernel).expect("a file").0;
    let object = held.body().view::<FILE_OBJECT>();
    let handle = file.handle;
    let again = world.sync_file("other");
    drop(file);
    assert_eq!(again.with_arguments(|args| args.handle = handle).returned, NtStatus::INVALID_HANDLE);
    assert_eq!(device::send_write(&world, object, 0, 0, b"late"), (NtStatus::FILE_CLOSED, 0));
    let paging = nt_abi::io::IRP_PAGING_IO | IRP_NOCACHE;
    assert_eq!(device::send_write(&world, object, paging, 0, b"page"), (NtStatus::SUCCESS, 4));
    assert_eq!(again.bytes_of("w17"), b"page");
}
