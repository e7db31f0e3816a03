//! What the network says of a drawing. It rides with a micro-batch of this device, in the place of one of its samples and without a
//! label that counts, so that it passes every stage as a sample does; the tail answers, and the answer comes round the ring.

use super::Shell;
use crate::progress::Progress;
use crate::samples::{ASKED_LABEL, Labelled};
use crate::view::{Asked, NoticeLevel};
use ringtmp_core::ids::MicroBatchId;
use ringtmp_core::node::Event;

/// The newest drawing that is asked about; another takes its place.
pub(super) struct Question {
    numbers: Vec<f32>,
    /// With which micro-batch it went, if it has.
    with: Option<MicroBatchId>,
    answer: Option<Vec<f32>>,
}

impl Question {
    fn shown(&self) -> Asked {
        match (self.with, &self.answer) {
            (Some(with), Some(probabilities)) => Asked::Answered {
                step: with.step.0,
                probabilities: probabilities.clone(),
            },
            (Some(with), None) => Asked::Entered { step: with.step.0 },
            (None, _) => Asked::Waiting,
        }
    }
}

impl Shell {
    /// The user wants to know what a drawing is.
    pub(super) fn ask_about(&mut self, strokes: &[Vec<[u16; 2]>], progress: &mut Progress) {
        match self.fresh.picture(strokes) {
            Ok(numbers) => {
                self.question = Some(Question {
                    numbers,
                    with: None,
                    answer: None,
                });
                self.show_question(progress);
            }
            Err(reason) => {
                let text = format!("This drawing cannot be asked about: {reason}.");
                progress.notice(NoticeLevel::Warning, text, "");
            }
        }
    }

    /// The question as a sample, if one waits: at most one for each micro-batch.
    pub(super) fn enter_question(
        &mut self,
        micro_batch: MicroBatchId,
        progress: &mut Progress,
    ) -> Vec<Labelled> {
        let waiting = self.question.as_mut();
        let Some(question) = waiting.filter(|question| question.with.is_none()) else {
            return Vec::new();
        };
        question.with = Some(micro_batch);
        let numbers = question.numbers.clone();
        self.show_question(progress);
        let label = ASKED_LABEL;
        vec![Labelled { numbers, label }]
    }

    /// A plan begins: what was on its way under the last one is asked again.
    pub(super) fn ask_again(&mut self, progress: &mut Progress) {
        let open = self.question.as_mut();
        if let Some(question) = open.filter(|question| question.answer.is_none()) {
            question.with = None;
            self.show_question(progress);
        }
    }

    /// If it is the answer to what was asked last, it is shown.
    pub(super) fn note_answer(&mut self, event: &Event, progress: &mut Progress) {
        let Event::Answer(answer) = event else {
            return;
        };
        let asked = self.question.as_mut();
        let Some(question) = asked.filter(|question| question.with == Some(answer.micro_batch))
        else {
            return;
        };
        question.answer = Some(answer.probabilities.clone());
        self.show_question(progress);
    }

    fn show_question(&self, progress: &mut Progress) {
        progress.asked(self.question.as_ref().map(Question::shown));
    }
}
