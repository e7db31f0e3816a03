//! Copies of layers under virtual time: where they lie is looked at here, whatever nodes say of it.

use super::peer::Load;
use super::{Event, World};
use crate::check::Complaint;
use crate::compute::Compute;
#[cfg(test)]
use crate::planted::Bug;
use ringtmp_core::ids::{Epoch, LayerIndex, PayloadId, PeerId, Version};
use ringtmp_core::node::{Assignment, Input};
use ringtmp_core::plan::Plan;
use ringtmp_core::replica::{CopyId, copy_bytes_max};
use ringtmp_core::wire::{Body, Piece};
use std::collections::BTreeMap;
use std::time::Duration;

impl<C: Compute, B: FnMut(Assignment) -> C> World<'_, C, B> {
    pub(super) fn copies(&self, at: usize, version: Version) -> BTreeMap<u16, C::Copy> {
        let held = self.peers[at].vault.iter();
        let held = held.filter(|(copy, _)| copy.version == version);
        held.map(|(copy, load)| (copy.layer.0, load.clone()))
            .collect()
    }

    pub(super) fn snapshot(&mut self, at: usize, epoch: Epoch, version: Version) {
        let outline = &self.scenario.outline;
        let versions = usize::from(outline.schedule.mode.versions_copied());
        let peer = &mut self.peers[at];
        let copies = peer.stage.as_ref().map(|stage| stage.copies(versions));
        #[cfg(test)]
        let copies = match copies {
            Some(copies) if self.planted.is_culprits(at, Bug::CopiesLate) => {
                let before = std::mem::replace(&mut peer.before, copies.clone());
                Some(if before.is_empty() { copies } else { before })
            }
            copies => copies,
        };
        let mut told = Vec::new();
        for (layer, copy) in copies.into_iter().flatten() {
            let cost = &outline.layers[usize::from(layer)];
            let bytes = copy_bytes_max(cost, &outline.schedule);
            let layer = LayerIndex(layer);
            if bytes > 0 {
                peer.vault.insert(CopyId { version, layer }, copy);
                told.push((layer, bytes));
            }
        }
        self.check_vault(at);
        let snapped = Input::Snapped {
            epoch,
            version,
            copies: told,
            took: Duration::ZERO,
        };
        self.schedule(Duration::ZERO, Event::Done(at, Box::new(snapped)));
    }

    pub(super) fn send_piece(&mut self, at: usize, to: PeerId, epoch: Epoch, piece: Piece) {
        #[cfg(test)]
        if self.planted.is_culprits(at, Bug::SecuresEarly) {
            let body = Body::PieceHere {
                from: piece.from,
                version: piece.version,
                layer: piece.layer,
                received: piece.offset + u64::from(piece.bytes),
            };
            let from = to;
            let there = Box::new(Input::Control { from, epoch, body });
            return self.schedule(Duration::ZERO, Event::Done(at, there));
        }
        let load = self.peers[at].vault.get(&piece.copy()).cloned();
        self.post(at, to, epoch, Body::Piece(piece), load.map(Load::Copy));
    }

    pub(super) fn store(&mut self, at: usize, piece: Piece, payload: PayloadId) {
        if let Some(Load::Copy(copy)) = self.peers[at].payloads.remove(&payload) {
            #[cfg(test)]
            if self.planted.is_culprits(at, Bug::LosesCopies) {
                return;
            }
            // Whole once its last piece is here.
            if piece.offset + u64::from(piece.bytes) == piece.total {
                self.peers[at].vault.insert(piece.copy(), copy);
                self.check_vault(at);
            }
        }
    }

    pub(super) fn forget(&mut self, at: usize, copies: &[CopyId]) {
        #[cfg(test)]
        if self.planted.is_culprits(at, Bug::ForgetsNothing) {
            return;
        }
        for copy in copies {
            self.peers[at].vault.remove(copy);
        }
    }

    /// No device keeps more of a layer than the stable version, the one under way, and one that is on its way to a third disk.
    fn check_vault(&mut self, at: usize) {
        let vault = &self.peers[at].vault;
        let thirds = self.plan.as_ref().map(|(plan, _)| plan.thirds.len());
        let most = 2 + usize::from(thirds.is_some_and(|thirds| thirds > 0));
        let mut versions: BTreeMap<LayerIndex, usize> = BTreeMap::new();
        for copy in vault.keys() {
            *versions.entry(copy.layer).or_default() += 1;
        }
        if let Some((layer, versions)) = versions.into_iter().find(|(_, versions)| *versions > most)
        {
            self.watch.complain(Complaint::TooManyCopies {
                device: at,
                layer: layer.0,
                versions,
            });
        }
    }

    /// The head says that a version is stable: every layer lies with two devices of the ring, all of which live.
    pub(super) fn check_stable(&mut self, version: Version) {
        let Some((plan, order)) = self.plan.as_ref().filter(|(_, order)| order.len() > 1) else {
            return;
        };
        // One that has died meanwhile, or is there anew, holds nothing.
        let mut ring = order.iter().zip(&plan.order);
        if ring.any(|(at, peer)| self.peers[*at].id != Some(*peer)) {
            return;
        }
        let order = order.clone();
        let learns = (0u16..).zip(&self.scenario.outline.layers);
        for (layer, _) in learns.filter(|(_, layer)| layer.parameters > 0) {
            let copy = CopyId {
                version,
                layer: LayerIndex(layer),
            };
            let holders = order.iter();
            let holders = holders.filter(|at| self.peers[**at].vault.contains_key(&copy));
            let holders = holders.count();
            if holders < 2 {
                let version = version.0;
                self.watch.complain(Complaint::NotTwice {
                    layer,
                    version,
                    holders,
                });
            }
        }
    }

    /// A plan goes on from the stable version or a newer one, as long as those whom the plan names have every layer of it.
    pub(super) fn stable_given_up(&self, plan: &Plan) -> Option<Complaint> {
        let stable = self.stable.filter(|stable| plan.start < *stable)?;
        let in_ring = plan.order.iter().filter_map(|peer| self.index.get(peer));
        let in_ring: Vec<usize> = in_ring.copied().collect();
        self.hold_whole(&in_ring, stable)
            .then_some(Complaint::StableGivenUp {
                stable: stable.0,
                start: plan.start.0,
            })
    }

    /// Whether these devices have every layer of a version in memory, of the past that the newest plan belongs to.
    fn hold_whole(&self, devices: &[usize], version: Version) -> bool {
        let past = self.plan.as_ref().map(|(plan, _)| plan.epoch);
        let has = |layer: u16| {
            let copy = CopyId {
                version,
                layer: LayerIndex(layer),
            };
            // Who was cut off when the last plan was made holds copies of another past.
            let obeyed = |at: &&usize| self.peers[**at].obeyed == past;
            let mut holders = devices.iter().filter(obeyed);
            holders.any(|at| self.peers[*at].vault.contains_key(&copy))
        };
        let learns = (0u16..).zip(&self.scenario.outline.layers);
        let mut learns = learns.filter(|(_, layer)| layer.parameters > 0);
        learns.all(|(layer, _)| has(layer))
    }

    /// A room that waits for what sleeping devices have in memory waits for something that nobody has who is awake.
    pub(super) fn check_waits_for_memory(&mut self) {
        let awake = self.peers.iter().enumerate().filter(|(_, peer)| {
            let frozen = peer.frozen.is_some_and(|until| self.now < until);
            peer.connection.is_some() && !peer.offline && !frozen
        });
        let awake: Vec<usize> = awake.map(|(at, _)| at).collect();
        let whole = |version: &Version| self.hold_whole(&awake, *version);
        if let Some(version) = self.stable.filter(whole) {
            let version = version.0;
            self.watch.complain(Complaint::WaitsInVain { version });
        }
    }
}
