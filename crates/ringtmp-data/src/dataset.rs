//! Samples by number.

use crate::digits::{self, PIXELS, SIDE};
use crate::idx::{IdxError, IdxFiles, IdxSet};
use crate::permutation::Permutation;
use crate::random::{Draws, Purpose};

/// Classes of every set here.
pub const CLASSES: usize = 10;

/// Digits held out for testing; as many as MNIST holds out.
const DIGITS_TEST: u32 = 10_000;

/// Samples to train on, and others to test on.
#[derive(Debug)]
pub struct Dataset {
    source: Source,
    shape: [usize; 1],
    image: [usize; 2],
}

#[derive(Debug)]
enum Source {
    Digits { seed: u64 },
    Idx(IdxSet),
}

/// The order in which a finite set is passed over, again and again. An endless set has no order: it never repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As the files have it.
    Sequential,
    /// At random, each pass differently, each sample once a pass.
    Shuffled,
}

/// Samples and what they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Shape (samples, rows * columns), row-major; 0 is paper, 1 is ink.
    pub inputs: Vec<f32>,
    /// Shape (samples); each below [`CLASSES`].
    pub labels: Vec<u32>,
}

impl Batch {
    /// How many samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    fn with_capacity(samples: usize, numbers: usize) -> Self {
        Self {
            inputs: Vec::with_capacity(samples.saturating_mul(numbers)),
            labels: Vec::with_capacity(samples),
        }
    }

    fn push(&mut self, pixels: &[u8], label: usize) {
        self.inputs
            .extend(pixels.iter().map(|pixel| f32::from(*pixel) / 255.0));
        self.labels.push(label as u32);
    }
}

impl Dataset {
    /// Digits drawn by the project: endless to train on, 10,000 held out. Different seeds give different digits, to train
    /// on and held out; those held out are never among those to train on.
    pub fn digits(seed: u64) -> Self {
        Self {
            source: Source::Digits { seed },
            shape: [PIXELS],
            image: [SIDE, SIDE],
        }
    }

    /// Images and labels from IDX files.
    ///
    /// # Errors
    ///
    /// [`IdxError`] if the files are not what they should be; the message says what to do.
    pub fn idx(files: IdxFiles) -> Result<Self, IdxError> {
        let set = IdxSet::read(files)?;
        let image = set.image();
        Ok(Self {
            source: Source::Idx(set),
            shape: [image[0] * image[1]],
            image,
        })
    }

    /// The shape of one sample as a row of numbers: `[rows * columns]`, `[784]` for digits and MNIST.
    pub fn sample_shape(&self) -> &[usize] {
        &self.shape
    }

    /// Rows and columns of one sample as a picture: `[28, 28]` for digits and MNIST.
    pub fn image_shape(&self) -> [usize; 2] {
        self.image
    }

    /// How many classes there are; labels are below it.
    pub fn classes(&self) -> usize {
        CLASSES
    }

    /// How many samples there are to train on; `None` if they never end.
    pub fn train_len(&self) -> Option<u64> {
        match &self.source {
            Source::Digits { .. } => None,
            Source::Idx(set) => Some(u64::from(set.train_len())),
        }
    }

    /// How many samples there are to test on; never 0.
    pub fn test_len(&self) -> u32 {
        match &self.source {
            Source::Digits { .. } => DIGITS_TEST,
            Source::Idx(set) => set.test_len(),
        }
    }

    /// The samples `first..first + count` of a run with this seed, counted over the whole run: those of step s are
    /// `s * batch..(s + 1) * batch`. Always `count` samples: a finite set is passed over again and again. The caller bounds
    /// `count`: a sample takes four bytes a pixel.
    pub fn train(&self, order: Order, seed: u64, first: u64, count: u32) -> Batch {
        let mut batch = Batch::with_capacity(count as usize, self.shape[0]);
        match &self.source {
            Source::Digits { seed: own } => {
                let purposes = [Purpose::TrainDigit, Purpose::TrainClasses];
                draw_digits(purposes, [*own, seed], first, count, &mut batch);
            }
            Source::Idx(set) => {
                let length = u64::from(set.train_len());
                let mut pass = None;
                for index in (0..u64::from(count)).map(|offset| first.wrapping_add(offset)) {
                    let place = (index % length) as u32;
                    let place = match order {
                        Order::Sequential => place,
                        Order::Shuffled => {
                            shuffled(&mut pass, set.train_len(), seed, index / length, place)
                        }
                    };
                    let (pixels, label) = set.train(place);
                    batch.push(pixels, label);
                }
            }
        }
        batch
    }

    /// The samples `first..first + count` held out, in order; fewer, or none, where the set ends before.
    pub fn test(&self, first: u32, count: u32) -> Batch {
        let end = first.saturating_add(count).min(self.test_len());
        let count = end.saturating_sub(first);
        let mut batch = Batch::with_capacity(count as usize, self.shape[0]);
        match &self.source {
            Source::Digits { seed } => {
                let purposes = [Purpose::TestDigit, Purpose::TestClasses];
                draw_digits(purposes, [*seed, 0], u64::from(first), count, &mut batch);
            }
            Source::Idx(set) => {
                for index in first..end {
                    let (pixels, label) = set.test(index);
                    batch.push(pixels, label);
                }
            }
        }
        batch
    }
}

/// Adds digits to a batch. Every block of ten holds each class once, in an order of its own, so that classes are equally
/// frequent in every stretch of a run.
fn draw_digits(
    [digit, classes]: [Purpose; 2],
    seeds: [u64; 2],
    first: u64,
    count: u32,
    batch: &mut Batch,
) {
    let mut pixels = [0; PIXELS];
    for index in (0..u64::from(count)).map(|offset| first.wrapping_add(offset)) {
        let label = class_order(&mut Draws::new(classes, seeds, index / 10))[(index % 10) as usize];
        digits::draw(label, &mut Draws::new(digit, seeds, index), &mut pixels);
        batch.push(&pixels, label);
    }
}

/// The ten classes in random order (Fisher and Yates).
fn class_order(draws: &mut Draws) -> [usize; CLASSES] {
    let mut order = std::array::from_fn(|class| class);
    for last in (1..CLASSES).rev() {
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
