//! `ntio trace`: prints or converts a recorded trace.
//!
//! Room: front/cli. Called by: `main`. Calls: `nt_machine::perfetto` for that format, both ways. Not here: recording (`nt_machine`'s recorder).

mod select;

use crate::args::{TraceArgs, TraceFormat};
use crate::verdict::{FINE, Failure};
use nt_machine::perfetto::{self, Jsonl, Perfetto, TraceSink};
use select::Select;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, BufWriter, Cursor, ErrorKind, Read, Write};
use std::path::Path;

/// Prints the events that the expression selects.
pub(crate) fn print(args: &TraceArgs) -> Result<u8, Failure> {
    let select = match &args.filter {
        None => Select::All,
        Some(text) => select::parse(text).map_err(|why| Failure::usage(format!("--filter '{text}': {why}")))?,
    };
    if let Some(path) = args.output.as_ref().filter(|path| same(path, &args.file)) {
        let text = format!("{} is the trace itself; give another file with -o", path.display());
        return Err(Failure::usage(text));
    }
    let out: Box<dyn Write> = match &args.output {
        None => Box::new(std::io::stdout().lock()),
        Some(path) => Box::new(std::fs::File::create(path).map_err(|error| {
            Failure::broken(format!("{}: {error}; give -o a file in a directory that can be written", path.display()))
        })?),
    };
    let mut out = BufWriter::new(out);
    let written = convert(&args.file, args.format(), &select, &mut out)?;
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::broken(format!("output: {error}"))),
        _ => Ok(FINE),
    }
}

/// Whether two names lead to one file.
fn same(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |path: &Path| std::fs::metadata(path).map(|there| (there.dev(), there.ino()));
    matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other)
}

fn broken(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::broken(format!("{}: {error}", path.display()))
}

type Written = std::io::Result<()>;

fn convert(file: &Path, format: TraceFormat, select: &Select, out: &mut dyn Write) -> Result<Written, Failure> {
    let mut chosen = Vec::new();
    let mut whole = Cursor::new(Vec::new());
    let mut failed = Ok(());
    {
        let mut sink = Perfetto::new(&mut whole);
        let mut take = |event: &Value| -> bool {
            if !select.holds(event) {
                return true;
            }
            failed = match format {
                TraceFormat::Text => out.write_all(line(event).as_bytes()),
                TraceFormat::Jsonl => {
                    Jsonl(&mut chosen).event(event).and_then(|()| out.write_all(&std::mem::take(&mut chosen)))
                }
                TraceFormat::Perfetto => sink.event(event),
            };
            failed.is_ok()
        };
        each(file, &mut take)?;
        if format == TraceFormat::Perfetto && failed.is_ok() {
            failed = sink.flush();
        }
    }
    Ok(failed.and_then(|()| out.write_all(whole.get_ref())))
}

/// Gives each event of a trace of either format, until it is not taken.
fn each(file: &Path, take: &mut dyn FnMut(&Value) -> bool) -> Result<(), Failure> {
    let mut from = BufReader::new(std::fs::File::open(file).map_err(|error| {
        Failure::broken(format!("{}: {error}; give a trace that 'ntio run --trace FILE.jsonl' wrote", file.display()))
    })?);
    let first = from.fill_buf().map_err(|error| broken(file, &error))?;
    // A line of ours begins with a whole event; the other format with a list of them.
    let start = String::from_utf8_lossy(first).trim_start().chars().take(400).collect::<String>();
    if start.starts_with('[') || (start.starts_with('{') && start.contains("\"traceEvents\"")) {
        let mut text = String::new();
        from.read_to_string(&mut text).map_err(|error| broken(file, &error))?;
        let whole: Value = serde_json::from_str(&text).map_err(|error| broken(file, &error))?;
        let _taken = perfetto::events(&whole).iter().all(take);
        return Ok(());
    }
    for (at, text) in from.lines().enumerate() {
        let text = text.map_err(|error| broken(file, &error))?;
        if text.trim().is_empty() {
            continue;
        }
        let event: Value = serde_json::from_str(&text).ok().filter(Value::is_object).ok_or_else(|| {
            Failure::usage(format!(
                "{}:{}: no event of a trace; ntio run --trace FILE.jsonl writes one",
                file.display(),
                at + 1
            ))
        })?;
        if !take(&event) {
            return Ok(());
        }
    }
    Ok(())
}

/// IRP_PAGING_IO: the memory manager's or the cache's own I/O, most often of the system process.
const PAGING: i64 = 0x2;

/// One event for people: when, who, what, where, how it ended, by which rules; a line a callback below it.
fn line(event: &Value) -> String {
    let number = |member: &str| event[member].as_i64().unwrap_or(0);
    let text = |value: &Value, member: &str| value[member].as_str().unwrap_or("").to_owned();
    let mut out = format!(
        "{:>6} {:>14.3} us {:>9.3} us  {:<15} {:<6} {:<28} {} {}",
        number("seq"),
        number("t_ns") as f64 / 1000.0,
        number("ns") as f64 / 1000.0,
        match event["process"].as_str() {
            None | Some("") => "pid",
            Some(name) => name,
        },
        number("pid"),
        text(event, "op"),
        text(event, "status"),
        text(event, "file"),
    );
    if number("length") != 0 || number("offset") != 0 {
        let _ = write!(out, " +{} @{}", number("length"), number("offset"));
    }
    if number("information") != 0 {
        let _ = write!(out, " -> {}", number("information"));
    }
    for (member, word) in [("fast", " fast"), ("generated", " generated")] {
        if event[member] == true {
            out.push_str(word);
        }
    }
    if number("flags") & PAGING != 0 {
        out.push_str(" paging");
    }
    for member in ["rules", "marks"] {
        let words: Vec<&str> = event[member].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !words.is_empty() {
            let _ = write!(out, "  [{}]", words.join(" "));
        }
    }
    out.push('\n');
    for hop in event["hops"].as_array().into_iter().flatten() {
        let nanoseconds = hop["ns"].as_i64().unwrap_or(0);
        let (filter, altitude) = (text(hop, "filter"), text(hop, "altitude"));
        let (phase, verdict) = (text(hop, "phase"), text(hop, "verdict"));
        let _ = writeln!(out, "{:>36.3} us    {phase:<4} {filter} ({altitude}) {verdict}", nanoseconds as f64 / 1000.0);
    }
    out
}
