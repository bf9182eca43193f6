//! Oplock keys on a volume: whose an open is (NT-OPL-14), and what that means to breaks and grants (NT-OPL-03, 05, 10).
mod support;

use nt_abi::io::*;
use nt_abi::{GUID, NtStatus};
use nt_cell::{Foreign, Region};
use nt_ex::pool::{self, PoolKind};
use nt_fsrtl::oplock::are_keys_equal;
use nt_io::create::{self, CreateSpec};
use nt_io::ecp::{self, EcpList, Spec};
use nt_io::info::class;
use nt_io::irp::IoStatus;
use nt_io::oplock_key::{self, Keys};
use support::names::*;
use support::oplock::*;
use support::*;

const OK: NtStatus = NtStatus::SUCCESS;
const ATTRIBUTES: u32 = 0x80 | SYNCHRONIZE;
const DATA: u32 = GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE;
const GOES_ON: u32 = FILE_COMPLETE_IF_OPLOCKED;
const KEY: GUID = GUID::parse("0b10c4ed-0000-4000-8000-00000000000a");
const OTHER: GUID = GUID::parse("0b10c4ed-0000-4000-8000-00000000000b");
const ALL: [u32; 8] = [LEVEL_1, LEVEL_2, BATCH, FILTER, R, RH, RW, RWH];

fn add(list: EcpList, of: GUID, bytes: &[u8]) {
    let spec = Spec { of, size: bytes.len() as u32, kind: PoolKind::Paged, tag: ecp::TAG, cleanup: None };
    let context = ecp::allocate(&spec, None).expect("memory");
    Region::pool(context, bytes.len()).write_from(bytes).expect("an ECP");
    assert_eq!(ecp::insert(list, context), OK);
}

/// OPLOCK_KEY_ECP_CONTEXT.
fn single(key: GUID) -> Vec<u8> {
    [&key.to_bytes()[..], &[0; 4]].concat()
}

/// DUAL_OPLOCK_KEY_ECP_CONTEXT.
fn dual(keys: Keys) -> Vec<u8> {
    let bytes = |key: Option<GUID>| key.unwrap_or(OTHER).to_bytes();
    let flags = [u8::from(keys.parent.is_some()), u8::from(keys.target.is_some()), 0, 0];
    [&bytes(keys.parent)[..], &bytes(keys.target), &flags].concat()
}

/// Opens with these ECPs; the list goes again.
fn open_with(world: &World, spec: CreateSpec, ecps: &[(GUID, Vec<u8>)]) -> Result<(nt_ob::Handle, IoStatus), IoStatus> {
    let list = ecp::allocate_list().expect("memory");
    for (of, bytes) in ecps {
        add(list, *of, bytes);
    }
    let opened = create::create_for(&world.frame(), &CreateSpec { ecps: Some(list), ..spec });
    ecp::free_list(list);
    opened
}

/// As [`spec`], with this key.
fn keyed<'a>(world: &'a World, spec: CreateSpec, key: GUID) -> File<'a> {
    world.adopt(open_with(world, spec, &[(GUID_ECP_OPLOCK_KEY, single(key))]).expect("opened").0)
}

/// The holder's handle: for attributes only, asynchronous.
fn holder(world: &World) -> File<'_> {
    world.put("f", b"data");
    keyed(world, spec("f", ATTRIBUTES, 0, 7, 1), KEY)
}

fn object(file: &File<'_>) -> Foreign<FILE_OBJECT> {
    let kind = nt_ob::types::ObjectType::File;
    let mode = nt_ke::Mode::Kernel;
    let (object, _) = nt_io::event::reference(&file.world.frame(), file.handle, kind, 0, mode).expect("a file");
    object.body().view()
}

#[test]
fn nt_opl_14_an_opens_keys_come_with_its_create() {
    let world = World::new();
    world.put("f", b"data");
    let keys = |parent, target| Keys { parent, target };
    let both = keys(Some(OTHER), Some(KEY));
    let cases = [
        (vec![(GUID_ECP_OPLOCK_KEY, single(KEY))], keys(None, Some(KEY)), OPLOCK_KEY_VERSION_WIN7),
        (vec![(GUID_ECP_DUAL_OPLOCK_KEY, dual(both))], both, OPLOCK_KEY_VERSION_WIN8),
        (vec![(GUID_ECP_DUAL_OPLOCK_KEY, dual(keys(Some(KEY), None)))], keys(Some(KEY), None), OPLOCK_KEY_VERSION_WIN8),
        (vec![(GUID_ECP_DUAL_OPLOCK_KEY, dual(keys(None, Some(KEY))))], keys(None, Some(KEY)), OPLOCK_KEY_VERSION_WIN8),
        (
            vec![(GUID_ECP_OPLOCK_KEY, single(OTHER)), (GUID_ECP_DUAL_OPLOCK_KEY, dual(both))],
            both,
            OPLOCK_KEY_VERSION_WIN8,
        ),
    ];
    for (ecps, expected, version) in cases {
        let file = world.adopt(open_with(&world, plain("f"), &ecps).expect("opened").0);
        let own = object(&file);
        assert_eq!(oplock_key::of(own), expected);
        let context = oplock_key::context(own).expect("it has keys");
        assert_eq!(context.get(OPLOCK_KEY_CONTEXT::Version), version);
        let target = oplock_key::target_context(own).map(|target| {
            let bytes = Region::pool(target.view(), OPLOCK_KEY_ECP_CONTEXT::SIZE).to_vec().expect("ours");
            GUID::from_bytes(bytes[..16].try_into().expect("sixteen"))
        });
        assert_eq!(target, expected.target);
    }
    for ecps in [
        vec![(OTHER, single(KEY))],
        vec![(GUID_ECP_OPLOCK_KEY, single(KEY)[..16].to_vec())],
        vec![(GUID_ECP_DUAL_OPLOCK_KEY, dual(keys(None, None)))],
    ] {
        let file = world.adopt(open_with(&world, plain("f"), &ecps).expect("opened").0);
        let own = object(&file);
        assert_eq!((oplock_key::of(own), oplock_key::context(own)), (Keys::default(), None));
    }
    let (first, second) = (keyed(&world, plain("f"), KEY), keyed(&world, plain("f"), KEY));
    let (third, none) = (keyed(&world, plain("f"), OTHER), world.sync_file("f"));
    let one = |left: &File<'_>, right: &File<'_>| are_keys_equal(Some(object(left)), Some(object(right)));
    assert!(one(&first, &first) && one(&first, &second) && one(&none, &none));
    assert!(!one(&first, &third) && !one(&first, &none) && !one(&none, &first));
    assert!(!are_keys_equal(Some(object(&first)), None) && !are_keys_equal(None, None));
    drop((first, second, third, none));
    let left = pool::outstanding(world.kernel.id()).into_iter().find(|(tag, ..)| *tag == pool::tag(b"IoFE"));
    assert_eq!(left, None, "a key goes with its file object");
}

#[test]
fn nt_opl_10_files_with_one_key_do_not_break_each_others_oplocks() {
    let world = World::new();
    for kind in ALL {
        let file = holder(&world);
        let held = file.hold(kind);
        let other = keyed(&world, spec("f", DATA | 0x1_0000, SYNC, 7, 1), KEY);
        assert!(held.is_waiting(), "{kind:#x}: an open");
        assert_eq!(other.read(4, Some(0)).0.returned, OK);
        assert_eq!(other.set(class::RENAME, &name_information(0, nt_ob::Handle::NULL, "g")), OK);
        assert_eq!(other.set(class::RENAME, &name_information(0, nt_ob::Handle::NULL, "f")), OK);
        assert_eq!((other.set(class::DISPOSITION, &[1]), other.set(class::DISPOSITION, &[0])), (OK, OK));
        assert!(held.is_waiting(), "{kind:#x}: a read, names, a deletion");
        // Level 2 has no owner.
        assert_eq!(other.write(b"own", Some(0)).returned, OK);
        assert_eq!(held.is_waiting(), kind != LEVEL_2, "{kind:#x}: a write");
        if kind == LEVEL_2 {
            assert_eq!(held.iosb(), Iosb::Is(OK, TO_NONE));
            continue;
        }
        for (what, status) in [
            ("end of file", other.set(class::END_OF_FILE, &9_u64.to_le_bytes())),
            ("allocation", other.set(class::ALLOCATION, &4096_u64.to_le_bytes())),
            ("zeroes", other.control(0x9_80C8, &[&0_u64.to_le_bytes()[..], &4_u64.to_le_bytes()].concat(), 0).0),
            ("a lock", other.lock(0, 4, 0, true).returned),
        ] {
            assert_eq!((status, held.is_waiting()), (OK, true), "{kind:#x}: {what}");
        }
        let replaced = open_with(&world, spec("f", DATA, SYNC, 7, 4), &[(GUID_ECP_OPLOCK_KEY, single(KEY))]);
        drop(world.adopt(replaced.expect("replaced").0));
        assert!(held.is_waiting(), "{kind:#x}: an overwrite");
    }
    let file = holder(&world);
    let held = file.hold(LEVEL_2);
    assert_eq!(keyed(&world, plain("f"), KEY).lock(0, 4, 0, true).returned, OK);
    assert!(!held.is_waiting(), "a lock");
}

#[test]
fn nt_opl_10_another_key_and_no_key_are_other_owners() {
    let world = World::new();
    for key in [Some(OTHER), None] {
        let ecps: Vec<_> = key.iter().map(|key| (GUID_ECP_OPLOCK_KEY, single(*key))).collect();
        let opened = |access, disposition| {
            let spec = spec("f", access, SYNC | GOES_ON, 7, disposition);
            let opened = match &ecps[..] {
                [] => create::create_for(&world.frame(), &spec),
                ecps => open_with(&world, spec, ecps),
            };
            opened.map(|(handle, result)| (world.adopt(handle), result.status))
        };
        for kind in [LEVEL_1, BATCH, FILTER, RW, RWH] {
            let file = holder(&world);
            let held = file.hold(kind);
            let (_other, status) = opened(DATA, 1).expect("opened");
            assert_eq!((status, held.is_waiting()), (NtStatus::OPLOCK_BREAK_IN_PROGRESS, false), "{kind:#x}");
        }
        for kind in [LEVEL_2, R, RH] {
            let file = holder(&world);
            let held = file.hold(kind);
            let (other, status) = opened(DATA, 1).expect("opened");
            assert_eq!((status, held.is_waiting()), (OK, true), "{kind:#x}: an open");
            assert_eq!(other.write(b"new", Some(0)).returned, OK);
            assert!(!held.is_waiting(), "{kind:#x}: a write");
        }
    }
}

#[test]
fn nt_opl_14_a_directory_is_watched_by_the_owner_of_the_parents_key() {
    let world = World::new();
    drop(world.watched("d"));
    let options = FILE_DIRECTORY_FILE;
    let dir = keyed(&world, spec("d", 1 | ATTRIBUTES, options, 7, 1), KEY);
    let child = |name: &str, parent| {
        let keys = Keys { parent, target: Some(OTHER) };
        let made =
            open_with(&world, spec(name, DATA | 0x1_0000, SYNC, 7, 3), &[(GUID_ECP_DUAL_OPLOCK_KEY, dual(keys))]);
        world.adopt(made.expect("made").0)
    };
    let held = dir.hold(R);
    let own = child("d\\own", Some(KEY));
    assert_eq!(own.set(class::RENAME, &name_information(0, nt_ob::Handle::NULL, "mine")), OK);
    assert_eq!(own.set(class::DISPOSITION, &[1]), OK);
    drop(own);
    assert!(held.is_waiting(), "a name came, changed and went, all by the owner");
    // The file's key is not the directory's.
    for (name, parent) in [("d\\a", Some(OTHER)), ("d\\b", None)] {
        let held = dir.hold(R);
        drop(child(name, parent));
        assert!(!held.is_waiting(), "{parent:?}");
    }
}

#[test]
fn nt_opl_03_opens_with_one_key_leave_room_for_caching_writes() {
    let world = World::new();
    for kind in [RW, RWH] {
        let file = holder(&world);
        let same = keyed(&world, plain("f"), KEY);
        let held = file.hold(kind);
        let again = keyed(&world, spec("f", ATTRIBUTES, 0, 7, 1), KEY);
        let _moved = again.hold(RWH);
        assert_eq!(held.iosb(), Iosb::Is(NtStatus::OPLOCK_SWITCHED_TO_NEW_HANDLE, 24), "{kind:#x}");
        assert_eq!(same.request(RW).returned, NtStatus::OPLOCK_NOT_GRANTED, "it never goes down");
        drop((again, same, file));
        let file = holder(&world);
        let refused = |_other: File<'_>| file.request(kind).returned;
        assert_eq!(refused(keyed(&world, plain("f"), OTHER)), NtStatus::OPLOCK_NOT_GRANTED);
        assert_eq!(refused(world.sync_file("f")), NtStatus::OPLOCK_NOT_GRANTED);
        assert!(file.request(kind).is_held(), "they are closed");
    }
    for kind in [LEVEL_1, BATCH, FILTER] {
        let file = holder(&world);
        let _same = keyed(&world, plain("f"), KEY);
        assert_eq!(
            file.ask(kind, &[]).returned,
            NtStatus::OPLOCK_NOT_GRANTED,
            "{kind:#x}: the older kinds know no keys"
        );
    }
    // Read and read-handle go over to the handle that asks last.
    let file = holder(&world);
    let second = keyed(&world, spec("f", ATTRIBUTES, 0, 7, 1), KEY);
    let held = file.hold(R);
    let moved = second.hold(RH);
    assert_eq!(held.iosb(), Iosb::Is(NtStatus::OPLOCK_SWITCHED_TO_NEW_HANDLE, 24));
    assert_eq!(file.request(R).returned, NtStatus::OPLOCK_NOT_GRANTED);
    assert!(moved.is_held());
}

#[test]
fn nt_opl_05_a_create_that_fails_tells_its_caller_of_the_break() {
    let world = World::new();
    for kind in [BATCH, FILTER] {
        world.put("f", b"data");
        let alone = spec("f", GENERIC_READ | SYNCHRONIZE, 0, 0, 1);
        let file = world.adopt(create::nt_create_file(&world.frame(), &alone).expect("there").0);
        let held = file.hold(kind);
        let opened = create::create_for(&world.frame(), &spec("f", DATA, SYNC | GOES_ON, 7, 1));
        let told = IoStatus::new(NtStatus::SHARING_VIOLATION, FILE_OPBATCH_BREAK_UNDERWAY);
        assert_eq!(opened.map(drop), Err(told), "{kind:#x}");
        assert!(create::is_told(told) && !held.is_waiting());
    }
    // One that breaks nothing says no more than that it failed.
    let alone = spec("f", GENERIC_READ | SYNCHRONIZE, 0, 0, 1);
    let _file = world.adopt(create::nt_create_file(&world.frame(), &alone).expect("there").0);
    let opened = create::create_for(&world.frame(), &spec("f", DATA, SYNC | GOES_ON, 7, 1));
    let silent = IoStatus::new(NtStatus::SHARING_VIOLATION, 0);
    assert_eq!(opened.map(drop), Err(silent));
    assert!(!create::is_told(silent));
}

#[test]
fn nt_opl_05_a_create_that_requires_an_oplock_does_not_break_one_of_another() {
    let world = World::new();
    let requiring = |key, share| {
        let spec = spec("f", DATA, SYNC | FILE_OPEN_REQUIRING_OPLOCK, share, 1);
        let opened = open_with(&world, spec, &[(GUID_ECP_OPLOCK_KEY, single(key))]);
        opened.map(|(handle, _)| drop(world.adopt(handle))).map_err(|refused| refused.status)
    };
    for kind in [LEVEL_1, BATCH, FILTER, RW, RWH] {
        let file = holder(&world);
        let held = file.hold(kind);
        assert_eq!(requiring(OTHER, 7), Err(NtStatus::CANNOT_BREAK_OPLOCK), "{kind:#x}");
        assert_eq!((requiring(KEY, 7), held.is_waiting()), (Ok(()), true), "{kind:#x}: its own");
    }
    for kind in [LEVEL_2, R, RH] {
        let file = holder(&world);
        let held = file.hold(kind);
        assert_eq!((requiring(OTHER, 7), held.is_waiting()), (Ok(()), true), "{kind:#x}: an open breaks none");
    }
    // Sharing forbids it: who caches the handle would have to be asked to close it.
    world.put("f", b"data");
    let file = keyed(&world, spec("f", GENERIC_READ | SYNCHRONIZE, 0, 1, 1), KEY);
    let held = file.hold(RH);
    assert_eq!((requiring(OTHER, 7), held.is_waiting()), (Err(NtStatus::CANNOT_BREAK_OPLOCK), true));
}
