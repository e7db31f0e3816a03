//! The collector: has every worker's score of every step and evaluation, once and in order.

use super::Job;
use super::message::Score;
use crate::ids::Step;
use crate::wire::Purpose;

#[derive(Debug)]
pub(super) struct Collector {
    /// By worker: the step whose score is next, and whether the evaluation before it has come.
    next: Vec<(Step, bool)>,
    /// By worker: it has come to a run that goes on, and its first score tells with which step.
    comes: Vec<bool>,
}

impl Collector {
    pub(super) fn new(job: &Job) -> Self {
        Self {
            next: vec![(Step(0), false); job.layout.workers.len()],
            comes: vec![false; job.layout.workers.len()],
        }
    }

    /// That of a run that goes on.
    pub(super) fn going_on(job: &Job) -> Self {
        let mut collector = Self::new(job);
        collector.comes.fill(true);
        collector
    }

    /// Takes a score; false if it is not the next of its worker.
    pub(super) fn take(&mut self, score: &Score, job: &Job) -> bool {
        let Some((next, evaluated)) = self.next.get_mut(usize::from(score.worker.0)) else {
            return false;
        };
        let comes = &mut self.comes[usize::from(score.worker.0)];
        if std::mem::take(comes) {
            (*next, *evaluated) = (score.clock, false);
        }
        if score.clock != *next {
            return false;
        }
        let due = job.evaluates_before(*next) && !*evaluated;
        match score.purpose {
            Purpose::Evaluate if due => *evaluated = true,
            Purpose::Train if !due && next.0 < job.steps => {
                (*next, *evaluated) = (next.next(), false);
            }
            Purpose::Evaluate | Purpose::Train => return false,
        }
        true
    }

    /// Whether all have come.
    pub(super) fn is_done(&self, job: &Job) -> bool {
        let last = Step(job.steps);
        let ended = (last, job.evaluates_before(last));
        // Who comes to a run whose last step is in all weights has something to tell only where it evaluates.
        let silent = |comes: &bool| *comes && !ended.1;
        let mut all = self.next.iter().zip(&self.comes);
        all.all(|(next, comes)| *next == ended && !comes || silent(comes))
    }
}
