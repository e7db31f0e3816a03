//! What to simulate.

use crate::random::{Draws, EXPONENTIAL_MAX};
use ringtmp_core::codec::TensorCodec;
use ringtmp_core::plan::LayerCost;
use ringtmp_core::schedule::{DataSource, Mode, ScheduleSpec, Task};
use ringtmp_core::signal::RunOutline;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::Duration;

/// One forward of one stage in [`Scenario::equal`]: the unit of its delays. Long beside a microsecond, so that rounding to
/// virtual time does not show.
pub const FORWARD: Duration = Duration::from_millis(10);

/// The most peers of one ring: a room takes no more.
pub const PEERS_MAX: usize = 64;

/// The longest a task may take: keeps virtual time far from its end.
const TASK_SECONDS_MAX: f64 = 1e6;

/// A device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSpec {
    /// Operations per second in F, in B and in W.
    pub flops_per_second: [f64; 3],
    /// What an update takes, in seconds.
    #[serde(default)]
    pub update_seconds: f64,
    /// Whether it has samples to train on.
    #[serde(default = "has_data")]
    pub has_data: bool,
}

fn has_data() -> bool {
    true
}

/// A connection between two neighbours, the same both ways.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// From the last byte sent to the frame's arrival, in seconds.
    pub delay_seconds: f64,
    /// Bytes per second; none for a link that takes any amount at once.
    #[serde(default)]
    pub bytes_per_second: Option<f64>,
}

/// A ring and its run.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The run. It starts by itself when all devices are there.
    pub outline: RunOutline,
    /// The devices, head first.
    pub devices: Vec<DeviceSpec>,
    /// `links[i]` joins device i with the next; the last closes the ring.
    pub links: Vec<LinkSpec>,
    /// j: every task takes `1 + j (E - 1)` times its time, E exponential of mean 1.
    pub jitter: f64,
    /// Makes all draws.
    pub seed: u64,
}

/// Why a scenario cannot be simulated. The fault is its author's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// Too few or too many devices, or links that do not go with them.
    #[error(
        "{devices} devices and {links} links: a ring has 1 to {PEERS_MAX} devices and as many links"
    )]
    Size {
        /// Devices.
        devices: usize,
        /// Links.
        links: usize,
    },
    /// A number out of its range.
    #[error("{0} is out of its range: {1}")]
    OutOfRange(&'static str, &'static str),
}

impl Scenario {
    /// A ring of equal devices with a layer each, where F, B and W take [`FORWARD`] each and a hop `hop_delay` times as much.
    pub fn equal(peers: u16, mode: Mode, micro_batches: u16, steps: u32, hop_delay: f64) -> Self {
        let forward = FORWARD.as_secs_f64();
        let layer = LayerCost {
            flops: [1.0; 3],
            parameters: 100_000,
            output_bytes: 4096,
            stash_bytes: 16_384,
        };
        let device = DeviceSpec {
            flops_per_second: [1.0 / forward; 3],
            update_seconds: 0.0,
            has_data: true,
        };
        let link = LinkSpec {
            delay_seconds: hop_delay * forward,
            bytes_per_second: None,
        };
        let mut schedule = ScheduleSpec::new(mode, 1);
        schedule.hop_flops = hop_delay;
        Self {
            outline: RunOutline {
                name: "simulated".to_owned(),
                layers: vec![layer; usize::from(peers)],
                steps,
                micro_batches,
                evaluate_every: 0,
                evaluation_micro_batches: 0,
                start_at_peers: peers,
                schedule,
                source: DataSource::One,
                sample_bytes: 4096,
                codec: TensorCodec::F32,
            },
            devices: vec![device; usize::from(peers)],
            links: vec![link; usize::from(peers)],
            jitter: 0.0,
            seed: 1,
        }
    }

    /// # Errors
    ///
    /// What cannot be simulated.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let (devices, links) = (self.devices.len(), self.links.len());
        let participants = usize::from(self.outline.start_at_peers);
        if !(1..=PEERS_MAX).contains(&devices) || links != devices || participants != devices {
            return Err(ScenarioError::Size { devices, links });
        }
        let rule = |ok: bool, what, range| {
            ok.then_some(())
                .ok_or(ScenarioError::OutOfRange(what, range))
        };
        rule((0.0..=1.0).contains(&self.jitter), "the jitter", "0 to 1")?;
        let work: f64 = self.outline.layers.iter().map(LayerCost::flops_total).sum();
        let work = work * f64::from(self.outline.schedule.micro_batch_samples);
        for device in &self.devices {
            let slowest = device
                .flops_per_second
                .into_iter()
                .fold(f64::INFINITY, f64::min);
            let seconds = work / slowest;
            rule(
                slowest > 0.0 && seconds <= TASK_SECONDS_MAX,
                "a device's speed",
                "above 0, and enough for a micro-batch in a million seconds",
            )?;
            rule(
                (0.0..=TASK_SECONDS_MAX).contains(&device.update_seconds),
                "a device's update",
                "0 to 1000000 seconds",
            )?;
        }
        for link in &self.links {
            rule(
                (0.0..=TASK_SECONDS_MAX).contains(&link.delay_seconds),
                "a link's delay",
                "0 to 1000000 seconds",
            )?;
            rule(
                link.bytes_per_second.is_none_or(|rate| rate >= 1.0),
                "a link's rate",
                "at least 1 byte per second",
            )?;
        }
        Ok(())
    }

    /// What a task of the device at `index` takes when nothing jitters, in seconds.
    pub fn task_seconds(&self, index: usize, layers: &Range<usize>, kind: TaskKind) -> f64 {
        let device = &self.devices[index];
        let part = match kind {
            TaskKind::Draw => return 0.0,
            TaskKind::Forward => 0,
            TaskKind::BackwardInput => 1,
            TaskKind::BackwardWeights => 2,
            TaskKind::Update => return device.update_seconds,
        };
        let flops: f64 = self.outline.layers[layers.clone()]
            .iter()
            .map(|layer| layer.flops[part])
            .sum();
        let samples = f64::from(self.outline.schedule.micro_batch_samples);
        flops * samples / device.flops_per_second[part]
    }

    /// What F, B and W of a micro-batch take together, in seconds.
    pub fn micro_batch_seconds(&self, index: usize, layers: &Range<usize>) -> f64 {
        let kinds = [
            TaskKind::Forward,
            TaskKind::BackwardInput,
            TaskKind::BackwardWeights,
        ];
        kinds
            .into_iter()
            .map(|kind| self.task_seconds(index, layers, kind))
            .sum()
    }

    /// The longest that jitter can make a task, in units of its mean.
    pub fn jitter_max(&self) -> f64 {
        1.0 + self.jitter * (EXPONENTIAL_MAX - 1.0)
    }

    /// By how much jitter changes the next task.
    pub(crate) fn jitter_factor(&self, draws: &mut Draws) -> f64 {
        if self.jitter == 0.0 {
            1.0
        } else {
            1.0 + self.jitter * (draws.exponential() - 1.0)
        }
    }

    /// The link between two neighbours.
    pub(crate) fn link(&self, from: usize, to: usize) -> LinkSpec {
        let next = (from + 1) % self.devices.len();
        self.links[if to == next { from } else { to }]
    }

    /// Bytes of the samples of a micro-batch, with their labels.
    pub(crate) fn samples_bytes(&self) -> u64 {
        let samples = u64::from(self.outline.schedule.micro_batch_samples);
        self.outline.sample_bytes.saturating_mul(samples)
    }

    /// Bytes of a tensor on the link between the stage that holds the layers up to `boundary` and the one after it.
    pub(crate) fn tensor_bytes(&self, boundary: usize, codec: TensorCodec) -> u64 {
        let before = boundary
            .checked_sub(1)
            .and_then(|layer| self.outline.layers.get(layer));
        let samples = u64::from(self.outline.schedule.micro_batch_samples);
        let bytes = |layer: &LayerCost| codec.bytes(layer.output_bytes).saturating_mul(samples);
        before.map_or(0, bytes)
    }
}

/// What kind of task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Samples for the head: next to nothing.
    Draw,
    /// F.
    Forward,
    /// B.
    BackwardInput,
    /// W.
    BackwardWeights,
    /// The optimizer.
    Update,
}

impl From<&Task> for TaskKind {
    fn from(task: &Task) -> Self {
        match task {
            Task::Draw { .. } => Self::Draw,
            Task::Forward { .. } => Self::Forward,
            Task::BackwardInput { .. } => Self::BackwardInput,
            Task::BackwardWeights { .. } => Self::BackwardWeights,
            Task::Update { .. } => Self::Update,
        }
    }
}
