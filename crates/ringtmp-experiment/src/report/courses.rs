//! The section of real peers that learn.

use super::sections::tell;
use super::table::refusals;
use crate::cell::Cell;
use crate::chart::{escaped, push, short};
use crate::curves::Curves;
use crate::findings;
use crate::groups::{Estimate, Group};
use crate::outcome::{Outcome, Reached};

/// A run's course, real and simulated.
type Pair<'a> = [&'a [Reached]; 2];

fn pair(outcome: &Outcome) -> Option<Pair<'_>> {
    match outcome {
        Outcome::Taught { real, simulated } => Some([real.as_slice(), simulated.as_slice()]),
        Outcome::Ran(_)
        | Outcome::Grew { .. }
        | Outcome::Real(_)
        | Outcome::Struck(_)
        | Outcome::Lasted(_)
        | Outcome::Spent(_)
        | Outcome::Learnt { .. }
        | Outcome::Refused { .. } => None,
    }
}

fn pairs(group: &Group) -> Vec<Pair<'_>> {
    group.outcomes.iter().filter_map(pair).collect()
}

/// One figure of where runs ended, real and simulated.
fn ends(pairs: &[Pair<'_>], figure: fn(&Reached) -> f64) -> Option<(Estimate, Estimate)> {
    let of = |which: usize| {
        let last = pairs.iter().filter_map(|pair| pair[which].last());
        Estimate::of(&last.map(figure).collect::<Vec<_>>())
    };
    of(0).zip(of(1))
}

/// By how much accuracies under the same seed and after the same updates differ at most.
fn apart(pairs: &[Pair<'_>]) -> f64 {
    let both = pairs
        .iter()
        .flat_map(|[real, simulated]| real.iter().zip(*simulated));
    let apart = both.map(|(real, simulated)| (real.accuracy - simulated.accuracy).abs());
    apart.fold(0.0, f64::max)
}

/// Means over the seeds, evaluation by evaluation: seconds and accuracy.
fn mean(courses: &[&[Reached]]) -> Vec<[f64; 2]> {
    let shortest = courses.iter().map(|course| course.len()).min().unwrap_or(0);
    let count = courses.len() as f64;
    let at = |place: usize| {
        let of = |part: fn(&Reached) -> f64| {
            let sum: f64 = courses.iter().map(|course| part(&course[place])).sum();
            sum / count
        };
        [
            of(|reached| reached.seconds),
            of(|reached| reached.accuracy),
        ]
    };
    (0..shortest).map(at).collect()
}

/// What is read right by seconds, real and simulated.
fn curves<'a>(
    whose: &str,
    first: &Cell,
    all: impl Iterator<Item = &'a (&'a Group, Vec<Pair<'a>>)>,
) -> Curves {
    let series = all.flat_map(|(group, pairs)| {
        let of = |which: usize| {
            let courses: Vec<&[Reached]> = pairs.iter().map(|pair| pair[which]).collect();
            mean(&courses)
        };
        let way = group.cell.way;
        [
            (format!("{way}"), of(0)),
            (format!("{way}, simulated"), of(1)),
        ]
    });
    Curves {
        title: format!(
            "Digits read right, for real and simulated: {}, {} peers, {whose}",
            first.model, first.peers
        ),
        axes: "seconds; share of held-out digits that is read right".to_owned(),
        until: None,
        series: series.filter(|(_, points)| !points.is_empty()).collect(),
    }
}

pub(super) fn courses(part: &[&Group], page: &mut String) {
    let first = &part[0].cell;
    let all: Vec<(&Group, Vec<Pair<'_>>)> =
        part.iter().map(|group| (*group, pairs(group))).collect();
    // Apart, so that each line has a colour of its own.
    for (whose, are_rings) in [("rings", true), ("whole models", false)] {
        let some = all.iter();
        let some = some.filter(|(group, _)| group.cell.way.is_ring() == are_rings);
        page.push_str(&curves(whose, first, some).svg());
    }
    let told = all.iter().map(|(group, pairs)| {
        let last = pairs.first().and_then(|[real, _]| real.last());
        findings::Taught {
            way: group.cell.way.to_string(),
            runs: [group.outcomes.len(), group.refusals()],
            steps: last.map_or(0, |reached| reached.steps),
            accuracy: ends(pairs, |reached| reached.accuracy),
            apart: apart(pairs),
            seconds: ends(pairs, |reached| reached.seconds),
        }
    });
    tell(&findings::taught(&told.collect::<Vec<_>>()), page);
    figures_table(part, &all, page);
}

/// All figures, and what was refused.
fn figures_table(part: &[&Group], all: &[(&Group, Vec<Pair<'_>>)], page: &mut String) {
    page.push_str(
        "<details open><summary>Figures, and what was refused</summary><table><tr><th>way<th>read right in the end<th>simulated<th>most apart<th>seconds<th>simulated</tr>\n",
    );
    for (group, pairs) in all {
        let [right, right_simulated] = both(ends(pairs, |reached| reached.accuracy), |v| {
            let [mean, half] = [v.mean, v.half_width].map(|share| 100.0 * share);
            format!("{mean:.1}&nbsp;±&nbsp;{half:.1}&nbsp;%")
        });
        let [seconds, seconds_simulated] = both(ends(pairs, |reached| reached.seconds), |v| {
            format!("{}&nbsp;±&nbsp;{}", short(v.mean), short(v.half_width))
        });
        push(
            page,
            format_args!(
                "<tr><td>{}<td>{right}<td>{right_simulated}<td>{}&nbsp;%<td>{seconds}<td>{seconds_simulated}</tr>\n",
                escaped(&group.cell.way.to_string()),
                short(100.0 * apart(pairs)),
            ),
        );
    }
    page.push_str("</table>");
    refusals(part, page);
    page.push_str("</details>\n");
}

fn both(values: Option<(Estimate, Estimate)>, told: impl Fn(Estimate) -> String) -> [String; 2] {
    match values {
        Some((real, simulated)) => [told(real), told(simulated)],
        None => ["refused".to_owned(), "refused".to_owned()],
    }
}
