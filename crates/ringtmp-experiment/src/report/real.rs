//! The section of real peers.

use super::sections::tell;
use super::table::{plain, refusals};
use crate::chart::{Bar, Bars, Lines, escaped, push};
use crate::findings;
use crate::grid::HERE;
use crate::groups::{Estimate, Group};
use crate::outcome::{Compared, Outcome, Waits};

/// A figure of a run.
type Figure = fn(&Compared) -> f64;

/// One figure over the seeds.
fn figure(group: &Group, figure: impl Fn(&Compared) -> f64) -> Option<Estimate> {
    let real = group.outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Real(compared) => Some(figure(compared)),
        Outcome::Ran(_)
        | Outcome::Grew { .. }
        | Outcome::Struck(_)
        | Outcome::Lasted(_)
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
        let bar = |name: String, value: Figure, waits: fn(&Compared) -> Waits| {
            let value = figure(group, value)?;
            let parts = Waits::CAUSES.map(|(_, cause)| {
                let mean = figure(group, |compared| cause(&waits(compared)));
                mean.map_or(0.0, |mean| mean.mean)
            });
            Some(Bar {
                name,
                parts: parts.to_vec(),
                interval: Some((value.low(), value.high())),
                label: format!("{:.1}%", 100.0 * value.mean),
            })
        };
        let way = group.cell.way;
        [
            bar(format!("{way}"), |c| c.idle, |c| c.waits),
            bar(
                "the same, simulated".to_owned(),
                |c| c.idle_simulated,
                |c| c.waits_simulated,
            ),
        ]
    });
    let bars = Bars {
        title: format!(
            "Idle share by cause, for real and simulated: {}, {} peers, {}",
            first.model,
            first.peers,
            over(&first.profile)
        ),
        kinds: Waits::CAUSES.map(|(cause, _)| cause).to_vec(),
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
        let causes = Waits::CAUSES.into_iter().filter_map(|(name, cause)| {
            let mean = |waits: fn(&Compared) -> Waits| {
                figure(group, |compared| cause(&waits(compared))).map(|value| value.mean)
            };
            let both = [mean(|c| c.waits)?, mean(|c| c.waits_simulated)?];
            // What is nothing in both is not worth a word.
            both.iter()
                .any(|share| *share > 0.0)
                .then_some((name, both))
        });
        let (way, peers) = (group.cell.way, group.cell.peers);
        findings::Pair {
            runs: [group.outcomes.len(), group.refusals()],
            causes: causes.collect(),
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
    page.push_str("<details open><summary>Figures, and what was refused</summary>");
    page.push_str("<table><tr><th>way<th>peers<th>samples/s<th>simulated<th>idle<th>simulated<th>samples per CPU-second</tr>\n");
    for group in part {
        let plain = |which: Figure| plain(figure(group, which));
        push(
            page,
            format_args!(
                "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>\n",
                escaped(&group.cell.way.to_string()),
                group.cell.peers,
                plain(|c| c.throughput),
                plain(|c| c.throughput_simulated),
                share(group, |c| c.idle),
                share(group, |c| c.idle_simulated),
                plain(|c| c.samples_per_cpu_second)
            ),
        );
    }
    page.push_str("</table>");
    causes_table(part, page);
    refusals(part, page);
    page.push_str("</details>\n");
}

/// For what devices waited.
fn causes_table(part: &[&Group], page: &mut String) {
    page.push_str("<table><caption>idle share by cause</caption><tr><th>way<th>peers");
    for (cause, _) in Waits::CAUSES {
        push(page, format_args!("<th>{cause}<th>simulated"));
    }
    page.push_str("</tr>\n");
    for group in part {
        let way = escaped(&group.cell.way.to_string());
        push(page, format_args!("<tr><td>{way}<td>{}", group.cell.peers));
        for (_, cause) in Waits::CAUSES {
            let real = share(group, |compared| cause(&compared.waits));
            let simulated = share(group, |compared| cause(&compared.waits_simulated));
            push(page, format_args!("<td>{real}<td>{simulated}"));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>");
}

/// A share over the seeds.
fn share(group: &Group, which: impl Fn(&Compared) -> f64) -> String {
    figure(group, which).map_or_else(
        || "refused".to_owned(),
        |v| {
            let [mean, half] = [v.mean, v.half_width].map(|share| 100.0 * share);
            format!("{mean:.1}&nbsp;±&nbsp;{half:.1}&nbsp;%")
        },
    )
}
