//! The view, kept up to date from what the server says and from what the node tells.

use crate::run_file::Run;
use crate::view::{
    Access, AskView, Asked, AskingView, FreshSample, LinkState, LinkView, ModelState, NOTICES_MAX,
    Notice, NoticeLevel, ServerState, View, Writing,
};
use futures::channel::mpsc;
use ringtmp_core::curve::Curve;
use ringtmp_core::ids::{MemberToken, PeerId};
use ringtmp_core::node::Event;
use ringtmp_core::signal::{Device, Point, Role, RoomPlan, RoomState, ServerMessage};
use ringtmp_core::trace::Report;

/// The view and the curve behind it.
#[derive(Debug)]
pub(crate) struct Progress {
    view: View,
    curve: Curve,
    changed: bool,
    points: Option<mpsc::Sender<Vec<Point>>>,
}

impl Progress {
    pub(crate) fn new(role: Role, device: Device) -> Self {
        let view = View {
            me: None,
            role,
            device,
            server: ServerState::Connecting,
            run: None,
            room: None,
            access: Access::Unknown,
            askers: Vec::new(),
            asking: None,
            points: Vec::new(),
            links: Vec::new(),
            fresh: Vec::new(),
            asked: None,
            writing: None,
            model: None,
            host_token: None,
            notices: Vec::new(),
        };
        Self {
            view,
            curve: Curve::default(),
            changed: true,
            points: None,
        }
    }

    /// Hands every point on, not only those that a curve keeps. Whoever does not take them in time misses some.
    pub(crate) fn tell_points(&mut self, points: Option<mpsc::Sender<Vec<Point>>>) {
        self.points = points;
    }

    /// Whether there is something new to show.
    pub(crate) fn has_changed(&self) -> bool {
        self.changed
    }

    /// The curves so far.
    pub(crate) fn points(&self) -> Vec<Point> {
        self.curve.points()
    }

    /// The view now.
    pub(crate) fn take(&mut self) -> View {
        self.changed = false;
        self.view.points = self.curve.points();
        self.view.clone()
    }

    /// The device, once it is known what computes.
    pub(crate) fn set_device(&mut self, device: Device) {
        self.view.device = device;
        self.changed = true;
    }

    /// The server is there, or is gone.
    pub(crate) fn server(&mut self, state: ServerState) {
        self.view.server = state;
        self.changed = true;
    }

    /// The run is known.
    pub(crate) fn run(&mut self, run: &Run) {
        self.view.run = Some(run.summary());
        self.changed = true;
    }

    /// It is known who may take part.
    pub(crate) fn access(&mut self, access: Access) {
        self.view.access = access;
        self.changed = true;
    }

    /// Who asks this device, as the room's host, to be let in.
    pub(crate) fn askers(&mut self, askers: Vec<AskView>) {
        self.view.askers = askers;
        self.changed = true;
    }

    /// This device asks a host to be let in, or no longer.
    pub(crate) fn asking(&mut self, asking: Option<AskingView>) {
        self.view.asking = asking;
        self.changed = true;
    }

    /// By what this device is known as the room's host, if it is.
    pub(crate) fn host_token(&self) -> Option<MemberToken> {
        self.view.host_token
    }

    /// The server has spoken.
    pub(crate) fn heard(&mut self, message: &ServerMessage) {
        self.changed = true;
        match message {
            ServerMessage::Welcome {
                peer, room, points, ..
            } => {
                self.view.me = Some(*peer);
                self.view.room = Some((**room).clone());
                // A server that was restarted may know less of it.
                if points.len() >= self.curve.points().len() {
                    self.curve = Curve::default();
                    self.curve.extend(points);
                }
            }
            ServerMessage::Room { room } => {
                let fresh_start = room.state == RoomState::WarmingUp;
                let known = self
                    .view
                    .room
                    .as_ref()
                    .and_then(|room| room.plan.as_ref())
                    .map(RoomPlan::epoch);
                if fresh_start && room.plan.as_ref().map(RoomPlan::epoch) != known {
                    self.curve = Curve::default();
                }
                self.view.room = Some((**room).clone());
            }
            ServerMessage::Host { token } => self.view.host_token = Some(*token),
            ServerMessage::Refused { refusal } => {
                self.notice(NoticeLevel::Error, refusal.to_string(), "");
            }
            // Links of its own come after it, and may be open before the room's view of the plan is here.
            ServerMessage::Prepare { .. } | ServerMessage::PrepareTeam { .. } => {
                self.view.links.clear();
            }
            ServerMessage::IceServers { .. }
            | ServerMessage::Created { .. }
            | ServerMessage::Question { .. }
            | ServerMessage::Asked(_)
            | ServerMessage::Kicked { .. }
            | ServerMessage::Released
            | ServerMessage::Signal { .. }
            | ServerMessage::Halt { .. }
            | ServerMessage::Rest { .. }
            | ServerMessage::Doubt { .. }
            | ServerMessage::AreYouThere { .. }
            | ServerMessage::Answers { .. }
            | ServerMessage::Commit { .. }
            | ServerMessage::Clock { .. }
            | ServerMessage::Progress { .. } => {}
        }
    }

    /// What people call a member.
    pub(crate) fn name_of(&self, peer: PeerId) -> Option<String> {
        let mut members = self.view.room.iter().flat_map(|room| &room.members);
        let member = members.find(|member| member.peer == peer);
        member.map(|member| member.device.name.clone())
    }

    /// The node has something to show.
    pub(crate) fn event(&mut self, event: &Event) {
        self.changed = true;
        match event {
            Event::LinkOpen { peer } => self.link(*peer, LinkState::Open),
            Event::LinkFailed { peer, reason } => self.link(
                *peer,
                LinkState::Failed {
                    reason: reason.clone(),
                },
            ),
            Event::Points(points) => {
                self.curve.extend(points);
                if let Some(listener) = &mut self.points {
                    listener.try_send(points.clone()).ok();
                }
            }
            // The room tells of it, for all to see.
            Event::Training
            | Event::Finished
            | Event::Stable(_)
            | Event::Halted { .. }
            // The shell knows what was asked.
            | Event::Answer(_)
            | Event::Question(_)
            // And what it fetches.
            | Event::ModelBegins(_)
            | Event::ModelIsHere(_) => {}
            Event::Aborted { reason } => {
                let advice = "Press start to train again with the devices that are here.";
                self.notice(
                    NoticeLevel::Error,
                    format!("The run ended early: {reason}."),
                    advice,
                );
            }
        }
    }

    /// A link is in this state now.
    pub(crate) fn link(&mut self, peer: PeerId, state: LinkState) {
        self.changed = true;
        match self.view.links.iter_mut().find(|link| link.peer == peer) {
            Some(link) => link.state = state,
            None => self.view.links.push(LinkView {
                peer,
                state,
                sent: 0,
                received: 0,
            }),
        }
    }

    /// A link has moved so many bytes.
    pub(crate) fn traffic(&mut self, peer: PeerId, sent: u64, received: u64) {
        if let Some(link) = self.view.links.iter_mut().find(|link| link.peer == peer) {
            self.changed |= (link.sent, link.received) != (sent, received);
            (link.sent, link.received) = (sent, received);
        }
    }

    /// How this peer does, at once: the room's view tells it later, or not at all while there is no server.
    pub(crate) fn report(&mut self, me: PeerId, report: &Report) {
        let members = self.view.room.iter_mut().flat_map(|room| &mut room.members);
        for member in members.filter(|member| member.peer == me) {
            member.report = Some(Box::new(report.clone()));
            self.changed = true;
        }
    }

    /// What became of what the user made.
    pub(crate) fn fresh(&mut self, fresh: Vec<FreshSample>) {
        self.changed |= self.view.fresh != fresh;
        self.view.fresh = fresh;
    }

    /// What became of a question.
    pub(crate) fn asked(&mut self, asked: Option<Asked>) {
        self.changed |= self.view.asked != asked;
        self.view.asked = asked;
    }

    /// What the network writes.
    pub(crate) fn writing(&mut self, writing: Option<Writing>) {
        self.changed |= self.view.writing != writing;
        self.view.writing = writing;
    }

    /// What became of a model that is fetched.
    pub(crate) fn model(&mut self, model: Option<ModelState>) {
        self.changed |= self.view.model != model;
        self.view.model = model;
    }

    /// Something to say to the user.
    pub(crate) fn notice(&mut self, level: NoticeLevel, text: String, advice: &str) {
        self.changed = true;
        let notice = Notice {
            level,
            text,
            advice: advice.to_owned(),
        };
        if self.view.notices.last() != Some(&notice) {
            self.view.notices.push(notice);
        }
        if self.view.notices.len() > NOTICES_MAX {
            self.view.notices.remove(0);
        }
    }
}
