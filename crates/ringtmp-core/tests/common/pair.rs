//! A node in a ring of two, at the other end of which is the test.

use super::run;
use ringtmp_core::codec::TensorCodec;
use ringtmp_core::ids::{Epoch, MemberToken, PeerId, RoomCode, StageIndex};
use ringtmp_core::node::{Input, Node, Output, Polled};
use ringtmp_core::plan::Plan;
use ringtmp_core::schedule::Limits;
use ringtmp_core::signal::*;
use ringtmp_core::time::Time;
use ringtmp_core::wire::{Body, Hello};

pub(crate) const HEAD: PeerId = PeerId(1);
pub(crate) const TAIL: PeerId = PeerId(2);
pub(crate) const EPOCH: Epoch = Epoch {
    number: 1,
    incarnation: 0,
};

/// What comes of an input.
pub(crate) fn feed(node: &mut Node, input: Input) -> Vec<Output> {
    feed_at(node, Time::ZERO, input)
}

pub(crate) fn feed_at(node: &mut Node, now: Time, input: Input) -> Vec<Output> {
    node.handle(now, input);
    let mut outputs = Vec::new();
    while let Polled::Do(output) = node.poll_output() {
        outputs.push(output);
    }
    outputs
}

/// A run of two layers.
pub(crate) fn run_of_two() -> RunDescriptor {
    let mut run = run(2);
    run.outline.layers.truncate(2);
    run
}

/// A node that trains as `me`, linked to `other`, on the samples of these stages.
pub(crate) fn training(
    me: PeerId,
    other: PeerId,
    sources: Vec<StageIndex>,
    run: RunDescriptor,
) -> Node {
    let mut node = measuring(me, other, sources, run);
    feed(
        &mut node,
        Input::Room(ServerMessage::Commit { epoch: EPOCH }),
    );
    node
}

/// What the room shows in this state.
pub(crate) fn room(state: RoomState) -> RoomView {
    RoomView {
        code: RoomCode::from_random([1; 10]),
        state,
        members: Vec::new(),
        host: None,
        plan: None,
        result: None,
        recoveries: Vec::new(),
        stable: None,
        kept: None,
        replicated_every: None,
    }
}

/// Likewise, before the room has told it to begin: the head measures its link.
pub(crate) fn measuring(
    me: PeerId,
    other: PeerId,
    sources: Vec<StageIndex>,
    run: RunDescriptor,
) -> Node {
    let room = room(RoomState::Waiting);
    let code = room.code;
    let welcome = ServerMessage::Welcome {
        peer: me,
        token: MemberToken(0),
        run: Box::new(run),
        room: Box::new(room),
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
        sources,
        codecs: vec![TensorCodec::F32],
        ..Plan::default()
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
    ] {
        feed(&mut node, input);
    }
    node
}
