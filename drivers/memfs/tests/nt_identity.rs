//! What tells files apart and what a name once was: ids, directories that mind case, names that are made again.
mod support;

use nt_abi::NtStatus;
use nt_abi::io::FILE_OBJECT;
use nt_io::create::{self, CreateSpec};
use nt_io::info::class;
use support::names::*;
use support::*;

#[test]
fn nt_qry_09_ids_carry_a_sequence_in_their_upper_bits() {
    let world = World::new();
    let id = |name: &str| {
        let bytes = world.open_file(name, 0x80 | SYNCHRONIZE, SYNC).query(class::INTERNAL, 8);
        u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
    };
    world.put("one", b"1");
    world.put("two", b"2");
    let (one, two, root) = (id("one"), id("two"), id(""));
    assert_ne!(one, two);
    assert_eq!(id("one"), one, "the same in each open");
    match &world.ground {
        None => {
            assert_eq!(root, 0x0005_0000_0000_0005);
            assert_eq!((one >> 48, two >> 48), (1, 1), "each index is in its first use");
        }
        Some(ground) => {
            use std::os::unix::fs::MetadataExt;
            let inode = |name: &str| std::fs::metadata(ground.path().join(name)).expect("stat").ino();
            let low = (1 << 48) - 1;
            assert_eq!((one & low, two & low, root & low), (inode("one") & low, inode("two") & low, inode("") & low));
            // What only a rename changes keeps its id.
            assert_eq!(world.to_delete("one").rename("three", false), NtStatus::SUCCESS);
            assert_eq!(id("three"), one);
        }
    }
}

#[test]
fn nt_qry_29_what_an_uncompressed_file_on_one_node_says() {
    let world = World::new();
    world.put("f", b"twelve bytes");
    let file = world.open_file("f", SYNCHRONIZE, SYNC);
    assert_eq!(file.query(class::NUMA_NODE, 2), [0xFF, 0xFF]);
    // No access is needed. On `dir` the size is that of owner, group and mode, which the host has for every file.
    assert_eq!(file.query(class::EA, 4), if on_dir() { [49, 0, 0, 0] } else { [0; 4] });
    let mut expected = vec![0; 16];
    expected[0] = 12;
    assert_eq!(file.query(class::COMPRESSION, 16), expected, "its size, and nothing of a compression");
    let name: Vec<u8> = world.volume.name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let whole = file.query(class::VOLUME_NAME, 4 + name.len());
    assert_eq!((&whole[..4], &whole[4..]), (&(name.len() as u32).to_le_bytes()[..], &name[..]));
    let (status, bytes, iosb) = file.try_query(class::VOLUME_NAME, 12);
    assert_eq!((status, iosb), (NtStatus::BUFFER_OVERFLOW, Iosb::Is(NtStatus::BUFFER_OVERFLOW, 12)));
    assert_eq!((&bytes[..4], &bytes[4..]), (&(name.len() as u32).to_le_bytes()[..], &name[..8]));
    for (class, short) in [(class::NUMA_NODE, 1), (class::COMPRESSION, 15), (class::VOLUME_NAME, 7)] {
        assert_eq!(file.try_query(class, short).0, NtStatus::INFO_LENGTH_MISMATCH);
    }
}

#[test]
fn nt_qry_30_a_directory_minds_case_when_it_is_told_to() {
    const RIGHTS: u32 = 0x100 | 2 | 4 | 0x40;
    let world = World::new();
    world.folder("d");
    let directory = |access: u32| world.open_file("d", access | 0x80 | SYNCHRONIZE, SYNC | DIR);
    let flags = |file: &File<'_>| file.query(class::CASE_SENSITIVE, 4)[0];
    let set = |file: &File<'_>, flags: u32| file.set(class::CASE_SENSITIVE, &flags.to_le_bytes());
    let all = directory(RIGHTS);
    assert_eq!(flags(&all), 0);
    for missing in [2, 4, 0x40, 0x100] {
        assert_eq!(set(&directory(RIGHTS & !missing), 1), NtStatus::ACCESS_DENIED, "without {missing:#x}");
    }
    assert_eq!(set(&all, 2), NtStatus::INVALID_PARAMETER);
    world.put("file", b"");
    let file = world.open_file("file", GENERIC_WRITE | 0x80 | SYNCHRONIZE, SYNC);
    assert_eq!(set(&file, 1), NtStatus::INVALID_PARAMETER, "a file is no directory");
    world.put("d\\first", b"");
    assert_eq!((set(&all, 1), flags(&all)), (NtStatus::DIRECTORY_NOT_EMPTY, 0));
    assert_eq!(world.get("D\\FIRST"), Some(Vec::new()), "as ever");
    assert_eq!(world.to_delete("d\\first").dispose(true), NtStatus::SUCCESS);
    assert_eq!((set(&all, 1), flags(&all)), (NtStatus::SUCCESS, 1));
    // From now on its names are three, for callers that mind no case too.
    for name in ["name", "Name", "NAME"] {
        world.put(&format!("D\\{name}"), name.as_bytes());
    }
    for name in ["name", "Name", "NAME"] {
        assert_eq!(world.get(&format!("d\\{name}")), Some(name.as_bytes().to_vec()));
    }
    assert_eq!(world.absent("d\\nAME"), Some(NtStatus::OBJECT_NAME_NOT_FOUND));
    let lx = all.query(class::STAT_LX, 96);
    assert_eq!(lx[0x48] & 0x10, 0x10, "FileStatLxInformation tells it too");
    assert_eq!((set(&all, 0), flags(&all)), (NtStatus::CASE_DIFFERING_NAMES_IN_DIR, 1));
    for name in ["Name", "NAME"] {
        assert_eq!(world.to_delete(&format!("d\\{name}")).dispose(true), NtStatus::SUCCESS);
    }
    assert_eq!((set(&all, 0), flags(&all)), (NtStatus::SUCCESS, 0));
    assert_eq!(world.get("d\\nAME"), Some(b"name".to_vec()));
}

/// The creation time of a file.
fn created(world: &World, name: &str) -> i64 {
    let bytes = world.open_file(name, 0x80 | SYNCHRONIZE, SYNC).query(class::BASIC, 40);
    i64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}

/// Gives a file a creation time that no clock gives.
fn stamp(world: &World, name: &str, time: i64) {
    let mut basic = vec![0; 40];
    basic[..8].copy_from_slice(&time.to_le_bytes());
    assert_eq!(world.open_file(name, 0x100 | SYNCHRONIZE, SYNC).set(class::BASIC, &basic), NtStatus::SUCCESS);
}

#[test]
fn nt_ren_37_a_name_made_anew_has_the_former_creation_time() {
    const OLD: i64 = 0x01C0_0000_0000_0000;
    let world = World::new();
    world.folder("d");
    let remove = |name: &str| assert_eq!(world.to_delete(name).dispose(true), NtStatus::SUCCESS);
    // Off, as it is without the option: a new file is new.
    world.put("f", b"");
    stamp(&world, "f", OLD);
    remove("f");
    world.put("f", b"");
    assert_ne!(created(&world, "f"), OLD);
    world.volume.set_tunnelling(true);
    stamp(&world, "f", OLD);
    remove("f");
    world.put("F", b"");
    assert_eq!(created(&world, "f"), OLD, "whatever the case");
    world.put("d\\f", b"");
    assert_ne!(created(&world, "d\\f"), OLD, "in its directory only");
    // What editors do: the old file goes out of the way, the new one gets its name.
    stamp(&world, "f", OLD + 5);
    assert_eq!(world.to_delete("f").rename("f.bak", false), NtStatus::SUCCESS);
    world.put("f.new", b"");
    assert_eq!(world.to_delete("f.new").rename("f", false), NtStatus::SUCCESS);
    assert_eq!((created(&world, "f"), created(&world, "f.bak")), (OLD + 5, OLD + 5));
    // Directories are not tunnelled.
    world.folder("gone");
    stamp(&world, "gone", OLD);
    remove("gone");
    world.folder("gone");
    assert_ne!(created(&world, "gone"), OLD);
    world.volume.set_tunnelling(false);
    remove("f.bak");
    world.put("f.bak", b"");
    assert_ne!(created(&world, "f.bak"), OLD + 5);
}

#[test]
fn nt_nam_20_the_directory_of_a_name_is_opened() {
    let world = World::new();
    world.folder("d");
    world.put("d\\there", b"");
    for (name, last, exists) in [("d\\there", "there", 4), ("d\\absent", "absent", 5), ("top", "top", 5)] {
        let spec = CreateSpec {
            access: 2 | SYNCHRONIZE,
            name: full(name).encode_utf16().collect(),
            options: SYNC,
            target_directory: true,
            ..CreateSpec::default()
        };
        let (opened, result, _) = create::open(&world.frame(), &spec, None).expect("its directory");
        let units = nt_rtl::unicode::units(opened.at(FILE_OBJECT::FileName)).expect("readable");
        assert_eq!((String::from_utf16_lossy(&units), result.information), (last.to_owned(), exists));
        create::abandon(opened);
    }
    let spec = CreateSpec {
        access: 2 | SYNCHRONIZE,
        name: full("nowhere\\f").encode_utf16().collect(),
        target_directory: true,
        ..CreateSpec::default()
    };
    let end = create::open(&world.frame(), &spec, None).err().map(|refused| refused.status);
    assert_eq!(end, Some(NtStatus::OBJECT_PATH_NOT_FOUND));
}

#[test]
fn nt_vol_20_what_is_ntfs_own() {
    const VOLUME_DATA: u32 = 0x9_0064;
    let world = World::new();
    world.put("f", b"");
    let file = world.open_file("f", READ_DATA | SYNCHRONIZE, SYNC);
    assert_eq!(file.control(0x9_00F4, &[], 64).0, NtStatus::JOURNAL_NOT_ACTIVE);
    let (status, iosb, data) = world.volume(READ_DATA).control(VOLUME_DATA, &[], 0x60);
    assert_eq!((status, iosb), (NtStatus::SUCCESS, Iosb::Is(NtStatus::SUCCESS, 0x60)));
    let long = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().expect("eight bytes"));
    let word = |at: usize| u64::from(u32::from_le_bytes(data[at..at + 4].try_into().expect("four bytes")));
    let size = file.query_volume(3, 24).expect("FileFsSizeInformation");
    let clusters = u64::from_le_bytes(size[..8].try_into().expect("eight bytes"));
    assert_eq!((long(0x10), word(0x2C)), (clusters, 4096));
    assert_eq!(long(0x08), clusters * 4096 / word(0x28), "sectors and clusters are one volume");
    assert_eq!(word(0x30), 1024);
    assert!(long(0x40) < clusters && long(0x48) < clusters && long(0x50) < long(0x58) && long(0x58) <= clusters);
    assert_eq!(file.control(VOLUME_DATA, &[], 0x5F).0, NtStatus::BUFFER_TOO_SMALL);
    // USN_RECORD_V2, with a Usn of 0.
    let (status, iosb, record) = file.control(0x9_00EB, &[], 256);
    assert_eq!((status, iosb), (NtStatus::SUCCESS, Iosb::Is(NtStatus::SUCCESS, 0x40)));
    assert_eq!((&record[..8], &record[0x18..0x20]), (&[0x40, 0, 0, 0, 2, 0, 0, 0][..], &[0; 8][..]));
    assert_eq!(&record[8..16], &file.query(class::INTERNAL, 8)[..]);
    let root = world.open_file("", 0x80 | SYNCHRONIZE, SYNC).query(class::INTERNAL, 8);
    assert_eq!((&record[0x10..0x18], &record[0x38..0x3E]), (&root[..], &[2, 0, 0x3C, 0, b'f', 0][..]));
    assert_eq!(file.control(0x9_00EB, &[], 0x3F).0, NtStatus::BUFFER_TOO_SMALL);
    // Transactions: FSCTL_TXFS_MODIFY_RM, FSCTL_TXFS_CREATE_MINIVERSION.
    for code in [0x9_8144, 0x9_817C] {
        assert_eq!(
            world.open_file("f", GENERIC_WRITE | SYNCHRONIZE, SYNC).fsctl(code),
            NtStatus::INVALID_DEVICE_REQUEST
        );
    }
}

#[test]
fn nt_vol_08_what_is_claimed_is_there_and_nothing_else() {
    let world = World::new();
    let bytes = world.volume(GENERIC_READ).query_volume(5, 64).expect("attributes");
    assert_eq!(u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")), 0x01C4_06CF);
    // Of what can be asked for: the claims hold, and what is not claimed is refused.
    drop(world.sync_file("f:stream"));
    let file = world.file("f", GENERIC_READ | GENERIC_WRITE | DELETE | SYNCHRONIZE, SYNC);
    assert_eq!(file.link("another", false), NtStatus::SUCCESS);
    let refused = NtStatus::INVALID_DEVICE_REQUEST;
    assert_eq!(file.fsctl(0x9_00C4), NtStatus::SUCCESS, "FSCTL_SET_SPARSE");
    // FSCTL_SET_COMPRESSION, CREATE_OR_GET_OBJECT_ID, SET_ENCRYPTION, TXFS_CREATE_SECONDARY_RM, CREATE_USN_JOURNAL.
    for code in [0x9_C040, 0x9_00C0, 0x9_00D7, 0x9_8168, 0x9_00E7] {
        assert_eq!(file.control(code, &[0; 64], 64).0, refused, "{code:#x}");
    }
}

#[test]
fn nt_vol_13_a_volume_in_memory_has_an_object_id_from_its_format_on() {
    let world = World::new();
    let ask = |world: &World| world.volume(GENERIC_READ).try_query_volume(8, 64);
    let (status, iosb, bytes) = ask(&world);
    if on_dir() {
        assert_eq!(status, NtStatus::OBJECTID_NOT_FOUND);
        return;
    }
    assert_eq!((status, iosb), (NtStatus::SUCCESS, Iosb::Is(NtStatus::SUCCESS, 64)));
    assert!(bytes[..16] != [0; 16] && bytes[16..] == [0; 48]);
    assert_eq!(ask(&world).2, bytes, "it stays");
    assert_ne!(ask(&World::new()).2, bytes, "and is another volume's no more");
    assert_eq!(world.volume(GENERIC_READ).try_query_volume(8, 63).0, NtStatus::INFO_LENGTH_MISMATCH);
}
