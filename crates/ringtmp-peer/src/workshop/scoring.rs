//! What the tail makes of the logits: losses, and answers to what was asked.

use super::{Bench, WorkError};
use crate::predictor::probabilities;
use crate::run_file::Run;
use crate::samples::ASKED_LABEL;
use ringtmp_compute::{IGNORED_LABEL, Packed, TensorError};
use ringtmp_core::ids::Step;
use ringtmp_core::node::{Loss, Outcome};
use ringtmp_core::wire::{ANSWER_CLASSES_MAX, Purpose};

impl Bench {
    /// Counts the labels of a micro-batch that count.
    pub(super) fn count(&mut self, step: Step, labels: &Packed) -> Result<(), TensorError> {
        let counted = labels.u32s()?.into_iter();
        let counted = counted.filter(|label| ![IGNORED_LABEL, ASKED_LABEL].contains(label));
        *self.labels.entry(step).or_default() += counted.count() as u64;
        Ok(())
    }

    /// F and the loss, at the tail, which is told after B where one follows; and the answer, where a sample is asked about.
    pub(super) async fn score(
        &mut self,
        run: &Run,
        purpose: Purpose,
        slot: usize,
        samples: &Packed,
        labels: &Packed,
        told: &mut Outcome,
    ) -> Result<(), WorkError> {
        let mut labels = labels.u32s()?;
        if let Some(row) = labels.iter().position(|label| *label == ASKED_LABEL) {
            told.answer = self.answer(run, slot, samples, row).await?;
            for label in &mut labels {
                if *label == ASKED_LABEL {
                    *label = IGNORED_LABEL;
                }
            }
        }
        match purpose {
            Purpose::Train => {
                let pending = self.stage.begin_loss(slot, samples, &labels).await?;
                self.losses.insert(slot, pending);
            }
            Purpose::Evaluate => {
                let report = self.stage.forward_loss(slot, samples, &labels).await?;
                let [correct, samples] = run.measure().of(&report);
                told.loss = Some(Loss {
                    sum: report.loss_sum,
                    correct,
                    samples,
                });
            }
        }
        Ok(())
    }

    /// The loss of the micro-batch in a slot, whose B was made meanwhile; none but at the tail.
    pub(super) async fn loss(&mut self, slot: usize) -> Result<Option<Loss>, WorkError> {
        let Some(pending) = self.losses.remove(&slot) else {
            return Ok(None);
        };
        let report = self.stage.finish_loss(pending).await?;
        Ok(Some(Loss {
            sum: report.loss_sum,
            correct: report.correct,
            samples: report.samples,
        }))
    }

    /// The softmax of the logits in a row: F is made for it alone, so that no other micro-batch pays for reading logits back. None for
    /// models of which nothing can be asked.
    async fn answer(
        &mut self,
        run: &Run,
        slot: usize,
        samples: &Packed,
        row: usize,
    ) -> Result<Option<Vec<f32>>, WorkError> {
        let classes = run.classes();
        if classes > ANSWER_CLASSES_MAX {
            return Ok(None);
        }
        let logits = self.stage.forward(slot, samples).await?.f32s()?;
        let row = logits.chunks(classes).nth(row);
        let finite = row.filter(|row| row.iter().all(|logit| logit.is_finite()));
        Ok(finite.map(probabilities))
    }
}
