//! What peers did, and when: the record from which idle time is computed, of real peers and simulated ones alike.
//!
//! A [`Span`] is a task, a tensor on its way, or a wait. A real peer keeps its own with a [`Recorder`], which makes the
//! [`Report`] that goes to the room once a second; [`json`] writes and reads all of them as a file.

mod clock;
pub mod json;
mod recorder;
mod report;
mod shares;

pub use clock::RoomClock;
pub use recorder::{RECENT_SPANS_MAX, Recorder};
pub use report::{
    LinkRate, Mark, Paced, REPORT_INTERVAL, Report, TIMELINE_MAX, TIMELINE_SPANS_MAX, TaskSeconds,
    Timeline,
};
pub use shares::{Shares, extent, middle_third, shares};

use crate::schedule::{Task, Waiting};
use crate::time::Time;
use crate::wire::{Purpose, TensorKind};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What went on during a [`Span`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Activity {
    /// Samples drawn for the head.
    #[serde(rename = "draw")]
    Draw,
    /// F of training.
    #[serde(rename = "F")]
    Forward,
    /// F of an evaluation.
    #[serde(rename = "evaluate")]
    Evaluate,
    /// B.
    #[serde(rename = "B")]
    BackwardInput,
    /// W; of a worker with the whole model B and W together.
    #[serde(rename = "W")]
    BackwardWeights,
    /// The optimizer, and the squares of the gradients where these are clipped.
    #[serde(rename = "update")]
    Update,
    /// An activation, from handed to the link until arrived.
    #[serde(rename = "activation")]
    Activation,
    /// Samples on their way to the head, likewise from one peer to the next.
    #[serde(rename = "samples")]
    Samples,
    /// A gradient, likewise; of an activation, or pushed to a server.
    #[serde(rename = "gradient")]
    Gradient,
    /// Weights that a server sends, likewise.
    #[serde(rename = "weights")]
    Weights,
    /// A release, likewise.
    #[serde(rename = "release")]
    Release,
    /// Idle until something arrives.
    #[serde(rename = "wait for input")]
    WaitInput,
    /// Idle until a credit returns.
    #[serde(rename = "wait for credit")]
    WaitCredit,
    /// Idle until the peer's own update.
    #[serde(rename = "wait for weights")]
    WaitWeights,
}

/// The longest that anything is believed to have been on its way. A sender may claim anything.
pub(crate) const TRANSFER_MAX: Duration = Duration::from_secs(60);

/// Since when something was on its way that has come now, if its sender says so.
pub fn believed(sent: Time, now: Time) -> Time {
    sent.min(now).max(now - TRANSFER_MAX)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Task,
    Transfer,
    Wait,
}

impl Activity {
    /// That of a task.
    pub const fn of_task(task: &Task) -> Self {
        match task {
            Task::Draw { .. } => Self::Draw,
            Task::Forward {
                purpose: Purpose::Train,
                ..
            } => Self::Forward,
            Task::Forward {
                purpose: Purpose::Evaluate,
                ..
            } => Self::Evaluate,
            Task::BackwardInput { .. } => Self::BackwardInput,
            Task::BackwardWeights { .. } => Self::BackwardWeights,
            Task::Squares { .. } | Task::Update { .. } => Self::Update,
        }
    }

    /// That of a tensor on its way.
    pub const fn of_tensor(kind: TensorKind) -> Self {
        match kind {
            TensorKind::Activation => Self::Activation,
            TensorKind::Samples => Self::Samples,
            TensorKind::Gradient => Self::Gradient,
            TensorKind::Release => Self::Release,
        }
    }

    /// That of an idle peer.
    pub const fn of_waiting(waiting: Waiting) -> Self {
        match waiting {
            Waiting::Input => Self::WaitInput,
            Waiting::Credit => Self::WaitCredit,
            Waiting::Weights => Self::WaitWeights,
        }
    }

    const fn class(self) -> Class {
        match self {
            Self::Draw
            | Self::Forward
            | Self::Evaluate
            | Self::BackwardInput
            | Self::BackwardWeights
            | Self::Update => Class::Task,
            Self::Activation | Self::Samples | Self::Gradient | Self::Weights | Self::Release => {
                Class::Transfer
            }
            Self::WaitInput | Self::WaitCredit | Self::WaitWeights => Class::Wait,
        }
    }

    /// Whether the peer computes meanwhile.
    pub fn is_task(self) -> bool {
        self.class() == Class::Task
    }

    /// Whether something is on its way meanwhile.
    pub fn is_transfer(self) -> bool {
        self.class() == Class::Transfer
    }

    /// Whether the peer is idle meanwhile.
    pub fn is_wait(self) -> bool {
        self.class() == Class::Wait
    }
}

/// A stretch of time at a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which peer, by a number of the recorder's choice.
    pub peer: u32,
    /// What it did.
    pub activity: Activity,
    /// From.
    pub start: Time,
    /// Until.
    pub end: Time,
    /// What exactly.
    pub details: Details,
}

/// What a span was about; what does not apply is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// The step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// The micro-batch: its sequence in the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<u16>,
    /// The weights in use, by the updates they have seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_version: Option<u32>,
    /// The receiver of a transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u32>,
}

impl Details {
    /// Those of a task.
    pub fn of_task(task: &Task) -> Self {
        let of = |step, micro_batch, version| Self {
            step: Some(step),
            micro_batch,
            weight_version: version,
            to: None,
        };
        match task {
            Task::Draw { micro_batch } => of(micro_batch.step.0, Some(micro_batch.sequence), None),
            Task::Forward {
                micro_batch,
                version,
                ..
            }
            | Task::BackwardInput {
                micro_batch,
                version,
                ..
            }
            | Task::BackwardWeights {
                micro_batch,
                version,
                ..
            } => of(
                micro_batch.step.0,
                Some(micro_batch.sequence),
                Some(version.0),
            ),
            Task::Squares { step } | Task::Update { step, .. } => of(step.0, None, None),
        }
    }
}

/// Spans to test with.
#[cfg(test)]
mod sample {
    use super::*;

    pub(super) fn span(
        peer: u32,
        activity: Activity,
        start: u64,
        end: u64,
        to: Option<u32>,
    ) -> Span {
        Span {
            peer,
            activity,
            start: Time::from_micros(start),
            end: Time::from_micros(end),
            details: Details {
                step: Some(1),
                to,
                ..Details::default()
            },
        }
    }

    /// Two peers: one computes, sends and waits for a credit, the other waits for it, computes and waits for its update.
    pub(super) fn spans() -> Vec<Span> {
        vec![
            span(0, Activity::Forward, 0, 40, None),
            span(0, Activity::Activation, 40, 60, Some(1)),
            span(0, Activity::WaitCredit, 40, 100, None),
            span(1, Activity::WaitInput, 0, 60, None),
            span(1, Activity::Forward, 60, 90, None),
            span(1, Activity::WaitWeights, 90, 100, None),
        ]
    }
}
