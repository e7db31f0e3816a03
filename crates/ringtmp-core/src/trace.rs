//! What peers did, and when: the record from which idle time is computed, of real peers and simulated ones alike.
//!
//! Written as Chrome trace-event JSON (complete events, `"ph": "X"`), which `chrome://tracing` and Perfetto show: the process
//! is the peer, thread 0 its tasks, thread 1 what it sends, thread 2 what it waits for.

use crate::schedule::{Task, Waiting};
use crate::time::Time;
use crate::wire::{Purpose, TensorKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What went on during a [`Span`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Activity {
    /// Samples drawn for the head.
    #[serde(rename = "draw")]
    Draw,
    /// F of training.
    #[serde(rename = "F")]
    Forward,
    /// F of an evaluation.
    #[serde(rename = "evaluate")]
    Evaluate,
    /// B.
    #[serde(rename = "B")]
    BackwardInput,
    /// W.
    #[serde(rename = "W")]
    BackwardWeights,
    /// The optimizer.
    #[serde(rename = "update")]
    Update,
    /// An activation, from handed to the link until arrived.
    #[serde(rename = "activation")]
    Activation,
    /// Samples on their way to the head, likewise from one peer to the next.
    #[serde(rename = "samples")]
    Samples,
    /// A gradient, likewise.
    #[serde(rename = "gradient")]
    Gradient,
    /// A release, likewise.
    #[serde(rename = "release")]
    Release,
    /// Idle until something arrives.
    #[serde(rename = "wait for input")]
    WaitInput,
    /// Idle until a credit returns.
    #[serde(rename = "wait for credit")]
    WaitCredit,
    /// Idle until the peer's own update.
    #[serde(rename = "wait for weights")]
    WaitWeights,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Task,
    Transfer,
    Wait,
}

impl Activity {
    /// That of a task.
    pub const fn of_task(task: &Task) -> Self {
        match task {
            Task::Draw { .. } => Self::Draw,
            Task::Forward {
                purpose: Purpose::Train,
                ..
            } => Self::Forward,
            Task::Forward {
                purpose: Purpose::Evaluate,
                ..
            } => Self::Evaluate,
            Task::BackwardInput { .. } => Self::BackwardInput,
            Task::BackwardWeights { .. } => Self::BackwardWeights,
            Task::Update { .. } => Self::Update,
        }
    }

    /// That of a tensor on its way.
    pub const fn of_tensor(kind: TensorKind) -> Self {
        match kind {
            TensorKind::Activation => Self::Activation,
            TensorKind::Samples => Self::Samples,
            TensorKind::Gradient => Self::Gradient,
            TensorKind::Release => Self::Release,
        }
    }

    /// That of an idle peer.
    pub const fn of_waiting(waiting: Waiting) -> Self {
        match waiting {
            Waiting::Input => Self::WaitInput,
            Waiting::Credit => Self::WaitCredit,
            Waiting::Weights => Self::WaitWeights,
        }
    }

    const fn class(self) -> Class {
        match self {
            Self::Draw
            | Self::Forward
            | Self::Evaluate
            | Self::BackwardInput
            | Self::BackwardWeights
            | Self::Update => Class::Task,
            Self::Activation | Self::Samples | Self::Gradient | Self::Release => Class::Transfer,
            Self::WaitInput | Self::WaitCredit | Self::WaitWeights => Class::Wait,
        }
    }

    /// Whether the peer computes meanwhile.
    pub fn is_task(self) -> bool {
        self.class() == Class::Task
    }

    /// Whether something is on its way meanwhile.
    pub fn is_transfer(self) -> bool {
        self.class() == Class::Transfer
    }
}

/// A stretch of time at a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which peer, by a number of the recorder's choice.
    pub peer: u32,
    /// What it did.
    pub activity: Activity,
    /// From.
    pub start: Time,
    /// Until.
    pub end: Time,
    /// What exactly.
    pub details: Details,
}

/// What a span was about; what does not apply is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// The step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// The micro-batch: its sequence in the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<u16>,
    /// The weights in use, by the updates they have seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_version: Option<u32>,
    /// The receiver of a transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u32>,
}

impl Details {
    /// Those of a task.
    pub fn of_task(task: &Task) -> Self {
        let of = |step, micro_batch, version| Self {
            step: Some(step),
            micro_batch,
            weight_version: version,
            to: None,
        };
        match task {
            Task::Draw { micro_batch } => of(micro_batch.step.0, Some(micro_batch.sequence), None),
            Task::Forward {
                micro_batch,
                version,
                ..
            }
            | Task::BackwardInput {
                micro_batch,
                version,
                ..
            }
            | Task::BackwardWeights {
                micro_batch,
                version,
                ..
            } => of(
                micro_batch.step.0,
                Some(micro_batch.sequence),
                Some(version.0),
            ),
            Task::Update { step } => of(step.0, None, None),
        }
    }
}

/// Why a trace cannot be read. The fault is the file's.
#[derive(Debug, thiserror::Error)]
#[error("this is no trace of a ring: {0}")]
pub struct TraceError(#[from] serde_json::Error);

#[derive(Serialize, Deserialize)]
struct Chrome {
    #[serde(rename = "traceEvents")]
    events: Vec<ChromeEvent>,
}

#[derive(Serialize, Deserialize)]
struct ChromeEvent {
    name: Activity,
    ph: Phase,
    /// Microseconds.
    ts: u64,
    dur: u64,
    pid: u32,
    tid: u32,
    #[serde(default)]
    args: Details,
}

#[derive(Serialize, Deserialize)]
enum Phase {
    #[serde(rename = "X")]
    Complete,
}

/// As Chrome trace-event JSON.
pub fn to_json(spans: &[Span]) -> String {
    let events = spans.iter().map(|span| ChromeEvent {
        name: span.activity,
        ph: Phase::Complete,
        ts: span.start.as_micros(),
        dur: span.end.as_micros().saturating_sub(span.start.as_micros()),
        pid: span.peer,
        tid: span.activity.class() as u32,
        args: span.details,
    });
    let chrome = Chrome {
        events: events.collect(),
    };
    serde_json::to_string(&chrome).expect("numbers and names can always be written")
}

/// From Chrome trace-event JSON.
///
/// # Errors
///
/// What is no JSON, or holds other events than those of [`to_json`].
pub fn from_json(text: &str) -> Result<Vec<Span>, TraceError> {
    let chrome: Chrome = serde_json::from_str(text)?;
    let spans = chrome.events.into_iter().map(|event| Span {
        peer: event.pid,
        activity: event.name,
        start: Time::from_micros(event.ts),
        end: Time::from_micros(event.ts) + Duration::from_micros(event.dur),
        details: event.args,
    });
    Ok(spans.collect())
}

/// How a peer spent a stretch of time. Shares of it, 0 to 1; together with `busy` they add up to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Shares {
    /// Computing.
    pub busy: f64,
    /// Waiting for a neighbour to compute, with nothing on its way.
    pub input: f64,
    /// Waiting for what is on its way.
    pub link: f64,
    /// Waiting for a credit.
    pub credit: f64,
    /// Waiting for the peer's own update.
    pub weights: f64,
}

impl Shares {
    /// Not computing.
    pub fn idle(&self) -> f64 {
        1.0 - self.busy
    }
}

/// From the first task to the end of the last, of all peers.
pub fn extent(spans: &[Span]) -> (Time, Time) {
    let tasks = || spans.iter().filter(|span| span.activity.is_task());
    let start = tasks().map(|span| span.start).min();
    let end = tasks().map(|span| span.end).max();
    (start.unwrap_or_default(), end.unwrap_or_default())
}

/// How each peer that did anything spent the time from `start` to `end`. Time without a task that no span accounts for counts
/// as waiting for input.
pub fn shares(spans: &[Span], start: Time, end: Time) -> BTreeMap<u32, Shares> {
    let window = end.since(start).as_micros().max(1) as f64;
    let mut inbound: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
    let mut sums: BTreeMap<u32, Shares> = BTreeMap::new();
    let mut hungry: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
    for span in spans {
        let (from, to) = (span.start.max(start), span.end.min(end));
        if span.activity.is_task() {
            sums.entry(span.peer).or_default();
        }
        if to <= from {
            continue;
        }
        let interval = (from.as_micros(), to.as_micros());
        let share = (interval.1 - interval.0) as f64 / window;
        let sum = sums.entry(span.peer).or_default();
        match span.activity {
            Activity::WaitCredit => sum.credit += share,
            Activity::WaitWeights => sum.weights += share,
            Activity::WaitInput => hungry.entry(span.peer).or_default().push(interval),
            Activity::Activation | Activity::Samples | Activity::Gradient | Activity::Release => {
                if let Some(receiver) = span.details.to {
                    inbound.entry(receiver).or_default().push(interval);
                }
            }
            Activity::Draw
            | Activity::Forward
            | Activity::Evaluate
            | Activity::BackwardInput
            | Activity::BackwardWeights
            | Activity::Update => sum.busy += share,
        }
    }
    for (peer, sum) in &mut sums {
        let coming = union(inbound.remove(peer).unwrap_or_default());
        let waiting = union(hungry.remove(peer).unwrap_or_default());
        sum.link = overlap(&waiting, &coming) as f64 / window;
        sum.input = (1.0 - sum.busy - sum.link - sum.credit - sum.weights).max(0.0);
    }
    sums
}

/// The same stretches, sorted and without overlaps.
fn union(mut intervals: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    intervals.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (from, to) in intervals {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            Some(_) | None => merged.push((from, to)),
        }
    }
    merged
}

/// How long both go on, each sorted and without overlaps.
fn overlap(a: &[(u64, u64)], b: &[(u64, u64)]) -> u64 {
    let (mut i, mut j, mut sum) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        let (from, to) = (a[i].0.max(b[j].0), a[i].1.min(b[j].1));
        sum += to.saturating_sub(from);
        if a[i].1 < b[j].1 {
            i += 1;
        } else {
            j += 1;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(peer: u32, activity: Activity, start: u64, end: u64, to: Option<u32>) -> Span {
        Span {
            peer,
            activity,
            start: Time::from_micros(start),
            end: Time::from_micros(end),
            details: Details {
                step: Some(1),
                to,
                ..Details::default()
            },
        }
    }

    fn sample() -> Vec<Span> {
        vec![
            span(0, Activity::Forward, 0, 40, None),
            span(0, Activity::Activation, 40, 60, Some(1)),
            span(0, Activity::WaitCredit, 40, 100, None),
            span(1, Activity::WaitInput, 0, 60, None),
            span(1, Activity::Forward, 60, 90, None),
            span(1, Activity::WaitWeights, 90, 100, None),
        ]
    }

    #[test]
    fn idle_time_is_told_by_its_causes() {
        let shares = shares(&sample(), Time::ZERO, Time::from_micros(100));
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(shares[&0].busy, 0.4) && near(shares[&0].credit, 0.6));
        let one = shares[&1];
        assert!(near(one.busy, 0.3) && near(one.link, 0.2) && near(one.input, 0.4));
        assert!(near(one.weights, 0.1) && near(one.idle(), 0.7));
    }

    #[test]
    fn a_trace_reads_back_as_it_was_written_and_nothing_else_is_one() {
        let json = to_json(&sample());
        assert!(
            json.contains(r#""name":"F","ph":"X","ts":0,"dur":40,"pid":0,"tid":0"#),
            "{json}"
        );
        assert_eq!(from_json(&json).expect("a trace"), sample());
        assert!(from_json("{}").is_err());
        assert!(from_json(r#"{"traceEvents":[{"name":"sleep"}]}"#).is_err());
    }
}
