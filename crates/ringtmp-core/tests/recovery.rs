//! The room and the node when devices are lost, and when they lie about copies.

mod common;

use common::pair::{self, EPOCH, HEAD, TAIL, feed, run_of_two};
use common::{Server, run};
use ringtmp_core::ids::{Epoch, LayerIndex, PayloadId, RoomCode, StageIndex, Step, Version};
use ringtmp_core::lobby::{Limits as ServerLimits, LobbyInput, LobbyOutput};
use ringtmp_core::node::{Input, Node, Output};
use ringtmp_core::plan::Plan;
use ringtmp_core::room::HALT_WAIT_MAX;
use ringtmp_core::signal::*;
use ringtmp_core::wire::{Body, Piece, WireError};

/// A room of three that trains, replicated every two updates, and its plan. Connections are 10, 11 and 12.
fn training(server: &mut Server) -> Plan {
    training_in(server).1
}

fn training_in(server: &mut Server) -> (RoomCode, Plan) {
    let mut run = run(3);
    run.outline.replication = Replication::Every(2);
    let room = server.create(1, run).expect("a room");
    for connection in [10, 11] {
        let entered = server.enter(connection, room, Role::Participant);
        entered.expect("let in");
    }
    server.connect(12);
    let output = server.say(12, &common::join(room, Role::Participant));
    let plan = prepared(&output).expect("a plan");
    let epoch = plan.epoch;
    for connection in 10..13 {
        let links = Vec::new();
        server.say(connection, &ClientMessage::Ready { epoch, links });
    }
    (room, plan)
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

/// The epoch of a halt, and who was halted.
fn halted(output: &[LobbyOutput]) -> Option<(Epoch, Vec<u64>)> {
    let halts = output.iter().filter_map(|output| match output {
        LobbyOutput::Send {
            connection,
            message: ServerMessage::Halt { epoch, .. },
        } => Some((*epoch, connection.0)),
        _ => None,
    });
    let halts: Vec<(Epoch, u64)> = halts.collect();
    let epoch = halts.first()?.0;
    Some((epoch, halts.into_iter().map(|(_, to)| to).collect()))
}

/// A device says goodbye, which is the quickest way to be missed.
fn leaves(server: &mut Server, connection: u64) -> Vec<LobbyOutput> {
    server.say(connection, &ClientMessage::Leave)
}

fn holds(epoch: Epoch, under: Epoch, updates: u32, copies: &[(u32, &[u16])]) -> ClientMessage {
    let copy = |(version, layers): &(u32, &[u16])| {
        let layers = layers.iter().copied().map(LayerIndex).collect();
        (Version(*version), layers)
    };
    let holding = Holding {
        under,
        updates: Step(updates),
        copies: copies.iter().map(copy).collect(),
        team: None,
    };
    ClientMessage::Holdings { epoch, holding }
}

#[test]
fn a_ring_that_loses_a_device_goes_on_from_the_newest_version_that_is_left_of_every_layer() {
    let mut server = Server::new(ServerLimits::default());
    let plan = training(&mut server);
    let (epoch, asked) = halted(&leaves(&mut server, 11)).expect("a halt");
    assert!(epoch > plan.epoch);
    assert_eq!(asked, [10, 12]);
    // Of version 6 a layer is missing; of version 4 none.
    let first = server.say(
        10,
        &holds(epoch, plan.epoch, 7, &[(4, &[0, 1, 2]), (6, &[0, 1])]),
    );
    assert_eq!(prepared(&first), None, "the other has not answered");
    let second = holds(epoch, plan.epoch, 6, &[(4, &[2, 3]), (6, &[3])]);
    let next = prepared(&server.say(12, &second)).expect("a plan");
    assert_eq!(
        (next.start, next.pasts.clone(), next.stages()),
        (Version(4), vec![plan.epoch], 2)
    );
    assert!(next.epoch > epoch);
    assert_eq!(next.check(4), Ok(()));
    for connection in [10, 12] {
        let (epoch, links) = (next.epoch, Vec::new());
        let output = server.say(connection, &ClientMessage::Ready { epoch, links });
        let trains = Server::states(&output).contains(&RoomState::Training);
        assert_eq!(trains, connection == 12);
    }
}

#[test]
fn who_holds_copies_of_another_past_or_does_not_answer_is_not_gone_by() {
    let mut server = Server::new(ServerLimits::default());
    let plan = training(&mut server);
    let (epoch, _) = halted(&leaves(&mut server, 11)).expect("a halt");
    let old = Epoch::default();
    server.say(10, &holds(epoch, old, 9, &[(8, &[0, 1, 2, 3])]));
    let next = prepared(&server.say(12, &holds(epoch, plan.epoch, 2, &[(2, &[0, 1, 2, 3])])));
    assert_eq!(next.expect("a plan").start, Version(2));
    // In the next halt one device says nothing at all.
    let (epoch, _) = halted(&leaves(&mut server, 10)).expect("a halt");
    server.now = server.now + HALT_WAIT_MAX;
    let states = Server::states(&server.input(LobbyInput::Tick));
    let [RoomState::Stopped { reason }] = &states[..] else {
        panic!("{states:?} in {epoch}");
    };
    assert!(reason.contains("answers"), "{reason}");
}

#[test]
fn who_is_at_fault_is_cut_out_by_name_and_a_second_failure_without_progress_stops_the_run() {
    let mut server = Server::new(ServerLimits::default());
    let plan = training(&mut server);
    let culprit = plan.order[1];
    let fails = |epoch, culprit| ClientMessage::Failed {
        epoch,
        reason: "numbers that are infinite".to_owned(),
        culprit,
    };
    let output = server.say(10, &fails(plan.epoch, Some(culprit)));
    let (epoch, _) = halted(&output).expect("a halt");
    let cut_out = output.iter().find_map(|output| match output {
        LobbyOutput::Send {
            message: ServerMessage::Room { room },
            ..
        } => room.members.iter().find(|member| member.peer == culprit),
        _ => None,
    });
    let cut_out = cut_out.expect("it is still in the room");
    assert_eq!(cut_out.status, MemberStatus::CutOut);
    assert!(
        cut_out
            .cut_out
            .as_deref()
            .is_some_and(|why| why.contains("infinite"))
    );
    server.say(10, &holds(epoch, plan.epoch, 1, &[]));
    let next = prepared(&server.say(12, &holds(epoch, plan.epoch, 1, &[]))).expect("a plan");
    assert!(!next.order.contains(&culprit));
    let states = Server::states(&server.say(12, &fails(next.epoch, None)));
    assert!(
        matches!(&states[..], [RoomState::Stopped { .. }, ..]),
        "{states:?}"
    );
}

#[test]
fn a_link_that_is_lost_again_and_again_costs_one_of_its_ends_its_place() {
    let mut server = Server::new(ServerLimits::default());
    let mut plan = training(&mut server);
    for (times, left) in [(1, 3), (2, 2)] {
        let lost = ClientMessage::LinkLost {
            epoch: plan.epoch,
            peer: plan.order[1],
            reason: "nothing was heard".to_owned(),
        };
        let (epoch, _) = halted(&server.say(10, &lost)).expect("a halt");
        let mut next = None;
        for connection in 10..13 {
            let output = server.say(connection, &holds(epoch, plan.epoch, 0, &[]));
            next = next.or(prepared(&output));
        }
        plan = next.expect("a plan");
        assert_eq!(plan.stages(), left, "after {times}");
    }
}

#[test]
fn of_a_link_that_is_lost_again_the_end_that_answers_stays() {
    // Whichever of the two reports it, and is silent or not.
    for (reports, silent) in [(10, 11), (11, 10), (11, 11)] {
        let mut server = Server::new(ServerLimits::default());
        let mut plan = training(&mut server);
        let silent_peer = plan.order[silent as usize - 10];
        for time in 0..2 {
            let lost = ClientMessage::LinkLost {
                epoch: plan.epoch,
                peer: plan.order[if reports == 10 { 1 } else { 0 }],
                reason: "nothing was heard".to_owned(),
            };
            let (epoch, _) = halted(&server.say(reports, &lost)).expect("a halt");
            let mut next = None;
            for connection in (10..13).filter(|other| time == 0 || *other != silent) {
                let held = holds(epoch, plan.epoch, 2, &[(2, &[0, 1, 2, 3])]);
                next = next.or(prepared(&server.say(connection, &held)));
            }
            server.now = server.now + HALT_WAIT_MAX;
            next = next.or(prepared(&server.input(LobbyInput::Tick)));
            plan = next.expect("a plan");
        }
        assert_eq!(plan.stages(), 2);
        assert!(!plan.order.contains(&silent_peer), "{reports} {silent}");
    }
}

#[test]
fn who_comes_while_training_goes_on_is_taken_in_at_rest() {
    let mut server = Server::new(ServerLimits::default());
    let (code, plan) = training_in(&mut server);
    server.connect(13);
    let output = server.say(13, &common::join(code, Role::Participant));
    let rests = output.iter().any(|output| {
        matches!(output, LobbyOutput::Send { connection, message: ServerMessage::Rest { epoch } }
            if connection.0 == 10 && *epoch == plan.epoch)
    });
    assert!(rests, "the head is asked to rest: {output:?}");
    let stable = |at_rest| ClientMessage::Stable {
        epoch: plan.epoch,
        version: Version(4),
        every: 2,
        at_rest,
    };
    assert_eq!(halted(&server.say(10, &stable(false))), None);
    let (_, asked) = halted(&server.say(10, &stable(true))).expect("a halt");
    assert_eq!(asked, [10, 11, 12, 13]);
}

fn says_to(output: &[LobbyOutput], to: u64, message: &ServerMessage) -> bool {
    output.iter().any(|output| {
        matches!(output, LobbyOutput::Send { connection, message: said } if connection.0 == to && said == message)
    })
}

/// The ring comes to rest after four updates, because of what was said before: the halt's epoch.
fn rests(server: &mut Server, plan: &Plan) -> Epoch {
    let stable = ClientMessage::Stable {
        epoch: plan.epoch,
        version: Version(4),
        every: 2,
        at_rest: true,
    };
    halted(&server.say(10, &stable)).expect("a halt").0
}

#[test]
fn who_hands_its_layers_on_is_let_go_once_the_others_have_begun_without_it() {
    let mut server = Server::new(ServerLimits::default());
    let plan = training(&mut server);
    let epoch = plan.epoch;
    let output = server.say(11, &ClientMessage::HandOn);
    assert!(says_to(&output, 10, &ServerMessage::Rest { epoch }));
    let again = server.say(11, &ClientMessage::HandOn);
    let asked_once = !says_to(&again, 10, &ServerMessage::Rest { epoch });
    assert!(asked_once, "{again:?}");
    // A pause comes into force once the ring is whole again.
    server.say(12, &ClientMessage::Pause);
    let epoch = rests(&mut server, &plan);
    server.say(10, &holds(epoch, plan.epoch, 4, &[(4, &[0, 1, 2])]));
    server.say(11, &holds(epoch, plan.epoch, 4, &[(4, &[0, 1, 2])]));
    let output = server.say(12, &holds(epoch, plan.epoch, 4, &[(4, &[2, 3])]));
    let next = prepared(&output).expect("a plan");
    assert_eq!((next.start, next.stages()), (Version(4), 2));
    assert!(!next.order.contains(&plan.order[1]));
    let ready = || ClientMessage::Ready {
        epoch: next.epoch,
        links: Vec::new(),
    };
    let first = server.say(10, &ready());
    let early = says_to(&first, 11, &ServerMessage::Released);
    assert!(!early, "its copies may still be needed");
    let output = server.say(12, &ready());
    assert!(says_to(&output, 11, &ServerMessage::Released));
    assert!(Server::states(&output).contains(&RoomState::Paused));
    let room = output.iter().rev().find_map(|output| match output {
        LobbyOutput::Send {
            message: ServerMessage::Room { room },
            ..
        } => Some(room),
        _ => None,
    });
    let room = room.expect("a view");
    assert_eq!((room.members.len(), room.recoveries[0].repeated), (2, 0));
}

#[test]
fn who_leaves_stays_once_more_where_a_buddy_is_lost_meanwhile() {
    let mut server = Server::new(ServerLimits::default());
    let plan = training(&mut server);
    server.say(11, &ClientMessage::HandOn);
    let epoch = rests(&mut server, &plan);
    server.say(10, &holds(epoch, plan.epoch, 4, &[(4, &[0, 1])]));
    server.say(11, &holds(epoch, plan.epoch, 4, &[(4, &[0, 1, 2])]));
    // Beside the leaver only this one holds layer 2.
    let (epoch, asked) = halted(&leaves(&mut server, 12)).expect("a halt");
    assert_eq!(asked, [10, 11]);
    server.say(
        10,
        &holds(epoch, plan.epoch, 4, &[(2, &[0, 1, 2, 3]), (4, &[0, 1, 3])]),
    );
    let output = server.say(11, &holds(epoch, plan.epoch, 4, &[(4, &[0, 1, 2])]));
    let next = prepared(&output).expect("a plan");
    assert_eq!((next.start, next.stages()), (Version(4), 2));
    let mut rest = false;
    for connection in [10, 11] {
        let (epoch, links) = (next.epoch, Vec::new());
        let output = server.say(connection, &ClientMessage::Ready { epoch, links });
        assert!(!says_to(&output, 11, &ServerMessage::Released));
        rest |= (10..12).any(|to| says_to(&output, to, &ServerMessage::Rest { epoch }));
    }
    assert!(rest, "it leaves at the next rest");
}

#[test]
fn who_holds_nothing_that_others_need_is_let_go_at_once() {
    let mut server = Server::new(ServerLimits::default());
    let room = server.create(1, run(3)).expect("a room");
    server.enter(10, room, Role::Participant).expect("let in");
    let output = server.say(10, &ClientMessage::HandOn);
    assert!(says_to(&output, 10, &ServerMessage::Released));
}

#[test]
fn where_nothing_is_copied_a_device_that_leaves_is_let_go_at_once_and_the_run_stops_by_its_name() {
    let mut server = Server::new(ServerLimits::default());
    let room = server.create(1, run(2)).expect("a room");
    server.enter(10, room, Role::Participant).expect("let in");
    server.connect(11);
    let output = server.say(11, &common::join(room, Role::Participant));
    let epoch = prepared(&output).expect("a plan").epoch;
    for connection in [10, 11] {
        let links = Vec::new();
        server.say(connection, &ClientMessage::Ready { epoch, links });
    }
    let output = server.say(11, &ClientMessage::HandOn);
    assert!(says_to(&output, 11, &ServerMessage::Released));
    let states = Server::states(&output);
    let stopped = |state: &RoomState| matches!(state, RoomState::Stopped { reason } if reason.contains("left the ring"));
    assert!(states.iter().any(stopped), "{states:?}");
}

#[test]
fn a_device_may_stumble_once_and_is_done_without_if_it_does_again_before_anything_is_stable() {
    for stable_between in [true, false] {
        let mut server = Server::new(ServerLimits::default());
        let mut plan = training(&mut server);
        let stumbler = plan.order[1];
        for time in 0..2 {
            let stumbled = ClientMessage::Stumbled {
                epoch: plan.epoch,
                reason: "the GPU was lost".to_owned(),
            };
            let (epoch, _) = halted(&server.say(11, &stumbled)).expect("a halt");
            let mut next = None;
            for connection in 10..13 {
                let held = holds(epoch, plan.epoch, 0, &[]);
                next = next.or(prepared(&server.say(connection, &held)));
            }
            plan = next.expect("a plan");
            let is_in = plan.order.contains(&stumbler);
            assert_eq!(is_in, time == 0 || stable_between);
            for connection in 10..13 {
                let (epoch, links) = (plan.epoch, Vec::new());
                server.say(connection, &ClientMessage::Ready { epoch, links });
            }
            if stable_between {
                let stable = ClientMessage::Stable {
                    epoch: plan.epoch,
                    version: Version(2 + time),
                    every: 2,
                    at_rest: false,
                };
                server.say(10, &stable);
            }
        }
    }
}

#[test]
fn a_node_that_stumbles_keeps_its_copies_and_answers_the_halt_with_them() {
    let mut node = tail();
    feed(&mut node, mark(2));
    feed(&mut node, piece(|_| {}));
    let stumbles = || Input::Stumbled {
        epoch: EPOCH,
        reason: "the GPU was lost".to_owned(),
    };
    let outputs = feed(&mut node, stumbles());
    let told = |output: &Output| {
        matches!(
            output,
            Output::ToRoom(ClientMessage::Stumbled { epoch: EPOCH, .. })
        )
    };
    assert!(outputs.iter().any(told), "{outputs:?}");
    let forgets = |output: &Output| matches!(output, Output::Forget { .. });
    assert!(!outputs.iter().any(forgets));
    let hangs_up = |output: &Output| matches!(output, Output::Disconnect { .. });
    // Or its neighbour may tell the room of a link that was lost, before this one has told what it was lost for.
    assert!(!outputs.iter().any(hangs_up), "{outputs:?}");
    assert!(feed(&mut node, stumbles()).is_empty(), "it is no news");
    let epoch = Epoch {
        number: 2,
        incarnation: 0,
    };
    let reason = "the GPU was lost".to_owned();
    let halt = Input::Room(ServerMessage::Halt { epoch, reason });
    let outputs = feed(&mut node, halt);
    let holds = |output: &Output| {
        matches!(output, Output::ToRoom(ClientMessage::Holdings { holding, .. })
            if holding.copies == [(Version(2), vec![LayerIndex(0)])])
    };
    assert!(outputs.iter().any(holds), "{outputs:?}");
    assert_eq!(outputs.iter().filter(|output| hangs_up(output)).count(), 1);
}

#[test]
fn links_stay_open_until_the_room_halts_whoever_has_let_go_and_are_closed_where_it_stops() {
    let hangs_up = |outputs: &[Output]| {
        let all = outputs.iter();
        all.filter(|output| matches!(output, Output::Disconnect { peer: HEAD }))
            .count()
    };
    let fault = || Input::Unreadable {
        from: HEAD,
        error: WireError::Malformed("not a frame"),
    };
    let next = |number| Epoch {
        number,
        incarnation: 0,
    };
    let halt = Input::Room(ServerMessage::Halt {
        epoch: next(2),
        reason: String::new(),
    });
    let stopped = Input::Room(ServerMessage::Room {
        room: std::sync::Arc::new(pair::room(RoomState::Stopped {
            reason: "enough".to_owned(),
        })),
    });
    for ends in [halt, stopped] {
        let mut node = tail();
        let outputs = feed(&mut node, fault());
        assert!(blames_head(&outputs), "{outputs:?}");
        assert_eq!(hangs_up(&outputs), 0, "{outputs:?}");
        // A link that opens only now is as good as one that was open.
        assert_eq!(hangs_up(&feed(&mut node, Input::LinkUp { peer: HEAD })), 0);
        let outputs = feed(&mut node, ends);
        assert_eq!(hangs_up(&outputs), 1, "{outputs:?}");
        let late = feed(&mut node, Input::LinkUp { peer: HEAD });
        assert_eq!(hangs_up(&late), 1, "nobody wants it any more");
    }
}

/// The tail of a ring of two that trains and is replicated.
fn tail() -> Node {
    let mut run = run_of_two();
    run.outline.replication = Replication::Every(2);
    pair::training(TAIL, HEAD, vec![StageIndex(0)], run)
}

fn control(body: Body) -> Input {
    Input::Control {
        from: HEAD,
        epoch: EPOCH,
        body,
    }
}

/// A piece of the head's layer, which has one number and the optimizer's one.
fn piece(change: impl FnOnce(&mut Piece)) -> Input {
    let mut piece = Piece {
        from: StageIndex(0),
        to: StageIndex(1),
        version: Version(2),
        layer: LayerIndex(0),
        total: 8,
        offset: 0,
        bytes: 8,
    };
    change(&mut piece);
    Input::Piece {
        from: HEAD,
        epoch: EPOCH,
        piece,
        payload: PayloadId(7),
    }
}

fn blames_head(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| {
        matches!(
            output,
            Output::ToRoom(ClientMessage::Failed {
                culprit: Some(HEAD),
                ..
            })
        )
    })
}

fn mark(version: u32) -> Input {
    control(Body::Mark {
        version: Version(version),
        rest: false,
    })
}

#[test]
fn a_copy_that_was_marked_is_stored_and_acknowledged() {
    let mut node = tail();
    assert!(!blames_head(&feed(&mut node, mark(2))));
    let outputs = feed(&mut node, piece(|_| {}));
    let stored = |output: &Output| {
        matches!(
            output,
            Output::Store {
                payload: PayloadId(7),
                ..
            }
        )
    };
    assert!(outputs.iter().any(stored), "{outputs:?}");
    let here = |output: &Output| {
        matches!(
            output,
            Output::Send {
                body: Body::PieceHere { received: 8, .. },
                ..
            }
        )
    };
    assert!(outputs.iter().any(here), "{outputs:?}");
}

#[test]
fn copies_that_nobody_asked_for_are_too_long_or_out_of_order_are_refused_and_forgotten() {
    type Lie = fn(&mut Piece);
    let lies: [(&str, Lie); 6] = [
        ("of another version", |piece| piece.version = Version(3)),
        ("of its own layer", |piece| piece.layer = LayerIndex(1)),
        ("of no layer", |piece| {
            piece.layer = LayerIndex(9);
        }),
        ("for somebody else", |piece| piece.to = StageIndex(0)),
        ("longer than the layer", |piece| piece.total = u64::MAX),
        ("from its middle", |piece| {
            (piece.offset, piece.bytes) = (4, 4);
        }),
    ];
    for (lie, change) in lies {
        let mut node = tail();
        feed(&mut node, mark(2));
        let outputs = feed(&mut node, piece(change));
        assert!(blames_head(&outputs), "{lie}: {outputs:?}");
        assert!(outputs.contains(&Output::Discard(PayloadId(7))), "{lie}");
    }
    let unmarked = feed(&mut tail(), piece(|_| {}));
    assert!(blames_head(&unmarked), "{unmarked:?}");
}

#[test]
fn marks_and_laps_out_of_turn_are_the_neighbours_fault() {
    let twice = |first: Input, second: Input| {
        let mut node = tail();
        feed(&mut node, first);
        feed(&mut node, second)
    };
    assert!(blames_head(&twice(mark(2), mark(2))));
    assert!(blames_head(&twice(mark(2), mark(4))), "2 is not secured");
    assert!(blames_head(&feed(&mut tail(), mark(0))));
    let secured = |version| {
        control(Body::Secured {
            version: Version(version),
            cost_micros: 0,
            busy: false,
        })
    };
    assert!(blames_head(&feed(&mut tail(), secured(2))));
    assert!(blames_head(&twice(mark(2), secured(3))));
    let stable = control(Body::Stable {
        version: Version(2),
        keep: false,
    });
    assert!(blames_head(&twice(mark(2), stable)));
    let here = control(Body::PieceHere {
        from: StageIndex(1),
        version: Version(2),
        layer: LayerIndex(1),
        received: u64::MAX,
    });
    assert!(
        !blames_head(&feed(&mut tail(), here)),
        "nothing is on its way"
    );
}

#[test]
fn a_halted_node_says_what_it_holds_and_does_nothing_more_under_the_old_plan() {
    let mut node = tail();
    feed(&mut node, mark(2));
    feed(&mut node, piece(|_| {}));
    let epoch = Epoch {
        number: 2,
        incarnation: 0,
    };
    let halt = |epoch| {
        let reason = "a phone left".to_owned();
        Input::Room(ServerMessage::Halt { epoch, reason })
    };
    assert!(feed(&mut node, halt(EPOCH)).is_empty(), "it is no news");
    let outputs = feed(&mut node, halt(epoch));
    let told = outputs.iter().find_map(|output| match output {
        Output::ToRoom(ClientMessage::Holdings { holding, .. }) => Some(holding.clone()),
        _ => None,
    });
    let told = told.expect("it answers");
    assert_eq!(told.under, EPOCH);
    assert_eq!(told.copies, [(Version(2), vec![LayerIndex(0)])]);
    assert!(node.plan().is_none());
    let late = feed(&mut node, piece(|piece| piece.version = Version(3)));
    assert_eq!(late, [Output::Discard(PayloadId(7))]);
}
