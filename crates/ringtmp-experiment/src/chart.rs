//! Plots as inline SVG. Colours are classes of the page, which has them for light and for dark.

use crate::groups::Estimate;
use std::fmt::Write;

pub(crate) const WIDTH: f64 = 820.0;
const LEFT_BARS: f64 = 200.0;
pub(crate) const LEFT_LINES: f64 = 64.0;
pub(crate) const RIGHT: f64 = 70.0;
pub(crate) const ROW: f64 = 22.0;
pub(crate) const LINES_HEIGHT: f64 = 360.0;

/// Colours that the page has.
pub(crate) const COLOURS: usize = 8;

/// One bar.
pub(crate) struct Bar {
    pub(crate) name: String,
    /// From left to right, of the kinds in the chart.
    pub(crate) parts: Vec<f64>,
    /// The least and the most of the whole.
    pub(crate) interval: Option<(f64, f64)>,
    /// At its end.
    pub(crate) label: String,
}

/// Bars below each other.
pub(crate) struct Bars {
    pub(crate) title: String,
    /// What the parts are; drawn as a legend where there are several.
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) bars: Vec<Bar>,
    /// At the right end; none for what the longest needs.
    pub(crate) most: Option<f64>,
}

/// A line, or several, over a number of devices.
pub(crate) struct Lines {
    pub(crate) title: String,
    pub(crate) y: &'static str,
    pub(crate) percent: bool,
    /// Whether y has a logarithmic scale.
    pub(crate) logarithmic: bool,
    pub(crate) series: Vec<(String, Vec<(u16, Estimate)>)>,
}

impl Bars {
    pub(crate) fn svg(&self) -> String {
        let legend = if self.kinds.len() > 1 { ROW } else { 0.0 };
        let top = 32.0 + legend;
        let height = top + ROW * self.bars.len() as f64 + 12.0;
        let whole = |bar: &Bar| {
            let sum = bar.parts.iter().sum::<f64>();
            bar.interval.map_or(sum, |(_, high)| sum.max(high))
        };
        let most = self.bars.iter().map(whole).fold(1e-12, f64::max);
        let scale = (WIDTH - LEFT_BARS - RIGHT) / self.most.unwrap_or(most);
        let mut text = open(&self.title, height);
        if legend > 0.0 {
            draw_legend(&self.kinds, LEFT_BARS, &mut text);
        }
        for (row, bar) in self.bars.iter().enumerate() {
            let y = top + ROW * row as f64;
            bar.draw(y, scale, &mut text);
        }
        text.push_str("</svg></figure>\n");
        text
    }
}

impl Bar {
    fn draw(&self, y: f64, scale: f64, text: &mut String) {
        let mut x = LEFT_BARS;
        push(
            text,
            format_args!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n",
                LEFT_BARS - 8.0,
                y + 14.0,
                escaped(&self.name)
            ),
        );
        for (kind, part) in self.parts.iter().enumerate() {
            let width = part.max(0.0) * scale;
            push(
                text,
                format_args!(
                    "<rect class=\"f{}\" x=\"{x:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\"/>\n",
                    kind % COLOURS,
                    y + 2.0,
                    ROW - 5.0
                ),
            );
            x += width;
        }
        if let Some((low, high)) = self.interval {
            let [from, to] = [low, high].map(|at| LEFT_BARS + at.max(0.0) * scale);
            let middle = y + ROW / 2.0 - 0.5;
            push(
                text,
                format_args!("<path class=\"axis\" d=\"M{from:.1} {middle}H{to:.1}\"/>\n"),
            );
            x = x.max(to);
        }
        push(
            text,
            format_args!(
                "<text class=\"dim\" x=\"{:.1}\" y=\"{}\">{}</text>\n",
                x + 6.0,
                y + 14.0,
                escaped(&self.label)
            ),
        );
    }
}

/// Places of a plot of lines.
struct Frame {
    /// Numbers of devices, which lie evenly.
    peers: Vec<u16>,
    low: f64,
    high: f64,
    logarithmic: bool,
    top: f64,
}

impl Frame {
    fn x(&self, peers: u16) -> f64 {
        let place = self.peers.iter().position(|at| *at == peers).unwrap_or(0);
        let steps = self.peers.len().saturating_sub(1).max(1) as f64;
        LEFT_LINES + 10.0 + place as f64 / steps * (WIDTH - LEFT_LINES - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let at = |value: f64| {
            if self.logarithmic {
                value.max(1e-12).ln()
            } else {
                value
            }
        };
        let (low, high) = (at(self.low), at(self.high));
        let part = (high - at(value.clamp(self.low, self.high))) / (high - low);
        self.top + part * (LINES_HEIGHT - self.top - 44.0)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let powers = (-6..9).flat_map(|power| [1.0, 2.0, 5.0].map(|d| d * 10f64.powi(power)));
            return powers
                .filter(|tick| (self.low..=self.high).contains(tick))
                .collect();
        }
        let step = round_step(self.high / 6.0);
        (0..=(self.high / step) as u32)
            .map(|i| f64::from(i) * step)
            .collect()
    }
}

impl Lines {
    pub(crate) fn svg(&self) -> String {
        let names: Vec<&str> = self.series.iter().map(|(name, _)| name.as_str()).collect();
        let frame = self.frame(32.0 + legend_rows(&names) * ROW);
        let mut text = open(&self.title, LINES_HEIGHT);
        draw_legend(&names, LEFT_LINES, &mut text);
        self.axes(&frame, &mut text);
        for (number, (_, points)) in self.series.iter().enumerate() {
            let places: Vec<String> = points
                .iter()
                .map(|(peers, value)| format!("{:.1},{:.1}", frame.x(*peers), frame.y(value.mean)))
                .collect();
            let colour = number % COLOURS;
            push(
                &mut text,
                format_args!(
                    "<polyline class=\"s{colour} d{colour}\" points=\"{}\"/>\n",
                    places.join(" ")
                ),
            );
            for (peers, value) in points {
                let x = frame.x(*peers);
                let [from, to, mean] = [value.low(), value.high(), value.mean].map(|v| frame.y(v));
                push(
                    &mut text,
                    format_args!(
                        "<path class=\"s{colour}\" d=\"M{x:.1} {from:.1}V{to:.1}\"/><circle class=\"f{colour}\" cx=\"{x:.1}\" cy=\"{mean:.1}\" r=\"3\"/>\n"
                    ),
                );
            }
        }
        text.push_str("</svg></figure>\n");
        text
    }

    fn frame(&self, top: f64) -> Frame {
        let points = || self.series.iter().flat_map(|(_, points)| points);
        let mut peers: Vec<u16> = points().map(|(peers, _)| *peers).collect();
        peers.sort_unstable();
        peers.dedup();
        let high = points().map(|(_, v)| v.high()).fold(1e-9, f64::max);
        let low = points().map(|(_, v)| v.low()).fold(f64::INFINITY, f64::min);
        Frame {
            peers,
            low: if self.logarithmic {
                low.max(high / 1e6) / 1.2
            } else {
                0.0
            },
            high: if self.logarithmic {
                high * 1.2
            } else {
                high * 1.05
            },
            logarithmic: self.logarithmic,
            top,
        }
    }

    fn axes(&self, frame: &Frame, text: &mut String) {
        let right = WIDTH - RIGHT + 20.0;
        for tick in frame.ticks() {
            let y = frame.y(tick);
            let label = if self.percent {
                format!("{:.0}%", 100.0 * tick)
            } else {
                short(tick)
            };
            push(
                text,
                format_args!(
                    "<path class=\"grid\" d=\"M{LEFT_LINES} {y:.1}H{right}\"/><text class=\"dim\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n",
                    LEFT_LINES - 6.0,
                    y + 4.0
                ),
            );
        }
        let bottom = LINES_HEIGHT - 44.0;
        for peers in &frame.peers {
            push(
                text,
                format_args!(
                    "<text class=\"dim\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{peers}</text>\n",
                    frame.x(*peers),
                    bottom + 18.0
                ),
            );
        }
        push(
            text,
            format_args!(
                "<path class=\"axis\" d=\"M{LEFT_LINES} {bottom}H{right}\"/><text class=\"dim\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">devices, servers counted; {}</text>\n",
                WIDTH / 2.0,
                LINES_HEIGHT - 8.0,
                self.y
            ),
        );
    }
}

pub(crate) fn open(title: &str, height: f64) -> String {
    let title = escaped(title);
    format!(
        "<figure><svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n\
         <text class=\"title\" x=\"8\" y=\"18\">{title}</text>\n"
    )
}

/// How many names of lines stand side by side in a legend: as many as there is room for.
fn legend_columns(names: &[&str]) -> usize {
    match names.iter().map(|name| name.chars().count()).max() {
        Some(0..=22) | None => 4,
        Some(23..=30) => 3,
        Some(_) => 2,
    }
}

/// Rows of the legend of lines.
pub(crate) fn legend_rows(names: &[&str]) -> f64 {
    names.len().div_ceil(legend_columns(names)) as f64
}

/// Of bars in one row.
pub(crate) fn draw_legend(names: &[&str], left: f64, text: &mut String) {
    let columns = if left > LEFT_LINES {
        6
    } else {
        legend_columns(names)
    };
    let width = (WIDTH - left) / columns as f64;
    for (place, name) in names.iter().enumerate() {
        let x = left + width * (place % columns) as f64;
        let y = 30.0 + ROW * (place / columns) as f64;
        push(
            text,
            format_args!(
                "<rect class=\"f{}\" x=\"{x:.0}\" y=\"{y}\" width=\"12\" height=\"12\"/><text x=\"{:.0}\" y=\"{}\">{}</text>\n",
                place % COLOURS,
                x + 17.0,
                y + 11.0,
                escaped(name)
            ),
        );
    }
}

/// The next of 1, 2 and 5 times a power of ten.
pub(crate) fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.max(1e-12).log10().floor());
    let rounds = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    let found = rounds.into_iter().find(|round| *round >= step);
    found.unwrap_or(power)
}

/// Three digits, without an exponent where that can be read.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        "0".to_owned()
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 1e-4 {
        let decimals = (2.0 - size.log10().floor()).clamp(0.0, 6.0);
        let text = format!("{value:.*}", decimals as usize);
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        }
    } else {
        format!("{value:.2e}")
    }
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

pub(crate) fn push(text: &mut String, words: std::fmt::Arguments<'_>) {
    text.write_fmt(words).expect("a string takes all text");
}
