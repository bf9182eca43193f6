//! The descriptor of a new object, and changes of an old one's.
//!
//! Room: ntos/se. Called by: file systems, SeAssignSecurity, SeSetSecurityDescriptorInfo. IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: SeAssignSecurityEx, SeSetSecurityDescriptorInfo pages, "DACL for a new object", "ACE inheritance rules",
//! MS-DTYP 2.5.3.4; rules NT-SEC-05, NT-SEC-08, NT-SEC-09.

use crate::acl::{Ace, Acl};
use crate::descriptor::{Descriptor, is_label};
use crate::sid::Sid;
use crate::token::Token;
use nt_abi::se::*;
use nt_abi::{NtResult, NtStatus};
use nt_ke::Mode;
use nt_ob::access::GenericMapping;
use nt_trace::rule;

const INHERIT: u8 = OBJECT_INHERIT_ACE | CONTAINER_INHERIT_ACE;
const AUDIT: u8 = SUCCESSFUL_ACCESS_ACE_FLAG | FAILED_ACCESS_ACE_FLAG;
const GENERIC: u32 = 0xF000_0000;

/// Who asks, and for what kind of object.
#[derive(Clone, Copy, Debug)]
pub struct For<'a> {
    /// The token whose defaults count.
    pub token: &'a Token,
    /// A kernel-mode caller's owner and SACL are not questioned.
    pub mode: Mode,
    /// The object can hold others.
    pub container: bool,
    /// What generic rights mean.
    pub mapping: &'a GenericMapping,
    /// SEF_*.
    pub flags: u32,
}

/// The entries of one new list.
struct Build<'a> {
    to: &'a For<'a>,
    owner: Sid,
    group: Sid,
    aces: Vec<Ace>,
}

impl Build<'_> {
    /// The entry as it counts on the object itself: generic rights mapped, the creator named.
    fn effective(&self, ace: &Ace, flags: u8) -> Ace {
        let named = match ace.sid() {
            Some(Sid::CREATOR_OWNER) => self.owner,
            Some(Sid::CREATOR_GROUP) => self.group,
            Some(sid) => sid,
            None => return ace.clone().with_flags(flags),
        };
        let mask = ace.mask();
        let mask = if is_label(ace) { mask } else { self.to.mapping.map(mask) | mask & 0x0200_0000 };
        Ace::new(ace.kind, flags, mask, &named)
    }

    /// Does it mean something else for the object than for what is made in it?
    fn is_split(&self, ace: &Ace) -> bool {
        let creator = matches!(ace.sid(), Some(Sid::CREATOR_OWNER | Sid::CREATOR_GROUP));
        ace.is_plain() && !is_label(ace) && (creator || ace.mask() & GENERIC != 0)
    }

    /// An entry that is the object's own.
    fn own(&mut self, ace: &Ace) {
        let passed_on = ace.flags & INHERIT != 0 && self.to.container;
        if ace.flags & INHERIT_ONLY_ACE != 0 {
            self.aces.push(ace.clone());
        } else if passed_on && self.is_split(ace) {
            self.aces.push(self.effective(ace, ace.flags & !(INHERIT | NO_PROPAGATE_INHERIT_ACE)));
            self.aces.push(ace.clone().with_flags(ace.flags | INHERIT_ONLY_ACE));
        } else {
            self.aces.push(self.effective(ace, ace.flags));
        }
    }

    /// An entry of the parent's (NT-SEC-09).
    fn inherit(&mut self, ace: &Ace, mark: u8) {
        let kept = ace.flags & AUDIT | mark;
        let passed_on = if ace.flags & NO_PROPAGATE_INHERIT_ACE != 0 { 0 } else { ace.flags & INHERIT };
        if !self.to.container {
            if ace.flags & OBJECT_INHERIT_ACE != 0 {
                self.aces.push(self.effective(ace, kept));
            }
        } else if ace.flags & CONTAINER_INHERIT_ACE != 0 {
            if passed_on != 0 && self.is_split(ace) {
                self.aces.push(self.effective(ace, kept));
                self.aces.push(ace.clone().with_flags(kept | passed_on | INHERIT_ONLY_ACE));
            } else {
                self.aces.push(self.effective(ace, kept | passed_on));
            }
        } else if passed_on != 0 {
            self.aces.push(ace.clone().with_flags(kept | passed_on | INHERIT_ONLY_ACE));
        }
    }
}

/// The bits that say how one of the two lists came about.
struct Bits {
    present: u16,
    defaulted: u16,
    requested: u16,
    inherited: u16,
    protected: u16,
    automatic: u32,
}

const DACL: Bits = Bits {
    present: SE_DACL_PRESENT,
    defaulted: SE_DACL_DEFAULTED,
    requested: SE_DACL_AUTO_INHERIT_REQ,
    inherited: SE_DACL_AUTO_INHERITED,
    protected: SE_DACL_PROTECTED,
    automatic: SEF_DACL_AUTO_INHERIT,
};
const SACL: Bits = Bits {
    present: SE_SACL_PRESENT,
    defaulted: SE_SACL_DEFAULTED,
    requested: SE_SACL_AUTO_INHERIT_REQ,
    inherited: SE_SACL_AUTO_INHERITED,
    protected: SE_SACL_PROTECTED,
    automatic: SEF_SACL_AUTO_INHERIT,
};

/// One list of a new descriptor, with its control bits.
fn list(
    bits: &Bits,
    given: Option<(u16, Option<&Acl>)>,
    parent: Option<&Acl>,
    default: Option<&Acl>,
    names: (Sid, Sid),
    to: &For<'_>,
) -> (u16, Option<Acl>) {
    let automatic = to.flags & bits.automatic != 0 || given.is_some_and(|(control, _)| control & bits.requested != 0);
    let mark = if automatic { INHERITED_ACE } else { 0 };
    let (owner, group) = names;
    let inherit = || {
        let mut build = Build { to, owner, group, aces: Vec::new() };
        parent.iter().flat_map(|acl| &acl.aces).for_each(|ace| build.inherit(ace, mark));
        build.aces
    };
    let own = |acl: &Acl, keep: &dyn Fn(&Ace) -> bool| {
        let mut build = Build { to, owner, group, aces: Vec::new() };
        acl.aces.iter().filter(|ace| keep(ace)).for_each(|ace| build.own(ace));
        build.aces
    };
    let arose = if automatic { bits.inherited } else { 0 };
    match given.filter(|(control, _)| control & bits.present != 0) {
        Some((control, acl)) if control & bits.defaulted == 0 => {
            let guarded = control & bits.protected;
            let Some(acl) = acl else { return (bits.present | guarded, None) };
            let merged = automatic && guarded == 0;
            let mut aces = own(acl, &|ace| !merged || ace.flags & INHERITED_ACE == 0);
            if merged {
                aces.extend(inherit());
            }
            let flags = bits.present | guarded | if merged { arose } else { control & bits.inherited };
            (flags, Some(Acl { revision: acl.revision, aces }))
        }
        defaulted => {
            let guarded = given.map_or(0, |(control, _)| control & bits.protected);
            let aces = if guarded == 0 { inherit() } else { Vec::new() };
            if !aces.is_empty() {
                return (
                    bits.present | arose,
                    Some(Acl { revision: parent.map_or(ACL_REVISION, |acl| acl.revision), aces }),
                );
            }
            match defaulted.and_then(|(_, acl)| acl).or(default) {
                Some(acl) => (bits.present | guarded, Some(Acl { revision: acl.revision, aces: own(acl, &|_| true) })),
                None => (guarded, None),
            }
        }
    }
}

/// SeAssignSecurityEx: the descriptor of a new object under `parent`, of what its creator gave (NT-SEC-08, NT-SEC-09).
pub fn assign(parent: Option<&Descriptor>, given: Option<&Descriptor>, to: &For<'_>) -> NtResult<Descriptor> {
    rule!(NT_SEC_08);
    let spec = to.token.spec();
    let questioned = |flag: u32| to.mode == Mode::User && to.flags & flag == 0;
    let from_parent = |flag: u32| parent.filter(|_| to.flags & flag != 0);
    let owner = match given.and_then(|given| given.owner) {
        Some(owner) if questioned(SEF_AVOID_OWNER_CHECK) && !to.token.may_own(&owner) => {
            return NtStatus::INVALID_OWNER.fail();
        }
        Some(owner) => owner,
        None => from_parent(SEF_DEFAULT_OWNER_FROM_PARENT).and_then(|parent| parent.owner).unwrap_or(spec.owner),
    };
    let group = given.and_then(|given| given.group);
    let group = group
        .or_else(|| from_parent(SEF_DEFAULT_GROUP_FROM_PARENT).and_then(|parent| parent.group))
        .unwrap_or(spec.primary_group);
    let audits = given.and_then(|given| given.sacl.as_ref()).is_some_and(|acl| !acl.aces.iter().all(is_label));
    if audits && questioned(SEF_AVOID_PRIVILEGE_CHECK) && !to.token.has_privilege(SE_SECURITY_PRIVILEGE) {
        return NtStatus::PRIVILEGE_NOT_HELD.fail();
    }
    let names = (owner, group);
    let (of_dacl, dacl) = list(
        &DACL,
        given.map(|given| (given.control, given.dacl.as_ref())),
        parent.and_then(|parent| parent.dacl.as_ref()),
        spec.default_dacl.as_ref(),
        names,
        to,
    );
    let (of_sacl, sacl) = list(
        &SACL,
        given.map(|given| (given.control, given.sacl.as_ref())),
        parent.and_then(|parent| parent.sacl.as_ref()),
        None,
        names,
        to,
    );
    Ok(Descriptor { control: of_dacl | of_sacl, owner: Some(owner), group: Some(group), dacl, sacl })
}

/// SeSetSecurityDescriptorInfo: what `information` names of `object` becomes as `new` has it (NT-SEC-04, NT-SEC-05).
pub fn set_information(object: &mut Descriptor, information: u32, new: &Descriptor, to: &For<'_>) -> NtResult<()> {
    let named = |bits: u32| information & (bits | BACKUP_SECURITY_INFORMATION) != 0;
    let mut new = new.clone();
    if named(OWNER_SECURITY_INFORMATION) {
        let owner = new.owner.ok_or(NtStatus::INVALID_OWNER.error())?;
        if to.mode == Mode::User && to.flags & SEF_AVOID_OWNER_CHECK == 0 && !to.token.may_own(&owner) {
            rule!(NT_SEC_05);
            return NtStatus::INVALID_OWNER.fail();
        }
    }
    if named(GROUP_SECURITY_INFORMATION) && new.group.is_none() {
        return NtStatus::INVALID_PRIMARY_GROUP.fail();
    }
    let owner = if named(OWNER_SECURITY_INFORMATION) { new.owner } else { object.owner };
    let group = if named(GROUP_SECURITY_INFORMATION) { new.group } else { object.group };
    let (owner, group) = (owner.unwrap_or(Sid::NULL), group.unwrap_or(Sid::NULL));
    for acl in [&mut new.dacl, &mut new.sacl].into_iter().flatten() {
        let mut build = Build { to, owner, group, aces: Vec::new() };
        acl.aces.iter().for_each(|ace| build.own(ace));
        acl.aces = build.aces;
    }
    object.change(information, &new);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenSpec;

    const OI: u8 = OBJECT_INHERIT_ACE;
    const CI: u8 = CONTAINER_INHERIT_ACE;
    const IO: u8 = INHERIT_ONLY_ACE;
    const NP: u8 = NO_PROPAGATE_INHERIT_ACE;
    const ID: u8 = INHERITED_ACE;
    const ALL: u32 = GenericMapping::FILE.all;

    fn make(parent: Vec<Ace>, given: Option<&Descriptor>, container: bool) -> Descriptor {
        let parent = Descriptor::new(Sid::SYSTEM, Sid::SYSTEM, Acl::new(parent));
        let token = Token::new(TokenSpec::user(Sid::account(1001), &[Sid::USERS]));
        let flags = SEF_DACL_AUTO_INHERIT | SEF_SACL_AUTO_INHERIT;
        let to = For { token: &token, mode: Mode::User, container, mapping: &GenericMapping::FILE, flags };
        assign(Some(&parent), given, &to).expect("assigned")
    }

    fn aces(of: &Descriptor) -> Vec<(u8, u32, Sid)> {
        let acl = of.dacl.as_ref().expect("a DACL");
        acl.aces.iter().map(|ace| (ace.flags, ace.mask(), ace.sid().expect("plain"))).collect()
    }

    #[test]
    fn files_take_object_entries_and_directories_container_entries() {
        let parent = || {
            vec![
                Ace::allow(1, &Sid::USERS).with_flags(OI),
                Ace::allow(2, &Sid::USERS).with_flags(CI),
                Ace::allow(4, &Sid::USERS).with_flags(OI | CI | NP),
                Ace::allow(8, &Sid::USERS),
                Ace::allow(0x10, &Sid::USERS).with_flags(OI | NP),
            ]
        };
        let u = Sid::USERS;
        assert_eq!(aces(&make(parent(), None, false)), [(ID, 1, u), (ID, 4, u), (ID, 0x10, u)]);
        let directory = make(parent(), None, true);
        assert_eq!(aces(&directory), [(OI | IO | ID, 1, u), (CI | ID, 2, u), (ID, 4, u)]);
        assert_ne!(directory.control & SE_DACL_AUTO_INHERITED, 0);
    }

    #[test]
    fn creators_and_generic_rights_are_named_for_the_object_and_kept_for_its_children() {
        let all = nt_abi::ob::GENERIC_ALL;
        let parent = || vec![Ace::allow(all, &Sid::CREATOR_OWNER).with_flags(OI | CI | IO)];
        let me = Sid::account(1001);
        assert_eq!(aces(&make(parent(), None, false)), [(ID, ALL, me)]);
        let directory = make(parent(), None, true);
        assert_eq!(aces(&directory), [(ID, ALL, me), (OI | CI | IO | ID, all, Sid::CREATOR_OWNER)]);
        assert_eq!((directory.owner, directory.group), (Some(me), Some(Sid::USERS)));
    }

    #[test]
    fn nothing_to_inherit_leaves_the_tokens_default() {
        let made = make(vec![Ace::allow(1, &Sid::EVERYONE)], None, false);
        assert_eq!(aces(&made), [(0, ALL, Sid::account(1001)), (0, ALL, Sid::SYSTEM)]);
        assert_eq!(made.control & SE_DACL_AUTO_INHERITED, 0);
    }

    #[test]
    fn a_given_dacl_is_joined_by_what_is_inherited_unless_it_is_protected() {
        let given = |control: u16| Descriptor {
            control: SE_DACL_PRESENT | control,
            dacl: Some(Acl::new(vec![Ace::deny(2, &Sid::USERS)])),
            ..Descriptor::default()
        };
        let parent = || vec![Ace::allow(1, &Sid::EVERYONE).with_flags(OI)];
        assert_eq!(aces(&make(parent(), Some(&given(0)), false)), [(0, 2, Sid::USERS), (ID, 1, Sid::EVERYONE)]);
        let protected = make(parent(), Some(&given(SE_DACL_PROTECTED)), false);
        assert_eq!(aces(&protected), [(0, 2, Sid::USERS)]);
        assert_ne!(protected.control & SE_DACL_PROTECTED, 0);
    }

    #[test]
    fn owners_that_are_not_ones_own_need_the_restore_privilege() {
        let given = Descriptor { owner: Some(Sid::SYSTEM), ..Descriptor::default() };
        let spec = || TokenSpec::user(Sid::account(1001), &[Sid::USERS]);
        let with = |spec: TokenSpec| {
            let token = Token::new(spec);
            let mapping = &GenericMapping::FILE;
            let to = For { token: &token, mode: Mode::User, container: false, mapping, flags: 0 };
            assign(None, Some(&given), &to).map(|made| made.owner).map_err(nt_abi::NtError::status)
        };
        assert_eq!(with(spec()), Err(NtStatus::INVALID_OWNER));
        assert_eq!(with(spec().with_privilege(SE_RESTORE_PRIVILEGE)), Ok(Some(Sid::SYSTEM)));
    }
}
