//! Rings of unequal devices, planned by the room from what they measure.

use ringtmp_core::plan::LayerCost;
use ringtmp_core::profile::Planning;
use ringtmp_core::schedule::Mode;
use ringtmp_core::signal::Replication;
use ringtmp_sim::check::simulate_checked;
use ringtmp_sim::report::Report;
use ringtmp_sim::{Fault, FaultKind, Hop, Hops, Scenario, SimulationError};

fn report(scenario: &Scenario) -> Report {
    let outcome = simulate_checked(scenario).expect("a sound run");
    Report::of(scenario, &outcome)
}

/// Twelve equal layers for three devices, of which the last two take four times as long; jitter included.
fn one_fast_and_two_slow(mode: Mode) -> Scenario {
    let mut scenario = Scenario::equal(3, mode, 32, 30, 0.5);
    scenario.outline.layers = vec![scenario.outline.layers[0]; 12];
    scenario.jitter = 0.3;
    for device in &mut scenario.devices {
        device.memory_bytes = Some(1 << 30);
    }
    for device in &mut scenario.devices[1..] {
        device.flops_per_second = device.flops_per_second.map(|speed| speed / 4.0);
    }
    scenario
}

#[test]
fn one_fast_and_two_slow_devices_come_within_a_tenth_of_the_bound_and_beat_equal_shares_by_half() {
    for mode in [Mode::Sync, Mode::TwoVersions] {
        let scenario = one_fast_and_two_slow(mode);
        let planned = report(&scenario);
        assert!(
            planned.throughput >= 0.9 * planned.planned,
            "{mode}: {} of {}",
            planned.throughput,
            planned.planned
        );
        let mut equal = scenario.clone();
        equal.outline.planning = Planning::Counted;
        let equal = report(&equal);
        assert!(
            equal
                .peers
                .iter()
                .all(|peer| peer.layers[1] - peer.layers[0] == 4)
        );
        assert!(
            planned.throughput >= 1.5 * equal.throughput,
            "{mode}: {} against {}",
            planned.throughput,
            equal.throughput
        );
    }
}

#[test]
fn after_a_loss_the_others_come_within_a_tenth_of_their_own_bound() {
    for mode in [Mode::Sync, Mode::TwoVersions] {
        // The fast one is lost, or one of the slow ones.
        for device in 0..3 {
            let mut scenario = one_fast_and_two_slow(mode);
            scenario.outline.replication = Replication::Auto;
            scenario.outline.steps = 60;
            let what = FaultKind::Crash {
                device,
                returns_after: None,
                noticed: true,
            };
            let at_seconds = 20.0;
            scenario.faults.push(Fault { at_seconds, what });
            let report = report(&scenario);
            assert!(report.peers.iter().all(|peer| peer.device != device));
            assert!(
                report.throughput >= 0.9 * report.planned,
                "{mode} without {device}: {} of {}",
                report.throughput,
                report.planned
            );
        }
    }
}

#[test]
fn a_device_that_would_hold_the_ring_up_is_left_out() {
    let mut scenario = one_fast_and_two_slow(Mode::Sync);
    let slow = &mut scenario.devices[1].flops_per_second;
    *slow = slow.map(|speed| speed / 100.0);
    let report = report(&scenario);
    assert_eq!(report.spares, [1]);
    assert!(report.throughput >= 0.9 * report.planned);
}

#[test]
fn the_order_of_devices_avoids_a_slow_link() {
    let mut scenario = one_fast_and_two_slow(Mode::TwoVersions);
    let slow = Hop {
        delay_seconds: 1.0,
        bytes_per_second: Some(1e4),
    };
    scenario.links = Hops::all(scenario.links.get(0, 1));
    scenario.links.set(1, 2, slow);
    let report = report(&scenario);
    assert_eq!(
        report.peers[1].device, 0,
        "the fast one is between the slow ones"
    );
    assert!(report.throughput >= 0.9 * report.planned);
}

#[test]
fn stations_of_one_medium_share_its_air_time() {
    let mut scenario = Scenario::equal(4, Mode::TwoVersions, 32, 20, 0.0);
    for device in &mut scenario.devices {
        device.on_medium = true;
    }
    let bytes = scenario.outline.layers[0].output_bytes as f64;
    // Three hops there and back, twice through the air: three times what a layer computes.
    let layer_seconds = 0.03;
    scenario.medium_bytes_per_second = Some(12.0 * bytes / (3.0 * layer_seconds));
    let report = report(&scenario);
    assert!(report.peers.len() < 4, "fewer hops are faster: {report:?}");
    assert!(report.throughput <= report.planned * 1.01);
    assert!(
        report.throughput >= 0.8 * report.planned,
        "{} of {}",
        report.throughput,
        report.planned
    );
}

#[test]
fn a_model_too_large_for_its_devices_is_refused_before_it_starts() {
    let mut scenario = Scenario::equal(3, Mode::Sync, 8, 4, 0.0);
    scenario.outline.layers = vec![
        LayerCost {
            parameters: 1_000_000,
            ..scenario.outline.layers[0]
        };
        3
    ];
    for device in &mut scenario.devices {
        device.memory_bytes = Some(13_000_000);
    }
    scenario.devices[1].memory_bytes = Some(10_000_000);
    let error = simulate_checked(&scenario).expect_err("12 MB of weights do not fit");
    let SimulationError::Refused { reason, .. } = error else {
        panic!("{error}");
    };
    assert!(
        reason.contains("device 1 lacks 2.0 MB for layer 1 "),
        "{reason}"
    );
}
