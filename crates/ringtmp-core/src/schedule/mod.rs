//! What a stage does next: a work-conserving rule with credits.
//!
//! ```text
//! all W of the step done         -> update
//! B ready                        -> B
//! pending W >= Wmax              -> W      (plain B > F > W would starve W without limit)
//! F ready and in flight < credit -> F
//! pending W > 0                  -> W
//! ```
//!
//! The mode is `sync`: F of step t is ready when this stage has made its own update of step t - 1, with no barrier between
//! stages. B comes before F as in 1F1B (PipeDream, SOSP'19); W is split off so that it fills gaps (Zero Bubble, ICLR'24).
//! Messages of a lane are ordered and every stage knows the [`Roster`], so that gradients accumulate in roster order at every
//! stage; what arrives out of that order is a [`Violation`] by the neighbour.

mod roster;

pub use roster::{Cursor, Roster};

use crate::ids::{MicroBatchId, PayloadId, Slot, StageIndex, Step};
use crate::wire::{Purpose, TensorKind};
use std::collections::VecDeque;

/// The most W put off. More hides more delay and costs a stash of activations each (design figure: 8 to 16).
pub const WEIGHTS_PENDING_MAX: u16 = 8;

/// How far ahead of its gradients a stage may run: `ceil(alpha * R / T) + 1` with `alpha = 2`, `R` the forward and
/// backward work of this and all later stages and `T` that of one stage, for stages of equal work F = B = W. At most the
/// micro-batches of a step, since `sync` has no more to do, and at least 2, so that evaluations flow.
pub fn credits(stage: StageIndex, stages: usize, micro_batches: u16) -> u16 {
    let later = u16::try_from(stages)
        .unwrap_or(u16::MAX)
        .saturating_sub(stage.0);
    let wanted = later.saturating_mul(4).div_ceil(3).saturating_add(1);
    wanted.min(micro_batches.max(2))
}

/// Slots a stage needs for the activations of micro-batches in flight and of put-off W.
pub fn slots(stage: StageIndex, stages: usize, micro_batches: u16) -> u16 {
    credits(stage, stages, micro_batches) + WEIGHTS_PENDING_MAX
}

/// Something to compute, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// F. At the tail it ends in the loss.
    Forward {
        /// Which.
        micro_batch: MicroBatchId,
        /// What for.
        purpose: Purpose,
        /// Where its activations are kept.
        slot: Slot,
        /// The stage's input; none at the head, which draws it from its data.
        input: Option<PayloadId>,
    },
    /// B.
    BackwardInput {
        /// Which.
        micro_batch: MicroBatchId,
        /// Where its activations are.
        slot: Slot,
        /// The gradient of the stage's output; none at the tail, which has it from the loss.
        output_gradient: Option<PayloadId>,
    },
    /// W.
    BackwardWeights {
        /// Which.
        micro_batch: MicroBatchId,
        /// Where its activations are.
        slot: Slot,
    },
    /// The optimizer.
    Update {
        /// Of which step.
        step: Step,
    },
}

impl Task {
    /// The tensors it works on, if they came from a neighbour.
    pub const fn payload(&self) -> Option<PayloadId> {
        match self {
            Self::Forward { input, .. } => *input,
            Self::BackwardInput {
                output_gradient, ..
            } => *output_gradient,
            Self::BackwardWeights { .. } | Self::Update { .. } => None,
        }
    }
}

/// A neighbour in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// The stage before.
    Predecessor,
    /// The stage after.
    Successor,
}

/// A tensor for a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Whom it is for.
    pub to: Neighbour,
    /// What it is.
    pub kind: TensorKind,
    /// What for.
    pub purpose: Purpose,
    /// Which micro-batch.
    pub micro_batch: MicroBatchId,
    /// The numbers; none for a release.
    pub payload: Option<PayloadId>,
}

/// A neighbour sent what no correct peer would send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Not the next micro-batch of the roster.
    #[error("a neighbour sent {kind:?} of micro-batch {sequence} of step {step} out of order")]
    OutOfOrder {
        /// What it sent.
        kind: TensorKind,
        /// The step it named.
        step: u32,
        /// The sequence it named.
        sequence: u16,
    },
    /// From the wrong side.
    #[error("a neighbour sent {kind:?} against its direction")]
    WrongWay {
        /// What it sent.
        kind: TensorKind,
    },
    /// More than its credit.
    #[error("the predecessor sent more micro-batches than its credit of {credit}")]
    OverCredit {
        /// What it may have in flight.
        credit: u16,
    },
}

#[derive(Clone, Copy, Debug)]
struct Held {
    purpose: Purpose,
    micro_batch: MicroBatchId,
    slot: Slot,
}

/// The schedule of one stage under one plan.
#[derive(Debug)]
pub struct Schedule {
    stage: StageIndex,
    stages: usize,
    roster: Roster,
    credit: u16,
    predecessor_credit: u16,
    /// The next micro-batch that enters this stage: drawn at the head, arriving elsewhere.
    entering: Cursor,
    forwards: VecDeque<(Purpose, MicroBatchId, Option<PayloadId>)>,
    /// F done, B (or the release) not yet here; oldest first.
    in_flight: VecDeque<Held>,
    backwards: VecDeque<(Held, Option<PayloadId>)>,
    weights: VecDeque<Held>,
    free: Vec<Slot>,
    updates: Step,
    accumulated: u16,
    busy: bool,
    paused: bool,
}

impl Schedule {
    /// The schedule of `stage` of `stages`.
    pub fn new(stage: StageIndex, stages: usize, roster: Roster) -> Self {
        let before = StageIndex(stage.0.saturating_sub(1));
        Self {
            stage,
            stages,
            roster,
            credit: credits(stage, stages, roster.micro_batches),
            predecessor_credit: credits(before, stages, roster.micro_batches),
            entering: Cursor::new(roster),
            forwards: VecDeque::new(),
            in_flight: VecDeque::new(),
            backwards: VecDeque::new(),
            weights: VecDeque::new(),
            free: (0..slots(stage, stages, roster.micro_batches))
                .rev()
                .map(Slot)
                .collect(),
            updates: Step(0),
            accumulated: 0,
            busy: false,
            paused: false,
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

    /// Updates made.
    pub fn updates(&self) -> Step {
        self.updates
    }

    /// The payloads waiting here, for whoever gives the schedule up.
    pub fn payloads(&self) -> impl Iterator<Item = PayloadId> + '_ {
        let forwards = self.forwards.iter().map(|(_, _, payload)| *payload);
        forwards
            .chain(self.backwards.iter().map(|(_, payload)| *payload))
            .flatten()
    }

    /// While paused, the head begins no new step.
    pub fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Whether everything of the run is done here.
    pub fn is_finished(&self) -> bool {
        let empty =
            self.in_flight.is_empty() && self.backwards.is_empty() && self.weights.is_empty();
        !self.busy
            && empty
            && self.updates.0 == self.roster.steps
            && self.entering.peek().is_none()
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
            (TensorKind::Gradient, Neighbour::Successor) if !self.is_tail() => {
                let held = self.returned(kind, Purpose::Train, micro_batch)?;
                self.backwards.push_back((held, payload));
                Ok(None)
            }
            (TensorKind::Release, Neighbour::Successor) if !self.is_tail() => {
                let held = self.returned(kind, Purpose::Evaluate, micro_batch)?;
                Ok(self.release(held))
            }
            (TensorKind::Activation | TensorKind::Gradient | TensorKind::Release, _) => {
                Err(Violation::WrongWay { kind })
            }
        }
    }

    fn activation_arrived(
        &mut self,
        purpose: Purpose,
        micro_batch: MicroBatchId,
        payload: Option<PayloadId>,
    ) -> Result<(), Violation> {
        if self.entering.peek() != Some((purpose, micro_batch)) {
            return Err(out_of_order(TensorKind::Activation, micro_batch));
        }
        if self.forwards.len() >= usize::from(self.predecessor_credit) {
            return Err(Violation::OverCredit {
                credit: self.predecessor_credit,
            });
        }
        self.entering.advance();
        self.forwards.push_back((purpose, micro_batch, payload));
        Ok(())
    }

    /// The successor returns the oldest micro-batch in flight, and no other.
    fn returned(
        &mut self,
        kind: TensorKind,
        purpose: Purpose,
        micro_batch: MicroBatchId,
    ) -> Result<Held, Violation> {
        match self.in_flight.front() {
            Some(held) if held.purpose == purpose && held.micro_batch == micro_batch => {
                let held = *held;
                self.in_flight.pop_front();
                Ok(held)
            }
            Some(_) | None => Err(out_of_order(kind, micro_batch)),
        }
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

    fn choose(&mut self) -> Option<Task> {
        if self.accumulated == self.roster.micro_batches {
            return Some(Task::Update { step: self.updates });
        }
        if let Some((held, output_gradient)) = self.backwards.pop_front() {
            self.weights.push_back(held);
            return Some(Task::BackwardInput {
                micro_batch: held.micro_batch,
                slot: held.slot,
                output_gradient,
            });
        }
        if self.weights.len() >= usize::from(WEIGHTS_PENDING_MAX) {
            return self.choose_weights();
        }
        self.choose_forward().or_else(|| self.choose_weights())
    }

    fn choose_weights(&mut self) -> Option<Task> {
        let held = self.weights.pop_front()?;
        Some(Task::BackwardWeights {
            micro_batch: held.micro_batch,
            slot: held.slot,
        })
    }

    fn choose_forward(&mut self) -> Option<Task> {
        let (purpose, micro_batch, input) = if self.is_head() {
            self.drawn()?
        } else {
            self.forwards.front().copied()?
        };
        // Flush: this stage's weights must be those of the micro-batch's step.
        if micro_batch.step != self.updates || self.in_flight.len() >= usize::from(self.credit) {
            return None;
        }
        let slot = self.free.pop()?;
        if self.is_head() {
            self.entering.advance();
        } else {
            self.forwards.pop_front();
        }
        // The tail turns round at once, so there nothing is in flight.
        if !self.is_tail() {
            self.in_flight.push_back(Held {
                purpose,
                micro_batch,
                slot,
            });
        }
        Some(Task::Forward {
            micro_batch,
            purpose,
            slot,
            input,
        })
    }

    /// What the head draws from its data next.
    fn drawn(&self) -> Option<(Purpose, MicroBatchId, Option<PayloadId>)> {
        let (purpose, micro_batch) = self.entering.peek()?;
        let begins_step = micro_batch.sequence == 0;
        (!(self.paused && begins_step)).then_some((purpose, micro_batch, None))
    }

    /// A task is done; `payload` is its output (of F unless at the tail, of B unless at the head). Gives what must be sent.
    pub fn completed(&mut self, task: Task, payload: Option<PayloadId>) -> Option<Outgoing> {
        self.busy = false;
        match task {
            Task::Forward {
                micro_batch,
                purpose,
                slot,
                ..
            } if self.is_tail() => {
                let held = Held {
                    purpose,
                    micro_batch,
                    slot,
                };
                match purpose {
                    Purpose::Train => {
                        self.backwards.push_back((held, None));
                        None
                    }
                    Purpose::Evaluate => self.release(held),
                }
            }
            Task::Forward {
                micro_batch,
                purpose,
                ..
            } => Some(Outgoing {
                to: Neighbour::Successor,
                kind: TensorKind::Activation,
                purpose,
                micro_batch,
                payload,
            }),
            Task::BackwardInput { micro_batch, .. } => (!self.is_head()).then_some(Outgoing {
                to: Neighbour::Predecessor,
                kind: TensorKind::Gradient,
                purpose: Purpose::Train,
                micro_batch,
                payload,
            }),
            Task::BackwardWeights { slot, .. } => {
                self.free.push(slot);
                self.accumulated += 1;
                None
            }
            Task::Update { .. } => {
                self.accumulated = 0;
                self.updates = self.updates.next();
                None
            }
        }
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
