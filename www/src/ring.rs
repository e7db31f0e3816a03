//! How the ring is drawn: shapes and places, no browser.
//!
//! The active devices stand on a circle, the head on top, clockwise in the order of the ring. Arcs with an arrow run from
//! each device to its successor; the one from tail to head is the closing link. Inside, a band shows the model's layers, each
//! device's share before that device. All lengths are in units of the drawing, whose size is [`RingDrawing::size`].

use crate::shown::MemberLine;
use crate::{format, words};
use ringtmp_core::ids::PeerId;
use ringtmp_core::signal::{MemberStatus, Role, RoomState};
use ringtmp_peer::{LinkState, View};
use std::f64::consts::{FRAC_PI_2, PI, TAU};
use std::fmt::Write as _;

/// A drawing with names beside the devices, and one without for narrow screens (the table carries the same numbers).
const WIDE: (f64, f64) = (520.0, 380.0);
const NARROW: (f64, f64) = (300.0, 300.0);
/// From the centre to the middle of a device.
const RADIUS: f64 = 118.0;
/// The largest disc of a device.
const DISC_MAX: f64 = 24.0;
/// The middle of the band of layers.
const BAND_RADIUS: f64 = 76.0;
/// Between the discs and the arcs that join them.
const ARC_GAP: f64 = 6.0;
/// Half the width of an arrow's foot.
const ARROW: f64 = 4.5;
/// The most devices whose names are written; more would touch.
const LABELS_MAX: usize = 10;
/// The most layers of one device drawn as segments of their own; more would be thinner than their gaps.
const SEGMENTS_MAX: usize = 24;
/// From one line of a label to the next.
pub const LINE: f64 = 16.0;
/// Mean width of a letter of a label.
const LETTER_WIDTH: f64 = 8.2;

/// Everything there is to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct RingDrawing {
    /// Width and height.
    pub size: (f64, f64),
    /// From each device to its successor.
    pub links: Vec<LinkArc>,
    /// The layers.
    pub segments: Vec<Segment>,
    /// The devices.
    pub discs: Vec<Disc>,
    /// The drawing in a sentence.
    pub summary: String,
}

/// The arc from a device to its successor.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkArc {
    /// The arc, as an SVG path.
    pub path: String,
    /// The arrow at its end, as an SVG path.
    pub arrow: String,
    /// How the link is.
    pub state: ArcState,
    /// Whether it closes the ring.
    pub closing: bool,
    /// What it is, in words.
    pub title: String,
}

/// How a link is, as far as this device knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArcState {
    /// There is no plan yet.
    Imagined,
    /// Being made.
    Connecting,
    /// Made, and quiet.
    Open,
    /// Made, and steps are being made over it.
    Busy,
    /// Down.
    Failed,
}

impl ArcState {
    /// Its name for style sheets.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Imagined => "imagined",
            Self::Connecting => "connecting",
            Self::Open => "open",
            Self::Busy => "busy",
            Self::Failed => "failed",
        }
    }
}

/// A layer (or the layers of one device, where they are too many).
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// The arc, as an SVG path.
    pub path: String,
    /// Whether this device holds it.
    pub mine: bool,
    /// What it is, in words.
    pub title: String,
}

/// A device.
#[derive(Clone, Debug, PartialEq)]
pub struct Disc {
    /// Its middle.
    pub at: (f64, f64),
    /// Its radius.
    pub radius: f64,
    /// What is written in it.
    pub number: String,
    /// Whether it is this device.
    pub mine: bool,
    /// What it does, for style sheets.
    pub status: &'static str,
    /// Its name and layers, in words.
    pub title: String,
    /// The texts beside it.
    pub label: Option<Label>,
}

/// Two lines of text beside a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// The middle of the first line's height, at its anchor.
    pub at: (f64, f64),
    /// `start`, `middle` or `end`.
    pub anchor: &'static str,
    /// The device's name.
    pub name: String,
    /// Its layers.
    pub layers: String,
}

impl RingDrawing {
    /// Draws a view whose table is `lines`.
    pub fn new(view: &View, lines: &[MemberLine], narrow: bool) -> Self {
        let on_ring = devices_on_ring(view, lines);
        let circle = Circle::new(on_ring.len(), narrow);
        let layers = view.run.as_ref().map_or(0, |run| run.layers.len());
        let planned = view.room.as_ref().is_some_and(|room| room.plan.is_some());
        Self {
            size: circle.size,
            links: circle.link_arcs(view, &on_ring),
            segments: circle.segments(view, &on_ring),
            discs: circle.discs(&on_ring, narrow),
            summary: if planned {
                words::ring_summary(on_ring.len(), layers)
            } else {
                words::devices(on_ring.len())
            },
        }
    }

    /// A ring without names, to show what this is about: `devices` of them, each with `layers_each` layers.
    pub fn emblem(devices: usize, layers_each: usize) -> Self {
        let circle = Circle::new(devices, true);
        let (mut links, mut segments, mut discs) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..devices {
            let mine = i == 0;
            links.push(circle.link_arc(i, ArcState::Busy, false, String::new()));
            segments.extend(circle.band(i, layers_each).into_iter().map(|path| Segment {
                path,
                mine,
                title: String::new(),
            }));
            discs.push(Disc {
                at: circle.point(circle.angle(i), RADIUS),
                radius: circle.disc,
                number: String::new(),
                mine,
                status: "training",
                title: String::new(),
                label: None,
            });
        }
        Self {
            size: circle.size,
            links,
            segments,
            discs,
            summary: words::ring_summary(devices, devices * layers_each),
        }
    }
}

/// The lines of the devices that stand on the circle: the stages, or before there is a plan everybody who will train.
fn devices_on_ring<'a>(view: &View, lines: &'a [MemberLine]) -> Vec<&'a MemberLine> {
    let Some(room) = &view.room else {
        return Vec::new();
    };
    if room.plan.is_some() {
        return lines.iter().filter(|line| line.number.is_some()).collect();
    }
    let trains = |peer: PeerId| {
        let member = room.members.iter().find(|member| member.peer == peer);
        member.is_some_and(|member| {
            member.role == Role::Participant && member.status != MemberStatus::Spare
        })
    };
    lines.iter().filter(|line| trains(line.peer)).collect()
}

/// Where devices stand.
struct Circle {
    size: (f64, f64),
    count: usize,
    disc: f64,
}

impl Circle {
    fn new(count: usize, narrow: bool) -> Self {
        // Neighbouring discs leave half of their chord to the arc between them.
        let chord = 2.0 * RADIUS * (PI / count.max(2) as f64).sin();
        Self {
            size: if narrow { NARROW } else { WIDE },
            count,
            disc: DISC_MAX.min(chord / 4.0),
        }
    }

    /// The angle of a device, clockwise from the right; the first is on top.
    fn angle(&self, index: usize) -> f64 {
        index as f64 * TAU / self.count.max(1) as f64 - FRAC_PI_2
    }

    fn point(&self, angle: f64, radius: f64) -> (f64, f64) {
        (
            self.size.0 / 2.0 + radius * angle.cos(),
            self.size.1 / 2.0 + radius * angle.sin(),
        )
    }

    /// An arc, clockwise, as an SVG path.
    fn arc(&self, from: f64, to: f64, radius: f64) -> String {
        let ((x0, y0), (x1, y1)) = (self.point(from, radius), self.point(to, radius));
        let large = u8::from(to - from > PI);
        format!("M{x0:.2} {y0:.2}A{radius:.2} {radius:.2} 0 {large} 1 {x1:.2} {y1:.2}")
    }

    /// A small triangle on the circle that points clockwise, its tip at `angle`.
    fn arrow(&self, angle: f64) -> String {
        let foot = angle - 2.0 * ARROW / RADIUS;
        let corners = [
            self.point(angle, RADIUS),
            self.point(foot, RADIUS + ARROW),
            self.point(foot, RADIUS - ARROW),
        ];
        let mut path = String::new();
        for (i, (x, y)) in corners.into_iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(path, "{}{x:.2} {y:.2}", if i == 0 { 'M' } else { 'L' });
        }
        path + "Z"
    }

    fn link_arcs(&self, view: &View, devices: &[&MemberLine]) -> Vec<LinkArc> {
        let planned = view.room.as_ref().is_some_and(|room| room.plan.is_some());
        if self.count == 0 || (self.count == 1 && planned) {
            return Vec::new();
        }
        (0..self.count)
            .map(|i| {
                let (from, to) = (devices[i], devices[(i + 1) % self.count]);
                let state = if planned {
                    arc_state(view, from, to)
                } else {
                    ArcState::Imagined
                };
                let closing = planned && i + 1 == self.count;
                self.link_arc(i, state, closing, arc_title(from, to, closing))
            })
            .collect()
    }

    /// The arc from a device to the next.
    fn link_arc(&self, index: usize, state: ArcState, closing: bool, title: String) -> LinkArc {
        let clear = (self.disc + ARC_GAP) / RADIUS;
        let start = self.angle(index) + clear;
        let end = self.angle(index) + TAU / self.count as f64 - clear;
        LinkArc {
            path: self.arc(start, end - ARROW / RADIUS, RADIUS),
            arrow: self.arrow(end),
            state,
            closing,
            title,
        }
    }

    /// A device's part of the band of layers, cut into `count` equal paths.
    fn band(&self, index: usize, count: usize) -> Vec<String> {
        let sector = TAU / self.count.max(1) as f64;
        let margin = (sector * 0.08).min(0.07);
        let begin = self.angle(index) - sector / 2.0 + margin;
        let each = (sector - 2.0 * margin) / count.max(1) as f64;
        let gap = if count > 1 {
            (each * 0.1).min(0.02)
        } else {
            0.0
        };
        let from = |i: usize| begin + i as f64 * each;
        (0..count)
            .map(|i| self.arc(from(i) + gap, from(i) + each - gap, BAND_RADIUS))
            .collect()
    }

    /// The band of layers: each device's share lies before the device.
    fn segments(&self, view: &View, devices: &[&MemberLine]) -> Vec<Segment> {
        let plan = view.room.as_ref().and_then(|room| room.plan.as_ref());
        let (Some(plan), Some(run)) = (plan, view.run.as_ref()) else {
            return Vec::new();
        };
        let mut segments = Vec::new();
        for (i, device) in devices.iter().enumerate() {
            let Some(held) = plan.layers_of(device.peer) else {
                continue;
            };
            let held = usize::from(held.start.0)..usize::from(held.end.0);
            let Some(layers) = run.layers.get(held.clone()) else {
                continue;
            };
            let titles: Vec<String> = if layers.len() > SEGMENTS_MAX {
                vec![format!("{} · {}", device.layers, device.layers_detail)]
            } else {
                let title = |(layer, index): (&String, usize)| {
                    let number = index as u32 + 1;
                    format!("{} · {layer}", words::layer_range(number, number))
                };
                layers.iter().zip(held).map(title).collect()
            };
            let paths = self.band(i, titles.len());
            segments.extend(paths.into_iter().zip(titles).map(|(path, title)| Segment {
                path,
                mine: device.mine,
                title,
            }));
        }
        segments
    }

    fn discs(&self, devices: &[&MemberLine], narrow: bool) -> Vec<Disc> {
        let labelled = !narrow && self.count <= LABELS_MAX;
        devices
            .iter()
            .enumerate()
            .map(|(i, device)| Disc {
                at: self.point(self.angle(i), RADIUS),
                radius: self.disc,
                number: device
                    .number
                    .map_or_else(String::new, |number| number.to_string()),
                mine: device.mine,
                status: device.status_key,
                title: format!("{} · {}", device.name, device.layers),
                label: labelled.then(|| self.label(self.angle(i), device)),
            })
            .collect()
    }

    /// Beside the device, away from the centre; above and below, in the middle.
    fn label(&self, angle: f64, device: &MemberLine) -> Label {
        let (x, y) = self.point(angle, RADIUS + self.disc + 10.0);
        let anchor = match angle.cos() {
            cosine if cosine > 0.2 => "start",
            cosine if cosine < -0.2 => "end",
            _ => "middle",
        };
        let room = match anchor {
            "start" => self.size.0 - x,
            "end" => x,
            _ => 2.0 * x.min(self.size.0 - x),
        };
        let characters = (room / LETTER_WIDTH).floor().max(4.0) as usize;
        // The middle of both lines lies as far above or below the point as half their height has to be clear.
        let lift = LINE * angle.sin() - LINE / 2.0;
        let layers = if device.number.is_some() {
            device.layers.clone()
        } else {
            device.status.to_owned()
        };
        Label {
            at: (x, y + lift),
            anchor,
            name: format::shorten(&device.name, characters),
            layers,
        }
    }
}

/// How the link from one device to the next is: known for our own links, gathered from what both do for the others.
fn arc_state(view: &View, from: &MemberLine, to: &MemberLine) -> ArcState {
    let neighbour = match (from.mine, to.mine) {
        (true, _) => Some(to.peer),
        (_, true) => Some(from.peer),
        _ => None,
    };
    let training = view
        .room
        .as_ref()
        .is_some_and(|room| room.state == RoomState::Training);
    let up = if training {
        ArcState::Busy
    } else {
        ArcState::Open
    };
    let own = neighbour.and_then(|peer| view.links.iter().find(|link| link.peer == peer));
    match own.map(|link| &link.state) {
        Some(LinkState::Connecting) => ArcState::Connecting,
        Some(LinkState::Open) => up,
        Some(LinkState::Failed { .. }) => ArcState::Failed,
        None if from.status_key == "preparing" || to.status_key == "preparing" => {
            ArcState::Connecting
        }
        None => up,
    }
}

fn arc_title(from: &MemberLine, to: &MemberLine, closing: bool) -> String {
    let route = format!("{} → {}", from.name, to.name);
    if closing {
        format!("{route} · {}", words::RING_CLOSING)
    } else {
        route
    }
}

#[cfg(test)]
mod tests;
