//! Micro-batches: which samples make them up is a function of the run, the step and the place in the step alone.

use crate::run_file::Run;
use ringtmp_compute::{Packed, Position, TensorError};
use ringtmp_core::wire::Purpose;
use ringtmp_data::{Dataset, Inputs};

/// The samples, (micro-batch, sample shape), of the micro-batch with number `sequence` of a step or an evaluation, and their
/// labels: one for each, or one for each of its tokens.
pub(crate) fn draw(
    run: &Run,
    dataset: &Dataset,
    purpose: Purpose,
    step: u32,
    sequence: u32,
) -> Result<(Packed, Vec<u32>), TensorError> {
    let file = &run.file;
    let offset = sequence * file.micro_batch;
    let batch = match purpose {
        Purpose::Train => {
            let first = u64::from(step) * u64::from(file.batch) + u64::from(offset);
            dataset.train(file.order, file.seed, first, file.micro_batch)
        }
        Purpose::Evaluate => dataset.test_padded(offset, file.micro_batch, file.evaluation_samples),
    };
    let count = file.micro_batch as usize;
    let shape: Vec<usize> = std::iter::once(count)
        .chain(run.input_shape().iter().copied())
        .collect();
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
    use ringtmp_compute::IGNORED_LABEL;
    use ringtmp_data::UNLABELLED;

    #[test]
    fn data_and_compute_mean_the_same_by_a_label_that_does_not_count() {
        assert_eq!(UNLABELLED, IGNORED_LABEL);
    }
}
