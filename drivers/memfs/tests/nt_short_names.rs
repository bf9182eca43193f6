//! Short (8.3) names: rules NT-NAM-21, NT-NAM-26, NT-DIR-23, NT-DIR-27, NT-REN-37.
mod support;

use nt_abi::NtStatus;
use nt_abi::se::SE_RESTORE_PRIVILEGE;
use nt_io::info::class;
use nt_se::TokenSpec;
use support::directory::{LIST, RESTART, units, word};
use support::names::*;
use support::notify::*;
use support::security::user;
use support::*;

const ABSENT: Option<NtStatus> = Some(NtStatus::OBJECT_NAME_NOT_FOUND);
const WRITE_ATTRIBUTES: u32 = 0x100;

fn world() -> World {
    let world = World::new();
    world.volume.set_short_names(true);
    world
}

/// An administrator that enabled the restore privilege.
fn restorer() -> TokenSpec {
    TokenSpec::administrator().with_privilege(SE_RESTORE_PRIVILEGE)
}

impl World {
    /// FileAlternateNameInformation of a file.
    fn short(&self, name: &str) -> Result<String, NtStatus> {
        self.open_file(name, 0x80 | SYNCHRONIZE, SYNC | OPEN_REPARSE).short()
    }

    /// A handle that may set a short name.
    fn to_shorten(&self, name: &str) -> File<'_> {
        self.open_file(name, DELETE | WRITE_ATTRIBUTES | SYNCHRONIZE, SYNC)
    }
}

impl File<'_> {
    fn short(&self) -> Result<String, NtStatus> {
        self.counted(class::ALTERNATE_NAME)
    }

    fn counted(&self, class: u32) -> Result<String, NtStatus> {
        let (status, bytes, _) = self.try_query(class, 1024);
        if status != NtStatus::SUCCESS {
            return Err(status);
        }
        let text: Vec<u16> = bytes[4..4 + word(&bytes, 0) as usize]
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        Ok(String::from_utf16_lossy(&text))
    }

    fn set_short(&self, name: &str) -> NtStatus {
        let mut bytes = (name.len() as u32 * 2).to_le_bytes().to_vec();
        bytes.extend(units(name));
        bytes.resize(bytes.len().max(8), 0);
        self.set(class::SHORT_NAME, &bytes)
    }

    /// Long and short names as a class of directory queries gives them.
    fn pairs(&self, class: u32, pattern: Option<&str>) -> Vec<(String, String)> {
        let at = if class == 63 { 0x58 } else { 0x44 };
        let of = |bytes: &[u8]| {
            let text: Vec<u16> = bytes[at + 2..at + 2 + usize::from(bytes[at])]
                .chunks_exact(2)
                .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
                .collect();
            String::from_utf16_lossy(&text)
        };
        let records = self.list(class, 4096, RESTART, pattern).records(class);
        records.into_iter().map(|record| (record.name.clone(), of(&record.bytes))).collect()
    }
}

#[test]
fn nt_nam_21_a_file_is_found_by_its_short_name() {
    let world = world();
    drop(world.directory("Program Files"));
    world.put("Program Files\\A long name.text", b"one");
    world.put("Program Files\\A long name too.text", b"two");
    world.put("Program Files\\plain.txt", b"plain");
    assert_eq!(world.short("Program Files").as_deref(), Ok("PROGRA~1"));
    assert_eq!(world.short("Program Files\\A long name.text").as_deref(), Ok("ALONGN~1.TEX"));
    assert_eq!(world.short("progra~1\\alongn~2.tex").as_deref(), Ok("ALONGN~2.TEX"), "whatever the case");
    assert_eq!(world.get("PROGRA~1\\ALONGN~2.TEX").as_deref(), Some(&b"two"[..]));
    assert_eq!(world.absent("PROGRA~1\\ALONGN~3.TEX"), ABSENT);
    assert_eq!(world.absent("PROGRA~2\\plain.txt"), Some(NtStatus::OBJECT_PATH_NOT_FOUND));
    // A name that is an 8.3 name has none beside it, the root has none at all.
    assert_eq!(world.short("PROGRA~1\\PLAIN.TXT"), Err(NtStatus::OBJECT_NAME_NOT_FOUND));
    assert_eq!(world.short(""), Err(NtStatus::OBJECT_NAME_NOT_FOUND));
    // What is there by its short name is there.
    let made = world.try_open("PROGRA~1\\ALONGN~1.TEX", GENERIC_WRITE | SYNCHRONIZE, SYNC, 2);
    assert_eq!(made.err(), Some(NtStatus::OBJECT_NAME_COLLISION));
    let mut short = vec![0; 0];
    let file = world.open_file("Program Files", 0x80 | SYNCHRONIZE, SYNC);
    let (status, bytes, iosb) = file.try_query(class::ALTERNATE_NAME, 8);
    short.extend_from_slice(&bytes);
    assert_eq!((status, iosb), (NtStatus::BUFFER_OVERFLOW, Iosb::Is(NtStatus::BUFFER_OVERFLOW, 8)));
    assert_eq!((word(&short, 0), &short[4..8]), (16, &units("PR")[..]), "the length of all of it");
    // A stream is found by the file's short name, and the file with its stream.
    world.put("PROGRA~1\\ALONGN~1.TEX:s", b"stream");
    assert_eq!(world.get("Program Files\\A long name.text:s").as_deref(), Some(&b"stream"[..]));
    world.put("another long name:s", b"");
    assert_eq!(world.short("another long name").as_deref(), Ok("ANOTHE~1"));
    // Who minds case finds long names only.
    assert_eq!(world.strict("Program Files\\ALONGN~1.TEX", 0x80, 1).err(), ABSENT);
    assert!(world.strict("Program Files\\A long name.text", 0x80, 1).is_ok());
}

#[test]
fn nt_nam_21_a_handle_shows_the_name_that_it_was_opened_by() {
    let world = world();
    drop(world.directory("Program Files"));
    drop(world.directory("Program Files\\Common Files"));
    world.put("Program Files\\Common Files\\A long name", b"");
    for (asked, opened) in [
        ("PROGRA~1\\Common Files\\ALONGN~1", "\\PROGRA~1\\Common Files\\ALONGN~1"),
        ("program files\\common~1\\a long name", "\\Program Files\\COMMON~1\\A long name"),
        ("Program Files\\Common Files\\A long name", "\\Program Files\\Common Files\\A long name"),
    ] {
        let file = world.open_file(asked, 0x80 | SYNCHRONIZE, SYNC);
        assert_eq!(file.name(), opened);
        let normal = "\\Program Files\\Common Files\\A long name";
        assert_eq!(file.counted(class::NORMALIZED_NAME).as_deref(), Ok(normal));
        let all = file.query(class::ALL, 1024);
        assert_eq!(word(&all, 96) as usize, opened.len() * 2);
    }
    // Relative to a directory that was opened so.
    let base = world.open_file("PROGRA~1\\COMMON~1", LIST | SYNCHRONIZE, SYNC);
    let spec = nt_io::create::CreateSpec {
        access: DELETE | 0x80 | SYNCHRONIZE,
        root: base.handle,
        name: "ALONGN~1".encode_utf16().collect(),
        options: SYNC,
        ..Default::default()
    };
    let file = world.adopt(nt_io::create::nt_create_file(&world.frame(), &spec).expect("beneath").0);
    assert_eq!(file.name(), "\\PROGRA~1\\COMMON~1\\ALONGN~1");
    // A rename by the handle gives it the name that was asked for.
    assert_eq!(file.rename("Another name", false), NtStatus::SUCCESS);
    assert_eq!(file.name(), "\\PROGRA~1\\COMMON~1\\Another name");
    assert_eq!(file.short().as_deref(), Ok("ANOTHE~1"));
}

#[test]
fn nt_nam_21_short_names_are_unique_among_all_names() {
    let world = world();
    drop(world.directory("d"));
    world.put("d\\LONGNA~2", b"a long name that looks like a short one");
    for number in 1..=7 {
        world.put(&format!("d\\long name {number}"), &[number]);
    }
    let dir = world.directory("d");
    let pairs: Vec<_> = dir.pairs(3, None).into_iter().filter(|(_, short)| !short.is_empty()).collect();
    let shorts: Vec<_> = pairs.iter().map(|(_, short)| short.as_str()).collect();
    assert_eq!(shorts[..3], ["LONGNA~1", "LONGNA~3", "LONGNA~4"], "2 is taken");
    for (short, number) in shorts[3..].iter().zip([1, 1, 1, 1]) {
        assert!(short.starts_with("LO") && short.len() == 8 && short.ends_with(&format!("~{number}")), "{short}");
    }
    let mut distinct = shorts.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 7);
    for (number, short) in (1..=7).zip(&shorts) {
        assert_eq!(world.get(&format!("d\\{short}")), Some(vec![number]), "{short}");
    }
    // A number that went is free again.
    assert_eq!(world.to_delete("d\\LONGNA~3").dispose(true), NtStatus::SUCCESS);
    assert_eq!(world.absent("d\\LONGNA~3"), ABSENT);
    world.put("d\\long name of another", b"");
    assert_eq!(world.short("d\\long name of another").as_deref(), Ok("LONGNA~3"));
    // Who minds case makes a long name where another has it as its short one: that one gets a new one.
    drop(world.strict("d\\LONGNA~1", GENERIC_WRITE, 2).expect("a file"));
    assert_eq!(world.get("d\\LONGNA~1"), Some(Vec::new()));
    let new = world.short("d\\long name 1").expect("a new one");
    assert!(new.starts_with("LO") && new != "LONGNA~1", "{new}");
    assert_eq!(world.get(&format!("d\\{new}")), Some(vec![1]));
}

#[test]
fn nt_nam_21_links_and_renames_keep_them_right() {
    let world = world();
    drop(world.directory("d"));
    drop(world.directory("e"));
    let file = world.to_delete_new("d\\one long name");
    assert_eq!(file.link("two long names", false), NtStatus::SUCCESS);
    assert_eq!(
        (world.short("d\\one long name").as_deref(), world.short("d\\two long names").as_deref()),
        (Ok("ONELON~1"), Ok("TWOLON~1"))
    );
    // A target is found by its short name.
    assert_eq!(file.link("TWOLON~1", false), NtStatus::OBJECT_NAME_COLLISION);
    world.put("d\\three long names", b"3");
    assert_eq!(file.rename("threel~1", false), NtStatus::OBJECT_NAME_COLLISION);
    assert_eq!(file.rename("threel~1", true), NtStatus::SUCCESS, "in its place");
    assert_eq!(world.absent("d\\three long names"), ABSENT);
    assert_eq!((file.name().as_str(), file.short()), ("\\d\\threel~1", Err(NtStatus::OBJECT_NAME_NOT_FOUND)));
    // Into another directory, where another has what was its own.
    world.put("e\\two long boats", b"");
    drop(file);
    let file = world.to_delete("d\\TWOLON~1");
    let there = name_information(0, world.directory("e").handle, "two long names");
    let elsewhere = world.directory("e");
    let there = [&there[..8], &elsewhere.handle.0.to_le_bytes(), &there[16..]].concat();
    assert_eq!(file.set(class::RENAME, &there), NtStatus::SUCCESS);
    assert_eq!((file.name().as_str(), file.short().as_deref()), ("\\e\\two long names", Ok("TWOLON~2")));
    assert_eq!((world.absent("d\\TWOLON~1"), world.absent("e\\TWOLON~2")), (ABSENT, None));
    // Onto its own short name: that is its long one then.
    assert_eq!(file.rename("TWOLON~2", false), NtStatus::SUCCESS);
    assert_eq!((file.name().as_str(), file.short()), ("\\e\\TWOLON~2", Err(NtStatus::OBJECT_NAME_NOT_FOUND)));
    // What stands in a directory that moves keeps its own.
    world.put("e\\within it all", b"");
    let dir = world.to_delete("e");
    drop((file, elsewhere));
    assert_eq!(dir.rename("f", false), NtStatus::SUCCESS);
    assert_eq!(world.absent("f\\WITHIN~1"), None);
    // A case of one name more or less is the same name.
    let file = world.to_delete("f\\within it all");
    assert_eq!(file.rename("WITHIN it all", false), NtStatus::SUCCESS);
    assert_eq!(file.short().as_deref(), Ok("WITHIN~1"));
    // A deleted directory takes its names along.
    drop((file, dir));
    drop(world.directory("gone"));
    world.put("gone\\a long name", b"");
    assert_eq!(world.to_delete("gone\\ALONGN~1").dispose(true), NtStatus::SUCCESS);
    assert_eq!(world.to_delete("gone").dispose(true), NtStatus::SUCCESS);
    drop(world.directory("gone"));
    assert_eq!(world.absent("gone\\ALONGN~1"), ABSENT);
}

#[test]
fn nt_dir_23_a_pattern_finds_short_names_and_gives_long_ones() {
    let world = world();
    world.fill("d", &["A long name.text", "plain.txt", "LONG PLAIN.TXT"]);
    let dir = world.directory("d");
    let all = [("A long name.text", "ALONGN~1.TEX"), ("LONG PLAIN.TXT", "LONGPL~1.TXT"), ("plain.txt", "")];
    let owned =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    for class in [3, 37, 63] {
        let pairs: Vec<_> =
            world.directory("d").pairs(class, None).into_iter().filter(|(name, _)| !name.starts_with('.')).collect();
        assert_eq!(pairs, owned(&all), "class {class}");
        assert_eq!(world.directory("d").pairs(class, Some("alongn~1.TEX")), owned(&all[..1]), "class {class}");
    }
    assert_eq!(dir.names(Some("ALONGN~1.TEX")), ["A long name.text"]);
    assert_eq!(dir.names(Some("*~1.*")), ["A long name.text", "LONG PLAIN.TXT"], "by wildcards too");
    assert_eq!(dir.names(Some("*.TEX")), ["A long name.text"]);
    assert_eq!(dir.names(Some("ALONGN~2.TEX")), [""; 0]);
    let strict = world.strict("d", LIST, 1).expect("by case");
    assert_eq!(strict.names(Some("ALONGN~1.TEX")), [""; 0], "a caller that minds case");
}

#[test]
fn nt_dir_27_the_anchors_hold_with_short_names_too() {
    let world = world();
    let set = ["n.tmp", "ea", "ea.tmp", "ea.tmp.tmp", ".a", ".a.a", "a.", "..a", ".aa", "a.."];
    world.fill("d", &set);
    let dir = world.directory("d");
    let found = |pattern: &str| -> Vec<String> {
        let names = dir.names(Some(pattern));
        set.iter().filter(|name| names.iter().any(|found| found == *name)).map(|name| (*name).to_owned()).collect()
    };
    // What Windows finds, with those that it finds by short names.
    assert_eq!(found("<"), ["ea", ".a", "a.", "..a", ".aa", "a.."]);
    assert_eq!(found("*."), ["a.", "a.."]);
    assert_eq!(found("?"), [""; 0]);
    assert_eq!(found("??"), ["ea", ".a", "a."]);
    assert_eq!(found("*a"), ["ea", ".a", ".a.a", "..a", ".aa"]);
    assert_eq!(found("<a"), ["ea", ".a", ".a.a", "..a"]);
    assert_eq!(found("<aa"), [".aa"]);
    assert_eq!(found("*"), set);
    assert_eq!(found("*.*").len(), 9);
}

#[test]
fn nt_nam_26_a_short_name_is_set_and_taken_away() {
    let world = world();
    world.run_as(restorer());
    drop(world.directory("d"));
    for name in ["A long name", "Another long name", "plain.txt"] {
        world.put(&format!("d\\{name}"), name.as_bytes());
    }
    let file = world.to_shorten("d\\A long name");
    let watch = world.watched("d");
    let wait = watch.watch(FILE_NAME);
    assert_eq!(file.set_short("alias.x"), NtStatus::SUCCESS);
    assert_eq!(wait.told(), told(&[(OLD_NAME, "ALONGN~1"), (NEW_NAME, "ALIAS.X")]));
    assert_eq!(file.short().as_deref(), Ok("ALIAS.X"));
    assert_eq!((world.absent("d\\ALONGN~1"), world.absent("d\\Alias.X")), (ABSENT, None));
    assert_eq!(world.directory("d").names(Some("ALIAS.X")), ["A long name"]);
    // Taken, by a long name, by a short one; not by itself.
    for taken in ["PLAIN.TXT", "ANOTHE~1"] {
        assert_eq!(file.set_short(taken), NtStatus::OBJECT_NAME_COLLISION, "{taken}");
    }
    assert_eq!(file.set_short("ALIAS.X"), NtStatus::SUCCESS);
    let wait = watch.watch(FILE_NAME);
    assert_eq!(file.set_short(""), NtStatus::SUCCESS);
    assert_eq!(wait.told(), told(&[(REMOVED, "ALIAS.X")]));
    assert_eq!((file.short(), world.absent("d\\ALIAS.X")), (Err(NtStatus::OBJECT_NAME_NOT_FOUND), ABSENT));
    assert_eq!(file.set_short(""), NtStatus::SUCCESS, "there is none");
    assert_eq!(world.short("d\\A long name"), Err(NtStatus::OBJECT_NAME_NOT_FOUND), "and stays so");
    // A name that is short itself may have another one.
    let plain = world.to_shorten("d\\plain.txt");
    let wait = watch.watch(FILE_NAME);
    assert_eq!(plain.set_short("ALIAS.X"), NtStatus::SUCCESS);
    assert_eq!(wait.told(), told(&[(ADDED, "ALIAS.X")]));
    assert_eq!(world.get("d\\alias.x").as_deref(), Some(&b"plain.txt"[..]));
    assert_eq!(plain.set_short("Plain.Txt"), NtStatus::SUCCESS, "its own");
    assert_eq!((plain.short(), world.absent("d\\plain.txt")), (Err(NtStatus::OBJECT_NAME_NOT_FOUND), None));
}

#[test]
fn nt_nam_26_what_is_refused_is_refused_in_order() {
    let world = world();
    world.run_as(restorer());
    drop(world.directory("d"));
    world.put("d\\A long name", b"");
    world.put("A long name:s", b"");
    let file = world.to_shorten("d\\A long name");
    for invalid in ["\\A", "too long a.x", "a b", "a.b.c", ".a", "..", "a+b", "12345678.abcd"] {
        assert_eq!(file.set_short(invalid), NtStatus::INVALID_PARAMETER, "{invalid}");
    }
    assert_eq!(file.set(class::SHORT_NAME, &[2, 0, 0, 0]), NtStatus::INFO_LENGTH_MISMATCH);
    assert_eq!(file.set(class::SHORT_NAME, &[64, 0, 0, 0, 0x41, 0, 0, 0]), NtStatus::INVALID_PARAMETER, "no such name");
    assert_eq!(world.to_shorten("").set_short("ROOT"), NtStatus::INVALID_PARAMETER);
    assert_eq!(world.to_shorten("A long name:s").set_short("STREAM"), NtStatus::INVALID_PARAMETER);
    let strict = world.strict("d\\A long name", DELETE | WRITE_ATTRIBUTES, 1).expect("by case");
    assert_eq!(strict.set_short("SHORT"), NtStatus::INVALID_PARAMETER);
    // Access: DELETE for the I/O manager, one that writes for the volume.
    let only = |access: u32| world.open_file("d\\A long name", access | SYNCHRONIZE, SYNC).set_short("SHORT");
    assert_eq!(only(WRITE_ATTRIBUTES), NtStatus::ACCESS_DENIED);
    assert_eq!(only(DELETE), NtStatus::ACCESS_DENIED);
    let going = world.open_file("d\\A long name", DELETE | WRITE_ATTRIBUTES | SYNCHRONIZE, SYNC | DELETE_ON_CLOSE);
    assert_eq!(going.set_short("SHORT"), NtStatus::ACCESS_DENIED);
    assert_eq!(going.set_short("a.b.c"), NtStatus::INVALID_PARAMETER, "that comes before");
    drop((going, strict, file));
    world.put("d\\A long name", b"");
    let file = world.to_shorten("d\\A long name");
    assert_eq!(file.dispose(true), NtStatus::SUCCESS);
    assert_eq!(file.set_short("SHORT"), NtStatus::ACCESS_DENIED, "it is to go");
    assert_eq!(file.dispose(false), NtStatus::SUCCESS);
    // A directory with open files below.
    let held = world.open_file("d", DELETE | WRITE_ATTRIBUTES | SYNCHRONIZE, SYNC);
    assert_eq!(held.set_short("SHORT"), NtStatus::ACCESS_DENIED);
    // The volume, then who asks: the privilege comes first.
    world.volume.set_short_names(false);
    assert_eq!(file.set_short("SHORT"), NtStatus::SHORT_NAMES_NOT_ENABLED_ON_VOLUME);
    world.run_as(user());
    assert_eq!(file.set_short("SHORT"), NtStatus::PRIVILEGE_NOT_HELD);
}

#[test]
fn nt_nam_26_the_volume_tells_whether_it_makes_short_names() {
    const QUERY_PERSISTENT_VOLUME_STATE: u32 = 0x0009_023C;
    let world = World::new();
    let volume = world.volume(0x80);
    let ask = |mask: u32, version: u32| {
        let input: Vec<u8> = [0, mask, version, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
        let (status, _, bytes) = volume.control(QUERY_PERSISTENT_VOLUME_STATE, &input, 16);
        (status, word(&bytes, 0), word(&bytes, 4))
    };
    assert_eq!(ask(1, 1), (NtStatus::SUCCESS, 1, 1), "creation is disabled");
    world.volume.set_short_names(true);
    assert_eq!(ask(1, 1), (NtStatus::SUCCESS, 0, 1));
    world.volume.set_short_names(false);
    assert_eq!(ask(2, 1), (NtStatus::SUCCESS, 0, 2), "it was not asked for");
    assert_eq!(ask(1, 2).0, NtStatus::INVALID_PARAMETER);
    assert_eq!(volume.control(QUERY_PERSISTENT_VOLUME_STATE, &[0; 8], 16).0, NtStatus::INVALID_PARAMETER);
    let input = [0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(volume.control(QUERY_PERSISTENT_VOLUME_STATE, &input, 8).0, NtStatus::BUFFER_TOO_SMALL);
}

#[test]
fn nt_nam_21_files_from_before_have_theirs_when_they_are_looked_at() {
    let world = World::new();
    drop(world.directory("d"));
    for name in ["d\\long name b", "d\\long name a"] {
        world.put(name, name.as_bytes());
    }
    assert_eq!(world.short("d\\long name a"), Err(NtStatus::OBJECT_NAME_NOT_FOUND));
    assert_eq!(world.absent("d\\LONGNA~1"), ABSENT);
    world.volume.set_short_names(true);
    assert_eq!(world.get("d\\LONGNA~1").as_deref(), Some(&b"d\\long name a"[..]), "in the order of their names");
    assert_eq!(world.short("d\\long name b").as_deref(), Ok("LONGNA~2"));
    world.volume.set_short_names(false);
    assert_eq!((world.absent("d\\LONGNA~1"), world.directory("d").names(Some("LONGNA~1"))), (ABSENT, Vec::new()));
}

#[test]
fn nt_ren_37_a_name_made_anew_has_the_former_short_name() {
    let world = world();
    world.volume.set_tunnelling(true);
    let remove = |name: &str| assert_eq!(world.to_delete(name).dispose(true), NtStatus::SUCCESS);
    for name in ["long name 1", "long name 2", "long name 3"] {
        world.put(name, name.as_bytes());
    }
    // What editors do: the file goes and comes again, and its short name is the same though another one is free.
    remove("long name 1");
    remove("long name 2");
    world.put("long name 2", b"new");
    assert_eq!(world.short("long name 2").as_deref(), Ok("LONGNA~2"));
    assert_eq!(world.to_delete("long name 3").rename("long name 3.bak", false), NtStatus::SUCCESS);
    assert_eq!(world.short("long name 3.bak").as_deref(), Ok("LONGNA~1.BAK"));
    world.put("saved", b"saved");
    assert_eq!(world.to_delete("saved").rename("long name 3", false), NtStatus::SUCCESS);
    assert_eq!(world.short("long name 3").as_deref(), Ok("LONGNA~3"));
    // A program that knows short names only: the long name comes again.
    remove("LONGNA~3");
    world.put("LONGNA~3", b"by its short name");
    assert_eq!(world.get("long name 3").as_deref(), Some(&b"by its short name"[..]));
    assert_eq!(world.short("long name 3").as_deref(), Ok("LONGNA~3"));
    assert_eq!(world.directory("").names(Some("LONGNA~3")), ["long name 3"]);
    let file = world.to_delete("LONGNA~3");
    assert_eq!(file.rename("LONGNA~9", false), NtStatus::SUCCESS);
    drop(file);
    assert_eq!(world.to_delete_new("temp").rename("LONGNA~3", false), NtStatus::SUCCESS);
    assert_eq!(world.absent("long name 3"), None, "by a rename too");
    // Off, a short name is a name.
    world.volume.set_tunnelling(false);
    remove("LONGNA~3");
    world.put("LONGNA~3", b"");
    assert_eq!((world.absent("long name 3"), world.short("LONGNA~3")), (ABSENT, Err(NtStatus::OBJECT_NAME_NOT_FOUND)));
}
