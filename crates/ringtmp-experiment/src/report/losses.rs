//! The section of real devices of which one falls silent.

use super::sections::tell;
use super::table::{plain, refusals};
use crate::cell::{Kind, Trouble};
use crate::chart::{Bar, Bars, escaped, push, short};
use crate::findings;
use crate::groups::{Estimate, Group};
use crate::outcome::{Outcome, Struck};

fn trouble(group: &Group) -> Trouble {
    match group.cell.kind {
        Kind::Struck { trouble, .. } => trouble,
        _ => Trouble::None,
    }
}

fn struck(outcome: &Outcome) -> Option<&Struck> {
    match outcome {
        Outcome::Struck(struck) => Some(struck),
        Outcome::Ran(_)
        | Outcome::Grew { .. }
        | Outcome::Real(_)
        | Outcome::Lasted(_)
        | Outcome::Spent(_)
        | Outcome::Learnt { .. }
        | Outcome::Taught { .. }
        | Outcome::Refused { .. } => None,
    }
}

/// One figure over the seeds.
fn figure(group: &Group, figure: impl Fn(&Struck) -> f64) -> Option<Estimate> {
    let all = group.outcomes.iter().filter_map(struck).map(figure);
    Estimate::of(&all.collect::<Vec<_>>())
}

/// What a run took longer than the undisturbed one of the same seed.
fn lost(group: &Group, undisturbed: &Group, seconds: fn(&Struck) -> f64) -> Option<Estimate> {
    let without = |seed: &u64| {
        let place = undisturbed.seeds.iter().position(|other| other == seed)?;
        struck(&undisturbed.outcomes[place]).map(seconds)
    };
    let with = group.seeds.iter().zip(&group.outcomes);
    let all = with.filter_map(|(seed, outcome)| Some(seconds(struck(outcome)?) - without(seed)?));
    Estimate::of(&all.collect::<Vec<_>>())
}

pub(super) fn losses(part: &[&Group], page: &mut String) {
    let first = &part[0].cell;
    let whole = |group: &Group| {
        let way = group.cell.way;
        let is = |other: &&&Group| other.cell.way == way && trouble(other) == Trouble::None;
        part.iter().find(is).copied()
    };
    let (mut bars, mut told) = (Vec::new(), Vec::new());
    for group in part {
        let (way, trouble) = (group.cell.way, trouble(group));
        let seconds: [fn(&Struck) -> f64; 2] = [|s| s.seconds, |s| s.seconds_simulated];
        for (figures, host) in seconds.into_iter().zip(["", ", simulated"]) {
            let Some(value) = figure(group, figures) else {
                continue;
            };
            bars.push(Bar {
                name: format!("{way}, {}{host}", trouble.words()),
                parts: vec![value.mean],
                interval: Some((value.low(), value.high())),
                label: format!("{} s", short(value.mean)),
            });
        }
        if let (true, Some(whole)) = (trouble != Trouble::None, whole(group)) {
            told.push(findings::Loss {
                way: way.to_string(),
                trouble,
                runs: group.outcomes.len(),
                ended: group.refusals(),
                lost: lost(group, whole, |s| s.seconds)
                    .zip(lost(group, whole, |s| s.seconds_simulated)),
                repeated: figure(group, |s| s.repeated)
                    .zip(figure(group, |s| s.repeated_simulated)),
            });
        }
    }
    let bars = Bars {
        title: format!(
            "Seconds of a run, for real and simulated: {}, {} devices",
            first.model, first.peers
        ),
        kinds: vec!["seconds"],
        bars,
        most: None,
    };
    page.push_str(&bars.svg());
    tell(&findings::losses(&told), page);
    figures_table(part, page);
}

/// All figures, and what was refused.
fn figures_table(part: &[&Group], page: &mut String) {
    page.push_str(
        "<details open><summary>Figures, and what was refused</summary><table><tr><th>way<th>what happens<th>seconds<th>simulated<th>put together anew<th>simulated<th>steps made again<th>simulated</tr>\n",
    );
    for group in part {
        let cell = |which: fn(&Struck) -> f64| plain(figure(group, which));
        push(
            page,
            format_args!(
                "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>\n",
                escaped(&group.cell.way.to_string()),
                trouble(group).words(),
                cell(|s| s.seconds),
                cell(|s| s.seconds_simulated),
                cell(|s| s.recoveries),
                cell(|s| s.recoveries_simulated),
                cell(|s| s.repeated),
                cell(|s| s.repeated_simulated),
            ),
        );
    }
    page.push_str("</table>");
    refusals(part, page);
    page.push_str("</details>\n");
}
