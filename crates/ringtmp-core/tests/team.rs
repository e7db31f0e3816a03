//! The room when devices are lost that hold whole models.

mod common;

use common::{Server, join, prepared, run, tick_after};
use ringtmp_core::ids::{Epoch, PeerId, RoomCode, Step, Version};
use ringtmp_core::lobby::{Limits, LobbyOutput};
use ringtmp_core::parameter_server::{Placement, ShardIndex, TeamPlan, TeamStart, Topology};
use ringtmp_core::room::ATTEMPTS_MAX;
use ringtmp_core::signal::*;
use std::time::Duration;

const COLOCATED: Topology = Topology::ParameterServer {
    placement: Placement::Colocated,
    shards: 1,
};

/// A room of three that trains so; connections are 10, 11 and 12.
fn training(server: &mut Server, topology: Topology) -> TeamPlan {
    training_for(server, topology, 10).0
}

/// The same, for so many steps.
fn training_for(server: &mut Server, topology: Topology, steps: u32) -> (TeamPlan, RoomCode) {
    let mut run = run(3);
    run.outline.steps = steps;
    run.outline.replication = Replication::Every(2);
    run.outline.topology = topology;
    run.outline.micro_batches = 6;
    let room = server.create(1, run).expect("a room");
    for connection in [10, 11] {
        let entered = server.enter(connection, room, Role::Participant);
        entered.expect("let in");
    }
    server.connect(12);
    let output = server.say(12, &join(room, Role::Participant));
    let plan = prepared(&output).expect("a plan");
    assert_eq!(plan.start, TeamStart::Beginning);
    all_ready(server, 10..13, plan.epoch);
    (plan, room)
}

fn all_ready(server: &mut Server, who: std::ops::Range<u64>, epoch: Epoch) {
    for connection in who {
        let links = Vec::new();
        server.say(connection, &ClientMessage::Ready { epoch, links });
    }
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

fn room(output: &[LobbyOutput]) -> RoomView {
    let mut rooms = output.iter().filter_map(|output| match output {
        LobbyOutput::Send {
            message: ServerMessage::Room { room },
            ..
        } => Some(RoomView::clone(room)),
        _ => None,
    });
    rooms.next_back().expect("it is shown")
}

/// Steps reached, parts as they are, and copies.
type Holds<'a> = (u32, &'a [u16], &'a [(u32, &'a [u16])]);

fn holds(epoch: Epoch, under: Epoch, (updates, live, copies): Holds<'_>) -> ClientMessage {
    let shards = |of: &[u16]| of.iter().copied().map(ShardIndex).collect();
    let copies = copies.iter();
    let holding = Holding {
        under,
        updates: Step(updates),
        copies: Vec::new(),
        team: Some(TeamHolding {
            live: shards(live),
            copies: copies.map(|(step, of)| (Step(*step), shards(of))).collect(),
        }),
    };
    ClientMessage::Holdings { epoch, holding }
}

/// Whom each part is at.
fn homes(plan: &TeamPlan) -> Vec<PeerId> {
    let places = plan.shards.iter();
    places
        .map(|place| plan.order[usize::from(place.0)])
        .collect()
}

#[test]
fn a_part_that_is_lost_goes_to_who_keeps_its_copy_and_all_go_back_to_that_version() {
    for topology in [COLOCATED, Topology::AllReduce] {
        let mut server = Server::new(Limits::default());
        let plan = training(&mut server, topology);
        assert_eq!(plan.shards.len(), 3);
        let output = server.say(11, &ClientMessage::Leave);
        let epoch = halted(&output).expect("the others are asked");
        let under = plan.epoch;
        // The newest is with one alone; of the one before it everything is left.
        let first: Holds<'_> = (9, &[0], &[(6, &[0, 2]), (8, &[0])]);
        let output = server.say(10, &holds(epoch, under, first));
        assert_eq!(prepared(&output), None, "the other has not answered");
        let third: Holds<'_> = (10, &[2], &[(6, &[1, 2]), (8, &[1, 2])]);
        let output = server.say(12, &holds(epoch, under, third));
        let next = prepared(&output).expect("a plan");
        assert!(next.epoch > epoch);
        assert_eq!(next.start, TeamStart::Copies { version: Step(8) });
        let [one, _, three] = plan.order[..] else {
            panic!("three devices")
        };
        assert_eq!(homes(&next), [one, three, three]);
        assert_eq!(next.order, [one, three]);
        all_ready(&mut server, 10..11, next.epoch);
        let links = Vec::new();
        let epoch = next.epoch;
        let output = server.say(12, &ClientMessage::Ready { epoch, links });
        let room = room(&output);
        assert_eq!(room.state, RoomState::Training);
        let [recovery] = &room.recoveries[..] else {
            panic!("{:?}", room.recoveries)
        };
        assert_eq!((recovery.step, recovery.repeated), (8, 2));
        assert_eq!(recovery.moved, 1);
    }
}

#[test]
fn where_every_part_is_left_as_it_was_nothing_is_made_again() {
    let mut server = Server::new(Limits::default());
    let topology = Topology::ParameterServer {
        placement: Placement::Single,
        shards: 1,
    };
    let plan = training(&mut server, topology);
    // All are as fast: the last serves.
    assert_eq!(homes(&plan), [plan.order[2]]);
    let output = server.say(10, &ClientMessage::Leave);
    let epoch = halted(&output).expect("the others are asked");
    let worker: Holds<'_> = (0, &[], &[(4, &[0])]);
    server.say(11, &holds(epoch, plan.epoch, worker));
    let its: Holds<'_> = (7, &[0], &[(4, &[0])]);
    let output = server.say(12, &holds(epoch, plan.epoch, its));
    let next = prepared(&output).expect("a plan");
    assert_eq!(next.start, TeamStart::Held { reached: Step(7) });
    assert_eq!(homes(&next), [plan.order[2]]);
    assert!(next.works(plan.order[1]) && !next.works(plan.order[2]));
}

#[test]
fn what_was_held_under_a_plan_that_is_none_of_this_past_does_not_count() {
    let mut server = Server::new(Limits::default());
    let plan = training(&mut server, COLOCATED);
    let output = server.say(11, &ClientMessage::Leave);
    let epoch = halted(&output).expect("the others are asked");
    let other = Epoch {
        number: plan.epoch.number + 77,
        ..plan.epoch
    };
    server.say(10, &holds(epoch, other, (9, &[0], &[(8, &[0, 1, 2])])));
    let output = server.say(12, &holds(epoch, plan.epoch, (9, &[2], &[(6, &[1, 2])])));
    let next = prepared(&output).expect("a plan");
    // Nothing was ever whole: from the beginning, by the two that are left.
    assert_eq!(next.start, TeamStart::Beginning);
    assert_eq!(next.shards.len(), 2);
}

#[test]
fn a_copy_that_was_given_up_with_a_plan_that_never_began_is_not_gone_on_from() {
    let mut server = Server::new(Limits::default());
    let plan = training(&mut server, COLOCATED);
    let output = server.say(11, &ClientMessage::Leave);
    let epoch = halted(&output).expect("the others are asked");
    server.say(
        10,
        &holds(epoch, plan.epoch, (9, &[0], &[(6, &[0, 1]), (8, &[0])])),
    );
    let output = server.say(
        12,
        &holds(epoch, plan.epoch, (9, &[2], &[(6, &[2]), (8, &[2])])),
    );
    let next = prepared(&output).expect("a plan");
    assert_eq!(next.start, TeamStart::Copies { version: Step(6) });
    // One of the two has not heard of it yet when their link is lost: it still holds what is newer, live and as copies.
    let lost = ClientMessage::LinkLost {
        epoch: next.epoch,
        peer: plan.order[2],
        reason: "gone".to_owned(),
    };
    let output = server.say(10, &lost);
    let epoch = halted(&output).expect("they are asked again");
    server.say(10, &holds(epoch, next.epoch, (6, &[0, 1], &[(6, &[0, 1])])));
    let late: Holds<'_> = (9, &[2], &[(6, &[2]), (8, &[0, 1, 2])]);
    let output = server.say(12, &holds(epoch, plan.epoch, late));
    let again = prepared(&output).expect("a plan");
    assert_eq!(again.start, TeamStart::Copies { version: Step(6) });
}

#[test]
fn where_a_part_is_lost_with_all_its_copies_the_run_begins_anew_and_says_so() {
    let mut server = Server::new(Limits::default());
    let plan = training(&mut server, COLOCATED);
    let stable = ClientMessage::Stable {
        epoch: plan.epoch,
        version: Version(6),
        every: 2,
        at_rest: false,
    };
    // Only who collects may say so.
    let output = server.say(11, &stable);
    assert!(output.is_empty(), "{output:?}");
    server.say(10, &stable);
    let output = server.say(11, &ClientMessage::Leave);
    let epoch = halted(&output).expect("the others are asked");
    server.say(10, &holds(epoch, plan.epoch, (9, &[0], &[(6, &[0])])));
    let output = server.say(12, &holds(epoch, plan.epoch, (9, &[2], &[(6, &[2])])));
    let next = prepared(&output).expect("a plan");
    assert_eq!(next.start, TeamStart::Beginning);
    let room = room(&output);
    assert_eq!(room.stable, None);
    let [recovery] = &room.recoveries[..] else {
        panic!("{:?}", room.recoveries)
    };
    assert_eq!((recovery.step, recovery.repeated), (0, 9));
    let told = recovery.reason.contains("with all their copies");
    assert!(told, "{}", recovery.reason);
}

#[test]
fn a_link_that_is_lost_again_and_again_costs_one_of_its_ends_its_place() {
    let mut server = Server::new(Limits::default());
    let first = training(&mut server, COLOCATED);
    let mut plan = first.clone();
    let mut left = Vec::new();
    for _ in 0..2 {
        let lost = ClientMessage::LinkLost {
            epoch: plan.epoch,
            peer: first.order[2],
            reason: "gone".to_owned(),
        };
        let epoch = halted(&server.say(10, &lost)).expect("they are asked");
        let mut output = Vec::new();
        for (connection, place) in (10..13).zip(0u16..) {
            let holds_all: Holds<'_> = (9, &[place], &[(8, &[0, 1, 2])]);
            output.extend(server.say(connection, &holds(epoch, plan.epoch, holds_all)));
        }
        plan = prepared(&output).expect("a plan");
        left.push((plan.order.clone(), plan.start));
        all_ready(&mut server, 10..13, plan.epoch);
    }
    // At first it is made anew, and nothing is lost; then the later of the two goes, and its part with it.
    let held = TeamStart::Held { reached: Step(9) };
    let copies = TeamStart::Copies { version: Step(8) };
    assert_eq!(left[0], (first.order.clone(), held));
    assert_eq!(left[1], (first.order[..2].to_vec(), copies));
}

#[test]
fn nobody_has_a_part_as_it_is_but_whom_it_lies_with_and_no_clock_is_past_the_end() {
    let mut server = Server::new(Limits::default());
    let plan = training(&mut server, COLOCATED);
    let output = server.say(11, &ClientMessage::Leave);
    let epoch = halted(&output).expect("the others are asked");
    let boasts: Holds<'_> = (u32::MAX, &[0, 1, 2], &[(8, &[0, 1])]);
    server.say(10, &holds(epoch, plan.epoch, boasts));
    let output = server.say(12, &holds(epoch, plan.epoch, (9, &[2], &[(8, &[1, 2])])));
    let next = prepared(&output).expect("a plan");
    assert_eq!(next.start, TeamStart::Copies { version: Step(8) });
    let recoveries = room(&output).recoveries;
    let steps = run(3).outline.steps;
    assert_eq!(recoveries[0].repeated, steps.saturating_sub(8));
}

/// The second of three is lost, so that the third has two parts, and another comes in its place: the plan that they go on with.
fn grown(server: &mut Server, topology: Topology, steps: u32) -> TeamPlan {
    let (plan, room) = training_for(server, topology, steps);
    let output = server.say(11, &ClientMessage::Leave);
    let epoch = halted(&output).expect("the others are asked");
    let left: [(u64, Holds<'_>); 2] = [
        (10, (9, &[0], &[(8, &[0, 2])])),
        (12, (9, &[2], &[(8, &[1, 2])])),
    ];
    let output = left.map(|(who, held)| server.say(who, &holds(epoch, plan.epoch, held)));
    let [one, _, three] = plan.order[..] else {
        panic!("three devices")
    };
    let plan = prepared(&output[1]).expect("a plan");
    assert_eq!(homes(&plan), [one, three, three], "{plan:?}");
    for who in [10, 12] {
        all_ready(server, who..who + 1, plan.epoch);
    }
    server.enter(13, room, Role::Participant).expect("let in");
    let output = tick_after(server, Duration::from_secs(2));
    let epoch = halted(&output).expect("it gets a share");
    let now: [(u64, Holds<'_>); 3] = [
        (10, (12, &[0], &[(8, &[0])])),
        (12, (12, &[1, 2], &[(8, &[0, 1, 2])])),
        (13, (0, &[], &[])),
    ];
    let output = now.map(|(who, held)| server.say(who, &holds(epoch, plan.epoch, held)));
    let grown = output.iter().find_map(|it| prepared(it)).expect("a plan");
    assert_eq!(grown.start, TeamStart::Held { reached: Step(12) });
    assert_eq!(homes(&grown), homes(&plan), "it has no copies yet");
    assert_eq!(grown.workers.len(), 3);
    for who in [10, 12, 13] {
        all_ready(server, who..who + 1, grown.epoch);
    }
    grown
}

fn says_stable(server: &mut Server, epoch: Epoch, version: u32) -> Option<Epoch> {
    let stable = ClientMessage::Stable {
        epoch,
        version: Version(version),
        every: 2,
        at_rest: false,
    };
    halted(&server.say(10, &stable))
}

#[test]
fn once_copies_lie_with_a_newcomer_it_gets_a_part_of_who_has_two() {
    for topology in [COLOCATED, Topology::AllReduce] {
        let mut server = Server::new(Limits::default());
        let plan = grown(&mut server, topology, 40);
        let [one, three, four] = plan.order[..] else {
            panic!("three devices")
        };
        let epoch = says_stable(&mut server, plan.epoch, 13).expect("parts are divided anew");
        // Everything is there as it is, and of the newest version not yet twice.
        let held: [(u64, Holds<'_>); 3] = [
            (10, (15, &[0], &[(13, &[0]), (14, &[0])])),
            (12, (15, &[1, 2], &[(13, &[0, 1, 2]), (14, &[1, 2])])),
            (13, (15, &[], &[(13, &[1, 2])])),
        ];
        let output = held.map(|(who, held)| server.say(who, &holds(epoch, plan.epoch, held)));
        let next = output.iter().find_map(|it| prepared(it)).expect("a plan");
        assert_eq!(next.start, TeamStart::Copies { version: Step(13) });
        let mut homes = homes(&next);
        assert_eq!(homes[0], one, "nothing moves without need");
        homes.sort_unstable();
        let mut all = [one, three, four];
        all.sort_unstable();
        assert_eq!(homes, all, "{topology:?}");
        for who in [10, 12, 13] {
            all_ready(&mut server, who..who + 1, next.epoch);
        }
        assert_eq!(says_stable(&mut server, next.epoch, 14), None, "once");
    }
}

#[test]
fn parts_stay_where_the_run_ends_soon_or_copies_do_not_reach_and_that_is_tried_once() {
    let mut server = Server::new(Limits::default());
    let plan = grown(&mut server, COLOCATED, 20);
    assert_eq!(says_stable(&mut server, plan.epoch, 13), None, "7 are left");

    let mut server = Server::new(Limits::default());
    let plan = grown(&mut server, COLOCATED, 40);
    let epoch = says_stable(&mut server, plan.epoch, 13).expect("parts are divided anew");
    // The newcomer has nothing, whatever the collector says.
    let held: [(u64, Holds<'_>); 3] = [
        (10, (15, &[0], &[(13, &[0])])),
        (12, (15, &[1, 2], &[(13, &[0, 1, 2])])),
        (13, (15, &[], &[])),
    ];
    let output = held.map(|(who, held)| server.say(who, &holds(epoch, plan.epoch, held)));
    let next = output.iter().find_map(|it| prepared(it)).expect("a plan");
    assert_eq!(next.start, TeamStart::Held { reached: Step(15) });
    assert_eq!(homes(&next), homes(&plan));
    for who in [10, 12, 13] {
        all_ready(&mut server, who..who + 1, next.epoch);
    }
    assert_eq!(says_stable(&mut server, next.epoch, 16), None, "not again");
}

/// All of these say that they hold everything as version 8, and are ready for the plan that comes of it.
fn go_on(server: &mut Server, who: &[u64], epoch: Epoch, under: Epoch) -> TeamPlan {
    let held: Holds<'_> = (9, &[], &[(8, &[0, 1, 2])]);
    let say = |who: &u64| prepared(&server.say(*who, &holds(epoch, under, held)));
    let plan = who.iter().filter_map(say).last().expect("a plan");
    for who in who {
        all_ready(server, *who..*who + 1, plan.epoch);
    }
    plan
}

#[test]
fn who_comes_after_many_losses_is_not_one_loss_too_many() {
    let mut server = Server::new(Limits::default());
    let (mut plan, room_code) = training_for(&mut server, COLOCATED, 40);
    let mut there = vec![10, 11, 12];
    for newcomer in (13..).take(ATTEMPTS_MAX as usize) {
        let output = server.say(there.remove(1), &ClientMessage::Leave);
        let epoch = halted(&output).expect("the others are asked");
        plan = go_on(&mut server, &there, epoch, plan.epoch);
        let entered = server.enter(newcomer, room_code, Role::Participant);
        entered.expect("let in");
        there.push(newcomer);
        let output = tick_after(&mut server, Duration::from_secs(2));
        let epoch = halted(&output).expect("it gets a share");
        plan = go_on(&mut server, &there, epoch, plan.epoch);
        assert_eq!(plan.order.len(), 3, "{newcomer}");
    }
}

const SINGLE: Topology = Topology::ParameterServer {
    placement: Placement::Single,
    shards: 1,
};

/// Of three the last serves, and is lost: the plan of the two that are left, the first of which has all parameters as this version.
fn served_by_a_worker(server: &mut Server, before: &TeamPlan, version: u32) -> TeamPlan {
    let output = server.say(12, &ClientMessage::Leave);
    let epoch = halted(&output).expect("the others are asked");
    let (version, under) = ([(version, &[0][..])], before.epoch);
    let left: [(u64, Holds<'_>); 2] = [(10, (9, &[], &version)), (11, (9, &[], &[]))];
    let output = left.map(|(who, held)| server.say(who, &holds(epoch, under, held)));
    let plan = prepared(&output[1]).expect("a plan");
    assert_eq!(homes(&plan), [plan.order[0]], "{plan:?}");
    all_ready(server, 10..12, plan.epoch);
    plan
}

/// Then a server comes, at 14: who it is, and the plan in which it stands in.
fn with_a_stand_in(
    server: &mut Server,
    room: RoomCode,
    before: &TeamPlan,
    reached: u32,
) -> (PeerId, TeamPlan) {
    let entered = server.enter(14, room, Role::Server);
    let (comes, _) = entered.expect("let in");
    let output = tick_after(server, Duration::from_secs(2));
    let epoch = halted(&output).expect("it is wanted");
    let now: [(u64, Holds<'_>); 3] = [
        (10, (reached, &[0], &[(4, &[0])])),
        (11, (reached, &[], &[(4, &[0])])),
        (14, (0, &[], &[])),
    ];
    let output = now.map(|(who, held)| server.say(who, &holds(epoch, before.epoch, held)));
    let plan = output.iter().find_map(|it| prepared(it)).expect("a plan");
    (comes, plan)
}

#[test]
fn who_comes_as_a_server_keeps_copies_of_what_a_worker_serves_and_takes_it_over() {
    let mut server = Server::new(Limits::default());
    let (plan, room_code) = training_for(&mut server, SINGLE, 40);
    let [one, two, three] = plan.order[..] else {
        panic!("three devices")
    };
    assert_eq!(homes(&plan), [three]);
    // As long as it serves, nobody else is needed for that.
    server.enter(13, room_code, Role::Server).expect("let in");
    let output = tick_after(&mut server, Duration::from_secs(2));
    assert_eq!(halted(&output), None, "there is a server");
    let output = server.say(13, &ClientMessage::Leave);
    assert_eq!(halted(&output), None, "it had no part");

    let plan = served_by_a_worker(&mut server, &plan, 4);
    assert!(homes(&plan) == [one] && plan.works(one) && plan.works(two));
    let (four, plan) = with_a_stand_in(&mut server, room_code, &plan, 12);
    assert_eq!(plan.start, TeamStart::Held { reached: Step(12) });
    assert_eq!(homes(&plan), [one], "it has no copies yet");
    assert!(plan.stands_in(four) && plan.spares.is_empty(), "{plan:?}");
    assert_eq!(plan.linked(four), [one], "from whom its copies come");
    let layout = plan.layout(&[100], 6).expect("sound");
    assert_eq!(layout.buddy(ShardIndex(0)), plan.member_of(four));
    for who in [10, 11, 14] {
        all_ready(&mut server, who..who + 1, plan.epoch);
    }
    // One stands in for one part: another server is too much.
    server.enter(15, room_code, Role::Server).expect("let in");
    let output = tick_after(&mut server, Duration::from_secs(2));
    assert_eq!(halted(&output), None, "one is enough");

    let epoch = says_stable(&mut server, plan.epoch, 13).expect("it takes over");
    let held: [(u64, Holds<'_>); 4] = [
        (10, (15, &[0], &[(13, &[0]), (14, &[0])])),
        (11, (15, &[], &[])),
        (14, (15, &[], &[(13, &[0])])),
        (15, (0, &[], &[])),
    ];
    let output = held.map(|(who, held)| server.say(who, &holds(epoch, plan.epoch, held)));
    let next = output.iter().find_map(|it| prepared(it)).expect("a plan");
    assert_eq!(next.start, TeamStart::Copies { version: Step(13) });
    assert_eq!(homes(&next), [four]);
    assert!(next.works(one) && next.works(two) && !next.works(four));
    assert_eq!(next.spares.len(), 1, "{:?}", next.spares);
    all_ready(&mut server, 10..12, next.epoch);
    let (epoch, links) = (next.epoch, Vec::new());
    let room = room(&server.say(14, &ClientMessage::Ready { epoch, links }));
    assert_eq!(room.state, RoomState::Training);
    let [_, _, last] = &room.recoveries[..] else {
        panic!("{:?}", room.recoveries)
    };
    assert!(last.reason.contains("takes over what"), "{last:?}");
    assert_eq!((last.repeated, last.moved), (2, 1));
}

#[test]
fn what_was_stable_before_all_were_ready_or_in_a_pause_is_taken_over_from_once_they_train() {
    for paused in [false, true] {
        let mut server = Server::new(Limits::default());
        let (plan, room_code) = training_for(&mut server, SINGLE, 40);
        let plan = served_by_a_worker(&mut server, &plan, 4);
        let (four, plan) = with_a_stand_in(&mut server, room_code, &plan, 12);
        all_ready(&mut server, 10..12, plan.epoch);
        let (epoch, links) = (plan.epoch, Vec::new());
        let last = ClientMessage::Ready { epoch, links };
        if paused {
            server.say(14, &last);
            server.say(10, &ClientMessage::Pause);
        }
        assert_eq!(says_stable(&mut server, plan.epoch, 13), None, "not yet");
        let output = match paused {
            true => server.say(10, &ClientMessage::Resume),
            false => server.say(14, &last),
        };
        let epoch = halted(&output).expect("it takes over");
        let held: [(u64, Holds<'_>); 3] = [
            (10, (15, &[0], &[(13, &[0])])),
            (11, (15, &[], &[])),
            (14, (15, &[], &[(13, &[0])])),
        ];
        let output = held.map(|(who, held)| server.say(who, &holds(epoch, plan.epoch, held)));
        let next = output.iter().find_map(|it| prepared(it)).expect("a plan");
        assert_eq!(homes(&next), [four], "paused: {paused}");
    }
}

#[test]
fn a_stand_in_that_is_lost_costs_no_step_and_leaves_its_place_to_the_next() {
    let mut server = Server::new(Limits::default());
    let (plan, room_code) = training_for(&mut server, SINGLE, 40);
    let [one, ..] = plan.order[..] else {
        panic!("three devices")
    };
    let plan = served_by_a_worker(&mut server, &plan, 4);
    let (_, plan) = with_a_stand_in(&mut server, room_code, &plan, 12);
    for who in [10, 11, 14] {
        all_ready(&mut server, who..who + 1, plan.epoch);
    }
    let output = server.say(14, &ClientMessage::Leave);
    let epoch = halted(&output).expect("nobody keeps copies");
    let left: [(u64, Holds<'_>); 2] = [(10, (14, &[0], &[(13, &[0])])), (11, (14, &[], &[]))];
    let output = left.map(|(who, held)| server.say(who, &holds(epoch, plan.epoch, held)));
    let next = output.iter().find_map(|it| prepared(it)).expect("a plan");
    assert_eq!(next.start, TeamStart::Held { reached: Step(14) });
    assert_eq!(homes(&next), [one]);
    let layout = next.layout(&[100], 6).expect("sound");
    assert_eq!(layout.buddy(ShardIndex(0)), next.member_of(next.order[1]));
    all_ready(&mut server, 10..12, next.epoch);
    server.enter(15, room_code, Role::Server).expect("let in");
    let output = tick_after(&mut server, Duration::from_secs(2));
    assert!(halted(&output).is_some(), "another may stand in");
}

/// A run whose server stands in does not wait for it to be done.
#[test]
fn a_run_ends_without_a_word_of_who_only_keeps_copies() {
    let mut server = Server::new(Limits::default());
    let (plan, room_code) = training_for(&mut server, SINGLE, 10);
    let plan = served_by_a_worker(&mut server, &plan, 4);
    let (_, plan) = with_a_stand_in(&mut server, room_code, &plan, 5);
    // Nor for it to be ready.
    all_ready(&mut server, 10..12, plan.epoch);
    let done = |digests| ClientMessage::Done {
        epoch: plan.epoch,
        digests,
        links: Vec::new(),
    };
    server.say(10, &done(Vec::new()));
    let room = room(&server.say(11, &done(Vec::new())));
    assert_eq!(room.state, RoomState::Finished);
    let statuses = room.members.iter().map(|member| member.status);
    let statuses: Vec<MemberStatus> = statuses
        .filter(|status| *status != MemberStatus::Watching)
        .collect();
    assert_eq!(statuses, [MemberStatus::Done; 3]);
    let output = tick_after(&mut server, Duration::from_secs(121));
    assert_eq!(halted(&output), None, "it is over");
}
