//! The sections of the page: a plot, the finding under it, the figures.

use super::table::table;
use super::{course, courses, hosts, lasting, losses, real};
use crate::cell::{Capacity, Kind, Way};
use crate::chart::{Bar, Bars, Lines, escaped, push, short};
use crate::findings::{self, Better, Measure};
use crate::grid::Experiment;
use crate::groups::Group;
use crate::outcome::Outcome;
use ringtmp_core::parameter_server::{Placement, Staleness};
use ringtmp_core::schedule::Mode;

/// Estimates of two ways within this factor cannot be told apart: docs/energy.md says why.
pub(super) const ENERGY_FACTOR: f64 = 1.3;

const IDLE: Measure = Measure {
    figure: |figures| figures.idle,
    better: Better::Less,
    unit: "idle share of workers (simulated)",
    percent: true,
    factor: 1.0,
};

const IDLE_DEVICES: Measure = Measure {
    figure: |figures| figures.idle_devices,
    unit: "idle share of all devices (simulated)",
    ..IDLE
};

const THROUGHPUT: Measure = Measure {
    figure: |figures| figures.throughput,
    better: Better::More,
    unit: "samples/s",
    percent: false,
    factor: 1.0,
};

const CORE_SECONDS: Measure = Measure {
    figure: |figures| figures.core_seconds_per_sample,
    better: Better::Less,
    unit: "core-seconds per sample",
    percent: false,
    factor: 1.0,
};

const JOULES: Measure = Measure {
    figure: |figures| figures.joules.estimated_joules_per_sample,
    better: Better::Less,
    unit: "J per sample (estimated)",
    percent: false,
    factor: ENERGY_FACTOR,
};

/// An experiment's title, and what it is about.
const fn told(experiment: Experiment) -> (&'static str, &'static str) {
    match experiment {
        Experiment::Idle => (
            "Idle time",
            "The share of its time in which a device that computes gradients does not compute, in the middle third of the steps, by cause: waiting for others to compute (input), for \
             what is on its way (link), for a credit, for an update (weights), or having no part (spare). Devices that only serve are left out here and told in the finding.",
        ),
        Experiment::Progress => (
            "Progress, with real gradients",
            "A perceptron learns to read digits. Every gradient is really computed; when it would have been is simulated. What a ring learns is computed in one process, whose weights a ring's are bit \
             for bit where tensors are written in 32 bits; the 16 bits that its hops have here are left out. Teams compute as they are simulated, in 16 bits.",
        ),
        Experiment::Resilience => (
            "Resilience",
            "Seconds of the same run undisturbed and with devices that die unnoticed: one in the middle third of the run, which is back as a newcomer after 5 s, or is not; or every device, once in twenty or in five minutes in the \
             mean. All keep copies: rings of layers, as often as slows them by at most a twentieth, the others of the parts of the parameters, which take at most a twentieth of what their devices send, or of the time on a phone's Wi-Fi.",
        ),
        Experiment::Scaling => (
            "Scaling",
            "Samples per second of one run with the same batch on more devices, equal and mixed; then a model of 130 layers on up to a thousand.",
        ),
        Experiment::Capacity => (
            "Capacity",
            "The largest transformer that is trained under a cap of memory for each device, by growing its depth or its width until it is refused. Rings are refused by the room; for the others \
             the same formula is asked with the least that works: weights, gradients, the optimizer's memory, activations (a worker works its share of the batch off one micro-batch after the other), and what waits. Nobody's transport buffers are counted.",
        ),
        Experiment::Real => (
            "For real, beside the simulator",
            "Three native peers in one process of this machine, over WebRTC, each as slow as a device of which this machine can be three at once; and the same run simulated. All of it is told, filling and \
             draining too; of a team from when its last worker begins. A run in which tasks took longer in sum than they should have is refused: there this machine was what was measured.",
        ),
        Experiment::Scale => (
            "Scaling for real, beside the simulator",
            "One to eight native peers in one process of this machine, over WebRTC, each as slow as a device of which this machine can be eight at once, whatever their number; and the same run simulated. Filling and draining are told too. A run in which tasks took longer in sum than they should have is refused.",
        ),
        Experiment::Losses => (
            "Losses for real, beside the simulator",
            "Three processes on this machine, each as slow as a device of which this machine can be three at once, train with copies of each other's layers or parts. In the middle third of the run the system holds one of them still, so that nobody is told; it stays so, or is replaced by a newcomer after 5 s. The same is simulated.",
        ),
        Experiment::Lasting => (
            "What losses leave of what is learnt, for real",
            "Three processes on this machine teach a perceptron to read digits, with copies of each other's layers or parts. One of them is held still by the system, so that nobody is told; or three of them are, one after the other, each once another device has come. Told is the share of held-out digits that is \
             read right in the end, beside the undisturbed run of the same seed.",
        ),
        Experiment::Courses => (
            "Learning for real, beside the simulator",
            "Three native peers in one process of this machine, over WebRTC, each as slow as a device of which this machine can be three at once, teach a perceptron to read digits; and the same run simulated, with real gradients. Told is the share of held-out digits that is read \
             right after every few steps, and when. A run in which tasks took longer in sum than they should have is refused.",
        ),
        Experiment::Tabs => (
            "What tabs of a browser really train",
            "The width of a transformer of four blocks is grown until tabs of a headless browser of this machine do not train it any more, for two steps, on the CPU. Here tabs are told to give more memory than they have, so that no \
             formula refuses anything: what ends the growing is the browser, or that a step takes longer than two minutes; the reason is told. A size is refused once it has failed twice. A tab's memory is that of 32-bit WebAssembly, 4 GiB at most, whatever the machine has.",
        ),
        Experiment::Hosts => (
            "Native against browser",
            "The same ring on this machine, as fast as it goes: once of native processes, once of tabs of a headless browser. Each is run twice, once three times as long, and the difference is told, so that \
             starting and ending do not count. All processes do: server, devices, and the whole browser.",
        ),
        Experiment::Energy => (
            "Energy",
            "No meter was read, as devices are simulated: so what counts is first the core-seconds of all devices for each sample. Below are estimated joules for each sample: idle watts of all devices (servers counted) times wall time, what busy cores add, and what bytes and packets add. Thin lines span the coefficients' \
             lows and highs, which err alike in all bars.",
        ),
    }
}

/// Writes an experiment's section.
pub(super) fn experiment(experiment: Experiment, groups: &[Group], page: &mut String) {
    let (title, about) = told(experiment);
    push(page, format_args!("<h2>{title}</h2>\n<p>{about}</p>\n"));
    for part in parts(groups) {
        match experiment {
            Experiment::Idle => idle(&part, page),
            Experiment::Scaling => scaling(&part, page),
            Experiment::Progress => course::progress(&part, page),
            Experiment::Resilience => course::resilience(&part, page),
            Experiment::Capacity => capacity(&part, page),
            Experiment::Energy => energy(&part, page),
            Experiment::Real => real::real(&part, page),
            Experiment::Scale => real::scale(&part, page),
            Experiment::Losses => losses::losses(&part, page),
            Experiment::Lasting => lasting::lasting(&part, page),
            Experiment::Courses => courses::courses(&part, page),
            Experiment::Tabs => capacity(&part, page),
            Experiment::Hosts => hosts::hosts(&part, page),
        }
    }
    if experiment == Experiment::Progress {
        course::spread(groups, page);
    }
}

/// Groups of one kind, model and kind of device together, in order.
fn parts(groups: &[Group]) -> Vec<Vec<&Group>> {
    let mut parts: Vec<Vec<&Group>> = Vec::new();
    for group in groups {
        let same = |other: &Group| {
            let (one, other) = (&group.cell, &other.cell);
            let alike = match (one.kind, other.kind) {
                (Kind::Resilience { .. }, Kind::Resilience { .. })
                | (Kind::Struck { .. }, Kind::Struck { .. })
                | (Kind::Lasting { .. }, Kind::Lasting { .. })
                | (Kind::Real { .. }, Kind::Real { .. })
                | (Kind::Hosted { .. }, Kind::Hosted { .. }) => true,
                (one, other) => one == other,
            };
            alike && one.model == other.model && one.profile == other.profile
        };
        match parts.iter_mut().find(|part| same(part[0])) {
            Some(part) => part.push(group),
            None => parts.push(vec![group]),
        }
    }
    parts
}

/// Those of whom a plot of lines is still legible: without staleness, and one with the most.
fn is_drawn(way: Way) -> bool {
    match way {
        Way::Ring(_) | Way::AllReduce => true,
        Way::FewRing(mode) => mode == Mode::Sync,
        Way::ParameterServer { placement, tau } => {
            tau == Staleness::Steps(0)
                || (tau == Staleness::Infinite && placement == Placement::Colocated)
        }
    }
}

fn lines(part: &[&Group], title: String, y: &'static str, measure: &Measure, log: bool) -> Lines {
    let mut series: Vec<(String, Vec<_>)> = Vec::new();
    for group in part.iter().filter(|group| is_drawn(group.cell.way)) {
        let Some(value) = group.figure(measure.figure) else {
            continue;
        };
        let name = group.cell.way.to_string();
        let point = (group.cell.peers, value);
        match series.iter_mut().find(|(other, _)| *other == name) {
            Some((_, points)) => points.push(point),
            None => series.push((name, vec![point])),
        }
    }
    Lines {
        title,
        y,
        percent: measure.percent,
        logarithmic: log,
        series,
    }
}

/// A finding, a paragraph for each of its lines.
pub(super) fn tell(finding: &str, page: &mut String) {
    page.push_str("<div class=\"finding\">\n");
    for line in finding.lines().filter(|line| !line.is_empty()) {
        push(page, format_args!("<p>{}</p>\n", escaped(line)));
    }
    page.push_str("</div>\n");
}

fn idle(part: &[&Group], page: &mut String) {
    let first = &part[0].cell;
    let most = part.iter().map(|group| group.cell.peers).max().unwrap_or(0);
    let bars = part.iter().filter(|group| group.cell.peers == most);
    let bar = |group: &&&Group| {
        let whole = group.figure(IDLE.figure)?;
        let kinds: [fn(&crate::Figures) -> f64; 5] = [
            |figures| figures.idle_input,
            |figures| figures.idle_link,
            |figures| figures.idle_credit,
            |figures| figures.idle_weights,
            |figures| figures.idle_spare,
        ];
        let parts = kinds.map(|kind| group.figure(kind).map_or(0.0, |value| value.mean));
        Some(Bar {
            name: group.cell.way.to_string(),
            parts: parts.to_vec(),
            interval: Some((whole.low(), whole.high())),
            label: format!("{:.1}%", 100.0 * whole.mean),
        })
    };
    let bars = Bars {
        title: format!("Idle by cause: {}, {most} x {}", first.model, first.profile),
        kinds: vec!["input", "link", "credit", "weights", "spare"],
        bars: bars.filter_map(|group| bar(&group)).collect(),
        most: Some(1.0),
    };
    page.push_str(&bars.svg());
    let title = format!(
        "Idle by number of devices: {}, {}",
        first.model, first.profile
    );
    page.push_str(&lines(part, title, "workers' idle share", &IDLE, false).svg());
    let workers = findings::finding(part, &IDLE);
    let devices = findings::finding(part, &IDLE_DEVICES);
    let causes = findings::causes(part, &IDLE);
    tell(
        &format!(
            "Workers' idle time. {workers}\nWith servers counted as devices that idle as well. {devices}\n{causes}"
        ),
        page,
    );
    page.push_str(&table(part, &IDLE));
}

fn scaling(part: &[&Group], page: &mut String) {
    let first = &part[0].cell;
    let title = format!("Throughput: {}, {}", first.model, first.profile);
    page.push_str(&lines(part, title, "samples/s, logarithmic", &THROUGHPUT, true).svg());
    let (finding, causes) = (
        findings::finding(part, &THROUGHPUT),
        findings::causes(part, &THROUGHPUT),
    );
    tell(&format!("{finding}\n{causes}"), page);
    page.push_str(&table(part, &THROUGHPUT));
}

fn capacity(part: &[&Group], page: &mut String) {
    let first = &part[0].cell;
    let what = match first.kind {
        Kind::Capacity(Capacity::Width) => {
            format!("width, {} blocks", first.model.depth.unwrap_or(0))
        }
        _ => {
            format!("depth, width {}", first.model.width.unwrap_or(0))
        }
    };
    let alike = part.iter().all(|group| group.cell.peers == first.peers);
    let devices = match alike {
        true => format!("{} x {}", first.peers, first.profile),
        false => format!("tabs on {}", first.profile),
    };
    let bar = |group: &&Group| {
        let (size, label) = match group.outcomes.first()? {
            Outcome::Grew {
                model, parameters, ..
            } => {
                let millions = *parameters as f64 / 1e6;
                (millions, format!("{} M ({model})", short(millions)))
            }
            Outcome::Refused { .. } => (0.0, "refused at once".to_owned()),
            _ => return None,
        };
        Some(Bar {
            name: match alike {
                true => group.cell.way.to_string(),
                false => format!("{}, {}", group.cell.way, group.cell.peers),
            },
            parts: vec![size],
            interval: None,
            label,
        })
    };
    let bars: Vec<Bar> = part.iter().filter_map(bar).collect();
    let longest = bars.iter().map(|bar| bar.parts[0]).fold(1e-9, f64::max);
    let chart = Bars {
        title: format!("Largest model by {what}: {devices}, millions of parameters"),
        kinds: vec!["parameters"],
        bars,
        // Leaves place for the label of the longest.
        most: Some(longest * 1.15),
    };
    page.push_str(&chart.svg());
    tell(&findings::capacity(part), page);
    what_ended(part, page);
}

/// What was refused, by way.
fn what_ended(part: &[&Group], page: &mut String) {
    page.push_str("<details><summary>What ended the growing</summary><table><tr><th>way<th>largest<th>refused<th>reason</tr>\n");
    for group in part {
        let (largest, refused, reason) = match group.outcomes.first() {
            Some(Outcome::Grew {
                model,
                refused,
                reason,
                ..
            }) => (model.to_string(), refused.to_string(), reason.as_str()),
            Some(Outcome::Refused { reason }) => {
                ("none".to_owned(), String::new(), reason.as_str())
            }
            _ => continue,
        };
        push(
            page,
            format_args!(
                "<tr><td>{}<td>{largest}<td>{refused}<td>{}</tr>\n",
                group.cell.way,
                escaped(reason)
            ),
        );
    }
    page.push_str("</table></details>\n");
}

/// Core-seconds first: no meter was read, so that joules are estimates.
fn energy(part: &[&Group], page: &mut String) {
    let first = &part[0].cell;
    let bar = |group: &&Group| {
        let value = group.figure(CORE_SECONDS.figure)?;
        Some(Bar {
            name: group.cell.way.to_string(),
            parts: vec![value.mean],
            interval: Some((value.low(), value.high())),
            label: short(value.mean),
        })
    };
    let chart = Bars {
        title: format!(
            "Core-seconds per sample: {}, {} x {}",
            first.model, first.peers, first.profile
        ),
        kinds: vec!["core-seconds"],
        bars: part.iter().filter_map(bar).collect(),
        most: None,
    };
    page.push_str(&chart.svg());
    tell(&findings::finding(part, &CORE_SECONDS), page);
    page.push_str(&table(part, &CORE_SECONDS));
    joules(part, page);
}

fn joules(part: &[&Group], page: &mut String) {
    let first = &part[0].cell;
    let bar = |group: &&Group| {
        let of = |figure: fn(&crate::outcome::Joules) -> f64| {
            let value = group.figure(|figures| figure(&figures.joules));
            value.map(|value| value.mean)
        };
        let whole = of(|joules| joules.estimated_joules_per_sample)?;
        let idle = of(|joules| joules.estimated_joules_per_sample_idle)?;
        let network = of(|joules| joules.estimated_joules_per_sample_network)?;
        let low = of(|joules| joules.estimated_joules_per_sample_low)?;
        let high = of(|joules| joules.estimated_joules_per_sample_high)?;
        Some(Bar {
            name: group.cell.way.to_string(),
            parts: vec![idle, whole - idle - network, network],
            interval: Some((low, high)),
            label: short(whole),
        })
    };
    let chart = Bars {
        title: format!(
            "Estimated J per sample: {}, {} x {}",
            first.model, first.peers, first.profile
        ),
        kinds: vec!["being there", "computing", "network"],
        bars: part.iter().filter_map(bar).collect(),
        most: None,
    };
    page.push_str(&chart.svg());
    let finding = findings::finding(part, &JOULES);
    tell(
        &format!(
            "Estimated, with intervals over seeds; a way wins only if it also takes {ENERGY_FACTOR} times less, since estimates closer than that cannot be told apart.\n{finding}"
        ),
        page,
    );
    page.push_str(&table(part, &JOULES));
}
