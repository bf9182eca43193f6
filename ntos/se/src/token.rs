//! Access tokens: who a process is, and what it may do beyond what descriptors say.
//!
//! Room: ntos/se. Called by: `check`, `assign`, `subject`, programs that run a process as somebody. IRQL: <= APC_LEVEL.
//! Touches: a token object in pool, whose Rust state is reached by a key. Locks: none; privileges are one atomic word.
//! Source: "Access Tokens", "Privilege Constants", TOKEN_INFORMATION_CLASS pages; rules NT-SEC-08, NT-SEC-16, NT-REP-12.
//! Privileges stand as on Windows: an administrator holds many, disabled until it enables them; SYSTEM has some enabled.

use crate::acl::{Ace, Acl};
use crate::sid::Sid;
use nt_abi::se::*;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Foreign, Slab};
use nt_ke::Kernel;
use nt_ob::types::{ObjectType, Routines};
use nt_ob::{ObjectRef, access::GenericMapping, object};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

/// The size that we give to the opaque TOKEN body.
const BODY: usize = 0x40;
const USUAL: u32 = SE_GROUP_MANDATORY | SE_GROUP_ENABLED_BY_DEFAULT | SE_GROUP_ENABLED;
const GENERIC_ALL: u32 = nt_abi::ob::GENERIC_ALL;
const GENERIC_READ: u32 = nt_abi::ob::GENERIC_READ;
const GENERIC_EXECUTE: u32 = nt_abi::ob::GENERIC_EXECUTE;

/// What a token is made of.
#[derive(Clone, Debug)]
pub struct TokenSpec {
    /// TokenUser.
    pub user: Sid,
    /// TokenGroups, with SE_GROUP_* attributes.
    pub groups: Vec<(Sid, u32)>,
    /// TokenPrivileges, and whether each starts enabled.
    pub privileges: Vec<(u32, bool)>,
    /// TokenOwner: who owns what a holder creates.
    pub owner: Sid,
    /// TokenPrimaryGroup.
    pub primary_group: Sid,
    /// TokenDefaultDacl.
    pub default_dacl: Option<Acl>,
    /// The mandatory label.
    pub label: Sid,
    /// AuthenticationId: the logon session.
    pub logon: u64,
}

impl TokenSpec {
    /// A user without rights beyond those of `groups`; it may follow no privilege but that to pass through directories.
    #[must_use]
    pub fn user(user: Sid, groups: &[Sid]) -> Self {
        let general = [Sid::EVERYONE, Sid::AUTHENTICATED_USERS, Sid::INTERACTIVE];
        Self {
            user,
            groups: general.iter().chain(groups).map(|&sid| (sid, USUAL)).collect(),
            privileges: vec![
                (SE_CHANGE_NOTIFY_PRIVILEGE, true),
                (SE_SHUTDOWN_PRIVILEGE, false),
                (SE_UNDOCK_PRIVILEGE, false),
                (SE_INC_WORKING_SET_PRIVILEGE, false),
                (SE_TIME_ZONE_PRIVILEGE, false),
            ],
            owner: user,
            primary_group: groups.first().copied().unwrap_or(Sid::USERS),
            default_dacl: Some(Acl::new(vec![Ace::allow(GENERIC_ALL, &user), Ace::allow(GENERIC_ALL, &Sid::SYSTEM)])),
            label: Sid::LABELS[2],
            logon: 0x1_0000 + u64::from(user.sub_authorities().last().copied().unwrap_or(0)),
        }
    }

    /// The machine's administrator: what a process is unless it is told otherwise. It may make symbolic links (NT-REP-12).
    #[must_use]
    pub fn administrator() -> Self {
        let off = [
            SE_INCREASE_QUOTA_PRIVILEGE,
            SE_SECURITY_PRIVILEGE,
            SE_TAKE_OWNERSHIP_PRIVILEGE,
            SE_LOAD_DRIVER_PRIVILEGE,
            SE_SYSTEM_PROFILE_PRIVILEGE,
            SE_SYSTEMTIME_PRIVILEGE,
            SE_PROF_SINGLE_PROCESS_PRIVILEGE,
            SE_INC_BASE_PRIORITY_PRIVILEGE,
            SE_CREATE_PAGEFILE_PRIVILEGE,
            SE_BACKUP_PRIVILEGE,
            SE_RESTORE_PRIVILEGE,
            SE_SHUTDOWN_PRIVILEGE,
            SE_DEBUG_PRIVILEGE,
            SE_SYSTEM_ENVIRONMENT_PRIVILEGE,
            SE_REMOTE_SHUTDOWN_PRIVILEGE,
            SE_UNDOCK_PRIVILEGE,
            SE_MANAGE_VOLUME_PRIVILEGE,
            SE_INC_WORKING_SET_PRIVILEGE,
            SE_TIME_ZONE_PRIVILEGE,
        ];
        let on = [
            SE_CHANGE_NOTIFY_PRIVILEGE,
            SE_IMPERSONATE_PRIVILEGE,
            SE_CREATE_GLOBAL_PRIVILEGE,
            SE_CREATE_SYMBOLIC_LINK_PRIVILEGE,
        ];
        let mut spec = Self::user(Sid::account(500), &[Sid::USERS]);
        spec.groups.push((Sid::ADMINISTRATORS, USUAL | SE_GROUP_OWNER));
        spec.privileges = off.iter().map(|&id| (id, false)).chain(on.iter().map(|&id| (id, true))).collect();
        spec.owner = Sid::ADMINISTRATORS;
        spec.primary_group = Sid::account(513);
        spec.default_dacl =
            Some(Acl::new(vec![Ace::allow(GENERIC_ALL, &Sid::ADMINISTRATORS), Ace::allow(GENERIC_ALL, &Sid::SYSTEM)]));
        spec.label = Sid::LABELS[3];
        spec
    }

    /// LOCAL SYSTEM: what the system process is.
    #[must_use]
    pub fn system() -> Self {
        let mut spec = Self::administrator();
        let on = [
            SE_TCB_PRIVILEGE,
            SE_LOCK_MEMORY_PRIVILEGE,
            SE_CREATE_PAGEFILE_PRIVILEGE,
            SE_CREATE_PERMANENT_PRIVILEGE,
            SE_DEBUG_PRIVILEGE,
            SE_AUDIT_PRIVILEGE,
            SE_SYSTEM_PROFILE_PRIVILEGE,
            SE_PROF_SINGLE_PROCESS_PRIVILEGE,
            SE_INC_BASE_PRIORITY_PRIVILEGE,
            SE_INC_WORKING_SET_PRIVILEGE,
            SE_TIME_ZONE_PRIVILEGE,
        ];
        spec.privileges.retain(|(id, _)| !on.contains(id) && *id != SE_REMOTE_SHUTDOWN_PRIVILEGE);
        spec.privileges.extend(on.iter().map(|&id| (id, true)));
        spec.privileges.extend([(SE_ASSIGNPRIMARYTOKEN_PRIVILEGE, false), (SE_CREATE_TOKEN_PRIVILEGE, false)]);
        spec.user = Sid::SYSTEM;
        spec.groups = vec![
            (Sid::ADMINISTRATORS, SE_GROUP_ENABLED_BY_DEFAULT | SE_GROUP_ENABLED | SE_GROUP_OWNER),
            (Sid::EVERYONE, USUAL),
            (Sid::AUTHENTICATED_USERS, USUAL),
        ];
        spec.primary_group = Sid::SYSTEM;
        spec.default_dacl = Some(Acl::new(vec![
            Ace::allow(GENERIC_ALL, &Sid::SYSTEM),
            Ace::allow(GENERIC_READ | GENERIC_EXECUTE | nt_abi::ob::READ_CONTROL, &Sid::ADMINISTRATORS),
        ]));
        spec.label = Sid::LABELS[4];
        spec.logon = 0x3E7;
        spec
    }

    /// Adds a privilege that is enabled.
    #[must_use]
    pub fn with_privilege(mut self, id: u32) -> Self {
        self.privileges.retain(|(there, _)| *there != id);
        self.privileges.push((id, true));
        self
    }

    /// Takes a privilege away.
    #[must_use]
    pub fn without_privilege(mut self, id: u32) -> Self {
        self.privileges.retain(|(there, _)| *there != id);
        self
    }

    /// Adds a group that counts for denials only.
    #[must_use]
    pub fn deny_only(mut self, group: Sid) -> Self {
        self.groups.push((group, SE_GROUP_USE_FOR_DENY_ONLY));
        self
    }
}

/// A token.
#[derive(Debug)]
pub struct Token {
    spec: TokenSpec,
    id: u64,
    /// One bit for each privilege.
    present: u64,
    enabled: AtomicU64,
    by_default: u64,
    changes: AtomicU64,
}

const fn bit(privilege: u32) -> u64 {
    if privilege < 64 { 1 << privilege } else { 0 }
}

static NEXT: AtomicU64 = AtomicU64::new(0x1000);

impl Token {
    /// Makes a token.
    #[must_use]
    pub fn new(spec: TokenSpec) -> Self {
        let bits = |wanted: bool| {
            spec.privileges.iter().filter(|(_, on)| *on || !wanted).fold(0, |bits, (id, _)| bits | bit(*id))
        };
        let (present, enabled) = (bits(false), bits(true));
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { spec, id, present, enabled: AtomicU64::new(enabled), by_default: enabled, changes: AtomicU64::new(0) }
    }

    /// Returns what it was made of.
    #[must_use]
    pub fn spec(&self) -> &TokenSpec {
        &self.spec
    }

    /// Returns TokenId.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns how often its privileges changed: what ModifiedId tells.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Is it one of the token's identities? Groups that are for denials only are met by denials only.
    #[must_use]
    pub fn is_member(&self, sid: &Sid, denies: bool) -> bool {
        let counts = |attributes: u32| {
            if attributes & SE_GROUP_USE_FOR_DENY_ONLY != 0 { denies } else { attributes & SE_GROUP_ENABLED != 0 }
        };
        self.spec.user == *sid || self.spec.groups.iter().any(|(group, attributes)| group == sid && counts(*attributes))
    }

    /// May its holder make that SID the owner of something (NT-SEC-05)?
    #[must_use]
    pub fn may_own(&self, sid: &Sid) -> bool {
        let owner = |attributes: u32| attributes & SE_GROUP_OWNER != 0;
        self.spec.user == *sid
            || self.spec.groups.iter().any(|(group, attributes)| group == sid && owner(*attributes))
            || self.has_privilege(SE_RESTORE_PRIVILEGE)
    }

    /// Is the privilege there and enabled?
    #[must_use]
    pub fn has_privilege(&self, privilege: u32) -> bool {
        self.enabled.load(Ordering::Relaxed) & bit(privilege) != 0
    }

    /// Returns the privileges with their SE_PRIVILEGE_* attributes.
    pub fn privileges(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let enabled = self.enabled.load(Ordering::Relaxed);
        (0..64).filter(|&id| self.present & bit(id) != 0).map(move |id| {
            let on = if enabled & bit(id) != 0 { SE_PRIVILEGE_ENABLED } else { 0 };
            (id, on | if self.by_default & bit(id) != 0 { SE_PRIVILEGE_ENABLED_BY_DEFAULT } else { 0 })
        })
    }

    /// Enables or disables a privilege (NtAdjustPrivilegesToken); tells whether it was enabled.
    ///
    /// # Errors
    /// PRIVILEGE_NOT_HELD for one that the token has not got.
    pub fn enable(&self, privilege: u32, on: bool) -> NtResult<bool> {
        let bit = bit(privilege);
        if self.present & bit == 0 {
            return NtStatus::PRIVILEGE_NOT_HELD.fail();
        }
        let was = if on {
            self.enabled.fetch_or(bit, Ordering::Relaxed)
        } else {
            self.enabled.fetch_and(!bit, Ordering::Relaxed)
        };
        self.changes.fetch_add(1, Ordering::Relaxed);
        Ok(was & bit != 0)
    }
}

static TOKENS: LazyLock<Slab<Arc<Token>>> = LazyLock::new(Slab::new);

/// A token object, counted.
#[derive(Clone, Debug)]
pub struct TokenRef {
    object: ObjectRef<Bytes>,
    token: Arc<Token>,
}

impl std::ops::Deref for TokenRef {
    type Target = Token;
    fn deref(&self) -> &Token {
        &self.token
    }
}

/// Tells the object manager of the type.
fn register() {
    let delete = |body: Foreign<Bytes>| {
        TOKENS.remove(object::native_key(body));
    };
    let mapping = GenericMapping { read: 0x2_0008, write: 0x2_00E0, execute: 0x2_0000, all: TOKEN_ALL_ACCESS };
    nt_ob::types::register(ObjectType::Token, Routines { mapping, close: None, delete: Some(delete), wait: None });
}

impl TokenRef {
    /// Makes a token object of a machine.
    pub fn new(kernel: &Kernel, spec: TokenSpec) -> NtResult<Self> {
        register();
        let object = object::create::<Bytes>(ObjectType::Token, BODY, kernel.id())?;
        let token = Arc::new(Token::new(spec));
        object::set_native_key(object.body(), TOKENS.insert(Arc::clone(&token)));
        Ok(Self { object, token })
    }

    /// Counts the token whose object lies at `body`; `None` if none lies there.
    #[must_use]
    pub fn at(body: Foreign<Bytes>) -> Option<Self> {
        if object::kind_of(body)? != ObjectType::Token {
            return None;
        }
        let token = Arc::clone(&*TOKENS.get(object::native_key(body))?);
        Some(Self { object: object::reference(body), token })
    }

    /// Returns the object (PACCESS_TOKEN).
    #[must_use]
    pub fn object(&self) -> &ObjectRef<Bytes> {
        &self.object
    }
}
