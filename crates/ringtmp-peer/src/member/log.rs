//! How a member spends its time.

use super::SharedClock;
use crate::shell::{HANDED_ON_AT, Traced, to_room};
use futures::channel::mpsc;
use ringtmp_core::parameter_server::{MemberIndex, Message, Task};
use ringtmp_core::time::Time;
use ringtmp_core::trace::json::RecordedBy;
use ringtmp_core::trace::{Activity, Details, Shares, Span, believed};
use std::collections::VecDeque;
use std::time::Duration;

/// Spans of a kind that a timeline may be made of; few more than it has.
const RECENT_SPANS_MAX: usize = 256;

/// Frames that follow each other so closely are drawn as one stretch of time in which something was on its way.
const STRETCH_GAP: Duration = Duration::from_millis(1);

/// How a member spent its time, from its first task to its last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// From the beginning of the first task to the end of the last.
    pub seconds: f64,
    /// With tasks.
    pub busy_seconds: f64,
    /// Of these, with forward; the rest is with putting weights in, adding and updating.
    pub forward_seconds: f64,
    /// Of these, with backward.
    pub backward_seconds: f64,
    /// Idle, while something was on its way to it.
    pub link_seconds: f64,
    /// Tasks that had a pace to keep.
    pub paced: u64,
    /// Those among them that the machine was too slow for.
    pub late: u64,
    /// Bytes sent since training began.
    pub bytes_sent: u64,
}

impl Spent {
    /// A task of this kind took so long.
    fn takes(&mut self, activity: Activity, seconds: f64) {
        self.busy_seconds += seconds;
        match activity {
            Activity::Forward | Activity::Evaluate => self.forward_seconds += seconds,
            Activity::BackwardInput | Activity::BackwardWeights => self.backward_seconds += seconds,
            // Of a member's tasks there is the update left; the others are none.
            _ => {}
        }
    }

    /// How it was spent since an earlier time: what is not computing waits for what is on its way, or for others to compute, a worker for weights
    /// and a server for gradients. That something was on its way is known once it has come: of a wait that is longer than the time between two
    /// reports, that part counts in the last of them, as far as it goes.
    pub(super) fn shares_since(&self, earlier: &Self) -> Shares {
        let seconds = self.seconds - earlier.seconds;
        let [forward, backward, busy, link] = [
            self.forward_seconds - earlier.forward_seconds,
            self.backward_seconds - earlier.backward_seconds,
            self.busy_seconds - earlier.busy_seconds,
            self.link_seconds - earlier.link_seconds,
        ];
        // A clock's rounding may let tasks take longer than there is.
        let whole = seconds.max(busy).max(f64::MIN_POSITIVE);
        // Of a wait in which very much came, what came first may be forgotten by its end.
        let link = link.max(0.0).min(whole - busy);
        Shares {
            busy: busy / whole,
            forward: forward / whole,
            backward_weights: backward / whole,
            update: ((busy - forward - backward) / whole).max(0.0),
            link: link / whole,
            input: (whole - busy - link) / whole,
            ..Shares::default()
        }
    }
}

/// What a member did lately.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lately {
    /// When its first task began.
    pub(super) began: Option<Time>,
    /// Its newest tasks, with the one under way, and when something was on its way to it; by their ends, the newest first.
    pub(super) spans: Vec<Span>,
}

/// Records tasks, waits and what arrives.
pub(super) struct Log {
    number: u32,
    task: Option<Span>,
    waiting: Option<Time>,
    began: Option<Time>,
    ended: Time,
    spent: Spent,
    spans: Vec<Span>,
    /// The newest tasks, in the order in which they ended.
    recent: VecDeque<Span>,
    /// The newest stretches of time in which gradients were on their way to it, and weights, each in their order.
    arrivals: [VecDeque<Span>; 2],
    /// Likewise in which anything was, gaps left out: by these, idle time is told.
    coming: VecDeque<Span>,
    /// By which devices of a room put what they did on one axis of time; none where all members have one clock.
    clock: Option<SharedClock>,
    traced: Option<mpsc::Sender<Traced>>,
    lost: u64,
}

impl Log {
    pub(super) fn new(
        me: MemberIndex,
        clock: Option<SharedClock>,
        traced: Option<mpsc::Sender<Traced>>,
    ) -> Self {
        Self {
            number: u32::from(me.0),
            task: None,
            waiting: None,
            began: None,
            ended: Time::ZERO,
            spent: Spent::default(),
            spans: Vec::new(),
            recent: VecDeque::new(),
            arrivals: Default::default(),
            coming: VecDeque::new(),
            clock,
            traced,
            lost: 0,
        }
    }

    /// What a frame says of when it was sent: nothing while the room's time is not known.
    pub(super) fn stamp(&self, now: Time) -> Option<Time> {
        match &self.clock {
            Some(clock) => clock.with(|clock| clock.to_room(now)),
            None => Some(now),
        }
    }

    pub(super) fn task_began(&mut self, now: Time, task: &Task) {
        self.waits(now, false);
        self.began.get_or_insert(now);
        self.task = Some(Span {
            peer: self.number,
            activity: task.activity(),
            start: now,
            end: now,
            details: task.details(),
        });
    }

    pub(super) fn task_ended(&mut self, now: Time, late: Option<bool>) {
        let Some(mut span) = self.task.take() else {
            return;
        };
        span.end = now;
        self.ended = now;
        self.spent
            .takes(span.activity, now.since(span.start).as_secs_f64());
        self.spent.paced += u64::from(late.is_some());
        self.spent.late += u64::from(late == Some(true));
        if self.recent.len() == RECENT_SPANS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(span);
        self.keep(span);
    }

    /// Whether it is idle from now on, until what it waits for is there.
    pub(super) fn waits(&mut self, now: Time, waits: bool) {
        match (self.waiting, waits) {
            (None, true) => self.waiting = Some(now),
            (Some(start), false) => {
                self.waiting = None;
                self.spent.link_seconds += self.link_seconds(start, now);
                self.keep(Span {
                    peer: self.number,
                    activity: Activity::WaitInput,
                    start,
                    end: now,
                    details: Details::default(),
                });
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    /// Of this wait, in which something was on its way; nothing before the first task, from which on its time is told.
    fn link_seconds(&self, start: Time, end: Time) -> f64 {
        let newest = self.coming.iter().rev();
        let of = newest.take_while(|span| self.began.is_some() && span.end > start);
        let seconds = of.map(|span| span.end.min(end).since(span.start.max(start)).as_secs_f64());
        seconds.sum()
    }

    /// Something came; `sent` is what the sender says of when.
    pub(super) fn arrived(
        &mut self,
        now: Time,
        from: MemberIndex,
        sent: Option<Time>,
        message: &Message,
    ) {
        let Some((activity, clock)) = message.transfer() else {
            return;
        };
        let sent = sent.and_then(|sent| match &self.clock {
            Some(clock) => clock.with(|clock| clock.to_local(sent)),
            None => Some(sent),
        });
        let start = sent.map(|sent| believed(sent, now));
        // Two clocks may differ by more than a frame takes.
        let Some(start) = start.filter(|start| *start < now) else {
            return;
        };
        let span = Span {
            peer: u32::from(from.0),
            activity,
            start,
            end: now,
            details: Details {
                step: Some(clock.0),
                to: Some(self.number),
                ..Details::default()
            },
        };
        let kind = usize::from(activity == Activity::Weights);
        join(&mut self.arrivals[kind], span, STRETCH_GAP);
        join(&mut self.coming, span, Duration::ZERO);
        self.keep(span);
    }

    pub(super) fn spent(&self, bytes_sent: u64) -> Spent {
        let began = self.began.unwrap_or(self.ended);
        Spent {
            seconds: self.ended.since(began).as_secs_f64(),
            bytes_sent,
            ..self.spent
        }
    }

    /// How it has spent its time until now, the task under way included.
    pub(super) fn so_far(&self, now: Time) -> Spent {
        let mut spent = self.spent;
        if let Some(span) = &self.task {
            spent.takes(span.activity, now.since(span.start).as_secs_f64());
        }
        if let Some(start) = self.waiting {
            spent.link_seconds += self.link_seconds(start, now);
        }
        spent.seconds = now.since(self.began.unwrap_or(now)).as_secs_f64();
        spent
    }

    /// What it did lately, the task under way included.
    pub(super) fn lately(&self, now: Time) -> Lately {
        let under_way = self.task.map(|span| Span { end: now, ..span });
        let arrivals = self.arrivals.iter().flatten();
        let ended = self.recent.iter().chain(arrivals).copied();
        let mut spans: Vec<Span> = ended.chain(under_way).collect();
        spans.sort_by_key(|span| std::cmp::Reverse(span.end));
        Lately {
            began: self.began,
            spans,
        }
    }

    fn keep(&mut self, span: Span) {
        if self.traced.is_some() {
            self.spans.push(span);
            if self.spans.len() >= HANDED_ON_AT {
                self.hand_on();
            }
        }
    }

    /// Hands on what was recorded since the last time.
    pub(super) fn hand_on(&mut self) {
        let mut spans = std::mem::take(&mut self.spans);
        let Some(traced) = &mut self.traced else {
            return;
        };
        let clock_error_us = match &self.clock {
            Some(clock) => clock.with(|clock| to_room(&mut spans, clock)),
            None => Some(0),
        };
        let count = spans.len() as u64;
        let batch = Traced {
            number: self.number,
            by: RecordedBy {
                name: format!("member {}", self.number + 1),
                clock_error_us,
            },
            spans,
            lost: self.lost,
        };
        if traced.try_send(batch).is_err() {
            self.lost += count;
        }
    }
}

/// Adds a stretch of time, which those that it meets, or nearly does, become part of.
fn join(stretches: &mut VecDeque<Span>, mut span: Span, gap: Duration) {
    while let Some(last) = stretches.pop_back_if(|last| span.start <= last.end + gap) {
        span.start = span.start.min(last.start);
    }
    if stretches.len() == RECENT_SPANS_MAX {
        stretches.pop_front();
    }
    stretches.push_back(span);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_core::ids::Step;
    use ringtmp_core::parameter_server::{Numbers, Push, RangeIndex, Weights};
    use ringtmp_core::wire::Codec;

    const ME: MemberIndex = MemberIndex(0);
    const OTHER: MemberIndex = MemberIndex(1);

    const fn at(ms: u64) -> Time {
        Time::from_micros(1000 * ms)
    }

    fn numbers() -> Numbers {
        Numbers {
            codec: Codec::F32,
            elements: 4,
        }
    }

    fn push() -> Message {
        Message::Push(Push {
            range: RangeIndex(0),
            clock: Step(3),
            base: Step(3),
            labels: 8,
            numbers: numbers(),
        })
    }

    fn weights() -> Message {
        Message::Weights(Weights {
            range: RangeIndex(0),
            clock: Step(4),
            counted: 4,
            numbers: numbers(),
        })
    }

    /// Kind, beginning and end in milliseconds, the newest first.
    fn told(log: &Log) -> Vec<(Activity, u64, u64)> {
        let spans = log.lately(at(1000)).spans.into_iter();
        let ms = |time: Time| time.as_micros() / 1000;
        spans
            .map(|span| (span.activity, ms(span.start), ms(span.end)))
            .collect()
    }

    #[test]
    fn what_was_on_its_way_at_once_is_one_stretch_of_time_for_each_kind() {
        let mut log = Log::new(ME, None, None);
        for (now, sent, message) in [
            (20, 10, push()),
            // From another device, handed over while the first was on its way.
            (25, 15, push()),
            (30, 22, weights()),
            // Before both of the first, by a slow link.
            (35, 5, push()),
            (90, 80, push()),
        ] {
            log.arrived(at(now), OTHER, Some(at(sent)), &message);
        }
        let expected = [
            (Activity::Gradient, 80, 90),
            (Activity::Gradient, 5, 35),
            (Activity::Weights, 22, 30),
        ];
        assert_eq!(told(&log), expected);
    }

    fn read() -> Task {
        Task::Read {
            range: RangeIndex(0),
        }
    }

    /// Busy, waiting for what is on its way, and for others to compute.
    fn spent(log: &Log, now: u64, earlier: &Spent) -> [f64; 3] {
        let shares = log.so_far(at(now)).shares_since(earlier);
        [shares.busy, shares.link, shares.input]
    }

    fn assert_near(told: [f64; 3], expected: [f64; 3]) {
        let near = |(told, expected): (f64, f64)| (told - expected).abs() < 1e-9;
        assert!(told.into_iter().zip(expected).all(near), "{told:?}");
    }

    #[test]
    fn idle_time_is_told_by_what_it_was_spent_on() {
        let mut log = Log::new(ME, None, None);
        log.task_began(at(0), &read());
        log.task_ended(at(10), None);
        log.waits(at(10), true);
        // Twenty ms before anything was on its way, then thirty with one frame or both.
        log.arrived(at(45), OTHER, Some(at(30)), &push());
        log.arrived(at(60), OTHER, Some(at(40)), &weights());
        assert_near(
            spent(&log, 60, &Spent::default()),
            [1.0 / 6.0, 0.5, 1.0 / 3.0],
        );
        let earlier = log.so_far(at(60));
        log.task_began(at(60), &read());
        log.task_ended(at(100), None);
        assert_near(spent(&log, 100, &Spent::default()), [0.5, 0.3, 0.2]);
        assert_near(spent(&log, 100, &earlier), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn gaps_too_short_to_draw_and_time_before_the_first_task_are_no_waiting_for_links() {
        let mut log = Log::new(ME, None, None);
        let us = Time::from_micros;
        log.waits(at(0), true);
        log.arrived(at(90), OTHER, Some(at(10)), &push());
        log.task_began(at(100), &read());
        log.task_ended(at(110), None);
        log.waits(at(110), true);
        // A tenth of each millisecond, ten times.
        for i in 0..10 {
            let now = 110_500 + 1000 * i;
            log.arrived(us(now), OTHER, Some(us(now - 100)), &push());
        }
        assert_near(spent(&log, 120, &Spent::default()), [0.5, 0.05, 0.45]);
        let drawn = told(&log).into_iter();
        let drawn = drawn.filter(|(kind, ..)| *kind == Activity::Gradient);
        assert_eq!(drawn.count(), 2, "one for all of the second wait");
    }

    #[test]
    fn shares_are_shares_whatever_was_told_before() {
        let later = Spent {
            seconds: 3.0,
            busy_seconds: 1.0,
            link_seconds: 0.25,
            ..Spent::default()
        };
        for (link_seconds, expected) in [(0.5, [0.5, 0.0, 0.5]), (-9.0, [0.5, 0.5, 0.0])] {
            let earlier = Spent {
                seconds: 1.0,
                link_seconds,
                ..Spent::default()
            };
            let shares = later.shares_since(&earlier);
            assert_near([shares.busy, shares.link, shares.input], expected);
        }
    }

    #[test]
    fn however_much_comes_it_is_bounded_and_what_a_sender_claims_is_too() {
        let mut log = Log::new(ME, None, None);
        for i in 0..2 * RECENT_SPANS_MAX as u64 {
            log.arrived(at(10 * i + 5), OTHER, Some(at(10 * i)), &push());
        }
        assert_eq!(told(&log).len(), RECENT_SPANS_MAX);
        assert_eq!(log.coming.len(), RECENT_SPANS_MAX);
        let mut log = Log::new(ME, None, None);
        log.arrived(at(500), OTHER, Some(at(700)), &push());
        log.arrived(at(500), OTHER, None, &push());
        assert_eq!(told(&log), [], "by a fast clock, or by none");
        log.arrived(at(100_000), OTHER, Some(at(10)), &push());
        let minute = [(Activity::Gradient, 40_000, 100_000)];
        assert_eq!(told(&log), minute, "no longer is believed");
    }

    #[test]
    fn devices_of_a_room_speak_of_the_rooms_time() {
        let clock = SharedClock::default();
        let mut log = Log::new(ME, Some(clock.clone()), None);
        assert_eq!(log.stamp(at(5)), None, "not known yet");
        log.arrived(at(20), OTHER, Some(at(1010)), &push());
        assert_eq!(told(&log), []);
        clock.answered(at(10), at(10), at(1010));
        assert_eq!(log.stamp(at(5)), Some(at(1005)));
        log.arrived(at(20), OTHER, Some(at(1012)), &push());
        assert_eq!(told(&log), [(Activity::Gradient, 12, 20)]);
    }
}
