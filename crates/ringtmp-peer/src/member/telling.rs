//! What a room hears of its member.

use super::room::{Goes, Going, RoomMember};
use super::seat::Seat;
use super::team::News;
use super::{Lately, Learnt, Spent, Told};
use crate::progress::Progress;
use crate::view::LinkState;
use ringtmp_core::curve::Curve;
use ringtmp_core::ids::{Epoch, MemberToken, PeerId, Version};
use ringtmp_core::parameter_server::MemberIndex;
use ringtmp_core::signal::{
    CURVE_POINTS_MAX, ClientMessage, LinkTraffic, Phase, Point, RoomState, RoomView,
};
use ringtmp_core::time::Time;
use ringtmp_core::trace::{Paced, Report, Timeline};
use ringtmp_core::wire::{PROGRESS_POINTS_MAX, Purpose};
use ringtmp_transport::Traffic;
use std::time::Duration;

/// How often the room is asked for its time.
const ASKS_EVERY: Duration = Duration::from_secs(1);

/// Points of the curves are sent at most this often: a step can take a millisecond, and the server counts messages.
const POINTS_INTERVAL: Duration = Duration::from_millis(200);

/// What waits of the curves while the server is gone: no more than a picture shows.
fn keep_few(points: &mut Vec<Point>) {
    if points.len() > CURVE_POINTS_MAX {
        let mut curve = Curve::default();
        curve.extend(points);
        *points = curve.points();
    }
}

impl RoomMember {
    /// The room welcomes this device again, over a new socket.
    pub(super) fn welcomed(
        &mut self,
        peer: PeerId,
        token: MemberToken,
        room: &RoomView,
        progress: &mut Progress,
    ) {
        self.whom.welcomed(peer, token);
        // A server that knows nothing of the run does not end it.
        if room.state != RoomState::Waiting {
            self.follow(room);
            self.want_in(&room.state, progress);
        }
        self.tell_points(true, progress);
        let told: Vec<ClientMessage> = self.whom.unsure.repeated().cloned().collect();
        for message in told {
            self.say(&message, progress);
        }
        self.ask_time(progress);
    }

    /// Says what means nothing to a room later on.
    pub(super) fn say(&mut self, message: &ClientMessage, progress: &mut Progress) {
        self.line.say(message, &self.whom, progress);
    }

    /// Says what the room must not miss: it is repeated over the next socket if this one breaks.
    pub(super) fn tell(&mut self, message: ClientMessage, progress: &mut Progress) {
        self.say(&message, progress);
        self.whom.unsure.told(message);
    }

    /// Whether it has to know that the server is there.
    pub(super) fn is_in_touch(&self) -> bool {
        self.seat.is_some() || self.halted.is_some() || self.line.knocks()
    }

    /// Asks for the room's time once a second, which timelines are told in; a socket that nobody has closed may be dead all the same. Only
    /// where nothing else was waiting.
    pub(super) fn keep_in_touch(&mut self, progress: &mut Progress) {
        let now = self.clock.now();
        if now < self.asks_due || !self.is_in_touch() {
            return;
        }
        if self.line.is_deaf(now) {
            let reason = "nothing comes from it any more";
            self.line.lost(reason, &self.whom, progress);
        }
        self.ask_time(progress);
    }

    /// What the member says.
    pub(super) fn news(&mut self, news: News, progress: &mut Progress) -> Goes {
        let Some(seat) = &mut self.seat else {
            return Ok(Going::On);
        };
        let epoch = seat.plan.epoch;
        match news {
            News::Signal { to, signal } => {
                let to = seat.plan.order[usize::from(to.0)];
                self.say(&ClientMessage::Signal { to, signal }, progress);
            }
            // Of a plan that is over already.
            News::Told(Told::Begun) if self.whom.phase != Phase::Preparing => {}
            News::Told(Told::Begun) => {
                let me = seat.plan.member_of(self.whom.me);
                let links = me.map(|me| seat.job.layout.links(me)).unwrap_or_default();
                for member in links {
                    progress.link(seat.plan.order[usize::from(member.0)], LinkState::Open);
                }
                let links = Vec::new();
                self.whom.phase = Phase::Training;
                self.tell(ClientMessage::Ready { epoch, links }, progress);
                self.ask_time(progress);
                self.wants.member_begins();
                self.ask_member(progress);
            }
            News::Told(Told::Score(score)) => {
                if let Some((step, purpose, score)) = seat.scores.take(&score) {
                    let (loss, accuracy) = match purpose {
                        Purpose::Train => (Some(score.loss), None),
                        Purpose::Evaluate => (None, Some(score.accuracy)),
                    };
                    seat.points.push(Point {
                        step,
                        loss,
                        accuracy,
                    });
                }
            }
            News::Told(told @ (Told::Stable(_) | Told::Suspect(_) | Told::LinkLost { .. })) => {
                self.tell_of_losses(told, progress);
            }
            News::Told(Told::Does {
                spent,
                links,
                lately,
            }) => {
                self.ask_member_again(progress);
                self.report(spent, &links, &lately, progress);
            }
            News::Told(Told::Replied(reply)) => self.replied(reply, progress),
            News::Told(Told::Finished { learnt, .. }) => self.finished(epoch, learnt, progress),
            News::Told(Told::Aborted { culprit, reason }) => {
                let culprit = culprit.map(|culprit| seat.plan.order[usize::from(culprit.0)]);
                let name = culprit.and_then(|peer| progress.name_of(peer));
                let reason = name.map_or(reason.clone(), |name| format!("of {name}: {reason}"));
                self.fail(epoch, reason, culprit, progress);
            }
        }
        Ok(Going::On)
    }

    /// Its part is done.
    fn finished(&mut self, epoch: Epoch, learnt: Learnt, progress: &mut Progress) {
        self.tell_points(true, progress);
        let links = self.seat.as_ref().map(|seat| seat.links.clone());
        let done = ClientMessage::Done {
            epoch,
            digests: learnt.digests,
            links: links.unwrap_or_default(),
        };
        self.tell(done, progress);
        // All workers have the same.
        let first = self.seat.as_ref().is_some_and(Seat::works_first);
        if let Some(weights) = self.brought.weights.as_mut().filter(|_| first)
            && weights.try_send(learnt.weights.clone()).is_err()
        {
            tracing::warn!("nobody takes the weights");
        }
        self.wants.finished(learnt.weights, progress);
    }

    /// What is kept twice, and whom this member does not hear.
    fn tell_of_losses(&mut self, told: Told, progress: &mut Progress) {
        let Some(seat) = &self.seat else {
            return;
        };
        let epoch = seat.plan.epoch;
        let peer = |member: MemberIndex| seat.plan.order[usize::from(member.0)];
        let message = match told {
            Told::Stable(version) => {
                self.whom.stable = Some(Version(version.0));
                let every = seat.job.copies.map_or(1, |copies| copies.every);
                ClientMessage::Stable {
                    epoch,
                    version: Version(version.0),
                    every: u16::try_from(every).unwrap_or(u16::MAX),
                    at_rest: false,
                }
            }
            Told::Suspect(member) => ClientMessage::Suspect {
                epoch,
                peer: peer(member),
            },
            Told::LinkLost {
                peer: member,
                reason,
            } => ClientMessage::LinkLost {
                epoch,
                peer: peer(member),
                reason,
            },
            _ => return,
        };
        match message {
            // Later on it says nothing new: that the link is lost is what the room must not miss.
            ClientMessage::Suspect { .. } => self.say(&message, progress),
            message => self.tell(message, progress),
        }
    }

    pub(super) fn fail(
        &mut self,
        epoch: Epoch,
        reason: String,
        culprit: Option<PeerId>,
        progress: &mut Progress,
    ) {
        let failed = ClientMessage::Failed {
            epoch,
            reason,
            culprit,
        };
        self.tell(failed, progress);
    }

    /// Sends points of the curves that wait, all of them or as many as there may be at once, if it is time or has to be.
    pub(super) fn tell_points(&mut self, at_once: bool, progress: &mut Progress) {
        let now = self.clock.now();
        let Some(seat) = &mut self.seat else {
            return;
        };
        if !self.line.is_there() {
            return keep_few(&mut seat.points);
        }
        while !seat.points.is_empty() && (at_once || now >= seat.points_due) {
            seat.points_due = now + POINTS_INTERVAL;
            let count = seat.points.len().min(PROGRESS_POINTS_MAX);
            let (epoch, points) = (seat.plan.epoch, seat.points[..count].to_vec());
            let message = ClientMessage::Progress { epoch, points };
            self.line.say(&message, &self.whom, progress);
            if !self.line.is_there() {
                // They wait with the others.
                return;
            }
            seat.points.drain(..count);
        }
    }

    /// Asks for the room's time.
    pub(super) fn ask_time(&mut self, progress: &mut Progress) {
        let asked = self.clock.now();
        self.asks_due = asked + ASKS_EVERY;
        self.say(&ClientMessage::Clock { asked }, progress);
    }

    /// How this device does: computing, or waiting for others.
    fn report(
        &mut self,
        spent: Spent,
        links: &[(PeerId, Traffic)],
        lately: &Lately,
        progress: &mut Progress,
    ) {
        let now = self.clock.now();
        let Some(seat) = &mut self.seat else {
            return;
        };
        let spans = |from: Time| {
            let recent = lately.spans.iter().filter(|span| span.end > from);
            recent.copied().collect()
        };
        let spans_max = Report::timeline_spans_max(seat.plan.order.len());
        let began = lately.began;
        let clock = &self.room_clock;
        let timeline = clock.with(|clock| Timeline::of(now, clock, began, spans_max, spans));
        let report = Report {
            shares: spent.shares_since(&seat.spent),
            run: spent.shares_since(&Spent::default()),
            run_seconds: spent.seconds,
            paced: (spent.paced > 0).then_some(Paced {
                tasks: spent.paced,
                late: spent.late,
            }),
            timeline,
            ..Report::default()
        };
        seat.spent = spent;
        let sent = |(to, traffic): &(PeerId, Traffic)| LinkTraffic {
            to: *to,
            bytes: traffic.sent,
            relayed: traffic.relayed,
        };
        seat.links = links.iter().map(sent).collect();
        for (peer, traffic) in links {
            progress.traffic(*peer, traffic.sent, traffic.received);
        }
        progress.report(self.whom.me, &report);
        let (epoch, links) = (seat.plan.epoch, seat.links.clone());
        let report = Box::new(report);
        let message = ClientMessage::Report {
            epoch,
            links,
            report,
        };
        self.say(&message, progress);
    }
}
