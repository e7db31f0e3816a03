//! How idle peers are, and why.

use super::{Activity, Span};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a peer spent a stretch of time. Shares of it, 0 to 1; `busy` and the causes of idleness add up to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// Computing: F, B, W, updates and drawing together.
    pub busy: f64,
    /// Drawing samples for the head.
    pub draw: f64,
    /// F, of training and of evaluations.
    pub forward: f64,
    /// B.
    pub backward_input: f64,
    /// W.
    pub backward_weights: f64,
    /// The optimizer.
    pub update: f64,
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

    /// Every share changed by `change`, with the share of the same kind in `other`.
    pub(super) fn combine(self, other: Self, change: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            busy: change(self.busy, other.busy),
            draw: change(self.draw, other.draw),
            forward: change(self.forward, other.forward),
            backward_input: change(self.backward_input, other.backward_input),
            backward_weights: change(self.backward_weights, other.backward_weights),
            update: change(self.update, other.update),
            input: change(self.input, other.input),
            link: change(self.link, other.link),
            credit: change(self.credit, other.credit),
            weights: change(self.weights, other.weights),
        }
    }

    /// Whether they can be shares of one stretch of time, but for rounding.
    pub(super) fn are_sane(&self) -> bool {
        let tasks = [
            self.draw,
            self.forward,
            self.backward_input,
            self.backward_weights,
            self.update,
        ];
        let idle = [self.input, self.link, self.credit, self.weights];
        let mut all = tasks.into_iter().chain(idle).chain([self.busy]);
        let near = |a: f64, b: f64| (a - b).abs() < 0.01;
        all.all(|share| (0.0..=1.0).contains(&share))
            && near(tasks.into_iter().sum(), self.busy)
            && near(idle.into_iter().sum(), self.idle())
    }

    fn add_busy(&mut self, activity: Activity, share: f64) {
        let part = match activity {
            Activity::Draw => &mut self.draw,
            Activity::Forward | Activity::Evaluate => &mut self.forward,
            Activity::BackwardInput => &mut self.backward_input,
            Activity::BackwardWeights => &mut self.backward_weights,
            Activity::Update => &mut self.update,
            Activity::Activation
            | Activity::Samples
            | Activity::Gradient
            | Activity::Weights
            | Activity::Release
            | Activity::WaitInput
            | Activity::WaitCredit
            | Activity::WaitWeights => return,
        };
        *part += share;
        self.busy += share;
    }
}

/// From the first task to the end of the last, of all peers.
pub fn extent(spans: &[Span]) -> (Time, Time) {
    let tasks = || spans.iter().filter(|span| span.activity.is_task());
    let start = tasks().map(|span| span.start).min();
    let end = tasks().map(|span| span.end).max();
    (start.unwrap_or_default(), end.unwrap_or_default())
}

/// The middle third of the steps, which leaves filling and draining out: from the last update of `peers` before it to their
/// last in it, and how many steps these are. None if there are too few.
pub fn middle_third(spans: &[Span], steps: u32, peers: &[u32]) -> Option<(Time, Time, u32)> {
    let (first, last) = (steps / 3, steps * 2 / 3);
    // `first` steps are done with the update of step `first - 1`.
    let done = |steps: u32| {
        let updates = spans.iter().filter(|span| {
            span.activity == Activity::Update
                && span.details.step == Some(steps - 1)
                && peers.contains(&span.peer)
        });
        updates.map(|span| span.end).max()
    };
    let (start, end) = (first > 0).then(|| done(first).zip(done(last))).flatten()?;
    (start < end).then_some((start, end, last - first))
}

/// How each peer that did anything spent the time from `start` to `end`. Time without a task that no span accounts for counts
/// as waiting for input.
pub fn shares<'a>(
    spans: impl IntoIterator<Item = &'a Span>,
    start: Time,
    end: Time,
) -> BTreeMap<u32, Shares> {
    let window = end.since(start).as_micros().max(1) as f64;
    let mut inbound: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
    let mut sums: BTreeMap<u32, Shares> = BTreeMap::new();
    let mut hungry: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
    for span in spans {
        // Who only sends is told of by a receiver, and tells nothing itself.
        if !span.activity.is_transfer() {
            sums.entry(span.peer).or_default();
        }
        let (from, to) = (span.start.max(start), span.end.min(end));
        if to <= from {
            continue;
        }
        let interval = (from.as_micros(), to.as_micros());
        let share = (interval.1 - interval.0) as f64 / window;
        match span.activity {
            Activity::WaitCredit => sums.entry(span.peer).or_default().credit += share,
            Activity::WaitWeights => sums.entry(span.peer).or_default().weights += share,
            Activity::WaitInput => hungry.entry(span.peer).or_default().push(interval),
            Activity::Activation
            | Activity::Samples
            | Activity::Gradient
            | Activity::Weights
            | Activity::Release => {
                if let Some(receiver) = span.details.to {
                    inbound.entry(receiver).or_default().push(interval);
                }
            }
            activity => sums.entry(span.peer).or_default().add_busy(activity, share),
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

/// How long at least one of the stretches goes on, in microseconds.
pub(super) fn covered_us(intervals: Vec<(u64, u64)>) -> u64 {
    union(intervals).iter().map(|(from, to)| to - from).sum()
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
    use crate::trace::sample;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn idle_time_is_told_by_its_causes() {
        let shares = shares(&sample::spans(), Time::ZERO, Time::from_micros(100));
        assert!(near(shares[&0].busy, 0.4) && near(shares[&0].credit, 0.6));
        let one = shares[&1];
        assert!(near(one.busy, 0.3) && near(one.link, 0.2) && near(one.input, 0.4));
        assert!(near(one.weights, 0.1) && near(one.idle(), 0.7) && near(one.forward, 0.3));
        assert!(one.are_sane());
        assert!(!Shares { input: 0.9, ..one }.are_sane());
    }

    #[test]
    fn a_sender_of_whom_only_receivers_tell_has_no_shares() {
        let spans: Vec<Span> = sample::spans()
            .into_iter()
            .filter(|span| span.peer == 1 || span.activity.is_transfer())
            .collect();
        let shares = shares(&spans, Time::ZERO, Time::from_micros(100));
        assert!(shares.len() == 1 && near(shares[&1].link, 0.2));
    }
}
