//! Extra create parameters (ECPs): what a create takes along for the drivers below its caller.
//!
//! Room: ntos/io. Called by: `create`, `oplock_key`, `exports`, `nt_fltmgr` (Flt names). Calls: cleanup callbacks.
//! Touches: ECP_LIST and the header in front of each context, both opaque to drivers and laid out here; the prefix of a
//! packet. IRQL: <= APC_LEVEL; a list belongs to one create at a time, as its caller's routines do. Locks: none.
//! Source: the FsRtl*ExtraCreateParameter* pages, "Using ECPs to process IRP_MJ_CREATE operations", bug check 0x10C;
//! rules NT-ECP.
//!
//! A caller's list is the caller's before and after the create; what drivers put into it on the way, and a list that they
//! attach to a create without one, go with the create (`operation`).

pub mod exports;
mod operation;

pub(crate) use operation::Carried;

use crate::irp::{self, IRP_PREFIX, Irp, PREFIX_CREATE};
use crate::system::System;
use nt_abi::io::{IO_STACK_LOCATION, IRP_MJ_CREATE};
use nt_abi::ke::{LIST_ENTRY, LOOKASIDE_LIST_EX};
use nt_abi::{Bytes, Code, GUID, NtResult, NtStatus, Ptr};
use nt_cell::{CodePtr, Foreign, Region, callout};
use nt_ex::lists::{self, Lookaside};
use nt_ex::pool::{self, PoolKind};
use nt_ke::list;
use nt_trace::rule;

nt_abi::layout! {
    /// What a PECP_LIST points at.
    pub struct ECP_LIST: 0x18 {
        /// [`LIST_MARK`] while it lives.
        Mark @ 0x00: u32;
        /// Creates on their way that carry it.
        Creates @ 0x04: i32;
        /// The headers.
        Ecps @ 0x08: LIST_ENTRY;
    }
    /// What lies in front of an ECP's context.
    pub struct ECP_HEADER: 0x50 align 16 {
        /// [`ECP_MARK`] while it lives.
        Mark @ 0x00: u32;
        /// Nonzero once a driver acknowledged it.
        Acknowledged @ 0x04: u32;
        /// In the list; no links while it is in none.
        Links @ 0x08: LIST_ENTRY;
        /// EcpType.
        Type @ 0x18: GUID;
        /// The routine that is told before it goes.
        Cleanup @ 0x28: Code;
        /// Where its block came from; null for the pool.
        Lookaside @ 0x30: Ptr<LOOKASIDE_LIST_EX>;
        /// SizeOfContext.
        Size @ 0x38: u32;
    }
}
const LIST_MARK: u32 = u32::from_le_bytes(*b"EcpL");
/// The tag of contexts whose allocator names none.
pub const TAG: u32 = ECP_MARK;
const ECP_MARK: u32 = u32::from_le_bytes(*b"EcpH");

/// An ECP_LIST.
pub type EcpList = Foreign<ECP_LIST>;
/// The context of an ECP: what drivers read and write.
pub type Context = Foreign<Bytes>;
type Header = Foreign<ECP_HEADER>;

/// What an ECP is made with.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// EcpType.
    pub of: GUID,
    /// SizeOfContext.
    pub size: u32,
    /// Which pool it is of.
    pub kind: PoolKind,
    /// PoolTag.
    pub tag: u32,
    /// CleanupCallback: gets the context and its type.
    pub cleanup: Option<CodePtr>,
}

/// An ECP in a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// EcpType.
    pub of: GUID,
    /// The context.
    pub context: Context,
    /// SizeOfContext.
    pub size: u32,
}

/// Parameter 1 of bug check 0x10C FSRTL_EXTRA_CREATE_PARAMETER_VIOLATION, and what we find beside it.
#[derive(Clone, Copy)]
enum Violation {
    NoEcp = 0x1,
    InList = 0x6,
    NoList = 0x11,
    Empty = 0x15,
    OnItsWay = 0,
}

impl Violation {
    /// Windows ends with the bug check; here it is found, and the call does nothing.
    #[cold]
    fn report(self) {
        let what = match self {
            Self::NoEcp => "no ECP, or one that was freed",
            Self::InList => "an ECP was freed that is still in a list",
            Self::NoList => "no ECP_LIST, or one that was freed",
            Self::Empty => "a create was called with an empty ECP_LIST",
            Self::OnItsWay => "an ECP_LIST was freed that a create on its way carries: it goes with the create",
        };
        let text = match self as u32 {
            0 => what.to_owned(),
            code => format!("bug check 0x10C FSRTL_EXTRA_CREATE_PARAMETER_VIOLATION, {code:#x}: {what}"),
        };
        System::of(&nt_ke::current().kernel).finding("NT-ECP-08", "violation", "", &text);
    }
}

fn header(context: Context) -> Option<Header> {
    let header = context.preceding::<ECP_HEADER>();
    if pool::is_pool(header.addr()) && header.get(ECP_HEADER::Mark) == ECP_MARK {
        return Some(header);
    }
    Violation::NoEcp.report();
    None
}

fn known(list: EcpList) -> Option<EcpList> {
    if pool::is_pool(list.addr()) && list.get(ECP_LIST::Mark) == LIST_MARK {
        return Some(list);
    }
    Violation::NoList.report();
    None
}

fn headers(list: EcpList) -> impl Iterator<Item = Header> {
    list::entries(list.at(ECP_LIST::Ecps)).map(|entry| entry.container(ECP_HEADER::Links))
}

/// A GUID in memory that a driver may write.
pub(crate) fn guid_at(block: Region, offset: usize) -> Option<GUID> {
    let mut bytes = [0; 16];
    block.sub(offset, 16).read_to(&mut bytes).ok()?;
    Some(GUID::from_bytes(bytes))
}

fn type_of(header: Header) -> GUID {
    guid_at(Region::pool(header.view(), ECP_HEADER::SIZE), ECP_HEADER::Type.offset()).unwrap_or_default()
}

fn found(header: Header) -> Found {
    Found { of: type_of(header), context: header.following(), size: header.get(ECP_HEADER::Size) }
}

fn is_in_list(header: Header) -> bool {
    header.at(ECP_HEADER::Links).addr_at(LIST_ENTRY::Flink) != 0
}

fn unlink(header: Header) {
    let links = header.at(ECP_HEADER::Links);
    list::remove(links);
    links.set_ptr(LIST_ENTRY::Flink, None);
    links.set_ptr(LIST_ENTRY::Blink, None);
}

/// FsRtlAllocateExtraCreateParameterList; `None` for no memory.
#[must_use]
pub fn allocate_list() -> Option<EcpList> {
    let list = pool::allocate(ECP_LIST::SIZE, LIST_MARK, PoolKind::Paged)?.view::<ECP_LIST>();
    list.set(ECP_LIST::Mark, LIST_MARK);
    list::initialize(list.at(ECP_LIST::Ecps));
    Some(list)
}

/// FsRtlFreeExtraCreateParameterList: the list with all that is in it. One that a create on its way carries stays (NT-ECP-08).
pub fn free_list(list: EcpList) {
    let Some(list) = known(list) else { return };
    if list.get(ECP_LIST::Creates) != 0 {
        return Violation::OnItsWay.report();
    }
    while let Some(header) = headers(list).next() {
        unlink(header);
        drop_ecp(header);
    }
    list.set(ECP_LIST::Mark, 0);
    pool::free(list);
}

/// FsRtlInitExtraCreateParameterLookasideList: a list of blocks for contexts of `size`.
pub fn initialize_lookaside(list: Lookaside, nonpaged: bool, size: u32, tag: u32) {
    let kind = if nonpaged { PoolKind::NonPaged } else { PoolKind::Paged };
    lists::exports::initialize(list, kind as u32, size.saturating_add(ECP_HEADER::SIZE as u32), tag);
}

/// FsRtlAllocateExtraCreateParameter and FsRtlAllocateExtraCreateParameterFromLookasideList: a zeroed context, from the pool
/// where it is larger than the lookaside list's blocks; `None` for no memory.
#[must_use]
pub fn allocate(spec: &Spec, from: Option<Lookaside>) -> Option<Context> {
    let size = ECP_HEADER::SIZE + spec.size as usize;
    let from = from.filter(|list| list.get(LOOKASIDE_LIST_EX::Size) as usize >= size);
    let block = match from {
        Some(list) => lists::exports::take(list)?,
        None => pool::allocate(size, spec.tag, spec.kind)?,
    };
    let region = Region::pool(block, size);
    if from.is_some() {
        region.fill(0).ok()?;
    }
    region.sub(ECP_HEADER::Type.offset(), 16).write_from(&spec.of.to_bytes()).ok()?;
    let header = block.view::<ECP_HEADER>();
    header.set(ECP_HEADER::Mark, ECP_MARK);
    header.set_code(ECP_HEADER::Cleanup, spec.cleanup);
    header.set_ptr(ECP_HEADER::Lookaside, from);
    header.set(ECP_HEADER::Size, spec.size);
    Some(header.following())
}

/// FsRtlFreeExtraCreateParameter. One that is in a list stays there (NT-ECP-08).
pub fn free(context: Context) {
    match header(context) {
        Some(header) if is_in_list(header) => Violation::InList.report(),
        Some(header) => drop_ecp(header),
        None => {}
    }
}

/// Calls the cleanup callback and gives the block back; the ECP is in no list.
fn drop_ecp(header: Header) {
    if let Some(routine) = header.code(ECP_HEADER::Cleanup) {
        rule!(NT_ECP_06);
        let of = header.at(ECP_HEADER::Type);
        // What the callback raises is its driver's affair: the context goes all the same.
        let _raised = callout::call(routine, &[header.following::<Bytes>().addr(), of.addr()]);
    }
    header.set(ECP_HEADER::Mark, 0);
    match header.ptr(ECP_HEADER::Lookaside) {
        Some(list) => lists::free(list, header.view()),
        None => pool::free(header),
    }
}

/// FsRtlInsertExtraCreateParameter: at the end of the list. INVALID_PARAMETER where one of its type is there.
pub fn insert(list: EcpList, context: Context) -> NtStatus {
    let (Some(list), Some(header)) = (known(list), header(context)) else { return NtStatus::INVALID_PARAMETER };
    if is_in_list(header) || find(list, type_of(header)).is_some() {
        return NtStatus::INVALID_PARAMETER;
    }
    list::insert_tail(list.at(ECP_LIST::Ecps), header.at(ECP_HEADER::Links));
    NtStatus::SUCCESS
}

/// FsRtlFindExtraCreateParameter.
#[must_use]
pub fn find(list: EcpList, of: GUID) -> Option<Found> {
    headers(known(list)?).map(found).find(|each| each.of == of)
}

/// FsRtlGetNextExtraCreateParameter: the first one, or the one behind `after`.
#[must_use]
pub fn next(list: EcpList, after: Option<Context>) -> Option<Found> {
    let mut all = headers(known(list)?).map(found);
    match after {
        None => all.next(),
        Some(after) => all.skip_while(|each| each.context != after).nth(1),
    }
}

/// FsRtlRemoveExtraCreateParameter: takes it out; it is the caller's then.
pub fn remove(list: EcpList, of: GUID) -> Option<Found> {
    let header = headers(known(list)?).find(|&header| type_of(header) == of)?;
    unlink(header);
    Some(found(header))
}

/// FsRtlAcknowledgeEcp.
pub fn acknowledge(context: Context) {
    if let Some(header) = header(context) {
        header.set(ECP_HEADER::Acknowledged, 1);
    }
}

/// FsRtlPrepareToReuseEcp: nobody acknowledged it yet.
pub fn prepare_to_reuse(context: Context) {
    if let Some(header) = header(context) {
        header.set(ECP_HEADER::Acknowledged, 0);
    }
}

/// FsRtlIsEcpAcknowledged.
#[must_use]
pub fn is_acknowledged(context: Context) -> bool {
    header(context).is_some_and(|header| header.get(ECP_HEADER::Acknowledged) != 0)
}

/// The place for the list of a packet that is a create.
fn of_create(packet: Irp) -> Option<Foreign<IRP_PREFIX>> {
    let stack = irp::current(packet);
    irp::prefix(packet).filter(|_| stack.get(IO_STACK_LOCATION::MajorFunction) == IRP_MJ_CREATE)
}

/// FsRtlGetEcpListFromIrp: `None` for a create without a list; INVALID_PARAMETER for what is no create.
pub fn of_packet(packet: Irp) -> NtResult<Option<EcpList>> {
    let prefix = of_create(packet).ok_or(NtStatus::INVALID_PARAMETER.error())?;
    Ok(prefix.ptr(IRP_PREFIX::Ecps))
}

/// FsRtlSetEcpListIntoIrp: INVALID_PARAMETER_2 for what is no create, INVALID_PARAMETER_3 where it has a list. From now on the
/// list is the create's; of a packet that a driver made itself it stays that driver's (NT-ECP-05).
pub fn attach(packet: Irp, list: EcpList) -> NtStatus {
    let Some(prefix) = of_create(packet) else { return NtStatus::INVALID_PARAMETER_2 };
    if prefix.ptr(IRP_PREFIX::Ecps).is_some() {
        return NtStatus::INVALID_PARAMETER_3;
    }
    let Some(list) = known(list) else { return NtStatus::INVALID_PARAMETER };
    if prefix.get(IRP_PREFIX::Kind) & PREFIX_CREATE != 0 {
        list.add32(ECP_LIST::Creates, 1);
    }
    prefix.set_ptr(IRP_PREFIX::Ecps, Some(list));
    NtStatus::SUCCESS
}
