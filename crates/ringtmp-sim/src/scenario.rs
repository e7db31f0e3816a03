//! What to simulate.

use crate::random::{Draws, EXPONENTIAL_MAX};
use ringtmp_core::codec::{CodecChoice, TensorCodec};
use ringtmp_core::ids::PeerId;
use ringtmp_core::partition::{Device, Hop, Hops, Problem};
use ringtmp_core::plan::LayerCost;
use ringtmp_core::profile::{LinkProfile, Planning, Profile};
use ringtmp_core::schedule::{DataSource, Limits, Mode, ScheduleSpec, Task};
use ringtmp_core::signal::{Replication, RunOutline};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::Duration;

pub use crate::fault::{Fault, FaultKind, SERVER_SILENCE};

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
    /// Bytes that a stage may take; none where nobody said, which means being frugal.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Whether it is a station of [`Scenario::medium_bytes_per_second`].
    #[serde(default)]
    pub on_medium: bool,
}

fn has_data() -> bool {
    true
}

/// A connection that breaks, for good: what is on its way is lost, and both ends are told at once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// Its ends, by their places in [`Scenario::devices`].
    pub between: [usize; 2],
    /// Seconds after the room was opened.
    pub at_seconds: f64,
}

/// A ring and its run.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The run. It starts by itself when all devices are there.
    pub outline: RunOutline,
    /// The devices, in the order in which they join: which is the head, and which are left out, the room decides.
    pub devices: Vec<DeviceSpec>,
    /// The links between any two of them.
    pub links: Hops,
    /// Connections that break.
    pub losses: Vec<Loss>,
    /// What goes wrong beside that, in a run that outlives losses.
    pub faults: Vec<Fault>,
    /// The least seconds between two versions that devices keep on their disks, which outlive them; none where they have none.
    pub keeps_every: Option<f64>,
    /// Bytes per second of the medium that stations share: a frame between two of them takes it up twice.
    pub medium_bytes_per_second: Option<f64>,
    /// Whether all links of a device share its access link, which carries one frame at a time each way, at the rate of the link that the
    /// frame goes by: as always in a team. Where they do not, each link of a ring has its rate to itself.
    pub shares_access: bool,
    /// j: every task takes `1 + j (E - 1)` times its time, E exponential of mean 1.
    pub jitter: f64,
    /// Makes all draws.
    pub seed: u64,
    /// Limits of stages, head first, in place of those that the room chooses: to predict a ring that has its plan.
    pub limits: Option<Vec<Limits>>,
}

/// Why a scenario cannot be simulated. The fault is its author's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// Too few or too many devices.
    #[error("{devices} devices: a ring has 1 to {PEERS_MAX}")]
    Size {
        /// Devices.
        devices: usize,
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
            memory_bytes: None,
            on_medium: false,
        };
        let link = Hop {
            delay_seconds: hop_delay * forward,
            bytes_per_second: None,
        };
        Self {
            outline: RunOutline {
                name: "simulated".to_owned(),
                layers: vec![layer; usize::from(peers)],
                steps,
                micro_batches,
                evaluate_every: 0,
                evaluation_micro_batches: 0,
                start_at_peers: peers,
                schedule: ScheduleSpec::new(mode, 1),
                source: DataSource::One,
                sample_bytes: 4096,
                codec: CodecChoice::F32,
                planning: Planning::Measured,
                replication: Replication::Off,
                topology: ringtmp_core::parameter_server::Topology::Ring,
            },
            devices: vec![device; usize::from(peers)],
            links: Hops::all(link),
            losses: Vec::new(),
            faults: Vec::new(),
            keeps_every: None,
            medium_bytes_per_second: None,
            shares_access: false,
            jitter: 0.0,
            seed: 1,
            limits: None,
        }
    }

    /// # Errors
    ///
    /// What cannot be simulated.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let devices = self.devices.len();
        let participants = usize::from(self.outline.start_at_peers);
        if !(1..=PEERS_MAX).contains(&devices) || participants != devices {
            return Err(ScenarioError::Size { devices });
        }
        self.check_numbers()
    }

    /// Whether links may break in a way that they can be made again.
    pub(crate) fn has_cuts(&self) -> bool {
        let cuts = |fault: &Fault| {
            matches!(
                fault.what,
                FaultKind::Cut { .. } | FaultKind::Partition { .. }
            )
        };
        self.faults.iter().any(cuts)
    }

    /// Of any number of devices, which need not form a ring.
    pub(crate) fn check_numbers(&self) -> Result<(), ScenarioError> {
        let devices = self.devices.len();
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
        for loss in &self.losses {
            let [one, other] = loss.between;
            rule(
                one != other && one.max(other) < devices,
                "an end of a lost connection",
                "two of the devices, counted from 0",
            )?;
            rule(
                (0.0..=TASK_SECONDS_MAX).contains(&loss.at_seconds),
                "the time of a loss",
                "0 to 1000000 seconds",
            )?;
        }
        let is_rate = |rate: f64| rate.is_finite() && rate >= 1.0;
        rule(
            self.medium_bytes_per_second.is_none_or(is_rate),
            "the medium's rate",
            "at least 1 byte per second",
        )?;
        for link in self.links.known() {
            rule(
                (0.0..=TASK_SECONDS_MAX).contains(&link.delay_seconds),
                "a link's delay",
                "0 to 1000000 seconds",
            )?;
            rule(
                link.bytes_per_second.is_none_or(is_rate),
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
            TaskKind::Squares | TaskKind::Update => return device.update_seconds,
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

    /// What the device at `index` would measure and knows, where `peers` are the names of all.
    pub(crate) fn profile(&self, index: usize, peers: &[PeerId]) -> Profile {
        let speeds = self.devices[index].flops_per_second;
        let seconds = |layer: &LayerCost| [0, 1, 2].map(|pass| layer.flops[pass] / speeds[pass]);
        let others = peers
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index);
        let link = |(other, to): (usize, &PeerId)| {
            let hop = self.links.get(index, other);
            LinkProfile {
                to: *to,
                delay_seconds: hop.delay_seconds,
                bytes_per_second: hop.bytes_per_second,
            }
        };
        let medium = self.medium_bytes_per_second;
        Profile {
            layer_seconds: self.outline.layers.iter().map(seconds).collect(),
            noise: 0.0,
            links: others.map(link).collect(),
            medium_bytes_per_second: medium.filter(|_| self.devices[index].on_medium),
        }
    }

    /// What a planner would be told who knew everything.
    pub fn problem(&self) -> Problem {
        let device = |(index, spec): (usize, &DeviceSpec)| Device {
            layer_seconds: self.profile(index, &[]).layer_seconds,
            memory_bytes: spec.memory_bytes,
            on_medium: spec.on_medium,
        };
        Problem {
            layers: self.outline.layers.clone(),
            schedule: self.outline.schedule,
            micro_batches: self.outline.micro_batches,
            devices: self.devices.iter().enumerate().map(device).collect(),
            hops: self.links.clone(),
            codec: self.outline.codec,
            sample_bytes: match self.outline.source {
                DataSource::One => 0,
                DataSource::Every => self.outline.sample_bytes,
            },
            medium_bytes_per_second: self.medium_bytes_per_second,
            keeps_copies: self.outline.replication.is_on(),
        }
    }

    /// How long a frame of so many bytes takes up the shared medium.
    pub(crate) fn air_seconds(&self, from: usize, to: usize, bytes: u64) -> f64 {
        let Some(rate) = self.medium_bytes_per_second else {
            return 0.0;
        };
        let stations = [from, to]
            .into_iter()
            .filter(|index| self.devices[*index].on_medium);
        stations.count() as f64 * bytes as f64 / rate
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
    /// The squares of the gradients, which take as long as an update: both go through all parameters once.
    Squares,
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
            Task::Squares { .. } => Self::Squares,
            Task::Update { .. } => Self::Update,
        }
    }
}
