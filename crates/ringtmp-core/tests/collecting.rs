//! Who collects the whole model, and what a stage says, sends and holds for it; and questions on their way to who draws samples.

mod common;

use common::pair::{EPOCH, feed};
use common::stage::{BYTES, Stage, blames, forgets, says};
use ringtmp_core::ids::{LayerIndex, MicroBatchId, PayloadId, PeerId, StageIndex, Step, Version};
use ringtmp_core::node::{Event, Input, Output};
use ringtmp_core::replica::CopyId;
use ringtmp_core::wire::{Answer, Body, ModelWord, Piece, Question};

/// The weights of a stage's layer in one piece, on their way to stage `to`.
fn weights(from: u16, to: u16, version: u32) -> Piece {
    Piece {
        from: StageIndex(from),
        to: StageIndex(to),
        version: Version(version),
        layer: LayerIndex(from),
        total: BYTES,
        offset: 0,
        bytes: BYTES as u32,
    }
}

fn comes(stage: &mut Stage, piece: Piece) -> Vec<Output> {
    let (from, epoch, payload) = (stage.before, EPOCH, PayloadId(7));
    let input = Input::Weights {
        from,
        epoch,
        piece,
        payload,
    };
    feed(&mut stage.node, input)
}

fn here(piece: &Piece) -> Body {
    Body::WeightsHere {
        from: piece.from,
        version: piece.version,
        layer: piece.layer,
        received: BYTES,
    }
}

fn sends(outputs: &[Output]) -> Vec<Piece> {
    let pieces = outputs.iter().filter_map(|output| match output {
        Output::SendWeights { piece, .. } => Some(*piece),
        _ => None,
    });
    pieces.collect()
}

fn word(asker: u16, word: ModelWord) -> Body {
    let asker = StageIndex(asker);
    Body::Model { asker, word }
}

fn take(asker: u16, version: u32) -> Body {
    let version = Version(version);
    word(asker, ModelWord::Take { version })
}

fn has(outputs: &[Output], event: &Event) -> bool {
    let event = Output::Event(event.clone());
    outputs.contains(&event)
}

#[test]
fn a_stage_sends_its_weights_of_the_stable_version_and_holds_them_until_they_are_there() {
    let mut stage = Stage::new(1, false);
    let (before, after) = (stage.before, stage.after);
    stage.round(2, false);
    let outputs = stage.control(before, word(3, ModelWord::Want));
    assert!(
        says(&outputs, after, &word(3, ModelWord::Want)),
        "it goes to the head"
    );
    let outputs = stage.control(before, take(3, 2));
    assert!(says(&outputs, after, &take(3, 2)), "all hear of it");
    assert_eq!(sends(&outputs), [weights(1, 3, 2)]);
    // Two versions become stable meanwhile.
    let copy = CopyId {
        version: Version(2),
        layer: LayerIndex(1),
    };
    for version in [4, 6] {
        assert!(!forgets(&stage.round(version, false), copy), "{version}");
    }
    let outputs = stage.control(after, here(&weights(1, 3, 2)));
    assert!(forgets(&outputs, copy), "{outputs:?}");
    // Of a version that it does not hold it sends nothing, whatever the head says.
    assert_eq!(sends(&stage.control(before, take(3, 2))), []);
    assert_eq!(
        sends(&stage.control(before, take(9, 6))),
        [],
        "no such stage"
    );
    // The last version, as soon as it is with the shell.
    let steps = Version(common::run(4).outline.steps);
    assert_eq!(sends(&stage.control(before, take(0, steps.0))), []);
    let outputs = feed(&mut stage.node, Input::HasLast { epoch: EPOCH });
    assert_eq!(sends(&outputs), [weights(1, 0, steps.0)]);
}

#[test]
fn the_asker_takes_what_belongs_to_its_version_and_says_when_it_has_all() {
    let mut asker = Stage::new(2, false);
    let (before, after) = (asker.before, asker.after);
    asker.round(2, false);
    let outputs = feed(&mut asker.node, Input::Fetch);
    assert!(says(&outputs, after, &word(2, ModelWord::Want)));
    let version = Version(2);
    let outputs = asker.control(before, take(2, 2));
    assert!(has(&outputs, &Event::ModelBegins(version)));
    let layers = vec![LayerIndex(2)];
    assert!(outputs.contains(&Output::CollectOwn { version, layers }));
    let payload = PayloadId(7);
    // What is left of another try is acknowledged, and not kept.
    let stale = weights(0, 2, 1);
    let outputs = comes(&mut asker, stale);
    assert!(outputs.contains(&Output::Discard(payload)) && says(&outputs, before, &here(&stale)));
    for from in [0, 3, 1] {
        let piece = weights(from, 2, 2);
        let outputs = comes(&mut asker, piece);
        assert!(outputs.contains(&Output::Collect { piece, payload }));
        assert!(says(&outputs, before, &here(&piece)));
        let whole = from == 1;
        assert_eq!(has(&outputs, &Event::ModelIsHere(version)), whole);
        assert_eq!(says(&outputs, after, &word(2, ModelWord::Have)), whole);
    }
    // The same once more, for another try.
    feed(&mut asker.node, Input::Fetch);
    asker.control(before, take(2, 2));
    let piece = weights(0, 2, 2);
    let outputs = comes(&mut asker, piece);
    assert!(
        outputs.contains(&Output::Collect { piece, payload }),
        "{outputs:?}"
    );
    let outputs = feed(&mut asker.node, Input::FetchNoMore);
    assert!(says(&outputs, after, &word(2, ModelWord::Have)));
}

#[test]
fn weights_that_go_past_keep_their_order_and_lies_about_them_have_a_name() {
    let mut between = Stage::new(2, false);
    let piece = weights(1, 3, 2);
    let outputs = comes(&mut between, piece);
    let passes = |output: &Output| matches!(output, Output::Send { body: Body::Weights(sent), .. } if *sent == piece);
    assert!(outputs.iter().any(passes), "{outputs:?}");
    let before = between.before;
    let after = between.after;
    assert!(says(
        &between.control(after, here(&piece)),
        before,
        &here(&piece)
    ));
    let lies = [
        // Not its layer, none at all, longer than the layer, of this stage itself, and past who it is for.
        Piece {
            layer: LayerIndex(3),
            ..piece
        },
        Piece {
            layer: LayerIndex(9),
            ..piece
        },
        Piece {
            total: BYTES + 4,
            ..piece
        },
        weights(2, 1, 2),
        weights(0, 1, 2),
        Piece {
            from: StageIndex(9),
            ..piece
        },
        Piece {
            offset: 4,
            bytes: 4,
            ..piece
        },
    ];
    for lie in lies {
        let outputs = comes(&mut Stage::new(2, false), lie);
        assert!(
            blames(&outputs).is_some_and(|reason| reason.contains("weights")),
            "{lie:?}"
        );
    }
    let mut stage = Stage::new(1, false);
    stage.round(2, false);
    let (before, after) = (stage.before, stage.after);
    stage.control(before, take(3, 2));
    let more = Body::WeightsHere {
        from: StageIndex(1),
        version: Version(2),
        layer: LayerIndex(1),
        received: BYTES + 1,
    };
    assert!(blames(&stage.control(after, more)).is_some());
}

#[test]
fn a_question_goes_forward_to_who_draws_samples_and_its_answer_to_who_asked() {
    let question = |asker| Question {
        asker: PeerId(asker),
        number: 5,
        tokens: vec![1],
    };
    // Only the head draws.
    let mut stage = Stage::new(2, false);
    let (before, after) = (stage.before, stage.after);
    let outputs = feed(&mut stage.node, Input::Question(question(3)));
    assert!(says(&outputs, after, &Body::Question(question(3))));
    let outputs = stage.control(before, Body::Question(question(2)));
    assert!(says(&outputs, after, &Body::Question(question(2))));
    for nobodys in [3, 9] {
        let outputs = stage.control(before, Body::Question(question(nobodys)));
        assert!(!says(&outputs, after, &Body::Question(question(nobodys))));
    }
    let answer = |to| Answer {
        micro_batch: MicroBatchId {
            step: Step(0),
            source: PeerId(1),
            sequence: 0,
        },
        to: PeerId(to),
        number: 5,
        probabilities: vec![1.0],
    };
    let outputs = stage.control(before, Body::Answer(answer(3)));
    assert!(has(&outputs, &Event::Answer(answer(3))));
    for (to, goes_on) in [(4, true), (9, false)] {
        let outputs = stage.control(before, Body::Answer(answer(to)));
        assert_eq!(says(&outputs, after, &Body::Answer(answer(to))), goes_on);
    }
}
