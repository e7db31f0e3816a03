//! The record of what this peer does: for the room, for the view, and for whoever writes a trace.

use crate::pace::{Pace, is_late};
use crate::platform::{Clock, sleep};
use futures::channel::mpsc;
use ringtmp_core::ids::{MicroBatchId, PeerId};
use ringtmp_core::plan::Plan;
use ringtmp_core::schedule::{Task, Waiting};
use ringtmp_core::time::Time;
use ringtmp_core::trace::json::RecordedBy;
use ringtmp_core::trace::{Recorder, Report, RoomClock, Span};
use ringtmp_core::wire::TensorKind;
use std::future::Future;

/// Some of a peer's trace, with times by the room's clock where that is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Traced {
    /// The peer's number: its place in the ring, head first.
    pub number: u32,
    /// Who it is.
    pub by: RecordedBy,
    /// What it did since the last time, and what it was sent.
    pub spans: Vec<Span>,
    /// Spans that are missing so far, since they were not taken in time.
    pub lost: u64,
}

/// Spans are handed on when there are so many, and with every report.
pub(crate) const HANDED_ON_AT: usize = 4096;

/// What records.
pub(super) struct Record {
    me: PeerId,
    name: String,
    recorder: Recorder,
    traced: Option<mpsc::Sender<Traced>>,
    /// Spans in batches that nobody took.
    refused: u64,
    due: Time,
}

impl Record {
    pub(super) fn new(me: PeerId, name: String, traced: Option<mpsc::Sender<Traced>>) -> Self {
        Self {
            me,
            name,
            recorder: Recorder::default(),
            traced,
            refused: 0,
            due: Time::ZERO,
        }
    }

    pub(super) fn me(&self) -> PeerId {
        self.me
    }

    pub(super) fn follow(&mut self, plan: &Plan) {
        self.recorder.follow(self.me, plan);
    }

    pub(super) fn task_began(&mut self, now: Time, task: &Task) {
        self.recorder.task_began(now, task);
    }

    pub(super) fn task_ended(&mut self, now: Time, late: Option<bool>) {
        self.recorder.task_ended(now, late);
    }

    pub(super) fn waits(&mut self, now: Time, waiting: Option<Waiting>) {
        self.recorder.waits(now, waiting);
    }

    pub(super) fn arrived(
        &mut self,
        now: Time,
        from: PeerId,
        sent: Option<Time>,
        kind: TensorKind,
        micro_batch: MicroBatchId,
        bytes: u64,
    ) {
        self.recorder
            .arrived(now, from, sent, kind, micro_batch, bytes);
    }

    /// When [`Record::report`] is due.
    pub(super) fn due(&self) -> Time {
        self.due
    }

    /// What is to be told since the last time.
    pub(super) fn report(&mut self, now: Time, clock: &RoomClock) -> Option<Report> {
        self.due = Recorder::report_due(now, clock);
        let report = self.recorder.report(now, clock);
        self.hand_on(clock);
        report
    }

    /// Hands spans on before they are too many.
    pub(super) fn hand_on_if_many(&mut self, clock: &RoomClock) {
        if self.recorder.fresh() >= HANDED_ON_AT {
            self.hand_on(clock);
        }
    }

    fn hand_on(&mut self, clock: &RoomClock) {
        let mut spans = self.recorder.take_fresh();
        let (Some(traced), Some(number)) = (&mut self.traced, self.recorder.own_number()) else {
            return;
        };
        let clock_error_us = to_room(&mut spans, clock);
        let count = spans.len() as u64;
        let batch = Traced {
            number,
            by: RecordedBy {
                name: self.name.clone(),
                clock_error_us,
            },
            spans,
            lost: self.recorder.lost() + self.refused,
        };
        if traced.try_send(batch).is_err() {
            self.refused += count;
        }
    }
}

/// Tells spans in the room's time, as far as it is known; by how many microseconds that may be off.
pub(crate) fn to_room(spans: &mut [Span], clock: &RoomClock) -> Option<u64> {
    let room = |local: Time| clock.to_room(local).unwrap_or(local);
    for span in spans {
        (span.start, span.end) = (room(span.start), room(span.end));
    }
    u64::try_from(clock.error()?.as_micros()).ok()
}

/// Lets a task take as long as it would on the emulated device, if there is one; says whether it took longer.
pub(super) async fn paced<T>(
    clock: Clock,
    pace: Option<Pace>,
    task: &Task,
    work: impl Future<Output = T>,
) -> (T, Option<bool>) {
    let began = clock.now();
    let result = work.await;
    let Some(takes) = pace.and_then(|pace| pace.duration(task)) else {
        return (result, None);
    };
    loop {
        let taken = clock.now().since(began);
        if taken >= takes {
            return (result, Some(is_late(takes, taken)));
        }
        sleep(takes - taken).await;
    }
}
