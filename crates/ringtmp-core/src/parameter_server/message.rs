//! What members write to each other.
//!
//! A frame is one byte of version, a header in `postcard`, and the numbers. It travels on the lanes of [`crate::wire`].

use super::layout::{MemberIndex, RANGE_ELEMENTS_MAX, RangeIndex, ShardIndex, WorkerIndex};
use crate::ids::Step;
use crate::signal::PROTOCOL_VERSION;
use crate::time::Time;
use crate::wire::{Codec, FRAME_BYTES_MAX, Lane, Purpose, WireError};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest header after the version byte: a greeting's digest, or a score's numbers.
const HEADER_BYTES_MAX: usize = 96;

/// Names a run: SHA-256 of its file and of what else must be equal.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDigest(pub [u8; 32]);

impl fmt::Debug for RunDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The first message on a link, from both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// [`PROTOCOL_VERSION`].
    pub protocol: u16,
    /// The run that the sender takes part in.
    pub run: RunDigest,
    /// Who speaks.
    pub member: MemberIndex,
}

/// How the numbers of a frame are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// Each of them.
    pub codec: Codec,
    /// How many: at most [`RANGE_ELEMENTS_MAX`].
    pub elements: u32,
}

/// A worker's gradient of one range, or, round a ring, the sum of those of several workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// The range.
    pub range: RangeIndex,
    /// Of which step: a worker's pushes of a range have the clocks 0, 1, 2 and so on.
    pub clock: Step,
    /// The clock of the weights that the gradient was computed with.
    pub base: Step,
    /// Labels of the worker's share that counted.
    pub labels: u64,
    /// The numbers that follow.
    pub numbers: Numbers,
}

/// The weights of one range: the answer to a push, once they are new enough for the step after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// The range.
    pub range: RangeIndex,
    /// All pushes of all workers with clocks below this are counted in them.
    pub clock: Step,
    /// The receiver's own pushes that are.
    pub counted: u32,
    /// The numbers that follow.
    pub numbers: Numbers,
}

/// A range as it was after so many steps, for who keeps a copy of it: one of the numbers that there are for each parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// The range.
    pub range: RangeIndex,
    /// The clock of its weights.
    pub version: Step,
    /// Updates that it had seen.
    pub updates: u32,
    /// 0 is the weights, what follows is what the optimizer remembers.
    pub slot: u8,
    /// The numbers that follow, always as they are.
    pub numbers: Numbers,
}

/// What a worker found in its share of a step, or of an evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Of losses.
    pub loss: f64,
    /// Labels that count.
    pub labels: u64,
    /// Right answers.
    pub right: u64,
    /// Among so many.
    pub of: u64,
}

impl Sums {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            loss: self.loss + other.loss,
            labels: self.labels + other.labels,
            right: self.right + other.right,
            of: self.of + other.of,
        }
    }
}

/// A worker's sums of one step or evaluation, for the collector.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Whose.
    pub worker: WorkerIndex,
    /// The step; an evaluation belongs to the step that comes after it.
    pub clock: Step,
    /// Of a step, or of an evaluation.
    pub purpose: Purpose,
    /// What it found.
    pub sums: Sums,
}

/// Why a push does not count. Nothing changes at the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// The model has no such range, or another shard owns it.
    #[error("range {} is not this shard's", .0.0)]
    Range(RangeIndex),
    /// The sender is no worker, or not the one whose turn it is.
    #[error("the sender has no gradient of range {} to push", .0.0)]
    Sender(RangeIndex),
    /// Not as many numbers as the range has (in whole rows, where these share a scale), or not written as the run says.
    #[error("range {} is sent as {} numbers in {:?}, not {} in {:?}", .range.0, .expected.elements, .expected.codec, .actual.elements, .actual.codec)]
    Numbers {
        /// The range.
        range: RangeIndex,
        /// By the layout.
        expected: Numbers,
        /// As sent.
        actual: Numbers,
    },
    /// It was counted already.
    #[error("the push of range {} with clock {} was counted before", .range.0, .clock.0)]
    Duplicate {
        /// The range.
        range: RangeIndex,
        /// Its clock.
        clock: Step,
    },
    /// Not the worker's next one, or more than it may have under way.
    #[error("the push of range {} with clock {} comes before that with clock {}", .range.0, .clock.0, .expected.0)]
    TooFarAhead {
        /// The range.
        range: RangeIndex,
        /// Its clock.
        clock: Step,
        /// What would come next.
        expected: Step,
    },
    /// Past the last step.
    #[error("the run has {steps} steps, and there is none with clock {}", .clock.0)]
    PastTheEnd {
        /// Of the run.
        steps: u32,
        /// Its clock.
        clock: Step,
    },
    /// Computed with weights older than the staleness allows.
    #[error("the gradient of step {} was computed with weights of clock {}, which are too old", .clock.0, .base.0)]
    TooStale {
        /// Its clock.
        clock: Step,
        /// Of its weights.
        base: Step,
    },
    /// Computed with weights that do not exist.
    #[error("the gradient of step {} names weights of clock {}, which there are not yet", .clock.0, .base.0)]
    FromTheFuture {
        /// Its clock.
        clock: Step,
        /// Of its weights.
        base: Step,
    },
}

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Who is at this end.
    Greeting(Greeting),
    /// A gradient; the answer is [`Message::Weights`] or [`Message::Refused`].
    Push(Push),
    /// New weights.
    Weights(Weights),
    /// For the collector.
    Score(Score),
    /// A push did not count.
    Refused(Refusal),
    /// For who keeps copies of the sender's ranges.
    Copy(Copy),
    /// For the collector: all of a shard's copies of this version are with who keeps them.
    Kept(ShardIndex, Step),
    /// For all: of every shard this version is there twice.
    Stable(Step),
    /// The sender is there; so many milliseconds its longest task took.
    Beat(u32),
}

impl Message {
    /// The lane it travels on.
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Push(_) | Self::Weights(_) | Self::Copy(_) => Lane::Tensors,
            Self::Greeting(_)
            | Self::Score(_)
            | Self::Refused(_)
            | Self::Kept(..)
            | Self::Stable(_)
            | Self::Beat(_) => Lane::Control,
        }
    }

    /// How the numbers behind it are written.
    pub const fn numbers(&self) -> Option<Numbers> {
        match self {
            Self::Push(push) => Some(push.numbers),
            Self::Weights(weights) => Some(weights.numbers),
            Self::Copy(copy) => Some(copy.numbers),
            Self::Greeting(_)
            | Self::Score(_)
            | Self::Refused(_)
            | Self::Kept(..)
            | Self::Stable(_)
            | Self::Beat(_) => None,
        }
    }
}

/// One message between members.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// When it was ready for the link, by a clock that both ends know; none where there is none.
    pub sent: Option<Time>,
    /// What it says.
    pub message: Message,
    /// The numbers.
    pub payload: Vec<u8>,
}

impl Frame {
    /// As bytes. Fails only if a limit is broken, which is then our own fault.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        Self::write(self.sent, &self.message, &self.payload)
    }

    /// Likewise, of numbers that lie elsewhere.
    pub fn write(
        sent: Option<Time>,
        message: &Message,
        payload: &[u8],
    ) -> Result<Vec<u8>, WireError> {
        check(message, payload.len())?;
        let mut bytes = vec![version_byte()];
        bytes.reserve_exact(HEADER_BYTES_MAX + payload.len());
        let mut bytes = postcard::to_extend(&(sent, message), bytes)
            .map_err(|_| WireError::Malformed("the header cannot be written"))?;
        bytes.extend_from_slice(payload);
        Ok(bytes)
    }

    /// Bytes that it would have.
    pub fn length(sent: Option<Time>, message: &Message) -> u64 {
        let header = postcard::to_extend(&(sent, message), vec![version_byte()]);
        let header = header.map_or(HEADER_BYTES_MAX, |bytes: Vec<u8>| bytes.len());
        let numbers = message.numbers();
        let payload = numbers.and_then(|numbers| numbers.codec.bytes(numbers.elements.into()));
        header as u64 + payload.unwrap_or(0)
    }

    /// From bytes that a member sent.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (version, rest) = bytes
            .split_first()
            .ok_or(WireError::Malformed("it is empty"))?;
        if *version != version_byte() {
            return Err(WireError::Version {
                ours: PROTOCOL_VERSION,
                theirs: u16::from(*version),
            });
        }
        let header = &rest[..rest.len().min(HEADER_BYTES_MAX)];
        let ((sent, message), after) = postcard::take_from_bytes::<(Option<Time>, Message)>(header)
            .map_err(|_| WireError::Malformed("its header is cut short or unknown"))?;
        let payload = &rest[header.len() - after.len()..];
        check(&message, payload.len())?;
        Ok(Self {
            sent,
            message,
            payload: payload.to_vec(),
        })
    }
}

fn version_byte() -> u8 {
    u8::try_from(PROTOCOL_VERSION).unwrap_or(u8::MAX)
}

fn check(message: &Message, actual: usize) -> Result<(), WireError> {
    let too_large = |what, size, limit| WireError::TooLarge { what, size, limit };
    let expected = match message.numbers() {
        None => Some(0),
        Some(Numbers { elements, .. }) if elements > RANGE_ELEMENTS_MAX => {
            let (size, limit) = (elements.into(), RANGE_ELEMENTS_MAX.into());
            return Err(too_large("a range", size, limit));
        }
        Some(Numbers { codec, elements }) => codec.bytes(elements.into()),
    };
    if actual > FRAME_BYTES_MAX {
        return Err(too_large("a frame", actual as u64, FRAME_BYTES_MAX as u64));
    }
    let expected = expected.ok_or(WireError::Malformed("its numbers are no whole rows"))?;
    if let Message::Score(score) = message
        && !score.sums.loss.is_finite()
    {
        return Err(WireError::NonFinite);
    }
    if expected == actual as u64 {
        Ok(())
    } else {
        Err(WireError::PayloadLength {
            expected,
            actual: actual as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn samples() -> Vec<Frame> {
        let numbers = Numbers {
            codec: Codec::F16,
            elements: 5,
        };
        let push = Push {
            range: RangeIndex(u32::MAX),
            clock: Step(u32::MAX),
            base: Step(u32::MAX),
            labels: u64::MAX,
            numbers,
        };
        let weights = Weights {
            range: RangeIndex(7),
            clock: Step(3),
            counted: 4,
            numbers,
        };
        let sums = Sums {
            loss: 1.5,
            labels: u64::MAX,
            right: u64::MAX,
            of: u64::MAX,
        };
        let score = Score {
            worker: WorkerIndex(u16::MAX),
            clock: Step(u32::MAX),
            purpose: Purpose::Evaluate,
            sums,
        };
        let greeting = Greeting {
            protocol: PROTOCOL_VERSION,
            run: RunDigest([0xff; 32]),
            member: MemberIndex(u16::MAX),
        };
        let refusal = Refusal::TooFarAhead {
            range: RangeIndex(u32::MAX),
            clock: Step(u32::MAX),
            expected: Step(u32::MAX),
        };
        let copy = Copy {
            range: RangeIndex(u32::MAX),
            version: Step(u32::MAX),
            updates: u32::MAX,
            slot: u8::MAX,
            numbers,
        };
        let frame = |message: Message| Frame {
            sent: Some(Time::from_micros(u64::MAX)),
            payload: vec![1; message.numbers().map_or(0, |_| 10)],
            message,
        };
        [
            Message::Greeting(greeting),
            Message::Push(push),
            Message::Weights(weights),
            Message::Score(score),
            Message::Refused(refusal),
            Message::Copy(copy),
            Message::Kept(ShardIndex(u16::MAX), Step(u32::MAX)),
            Message::Stable(Step(u32::MAX)),
            Message::Beat(u32::MAX),
        ]
        .map(frame)
        .to_vec()
    }

    #[test]
    fn frames_of_the_largest_numbers_read_back_as_they_were_written() {
        for frame in samples() {
            let bytes = frame.encode().expect("within all limits");
            assert!(bytes.len() - frame.payload.len() <= HEADER_BYTES_MAX);
            assert_eq!(
                Frame::length(frame.sent, &frame.message),
                bytes.len() as u64
            );
            assert_eq!(Frame::decode(&bytes), Ok(frame));
        }
    }

    #[test]
    fn what_breaks_a_limit_is_refused_before_memory_is_taken_for_it() {
        for frame in samples() {
            let mut bytes = frame.encode().expect("within all limits");
            bytes.push(0);
            let longer = Frame::decode(&bytes);
            assert!(matches!(longer, Err(WireError::PayloadLength { .. })));
            bytes[0] ^= 1;
            assert!(matches!(
                Frame::decode(&bytes),
                Err(WireError::Version { .. })
            ));
        }
        let Message::Push(push) = samples()[1].message else {
            panic!("a push")
        };
        let numbers = Numbers {
            elements: RANGE_ELEMENTS_MAX + 1,
            ..push.numbers
        };
        let huge = Frame {
            message: Message::Push(Push { numbers, ..push }),
            ..samples()[1].clone()
        };
        assert!(matches!(huge.encode(), Err(WireError::TooLarge { .. })));
        let Message::Score(score) = samples()[3].message else {
            panic!("a score")
        };
        let sums = Sums {
            loss: f64::NAN,
            ..score.sums
        };
        let diverged = Frame {
            message: Message::Score(Score { sums, ..score }),
            ..samples()[3].clone()
        };
        assert_eq!(diverged.encode(), Err(WireError::NonFinite));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = version_byte();
            }
            if let Ok(frame) = Frame::decode(&bytes) {
                prop_assert_eq!(frame.encode(), Ok(bytes));
            }
        }
    }
}
