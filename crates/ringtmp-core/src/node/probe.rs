//! Measuring the link to the successor, once it is open and both ends are built: what the room then knows is in the plan.
//!
//! ```text
//! peer                          successor
//!   Probe 0, empty       ─────▶             answered once the successor has built its stage
//!   Probe 1 to 3, empty  ◀────▶ Echo        the shortest round trip is twice the delay
//!   Probe 4, 64 KiB      ◀────▶ Echo        what it takes longer than that is spent on its bytes
//!   Probe 5, 128 KiB     ◀────▶ Echo        where the fourth was too quick to tell, or a few round trips long: SCTP begins with
//!   Probe 6, 256 KiB     ◀────▶ Echo        4 KiB a round trip and doubles them; as long as each is much faster than the one before
//!   Probes 7 to 9, 512 KiB ◀──▶ Echo
//! ```
//!
//! One echo may be missing: of a link that two lost packets have silenced for seconds, what was told before still holds.

use super::{Active, Node, Output};
use crate::ids::{Epoch, PeerId};
use crate::profile::LinkProfile;
use crate::time::Time;
use crate::wire::{Body, PROBE_BYTES_MAX};
use std::time::Duration;

/// An echo is waited for so long; whoever is slower is told of as what that comes to. A link on which 64 KiB take longer carries
/// less than 17 kB/s.
const ECHO_WAIT_MAX: Duration = Duration::from_secs(4);

/// The first probe only waits for the other end to be there.
const RENDEZVOUS: u8 = 0;

/// The last probe without bytes.
const EMPTY_LAST: u8 = 3;

/// The probe with few bytes, and the last.
const SMALL: u8 = 4;
const LAST: u8 = 9;

/// Bytes of the probes from [`SMALL`] on.
const BYTES: [u32; 6] = [
    64 * 1024,
    128 * 1024,
    256 * 1024,
    PROBE_BYTES_MAX,
    PROBE_BYTES_MAX,
    PROBE_BYTES_MAX,
];

/// The longest that a probe may be expected to take, at the rate of the one before.
const NEXT_MAX: Duration = Duration::from_secs(3);

/// A transfer this long can be told from the jitter of timers and event loops.
const TRANSFER_TELLING: Duration = Duration::from_millis(20);

/// A transfer of so many round trips is no longer about how few bytes the first of them carry.
const ROUND_TRIPS_TELLING: u32 = 8;

/// A probe that is not so many times faster than the one before has filled the link.
const FASTER: f64 = 1.25;

/// A transfer shorter than this was not measured at all.
const TRANSFER_MIN: Duration = Duration::from_micros(10);

/// The measurement of one link, at the end that sends activations over it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Probing {
    /// The probe under way, and since when.
    sent: Option<(u8, Time)>,
    round_trip: Option<Duration>,
    /// Bytes per second.
    rate: Option<f64>,
    /// Whether a transfer was long enough to be told from jitter.
    told: bool,
    /// What an echo that was missing came to at most.
    missed: Option<f64>,
    over: bool,
}

fn bytes_of(number: u8) -> u32 {
    let place = number.checked_sub(SMALL).map(usize::from);
    place
        .and_then(|place| BYTES.get(place))
        .copied()
        .unwrap_or(0)
}

impl Probing {
    /// When an echo is missing.
    pub(super) fn due(&self) -> Option<Time> {
        let (number, since) = self.sent.filter(|_| !self.over)?;
        // The other end may be building for as long as the room waits for it.
        (number != RENDEZVOUS).then(|| since + ECHO_WAIT_MAX)
    }

    /// The next probe.
    fn send(&mut self, now: Time, number: u8) -> Body {
        self.sent = Some((number, now));
        Body::Probe {
            number,
            bytes: bytes_of(number),
        }
    }

    /// An echo has come, or is missing for so long that it counts as having come now: what to send next.
    fn echoed(&mut self, now: Time, number: u8) -> Option<Body> {
        let (sent, since) = self.sent.filter(|_| !self.over)?;
        if sent != number {
            return None;
        }
        let taken = now.since(since);
        if number > RENDEZVOUS && number <= EMPTY_LAST {
            let shortest = self.round_trip.map_or(taken, |known| known.min(taken));
            self.round_trip = Some(shortest);
        }
        if number >= SMALL && self.is_told_by(number, taken) {
            self.over = true;
            return None;
        }
        Some(self.send(now, number + 1))
    }

    /// Takes in how long a probe with bytes took; says whether there is nothing more to learn.
    fn is_told_by(&mut self, number: u8, taken: Duration) -> bool {
        let round_trip = self.round_trip.unwrap_or_default();
        let transfer = taken.saturating_sub(round_trip);
        let rate = (transfer >= TRANSFER_MIN)
            .then(|| f64::from(bytes_of(number)) / transfer.as_secs_f64());
        let (before, was_told) = (self.rate, self.told);
        let is_missing = taken >= ECHO_WAIT_MAX;
        if is_missing && was_told && self.missed.is_none() {
            self.missed = rate;
            let too_long =
                |before: f64| f64::from(bytes_of(number + 1)) / before > NEXT_MAX.as_secs_f64();
            return number == LAST || before.is_some_and(too_long);
        }
        // More bytes tell more, but what a telling transfer came to stays, as one packet that is lost makes the next one slow. Of one whose
        // echo is missing it is only known that it is slower than this.
        self.rate = match (before, rate) {
            (Some(before), Some(rate)) if is_missing => {
                Some(before.min(rate).min(self.missed.unwrap_or(rate)))
            }
            (Some(before), Some(rate)) if was_told => Some(before.max(rate)),
            (before, rate) => rate.or(before),
        };
        self.told = was_told || transfer >= TRANSFER_TELLING;
        let Some(rate) = self.rate else {
            return number == LAST;
        };
        let full = if was_told {
            before.is_some_and(|before| rate < FASTER * before)
        } else {
            transfer >= TRANSFER_TELLING.max(ROUND_TRIPS_TELLING * round_trip)
        };
        let next = f64::from(bytes_of(number + 1)) / rate;
        full || number == LAST || is_missing || next > NEXT_MAX.as_secs_f64()
    }

    fn profile(&self, to: PeerId) -> Option<LinkProfile> {
        Some(LinkProfile {
            to,
            delay_seconds: self.round_trip?.as_secs_f64() / 2.0,
            bytes_per_second: self.rate.map(|rate| rate.max(1.0)),
        })
    }
}

impl Active {
    /// Whether the link to the successor is still to be measured.
    pub(super) fn is_probing(&self) -> bool {
        self.probing.is_some_and(|probing| !probing.over)
    }

    /// Whether this end is ready to measure: not while a link is missing, or is lost again and nobody has said yet what to do.
    pub(super) fn can_probe(&self) -> bool {
        self.built && self.links.values().all(|link| link.greeted)
    }

    /// What was measured.
    pub(super) fn probed(&self) -> Vec<LinkProfile> {
        let successor = self.plan.successor(self.stage);
        let probed = self.probing.and_then(|probing| probing.profile(successor));
        probed.into_iter().collect()
    }
}

impl Node {
    /// Begins to measure, once this end is ready for it, and goes on where an echo is missing.
    pub(super) fn probe(&mut self, now: Time) {
        let Some(active) = &mut self.active else {
            return;
        };
        let successor = active.plan.successor(active.stage);
        let epoch = active.plan.epoch;
        let can_probe = active.can_probe();
        let Some(probing) = active.probing.as_mut().filter(|_| can_probe) else {
            return;
        };
        let body = match probing.sent {
            None => Some(probing.send(now, RENDEZVOUS)),
            Some((number, _)) if probing.due().is_some_and(|due| now >= due) => {
                probing.echoed(now, number)
            }
            Some(_) => return,
        };
        self.send_control(successor, epoch, body);
        self.say_ready();
    }

    /// The predecessor measures its link to us. Until this stage is built it has to wait: building would be measured as well.
    pub(super) fn probed_by(&mut self, from: PeerId, epoch: Epoch, number: u8) {
        // Once training goes on nobody measures any more, and who asks all the same gets no answer.
        let before_training = |active: &&mut Active| !active.training.has_begun();
        let Some(active) = self.under(epoch).filter(before_training) else {
            return;
        };
        let built = active.built;
        let Some(link) = active.links.get_mut(&from) else {
            return;
        };
        if built {
            self.send_control(from, epoch, Some(Body::Echo { number }));
        } else {
            link.echo_owed = Some(number);
        }
    }

    /// Answers what had to wait for the stage.
    pub(super) fn echo_owed(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        let epoch = active.plan.epoch;
        let owed: Vec<(PeerId, u8)> = active
            .links
            .iter_mut()
            .filter_map(|(peer, link)| Some((*peer, link.echo_owed.take()?)))
            .collect();
        for (peer, number) in owed {
            self.send_control(peer, epoch, Some(Body::Echo { number }));
        }
    }

    /// The successor has answered.
    pub(super) fn echoed(&mut self, now: Time, from: PeerId, epoch: Epoch, number: u8) {
        let Some(active) = self.under(epoch) else {
            return;
        };
        if active.plan.successor(active.stage) != from {
            return;
        }
        let next = active
            .probing
            .as_mut()
            .and_then(|probing| probing.echoed(now, number));
        self.send_control(from, epoch, next);
        self.say_ready();
    }

    fn send_control(&mut self, to: PeerId, epoch: Epoch, body: Option<Body>) {
        self.output.extend(body.map(|body| Output::Send {
            to,
            epoch,
            body,
            payload: None,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is measured of a link with this round trip and rate.
    fn measured(round_trip_ms: u64, bytes_per_second: f64) -> LinkProfile {
        let (mut probing, mut now) = (Probing::default(), Time::ZERO);
        let mut next = Some(probing.send(now, RENDEZVOUS));
        while let Some(Body::Probe { number, bytes }) = next {
            let transfer = Duration::from_secs_f64(f64::from(bytes) / bytes_per_second);
            now = now + Duration::from_millis(round_trip_ms) + transfer;
            next = match probing.due() {
                Some(due) if now > due => probing.echoed(due, number),
                _ => probing.echoed(now, number),
            };
        }
        assert!(probing.over);
        probing.profile(PeerId(7)).expect("it was measured")
    }

    #[test]
    fn delay_and_rate_are_told_of_quick_and_of_slow_links() {
        for (round_trip_ms, rate) in [(1, 1e8), (10, 1e6), (100, 1.25e6), (600, 2e4)] {
            let link = measured(round_trip_ms, rate);
            assert_eq!(link.delay_seconds, round_trip_ms as f64 / 2000.0);
            let told = link.bytes_per_second.expect("it takes time");
            assert!((told / rate - 1.0).abs() < 0.01, "{told} of {rate}");
        }
    }

    #[test]
    fn a_quick_link_is_told_of_by_its_longest_transfer() {
        // 25 MB/s: the first transfer, of 2.6 ms, is read as 1 ms, and no other is so wrong.
        let (mut probing, mut now) = (Probing::default(), Time::ZERO);
        let mut next = Some(probing.send(now, RENDEZVOUS));
        while let Some(Body::Probe { number, bytes }) = next {
            let transfer = match number {
                SMALL => 1e-3,
                _ => f64::from(bytes) / 25e6,
            };
            now = now + Duration::from_secs_f64(5e-4 + transfer);
            next = probing.echoed(now, number);
        }
        let told = probing
            .profile(PeerId(7))
            .and_then(|link| link.bytes_per_second);
        let told = told.expect("it takes time");
        assert!((told / 25e6 - 1.0).abs() < 0.01, "{told}");
    }

    #[test]
    fn a_link_that_carries_a_burst_and_then_hardly_anything_is_not_told_of_as_the_burst() {
        let (mut probing, mut now) = (Probing::default(), Time::ZERO);
        let mut next = Some(probing.send(now, RENDEZVOUS));
        while let Some(Body::Probe { number, .. }) = next {
            now = now
                + match number {
                    ..SMALL => Duration::from_millis(10),
                    SMALL => Duration::from_millis(70),
                    _ => ECHO_WAIT_MAX,
                };
            next = probing.echoed(now, number);
        }
        let told = probing
            .profile(PeerId(7))
            .and_then(|link| link.bytes_per_second);
        assert!(told.is_some_and(|told| told < 40_000.0), "{told:?}");
    }

    #[test]
    fn a_link_that_is_silent_once_is_told_of_as_what_it_carried_before_and_after() {
        let (mut probing, mut now) = (Probing::default(), Time::ZERO);
        let mut next = Some(probing.send(now, RENDEZVOUS));
        while let Some(Body::Probe { number, bytes }) = next {
            let transfer = Duration::from_secs_f64(f64::from(bytes) / 1.25e6);
            now = now
                + match number {
                    5 => ECHO_WAIT_MAX,
                    _ => Duration::from_millis(10) + transfer,
                };
            next = probing.echoed(now, number);
        }
        let told = probing
            .profile(PeerId(7))
            .and_then(|link| link.bytes_per_second);
        assert!(
            told.is_some_and(|told| (told / 1.25e6 - 1.0).abs() < 0.01),
            "{told:?}"
        );
    }

    /// The same of a transport that carries 4 KiB in the first round trip, and twice as much in each further one, until it fills the link.
    fn measured_from_a_slow_start(round_trip: Duration, bytes_per_second: f64) -> LinkProfile {
        let (mut probing, mut now) = (Probing::default(), Time::ZERO);
        let full = bytes_per_second * round_trip.as_secs_f64();
        let mut carried: f64 = 4096.0;
        let mut next = Some(probing.send(now, RENDEZVOUS));
        while let Some(Body::Probe { number, bytes }) = next {
            let mut left = f64::from(bytes);
            while left > carried {
                left -= carried;
                let seconds = round_trip.as_secs_f64().max(carried / bytes_per_second);
                now = now + Duration::from_secs_f64(seconds);
                carried = (2.0 * carried).min(full.max(4096.0));
            }
            now = now + round_trip + Duration::from_secs_f64(left / bytes_per_second);
            next = probing.echoed(now, number);
        }
        assert!(probing.over);
        probing.profile(PeerId(7)).expect("it was measured")
    }

    #[test]
    fn a_far_link_is_not_told_of_as_slow_as_its_transport_begins() {
        for (round_trip_ms, rate) in [(10, 1.25e6), (100, 1.25e6), (100, 5e6), (300, 1.25e6)] {
            let round_trip = Duration::from_millis(round_trip_ms);
            let link = measured_from_a_slow_start(round_trip, rate);
            let told = link.bytes_per_second.expect("it takes time");
            assert!((0.6..1.1).contains(&(told / rate)), "{told} of {rate}");
        }
    }

    #[test]
    fn a_link_that_swallows_bytes_is_told_of_as_slow_and_not_waited_for() {
        let link = measured(10, 100.0);
        let told = link.bytes_per_second.expect("it takes time");
        assert!(told < 17_000.0, "{told}");
    }

    #[test]
    fn an_echo_that_was_not_asked_for_changes_nothing() {
        let mut probing = Probing::default();
        assert_eq!(probing.echoed(Time::ZERO, LAST), None);
        probing.send(Time::ZERO, 2);
        let before = probing;
        for number in [0, 1, 3, 4, 7, 200] {
            assert_eq!(probing.echoed(Time::ZERO, number), None);
        }
        assert_eq!(probing, before);
    }
}
