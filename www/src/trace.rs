//! What this device did lately, kept for whoever downloads it.

use ringtmp_core::trace::Span;
use ringtmp_core::trace::json::{RecordedBy, Trace, to_json};
use ringtmp_peer::Traced;
use std::collections::{BTreeMap, VecDeque};

/// The most spans that are kept: 6 MB, and 12 MB as a file; minutes of a run whose tasks take milliseconds.
pub const SPANS_MAX: usize = 100_000;

/// The newest spans of a device.
#[derive(Debug, Default)]
pub struct RecentTrace {
    spans: VecDeque<Span>,
    recorders: BTreeMap<u32, RecordedBy>,
}

impl RecentTrace {
    /// Takes in what the peer hands on.
    pub fn take(&mut self, batch: Traced) {
        self.recorders.insert(batch.number, batch.by);
        self.spans.extend(batch.spans);
        let over = self.spans.len().saturating_sub(SPANS_MAX);
        self.spans.drain(..over);
    }

    /// As a file that `ringtmp trace` and Perfetto read.
    pub fn to_json(&self) -> String {
        to_json(&Trace {
            spans: self.spans.iter().copied().collect(),
            recorders: self.recorders.clone(),
            is_cut: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_core::time::Time;
    use ringtmp_core::trace::json::from_json;
    use ringtmp_core::trace::{Activity, Details};

    #[test]
    fn the_newest_spans_are_kept_and_written_as_a_trace() {
        let mut trace = RecentTrace::default();
        for i in 0..101 {
            let span = Span {
                peer: 1,
                activity: Activity::Forward,
                start: Time::from_micros(i),
                end: Time::from_micros(i + 1),
                details: Details::default(),
            };
            trace.take(Traced {
                number: 1,
                by: RecordedBy {
                    name: "a tab".to_owned(),
                    clock_error_us: None,
                },
                spans: vec![span; 1000],
                lost: 0,
            });
        }
        let read = from_json(&trace.to_json()).expect("a trace");
        assert_eq!(read.spans.len(), SPANS_MAX);
        assert_eq!(read.spans[0].start, Time::from_micros(1));
        assert_eq!(read.recorders[&1].name, "a tab");
    }
}
