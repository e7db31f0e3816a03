//! What a stage does next: a work-conserving rule with credits.
//!
//! ```text
//! the head wants samples         -> draw
//! all W of the step done         -> update (where gradients are clipped: squares, then update once all stages' sum is known)
//! B ready                        -> B
//! pending W >= Wmax              -> W      (plain B > F > W would starve W without limit)
//! clipping waits for W alone     -> W
//! F ready and in flight < credit -> F
//! pending W > 0                  -> W
//! ```
//!
//! Which step a stage may be in, and with which weights, is the [`Mode`]'s to say; the bounds are [`Limits`]. B comes before F
//! as in 1F1B (PipeDream, SOSP'19); W is split off so that it fills gaps (Zero Bubble, ICLR'24). There is no barrier between
//! stages but the one that clipping asks for. Messages of a lane are ordered and every stage knows the [`Roster`], so that gradients accumulate in roster order at
//! every stage; what arrives out of that order is a [`Violation`] by the neighbour.

mod clipping;
mod limits;
mod messages;
mod roster;
mod rule;
mod transit;

pub use limits::{
    CREDIT_MAX, Limits, Mode, OPTIMIZER_NUMBERS_MAX, SLOTS_MAX, ScheduleSpec, StageCost,
    UnknownMode, WEIGHTS_PENDING_MAX, least_limits, limits, numbers_copied, round_trip_seconds,
    versions,
};
pub use messages::{Neighbour, Outgoing, SquareSum, SumKind, Task, Violation};
pub use roster::{Cursor, DataSource, Deal, Roster, Source};

use crate::ids::{MicroBatchId, PayloadId, Slot, StageIndex, Step, Version};
use crate::wire::{Purpose, TensorKind};
use clipping::Clipping;
use std::collections::VecDeque;
use transit::Transit;

#[derive(Clone, Copy, Debug)]
struct Held {
    purpose: Purpose,
    micro_batch: MicroBatchId,
    slot: Slot,
    version: Version,
}

/// What an idle stage waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Waiting {
    /// An activation, a gradient, or samples.
    Input,
    /// F could begin, were fewer micro-batches on their way.
    Credit,
    /// F or W could begin, had this stage made the update they need (which waits for gradients in its turn, or for the sum of
    /// their squares).
    Weights,
}

/// The schedule of one stage under one plan.
#[derive(Debug)]
pub struct Schedule {
    stage: StageIndex,
    stages: usize,
    roster: Roster,
    mode: Mode,
    limits: Limits,
    predecessor_credit: u16,
    /// The next micro-batch that enters this stage: drawn at the head, arriving elsewhere.
    entering: Cursor,
    transit: Transit,
    /// Where gradients are clipped.
    clipping: Option<Clipping>,
    forwards: VecDeque<(Purpose, MicroBatchId, Option<PayloadId>)>,
    /// F done, B (or the release) not yet here; oldest first.
    in_flight: VecDeque<Held>,
    backwards: VecDeque<(Held, Option<PayloadId>)>,
    weights: VecDeque<Held>,
    /// 1F1B: the gradient that leaves with the end of its W.
    withheld: Option<Outgoing>,
    free: Vec<Slot>,
    updates: Step,
    accumulated: u16,
    busy: bool,
    paused: bool,
    /// The head begins neither this step nor a later one.
    rests_before: Option<Step>,
}

impl Schedule {
    /// The schedule of `stage`, where `limits` are those of all stages, head first.
    pub fn new(stage: StageIndex, spec: &ScheduleSpec, limits: &[Limits], roster: Roster) -> Self {
        let index = usize::from(stage.0);
        let first_step = roster.first_step;
        let clipping = || Clipping::new(index == 0, index + 1 == limits.len(), first_step);
        let own = limits[index];
        Self {
            stage,
            stages: limits.len(),
            mode: spec.mode,
            limits: own,
            predecessor_credit: limits[index.saturating_sub(1)].credit,
            entering: Cursor::new(&roster),
            transit: Transit::new(stage, limits, &roster),
            clipping: spec.clips_gradients.then(clipping),
            roster,
            forwards: VecDeque::new(),
            in_flight: VecDeque::new(),
            backwards: VecDeque::new(),
            weights: VecDeque::new(),
            withheld: None,
            free: (0..own.slots).rev().map(Slot).collect(),
            updates: first_step,
            accumulated: 0,
            busy: false,
            paused: false,
            rests_before: None,
        }
    }

    /// Whether this stage is the head.
    pub fn is_head(&self) -> bool {
        self.stage.0 == 0
    }

    /// Whether this stage is the tail.
    pub fn is_tail(&self) -> bool {
        usize::from(self.stage.0) + 1 == self.stages
    }

    /// The run's micro-batches.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Updates made.
    pub fn updates(&self) -> Step {
        self.updates
    }

    /// The payloads waiting here, for whoever gives the schedule up.
    pub fn payloads(&self) -> impl Iterator<Item = PayloadId> + '_ {
        let forwards = self.forwards.iter().map(|(_, _, payload)| *payload);
        forwards
            .chain(self.backwards.iter().map(|(_, payload)| *payload))
            .chain(self.withheld.iter().map(|withheld| withheld.payload))
            .flatten()
            .chain(self.transit.payloads())
    }

    /// While paused, the head begins no new step.
    pub fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// The head will begin neither this step nor a later one: the ring comes to rest with all updates before it made.
    pub fn rest_before(&mut self, step: Step) {
        self.rests_before = Some(step);
    }

    /// Whether everything of the run is done here.
    pub fn is_finished(&self) -> bool {
        let empty =
            self.in_flight.is_empty() && self.backwards.is_empty() && self.weights.is_empty();
        !self.busy
            && empty
            && self.updates.0 == self.roster.steps
            && self.entering.peek(&self.roster).is_none()
            && self.forwards.is_empty()
    }

    /// A tensor has come from a neighbour. Gives what must be passed on at once.
    pub fn arrived(
        &mut self,
        from: Neighbour,
        kind: TensorKind,
        purpose: Purpose,
        micro_batch: MicroBatchId,
        payload: Option<PayloadId>,
    ) -> Result<Option<Outgoing>, Violation> {
        match (kind, from) {
            (TensorKind::Activation, Neighbour::Predecessor) if !self.is_head() => {
                self.activation_arrived(purpose, micro_batch, payload)?;
                Ok(None)
            }
            (TensorKind::Samples, Neighbour::Predecessor) => {
                self.samples_arrived(purpose, micro_batch, payload)
            }
            (TensorKind::Gradient, Neighbour::Successor) if !self.is_tail() => {
                let held = self.returned(kind, Purpose::Train, micro_batch)?;
                self.backwards.push_back((held, payload));
                Ok(None)
            }
            (TensorKind::Release, Neighbour::Successor) if !self.is_tail() => {
                let held = self.returned(kind, Purpose::Evaluate, micro_batch)?;
                Ok(self.release(held))
            }
            (
                TensorKind::Activation
                | TensorKind::Samples
                | TensorKind::Gradient
                | TensorKind::Release,
                _,
            ) => Err(Violation::WrongWay { kind }),
        }
    }

    fn activation_arrived(
        &mut self,
        purpose: Purpose,
        micro_batch: MicroBatchId,
        payload: Option<PayloadId>,
    ) -> Result<(), Violation> {
        if self.entering.peek(&self.roster) != Some((purpose, micro_batch)) {
            return Err(out_of_order(TensorKind::Activation, micro_batch));
        }
        if self.forwards.len() >= usize::from(self.predecessor_credit) {
            return Err(Violation::OverCredit {
                credit: self.predecessor_credit,
            });
        }
        self.entering.advance(&self.roster);
        self.forwards.push_back((purpose, micro_batch, payload));
        Ok(())
    }

    fn samples_arrived(
        &mut self,
        purpose: Purpose,
        micro_batch: MicroBatchId,
        payload: Option<PayloadId>,
    ) -> Result<Option<Outgoing>, Violation> {
        if purpose != Purpose::Train {
            return Err(out_of_order(TensorKind::Samples, micro_batch));
        }
        let entered = self.entering.trained(&self.roster);
        let transit = &mut self.transit;
        let passes = transit.arrived(&self.roster, entered, micro_batch, payload)?;
        Ok(passes.then_some(samples(micro_batch, payload)))
    }

    /// The successor returns the oldest micro-batch in flight of its purpose, and no other. (A release may overtake gradients
    /// of an earlier step, whose B takes time, where stages do not flush.)
    fn returned(
        &mut self,
        kind: TensorKind,
        purpose: Purpose,
        micro_batch: MicroBatchId,
    ) -> Result<Held, Violation> {
        let mut in_flight = self.in_flight.iter();
        let oldest = in_flight.position(|held| held.purpose == purpose);
        oldest
            .filter(|index| self.in_flight[*index].micro_batch == micro_batch)
            .and_then(|index| self.in_flight.remove(index))
            .ok_or_else(|| out_of_order(kind, micro_batch))
    }

    /// The outcome of [`Task::Squares`], after it was completed: the sum of the squares of each parameter's gradient, in the
    /// order of layers. Gives what must be sent.
    pub fn squared(&mut self, squares: Vec<f64>) -> Option<SquareSum> {
        self.clipping.as_mut()?.squared(squares)
    }

    /// A sum of squares has come from a neighbour. Gives what must be sent.
    pub fn sum_arrived(
        &mut self,
        kind: SumKind,
        step: Step,
        sum: f64,
    ) -> Result<Option<SquareSum>, Violation> {
        let clipping = self.clipping.as_mut().ok_or(Violation::NotClipped)?;
        clipping.arrived(kind, step, sum)
    }

    fn release(&mut self, held: Held) -> Option<Outgoing> {
        self.free.push(held.slot);
        (!self.is_head()).then_some(Outgoing {
            to: Neighbour::Predecessor,
            kind: TensorKind::Release,
            purpose: held.purpose,
            micro_batch: held.micro_batch,
            payload: None,
        })
    }

    /// The next task, if there is one and none is under way. It must be answered by [`Schedule::completed`].
    pub fn pick(&mut self) -> Option<Task> {
        if self.busy {
            return None;
        }
        let task = self.choose();
        self.busy = task.is_some();
        task
    }

    /// A task is done; `payload` is its output (samples; of F unless at the tail, of B unless at the head). Gives what must be
    /// sent.
    pub fn completed(&mut self, task: Task, payload: Option<PayloadId>) -> Option<Outgoing> {
        self.busy = false;
        match task {
            Task::Draw { micro_batch } => {
                self.transit.passed(&self.roster, micro_batch);
                Some(samples(micro_batch, payload))
            }
            Task::Forward {
                micro_batch,
                purpose,
                slot,
                version,
                ..
            } => {
                let held = Held {
                    purpose,
                    micro_batch,
                    slot,
                    version,
                };
                self.forward_completed(held, payload)
            }
            Task::BackwardInput { micro_batch, .. } => {
                let gradient = (!self.is_head()).then_some(Outgoing {
                    to: Neighbour::Predecessor,
                    kind: TensorKind::Gradient,
                    purpose: Purpose::Train,
                    micro_batch,
                    payload,
                });
                if self.mode == Mode::OneForwardOneBackward {
                    self.withheld = gradient;
                    None
                } else {
                    gradient
                }
            }
            Task::BackwardWeights { slot, .. } => {
                self.free.push(slot);
                self.accumulated += 1;
                self.withheld.take()
            }
            // Its outcome comes by [`Schedule::squared`].
            Task::Squares { .. } => None,
            Task::Update { .. } => {
                self.accumulated = 0;
                self.updates = self.updates.next();
                self.clipping.iter_mut().for_each(Clipping::updated);
                None
            }
        }
    }

    fn forward_completed(&mut self, held: Held, payload: Option<PayloadId>) -> Option<Outgoing> {
        if held.purpose == Purpose::Train {
            self.transit.forwarded();
        }
        if !self.is_tail() {
            return Some(Outgoing {
                to: Neighbour::Successor,
                kind: TensorKind::Activation,
                purpose: held.purpose,
                micro_batch: held.micro_batch,
                payload,
            });
        }
        match held.purpose {
            Purpose::Train => {
                self.backwards.push_back((held, None));
                None
            }
            Purpose::Evaluate => self.release(held),
        }
    }
}

/// Samples on their way to the head.
fn samples(micro_batch: MicroBatchId, payload: Option<PayloadId>) -> Outgoing {
    Outgoing {
        to: Neighbour::Successor,
        kind: TensorKind::Samples,
        purpose: Purpose::Train,
        micro_batch,
        payload,
    }
}

fn out_of_order(kind: TensorKind, micro_batch: MicroBatchId) -> Violation {
    Violation::OutOfOrder {
        kind,
        step: micro_batch.step.0,
        sequence: micro_batch.sequence,
    }
}

#[cfg(test)]
mod tests;
