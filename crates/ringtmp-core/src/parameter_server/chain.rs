//! All-reduce: gradients and weights go round a ring of members.

use super::Job;
use super::desk::{Desk, Work};
use super::interface::{Outcome, Task};
use super::layout::{MemberIndex, RangeIndex, WorkerIndex};
use super::message::{Message, Push, Refusal, Weights};
use super::shard::{Shard, check_numbers};
use crate::ids::{PayloadId, Step};

/// What has come of each range.
#[derive(Debug)]
pub(super) struct Chain {
    ranges: Vec<Place>,
}

#[derive(Clone, Debug, Default)]
struct Place {
    /// The clock of the predecessor's next sum.
    expected: u32,
    /// The first clock that its home has not seen; above 0 only where a run goes on.
    begins_with: u32,
    /// The sum of the workers before this one, and their labels.
    partial: Option<(PayloadId, u64)>,
    /// This worker's push.
    own: Option<(PayloadId, Push)>,
}

impl Chain {
    pub(super) fn new(job: &Job) -> Self {
        Self {
            ranges: vec![Place::default(); job.layout.ranges.len()],
        }
    }

    /// The worker here has pushed.
    pub(super) fn own(
        &mut self,
        push: Push,
        payload: PayloadId,
        shard: &mut Shard,
        desk: &mut Desk,
    ) {
        let place = &mut self.ranges[push.range.0 as usize];
        if push.clock.0 < place.begins_with {
            // Of a run that goes on: the range has seen this step.
            return desk.discard(payload);
        }
        place.own = Some((payload, push));
        self.advance(push.range, shard, desk);
    }

    /// The run goes on, and this range from here.
    pub(super) fn goes_on(&mut self, range: RangeIndex, clock: Step) {
        let place = &mut self.ranges[range.0 as usize];
        (place.expected, place.begins_with) = (clock.0, clock.0);
    }

    /// The predecessor sent a sum.
    pub(super) fn partial(
        &mut self,
        from: MemberIndex,
        push: &Push,
        payload: PayloadId,
        shard: &mut Shard,
        desk: &mut Desk,
    ) -> Result<(), Refusal> {
        if let Err(refusal) = self.accept(from, push, desk) {
            desk.discard(payload);
            return Err(refusal);
        }
        let place = &mut self.ranges[push.range.0 as usize];
        place.expected += 1;
        place.partial = Some((payload, push.labels));
        self.advance(push.range, shard, desk);
        Ok(())
    }

    /// Two gradients were added up: their sum goes on.
    pub(super) fn merged(work: &Work, outcome: &Outcome, desk: &mut Desk) {
        let Task::Merge {
            clock,
            range,
            partial,
            own,
        } = work.task
        else {
            return;
        };
        desk.discard(partial);
        desk.discard(own);
        let (Outcome::Numbers(sum), Some(numbers)) = (outcome, desk.job.gradient(range)) else {
            return;
        };
        let push = Push {
            range,
            clock,
            base: clock,
            labels: work.labels,
            numbers,
        };
        let to = desk.job.layout.successor(desk.me);
        desk.send(vec![(to, Message::Push(push))], *sum);
    }

    /// Whether weights that came are to be passed on, and to whom.
    pub(super) fn passes_on(weights: &Weights, desk: &Desk) -> Option<MemberIndex> {
        let layout = &desk.job.layout;
        let successor = layout.successor(desk.me);
        let home = layout.home(weights.range);
        (home != successor && home != desk.me).then_some(successor)
    }

    fn accept(&self, from: MemberIndex, push: &Push, desk: &Desk) -> Result<(), Refusal> {
        let (range, clock) = (push.range, push.clock);
        let layout = &desk.job.layout;
        let numbers = desk.job.gradient(range).ok_or(Refusal::Range(range))?;
        let begins_here = layout.predecessor(desk.me) == layout.home(range);
        if from != layout.predecessor(desk.me) || begins_here {
            return Err(Refusal::Sender(range));
        }
        check_numbers(range, numbers, push.numbers)?;
        let place = &self.ranges[range.0 as usize];
        let expected = Step(place.expected);
        if clock < expected {
            return Err(Refusal::Duplicate { range, clock });
        }
        let (steps, base) = (desk.job.steps, push.base);
        if clock.0 >= steps {
            return Err(Refusal::PastTheEnd { steps, clock });
        }
        if clock > expected || place.partial.is_some() {
            return Err(Refusal::TooFarAhead {
                range,
                clock,
                expected,
            });
        }
        match base.cmp(&clock) {
            std::cmp::Ordering::Less => Err(Refusal::TooStale { clock, base }),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(Refusal::FromTheFuture { clock, base }),
        }
    }

    /// Goes on with a range once all is there that is added here.
    fn advance(&mut self, range: RangeIndex, shard: &mut Shard, desk: &mut Desk) {
        let layout = &desk.job.layout;
        let home = layout.home(range);
        let begins = layout.predecessor(desk.me) == home;
        let is_home = home == desk.me;
        let place = &mut self.ranges[range.0 as usize];
        let alone = begins && is_home;
        if place.own.is_none() || place.partial.is_none() && !begins {
            return;
        }
        let (Some((own, push)), partial) = (place.own.take(), place.partial.take()) else {
            return;
        };
        let labels = push.labels + partial.map_or(0, |(_, labels)| labels);
        let sum = partial.map(|(payload, _)| payload);
        if is_home || alone {
            let gradients = sum.into_iter().chain([own]);
            return shard.reduced(range, push.clock, gradients, labels, desk);
        }
        match sum {
            None => {
                let to = layout.successor(desk.me);
                desk.send(vec![(to, Message::Push(push))], own);
            }
            Some(partial) => desk.work.push_back(Work {
                task: Task::Merge {
                    clock: push.clock,
                    range,
                    partial,
                    own,
                },
                worker: WorkerIndex(0),
                labels,
            }),
        }
    }
}
