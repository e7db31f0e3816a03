//! What a run is, as far as a room knows.

use super::{Device, LAYERS_MAX, Replication};
use crate::codec::CodecChoice;
use crate::ids::RoomCode;
use crate::parameter_server::Topology;
use crate::plan::LayerCost;
use crate::profile::Planning;
use crate::schedule::{DataSource, ScheduleSpec};
use crate::secret::Verifier;
use serde::{Deserialize, Serialize};

/// A run: the text that peers read, and the outline the room needs to plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunDescriptor {
    /// The run file (TOML). The room does not read it.
    pub toml: String,
    /// What the room does read. Peers check it against the run file.
    pub outline: RunOutline,
    /// If it goes on from what devices keep of it: the code of the room in which it began.
    #[serde(default)]
    pub resumes: Option<RoomCode>,
    /// By what the server knows those who know the room's secret; none of a room that is open to everybody.
    #[serde(default)]
    pub verifier: Option<Verifier>,
}

/// What core knows of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunOutline {
    /// A name for people: the preset.
    pub name: String,
    /// The layers, in order; 1 to [`LAYERS_MAX`].
    pub layers: Vec<LayerCost>,
    /// Optimizer updates; at least 1.
    pub steps: u32,
    /// Micro-batches in the roster of a step; at least 1.
    pub micro_batches: u16,
    /// Evaluate after every so many steps (and at the end); 0 for the end only.
    pub evaluate_every: u32,
    /// Micro-batches of one evaluation; 0 for none.
    pub evaluation_micro_batches: u16,
    /// Start by itself when so many participants are there; 0 to wait for [`ClientMessage::Start`](super::ClientMessage::Start).
    pub start_at_peers: u16,
    /// How the micro-batches go through the ring.
    pub schedule: ScheduleSpec,
    /// Whose samples are trained on.
    pub source: DataSource,
    /// Bytes of a sample with its labels, as it would cross a link.
    pub sample_bytes: u64,
    /// How tensors are written between stages.
    pub codec: CodecChoice,
    /// Where the plan gets the speed of peers from.
    pub planning: Planning,
    /// How often stages are copied to their successors, so that a run outlives its devices.
    #[serde(default)]
    pub replication: Replication,
    /// How devices train the model together.
    #[serde(default)]
    pub topology: Topology,
}

impl RunOutline {
    /// What keeps it from being run, in words for its author.
    pub(crate) fn complaint(&self) -> Option<String> {
        let costs_are_sane = self
            .layers
            .iter()
            .flat_map(|layer| layer.flops)
            .all(|flops| flops.is_finite() && flops >= 0.0);
        if self.layers.is_empty() || self.layers.len() > LAYERS_MAX {
            let layers = self.layers.len();
            Some(format!("{layers} layers; 1 to {LAYERS_MAX} can be run"))
        } else if self.steps == 0 || self.micro_batches == 0 {
            Some("it needs at least one step of at least one micro-batch".to_owned())
        } else if !costs_are_sane {
            Some("a layer's cost is not a number".to_owned())
        } else if !self.schedule.is_sane() {
            Some("its schedule has numbers that no schedule can have".to_owned())
        } else if self.replication == Replication::Every(0) {
            Some("it copies stages after every 0 updates; say 1 or more".to_owned())
        } else if self.name.chars().count() > Device::TEXT_CHARS_MAX {
            let longest = Device::TEXT_CHARS_MAX;
            Some(format!("its name is over {longest} characters"))
        } else {
            None
        }
    }
}
