//! A write-protected volume takes no change and says so: nt-io.md sections 8 and 14, nt-fs.md.
mod support;

use nt_abi::NtStatus;
use nt_abi::io::{
    FILE_DELETE_ON_CLOSE, FILE_DIRECTORY_FILE, FILE_OBJECT, FILE_READ_ONLY_DEVICE, FSCTL_DELETE_REPARSE_POINT,
    FSCTL_SET_REPARSE_POINT, FSCTL_SET_ZERO_DATA,
};
use nt_abi::mm::{FSRTL_ADVANCED_FCB_HEADER, FastIoIsPossible, FastIoIsQuestionable};
use nt_cell::arena::UserBlock;
use nt_cell::{Addr, Foreign};
use nt_io::info::{InfoArguments, class, nt_set_volume_information_file, volume_class};
use nt_io::rw::{Direction, call_fast};
use nt_io::{FastCall, event};
use nt_ke::Mode;
use nt_ob::Handle;
use nt_ob::types::ObjectType;
use support::names::*;
use support::*;

const OK: NtStatus = NtStatus::SUCCESS;
const PROTECTED: NtStatus = NtStatus::MEDIA_WRITE_PROTECTED;
/// Rights to change other things than data, which the volume grants and then refuses to use.
const CHANGES: u32 = DELETE | WRITE_DAC | 0x110 | SYNCHRONIZE;
const WRITE_DAC: u32 = 0x4_0000;
const SUPERSEDE: u32 = 0;
const OPEN: u32 = 1;
const CREATE: u32 = 2;
const OPEN_IF: u32 = 3;
const OVERWRITE: u32 = 4;
const OVERWRITE_IF: u32 = 5;

/// A volume with `f` and `dir` on it, write-protected.
fn protected() -> World {
    let world = World::new();
    world.put("f", b"data");
    drop(world.directory("dir"));
    let open = world.open_file("f", GENERIC_READ | SYNCHRONIZE, SYNC);
    assert_eq!(
        world.volume.protect().map_err(|error| error.status()),
        Err(NtStatus::ACCESS_DENIED),
        "something is open"
    );
    drop(open);
    world.volume.protect().expect("nothing is open");
    world
}

fn status(world: &World, name: &str, access: u32, disposition: u32, options: u32) -> NtStatus {
    match world.try_open(name, access | SYNCHRONIZE, SYNC | options, disposition) {
        Ok((handle, _)) => {
            drop(world.adopt(handle));
            OK
        }
        Err(status) => status,
    }
}

#[test]
fn nt_s_03_what_a_create_would_change_is_refused() {
    let world = protected();
    for disposition in [CREATE, OPEN_IF, OVERWRITE_IF, SUPERSEDE] {
        assert_eq!(status(&world, "new", GENERIC_READ, disposition, 0), PROTECTED, "new by {disposition}");
        assert_eq!(status(&world, "f:new", GENERIC_READ, disposition, 0), PROTECTED, "a stream by {disposition}");
    }
    assert_eq!(status(&world, "new", GENERIC_READ, CREATE, FILE_DIRECTORY_FILE), PROTECTED);
    for disposition in [OVERWRITE, OVERWRITE_IF, SUPERSEDE] {
        assert_eq!(status(&world, "f", GENERIC_READ, disposition, 0), PROTECTED, "over by {disposition}");
    }
    for right in [2, 4, GENERIC_WRITE] {
        assert_eq!(status(&world, "f", right, OPEN, 0), PROTECTED, "{right:#x}");
        assert_eq!(status(&world, "dir", right, OPEN, FILE_DIRECTORY_FILE), PROTECTED, "{right:#x}");
    }
    // What fails anyway fails as ever, and what changes nothing goes on.
    assert_eq!(status(&world, "none", GENERIC_WRITE, OPEN, 0), NtStatus::OBJECT_NAME_NOT_FOUND);
    assert_eq!(status(&world, "f", GENERIC_WRITE, CREATE, 0), NtStatus::OBJECT_NAME_COLLISION);
    assert_eq!(status(&world, "f", GENERIC_READ, OPEN_IF, 0), OK);
    assert_eq!(status(&world, "f", CHANGES, OPEN, 0), OK);
    let file = world.open_file("f", 0x0200_0000 | SYNCHRONIZE, SYNC);
    assert_eq!(u32::from_le_bytes(file.query(class::ACCESS, 4)[..4].try_into().expect("4")) & 6, 0, "MAXIMUM_ALLOWED");
    assert_eq!(file.read(10, Some(0)), (success(4), b"data".to_vec()));
}

#[test]
fn nt_s_03_writes_and_sets_are_refused() {
    let world = protected();
    let file = world.open_file("f", CHANGES, SYNC);
    // A kernel-mode caller needs no access.
    let write = |data: &[u8]| world.frame().with_mode(Mode::Kernel, || file.write(data, Some(0)).returned);
    assert_eq!((write(b"x"), write(b"")), (PROTECTED, OK), "NT-W-08");
    let times = [1_i64, 0, 0, 0].into_iter().flat_map(i64::to_le_bytes).chain([0; 8]).collect::<Vec<u8>>();
    assert_eq!(file.set(class::BASIC, &times), PROTECTED);
    assert_eq!(file.set(class::DISPOSITION, &[1]), PROTECTED);
    assert_eq!(file.set(class::RENAME, &name_information(0, Handle::NULL, &full("g"))), PROTECTED);
    assert_eq!(file.set(class::LINK, &name_information(0, Handle::NULL, &full("h"))), PROTECTED);
    assert_eq!(file.set_ea(&[0, 0, 0, 0, 0, 1, 1, 0, b'A', 0, b'x']), PROTECTED);
    let reader = world.open_file("f", GENERIC_READ | SYNCHRONIZE, SYNC);
    assert_eq!(reader.set(class::POSITION, &2_i64.to_le_bytes()), OK, "the position is the file object's");
    assert_eq!(reader.read(10, None), (success(2), b"ta".to_vec()));
    let zero = || reader.control(FSCTL_SET_ZERO_DATA, &[0; 16], 0).0;
    assert_eq!(world.frame().with_mode(Mode::Kernel, zero), PROTECTED);
}

#[test]
fn nt_rep_04_a_reparse_point_is_not_set_on_a_read_only_volume() {
    let world = protected();
    let file = world.open_file("f", CHANGES, SYNC);
    let point = [0x0C, 0, 0, 0xA0, 4, 0, 0, 0, 0, 0, 0, 0];
    for code in [FSCTL_SET_REPARSE_POINT, FSCTL_DELETE_REPARSE_POINT] {
        assert_eq!(file.control(code, &point, 0).0, PROTECTED, "{code:#x}");
    }
}

#[test]
fn nt_del_22_a_file_of_a_read_only_volume_is_not_opened_to_be_deleted() {
    let world = protected();
    assert_eq!(status(&world, "f", DELETE, OPEN, FILE_DELETE_ON_CLOSE), NtStatus::CANNOT_DELETE);
    assert_eq!(status(&world, "f", DELETE, OPEN, 0), OK);
}

#[test]
fn nt_vol_17_the_label_of_a_protected_volume_stays() {
    let world = protected();
    let volume = world.volume(GENERIC_READ | GENERIC_WRITE);
    let label = |file: &File<'_>| file.query_volume(volume_class::VOLUME, 64).expect("a label");
    let before = label(&volume);
    let new = [2_u32.to_le_bytes().as_slice(), b"X\0\0\0"].concat();
    let (block, iosb) = (UserBlock::new(16).expect("arena"), pattern_block());
    block.region().sub(0, new.len()).write_from(&new).expect("arena");
    let args = InfoArguments {
        handle: volume.handle,
        iosb: Addr::user(iosb.addr()),
        buffer: Addr::user(block.addr()),
        length: new.len() as u32,
        class: volume_class::LABEL,
    };
    assert_eq!(nt_set_volume_information_file(&world.frame(), &args), PROTECTED);
    assert_eq!(label(&volume), before);
}

#[test]
fn nt_f_04_a_flush_of_a_write_protected_volume_is_refused() {
    let world = protected();
    let (volume, iosb) = (world.volume(GENERIC_READ | GENERIC_WRITE), pattern_block());
    let flushed = nt_io::flush::nt_flush_buffers_file(&world.frame(), volume.handle, Addr::user(iosb.addr()));
    assert_eq!(flushed, PROTECTED);
}

#[test]
fn nt_vol_08_attributes_and_device_tell_the_protection() {
    const FILE_READ_ONLY_VOLUME: u32 = 0x8_0000;
    let told = |world: &World| {
        let volume = world.volume(GENERIC_READ);
        let word = |class: u32, at: usize, length: usize| {
            let bytes = volume.query_volume(class, length).expect("told");
            u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4"))
        };
        let attributes = word(volume_class::ATTRIBUTE, 0, 64);
        (attributes & FILE_READ_ONLY_VOLUME, word(volume_class::DEVICE, 4, 8) & FILE_READ_ONLY_DEVICE)
    };
    assert_eq!(told(&World::new()), (0, 0));
    assert_eq!(told(&protected()), (FILE_READ_ONLY_VOLUME, FILE_READ_ONLY_DEVICE));
}

#[test]
fn nt_k_07_a_write_protected_volume_takes_no_fast_write() {
    let written = |protect: bool| {
        let world = World::new();
        world.put("f", b"data");
        if protect {
            world.volume.protect().expect("nothing is open");
        }
        let file = world.open_file("f", GENERIC_READ | SYNCHRONIZE, SYNC);
        assert_eq!(file.read(4, Some(0)).0, success(4), "the cache map is made by a read");
        let found = event::reference(&world.frame(), file.handle, ObjectType::File, 0, Mode::Kernel).expect("a file");
        let object: Foreign<FILE_OBJECT> = found.0.body().view();
        let header = object.ptr(FILE_OBJECT::FsContext).expect("an FCB").view::<FSRTL_ADVANCED_FCB_HEADER>();
        let block = UserBlock::new(4).expect("arena");
        let (buffer, device) = (block.region().sub(0, 4), world.volume.device);
        let call = FastCall { file: object, offset: 0, length: 4, wait: true, key: 0, buffer, device };
        let possible = header.get(FSRTL_ADVANCED_FCB_HEADER::IsFastIoPossible);
        let read = call_fast(Direction::Read, call).is_some();
        (possible, read, call_fast(Direction::Write, call).is_some())
    };
    assert_eq!(written(false), (FastIoIsPossible, true, true));
    assert_eq!(written(true), (FastIoIsQuestionable, true, false));
}
