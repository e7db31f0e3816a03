//! Sums of two two-digit numbers, as text: `17+25=42`.
//!
//! A sample is a line, its inputs all characters but the last, and the labels of the inputs are the characters that
//! follow. Only what follows `=` is to be learnt: the digits of the sum and the end of the line. What is left of a longer
//! context is filled with ends of lines, which nobody has to guess.

use crate::batch::{Batch, UNLABELLED};
use crate::vocabulary::Vocabulary;

/// Tokens of a sample at least: those of `99+99=198`.
pub const ADDITION_CONTEXT: usize = 9;

/// The most tokens of a sample: room for a model made for longer texts.
pub const ADDITION_CONTEXT_MAX: usize = 4096;

/// Every character of a sum.
const CHARACTERS: &str = "\n+0123456789=";

/// How many different characters sums have.
pub const ADDITION_CHARACTERS: usize = CHARACTERS.len();

/// The smallest number with two digits, and how many such numbers there are.
const FIRST: u32 = 10;
const NUMBERS: u32 = 90;

/// Of so many pairs, one is held out.
const HELD_OUT_ONE_IN: u32 = 10;

/// The context that was asked for is too short or too long. The run file's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "sums take a context of {ADDITION_CONTEXT} to {ADDITION_CONTEXT_MAX} tokens, not {context}; change the model's input"
)]
pub struct AdditionContext {
    /// Tokens of a sample.
    pub context: usize,
}

/// All pairs, divided once and for all: the seed orders them, but never moves a pair from one side to the other.
#[derive(Debug)]
pub(crate) struct Addition {
    context: usize,
    vocabulary: Vocabulary,
    train: Vec<[u32; 2]>,
    test: Vec<[u32; 2]>,
}

impl Addition {
    pub(crate) fn new(context: usize) -> Result<Self, AdditionContext> {
        if !(ADDITION_CONTEXT..=ADDITION_CONTEXT_MAX).contains(&context) {
            return Err(AdditionContext { context });
        }
        let pairs =
            (0..NUMBERS * NUMBERS).map(|index| [FIRST + index / NUMBERS, FIRST + index % NUMBERS]);
        let (test, train) = pairs.partition(|pair| is_held_out(*pair));
        let vocabulary = Vocabulary::of(CHARACTERS).expect("thirteen characters are few");
        Ok(Self {
            context,
            vocabulary,
            train,
            test,
        })
    }

    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    pub(crate) fn train_len(&self) -> u32 {
        self.train.len() as u32
    }

    pub(crate) fn test_len(&self) -> u32 {
        self.test.len() as u32
    }

    /// Adds the sum at a place below [`Self::train_len`].
    pub(crate) fn train(&self, place: u32, batch: &mut Batch) {
        self.push(self.train[place as usize], batch);
    }

    /// Adds the sum at a place below [`Self::test_len`].
    pub(crate) fn test(&self, place: u32, batch: &mut Batch) {
        self.push(self.test[place as usize], batch);
    }

    /// The sum at a place below [`Self::test_len`]: `17+25=` and `42`.
    pub(crate) fn question(&self, place: u32) -> [String; 2] {
        question(self.test[place as usize])
    }

    fn push(&self, pair: [u32; 2], batch: &mut Batch) {
        let [question, answer] = question(pair);
        let line = format!("{question}{answer}\n");
        let token = |character| {
            self.vocabulary
                .encode(character)
                .expect("a sum has only characters of sums")
        };
        let (line, end) = (token(&line), token("\n")[0]);
        let inputs = line.iter().copied().chain(std::iter::repeat(end));
        let first = question.len() - 1;
        let label = |place: usize| match line.get(place + 1) {
            Some(next) if place >= first => *next,
            _ => UNLABELLED,
        };
        batch.push_tokens(inputs.take(self.context), (0..self.context).map(label));
    }
}

fn question([a, b]: [u32; 2]) -> [String; 2] {
    [format!("{a}+{b}="), (a + b).to_string()]
}

/// A function of the two numbers whatever their order, so that who has learnt `a+b` is not asked for `b+a`.
fn is_held_out([a, b]: [u32; 2]) -> bool {
    let pair = a.min(b) * 100 + a.max(b);
    // The finalizer of MurmurHash3 (Appleby, 2011): every bit of the pair moves every bit of the hash.
    let hash = (pair ^ pair >> 16).wrapping_mul(0x85eb_ca6b);
    let hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    (hash ^ hash >> 16).is_multiple_of(HELD_OUT_ONE_IN)
}
