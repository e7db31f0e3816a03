//! Whether neighbours are still there: each says so at least every quarter of a second, and whoever is silent for too long is
//! told of to the room: first that it is suspected, then that it is lost. The room asks whoever is suspected; where it answers, only
//! the link is disturbed, and is waited for. What was sent over it is not lost: data channels send again what did not get through.
//!
//! A peer whose tasks run on the thread of its event loop is silent for as long as a task takes. So every beat says what the
//! longest task took, and that is allowed for. A peer that was itself held up (a tab that was frozen) hears what has arrived
//! meanwhile before it judges.

use super::{Node, Output};
use crate::ids::{Epoch, PeerId};
use crate::signal::ClientMessage;
use crate::time::Time;
use crate::wire::Body;
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
pub(super) struct Beats {
    lives: BTreeMap<PeerId, Life>,
    due: Time,
    turned: Time,
    task_began: Option<Time>,
    task_longest: Duration,
}

impl Beats {
    pub(super) fn begin(now: Time, neighbours: impl Iterator<Item = PeerId>) -> Self {
        let life = Life {
            heard: now,
            task: Duration::ZERO,
            doubted_until: now,
            suspected: false,
            vouched: false,
        };
        Self {
            lives: neighbours.map(|peer| (peer, life)).collect(),
            due: now,
            turned: now,
            task_began: None,
            task_longest: Duration::ZERO,
        }
    }

    /// When the next beat goes out, or silence has lasted too long.
    pub(super) fn due(&self) -> Option<Time> {
        (!self.lives.is_empty()).then_some(self.due)
    }

    fn heard(&mut self, now: Time, peer: PeerId, task: Option<Duration>) {
        if let Some(life) = self.lives.get_mut(&peer) {
            life.heard = now;
            (life.suspected, life.vouched) = (false, false);
            if let Some(task) = task {
                life.task = task.min(TASK_MAX);
            }
        }
    }

    /// Time spent held up counts for nobody: how much of it there was since the last turn.
    fn turn(&mut self, now: Time) -> Duration {
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

    fn silent(&self, now: Time) -> Option<(PeerId, Duration)> {
        let mut lives = self.lives.iter();
        let silent = lives.find(|(_, life)| now.since(life.heard) > life.allowed(now));
        silent.map(|(peer, life)| (*peer, now.since(life.heard)))
    }

    /// Who is silent for half of what is allowed, and was not before.
    fn suspects(&mut self, now: Time) -> Vec<PeerId> {
        let lives = self.lives.iter_mut();
        let suspect = |life: &Life| 2 * now.since(life.heard) > life.allowed(now);
        let fresh = lives.filter(|(_, life)| !life.suspected && suspect(life));
        let told = fresh.map(|(peer, life)| {
            life.suspected = true;
            *peer
        });
        told.collect()
    }

    fn vouch(&mut self, peer: PeerId) {
        if let Some(life) = self.lives.get_mut(&peer) {
            // What came meanwhile speaks for itself.
            life.vouched = life.suspected;
        }
    }

    fn doubt(&mut self, now: Time, peer: PeerId) {
        if let Some(life) = self.lives.get_mut(&peer) {
            life.doubted_until = now + DOUBT_LASTS;
        }
    }

    pub(super) fn task_began(&mut self, now: Time) {
        self.task_began = Some(now);
    }

    /// A neighbour is lost: whether that is news.
    pub(super) fn lost(&mut self, peer: PeerId) -> bool {
        self.lives.remove(&peer).is_some()
    }
}

impl Node {
    /// Something has come from a neighbour, which so is there.
    pub(super) fn heard(&mut self, now: Time, from: PeerId, body: Option<&Body>) {
        let task = match body {
            Some(Body::Beat { task_millis }) => Some(Duration::from_millis((*task_millis).into())),
            _ => None,
        };
        if let Some(beats) = self
            .active
            .as_mut()
            .and_then(|active| active.beats.as_mut())
        {
            beats.heard(now, from, task);
        }
    }

    /// The room no longer hears a neighbour.
    pub(super) fn doubt(&mut self, now: Time, epoch: Epoch, peer: PeerId) {
        let active = self.under(epoch);
        if let Some(beats) = active.and_then(|active| active.beats.as_mut()) {
            beats.doubt(now, peer);
        }
    }

    /// A neighbour has answered the room.
    pub(super) fn vouched_for(&mut self, epoch: Epoch, peer: PeerId) {
        let active = self.under(epoch);
        if let Some(beats) = active.and_then(|active| active.beats.as_mut()) {
            beats.vouch(peer);
        }
    }

    pub(super) fn task_ended(&mut self, now: Time) {
        if let Some(beats) = self
            .active
            .as_mut()
            .and_then(|active| active.beats.as_mut())
            && let Some(began) = beats.task_began.take()
        {
            beats.task_longest = beats.task_longest.max(now.since(began));
        }
    }

    /// Sends the beats that are due. `quiet` if nothing else is waiting to be handled: only then is silence silence.
    pub(super) fn beat(&mut self, now: Time, quiet: bool) {
        let Some(active) = &mut self.active else {
            return;
        };
        let Some(beats) = &mut active.beats else {
            return;
        };
        let held_up = beats.turn(now);
        if now >= beats.due {
            beats.due = now + BEAT_INTERVAL;
            let task_millis = u32::try_from(beats.task_longest.as_millis()).unwrap_or(u32::MAX);
            let epoch = active.plan.epoch;
            let beat = |to: &PeerId| Output::Send {
                to: *to,
                epoch,
                body: Body::Beat { task_millis },
                payload: None,
            };
            self.output.extend(beats.lives.keys().map(beat));
        }
        let updates = active.training.schedule.updates();
        let is_overdue = active.keeping.is_overdue(now, updates, held_up);
        if !quiet {
            return;
        }
        if is_overdue {
            return self.blame_for_copies();
        }
        let epoch = active.plan.epoch;
        let suspects = beats.suspects(now).into_iter();
        let told = suspects.map(|peer| Output::ToRoom(ClientMessage::Suspect { epoch, peer }));
        self.output.extend(told);
        if let Some((peer, silence)) = beats.silent(now) {
            let seconds = silence.as_secs_f64();
            self.link_lost(peer, format!("nothing was heard for {seconds:.1} s"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId(1);

    fn at(seconds: f64) -> Time {
        Time::ZERO + Duration::from_secs_f64(seconds)
    }

    /// Turns every tenth of a second until `end`, and says when the peer was found silent.
    fn silent_at(beats: &mut Beats, from: f64, end: f64) -> Option<f64> {
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
