//! The room's clock, which the room's side of a device learns and its member asks.

use ringtmp_core::time::Time;
use ringtmp_core::trace::RoomClock;
use std::sync::{Arc, Mutex, PoisonError};

/// One for both sides: what is learnt does not wait in a queue behind connection messages.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedClock(Arc<Mutex<RoomClock>>);

impl SharedClock {
    /// The room said `room` when asked at `asked`.
    pub(super) fn answered(&self, now: Time, asked: Time, room: Time) {
        self.with(|clock| clock.answered(now, asked, room));
    }

    /// Asks it something.
    pub(super) fn with<T>(&self, ask: impl FnOnce(&mut RoomClock) -> T) -> T {
        ask(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
