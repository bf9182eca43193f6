//! KsProbeStreamIrp, KsAllocateExtraData: from a METHOD_NEITHER request to captured headers and locked frames.
//!
//! Room: drivers/ks. Called by: drivers, pins. Calls: `nt_mm`. IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: KsProbeStreamIrp, KsAllocateExtraData pages; rules KS-P-01 to KS-P-25, KS-H-02, KS-H-03.
//! A user caller's list is copied first and judged as a copy; a kernel caller's is used where it lies (KS-P-02).

use crate::header::{BASE, Headers, StreamHeader};
use crate::verify;
use nt_abi::io::{IO_STACK_LOCATION, IRP, IRP_BUFFERED_IO, IRP_DEALLOCATE_BUFFER, IRP_INPUT_OPERATION};
use nt_abi::ks::{
    KSPROBE_ALLOCATEMDL, KSPROBE_ALLOWFORMATCHANGE, KSPROBE_MODIFY, KSPROBE_PROBEANDLOCK, KSPROBE_STREAMWRITE,
    KSPROBE_SYSTEMADDRESS, KSSTREAM_HEADER_OPTIONSF_TYPECHANGED,
};
use nt_abi::mm::{MDL, MDL_PAGES_LOCKED, MDL_SOURCE_IS_NONPAGED_POOL};
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Foreign, Region};
use nt_ex::pool;
use nt_io::irp::{self, Irp};
use nt_io::service::violation;
use nt_mm::mdl;
use nt_trace::rule;

/// KsProbeStreamIrp. It neither completes the request nor sets its status (KS-P-22).
pub fn probe_stream_irp(packet: Irp, flags: u32, header_size: u32) -> NtResult<()> {
    if packet.ptr(IRP::AssociatedIrp_SystemBuffer).is_none() {
        capture(packet, flags, header_size)?; // a second call does not look again (KS-P-05)
        verify::judged(packet, flags);
    }
    if flags & KSPROBE_ALLOCATEMDL != 0 {
        if packet.ptr(IRP::MdlAddress).is_none() {
            describe(packet)?;
        }
        if flags & KSPROBE_PROBEANDLOCK != 0 {
            lock(packet, flags)?; // KS-P-17: not without ALLOCATEMDL
        }
    }
    Ok(())
}

fn length(packet: Irp) -> usize {
    irp::current(packet).get(IO_STACK_LOCATION::DeviceIoControl_OutputBufferLength) as usize
}

/// Returns the list of a probed request.
#[must_use]
pub fn list(packet: Irp) -> Region {
    packet.region_at(IRP::AssociatedIrp_SystemBuffer, length(packet))
}

/// Names a user caller's list, or a kernel caller's, by the requestor mode (KS-P-04).
fn callers_list(packet: Irp, length: usize, write: bool) -> NtResult<Region> {
    if packet.get(IRP::RequestorMode) == 0 {
        return Ok(packet.region_at(IRP::UserBuffer, length));
    }
    let named = Region::user(packet.addr_at(IRP::UserBuffer), length).ok_or(NtStatus::ACCESS_VIOLATION.error())?;
    if write { named.probe_write() } else { named.probe_read() }.map_err(violation)?;
    Ok(named)
}

fn capture(packet: Irp, flags: u32, header_size: u32) -> NtResult<()> {
    let length = length(packet);
    let change = flags & KSPROBE_ALLOWFORMATCHANGE != 0 && length == BASE;
    if length == 0 || (header_size != 0 && !length.is_multiple_of(header_size as usize) && !change) {
        return NtStatus::INVALID_BUFFER_SIZE.fail(); // KS-P-06, KS-P-08
    }
    let reads = flags & KSPROBE_STREAMWRITE == 0;
    let named = callers_list(packet, length, reads || flags & KSPROBE_MODIFY != 0)?;
    if packet.get(IRP::RequestorMode) == 0 {
        judge(named, flags, header_size)?; // KS-P-23
        packet.set_addr(IRP::AssociatedIrp_SystemBuffer, named.addr());
        return Ok(());
    }
    let copy = pool::allocate(length, pool::tag(b"KsSh"), pool::PoolKind::NonPaged);
    let copy = copy.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    let own = Region::pool(copy, length);
    let judged = own.copy_from(named).map_err(violation).and_then(|()| judge(own, flags, header_size));
    if let Err(error) = judged {
        pool::free(copy);
        return Err(error);
    }
    packet.set_ptr(IRP::AssociatedIrp_SystemBuffer, Some(copy));
    let back = if reads { IRP_INPUT_OPERATION } else { 0 };
    rule!(KS_P_03);
    packet.or32(IRP::Flags, IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER | back);
    Ok(())
}

/// Judges every header of a list.
pub(crate) fn judge(list: Region, flags: u32, header_size: u32) -> NtResult<()> {
    for header in Headers::new(list) {
        judge_one(&header?, list.len(), flags, header_size)?;
    }
    Ok(())
}

fn judge_one(header: &StreamHeader, length: usize, flags: u32, header_size: u32) -> NtResult<()> {
    if flags & KSPROBE_STREAMWRITE == 0 {
        if header.used != 0 {
            rule!(KS_P_10);
            return NtStatus::INVALID_BUFFER_SIZE.fail();
        }
        if header.options != 0 {
            rule!(KS_P_11);
            return NtStatus::INVALID_PARAMETER.fail();
        }
    } else {
        if header.used > header.extent {
            rule!(KS_P_09);
            return NtStatus::INVALID_BUFFER_SIZE.fail();
        }
        if header.options & KSSTREAM_HEADER_OPTIONSF_TYPECHANGED != 0 {
            if length != BASE {
                rule!(KS_P_12);
                return NtStatus::INVALID_BUFFER_SIZE.fail();
            }
            return if flags & KSPROBE_ALLOWFORMATCHANGE == 0 {
                NtStatus::INVALID_PARAMETER.fail() // KS-P-13
            } else {
                Ok(())
            };
        }
    }
    if header_size != 0 && header.size != header_size {
        rule!(KS_P_06);
        return NtStatus::INVALID_BUFFER_SIZE.fail();
    }
    Ok(())
}

/// Makes one MDL for each header with a frame, in list order, and chains them (KS-P-15).
pub(crate) fn mdls_of(list: Region) -> NtResult<Option<Foreign<MDL>>> {
    let (mut first, mut last): (Option<Foreign<MDL>>, Option<Foreign<MDL>>) = (None, None);
    for header in Headers::new(list) {
        let made = header.and_then(|header| match header.extent {
            0 => Ok(None), // KS-P-16
            extent => mdl::describe(header.data, extent as usize).map(Some),
        });
        match made {
            Ok(None) => {}
            Ok(Some(made)) => {
                match last {
                    Some(last) => last.set_ptr(MDL::Next, Some(made)),
                    None => first = Some(made),
                }
                last = Some(made);
            }
            Err(error) => {
                free_chain(first);
                return Err(error);
            }
        }
    }
    Ok(first)
}

/// Frees a chain that no packet has.
pub(crate) fn free_chain(first: Option<Foreign<MDL>>) {
    let mut next = first;
    while let Some(mdl) = next {
        next = mdl.ptr(MDL::Next);
        mdl::free(mdl);
    }
}

fn describe(packet: Irp) -> NtResult<()> {
    packet.set_ptr(IRP::MdlAddress, mdls_of(list(packet))?);
    Ok(())
}

/// Locks what is not locked yet; after a failure completion releases what was (KS-P-18 to KS-P-20).
fn lock(packet: Irp, flags: u32) -> NtResult<()> {
    let kernel = packet.get(IRP::RequestorMode) == 0;
    let write = flags & KSPROBE_STREAMWRITE == 0 || flags & KSPROBE_MODIFY != 0;
    for each in mdl::chain(packet.ptr(IRP::MdlAddress)) {
        if each.get(MDL::MdlFlags) & (MDL_PAGES_LOCKED | MDL_SOURCE_IS_NONPAGED_POOL) == 0 {
            mdl::probe_and_lock(each, kernel, write)?;
        }
        if flags & KSPROBE_SYSTEMADDRESS != 0 {
            mdl::map(each)?;
        }
    }
    Ok(())
}

/// A header of a probed request with its frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// The header.
    pub header: StreamHeader,
    /// The locked frame, all of its extent; `None` where there is none.
    pub frame: Option<Region>,
}

/// Walks the headers of a probed request together with their MDLs (KS-P-16).
pub fn frames(packet: Irp) -> impl Iterator<Item = NtResult<Frame>> {
    let mut next = packet.ptr(IRP::MdlAddress);
    Headers::new(list(packet)).map(move |header| {
        let header = header?;
        let mut frame = None;
        if header.extent != 0
            && let Some(mdl) = next
        {
            next = mdl.ptr(MDL::Next);
            frame = Some(mdl::region(mdl)?);
        }
        Ok(Frame { header, frame })
    })
}

/// KsAllocateExtraData: a block with each header followed by `extra` free bytes (KS-P-24).
pub fn allocate_extra_data(packet: Irp, extra: u32) -> NtResult<Foreign<Bytes>> {
    if !extra.is_multiple_of(8) {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let list = list(packet);
    let headers = Headers::new(list).collect::<NtResult<Vec<_>>>()?;
    let size = list.len() + headers.len() * extra as usize;
    let block = pool::allocate(size, pool::tag(b"KsXd"), pool::PoolKind::NonPaged);
    let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    for (index, header) in headers.iter().enumerate() {
        let size_of = header.size as usize;
        let to = Region::pool(block, size).sub(header.offset + index * extra as usize, size_of);
        if let Err(fault) = to.copy_from(list.sub(header.offset, size_of)) {
            pool::free(block);
            return Err(violation(fault));
        }
    }
    Ok(block)
}
