//! The room and the node where layers are left only on disks.

mod common;

use common::pair::{self, EPOCH, HEAD, TAIL, feed, run_of_two};
use common::{Server, run};
use ringtmp_core::codec::TensorCodec;
use ringtmp_core::ids::{
    Epoch, LayerIndex, MemberToken, PeerId, RoomCode, StageIndex, Step, Version,
};
use ringtmp_core::kept::{Home, KEPT_MAX, Kept, Past};
use ringtmp_core::lobby::{Limits as ServerLimits, LobbyInput, LobbyOutput};
use ringtmp_core::node::{Input, Node, Output};
use ringtmp_core::plan::{Move, Plan};
use ringtmp_core::replica::CopyId;
use ringtmp_core::room::{HALT_WAIT_MAX, PROFILE_WAIT_MAX};
use ringtmp_core::schedule::Limits;
use ringtmp_core::signal::*;
use ringtmp_core::wire::Body;
use std::time::Duration;

const OLD_ROOM: [u8; 10] = [77; 10];

fn layers(layers: &[u16]) -> Vec<LayerIndex> {
    layers.iter().copied().map(LayerIndex).collect()
}

fn kept(past: Past, version: u32, of: &[u16]) -> Kept {
    let home = |name: &str, layers_end| Home {
        name: name.to_owned(),
        layers_end,
        third: None,
    };
    Kept {
        past,
        version: Version(version),
        layers: layers(of),
        ring: vec![home("the phone", 2), home("the laptop", 4)],
    }
}

fn offer(kept: Vec<Kept>) -> ClientMessage {
    ClientMessage::Offer { keeps: true, kept }
}

fn prepared(output: &[LobbyOutput]) -> Option<Plan> {
    output.iter().find_map(|output| match output {
        LobbyOutput::Send {
            message: ServerMessage::Prepare { plan },
            ..
        } => Some(plan.clone()),
        _ => None,
    })
}

fn halted(output: &[LobbyOutput]) -> Option<Epoch> {
    output.iter().find_map(|output| match output {
        LobbyOutput::Send {
            message: ServerMessage::Halt { epoch, .. },
            ..
        } => Some(*epoch),
        _ => None,
    })
}

/// The reason why a room waits, if it does.
fn lacking(output: &[LobbyOutput]) -> Option<String> {
    match Server::states(output).pop()? {
        RoomState::Lacking { reason } => Some(reason),
        _ => None,
    }
}

/// A room in which peers train, and its plan. Connections are 10 and on.
struct Ring {
    server: Server,
    room: RoomCode,
    plan: Plan,
}

impl Ring {
    fn of(peers: u16) -> Self {
        let mut server = Server::new(ServerLimits::default());
        let mut run = run(peers);
        run.outline.replication = Replication::Every(2);
        let room = server.create(1, run).expect("a room");
        let mut plan = None;
        for connection in 10..10 + u64::from(peers) {
            server.connect(connection);
            let output = server.say(connection, &common::join(room, Role::Participant));
            plan = plan.or(prepared(&output));
        }
        let plan = plan.expect("a plan");
        let mut ring = Self { server, room, plan };
        ring.ready(10..10 + u64::from(peers));
        ring
    }

    fn ready(&mut self, connections: impl Iterator<Item = u64>) {
        for connection in connections {
            let (epoch, links) = (self.plan.epoch, Vec::new());
            let ready = ClientMessage::Ready { epoch, links };
            self.server.say(connection, &ready);
        }
    }

    fn past(&self) -> Past {
        Past {
            room: self.room,
            epoch: self.plan.epoch,
        }
    }

    fn offers(&mut self, connection: u64, versions: &[(u32, &[u16])]) -> Vec<LobbyOutput> {
        let past = self.past();
        let kept = versions
            .iter()
            .map(|(version, of)| kept(past, *version, of));
        self.server.say(connection, &offer(kept.collect()))
    }

    fn leaves(&mut self, connection: u64) -> Vec<LobbyOutput> {
        self.server.say(connection, &ClientMessage::Leave)
    }

    fn comes(&mut self, connection: u64) -> Vec<LobbyOutput> {
        self.server.connect(connection);
        let join = common::join(self.room, Role::Participant);
        self.server.say(connection, &join)
    }

    /// Who held the stage of this plan, and was given up, returns.
    fn returns(&mut self, connection: u64, stage: usize) -> Vec<LobbyOutput> {
        self.returns_as(connection, self.plan.order[stage])
    }

    fn returns_as(&mut self, connection: u64, peer: PeerId) -> Vec<LobbyOutput> {
        self.server.connect(connection);
        let mut run = run(self.plan.order.len() as u16);
        run.outline.replication = Replication::Every(2);
        let standing = Standing {
            state: RoomState::Training,
            plan: Some(RoomPlan::Ring(self.plan.clone())),
            phase: Phase::Training,
            stable: None,
            points: Vec::new(),
        };
        let back = Returning {
            protocol: PROTOCOL_VERSION,
            room: self.room,
            peer,
            token: MemberToken(0),
            device: common::device(),
            has_data: true,
            proof: None,
            role: Role::Participant,
            run,
            standing,
        };
        let back = ClientMessage::Return(Box::new(back));
        self.server.say(connection, &back)
    }

    fn holds(&mut self, connection: u64, epoch: Epoch, of: &[(u32, &[u16])]) -> Vec<LobbyOutput> {
        let copy = |(version, of): &(u32, &[u16])| (Version(*version), layers(of));
        let holding = Holding {
            under: self.plan.epoch,
            updates: Step(7),
            copies: of.iter().map(copy).collect(),
            team: None,
        };
        let holdings = ClientMessage::Holdings { epoch, holding };
        self.server.say(connection, &holdings)
    }

    /// Owner and buddy of layers are lost: connections 10 and 11 of three. What 12 says is answered by this.
    fn loses_two(&mut self) -> Vec<LobbyOutput> {
        self.leaves(10);
        let epoch = halted(&self.leaves(11)).expect("a halt");
        self.holds(12, epoch, &[(6, &[1, 2, 3])])
    }
}

#[test]
fn owner_and_buddy_lost_together_are_waited_for_by_name_and_gone_on_with_from_disks() {
    let mut ring = Ring::of(3);
    assert_eq!(ring.plan.cuts, [0, 1, 2, 4]);
    ring.offers(10, &[(4, &[0, 2, 3])]);
    ring.offers(11, &[(4, &[0, 1])]);
    ring.offers(12, &[(4, &[1, 2, 3])]);
    let output = ring.loses_two();
    assert_eq!(prepared(&output), None);
    let reason = lacking(&output).expect("it waits");
    assert!(
        reason.contains("layer 1 of step 4") && reason.contains("waiting for a  phone"),
        "{reason}"
    );
    // Somebody else comes, with nothing: it goes on waiting.
    ring.comes(13);
    let output = ring.server.say(13, &offer(Vec::new()));
    assert!(lacking(&output).is_some() && prepared(&output).is_none());
    ring.comes(14);
    let past = ring.past();
    let output = ring.offers(14, &[(4, &[0, 2, 3])]);
    let plan = prepared(&output).expect("all layers are there again");
    assert_eq!((plan.start, plan.kept), (Version(4), Some(past)));
    assert_eq!(plan.check(4), Ok(()));
    assert_eq!(plan.stages(), 3);
    ring.plan = plan;
    ring.ready(12..15);
    let output = ring.server.say(14, &ClientMessage::Pause);
    assert_eq!(Server::states(&output).pop(), Some(RoomState::Paused));
}

#[test]
fn who_was_given_up_and_returns_is_asked_what_it_holds_before_the_ring_goes_on_from_older_layers() {
    let mut ring = Ring::of(3);
    ring.offers(10, &[(4, &[0, 2, 3])]);
    ring.offers(12, &[(4, &[1, 2, 3])]);
    ring.leaves(10);
    let epoch = halted(&ring.leaves(11)).expect("a halt");
    let output = ring.holds(12, epoch, &[(6, &[1, 2, 3])]);
    assert!(lacking(&output).is_some(), "nobody has layer 0");
    let output = ring.returns(13, 0);
    assert_eq!(halted(&output), Some(epoch), "it is asked");
    // With its disk, an older version is whole. It may hold the newer one.
    let output = ring.offers(13, &[(4, &[0, 2, 3])]);
    assert_eq!(prepared(&output), None);
    let output = ring.holds(13, epoch, &[(6, &[0, 2, 3])]);
    let plan = prepared(&output).expect("all that the newer one wants");
    assert_eq!((plan.start, plan.kept), (Version(6), None));
    // Also where it says so late that nobody waits for it any longer.
    let mut ring = Ring::of(3);
    ring.offers(10, &[(4, &[0, 2, 3])]);
    ring.offers(12, &[(4, &[1, 2, 3])]);
    ring.leaves(10);
    let epoch = halted(&ring.leaves(11)).expect("a halt");
    ring.holds(12, epoch, &[(6, &[1, 2, 3])]);
    ring.returns(13, 0);
    ring.offers(13, &[(4, &[0, 2, 3])]);
    ring.server.now = ring.server.now + HALT_WAIT_MAX;
    ring.server.input(LobbyInput::Tick);
    let said = ring.holds(13, epoch, &[(6, &[0, 2, 3])]);
    let plan = prepared(&said).expect("it is never too late");
    assert_eq!((plan.start, plan.kept), (Version(6), None));
}

#[test]
fn who_comes_again_and_again_under_new_names_keeps_a_ring_waiting_for_seconds_only() {
    let mut ring = Ring::of(3);
    let epoch = halted(&ring.leaves(11)).expect("a halt");
    let began = ring.server.now;
    for (connection, name) in (20..).zip(1..40) {
        let mut output = ring.returns_as(connection, PeerId(name));
        output.extend(ring.holds(10, epoch, &[(6, &[0, 2, 3])]));
        output.extend(ring.holds(12, epoch, &[(6, &[1, 2, 3])]));
        ring.server.now = ring.server.now + HALT_WAIT_MAX / 2;
        output.extend(ring.server.input(LobbyInput::Tick));
        if prepared(&output).is_some() {
            let waited = ring.server.now.since(began);
            assert!(waited <= 6 * HALT_WAIT_MAX, "{waited:?}");
            return;
        }
    }
    panic!("it waits for ever");
}

#[test]
fn a_ring_goes_on_from_disks_at_once_where_they_are_there_and_from_memory_where_that_is_newer() {
    let mut ring = Ring::of(3);
    ring.offers(12, &[(4, &[0, 1, 2, 3])]);
    let plan = prepared(&ring.loses_two()).expect("the disk has all");
    assert_eq!((plan.start, plan.kept), (Version(4), Some(ring.past())));
    let mut ring = Ring::of(3);
    ring.offers(12, &[(4, &[0, 1, 2, 3])]);
    let epoch = halted(&ring.leaves(11)).expect("a halt");
    ring.holds(10, epoch, &[(6, &[0, 2, 3])]);
    let plan = prepared(&ring.holds(12, epoch, &[(6, &[1, 2, 3])])).expect("a plan");
    assert_eq!((plan.start, plan.kept), (Version(6), None));
    // Of one past, what lies in memory and what lies on a disk go together.
    let mut ring = Ring::of(3);
    ring.offers(12, &[(6, &[0])]);
    let plan = prepared(&ring.loses_two()).expect("memory and disk have all");
    assert_eq!((plan.start, plan.kept), (Version(6), Some(ring.past())));
}

#[test]
fn whoever_presses_start_while_layers_are_missing_begins_anew_and_what_was_kept_is_given_up() {
    let mut ring = Ring::of(3);
    ring.offers(10, &[(4, &[0, 2, 3])]);
    ring.offers(12, &[(4, &[1, 2, 3])]);
    let reason = lacking(&ring.loses_two());
    assert!(reason.is_some());
    let output = ring.server.say(12, &ClientMessage::Start);
    let plan = prepared(&output).expect("a plan");
    assert_eq!((plan.start, plan.kept), (Version(0), None));
    ring.plan = plan;
    ring.ready(12..13);
    // The one that was waited for comes too late.
    ring.comes(14);
    let old = ring.past();
    let old = Past {
        epoch: Epoch {
            number: 1,
            ..old.epoch
        },
        ..old
    };
    let output = ring
        .server
        .say(14, &offer(vec![kept(old, 4, &[0, 1, 2, 3])]));
    assert_eq!(prepared(&output), None);
    ring.leaves(14);
    ring.leaves(12);
    let output = ring.comes(15);
    let welcomed = output.iter().find_map(|output| match output {
        LobbyOutput::Send {
            message: ServerMessage::Welcome { room, .. },
            ..
        } => Some(room.state.clone()),
        _ => None,
    });
    let stopped = matches!(welcomed, Some(RoomState::Stopped { .. }));
    assert!(stopped, "nothing is waited for: {welcomed:?}");
}

/// A ring of two, of which each device has memory for one half of the model, and for copies of both halves; the first is lost. The epoch of what `1` is asked.
fn half_is_lost() -> (Ring, Epoch) {
    let mut server = Server::new(ServerLimits::default());
    let mut run = run(2);
    run.outline.replication = Replication::Every(2);
    for layer in &mut run.outline.layers {
        layer.parameters = 1_000_000;
    }
    let room = server.create(1, run).expect("a room");
    let mut plan = None;
    for connection in [10, 11] {
        server.connect(connection);
        let mut join = common::join(room, Role::Participant);
        if let ClientMessage::Join { device, .. } = &mut join {
            device.memory_bytes = Some(90_000_000);
        }
        let output = server.say(connection, &join);
        plan = plan.or(prepared(&output));
    }
    let plan = plan.expect("a plan");
    let mut ring = Ring { server, room, plan };
    ring.ready(10..12);
    let epoch = halted(&ring.leaves(10)).expect("a halt");
    (ring, epoch)
}

#[test]
fn those_who_cannot_hold_the_model_keep_what_they_have_until_somebody_comes_or_gives_more() {
    for comes in [false, true] {
        let (mut ring, epoch) = half_is_lost();
        let output = ring.holds(11, epoch, &[(6, &[0, 1, 2, 3])]);
        assert_eq!(prepared(&output), None);
        let reason = lacking(&output).expect("it waits");
        assert!(reason.contains("lacks 22.0 MB"), "{reason}");
        let output = if comes {
            ring.comes(12);
            ring.server.say(12, &offer(Vec::new()))
        } else {
            let memory_bytes = Some(120_000_000);
            ring.server.say(11, &ClientMessage::Pledge { memory_bytes })
        };
        let plan = prepared(&output).expect("it fits");
        assert_eq!((plan.start, plan.kept), (Version(6), None));
        assert_eq!(plan.stages(), 1 + usize::from(comes));
    }
}

#[test]
fn without_samples_the_others_wait_for_who_has_some() {
    let mut server = Server::new(ServerLimits::default());
    let mut run = run(2);
    run.outline.replication = Replication::Every(2);
    run.outline.source = ringtmp_core::schedule::DataSource::Every;
    let room = server.create(1, run).expect("a room");
    let enter = |server: &mut Server, connection, with| {
        server.connect(connection);
        let mut join = common::join(room, Role::Participant);
        if let ClientMessage::Join { has_data, .. } = &mut join {
            *has_data = with;
        }
        server.say(connection, &join)
    };
    enter(&mut server, 10, true);
    let output = enter(&mut server, 11, false);
    let plan = prepared(&output).expect("one of them has samples");
    let mut ring = Ring { server, room, plan };
    ring.ready(10..12);
    let epoch = halted(&ring.leaves(10)).expect("a halt");
    let reason = lacking(&ring.holds(11, epoch, &[(6, &[0, 1, 2, 3])]));
    let reason = reason.expect("it waits");
    assert!(reason.contains("samples"), "{reason}");
    enter(&mut ring.server, 12, true);
    let output = ring.server.say(12, &offer(Vec::new()));
    assert_eq!(prepared(&output).expect("a source").start, Version(6));
}

#[test]
fn nobody_is_waited_for_who_has_nothing_that_is_missing() {
    // Nothing was kept.
    let mut ring = Ring::of(3);
    let plan = prepared(&ring.loses_two()).expect("anew");
    assert_eq!((plan.start, plan.kept), (Version(0), None));
    // What is missing lay on no disk.
    let mut ring = Ring::of(3);
    ring.offers(10, &[(4, &[2, 3])]);
    ring.offers(12, &[(4, &[1, 2, 3])]);
    let plan = prepared(&ring.loses_two()).expect("anew");
    assert_eq!((plan.start, plan.kept), (Version(0), None));
}

#[test]
fn a_run_that_all_have_left_goes_on_once_every_layer_is_back() {
    let mut ring = Ring::of(2);
    ring.offers(10, &[(4, &[0, 1])]);
    ring.offers(11, &[(4, &[2, 3]), (2, &[0, 1, 2, 3])]);
    ring.leaves(10);
    ring.leaves(11);
    let output = ring.comes(12);
    assert_eq!(prepared(&output), None);
    let output = ring.offers(12, &[(4, &[2, 3])]);
    let reason = lacking(&output).expect("the others' layers are missing");
    assert!(reason.contains("layers 1 to 2"), "{reason}");
    ring.comes(13);
    let output = ring.offers(13, &[(4, &[0, 1])]);
    let plan = prepared(&output).expect("all layers are back");
    assert_eq!((plan.start, plan.stages()), (Version(4), 2));
}

#[test]
fn lies_about_what_is_kept_are_bounded_and_count_for_nothing() {
    let absurd = |past: Past| {
        let long = "\u{7}x".repeat(10_000);
        let mut many: Vec<Kept> = (1..100).map(|v| kept(past, v, &[1])).collect();
        many.push(kept(past, 4, &[0, 1, 2, 3]));
        let mut named = kept(past, 4, &[0, 2, 3]);
        named.ring[0].name = long;
        let other_epoch = Epoch {
            number: 9,
            ..past.epoch
        };
        let elsewhere = Past {
            room: RoomCode::from_random(OLD_ROOM),
            ..past
        };
        let other_plan = Past {
            epoch: other_epoch,
            ..past
        };
        [
            many,
            vec![kept(past, 4, &[9, 100, u16::MAX])],
            vec![kept(past, 0, &[0, 1, 2, 3])],
            vec![kept(past, 10, &[0, 1, 2, 3]), kept(past, u32::MAX, &[0])],
            vec![kept(elsewhere, 4, &[0, 1, 2, 3])],
            vec![kept(other_plan, 4, &[0, 1, 2, 3])],
            vec![Kept {
                layers: vec![LayerIndex(0); 100_000 / 4],
                ..named
            }],
        ]
    };
    for lie in 0..absurd(Ring::of(1).past()).len() {
        let mut ring = Ring::of(3);
        let told = absurd(ring.past())[lie].clone();
        ring.server.say(12, &offer(told));
        let plan = prepared(&ring.loses_two()).expect("anew");
        assert_eq!((plan.start, plan.kept), (Version(0), None), "lie {lie}");
    }
    const { assert!(KEPT_MAX < 99) };
}

#[test]
fn who_says_that_it_keeps_what_it_does_not_is_cut_out_when_it_fails() {
    let mut ring = Ring::of(3);
    ring.offers(12, &[(4, &[0, 1, 2, 3])]);
    ring.offers(10, &[(4, &[0, 2, 3])]);
    let plan = prepared(&ring.loses_two()).expect("it is believed");
    let failed = ClientMessage::Failed {
        epoch: plan.epoch,
        reason: "layer 1 after 4 updates was cut short".to_owned(),
        culprit: None,
    };
    let reason = lacking(&ring.server.say(12, &failed)).expect("nobody has all of it");
    assert!(reason.contains("a  phone"), "{reason}");
}

/// A room that resumes a run for which it waits for so many peers.
fn resumed(peers: u16) -> Ring {
    let mut server = Server::new(ServerLimits::default());
    let mut run = run(peers);
    run.outline.replication = Replication::Every(2);
    run.resumes = Some(RoomCode::from_random(OLD_ROOM));
    let room = server.create(1, run).expect("a room");
    Ring {
        server,
        room,
        plan: Plan::default(),
    }
}

fn old_past() -> Past {
    Past {
        room: RoomCode::from_random(OLD_ROOM),
        epoch: Epoch {
            number: 8,
            incarnation: 3,
        },
    }
}

#[test]
fn a_room_that_resumes_waits_for_what_members_keep_and_begins_with_the_newest_whole_version() {
    let mut ring = resumed(2);
    let output = [ring.comes(10), ring.comes(11)].concat();
    assert_eq!(prepared(&output), None, "nobody has said what it keeps");
    let past = old_past();
    let other = Past {
        epoch: Epoch {
            number: 7,
            ..past.epoch
        },
        ..past
    };
    // Of version 8 a part is of another plan, and so of another past.
    let first = vec![kept(past, 8, &[0, 1]), kept(past, 6, &[0, 1, 2])];
    let output = ring.server.say(10, &offer(first));
    assert_eq!(prepared(&output), None);
    let second = vec![kept(other, 8, &[2, 3]), kept(past, 6, &[2, 3])];
    let output = ring.server.say(11, &offer(second));
    let plan = prepared(&output).expect("a plan");
    assert_eq!((plan.start, plan.kept), (Version(6), Some(past)));
    ring.plan = plan;
    ring.ready(10..12);
    // From here on it is a ring like others: who is lost with all others is waited for.
    ring.leaves(10);
    ring.leaves(11);
    ring.comes(12);
    let output = ring
        .server
        .say(12, &offer(vec![kept(past, 8, &[0, 1, 2, 3])]));
    assert_eq!(prepared(&output), None, "it is made again: {output:?}");
    let output = ring
        .server
        .say(12, &offer(vec![kept(past, 6, &[0, 1, 2, 3])]));
    assert_eq!(prepared(&output).expect("a plan").start, Version(6));
}

#[test]
fn a_room_that_resumes_names_who_is_missing_until_somebody_begins_anew() {
    let mut ring = resumed(0);
    ring.comes(10);
    ring.server
        .say(10, &offer(vec![kept(old_past(), 8, &[2, 3])]));
    let reason = lacking(&ring.server.say(10, &ClientMessage::Start)).expect("it waits");
    assert!(reason.contains("layers 1 to 2 of step 8"), "{reason}");
    assert!(reason.contains("the laptop or the phone"), "{reason}");
    ring.comes(11);
    let output = ring.server.say(11, &offer(Vec::new()));
    assert!(lacking(&output).is_some());
    let output = ring.server.say(11, &ClientMessage::Start);
    assert_eq!(prepared(&output).expect("anew").start, Version(0));
}

#[test]
fn who_does_not_say_what_it_keeps_is_not_waited_for_for_ever() {
    let mut ring = resumed(2);
    ring.comes(10);
    ring.server
        .say(10, &offer(vec![kept(old_past(), 8, &[0, 1, 2, 3])]));
    ring.comes(11);
    ring.server.now = ring.server.now + PROFILE_WAIT_MAX + Duration::from_millis(1);
    let output = ring.server.input(ringtmp_core::lobby::LobbyInput::Tick);
    assert_eq!(prepared(&output).expect("a plan").start, Version(8));
}

#[test]
fn who_has_layers_gets_a_stage_though_the_ring_were_faster_without() {
    let mut ring = resumed(2);
    let profile = |seconds: f64| ClientMessage::Profile {
        profile: ringtmp_core::profile::Profile {
            layer_seconds: vec![[seconds; 3]; 4],
            noise: 0.0,
            links: Vec::new(),
            medium_bytes_per_second: None,
        },
    };
    let mut server = Server::new(ServerLimits::default());
    let mut run = run(2);
    run.outline.replication = Replication::Every(2);
    run.outline.planning = ringtmp_core::profile::Planning::Measured;
    run.resumes = Some(RoomCode::from_random(OLD_ROOM));
    ring.room = server.create(1, run).expect("a room");
    ring.server = server;
    ring.comes(10);
    ring.comes(11);
    let mut output = Vec::new();
    for (connection, seconds, of) in [(10, 1e-3, [0, 1]), (11, 10.0, [2, 3])] {
        ring.server.say(connection, &profile(seconds));
        let offered = offer(vec![kept(old_past(), 8, &of)]);
        output = ring.server.say(connection, &offered);
    }
    let plan = prepared(&output).expect("a plan");
    assert_eq!((plan.start, plan.stages()), (Version(8), 2));
}

/// The tail of a ring of two that trains, is replicated, and keeps versions.
fn tail() -> Node {
    let mut run = run_of_two();
    run.outline.replication = Replication::Every(2);
    let mut node = pair::training(TAIL, HEAD, vec![StageIndex(0)], run);
    let every = Some(Duration::from_secs(5));
    let kept = Vec::new();
    feed(&mut node, Input::Storage { every, kept });
    node
}

fn control(body: Body) -> Input {
    Input::Control {
        from: HEAD,
        epoch: EPOCH,
        body,
    }
}

fn this_past() -> Past {
    Past {
        room: RoomCode::from_random([1; 10]),
        epoch: EPOCH,
    }
}

/// A version becomes stable and is to be kept; what comes of it. The tail has the head's layer, and makes a copy of its own.
fn stable(node: &mut Node, version: u32, keep: bool) -> Vec<Output> {
    let version = Version(version);
    let copies = vec![(LayerIndex(1), 8)];
    let piece = ringtmp_core::wire::Piece {
        from: StageIndex(0),
        to: StageIndex(1),
        version,
        layer: LayerIndex(0),
        total: 8,
        offset: 0,
        bytes: 8,
    };
    let payload = ringtmp_core::ids::PayloadId(7);
    feed(
        node,
        control(Body::Mark {
            version,
            rest: false,
        }),
    );
    let (epoch, from) = (EPOCH, HEAD);
    feed(
        node,
        Input::Piece {
            from,
            epoch,
            piece,
            payload,
        },
    );
    let took = Duration::ZERO;
    feed(
        node,
        Input::Snapped {
            epoch,
            version,
            copies,
            took,
        },
    );
    let here = Body::PieceHere {
        from: StageIndex(1),
        version,
        layer: LayerIndex(1),
        received: 8,
    };
    feed(node, control(here));
    let secured = Body::Secured {
        version,
        cost_micros: 0,
        busy: false,
    };
    let told = feed(node, control(secured));
    let [told @ .., last] = &mut feed(node, control(Body::Stable { version, keep }))[..] else {
        panic!("{told:?}");
    };
    [told.to_vec(), vec![last.clone()]].concat()
}

fn keeps(outputs: &[Output]) -> Option<Kept> {
    outputs.iter().find_map(|output| match output {
        Output::Keep { kept } => Some(kept.clone()),
        _ => None,
    })
}

fn offers(outputs: &[Output]) -> Option<Vec<u32>> {
    outputs.iter().find_map(|output| match output {
        Output::ToRoom(ClientMessage::Offer { kept, .. }) => {
            Some(kept.iter().map(|kept| kept.version.0).collect())
        }
        _ => None,
    })
}

#[test]
fn a_stage_keeps_its_layers_and_its_predecessors_when_the_head_says_so_and_two_versions_at_most() {
    let mut node = tail();
    assert_eq!(keeps(&stable(&mut node, 2, false)), None);
    let first = keeps(&stable(&mut node, 4, true)).expect("it is to be kept");
    assert_eq!((first.past, first.version), (this_past(), Version(4)));
    assert_eq!(first.layers, layers(&[0, 1]));
    let ends: Vec<u16> = first.ring.iter().map(|home| home.layers_end).collect();
    assert_eq!(ends, [1, 2]);
    let kept = |kept: Kept| Input::Kept { kept: Some(kept) };
    assert_eq!(offers(&feed(&mut node, kept(first))), Some(vec![4]));
    let second = keeps(&stable(&mut node, 6, true)).expect("it is to be kept");
    assert_eq!(offers(&feed(&mut node, kept(second))), Some(vec![4, 6]));
    let third = keeps(&stable(&mut node, 8, true)).expect("it is to be kept");
    let outputs = feed(&mut node, kept(third));
    assert_eq!(offers(&outputs), Some(vec![6, 8]));
    let versions = vec![(this_past(), Version(4))];
    assert!(outputs.contains(&Output::Forsake { versions }));
    // What could not be written is offered to nobody.
    assert!(keeps(&stable(&mut node, 10, true)).is_some());
    assert_eq!(offers(&feed(&mut node, Input::Kept { kept: None })), None);
}

#[test]
fn a_disk_that_is_busy_is_told_of_and_given_nothing_more() {
    let mut node = tail();
    let first = keeps(&stable(&mut node, 2, true)).expect("it is to be kept");
    let mark = Body::Mark {
        version: Version(4),
        rest: false,
    };
    feed(&mut node, control(mark));
    let secured = Body::Secured {
        version: Version(4),
        cost_micros: 0,
        busy: false,
    };
    feed(&mut node, control(secured));
    let (epoch, version, took) = (EPOCH, Version(4), Duration::ZERO);
    let copies = vec![(LayerIndex(1), 8)];
    feed(
        &mut node,
        Input::Snapped {
            epoch,
            version,
            copies,
            took,
        },
    );
    let here = Body::PieceHere {
        from: StageIndex(1),
        version,
        layer: LayerIndex(1),
        received: 8,
    };
    let outputs = feed(&mut node, control(here));
    let busy = outputs.iter().find_map(|output| match output {
        Output::Send {
            body: Body::Secured { busy, .. },
            ..
        } => Some(*busy),
        _ => None,
    });
    assert_eq!(busy, Some(true), "{outputs:?}");
    let keep = true;
    let outputs = feed(&mut node, control(Body::Stable { version, keep }));
    assert_eq!(keeps(&outputs), None);
    let kept = Some(first);
    assert_eq!(
        offers(&feed(&mut node, Input::Kept { kept })),
        Some(vec![2])
    );
}

/// A plan that goes on from what lies on disks. The tail has both layers there, and gives the head its own.
fn from_disks() -> Plan {
    let limits = Limits {
        credit: 2,
        weights_pending: 1,
        slots: 3,
    };
    Plan {
        epoch: Epoch {
            number: 5,
            incarnation: 0,
        },
        order: vec![HEAD, TAIL],
        cuts: vec![0, 1, 2],
        limits: vec![limits; 2],
        sources: vec![StageIndex(0)],
        codecs: vec![TensorCodec::F32],
        start: Version(4),
        kept: Some(old_past()),
        moves: vec![Move {
            layer: LayerIndex(0),
            from: StageIndex(1),
            to: StageIndex(0),
        }],
        ..Plan::default()
    }
}

#[test]
fn a_stage_gets_its_layers_and_those_that_it_gives_from_its_disk_before_it_is_built() {
    let mut node = tail();
    let every = Some(Duration::from_secs(5));
    let there = vec![kept(old_past(), 4, &[0, 1]), kept(old_past(), 6, &[0, 1])];
    feed(&mut node, Input::Storage { every, kept: there });
    let plan = from_disks();
    let epoch = plan.epoch;
    let outputs = feed(&mut node, Input::Room(ServerMessage::Prepare { plan }));
    let copy = |layer| CopyId {
        version: Version(4),
        layer: LayerIndex(layer),
    };
    let load = Output::Load {
        epoch,
        past: old_past(),
        copies: vec![copy(0), copy(1)],
    };
    assert!(outputs.contains(&load), "{outputs:?}");
    let builds = |outputs: &[Output]| {
        let mut outputs = outputs.iter();
        outputs.any(|output| matches!(output, Output::Build(_)))
    };
    assert!(!builds(&outputs));
    let copies = vec![(copy(0), 8), (copy(1), 8)];
    let outputs = feed(&mut node, Input::Loaded { epoch, copies });
    assert!(builds(&outputs), "{outputs:?}");
    let up = feed(&mut node, Input::LinkUp { peer: HEAD });
    let hello = ringtmp_core::wire::Hello {
        protocol: PROTOCOL_VERSION,
        room: this_past().room,
        peer: HEAD,
    };
    let body = Body::Hello(hello);
    let greeted = feed(
        &mut node,
        Input::Control {
            from: HEAD,
            epoch,
            body,
        },
    );
    let gives = [outputs, up, greeted].concat();
    let gives = gives.iter().any(
        |output| matches!(output, Output::SendPiece { piece, .. } if piece.layer == LayerIndex(0)),
    );
    assert!(gives, "the head's layer is on its way");
    // Training begins, and what is newer is given up.
    feed(&mut node, Input::Built { epoch });
    let outputs = feed(&mut node, Input::Room(ServerMessage::Commit { epoch }));
    assert_eq!(offers(&outputs), Some(vec![4]));
}

#[test]
fn what_comes_from_the_disk_too_late_is_forgotten_and_what_is_not_there_is_said() {
    let mut node = tail();
    let every = Some(Duration::from_secs(5));
    let there = vec![kept(old_past(), 4, &[0, 1])];
    feed(&mut node, Input::Storage { every, kept: there });
    let plan = from_disks();
    let epoch = plan.epoch;
    feed(&mut node, Input::Room(ServerMessage::Prepare { plan }));
    let halt = ServerMessage::Halt {
        epoch: Epoch {
            number: 6,
            incarnation: 0,
        },
        reason: "a phone left".to_owned(),
    };
    feed(&mut node, Input::Room(halt));
    let copy = CopyId {
        version: Version(4),
        layer: LayerIndex(1),
    };
    let copies = vec![(copy, 8)];
    let outputs = feed(&mut node, Input::Loaded { epoch, copies });
    assert_eq!(outputs, [Output::Forget { copies: vec![copy] }]);
    // A plan that counts on what this peer never had.
    let plan = Plan {
        epoch: Epoch {
            number: 7,
            incarnation: 0,
        },
        kept: Some(this_past()),
        ..from_disks()
    };
    let outputs = feed(&mut node, Input::Room(ServerMessage::Prepare { plan }));
    let fails = outputs.iter().any(|output| {
        matches!(output, Output::ToRoom(ClientMessage::Failed { reason, .. }) if reason.contains("no copy of layer 2"))
    });
    assert!(fails, "{outputs:?}");
}

#[test]
fn a_run_that_is_over_is_kept_no_longer() {
    let mut node = tail();
    let first = keeps(&stable(&mut node, 2, true)).expect("it is to be kept");
    let room = RoomView {
        code: this_past().room,
        state: RoomState::Finished,
        members: Vec::new(),
        host: None,
        plan: None,
        result: None,
        recoveries: Vec::new(),
        stable: None,
        kept: None,
        replicated_every: None,
    };
    let over = |room: &RoomView| {
        let room = std::sync::Arc::new(room.clone());
        Input::Room(ServerMessage::Room { room })
    };
    let outputs = feed(&mut node, over(&room));
    assert!(outputs.contains(&Output::Clear));
    assert!(!feed(&mut node, over(&room)).contains(&Output::Clear));
    let kept = Some(first);
    assert_eq!(offers(&feed(&mut node, Input::Kept { kept })), None);
}
