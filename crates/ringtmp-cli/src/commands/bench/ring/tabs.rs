//! The same of browser tabs. A room of one tab is what rings are told beside: the page, the browser and the server, and no links.

use super::{Line, Place, RingCost, SCHEMA_VERSION};
use crate::commands::spent::{Devices, Taken, taken};
use anyhow::{Result, anyhow};
use ringtmp_core::signal::Replication;
use ringtmp_peer::{Run, RunFile};

/// How many times longer the longer of two runs is, which is the run of the file.
const LONGER: u32 = 3;

/// Of a ring, the runs that took the least CPU time: other load makes none better, but may make the difference of two runs smaller.
struct Best {
    tabs: u16,
    replicate: Replication,
    short: Option<Taken>,
    long: Option<Taken>,
}

impl Best {
    fn round(&mut self, run: &RunFile, [short, long]: [u32; 2]) -> Result<()> {
        for (steps, kept) in [(short, &mut self.short), (long, &mut self.long)] {
            let run = RunFile {
                steps,
                replicate: self.replicate,
                evaluation_samples: 0,
                ..run.clone()
            };
            let taken = taken(&run, Devices::Tabs(self.tabs))?;
            let taken = taken.map_err(|reason| anyhow!(reason))?;
            if kept.is_none_or(|kept| taken.core_seconds < kept.core_seconds) {
                *kept = Some(taken);
            }
        }
        Ok(())
    }

    /// What so many further samples took, each.
    fn each(&self, samples: u64, of: fn(&Taken) -> f64) -> f64 {
        let runs = self.long.as_ref().zip(self.short.as_ref());
        let more = runs.map(|(long, short)| of(long) - of(short));
        more.unwrap_or(f64::NAN) / samples as f64
    }
}

pub(super) fn run(cost: &RingCost, run: &Run, copies: &[Replication]) -> Result<()> {
    let rings = cost.tabs.iter().filter(|tabs| **tabs > 1);
    let rings = rings.flat_map(|tabs| copies.iter().map(|every| (*tabs, *every)));
    let all = std::iter::once((1, Replication::Off)).chain(rings);
    let new = |(tabs, replicate)| Best {
        tabs,
        replicate,
        short: None,
        long: None,
    };
    let mut all: Vec<Best> = all.map(new).collect();
    let long = run.file.steps.max(LONGER);
    let steps = [long / LONGER, long];
    for _ in 0..cost.rounds {
        for best in &mut all {
            best.round(&run.file, steps)?;
        }
    }
    let samples = u64::from(steps[1] - steps[0]) * u64::from(run.file.batch);
    let cores = |best: &Best| best.each(samples, |taken| taken.core_seconds);
    for best in &all {
        let line = Line {
            schema_version: SCHEMA_VERSION,
            run: cost.name(),
            model: run.file.model.name().to_owned(),
            codec: run.descriptor().outline.codec.to_string(),
            schedule: run.file.schedule,
            access_link: None,
            paced: false,
            place: Place::Tabs,
            peers: best.tabs,
            replicate: best.replicate,
            samples,
            samples_per_second: 1.0 / best.each(samples, |taken| taken.seconds),
            samples_per_cpu_second: 1.0 / cores(best),
            bound_samples_per_second: None,
            ratio: cores(&all[0]) / cores(best),
            bytes_per_sample: None,
        };
        outln!("{}", serde_json::to_string(&line)?);
    }
    Ok(())
}
