//! Recordings: what there is to compute, as data.
//!
//! A [`Plan`] names every buffer with its size, and holds recordings of [`Operation`]s over [`View`]s of these buffers.
//! [`Plan::check`] proves that every view lies in its buffer and has the size its operation needs, so that executors need
//! not doubt it.

pub use crate::operation::{Access, Call, Kernel, Operand, Operation};

use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The most words in all buffers of a plan, slots included: 2^34 words are 64 GiB, more than any device here.
const PLAN_WORDS_MAX: u64 = 1 << 34;

/// The most words of one buffer; kernels count in 32 bits, and leave room to round up to a whole work-group.
const BUFFER_WORDS_MAX: usize = 1 << 31;

/// The most slots of a plan: credits in flight plus pending W, each bounded far below by the schedule.
pub const SLOTS_MAX: usize = 256;

/// The most versions of a plan: every micro-batch in a slot may need another, beside the newest and the one being made.
pub const VERSIONS_MAX: usize = SLOTS_MAX + 2;

/// A buffer of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub usize);

/// A recording of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordingId(pub usize);

/// How many copies of a buffer there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// One per slot: it is kept while other micro-batches pass.
    Slot,
    /// One per version of the weights: it is kept while updates pass.
    Version,
    /// One: gradients and the like, and whatever does not outlive a task.
    Stage,
}

/// A buffer before it exists. Buffers begin as zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferSpec {
    /// For people.
    pub label: String,
    /// Its size in words of 32 bits.
    pub words: usize,
    /// How many there are.
    pub lifetime: Lifetime,
}

/// Which copy of each buffer is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// Of the buffers of which each slot has one.
    pub slot: usize,
    /// Of the buffers of which each version has one; counted from 0, not the version's number.
    pub version: usize,
}

impl Instance {
    /// That of a slot, for what has no versions.
    pub const fn slot(slot: usize) -> Self {
        Self { slot, version: 0 }
    }
}

/// A run of words in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The buffer.
    pub buffer: BufferId,
    /// Words before the view; a multiple of [`View::ALIGNMENT_WORDS`].
    pub offset: usize,
    /// Words in the view.
    pub elements: usize,
}

impl View {
    /// Where views may begin: GPUs bind storage at multiples of 256 bytes.
    pub const ALIGNMENT_WORDS: usize = 64;
}

/// Operations, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// For people.
    pub label: &'static str,
    /// In order; each sees what the ones before have written.
    pub operations: Vec<Operation>,
}

/// How the CPU executor rounds sums of products. GPUs round as their drivers please.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arithmetic {
    /// With fused multiply-add where the CPU has it, for which it takes about two thirds of the time: the same bits on all devices
    /// that have it, and on all that have not.
    #[default]
    Fused,
    /// Every product rounded before it is added: the same bits on every device.
    Portable,
}

/// A text that names no arithmetic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an arithmetic is fused or portable, not {0:?}")]
pub struct UnknownArithmetic(String);

impl FromStr for Arithmetic {
    type Err = UnknownArithmetic;

    fn from_str(text: &str) -> Result<Self, UnknownArithmetic> {
        match text {
            "fused" => Ok(Self::Fused),
            "portable" => Ok(Self::Portable),
            _ => Err(UnknownArithmetic(text.chars().take(32).collect())),
        }
    }
}

/// All buffers and all recordings over them.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How a CPU rounds.
    pub arithmetic: Arithmetic,
    /// The buffers.
    pub buffers: Vec<BufferSpec>,
    /// The recordings.
    pub recordings: Vec<Recording>,
    /// Copies of the buffers whose lifetime is a slot.
    pub slots: usize,
    /// Copies of the buffers whose lifetime is a version.
    pub versions: usize,
}

impl Default for Plan {
    /// Nothing yet, with one slot and one version.
    fn default() -> Self {
        Self {
            arithmetic: Arithmetic::default(),
            buffers: Vec::new(),
            recordings: Vec::new(),
            slots: 1,
            versions: 1,
        }
    }
}

/// Why a plan cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// More than can be counted.
    #[error(
        "its buffers are too many or too large, or it has no slot or over {SLOTS_MAX}, or no version or over {VERSIONS_MAX}"
    )]
    Size,
    /// A view outside its buffer, unaligned, or of a size that its operation does not fit.
    #[error("{recording}: a view of {operation} does not fit")]
    View {
        /// The recording.
        recording: &'static str,
        /// The operation.
        operation: &'static str,
    },
    /// Written and used otherwise at once.
    #[error("{recording}: {operation} writes a buffer that it uses twice")]
    Aliased {
        /// The recording.
        recording: &'static str,
        /// The operation.
        operation: &'static str,
    },
}

impl Recording {
    /// An empty recording.
    pub fn new(label: &'static str) -> Self {
        Self {
            label,
            operations: Vec::new(),
        }
    }

    /// Adds an operation at the end.
    pub fn push(&mut self, operation: impl Into<Operation>) {
        self.operations.push(operation.into());
    }
}

impl Plan {
    /// Adds a buffer and gives the view of all of it.
    pub fn buffer(&mut self, label: impl Into<String>, words: usize, lifetime: Lifetime) -> View {
        let buffer = BufferId(self.buffers.len());
        self.buffers.push(BufferSpec {
            label: label.into(),
            words,
            lifetime,
        });
        View {
            buffer,
            offset: 0,
            elements: words,
        }
    }

    /// Adds a recording.
    pub fn record(&mut self, recording: Recording) -> RecordingId {
        self.recordings.push(recording);
        RecordingId(self.recordings.len() - 1)
    }

    /// Copies of a buffer.
    pub fn copies(&self, buffer: &BufferSpec) -> usize {
        match buffer.lifetime {
            Lifetime::Slot => self.slots,
            Lifetime::Version => self.versions,
            Lifetime::Stage => 1,
        }
    }

    /// Which copy of a buffer an instance means.
    pub(crate) fn copy_of(&self, buffer: BufferId, instance: Instance) -> usize {
        match self.buffers[buffer.0].lifetime {
            Lifetime::Slot => instance.slot,
            Lifetime::Version => instance.version,
            Lifetime::Stage => 0,
        }
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> u64 {
        self.buffers
            .iter()
            .map(|buffer| 4 * buffer.words as u64 * self.copies(buffer) as u64)
            .sum()
    }

    /// Proves that executors can carry it out without looking at sizes again.
    pub fn check(&self) -> Result<(), PlanError> {
        let sizes = self.buffers.iter().try_fold(0u64, |sum, buffer| {
            let words = (1..=BUFFER_WORDS_MAX)
                .contains(&buffer.words)
                .then_some(buffer.words)?;
            sum.checked_add(words as u64 * self.copies(buffer) as u64)
        });
        let counted =
            (1..=SLOTS_MAX).contains(&self.slots) && (1..=VERSIONS_MAX).contains(&self.versions);
        if sizes.is_none_or(|sum| sum > PLAN_WORDS_MAX) || !counted {
            return Err(PlanError::Size);
        }
        for recording in &self.recordings {
            for operation in &recording.operations {
                self.check_operation(recording.label, operation)?;
            }
        }
        Ok(())
    }

    fn check_operation(
        &self,
        recording: &'static str,
        operation: &Operation,
    ) -> Result<(), PlanError> {
        let name = operation.name();
        let operands = operation.operands();
        let fits = |operand: &Operand| {
            self.contains(operand.view) && operand.elements == Some(operand.view.elements)
        };
        if !operands.iter().all(fits) {
            return Err(PlanError::View {
                recording,
                operation: name,
            });
        }
        for (i, written) in operands
            .iter()
            .enumerate()
            .filter(|(_, o)| o.access.writes())
        {
            let uses =
                |(j, other): (usize, &Operand)| i != j && other.view.buffer == written.view.buffer;
            if operands.iter().enumerate().any(uses) {
                return Err(PlanError::Aliased {
                    recording,
                    operation: name,
                });
            }
        }
        Ok(())
    }

    /// Whether a view begins where views may and lies in a buffer of the plan.
    pub(crate) fn contains(&self, view: View) -> bool {
        let words = self
            .buffers
            .get(view.buffer.0)
            .map_or(0, |buffer| buffer.words);
        let end = view.offset.checked_add(view.elements);
        view.elements > 0
            && view.offset.is_multiple_of(View::ALIGNMENT_WORDS)
            && end.is_some_and(|end| end <= words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::relu::relu;
    use crate::operations::column_sum;

    fn plan() -> (Plan, View, View) {
        let mut plan = Plan {
            slots: 2,
            ..Plan::default()
        };
        let a = plan.buffer("a", 100, Lifetime::Slot);
        let b = plan.buffer("b", 100, Lifetime::Stage);
        (plan, a, b)
    }

    fn check(plan: &Plan, operation: Operation) -> Result<(), PlanError> {
        let mut plan = plan.clone();
        plan.record(Recording {
            label: "test",
            operations: vec![operation],
        });
        plan.check()
    }

    #[test]
    fn a_plan_counts_a_buffer_once_per_slot_or_version() {
        let (mut plan, a, b) = plan();
        assert_eq!(check(&plan, relu(a, b)), Ok(()));
        assert_eq!(plan.bytes(), 4 * (2 * 100 + 100));
        plan.versions = 3;
        plan.buffer("c", 10, Lifetime::Version);
        assert_eq!(plan.bytes(), 4 * (2 * 100 + 100 + 3 * 10));
    }

    #[test]
    fn views_that_do_not_fit_are_refused() {
        let (plan, a, b) = plan();
        let refused = |input: View, output: View| check(&plan, relu(input, output)).is_err();
        assert!(refused(View { elements: 99, ..a }, b), "sizes differ");
        assert!(refused(View { offset: 64, ..a }, b), "past the end");
        assert!(
            refused(
                View {
                    offset: usize::MAX - 63,
                    ..a
                },
                b
            ),
            "overflow"
        );
        let (a1, b1) = (
            View {
                offset: 1,
                elements: 9,
                ..a
            },
            View { elements: 9, ..b },
        );
        assert!(refused(a1, b1), "unaligned");
        assert!(!refused(
            View {
                offset: 64,
                elements: 36,
                ..a
            },
            View { elements: 36, ..b }
        ));
        assert!(
            refused(
                View {
                    buffer: BufferId(7),
                    ..a
                },
                b
            ),
            "no such buffer"
        );
        assert!(refused(a, a), "in place");
        let sum = column_sum(a, b, usize::MAX, 100);
        assert!(check(&plan, sum).is_err(), "overflow");
    }

    #[test]
    fn a_plan_past_the_limits_is_refused() {
        let sized = |words, slots| {
            let mut plan = Plan {
                slots,
                ..Plan::default()
            };
            plan.buffer("a", words, Lifetime::Slot);
            plan.check()
        };
        assert_eq!(sized(1, 1), Ok(()));
        assert_eq!(sized(1, 0), Err(PlanError::Size));
        assert_eq!(sized(0, 1), Err(PlanError::Size));
        assert_eq!(sized(1, SLOTS_MAX + 1), Err(PlanError::Size));
        assert_eq!(sized(usize::MAX, 2), Err(PlanError::Size));
        assert_eq!(sized(BUFFER_WORDS_MAX, SLOTS_MAX), Err(PlanError::Size));
        for versions in [0, VERSIONS_MAX + 1] {
            let mut plan = plan().0;
            plan.versions = versions;
            assert_eq!(plan.check(), Err(PlanError::Size));
        }
    }
}
