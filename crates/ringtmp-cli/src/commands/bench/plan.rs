//! `ringtmp bench plan`: how long a room plans for a large ring of unequal devices.

use anyhow::Result;
use clap::Args;
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::partition::{Device, Hop, Hops, Problem, arrange_kept};
use ringtmp_core::plan::LayerCost;
use ringtmp_core::schedule::{Mode, ScheduleSpec};
use serde::Serialize;
use std::time::Instant;

/// The version of the lines' JSON.
const SCHEMA_VERSION: u32 = 1;

/// Micro-batches of a step.
const MICRO_BATCHES: u16 = 32;

/// Bytes between layers.
const OUTPUT_BYTES: u64 = 100_000;

#[derive(Args, Debug)]
pub(crate) struct Planning {
    /// Devices of the room
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=64))]
    peers: u16,
    /// Layers of the run
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=1024))]
    layers: u16,
    /// Plans of each kind, of which the median is told
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
}

/// What devices differ in beside their speed.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Kind {
    links: bool,
    memory: bool,
    medium: bool,
    /// Copies are kept, and count in the memory.
    copies: bool,
}

const KINDS: [Kind; 6] = [
    Kind {
        links: false,
        memory: false,
        medium: false,
        copies: false,
    },
    Kind {
        links: true,
        memory: false,
        medium: false,
        copies: false,
    },
    Kind {
        links: false,
        memory: true,
        medium: false,
        copies: false,
    },
    Kind {
        links: false,
        memory: false,
        medium: true,
        copies: false,
    },
    Kind {
        links: true,
        memory: true,
        medium: true,
        copies: false,
    },
    Kind {
        links: false,
        memory: true,
        medium: false,
        copies: true,
    },
];

#[derive(Debug, Serialize)]
struct Line {
    schema_version: u32,
    peers: u16,
    layers: u16,
    schedule: &'static str,
    #[serde(flatten)]
    kind: Kind,
    /// Seconds of a plan: the median, and the longest.
    seconds: f64,
    seconds_max: f64,
    /// Devices that take part.
    stages: usize,
    /// What the plan's busiest device or link takes for a micro-batch.
    micro_batch_seconds: f64,
}

pub(super) fn run(planning: &Planning) -> Result<()> {
    for mode in [Mode::Sync, Mode::TwoVersions] {
        for kind in KINDS {
            let problem = problem(planning, mode, kind);
            let (mut stages, mut micro_batch_seconds) = (0, 0.0);
            let mut seconds = Vec::new();
            for _ in 0..planning.rounds {
                let start = Instant::now();
                let arrangement = arrange_kept(&problem)?;
                seconds.push(start.elapsed().as_secs_f64());
                stages = arrangement.order.len();
                micro_batch_seconds = arrangement.seconds;
            }
            seconds.sort_by(f64::total_cmp);
            let line = Line {
                schema_version: SCHEMA_VERSION,
                peers: planning.peers,
                layers: planning.layers,
                schedule: mode.word(),
                kind,
                seconds: seconds[seconds.len() / 2],
                seconds_max: seconds[seconds.len() - 1],
                stages,
                micro_batch_seconds,
            };
            outln!("{}", serde_json::to_string(&line)?);
        }
    }
    Ok(())
}

/// Numbers between 1 and 16 without a pattern (Knuth's multiplicative hash).
fn unequal(i: usize) -> f64 {
    let scattered = (i as u32).wrapping_mul(2_654_435_761) >> 16;
    1.0 + 15.0 * f64::from(scattered) / f64::from(1 << 16)
}

fn problem(planning: &Planning, mode: Mode, kind: Kind) -> Problem {
    let layer = |i: usize| LayerCost {
        flops: [unequal(i) * 1e6; 3],
        parameters: (unequal(i + 1) * 1e4) as u64,
        output_bytes: OUTPUT_BYTES,
        stash_bytes: (unequal(i + 2) * 1e4) as u64,
    };
    let layers: Vec<LayerCost> = (0..usize::from(planning.layers)).map(layer).collect();
    let peers = usize::from(planning.peers);
    // Some three times what an equal part takes with a few micro-batches under way.
    let parts = if kind.copies { 1500e6 } else { 500e6 };
    let equal_bytes = parts / peers as f64;
    let device = |i: usize| Device {
        layer_seconds: layers
            .iter()
            .map(|layer| layer.flops.map(|flops| flops / (unequal(i) * 1e9)))
            .collect(),
        memory_bytes: kind.memory.then_some((unequal(i + 3) * equal_bytes) as u64),
        on_medium: kind.medium && i.is_multiple_of(2),
    };
    let mut hops = Hops::default();
    for one in (0..peers).filter(|_| kind.links) {
        for other in 0..one {
            let link = unequal(one * peers + other);
            hops.set(
                one,
                other,
                Hop {
                    delay_seconds: 1e-3 * link,
                    bytes_per_second: Some(1e7 * link),
                },
            );
        }
    }
    Problem {
        devices: (0..peers).map(device).collect(),
        layers,
        schedule: ScheduleSpec::new(mode, 4),
        micro_batches: MICRO_BATCHES,
        hops,
        codec: CodecChoice::F16,
        sample_bytes: 0,
        medium_bytes_per_second: kind.medium.then_some(1e9),
        keeps_copies: kind.copies,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_can_be_planned_for() {
        let planning = Planning {
            peers: 6,
            layers: 40,
            rounds: 1,
        };
        for kind in KINDS {
            let arrangement = arrange_kept(&problem(&planning, Mode::Sync, kind));
            assert!(arrangement.expect("it fits").seconds > 0.0, "{kind:?}");
        }
    }
}
