//! The report: what happened, by request type and by filter, and what was found.
//!
//! Room: machine. Called by: `recorder` (makes it), front ends (print it, pass it between processes). Calls: nothing.
//! The JSON form is a contract of the command line: `requests[]`, `filters[]`, `findings[]`, `command{}`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// All requests of one type that took one way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRow {
    /// `IRP_MJ_WRITE` and its like.
    pub major: String,
    /// Taken by a fast I/O routine.
    pub fast: bool,
    /// Paging I/O: the cache manager's own, or pages of a mapping; no program asked for it by this request.
    #[serde(default)]
    pub paging: bool,
    /// How many.
    pub count: u64,
    /// Bytes transferred.
    pub bytes: u64,
    /// How many ended with which status, keyed `0x00000000`.
    pub statuses: BTreeMap<String, u64>,
    /// Half of them took no longer.
    pub p50_ns: u64,
    /// 99 of 100 took no longer.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

/// A filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterRow {
    /// Its name.
    pub name: String,
    /// Its altitude.
    pub altitude: String,
    /// Pre-operation callbacks.
    pub pre: u64,
    /// Post-operation callbacks.
    pub post: u64,
    /// Requests it completed itself.
    pub completed: u64,
    /// Requests it pended.
    pub pended: u64,
    /// Requests whose parameters it changed.
    #[serde(default)]
    pub changed: u64,
    /// Time in its callbacks.
    pub ns: u64,
    /// Callbacks by request type.
    #[serde(default)]
    pub by_major: BTreeMap<String, u64>,
}

/// What the processes of one name did, counted as IO_COUNTERS counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRow {
    /// The program's name when the process was last looked at: one that called exec is counted whole under the later.
    pub name: String,
    /// How many processes.
    pub processes: u64,
    /// Reads that reached a device.
    pub reads: u64,
    /// Bytes that they read.
    pub read_bytes: u64,
    /// Writes that reached a device.
    pub writes: u64,
    /// Bytes that they wrote.
    pub write_bytes: u64,
    /// All other operations.
    pub others: u64,
}

/// A broken rule or a failed check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's id.
    pub rule: String,
    /// `error` or `warning`.
    pub severity: String,
    /// Which driver.
    pub driver: String,
    /// What happened.
    pub message: String,
    /// Where: a file, an address, a line; may be empty.
    #[serde(rename = "where")]
    pub place: String,
}

/// The program that ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRow {
    /// Its words.
    pub argv: Vec<String>,
    /// Its exit code.
    pub exit: i32,
}

/// Checks that drivers printed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// `ok` lines.
    pub ok: u64,
    /// `not ok` lines.
    pub not_ok: u64,
}

/// The report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// By request type.
    pub requests: Vec<RequestRow>,
    /// By filter, highest altitude first.
    pub filters: Vec<FilterRow>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What each program did, who wrote and read most first.
    #[serde(default)]
    pub processes: Vec<ProcessRow>,
    /// The program, where one ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandRow>,
    /// Protections of the host that were in force around the drivers.
    #[serde(default)]
    pub lockdown: Vec<String>,
    /// What the drivers' own checks said.
    #[serde(default)]
    pub checks: Checks,
    /// Which Windows the machine behaved as.
    #[serde(default)]
    pub windows: String,
}

/// STATUS_FLT_DISALLOW_FAST_IO, as rows have it.
const LEFT_TO_A_PACKET: &str = "0xC01C0004";

fn nanoseconds(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{ns} ns"),
        10_000..10_000_000 => format!("{:.1} us", ns as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.1} s", ns as f64 / 1e9),
    }
}

fn bytes(count: u64) -> String {
    match count {
        0..10_240 => format!("{count} B"),
        10_240..10_485_760 => format!("{:.1} KiB", count as f64 / 1024.0),
        10_485_760..10_737_418_240 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}

/// Lines up columns: the first two and the last to the left, the others to the right.
fn table(out: &mut String, rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::from(" ");
        for (at, cell) in row.iter().enumerate() {
            let width = widths[at];
            let _ = if at < 2 || at + 1 == columns {
                write!(line, " {cell:<width$}")
            } else {
                write!(line, " {cell:>width$}")
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

impl Report {
    /// Returns whether anything was found that makes a run fail: all but notes and warnings.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.findings.iter().any(|finding| !matches!(finding.severity.as_str(), "note" | "warning"))
    }

    /// Returns the report for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        if let Some(command) = &self.command {
            let _ = writeln!(out, "ntio: {} exited with {}", command.argv.join(" "), command.exit);
        }
        let mut rows = vec![words(&["request", "by", "count", "bytes", "p50", "p99", "max", "status"])];
        for row in &self.requests {
            let mut statuses: Vec<_> = row.statuses.iter().collect();
            statuses.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            // What a fast I/O routine leaves to a packet is no answer: the packet's row has that.
            let name = |status: &str| match status {
                code if row.fast && code.eq_ignore_ascii_case(LEFT_TO_A_PACKET) => "left to a packet".to_owned(),
                _ => name_of(status),
            };
            let statuses: Vec<String> =
                statuses.iter().map(|(status, count)| format!("{} {count}", name(status))).collect();
            rows.push(vec![
                row.major.clone(),
                match (row.fast, row.paging) {
                    (true, _) => "fast",
                    (false, true) => "paging",
                    (false, false) => "irp",
                }
                .to_owned(),
                row.count.to_string(),
                bytes(row.bytes),
                nanoseconds(row.p50_ns),
                nanoseconds(row.p99_ns),
                nanoseconds(row.max_ns),
                statuses.join(", "),
            ]);
        }
        table(&mut out, &rows);
        if !self.filters.is_empty() {
            out.push('\n');
            let mut rows =
                vec![words(&["filter", "altitude", "pre", "post", "completed", "pended", "changed", "time", "writes"])];
            for row in &self.filters {
                rows.push(vec![
                    row.name.clone(),
                    row.altitude.clone(),
                    row.pre.to_string(),
                    row.post.to_string(),
                    row.completed.to_string(),
                    row.pended.to_string(),
                    row.changed.to_string(),
                    nanoseconds(row.ns),
                    row.by_major.get("IRP_MJ_WRITE").copied().unwrap_or(0).to_string(),
                ]);
            }
            table(&mut out, &rows);
        }
        self.processes_text(&mut out);
        out.push('\n');
        if self.findings.is_empty() {
            out.push_str("  no findings\n");
        }
        for finding in &self.findings {
            let rule = if finding.rule.is_empty() { String::new() } else { format!(" [{}]", finding.rule) };
            let driver = if finding.driver.is_empty() { String::new() } else { format!("{}: ", finding.driver) };
            let place = if finding.place.is_empty() { String::new() } else { format!(" ({})", finding.place) };
            let _ = writeln!(out, "  {}{rule}: {driver}{}{place}", finding.severity, finding.message);
        }
        if !self.lockdown.is_empty() {
            let _ = writeln!(out, "  lock-down of the drivers' process: {}", self.lockdown.join("; "));
        }
        out
    }
}

impl Report {
    fn processes_text(&self, out: &mut String) {
        if self.processes.is_empty() {
            return;
        }
        out.push('\n');
        let head = ["program", "processes", "reads", "bytes", "writes", "bytes", "other"];
        let mut rows = vec![head.iter().map(|&word| word.to_owned()).collect::<Vec<_>>()];
        for row in &self.processes {
            rows.push(vec![
                row.name.clone(),
                row.processes.to_string(),
                row.reads.to_string(),
                bytes(row.read_bytes),
                row.writes.to_string(),
                bytes(row.write_bytes),
                row.others.to_string(),
            ]);
        }
        table(out, &rows);
        out.push_str("  (a process is counted whole, under the name that it had when it was last looked at: after exec, the later one)\n");
    }
}

/// Returns a status by its name where it has one.
fn name_of(status: &str) -> String {
    let value = status.strip_prefix("0x").and_then(|hex| u32::from_str_radix(hex, 16).ok());
    let name = value.map(|value| format!("{:?}", nt_abi::NtStatus(value)));
    // "STATUS_SUCCESS (0x00000000)": the name says it all.
    name.map_or_else(|| status.to_owned(), |name| name.split(' ').next().unwrap_or(status).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_the_members_that_the_command_line_promises() {
        let report = Report {
            requests: vec![RequestRow {
                major: "IRP_MJ_WRITE".into(),
                statuses: [("0x00000000".into(), 2)].into(),
                ..Default::default()
            }],
            filters: vec![FilterRow { name: "spy".into(), altitude: "385100".into(), ..Default::default() }],
            findings: vec![Finding { rule: "FLT-R-01".into(), severity: "error".into(), ..Default::default() }],
            command: Some(CommandRow { argv: vec!["true".into()], exit: 0 }),
            ..Default::default()
        };
        let json = serde_json::to_value(&report).expect("plain data");
        for (list, members) in [
            ("requests", &["major", "fast", "paging", "count", "bytes", "statuses", "p50_ns", "p99_ns", "max_ns"][..]),
            ("filters", &["name", "altitude", "pre", "post", "completed", "pended", "ns"][..]),
            ("findings", &["rule", "severity", "driver", "message", "where"][..]),
        ] {
            for member in members {
                assert!(json[list][0].get(member).is_some(), "{list}[].{member}");
            }
        }
        assert_eq!(json["command"]["exit"], 0);
        assert!(report.failed());
        let left = [(LEFT_TO_A_PACKET.into(), 1)].into();
        let requests = vec![RequestRow { fast: true, statuses: left, ..Default::default() }];
        let text = Report { requests, ..Default::default() }.text();
        assert!(text.contains("left to a packet 1") && !text.contains("DISALLOW"), "{text}");
        assert!(report.text().contains("IRP_MJ_WRITE") && report.text().contains("FLT-R-01"));
    }
}
