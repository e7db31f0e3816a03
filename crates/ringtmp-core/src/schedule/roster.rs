//! Which micro-batches there are, and in which order they enter the ring.

use crate::ids::{MicroBatchId, PeerId, Step};
use crate::signal::RunOutline;
use crate::wire::Purpose;

/// What the whole ring agrees on about a run's micro-batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roster {
    /// The peer whose data it is: the head.
    pub source: PeerId,
    /// Updates to make.
    pub steps: u32,
    /// Micro-batches of a step.
    pub micro_batches: u16,
    /// Evaluate after every so many steps, and at the end; 0 for the end only.
    pub evaluate_every: u32,
    /// Micro-batches of an evaluation; 0 for none.
    pub evaluation_micro_batches: u16,
}

impl Roster {
    /// The roster of a run whose samples come from `source`.
    pub fn new(outline: &RunOutline, source: PeerId) -> Self {
        Self {
            source,
            steps: outline.steps,
            micro_batches: outline.micro_batches,
            evaluate_every: outline.evaluate_every,
            evaluation_micro_batches: outline.evaluation_micro_batches,
        }
    }

    fn evaluates_before(&self, step: u32) -> bool {
        let due = step == self.steps
            || self.evaluate_every > 0 && step.is_multiple_of(self.evaluate_every);
        self.evaluation_micro_batches > 0 && step > 0 && due
    }

    /// How many micro-batches of this purpose belong to `step`.
    pub fn count(&self, purpose: Purpose, step: Step) -> u16 {
        match purpose {
            Purpose::Train if step.0 < self.steps => self.micro_batches,
            Purpose::Evaluate if self.evaluates_before(step.0) => self.evaluation_micro_batches,
            Purpose::Train | Purpose::Evaluate => 0,
        }
    }
}

/// Goes through the micro-batches of a run in the order in which they enter the ring: before the training micro-batches of a
/// step those of an evaluation, if one is due.
#[derive(Clone, Debug)]
pub struct Cursor {
    roster: Roster,
    step: Step,
    purpose: Purpose,
    sequence: u16,
}

impl Cursor {
    /// At the first micro-batch.
    pub fn new(roster: Roster) -> Self {
        let mut cursor = Self {
            roster,
            step: Step(0),
            purpose: Purpose::Evaluate,
            sequence: 0,
        };
        cursor.settle();
        cursor
    }

    /// The micro-batch here, or none at the end.
    pub fn peek(&self) -> Option<(Purpose, MicroBatchId)> {
        let id = MicroBatchId {
            step: self.step,
            source: self.roster.source,
            sequence: self.sequence,
        };
        (self.step.0 <= self.roster.steps).then_some((self.purpose, id))
    }

    /// Goes to the next one.
    pub fn advance(&mut self) {
        self.sequence += 1;
        self.settle();
    }

    /// Skips what is empty.
    fn settle(&mut self) {
        while self.step.0 <= self.roster.steps
            && self.sequence >= self.roster.count(self.purpose, self.step)
        {
            self.sequence = 0;
            match self.purpose {
                Purpose::Evaluate => self.purpose = Purpose::Train,
                Purpose::Train => {
                    self.purpose = Purpose::Evaluate;
                    self.step = self.step.next();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluations_stand_before_the_step_that_follows_them() {
        let roster = Roster {
            source: PeerId(7),
            steps: 3,
            micro_batches: 2,
            evaluate_every: 2,
            evaluation_micro_batches: 1,
        };
        let mut cursor = Cursor::new(roster);
        let mut seen = Vec::new();
        while let Some((purpose, id)) = cursor.peek() {
            seen.push((purpose, id.step.0, id.sequence));
            cursor.advance();
        }
        use Purpose::{Evaluate, Train};
        let expected = [
            (Train, 0, 0),
            (Train, 0, 1),
            (Train, 1, 0),
            (Train, 1, 1),
            (Evaluate, 2, 0),
            (Train, 2, 0),
            (Train, 2, 1),
            (Evaluate, 3, 0),
        ];
        assert_eq!(seen, expected);
    }
}
