//! What the network says of a sample that a stage asks about. The question rides with a micro-batch of a source, as its samples do; the
//! answer is made by the tail and comes over the closing link, from stage to stage, until it is with that source.
//!
//! A stage that draws no samples has its question taken to the next source forward round the ring, which puts it into a micro-batch of
//! its own, and sends the answer on.
//!
//! ```text
//!   asker ── Question ──▶ ... ──▶ source ── as a sample ──▶ tail ── Answer ──▶ source ── Answer ──▶ ... ──▶ asker
//! ```

use super::{Active, Event, Node, Output};
use crate::ids::{Epoch, MicroBatchId, PeerId};
use crate::wire::{Answer, Body, Question};

impl Node {
    /// The tail has an answer.
    pub(super) fn answered(&mut self, micro_batch: MicroBatchId, probabilities: Vec<f32>) {
        self.pass_answer(Answer {
            micro_batch,
            to: micro_batch.source,
            number: 0,
            probabilities,
        });
    }

    /// An answer comes by.
    pub(super) fn answer(&mut self, from: PeerId, epoch: Epoch, answer: Answer) {
        if self.comes_round(from, epoch) {
            self.pass_answer(answer);
        }
    }

    /// To the user, or the shell that asked for another, if it is for this stage; else to the next one. Whom it is for is in the ring, so
    /// that it ends there.
    pub(super) fn pass_answer(&mut self, answer: Answer) {
        let Some(active) = &self.active else { return };
        if answer.to == active.me() {
            self.output.push_back(Output::Event(Event::Answer(answer)));
        } else if active.plan.stage_of(answer.to).is_some() {
            self.say_to_next(Body::Answer(answer));
        }
    }

    /// A question comes by. One that is back where it began has found nobody who takes it.
    pub(super) fn question(&mut self, from: PeerId, epoch: Epoch, question: Question) {
        let Some(active) = &self.active else { return };
        let back = question.asker == active.me();
        let known = active.plan.stage_of(question.asker).is_some();
        if known && !back && self.comes_round(from, epoch) {
            self.pass_question(question);
        }
    }

    /// To this stage's shell if it draws samples, else to the next stage.
    pub(super) fn pass_question(&mut self, question: Question) {
        let Some(active) = &self.active else { return };
        if !active.training.has_begun() || active.training.is_over() {
            return;
        }
        if active.plan.source_of(active.stage).is_some() {
            let event = Event::Question(question);
            self.output.push_back(Output::Event(event));
        } else {
            self.say_to_next(Body::Question(question));
        }
    }

    /// Whether a frame is of the plan at work and from the stage before.
    pub(super) fn comes_round(&self, from: PeerId, epoch: Epoch) -> bool {
        let before = |active: &Active| active.plan.predecessor(active.stage);
        let current = self.active.as_ref().filter(|at| at.plan.epoch == epoch);
        current.is_some_and(|active| before(active) == from)
    }

    pub(super) fn say_to_next(&mut self, body: Body) {
        let Some(active) = &self.active else { return };
        let to = active.plan.successor(active.stage);
        if to != active.me() {
            self.output.push_back(Output::Send {
                to,
                epoch: active.plan.epoch,
                body,
                payload: None,
            });
        }
    }
}
