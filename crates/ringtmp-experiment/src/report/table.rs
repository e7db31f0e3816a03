//! Cells as text.

use crate::cell::{Figures, Host, Joules, Kind, Outcome, Point, Spent, Trouble};
use crate::chart::{escaped, push, short};
use crate::findings::Measure;
use crate::grid::Experiment;
use crate::groups::Group;
use crate::store::Finished;

const COLUMNS: &str = "experiment,kind,model,way,profile,devices,seed,outcome,samples_per_second,seconds,idle_workers,idle_input,idle_link,idle_credit,idle_weights,idle_spare,idle_devices,core_seconds_per_sample,bytes_per_sample,devices_used,busiest_device,busiest_link,drift,recoveries,steps_repeated,seconds_lost,steps_learnt,loss,accuracy,estimated_joules_per_sample,estimated_joules_per_sample_low,estimated_joules_per_sample_high,largest_model,parameters,reason,digest\n";

/// A line for each cell and seed.
pub(super) fn csv(experiments: &[(Experiment, Vec<Finished>)]) -> String {
    let mut text = COLUMNS.to_owned();
    for (experiment, cells) in experiments {
        for one in cells {
            let cell = &one.cell;
            let kind = kind(cell.kind);
            push(
                &mut text,
                format_args!(
                    "{experiment},{kind},{},{},{},{},{},",
                    cell.model,
                    quoted(&cell.way.to_string()),
                    cell.profile,
                    cell.peers,
                    cell.seed
                ),
            );
            text.push_str(&told(&one.outcome));
            text.push_str(&one.digest);
            text.push('\n');
        }
    }
    text
}

/// The columns of an outcome, up to the digest.
fn told(outcome: &Outcome) -> String {
    let ran = |kind: &str, figures: &Figures, learnt: Point| {
        format!("{kind},{},,,,", numbers(figures, learnt))
    };
    match outcome {
        Outcome::Ran(figures) => ran("ran", figures, Point::default()),
        Outcome::Grew {
            model,
            parameters,
            reason,
            ..
        } => format!(
            "grew{}{model},{parameters},{},",
            ",".repeat(25),
            quoted(reason)
        ),
        Outcome::Real(compared) => {
            let figures = Figures {
                throughput: compared.throughput,
                idle: compared.idle,
                ..Figures::default()
            };
            ran("real", &figures, Point::default())
        }
        Outcome::Struck(struck) => {
            let figures = Figures {
                seconds: struck.seconds,
                recoveries: struck.recoveries,
                repeated: struck.repeated,
                ..Figures::default()
            };
            ran("struck", &figures, Point::default())
        }
        Outcome::Spent(spent) => ran("spent", &as_figures(spent), Point::default()),
        Outcome::Taught { real, .. } => {
            let last = real.last().copied().unwrap_or_default();
            let figures = Figures {
                seconds: last.seconds,
                ..Figures::default()
            };
            let learnt = Point {
                steps: f64::from(last.steps),
                accuracy: last.accuracy,
                ..Point::default()
            };
            ran("taught", &figures, learnt)
        }
        Outcome::Learnt { points } => {
            let last = points.last().copied().unwrap_or_default();
            let figures = Figures {
                seconds: last.seconds,
                ..Figures::default()
            };
            ran("learnt", &figures, last)
        }
        Outcome::Refused { reason } => {
            format!("refused{}{},", ",".repeat(27), quoted(reason))
        }
    }
}

/// What real devices took, in the columns of simulated ones.
fn as_figures(spent: &Spent) -> Figures {
    Figures {
        throughput: spent.seconds_per_sample.recip(),
        core_seconds_per_sample: spent.core_seconds_per_sample,
        joules: Joules {
            estimated_joules_per_sample: spent.estimated_joules_per_sample,
            estimated_joules_per_sample_low: spent.estimated_joules_per_sample_low,
            estimated_joules_per_sample_high: spent.estimated_joules_per_sample_high,
            ..Joules::default()
        },
        ..Figures::default()
    }
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Run { .. } => "run",
        Kind::Capacity(_) => "capacity",
        Kind::Progress { .. } => "progress",
        Kind::Real { .. } => "real",
        Kind::Taught { .. } => "taught",
        Kind::Hosted { host, .. } => match host {
            Host::Native => "native",
            Host::Browser => "browser",
        },
        Kind::Resilience { trouble, .. } | Kind::Struck { trouble, .. } => match trouble {
            Trouble::None => "undisturbed",
            Trouble::Away => "away",
            Trouble::Gone => "gone",
            Trouble::Random => "random",
        },
    }
}

fn numbers(figures: &Figures, learnt: Point) -> String {
    let joules = figures.joules;
    let all = [
        figures.throughput,
        figures.seconds,
        figures.idle,
        figures.idle_input,
        figures.idle_link,
        figures.idle_credit,
        figures.idle_weights,
        figures.idle_spare,
        figures.idle_devices,
        figures.core_seconds_per_sample,
        figures.bytes_per_sample,
        figures.devices_used,
        figures.busiest_device,
        figures.busiest_link,
        figures.drift,
        figures.recoveries,
        figures.repeated,
        figures.seconds_lost,
        learnt.steps,
        learnt.loss,
        learnt.accuracy,
        joules.estimated_joules_per_sample,
        joules.estimated_joules_per_sample_low,
        joules.estimated_joules_per_sample_high,
    ];
    all.map(|number| number.to_string()).join(",")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// One figure, way by way and number of devices by number of devices, with the refusals.
pub(super) fn table(groups: &[&Group], measure: &Measure) -> String {
    let mut peers: Vec<u16> = groups.iter().map(|group| group.cell.peers).collect();
    peers.sort_unstable();
    peers.dedup();
    let mut text =
        "<details><summary>Figures, and what was refused</summary><table><tr><th>way".to_owned();
    for peers in &peers {
        push(&mut text, format_args!("<th>{peers}"));
    }
    text.push_str("</tr>\n");
    let mut ways: Vec<String> = Vec::new();
    for group in groups {
        let way = group.cell.way.to_string();
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    for way in ways {
        push(&mut text, format_args!("<tr><td>{way}"));
        for peers in &peers {
            let at = groups
                .iter()
                .find(|g| g.cell.peers == *peers && g.cell.way.to_string() == way);
            let told = at.map_or_else(String::new, |group| cell(group, measure));
            push(&mut text, format_args!("<td>{told}"));
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</table>");
    refusals(groups, &mut text);
    text.push_str("</details>\n");
    text
}

fn cell(group: &Group, measure: &Measure) -> String {
    match group.figure(measure.figure) {
        Some(value) if measure.percent => {
            let [mean, half] = [value.mean, value.half_width].map(|share| 100.0 * share);
            format!("{mean:.1}&nbsp;±&nbsp;{half:.1}&nbsp;%")
        }
        Some(value) => format!(
            "{}&nbsp;±&nbsp;{}",
            short(value.mean),
            short(value.half_width)
        ),
        None => "refused".to_owned(),
    }
}

/// Each reason once, with who was refused for it.
pub(super) fn refusals(groups: &[&Group], text: &mut String) {
    let mut told: Vec<(String, Vec<String>)> = Vec::new();
    for group in groups {
        let Some(reason) = group.refusal() else {
            continue;
        };
        let who = format!("{} at {}", group.cell.way, group.cell.peers);
        match told.iter_mut().find(|(other, _)| other == reason) {
            Some((_, all)) => all.push(who),
            None => told.push((reason.to_owned(), vec![who])),
        }
    }
    for (reason, all) in told {
        push(
            text,
            format_args!(
                "<p><small>Refused: {}. \u{201c}{}\u{201d}</small></p>",
                escaped(&all.join(", ")),
                escaped(&reason)
            ),
        );
    }
}
