//! What a peer says that comes back over a new socket: to the same server, or to one that was restarted and knows of nothing.

use super::{Device, Point, Role, RoomPlan, RoomState, RunDescriptor};
use crate::ids::{Epoch, MemberToken, PeerId, RoomCode, Version};
use crate::secret::DoorProof;
use serde::{Deserialize, Serialize};

/// Who comes back, and all that a server that forgot everything has to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Returning {
    /// Must equal [`super::PROTOCOL_VERSION`].
    pub protocol: u16,
    /// The room.
    pub room: RoomCode,
    /// Its id in the room.
    pub peer: PeerId,
    /// What the room told it when it came.
    pub token: MemberToken,
    /// The answer to the server's question, of who knows the room's secret, under that role.
    #[serde(default)]
    pub proof: Option<DoorProof>,
    /// As what it takes part.
    pub role: Role,
    /// The device.
    pub device: Device,
    /// Whether it has samples to train on.
    pub has_data: bool,
    /// The run.
    pub run: RunDescriptor,
    /// How it stands.
    pub standing: Standing,
}

/// How a peer stands in its run, whatever became of the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The room's state, as it was last heard of.
    pub state: RoomState,
    /// The newest plan that it obeyed.
    pub plan: Option<RoomPlan>,
    /// What it does under that plan.
    pub phase: Phase,
    /// The newest version that it knows to be stable.
    pub stable: Option<Version>,
    /// The curves, as far as it has heard of them; at most [`super::CURVE_POINTS_MAX`] points are believed.
    pub points: Vec<Point>,
}

impl Standing {
    /// Of the newest plan that it obeyed.
    pub fn epoch(&self) -> Option<Epoch> {
        self.plan.as_ref().map(RoomPlan::epoch)
    }
}

/// What a peer does under its newest plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It has no stage, or has let go of it.
    #[default]
    Idle,
    /// It builds its stage, or waits for the others.
    Preparing,
    /// It trains, or has done its part.
    Training,
}
