//! Frames: version, header, payload.

use super::{
    ANSWER_CLASSES_MAX, FRAME_BYTES_MAX, Lane, PARTS_MAX, PIECE_BYTES_MAX, PROBE_BYTES_MAX,
    PROGRESS_POINTS_MAX, QUESTION_TOKENS_MAX, RANK_MAX, WireError,
};
use crate::ids::{Epoch, LayerIndex, MicroBatchId, PeerId, RoomCode, StageIndex, Step, Version};
use crate::signal::{PROTOCOL_VERSION, Point};
use crate::time::Time;
use serde::{Deserialize, Serialize};

/// The longest header after the version byte: the largest is a progress frame at 16 bytes a point.
const HEADER_BYTES_MAX: usize = 80 + 16 * PROGRESS_POINTS_MAX;

/// How numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Codec {
    /// 32-bit floats, little endian.
    F32,
    /// 32-bit unsigned integers, little endian (labels, tokens).
    U32,
    /// 16-bit floats, little endian.
    F16,
    /// First a scale for each row, a 32-bit float, then all numbers as 8-bit integers, which count scales.
    I8 {
        /// Numbers that share a scale; divides the tensor's.
        row: u32,
    },
}

impl Codec {
    /// Bytes of so many numbers, if they are whole rows and can be counted in 64 bits.
    pub const fn bytes(self, elements: u64) -> Option<u64> {
        match self {
            Self::F32 | Self::U32 => elements.checked_mul(4),
            Self::F16 => elements.checked_mul(2),
            Self::I8 { row } => {
                let row = row as u64;
                if row == 0 || !elements.is_multiple_of(row) {
                    return None;
                }
                match (elements / row).checked_mul(4) {
                    Some(scales) => scales.checked_add(elements),
                    None => None,
                }
            }
        }
    }
}

/// What a micro-batch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Purpose {
    /// Forward, backward, update.
    Train,
    /// Forward only, on held-out samples.
    Evaluate,
}

/// Which way a tensor goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TensorKind {
    /// Forward: a stage's output, and the labels that ride with it.
    Activation,
    /// Forward, past the tail to the head: what a source that is not the head trains on, with its labels.
    Samples,
    /// Backward: the gradient of a stage's input.
    Gradient,
    /// Backward, without numbers: an evaluation has passed, its credit returns.
    Release,
}

/// Of which stages a sum of squares of gradients is, and so which way it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SumKind {
    /// Of the sender and all stages after it: backward, to the head.
    Partial,
    /// Of all stages: forward, to the tail.
    Total,
}

/// One tensor of a payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartHeader {
    /// How it is written.
    pub codec: Codec,
    /// Its dimensions, outermost first.
    pub shape: Vec<u32>,
}

impl PartHeader {
    /// Bytes it takes in the payload, if its numbers are whole rows and that can be told in 64 bits.
    pub fn payload_bytes(&self) -> Option<u64> {
        let elements = self
            .shape
            .iter()
            .try_fold(1u64, |n, dim| n.checked_mul(u64::from(*dim)))?;
        self.codec.bytes(elements)
    }
}

/// The first frame on a link, from both ends, on the control lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    pub protocol: u16,
    /// The room both are in.
    pub room: RoomCode,
    /// Who speaks.
    pub peer: PeerId,
}

/// A piece of a layer's copy on its way from one stage to another, forward round the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Who has the layer.
    pub from: StageIndex,
    /// Who gets it.
    pub to: StageIndex,
    /// Updates it has seen.
    pub version: Version,
    /// Which layer.
    pub layer: LayerIndex,
    /// Bytes of the whole copy.
    pub total: u64,
    /// Bytes before this piece.
    pub offset: u64,
    /// Bytes of this piece, which follow: at most [`PIECE_BYTES_MAX`].
    pub bytes: u32,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// Who is at this end.
    Hello(Hello),
    /// New points of the curves, passed on round the ring until they are back before their origin.
    Progress {
        /// The peer that made them.
        origin: PeerId,
        /// Oldest first.
        points: Vec<Point>,
    },
    /// The sum of the squares of gradients, where these are clipped by the norm of all stages' together.
    SquareSum {
        /// Of which stages.
        kind: SumKind,
        /// Of which step's gradients.
        step: Step,
        /// The sum: finite, not negative.
        sum: f64,
    },
    /// Answer at once: the link is being measured. So many bytes of no meaning follow.
    Probe {
        /// Which one.
        number: u8,
        /// Bytes of the payload, at most [`PROBE_BYTES_MAX`].
        bytes: u32,
    },
    /// The answer to a probe.
    Echo {
        /// Which one.
        number: u8,
        /// How long after the one with the number before it came, in microseconds; none if that one was not the last to come.
        apart_micros: Option<u32>,
    },
    /// I am here. Sent where nothing else shows it.
    Beat {
        /// The longest that one of my tasks has taken, in milliseconds: for so long I may be silent.
        task_millis: u32,
    },
    /// From the head, before the activations of the step in question: once this version is reached, copy it.
    Mark {
        /// Updates that stages have made by then.
        version: Version,
        /// Whether the head begins nothing after them.
        rest: bool,
    },
    /// A piece of a layer's copy.
    Piece(Piece),
    /// The answer to a piece, backward round the ring.
    PieceHere {
        /// Who sent the copy.
        from: StageIndex,
        /// Whose version this is.
        version: Version,
        /// Which layer.
        layer: LayerIndex,
        /// Bytes of it that are here.
        received: u64,
    },
    /// What stages say of a model that one of them collects.
    Model {
        /// Who collects.
        asker: StageIndex,
        /// What is said.
        word: ModelWord,
    },
    /// A piece of a layer's weights, which are all of the copy that it counts.
    Weights(Piece),
    /// The answer to it, backward round the ring.
    WeightsHere {
        /// Who sent the weights.
        from: StageIndex,
        /// Whose version this is.
        version: Version,
        /// Which layer.
        layer: LayerIndex,
        /// Bytes of it that are there.
        received: u64,
    },
    /// The sender's stage and all before it lie with their successors, as of this version.
    Secured {
        /// Which version.
        version: Version,
        /// What the copy cost the stage that it cost most, in microseconds.
        cost_micros: u32,
        /// Whether one of the stages is still writing another version to its disk.
        busy: bool,
    },
    /// All stages lie with their successors, as of this version: older ones may be forgotten.
    Stable {
        /// Which version.
        version: Version,
        /// Whether stages are to keep it on their disks.
        keep: bool,
    },
    /// A micro-batch on its way.
    Tensor {
        /// Which way.
        kind: TensorKind,
        /// What for.
        purpose: Purpose,
        /// Which one.
        micro_batch: MicroBatchId,
        /// The tensors of the payload, in order.
        parts: Vec<PartHeader>,
    },
    /// What the network says of a sample, passed on round the ring until it is with whom it is for.
    Answer(Answer),
    /// What a stage asks that draws no samples, passed on round the ring until it is with one that does.
    Question(Question),
}

/// What is said of a model that a stage collects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelWord {
    /// To the head: I want it.
    Want,
    /// To the head: I have it, or want it no more.
    Have,
    /// From the head, after its stable version is with all and before the next is marked: send it the weights of this version.
    Take {
        /// Updates that they have seen.
        version: Version,
    },
}

/// What follows a text?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Who wants to know.
    pub asker: PeerId,
    /// Counts what the asker has asked; comes back with the answer.
    pub number: u32,
    /// The text, by the run's vocabulary; 1 to [`QUESTION_TOKENS_MAX`].
    pub tokens: Vec<u16>,
}

/// How probable the tail holds each class for the sample that a source asked about, or, of a text, each token after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// With which micro-batch it was asked.
    pub micro_batch: MicroBatchId,
    /// Whom it is for: the micro-batch's source, or who asked it.
    pub to: PeerId,
    /// Of the question that another stage asked the source.
    pub number: u32,
    /// By class, each from 0 to 1; at most [`ANSWER_CLASSES_MAX`].
    pub probabilities: Vec<f32>,
}

impl Body {
    /// The bytes of no meaning that follow a probe; none after anything else.
    pub fn filling(&self) -> Vec<u8> {
        match self {
            Self::Probe { bytes, .. } => vec![0; *bytes as usize],
            Self::Hello(_)
            | Self::Progress { .. }
            | Self::SquareSum { .. }
            | Self::Echo { .. }
            | Self::Beat { .. }
            | Self::Mark { .. }
            | Self::Piece(_)
            | Self::Model { .. }
            | Self::Weights(_)
            | Self::WeightsHere { .. }
            | Self::PieceHere { .. }
            | Self::Secured { .. }
            | Self::Stable { .. }
            | Self::Tensor { .. }
            | Self::Answer(_)
            | Self::Question(_) => Vec::new(),
        }
    }
}

/// One message between neighbours.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The plan it was sent under.
    pub epoch: Epoch,
    /// When it was handed to the link, by the room's clock; none where that is not known.
    pub sent: Option<Time>,
    /// What it says.
    pub body: Body,
    /// The numbers, part after part.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The lane it travels on.
    pub fn lane(&self) -> Lane {
        match self.body {
            Body::Probe { bytes: 0, .. }
            | Body::Echo { .. }
            | Body::Hello(_)
            | Body::Progress { .. }
            | Body::SquareSum { .. }
            | Body::Beat { .. }
            | Body::PieceHere { .. }
            | Body::WeightsHere { .. }
            | Body::Model {
                word: ModelWord::Want | ModelWord::Have,
                ..
            }
            | Body::Secured { .. }
            | Body::Stable { .. }
            | Body::Answer(_)
            | Body::Question(_) => Lane::Control,
            // Bytes are measured on the lane on which tensors will follow them. A mark must not overtake the activations of
            // the steps before it, nor a copy the mark, nor a mark or weights what was said of a model before.
            Body::Probe { .. }
            | Body::Mark { .. }
            | Body::Piece(_)
            | Body::Model {
                word: ModelWord::Take { .. },
                ..
            }
            | Body::Weights(_)
            | Body::Tensor { .. } => Lane::Tensors,
        }
    }

    /// As bytes. Fails only if a limit is broken, which is then our own fault.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        check_body(&self.body)?;
        check_payload(&self.body, self.payload.len())?;
        let start = vec![version_byte()];
        let mut bytes = postcard::to_extend(&(&self.epoch, &self.sent, &self.body), start)
            .map_err(|_| WireError::Malformed("the header cannot be written"))?;
        check_frame_length(bytes.len() + self.payload.len())?;
        bytes.extend_from_slice(&self.payload);
        Ok(bytes)
    }

    /// From bytes that a peer sent.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        check_frame_length(bytes.len())?;
        let (version, rest) = bytes
            .split_first()
            .ok_or(WireError::Malformed("it is empty"))?;
        if *version != version_byte() {
            return Err(WireError::Version {
                ours: PROTOCOL_VERSION,
                theirs: u16::from(*version),
            });
        }
        // Only so much is looked at, so that a length inside the header cannot make us take memory for more.
        let header = &rest[..rest.len().min(HEADER_BYTES_MAX)];
        type Header = (Epoch, Option<Time>, Body);
        let ((epoch, sent, body), after) = postcard::take_from_bytes::<Header>(header)
            .map_err(|_| WireError::Malformed("its header is cut short or unknown"))?;
        check_body(&body)?;
        let payload = &rest[header.len() - after.len()..];
        check_payload(&body, payload.len())?;
        Ok(Self {
            epoch,
            sent,
            body,
            payload: payload.to_vec(),
        })
    }
}

fn version_byte() -> u8 {
    u8::try_from(PROTOCOL_VERSION).unwrap_or(u8::MAX)
}

fn check_frame_length(bytes: usize) -> Result<(), WireError> {
    limit("a frame", bytes as u64, FRAME_BYTES_MAX as u64)
}

fn check_body(body: &Body) -> Result<(), WireError> {
    match body {
        Body::Hello(_)
        | Body::SquareSum { .. }
        | Body::Echo { .. }
        | Body::Beat { .. }
        | Body::Mark { .. }
        | Body::PieceHere { .. }
        | Body::Model { .. }
        | Body::WeightsHere { .. }
        | Body::Secured { .. }
        | Body::Stable { .. } => Ok(()),
        Body::Piece(piece) | Body::Weights(piece) => {
            let (bytes, longest) = (u64::from(piece.bytes), u64::from(PIECE_BYTES_MAX));
            limit("a piece of a copy", bytes, longest)
        }
        Body::Probe { bytes, .. } => {
            limit("a probe", u64::from(*bytes), u64::from(PROBE_BYTES_MAX))
        }
        Body::Progress { points, .. } => limit(
            "a progress",
            points.len() as u64,
            PROGRESS_POINTS_MAX as u64,
        ),
        Body::Answer(Answer { probabilities, .. }) => {
            let (classes, most) = (probabilities.len() as u64, ANSWER_CLASSES_MAX as u64);
            limit("an answer", classes, most)?;
            match probabilities
                .iter()
                .all(|share| (0.0..=1.0).contains(share))
            {
                true => Ok(()),
                false => Err(WireError::Malformed("its answer is no probabilities")),
            }
        }
        Body::Question(Question { tokens, .. }) => {
            let most = QUESTION_TOKENS_MAX as u64;
            limit("a question", tokens.len() as u64, most)?;
            match tokens.is_empty() {
                false => Ok(()),
                true => Err(WireError::Malformed("its question is empty")),
            }
        }
        Body::Tensor { parts, .. } => {
            limit("a list of tensors", parts.len() as u64, PARTS_MAX as u64)?;
            parts.iter().try_for_each(|part| {
                limit("a tensor's rank", part.shape.len() as u64, RANK_MAX as u64)
            })
        }
    }
}

fn check_payload(body: &Body, actual: usize) -> Result<(), WireError> {
    let sum = match body {
        Body::Hello(_)
        | Body::Progress { .. }
        | Body::SquareSum { .. }
        | Body::Echo { .. }
        | Body::Beat { .. }
        | Body::Mark { .. }
        | Body::PieceHere { .. }
        | Body::Model { .. }
        | Body::WeightsHere { .. }
        | Body::Secured { .. }
        | Body::Stable { .. }
        | Body::Answer(_)
        | Body::Question(_) => Some(0),
        Body::Piece(piece) | Body::Weights(piece) => Some(u64::from(piece.bytes)),
        Body::Probe { bytes, .. } => Some(u64::from(*bytes)),
        Body::Tensor { parts, .. } => parts
            .iter()
            .try_fold(0u64, |sum, part| sum.checked_add(part.payload_bytes()?)),
    };
    let expected = sum.ok_or(WireError::Malformed(
        "its shapes overflow or are no whole rows",
    ))?;
    if expected == actual as u64 {
        Ok(())
    } else {
        Err(WireError::PayloadLength {
            expected,
            actual: actual as u64,
        })
    }
}

pub(super) fn limit(what: &'static str, size: u64, limit: u64) -> Result<(), WireError> {
    if size <= limit {
        Ok(())
    } else {
        Err(WireError::TooLarge { what, size, limit })
    }
}
