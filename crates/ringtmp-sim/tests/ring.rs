//! Whole rings in memory: lobby and nodes under an arbitrary order of events, where time plays no part, with a hash in place of computing.

use proptest::prelude::*;
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::ids::{Epoch, PayloadId, PeerId, RoomCode, Step};
use ringtmp_core::lobby::{ConnectionId, Limits, Lobby, LobbyInput, LobbyOutput, VisitorId};
use ringtmp_core::node::{Assignment, Event, Input, Node, Outcome, Output, Polled};
use ringtmp_core::plan::LayerCost;
use ringtmp_core::profile::Planning;
use ringtmp_core::room::AWAY_WAIT_MAX;
use ringtmp_core::schedule::{DataSource, Mode, ScheduleSpec, Task};
use ringtmp_core::signal::*;
use ringtmp_core::time::Time;
use ringtmp_core::wire::{Body, Frame, Lane};
use ringtmp_sim::compute::{Compute, HashStage, one_process};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

const LAYERS: usize = 7;

fn outline(mode: Mode, steps: u32, micro_batches: u16, start_at_peers: u16) -> RunOutline {
    let layer = |i: usize| LayerCost {
        flops: [1.0 + i as f64; 3],
        parameters: 1,
        output_bytes: 8,
        stash_bytes: 8,
    };
    RunOutline {
        name: "hash".to_owned(),
        layers: (0..LAYERS).map(layer).collect(),
        steps,
        micro_batches,
        evaluate_every: 2,
        evaluation_micro_batches: 3,
        start_at_peers,
        schedule: ScheduleSpec::new(mode, 1),
        source: DataSource::One,
        sample_bytes: 4,
        codec: CodecChoice::default(),
        planning: Planning::Counted,
        replication: Replication::Off,
        topology: ringtmp_core::parameter_server::Topology::Ring,
    }
}

fn device(name: &str) -> Device {
    Device {
        kind: DeviceKind::Native,
        name: name.to_owned(),
        executor: ExecutorKind::Cpu,
        adapter: String::new(),
        memory_bytes: None,
        form: None,
    }
}

enum Local {
    Build(Assignment),
    Run(Epoch, Task, Option<u64>),
    Digest(Epoch),
}

/// A frame, and the payload that would be in it.
type Sent = (Vec<u8>, Option<u64>);

#[derive(Default)]
struct Peer {
    node: Node,
    id: Option<PeerId>,
    stage: Option<HashStage>,
    payloads: BTreeMap<PayloadId, u64>,
    next_payload: u64,
    /// FIFO queues, each drained in its own order, all in any order relative to each other.
    from_server: VecDeque<ServerMessage>,
    to_server: VecDeque<ClientMessage>,
    local: VecDeque<Local>,
    links_up: VecDeque<PeerId>,
    from_links: BTreeMap<(PeerId, Lane), VecDeque<Sent>>,
    wake: Option<Time>,
    events: Vec<Event>,
}

impl Peer {
    fn keep(&mut self, value: u64) -> PayloadId {
        self.next_payload += 1;
        let id = PayloadId(self.next_payload);
        self.payloads.insert(id, value);
        id
    }
}

struct World {
    now: Time,
    lobby: Lobby,
    peers: Vec<Peer>,
    code: RoomCode,
    entropy: u8,
    asked: BTreeSet<(PeerId, PeerId)>,
}

impl World {
    fn new(peers: usize, outline: RunOutline) -> Self {
        let mut world = Self {
            now: Time::ZERO,
            lobby: Lobby::new(
                Limits {
                    messages_burst: 100_000,
                    ..Limits::default()
                },
                0,
            ),
            peers: Vec::new(),
            code: RoomCode::from_random([0; 10]),
            entropy: 0,
            asked: BTreeSet::new(),
        };
        let creator = ConnectionId(999);
        world.lobby_input(LobbyInput::Connected {
            connection: creator,
            visitor: VisitorId(0),
        });
        let run = RunDescriptor {
            toml: String::new(),
            outline,
            resumes: None,
            verifier: None,
        };
        let text = serde_json::to_string(&ClientMessage::Create {
            protocol: PROTOCOL_VERSION,
            run,
        })
        .expect("JSON");
        world.lobby.handle(
            world.now,
            [9; 16],
            LobbyInput::Text {
                connection: creator,
                text: &text,
            },
        );
        let Some(LobbyOutput::Send {
            message: ServerMessage::Created { room },
            ..
        }) = world.lobby.poll_output()
        else {
            panic!("the room was not created")
        };
        world.code = room;
        for i in 0..peers {
            world.peers.push(Peer::default());
            world.lobby_input(LobbyInput::Connected {
                connection: ConnectionId(i as u64),
                visitor: VisitorId(i as u64),
            });
            let join = ClientMessage::Join {
                protocol: PROTOCOL_VERSION,
                room,
                role: Role::Participant,
                device: device(&format!("device {i}")),
                has_data: i % 3 != 1,
                proof: None,
            };
            world.peers[i].to_server.push_back(join);
        }
        world
    }

    fn lobby_input(&mut self, input: LobbyInput<'_>) {
        self.entropy += 1;
        // Ids fall as peers come, so that their order is not the order of joining.
        self.lobby.handle(self.now, [255 - self.entropy; 16], input);
        while let Some(output) = self.lobby.poll_output() {
            match output {
                LobbyOutput::Send {
                    connection,
                    message,
                } => {
                    if let Some(peer) = self.peers.get_mut(connection.0 as usize) {
                        if let ServerMessage::Welcome { peer: id, .. } = &message {
                            peer.id = Some(*id);
                        }
                        peer.from_server.push_back(message);
                    }
                }
                LobbyOutput::Close { connection } => panic!("{connection:?} was closed"),
            }
        }
    }

    fn index(&self, id: PeerId) -> usize {
        self.peers
            .iter()
            .position(|peer| peer.id == Some(id))
            .expect("a known peer")
    }

    /// One event at peer `i`, of kind `kind`; false if there is none.
    fn happen(&mut self, i: usize, kind: usize) -> bool {
        self.now = self.now + Duration::from_millis(1);
        let now = self.now;
        let peer = &mut self.peers[i];
        let input = match kind {
            0 => match peer.to_server.pop_front() {
                Some(message) => {
                    let text = serde_json::to_string(&message).expect("messages are JSON");
                    self.lobby_input(LobbyInput::Text {
                        connection: ConnectionId(i as u64),
                        text: &text,
                    });
                    return true;
                }
                None => return false,
            },
            1 => peer.from_server.pop_front().map(Input::Room),
            2 => peer.local.pop_front().map(|local| match local {
                Local::Build(assignment) => {
                    let epoch = assignment.epoch;
                    peer.stage = Some(HashStage::new(assignment));
                    Input::Built { epoch }
                }
                Local::Run(epoch, task, input) => {
                    let stage = peer.stage.as_mut().expect("built");
                    let (output, loss) = stage.work(task, input);
                    let squares = match task {
                        Task::Squares { .. } => stage.squares(),
                        _ => Vec::new(),
                    };
                    let payload = output.map(|value| peer.keep(value));
                    Input::Completed {
                        epoch,
                        task,
                        outcome: Outcome {
                            payload,
                            loss,
                            answer: None,
                            squares,
                        },
                    }
                }
                Local::Digest(epoch) => {
                    let digests = peer.stage.as_ref().expect("built").digests();
                    Input::Digested {
                        epoch,
                        digests,
                        links: Vec::new(),
                    }
                }
            }),
            3 => peer.links_up.pop_front().map(|peer| Input::LinkUp { peer }),
            _ => peer.take_frame(),
        };
        let Some(input) = input else { return false };
        self.peers[i].node.handle(now, input);
        self.drain(i);
        true
    }

    fn drain(&mut self, i: usize) {
        loop {
            let output = match self.peers[i].node.poll_output() {
                Polled::Do(output) => output,
                Polled::Wait(wake) => {
                    self.peers[i].wake = wake;
                    return;
                }
            };
            let peer = &mut self.peers[i];
            match output {
                Output::ToRoom(message) => peer.to_server.push_back(message),
                Output::Connect { peer: other, .. } => {
                    let me = peer.id.expect("in the room");
                    self.connect(me, other);
                }
                Output::Deliver { .. } | Output::Disconnect { .. } => {}
                Output::Send {
                    to,
                    epoch,
                    body,
                    payload,
                } => {
                    let value =
                        payload.map(|payload| peer.payloads.remove(&payload).expect("kept"));
                    let from = peer.id.expect("in the room");
                    let frame = Frame {
                        epoch,
                        sent: None,
                        body,
                        payload: Vec::new(),
                    };
                    let lane = frame.lane();
                    let bytes = frame.encode().expect("within the limits");
                    let to = self.index(to);
                    if self.peers[to].links_up.contains(&from) {
                        // Lost: the other end does not have it open yet.
                        continue;
                    }
                    self.peers[to]
                        .from_links
                        .entry((from, lane))
                        .or_default()
                        .push_back((bytes, value));
                }
                Output::Build(assignment) => peer.local.push_back(Local::Build(assignment)),
                Output::Run { epoch, task } => {
                    let input = task
                        .payload()
                        .map(|payload| peer.payloads.remove(&payload).expect("kept"));
                    peer.local.push_back(Local::Run(epoch, task, input));
                }
                Output::Digest { epoch } => peer.local.push_back(Local::Digest(epoch)),
                Output::Discard(payload) => drop(peer.payloads.remove(&payload)),
                // These rings are planned by counted operations.
                Output::Measure => panic!("nothing is measured here"),
                Output::Snapshot { .. }
                | Output::SendPiece { .. }
                | Output::SendWeights { .. }
                | Output::Collect { .. }
                | Output::CollectOwn { .. }
                | Output::Store { .. }
                | Output::Forget { .. }
                | Output::Keep { .. }
                | Output::Load { .. }
                | Output::Forsake { .. } => panic!("nothing is copied here"),
                // No disk was spoken of.
                Output::Clear => {}
                Output::Event(event) => peer.events.push(event),
            }
        }
    }

    /// A link is up once both ends have asked for it. What one end sends before the other end has it open is lost.
    fn connect(&mut self, me: PeerId, other: PeerId) {
        if self.asked.remove(&(other, me)) {
            let (i, j) = (self.index(me), self.index(other));
            self.peers[i].links_up.push_back(other);
            self.peers[j].links_up.push_back(me);
        } else {
            self.asked.insert((me, other));
        }
    }

    /// Lets things happen in an order that `choices` decides, until nothing can.
    fn run(&mut self, choices: &mut impl Iterator<Item = u16>) {
        loop {
            let all = self.peers.len() * 5;
            let first = usize::from(choices.next().unwrap_or(0));
            let moved = (0..all).any(|k| {
                let choice = (first + k) % all;
                self.happen(choice / 5, choice % 5)
            });
            if !moved && !self.sleep() {
                return;
            }
        }
    }

    /// Nothing happens until somebody wakes.
    fn sleep(&mut self) -> bool {
        let next = self
            .peers
            .iter()
            .enumerate()
            .filter_map(|(i, peer)| Some((peer.wake?, i)))
            .min();
        let Some((wake, i)) = next else { return false };
        self.now = self.now.max(wake);
        self.peers[i].node.handle(self.now, Input::Tick);
        self.drain(i);
        true
    }

    fn room(&mut self) -> RoomView {
        let connection = ConnectionId(998);
        let mut views = Vec::new();
        let visitor = VisitorId(998);
        self.lobby.handle(
            self.now,
            [3; 16],
            LobbyInput::Connected {
                connection,
                visitor,
            },
        );
        let device = device("watcher");
        let join = ClientMessage::Join {
            protocol: PROTOCOL_VERSION,
            room: self.code,
            role: Role::Spectator,
            device,
            has_data: false,
            proof: None,
        };
        let text = serde_json::to_string(&join).expect("JSON");
        self.lobby.handle(
            self.now,
            [4; 16],
            LobbyInput::Text {
                connection,
                text: &text,
            },
        );
        while let Some(output) = self.lobby.poll_output() {
            if let LobbyOutput::Send {
                message: ServerMessage::Welcome { room, .. },
                ..
            } = output
            {
                views.push(room);
            }
        }
        self.lobby
            .handle(self.now, [5; 16], LobbyInput::Disconnected { connection });
        while self.lobby.poll_output().is_some() {}
        *views.pop().expect("a watcher is welcome")
    }
}

impl Peer {
    fn take_frame(&mut self) -> Option<Input> {
        let (&(from, lane), _) = self
            .from_links
            .iter()
            .find(|(_, frames)| !frames.is_empty())?;
        let (bytes, value) = self.from_links.get_mut(&(from, lane))?.pop_front()?;
        let Frame { epoch, body, .. } =
            Frame::decode(&bytes).expect("nodes write frames that nodes can read");
        Some(match body {
            Body::Tensor {
                kind,
                purpose,
                micro_batch,
                ..
            } => {
                let payload = value.map(|value| self.keep(value));
                Input::Tensor {
                    from,
                    epoch,
                    kind,
                    purpose,
                    micro_batch,
                    payload,
                }
            }
            body => Input::Control { from, epoch, body },
        })
    }
}

fn result(
    schedule: ScheduleSpec,
    peers: usize,
    steps: u32,
    micro_batches: u16,
    choices: Vec<u16>,
) -> (RoomView, World) {
    let outline = RunOutline {
        schedule,
        ..outline(schedule.mode, steps, micro_batches, peers as u16)
    };
    let mut world = World::new(peers, outline);
    world.run(&mut choices.into_iter().cycle().take(200_000));
    (world.room(), world)
}

proptest! {
    #[test]
    fn any_ring_under_any_order_of_events_computes_what_one_peer_computes(
        mode in prop::sample::select(vec![Mode::Sync, Mode::TwoVersions, Mode::OneForwardOneBackward]),
        peers in 2usize..10,
        steps in 1u32..5,
        micro_batches in 1u16..9,
        clips_gradients: bool,
        choices in prop::collection::vec(any::<u16>(), 300),
    ) {
        let spec = ScheduleSpec { clips_gradients, ..ScheduleSpec::new(mode, 1) };
        let (alone, _) = result(spec, 1, steps, micro_batches, vec![0]);
        let (room, world) = result(spec, peers, steps, micro_batches, choices);
        prop_assert_eq!(&room.state, &RoomState::Finished);
        let (alone, ring) = (alone.result.expect("finished"), room.result.expect("finished"));
        prop_assert_eq!(&ring.digests, &alone.digests);
        prop_assert_eq!(ring.digests.len(), LAYERS);
        prop_assert_eq!((ring.loss_first, ring.loss_last, ring.test_accuracy), (alone.loss_first, alone.loss_last, alone.test_accuracy));
        prop_assert_eq!(ring.test_accuracy, Some(0.5));
        for peer in &world.peers {
            prop_assert!(peer.payloads.is_empty(), "payloads leak");
        }
        let spares = room.members.iter().filter(|member| member.status == MemberStatus::Spare).count();
        prop_assert_eq!(spares, peers.saturating_sub(LAYERS));
    }
}

proptest! {
    #[test]
    fn rings_whose_peers_train_on_their_own_samples_compute_what_one_process_computes(
        mode in prop::sample::select(vec![Mode::Sync, Mode::TwoVersions, Mode::OneForwardOneBackward]),
        peers in 1usize..8,
        steps in 1u32..6,
        micro_batches in 1u16..9,
        choices in prop::collection::vec(any::<u16>(), 300),
    ) {
        let outline = RunOutline {
            source: DataSource::Every,
            ..outline(mode, steps, micro_batches, peers as u16)
        };
        let mut world = World::new(peers, outline.clone());
        world.run(&mut choices.into_iter().cycle().take(200_000));
        let room = world.room();
        prop_assert_eq!(&room.state, &RoomState::Finished);
        let plan = room.ring().cloned().expect("a plan");
        let sources = plan.order.iter().map(|peer| world.index(*peer)).zip(0u16..);
        let sources: Vec<u16> = sources.filter(|(device, _)| device % 3 != 1).map(|(_, stage)| stage).collect();
        prop_assert!(plan.sources.iter().map(|stage| stage.0).eq(sources.iter().copied()));
        let alone = one_process(&outline, &[(Step(0), sources.len() as u16)]);
        prop_assert_eq!(room.result.map(|result| result.digests), alone);
        for peer in &world.peers {
            prop_assert!(peer.payloads.is_empty(), "payloads leak");
        }
    }
}

#[test]
fn every_peer_of_the_ring_sees_the_curve_without_the_server() {
    let spec = ScheduleSpec::new(Mode::Sync, 1);
    let (_, world) = result(spec, 4, 6, 3, vec![1, 7, 3]);
    for peer in &world.peers {
        let points: Vec<u32> = peer
            .events
            .iter()
            .filter_map(|event| {
                if let Event::Points(points) = event {
                    Some(points)
                } else {
                    None
                }
            })
            .flatten()
            .filter(|point| point.loss.is_some())
            .map(|point| point.step)
            .collect();
        assert_eq!(points, [0, 1, 2, 3, 4, 5]);
    }
}

#[test]
fn a_member_lost_in_training_stops_the_run_by_name_and_the_rest_can_start_again() {
    let mut world = World::new(3, outline(Mode::Sync, 1000, 4, 3));
    for k in 0..3000 {
        let all = 15;
        (0..all).any(|j| world.happen((k * 7 + j) % all / 5, (k * 7 + j) % 5));
    }
    assert_eq!(world.room().state, RoomState::Training);
    world.lobby_input(LobbyInput::Disconnected {
        connection: ConnectionId(1),
    });
    assert_eq!(world.room().state, RoomState::Training, "it may return");
    world.now = world.now + AWAY_WAIT_MAX;
    world.lobby_input(LobbyInput::Tick);
    let RoomState::Stopped { reason } = world.room().state else {
        panic!("{:?}", world.room().state)
    };
    assert!(reason.contains("device 1"), "{reason}");
    world.peers[0].to_server.push_back(ClientMessage::Start);
    for k in 0..3000 {
        let all = 15;
        (0..all).any(|j| {
            let choice = (k * 7 + j) % all;
            choice / 5 != 1 && world.happen(choice / 5, choice % 5)
        });
    }
    let room = world.room();
    assert_eq!(room.state, RoomState::Training);
    assert_eq!(room.ring().cloned().expect("a plan").order.len(), 2);
    let aborted = world.peers[0]
        .events
        .iter()
        .any(|event| matches!(event, Event::Aborted { reason } if reason.contains("device 1")));
    assert!(aborted);
}
