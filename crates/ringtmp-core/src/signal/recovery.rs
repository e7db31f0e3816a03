//! What peers and room say of losses and how a run outlives them.

use crate::ids::{Epoch, LayerIndex, PeerId, Step, Version};
use crate::parameter_server::ShardIndex;
use serde::{Deserialize, Serialize};

/// The most recoveries that are told of a run.
pub const RECOVERIES_SHOWN_MAX: usize = 32;

/// The most that is told of who took over what, so that [`RECOVERIES_SHOWN_MAX`] of them fit a message beside all else.
pub const TAKEN_SHOWN_MAX: usize = 4;

/// Layers that a device has taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Which device.
    pub peer: PeerId,
    /// Its name.
    pub by: String,
    /// Of the layers the first, counted from 0.
    pub first: u16,
    /// The last, which is one of them.
    pub last: u16,
}

/// How often stages are copied to their successors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum Replication {
    /// Never: a device that is lost ends the run.
    Off,
    /// As often as slows training by at most a twentieth, by what is known of devices and links.
    #[default]
    Auto,
    /// After every so many updates, at least 1.
    Every(u16),
}

/// As it is written: `"off"`, `"auto"`, or a number.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "replicate is \"auto\", \"off\", or after how many updates"
)]
enum Written {
    Word(Word),
    Every(u16),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Off,
    Auto,
}

impl From<Written> for Replication {
    fn from(written: Written) -> Self {
        match written {
            Written::Word(Word::Off) => Self::Off,
            Written::Word(Word::Auto) => Self::Auto,
            Written::Every(every) => Self::Every(every),
        }
    }
}

impl From<Replication> for Written {
    fn from(replication: Replication) -> Self {
        match replication {
            Replication::Off => Self::Word(Word::Off),
            Replication::Auto => Self::Word(Word::Auto),
            Replication::Every(every) => Self::Every(every),
        }
    }
}

impl Replication {
    /// Whether anything is copied.
    pub const fn is_on(self) -> bool {
        match self {
            Self::Off => false,
            Self::Auto | Self::Every(_) => true,
        }
    }
}

/// What a peer holds of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The newest plan that it obeyed: what it holds belongs to that plan's past.
    pub under: Epoch,
    /// Updates that its stage had made.
    pub updates: Step,
    /// Layers as they were after so many updates, whole.
    pub copies: Vec<(Version, Vec<LayerIndex>)>,
    /// Of a device in a room whose devices hold whole models.
    #[serde(default)]
    pub team: Option<TeamHolding>,
}

/// What such a device holds of the parameters: which of the parts that they are cut into.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamHolding {
    /// As they are.
    pub live: Vec<ShardIndex>,
    /// As they were after so many steps, whole.
    pub copies: Vec<(Step, Vec<ShardIndex>)>,
}

/// Once that the ring was put together anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// Why, in words for the user.
    pub reason: String,
    /// The step from which training goes on.
    pub step: u32,
    /// Steps that had been made after it, by the stage that was furthest, and are made again.
    pub repeated: u32,
    /// Layers that moved to another device.
    pub moved: u16,
    /// Who has which layers that it had not before: the first [`TAKEN_SHOWN_MAX`].
    #[serde(default)]
    pub taken: Vec<Taken>,
    /// From noticing to the first task under the new plan; none while it is under way.
    pub seconds: Option<f64>,
}
