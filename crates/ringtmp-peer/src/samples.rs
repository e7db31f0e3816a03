//! Micro-batches: which samples make them up is a function of the run, the source and how many it had before.

use crate::run_file::Run;
use ringtmp_compute::{Packed, Position, TensorError};
use ringtmp_core::ids::SourceIndex;
use ringtmp_core::wire::Purpose;
use ringtmp_data::{Batch, Dataset, Inputs, Share, ShareError, UNLABELLED, picture};
use std::sync::Arc;

/// The label of a sample that is asked about: how probable each class is. As with [`ringtmp_compute::IGNORED_LABEL`], it has no loss and no
/// gradient and is not counted.
pub(crate) const ASKED_LABEL: u32 = u32::MAX - 1;

/// Why a drawing is of no use to a run.
pub(crate) const NO_DIGITS: &str = "this run's model takes no drawn digits";

/// What takes the place of a sample that would be drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entering {
    /// Numbers that the user made.
    Made(Labelled),
    /// Tokens, at least one and at most as many as a sample has, of which is asked what follows.
    Asked(Vec<u32>),
}

/// A sample that the user made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Labelled {
    /// As many as a sample of the run has.
    pub(crate) numbers: Vec<f32>,
    /// Below the run's classes, or [`ASKED_LABEL`].
    pub(crate) label: u32,
}

/// What a source trains on.
#[derive(Clone, Debug)]
pub struct Supply {
    dataset: Arc<Dataset>,
    share: Share,
}

impl Supply {
    /// All of a dataset: its own, of which nobody else has a part.
    pub fn whole(dataset: Arc<Dataset>) -> Self {
        Self {
            dataset,
            share: Share::WHOLE,
        }
    }

    /// The part of the run's data that source `number` of `of` has.
    ///
    /// # Errors
    ///
    /// That the data cannot be divided so.
    pub fn share(
        run: &Run,
        dataset: Arc<Dataset>,
        number: SourceIndex,
        of: u16,
    ) -> Result<Self, ShareError> {
        let share = dataset.share(run.file.data.split, number.0, of)?;
        Ok(Self { dataset, share })
    }

    /// The micro-batch that the source draws after `turn` others: samples, (micro-batch, sample shape), and their labels, one for
    /// each, or one for each of its tokens. The first ones are `fresh` instead, as far as they are of the same kind.
    pub(crate) fn draw(
        &self,
        run: &Run,
        turn: u64,
        fresh: &[Entering],
    ) -> Result<(Packed, Vec<u32>), TensorError> {
        let file = &run.file;
        let first = turn * u64::from(file.micro_batch);
        let (share, count) = (&self.share, file.micro_batch);
        let data = &self.dataset;
        let mut batch = data.train_share(share, file.data.order, file.seed, first, count);
        put_in(&mut batch, data.sample_shape()[0], fresh);
        packed(run, batch)
    }
}

/// In place of the first samples, whose rows are `width` wide.
fn put_in(batch: &mut Batch, width: usize, fresh: &[Entering]) {
    for (place, fresh) in fresh.iter().enumerate() {
        let row = place * width..(place + 1) * width;
        match (&mut batch.inputs, fresh) {
            (Inputs::Floats(numbers), Entering::Made(made)) => {
                numbers[row].copy_from_slice(&made.numbers);
                batch.labels[place] = made.label;
            }
            (Inputs::Tokens(tokens), Entering::Asked(asked)) => {
                // No token looks at those after it, so that it does not matter what fills the rest.
                let (start, rest) = tokens[row.clone()].split_at_mut(asked.len());
                start.copy_from_slice(asked);
                rest.fill(0);
                let labels = &mut batch.labels[row];
                labels.fill(UNLABELLED);
                labels[asked.len() - 1] = ASKED_LABEL;
            }
            (Inputs::Floats(_), Entering::Asked(_)) | (Inputs::Tokens(_), Entering::Made(_)) => {}
        }
    }
}

/// A micro-batch of held-out samples: that with number `sequence` of an evaluation.
pub(crate) fn held_out(
    run: &Run,
    dataset: &Dataset,
    sequence: u16,
) -> Result<(Packed, Vec<u32>), TensorError> {
    let file = &run.file;
    let offset = u32::from(sequence) * file.micro_batch;
    packed(
        run,
        dataset.test_padded(offset, file.micro_batch, file.evaluation_samples),
    )
}

/// A micro-batch in which nothing is but one sample that is asked about; and the row of the logits in which its answer is.
pub(crate) fn asked(run: &Run, sample: &Entering) -> Result<(Packed, usize), TensorError> {
    let shape = micro_batch_shape(run);
    let numbers = shape.iter().product();
    Ok(match sample {
        Entering::Made(made) => {
            let mut all = made.numbers.clone();
            all.resize(numbers, 0.0);
            (Packed::from_f32(&shape, &all)?, 0)
        }
        Entering::Asked(tokens) => {
            let mut all = tokens.clone();
            all.resize(numbers, 0);
            (
                Packed::from_u32(&shape, &all)?,
                tokens.len().saturating_sub(1),
            )
        }
    })
}

/// The strokes of a pen as a model takes them that takes so many numbers, or in words why it does not.
pub(crate) fn drawing(strokes: &[Vec<[u16; 2]>], numbers: usize) -> Result<Vec<f32>, String> {
    let wide = |stroke: &Vec<[u16; 2]>| stroke.iter().map(|point| point.map(f32::from)).collect();
    let strokes: Vec<Vec<[f32; 2]>> = strokes.iter().map(wide).collect();
    let drawn = picture(&strokes).map_err(|error| error.to_string())?;
    (drawn.len() == numbers)
        .then_some(drawn)
        .ok_or_else(|| NO_DIGITS.to_owned())
}

fn micro_batch_shape(run: &Run) -> Vec<usize> {
    let count = run.file.micro_batch as usize;
    std::iter::once(count)
        .chain(run.input_shape().iter().copied())
        .collect()
}

fn packed(run: &Run, batch: Batch) -> Result<(Packed, Vec<u32>), TensorError> {
    let shape = micro_batch_shape(run);
    let samples = match &batch.inputs {
        Inputs::Floats(numbers) => Packed::from_f32(&shape, numbers)?,
        Inputs::Tokens(tokens) => Packed::from_u32(&shape, tokens)?,
    };
    Ok((samples, batch.labels))
}

/// What layers that draw at random are told of a micro-batch; nothing in an evaluation.
pub(crate) fn position(run: &Run, purpose: Purpose, step: u32, sequence: u32) -> Option<Position> {
    match purpose {
        Purpose::Train => Some(Position {
            step,
            first_sample: sequence * run.file.micro_batch,
        }),
        Purpose::Evaluate => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_compute::IGNORED_LABEL;

    #[test]
    fn data_and_compute_mean_the_same_by_a_label_that_does_not_count() {
        assert_eq!(UNLABELLED, IGNORED_LABEL);
        assert_ne!(ASKED_LABEL, IGNORED_LABEL);
    }

    #[test]
    fn a_text_that_is_asked_about_takes_one_place_and_only_its_last_token_has_a_label() {
        let sums = Dataset::addition(12).expect("sums fit");
        let drawn = sums.train(ringtmp_data::Order::Sequential, 0, 0, 3);
        let mut batch = drawn.clone();
        put_in(&mut batch, 12, &[Entering::Asked(vec![3, 9, 1])]);
        let (tokens, labels) = (batch.inputs.tokens(), &batch.labels);
        assert_eq!(tokens[..12], [3, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let asked = |place: usize| if place == 2 { ASKED_LABEL } else { UNLABELLED };
        assert!((0..12).all(|place| labels[place] == asked(place)));
        assert_eq!(tokens[12..], drawn.inputs.tokens()[12..]);
        assert_eq!(labels[12..], drawn.labels[12..]);
    }
}
