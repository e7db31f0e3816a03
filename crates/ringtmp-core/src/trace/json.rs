//! Traces as files: Chrome trace-event JSON, which `chrome://tracing` and Perfetto show.
//!
//! A complete event (`"ph": "X"`) is a span: its process is the peer, its thread 0 for tasks, 1 for what is sent, 2 for what is
//! waited for. A metadata event (`"ph": "M"`) says who a peer is. Every event has a line of its own, so that a file can be
//! written as the run goes on, and one that was cut short can be read.

use super::{Activity, Details, Span};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How a file begins.
pub const HEAD: &str = "{\"traceEvents\":[\n";

/// What stands between two events.
pub const SEPARATOR: &str = ",\n";

/// How a file ends.
pub const TAIL: &str = "\n]}\n";

/// Why a trace cannot be read. The fault is the file's.
#[derive(Debug, thiserror::Error)]
#[error("this is no trace of a ring: {0}")]
pub struct TraceError(#[from] serde_json::Error);

/// A trace that was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// What was recorded.
    pub spans: Vec<Span>,
    /// Who recorded it, by the number of the peer. Empty for simulated peers.
    pub recorders: BTreeMap<u32, RecordedBy>,
    /// Whether the end is missing: its writer was killed.
    pub is_cut: bool,
}

/// Who recorded a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedBy {
    /// The device's name for people.
    pub name: String,
    /// How far the recorder's clock may be off that of its room, in microseconds. None if it never heard the room's: then
    /// its times cannot be compared with those of others.
    pub clock_error_us: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Chrome {
    #[serde(rename = "traceEvents")]
    events: Vec<Event>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "ph")]
enum Event {
    #[serde(rename = "X")]
    Complete {
        name: Activity,
        /// Microseconds.
        ts: u64,
        dur: u64,
        pid: u32,
        tid: u32,
        #[serde(default)]
        args: Details,
    },
    #[serde(rename = "M")]
    Metadata {
        name: Metadata,
        pid: u32,
        args: RecordedBy,
    },
}

#[derive(Serialize, Deserialize)]
enum Metadata {
    #[serde(rename = "process_name")]
    ProcessName,
}

/// The event of a span, without the line's end.
pub fn event(span: &Span) -> String {
    write(&Event::Complete {
        name: span.activity,
        ts: span.start.as_micros(),
        dur: span.end.as_micros().saturating_sub(span.start.as_micros()),
        pid: span.peer,
        tid: span.activity.class() as u32,
        args: span.details,
    })
}

/// The event that says who a peer is, without the line's end.
pub fn recorder_event(peer: u32, by: &RecordedBy) -> String {
    write(&Event::Metadata {
        name: Metadata::ProcessName,
        pid: peer,
        args: by.clone(),
    })
}

fn write(event: &Event) -> String {
    serde_json::to_string(event).expect("numbers and names can always be written")
}

/// A whole file.
pub fn to_json(trace: &Trace) -> String {
    let recorders = trace.recorders.iter();
    let recorders = recorders.map(|(peer, by)| recorder_event(*peer, by));
    let events: Vec<String> = recorders.chain(trace.spans.iter().map(event)).collect();
    [HEAD, &events.join(SEPARATOR), TAIL].concat()
}

/// Reads a file, also one whose writer was killed.
///
/// # Errors
///
/// What is no JSON, or holds other events than those written here.
pub fn from_json(text: &str) -> Result<Trace, TraceError> {
    let (chrome, is_cut) = match serde_json::from_str::<Chrome>(text) {
        Ok(chrome) => (chrome, false),
        Err(error) if error.is_eof() => (serde_json::from_str(&mended(text))?, true),
        Err(error) => return Err(error.into()),
    };
    let mut trace = Trace {
        is_cut,
        ..Trace::default()
    };
    for event in chrome.events {
        match event {
            Event::Complete {
                name,
                ts,
                dur,
                pid,
                args,
                ..
            } => trace.spans.push(Span {
                peer: pid,
                activity: name,
                start: Time::from_micros(ts),
                end: Time::from_micros(ts) + Duration::from_micros(dur),
                details: args,
            }),
            Event::Metadata { pid, args, .. } => {
                trace.recorders.insert(pid, args);
            }
        }
    }
    Ok(trace)
}

/// The whole lines of a file that was cut short, and its end.
fn mended(text: &str) -> String {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    [whole.trim_end_matches(','), TAIL].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::sample;

    fn trace() -> Trace {
        let by = RecordedBy {
            name: "a phone".to_owned(),
            clock_error_us: Some(250),
        };
        Trace {
            spans: sample::spans(),
            recorders: BTreeMap::from([(0, by)]),
            is_cut: false,
        }
    }

    #[test]
    fn a_trace_reads_back_as_it_was_written_and_nothing_else_is_one() {
        let json = to_json(&trace());
        assert!(
            json.contains(r#""ph":"X","name":"F","ts":0,"dur":40,"pid":0,"tid":0"#),
            "{json}"
        );
        assert_eq!(from_json(&json).expect("a trace"), trace());
        assert!(from_json("{}").is_err());
        assert!(from_json(r#"{"traceEvents":[{"name":"sleep"}]}"#).is_err());
        assert!(from_json("").is_err());
    }

    #[test]
    fn a_trace_that_was_cut_anywhere_gives_the_events_before_the_cut() {
        let json = to_json(&trace());
        let events = trace().spans.len() + 1;
        let whole_lines = |text: &str| text.matches(SEPARATOR).count();
        for end in HEAD.len()..json.len() - TAIL.len() {
            let cut = &json[..end];
            let read = from_json(cut).expect("the rest of a trace");
            assert!(read.is_cut);
            let found = read.spans.len() + read.recorders.len();
            assert_eq!(found, whole_lines(cut), "of {events}, cut at {end}");
        }
    }
}
