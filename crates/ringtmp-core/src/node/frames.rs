//! What comes over links, and which part of a node it concerns.

use super::{Input, Node, Output};
use crate::ids::{Epoch, PayloadId, PeerId};
use crate::replica::CopyId;
use crate::time::Time;
use crate::wire::Body;

impl Node {
    /// Something has come over a link.
    pub(super) fn frame(&mut self, now: Time, input: Input) {
        if let Some(payload) = self.over_a_lost_link(&input) {
            return self.output.extend(payload.map(Output::Discard));
        }
        match input {
            Input::Control { from, epoch, body } => {
                self.heard(now, from, Some(&body));
                self.control(now, from, epoch, body);
            }
            Input::Piece {
                from,
                epoch,
                piece,
                payload,
            } => {
                self.heard(now, from, None);
                self.piece(from, epoch, piece, payload);
            }
            Input::Weights {
                from,
                epoch,
                piece,
                payload,
            } => {
                self.heard(now, from, None);
                self.weights_piece(from, epoch, piece, payload);
            }
            Input::Tensor {
                from,
                epoch,
                kind,
                purpose,
                micro_batch,
                payload,
            } => {
                self.heard(now, from, None);
                self.tensor(from, epoch, kind, purpose, micro_batch, payload);
            }
            Input::Unreadable { from, error } => {
                self.blame(from, format!("link to {}: {error}", self.name(from)));
            }
            _ => {}
        }
    }

    /// Whether this comes over a link that was given up, where some of it may have been on its way; and its payload.
    fn over_a_lost_link(&self, input: &Input) -> Option<Option<PayloadId>> {
        let (from, payload) = match input {
            Input::Control { from, .. } | Input::Unreadable { from, .. } => (from, None),
            Input::Piece { from, payload, .. } | Input::Weights { from, payload, .. } => {
                (from, Some(*payload))
            }
            Input::Tensor { from, payload, .. } => (from, *payload),
            _ => return None,
        };
        let link = self.active.as_ref()?.links.get(from)?;
        link.lost.then_some(payload)
    }

    fn control(&mut self, now: Time, from: PeerId, epoch: Epoch, body: Body) {
        match body {
            Body::Probe { number, .. } => self.probed_by(now, from, epoch, number),
            Body::Echo {
                number,
                apart_micros,
            } => self.echoed(now, from, epoch, number, apart_micros),
            Body::Hello(hello) => self.hello(from, epoch, &hello),
            Body::Progress { origin, points } => self.progress(from, epoch, origin, points),
            Body::Question(question) => self.question(from, epoch, question),
            Body::Answer(answer) => self.answer(from, epoch, answer),
            Body::SquareSum { kind, step, sum } => self.square_sum(from, epoch, kind, step, sum),
            Body::Mark { version, rest } => self.marked(from, epoch, version, rest),
            Body::PieceHere {
                from: sender,
                version,
                layer,
                received,
            } => {
                let copy = CopyId { version, layer };
                self.piece_here(from, epoch, sender, copy, received);
            }
            Body::Model { asker, word } => self.model_word(from, epoch, asker, word),
            Body::WeightsHere {
                from: sender,
                version,
                layer,
                received,
            } => {
                let copy = CopyId { version, layer };
                self.weights_here(from, epoch, sender, copy, received);
            }
            Body::Secured {
                version,
                cost_micros,
                busy,
            } => self.secured(from, epoch, version, (cost_micros, busy)),
            Body::Stable { version, keep } => self.stable(from, epoch, version, keep),
            // It has been heard, which is all that it says.
            Body::Beat { .. } => {}
            // The shell hands these over with their numbers; a frame of them without says nothing.
            Body::Tensor { .. } | Body::Piece(_) | Body::Weights(_) => {}
        }
    }
}
