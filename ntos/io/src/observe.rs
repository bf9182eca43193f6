//! What the I/O manager tells about each request, to whoever listens (trace, report, verifier).
//!
//! Room: ntos/io (owns the trait; `nt_machine` registers the listener). IRQL: any. Locks: none of ours.
//! When nobody listens a request costs one relaxed load.

use crate::irp::{self, IRP_PREFIX, Irp};
use crate::system::System;
use nt_abi::io::FILE_OBJECT;
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::Foreign;
use nt_ke::Frame;
use nt_ob::Handle;
use nt_ob::types::ObjectType;
use nt_trace::{Collector, RuleId};
use std::sync::Arc;

/// A request as it starts.
#[derive(Debug)]
pub struct Request {
    /// IRP_MJ_*.
    pub major: u8,
    /// The file.
    pub file: Option<Foreign<FILE_OBJECT>>,
    /// Starting offset, -1 for an append.
    pub offset: i64,
    /// Length in bytes.
    pub length: u32,
    /// IRP flags; 0 for fast I/O.
    pub flags: u32,
    /// Taken by a fast I/O routine.
    pub fast: bool,
    /// Made by a filter.
    pub generated: bool,
    /// Process id of the caller.
    pub process: u64,
}

impl Request {
    /// A request of the caller's that says no more than its file and its major.
    pub(crate) fn of(frame: &Frame, file: Option<Foreign<FILE_OBJECT>>, major: u8) -> Self {
        Self {
            major,
            file,
            offset: 0,
            length: 0,
            flags: 0,
            fast: false,
            generated: false,
            process: nt_ps::current_process(frame).id(),
        }
    }
}

/// A listener.
pub trait Observer: Send + Sync {
    /// A request starts; the result names it in [`Observer::end`]. 0 means "not interested".
    fn begin(&self, request: &Request) -> u64;
    /// The request ended.
    fn end(&self, span: u64, status: NtStatus, information: u64);
    /// A rule was broken. Severity: "violation" when the request went on or something was lost, so that the run fails;
    /// "warning" when the call was refused by a status that its caller sees; "note" for what is merely worth knowing.
    fn finding(&self, rule: &str, severity: &str, driver: &str, message: &str);
    /// A pre- or post-operation callback ran for the request.
    fn hop(&self, span: u64, hop: &Hop<'_>);
    /// A driver says what is special about the request.
    fn mark(&self, _span: u64, _mark: &'static str) {}
    /// Rules were met for a request that may be under way still, after the thread that started it went on.
    fn rules(&self, _span: u64, _rules: &[RuleId]) {}
    /// A service was refused before a request was made of it; the name that was asked for, where there was no file yet.
    fn refused(&self, _service: &str, _name: &[u16], _request: &Request, _status: NtStatus) {}
}

/// A call of a service, from its first check on: collects the rules that it meets, when the listener asks for them.
pub struct Scope<'a> {
    system: &'a System,
    collector: Option<Collector>,
}

impl std::fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scope of request {}", nt_trace::span())
    }
}

impl<'a> Scope<'a> {
    /// Starts.
    #[inline]
    #[must_use]
    pub fn start(frame: &'a Frame) -> Self {
        let system = System::of(&frame.kernel);
        Self { system, collector: nt_trace::asked().then(Collector::start) }
    }

    /// Says how the service ended: an error before any request was started is an event of its own.
    #[inline]
    pub fn end(self, service: &str, status: NtStatus, request: impl FnOnce() -> Request) {
        self.end_named(service, status, &[], request);
    }

    /// The same for a service that names a file.
    #[inline]
    pub fn end_named(self, service: &str, status: NtStatus, name: &[u16], request: impl FnOnce() -> Request) {
        if self.collector.is_some() && status.is_error() && !nt_trace::was_named() {
            self.system.observer(|observer| observer.refused(service, name, &request(), status));
        }
    }
}

/// Runs a service about a file that is named by a handle, in a scope of its own.
#[inline]
pub(crate) fn service(
    frame: &Frame,
    name: &str,
    major: u8,
    handle: Handle,
    body: impl FnOnce() -> NtResult<NtStatus>,
) -> NtStatus {
    let scope = Scope::start(frame);
    let status = body().unwrap_or_else(NtError::status);
    scope.end(name, status, || by_handle(frame, major, handle));
    status
}

/// What is told of a call that no request came of.
#[cold]
pub(crate) fn by_handle(frame: &Frame, major: u8, handle: Handle) -> Request {
    let file = crate::event::reference(frame, handle, ObjectType::File, 0, frame.mode()).ok();
    Request::of(frame, file.map(|(object, _)| object.body().view()), major)
}

impl Drop for Scope<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.collector.is_some() {
            late(self.system);
        }
    }
}

/// The packet may end on another thread from here on: what was met is told before it can.
#[inline]
pub(crate) fn pending() {
    if nt_trace::asked() {
        late(System::of(&nt_ke::current().kernel));
    }
}

/// The request pended: what was met since it was started is told now.
#[cold]
fn late(system: &System) {
    let (span, rules) = (nt_trace::span(), nt_trace::so_far());
    if span != 0 && !rules.is_empty() {
        system.observer(|observer| observer.rules(span, &rules));
    }
}

/// Collects for a request that this thread did not start, or took over, while it is completed here.
#[inline]
#[must_use]
pub fn completing(packet: Irp) -> Option<Collector> {
    if !nt_trace::asked() {
        return None;
    }
    let span = irp::prefix(packet)?.get(IRP_PREFIX::Span);
    (span != 0 && span != nt_trace::span()).then(|| Collector::start_for(span))
}

/// One callback of one filter.
#[derive(Debug)]
pub struct Hop<'a> {
    /// The filter's name.
    pub filter: &'a str,
    /// Its altitude.
    pub altitude: &'a str,
    /// True for the post-operation callback.
    pub post: bool,
    /// How long it took.
    pub nanoseconds: u64,
    /// What it answered.
    pub verdict: &'a str,
}

/// A shared listener.
pub type SharedObserver = Arc<dyn Observer>;

thread_local! {
    static FAST_SPAN: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Runs a fast I/O call with its span known to the callbacks below.
pub fn with_fast_span<R>(span: u64, body: impl FnOnce() -> R) -> R {
    let was = FAST_SPAN.replace(span);
    let result = body();
    FAST_SPAN.set(was);
    result
}

/// Returns the span of the fast I/O call that this thread is in, 0 outside of one.
#[must_use]
pub fn fast_span() -> u64 {
    FAST_SPAN.get()
}
