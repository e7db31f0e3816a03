//! A parameter server, or all-reduce, under virtual time: core's own members on emulated devices and links.
//!
//! Devices and links are those of a [`Scenario`]. A frame leaves by its sender's access link and comes in by its receiver's, each of
//! which carries one frame at a time each way, at the rate of the link between the two: so a server has no more bandwidth than
//! anybody else. A simulated ring has the same where its scenario says so ([`Scenario::shares_access`]).

mod report;
mod world;

pub use report::{TeamMember, TeamReport};

use crate::scenario::{Fault, FaultKind, Scenario, ScenarioError};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::ids::PayloadId;
use ringtmp_core::parameter_server::{
    Codecs, CopySpec, Exchange, Job, Layout, LayoutError, MemberIndex, Placement, RangeIndex,
    RunDigest, Score, Staleness, Sums, Task, TeamStart, Topology, Wanted,
};
use ringtmp_core::profile::Planning;
use ringtmp_core::signal::{Recovery, RunDescriptor, RunOutline};
use ringtmp_core::time::Time;
use ringtmp_core::trace::Span;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use world::World;

/// Who trains how on a scenario's devices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TeamChoice {
    /// How gradients come together.
    pub exchange: Exchange,
    /// Where the shards are.
    pub placement: Placement,
    /// How many servers, where they are dedicated.
    pub shards: u16,
    /// How far workers may drift apart.
    pub staleness: Staleness,
}

/// Why a team cannot be simulated, or went wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TeamFault {
    /// The scenario's author's fault.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// Likewise.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// What is not simulated yet.
    #[error("{0}: only rings are simulated with that")]
    NotYet(&'static str),
    /// What went wrong was more than the run could outlive.
    #[error("the run ended after {seconds:.0} s: {reason}")]
    Stopped {
        /// When, in virtual time.
        seconds: f64,
        /// As the room says it.
        reason: String,
    },
    /// A fault of core, or of the simulator.
    #[error("{0}")]
    Broken(String),
}

/// A device's seat under a plan.
#[derive(Clone, Copy, Debug)]
pub struct TeamSeat<'a> {
    /// What all members agree on.
    pub job: &'a Arc<Job>,
    /// Which of them the device is.
    pub me: MemberIndex,
    /// What they begin with.
    pub start: TeamStart,
}

/// A member's arithmetic.
pub trait TeamCompute {
    /// The numbers of one range.
    type Numbers: Clone;

    /// A device takes its seat: ranges that are named begin as their copies say, others as they are.
    ///
    /// # Errors
    ///
    /// That this arithmetic cannot go on so, which ends the run.
    fn sit(
        &mut self,
        device: usize,
        seat: TeamSeat<'_>,
        restored: Vec<(RangeIndex, Vec<Self::Numbers>)>,
    ) -> Result<(), String>;

    /// Does a task of a device on the numbers that it names, in order.
    ///
    /// # Errors
    ///
    /// Why it cannot be computed, which ends the run.
    fn work(
        &mut self,
        device: usize,
        task: &Task,
        inputs: Vec<Self::Numbers>,
    ) -> Result<TeamMade<Self::Numbers>, String>;
}

/// What came of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum TeamMade<N> {
    /// It is done.
    Done,
    /// Of a forward.
    Sums(Sums),
    /// Of a layer's backward, range by range.
    Gradients(Vec<N>),
    /// Of one range.
    Numbers(N),
    /// Of a range, with what the optimizer remembers.
    Copied(Vec<N>),
}

/// What a simulated run gives.
#[derive(Clone, Debug)]
pub struct TeamOutcome {
    /// Who did what: under the last plan, where there were several.
    pub job: Job,
    /// Tasks, transfers and waits.
    pub trace: Vec<Span>,
    /// By worker, when it had done each step, in microseconds.
    pub done: Vec<Vec<u64>>,
    /// By device, bytes sent while it trained.
    pub bytes_sent: Vec<u64>,
    /// The device of each member: under the last plan, where there were several.
    pub order: Vec<usize>,
    /// Losses that the run outlived.
    pub recoveries: Vec<Recovery>,
    /// What workers found, and when the collector knew.
    pub scores: Vec<(Time, Score)>,
}

/// Who does what on a scenario's devices.
///
/// # Errors
///
/// What cannot be simulated.
pub fn team_job(scenario: &Scenario, choice: TeamChoice) -> Result<Job, TeamFault> {
    scenario.check_numbers()?;
    let outline = &scenario.outline;
    let survives = |fault: &Fault| {
        matches!(
            fault.what,
            FaultKind::Crash { .. } | FaultKind::Pause { .. }
        )
    };
    for (holds, what) in [
        (!scenario.losses.is_empty(), "connections that break"),
        (
            !scenario.faults.iter().all(survives),
            "more than devices that die or pause",
        ),
        (
            scenario.medium_bytes_per_second.is_some(),
            "a shared medium",
        ),
        (outline.schedule.clips_gradients, "clipping"),
    ] {
        if holds {
            return Err(TeamFault::NotYet(what));
        }
    }
    let sums_are_rounded = choice.exchange == Exchange::AllReduce;
    match outline.codec {
        CodecChoice::Auto => return Err(TeamFault::NotYet("a codec for each link")),
        CodecChoice::Int8 if sums_are_rounded => {
            return Err(TeamFault::NotYet("int8 in all-reduce"));
        }
        CodecChoice::F32 | CodecChoice::F16 | CodecChoice::Int8 => {}
    }
    let parameters: Vec<u64> = outline
        .layers
        .iter()
        .map(|layer| layer.parameters)
        .collect();
    let whole = 0..outline.layers.len();
    let devices = 0..scenario.devices.len();
    let speeds = devices.map(|device| 1.0 / scenario.micro_batch_seconds(device, &whole));
    let layout = Layout::new(&Wanted {
        exchange: choice.exchange,
        placement: choice.placement,
        shards: choice.shards,
        members: u16::try_from(scenario.devices.len()).unwrap_or(u16::MAX),
        parameters: &parameters,
        micro_batches: outline.micro_batches,
        speeds: &speeds.collect::<Vec<_>>(),
    })?;
    let layout = Layout {
        step_millis: step_millis(scenario, &layout, &whole),
        ..layout
    };
    Ok(job_of(scenario, layout, choice.staleness))
}

/// What a room makes of what all devices measure: what computing a step takes the last worker.
fn step_millis(scenario: &Scenario, layout: &Layout, whole: &Range<usize>) -> Option<u32> {
    let workers = layout.workers.iter().zip(&layout.shares);
    let seconds = workers.map(|(worker, share)| {
        scenario.micro_batch_seconds(usize::from(worker.0), whole) * f64::from(*share)
    });
    let longest = seconds.fold(0.0, f64::max);
    // Saturates.
    (scenario.outline.planning == Planning::Measured).then_some((1e3 * longest) as u32)
}

/// What all members agree on who share a scenario's run so.
fn job_of(scenario: &Scenario, layout: Layout, staleness: Staleness) -> Job {
    let outline = &scenario.outline;
    let codecs = Codecs::of(outline.codec);
    let remembered = outline.schedule.optimizer_numbers;
    Job {
        run: RunDigest([0; 32]),
        copies: CopySpec::new(outline.replication, &layout, codecs.weights, remembered),
        layout,
        staleness,
        steps: outline.steps,
        layers: u16::try_from(outline.layers.len()).unwrap_or(u16::MAX),
        codecs,
        evaluate_every: outline.evaluate_every,
        evaluation_micro_batches: outline.evaluation_micro_batches,
    }
}

/// The run as a room is told of it.
fn descriptor(scenario: &Scenario, choice: TeamChoice) -> RunDescriptor {
    let topology = match choice.exchange {
        Exchange::AllReduce => Topology::AllReduce,
        Exchange::Server => Topology::ParameterServer {
            placement: choice.placement,
            shards: choice.shards,
        },
    };
    RunDescriptor {
        toml: String::new(),
        outline: RunOutline {
            topology,
            ..scenario.outline.clone()
        },
        resumes: None,
        verifier: None,
    }
}

/// Simulates a run to its end.
///
/// # Errors
///
/// What cannot be simulated, or what went wrong.
pub fn simulate_team<C: TeamCompute>(
    scenario: &Scenario,
    choice: TeamChoice,
    compute: &mut C,
) -> Result<TeamOutcome, TeamFault> {
    let job = team_job(scenario, choice)?;
    let run = (!scenario.faults.is_empty()).then(|| descriptor(scenario, choice));
    World::new(scenario, job, compute).run(run)
}

/// Arithmetic that is a hash: it shows which pushes, with which weights and in which order, went into every range.
#[derive(Clone, Debug)]
pub struct HashTeam {
    job: Job,
    /// Of each device's model, by range.
    models: BTreeMap<usize, Vec<u64>>,
    /// Of each range where it lies: the weights, and the sum since the last update.
    weights: Vec<u64>,
    sums: Vec<u64>,
    samples: BTreeMap<usize, u64>,
}

/// The sum of nothing.
const NOTHING: u64 = 0;

impl HashTeam {
    /// All at the first weights.
    pub fn new(job: &Job) -> Self {
        let first: Vec<u64> = (0..job.layout.ranges.len() as u64)
            .map(|range| mix(1, range))
            .collect();
        Self {
            models: BTreeMap::new(),
            sums: vec![NOTHING; first.len()],
            weights: first,
            samples: BTreeMap::new(),
            job: job.clone(),
        }
    }

    /// What all weights at the shards came to.
    pub fn hash(&self) -> u64 {
        self.weights
            .iter()
            .fold(0, |hash, weights| mix(hash, *weights))
    }
}

impl TeamCompute for HashTeam {
    type Numbers = u64;

    fn sit(
        &mut self,
        device: usize,
        seat: TeamSeat<'_>,
        restored: Vec<(RangeIndex, Vec<u64>)>,
    ) -> Result<(), String> {
        let first = Self::new(seat.job).weights;
        if self.job.layout.ranges != seat.job.layout.ranges {
            // Begun anew by others: the parameters are cut into as many parts as they are.
            self.weights.clone_from(&first);
            self.sums = vec![NOTHING; first.len()];
        }
        self.job = Job::clone(seat.job);
        for range in seat.job.layout.ranges_at(seat.me) {
            let place = range.0 as usize;
            self.sums[place] = NOTHING;
            if seat.start == TeamStart::Beginning {
                self.weights[place] = first[place];
            }
        }
        for (range, slots) in restored {
            self.weights[range.0 as usize] = slots[0];
        }
        self.models.insert(device, first);
        self.samples.insert(device, NOTHING);
        Ok(())
    }

    fn work(
        &mut self,
        device: usize,
        task: &Task,
        inputs: Vec<u64>,
    ) -> Result<TeamMade<u64>, String> {
        let model = self.models.entry(device).or_default();
        let samples = self.samples.entry(device).or_default();
        Ok(match task {
            Task::Load { weights, .. } => {
                for ((range, _), numbers) in weights.iter().zip(inputs) {
                    model[range.0 as usize] = numbers;
                }
                TeamMade::Done
            }
            Task::Evaluate { .. } => TeamMade::Sums(Sums::default()),
            Task::Forward { clock, sequence } => {
                let sample = mix(u64::from(clock.0), u64::from(*sequence));
                *samples = mix(*samples, sample);
                TeamMade::Sums(Sums {
                    labels: 1,
                    ..Sums::default()
                })
            }
            Task::Backward { .. } => TeamMade::Done,
            Task::BackwardLayer { layer, .. } => {
                // All layers go into the gradient of each.
                let whole = model
                    .iter()
                    .fold(*samples, |hash, weights| mix(hash, *weights));
                let ranges = self.job.layout.ranges_of(*layer);
                let gradients = ranges.map(|range| mix(whole, u64::from(range))).collect();
                if layer.0 == 0 {
                    *samples = NOTHING;
                }
                TeamMade::Gradients(gradients)
            }
            Task::Read { range } => TeamMade::Numbers(self.weights[range.0 as usize]),
            Task::Copy { range, .. } => {
                let slots = self.job.copies.map_or(1, |copies| copies.slots);
                let weights = self.weights[range.0 as usize];
                TeamMade::Copied(vec![weights; usize::from(slots)])
            }
            Task::Merge { .. } => TeamMade::Numbers(mix(inputs[0], inputs[1])),
            Task::Count { range, update, .. } => {
                let place = range.0 as usize;
                self.sums[place] = mix(self.sums[place], inputs[0]);
                let Some(update) = update else {
                    return Ok(TeamMade::Done);
                };
                let sum = std::mem::take(&mut self.sums[place]);
                self.weights[place] = mix(self.weights[place], mix(sum, u64::from(update.step.0)));
                TeamMade::Numbers(self.weights[place])
            }
        })
    }
}

/// "splitmix64" of both (Steele, Lea and Flood, 2014); their order matters.
fn mix(one: u64, other: u64) -> u64 {
    let mut z = one
        .rotate_left(17)
        .wrapping_add(other)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The payloads that a task names, in order.
fn payloads(task: &Task) -> Vec<PayloadId> {
    match task {
        Task::Load { weights, .. } => weights.iter().map(|(_, payload)| *payload).collect(),
        Task::Merge { partial, own, .. } => vec![*partial, *own],
        Task::Count { gradient, .. } => vec![*gradient],
        Task::Evaluate { .. }
        | Task::Read { .. }
        | Task::Copy { .. }
        | Task::Forward { .. }
        | Task::Backward { .. }
        | Task::BackwardLayer { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
