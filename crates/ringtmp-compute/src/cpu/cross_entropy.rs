//! Softmax cross entropy.

use crate::loss::IGNORED_LABEL;

/// For each row x of logits (R, C) with label y: loss = log(sum exp(x - max)) - (x\[y\] - max), whether the first largest
/// logit is the label's, and gradient = (softmax(x) - onehot(y)) * scale.
///
/// A row whose label is [`IGNORED_LABEL`] has loss 0 and gradient 0.
///
/// Subtracting the maximum keeps the exponentials from overflowing and changes nothing else.
pub(crate) fn cross_entropy(
    logits: &[f32],
    labels: &[u32],
    gradient: &mut [f32],
    losses: &mut [f32],
    classes: usize,
    scale: f32,
) {
    let rows = logits
        .chunks_exact(classes)
        .zip(gradient.chunks_exact_mut(classes));
    let (losses, _) = losses.as_chunks_mut::<2>();
    for (((logits, gradient), label), report) in rows.zip(labels).zip(losses) {
        if *label == IGNORED_LABEL {
            gradient.fill(0.0);
            *report = [0.0, 0.0];
            continue;
        }
        let label = *label as usize;
        let mut best = 0;
        for (class, logit) in logits.iter().enumerate() {
            if *logit > logits[best] {
                best = class;
            }
        }
        let max = logits[best];
        let mut sum = 0.0;
        for (gradient, logit) in gradient.iter_mut().zip(logits) {
            *gradient = libm::expf(logit - max);
            sum += *gradient;
        }
        for (class, gradient) in gradient.iter_mut().enumerate() {
            let target = if class == label { 1.0 } else { 0.0 };
            *gradient = (*gradient / sum - target) * scale;
        }
        report[0] = libm::logf(sum) - (logits[label] - max);
        report[1] = if best == label { 1.0 } else { 0.0 };
    }
}
