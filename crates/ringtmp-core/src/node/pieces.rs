//! The part of a node that sends and takes pieces of copies: to its buddy, and to whoever gets a layer of its.

use super::{Node, Output};
use crate::ids::{Epoch, LayerIndex, PayloadId, PeerId, StageIndex};
use crate::replica::{CopyId, Received, copy_bytes_max};
use crate::wire::{Body, Piece};

/// What a piece is to this peer.
enum Way {
    /// It is for this peer.
    Here,
    /// It goes on to the successor.
    Past,
    /// It is a third copy, for this peer's disk.
    Disk,
    /// It is one that goes on to the successor.
    PastToDisk,
    /// It is of a round that is over, and was sent before its sender knew that this peer had the copy already: control is
    /// quicker than tensors.
    Late,
    /// Nobody asked for it.
    Nowhere,
}

impl Node {
    /// The layers that this stage gives to others before the plan begins. What it should have and has not is a lie of the
    /// room's, or its own fault: it is said.
    pub(super) fn give_layers(&mut self) -> Result<(), String> {
        let Some(active) = self
            .active
            .as_mut()
            .filter(|active| !active.keeping.loading)
        else {
            return Ok(());
        };
        let from_here = active
            .plan
            .moves
            .iter()
            .filter(|a_move| a_move.from == active.stage);
        for a_move in from_here {
            let copy = CopyId {
                version: active.plan.start,
                layer: a_move.layer,
            };
            let bytes = self.ledger.bytes(copy).ok_or_else(|| lacks(copy))?;
            active.keeping.sending.push(copy, bytes, a_move.to);
        }
        Ok(())
    }

    /// Whether this stage has, or will be sent, all that it goes on from.
    pub(super) fn check_layers(&self) -> Result<(), String> {
        let (Some(active), Some(identity)) = (&self.active, &self.identity) else {
            return Ok(());
        };
        let version = active.plan.start;
        let learns = |layer: &u16| identity.run.outline.layers[usize::from(*layer)].parameters > 0;
        let layers = active.plan.layers(active.stage);
        let mut layers = (layers.start.0..layers.end.0)
            .filter(learns)
            .map(LayerIndex);
        let missing = layers.find(|layer| {
            let copy = CopyId {
                version,
                layer: *layer,
            };
            version.0 > 0
                && self.ledger.bytes(copy).is_none()
                && !active.keeping.lacking.contains(layer)
        });
        missing.map_or(Ok(()), |layer| Err(lacks(CopyId { version, layer })))
    }

    /// Sends pieces, as far as the successor keeps up.
    pub(super) fn send_pieces(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        let to = active.plan.successor(active.stage);
        if !active.links.get(&to).is_some_and(|link| link.greeted) {
            return;
        }
        let epoch = active.plan.epoch;
        for (body, payload) in active.keeping.on_their_way.drain(..) {
            self.output.push_back(Output::Send {
                to,
                epoch,
                body,
                payload: Some(payload),
            });
        }
        while let Some(piece) = active.keeping.sending.next(active.stage) {
            self.output
                .push_back(Output::SendPiece { to, epoch, piece });
        }
        // What makes a version stable comes first.
        if !active.keeping.sending.is_empty() {
            return;
        }
        while let Some(piece) = active.keeping.thirds.sending.next(active.stage) {
            self.output
                .push_back(Output::SendPiece { to, epoch, piece });
        }
        // And what a user wants to have comes last.
        if !active.keeping.thirds.sending.is_empty() {
            return;
        }
        while let Some(piece) = active.keeping.collecting.sending.next(active.stage) {
            self.output
                .push_back(Output::SendWeights { to, epoch, piece });
        }
    }

    /// A piece has come, whose bytes the shell keeps under `payload`.
    pub(super) fn piece(&mut self, from: PeerId, epoch: Epoch, piece: Piece, payload: PayloadId) {
        let discard = Output::Discard(payload);
        let Some(active) = self.under(epoch) else {
            return self.output.push_back(discard);
        };
        let is_neighbour = active.plan.predecessor(active.stage) == from;
        let greeted = active.links.get(&from).is_some_and(|link| link.greeted);
        let way = if is_neighbour && greeted {
            self.way(&piece)
        } else {
            Way::Nowhere
        };
        match way {
            Way::Here => self.piece_for_me(from, piece, payload),
            Way::Past => self.piece_past(from, piece, payload),
            Way::Disk => self.piece_to_keep(from, piece, payload),
            Way::PastToDisk => self.piece_past_to_third(from, piece, payload),
            Way::Late => self.output.push_back(discard),
            Way::Nowhere => {
                self.output.push_back(discard);
                let name = self.name(from);
                self.blame(from, format!("{name} sent a copy that nobody asked for"));
            }
        }
    }

    fn way(&self, piece: &Piece) -> Way {
        let (Some(active), Some(identity)) = (&self.active, &self.identity) else {
            return Way::Nowhere;
        };
        let (plan, stage) = (&active.plan, active.stage);
        let Some(cost) = identity.run.outline.layers.get(usize::from(piece.layer.0)) else {
            return Way::Nowhere;
        };
        let bytes_max = copy_bytes_max(cost, &identity.run.outline.schedule);
        if piece.total == 0 || piece.total > bytes_max {
            return Way::Nowhere;
        }
        let moves = piece.version == plan.start
            && plan.moves.iter().any(|a_move| {
                (a_move.layer, a_move.from, a_move.to) == (piece.layer, piece.from, piece.to)
            });
        if moves && piece.to == stage {
            return Way::Here;
        }
        if moves && piece.from != stage {
            return Way::Past;
        }
        match self.hops_to_third(piece) {
            Some(0) => return Way::Disk,
            Some(_) => return Way::PastToDisk,
            None => {}
        }
        let before = plan.stage_of(plan.predecessor(stage));
        let of_predecessor = piece.to == stage
            && Some(piece.from) == before
            && plan.layers(piece.from).contains(&piece.layer);
        let round = active.keeping.round.as_ref();
        if of_predecessor && round.is_some_and(|round| round.version == piece.version) {
            Way::Here
        } else if of_predecessor && piece.version <= active.keeping.stable {
            Way::Late
        } else {
            Way::Nowhere
        }
    }

    fn piece_for_me(&mut self, from: PeerId, piece: Piece, payload: PayloadId) {
        let copy = piece.copy();
        let held = self.ledger.bytes(copy).is_some();
        let Some(active) = &mut self.active else {
            return;
        };
        let received = if held {
            self.output.push_back(Output::Discard(payload));
            (piece.offset == 0).then_some(piece.total)
        } else {
            match active.keeping.receiving.take(&piece) {
                Received::OutOfOrder => {
                    self.output.push_back(Output::Discard(payload));
                    let name = self.name(from);
                    return self.blame(from, format!("{name} sent a copy's pieces out of order"));
                }
                Received::Stored(received) => {
                    self.output.push_back(Output::Store { piece, payload });
                    Some(received)
                }
                Received::Whole(received) => {
                    self.output.push_back(Output::Store { piece, payload });
                    self.ledger.add(copy, piece.total);
                    Some(received)
                }
            }
        };
        if let Some(received) = received {
            self.say(
                from,
                Body::PieceHere {
                    from: piece.from,
                    version: piece.version,
                    layer: piece.layer,
                    received,
                },
            );
        }
        self.build_if_whole(piece.layer);
    }

    /// The stage can be built once the last layer that it waited for is here.
    pub(super) fn build_if_whole(&mut self, layer: LayerIndex) {
        let Some(active) = &mut self.active else {
            return;
        };
        let copy = CopyId {
            version: active.plan.start,
            layer,
        };
        let keeping = &mut active.keeping;
        if self.ledger.bytes(copy).is_some()
            && keeping.lacking.remove(&layer)
            && keeping.lacking.is_empty()
        {
            let assignment = active.assignment.clone();
            self.output.push_back(Output::Build(assignment));
        }
    }

    fn piece_past(&mut self, from: PeerId, piece: Piece, payload: PayloadId) {
        let Some(active) = &mut self.active else {
            return;
        };
        let passed = active.keeping.passed.entry(piece.layer).or_default();
        let after = *passed + u64::from(piece.bytes);
        if piece.offset != *passed || after > piece.total || piece.bytes == 0 {
            self.output.push_back(Output::Discard(payload));
            let name = self.name(from);
            return self.blame(from, format!("{name} sent a copy's pieces out of order"));
        }
        *passed = after;
        let body = Body::Piece(piece);
        active.keeping.on_their_way.push_back((body, payload));
        self.send_pieces();
    }

    /// Bytes of a copy are where they should be: it is told backward round the ring, to who sent the copy.
    pub(super) fn piece_here(
        &mut self,
        from: PeerId,
        epoch: Epoch,
        sender: StageIndex,
        copy: CopyId,
        received: u64,
    ) {
        let Some(active) = self.under(epoch) else {
            return;
        };
        if active.plan.successor(active.stage) != from {
            let name = self.name(from);
            return self.blame(from, format!("{name} spoke of copies without being asked"));
        }
        if sender != active.stage {
            let mut moves = active.plan.moves.iter();
            let is_known = moves.any(|a_move| (a_move.from, a_move.layer) == (sender, copy.layer))
                || usize::from(sender.0) < active.stages()
                    && active.plan.third_for(sender, copy.layer).is_some();
            let to = active.plan.predecessor(active.stage);
            if is_known {
                self.say(
                    to,
                    Body::PieceHere {
                        from: sender,
                        version: copy.version,
                        layer: copy.layer,
                        received,
                    },
                );
            }
            return;
        }
        let keeping = &mut active.keeping;
        let is_third = !keeping.sending.is_at(copy) && keeping.thirds.sending.is_at(copy);
        let can_be = if is_third {
            self.third_has(copy, received)
        } else {
            keeping.sending.acknowledged(copy, received)
        };
        if !can_be {
            let name = self.name(from);
            return self.blame(from, format!("{name} has more of a copy than it was sent"));
        }
        self.send_pieces();
        self.secure();
    }

    pub(super) fn say(&mut self, to: PeerId, body: Body) {
        let Some(active) = &self.active else { return };
        self.output.push_back(Output::Send {
            to,
            epoch: active.plan.epoch,
            body,
            payload: None,
        });
    }
}

fn lacks(copy: CopyId) -> String {
    let CopyId { version, layer } = copy;
    format!(
        "this device has no copy of layer {} after {} updates, and nobody sends it one",
        layer.0 + 1,
        version.0
    )
}
