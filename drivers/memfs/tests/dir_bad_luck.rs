//! A `dir` volume on a host that is full or read-only: a clear status each, and nothing that was there is lost.
//!
//! The small file systems of these tests need the right to mount; NTIO_NO_MOUNT=1 says that it is known to be absent.

mod support;

use nt_abi::NtStatus;
use nt_io::create::CreateSpec;
use nt_io::info::class;
use nt_ke::WindowsVersion;
use std::fs;
use support::*;

const DELETE: u32 = 0x1_0000;
const DIRECTORY: u32 = 1;
const OPEN: u32 = 1;
const CREATE: u32 = 2;
const OVERWRITE: u32 = 4;

fn small(size: u64) -> Option<World> {
    let ground = Ground::small(size)?;
    Some(World::on(WindowsVersion::default(), None, Some(ground)))
}

impl World {
    fn try_status(&self, name: &str, access: u32, options: u32, disposition: u32) -> NtStatus {
        match self.try_open(name, access | SYNCHRONIZE, SYNC | options, disposition) {
            Ok((handle, _)) => {
                drop(self.adopt(handle));
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }
}

#[test]
fn a_write_that_does_not_fit_leaves_the_file_as_it_was() {
    let Some(world) = small(64 << 10) else { return };
    let file = world.sync_file("f");
    assert_eq!(file.write(&[1; 20_000], None), success(20_000));
    let other = world.sync_file("other");
    for round in 0..3 {
        // Part of it fits, and the host takes that part: it must go again.
        assert_eq!(file.write(&[2; 100_000], None), refused(NtStatus::DISK_FULL), "{round}");
        assert_eq!((file.eof(), file.position()), (20_000, 20_000));
        assert_eq!(other.write(&[3; 100_000], Some(1000)), refused(NtStatus::DISK_FULL));
        assert_eq!(other.eof(), 0);
    }
    assert_eq!(file.bytes_of("f"), vec![1; 20_000]);
    assert_eq!(other.write(&[4; 30_000], Some(0)), success(30_000), "the room is there again");
    assert_eq!(fs::read(world.ground.as_ref().expect("there").path().join("other")).expect("a file"), vec![4; 30_000]);
}

#[test]
fn what_asks_for_room_on_a_full_volume_is_refused_and_the_rest_works() {
    let Some(world) = small(64 << 10) else { return };
    let file = world.sync_file("f");
    let mut count = 0;
    while file.write(&[5; 4096], None).returned == NtStatus::SUCCESS {
        count += 4096;
    }
    assert!((32 << 10..=64 << 10).contains(&count), "{count}");
    assert_eq!(file.write(&[6; 4096], Some(0)), success(4096), "what is there can be written over");
    let more = (count + (1 << 20)) as i64;
    assert_eq!(file.set(class::ALLOCATION, &more.to_le_bytes()), NtStatus::DISK_FULL);
    assert_eq!(file.eof(), count as u64);
    // The host gives room to a hole when it is written to.
    assert_eq!(file.set(class::END_OF_FILE, &more.to_le_bytes()), NtStatus::SUCCESS);
    assert_eq!(file.write(&[7; 4096], Some(more - 4096)), refused(NtStatus::DISK_FULL));
    assert_eq!(file.set(class::END_OF_FILE, &(count as i64).to_le_bytes()), NtStatus::SUCCESS);
    let free = u64::from_le_bytes(world.free()[..8].try_into().expect("8"));
    assert_eq!(free, 0, "clusters for the caller");
    assert_eq!(file.set(class::END_OF_FILE, &4096_i64.to_le_bytes()), NtStatus::SUCCESS);
    assert_eq!(world.sync_file("g").write(&[8; 4096], None), success(4096));
    assert_eq!(file.bytes_of("f"), vec![6; 4096]);
}

#[test]
fn a_read_only_directory_can_be_read() {
    let Some(ground) = Ground::small(1 << 20) else { return };
    fs::create_dir(ground.path().join("d")).expect("a directory");
    fs::write(ground.path().join("f"), b"data").expect("a file");
    ground.protect();
    let world = World::on(WindowsVersion::default(), None, Some(ground));
    let wanted = NtStatus::MEDIA_WRITE_PROTECTED;
    let reader = world.try_open("f", GENERIC_READ | SYNCHRONIZE, SYNC, OPEN).expect("it can be read").0;
    let reader = world.adopt(reader);
    assert_eq!(reader.read(10, Some(0)).1, b"data");
    assert_eq!(world.try_status("f", GENERIC_WRITE, 0, OPEN), wanted);
    assert_eq!(world.try_status("f", GENERIC_WRITE, 0, OVERWRITE), wanted);
    assert_eq!(world.try_status("new", GENERIC_WRITE, 0, CREATE), wanted);
    assert_eq!(world.try_status("new", GENERIC_WRITE, DIRECTORY, CREATE), wanted);
    let changer = world.try_open("f", DELETE | 0x110 | SYNCHRONIZE, SYNC, OPEN).expect("no data asked for").0;
    let changer = world.adopt(changer);
    assert_eq!(
        changer.set(class::BASIC, &[[1_u8; 8].as_slice(), &[0; 24], &[2, 0, 0, 0, 0, 0, 0, 0]].concat()),
        wanted
    );
    assert_eq!(changer.set(class::RENAME, &named("g", 0)), wanted);
    assert_eq!(changer.set(class::LINK, &named("h", 0)), wanted);
    assert_eq!(changer.set_ea(&[0, 0, 0, 0, 0, 1, 1, 0, b'A', 0, b'x']), wanted);
    drop(changer);
    assert_eq!((reader.eof(), reader.bytes_of_self()), (4, b"data".to_vec()));
}

#[test]
fn a_volume_without_room_for_another_file_says_so() {
    let Some(ground) = Ground::tmpfs(&[("size", 1 << 20), ("nr_inodes", 4)]) else { return };
    let world = World::on(WindowsVersion::default(), None, Some(ground));
    let mut made = Vec::new();
    let refused = (0..10).map(|n| format!("f{n}")).find_map(|name| {
        match world.try_open(&name, GENERIC_WRITE | SYNCHRONIZE, SYNC, CREATE) {
            Ok((handle, _)) => {
                made.push(world.adopt(handle));
                None
            }
            Err(status) => Some(status),
        }
    });
    assert_eq!(refused, Some(NtStatus::DISK_FULL));
    assert_eq!(world.try_status("d", GENERIC_READ, DIRECTORY, CREATE), NtStatus::DISK_FULL);
    assert!(!made.is_empty());
    for file in &made {
        assert_eq!(file.write(b"x", None), success(1));
    }
}

fn named(name: &str, flags: u8) -> Vec<u8> {
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut bytes = vec![0; 20];
    bytes[0] = flags;
    bytes[16..20].copy_from_slice(&(name.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&name);
    bytes.resize(bytes.len().max(24), 0);
    bytes
}

impl World {
    /// FileFsFullSizeInformation, from CallerAvailableAllocationUnits on.
    fn free(&self) -> Vec<u8> {
        use nt_cell::Addr;
        use nt_cell::arena::UserBlock;
        let volume = self.volume(0);
        let (buffer, iosb) = (UserBlock::new(64).expect("arena"), pattern_block());
        let args = nt_io::info::InfoArguments {
            handle: volume.handle,
            iosb: Addr::user(iosb.addr()),
            buffer: Addr::user(buffer.addr()),
            length: 32,
            class: 7,
        };
        assert_eq!(nt_io::info::nt_query_volume_information_file(&self.frame(), &args), NtStatus::SUCCESS);
        buffer.region().sub(8, 24).to_vec().expect("arena")
    }
}

impl File<'_> {
    fn bytes_of_self(&self) -> Vec<u8> {
        self.read(self.eof() as usize, Some(0)).1
    }
}

#[test]
fn nt_ea_24_a_host_that_keeps_no_attributes_is_a_volume_without_them() {
    let Some(ground) = Ground::of("ramfs", &[]) else { return };
    let world = World::on(WindowsVersion::default(), None, Some(ground));
    let file = world.sync_file("f");
    let before = file.query(class::EA, 4);
    assert_eq!(file.set_ea(b"\0\0\0\0\0\x01\x01\0E\0v"), NtStatus::EAS_NOT_SUPPORTED);
    assert_eq!(file.query(class::EA, 4), before, "owner, group and mode alone, which are the host's own");
    let spec = CreateSpec {
        access: GENERIC_WRITE | SYNCHRONIZE,
        name: "\\??\\C:\\new".encode_utf16().collect(),
        options: SYNC,
        disposition: 2,
        ea: Some(b"\0\0\0\0\0\x01\x01\0E\0v".to_vec()),
        ..CreateSpec::default()
    };
    let made = nt_io::create::nt_create_file(&world.frame(), &spec).err().map(NtStatus::from);
    assert_eq!(made, Some(NtStatus::EAS_NOT_SUPPORTED), "half a file is none");
    assert_eq!(std::fs::read_dir(world.ground.as_ref().expect("ground").path()).expect("a directory").count(), 1);
}
