//! The same of browser tabs. A room of one tab is what rings are told beside: the page, the browser and the server, and no links.

use super::{Line, Place, RingCost, SCHEMA_VERSION};
use crate::commands::spent::{Devices, each_sample};
use anyhow::{Result, anyhow};
use ringtmp_core::signal::Replication;
use ringtmp_experiment::Spent;
use ringtmp_peer::{Run, RunFile};

/// How many times longer the longer of two runs is, which is the run of the file.
const LONGER: u32 = 3;

pub(super) fn run(cost: &RingCost, run: &Run, copies: &[Replication]) -> Result<()> {
    let rings = cost.tabs.iter().filter(|tabs| **tabs > 1);
    let rings = rings.flat_map(|tabs| copies.iter().map(|every| (*tabs, *every)));
    let all = std::iter::once((1, Replication::Off)).chain(rings);
    let mut best: Vec<(u16, Replication, Option<Spent>)> =
        all.map(|(tabs, every)| (tabs, every, None)).collect();
    let steps = run.file.steps.max(LONGER);
    for _ in 0..cost.rounds {
        for (tabs, replicate, best) in &mut best {
            let file = RunFile {
                replicate: *replicate,
                evaluation_samples: 0,
                ..run.file.clone()
            };
            let spent = each_sample(&file, [steps / LONGER, steps], Devices::Tabs(*tabs))?;
            let spent = spent.map_err(|reason| anyhow!(reason))?;
            let least = |best: Spent| spent.core_seconds_per_sample < best.core_seconds_per_sample;
            if best.is_none_or(least) {
                *best = Some(spent);
            }
        }
    }
    let alone = best[0]
        .2
        .map_or(f64::NAN, |spent| spent.core_seconds_per_sample);
    for (peers, replicate, spent) in best {
        let Some(spent) = spent else { continue };
        let line = Line {
            schema_version: SCHEMA_VERSION,
            run: cost.name(),
            codec: run.descriptor().outline.codec.to_string(),
            schedule: run.file.schedule,
            place: Place::Tabs,
            peers,
            replicate,
            samples: u64::from(steps - steps / LONGER) * u64::from(run.file.batch),
            samples_per_second: 1.0 / spent.seconds_per_sample,
            samples_per_cpu_second: 1.0 / spent.core_seconds_per_sample,
            bound_samples_per_second: None,
            ratio: alone / spent.core_seconds_per_sample,
            bytes_per_sample: None,
        };
        outln!("{}", serde_json::to_string(&line)?);
    }
    Ok(())
}
