//! How the ring is drawn: shapes and places, no browser.
//!
//! The active devices stand on a circle, the head on top, clockwise in the order of the ring. From each device to its successor runs
//! a road of two lanes: activations go clockwise on the outer one, gradients back on the inner one. The road from tail to head is the
//! closing link, which has one lane. Inside, a band shows the model's layers, each device's share before that device. Whoever
//! holds no layers stands below, outside the ring. All lengths are in units of the drawing, whose size is [`RingDrawing::size`].

mod circle;
mod outside;
mod walk;

pub use circle::Road;
pub use outside::{Bystanders, Outside};
pub use walk::on_its_way;

use crate::shown::{MemberLine, team_summary};
use crate::traffic::Traffic;
use crate::{format, words};
use circle::Circle;
use ringtmp_core::ids::PeerId;
use ringtmp_core::parameter_server::{Exchange, TeamPlan};
use ringtmp_core::signal::{Form, MemberStatus, Role, RoomState};
use ringtmp_peer::{LinkState, View};

/// The most devices that have all their lines written beside them.
const LINES_MAX_AT: usize = 5;
/// The most devices whose names are written beside them; those of more stand on rays from the centre.
const LABELS_MAX: usize = 10;
/// The most devices that are named on a narrow screen; the table names all.
const NARROW_LABELS_MAX: usize = 3;
/// The most devices whose links have their rates beside them.
const RATES_MAX: usize = 8;
/// The most layers of one device drawn as segments of their own; more would be thinner than their gaps.
const SEGMENTS_MAX: usize = 24;
/// From one line of a label to the next.
pub const LINE: f64 = 19.0;
/// Mean width of a letter of a label.
const LETTER_WIDTH: f64 = 9.0;

/// Everything there is to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct RingDrawing {
    /// Width and height.
    pub size: (f64, f64),
    /// The middle of the circle.
    pub centre: (f64, f64),
    /// From each device to its successor.
    pub links: Vec<LinkArc>,
    /// What travels on them, beside them.
    pub rates: Vec<RateLabel>,
    /// The layers.
    pub segments: Vec<Segment>,
    /// The devices.
    pub discs: Vec<Disc>,
    /// Whoever holds no layers.
    pub outside: Vec<Outside>,
    /// What it is a drawing of.
    pub title: &'static str,
    /// The drawing in a sentence.
    pub summary: String,
}

/// The road from a device to its successor.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkArc {
    /// Its lanes, as SVG paths: that of the closing link alone, or clockwise and back.
    pub lanes: Vec<Lane>,
    /// Where things travel on it.
    pub road: Road,
    /// How the link is.
    pub state: ArcState,
    /// Whether it closes the ring.
    pub closing: bool,
    /// What it is, in words.
    pub title: String,
}

/// A line with an arrow at its end, as SVG paths.
#[derive(Clone, Debug, PartialEq)]
pub struct Lane {
    /// The arc.
    pub path: String,
    /// The arrow.
    pub arrow: String,
    /// Whether it is the way of gradients.
    pub back: bool,
}

/// What travels on a link in a second, beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLabel {
    /// The middle of the first line's height, at its anchor.
    pub at: (f64, f64),
    /// `start`, `middle` or `end`.
    pub anchor: &'static str,
    /// Whether it is the closing link, whose name stands before what travels on it, the one way there is.
    pub closing: bool,
    /// With the clock; of the closing link its name.
    pub forward: String,
    /// Against it; may be empty.
    pub back: String,
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
    /// Which; none of an emblem's.
    pub peer: Option<PeerId>,
    /// Its middle.
    pub at: (f64, f64),
    /// Where it comes from when it is new.
    pub from: (f64, f64),
    /// Its radius.
    pub radius: f64,
    /// What is written in it.
    pub number: String,
    /// What it looks like, where that is known and there is room.
    pub form: Option<Form>,
    /// Whether it is a program and no browser.
    pub native: bool,
    /// Whether it is this device.
    pub mine: bool,
    /// What it does, for style sheets.
    pub status: &'static str,
    /// Its name and layers, in words.
    pub title: String,
    /// The texts beside it.
    pub label: Option<Label>,
}

/// Lines of text beside a device, the first its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// The middle of the first line's height, at its anchor, seen from the middle of the device.
    pub at: (f64, f64),
    /// `start`, `middle` or `end`.
    pub anchor: &'static str,
    /// By how many degrees it is turned round the middle of the device; 0 where lines lie level.
    pub turn: f64,
    /// What is written.
    pub lines: Vec<String>,
}

impl RingDrawing {
    /// Draws a view whose table is `lines`.
    pub fn new(view: &View, lines: &[MemberLine], traffic: &Traffic, narrow: bool) -> Self {
        let on_ring = devices_on_ring(view, lines);
        let circle = Circle::new(on_ring.len(), narrow);
        let layers = view.run.as_ref().map_or(0, |run| run.layers.len());
        let planned = view.room.as_ref().is_some_and(|room| room.plan.is_some());
        let outside = outside::of(view, lines, &on_ring, &circle);
        let team = view.room.as_ref().and_then(|room| room.team());
        Self {
            size: circle.size_with(!outside.is_empty()),
            centre: circle.centre(),
            links: link_arcs(&circle, view, &on_ring),
            rates: rate_labels(&circle, view, &on_ring, traffic),
            segments: segments(&circle, view, &on_ring),
            discs: discs(&circle, &on_ring),
            outside,
            title: match team {
                Some(_) => words::TEAM_TITLE.now(),
                None => words::RING_TITLE.now(),
            },
            summary: match team {
                Some(plan) => team_summary(plan),
                None if planned => words::ring_summary(on_ring.len(), layers),
                None => words::devices(on_ring.len()),
            },
        }
    }

    /// A ring without names, to show what this is about: `devices` of them, each with `layers_each` layers.
    pub fn emblem(devices: usize, layers_each: usize) -> Self {
        let circle = Circle::new(devices, true);
        let (mut links, mut segments, mut discs) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..devices {
            let mine = i == 0;
            let closing = i + 1 == devices;
            links.push(circle.link_arc(i, ArcState::Busy, closing, String::new()));
            segments.extend(circle.band(i, layers_each).into_iter().map(|path| Segment {
                path,
                mine,
                title: String::new(),
            }));
            discs.push(Disc {
                peer: None,
                at: circle.place(i),
                from: circle.place(i),
                radius: circle.disc,
                number: String::new(),
                form: None,
                native: false,
                mine,
                status: "training",
                title: String::new(),
                label: None,
            });
        }
        Self {
            size: circle.size_with(false),
            centre: circle.centre(),
            links,
            rates: Vec::new(),
            segments,
            discs,
            outside: Vec::new(),
            title: words::RING_TITLE.now(),
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
            member.role != Role::Spectator && member.status != MemberStatus::Spare
        })
    };
    lines.iter().filter(|line| trains(line.peer)).collect()
}

fn link_arcs(circle: &Circle, view: &View, devices: &[&MemberLine]) -> Vec<LinkArc> {
    let planned = view.room.as_ref().is_some_and(|room| room.plan.is_some());
    let count = devices.len();
    let team = view.room.as_ref().and_then(|room| room.team());
    if count == 0 || (count == 1 && planned) || team.is_some_and(has_servers) {
        return Vec::new();
    }
    (0..count)
        .map(|i| {
            let (from, to) = (devices[i], devices[(i + 1) % count]);
            let state = if planned {
                arc_state(view, from, to)
            } else {
                ArcState::Imagined
            };
            let closing = planned && team.is_none() && i + 1 == count;
            let mut title = arc_title(from, to, closing);
            if is_relayed(view, from, to) {
                title = format!("{title} · {}", words::RELAYED.now());
            }
            circle.link_arc(i, state, closing, title)
        })
        .collect()
}

/// Whether devices are linked to servers, and not round the circle.
fn has_servers(plan: &TeamPlan) -> bool {
    plan.exchange == Exchange::Server
}

/// The layers: each device's share lies before the device.
fn segments(circle: &Circle, view: &View, devices: &[&MemberLine]) -> Vec<Segment> {
    let plan = view.room.as_ref().and_then(|room| room.ring());
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
        let paths = circle.band(i, titles.len());
        segments.extend(paths.into_iter().zip(titles).map(|(path, title)| Segment {
            path,
            mine: device.mine,
            title,
        }));
    }
    segments
}

fn discs(circle: &Circle, devices: &[&MemberLine]) -> Vec<Disc> {
    devices
        .iter()
        .enumerate()
        .map(|(i, device)| Disc {
            peer: Some(device.peer),
            at: circle.place(i),
            from: circle.far_out(i),
            radius: circle.disc,
            number: device
                .number
                .map_or_else(String::new, |number| number.to_string()),
            form: device.form,
            native: device.native,
            mine: device.mine,
            status: device.status_key,
            title: [&*device.name, &device.layers, &device.device, device.status].join(" · "),
            label: circle.label(i, lines_of(device, circle)),
        })
        .collect()
}

/// What is written beside a device: fewer lines where there are more devices.
fn lines_of(device: &MemberLine, circle: &Circle) -> Vec<String> {
    if circle.narrow {
        return vec![device.name.clone()];
    }
    let planned = device.number.is_some();
    let second = match (planned, circle.count <= LABELS_MAX) {
        (true, _) => device.layers.clone(),
        (false, true) => device.status.to_owned(),
        (false, false) => String::new(),
    };
    let mut lines = vec![device.name.clone(), second];
    if circle.count <= LINES_MAX_AT {
        lines.push(device.power.clone());
        if planned {
            lines.push(device.doing.clone());
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// What travels on each link, where devices have reported for some seconds.
fn rate_labels(
    circle: &Circle,
    view: &View,
    devices: &[&MemberLine],
    traffic: &Traffic,
) -> Vec<RateLabel> {
    let room = view.room.as_ref();
    let planned = room.is_some_and(|room| room.ring().is_some());
    let trains = room.is_some_and(|room| room.state == RoomState::Training);
    let count = devices.len();
    if circle.narrow || !planned || !(2..=RATES_MAX).contains(&count) {
        return Vec::new();
    }
    let rate = |from: &MemberLine, to: &MemberLine| {
        let rate = traffic.per_second(from.peer, to.peer).filter(|_| trains);
        let rate = rate.filter(|rate| *rate > 0.0).and_then(format::byte_rate);
        rate.map_or_else(String::new, |rate| words::per_second(&rate))
    };
    let label = |i: usize| {
        let (from, to) = (devices[i], devices[(i + 1) % count]);
        let closing = i + 1 == count;
        let (forward, back) = if closing {
            // Two devices have one connection, whose bytes stand beside the other arc.
            let rate = if count > 2 {
                rate(from, to)
            } else {
                String::new()
            };
            (words::RING_CLOSING.now().to_owned(), rate)
        } else {
            (rate(from, to), rate(to, from))
        };
        let forward = match is_relayed(view, from, to) {
            true if forward.is_empty() => words::RELAYED.now().to_owned(),
            true => format!("{forward} · {}", words::RELAYED.now()),
            false => forward,
        };
        RateLabel {
            closing,
            ..circle.rate_label(i, forward, back)
        }
    };
    let labels = (0..count).map(label);
    labels.filter(|label| !label.forward.is_empty()).collect()
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

/// Whether what two devices send each other goes by way of a server that relays, as either says.
fn is_relayed(view: &View, from: &MemberLine, to: &MemberLine) -> bool {
    let members = view.room.iter().flat_map(|room| &room.members);
    let mut ends = members.filter(|member| [from.peer, to.peer].contains(&member.peer));
    ends.any(|member| {
        let mut links = member.links.iter();
        links.any(|link| link.relayed && [from.peer, to.peer].contains(&link.to))
    })
}

fn arc_title(from: &MemberLine, to: &MemberLine, closing: bool) -> String {
    let route = format!("{} → {}", from.name, to.name);
    if closing {
        format!("{route} · {}", words::RING_CLOSING.now())
    } else {
        route
    }
}

#[cfg(test)]
mod tests;
