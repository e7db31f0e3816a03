//! Copies of layers: what the node says of them is done with their bytes.

use super::Shell;
use crate::payloads::Load;
use crate::progress::Progress;
use crate::workshop::Job;
use ringtmp_core::ids::{Epoch, PayloadId, PeerId};
use ringtmp_core::node::Assignment;
use ringtmp_core::wire::{Body, Piece};

impl Shell {
    pub(super) fn send_piece(&mut self, to: PeerId, epoch: Epoch, piece: Piece) {
        let bytes = self.vault.piece(&piece);
        let bytes = bytes.expect("the node sends pieces of copies that are here");
        let load = Load::Bytes(bytes.to_vec());
        self.send(to, epoch, Body::Piece(piece), &load);
    }

    pub(super) fn store(&mut self, piece: &Piece, payload: PayloadId) {
        if let Load::Bytes(bytes) = self.payloads.take(payload) {
            self.vault.store(piece, &bytes);
        }
    }

    /// A stage is to be built: whatever else was to be done is of no use any more.
    pub(super) fn build(&mut self, assignment: Assignment, progress: &mut Progress) {
        if let Some(plan) = self.node.plan() {
            self.record.follow(plan);
        }
        self.fresh.begin(assignment.start);
        progress.fresh(self.fresh.shown());
        self.ask_again(progress);
        self.begin_writing(assignment.start.0 == 0, progress);
        self.vault.forget_last();
        self.hurry.up();
        self.jobs.clear();
        let layers = &assignment.layers;
        let layers = usize::from(layers.start.0)..usize::from(layers.end.0);
        let copies = self.vault.of(assignment.start, layers);
        self.jobs.push_back(Job::Build { assignment, copies });
    }
}
