//! What losses cost, in sentences.

use super::{Better, Contest, Measure};
use crate::cell::Trouble;
use crate::chart::short;
use crate::groups::{Estimate, Group};

/// What each way loses in each trouble.
pub(crate) fn resilience(all: &[(Trouble, &Group)]) -> String {
    let seconds =
        |value: Estimate| format!("{} ± {} s", short(value.mean), short(value.half_width));
    let undisturbed = all.iter().filter(|(trouble, _)| *trouble == Trouble::None);
    let mut text = String::new();
    let mut cannot = Vec::new();
    for (_, whole) in undisturbed {
        let way = whole.cell.way;
        let troubles = all
            .iter()
            .filter(|(trouble, group)| *trouble != Trouble::None && group.cell.way == way);
        let told: Vec<String> = troubles
            .filter_map(|(trouble, group)| lost(*trouble, group))
            .collect();
        if told.is_empty() {
            cannot.push(way.to_string());
        }
        let takes = whole.figure(|figures| figures.seconds);
        let takes = takes.map_or_else(
            || "is refused".to_owned(),
            |s| format!("takes {}", seconds(s)),
        );
        let told = if told.is_empty() {
            "; a loss ends it".to_owned()
        } else {
            format!("; {}", told.join("; "))
        };
        text.push_str(&format!("{way} {takes} undisturbed{told}.\n"));
    }
    for trouble in Trouble::ALL {
        let of = all.iter().filter(|(other, _)| *other == trouble);
        let of: Vec<&Group> = of.map(|(_, group)| *group).collect();
        if trouble != Trouble::None && !of.is_empty() {
            let lost = loses_least(&of);
            text.push_str(&format!("{}: {lost}.\n", trouble.words()));
        }
    }
    if !cannot.is_empty() {
        let which = cannot.join(", ");
        text.push_str(&format!(
            "{which}: too few were left to go on, as the refusals say."
        ));
    }
    text
}

/// Which family loses the least time where something happens, and which of them ends such a run soonest.
fn loses_least(groups: &[&Group]) -> String {
    let told = |measure: &Measure, what: &str| {
        let contest = Contest::of(groups.iter().copied(), measure);
        let figures = contest.best.iter();
        let figures = figures.map(|(family, group, value)| {
            format!(
                "{} {} ({})",
                family.words(),
                measure.told(*value),
                group.cell.way
            )
        });
        let figures: Vec<String> = figures.collect();
        match contest.winner(measure) {
            Some(winner) => format!("{} {what}: {}", winner.words(), figures.join(", ")),
            None => format!("none clearly {what}: {}", figures.join(", ")),
        }
    };
    let lost = told(&LOST, "loses the least time");
    let whole = told(&WHOLE, "ends such a run soonest");
    format!("{lost}; {whole}")
}

/// What one way loses in one trouble; none where it cannot go on.
fn lost(trouble: Trouble, group: &Group) -> Option<String> {
    let (runs, ended) = (group.outcomes.len(), group.refusals());
    let lost = group.figure(|figures| figures.seconds_lost)?;
    let repeated = group.figure(|figures| figures.repeated)?;
    let through = if ended > 0 {
        format!(
            " in the {} of {runs} runs that came to their end",
            runs - ended
        )
    } else {
        String::new()
    };
    Some(format!(
        "{}: {} ± {} s more, {} steps made again{through}",
        trouble.words(),
        short(lost.mean),
        short(lost.half_width),
        short(repeated.mean)
    ))
}

/// Time lost by what happens.
const LOST: Measure = Measure {
    figure: |figures| figures.seconds_lost,
    better: Better::Less,
    unit: "s",
    percent: false,
    factor: 1.0,
};

/// The whole run.
const WHOLE: Measure = Measure {
    figure: |figures| figures.seconds,
    ..LOST
};
