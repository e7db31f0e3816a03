//! The part of a node that has kept versions lie with a third device, so that the run outlives a device, its buddy and both their
//! disks.
//!
//! ```text
//! buddy     Stable v, to be kept   ──▶ pieces of its predecessor's layers, round the ring, behind all else
//! third     a layer is whole, and its disk is idle  ──▶ disk; then PieceHere, back round the ring: the next layer may come
//! ```
//!
//! The buddy sends, since it is one hop nearer. The third has one layer of each buddy at a time, and has it in memory only until it
//! is written. Until all of them are, the buddy tells the head that a disk is busy, and no other version is kept.

use super::{Node, Output};
use crate::ids::{LayerIndex, PayloadId, PeerId, StageIndex, Version};
use crate::kept::{Kept, Past};
use crate::replica::{CopyId, Flow, Received, Sending};
use crate::wire::{Body, Piece};

/// What of third copies a stage sends, takes and passes on, under one plan.
#[derive(Debug)]
pub(super) struct Thirds {
    /// Of the predecessor's layers, to who keeps them as well.
    pub(super) sending: Sending,
    coming: Flow,
    passing: Flow,
    /// Whole, and to be written.
    waiting: Vec<Third>,
    /// Being written.
    writing: Vec<Third>,
}

/// A copy that another's buddy has sent.
#[derive(Clone, Copy, Debug)]
struct Third {
    copy: CopyId,
    bytes: u64,
    from: StageIndex,
}

impl Default for Thirds {
    fn default() -> Self {
        Self {
            sending: Sending::unhurried(),
            coming: Flow::default(),
            passing: Flow::default(),
            waiting: Vec::new(),
            writing: Vec::new(),
        }
    }
}

impl Thirds {
    /// Copies that are here, in part or whole, for their sake only.
    fn here(&self) -> Vec<CopyId> {
        let whole = self.waiting.iter().chain(&self.writing);
        let whole = whole.map(|third| third.copy);
        self.coming.copies().chain(whole).collect()
    }
}

impl Node {
    /// Sends what is here of the predecessor's layers to their third holder.
    pub(super) fn send_to_third(&mut self, version: Version) {
        let Some(active) = &mut self.active else {
            return;
        };
        for layer in self.ledger.layers(version) {
            let copy = CopyId { version, layer };
            let third = active.plan.third_for(active.stage, layer);
            if let (Some(to), Some(bytes)) = (third, self.ledger.bytes(copy)) {
                active.keeping.thirds.sending.push(copy, bytes, to);
            }
        }
        self.send_pieces();
    }

    /// Whether this piece is on its way from a buddy to a third holder, and how far it has still to go.
    pub(super) fn hops_to_third(&self, piece: &Piece) -> Option<usize> {
        let active = self.active.as_ref()?;
        let (plan, stage) = (&active.plan, active.stage);
        let is_known = usize::from(piece.from.0) < plan.stages()
            && plan.third_for(piece.from, piece.layer) == Some(piece.to)
            && piece.version >= plan.start
            && piece.version.0 > 0;
        if !is_known {
            return None;
        }
        let (gone, whole) = (
            plan.hops(piece.from, stage),
            plan.hops(piece.from, piece.to),
        );
        (gone > 0).then(|| whole.checked_sub(gone)).flatten()
    }

    /// A piece that this device is to keep.
    pub(super) fn piece_to_keep(&mut self, from: PeerId, piece: Piece, payload: PayloadId) {
        let copy = piece.copy();
        let is_here_anyway = self.ledger.bytes(copy).is_some();
        let Some(active) = &mut self.active else {
            return;
        };
        let thirds = &mut active.keeping.thirds;
        let received = thirds.coming.take(&piece);
        if received == Received::OutOfOrder {
            self.output.push_back(Output::Discard(payload));
            let name = self.name(from);
            return self.blame(from, format!("{name} sent a copy's pieces out of order"));
        }
        self.output.push_back(if is_here_anyway {
            Output::Discard(payload)
        } else {
            Output::Store { piece, payload }
        });
        let third = Third {
            copy,
            bytes: piece.total,
            from: piece.from,
        };
        match received {
            Received::Whole(_) if self.storing.is_on() => {
                thirds.waiting.push(third);
                self.write_thirds();
            }
            Received::Whole(_) => self.has_third(third),
            Received::Stored(received) => self.acknowledge(third, received),
            Received::OutOfOrder => {}
        }
    }

    /// A piece that is not for this stage.
    pub(super) fn piece_past_to_third(&mut self, from: PeerId, piece: Piece, payload: PayloadId) {
        let Some(active) = &mut self.active else {
            return;
        };
        let keeping = &mut active.keeping;
        if keeping.thirds.passing.take(&piece) == Received::OutOfOrder {
            self.output.push_back(Output::Discard(payload));
            let name = self.name(from);
            return self.blame(from, format!("{name} sent a copy's pieces out of order"));
        }
        let body = Body::Piece(piece);
        keeping.on_their_way.push_back((body, payload));
        self.send_pieces();
    }

    /// Writes what is whole, once the disk is idle; of one version at a time.
    pub(super) fn write_thirds(&mut self) {
        let (Some(active), Some(identity)) = (&mut self.active, &self.identity) else {
            return;
        };
        let thirds = &mut active.keeping.thirds;
        let Some(version) = thirds.waiting.first().map(|third| third.copy.version) else {
            return;
        };
        if self.storing.is_busy() {
            return;
        }
        let waiting = std::mem::take(&mut thirds.waiting).into_iter();
        (thirds.writing, thirds.waiting) = waiting.partition(|third| third.copy.version == version);
        let layers = thirds.writing.iter().map(|third| third.copy.layer);
        let layers: Vec<LayerIndex> = layers.collect();
        let past = Past {
            room: identity.room,
            epoch: active.plan.epoch,
        };
        let ring = self.storing.ring(&active.plan);
        self.storing.begin();
        let kept = Kept {
            past,
            version,
            layers,
            ring,
        };
        self.output.push_back(Output::Keep { kept });
    }

    /// The disk is done, whether or not it could write what it was given: it has told of that itself.
    pub(super) fn thirds_are_written(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        for third in std::mem::take(&mut active.keeping.thirds.writing) {
            self.has_third(third);
        }
    }

    fn has_third(&mut self, third: Third) {
        if self.ledger.bytes(third.copy).is_none() {
            self.forget(vec![third.copy]);
        }
        self.acknowledge(third, third.bytes);
    }

    /// Tells who sent it, backward round the ring.
    fn acknowledge(&mut self, third: Third, received: u64) {
        let Some(active) = &self.active else {
            return;
        };
        let before = active.plan.predecessor(active.stage);
        let CopyId { version, layer } = third.copy;
        let here = Body::PieceHere {
            from: third.from,
            version,
            layer,
            received,
        };
        self.say(before, here);
    }

    /// Bytes of a third copy are there. False if that cannot be.
    pub(super) fn third_has(&mut self, copy: CopyId, received: u64) -> bool {
        let Some(active) = &mut self.active else {
            return true;
        };
        let keeping = &mut active.keeping;
        let can_be = keeping.thirds.sending.acknowledged(copy, received);
        self.forget_what_was_sent(copy);
        can_be
    }

    /// The plan is at work no longer: what of third copies is not on the disk by now will not come there.
    pub(super) fn forget_thirds(&mut self, thirds: &Thirds) {
        let here = thirds.here().into_iter();
        let gone = here.filter(|copy| self.ledger.bytes(*copy).is_none());
        let gone = gone.collect();
        self.forget(gone);
    }
}
