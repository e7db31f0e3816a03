//! What workers found, put together.

use crate::solo::Score as Outcome;
use ringtmp_core::ids::Step;
use ringtmp_core::parameter_server::{Score, Sums};
use ringtmp_core::wire::Purpose;
use std::collections::BTreeMap;

/// Scores of steps and evaluations of which some are missing: no more than workers drift apart, since the collector takes each
/// worker's in order.
#[derive(Debug, Default)]
pub(super) struct Scores {
    workers: usize,
    told: BTreeMap<(Step, Purpose), Vec<Option<Sums>>>,
}

impl Scores {
    /// Of so many workers.
    pub(super) fn of(workers: usize) -> Self {
        Self {
            workers,
            ..Self::default()
        }
    }

    /// Adds up what the workers found, in their order, once all have told: of which step or evaluation.
    pub(super) fn take(&mut self, score: &Score) -> Option<(u32, Purpose, Outcome)> {
        let key = (score.clock, score.purpose);
        let nothing = || vec![None; self.workers];
        let told = self.told.entry(key).or_insert_with(nothing);
        *told.get_mut(usize::from(score.worker.0))? = Some(score.sums);
        let all: Option<Vec<Sums>> = told.iter().copied().collect();
        let sums = all?.into_iter().fold(Sums::default(), Sums::plus);
        self.told.remove(&key);
        let score = Outcome {
            loss: (sums.loss / sums.labels.max(1) as f64) as f32,
            accuracy: (sums.right as f64 / sums.of.max(1) as f64) as f32,
        };
        Some((key.0.0, key.1, score))
    }
}
