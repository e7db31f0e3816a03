use super::*;
use crate::ids::PeerId;
use proptest::prelude::*;

const HEAD: PeerId = PeerId(1);

fn source(stage: u16) -> Source {
    Source {
        peer: PeerId(u64::from(stage) + 1),
        stage: StageIndex(stage),
    }
}

/// A roster of the stages that `which` has bits for; of the head, if of none.
fn roster_of(which: u8, stages: usize, steps: u32, micro_batches: u16) -> Roster {
    let mut sources: Vec<Source> = (0..stages as u16)
        .filter(|stage| which >> stage & 1 == 1)
        .map(source)
        .collect();
    if sources.is_empty() {
        sources.push(source(0));
    }
    Roster {
        sources,
        ..roster(steps, micro_batches, 2)
    }
}
const COST: StageCost = StageCost {
    seconds: [1.0; 3],
    hop_seconds: 0.0,
    transfer_seconds: 0.0,
    parameters: 1,
    stash_bytes: 1,
    input_bytes: 1,
    memory_bytes_max: None,
    copies: 0,
};

fn roster(steps: u32, micro_batches: u16, evaluation_micro_batches: u16) -> Roster {
    Roster {
        head: HEAD,
        sources: vec![source(0)],
        steps,
        micro_batches,
        evaluate_every: 2,
        evaluation_micro_batches,
        first_step: Step(0),
    }
}

fn bounds(mode: Mode, stages: usize, micro_batches: u16) -> Vec<Limits> {
    let cost = StageCost {
        parameters: 10,
        ..COST
    };
    limits(
        &ScheduleSpec::new(mode, 1),
        micro_batches,
        &vec![cost; stages],
    )
}

fn spec(mode: Mode) -> ScheduleSpec {
    ScheduleSpec::new(mode, 1)
}

fn schedule(stage: u16, stages: usize, roster: Roster) -> Schedule {
    let limits = bounds(Mode::Sync, stages, roster.micro_batches);
    Schedule::new(StageIndex(stage), &spec(Mode::Sync), &limits, roster)
}

/// What is on a wire.
enum Message {
    Tensor(Outgoing),
    Sum(SquareSum),
}

/// A ring in memory: every stage picks, every message is delivered, in an order that `choices` decides.
struct Ring {
    stages: Vec<Schedule>,
    running: Vec<Option<Task>>,
    /// Per directed neighbour pair, in order.
    wires: Vec<[VecDeque<Message>; 2]>,
    /// Per stage: micro-batches in the order of their W, and updates.
    log: Vec<Vec<Task>>,
}

impl Ring {
    fn new(spec: ScheduleSpec, stages: usize, roster: Roster) -> Self {
        let limits = bounds(spec.mode, stages, roster.micro_batches);
        let schedule =
            |stage| Schedule::new(StageIndex(stage as u16), &spec, &limits, roster.clone());
        Self {
            stages: (0..stages).map(schedule).collect(),
            running: vec![None; stages],
            wires: (0..stages).map(|_| Default::default()).collect(),
            log: vec![Vec::new(); stages],
        }
    }

    fn send(&mut self, from: usize, out: Option<Outgoing>) {
        let Some(out) = out else { return };
        let wire = usize::from(out.to == Neighbour::Successor);
        self.wires[from][wire].push_back(Message::Tensor(out));
    }

    fn send_sum(&mut self, from: usize, out: Option<SquareSum>) {
        let Some(out) = out else { return };
        let wire = usize::from(out.to == Neighbour::Successor);
        self.wires[from][wire].push_back(Message::Sum(out));
    }

    fn deliver(&mut self, from: usize, direction: usize) -> bool {
        let Some(message) = self.wires[from][direction].pop_front() else {
            return false;
        };
        let (to, side) = if direction == 1 {
            ((from + 1) % self.stages.len(), Neighbour::Predecessor)
        } else {
            (from - 1, Neighbour::Successor)
        };
        let refused = "a correct neighbour is never refused";
        let stage = &mut self.stages[to];
        match message {
            Message::Tensor(out) => {
                let passed_on =
                    stage.arrived(side, out.kind, out.purpose, out.micro_batch, out.payload);
                self.send(to, passed_on.expect(refused));
            }
            Message::Sum(sum) => {
                let passed_on = stage.sum_arrived(sum.kind, sum.step, sum.sum);
                self.send_sum(to, passed_on.expect(refused));
            }
        }
        true
    }

    fn work(&mut self, stage: usize) -> bool {
        if let Some(task) = self.running[stage].take() {
            let drawn = matches!(task, Task::Draw { .. }).then_some(PayloadId(0));
            let out = self.stages[stage].completed(task, drawn);
            self.send(stage, out);
            if matches!(task, Task::Squares { .. }) {
                let squares = self.squares(stage);
                let sum = self.stages[stage].squared(squares);
                self.send_sum(stage, sum);
            }
            self.log[stage].push(task);
            return true;
        }
        self.running[stage] = self.stages[stage].pick();
        self.running[stage].is_some()
    }

    /// Numbers whose sum depends on the order in which they are added.
    fn squares(&self, stage: usize) -> Vec<f64> {
        let parameter = |i: usize| ((3 * stage + i + 1) as f64).sqrt();
        (0..3).map(parameter).collect()
    }

    /// Runs to the end; `choices` decides who moves first.
    fn run(&mut self, choices: &mut impl Iterator<Item = u8>) {
        let n = self.stages.len();
        loop {
            let first = usize::from(choices.next().unwrap_or(0));
            let moves = 3 * n;
            let moved = (0..moves).any(|i| {
                let choice = (first + i) % moves;
                if choice < n {
                    self.work(choice)
                } else {
                    self.deliver((choice - n) / 2, (choice - n) % 2)
                }
            });
            if !moved {
                break;
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_the_order_of_events_every_stage_does_everything_once_and_in_roster_order(
        mode in prop::sample::select(Mode::ALL.to_vec()),
        stages in 1usize..6,
        steps in 1u32..4,
        micro_batches in 1u16..12,
        evaluation in 0u16..4,
        sources in any::<u8>(),
        clips_gradients: bool,
        choices in prop::collection::vec(any::<u8>(), 400),
    ) {
        let roster = Roster {
            evaluation_micro_batches: evaluation,
            ..roster_of(sources, stages, steps, micro_batches)
        };
        let spec = ScheduleSpec { clips_gradients, ..spec(mode) };
        let mut ring = Ring::new(spec, stages, roster);
        let squares: Vec<f64> = (0..stages).flat_map(|stage| ring.squares(stage)).collect();
        let total = squares.iter().rev().fold(0.0, |sum, square| sum + square);
        let total = clips_gradients.then_some(total);
        ring.run(&mut choices.into_iter().cycle().take(100_000));
        for (stage, log) in ring.stages.iter().zip(&ring.log) {
            prop_assert!(stage.is_finished(), "stage {:?} is stuck: {stage:?}", stage.stage);
            let mut expected = Vec::new();
            for step in 0..steps {
                expected.extend((0..micro_batches).map(|sequence| (step, Some(sequence))));
                expected.push((step, None));
            }
            let weights: Vec<(u32, Option<u16>)> = log.iter().filter_map(|task| match task {
                Task::BackwardWeights { micro_batch, .. } => Some((micro_batch.step.0, Some(micro_batch.sequence))),
                Task::Update { step, .. } => Some((step.0, None)),
                Task::Draw { .. } | Task::Forward { .. } | Task::BackwardInput { .. } | Task::Squares { .. } => None,
            }).collect();
            prop_assert_eq!(weights, expected);
            for task in log {
                if let Task::Update { square_sum, .. } = task {
                    prop_assert_eq!(*square_sum, total);
                }
            }
            let slots = usize::from(stage.limits.slots);
            prop_assert_eq!(stage.free.len(), slots, "slots leak");
        }
    }
}

#[test]
fn several_micro_batches_are_in_flight_but_never_more_than_the_credit() {
    let mut head = schedule(0, 3, roster(1, 8, 0));
    let mut forwards = 0;
    while let Some(task) = head.pick() {
        assert!(matches!(task, Task::Forward { .. }));
        forwards += 1;
        assert!(head.completed(task, None).is_some());
    }
    assert_eq!(forwards, bounds(Mode::Sync, 3, 8)[0].credit);
    assert!(forwards > 1);
}

#[test]
fn a_stage_that_flushes_needs_no_more_slots_than_a_step_has_micro_batches() {
    let cost = StageCost {
        hop_seconds: 1.0,
        memory_bytes_max: Some(1 << 30),
        ..COST
    };
    let mut spec = ScheduleSpec::new(Mode::Sync, 1);
    let generous = Limits {
        credit: 32,
        weights_pending: 32,
        slots: 32,
    };
    assert_eq!(limits(&spec, 32, &[cost; 8]), [generous; 8]);
    spec.mode = Mode::TwoVersions;
    let flowing = limits(&spec, 32, &[cost; 8])[0];
    assert_eq!(flowing.slots, flowing.credit + flowing.weights_pending);
}

#[test]
fn a_neighbour_that_breaks_the_order_is_told_so() {
    let mut tail = schedule(1, 2, roster(2, 2, 0));
    let id = |step, sequence| MicroBatchId {
        step: Step(step),
        source: HEAD,
        sequence,
    };
    let mut arrive = |kind, from, id| tail.arrived(from, kind, Purpose::Train, id, None);
    use Neighbour::{Predecessor, Successor};
    use TensorKind::{Activation, Gradient, Release};
    assert_eq!(
        arrive(Activation, Predecessor, id(0, 1)),
        Err(Violation::OutOfOrder {
            kind: Activation,
            step: 0,
            sequence: 1
        })
    );
    assert_eq!(arrive(Activation, Predecessor, id(0, 0)), Ok(None));
    assert!(
        arrive(Activation, Predecessor, id(0, 0)).is_err(),
        "twice the same"
    );
    assert_eq!(
        arrive(Activation, Successor, id(0, 1)),
        Err(Violation::WrongWay { kind: Activation })
    );
    assert_eq!(
        arrive(Gradient, Successor, id(0, 0)),
        Err(Violation::WrongWay { kind: Gradient })
    );
    assert_eq!(
        arrive(Release, Predecessor, id(0, 0)),
        Err(Violation::WrongWay { kind: Release })
    );
}

#[test]
fn a_predecessor_that_floods_is_stopped_at_its_credit() {
    let mut tail = schedule(1, 2, roster(100, 8, 0));
    let roster = roster(100, 8, 0);
    let mut cursor = Cursor::new(&roster);
    let credit = bounds(Mode::Sync, 2, 8)[0].credit;
    for count in 0.. {
        let (purpose, id) = cursor
            .peek(&roster)
            .expect("800 micro-batches are more than any credit");
        cursor.advance(&roster);
        match tail.arrived(
            Neighbour::Predecessor,
            TensorKind::Activation,
            purpose,
            id,
            None,
        ) {
            Ok(_) => assert!(count < credit),
            Err(violation) => {
                assert_eq!(
                    (count, violation),
                    (credit, Violation::OverCredit { credit })
                );
                break;
            }
        }
    }
}

/// The middle of three stages, where all three are sources.
fn middle() -> Schedule {
    let limits = bounds(Mode::Sync, 3, 6);
    Schedule::new(
        StageIndex(1),
        &spec(Mode::Sync),
        &limits,
        roster_of(7, 3, 9, 6),
    )
}

#[test]
fn a_source_draws_its_own_turns_as_far_ahead_as_the_window_and_no_further() {
    let mut source = middle();
    let window = u64::from(bounds(Mode::Sync, 3, 6)[0].credit);
    let draw = |source: &mut Schedule| {
        let mut drawn = Vec::new();
        while let Some(task) = source.pick() {
            let Task::Draw { micro_batch: id } = task else {
                panic!("{task:?} before there is anything else to do")
            };
            let out = source.completed(task, Some(PayloadId(1)));
            let out = out.expect("drawn to be sent");
            assert_eq!(
                (out.to, out.kind),
                (Neighbour::Successor, TensorKind::Samples)
            );
            assert_eq!(id.source, PeerId(2));
            drawn.push(source.roster().deal().number(id.step, id.sequence));
        }
        drawn
    };
    let expected: Vec<u64> = (1..window).step_by(3).collect();
    assert_eq!(draw(&mut source), expected);
    // The head's own first micro-batch has come by and been sent on: the window moves by one.
    let first = source.roster().micro_batch(0).expect("there is one");
    let train = Purpose::Train;
    let arrived = source.arrived(
        Neighbour::Predecessor,
        TensorKind::Activation,
        train,
        first,
        None,
    );
    assert_eq!(arrived, Ok(None));
    let forward = source.pick().expect("F");
    source.completed(forward, None);
    let next = if window % 3 == 1 {
        vec![window]
    } else {
        vec![]
    };
    assert_eq!(draw(&mut source), next);
}

#[test]
fn samples_out_of_turn_from_elsewhere_or_too_far_ahead_are_refused_and_others_passed_on() {
    use Neighbour::{Predecessor, Successor};
    let limits = bounds(Mode::Sync, 3, 6);
    let window = u64::from(limits[0].credit);
    let roster = roster_of(7, 3, 9, 6);
    let tail = || Schedule::new(StageIndex(2), &spec(Mode::Sync), &limits, roster.clone());
    let arrive = |stage: &mut Schedule, from, purpose, number: u64| {
        let id = roster.micro_batch(number).expect("there is one");
        stage.arrived(
            from,
            TensorKind::Samples,
            purpose,
            id,
            Some(PayloadId(number)),
        )
    };
    let train = Purpose::Train;
    let mut good = tail();
    let passed = arrive(&mut good, Predecessor, train, 1);
    let passed = passed.expect("in turn").expect("passed on");
    assert_eq!(passed.to, Successor);
    assert_eq!(passed.payload, Some(PayloadId(1)));
    let out_of_order = |result| matches!(result, Err(Violation::OutOfOrder { .. }));
    // Again; one left out; an evaluation; those of the head, and of the tail itself, which do not come by.
    assert!(out_of_order(arrive(&mut good, Predecessor, train, 1)));
    assert!(out_of_order(arrive(&mut good, Predecessor, train, 7)));
    assert!(out_of_order(arrive(
        &mut tail(),
        Predecessor,
        Purpose::Evaluate,
        1
    )));
    assert!(out_of_order(arrive(&mut tail(), Predecessor, train, 0)));
    assert!(out_of_order(arrive(&mut tail(), Predecessor, train, 2)));
    assert!(matches!(
        arrive(&mut tail(), Successor, train, 1),
        Err(Violation::WrongWay { .. })
    ));
    // A sequence past its step is not the next step's.
    let mut id = roster.micro_batch(7).expect("there is one");
    (id.step, id.sequence) = (Step(0), 7);
    assert!(arrive(&mut good, Predecessor, train, 4).is_ok());
    let shifted = good.arrived(Predecessor, TensorKind::Samples, train, id, None);
    assert!(out_of_order(shifted));
    // A flood is stopped at the first frame too many, at the next stage and at the head.
    let roster = roster_of(2, 3, 9, 6);
    for stage in [2, 0] {
        let mut flooded = Schedule::new(
            StageIndex(stage),
            &spec(Mode::Sync),
            &limits,
            roster.clone(),
        );
        let mut arrive = |number| {
            let id = roster.micro_batch(number).expect("there is one");
            let payload = Some(PayloadId(number));
            flooded.arrived(Predecessor, TensorKind::Samples, train, id, payload)
        };
        assert!((0..window).all(|number| arrive(number).is_ok()));
        let refused = arrive(window);
        assert!(
            matches!(refused, Err(Violation::TooFarAhead { .. })),
            "{refused:?}"
        );
        let held = flooded.payloads().count() as u64;
        assert_eq!(held, if stage == 0 { window } else { 0 });
    }
}

#[test]
fn a_paused_head_finishes_its_step_and_begins_no_other() {
    let mut ring = Ring::new(spec(Mode::Sync), 2, roster(5, 3, 0));
    let pick = ring.work(0);
    assert!(pick);
    ring.stages[0].set_paused(true);
    ring.run(&mut std::iter::repeat(0));
    assert_eq!(ring.stages[0].updates(), Step(1));
    ring.stages[0].set_paused(false);
    ring.run(&mut std::iter::repeat(0));
    assert!(ring.stages[0].is_finished());
}

#[test]
fn with_two_versions_a_step_uses_the_weights_of_one_update_less_and_the_last_evaluation_all() {
    let mut ring = Ring::new(spec(Mode::TwoVersions), 3, roster(4, 3, 1));
    ring.run(&mut std::iter::repeat(0));
    for log in &ring.log {
        let forwards: Vec<(u32, u32)> = log
            .iter()
            .filter_map(|task| match task {
                Task::Forward {
                    micro_batch,
                    version,
                    ..
                } => Some((micro_batch.step.0, version.0)),
                Task::Draw { .. }
                | Task::BackwardInput { .. }
                | Task::BackwardWeights { .. }
                | Task::Squares { .. }
                | Task::Update { .. } => None,
            })
            .collect();
        let mut expected: Vec<(u32, u32)> = Vec::new();
        for (step, version) in [(0, 0), (1, 0), (2, 1), (3, 2)] {
            expected.extend([(step, version); 3]);
        }
        expected.insert(6, (2, 1));
        expected.push((4, 4));
        assert_eq!(forwards, expected);
    }
}

#[test]
fn credits_follow_the_formula_and_memory_cuts_them() {
    let spec = ScheduleSpec::new(Mode::TwoVersions, 1);
    let credits = |hop_seconds, memory_bytes_max| {
        let cost = StageCost {
            hop_seconds,
            parameters: 10,
            stash_bytes: 100,
            input_bytes: 10,
            memory_bytes_max,
            ..COST
        };
        (cost, limits(&spec, 32, &[cost; 8]))
    };
    // R_0 = 16 without delay, 16 + 14 with one F a hop; T = 3; the tail's R is 2.
    assert_eq!(credits(0.0, None).1[0].credit, 12);
    let (_, free) = credits(1.0, None);
    assert_eq!(free[0].credit, 21);
    assert_eq!(free[7].credit, 3);
    let mut slots_before = 0;
    for memory in [1000, 2000, 3000, 1_000_000] {
        let (cost, cut) = credits(1.0, Some(memory));
        assert!(cut[0].slots > slots_before, "more memory, more slots");
        slots_before = cut[0].slots;
        for pair in cut.windows(2) {
            let taken = cost.memory_bytes(pair[1], Some(pair[0].credit), &spec, 32);
            assert!(taken <= memory, "{taken} of {memory}");
        }
    }
    assert!(slots_before > free[0].slots, "known memory is used");
    let least = Limits {
        credit: 2,
        weights_pending: 1,
        slots: 3,
    };
    let (cost, cut) = credits(1.0, Some(0));
    assert_eq!(cut, [least; 8]);
    assert_eq!(
        cost.lacking_bytes(&spec, 32, 8),
        4 * 4 * 10 + 3 * 100 + 2 * 10
    );
}

#[test]
fn in_async_no_more_than_half_a_step_is_put_off_however_much_memory_there_is() {
    let cost = StageCost {
        memory_bytes_max: Some(1 << 30),
        ..COST
    };
    for (micro_batches, async_most) in [(1, 1), (4, 2), (8, 4), (32, 16), (64, 16)] {
        for (mode, most) in [(Mode::Async, async_most), (Mode::TwoVersions, 16)] {
            let spec = ScheduleSpec::new(mode, 1);
            let [limits, ..] = limits(&spec, micro_batches, &[cost; 3])[..] else {
                panic!("one for each stage");
            };
            assert_eq!(limits.weights_pending, most, "{mode}, {micro_batches}");
        }
    }
}

#[test]
fn a_peer_short_of_memory_gives_way_without_its_neighbours_losing_more_than_it_needs() {
    let spec = ScheduleSpec::new(Mode::TwoVersions, 1);
    let cost = StageCost {
        hop_seconds: 1.0,
        stash_bytes: 100,
        input_bytes: 10,
        memory_bytes_max: Some(1 << 30),
        ..COST
    };
    let plenty = limits(&spec, 32, &[cost; 4]);
    let short = StageCost {
        memory_bytes_max: Some(700),
        ..cost
    };
    let cut = limits(&spec, 32, &[cost, cost, short, cost]);
    assert_eq!([cut[0], cut[3]], [plenty[0], plenty[3]]);
    assert!(cut[2].slots < plenty[2].slots);
    assert!(short.memory_bytes(cut[2], Some(cut[1].credit), &spec, 32) <= 700);
}

#[test]
fn every_mode_is_read_as_it_is_written() {
    for mode in Mode::ALL {
        assert_eq!(mode.word().parse(), Ok(mode));
        let json = serde_json::to_string(&mode).expect("JSON");
        assert_eq!(json, format!("{:?}", mode.word()));
    }
    assert!("gpipe".parse::<Mode>().is_err());
}
