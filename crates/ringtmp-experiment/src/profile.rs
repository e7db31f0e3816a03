//! The table of emulated devices.

use ringtmp_energy::estimate::Basis;
use ringtmp_sim::{DeviceSpec, Hop, Hops};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The table that comes with the program.
pub const PROFILES: &str = include_str!("../profiles.toml");

/// Devices of three kinds in turn: the laptop first.
pub(crate) const MIXED: &str = "mixed";

/// The kinds that [`MIXED`] takes in turn.
const MIXTURE: [&str; 3] = ["laptop-wifi", "phone-wifi", "pi-ethernet"];

/// One kind of device and its link.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceProfile {
    /// What it is.
    pub about: String,
    /// Sustained, in training.
    pub operations_per_second: f64,
    /// Cores that are busy while it computes.
    pub cores: f64,
    /// What a run may take of its memory.
    pub memory_bytes: u64,
    /// One way to the access point or switch.
    pub delay_seconds: f64,
    /// Of its access link, each way.
    pub bytes_per_second: f64,
    /// Its name among `ringtmp-energy`'s coefficients.
    pub energy_profile: String,
    /// What the numbers rest on.
    pub basis: Basis,
    /// Where they come from.
    pub source: String,
}

/// The table.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Profiles(pub BTreeMap<String, DeviceProfile>);

/// What is wrong with a table, or with what was asked of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Not TOML of this kind.
    #[error("the table of devices cannot be read: {0}")]
    Table(String),
    /// No such kind.
    #[error("there is no device {0:?} in the table")]
    Unknown(String),
}

impl Profiles {
    /// Reads a table.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        toml::from_str(text).map_err(|error| ProfileError::Table(error.to_string()))
    }

    /// The kinds of so many devices.
    ///
    /// # Errors
    ///
    /// If the table has no such kind.
    pub fn devices(&self, name: &str, peers: u16) -> Result<Vec<&DeviceProfile>, ProfileError> {
        let known = |name: &str| {
            let found = self.0.get(name);
            found.ok_or_else(|| ProfileError::Unknown(name.to_owned()))
        };
        let kind = |place: usize| match name {
            MIXED => known(MIXTURE[place % MIXTURE.len()]),
            name => known(name),
        };
        (0..usize::from(peers)).map(kind).collect()
    }
}

impl DeviceProfile {
    /// For the simulator; an update takes `update_operations`.
    pub(crate) fn spec(&self, update_operations: f64) -> DeviceSpec {
        DeviceSpec {
            flops_per_second: [self.operations_per_second; 3],
            update_seconds: update_operations / self.operations_per_second,
            has_data: true,
            memory_bytes: Some(self.memory_bytes),
            on_medium: false,
        }
    }
}

/// The links between devices: their rate is that of the slower access link.
pub(crate) fn links(devices: &[&DeviceProfile]) -> Hops {
    let hop = |one: &DeviceProfile, other: &DeviceProfile| Hop {
        delay_seconds: one.delay_seconds + other.delay_seconds,
        bytes_per_second: Some(one.bytes_per_second.min(other.bytes_per_second)),
    };
    let usual = devices.first().map_or(
        Hop {
            delay_seconds: 0.0,
            bytes_per_second: None,
        },
        |first| hop(first, first),
    );
    let mut links = Hops::all(usual);
    for (i, one) in devices.iter().enumerate() {
        for (j, other) in devices.iter().enumerate().skip(i + 1) {
            let link = hop(one, other);
            if link != usual {
                links.set(i, j, link);
            }
        }
    }
    links
}
