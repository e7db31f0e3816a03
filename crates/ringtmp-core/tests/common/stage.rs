//! A node in a ring of four, between two neighbours that are the test.

use super::pair::{EPOCH, feed};
use super::run;
use ringtmp_core::codec::TensorCodec;
use ringtmp_core::ids::{
    LayerIndex, MemberToken, PayloadId, PeerId, RoomCode, StageIndex, Version,
};
use ringtmp_core::node::{Input, Node, Output};
use ringtmp_core::plan::Plan;
use ringtmp_core::replica::CopyId;
use ringtmp_core::schedule::Limits;
use ringtmp_core::signal::*;
use ringtmp_core::wire::{Body, Hello, Piece};
use std::time::Duration;

/// Four stages of a layer each; what the first two keep is kept a third time by stage 3, so that what stage 1 sends passes stage 2.
pub(crate) fn plan() -> Plan {
    let limits = Limits {
        credit: 2,
        weights_pending: 1,
        slots: 3,
    };
    Plan {
        epoch: EPOCH,
        order: (1..=4).map(PeerId).collect(),
        cuts: vec![0, 1, 2, 3, 4],
        limits: vec![limits; 4],
        sources: vec![StageIndex(0)],
        codecs: vec![TensorCodec::F32; 3],
        thirds: vec![Some(StageIndex(3)), Some(StageIndex(3)), None, None],
        ..Plan::default()
    }
}

/// The node of a stage of [`plan`], training, with or without a disk, and its two neighbours.
pub(crate) struct Stage {
    pub(crate) node: Node,
    pub(crate) before: PeerId,
    pub(crate) after: PeerId,
    pub(crate) stage: u16,
}

impl Stage {
    pub(crate) fn new(stage: u16, disk: bool) -> Self {
        let plan = plan();
        let (before, after) = (
            plan.predecessor(StageIndex(stage)),
            plan.successor(StageIndex(stage)),
        );
        let mut run = run(4);
        run.outline.replication = Replication::Every(2);
        run.outline
            .layers
            .iter_mut()
            .for_each(|layer| layer.parameters = 4);
        let room = RoomView {
            code: RoomCode::from_random([1; 10]),
            state: RoomState::Waiting,
            members: Vec::new(),
            plan: None,
            result: None,
            recoveries: Vec::new(),
            stable: None,
            kept: None,
            replicated_every: None,
            host: None,
        };
        let hello = |peer| Hello {
            protocol: PROTOCOL_VERSION,
            room: room.code,
            peer,
        };
        let greeted = [before, after].map(|from| Input::Control {
            from,
            epoch: EPOCH,
            body: Body::Hello(hello(from)),
        });
        let welcome = ServerMessage::Welcome {
            peer: PeerId(u64::from(stage) + 1),
            token: MemberToken(0),
            run: Box::new(run),
            room: Box::new(room.clone()),
            points: Vec::new(),
        };
        let mut node = Node::new();
        let every = disk.then_some(Duration::from_secs(5));
        let storage = Input::Storage {
            every,
            kept: Vec::new(),
        };
        let begin = [
            Input::Room(welcome),
            storage,
            Input::Room(ServerMessage::Prepare { plan }),
            Input::Built { epoch: EPOCH },
            Input::LinkUp { peer: before },
            Input::LinkUp { peer: after },
        ];
        let commit = Input::Room(ServerMessage::Commit { epoch: EPOCH });
        for input in begin.into_iter().chain(greeted).chain([commit]) {
            feed(&mut node, input);
        }
        Self {
            node,
            before,
            after,
            stage,
        }
    }

    pub(crate) fn control(&mut self, from: PeerId, body: Body) -> Vec<Output> {
        let epoch = EPOCH;
        feed(&mut self.node, Input::Control { from, epoch, body })
    }

    pub(crate) fn piece(&mut self, piece: Piece) -> Vec<Output> {
        let (from, epoch, payload) = (self.before, EPOCH, PayloadId(7));
        let input = Input::Piece {
            from,
            epoch,
            piece,
            payload,
        };
        feed(&mut self.node, input)
    }

    /// Takes part in a round of a version, in which all is as it should be until the head calls it stable.
    pub(crate) fn round(&mut self, version: u32, keep: bool) -> Vec<Output> {
        let (before, after, stage) = (self.before, self.after, self.stage);
        let (layer, version) = (LayerIndex(stage), Version(version));
        let rest = false;
        self.control(before, Body::Mark { version, rest });
        self.piece(Piece {
            to: StageIndex(stage),
            ..piece(stage - 1, stage - 1, version.0)
        });
        let snapped = Input::Snapped {
            epoch: EPOCH,
            version,
            copies: vec![(layer, BYTES)],
            took: Duration::ZERO,
        };
        feed(&mut self.node, snapped);
        let here = Body::PieceHere {
            from: StageIndex(stage),
            version,
            layer,
            received: BYTES,
        };
        self.control(after, here);
        let secured = Body::Secured {
            version,
            cost_micros: 0,
            busy: false,
        };
        let mut outputs = self.control(before, secured);
        outputs.extend(self.control(before, Body::Stable { version, keep }));
        outputs
    }
}

pub(crate) const BYTES: u64 = 16;

/// A whole copy in one piece, on its way to stage 3.
pub(crate) fn piece(from: u16, layer: u16, version: u32) -> Piece {
    Piece {
        from: StageIndex(from),
        to: StageIndex(3),
        version: Version(version),
        layer: LayerIndex(layer),
        total: BYTES,
        offset: 0,
        bytes: BYTES as u32,
    }
}

pub(crate) fn says(outputs: &[Output], to: PeerId, said: &Body) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Send { to: whom, body, .. } if *whom == to && body == said))
}

pub(crate) fn blames(outputs: &[Output]) -> Option<&str> {
    outputs.iter().find_map(|output| match output {
        Output::ToRoom(ClientMessage::Failed {
            culprit: Some(_),
            reason,
            ..
        }) => Some(reason.as_str()),
        _ => None,
    })
}

pub(crate) fn forgets(outputs: &[Output], copy: CopyId) -> bool {
    outputs
        .iter()
        .any(|output| matches!(output, Output::Forget { copies } if copies.contains(&copy)))
}
