//! Addition.

/// output = left + right.
pub(crate) fn add(left: &[f32], right: &[f32], output: &mut [f32]) {
    for ((output, left), right) in output.iter_mut().zip(left).zip(right) {
        *output = left + right;
    }
}
