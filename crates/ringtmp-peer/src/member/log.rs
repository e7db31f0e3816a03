//! How a member spends its time.

use crate::shell::Traced;
use futures::channel::mpsc;
use ringtmp_core::parameter_server::{MemberIndex, Message, Task};
use ringtmp_core::time::Time;
use ringtmp_core::trace::json::RecordedBy;
use ringtmp_core::trace::{Activity, Details, Shares, Span};
use std::collections::VecDeque;
use std::time::Duration;

/// Tasks that a timeline may be made of; few more than it has.
const RECENT_TASKS: usize = 256;

/// Spans are handed on when there are so many.
const HANDED_ON_AT: usize = 4096;

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

    /// How it was spent since an earlier time: what is not computing waits for others, a worker for weights, a server for gradients.
    pub(super) fn shares_since(&self, earlier: &Self) -> Shares {
        let seconds = self.seconds - earlier.seconds;
        let [forward, backward, busy] = [
            self.forward_seconds - earlier.forward_seconds,
            self.backward_seconds - earlier.backward_seconds,
            self.busy_seconds - earlier.busy_seconds,
        ];
        // A clock's rounding may let tasks take longer than there is.
        let whole = seconds.max(busy).max(f64::MIN_POSITIVE);
        Shares {
            busy: busy / whole,
            forward: forward / whole,
            backward_weights: backward / whole,
            update: ((busy - forward - backward) / whole).max(0.0),
            input: 1.0 - busy / whole,
            ..Shares::default()
        }
    }
}

/// What a member did lately.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lately {
    /// When its first task began.
    pub(super) began: Option<Time>,
    /// Its newest tasks, the newest first, with the one under way.
    pub(super) tasks: Vec<Span>,
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
    traced: Option<mpsc::Sender<Traced>>,
    lost: u64,
}

impl Log {
    pub(super) fn new(me: MemberIndex, traced: Option<mpsc::Sender<Traced>>) -> Self {
        Self {
            number: u32::from(me.0),
            task: None,
            waiting: None,
            began: None,
            ended: Time::ZERO,
            spent: Spent::default(),
            spans: Vec::new(),
            recent: VecDeque::new(),
            traced,
            lost: 0,
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
        if self.recent.len() == RECENT_TASKS {
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
        let longest = Duration::from_secs(60);
        let sent = sent.filter(|sent| *sent <= now && now.since(*sent) <= longest);
        if let Some(start) = sent {
            self.keep(Span {
                peer: u32::from(from.0),
                activity,
                start,
                end: now,
                details: Details {
                    step: Some(clock.0),
                    to: Some(self.number),
                    ..Details::default()
                },
            });
        }
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
        spent.seconds = now.since(self.began.unwrap_or(now)).as_secs_f64();
        spent
    }

    /// What it did lately, the task under way included.
    pub(super) fn lately(&self, now: Time) -> Lately {
        let under_way = self.task.map(|span| Span { end: now, ..span });
        let tasks = under_way.into_iter();
        Lately {
            began: self.began,
            tasks: tasks.chain(self.recent.iter().rev().copied()).collect(),
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
        let spans = std::mem::take(&mut self.spans);
        let Some(traced) = &mut self.traced else {
            return;
        };
        let count = spans.len() as u64;
        let batch = Traced {
            number: self.number,
            by: RecordedBy {
                name: format!("member {}", self.number + 1),
                // One clock for all of the process.
                clock_error_us: Some(0),
            },
            spans,
            lost: self.lost,
        };
        if traced.try_send(batch).is_err() {
            self.lost += count;
        }
    }
}
