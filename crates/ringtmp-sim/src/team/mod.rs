//! A parameter server, or all-reduce, under virtual time: core's own members on emulated devices and links.
//!
//! Devices and links are those of a [`Scenario`]. A frame leaves by its sender's access link and comes in by its receiver's, each of
//! which carries one frame at a time each way, at the rate of the link between the two: so a server has no more bandwidth than
//! anybody else. A simulated ring has the same where its scenario says so ([`Scenario::shares_access`]).

mod report;
mod world;

pub use report::{TeamMember, TeamReport};

use crate::scenario::{Scenario, ScenarioError};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::ids::PayloadId;
use ringtmp_core::parameter_server::{
    Exchange, Job, Layout, LayoutError, MemberIndex, Placement, RunDigest, Score, Staleness, Sums,
    Task, Wanted,
};
use ringtmp_core::time::Time;
use ringtmp_core::trace::Span;
use ringtmp_core::wire::Codec;
use std::collections::BTreeMap;
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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// A fault of core, or of the simulator.
    #[error("{0}")]
    Broken(String),
}

/// A member's arithmetic.
pub trait TeamCompute {
    /// The numbers of one range.
    type Numbers: Clone;

    /// Does a task of a member on the numbers that it names, in order.
    ///
    /// # Errors
    ///
    /// Why it cannot be computed, which ends the run.
    fn work(
        &mut self,
        member: MemberIndex,
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
}

/// What a simulated run gives.
#[derive(Clone, Debug)]
pub struct TeamOutcome {
    /// Who did what.
    pub job: Job,
    /// Tasks, transfers and waits.
    pub trace: Vec<Span>,
    /// By worker, when it had done each step, in microseconds.
    pub done: Vec<Vec<u64>>,
    /// By member, bytes sent since training began.
    pub bytes_sent: Vec<u64>,
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
    for (holds, what) in [
        (!scenario.losses.is_empty(), "connections that break"),
        (!scenario.faults.is_empty(), "what goes wrong"),
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
    let codec = match outline.codec {
        CodecChoice::F32 => Codec::F32,
        CodecChoice::F16 => Codec::F16,
        CodecChoice::Int8 | CodecChoice::Auto => return Err(TeamFault::NotYet("int8")),
    };
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
    Ok(Job {
        run: RunDigest([0; 32]),
        layout,
        staleness: choice.staleness,
        steps: outline.steps,
        layers: u16::try_from(outline.layers.len()).unwrap_or(u16::MAX),
        codec,
        evaluate_every: outline.evaluate_every,
        evaluation_micro_batches: outline.evaluation_micro_batches,
    })
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
    World::new(scenario, job, compute).run()
}

/// Arithmetic that is a hash: it shows which pushes, with which weights and in which order, went into every range.
#[derive(Clone, Debug)]
pub struct HashTeam {
    job: Job,
    /// Of each worker's model, by range.
    models: BTreeMap<MemberIndex, Vec<u64>>,
    /// Of each range at its shard: the weights, and the sum since the last update.
    weights: Vec<u64>,
    sums: Vec<u64>,
    samples: BTreeMap<MemberIndex, u64>,
}

/// The sum of nothing.
const NOTHING: u64 = 0;

impl HashTeam {
    /// All at the first weights.
    pub fn new(job: &Job) -> Self {
        let first: Vec<u64> = (0..job.layout.ranges.len() as u64)
            .map(|range| mix(1, range))
            .collect();
        let models = job
            .layout
            .workers
            .iter()
            .map(|worker| (*worker, first.clone()));
        Self {
            models: models.collect(),
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

    fn work(
        &mut self,
        member: MemberIndex,
        task: &Task,
        inputs: Vec<u64>,
    ) -> Result<TeamMade<u64>, String> {
        let model = self.models.entry(member).or_default();
        let samples = self.samples.entry(member).or_default();
        Ok(match task {
            Task::Load { weights } => {
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
            Task::Read { .. } => unreachable!("no simulated team goes on after a loss"),
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
        Task::Load { weights } => weights.iter().map(|(_, payload)| *payload).collect(),
        Task::Merge { partial, own, .. } => vec![*partial, *own],
        Task::Count { gradient, .. } => vec![*gradient],
        Task::Evaluate { .. }
        | Task::Read { .. }
        | Task::Forward { .. }
        | Task::Backward { .. }
        | Task::BackwardLayer { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
