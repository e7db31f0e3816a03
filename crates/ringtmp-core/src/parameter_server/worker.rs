//! The worker: computes the gradients of its share, pushes them, and takes weights.

use super::desk::Desk;
use super::interface::{Outcome, Task};
use super::layout::{Exchange, MemberIndex, RangeIndex, WorkerIndex};
use super::message::{Message, Push, Score, Sums, Weights};
use super::{Job, PUSHES_AHEAD_MAX};
use crate::ids::{LayerIndex, PayloadId, Step};
use crate::wire::Purpose;
use std::ops::Range;

/// What a worker was sent that no correct shard would send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("it sent weights of range {} that nobody asked it for", .0.0)]
    Unasked(RangeIndex),
    #[error("it sent weights of range {} that are not written as the run says", .0.0)]
    Numbers(RangeIndex),
    #[error("it sent weights of range {} whose clocks cannot be", .0.0)]
    Clock(RangeIndex),
    #[error("it refused a push: {0}")]
    Refused(super::message::Refusal),
    #[error("it sent a score out of turn")]
    Score,
}

/// Where a worker stands in its step; each is the next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Waits for weights.
    Gate,
    Evaluate(u16),
    Forward(u16),
    Backward(u16),
    /// The layers below this one are left to go backward, of the last micro-batch.
    Layers(u16, u16),
    Done,
}

/// What a worker knows of one range.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// The clock of the weights in the model.
    loaded: Step,
    /// Newer ones.
    arrived: Option<(Step, PayloadId)>,
    /// Own pushes that are known to be counted.
    counted: u32,
}

#[derive(Debug)]
pub(super) struct Worker {
    me: WorkerIndex,
    /// Steps done.
    clock: Step,
    at: At,
    ranges: Vec<Held>,
    sums: Sums,
    /// No new step is to begin.
    on_hold: bool,
    /// It comes to a run that goes on, and learns from the weights with which step.
    comes: bool,
}

impl Worker {
    pub(super) fn new(job: &Job, me: WorkerIndex) -> Self {
        Self {
            me,
            clock: Step(0),
            at: At::Gate,
            ranges: vec![Held::default(); job.layout.ranges.len()],
            sums: Sums::default(),
            on_hold: false,
            comes: false,
        }
    }

    /// One that comes to a run that goes on.
    pub(super) fn coming(job: &Job, me: WorkerIndex) -> Self {
        Self {
            comes: true,
            ..Self::new(job, me)
        }
    }

    /// Once all weights are there: the step to begin with is the first that is not in all of them. (Ranges that are one further
    /// refuse its push as counted before, and lose nothing.)
    fn find_place(&mut self) {
        let clocks = self.ranges.iter().map(|held| held.arrived);
        let clocks: Option<Vec<Step>> = clocks.map(|held| Some(held?.0)).collect();
        if let Some(clocks) = clocks {
            self.clock = clocks.into_iter().min().unwrap_or_default();
            self.comes = false;
        }
    }

    /// Whether it comes to a run that goes on, and has not all weights yet.
    pub(super) fn comes(&self) -> bool {
        self.comes
    }

    /// Whether to begin no new step from now on.
    pub(super) fn hold(&mut self, held: bool) {
        self.on_hold = held;
    }

    pub(super) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// The next task, if there is one.
    pub(super) fn next(&mut self, desk: &mut Desk) -> Option<Task> {
        let job = desk.job.clone();
        loop {
            let clock = self.clock;
            match self.at {
                At::Done => return None,
                At::Gate => {
                    if self.comes {
                        self.find_place();
                    }
                    if self.comes || self.on_hold || !self.may_begin(desk) {
                        return None;
                    }
                    let weights = self.take_arrived();
                    let evaluations = self.part(&job, Purpose::Evaluate);
                    self.at = At::Evaluate(evaluations.start);
                    if !weights.is_empty() {
                        let clock = self.clock;
                        return Some(Task::Load { clock, weights });
                    }
                }
                At::Evaluate(sequence) => {
                    if self.part(&job, Purpose::Evaluate).contains(&sequence) {
                        return Some(Task::Evaluate { clock, sequence });
                    }
                    if job.evaluates_before(clock) {
                        self.tell(Purpose::Evaluate, desk);
                    }
                    self.at = match clock.0 < job.steps {
                        true => At::Forward(self.part(&job, Purpose::Train).start),
                        false => At::Done,
                    };
                }
                At::Forward(sequence) => return Some(Task::Forward { clock, sequence }),
                At::Backward(sequence) => return Some(Task::Backward { clock, sequence }),
                At::Layers(sequence, left) => {
                    if let Some(layer) = left.checked_sub(1).map(LayerIndex) {
                        return Some(Task::BackwardLayer {
                            clock,
                            sequence,
                            layer,
                        });
                    }
                    self.tell(Purpose::Train, desk);
                    (self.clock, self.at) = (clock.next(), At::Gate);
                }
            }
        }
    }

    /// A task of this worker is done. Its pushes are what is returned.
    pub(super) fn completed(
        &mut self,
        task: &Task,
        outcome: Outcome,
        desk: &mut Desk,
    ) -> Vec<(Push, PayloadId)> {
        if let Outcome::Sums(sums) = outcome {
            self.sums = self.sums.plus(sums);
        }
        let job = desk.job.clone();
        match task {
            Task::Load { weights, .. } => {
                weights
                    .iter()
                    .for_each(|(_, payload)| desk.discard(*payload));
            }
            Task::Evaluate { sequence, .. } => self.at = At::Evaluate(sequence + 1),
            Task::Forward { sequence, .. } => {
                let last = sequence + 1 == self.part(&job, Purpose::Train).end;
                self.at = match last {
                    true => At::Layers(*sequence, job.layers),
                    false => At::Backward(*sequence),
                };
            }
            Task::Backward { sequence, .. } => self.at = At::Forward(sequence + 1),
            Task::BackwardLayer {
                sequence, layer, ..
            } => {
                self.at = At::Layers(*sequence, layer.0);
                if let Outcome::Gradients(gradients) = outcome {
                    return self.pushes(&job, *layer, gradients);
                }
            }
            Task::Merge { .. } | Task::Read { .. } | Task::Copy { .. } | Task::Count { .. } => {}
        }
        Vec::new()
    }

    /// Weights came.
    pub(super) fn weights(
        &mut self,
        from: MemberIndex,
        weights: &Weights,
        payload: PayloadId,
        desk: &mut Desk,
    ) -> Result<(), Fault> {
        let job = desk.job.clone();
        let checked = self.check(from, weights, &job, desk.me);
        let held = self.ranges.get_mut(weights.range.0 as usize);
        let (Ok(()), Some(held)) = (checked, held) else {
            desk.discard(payload);
            return checked;
        };
        held.counted = weights.counted;
        if let Some((_, older)) = held.arrived.replace((weights.clock, payload)) {
            desk.discard(older);
        }
        Ok(())
    }

    fn check(
        &self,
        from: MemberIndex,
        weights: &Weights,
        job: &Job,
        me: MemberIndex,
    ) -> Result<(), Fault> {
        let range = weights.range;
        let numbers = job.weights(range).ok_or(Fault::Unasked(range))?;
        let home = job.layout.home(range);
        let sender = match job.layout.exchange {
            Exchange::AllReduce if home != me => job.layout.predecessor(me),
            Exchange::AllReduce | Exchange::Server => home,
        };
        if from != sender {
            return Err(Fault::Unasked(range));
        }
        if weights.numbers != numbers {
            return Err(Fault::Numbers(range));
        }
        let held = &self.ranges[range.0 as usize];
        let known = held.arrived.map_or(held.loaded, |(clock, _)| clock);
        // The layer's push of this very step may be counted already.
        let pushed = match self.comes {
            true => job.steps,
            false => self.clock.0 + 1,
        };
        let sound = weights.clock >= known
            && weights.clock.0 <= job.steps
            && (held.counted..=pushed).contains(&weights.counted);
        sound.then_some(()).ok_or(Fault::Clock(range))
    }

    /// Whether weights are new enough, not too many pushes under way, and enough is kept twice.
    fn may_begin(&self, desk: &Desk) -> bool {
        let (clock, needs) = (self.clock, desk.job.needs(self.clock));
        let in_time = desk.begins_below.is_none_or(|below| clock < below);
        if !in_time && clock.0 < desk.job.steps {
            return false;
        }
        let ready = |held: &Held| {
            let newest = held.arrived.map_or(held.loaded, |(clock, _)| clock);
            newest >= needs && clock.0 < held.counted + PUSHES_AHEAD_MAX
        };
        self.ranges.iter().all(ready)
    }

    fn take_arrived(&mut self) -> Vec<(RangeIndex, PayloadId)> {
        let mut weights = Vec::new();
        for (index, held) in self.ranges.iter_mut().enumerate() {
            if let Some((clock, payload)) = held.arrived.take() {
                held.loaded = clock;
                weights.push((RangeIndex(index as u32), payload));
            }
        }
        weights
    }

    /// This worker's micro-batches of the step, or of the evaluation before it.
    fn part(&self, job: &Job, purpose: Purpose) -> Range<u16> {
        let count = match purpose {
            Purpose::Train => job.layout.micro_batches(),
            Purpose::Evaluate if job.evaluates_before(self.clock) => job.evaluation_micro_batches,
            Purpose::Evaluate => 0,
        };
        job.layout.part(self.me, count)
    }

    fn pushes(
        &self,
        job: &Job,
        layer: LayerIndex,
        gradients: Vec<PayloadId>,
    ) -> Vec<(Push, PayloadId)> {
        let ranges = job.layout.ranges_of(layer).map(RangeIndex);
        let push = |(range, payload): (RangeIndex, PayloadId)| {
            let push = Push {
                range,
                clock: self.clock,
                base: self.ranges[range.0 as usize].loaded,
                labels: self.sums.labels,
                numbers: job.gradient(range)?,
            };
            Some((push, payload))
        };
        ranges.zip(gradients).filter_map(push).collect()
    }

    /// Tells what was found since the last time.
    fn tell(&mut self, purpose: Purpose, desk: &mut Desk) {
        let score = Score {
            worker: self.me,
            clock: self.clock,
            purpose,
            sums: std::mem::take(&mut self.sums),
        };
        let layout = &desk.job.layout;
        let collector = layout.collector();
        let to = match layout.exchange {
            Exchange::AllReduce if collector != desk.me => layout.successor(desk.me),
            Exchange::AllReduce | Exchange::Server => collector,
        };
        desk.say(to, Message::Score(score));
    }
}
