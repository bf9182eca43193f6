//! I/O request packets: allocation, stack locations, the block in front of our own.
//!
//! Room: ntos/io. IRQL: <= DISPATCH_LEVEL. Locks: none. Source: IoAllocateIrp, IRP pages; rules NT-M-01, NT-M-02,
//! NT-P-02, NT-T-01, NT-T-02.

use crate::ecp::ECP_LIST;
use nt_abi::io::{IO_STACK_LOCATION, IO_STATUS_BLOCK, IRP};
use nt_abi::{NtError, NtResult, NtStatus, Ptr};
use nt_cell::Foreign;
use nt_ex::pool;

nt_abi::layout! {
    /// What we keep in front of an IRP of our own pool.
    pub struct IRP_PREFIX: 0x30 {
        /// Who still needs the packet: the completion and, for a service, the routine that sent it.
        Holders @ 0x00: i32;
        /// [`PREFIX_SERVICE`] and its like.
        Kind @ 0x04: u32;
        /// The observer's number of the request, 0 for none.
        Span @ 0x08: u64;
        /// Where the service and the completion meet: [`STATE_COMPLETED`], [`STATE_LEFT`], [`STATE_DONE`].
        State @ 0x10: i32;
        /// Reserved.
        Spare @ 0x14: i32;
        /// A mark that tells our packets.
        Mark @ 0x18: u64;
        /// Bytes of the whole block.
        Size @ 0x20: u64;
        /// The extra create parameters of a create (`ecp`).
        Ecps @ 0x28: Ptr<ECP_LIST>;
    }
}
/// The packet belongs to a system service: stage 2 tells the caller.
pub const PREFIX_SERVICE: u32 = 1;
/// Stage 2 waits for the service routine when the request was not pended (IRP_DEFER_IO_COMPLETION).
pub const PREFIX_DEFER: u32 = 2;
/// The status block is kernel memory of the caller's: stage 2 reports one that was freed meanwhile (KS-V-03).
pub const PREFIX_CHECK_BLOCK: u32 = 8;
/// The service's wait for a synchronous file is not alertable, whatever the file was opened with (KS-W-20, KS-S-16).
pub const PREFIX_NO_ALERT: u32 = 16;
/// The submitter's completion routine kept the packet: it is the routine's until it completes or frees it (KS-S-23).
pub const PREFIX_KEPT: u32 = 32;
/// The issuing process closed its last handle to the file: a cancelled request tells its caller nothing (NT-Q-14).
pub const PREFIX_CLOSED: u32 = 64;
/// A create of the I/O manager's: an ECP_LIST that is attached to it goes with it (NT-ECP-05).
pub const PREFIX_CREATE: u32 = 128;
/// Completed without a pending mark: stage 2 is the service's.
pub const STATE_COMPLETED: i32 = 1;
/// The dispatch routine returned PENDING: stage 2 is the completion's.
pub const STATE_LEFT: i32 = 2;
/// Stage 2 has run.
pub const STATE_DONE: i32 = 3;
const MARK: u64 = 0x4952_505F_4E54_494F;

/// An IRP.
pub type Irp = Foreign<IRP>;
/// A stack location.
pub type Stack = Foreign<IO_STACK_LOCATION>;

/// The result of a request: final status and Information.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoStatus {
    /// Status.
    pub status: NtStatus,
    /// Information.
    pub information: u64,
}

impl IoStatus {
    /// What a caller without a status block hears of a failure.
    ///
    /// # Panics
    /// For a result that is none.
    #[must_use]
    pub fn error(self) -> NtError {
        self.status.error()
    }

    /// Makes a result.
    #[must_use]
    pub const fn new(status: NtStatus, information: u64) -> Self {
        Self { status, information }
    }
}

/// A failure without a number.
impl From<NtError> for IoStatus {
    fn from(error: NtError) -> Self {
        Self::new(error.status(), 0)
    }
}

/// Allocates and initialises a packet with `stack_size` locations (NT-M-01).
pub fn allocate(stack_size: i8) -> NtResult<Irp> {
    let locations = usize::try_from(stack_size).map_err(|_| NtStatus::INVALID_PARAMETER.error())?;
    let size = IRP::SIZE + locations * IO_STACK_LOCATION::SIZE;
    let block = pool::allocate(IRP_PREFIX::SIZE + size, pool::tag(b"Irp "), pool::PoolKind::NonPaged)
        .ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let prefix = block.view::<IRP_PREFIX>();
    prefix.set(IRP_PREFIX::Mark, MARK);
    prefix.set(IRP_PREFIX::Holders, 1);
    prefix.set(IRP_PREFIX::Size, (IRP_PREFIX::SIZE + size) as u64);
    let irp = prefix.following::<IRP>();
    initialize(irp, size as u16, stack_size);
    irp.set(IRP::AllocationFlags, 0x04);
    Ok(irp)
}

/// IoInitializeIrp on zeroed memory.
pub fn initialize(irp: Irp, size: u16, stack_size: i8) {
    irp.set(IRP::Type, 6);
    irp.set(IRP::Size, size);
    irp.set(IRP::StackCount, stack_size);
    irp.set(IRP::CurrentLocation, stack_size + 1);
    nt_ke::list::initialize(irp.at(IRP::ThreadListEntry));
    irp.set_ptr(IRP::Tail_CurrentStackLocation, Some(location(irp, stack_size + 1)));
}

/// IoReuseIrp: as freshly allocated, with a status (NT-M-02).
pub fn reuse(irp: Irp, status: NtStatus) {
    let (size, count, allocation) = (irp.get(IRP::Size), irp.get(IRP::StackCount), irp.get(IRP::AllocationFlags));
    for word in 0..usize::from(size) / 8 {
        irp.view::<u64word>().element(word).set(u64word::Value, 0);
    }
    initialize(irp, size, count);
    irp.set(IRP::AllocationFlags, allocation);
    if let Some(prefix) = prefix(irp) {
        prefix.set_ptr(IRP_PREFIX::Ecps, None);
    }
    set_status(irp, IoStatus::new(status, 0));
}

nt_abi::layout! {
    /// Eight bytes.
    pub struct u64word: 0x08 {
        /// All of them.
        Value @ 0x00: u64;
    }
}

/// Returns what we keep in front of a packet of ours, `None` for one that a driver laid out itself.
#[must_use]
pub fn prefix(irp: Irp) -> Option<Foreign<IRP_PREFIX>> {
    if irp.get(IRP::AllocationFlags) & 0x04 == 0 {
        return None;
    }
    let prefix = irp.preceding::<IRP_PREFIX>();
    (prefix.get(IRP_PREFIX::Mark) == MARK).then_some(prefix)
}

/// Drops one holder; the last one frees the packet (IoFreeIrp for a packet with one holder).
pub fn release(irp: Irp) {
    release_holds(irp, 1);
}

/// Takes a hold on a packet: it stays readable after its completion, until [`release`].
pub fn hold(irp: Irp) {
    if let Some(prefix) = prefix(irp) {
        prefix.add32(IRP_PREFIX::Holders, 1);
    }
}

/// Notes the observer's number of the request in the packet.
pub fn set_span(irp: Irp, span: u64) {
    if let Some(prefix) = prefix(irp) {
        prefix.set(IRP_PREFIX::Span, span);
    }
}

/// Returns the observer's number of the request, 0 for none.
#[must_use]
pub fn span(irp: Irp) -> u64 {
    prefix(irp).map_or(0, |prefix| prefix.get(IRP_PREFIX::Span))
}

/// Gives up several holds at once.
pub(crate) fn release_holds(irp: Irp, holds: i32) {
    let Some(prefix) = prefix(irp) else { return };
    // Who counts a packet has a hold on it, or finds it on its thread's list, which stage 2 takes it off: where all holds
    // there are ours, nobody adds one, and there is nothing to subtract from.
    if prefix.get(IRP_PREFIX::Holders) == holds || prefix.add32(IRP_PREFIX::Holders, -holds) == holds {
        prefix.set(IRP_PREFIX::Mark, 0);
        pool::free_alone(prefix);
    }
}

/// Returns location `index`, counted from 1 at the bottom (NT-T-02).
#[must_use]
pub fn location(irp: Irp, index: i8) -> Stack {
    irp.following::<IO_STACK_LOCATION>().element(usize::try_from(index - 1).unwrap_or(0))
}

/// IoGetCurrentIrpStackLocation.
///
/// # Panics
/// If the packet has no current location: it was freed or never initialised.
#[must_use]
pub fn current(irp: Irp) -> Stack {
    irp.ptr(IRP::Tail_CurrentStackLocation).expect("an IRP without a current stack location")
}

/// IoGetNextIrpStackLocation.
#[must_use]
pub fn next(irp: Irp) -> Stack {
    location(irp, irp.get(IRP::CurrentLocation) - 1)
}

/// IoSetNextIrpStackLocation / IoSkipCurrentIrpStackLocation: moves the current location by `by`.
pub fn advance(irp: Irp, by: i8) {
    let index = irp.get(IRP::CurrentLocation) + by;
    irp.set(IRP::CurrentLocation, index);
    irp.set_ptr(IRP::Tail_CurrentStackLocation, Some(location(irp, index)));
}

/// IoCopyCurrentIrpStackLocationToNext: all but routine, context and control (NT-M-14).
pub fn copy_current_to_next(irp: Irp) {
    let (from, to) = (current(irp), next(irp));
    for word in 0..7 {
        let value = from.view::<u64word>().element(word).get(u64word::Value);
        to.view::<u64word>().element(word).set(u64word::Value, value);
    }
    to.set(IO_STACK_LOCATION::Control, 0);
}

/// IoMarkIrpPending.
pub fn mark_pending(irp: Irp) {
    crate::observe::pending();
    current(irp).or8(IO_STACK_LOCATION::Control, nt_abi::io::SL_PENDING_RETURNED);
}

/// Reads IoStatus.
#[must_use]
pub fn status(irp: Irp) -> IoStatus {
    let block = irp.at(IRP::IoStatus);
    IoStatus::new(block.get(IO_STATUS_BLOCK::Status), block.get(IO_STATUS_BLOCK::Information))
}

/// Writes IoStatus.
pub fn set_status(irp: Irp, status: IoStatus) {
    let block = irp.at(IRP::IoStatus);
    block.set(IO_STATUS_BLOCK::Status, status.status);
    block.set(IO_STATUS_BLOCK::Information, status.information);
}
