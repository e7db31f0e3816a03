//! Places for sockets that load pages. Where there is none left, a newcomer gets that of a socket which asks for nothing: so sockets
//! that only hold on (half a handshake, half a request, a connection kept for later) never keep others out.

use ringtmp_core::lobby::VisitorId;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Who holds the places.
#[derive(Debug)]
pub(crate) struct Places {
    places_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    /// By age.
    holders: BTreeMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    visitor: VisitorId,
    /// Requests that are being answered.
    busy: u32,
    cut: Arc<Notify>,
}

/// A place, for as long as this is kept, or until it is cut.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    cut: Arc<Notify>,
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Busy {
    places: Arc<Places>,
    number: u64,
}

impl Places {
    pub(crate) fn new(places_max: usize) -> Self {
        Self {
            places_max,
            held: Mutex::default(),
        }
    }

    /// Gives a place, if need be somebody else's, and says whether it was.
    pub(crate) fn take(self: &Arc<Self>, visitor: VisitorId) -> (Place, bool) {
        let cut = Arc::new(Notify::new());
        let holder = Holder {
            visitor,
            busy: 0,
            cut: Arc::clone(&cut),
        };
        let mut held = self.lock();
        let loser = (held.holders.len() >= self.places_max)
            .then(|| held.loser())
            .flatten();
        let loser = loser.and_then(|number| held.holders.remove(&number));
        if let Some(loser) = &loser {
            // It may not be listening yet: this is kept for it.
            loser.cut.notify_one();
        }
        let number = held.next;
        held.next += 1;
        held.holders.insert(number, holder);
        drop(held);
        let places = Arc::clone(self);
        let place = Place {
            places,
            number,
            cut,
        };
        (place, loser.is_some())
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Whose place is taken: of those that ask for nothing, the oldest of the visitor who has most of them; where all are busy, the
    /// oldest of the visitor who has most.
    fn loser(&self) -> Option<u64> {
        let of = |idle: bool| {
            let candidates = self.holders.iter();
            let candidates = candidates.filter(move |(_, holder)| !idle || holder.busy == 0);
            let mut counts = HashMap::<VisitorId, usize>::new();
            for (_, holder) in candidates.clone() {
                *counts.entry(holder.visitor).or_default() += 1;
            }
            let most = counts.into_iter().max_by_key(|(visitor, n)| (*n, *visitor));
            let (most, _) = most?;
            let mut oldest_first = candidates;
            let oldest = oldest_first.find(|(_, holder)| holder.visitor == most);
            oldest.map(|(number, _)| *number)
        };
        of(true).or_else(|| of(false))
    }
}

impl Place {
    /// Done when somebody else got it.
    pub(crate) fn cut(&self) -> Arc<Notify> {
        Arc::clone(&self.cut)
    }

    /// From now on a request is being answered, until what is returned is dropped.
    pub(crate) fn is_busy(&self) -> Busy {
        if let Some(holder) = self.places.lock().holders.get_mut(&self.number) {
            holder.busy += 1;
        }
        Busy {
            places: Arc::clone(&self.places),
            number: self.number,
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(holder) = self.places.lock().holders.get_mut(&self.number) {
            holder.busy = holder.busy.saturating_sub(1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().holders.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_cut(place: &Place) -> bool {
        let held = place.places.lock();
        !held.holders.contains_key(&place.number)
    }

    #[test]
    fn who_comes_last_takes_the_place_of_who_holds_most_and_asks_for_nothing() {
        let (crowd, alone) = (VisitorId(1), VisitorId(2));
        let places = Arc::new(Places::new(4));
        let take = |visitor| places.take(visitor).0;
        let (single, oldest, second, third) = (take(alone), take(crowd), take(crowd), take(crowd));
        let asking = oldest.is_busy();
        let (newcomer, was_taken) = places.take(VisitorId(3));
        assert!(was_taken && is_cut(&second), "the oldest that is idle");
        assert!(
            ![&single, &oldest, &third, &newcomer]
                .into_iter()
                .any(is_cut)
        );
        let busy = [&single, &third, &newcomer].map(Place::is_busy);
        let last = take(alone);
        assert!(is_cut(&oldest), "all are busy, and the crowd has most");
        drop((asking, busy));
        drop(single);
        let (_place, was_taken) = places.take(crowd);
        assert!(!was_taken && !is_cut(&last), "one was free");
    }
}
