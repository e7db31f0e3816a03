//! Column sums.

/// output (C) += the sum over the rows of input (R, C), row after row.
pub(crate) fn column_sum(input: &[f32], output: &mut [f32], columns: usize) {
    let mut sums = vec![0.0; columns];
    for row in input.chunks_exact(columns) {
        sums.iter_mut()
            .zip(row)
            .for_each(|(sum, value)| *sum += value);
    }
    output
        .iter_mut()
        .zip(&sums)
        .for_each(|(output, sum)| *output += sum);
}
