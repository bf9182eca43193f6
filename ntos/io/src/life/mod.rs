//! What drivers do to requests besides sending them: parts of one request, and other processes to make them in.
//!
//! Room: ntos/io. IRQL: packets at <= DISPATCH_LEVEL, attaching at PASSIVE_LEVEL. Locks: none.
//! Source: IoMakeAssociatedIrp, KeStackAttachProcess pages; rules NT-E-03, NT-M-01. The exported names are in [`exports`].

use crate::irp::{self, Irp};
use nt_abi::NtResult;
use nt_abi::io::{IRP, IRP_ASSOCIATED_IRP};
use nt_ke::Entered;
use nt_ps::Process;
use std::cell::RefCell;
use std::sync::Arc;

pub mod exports;

/// IoMakeAssociatedIrp: a packet that is a part of another. The driver counts the parts in the master's
/// AssociatedIrp.IrpCount; the master is completed with the last of them.
pub fn make_associated(master: Irp, stack_size: i8) -> NtResult<Irp> {
    let packet = irp::allocate(stack_size)?;
    packet.or32(IRP::Flags, IRP_ASSOCIATED_IRP);
    packet.set_addr(IRP::AssociatedIrp_SystemBuffer, master.addr());
    packet.set_addr(IRP::Tail_Thread, master.addr_at(IRP::Tail_Thread));
    Ok(packet)
}

thread_local! {
    /// What this host thread's drivers have attached to, by the address of their KAPC_STATE.
    static ATTACHED: RefCell<Vec<(u64, Entered)>> = const { RefCell::new(Vec::new()) };
}

/// KeStackAttachProcess: until [`detach`] with the same `state`, the thread's handles are those of `process`.
pub fn attach(process: &Arc<Process>, state: u64) {
    let entered = nt_ps::process::attach(&nt_ke::current(), process);
    ATTACHED.with_borrow_mut(|attached| attached.push((state, entered)));
}

/// KeUnstackDetachProcess.
///
/// # Panics
/// When `state` is not that of the last attach (bug check 0x5 INVALID_PROCESS_ATTACH_ATTEMPT).
pub fn detach(state: u64) {
    let last = ATTACHED.with_borrow_mut(Vec::pop);
    let of_last = last.as_ref().is_some_and(|(own, _)| *own == state);
    assert!(of_last, "bug check 0x5 INVALID_PROCESS_ATTACH_ATTEMPT: detached with another state than the last attach");
}
