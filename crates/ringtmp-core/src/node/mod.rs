//! What every peer runs: it obeys the room, greets its neighbours and works off the schedule.
//!
//! ```text
//!             Prepare (in the plan)     built, all links greeted: Ready; Commit          all done here
//!   idle ──────────────────────────▶ preparing ───────────────────────────────▶ training ─────────────▶ finished
//!    ▲                                   │  a link or the stage failed             │                        │
//!    └──────── room stopped, next plan ──┴─────────────────────────────────────────┴────────────────────────┘
//! ```
//!
//! Use: [`Node::handle`] with each input, then [`Node::poll_output`] until it says to wait.

mod tally;
mod training;

use crate::ids::{Epoch, LayerIndex, MicroBatchId, PayloadId, PeerId, RoomCode, StageIndex, Step};
use crate::plan::Plan;
use crate::schedule::{Task, slots};
use crate::signal::{
    ClientMessage, DeviceKind, LayerDigest, LinkTraffic, PROTOCOL_VERSION, Point, RoomState,
    RoomView, RunOutline, ServerMessage, Signal,
};
use crate::time::Time;
use crate::wire::{Body, Hello, Purpose, TensorKind, WireError};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;
use training::Training;

/// What happens to a peer.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The server speaks.
    Room(ServerMessage),
    /// The socket to the server is gone. Training goes on without it.
    ServerLost,
    /// A link is open, ungreeted.
    LinkUp {
        /// To whom.
        peer: PeerId,
    },
    /// A link could not be made, or is gone.
    LinkLost {
        /// To whom.
        peer: PeerId,
        /// In words for the user.
        reason: String,
    },
    /// A frame that carries no tensor.
    Control {
        /// From whom.
        from: PeerId,
        /// Under which plan.
        epoch: Epoch,
        /// What it says.
        body: Body,
    },
    /// A frame that carries tensors, which the shell keeps under `payload` (none for a release).
    Tensor {
        /// From whom.
        from: PeerId,
        /// Under which plan.
        epoch: Epoch,
        /// Which way.
        kind: TensorKind,
        /// What for.
        purpose: Purpose,
        /// Which one.
        micro_batch: MicroBatchId,
        /// The numbers.
        payload: Option<PayloadId>,
    },
    /// What a neighbour sent cannot be read.
    Unreadable {
        /// From whom.
        from: PeerId,
        /// Why.
        error: WireError,
    },
    /// The stage of [`Output::Build`] is there.
    Built {
        /// Of which plan.
        epoch: Epoch,
    },
    /// A task of [`Output::Run`] is done.
    Completed {
        /// Under which plan.
        epoch: Epoch,
        /// The task.
        task: Task,
        /// What came out.
        outcome: Outcome,
    },
    /// The answer to [`Output::Digest`].
    Digested {
        /// Of which plan.
        epoch: Epoch,
        /// The digests.
        digests: Vec<LayerDigest>,
        /// Bytes sent in all.
        links: Vec<LinkTraffic>,
    },
    /// Building, computing or digesting failed.
    Failed {
        /// Under which plan.
        epoch: Epoch,
        /// In words for the user.
        reason: String,
    },
    /// Bytes sent so far; told about once a second.
    Traffic(Vec<LinkTraffic>),
    /// The user wants the room to start, pause, resume or stop.
    Ask(ClientMessage),
    /// Time has passed.
    Tick,
}

/// What came out of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The output, kept by the shell.
    pub payload: Option<PayloadId>,
    /// At the tail, after F.
    pub loss: Option<Loss>,
}

/// The loss of a micro-batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// Summed over its samples.
    pub sum: f32,
    /// Right answers among them.
    pub correct: u32,
    /// Samples.
    pub samples: u32,
}

/// What a peer's shell must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Tell the server (if it is there).
    ToRoom(ClientMessage),
    /// Make a link, closing an older one to the same peer.
    Connect {
        /// To whom.
        peer: PeerId,
        /// Whether to make the offer or to wait for it.
        offer: bool,
        /// For which plan.
        epoch: Epoch,
    },
    /// A connection message from the other end of a link being made.
    Deliver {
        /// From whom.
        from: PeerId,
        /// The message.
        signal: Signal,
    },
    /// Close a link.
    Disconnect {
        /// To whom.
        peer: PeerId,
    },
    /// Send a frame.
    Send {
        /// To whom.
        to: PeerId,
        /// Under which plan.
        epoch: Epoch,
        /// What it says. Of a tensor the shell adds the parts.
        body: Body,
        /// The numbers, to be forgotten afterwards.
        payload: Option<PayloadId>,
    },
    /// Build a stage; answer [`Input::Built`] or [`Input::Failed`].
    Build(Assignment),
    /// Compute; answer [`Input::Completed`] or [`Input::Failed`]. One at a time.
    Run {
        /// Under which plan.
        epoch: Epoch,
        /// The task.
        task: Task,
    },
    /// Tell the digests of the stage's weights; answer [`Input::Digested`] or [`Input::Failed`].
    Digest {
        /// Of which plan.
        epoch: Epoch,
    },
    /// Forget a payload.
    Discard(PayloadId),
    /// Something to show.
    Event(Event),
}

/// Something to show.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A link carries frames.
    LinkOpen {
        /// To whom.
        peer: PeerId,
    },
    /// A link could not be made or is gone.
    LinkFailed {
        /// To whom.
        peer: PeerId,
        /// In words.
        reason: String,
    },
    /// New points of the curves.
    Points(Vec<Point>),
    /// Training begins, or began while the server was away.
    Training,
    /// This peer's part is done.
    Finished,
    /// The run has ended early here.
    Aborted {
        /// In words.
        reason: String,
    },
}

/// The stage to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Under which plan.
    pub epoch: Epoch,
    /// Which stage.
    pub stage: StageIndex,
    /// Of how many.
    pub stages: usize,
    /// Its layers.
    pub layers: Range<LayerIndex>,
    /// Micro-batches whose activations it keeps at once.
    pub slots: u16,
}

impl Assignment {
    /// Whether it is the head.
    pub fn is_head(&self) -> bool {
        self.stage.0 == 0
    }

    /// Whether it is the tail.
    pub fn is_tail(&self) -> bool {
        usize::from(self.stage.0) + 1 == self.stages
    }
}

/// An output, or when to come back.
#[derive(Clone, Debug, PartialEq)]
pub enum Polled {
    /// Do this, then poll again.
    Do(Output),
    /// Nothing until the next input, or until this time.
    Wait(Option<Time>),
}

#[derive(Debug)]
struct Identity {
    me: PeerId,
    room: RoomCode,
    outline: RunOutline,
}

/// A greeting that was not answered is repeated after this time. A data channel can open at one end earlier than at the other,
/// and what is sent in between may be lost (seen with `rtc` 0.21).
const HELLO_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LinkProgress {
    up: bool,
    /// The other end has greeted us: it is there, and hears us.
    greeted: bool,
    /// When to greet again.
    hello_due: Option<Time>,
}

/// A plan at work.
#[derive(Debug)]
struct Active {
    plan: Plan,
    stage: StageIndex,
    links: BTreeMap<PeerId, LinkProgress>,
    built: bool,
    said_ready: bool,
    training: Training,
}

impl Active {
    fn neighbours(plan: &Plan, stage: StageIndex) -> BTreeMap<PeerId, LinkProgress> {
        let me = plan.order[usize::from(stage.0)];
        let both = [plan.predecessor(stage), plan.successor(stage)];
        both.into_iter()
            .filter(|peer| *peer != me)
            .map(|peer| (peer, LinkProgress::default()))
            .collect()
    }

    /// When something is due without an input.
    fn due(&self) -> Option<Time> {
        let hellos = self.links.values().map(|link| link.hello_due);
        hellos.chain([self.training.points_due()]).flatten().min()
    }

    fn is_prepared(&self) -> bool {
        self.built && self.links.values().all(|link| link.up && link.greeted)
    }
}

/// One peer's part of the protocol.
#[derive(Debug, Default)]
pub struct Node {
    identity: Option<Identity>,
    kinds: BTreeMap<PeerId, DeviceKind>,
    active: Option<Active>,
    output: VecDeque<Output>,
}

impl Node {
    /// A peer that is in no room yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Room(message) => self.room(message),
            Input::ServerLost | Input::Tick => {}
            Input::LinkUp { peer } => self.link_up(now, peer),
            Input::LinkLost { peer, reason } => self.link_lost(peer, reason),
            Input::Control { from, epoch, body } => self.control(from, epoch, body),
            Input::Tensor {
                from,
                epoch,
                kind,
                purpose,
                micro_batch,
                payload,
            } => {
                self.tensor(from, epoch, kind, purpose, micro_batch, payload);
            }
            Input::Unreadable { from, error } => {
                self.fail(format!("link to {}: {error}", self.name(from)))
            }
            Input::Built { epoch } => {
                if let Some(active) = self.under(epoch) {
                    active.built = true;
                    self.say_ready();
                }
            }
            Input::Completed {
                epoch,
                task,
                outcome,
            } => self.completed(now, epoch, task, outcome),
            Input::Digested {
                epoch,
                digests,
                links,
            } => {
                if self.under(epoch).is_some() {
                    self.output.push_back(Output::ToRoom(ClientMessage::Done {
                        epoch,
                        digests,
                        links,
                    }));
                    self.output.push_back(Output::Event(Event::Finished));
                }
            }
            Input::Failed { epoch, reason } => {
                if self.under(epoch).is_some() {
                    self.fail(reason);
                }
            }
            Input::Traffic(links) => {
                if let Some(Active {
                    plan: Plan { epoch, .. },
                    ..
                }) = self.active
                {
                    self.output
                        .push_back(Output::ToRoom(ClientMessage::Traffic { epoch, links }));
                }
            }
            Input::Ask(message) => self.output.push_back(Output::ToRoom(message)),
        }
        self.greet_again(now);
        self.advance(now);
    }

    /// What to do next, or until when to wait.
    pub fn poll_output(&mut self) -> Polled {
        match self.output.pop_front() {
            Some(output) => Polled::Do(output),
            None => Polled::Wait(self.active.as_ref().and_then(Active::due)),
        }
    }

    /// The plan at work here, if any.
    pub fn plan(&self) -> Option<&Plan> {
        self.active.as_ref().map(|active| &active.plan)
    }

    /// Updates made under the plan at work.
    pub fn updates(&self) -> Option<Step> {
        self.active
            .as_ref()
            .map(|active| active.training.schedule.updates())
    }

    fn under(&mut self, epoch: Epoch) -> Option<&mut Active> {
        self.active
            .as_mut()
            .filter(|active| active.plan.epoch == epoch)
    }

    fn name(&self, peer: PeerId) -> String {
        let number = self
            .active
            .as_ref()
            .and_then(|active| active.plan.stage_of(peer));
        number.map_or_else(
            || peer.to_string(),
            |stage| format!("stage {}", stage.0 + 1),
        )
    }

    fn room(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Welcome {
                peer, run, room, ..
            } => {
                self.identity = Some(Identity {
                    me: peer,
                    room: room.code,
                    outline: run.outline,
                });
                self.room_changed(&room);
            }
            ServerMessage::Room { room } => self.room_changed(&room),
            ServerMessage::Signal { from, signal } => {
                let expected = self.active.as_ref().is_some_and(|active| {
                    active.plan.epoch == signal.epoch() && active.links.contains_key(&from)
                });
                if expected {
                    self.output.push_back(Output::Deliver { from, signal });
                }
            }
            ServerMessage::Prepare { plan } => self.prepare(plan),
            ServerMessage::Commit { epoch } => {
                if let Some(active) = self.under(epoch) {
                    active.training.begin();
                    self.output.push_back(Output::Event(Event::Training));
                }
            }
            ServerMessage::Progress { points } => {
                self.output.push_back(Output::Event(Event::Points(points)))
            }
            ServerMessage::Created { .. } | ServerMessage::Refused { .. } => {}
        }
    }

    fn room_changed(&mut self, room: &RoomView) {
        self.kinds = room
            .members
            .iter()
            .map(|member| (member.peer, member.device.kind))
            .collect();
        let paused = room.state == RoomState::Paused;
        if let Some(active) = &mut self.active {
            active.training.schedule.set_paused(paused);
        }
        if let RoomState::Stopped { reason } = &room.state {
            self.abort(reason);
        }
    }

    fn prepare(&mut self, plan: Plan) {
        let Some(identity) = &self.identity else {
            return;
        };
        let (me, outline) = (identity.me, identity.outline.clone());
        self.forget_links(|peer| plan.stage_of(peer).is_none());
        self.drop_active();
        if let Err(error) = plan.check(outline.layers.len()) {
            let reason = format!("the server sent {error}");
            self.output.push_back(Output::ToRoom(ClientMessage::Failed {
                epoch: plan.epoch,
                reason,
            }));
            return;
        }
        let Some(stage) = plan.stage_of(me) else {
            return;
        };
        let epoch = plan.epoch;
        let links = Active::neighbours(&plan, stage);
        for peer in links.keys() {
            let offer = self.offers(me, *peer);
            self.output.push_back(Output::Connect {
                peer: *peer,
                offer,
                epoch,
            });
        }
        let slots = slots(stage, plan.stages(), outline.micro_batches);
        let assignment = Assignment {
            epoch,
            stage,
            stages: plan.stages(),
            layers: plan.layers(stage),
            slots,
        };
        self.output.push_back(Output::Build(assignment));
        let training = Training::new(&plan, stage, &outline);
        self.active = Some(Active {
            plan,
            stage,
            links,
            built: false,
            said_ready: false,
            training,
        });
    }

    /// A tab offers to a native peer, whose addresses it can then dial although its own are hidden; among equals the
    /// smaller id offers.
    fn offers(&self, me: PeerId, other: PeerId) -> bool {
        match (self.kinds.get(&me), self.kinds.get(&other)) {
            (Some(DeviceKind::Tab), Some(DeviceKind::Native)) => true,
            (Some(DeviceKind::Native), Some(DeviceKind::Tab)) => false,
            _ => me < other,
        }
    }

    fn link_up(&mut self, now: Time, peer: PeerId) {
        match self
            .active
            .as_mut()
            .and_then(|active| active.links.get_mut(&peer))
        {
            Some(link) => {
                link.up = true;
                link.hello_due = Some(now + HELLO_INTERVAL);
                self.greet(peer);
                self.say_ready();
            }
            None => self.output.push_back(Output::Disconnect { peer }),
        }
    }

    fn greet(&mut self, peer: PeerId) {
        let (Some(identity), Some(active)) = (&self.identity, &self.active) else {
            return;
        };
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            room: identity.room,
            peer: identity.me,
        };
        let epoch = active.plan.epoch;
        self.output.push_back(Output::Send {
            to: peer,
            epoch,
            body: Body::Hello(hello),
            payload: None,
        });
    }

    /// Greets again whoever has not answered.
    fn greet_again(&mut self, now: Time) {
        let links = self
            .active
            .iter_mut()
            .flat_map(|active| active.links.iter_mut());
        let due = links.filter(|(_, link)| link.hello_due.is_some_and(|due| now >= due));
        let peers: Vec<PeerId> = due
            .map(|(peer, link)| {
                link.hello_due = Some(now + HELLO_INTERVAL);
                *peer
            })
            .collect();
        peers.into_iter().for_each(|peer| self.greet(peer));
    }

    fn link_lost(&mut self, peer: PeerId, reason: String) {
        let Some(active) = &mut self.active else {
            return;
        };
        let Some(link) = active.links.get_mut(&peer) else {
            return;
        };
        *link = LinkProgress::default();
        self.output.push_back(Output::Event(Event::LinkFailed {
            peer,
            reason: reason.clone(),
        }));
        if !self
            .active
            .as_ref()
            .is_some_and(|active| active.training.is_over())
        {
            self.fail(format!("link to {}: {reason}", self.name(peer)));
        }
    }

    fn control(&mut self, from: PeerId, epoch: Epoch, body: Body) {
        match body {
            Body::Hello(hello) => self.hello(from, epoch, &hello),
            Body::Progress { origin, points } => self.progress(from, epoch, origin, points),
            // The shell hands tensors over as such; a frame of them without numbers says nothing.
            Body::Tensor { .. } => {}
        }
    }

    fn hello(&mut self, from: PeerId, epoch: Epoch, hello: &Hello) {
        let Some(identity) = &self.identity else {
            return;
        };
        let fault = if hello.protocol != PROTOCOL_VERSION {
            let error = WireError::Version {
                ours: PROTOCOL_VERSION,
                theirs: hello.protocol,
            };
            Some(error.to_string())
        } else if hello.room != identity.room || hello.peer != from {
            Some("the device at the other end is not the one the room named".to_owned())
        } else {
            None
        };
        if let Some(fault) = fault {
            return self.fail(format!("link to {}: {fault}", self.name(from)));
        }
        let Some(link) = self
            .under(epoch)
            .and_then(|active| active.links.get_mut(&from))
        else {
            return;
        };
        if !link.greeted {
            link.greeted = true;
            link.hello_due = None;
            // It is there now, so this greeting cannot be lost as an earlier one may have been.
            self.greet(from);
            self.output
                .push_back(Output::Event(Event::LinkOpen { peer: from }));
            self.say_ready();
        }
    }

    fn say_ready(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        if active.is_prepared() && !active.said_ready {
            active.said_ready = true;
            let epoch = active.plan.epoch;
            self.output
                .push_back(Output::ToRoom(ClientMessage::Ready { epoch }));
        }
    }

    /// This peer cannot go on under the plan at work: the room must know.
    fn fail(&mut self, reason: String) {
        let Some(active) = &self.active else { return };
        let epoch = active.plan.epoch;
        self.output.push_back(Output::ToRoom(ClientMessage::Failed {
            epoch,
            reason: reason.clone(),
        }));
        self.abort(&reason);
    }

    fn abort(&mut self, reason: &str) {
        if self.active.is_some() {
            self.forget_links(|_| true);
            self.drop_active();
            self.output.push_back(Output::Event(Event::Aborted {
                reason: reason.to_owned(),
            }));
        }
    }

    fn forget_links(&mut self, which: impl Fn(PeerId) -> bool) {
        let peers = self
            .active
            .iter()
            .flat_map(|active| active.links.keys())
            .copied();
        let disconnect = peers
            .filter(|peer| which(*peer))
            .map(|peer| Output::Disconnect { peer });
        self.output.extend(disconnect);
    }

    fn drop_active(&mut self) {
        if let Some(active) = self.active.take() {
            self.output
                .extend(active.training.schedule.payloads().map(Output::Discard));
        }
    }
}
