//! The drawing: running means over samples, the loss on a logarithmic scale.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 44.0;

/// Points of a line: two a pixel are as good as more.
const POINTS_MAX: usize = 1400;

/// How far others may go beyond the first's last sample.
const SAMPLES_MORE: f64 = 1.2;

/// Okabe and Ito's colours, which colour-blind readers tell apart, and dashes for print.
const STYLES: [(&str, &str); 5] = [
    ("#000000", "none"),
    ("#0072b2", "7 3"),
    ("#d55e00", "2 2"),
    ("#009e73", "9 3 2 3"),
    ("#cc79a7", "4 2"),
];

/// What is drawn.
pub(super) struct Chart {
    pub(super) title: String,
    /// The samples and the loss that the others are to reach.
    pub(super) target: Option<(f64, f64)>,
    pub(super) lines: Vec<Line>,
}

/// The runs of one way to train.
pub(super) struct Line {
    pub(super) name: String,
    /// Samples, and the least, the mean and the greatest of all seeds.
    pub(super) points: Vec<(f64, [f64; 3])>,
}

/// Where samples and losses lie.
struct Scale {
    samples: f64,
    /// Logarithms.
    low: f64,
    high: f64,
}

impl Scale {
    fn x(&self, samples: f64) -> f64 {
        LEFT + samples / self.samples * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, loss: f64) -> f64 {
        let part = (self.high - logarithm(loss)) / (self.high - self.low);
        TOP + part * (HEIGHT - TOP - BOTTOM)
    }
}

/// A loss of nothing is drawn as next to nothing.
fn logarithm(loss: f64) -> f64 {
    loss.max(1e-9).ln()
}

impl Chart {
    /// As SVG on white, since the pages that show it may be dark.
    pub(super) fn svg(&self) -> String {
        let scale = self.scale();
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{}</text>\n",
            escaped(&self.title)
        );
        self.axes(&scale, &mut text);
        for (line, (colour, dashes)) in self.lines.iter().zip(STYLES.iter().cycle()) {
            line.draw(&scale, colour, dashes, &mut text);
        }
        self.legend(&mut text);
        text.push_str("</svg>\n");
        text
    }

    fn scale(&self) -> Scale {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let logarithms = || points().flat_map(|(_, losses)| losses.map(logarithm));
        let low = logarithms().fold(f64::INFINITY, f64::min);
        let high = logarithms().fold(f64::NEG_INFINITY, f64::max);
        let margin = 0.03 * (high - low).max(0.1);
        Scale {
            samples: points().map(|(samples, _)| *samples).fold(1.0, f64::max),
            low: low - margin,
            high: high + margin,
        }
    }

    fn axes(&self, scale: &Scale, text: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for loss in loss_ticks(scale.low, scale.high) {
            let y = scale.y(loss);
            push(
                text,
                format_args!(
                    "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{loss}</text>\n",
                    LEFT - 6.0,
                    y + 4.0
                ),
            );
        }
        let step = round_step(scale.samples / 8.0);
        for i in 0..=(scale.samples / step) as u32 {
            let samples = f64::from(i) * step;
            push(
                text,
                format_args!(
                    "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{samples}</text>\n",
                    scale.x(samples),
                    bottom + 16.0
                ),
            );
        }
        push(
            text,
            format_args!(
                "<path d=\"M{LEFT} {bottom}H{right}\" stroke=\"#000\"/><text x=\"{}\" y=\"{}\" text-anchor=\"middle\">samples; the loss is a running mean, shaded from the least to the greatest of the seeds</text>\n",
                f64::midpoint(LEFT, right),
                HEIGHT - 10.0
            ),
        );
        if let Some((samples, loss)) = self.target {
            let (x, y) = (scale.x(samples), scale.y(loss));
            let more = scale.x(SAMPLES_MORE * samples).min(right);
            push(
                text,
                format_args!(
                    "<path d=\"M{LEFT} {y:.1}H{right}M{x:.1} {TOP}V{bottom}M{more:.1} {TOP}V{bottom}\" fill=\"none\" stroke=\"#888\" stroke-dasharray=\"1 3\"/>\n"
                ),
            );
        }
    }

    fn legend(&self, text: &mut String) {
        let mut x = WIDTH - RIGHT;
        let styled: Vec<_> = self.lines.iter().zip(STYLES.iter().cycle()).collect();
        for (line, (colour, dashes)) in styled.into_iter().rev() {
            x -= 50.0 + 7.0 * line.name.chars().count() as f64;
            push(
                text,
                format_args!(
                    "<path d=\"M{x:.0} 16h28\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/><text x=\"{:.0}\" y=\"20\">{}</text>\n",
                    x + 34.0,
                    escaped(&line.name)
                ),
            );
        }
    }
}

impl Line {
    fn draw(&self, scale: &Scale, colour: &str, dashes: &str, text: &mut String) {
        let every = self.points.len().div_ceil(POINTS_MAX).max(1);
        // The last point is drawn whatever the number of points.
        let points: Vec<_> = self.points.iter().rev().step_by(every).rev().collect();
        let place = |samples: f64, loss: f64| {
            let (x, y) = (scale.x(samples), scale.y(loss));
            format!("{x:.1},{y:.1}")
        };
        let part = |part: usize| {
            let places = points
                .iter()
                .map(move |(x, losses)| place(*x, losses[part]));
            places.collect::<Vec<_>>()
        };
        let (low, mean, mut high) = (part(0), part(1), part(2));
        high.reverse();
        push(
            text,
            format_args!(
                "<polygon points=\"{} {}\" fill=\"{colour}\" fill-opacity=\"0.15\"/>\n\
                 <polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" stroke-dasharray=\"{dashes}\"/>\n",
                low.join(" "),
                high.join(" "),
                mean.join(" ")
            ),
        );
    }
}

/// 1, 2 and 5 times powers of ten between two logarithms.
fn loss_ticks(low: f64, high: f64) -> Vec<f64> {
    let powers = (-9..=9).flat_map(|power| {
        // Written rather than computed, so that 0.1 is written as 0.1.
        let tick = move |digit: u8| format!("{digit}e{power}").parse().unwrap_or(1.0);
        [1, 2, 5].map(tick)
    });
    powers
        .filter(|tick: &f64| (low..=high).contains(&tick.ln()))
        .collect()
}

/// The next of 1, 2 and 5 times a power of ten, at least 1.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.max(1.0).log10().floor());
    let rounds = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    rounds
        .into_iter()
        .find(|round| *round >= step)
        .unwrap_or(power)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn push(text: &mut String, words: std::fmt::Arguments<'_>) {
    text.write_fmt(words).expect("a string takes all text");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_drawn_within_the_frame_and_named() {
        let line = |name: &str, from: f64| Line {
            name: name.to_owned(),
            points: (1..4000)
                .map(|i| {
                    let loss = from / f64::from(i);
                    (f64::from(i), [0.9 * loss, loss, 1.1 * loss])
                })
                .collect(),
        };
        let chart = Chart {
            title: "a & b".to_owned(),
            target: Some((4000.0, 1e-3)),
            lines: vec![line("sync", 2.0), line("<late>", 3.0)],
        };
        let svg = chart.svg();
        assert!(svg.contains("a &amp; b") && svg.contains("&lt;late>"));
        assert_eq!(svg.matches("<polyline").count(), 2);
        let places = svg.split(['"', ' ']).filter_map(|place| {
            let (x, y) = place.split_once(',')?;
            Some((x.parse::<f64>().ok()?, y.parse::<f64>().ok()?))
        });
        let mut count = 0;
        for (x, y) in places {
            assert!((LEFT..=WIDTH - RIGHT).contains(&x), "{x}");
            assert!((TOP..=HEIGHT - BOTTOM).contains(&y), "{y}");
            count += 1;
        }
        assert!((3000..=6 * POINTS_MAX + 6).contains(&count), "{count}");
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(
            loss_ticks(0.04f64.ln(), 2.5f64.ln()),
            [0.05, 0.1, 0.2, 0.5, 1.0, 2.0]
        );
        assert_eq!([0.2, 30.0, 600.0].map(round_step), [1.0, 50.0, 1000.0]);
    }
}
