//! The section of native processes beside browser tabs.

use super::sections::tell;
use super::table::refusals;
use crate::cell::{Host, Kind};
use crate::chart::{Bar, Bars, push, short};
use crate::findings;
use crate::groups::{Estimate, Group};
use crate::outcome::{Outcome, Spent};

/// One figure over the seeds.
fn figure(group: &Group, figure: impl Fn(&Spent) -> Option<f64>) -> Option<Estimate> {
    let spent = group.outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Spent(spent) => figure(spent),
        Outcome::Ran(_)
        | Outcome::Grew { .. }
        | Outcome::Real(_)
        | Outcome::Struck(_)
        | Outcome::Lasted(_)
        | Outcome::Learnt { .. }
        | Outcome::Taught { .. }
        | Outcome::Refused { .. } => None,
    });
    Estimate::of(&spent.collect::<Vec<_>>())
}

fn host(group: &Group) -> Option<Host> {
    match group.cell.kind {
        Kind::Hosted { host, .. } => Some(host),
        _ => None,
    }
}

pub(super) fn hosts(part: &[&Group], page: &mut String) {
    let first = &part[0].cell;
    let bar = |group: &&Group| {
        let value = figure(group, |spent| Some(1e3 * spent.core_seconds_per_sample))?;
        Some(Bar {
            name: host(group)?.words().to_owned(),
            parts: vec![value.mean],
            interval: Some((value.low(), value.high())),
            label: short(value.mean),
        })
    };
    let bars = Bars {
        title: format!(
            "Core-milliseconds for each sample: {}, {}, {} devices",
            first.model, first.way, first.peers
        ),
        kinds: vec!["core-milliseconds"],
        bars: part.iter().filter_map(bar).collect(),
        most: None,
    };
    page.push_str(&bars.svg());
    let of = |which: Host, value: fn(&Spent) -> Option<f64>| {
        let group = part.iter().find(|group| host(group) == Some(which));
        figure(group?, value)
    };
    let both = |value: fn(&Spent) -> Option<f64>| {
        Some([of(Host::Native, value)?, of(Host::Browser, value)?])
    };
    let finding = findings::hosts(
        both(|spent| Some(spent.core_seconds_per_sample)),
        both(|spent| spent.measured_joules_per_sample),
        both(|spent| Some(spent.estimated_joules_per_sample)),
    );
    tell(&finding, page);
    figures_table(part, page);
}

/// All figures, and what was refused.
fn figures_table(part: &[&Group], page: &mut String) {
    page.push_str(
        "<details open><summary>Figures, and what was refused</summary><table><tr><th>devices<th>samples/s<th>core-ms per sample<th>J per sample, measured<th>J per sample, estimated<th>J at least, estimated<th>J at most, estimated</tr>\n",
    );
    for group in part {
        let cell = |which: fn(&Spent) -> Option<f64>, without: &str| {
            let told =
                |v: Estimate| format!("{}&nbsp;±&nbsp;{}", short(v.mean), short(v.half_width));
            figure(group, which).map_or_else(|| without.to_owned(), told)
        };
        push(
            page,
            format_args!(
                "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>\n",
                host(group).map_or("", Host::words),
                cell(|s| Some(s.seconds_per_sample.recip()), "refused"),
                cell(|s| Some(1e3 * s.core_seconds_per_sample), "refused"),
                cell(|s| s.measured_joules_per_sample, "no meter"),
                cell(|s| Some(s.estimated_joules_per_sample), "refused"),
                cell(|s| Some(s.estimated_joules_per_sample_low), "refused"),
                cell(|s| Some(s.estimated_joules_per_sample_high), "refused"),
            ),
        );
    }
    page.push_str("</table>");
    refusals(part, page);
    page.push_str("</details>\n");
}
