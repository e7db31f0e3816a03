//! Squared errors.

/// losses\[r\] = (the mean of (output - target)² over row r of C columns, 0); gradient = 2 (output - target) / C * scale.
pub(crate) fn squared_error(
    output: &[f32],
    targets: &[f32],
    gradient: &mut [f32],
    losses: &mut [f32],
    columns: usize,
    scale: f32,
) {
    let (losses, _) = losses.as_chunks_mut::<2>();
    let rows = output
        .chunks_exact(columns)
        .zip(targets.chunks_exact(columns))
        .zip(gradient.chunks_exact_mut(columns));
    for (((output, targets), gradient), loss) in rows.zip(losses) {
        let mut sum = 0.0;
        for ((output, target), gradient) in output.iter().zip(targets).zip(gradient) {
            let difference = output - target;
            sum += difference * difference;
            *gradient = 2.0 * difference / columns as f32 * scale;
        }
        *loss = [sum / columns as f32, 0.0];
    }
}
