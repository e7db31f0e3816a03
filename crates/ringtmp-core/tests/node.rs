//! A node against a neighbour that lies.

use ringtmp_core::ids::{Epoch, MicroBatchId, PayloadId, PeerId, RoomCode, Step};
use ringtmp_core::node::{Input, Node, Output, Polled};
use ringtmp_core::plan::{LayerCost, Plan};
use ringtmp_core::schedule::{Limits, Mode, ScheduleSpec};
use ringtmp_core::signal::*;
use ringtmp_core::time::Time;
use ringtmp_core::wire::{Body, Hello, Purpose, TensorKind};

const HEAD: PeerId = PeerId(1);
const TAIL: PeerId = PeerId(2);
const EPOCH: Epoch = Epoch {
    number: 1,
    incarnation: 0,
};

fn feed(node: &mut Node, input: Input) -> Vec<Output> {
    node.handle(Time::ZERO, input);
    let mut outputs = Vec::new();
    while let Polled::Do(output) = node.poll_output() {
        outputs.push(output);
    }
    outputs
}

/// A node that trains as `me` in a ring of two, linked to `other`.
fn training(me: PeerId, other: PeerId) -> Node {
    let layer = LayerCost {
        flops: [1.0; 3],
        parameters: 1,
        output_bytes: 4,
        stash_bytes: 4,
    };
    let outline = RunOutline {
        name: "test".to_owned(),
        layers: vec![layer; 2],
        steps: 10,
        micro_batches: 4,
        evaluate_every: 0,
        evaluation_micro_batches: 1,
        start_at_peers: 2,
        schedule: ScheduleSpec::new(Mode::Sync, 1),
    };
    let code = RoomCode::from_random([1; 10]);
    let state = RoomState::Waiting;
    let room = RoomView {
        code,
        state,
        members: Vec::new(),
        plan: None,
        result: None,
    };
    let run = RunDescriptor {
        toml: String::new(),
        outline,
    };
    let welcome = ServerMessage::Welcome {
        peer: me,
        run,
        room,
        points: Vec::new(),
    };
    let limits = Limits {
        credit: 2,
        weights_pending: 1,
        slots: 3,
    };
    let plan = Plan {
        epoch: EPOCH,
        order: vec![HEAD, TAIL],
        cuts: vec![0, 1, 2],
        limits: vec![limits; 2],
    };
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        room: code,
        peer: other,
    };
    let mut node = Node::new();
    for input in [
        Input::Room(welcome),
        Input::Room(ServerMessage::Prepare { plan }),
        Input::Built { epoch: EPOCH },
        Input::LinkUp { peer: other },
        Input::Control {
            from: other,
            epoch: EPOCH,
            body: Body::Hello(hello),
        },
        Input::Room(ServerMessage::Commit { epoch: EPOCH }),
    ] {
        feed(&mut node, input);
    }
    node
}

fn tensor(from: PeerId, kind: TensorKind, payload: Option<PayloadId>) -> Input {
    let micro_batch = MicroBatchId {
        step: Step(0),
        source: HEAD,
        sequence: 0,
    };
    let purpose = Purpose::Train;
    Input::Tensor {
        from,
        epoch: EPOCH,
        kind,
        purpose,
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
