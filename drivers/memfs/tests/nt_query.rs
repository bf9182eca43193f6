//! What queries of a file tell and what a set changes: nt-fs.md section 12, rules NT-QRY.
mod support;

use nt_abi::NtStatus;
use nt_cell::Addr;
use nt_cell::arena::UserBlock;
use nt_io::byname::{Named, nt_query_full_attributes_file, nt_query_information_by_name};
use nt_io::create::{self, CreateSpec};
use nt_io::info::class;
use nt_ob::Handle;
use support::directory::{long, units, word};
use support::names::*;
use support::*;

const OK: NtStatus = NtStatus::SUCCESS;
const SHORT: NtStatus = NtStatus::INFO_LENGTH_MISMATCH;
const WRONG: NtStatus = NtStatus::INVALID_INFO_CLASS;
const DENIED: NtStatus = NtStatus::ACCESS_DENIED;
const ATTRIBUTES: u32 = 0x80;

fn basic(times: [i64; 4], attributes: u32) -> Vec<u8> {
    let mut bytes: Vec<u8> = times.into_iter().flat_map(i64::to_le_bytes).collect();
    bytes.extend_from_slice(&attributes.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

#[test]
fn nt_qry_01_one_byte_less_than_the_structure_is_too_short() {
    let world = World::new();
    let file = world.sync_file("f");
    for (class, size) in [
        (class::BASIC, 40),
        (class::STANDARD, 24),
        (class::INTERNAL, 8),
        (class::EA, 4),
        (class::ACCESS, 4),
        (class::NAME, 8),
        (class::POSITION, 8),
        (class::MODE, 4),
        (class::ALIGNMENT, 4),
        (class::ALL, 104),
        (class::NETWORK_OPEN, 56),
        (class::ATTRIBUTE_TAG, 8),
        (class::STANDARD_LINK, 12),
        (class::ID, 24),
        (class::STAT, 72),
        (class::STAT_LX, 96),
    ] {
        let (status, bytes, iosb) = file.try_query(class, size - 1);
        assert_eq!((status, iosb), (SHORT, Iosb::Untouched), "class {class}");
        assert!(bytes.iter().all(|&byte| byte == 0xEE));
        let (status, bytes, iosb) = file.try_query(class, size + 64);
        let Iosb::Is(OK, written) = iosb else { panic!("class {class}: {status} {iosb:?}") };
        assert!(bytes[written as usize..].iter().all(|&byte| byte == 0xEE), "class {class}: past Information");
    }
}

#[test]
fn nt_qry_02_classes_of_other_services_are_refused() {
    let world = World::new();
    let file = world.sync_file("f");
    for class in [1, 2, 3, 12, 37, 38, 50, 60, 63, class::DISPOSITION, class::END_OF_FILE, class::RENAME, 0, 200] {
        assert_eq!(file.try_query(class, 512).0, WRONG, "class {class}");
    }
}

#[test]
fn nt_qry_03_a_name_that_does_not_fit_is_cut() {
    let world = World::new();
    let file = world.sync_file("a_longer_name");
    let full = units("\\a_longer_name");
    for length in [8, 9, 12, 4 + full.len() - 1] {
        let (status, bytes, iosb) = file.try_query(class::NAME, length);
        let overflow = NtStatus::BUFFER_OVERFLOW;
        let fits = (length - 4) & !1;
        assert_eq!((status, iosb), (overflow, Iosb::Is(overflow, 4 + fits as u64)), "{length}");
        assert_eq!((word(&bytes, 0) as usize, &bytes[4..4 + fits]), (full.len(), &full[..fits]));
    }
    let (status, bytes, iosb) = file.try_query(class::NAME, 100);
    assert_eq!((status, iosb), (OK, Iosb::Is(OK, 4 + full.len() as u64)));
    assert!(bytes[4 + full.len()..].iter().all(|&byte| byte == 0xEE), "no NUL");
}

#[test]
fn nt_qry_04_names_are_paths_on_the_volume_in_the_stored_case() {
    let world = World::new();
    drop(world.directory("Dir"));
    world.put("Dir\\File", b"");
    assert_eq!(world.open_file("DIR\\FILE", ATTRIBUTES | SYNCHRONIZE, SYNC).name(), "\\Dir\\File");
    assert_eq!(world.directory("").name(), "\\");
    let file = world.open_file("Dir\\File", ATTRIBUTES | SYNCHRONIZE, SYNC);
    assert_eq!(file.link("Other", false), OK);
    assert_eq!(world.open_file("Dir\\other", ATTRIBUTES | SYNCHRONIZE, SYNC).name(), "\\Dir\\Other", "the link opened");
}

#[test]
fn nt_qry_05_a_trailing_backslash_does_not_show() {
    let world = World::new();
    drop(world.directory("d"));
    assert_eq!(world.open_file("d\\", ATTRIBUTES | SYNCHRONIZE, SYNC).name(), "\\d");
}

#[test]
fn nt_qry_06_all_is_the_sum_of_the_parts() {
    let world = World::new();
    let file = world.sync_file("name");
    assert_eq!(file.write(&[1; 700], Some(0)), success(700));
    file.seek(77);
    let all = file.query(class::ALL, 200);
    let parts = [
        (class::BASIC, 40, 0),
        (class::STANDARD, 22, 40),
        (class::INTERNAL, 8, 64),
        (class::EA, 4, 72),
        (class::ACCESS, 4, 76),
        (class::POSITION, 8, 80),
        (class::MODE, 4, 88),
        (class::ALIGNMENT, 4, 92),
        (class::NAME, 14, 96),
    ];
    for (class, size, at) in parts {
        let part = file.query(class, size.max(if class == class::STANDARD { 24 } else { 8 }));
        assert_eq!(all[at..at + size], part[..size], "class {class}");
    }
    let (status, _, iosb) = file.try_query(class::ALL, 104);
    assert_eq!((status, iosb), (NtStatus::BUFFER_OVERFLOW, Iosb::Is(NtStatus::BUFFER_OVERFLOW, 104)));
    assert_eq!(file.try_query(class::ALL, 200).2, Iosb::Is(OK, 96 + 4 + 10));
    let blind = world.open_file("name", READ_DATA | SYNCHRONIZE, SYNC);
    assert_eq!(blind.try_query(class::ALL, 200).0, DENIED);
}

#[test]
fn nt_qry_07_a_normalized_name_is_the_name() {
    let world = World::new();
    world.put("f", b"");
    let file = world.open_file("f", SYNCHRONIZE, SYNC);
    assert_eq!(file.query(class::NORMALIZED_NAME, 64)[..8], file.query(class::NAME, 64)[..8]);
}

#[test]
fn nt_qry_08_the_id_is_the_files_own() {
    let world = World::new();
    world.put("a", b"");
    world.put("b", b"");
    let file = world.to_delete("a");
    assert_eq!(file.link("c", false), OK);
    let id = file.id();
    assert_eq!(long(&file.query(class::ID, 24), 8), id);
    assert_ne!(world.sync_file("b").id(), id);
    assert_eq!(world.sync_file("c").id(), id, "by another link");
    assert_eq!(file.rename("renamed", false), OK);
    assert_eq!((file.id(), world.sync_file("renamed").id()), (id, id));
}

#[test]
fn nt_qry_10_the_wide_id_and_the_wide_serial_number() {
    let world = World::new();
    let file = world.sync_file("f");
    let bytes = file.query(class::ID, 24);
    let serial = word(&world.volume(GENERIC_READ).query_volume(1, 64).expect("the volume"), 8);
    assert_eq!((long(&bytes, 0) as u32, long(&bytes, 16)), (serial, 0));
}

#[test]
fn nt_qry_11_normal_stands_alone() {
    let world = World::new();
    let file = world.sync_file("f");
    let tag = || {
        let bytes = file.query(class::ATTRIBUTE_TAG, 8);
        (word(&bytes, 0), word(&bytes, 4))
    };
    file.set_attributes(0x80);
    assert_eq!(tag(), (0x80, 0));
    for attributes in [0x82, 0x21, 0x6] {
        file.set_attributes(attributes);
        assert_eq!(tag(), (attributes & !0x80, 0));
    }
    let blind = world.open_file("f", READ_DATA | SYNCHRONIZE, SYNC);
    assert_eq!(blind.try_query(class::ATTRIBUTE_TAG, 8).0, DENIED);
}

fn made(world: &World, name: &str, attributes: u32, disposition: u32, options: u32) -> Result<u32, NtStatus> {
    let spec = CreateSpec {
        access: ATTRIBUTES | GENERIC_READ | SYNCHRONIZE,
        name: full(name).encode_utf16().collect(),
        options: SYNC | options,
        disposition,
        file_attributes: attributes,
        ..CreateSpec::default()
    };
    let (handle, _) = create::nt_create_file(&world.frame(), &spec).map_err(NtStatus::from)?;
    Ok(world.adopt(handle).basic().1)
}

#[test]
fn nt_qry_12_new_files_are_to_be_archived() {
    let world = World::new();
    assert_eq!(made(&world, "plain", 0, 2, 0), Ok(0x20));
    assert_eq!(made(&world, "hidden", 2, 2, 0), Ok(0x22));
    assert_eq!(made(&world, "readonly", 1, 2, 0), Ok(0x21));
    assert_eq!(made(&world, "dir", 2, 2, DIR), Ok(0x12));
    assert_eq!(made(&world, "plain", 2, 1, 0), Ok(0x20), "an open changes nothing");
    assert_eq!(made(&world, "plain", 4, 5, 0), Ok(0x24), "overwrite");
    assert_eq!(made(&world, "plain", 6, 0, 0), Ok(0x26), "supersede");
}

#[test]
fn nt_qry_13_what_an_overwrite_may_not_do() {
    let world = World::new();
    world.put("r", b"data");
    world.attributes("r", 1);
    for disposition in [4, 5] {
        assert_eq!(made(&world, "r", 1, disposition, 0), Err(DENIED), "{disposition}");
    }
    assert_eq!(world.get("r"), Some(b"data".to_vec()));
    for (bits, enough) in [(2, 2), (4, 4), (6, 6)] {
        let name = format!("f{bits}");
        world.put(&name, b"data");
        world.attributes(&name, bits);
        for disposition in [4, 5, 0] {
            assert_eq!(made(&world, &name, 0, disposition, 0), Err(DENIED), "{bits} {disposition}");
        }
        assert_eq!(world.get(&name), Some(b"data".to_vec()));
        assert_eq!(made(&world, &name, enough, 5, 0), Ok(bits | 0x20));
    }
}

#[test]
fn nt_qry_14_a_set_replaces_the_settable_bits() {
    let world = World::new();
    let file = world.sync_file("f");
    for (set, told) in [(4, 4), (2, 2), (0, 2), (0x80, 0x80), (0x20, 0x20), (0x82, 2), (0x80, 0x80)] {
        assert_eq!(file.set(class::BASIC, &basic([0; 4], set)), OK);
        assert_eq!(file.basic().1, told, "{set:#x}");
    }
}

#[test]
fn nt_qry_15_which_bits_can_be_set() {
    let world = World::new();
    let (file, dir) = (world.sync_file("f"), world.file("d", 0x180 | SYNCHRONIZE, SYNC | DIR));
    for bit in [1, 2, 4, 0x20, 0x100, 0x1000, 0x2000] {
        file.set_attributes(bit);
        assert_eq!(file.basic().1, bit);
    }
    for ignored in [0x200, 0x400, 0x800, 0x4000] {
        file.set_attributes(2 | ignored);
        assert_eq!(file.basic().1, 2, "{ignored:#x}");
    }
    let invalid = NtStatus::INVALID_PARAMETER;
    assert_eq!(file.set(class::BASIC, &basic([0; 4], 0x10)), invalid);
    assert_eq!(dir.set(class::BASIC, &basic([0; 4], 0x100)), invalid);
    assert_eq!(dir.set(class::BASIC, &basic([0; 4], 0x12)), OK);
    assert_eq!(dir.basic().1, 0x12);
    let root = world.open_file("", 0x180 | SYNCHRONIZE, SYNC | DIR);
    let before = root.basic().1;
    assert_eq!(root.set(class::BASIC, &basic([0; 4], 0x6)), OK);
    assert_eq!(root.basic().1 & 6, before & 6, "the root hides nothing");
}

#[test]
fn nt_qry_16_times_below_minus_two_and_handles_without_the_right() {
    let world = World::new();
    let file = world.sync_file("f");
    for at in 0..4 {
        for bad in [-3, i64::MIN] {
            let mut times = [0; 4];
            times[at] = bad;
            assert_eq!(file.set(class::BASIC, &basic(times, 0)), NtStatus::INVALID_PARAMETER, "{at} {bad}");
        }
    }
    let blind = world.open_file("f", READ_DATA | ATTRIBUTES | SYNCHRONIZE, SYNC);
    assert_eq!(blind.set(class::BASIC, &basic([0; 4], 2)), DENIED);
}

#[test]
fn nt_qry_17_times_are_kept_exactly() {
    let world = World::new();
    let file = world.sync_file("f");
    let times = [0x0200_DEAD_CAFE_BEE1, 0x0200_DEAD_CAFE_BEE2, 0x0200_DEAD_CAFE_BEE3, 0x0200_DEAD_CAFE_BEE4];
    if on_dir() {
        // The host keeps what it keeps: times of access and modification to 100 ns, in its range.
        let times = [0, 132_000_000_000_000_001, 132_000_000_000_000_002, 0];
        assert_eq!(file.set(class::BASIC, &basic(times, 0)), OK);
        return assert_eq!(file.basic().0[1..3], times[1..3]);
    }
    assert_eq!(file.set(class::BASIC, &basic(times, 0)), OK);
    assert_eq!(file.basic().0, times);
    let before = file.basic();
    assert_eq!(file.set(class::BASIC, &basic([0; 4], 0)), OK);
    assert_eq!(file.basic(), before, "a request of zeroes changes nothing");
}

#[test]
fn nt_qry_18_a_time_can_be_frozen_for_an_open() {
    if on_dir() {
        return; // the host dates what is written to it, whenever that happens
    }
    let world = World::new();
    let file = world.sync_file("f");
    assert_eq!(file.write(b"x", Some(0)), success(1));
    let before = file.basic().0;
    assert_eq!(file.set(class::BASIC, &basic([0, 0, -2, 0], 0)), OK, "nothing to lift");
    assert_eq!(file.set(class::BASIC, &basic([0, 0, -1, 0], 0)), OK);
    assert_eq!(file.basic().0[2], before[2]);
    world.pause();
    for _ in 0..3 {
        assert_eq!(file.write(b"y", Some(0)), success(1));
    }
    assert_eq!(file.basic().0[2], before[2], "frozen");
    let other = world.sync_file("f");
    assert_eq!(other.write(b"z", Some(0)), success(1));
    let moved = file.basic().0[2];
    assert!(moved > before[2], "for this open only");
    world.pause();
    assert_eq!(file.set(class::BASIC, &basic([0, 0, -2, 0], 0)), OK);
    assert_eq!(file.write(b"y", Some(0)), success(1));
    assert!(file.basic().0[2] > moved, "lifted");
    let given = 132_000_000_000_000_000;
    assert_eq!(file.set(class::BASIC, &basic([0, 0, given, 0], 0)), OK);
    assert_eq!(file.write(b"y", Some(0)), success(1));
    drop(file);
    drop(other);
    assert_eq!(world.sync_file("f").basic().0[2], given, "an explicit time stops the updates too");
}

#[test]
fn nt_qry_19_a_set_moves_the_change_time() {
    if on_dir() {
        return; // the host's own ctime: it moves with each change and cannot be given
    }
    let world = World::new();
    let file = world.sync_file("f");
    let mut last = file.basic().0;
    for set in [basic([0; 4], 2), basic([0, 5, 0, 0], 0), basic([5, 0, 0, 0], 0)] {
        world.pause();
        assert_eq!(file.set(class::BASIC, &set), OK);
        let now = file.basic().0;
        assert!(now[3] > last[3]);
        assert_eq!(now[2], last[2]);
        last = now;
    }
    assert_eq!(file.set(class::BASIC, &basic([0, 0, 0, -1], 0)), OK);
    world.pause();
    assert_eq!(file.set(class::BASIC, &basic([0; 4], 4)), OK);
    assert_eq!(file.basic().0[3], last[3], "frozen");
}

/// A step: its name, the times of the file and of its directory that it moves, and what it does.
type Step<'a> = (&'a str, [bool; 4], [bool; 2], &'a dyn Fn());

#[test]
fn nt_qry_20_who_moves_which_time() {
    if on_dir() {
        return; // the host dates its files itself
    }
    let world = World::new();
    drop(world.directory("d"));
    let file = world.file("d\\f", DELETE | GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, SYNC);
    let parent = || world.directory("d").basic().0;
    let zero = [0; 4];
    let steps: [Step<'_>; 8] = [
        ("write", [false, false, true, true], [false, false], &|| {
            file.write(b"data", Some(0));
        }),
        ("end of file", [false, false, true, true], [false, false], &|| {
            assert_eq!(file.set(class::END_OF_FILE, &9_i64.to_le_bytes()), OK);
        }),
        ("read", [false; 4], [false, false], &|| {
            file.read(4, Some(0));
        }),
        ("attributes", [false, false, false, true], [false, false], &|| {
            assert_eq!(file.set(class::BASIC, &basic(zero, 2)), OK);
        }),
        ("ea", [false, false, false, true], [false, false], &|| {
            assert_eq!(file.set_ea(b"\0\0\0\0\0\x01\x01\0E\0v"), OK);
        }),
        ("link", [false, false, false, true], [true, true], &|| assert_eq!(file.link("g", false), OK)),
        ("rename", [false, false, false, true], [true, true], &|| assert_eq!(file.rename("h", false), OK)),
        ("unlink", [false, false, false, true], [true, true], &|| {
            assert_eq!(world.to_delete("d\\g").dispose(true), OK);
        }),
    ];
    for (name, moves, above, act) in steps {
        let (before, was) = (file.basic().0, parent());
        world.pause();
        act();
        let (after, is) = (file.basic().0, parent());
        let moved: Vec<bool> = after.iter().zip(before).map(|(after, before)| *after > before).collect();
        assert_eq!(moved, moves, "{name}: created, accessed, written, changed");
        assert_eq!([is[2] > was[2], is[3] > was[3]], above, "{name}: the directory's written, changed");
    }
    let created = file.basic().0[0];
    drop(file);
    world.pause();
    assert!(made(&world, "d\\h", 2, 5, 0).is_ok());
    assert_eq!(world.open_file("d\\h", ATTRIBUTES | SYNCHRONIZE, SYNC).basic().0[0], created, "overwrite keeps it");
    world.pause();
    assert!(made(&world, "d\\h", 2, 0, 0).is_ok());
    assert!(world.open_file("d\\h", ATTRIBUTES | SYNCHRONIZE, SYNC).basic().0[0] > created, "supersede does not");
}

#[test]
fn nt_qry_21_a_write_shows_in_the_times_at_once() {
    let world = World::new();
    let file = world.sync_file("f");
    let before = file.basic().0;
    world.pause();
    assert_eq!(file.write(b"x", Some(0)), success(1));
    let now = file.basic().0;
    assert!(now[2] > before[2], "before any close");
    drop(file);
    let after = world.open_file("f", ATTRIBUTES | SYNCHRONIZE, SYNC).basic().0;
    assert_eq!(after[2], now[2], "and the close does not move it again");
}

#[test]
fn nt_qry_22_a_read_leaves_the_access_time() {
    let world = World::new();
    let file = world.sync_file("f");
    assert_eq!(file.write(b"data", Some(0)), success(4));
    let before = file.basic().0[1];
    world.pause();
    assert_eq!(file.read(4, Some(0)).0, success(4));
    if !on_dir() {
        assert_eq!(file.basic().0[1], before);
    }
}

#[test]
fn nt_qry_23_a_directory_has_no_size() {
    let world = World::new();
    world.fill("d", &["a", "b"]);
    let bytes = world.directory("d").query(class::STANDARD, 24);
    assert_eq!((long(&bytes, 0), long(&bytes, 8), bytes[21]), (0, 0, 1));
}

fn named(name: &str) -> Named {
    Named { root: Handle::NULL, name: full(name).encode_utf16().collect(), attributes: 0x40 }
}

#[test]
fn nt_qry_24_network_open_information_by_handle_and_by_name() {
    let world = World::new();
    world.put("f", &[1; 3000]);
    let file = world.open_file("f", ATTRIBUTES | SYNCHRONIZE, SYNC);
    let (status, told, iosb) = file.try_query(class::NETWORK_OPEN, 56);
    assert_eq!((status, iosb), (OK, Iosb::Is(OK, 56)));
    let (times, attributes) = file.basic();
    for (at, time) in times.into_iter().enumerate() {
        assert_eq!(long(&told, at * 8) as i64, time);
    }
    let standard = file.query(class::STANDARD, 24);
    assert_eq!((long(&told, 32), long(&told, 40)), (long(&standard, 0), long(&standard, 8)));
    assert_eq!(word(&told, 48), attributes);
    let block = UserBlock::new(56).expect("arena");
    let by_name = |name: &str| nt_query_full_attributes_file(&world.frame(), &named(name), Addr::user(block.addr()));
    assert_eq!(by_name("f"), OK);
    assert_eq!(block.region().to_vec().expect("arena")[..52], told[..52]);
    assert_eq!(by_name("none"), NtStatus::OBJECT_NAME_NOT_FOUND);
    for bad in ["a?", "a|b", "a*"] {
        assert_eq!(by_name(bad), NtStatus::OBJECT_NAME_INVALID, "{bad}");
    }
}

#[test]
fn nt_qry_26_stat_is_one_view_of_it_all() {
    let world = World::new();
    world.put("f", &[1; 3000]);
    let file = world.open_file("f", ATTRIBUTES | DELETE | SYNCHRONIZE, SYNC);
    let (status, stat, iosb) = file.try_query(class::STAT, 72);
    assert_eq!((status, iosb), (OK, Iosb::Is(OK, 72)));
    let told = file.query(class::NETWORK_OPEN, 56);
    assert_eq!((long(&stat, 0), &stat[8..40]), (file.id(), &told[..32]));
    assert_eq!((long(&stat, 0x28), long(&stat, 0x30)), (long(&told, 32), long(&told, 40)));
    let words: Vec<u32> = (0x38..0x48).step_by(4).map(|at| word(&stat, at)).collect();
    assert_eq!(words, [file.basic().1, 0, 1, 0x001F_01FF], "attributes, tag, links, effective access");
}

#[test]
fn nt_qry_27_stat_lx_reads_the_linux_attributes() {
    if on_dir() {
        return; // a directory of the host shows its own owner and mode
    }
    let world = World::new();
    let file = world.sync_file("f");
    let flags = |bytes: &[u8]| (0x48..0x60).step_by(4).map(|at| word(bytes, at)).collect::<Vec<u32>>();
    assert_eq!(flags(&file.query(class::STAT_LX, 96)), [0; 6]);
    let two = ea_list(&[(b"$LXUID", &[0xE8, 3, 0, 0], 0), (b"$LXMOD", &[0xA4, 0x81, 0, 0], 0)]);
    assert_eq!(file.set_ea(&two), OK);
    assert_eq!(flags(&file.query(class::STAT_LX, 96)), [5, 1000, 0, 0x81A4, 0, 0]);
    let more = ea_list(&[(b"$LXGID", &[0x64, 0, 0, 0], 0), (b"$LXDEV", &[8, 0, 0, 0, 1, 0, 0, 0], 0)]);
    assert_eq!(file.set_ea(&more), OK);
    assert_eq!(flags(&file.query(class::STAT_LX, 96)), [15, 1000, 100, 0x81A4, 8, 1]);
    assert_eq!(file.query(class::STAT_LX, 96)[..0x38], file.query(class::STAT, 72)[..0x38]);
}

#[test]
fn nt_qry_28_stat_by_name() {
    let world = World::new();
    world.put("f", b"data");
    let block = UserBlock::new(96).expect("arena");
    let iosb = pattern_block();
    let query = |name: &str, length: u32, class: u32| {
        let (iosb, buffer) = (Addr::user(iosb.addr()), Addr::user(block.addr()));
        nt_query_information_by_name(&world.frame(), &named(name), iosb, buffer, length, class)
    };
    assert_eq!(query("f", 72, class::STAT), OK);
    assert_eq!(iosb_at(&iosb), Iosb::Is(OK, 72));
    let told = block.region().sub(0, 72).to_vec().expect("arena");
    assert_eq!(told, world.open_file("f", ATTRIBUTES | SYNCHRONIZE, SYNC).query(class::STAT, 72));
    assert_eq!(query("f", 96, class::STAT_LX), OK);
    assert_eq!(query("f", 71, class::STAT), SHORT);
    assert_eq!(query("f", 96, class::BASIC), WRONG);
    assert_eq!(query("none", 72, class::STAT), NtStatus::OBJECT_NAME_NOT_FOUND);
}

#[test]
fn nt_qry_31_access_is_the_handles_own() {
    let world = World::new();
    let file = world.file("f", GENERIC_READ | GENERIC_WRITE | DELETE, 0);
    assert_eq!(word(&file.query(class::ACCESS, 4), 0), 0x0013_019F);
    let second = world.open_file("f", 0x80, 0);
    assert_eq!(word(&second.query(class::ACCESS, 4), 0), 0x80);
}

#[test]
fn nt_qry_32_a_warning_is_told_with_its_data() {
    let world = World::new();
    let file = world.sync_file("quite_a_name");
    let (status, bytes, iosb) = file.try_query(class::NAME, 10);
    assert_eq!((status, iosb), (NtStatus::BUFFER_OVERFLOW, Iosb::Is(NtStatus::BUFFER_OVERFLOW, 10)));
    assert_eq!(&bytes[4..], &units("\\qu")[..6]);
}

#[test]
fn nt_qry_33_which_right_each_class_needs() {
    let world = World::new();
    world.put("f", b"");
    let bare = world.open_file("f", SYNCHRONIZE, SYNC);
    for class in [
        class::INTERNAL,
        class::EA,
        class::NAME,
        class::STANDARD,
        class::STANDARD_LINK,
        class::NORMALIZED_NAME,
        class::ID,
        class::HARD_LINK,
    ] {
        assert_eq!(bare.try_query(class, 256).0, OK, "class {class}");
    }
    for class in [class::BASIC, class::NETWORK_OPEN, class::ATTRIBUTE_TAG, class::ALL, class::STAT] {
        assert_eq!(bare.try_query(class, 256).0, DENIED, "class {class}");
        let able = world.open_file("f", ATTRIBUTES | SYNCHRONIZE, SYNC);
        assert_eq!(able.try_query(class, 256).0, OK, "class {class}");
    }
}
