//! Security descriptors, absolute and self-relative.
//!
//! Room: ntos/se. Called by: `assign`, `check`, the exports, file systems. IRQL: any. Locks: none.
//! Source: SECURITY_DESCRIPTOR page, MS-DTYP 2.4.6; SeCaptureSecurityDescriptor page for what is refused.
//! A descriptor is read once, from wherever it lies, and judged as a copy; what is stored and given out is self-relative.

use crate::acl::{Ace, Acl};
use crate::sid::Sid;
use nt_abi::se::*;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Fault, Foreign, Region};

/// Control bits that go with the DACL.
const OF_DACL: u16 =
    SE_DACL_PRESENT | SE_DACL_DEFAULTED | SE_DACL_AUTO_INHERIT_REQ | SE_DACL_AUTO_INHERITED | SE_DACL_PROTECTED;
/// Control bits that go with the SACL.
const OF_SACL: u16 =
    SE_SACL_PRESENT | SE_SACL_DEFAULTED | SE_SACL_AUTO_INHERIT_REQ | SE_SACL_AUTO_INHERITED | SE_SACL_PROTECTED;

/// A descriptor. A DACL that is present and `None` is the NULL DACL, which lets everybody in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Descriptor {
    /// Control, without SE_SELF_RELATIVE.
    pub control: u16,
    /// Owner.
    pub owner: Option<Sid>,
    /// Group.
    pub group: Option<Sid>,
    /// Dacl.
    pub dacl: Option<Acl>,
    /// Sacl.
    pub sacl: Option<Acl>,
}

/// Reads bytes at an address, or says why it cannot.
pub type Reader<'a> = &'a dyn Fn(u64, usize) -> NtResult<Vec<u8>>;

fn invalid() -> nt_abi::NtError {
    NtStatus::INVALID_SECURITY_DESCR.error()
}

fn short(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |pair| u16::from_le_bytes([pair[0], pair[1]]))
}

fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    let mut word = [0; 8];
    if let Some(part) = bytes.get(at..at + size) {
        word[..size].copy_from_slice(part);
    }
    u64::from_le_bytes(word)
}

/// Reads a SID where it lies.
pub fn read_sid(at: u64, read: Reader<'_>) -> NtResult<Sid> {
    let head = read(at, 8)?;
    let whole = read(at, 8 + 4 * usize::from(head[1]))?;
    Sid::parse(&whole).ok_or(NtStatus::INVALID_SID.error())
}

/// Reads an ACL where it lies.
pub fn read_acl(at: u64, read: Reader<'_>) -> NtResult<Acl> {
    let head = read(at, 8)?;
    Acl::valid(&read(at, usize::from(short(&head, 2)).max(8))?)
}

impl Descriptor {
    /// A descriptor with an owner, a group and a DACL.
    #[must_use]
    pub fn new(owner: Sid, group: Sid, dacl: Acl) -> Self {
        Self { control: SE_DACL_PRESENT, owner: Some(owner), group: Some(group), dacl: Some(dacl), sacl: None }
    }

    /// Has it a DACL, be it the NULL one?
    #[must_use]
    pub const fn has_dacl(&self) -> bool {
        self.control & SE_DACL_PRESENT != 0
    }

    /// Has it a SACL?
    #[must_use]
    pub const fn has_sacl(&self) -> bool {
        self.control & SE_SACL_PRESENT != 0
    }

    /// SeCaptureSecurityDescriptor: reads one of either form at `at`.
    pub fn capture(at: u64, read: Reader<'_>) -> NtResult<Self> {
        let head = read(at, SECURITY_DESCRIPTOR_RELATIVE::SIZE)?;
        if head[0] != SECURITY_DESCRIPTOR_REVISION {
            return NtStatus::UNKNOWN_REVISION.fail();
        }
        let control = short(&head, 2);
        let parts: [u64; 4] = if control & SE_SELF_RELATIVE != 0 {
            // Parts overlap neither the header nor a word's boundary.
            let mut parts = [0; 4];
            for (index, part) in parts.iter_mut().enumerate() {
                match number(&head, 4 + index * 4, 4) {
                    0 => {}
                    offset if offset >= head.len() as u64 && offset.is_multiple_of(4) => {
                        *part = at.checked_add(offset).ok_or_else(invalid)?;
                    }
                    _ => return Err(invalid()),
                }
            }
            parts
        } else {
            let head = read(at, SECURITY_DESCRIPTOR::SIZE)?;
            std::array::from_fn(|index| number(&head, 8 + index * 8, 8))
        };
        let [owner, group, sacl, dacl] = parts;
        let sid = |at: u64| if at == 0 { Ok(None) } else { read_sid(at, read).map(Some) };
        let acl = |at: u64, flag: u16| {
            if at == 0 || control & flag == 0 { Ok(None) } else { read_acl(at, read).map(Some) }
        };
        Ok(Self {
            control: control & !SE_SELF_RELATIVE,
            owner: sid(owner)?,
            group: sid(group)?,
            dacl: acl(dacl, SE_DACL_PRESENT)?,
            sacl: acl(sacl, SE_SACL_PRESENT)?,
        })
    }

    /// Reads a self-relative one (RtlValidRelativeSecurityDescriptor): all of it lies in `bytes`.
    pub fn parse(bytes: &[u8]) -> NtResult<Self> {
        if short(bytes, 2) & SE_SELF_RELATIVE == 0 {
            return Err(invalid());
        }
        Self::capture(0, &|at, len| {
            let at = usize::try_from(at).map_err(|_| invalid())?;
            let end = at.checked_add(len).ok_or_else(invalid)?;
            bytes.get(at..end).map(<[u8]>::to_vec).ok_or_else(invalid)
        })
    }

    /// Reads one of either form that a kernel-mode caller left at `block`.
    pub fn at(block: Foreign<Bytes>) -> NtResult<Self> {
        let fault = |_: Fault| NtStatus::ACCESS_VIOLATION.error();
        let control = Region::pool(block, 4).load::<u16>(2).map_err(fault)?;
        let mut bases = vec![block];
        if control & SE_SELF_RELATIVE == 0 {
            Region::pool(block, SECURITY_DESCRIPTOR::SIZE).probe_read().map_err(fault)?;
            let head = block.view::<SECURITY_DESCRIPTOR>();
            bases.extend(head.ptr(SECURITY_DESCRIPTOR::Owner).map(Foreign::view));
            bases.extend(head.ptr(SECURITY_DESCRIPTOR::Group).map(Foreign::view));
            bases.extend(head.ptr(SECURITY_DESCRIPTOR::Sacl).map(Foreign::view));
            bases.extend(head.ptr(SECURITY_DESCRIPTOR::Dacl).map(Foreign::view));
        }
        Self::capture(block.addr(), &|at, length| {
            let region = match bases.iter().find(|base| base.addr() == at) {
                Some(base) => Region::pool(*base, length),
                None => {
                    let offset = at.checked_sub(block.addr()).and_then(|offset| usize::try_from(offset).ok());
                    let offset = offset.filter(|_| bases.len() == 1).ok_or_else(invalid)?;
                    Region::pool(block, offset + length).sub(offset, length)
                }
            };
            region.to_vec().map_err(fault)
        })
    }

    /// Returns it in the self-relative form.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = vec![SECURITY_DESCRIPTOR_REVISION, 0];
        out.extend((self.control | SE_SELF_RELATIVE).to_le_bytes());
        out.resize(SECURITY_DESCRIPTOR_RELATIVE::SIZE, 0);
        let mut put = |slot: usize, part: Option<Vec<u8>>| {
            if let Some(part) = part {
                let offset = out.len() as u32;
                out[slot..slot + 4].copy_from_slice(&offset.to_le_bytes());
                out.extend(part);
            }
        };
        put(SECURITY_DESCRIPTOR_RELATIVE::Owner.offset(), self.owner.as_ref().map(Sid::bytes));
        put(SECURITY_DESCRIPTOR_RELATIVE::Group.offset(), self.group.as_ref().map(Sid::bytes));
        put(SECURITY_DESCRIPTOR_RELATIVE::Dacl.offset(), self.dacl.as_ref().map(Acl::bytes));
        put(SECURITY_DESCRIPTOR_RELATIVE::Sacl.offset(), self.sacl.as_ref().map(Acl::bytes));
        out
    }

    /// Returns only what is asked for: the rest is not there, nor do control bits speak of it (NT-SEC-02).
    #[must_use]
    pub fn select(&self, information: u32) -> Self {
        let asked = |bits: u32| information & (bits | BACKUP_SECURITY_INFORMATION) != 0;
        let mut part = Self::default();
        if asked(OWNER_SECURITY_INFORMATION) {
            part.owner = self.owner;
            part.control |= self.control & SE_OWNER_DEFAULTED;
        }
        if asked(GROUP_SECURITY_INFORMATION) {
            part.group = self.group;
            part.control |= self.control & SE_GROUP_DEFAULTED;
        }
        if asked(DACL_SECURITY_INFORMATION) {
            part.dacl = self.dacl.clone();
            part.control |= self.control & OF_DACL;
        }
        let (audit, label) = (asked(SACL_SECURITY_INFORMATION), asked(LABEL_SECURITY_INFORMATION));
        if (audit || label) && self.has_sacl() {
            let wanted = |ace: &&Ace| if is_label(ace) { label } else { audit };
            let sacl = self
                .sacl
                .as_ref()
                .map(|acl| Acl { revision: acl.revision, aces: acl.aces.iter().filter(wanted).cloned().collect() });
            if audit || sacl.as_ref().is_some_and(|acl| !acl.aces.is_empty()) {
                part.sacl = sacl;
                part.control |= self.control & OF_SACL;
            }
        }
        part
    }

    /// Takes over what `information` names of `new`; the rest stays (NT-SEC-04).
    pub fn change(&mut self, information: u32, new: &Self) {
        let named = |bits: u32| information & (bits | BACKUP_SECURITY_INFORMATION) != 0;
        if named(OWNER_SECURITY_INFORMATION) {
            self.owner = new.owner;
            self.control = self.control & !SE_OWNER_DEFAULTED | new.control & SE_OWNER_DEFAULTED;
        }
        if named(GROUP_SECURITY_INFORMATION) {
            self.group = new.group;
            self.control = self.control & !SE_GROUP_DEFAULTED | new.control & SE_GROUP_DEFAULTED;
        }
        if named(DACL_SECURITY_INFORMATION) {
            self.dacl = new.dacl.clone();
            self.control = self.control & !OF_DACL | SE_DACL_PRESENT | inherited(new.control) & OF_DACL;
        }
        if information & PROTECTED_DACL_SECURITY_INFORMATION != 0 {
            self.control |= SE_DACL_PROTECTED;
        } else if information & UNPROTECTED_DACL_SECURITY_INFORMATION != 0 {
            self.control &= !SE_DACL_PROTECTED;
        }
        let (audit, label) = (named(SACL_SECURITY_INFORMATION), named(LABEL_SECURITY_INFORMATION));
        if audit || label {
            let kept = |acl: Option<&Acl>, labels: bool| -> Vec<Ace> {
                acl.map_or_else(Vec::new, |acl| {
                    acl.aces.iter().filter(|ace| is_label(ace) == labels).cloned().collect()
                })
            };
            let mut aces = kept(if label { new.sacl.as_ref() } else { self.sacl.as_ref() }, true);
            aces.extend(kept(if audit { new.sacl.as_ref() } else { self.sacl.as_ref() }, false));
            if audit {
                self.control = self.control & !OF_SACL | SE_SACL_PRESENT | inherited(new.control) & OF_SACL;
            } else {
                self.control |= SE_SACL_PRESENT;
            }
            self.sacl = Some(Acl::new(aces));
        }
        if information & PROTECTED_SACL_SECURITY_INFORMATION != 0 {
            self.control |= SE_SACL_PROTECTED;
        } else if information & UNPROTECTED_SACL_SECURITY_INFORMATION != 0 {
            self.control &= !SE_SACL_PROTECTED;
        }
    }
}

/// A caller's AUTO_INHERITED bits count only together with the request for them, and the requests are not kept.
const fn inherited(control: u16) -> u16 {
    let mut kept = control & !(SE_DACL_AUTO_INHERIT_REQ | SE_SACL_AUTO_INHERIT_REQ);
    if control & SE_DACL_AUTO_INHERIT_REQ == 0 {
        kept &= !SE_DACL_AUTO_INHERITED;
    }
    if control & SE_SACL_AUTO_INHERIT_REQ == 0 {
        kept &= !SE_SACL_AUTO_INHERITED;
    }
    kept
}

/// A mandatory label stands in the SACL and is no audit entry.
#[must_use]
pub fn is_label(ace: &Ace) -> bool {
    ace.kind == SYSTEM_MANDATORY_LABEL_ACE_TYPE
}

/// SeQuerySecurityAccessMask (NT-SEC-03).
#[must_use]
pub const fn access_to_query(information: u32) -> u32 {
    let mut access = 0;
    if information
        & (OWNER_SECURITY_INFORMATION
            | GROUP_SECURITY_INFORMATION
            | DACL_SECURITY_INFORMATION
            | LABEL_SECURITY_INFORMATION
            | ATTRIBUTE_SECURITY_INFORMATION
            | SCOPE_SECURITY_INFORMATION)
        != 0
    {
        access |= nt_abi::ob::READ_CONTROL;
    }
    if information & SACL_SECURITY_INFORMATION != 0 {
        access |= nt_abi::ob::ACCESS_SYSTEM_SECURITY;
    }
    if information & BACKUP_SECURITY_INFORMATION != 0 {
        access |= nt_abi::ob::READ_CONTROL | nt_abi::ob::ACCESS_SYSTEM_SECURITY;
    }
    access
}

/// SeSetSecurityAccessMask (NT-SEC-03).
#[must_use]
pub const fn access_to_set(information: u32) -> u32 {
    let mut access = 0;
    if information & (OWNER_SECURITY_INFORMATION | GROUP_SECURITY_INFORMATION | LABEL_SECURITY_INFORMATION) != 0 {
        access |= nt_abi::ob::WRITE_OWNER;
    }
    if information & (DACL_SECURITY_INFORMATION | ATTRIBUTE_SECURITY_INFORMATION) != 0 {
        access |= nt_abi::ob::WRITE_DAC;
    }
    if information & (SACL_SECURITY_INFORMATION | SCOPE_SECURITY_INFORMATION) != 0 {
        access |= nt_abi::ob::ACCESS_SYSTEM_SECURITY;
    }
    if information & BACKUP_SECURITY_INFORMATION != 0 {
        access |= nt_abi::ob::WRITE_DAC | nt_abi::ob::WRITE_OWNER | nt_abi::ob::ACCESS_SYSTEM_SECURITY;
    }
    access
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Descriptor {
        let mut whole =
            Descriptor::new(Sid::ADMINISTRATORS, Sid::SYSTEM, Acl::new(vec![Ace::allow(0x1F_01FF, &Sid::EVERYONE)]));
        whole.control |= SE_SACL_PRESENT;
        let audit = Ace::new(SYSTEM_AUDIT_ACE_TYPE, FAILED_ACCESS_ACE_FLAG, 2, &Sid::EVERYONE);
        let label = Ace::new(SYSTEM_MANDATORY_LABEL_ACE_TYPE, 0, 1, &Sid::LABELS[1]);
        whole.sacl = Some(Acl::new(vec![label, audit]));
        whole
    }

    #[test]
    fn both_forms_are_read() {
        let whole = whole();
        assert_eq!(Descriptor::parse(&whole.bytes()), Ok(whole.clone()));
        // An absolute one whose parts lie about in a memory of their own.
        let mut memory = vec![1, 0, SE_DACL_PRESENT as u8, 0, 0, 0, 0, 0];
        for at in [0x30_u64, 0, 0, 0x50] {
            memory.extend(at.to_le_bytes());
        }
        memory.resize(0x30, 0);
        memory.extend(Sid::USERS.bytes());
        memory.resize(0x50, 0);
        memory.extend(Acl::new(vec![Ace::deny(1, &Sid::USERS)]).bytes());
        let read = |at: u64, len: usize| {
            memory.get(at as usize..at as usize + len).map(<[u8]>::to_vec).ok_or(NtStatus::ACCESS_VIOLATION.error())
        };
        let got = Descriptor::capture(0, &read).expect("captured");
        assert_eq!((got.owner, got.group, got.dacl.map(|acl| acl.aces.len())), (Some(Sid::USERS), None, Some(1)));
    }

    #[test]
    fn what_is_malformed_is_refused_by_its_part() {
        let good = whole().bytes();
        let with = |at: usize, byte: u8| {
            let mut bad = good.clone();
            bad[at] = byte;
            Descriptor::parse(&bad).map_err(nt_abi::NtError::status)
        };
        assert_eq!(with(0, 2), Err(NtStatus::UNKNOWN_REVISION));
        assert_eq!(with(4, 4), Err(NtStatus::INVALID_SECURITY_DESCR), "an owner inside the header");
        assert_eq!(with(5, 0x7F), Err(NtStatus::INVALID_SECURITY_DESCR), "an owner past the end");
        assert_eq!(with(0x14, 9), Err(NtStatus::INVALID_SID));
        let dacl = number(&good, 0x10, 4) as usize;
        assert_eq!(with(dacl, 9), Err(NtStatus::INVALID_ACL));
        assert_eq!(
            Descriptor::parse(&good[..8]).map_err(nt_abi::NtError::status),
            Err(NtStatus::INVALID_SECURITY_DESCR)
        );
    }

    #[test]
    fn parts_come_and_go_alone() {
        let whole = whole();
        let dacl = whole.select(DACL_SECURITY_INFORMATION);
        assert_eq!((dacl.owner, dacl.group, dacl.has_sacl(), dacl.has_dacl()), (None, None, false, true));
        let label = whole.select(LABEL_SECURITY_INFORMATION);
        assert_eq!(label.sacl.map(|acl| acl.aces.len()), Some(1));
        let mut changed = whole.clone();
        let new = Descriptor { control: SE_DACL_PRESENT, owner: Some(Sid::USERS), ..Descriptor::default() };
        changed.change(DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION, &new);
        assert_eq!((changed.owner, &changed.dacl, &changed.sacl), (whole.owner, &None, &whole.sacl));
        assert_ne!(changed.control & SE_DACL_PROTECTED, 0);
        changed.change(SACL_SECURITY_INFORMATION, &Descriptor { control: SE_SACL_PRESENT, ..Descriptor::default() });
        assert_eq!(changed.sacl.map(|acl| acl.aces.len()), Some(1), "the label stays");
    }
}
