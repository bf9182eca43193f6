//! Extended attributes: nt-fs.md section 8, rules NT-EA.
mod support;

use nt_abi::NtStatus;
use nt_cell::Addr;
use nt_cell::arena::UserBlock;
use nt_io::create::{self, CreateSpec};
use nt_io::ea::{EaArguments, nt_query_ea_file};
use nt_io::info::class;
use nt_ke::Mode;
use nt_ob::Handle;
use support::directory::word;
use support::names::*;
use support::*;

const OK: NtStatus = NtStatus::SUCCESS;
const READ_EA: u32 = 8;
const WRITE_EA: u32 = 0x10;
const BAD_NAME: NtStatus = NtStatus::INVALID_EA_NAME;
const INCONSISTENT: NtStatus = NtStatus::EA_LIST_INCONSISTENT;

type Entry = (String, Vec<u8>, u8);

fn wanted(names: &[&[u8]]) -> Vec<u8> {
    chain(names.iter().map(|name| [&[0, 0, 0, 0, name.len() as u8], *name, &[0]].concat()).collect())
}

fn parse(bytes: &[u8]) -> Vec<Entry> {
    let (mut at, mut found) = (0, Vec::new());
    while !bytes.is_empty() {
        let (name, value) =
            (usize::from(bytes[at + 5]), usize::from(u16::from_le_bytes([bytes[at + 6], bytes[at + 7]])));
        let text = String::from_utf8_lossy(&bytes[at + 8..at + 8 + name]).into_owned();
        assert_eq!(bytes[at + 8 + name], 0);
        found.push((text, bytes[at + 9 + name..at + 9 + name + value].to_vec(), bytes[at + 4]));
        match word(bytes, at) as usize {
            0 => break,
            next => at += next,
        }
    }
    found
}

fn entry(name: &str, value: &[u8]) -> Entry {
    (name.to_owned(), value.to_vec(), 0)
}

struct Answer {
    status: NtStatus,
    iosb: Iosb,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

fn query(file: &File<'_>, length: usize, change: impl FnOnce(&mut EaArguments)) -> Answer {
    let block = UserBlock::new(length + 8).expect("arena");
    block.region().fill(0xEE).expect("arena");
    let iosb = pattern_block();
    let mut args = EaArguments {
        handle: file.handle,
        iosb: Addr::user(iosb.addr()),
        buffer: Addr::user(block.addr()),
        length: length as u32,
        single: false,
        list: None,
        index: None,
        restart: false,
    };
    change(&mut args);
    let status = nt_query_ea_file(&file.world.frame(), &args);
    let bytes = block.region().sub(0, length + 8).to_vec().expect("arena");
    let iosb = iosb_at(&iosb);
    let used = match iosb {
        Iosb::Is(NtStatus::SUCCESS | NtStatus::BUFFER_OVERFLOW, used) => used as usize,
        _ => 0,
    };
    Answer { status, iosb, entries: parse(&bytes[..used]), bytes }
}

fn all(file: &File<'_>) -> Vec<Entry> {
    // On a directory of the host each file has its owner and mode too.
    let mut entries = query(file, 4096, |args| args.restart = true).entries;
    entries.retain(|entry| !entry.0.starts_with("$LX"));
    entries
}

fn three(world: &World) -> File<'_> {
    let file = world.sync_file("three");
    let set = ea_list(&[(b"ONE", b"1", 0), (b"TWO", b"22", 0), (b"THREE", b"333", 0)]);
    assert_eq!(file.set_ea(&set), OK);
    file
}

#[test]
fn nt_ea_01_a_file_without_any() {
    if on_dir() {
        return; // each file there has its owner and mode
    }
    let world = World::new();
    let file = world.sync_file("f");
    for length in [0, 1, 64] {
        let answer = query(&file, length, |_| {});
        assert_eq!((answer.status, answer.iosb), (NtStatus::NO_EAS_ON_FILE, Iosb::Untouched), "{length}");
        assert!(answer.bytes[..length].iter().all(|&byte| byte == 0), "zero-filled");
        assert!(answer.bytes[length..].iter().all(|&byte| byte == 0xEE), "and nothing behind it");
    }
    assert_eq!(word(&file.query(class::EA, 4), 0), 0);
}

#[test]
fn nt_ea_02_handles_that_are_no_files() {
    let world = World::new();
    let file = world.sync_file("f");
    for (handle, status) in
        [(Handle(u64::MAX), NtStatus::OBJECT_TYPE_MISMATCH), (Handle(0x7770), NtStatus::INVALID_HANDLE)]
    {
        let answer = query(&file, 64, |args| args.handle = handle);
        assert_eq!((answer.status, answer.iosb), (status, Iosb::Untouched));
        assert!(answer.bytes.iter().all(|&byte| byte == 0xEE));
    }
}

#[test]
fn nt_ea_03_the_rights_to_read_and_write_them() {
    let world = World::new();
    drop(three(&world));
    let (reader, writer) =
        (world.open_file("three", READ_EA | SYNCHRONIZE, SYNC), world.open_file("three", WRITE_EA | SYNCHRONIZE, SYNC));
    assert_eq!(query(&reader, 4096, |_| {}).status, OK);
    assert_eq!(query(&writer, 4096, |_| {}).status, NtStatus::ACCESS_DENIED);
    let set = ea_list(&[(b"X", b"x", 0)]);
    assert_eq!((reader.set_ea(&set), writer.set_ea(&set)), (NtStatus::ACCESS_DENIED, OK));
}

#[test]
fn nt_ea_04_all_of_them_and_then_no_more() {
    let world = World::new();
    let file = three(&world);
    let first = query(&file, 4096, |_| {});
    assert_eq!(first.status, OK);
    let names: Vec<&str> =
        first.entries.iter().map(|entry| entry.0.as_str()).filter(|name| !name.starts_with("$LX")).collect();
    assert_eq!(names, ["ONE", "TWO", "THREE"], "in the stored order");
    for _ in 0..2 {
        assert_eq!(query(&file, 4096, |_| {}).status, NtStatus::NO_MORE_EAS);
    }
    assert_eq!(query(&file, 4096, |args| args.restart = true).entries, first.entries);
}

#[test]
fn nt_ea_05_one_at_a_time_by_the_opens_own_cursor() {
    let world = World::new();
    let file = three(&world);
    let other = world.sync_file("three");
    let all = query(&other, 4096, |_| {}).entries;
    let mut seen = Vec::new();
    loop {
        let answer = query(&file, 4096, |args| args.single = true);
        let [entry] = &answer.entries[..] else {
            assert_eq!(answer.status, NtStatus::NO_MORE_EAS);
            break;
        };
        seen.push(entry.clone());
    }
    assert_eq!(seen, all);
}

#[test]
fn nt_ea_06_what_does_not_fit_comes_next() {
    let world = World::new();
    let file = three(&world);
    let all = query(&file, 4096, |args| args.restart = true).entries;
    let small = query(&file, 8, |args| args.restart = true);
    assert_eq!((small.status, small.iosb), (NtStatus::BUFFER_TOO_SMALL, Iosb::Untouched));
    let size = 9 + all[0].0.len() + all[0].1.len();
    let some = query(&file, size, |args| args.restart = true);
    assert_eq!((some.status, &some.entries[..]), (NtStatus::BUFFER_OVERFLOW, &all[..1]));
    assert_eq!(word(&some.bytes, 0), 0, "the last has no next");
    assert_eq!(query(&file, 4096, |_| {}).entries, all[1..], "the cursor goes on");
}

#[test]
fn nt_ea_07_the_index_counts_from_one() {
    let world = World::new();
    let file = three(&world);
    let all = query(&file, 4096, |_| {}).entries;
    let at = |index: u32| query(&file, 4096, |args| args.index = Some(index));
    assert_eq!(at(0).status, NtStatus::NONEXISTENT_EA_ENTRY);
    for index in 1..=all.len() {
        assert_eq!(at(index as u32).entries, all[index - 1..], "{index}");
    }
    assert_eq!(at(all.len() as u32 + 1).status, NtStatus::NO_MORE_EAS);
    assert_eq!(at(all.len() as u32 + 2).status, NtStatus::NONEXISTENT_EA_ENTRY);
}

#[test]
fn nt_ea_08_a_list_of_names_is_answered_in_its_order() {
    let world = World::new();
    let file = three(&world);
    let answer = query(&file, 4096, |args| args.list = Some(wanted(&[b"three", b"NONE", b"ONE", b"Three"])));
    let expected = [entry("THREE", b"333"), entry("NONE", b""), entry("ONE", b"1")];
    assert_eq!((answer.status, &answer.entries[..]), (OK, &expected[..]));
}

#[test]
fn nt_ea_09_a_list_whose_first_does_not_fit() {
    let world = World::new();
    let file = three(&world);
    let answer = query(&file, 8, |args| args.list = Some(wanted(&[b"THREE"])));
    let overflow = NtStatus::BUFFER_OVERFLOW;
    assert_eq!((answer.status, answer.iosb), (overflow, Iosb::Is(overflow, 0)));
}

#[test]
fn nt_ea_10_lists_that_are_wrong() {
    let world = World::new();
    let file = three(&world);
    let ask = |list: Vec<u8>| query(&file, 4096, |args| args.list = Some(list));
    assert_eq!(ask(wanted(&[b"ONE", b"T*"])).status, BAD_NAME);
    let mut unaligned = wanted(&[b"ONE", b"TWO"]);
    unaligned[0] = 10;
    let answer = ask(unaligned);
    assert_eq!((answer.status, answer.iosb), (INCONSISTENT, Iosb::Is(INCONSISTENT, 0)));
    let mut past = wanted(&[b"ONE", b"TWO"]);
    past[16] = 200;
    let answer = ask(past);
    assert_eq!((answer.status, answer.iosb), (INCONSISTENT, Iosb::Is(INCONSISTENT, 12)), "the offset of the bad one");
}

#[test]
fn nt_ea_11_names_are_folded() {
    let world = World::new();
    let file = world.sync_file("f");
    assert_eq!(file.set_ea(&ea_list(&[(b"Aname1", b"x", 0)])), OK);
    assert_eq!(file.set_ea(&ea_list(&[(b"aNAME1", b"y", 0)])), OK);
    assert_eq!(all(&file), [entry("ANAME1", b"y")]);
}

#[test]
fn nt_ea_12_legal_names() {
    let world = World::new();
    let file = world.sync_file("f");
    for byte in b"\\/:*?\"<>|,+=[];\x01\x1f" {
        let name = [b'a', *byte];
        assert_eq!(file.set_ea(&ea_list(&[(&name, b"x", 0)])), BAD_NAME, "{byte:#x}");
    }
    assert_eq!(file.set_ea(&ea_list(&[(b"", b"x", 0)])), BAD_NAME);
    assert_eq!(file.set_ea(&ea_list(&[(&[b'a'; 255], b"x", 0)])), BAD_NAME);
    let longest = if on_dir() { 100 } else { 254 };
    assert_eq!(file.set_ea(&ea_list(&[(&vec![b'A'; longest], b"x", 0), (b"WITH SPACE", b"y", 0)])), OK);
    assert_eq!(all(&file).len(), 2);
}

#[test]
fn nt_ea_13_replace_remove_and_leave() {
    let world = World::new();
    let file = three(&world);
    assert_eq!(file.set_ea(&ea_list(&[(b"TWO", b"new", 0), (b"ONE", b"", 0), (b"ABSENT", b"", 0)])), OK);
    let mut left = all(&file);
    left.sort();
    assert_eq!(left, [entry("THREE", b"333"), entry("TWO", b"new")]);
}

#[test]
fn nt_ea_14_one_bad_name_and_nothing_is_applied() {
    let world = World::new();
    let file = three(&world);
    assert_eq!(file.set_ea(&ea_list(&[(b"ONE", b"changed", 0), (b"B*D", b"x", 0)])), BAD_NAME);
    for flags in [1, 0x40, 0x81] {
        assert_eq!(file.set_ea(&ea_list(&[(b"ONE", b"changed", flags)])), BAD_NAME, "{flags:#x}");
    }
    assert!(all(&file).contains(&entry("ONE", b"1")));
}

#[test]
fn nt_ea_15_all_together_have_a_limit() {
    if on_dir() {
        return; // the host's own limit is its file system's
    }
    let world = World::new();
    let file = three(&world);
    let before = all(&file);
    let big = vec![7; 40_000];
    assert_eq!(file.set_ea(&ea_list(&[(b"BIG", &big, 0), (b"BIGGER", &big, 0)])), NtStatus::EA_TOO_LARGE);
    assert_eq!(all(&file), before, "undone");
    assert_eq!(file.set_ea(&ea_list(&[(b"BIG", &big, 0)])), OK);
}

#[test]
fn nt_ea_16_the_size_is_the_packed_one() {
    let world = World::new();
    let file = world.sync_file("f");
    let bare = word(&file.query(class::EA, 4), 0);
    assert_eq!(file.set_ea(&ea_list(&[(b"ABC", b"abc", 0)])), OK);
    let size = word(&file.query(class::EA, 4), 0);
    assert_eq!(size - bare, if bare == 0 { 15 } else { 11 });
    let entry = world.directory("").list(2, 512, 0, Some("f"));
    assert_eq!(word(&entry.records(2)[0].bytes, 0x40), size, "the directory's too");
}

#[test]
fn nt_dir_32_one_small_attribute_has_a_small_size() {
    if on_dir() {
        return; // owner and mode count there
    }
    let world = World::new();
    assert_eq!(world.sync_file("f").set_ea(&ea_list(&[(b"ABC", b"abc", 0)])), OK);
    let entry = world.directory("").list(2, 512, 0, Some("f"));
    assert!((8..=16).contains(&word(&entry.records(2)[0].bytes, 0x40)));
}

#[test]
fn nt_ea_17_an_attribute_that_must_be_known() {
    if on_dir() {
        return; // the host keeps no flags
    }
    let world = World::new();
    let file = world.sync_file("f");
    assert_eq!(file.set_ea(&ea_list(&[(b"NEEDED", b"x", 0x80)])), OK);
    assert_eq!(all(&file)[0].2, 0x80);
    let open =
        |options: u32| world.try_open("f", GENERIC_READ | SYNCHRONIZE, SYNC | options, 1).map(|(handle, _)| handle);
    assert_eq!(open(0x200), Err(NtStatus::ACCESS_DENIED), "NO_EA_KNOWLEDGE");
    drop(world.adopt(open(0).expect("with knowledge")));
    assert_eq!(file.set_ea(&ea_list(&[(b"NEEDED", b"x", 0)])), OK);
    drop(world.adopt(open(0x200).expect("nothing needed")));
}

fn create_with(world: &World, name: &str, disposition: u32, options: u32, ea: Vec<u8>) -> Result<(), NtStatus> {
    let spec = CreateSpec {
        access: READ_DATA | SYNCHRONIZE,
        name: full(name).encode_utf16().collect(),
        options: SYNC | options,
        disposition,
        ea: Some(ea),
        ..CreateSpec::default()
    };
    let made = create::nt_create_file(&world.frame(), &spec).map_err(NtStatus::from)?;
    drop(world.adopt(made.0));
    Ok(())
}

fn of(world: &World, name: &str) -> Vec<Entry> {
    all(&world.open_file(name, READ_EA | SYNCHRONIZE, SYNC))
}

#[test]
fn nt_ea_18_attributes_at_the_creation() {
    let world = World::new();
    let ea = || ea_list(&[(b"Made", b"x", 0)]);
    assert_eq!(create_with(&world, "f", 2, 0, ea()), Ok(()), "no right to write them is asked for");
    assert_eq!(of(&world, "f"), [entry("MADE", b"x")]);
    assert_eq!(create_with(&world, "f", 3, 0, ea_list(&[(b"OTHER", b"y", 0)])), Ok(()));
    assert_eq!(of(&world, "f"), [entry("MADE", b"x")], "ignored by an open");
    assert_eq!(create_with(&world, "bad", 2, 0, ea_list(&[(b"B*D", b"x", 0)])), Err(BAD_NAME));
    assert_eq!(world.absent("bad"), Some(NtStatus::OBJECT_NAME_NOT_FOUND), "and no file");
    assert_eq!(create_with(&world, "g", 2, 0x200, ea()), Err(NtStatus::ACCESS_DENIED));
}

#[test]
fn nt_ea_19_overwrite_and_supersede_keep_those_of_the_request() {
    let world = World::new();
    for disposition in [5, 0] {
        drop(three(&world));
        assert_eq!(create_with(&world, "three", disposition, 0, ea_list(&[(b"NEW", b"n", 0)])), Ok(()));
        assert_eq!(of(&world, "three"), [entry("NEW", b"n")], "{disposition}");
        drop(world.adopt(world.try_open("three", GENERIC_WRITE | SYNCHRONIZE, SYNC, disposition).expect("open").0));
        assert_eq!(of(&world, "three"), [], "{disposition}: none asked for");
    }
}

#[test]
fn nt_ea_20_an_ill_formed_list_at_the_creation() {
    let world = World::new();
    let mut bad = ea_list(&[(b"ONE", b"1", 0), (b"TWO", b"2", 0)]);
    bad[0] = 9;
    assert_eq!(create_with(&world, "f", 2, 0, bad), Err(INCONSISTENT));
    assert_eq!(world.absent("f"), Some(NtStatus::OBJECT_NAME_NOT_FOUND));
    let good = ea_list(&[(b"ONE", b"1", 0)]);
    assert_eq!(nt_io::ea::check_full(&good), Ok(()));
    assert_eq!(nt_io::ea::check_full(&good[..good.len() - 1]), Err(0));
}

#[test]
fn nt_ea_21_they_belong_to_the_file() {
    let world = World::new();
    let file = three(&world);
    assert_eq!(file.link("second", false), OK);
    assert_eq!(of(&world, "second"), all(&file));
    drop(world.directory("d"));
    for name in ["d", ""] {
        let dir = world.open_file(name, READ_EA | WRITE_EA | SYNCHRONIZE, SYNC | DIR);
        assert_eq!(dir.set_ea(&ea_list(&[(b"ON", b"dir", 0)])), OK, "{name:?}");
        assert_eq!(all(&dir), [entry("ON", b"dir")], "{name:?}");
    }
}

#[test]
fn nt_ea_22_what_a_set_moves() {
    if on_dir() {
        return; // the host's attributes and times
    }
    let world = World::new();
    let file = world.sync_file("f");
    file.set_attributes(0x80);
    let before = file.basic().0;
    world.pause();
    assert_eq!(file.set_ea(&ea_list(&[(b"X", b"x", 0)])), OK);
    let (after, attributes) = file.basic();
    assert!(after[3] > before[3]);
    assert_eq!((after[2], attributes), (before[2], 0x20), "not written to; to be archived");
}

#[test]
fn nt_ea_23_kernel_names_are_not_for_users() {
    if on_dir() {
        return; // the host has no such names
    }
    let world = World::new();
    let file = world.sync_file("f");
    assert_eq!(file.set_ea(&ea_list(&[(b"$Kernel.Secret", b"x", 0), (b"PLAIN", b"p", 0)])), OK, "silently");
    assert_eq!(all(&file), [entry("PLAIN", b"p")]);
    let frame = world.frame();
    let set = ea_list(&[(b"$KERNEL.SECRET", b"x", 0)]);
    assert_eq!(frame.with_mode(Mode::Kernel, || file.set_ea(&set)), OK);
    assert!(all(&file).contains(&entry("$KERNEL.SECRET", b"x")), "shown to all");
}

#[test]
fn nt_ea_26_a_set_in_between_upsets_the_cursor() {
    let world = World::new();
    let file = three(&world);
    let other = world.sync_file("three");
    assert_eq!(query(&file, 4096, |args| args.single = true).status, OK);
    assert_eq!(other.set_ea(&ea_list(&[(b"NEW", b"x", 0)])), OK);
    assert_eq!(query(&file, 4096, |args| args.single = true).status, NtStatus::EA_CORRUPT_ERROR);
    assert_eq!(query(&file, 4096, |args| args.restart = true).status, OK);
}
