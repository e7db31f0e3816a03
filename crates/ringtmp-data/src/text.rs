//! Any text, as windows of characters.

use crate::batch::Batch;
use crate::random::{Draws, Purpose};
use crate::share::Share;
use crate::vocabulary::{VOCABULARY_MAX, Vocabulary};
use std::ops::Range;

/// The most bytes of a text: sixty times all of Shakespeare. Its tokens take at most twice as much memory.
pub const TEXT_BYTES_MAX: u64 = 64 << 20;

/// The most tokens of a window: what any model here attends to.
pub const CONTEXT_MAX: usize = 1 << 16;

/// Why a text cannot be used. The file is at fault, or the run that asks for too long windows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// More than is read.
    #[error("the text has {bytes} bytes; at most {TEXT_BYTES_MAX} are read, so use a part of it")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Bytes that are no characters.
    #[error("line {line} of the text is not UTF-8; convert the file")]
    NotUtf8 {
        /// Counted from 1.
        line: usize,
    },
    /// Too many different characters.
    #[error("the text has more than {VOCABULARY_MAX} different characters; is it really text?")]
    Vocabulary,
    /// A character that the run's own text does not have.
    #[error(
        "the text has the character {character:?}, which the run's data do not have; remove it, or take another text"
    )]
    Stranger {
        /// Which.
        character: char,
    },
    /// No window, or one that no model here attends to.
    #[error("windows of {context} characters cannot be taken: 1 to {CONTEXT_MAX} are possible")]
    Context {
        /// As asked for.
        context: usize,
    },
    /// Not even one window on each side of the division.
    #[error(
        "the text has {characters} characters; windows of {context} need at least {needed}, so use a longer text or a shorter context"
    )]
    TooShort {
        /// How many there are.
        characters: usize,
        /// Characters of a window.
        context: usize,
        /// How many it takes.
        needed: usize,
    },
}

/// A text whose first nine tenths are to train on.
#[derive(Debug)]
pub(crate) struct Text {
    context: usize,
    vocabulary: Vocabulary,
    tokens: Vec<u16>,
    /// Tokens that are to train on.
    train: usize,
}

impl Text {
    pub(crate) fn read(bytes: &[u8], context: usize) -> Result<Self, TextError> {
        Self::read_with(bytes, context, None)
    }

    pub(crate) fn read_with(
        bytes: &[u8],
        context: usize,
        vocabulary: Option<&Vocabulary>,
    ) -> Result<Self, TextError> {
        if bytes.len() as u64 > TEXT_BYTES_MAX {
            return Err(TextError::TooLarge { bytes: bytes.len() });
        }
        if !(1..=CONTEXT_MAX).contains(&context) {
            return Err(TextError::Context { context });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| TextError::NotUtf8 {
            line: line_at(bytes, error.valid_up_to()),
        })?;
        let vocabulary = match vocabulary {
            Some(vocabulary) => vocabulary.clone(),
            None => Vocabulary::of(text).ok_or(TextError::Vocabulary)?,
        };
        let tokens = vocabulary.encode(text);
        let tokens = tokens.map_err(|character| TextError::Stranger { character })?;
        let tokens: Vec<u16> = tokens.into_iter().map(|token| token as u16).collect();
        let characters = tokens.len();
        let train = characters - characters.div_ceil(10);
        // A window and the character after it, on each side; the smaller side is the tenth.
        let window = context + 1;
        if train < window || characters - train < window {
            return Err(TextError::TooShort {
                characters,
                context,
                needed: 10 * window - 9,
            });
        }
        Ok(Self {
            context,
            vocabulary,
            tokens,
            train,
        })
    }

    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The stretch of a share, in tokens. Stretches do not overlap, and cover what is to train on.
    fn stretch(&self, share: &Share) -> Range<usize> {
        let bound = |number: u32| {
            let part = self.train as u64 * u64::from(number) / u64::from(share.of);
            part as usize
        };
        bound(share.number)..bound(share.number + 1)
    }

    /// Windows of a share side by side.
    pub(crate) fn train_len(&self, share: &Share) -> u32 {
        (self.stretch(share).len().saturating_sub(1) / self.context) as u32
    }

    /// Windows side by side.
    pub(crate) fn test_len(&self) -> u32 {
        ((self.tokens.len() - self.train - 1) / self.context) as u32
    }

    /// Adds the window of a share at a place below [`Self::train_len`].
    pub(crate) fn train(&self, share: &Share, place: u32, batch: &mut Batch) {
        let start = self.stretch(share).start;
        self.push(start + place as usize * self.context, batch);
    }

    /// Adds a window that begins anywhere in a share; the one numbered `index` of this seed.
    pub(crate) fn random(&self, share: &Share, seed: u64, index: u64, batch: &mut Batch) {
        let stretch = self.stretch(share);
        let starts = stretch.len() - self.context;
        let seeds = [seed, share.number.into()];
        let start = Draws::new(Purpose::Window, seeds, index).below(starts as u32);
        self.push(stretch.start + start as usize, batch);
    }

    /// Adds the window at a place below [`Self::test_len`].
    pub(crate) fn test(&self, place: u32, batch: &mut Batch) {
        self.push(self.train + place as usize * self.context, batch);
    }

    fn push(&self, start: usize, batch: &mut Batch) {
        let window = |start| self.tokens[start..start + self.context].iter();
        let wide = |token: &u16| u32::from(*token);
        batch.push_tokens(window(start).map(wide), window(start + 1).map(wide));
    }
}

/// The line, counted from 1, that a byte is in.
pub(crate) fn line_at(bytes: &[u8], place: usize) -> usize {
    1 + bytes[..place].iter().filter(|byte| **byte == b'\n').count()
}
