//! What the fast path refuses: nt-io.md section 8.
mod support;

use nt_abi::NtStatus;
use nt_abi::io::{FILE_OBJECT, FO_CLEANUP_COMPLETE, FO_FILE_MODIFIED, FO_FILE_SIZE_CHANGED, FO_WRITE_THROUGH};
use nt_abi::mm::FSRTL_ADVANCED_FCB_HEADER;
use nt_cell::Foreign;
use nt_cell::arena::UserBlock;
use nt_io::irp::IoStatus;
use nt_io::rw::{Direction, call_fast};
use nt_io::{FastCall, event};
use nt_ke::Mode;
use nt_ob::types::ObjectType;
use support::*;

/// FastIoIsNotPossible, FastIoIsPossible, FastIoIsQuestionable.
const POSSIBLE: [u8; 3] = [0, 1, 2];
const EXCLUSIVE: bool = true;
const END_OF_FILE: u32 = 20;

fn object(world: &World, file: &File<'_>) -> Foreign<FILE_OBJECT> {
    let found = event::reference(&world.frame(), file.handle, ObjectType::File, 0, Mode::Kernel).expect("a file");
    found.0.body().view()
}

/// FastIoWrite of the volume, as the I/O manager calls it.
fn fast(world: &World, file: &File<'_>, offset: i64, length: u32) -> bool {
    let block = UserBlock::new(length as usize).expect("arena");
    let call = FastCall {
        file: object(world, file),
        offset,
        length,
        wait: true,
        key: 0,
        buffer: block.region().sub(0, length as usize),
        device: world.volume.device,
    };
    let answer = call_fast(Direction::Write, call);
    assert!(answer.is_none_or(|result| result == IoStatus::new(NtStatus::SUCCESS, length.into())), "{answer:?}");
    answer.is_some()
}

#[test]
fn nt_k_07_what_the_fast_path_leaves_to_a_packet() {
    let world = World::new();
    let manager = nt_cc::Manager::of(&world.kernel);
    manager.set_policy(Some(nt_cc::Policy::Behind));
    let (file, other) = (world.sync_file("k07"), world.sync_file("k07"));
    assert!(!fast(&world, &file, 0, 8), "no cache map yet");
    assert_eq!(file.write(&[1; 4096], Some(0)), success(4096));
    assert!(fast(&world, &file, 0, 8));
    let opened = object(&world, &file);
    let header = opened.ptr(FILE_OBJECT::FsContext).expect("an FCB").view::<FSRTL_ADVANCED_FCB_HEADER>();
    for possible in POSSIBLE {
        header.set(FSRTL_ADVANCED_FCB_HEADER::IsFastIoPossible, possible);
        assert_eq!(fast(&world, &file, 0, 8), possible != 0, "IsFastIoPossible {possible}");
    }
    header.set(FSRTL_ADVANCED_FCB_HEADER::IsFastIoPossible, 1);
    for flag in [FO_WRITE_THROUGH, FO_CLEANUP_COMPLETE] {
        opened.or32(FILE_OBJECT::Flags, flag);
        assert!(!fast(&world, &file, 0, 8), "flag {flag:#x}");
        opened.and32(FILE_OBJECT::Flags, !flag);
    }
    // A range that another owner has locked; the locks make the file questionable.
    assert_eq!(other.lock(100, 10, 0, EXCLUSIVE), success(0));
    assert_eq!(header.get(FSRTL_ADVANCED_FCB_HEADER::IsFastIoPossible), 2);
    assert!(!fast(&world, &file, 96, 8) && !fast(&world, &file, 100, 1));
    assert!(fast(&world, &file, 0, 100) && fast(&world, &file, 110, 8));
    assert_eq!(other.unlock(100, 10, 0), success(0));
    assert!(fast(&world, &file, 96, 8));
    // An oplock that the write would break; when it is gone, the packet that came instead has let it go on.
    let holder = world.async_file("k07");
    let held = holder.hold(support::oplock::LEVEL_2);
    assert!(!fast(&world, &file, 0, 8));
    assert_eq!(file.write(b"breaks", Some(0)), success(6));
    assert!(!held.is_waiting() && fast(&world, &file, 0, 8));
    drop(holder);
    // Past the valid data, and past the allocation.
    assert_eq!(file.set(END_OF_FILE, &(1_u64 << 20).to_le_bytes()), NtStatus::SUCCESS);
    let valid = header.get(FSRTL_ADVANCED_FCB_HEADER::ValidDataLength);
    let allocation = header.get(FSRTL_ADVANCED_FCB_HEADER::AllocationSize);
    assert!(!fast(&world, &file, valid + 0x2001, 8), "too far past the valid data");
    assert!(fast(&world, &file, valid + 0x2000, 8));
    let whole = world.sync_file("whole");
    assert_eq!(whole.write(&[1; 4096], Some(0)), success(4096));
    let header =
        object(&world, &whole).ptr(FILE_OBJECT::FsContext).expect("an FCB").view::<FSRTL_ADVANCED_FCB_HEADER>();
    let allocation = allocation.min(header.get(FSRTL_ADVANCED_FCB_HEADER::AllocationSize));
    assert!(!fast(&world, &whole, allocation - 4, 8), "past the allocation");
    assert!(fast(&world, &whole, allocation - 8, 8));
    // The cache has no room for more dirty pages.
    manager.set_dirty_limit(1);
    assert!(!fast(&world, &file, 0x2000 + 8192, 4096), "throttled");
    manager.set_dirty_limit(1 << 16);
    assert!(fast(&world, &file, 0x2000 + 8192, 4096));
}

#[test]
fn nt_k_09_a_fast_write_moves_sizes_position_and_marks() {
    let world = World::new();
    nt_cc::Manager::of(&world.kernel).set_policy(Some(nt_cc::Policy::Behind));
    assert_eq!(world.sync_file("k09").write(&[1; 100], Some(0)), success(100));
    let file = world.sync_file("k09");
    assert_eq!(file.read(10, Some(0)).0, success(10), "the cache map is made by a read");
    let opened = object(&world, &file);
    let marks = || opened.get(FILE_OBJECT::Flags) & (FO_FILE_MODIFIED | FO_FILE_SIZE_CHANGED);
    let header = opened.ptr(FILE_OBJECT::FsContext).expect("an FCB").view::<FSRTL_ADVANCED_FCB_HEADER>();
    let sizes =
        || (header.get(FSRTL_ADVANCED_FCB_HEADER::FileSize), header.get(FSRTL_ADVANCED_FCB_HEADER::ValidDataLength));
    assert_eq!((marks(), sizes()), (0, (100, 100)));
    assert!(fast(&world, &file, 20, 30));
    assert_eq!((marks(), sizes(), file.position()), (FO_FILE_MODIFIED, (100, 100), 50), "inside the file");
    assert!(fast(&world, &file, 90, 30));
    assert_eq!((marks(), sizes(), file.position()), (FO_FILE_MODIFIED | FO_FILE_SIZE_CHANGED, (120, 120), 120));
}
