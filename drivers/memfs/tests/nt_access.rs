//! Access at an open: nt-fs.md section 9, rules NT-SEC-11 to NT-SEC-17, and what privileges open.
mod support;

use nt_abi::NtStatus;
use nt_abi::io::FILE_OBJECT;
use nt_abi::mm::SECTION_OBJECT_POINTERS;
use nt_abi::se::*;
use nt_cell::Foreign;
use nt_io::create;
use nt_io::info::class;
use nt_ke::Mode;
use nt_se::{Ace, Acl, Descriptor, Sid, TokenSpec};
use support::names::*;
use support::security::*;
use support::*;

const OK: NtStatus = NtStatus::SUCCESS;
const DENIED: NtStatus = NtStatus::ACCESS_DENIED;
const LIST: u32 = 1;
const ADD_FILE: u32 = 2;
const ADD_SUBDIRECTORY: u32 = 4;
const TRAVERSE: u32 = 0x20;
const DELETE_CHILD: u32 = 0x40;
const READ_ATTRIBUTES: u32 = 0x80;
const WRITE_EA: u32 = 0x10;
const WRITE_ATTRIBUTES: u32 = 0x100;
const MAXIMUM: u32 = 0x200_0000;
const READONLY: u32 = 1;
const FOR_BACKUP: u32 = 0x4000;

fn sections(file: &File<'_>) -> Foreign<SECTION_OBJECT_POINTERS> {
    let found = nt_ps::current_process(&file.world.frame()).handles.reference(file.handle).expect("a handle");
    found.object.body().view::<FILE_OBJECT>().ptr(FILE_OBJECT::SectionObjectPointer).expect("a file of the volume's")
}

/// A DACL of these entries, which nothing joins.
fn only(aces: Vec<Ace>) -> Descriptor {
    let control = SE_DACL_PRESENT | SE_DACL_PROTECTED;
    Descriptor { control, dacl: Some(Acl::new(aces)), ..Descriptor::default() }
}

/// A DACL by which everybody has `mask`, of a file that the administrators own.
fn all_have(mask: u32) -> Descriptor {
    only(vec![Ace::allow(mask, &Sid::EVERYONE)])
}

/// A directory by which everybody has `mask`, and in it a file by which everybody has `of_file`.
fn pair(w: &World, mask: u32, of_file: u32) {
    w.secured("d", DIR, Some(&all_have(ALL)));
    drop(w.secured("d\\f", 0, Some(&all_have(of_file))));
    assert_eq!(w.open_file("d", WRITE_DAC, 0).set_security(DACL, &all_have(mask)), OK);
    w.run_as(user());
}

#[test]
fn nt_sec_11_an_open_is_judged_in_order() {
    const CANNOT: NtStatus = NtStatus::CANNOT_DELETE;
    let w = World::new();
    // (a) The read-only attribute comes first: another status for delete-on-close, and a descriptor is not asked.
    drop(w.secured("r", 0, None));
    w.attributes("r", READONLY);
    assert_eq!(w.open_file("r", WRITE_DAC, 0).set_security(DACL, &all_have(READ_CONTROL)), OK);
    w.run_as(user());
    for access in [WRITE_DATA, APPEND_DATA] {
        assert_eq!(w.refusal("r", access), Some(DENIED));
    }
    assert_eq!(w.try_open("r", DELETE, DELETE_ON_CLOSE, 1).err(), Some(CANNOT));
    // (b) The file's own descriptor.
    w.run_as(TokenSpec::administrator());
    drop(w.secured("f", 0, Some(&all_have(READ_DATA | READ_CONTROL | SYNCHRONIZE))));
    w.run_as(user());
    assert_eq!(w.refusal("f", READ_DATA | READ_CONTROL), None);
    assert_eq!(w.refusal("f", READ_DATA | WRITE_DATA), Some(DENIED));
    // (d) Sharing comes after it: who may not have it is not told that somebody has it open.
    let held = w.shared("f", READ_DATA, 0).expect("opened");
    assert_eq!(w.refusal("f", WRITE_DATA), Some(DENIED));
    assert_eq!(w.refusal("f", READ_DATA), Some(NtStatus::SHARING_VIOLATION));
    drop(held);
}

#[test]
fn nt_sec_11_a_directory_gives_delete_and_read_attributes_of_its_files() {
    for (of_directory, delete, attributes) in [
        (0, Some(DENIED), Some(DENIED)),
        (DELETE_CHILD, None, Some(DENIED)),
        (LIST, Some(DENIED), None),
        (ALL, None, None),
    ] {
        let w = World::new();
        pair(&w, of_directory, READ_CONTROL);
        assert_eq!(w.refusal("d\\f", DELETE), delete, "{of_directory:#x}");
        assert_eq!(w.refusal("d\\f", READ_ATTRIBUTES), attributes, "{of_directory:#x}");
        let both = delete.or(attributes);
        assert_eq!(w.refusal("d\\f", DELETE | READ_ATTRIBUTES | READ_CONTROL), both, "{of_directory:#x}");
        assert_eq!(w.refusal("d\\f", DELETE | READ_DATA), Some(DENIED), "nothing else is given");
    }
}

#[test]
fn nt_sec_12_a_file_that_denies_all_can_be_deleted_by_who_may_delete_in_its_directory() {
    let w = World::new();
    let deny = only(vec![Ace::deny(ALL, &Sid::EVERYONE)]);
    let d = w.secured("d", DIR, Some(&all_have(ALL)));
    drop(w.secured("d\\f", 0, Some(&deny)));
    assert_eq!(d.set_security(DACL, &all_have(DELETE_CHILD)), OK);
    drop(d);
    w.run_as(user());
    assert_eq!(w.refusal("d\\f", READ_DATA), Some(DENIED));
    let f = w.adopt(w.try_open("d\\f", DELETE, DELETE_ON_CLOSE, 1).expect("granted by the directory").0);
    drop(f);
    assert_eq!(w.absent("d\\f"), Some(NtStatus::OBJECT_NAME_NOT_FOUND));
    // By its directory alone: without that right it stays.
    w.run_as(TokenSpec::administrator());
    assert_eq!(w.open_file("d", WRITE_DAC, 0).set_security(DACL, &all_have(ADD_FILE)), OK);
    drop(w.secured("d\\g", 0, Some(&deny)));
    w.run_as(user());
    assert_eq!(w.refusal("d\\g", DELETE), Some(DENIED));
}

#[test]
fn nt_del_27_the_files_own_descriptor_or_its_directorys_suffices_to_delete() {
    for (of_directory, of_file, may) in [
        (ALL & !DELETE_CHILD, ALL & !DELETE, false),
        (ALL & !DELETE_CHILD, DELETE, true),
        (DELETE_CHILD, ALL & !DELETE, true),
        (DELETE_CHILD, DELETE, true),
    ] {
        for options in [0, DELETE_ON_CLOSE] {
            let w = World::new();
            pair(&w, of_directory, of_file);
            let opened = w.try_open("d\\f", DELETE, options, 1).map(|(handle, _)| w.adopt(handle));
            assert_eq!(opened.is_ok(), may, "{of_directory:#x} {of_file:#x}");
            // Asked at the create, and then no more: the descriptors that take it back come too late.
            w.run_as(TokenSpec::administrator());
            for name in ["d", "d\\f"] {
                assert_eq!(w.open_file(name, WRITE_DAC, 0).set_security(DACL, &all_have(READ_CONTROL)), OK);
            }
            w.run_as(user());
            match opened {
                Ok(file) if options == 0 => assert_eq!(file.dispose(true), OK),
                Ok(file) => drop(file),
                Err(status) => assert_eq!(status, DENIED),
            }
            w.run_as(TokenSpec::administrator());
            let gone = w.absent("d\\f") == Some(NtStatus::OBJECT_NAME_NOT_FOUND);
            assert_eq!(gone, may, "{of_directory:#x} {of_file:#x}");
        }
    }
}

#[test]
fn nt_sec_13_maximum_allowed_is_all_that_the_check_gives() {
    let w = World::new();
    let aces = vec![
        Ace::deny(APPEND_DATA, &Sid::USERS),
        Ace::allow(READ_DATA | WRITE_DATA | APPEND_DATA | WRITE_ATTRIBUTES, &Sid::EVERYONE),
        Ace::allow(DELETE, &Sid::ADMINISTRATORS),
    ];
    w.secured("d", DIR, Some(&all_have(ADD_FILE)));
    drop(w.secured("d\\f", 0, Some(&only(aces))));
    w.run_as(user());
    let usual = READ_DATA | WRITE_DATA | WRITE_ATTRIBUTES;
    assert_eq!(w.granted("d\\f", MAXIMUM, 0), Ok(usual));
    assert_eq!(w.granted("d\\f", MAXIMUM | READ_DATA, 0), Ok(usual));
    assert_eq!(w.granted("d\\f", MAXIMUM | DELETE, 0), Err(DENIED));
    let mut information = [0; 40];
    information[32] = READONLY as u8;
    assert_eq!(w.open_file("d\\f", WRITE_ATTRIBUTES, 0).set(class::BASIC, &information), OK);
    assert_eq!(w.granted("d\\f", MAXIMUM, 0), Ok(READ_DATA | WRITE_ATTRIBUTES));
    w.run_as(TokenSpec::administrator());
    drop(w.secured("open", 0, None));
    assert_eq!(w.granted("open", MAXIMUM, 0), Ok(ALL));
    w.attributes("open", READONLY);
    assert_eq!(w.granted("open", MAXIMUM, 0), Ok(ALL & !(WRITE_DATA | APPEND_DATA | DELETE_CHILD)));
}

#[test]
fn nt_sec_14_making_and_replacing_files_wants_more() {
    const SUPERSEDE: u32 = 0;
    const OVERWRITE: u32 = 4;
    let w = World::new();
    for (right, file, directory) in
        [(ADD_FILE, None, Some(DENIED)), (ADD_SUBDIRECTORY, Some(DENIED), None), (TRAVERSE, Some(DENIED), Some(DENIED))]
    {
        let name = format!("d{right}");
        w.run_as(TokenSpec::administrator());
        w.secured(&name, DIR, Some(&all_have(right)));
        w.run_as(user());
        let made = |name: &str, options: u32| w.try_make(name, options, None, 2).err();
        assert_eq!(made(&format!("{name}\\f"), 0), file, "a file with {right:#x}");
        assert_eq!(made(&format!("{name}\\d"), DIR), directory, "a directory with {right:#x}");
    }
    let overwriting = WRITE_DATA | WRITE_EA | WRITE_ATTRIBUTES;
    for (disposition, needed) in [(OVERWRITE, overwriting), (SUPERSEDE, DELETE)] {
        for lacking in [0, WRITE_DATA, DELETE] {
            w.run_as(TokenSpec::administrator());
            let (name, rights) = (format!("f{disposition}{lacking}"), READ_DATA | (overwriting | DELETE) & !lacking);
            w.secured(&format!("p{name}"), DIR, Some(&all_have(ADD_FILE)));
            let path = format!("p{name}\\f");
            drop(w.secured(&path, 0, Some(&all_have(rights))));
            w.run_as(user());
            let opened = w.try_open(&path, READ_DATA, 0, disposition);
            let expected = (needed & lacking != 0).then_some(DENIED);
            assert_eq!(opened.err(), expected, "disposition {disposition}, without {lacking:#x}");
            if let Ok((handle, _)) = opened {
                let f = w.adopt(handle);
                assert_eq!(f.granted(), READ_DATA, "what only the open needed is not the handle's");
            }
        }
    }
}

#[test]
fn nt_sec_15_a_directory_on_the_way_is_not_asked() {
    let w = World::new();
    w.secured("d", DIR, Some(&all_have(ALL)));
    w.secured("d\\e", DIR, Some(&all_have(ALL)));
    drop(w.secured("d\\e\\f", 0, Some(&all_have(READ_DATA))));
    let nothing = only(vec![Ace::deny(ALL, &Sid::EVERYONE)]);
    for name in ["d\\e", "d"] {
        assert_eq!(w.open_file(name, WRITE_DAC, 0).set_security(DACL, &nothing), OK);
    }
    w.run_as(user());
    assert_eq!(w.refusal("d", TRAVERSE), Some(DENIED));
    assert_eq!(w.refusal("d\\e\\f", READ_DATA), None);
    w.run_as(user().without_privilege(SE_CHANGE_NOTIFY_PRIVILEGE));
    assert_eq!(w.refusal("d\\e\\f", READ_DATA), None, "without the privilege too");
}

#[test]
fn nt_sec_16_backup_and_restore_pass_a_dacl() {
    let reads = 0x12_0089 | TRAVERSE | SYSTEM_SECURITY;
    let writes = 0x12_0116 | DELETE | WRITE_DAC | WRITE_OWNER | SYSTEM_SECURITY;
    let w = World::new();
    drop(w.secured("f", 0, Some(&only(vec![]))));
    let opens = |access: u32, options: u32| w.granted("f", access, options);
    w.run_as(user());
    assert_eq!(opens(READ_DATA, FOR_BACKUP), Err(DENIED), "nobody special");
    w.run_as(TokenSpec::administrator());
    assert_eq!(opens(READ_DATA, FOR_BACKUP), Err(DENIED), "held, and not enabled: as by default");
    w.run_as(user().with_privilege(SE_BACKUP_PRIVILEGE));
    assert_eq!(opens(reads, FOR_BACKUP), Ok(reads));
    assert_eq!(opens(READ_DATA, 0), Err(DENIED), "only when it is asked for");
    assert_eq!(opens(reads | WRITE_DATA, FOR_BACKUP), Err(DENIED));
    w.run_as(user().with_privilege(SE_RESTORE_PRIVILEGE));
    assert_eq!(opens(writes, FOR_BACKUP), Ok(writes));
    assert_eq!(opens(READ_DATA, FOR_BACKUP), Err(DENIED));
    // Names can be added where the directory lets nobody.
    w.run_as(TokenSpec::administrator());
    w.secured("d", DIR, Some(&only(vec![])));
    w.run_as(user().with_privilege(SE_RESTORE_PRIVILEGE));
    assert_eq!(w.try_make("d\\f", 0, None, 2).err(), Some(DENIED));
}

#[test]
fn nt_sec_17_kernel_mode_is_asked_only_when_it_wants_to_be() {
    const FORCE: u32 = 0x400;
    const CASE_INSENSITIVE: u32 = 0x40;
    let w = World::new();
    drop(w.secured("f", 0, Some(&only(vec![]))));
    w.run_as(user());
    let open = |access: u32, attributes: u32| {
        let frame = w.frame();
        let mut spec = w.spec("f", access, 0, 1);
        spec.attributes = attributes | CASE_INSENSITIVE;
        frame.with_mode(Mode::Kernel, || {
            let (handle, _) = create::nt_create_file(&frame, &spec).map_err(NtStatus::from)?;
            let file = w.adopt(handle);
            Ok(file.granted())
        })
    };
    let asked = READ_DATA | WRITE_DATA | DELETE | SYSTEM_SECURITY;
    assert_eq!(open(asked, 0), Ok(asked));
    assert_eq!(open(MAXIMUM, 0), Ok(ALL));
    assert_eq!(open(READ_DATA, FORCE), Err(DENIED));
    assert_eq!(w.refusal("f", READ_DATA), Some(DENIED));
}

#[test]
fn a_target_that_one_may_not_delete_is_not_replaced() {
    let w = World::new();
    w.secured("d", DIR, Some(&all_have(ALL & !DELETE_CHILD)));
    drop(w.secured("d\\old", 0, Some(&all_have(READ_DATA))));
    w.run_as(user());
    drop(w.secured("d\\new", 0, None));
    assert_eq!(w.to_delete("d\\new").rename("old", true), DENIED);
    w.run_as(TokenSpec::administrator());
    assert_eq!(w.open_file("d", WRITE_DAC, 0).set_security(DACL, &all_have(ALL)), OK);
    w.run_as(user());
    assert_eq!(w.to_delete("d\\new").rename("old", true), OK);
}

#[test]
fn a_volume_is_opened_by_all_and_written_by_its_administrators() {
    let w = World::new();
    let open = |access: u32| {
        let mut spec = w.spec("", access, 0, 1);
        spec.name = "\\??\\C:".encode_utf16().collect();
        let opened = create::nt_create_file(&w.frame(), &spec).map_err(NtStatus::from);
        opened.map(|(handle, _)| drop(w.adopt(handle)))
    };
    assert_eq!(open(GENERIC_READ | GENERIC_WRITE), Ok(()));
    w.run_as(user());
    assert_eq!(open(READ_ATTRIBUTES | SYNCHRONIZE), Ok(()));
    assert_eq!(open(READ_DATA), Err(DENIED));
}

#[test]
fn nt_cc_68_valid_data_moves_for_who_may_manage_volumes() {
    let w = World::new();
    w.run_as(TokenSpec::administrator().with_privilege(SE_MANAGE_VOLUME_PRIVILEGE));
    let f = w.sync_file("f");
    assert_eq!(f.write(b"cached", Some(0)), success(6));
    assert_eq!(f.set(class::END_OF_FILE, &8192_i64.to_le_bytes()), OK);
    let valid = |to: i64| f.set(class::VALID_DATA_LENGTH, &to.to_le_bytes());
    for wrong in [0, -1, 5, 8193] {
        assert_eq!(valid(wrong), NtStatus::INVALID_PARAMETER, "{wrong}");
    }
    assert_eq!(valid(6), OK, "where it is");
    assert_eq!(valid(4096), OK);
    assert_eq!(valid(6), NtStatus::INVALID_PARAMETER, "never back");
    let sections = sections(&f);
    let map = nt_cc::map_of(sections).expect("it is cached");
    assert!(map.is_clean(), "all was flushed");
    assert_eq!(map.sizes().valid, 4096, "and the cache knows");
    let (done, bytes) = f.read(8192, Some(0));
    assert_eq!((done, &bytes[..6]), (success(8192), &b"cached"[..]));
    assert!(bytes[6..].iter().all(|&byte| byte == 0), "bytes that were not written are zero");
    drop((map, f));
    // What counts is what the opener held when it opened.
    w.run_as(TokenSpec::administrator());
    let f = w.sync_file("f");
    assert_eq!(f.set(class::VALID_DATA_LENGTH, &8192_i64.to_le_bytes()), NtStatus::PRIVILEGE_NOT_HELD);
}

#[test]
fn nt_i_11_an_allocation_cuts_the_end_and_the_valid_data_and_moves_neither_up() {
    let w = World::new();
    w.run_as(TokenSpec::administrator().with_privilege(SE_MANAGE_VOLUME_PRIVILEGE));
    let allocated = |f: &File<'_>, to: i64| f.set(class::ALLOCATION, &to.to_le_bytes());
    for (to, eof, valid) in [(20_000, 10_000, 1000), (10_000, 10_000, 1000), (4096, 4096, 1000), (500, 500, 500)] {
        let f = w.sync_file(&format!("f{to}"));
        assert_eq!(f.write(&[7; 1000], Some(0)), success(1000));
        assert_eq!(f.set(class::END_OF_FILE, &10_000_i64.to_le_bytes()), OK);
        assert_eq!((allocated(&f, to), f.eof()), (OK, eof), "{to}");
        // Valid data moves up only: one byte less than it is is refused.
        let moved = |to: i64| f.set(class::VALID_DATA_LENGTH, &to.to_le_bytes());
        assert_eq!((moved(valid - 1), moved(valid)), (NtStatus::INVALID_PARAMETER, OK), "{to}");
        let room = i64::from_le_bytes(f.query(class::STANDARD, 24)[..8].try_into().expect("eight bytes"));
        // What lies inside the end the host may leave out.
        assert!((room >= to || to <= 10_000 && on_dir()) && room % 4096 == 0, "{room} bytes in clusters for {to}");
        let bytes = f.bytes_of(&format!("f{to}"));
        assert!(bytes.iter().enumerate().all(|(at, &byte)| byte == if at < 1000 { 7 } else { 0 }), "{to}");
    }
    let f = w.sync_file("f");
    f.write(b"bytes", Some(0));
    assert_eq!((allocated(&f, -1), f.eof(), allocated(&f, 0), f.eof()), (NtStatus::INVALID_PARAMETER, 5, OK, 0));
    let reader = w.open_file("f", READ_DATA | SYNCHRONIZE, SYNC);
    assert_eq!(allocated(&reader, 4096), DENIED, "a handle that reads");
}

#[test]
fn nt_i_12_valid_data_moves_up_never_past_the_end_and_reads_as_zero() {
    let w = World::new();
    let moved = |file: &File<'_>, to: i64| file.set(class::VALID_DATA_LENGTH, &to.to_le_bytes());
    w.run_as(TokenSpec::administrator());
    assert_eq!(moved(&w.sync_file("f"), 1), NtStatus::PRIVILEGE_NOT_HELD);
    w.run_as(TokenSpec::administrator().with_privilege(SE_MANAGE_VOLUME_PRIVILEGE));
    let f = w.sync_file("f");
    assert_eq!(f.write(&[7; 1000], Some(0)), success(1000));
    assert_eq!(f.set(class::END_OF_FILE, &10_000_i64.to_le_bytes()), OK);
    assert_eq!(moved(&w.open_file("f", READ_DATA | SYNCHRONIZE, SYNC), 5000), DENIED, "a handle that reads");
    for wrong in [0, -1, i64::MIN, 999, 10_001, i64::MAX] {
        assert_eq!(moved(&f, wrong), NtStatus::INVALID_PARAMETER, "{wrong}");
    }
    for right in [1000, 5000, 5000, 10_000] {
        assert_eq!(moved(&f, right), OK, "{right}");
    }
    assert_eq!(moved(&f, 5000), NtStatus::INVALID_PARAMETER, "it is past that");
    assert_eq!(f.eof(), 10_000);
    assert_eq!(f.bytes_of("f"), [vec![7; 1000], vec![0; 9000]].concat());
}

#[test]
fn nt_rep_12_a_symbolic_link_is_made_by_who_may_make_them() {
    use support::reparse::{mount_data, set};
    let w = World::new();
    let fresh =
        |name: &str, options: u32| w.try_open(name, ALL, options, 2).map(|(handle, _)| w.adopt(handle)).expect("new");
    let link = symlink_data("f", true);
    // A directory of the host has no room for Windows' own links: who may make them is told that.
    let made = if on_dir() { NtStatus::NOT_SUPPORTED } else { OK };
    assert_eq!(set(&fresh("granted", 0), &link), made, "our user has it");
    w.run_as(TokenSpec::administrator().without_privilege(SE_CREATE_SYMBOLIC_LINK_PRIVILEGE));
    assert_eq!(set(&fresh("refused", 0), &link), NtStatus::PRIVILEGE_NOT_HELD);
    assert_eq!(set(&fresh("mounted", DIR), &mount_data("\\??\\C:\\d")), made, "a mount point wants none");
    w.run_as(user().with_privilege(SE_CREATE_SYMBOLIC_LINK_PRIVILEGE));
    assert_eq!(set(&fresh("again", 0), &link), made);
}
