//! The part of a node that keeps copies on its peer's disk, so that the run outlives those who held them.
//!
//! ```text
//! stage     Secured v, busy or not ──▶ ... ──▶ head        while a disk is busy nothing more is given to it
//! head      Stable v, to be kept   ──▶ every stage writes what it holds of v: its own layers and its predecessor's
//! stage     written                ──▶ Offer to the room; of older versions one is left
//! ```
//!
//! The head decides which versions are kept, so that all disks have the same. A plan may go on from what lies only on disks: who has
//! a layer there gets it before it builds its stage or gives the layer to another.

use super::{Node, Output};
use crate::ids::{Epoch, LayerIndex, PeerId, StageIndex, Version};
use crate::kept::{Home, KEPT_EVERY_MIN, Kept, Past};
use crate::plan::Plan;
use crate::replica::CopyId;
use crate::signal::{ClientMessage, RoomView};
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Of the time, disks and the way to them may be busy one part in so many: what is sent to a third disk is sent besides the copies
/// that training waits for.
const REST: u32 = 5;

/// What a node knows of its peer's disk.
#[derive(Debug, Default)]
pub(super) struct Storing {
    /// None where nothing is kept.
    every: Option<Duration>,
    /// What is there.
    kept: Vec<Kept>,
    /// A version is being written.
    busy: bool,
    /// When a version was last to be kept (at the head), and when it was last still being written, or on its way.
    last: Option<Time>,
    seen_busy: Option<Time>,
    /// What people call the devices of the room.
    names: BTreeMap<PeerId, String>,
    /// The run is over.
    over: bool,
}

impl Storing {
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    pub(super) fn is_on(&self) -> bool {
        self.every.is_some()
    }

    pub(super) fn begin(&mut self) {
        self.busy = true;
    }

    pub(super) fn is_due(&self, now: Time) -> bool {
        let Some(last) = self.last else { return true };
        let every = self.every.unwrap_or(KEPT_EVERY_MIN);
        let took = self
            .seen_busy
            .map_or(Duration::ZERO, |seen| seen.since(last));
        now.since(last) >= every.max(took.saturating_mul(REST))
    }

    /// The stages of a plan, as they are remembered with what is kept.
    pub(super) fn ring(&self, plan: &Plan) -> Vec<Home> {
        let ends = plan.cuts.iter().skip(1);
        let homes = plan.order.iter().zip(ends).zip(0u16..);
        let homes = homes.map(|((peer, end), stage)| Home {
            name: self.names.get(peer).cloned().unwrap_or_default(),
            layers_end: *end,
            third: plan.third(StageIndex(stage)).map(|third| third.0),
        });
        homes.collect()
    }

    pub(super) fn room_changed(&mut self, room: &RoomView) {
        let members = room.members.iter();
        let names = members.map(|member| (member.peer, member.device.name.clone()));
        self.names = names.collect();
    }

    /// Whether the run is over only now, and something is kept of it.
    pub(super) fn is_over(&mut self) -> bool {
        self.kept.clear();
        self.is_on() && !std::mem::replace(&mut self.over, true)
    }

    fn has(&self, past: Past, copy: CopyId) -> bool {
        let mut kept = self.kept.iter().filter(|kept| kept.past == past);
        kept.any(|kept| kept.version == copy.version && kept.layers.contains(&copy.layer))
    }
}

impl Node {
    /// The shell says what lies on the disk.
    pub(super) fn storage(&mut self, every: Option<Duration>, kept: Vec<Kept>) {
        (self.storing.every, self.storing.kept) = (every, kept);
        self.offer();
    }

    fn offer(&mut self) {
        let offer = ClientMessage::Offer {
            keeps: self.storing.is_on(),
            kept: self.storing.kept.clone(),
        };
        self.tell(offer);
    }

    /// At the head: whether the version that has just become stable is to be kept; if so, this is noted.
    pub(super) fn is_to_be_kept(&mut self, busy: bool) -> bool {
        let keep = !busy && self.storing.is_due(self.now);
        if busy && self.storing.last.is_some() {
            self.storing.seen_busy = Some(self.now);
        }
        if keep {
            (self.storing.last, self.storing.seen_busy) = (Some(self.now), None);
        }
        keep
    }

    /// Writes what is here of a version, and has a third device keep what it is to keep of it.
    pub(super) fn keep(&mut self, version: Version) {
        self.send_to_third(version);
        let (Some(active), Some(identity)) = (&self.active, &self.identity) else {
            return;
        };
        let layers = self.ledger.layers(version);
        if !self.storing.is_on() || self.storing.busy || layers.is_empty() {
            return;
        }
        let past = Past {
            room: identity.room,
            epoch: active.plan.epoch,
        };
        let ring = self.storing.ring(&active.plan);
        self.storing.busy = true;
        let kept = Kept {
            past,
            version,
            layers,
            ring,
        };
        self.output.push_back(Output::Keep { kept });
    }

    /// A version is on the disk, or could not be put there.
    pub(super) fn kept(&mut self, kept: Option<Kept>) {
        self.storing.busy = false;
        self.thirds_are_written();
        self.note_kept(kept);
        self.write_thirds();
    }

    fn note_kept(&mut self, kept: Option<Kept>) {
        let Some(mut kept) = kept.filter(|_| !self.storing.over) else {
            return;
        };
        let this = |other: &Kept| (other.past, other.version) == (kept.past, kept.version);
        let others = &mut self.storing.kept;
        // The layers of a third copy come one after the other.
        let known = others.iter().position(this).map(|at| others.remove(at));
        kept.layers
            .extend(known.into_iter().flat_map(|known| known.layers));
        kept.layers.sort_unstable();
        kept.layers.dedup();
        // A ring that is being put together anew may go on from any of them.
        let trains = self.active.as_ref();
        let trains = trains.is_some_and(|active| active.plan.epoch == kept.past.epoch);
        let second = others.iter().map(|other| other.version).max();
        let (left, gone): (Vec<Kept>, Vec<Kept>) = std::mem::take(others)
            .into_iter()
            .partition(|other| !trains || Some(other.version) == second);
        self.storing.kept = left;
        self.storing.kept.push(kept);
        self.forsake(gone);
        self.offer();
    }

    fn forsake(&mut self, gone: Vec<Kept>) {
        if !gone.is_empty() {
            let versions = gone.iter().map(|kept| (kept.past, kept.version));
            let versions = versions.collect();
            self.output.push_back(Output::Forsake { versions });
        }
    }

    /// Training begins: what was kept of steps that are made again belongs to a past that is given up.
    pub(super) fn forsake_after(&mut self, start: Version) {
        let kept = std::mem::take(&mut self.storing.kept);
        let (left, gone): (Vec<Kept>, Vec<Kept>) =
            kept.into_iter().partition(|kept| kept.version <= start);
        self.storing.kept = left;
        if !gone.is_empty() {
            self.forsake(gone);
            self.offer();
        }
    }

    /// What has to come from the disk before the plan at work can begin: layers of this stage, and those that it gives to others.
    pub(super) fn load(&mut self) {
        let Some(active) = &self.active else { return };
        let plan = &active.plan;
        let Some(past) = plan.kept else { return };
        let own = layers_of(plan, active.stage);
        let moves = plan.moves.iter();
        let given = moves.filter(|a_move| a_move.from == active.stage);
        let wanted: BTreeSet<LayerIndex> = own.chain(given.map(|a_move| a_move.layer)).collect();
        let copies = wanted.into_iter().map(|layer| CopyId {
            version: plan.start,
            layer,
        });
        let only_there =
            |copy: &CopyId| self.ledger.bytes(*copy).is_none() && self.storing.has(past, *copy);
        let copies: Vec<CopyId> = copies.filter(only_there).collect();
        let epoch = plan.epoch;
        if copies.is_empty() {
            return;
        }
        if let Some(active) = &mut self.active {
            let keeping = &mut active.keeping;
            keeping.loading = true;
            let own = layers_of(&active.plan, active.stage);
            let own = own.filter(|layer| copies.iter().any(|copy| copy.layer == *layer));
            keeping.lacking.extend(own);
        }
        let load = Output::Load {
            epoch,
            past,
            copies,
        };
        self.output.push_back(load);
    }

    /// Copies have come from the disk.
    pub(super) fn loaded(&mut self, epoch: Epoch, copies: Vec<(CopyId, u64)>) {
        if self.under(epoch).is_none() {
            let copies = copies.into_iter().map(|(copy, _)| copy);
            let unknown = copies.filter(|copy| self.ledger.bytes(*copy).is_none());
            let unknown = unknown.collect();
            return self.forget(unknown);
        }
        for (copy, bytes) in &copies {
            self.ledger.add(*copy, *bytes);
        }
        if let Some(active) = &mut self.active {
            active.keeping.loading = false;
        }
        if let Err(reason) = self.check_layers().and_then(|()| self.give_layers()) {
            return self.fail(reason);
        }
        self.send_pieces();
        for (copy, _) in copies {
            self.build_if_whole(copy.layer);
        }
    }
}

fn layers_of(plan: &Plan, stage: StageIndex) -> impl Iterator<Item = LayerIndex> + use<> {
    let layers = plan.layers(stage);
    (layers.start.0..layers.end.0).map(LayerIndex)
}
