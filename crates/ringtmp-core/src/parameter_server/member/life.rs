//! Links and their ends: greetings before training, beats from then on, and what a member begins with.

use super::{Event, Input, Job, Member, Message, Output, Phase};
use crate::beats::Beats;
use crate::ids::PayloadId;
use crate::parameter_server::desk::Desk;
use crate::parameter_server::interface::{Carried, Reached};
use crate::parameter_server::layout::{MemberIndex, RangeIndex};
use crate::parameter_server::{Greeting, TeamStart};
use crate::signal::PROTOCOL_VERSION;
use crate::time::Time;
use crate::wire::WireError;
use std::collections::BTreeMap;
use std::time::Duration;

/// A greeting that was not answered is repeated after this time: a data channel can open at one end earlier than at the other.
pub const GREETING_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LinkState {
    pub(super) up: bool,
    pub(super) greeted: bool,
    pub(super) due: Option<Time>,
}

/// How far a member's own ranges are with this start. Copies that are of another past than the run goes on with are forgotten.
pub(super) fn reached(
    job: &Job,
    me: MemberIndex,
    start: TeamStart,
    carried: &mut Carried,
    desk: &mut Desk,
) -> BTreeMap<RangeIndex, Reached> {
    let newest = match start {
        TeamStart::Beginning => None,
        TeamStart::Held { reached } => Some(reached),
        TeamStart::Copies { version } => Some(version),
    };
    let (kept, gone) = std::mem::take(&mut carried.copies)
        .into_iter()
        .partition(|((version, _), _)| newest.is_some_and(|newest| *version <= newest));
    carried.copies = kept;
    let gone: BTreeMap<_, crate::parameter_server::KeptCopy> = gone;
    let slots = gone.into_values().flat_map(|copy| copy.slots);
    slots.for_each(|payload: PayloadId| desk.discard(payload));
    match start {
        TeamStart::Beginning | TeamStart::Held { .. } => std::mem::take(&mut carried.reached),
        TeamStart::Copies { version } => {
            let own = job.layout.ranges_at(me);
            let reached = own.map(|range| {
                let copy = carried.copies.get(&(version, range));
                let updates = copy.map_or(version.0, |copy| copy.updates);
                let clock = version;
                (range, Reached { clock, updates })
            });
            reached.collect()
        }
    }
}

impl Member {
    /// Model and ranges are there: others hear of this device from now on.
    pub(super) fn is_built(&mut self, now: Time) {
        self.built = true;
        let up = self.links.iter().filter(|(_, link)| link.up);
        let up: Vec<MemberIndex> = up.map(|(peer, _)| *peer).collect();
        for peer in up {
            self.link_up(now, peer);
        }
    }

    /// Greets who is at the other end of a link, once this end is ready for all that may come after.
    pub(super) fn link_up(&mut self, now: Time, peer: MemberIndex) {
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        link.up = true;
        if self.built {
            link.due = (!link.greeted).then_some(now + GREETING_INTERVAL);
            self.greet(peer);
        }
    }

    fn greet(&mut self, peer: MemberIndex) {
        let greeting = Greeting {
            protocol: PROTOCOL_VERSION,
            run: self.desk.job.run,
            member: self.desk.me,
        };
        self.desk.say(peer, Message::Greeting(greeting));
    }

    pub(super) fn greet_again(&mut self, now: Time) {
        let is_due = |link: &LinkState| link.due.is_some_and(|due| now >= due);
        let due = self.links.iter().filter(|(_, link)| is_due(link));
        let due: Vec<MemberIndex> = due.map(|(peer, _)| *peer).collect();
        for peer in due {
            self.link_up(now, peer);
        }
    }

    pub(super) fn greeted(&mut self, now: Time, from: MemberIndex, greeting: &Greeting) {
        let (ours, theirs) = (PROTOCOL_VERSION, greeting.protocol);
        let fault = if ours != theirs {
            Some(WireError::Version { ours, theirs }.to_string())
        } else if greeting.run != self.desk.job.run {
            Some("it trains another run, or another build of it".to_owned())
        } else if greeting.member != from {
            Some("it is not the device that was expected at this end".to_owned())
        } else {
            None
        };
        if let Some(fault) = fault {
            return self.abort(Some(from), fault);
        }
        if let Some(link) = self.links.get_mut(&from)
            && !link.greeted
        {
            (link.greeted, link.due) = (true, None);
            if let Some(beats) = &mut self.beats {
                beats.meet(now, from);
            }
            // It is there now, so that this greeting cannot be lost as an earlier one may have been.
            if self.built {
                self.greet(from);
            }
        }
    }

    /// When it wants to be woken.
    pub(super) fn wakes(&self) -> Option<Time> {
        let greetings = self.links.values().filter_map(|link| link.due);
        let beat = self.beats.as_ref().and_then(Beats::due);
        greetings.chain(beat).min()
    }

    pub(super) fn link_lost(&mut self, peer: MemberIndex, reason: String) {
        if self.links.contains_key(&peer) {
            self.ends(Event::LinkLost { peer, reason });
        }
    }

    /// What comes from a member shows that it is there.
    pub(super) fn hears(&mut self, now: Time, input: &Input) {
        let Some(beats) = &mut self.beats else {
            return;
        };
        match input {
            Input::Message {
                from,
                message: Message::Beat(millis),
                ..
            } => beats.heard(now, *from, Some(Duration::from_millis((*millis).into()))),
            Input::Message { from: peer, .. } | Input::Stirs { peer } => {
                beats.heard(now, *peer, None);
            }
            _ => {}
        }
    }

    /// Sends the beats that are due, also once its own part is done. `quiet` if nothing else is waiting to be handled: only then is
    /// silence silence.
    pub(super) fn beat(&mut self, now: Time, quiet: bool) {
        let Some(beats) = &mut self.beats else {
            return;
        };
        beats.turn(now);
        if let Some((task_millis, to)) = beats.take_due(now) {
            let beat = |to| Output::Send {
                to,
                message: Message::Beat(task_millis),
                payload: None,
            };
            self.desk.output.extend(to.into_iter().map(beat));
        }
        if !quiet || self.phase != Phase::Training {
            return;
        }
        let suspects = beats.suspects(now).into_iter();
        let told = suspects.map(|peer| Output::Event(Event::Suspect { peer }));
        self.desk.output.extend(told);
        if let Some((peer, silence)) = beats.silent(now) {
            let seconds = silence.as_secs_f64();
            self.link_lost(peer, format!("nothing was heard for {seconds:.1} s"));
        }
    }

    /// It can do nothing more, for this reason.
    pub(super) fn ends(&mut self, event: Event) {
        self.phase = Phase::Aborted;
        self.links.clear();
        self.beats = None;
        self.desk.event(event);
    }
}
