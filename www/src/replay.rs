//! What devices did lately, shown again slowly enough to be seen.
//!
//! Once a second every device reports its newest tasks and what reached it, with times by the room's clock ([`Timeline`]). A
//! replay takes the newest stretch that all tell of, as short as a person can follow, and gives for each moment of it what each device
//! computes and where tensors are on their way. Nothing is made up: what is not in the reports is not shown.

use crate::timeline::{SILENT_AFTER, microseconds, nth_task_before};
use ringtmp_core::ids::PeerId;
use ringtmp_core::signal::{RoomState, RoomView};
use ringtmp_core::time::Time;
use ringtmp_core::trace::{Activity, Mark, REPORT_INTERVAL, Timeline};
use ringtmp_peer::View;

/// The most tasks of one device in a second of the replay: more would flicker.
const TASKS_MAX: usize = 7;

/// What travels is seen for at least so many seconds, however fast it was.
const SEEN_SECONDS_MIN: f64 = 0.3;

/// The most that travels in a replay; a ring of 64 devices has some 1,000.
const TRAVELS_MAX: usize = 2_048;

/// A stretch of the past, laid out in the seconds of its replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// When it ended, by the room's clock.
    pub until: Time,
    /// How many times slower than it was; 1 is as it was.
    pub slower: f64,
    /// What each device of the ring computed, in its order.
    tasks: Vec<Vec<Task>>,
    travels: Vec<Travel>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Task {
    doing: Doing,
    begins: f64,
    ends: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Travel {
    link: usize,
    back: bool,
    begins: f64,
    ends: f64,
}

/// What a device computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// F.
    Forward,
    /// B.
    Backward,
    /// W.
    Weights,
    /// An update.
    Update,
}

impl Doing {
    const fn of(activity: Activity) -> Option<Self> {
        match activity {
            Activity::Forward | Activity::Evaluate => Some(Self::Forward),
            Activity::BackwardInput => Some(Self::Backward),
            Activity::BackwardWeights => Some(Self::Weights),
            Activity::Update => Some(Self::Update),
            Activity::Draw
            | Activity::Activation
            | Activity::Samples
            | Activity::Gradient
            | Activity::Weights
            | Activity::Release
            | Activity::WaitInput
            | Activity::WaitCredit
            | Activity::WaitWeights => None,
        }
    }

    /// Its name for style sheets.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Weights => "weights",
            Self::Update => "update",
        }
    }

    /// Its letter.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Forward => "F",
            Self::Backward => "B",
            Self::Weights => "W",
            Self::Update => "U",
        }
    }
}

/// Something on its way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dot {
    /// From the device of this place in the ring to the next.
    pub link: usize,
    /// Whether it goes the other way: a gradient.
    pub back: bool,
    /// The share of its way that it has gone.
    pub share: f64,
}

impl Replay {
    /// Of what the devices of a ring that trains have reported; nothing where it does not train or nobody has.
    pub fn new(view: &View) -> Option<Self> {
        let room = view.room.as_ref()?;
        let plan = room.ring()?;
        if room.state != RoomState::Training {
            return None;
        }
        let timelines: Vec<Option<&Timeline>> = plan
            .order
            .iter()
            .map(|peer| timeline(room, *peer))
            .collect();
        Self::of_ring(&timelines)
    }

    fn of_ring(timelines: &[Option<&Timeline>]) -> Option<Self> {
        let newest = timelines.iter().flatten().map(|line| line.until).max()?;
        let speaking = |line: &&&Timeline| newest.since(line.until) < SILENT_AFTER;
        let told = || timelines.iter().flatten().filter(speaking);
        let until = told().map(|line| line.until).min()?;
        let begin = |line: &&Timeline| line.until - microseconds(line.covers_us);
        let from = told().map(begin).max()?.max(until - REPORT_INTERVAL);
        let busiest = told().filter_map(|line| nth_task_before(line, until, TASKS_MAX));
        let from = busiest.fold(from, Time::max);
        if from >= until {
            return None;
        }
        let whole = until.since(from).as_secs_f64();
        let slower = REPORT_INTERVAL.as_secs_f64() / whole;
        let seconds = |time: Time| {
            let after = time.since(from).as_secs_f64();
            // `since` knows no time before.
            (after - from.since(time).as_secs_f64()) * slower
        };
        let spans = |line: &Timeline| {
            let end = line.until;
            let span = move |mark: &Mark| {
                let start = end - microseconds(mark.1);
                (mark.0, start, start + microseconds(mark.2))
            };
            let spans: Vec<_> = line.marks.iter().map(span).collect();
            spans
                .into_iter()
                .filter(move |(_, start, end)| *end > from && *start < until)
        };
        let tasks = |line: &Option<&Timeline>| {
            let task = |(activity, start, end)| {
                Some(Task {
                    doing: Doing::of(activity)?,
                    begins: seconds(start),
                    ends: seconds(end),
                })
            };
            line.iter()
                .flat_map(|line| spans(line))
                .filter_map(task)
                .collect()
        };
        let count = timelines.len();
        let arrived = timelines.iter().enumerate().flat_map(|(i, line)| {
            let travel = move |(activity, start, end)| {
                let (link, back) = way(activity, i, count)?;
                let begins = seconds(start);
                let ends = seconds(end).max(begins + SEEN_SECONDS_MIN);
                Some(Travel {
                    link,
                    back,
                    begins,
                    ends,
                })
            };
            line.iter()
                .flat_map(|line| spans(line))
                .filter_map(travel)
                .collect::<Vec<_>>()
        });
        Some(Self {
            until,
            slower,
            tasks: timelines.iter().map(tasks).collect(),
            travels: arrived.take(TRAVELS_MAX).collect(),
        })
    }

    /// How long it takes, in seconds.
    pub const fn seconds(&self) -> f64 {
        // As long as it takes until devices report again.
        1.0
    }

    /// What the device of this place in the ring computes after so many seconds.
    pub fn doing(&self, place: usize, seconds: f64) -> Option<Doing> {
        let tasks = self.tasks.get(place)?;
        let now = |task: &&Task| (task.begins..task.ends).contains(&seconds);
        tasks.iter().find(now).map(|task| task.doing)
    }

    /// What is on its way after so many seconds.
    pub fn dots(&self, seconds: f64) -> impl Iterator<Item = Dot> {
        let now = move |travel: &&Travel| (travel.begins..travel.ends).contains(&seconds);
        self.travels.iter().filter(now).map(move |travel| Dot {
            link: travel.link,
            back: travel.back,
            share: (seconds - travel.begins) / (travel.ends - travel.begins),
        })
    }
}

fn timeline(room: &RoomView, peer: PeerId) -> Option<&Timeline> {
    let mut members = room.members.iter();
    let report = members
        .find(|member| member.peer == peer)?
        .report
        .as_ref()?;
    Some(&report.timeline).filter(|timeline| !timeline.marks.is_empty())
}

/// Over which link, and in which direction, something came to the device of this place.
fn way(activity: Activity, place: usize, count: usize) -> Option<(usize, bool)> {
    let before = (place + count - 1) % count;
    match activity {
        Activity::Activation | Activity::Samples => Some((before, false)),
        Activity::Gradient => Some((place, true)),
        Activity::Draw
        | Activity::Forward
        | Activity::Evaluate
        | Activity::BackwardInput
        | Activity::BackwardWeights
        | Activity::Update
        | Activity::Weights
        | Activity::Release
        | Activity::WaitInput
        | Activity::WaitCredit
        | Activity::WaitWeights => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(until_ms: u64, covers_us: u32, marks: Vec<Mark>) -> Timeline {
        Timeline {
            until: Time::from_micros(until_ms * 1000),
            covers_us,
            clock_error_us: 0,
            marks,
        }
    }

    #[test]
    fn what_was_done_is_shown_in_its_order_and_as_much_slower_as_it_says() {
        // In the last 100 ms: F, then its activation on its way for 20 ms, then B at the other, whose gradient comes back.
        let head = vec![
            Mark(Activity::Forward, 100_000, 20_000, 0),
            Mark(Activity::Gradient, 40_000, 30_000, 0),
            Mark(Activity::BackwardWeights, 10_000, 10_000, 0),
        ];
        let tail = vec![
            Mark(Activity::Activation, 80_000, 20_000, 0),
            Mark(Activity::BackwardInput, 60_000, 20_000, 0),
        ];
        let (head, tail) = (timeline(5000, 100_000, head), timeline(5000, 100_000, tail));
        let replay = Replay::of_ring(&[Some(&head), Some(&tail)]).expect("both have told");
        assert!((replay.slower - 10.0).abs() < 1e-9);
        let at = |seconds: f64| {
            let dots: Vec<_> = replay
                .dots(seconds)
                .map(|dot| (dot.link, dot.back))
                .collect();
            (replay.doing(0, seconds), replay.doing(1, seconds), dots)
        };
        assert_eq!(at(0.1), (Some(Doing::Forward), None, vec![]));
        assert_eq!(at(0.3), (None, None, vec![(0, false)]));
        assert_eq!(at(0.55).1, Some(Doing::Backward));
        assert_eq!(at(0.7), (None, None, vec![(0, true)]));
        assert_eq!(at(0.95).0, Some(Doing::Weights));
        let share = replay.dots(0.75).next().expect("the gradient").share;
        assert!((share - 0.5).abs() < 1e-9, "half of its way: {share}");
    }

    #[test]
    fn fast_rings_are_slowed_down_until_their_tasks_can_be_told_apart_and_slow_ones_are_not() {
        let tasks = |each: u32, count: u32| {
            let mark = |i| Mark(Activity::Forward, each * (count - i), each, 0);
            (0..count).map(mark).collect::<Vec<_>>()
        };
        let fast = timeline(9000, 200_000, tasks(1000, 200));
        let replay = Replay::of_ring(&[Some(&fast)]).expect("it has told");
        assert!((replay.slower - 125.0).abs() < 1e-6, "{}", replay.slower);
        let slow = timeline(9000, 4_000_000, tasks(400_000, 10));
        let replay = Replay::of_ring(&[Some(&slow)]).expect("it has told");
        assert!((replay.slower - 1.0).abs() < 1e-9, "{}", replay.slower);
    }

    #[test]
    fn samples_cross_the_closing_link_and_the_silent_hold_nobody_back() {
        let head = timeline(
            9000,
            1_000_000,
            vec![Mark(Activity::Samples, 500_000, 400_000, 0)],
        );
        let silent = timeline(
            2000,
            1_000_000,
            vec![Mark(Activity::Forward, 500_000, 1000, 0)],
        );
        let replay = Replay::of_ring(&[Some(&head), None, Some(&silent)]).expect("one speaks");
        assert_eq!(replay.until, Time::from_micros(9_000_000));
        let dots: Vec<_> = replay.dots(0.6).collect();
        assert_eq!((dots[0].link, dots[0].back), (2, false));
        assert_eq!(replay.doing(2, 0.5), None);
        assert_eq!(Replay::of_ring(&[None, None]), None);
    }
}
