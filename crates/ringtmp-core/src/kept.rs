//! What lies on disks of a run: versions of layers that outlive the peers that held them.
//!
//! A version is told from others of the same number by the plan under which it was copied: after a loss steps are made again, and
//! what was made before belongs to a past that is given up. Plans are counted in each room, and a run may go on in another room.

use crate::ids::{Epoch, LayerIndex, RoomCode, Version};
use crate::signal::Device;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The least time between two versions that are kept. A run that loses all its devices loses this much, and what it was about to
/// copy; oftener would keep disks busy where large models are trained.
pub const KEPT_EVERY_MIN: Duration = Duration::from_secs(5);

/// The most versions that a peer offers: two of its own, and those of other tabs of its browser that are gone.
pub const KEPT_MAX: usize = 16;

/// The most stages of a ring that are remembered with a version: as many as a room has members.
pub const RING_MAX: usize = 64;

/// The plan under which a version was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Past {
    /// The room that made it.
    pub room: RoomCode,
    /// Which of its plans.
    pub epoch: Epoch,
}

/// A version of which layers lie on a peer's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The plan under which it was copied.
    pub past: Past,
    /// Updates that the layers have seen.
    pub version: Version,
    /// Which layers.
    pub layers: Vec<LayerIndex>,
    /// The ring that made it, head first: so that those who are missing can be named.
    #[serde(default)]
    pub ring: Vec<Home>,
}

/// A stage of a ring that kept a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// What people call the device.
    pub name: String,
    /// The layer after its last.
    pub layers_end: u16,
    /// Which of these stages kept it as well, besides its successor.
    #[serde(default)]
    pub third: Option<u16>,
}

/// Of what peers offer, what can be: versions between the first step and the last, of layers that the run has, within bounds.
pub fn sane(mut kept: Vec<Kept>, layers: usize, steps: u32) -> Vec<Kept> {
    kept.truncate(KEPT_MAX);
    for version in &mut kept {
        version.layers.truncate(layers);
        version.layers.retain(|layer| usize::from(layer.0) < layers);
        version.layers.sort_unstable();
        version.layers.dedup();
        version.ring.truncate(RING_MAX);
        for home in &mut version.ring {
            home.name = Device::clipped_text(&home.name);
        }
    }
    kept.retain(|version| version.version.0 > 0 && version.version.0 < steps);
    kept
}

impl Kept {
    /// The names of those who kept a layer: the stage that held it, its buddy and the third.
    pub fn homes(&self, layer: LayerIndex) -> Vec<&str> {
        let mut stages = self.ring.iter();
        let Some(owner) = stages.position(|home| layer.0 < home.layers_end) else {
            return Vec::new();
        };
        let buddy = (owner + 1) % self.ring.len();
        let mut names = vec![self.ring[owner].name.as_str()];
        if buddy != owner {
            names.push(&self.ring[buddy].name);
        }
        let third = self.ring[owner].third;
        let third = third.and_then(|third| self.ring.get(usize::from(third)));
        names.extend(third.map(|third| third.name.as_str()));
        names
    }
}
