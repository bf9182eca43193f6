//! IRP_MJ_LOCK_CONTROL, and what byte-range locks forbid.
//!
//! Room: drivers/memfs. IRQL: PASSIVE_LEVEL. Locks: none of ours; the file lock's own while it is asked.
//! Source: FsRtlProcessFileLock page; rules NT-L-01 to NT-L-11, NT-R-07, NT-O-15, NT-K-07. Paging I/O is never asked (NT-L-10).

use crate::node::{Node, open_of};
use crate::set_position;
use nt_abi::io::FILE_OBJECT;
use nt_abi::mm::{FSRTL_ADVANCED_FCB_HEADER, FastIoIsNotPossible, FastIoIsPossible, FastIoIsQuestionable};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_fsrtl::{filelock, oplock};
use nt_io::driver::{Answer, FastCall, OwnedIrp};
use nt_trace::rule;
use std::sync::atomic::Ordering;

/// Takes, waits for or drops a lock.
pub(crate) fn control(irp: OwnedIrp) -> Answer {
    let open = match irp.file().map(open_of) {
        Some(Ok(open)) if !open.node.is_directory() => open,
        _ => return irp.complete(NtStatus::INVALID_PARAMETER, 0),
    };
    let status = filelock::process(open.node.lock(), irp.into_irp(), 0);
    tell(&open.node);
    OwnedIrp::answered(status)
}

/// Shows in the FCB header whether fast I/O has to ask first.
pub(crate) fn tell(node: &Node) {
    if !oplock::is_fast_io_possible(node.oplock()) {
        rule!(NT_OPL_12);
        node.header().set(FSRTL_ADVANCED_FCB_HEADER::IsFastIoPossible, FastIoIsNotPossible);
        return;
    }
    let asks = filelock::any(node.lock())
        || node.freezers.load(Ordering::Relaxed) != 0
        || node.sparse.load(Ordering::Relaxed)
        || node.protected.load(Ordering::Relaxed);
    let possible = match (node.is_directory(), asks) {
        (true, _) => FastIoIsNotPossible,
        (false, true) => FastIoIsQuestionable,
        (false, false) => FastIoIsPossible,
    };
    node.header().set(FSRTL_ADVANCED_FCB_HEADER::IsFastIoPossible, possible);
}

/// As [`tell`], for a call that fast I/O was refused to: the oplock that it was refused for may be gone since.
#[cold]
pub(crate) fn tell_again(file: Foreign<FILE_OBJECT>) {
    if let Ok(open) = open_of(file) {
        tell(&open.node);
    }
}

/// The last handle of a file object is gone, and its locks with it (NT-L-11).
pub(crate) fn cleanup(node: &Node, file: Foreign<FILE_OBJECT>) {
    let _none = filelock::unlock_all(node.lock(), file.addr(), None, None, 0);
    tell(node);
}

/// May this packet write from `start`? A refusal has moved the position there already (NT-O-15 b).
pub(crate) fn may_write(node: &Node, irp: &OwnedIrp, start: u64) -> NtResult<()> {
    if filelock::packet_may_write_at(node.lock(), irp.irp(), start) {
        return Ok(());
    }
    if let Some(file) = irp.file() {
        rule!(NT_O_15);
        set_position(file, start as i64);
    }
    rule!(NT_L_06);
    NtStatus::FILE_LOCK_CONFLICT.fail()
}

/// May this packet read?
pub(crate) fn may_read(node: &Node, irp: &OwnedIrp) -> NtResult<()> {
    if filelock::packet_may_read(node.lock(), irp.irp()) {
        return Ok(());
    }
    rule!(NT_R_07);
    NtStatus::FILE_LOCK_CONFLICT.fail()
}

/// May this fast call write from `start`? A refusal sends a packet, which fails for the caller.
pub(crate) fn may_fast_write(node: &Node, call: &FastCall, start: u64) -> NtResult<()> {
    let lock = node.lock();
    let unlocked = !filelock::any(lock)
        || filelock::may_write(lock, start, u64::from(call.length), filelock::caller(call.file, call.key));
    let protected = node.protected.load(Ordering::Relaxed);
    if unlocked && !protected && oplock::is_fast_io_possible(node.oplock()) {
        return Ok(());
    }
    rule!(NT_K_07);
    NtStatus::FILE_LOCK_CONFLICT.fail()
}

/// May this fast call read?
pub(crate) fn may_fast_read(node: &Node, call: &FastCall) -> bool {
    let lock = node.lock();
    !filelock::any(lock)
        || filelock::may_read(lock, call.offset as u64, u64::from(call.length), filelock::caller(call.file, call.key))
}
