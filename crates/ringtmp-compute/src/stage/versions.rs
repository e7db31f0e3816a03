//! Which versions of its weights a stage holds.

use crate::error::ComputeError;

/// The versions that are held: consecutive ones, each the weights after so many updates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Versions {
    /// How many there is room for. Version v lies at place v modulo their number, so that an update overwrites the oldest.
    places: u64,
    oldest: u64,
    newest: u64,
}

impl Versions {
    /// The first one alone.
    pub(super) fn new(places: usize) -> Self {
        let places = places as u64;
        Self {
            places,
            oldest: 0,
            newest: 0,
        }
    }

    /// Consecutive ones, up to the newest.
    pub(super) fn up_to(self, newest: u64, held: u64) -> Self {
        let held = held.clamp(1, self.places);
        Self {
            oldest: (newest + 1).saturating_sub(held),
            newest,
            ..self
        }
    }

    pub(super) fn newest(self) -> u64 {
        self.newest
    }

    /// All of them, oldest first.
    pub(super) fn held(self) -> impl Iterator<Item = u64> {
        self.oldest..=self.newest
    }

    /// Where a version lies, whether or not it is there.
    pub(super) fn place(self, version: u64) -> usize {
        // Below the number of places, so that it fits.
        (version % self.places) as usize
    }

    /// Where a version lies that a task needs.
    pub(super) fn find(self, task: &'static str, version: u64) -> Result<usize, ComputeError> {
        if (self.oldest..=self.newest).contains(&version) {
            return Ok(self.place(version));
        }
        Err(ComputeError::Version {
            task,
            version,
            oldest: self.oldest,
            newest: self.newest,
        })
    }

    /// After an update: one more, instead of the oldest if there is no room.
    pub(super) fn advanced(self) -> Self {
        let held = self.newest - self.oldest + 1;
        self.up_to(self.newest + 1, held + 1)
    }
}
