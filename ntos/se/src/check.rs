//! The access check.
//!
//! Room: ntos/se. Called by: file systems, the I/O manager, SeAccessCheck. IRQL: any. Locks: none.
//! Source: SeAccessCheck page, "How AccessCheck works", MS-DTYP 2.5.3.2; rules NT-SEC-11 to NT-SEC-17.

use crate::descriptor::Descriptor;
use crate::sid::Sid;
use crate::token::Token;
use nt_abi::ob::{ACCESS_SYSTEM_SECURITY, MAXIMUM_ALLOWED, READ_CONTROL, WRITE_DAC, WRITE_OWNER};
use nt_abi::se::*;
use nt_abi::{NtResult, NtStatus};
use nt_ke::Mode;
use nt_ob::access::GenericMapping;
use nt_trace::rule;

/// Replaces generic bits by what they stand for and leaves MAXIMUM_ALLOWED and ACCESS_SYSTEM_SECURITY (RtlMapGenericMask).
#[must_use]
pub const fn map_generic(desired: u32, mapping: &GenericMapping) -> u32 {
    desired & MAXIMUM_ALLOWED | mapping.map(desired & !MAXIMUM_ALLOWED)
}

/// What is asked for, and what somebody granted before.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// DesiredAccess, without generic bits.
    pub desired: u32,
    /// PreviouslyGrantedAccess.
    pub granted: u32,
    /// AccessMode.
    pub mode: Mode,
}

/// SeAccessCheck: what is granted in all, or ACCESS_DENIED, or PRIVILEGE_NOT_HELD.
pub fn access_check(descriptor: &Descriptor, token: &Token, asked: Asked, mapping: &GenericMapping) -> NtResult<u32> {
    let maximum = asked.desired & MAXIMUM_ALLOWED != 0;
    if asked.mode == Mode::Kernel {
        rule!(NT_SEC_17);
        let all = if maximum { mapping.all } else { 0 };
        return Ok(asked.granted | asked.desired & !MAXIMUM_ALLOWED | all);
    }
    if asked.desired == 0 {
        return if asked.granted == 0 { NtStatus::ACCESS_DENIED.fail() } else { Ok(asked.granted) };
    }
    let mut wanted = asked.desired & !MAXIMUM_ALLOWED;
    let mut granted = asked.granted;
    if wanted & ACCESS_SYSTEM_SECURITY != 0 {
        if !token.has_privilege(SE_SECURITY_PRIVILEGE) {
            return NtStatus::PRIVILEGE_NOT_HELD.fail();
        }
        granted |= ACCESS_SYSTEM_SECURITY;
        wanted &= !ACCESS_SYSTEM_SECURITY;
    }
    if wanted & WRITE_OWNER != 0 && token.has_privilege(SE_TAKE_OWNERSHIP_PRIVILEGE) {
        granted |= WRITE_OWNER;
        wanted &= !WRITE_OWNER;
    }
    if wanted == 0 && !maximum {
        return Ok(granted);
    }
    let Some(dacl) = descriptor.dacl.as_ref().filter(|_| descriptor.has_dacl()) else {
        return Ok(granted | wanted | if maximum { mapping.all } else { 0 });
    };
    let allowed = |ace: &crate::acl::Ace| ace.flags & INHERIT_ONLY_ACE == 0;
    let owner = descriptor.owner.as_ref().filter(|owner| token.is_member(owner, false));
    let limited = || dacl.aces.iter().any(|ace| allowed(ace) && ace.sid() == Some(Sid::OWNER_RIGHTS));
    if owner.is_some() && !limited() {
        let own = READ_CONTROL | WRITE_DAC;
        granted |= if maximum { own } else { wanted & own };
        wanted &= !own;
    }
    let is_meant =
        |sid: &Sid, denies: bool| token.is_member(sid, denies) || (*sid == Sid::OWNER_RIGHTS && owner.is_some());
    let mut denied = 0;
    for ace in dacl.aces.iter().filter(|ace| allowed(ace)) {
        if wanted == 0 && !maximum {
            break;
        }
        let Some(sid) = ace.sid() else { continue };
        let mask = mapping.map(ace.mask());
        match ace.kind {
            ACCESS_ALLOWED_ACE_TYPE if is_meant(&sid, false) => {
                let given = mask & !denied & if maximum { u32::MAX } else { wanted };
                granted |= given;
                wanted &= !given;
            }
            ACCESS_DENIED_ACE_TYPE if is_meant(&sid, true) => {
                if mask & wanted != 0 {
                    return NtStatus::ACCESS_DENIED.fail();
                }
                denied |= mask & !granted;
            }
            _ => {}
        }
    }
    if wanted != 0 || (maximum && granted == 0) {
        return NtStatus::ACCESS_DENIED.fail();
    }
    Ok(granted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::{Ace, Acl};
    use crate::token::TokenSpec;
    use nt_abi::ob::DELETE;

    fn user() -> Token {
        Token::new(TokenSpec::user(Sid::account(1001), &[Sid::USERS]))
    }

    fn check(aces: Vec<Ace>, owner: Sid, token: &Token, desired: u32) -> Result<u32, NtStatus> {
        let descriptor = Descriptor::new(owner, Sid::USERS, Acl::new(aces));
        let asked = Asked { desired, granted: 0, mode: Mode::User };
        access_check(&descriptor, token, asked, &GenericMapping::FILE).map_err(nt_abi::NtError::status)
    }

    #[test]
    fn entries_count_in_their_order() {
        let (allow, deny) = (Ace::allow(3, &Sid::USERS), Ace::deny(2, &Sid::EVERYONE));
        let none = Sid::ADMINISTRATORS;
        assert_eq!(check(vec![allow.clone(), deny.clone()], none, &user(), 3), Ok(3));
        assert_eq!(check(vec![deny.clone(), allow.clone()], none, &user(), 3), Err(NtStatus::ACCESS_DENIED));
        assert_eq!(check(vec![deny.clone(), allow.clone()], none, &user(), 1), Ok(1));
        assert_eq!(check(vec![deny, allow.clone()], none, &user(), MAXIMUM_ALLOWED), Ok(1));
        assert_eq!(check(vec![allow.with_flags(INHERIT_ONLY_ACE)], none, &user(), 1), Err(NtStatus::ACCESS_DENIED));
        assert_eq!(check(vec![], none, &user(), 1), Err(NtStatus::ACCESS_DENIED), "an empty DACL");
    }

    #[test]
    fn an_owner_reads_and_changes_the_dacl_unless_owner_rights_say_otherwise() {
        let own = Sid::account(1001);
        let both = READ_CONTROL | WRITE_DAC;
        assert_eq!(check(vec![], own, &user(), both), Ok(both));
        assert_eq!(check(vec![], own, &user(), DELETE | READ_CONTROL), Err(NtStatus::ACCESS_DENIED));
        let limit = Ace::allow(READ_CONTROL, &Sid::OWNER_RIGHTS);
        assert_eq!(check(vec![limit.clone()], own, &user(), WRITE_DAC), Err(NtStatus::ACCESS_DENIED));
        assert_eq!(check(vec![limit], own, &user(), READ_CONTROL), Ok(READ_CONTROL));
    }

    #[test]
    fn privileges_open_what_no_entry_does() {
        let token = user();
        assert_eq!(check(vec![], Sid::SYSTEM, &token, ACCESS_SYSTEM_SECURITY), Err(NtStatus::PRIVILEGE_NOT_HELD));
        let admin = Token::new(TokenSpec::administrator());
        assert_eq!(check(vec![], Sid::SYSTEM, &admin, ACCESS_SYSTEM_SECURITY), Err(NtStatus::PRIVILEGE_NOT_HELD));
        admin.enable(SE_SECURITY_PRIVILEGE, true).expect("an administrator has it");
        admin.enable(SE_TAKE_OWNERSHIP_PRIVILEGE, true).expect("an administrator has it");
        let asked = ACCESS_SYSTEM_SECURITY | WRITE_OWNER;
        assert_eq!(check(vec![], Sid::SYSTEM, &admin, asked), Ok(asked));
    }

    #[test]
    fn a_null_dacl_lets_in_and_kernel_mode_is_not_checked() {
        let open = Descriptor { control: SE_DACL_PRESENT, ..Descriptor::default() };
        let asked = |mode| Asked { desired: MAXIMUM_ALLOWED, granted: 0, mode };
        let all = GenericMapping::FILE.all;
        assert_eq!(access_check(&open, &user(), asked(Mode::User), &GenericMapping::FILE), Ok(all));
        let shut = Descriptor::new(Sid::SYSTEM, Sid::SYSTEM, Acl::new(vec![]));
        assert_eq!(access_check(&shut, &user(), asked(Mode::Kernel), &GenericMapping::FILE), Ok(all));
        let asked = Asked { desired: 0, granted: 0, mode: Mode::User };
        assert!(access_check(&open, &user(), asked, &GenericMapping::FILE).is_err(), "nothing asked, nothing granted");
    }

    #[test]
    fn a_group_for_denial_only_is_met_by_denials_only() {
        let token = Token::new(TokenSpec::user(Sid::account(1001), &[]).deny_only(Sid::ADMINISTRATORS));
        let allow = Ace::allow(1, &Sid::ADMINISTRATORS);
        assert_eq!(check(vec![allow], Sid::SYSTEM, &token, 1), Err(NtStatus::ACCESS_DENIED));
        let (deny, allow) = (Ace::deny(1, &Sid::ADMINISTRATORS), Ace::allow(1, &Sid::EVERYONE));
        assert_eq!(check(vec![deny, allow], Sid::SYSTEM, &token, 1), Err(NtStatus::ACCESS_DENIED));
    }
}
