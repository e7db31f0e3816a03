//! Tokens to vectors, and gradients back to the vectors of tokens.

/// output (N, T, D) = table (V, D) \[tokens (N, T)\] + positions (T, D).
pub(crate) fn embedding(
    width: usize,
    tokens: &[u32],
    table: &[f32],
    positions: &[f32],
    output: &mut [f32],
) {
    let places = positions.chunks_exact(width).cycle();
    for ((output, token), position) in output.chunks_exact_mut(width).zip(tokens).zip(places) {
        let vector = &table[*token as usize * width..][..width];
        for ((output, vector), position) in output.iter_mut().zip(vector).zip(position) {
            *output = vector + position;
        }
    }
}

/// `table_gradient` (V, D) += the sum of `output_gradient` (N, T, D) over the places of each token.
pub(crate) fn embedding_backward(
    width: usize,
    tokens: &[u32],
    output_gradient: &[f32],
    table_gradient: &mut [f32],
) {
    for (token, gradient) in tokens.iter().zip(output_gradient.chunks_exact(width)) {
        let sums = &mut table_gradient[*token as usize * width..][..width];
        sums.iter_mut()
            .zip(gradient)
            .for_each(|(sum, gradient)| *sum += gradient);
    }
}
