use crate::any::{Tally, random, spoil};
use crate::check::{Complaint, compare, simulate_checked};
use crate::compute::HashStage;
use crate::planted::Bug;
use crate::scenario::{Fault, FaultKind, Loss, Scenario};
use crate::world::{SimulationError, World};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::partition::{Hop, Hops};
use ringtmp_core::schedule::{DataSource, Limits, Mode};
use ringtmp_core::signal::Replication;
use std::ops::Range;

/// All seeds, or the one to replay.
fn seeds() -> Range<u64> {
    match std::env::var("RINGTMP_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("RINGTMP_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..1000,
    }
}

/// Says how to replay a seed that fails, also where it is a node that panics.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!("replay it: RINGTMP_SEED={seed} cargo test -p ringtmp-sim a_thousand");
        }
    }
}

#[test]
fn a_thousand_random_rings_pass_every_check() {
    let (mut refused, mut stopped) = (0, 0);
    for seed in seeds() {
        let _replay = Replay(seed);
        let scenario = random(seed);
        match simulate_checked(&scenario) {
            Ok(_) => {}
            Err(SimulationError::Refused { reason, .. }) => {
                assert!(
                    reason.contains("lacks") || reason.contains("samples"),
                    "seed {seed}: {reason}"
                );
                refused += 1;
            }
            Err(SimulationError::Stopped { .. }) if !scenario.losses.is_empty() => stopped += 1,
            Err(error) => panic!("{error}"),
        }
    }
    if seeds().count() == 1 {
        return;
    }
    assert!(
        (1..250).contains(&refused),
        "{refused} were refused for want of memory"
    );
    assert!(
        (20..200).contains(&stopped),
        "{stopped} stopped for want of a connection"
    );
}

#[test]
fn a_thousand_rings_in_which_things_go_wrong_pass_every_check() {
    let mut tally = Tally::default();
    for seed in seeds() {
        let _replay = Replay(seed);
        tally.add(seed).unwrap_or_else(|error| panic!("{error}"));
    }
    println!("{tally:?}");
    if seeds().count() > 1 {
        assert!(tally.recovered > 180 && tally.moved > 120, "{tally:?}");
        assert!(tally.from_disks > 30 && tally.stopped < 200, "{tally:?}");
    }
}

#[test]
fn a_seed_replays_its_run_exactly_and_another_seed_another_run() {
    for mode in Mode::ALL {
        let mut scenario = Scenario::equal(4, mode, 8, 4, 1.0);
        scenario.jitter = 0.6;
        let run = |scenario: &Scenario| simulate_checked(scenario).expect("a sound run");
        let (first, again) = (run(&scenario), run(&scenario));
        assert_eq!(first.trace, again.trace);
        assert_eq!(first.digests, again.digests);
        scenario.seed = 2;
        let other = run(&scenario);
        assert_ne!(first.trace, other.trace);
        let alike = first.digests == other.digests;
        assert_eq!(
            alike,
            mode != Mode::Async,
            "{mode}: jitter changes weights in async alone"
        );
    }
}

fn complaint_about(bug: Bug, scenario: &Scenario) -> Option<SimulationError> {
    let mut world = World::new(scenario, HashStage::new);
    world.planted.bug = Some(bug);
    world.open();
    match world.run() {
        Ok(outcome) => compare(scenario, &outcome).err(),
        Err(error) => Some(error),
    }
}

/// A ring of four that keeps versions on disks, and loses all its devices; they go on in another room.
fn all_lost(mode: Mode) -> Scenario {
    let mut scenario = Scenario::equal(4, mode, 8, 40, 1.0);
    scenario.outline.replication = Replication::Every(2);
    scenario.keeps_every = Some(1.0);
    let what = FaultKind::AllLost { seconds: 3.0 };
    let at_seconds = 6.0;
    scenario.faults.push(Fault { at_seconds, what });
    scenario
}

/// A ring of four that keeps versions on disks, and loses some neighbours at once, of whom the first may return.
fn neighbours_lost(
    mode: Mode,
    first: usize,
    count: usize,
    first_returns_after: Option<f64>,
) -> Scenario {
    let mut scenario = all_lost(mode);
    scenario.faults.clear();
    for device in (first..first + count).map(|device| device % 4) {
        let what = FaultKind::Crash {
            device,
            returns_after: first_returns_after.filter(|_| device == first),
            noticed: true,
        };
        let at_seconds = 6.0;
        scenario.faults.push(Fault { at_seconds, what });
    }
    scenario
}

#[test]
fn a_ring_that_loses_owner_and_buddy_goes_on_without_waiting_from_the_disk_of_a_third() {
    for mode in [Mode::Sync, Mode::TwoVersions] {
        for first in 0..4 {
            let scenario = neighbours_lost(mode, first, 2, None);
            let outcome = simulate_checked(&scenario);
            let outcome = outcome.unwrap_or_else(|error| panic!("{mode} {first}: {error}"));
            assert_eq!(outcome.from_disks, 1, "{mode} {first}");
            let last = outcome.recoveries.last().expect("it was noticed");
            assert!(last.step > 0, "{mode} {first}: {last:?}");
            // Those who are away may be back at once, and are waited for.
            let at_once = last.seconds.is_some_and(|seconds| seconds < 6.0);
            assert!(at_once, "{mode} {first}: {last:?}");
        }
    }
}

#[test]
fn a_ring_that_loses_all_who_keep_a_layer_goes_on_once_one_of_them_is_back_and_until_then_it_waits()
{
    for mode in [Mode::Sync, Mode::TwoVersions] {
        for first in 0..4 {
            let scenario = neighbours_lost(mode, first, 3, Some(5.0));
            let outcome = simulate_checked(&scenario);
            let outcome = outcome.unwrap_or_else(|error| panic!("{mode} {first}: {error}"));
            let last = outcome.recoveries.last().expect("it was noticed");
            assert!(last.step > 0, "{mode} {first}: {last:?}");
            let waited = last.seconds.is_some_and(|seconds| seconds > 5.0);
            assert!(waited, "{mode} {first}: {last:?}");
            let scenario = neighbours_lost(mode, first, 3, None);
            let Err(SimulationError::Stopped { reason, .. }) = simulate_checked(&scenario) else {
                panic!("{mode} {first}: it does not wait");
            };
            let named = format!("device {first}");
            let waits = reason.contains("waiting for") && reason.contains(&named);
            assert!(waits, "{mode} {first}: {reason}");
        }
    }
}

#[test]
fn a_ring_that_loses_all_its_devices_goes_on_in_another_room_with_what_they_kept() {
    for mode in [Mode::Sync, Mode::TwoVersions] {
        let outcome = simulate_checked(&all_lost(mode)).expect("it goes on");
        assert!(outcome.plan.start.0 > 0, "{mode}: from the beginning");
        assert!(outcome.plan.kept.is_some());
    }
}

/// A ring in which every bug shows.
fn fertile(bug: Bug, mode: Mode) -> Scenario {
    let mut scenario = Scenario::equal(4, mode, 40, 4, 1.0);
    scenario.outline.source = DataSource::Every;
    scenario.outline.schedule.clips_gradients = true;
    if bug == Bug::KeepsAnotherPast {
        // A device sleeps for longer than the others wait for what its memory alone has; it wakes with copies of what they have given up.
        let mut scenario = random(13);
        spoil(&mut scenario, 13);
        scenario.outline.steps = 6;
        scenario.outline.replication = Replication::Every(1);
        let dies = FaultKind::Crash {
            device: 1,
            returns_after: Some(0.2),
            noticed: true,
        };
        let sleeps = FaultKind::Pause {
            device: 2,
            seconds: 24.0,
        };
        let fault = |at_seconds, what| Fault { at_seconds, what };
        scenario.faults = vec![fault(17.3, dies), fault(18.3, sleeps)];
        return scenario;
    }
    if bug == Bug::LoadsAnotherVersion {
        return all_lost(mode);
    }
    if bug.is_about_losses() {
        scenario.outline.steps = 12;
        scenario.outline.replication = Replication::Every(2);
        let what = match bug {
            Bug::LeavesAtOnce => {
                // Seldom enough for something to be lost.
                scenario.outline.replication = Replication::Every(5);
                FaultKind::HandOn { device: 1 }
            }
            Bug::LosesCopiesWithGpu => FaultKind::GpuLost { device: 1 },
            _ => FaultKind::Crash {
                device: 0,
                returns_after: None,
                noticed: true,
            },
        };
        let at_seconds = 8.0;
        scenario.faults.push(Fault { at_seconds, what });
    }
    if bug == Bug::NeverAcknowledges {
        scenario.outline.steps = 200;
        scenario.outline.replication = Replication::Every(2);
    }
    if bug == Bug::MissesStop {
        scenario.losses.push(Loss {
            between: [2, 3],
            at_seconds: 1.0,
        });
    }
    scenario
}

#[test]
fn a_failing_seed_is_named_and_fails_again_alike() {
    let fails = |seed: &u64| {
        let scenario = random(*seed);
        let [first, again] = [(); 2].map(|()| complaint_about(Bug::SkipsWeights, &scenario));
        assert_eq!(first, again);
        let Some(error @ SimulationError::Wrong { .. }) = first else {
            return false;
        };
        assert!(
            error.to_string().starts_with(&format!("seed {seed}: ")),
            "{error}"
        );
        true
    };
    let failures = (0..100).filter(fails).count();
    assert!(failures > 20, "{failures}");
}

#[test]
fn every_planted_bug_is_caught_by_the_checker_that_it_is_for() {
    for mode in [Mode::Sync, Mode::TwoVersions] {
        for bug in Bug::ALL {
            let error = complaint_about(bug, &fertile(bug, mode))
                .unwrap_or_else(|| panic!("{bug:?} in {mode} was not caught"));
            let SimulationError::Wrong { complaint, .. } = &error else {
                panic!("{bug:?} in {mode}: {error}");
            };
            let right = match bug {
                Bug::SkipsWeights | Bug::RepeatsWeights | Bug::SwapsWeights => {
                    matches!(complaint, Complaint::NotOnceInOrder { stage: 1, .. })
                }
                Bug::StaleWeights | Bug::OtherWeightsInBackward => {
                    matches!(complaint, Complaint::Digest { .. })
                }
                Bug::LosesGradient => {
                    matches!(
                        complaint,
                        Complaint::Accused {
                            device: 1,
                            by: 0,
                            ..
                        }
                    )
                }
                Bug::LosesCopies | Bug::SecuresEarly => {
                    matches!(complaint, Complaint::NotTwice { holders: 1, .. })
                }
                Bug::CopiesLate
                | Bug::DrawsAsBefore
                | Bug::KeepsAnotherPast
                | Bug::LoadsAnotherVersion => {
                    matches!(complaint, Complaint::Digest { .. })
                }
                Bug::LeavesAtOnce => {
                    matches!(complaint, Complaint::MadeAgain { steps } if *steps > 0)
                }
                Bug::LosesCopiesWithGpu => matches!(complaint, Complaint::Digest { .. }),
                Bug::HidesCopies => matches!(complaint, Complaint::StableGivenUp { .. }),
                Bug::ForgetsNothing => {
                    matches!(complaint, Complaint::TooManyCopies { device: 1, .. })
                }
                Bug::NeverAcknowledges => {
                    matches!(
                        complaint,
                        Complaint::Accused {
                            device: 1,
                            by: 0,
                            ..
                        }
                    )
                }
                Bug::RepeatsSum => matches!(complaint, Complaint::Accused { device: 1, .. }),
                Bug::MissesStop => matches!(complaint, Complaint::GoesOn { device: 1 }),
                Bug::IgnoresCredit => matches!(
                    complaint,
                    Complaint::OverCredit { stage: 1, .. } | Complaint::Slot { stage: 1, .. }
                ),
                Bug::SharesSlot => matches!(complaint, Complaint::Slot { stage: 1, slot: 0 }),
                Bug::Dawdles => matches!(
                    complaint,
                    Complaint::Late { .. } | Complaint::StandsStill { .. }
                ),
                Bug::RepeatsSamples => matches!(
                    complaint,
                    Complaint::SamplesNotInTurn {
                        stage: 3,
                        source_index: 1,
                        ..
                    }
                ),
                Bug::SkipsTurn => matches!(
                    complaint,
                    Complaint::SamplesNotInTurn {
                        stage: 2,
                        source_index: 1,
                        ..
                    }
                ),
                Bug::FloodsSamples => matches!(complaint, Complaint::SamplesWaiting { .. }),
                Bug::DrawsOthers | Bug::AddsInAnotherOrder => {
                    matches!(complaint, Complaint::Digest { .. })
                }
                Bug::UpdatesEarly => matches!(
                    complaint,
                    Complaint::EarlyUpdate {
                        stage: 1,
                        step: 1,
                        ..
                    }
                ),
            };
            assert!(right, "{bug:?} in {mode}: {complaint}");
        }
    }
}

#[test]
fn whoever_leaves_on_purpose_costs_no_step_and_a_gpu_that_is_lost_no_device() {
    for mode in Mode::ALL {
        for device in 0..4 {
            let run = |what| {
                let mut scenario = Scenario::equal(4, mode, 40, 12, 1.0);
                scenario.outline.replication = Replication::Every(3);
                let at_seconds = 8.0;
                scenario.faults.push(Fault { at_seconds, what });
                simulate_checked(&scenario).unwrap_or_else(|error| panic!("{mode}: {error}"))
            };
            let left = run(FaultKind::HandOn { device });
            let [recovery] = &left.recoveries[..] else {
                panic!("{mode}, {device}: {:?}", left.recoveries);
            };
            let words = format!("device {device} hands its layers on and leaves");
            assert_eq!((&recovery.reason, recovery.repeated), (&words, 0), "{mode}");
            assert!(recovery.step > 0, "{mode}, {device}: {recovery:?}");
            assert!(!recovery.taken.is_empty(), "somebody has its layers");
            assert!(left.order.len() == 3 && !left.order.contains(&device));
            let lost = run(FaultKind::GpuLost { device });
            let [recovery] = &lost.recoveries[..] else {
                panic!("{mode}, {device}: {:?}", lost.recoveries);
            };
            assert!(recovery.step > 0 && recovery.moved == 0, "{recovery:?}");
            assert_eq!(lost.order.len(), 4, "it is still there");
        }
    }
}

#[test]
fn limits_for_which_a_device_has_no_memory_are_caught() {
    let mut scenario = Scenario::equal(2, Mode::Sync, 8, 2, 0.0);
    let given = 2_000_000;
    for device in &mut scenario.devices {
        device.memory_bytes = Some(given);
    }
    let limits = Limits {
        credit: 64,
        weights_pending: 32,
        slots: 96,
    };
    scenario.limits = Some(vec![limits; 2]);
    let error = simulate_checked(&scenario).expect_err("96 places take 1.6 MB beside the weights");
    let SimulationError::Wrong { complaint, .. } = &error else {
        panic!("{error}");
    };
    assert!(
        matches!(complaint, Complaint::Memory { stage: 0, bytes_max, .. } if *bytes_max == given),
        "{complaint}"
    );
}

#[test]
fn a_connection_that_breaks_stops_the_ring_by_name_and_others_are_not_missed() {
    let run = |between, at_seconds| {
        let mut scenario = Scenario::equal(4, Mode::Sync, 8, 20, 1.0);
        scenario.losses.push(Loss {
            between,
            at_seconds,
        });
        simulate_checked(&scenario)
    };
    let whole = simulate_checked(&Scenario::equal(4, Mode::Sync, 8, 20, 1.0)).expect("a sound run");
    // Before it is made, in training, and the one that closes the ring.
    for (between, at_seconds) in [([1, 2], 0.0), ([2, 1], 1.0), ([3, 0], 1.0)] {
        let error = run(between, at_seconds).expect_err("no ring without it");
        let SimulationError::Stopped {
            seconds, reason, ..
        } = &error
        else {
            panic!("{error}");
        };
        assert!(reason.ends_with(": the connection was lost"), "{reason}");
        let [one, other] = between;
        let named = [(one, other), (other, one)].map(|(from, to)| {
            let words = format!("device {from}: link to stage {}", to + 1);
            reason.starts_with(&words)
        });
        assert!(named.contains(&true), "{reason}");
        // A message to the room takes a millisecond; getting ready a few, and a hop.
        let at_most = if at_seconds == 0.0 { 0.05 } else { 1.0015 };
        assert!((at_seconds..at_most).contains(seconds), "{error}");
    }
    // Between strangers, and after the end.
    for (between, at_seconds) in [([0, 2], 1.0), ([1, 2], 1000.0)] {
        let outcome = run(between, at_seconds).expect("a ring as whole as before");
        assert_eq!(outcome.trace, whole.trace);
        assert_eq!(outcome.digests, whole.digests);
    }
}

#[test]
fn an_impossible_scenario_is_refused_with_the_reason() {
    let refused = |change: fn(&mut Scenario)| {
        let mut scenario = Scenario::equal(3, Mode::Sync, 4, 2, 0.0);
        change(&mut scenario);
        let error = simulate_checked(&scenario).expect_err("impossible");
        assert!(matches!(error, SimulationError::Scenario(_)), "{error}");
        error.to_string()
    };
    assert!(refused(|scenario| scenario.jitter = 2.0).contains("jitter"));
    assert!(refused(|scenario| scenario.jitter = f64::NAN).contains("jitter"));
    assert!(refused(|scenario| scenario.devices.clear()).contains("0 devices"));
    assert!(refused(|scenario| scenario.devices[1].flops_per_second[0] = 0.0).contains("speed"));
    let late = |scenario: &mut Scenario| {
        let link = Hop {
            delay_seconds: -1.0,
            bytes_per_second: None,
        };
        scenario.links.set(0, 1, link);
    };
    assert!(refused(late).contains("delay"));
    let slow = |scenario: &mut Scenario| {
        let link = Hop {
            delay_seconds: 0.0,
            bytes_per_second: Some(0.0),
        };
        scenario.links = Hops::all(link);
    };
    assert!(refused(slow).contains("rate"));
    for between in [[1, 1], [0, 3]] {
        let mut scenario = Scenario::equal(3, Mode::Sync, 4, 2, 0.0);
        scenario.losses.push(Loss {
            between,
            at_seconds: 1.0,
        });
        let error = simulate_checked(&scenario).expect_err("impossible");
        assert!(error.to_string().contains("lost connection"), "{error}");
    }
}

#[test]
fn bytes_on_links_follow_the_codec() {
    let bytes = |codec| {
        let mut scenario = Scenario::equal(3, Mode::Sync, 4, 5, 0.0);
        scenario.outline.codec = codec;
        let outcome = simulate_checked(&scenario).expect("a sound run");
        outcome
            .stages
            .iter()
            .map(|stage| stage.bytes_sent)
            .sum::<u64>()
    };
    // Two hops, both ways, 4 micro-batches of 5 steps, 4096 bytes in 32 bits; beside them headers.
    let exact = 2 * 2 * 4 * 5 * 4096;
    let choices = [CodecChoice::F32, CodecChoice::Auto, CodecChoice::Int8];
    for (choice, tensors) in choices
        .into_iter()
        .zip([exact, exact / 2, exact / 4 + exact / 32])
    {
        let sent = bytes(choice);
        assert!(
            sent > tensors && sent < tensors + 20_000,
            "{choice}: {sent} for {tensors}"
        );
    }
}

/// How often the ring is put together anew for this.
fn recoveries_for(what: FaultKind) -> usize {
    let mut scenario = Scenario::equal(3, Mode::Sync, 4, 200, 0.1);
    scenario.outline.replication = Replication::Every(2);
    let at_seconds = 2.0;
    scenario.faults.push(Fault { at_seconds, what });
    let outcome = simulate_checked(&scenario).expect("the run ends");
    outcome.recoveries.len()
}

#[test]
fn a_link_that_is_silent_for_seconds_costs_nothing_while_the_device_answers_the_server() {
    let silent = |seconds| FaultKind::OneWay {
        from: 1,
        to: 2,
        seconds,
    };
    assert_eq!(recoveries_for(silent(6.0)), 0, "it is waited for");
    assert!(recoveries_for(silent(12.0)) > 0, "but not for ever");
    let asleep = FaultKind::Pause {
        device: 1,
        seconds: 6.0,
    };
    assert!(recoveries_for(asleep) > 0, "who does not answer is missed");
    let unplugged = FaultKind::SocketLost {
        device: 1,
        seconds: 9.0,
    };
    assert_eq!(recoveries_for(unplugged), 0, "its neighbours hear it");
    for forgets in [false, true] {
        let away = FaultKind::ServerLost {
            seconds: 9.0,
            forgets,
        };
        assert_eq!(recoveries_for(away), 0, "nobody needs it");
    }
}
