//! What tells files apart and what a name once was: ids, directories that mind case, names that are made again.
mod support;

use nt_abi::NtStatus;
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
