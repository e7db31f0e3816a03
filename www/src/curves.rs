//! The curves of loss and accuracy, drawn as SVG text.
//!
//! Labels are placed here and not by the chart's own mesh: in a browser that measures text with an inline style, which
//! the page's content security policy forbids.

use plotters::coord::Shift;
use plotters::coord::ranged1d::Ranged;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use ringtmp_core::signal::Point;
use std::ops::Range;

/// Drawing units per pixel of the page: the backend rounds to whole units, which would show as jagged lines.
const UNITS_PER_PIXEL: u32 = 4;
/// Room for the labels, in pixels.
const LEFT: u32 = 40;
const BOTTOM: u32 = 24;
const MARGIN: u32 = 8;
/// The height of the letters, in pixels. The backend divides the size it is given by 1.24.
const LETTERS: f64 = 12.0 * 1.24;
/// The most ticks on the vertical axis, and pixels for one on the horizontal.
const TICKS_VERTICAL: usize = 7;
const TICK_WIDTH: u32 = 70;

/// What a curve shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Mean loss of a step; the axis begins at 0.
    Loss,
    /// Share of right answers; the axis is 0 to 100%.
    Accuracy,
}

/// The colours of the page, as red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    /// The curve.
    pub accent: [u8; 3],
    /// Labels.
    pub text: [u8; 3],
    /// Grid lines.
    pub grid: [u8; 3],
}

/// One curve with what it needs to be drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What it shows.
    pub quantity: Quantity,
    /// (updates made, value), rising; only finite values.
    pub points: Vec<(u32, f64)>,
    /// Where the horizontal axis ends.
    pub end: u32,
}

impl Curve {
    /// Picks one quantity out of the points of a run. Steps are counted from 1 for people.
    pub fn new(quantity: Quantity, points: &[Point], steps: u32) -> Self {
        let updates = |point: &Point| point.step.saturating_add(u32::from(point.loss.is_some()));
        let pick = |point: &Point| match quantity {
            Quantity::Loss => Some((updates(point), f64::from(point.loss?))),
            Quantity::Accuracy => Some((point.step, f64::from(point.accuracy?))),
        };
        // Both curves end at the same step.
        let last = points.last().map_or(1, updates);
        let points = points.iter().filter_map(pick);
        let points = points.filter(|(_, value)| value.is_finite()).collect();
        Self {
            quantity,
            points,
            end: axis_end(last, steps),
        }
    }

    /// The curve as SVG of `width` x `height` pixels; nothing without points or room.
    pub fn draw(&self, (width, height): (u32, u32), palette: &Palette) -> Option<String> {
        if self.points.is_empty() || width < 3 * LEFT || height < 3 * BOTTOM {
            return None;
        }
        let mut svg = String::new();
        let size = (width * UNITS_PER_PIXEL, height * UNITS_PER_PIXEL);
        {
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            // Writing to a string cannot fail; without the curve its numbers are still on the page.
            self.draw_on(&area, width, palette).ok()?;
        }
        Some(svg)
    }

    /// The upper end of the vertical axis.
    fn top(&self) -> f64 {
        match self.quantity {
            Quantity::Accuracy => 1.0,
            Quantity::Loss => {
                self.points
                    .iter()
                    .fold(1e-6, |top: f64, (_, value)| top.max(*value))
                    * 1.06
            }
        }
    }

    fn draw_on(&self, area: &Area<'_>, width: u32, palette: &Palette) -> Result<(), Failure> {
        let units = |pixels: u32| pixels * UNITS_PER_PIXEL;
        let mut chart = ChartBuilder::on(area)
            .margin(units(MARGIN))
            .set_label_area_size(LabelAreaPosition::Left, units(LEFT))
            .set_label_area_size(LabelAreaPosition::Bottom, units(BOTTOM))
            .build_cartesian_2d(0.0..f64::from(self.end), 0.0..self.top())?;
        let grid = color(palette.grid).stroke_width(UNITS_PER_PIXEL);
        let text = color(palette.text);
        let size = LETTERS * f64::from(UNITS_PER_PIXEL);
        let style = |pos: Pos| TextStyle::from(("inherit", size)).color(&text).pos(pos);
        for tick in vertical_ticks(0.0..self.top()) {
            chart.draw_series([PathElement::new(
                [(0.0, tick), (f64::from(self.end), tick)],
                grid,
            )])?;
            let (x, y) = chart.backend_coord(&(0.0, tick));
            let at = (x - units(MARGIN).cast_signed(), y);
            area.draw(&Text::new(
                self.tick_label(tick),
                at,
                style(Pos::new(HPos::Right, VPos::Center)),
            ))?;
        }
        for tick in horizontal_ticks(self.end, width) {
            let (x, y) = chart.backend_coord(&(f64::from(tick), 0.0));
            let at = (x, y + units(MARGIN).cast_signed());
            let place = if tick == self.end {
                HPos::Right
            } else {
                HPos::Center
            };
            area.draw(&Text::new(
                crate::format::count(u64::from(tick)),
                at,
                style(Pos::new(place, VPos::Top)),
            ))?;
        }
        let accent = color(palette.accent);
        let points = self
            .points
            .iter()
            .map(|(step, value)| (f64::from(*step), *value));
        let last = points.clone().next_back();
        chart.draw_series(LineSeries::new(
            points,
            accent.stroke_width(2 * UNITS_PER_PIXEL),
        ))?;
        chart.draw_series(
            last.map(|last| Circle::new(last, 4 * UNITS_PER_PIXEL, accent.filled())),
        )?;
        area.present()
    }

    fn tick_label(&self, tick: f64) -> String {
        crate::format::local(&match self.quantity {
            Quantity::Accuracy => format!("{:.0}%", tick * 100.0),
            Quantity::Loss if tick == 0.0 => "0".to_owned(),
            Quantity::Loss if self.top() >= 1e5 => format!("{tick:.0e}"),
            Quantity::Loss => {
                let places = (1.0 - self.top().log10()).ceil().clamp(0.0, 6.0) as usize;
                format!("{tick:.places$}")
            }
        })
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Failure = DrawingAreaErrorKind<std::io::Error>;

fn color([red, green, blue]: [u8; 3]) -> RGBColor {
    RGBColor(red, green, blue)
}

/// The first of 20, 50, 100, 200, ... that `last` does not pass, so that a young curve is not squeezed into a corner and
/// the axis moves seldom; at most the run's last step.
fn axis_end(last: u32, steps: u32) -> u32 {
    let decades = (1..).map(|exponent| 10_u32.checked_pow(exponent));
    let ends = decades.flat_map(|decade| [2, 5, 10].map(|factor| decade?.checked_mul(factor)));
    let end = ends
        .map(|end| end.unwrap_or(u32::MAX))
        .find(|end| *end >= last);
    end.unwrap_or(u32::MAX).min(steps.max(last))
}

fn vertical_ticks(range: Range<f64>) -> Vec<f64> {
    RangedCoordf64::from(range).key_points(TICKS_VERTICAL)
}

/// Round steps that leave room for the last one, which is always named.
fn horizontal_ticks(steps: u32, width: u32) -> Vec<u32> {
    let most = (width.saturating_sub(LEFT) / TICK_WIDTH).clamp(2, 8);
    // Whole numbers would overflow inside near the largest.
    let round = RangedCoordf64::from(0.0..f64::from(steps)).key_points(most as usize);
    let clear = f64::from(steps) * (1.0 - 0.75 / f64::from(most));
    let inner = round
        .into_iter()
        .filter(|tick| *tick >= 1.0 && *tick < clear && tick.fract() == 0.0);
    inner.map(|tick| tick as u32).chain([steps]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PALETTE: Palette = Palette {
        accent: [1, 2, 3],
        text: [4, 5, 6],
        grid: [7, 8, 9],
    };

    fn points(losses: &[f32]) -> Vec<Point> {
        losses
            .iter()
            .zip(0..)
            .map(|(loss, step)| Point {
                step,
                loss: Some(*loss),
                accuracy: None,
            })
            .collect()
    }

    #[test]
    fn a_curve_without_points_is_not_drawn() {
        assert_eq!(
            Curve::new(Quantity::Accuracy, &points(&[1.0, 2.0]), 100).draw((400, 200), &PALETTE),
            None
        );
        assert_eq!(
            Curve::new(Quantity::Loss, &points(&[f32::NAN]), 100).draw((400, 200), &PALETTE),
            None
        );
        assert_eq!(
            Curve::new(Quantity::Loss, &points(&[1.0]), 100).draw((0, 0), &PALETTE),
            None
        );
    }

    #[test]
    fn the_drawing_has_the_colours_of_the_page_and_no_inline_style() {
        let svg = Curve::new(Quantity::Loss, &points(&[2.3, 1.0, 0.5]), 100)
            .draw((400, 200), &PALETTE)
            .expect("three points");
        assert!(
            svg.starts_with("<svg width=\"1600\" height=\"800\""),
            "{svg}"
        );
        for colour in ["#010203", "#040506", "#070809"] {
            assert!(svg.contains(colour), "{colour} in {svg}");
        }
        assert!(!svg.contains("style="), "{svg}");
        assert!(svg.contains("polyline"), "{svg}");
    }

    #[test]
    fn a_falling_loss_falls_in_the_drawing() {
        let svg = Curve::new(Quantity::Loss, &points(&[2.0, 1.0]), 10)
            .draw((400, 200), &PALETTE)
            .expect("two points");
        let line = svg
            .lines()
            .rfind(|line| line.starts_with("<polyline"))
            .expect("a curve");
        let list = line
            .split("points=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("points");
        let heights: Vec<i32> = list
            .split_whitespace()
            .map(|pair| {
                pair.split(',')
                    .nth(1)
                    .and_then(|y| y.parse().ok())
                    .expect("a coordinate")
            })
            .collect();
        assert_eq!(heights.len(), 2);
        assert!(heights[0] < heights[1], "y runs downwards: {heights:?}");
    }

    #[test]
    fn the_last_step_is_named_and_no_tick_is_too_near_to_it() {
        for steps in [1, 2, 10, 37, 100, 1999, 100_000, u32::MAX] {
            for width in [280, 400, 560] {
                let ticks = horizontal_ticks(steps, width);
                assert_eq!(ticks.last(), Some(&steps));
                assert!(ticks.is_sorted(), "{ticks:?}");
                assert!(ticks.len() <= 9, "{ticks:?}");
            }
        }
    }

    #[test]
    fn the_axis_grows_with_the_curve_up_to_the_end_of_the_run() {
        let cases = [
            (1, 20),
            (20, 20),
            (21, 50),
            (101, 200),
            (1100, 1500),
            (1500, 1500),
        ];
        for (last, end) in cases {
            assert_eq!(axis_end(last, 1500), end, "after {last}");
        }
        assert_eq!(axis_end(1, 5), 5, "a short run");
        assert_eq!(axis_end(9, 5), 9, "a room that goes beyond its run");
        assert_eq!(axis_end(u32::MAX - 1, u32::MAX), u32::MAX);
    }

    #[test]
    fn one_point_and_extreme_values_can_be_drawn() {
        for losses in [&[0.0][..], &[1e30, 1.0], &[1e-9], &[-3.0, 2.0]] {
            assert!(
                Curve::new(Quantity::Loss, &points(losses), 1)
                    .draw((300, 150), &PALETTE)
                    .is_some(),
                "{losses:?}"
            );
        }
    }

    #[test]
    fn ticks_of_a_loss_show_the_digits_that_tell_them_apart() {
        for top in [0.02, 0.3, 2.3, 40.0, 70_000.0] {
            let curve = Curve::new(Quantity::Loss, &points(&[top]), 1);
            let mut labels: Vec<String> = vertical_ticks(0.0..curve.top())
                .into_iter()
                .map(|t| curve.tick_label(t))
                .collect();
            let count = labels.len();
            labels.dedup();
            assert_eq!(labels.len(), count, "{labels:?}");
        }
    }
}
