use super::*;
use crate::random::Draws;
use crate::scenario::{FORWARD, Fault, FaultKind};
use ringtmp_core::parameter_server::MemberIndex;
use ringtmp_core::partition::{Hop, Hops};
use ringtmp_core::schedule::Mode;
use ringtmp_core::signal::{Recovery, Replication};
use ringtmp_core::trace::Activity;
use std::collections::BTreeSet;

/// Devices with a layer each, where the whole model's F, B and W of a micro-batch take as many units of FORWARD as there are layers.
fn scenario(devices: u16, jitter: f64, seed: u64) -> Scenario {
    let mut scenario = Scenario::equal(devices, Mode::Sync, 24, 12, 0.1);
    (scenario.jitter, scenario.seed) = (jitter, seed);
    scenario
}

const fn server(placement: Placement, staleness: Staleness) -> TeamChoice {
    TeamChoice {
        exchange: Exchange::Server,
        placement,
        shards: 2,
        staleness,
    }
}

const BSP: Staleness = Staleness::Steps(0);

const ALL_REDUCE: TeamChoice = TeamChoice {
    exchange: Exchange::AllReduce,
    ..server(Placement::Single, BSP)
};

fn choices() -> Vec<TeamChoice> {
    let placements = Placement::ALL.into_iter();
    let taus = [BSP, Staleness::Steps(2), Staleness::Infinite];
    let all = placements.flat_map(|placement| taus.map(|tau| server(placement, tau)));
    all.chain([ALL_REDUCE]).collect()
}

fn run(scenario: &Scenario, choice: TeamChoice) -> (TeamReport, TeamOutcome) {
    let job = team_job(scenario, choice).expect("sound");
    let mut compute = HashTeam::new(&job);
    let outcome = simulate_team(scenario, choice, &mut compute).expect("it ends");
    let report = TeamReport::of(scenario, choice, &outcome, compute.hash());
    (report, outcome)
}

fn with_rate(mut scenario: Scenario, bytes_per_second: f64) -> Scenario {
    scenario.links = Hops::all(Hop {
        bytes_per_second: Some(bytes_per_second),
        ..scenario.links.get(0, 0)
    });
    scenario
}

#[test]
fn a_seed_replays_its_run_and_without_staleness_no_jitter_changes_the_weights() {
    for choice in choices() {
        let (one, _) = run(&scenario(4, 0.6, 1), choice);
        let (again, _) = run(&scenario(4, 0.6, 1), choice);
        assert_eq!(one, again);
        let (other, _) = run(&scenario(4, 0.6, 2), choice);
        assert_ne!(one.seconds, other.seconds);
        let same = one.hash == other.hash;
        assert_eq!(same, choice.staleness.is_synchronous(), "{choice:?}");
    }
}

#[test]
fn without_delays_equal_workers_are_never_idle() {
    let mut free = scenario(4, 0.0, 1);
    free.links = Hops::all(Hop::default());
    for choice in choices() {
        let (report, _) = run(&free, choice);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-3;
        assert!(near(report.idle_workers, 0.0), "{choice:?}: {report:?}");
        assert!(
            near(report.rate_lost, 0.0),
            "{choice:?}: {}",
            report.rate_lost
        );
        let workers = report
            .members
            .iter()
            .filter(|member| member.is_worker)
            .count();
        let micro_batch = 3.0 * 4.0 * FORWARD.as_secs_f64();
        let rate = workers as f64 / micro_batch;
        assert!(
            near(report.throughput / rate, 1.0),
            "{choice:?}: {}",
            report.throughput
        );
    }
}

#[test]
fn all_reduce_sends_each_number_twice_but_for_what_is_at_home() {
    let scenario = scenario(4, 0.0, 1);
    let (report, outcome) = run(&scenario, ALL_REDUCE);
    let parameters = 4.0 * 100_000.0;
    let expected = 2.0 * 3.0 / 4.0 * 4.0 * parameters * 12.0;
    for member in &report.members {
        let part = member.bytes_sent as f64 / expected;
        assert!((1.0..1.01).contains(&part), "{part} of {expected}");
    }
    assert_eq!(outcome.job.layout.shards.len(), 4);
}

#[test]
fn a_single_server_is_held_up_by_its_own_link_and_shards_share_that() {
    // A push of the whole model takes a quarter of what a worker computes in a step.
    let model = 4.0 * 8.0 * 100_000.0;
    let step = 3.0 * 3.0 * 8.0 * FORWARD.as_secs_f64();
    let narrow = with_rate(scenario(8, 0.0, 1), model / (step / 4.0));
    let rate = |choice| run(&narrow, choice).0.throughput;
    let [single, dedicated, colocated] =
        Placement::ALL.map(|placement| rate(server(placement, BSP)));
    let all_reduce = rate(ALL_REDUCE);
    assert!(
        single < dedicated && dedicated < colocated,
        "{single}, {dedicated}, {colocated}"
    );
    assert!(all_reduce > dedicated, "{all_reduce}, {dedicated}");
    let (report, _) = run(&narrow, server(Placement::Single, BSP));
    assert!(
        report.idle_workers > 0.3 && report.idle_servers > Some(0.5),
        "{report:?}"
    );
}

#[test]
fn an_access_link_carries_one_frame_at_a_time_each_way() {
    let rate = 10e6;
    let narrow = with_rate(scenario(5, 0.0, 1), rate);
    let (_, outcome) = run(&narrow, server(Placement::Single, BSP));
    let frame_us = (4.0 * 100_000.0 / rate * 1e6) as u64;
    for (activity, what) in [(Activity::Gradient, "in"), (Activity::Weights, "out")] {
        // The server is the only one that gets gradients and sends weights.
        let spans = outcome
            .trace
            .iter()
            .filter(|span| span.activity == activity);
        let mut ends: Vec<u64> = spans.map(|span| span.end.as_micros()).collect();
        ends.sort_unstable();
        assert_eq!(ends.len(), 12 * 4 * 5, "steps, workers and ranges");
        let gap = ends.windows(2).map(|pair| pair[1] - pair[0]).min();
        assert!(gap >= Some(frame_us), "{what}: {gap:?} of {frame_us}");
    }
}

#[test]
fn staleness_hides_jitter_and_slow_workers_get_less() {
    let mut scenario = scenario(4, 0.9, 5);
    scenario.outline.steps = 60;
    scenario.devices[1].flops_per_second = scenario.devices[1]
        .flops_per_second
        .map(|speed| speed / 3.0);
    let (bsp, _) = run(&scenario, server(Placement::Colocated, BSP));
    let (ssp, _) = run(&scenario, server(Placement::Colocated, Staleness::Steps(4)));
    assert!(
        ssp.throughput > bsp.throughput,
        "{} and {}",
        ssp.throughput,
        bsp.throughput
    );
    assert!(ssp.idle_workers < bsp.idle_workers);
    let shares: Vec<u16> = bsp
        .members
        .iter()
        .map(|member| member.micro_batches)
        .collect();
    assert_eq!(shares, [8, 2, 7, 7]);
}

#[test]
fn updates_cost_what_the_device_says_and_a_worker_that_serves_pays_for_them() {
    let mut scenario = scenario(4, 0.0, 1);
    for device in &mut scenario.devices {
        device.update_seconds = FORWARD.as_secs_f64();
    }
    let (colocated, _) = run(&scenario, server(Placement::Colocated, BSP));
    let update: f64 = colocated
        .members
        .iter()
        .map(|member| member.shares.update)
        .sum();
    assert!(update > 0.0);
    let (single, _) = run(&scenario, server(Placement::Single, BSP));
    assert!(single.members[3].shares.update > 0.9 * single.members[3].shares.busy);
    assert!(single.members[3].is_server && !single.members[3].is_worker);
}

#[test]
fn what_is_not_simulated_yet_is_refused_and_not_ignored() {
    let refused = |scenario: &Scenario| {
        let error = team_job(scenario, ALL_REDUCE).expect_err("not simulated");
        error.to_string()
    };
    let mut faulty = scenario(3, 0.0, 1);
    faulty.faults.push(Fault {
        at_seconds: 1.0,
        what: FaultKind::Leave { device: 0 },
    });
    assert!(refused(&faulty).contains("devices that die"));
    let mut clipped = scenario(3, 0.0, 1);
    clipped.outline.schedule.clips_gradients = true;
    assert!(refused(&clipped).contains("clipping"));
    let mut air = scenario(3, 0.0, 1);
    air.medium_bytes_per_second = Some(1e6);
    assert!(refused(&air).contains("medium"));
    let mut jittery = scenario(3, 2.0, 1);
    assert!(refused(&jittery).contains("jitter"));
    jittery.jitter = 0.0;
    jittery.outline.micro_batches = 2;
    assert!(refused(&jittery).contains("too few"));
}

#[test]
fn means_are_over_all_runs() {
    let reports = [1, 2].map(|seed| run(&scenario(3, 0.5, seed), ALL_REDUCE).0);
    let mean = TeamReport::mean_of(&reports).expect("two");
    let expected = (reports[0].throughput + reports[1].throughput) / 2.0;
    assert!((mean.throughput - expected).abs() < 1e-9 && mean.runs == 2);
    assert_eq!(mean.idle_servers, None);
    assert_eq!(TeamReport::mean_of(&[]), None);
}

/// Something happens to one device, once training is under way.
fn troubled(seed: u64, what: FaultKind) -> Scenario {
    let mut scenario = scenario(4, 0.3, seed);
    scenario.outline.steps = 24;
    scenario.outline.replication = Replication::Every(4);
    scenario.faults = vec![Fault {
        at_seconds: 6.0,
        what,
    }];
    scenario
}

fn crash(device: usize, returns_after: Option<f64>) -> FaultKind {
    FaultKind::Crash {
        device,
        returns_after,
        noticed: false,
    }
}

#[test]
fn whoever_dies_the_others_end_the_run_in_every_way_and_a_seed_replays_it() {
    for choice in choices() {
        for device in 0..4 {
            let lost = troubled(device as u64, crash(device, None));
            let (report, outcome) = run(&lost, choice);
            let (again, _) = run(&lost, choice);
            assert_eq!(report, again, "{choice:?}");
            let [recovery] = &outcome.recoveries[..] else {
                panic!("{choice:?}: {:?}", outcome.recoveries);
            };
            assert!(!outcome.order.contains(&device), "{choice:?}");
            assert!(recovery.step > 0 && recovery.repeated <= 8, "{recovery:?}");
            let seconds = recovery.seconds.expect("it is over");
            // Noticed within 2 s and a beat; the rest is what it takes to say so, and to link.
            assert!(seconds < 3.0, "{choice:?}: {seconds}");
            let undisturbed = Scenario {
                faults: Vec::new(),
                ..lost
            };
            let whole = run(&undisturbed, choice).0.seconds;
            let lost = report.seconds - whole;
            // What it takes to notice and to go on, what is made again, and at most twice the work for who is left of two workers.
            assert!((1.0..whole + 10.0).contains(&lost), "{choice:?}: {lost}");
        }
    }
}

/// Those for a loss or a newcomer, and those in which parts moved to who had none.
fn apart(recoveries: &[Recovery]) -> (Vec<&Recovery>, Vec<&Recovery>) {
    let moves = |it: &&Recovery| {
        it.reason.contains("are divided anew") || it.reason.contains("takes over what")
    };
    recoveries.iter().partition(|it| !moves(it))
}

#[test]
fn whoever_dies_twice_in_a_row_and_comes_back_is_no_reason_to_stop() {
    for choice in choices() {
        let mut lost = troubled(7, crash(1, Some(1.0)));
        lost.outline.steps = 48;
        let again = Fault {
            at_seconds: 14.0,
            what: crash(2, Some(1.0)),
        };
        lost.faults.push(again);
        let (_, outcome) = run(&lost, choice);
        let (lost, _) = apart(&outcome.recoveries);
        assert_eq!(lost.len(), 2, "{choice:?}");
        // Who came back after the first loss takes part after the second.
        assert!(
            outcome.order.contains(&1),
            "{choice:?}: {:?}",
            outcome.order
        );
    }
}

#[test]
fn who_comes_back_while_the_others_train_is_taken_in_and_nothing_is_made_again_for_it() {
    for choice in choices() {
        // The first computes in every way.
        let lost = troubled(5, crash(0, Some(7.0)));
        let (_, outcome) = run(&lost, choice);
        let (others, moves) = apart(&outcome.recoveries);
        let [gone, back] = others[..] else {
            panic!("{choice:?}: {:?}", outcome.recoveries);
        };
        // Where workers have the parts, it gets one again, and the least is made again for that.
        let workers_serve =
            choice.exchange == Exchange::AllReduce || choice.placement == Placement::Colocated;
        assert_eq!(moves.len(), usize::from(workers_serve), "{choice:?}");
        let least = |it: &&Recovery| it.moved > 0 && it.repeated <= 2;
        assert!(moves.iter().all(least), "{choice:?}: {moves:?}");
        assert!(gone.reason.contains("device 0"), "{gone:?}");
        assert!(back.reason.contains("device 0 joins"), "{back:?}");
        assert_eq!(back.repeated, 0, "{choice:?}");
        assert!(outcome.order.contains(&0), "{choice:?}");
    }
}

#[test]
fn a_server_that_stands_apart_and_comes_back_serves_again_what_a_worker_had_meanwhile() {
    for placement in [Placement::Single, Placement::Dedicated] {
        for tau in [BSP, Staleness::Steps(2), Staleness::Infinite] {
            let choice = server(placement, tau);
            // The last serves in both.
            let mut lost = troubled(5, crash(3, Some(7.0)));
            lost.outline.steps = 48;
            let (report, outcome) = run(&lost, choice);
            assert_eq!(report, run(&lost, choice).0, "{choice:?}");
            let (others, moves) = apart(&outcome.recoveries);
            let [gone, back] = others[..] else {
                panic!("{choice:?}: {:?}", outcome.recoveries);
            };
            assert_eq!((gone.moved, back.moved), (1, 0), "{choice:?}");
            assert!(back.reason.contains("device 3 joins"), "{back:?}");
            let [takes_over] = moves[..] else {
                panic!("{choice:?}: {moves:?}");
            };
            let words = "device 3 takes over what device ";
            assert!(takes_over.reason.contains(words), "{takes_over:?}");
            assert!(
                takes_over.moved == 1 && takes_over.repeated <= 4,
                "{takes_over:?}"
            );
            let layout = &outcome.job.layout;
            let of = |members: &[MemberIndex]| {
                let devices = members.iter().map(|it| outcome.order[usize::from(it.0)]);
                devices.collect::<BTreeSet<usize>>()
            };
            let servers = if placement == Placement::Single { 1 } else { 2 };
            let works: BTreeSet<usize> = (0..4 - servers).collect();
            let serves: BTreeSet<usize> = (4 - servers..4).collect();
            assert_eq!(of(&layout.workers), works, "{choice:?}");
            assert_eq!(of(&layout.shards), serves, "{choice:?}");
        }
    }
}

#[test]
fn two_who_come_at_once_both_take_part_and_both_get_parts_where_workers_have_them() {
    for choice in choices() {
        for apart_by in [0.0, 0.05, 0.4] {
            // Neither keeps the other's copies.
            let mut lost = troubled(5, crash(0, Some(7.0)));
            lost.outline.steps = 72;
            lost.faults.push(Fault {
                at_seconds: lost.faults[0].at_seconds,
                what: crash(2, Some(7.0 + apart_by)),
            });
            let (_, outcome) = run(&lost, choice);
            let (_, moves) = apart(&outcome.recoveries);
            let words = || format!("{choice:?}, {apart_by} s: {:#?}", outcome.recoveries);
            for device in [0, 2] {
                assert!(outcome.order.contains(&device), "{}", words());
            }
            // A device without a part may need two turns, if its neighbour has none to move on.
            let turns = moves.len();
            if choice.exchange == Exchange::AllReduce || choice.placement == Placement::Colocated {
                assert!((1..=3).contains(&turns), "{}", words());
                let shards = &outcome.job.layout.shards;
                let with: BTreeSet<MemberIndex> = shards.iter().copied().collect();
                assert_eq!(with.len(), 4, "{shards:?}, {}", words());
            } else {
                assert_eq!(turns, 0, "{}", words());
            }
        }
    }
}

#[test]
fn a_device_that_pauses_for_a_moment_is_waited_for_and_one_that_is_away_for_longer_is_not() {
    for choice in [server(Placement::Colocated, BSP), ALL_REDUCE] {
        for (seconds, losses) in [(1.0, 0), (30.0, 1)] {
            let paused = troubled(3, FaultKind::Pause { device: 1, seconds });
            let (_, outcome) = run(&paused, choice);
            assert_eq!(outcome.recoveries.len(), losses, "{choice:?}, {seconds} s");
        }
    }
}

#[test]
fn without_copies_whoever_dies_ends_the_run_by_name() {
    let mut lost = troubled(3, crash(1, None));
    lost.outline.replication = Replication::Off;
    for choice in [server(Placement::Colocated, BSP), ALL_REDUCE] {
        let job = team_job(&lost, choice).expect("sound");
        let stopped = simulate_team(&lost, choice, &mut HashTeam::new(&job));
        let Err(TeamFault::Stopped { reason, .. }) = stopped else {
            panic!("it goes on without what is lost");
        };
        assert!(reason.contains("device 1"), "{reason}");
    }
}

#[test]
fn whenever_and_whoever_dies_a_run_comes_to_its_end() {
    let mut anew = 0;
    for seed in 0..240 {
        let mut draws = Draws::new(seed, 9);
        let choices = choices();
        let choice = choices[(draws.unit() * choices.len() as f64) as usize];
        let mut lost = troubled(seed, crash(0, None));
        let losses = 1 + (draws.unit() * 3.0) as usize;
        lost.faults = (0..losses)
            .map(|_| Fault {
                at_seconds: draws.unit() * 30.0,
                what: crash((draws.unit() * 4.0) as usize, Some(draws.unit() * 9.0)),
            })
            .collect();
        lost.faults
            .sort_by(|one, other| one.at_seconds.total_cmp(&other.at_seconds));
        let job = team_job(&lost, choice).expect("sound");
        match simulate_team(&lost, choice, &mut HashTeam::new(&job)) {
            // Whoever had a part and whoever had its copies died before there were others: then all begin anew.
            Ok(outcome) => {
                let from_nothing = outcome
                    .recoveries
                    .iter()
                    .any(|it| it.reason.contains("begins anew"));
                anew += u32::from(from_nothing);
            }
            Err(error) => panic!("seed {seed}, {choice:?}, {:?}: {error}", lost.faults),
        }
    }
    assert!((1..60).contains(&anew), "{anew}");
}
