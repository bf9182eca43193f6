//! The parameters of one create, from its call to its end: reparse points make several packets of it.
//!
//! Room: ntos/io. Called by: `create`. Touches: the prefix of the create's packets. IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: the remarks of FsRtlAllocateExtraCreateParameterList, IO_DRIVER_CREATE_CONTEXT; rules NT-ECP-04, NT-ECP-05.

use super::{ECP_LIST, EcpList, Header, Violation, drop_ecp, free_list, headers, known, unlink};
use crate::irp::{self, IRP_PREFIX, Irp, PREFIX_CREATE};
use nt_abi::{NtResult, NtStatus};
use nt_trace::rule;
use std::cell::Cell;

/// What a create carries. At its end the caller's list is as it was; what drivers put there is freed, and so is a list
/// that one of them attached.
pub(crate) struct Carried {
    list: Cell<Option<EcpList>>,
    /// What was in the list when the create began; `None`: no list came with the call.
    callers: Option<Vec<Header>>,
}

impl Carried {
    /// Of a create that its caller gave this list. INVALID_PARAMETER for what is none.
    pub(crate) fn begin(given: Option<EcpList>) -> NtResult<Self> {
        let Some(list) = given else { return Ok(Self { list: Cell::new(None), callers: None }) };
        let list = known(list).ok_or(NtStatus::INVALID_PARAMETER.error())?;
        let callers: Vec<Header> = headers(list).collect();
        if callers.is_empty() {
            Violation::Empty.report();
        }
        list.add32(ECP_LIST::Creates, 1);
        Ok(Self { list: Cell::new(Some(list)), callers: Some(callers) })
    }

    /// Hands the list to a packet of the create.
    pub(crate) fn put(&self, packet: Irp) {
        if let Some(prefix) = irp::prefix(packet) {
            prefix.or32(IRP_PREFIX::Kind, PREFIX_CREATE);
            prefix.set_ptr(IRP_PREFIX::Ecps, self.list.get());
        }
    }

    /// Takes it back from a packet that ended, with what a driver attached.
    pub(crate) fn take(&self, packet: Irp) {
        self.list.set(irp::prefix(packet).and_then(|prefix| prefix.ptr(IRP_PREFIX::Ecps)));
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        let Some(list) = self.list.get() else { return };
        list.add32(ECP_LIST::Creates, -1);
        let Some(callers) = self.callers.take() else {
            rule!(NT_ECP_05);
            return free_list(list);
        };
        let ours: Vec<Header> = headers(list).filter(|header| !callers.contains(header)).collect();
        for header in ours {
            unlink(header);
            drop_ecp(header);
        }
    }
}
