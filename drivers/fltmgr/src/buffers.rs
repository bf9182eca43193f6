//! The buffers of an operation: locking the caller's, and the MDLs of swapped ones.
//!
//! Room: drivers/fltmgr. Called by: `exports`, filters written in Rust. IRQL: <= APC_LEVEL, the swapped MDL <= DISPATCH_LEVEL.
//! Locks: the operation's lists of MDLs. Source: FltLockUserBuffer, FltGetSwappedBufferMdlAddress pages; FLT-D-08 to FLT-D-11.

use crate::data::BLOCK;
use crate::operation::Operation;
use crate::parameters;
use nt_abi::flt::*;
use nt_abi::mm::MDL;
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;

/// FltLockUserBuffer: the operation's buffer gets an MDL of locked pages that lives as long as the callback data (FLT-D-11).
pub(crate) fn lock_user_buffer(operation: &Operation) -> NtResult<()> {
    let iopb = operation.block.at(BLOCK::Iopb);
    let decoded = parameters::decode(iopb).filter(|_| !parameters::is_mdl_transfer(iopb));
    let decoded = decoded.ok_or(NtStatus::INVALID_PARAMETER.error())?;
    let (Some(at), Some(length)) = (decoded.mdl, decoded.length) else {
        return NtStatus::INVALID_PARAMETER.fail();
    };
    if iopb.ptr(at).is_some() {
        return Ok(());
    }
    let length = iopb.get(length);
    let address = iopb.addr_at(decoded.buffer);
    if length == 0 || address == 0 {
        return Ok(()); // nothing to lock
    }
    let data = operation.block.at(BLOCK::Data);
    let mut locked = operation.locked.lock();
    let there = locked.iter().copied().find(|mdl| nt_mm::mdl::span(*mdl) == (address, length));
    let mdl = match there {
        Some(mdl) => mdl,
        None => {
            let mdl = nt_mm::mdl::allocate(iopb.region_at(decoded.buffer, length as usize))?;
            let system = data.get(FLT_CALLBACK_DATA::Flags) & FLTFL_CALLBACK_DATA_SYSTEM_BUFFER != 0;
            let kernel = system || data.get(FLT_CALLBACK_DATA::RequestorMode) == 0;
            if let Err(error) = nt_mm::mdl::probe_and_lock(mdl, kernel, decoded.access == parameters::Access::Write) {
                nt_mm::mdl::free(mdl);
                return Err(error);
            }
            locked.push(mdl);
            mdl
        }
    };
    iopb.set_ptr(at, Some(mdl));
    let flags = data.get(FLT_CALLBACK_DATA::Flags);
    if flags & FLTFL_CALLBACK_DATA_POST_OPERATION == 0 {
        data.or32(FLT_CALLBACK_DATA::Flags, FLTFL_CALLBACK_DATA_DIRTY);
    }
    Ok(())
}

/// FltGetSwappedBufferMdlAddress: in a post callback, the MDL that was in effect below (FLT-D-08).
pub(crate) fn swapped(operation: &Operation) -> Option<Foreign<MDL>> {
    let flags = operation.block.at(BLOCK::Data).get(FLT_CALLBACK_DATA::Flags);
    let post = flags & FLTFL_CALLBACK_DATA_POST_OPERATION != 0 && flags & FLTFL_CALLBACK_DATA_FAST_IO_OPERATION == 0;
    if post { *operation.swapped.lock() } else { None }
}

/// FltRetainSwappedBufferMdlAddress: the filter frees the MDL itself (FLT-D-09).
pub(crate) fn retain(operation: &Operation) {
    operation.swapped.lock().take();
}

impl crate::data::CallbackData {
    fn operation(self) -> Option<std::sync::Arc<Operation>> {
        crate::data::block_of(self.data()).and_then(crate::operation::of_block)
    }
    /// FltLockUserBuffer.
    pub fn lock_user_buffer(self) -> NtResult<()> {
        let operation = self.operation().ok_or(NtStatus::INVALID_PARAMETER.error())?;
        lock_user_buffer(&operation)
    }
    /// FltGetSwappedBufferMdlAddress.
    #[must_use]
    pub fn swapped_mdl(self) -> Option<Foreign<MDL>> {
        self.operation().and_then(|operation| swapped(&operation))
    }
    /// FltRetainSwappedBufferMdlAddress.
    pub fn retain_swapped_mdl(self) {
        if let Some(operation) = self.operation() {
            retain(&operation);
        }
    }
}
