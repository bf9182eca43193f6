//! Extra create parameters of an operation: those of the packet behind the callback data.
//!
//! Room: drivers/fltmgr. Called by: `exports`, filters written in Rust. Calls: `nt_io::ecp`, which has the rest. IRQL:
//! <= APC_LEVEL. Locks: none. Source: FltGetEcpListFromCallbackData, FltSetEcpListIntoCallbackData pages; rule FLT-G-16.

pub mod exports;

use crate::data::{self, BLOCK};
use nt_abi::flt::FLT_CALLBACK_DATA;
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_io::ecp::{self, EcpList};
use nt_io::irp::Irp;

/// The packet of a callback data; none for fast I/O, and for data that is not on its way.
fn packet_of(data: Foreign<FLT_CALLBACK_DATA>) -> Option<Irp> {
    data::block_of(data)?.ptr(BLOCK::Packet)
}

/// FltGetEcpListFromCallbackData: `None` for a create without a list.
///
/// # Errors
/// INVALID_PARAMETER for what is no create by packet.
pub fn list_of(data: Foreign<FLT_CALLBACK_DATA>) -> NtResult<Option<EcpList>> {
    ecp::of_packet(packet_of(data).ok_or(NtStatus::INVALID_PARAMETER.error())?)
}

/// FltSetEcpListIntoCallbackData: the list is the create's from now on. INVALID_PARAMETER_2 for what is no create by packet,
/// INVALID_PARAMETER_3 where it has a list.
pub fn attach(data: Foreign<FLT_CALLBACK_DATA>, list: EcpList) -> NtStatus {
    packet_of(data).map_or(NtStatus::INVALID_PARAMETER_2, |packet| ecp::attach(packet, list))
}
