//! Opening and creating: `NtCreateFile`, `NtOpenFile`.
//!
//! Room: ntos/io. Called by: `exports`, doors. IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: ZwCreateFile page; rules NT-A-01 to NT-A-19. Names are UTF-16; a relative name starts at RootDirectory.

use crate::device::{self, Device};
use crate::ecp::{Carried, EcpList};
use crate::fast::{self, QueryOpen};
use crate::info::class;
use crate::irp::{self, IoStatus};
use crate::observe::{Request, Scope};
use crate::reparse::{self, Promise, Restart};
use crate::security::Security;
use crate::system::System;
use crate::{event, file, observe};
use nt_abi::io::{
    DEVICE_OBJECT, DO_DEVICE_INITIALIZING, FILE_APPEND_DATA, FILE_DELETE_ON_CLOSE, FILE_NO_INTERMEDIATE_BUFFERING,
    FILE_OBJECT, FILE_OPBATCH_BREAK_UNDERWAY, FILE_OPEN_BY_FILE_ID, FILE_RANDOM_ACCESS, FILE_SEQUENTIAL_ONLY,
    FILE_SYNCHRONOUS_IO_ALERT, FILE_SYNCHRONOUS_IO_NONALERT, FILE_WRITE_THROUGH, FO_ALERTABLE_IO, FO_DELETE_ON_CLOSE,
    FO_HANDLE_CREATED, FO_NO_INTERMEDIATE_BUFFERING, FO_OPENED_CASE_SENSITIVE, FO_RANDOM_ACCESS, FO_SEQUENTIAL_ONLY,
    FO_SYNCHRONOUS_IO, FO_WRITE_THROUGH, IO_FORCE_ACCESS_CHECK, IO_OPEN_TARGET_DIRECTORY, IO_STACK_LOCATION,
    IO_STOP_ON_SYMLINK, IRP, IRP_CREATE_OPERATION, IRP_MJ_CREATE, IRP_SYNCHRONOUS_API, SL_CASE_SENSITIVE,
    SL_FORCE_ACCESS_CHECK, SL_OPEN_TARGET_DIRECTORY, SL_STOP_ON_SYMLINK,
};
use nt_abi::ob::{DELETE, OBJ_CASE_INSENSITIVE, OBJ_DONT_REPARSE, OBJ_FORCE_ACCESS_CHECK, OBJ_KERNEL_HANDLE};
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Foreign, Region};
use nt_ex::pool;
use nt_ke::{Frame, Mode};
use nt_ob::access::SYNCHRONIZE;
use nt_ob::types::ObjectType;
use nt_ob::{Handle, ObjectRef, object};
use nt_trace::rule;

/// FILE_DIRECTORY_FILE and FILE_NON_DIRECTORY_FILE (NT-NAM-05).
const BOTH_KINDS: u32 = 0x41;
/// The longest name, in units (NT-NAM-16).
const LONGEST_NAME: usize = 0x7FFE;
const VALID_OPTIONS: u32 = 0x00FF_FFFF;

/// What NtCreateFile is asked for.
#[derive(Clone, Debug)]
pub struct CreateSpec {
    /// DesiredAccess.
    pub access: u32,
    /// The directory or file that `name` is relative to, or 0.
    pub root: Handle,
    /// The name, UTF-16; bytes of a KS pin name ride in it unchanged.
    pub name: Vec<u16>,
    /// OBJ_* flags.
    pub attributes: u32,
    /// FileAttributes.
    pub file_attributes: u32,
    /// ShareAccess.
    pub share: u32,
    /// CreateDisposition.
    pub disposition: u32,
    /// CreateOptions.
    pub options: u32,
    /// AllocationSize, 0 for none.
    pub allocation: i64,
    /// The EA buffer, if any.
    pub ea: Option<Vec<u8>>,
    /// The security descriptor for a new file, self-relative.
    pub security: Option<Vec<u8>>,
    /// SL_OPEN_TARGET_DIRECTORY: the directory of the name is wanted.
    pub target_directory: bool,
    /// IO_STOP_ON_SYMLINK: a symbolic link on the way ends the open with STOPPED_ON_SYMLINK.
    pub stop_on_symlink: bool,
    /// IO_DRIVER_CREATE_CONTEXT.ExtraCreateParameter: the caller's before and after (NT-ECP-04).
    pub ecps: Option<EcpList>,
}

impl Default for CreateSpec {
    fn default() -> Self {
        Self {
            access: 0,
            root: Handle::NULL,
            name: Vec::new(),
            attributes: OBJ_CASE_INSENSITIVE,
            file_attributes: 0,
            share: 7,
            disposition: 1,
            options: 0,
            allocation: 0,
            ea: None,
            security: None,
            target_directory: false,
            stop_on_symlink: false,
            ecps: None,
        }
    }
}

impl CreateSpec {
    /// The Options of IoCreateFileEx, the Flags of FltCreateFileEx: IO_FORCE_ACCESS_CHECK, IO_OPEN_TARGET_DIRECTORY,
    /// IO_STOP_ON_SYMLINK; others have no meaning here.
    pub fn ask(&mut self, options: u32) {
        if options & IO_FORCE_ACCESS_CHECK != 0 {
            self.attributes |= OBJ_FORCE_ACCESS_CHECK;
        }
        self.target_directory |= options & IO_OPEN_TARGET_DIRECTORY != 0;
        self.stop_on_symlink |= options & IO_STOP_ON_SYMLINK != 0;
    }
}

/// An open that goes to a device inside the stack instead of its top (FLT-G-08).
#[derive(Clone, Copy)]
pub struct Below<'a> {
    /// The device.
    pub device: Device,
    /// Told before the create that follows a reparse point.
    pub again: &'a dyn Fn(),
}

/// The checks of user-mode callers (NT-A-08 to NT-A-11).
fn check(spec: &CreateSpec) -> NtResult<()> {
    let synchronous = spec.options & (FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT);
    let both = FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT;
    if spec.options & BOTH_KINDS == BOTH_KINDS {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if spec.options & !VALID_OPTIONS != 0
        || synchronous == both
        || (spec.options & FILE_DELETE_ON_CLOSE != 0 && spec.access & (DELETE | 0x1000_0000) == 0)
    {
        rule!(NT_A_09);
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if synchronous != 0 && spec.access & (SYNCHRONIZE | 0x1000_0000 | 0xE000_0000) == 0 {
        rule!(NT_A_08);
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if spec.options & FILE_NO_INTERMEDIATE_BUFFERING != 0 && spec.access & FILE_APPEND_DATA != 0 {
        rule!(NT_A_10);
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if spec.disposition > 5 {
        rule!(NT_A_18);
        return NtStatus::INVALID_PARAMETER.fail();
    }
    if spec.share & !7 != 0 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    Ok(())
}

fn file_flags(options: u32) -> u32 {
    [
        (FILE_SYNCHRONOUS_IO_NONALERT, FO_SYNCHRONOUS_IO),
        (FILE_SYNCHRONOUS_IO_ALERT, FO_SYNCHRONOUS_IO | FO_ALERTABLE_IO),
        (FILE_NO_INTERMEDIATE_BUFFERING, FO_NO_INTERMEDIATE_BUFFERING),
        (FILE_WRITE_THROUGH, FO_WRITE_THROUGH),
        (FILE_SEQUENTIAL_ONLY, FO_SEQUENTIAL_ONLY),
        (FILE_RANDOM_ACCESS, FO_RANDOM_ACCESS),
        (FILE_DELETE_ON_CLOSE, FO_DELETE_ON_CLOSE),
    ]
    .iter()
    .filter(|(option, _)| options & option != 0)
    .fold(0, |flags, (_, flag)| flags | flag)
}

/// Where an open starts: the device, the name it parses, the file object that the name is relative to.
pub(crate) struct Target {
    pub(crate) device: Device,
    pub(crate) rest: Vec<u16>,
    pub(crate) related: Option<ObjectRef<FILE_OBJECT>>,
}

fn resolve(frame: &Frame, spec: &CreateSpec) -> NtResult<Target> {
    if spec.name.len() > LONGEST_NAME {
        return NtStatus::OBJECT_NAME_INVALID.fail();
    }
    if spec.root != Handle::NULL {
        let (root, _) = event::reference(frame, spec.root, ObjectType::File, 0, frame.mode())?;
        let related: ObjectRef<FILE_OBJECT> = root.retype();
        let device = related.ptr(FILE_OBJECT::DeviceObject).ok_or(NtStatus::INVALID_HANDLE.error())?;
        return Ok(Target { device, rest: spec.name.clone(), related: Some(related) });
    }
    let names = &System::of(&frame.kernel).namespace;
    let found = match spec.attributes & OBJ_DONT_REPARSE {
        0 => names.lookup(&spec.name)?,
        _ => names.lookup_without_links(&spec.name)?,
    };
    if found.kind != ObjectType::Device {
        return NtStatus::OBJECT_TYPE_MISMATCH.fail();
    }
    Ok(Target { device: found.object.body().view(), rest: found.rest, related: None })
}

/// NtCreateFile: returns the handle and the create's {status, Information}.
pub fn nt_create_file(frame: &Frame, spec: &CreateSpec) -> NtResult<(Handle, IoStatus)> {
    create_for(frame, spec).map_err(IoStatus::error)
}

/// As [`nt_create_file`]; a failure says what goes into the caller's status block, if anything does ([`is_told`]).
pub fn create_for(frame: &Frame, spec: &CreateSpec) -> Result<(Handle, IoStatus), IoStatus> {
    let scope = Scope::start(frame);
    let created = create_file(frame, spec);
    let status = created.as_ref().map_or_else(|refused| refused.status, |(_, result)| result.status);
    scope.end_named("NtCreateFile", status, &spec.name, || observe::by_handle(frame, IRP_MJ_CREATE, Handle::NULL));
    created
}

/// The failures that tell the caller's status block: a batch oplock breaks meanwhile (NT-OPL-05), where the attributes are
/// ill-formed (NT-EA-20). The others leave it alone.
#[must_use]
pub const fn is_told(refused: IoStatus) -> bool {
    match refused.status {
        NtStatus::SHARING_VIOLATION => refused.information == FILE_OPBATCH_BREAK_UNDERWAY,
        NtStatus::EA_LIST_INCONSISTENT => true,
        _ => false,
    }
}

fn create_file(frame: &Frame, spec: &CreateSpec) -> Result<(Handle, IoStatus), IoStatus> {
    if frame.mode() == Mode::User {
        check(spec)?;
    }
    let (opened, result, granted) = parse(frame, spec, None)?;
    let kernel = frame.mode() == Mode::Kernel && spec.attributes & OBJ_KERNEL_HANDLE != 0;
    let table = if kernel {
        &nt_ps::process::processes(&frame.kernel).system().handles
    } else {
        &nt_ps::current_process(frame).handles
    };
    let handle = table.insert(&opened.clone().retype::<Bytes>(), granted, spec.attributes)?;
    Ok((handle, result))
}

/// NtDeleteFile: an open with delete-on-close, and its close (NT-DEL-28). A symbolic link is followed (NT-DEL-29).
#[must_use]
pub fn nt_delete_file(frame: &Frame, root: Handle, name: &[u16], attributes: u32) -> NtStatus {
    let spec = CreateSpec {
        access: DELETE,
        root,
        name: name.to_vec(),
        attributes,
        disposition: nt_abi::io::FILE_OPEN,
        options: FILE_DELETE_ON_CLOSE,
        ..CreateSpec::default()
    };
    frame.service(|| match open(frame, &spec, None) {
        Ok((opened, _, _)) => {
            abandon(opened);
            NtStatus::SUCCESS
        }
        Err(refused) => refused.status,
    })
}

/// Opens without a handle. `below`: send the create to this device of the stack instead of the top (FLT-G-08).
///
/// # Errors
/// What the create ends with, and Information where it [tells](is_told) more.
pub fn open(frame: &Frame, spec: &CreateSpec, below: Option<Below<'_>>) -> Result<Opened, IoStatus> {
    let _scope = Scope::start(frame);
    parse(frame, spec, below)
}

/// An open file, how the create ended, the access that was granted.
pub type Opened = (file::FileObject, IoStatus, u32);

fn parse(frame: &Frame, spec: &CreateSpec, below: Option<Below<'_>>) -> Result<Opened, IoStatus> {
    if let Some(ea) = &spec.ea
        && let Err(bad) = crate::ea::check_full(ea)
    {
        return Err(IoStatus::new(NtStatus::EA_LIST_INCONSISTENT, u64::from(bad))); // NT-EA-20
    }
    let target = resolve(frame, spec)?;
    let carried = Carried::begin(spec.ecps)?;
    match attempt(frame, spec, target, below, &carried)? {
        Step::Open(opened, result, granted) => Ok((opened, result, granted)),
        Step::Again(restart) => follow(frame, spec, restart, below, &carried),
    }
}

/// The open met a reparse point: it starts again, from the top and with another name, until it ends.
#[cold]
fn follow(
    frame: &Frame,
    spec: &CreateSpec,
    first: Restart,
    below: Option<Below<'_>>,
    carried: &Carried,
) -> Result<Opened, IoStatus> {
    let original = CreateSpec { options: spec.options & !FILE_OPEN_BY_FILE_ID, ..spec.clone() };
    let mut promise: Option<Promise> = None;
    let mut next = first;
    for _ in 0..reparse::MOST {
        if let Some(below) = below {
            (below.again)();
        }
        promise = next.promise.or(promise).filter(|_| Promise::counts(frame));
        let held_by = promise.map_or(0, |promise| promise.option(&original));
        let spec = CreateSpec { options: original.options | held_by, ..original.clone() };
        match attempt(frame, &spec, next.target, below, carried)? {
            Step::Again(restart) => next = restart,
            Step::Open(opened, result, granted) => {
                if let Some(promise) = promise.filter(|_| held_by == 0)
                    && let Err(error) = promise.check(frame, &spec, *opened, result)
                {
                    abandon(opened);
                    return Err(error.into());
                }
                return Ok((opened, result, granted));
            }
        }
    }
    rule!(NT_REP_23);
    Err(IoStatus::new(NtStatus::REPARSE_POINT_NOT_RESOLVED, 0))
}

enum Step {
    /// With what was granted.
    Open(file::FileObject, IoStatus, u32),
    /// A driver answered STATUS_REPARSE.
    Again(Restart),
}

/// The file object of an open, with what the file system reads of it.
fn file_of(frame: &Frame, spec: &CreateSpec, target: Target) -> NtResult<file::FileObject> {
    if target.device.get(DEVICE_OBJECT::Flags) & DO_DEVICE_INITIALIZING != 0 {
        rule!(NT_M_13);
        return NtStatus::NO_SUCH_DEVICE.fail();
    }
    let opened = file::create(frame, target.device)?;
    let sensitive = if spec.attributes & OBJ_CASE_INSENSITIVE == 0 { FO_OPENED_CASE_SENSITIVE } else { 0 };
    opened.set(FILE_OBJECT::Flags, file_flags(spec.options) | sensitive);
    if let Some(vpb) = target.device.ptr(DEVICE_OBJECT::Vpb) {
        opened.set_ptr(FILE_OBJECT::Vpb, Some(vpb));
    }
    nt_rtl::unicode::store_units(opened.at(FILE_OBJECT::FileName), &target.rest)?;
    if let Some(related) = target.related {
        opened.set_ptr(FILE_OBJECT::RelatedFileObject, Some(related.into_raw()));
    }
    Ok(opened)
}

fn attempt(
    frame: &Frame,
    spec: &CreateSpec,
    target: Target,
    below: Option<Below<'_>>,
    carried: &Carried,
) -> Result<Step, IoStatus> {
    let opened = file_of(frame, spec, target)?;
    let start = below.map(|below| below.device);
    let top = start.or_else(|| device::related(*opened)).ok_or(NtStatus::NO_SUCH_DEVICE.error())?;
    let security = Security::new(frame, spec)?;
    let (result, data) = send_create(frame, spec, &security, (&opened, top), carried)?;
    if result.status == NtStatus::REPARSE {
        let restart = reparse::restart(frame, spec, *opened, result.information, data.as_deref(), below.is_some())?;
        return Ok(Step::Again(restart));
    }
    opened.or32(FILE_OBJECT::Flags, FO_HANDLE_CREATED);
    Ok(Step::Open(opened, result, security.granted()))
}

/// The packet of a create, its first location filled in.
fn packet_of(
    frame: &Frame,
    spec: &CreateSpec,
    security: &Security,
    opened: &file::FileObject,
    top: Device,
) -> NtResult<irp::Irp> {
    let packet = irp::allocate(top.get(DEVICE_OBJECT::StackSize))?;
    packet.set(IRP::Flags, IRP_CREATE_OPERATION | IRP_SYNCHRONOUS_API);
    packet.set(IRP::RequestorMode, frame.mode() as u8);
    packet.set_addr(IRP::Tail_Thread, frame.thread.object());
    packet.set_ptr(IRP::Tail_OriginalFileObject, Some(opened.body()));
    packet.set(IRP::Overlay_AllocationSize, spec.allocation);
    let stack = irp::next(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, IRP_MJ_CREATE);
    let bit = |set: bool, flag: u8| if set { flag } else { 0 };
    let sensitive = bit(spec.attributes & OBJ_CASE_INSENSITIVE == 0, SL_CASE_SENSITIVE);
    let asked = bit(spec.target_directory, SL_OPEN_TARGET_DIRECTORY) | bit(spec.stop_on_symlink, SL_STOP_ON_SYMLINK);
    let forced = bit(spec.attributes & OBJ_FORCE_ACCESS_CHECK != 0, SL_FORCE_ACCESS_CHECK);
    stack.set(IO_STACK_LOCATION::Flags, sensitive | asked | forced);
    stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(opened.body()));
    stack.set_ptr(IO_STACK_LOCATION::Create_SecurityContext, Some(security.context()));
    stack.set(IO_STACK_LOCATION::Create_Options, (spec.disposition << 24) | (spec.options & 0x00FF_FFFF));
    stack.set(IO_STACK_LOCATION::Create_FileAttributes, spec.file_attributes as u16);
    stack.set(IO_STACK_LOCATION::Create_ShareAccess, spec.share as u16);
    stack.set(IO_STACK_LOCATION::Create_EaLength, spec.ea.as_ref().map_or(0, |ea| ea.len() as u32));
    Ok(packet)
}

fn send_create(
    frame: &Frame,
    spec: &CreateSpec,
    security: &Security,
    (opened, top): (&file::FileObject, Device),
    carried: &Carried,
) -> Result<(IoStatus, Option<Vec<u8>>), IoStatus> {
    let system = System::of(&frame.kernel);
    let ea = match &spec.ea {
        None => None,
        Some(bytes) => {
            let block = pool::allocate(bytes.len(), pool::tag(b"IoEa"), pool::PoolKind::NonPaged);
            let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
            let _copied = Region::pool(block, bytes.len()).write_from(bytes);
            Some(block)
        }
    };
    let packet = packet_of(frame, spec, security, opened, top)?;
    packet.set_ptr(IRP::AssociatedIrp_SystemBuffer, ea);
    let span = system.begin(|| Request {
        flags: IRP_CREATE_OPERATION | IRP_SYNCHRONOUS_API,
        ..file::request(frame, opened.body(), IRP_MJ_CREATE)
    });
    irp::set_span(packet, span);
    irp::hold(packet);
    carried.put(packet);
    frame.thread.add_irp(packet.addr()); // it may wait for an oplock, and be cancelled (NT-X-03)
    let result = file::send_for_result(frame, packet, top);
    frame.thread.remove_irp(packet.addr());
    let data = take_reparse_data(packet);
    carried.take(packet);
    irp::release(packet);
    system.end(span, result.status, result.information);
    if let Some(ea) = ea {
        pool::free(ea);
    }
    if !result.status.is_success() {
        return Err(match result.status {
            NtStatus::PENDING => IoStatus::new(NtStatus::UNSUCCESSFUL, 0),
            _ if is_told(result) => result,
            status => IoStatus::new(status, 0),
        });
    }
    Ok((result, data))
}

/// Asks for what a query by name wants without opening the file (NT-QRY-24, NT-QRY-28); `None`: it has to be opened. The packet
/// is a create that nobody completes, and its file object, which no handle ever names, ends here.
pub(crate) fn ask(frame: &Frame, spec: &CreateSpec, class: u32, buffer: Region) -> NtResult<Option<IoStatus>> {
    let _scope = Scope::start(frame);
    if class == class::NETWORK_OPEN {
        rule!(NT_QRY_25)
    } else {
        rule!(NT_QRY_28)
    }
    let opened = file_of(frame, spec, resolve(frame, spec)?)?;
    let Some(top) = device::related(*opened) else { return Ok(None) };
    let security = Security::new(frame, spec)?;
    let packet = packet_of(frame, spec, &security, &opened, top)?;
    irp::advance(packet, -1);
    let call = QueryOpen { packet, class, buffer, device: top };
    let request = || Request {
        flags: IRP_CREATE_OPERATION | IRP_SYNCHRONOUS_API,
        fast: true,
        ..file::request(frame, opened.body(), call.major())
    };
    let taken = fast::observed(frame, request, || fast::query_open(call));
    irp::release(packet);
    match taken.filter(|result| result.status != NtStatus::REPARSE) {
        Some(result) if result.status.is_error() => result.status.fail(),
        taken => Ok(taken),
    }
}

/// What a driver left in the auxiliary buffer of a create: reparse data, which is the I/O manager's to free.
fn take_reparse_data(packet: irp::Irp) -> Option<Vec<u8>> {
    let block = packet.ptr(IRP::Tail_AuxiliaryBuffer)?;
    packet.set_ptr(IRP::Tail_AuxiliaryBuffer, None::<Foreign<Bytes>>);
    let size = pool::size_of_block(block.addr())?;
    let data = Region::pool(block, size).to_vec().ok();
    pool::free(block);
    data
}

/// Sends CLEANUP and CLOSE for a file object that never got a handle (failed insert, FltClose).
pub fn abandon(opened: file::FileObject) {
    if let Some(close) = ObjectType::File.routines().close
        && object::handle_count(opened.body()) == 0
    {
        close(opened.body().view(), nt_ob::handle::Left { anywhere: 0, here: false });
    }
    drop(opened);
}
