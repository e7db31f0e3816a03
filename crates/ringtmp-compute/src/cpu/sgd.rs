//! Stochastic gradient descent.

/// parameters -= `learning_rate` * gradients; gradients = 0.
pub(super) fn sgd(parameters: &mut [f32], gradients: &mut [f32], learning_rate: f32) {
    for (parameter, gradient) in parameters.iter_mut().zip(gradients) {
        *parameter -= learning_rate * *gradient;
        *gradient = 0.0;
    }
}
