//! Of links that share a device's access link.

use crate::check::simulate_checked;
use crate::report::Report;
use crate::scenario::{FORWARD, Scenario};
use crate::team::{HashTeam, TeamChoice, TeamReport, simulate_team, team_job};
use ringtmp_core::parameter_server::{Exchange, Placement, Staleness};
use ringtmp_core::partition::{Hop, Hops};
use ringtmp_core::schedule::Mode;

/// Seconds that a micro-batch takes in the middle of a ring whose links take five forwards for a tensor.
fn seconds(peers: u16, shares_access: bool) -> f64 {
    let mut scenario = Scenario::equal(peers, Mode::Sync, 64, 6, 0.0);
    let tensor = scenario.tensor_bytes(1, scenario.outline.codec.usual()) as f64;
    scenario.links = Hops::all(Hop {
        delay_seconds: 0.001,
        bytes_per_second: Some(tensor / (5.0 * FORWARD.as_secs_f64())),
    });
    scenario.shares_access = shares_access;
    let outcome = simulate_checked(&scenario).expect("a sound run");
    1.0 / Report::of(&scenario, &outcome).throughput
}

#[test]
fn a_stage_between_two_sends_half_as_fast_where_its_links_share_access() {
    let apart = seconds(3, false);
    let shared = seconds(3, true);
    assert!((apart / 0.05 - 1.0).abs() < 0.1, "{apart}");
    // It sends an activation and a gradient for each micro-batch, and has one way out.
    assert!((shared / 0.10 - 1.0).abs() < 0.1, "{shared}");
    // At the ends, and in a ring of two, there is one stream each way.
    assert!((seconds(2, true) / seconds(2, false) - 1.0).abs() < 0.01);
}

#[test]
fn a_ring_and_a_team_move_bytes_alike() {
    // Nothing to compute, and one layer whose parameters are as many bytes as a micro-batch's activations: each of two devices of an
    // all-reduce sends half of the gradients and half of the weights in a step, as much as one tensor. So does each of a ring's, with one
    // micro-batch.
    let mut scenario = Scenario::equal(2, Mode::Sync, 2, 9, 0.0);
    for layer in &mut scenario.outline.layers {
        layer.parameters = 100_000;
        layer.output_bytes = 400_000;
        layer.flops = [1e-6; 3];
    }
    scenario.links = Hops::all(Hop {
        delay_seconds: 0.001,
        bytes_per_second: Some(1e6),
    });
    scenario.shares_access = true;
    let outcome = simulate_checked(&scenario).expect("a sound run");
    let ring = Report::of(&scenario, &outcome);
    let choice = TeamChoice {
        exchange: Exchange::AllReduce,
        placement: Placement::Single,
        shards: 1,
        staleness: Staleness::Steps(0),
    };
    let mut compute = HashTeam::new(&team_job(&scenario, choice).expect("a job"));
    let outcome = simulate_team(&scenario, choice, &mut compute).expect("a sound run");
    let team = TeamReport::of(&scenario, choice, &outcome, 0);
    // A step of the ring: two activations, and while the second is under way the gradient of the first; of the all-reduce: the two layers'
    // gradients and weights, each both ways at once.
    let per_step = |throughput: f64| 2.0 / throughput;
    assert!((per_step(ring.throughput) - 1.2).abs() < 0.05, "{ring:?}");
    assert!((per_step(team.throughput) - 0.8).abs() < 0.05, "{team:?}");
}
