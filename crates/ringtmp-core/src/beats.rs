//! Whether neighbours are still there: each says so at least every quarter of a second, and whoever is silent for too long is
//! told of to the room: first that it is suspected, then that it is lost. The room asks whoever is suspected; where it answers, only
//! the link is disturbed, and is waited for. What was sent over it is not lost: data channels send again what did not get through.
//!
//! A peer whose tasks run on the thread of its event loop is silent for as long as a task takes. So every beat says what the
//! longest task took, and that is allowed for. A peer that was itself held up (a tab that was frozen) hears what has arrived
//! meanwhile before it judges.

use crate::time::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// Beats go out so often.
pub const BEAT_INTERVAL: Duration = Duration::from_millis(250);

/// Who was silent for so long is gone, and for half of it suspected.
pub const SILENCE_MAX: Duration = Duration::from_secs(2);

/// A link over which nothing comes from a neighbour that answers the room is waited for so long: a Wi-Fi that changes its access
/// point takes seconds, and putting the ring together anew takes as long.
pub const LINK_SILENCE_MAX: Duration = Duration::from_secs(8);

/// A neighbour may be silent for so many times its longest task.
const TASKS_MAX: u32 = 4;

/// Likewise if its socket to the server is closed: three beats are not missed by chance.
const DOUBTED_SILENCE_MAX: Duration = Duration::from_millis(750);

/// How long a closed socket speaks against a neighbour that is heard.
const DOUBT_LASTS: Duration = Duration::from_secs(3);

/// No task is allowed for beyond this, whatever a neighbour says.
const TASK_MAX: Duration = Duration::from_secs(10);

/// An event loop that did not turn for so long was held up.
const HELD_UP: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
struct Life {
    heard: Time,
    task: Duration,
    doubted_until: Time,
    /// The room was told, since it was last heard.
    suspected: bool,
    /// It has answered the room since then.
    vouched: bool,
}

impl Life {
    fn new(now: Time) -> Self {
        Self {
            heard: now,
            task: Duration::ZERO,
            doubted_until: now,
            suspected: false,
            vouched: false,
        }
    }

    fn allowed(&self, now: Time) -> Duration {
        if self.vouched {
            LINK_SILENCE_MAX.max(self.task * TASKS_MAX)
        } else if now < self.doubted_until {
            DOUBTED_SILENCE_MAX.max(self.task * 2)
        } else {
            SILENCE_MAX.max(self.task * TASKS_MAX)
        }
    }
}

/// The beats of one plan, from its commit on.
#[derive(Debug)]
pub(crate) struct Beats<K> {
    lives: BTreeMap<K, Life>,
    due: Time,
    turned: Time,
    task_began: Option<Time>,
    task_longest: Duration,
}

impl<K: Ord + Copy> Beats<K> {
    pub(crate) fn begin(now: Time, neighbours: impl Iterator<Item = K>) -> Self {
        Self {
            lives: neighbours.map(|peer| (peer, Life::new(now))).collect(),
            due: now,
            turned: now,
            task_began: None,
            task_longest: Duration::ZERO,
        }
    }

    /// Another neighbour is there from now on.
    pub(crate) fn meet(&mut self, now: Time, peer: K) {
        self.due = self.due.min(now);
        self.turned = now;
        self.lives.insert(peer, Life::new(now));
    }

    /// When the next beat goes out, or silence has lasted too long.
    pub(crate) fn due(&self) -> Option<Time> {
        (!self.lives.is_empty()).then_some(self.due)
    }

    /// Something has come from a neighbour; a beat says what its longest task took.
    pub(crate) fn heard(&mut self, now: Time, peer: K, task: Option<Duration>) {
        if let Some(life) = self.lives.get_mut(&peer) {
            life.heard = now;
            (life.suspected, life.vouched) = (false, false);
            if let Some(task) = task {
                life.task = task.min(TASK_MAX);
            }
        }
    }

    /// Time spent held up counts for nobody: how much of it there was since the last turn.
    pub(crate) fn turn(&mut self, now: Time) -> Duration {
        let gap = now.since(self.turned);
        self.turned = now;
        if gap <= HELD_UP {
            return Duration::ZERO;
        }
        for life in self.lives.values_mut() {
            life.heard = life.heard + gap;
        }
        gap
    }

    /// Who is silent for longer than is allowed, and for how long.
    pub(crate) fn silent(&self, now: Time) -> Option<(K, Duration)> {
        let mut lives = self.lives.iter();
        let silent = lives.find(|(_, life)| now.since(life.heard) > life.allowed(now));
        silent.map(|(peer, life)| (*peer, now.since(life.heard)))
    }

    /// Who is silent for half of what is allowed, and was not before.
    pub(crate) fn suspects(&mut self, now: Time) -> Vec<K> {
        let lives = self.lives.iter_mut();
        let suspect = |life: &Life| 2 * now.since(life.heard) > life.allowed(now);
        let fresh = lives.filter(|(_, life)| !life.suspected && suspect(life));
        let told = fresh.map(|(peer, life)| {
            life.suspected = true;
            *peer
        });
        told.collect()
    }

    /// A neighbour has answered the room.
    pub(crate) fn vouch(&mut self, peer: K) {
        if let Some(life) = self.lives.get_mut(&peer) {
            // What came meanwhile speaks for itself.
            life.vouched = life.suspected;
        }
    }

    /// The room no longer hears a neighbour.
    pub(crate) fn doubt(&mut self, now: Time, peer: K) {
        if let Some(life) = self.lives.get_mut(&peer) {
            life.doubted_until = now + DOUBT_LASTS;
        }
    }

    /// The longest task, for the beats that go out now, if it is time, and to whom.
    pub(crate) fn take_due(&mut self, now: Time) -> Option<(u32, Vec<K>)> {
        if now < self.due {
            return None;
        }
        self.due = now + BEAT_INTERVAL;
        let task_millis = u32::try_from(self.task_longest.as_millis()).unwrap_or(u32::MAX);
        Some((task_millis, self.lives.keys().copied().collect()))
    }

    pub(crate) fn task_ended(&mut self, now: Time) {
        if let Some(began) = self.task_began.take() {
            self.task_longest = self.task_longest.max(now.since(began));
        }
    }

    pub(crate) fn task_began(&mut self, now: Time) {
        self.task_began = Some(now);
    }

    /// A neighbour is lost: whether that is news.
    pub(crate) fn lost(&mut self, peer: K) -> bool {
        self.lives.remove(&peer).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PeerId;

    const PEER: PeerId = PeerId(1);

    fn at(seconds: f64) -> Time {
        Time::ZERO + Duration::from_secs_f64(seconds)
    }

    /// Turns every tenth of a second until `end`, and says when the peer was found silent.
    fn silent_at(beats: &mut Beats<PeerId>, from: f64, end: f64) -> Option<f64> {
        let turns = (1..).map(|i| from + 0.1 * f64::from(i));
        turns.take_while(|now| *now < end).find(|now| {
            beats.turn(at(*now));
            beats.silent(at(*now)).is_some()
        })
    }

    #[test]
    fn who_is_silent_for_two_seconds_is_gone_and_who_has_long_tasks_is_not() {
        let mut beats = Beats::begin(Time::ZERO, [PEER].into_iter());
        let found = silent_at(&mut beats, 0.0, 9.0).expect("silent");
        assert!((2.0..2.3).contains(&found), "{found}");
        let mut beats = Beats::begin(Time::ZERO, [PEER].into_iter());
        beats.heard(at(0.0), PEER, Some(Duration::from_secs(1)));
        let found = silent_at(&mut beats, 0.0, 9.0).expect("silent");
        assert!((4.0..4.3).contains(&found), "{found}");
        let mut boast = Beats::begin(Time::ZERO, [PEER].into_iter());
        boast.heard(at(0.0), PEER, Some(Duration::from_secs(100_000)));
        assert!(silent_at(&mut boast, 0.0, 60.0).is_some());
    }

    #[test]
    fn time_in_which_this_peer_was_held_up_is_not_the_neighbours_silence() {
        let mut beats = Beats::begin(Time::ZERO, [PEER].into_iter());
        assert_eq!(silent_at(&mut beats, 0.0, 1.0), None);
        beats.turn(at(11.0));
        assert_eq!(beats.silent(at(11.0)), None, "thawed just now");
        let found = silent_at(&mut beats, 11.0, 20.0).expect("silent all the same");
        assert!((12.0..12.3).contains(&found), "{found}");
    }
}
