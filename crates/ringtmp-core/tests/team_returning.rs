//! Members of a team that lose their sockets, and a server that loses its memory.

mod common;

use common::{Server, closes, device, doubted, join, prepared, returns, run, tick_after};
use ringtmp_core::ids::{Epoch, MemberToken, PeerId, RoomCode, Step, Version};
use ringtmp_core::lobby::{Limits, LobbyOutput};
use ringtmp_core::parameter_server::{Placement, ShardIndex, TeamPlan, TeamStart, Topology};
use ringtmp_core::room::{AWAY_WAIT_MAX, REBUILD_WAIT_MAX};
use ringtmp_core::signal::*;
use std::time::Duration;

/// The first to come serves.
const SERVER: u64 = 10;

/// A room of a server and two workers that trains, and what each says who comes back to it.
struct Team {
    server: Server,
    plan: TeamPlan,
    backs: Vec<Returning>,
}

fn descriptor() -> RunDescriptor {
    let mut run = run(3);
    run.outline.steps = 40;
    run.outline.replication = Replication::Every(2);
    run.outline.topology = Topology::ParameterServer {
        placement: Placement::Single,
        shards: 1,
    };
    run.outline.micro_batches = 6;
    run
}

fn training() -> Team {
    let mut server = Server::new(Limits::default());
    let room = server.create(1, descriptor()).expect("a room");
    let (mut backs, mut plan) = (Vec::new(), None);
    for connection in SERVER..SERVER + 3 {
        let role = match connection {
            SERVER => Role::Server,
            _ => Role::Participant,
        };
        let (back, output) = comes(&mut server, connection, room, role);
        plan = plan.or(prepared(&output));
        backs.push(back);
    }
    let plan = plan.expect("a plan");
    for connection in SERVER..SERVER + 3 {
        is_ready(&mut server, connection, plan.epoch);
    }
    for back in &mut backs {
        back.standing.plan = Some(RoomPlan::Team(plan.clone()));
    }
    Team {
        server,
        plan,
        backs,
    }
}

/// Joins a room, and what it says should it come back.
fn comes(
    server: &mut Server,
    connection: u64,
    room: RoomCode,
    role: Role,
) -> (Returning, Vec<LobbyOutput>) {
    server.connect(connection);
    let output = server.say(connection, &join(room, role));
    let (peer, token) = welcomed(&output, connection).expect("let in");
    let back = Returning {
        protocol: PROTOCOL_VERSION,
        room,
        peer,
        token,
        proof: None,
        role,
        device: device(),
        has_data: true,
        run: descriptor(),
        standing: Standing {
            state: RoomState::Training,
            plan: None,
            phase: Phase::Training,
            stable: None,
            points: Vec::new(),
        },
    };
    (back, output)
}

fn is_ready(server: &mut Server, connection: u64, epoch: Epoch) {
    let links = Vec::new();
    server.say(connection, &ClientMessage::Ready { epoch, links });
}

fn welcomed(output: &[LobbyOutput], to: u64) -> Option<(PeerId, MemberToken)> {
    output.iter().find_map(|output| match output {
        LobbyOutput::Send {
            connection,
            message: ServerMessage::Welcome { peer, token, .. },
        } if connection.0 == to => Some((*peer, *token)),
        _ => None,
    })
}

/// Who is told to halt, and the epoch.
fn halts(output: &[LobbyOutput]) -> Vec<(u64, Epoch)> {
    let halts = output.iter().filter_map(|output| match output {
        LobbyOutput::Send {
            connection,
            message: ServerMessage::Halt { epoch, .. },
        } => Some((connection.0, *epoch)),
        _ => None,
    });
    halts.collect()
}

/// What a member says of a part that it has as it is, and of copies of it.
fn holds(epoch: Epoch, under: Epoch, live: bool, copies: &[u32]) -> ClientMessage {
    let shards = vec![ShardIndex(0)];
    let copy = |version: &u32| (Step(*version), shards.clone());
    let holding = Holding {
        under,
        updates: Step(9),
        copies: Vec::new(),
        team: Some(TeamHolding {
            live: if live { shards.clone() } else { Vec::new() },
            copies: copies.iter().map(copy).collect(),
        }),
    };
    ClientMessage::Holdings { epoch, holding }
}

#[test]
fn a_closed_socket_ends_nothing_as_long_as_those_linked_to_the_device_hear_it() {
    let Team {
        mut server,
        plan,
        backs,
    } = training();
    let output = closes(&mut server, 11);
    // Workers are linked to the server alone.
    assert_eq!(doubted(&output), [(SERVER, backs[1].peer)]);
    assert_eq!(halts(&output), []);
    assert_eq!(halts(&tick_after(&mut server, 20 * AWAY_WAIT_MAX)), []);
    let output = returns(&mut server, 21, backs[1].clone());
    assert_eq!((Server::refusal(&output), halts(&output)), (None, vec![]));
    assert_eq!(prepared(&output), None, "it obeys the plan already");
    assert_eq!(Server::states(&output).last(), Some(&RoomState::Training));
    // Away again, and this time the server hears nothing of it either.
    closes(&mut server, 21);
    let lost = ClientMessage::LinkLost {
        epoch: plan.epoch,
        peer: backs[1].peer,
        reason: "nothing was heard".to_owned(),
    };
    let who: Vec<u64> = halts(&server.say(SERVER, &lost))
        .iter()
        .map(|it| it.0)
        .collect();
    assert_eq!(who, [SERVER, 12]);
}

#[test]
fn who_is_away_is_not_waited_for_where_those_linked_to_it_have_done_their_part() {
    let Team {
        mut server, plan, ..
    } = training();
    let done = ClientMessage::Done {
        epoch: plan.epoch,
        digests: Vec::new(),
        links: Vec::new(),
    };
    server.say(SERVER, &done);
    assert_eq!(halts(&closes(&mut server, 11)), []);
    let halts = halts(&tick_after(&mut server, AWAY_WAIT_MAX));
    let who: Vec<u64> = halts.iter().map(|halt| halt.0).collect();
    assert_eq!(who, [SERVER, 12]);
}

#[test]
fn who_was_given_up_meanwhile_is_taken_in_again() {
    let Team {
        mut server,
        plan,
        backs,
    } = training();
    closes(&mut server, 11);
    let lost = ClientMessage::LinkLost {
        epoch: plan.epoch,
        peer: backs[1].peer,
        reason: "nothing was heard".to_owned(),
    };
    let epoch = halts(&server.say(SERVER, &lost))[0].1;
    server.say(SERVER, &holds(epoch, plan.epoch, true, &[]));
    let output = server.say(12, &holds(epoch, plan.epoch, false, &[]));
    let without = prepared(&output).expect("a plan");
    assert_eq!(without.order, [backs[0].peer, backs[2].peer]);
    for connection in [SERVER, 12] {
        is_ready(&mut server, connection, without.epoch);
    }
    let output = returns(&mut server, 21, backs[1].clone());
    assert_eq!(prepared(&output), Some(without), "the old plan is over");
    let halts = halts(&tick_after(&mut server, Duration::from_secs(2)));
    let who: Vec<u64> = halts.iter().map(|halt| halt.0).collect();
    assert_eq!(who, [SERVER, 12, 21], "for a plan with its share");
}

#[test]
fn a_server_that_forgot_everything_learns_it_from_the_team_and_interrupts_nobody() {
    let Team { plan, backs, .. } = training();
    let mut server = Server::restarted(7);
    let mut all = Vec::new();
    for (connection, back) in (20..).zip(&backs) {
        all = returns(&mut server, connection, back.clone());
        let told = (Server::refusal(&all), halts(&all), prepared(&all));
        assert_eq!(told, (None, vec![], None));
    }
    assert_eq!(Server::states(&all).last(), Some(&RoomState::Training));
    let stable = ClientMessage::Stable {
        epoch: plan.epoch,
        version: Version(4),
        every: 2,
        at_rest: false,
    };
    server.say(20, &stable);
    // The server is one still, and what it had goes on with the copy of the first worker.
    let halts = halts(&server.say(20, &ClientMessage::Leave));
    let epoch = halts[0].1;
    assert_eq!((halts.len(), epoch.incarnation), (2, 7));
    server.say(21, &holds(epoch, plan.epoch, false, &[4]));
    let output = server.say(22, &holds(epoch, plan.epoch, false, &[]));
    let next = prepared(&output).expect("a plan");
    assert_eq!(next.start, TeamStart::Copies { version: Step(4) });
    assert_eq!(next.order, [backs[1].peer, backs[2].peer]);
}

/// The server of a team is lost, and another has come that stands in for it; then the signalling server forgets everything.
#[test]
fn a_server_that_forgot_everything_knows_again_who_stands_in_and_lets_it_take_over() {
    let Team {
        mut server,
        plan,
        mut backs,
    } = training();
    let epoch = halts(&server.say(SERVER, &ClientMessage::Leave))[0].1;
    server.say(11, &holds(epoch, plan.epoch, false, &[4]));
    let output = server.say(12, &holds(epoch, plan.epoch, false, &[]));
    let left = prepared(&output).expect("a plan");
    for connection in [11, 12] {
        is_ready(&mut server, connection, left.epoch);
    }
    let (back, _) = comes(&mut server, 13, backs[0].room, Role::Server);
    backs[0] = back;
    let epoch = halts(&tick_after(&mut server, Duration::from_secs(2)))[0].1;
    server.say(11, &holds(epoch, left.epoch, true, &[4]));
    server.say(12, &holds(epoch, left.epoch, false, &[]));
    let output = server.say(13, &holds(epoch, left.epoch, false, &[]));
    let plan = prepared(&output).expect("a plan");
    assert!(plan.stands_in(backs[0].peer), "{plan:?}");
    for connection in 11..14 {
        is_ready(&mut server, connection, plan.epoch);
    }
    let mut server = Server::restarted(7);
    let mut all = Vec::new();
    for (connection, back) in (20..).zip(&mut backs) {
        back.standing.plan = Some(RoomPlan::Team(plan.clone()));
        all = returns(&mut server, connection, back.clone());
        let told = (Server::refusal(&all), halts(&all), prepared(&all));
        assert_eq!(told, (None, vec![], None));
    }
    assert_eq!(Server::states(&all).last(), Some(&RoomState::Training));
    // The stand-in is 20 now, and 21 serves.
    let stable = ClientMessage::Stable {
        epoch: plan.epoch,
        version: Version(10),
        every: 2,
        at_rest: false,
    };
    let epoch = halts(&server.say(21, &stable))[0].1;
    server.say(20, &holds(epoch, plan.epoch, false, &[10]));
    server.say(21, &holds(epoch, plan.epoch, true, &[10]));
    let output = server.say(22, &holds(epoch, plan.epoch, false, &[]));
    let next = prepared(&output).expect("a plan");
    assert_eq!(next.start, TeamStart::Copies { version: Step(10) });
    assert!(next.serves(backs[0].peer) && !next.works(backs[0].peer));
}

#[test]
fn a_server_that_forgot_everything_asks_those_who_return_in_time_what_they_hold() {
    let Team { plan, backs, .. } = training();
    let mut server = Server::restarted(7);
    for (connection, back) in [(20, &backs[0]), (22, &backs[2])] {
        let output = returns(&mut server, connection, back.clone());
        assert_eq!((Server::refusal(&output), halts(&output)), (None, vec![]));
    }
    let asked = halts(&tick_after(&mut server, REBUILD_WAIT_MAX));
    let who: Vec<u64> = asked.iter().map(|halt| halt.0).collect();
    assert_eq!(who, [20, 22]);
    let epoch = asked[0].1;
    server.say(20, &holds(epoch, plan.epoch, true, &[]));
    let output = server.say(22, &holds(epoch, plan.epoch, false, &[]));
    let next = prepared(&output).expect("a plan");
    assert_eq!(next.start, TeamStart::Held { reached: Step(9) });
    assert!(next.serves(backs[0].peer) && !next.works(backs[0].peer));
}

#[test]
fn who_returns_while_the_others_are_asked_leaves_them_their_time() {
    let Team { plan, backs, .. } = training();
    let mut server = Server::restarted(7);
    for (connection, back) in [(20, &backs[0]), (21, &backs[1])] {
        returns(&mut server, connection, back.clone());
    }
    let epoch = halts(&tick_after(&mut server, REBUILD_WAIT_MAX))[0].1;
    returns(&mut server, 22, backs[2].clone());
    // The first is in the middle of a long task.
    let early = tick_after(&mut server, Duration::from_secs(4));
    assert_eq!(prepared(&early), None);
    for connection in [21, 22] {
        server.say(connection, &holds(epoch, plan.epoch, false, &[]));
    }
    let output = server.say(20, &holds(epoch, plan.epoch, true, &[]));
    let next = prepared(&output).expect("a plan");
    assert_eq!(next.start, TeamStart::Held { reached: Step(9) });
    assert_eq!(next.order.len(), 3);
}

#[test]
fn who_comes_while_a_server_learns_of_its_room_is_taken_in_once_that_is_known() {
    let Team { backs, .. } = training();
    let mut server = Server::restarted(7);
    returns(&mut server, 20, backs[0].clone());
    let entered = server.enter(30, backs[0].room, Role::Participant);
    entered.expect("let in");
    for (connection, back) in [(21, &backs[1]), (22, &backs[2])] {
        assert_eq!(halts(&returns(&mut server, connection, back.clone())), []);
    }
    let halts = halts(&tick_after(&mut server, Duration::from_secs(2)));
    let mut who: Vec<u64> = halts.iter().map(|halt| halt.0).collect();
    who.sort_unstable();
    assert_eq!(who, [20, 21, 22, 30]);
}

#[test]
fn points_that_waited_are_shown_by_a_server_that_learns_of_its_room() {
    let Team { plan, backs, .. } = training();
    let mut server = Server::restarted(7);
    returns(&mut server, 20, backs[0].clone());
    let point = Point {
        step: 3,
        loss: Some(0.5),
        accuracy: None,
    };
    let (epoch, points) = (plan.epoch, vec![point]);
    let early = server.say(20, &ClientMessage::Progress { epoch, points });
    let told = |output: &[LobbyOutput]| {
        let mut told = output.iter().filter_map(|output| match output {
            LobbyOutput::Send {
                message: ServerMessage::Progress { points },
                ..
            } => Some(points.clone()),
            _ => None,
        });
        told.next()
    };
    assert_eq!(told(&early), None, "nobody knows whose they are");
    returns(&mut server, 21, backs[1].clone());
    let output = returns(&mut server, 22, backs[2].clone());
    assert_eq!(told(&output), Some(vec![point]));
}

#[test]
fn what_was_kept_before_a_plan_that_never_began_counts_at_the_next_server() {
    let Team {
        mut server,
        plan,
        mut backs,
    } = training();
    let epoch = halts(&server.say(12, &ClientMessage::Leave))[0].1;
    server.say(SERVER, &holds(epoch, plan.epoch, true, &[]));
    let output = server.say(11, &holds(epoch, plan.epoch, false, &[]));
    let without = prepared(&output).expect("a plan");
    // The first server ends before anybody is ready.
    let mut server = Server::restarted(7);
    for (connection, back) in (20..).zip(&mut backs[..2]) {
        back.standing.plan = Some(RoomPlan::Team(without.clone()));
        back.standing.phase = Phase::Preparing;
        let halts = halts(&returns(&mut server, connection, back.clone()));
        let Some(halt) = halts.first() else { continue };
        let epoch = halt.1;
        server.say(20, &holds(epoch, plan.epoch, true, &[]));
        let output = server.say(21, &holds(epoch, plan.epoch, false, &[]));
        let next = prepared(&output).expect("a plan");
        assert_eq!(next.start, TeamStart::Held { reached: Step(9) });
        return;
    }
    panic!("nobody is asked what it holds");
}

#[test]
fn nobody_returns_to_watch_nor_as_a_server_where_none_is_taken_nor_with_a_plan_that_cannot_be() {
    let Team { backs, .. } = training();
    let mut server = Server::restarted(7);
    let mut watches = backs[1].clone();
    watches.role = Role::Spectator;
    let output = returns(&mut server, 20, watches.clone());
    assert_eq!(Server::refusal(&output), Some(&Refusal::NotThatMember));
    let mut serves = backs[0].clone();
    serves.run.outline.topology = Topology::AllReduce;
    let output = returns(&mut server, 21, serves.clone());
    assert_eq!(Server::refusal(&output), Some(&Refusal::NotThatMember));
    // Into a room that is there, whatever its run is said to be.
    let ring = server.create(1, run(3)).expect("a room");
    let mut forged = backs[0].clone();
    forged.room = ring;
    let output = returns(&mut server, 23, forged.clone());
    assert_eq!(Server::refusal(&output), Some(&Refusal::NotThatMember));
    let mut odd = backs[0].clone();
    if let Some(RoomPlan::Team(plan)) = &mut odd.standing.plan {
        plan.shares = vec![1];
    }
    let output = returns(&mut server, 22, odd.clone());
    assert_eq!(Server::refusal(&output), None);
    // What cannot be believed is not gone by: there is no plan, and the room waits for whoever comes.
    let asked = tick_after(&mut server, REBUILD_WAIT_MAX);
    assert_eq!((prepared(&asked), halts(&asked)), (None, vec![]));
}
