//! What losses cost, in sentences.

use super::{Better, Contest, Measure};
use crate::cell::Trouble;
use crate::chart::short;
use crate::groups::{Estimate, Group, are_enough, few};

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

/// What one way has learnt in the end, undisturbed and where devices were lost.
pub(crate) struct Lasting {
    pub(crate) way: String,
    /// The share that is read right; none where all runs were refused.
    pub(crate) undisturbed: Option<Estimate>,
    pub(crate) troubles: Vec<Disturbed>,
}

/// Runs in which devices were lost.
pub(crate) struct Disturbed {
    /// What happened.
    pub(crate) words: &'static str,
    /// How many, and how many of them did not come to their end.
    pub(crate) runs: [usize; 2],
    /// By how much more is read right than in the undisturbed run, seed by seed.
    pub(crate) more: Vec<f64>,
}

/// Whether as much is learnt in the end though devices are lost.
pub(crate) fn lasting(all: &[Lasting]) -> String {
    let told = |one: &Lasting| {
        let way = &one.way;
        let Some(whole) = one.undisturbed else {
            return format!("{way}: nothing to compare, no undisturbed run came to its end");
        };
        let [mean, half] = [whole.mean, whole.half_width].map(|share| 100.0 * share);
        let troubles: Vec<String> = one.troubles.iter().map(disturbed).collect();
        format!(
            "{way}: {mean:.1} ± {half:.1}% read right undisturbed; {}",
            troubles.join("; ")
        )
    };
    let all: Vec<String> = all.iter().map(told).collect();
    format!("{}.", all.join(".\n"))
}

/// What came of what was learnt, in one trouble.
fn disturbed(one: &Disturbed) -> String {
    let [runs, ended] = one.runs;
    let words = one.words;
    let Some(more) = Estimate::of(&one.more) else {
        return format!("{words}: nothing to compare, no run came to its end");
    };
    let most = one.more.iter().map(|points| points.abs());
    let most = most.fold(0.0, f64::max);
    let compared = if most == 0.0 {
        "the same under every seed".to_owned()
    } else {
        let [mean, half] = [more.mean, more.half_width].map(|share| 100.0 * share);
        let verdict = match more.low() > 0.0 || more.high() < 0.0 {
            true if are_enough(more.seeds) => "which seeds show",
            _ => "no difference that seeds would show",
        };
        format!(
            "{mean:+.1} ± {half:.1} points, {verdict}; at most {:.1} apart under the same seed",
            100.0 * most
        )
    };
    let ended = match ended {
        0 => String::new(),
        ended => format!(
            ", of those {} of {runs} runs that came to their end",
            runs - ended
        ),
    };
    format!("{words}: {compared}{}{ended}", few(more.seeds))
}
