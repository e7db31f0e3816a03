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
struct LinkState {
    up: bool,
    greeted: bool,
    due: Option<Time>,
}

/// The links of a member. There may be a thousand, and each frame asks about all of them: what it asks is kept up to date.
#[derive(Debug)]
pub(super) struct Links {
    states: BTreeMap<MemberIndex, LinkState>,
    /// Those at whose other end nobody was heard yet.
    ungreeted: usize,
    /// No greeting is due before it.
    due: Option<Time>,
}

impl Links {
    pub(super) fn new(peers: impl Iterator<Item = MemberIndex>) -> Self {
        let states: BTreeMap<_, _> = peers.map(|peer| (peer, LinkState::default())).collect();
        let ungreeted = states.len();
        Self {
            states,
            ungreeted,
            due: None,
        }
    }

    pub(super) fn all_greeted(&self) -> bool {
        self.ungreeted == 0
    }

    fn clear(&mut self) {
        *self = Self::new(std::iter::empty());
    }

    fn contains(&self, peer: MemberIndex) -> bool {
        self.states.contains_key(&peer)
    }

    /// Who is at the other end of links that are open.
    fn up(&self) -> Vec<MemberIndex> {
        let up = self.states.iter().filter(|(_, link)| link.up);
        up.map(|(peer, _)| *peer).collect()
    }

    /// A link is open; whether it is one of these.
    fn open(&mut self, peer: MemberIndex) -> bool {
        let link = self.states.get_mut(&peer);
        link.map(|link| link.up = true).is_some()
    }

    /// A greeting goes out, and goes again if it is not answered by then.
    fn wait_until(&mut self, peer: MemberIndex, due: Time) {
        if let Some(link) = self.states.get_mut(&peer) {
            link.due = (!link.greeted).then_some(due);
            self.due = [self.due, link.due].into_iter().flatten().min();
        }
    }

    /// Somebody was heard at the other end; whether for the first time.
    fn greeted(&mut self, peer: MemberIndex) -> bool {
        let Some(link) = self.states.get_mut(&peer).filter(|link| !link.greeted) else {
            return false;
        };
        (link.greeted, link.due) = (true, None);
        self.ungreeted -= 1;
        if self.all_greeted() {
            self.due = None;
        }
        true
    }

    /// Whom to greet again.
    fn take_due(&mut self, now: Time) -> Vec<MemberIndex> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        let dues = self.states.values().filter_map(|link| link.due);
        self.due = dues.filter(|due| now < *due).min();
        let is_due = |link: &LinkState| link.due.is_some_and(|due| now >= due);
        let due = self.states.iter().filter(|(_, link)| is_due(link));
        due.map(|(peer, _)| *peer).collect()
    }
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
        for peer in self.links.up() {
            self.link_up(now, peer);
        }
    }

    /// Greets who is at the other end of a link, once this end is ready for all that may come after.
    pub(super) fn link_up(&mut self, now: Time, peer: MemberIndex) {
        if self.links.open(peer) && self.built {
            self.links.wait_until(peer, now + GREETING_INTERVAL);
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
        for peer in self.links.take_due(now) {
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
        if self.links.greeted(from) {
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
        let beat = self.beats.as_ref().and_then(Beats::due);
        [self.links.due, beat].into_iter().flatten().min()
    }

    pub(super) fn link_lost(&mut self, peer: MemberIndex, reason: String) {
        if self.links.contains(peer) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Time {
        Time::from_micros(1000 * ms)
    }

    #[test]
    fn whoever_has_not_answered_is_greeted_again_at_its_own_time_and_nobody_else() {
        let [one, two, three] = [0, 1, 2].map(MemberIndex);
        let mut links = Links::new([one, two, three].into_iter());
        for (peer, ms) in [(one, 0), (two, 50), (three, 100)] {
            assert!(links.open(peer));
            links.wait_until(peer, at(ms) + GREETING_INTERVAL);
        }
        assert!(!links.open(MemberIndex(3)), "none of these");
        assert_eq!(links.due, Some(at(200)));
        // The one that is due first answers: the wake that is left over is for nobody.
        assert!(links.greeted(one) && !links.greeted(one));
        assert_eq!(links.take_due(at(200)), []);
        assert_eq!(links.due, Some(at(250)));
        assert_eq!(links.take_due(at(249)), []);
        assert_eq!(links.take_due(at(310)), [two, three]);
        for peer in [two, three] {
            links.wait_until(peer, at(310) + GREETING_INTERVAL);
        }
        assert!(links.greeted(three) && !links.all_greeted());
        assert_eq!(links.take_due(at(510)), [two]);
        links.wait_until(two, at(510) + GREETING_INTERVAL);
        // A link that opens again is no reason to wait for who has answered.
        links.wait_until(one, at(600));
        assert_eq!(links.due, Some(at(710)));
        assert!(links.greeted(two) && links.all_greeted());
        assert_eq!(
            links.due, None,
            "or a member that is done would be woken for ever"
        );
    }
}
