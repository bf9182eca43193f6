//! What the verifier says about stream requests; silent, and free but for one load, while nobody listens.
//!
//! Room: drivers/ks. Called by: `streamio`, `dispatch`, pins. Calls: the machine's listener. IRQL: PASSIVE_LEVEL.
//! Locks: the list of clients that were told, a leaf. Source: ks.md section 23: KS-V-04, KS-V-15; KS-H-12, KS-S-27.

use crate::header::Headers;
use crate::streamio::StreamRequest;
use nt_abi::ks::{KSSTREAM_HEADER_OPTIONSF_TIMEVALID, KSSTREAM_NONPAGED_DATA, KSSTREAM_SYNCHRONOUS, KSSTREAM_WRITE};
use nt_cell::arena;
use nt_ex::pool::{self, PoolKind};
use nt_io::irp::{self, IRP_PREFIX, Irp};
use nt_io::system::System;
use nt_ke::{Frame, Mode, Mutex};
use std::collections::HashSet;
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
    let span = irp::prefix(packet).map_or(0, |prefix| prefix.get(IRP_PREFIX::Span));
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
