//! How long a ring of this program's own devices is waited for.

use crate::terminal::{participants, steps_done};
use ringtmp_core::signal::RoomState;
use ringtmp_peer::View;
use std::time::Duration;
use tokio::time::Instant;

/// For the next device to join: a browser starts and compiles the page's wasm in seconds, on two loaded cores with a cold
/// disk in tens of seconds.
const JOIN_MAX: Duration = Duration::from_secs(90);

/// For stages, links and kernels: links take a second or two (thirty where a network is hostile), the first use of each
/// kernel up to 2.5 s where a GPU is emulated.
const WARM_UP_MAX: Duration = Duration::from_secs(120);

/// For the next step: an emulated GPU may need seconds, an evaluation between two steps some more.
const STEP_MAX: Duration = Duration::from_secs(120);

/// Watches that a room moves on.
#[derive(Debug)]
pub(crate) struct Patience {
    /// What was seen last: the state, the number of devices, the number of steps.
    seen: Option<(RoomState, usize, u32)>,
    since: Instant,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self {
            seen: None,
            since: Instant::now(),
        }
    }

    /// Takes note of a view; one that has moved on starts the wait anew.
    pub(crate) fn see(&mut self, view: &View) {
        let now = view.room.as_ref().map(|room| {
            (
                room.state.clone(),
                participants(room).count(),
                steps_done(view),
            )
        });
        if self.seen != now {
            self.seen = now;
            self.since = Instant::now();
        }
    }

    /// Done, with words, when the room has not moved on for too long.
    pub(crate) async fn lost(&self) -> String {
        let Some((limit, words)) = self.limit() else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(self.since + limit).await;
        format!("{words} within {} s", limit.as_secs())
    }

    /// How long the present wait may take; none where the room waits for a person.
    fn limit(&self) -> Option<(Duration, String)> {
        let Some((state, devices, steps)) = &self.seen else {
            return Some((JOIN_MAX, "the room did not answer".to_owned()));
        };
        match state {
            RoomState::Waiting => Some((
                JOIN_MAX,
                format!("{devices} devices have joined, and no other one did"),
            )),
            RoomState::WarmingUp | RoomState::Reconfiguring { .. } => {
                Some((WARM_UP_MAX, "stages and links were not ready".to_owned()))
            }
            RoomState::Training => Some((
                STEP_MAX,
                format!("there was no step after the first {steps}"),
            )),
            // The last waits for a device that may take any time to come back.
            RoomState::Paused
            | RoomState::Finished
            | RoomState::Stopped { .. }
            | RoomState::Lacking { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::sample;

    #[tokio::test(start_paused = true)]
    async fn patience_ends_when_nothing_moves_and_starts_anew_when_something_does() {
        let started = Instant::now();
        let mut patience = Patience::new();
        let mut view = sample::training();
        patience.see(&view);
        tokio::time::advance(STEP_MAX / 2).await;
        patience.see(&view);
        assert!(patience.lost().await.contains("after the first 40"));
        assert_eq!(
            started.elapsed().as_secs(),
            STEP_MAX.as_secs(),
            "the same view twice is no progress"
        );
        view.points.clear();
        patience.see(&view);
        assert!(patience.lost().await.contains("after the first 0"));
        assert_eq!(started.elapsed().as_secs(), 2 * STEP_MAX.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_who_has_paused_the_run_may_take_any_time() {
        let mut patience = Patience::new();
        let mut view = sample::training();
        view.room.as_mut().expect("a room").state = RoomState::Paused;
        patience.see(&view);
        let waited = tokio::time::timeout(Duration::from_secs(1_000_000), patience.lost()).await;
        assert!(waited.is_err());
    }
}
