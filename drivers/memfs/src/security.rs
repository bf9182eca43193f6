//! Who may open what, and the descriptors of files: IRP_MJ_QUERY_SECURITY, IRP_MJ_SET_SECURITY.
//!
//! Room: drivers/memfs. Called by: `create`, `naming`, the dispatch routine. IRQL: PASSIVE_LEVEL. Locks: what an object keeps.
//! Source: IRP_MJ_CREATE, IRP_MJ_QUERY_SECURITY pages, "Security considerations for file systems", FSA 2.1.5.1.2.1; rules
//! NT-SEC. A file that keeps no descriptor has the volume's own, by which everybody may do everything: that is what
//! programs of the host get, and it costs neither memory nor a call. Access is decided here once; no transfer asks again.

use crate::backing::{Change, Meta};
use crate::link::Link;
use crate::node::{Node, open_of};
use nt_abi::io::*;
use nt_abi::ob::*;
use nt_abi::se::*;
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_io::driver::OwnedIrp;
use nt_io::irp::IoStatus;
use nt_ke::Mode;
use nt_ob::access::GenericMapping;
use nt_se::assign::{self, For};
use nt_se::check::{Asked, access_check};
use nt_se::{Ace, Acl, Descriptor, Sid, Token, TokenRef, subject};
use nt_trace::rule;
use std::sync::{Arc, LazyLock};

const MAPPING: &GenericMapping = &GenericMapping::FILE;
/// What a read-only file takes out of MAXIMUM_ALLOWED (NT-SEC-13).
const NOT_OF_READONLY: u32 = FILE_WRITE_DATA | FILE_APPEND_DATA | FILE_DELETE_CHILD;
const INHERIT: u8 = OBJECT_INHERIT_ACE | CONTAINER_INHERIT_ACE;

fn own(directory: bool) -> Descriptor {
    let flags = if directory { INHERIT | INHERITED_ACE } else { INHERITED_ACE };
    let everyone = Ace::allow(MAPPING.all, &Sid::EVERYONE).with_flags(flags);
    let mut own = Descriptor::new(Sid::ADMINISTRATORS, Sid::account(513), Acl::new(vec![everyone]));
    own.control |= SE_DACL_AUTO_INHERITED;
    own
}

/// What a file, and a directory, has that keeps none.
static OWN: LazyLock<[Arc<Descriptor>; 2]> = LazyLock::new(|| [false, true].map(|directory| Arc::new(own(directory))));

/// What the volume itself has: everybody may ask it, its administrators may do more.
static VOLUME: LazyLock<Descriptor> = LazyLock::new(|| {
    let aces = vec![
        Ace::allow(MAPPING.all, &Sid::SYSTEM),
        Ace::allow(MAPPING.all, &Sid::ADMINISTRATORS),
        Ace::allow(MAPPING.execute, &Sid::EVERYONE),
    ];
    Descriptor::new(Sid::ADMINISTRATORS, Sid::SYSTEM, Acl::new(aces))
});

/// A descriptor as objects keep it.
pub(crate) type Security = Option<Arc<Descriptor>>;

/// Returns the descriptor of a file.
fn of(node: &Node) -> NtResult<Arc<Descriptor>> {
    Ok(node.object.security()?.unwrap_or_else(|| Arc::clone(&OWN[usize::from(node.is_directory())])))
}

/// Who opens, and how.
pub(crate) struct Opener {
    state: Option<Foreign<ACCESS_STATE>>,
    token: TokenRef,
    mode: Mode,
}

impl Opener {
    /// Reads it from a create.
    pub(crate) fn of(irp: &OwnedIrp) -> NtResult<Self> {
        let stack = irp.stack();
        let forced = stack.get(IO_STACK_LOCATION::Flags) & SL_FORCE_ACCESS_CHECK != 0;
        let mode = if forced || irp.from_user() { Mode::User } else { Mode::Kernel };
        let context = stack.ptr(IO_STACK_LOCATION::Create_SecurityContext);
        let state = context.and_then(|context| context.ptr(IO_SECURITY_CONTEXT::AccessState));
        let token = state.and_then(|state| subject::token_in(state.at(ACCESS_STATE::SubjectSecurityContext)));
        let token = token.unwrap_or_else(|| subject::current_token(&nt_ke::current()));
        Ok(Self { state, token, mode })
    }

    /// Was a check before this one passed (backup and restore)?
    fn granted(&self) -> u32 {
        self.state.map_or(0, |state| state.get(ACCESS_STATE::PreviouslyGrantedAccess))
    }

    /// Notes what the handle is to get.
    pub(crate) fn grant(&self, granted: u32) {
        if let Some(state) = self.state {
            subject::grant(state, granted);
        }
    }

    /// Holds it the privilege, or is it the kernel?
    pub(crate) fn may(&self, privilege: u32) -> bool {
        subject::single_privilege_check(&self.token, privilege, self.mode)
    }

    fn check(&self, descriptor: &Descriptor, desired: u32, granted: u32) -> NtResult<u32> {
        let asked = Asked { desired, granted, mode: self.mode };
        access_check(descriptor, &self.token, asked, MAPPING)
    }

    /// What the directory of a name grants of its own rights.
    fn of_parent(&self, parent: Option<&Node>, right: u32) -> NtResult<bool> {
        let Some(parent) = parent else { return Ok(false) };
        match self.check(&*of(parent)?, right, 0) {
            Ok(_) => Ok(true),
            Err(error) if error.status() == NtStatus::ACCESS_DENIED => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What an open of a file that is there is granted: `desired`, and `needed` for what the open does at once (NT-SEC-11 to
    /// NT-SEC-14). What the file refuses, its directory may give.
    pub(crate) fn authorize(
        &self,
        node: &Node,
        parent: Option<&Node>,
        meta: &Meta,
        desired: u32,
        needed: u32,
    ) -> NtResult<u32> {
        let maximum = desired & MAXIMUM_ALLOWED != 0;
        let before = self.granted();
        let wanted = (desired | needed) & !before;
        let mut granted = if wanted == 0 {
            before
        } else if !meta.secured && (wanted & ACCESS_SYSTEM_SECURITY == 0 || self.mode == Mode::Kernel) {
            before | wanted & !MAXIMUM_ALLOWED | if maximum { MAPPING.all } else { 0 }
        } else {
            let descriptor = of(node)?;
            match self.check(&descriptor, wanted, before) {
                Ok(granted) if !maximum => granted,
                Err(error) if error.status() != NtStatus::ACCESS_DENIED => return Err(error),
                checked => {
                    rule!(NT_SEC_11);
                    let asked = |right: u32| maximum || wanted & right != 0;
                    let mut more = 0;
                    if asked(DELETE) && self.of_parent(parent, FILE_DELETE_CHILD)? {
                        more |= DELETE;
                    }
                    if asked(FILE_READ_ATTRIBUTES) && self.of_parent(parent, FILE_LIST_DIRECTORY)? {
                        more |= FILE_READ_ATTRIBUTES;
                    }
                    match checked {
                        Ok(granted) => granted | more,
                        Err(error) if more == 0 => return Err(error),
                        Err(error) => match wanted & !more {
                            0 => before | more,
                            MAXIMUM_ALLOWED => {
                                self.check(&descriptor, MAXIMUM_ALLOWED, before | more).unwrap_or(before | more)
                            }
                            _ if maximum => return Err(error),
                            rest => self.check(&descriptor, rest, before | more)?,
                        },
                    }
                }
            }
        };
        if maximum && meta.attributes & FILE_ATTRIBUTE_READONLY != 0 {
            granted &= !NOT_OF_READONLY | desired; // NT-SEC-13
        }
        // What only the open itself needed is not the handle's.
        Ok(if maximum { granted } else { granted & (desired | before) })
    }

    /// What an open is granted that makes the file, which the directory must let it, and the descriptor that the file gets
    /// (NT-SEC-14).
    pub(crate) fn make(&self, parent: &Node, directory: bool, desired: u32) -> NtResult<(u32, Security)> {
        rule!(NT_SEC_14);
        let above = parent.object.security()?;
        if let Some(above) = &above {
            let right = if directory { FILE_ADD_SUBDIRECTORY } else { FILE_ADD_FILE };
            if self.granted() & right == 0 {
                self.check(above, right, 0)?;
            }
        }
        if desired & ACCESS_SYSTEM_SECURITY & !self.granted() != 0 && !self.may(SE_SECURITY_PRIVILEGE) {
            return NtStatus::PRIVILEGE_NOT_HELD.fail();
        }
        let all = if desired & MAXIMUM_ALLOWED != 0 { MAPPING.all } else { 0 };
        Ok((desired & !MAXIMUM_ALLOWED | all | self.granted(), self.assign(above.as_ref(), directory)?))
    }

    /// What an open of the volume is granted.
    pub(crate) fn authorize_volume(&self, desired: u32) -> NtResult<u32> {
        if desired == 0 { Ok(0) } else { self.check(&VOLUME, desired, self.granted()) }
    }

    /// The descriptor that came with the open.
    fn given(&self) -> NtResult<Option<Descriptor>> {
        let Some(block) = self.state.and_then(|state| state.ptr(ACCESS_STATE::SecurityDescriptor)) else {
            return Ok(None);
        };
        Descriptor::at(block).map(Some)
    }

    /// What a new file gets; `None` is the volume's own (NT-SEC-08, NT-SEC-09).
    fn assign(&self, above: Option<&Arc<Descriptor>>, directory: bool) -> NtResult<Security> {
        let given = self.given()?;
        let (own, spec) = (&OWN[usize::from(directory)], self.token.spec());
        let usual = Some(spec.owner) == own.owner && Some(spec.primary_group) == own.group;
        if given.is_none() && above.is_none() && usual {
            return Ok(None);
        }
        let parent = above.unwrap_or(&OWN[1]);
        let made = assign::assign(Some(parent), given.as_ref(), &self.to(directory))?;
        Ok(kept(made, directory, above))
    }

    /// A file is superseded with a descriptor of its own: it replaces the old one (NT-SEC-10).
    pub(crate) fn replace(&self, node: &Node, parent: Option<&Node>) -> NtResult<()> {
        if self.given()?.is_none() {
            return Ok(());
        }
        rule!(NT_SEC_10);
        let above = parent.map(|parent| parent.object.security()).transpose()?.flatten();
        node.object.set_security(self.assign(above.as_ref(), node.is_directory())?)
    }

    fn to(&self, container: bool) -> For<'_> {
        let flags = SEF_DACL_AUTO_INHERIT | SEF_SACL_AUTO_INHERIT;
        let token: &Token = &self.token;
        For { token, mode: self.mode, container, mapping: MAPPING, flags }
    }
}

/// What is kept of a descriptor: nothing of the volume's own, and one like another's only once.
fn kept(made: Descriptor, directory: bool, like: Option<&Arc<Descriptor>>) -> Security {
    match like {
        _ if made == *OWN[usize::from(directory)] => None,
        Some(like) if made == **like => Some(Arc::clone(like)),
        _ => Some(Arc::new(made)),
    }
}

/// May the running thread's user delete the file by that name: as a rename does that replaces it?
pub(crate) fn may_delete(node: &Node, parent: &Node, from_user: bool) -> NtResult<()> {
    let meta = node.object.meta()?;
    if !from_user || !meta.secured {
        return Ok(());
    }
    let token = subject::current_token(&nt_ke::current());
    let opener = Opener { state: None, token, mode: Mode::User };
    opener.authorize(node, Some(parent), &meta, DELETE, 0).map(|_| ())
}

/// Holds the running thread's user the privilege?
pub(crate) fn may(privilege: u32) -> bool {
    subject::current_token(&nt_ke::current()).has_privilege(privilege)
}

/// The directory in which an open name stands.
pub(crate) fn parent_of(link: Option<&Arc<Link>>) -> Option<Arc<Node>> {
    link.map(|link| link.spot().parent)
}

/// IRP_MJ_QUERY_SECURITY: self-relative, in the caller's buffer; BUFFER_OVERFLOW and the length when it does not fit.
pub(crate) fn query(irp: &OwnedIrp) -> NtResult<IoStatus> {
    let stack = irp.stack();
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let open = open_of(file)?;
    let information = stack.get(IO_STACK_LOCATION::QuerySecurity_SecurityInformation);
    let length = stack.get(IO_STACK_LOCATION::QuerySecurity_Length) as usize;
    let volume = file.get(FILE_OBJECT::Flags) & FO_VOLUME_OPEN != 0;
    let whole = if volume { VOLUME.select(information) } else { of(open.file())?.select(information) };
    let bytes = whole.bytes();
    if bytes.len() > length {
        rule!(NT_SEC_01);
        return Ok(IoStatus::new(NtStatus::BUFFER_OVERFLOW, bytes.len() as u64));
    }
    let out = match irp.irp().ptr(IRP::MdlAddress) {
        Some(mdl) => nt_mm::mdl::region(mdl)?.sub(0, bytes.len()),
        None => irp.irp().region_at(IRP::UserBuffer, bytes.len()),
    };
    out.write_from(&bytes).map_err(|_| NtStatus::ACCESS_VIOLATION.error())?;
    Ok(IoStatus::new(NtStatus::SUCCESS, bytes.len() as u64))
}

/// IRP_MJ_SET_SECURITY. Handles that are open keep what they were granted (NT-SEC-06).
pub(crate) fn set(irp: &OwnedIrp) -> NtResult<IoStatus> {
    let stack = irp.stack();
    let file = irp.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let open = open_of(file)?;
    if file.get(FILE_OBJECT::Flags) & FO_VOLUME_OPEN != 0 {
        return NtStatus::ACCESS_DENIED.fail();
    }
    let information = stack.get(IO_STACK_LOCATION::SetSecurity_SecurityInformation);
    let given = stack.ptr(IO_STACK_LOCATION::SetSecurity_SecurityDescriptor);
    let given = Descriptor::at(given.ok_or(NtStatus::INVALID_PARAMETER.error())?)?;
    let mode = if irp.from_user() { Mode::User } else { Mode::Kernel };
    let opener = Opener { state: None, token: subject::current_token(&nt_ke::current()), mode };
    let node = open.file(); // NT-SEC-18
    let directory = node.is_directory();
    let mut whole = (*of(node)?).clone();
    assign::set_information(&mut whole, information, &given, &opener.to(directory))?;
    rule!(NT_SEC_04);
    open.keeping_times(|| {
        node.object.set_security(kept(whole, directory, None))?;
        let attributes = node.object.meta()?.attributes;
        let archive = if directory { attributes } else { attributes | FILE_ATTRIBUTE_ARCHIVE };
        node.object.change(&Change { attributes: Some(archive), ..Change::default() }) // NT-SEC-07
    })?;
    crate::notice::modified(&open, FILE_NOTIFY_CHANGE_SECURITY);
    Ok(IoStatus::new(NtStatus::SUCCESS, 0))
}
