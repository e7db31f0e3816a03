//! What peers write to each other: frames, cut into chunks.
//!
//! A **frame** is one byte of version, a header in `postcard`, and a payload. Two lanes carry them, each reliable and
//! ordered: [`Lane::Tensors`] and [`Lane::Control`], so that a heartbeat never waits behind a megabyte. A frame is cut
//! into **chunks** that every browser accepts as one message. Whatever arrives is remote input: it is checked against
//! the limits below before memory is taken for it, and refused with an error that says whose fault it is.

mod chunk;
mod frame;

pub use chunk::{Assembler, CHUNK_BYTES_MAX, chunks, cut};
pub use frame::{
    Answer, Body, Codec, Frame, Hello, ModelWord, PartHeader, Piece, Purpose, Question, SumKind,
    TensorKind,
};

/// The longest frame: a micro-batch of activations of the largest models planned for (64 x 256 x 768 in f32 is 48 MiB).
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The longest frame on the control lane: its messages are a few hundred bytes.
pub const CONTROL_FRAME_BYTES_MAX: usize = 64 * 1024;

/// The most tensors in a frame: activations and labels use two.
pub const PARTS_MAX: usize = 4;

/// The most dimensions of a tensor.
pub const RANK_MAX: usize = 4;

/// The most curve points in a progress frame.
pub const PROGRESS_POINTS_MAX: usize = 256;

/// The most classes of an answer, in 4 kB: ten digits, a table's, the characters of a text in any alphabet.
pub const ANSWER_CLASSES_MAX: usize = 1000;

/// The most tokens of a question, in 1.5 kB: a start that is typed and what was written after it.
pub const QUESTION_TOKENS_MAX: usize = 512;

/// The most bytes of a probe: on a link of 25 MB/s they take 20 ms, which can be told from the jitter of timers.
pub const PROBE_BYTES_MAX: u32 = 512 * 1024;

/// The most bytes of a piece of a layer's copy: an activation waits behind two of them at most.
pub const PIECE_BYTES_MAX: u32 = 64 * 1024;

/// The two channels of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Small and urgent.
    Control,
    /// Activations and gradients.
    Tensors,
}

impl Lane {
    /// Both lanes, control first.
    pub const ALL: [Self; 2] = [Self::Control, Self::Tensors];

    /// The id of its negotiated data channel.
    pub const fn channel_id(self) -> u16 {
        match self {
            Self::Control => 0,
            Self::Tensors => 1,
        }
    }

    /// The label of its data channel.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Tensors => "tensors",
        }
    }

    /// The longest frame it carries.
    pub const fn frame_bytes_max(self) -> usize {
        match self {
            Self::Control => CONTROL_FRAME_BYTES_MAX,
            Self::Tensors => FRAME_BYTES_MAX,
        }
    }
}

/// Why bytes from a peer are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The peer runs another version.
    #[error(
        "the peer speaks protocol {theirs}, this one {ours}: reload the page (or update the program) on the older device"
    )]
    Version {
        /// Our version.
        ours: u16,
        /// The peer's version.
        theirs: u16,
    },
    /// Cut short, or not a frame at all.
    #[error("the peer sent a frame that cannot be read: {0}")]
    Malformed(&'static str),
    /// Over a limit.
    #[error("the peer sent {what} of {size}, over the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The payload's length is not what the shapes need.
    #[error("the peer sent a payload of {actual} bytes where its shapes need {expected}")]
    PayloadLength {
        /// By the shapes.
        expected: u64,
        /// By count.
        actual: u64,
    },
    /// Numbers that nothing can be computed with.
    #[error(
        "the peer sent numbers that are infinite or no numbers: training has diverged, try a smaller learning rate, or they are too large for the codec, try f32"
    )]
    NonFinite,
    /// Chunks out of order.
    #[error("the peer sent chunks in a wrong order: {0}")]
    Chunks(&'static str),
}
