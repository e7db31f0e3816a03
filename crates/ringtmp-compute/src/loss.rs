//! The loss: softmax cross entropy over classes.

use crate::cpu;
use crate::operation::{Kernel, Operation, product};
use crate::recording::{Recording, View};

/// The label of a row that is only padding: it has no loss and no gradient, and is not counted
/// (`ignore_index` of `torch.nn.CrossEntropyLoss`).
pub const IGNORED_LABEL: u32 = u32::MAX;

/// The loss of one micro-batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossReport {
    /// Sum over its samples; divide by the samples of a step for the mean.
    pub loss_sum: f32,
    /// Samples whose largest logit is the label's.
    pub correct: u32,
    /// Samples, those with [`IGNORED_LABEL`] aside.
    pub samples: u32,
}

/// The buffers of the loss at the tail. Letters: R rows, C classes.
#[derive(Clone, Copy, Debug)]
pub struct LossSite {
    /// The model's output, (R, C).
    pub logits: View,
    /// A class per row, (R), unsigned.
    pub labels: View,
    /// The gradient of the mean loss for the logits, (R, C).
    pub gradient: View,
    /// Per row its loss, and 1 or 0 for right or wrong, (R, 2).
    pub losses: View,
}

/// loss = -log softmax(logits)\[label\]; gradient = (softmax(logits) - onehot(label)) / `count`, the rows of a step.
pub(crate) fn record(site: &LossSite, count: usize, recording: &mut Recording) {
    let classes = site.logits.elements / site.labels.elements;
    recording.push(cross_entropy(site, classes, 1.0 / count as f32));
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

/// Sums `losses` (R, 2) of rows with these `labels` (R), in the order of rows. In double precision, so that the sum of many losses keeps its last digits.
pub(crate) fn report(losses: &[f32], labels: &[u32]) -> LossReport {
    let (rows, _) = losses.as_chunks::<2>();
    LossReport {
        loss_sum: rows.iter().map(|row| f64::from(row[0])).sum::<f64>() as f32,
        correct: rows.iter().filter(|row| row[1] > 0.0).count() as u32,
        samples: labels
            .iter()
            .filter(|label| **label != IGNORED_LABEL)
            .count() as u32,
    }
}
