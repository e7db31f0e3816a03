//! The figures of a run.

use crate::scenario::Scenario;
use crate::world::Outcome;
use ringtmp_core::schedule::Mode;
use ringtmp_core::trace::{Shares, extent, middle_third, shares};
use serde::Serialize;
use std::collections::BTreeMap;

/// The figures of one run, or their means over several. Shares are fractions of the middle third of the steps, which leaves
/// filling and draining out; times are virtual.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The version of this form: keys are added, never changed.
    pub schema_version: u32,
    /// The mode.
    pub schedule: Mode,
    /// The first seed.
    pub seed: u64,
    /// Runs of which these are the means.
    pub runs: u32,
    /// Idle share of the peer with the most work (the mean of several with equally much).
    pub idle_bottleneck: f64,
    /// The same over the whole run, filling and draining included.
    pub idle_bottleneck_whole_run: f64,
    /// `1 - throughput / bound`.
    pub rate_lost: f64,
    /// Samples per second.
    pub throughput: f64,
    /// Samples per second of the busiest peer, were it never idle.
    pub bound: f64,
    /// Samples per second that the planner holds possible: besides the busiest peer, links and credits bound them.
    pub planned: f64,
    /// Devices that the plan does without.
    pub spares: Vec<usize>,
    /// Seconds from the first task to the end of the last.
    pub seconds: f64,
    /// The stages, head first; of the first run.
    pub peers: Vec<PeerReport>,
    /// What the weights came to, in hexadecimal; of the first run.
    pub hash: String,
}

/// The figures of one peer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeerReport {
    /// Which device it is, in the order of joining.
    pub device: usize,
    /// Half open.
    pub layers: [u16; 2],
    /// Not computing.
    pub idle: f64,
    /// How it spent its time.
    #[serde(flatten)]
    pub shares: Shares,
    /// Its credit; `credit` is the share of its time that it waited for one.
    pub credit_max: u16,
    /// The most W it may put off.
    pub weights_pending: u16,
    /// The most micro-batches whose activations it kept at once.
    pub slots: u16,
    /// The most bytes it took.
    pub memory_bytes: u64,
    /// The bytes that its limits allow.
    pub memory_bytes_max: u64,
    /// Bytes sent to both neighbours.
    pub bytes_sent: u64,
}

impl Report {
    /// The figures of a run.
    pub fn of(scenario: &Scenario, outcome: &Outcome) -> Self {
        let outline = &scenario.outline;
        let plan = &outcome.plan;
        let work: Vec<f64> = outcome
            .order
            .iter()
            .zip(plan.cuts.windows(2))
            .map(|(device, pair)| {
                let layers = usize::from(pair[0])..usize::from(pair[1]);
                scenario.micro_batch_seconds(*device, &layers)
            })
            .collect();
        let most = work.iter().copied().fold(0.0, f64::max);
        let busiest: Vec<u32> = (0..)
            .zip(&work)
            .filter(|(_, work)| **work >= most * (1.0 - 1e-9))
            .map(|(i, _)| i)
            .collect();
        let (start, end) = extent(&outcome.trace);
        let window = middle_third(&outcome.trace, outline.steps, &busiest);
        let (from, until, steps) = window.unwrap_or((start, end, outline.steps));
        let within = shares(&outcome.trace, from, until);
        let whole = shares(&outcome.trace, start, end);
        let idle = |of: &BTreeMap<u32, Shares>| {
            let idle = busiest.iter().filter_map(|peer| of.get(peer));
            mean(idle.map(Shares::idle))
        };
        let samples = f64::from(outline.schedule.micro_batch_samples);
        let per_step = samples * f64::from(outline.micro_batches);
        let seconds = until.since(from).as_secs_f64();
        let throughput = per_step * f64::from(steps) / seconds;
        let bound = samples / most;
        Self {
            schema_version: 2,
            schedule: outline.schedule.mode,
            seed: scenario.seed,
            runs: 1,
            idle_bottleneck: idle(&within),
            idle_bottleneck_whole_run: idle(&whole),
            rate_lost: 1.0 - throughput / bound,
            throughput,
            bound,
            planned: plan
                .step_seconds
                .map_or(bound, |seconds| per_step / seconds),
            spares: (0..scenario.devices.len())
                .filter(|device| !outcome.order.contains(device))
                .collect(),
            seconds: end.since(start).as_secs_f64(),
            peers: peers(outcome, &within),
            hash: hash(outcome),
        }
    }

    /// The means of several runs of one scenario under different seeds; none of none.
    pub fn mean_of(reports: &[Self]) -> Option<Self> {
        let first = reports.first()?;
        let of = |figure: fn(&Self) -> f64| mean(reports.iter().map(figure));
        Some(Self {
            runs: u32::try_from(reports.len()).unwrap_or(u32::MAX),
            idle_bottleneck: of(|report| report.idle_bottleneck),
            idle_bottleneck_whole_run: of(|report| report.idle_bottleneck_whole_run),
            rate_lost: of(|report| report.rate_lost),
            throughput: of(|report| report.throughput),
            bound: of(|report| report.bound),
            planned: of(|report| report.planned),
            seconds: of(|report| report.seconds),
            ..first.clone()
        })
    }

    /// The most bytes that a peer took.
    pub fn memory_bytes(&self) -> u64 {
        let peers = self.peers.iter().map(|peer| peer.memory_bytes);
        peers.max().unwrap_or(0)
    }
}

/// The figures of all stages, with their shares in the window.
fn peers(outcome: &Outcome, within: &BTreeMap<u32, Shares>) -> Vec<PeerReport> {
    let stages = outcome
        .stages
        .iter()
        .zip(&outcome.plan.limits)
        .zip(outcome.plan.cuts.windows(2))
        .zip(&outcome.order);
    let peers = (0..)
        .zip(stages)
        .map(|(i, (((used, limits), pair), device))| {
            let shares = within.get(&i).copied().unwrap_or_default();
            PeerReport {
                device: *device,
                layers: [pair[0], pair[1]],
                idle: shares.idle(),
                shares,
                credit_max: limits.credit,
                weights_pending: limits.weights_pending,
                slots: used.slots,
                memory_bytes: used.memory_bytes,
                memory_bytes_max: used.memory_bytes_max,
                bytes_sent: used.bytes_sent,
            }
        });
    peers.collect()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count == 0.0 { 0.0 } else { sum / count }
}

/// One word for all digests: FNV-1a over their texts (Fowler, Noll, Vo).
fn hash(outcome: &Outcome) -> String {
    let texts = outcome
        .digests
        .iter()
        .map(|digest| digest.sha256.as_bytes());
    let hash = texts
        .flatten()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::simulate_checked;

    fn report(mode: Mode, hop: f64) -> Report {
        let scenario = Scenario::equal(8, mode, 32, 12, hop);
        let outcome = simulate_checked(&scenario).expect("a sound run");
        Report::of(&scenario, &outcome)
    }

    #[test]
    fn static_1f1b_loses_what_its_formula_says() {
        // Per step m + p - 1 rounds of F, B and W for m of them (Narayanan et al., SC'21, section 2.2).
        let report = report(Mode::OneForwardOneBackward, 0.0);
        assert!(
            (report.rate_lost - 7.0 / 39.0).abs() < 1e-3,
            "{}",
            report.rate_lost
        );
        assert!((report.bound - 1.0 / 0.03).abs() < 1e-9);
    }

    #[test]
    fn shares_of_a_peer_add_up_and_a_rate_lost_is_idle_time() {
        let report = report(Mode::Sync, 1.0);
        for peer in &report.peers {
            let shares = peer.shares;
            let sum = shares.busy + shares.input + shares.link + shares.credit + shares.weights;
            assert!((sum - 1.0).abs() < 1e-9, "{shares:?}");
        }
        assert!((report.rate_lost - report.idle_bottleneck).abs() < 0.01);
    }

    #[test]
    fn json_tells_shares_as_fractions_beside_limits_memory_and_bytes() {
        let told = serde_json::to_value(report(Mode::TwoVersions, 3.0)).expect("plain data");
        let fraction = |value: &serde_json::Value| {
            let share = value.as_f64().expect("a number");
            assert!((-1e-9..=1.0).contains(&share), "{share} in {told:#}");
            share
        };
        for key in ["idle_bottleneck", "rate_lost"] {
            fraction(&told[key]);
        }
        assert!(told["throughput"].as_f64() <= told["bound"].as_f64());
        assert!(told["hash"].is_string());
        let peers = told["peers"].as_array().expect("a list");
        assert_eq!(peers.len(), 8);
        for peer in peers {
            let causes = ["input", "link", "credit", "weights"].map(|key| fraction(&peer[key]));
            let idle: f64 = causes.into_iter().sum();
            assert!((idle - fraction(&peer["idle"])).abs() < 1e-9, "{peer:#}");
            for key in ["credit_max", "slots", "memory_bytes", "bytes_sent"] {
                assert!(peer[key].as_u64() > Some(0), "{key} in {peer:#}");
            }
        }
    }
}
