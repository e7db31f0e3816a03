//! A room as its members see it.

use super::{Device, LayerDigest, LinkTraffic, Recovery, Role};
use crate::ids::{Epoch, PeerId, RoomCode, Version};
use crate::parameter_server::TeamPlan;
use crate::plan::Plan;
use crate::trace::Report;
use serde::{Deserialize, Serialize};

/// A room's state. There is no silent state: each is shown to the user by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RoomState {
    /// For members, or for somebody to press start.
    Waiting,
    /// Stages are built, links are made, kernels are compiled.
    WarmingUp,
    /// Steps are made.
    Training,
    /// No new step begins.
    Paused,
    /// The ring is put together anew, and goes on from the newest step of which every layer is left.
    Reconfiguring {
        /// Why, in words for the user.
        reason: String,
    },
    /// Layers are missing that devices keep which are not here: they are waited for, until somebody presses start to begin anew.
    Lacking {
        /// Who has what, in words for the user.
        reason: String,
    },
    /// All steps are made.
    Finished,
    /// The run ended before its last step.
    Stopped {
        /// In words for the user.
        reason: String,
    },
}

impl RoomState {
    /// Whether the room is only being put together anew, and then goes on as it was before, paused or not.
    pub const fn is_put_together(&self) -> bool {
        matches!(self, Self::Reconfiguring { .. } | Self::Lacking { .. })
    }
}

/// A room as members and spectators see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoomView {
    /// Its code.
    pub code: RoomCode,
    /// Its state.
    pub state: RoomState,
    /// Members in the order they came.
    pub members: Vec<MemberView>,
    /// The member that opened it, while it is there: it alone may start, pause and stop. Without one everybody may.
    #[serde(default)]
    pub host: Option<PeerId>,
    /// The plan in force or being prepared.
    pub plan: Option<RoomPlan>,
    /// The result, once finished.
    pub result: Option<RunResult>,
    /// How often the ring was put together anew in this run, and how that went: the newest [`super::RECOVERIES_SHOWN_MAX`].
    #[serde(default)]
    pub recoveries: Vec<Recovery>,
    /// Updates after which every layer lies with two devices; none where nothing is copied, or nothing was yet.
    #[serde(default)]
    pub stable: Option<Version>,
    /// Updates after which every layer lies on the disk of a device that is here.
    #[serde(default)]
    pub kept: Option<Version>,
    /// Updates between one stable version and the next.
    #[serde(default)]
    pub replicated_every: Option<u16>,
}

impl RoomView {
    /// The plan, if it is of a ring.
    pub fn ring(&self) -> Option<&Plan> {
        self.plan.as_ref().and_then(RoomPlan::ring)
    }

    /// The plan, if it is of devices that hold whole models.
    pub fn team(&self) -> Option<&TeamPlan> {
        self.plan.as_ref().and_then(RoomPlan::team)
    }
}

/// What the devices of a room do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomPlan {
    /// Each holds some layers.
    Ring(Plan),
    /// Each holds the whole model, or serves parameters.
    Team(TeamPlan),
}

impl RoomPlan {
    /// Of a ring.
    pub const fn ring(&self) -> Option<&Plan> {
        match self {
            Self::Ring(plan) => Some(plan),
            Self::Team(_) => None,
        }
    }

    /// Of devices that hold whole models.
    pub const fn team(&self) -> Option<&TeamPlan> {
        match self {
            Self::Ring(_) => None,
            Self::Team(plan) => Some(plan),
        }
    }

    /// Its version.
    pub const fn epoch(&self) -> Epoch {
        match self {
            Self::Ring(plan) => plan.epoch,
            Self::Team(plan) => plan.epoch,
        }
    }

    /// The devices that have a part in it.
    pub fn order(&self) -> &[PeerId] {
        match self {
            Self::Ring(plan) => &plan.order,
            Self::Team(plan) => &plan.order,
        }
    }
}

/// One member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberView {
    /// Its id.
    pub peer: PeerId,
    /// Train or watch.
    pub role: Role,
    /// Its device.
    pub device: Device,
    /// What it does now.
    pub status: MemberStatus,
    /// Bytes it has sent to its neighbours.
    pub links: Vec<LinkTraffic>,
    /// How it does, or did last, under the plan.
    pub report: Option<Box<Report>>,
    /// What is known of its speed.
    pub profile: ProfileView,
    /// Why this run goes on without it, if it was cut out.
    #[serde(default)]
    pub cut_out: Option<String>,
}

/// What a room knows of a member's speed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "profile", rename_all = "snake_case")]
pub enum ProfileView {
    /// It has not told yet.
    #[default]
    Missing,
    /// It has measured the run's layers.
    Measured {
        /// F, B and W of all layers for a sample, in seconds.
        sample_seconds: f64,
    },
    /// What it told cannot be true; operations are counted instead.
    Refused {
        /// In words for the user.
        reason: String,
    },
}

/// What a member does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberStatus {
    /// No plan yet.
    Waiting,
    /// Measures the run's layers, so that the plan can be made.
    Measuring,
    /// Builds its stage and links.
    Preparing,
    /// Has said ready.
    Ready,
    /// Computes.
    Training,
    /// The plan does without it and says why: it may step in with the next.
    Spare,
    /// Only watches.
    Watching,
    /// Has finished its part.
    Done,
    /// Its connection to the server is gone. Its part goes on as long as its neighbours hear it.
    Away,
    /// Leaves as soon as others have its layers.
    Leaving,
    /// The run goes on without it, because of what it did.
    CutOut,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Updates made.
    pub steps: u32,
    /// Mean loss of the first step.
    pub loss_first: Option<f32>,
    /// Mean loss of the last step.
    pub loss_last: Option<f32>,
    /// Share of right answers on held-out samples after the last step, 0 to 1.
    pub test_accuracy: Option<f32>,
    /// From room created to result.
    pub seconds: f64,
    /// Digests of all layers, in order.
    pub digests: Vec<LayerDigest>,
}

/// A view behind a counted reference is written as the view is.
pub(super) mod shared {
    use super::RoomView;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::sync::Arc;

    pub(crate) fn serialize<S: Serializer>(
        view: &Arc<RoomView>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        view.as_ref().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<RoomView>, D::Error> {
        RoomView::deserialize(deserializer).map(Arc::new)
    }
}
