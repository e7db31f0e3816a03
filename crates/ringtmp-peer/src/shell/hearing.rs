//! What comes over links, read and handed to the node.

use super::{LinkEvent, Shell};
use crate::payloads::{self, Load};
use ringtmp_core::ids::PeerId;
use ringtmp_core::node::Input;
use ringtmp_core::wire::{Body, Frame, WireError};

impl Shell {
    pub(super) fn link_said(&mut self, event: LinkEvent) -> Option<Input> {
        let LinkEvent { peer, frame } = event;
        let bytes = match frame {
            Ok(bytes) => bytes,
            Err(error) => {
                self.connector.disconnect(peer);
                return Some(Input::LinkLost {
                    peer,
                    reason: error.to_string(),
                });
            }
        };
        match self.read(peer, &bytes) {
            Ok(input) => Some(input),
            Err(error) => Some(Input::Unreadable { from: peer, error }),
        }
    }

    fn read(&mut self, from: PeerId, bytes: &[u8]) -> Result<Input, WireError> {
        let Frame {
            epoch,
            sent,
            body,
            payload,
        } = Frame::decode(bytes)?;
        let (kind, purpose, micro_batch, parts) = match body {
            Body::Tensor {
                kind,
                purpose,
                micro_batch,
                parts,
            } => (kind, purpose, micro_batch, parts),
            Body::Piece(piece) => {
                let payload = self.payloads.keep_load(Load::Bytes(payload));
                return Ok(Input::Piece {
                    from,
                    epoch,
                    piece,
                    payload,
                });
            }
            Body::Weights(piece) => {
                let payload = self.payloads.keep_load(Load::Bytes(payload));
                return Ok(Input::Weights {
                    from,
                    epoch,
                    piece,
                    payload,
                });
            }
            body => return Ok(Input::Control { from, epoch, body }),
        };
        let tensors = payloads::tensors(&parts, &payload)?;
        let sent = sent.and_then(|sent| self.node.clock().to_local(sent));
        let (now, length) = (self.clock.now(), bytes.len() as u64);
        self.record
            .arrived(now, from, sent, kind, micro_batch, length);
        let payload = (!tensors.is_empty()).then(|| self.payloads.keep(tensors));
        Ok(Input::Tensor {
            from,
            epoch,
            kind,
            purpose,
            micro_batch,
            payload,
        })
    }
}
