//! A cell of a grid: one run.

use ringtmp_core::parameter_server::{Placement, Staleness};
use ringtmp_core::plan::LayerCost;
use ringtmp_core::schedule::Mode;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// How devices train together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Each device holds some layers, as a room has it: all devices take part but those that hold up the others.
    Ring(Mode),
    /// The same, of those devices only with which the planner holds it fastest, links counted; the others idle.
    FewRing(Mode),
    /// Workers hold whole models, servers update them.
    ParameterServer {
        /// Where the shards are.
        placement: Placement,
        /// How far workers may drift apart.
        tau: Staleness,
    },
    /// Workers hold whole models and add up gradients round a ring.
    AllReduce,
}

impl Way {
    /// Whether it is a ring.
    pub const fn is_ring(self) -> bool {
        matches!(self, Self::Ring(_) | Self::FewRing(_))
    }

    /// Whether it is a parameter server.
    pub const fn is_server(self) -> bool {
        matches!(self, Self::ParameterServer { .. })
    }

    /// Whether its updates see the gradients of whole batches at the newest weights, so that its progress per sample is that of one process.
    pub const fn is_synchronous(self) -> bool {
        match self {
            Self::Ring(mode) | Self::FewRing(mode) => {
                matches!(mode, Mode::Sync | Mode::OneForwardOneBackward)
            }
            Self::ParameterServer { tau, .. } => tau.is_synchronous(),
            Self::AllReduce => true,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(mode) => write!(f, "ring {mode}"),
            Self::FewRing(mode) => write!(f, "ring {mode}, few"),
            Self::ParameterServer { placement, tau } => {
                write!(f, "PS {placement}, tau {tau}")
            }
            Self::AllReduce => f.write_str("all-reduce"),
        }
    }
}

/// A model, by what a run file would say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Model {
    /// The preset.
    pub preset: String,
    /// Blocks, of a transformer.
    pub depth: Option<u32>,
    /// Numbers of a token's vector, of a transformer.
    pub width: Option<u32>,
}

impl Model {
    /// A transformer.
    pub fn gpt(depth: u32, width: u32) -> Self {
        Self {
            preset: "gpt".to_owned(),
            depth: Some(depth),
            width: Some(width),
        }
    }

    /// A preset with its own sizes.
    pub fn preset(name: &str) -> Self {
        Self {
            preset: name.to_owned(),
            depth: None,
            width: None,
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.preset)?;
        if let (Some(depth), Some(width)) = (self.depth, self.width) {
            write!(f, " {depth}x{width}")?;
        }
        Ok(())
    }
}

/// What a model costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelCosts {
    /// Its layers, per sample.
    pub layers: Vec<LayerCost>,
    /// Bytes of a sample with its labels.
    pub sample_bytes: u64,
}

impl ModelCosts {
    /// Numbers that it learns.
    pub fn parameters(&self) -> u64 {
        self.layers.iter().map(|layer| layer.parameters).sum()
    }
}

/// What is grown until it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capacity {
    /// Blocks, at the model's width.
    Depth,
    /// Width, at the model's depth.
    Width,
}

/// What happens to a device in the course of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// Nothing.
    None,
    /// It dies unnoticed, forgets everything and is back after 5 s.
    Away,
    /// It dies unnoticed, for good.
    Gone,
    /// Devices die unnoticed at random, each once in twenty minutes in the mean, and are back after 5 s.
    Seldom,
    /// Likewise, each once in five minutes.
    Often,
}

impl Trouble {
    /// All.
    pub const ALL: [Self; 5] = [
        Self::None,
        Self::Away,
        Self::Gone,
        Self::Seldom,
        Self::Often,
    ];

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::None => "undisturbed",
            Self::Away => "one away for 5 s",
            Self::Gone => "one gone for good",
            Self::Seldom => "each lost once in 20 minutes, back after 5 s",
            Self::Often => "each lost once in 5 minutes, back after 5 s",
        }
    }

    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "undisturbed",
            Self::Away => "away",
            Self::Gone => "gone",
            Self::Seldom => "seldom",
            Self::Often => "often",
        }
    }
}

/// Whose samples a run is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// All draw from the same.
    Shared,
    /// Each device that computes gradients draws from its own, and each class is at one device (not independent and identically
    /// distributed).
    ByLabel,
}

impl Spread {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Shared => "samples that all share",
            Self::ByLabel => "classes of its own for each device",
        }
    }
}

/// Where real devices run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Host {
    /// Processes of this program.
    Native,
    /// Tabs of a browser.
    Browser,
}

impl Host {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Native, Self::Browser];

    /// Who runs there.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Native => "native processes",
            Self::Browser => "browser tabs",
        }
    }
}

/// What a cell does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A run of so many steps.
    Run {
        /// Updates.
        steps: u32,
    },
    /// The largest model.
    Capacity(Capacity),
    /// A run whose devices keep copies of each other's layers, if they can, and what happens to them.
    Resilience {
        /// Updates.
        steps: u32,
        /// What happens.
        trouble: Trouble,
    },
    /// A run with real gradients.
    Progress {
        /// Updates.
        steps: u32,
        /// Whose samples.
        spread: Spread,
    },
    /// A run of real peers, and the same one simulated.
    Real {
        /// Updates.
        steps: u32,
    },
    /// A run of real devices of which one falls silent, and the same one simulated.
    Struck {
        /// Updates.
        steps: u32,
        /// What happens; never at random.
        trouble: Trouble,
    },
    /// A run of real devices that learn, of which some are lost.
    Lasting {
        /// Updates.
        steps: u32,
        /// What happens; here never after a time, but after so many steps.
        trouble: Trouble,
    },
    /// A run of real peers that learn, and the same one simulated with real gradients.
    Taught {
        /// Updates.
        steps: u32,
    },
    /// Two runs of real devices, of so many steps and of more: what each further sample takes.
    Hosted {
        /// Updates of the shorter run.
        steps: u32,
        /// Where they run.
        host: Host,
    },
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// What it does.
    pub kind: Kind,
    /// The model; where one is grown, what does not grow of it.
    pub model: Model,
    /// How devices train together.
    pub way: Way,
    /// Which devices: a name in the table, or `mixed`.
    pub profile: String,
    /// How many, servers counted.
    pub peers: u16,
    /// Micro-batches of a step, over all devices.
    pub micro_batches: u16,
    /// Samples of a micro-batch.
    pub micro_batch: u32,
    /// Makes all draws.
    pub seed: u64,
}

impl Cell {
    /// Names the cell: a digest of its inputs, of all that `surroundings` tells (tables, costs) and of the program.
    pub fn digest(&self, surroundings: &str, program: &str) -> String {
        let inputs = serde_json::to_string(self).unwrap_or_default();
        let mut hash = Sha256::new();
        for part in [&inputs, surroundings, program] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
