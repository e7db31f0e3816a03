//! Third copies: whose disk keeps them, how they get there, and what comes of lies about them.

mod common;

use common::pair::feed;
use common::stage::{BYTES, Stage, blames, forgets, piece, plan, says};
use common::{Server, run};
use ringtmp_core::ids::{LayerIndex, PayloadId, StageIndex, Version};
use ringtmp_core::kept::Kept;
use ringtmp_core::lobby::{Limits as ServerLimits, LobbyOutput};
use ringtmp_core::node::{Input, Output};
use ringtmp_core::plan::{Plan, PlanError};
use ringtmp_core::replica::CopyId;
use ringtmp_core::signal::*;
use ringtmp_core::wire::{Body, Piece};

fn copy(version: u32, layer: u16) -> CopyId {
    CopyId {
        version: Version(version),
        layer: LayerIndex(layer),
    }
}

fn here(piece: &Piece) -> Body {
    Body::PieceHere {
        from: piece.from,
        version: piece.version,
        layer: piece.layer,
        received: BYTES,
    }
}

fn keeps(outputs: &[Output]) -> Option<Kept> {
    outputs.iter().find_map(|output| match output {
        Output::Keep { kept } => Some(kept.clone()),
        _ => None,
    })
}

fn sends(outputs: &[Output]) -> Vec<Piece> {
    let pieces = outputs.iter().filter_map(|output| match output {
        Output::SendPiece { piece, .. } => Some(*piece),
        _ => None,
    });
    pieces.collect()
}

#[test]
fn a_third_holder_writes_what_comes_and_only_then_says_that_it_is_there() {
    let mut third = Stage::new(3, true);
    let before = third.before;
    let whole = piece(1, 0, 4);
    let outputs = third.piece(whole);
    let payload = PayloadId(7);
    assert!(outputs.contains(&Output::Store {
        piece: whole,
        payload
    }));
    let kept = keeps(&outputs).expect("its disk is idle");
    assert_eq!(
        (kept.version, &kept.layers[..]),
        (Version(4), &[LayerIndex(0)][..])
    );
    assert_eq!(kept.homes(LayerIndex(0)).len(), 3, "{kept:?}");
    assert!(!says(&outputs, before, &here(&whole)));
    // Another's comes while the disk is busy.
    let other = piece(2, 1, 4);
    assert_eq!(keeps(&third.piece(other)), None);
    let outputs = feed(&mut third.node, Input::Kept { kept: Some(kept) });
    assert!(says(&outputs, before, &here(&whole)) && forgets(&outputs, copy(4, 0)));
    let next = keeps(&outputs).expect("the next is written");
    assert_eq!(next.layers, [LayerIndex(1)]);
    let outputs = feed(&mut third.node, Input::Kept { kept: Some(next) });
    let offer = outputs.iter().find_map(|output| match output {
        Output::ToRoom(ClientMessage::Offer { kept, .. }) => Some(kept.clone()),
        _ => None,
    });
    let [offered] = &offer.expect("the room is told")[..] else {
        panic!("one version");
    };
    assert_eq!(offered.layers, [LayerIndex(0), LayerIndex(1)]);
    // A disk that is full is no reason to wait.
    let full = piece(1, 0, 6);
    assert!(keeps(&third.piece(full)).is_some());
    let outputs = feed(&mut third.node, Input::Kept { kept: None });
    assert!(says(&outputs, before, &here(&full)) && forgets(&outputs, copy(6, 0)));
}

#[test]
fn without_a_disk_what_comes_is_let_go_of_at_once() {
    let mut third = Stage::new(3, false);
    let before = third.before;
    let outputs = third.piece(piece(1, 0, 4));
    assert_eq!(keeps(&outputs), None);
    assert!(says(&outputs, before, &here(&piece(1, 0, 4))) && forgets(&outputs, copy(4, 0)));
}

#[test]
fn a_buddy_sends_what_is_to_be_kept_to_the_third_and_is_busy_until_it_is_there() {
    let mut buddy = Stage::new(1, true);
    let after = buddy.after;
    assert_eq!(sends(&buddy.round(2, false)), [], "it is not to be kept");
    let outputs = buddy.round(4, true);
    assert_eq!(sends(&outputs), [piece(1, 0, 4)]);
    let kept = keeps(&outputs);
    feed(&mut buddy.node, Input::Kept { kept });
    // The next version becomes stable meanwhile: what is on its way is not forgotten.
    let outputs = buddy.round(6, false);
    let busy = |outputs: &[Output]| {
        outputs.iter().find_map(|output| match output {
            Output::Send {
                body: Body::Secured { busy, .. },
                ..
            } => Some(*busy),
            _ => None,
        })
    };
    assert_eq!(busy(&outputs), Some(true));
    assert!(!forgets(&outputs, copy(4, 0)) && forgets(&outputs, copy(4, 1)));
    let outputs = buddy.control(after, here(&piece(1, 0, 4)));
    assert!(forgets(&outputs, copy(4, 0)));
    assert_eq!(busy(&buddy.round(8, false)), Some(false));
}

#[test]
fn what_passes_a_stage_goes_on_once_and_its_acknowledgement_goes_back() {
    let mut between = Stage::new(2, true);
    let (before, after) = (between.before, between.after);
    let passing = piece(1, 0, 4);
    let outputs = between.piece(passing);
    assert!(says(&outputs, after, &Body::Piece(passing)));
    let outputs = between.control(after, here(&passing));
    assert!(says(&outputs, before, &here(&passing)));
    let outputs = between.piece(passing);
    let reason = blames(&outputs).expect("it was there already");
    assert!(reason.contains("out of order"), "{reason}");
}

#[test]
fn copies_that_are_no_third_copies_are_found_out() {
    let of_another_stage = piece(1, 2, 4);
    let of_nobody = piece(9, 0, 4);
    let too_long = Piece {
        total: 1 << 40,
        ..piece(1, 0, 4)
    };
    let of_the_first_weights = piece(1, 0, 0);
    for wrong in [of_another_stage, of_nobody, too_long, of_the_first_weights] {
        let outputs = Stage::new(3, true).piece(wrong);
        assert!(blames(&outputs).is_some(), "{wrong:?}: {outputs:?}");
        assert!(outputs.contains(&Output::Discard(PayloadId(7))));
    }
    // It has passed stage 3, for which it was.
    assert!(blames(&Stage::new(0, true).piece(piece(1, 0, 4))).is_some());
    // Of each buddy one copy at a time.
    let mut third = Stage::new(3, true);
    third.piece(Piece {
        bytes: 8,
        ..piece(1, 0, 4)
    });
    assert!(blames(&third.piece(piece(1, 0, 6))).is_some());
    // More is there than was sent.
    let mut buddy = Stage::new(1, true);
    let after = buddy.after;
    buddy.round(4, true);
    let more = Body::PieceHere {
        from: StageIndex(1),
        version: Version(4),
        layer: LayerIndex(0),
        received: BYTES + 1,
    };
    assert!(blames(&buddy.control(after, more)).is_some());
}

#[test]
fn a_new_plan_forgets_what_was_on_its_way_to_a_disk() {
    let mut third = Stage::new(3, true);
    third.piece(piece(1, 0, 4));
    third.piece(Piece {
        bytes: 8,
        ..piece(2, 1, 4)
    });
    let halt = ServerMessage::Halt {
        epoch: ringtmp_core::ids::Epoch {
            number: 2,
            incarnation: 0,
        },
        reason: "a phone is gone".to_owned(),
    };
    let outputs = feed(&mut third.node, Input::Room(halt));
    assert!(forgets(&outputs, copy(4, 0)) && forgets(&outputs, copy(4, 1)));
}

#[test]
fn a_plan_whose_third_holders_are_owner_or_buddy_or_nobody_is_refused() {
    assert_eq!(plan().check(4), Ok(()));
    let none = Plan {
        thirds: Vec::new(),
        ..plan()
    };
    assert_eq!(none.check(4), Ok(()));
    for (stage, third) in [(0, 0), (0, 1), (3, 0), (1, 4)] {
        let mut wrong = plan();
        wrong.thirds[stage] = Some(StageIndex(third));
        let refused = matches!(wrong.check(4), Err(PlanError::Thirds { .. }));
        assert!(refused, "{stage} {third}");
    }
    let mut short = plan();
    short.thirds.pop();
    assert!(matches!(short.check(4), Err(PlanError::Thirds { .. })));
}

/// The third holders in the plan of four devices, of which these are native and these keep nothing.
fn thirds(native: &[u64], without: &[u64]) -> Vec<Option<u16>> {
    let mut server = Server::new(ServerLimits::default());
    let mut run = run(5);
    run.outline.replication = Replication::Every(2);
    let room = server.create(1, run).expect("a room");
    for connection in 10..14 {
        server.connect(connection);
        let mut join = common::join(room, Role::Participant);
        if let ClientMessage::Join { device, .. } = &mut join
            && native.contains(&connection)
        {
            device.kind = DeviceKind::Native;
        }
        server.say(connection, &join);
        let offer = ClientMessage::Offer {
            keeps: !without.contains(&connection),
            kept: Vec::new(),
        };
        server.say(connection, &offer);
    }
    let output = server.say(10, &ClientMessage::Start);
    let plan = output.iter().find_map(|output| match output {
        LobbyOutput::Send {
            message: ServerMessage::Prepare { plan },
            ..
        } => Some(plan.clone()),
        _ => None,
    });
    let plan = plan.expect("a plan");
    assert_eq!(plan.check(4), Ok(()));
    let thirds = plan.thirds.iter().map(|third| third.map(|third| third.0));
    thirds.collect()
}

#[test]
fn third_holders_are_native_first_and_otherwise_the_nearest_that_keeps_anything() {
    let [all, none] = [10..14, 0..0].map(|these| these.collect::<Vec<u64>>());
    let next = [Some(2), Some(3), Some(0), Some(1)];
    assert_eq!(thirds(&none, &none), next);
    assert_eq!(thirds(&all, &none), next);
    assert_eq!(thirds(&none, &all), [None; 4]);
    // Stage 3 is the native one; it is owner or buddy of the last two stages.
    assert_eq!(thirds(&[13], &none), [Some(3), Some(3), Some(0), Some(1)]);
    assert_eq!(thirds(&[13], &[13]), [Some(2), Some(0), Some(0), Some(1)]);
}
