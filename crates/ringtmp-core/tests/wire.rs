//! Frames and chunks as remote input.

use proptest::prelude::*;
use ringtmp_core::ids::{Epoch, MicroBatchId, PeerId, RoomCode, Step};
use ringtmp_core::signal::{PROTOCOL_VERSION, Point};
use ringtmp_core::time::Time;
use ringtmp_core::wire::*;

fn epoch() -> impl Strategy<Value = Epoch> {
    (any::<u32>(), any::<u32>()).prop_map(|(number, incarnation)| Epoch {
        number,
        incarnation,
    })
}

fn point() -> impl Strategy<Value = Point> {
    let number = prop::option::of(-1e9f32..1e9);
    (any::<u32>(), number.clone(), number).prop_map(|(step, loss, accuracy)| Point {
        step,
        loss,
        accuracy,
    })
}

fn part() -> impl Strategy<Value = PartHeader> {
    let codec = prop_oneof![
        Just(Codec::F32),
        Just(Codec::U32),
        Just(Codec::F16),
        Just(Codec::I8 { row: 0 })
    ];
    (codec, prop::collection::vec(0u32..12, 0..=RANK_MAX)).prop_map(|(codec, shape)| {
        let codec = match codec {
            // Rows as long as the last dimension.
            Codec::I8 { .. } => Codec::I8 {
                row: shape.last().map_or(1, |size| *size.max(&1)),
            },
            other => other,
        };
        PartHeader { codec, shape }
    })
}

fn body() -> impl Strategy<Value = Body> {
    let hello =
        (any::<u16>(), any::<[u8; 10]>(), any::<u64>()).prop_map(|(protocol, code, peer)| {
            Body::Hello(Hello {
                protocol,
                room: RoomCode::from_random(code),
                peer: PeerId(peer),
            })
        });
    let progress = (
        any::<u64>(),
        prop::collection::vec(point(), 0..=PROGRESS_POINTS_MAX),
    )
        .prop_map(|(origin, points)| Body::Progress {
            origin: PeerId(origin),
            points,
        });
    let kind = prop_oneof![
        Just(TensorKind::Activation),
        Just(TensorKind::Gradient),
        Just(TensorKind::Release)
    ];
    let purpose = prop_oneof![Just(Purpose::Train), Just(Purpose::Evaluate)];
    let id = (any::<u32>(), any::<u64>(), any::<u16>()).prop_map(|(step, source, sequence)| {
        MicroBatchId {
            step: Step(step),
            source: PeerId(source),
            sequence,
        }
    });
    let answer = (
        id.clone(),
        prop::collection::vec(0.0f32..=1.0, 0..=ANSWER_CLASSES_MAX),
    )
        .prop_map(|(micro_batch, probabilities)| {
            Body::Answer(Answer {
                micro_batch,
                to: PeerId(u64::MAX),
                number: u32::MAX,
                probabilities,
            })
        });
    let question = (
        any::<u64>(),
        any::<u32>(),
        prop::collection::vec(any::<u16>(), 1..=QUESTION_TOKENS_MAX),
    )
        .prop_map(|(asker, number, tokens)| {
            Body::Question(Question {
                asker: PeerId(asker),
                number,
                tokens,
            })
        });
    let sum_kind = prop_oneof![Just(SumKind::Partial), Just(SumKind::Total)];
    let square_sum =
        (sum_kind, any::<u32>(), -1e9f64..1e300).prop_map(|(kind, step, sum)| Body::SquareSum {
            kind,
            step: Step(step),
            sum,
        });
    let tensor = (
        kind,
        purpose,
        id,
        prop::collection::vec(part(), 0..=PARTS_MAX),
    )
        .prop_map(|(kind, purpose, micro_batch, parts)| Body::Tensor {
            kind,
            purpose,
            micro_batch,
            parts,
        });
    let probe = (any::<u8>(), 0u32..5000).prop_map(|(number, bytes)| Body::Probe { number, bytes });
    let echo = (any::<u8>(), any::<Option<u32>>()).prop_map(|(number, apart_micros)| Body::Echo {
        number,
        apart_micros,
    });
    prop_oneof![
        hello, progress, square_sum, tensor, probe, echo, answer, question
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    (epoch(), body(), any::<u64>()).prop_map(|(epoch, body, seed)| {
        let parts: &[PartHeader] = if let Body::Tensor { parts, .. } = &body {
            parts
        } else {
            &[]
        };
        let bytes = |part: &PartHeader| {
            let elements: u32 = part.shape.iter().product();
            let elements = elements as usize;
            match part.codec {
                Codec::F32 | Codec::U32 => 4 * elements,
                Codec::F16 => 2 * elements,
                Codec::I8 { row } => 4 * (elements / row as usize) + elements,
            }
        };
        let of_parts: usize = parts.iter().map(bytes).sum();
        let length = of_parts + body.filling().len();
        let payload = (0..length as u64)
            .map(|i| (seed.wrapping_mul(i | 1) >> 32) as u8)
            .collect();
        let sent = (seed % 3 > 0).then(|| Time::from_micros(seed));
        Frame {
            epoch,
            sent,
            body,
            payload,
        }
    })
}

proptest! {
    #[test]
    fn every_frame_reads_back_as_it_was_written(frame in frame()) {
        let bytes = frame.encode().expect("within the limits");
        prop_assert_eq!(Frame::decode(&bytes), Ok(frame));
    }

    #[test]
    fn every_frame_survives_being_cut_into_chunks(frame in frame(), times in 1usize..3) {
        let bytes = frame.encode().expect("within the limits");
        let mut assembler = Assembler::new(Lane::Tensors);
        for _ in 0..times {
            let mut whole = Vec::new();
            for chunk in chunks(&bytes) {
                prop_assert!(chunk.len() <= CHUNK_BYTES_MAX);
                whole.extend(assembler.push(&chunk).expect("chunks in order"));
            }
            prop_assert_eq!(&whole[..], std::slice::from_ref(&bytes));
        }
    }

    #[test]
    fn every_frame_survives_its_chunks_being_cut_once_more(length in 1usize..300_000, longest in 6usize..70_000) {
        let bytes: Vec<u8> = (0..length).map(|i| (i * 31 + i / 251) as u8).collect();
        let mut assembler = Assembler::new(Lane::Tensors);
        let mut whole = Vec::new();
        for chunk in chunks(&bytes) {
            let mut left = Some(chunk);
            while let Some(mut piece) = left {
                left = cut(&mut piece, longest);
                prop_assert!(piece.len() <= longest);
                whole.extend(assembler.push(&piece).expect("pieces in order"));
            }
        }
        prop_assert_eq!(&whole[..], std::slice::from_ref(&bytes));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = Frame::decode(&bytes);
        let mut versioned = vec![PROTOCOL_VERSION as u8];
        versioned.extend(&bytes);
        let _ = Frame::decode(&versioned);
        let mut assembler = Assembler::new(Lane::Control);
        for chunk in bytes.chunks(7) {
            if assembler.push(chunk).is_err() {
                break;
            }
        }
    }

    #[test]
    fn a_frame_with_any_byte_changed_or_cut_off_never_panics(
        frame in frame(), at in any::<prop::sample::Index>(), value in any::<u8>(),
    ) {
        let mut bytes = frame.encode().expect("within the limits");
        let at = at.index(bytes.len());
        prop_assert!(Frame::decode(&bytes[..at]).is_err(), "a truncated frame was accepted");
        bytes[at] = value;
        let _ = Frame::decode(&bytes);
    }
}

fn tensor(shape: Vec<u32>, payload: usize) -> Frame {
    let micro_batch = MicroBatchId {
        step: Step(1),
        source: PeerId(2),
        sequence: 3,
    };
    let parts = vec![PartHeader {
        codec: Codec::F32,
        shape,
    }];
    let body = Body::Tensor {
        kind: TensorKind::Activation,
        purpose: Purpose::Train,
        micro_batch,
        parts,
    };
    Frame {
        epoch: Epoch::default(),
        sent: None,
        body,
        payload: vec![0; payload],
    }
}

#[test]
fn a_large_frame_takes_several_chunks_and_reads_back() {
    let frame = tensor(vec![1000, 250], 1_000_000);
    let bytes = frame.encode().expect("within the limits");
    let chunks: Vec<Vec<u8>> = chunks(&bytes).collect();
    assert_eq!(chunks.len(), bytes.len().div_ceil(CHUNK_BYTES_MAX - 1));
    let mut assembler = Assembler::new(Lane::Tensors);
    let whole: Vec<Vec<u8>> = chunks
        .iter()
        .filter_map(|chunk| assembler.push(chunk).expect("in order"))
        .collect();
    assert_eq!(Frame::decode(&whole[0]), Ok(frame));
}

#[test]
fn another_version_is_refused_with_words_that_say_what_to_do() {
    let mut bytes = tensor(vec![1], 4).encode().expect("within the limits");
    bytes[0] = 99;
    let error = Frame::decode(&bytes).expect_err("another version");
    assert_eq!(
        error,
        WireError::Version {
            ours: PROTOCOL_VERSION,
            theirs: 99
        }
    );
    assert!(error.to_string().contains("reload"));
}

#[test]
fn shapes_that_do_not_fit_the_payload_are_refused() {
    assert_eq!(
        tensor(vec![3], 8).encode(),
        Err(WireError::PayloadLength {
            expected: 12,
            actual: 8
        })
    );
    assert!(matches!(
        tensor(vec![u32::MAX; 4], 8).encode(),
        Err(WireError::Malformed(_))
    ));
    assert!(matches!(
        tensor(vec![1; 5], 4).encode(),
        Err(WireError::TooLarge {
            what: "a tensor's rank",
            ..
        })
    ));
}

#[test]
fn rows_that_are_not_whole_or_of_nothing_are_refused_and_their_scales_are_counted() {
    let with = |row: u32, shape: Vec<u32>, payload: usize| {
        let mut frame = tensor(shape, payload);
        if let Body::Tensor { parts, .. } = &mut frame.body {
            parts[0].codec = Codec::I8 { row };
        }
        frame.encode()
    };
    assert!(with(5, vec![2, 10], 20 + 16).is_ok());
    assert!(with(20, vec![2, 10], 20 + 4).is_ok());
    assert!(matches!(
        with(5, vec![2, 10], 20),
        Err(WireError::PayloadLength { expected: 36, .. })
    ));
    for row in [0, 3, 40, u32::MAX] {
        let refused = with(row, vec![2, 10], 20);
        assert!(matches!(refused, Err(WireError::Malformed(_))), "{row}");
    }
    // Five times as many bytes as numbers, and more than can be counted.
    assert!(matches!(
        with(1, vec![u32::MAX, u32::MAX], 20),
        Err(WireError::Malformed(_) | WireError::PayloadLength { .. })
    ));
}

#[test]
fn an_announced_length_takes_no_memory_before_the_bytes_are_there() {
    let mut first = vec![0];
    first.extend_from_slice(&(FRAME_BYTES_MAX as u32).to_le_bytes());
    let mut assembler = Assembler::new(Lane::Tensors);
    assert_eq!(assembler.push(&first), Ok(None));
    assert!(
        format!("{assembler:?}").len() < 1000,
        "memory was taken for what was only announced"
    );
    first[1..].copy_from_slice(&(FRAME_BYTES_MAX as u32 + 1).to_le_bytes());
    assert!(matches!(
        Assembler::new(Lane::Tensors).push(&first),
        Err(WireError::TooLarge { .. })
    ));
    first[1..].copy_from_slice(&(CONTROL_FRAME_BYTES_MAX as u32 + 1).to_le_bytes());
    assert!(matches!(
        Assembler::new(Lane::Control).push(&first),
        Err(WireError::TooLarge { .. })
    ));
}

#[test]
fn chunks_out_of_order_are_refused() {
    let push_all = |chunks: &[&[u8]]| {
        let mut assembler = Assembler::new(Lane::Control);
        chunks
            .iter()
            .map(|chunk| assembler.push(chunk))
            .find_map(Result::err)
    };
    let first: &[u8] = &[0, 3, 0, 0, 0, 7];
    for wrong in [
        &[&[1u8, 5][..]][..],
        &[first, first],
        &[first, &[1, 1, 2, 3]],
        &[first, &[2, 1]],
        &[first, &[1]],
        &[&[]],
        &[&[0, 1]],
        &[&[0, 0, 0, 0, 0]],
    ] {
        assert!(
            matches!(push_all(wrong), Some(WireError::Chunks(_))),
            "{wrong:?}"
        );
    }
    assert!(push_all(&[first, &[1, 8, 9], first]).is_none());
}
