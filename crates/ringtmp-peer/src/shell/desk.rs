//! Where questions about texts wait that ride with micro-batches of this device: what its own user asks, and what stages ask that draw
//! no samples. Each rides in the place of a sample, at most one with a micro-batch; the tail answers.

use crate::run_file::Run;
use ringtmp_core::ids::{MicroBatchId, PeerId};
use ringtmp_core::wire::{Answer, Question};
use std::collections::VecDeque;

/// The desk of a source. It holds one question of each stage at most: a newer one takes the place of an older.
#[derive(Debug)]
pub(super) struct Desk {
    /// Tokens of a sample.
    context: usize,
    /// Tokens are below it.
    tokens: usize,
    waiting: VecDeque<Question>,
    entered: Vec<Entered>,
}

#[derive(Debug)]
struct Entered {
    with: MicroBatchId,
    asker: PeerId,
    number: u32,
}

impl Desk {
    pub(super) fn new(run: &Run) -> Self {
        let first = run.model.layers.first();
        Self {
            context: run.input_shape().iter().product(),
            tokens: first.and_then(|layer| layer.layer().tokens()).unwrap_or(0),
            waiting: VecDeque::new(),
            entered: Vec::new(),
        }
    }

    /// Takes a question; one that no sample can be made of is left unanswered, which harms only who asks.
    pub(super) fn take(&mut self, question: Question) {
        self.forget(question.asker);
        let known = |token: &u16| usize::from(*token) < self.tokens;
        if (1..=self.context).contains(&question.tokens.len()) && question.tokens.iter().all(known)
        {
            self.waiting.push_back(question);
        } else {
            tracing::debug!(asker = %question.asker, "a question that no sample can be made of");
        }
    }

    /// The question that rides with a micro-batch, if one waits.
    pub(super) fn enter(&mut self, with: MicroBatchId) -> Option<Vec<u32>> {
        let question = self.waiting.pop_front()?;
        let (asker, number) = (question.asker, question.number);
        self.entered.push(Entered {
            with,
            asker,
            number,
        });
        Some(question.tokens.into_iter().map(u32::from).collect())
    }

    /// Who asked what the tail has answered, and the question's number.
    pub(super) fn answered(&mut self, answer: &Answer) -> Option<(PeerId, u32)> {
        let with = |entered: &Entered| entered.with == answer.micro_batch;
        let place = self.entered.iter().position(with)?;
        let Entered { asker, number, .. } = self.entered.swap_remove(place);
        Some((asker, number))
    }

    /// Whoever asks does so again.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.entered.clear();
    }

    /// What was asked before is of no use to the asker any more.
    fn forget(&mut self, asker: PeerId) {
        self.waiting.retain(|question| question.asker != asker);
        self.entered.retain(|entered| entered.asker != asker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_file::RunFile;
    use ringtmp_core::ids::Step;

    fn question(asker: u64, number: u32, tokens: &[u16]) -> Question {
        Question {
            asker: PeerId(asker),
            number,
            tokens: tokens.to_vec(),
        }
    }

    fn micro_batch(sequence: u16) -> MicroBatchId {
        MicroBatchId {
            step: Step(3),
            source: PeerId(1),
            sequence,
        }
    }

    #[test]
    fn one_question_of_each_stage_waits_and_its_answer_finds_who_asked() {
        let run = RunFile::of_preset("gpt-nano");
        let mut desk = Desk::new(&run.check().expect("a preset"));
        for (number, asker) in [(1, 7), (1, 8), (2, 7)] {
            desk.take(question(asker, number, &[number as u16]));
        }
        // Not of this model, empty, and longer than a sample: nothing waits of these, nor of what was asked before.
        for tokens in [&[13][..], &[], &[1; 5000]] {
            desk.take(question(9, 1, tokens));
        }
        assert_eq!(desk.enter(micro_batch(0)), Some(vec![1]));
        assert_eq!(desk.enter(micro_batch(1)), Some(vec![2]));
        assert_eq!(desk.enter(micro_batch(2)), None);
        let answer = |sequence| Answer {
            micro_batch: micro_batch(sequence),
            to: PeerId(1),
            number: 0,
            probabilities: Vec::new(),
        };
        assert_eq!(desk.answered(&answer(1)), Some((PeerId(7), 2)));
        assert_eq!(desk.answered(&answer(1)), None, "once");
        desk.take(question(8, 2, &[5]));
        assert_eq!(desk.answered(&answer(0)), None, "a newer one was asked");
        assert_eq!(desk.waiting.len(), 1);
    }
}
