//! What a volume tells of itself, and its label: nt-fs.md section 13, rules NT-VOL.
mod support;

use nt_abi::NtStatus;
use nt_cell::Addr;
use nt_cell::arena::UserBlock;
use nt_io::info::{InfoArguments, class, nt_query_volume_information_file, nt_set_volume_information_file};
use nt_ob::Handle;
use support::directory::{long, units, word};
use support::names::*;
use support::*;

const OK: NtStatus = NtStatus::SUCCESS;
const SHORT: NtStatus = NtStatus::INFO_LENGTH_MISMATCH;
const WRONG: NtStatus = NtStatus::INVALID_INFO_CLASS;
const DENIED: NtStatus = NtStatus::ACCESS_DENIED;

fn volume_call(world: &World, handle: Handle, iosb: Addr, buffer: Addr, length: u32, class: u32) -> NtStatus {
    let args = InfoArguments { handle, iosb, buffer, length, class };
    nt_query_volume_information_file(&world.frame(), &args)
}

#[test]
fn nt_vol_01_class_then_length_then_addresses_then_the_handle() {
    let world = World::new();
    let (null, block) = (Addr::NULL, UserBlock::new(128).expect("arena"));
    let at = Addr::user(block.addr());
    for class in [0, 2, 15, 100, 0x8000_0000] {
        assert_eq!(volume_call(&world, Handle::NULL, null, null, 0, class), WRONG, "class {class}");
    }
    for (class, size) in [(1, 24), (3, 24), (4, 8), (5, 16), (6, 48), (7, 32), (8, 64), (11, 28)] {
        assert_eq!(volume_call(&world, Handle::NULL, null, null, size - 1, class), SHORT, "class {class}");
        assert_eq!(volume_call(&world, Handle::NULL, null, at, size, class), NtStatus::ACCESS_VIOLATION);
        assert_eq!(volume_call(&world, Handle::NULL, at, null, size, class), NtStatus::ACCESS_VIOLATION);
        let odd = Addr::user(block.addr() + 2);
        assert_eq!(volume_call(&world, Handle::NULL, at, odd, size, class), NtStatus::DATATYPE_MISALIGNMENT);
        let data = Addr::user(block.addr() + 32);
        assert_eq!(volume_call(&world, Handle::NULL, at, data, size, class), NtStatus::INVALID_HANDLE);
        assert_eq!(volume_call(&world, Handle(u64::MAX), at, data, size, class), NtStatus::OBJECT_TYPE_MISMATCH);
    }
}

#[test]
fn nt_vol_02_a_label_that_does_not_fit_is_cut() {
    let world = World::new();
    let volume = world.volume(GENERIC_READ | GENERIC_WRITE);
    assert_eq!(set_label(&world, volume.handle, "a longer label"), OK);
    assert_eq!(volume.try_query_volume(1, 23).0, SHORT);
    let (status, iosb, bytes) = volume.try_query_volume(1, 24);
    assert_eq!((status, iosb), (NtStatus::BUFFER_OVERFLOW, Iosb::Is(NtStatus::BUFFER_OVERFLOW, 24)));
    assert_eq!((word(&bytes, 12), &bytes[18..24]), (28, &units("a longer label")[..6]));
}

#[test]
fn nt_vol_03_what_a_volume_tells() {
    let world = World::new();
    let (status, iosb, bytes) = world.volume(GENERIC_READ).try_query_volume(1, 128);
    let label = word(&bytes, 12);
    assert_eq!((status, iosb), (OK, Iosb::Is(OK, 18 + u64::from(label))));
    assert!(long(&bytes, 0) != 0 && word(&bytes, 8) != 0);
    assert_eq!((bytes[16], &bytes[18..18 + label as usize]), (1, &units("ntio")[..]));
}

#[test]
fn nt_vol_04_any_handle_serves() {
    let world = World::new();
    world.put("f", b"");
    let handles = [
        world.open_file("f", SYNCHRONIZE, SYNC),
        world.open_file("", SYNCHRONIZE, SYNC | DIR),
        world.volume(SYNCHRONIZE),
    ];
    for file in &handles {
        for class in [1, 3, 4, 5, 7] {
            assert_eq!(file.try_query_volume(class, 128).0, OK, "class {class}");
        }
        assert_eq!(file.try_query_volume(6, 48).0, DENIED, "Control needs READ_DATA");
    }
    assert_eq!(world.volume(GENERIC_READ).try_query_volume(6, 48).0, OK);
}

#[test]
fn nt_vol_05_the_file_system_names_itself() {
    let world = World::new();
    let (status, iosb, bytes) = world.volume(GENERIC_READ).try_query_volume(5, 64);
    assert_eq!((status, iosb), (OK, Iosb::Is(OK, 0x14)));
    assert_eq!(word(&bytes, 0) & 0x0100_0000, 0x0100_0000, "open by id");
    assert_eq!((word(&bytes, 4), word(&bytes, 8), &bytes[12..20]), (255, 8, &units("NTFS")[..]));
}

#[test]
fn nt_vol_06_a_name_that_does_not_fit_is_cut() {
    let world = World::new();
    let volume = world.volume(GENERIC_READ);
    assert_eq!(volume.try_query_volume(5, 15).0, SHORT);
    let (status, iosb, bytes) = volume.try_query_volume(5, 16);
    assert_eq!((status, iosb), (NtStatus::BUFFER_OVERFLOW, Iosb::Is(NtStatus::BUFFER_OVERFLOW, 16)));
    assert_eq!((word(&bytes, 8), &bytes[12..16]), (8, &units("NT")[..]));
}

#[test]
fn nt_vol_09_sizes_agree() {
    let world = World::new();
    let volume = world.volume(GENERIC_READ);
    let (size, full) = (volume.query_volume(3, 24).expect("size"), volume.query_volume(7, 32).expect("full size"));
    assert_eq!(long(&size, 0), long(&full, 0));
    assert!(long(&size, 8) > 0);
    assert_eq!([word(&size, 16), word(&size, 20), word(&full, 24), word(&full, 28)], [8, 512, 8, 512]);
}

#[test]
fn nt_vol_10_the_newer_sizes_add_up() {
    let world = World::new();
    world.put("f", &[1; 100_000]);
    let volume = world.volume(GENERIC_READ);
    let full = volume.query_volume(7, 32).expect("full size");
    assert!(long(&full, 8) <= long(&full, 16));
    let ex = volume.query_volume(14, 96).expect("full size ex");
    let at = |index: usize| long(&ex, index * 8);
    assert_eq!(at(0), at(1) + at(2) + at(6) + at(7), "actual");
    assert_eq!(at(3), at(4) + at(5) + at(6) + at(7), "caller");
    assert_eq!((at(0), at(2), at(5)), (long(&full, 0), 0, 0));
    if !on_dir() {
        assert_eq!((at(1), at(4)), (long(&full, 16), long(&full, 8)));
    }
}

#[test]
fn nt_vol_11_the_device_is_the_io_managers_to_tell() {
    let world = World::new();
    let volume = world.volume(SYNCHRONIZE);
    assert_eq!(volume.try_query_volume(4, 7).0, SHORT);
    let bytes = volume.query_volume(4, 8).expect("device");
    assert_eq!((word(&bytes, 0), word(&bytes, 4) & 0x20), (7, 0x20));
    assert_eq!(volume.try_query_volume(4, 64).1, Iosb::Is(OK, 8));
}

#[test]
fn nt_vol_12_sector_sizes() {
    let world = World::new();
    let volume = world.volume(GENERIC_READ);
    assert_eq!(volume.try_query_volume(11, 27).0, SHORT);
    let bytes = volume.query_volume(11, 28).expect("sector size");
    let words: Vec<u32> = (0..28).step_by(4).map(|at| word(&bytes, at)).collect();
    assert_eq!(words, [512, 4096, 4096, 4096, 3, 0, 0]);
}

#[test]
fn nt_vol_14_no_quotas_are_kept() {
    let world = World::new();
    let bytes = world.volume(GENERIC_READ).query_volume(6, 48).expect("control");
    assert_eq!([long(&bytes, 24), long(&bytes, 32)], [u64::MAX; 2]);
    assert_eq!(word(&bytes, 40), 0);
}

#[test]
fn nt_vol_15_classes_that_the_volume_does_not_serve() {
    let world = World::new();
    let volume = world.volume(GENERIC_READ);
    for class in [9, 10, 12, 13] {
        assert_eq!(volume.try_query_volume(class, 256).0, NtStatus::INVALID_PARAMETER, "class {class}");
    }
}

fn set_label(world: &World, handle: Handle, label: &str) -> NtStatus {
    let mut bytes = (label.encode_utf16().count() as u32 * 2).to_le_bytes().to_vec();
    bytes.extend(units(label));
    bytes.resize(bytes.len().max(8), 0);
    set_raw_label(world, handle, &bytes)
}

fn set_raw_label(world: &World, handle: Handle, bytes: &[u8]) -> NtStatus {
    let block = UserBlock::new(bytes.len().max(8)).expect("arena");
    block.region().sub(0, bytes.len()).write_from(bytes).expect("arena");
    let iosb = pattern_block();
    let (iosb, buffer) = (Addr::user(iosb.addr()), Addr::user(block.addr()));
    let args = InfoArguments { handle, iosb, buffer, length: bytes.len() as u32, class: 2 };
    nt_set_volume_information_file(&world.frame(), &args)
}

#[test]
fn nt_vol_16_who_may_set_which_label() {
    let world = World::new();
    let volume = world.volume(GENERIC_READ | GENERIC_WRITE);
    assert_eq!(set_raw_label(&world, volume.handle, &[0; 7]), SHORT);
    for bad in [&[3, 0, 0, 0, b'a', 0, b'b', 0][..], &[66, 0, 0, 0, 0, 0, 0, 0], &[8, 0, 0, 0, b'a', 0, b'b', 0]] {
        assert_eq!(set_raw_label(&world, volume.handle, bad), NtStatus::INVALID_VOLUME_LABEL, "{bad:?}");
    }
    assert_eq!(set_label(&world, volume.handle, &"x".repeat(33)), NtStatus::INVALID_VOLUME_LABEL);
    assert_eq!(set_label(&world, volume.handle, &"x".repeat(32)), OK);
    assert_eq!(set_label(&world, world.volume(GENERIC_READ).handle, "x"), DENIED);
    assert_eq!(set_label(&world, world.sync_file("f").handle, "x"), DENIED, "not through a file");
    let root = world.open_file("", 2 | SYNCHRONIZE, SYNC | DIR);
    assert_eq!(set_label(&world, root.handle, "root"), OK);
}

#[test]
fn nt_vol_17_a_new_label_shows() {
    let world = World::new();
    let volume = world.volume(GENERIC_READ | GENERIC_WRITE);
    for label in ["work", ""] {
        assert_eq!(set_label(&world, volume.handle, label), OK);
        let bytes = world.volume(GENERIC_READ).query_volume(1, 64).expect("the volume");
        assert_eq!(bytes[18..18 + word(&bytes, 12) as usize], units(label));
        let vpb = world.volume.device.ptr(nt_abi::io::DEVICE_OBJECT::Vpb).expect("mounted");
        assert_eq!(usize::from(vpb.get(nt_abi::io::VPB::VolumeLabelLength)), label.len() * 2);
    }
}

#[test]
fn nt_vol_18_a_class_that_is_none_is_told_first() {
    let world = World::new();
    for class in [0, 0x8000_0000] {
        let args = InfoArguments { handle: Handle::NULL, iosb: Addr::NULL, buffer: Addr::NULL, length: 0, class };
        assert_eq!(nt_set_volume_information_file(&world.frame(), &args), WRONG);
    }
}

#[test]
fn nt_vol_19_the_serial_number_is_one_and_the_same() {
    let world = World::new();
    let volume = world.volume(GENERIC_READ);
    let serial = word(&volume.query_volume(1, 64).expect("the volume"), 8);
    let vpb = world.volume.device.ptr(nt_abi::io::DEVICE_OBJECT::Vpb).expect("mounted");
    assert_eq!(vpb.get(nt_abi::io::VPB::SerialNumber), serial);
    assert_eq!(long(&world.sync_file("f").query(class::ID, 24), 0) as u32, serial);
}
