//! What a lobby has to look at next: only what is due is ever looked at, however many rooms and connections there are.

use super::ConnectionId;
use crate::ids::RoomCode;
use crate::time::Time;
use std::collections::BTreeSet;

/// What may be due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A room has something to time, or has been without members for too long.
    Room(RoomCode),
    /// A connection has been in no room for too long.
    Connection(ConnectionId),
}

/// Each room and connection at most once, by time.
#[derive(Debug, Default)]
pub(super) struct Schedule(BTreeSet<(Time, Due)>);

impl Schedule {
    /// Puts it where it belongs now; `at` is where it is, and becomes where it will be.
    pub(super) fn set(&mut self, due: Due, at: &mut Option<Time>, new: Option<Time>) {
        if *at == new {
            return;
        }
        if let Some(old) = *at {
            self.0.remove(&(old, due));
        }
        if let Some(new) = new {
            self.0.insert((new, due));
        }
        *at = new;
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.0.first().map(|(time, _)| *time)
    }

    /// Takes out all that is due.
    pub(super) fn take(&mut self, now: Time) -> Vec<Due> {
        let mut all = Vec::new();
        while let Some((time, due)) = self.0.first().copied()
            && time <= now
        {
            self.0.pop_first();
            all.push(due);
        }
        all
    }
}
