//! The volume opened itself: its sectors, its lock, its dismount. Rules NT-S-02, NT-S-16 to NT-S-18.
mod support;

use nt_abi::NtStatus;
use nt_ke::WindowsVersion;
use support::*;

const LOCK: u32 = 0x9_0018;
const UNLOCK: u32 = 0x9_001C;
const DISMOUNT: u32 = 0x9_0020;
const IS_MOUNTED: u32 = 0x9_0028;
const EXTENDED: u32 = 0x9_0083;
const SIZE: i64 = 1 << 20;
const RW: u32 = GENERIC_READ | GENERIC_WRITE;

fn world() -> World {
    World::with(WindowsVersion::default(), Some(SIZE as u64))
}

#[test]
fn nt_s_16_outside_the_boot_area_a_write_needs_the_lock() {
    let world = world();
    let volume = world.volume(RW);
    let boot = volume.read(512, Some(0));
    assert_eq!((boot.0, &boot.1[3..11], &boot.1[510..]), (success(512), &b"NTFS    "[..], &[0x55, 0xAA][..]));
    assert_eq!(volume.write(&[1; 512], Some(512)), success(512), "the boot area is free");
    assert_eq!(volume.write(&[1; 512], Some(8192)), refused(NtStatus::ACCESS_DENIED));
    assert_eq!(volume.write(&[1; 512], Some(SIZE - 512)), refused(NtStatus::ACCESS_DENIED));
    assert_eq!(volume.position(), 1024, "what was refused moved nothing");
    let file = world.sync_file("open");
    assert_eq!(volume.fsctl(LOCK), NtStatus::ACCESS_DENIED, "a file is open");
    drop(file);
    assert_eq!(volume.fsctl(UNLOCK), NtStatus::NOT_LOCKED);
    assert_eq!(volume.fsctl(LOCK), NtStatus::SUCCESS);
    assert_eq!(world.try_open("open", GENERIC_READ, 0, 1).err(), Some(NtStatus::ACCESS_DENIED), "locked");
    assert_eq!(volume.write(&[2; 1024], Some(8192)), success(1024));
    assert_eq!(volume.fsctl(UNLOCK), NtStatus::SUCCESS);
    assert_eq!(volume.write(&[1; 512], Some(8192)), refused(NtStatus::ACCESS_DENIED));
    assert_eq!(volume.read(1024, Some(8192)).1, vec![2; 1024]);
    assert!(world.try_open("open", GENERIC_READ, 0, 1).is_ok());
}

#[test]
fn nt_s_16_a_volume_handle_is_never_cached() {
    let world = world();
    let volume = world.volume(RW);
    for (length, offset) in [(511, 0), (512, 1), (513, 512)] {
        assert_eq!(volume.write(&vec![1; length], Some(offset)), refused(NtStatus::INVALID_PARAMETER));
    }
    assert_eq!(volume.write(&[], Some(8192)), success(0));
}

#[test]
fn nt_s_16_a_handle_that_dismounted_may_write() {
    let world = world();
    let volume = world.volume(RW);
    assert_eq!(volume.fsctl(DISMOUNT), NtStatus::SUCCESS);
    assert_eq!(volume.write(&[3; 512], Some(SIZE - 512)), success(512));
    assert_eq!(volume.fsctl(IS_MOUNTED), NtStatus::VOLUME_DISMOUNTED);
}

#[test]
fn nt_s_17_past_the_end_nothing_is_written_and_nothing_fails() {
    let world = world();
    let volume = world.volume(RW);
    for offset in [SIZE, SIZE + 4096, i64::MAX, -1] {
        assert_eq!(volume.write(&[1; 512], Some(offset)), success(0), "{offset}");
    }
    assert_eq!(volume.read(512, Some(SIZE)).0.returned, NtStatus::END_OF_FILE);
    assert_eq!(world.sync_file("file").fsctl(EXTENDED), NtStatus::INVALID_PARAMETER);
    assert_eq!(volume.fsctl(EXTENDED), NtStatus::SUCCESS);
    assert_eq!(
        volume.write(&[1; 512], Some(SIZE)),
        refused(NtStatus::INVALID_PARAMETER),
        "it may, and there is nothing"
    );
}

#[test]
fn nt_s_18_a_write_over_the_volumes_end_is_cut_there() {
    let world = world();
    let volume = world.volume(RW);
    assert_eq!(volume.fsctl(LOCK), NtStatus::SUCCESS);
    assert_eq!(volume.write(&[9; 8192], Some(SIZE - 1024)), success(1024));
    assert_eq!(volume.position(), SIZE);
    let (done, bytes) = volume.read(8192, Some(SIZE - 2048));
    assert_eq!((done, &bytes[..1024], &bytes[1024..]), (success(2048), &[0; 1024][..], &[9; 1024][..]));
}

#[test]
fn nt_s_02_a_file_of_a_dismounted_volume_answers_so() {
    let world = world();
    let file = world.sync_file("s02");
    assert_eq!(file.write(b"kept", Some(0)), success(4));
    let volume = world.volume(RW);
    assert_eq!((volume.fsctl(IS_MOUNTED), file.fsctl(IS_MOUNTED)), (NtStatus::SUCCESS, NtStatus::SUCCESS));
    assert_eq!(file.fsctl(DISMOUNT), NtStatus::INVALID_PARAMETER, "of a volume handle only");
    assert_eq!(volume.fsctl(DISMOUNT), NtStatus::SUCCESS);
    let gone = refused(NtStatus::VOLUME_DISMOUNTED);
    assert_eq!((file.write(b"lost", Some(0)), file.read(4, Some(0)).0), (gone, gone));
    assert_eq!(file.try_query(5, 24).0, NtStatus::VOLUME_DISMOUNTED);
    assert_eq!(file.fsctl(IS_MOUNTED), NtStatus::VOLUME_DISMOUNTED);
    assert_eq!(world.sync_file("other").bytes_of("s02"), b"kept", "the next open mounts it anew");
}

#[test]
fn a_dismount_ends_the_watches_of_the_volume() {
    use support::notify::FILE_NAME;
    let world = world();
    let dir = world.watched("d");
    let wait = dir.watch(FILE_NAME);
    assert!(wait.is_waiting());
    let volume = world.volume(RW);
    assert_eq!(volume.fsctl(DISMOUNT), NtStatus::SUCCESS);
    assert_eq!(wait.iosb(), Iosb::Is(NtStatus::NOTIFY_CLEANUP, 0));
    drop(world.sync_file("d\\new")); // mounts it anew: what the old handle watched is not there any more
    assert_eq!(wait.iosb(), Iosb::Is(NtStatus::NOTIFY_CLEANUP, 0));
}
