//! What the verifier says about stream requests; silent, and free but for one load, while nobody listens.
//!
//! Room: drivers/ks. Called by: `streamio`, `dispatch`, pins. Calls: the machine's listener. IRQL: PASSIVE_LEVEL.
//! Locks: the lists of clients that were told and of requests that were probed, leaves.
//! Source: ks.md section 23: KS-V-04, KS-V-07 to KS-V-09, KS-V-15; KS-H-12, KS-S-27.

use crate::header::Headers;
use crate::probe;
use crate::streamio::StreamRequest;
use nt_abi::io::IRP;
use nt_abi::ks::{
    KSPROBE_STREAMWRITE, KSSTREAM_HEADER_OPTIONSF_TIMEVALID, KSSTREAM_NONPAGED_DATA, KSSTREAM_SYNCHRONOUS,
    KSSTREAM_WRITE,
};
use nt_abi::mm::{MDL, MDL_PAGES_LOCKED, MDL_PARTIAL, MDL_SOURCE_IS_NONPAGED_POOL};
use nt_cell::{Region, arena};
use nt_ex::pool::{self, PoolKind};
use nt_io::irp::{self, IRP_PREFIX, Irp, PREFIX_SERVICE};
use nt_io::system::System;
use nt_ke::{Frame, Mode, Mutex};
use nt_mm::mdl;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

fn report(frame: &Frame, rule: &str, severity: &str, message: &str) {
    System::of(&frame.kernel).finding(rule, severity, "", message);
}

fn listened(frame: &Frame) -> bool {
    System::of(&frame.kernel).observer(|_| ()).is_some()
}

/// Looks at the arguments of KsStreamIo: nothing of it changes what the call does.
pub(crate) fn stream_request(frame: &Frame, request: &StreamRequest) {
    if !listened(frame) {
        return;
    }
    if request.flags & !(KSSTREAM_WRITE | KSSTREAM_NONPAGED_DATA | KSSTREAM_SYNCHRONOUS) != 0 {
        report(frame, "KS-S-27", "note", "KsStreamIo ignores KSSTREAM_FAILUREEXCEPTION and undefined flags");
    }
    if request.mode == Mode::User {
        return;
    }
    let (at, length) = (request.headers.value(), request.length as usize);
    if length != 0 && pool::kind_of_span(at, length) != Some(PoolKind::NonPaged) {
        let text = "a kernel client's header list is not inside a block of nonpaged pool";
        report(frame, "KS-V-04", "violation", text);
    }
    if request.flags & KSSTREAM_NONPAGED_DATA != 0 && pageable_data(request) {
        report(frame, "KS-V-04", "violation", "KSSTREAM_NONPAGED_DATA is set, and a frame lies in pageable memory");
    }
}

/// A frame in user memory or in paged pool; of an image's or a stack's memory nothing is known.
fn pageable_data(request: &StreamRequest) -> bool {
    let Ok(list) = request.headers.region(request.length as usize, true) else { return false };
    Headers::new(list).map_while(Result::ok).filter(|header| header.extent != 0).any(|header| {
        arena::contains(header.data, header.extent as usize)
            || (pool::is_pool(header.data) && pool::kind_of_block(header.data) == Some(PoolKind::Paged))
    })
}

/// The clients that were told, as {machine, process}.
static TOLD: LazyLock<Mutex<HashSet<(u64, u64)>>> = LazyLock::new(Mutex::default);

/// KS-V-15, and the mark of KS-I-04 in the trace: the list came in the input buffer, as the page has it.
pub(crate) fn list_came_as_input(packet: Irp) {
    let Some(frame) = nt_ke::try_current() else { return };
    let span = irp::span(packet);
    let process = nt_ps::current_process(&frame);
    let system = System::of(&frame.kernel);
    system.observer(|listener| {
        listener.mark(span, "headers-in-input");
        if TOLD.lock().insert((frame.kernel.id(), process.id())) {
            let text = format!("{} (process {}) passes headers in the input buffer", process.name(), process.id());
            listener.finding("KS-V-15", "note", "", &text);
        }
    });
}

/// KS-H-12: a time that cannot be computed is no time.
pub(crate) fn header_time(options: u32, (_, numerator, denominator): (i64, u32, u32)) {
    if options & KSSTREAM_HEADER_OPTIONSF_TIMEVALID != 0
        && (numerator == 0 || denominator == 0)
        && let Some(frame) = nt_ke::try_current()
    {
        let text = "a header says that its time is valid, with a numerator or denominator of 0";
        report(&frame, "KS-H-12", "violation", text);
    }
}

/// What a request's list said when it was probed.
struct Judged {
    list: Region,
    bytes: Vec<u8>,
    write: bool,
    /// The sum of DataUsed.
    used: u64,
    /// Where each header ends.
    ends: Vec<u64>,
}

/// The requests that were probed while somebody listened, by packet.
static JUDGED: LazyLock<Mutex<HashMap<u64, Judged>>> = LazyLock::new(Mutex::default);

/// Remembers a list that was just found good.
pub(crate) fn judged(packet: Irp, flags: u32) {
    let Some(frame) = nt_ke::try_current().filter(|frame| listened(frame)) else { return };
    // Only packets of services are looked at when they end.
    if irp::prefix(packet).is_none_or(|prefix| prefix.get(IRP_PREFIX::Kind) & PREFIX_SERVICE == 0) {
        return;
    }
    let list = probe::list(packet);
    let Ok(bytes) = list.to_vec() else { return };
    let (mut used, mut ends) = (0, Vec::new());
    for header in Headers::new(list).map_while(Result::ok) {
        used += u64::from(header.used);
        ends.push(header.offset as u64 + u64::from(header.size));
    }
    let write = flags & KSPROBE_STREAMWRITE != 0;
    JUDGED.lock().insert(packet.addr(), Judged { list, bytes, write, used, ends });
    System::of(&frame.kernel).inspect(completed);
}

/// Looks at a packet that is complete, before its buffers go.
fn completed(system: &System, packet: Irp) {
    let Some(judged) = JUDGED.lock().remove(&packet.addr()) else { return };
    let result = irp::status(packet);
    let information = result.information;
    let report = |rule, message: &str| system.finding(rule, "violation", "", message);
    if judged.write {
        if judged.list.to_vec().is_ok_and(|now| now != judged.bytes) {
            report("KS-V-07", "the header list of a write request changed before its end");
        }
        if !result.status.is_error() && information > judged.used {
            report("KS-V-08", &format!("a write of {} bytes reports {information}", judged.used));
        }
    } else if !result.status.is_error() && information != 0 && !judged.ends.contains(&information) {
        let length = judged.bytes.len();
        report("KS-V-08", &format!("a read reports {information} of {length} bytes of list: no end of a header"));
    }
    const HELD: u16 = MDL_PAGES_LOCKED | MDL_SOURCE_IS_NONPAGED_POOL | MDL_PARTIAL;
    if mdl::chain(packet.ptr(IRP::MdlAddress)).any(|each| each.get(MDL::MdlFlags) & HELD == 0) {
        report("KS-V-09", "a stream request ended with MDLs that were allocated and never locked");
    }
}
