//! What the room's clock says, told by a peer's own: so that what several peers did can be put on one axis of time.

use crate::time::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// Answers that are remembered. At one a second they are two minutes old at most, in which clocks part by a few milliseconds.
const ANSWERS_MAX: usize = 120;

/// Slower answers tell nothing.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
struct Answer {
    /// The room's clock less our own, in microseconds.
    offset_us: i64,
    round_trip: Duration,
}

/// The room's clock as a peer knows it. The room answers when asked for its time; of all recent answers the quickest is
/// believed, and was given half its round trip ago (Cristian, "Probabilistic clock synchronization", 1989).
#[derive(Clone, Debug, Default)]
pub struct RoomClock {
    answers: VecDeque<Answer>,
}

impl RoomClock {
    /// The room said `room` when asked at `asked`. What cannot be true is forgotten.
    pub fn answered(&mut self, now: Time, asked: Time, room: Time) {
        let round_trip = now.since(asked);
        if asked > now || round_trip > ROUND_TRIP_MAX {
            return;
        }
        let half_way = asked + round_trip / 2;
        let Some(offset_us) = difference_us(room, half_way) else {
            return;
        };
        if self.answers.len() == ANSWERS_MAX {
            self.answers.pop_front();
        }
        self.answers.push_back(Answer {
            offset_us,
            round_trip,
        });
    }

    fn best(&self) -> Option<Answer> {
        self.answers
            .iter()
            .min_by_key(|answer| answer.round_trip)
            .copied()
    }

    /// How far the estimate may be off, if there is one: half the quickest round trip.
    pub fn error(&self) -> Option<Duration> {
        self.best().map(|answer| answer.round_trip / 2)
    }

    /// The room's time at a moment of ours.
    pub fn to_room(&self, local: Time) -> Option<Time> {
        let offset_us = self.best()?.offset_us;
        Some(Time::from_micros(
            local.as_micros().saturating_add_signed(offset_us),
        ))
    }

    /// Our time at a moment of the room's.
    pub fn to_local(&self, room: Time) -> Option<Time> {
        let offset_us = self.best()?.offset_us;
        Some(Time::from_micros(
            room.as_micros()
                .saturating_add_signed(offset_us.saturating_neg()),
        ))
    }
}

fn difference_us(a: Time, b: Time) -> Option<i64> {
    let a = i64::try_from(a.as_micros()).ok()?;
    a.checked_sub(i64::try_from(b.as_micros()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(us: u64) -> Time {
        Time::from_micros(us)
    }

    #[test]
    fn the_quickest_answer_tells_the_rooms_time_to_half_its_round_trip() {
        let mut clock = RoomClock::default();
        assert_eq!(clock.to_room(at(5)), None);
        // The room is 1,000,000 us ahead; the way back of the slow answer takes all of its time.
        clock.answered(at(1_090), at(1_000), at(1_001_000));
        clock.answered(at(2_010), at(2_000), at(1_002_005));
        assert_eq!(clock.error(), Some(Duration::from_micros(5)));
        assert_eq!(clock.to_room(at(3_000)), Some(at(1_003_000)));
        assert_eq!(clock.to_local(at(1_003_000)), Some(at(3_000)));
    }

    #[test]
    fn an_answer_from_the_future_or_from_long_ago_is_forgotten() {
        let mut clock = RoomClock::default();
        clock.answered(at(10), at(11), at(5));
        clock.answered(at(6_000_000), at(0), at(5));
        clock.answered(at(10), at(9), at(u64::MAX));
        assert_eq!(clock.error(), None);
        for i in 0..1000 {
            clock.answered(at(i), at(i), at(i));
        }
        assert_eq!(clock.answers.len(), ANSWERS_MAX);
    }
}
