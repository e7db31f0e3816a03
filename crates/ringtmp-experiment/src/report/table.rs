//! Cells as text.

use super::columns::{COLUMNS, numbers};
use crate::cell::{Host, Kind};
use crate::chart::{escaped, push, short};
use crate::findings::Measure;
use crate::grid::Experiment;
use crate::groups::{Estimate, Group};
use crate::outcome::Outcome;
use crate::store::Finished;

/// A line for each cell and seed. What was not measured is empty, and not 0.
pub(super) fn csv(experiments: &[(Experiment, Vec<Finished>)]) -> String {
    let mut text = format!(
        "experiment,kind,model,way,profile,devices,seed,outcome,{},largest_model,smallest_refused,parameters,reason,digest\n",
        COLUMNS.join(",")
    );
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
    let figures = numbers(outcome);
    let figures = COLUMNS.map(|column| {
        let figure = figures.get(column);
        figure.map_or_else(String::new, f64::to_string)
    });
    let figures = figures.join(",");
    let name = name(outcome);
    match outcome {
        Outcome::Grew {
            model,
            parameters,
            refused,
            reason,
        } => format!(
            "{name},{figures},{model},{refused},{parameters},{},",
            quoted(reason)
        ),
        Outcome::Refused { reason } => format!("{name},{figures},,,,{},", quoted(reason)),
        Outcome::Ran(_)
        | Outcome::Real(_)
        | Outcome::Struck(_)
        | Outcome::Lasted(_)
        | Outcome::Spent(_)
        | Outcome::Taught { .. }
        | Outcome::Learnt { .. } => format!("{name},{figures},,,,,"),
    }
}

const fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Ran(_) => "ran",
        Outcome::Grew { .. } => "grew",
        Outcome::Real(_) => "real",
        Outcome::Struck(_) => "struck",
        Outcome::Lasted(_) => "lasted",
        Outcome::Spent(_) => "spent",
        Outcome::Taught { .. } => "taught",
        Outcome::Learnt { .. } => "learnt",
        Outcome::Refused { .. } => "refused",
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
        Kind::Resilience { trouble, .. }
        | Kind::Struck { trouble, .. }
        | Kind::Lasting { trouble, .. } => trouble.word(),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A figure over the seeds of real runs, as a table has it.
pub(super) fn plain(value: Option<Estimate>) -> String {
    value.map_or_else(
        || "refused".to_owned(),
        |v| format!("{}&nbsp;±&nbsp;{}", short(v.mean), short(v.half_width)),
    )
}

/// One figure with its unit, way by way and number of devices by number of devices, with the refusals.
pub(super) fn table(groups: &[&Group], measure: &Measure) -> String {
    let mut peers: Vec<u16> = groups.iter().map(|group| group.cell.peers).collect();
    peers.sort_unstable();
    peers.dedup();
    let mut text = format!(
        "<details><summary>Figures, and what was refused</summary><table><caption>{}, by number of devices</caption><tr><th>way",
        measure.unit
    );
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
    let Some(value) = group.figure(measure.figure) else {
        return "refused".to_owned();
    };
    let told = if measure.percent {
        let [mean, half] = [value.mean, value.half_width].map(|share| 100.0 * share);
        format!("{mean:.1}&nbsp;±&nbsp;{half:.1}&nbsp;%")
    } else {
        format!(
            "{}&nbsp;±&nbsp;{}",
            short(value.mean),
            short(value.half_width)
        )
    };
    let (missing, runs) = (group.refusals(), group.outcomes.len());
    match missing {
        0 => told,
        missing => format!("{told} ({} of {runs} runs)", runs - missing),
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
