//! Security at an open, and `NtQuerySecurityObject`, `NtSetSecurityObject`.
//!
//! Room: ntos/io. Called by: `create`, `exports`, doors. IRQL: PASSIVE_LEVEL. Locks: the file object's, for synchronous files.
//! Touches: one block of pool for each open: IO_SECURITY_CONTEXT, ACCESS_STATE and its auxiliary data.
//! Source: ZwQuerySecurityObject, ZwSetSecurityObject, ZwCreateFile, IRP_MJ_QUERY_SECURITY pages; rules NT-SEC-01 to
//! NT-SEC-05, NT-SEC-16, NT-SEC-19. The check itself is the file system's. Objects other than files have no descriptor here.

pub mod exports;

use crate::create::CreateSpec;
use crate::info::system_buffer;
use crate::irp;
use crate::observe::Request;
use crate::service::{self, Opened, violation};
use crate::system::System;
use crate::{event, file, observe};
use nt_abi::io::{
    DEVICE_OBJECT, FILE_ADD_FILE, FILE_ADD_SUBDIRECTORY, FILE_OPEN_FOR_BACKUP_INTENT, FILE_TRAVERSE, IO_STACK_LOCATION,
    IRP, IRP_MJ_QUERY_SECURITY, IRP_MJ_SET_SECURITY, IRP_SYNCHRONOUS_API,
};
use nt_abi::ob::{
    ACCESS_STATE, ACCESS_SYSTEM_SECURITY, DELETE, IO_SECURITY_CONTEXT, MAXIMUM_ALLOWED, OBJ_FORCE_ACCESS_CHECK,
    READ_CONTROL, WRITE_DAC, WRITE_OWNER,
};
use nt_abi::se::*;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Addr, Foreign, Region};
use nt_ex::pool;
use nt_ke::{Frame, Mode};
use nt_ob::Handle;
use nt_ob::access::GenericMapping;
use nt_ob::types::ObjectType;
use nt_se::descriptor::{Reader, access_to_query, access_to_set};
use nt_se::{Ace, Acl, Descriptor, Sid, check, subject};
use nt_trace::rule;

nt_abi::layout! {
    /// What an open carries of its caller's security.
    pub struct OPEN_SECURITY: 0xD8 {
        /// What Parameters.Create.SecurityContext points at.
        Context @ 0x00: IO_SECURITY_CONTEXT;
        /// What its AccessState points at.
        State @ 0x18: ACCESS_STATE;
        /// What its AuxData points at.
        Aux @ 0xB8: AUX_ACCESS_DATA;
    }
}

/// The security of one open, until it is over.
pub(crate) struct Security(Foreign<OPEN_SECURITY>);

impl Drop for Security {
    fn drop(&mut self) {
        let state = self.state();
        subject::release(state.at(ACCESS_STATE::SubjectSecurityContext));
        if let Some(descriptor) = state.ptr(ACCESS_STATE::SecurityDescriptor) {
            pool::free::<Bytes>(descriptor);
        }
        pool::free(self.0);
    }
}

impl Security {
    pub(crate) fn new(frame: &Frame, spec: &CreateSpec) -> NtResult<Self> {
        let mapping = &ObjectType::File.routines().mapping;
        let desired = check::map_generic(spec.access, mapping);
        let block = pool::zeroed::<OPEN_SECURITY>(pool::tag(b"IoSc"));
        let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
        let (context, state) = (block.at(OPEN_SECURITY::Context), block.at(OPEN_SECURITY::State));
        subject::create_access_state(frame, state, block.at(OPEN_SECURITY::Aux), desired, mapping);
        context.set_ptr(IO_SECURITY_CONTEXT::AccessState, Some(state));
        context.set(IO_SECURITY_CONTEXT::DesiredAccess, desired);
        context.set(IO_SECURITY_CONTEXT::FullCreateOptions, spec.options);
        let security = Self(block);
        if let Some(given) = &spec.security {
            Descriptor::parse(given)?;
            let copy = pool::allocate(given.len(), pool::tag(b"SeSd"), pool::PoolKind::Paged);
            let copy = copy.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
            state.set_ptr(ACCESS_STATE::SecurityDescriptor, Some(copy));
            Region::pool(copy, given.len()).write_from(given).map_err(violation)?;
        }
        if spec.options & FILE_OPEN_FOR_BACKUP_INTENT != 0 {
            let checked = frame.mode() == Mode::User || spec.attributes & OBJ_FORCE_ACCESS_CHECK != 0;
            security.back_up(desired, checked, mapping);
        }
        Ok(security)
    }

    /// NT-SEC-16: who may back up reads, who may restore writes, whatever descriptors say.
    fn back_up(&self, desired: u32, checked: bool, mapping: &GenericMapping) {
        let state = self.state();
        let Some(token) = subject::token_in(state.at(ACCESS_STATE::SubjectSecurityContext)).filter(|_| checked) else {
            return;
        };
        let mut rights = 0;
        if token.has_privilege(SE_BACKUP_PRIVILEGE) {
            rule!(NT_SEC_16);
            rights |= READ_CONTROL | ACCESS_SYSTEM_SECURITY | mapping.read | FILE_TRAVERSE;
        }
        if token.has_privilege(SE_RESTORE_PRIVILEGE) {
            rights |= WRITE_DAC | WRITE_OWNER | ACCESS_SYSTEM_SECURITY | mapping.write | DELETE;
            rights |= FILE_ADD_FILE | FILE_ADD_SUBDIRECTORY;
        }
        let wanted = if desired & MAXIMUM_ALLOWED != 0 { u32::MAX } else { desired };
        state.set(ACCESS_STATE::PreviouslyGrantedAccess, rights & wanted);
        state.set(ACCESS_STATE::RemainingDesiredAccess, desired & !rights);
    }

    fn state(&self) -> Foreign<ACCESS_STATE> {
        self.0.at(OPEN_SECURITY::State)
    }

    pub(crate) fn context(&self) -> Foreign<IO_SECURITY_CONTEXT> {
        self.0.at(OPEN_SECURITY::Context)
    }

    /// What the handle gets: what was granted, and what nobody down the stack looked at.
    pub(crate) fn granted(&self) -> u32 {
        let state = self.state();
        let all = state.get(ACCESS_STATE::PreviouslyGrantedAccess) | state.get(ACCESS_STATE::RemainingDesiredAccess);
        if all & MAXIMUM_ALLOWED != 0 { all & !MAXIMUM_ALLOWED | ObjectType::File.routines().mapping.all } else { all }
    }
}

/// What a device without descriptors is: everybody's (NT-SEC-19).
#[must_use]
pub fn world() -> Descriptor {
    let all = ObjectType::File.routines().mapping.all;
    Descriptor::new(Sid::ADMINISTRATORS, Sid::SYSTEM, Acl::new(vec![Ace::allow(all, &Sid::EVERYONE)]))
}

/// Sends IRP_MJ_QUERY_SECURITY or IRP_MJ_SET_SECURITY and waits.
fn send(
    frame: &Frame,
    opened: &Opened,
    major: u8,
    length: u32,
    fill: impl FnOnce(irp::Irp, irp::Stack),
) -> NtResult<irp::IoStatus> {
    let synchronous = file::is_synchronous(*opened.file);
    let _lock = if synchronous { file::lock(frame, *opened.file).ok() } else { None };
    let packet = irp::allocate(opened.top.get(DEVICE_OBJECT::StackSize))?;
    packet.set(IRP::Flags, IRP_SYNCHRONOUS_API);
    packet.set(IRP::RequestorMode, frame.mode() as u8);
    packet.set_addr(IRP::Tail_Thread, frame.thread.object());
    packet.set_ptr(IRP::Tail_OriginalFileObject, Some(*opened.file));
    let stack = irp::next(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, major);
    stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(*opened.file));
    fill(packet, stack);
    let system = System::of(&frame.kernel);
    let span = system.begin(|| Request { length, ..file::request(frame, *opened.file, major) });
    irp::set_span(packet, span);
    let result = file::send_for_result(frame, packet, opened.top);
    system.end(span, result.status, result.information);
    Ok(result)
}

/// The file behind a handle, which must have all of `access`; other objects have no descriptor.
fn open(frame: &Frame, handle: Handle, access: u32) -> NtResult<Opened> {
    match event::reference(frame, handle, ObjectType::File, access, frame.mode()) {
        Err(error) if error.status() == NtStatus::OBJECT_TYPE_MISMATCH => NtStatus::NO_SECURITY_ON_OBJECT.fail(),
        Err(error) => Err(error),
        Ok(_) => service::open(frame, handle, 0),
    }
}

/// NtQuerySecurityObject: the parts that `information` names, self-relative; `needed` gets their length.
#[must_use]
pub fn nt_query_security_object(
    frame: &Frame,
    handle: Handle,
    information: u32,
    buffer: Addr,
    length: u32,
    needed: Addr,
) -> NtStatus {
    observe::service(frame, "NtQuerySecurityObject", IRP_MJ_QUERY_SECURITY, handle, || {
        query(frame, handle, information, buffer, length, needed)
    })
}

fn query(
    frame: &Frame,
    handle: Handle,
    information: u32,
    buffer: Addr,
    length: u32,
    needed: Addr,
) -> NtResult<NtStatus> {
    let kernel = frame.mode() == Mode::Kernel;
    let told = needed.region(4, kernel).map_err(violation)?;
    let out = buffer.region(length as usize, kernel).map_err(violation)?;
    if !kernel {
        told.probe_write().and_then(|()| out.probe_write()).map_err(violation)?;
    }
    let opened = open(frame, handle, access_to_query(information))?;
    let result = send(frame, &opened, IRP_MJ_QUERY_SECURITY, length, |packet, stack| {
        packet.set_addr(IRP::UserBuffer, buffer.value());
        stack.set(IO_STACK_LOCATION::QuerySecurity_SecurityInformation, information);
        stack.set(IO_STACK_LOCATION::QuerySecurity_Length, length);
    })?;
    let (status, count) = match result.status {
        NtStatus::INVALID_DEVICE_REQUEST => {
            rule!(NT_SEC_19);
            let world = world().select(information).bytes();
            let fits = world.len() <= out.len();
            if fits {
                out.sub(0, world.len()).write_from(&world).map_err(violation)?;
            }
            (if fits { NtStatus::SUCCESS } else { NtStatus::BUFFER_TOO_SMALL }, world.len() as u64)
        }
        // NT-SEC-01: a file system says BUFFER_OVERFLOW, its caller hears BUFFER_TOO_SMALL.
        NtStatus::BUFFER_OVERFLOW | NtStatus::BUFFER_TOO_SMALL => (NtStatus::BUFFER_TOO_SMALL, result.information),
        status => (status, result.information),
    };
    if status.is_success() || status == NtStatus::BUFFER_TOO_SMALL {
        told.store::<u32>(0, count as u32).map_err(violation)?;
    }
    Ok(status)
}

/// NtSetSecurityObject: `descriptor` is read once, by `read`, in either form.
#[must_use]
pub fn nt_set_security_object(
    frame: &Frame,
    handle: Handle,
    information: u32,
    descriptor: u64,
    read: Reader<'_>,
) -> NtStatus {
    observe::service(frame, "NtSetSecurityObject", IRP_MJ_SET_SECURITY, handle, || {
        set(frame, handle, information, descriptor, read)
    })
}

fn set(frame: &Frame, handle: Handle, information: u32, descriptor: u64, read: Reader<'_>) -> NtResult<NtStatus> {
    if descriptor == 0 {
        rule!(NT_SEC_05);
        return NtStatus::ACCESS_VIOLATION.fail();
    }
    let opened = open(frame, handle, access_to_set(information))?;
    let given = Descriptor::capture(descriptor, read)?;
    let lacks = |bit: u32, part: Option<Sid>| information & bit != 0 && part.is_none();
    if lacks(OWNER_SECURITY_INFORMATION, given.owner) || lacks(GROUP_SECURITY_INFORMATION, given.group) {
        return NtStatus::INVALID_SECURITY_DESCR.fail();
    }
    let bytes = given.bytes();
    let copy = system_buffer(bytes.len())?;
    copy.region().write_from(&bytes).map_err(violation)?;
    let result = send(frame, &opened, IRP_MJ_SET_SECURITY, bytes.len() as u32, |_, stack| {
        stack.set(IO_STACK_LOCATION::SetSecurity_SecurityInformation, information);
        stack.set_ptr(IO_STACK_LOCATION::SetSecurity_SecurityDescriptor, Some(copy.block()));
    })?;
    match result.status {
        NtStatus::INVALID_DEVICE_REQUEST => Ok(NtStatus::SUCCESS), // NT-SEC-19
        status => Ok(status),
    }
}

/// Reads at addresses that a user gave.
pub fn user_reader(at: u64, length: usize) -> NtResult<Vec<u8>> {
    Addr::user(at).region(length, false).and_then(Region::to_vec).map_err(violation)
}
