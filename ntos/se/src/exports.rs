//! Se*: checks, assignment, subjects and tokens, as compiled drivers call them.
//!
//! Room: ntos/se. Called by: compiled drivers. IRQL: PASSIVE_LEVEL; SeAccessCheck also at APC_LEVEL. Locks: none.
//! Source: the pages of each routine (ntifs.h, wdm.h). Blocks that a routine makes are the caller's to free.
#![expect(unsafe_code, reason = "unsafe home 3: entry points take a driver's pointers")]

use crate::assign::{self, For};
use crate::check::{Asked, access_check};
use crate::descriptor::Descriptor;
use crate::rtl::exports::{descriptor, load, mapping, read, status, store, write};
use crate::sid::Sid;
use crate::subject;
use crate::token::TokenRef;
use nt_abi::ob::SECURITY_SUBJECT_CONTEXT;
use nt_abi::se::*;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Foreign, Region, exports};
use nt_ex::pool;
use nt_ke::Mode;
use nt_ob::object;

fn at<T>(address: u64) -> Option<Foreign<T>> {
    // SAFETY: S-3: a driver's pointer is taken at its word here, once; what lies there is reached by guarded copies only.
    unsafe { Foreign::from_raw(address) }
}

fn context(address: u64) -> NtResult<Foreign<SECURITY_SUBJECT_CONTEXT>> {
    at(address).ok_or(NtStatus::INVALID_PARAMETER.error())
}

/// The token that counts in a subject context; the running thread's where there is none.
fn token(address: u64) -> TokenRef {
    let named = at(address).and_then(subject::token_in);
    named.unwrap_or_else(|| subject::current_token(&nt_ke::current()))
}

fn token_at(address: u64) -> NtResult<TokenRef> {
    at(address).and_then(TokenRef::at).ok_or(NtStatus::OBJECT_TYPE_MISMATCH.error())
}

/// A pool block with these bytes.
fn block(bytes: &[u8]) -> NtResult<u64> {
    let block = pool::allocate(bytes.len().max(1), pool::tag(b"SeSd"), pool::PoolKind::Paged);
    let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    Region::pool(block, bytes.len()).write_from(bytes).map_err(|_| NtStatus::ACCESS_VIOLATION.error())?;
    Ok(block.addr())
}

fn free(address: u64) {
    if let Some(block) = at::<Bytes>(address) {
        pool::free(block);
    }
}

fn optional(address: u64) -> NtResult<Option<Descriptor>> {
    if address == 0 { Ok(None) } else { descriptor(address).map(Some) }
}

struct Check {
    descriptor: u64,
    subject: u64,
    asked: Asked,
    mapping: u64,
}

fn access(check: &Check) -> NtResult<u32> {
    let kernel = check.asked.mode == Mode::Kernel;
    let map = mapping(check.mapping)?;
    let given = match optional(check.descriptor)? {
        Some(given) => given,
        None if kernel => Descriptor::default(),
        None => return NtStatus::ACCESS_DENIED.fail(),
    };
    access_check(&given, &token(check.subject), check.asked, &map)
}

fn access_checked(
    descriptor: u64,
    subject: u64,
    asked: Asked,
    privileges: u64,
    map: u64,
    granted: u64,
    out: u64,
) -> u8 {
    if privileges != 0 {
        let _told = store(privileges, 0_u64);
    }
    let checked = access(&Check { descriptor, subject, asked, mapping: map });
    let (status, access) = match checked {
        Ok(access) => (NtStatus::SUCCESS, access),
        Err(error) => (error.status(), 0),
    };
    let _told = store(granted, access).and_then(|()| store(out, status.0));
    u8::from(status == NtStatus::SUCCESS)
}

struct Assign {
    parent: u64,
    explicit: u64,
    out: u64,
    container: bool,
    flags: u32,
    subject: u64,
    mapping: u64,
}

fn assign_security(asked: &Assign) -> NtResult<()> {
    let (parent, given) = (optional(asked.parent)?, optional(asked.explicit)?);
    let map = mapping(asked.mapping)?;
    let token = token(asked.subject);
    let mode = nt_ke::current().mode();
    let to = For { token: &token, mode, container: asked.container, mapping: &map, flags: asked.flags };
    let made = assign::assign(parent.as_ref(), given.as_ref(), &to)?;
    store(asked.out, block(&made.bytes())?)
}

/// Changes a descriptor that lies behind a pointer: a new block takes the old one's place.
fn set_information(information: u64, new: u64, slot: u64, flags: u32, map: u64) -> NtResult<()> {
    let (information, new) = (load::<u32>(information)?, descriptor(new)?);
    let old: u64 = load(slot)?;
    if old == 0 {
        return NtStatus::NO_SECURITY_ON_OBJECT.fail();
    }
    let (mut whole, map) = (descriptor(old)?, mapping(map)?);
    let frame = nt_ke::current();
    let token = subject::current_token(&frame);
    let to = For { token: &token, mode: frame.mode(), container: false, mapping: &map, flags };
    assign::set_information(&mut whole, information, &new, &to)?;
    store(slot, block(&whole.bytes())?)
}

/// SeQuerySecurityDescriptorInfo: the asked parts in the caller's buffer.
fn query_information(information: u64, out: u64, length: u64, slot: u64) -> NtResult<()> {
    let information: u32 = load(information)?;
    let there: u64 = load(slot)?;
    let part = match there {
        0 => Descriptor::default(),
        there => descriptor(there)?.select(information),
    };
    let bytes = part.bytes();
    let room: u32 = load(length)?;
    store(length, bytes.len() as u32)?;
    if (room as usize) < bytes.len() { NtStatus::BUFFER_TOO_SMALL.fail() } else { write(out, &bytes) }
}

/// SeCaptureSecurityDescriptor: a user's is copied; the kernel's own only when that is asked for.
fn capture(from: u64, mode: u8, always: u8, out: u64) -> NtResult<()> {
    let user = Mode::from_raw(mode) == Mode::User;
    let captured = match from {
        0 => 0,
        from if !user && always == 0 => from,
        from if user => {
            let read = |at: u64, length: usize| {
                let region = Region::user(at, length).ok_or(NtStatus::ACCESS_VIOLATION.error())?;
                region.to_vec().map_err(|_| NtStatus::ACCESS_VIOLATION.error())
            };
            block(&Descriptor::capture(from, &read)?.bytes())?
        }
        from => block(&Descriptor::capture(from, &read)?.bytes())?,
    };
    store(out, captured)
}

/// All privileges of a PRIVILEGE_SET, or one of them; those that are there are marked as used.
fn privileges(set: u64, subject: u64, mode: Mode) -> NtResult<bool> {
    let (count, all): (u32, u32) = (load(set)?, load(set + 4)?);
    let token = token(subject);
    let mut held = 0;
    for index in 0..u64::from(count) {
        let entry = set + PRIVILEGE_SET::Privilege.offset() as u64 + index * LUID_AND_ATTRIBUTES::SIZE as u64;
        if load::<u32>(entry + 4)? == 0 && subject::single_privilege_check(&token, load(entry)?, mode) {
            held += 1;
            store(entry + 8, load::<u32>(entry + 8)? | SE_PRIVILEGE_USED_FOR_ACCESS)?;
        }
    }
    Ok(mode == Mode::Kernel || if all & PRIVILEGE_SET_ALL_NECESSARY != 0 { held == count } else { held != 0 })
}

/// SIDs with attributes, as TOKEN_USER and TOKEN_GROUPS have them: entries from `head` on, the SIDs behind them.
fn names(head: usize, list: &[(Sid, u32)]) -> NtResult<u64> {
    let mut bytes = vec![0; head + list.len() * SID_AND_ATTRIBUTES::SIZE];
    let mut places = Vec::new();
    for (sid, _) in list {
        places.push(bytes.len().next_multiple_of(8));
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        sid.write_to(&mut bytes);
    }
    if head != 0 {
        bytes[..4].copy_from_slice(&(list.len() as u32).to_le_bytes());
    }
    let at = block(&bytes)?;
    for (index, ((_, attributes), place)) in list.iter().zip(places).enumerate() {
        let entry = at + (head + index * SID_AND_ATTRIBUTES::SIZE) as u64;
        store(entry, at + place as u64)?;
        store(entry + 8, *attributes)?;
    }
    Ok(at)
}

/// A structure that holds one pointer to what follows it: TOKEN_OWNER and its like.
fn pointed(bytes: &[u8]) -> NtResult<u64> {
    let at = block(&[&[0; 8], bytes].concat())?;
    store(at, if bytes.is_empty() { 0 } else { at + 8 })?;
    Ok(at)
}

fn statistics(token: &TokenRef) -> Vec<u8> {
    let mut out = Vec::new();
    for luid in [token.id(), token.spec().logon] {
        out.extend(luid.to_le_bytes());
    }
    out.extend(i64::MAX.to_le_bytes());
    let counts = [1, 0, 0, 0, token.spec().groups.len() as u32, token.privileges().count() as u32];
    out.extend(counts.iter().flat_map(|word| word.to_le_bytes()));
    out.extend(token.changes().to_le_bytes());
    out
}

fn query_token(address: u64, class: u32, out: u64) -> NtResult<()> {
    let token = token_at(address)?;
    let spec = token.spec();
    let made = match class {
        TOKEN_USER_CLASS => names(0, &[(spec.user, 0)])?,
        TOKEN_GROUPS_CLASS => names(8, &spec.groups)?,
        TOKEN_INTEGRITY_LEVEL_CLASS => names(0, &[(spec.label, 0x60)])?,
        TOKEN_OWNER_CLASS => pointed(&spec.owner.bytes())?,
        TOKEN_PRIMARY_GROUP_CLASS => pointed(&spec.primary_group.bytes())?,
        TOKEN_DEFAULT_DACL_CLASS => pointed(&spec.default_dacl.as_ref().map_or_else(Vec::new, crate::Acl::bytes))?,
        TOKEN_STATISTICS_CLASS => block(&statistics(&token))?,
        TOKEN_PRIVILEGES_CLASS => {
            let mut bytes = (token.privileges().count() as u32).to_le_bytes().to_vec();
            for (id, attributes) in token.privileges() {
                bytes.extend(u64::from(id).to_le_bytes());
                bytes.extend(attributes.to_le_bytes());
            }
            block(&bytes)?
        }
        TOKEN_TYPE_CLASS => block(&1_u32.to_le_bytes())?,
        // This class is stored where the others leave a pointer.
        TOKEN_SESSION_ID_CLASS => return store(out, 0_u32),
        _ => return NtStatus::INVALID_INFO_CLASS.fail(),
    };
    store(out, made)
}

fn is_admin(address: u64) -> bool {
    token_at(address).is_ok_and(|token| token.is_member(&Sid::ADMINISTRATORS, false))
}

/// What SeExports points at: the privileges' numbers and the SIDs that everybody knows.
fn known() -> u64 {
    static KNOWN: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *KNOWN.get_or_init(|| {
        let slot = pool::allocate_permanent(8 + SE_EXPORTS::SIZE + 64 * Sid::MOST).expect("no pool for SeExports");
        let (base, all) = (slot.addr() + 8, slot.addr());
        let mut next = base + SE_EXPORTS::SIZE as u64;
        let put = |offset: usize, value: u64| store(base + offset as u64, value).expect("our own memory");
        const PRIVILEGES: [u32; 23] =
            [2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 14, 11, 12, 13, 16, 17, 18, 19, 20, 21, 22, 23, 24];
        PRIVILEGES.iter().enumerate().for_each(|(at, &id)| put(at * 8, u64::from(id)));
        (25..28).enumerate().for_each(|(at, id)| put(SE_EXPORTS::SeUndockPrivilege.offset() + at * 8, id));
        (28..36).enumerate().for_each(|(at, id)| put(SE_EXPORTS::SeManageVolumePrivilege.offset() + at * 8, id));
        put(0x228, 36); // SeDelegateSessionUserImpersonatePrivilege
        let builtin = |relative: u32| Sid::new(5, [32, relative]);
        let nt = |relative: u32| Sid::new(5, [relative]);
        let (first, second) = (SE_EXPORTS::SeNullSid.offset(), SE_EXPORTS::SeIUserSid.offset());
        let sids = [
            Sid::NULL,
            Sid::EVERYONE,
            Sid::LOCAL,
            Sid::CREATOR_OWNER,
            Sid::CREATOR_GROUP,
            Sid::NT_AUTHORITY,
            nt(1),
            nt(2),
            nt(3),
            Sid::INTERACTIVE,
            Sid::SYSTEM,
            Sid::ADMINISTRATORS,
            Sid::USERS,
            Sid::GUESTS,
            builtin(547),
            builtin(548),
            builtin(549),
            builtin(550),
            builtin(551),
            Sid::AUTHENTICATED_USERS,
            nt(12),
            Sid::ANONYMOUS,
        ];
        let services = [Sid::LOCAL_SERVICE, Sid::NETWORK_SERVICE];
        let later = [
            nt(17),
            Sid::LABELS[0],
            Sid::LABELS[1],
            Sid::LABELS[2],
            Sid::LABELS[3],
            Sid::LABELS[4],
            Sid::OWNER_RIGHTS,
            Sid::new(15, [2, 1]),
            Sid::new(5, [84, 0, 0, 0, 0, 0]),
        ];
        let places = sids.iter().enumerate().map(|(at, sid)| (first + at * 8, sid));
        let places = places
            .chain(services.iter().enumerate().map(|(at, sid)| (SE_EXPORTS::SeLocalServiceSid.offset() + at * 8, sid)));
        for (offset, sid) in places.chain(later.iter().enumerate().map(|(at, sid)| (second + at * 8, sid))) {
            write(next, &sid.bytes()).expect("our own memory");
            put(offset, next);
            next += Sid::MOST as u64;
        }
        store(all, base).expect("our own memory");
        all
    })
}

exports! { "ntoskrnl.exe" =>
    Partial("object and conditional entries, and the mandatory label, are not judged") code SeAccessCheck(descriptor: u64, subject: u64, _locked: u8, desired: u32, granted_before: u32, privileges: u64, map: u64, mode: u8, granted: u64, out: u64) -> u8 {
        let asked = Asked { desired, granted: granted_before, mode: Mode::from_raw(mode) };
        access_checked(descriptor, subject, asked, privileges, map, granted, out)
    }
    Full code SeFreePrivileges(set: u64) { free(set); }
    Full raises SeAssignSecurity(parent: u64, explicit: u64, out: u64, container: u8, subject: u64, map: u64, _pool: u32) -> u32 {
        status(assign_security(&Assign { parent, explicit, out, container: container != 0, flags: 0, subject, mapping: map }))
    }
    Partial("object types are not looked at") raises SeAssignSecurityEx(parent: u64, explicit: u64, out: u64, _kind: u64, container: u8, flags: u32, subject: u64, map: u64, _pool: u32) -> u32 {
        status(assign_security(&Assign { parent, explicit, out, container: container != 0, flags, subject, mapping: map }))
    }
    Full raises SeDeassignSecurity(slot: u64) -> u32 {
        status(load::<u64>(slot).and_then(|block| { free(block); store(slot, 0_u64) }))
    }
    Full raises SeCaptureSecurityDescriptor(from: u64, mode: u8, _pool: u32, always: u8, out: u64) -> u32 {
        let captured = capture(from, mode, always, out);
        if Mode::from_raw(mode) == Mode::User { captured.map_or_else(|error| error.status().0, |()| 0) } else { status(captured) }
    }
    Full code SeReleaseSecurityDescriptor(captured: u64, mode: u8, always: u8) -> u32 {
        if Mode::from_raw(mode) == Mode::User || always != 0 { free(captured); }
        NtStatus::SUCCESS.0
    }
    Full raises SeQuerySecurityDescriptorInfo(information: u64, out: u64, length: u64, slot: u64) -> u32 { status(query_information(information, out, length, slot)) }
    Full raises SeSetSecurityDescriptorInfo(_object: u64, information: u64, new: u64, slot: u64, _pool: u32, map: u64) -> u32 {
        status(set_information(information, new, slot, 0, map))
    }
    Full raises SeSetSecurityDescriptorInfoEx(_object: u64, information: u64, new: u64, slot: u64, flags: u32, _pool: u32, map: u64) -> u32 {
        status(set_information(information, new, slot, flags, map))
    }
    Partial("a thread has no token of its own: no impersonation") code SeCaptureSubjectContext(out: u64) {
        if let Ok(out) = context(out) { subject::capture(&nt_ke::current(), out); }
    }
    Full code SeLockSubjectContext(_context: u64) {}
    Full code SeUnlockSubjectContext(_context: u64) {}
    Full code SeReleaseSubjectContext(held: u64) { if let Ok(held) = context(held) { subject::release(held); } }
    Full code SeSinglePrivilegeCheck(privilege: u64, mode: u8) -> u8 {
        let token = subject::current_token(&nt_ke::current());
        let known = u32::try_from(privilege).is_ok_and(|id| subject::single_privilege_check(&token, id, Mode::from_raw(mode)));
        u8::from(known)
    }
    Full raises SePrivilegeCheck(set: u64, subject: u64, mode: u8) -> u8 {
        match privileges(set, subject, Mode::from_raw(mode)) {
            Ok(held) => u8::from(held),
            Err(error) => { status(Err(error)); 0 }
        }
    }
    Partial("user, groups, privileges, owner, primary group, default DACL, type, statistics, session, integrity level") raises SeQueryInformationToken(token: u64, class: u32, out: u64) -> u32 {
        status(query_token(token, class, out))
    }
    Full raises SeQueryAuthenticationIdToken(token: u64, out: u64) -> u32 { status(token_at(token).and_then(|token| store(out, token.spec().logon))) }
    Full code SeTokenIsAdmin(token: u64) -> u8 { u8::from(is_admin(token)) }
    Full code SeTokenIsRestricted(_token: u64) -> u8 { 0 }
    Full code SeTokenType(_token: u64) -> u32 { 1 }
    Full code PsReferencePrimaryToken(process: u64) -> u64 {
        let frame = nt_ke::current();
        let found = nt_ps::process::processes(&frame.kernel).process_at(process);
        found.map_or(0, |process| subject::token_of(&frame.kernel, &process).object().clone().into_raw().addr())
    }
    Full code PsDereferencePrimaryToken(token: u64) { if let Some(token) = at::<Bytes>(token) { object::dereference(token); } }
    Full data SeExports() -> u64 { known() }
    Absent("a thread has no token of its own") missing SeImpersonateClientEx;
    Absent("a thread has no token of its own") missing SeCreateClientSecurity;
    Absent("a thread has no token of its own") missing PsReferenceImpersonationToken;
    Absent("nothing is audited") missing SeOpenObjectAuditAlarm;
    Absent("tokens have no handles: PsReferencePrimaryToken and SeQueryInformationToken look at them") missing NtOpenProcessToken;
    Absent("tokens have no handles: PsReferencePrimaryToken and SeQueryInformationToken look at them") missing NtOpenProcessTokenEx;
    Absent("tokens have no handles: PsReferencePrimaryToken and SeQueryInformationToken look at them") missing NtOpenThreadToken;
    Absent("tokens have no handles: PsReferencePrimaryToken and SeQueryInformationToken look at them") missing NtOpenThreadTokenEx;
    Absent("tokens have no handles: PsReferencePrimaryToken and SeQueryInformationToken look at them") missing NtQueryInformationToken;
    Absent("tokens have no handles: PsReferencePrimaryToken and SeQueryInformationToken look at them") missing NtAdjustPrivilegesToken;
    Absent("tokens have no handles: PsReferencePrimaryToken and SeQueryInformationToken look at them") missing NtDuplicateToken;
    Absent("tokens have no handles: PsReferencePrimaryToken and SeQueryInformationToken look at them") missing ZwOpenProcessToken;
    Absent("tokens have no handles: PsReferencePrimaryToken and SeQueryInformationToken look at them") missing ZwOpenProcessTokenEx;
    Absent("tokens have no handles: PsReferencePrimaryToken and SeQueryInformationToken look at them") missing ZwOpenThreadToken;
    Absent("tokens have no handles: PsReferencePrimaryToken and SeQueryInformationToken look at them") missing ZwOpenThreadTokenEx;
    Absent("tokens have no handles: PsReferencePrimaryToken and SeQueryInformationToken look at them") missing ZwQueryInformationToken;
    Absent("tokens have no handles: PsReferencePrimaryToken and SeQueryInformationToken look at them") missing ZwAdjustPrivilegesToken;
    Absent("tokens have no handles: PsReferencePrimaryToken and SeQueryInformationToken look at them") missing ZwDuplicateToken;
}
