//! Ink on a grid of pixels.

use super::{PIXELS, SIDE};

/// A point of a pen's path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Node {
    /// To the right, in pixels from the left edge of the picture.
    pub(super) x: f32,
    /// Down, in pixels from its upper edge.
    pub(super) y: f32,
    /// Half of the width of the ink here, in pixels.
    pub(super) radius: f32,
    /// Whether the pen was down on its way here from the node before.
    pub(super) inked: bool,
}

/// Fills `pixels` (`SIDE` x `SIDE`, row-major, 0 to 255) with the ink of a pen that went along `nodes`.
///
/// A pixel's ink falls from full to none over `softness` pixels across the edge of the line, which is what the mean over a
/// pixel's square does to a sharp edge when `softness` is 1.
pub(super) fn ink(nodes: &[Node], softness: f32, pixels: &mut [u8; PIXELS]) {
    // How far inside the line the middle of each pixel lies; negative outside.
    let mut depth = [OUTSIDE; PIXELS];
    for pair in nodes.windows(2).filter(|pair| pair[1].inked) {
        deepen(&mut depth, &pair[0], &pair[1], softness);
    }
    let per_pixel = 1.0 / softness;
    for (pixel, depth) in pixels.iter_mut().zip(&depth) {
        let ramp = (depth * per_pixel + 0.5).clamp(0.0, 1.0);
        *pixel = (255.0 * ramp * ramp * (3.0 - 2.0 * ramp) + 0.5) as u8;
    }
}

/// Moves the picture by whole pixels so that its centre of mass comes to lie within half a pixel of the middle.
pub(super) fn centre(pixels: &mut [u8; PIXELS]) {
    let (mut mass, mut moment) = (0u32, [0u32; 2]);
    for (index, value) in pixels.iter().enumerate() {
        let value = u32::from(*value);
        mass += value;
        moment[0] += value * (index % SIDE) as u32;
        moment[1] += value * (index / SIDE) as u32;
    }
    // The middle of the picture is the corner between pixels 13 and 14, so that pixel i lies at i + 1/2.
    let shift = moment.map(|moment| {
        let place = moment as f32 / mass.max(1) as f32 + 0.5;
        (0.5 * SIDE as f32 - place + SIDE as f32 + 0.5) as usize
    });
    let before = *pixels;
    for (index, pixel) in pixels.iter_mut().enumerate() {
        // `shift` is ahead by one picture, so that it is never negative.
        let column = (index % SIDE + SIDE).wrapping_sub(shift[0]);
        let row = (index / SIDE + SIDE).wrapping_sub(shift[1]);
        *pixel = if column < SIDE && row < SIDE {
            before[row * SIDE + column]
        } else {
            0
        };
    }
}

/// Deeper than this outside, a pixel has no ink whatever the softness.
const OUTSIDE: f32 = -1.0e3;

fn deepen(depth: &mut [f32; PIXELS], from: &Node, to: &Node, softness: f32) {
    let reach = from.radius.max(to.radius) + 0.5 * softness;
    let rows = covered(from.y.min(to.y) - reach, from.y.max(to.y) + reach);
    let columns = covered(from.x.min(to.x) - reach, from.x.max(to.x) + reach);
    let (dx, dy) = (to.x - from.x, to.y - from.y);
    // A segment of no length is a dot.
    let per_length_squared = 1.0 / (dx * dx + dy * dy).max(1.0e-6);
    let widening = to.radius - from.radius;
    for row in rows {
        let y = row as f32 + 0.5 - from.y;
        let line = &mut depth[row * SIDE..(row + 1) * SIDE];
        for column in columns.clone() {
            let x = column as f32 + 0.5 - from.x;
            let along = ((x * dx + y * dy) * per_length_squared).clamp(0.0, 1.0);
            let (across_x, across_y) = (x - along * dx, y - along * dy);
            let distance = (across_x * across_x + across_y * across_y).sqrt();
            line[column] = line[column].max(from.radius + along * widening - distance);
        }
    }
}

/// The rows (or columns) whose middle may lie between `low` and `high`.
fn covered(low: f32, high: f32) -> std::ops::Range<usize> {
    // `as` saturates at 0; `high` below 0 gives an empty range.
    (low as usize).min(SIDE)..((high + 1.0) as usize).min(SIDE)
}
