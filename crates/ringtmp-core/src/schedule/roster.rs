//! Which micro-batches there are, whose samples they are, and in which order they enter the ring.

use crate::ids::{MicroBatchId, PeerId, SourceIndex, StageIndex, Step};
use crate::plan::Plan;
use crate::signal::RunOutline;
use crate::wire::Purpose;
use serde::{Deserialize, Serialize};

/// Whose samples a run is trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataSource {
    /// The head's.
    #[default]
    One,
    /// Those of every active peer that has some, each its own.
    Every,
}

/// How the training micro-batches of a run are dealt to its sources: one after the other, like cards. So no source is ever
/// more than one micro-batch ahead of another, whether or not the sources divide a step, and with fewer micro-batches in a
/// step than sources each still has its turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deal {
    /// Micro-batches of a step; at least 1.
    pub micro_batches: u16,
    /// Sources; at least 1.
    pub sources: u16,
}

impl Deal {
    /// The number of a micro-batch, counted over the whole run.
    pub fn number(self, step: Step, sequence: u16) -> u64 {
        u64::from(step.0) * u64::from(self.micro_batches) + u64::from(sequence)
    }

    /// Whose it is.
    pub fn source(self, number: u64) -> SourceIndex {
        // Below the number of sources, so that it fits.
        SourceIndex((number % u64::from(self.sources)) as u16)
    }

    /// How many its source had before it.
    pub fn turn(self, number: u64) -> u64 {
        number / u64::from(self.sources)
    }
}

/// A peer whose samples are trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Who.
    pub peer: PeerId,
    /// Where it stands in the ring.
    pub stage: StageIndex,
}

/// What the whole ring agrees on about a run's micro-batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// The peer whose held-out samples are evaluated.
    pub head: PeerId,
    /// Those whose samples are trained on, in ring order; at least one.
    pub sources: Vec<Source>,
    /// Updates to make.
    pub steps: u32,
    /// Micro-batches of a step.
    pub micro_batches: u16,
    /// Evaluate after every so many steps, and at the end; 0 for the end only.
    pub evaluate_every: u32,
    /// Micro-batches of an evaluation; 0 for none.
    pub evaluation_micro_batches: u16,
    /// The first step under the plan; those before it are done.
    pub first_step: Step,
}

impl Roster {
    /// The roster of a run under a plan that was checked.
    pub fn new(outline: &RunOutline, plan: &Plan) -> Self {
        let source = |stage: &StageIndex| Source {
            peer: plan.order[usize::from(stage.0)],
            stage: *stage,
        };
        Self {
            head: plan.order[0],
            sources: plan.sources.iter().map(source).collect(),
            steps: outline.steps,
            micro_batches: outline.micro_batches,
            evaluate_every: outline.evaluate_every,
            evaluation_micro_batches: outline.evaluation_micro_batches,
            first_step: plan.first_step(),
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

    /// How training micro-batches are dealt.
    pub fn deal(&self) -> Deal {
        Deal {
            micro_batches: self.micro_batches,
            sources: u16::try_from(self.sources.len()).unwrap_or(u16::MAX),
        }
    }

    /// Whose samples a training micro-batch has.
    pub(super) fn source(&self, number: u64) -> Source {
        self.sources[usize::from(self.deal().source(number).0)]
    }

    /// The training micro-batch with this number; none past the end.
    pub(super) fn micro_batch(&self, number: u64) -> Option<MicroBatchId> {
        let micro_batches = u64::from(self.micro_batches);
        let step = u32::try_from(number / micro_batches).ok()?;
        (step < self.steps).then(|| MicroBatchId {
            step: Step(step),
            source: self.source(number).peer,
            // Below the micro-batches of a step, so that it fits.
            sequence: (number % micro_batches) as u16,
        })
    }
}

/// Goes through the micro-batches of a run in the order in which they enter the ring: before the training micro-batches of a
/// step those of an evaluation, if one is due.
#[derive(Clone, Debug)]
pub struct Cursor {
    step: Step,
    purpose: Purpose,
    sequence: u16,
}

impl Cursor {
    /// At the first micro-batch.
    pub fn new(roster: &Roster) -> Self {
        let mut cursor = Self {
            step: roster.first_step,
            purpose: Purpose::Evaluate,
            sequence: 0,
        };
        cursor.settle(roster);
        cursor
    }

    /// The micro-batch here, or none at the end.
    pub fn peek(&self, roster: &Roster) -> Option<(Purpose, MicroBatchId)> {
        let source = match self.purpose {
            Purpose::Train => roster.source(self.trained(roster)).peer,
            Purpose::Evaluate => roster.head,
        };
        let id = MicroBatchId {
            step: self.step,
            source,
            sequence: self.sequence,
        };
        (self.step.0 <= roster.steps).then_some((self.purpose, id))
    }

    /// How many training micro-batches come before here.
    pub(super) fn trained(&self, roster: &Roster) -> u64 {
        let sequence = match self.purpose {
            Purpose::Train => self.sequence,
            Purpose::Evaluate => 0,
        };
        roster.deal().number(self.step, sequence)
    }

    /// Goes to the next one.
    pub fn advance(&mut self, roster: &Roster) {
        self.sequence += 1;
        self.settle(roster);
    }

    /// Skips what is empty.
    fn settle(&mut self, roster: &Roster) {
        while self.step.0 <= roster.steps && self.sequence >= roster.count(self.purpose, self.step)
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
    use std::collections::BTreeMap;

    fn roster(sources: u16, steps: u32, micro_batches: u16) -> Roster {
        let source = |stage| Source {
            peer: PeerId(u64::from(stage) + 1),
            stage: StageIndex(stage),
        };
        Roster {
            head: PeerId(1),
            sources: (0..sources).map(source).collect(),
            steps,
            micro_batches,
            evaluate_every: 2,
            evaluation_micro_batches: 1,
            first_step: Step(0),
        }
    }

    fn walk(roster: &Roster) -> Vec<(Purpose, MicroBatchId)> {
        let mut cursor = Cursor::new(roster);
        std::iter::from_fn(|| {
            let here = cursor.peek(roster)?;
            cursor.advance(roster);
            Some(here)
        })
        .collect()
    }

    #[test]
    fn evaluations_stand_before_the_step_that_follows_them() {
        let seen: Vec<_> = walk(&roster(1, 3, 2))
            .into_iter()
            .map(|(purpose, id)| (purpose, id.step.0, id.sequence))
            .collect();
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

    #[test]
    fn micro_batches_are_dealt_evenly_whether_or_not_sources_divide_a_step() {
        for (sources, micro_batches) in [(1, 4), (2, 4), (3, 4), (5, 4), (7, 2), (3, 1)] {
            let roster = roster(sources, 7, micro_batches);
            let mut had = BTreeMap::new();
            for (purpose, id) in walk(&roster) {
                if purpose == Purpose::Evaluate {
                    assert_eq!(id.source, roster.head);
                    continue;
                }
                let number = roster.deal().number(id.step, id.sequence);
                assert_eq!(roster.micro_batch(number), Some(id));
                let count = had.entry(id.source).or_insert(0);
                assert_eq!(roster.deal().turn(number), *count, "{id:?}");
                *count += 1;
                let (most, least) = (had.values().max(), had.values().min());
                assert!(most <= least.map(|least| least + 1).as_ref(), "{had:?}");
            }
            assert_eq!(had.values().sum::<u64>(), 7 * u64::from(micro_batches));
            assert_eq!(roster.micro_batch(7 * u64::from(micro_batches)), None);
        }
    }
}
