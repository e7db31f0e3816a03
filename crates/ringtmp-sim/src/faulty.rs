//! Random rings in which things go wrong.

use crate::random::Draws;
use crate::scenario::{Fault, FaultKind, Scenario};
use ringtmp_core::signal::Replication;

/// Puts faults into a scenario: up to four, while it gets ready, trains, and recovers from another.
pub(crate) fn spoil(scenario: &mut Scenario, seed: u64) {
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
        scenario.faults.push(Fault { at_seconds, what });
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
    match draws.between(0, 6) {
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
        _ => FaultKind::Pause { device, seconds },
    }
}
