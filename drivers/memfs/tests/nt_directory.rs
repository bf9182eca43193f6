//! Directory queries: nt-fs.md section 3, rules NT-DIR.
mod device;
mod support;

use nt_abi::NtStatus;
use nt_io::directory::nt_query_directory_file;
use nt_io::info::class;
use nt_io::service::Caller;
use nt_io::system::AsyncPolicy;
use nt_ke::WindowsVersion;
use support::directory::*;
use support::*;

const REPARSE_TAG: u32 = 0x5678;
const SYMLINK: u32 = 0xA000_001D;
const SET_REPARSE: u32 = 0x9_00A4;
const UNTOUCHED: Iosb = Iosb::Untouched;

fn status(listing: &Listing) -> (NtStatus, Iosb) {
    (listing.status, listing.iosb)
}

#[test]
fn nt_dir_01_other_classes_are_refused() {
    let world = World::new();
    let dir = world.directory("d");
    for bad in [0, 4, 5, 9, 11, 13, 14, 20, 22, 34, 36, 39, 51, 100] {
        let listing = dir.list(bad, 512, 0, None);
        assert_eq!(status(&listing), (NtStatus::INVALID_INFO_CLASS, UNTOUCHED), "class {bad}");
        assert!(listing.bytes.iter().all(|&byte| byte == 0xEE));
    }
}

#[test]
fn nt_dir_02_each_class_has_a_shortest_buffer() {
    let world = World::new();
    world.fill("d", &["a"]);
    let dir = world.directory("d");
    for (class, name, ..) in CLASSES {
        let shortest = (name + 2).next_multiple_of(8);
        let listing = dir.list(class, shortest - 1, RESTART, Some("a"));
        assert_eq!(status(&listing), (NtStatus::INFO_LENGTH_MISMATCH, UNTOUCHED), "class {class}");
        assert!(listing.bytes.iter().all(|&byte| byte == 0xEE));
        let listing = dir.list(class, shortest, RESTART, Some("a"));
        assert_eq!(
            status(&listing),
            (NtStatus::SUCCESS, Iosb::Is(NtStatus::SUCCESS, name as u64 + 2)),
            "class {class}"
        );
    }
}

#[test]
fn nt_dir_03_index_classes_serve_no_ordinary_directory() {
    let world = World::new();
    let dir = world.directory("d");
    for (class, size) in [(29, 72), (32, 56), (33, 16)] {
        assert_eq!(dir.list(class, size - 1, 0, None).status, NtStatus::INFO_LENGTH_MISMATCH, "class {class}");
        assert_eq!(status(&dir.list(class, size, 0, None)), (NtStatus::INVALID_INFO_CLASS, UNTOUCHED), "class {class}");
    }
}

#[test]
fn nt_dir_04_only_a_directory_with_list_access() {
    let world = World::new();
    let mut gone = world.directory("d");
    let handle = std::mem::replace(&mut gone.handle, nt_ob::Handle(0x7770));
    assert_eq!(status(&gone.list(NAMES, 512, 0, None)), (NtStatus::INVALID_HANDLE, UNTOUCHED));
    gone.handle = handle;
    assert_eq!(world.sync_file("f").list(NAMES, 512, 0, None).status, NtStatus::INVALID_PARAMETER);
    let blind = world.file("d", 0x80 | SYNCHRONIZE, SYNC | DIRECTORY);
    assert_eq!(blind.list(NAMES, 512, 0, None).status, NtStatus::ACCESS_DENIED);
}

#[test]
fn nt_dir_05_a_first_entry_that_does_not_fit_is_cut() {
    let world = World::new();
    world.fill("d", &["a_rather_long_name"]);
    for (class, name, length, ..) in CLASSES {
        let dir = world.directory("d");
        let size = (name + 2).next_multiple_of(8);
        let listing = dir.list(class, size, 0, Some("a*"));
        assert_eq!(status(&listing), (NtStatus::BUFFER_OVERFLOW, Iosb::Is(NtStatus::BUFFER_OVERFLOW, size as u64)));
        assert_eq!((word(&listing.bytes, 0), word(&listing.bytes, length)), (0, 36), "class {class}");
        let room = (size - name) / 2 * 2;
        assert_eq!(listing.bytes[name..name + room], units("a_rather_long_name")[..room], "class {class}");
    }
}

#[test]
fn nt_dir_06_an_overflow_repeats_and_skips_nothing() {
    let world = World::new();
    world.fill("d", &["a_rather_long_name", "b"]);
    for single in [0, SINGLE] {
        let dir = world.directory("d");
        for round in 0..3 {
            let listing = dir.list(NAMES, 16, RESTART | single, Some("*a*"));
            assert_eq!(listing.status, NtStatus::BUFFER_OVERFLOW, "round {round}");
        }
        assert_eq!(dir.list(NAMES, 256, RESTART | single, None).records(NAMES)[0].name, "a_rather_long_name");
    }
}

#[test]
fn nt_dir_07_a_later_overflow_leaves_the_entry_for_a_larger_buffer() {
    let world = World::new();
    world.fill("d", &["a", "b_rather_long_name"]);
    let dir = world.directory("d");
    assert_eq!(dir.list(NAMES, 256, SINGLE, Some("?*")).records(NAMES)[0].name, ".");
    dir.list(NAMES, 256, SINGLE, None);
    assert_eq!(dir.list(NAMES, 256, SINGLE, None).records(NAMES)[0].name, "a");
    for _ in 0..2 {
        assert_eq!(dir.list(NAMES, 16, 0, None).iosb, Iosb::Is(NtStatus::BUFFER_OVERFLOW, 16));
    }
    assert_eq!(dir.list(NAMES, 256, 0, None).records(NAMES)[0].name, "b_rather_long_name");
}

#[test]
fn nt_dir_08_entries_start_at_eight_byte_boundaries() {
    let world = World::new();
    world.fill("d", &["x", "yy", "zzz", "zzzz"]);
    let dir = world.directory("d");
    for (class, name, ..) in CLASSES {
        let listing = dir.list(class, 2048, RESTART, None);
        let records = listing.records(class);
        assert_eq!(records.len(), 6, "class {class}");
        let (last, others) = records.split_last().expect("records");
        for record in others {
            assert_eq!(record.next, (name + record.name.len() * 2).next_multiple_of(8), "class {class}");
        }
        assert_eq!(last.next, 0);
        let end = last.at + name + last.name.len() * 2;
        assert_eq!(listing.iosb, Iosb::Is(NtStatus::SUCCESS, end as u64), "class {class}: no padding after the last");
    }
}

#[test]
fn nt_dir_09_what_does_not_fit_waits_and_the_rest_of_the_buffer_is_left_alone() {
    let world = World::new();
    world.fill("d", &["one", "three", "two"]);
    let dir = world.directory("d");
    let listing = dir.list(NAMES, 48 + 16, 0, None);
    let Iosb::Is(_, count) = listing.iosb else { panic!("not written") };
    assert_eq!(listing.records(NAMES).len(), 3, ". .. one");
    assert!(listing.bytes[count as usize..].iter().all(|&byte| byte == 0xEE), "touched past Information");
    assert_eq!(dir.list(NAMES, 256, 0, None).records(NAMES)[0].name, "three");
}

#[test]
fn nt_dir_10_the_dots_come_first() {
    let world = World::new();
    world.fill("d", &["!", "a"]);
    let dir = world.directory("d");
    assert_eq!(dir.names(None), [".", "..", "!", "a"]);
    assert_eq!(dir.names(Some("*a")), ["a"], "a pattern that they do not match leaves them out");
}

#[test]
fn nt_dir_11_the_root_has_no_dots() {
    let world = World::new();
    world.fill("d", &["inside"]);
    let root = world.directory("");
    assert_eq!(root.names(None), ["d"]);
}

#[test]
fn nt_dir_12_names_ascend_by_their_upper_case() {
    let world = World::new();
    world.fill("d", &["b", "A", "a1", "_", "Z", "é", "É2", "a"]);
    let dir = world.directory("d");
    assert_eq!(dir.names(None), [".", "..", "A", "a1", "b", "Z", "_", "é", "É2"]);
}

#[test]
fn nt_dir_12_names_that_differ_in_case_only_follow_their_units() {
    let world = World::new();
    drop(world.directory("d"));
    for name in ["ab", "AB", "Ab"] {
        let spec = nt_io::create::CreateSpec {
            access: GENERIC_READ | SYNCHRONIZE,
            name: format!("\\??\\C:\\d\\{name}").encode_utf16().collect(),
            attributes: 0,
            disposition: 2,
            ..Default::default()
        };
        drop(world.adopt(nt_io::create::nt_create_file(&world.frame(), &spec).expect("by case").0));
    }
    assert_eq!(world.directory("d").names(None), [".", "..", "AB", "Ab", "ab"]);
}

#[test]
fn nt_dir_13_the_order_is_that_of_the_names_not_of_their_making() {
    let world = World::new();
    let mut names: Vec<String> = (0..200_u32).map(|at| format!("n{:03}", at * 7919 % 200)).collect();
    let made: Vec<&str> = names.iter().map(String::as_str).collect();
    world.fill("d", &made);
    names.sort();
    assert_eq!(world.directory("d").names(None)[2..], names);
}

#[test]
fn nt_dir_14_the_index_is_zero_everywhere() {
    let world = World::new();
    world.fill("d", &["a", "b", "c"]);
    let dir = world.directory("d");
    for (class, ..) in CLASSES {
        let listing = dir.list(class, 2048, RESTART, None);
        for record in listing.records(class) {
            assert_eq!(word(&record.bytes, 4), 0, "class {class} {}", record.name);
        }
    }
}

#[test]
fn nt_dir_15_the_first_query_starts_at_the_first_entry_whatever_it_says() {
    let world = World::new();
    world.fill("d", &["a"]);
    for flags in [0, RESTART] {
        assert_eq!(world.directory("d").list(NAMES, 256, SINGLE | flags, None).records(NAMES)[0].name, ".");
    }
}

#[test]
fn nt_dir_16_the_cursor_belongs_to_the_file_object() {
    let world = World::new();
    world.fill("d", &["a", "b"]);
    let (one, two) = (world.directory("d"), world.directory("d"));
    assert_eq!(one.list(NAMES, 256, SINGLE, Some("?")).records(NAMES)[0].name, ".");
    one.list(NAMES, 256, SINGLE, None);
    assert_eq!(one.list(NAMES, 256, SINGLE, None).records(NAMES)[0].name, "a");
    assert_eq!(two.list(NAMES, 256, SINGLE, Some("b")).records(NAMES)[0].name, "b", "its own pattern, from the start");
    let object =
        nt_io::event::reference(&world.frame(), one.handle, nt_ob::types::ObjectType::File, 0, nt_ke::Mode::Kernel);
    let (object, granted) = object.expect("a file");
    let handle = world.process.handles.insert(&object, granted, 0).expect("a second handle");
    let again = world.adopt(handle);
    assert_eq!(again.list(NAMES, 256, SINGLE, None).records(NAMES)[0].name, "b", "where the other handle stopped");
}

#[test]
fn nt_dir_17_the_end_is_told_until_a_restart() {
    let world = World::new();
    world.fill("d", &["a"]);
    let dir = world.directory("d");
    assert_eq!(status(&dir.list(NAMES, 256, 0, Some("none*"))), (NtStatus::NO_SUCH_FILE, UNTOUCHED));
    let dir = world.directory("d");
    assert_eq!(dir.list(NAMES, 256, 0, None).records(NAMES).len(), 3);
    for _ in 0..3 {
        let end = (NtStatus::NO_MORE_FILES, Iosb::Is(NtStatus::NO_MORE_FILES, 0));
        assert_eq!(status(&dir.list(NAMES, 256, 0, None)), end);
    }
    assert_eq!(dir.list(NAMES, 256, RESTART, None).records(NAMES).len(), 3);
}

#[test]
fn nt_dir_18_no_such_file_is_said_once() {
    let world = World::new();
    let dir = world.directory("d");
    assert_eq!(dir.list(NAMES, 256, 0, Some("none*")).status, NtStatus::NO_SUCH_FILE);
    for (flags, pattern) in [(0, None), (RESTART, None), (0, Some("")), (RESTART, Some(""))] {
        assert_eq!(dir.list(NAMES, 256, flags, pattern).status, NtStatus::NO_MORE_FILES, "{flags} {pattern:?}");
    }
}

#[test]
fn nt_dir_19_a_restart_may_bring_a_new_pattern() {
    for (windows, replaced) in [(WindowsVersion::Win8, "b"), (WindowsVersion::Win7, "a")] {
        let world = World::with(windows, None);
        world.fill("d", &["a", "b"]);
        let dir = world.directory("d");
        assert_eq!(dir.names(Some("a")), ["a"]);
        assert_eq!(dir.list(NAMES, 256, 0, Some("b")).status, NtStatus::NO_MORE_FILES, "not restarted: not looked at");
        assert_eq!(dir.list(NAMES, 256, RESTART, None).records(NAMES)[0].name, "a", "NULL keeps the old one");
        assert_eq!(dir.list(NAMES, 256, RESTART, Some("")).records(NAMES)[0].name, "a", "so does an empty one");
        assert_eq!(dir.names(Some("b")), [replaced], "{windows:?}");
    }
}

#[test]
fn nt_dir_20_an_empty_pattern_is_every_name() {
    let world = World::new();
    world.fill("d", &["a", "b.c"]);
    for pattern in [None, Some(""), Some("*")] {
        assert_eq!(world.directory("d").names(pattern), [".", "..", "a", "b.c"], "{pattern:?}");
    }
}

#[test]
fn nt_dir_21_single_means_one_with_or_without_a_pattern() {
    let world = World::new();
    world.fill("d", &["a", "b"]);
    for pattern in [None, Some("*")] {
        let dir = world.directory("d");
        let mut seen = Vec::new();
        loop {
            let listing = dir.list(NAMES, 2048, SINGLE, pattern);
            let records = listing.records(NAMES);
            let [record] = &records[..] else { break };
            assert_eq!(record.next, 0);
            seen.push(record.name.clone());
        }
        assert_eq!(seen, [".", "..", "a", "b"]);
    }
}

#[test]
fn nt_dir_22_a_plain_name_finds_its_entry_in_the_stored_case() {
    let world = World::new();
    world.fill("d", &["MixedCase.txt", "other"]);
    let dir = world.directory("d");
    assert_eq!(dir.names(Some("mixedcase.TXT")), ["MixedCase.txt"]);
    let spec = nt_io::create::CreateSpec {
        access: LIST | SYNCHRONIZE,
        name: "\\??\\C:\\d".encode_utf16().collect(),
        options: SYNC,
        attributes: 0,
        ..Default::default()
    };
    let strict = world.adopt(nt_io::create::nt_create_file(&world.frame(), &spec).expect("by case").0);
    assert_eq!(strict.names(Some("mixedcase.TXT")), [""; 0], "a caller that minds case");
    assert_eq!(strict.names(Some("MixedCase.txt")), ["MixedCase.txt"]);
}

#[test]
fn nt_dir_24_there_are_no_short_names() {
    let world = World::new();
    world.fill("d", &["a name that 8.3 does not hold.text"]);
    let dir = world.directory("d");
    for (class, at) in [(3, 0x44), (37, 0x44), (63, 0x58)] {
        for record in dir.list(class, 2048, RESTART, None).records(class) {
            assert!(record.bytes[at..at + 26].iter().all(|&byte| byte == 0), "class {class} {}", record.name);
        }
    }
    assert_eq!(dir.names(Some("ANAMET~1.TEX")), [""; 0]);
}

#[test]
fn nt_dir_28_both_dots_match_what_one_dot_matches() {
    let world = World::new();
    world.fill("d", &["a", "bb"]);
    let dir = world.directory("d");
    let cases: [(&str, &[&str]); 3] = [("?", &[".", "..", "a"]), ("??", &["bb"]), (".", &[".", ".."])];
    for (pattern, names) in cases {
        assert_eq!(dir.names(Some(pattern)), names, "{pattern}");
    }
}

#[test]
fn nt_dir_29_spaces_are_ordinary() {
    let world = World::new();
    world.fill("d", &["a", "b.c"]);
    let dir = world.directory("d");
    for pattern in ["* ", " *", "* *", "* .", "*. "] {
        assert_eq!(dir.names(Some(pattern)), [""; 0], "{pattern:?}");
    }
}

#[test]
fn nt_dir_31_the_ea_size_or_the_reparse_tag() {
    let world = World::new();
    world.fill("d", &["ea", "point", "plain"]);
    let ea = world.file("d\\ea", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC);
    let mut record = vec![0, 0, 0, 0, 0, 3, 3, 0];
    record.extend_from_slice(b"ABC\0abc");
    assert_eq!(ea.set_ea(&record), NtStatus::SUCCESS);
    let point = world.file("d\\point", GENERIC_WRITE | SYNCHRONIZE, SYNC);
    assert_eq!(point.control(SET_REPARSE, &lx_symlink_data("ea"), 0).0, NtStatus::SUCCESS);
    drop((ea, point));
    let ea = world.file("d\\ea", 0x80 | SYNCHRONIZE, SYNC);
    let size_of = |file: &File<'_>| word(&file.query(class::EA, 4), 0);
    let (ea_size, bare) = (size_of(&ea), size_of(&world.sync_file("d\\plain")));
    assert!(ea_size > bare);
    let dir = world.directory("d");
    for (class, _, _, ea_at, tag_at, _) in CLASSES.into_iter().filter(|row| row.3 != 0) {
        for record in dir.list(class, 2048, RESTART, None).records(class) {
            let told = (word(&record.bytes, ea_at), if tag_at == 0 { 0 } else { word(&record.bytes, tag_at) });
            let expected = match (record.name.as_str(), tag_at) {
                ("ea", _) => (ea_size, 0),
                ("point", 0) => (SYMLINK, 0),
                ("point", _) => (0, SYMLINK),
                ("plain", _) => (bare, 0),
                _ => (told.0, 0),
            };
            assert_eq!(told, expected, "class {class} {}", record.name);
        }
    }
}

#[test]
fn nt_dir_33_the_id_is_that_of_the_file() {
    let world = World::new();
    world.fill("d", &["a", "b"]);
    let ids: Vec<u64> =
        ["d\\a", "d\\b"].iter().map(|name| long(&world.sync_file(name).query(class::INTERNAL, 8), 0)).collect();
    let dir = world.directory("d");
    for (class, .., id_at) in CLASSES.into_iter().filter(|row| row.5 != 0) {
        let records = dir.list(class, 2048, RESTART, None).records(class);
        let told: Vec<u64> = records[2..].iter().map(|record| long(&record.bytes, id_at)).collect();
        assert_eq!(told, ids, "class {class}");
        if matches!(class, 60 | 63) {
            assert!(records.iter().all(|record| long(&record.bytes, id_at + 8) == 0), "the upper half");
        }
    }
}

#[test]
fn nt_dir_34_the_dots_have_the_ids_of_directory_and_parent() {
    let world = World::new();
    drop(world.directory("p"));
    let inner = world.directory("p\\d");
    let id = |name: &str| long(&world.directory(name).query(class::INTERNAL, 8), 0);
    let records = inner.list(37, 2048, 0, None).records(37);
    let told: Vec<u64> = records.iter().map(|record| long(&record.bytes, 0x60)).collect();
    assert_eq!(told, [id("p\\d"), id("p")]);
}

#[test]
fn nt_dir_35_no_transaction_is_told() {
    let world = World::new();
    world.fill("d", &["a"]);
    for record in world.directory("d").list(50, 2048, 0, None).records(50) {
        assert!(record.bytes[0x48..0x5C].iter().all(|&byte| byte == 0), "{}", record.name);
    }
}

#[test]
fn nt_dir_36_an_entry_tells_what_the_file_tells() {
    let world = World::new();
    world.fill("d", &["f"]);
    let file = world.sync_file("d\\f");
    assert_eq!(file.write(&[1; 5000], Some(0)), success(5000));
    let mut basic = vec![0; 40];
    basic[..8].copy_from_slice(&0x0123_4567_89AB_CDEF_u64.to_le_bytes());
    basic[32] = 0x22;
    assert_eq!(file.set(class::BASIC, &basic), NtStatus::SUCCESS);
    let check = |file: &File<'_>, when: &str| {
        let told = file.query(class::NETWORK_OPEN, 56);
        for (class, ..) in CLASSES.into_iter().filter(|row| row.0 != NAMES) {
            let entry = world.directory("d").list(class, 2048, 0, Some("f"));
            let record = &entry.records(class)[0].bytes;
            assert_eq!(record[8..0x28], told[..32], "times {when}");
            assert_eq!((long(record, 0x28), long(record, 0x30)), (long(&told, 40), long(&told, 32)), "sizes {when}");
            assert_eq!(word(record, 0x38), word(&told, 48), "attributes {when}");
        }
    };
    check(&file, "while it is open");
    drop(file);
    check(&world.file("d\\f", 0x80 | SYNCHRONIZE, SYNC), "when it is closed");
}

#[test]
fn nt_dir_37_an_entry_that_stays_comes_exactly_once() {
    let world = World::new();
    let names: Vec<String> = (0..60).map(|at| format!("n{at:02}")).collect();
    let made: Vec<&str> = names.iter().map(String::as_str).collect();
    world.fill("d", &made);
    let dir = world.directory("d");
    let mut seen: Vec<String> = Vec::new();
    let mut at = 0;
    loop {
        let listing = dir.list(NAMES, 64, 0, None);
        let records = listing.records(NAMES);
        if records.is_empty() {
            break;
        }
        seen.extend(records.into_iter().map(|record| record.name));
        if let Some(last) = seen.last().filter(|last| last.len() == 3 && at % 5 == 4) {
            // The entry that the scan stands on goes, and others come.
            let gone = world.file(&format!("d\\{last}"), 0x1_0000 | SYNCHRONIZE, SYNC);
            assert_eq!(gone.set(class::DISPOSITION, &[1]), NtStatus::SUCCESS);
            drop(gone);
            drop(world.sync_file(&format!("d\\a{at:02}")));
        }
        at += 1;
    }
    seen.retain(|name| name.starts_with('n'));
    assert_eq!(seen, names);
}

#[test]
fn nt_dir_38_an_entry_is_told_until_it_is_gone() {
    let world = World::new();
    world.fill("d", &["f"]);
    let file = world.file("d\\f", 0x1_0000 | SYNCHRONIZE, SYNC);
    assert_eq!(file.set(class::DISPOSITION, &[1]), NtStatus::SUCCESS);
    assert_eq!(world.directory("d").names(None), [".", "..", "f"]);
    drop(file);
    assert_eq!(world.directory("d").names(None), [".", ".."]);
}

#[test]
fn nt_dir_39_a_directory_reparse_point_opened_itself_is_empty() {
    let world = World::new();
    let dir = world.file("d", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC | DIRECTORY);
    let mut data = REPARSE_TAG.to_le_bytes().to_vec();
    data.extend_from_slice(&[0; 20]);
    let set = dir.control(SET_REPARSE, &data, 0).0;
    if on_dir() {
        return assert_eq!(set, NtStatus::NOT_SUPPORTED, "the host has no such thing");
    }
    assert_eq!(set, NtStatus::SUCCESS);
    drop(dir);
    let opened = world.file("d", LIST | SYNCHRONIZE, SYNC | DIRECTORY | 0x0020_0000);
    assert_eq!(opened.names(None), [".", ".."]);
}

#[test]
fn nt_dir_40_a_query_leaves_the_position_alone() {
    let world = World::new();
    world.fill("d", &["a"]);
    let dir = world.file("d", GENERIC_READ | SYNCHRONIZE, SYNC | DIRECTORY);
    dir.seek(0xBEEF);
    assert_eq!(dir.names(None).len(), 3);
    assert_eq!(dir.position(), 0xBEEF);
}

#[test]
fn nt_dir_41_an_asynchronous_handle_is_told_by_its_event() {
    let world = World::new();
    world.fill("d", &["a"]);
    let dir = world.file("d", LIST | SYNCHRONIZE, DIRECTORY);
    for policy in [AsyncPolicy::Inline, AsyncPolicy::Worker] {
        world.policy(policy);
        let event = world.event(false);
        let (block, iosb) = (nt_cell::arena::UserBlock::new(256).expect("arena"), pattern_block());
        let mut args = dir.list_arguments(&block, &iosb);
        args.length = 256;
        args.flags = RESTART;
        args.caller = Caller { event, ..args.caller };
        let returned = nt_query_directory_file(&world.frame(), &args);
        assert!(matches!(returned, NtStatus::SUCCESS | NtStatus::PENDING), "{returned}");
        let waited = nt_io::event::wait_for(&world.frame(), event, false, None).expect("the event");
        assert_eq!(waited, NtStatus::SUCCESS);
        assert_eq!(iosb_at(&iosb), Iosb::Is(NtStatus::SUCCESS, 46), "final when the event is set");
    }
}

#[test]
fn nt_dir_42_the_newer_call_takes_flags() {
    let world = World::new();
    world.fill("d", &["a", "b"]);
    let dir = world.directory("d");
    for flags in [4, 0x20, 0x40, 0x80] {
        assert_eq!(status(&dir.list(NAMES, 256, flags, None)), (NtStatus::INVALID_PARAMETER, UNTOUCHED), "{flags:#x}");
    }
    let first = |flags: u8| dir.list(NAMES, 256, flags | SINGLE, None).records(NAMES)[0].name.clone();
    assert_eq!([first(0x10), first(0x10), first(0), first(0x10), first(8)], [".", ".", ".", "..", ".."]);
}

#[test]
fn nt_dir_43_a_directory_that_is_going_still_answers() {
    let world = World::new();
    let dir = world.file("d", LIST | 0x1_0000 | SYNCHRONIZE, SYNC | DIRECTORY);
    assert_eq!(dir.set(class::DISPOSITION, &[1]), NtStatus::SUCCESS);
    assert_eq!(dir.names(None), [".", ".."]);
}

#[test]
fn nt_dir_44_the_packet_has_the_callers_own_buffer() {
    let world = World::new();
    world.fill("d", &["a"]);
    let recorder = device::over_the_volume(&world);
    let dir = world.directory("d");
    let (block, iosb) = (nt_cell::arena::UserBlock::new(256).expect("arena"), pattern_block());
    let mut args = dir.list_arguments(&block, &iosb);
    (args.length, args.flags) = (256, RESTART | SINGLE);
    assert_eq!(nt_query_directory_file(&world.frame(), &args), NtStatus::SUCCESS);
    let seen = recorder.of(nt_abi::io::IRP_MJ_DIRECTORY_CONTROL);
    let [seen] = &seen[..] else { panic!("one request") };
    assert_eq!((seen.minor, seen.stack_flags, seen.length), (1, RESTART | SINGLE, 256));
    assert_eq!((seen.user_buffer, seen.system_buffer, seen.mdl), (block.addr(), 0, 0));
}

#[test]
fn nt_dir_45_a_pattern_that_is_longer_than_a_name_finds_nothing() {
    let world = World::new();
    world.fill("d", &["a"]);
    let long: String = "x".repeat(300);
    assert_eq!(world.directory("d").list(NAMES, 256, 0, Some(&long)).status, NtStatus::NO_SUCH_FILE);
}

#[test]
fn nt_dir_46_a_name_of_255_units_is_whole_in_every_class() {
    let world = World::new();
    let long: String = "n".repeat(255);
    world.fill("d", &[&long]);
    for (class, ..) in CLASSES {
        let dir = world.directory("d");
        assert_eq!(dir.list(class, 1024, 0, Some("n*")).records(class)[0].name, long, "class {class}");
    }
    let longer = format!("d\\{}", "n".repeat(256));
    assert_eq!(world.try_open(&longer, GENERIC_READ, 0, 3).err(), Some(NtStatus::OBJECT_NAME_INVALID));
}
