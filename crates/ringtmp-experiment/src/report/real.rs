//! The section of real peers.

use super::sections::tell;
use super::table::refusals;
use crate::cell::{Compared, Outcome};
use crate::chart::{Bar, Bars, Lines, escaped, push, short};
use crate::findings;
use crate::grid::HERE;
use crate::groups::{Estimate, Group};

/// A figure of a run.
type Figure = fn(&Compared) -> f64;

/// One figure over the seeds.
fn figure(group: &Group, figure: impl Fn(&Compared) -> f64) -> Option<Estimate> {
    let real = group.outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Real(compared) => Some(figure(compared)),
        Outcome::Ran(_)
        | Outcome::Grew { .. }
        | Outcome::Struck(_)
        | Outcome::Spent(_)
        | Outcome::Learnt { .. }
        | Outcome::Taught { .. }
        | Outcome::Refused { .. } => None,
    });
    Estimate::of(&real.collect::<Vec<_>>())
}

/// Over which links.
fn over(profile: &str) -> String {
    match profile {
        HERE => "over this machine's own links".to_owned(),
        emulated => format!("over emulated links of {emulated}"),
    }
}

pub(super) fn real(part: &[&Group], page: &mut String) {
    let first = &part[0].cell;
    let bars = part.iter().flat_map(|group| {
        let bar = |name: String, value: Option<Estimate>| {
            let value = value?;
            Some(Bar {
                name,
                parts: vec![value.mean],
                interval: Some((value.low(), value.high())),
                label: format!("{:.1}%", 100.0 * value.mean),
            })
        };
        let way = group.cell.way;
        [
            bar(format!("{way}"), figure(group, |c| c.idle)),
            bar(
                "the same, simulated".to_owned(),
                figure(group, |c| c.idle_simulated),
            ),
        ]
    });
    let bars = Bars {
        title: format!(
            "Idle share, for real and simulated: {}, {} peers, {}",
            first.model,
            first.peers,
            over(&first.profile)
        ),
        kinds: vec!["idle"],
        bars: bars.flatten().collect(),
        most: None,
    };
    page.push_str(&bars.svg());
    tell(&findings::agreement(&compared(part, false)), page);
    figures_table(part, page);
}

/// Throughput by number of peers.
pub(super) fn scale(part: &[&Group], page: &mut String) {
    let first = &part[0].cell;
    let mut series: Vec<(String, Vec<(u16, Estimate)>)> = Vec::new();
    let which: [(&str, Figure); 2] = [
        ("", |c| c.throughput),
        (", simulated", |c| c.throughput_simulated),
    ];
    for group in part {
        for (host, of) in which {
            let name = format!("{}{host}", group.cell.way);
            let Some(value) = figure(group, of) else {
                continue;
            };
            let point = (group.cell.peers, value);
            match series.iter_mut().find(|(other, _)| *other == name) {
                Some((_, points)) => points.push(point),
                None => series.push((name, vec![point])),
            }
        }
    }
    let lines = Lines {
        title: format!("Throughput, for real and simulated: {}", first.model),
        y: "samples/s",
        percent: false,
        logarithmic: false,
        series,
    };
    page.push_str(&lines.svg());
    tell(&findings::agreement(&compared(part, true)), page);
    figures_table(part, page);
}

/// What is compared of each group, named with or without its number of peers.
fn compared(part: &[&Group], with_peers: bool) -> Vec<findings::Pair> {
    let pair = |group: &&Group| {
        let of = |which: fn(&Compared) -> f64| figure(group, which).map(|value| value.mean);
        let both = |real: fn(&Compared) -> f64, simulated: fn(&Compared) -> f64| {
            Some([of(real)?, of(simulated)?])
        };
        let (way, peers) = (group.cell.way, group.cell.peers);
        findings::Pair {
            way: match with_peers {
                true => format!("{way}, {peers}"),
                false => way.to_string(),
            },
            throughput: both(|c| c.throughput, |c| c.throughput_simulated),
            idle: both(|c| c.idle, |c| c.idle_simulated),
        }
    };
    part.iter().map(pair).collect()
}

/// All figures, and what was refused.
fn figures_table(part: &[&Group], page: &mut String) {
    page.push_str(
        "<details open><summary>Figures, and what was refused</summary><table><tr><th>way<th>peers<th>samples/s<th>simulated<th>idle<th>simulated<th>samples per CPU-second</tr>\n",
    );
    for group in part {
        let plain = |which: fn(&Compared) -> f64| {
            let value = figure(group, which);
            value.map_or_else(
                || "refused".to_owned(),
                |v| format!("{}&nbsp;±&nbsp;{}", short(v.mean), short(v.half_width)),
            )
        };
        let share = |which: fn(&Compared) -> f64| {
            let value = figure(group, which);
            value.map_or_else(
                || "refused".to_owned(),
                |v| {
                    format!(
                        "{:.1}&nbsp;±&nbsp;{:.1}&nbsp;%",
                        100.0 * v.mean,
                        100.0 * v.half_width
                    )
                },
            )
        };
        push(
            page,
            format_args!(
                "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>\n",
                escaped(&group.cell.way.to_string()),
                group.cell.peers,
                plain(|c| c.throughput),
                plain(|c| c.throughput_simulated),
                share(|c| c.idle),
                share(|c| c.idle_simulated),
                plain(|c| c.samples_per_cpu_second)
            ),
        );
    }
    page.push_str("</table>");
    refusals(part, page);
    page.push_str("</details>\n");
}
