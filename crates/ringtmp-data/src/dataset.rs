//! Samples by number.

use crate::addition::{Addition, AdditionContext};
use crate::batch::Batch;
use crate::csv::{CsvError, Table};
use crate::digits::{self, PIXELS, SIDE};
use crate::idx::{IdxError, IdxFiles, IdxSet};
use crate::permutation::Permutation;
use crate::random::{Draws, Purpose};
use crate::share::Share;
use crate::text::{Text, TextError};
use crate::vocabulary::Vocabulary;
use serde::{Deserialize, Serialize};

/// Classes of every set of pictures here.
pub const CLASSES: usize = 10;

const ALL_CLASSES: [usize; CLASSES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/// Digits held out for testing; as many as MNIST holds out.
const DIGITS_TEST: u32 = 10_000;

/// Samples to train on, and others to test on.
#[derive(Debug)]
pub struct Dataset {
    source: Source,
    shape: [usize; 1],
}

#[derive(Debug)]
enum Source {
    Digits { seed: u64 },
    Idx(IdxSet),
    Addition(Addition),
    Text(Text),
    Csv(Table),
}

/// The order in which a finite set is passed over, again and again. An endless set has no order: it never repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As the files have it; a text as windows side by side.
    Sequential,
    /// At random, each pass differently, each sample once a pass. A text gives windows that begin anywhere.
    Shuffled,
}

impl Dataset {
    /// Digits drawn by the project: endless to train on, 10,000 held out. Different seeds give different digits, to train
    /// on and held out; those held out are never among those to train on.
    pub fn digits(seed: u64) -> Self {
        Self {
            source: Source::Digits { seed },
            shape: [PIXELS],
        }
    }

    /// Images and labels from IDX files.
    ///
    /// # Errors
    ///
    /// [`IdxError`] if the files are not what they should be; the message says what to do.
    pub fn idx(files: IdxFiles) -> Result<Self, IdxError> {
        let set = IdxSet::read(files)?;
        let [rows, columns] = set.image();
        Ok(Self {
            source: Source::Idx(set),
            shape: [rows * columns],
        })
    }

    /// Sums of two two-digit numbers as texts of `context` tokens; about one pair in ten is held out.
    ///
    /// # Errors
    ///
    /// [`AdditionContext`] if a sum does not fit or the context is out of bounds.
    pub fn addition(context: usize) -> Result<Self, AdditionContext> {
        Ok(Self {
            source: Source::Addition(Addition::new(context)?),
            shape: [context],
        })
    }

    /// Windows of `context` characters of a text in UTF-8; its last tenth is held out.
    ///
    /// # Errors
    ///
    /// [`TextError`] if the text cannot be used; the message says what to do.
    pub fn text(bytes: &[u8], context: usize) -> Result<Self, TextError> {
        Ok(Self {
            source: Source::Text(Text::read(bytes, context)?),
            shape: [context],
        })
    }

    /// Likewise, of a text that is to be told with the characters of another.
    ///
    /// # Errors
    ///
    /// [`TextError`] if the text cannot be used, or has other characters.
    pub fn text_with(
        bytes: &[u8],
        context: usize,
        vocabulary: &Vocabulary,
    ) -> Result<Self, TextError> {
        Ok(Self {
            source: Source::Text(Text::read_with(bytes, context, Some(vocabulary))?),
            shape: [context],
        })
    }

    /// Rows of a table in CSV; every tenth is held out.
    ///
    /// # Errors
    ///
    /// [`CsvError`] if the table cannot be used; the message names the line.
    pub fn csv(bytes: &[u8]) -> Result<Self, CsvError> {
        let table = Table::read(bytes)?;
        let shape = [table.columns()];
        Ok(Self {
            source: Source::Csv(table),
            shape,
        })
    }

    /// The shape of one sample as a row of numbers or tokens: `[784]` for digits and MNIST, `[context]` for text,
    /// `[columns]` for a table.
    pub fn sample_shape(&self) -> &[usize] {
        &self.shape
    }

    /// Rows and columns of one sample as a picture: `[28, 28]` for digits and MNIST; none for what is no picture.
    pub fn image_shape(&self) -> Option<[usize; 2]> {
        match &self.source {
            Source::Digits { .. } => Some([SIDE, SIDE]),
            Source::Idx(set) => Some(set.image()),
            Source::Addition(_) | Source::Text(_) | Source::Csv(_) => None,
        }
    }

    /// How many classes there are, for text characters; labels are below it.
    pub fn classes(&self) -> usize {
        match &self.source {
            Source::Digits { .. } | Source::Idx(_) => CLASSES,
            Source::Addition(_) | Source::Text(_) => self.vocabulary().map_or(0, Vocabulary::len),
            Source::Csv(table) => table.classes(),
        }
    }

    /// The characters behind tokens, where samples are text.
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        match &self.source {
            Source::Addition(sums) => Some(sums.vocabulary()),
            Source::Text(text) => Some(text.vocabulary()),
            Source::Digits { .. } | Source::Idx(_) | Source::Csv(_) => None,
        }
    }

    /// How many labels a sample has: one, or one for each token of a text.
    pub fn labels_per_sample(&self) -> usize {
        match self.vocabulary() {
            Some(_) => self.shape[0],
            None => 1,
        }
    }

    /// How many samples there are to train on, of a text those in sequence; `None` if they never end.
    pub fn train_len(&self) -> Option<u64> {
        self.train_count().map(u64::from)
    }

    fn train_count(&self) -> Option<u32> {
        match &self.source {
            Source::Digits { .. } => None,
            Source::Idx(set) => Some(set.train_len()),
            Source::Addition(sums) => Some(sums.train_len()),
            Source::Text(text) => Some(text.train_len(&Share::WHOLE)),
            Source::Csv(table) => Some(table.train_len()),
        }
    }

    /// How many samples there are to test on; never 0.
    pub fn test_len(&self) -> u32 {
        match &self.source {
            Source::Digits { .. } => DIGITS_TEST,
            Source::Idx(set) => set.test_len(),
            Source::Addition(sums) => sums.test_len(),
            Source::Text(text) => text.test_len(),
            Source::Csv(table) => table.test_len(),
        }
    }

    /// The samples `first..first + count` of a run with this seed, counted over the whole run: those of step s are
    /// `s * batch..(s + 1) * batch`. Always `count` samples: a finite set is passed over again and again. The caller bounds
    /// `count`: a sample takes four bytes a number, and a text eight a character.
    pub fn train(&self, order: Order, seed: u64, first: u64, count: u32) -> Batch {
        self.train_share(&Share::WHOLE, order, seed, first, count)
    }

    /// Likewise, of the part that a source has: its own samples, counted from its own first one, passed over again and again.
    pub fn train_share(
        &self,
        share: &Share,
        order: Order,
        seed: u64,
        first: u64,
        count: u32,
    ) -> Batch {
        let mut batch = self.batch(count);
        let indices = (0..u64::from(count)).map(|offset| first.wrapping_add(offset));
        match (&self.source, self.share_len(share), order) {
            (Source::Digits { seed: own }, ..) => {
                let purposes = [Purpose::TrainDigit, Purpose::TrainClasses];
                draw_digits(purposes, [*own, seed], share, first, count, &mut batch);
            }
            (Source::Text(text), _, Order::Shuffled) => {
                indices.for_each(|index| text.random(share, seed, index, &mut batch));
            }
            (_, length, _) => {
                let length = length.expect("only drawn digits never end");
                let mut pass = None;
                for index in indices {
                    let number = index / u64::from(length);
                    let place = (index % u64::from(length)) as u32;
                    let place = match order {
                        Order::Sequential => place,
                        Order::Shuffled => shuffled(&mut pass, length, seed, number, place),
                    };
                    self.push_train(share, place, &mut batch);
                }
            }
        }
        batch
    }

    /// The samples `first..first + count` held out, in order; fewer, or none, where the set ends before.
    pub fn test(&self, first: u32, count: u32) -> Batch {
        let end = first.saturating_add(count).min(self.test_len());
        let count = end.saturating_sub(first);
        let mut batch = self.batch(count);
        match &self.source {
            Source::Digits { seed } => {
                let purposes = [Purpose::TestDigit, Purpose::TestClasses];
                let first = u64::from(first);
                draw_digits(
                    purposes,
                    [*seed, 0],
                    &Share::WHOLE,
                    first,
                    count,
                    &mut batch,
                );
            }
            Source::Idx(set) => {
                (first..end).for_each(|place| push_image(set.test(place), &mut batch));
            }
            Source::Addition(sums) => (first..end).for_each(|place| sums.test(place, &mut batch)),
            Source::Text(text) => (first..end).for_each(|place| text.test(place, &mut batch)),
            Source::Csv(table) => (first..end).for_each(|place| table.test(place, &mut batch)),
        }
        batch
    }

    /// What is asked in the held-out sample at a place, and the answer, to be ended by a line break; none of samples that ask
    /// nothing, and past the last one.
    pub fn test_question(&self, place: u32) -> Option<[String; 2]> {
        match &self.source {
            Source::Addition(sums) if place < sums.test_len() => Some(sums.question(place)),
            Source::Addition(_)
            | Source::Digits { .. }
            | Source::Idx(_)
            | Source::Text(_)
            | Source::Csv(_) => None,
        }
    }

    /// Like [`Dataset::test`], but always `count` samples: those from `end` on, or past the last one, are zeros with labels
    /// that no loss counts.
    pub fn test_padded(&self, first: u32, count: u32, end: u32) -> Batch {
        let mut batch = self.test(first, end.saturating_sub(first).min(count));
        batch.pad(count as usize, self.shape[0]);
        batch
    }

    fn batch(&self, samples: u32) -> Batch {
        let (samples, width) = (samples as usize, self.shape[0]);
        match self.vocabulary() {
            Some(_) => Batch::of_tokens(samples, width),
            None => Batch::of_floats(samples, width),
        }
    }

    /// Adds the sample at a place of a share of a finite set.
    fn push_train(&self, share: &Share, index: u32, batch: &mut Batch) {
        match &self.source {
            Source::Digits { .. } => {}
            Source::Idx(set) => push_image(set.train(share.place(index)), batch),
            Source::Addition(sums) => sums.train(share.place(index), batch),
            Source::Text(text) => text.train(share, index, batch),
            Source::Csv(table) => table.train(share.place(index), batch),
        }
    }

    /// How many samples a share has, of a text those in sequence; `None` if they never end.
    pub(crate) fn share_len(&self, share: &Share) -> Option<u32> {
        match &self.source {
            Source::Text(text) => Some(text.train_len(share)),
            Source::Digits { .. } | Source::Idx(_) | Source::Addition(_) | Source::Csv(_) => {
                self.train_count().map(|all| share.len(all))
            }
        }
    }

    /// The classes of the samples to train on, place by place; none of an endless set. `None` of texts, which have no class.
    pub(crate) fn train_labels(&self) -> Option<Vec<usize>> {
        match &self.source {
            Source::Digits { .. } => Some(Vec::new()),
            Source::Idx(set) => {
                let label = |place| set.train(place).1;
                Some((0..set.train_len()).map(label).collect())
            }
            Source::Csv(table) => {
                let label = |place| table.train_label(place) as usize;
                Some((0..table.train_len()).map(label).collect())
            }
            Source::Addition(_) | Source::Text(_) => None,
        }
    }
}

/// Adds a picture: 0 is paper, 1 is ink.
fn push_image((pixels, label): (&[u8], usize), batch: &mut Batch) {
    let inks = pixels.iter().map(|pixel| f32::from(*pixel) / 255.0);
    batch.push_floats(inks, label as u32);
}

/// Adds digits to a batch. Every block holds each class of the share once, in an order of its own, so that classes are equally
/// frequent in every stretch of a run. Sources that have the same classes have every so many-th block.
fn draw_digits(
    [digit, classes]: [Purpose; 2],
    seeds: [u64; 2],
    share: &Share,
    first: u64,
    count: u32,
    batch: &mut Batch,
) {
    let labelled = share.labelled.as_ref();
    let held = labelled.map_or(&ALL_CLASSES[..], |labelled| &labelled.classes);
    let block_len = held.len() as u64;
    let mut pixels = [0; PIXELS];
    for index in (0..u64::from(count)).map(|offset| first.wrapping_add(offset)) {
        let own = index / block_len;
        let block = own
            .wrapping_mul(share.of.into())
            .wrapping_add(share.number.into());
        let place = index % block_len;
        let label = shuffled_classes(held, &mut Draws::new(classes, seeds, block))[place as usize];
        let counter = block.wrapping_mul(block_len).wrapping_add(place);
        digits::draw(label, &mut Draws::new(digit, seeds, counter), &mut pixels);
        push_image((&pixels, label), batch);
    }
}

/// Classes in random order (Fisher and Yates), at the beginning of the array.
fn shuffled_classes(classes: &[usize], draws: &mut Draws) -> [usize; CLASSES] {
    let mut order = [0; CLASSES];
    order[..classes.len()].copy_from_slice(classes);
    for last in (1..classes.len()).rev() {
        order.swap(last, draws.below(last as u32 + 1) as usize);
    }
    order
}

/// The shuffled place, with the permutation kept from one sample to the next while the pass lasts.
fn shuffled(
    kept: &mut Option<(u64, Permutation)>,
    length: u32,
    seed: u64,
    pass: u64,
    place: u32,
) -> u32 {
    match kept {
        Some((number, order)) if *number == pass => order.at(place),
        _ => kept
            .insert((pass, Permutation::new(length, seed, pass)))
            .1
            .at(place),
    }
}
