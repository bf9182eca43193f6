//! Reparse points on files and directories: nt-fs.md section 7, rules NT-REP that need no following.
mod support;

use nt_abi::NtStatus;
use nt_io::info::class;
use support::directory::word;
use support::names::*;
use support::reparse::*;
use support::*;

const GET: u32 = 0x9_00A8;
const REMOVE: u32 = 0x9_00AC;
const OK: NtStatus = NtStatus::SUCCESS;
const BAD_DATA: NtStatus = NtStatus::IO_REPARSE_DATA_INVALID;
const BAD_TAG: NtStatus = NtStatus::IO_REPARSE_TAG_INVALID;
const MISMATCH: NtStatus = NtStatus::IO_REPARSE_TAG_MISMATCH;
const NONE: NtStatus = NtStatus::NOT_A_REPARSE_POINT;

/// The header that FSCTL_DELETE_REPARSE_POINT takes.
fn header(tag: u32, guid: u8) -> Vec<u8> {
    guid_data(tag, guid, &[])
}

fn new<'a>(world: &'a World, name: &str, options: u32) -> File<'a> {
    world.file(name, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | options)
}

#[test]
fn nt_rep_01_asking_a_file_that_is_none() {
    let world = World::new();
    world.put("f", b"");
    for file in [world.open_file("f", 0x2_0000 | SYNCHRONIZE, SYNC), world.open_file("", READ_DATA | SYNCHRONIZE, SYNC)]
    {
        assert_eq!(file.control(GET, &[], 0).0, NtStatus::INVALID_USER_BUFFER);
        for length in [1, 100] {
            assert_eq!(file.control(GET, &[], length).0, NONE, "{length}");
        }
    }
}

#[test]
fn nt_rep_02_a_buffer_below_the_guid_form() {
    let world = World::new();
    let file = new(&world, "f", 0);
    assert_eq!(set(&file, &lx_symlink_data("somewhere/else")), OK);
    drop(file);
    let file = world.itself("f");
    for length in [1, 8, 0x18, 0x1B] {
        assert_eq!(file.control(GET, &[], length).0, NtStatus::BUFFER_TOO_SMALL, "{length}");
    }
    assert_eq!(file.control(GET, &[], 0x1C).0, OK.max_overflow(lx_symlink_data("somewhere/else").len(), 0x1C));
}

trait Fits {
    fn max_overflow(self, size: usize, room: usize) -> Self;
}
impl Fits for NtStatus {
    fn max_overflow(self, size: usize, room: usize) -> Self {
        if size > room { Self::BUFFER_OVERFLOW } else { self }
    }
}

#[test]
fn nt_rep_03_as_much_as_fits_of_what_was_set() {
    let world = World::new();
    let file = new(&world, "f", 0);
    let data = lx_symlink_data("a/target/that/is/long/enough/to/be/cut");
    assert_eq!(set(&file, &data), OK);
    drop(file);
    let file = world.itself("f");
    for length in [0x1C, data.len() - 1] {
        let (status, iosb, bytes) = file.control(GET, &[], length);
        assert_eq!((status, iosb), (NtStatus::BUFFER_OVERFLOW, Iosb::Is(NtStatus::BUFFER_OVERFLOW, length as u64)));
        assert_eq!(bytes, data[..length]);
    }
    for length in [data.len(), data.len() + 50] {
        let (status, iosb, bytes) = file.control(GET, &[], length);
        assert_eq!((status, iosb), (OK, Iosb::Is(OK, data.len() as u64)));
        assert_eq!(bytes[..data.len()], data);
    }
}

#[test]
fn nt_rep_04_who_may_set_one() {
    let world = World::new();
    for (access, expected) in
        [(READ_DATA, NtStatus::ACCESS_DENIED), (0x2_0000, NtStatus::ACCESS_DENIED), (WRITE_DATA, OK), (0x100, OK)]
    {
        let name = format!("f{access:x}");
        world.put(&name, b"");
        let file = world.open_file(&name, access | SYNCHRONIZE, SYNC);
        assert_eq!(set(&file, &lx_symlink_data("x")), expected, "{access:#x}");
    }
}

#[test]
fn nt_rep_05_sizes_that_do_not_add_up() {
    let world = World::new();
    let file = new(&world, "f", 0);
    let good = lx_symlink_data("target");
    let guid = guid_data(OURS, 7, b"data");
    let mut longer = good.clone();
    longer.push(0);
    let mut microsoft_as_guid = guid.clone();
    microsoft_as_guid[..4].copy_from_slice(&SYMLINK.to_le_bytes());
    let mut guid_as_microsoft = good.clone();
    guid_as_microsoft[..4].copy_from_slice(&OURS.to_le_bytes());
    let huge = guid_data(OURS, 7, &[0; 0x4000]);
    for bad in [
        &good[..7],
        &good[..good.len() - 1],
        &longer,
        &guid[..guid.len() - 1],
        &microsoft_as_guid,
        &guid_as_microsoft,
        &huge,
    ] {
        assert_eq!(set(&file, bad), BAD_DATA, "{} bytes", bad.len());
    }
    assert_eq!(set(&file, &[]), BAD_DATA);
}

#[test]
fn nt_rep_06_reserved_tags() {
    let world = World::new();
    let file = new(&world, "f", 0);
    for tag in [0, 1, 0x0001_0005, 0x0800_0005] {
        assert_eq!(set(&file, &guid_data(tag, 7, b"x")), BAD_TAG, "{tag:#x}");
    }
}

#[test]
fn nt_rep_07_a_mount_point_is_a_directory() {
    let world = World::new();
    let file = new(&world, "f", 0);
    assert_eq!(set(&file, &mount_data("\\??\\C:\\x")), NtStatus::NOT_A_DIRECTORY);
}

#[test]
fn nt_rep_08_a_filled_directory_takes_few_tags() {
    let world = World::new();
    world.fill("d", &["x"]);
    let dir = new(&world, "d", DIR);
    for data in [mount_data("\\??\\C:\\x"), guid_data(OURS, 7, b"x")] {
        assert_eq!(set(&dir, &data), NtStatus::DIRECTORY_NOT_EMPTY);
    }
    if !on_dir() {
        assert_eq!(world.to_delete("d\\x").dispose(true), OK);
        assert_eq!(set(&dir, &mount_data("\\??\\C:\\x")), OK, "when it is empty");
    }
}

#[test]
fn nt_rep_09_a_symbolic_link_has_no_data_of_its_own() {
    let world = World::new();
    let file = new(&world, "f", 0);
    assert_eq!(file.write(b"data", Some(0)), success(4));
    assert_eq!(set(&file, &symlink_data("x", true)), BAD_DATA);
    if on_dir() {
        return; // the host keeps no other tags
    }
    assert_eq!(set(&file, &guid_data(OURS, 7, b"x")), OK, "another tag may");
    drop(file);
    assert_eq!(world.itself("f").read(4, Some(0)).1, b"data");
    assert_eq!(set(&new(&world, "empty", 0), &symlink_data("x", true)), OK);
}

#[test]
fn nt_rep_10_a_symbolic_link_leads_somewhere() {
    let world = World::new();
    let file = new(&world, "f", 0);
    assert_eq!(set(&file, &symlink_data("", true)), BAD_DATA);
    if !on_dir() {
        for (round, odd) in ["foobar", "a/b", "a\\\\b"].into_iter().enumerate() {
            assert_eq!(set(&new(&world, &format!("f{round}"), 0), &symlink_data(odd, false)), OK, "{odd}: stored");
        }
    }
}

#[test]
fn nt_rep_11_only_the_same_tag_replaces() {
    if on_dir() {
        return; // the host keeps no other tags
    }
    let world = World::new();
    let file = new(&world, "f", 0);
    assert_eq!((set(&file, &guid_data(OURS, 7, b"one")), set(&file, &guid_data(OURS, 7, b"other"))), (OK, OK));
    assert_eq!(file.control(GET, &[], 64).2[..29], guid_data(OURS, 7, b"other"));
    assert_eq!(set(&file, &guid_data(OURS + 1, 7, b"x")), MISMATCH);
    assert_eq!(set(&file, &symlink_data("x", true)), MISMATCH);
    assert_eq!(set(&file, &guid_data(OURS, 8, b"x")), NtStatus::REPARSE_ATTRIBUTE_CONFLICT);
}

#[test]
fn nt_rep_13_every_answer_shows_it() {
    let world = World::new();
    let file = new(&world, "f", 0);
    let older = world.open_file("f", 0x80 | SYNCHRONIZE, SYNC);
    assert_eq!(set(&file, &lx_symlink_data("x")), OK);
    drop(file);
    let tag = |file: &File<'_>| {
        let bytes = file.query(class::ATTRIBUTE_TAG, 8);
        (word(&bytes, 0) & 0x400, word(&bytes, 4))
    };
    let link = world.itself("f");
    assert_eq!((tag(&older), tag(&link)), ((0x400, 0xA000_001D), (0x400, 0xA000_001D)));
    assert_eq!((link.basic().1 & 0x400, link.eof()), (0x400, 0));
    if !on_dir() {
        assert_eq!(link.basic().1 & 0x20, 0x20, "ARCHIVE stays");
        let dir = new(&world, "d", DIR);
        assert_eq!(set(&dir, &mount_data("\\??\\C:\\x")), OK);
        assert_eq!(dir.basic().1 & 0x410, 0x410, "so does DIRECTORY");
    }
}

#[test]
fn nt_rep_14_the_one_form_that_takes_it_off() {
    if on_dir() {
        return; // what the host keeps is another kind of thing, not an attribute of a file
    }
    let world = World::new();
    let file = new(&world, "f", 0);
    let data = symlink_data("x", true);
    assert_eq!(set(&file, &data), OK);
    let remove = |data: &[u8]| file.control(REMOVE, data, 0).0;
    assert_eq!(remove(&[]), NtStatus::INVALID_BUFFER_SIZE);
    let mut claims = header(SYMLINK, 0);
    claims[4] = 4;
    let longer = [header(SYMLINK, 0), vec![0; 4]].concat();
    for bad in [&[1][..], &data, &claims, &longer, &header(SYMLINK, 0)[..8]] {
        assert_eq!(remove(bad), BAD_DATA, "{} bytes", bad.len());
    }
    assert_eq!(remove(&header(SYMLINK, 0)), OK);
}

#[test]
fn nt_rep_15_by_its_own_tag() {
    if on_dir() {
        return; // as above
    }
    let world = World::new();
    let file = new(&world, "f", 0);
    assert_eq!(set(&file, &symlink_data("x", true)), OK);
    let remove = |tag: u32| file.control(REMOVE, &header(tag, 0), 0).0;
    assert_eq!((remove(0), remove(MOUNT), remove(SYMLINK), remove(SYMLINK)), (BAD_TAG, MISMATCH, OK, NONE));
}

#[test]
fn nt_rep_16_a_guid_tag_by_its_guid() {
    if on_dir() {
        return; // as above
    }
    let world = World::new();
    let file = new(&world, "f", 0);
    let data = guid_data(OURS, 7, b"1234");
    assert_eq!(set(&file, &data), OK);
    let remove = |data: &[u8]| file.control(REMOVE, data, 0).0;
    assert_eq!((remove(&data), remove(&[header(OURS, 7), vec![0; 4]].concat())), (BAD_DATA, BAD_DATA));
    assert_eq!(remove(&header(OURS, 8)), NtStatus::REPARSE_ATTRIBUTE_CONFLICT);
    assert_eq!((remove(&header(OURS, 7)), remove(&header(OURS, 7))), (OK, NONE));
}

#[test]
fn nt_rep_17_the_files_own_data_stays() {
    if on_dir() {
        return; // as above
    }
    let world = World::new();
    let file = new(&world, "f", 0);
    assert_eq!(file.write(b"first", Some(0)), success(5));
    assert_eq!(set(&file, &guid_data(OURS, 7, b"x")), OK);
    assert_eq!(world.itself("f").write(b"FIRST", Some(0)), success(5));
    assert_eq!(file.control(REMOVE, &header(OURS, 7), 0).0, OK);
    drop(file);
    assert_eq!(world.get("f"), Some(b"FIRST".to_vec()));
}

#[test]
fn nt_rep_19_opened_itself() {
    let world = World::new();
    let file = new(&world, "f", 0);
    assert_eq!(set(&file, &lx_symlink_data("x")), OK);
    drop(file);
    for disposition in [1, 3] {
        let opened = world.try_open("f", READ_DATA | SYNCHRONIZE, SYNC | OPEN_REPARSE, disposition);
        drop(world.adopt(opened.expect("itself").0));
    }
    if !on_dir() {
        assert_eq!(set(&new(&world, "d", DIR), &mount_data("\\??\\C:\\x")), OK);
        let status = world.try_open("d", 0x80 | SYNCHRONIZE, SYNC | OPEN_REPARSE | 0x40, 1).err();
        assert_eq!(status, Some(NtStatus::FILE_IS_A_DIRECTORY));
    }
}

#[test]
fn nt_rep_30_a_set_through_the_link_is_on_the_link() {
    if on_dir() {
        return; // the host keeps no attributes of its links
    }
    let world = World::new();
    world.put("target", b"x");
    let file = new(&world, "f", 0);
    assert_eq!(set(&file, &symlink_data("target", true)), OK);
    drop(file);
    let link = world.itself("f");
    link.set_attributes(2);
    assert_eq!((link.basic().1, world.sync_file("target").basic().1 & 2), (0x402, 0));
}

#[test]
fn nt_rep_33_attributes_and_reparse_data_go_together() {
    if on_dir() {
        return; // the host keeps no attributes of its links
    }
    let world = World::new();
    let file = new(&world, "f", 0);
    assert_eq!(set(&file, &lx_symlink_data("x")), OK);
    assert_eq!(file.set_ea(b"\0\0\0\0\0\x01\x01\0E\0v"), OK);
    drop(file);
    let link = world.itself("f");
    assert!(word(&link.query(class::EA, 4), 0) != 0);
    assert_eq!(link.control(GET, &[], 64).0, OK);
}
