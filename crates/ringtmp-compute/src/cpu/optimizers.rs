//! Optimizers, and the sums from which gradient norms are made.

use crate::optimizer::{AdamSettings, Coefficients};

/// parameters -= `learning_rate` * scale * gradients; gradients = 0.
pub(crate) fn sgd(parameters: &mut [f32], gradients: &mut [f32], coefficients: &Coefficients) {
    let [scale, learning_rate, ..] = *coefficients;
    for (parameter, gradient) in parameters.iter_mut().zip(gradients) {
        *parameter -= learning_rate * (scale * *gradient);
        *gradient = 0.0;
    }
}

/// velocity = momentum * velocity + scale * gradients; parameters -= `learning_rate` * velocity, or, looking ahead as
/// Nesterov does, `learning_rate` * (scale * gradients + momentum * velocity); gradients = 0.
pub(crate) fn momentum(
    parameters: &mut [f32],
    gradients: &mut [f32],
    velocity: &mut [f32],
    coefficients: &Coefficients,
    momentum: f32,
    nesterov: bool,
) {
    let [scale, learning_rate, ..] = *coefficients;
    for ((parameter, gradient), velocity) in parameters.iter_mut().zip(gradients).zip(velocity) {
        let scaled = scale * *gradient;
        *velocity = momentum * *velocity + scaled;
        let step = if nesterov {
            scaled + momentum * *velocity
        } else {
            *velocity
        };
        *parameter -= learning_rate * step;
        *gradient = 0.0;
    }
}

/// With g = scale * gradients: mean = beta1 mean + (1 - beta1) g; square = beta2 square + (1 - beta2) g²;
/// parameters = keep * parameters - (now g + past mean) / (sqrt(square) / root + epsilon); gradients = 0.
pub(crate) fn adam(
    parameters: &mut [f32],
    gradients: &mut [f32],
    mean: &mut [f32],
    square: &mut [f32],
    coefficients: &Coefficients,
    settings: AdamSettings,
) {
    let [scale, keep, now, past, root, ..] = *coefficients;
    let AdamSettings {
        beta1,
        beta2,
        epsilon,
    } = settings;
    let state = mean.iter_mut().zip(square);
    for ((parameter, gradient), (mean, square)) in parameters.iter_mut().zip(gradients).zip(state) {
        let scaled = scale * *gradient;
        *mean = beta1 * *mean + (1.0 - beta1) * scaled;
        *square = beta2 * *square + (1.0 - beta2) * (scaled * scaled);
        let step = (now * scaled + past * *mean) / (square.sqrt() / root + epsilon);
        *parameter = keep * *parameter - step;
        *gradient = 0.0;
    }
}

/// sums\[i\] = the sum of the squares of every `sums.len()`th number from the i-th on.
pub(crate) fn square_sums(input: &[f32], sums: &mut [f32]) {
    sums.fill(0.0);
    for run in input.chunks(sums.len()) {
        for (sum, value) in sums.iter_mut().zip(run) {
            *sum += value * value;
        }
    }
}
