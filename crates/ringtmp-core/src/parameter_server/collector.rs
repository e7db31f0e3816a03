//! The collector: has every worker's score of every step and evaluation, once and in order.

use super::Job;
use super::message::Score;
use crate::ids::Step;
use crate::wire::Purpose;

#[derive(Debug)]
pub(super) struct Collector {
    /// By worker: the step whose score is next, and whether the evaluation before it has come.
    next: Vec<(Step, bool)>,
}

impl Collector {
    pub(super) fn new(job: &Job) -> Self {
        Self {
            next: vec![(Step(0), false); job.layout.workers.len()],
        }
    }

    /// Takes a score; false if it is not the next of its worker.
    pub(super) fn take(&mut self, score: &Score, job: &Job) -> bool {
        let Some((next, evaluated)) = self.next.get_mut(usize::from(score.worker.0)) else {
            return false;
        };
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
        self.next.iter().all(|next| *next == ended)
    }
}
