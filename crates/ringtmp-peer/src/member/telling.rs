//! What a room hears of its member.

use super::room::{Goes, Going, RoomMember};
use super::team::News;
use super::{Lately, Spent, Told};
use crate::error::PeerError;
use crate::progress::Progress;
use crate::view::LinkState;
use ringtmp_core::ids::{Epoch, PeerId, Version};
use ringtmp_core::parameter_server::MemberIndex;
use ringtmp_core::signal::{ClientMessage, LinkTraffic, Point};
use ringtmp_core::time::Time;
use ringtmp_core::trace::{Paced, Report, Timeline};
use ringtmp_core::wire::{PROGRESS_POINTS_MAX, Purpose};
use ringtmp_transport::Traffic;
use std::time::Duration;

/// Points of the curves are sent at most this often: a step can take a millisecond, and the server counts messages.
const POINTS_INTERVAL: Duration = Duration::from_millis(200);

impl RoomMember {
    /// What the member says.
    pub(super) fn news(&mut self, news: News, progress: &mut Progress) -> Goes {
        let Some(seat) = &mut self.seat else {
            return Ok(Going::On);
        };
        let epoch = seat.plan.epoch;
        match news {
            News::Signal { to, signal } => {
                let to = seat.plan.order[usize::from(to.0)];
                self.signalling
                    .send(&ClientMessage::Signal { to, signal })?;
            }
            News::Told(Told::Begun) => {
                let me = seat.plan.member_of(self.me);
                let links = me.map(|me| seat.job.layout.links(me)).unwrap_or_default();
                for member in links {
                    progress.link(seat.plan.order[usize::from(member.0)], LinkState::Open);
                }
                let links = Vec::new();
                self.signalling
                    .send(&ClientMessage::Ready { epoch, links })?;
                self.ask_time()?;
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
                self.tell_of_losses(told)?;
            }
            News::Told(Told::Does {
                spent,
                links,
                lately,
            }) => self.report(spent, &links, &lately, progress)?,
            News::Told(Told::Finished { learnt, .. }) => {
                self.tell_points(true)?;
                let links = self.seat.as_ref().map(|seat| seat.links.clone());
                self.signalling.send(&ClientMessage::Done {
                    epoch,
                    digests: learnt.digests,
                    links: links.unwrap_or_default(),
                })?;
                if let Some(weights) = &mut self.brought.weights
                    && weights.try_send(learnt.weights).is_err()
                {
                    tracing::warn!("nobody takes the weights");
                }
            }
            News::Told(Told::Aborted { culprit, reason }) => {
                let culprit = culprit.map(|culprit| seat.plan.order[usize::from(culprit.0)]);
                let name = culprit.and_then(|peer| progress.name_of(peer));
                let reason = name.map_or(reason.clone(), |name| format!("of {name}: {reason}"));
                self.fail(epoch, reason, culprit)?;
            }
        }
        Ok(Going::On)
    }

    /// What is kept twice, and whom this member does not hear.
    fn tell_of_losses(&mut self, told: Told) -> Result<(), PeerError> {
        let Some(seat) = &self.seat else {
            return Ok(());
        };
        let epoch = seat.plan.epoch;
        let peer = |member: MemberIndex| seat.plan.order[usize::from(member.0)];
        let message = match told {
            Told::Stable(version) => {
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
            _ => return Ok(()),
        };
        Ok(self.signalling.send(&message)?)
    }

    pub(super) fn fail(
        &mut self,
        epoch: Epoch,
        reason: String,
        culprit: Option<PeerId>,
    ) -> Result<(), PeerError> {
        let failed = ClientMessage::Failed {
            epoch,
            reason,
            culprit,
        };
        Ok(self.signalling.send(&failed)?)
    }

    /// Sends points of the curves that wait, all of them or as many as there may be at once, if it is time or has to be.
    pub(super) fn tell_points(&mut self, at_once: bool) -> Result<(), PeerError> {
        let now = self.clock.now();
        let Some(seat) = &mut self.seat else {
            return Ok(());
        };
        while !seat.points.is_empty() && (at_once || now >= seat.points_due) {
            seat.points_due = now + POINTS_INTERVAL;
            let count = seat.points.len().min(PROGRESS_POINTS_MAX);
            let points = seat.points.drain(..count).collect();
            let epoch = seat.plan.epoch;
            self.signalling
                .send(&ClientMessage::Progress { epoch, points })?;
        }
        Ok(())
    }

    /// Asks for the room's time, which timelines are told in.
    pub(super) fn ask_time(&self) -> Result<(), PeerError> {
        let asked = self.clock.now();
        Ok(self.signalling.send(&ClientMessage::Clock { asked })?)
    }

    /// How this device does: computing, or waiting for others.
    fn report(
        &mut self,
        spent: Spent,
        links: &[(PeerId, Traffic)],
        lately: &Lately,
        progress: &mut Progress,
    ) -> Result<(), PeerError> {
        let now = self.clock.now();
        let Some(seat) = &mut self.seat else {
            return Ok(());
        };
        let tasks = |from: Time| {
            let recent = lately.tasks.iter().filter(|span| span.end > from);
            recent.copied().collect()
        };
        let spans_max = Report::timeline_spans_max(seat.plan.order.len());
        let report = Report {
            shares: spent.shares_since(&seat.spent),
            run: spent.shares_since(&Spent::default()),
            run_seconds: spent.seconds,
            paced: (spent.paced > 0).then_some(Paced {
                tasks: spent.paced,
                late: spent.late,
            }),
            timeline: Timeline::of(now, &self.room_clock, lately.began, spans_max, tasks),
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
        progress.report(self.me, &report);
        let (epoch, links) = (seat.plan.epoch, seat.links.clone());
        self.signalling.send(&ClientMessage::Report {
            epoch,
            links,
            report: Box::new(report),
        })?;
        self.ask_time()
    }
}
