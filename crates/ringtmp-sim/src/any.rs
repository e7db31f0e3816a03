//! Rings of any kind, and anything that can go wrong in them: what the checkers are held against.

use crate::check::simulate_checked;
use crate::random::Draws;
use crate::scenario::{DeviceSpec, Fault, FaultKind, Loss, Scenario};
use crate::world::SimulationError;
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::partition::Hop;
use ringtmp_core::plan::LayerCost;
use ringtmp_core::profile::Planning;
use ringtmp_core::schedule::{DataSource, Mode};
use ringtmp_core::signal::Replication;
use serde::Serialize;

/// Rings, links and models of any kind, by seed.
pub fn random(seed: u64) -> Scenario {
    let mut draws = Draws::new(seed, u64::MAX);
    let peers = draws.between(1, 8) as u16;
    let mode = Mode::ALL[draws.between(0, 3) as usize];
    let (micro_batches, steps) = (draws.between(1, 8) as u16, draws.between(1, 5) as u32);
    let mut scenario = Scenario::equal(peers, mode, micro_batches, steps, 0.0);
    scenario.seed = seed;
    scenario.jitter = [0.0, 0.3, 0.6, 1.0][draws.between(0, 3) as usize];
    let layer = |draws: &mut Draws| LayerCost {
        flops: [0, 1, 2].map(|_| draws.between(0, 9) as f64),
        parameters: draws.between(0, 1_000_000),
        output_bytes: draws.between(1, 100_000),
        stash_bytes: draws.between(1, 100_000),
    };
    let layers = draws.between(1, 12);
    let outline = &mut scenario.outline;
    outline.layers = (0..layers).map(|_| layer(&mut draws)).collect();
    outline.evaluate_every = draws.between(0, 3) as u32;
    outline.evaluation_micro_batches = draws.between(0, 3) as u16;
    outline.schedule.micro_batch_samples = draws.between(1, 16) as u32;
    outline.codec = CodecChoice::ALL[draws.between(0, 3) as usize];
    if draws.between(0, 3) == 0 {
        outline.planning = Planning::Counted;
    }
    let memory = |draws: &mut Draws| {
        let megabytes = draws.between(1, 100);
        [None, Some(megabytes * 1_000_000), Some(1 << 40)][draws.between(0, 2) as usize]
    };
    for device in &mut scenario.devices {
        *device = DeviceSpec {
            flops_per_second: [0; 3].map(|_| 100.0 * (0.1 + draws.unit())),
            update_seconds: 0.01 * draws.unit(),
            has_data: true,
            memory_bytes: memory(&mut draws),
            on_medium: draws.unit() < 0.5,
        };
    }
    scenario.medium_bytes_per_second = (draws.unit() < 0.3).then(|| 1e6 + 1e8 * draws.unit());
    let peers = scenario.devices.len();
    for (one, other) in (0..peers).flat_map(|one| (0..one).map(move |other| (one, other))) {
        let link = Hop {
            delay_seconds: 0.1 * draws.unit(),
            bytes_per_second: (draws.unit() < 0.5).then(|| 1e6 + 1e8 * draws.unit()),
        };
        scenario.links.set(one, other, link);
    }
    if draws.unit() < 0.5 {
        scenario.outline.source = DataSource::Every;
        scenario.outline.sample_bytes = draws.between(1, 100_000);
        // The first device keeps its samples, so that there are some.
        for device in &mut scenario.devices[1..] {
            device.has_data = draws.unit() < 0.7;
        }
    }
    scenario.outline.schedule.clips_gradients = draws.unit() < 0.4;
    if peers > 1 && draws.unit() < 0.2 {
        let one = draws.between(0, peers as u64 - 1) as usize;
        scenario.losses.push(Loss {
            between: [one, (one + 1) % peers],
            // Some while the ring gets ready, some after its end.
            at_seconds: 10.0 * draws.unit().powi(3),
        });
    }
    scenario.shares_access = draws.unit() < 0.3;
    scenario
}

/// Puts faults into a scenario: up to four, while it gets ready, trains, and recovers from another.
pub fn spoil(scenario: &mut Scenario, seed: u64) {
    let mut draws = Draws::new(seed, u64::MAX - 1);
    let devices = scenario.devices.len();
    scenario.outline.replication = match draws.between(0, 3) {
        0 => Replication::Auto,
        every => Replication::Every(every as u16),
    };
    for layer in &mut scenario.outline.layers {
        layer.parameters += 1;
    }
    for device in &mut scenario.devices {
        // A smaller ring shall be able to hold the model.
        device.memory_bytes = None;
    }
    scenario.outline.steps += draws.between(0, 10) as u32;
    // Enough for all to have come: before, the room only waits.
    let mut at_seconds = 0.02;
    let lasts = lasts_about(scenario);
    for number in 0..draws.between(1, 4) {
        // The first at any time; others soon after, while the ring recovers, or at any time again.
        let soon = number > 0 && draws.unit() < 0.5;
        at_seconds += if soon { 5.0 } else { 0.7 * lasts } * draws.unit();
        let what = fault(&mut draws, devices);
        if matches!(what, FaultKind::TwoServers { .. }) {
            // With two servers two rings may go on for a while: who deals from where would depend on which of them is left.
            scenario.outline.source = DataSource::One;
        }
        scenario.faults.push(Fault { at_seconds, what });
    }
}

/// Gives the devices of every second scenario disks, and lets some of these lose neighbours at once, or everybody.
pub fn give_disks(scenario: &mut Scenario, seed: u64) {
    let mut draws = Draws::new(seed, u64::MAX - 2);
    if draws.unit() < 0.5 {
        return;
    }
    scenario.keeps_every = Some(3.0 * draws.unit().powi(2));
    let devices = scenario.devices.len();
    let at_seconds = 0.02 + 0.9 * lasts_about(scenario) * draws.unit();
    match draws.between(0, 4) {
        0 => {
            let seconds = 6.0 * draws.unit();
            let what = FaultKind::AllLost { seconds };
            scenario.faults.push(Fault { at_seconds, what });
        }
        1 | 2 => {
            let first = draws.between(0, devices as u64 - 1) as usize;
            for device in [first, (first + 1) % devices] {
                let what = FaultKind::Crash {
                    device,
                    returns_after: Some(6.0 * draws.unit()),
                    noticed: draws.unit() < 0.5,
                };
                scenario.faults.push(Fault { at_seconds, what });
            }
        }
        _ => {}
    }
}

/// How many seconds the run takes about, if all devices share its work.
fn lasts_about(scenario: &Scenario) -> f64 {
    let outline = &scenario.outline;
    let layers = 0..outline.layers.len();
    let devices = 0..scenario.devices.len();
    let rates = devices.map(|device| 1.0 / scenario.micro_batch_seconds(device, &layers).max(1e-6));
    let micro_batches = f64::from(outline.steps) * f64::from(outline.micro_batches);
    micro_batches / rates.sum::<f64>()
}

fn fault(draws: &mut Draws, devices: usize) -> FaultKind {
    let device = draws.between(0, devices as u64 - 1) as usize;
    let next = (device + 1) % devices;
    let seconds = 6.0 * draws.unit().powi(2);
    match draws.between(0, 17) {
        0 => FaultKind::Crash {
            device,
            returns_after: None,
            noticed: true,
        },
        1 => FaultKind::Crash {
            device,
            returns_after: Some(seconds),
            noticed: draws.unit() < 0.5,
        },
        2 => FaultKind::Crash {
            device,
            returns_after: None,
            noticed: false,
        },
        3 if devices > 1 => FaultKind::Cut {
            between: [device, next],
            seconds,
        },
        4 if devices > 1 => FaultKind::OneWay {
            from: device,
            to: next,
            seconds,
        },
        5 => FaultKind::Leave { device },
        6 => FaultKind::SocketLost { device, seconds },
        7 | 8 => FaultKind::ServerLost {
            seconds,
            forgets: draws.unit() < 0.7,
        },
        9 | 10 => FaultKind::HandOn { device },
        11 => FaultKind::GpuLost { device },
        12 if devices > 1 => FaultKind::Slow {
            between: [device, next],
            seconds,
            times: 2.0 + 6.0 * draws.unit(),
        },
        13 | 14 => FaultKind::TwoServers {
            first: device,
            devices: draws.between(0, devices as u64) as usize,
            seconds,
        },
        15 | 16 if devices > 1 => FaultKind::Partition {
            first: device,
            devices: draws.between(1, devices as u64 - 1) as usize,
            seconds,
        },
        _ => FaultKind::Pause { device, seconds },
    }
}

/// Words of a room that stops because nobody, or nobody with samples, is left.
const NOBODY_LEFT: [&str; 9] = [
    "missing: waiting for",
    "keeps anything of this run",
    "lies with more devices than there are layers",
    "fits no arrangement of these devices",
    "samples",
    "no device is left",
    "none of the devices answers",
    "left the ring",
    // Twice, of the only device.
    "the GPU was lost",
];

/// What became of many rings in which things went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Rings.
    pub rings: u64,
    /// Those that went on from copies.
    pub recovered: u64,
    /// Those in which layers moved for that.
    pub moved: u64,
    /// Those that went on from what lay on disks alone.
    pub from_disks: u64,
    /// Those that stopped since nobody was left, or wait for who will not come back.
    pub stopped: u64,
}

impl Tally {
    /// Works off the ring of a seed, with whatever goes wrong in it.
    ///
    /// # Errors
    ///
    /// What a checker found, or a run that did not end as it should.
    pub fn add(&mut self, seed: u64) -> Result<(), SimulationError> {
        let mut scenario = random(seed);
        spoil(&mut scenario, seed);
        give_disks(&mut scenario, seed);
        self.rings += 1;
        match simulate_checked(&scenario) {
            Ok(outcome) => {
                let from_copies = outcome.recoveries.iter().filter(|one| one.step > 0);
                let moved = from_copies.clone().any(|one| one.moved > 0);
                self.recovered += u64::from(from_copies.count() > 0);
                self.moved += u64::from(moved);
                self.from_disks += u64::from(outcome.from_disks > 0);
                Ok(())
            }
            Err(SimulationError::Refused { reason, .. }) if reason.contains("samples") => Ok(()),
            Err(SimulationError::Stopped { reason, .. })
                if NOBODY_LEFT.iter().any(|words| reason.contains(words)) =>
            {
                self.stopped += 1;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
