//! What the I/O manager tells about each request, to whoever listens (trace, report, verifier).
//!
//! Room: ntos/io (owns the trait; `nt_machine` registers the listener). IRQL: any. Locks: none of ours.
//! When nobody listens a request costs one relaxed load.

use nt_abi::NtStatus;
use nt_abi::io::FILE_OBJECT;
use nt_cell::Foreign;
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
