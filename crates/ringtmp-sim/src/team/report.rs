//! The figures of a team's run.

use super::{TeamChoice, TeamOutcome};
use crate::scenario::Scenario;
use ringtmp_core::parameter_server::{Exchange, MemberIndex, Placement, Staleness};
use ringtmp_core::time::Time;
use ringtmp_core::trace::{Shares, extent, shares};
use serde::Serialize;

/// The figures of one run, or their means over several. Shares are fractions of the middle third of the steps; times are virtual.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TeamReport {
    /// The version of this form: keys are added, never changed.
    pub schema_version: u32,
    /// As run files have it.
    pub paradigm: &'static str,
    /// Of a parameter server.
    pub placement: Option<Placement>,
    /// Likewise.
    pub tau: Option<Staleness>,
    /// The first seed.
    pub seed: u64,
    /// Runs of which these are the means.
    pub runs: u32,
    /// Idle share of the workers, their mean.
    pub idle_workers: f64,
    /// Idle share of the devices that only serve, their mean; none where there are none.
    pub idle_servers: Option<f64>,
    /// Idle share of all devices, their mean.
    pub idle: f64,
    /// `1 - throughput / bound`.
    pub rate_lost: f64,
    /// Samples per second.
    pub throughput: f64,
    /// Samples per second if no worker were ever idle, nor had to update.
    pub bound: f64,
    /// Seconds from the first task to the end of the last.
    pub seconds: f64,
    /// By device; of the first run.
    pub members: Vec<TeamMember>,
    /// What the weights came to, in hexadecimal; of the first run.
    pub hash: String,
}

/// The figures of one device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TeamMember {
    /// Whether it computes gradients.
    pub is_worker: bool,
    /// Whether it updates parameters.
    pub is_server: bool,
    /// Micro-batches of a step that it has.
    pub micro_batches: u16,
    /// Parameters that it updates.
    pub parameters: u64,
    /// Not computing.
    pub idle: f64,
    /// How it spent its time.
    #[serde(flatten)]
    pub shares: Shares,
    /// Bytes sent.
    pub bytes_sent: u64,
}

impl TeamReport {
    /// The figures of a run whose weights came to `hash`.
    pub fn of(scenario: &Scenario, choice: TeamChoice, outcome: &TeamOutcome, hash: u64) -> Self {
        let outline = &scenario.outline;
        let layout = &outcome.job.layout;
        let (start, end) = extent(&outcome.trace);
        let (from, until) = window(outcome).unwrap_or((start, end));
        let within = shares(&outcome.trace, from, until);
        let members: Vec<TeamMember> = (0..layout.members)
            .map(|me| {
                let device = outcome.order[usize::from(me)];
                let spent = within.get(&(device as u32)).copied();
                member(outcome, MemberIndex(me), spent.unwrap_or_default())
            })
            .collect();
        let idle = |which: fn(&TeamMember) -> bool| {
            let idle: Vec<f64> = members
                .iter()
                .filter(|m| which(m))
                .map(|m| m.idle)
                .collect();
            (!idle.is_empty()).then(|| idle.iter().sum::<f64>() / idle.len() as f64)
        };
        let samples = f64::from(outline.schedule.micro_batch_samples);
        let per_step = samples * f64::from(outline.micro_batches);
        let throughput =
            samples * micro_batches(outcome, from, until) / until.since(from).as_secs_f64();
        let whole = 0..outline.layers.len();
        let step = |(worker, share): (&MemberIndex, &u16)| {
            let device = outcome.order[usize::from(worker.0)];
            f64::from(*share) * scenario.micro_batch_seconds(device, &whole)
        };
        let busiest = layout
            .workers
            .iter()
            .zip(&layout.shares)
            .map(step)
            .fold(0.0, f64::max);
        let bound = per_step / busiest;
        let is_server = choice.exchange == Exchange::Server;
        Self {
            schema_version: 1,
            paradigm: if is_server {
                "parameter-server"
            } else {
                "all-reduce"
            },
            placement: is_server.then_some(choice.placement),
            tau: is_server.then_some(choice.staleness),
            seed: scenario.seed,
            runs: 1,
            idle_workers: idle(|member| member.is_worker).unwrap_or(0.0),
            idle_servers: idle(|member| member.is_server && !member.is_worker),
            idle: idle(|_| true).unwrap_or(0.0),
            rate_lost: 1.0 - throughput / bound,
            throughput,
            bound,
            seconds: end.since(start).as_secs_f64(),
            members,
            hash: format!("{hash:016x}"),
        }
    }

    /// The means of several runs of one scenario under different seeds; none of none.
    pub fn mean_of(reports: &[Self]) -> Option<Self> {
        let first = reports.first()?;
        let count = reports.len() as f64;
        let of = |figure: fn(&Self) -> f64| reports.iter().map(figure).sum::<f64>() / count;
        Some(Self {
            runs: u32::try_from(reports.len()).unwrap_or(u32::MAX),
            idle_workers: of(|report| report.idle_workers),
            idle_servers: first
                .idle_servers
                .map(|_| of(|report| report.idle_servers.unwrap_or(0.0))),
            idle: of(|report| report.idle),
            rate_lost: of(|report| report.rate_lost),
            throughput: of(|report| report.throughput),
            bound: of(|report| report.bound),
            seconds: of(|report| report.seconds),
            ..first.clone()
        })
    }
}

/// From the end of the first third of the steps at the last worker to that of the second.
fn window(outcome: &TeamOutcome) -> Option<(Time, Time)> {
    let steps = outcome.job.steps;
    let done = |steps: u32| {
        let place = steps.checked_sub(1)? as usize;
        let all = outcome.done.iter().map(|done| done.get(place));
        all.map(|at| at.copied()).max().flatten()
    };
    let (from, until) = done(steps / 3).zip(done(steps * 2 / 3))?;
    (from < until).then_some((Time::from_micros(from), Time::from_micros(until)))
}

/// Micro-batches of the steps that workers, which may have drifted apart, ended in a stretch of time.
fn micro_batches(outcome: &TeamOutcome, from: Time, until: Time) -> f64 {
    let within = |at: &&u64| (from.as_micros() + 1..=until.as_micros()).contains(*at);
    let workers = outcome.done.iter().zip(&outcome.job.layout.shares);
    let ended =
        workers.map(|(done, share)| done.iter().filter(within).count() as f64 * f64::from(*share));
    ended.sum()
}

fn member(outcome: &TeamOutcome, me: MemberIndex, spent: Shares) -> TeamMember {
    let layout = &outcome.job.layout;
    let worker = layout.worker_at(me);
    let owned = layout.ranges_at(me);
    let owned = owned.map(|range| u64::from(layout.ranges[range.0 as usize].elements));
    TeamMember {
        is_worker: worker.is_some(),
        is_server: layout.serves(me),
        micro_batches: worker.map_or(0, |worker| layout.shares[usize::from(worker.0)]),
        parameters: owned.sum(),
        // Not below zero, where shares are rounded.
        idle: spent.idle().max(0.0),
        shares: spent,
        bytes_sent: outcome.bytes_sent[outcome.order[usize::from(me.0)]],
    }
}
