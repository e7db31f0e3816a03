//! The sections of what runs learn, and of what losses cost them.

use super::sections::{ENERGY_FACTOR, tell};
use super::table::{refusals, table};
use crate::cell::{Kind, Trouble};
use crate::chart::{Bar, Bars, escaped, push, short};
use crate::curves::Curves;
use crate::findings::{self, Better, Measure};
use crate::groups::Group;
use crate::outcome::{Outcome, Point};

/// Devices of which curves are drawn.
const DRAWN: u16 = 4;

/// Held-out accuracy that is to be reached.
pub(super) const ACCURACY: f64 = 0.7;

const TO_ACCURACY: Measure = Measure {
    figure: |figures| figures.seconds,
    better: Better::Less,
    unit: "s to 70% (simulated)",
    percent: false,
    factor: 1.0,
};

/// Updates of the whole batch until then.
const STEPS_TO_ACCURACY: Measure = Measure {
    figure: |figures| figures.repeated,
    unit: "steps to 70%",
    ..TO_ACCURACY
};

/// Joules of all devices until then; wins as joules for each sample do.
const JOULES_TO_ACCURACY: Measure = Measure {
    figure: |figures| figures.joules.estimated_joules_per_sample,
    unit: "J to 70% (estimated)",
    factor: ENERGY_FACTOR,
    ..TO_ACCURACY
};

/// Means over those seeds that came as far, evaluation by evaluation.
fn course(group: &Group) -> Vec<Point> {
    let all: Vec<&Vec<Point>> = group
        .outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Learnt { points } => Some(points),
            Outcome::Ran(_)
            | Outcome::Grew { .. }
            | Outcome::Real(_)
            | Outcome::Struck(_)
            | Outcome::Lasted(_)
            | Outcome::Taught { .. }
            | Outcome::Spent(_)
            | Outcome::Refused { .. } => None,
        })
        .collect();
    let shortest = all.iter().map(|points| points.len()).min().unwrap_or(0);
    let count = all.len() as f64;
    let mean = |place: usize| {
        let of = |part: fn(&Point) -> f64| {
            all.iter().map(|points| part(&points[place])).sum::<f64>() / count
        };
        Point {
            steps: of(|point| point.steps),
            samples: of(|point| point.samples),
            seconds: of(|point| point.seconds),
            loss: of(|point| point.loss),
            accuracy: of(|point| point.accuracy),
            estimated_joules: of(|point| point.estimated_joules),
            estimated_joules_low: of(|point| point.estimated_joules_low),
            estimated_joules_high: of(|point| point.estimated_joules_high),
        }
    };
    (0..shortest).map(mean).collect()
}

/// What it does to each way that devices have classes of their own.
pub(super) fn spread(groups: &[Group], page: &mut String) {
    tell(&findings::spread(groups), page);
}

pub(super) fn progress(part: &[&Group], page: &mut String) {
    if let Kind::Progress { spread, .. } = part[0].cell.kind {
        push(page, format_args!("<p>With {}:</p>\n", spread.words()));
    }
    // Curves of as many devices as most other figures are of.
    let first = part
        .iter()
        .find(|group| group.cell.peers == DRAWN)
        .map_or(&part[0].cell, |group| &group.cell);
    let courses: Vec<(String, Vec<Point>)> = part
        .iter()
        .filter(|group| group.cell.peers == first.peers)
        .map(|group| (group.cell.way.to_string(), course(group)))
        .filter(|(_, points)| !points.is_empty())
        .collect();
    // Until the quickest half is done: the slowest would press all others to the left.
    let mut ends: Vec<f64> = courses
        .iter()
        .filter_map(|(_, points)| Some(points.last()?.seconds))
        .collect();
    ends.sort_by(f64::total_cmp);
    let until = ends.get(ends.len() / 2).copied();
    let curves = |title: &str, axes: &str, until: Option<f64>, x: fn(&Point) -> f64| Curves {
        title: format!(
            "{title}: {}, {} x {}",
            first.model, first.peers, first.profile
        ),
        axes: axes.to_owned(),
        until,
        series: courses
            .iter()
            .map(|(name, points)| {
                let points = points.iter().map(|point| [x(point), point.loss]);
                (name.clone(), points.collect())
            })
            .collect(),
    };
    let by_samples = "samples; mean held-out cross entropy";
    page.push_str(&curves("Held-out loss by samples", by_samples, None, |p| p.samples).svg());
    let by_seconds = "simulated seconds; mean held-out cross entropy";
    page.push_str(&curves("Held-out loss by seconds", by_seconds, until, |p| p.seconds).svg());
    let reached = findings::reached(part, ACCURACY);
    let reached: Vec<&Group> = reached.iter().collect();
    let steps = findings::finding(&reached, &STEPS_TO_ACCURACY);
    let seconds = findings::finding(&reached, &TO_ACCURACY);
    let joules = findings::finding(&reached, &JOULES_TO_ACCURACY);
    let samples = u32::from(first.micro_batches) * first.micro_batch;
    tell(
        &format!(
            "Progress per step (of {samples} samples), to {:.0}% held out. {steps}\nProgress per second, by number of devices. {seconds}\nJoules of all devices until then, estimated; a way wins only \
             if it also takes {ENERGY_FACTOR} times less. {joules}",
            100.0 * ACCURACY
        ),
        page,
    );
    learnt_table(part, &reached, page);
}

/// What each way took, and where it came to.
fn learnt_table(part: &[&Group], reached: &[&Group], page: &mut String) {
    page.push_str(
        "<details><summary>Figures</summary><table><tr><th>way<th>devices<th>steps to 70%<th>seconds to 70%<th>J to 70% (estimated)<th>accuracy at the end<th>loss at the end</tr>\n",
    );
    for (group, original) in reached.iter().zip(part) {
        let told = |measure: &Measure| {
            let value = group.figure(measure.figure);
            value.map_or_else(
                || group.refusal().unwrap_or_default().to_owned(),
                |v| format!("{}&nbsp;±&nbsp;{}", short(v.mean), short(v.half_width)),
            )
        };
        let last = course(original).last().copied().unwrap_or_default();
        push(
            page,
            format_args!(
                "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{:.1}%<td>{}</tr>\n",
                escaped(&group.cell.way.to_string()),
                group.cell.peers,
                told(&STEPS_TO_ACCURACY),
                told(&TO_ACCURACY),
                told(&JOULES_TO_ACCURACY),
                100.0 * last.accuracy,
                short(last.loss)
            ),
        );
    }
    page.push_str("</table>");
    refusals(part, page);
    page.push_str("</details>\n");
}

pub(super) fn resilience(part: &[&Group], page: &mut String) {
    let first = &part[0].cell;
    let all: Vec<(Trouble, &Group)> = part
        .iter()
        .filter_map(|group| match group.cell.kind {
            Kind::Resilience { trouble, .. } => Some((trouble, *group)),
            Kind::Run { .. }
            | Kind::Capacity(_)
            | Kind::Progress { .. }
            | Kind::Real { .. }
            | Kind::Struck { .. }
            | Kind::Lasting { .. }
            | Kind::Taught { .. }
            | Kind::Hosted { .. } => None,
        })
        .collect();
    let bar = |(trouble, group): &(Trouble, &Group)| {
        let name = match trouble {
            Trouble::None => group.cell.way.to_string(),
            trouble => format!("{}, {}", group.cell.way, trouble.word()),
        };
        let Some(whole) = group.figure(|figures| figures.seconds) else {
            return Bar {
                name,
                parts: vec![0.0, 0.0],
                interval: None,
                label: "cannot go on".to_owned(),
            };
        };
        let lost = group.figure(|figures| figures.seconds_lost);
        let lost = lost.map_or(0.0, |lost| lost.mean);
        let (missing, runs) = (group.refusals(), group.outcomes.len());
        let of = match missing {
            0 => String::new(),
            missing => format!(", {} of {runs}", runs - missing),
        };
        Bar {
            name,
            parts: vec![whole.mean - lost, lost],
            interval: Some((whole.low(), whole.high())),
            label: format!("{} s{of}", short(whole.mean)),
        }
    };
    let bars = Bars {
        title: format!(
            "Seconds of a run: {}, {} x {}",
            first.model, first.peers, first.profile
        ),
        kinds: vec!["undisturbed", "lost"],
        bars: all.iter().map(bar).collect(),
        most: None,
    };
    page.push_str(&bars.svg());
    tell(&findings::resilience(&all), page);
    for trouble in Trouble::ALL {
        let of: Vec<&Group> = all
            .iter()
            .filter(|(other, _)| *other == trouble)
            .map(|(_, group)| *group)
            .collect();
        push(page, format_args!("<p>{}:</p>\n", trouble.words()));
        page.push_str(&table(&of, &SECONDS));
    }
}

const SECONDS: Measure = Measure {
    figure: |figures| figures.seconds,
    unit: "s (simulated)",
    ..TO_ACCURACY
};
