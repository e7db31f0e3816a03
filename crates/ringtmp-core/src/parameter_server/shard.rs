//! The shard: counts pushes, each once, and answers with weights.

use super::desk::{Desk, Work};
use super::interface::{Event, Outcome, Reached, Task, Update};
use super::layout::{Exchange, MemberIndex, RangeIndex, WorkerIndex};
use super::message::{Message, Numbers, Push, Refusal, Weights};
use super::{Job, PUSHES_AHEAD_MAX};
use crate::ids::{PayloadId, Step};
use std::collections::BTreeMap;

/// The ranges at one device.
#[derive(Debug)]
pub(super) struct Shard {
    ranges: BTreeMap<RangeIndex, RangeState>,
    steps: u32,
}

/// What a shard knows of one range.
#[derive(Debug)]
struct RangeState {
    /// By worker: the clock of its next push.
    expected: Vec<u32>,
    /// By worker: its pushes that were added up.
    counted: Vec<u32>,
    /// By worker: the clock that weights must have to be sent to it, where it waits for some.
    owed: Vec<Option<Step>>,
    /// By worker: a push that waits for its turn. At most one, since the next comes only after the answer.
    held: Vec<Option<(PayloadId, u64)>>,
    /// The worker whose push is to be added next, where all are added up for one update.
    turn: usize,
    /// What is in the sum since the last update, or will be.
    labels: u64,
    micro_batches: u16,
    /// Updates that were begun.
    updates: u32,
    /// Those of them that were made.
    made: u32,
    /// Pushes that were taken in for updates, of all workers.
    taken: u64,
    /// All workers' pushes below it are in the weights.
    clock: Step,
}

impl Shard {
    pub(super) fn new(job: &Job, me: MemberIndex) -> Self {
        let workers = job.layout.workers.len();
        let range = |range| {
            let state = RangeState {
                expected: vec![0; workers],
                counted: vec![0; workers],
                owed: vec![None; workers],
                held: vec![None; workers],
                turn: 0,
                labels: 0,
                micro_batches: 0,
                updates: 0,
                made: 0,
                taken: 0,
                clock: Step(0),
            };
            (range, state)
        };
        Self {
            ranges: job.layout.ranges_at(me).map(range).collect(),
            steps: job.steps,
        }
    }

    /// One that goes on from here, and sends its weights to all workers first; what was added up in part is forgotten.
    pub(super) fn going_on(
        job: &Job,
        me: MemberIndex,
        reached: &BTreeMap<RangeIndex, Reached>,
    ) -> Self {
        let mut shard = Self::new(job, me);
        let workers = job.layout.workers.len() as u64;
        for (range, state) in &mut shard.ranges {
            let Reached { clock, updates } = reached.get(range).copied().unwrap_or_default();
            state.expected.fill(clock.0);
            state.counted.fill(clock.0);
            state.owed.fill(Some(clock));
            (state.updates, state.made, state.clock) = (updates, updates, clock);
            state.taken = u64::from(clock.0) * workers;
        }
        shard
    }

    /// What it has to do first if it goes on.
    pub(super) fn reads(&self) -> impl Iterator<Item = Work> {
        let read = |range: &RangeIndex| Work::of(Task::Read { range: *range });
        self.ranges.keys().map(read)
    }

    /// The weights of a range were read.
    pub(super) fn read(&mut self, range: RangeIndex, outcome: &Outcome, desk: &mut Desk) {
        if let Outcome::Numbers(weights) = outcome {
            self.answer(range, *weights, desk);
        }
    }

    /// How far each range is.
    pub(super) fn reached(&self) -> BTreeMap<RangeIndex, Reached> {
        let reached = |(range, state): (&RangeIndex, &RangeState)| {
            let (clock, updates) = (state.clock, state.made);
            (*range, Reached { clock, updates })
        };
        self.ranges.iter().map(reached).collect()
    }

    /// Takes a push, or says why it does not count.
    pub(super) fn push(
        &mut self,
        from: MemberIndex,
        push: Push,
        payload: PayloadId,
        desk: &mut Desk,
    ) {
        match self.accept(from, &push, &desk.job) {
            Ok(worker) => {
                self.take(worker, &push, payload, desk);
            }
            Err(refusal) => {
                desk.discard(payload);
                desk.event(Event::Refused { from, refusal });
                desk.say(from, Message::Refused(refusal));
            }
        }
    }

    /// Updates that a range has seen.
    pub(super) fn updates(&self, range: RangeIndex) -> u32 {
        self.ranges.get(&range).map_or(0, |state| state.made)
    }

    /// Whether all is counted and answered.
    pub(super) fn is_done(&self) -> bool {
        let done = |range: &RangeState| {
            range.clock.0 == self.steps && range.owed.iter().all(Option::is_none)
        };
        self.ranges.values().all(done)
    }

    /// The sum of all workers' gradients has come round the ring.
    pub(super) fn reduced(
        &mut self,
        range: RangeIndex,
        clock: Step,
        gradients: impl Iterator<Item = PayloadId>,
        labels: u64,
        desk: &mut Desk,
    ) {
        let micro_batches = desk.job.layout.micro_batches();
        let Some(state) = self.state(range) else {
            return;
        };
        let update = Update {
            step: clock,
            updates: state.updates,
            labels,
            micro_batches,
        };
        state.updates += 1;
        state.owed.fill(Some(clock.next()));
        let mut gradients = gradients.peekable();
        while let Some(gradient) = gradients.next() {
            let last = gradients.peek().is_none();
            let update = last.then_some(update);
            desk.work
                .push_back(count(clock, range, gradient, update, WorkerIndex(0)));
        }
    }

    /// A push was added up.
    pub(super) fn counted(&mut self, work: &Work, outcome: &Outcome, desk: &mut Desk) {
        let Task::Count {
            range,
            gradient,
            update,
            ..
        } = &work.task
        else {
            return;
        };
        desk.discard(*gradient);
        let (exchange, staleness) = (desk.job.layout.exchange, desk.job.staleness);
        let Some(state) = self.state(*range) else {
            return;
        };
        if exchange == Exchange::Server {
            state.counted[usize::from(work.worker.0)] += 1;
        } else if update.is_some() {
            state.expected.iter_mut().for_each(|next| *next += 1);
            state.counted.iter_mut().for_each(|counted| *counted += 1);
        }
        if update.is_some() {
            state.made += 1;
            let before = state.clock;
            state.clock = match staleness.is_synchronous() {
                true => before.next(),
                false => Step(state.counted.iter().copied().min().unwrap_or(0)),
            };
            let version = state.clock;
            let due = desk.due.is_some_and(|due| due.is_due(version));
            if version > before && due {
                let range = *range;
                // Before anything else is added to it.
                let copy = Task::Copy { range, version };
                desk.work.push_front(Work::of(copy));
            }
        }
        if let Outcome::Numbers(weights) = outcome {
            self.answer(*range, *weights, desk);
        }
    }

    /// Sends new weights to whoever waits for them.
    fn answer(&mut self, range: RangeIndex, payload: PayloadId, desk: &mut Desk) {
        let job = desk.job.clone();
        let (Some(state), Some(numbers)) = (self.state(range), job.weights(range)) else {
            return desk.discard(payload);
        };
        let mut messages = Vec::new();
        for (place, member) in job.layout.workers.iter().enumerate() {
            let owed = state.owed[place].is_some_and(|owed| state.clock >= owed);
            // What was sent last is the answer to all pushes before it.
            if owed && state.counted[place] == state.expected[place] {
                state.owed[place] = None;
                let weights = Weights {
                    range,
                    clock: state.clock,
                    counted: state.counted[place],
                    numbers,
                };
                messages.push((*member, Message::Weights(weights)));
            }
        }
        if job.layout.exchange == Exchange::AllReduce {
            // Round the ring everybody passes them on.
            let near = [desk.me, job.layout.successor(desk.me)];
            messages.retain(|(to, _)| near.contains(to));
        }
        desk.send(messages, payload);
    }

    fn accept(&self, from: MemberIndex, push: &Push, job: &Job) -> Result<WorkerIndex, Refusal> {
        let (range, clock, base) = (push.range, push.clock, push.base);
        let state = self.ranges.get(&range);
        let (Some(state), Some(expected)) = (state, job.gradient(range)) else {
            return Err(Refusal::Range(range));
        };
        let worker = job.layout.worker_at(from).ok_or(Refusal::Sender(range))?;
        check_numbers(range, expected, push.numbers)?;
        let place = usize::from(worker.0);
        check_clock(job, push, state.expected[place], state.counted[place])?;
        if base > state.clock {
            return Err(Refusal::FromTheFuture { clock, base });
        }
        if base < job.staleness.needs(clock) {
            return Err(Refusal::TooStale { clock, base });
        }
        Ok(worker)
    }

    fn take(&mut self, worker: WorkerIndex, push: &Push, payload: PayloadId, desk: &mut Desk) {
        let job = desk.job.clone();
        let place = usize::from(worker.0);
        let (range, clock) = (push.range, push.clock);
        let workers = job.layout.workers.len();
        let Some(state) = self.state(range) else {
            return;
        };
        state.expected[place] += 1;
        let needs = job.needs(clock.next());
        state.owed[place] = state.owed[place].max(Some(needs));
        if !job.staleness.is_synchronous() {
            let update = Update {
                // Whole batches so far.
                step: Step((state.taken / workers as u64) as u32),
                updates: state.updates,
                labels: push.labels,
                micro_batches: job.layout.shares[place],
            };
            state.taken += 1;
            state.updates += 1;
            desk.work
                .push_back(count(clock, range, payload, Some(update), worker));
            return;
        }
        state.held[place] = Some((payload, push.labels));
        while let Some((gradient, labels)) = state.held[state.turn].take() {
            let worker = WorkerIndex(state.turn as u16);
            state.labels += labels;
            state.micro_batches += job.layout.shares[state.turn];
            state.turn += 1;
            let update = (state.turn == workers).then_some(Update {
                step: clock,
                updates: state.updates,
                labels: state.labels,
                micro_batches: state.micro_batches,
            });
            desk.work
                .push_back(count(clock, range, gradient, update, worker));
            if update.is_some() {
                (state.turn, state.labels, state.micro_batches) = (0, 0, 0);
                state.updates += 1;
            }
        }
    }

    fn state(&mut self, range: RangeIndex) -> Option<&mut RangeState> {
        self.ranges.get_mut(&range)
    }
}

/// Whether numbers are as many, and written so, as the run says of their range.
pub(super) fn check_numbers(
    range: RangeIndex,
    expected: Numbers,
    actual: Numbers,
) -> Result<(), Refusal> {
    let refusal = Refusal::Numbers {
        range,
        expected,
        actual,
    };
    (expected == actual).then_some(()).ok_or(refusal)
}

/// The range's clock for one worker: each push once, in order, and not too many under way.
fn check_clock(job: &Job, push: &Push, expected: u32, counted: u32) -> Result<(), Refusal> {
    let (range, clock) = (push.range, push.clock);
    if clock.0 >= job.steps {
        let steps = job.steps;
        return Err(Refusal::PastTheEnd { steps, clock });
    }
    if clock.0 < expected {
        return Err(Refusal::Duplicate { range, clock });
    }
    if clock.0 > expected || clock.0 - counted >= PUSHES_AHEAD_MAX {
        let expected = Step(expected.min(counted + PUSHES_AHEAD_MAX - 1));
        return Err(Refusal::TooFarAhead {
            range,
            clock,
            expected,
        });
    }
    Ok(())
}

fn count(
    clock: Step,
    range: RangeIndex,
    gradient: PayloadId,
    update: Option<Update>,
    worker: WorkerIndex,
) -> Work {
    Work {
        task: Task::Count {
            clock,
            range,
            gradient,
            update,
        },
        worker,
        labels: 0,
    }
}
