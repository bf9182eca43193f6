//! The names of FLTMGR.SYS for communication ports.
//!
//! Room: drivers/fltmgr. Called by: compiled minifilters. IRQL: as each DDI page says. Locks: none.
//! Addresses become typed by `crate::exports`, which answers for them.

use super::Notify;
use crate::exports::{at, bytes, code, filter_of, status, store};
use nt_abi::ob::{OBJ_KERNEL_HANDLE, OBJECT_ATTRIBUTES};
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Foreign, Region, exports};
use nt_ex::pool;
use nt_io::service::violation;

fn create(filter: u64, out: u64, attributes: u64, notify: [u64; 4], most: i32) -> NtResult<NtStatus> {
    let invalid = NtStatus::INVALID_PARAMETER.error();
    let given = at::<OBJECT_ATTRIBUTES>(attributes).ok_or(invalid)?;
    if given.get(OBJECT_ATTRIBUTES::Attributes) & OBJ_KERNEL_HANDLE == 0 {
        return Err(invalid); // FLT-P-01
    }
    let name = nt_rtl::unicode::text(given.ptr(OBJECT_ATTRIBUTES::ObjectName).ok_or(invalid)?);
    let [cookie, connect, disconnect, message] = notify;
    let notify = Notify {
        cookie,
        connect: code(connect).ok_or(invalid)?,
        disconnect: code(disconnect).ok_or(invalid)?,
        message: code(message),
        most,
    };
    let server = super::create(&nt_ke::current(), &filter_of(filter)?, &name, notify)?;
    store(out, server.object.body().addr());
    Ok(NtStatus::SUCCESS)
}

/// The port that a PFLT_PORT variable holds.
fn held(variable: u64) -> Option<Foreign<Bytes>> {
    at(bytes(variable, 8).load::<u64>(0).unwrap_or(0))
}

fn send(variable: u64, buffer: u64, length: u32, reply: u64, reply_length: u64, timeout: u64) -> NtResult<NtStatus> {
    let link = super::client_at(held(variable)).ok_or(NtStatus::PORT_DISCONNECTED.error())?;
    let message = bytes(buffer, length as usize).to_vec().map_err(violation)?;
    let timeout = match timeout {
        0 => None,
        address => Some(bytes(address, 8).load::<i64>(0).map_err(violation)?),
    };
    let room = match (reply, reply_length) {
        (0, _) | (_, 0) => 0,
        (_, address) => bytes(address, 4).load::<u32>(0).map_err(violation)?,
    };
    let answer = match link.send(&nt_ke::current(), message, room, timeout) {
        Ok(answer) => answer,
        Err(status) => return Ok(status),
    };
    if room == 0 {
        return Ok(NtStatus::SUCCESS);
    }
    let fits = answer.len().min(room as usize);
    bytes(reply, fits).write_from(&answer[..fits]).map_err(violation)?;
    bytes(reply_length, 4).store::<u32>(0, fits as u32).map_err(violation)?;
    Ok(if fits < answer.len() { NtStatus::BUFFER_OVERFLOW } else { NtStatus::SUCCESS })
}

fn close_client(variable: u64) {
    if let Some(link) = super::client_at(held(variable)) {
        link.close();
    }
    store(variable, 0);
}

/// A self-relative descriptor that gives SYSTEM and the administrators `access`.
fn descriptor(access: u32) -> Vec<u8> {
    let sids: [&[u8]; 2] =
        [&[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0], &[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0]];
    let mut entries = Vec::new();
    for sid in sids {
        entries.extend([0, 0]); // ACCESS_ALLOWED_ACE_TYPE, no flags
        entries.extend(((8 + sid.len()) as u16).to_le_bytes());
        entries.extend(access.to_le_bytes());
        entries.extend(sid);
    }
    let mut whole = vec![1, 0, 0x04, 0x80]; // revision 1; SE_DACL_PRESENT, SE_SELF_RELATIVE
    for offset in [0_u32, 0, 0, 20] {
        whole.extend(offset.to_le_bytes());
    }
    whole.extend([2, 0]);
    whole.extend(((8 + entries.len()) as u16).to_le_bytes());
    whole.extend([2, 0, 0, 0]);
    whole.extend(entries);
    whole
}

fn build_descriptor(out: u64, access: u32) -> NtResult<NtStatus> {
    let made = descriptor(access);
    let block = pool::allocate(made.len(), pool::tag(b"FMsd"), pool::PoolKind::Paged);
    let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    Region::pool(block, made.len()).write_from(&made).map_err(violation)?;
    store(out, block.addr());
    Ok(NtStatus::SUCCESS)
}

exports! { "fltmgr.sys" =>
    Partial("who may connect is not checked against the descriptor") code FltCreateCommunicationPort(filter: u64, out: u64, attributes: u64, cookie: u64, connect: u64, disconnect: u64, message: u64, most: i32) -> u32 {
        status(create(filter, out, attributes, [cookie, connect, disconnect, message], most))
    }
    Full code FltCloseCommunicationPort(port: u64) {
        if let Some(server) = super::server_at(at(port)) { server.close(&nt_ke::current()); }
    }
    Full code FltCloseClientPort(_filter: u64, variable: u64) { close_client(variable); }
    Full code FltSendMessage(_filter: u64, variable: u64, buffer: u64, length: u32, reply: u64, reply_length: u64, timeout: u64) -> u32 {
        status(send(variable, buffer, length, reply, reply_length, timeout))
    }
    Full code FltBuildDefaultSecurityDescriptor(out: u64, access: u32) -> u32 { status(build_descriptor(out, access)) }
    Full code FltFreeSecurityDescriptor(descriptor: u64) { if let Some(block) = at::<Bytes>(descriptor) { pool::free(block); } }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_default_descriptor_names_two_groups() {
        let made = super::descriptor(0x001F_0001);
        assert_eq!((made.len(), u16::from_le_bytes([made[22], made[23]]) as usize), (72, made.len() - 20));
        assert_eq!(made[32..36], 0x001F_0001_u32.to_le_bytes());
    }
}
