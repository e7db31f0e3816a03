//! The rectifier and its gradient.

/// output = input where it is above zero, else zero. A NaN stays one, so that divergence reaches the loss.
pub(crate) fn relu(input: &[f32], output: &mut [f32]) {
    for (output, input) in output.iter_mut().zip(input) {
        *output = if *input <= 0.0 { 0.0 } else { *input };
    }
}

/// `input_gradient` = `output_gradient` where output is above zero, else zero.
pub(crate) fn relu_backward(output: &[f32], output_gradient: &[f32], input_gradient: &mut [f32]) {
    for ((input_gradient, output_gradient), output) in
        input_gradient.iter_mut().zip(output_gradient).zip(output)
    {
        *input_gradient = if *output <= 0.0 {
            0.0
        } else {
            *output_gradient
        };
    }
}
