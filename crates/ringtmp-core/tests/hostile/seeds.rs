//! The examples that fuzzing begins with. `RINGTMP_WRITE_CORPUS=1 cargo test -p ringtmp-core --test strangers` writes them anew, which a
//! change of messages asks for: the short run says so, when nothing gets through any more.

use crate::hostile::SECRET;
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::ids::{
    Epoch, LayerIndex, MicroBatchId, PeerId, RoomCode, ShortCode, StageIndex, Step, Version,
};
use ringtmp_core::parameter_server::{
    self as team, Greeting, MemberIndex, Message, Numbers, Push, RangeIndex, Refusal, RunDigest,
    Score, Sums, Weights, WorkerIndex,
};
use ringtmp_core::plan::LayerCost;
use ringtmp_core::profile::Planning;
use ringtmp_core::schedule::{DataSource, Mode, ScheduleSpec};
use ringtmp_core::secret::RoomSecret;
use ringtmp_core::secret::pairing::{Asker, Host};
use ringtmp_core::signal::{
    Asking, ClientMessage, Device, DeviceKind, ExecutorKind, LinkTraffic, Point, Replication, Role,
    RunDescriptor, RunOutline, Signal,
};
use ringtmp_core::wire::{
    Answer, Body, Codec, Frame, Hello, Lane, ModelWord, PartHeader, Piece, Purpose, SumKind,
    TensorKind, chunks,
};
use std::path::PathBuf;

#[test]
fn examples_are_written_when_asked_for() {
    if std::env::var_os("RINGTMP_WRITE_CORPUS").is_none() {
        return;
    }
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let path = folder.join(target).join(format!("seed-{name}"));
        std::fs::write(path, bytes).expect("written");
    };
    for (i, body) in bodies().into_iter().enumerate() {
        let frame = ring_frame(body);
        let bytes = frame.encode().expect("a frame");
        write("frame", &format!("ring-{i:02}"), &behind(0, &bytes));
        let lane = frame.lane();
        let how = if lane == Lane::Tensors { 2 } else { 3 };
        let mut cut = Vec::new();
        for chunk in chunks(&bytes).filter(|chunk| chunk.len() < 256) {
            cut.push(chunk.len() as u8);
            cut.extend(chunk);
        }
        write("frame", &format!("chunks-{i:02}"), &behind(how, &cut));
    }
    for (i, message) in team_messages().into_iter().enumerate() {
        let payload = vec![7; message.numbers().map_or(0, |_| 8)];
        let frame = team::Frame {
            sent: None,
            message,
            payload,
        };
        let bytes = frame.encode().expect("a frame");
        write("frame", &format!("team-{i:02}"), &behind(1, &bytes));
    }
    for (name, script) in scripts() {
        write("signalling", name, script.as_bytes());
    }
}

fn behind(how: u8, bytes: &[u8]) -> Vec<u8> {
    std::iter::once(how).chain(bytes.iter().copied()).collect()
}

fn micro_batch() -> MicroBatchId {
    MicroBatchId {
        step: Step(3),
        source: PeerId(7),
        sequence: 2,
    }
}

fn ring_frame(body: Body) -> Frame {
    let payload = match &body {
        Body::Tensor { parts, .. } => {
            let bytes: u64 = parts.iter().filter_map(PartHeader::payload_bytes).sum();
            vec![1; usize::try_from(bytes).expect("a few")]
        }
        Body::Piece(piece) => vec![1; piece.bytes as usize],
        other => other.filling(),
    };
    Frame {
        epoch: Epoch {
            number: 4,
            incarnation: 9,
        },
        sent: Some(ringtmp_core::time::Time::from_micros(1_000_000)),
        body,
        payload,
    }
}

fn bodies() -> Vec<Body> {
    let room = RoomCode::from_random([7; 10]);
    let tensor = |kind, codec, shape: &[u32]| Body::Tensor {
        kind,
        purpose: Purpose::Train,
        micro_batch: micro_batch(),
        parts: vec![PartHeader {
            codec,
            shape: shape.to_vec(),
        }],
    };
    let version = Version(12);
    let (from, layer) = (StageIndex(1), LayerIndex(3));
    vec![
        Body::Hello(Hello {
            protocol: ringtmp_core::signal::PROTOCOL_VERSION,
            room,
            peer: PeerId(7),
        }),
        Body::Progress {
            origin: PeerId(7),
            points: vec![point(); 2],
        },
        Body::SquareSum {
            kind: SumKind::Partial,
            step: Step(3),
            sum: 0.25,
        },
        Body::Probe {
            number: 1,
            bytes: 16,
        },
        Body::Echo {
            number: 1,
            apart_micros: Some(437_000),
        },
        Body::Beat { task_millis: 250 },
        Body::Mark {
            version,
            rest: true,
        },
        Body::Piece(Piece {
            from,
            to: StageIndex(2),
            version,
            layer,
            total: 16,
            offset: 0,
            bytes: 16,
        }),
        Body::PieceHere {
            from,
            version,
            layer,
            received: 16,
        },
        Body::Secured {
            version,
            cost_micros: 900,
            busy: false,
        },
        Body::Stable {
            version,
            keep: true,
        },
        tensor(TensorKind::Activation, Codec::F32, &[2, 3]),
        tensor(TensorKind::Samples, Codec::U32, &[4]),
        tensor(TensorKind::Gradient, Codec::F16, &[2, 3]),
        tensor(TensorKind::Gradient, Codec::I8 { row: 3 }, &[2, 3]),
        tensor(TensorKind::Release, Codec::F32, &[0]),
        Body::Model {
            asker: from,
            word: ModelWord::Want,
        },
        Body::WeightsHere {
            from,
            version,
            layer,
            received: 64,
        },
        Body::Answer(Answer {
            micro_batch: micro_batch(),
            to: PeerId(7),
            number: 3,
            probabilities: vec![0.1; 10],
        }),
    ]
}

fn point() -> Point {
    Point {
        step: 3,
        loss: Some(0.5),
        accuracy: None,
    }
}

fn team_messages() -> Vec<Message> {
    let (range, clock) = (RangeIndex(2), Step(5));
    let numbers = Numbers {
        codec: Codec::F32,
        elements: 2,
    };
    vec![
        Message::Greeting(Greeting {
            protocol: ringtmp_core::signal::PROTOCOL_VERSION,
            run: RunDigest([7; 32]),
            member: MemberIndex(1),
        }),
        Message::Push(Push {
            range,
            clock,
            base: Step(4),
            labels: 32,
            numbers,
        }),
        Message::Weights(Weights {
            range,
            clock,
            counted: 5,
            numbers,
        }),
        Message::Score(Score {
            worker: WorkerIndex(1),
            clock,
            purpose: Purpose::Evaluate,
            sums: Sums::default(),
        }),
        Message::Refused(Refusal::Duplicate { range, clock }),
    ]
}

/// Peers and the room are written so, and stand for those that there will be.
const ROOM: [u8; 10] = [0xb6; 10];
const PEER: u64 = 0xfeed_0000_0000_0000;

fn line(connection: u32, message: &ClientMessage) -> String {
    let mut text = serde_json::to_string(message).expect("JSON");
    text = text.replace(&RoomCode::from_random(ROOM).to_string(), "$ROOM");
    for peer in 0..8 {
        let id = PeerId(PEER + peer).to_string();
        text = text.replace(&id, &format!("$PEER{peer}"));
    }
    format!("{connection} {text}\n")
}

fn peer(connection: u32) -> PeerId {
    PeerId(PEER + u64::from(connection))
}

fn run(start_at_peers: u16, replication: Replication) -> RunDescriptor {
    let layer = LayerCost {
        flops: [1e6; 3],
        parameters: 100,
        output_bytes: 100,
        stash_bytes: 100,
    };
    RunDescriptor {
        verifier: None,
        toml: "steps = 9".to_owned(),
        outline: RunOutline {
            name: "mlp".to_owned(),
            layers: vec![layer; 3],
            steps: 9,
            micro_batches: 2,
            evaluate_every: 0,
            evaluation_micro_batches: 0,
            start_at_peers,
            schedule: ScheduleSpec::new(Mode::Sync, 1),
            source: DataSource::One,
            sample_bytes: 4,
            codec: CodecChoice::default(),
            planning: Planning::Counted,
            replication,
            topology: team::Topology::Ring,
        },
        resumes: None,
    }
}

fn device() -> Device {
    Device {
        kind: DeviceKind::Tab,
        name: "a phone".to_owned(),
        executor: ExecutorKind::Cpu,
        adapter: "none".to_owned(),
        memory_bytes: Some(1 << 30),
        form: None,
    }
}

fn join(connection: u32, role: Role) -> String {
    let join = ClientMessage::Join {
        proof: None,
        protocol: 0,
        room: RoomCode::from_random(ROOM),
        role,
        device: device(),
        has_data: true,
    };
    format!("{connection} +\n{}", line(connection, &join))
}

/// With the answer to what it is asked.
fn enter(connection: u32) -> String {
    let join = join(connection, Role::Participant);
    let join = join.trim_start_matches(&format!("{connection} +\n"));
    let proof = format!("\"proof\":\"$PROOF{connection}\"");
    line(connection, &ClientMessage::Knock) + &join.replace("\"proof\":null", &proof)
}

/// A device that has only the short code of a room with a secret is let in by its host; another goes as it is asked.
fn asking() -> String {
    let secret = RoomSecret::from_random(SECRET);
    let room = RoomCode::from_random(ROOM);
    let mut run = run(0, Replication::Off);
    run.verifier = Some(secret.verifier());
    let mut asker = Asker::new([1; 32], [2; 32]);
    let commitment = asker.commitment();
    let mut host = Host::new(commitment, [3; 32]);
    let key = host.key();
    let (opening, _) = asker.meet(key).expect("a key");
    host.reveal(&opening).expect("it was committed to");
    let sealed = host.let_in(room, secret);
    let short = ShortCode::of(room);
    let ask = Asking::Ask {
        protocol: 0,
        code: short,
        device: device(),
        commitment,
    };
    let says = |connection, asking: Asking| {
        let text = line(connection, &ClientMessage::Asking(asking));
        text.replace(&short.to_string(), "$SHORT")
            .replace("$PEER7", "$ASKER")
    };
    let (meets, decides) = (
        |asker| Asking::Meet { asker, key },
        |asker, link| Asking::Decide { asker, link },
    );
    [
        create(run),
        enter(0),
        "1 +\n".to_owned() + &says(1, ask.clone()),
        says(0, meets(peer(7))),
        says(1, Asking::Reveal { opening }),
        says(0, decides(peer(7), sealed)),
        "2 +\n".to_owned() + &enter(2),
        "3 +\n".to_owned() + &says(3, ask) + "3 -\n",
        says(0, decides(peer(7), None)) + "0 ~400000\n",
    ]
    .concat()
}

fn create(run: RunDescriptor) -> String {
    let create = ClientMessage::Create { protocol: 0, run };
    format!("0 +\n{}", line(0, &create))
}

fn scripts() -> Vec<(&'static str, String)> {
    let room = |start_at_peers, replication| {
        let two = join(1, Role::Participant) + &join(2, Role::Participant);
        create(run(start_at_peers, replication)) + &two
    };
    let epoch = Epoch {
        number: 1,
        incarnation: 1,
    };
    let ready = |connection| {
        let links = Vec::new();
        line(connection, &ClientMessage::Ready { epoch, links })
    };
    let training = room(2, Replication::Auto) + &ready(1) + &ready(2);
    let signal = ClientMessage::Signal {
        to: peer(2),
        signal: Signal::Offer {
            proof: None,
            epoch,
            sdp: "v=0".to_owned(),
        },
    };
    let candidate = ClientMessage::Signal {
        to: peer(1),
        signal: Signal::Candidate {
            epoch,
            candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host".to_owned(),
            mid: Some("0".to_owned()),
        },
    };
    let progress = ClientMessage::Progress {
        epoch,
        points: vec![point()],
    };
    let lost = ClientMessage::LinkLost {
        epoch,
        peer: peer(2),
        reason: "silence".to_owned(),
    };
    let done = |connection| {
        let links = vec![LinkTraffic {
            to: peer(1),
            bytes: 9,
            relayed: false,
        }];
        let digests = Vec::new();
        let done = ClientMessage::Done {
            epoch,
            digests,
            links,
        };
        line(connection, &done)
    };
    let all = "0 !\n3 +\n3 nonsense\n3 {\"type\":\"join\"}\n3 !\n4 +\n4 ~61000\n".to_owned();
    let host = create(run(0, Replication::Off))
        + join(0, Role::Participant).trim_start_matches("0 +\n")
        + &join(1, Role::Spectator)
        + &line(0, &ClientMessage::Kick { peer: peer(1) })
        + &line(
            0,
            &ClientMessage::Rename {
                peer: peer(0),
                name: "a desk".to_owned(),
            },
        )
        + &line(0, &ClientMessage::Pledge { memory_bytes: None })
        + &line(0, &ClientMessage::Start)
        + &line(0, &ClientMessage::Stop);
    vec![
        ("asking", asking()),
        ("refused", create(run(0, Replication::Off)) + &all),
        ("host", host),
        (
            "relayed",
            room(0, Replication::Off) + &line(1, &signal) + &line(2, &candidate),
        ),
        (
            "finished",
            training.clone()
                + &line(2, &progress)
                + &done(1)
                + &done(2)
                + &join(3, Role::Spectator),
        ),
        (
            "lost",
            training.clone() + &line(1, &lost) + "0 ~2000\n2 -\n0 ~6000\n0 ~60000\n",
        ),
        (
            "handed-on",
            training
                + &line(1, &ClientMessage::HandOn)
                + &line(
                    1,
                    &ClientMessage::Clock {
                        asked: Default::default(),
                    },
                )
                + &line(2, &ClientMessage::Leave)
                + "1 -\n0 ~600000\n",
        ),
    ]
}
