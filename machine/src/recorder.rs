//! Listens to the I/O manager: counts for the report, events for the trace.
//!
//! Room: machine. Called by: `nt_io` at each request's start, callback and end. Calls: `report`.
//! IRQL: any. Locks: one shard of live requests, then the totals, then the trace's writer; none is held across a call.
//! A request costs two short critical sections; a machine without a recorder pays one relaxed load.

use crate::perfetto::{Jsonl, TraceSink};
use crate::report::{FilterRow, Finding, ProcessRow, Report, RequestRow};
use crate::statistics::IoStatistics;
use nt_abi::NtStatus;
use nt_abi::io::{FILE_OBJECT, IRP_PAGING_IO};
use nt_cell::Foreign;
use nt_io::observe::{Hop, Observer, Request};
use nt_ke::{Kernel, Mutex};
use nt_trace::{Asking, RuleId};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// Counts of how long things took: 16 steps for each power of two.
struct Histogram {
    counts: Vec<u64>,
    max: u64,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; 64 * 16], max: 0, total: 0 }
    }
}

impl Histogram {
    fn slot(value: u64) -> usize {
        if value < 16 {
            return value as usize;
        }
        let power = 63 - value.leading_zeros() as usize;
        (power - 3) * 16 + ((value >> (power - 4)) & 15) as usize
    }
    /// The largest value of a slot.
    fn value(slot: usize) -> u64 {
        if slot < 16 {
            return slot as u64;
        }
        let power = slot / 16 + 3;
        let step = 1u64 << (power - 4);
        (16 + (slot % 16) as u64) * step + (step - 1)
    }
    fn add(&mut self, value: u64) {
        self.counts[Self::slot(value)] += 1;
        self.max = self.max.max(value);
        self.total += 1;
    }
    fn quantile(&self, of: u64, out_of: u64) -> u64 {
        let wanted = (self.total * of).div_ceil(out_of).max(1);
        let mut seen = 0;
        for (slot, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Self::value(slot).min(self.max);
            }
        }
        self.max
    }
}

/// What is counted together: major, taken by a fast I/O routine, paging I/O.
type Kind = (u8, bool, bool);

#[derive(Default)]
struct RequestTotal {
    bytes: u64,
    statuses: BTreeMap<u32, u64>,
    times: Histogram,
}

#[derive(Default)]
struct Totals {
    requests: BTreeMap<Kind, RequestTotal>,
    filters: BTreeMap<(String, String), FilterRow>,
    findings: Vec<Finding>,
    repeated: HashMap<(String, String, String), usize>,
    /// What ended processes did, by name.
    processes: BTreeMap<String, ProcessRow>,
    /// The machine has ended: no process lives.
    closed: bool,
}

/// Processes of one name are one row; one that did nothing is none.
fn add_row(rows: &mut BTreeMap<String, ProcessRow>, row: &ProcessRow) {
    if row.reads + row.writes + row.others == 0 {
        return;
    }
    let sum = rows.entry(row.name.clone()).or_default();
    sum.name.clone_from(&row.name);
    for (all, one) in [
        (&mut sum.processes, row.processes),
        (&mut sum.reads, row.reads),
        (&mut sum.read_bytes, row.read_bytes),
        (&mut sum.writes, row.writes),
        (&mut sum.write_bytes, row.write_bytes),
        (&mut sum.others, row.others),
    ] {
        *all += one;
    }
}

/// A request under way.
struct Live {
    kind: Kind,
    begun: u64,
    event: Option<Box<Event>>,
}

/// What the trace tells about a request.
struct Event {
    file: String,
    offset: i64,
    length: u32,
    flags: u32,
    generated: bool,
    process: u64,
    thread: u64,
    hops: Vec<serde_json::Value>,
    marks: Vec<&'static str>,
    rules: Vec<RuleId>,
}

impl Event {
    fn new(request: &Request) -> Self {
        Self {
            file: request.file.map(path_of).unwrap_or_default(),
            offset: request.offset,
            length: request.length,
            flags: request.flags,
            generated: request.generated,
            process: request.process,
            thread: thread(),
            hops: Vec::new(),
            marks: Vec::new(),
            rules: nt_trace::so_far(),
        }
    }

    fn met(&mut self, rules: &[RuleId]) {
        for rule in rules {
            if !self.rules.contains(rule) {
                self.rules.push(*rule);
            }
        }
    }
}

/// The thread that this runs on.
fn thread() -> u64 {
    nt_ke::try_current().map_or(0, |frame| frame.thread.id())
}

type Trace = Box<dyn TraceSink>;

/// The listener.
pub struct Recorder {
    next: AtomicU64,
    live: [Mutex<HashMap<u64, Live>>; SHARDS],
    totals: Mutex<Totals>,
    trace: Option<Mutex<Trace>>,
    /// A trace tells the rules that each request met.
    _asking: Option<Asking>,
    lost: AtomicU64,
    kernel: OnceLock<Weak<Kernel>>,
}

const SHARDS: usize = 16;
/// Findings that say the same are counted, not repeated.
const MOST_FINDINGS: usize = 200;

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recorder after {} requests", self.next.load(Ordering::Relaxed) - 1)
    }
}

impl Recorder {
    /// Makes a recorder; `trace` gets one JSON object a line for each request.
    #[must_use]
    pub fn new(trace: Option<Box<dyn Write + Send>>) -> Arc<Self> {
        Self::with_sink(trace.map(|to| Box::new(Jsonl(to)) as Trace))
    }

    /// Makes a recorder whose events go to a sink.
    #[must_use]
    pub fn with_sink(trace: Option<Trace>) -> Arc<Self> {
        Arc::new(Self {
            next: AtomicU64::new(1),
            live: std::array::from_fn(|_| Mutex::new(HashMap::new())),
            totals: Mutex::new(Totals::default()),
            _asking: trace.as_ref().map(|_| Asking::start()),
            trace: trace.map(Mutex::new),
            lost: AtomicU64::new(0),
            kernel: OnceLock::new(),
        })
    }

    pub(crate) fn start(&self, kernel: &Arc<Kernel>) {
        let _second = self.kernel.set(Arc::downgrade(kernel));
    }

    fn now(&self) -> u64 {
        self.kernel.get().and_then(Weak::upgrade).map_or(0, |kernel| kernel.clock.nanoseconds())
    }

    /// Adds what a process did that ended.
    pub(crate) fn add_process(&self, row: &ProcessRow) {
        add_row(&mut self.totals.lock().processes, row);
    }

    /// The machine has ended, all its processes were added.
    pub(crate) fn close_processes(&self) {
        self.totals.lock().closed = true;
    }

    /// The rows of those that ended and of those that live, who moved most bytes first.
    fn processes(&self, totals: &Totals) -> Vec<ProcessRow> {
        let mut rows = totals.processes.clone();
        if let Some(kernel) = self.kernel.get().and_then(Weak::upgrade).filter(|_| !totals.closed) {
            for process in nt_ps::process::processes(&kernel).all() {
                add_row(&mut rows, &IoStatistics::of(&process).row(process.name()));
            }
        }
        let mut rows: Vec<ProcessRow> = rows.into_values().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.read_bytes + row.write_bytes));
        rows
    }

    /// Adds a finding that is not a driver's request: a leak, a filter that attached nowhere.
    pub fn add_finding(&self, finding: Finding) {
        let mut totals = self.totals.lock();
        let key = (finding.rule.clone(), finding.driver.clone(), finding.message.clone());
        if totals.repeated.contains_key(&key) || totals.findings.len() >= MOST_FINDINGS {
            *totals.repeated.entry(key).or_default() += 1;
            return;
        }
        totals.repeated.insert(key, 0);
        totals.findings.push(finding);
    }

    /// Names a filter, so that it is in the report even if no request ever reached it.
    pub fn add_filter(&self, name: &str, altitude: &str) {
        filter_row(&mut self.totals.lock(), name, altitude);
    }

    /// Returns what has been seen so far, and writes out the trace.
    #[must_use]
    pub fn report(&self) -> Report {
        if let Some(trace) = &self.trace
            && let Err(error) = trace.lock().flush()
        {
            self.add_finding(Finding {
                severity: "error".into(),
                message: format!("the trace could not be written: {error}"),
                ..Finding::default()
            });
        }
        let totals = self.totals.lock();
        let request = |(&(major, fast, paging), total): (&Kind, &RequestTotal)| RequestRow {
            major: major_name(major),
            fast,
            paging,
            count: total.times.total,
            bytes: total.bytes,
            statuses: total.statuses.iter().map(|(status, count)| (format!("{status:#010x}"), *count)).collect(),
            p50_ns: total.times.quantile(50, 100),
            p99_ns: total.times.quantile(99, 100),
            max_ns: total.times.max,
        };
        let mut filters: Vec<FilterRow> = totals.filters.values().cloned().collect();
        let altitude = |row: &FilterRow| row.altitude.parse::<f64>().unwrap_or(0.0);
        filters.sort_by(|a, b| altitude(b).total_cmp(&altitude(a)));
        let processes = self.processes(&totals);
        let mut findings = totals.findings.clone();
        for finding in &mut findings {
            let key = (finding.rule.clone(), finding.driver.clone(), finding.message.clone());
            if let Some(times) = totals.repeated.get(&key).filter(|&&times| times > 0) {
                finding.message = format!("{} (and {times} more times)", finding.message);
            }
        }
        let requests = totals.requests.iter().map(request).collect();
        Report { requests, filters, findings, processes, ..Report::default() }
    }

    fn shard(&self, span: u64) -> &Mutex<HashMap<u64, Live>> {
        &self.live[span as usize % SHARDS]
    }

    /// The id and the name of a process, of the host's where it stands for one.
    fn process(&self, id: u64) -> (u64, String) {
        let Some(kernel) = self.kernel.get().and_then(Weak::upgrade) else { return (id, String::new()) };
        let all = nt_ps::process::processes(&kernel).all();
        let process = all.iter().find(|process| process.id() == id);
        process.map_or((id, String::new()), |process| (process.host_id().unwrap_or(id), process.name().to_owned()))
    }

    fn write_event(
        &self,
        op: &str,
        (span, begun, fast): (u64, u64, bool),
        event: &Event,
        status: NtStatus,
        information: u64,
    ) {
        let Some(trace) = &self.trace else { return };
        let (pid, process) = self.process(event.process);
        let rules: Vec<&str> = event.rules.iter().map(|rule| rule.rule().id).collect();
        let line = serde_json::json!({
            "seq": span, "t_ns": begun, "ns": self.now().saturating_sub(begun), "pid": pid,
            "process": process,
            "tid": event.thread, "end_tid": thread(), "op": op, "file": event.file, "offset": event.offset, "length": event.length,
            "flags": event.flags, "status": format!("{:#010x}", status.0), "information": information,
            "fast": fast, "generated": event.generated, "rules": rules, "marks": event.marks, "hops": event.hops,
        });
        if trace.lock().event(&line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn filter_row<'a>(totals: &'a mut Totals, name: &str, altitude: &str) -> &'a mut FilterRow {
    totals.filters.entry((altitude.to_owned(), name.to_owned())).or_insert_with(|| FilterRow {
        name: name.to_owned(),
        altitude: altitude.to_owned(),
        ..FilterRow::default()
    })
}

/// The file's path from the volume's root: the name as opened, behind the names of what it was opened relative to.
fn path_of(file: Foreign<FILE_OBJECT>) -> String {
    let mut parts = Vec::new();
    let mut at = Some(file);
    while let Some(file) = at.filter(|_| parts.len() < 64) {
        parts.push(String::from_utf16_lossy(
            &nt_rtl::unicode::units(file.at(FILE_OBJECT::FileName)).unwrap_or_default(),
        ));
        at = file.ptr(FILE_OBJECT::RelatedFileObject);
    }
    let mut path = String::new();
    for part in parts.iter().rev().filter(|part| !part.is_empty()) {
        if !path.is_empty() && !path.ends_with('\\') && !part.starts_with('\\') {
            path.push('\\');
        }
        path.push_str(part);
    }
    path
}

/// Returns `IRP_MJ_WRITE` for 4.
#[must_use]
pub fn major_name(major: u8) -> String {
    let name = nt_fltmgr::data::major_name(major).map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| format!("IRP_MJ_{major:#04x}"))
}

impl Observer for Recorder {
    fn begin(&self, request: &Request) -> u64 {
        let span = self.next.fetch_add(1, Ordering::Relaxed);
        let event = self.trace.as_ref().map(|_| Box::new(Event::new(request)));
        let kind = (request.major, request.fast, request.flags & IRP_PAGING_IO != 0);
        let live = Live { kind, begun: self.now(), event };
        self.shard(span).lock().insert(span, live);
        span
    }

    fn end(&self, span: u64, status: NtStatus, information: u64) {
        let Some(live) = self.shard(span).lock().remove(&span) else { return };
        let elapsed = self.now().saturating_sub(live.begun);
        let (major, fast, _) = live.kind;
        {
            let mut totals = self.totals.lock();
            let total = totals.requests.entry(live.kind).or_default();
            total.times.add(elapsed);
            *total.statuses.entry(status.0).or_default() += 1;
            if matches!(major, 3 | 4) && !status.is_error() {
                total.bytes += information;
            }
        }
        if let Some(mut event) = live.event {
            if nt_trace::span() == span {
                event.met(&nt_trace::so_far());
            }
            self.write_event(&major_name(major), (span, live.begun, fast), &event, status, information);
        }
    }

    fn finding(&self, rule: &str, severity: &str, driver: &str, message: &str) {
        self.add_finding(Finding {
            rule: rule.to_owned(),
            severity: severity.to_owned(),
            driver: driver.to_owned(),
            message: message.to_owned(),
            place: String::new(),
        });
    }

    fn mark(&self, span: u64, mark: &'static str) {
        let mut shard = self.shard(span).lock();
        if let Some(event) = shard.get_mut(&span).and_then(|live| live.event.as_mut()) {
            event.marks.push(mark);
        }
    }

    fn rules(&self, span: u64, rules: &[RuleId]) {
        if let Some(event) = self.shard(span).lock().get_mut(&span).and_then(|live| live.event.as_mut()) {
            event.met(rules);
        }
    }

    fn refused(&self, service: &str, name: &[u16], request: &Request, status: NtStatus) {
        if self.trace.is_some() {
            let span = self.next.fetch_add(1, Ordering::Relaxed);
            let mut event = Event::new(request);
            if event.file.is_empty() {
                event.file = String::from_utf16_lossy(name);
            }
            self.write_event(service, (span, self.now(), false), &event, status, 0);
        }
    }

    fn hop(&self, span: u64, hop: &Hop<'_>) {
        let now = if self.trace.is_some() { self.now() } else { 0 };
        let major = {
            let mut shard = self.shard(span).lock();
            let live = shard.get_mut(&span);
            live.map(|live| {
                if let Some(event) = &mut live.event {
                    event.hops.push(serde_json::json!({
                        "filter": hop.filter, "altitude": hop.altitude, "phase": if hop.post { "post" } else { "pre" },
                        "t_ns": now.saturating_sub(hop.nanoseconds), "ns": hop.nanoseconds, "verdict": hop.verdict,
                    }));
                }
                live.kind.0
            })
        };
        let mut totals = self.totals.lock();
        let row = filter_row(&mut totals, hop.filter, hop.altitude);
        row.ns += hop.nanoseconds;
        if hop.post {
            row.post += 1;
        } else {
            row.pre += 1;
            if let Some(major) = major {
                *row.by_major.entry(major_name(major)).or_default() += 1;
            }
        }
        match hop.verdict {
            "complete" | "completed" => row.completed += 1,
            "pending" | "pended" => row.pended += 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_at_most_a_sixteenth_too_large() {
        let mut histogram = Histogram::default();
        for value in 1..=100_000 {
            histogram.add(value);
        }
        for (of, exact) in [(50, 50_000), (99, 99_000)] {
            let found = histogram.quantile(of, 100);
            assert!(found >= exact && found <= exact + exact / 16, "{of}: {found}");
        }
        assert_eq!(histogram.quantile(100, 100), 100_000);
    }

    #[test]
    fn every_value_lies_in_its_slot() {
        for shift in 0..64 {
            for value in [
                1u64 << shift,
                (1u64 << shift) | ((1u64 << shift) >> 1),
                (1u64 << shift).wrapping_mul(2).wrapping_sub(1),
            ] {
                let slot = Histogram::slot(value);
                assert!(
                    Histogram::value(slot) >= value && (slot == 0 || Histogram::value(slot - 1) < value),
                    "{value}"
                );
            }
        }
    }
}
