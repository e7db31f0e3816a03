//! Tensors on their way: kept for the node under opaque ids, written to and read from frames.

use ringtmp_compute::{Format, Packed, Packing};
use ringtmp_core::codec::TensorCodec;
use ringtmp_core::ids::{Epoch, PayloadId};
use ringtmp_core::time::Time;
use ringtmp_core::wire::{Body, Codec, Frame, Lane, PartHeader, WireError};
use std::collections::BTreeMap;

/// The tensors of one micro-batch: an activation or a gradient, and behind an activation its labels.
pub(crate) type Tensors = Vec<Packed>;

/// Tensors by id. Bounded by the node: it holds at most its credits' worth.
#[derive(Debug, Default)]
pub(crate) struct Payloads {
    held: BTreeMap<PayloadId, Tensors>,
    next: u64,
}

impl Payloads {
    /// Keeps tensors.
    pub(crate) fn keep(&mut self, tensors: Tensors) -> PayloadId {
        let id = PayloadId(self.next);
        self.next += 1;
        self.held.insert(id, tensors);
        id
    }

    /// Gives tensors back, once.
    pub(crate) fn take(&mut self, id: PayloadId) -> Tensors {
        self.held
            .remove(&id)
            .expect("the node uses a payload once, after it was kept")
    }

    /// Forgets tensors.
    pub(crate) fn discard(&mut self, id: PayloadId) {
        self.held.remove(&id);
    }
}

/// A frame with these tensors in it, handed to the link at `sent` by the room's clock, and its lane.
pub(crate) fn frame(
    epoch: Epoch,
    sent: Option<Time>,
    mut body: Body,
    tensors: &[Packed],
) -> Result<(Lane, Vec<u8>), WireError> {
    if let Body::Tensor { parts, .. } = &mut body {
        *parts = tensors.iter().map(part_header).collect();
    }
    let payload = tensors
        .iter()
        .map(|tensor| tensor.bytes.as_slice())
        .collect::<Vec<_>>()
        .concat();
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
