use super::*;
use crate::ids::PeerId;
use proptest::prelude::*;

const HEAD: PeerId = PeerId(1);

fn roster(steps: u32, micro_batches: u16, evaluation_micro_batches: u16) -> Roster {
    Roster {
        source: HEAD,
        steps,
        micro_batches,
        evaluate_every: 2,
        evaluation_micro_batches,
    }
}

/// A ring in memory: every stage picks, every message is delivered, in an order that `choices` decides.
struct Ring {
    stages: Vec<Schedule>,
    running: Vec<Option<Task>>,
    /// Per directed neighbour pair, in order.
    wires: Vec<[VecDeque<Outgoing>; 2]>,
    /// Per stage: micro-batches in the order of their W, and updates.
    log: Vec<Vec<Task>>,
}

impl Ring {
    fn new(stages: usize, roster: Roster) -> Self {
        let schedule = |stage| Schedule::new(StageIndex(stage as u16), stages, roster);
        Self {
            stages: (0..stages).map(schedule).collect(),
            running: vec![None; stages],
            wires: (0..stages).map(|_| Default::default()).collect(),
            log: vec![Vec::new(); stages],
        }
    }

    fn send(&mut self, from: usize, out: Option<Outgoing>) {
        let Some(out) = out else { return };
        self.wires[from][(out.to == Neighbour::Successor) as usize].push_back(out);
    }

    fn deliver(&mut self, from: usize, direction: usize) -> bool {
        let Some(out) = self.wires[from][direction].pop_front() else {
            return false;
        };
        let (to, side) = if direction == 1 {
            (from + 1, Neighbour::Predecessor)
        } else {
            (from - 1, Neighbour::Successor)
        };
        let passed_on = self.stages[to]
            .arrived(side, out.kind, out.purpose, out.micro_batch, out.payload)
            .expect("a correct neighbour is never refused");
        self.send(to, passed_on);
        true
    }

    fn work(&mut self, stage: usize) -> bool {
        if let Some(task) = self.running[stage].take() {
            let out = self.stages[stage].completed(task, None);
            self.send(stage, out);
            self.log[stage].push(task);
            return true;
        }
        self.running[stage] = self.stages[stage].pick();
        self.running[stage].is_some()
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
        stages in 1usize..6,
        steps in 1u32..4,
        micro_batches in 1u16..12,
        evaluation in 0u16..4,
        choices in prop::collection::vec(any::<u8>(), 400),
    ) {
        let mut ring = Ring::new(stages, roster(steps, micro_batches, evaluation));
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
                Task::Update { step } => Some((step.0, None)),
                Task::Forward { .. } | Task::BackwardInput { .. } => None,
            }).collect();
            prop_assert_eq!(weights, expected);
            let slots = usize::from(slots(stage.stage, stages, micro_batches));
            prop_assert_eq!(stage.free.len(), slots, "slots leak");
        }
    }
}

#[test]
fn several_micro_batches_are_in_flight_but_never_more_than_the_credit() {
    let mut head = Schedule::new(StageIndex(0), 3, roster(1, 8, 0));
    let mut forwards = 0;
    while let Some(task) = head.pick() {
        assert!(matches!(task, Task::Forward { .. }));
        forwards += 1;
        assert!(head.completed(task, None).is_some());
    }
    assert_eq!(forwards, credits(StageIndex(0), 3, 8));
    assert!(forwards > 1);
}

#[test]
fn a_neighbour_that_breaks_the_order_is_told_so() {
    let mut tail = Schedule::new(StageIndex(1), 2, roster(2, 2, 0));
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
    let mut tail = Schedule::new(StageIndex(1), 2, roster(100, 8, 0));
    let mut cursor = Cursor::new(roster(100, 8, 0));
    let credit = credits(StageIndex(0), 2, 8);
    for count in 0.. {
        let (purpose, id) = cursor
            .peek()
            .expect("800 micro-batches are more than any credit");
        cursor.advance();
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

#[test]
fn a_paused_head_finishes_its_step_and_begins_no_other() {
    let mut ring = Ring::new(2, roster(5, 3, 0));
    let pick = ring.work(0);
    assert!(pick);
    ring.stages[0].set_paused(true);
    ring.run(&mut std::iter::repeat(0));
    assert_eq!(ring.stages[0].updates(), Step(1));
    ring.stages[0].set_paused(false);
    ring.run(&mut std::iter::repeat(0));
    assert!(ring.stages[0].is_finished());
}
