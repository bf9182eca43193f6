//! Whose rights count: the tokens of processes, the subject of a call, the state of an access check.
//!
//! Room: ntos/se. Called by: the I/O manager, file systems, SeCaptureSubjectContext. IRQL: PASSIVE_LEVEL.
//! Touches: SECURITY_SUBJECT_CONTEXT and ACCESS_STATE blocks. Locks: a process's token.
//! Source: SeCaptureSubjectContext, ACCESS_STATE pages. A process that was given no token is the machine's administrator,
//! the system process is LOCAL SYSTEM. Not here: impersonation; ClientToken is NULL in every context that is made here.

use crate::token::{Token, TokenRef, TokenSpec};
use nt_abi::ob::{ACCESS_STATE, LUID, SECURITY_SUBJECT_CONTEXT};
use nt_abi::se::{AUX_ACCESS_DATA, GENERIC_MAPPING};
use nt_abi::{Bytes, NtResult};
use nt_cell::Foreign;
use nt_ke::kernel::Slot;
use nt_ke::{Frame, Kernel};
use nt_ob::access::GenericMapping;
use nt_ob::object;
use nt_ps::Process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The tokens that processes have unless they are told otherwise.
#[derive(Debug)]
struct Defaults {
    system: TokenRef,
    administrator: TokenRef,
}

fn defaults(kernel: &Kernel) -> &Defaults {
    kernel.room_or(Slot::Se, || {
        let make = |spec| TokenRef::new(kernel, spec).expect("no pool for a token");
        Arc::new(Defaults { system: make(TokenSpec::system()), administrator: make(TokenSpec::administrator()) })
    })
}

/// Returns a process's primary token.
#[must_use]
pub fn token_of(kernel: &Kernel, process: &Process) -> TokenRef {
    if let Some(token) = process.token().and_then(|object| TokenRef::at(object.body())) {
        return token;
    }
    let defaults = defaults(kernel);
    let system = process.id() == nt_ps::process::processes(kernel).system().id();
    if system { defaults.system.clone() } else { defaults.administrator.clone() }
}

/// Gives a process another primary token: what it opens from now on is checked against it.
pub fn set_token(process: &Process, token: &TokenRef) {
    process.set_token(Some(token.object().clone()));
}

/// Returns the token whose rights count for the running thread.
#[must_use]
pub fn current_token(frame: &Frame) -> TokenRef {
    token_of(&frame.kernel, nt_ps::current_process(frame))
}

/// SeCaptureSubjectContext.
pub fn capture(frame: &Frame, context: Foreign<SECURITY_SUBJECT_CONTEXT>) {
    let token = current_token(frame).object().clone().into_raw();
    context.set_ptr(SECURITY_SUBJECT_CONTEXT::ClientToken, None);
    context.set(SECURITY_SUBJECT_CONTEXT::ImpersonationLevel, 0);
    context.set_ptr(SECURITY_SUBJECT_CONTEXT::PrimaryToken, Some(token));
    context.set_addr(SECURITY_SUBJECT_CONTEXT::ProcessAuditId, nt_ps::current_process(frame).id());
}

/// SeReleaseSubjectContext.
pub fn release(context: Foreign<SECURITY_SUBJECT_CONTEXT>) {
    for member in [SECURITY_SUBJECT_CONTEXT::ClientToken, SECURITY_SUBJECT_CONTEXT::PrimaryToken] {
        if let Some(token) = context.ptr::<Bytes>(member) {
            context.set_ptr(member, None);
            object::dereference(token);
        }
    }
}

/// SeQuerySubjectContextToken: the client's token if the subject acts for one, else the process's.
#[must_use]
pub fn token_in(context: Foreign<SECURITY_SUBJECT_CONTEXT>) -> Option<TokenRef> {
    let client = context.ptr(SECURITY_SUBJECT_CONTEXT::ClientToken);
    TokenRef::at(client.or_else(|| context.ptr(SECURITY_SUBJECT_CONTEXT::PrimaryToken))?)
}

/// Fills the state of an access check for the running thread.
pub fn create_access_state(
    frame: &Frame,
    state: Foreign<ACCESS_STATE>,
    aux: Foreign<AUX_ACCESS_DATA>,
    desired: u32,
    mapping: &GenericMapping,
) {
    static OPERATION: AtomicU64 = AtomicU64::new(1);
    let operation = OPERATION.fetch_add(1, Ordering::Relaxed);
    state.set(ACCESS_STATE::OperationID.then(LUID::LowPart), operation as u32);
    state.set(ACCESS_STATE::OperationID.then(LUID::HighPart), (operation >> 32) as i32);
    state.set(ACCESS_STATE::RemainingDesiredAccess, desired);
    state.set(ACCESS_STATE::OriginalDesiredAccess, desired);
    capture(frame, state.at(ACCESS_STATE::SubjectSecurityContext));
    state.set_ptr(ACCESS_STATE::AuxData, Some(aux.view()));
    for (member, value) in [
        (GENERIC_MAPPING::GenericRead, mapping.read),
        (GENERIC_MAPPING::GenericWrite, mapping.write),
        (GENERIC_MAPPING::GenericExecute, mapping.execute),
        (GENERIC_MAPPING::GenericAll, mapping.all),
    ] {
        aux.set(AUX_ACCESS_DATA::GenericMapping.then(member), value);
    }
}

/// Takes what was granted out of what is still wanted, as a file system does after its check.
pub fn grant(state: Foreign<ACCESS_STATE>, granted: u32) {
    let remaining = state.get(ACCESS_STATE::RemainingDesiredAccess);
    state.set(ACCESS_STATE::PreviouslyGrantedAccess, state.get(ACCESS_STATE::PreviouslyGrantedAccess) | granted);
    state.set(ACCESS_STATE::RemainingDesiredAccess, remaining & !(granted | nt_abi::ob::MAXIMUM_ALLOWED));
}

/// SeSinglePrivilegeCheck: kernel-mode callers have every privilege.
#[must_use]
pub fn single_privilege_check(token: &Token, privilege: u32, mode: nt_ke::Mode) -> bool {
    mode == nt_ke::Mode::Kernel || token.has_privilege(privilege)
}

/// Makes a token of a machine and gives it to a process.
pub fn run_as(kernel: &Kernel, process: &Process, spec: TokenSpec) -> NtResult<TokenRef> {
    let token = TokenRef::new(kernel, spec)?;
    set_token(process, &token);
    Ok(token)
}
