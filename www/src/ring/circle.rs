//! Where devices, links, layers and texts lie.

use super::{
    ArcState, LABELS_MAX, LETTER_WIDTH, LINE, Label, Lane, LinkArc, NARROW_LABELS_MAX, RateLabel,
};
use crate::format;
use std::f64::consts::{FRAC_PI_2, PI, TAU};
use std::fmt::Write as _;

/// A drawing with texts beside the devices, and one for narrow screens.
const WIDE: (f64, f64) = (760.0, 600.0);
const NARROW: (f64, f64) = (340.0, 360.0);
/// What those who stand outside take below.
const OUTSIDE: f64 = 44.0;
/// From the centre to the middle of a device, wide and narrow.
const RADIUS: f64 = 172.0;
const NARROW_RADIUS: f64 = 122.0;
/// The largest disc of a device, likewise.
const DISC_MAX: f64 = 38.0;
const NARROW_DISC_MAX: f64 = 28.0;
/// The middle of the band of layers, as a share of the radius.
const BAND: f64 = 0.62;
/// Between the discs and the arcs that join them.
const ARC_GAP: f64 = 7.0;
/// From the middle of a road to each of its lanes.
const LANE: f64 = 5.0;
/// Half the width of an arrow's foot.
const ARROW: f64 = 4.5;
/// How far out newcomers come from.
const FAR_OUT: f64 = 1.5;

/// Where devices stand.
pub(super) struct Circle {
    size: (f64, f64),
    radius: f64,
    pub(super) count: usize,
    pub(super) disc: f64,
    pub(super) narrow: bool,
}

/// Where things travel from a device to its successor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Road {
    centre: (f64, f64),
    radius: f64,
    from: f64,
    to: f64,
}

impl Road {
    /// The place of what has gone so large a share of its way: to the successor, or back.
    pub fn at(&self, share: f64, back: bool) -> (f64, f64) {
        let share = share.clamp(0.0, 1.0);
        let (share, lane) = if back {
            (1.0 - share, -LANE)
        } else {
            (share, LANE)
        };
        let angle = self.from + (self.to - self.from) * share;
        let radius = self.radius + lane;
        let (x, y) = self.centre;
        (x + radius * angle.cos(), y + radius * angle.sin())
    }
}

impl Circle {
    pub(super) fn new(count: usize, narrow: bool) -> Self {
        let (size, radius, disc_max) = if narrow {
            (NARROW, NARROW_RADIUS, NARROW_DISC_MAX)
        } else {
            (WIDE, RADIUS, DISC_MAX)
        };
        // Neighbouring discs leave half of their chord to the road between them.
        let chord = 2.0 * radius * (PI / count.max(2) as f64).sin();
        Self {
            size,
            radius,
            count,
            disc: disc_max.min(chord / 4.0),
            narrow,
        }
    }

    /// Width and height, with room for those outside.
    pub(super) fn size_with(&self, outside: bool) -> (f64, f64) {
        let more = if outside { OUTSIDE } else { 0.0 };
        (self.size.0, self.size.1 + more)
    }

    /// The middle of the line on which they stand who are outside, and its width.
    pub(super) fn outside(&self) -> ((f64, f64), f64) {
        let at = (self.size.0 / 2.0, self.size.1 + OUTSIDE / 2.0);
        (at, self.size.0)
    }

    pub(super) fn centre(&self) -> (f64, f64) {
        (self.size.0 / 2.0, self.size.1 / 2.0)
    }

    /// The angle of a device, clockwise from the right; the first is on top.
    fn angle(&self, index: usize) -> f64 {
        index as f64 * TAU / self.count.max(1) as f64 - FRAC_PI_2
    }

    /// Where a device stands.
    pub(super) fn place(&self, index: usize) -> (f64, f64) {
        self.point(self.angle(index), self.radius)
    }

    /// Where it comes from.
    pub(super) fn far_out(&self, index: usize) -> (f64, f64) {
        self.point(self.angle(index), self.radius * FAR_OUT)
    }

    fn point(&self, angle: f64, radius: f64) -> (f64, f64) {
        let (x, y) = self.centre();
        (x + radius * angle.cos(), y + radius * angle.sin())
    }

    /// An arc as an SVG path: clockwise where `to` is the larger angle.
    fn arc(&self, from: f64, to: f64, radius: f64) -> String {
        let ((x0, y0), (x1, y1)) = (self.point(from, radius), self.point(to, radius));
        let large = u8::from((to - from).abs() > PI);
        let sweep = u8::from(to > from);
        format!("M{x0:.2} {y0:.2}A{radius:.2} {radius:.2} 0 {large} {sweep} {x1:.2} {y1:.2}")
    }

    /// A small triangle whose tip lies at `angle` and whose foot lies at a smaller angle, or at a larger one where `back`.
    fn arrow(&self, angle: f64, radius: f64, back: bool) -> String {
        let length = 2.0 * ARROW / radius;
        let foot = if back { angle + length } else { angle - length };
        let corners = [
            self.point(angle, radius),
            self.point(foot, radius + ARROW),
            self.point(foot, radius - ARROW),
        ];
        let mut path = String::new();
        for (i, (x, y)) in corners.into_iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(path, "{}{x:.2} {y:.2}", if i == 0 { 'M' } else { 'L' });
        }
        path + "Z"
    }

    /// The road from a device to the next.
    pub(super) fn link_arc(
        &self,
        index: usize,
        state: ArcState,
        closing: bool,
        title: String,
    ) -> LinkArc {
        let clear = (self.disc + ARC_GAP) / self.radius;
        let from = self.angle(index) + clear;
        let to = self.angle(index) + TAU / self.count as f64 - clear;
        let lane = |offset: f64, back: bool| {
            let radius = self.radius + offset;
            let (start, end) = if back { (to, from) } else { (from, to) };
            let short = ARROW / radius * if back { -1.0 } else { 1.0 };
            Lane {
                path: self.arc(start, end - short, radius),
                arrow: self.arrow(end, radius, back),
                back,
            }
        };
        let lanes = if closing || state == ArcState::Imagined {
            vec![lane(LANE, false)]
        } else {
            vec![lane(LANE, false), lane(-LANE, true)]
        };
        LinkArc {
            lanes,
            road: Road {
                centre: self.centre(),
                radius: self.radius,
                from,
                to,
            },
            state,
            closing,
            title,
        }
    }

    /// A device's part of the band of layers, cut into `count` equal paths.
    pub(super) fn band(&self, index: usize, count: usize) -> Vec<String> {
        let sector = TAU / self.count.max(1) as f64;
        let margin = (sector * 0.08).min(0.07);
        let begin = self.angle(index) - sector / 2.0 + margin;
        let each = (sector - 2.0 * margin) / count.max(1) as f64;
        let gap = if count > 1 {
            (each * 0.1).min(0.02)
        } else {
            0.0
        };
        let radius = self.radius * BAND;
        let from = |i: usize| begin + i as f64 * each;
        (0..count)
            .map(|i| self.arc(from(i) + gap, from(i) + each - gap, radius))
            .collect()
    }

    /// Texts beside a device, away from the centre; none where there is no room for any.
    pub(super) fn label(&self, index: usize, lines: Vec<String>) -> Option<Label> {
        let angle = self.angle(index);
        if self.narrow {
            return (self.count <= NARROW_LABELS_MAX).then(|| self.label_below(angle, lines));
        }
        if self.count > LABELS_MAX {
            return Some(self.label_on_ray(angle, lines));
        }
        let (x, y) = self.point(angle, self.radius + self.disc + 12.0);
        let anchor = anchor(angle);
        let characters = self.characters(x, anchor);
        let (middle_x, middle_y) = self.point(angle, self.radius);
        // The middle of all lines lies as far above or below the point as half their height has to be clear.
        let count = lines.len().max(1) as f64;
        let lift = LINE * (count / 2.0 * angle.sin() - (count - 1.0) / 2.0);
        Some(Label {
            at: (x - middle_x, y + lift - middle_y),
            anchor,
            turn: 0.0,
            lines: shortened(lines, characters),
        })
    }

    /// Below the device; above it, where below is the band of layers.
    fn label_below(&self, angle: f64, lines: Vec<String>) -> Label {
        let above = angle.sin() < -0.9;
        let distance = self.disc + 18.0;
        let (x, _) = self.point(angle, self.radius);
        let width = 2.0 * x.min(self.size.0 - x);
        Label {
            at: (0.0, if above { -distance } else { distance }),
            anchor: "middle",
            turn: 0.0,
            lines: shortened(lines, (width / LETTER_WIDTH) as usize),
        }
    }

    /// On a ray from the centre, to be read from left to right on either side.
    fn label_on_ray(&self, angle: f64, lines: Vec<String>) -> Label {
        let distance = self.disc + 8.0;
        let left = angle.cos() < -1e-9;
        let degrees = angle.to_degrees() + if left { 180.0 } else { 0.0 };
        let free = self.size.1 / 2.0 - self.radius - distance;
        let characters = (free / LETTER_WIDTH) as usize;
        // One line: a second would touch the next ray.
        let lines = lines.into_iter().take(1).collect();
        Label {
            at: (if left { -distance } else { distance }, 0.0),
            anchor: if left { "end" } else { "start" },
            turn: degrees,
            lines: shortened(lines, characters),
        }
    }

    /// What travels on the link from a device to the next: outside, in the middle of its road.
    pub(super) fn rate_label(&self, index: usize, forward: String, back: String) -> RateLabel {
        let angle = self.angle(index) + PI / self.count as f64;
        let (x, y) = self.point(angle, self.radius + 18.0);
        let lines = 1.0 + f64::from(u8::from(!back.is_empty()));
        let lift = LINE * (lines / 2.0 * angle.sin() - (lines - 1.0) / 2.0);
        RateLabel {
            at: (x, y + lift),
            anchor: anchor(angle),
            closing: false,
            forward,
            back,
        }
    }

    /// How many letters have room at a place.
    fn characters(&self, x: f64, anchor: &str) -> usize {
        let room = match anchor {
            "start" => self.size.0 - x,
            "end" => x,
            _ => 2.0 * x.min(self.size.0 - x),
        };
        (room / LETTER_WIDTH).floor().max(4.0) as usize
    }
}

fn anchor(angle: f64) -> &'static str {
    match angle.cos() {
        cosine if cosine > 0.2 => "start",
        cosine if cosine < -0.2 => "end",
        _ => "middle",
    }
}

fn shortened(lines: Vec<String>, characters: usize) -> Vec<String> {
    let lines = lines.iter();
    lines
        .map(|line| format::shorten(line, characters))
        .collect()
}
