//! The curves of loss and accuracy, in bounded memory.

use crate::signal::{CURVE_POINTS_MAX, Point};

/// Loss and accuracy over the steps. Losses are thinned to every second, fourth, ... step when there are too many;
/// accuracies too, but the last of each is always known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    losses: Thinned,
    accuracies: Thinned,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Thinned {
    kept: Vec<Point>,
    last: Option<Point>,
    seen: u64,
    /// Every `2^halvings`-th point is kept.
    halvings: u32,
}

impl Thinned {
    /// Adds a point. Steps are made again after a loss: a point then takes the place of what there was from its step on.
    fn push(&mut self, point: Point) {
        if self.last.is_some_and(|last| last.step >= point.step) {
            self.kept.retain(|kept| kept.step < point.step);
            self.last = self.kept.last().copied();
            self.seen = (self.kept.len() as u64) << self.halvings;
        }
        if self.seen.is_multiple_of(1 << self.halvings) {
            self.kept.push(point);
        }
        self.seen += 1;
        self.last = Some(point);
        if self.kept.len() >= CURVE_POINTS_MAX / 2 {
            let mut index = 0;
            self.kept.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.halvings += 1;
        }
    }

    fn points(&self) -> impl Iterator<Item = Point> + '_ {
        let ends_with_last = self.kept.last() == self.last.as_ref();
        self.kept
            .iter()
            .copied()
            .chain(self.last.filter(|_| !ends_with_last))
    }
}

impl Curve {
    /// Adds points that carry finite numbers; others say nothing.
    pub fn extend(&mut self, points: &[Point]) {
        for point in points {
            if point.loss.is_some_and(f32::is_finite) {
                self.losses.push(Point {
                    accuracy: None,
                    ..*point
                });
            }
            if point.accuracy.is_some_and(f32::is_finite) {
                self.accuracies.push(Point {
                    loss: None,
                    ..*point
                });
            }
        }
    }

    /// All points kept, by step, at most [`CURVE_POINTS_MAX`].
    pub fn points(&self) -> Vec<Point> {
        let mut points: Vec<Point> = self
            .losses
            .points()
            .chain(self.accuracies.points())
            .collect();
        points.sort_by_key(|point| (point.step, point.loss.is_none()));
        points
    }

    /// The loss of the first step.
    pub fn loss_first(&self) -> Option<f32> {
        self.losses.kept.first().and_then(|point| point.loss)
    }

    /// The newest loss.
    pub fn loss_last(&self) -> Option<f32> {
        self.losses.last.and_then(|point| point.loss)
    }

    /// The newest accuracy.
    pub fn accuracy_last(&self) -> Option<f32> {
        self.accuracies.last.and_then(|point| point.accuracy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_stays_small_and_keeps_its_ends() {
        let mut curve = Curve::default();
        for step in 0..100_000 {
            curve.extend(&[Point {
                step,
                loss: Some(step as f32),
                accuracy: (step % 7 == 0).then_some(0.5),
            }]);
            assert!(curve.points().len() <= CURVE_POINTS_MAX || step % 1000 != 0);
        }
        assert!(curve.points().len() <= CURVE_POINTS_MAX);
        assert_eq!(
            (curve.loss_first(), curve.loss_last()),
            (Some(0.0), Some(99_999.0))
        );
        let steps: Vec<u32> = curve
            .points()
            .iter()
            .filter(|p| p.loss.is_some())
            .map(|p| p.step)
            .collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(steps.last(), Some(&99_999));
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let mut curve = Curve::default();
        curve.extend(&[Point {
            step: 0,
            loss: Some(f32::NAN),
            accuracy: Some(f32::INFINITY),
        }]);
        assert_eq!(curve.points(), []);
    }
}
