//! Pictures of what a person has drawn, made as the drawn digits are: the same box, the same centre, the same ink.

use super::raster::{self, Node};
use super::{PIXELS, fit};

/// The most points of a drawing: a minute of a pen that tells its place sixty times a second.
pub const DRAWING_POINTS_MAX: usize = 3600;

/// Half of the width of the ink, in pixels: the mean over drawn digits.
const RADIUS: f32 = 1.3;

/// Over how many pixels ink falls off: the mean over drawn digits.
const SOFTNESS: f32 = 1.25;

/// Why there is no picture of a drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrawingError {
    /// No point.
    #[error("nothing is drawn yet")]
    Empty,
    /// More points than a person draws.
    #[error(
        "the drawing has {points} points; at most {DRAWING_POINTS_MAX} are taken, so clear it and draw again"
    )]
    TooLong {
        /// How many it has.
        points: usize,
    },
    /// A place that is no number.
    #[error("the drawing has a point that is nowhere")]
    NotFinite,
}

/// The picture of pen strokes, each from point to point, x to the right and y down, in any unit: (28, 28), row-major, from 0 for
/// paper to 1 for ink.
///
/// # Errors
///
/// [`DrawingError`].
pub fn picture(strokes: &[Vec<[f32; 2]>]) -> Result<Vec<f32>, DrawingError> {
    let points: usize = strokes.iter().map(Vec::len).sum();
    if points > DRAWING_POINTS_MAX {
        return Err(DrawingError::TooLong { points });
    }
    if points == 0 {
        return Err(DrawingError::Empty);
    }
    let mut nodes = Vec::with_capacity(points + strokes.len());
    for stroke in strokes.iter().filter(|stroke| !stroke.is_empty()) {
        let node = |[x, y]: [f32; 2], inked| Node {
            x,
            y,
            radius: RADIUS,
            inked,
        };
        nodes.push(node(stroke[0], false));
        // From its first point to itself as well, so that a tap is a dot.
        nodes.extend(stroke.iter().map(|point| node(*point, true)));
    }
    if !nodes
        .iter()
        .all(|node| node.x.is_finite() && node.y.is_finite())
    {
        return Err(DrawingError::NotFinite);
    }
    fit(&mut nodes);
    let mut pixels = [0; PIXELS];
    raster::ink(&nodes, SOFTNESS, &mut pixels);
    raster::centre(&mut pixels);
    Ok(pixels
        .iter()
        .map(|pixel| f32::from(*pixel) / 255.0)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digits::SIDE;

    #[test]
    fn a_drawing_fills_the_box_wherever_and_however_large_it_was_drawn() {
        let one = |scale: f32, [x, y]: [f32; 2]| {
            let point = |t: f32| [x + scale * t, y + scale * 4.0 * t];
            vec![(0..=20).map(|i| point(i as f32 / 20.0)).collect::<Vec<_>>()]
        };
        let picture = |strokes: &[Vec<[f32; 2]>]| super::picture(strokes).expect("a picture");
        let small = picture(&one(1.0, [0.0, 0.0]));
        assert_eq!(small.len(), PIXELS);
        let large = picture(&one(70.0, [300.0, -40.0]));
        for (a, b) in small.iter().zip(&large) {
            assert!((a - b).abs() <= 2.0 / 255.0, "{a} and {b}");
        }
        let inked: Vec<usize> = (0..SIDE)
            .filter(|row| small[row * SIDE..][..SIDE].iter().any(|ink| *ink > 0.1))
            .collect();
        assert!((19..=21).contains(&inked.len()), "{inked:?}");
        assert!(
            small.iter().any(|ink| *ink > 0.9) && small.iter().any(|ink| (0.1..0.9).contains(ink))
        );
        let dot = picture(&[vec![[5.0, 5.0]]]);
        assert!(dot.iter().sum::<f32>() > 1.0);
    }

    #[test]
    fn what_is_no_drawing_is_refused() {
        assert_eq!(picture(&[]), Err(DrawingError::Empty));
        assert_eq!(picture(&[vec![]]), Err(DrawingError::Empty));
        let points = DRAWING_POINTS_MAX + 1;
        let long = vec![vec![[0.0; 2]; points]];
        assert_eq!(picture(&long), Err(DrawingError::TooLong { points }));
        for bad in [f32::NAN, f32::INFINITY] {
            assert_eq!(picture(&[vec![[0.0, bad]]]), Err(DrawingError::NotFinite));
        }
        let far = picture(&[vec![[f32::MIN, 0.0], [f32::MAX, 0.0]]]);
        assert!(far.is_ok_and(|picture| picture.iter().all(|ink| ink.is_finite())));
    }
}
