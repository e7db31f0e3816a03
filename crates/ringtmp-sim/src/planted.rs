//! Mistakes planted into a node's doing, to show that the checkers find them. Only in tests.

use crate::compute::Compute;
use crate::world::{Worked, World};
use ringtmp_core::ids::{Epoch, Slot, SourceIndex, Version};
use ringtmp_core::node::Assignment;
use ringtmp_core::schedule::{CREDIT_MAX, Limits, SLOTS_MAX, Task};
use ringtmp_core::signal::{ClientMessage, RoomState, ServerMessage};
use ringtmp_core::wire::{Body, TensorKind};
use std::time::Duration;

/// The stage that makes the mistake: neither head nor tail.
const CULPRIT: usize = 1;

/// The stage that makes a mistake with the samples of another.
const CULPRIT_ON_THE_WAY: usize = 2;

/// When it makes it.
const STEP: u32 = 1;

/// How many peers' samples are trained on.
pub(crate) const SOURCES: u16 = 4;

/// The mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A W is left out.
    SkipsWeights,
    /// A W is done twice.
    RepeatsWeights,
    /// Two W change places.
    SwapsWeights,
    /// F uses the weights of one update less.
    StaleWeights,
    /// B uses the weights of one update less.
    OtherWeightsInBackward,
    /// A gradient is never sent, and with it the credit of the stage before.
    LosesGradient,
    /// A node goes by a credit of its own.
    IgnoresCredit,
    /// All micro-batches share a slot.
    SharesSlot,
    /// A task takes ten thousand times its time.
    Dawdles,
    /// Samples that come by are passed on twice.
    RepeatsSamples,
    /// A source leaves out a turn, and goes on with the one after it.
    SkipsTurn,
    /// A source draws the samples of another turn than it says.
    DrawsOthers,
    /// A source goes by a window of its own.
    FloodsSamples,
    /// A stage updates by the norm of its own gradients, without waiting for the others'.
    UpdatesEarly,
    /// A stage adds its squares the other way round.
    AddsInAnotherOrder,
    /// The sum of squares is sent twice.
    RepeatsSum,
    /// A node does not hear that the room has stopped.
    MissesStop,
    /// A device drops what it is sent of its predecessor's layers.
    LosesCopies,
    /// A stage is copied as it was at the copy before.
    CopiesLate,
    /// Nodes say nothing of the copies that they hold.
    HidesCopies,
    /// A stage says that its copies lie with its successor before they do.
    SecuresEarly,
    /// A device forgets no copy.
    ForgetsNothing,
    /// A source goes on with the samples that were its own under the plan before.
    DrawsAsBefore,
    /// A node goes on from copies of a past that was given up.
    KeepsAnotherPast,
    /// A device gets another version from its disk than it was asked for.
    LoadsAnotherVersion,
    /// A device that is to hand its layers on leaves at once.
    LeavesAtOnce,
    /// With what lies on a GPU that is lost, a device loses its copies.
    LosesCopiesWithGpu,
    /// A device never says that what it was sent of copies is there.
    NeverAcknowledges,
}

impl Bug {
    pub(crate) const ALL: [Self; 28] = [
        Self::SkipsWeights,
        Self::RepeatsWeights,
        Self::SwapsWeights,
        Self::StaleWeights,
        Self::OtherWeightsInBackward,
        Self::LosesGradient,
        Self::IgnoresCredit,
        Self::SharesSlot,
        Self::Dawdles,
        Self::RepeatsSamples,
        Self::SkipsTurn,
        Self::DrawsOthers,
        Self::FloodsSamples,
        Self::UpdatesEarly,
        Self::AddsInAnotherOrder,
        Self::RepeatsSum,
        Self::MissesStop,
        Self::LosesCopies,
        Self::CopiesLate,
        Self::HidesCopies,
        Self::SecuresEarly,
        Self::ForgetsNothing,
        Self::DrawsAsBefore,
        Self::KeepsAnotherPast,
        Self::LoadsAnotherVersion,
        Self::LeavesAtOnce,
        Self::LosesCopiesWithGpu,
        Self::NeverAcknowledges,
    ];

    /// Whether it shows only where a device is lost.
    pub(crate) const fn is_about_losses(self) -> bool {
        matches!(
            self,
            Self::LosesCopies
                | Self::CopiesLate
                | Self::HidesCopies
                | Self::SecuresEarly
                | Self::ForgetsNothing
                | Self::DrawsAsBefore
                | Self::KeepsAnotherPast
                | Self::LoadsAnotherVersion
                | Self::LeavesAtOnce
                | Self::LosesCopiesWithGpu
        )
    }
}

#[derive(Debug, Default)]
pub(crate) struct Planted {
    pub(crate) bug: Option<Bug>,
    /// A W that was put off.
    kept_back: Option<Task>,
    /// Which of the sources the culprit was under its first plan.
    source: Option<SourceIndex>,
}

impl Planted {
    fn is(&self, at: usize, bug: Bug) -> bool {
        at == CULPRIT && self.bug == Some(bug)
    }

    pub(crate) fn is_culprits(&self, at: usize, bug: Bug) -> bool {
        self.is(at, bug)
    }

    /// Whether its neighbours are to find it out; otherwise the checker that the mistake is for has the word.
    pub(crate) fn is_for_neighbours(&self) -> bool {
        self.bug.is_none_or(|bug| {
            matches!(
                bug,
                Bug::LosesGradient | Bug::RepeatsSum | Bug::NeverAcknowledges
            )
        })
    }

    /// What a device says to the room.
    pub(crate) fn says(&self, mut message: ClientMessage) -> ClientMessage {
        if let ClientMessage::Holdings { holding, .. } = &mut message
            && self.bug == Some(Bug::HidesCopies)
        {
            holding.copies.clear();
        }
        message
    }

    pub(crate) fn assigned(&mut self, at: usize, assignment: &mut Assignment) {
        if self.is(at, Bug::DrawsAsBefore) {
            let first = *self
                .source
                .get_or_insert(assignment.source.unwrap_or(SourceIndex(0)));
            assignment.source = Some(first);
        }
    }

    pub(crate) fn told(
        &self,
        to: usize,
        obeyed: Option<Epoch>,
        mut message: ServerMessage,
    ) -> ServerMessage {
        if let ServerMessage::Room { room } = &mut message
            && matches!(room.state, RoomState::Stopped { .. })
            && self.is(to, Bug::MissesStop)
        {
            std::sync::Arc::make_mut(room).state = RoomState::Training;
        }
        let ServerMessage::Prepare { plan } = &mut message else {
            return message;
        };
        if self.bug == Some(Bug::KeepsAnotherPast) {
            plan.pasts = obeyed.into_iter().collect();
        }
        let mislead = |limits: &mut Limits| {
            limits.credit = CREDIT_MAX;
            limits.slots = SLOTS_MAX;
        };
        if self.is(to, Bug::IgnoresCredit) {
            mislead(&mut plan.limits[CULPRIT]);
        }
        // The head's credit is the window of the samples.
        if self.is(to, Bug::FloodsSamples) {
            mislead(&mut plan.limits[0]);
        }
        message
    }

    /// What a stage takes the squares of its gradients for.
    pub(crate) fn squares(&self, at: usize, mut squares: Vec<f64>) -> Vec<f64> {
        if self.is(at, Bug::AddsInAnotherOrder) {
            squares.reverse();
        }
        squares
    }

    /// What is sent instead of a frame: nothing, it, another, or two.
    pub(crate) fn posts(&self, at: usize, mut body: Body) -> [Option<Body>; 2] {
        if matches!(body, Body::SquareSum { step, .. } if step.0 == STEP)
            && self.is(at, Bug::RepeatsSum)
        {
            return [Some(body.clone()), Some(body)];
        }
        if matches!(body, Body::PieceHere { .. }) && self.is(at, Bug::NeverAcknowledges) {
            return [None, None];
        }
        let Body::Tensor {
            kind, micro_batch, ..
        } = &mut body
        else {
            return [Some(body), None];
        };
        if micro_batch.step.0 != STEP {
            return [Some(body), None];
        }
        match kind {
            TensorKind::Gradient
                if micro_batch.sequence == 0 && self.is(at, Bug::LosesGradient) =>
            {
                [None, None]
            }
            TensorKind::Samples if self.is(at, Bug::SkipsTurn) => {
                micro_batch.sequence += SOURCES;
                [Some(body), None]
            }
            TensorKind::Samples
                if at == CULPRIT_ON_THE_WAY && self.bug == Some(Bug::RepeatsSamples) =>
            {
                [Some(body.clone()), Some(body)]
            }
            TensorKind::Activation
            | TensorKind::Samples
            | TensorKind::Gradient
            | TensorKind::Release => [Some(body), None],
        }
    }

    pub(crate) fn slowed(&self, at: usize, task: &Task, time: Duration) -> Duration {
        let is_update = matches!(task, Task::BackwardWeights { micro_batch, .. }
            if micro_batch.step.0 == STEP && micro_batch.sequence == 0);
        if is_update && self.is(at, Bug::Dawdles) {
            time * 10_000
        } else {
            time
        }
    }
}

impl<C: Compute, B: FnMut(Assignment) -> C> World<'_, C, B> {
    pub(crate) fn work(&mut self, at: usize, task: Task, input: Option<C::Tensors>) -> Worked<C> {
        let planted = self.planted.bug.filter(|_| at == CULPRIT);
        let is = |bug| planted == Some(bug);
        match task {
            Task::Draw { mut micro_batch } => {
                let worked = self.work_off(at, task, input);
                if micro_batch.step.0 != STEP || !is(Bug::DrawsOthers) {
                    return worked;
                }
                micro_batch.step.0 += 1;
                self.carry_out(at, Task::Draw { micro_batch }, None)
            }
            Task::BackwardWeights { micro_batch, .. } if micro_batch.step.0 == STEP => {
                if micro_batch.sequence == 0 && is(Bug::SkipsWeights) {
                    return (None, None);
                }
                if micro_batch.sequence == 0 && is(Bug::RepeatsWeights) {
                    self.work_off(at, task, None);
                }
                if micro_batch.sequence == 0 && is(Bug::SwapsWeights) {
                    self.planted.kept_back = Some(task);
                    return (None, None);
                }
                let worked = self.work_off(at, task, input);
                let kept_back = self.planted.kept_back.take_if(|_| at == CULPRIT);
                if let Some(kept_back) = kept_back {
                    self.work_off(at, kept_back, None);
                }
                worked
            }
            Task::Forward {
                micro_batch,
                purpose,
                slot,
                version,
                input: payload,
            } => {
                let stale = version.0.saturating_sub(1);
                let task = Task::Forward {
                    micro_batch,
                    purpose,
                    slot: if is(Bug::SharesSlot) { Slot(0) } else { slot },
                    version: if is(Bug::StaleWeights) {
                        Version(stale)
                    } else {
                        version
                    },
                    input: payload,
                };
                self.work_off(at, task, input)
            }
            Task::BackwardInput {
                micro_batch,
                slot,
                version,
                output_gradient,
            } if is(Bug::OtherWeightsInBackward) => {
                let task = Task::BackwardInput {
                    micro_batch,
                    slot,
                    version: Version(version.0.saturating_sub(1)),
                    output_gradient,
                };
                self.work_off(at, task, input)
            }
            Task::Squares { step } if step.0 == STEP && is(Bug::UpdatesEarly) => {
                let worked = self.work_off(at, task, input);
                let square_sum = Some(self.squares(at).into_iter().sum());
                self.work_off(at, Task::Update { step, square_sum }, None);
                worked
            }
            Task::Update { step, .. } if step.0 == STEP && is(Bug::UpdatesEarly) => (None, None),
            Task::BackwardInput { .. }
            | Task::BackwardWeights { .. }
            | Task::Squares { .. }
            | Task::Update { .. } => self.work_off(at, task, input),
        }
    }
}
