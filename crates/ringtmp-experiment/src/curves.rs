//! Plots of several curves over a common axis, as inline SVG.

use crate::chart::{
    COLOURS, LEFT_LINES, LINES_HEIGHT, RIGHT, ROW, WIDTH, draw_legend, legend_rows, open, push,
    round_step, short,
};

/// Curves over an axis that begins at zero.
pub(crate) struct Curves {
    pub(crate) title: String,
    /// What both axes show.
    pub(crate) axes: String,
    /// The right end; none for what the longest needs.
    pub(crate) until: Option<f64>,
    /// By name, from left to right.
    pub(crate) series: Vec<(String, Vec<[f64; 2]>)>,
}

impl Curves {
    pub(crate) fn svg(&self) -> String {
        let names: Vec<&str> = self.series.iter().map(|(name, _)| name.as_str()).collect();
        let (top, bottom) = (36.0 + legend_rows(&names) * ROW, LINES_HEIGHT - 44.0);
        let points = || self.series.iter().flat_map(|(_, points)| points);
        let longest = points().map(|[x, _]| *x).fold(1e-9, f64::max);
        let most = [
            self.until.unwrap_or(longest),
            points().map(|[_, y]| *y).fold(1e-9, f64::max) * 1.05,
        ];
        let width = WIDTH - LEFT_LINES - RIGHT;
        let x = |value: f64| LEFT_LINES + value / most[0] * width;
        let y = |value: f64| bottom - value / most[1] * (bottom - top);
        let mut text = open(&self.title, LINES_HEIGHT);
        draw_legend(&names, LEFT_LINES, &mut text);
        for tick in ticks(most[1]) {
            push(
                &mut text,
                format_args!(
                    "<path class=\"grid\" d=\"M{LEFT_LINES} {0:.1}H{1}\"/><text class=\"dim\" x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{4}</text>\n",
                    y(tick),
                    LEFT_LINES + width,
                    LEFT_LINES - 6.0,
                    y(tick) + 4.0,
                    short(tick)
                ),
            );
        }
        for tick in ticks(most[0]) {
            push(
                &mut text,
                format_args!(
                    "<text class=\"dim\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                    x(tick),
                    bottom + 18.0,
                    short(tick)
                ),
            );
        }
        push(
            &mut text,
            format_args!(
                "<path class=\"axis\" d=\"M{LEFT_LINES} {bottom}H{}\"/><text class=\"dim\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                LEFT_LINES + width,
                WIDTH / 2.0,
                LINES_HEIGHT - 8.0,
                self.axes
            ),
        );
        for (number, (_, points)) in self.series.iter().enumerate() {
            let shown = points.iter().filter(|[at, _]| *at <= most[0]);
            let places: Vec<String> = shown
                .map(|[at, value]| format!("{:.1},{:.1}", x(*at), y(*value)))
                .collect();
            let colour = number % COLOURS;
            push(
                &mut text,
                format_args!(
                    "<polyline class=\"s{colour} d{colour}\" points=\"{}\"/>\n",
                    places.join(" ")
                ),
            );
        }
        text.push_str("</svg></figure>\n");
        text
    }
}

fn ticks(most: f64) -> Vec<f64> {
    let step = round_step(most / 6.0);
    (0..=(most / step) as u32)
        .map(|tick| f64::from(tick) * step)
        .collect()
}
