//! A text that the network goes on with while it is being trained. Each character is a question of its own: what follows the start and
//! all that was written after it? Whoever has the scribe brings its questions to the network, so that later characters may come from
//! newer weights than the first.

use crate::datasets::{self, DataError, DataPlace};
use crate::predictor::likeliest;
use crate::run_file::Run;
use crate::view::{
    START_CHARACTERS_MAX, WRITTEN_MAX, Writing, WritingRefusal, WritingState, Written,
};
use crate::writer::{choose, uniform};
use futures::future::{Fuse, FutureExt, LocalBoxFuture};
use ringtmp_core::ids::Step;
use ringtmp_core::wire::{ANSWER_CLASSES_MAX, QUESTION_TOKENS_MAX};
use ringtmp_data::{DataSpec, Vocabulary};

/// The most characters that are written after a start of a text: a few lines, which take as long as a network needs to change.
const TEXT_CHARACTERS_MAX: usize = 160;

/// And after a sum: three digits are enough, and a model that has not learnt to end writes no more.
const SUM_CHARACTERS_MAX: usize = 4;

/// What ends a sum.
const SUM_END: char = '\n';

/// A text is written anew after so many parts of a run's steps.
const AGAIN_PARTS: u32 = 20;

/// What came of looking for the characters of the run's text.
pub(crate) type Opened = Result<Option<Vocabulary>, DataError>;

/// Writes what the network answers, for the user of this device.
pub(crate) struct Scribe {
    run: Run,
    place: DataPlace,
    /// Once somebody has wanted something written.
    vocabulary: Option<Vocabulary>,
    /// Looks it up.
    pub(crate) opening: Fuse<LocalBoxFuture<'static, Opened>>,
    wish: Option<Wish>,
    state: WritingState,
    /// Of the characters of what is being written.
    draft: Option<Draft>,
    written: Vec<Written>,
    /// Counts questions.
    number: u32,
    /// Counts texts, so that each is drawn differently.
    texts: u64,
}

/// What the user wants.
#[derive(Clone, Debug, PartialEq)]
struct Wish {
    start: String,
    temperature: f32,
    again: bool,
}

/// A text on its way.
#[derive(Debug)]
struct Draft {
    /// The start and what follows it.
    tokens: Vec<u32>,
    text: String,
    /// Of the first and the last answer.
    steps: Option<[Step; 2]>,
}

impl Scribe {
    pub(crate) fn new(run: &Run, place: DataPlace) -> Self {
        Self {
            run: run.clone(),
            place,
            vocabulary: None,
            opening: Fuse::terminated(),
            wish: None,
            state: WritingState::Rests { again_after: None },
            draft: None,
            written: Vec::new(),
            number: 0,
            texts: 0,
        }
    }

    /// What there is to show; nothing until something was wanted.
    pub(crate) fn shown(&self) -> Option<Writing> {
        let wish = self.wish.as_ref()?;
        let state = match (&self.draft, &self.state) {
            (Some(draft), _) => WritingState::Writes {
                text: draft.text.clone(),
                most: self.characters_max() as u32,
            },
            (None, state) => state.clone(),
        };
        Some(Writing {
            start: wish.start.clone(),
            state,
            written: self.written.clone(),
        })
    }

    /// The user of a device wants something written, which only watches or computes.
    pub(crate) fn wants(
        &mut self,
        start: String,
        temperature_percent: u16,
        again: bool,
        watches: bool,
    ) {
        self.wish(Wish {
            start,
            temperature: f32::from(temperature_percent) / 100.0,
            again,
        });
        if let Some(why) = self.refusal(watches) {
            self.refuse(why);
        } else if self.vocabulary.is_some() {
            self.begin();
        } else {
            self.state = WritingState::Opening;
            let (run, place) = (self.run.clone(), self.place.clone());
            let opening = async move { datasets::open_vocabulary(&run, &place).await };
            self.opening = opening.boxed_local().fuse();
        }
    }

    /// The characters of the run's text are known, or why not.
    pub(crate) fn opened(&mut self, opened: Opened) {
        match opened {
            Ok(Some(vocabulary)) => {
                self.vocabulary = Some(vocabulary);
                if self.state == WritingState::Opening {
                    self.begin();
                }
            }
            Ok(None) => self.refuse(WritingRefusal::NoText),
            Err(error) => {
                let reason = error.to_string();
                self.refuse(WritingRefusal::NoData { reason });
            }
        }
    }

    /// So many steps are done: whether a text is due to be written anew, which is begun then.
    pub(crate) fn is_due(&mut self, step: Step) -> bool {
        let due = match self.state {
            WritingState::Rests { again_after } => again_after.is_some_and(|at| step.0 >= at),
            WritingState::Opening | WritingState::Writes { .. } | WritingState::Refused { .. } => {
                false
            }
        };
        let begins = due && self.draft.is_none();
        if begins {
            self.begin();
        }
        begins
    }

    /// The run begins anew: nothing counts that was written before.
    pub(crate) fn begin_anew(&mut self) {
        self.stop();
        self.written.clear();
    }

    /// Takes a start; what was written after it before is kept, for comparison.
    fn wish(&mut self, wish: Wish) {
        if self.wish.as_ref().map(|wish| &wish.start) != Some(&wish.start) {
            self.written.clear();
        }
        self.draft = None;
        self.wish = Some(wish);
        self.state = WritingState::Rests { again_after: None };
    }

    /// What is wrong with the wish, as far as it shows without the vocabulary.
    fn refusal(&self, watches: bool) -> Option<WritingRefusal> {
        let characters = self.run.classes();
        let start = self.wish.as_ref().map_or("", |wish| &wish.start);
        let length = start.chars().take(START_CHARACTERS_MAX + 1).count();
        if !self.run.takes_text() {
            Some(WritingRefusal::NoText)
        } else if watches {
            Some(WritingRefusal::Watches)
        } else if characters > ANSWER_CLASSES_MAX {
            let characters = u32::try_from(characters).unwrap_or(u32::MAX);
            Some(WritingRefusal::TooManyCharacters { characters })
        } else if length == 0 {
            Some(WritingRefusal::Empty)
        } else {
            (length > START_CHARACTERS_MAX).then_some(WritingRefusal::TooLong)
        }
    }

    /// Begins a text, once the vocabulary is known.
    fn begin(&mut self) {
        let (Some(wish), Some(vocabulary)) = (&self.wish, &self.vocabulary) else {
            return;
        };
        match vocabulary.encode(&wish.start) {
            Ok(tokens) => {
                self.texts += 1;
                self.draft = Some(Draft {
                    tokens,
                    text: String::new(),
                    steps: None,
                });
            }
            Err(character) => self.refuse(WritingRefusal::Stranger { character }),
        }
    }

    fn refuse(&mut self, why: WritingRefusal) {
        self.draft = None;
        self.state = WritingState::Refused { why };
    }

    /// The number of the next question and the tokens to ask about: as much of the end of the text as the model, or a question, holds.
    /// None where nothing is being written.
    pub(crate) fn question(&mut self) -> Option<(u32, Vec<u16>)> {
        let context: usize = self.run.input_shape().iter().product();
        let tokens = &self.draft.as_ref()?.tokens;
        let seen = tokens.len().min(context).min(QUESTION_TOKENS_MAX);
        let last = &tokens[tokens.len() - seen..];
        self.number = self.number.wrapping_add(1).max(1);
        // A vocabulary has at most as many characters as two bytes tell apart.
        Some((
            self.number,
            last.iter().map(|token| *token as u16).collect(),
        ))
    }

    /// Takes the answer to the newest question. Whether the text goes on.
    pub(crate) fn answered(&mut self, number: u32, step: Step, probabilities: &[f32]) -> bool {
        let (Some(draft), Some(vocabulary)) = (&mut self.draft, &self.vocabulary) else {
            return false;
        };
        let known = probabilities.len().min(vocabulary.len());
        if number != self.number || known == 0 {
            return false;
        }
        let temperature = self.wish.as_ref().map_or(0.0, |wish| wish.temperature);
        let place = draft.text.chars().count();
        let token = drawn(
            &probabilities[..known],
            temperature,
            uniform(self.texts, place),
        );
        draft.steps = Some([draft.steps.map_or(step, |[first, _]| first), step]);
        let written = vocabulary.decode(&[token]);
        let ends = self.run.data == DataSpec::Addition && written.starts_with(SUM_END);
        if !ends {
            draft.text.push_str(&written);
            draft.tokens.push(token);
        }
        if ends || place + 1 >= self.characters_max() {
            self.put_down();
            return false;
        }
        true
    }

    fn characters_max(&self) -> usize {
        match self.run.data {
            DataSpec::Addition => SUM_CHARACTERS_MAX,
            DataSpec::Digits
            | DataSpec::Idx { .. }
            | DataSpec::Text { .. }
            | DataSpec::Csv { .. } => TEXT_CHARACTERS_MAX,
        }
    }

    /// The text is at its end, or is given up: what there is of it is kept.
    fn put_down(&mut self) {
        let Some(draft) = self.draft.take() else {
            return;
        };
        let Some([first, last]) = draft.steps else {
            return;
        };
        self.written.push(Written {
            text: draft.text,
            first: first.0,
            last: last.0,
        });
        if self.written.len() > WRITTEN_MAX {
            self.written.remove(0);
        }
        let again = self.wish.as_ref().is_some_and(|wish| wish.again);
        let steps = self.run.file.steps;
        let next = last.0.saturating_add((steps / AGAIN_PARTS).max(1));
        let again_after = (again && next < steps).then_some(next);
        self.state = WritingState::Rests { again_after };
    }

    /// The user has read enough, or nothing more can be asked.
    pub(crate) fn stop(&mut self) {
        if let Some(wish) = &mut self.wish {
            wish.again = false;
        }
        self.put_down();
        self.draft = None;
        if !matches!(self.state, WritingState::Refused { .. }) {
            self.state = WritingState::Rests { again_after: None };
        }
    }
}

/// A token for a draw in 0..1 by its probability, sharpened or blunted by the temperature.
fn drawn(probabilities: &[f32], temperature: f32, draw: f64) -> u32 {
    if temperature == 0.0 {
        return likeliest(probabilities) as u32;
    }
    // Up to a number that does not matter, these are the logits.
    let logits: Vec<f32> = probabilities.iter().map(|share| share.ln()).collect();
    choose(&logits, temperature, draw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_file::RunFile;
    use futures::executor::block_on;

    const ADDITION: &str = "\n+0123456789=";

    fn scribe(steps: u32) -> Scribe {
        let file = RunFile {
            steps,
            ..RunFile::of_preset("gpt-nano")
        };
        let run = file.check().expect("a preset");
        let mut scribe = Scribe::new(&run, DataPlace::Disk);
        let opened = block_on(datasets::open_vocabulary(&run, &DataPlace::Disk));
        scribe.vocabulary = opened.expect("sums need no file");
        scribe
    }

    fn wants(scribe: &mut Scribe, start: &str, again: bool) {
        scribe.wish(Wish {
            start: start.to_owned(),
            temperature: 0.0,
            again,
        });
        match scribe.refusal(false) {
            Some(why) => scribe.refuse(why),
            None => scribe.begin(),
        }
    }

    /// The network is sure of a character.
    fn sure_of(character: char) -> Vec<f32> {
        let share = |known| f32::from(u8::from(known == character));
        ADDITION.chars().map(share).collect()
    }

    /// Asks and takes the answer. Whether it goes on.
    fn next(scribe: &mut Scribe, step: u32, character: char) -> bool {
        let (number, _) = scribe.question().expect("a character is wanted");
        scribe.answered(number, Step(step), &sure_of(character))
    }

    #[test]
    fn a_sum_is_written_digit_by_digit_to_the_end_of_its_line_and_again_a_twentieth_of_the_run_later()
     {
        let mut scribe = scribe(400);
        wants(&mut scribe, "17+25=", true);
        let asked = scribe.question().expect("the first digit").1;
        assert_eq!(asked, [3, 9, 1, 4, 7, 12]);
        assert!(
            !scribe.answered(scribe.number + 1, Step(7), &sure_of('9')),
            "of another question"
        );
        assert!(next(&mut scribe, 7, '4') && next(&mut scribe, 8, '2'));
        let shown = scribe.shown().expect("a wish");
        let text = "42".to_owned();
        assert_eq!(shown.state, WritingState::Writes { text, most: 4 });
        assert!(!next(&mut scribe, 9, '\n'));
        let shown = scribe.shown().expect("a wish");
        let again_after = Some(29);
        assert_eq!(shown.state, WritingState::Rests { again_after });
        let text = "42".to_owned();
        let [first, last] = [7, 9];
        assert_eq!(shown.written, [Written { text, first, last }]);
        // A network that does not end is stopped, and a run that is nearly over is not asked again.
        scribe.begin();
        assert!((0..3).all(|step| next(&mut scribe, 390 + step, '1')));
        assert!(!next(&mut scribe, 394, '1'));
        let again_after = None;
        assert_eq!(scribe.state, WritingState::Rests { again_after });
        assert_eq!(scribe.written[1].text, "1111");
    }

    #[test]
    fn what_cannot_be_asked_is_refused_by_name_and_what_was_written_after_a_start_is_bounded() {
        let mut scribe = scribe(400);
        let mut refused = |start: &str| {
            wants(&mut scribe, start, false);
            match scribe.shown().map(|shown| shown.state) {
                Some(WritingState::Refused { why }) => why,
                other => panic!("{start}: {other:?}"),
            }
        };
        assert_eq!(refused(""), WritingRefusal::Empty);
        assert_eq!(refused(&"1".repeat(101)), WritingRefusal::TooLong);
        let character = 'a';
        assert_eq!(refused("1a"), WritingRefusal::Stranger { character });
        assert_eq!(scribe.refusal(true), Some(WritingRefusal::Watches));
        for _ in 0..=WRITTEN_MAX {
            wants(&mut scribe, "1+", false);
            assert!(!(0..9).all(|step| next(&mut scribe, step, '1')));
        }
        assert_eq!(scribe.written.len(), WRITTEN_MAX);
        wants(&mut scribe, "2+", false);
        assert!(scribe.written.is_empty(), "of another start");
        scribe.stop();
        assert!(scribe.written.is_empty() && scribe.draft.is_none());
    }

    #[test]
    fn probabilities_are_drawn_from_as_logits_are() {
        let shares = [0.25, 0.75, 0.0];
        assert_eq!(drawn(&shares, 0.0, 0.0), 1);
        assert_eq!(drawn(&shares, 1.0, 0.2), 0);
        assert_eq!(drawn(&shares, 1.0, 0.3), 1);
        // Squared, a tenth and nine tenths.
        assert_eq!(drawn(&shares, 0.5, 0.2), 1);
        assert!(drawn(&[0.0, f32::NAN], 1.0, 0.5) < 2);
    }
}
