//! The rule: what an idle stage does next.

use super::clipping::{Clipping, Ending};
use super::{Held, Mode, Schedule, Task, Waiting};
use crate::ids::{MicroBatchId, PayloadId, Step, Version};
use crate::wire::Purpose;

impl Schedule {
    pub(super) fn choose(&mut self) -> Option<Task> {
        // It costs next to nothing, and the whole ring waits for it.
        if let Some(micro_batch) = self.transit.to_draw(&self.roster) {
            return Some(Task::Draw { micro_batch });
        }
        if let Some(task) = self.choose_ending() {
            return Some(task);
        }
        if self.mode == Mode::OneForwardOneBackward {
            return self.choose_in_turn();
        }
        self.choose_backward()
            .or_else(|| {
                let full = self.weights.len() >= usize::from(self.limits.weights_pending);
                (full || self.lap_waits())
                    .then(|| self.choose_weights())
                    .flatten()
            })
            .or_else(|| self.choose_forward())
            .or_else(|| self.choose_weights())
    }

    /// What ends a step once all its W are done. Where gradients are clipped the update waits for the sum of all stages' squares;
    /// meanwhile F and B go on.
    fn choose_ending(&self) -> Option<Task> {
        if !self.has_all_weights() {
            return None;
        }
        let step = self.updates;
        let ending = self.clipping.as_ref().map(Clipping::ending);
        match ending {
            None => Some(Task::Update {
                step,
                square_sum: None,
            }),
            Some(Ending::Squares) => Some(Task::Squares { step }),
            Some(Ending::Wait) => None,
            Some(Ending::Update(sum)) => Some(Task::Update {
                step,
                square_sum: Some(sum),
            }),
        }
    }

    /// Whether only W are missing for the sum that the whole ring waits for: then they come before F.
    fn lap_waits(&self) -> bool {
        let of_step = |held: &&Held| held.micro_batch.step == self.updates;
        let pending = self.weights.iter().filter(of_step).count();
        let rest = usize::from(self.roster.micro_batches - self.accumulated);
        self.clipping.is_some() && pending == rest
    }

    /// Whether all W of the step are done. The next one's would be added to the same gradients, and wait for the update.
    fn has_all_weights(&self) -> bool {
        self.accumulated == self.roster.micro_batches
    }

    /// 1F1B: W follows its B; below its credit a stage waits for F if there is another in this step, else for B.
    fn choose_in_turn(&mut self) -> Option<Task> {
        if let Some(task) = self.choose_weights() {
            return Some(task);
        }
        let ahead = self.in_flight.len() + self.backwards.len();
        if ahead >= usize::from(self.limits.credit) || self.next_is_of_later_step() {
            self.choose_backward()
        } else {
            self.choose_forward()
        }
    }

    /// Whether what enters here next has to wait for this stage's update.
    fn next_is_of_later_step(&self) -> bool {
        let arrived = self.forwards.front().map(|(_, id, _)| *id);
        let next = arrived.or_else(|| self.entering.peek(&self.roster).map(|(_, id)| id));
        next.is_none_or(|id| self.version(id.step).is_none())
    }

    fn choose_backward(&mut self) -> Option<Task> {
        let (held, output_gradient) = self.backwards.pop_front()?;
        self.weights.push_back(held);
        Some(Task::BackwardInput {
            micro_batch: held.micro_batch,
            slot: held.slot,
            version: held.version,
            output_gradient,
        })
    }

    fn choose_weights(&mut self) -> Option<Task> {
        if self.has_all_weights() {
            return None;
        }
        let held = self.weights.pop_front()?;
        Some(Task::BackwardWeights {
            micro_batch: held.micro_batch,
            slot: held.slot,
            version: held.version,
        })
    }

    /// Which weights F of a step uses; none if this stage has not made them yet. The evaluation at the end sees all updates.
    fn version(&self, step: Step) -> Option<Version> {
        let wanted = self.mode.version(step, self.updates, self.roster.steps);
        (wanted.0 <= self.updates.0).then_some(wanted)
    }

    /// What could enter this stage now.
    fn entrant(&self) -> Option<(Purpose, MicroBatchId, Option<PayloadId>)> {
        if self.is_head() {
            self.drawn()
        } else {
            self.forwards.front().copied()
        }
    }

    /// Why nothing is being done; none while something is, and after the end.
    pub fn waiting(&self) -> Option<Waiting> {
        if self.busy || self.is_finished() {
            return None;
        }
        if self.has_all_weights() {
            return Some(Waiting::Weights);
        }
        let Some((_, micro_batch, _)) = self.entrant() else {
            return Some(Waiting::Input);
        };
        if self.version(micro_batch.step).is_none() {
            Some(Waiting::Weights)
        } else {
            Some(Waiting::Credit)
        }
    }

    fn choose_forward(&mut self) -> Option<Task> {
        let (purpose, micro_batch, input) = self.entrant()?;
        let version = self.version(micro_batch.step)?;
        if self.in_flight.len() >= usize::from(self.limits.credit) {
            return None;
        }
        let slot = self.free.pop()?;
        if self.is_head() {
            if purpose == Purpose::Train {
                self.transit.take(self.entering.trained(&self.roster));
            }
            self.entering.advance(&self.roster);
        } else {
            self.forwards.pop_front();
        }
        // The tail turns round at once, so there nothing is in flight.
        if !self.is_tail() {
            self.in_flight.push_back(Held {
                purpose,
                micro_batch,
                slot,
                version,
            });
        }
        Some(Task::Forward {
            micro_batch,
            purpose,
            slot,
            version,
            input,
        })
    }

    /// What enters at the head next: from its own data, or from a source elsewhere once the samples are here.
    fn drawn(&self) -> Option<(Purpose, MicroBatchId, Option<PayloadId>)> {
        let (purpose, micro_batch) = self.entering.peek(&self.roster)?;
        let rests = self
            .rests_before
            .is_some_and(|step| micro_batch.step >= step);
        if rests || self.paused && micro_batch.sequence == 0 {
            return None;
        }
        let number = self.entering.trained(&self.roster);
        match self.transit.at_head(&self.roster, number) {
            Some(samples) if purpose == Purpose::Train => {
                Some((purpose, micro_batch, Some(samples?)))
            }
            Some(_) | None => Some((purpose, micro_batch, None)),
        }
    }
}
