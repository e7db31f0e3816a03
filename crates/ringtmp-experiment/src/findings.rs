//! Sentences that are computed from the data.

mod losses;
mod real;
mod spread;

pub(crate) use losses::{Disturbed, Lasting, lasting, resilience};
pub(crate) use real::{Loss, Pair, Taught, agreement, hosts, losses, taught};
pub(crate) use spread::spread;

use crate::cell::Way;
use crate::chart::short;
use crate::groups::{Estimate, Group, Half, are_enough, few};
use crate::outcome::{Figures, Joules, Outcome, Point};

/// Which is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Less,
    More,
}

/// What is compared.
#[derive(Clone, Copy)]
pub(crate) struct Measure {
    pub(crate) figure: fn(&Figures) -> f64,
    pub(crate) better: Better,
    /// What it is, with its unit: `samples/s`.
    pub(crate) unit: &'static str,
    pub(crate) percent: bool,
    /// Means have to differ by this factor to be called different, whatever the seeds say; 1 where only the seeds matter.
    pub(crate) factor: f64,
}

impl Measure {
    pub(crate) fn told(&self, value: Estimate) -> String {
        if self.percent {
            let [mean, half] = [value.mean, value.half_width].map(|share| 100.0 * share);
            format!("{mean:.1}% ± {half:.1}%")
        } else {
            let (mean, half) = (short(value.mean), short(value.half_width));
            format!("{mean} ± {half} {}", self.unit)
        }
    }

    /// Whether one mean is better than another.
    fn is_better(&self, one: f64, other: f64) -> bool {
        match self.better {
            Better::Less => one < other,
            Better::More => one > other,
        }
    }

    /// Whether one is better than the other beyond the intervals of both.
    fn beats(&self, one: Estimate, other: Estimate) -> bool {
        match self.better {
            Better::Less => one.high() < other.low() && one.mean * self.factor <= other.mean,
            Better::More => one.low() > other.high() && one.mean >= other.mean * self.factor,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Ring,
    Server,
    AllReduce,
}

impl Family {
    const ALL: [Self; 3] = [Self::Ring, Self::Server, Self::AllReduce];

    fn of(way: Way) -> Self {
        match way {
            Way::Ring(_) | Way::FewRing(_) => Self::Ring,
            Way::ParameterServer { .. } => Self::Server,
            Way::AllReduce => Self::AllReduce,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Ring => "the ring",
            Self::Server => "the parameter server",
            Self::AllReduce => "all-reduce",
        }
    }
}

/// The best of each family that ran: chosen by the mean over some seeds, with its figures under the others. A way of which a run did not get
/// there is chosen only where none of its family got through, and never wins: the mean of those that did flatters it.
struct Contest<'a> {
    best: Vec<(Family, &'a Group, Estimate)>,
    /// Families that were run, and of which there is no figure.
    absent: Vec<Family>,
}

impl<'a> Contest<'a> {
    fn of(groups: impl Iterator<Item = &'a Group>, measure: &Measure) -> Self {
        let mut absent: Vec<Family> = Vec::new();
        let mut chosen: Vec<(Family, &Group, bool, f64)> = Vec::new();
        for group in groups {
            let family = Family::of(group.cell.way);
            if !absent.contains(&family) {
                absent.push(family);
            }
            let Some(value) = group.figure_in(Half::Chooses, measure.figure) else {
                continue;
            };
            let lacks = group.missing_in(Half::Chooses).0 > 0;
            let new = (family, group, lacks, value.mean);
            match chosen.iter_mut().find(|(other, ..)| *other == family) {
                None => chosen.push(new),
                Some(old) => {
                    let is_better = match (old.2, lacks) {
                        (true, false) => true,
                        (false, true) => false,
                        (true, true) | (false, false) => measure.is_better(value.mean, old.3),
                    };
                    if is_better {
                        *old = new;
                    }
                }
            }
        }
        let told = |(family, group, ..): (Family, &'a Group, bool, f64)| {
            let value = group.figure_in(Half::Tells, measure.figure)?;
            Some((family, group, value))
        };
        let best: Vec<_> = chosen.into_iter().filter_map(told).collect();
        absent.retain(|family| !best.iter().any(|(other, ..)| other == family));
        Self { best, absent }
    }

    /// The family whose best beats those of all others; none where intervals overlap, where seeds are too few, or where a run of it did not
    /// get there.
    fn winner(&self, measure: &Measure) -> Option<Family> {
        let wins = |one: &&(Family, &Group, Estimate)| {
            let mut others = self.best.iter().filter(|other| other.0 != one.0);
            one.1.missing_in(Half::Tells).0 == 0
                && others.all(|other| measure.beats(one.2, other.2))
        };
        let found = self.best.iter().find(wins).map(|(family, ..)| *family);
        found.filter(|_| self.best.len() > 1 && are_enough(self.seeds()))
    }

    /// On how many seeds it stands: of the least known.
    fn seeds(&self) -> usize {
        let seeds = self.best.iter().map(|(_, _, value)| value.seeds);
        seeds.min().unwrap_or(0)
    }

    /// Who cannot win, since runs of it did not get there; empty where there is nobody.
    fn lacking(&self) -> String {
        let told = self.best.iter().filter_map(|(_, group, _)| {
            let (missing, runs) = group.missing_in(Half::Tells);
            let way = group.cell.way;
            let words =
                || format!("{missing} of {runs} runs of {way} did not get there, so it cannot win");
            (missing > 0).then(words)
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

/// What groups over numbers of devices show: who wins where, and the figures at the most devices. All groups are of one model and one kind
/// of device.
pub(crate) fn finding(groups: &[&Group], measure: &Measure) -> String {
    let any = contest(groups, measure, |_| true);
    let synchronous = contest(groups, measure, Way::is_synchronous);
    format!(
        "Over all ways: {any}\nOver ways whose progress per sample is that of one process (no staleness): {synchronous}"
    )
}

fn contest(groups: &[&Group], measure: &Measure, which: impl Fn(Way) -> bool) -> String {
    let of = |peers: u16| {
        let at = groups
            .iter()
            .filter(|g| g.cell.peers == peers && which(g.cell.way));
        Contest::of(at.copied(), measure)
    };
    let mut peers: Vec<u16> = groups.iter().map(|group| group.cell.peers).collect();
    peers.sort_unstable();
    peers.dedup();
    let contests: Vec<(u16, Contest<'_>)> = peers
        .iter()
        .map(|p| (*p, of(*p)))
        .filter(|(_, contest)| contest.best.len() > 1)
        .collect();
    let Some((most, last)) = contests.last() else {
        return "there is nothing to compare.".to_owned();
    };
    let told: Vec<String> = last
        .best
        .iter()
        .map(|(_, group, value)| format!("{} {}", group.cell.way, measure.told(*value)))
        .collect();
    format!(
        "at {most} devices {}{}; {}",
        told.join(", "),
        few(last.seeds()),
        outcome(&contests, measure)
    )
}

/// Who wins at which numbers of devices.
fn outcome(contests: &[(u16, Contest<'_>)], measure: &Measure) -> String {
    let mut parts = Vec::new();
    let was_run = |family: Family| {
        let mut best = contests.iter().flat_map(|(_, contest)| &contest.best);
        best.any(|(other, ..)| *other == family)
    };
    for family in Family::ALL {
        let won = places(contests, |contest| contest.winner(measure) == Some(family));
        let words = family.words();
        if !won.is_empty() {
            parts.push(format!("{words} wins at {won}"));
        } else if family == Family::Server && was_run(family) {
            parts.push(format!("{words} wins at none"));
        }
    }
    let is_open = |contest: &Contest<'_>| {
        let undecided = are_enough(contest.seeds()) && contest.winner(measure).is_none();
        undecided && contest.lacking().is_empty()
    };
    let open = places(contests, is_open);
    if !open.is_empty() {
        let why = if measure.factor > 1.0 {
            "the best are too close to call"
        } else {
            "intervals overlap"
        };
        parts.push(format!("at {open} {why}, so nobody wins"));
    }
    let unknown = places(contests, |contest| !are_enough(contest.seeds()));
    if !unknown.is_empty() {
        parts.push(format!("at {unknown} seeds are too few to say who wins"));
    }
    for (peers, contest) in contests {
        let lacking = contest.lacking();
        if !lacking.is_empty() {
            parts.push(format!("at {peers} {lacking}"));
        }
    }
    for family in Family::ALL {
        let absent = places(contests, |contest| contest.absent.contains(&family));
        if !absent.is_empty() {
            let words = family.words();
            parts.push(format!(
                "{words} has no figure at {absent}, where its runs did not all get there"
            ));
        }
    }
    format!("{}.", parts.join("; "))
}

/// The numbers of devices of some contests.
fn places(contests: &[(u16, Contest<'_>)], which: impl Fn(&Contest<'_>) -> bool) -> String {
    let some = contests.iter().filter(|(_, contest)| which(contest));
    let peers: Vec<String> = some.map(|(peers, _)| peers.to_string()).collect();
    peers.join(", ")
}

/// From this share on a device or a link counts as what a run is bound by.
const FULL: f64 = 0.8;

/// What holds up the best of each family at the most devices, and what staleness did.
pub(crate) fn causes(groups: &[&Group], measure: &Measure) -> String {
    let most = groups.iter().map(|group| group.cell.peers).max();
    let at = groups
        .iter()
        .filter(|group| Some(group.cell.peers) == most)
        .copied();
    let contest = Contest::of(at.clone(), measure);
    let mut all: Vec<&Group> = contest.best.iter().map(|(_, group, _)| *group).collect();
    // Rings of all devices, which are what rooms make, are always told of.
    let rings = at
        .clone()
        .filter(|group| matches!(group.cell.way, Way::Ring(_)));
    for ring in rings {
        if !all.iter().any(|other| other.cell.way == ring.cell.way) {
            all.push(ring);
        }
    }
    let told: Vec<String> = all.into_iter().filter_map(cause).collect();
    format!(
        "What holds them up at {}: {}.\n{}",
        most.unwrap_or(0),
        told.join("; "),
        staleness(at)
    )
}

fn cause(group: &Group) -> Option<String> {
    let of = |figure: fn(&Figures) -> f64| group.figure(figure).map(|value| value.mean);
    let device = of(|figures| figures.busiest_device)?;
    let link = of(|figures| figures.busiest_link)?;
    let used = of(|figures| figures.devices_used)?;
    let verdict = if link >= FULL && link >= device {
        "that link is what bounds it"
    } else if device >= FULL {
        "that device is what bounds it"
    } else {
        "neither is full, so delays and waiting for each other bound it"
    };
    let parts = if (used - f64::from(group.cell.peers)).abs() < 0.5 {
        String::new()
    } else {
        format!("with {} of {} devices ", short(used), group.cell.peers)
    };
    Some(format!(
        "{} {parts}has its busiest device computing {:.0}% of the time and its busiest access link carrying bytes {:.0}%: {verdict}",
        group.cell.way,
        100.0 * device,
        100.0 * link
    ))
}

/// Whether parameter servers with more staleness differ at all, and why not.
fn staleness<'a>(groups: impl Iterator<Item = &'a Group>) -> String {
    let stale: Vec<&Group> = groups
        .filter(|group| group.cell.way.is_server() && !group.cell.way.is_synchronous())
        .filter(|group| group.refusals() == 0)
        .collect();
    let drift = |group: &&Group| group.figure(|figures| figures.drift).map(|d| d.mean);
    let most = stale.iter().filter_map(drift).fold(0.0, f64::max);
    let alike = |group: &&&Group| {
        stale
            .iter()
            .any(|other| other.cell.way != group.cell.way && other.outcomes == group.outcomes)
    };
    let same = stale.iter().filter(alike).count();
    if stale.is_empty() {
        return String::new();
    }
    let why = if same > 0 {
        ": with shares by speed and at most two pushes of a range under way nobody drifts as far as their tau, so these are one behaviour and not several results"
    } else {
        ""
    };
    format!(
        "With staleness no worker was more than {} steps ahead of another (mean over seeds, the most of all settings); {same} of {} settings with tau above 0 have the very \
         figures of another{why}.",
        short(most),
        stale.len()
    )
}

/// Groups whose figures are what it took to reach an accuracy: seconds, steps, and joules in the place of those of a sample. A way of which one run did not get there has none: the
/// mean of those that did would flatter it.
pub(crate) fn reached(groups: &[&Group], accuracy: f64) -> Vec<Group> {
    let first = |outcome: &Outcome| match outcome {
        Outcome::Learnt { points } => points.iter().find(|p| p.accuracy >= accuracy).copied(),
        Outcome::Ran(_)
        | Outcome::Grew { .. }
        | Outcome::Real(_)
        | Outcome::Struck(_)
        | Outcome::Lasted(_)
        | Outcome::Taught { .. }
        | Outcome::Spent(_)
        | Outcome::Refused { .. } => None,
    };
    let of = |group: &&Group| {
        let all: Vec<Option<Point>> = group.outcomes.iter().map(first).collect();
        let there = all.iter().flatten().count();
        let outcome = |point: &Option<Point>| match point {
            Some(point) if there == all.len() => Outcome::Ran(Box::new(Figures {
                seconds: point.seconds,
                repeated: point.steps,
                joules: Joules {
                    estimated_joules_per_sample: point.estimated_joules,
                    ..Joules::default()
                },
                ..Figures::default()
            })),
            Some(_) | None => Outcome::Refused {
                reason: format!("{there} of {} runs got there", all.len()),
            },
        };
        Group {
            outcomes: all.iter().map(outcome).collect(),
            ..(*group).clone()
        }
    };
    groups.iter().map(of).collect()
}

/// Which way trains how large a model.
pub(crate) fn capacity(groups: &[&Group]) -> String {
    let grew = |group: &&Group| {
        let first = group.outcomes.first()?;
        let Outcome::Grew { parameters, .. } = first else {
            return None;
        };
        Some((group.cell.way, *parameters))
    };
    let mut all: Vec<(Way, u64)> = groups.iter().filter_map(grew).collect();
    all.sort_by_key(|(_, parameters)| std::cmp::Reverse(*parameters));
    let best = |is: fn(Way) -> bool| all.iter().find(|(way, _)| is(*way));
    let ring = best(Way::is_ring);
    let other = best(|way| !way.is_ring());
    // Of ways that were not run nothing is said.
    let server = groups.iter().any(|group| group.cell.way.is_server());
    match (ring, other) {
        (Some((ring, ours)), Some((other, theirs))) => {
            let millions = |parameters: u64| short(parameters as f64 / 1e6);
            let factor = short(*ours as f64 / (*theirs).max(1) as f64);
            let who = if ours > theirs {
                let nowhere = match server {
                    true => ", and the parameter server wins nowhere",
                    false => "",
                };
                format!("the ring trains {factor} times as much{nowhere}")
            } else if Way::is_server(*other) && theirs > ours {
                "the parameter server trains more and wins".to_owned()
            } else {
                "the ring does not train more".to_owned()
            };
            format!(
                "The largest model of {ring} has {} million parameters, that of {other} {} million: {who}.",
                millions(*ours),
                millions(*theirs)
            )
        }
        _ => "Too little ran to compare.".to_owned(),
    }
}
