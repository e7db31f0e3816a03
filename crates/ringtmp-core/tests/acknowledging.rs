//! Who is called to account, and who is not: a successor that takes copies and says nothing of them, and one whose frames come late.

mod common;

use common::pair::{EPOCH, feed_at};
use common::stage::{BYTES, Stage, blames};
use ringtmp_core::ids::{LayerIndex, MicroBatchId, PayloadId, PeerId, StageIndex, Step, Version};
use ringtmp_core::node::{ACKNOWLEDGED_WITHIN, BEAT_INTERVAL, Input, Output};
use ringtmp_core::signal::ClientMessage;
use ringtmp_core::time::Time;
use ringtmp_core::wire::{Body, Purpose, TensorKind};
use std::time::Duration;

const VERSION: Version = Version(2);

struct Waiting {
    stage: Stage,
    now: Time,
}

/// The second stage of four, whose copy of a version is on its way to the third. Beats go back and forth.
fn copying(rest: bool) -> Waiting {
    let mut stage = Stage::new(1, false);
    let before = stage.before;
    stage.control(
        before,
        Body::Mark {
            version: VERSION,
            rest,
        },
    );
    let snapped = Input::Snapped {
        epoch: EPOCH,
        version: VERSION,
        copies: vec![(LayerIndex(1), BYTES)],
        took: Duration::ZERO,
    };
    let sent = feed_at(&mut stage.node, Time::ZERO, snapped);
    let is_piece = |output: &Output| matches!(output, Output::SendPiece { .. });
    assert!(sent.iter().any(is_piece), "{sent:?}");
    Waiting {
        stage,
        now: Time::ZERO,
    }
}

impl Waiting {
    /// Nothing but beats, for so long.
    fn wait(&mut self, how_long: Duration) -> Vec<Output> {
        let (end, mut outputs) = (self.now + how_long, Vec::new());
        let beat = |from| Input::Control {
            from,
            epoch: EPOCH,
            body: Body::Beat { task_millis: 1 },
        };
        while self.now < end {
            self.now = self.now + BEAT_INTERVAL;
            for input in [beat(self.stage.before), beat(self.stage.after), Input::Tick] {
                outputs.extend(feed_at(&mut self.stage.node, self.now, input));
            }
        }
        outputs
    }

    fn acknowledge(&mut self, received: u64) -> Vec<Output> {
        let here = Input::Control {
            from: self.stage.after,
            epoch: EPOCH,
            body: Body::PieceHere {
                from: StageIndex(1),
                version: VERSION,
                layer: LayerIndex(1),
                received,
            },
        };
        feed_at(&mut self.stage.node, self.now, here)
    }
}

#[test]
fn a_successor_that_never_acknowledges_a_copy_is_told_of_by_name() {
    let mut waiting = copying(true);
    assert_eq!(blames(&waiting.wait(ACKNOWLEDGED_WITHIN)), None);
    let successor = waiting.stage.after;
    let outputs = waiting.wait(2 * BEAT_INTERVAL);
    let reason = blames(&outputs).expect("the successor is at fault");
    assert!(
        reason.contains("stage 3") && reason.contains("copies"),
        "{reason}"
    );
    let names = |output: &Output| matches!(output, Output::ToRoom(ClientMessage::Failed { culprit, .. }) if *culprit == Some(successor));
    assert!(outputs.iter().any(names), "{outputs:?}");
}

#[test]
fn a_slow_successor_has_time_from_one_acknowledgement_to_the_next() {
    let mut waiting = copying(true);
    for received in [BYTES / 4, BYTES / 2] {
        assert_eq!(blames(&waiting.wait(ACKNOWLEDGED_WITHIN)), None);
        assert_eq!(blames(&waiting.acknowledge(received)), None);
    }
    // To say the same again is to say nothing.
    waiting.wait(ACKNOWLEDGED_WITHIN / 2);
    waiting.acknowledge(BYTES / 2);
    assert!(blames(&waiting.wait(ACKNOWLEDGED_WITHIN)).is_some());
    let mut waiting = copying(true);
    waiting.acknowledge(BYTES);
    assert_eq!(blames(&waiting.wait(3 * ACKNOWLEDGED_WITHIN)), None);
}

#[test]
fn a_successor_that_may_still_be_busy_with_what_came_before_is_not_at_fault() {
    let mut waiting = copying(false);
    assert_eq!(blames(&waiting.wait(3 * ACKNOWLEDGED_WITHIN)), None);
}

#[test]
fn what_comes_over_a_link_that_was_given_up_is_let_go_of_and_nobodys_fault() {
    let gradient = |stage: &Stage| Input::Tensor {
        from: stage.after,
        epoch: EPOCH,
        kind: TensorKind::Gradient,
        purpose: Purpose::Train,
        micro_batch: MicroBatchId {
            step: Step(0),
            sequence: 0,
            source: PeerId(1),
        },
        payload: Some(PayloadId(9)),
    };
    let mut stage = Stage::new(1, false);
    let lost = Input::LinkLost {
        peer: stage.after,
        reason: "nothing was heard".to_owned(),
    };
    feed_at(&mut stage.node, Time::ZERO, lost);
    let late = gradient(&stage);
    let outputs = feed_at(&mut stage.node, Time::ZERO, late);
    assert_eq!(blames(&outputs), None);
    assert!(
        outputs.contains(&Output::Discard(PayloadId(9))),
        "{outputs:?}"
    );
    // Over a link that stands, a gradient that nobody waits for is a fault.
    let mut stage = Stage::new(1, false);
    let early = gradient(&stage);
    assert!(blames(&feed_at(&mut stage.node, Time::ZERO, early)).is_some());
}

#[test]
fn a_neighbour_of_whose_long_frame_bytes_come_is_there_and_one_of_whom_none_come_is_not() {
    let told = |stirring: bool| {
        let Stage {
            mut node,
            before,
            after,
            ..
        } = Stage::new(1, false);
        let (mut now, mut outputs) = (Time::ZERO, Vec::new());
        while now < Time::ZERO + Duration::from_secs(6) {
            now = now + BEAT_INTERVAL;
            let peers = [before, after]
                .into_iter()
                .filter(|peer| stirring || *peer == before);
            let stirs: Vec<Input> = peers.map(|peer| Input::Stirs { peer }).collect();
            for input in stirs.into_iter().chain([Input::Tick]) {
                outputs.extend(feed_at(&mut node, now, input));
            }
        }
        let told = outputs.iter().filter_map(|output| match output {
            Output::ToRoom(ClientMessage::Suspect { peer, .. }) => Some(("suspected", *peer)),
            Output::ToRoom(ClientMessage::LinkLost { peer, .. }) => Some(("lost", *peer)),
            _ => None,
        });
        (told.collect::<Vec<_>>(), after)
    };
    assert_eq!(told(true).0, []);
    let (told, silent) = told(false);
    assert_eq!(told, [("suspected", silent), ("lost", silent)]);
}
