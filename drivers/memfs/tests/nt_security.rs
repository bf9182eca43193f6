//! Security: nt-fs.md section 9, rules NT-SEC. Who opens what is in nt_access.rs.
mod support;

use nt_abi::NtStatus;
use nt_abi::se::*;
use nt_io::create::{self, CreateSpec};
use nt_ke::WindowsVersion;
use nt_se::{Ace, Acl, Descriptor, Sid, TokenSpec};
use support::names::*;
use support::notify::{MODIFIED, told};
use support::security::*;
use support::*;

const OK: NtStatus = NtStatus::SUCCESS;
const DENIED: NtStatus = NtStatus::ACCESS_DENIED;
const WHOLE: u32 = OWNER | GROUP | DACL;

#[test]
fn nt_sec_01_a_buffer_too_small_tells_the_length_and_stays_as_it_was() {
    let w = World::new();
    let f = w.file("f", READ_CONTROL, 0);
    let (status, needed, _) = f.raw_security(WHOLE, 0);
    assert_eq!(status, NtStatus::BUFFER_TOO_SMALL);
    let (status, again, bytes) = f.raw_security(WHOLE, needed - 1);
    assert_eq!((status, again), (NtStatus::BUFFER_TOO_SMALL, needed));
    assert!(bytes.iter().all(|&byte| byte == 0xEE), "the buffer is untouched");
    let (status, again, bytes) = f.raw_security(WHOLE, needed);
    assert_eq!((status, again), (OK, needed));
    assert_ne!(u16::from_le_bytes([bytes[2], bytes[3]]) & SE_SELF_RELATIVE, 0);
    let whole = Descriptor::parse(&bytes).expect("a descriptor");
    assert_eq!(whole.owner, Some(Sid::ADMINISTRATORS));
    assert!(whole.has_dacl());
}

#[test]
fn nt_sec_02_only_the_asked_parts_are_present() {
    let w = World::new();
    let f = w.file("f", READ_CONTROL, 0);
    let names = f.security(OWNER | GROUP);
    assert!(names.owner.is_some() && names.group.is_some());
    assert_eq!((names.has_dacl(), names.has_sacl(), names.dacl, names.sacl), (false, false, None, None));
    assert_eq!(names.control & (SE_DACL_PRESENT | SE_SACL_PRESENT), 0);
    let dacl = f.security(DACL);
    assert_eq!((dacl.owner, dacl.group, dacl.has_sacl()), (None, None, false));
    assert!(dacl.has_dacl() && dacl.dacl.is_some());
    let owner = f.security(OWNER);
    assert_eq!((owner.owner.is_some(), owner.group, owner.has_dacl()), (true, None, false));
}

#[test]
fn nt_sec_03_each_part_wants_its_own_right() {
    let w = World::new();
    drop(w.sync_file("f"));
    w.run_as(TokenSpec::administrator().with_privilege(SE_SECURITY_PRIVILEGE));
    let audit = Acl::new(vec![Ace::new(SYSTEM_AUDIT_ACE_TYPE, FAILED_ACCESS_ACE_FLAG, 1, &Sid::EVERYONE)]);
    let new = || Descriptor {
        control: SE_DACL_PRESENT | SE_SACL_PRESENT,
        owner: Some(Sid::ADMINISTRATORS),
        group: Some(Sid::SYSTEM),
        dacl: Some(Acl::new(vec![Ace::allow(ALL, &Sid::EVERYONE)])),
        sacl: Some(audit.clone()),
    };
    let rights = [READ_CONTROL, WRITE_DAC, WRITE_OWNER, SYSTEM_SECURITY, READ_DATA];
    let asked = [
        (OWNER, READ_CONTROL),
        (GROUP, READ_CONTROL),
        (DACL, READ_CONTROL),
        (LABEL, READ_CONTROL),
        (SACL, SYSTEM_SECURITY),
    ];
    let changed =
        [(OWNER, WRITE_OWNER), (GROUP, WRITE_OWNER), (LABEL, WRITE_OWNER), (DACL, WRITE_DAC), (SACL, SYSTEM_SECURITY)];
    for right in rights {
        let f = w.open_file("f", right, 0);
        for (part, needed) in asked {
            let (status, ..) = f.raw_security(part, 4096);
            assert_eq!(status, if right == needed { OK } else { DENIED }, "query {part:#x} with {right:#x}");
        }
        for (part, needed) in changed {
            let status = f.set_security(part, &new());
            assert_eq!(status, if right == needed { OK } else { DENIED }, "set {part:#x} with {right:#x}");
        }
    }
    let f = w.open_file("f", READ_CONTROL | WRITE_DAC, 0);
    assert_eq!(f.set_security(DACL | OWNER, &new()), DENIED, "all that is named must be granted");
}

#[test]
fn nt_sec_04_a_new_dacl_leaves_the_other_parts() {
    let mut w = World::new();
    w.run_as(TokenSpec::administrator().with_privilege(SE_SECURITY_PRIVILEGE));
    let f = w.file("f", ALL | SYSTEM_SECURITY, 0);
    let label = Ace::new(SYSTEM_MANDATORY_LABEL_ACE_TYPE, 0, 1, &Sid::LABELS[1]);
    let audit = Ace::new(SYSTEM_AUDIT_ACE_TYPE, FAILED_ACCESS_ACE_FLAG, 1, &Sid::EVERYONE);
    let start = Descriptor {
        control: SE_SACL_PRESENT,
        owner: Some(Sid::account(500)),
        group: Some(Sid::USERS),
        dacl: None,
        sacl: Some(Acl::new(vec![label, audit])),
    };
    assert_eq!(f.set_security(OWNER | GROUP | SACL | LABEL, &start), OK);
    let dacl = Acl::new(vec![Ace::allow(READ_CONTROL | SYNCHRONIZE, &Sid::USERS), Ace::deny(4, &Sid::GUESTS)]);
    let new = Descriptor { control: SE_DACL_PRESENT, dacl: Some(dacl.clone()), ..Descriptor::default() };
    assert_eq!(f.set_security(DACL, &new), OK);
    let other = w.open_file("f", READ_CONTROL | SYSTEM_SECURITY, 0);
    for seen in [&f, &other] {
        let whole = seen.security(WHOLE | SACL | LABEL);
        assert_eq!((whole.owner, whole.group), (start.owner, start.group));
        assert_eq!((whole.dacl, whole.sacl), (Some(dacl.clone()), start.sacl.clone()));
    }
    drop((f, other));
    if let Some(ground) = w.ground.take() {
        // The volume is a directory: what was set is there when it is mounted again.
        drop(w);
        let again = World::on(WindowsVersion::default(), None, Some(ground));
        again.run_as(TokenSpec::administrator());
        let whole = again.open_file("f", READ_CONTROL, 0).security(WHOLE);
        assert_eq!((whole.owner, whole.group, whole.dacl), (start.owner, start.group, Some(dacl)));
        assert_eq!(again.refusal("f", READ_DATA), Some(DENIED));
    }
}

#[test]
fn nt_sec_05_what_cannot_be_a_descriptor_is_refused() {
    let w = World::new();
    let f = w.file("f", ALL, 0);
    assert_eq!(f.set_security_at(DACL, 0), NtStatus::ACCESS_VIOLATION);
    assert_eq!(f.set_security_at(DACL, 0x10), NtStatus::ACCESS_VIOLATION, "nothing can be read there");
    let good = everyone(ALL).bytes();
    let with = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        f.set_security_bytes(DACL, &bad)
    };
    assert_eq!(with(0, 9), NtStatus::UNKNOWN_REVISION);
    assert_eq!(with(0x10, 2), NtStatus::INVALID_SECURITY_DESCR, "a DACL inside the header");
    let dacl = usize::from(good[0x10]);
    assert_eq!(with(dacl, 9), NtStatus::INVALID_ACL);
    assert_eq!(with(dacl + 4, 9), NtStatus::INVALID_ACL, "more entries than there are");
    let none = Descriptor::default();
    assert_eq!(f.set_security(OWNER, &none), NtStatus::INVALID_SECURITY_DESCR, "an owner is named and none is there");
    let stranger = Descriptor { owner: Some(Sid::account(1002)), ..Descriptor::default() };
    assert_eq!(f.set_security(OWNER, &stranger), NtStatus::INVALID_OWNER);
    w.run_as(TokenSpec::administrator().with_privilege(SE_RESTORE_PRIVILEGE));
    assert_eq!(f.set_security(OWNER, &stranger), OK);
    assert_eq!(f.security(OWNER).owner, stranger.owner);
}

#[test]
fn nt_sec_06_handles_keep_what_they_were_granted() {
    let w = World::new();
    let f = w.file("f", ALL, SYNC);
    assert_eq!(f.write(b"before", Some(0)), success(6));
    assert_eq!(f.set_security(DACL, &everyone(READ_CONTROL)), OK);
    assert_eq!(w.refusal("f", WRITE_DATA), Some(DENIED));
    assert_eq!(w.refusal("f", READ_DATA), Some(DENIED));
    assert_eq!(f.write(b"behind", Some(0)), success(6));
    assert_eq!(f.read(6, Some(0)), (success(6), b"behind".to_vec()));
    assert_eq!(f.set_security(DACL, &everyone(ALL)), OK);
    assert_eq!(w.refusal("f", WRITE_DATA), None);
}

#[test]
fn nt_sec_08_a_new_file_gets_the_given_descriptor_or_what_its_directory_passes_on() {
    let w = World::new();
    let dacl = Acl::new(vec![Ace::allow(ALL, &Sid::USERS)]);
    let mut given =
        Descriptor { control: SE_DACL_PRESENT | SE_DACL_PROTECTED, dacl: Some(dacl.clone()), ..Descriptor::default() };
    let seen = w.secured("given", 0, Some(&given)).security(WHOLE);
    assert_eq!((seen.owner, seen.group), (Some(Sid::ADMINISTRATORS), Some(Sid::account(513))), "the token's");
    assert_eq!((seen.dacl, seen.control & SE_DACL_PROTECTED), (Some(dacl.clone()), SE_DACL_PROTECTED));
    given.owner = Some(Sid::account(500));
    given.group = Some(Sid::GUESTS);
    let seen = w.secured("owned", 0, Some(&given)).security(WHOLE);
    assert_eq!((seen.owner, seen.group, seen.dacl), (given.owner, given.group, Some(dacl)));
    // Somebody else: owner and group are that token's; the root passes on that everybody may all.
    w.run_as(user());
    let seen = w.secured("mine", 0, None).security(WHOLE);
    assert_eq!((seen.owner, seen.group), (Some(ME), Some(Sid::USERS)));
    assert_eq!(seen.dacl, Some(Acl::new(vec![Ace::allow(ALL, &Sid::EVERYONE).with_flags(INHERITED_ACE)])));
    // A directory that passes nothing on: the token's default DACL.
    let closed = everyone(ALL);
    w.secured("closed", DIR, Some(&Descriptor { control: closed.control | SE_DACL_PROTECTED, ..closed }));
    let seen = w.secured("closed\\f", 0, None).security(WHOLE);
    assert_eq!(seen.dacl, Some(Acl::new(vec![Ace::allow(ALL, &ME), Ace::allow(ALL, &Sid::SYSTEM)])));
    let bad = Descriptor { owner: Some(Sid::SYSTEM), ..Descriptor::default() };
    assert_eq!(w.try_make("bad", 0, Some(&bad), 2).err(), Some(NtStatus::INVALID_OWNER));
    assert_eq!(w.absent("bad"), Some(NtStatus::OBJECT_NAME_NOT_FOUND));
    let mut spec = w.spec("bad", ALL, 0, 2);
    spec.security = Some(vec![9; 40]);
    let made = create::nt_create_file(&w.frame(), &spec).map_err(NtStatus::from);
    assert_eq!(made.err(), Some(NtStatus::INVALID_SECURITY_DESCR));
}

#[test]
fn nt_sec_09_directories_pass_on_what_their_entries_say() {
    const OI: u8 = OBJECT_INHERIT_ACE;
    const CI: u8 = CONTAINER_INHERIT_ACE;
    const IO: u8 = INHERIT_ONLY_ACE;
    const NP: u8 = NO_PROPAGATE_INHERIT_ACE;
    const ID: u8 = INHERITED_ACE;
    let w = World::new();
    w.run_as(user());
    let top = Acl::new(vec![
        Ace::allow(ALL, &Sid::EVERYONE),
        Ace::allow(ALL, &Sid::CREATOR_OWNER).with_flags(OI | CI | IO),
        Ace::allow(1, &Sid::GUESTS).with_flags(OI),
        Ace::allow(2, &Sid::GUESTS).with_flags(CI),
        Ace::allow(4, &Sid::GUESTS).with_flags(OI | CI | NP),
        Ace::allow(ALL, &Sid::CREATOR_GROUP).with_flags(CI | IO | NP),
    ]);
    let given = Descriptor { control: SE_DACL_PRESENT | SE_DACL_PROTECTED, dacl: Some(top), ..Descriptor::default() };
    w.secured("top", DIR, Some(&given));
    let aces = |name: &str, options: u32| {
        let seen = w.secured(name, options, None).security(DACL);
        assert_ne!(seen.control & SE_DACL_AUTO_INHERITED, 0, "{name}");
        let list = seen.dacl.expect("a DACL").aces;
        list.iter().map(|ace| (ace.flags, ace.mask(), ace.sid().expect("plain"))).collect::<Vec<_>>()
    };
    let g = Sid::GUESTS;
    assert_eq!(aces("top\\f", 0), [(ID, ALL, ME), (ID, 1, g), (ID, 4, g)]);
    assert_eq!(
        aces("top\\d", DIR),
        [
            (ID, ALL, ME),
            (OI | CI | IO | ID, ALL, Sid::CREATOR_OWNER),
            (OI | IO | ID, 1, g),
            (CI | ID, 2, g),
            (ID, 4, g),
            (ID, ALL, Sid::USERS),
        ]
    );
    assert_eq!(aces("top\\d\\f", 0), [(ID, ALL, ME), (ID, 1, g)], "what was not to go on does not");
    let own = Acl::new(vec![Ace::allow(ALL, &ME)]);
    let shut =
        Descriptor { control: SE_DACL_PRESENT | SE_DACL_PROTECTED, dacl: Some(own.clone()), ..Descriptor::default() };
    assert_eq!(
        w.secured("top\\alone", 0, Some(&shut)).security(DACL).dacl,
        Some(own.clone()),
        "a protected DACL inherits nothing"
    );
    let open = Descriptor { control: SE_DACL_PRESENT, dacl: Some(own), ..Descriptor::default() };
    let joined = w.secured("top\\joined", 0, Some(&open)).security(DACL).dacl.expect("a DACL");
    assert_eq!(joined.aces.iter().map(|ace| ace.flags).collect::<Vec<_>>(), [0, ID, ID, ID]);
}

#[test]
fn nt_sec_10_a_descriptor_for_a_file_that_is_there_counts_for_supersede_only() {
    const SUPERSEDE: u32 = 0;
    let w = World::new();
    drop(w.secured("f", 0, None));
    let before = w.open_file("f", READ_CONTROL, 0).security(WHOLE);
    let given = everyone(ALL);
    assert_ne!(before.dacl, given.dacl);
    for disposition in [1, 3, 4, 5] {
        let f = w.try_make("f", 0, Some(&given), disposition).expect("opened");
        assert_eq!(f.security(WHOLE), before, "disposition {disposition}");
    }
    let f = w.try_make("f", 0, Some(&given), SUPERSEDE).expect("superseded");
    assert!(f.security(DACL).dacl.expect("a DACL").aces.contains(&given.dacl.expect("ours").aces[0]));
    let after = f.security(WHOLE);
    drop(f);
    assert_eq!(w.try_make("f", 0, None, SUPERSEDE).expect("again").security(WHOLE), after, "none is given: it stays");
}

#[test]
fn nt_sec_18_a_file_and_its_streams_have_one_descriptor() {
    let w = World::new();
    let given = Descriptor { control: SE_DACL_PRESENT | SE_DACL_PROTECTED, ..everyone(ALL) };
    // With a new file it becomes the file's.
    drop(w.secured("f:s", 0, Some(&given)));
    let f = w.open_file("f", ALL, 0);
    assert_eq!(f.security(DACL).dacl, given.dacl);
    // With a file that is there it is ignored.
    let other = Descriptor { dacl: Some(Acl::new(vec![Ace::allow(ALL, &Sid::USERS)])), ..given.clone() };
    drop(w.secured("f:t", 0, Some(&other)));
    assert_eq!(f.security(DACL).dacl, given.dacl);
    let s = w.open_file("f:s", ALL, 0);
    assert_eq!(s.security(WHOLE), f.security(WHOLE));
    assert_eq!(s.set_security(DACL, &other), OK);
    assert_eq!(f.security(DACL).dacl, other.dacl);
    assert_eq!(f.set_security(DACL, &everyone(READ_CONTROL)), OK);
    assert_eq!(s.security(DACL), f.security(DACL));
    assert_eq!(w.refusal("f:s", READ_DATA), Some(DENIED), "a stream is guarded as its file");
}

#[test]
fn nt_sec_07_a_new_descriptor_is_a_change_of_the_file() {
    const ARCHIVE: u32 = 0x20;
    let w = World::new();
    let f = w.file("f", ALL, 0);
    f.set_attributes(0x80);
    let (before, attributes) = f.basic();
    assert_eq!(attributes & ARCHIVE, 0);
    w.pause();
    w.pause();
    assert_eq!(f.set_security(DACL, &everyone(ALL)), OK);
    let (after, attributes) = f.basic();
    assert!(after[3] > before[3], "ChangeTime");
    assert_eq!((after[0], after[2]), (before[0], before[2]), "made and written when it was");
    assert_eq!(attributes & ARCHIVE, ARCHIVE);
    let watched = w.watched("seen");
    drop(w.sync_file("seen\\g"));
    let other = w.watched("seen");
    let (names, security) = (watched.watch(0xFF), other.watch(0x100));
    assert_eq!(w.open_file("seen\\g", ALL, 0).set_security(DACL, &everyone(ALL)), OK);
    assert_eq!(security.told(), told(&[(MODIFIED, "g")]));
    assert!(names.is_waiting(), "who watches something else is told nothing");
    let d = w.secured("d", DIR, None);
    assert_eq!(d.set_security(DACL, &everyone(ALL)), OK);
    assert_eq!(d.basic().1 & ARCHIVE, 0, "a directory is not archived for it");
}

#[test]
fn nt_sec_19_a_device_without_descriptors_is_everybodys() {
    let w = World::new();
    let kernel = &w.kernel;
    let driver =
        nt_io::driver::create_native(kernel, "\\FileSystem\\Bare", std::sync::Arc::new(Bare)).expect("a driver");
    let spec = nt_io::device::DeviceSpec { name: Some("\\Device\\Bare"), kind: 0x22, ..Default::default() };
    let device = nt_io::device::create(kernel, driver.body(), &spec).expect("a device");
    nt_io::device::ready(device.body());
    let spec = CreateSpec {
        access: READ_CONTROL | WRITE_DAC,
        name: "\\Device\\Bare".encode_utf16().collect(),
        ..CreateSpec::default()
    };
    let (handle, _) = create::nt_create_file(&w.frame(), &spec).expect("opened");
    let f = w.adopt(handle);
    let (status, needed, _) = f.raw_security(WHOLE, 0);
    assert_eq!(status, NtStatus::BUFFER_TOO_SMALL);
    let (status, again, bytes) = f.raw_security(WHOLE, needed);
    assert_eq!((status, again), (OK, needed));
    let world = Descriptor::parse(&bytes).expect("a descriptor").dacl.expect("a DACL");
    assert_eq!(world.aces, [Ace::allow(ALL, &Sid::EVERYONE)]);
    assert_eq!(f.set_security(DACL, &everyone(READ_CONTROL)), OK);
    assert_eq!(f.security(DACL).dacl, Some(world), "it is kept nowhere");
}
