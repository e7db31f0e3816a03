//! The section of what is learnt in the end though devices are lost.

use super::sections::tell;
use super::table::{plain, refusals};
use crate::cell::{Kind, Trouble};
use crate::chart::{Bar, Bars, escaped, push};
use crate::findings;
use crate::groups::{Estimate, Group};
use crate::outcome::{Lasted, Outcome};

/// What happens, in words.
const fn words(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::None => "undisturbed",
        Trouble::Away => "one lost, after another has come",
        Trouble::Gone => "one gone for good",
        Trouble::Seldom | Trouble::Often => "three lost in turn, each after another has come",
    }
}

fn trouble(group: &Group) -> Trouble {
    match group.cell.kind {
        Kind::Lasting { trouble, .. } => trouble,
        _ => Trouble::None,
    }
}

/// What was learnt under each seed.
fn lasted(group: &Group) -> impl Iterator<Item = (u64, &Lasted)> {
    let seeds = group.seeds.iter().zip(&group.outcomes);
    seeds.filter_map(|(seed, outcome)| match outcome {
        Outcome::Lasted(lasted) => Some((*seed, lasted)),
        _ => None,
    })
}

/// One figure over the seeds.
fn figure(group: &Group, figure: fn(&Lasted) -> f64) -> Option<Estimate> {
    let all = lasted(group).map(|(_, lasted)| figure(lasted));
    Estimate::of(&all.collect::<Vec<_>>())
}

/// By how much more is read right than in the undisturbed run, seed by seed.
fn more(group: &Group, undisturbed: &Group) -> Vec<f64> {
    let of = |seed: u64| lasted(undisturbed).find(|(other, _)| *other == seed);
    let all = lasted(group);
    all.filter_map(|(seed, one)| Some(one.accuracy - of(seed)?.1.accuracy))
        .collect()
}

pub(super) fn lasting(part: &[&Group], page: &mut String) {
    let first = &part[0].cell;
    let bars = part.iter().filter_map(|group| {
        let value = figure(group, |lasted| lasted.accuracy)?;
        Some(Bar {
            name: format!("{}, {}", group.cell.way, words(trouble(group))),
            parts: vec![value.mean],
            interval: Some((value.low(), value.high())),
            label: format!("{:.1}%", 100.0 * value.mean),
        })
    });
    let bars = Bars {
        title: format!(
            "Held-out digits read right in the end: {}, {} devices",
            first.model, first.peers
        ),
        kinds: vec!["share"],
        bars: bars.collect(),
        most: Some(1.0),
    };
    page.push_str(&bars.svg());
    let mut told = Vec::new();
    for whole in part.iter().filter(|it| trouble(it) == Trouble::None) {
        let way = whole.cell.way;
        let others = part
            .iter()
            .filter(|group| group.cell.way == way && trouble(group) != Trouble::None);
        told.push(findings::Lasting {
            way: way.to_string(),
            undisturbed: figure(whole, |lasted| lasted.accuracy),
            troubles: others
                .map(|group| findings::Disturbed {
                    words: words(trouble(group)),
                    runs: [group.outcomes.len(), group.refusals()],
                    more: more(group, whole),
                })
                .collect(),
        });
    }
    tell(&findings::lasting(&told), page);
    figures_table(part, page);
}

/// All figures, and what was refused.
fn figures_table(part: &[&Group], page: &mut String) {
    page.push_str(
        "<details open><summary>Figures, and what was refused</summary><table><tr><th>way<th>what happens<th>read right in the end<th>loss of the last step<th>put together anew<th>steps made again</tr>\n",
    );
    for group in part {
        let cell = |which: fn(&Lasted) -> f64| plain(figure(group, which));
        push(
            page,
            format_args!(
                "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>\n",
                escaped(&group.cell.way.to_string()),
                words(trouble(group)),
                cell(|lasted| lasted.accuracy),
                cell(|lasted| lasted.loss),
                cell(|lasted| lasted.recoveries),
                cell(|lasted| lasted.repeated),
            ),
        );
    }
    page.push_str("</table>");
    refusals(part, page);
    page.push_str("</details>\n");
}
