//! Losses: softmax cross entropy over classes, and the mean squared error.

use crate::cpu;
use crate::operation::{Kernel, Operation, product};
use crate::recording::{Recording, View};
use serde::{Deserialize, Serialize};

/// The label of a row that is only padding: it has no loss and no gradient, and is not counted
/// (`ignore_index` of `torch.nn.CrossEntropyLoss`).
pub const IGNORED_LABEL: u32 = u32::MAX;

/// A loss as a run file names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossSpec {
    /// Of the softmax of each row of the output, against a class; `torch.nn.CrossEntropyLoss`.
    #[default]
    CrossEntropy,
    /// Of each number of the output, against a number; `torch.nn.MSELoss`.
    MeanSquaredError,
}

/// The loss of one micro-batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossReport {
    /// Sum over its labels; divide by those of a step that count for the mean.
    pub loss_sum: f32,
    /// Rows whose largest logit is the label's.
    pub correct: u32,
    /// Rows with a label that counts: not [`IGNORED_LABEL`].
    pub samples: u32,
    /// Samples of which all such rows are correct: of a text whose answer is to be learnt, those with the whole answer right.
    pub exact: u32,
    /// Samples with at least one such row.
    pub answered: u32,
}

/// The buffers of the loss at the tail. Letters: R rows, C classes.
#[derive(Clone, Copy, Debug)]
pub struct LossSite {
    /// The model's output, (R, C).
    pub logits: View,
    /// A class per row, (R), unsigned; or the numbers to be met, (R, C).
    pub labels: View,
    /// The gradient of the mean loss for the logits, (R, C).
    pub gradient: View,
    /// Per row its loss, and 1 or 0 for right or wrong, (R, 2).
    pub losses: View,
}

/// The gradient is that of the sum over `count`, the rows of a step (the update makes it that of the mean over those that count): loss = -log softmax(logits)\[label\] and gradient =
/// (softmax(logits) - onehot(label)) / `count`; or loss = mean((output - target)²) and gradient = 2 (output - target) / C / `count`.
pub(crate) fn record(spec: LossSpec, site: &LossSite, count: usize, recording: &mut Recording) {
    let (columns, scale) = (site.columns(), 1.0 / count as f32);
    recording.push(match spec {
        LossSpec::CrossEntropy => cross_entropy(site, columns, scale),
        LossSpec::MeanSquaredError => squared_error(site, columns, scale),
    });
}

impl LossSite {
    /// R.
    pub(crate) fn rows(&self) -> usize {
        self.losses.elements / 2
    }

    /// C.
    pub(crate) fn columns(&self) -> usize {
        self.logits.elements / self.rows()
    }
}

/// The mean of the squared differences of each row of `columns` numbers from its targets, and the gradient times `scale`.
pub fn squared_error(site: &LossSite, columns: usize, scale: f32) -> Operation {
    let rows = site.rows();
    let size = product([rows, columns]);
    let source = include_str!("../../../shaders/squared_error.wgsl");
    Operation::new(
        "squared_error",
        [(site.logits, size), (site.labels, size)],
        [(site.gradient, size), (site.losses, product([rows, 2]))],
        Kernel::new(source, &[rows, columns], rows).number(scale),
        move |[output, targets], [gradient, losses], _| {
            cpu::squared_error(output, targets, gradient, losses, columns, scale);
        },
    )
}

/// Softmax cross entropy of each row, whether its largest logit (the first of equals) is the label's, and the gradient
/// times `scale`.
pub fn cross_entropy(site: &LossSite, classes: usize, scale: f32) -> Operation {
    let rows = site.labels.elements;
    let source = include_str!("../../../shaders/cross_entropy.wgsl");
    let size = product([rows, classes]);
    Operation::new(
        "cross_entropy",
        [(site.logits, size), (site.labels, Some(rows))],
        [(site.gradient, size), (site.losses, product([rows, 2]))],
        Kernel::new(source, &[rows, classes], rows).number(scale),
        move |[logits, labels], [gradient, losses], _| {
            let labels = bytemuck::cast_slice(labels);
            cpu::cross_entropy(logits, labels, gradient, losses, classes, scale);
        },
    )
}

/// Sums `losses` (R, 2) in the order of rows, of which those count that `counts` says, and as many belong to a sample. In double
/// precision, so that the sum of many losses keeps its last digits.
pub(crate) fn report(losses: &[f32], counts: &[bool], rows_per_sample: usize) -> LossReport {
    let (rows, _) = losses.as_chunks::<2>();
    let mut report = LossReport {
        loss_sum: rows.iter().map(|row| f64::from(row[0])).sum::<f64>() as f32,
        correct: rows.iter().filter(|row| row[1] > 0.0).count() as u32,
        samples: counts.iter().filter(|counts| **counts).count() as u32,
        exact: 0,
        answered: 0,
    };
    let samples = rows.chunks(rows_per_sample);
    for (rows, counts) in samples.zip(counts.chunks(rows_per_sample)) {
        let mut answers = rows.iter().zip(counts).filter(|(_, counts)| **counts);
        report.answered += u32::from(counts.contains(&true));
        let right = counts.contains(&true) && answers.all(|(row, _)| row[1] > 0.0);
        report.exact += u32::from(right);
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_exact_when_all_rows_that_count_are_right_and_some_count() {
        // Three samples of two rows: one right and one that does not count; one of two right; none that counts.
        let losses = [0.5, 1.0, 0.0, 0.0, 0.25, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let counts = [true, false, true, true, false, false];
        let expected = LossReport {
            loss_sum: 2.75,
            correct: 2,
            samples: 3,
            exact: 1,
            answered: 2,
        };
        assert_eq!(report(&losses, &counts, 2), expected);
    }
}
