//! What comes of a cell.

use crate::cell::Model;
use serde::{Deserialize, Serialize};

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

/// Idle time by its cause, as shares of the whole time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    /// Waiting for others to compute.
    pub input: f64,
    /// Waiting for what is on its way.
    pub link: f64,
    /// Waiting for a credit.
    pub credit: f64,
    /// Waiting for an update.
    pub weights: f64,
    /// Having no part in the run.
    pub spare: f64,
}

/// A cause by its name, and which share it has.
pub type Cause = (&'static str, fn(&Waits) -> f64);

impl Waits {
    /// Each with its name.
    pub const CAUSES: [Cause; 5] = [
        ("input", |waits| waits.input),
        ("link", |waits| waits.link),
        ("credit", |waits| waits.credit),
        ("weights", |waits| waits.weights),
        ("spare", |waits| waits.spare),
    ];
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
    /// That share by its cause.
    pub waits: Waits,
    /// The same, simulated.
    pub waits_simulated: Waits,
    /// Samples for each CPU-second that this machine spent, starting and ending the peers included.
    pub samples_per_cpu_second: f64,
    /// By what share tasks took longer in sum than those of the devices that were imitated; below 0 where they took less.
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

/// What real devices had learnt in the end, though some may have been lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lasted {
    /// Mean loss over the last step's samples.
    pub loss: f64,
    /// The share of held-out samples that is read right.
    pub accuracy: f64,
    /// How often the devices were put together anew.
    pub recoveries: f64,
    /// Steps that were made again for that.
    pub repeated: f64,
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
    /// What real devices had learnt in the end, though some may have been lost.
    Lasted(Lasted),
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
