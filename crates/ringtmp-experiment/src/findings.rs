//! Sentences that are computed from the data.

use crate::cell::{Figures, Outcome, Way};
use crate::chart::short;
use crate::groups::{Estimate, Group};

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
            Way::Ring(_) => Self::Ring,
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

/// The best of each family that ran.
struct Contest {
    best: Vec<(Family, Way, Estimate)>,
}

impl Contest {
    fn of<'a>(groups: impl Iterator<Item = &'a Group>, measure: &Measure) -> Self {
        let mut best: Vec<(Family, Way, Estimate)> = Vec::new();
        for group in groups {
            let Some(value) = group.figure(measure.figure) else {
                continue;
            };
            let family = Family::of(group.cell.way);
            let new = (family, group.cell.way, value);
            match best.iter_mut().find(|(other, ..)| *other == family) {
                None => best.push(new),
                Some(old) => {
                    let is_better = match measure.better {
                        Better::Less => value.mean < old.2.mean,
                        Better::More => value.mean > old.2.mean,
                    };
                    if is_better {
                        *old = new;
                    }
                }
            }
        }
        Self { best }
    }

    /// The family whose best beats those of all others; none where intervals overlap.
    fn winner(&self, measure: &Measure) -> Option<Family> {
        let wins = |one: &&(Family, Way, Estimate)| {
            let mut others = self.best.iter().filter(|other| other.0 != one.0);
            others.all(|other| measure.beats(one.2, other.2))
        };
        let found = self.best.iter().find(wins).map(|(family, ..)| *family);
        found.filter(|_| self.best.len() > 1)
    }
}

/// What groups over numbers of devices show: who wins where, and the figures at the most devices. All groups are of one model and one kind
/// of device.
pub(crate) fn finding(groups: &[&Group], measure: &Measure) -> String {
    let any = contest(groups, measure, |_| true);
    let synchronous = contest(groups, measure, Way::is_synchronous);
    format!(
        "Over all ways: {any} Over ways whose progress per sample is that of one process (no staleness): {synchronous}"
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
    let contests: Vec<(u16, Contest)> = peers
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
        .map(|(_, way, value)| format!("{way} {}", measure.told(*value)))
        .collect();
    let mut text = format!("at {most} devices {}; ", told.join(", "));
    text.push_str(&outcome(&contests, measure));
    text
}

/// Who wins at which numbers of devices.
fn outcome(contests: &[(u16, Contest)], measure: &Measure) -> String {
    let at = |family: Option<Family>| {
        let won = contests
            .iter()
            .filter(|(_, contest)| contest.winner(measure) == family);
        won.map(|(peers, _)| peers.to_string()).collect::<Vec<_>>()
    };
    let mut parts = Vec::new();
    for family in Family::ALL {
        let won = at(Some(family));
        if won.is_empty() {
            if family == Family::Server {
                parts.push("the parameter server wins at none".to_owned());
            }
        } else {
            parts.push(format!("{} wins at {}", family.words(), won.join(", ")));
        }
    }
    let open = at(None);
    if !open.is_empty() {
        let why = if measure.factor > 1.0 {
            "the best are too close to call"
        } else {
            "intervals overlap"
        };
        parts.push(format!("at {} {why}, so nobody wins", open.join(", ")));
    }
    format!("{}.", parts.join("; "))
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
    match (ring, other) {
        (Some((ring, ours)), Some((other, theirs))) => {
            let millions = |parameters: u64| short(parameters as f64 / 1e6);
            let factor = short(*ours as f64 / (*theirs).max(1) as f64);
            let who = if ours > theirs {
                format!(
                    "the ring trains {factor} times as much, and the parameter server wins nowhere"
                )
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
