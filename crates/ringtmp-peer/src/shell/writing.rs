//! How the questions of what is written ([`crate::scribe`]) go round the ring: they ride with micro-batches ([`super::desk`]), so that a
//! text takes at most as many turns of the ring as it has characters.

use super::Shell;
use crate::progress::Progress;
use crate::scribe::Opened;
use ringtmp_core::ids::Step;
use ringtmp_core::node::{Event, Input};
use ringtmp_core::wire::{Answer, Question};

impl Shell {
    /// The user wants something written.
    pub(super) fn write(
        &mut self,
        start: String,
        temperature_percent: u16,
        again: bool,
        progress: &mut Progress,
    ) {
        let watches = self.executor.is_none();
        self.scribe
            .wants(start, temperature_percent, again, watches);
        self.ask_on(progress);
    }

    /// The characters of the run's text are known, or why not.
    pub(super) fn vocabulary_opened(&mut self, opened: Opened, progress: &mut Progress) {
        self.scribe.opened(opened);
        self.ask_on(progress);
    }

    /// The user has read enough.
    pub(super) fn stop_writing(&mut self, progress: &mut Progress) {
        self.scribe.stop();
        progress.writing(self.scribe.shown());
    }

    /// Asks for the next character, if one is wanted.
    fn ask_on(&mut self, progress: &mut Progress) {
        if let Some((number, tokens)) = self.scribe.question() {
            let asker = self.record.me();
            let question = Question {
                asker,
                number,
                tokens,
            };
            let now = self.clock.now();
            self.node.handle(now, Input::Question(question));
        }
        progress.writing(self.scribe.shown());
    }

    /// What concerns questions about texts, those of this device's user and those of others that ride with its micro-batches.
    pub(super) fn note_writing(&mut self, event: &Event, progress: &mut Progress) {
        match event {
            Event::Question(question) => self.desk.take(question.clone()),
            Event::Answer(answer) => self.text_answered(answer, progress),
            // What was asked under the last plan is not answered any more.
            Event::Training => self.ask_on(progress),
            Event::Finished | Event::Aborted { .. } => self.stop_writing(progress),
            Event::LinkOpen { .. }
            | Event::LinkFailed { .. }
            | Event::Points(_)
            | Event::ModelBegins(_)
            | Event::ModelIsHere(_)
            | Event::Stable(_)
            | Event::Halted { .. } => {}
        }
    }

    fn text_answered(&mut self, answer: &Answer, progress: &mut Progress) {
        let me = self.record.me();
        let (asker, number) = if answer.micro_batch.source == me {
            let Some(asked) = self.desk.answered(answer) else {
                return;
            };
            asked
        } else {
            (me, answer.number)
        };
        if asker != me {
            let answer = Answer {
                to: asker,
                number,
                ..answer.clone()
            };
            self.node.handle(self.clock.now(), Input::Answer(answer));
        } else if self
            .scribe
            .answered(number, answer.micro_batch.step, &answer.probabilities)
        {
            self.ask_on(progress);
        } else {
            progress.writing(self.scribe.shown());
        }
    }

    /// The update of a step is made here: a text may be due to be written anew.
    pub(super) fn write_again(&mut self, step: Step, progress: &mut Progress) {
        if self.scribe.is_due(step) {
            self.ask_on(progress);
        }
    }

    /// A stage is built for a plan that begins after so many updates: at the beginning nothing counts that was written before.
    pub(super) fn begin_writing(&mut self, begins_anew: bool, progress: &mut Progress) {
        self.desk.clear();
        if begins_anew {
            self.scribe.begin_anew();
        }
        progress.writing(self.scribe.shown());
    }
}
