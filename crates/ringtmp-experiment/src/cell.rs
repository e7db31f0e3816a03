//! A cell of a grid: one run, and what came of it.

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
    /// Devices die unnoticed at random, each once a minute in the mean, and are back after 5 s.
    Random,
}

impl Trouble {
    /// All.
    pub const ALL: [Self; 4] = [Self::None, Self::Away, Self::Gone, Self::Random];

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::None => "undisturbed",
            Self::Away => "one away for 5 s",
            Self::Gone => "one gone for good",
            Self::Random => "each lost once a minute, back after 5 s",
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

/// Joules for each sample, estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Joules {
    /// With all devices' idle watts: the most likely.
    pub estimated_joules_per_sample: f64,
    /// If all coefficients are at their least.
    pub estimated_joules_per_sample_low: f64,
    /// If all are at their most.
    pub estimated_joules_per_sample_high: f64,
    /// Of the most likely, what being there takes.
    pub estimated_joules_per_sample_idle: f64,
    /// Of the most likely, what bytes and frames take.
    pub estimated_joules_per_sample_network: f64,
}

/// The figures of a simulated run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Samples per second, in the middle third of the steps.
    pub throughput: f64,
    /// Virtual seconds of the whole run.
    pub seconds: f64,
    /// Not computing, mean of those who compute gradients; a device for which the plan finds no use counts as idle.
    pub idle: f64,
    /// Of that, waiting for others to compute.
    pub idle_input: f64,
    /// Of that, waiting for what is on its way.
    pub idle_link: f64,
    /// Of that, waiting for a credit.
    pub idle_credit: f64,
    /// Of that, waiting for an update.
    pub idle_weights: f64,
    /// Of that, having no part in the run.
    pub idle_spare: f64,
    /// Not computing, mean of all devices, servers counted.
    pub idle_devices: f64,
    /// Core-seconds of all devices, for each sample.
    pub core_seconds_per_sample: f64,
    /// Bytes that all devices sent, for each sample.
    pub bytes_per_sample: f64,
    /// Devices that have a part in the run.
    pub devices_used: f64,
    /// The share of the whole run for which the device that computes most does.
    pub busiest_device: f64,
    /// The share of the whole run for which the access link that carries most does, in its busier direction.
    pub busiest_link: f64,
    /// Steps by which one worker was ahead of another, at most; of a ring 0.
    pub drift: f64,
    /// How often a ring was put together anew.
    pub recoveries: f64,
    /// Steps that were made again for that.
    pub repeated: f64,
    /// Seconds that the run took longer than the same one undisturbed.
    pub seconds_lost: f64,
    /// What it takes.
    pub joules: Joules,
}

/// A run of real peers beside the same one simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Samples per second, from the first task to the end of the last.
    pub throughput: f64,
    /// The same, simulated.
    pub throughput_simulated: f64,
    /// The share of that time in which the devices did not compute, their mean.
    pub idle: f64,
    /// The same, simulated.
    pub idle_simulated: f64,
    /// Samples for each CPU-second that this machine spent, starting and ending the peers included.
    pub samples_per_cpu_second: f64,
    /// By what share tasks took longer in sum than those of the devices that were imitated.
    pub slower: f64,
}

/// A run of real devices of which one fell silent, beside the same one simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Struck {
    /// From when training began until all was done.
    pub seconds: f64,
    /// The same, simulated.
    pub seconds_simulated: f64,
    /// How often the devices were put together anew.
    pub recoveries: f64,
    /// The same, simulated.
    pub recoveries_simulated: f64,
    /// Steps that were made again for that.
    pub repeated: f64,
    /// The same, simulated.
    pub repeated_simulated: f64,
}

/// What real devices took for each sample, starting and ending left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// CPU seconds of the server, the devices and, where there is one, the whole browser.
    pub core_seconds_per_sample: f64,
    /// Wall time.
    pub seconds_per_sample: f64,
    /// Gross, by meters; none where this machine has none that can be read.
    pub measured_joules_per_sample: Option<f64>,
    /// Gross, the most likely.
    pub estimated_joules_per_sample: f64,
    /// If all coefficients are at their least.
    pub estimated_joules_per_sample_low: f64,
    /// If all are at their most.
    pub estimated_joules_per_sample_high: f64,
}

/// How good a model is on held-out samples, and what it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Updates of the whole batch.
    pub steps: f64,
    /// Samples that it was trained on.
    pub samples: f64,
    /// Virtual seconds, evaluations counted.
    pub seconds: f64,
    /// Mean cross entropy.
    pub loss: f64,
    /// Share of right answers, 0 to 1.
    pub accuracy: f64,
    /// Joules of all devices until then, the most likely.
    pub estimated_joules: f64,
    /// If all coefficients are at their least.
    pub estimated_joules_low: f64,
    /// If all are at their most.
    pub estimated_joules_high: f64,
}

/// How good a model was on held-out samples, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// Updates of the whole batch.
    pub steps: u32,
    /// Since training began, evaluations counted.
    pub seconds: f64,
    /// Share of right answers, 0 to 1.
    pub accuracy: f64,
}

/// What came of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A run.
    Ran(Box<Figures>),
    /// The largest model.
    Grew {
        /// It.
        model: Model,
        /// Numbers that it learns.
        parameters: u64,
        /// The smallest that was refused.
        refused: Model,
        /// Why.
        reason: String,
    },
    /// Real peers, beside what the simulator says of them.
    Real(Box<Compared>),
    /// Real devices of which one fell silent, beside what the simulator says of them.
    Struck(Box<Struck>),
    /// What real devices took.
    Spent(Box<Spent>),
    /// How a model learnt from real peers, beside what the simulator says.
    Taught {
        /// In their order.
        real: Vec<Reached>,
        /// After the same updates.
        simulated: Vec<Reached>,
    },
    /// How a model learnt.
    Learnt {
        /// In their order.
        points: Vec<Point>,
    },
    /// It cannot be done so.
    Refused {
        /// Why, in the words of who refused.
        reason: String,
    },
}
