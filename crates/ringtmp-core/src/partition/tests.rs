use super::*;
use crate::codec::{CodecChoice, TensorCodec};
use crate::plan::LayerCost;
use crate::schedule::{Limits, Mode, ScheduleSpec};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

fn layer(flops: f64) -> LayerCost {
    LayerCost {
        flops: [flops, 0.0, 0.0],
        parameters: 0,
        output_bytes: 0,
        stash_bytes: 0,
    }
}

/// Peers whose speeds are given, with free links and unknown memory, in `sync` with as many micro-batches as are ever of use.
pub(super) fn problem(flops: &[f64], speeds: &[f64]) -> Problem {
    let layers: Vec<LayerCost> = flops.iter().map(|flops| layer(*flops)).collect();
    let device = |speed: &f64| Device {
        layer_seconds: layers
            .iter()
            .map(|layer| layer.flops.map(|flops| flops / speed))
            .collect(),
        memory_bytes: None,
        on_medium: false,
    };
    Problem {
        devices: speeds.iter().map(device).collect(),
        layers,
        schedule: ScheduleSpec::new(Mode::Sync, 1),
        micro_batches: 64,
        hops: Hops::default(),
        codec: CodecChoice::F32,
        sample_bytes: 0,
        medium_bytes_per_second: None,
        keeps_copies: false,
    }
}

fn arranged(problem: &Problem) -> Arrangement {
    arrange(problem).expect("it fits").arrangement
}

/// Shows every order of every set of peers with every cut.
pub(super) fn every_arrangement(problem: &Problem, see: &mut impl FnMut(&states::Shards)) {
    fn extend(
        problem: &Problem,
        shards: &mut states::Shards,
        see: &mut impl FnMut(&states::Shards),
    ) {
        let from = shards.last().map_or(0, |(_, layers)| layers.end);
        if from == problem.layers.len() {
            return see(shards);
        }
        for device in 0..problem.devices.len() {
            if shards.iter().any(|(taken, _)| *taken == device) {
                continue;
            }
            for end in from + 1..=problem.layers.len() {
                shards.push((device, from..end));
                extend(problem, shards, see);
                shards.pop();
            }
        }
    }
    extend(problem, &mut Vec::new(), see);
}

/// Of all there are, each assessed like a candidate.
fn best_by_force(problem: &Problem) -> Option<f64> {
    let codecs: &[TensorCodec] = match problem.codec {
        CodecChoice::F32 => &[TensorCodec::F32],
        CodecChoice::F16 => &[TensorCodec::F16],
        CodecChoice::Int8 => &[TensorCodec::Int8],
        CodecChoice::Auto => &[TensorCodec::F16, TensorCodec::Int8],
    };
    let mut best: Option<f64> = None;
    every_arrangement(problem, &mut |shards| {
        for codec in codecs {
            if let Ok(arrangement) = problem.assess(shards, vec![*codec; shards.len() - 1]) {
                let seconds = arrangement.seconds;
                best = Some(best.map_or(seconds, |best| best.min(seconds)));
            }
        }
    });
    best
}

prop_compose! {
    /// Unequal peers, links and layers; memory that often does not do; sometimes a shared medium.
    pub(super) fn small_problem()(
        layers in prop::collection::vec((1u8..20, 0u8..50, 0u16..400, 0u16..200), 1..6),
        devices in prop::collection::vec((1u8..9, prop::option::of(200u64..8000), any::<bool>()), 1..5),
        links in prop::collection::vec((0u8..8, prop::option::of(20u16..500)), 10),
        mode in prop::sample::select(Mode::ALL.to_vec()),
        micro_batches in 1u16..33,
        codec in prop::sample::select(CodecChoice::ALL.to_vec()),
        sample_bytes in 0u16..100,
        medium in prop::option::weighted(0.3, 50u16..2000),
    ) -> Problem {
        let layers: Vec<LayerCost> = layers
            .iter()
            .map(|(flops, parameters, output, stash)| LayerCost {
                flops: [1.0, 1.0, 0.5].map(|share| share * f64::from(*flops)),
                parameters: u64::from(*parameters),
                output_bytes: u64::from(*output),
                stash_bytes: u64::from(*stash),
            })
            .collect();
        let mut hops = Hops::default();
        let pairs = (0..5).flat_map(|one| (0..one).map(move |other| (one, other)));
        for ((one, other), (delay, rate)) in pairs.zip(links) {
            hops.set(one, other, Hop {
                delay_seconds: f64::from(delay),
                bytes_per_second: rate.map(f64::from),
            });
        }
        let device = |(speed, memory_bytes, on_medium): &(u8, Option<u64>, bool)| Device {
            layer_seconds: layers
                .iter()
                .map(|layer| layer.flops.map(|flops| flops / f64::from(*speed)))
                .collect(),
            memory_bytes: *memory_bytes,
            on_medium: *on_medium,
        };
        Problem {
            devices: devices.iter().map(device).collect(),
            layers,
            schedule: ScheduleSpec::new(mode, 1),
            micro_batches,
            hops,
            codec,
            sample_bytes: u64::from(sample_bytes),
            medium_bytes_per_second: medium.map(f64::from),
            keeps_copies: false,
        }
    }
}

/// The same cases every time.
#[test]
fn an_arrangement_is_within_five_percent_of_the_best_there_is() {
    let (alone, left_out, refused) = compared_with_force(1000);
    assert!(
        alone < 500 && left_out > 200 && refused > 20,
        "{alone} {left_out} {refused}"
    );
}

#[test]
#[ignore = "half a minute in a release build: cargo test --release -p ringtmp-core --lib partition -- --ignored"]
fn of_20_000_arrangements_all_are_within_five_percent_of_the_best_there_is() {
    compared_with_force(20_000);
}

/// How many of so many arrangements are of one peer, how many leave one out, and how many problems are refused.
fn compared_with_force(cases: usize) -> (usize, usize, usize) {
    let mut runner = TestRunner::deterministic();
    let (mut alone, mut left_out, mut refused) = (0, 0, 0);
    for case in 0..cases {
        let tree = small_problem().new_tree(&mut runner);
        let problem = tree.expect("numbers are drawn").current();
        match (arrange(&problem), best_by_force(&problem)) {
            (Ok(planned), Some(best)) => {
                let found = planned.arrangement;
                assert!(
                    found.seconds <= 1.05 * best,
                    "case {case}: {found:?} where {best} can be had by {problem:?}"
                );
                alone += usize::from(found.order.len() == 1);
                left_out += usize::from(found.order.len() < problem.devices.len());
            }
            (Err(no_fit), None) => {
                assert!(!no_fit.lacks.is_empty());
                refused += 1;
            }
            (found, best) => {
                panic!("case {case}: {found:?} where {best:?} can be had by {problem:?}")
            }
        }
    }
    (alone, left_out, refused)
}

#[test]
fn only_the_hop_that_would_hold_up_the_others_is_written_in_8_bits() {
    let mut problem = problem(&[1.0; 6], &[1.0; 3]);
    problem.codec = CodecChoice::Auto;
    for layer in &mut problem.layers {
        layer.output_bytes = 4000;
    }
    // In 16 bits 2.5 seconds, where each of the three computes for 2.
    let slow = Hop {
        delay_seconds: 0.0,
        bytes_per_second: Some(800.0),
    };
    problem.hops.set(0, 1, slow);
    problem.hops.set(0, 2, slow);
    let found = arranged(&problem);
    assert!((found.seconds - 2.0).abs() < 1e-9, "{found:?}");
    assert_ne!(found.order[1], 0, "one slow link is enough");
    let from_or_to_it = |codecs: &[TensorCodec]| {
        let near = usize::from(found.order[0] != 0);
        (codecs[near], codecs[1 - near])
    };
    let told = (TensorCodec::Int8, TensorCodec::F16);
    assert_eq!(from_or_to_it(&found.codecs), told);
    let settled = settle(&problem, &found.shards());
    assert_eq!(settled.as_ref(), Ok(&found));
    problem.codec = CodecChoice::F16;
    let exact = settle(&problem, &found.shards()).expect("it fits");
    assert!((exact.seconds - 2.5).abs() < 1e-9, "{exact:?}");
}

proptest! {
    #[test]
    fn no_other_cut_loads_the_busiest_of_equal_peers_less(
        flops in prop::collection::vec(1u8..50, 1..9),
        peers in 1usize..10,
    ) {
        let flops: Vec<f64> = flops.into_iter().map(f64::from).collect();
        let problem = problem(&flops, &vec![1.0; peers]);
        let found = arranged(&problem);
        prop_assert!(found.seconds <= best_cut_by_force(&flops, peers.min(flops.len())) * (1.0 + SKIP_GAIN));
        prop_assert_eq!(found.cuts.len(), found.order.len() + 1);
        prop_assert!(found.cuts.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert_eq!(found.cuts.last().map(|cut| usize::from(*cut)), Some(flops.len()));
        prop_assert_eq!(found.order.len(), peers.min(flops.len()), "all take part");
    }
}

proptest! {
    /// What devices tell is remote input: within what is believed at all ([`crate::profile`]) it may be anything.
    #[test]
    fn whatever_devices_claim_a_plan_is_sound_or_refused_by_name(
        layers in prop::collection::vec((0u32..40, 0u32..64, 0u32..64, 0u32..64), 1..7),
        devices in prop::collection::vec(
            (prop::option::of(0u32..64), -40i32..10, any::<bool>()), 1..6),
        links in prop::collection::vec((-20i32..10, prop::option::of(0i32..60)), 15),
        mode in prop::sample::select(Mode::ALL.to_vec()),
        micro_batches in prop::sample::select(vec![1, 2, 32, u16::MAX]),
        samples in prop::sample::select(vec![1, 16, u32::MAX]),
        codec in prop::sample::select(CodecChoice::ALL.to_vec()),
        medium in prop::option::of(0i32..60),
    ) {
        let layers: Vec<LayerCost> = layers
            .iter()
            .map(|(flops, parameters, output, stash)| LayerCost {
                flops: [f64::from(*flops).exp2(); 3],
                parameters: 1 << parameters,
                output_bytes: 1 << output,
                stash_bytes: 1 << stash,
            })
            .collect();
        let device = |(memory, speed, on_medium): &(Option<u32>, i32, bool)| Device {
            layer_seconds: layers
                .iter()
                .map(|layer| layer.flops.map(|flops| (flops.log2() * f64::from(*speed)).exp2().min(1000.0)))
                .collect(),
            memory_bytes: memory.map(|bits| 1 << bits),
            on_medium: *on_medium,
        };
        let mut hops = Hops::default();
        let pairs = (0..6).flat_map(|one| (0..one).map(move |other| (one, other)));
        for ((one, other), (delay, rate)) in pairs.zip(links) {
            hops.set(one, other, Hop {
                delay_seconds: f64::from(delay).exp2().min(1000.0),
                bytes_per_second: rate.map(|rate| f64::from(rate).exp2()),
            });
        }
        hops.guess_unknown();
        let problem = Problem {
            devices: devices.iter().map(device).collect(),
            schedule: ScheduleSpec::new(mode, samples),
            micro_batches,
            hops,
            codec,
            sample_bytes: 1 << 40,
            medium_bytes_per_second: medium.map(|rate| f64::from(rate).exp2()),
            keeps_copies: false,
            layers,
        };
        match arrange_together(&problem) {
            Ok(found) => {
                let shards = found.shards();
                prop_assert!(found.seconds.is_finite() && found.seconds >= 0.0, "{:?}", found);
                prop_assert_eq!(found.cuts.first(), Some(&0));
                prop_assert_eq!(found.cuts.last().map(|cut| usize::from(*cut)), Some(problem.layers.len()));
                prop_assert!(found.cuts.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(found.limits.iter().all(Limits::are_sane), "{:?}", found);
                prop_assert_eq!(found.codecs.len() + 1, shards.len());
            }
            Err(no_fit) => prop_assert!(!no_fit.lacks.is_empty()),
        }
    }
}

/// The least that the busiest of equal stages can have to do, by recursion.
fn best_cut_by_force(flops: &[f64], stages: usize) -> f64 {
    if stages == 1 {
        return flops.iter().sum();
    }
    let first = |k: usize| {
        let rest = best_cut_by_force(&flops[k..], stages - 1);
        flops[..k].iter().sum::<f64>().max(rest)
    };
    let ends = 1..=flops.len() + 1 - stages;
    ends.map(first).fold(f64::INFINITY, f64::min)
}

#[test]
fn the_default_model_gives_each_of_three_peers_a_matrix() {
    let flops = [784.0 * 256.0, 256.0, 256.0 * 128.0, 128.0, 1280.0];
    let found = arranged(&problem(&flops, &[1.0; 3]));
    assert_eq!(found.cuts, [0, 1, 3, 5]);
    assert_eq!(found.order, [0, 1, 2]);
}

#[test]
fn a_fast_peer_gets_more_layers_than_slow_ones() {
    let found = arranged(&problem(&[1.0; 12], &[1.0, 4.0, 1.0]));
    let place = found
        .order
        .iter()
        .position(|device| *device == 1)
        .expect("it takes part");
    assert_eq!(found.cuts[place + 1] - found.cuts[place], 8);
    assert!((found.seconds - 2.0).abs() < 1e-9);
}

#[test]
fn a_peer_is_left_out_only_where_that_gains_more_than_a_few_percent() {
    // A hundredth as fast, and a layer cannot be divided.
    let useless = arranged(&problem(&[1.0; 8], &[1.0, 0.01, 1.0]));
    assert_eq!(useless.order.len(), 2);
    // It could be done without, but does no harm.
    let harmless = arranged(&problem(&[4.0, 1.0, 1.0], &[1.0, 0.5, 1.0]));
    assert_eq!(harmless.order.len(), 3);
}

#[test]
fn a_link_that_is_slow_is_avoided() {
    let mut problem = problem(&[1.0; 6], &[1.0; 3]);
    for layer in &mut problem.layers {
        layer.output_bytes = 100;
    }
    let slow = Hop {
        delay_seconds: 0.0,
        bytes_per_second: Some(10.0),
    };
    problem.hops.set(0, 1, slow);
    let found = arranged(&problem);
    assert_eq!(
        found.order[1], 2,
        "between the two that hear each other badly"
    );
    assert!((found.seconds - 2.0).abs() < 1e-9);
}

#[test]
fn stations_of_one_medium_send_no_more_than_fits_into_the_air() {
    let mut problem = problem(&[1.0; 6], &[1.0; 3]);
    for (boundary, layer) in problem.layers.iter_mut().enumerate() {
        layer.output_bytes = if boundary == 3 { 10 } else { 100 };
    }
    for device in &mut problem.devices {
        device.on_medium = true;
    }
    // Two hops of 100 bytes, there and back, twice through the air: 8 seconds. One cut, where little crosses it: 0.4.
    problem.medium_bytes_per_second = Some(100.0);
    let found = arranged(&problem);
    assert_eq!(found.order.len(), 2);
    assert!((found.seconds - 4.0).abs() < 1e-9);
}

#[test]
fn memory_that_clamps_a_credit_counts_as_time() {
    let mut problem = problem(&[1.0; 4], &[1.0; 2]);
    problem.schedule.mode = Mode::TwoVersions;
    let far = Hop {
        delay_seconds: 10.0,
        bytes_per_second: None,
    };
    problem.hops = Hops::all(far);
    for layer in &mut problem.layers {
        layer.stash_bytes = 100;
    }
    let mut arranged_with = |memory_bytes: u64| {
        for device in &mut problem.devices {
            device.memory_bytes = Some(memory_bytes);
        }
        arranged(&problem)
    };
    // Far apart, with place for two micro-batches on their way and one put off.
    let clamped = arranged_with(600);
    let round_trip = 4.0 + 20.0;
    assert_eq!(clamped.limits[0].credit, 2);
    assert!((clamped.seconds - round_trip / 2.0).abs() < 1e-9);
    // With fewer layers the head has place for as many as it takes.
    let uneven = arranged_with(1000);
    assert_eq!(uneven.cuts, [0, 1, 4]);
    assert!((uneven.seconds - 3.0).abs() < 1e-9, "{uneven:?}");
    let even = arranged_with(1 << 20);
    assert_eq!(even.cuts, [0, 2, 4]);
    assert!((even.seconds - 2.0).abs() < 1e-9);
}

#[test]
fn a_model_that_fits_nowhere_is_refused_with_who_lacks_how_much() {
    let mut problem = problem(&[1.0; 2], &[1.0; 2]);
    for layer in &mut problem.layers {
        layer.parameters = 1_000_000;
    }
    // Weights, gradients and one number of the optimizer: 12 MB a layer.
    problem.devices[0].memory_bytes = Some(20_000_000);
    problem.devices[1].memory_bytes = Some(5_000_000);
    let no_fit =
        arrange(&problem).expect_err("24 MB do not fit into 25 that are divided like this");
    let lacks = &no_fit.lacks;
    assert_eq!(lacks.len(), 1);
    assert_eq!(lacks[0].needed_bytes - lacks[0].memory_bytes, 4_000_000);
    assert_eq!(
        lacks[0].device, 0,
        "it lacks less with both layers than the other with one"
    );
    assert!(
        no_fit.to_string().contains("device 1 lacks 4.0 MB"),
        "{no_fit}"
    );
}

#[test]
fn planning_for_64_peers_and_500_layers_weighs_few_enough_shards_for_a_tenth_of_a_second() {
    // Some speeds and links of everything between 1 and 16.
    let unequal = |i: usize| 1.0 + ((i * 7919) % 97) as f64 / 6.5;
    let speeds: Vec<f64> = (0..64).map(unequal).collect();
    let flops: Vec<f64> = (0..500).map(unequal).collect();
    let mut problem = problem(&flops, &speeds);
    for layer in &mut problem.layers {
        layer.output_bytes = 1000;
    }
    for one in 0..64 {
        for other in 0..one {
            problem.hops.set(
                one,
                other,
                Hop {
                    delay_seconds: 0.01,
                    bytes_per_second: Some(1000.0 * unequal(one * 64 + other)),
                },
            );
        }
    }
    let planned = arrange(&problem).expect("it fits");
    let (evaluations, seconds) = (planned.evaluations, planned.arrangement.seconds);
    assert!(evaluations <= 4 * search::EVALUATIONS_MAX, "{evaluations}");
    let all_together: f64 = flops.iter().sum::<f64>() / speeds.iter().sum::<f64>();
    assert!(
        seconds <= 1.2 * all_together,
        "{seconds} where {all_together} is the least"
    );
}
