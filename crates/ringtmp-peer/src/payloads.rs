//! Tensors on their way: kept for the node under opaque ids, written to and read from frames.

use ringtmp_compute::{Format, Packed, Packing};
use ringtmp_core::codec::TensorCodec;
use ringtmp_core::ids::{Epoch, PayloadId};
use ringtmp_core::time::Time;
use ringtmp_core::wire::{Body, Codec, Frame, Lane, PartHeader, WireError};
use std::collections::BTreeMap;

/// The tensors of one micro-batch: an activation or a gradient, and behind an activation its labels.
pub(crate) type Tensors = Vec<Packed>;

/// What the node knows by an id.
#[derive(Debug)]
pub(crate) enum Load {
    /// Of a micro-batch.
    Tensors(Tensors),
    /// A piece of a layer's copy.
    Bytes(Vec<u8>),
}

/// Loads by id. Bounded by the node: it holds at most its credits' worth, and the pieces that pass by.
#[derive(Debug, Default)]
pub(crate) struct Payloads {
    held: BTreeMap<PayloadId, Load>,
    next: u64,
}

impl Payloads {
    /// Keeps tensors.
    pub(crate) fn keep(&mut self, tensors: Tensors) -> PayloadId {
        self.keep_load(Load::Tensors(tensors))
    }

    /// Keeps tensors, or bytes.
    pub(crate) fn keep_load(&mut self, load: Load) -> PayloadId {
        let id = PayloadId(self.next);
        self.next += 1;
        self.held.insert(id, load);
        id
    }

    /// Gives tensors back, once.
    pub(crate) fn take_tensors(&mut self, id: PayloadId) -> Tensors {
        match self.take(id) {
            Load::Tensors(tensors) => tensors,
            Load::Bytes(_) => unreachable!("the node computes with tensors alone"),
        }
    }

    /// Gives a load back, once.
    pub(crate) fn take(&mut self, id: PayloadId) -> Load {
        self.held
            .remove(&id)
            .expect("the node uses a payload once, after it was kept")
    }

    /// Forgets a load.
    pub(crate) fn discard(&mut self, id: PayloadId) {
        self.held.remove(&id);
    }
}

/// A frame with this in it, handed to the link at `sent` by the room's clock, and its lane.
pub(crate) fn frame(
    epoch: Epoch,
    sent: Option<Time>,
    mut body: Body,
    load: &Load,
) -> Result<(Lane, Vec<u8>), WireError> {
    let mut payload = body.filling();
    match load {
        Load::Bytes(bytes) => payload.extend_from_slice(bytes),
        Load::Tensors(tensors) => {
            if let Body::Tensor { parts, .. } = &mut body {
                *parts = tensors.iter().map(part_header).collect();
            }
            let bytes = tensors.iter().map(|tensor| tensor.bytes.len()).sum();
            payload.reserve_exact(bytes);
            for tensor in tensors {
                payload.extend_from_slice(&tensor.bytes);
            }
        }
    }
    let frame = Frame {
        epoch,
        sent,
        body,
        payload,
    };
    Ok((frame.lane(), frame.encode()?))
}

fn part_header(tensor: &Packed) -> PartHeader {
    // A dimension past 32 bits fails the frame's own length check.
    let dimension = |size: &usize| u32::try_from(*size).unwrap_or(u32::MAX);
    let codec = match tensor.format {
        Format::F32 => Codec::F32,
        Format::U32 => Codec::U32,
        Format::F16 => Codec::F16,
        Format::I8 { row } => Codec::I8 {
            row: dimension(&row),
        },
    };
    PartHeader {
        codec,
        shape: tensor.shape.iter().map(dimension).collect(),
    }
}

/// The tensors in a frame that was decoded, whose shapes therefore fit its payload.
pub(crate) fn tensors(parts: &[PartHeader], payload: &[u8]) -> Result<Tensors, WireError> {
    let mut rest = payload;
    let read = |part: &PartHeader| {
        let shape: Vec<usize> = part.shape.iter().map(|size| *size as usize).collect();
        let length = part
            .payload_bytes()
            .and_then(|bytes| usize::try_from(bytes).ok());
        let (bytes, after) = length
            .and_then(|length| rest.split_at_checked(length))
            .ok_or(WireError::Malformed("its tensors are cut short"))?;
        rest = after;
        let format = match part.codec {
            Codec::F32 => Format::F32,
            Codec::U32 => Format::U32,
            Codec::F16 => Format::F16,
            Codec::I8 { row } => Format::I8 { row: row as usize },
        };
        let tensor = Packed::new(shape, format, bytes.to_vec())
            .map_err(|_| WireError::Malformed("a tensor does not fit its shape"))?;
        if tensor.is_finite() {
            Ok(tensor)
        } else {
            Err(WireError::NonFinite)
        }
    };
    parts.iter().map(read).collect()
}

/// How a stage packs what its link writes so; data and logits, for which there is no codec, stay as they are.
pub(crate) fn packing(codec: Option<TensorCodec>) -> Packing {
    match codec {
        None | Some(TensorCodec::F32) => Packing::F32,
        Some(TensorCodec::F16) => Packing::F16,
        Some(TensorCodec::Int8) => Packing::Int8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_core::ids::{MicroBatchId, PeerId, Step};
    use ringtmp_core::wire::{Purpose, TensorKind};

    /// What a neighbour reads of tensors that are sent to it.
    fn carried(sent: &[Packed]) -> Result<Tensors, WireError> {
        let body = Body::Tensor {
            kind: TensorKind::Activation,
            purpose: Purpose::Train,
            micro_batch: MicroBatchId {
                step: Step(1),
                source: PeerId(2),
                sequence: 3,
            },
            parts: Vec::new(),
        };
        let load = Load::Tensors(sent.to_vec());
        let (_, bytes) = frame(Epoch::default(), None, body, &load)?;
        let Frame { body, payload, .. } = Frame::decode(&bytes)?;
        let Body::Tensor { parts, .. } = body else {
            panic!("a tensor was sent")
        };
        tensors(&parts, &payload)
    }

    fn tensor(format: Format, elements: usize) -> Packed {
        let bytes = vec![1; format.bytes(elements).expect("whole rows")];
        Packed::new(vec![2, elements / 2], format, bytes).expect("as many")
    }

    #[test]
    fn tensors_of_every_format_and_their_labels_arrive_as_they_were_sent() {
        let row = Format::I8 { row: 33 };
        for format in [Format::F32, Format::F16, row] {
            let sent = vec![tensor(format, 66), tensor(Format::U32, 2)];
            assert_eq!(carried(&sent), Ok(sent));
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused_however_they_are_written() {
        for format in [Format::F32, Format::F16, Format::I8 { row: 33 }] {
            let mut sent = tensor(format, 66);
            // The exponent of the last number, or of the last scale.
            let end = match format {
                Format::I8 { row } => 4 * (66 / row),
                Format::F32 | Format::F16 | Format::U32 => sent.bytes.len(),
            };
            sent.bytes[end - 2..end].fill(0xff);
            assert_eq!(carried(&[sent]), Err(WireError::NonFinite), "{format:?}");
        }
    }

    #[test]
    fn no_tensor_takes_more_than_the_planner_counts_for_its_codec() {
        let shapes = [
            [16, 1, 1, 256],
            [8, 1, 64, 33],
            [4, 8, 14, 14],
            [4, 16, 1, 2],
            [1, 1, 1, 32],
        ];
        for shape in shapes {
            let sample: usize = shape[1..].iter().product();
            for codec in TensorCodec::ALL {
                let format = packing(Some(codec)).format(&shape);
                let bytes = format.bytes(shape[0] * sample).expect("whole rows") as u64;
                let counted = shape[0] as u64 * codec.bytes(4 * sample as u64);
                assert!(
                    bytes <= counted,
                    "{codec:?}, {shape:?}: {bytes} of {counted}"
                );
                assert!(counted <= bytes + bytes / 8 + 8, "{codec:?}, {shape:?}");
            }
        }
    }
}
