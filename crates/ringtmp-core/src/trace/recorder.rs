//! A peer's own record of what it does.

use super::report::forgetting_mean;
use super::shares::covered_us;
use super::{
    Activity, Details, LinkRate, Paced, REPORT_INTERVAL, Report, RoomClock, Shares, Span,
    TaskSeconds, Timeline, believed, shares,
};
use crate::ids::{MicroBatchId, PeerId};
use crate::plan::Plan;
use crate::schedule::{Task, Waiting};
use crate::time::Time;
use crate::wire::TensorKind;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The spans that a recorder keeps: the seconds of a timeline where tasks take a millisecond. Where they are shorter still, it
/// keeps less time, which a report says.
pub const RECENT_SPANS_MAX: usize = 16_384;

/// Bytes from a neighbour since the last report, and the stretches of time in which something was on its way, in microseconds.
#[derive(Debug, Default)]
struct Inbound {
    bytes: u64,
    stretches: Vec<(u64, u64)>,
    /// A mean that forgets.
    bytes_per_second: Option<f64>,
}

/// Keeps the latest spans of one peer, and makes reports of them. Times are of the peer's own clock.
#[derive(Debug, Default)]
pub struct Recorder {
    me: Option<PeerId>,
    plan: Option<Plan>,
    /// In the order in which they ended.
    spans: VecDeque<Span>,
    /// How many of them were not taken yet; at the end.
    fresh: usize,
    /// Fresh ones that were dropped, since nobody took them in time.
    lost: u64,
    task: Option<Span>,
    waiting: Option<(Activity, Time)>,
    /// When the first thing happened under the plan.
    began: Option<Time>,
    reported: Time,
    /// Seconds spent since it began, by kind.
    spent: Shares,
    task_seconds: TaskSeconds,
    inbound: BTreeMap<PeerId, Inbound>,
    paced: Option<Paced>,
}

impl Recorder {
    /// Begins anew under a plan.
    pub fn follow(&mut self, me: PeerId, plan: &Plan) {
        let known = self.plan.as_ref().map(|plan| plan.epoch);
        if known != Some(plan.epoch) {
            *self = Self {
                me: Some(me),
                plan: Some(plan.clone()),
                spans: std::mem::take(&mut self.spans),
                fresh: self.fresh,
                lost: self.lost,
                ..Self::default()
            };
        }
    }

    /// A peer's number in a trace: its place in the ring, head first.
    pub fn number(&self, peer: PeerId) -> Option<u32> {
        let stage = self.plan.as_ref()?.stage_of(peer)?;
        Some(u32::from(stage.0))
    }

    /// This peer's own number, once it holds a stage.
    pub fn own_number(&self) -> Option<u32> {
        self.number(self.me?)
    }

    /// A task begins.
    pub fn task_began(&mut self, now: Time, task: &Task) {
        let Some(peer) = self.own_number() else {
            return;
        };
        self.waits(now, None);
        self.began.get_or_insert(now);
        self.task = Some(Span {
            peer,
            activity: Activity::of_task(task),
            start: now,
            end: now,
            details: Details::of_task(task),
        });
    }

    /// The task is done; `late` says whether it kept its pace, if it has one.
    pub fn task_ended(&mut self, now: Time, late: Option<bool>) {
        let Some(mut span) = self.task.take() else {
            return;
        };
        span.end = now;
        let seconds = now.since(span.start).as_secs_f64();
        self.task_seconds.observe(span.activity, seconds);
        if let Some(late) = late {
            let paced = self.paced.get_or_insert_default();
            paced.tasks += 1;
            paced.late += u64::from(late);
        }
        self.keep(span);
    }

    /// What an idle stage waits for from now on; none while it works.
    pub fn waits(&mut self, now: Time, waiting: Option<Waiting>) {
        let waiting = waiting.map(Activity::of_waiting);
        if waiting == self.waiting.map(|(activity, _)| activity) {
            return;
        }
        if let Some(span) = self.wait_until(now) {
            self.keep(span);
        }
        self.waiting = waiting.map(|activity| (activity, now));
        if waiting.is_some() {
            self.began.get_or_insert(now);
        }
    }

    /// A tensor of so many bytes has arrived that was handed to the link at `sent`, if the sender knew the time.
    pub fn arrived(
        &mut self,
        now: Time,
        from: PeerId,
        sent: Option<Time>,
        kind: TensorKind,
        micro_batch: MicroBatchId,
        bytes: u64,
    ) {
        let (Some(peer), to, Some(sent)) = (self.number(from), self.own_number(), sent) else {
            return;
        };
        let start = believed(sent, now);
        let inbound = self.inbound.entry(from).or_default();
        inbound.bytes += bytes;
        // Bounded like the spans: what is dropped only makes the rate less exact.
        if inbound.stretches.len() < RECENT_SPANS_MAX {
            let stretch = (start.as_micros(), now.as_micros());
            inbound.stretches.push(stretch);
        }
        self.keep(Span {
            peer,
            activity: Activity::of_tensor(kind),
            start,
            end: now,
            details: Details {
                step: Some(micro_batch.step.0),
                micro_batch: Some(micro_batch.sequence),
                weight_version: None,
                to,
            },
        });
    }

    /// When the next report is due: at the next whole second of the room's clock, or of our own until that is known.
    pub fn report_due(now: Time, clock: &RoomClock) -> Time {
        let interval_us = REPORT_INTERVAL.as_micros() as u64;
        let room = clock.to_room(now).unwrap_or(now);
        now + Duration::from_micros(interval_us - room.as_micros() % interval_us)
    }

    /// What is to be told since the last report; none before there is anything.
    pub fn report(&mut self, now: Time, clock: &RoomClock) -> Option<Report> {
        let own = self.own_number()?;
        let began = self.began?;
        let stages = self.plan.as_ref()?.stages();
        // Of what was overwritten nothing can be said.
        let full = self.spans.len() == RECENT_SPANS_MAX;
        let oldest = self.spans.front().filter(|_| full).map(|span| span.end);
        let from = self
            .reported
            .max(began)
            .max(oldest.unwrap_or(began))
            .min(now);
        let of_own = shares(self.since(from, now).iter(), from, now);
        let recent = of_own.get(&own).copied();
        let seconds = now.since(from).as_secs_f64();
        // Who does nothing and waits for nothing has done its part, and its run is over, while its neighbours compute.
        if let Some(recent) = recent {
            self.spent = self
                .spent
                .combine(recent, |spent, share| spent + share * seconds);
        }
        let done = Shares {
            input: 1.0,
            ..Shares::default()
        };
        let recent = recent.unwrap_or(done);
        self.reported = now;
        let run_seconds = self.spent.busy
            + self.spent.input
            + self.spent.link
            + self.spent.credit
            + self.spent.weights;
        let inbound = self.rates();
        let timeline = self.timeline(now, clock, Report::timeline_spans_max(stages));
        let rounded = |share: f64| (share * 1e5).round() / 1e5;
        let run = |spent: f64, _| rounded(spent / run_seconds.max(1e-9));
        Some(Report {
            shares: recent.combine(recent, |share, _| rounded(share)),
            run: self.spent.combine(self.spent, run),
            run_seconds,
            task_seconds: self.task_seconds,
            inbound,
            paced: self.paced,
            timeline,
        })
    }

    /// Spans that nobody has taken yet.
    pub fn take_fresh(&mut self) -> Vec<Span> {
        let fresh = self.spans.len() - std::mem::take(&mut self.fresh);
        self.spans.range(fresh..).copied().collect()
    }

    /// How many spans there are to take.
    pub fn fresh(&self) -> usize {
        self.fresh
    }

    /// How many spans were overwritten before they were taken.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn keep(&mut self, span: Span) {
        if span.end <= span.start {
            return;
        }
        if self.spans.len() == RECENT_SPANS_MAX {
            self.spans.pop_front();
            if self.fresh == RECENT_SPANS_MAX {
                self.fresh -= 1;
                self.lost += 1;
            }
        }
        self.spans.push_back(span);
        self.fresh += 1;
    }

    fn wait_until(&self, now: Time) -> Option<Span> {
        let (activity, start) = self.waiting?;
        Some(Span {
            peer: self.own_number()?,
            activity,
            start,
            end: now,
            details: Details::default(),
        })
    }

    /// The spans that end after `from`, and what goes on at `now`.
    fn since(&self, from: Time, now: Time) -> Vec<Span> {
        let going_on = [self.task, self.wait_until(now)];
        let going_on = going_on.into_iter().flatten().map(|mut span| {
            span.end = now;
            span
        });
        let ended = self.spans.iter().rev().take_while(|span| span.end > from);
        going_on.chain(ended.copied()).collect()
    }

    /// What has come in since the last report, by sender.
    fn rates(&mut self) -> Vec<LinkRate> {
        let rate = |(from, inbound): (&PeerId, &mut Inbound)| {
            let stretches = std::mem::take(&mut inbound.stretches);
            let shortest = stretches.iter().map(|(from, to)| to - from).min()?;
            let seconds = covered_us(stretches).max(1) as f64 / 1e6;
            let rate = std::mem::take(&mut inbound.bytes) as f64 / seconds;
            let bytes_per_second = forgetting_mean(inbound.bytes_per_second, rate);
            inbound.bytes_per_second = Some(bytes_per_second);
            Some(LinkRate {
                from: *from,
                bytes_per_second,
                delay_seconds: shortest as f64 / 1e6,
            })
        };
        self.inbound.iter_mut().filter_map(rate).collect()
    }

    /// What it did lately, in at most so many spans.
    fn timeline(&self, now: Time, clock: &RoomClock, spans_max: usize) -> Timeline {
        Timeline::of(now, clock, self.began, spans_max, |from| {
            self.since(from, now)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, Slot, Step, Version};
    use crate::trace::{Mark, TRANSFER_MAX};
    use crate::wire::Purpose;

    const ME: PeerId = PeerId(7);
    const HEAD: PeerId = PeerId(6);

    const fn at(us: u64) -> Time {
        Time::from_micros(us)
    }

    fn micro_batch(sequence: u16) -> MicroBatchId {
        MicroBatchId {
            step: Step(3),
            source: HEAD,
            sequence,
        }
    }

    fn forward(sequence: u16) -> Task {
        Task::Forward {
            micro_batch: micro_batch(sequence),
            purpose: Purpose::Train,
            slot: Slot(0),
            version: Version(3),
            input: None,
        }
    }

    /// The second of two stages.
    fn recorder() -> Recorder {
        let mut recorder = Recorder::default();
        recorder.follow(ME, &plan(1));
        recorder
    }

    fn plan(number: u32) -> Plan {
        Plan {
            epoch: Epoch {
                number,
                incarnation: 0,
            },
            order: vec![HEAD, ME],
            cuts: vec![0, 1, 2],
            ..Plan::default()
        }
    }

    /// A room whose clock is 10 s ahead, known to 100 us.
    fn clock() -> RoomClock {
        let mut clock = RoomClock::default();
        clock.answered(at(200), at(0), at(10_000_100));
        clock
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-4
    }

    #[test]
    fn a_report_tells_busy_and_idle_time_with_its_causes_from_the_first_thing_that_happened() {
        let mut recorder = recorder();
        assert_eq!(recorder.report(at(50_000), &clock()), None);
        recorder.waits(at(100_000), Some(Waiting::Input));
        let kind = TensorKind::Activation;
        recorder.arrived(
            at(300_000),
            HEAD,
            Some(at(200_000)),
            kind,
            micro_batch(0),
            50_000,
        );
        recorder.task_began(at(300_000), &forward(0));
        recorder.task_ended(at(700_000), None);
        recorder.waits(at(700_000), Some(Waiting::Weights));
        recorder.waits(at(900_000), None);
        recorder.task_began(at(900_000), &forward(1));
        let report = recorder.report(at(1_100_000), &clock()).expect("a report");
        let shares = report.shares;
        assert!(
            near(shares.busy, 0.6) && near(shares.forward, 0.6),
            "{shares:?}"
        );
        assert!(
            near(shares.input, 0.1) && near(shares.link, 0.1),
            "{shares:?}"
        );
        assert!(near(shares.weights, 0.2), "{shares:?}");
        assert_eq!(report.task_seconds.forward, Some(0.4));
        assert_eq!(report.inbound.len(), 1);
        let rate = report.inbound[0];
        assert!(near(rate.bytes_per_second, 500_000.0) && near(rate.delay_seconds, 0.1));

        // The next one tells of the time since, and of the run.
        recorder.task_ended(at(2_100_000), None);
        let report = recorder.report(at(2_100_000), &clock()).expect("a report");
        assert!(near(report.shares.busy, 1.0), "{:?}", report.shares);
        assert!(near(report.run.busy, 0.8) && near(report.run_seconds, 2.0));
        assert!(report.inbound.is_empty());
        let now = clock().to_room(at(2_100_000)).expect("known");
        assert_eq!(report.clone().checked(now), Some(report));

        // Its part is done, and with it its run.
        let report = recorder.report(at(2_600_000), &clock()).expect("a report");
        assert!(near(report.shares.input, 1.0) && near(report.run.busy, 0.8));
        assert!(near(report.run_seconds, 2.0), "{}", report.run_seconds);
        let now = clock().to_room(at(2_600_000)).expect("known");
        assert!(report.checked(now).is_some());
    }

    #[test]
    fn a_timeline_ends_with_the_rooms_second_and_cuts_what_goes_on() {
        let mut recorder = recorder();
        recorder.task_began(at(500_000), &forward(0));
        recorder.task_ended(at(800_000), None);
        recorder.task_began(at(900_000), &forward(1));
        let report = recorder.report(at(1_100_000), &clock()).expect("a report");
        let timeline = report.timeline;
        assert_eq!(timeline.until, at(11_000_000));
        assert_eq!(timeline.clock_error_us, 100);
        assert_eq!(timeline.covers_us, 500_000);
        assert_eq!(
            timeline.marks,
            [
                Mark(Activity::Forward, 500_000, 300_000, 0),
                Mark(Activity::Forward, 100_000, 100_000, 1),
            ]
        );
        assert_eq!(Recorder::report_due(at(1_100_000), &clock()), at(2_000_000));
    }

    #[test]
    fn a_timeline_of_more_spans_than_fit_covers_only_the_time_of_those_it_tells() {
        let mut recorder = recorder();
        for i in 0..1000 {
            recorder.task_began(at(100_000 + 500 * i), &forward(0));
            recorder.task_ended(at(100_000 + 500 * i + 400), None);
        }
        let timeline = recorder.timeline(at(1_000_000), &clock(), 100);
        assert_eq!(timeline.marks.len(), 100);
        let Mark(_, began, took, _) = timeline.marks[0];
        // The last began at 599.5 ms, the first that is told 99 before it.
        assert_eq!((began, took), (1_000_000 - 550_000, 400));
        assert_eq!(timeline.covers_us, 1_000_000 - 549_900);
    }

    #[test]
    fn spans_are_bounded_and_each_is_taken_once_or_counted_as_lost() {
        let mut recorder = recorder();
        let tasks = RECENT_SPANS_MAX as u64 + 10;
        for i in 0..tasks {
            recorder.task_began(at(10 * i), &forward(0));
            recorder.task_ended(at(10 * i + 5), Some(i == 0));
        }
        assert_eq!(recorder.take_fresh().len(), RECENT_SPANS_MAX);
        assert_eq!(recorder.lost(), 10);
        assert!(recorder.take_fresh().is_empty());
        recorder.waits(at(10 * tasks), Some(Waiting::Credit));
        recorder.waits(at(10 * tasks + 3), None);
        let fresh = recorder.take_fresh();
        assert_eq!((fresh.len(), fresh[0].activity), (1, Activity::WaitCredit));
        assert_eq!(recorder.paced, Some(Paced { tasks, late: 1 }));
        // A new plan begins anew, but keeps what was not taken.
        recorder.follow(ME, &plan(2));
        assert_eq!(recorder.report(at(10 * tasks + 9), &clock()), None);
    }

    #[test]
    fn a_sender_cannot_claim_that_a_tensor_was_on_its_way_for_ever_or_not_yet_sent() {
        let mut recorder = recorder();
        let kind = TensorKind::Activation;
        let now = at(100_000_000);
        for sent in [at(0), at(200_000_000)] {
            recorder.arrived(now, HEAD, Some(sent), kind, micro_batch(0), 1);
        }
        let spans = recorder.take_fresh();
        assert_eq!(spans.len(), 1, "what took no time is no span");
        assert_eq!(spans[0].start, now - TRANSFER_MAX);
        assert_eq!((spans[0].peer, spans[0].details.to), (0, Some(1)));
    }
}
