//! Members that lose their sockets, and a server that loses its memory.

mod common;

use common::{Server, closes, doubted, join, returns, run, tick_after};
use ringtmp_core::ids::{
    Epoch, LayerIndex, MemberToken, PeerId, RoomCode, StageIndex, Step, Version,
};
use ringtmp_core::lobby::{ConnectionId, Limits as ServerLimits, LobbyOutput};
use ringtmp_core::node::{Input, Node, Output, Polled};
use ringtmp_core::plan::{Plan, Spare, SpareReason};
use ringtmp_core::room::{AWAY_WAIT_MAX, HALT_WAIT_MAX, REBUILD_WAIT_MAX};
use ringtmp_core::signal::*;
use ringtmp_core::time::Time;

/// A node and the socket that it has.
struct Peer {
    node: Node,
    connection: u64,
}

impl Peer {
    fn id(&self) -> PeerId {
        self.node.me().expect("a member")
    }

    fn returning(&self) -> Returning {
        let back = self.node.returning(common::device(), true, Vec::new());
        back.expect("it was welcomed")
    }

    /// Hears what is for it, and gives what it says to the room, links and stages being there at once.
    fn hears(&mut self, now: Time, output: &[LobbyOutput]) -> Vec<ClientMessage> {
        let mut says = Vec::new();
        for output in output {
            match output {
                LobbyOutput::Send {
                    connection,
                    message,
                } if connection.0 == self.connection => {
                    self.node.handle(now, Input::Room(message.clone()));
                }
                LobbyOutput::Send { .. } | LobbyOutput::Close { .. } => {}
            }
            while let Polled::Do(output) = self.node.poll_output() {
                match output {
                    Output::ToRoom(ClientMessage::Clock { .. } | ClientMessage::Profile { .. }) => {
                    }
                    Output::ToRoom(message) => says.push(message),
                    Output::Build(assignment) => {
                        let epoch = assignment.epoch;
                        self.node.handle(now, Input::Built { epoch });
                    }
                    _ => {}
                }
            }
        }
        says
    }
}

/// A room of a run with one device for each of `n`, which trains, seen by the nodes of its members. Links are taken to be there: a peer
/// says ready as soon as its stage is built.
fn training(server: &mut Server, n: u16) -> (RoomCode, Vec<Peer>, Plan) {
    let mut run = run(n);
    run.outline.replication = Replication::Every(2);
    let room = server.create(1, run).expect("a room");
    let mut peers: Vec<Peer> = Vec::new();
    let mut plan = None;
    for connection in 10..10 + u64::from(n) {
        server.connect(connection);
        let node = Node::new();
        peers.push(Peer { node, connection });
        let output = server.say(connection, &join(room, Role::Participant));
        plan = plan.or(common_plan(&output));
        for peer in &mut peers {
            peer.hears(server.now, &output);
        }
    }
    let plan = plan.expect("a plan");
    for connection in 10..10 + u64::from(n) {
        let (epoch, links) = (plan.epoch, Vec::new());
        let output = server.say(connection, &ClientMessage::Ready { epoch, links });
        for peer in &mut peers {
            peer.hears(server.now, &output);
        }
    }
    (room, peers, plan)
}

fn common_plan(output: &[LobbyOutput]) -> Option<Plan> {
    output.iter().find_map(|output| match output {
        LobbyOutput::Send {
            message: ServerMessage::Prepare { plan },
            ..
        } => Some(plan.clone()),
        _ => None,
    })
}

/// Who is told a plan, and which.
fn planned(output: &[LobbyOutput]) -> Vec<(u64, Epoch)> {
    let plans = output.iter().filter_map(|output| match output {
        LobbyOutput::Send {
            connection,
            message: ServerMessage::Prepare { plan },
        } => Some((connection.0, plan.epoch)),
        _ => None,
    });
    plans.collect()
}

fn halts(output: &[LobbyOutput]) -> Vec<Epoch> {
    let halts = output.iter().filter_map(|output| match output {
        LobbyOutput::Send {
            message: ServerMessage::Halt { epoch, .. },
            ..
        } => Some(*epoch),
        _ => None,
    });
    halts.collect()
}

fn ring_of(back: &mut Returning) -> &mut Plan {
    match &mut back.standing.plan {
        Some(RoomPlan::Ring(plan)) => plan,
        other => panic!("it trains in a ring: {other:?}"),
    }
}

#[test]
fn a_closed_socket_ends_nothing_as_long_as_the_neighbours_hear_the_device() {
    let mut server = Server::new(ServerLimits::default());
    let (_, peers, plan) = training(&mut server, 3);
    let output = closes(&mut server, 11);
    assert_eq!(doubted(&output), [(10, peers[1].id()), (12, peers[1].id())]);
    assert_eq!(halts(&output), []);
    assert_eq!(halts(&tick_after(&mut server, 20 * AWAY_WAIT_MAX)), []);
    // It is back, over another socket: nobody else has noticed.
    let output = returns(&mut server, 21, peers[1].returning());
    assert_eq!((Server::refusal(&output), halts(&output)), (None, vec![]));
    assert_eq!(Server::states(&output).last(), Some(&RoomState::Training));
    // Away again, and this time a neighbour hears nothing of it either.
    closes(&mut server, 21);
    let lost = ClientMessage::LinkLost {
        epoch: plan.epoch,
        peer: peers[1].id(),
        reason: "nothing was heard".to_owned(),
    };
    assert_eq!(halts(&server.say(10, &lost)).len(), 2);
}

#[test]
fn who_is_away_before_the_start_is_waited_for_and_then_given_up() {
    let mut server = Server::new(ServerLimits::default());
    let room = server.create(1, run(3)).expect("a room");
    for connection in [10, 11] {
        server
            .enter(connection, room, Role::Participant)
            .expect("let in");
    }
    let status = |output: &[LobbyOutput]| -> Vec<MemberStatus> {
        let room = output.iter().rev().find_map(|output| match output {
            LobbyOutput::Send {
                message: ServerMessage::Room { room },
                ..
            } => Some(room.clone()),
            _ => None,
        });
        let members = room.into_iter().flat_map(|room| room.members.clone());
        members.map(|member| member.status).collect()
    };
    let away = status(&closes(&mut server, 11));
    assert_eq!(away, [MemberStatus::Waiting, MemberStatus::Away]);
    let before = AWAY_WAIT_MAX.mul_f64(0.9);
    assert_eq!(status(&tick_after(&mut server, before)), []);
    let after = status(&tick_after(&mut server, AWAY_WAIT_MAX.mul_f64(0.2)));
    assert_eq!(after, [MemberStatus::Waiting]);
}

#[test]
fn nobody_returns_as_another() {
    let mut server = Server::new(ServerLimits::default());
    let (_, peers, _) = training(&mut server, 3);
    let mut thief = peers[1].returning();
    thief.token = MemberToken(1);
    let output = returns(&mut server, 31, thief);
    assert_eq!(Server::refusal(&output), Some(&Refusal::NotThatMember));
    let mut old = peers[1].returning();
    old.protocol -= 1;
    let output = returns(&mut server, 32, old);
    assert!(matches!(
        Server::refusal(&output),
        Some(Refusal::Version { .. })
    ));
    // The member itself may, though its old socket seems to be open: that one is closed.
    let output = returns(&mut server, 33, peers[1].returning());
    assert_eq!(Server::refusal(&output), None);
    let closed = output.iter().find_map(|output| match output {
        LobbyOutput::Close { connection } => Some(connection.0),
        LobbyOutput::Send { .. } => None,
    });
    assert_eq!(closed, Some(11));
    assert_eq!(doubted(&closes(&mut server, 11)), [], "nobody is away");
}

#[test]
fn a_server_that_forgot_everything_learns_it_from_the_devices_and_interrupts_nobody() {
    let (_, peers, plan) = training(&mut Server::new(ServerLimits::default()), 3);
    let mut server = Server::restarted(7);
    let mut all = Vec::new();
    for peer in &peers {
        all = returns(&mut server, 20 + peer.connection, peer.returning());
        assert_eq!((Server::refusal(&all), halts(&all)), (None, vec![]));
    }
    assert_eq!(Server::states(&all).last(), Some(&RoomState::Training));
    // What is said of the run counts as before.
    let stable = ClientMessage::Stable {
        epoch: plan.epoch,
        version: Version(4),
        every: 2,
        at_rest: false,
    };
    server.say(30, &stable);
    let output = server.say(32, &ClientMessage::Leave);
    let halts = halts(&output);
    assert_eq!(halts.len(), 2);
    let next = Epoch {
        number: plan.epoch.number + 1,
        incarnation: 7,
    };
    assert_eq!(halts[0], next, "never issued by the server before");
}

#[test]
fn a_ring_that_is_paused_stays_so_though_the_server_is_restarted_again_and_again() {
    let mut server = Server::new(ServerLimits::default());
    let (_, mut peers, _) = training(&mut server, 3);
    let output = server.say(peers[0].connection, &ClientMessage::Pause);
    for peer in &mut peers {
        peer.hears(server.now, &output);
    }
    for (incarnation, those) in [(7, [0, 1]), (8, [0, 2])] {
        // This one learns of two devices only before it dies.
        let mut server = Server::restarted(incarnation);
        for at in those {
            peers[at].connection += 10;
            let output = returns(&mut server, peers[at].connection, peers[at].returning());
            let states = Server::states(&output);
            let learns = matches!(states.last(), Some(RoomState::Reconfiguring { .. }));
            assert!(learns, "{states:?}");
            peers[at].hears(server.now, &output);
        }
    }
    let mut server = Server::restarted(9);
    let mut all = Vec::new();
    for peer in &peers {
        all = returns(&mut server, 40 + peer.connection, peer.returning());
    }
    assert_eq!(Server::states(&all).last(), Some(&RoomState::Paused));
}

#[test]
fn a_ring_of_another_server_takes_in_a_room_that_has_not_begun() {
    let mut before = Server::new(ServerLimits::default());
    let (_, peers, _) = training(&mut before, 3);
    // One who came too late for the first server to plan with it looks for the second, which knows of nothing.
    let mut late = peers[0].returning();
    late.peer = PeerId(99);
    late.standing = Standing {
        state: RoomState::Waiting,
        plan: None,
        phase: Phase::Idle,
        stable: None,
        points: Vec::new(),
    };
    let mut server = Server::restarted(1);
    let output = returns(&mut server, 20, late);
    assert_eq!(Server::states(&output).last(), Some(&RoomState::Waiting));
    for (connection, peer) in (30..).zip(&peers) {
        let output = returns(&mut server, connection, peer.returning());
        assert_eq!((halts(&output), planned(&output)), (vec![], vec![]));
        let state = Server::states(&output).pop();
        let all = connection == 32;
        assert_eq!(state == Some(RoomState::Training), all, "{state:?}");
    }
}

#[test]
fn who_obeys_an_older_plan_than_the_ring_is_told_the_newer_one_after_a_restart() {
    let (_, peers, plan) = training(&mut Server::new(ServerLimits::default()), 3);
    // The ring was put together without this one, which was cut off and does not know it.
    let mut old = peers[0].returning();
    let older = ring_of(&mut old);
    older.epoch.number -= 1;
    older.order[0] = PeerId(99);
    old.peer = PeerId(99);
    let mut server = Server::restarted(1);
    returns(&mut server, 20, old);
    let mut output = Vec::new();
    for (connection, peer) in (30..).zip(&peers) {
        assert_eq!(planned(&output), []);
        output = returns(&mut server, connection, peer.returning());
    }
    assert_eq!(Server::states(&output).last(), Some(&RoomState::Training));
    assert_eq!(planned(&output), [(20, plan.epoch)]);
}

#[test]
fn a_ring_that_came_to_rest_for_the_server_before_is_put_together_anew() {
    let (_, peers, plan) = training(&mut Server::new(ServerLimits::default()), 3);
    let mut server = Server::restarted(7);
    for peer in &peers {
        returns(&mut server, 20 + peer.connection, peer.returning());
    }
    let stable = ClientMessage::Stable {
        epoch: plan.epoch,
        version: Version(4),
        every: 2,
        at_rest: true,
    };
    let output = server.say(30, &stable);
    assert_eq!(halts(&output).len(), 3);
    // What is said again is of an epoch that is over.
    assert_eq!(halts(&server.say(30, &stable)), []);
}

#[test]
fn more_than_half_of_a_ring_goes_on_after_a_restart_and_half_of_it_waits_for_the_users_word() {
    for (there, goes_on) in [(3, true), (2, false)] {
        let (_, peers, plan) = training(&mut Server::new(ServerLimits::default()), 4);
        let mut server = Server::restarted(1);
        for peer in &peers[..there] {
            let output = returns(&mut server, 20 + peer.connection, peer.returning());
            assert_eq!(halts(&output), [], "the others are waited for");
        }
        let output = tick_after(&mut server, REBUILD_WAIT_MAX);
        assert_eq!(!halts(&output).is_empty(), goes_on, "{there} of 4");
        if !goes_on {
            let states = Server::states(&output);
            let waits = |state: &RoomState| matches!(state, RoomState::Reconfiguring { reason } if reason.contains("only 2 of 4"));
            assert!(states.iter().any(waits), "{states:?}");
            let output = server.say(30, &ClientMessage::Start);
            let halts = halts(&output);
            assert!(halts.iter().all(|epoch| *epoch > plan.epoch));
            assert_eq!(halts.len(), 2);
        }
    }
}

#[test]
fn what_was_said_to_a_server_that_died_is_said_again() {
    let mut server = Server::new(ServerLimits::default());
    let (_, mut peers, plan) = training(&mut server, 2);
    let epoch = plan.epoch;
    // Both have done their part, and the server has died before it heard of it.
    for peer in &mut peers {
        let done = Input::Digested {
            epoch,
            digests: Vec::new(),
            links: Vec::new(),
        };
        peer.node.handle(server.now, done);
        let now = server.now;
        peer.hears(
            now,
            &[LobbyOutput::Close {
                connection: ConnectionId(0),
            }],
        );
    }
    let mut server = Server::restarted(2);
    let mut states = Vec::new();
    for peer in &mut peers {
        peer.connection += 20;
        let output = returns(&mut server, peer.connection, peer.returning());
        for message in peer.hears(server.now, &output) {
            let output = server.say(peer.connection, &message);
            states.extend(Server::states(&output));
        }
    }
    assert_eq!(states.last(), Some(&RoomState::Finished), "{states:?}");
}

#[test]
fn what_returning_peers_claim_is_checked() {
    let (_, peers, _) = training(&mut Server::new(ServerLimits::default()), 3);
    let mut server = Server::restarted(1);
    let mut liar = peers[0].returning();
    let plan = ring_of(&mut liar);
    plan.cuts = vec![0, 9, 3, 4];
    let output = returns(&mut server, 40, liar);
    assert_eq!(
        Server::refusal(&output),
        None,
        "it is a member, without a plan"
    );
    // A number after which there is none: no halt could follow it.
    let mut last = peers[2].returning();
    let plan = ring_of(&mut last);
    plan.epoch.number = u32::MAX;
    last.standing.state = RoomState::Stopped {
        reason: "because ".repeat(1000),
    };
    let output = returns(&mut server, 42, last);
    assert_eq!(Server::refusal(&output), None);
    let mut of_another = peers[1].returning();
    of_another.run.outline.layers.clear();
    let mut elsewhere = of_another.clone();
    elsewhere.room = RoomCode::from_random([9; 10]);
    let output = returns(&mut server, 41, elsewhere);
    assert!(matches!(
        Server::refusal(&output),
        Some(Refusal::BadRun { .. })
    ));
    let states = Server::states(&tick_after(&mut server, REBUILD_WAIT_MAX));
    assert_eq!(
        states.last(),
        Some(&RoomState::Waiting),
        "nobody knows a plan that can be"
    );
}

#[test]
fn a_plan_with_lists_longer_than_any_room_makes_is_no_plan() {
    let endless: [fn(&mut Plan); 2] = [
        |plan| plan.pasts = vec![plan.epoch; 1000],
        |plan| {
            let spare = Spare {
                peer: PeerId(9),
                reason: SpareReason::FasterWithout,
            };
            plan.spares = vec![spare; 2000];
        },
    ];
    for lie in endless {
        let (_, peers, _) = training(&mut Server::new(ServerLimits::default()), 3);
        let mut server = Server::restarted(1);
        let mut liar = peers[0].returning();
        lie(ring_of(&mut liar));
        assert_eq!(Server::refusal(&returns(&mut server, 40, liar)), None);
        let states = Server::states(&tick_after(&mut server, REBUILD_WAIT_MAX));
        assert_eq!(states.last(), Some(&RoomState::Waiting));
    }
}

/// What this peer has of version 4 under a plan: its own layers and those of the stage before it.
fn holds(plan: &Plan, stage: u16) -> Holding {
    let before = (usize::from(stage) + plan.stages() - 1) % plan.stages();
    let of = |stage: u16| {
        let layers = plan.layers(StageIndex(stage));
        (layers.start.0..layers.end.0).map(LayerIndex)
    };
    let mut copies: Vec<LayerIndex> = of(stage).chain(of(before as u16)).collect();
    copies.sort_unstable();
    copies.dedup();
    Holding {
        under: plan.epoch,
        updates: Step(5),
        copies: vec![(Version(4), copies)],
        team: None,
    }
}

/// The two that are left of it say what they hold, if they are asked.
fn answered(server: &mut Server, plan: &Plan, output: &[LobbyOutput]) -> Vec<LobbyOutput> {
    let mut all = Vec::new();
    let asked = halts(output).last().copied();
    for (epoch, (connection, stage)) in asked.into_iter().cycle().zip([(10, 0), (13, 3)]) {
        let holding = holds(plan, stage);
        all.extend(server.say(connection, &ClientMessage::Holdings { epoch, holding }));
    }
    all
}

/// A ring of four that loses two neighbours, in this way, once version 4 is stable; the others have said what they hold.
fn two_of_four_are_lost(
    server: &mut Server,
    lose: impl Fn(&mut Server, &Plan, u64) -> Vec<LobbyOutput>,
) -> (Vec<Peer>, Plan, Vec<LobbyOutput>) {
    let (_, peers, plan) = training(server, 4);
    let stable = ClientMessage::Stable {
        epoch: plan.epoch,
        version: Version(4),
        every: 2,
        at_rest: false,
    };
    server.say(10, &stable);
    let mut output = lose(server, &plan, 11);
    output.extend(lose(server, &plan, 12));
    output.extend(tick_after(server, HALT_WAIT_MAX / 2));
    output.extend(answered(server, &plan, &output));
    // Who is away is given up, and the others are asked again.
    let given_up = tick_after(server, AWAY_WAIT_MAX - HALT_WAIT_MAX / 2);
    output.extend(answered(server, &plan, &given_up));
    (peers, plan, output)
}

fn falls_asleep(server: &mut Server, plan: &Plan, connection: u64) -> Vec<LobbyOutput> {
    closes(server, connection);
    let lost = ClientMessage::LinkLost {
        epoch: plan.epoch,
        peer: plan.order[(connection - 10) as usize],
        reason: "nothing was heard".to_owned(),
    };
    server.say(10, &lost)
}

#[test]
fn who_may_still_have_in_memory_what_is_missing_is_waited_for() {
    let mut server = Server::new(ServerLimits::default());
    let (peers, plan, output) = two_of_four_are_lost(&mut server, falls_asleep);
    let state = Server::states(&output).pop();
    let waits = matches!(&state, Some(RoomState::Lacking { reason }) if reason.contains("its memory alone"));
    assert!(waits, "{state:?}");
    assert_eq!(planned(&output), []);
    assert_eq!(planned(&tick_after(&mut server, 100 * AWAY_WAIT_MAX)), []);
    // One of the two is back: with it the version is whole.
    let output = returns(&mut server, 22, peers[2].returning());
    let epoch = *halts(&output).last().expect("it is asked");
    let holding = holds(&plan, 2);
    let output = server.say(22, &ClientMessage::Holdings { epoch, holding });
    let goes_on = common_plan(&output).expect("a plan");
    assert_eq!((goes_on.start, goes_on.stages()), (Version(4), 3));
}

#[test]
fn nobody_waits_for_memory_that_was_given_up_on_purpose_or_after_begin_anew() {
    let leaves = |server: &mut Server, _: &Plan, connection: u64| {
        server.say(connection, &ClientMessage::Leave)
    };
    let mut server = Server::new(ServerLimits::default());
    let (_, _, output) = two_of_four_are_lost(&mut server, leaves);
    assert_eq!(common_plan(&output).expect("a plan").start, Version(0));

    let mut server = Server::new(ServerLimits::default());
    two_of_four_are_lost(&mut server, falls_asleep);
    let output = server.say(10, &ClientMessage::Start);
    assert_eq!(common_plan(&output).expect("a plan").start, Version(0));
}
