//! Disks under virtual time: what devices keep on them outlives a crash.

use super::{Event, SIGNAL_DELAY, World};
use crate::check::Complaint;
use crate::compute::Compute;
#[cfg(test)]
use crate::planted::Bug;
use ringtmp_core::ids::{Epoch, LayerIndex, Version};
use ringtmp_core::kept::{Kept, Past};
use ringtmp_core::node::{Assignment, Input};
use ringtmp_core::replica::{CopyId, copy_bytes_max};
use ringtmp_core::signal::{ClientMessage, RoomState};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// To write a version, or to read one.
const DISK_DELAY: Duration = Duration::from_millis(30);

/// How long a user looks on while a room waits for all that were there before, and how often.
const USER_WAITS: Duration = Duration::from_secs(30);
const USER_LOOKS_MAX: u8 = 4;

impl<C: Compute, B: FnMut(Assignment) -> C> World<'_, C, B> {
    /// A device that has come into the room tells its node what it keeps, as soon as it has read through that.
    pub(super) fn tell_disk(&mut self, at: usize) {
        let Some(every) = self.scenario.keeps_every else {
            return;
        };
        let kept = self.peers[at].disk.iter().map(|(kept, _)| kept.clone());
        let storage = Input::Storage {
            every: Some(Duration::from_secs_f64(every)),
            kept: kept.collect(),
        };
        // After what the room has just said.
        let told = Event::Done(at, Box::new(storage));
        self.schedule(SIGNAL_DELAY + DISK_DELAY, told);
    }

    /// Writes copies that are here: what a device loses in the middle of it was never kept.
    pub(super) fn keep(&mut self, at: usize, kept: Kept) {
        self.peers[at].writing = self.copies_of(at, &kept);
        let kept = Some(kept);
        self.schedule(DISK_DELAY, Event::Done(at, Box::new(Input::Kept { kept })));
    }

    /// A version is written: what was in memory when the writing began is on the disk.
    pub(super) fn is_kept(&mut self, at: usize, kept: &Kept) {
        let peer = &mut self.peers[at];
        let copies = std::mem::take(&mut peer.writing);
        peer.disk.push((kept.clone(), copies));
    }

    fn copies_of(&self, at: usize, kept: &Kept) -> BTreeMap<CopyId, C::Copy> {
        let version = kept.version;
        let copies = kept.layers.iter().map(|layer| CopyId {
            version,
            layer: *layer,
        });
        let vault = &self.peers[at].vault;
        copies
            .filter_map(|copy| Some((copy, vault.get(&copy)?.clone())))
            .collect()
    }

    /// A room that waits for layers waits for what nobody has who is there: of the last plan's past no version is whole on disks
    /// that are there.
    pub(super) fn waits_in_vain(&self) -> Option<Complaint> {
        let (plan, _) = self.plan.as_ref()?;
        let room = self.room?;
        let epoch = plan.epoch;
        let here = self.peers.iter().filter(|peer| peer.connection.is_some());
        let mut whole: BTreeMap<Version, BTreeSet<LayerIndex>> = BTreeMap::new();
        for (kept, _) in here.flat_map(|peer| &peer.disk) {
            if kept.past == (Past { room, epoch }) {
                whole.entry(kept.version).or_default().extend(&kept.layers);
            }
        }
        let learns = (0u16..).zip(&self.scenario.outline.layers);
        let learns = learns.filter(|(_, layer)| layer.parameters > 0).count();
        let found = whole.iter().find(|(_, layers)| layers.len() == learns);
        found.map(|(version, _)| Complaint::WaitsInVain { version: version.0 })
    }

    /// All devices are dead: those that come join another room, which goes on with the run.
    pub(super) fn resume_elsewhere(&mut self) {
        if self.now < self.server_back() {
            let later = self.server_back().since(self.now);
            return self.schedule(later, Event::AllReturn);
        }
        let first = self.first_room.or(self.room);
        (self.first_room, self.room, self.plan) = (first, None, None);
        self.index.clear();
        self.state = RoomState::Waiting;
        self.create(first);
        self.user_looks = USER_LOOKS_MAX;
        self.schedule(USER_WAITS, Event::UserStarts);
    }

    /// Some may be gone for good.
    pub(super) fn user_starts(&mut self) {
        self.user_looks -= 1;
        if self.user_looks > 0 {
            self.schedule(USER_WAITS, Event::UserStarts);
        }
        let living = self.peers.iter().position(|peer| peer.id.is_some());
        if let (RoomState::Waiting, Some(at)) = (&self.state, living) {
            self.tell_server(at, &ClientMessage::Start);
        }
    }

    pub(super) fn load(&mut self, at: usize, epoch: Epoch, past: Past, copies: &[CopyId]) {
        let mut loaded = Vec::new();
        for copy in copies {
            let kept = self.peers[at].disk.iter();
            let is_it = |kept: &Kept| kept.past == past && kept.version == copy.version;
            #[cfg(test)]
            let is_it = |kept: &Kept| {
                let bug = self.planted.is_culprits(at, Bug::LoadsAnotherVersion);
                is_it(kept) != bug
            };
            let mut kept = kept.filter(|(kept, _)| is_it(kept));
            let same = |other: &CopyId| other.layer == copy.layer;
            let found = kept.find_map(|(_, copies)| {
                let mut copies = copies.iter();
                copies.find(|(other, _)| same(other))
            });
            let found = found.map(|(_, copy)| copy.clone());
            let Some(found) = found else {
                let reason = "its disk has less than it said".to_owned();
                let failed = Box::new(Input::Failed { epoch, reason });
                return self.schedule(DISK_DELAY, Event::Done(at, failed));
            };
            let outline = &self.scenario.outline;
            let cost = &outline.layers[usize::from(copy.layer.0)];
            loaded.push((*copy, copy_bytes_max(cost, &outline.schedule)));
            self.peers[at].reading.push((epoch, *copy, found));
        }
        let copies = loaded;
        let loaded = Box::new(Input::Loaded { epoch, copies });
        self.schedule(DISK_DELAY, Event::Done(at, loaded));
    }

    /// What was asked for under this plan has come from the disk.
    pub(super) fn is_loaded(&mut self, at: usize, epoch: Epoch) {
        let peer = &mut self.peers[at];
        let reading = std::mem::take(&mut peer.reading).into_iter();
        let (here, later): (Vec<_>, Vec<_>) = reading.partition(|(of, ..)| *of == epoch);
        peer.vault
            .extend(here.into_iter().map(|(_, copy, found)| (copy, found)));
        peer.reading = later;
    }

    pub(super) fn forsake(&mut self, at: usize, versions: &[(Past, Version)]) {
        let disk = &mut self.peers[at].disk;
        disk.retain(|(kept, _)| !versions.contains(&(kept.past, kept.version)));
    }
}
