//! Whether the successor says of copies that they are there. A neighbour that trains, but never acknowledges, would keep every later
//! version from becoming stable: what a loss costs would grow without anybody noticing.
//!
//! Pieces go to the successor behind tensors, so nobody is judged by the clock alone: once two updates were made here since a copy
//! last got on, the successor has worked off all that was before its pieces; a ring at rest sends no tensors. A slow link and a
//! device that is held up for a while are allowed for with [`ACKNOWLEDGED_WITHIN`].

use super::Node;
use super::keeping::Keeping;
use crate::ids::Step;
use crate::time::Time;
use std::time::Duration;

/// Of a copy something is acknowledged within so long, though little else may be: 128 KiB (what is on its way at a time) in this
/// time are 17 kbit/s, less than any link over which training makes sense.
pub const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);

/// Updates after which no tensor from before is on its way to the successor.
const UPDATES_BETWEEN: u32 = 2;

/// How the copies stood that the successor is sent, when it last acknowledged any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owed {
    since: Time,
    updates: Step,
    bytes_left: u64,
}

impl Owed {
    /// How it stands now: what was owed before, unless something has moved since.
    fn now(before: Option<Self>, now: Self, held_up: Duration) -> Option<Self> {
        if now.bytes_left == 0 {
            return None;
        }
        let same = before.filter(|before| before.bytes_left == now.bytes_left);
        Some(same.map_or(now, |before| Self {
            since: before.since + held_up,
            ..before
        }))
    }

    fn is_overdue(&self, now: Time, updates: Step, at_rest: bool) -> bool {
        let worked_off = updates.0 >= self.updates.0.saturating_add(UPDATES_BETWEEN);
        (worked_off || at_rest) && now.since(self.since) > ACKNOWLEDGED_WITHIN
    }
}

impl Keeping {
    /// Notes how copies get on while training goes on, and whether they are overdue. Time in which this peer was held up counts for
    /// nobody.
    pub(super) fn is_overdue(&mut self, now: Time, updates: Step, held_up: Duration) -> bool {
        let stands = Owed {
            since: now,
            updates,
            bytes_left: self.sending.bytes_left(),
        };
        self.owed = Owed::now(self.owed, stands, held_up);
        let at_rest = self.round.as_ref().is_some_and(|round| round.rest);
        self.owed
            .is_some_and(|owed| owed.is_overdue(now, updates, at_rest))
    }
}

impl Node {
    /// The successor keeps what it is sent of copies to itself, or says so.
    pub(super) fn blame_for_copies(&mut self) {
        let Some(active) = &self.active else { return };
        let successor = active.plan.successor(active.stage);
        let name = self.name(successor);
        let seconds = ACKNOWLEDGED_WITHIN.as_secs();
        self.blame(
            successor,
            format!(
                "{name} did not say for {seconds} s that any of the copies sent to it are there"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owed(seconds: u64, updates: u32, bytes_left: u64) -> Owed {
        Owed {
            since: Time::ZERO + Duration::from_secs(seconds),
            updates: Step(updates),
            bytes_left,
        }
    }

    #[test]
    fn copies_are_owed_from_when_they_last_got_on() {
        let first = Owed::now(None, owed(1, 5, 900), Duration::ZERO);
        assert_eq!(first, Some(owed(1, 5, 900)));
        let still = Owed::now(first, owed(9, 6, 900), Duration::ZERO);
        assert_eq!(still, first);
        let frozen = Owed::now(first, owed(9, 6, 900), Duration::from_secs(4));
        assert_eq!(frozen, Some(owed(5, 5, 900)));
        let moved = Owed::now(still, owed(10, 6, 899), Duration::ZERO);
        assert_eq!(moved, Some(owed(10, 6, 899)));
        assert_eq!(Owed::now(moved, owed(11, 6, 0), Duration::ZERO), None);
    }

    #[test]
    fn a_successor_is_overdue_by_the_clock_only_with_nothing_before_the_copies() {
        let late = Time::ZERO + Duration::from_secs(1) + ACKNOWLEDGED_WITHIN;
        let later = late + Duration::from_millis(1);
        let owed = owed(1, 5, 900);
        assert!(!owed.is_overdue(late, Step(99), true));
        assert!(!owed.is_overdue(later, Step(6), false));
        assert!(owed.is_overdue(later, Step(7), false));
        assert!(owed.is_overdue(later, Step(5), true));
    }
}
