//! What a peer tells its room about once a second: how it spent its time, what tasks and links take, and its latest spans.

use super::{Activity, RoomClock, Shares, Span};
use crate::ids::PeerId;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Reports are made at whole seconds of the room's clock, so that the timelines of all peers end together.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The longest time that a timeline tells of.
pub const TIMELINE_MAX: Duration = Duration::from_secs(4);

/// The most spans of a timeline. Every member of a room is sent those of all others once a second, at 25 bytes a span: 5 kB a
/// device. Small as it is, a picture of more cannot be read.
pub const TIMELINE_SPANS_MAX: usize = 192;

/// Of a long ring, whose rows share a page: so many spans in all, but [`TIMELINE_SPANS_MIN`] a peer.
const TIMELINE_SPANS_OF_RING: usize = 2048;

/// The fewest spans that show a rhythm: some ten micro-batches.
const TIMELINE_SPANS_MIN: usize = 32;

/// The most links that bring tensors to a peer: one from either neighbour.
const INBOUND_MAX: usize = 2;

/// The longest task that is believed.
const TASK_SECONDS_MAX: f64 = 3600.0;

/// The longest run that is believed: ten years.
const RUN_SECONDS_MAX: f64 = 3.2e8;

/// How old a timeline may be when it reaches the room. An older one could not be drawn beside the others.
const AGE_MAX: Duration = Duration::from_secs(10);

/// How a peer does. Remote input: whoever takes one in checks it with [`Report::checked`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How it spent its time since its last report.
    pub shares: Shares,
    /// How it spent its time since it began to train under this plan, until its part was done.
    pub run: Shares,
    /// How long that is, in seconds.
    pub run_seconds: f64,
    /// What its tasks take.
    pub task_seconds: TaskSeconds,
    /// What comes in from its neighbours, measured where it arrives.
    pub inbound: Vec<LinkRate>,
    /// If the peer is paced, how well it keeps its pace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paced: Option<Paced>,
    /// What it did lately.
    pub timeline: Timeline,
}

/// Seconds that tasks of one micro-batch take: means that forget, each new one counting a tenth. None until there was one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskSeconds {
    /// F of training.
    pub forward: Option<f64>,
    /// B.
    pub backward_input: Option<f64>,
    /// W.
    pub backward_weights: Option<f64>,
    /// The update of a step.
    pub update: Option<f64>,
}

/// How fast tensors come in over a link.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkRate {
    /// The sender.
    pub from: PeerId,
    /// Bytes per second while something was on its way, from handed to the link until read; so it includes delays, and small
    /// frames make it small. A mean that forgets.
    pub bytes_per_second: f64,
    /// The shortest time that a frame was on its way since the last report, in seconds. Within the errors of both clocks.
    pub delay_seconds: f64,
}

/// How well a paced peer keeps its pace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paced {
    /// Tasks worked off under this plan.
    pub tasks: u64,
    /// Tasks among them that took longer than they should: the machine was the bottleneck.
    pub late: u64,
}

/// What a peer did lately.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// It tells of the time up to this, by the room's clock.
    pub until: Time,
    /// It tells of so many microseconds before; what is not in `marks` was idle.
    pub covers_us: u32,
    /// How far the peer's clock may be off the room's, in microseconds.
    pub clock_error_us: u32,
    /// Tasks, and tensors on their way to this peer; in the order in which they ended.
    pub marks: Vec<Mark>,
}

/// A span in few bytes: what; how long before the end of the timeline it began; how long it took (both in microseconds); of
/// which micro-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark(pub Activity, pub u32, pub u32, pub u16);

impl Report {
    /// How many spans the timelines of a ring of so many stages have.
    pub fn timeline_spans_max(stages: usize) -> usize {
        let share = TIMELINE_SPANS_OF_RING / stages.max(1);
        share.clamp(TIMELINE_SPANS_MIN, TIMELINE_SPANS_MAX)
    }

    /// What can be believed of a report that comes in at `now` by the room's clock; none of one whose shares are none.
    pub fn checked(mut self, now: Time) -> Option<Self> {
        let believable = self.shares.are_sane()
            && self.run.are_sane()
            && (0.0..=RUN_SECONDS_MAX).contains(&self.run_seconds);
        if !believable {
            return None;
        }
        self.task_seconds.forget_the_impossible();
        self.inbound.truncate(INBOUND_MAX);
        self.inbound.retain(|rate| {
            (0.0..1e12).contains(&rate.bytes_per_second)
                && (0.0..TASK_SECONDS_MAX).contains(&rate.delay_seconds)
        });
        self.timeline = self.timeline.checked(now);
        Some(self)
    }
}

impl TaskSeconds {
    fn all(&mut self) -> [&mut Option<f64>; 4] {
        [
            &mut self.forward,
            &mut self.backward_input,
            &mut self.backward_weights,
            &mut self.update,
        ]
    }

    fn forget_the_impossible(&mut self) {
        for seconds in self.all() {
            *seconds = seconds.filter(|seconds| (0.0..=TASK_SECONDS_MAX).contains(seconds));
        }
    }

    /// Takes the time of a task into the mean of its kind.
    pub(super) fn observe(&mut self, activity: Activity, seconds: f64) {
        let mean = match activity {
            Activity::Forward => &mut self.forward,
            Activity::BackwardInput => &mut self.backward_input,
            Activity::BackwardWeights => &mut self.backward_weights,
            Activity::Update => &mut self.update,
            // An evaluation's F may do without what training keeps; the rest are no tasks.
            Activity::Evaluate
            | Activity::Draw
            | Activity::Activation
            | Activity::Samples
            | Activity::Gradient
            | Activity::Weights
            | Activity::Release
            | Activity::WaitInput
            | Activity::WaitCredit
            | Activity::WaitWeights => return,
        };
        *mean = Some(forgetting_mean(*mean, seconds));
    }
}

/// The mean of what was seen, the newest counting a tenth.
pub(super) fn forgetting_mean(mean: Option<f64>, newest: f64) -> f64 {
    mean.map_or(newest, |mean| mean + 0.1 * (newest - mean))
}

impl Timeline {
    /// The newest spans up to the last whole second of the room's clock, so that those of all peers end together.
    /// A peer's training began at `began`, and `since` gives its spans that end after some time, the newest first; all times but the
    /// timeline's are of its own clock.
    pub fn of(
        now: Time,
        clock: &RoomClock,
        began: Option<Time>,
        spans_max: usize,
        since: impl FnOnce(Time) -> Vec<Span>,
    ) -> Self {
        let (Some(room_now), Some(error)) = (clock.to_room(now), clock.error()) else {
            return Self::default();
        };
        let beyond = room_now.as_micros() % (REPORT_INTERVAL.as_micros() as u64);
        let until = now - Duration::from_micros(beyond);
        let mut covers = TIMELINE_MAX.min(until.since(began.unwrap_or(until)));
        let mut marks = Vec::new();
        for span in since(until - TIMELINE_MAX) {
            if span.activity.is_wait() || span.start >= until {
                continue;
            }
            if marks.len() == spans_max {
                // All after the end of this one is told.
                covers = covers.min(until.since(span.end));
                break;
            }
            let began = until.since(span.start).min(covers);
            let took = span.end.min(until).since(until - began);
            marks.push(Mark(
                span.activity,
                microseconds(began),
                microseconds(took),
                span.details.micro_batch.unwrap_or_default(),
            ));
        }
        marks.retain(|Mark(_, began, took, _)| began - took < microseconds(covers));
        for Mark(_, began, took, _) in &mut marks {
            let cut = began.saturating_sub(microseconds(covers));
            (*began, *took) = (*began - cut, *took - cut);
        }
        marks.reverse();
        Self {
            until: room_now - Duration::from_micros(beyond),
            covers_us: microseconds(covers),
            clock_error_us: microseconds(error),
            marks,
        }
    }

    fn checked(mut self, now: Time) -> Self {
        let old = now.since(self.until) > AGE_MAX;
        let ahead = self.until.since(now) > REPORT_INTERVAL;
        if old || ahead {
            return Self::default();
        }
        let longest = u32::try_from(TIMELINE_MAX.as_micros()).unwrap_or(u32::MAX);
        self.covers_us = self.covers_us.min(longest);
        self.marks.truncate(TIMELINE_SPANS_MAX);
        let covers = self.covers_us;
        self.marks
            .retain(|Mark(_, began, took, _)| *began <= covers && took <= began);
        self
    }
}

fn microseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let shares = Shares {
            busy: 0.5,
            forward: 0.25,
            backward_input: 0.25,
            input: 0.5,
            ..Shares::default()
        };
        Report {
            shares,
            run: shares,
            run_seconds: 10.0,
            task_seconds: TaskSeconds {
                forward: Some(0.01),
                ..TaskSeconds::default()
            },
            inbound: vec![LinkRate {
                from: PeerId(1),
                bytes_per_second: 1e6,
                delay_seconds: 0.001,
            }],
            paced: None,
            timeline: Timeline {
                until: Time::from_micros(5_000_000),
                covers_us: 1000,
                clock_error_us: 10,
                marks: vec![Mark(Activity::Forward, 900, 500, 3)],
            },
        }
    }

    const NOW: Time = Time::from_micros(5_100_000);

    #[test]
    fn a_sound_report_is_believed_as_it_is() {
        assert_eq!(report().checked(NOW), Some(report()));
        let json = serde_json::to_string(&report().timeline).expect("plain data");
        assert!(json.contains(r#"["F",900,500,3]"#), "{json}");
    }

    #[test]
    fn a_report_with_impossible_shares_is_not_believed_at_all() {
        for share in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
            let mut liar = report();
            liar.shares.input = share;
            assert_eq!(liar.checked(NOW), None, "{share}");
            let mut liar = report();
            liar.run.busy = share;
            assert_eq!(liar.checked(NOW), None, "{share}");
        }
        let mut liar = report();
        liar.run_seconds = f64::NAN;
        assert_eq!(liar.checked(NOW), None);
    }

    #[test]
    fn what_is_out_of_bounds_is_left_out_of_a_report() {
        let mut liar = report();
        liar.task_seconds.update = Some(-1.0);
        liar.task_seconds.backward_input = Some(f64::NAN);
        let rate = liar.inbound[0];
        liar.inbound = vec![
            LinkRate {
                bytes_per_second: f64::NAN,
                ..rate
            };
            1000
        ];
        let mark = liar.timeline.marks[0];
        liar.timeline.marks = vec![mark; 100_000];
        liar.timeline.marks[0] = Mark(Activity::Forward, 1001, 1, 0);
        liar.timeline.marks[1] = Mark(Activity::Forward, 10, 11, 0);
        let believed = liar.checked(NOW).expect("its shares are sane");
        assert_eq!(believed.task_seconds, report().task_seconds);
        assert!(believed.inbound.is_empty());
        assert_eq!(believed.timeline.marks.len(), TIMELINE_SPANS_MAX - 2);
        // Too old, or of the future.
        let later = NOW + Duration::from_secs(10);
        for (until, now) in [(5_000_000, later), (7_000_000, NOW), (u64::MAX, NOW)] {
            let mut liar = report();
            liar.timeline.until = Time::from_micros(until);
            let believed = liar.checked(now).expect("its shares are sane");
            assert_eq!(believed.timeline, Timeline::default(), "{until}");
        }
    }
}
