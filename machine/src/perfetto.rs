//! Where the events of a trace go: lines of JSON, or Chrome's trace event format, which Perfetto and chrome://tracing read.
//!
//! Room: machine. Called by: `recorder`, `ntio trace`. Calls: nothing. Source: "Trace Event Format": complete events (`X`) and nestable
//! asynchronous ones (`b`, `e`).
//! A request that begins and ends on one thread is a slice of that thread; one that ends elsewhere overlaps others, and
//! stands on a track of its own. Its callbacks are slices inside it. The whole event stands under `args`.

use serde_json::{Value, json};
use std::io::{Seek, SeekFrom, Write};

const HEAD: &[u8] = b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n";
const TAIL: &[u8] = b"\n]}\n";

/// What takes the events of a trace.
pub trait TraceSink: Send {
    /// Takes one request's event.
    fn event(&mut self, event: &Value) -> std::io::Result<()>;
    /// Leaves a file that can be read as it stands.
    fn flush(&mut self) -> std::io::Result<()>;
}

/// One event a line.
#[derive(Debug)]
pub struct Jsonl<W>(
    /// Where to.
    pub W,
);

impl<W: Write + Send> TraceSink for Jsonl<W> {
    fn event(&mut self, event: &Value) -> std::io::Result<()> {
        self.0.write_all(format!("{event}\n").as_bytes())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// A file of trace events. Each flush closes the list; what comes after it takes the place of the end.
#[derive(Debug)]
pub struct Perfetto<W> {
    to: W,
    begun: bool,
    closed: bool,
}

impl<W: Write + Seek> Perfetto<W> {
    /// Makes one.
    pub fn new(to: W) -> Self {
        Self { to, begun: false, closed: false }
    }

    fn entry(&mut self, entry: &Value) -> std::io::Result<()> {
        self.to.write_all(if self.begun { b",\n" } else { HEAD })?;
        self.begun = true;
        self.to.write_all(entry.to_string().as_bytes())
    }
}

impl<W: Write + Seek + Send> TraceSink for Perfetto<W> {
    fn event(&mut self, event: &Value) -> std::io::Result<()> {
        if self.closed {
            self.to.seek(SeekFrom::Current(-(TAIL.len() as i64)))?;
            self.closed = false;
        }
        slices(event).iter().try_for_each(|slice| self.entry(slice))
    }
    fn flush(&mut self) -> std::io::Result<()> {
        if !self.closed {
            if !self.begun {
                self.entry(&json!({"ph": "M", "name": "process_name", "pid": 0, "args": {"name": "ntio"}}))?;
            }
            self.to.write_all(TAIL)?;
            self.closed = true;
        }
        self.to.flush()
    }
}

/// Nanoseconds as the format's microseconds.
fn micros(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

/// Returns the trace events of a request: itself, and its callbacks.
#[must_use]
pub fn slices(event: &Value) -> Vec<Value> {
    let number = |value: &Value, member: &str| value[member].as_u64().unwrap_or(0);
    let thread = number(event, "tid");
    let elsewhere = event["end_tid"].as_u64().is_some_and(|other| other != thread);
    let id = format!("{:#x}", number(event, "seq"));
    let slice = |name: &str, category: &str, of: &Value| {
        let (start, length) = (number(of, "t_ns"), number(of, "ns"));
        let mut begin = json!({
            "name": name.trim_end(), "cat": category, "ts": micros(start),
            "pid": number(event, "pid"), "tid": thread, "args": of,
        });
        if !elsewhere {
            begin["ph"] = "X".into();
            begin["dur"] = micros(length).into();
            return vec![begin];
        }
        // What stands on one track has one category.
        begin["cat"] = "request".into();
        begin["id"] = id.clone().into();
        let mut end = begin.clone();
        begin["ph"] = "b".into();
        end["ph"] = "e".into();
        end["ts"] = micros(start + length).into();
        end["args"] = json!({});
        vec![begin, end]
    };
    let text = |value: &Value, member: &str| value[member].as_str().unwrap_or("").to_owned();
    let mut out = slice(&format!("{} {}", text(event, "op"), text(event, "file")), "request", event);
    for hop in event["hops"].as_array().into_iter().flatten() {
        let callback = slice(&format!("{} {}", text(hop, "filter"), text(hop, "phase")), "filter", hop);
        let at = out.len() - usize::from(elsewhere);
        out.splice(at..at, callback);
    }
    out
}

/// Reads back the events of such a file.
#[must_use]
pub fn events(file: &Value) -> Vec<Value> {
    let list = file["traceEvents"].as_array().or_else(|| file.as_array());
    let requests = list.into_iter().flatten().filter(|event| event["args"]["seq"].is_u64());
    requests.map(|event| event["args"].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn event(seq: u64, end: u64) -> Value {
        json!({"seq": seq, "t_ns": 1_500, "ns": 2_000, "pid": 8, "tid": 12, "end_tid": end, "op": "IRP_MJ_WRITE",
            "file": "\\a", "rules": ["NT-W-01"], "hops": [{"filter": "spy", "phase": "pre", "t_ns": 1_600, "ns": 100}]})
    }

    #[test]
    fn a_request_is_a_slice_of_its_thread_with_its_callbacks_inside() {
        let made = slices(&event(1, 12));
        assert_eq!(made.len(), 2);
        assert_eq!((&made[0]["ph"], &made[0]["ts"], &made[0]["dur"]), (&"X".into(), &1.5.into(), &2.0.into()));
        assert_eq!((&made[0]["name"], &made[0]["tid"]), (&"IRP_MJ_WRITE \\a".into(), &12.into()));
        assert_eq!((&made[1]["name"], &made[1]["ts"]), (&"spy pre".into(), &1.6.into()));
    }

    #[test]
    fn a_request_that_ends_elsewhere_has_a_track_of_its_own() {
        let made = slices(&event(3, 16));
        let phases: Vec<&str> = made.iter().filter_map(|slice| slice["ph"].as_str()).collect();
        assert_eq!(phases, ["b", "b", "e", "e"], "each begin is ended, the inner one first");
        assert!(made.iter().all(|slice| slice["id"] == "0x3" && slice["cat"] == "request"));
    }

    #[test]
    fn a_file_can_be_read_after_each_flush_and_gives_its_events_back() {
        let mut bytes = Cursor::new(Vec::new());
        let read = |bytes: &Cursor<Vec<u8>>| events(&serde_json::from_slice(bytes.get_ref()).expect("whole JSON"));
        Perfetto::new(&mut bytes).flush().expect("a flush");
        assert!(read(&bytes).is_empty());
        let mut bytes = Cursor::new(Vec::new());
        let mut sink = Perfetto::new(&mut bytes);
        sink.event(&event(1, 12)).expect("an event");
        sink.flush().expect("a flush");
        sink.flush().expect("another");
        sink.event(&event(2, 16)).expect("an event");
        sink.flush().expect("a flush");
        assert_eq!(read(&bytes), [event(1, 12), event(2, 16)]);
    }
}
