//! A node against a neighbour that lies.

mod common;

use common::pair::{self, EPOCH, HEAD, TAIL, feed, run_of_two};
use ringtmp_core::ids::{Epoch, MicroBatchId, PayloadId, PeerId, StageIndex, Step};
use ringtmp_core::node::{Input, Node, Output, Polled};
use ringtmp_core::profile::Planning;
use ringtmp_core::schedule::{Mode, ScheduleSpec};
use ringtmp_core::signal::*;
use ringtmp_core::time::Time;
use ringtmp_core::wire::{Body, Purpose, SumKind, TensorKind, WireError};
use std::time::Duration;

/// A node that trains as `me` in a ring of two, linked to `other`, on the head's samples.
fn training(me: PeerId, other: PeerId) -> Node {
    training_on(me, other, vec![StageIndex(0)])
}

/// Likewise, on the samples of these stages.
fn training_on(me: PeerId, other: PeerId, sources: Vec<StageIndex>) -> Node {
    training_with(me, other, sources, ScheduleSpec::new(Mode::Sync, 1))
}

fn training_with(
    me: PeerId,
    other: PeerId,
    sources: Vec<StageIndex>,
    schedule: ScheduleSpec,
) -> Node {
    let mut run = run_of_two();
    run.outline.micro_batches = 4;
    run.outline.schedule = schedule;
    pair::training(me, other, sources, run)
}

fn tensor(from: PeerId, kind: TensorKind, payload: Option<PayloadId>) -> Input {
    let first = MicroBatchId {
        step: Step(0),
        source: HEAD,
        sequence: 0,
    };
    tensor_of(from, EPOCH, kind, first, payload)
}

fn tensor_of(
    from: PeerId,
    epoch: Epoch,
    kind: TensorKind,
    micro_batch: MicroBatchId,
    payload: Option<PayloadId>,
) -> Input {
    Input::Tensor {
        from,
        epoch,
        kind,
        purpose: Purpose::Train,
        micro_batch,
        payload,
    }
}

fn failed(outputs: &[Output]) -> bool {
    outputs
        .iter()
        .any(|output| matches!(output, Output::ToRoom(ClientMessage::Failed { .. })))
}

#[test]
fn an_activation_with_numbers_is_worked_on_and_one_without_ends_the_link() {
    let payload = PayloadId(7);
    let good = feed(
        &mut training(TAIL, HEAD),
        tensor(HEAD, TensorKind::Activation, Some(payload)),
    );
    assert!(
        good.iter()
            .any(|output| matches!(output, Output::Run { .. })),
        "{good:?}"
    );
    let bad = feed(
        &mut training(TAIL, HEAD),
        tensor(HEAD, TensorKind::Activation, None),
    );
    assert!(failed(&bad), "{bad:?}");
    assert!(
        !bad.iter()
            .any(|output| matches!(output, Output::Run { .. })),
        "{bad:?}"
    );
}

#[test]
fn numbers_in_a_release_and_a_gradient_without_any_are_refused_and_forgotten() {
    let payload = PayloadId(7);
    let release = feed(
        &mut training(HEAD, TAIL),
        tensor(TAIL, TensorKind::Release, Some(payload)),
    );
    assert!(
        failed(&release) && release.contains(&Output::Discard(payload)),
        "{release:?}"
    );
    let gradient = feed(
        &mut training(HEAD, TAIL),
        tensor(TAIL, TensorKind::Gradient, None),
    );
    assert!(failed(&gradient), "{gradient:?}");
}

/// Why a node gave up, if it did.
fn reason(outputs: &[Output]) -> Option<&str> {
    outputs.iter().find_map(|output| match output {
        Output::ToRoom(ClientMessage::Failed { reason, .. }) => Some(reason.as_str()),
        _ => None,
    })
}

#[test]
fn numbers_that_are_not_finite_end_the_run_and_name_the_neighbour() {
    let unreadable = Input::Unreadable {
        from: HEAD,
        error: WireError::NonFinite,
    };
    let outputs = feed(&mut training(TAIL, HEAD), unreadable);
    let reason = reason(&outputs).expect("it gives up");
    let names = reason.starts_with("link to stage 1");
    assert!(names && reason.contains("infinite"), "{reason}");
}

#[test]
fn a_frame_repeated_out_of_order_or_for_another_step_ends_the_run_and_names_the_neighbour() {
    let id = |step, sequence| MicroBatchId {
        step: Step(step),
        source: HEAD,
        sequence,
    };
    for (name, ids) in [
        ("repeated", vec![id(0, 0), id(0, 0)]),
        ("one left out", vec![id(0, 0), id(0, 2)]),
        ("of a later step", vec![id(1, 0)]),
        ("of no step", vec![id(u32::MAX, u16::MAX)]),
    ] {
        let mut tail = training(TAIL, HEAD);
        let (last, before) = ids.split_last().expect("some");
        for (id, number) in before.iter().zip(0..) {
            let payload = Some(PayloadId(number));
            let input = tensor_of(HEAD, EPOCH, TensorKind::Activation, *id, payload);
            assert_eq!(reason(&feed(&mut tail, input)), None, "{name}");
        }
        let payload = PayloadId(99);
        let input = tensor_of(HEAD, EPOCH, TensorKind::Activation, *last, Some(payload));
        let outputs = feed(&mut tail, input);
        let reason = reason(&outputs).unwrap_or_else(|| panic!("{name}: {outputs:?}"));
        assert!(
            reason.contains("stage 1") && reason.contains("out of order"),
            "{reason}"
        );
        assert!(outputs.contains(&Output::Discard(payload)), "{name}");
        assert!(
            outputs.contains(&Output::Disconnect { peer: HEAD }),
            "{name}"
        );
    }
}

#[test]
fn a_frame_of_another_epoch_is_forgotten_and_changes_nothing() {
    let mut tail = training(TAIL, HEAD);
    let id = MicroBatchId {
        step: Step(0),
        source: HEAD,
        sequence: 0,
    };
    for (number, incarnation) in [(0, 0), (2, 0), (1, 1)] {
        let epoch = Epoch {
            number,
            incarnation,
        };
        let payload = PayloadId(5);
        let input = tensor_of(HEAD, epoch, TensorKind::Activation, id, Some(payload));
        assert_eq!(feed(&mut tail, input), [Output::Discard(payload)]);
    }
    let good = feed(
        &mut tail,
        tensor(HEAD, TensorKind::Activation, Some(PayloadId(6))),
    );
    assert!(
        good.iter()
            .any(|output| matches!(output, Output::Run { .. })),
        "{good:?}"
    );
}

#[test]
fn a_flood_of_samples_ends_the_run_before_more_than_the_window_is_held() {
    let both = vec![StageIndex(0), StageIndex(1)];
    let mut head = training_on(HEAD, TAIL, both);
    let mut held = 0;
    for number in 0.. {
        let id = MicroBatchId {
            step: Step(number / 2),
            source: TAIL,
            sequence: 1 + 2 * (number % 2) as u16,
        };
        let payload = Some(PayloadId(number.into()));
        let outputs = feed(
            &mut head,
            tensor_of(TAIL, EPOCH, TensorKind::Samples, id, payload),
        );
        match reason(&outputs) {
            None => held += 1,
            Some(reason) => {
                assert!(
                    reason.contains("stage 2") && reason.contains("too far ahead"),
                    "{reason}"
                );
                let forgotten = outputs
                    .iter()
                    .filter(|output| matches!(output, Output::Discard(_)));
                assert_eq!(forgotten.count(), held + 1, "everything is forgotten");
                break;
            }
        }
    }
    assert!((1..=4).contains(&held), "{held}");
}

#[test]
fn samples_without_numbers_and_from_who_is_no_source_are_refused() {
    let id = MicroBatchId {
        step: Step(0),
        source: TAIL,
        sequence: 1,
    };
    let both = vec![StageIndex(0), StageIndex(1)];
    let without = tensor_of(TAIL, EPOCH, TensorKind::Samples, id, None);
    let outputs = feed(&mut training_on(HEAD, TAIL, both), without);
    assert!(reason(&outputs).is_some_and(|reason| reason.contains("wrong number of tensors")));
    let unasked = tensor_of(TAIL, EPOCH, TensorKind::Samples, id, Some(PayloadId(1)));
    assert!(failed(&feed(&mut training(HEAD, TAIL), unasked)));
}

/// A node that trains in a ring of two whose gradients are clipped.
fn clipping(me: PeerId, other: PeerId) -> Node {
    let spec = ScheduleSpec {
        clips_gradients: true,
        ..ScheduleSpec::new(Mode::Sync, 1)
    };
    training_with(me, other, vec![StageIndex(0)], spec)
}

#[test]
fn who_measures_the_link_while_training_goes_on_gets_no_answer() {
    let probe = Input::Control {
        from: HEAD,
        epoch: EPOCH,
        body: Body::Probe {
            number: 0,
            bytes: 1,
        },
    };
    assert_eq!(feed(&mut training(TAIL, HEAD), probe), []);
}

#[test]
fn a_pause_holds_while_the_ring_is_put_together_anew() {
    let mut head = pair::measuring(HEAD, TAIL, vec![StageIndex(0)], run_of_two());
    let mut begins = |input| {
        let outputs = feed(&mut head, input);
        let runs = |output: &Output| matches!(output, Output::Run { .. });
        outputs.iter().any(runs)
    };
    let shows = |state| {
        let room = std::sync::Arc::new(pair::room(state));
        Input::Room(ServerMessage::Room { room })
    };
    assert!(!begins(shows(RoomState::Paused)));
    assert!(!begins(Input::Room(ServerMessage::Commit { epoch: EPOCH })));
    let reason = "the server was restarted".to_owned();
    assert!(!begins(shows(RoomState::Reconfiguring {
        reason: reason.clone()
    })));
    assert!(!begins(shows(RoomState::Lacking { reason })));
    assert!(begins(shows(RoomState::Training)));
}

#[test]
fn whose_link_is_measured_tells_how_much_later_a_probe_came_than_the_one_right_before_it() {
    let mut run = run_of_two();
    run.outline.planning = Planning::Measured;
    let mut tail = pair::measuring(TAIL, HEAD, vec![StageIndex(0)], run);
    let mut told = Vec::new();
    // The last is overtaken: the empty one travels on another lane.
    let came = [
        (10, 4, 0),
        (447, 5, 64),
        (500, 9, 64),
        (600, 11, 64),
        (650, 10, 0),
    ];
    for (millis, number, bytes) in came {
        let probe = Input::Control {
            from: HEAD,
            epoch: EPOCH,
            body: Body::Probe { number, bytes },
        };
        let now = Time::ZERO + Duration::from_millis(millis);
        let outputs = pair::feed_at(&mut tail, now, probe);
        told.extend(outputs.into_iter().filter_map(|output| match output {
            Output::Send {
                body:
                    Body::Echo {
                        number,
                        apart_micros,
                    },
                ..
            } => Some((number, apart_micros)),
            _ => None,
        }));
    }
    let none = [9, 11, 10].map(|number| (number, None));
    let right = [(4, None), (5, Some(437_000))].into_iter().chain(none);
    let right: Vec<(u8, Option<u32>)> = right.collect();
    assert_eq!(told, right);
}

#[test]
fn whose_link_is_lost_while_it_is_measured_waits_for_news_and_does_not_ask_again_and_again() {
    let mut run = run_of_two();
    run.outline.replication = Replication::Every(1);
    run.outline.planning = Planning::Measured;
    let mut head = pair::measuring(HEAD, TAIL, vec![StageIndex(0)], run);
    let echo = Input::Control {
        from: TAIL,
        epoch: EPOCH,
        body: Body::Echo {
            number: 0,
            apart_micros: None,
        },
    };
    let outputs = feed(&mut head, echo);
    let asks = outputs.iter().any(|output| {
        let Output::Send { body, .. } = output else {
            return false;
        };
        matches!(body, Body::Probe { number: 1, .. })
    });
    assert!(asks, "it goes on: {outputs:?}");
    let late = Time::ZERO + Duration::from_secs(60);
    let lost = Input::LinkLost {
        peer: TAIL,
        reason: "gone".to_owned(),
    };
    for input in [lost, Input::Tick] {
        head.handle(late, input);
        let wakes = loop {
            if let Polled::Wait(wakes) = head.poll_output() {
                break wakes;
            }
        };
        assert!(wakes.is_none_or(|wakes| wakes > late), "{wakes:?}");
    }
}

fn sum_of(from: PeerId, kind: SumKind, step: u32, sum: f64) -> Input {
    Input::Control {
        from,
        epoch: EPOCH,
        body: Body::SquareSum {
            kind,
            step: Step(step),
            sum,
        },
    }
}

#[test]
fn a_sum_of_squares_repeated_for_another_step_or_no_number_ends_the_run_and_names_the_neighbour() {
    use SumKind::{Partial, Total};
    let out_of_turn = "out of turn";
    for (kind, sums, words) in [
        (Partial, vec![(0, 1.0), (0, 1.0)], out_of_turn),
        (Partial, vec![(0, 1.0), (1, 1.0)], out_of_turn),
        (Partial, vec![(1, 1.0)], out_of_turn),
        (Partial, vec![(u32::MAX, 1.0)], out_of_turn),
        (Total, vec![(0, 1.0)], out_of_turn),
        (Partial, vec![(0, f64::NAN)], "no number"),
        (Partial, vec![(0, f64::INFINITY)], "infinite"),
        (Partial, vec![(0, -1.0)], "negative"),
    ] {
        let mut head = clipping(HEAD, TAIL);
        let (last, before) = sums.split_last().expect("some");
        for (step, sum) in before {
            let outputs = feed(&mut head, sum_of(TAIL, kind, *step, *sum));
            assert_eq!(reason(&outputs), None, "{sums:?}");
        }
        let outputs = feed(&mut head, sum_of(TAIL, kind, last.0, last.1));
        let reason = reason(&outputs).unwrap_or_else(|| panic!("{sums:?}: {outputs:?}"));
        let named = reason.starts_with("stage 2") && reason.contains(words);
        assert!(named, "{sums:?}: {reason}");
    }
    let total = feed(&mut clipping(TAIL, HEAD), sum_of(HEAD, Total, 0, 1.0));
    assert!(reason(&total).is_some_and(|reason| reason.contains(out_of_turn)));
    let unasked = feed(&mut training(HEAD, TAIL), sum_of(TAIL, Partial, 0, 1.0));
    assert!(reason(&unasked).is_some_and(|reason| reason.contains("clips no gradients")));
    let stranger = feed(
        &mut clipping(HEAD, TAIL),
        sum_of(PeerId(9), Partial, 0, 1.0),
    );
    assert!(reason(&stranger).is_some_and(|reason| reason.contains("without being asked")));
    let mut late = sum_of(TAIL, Partial, 0, 1.0);
    if let Input::Control { epoch, .. } = &mut late {
        epoch.number += 1;
    }
    assert_eq!(feed(&mut clipping(HEAD, TAIL), late), []);
}
