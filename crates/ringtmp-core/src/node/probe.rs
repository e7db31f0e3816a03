//! Measuring the link to the successor, once it is open and both ends are built: what the room then knows is in the plan.
//!
//! ```text
//! peer                          successor
//!   Probe 0, empty       ─────▶             answered once the successor has built its stage
//!   Probe 1 to 3, empty  ◀────▶ Echo        the shortest round trip is twice the delay
//!   Probe 4, empty       ◀────▶ Echo        the two go together: how much later the second comes is told by its echo,
//!   Probe 5, 64 KiB      ◀────▶ Echo        and is what its bytes take
//!   Probes 6 and 7       ◀────▶ Echo        twice the bytes, up to 512 KiB, where it was short; until two in a row are long enough
//!    ...                                    to tell and agree: SCTP begins with 4 KiB a round trip and doubles them, a packet is
//!   Probes 14 and 15     ◀────▶ Echo        lost, a device is busy
//! ```
//!
//! The successor's clock tells what bytes take, since its line may be full of what it sends itself, or of another's probes: then an
//! echo is late by as much as the line's queue holds, and may have been where the empty ones were measured, or not. The two travel on
//! two lanes, so the empty one may come later: then the sender's clock has to do. It does as well where the echo is late by more than
//! three times what the bytes took.
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

/// The first probe with bytes, and the last. From the one before it on each second one is empty, and goes right before one with
/// bytes.
const FIRST: u8 = EMPTY_LAST + 2;
const LAST: u8 = FIRST + 2 * (PROBES - 1);

/// As many have bytes.
const PROBES: u8 = 6;

/// Bytes of the first of them; at most [`PROBE_BYTES_MAX`] of others.
const BYTES_MIN: u32 = 64 * 1024;

/// The longest that a probe may be expected to take, at the rate of the one before.
const NEXT_MAX: Duration = Duration::from_secs(3);

/// A transfer this long can be told from the jitter of timers and event loops.
const TRANSFER_TELLING: Duration = Duration::from_millis(20);

/// After one this long the next has no more bytes: they would only overflow the queues on their way.
const TRANSFER_LONG: Duration = Duration::from_millis(200);

/// Two rates agree if neither is so many times the other. The link is full then: while its transport begins, each is faster.
const FASTER: f64 = 1.25;

/// What the other end tells of a transfer is believed if it comes to at least this part of what it took as seen from here.
const APART_MIN: u32 = 4;

/// A transfer shorter than this was not measured at all.
const TRANSFER_MIN: Duration = Duration::from_micros(10);

/// A few rates, in bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Rates {
    all: [f64; PROBES as usize],
    count: usize,
}

impl Rates {
    fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// One more; there are as many as probes with bytes at most.
    fn push(&mut self, rate: f64) {
        if let Some(place) = self.all.get_mut(self.count) {
            *place = rate;
            self.count += 1;
        }
    }

    fn is_below(&self, rate: f64) -> bool {
        self.all[..self.count].iter().all(|told| *told < rate)
    }

    fn last(&self) -> Option<f64> {
        self.all[..self.count].last().copied()
    }

    /// The one in the middle; of two in the middle the faster one.
    fn middle(&self) -> f64 {
        let mut sorted = self.all;
        let sorted = &mut sorted[..self.count];
        sorted.sort_by(f64::total_cmp);
        sorted.get(self.count / 2).copied().unwrap_or(0.0)
    }
}

/// The measurement of one link, at the end that sends activations over it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Probing {
    /// The probe under way, and since when.
    sent: Option<(u8, Time)>,
    round_trip: Option<Duration>,
    /// How many times the bytes of the next probe were doubled.
    doubled: u8,
    /// Bytes per second.
    rate: Option<f64>,
    /// What transfers came to that were long enough to be told from jitter.
    telling: Rates,
    /// What an echo that was missing came to at most.
    missed: Option<f64>,
    over: bool,
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

fn has_bytes(number: u8) -> bool {
    (FIRST..=LAST).contains(&number) && (number - FIRST).is_multiple_of(2)
}

impl Probing {
    /// When an echo is missing.
    pub(super) fn due(&self) -> Option<Time> {
        let (number, since) = self.sent.filter(|_| !self.over)?;
        // The other end may be building for as long as the room waits for it.
        (number != RENDEZVOUS).then(|| since + ECHO_WAIT_MAX)
    }

    /// The next probe, and with an empty one the one that goes right behind it.
    fn send(&mut self, now: Time, number: u8) -> Vec<Body> {
        let behind = Some(number + 1).filter(|behind| has_bytes(*behind));
        let bytes = self.bytes();
        let probe = |number| Body::Probe {
            number,
            bytes: if has_bytes(number) { bytes } else { 0 },
        };
        self.sent = Some((behind.unwrap_or(number), now));
        std::iter::once(number).chain(behind).map(probe).collect()
    }

    /// Of the next probe that has any.
    fn bytes(&self) -> u32 {
        (BYTES_MIN << self.doubled).min(PROBE_BYTES_MAX)
    }

    /// An echo has come, or is missing for so long that it counts as having come now: what to send next. `apart` is how much later
    /// its probe came than the one right before it.
    fn echoed(&mut self, now: Time, number: u8, apart: Option<Duration>) -> Vec<Body> {
        let Some((last, since)) = self.sent.filter(|_| !self.over) else {
            return Vec::new();
        };
        let taken = now.since(since);
        let was_before = has_bytes(last) && last.checked_sub(1) == Some(number);
        if number > RENDEZVOUS && (was_before || number == last && !has_bytes(last)) {
            let shortest = self.round_trip.map_or(taken, |known| known.min(taken));
            self.round_trip = Some(shortest);
        }
        if number != last {
            return Vec::new();
        }
        if has_bytes(number) && self.is_told_by(number, taken, apart) {
            self.over = true;
            return Vec::new();
        }
        self.send(now, number + 1)
    }

    /// Takes in how long a probe with bytes took; says whether there is nothing more to learn.
    fn is_told_by(&mut self, number: u8, taken: Duration, apart: Option<Duration>) -> bool {
        let spent = taken.saturating_sub(self.round_trip.unwrap_or_default());
        // An end that was busy finds both probes there at once, and one that lies tells anything.
        let told = apart.filter(|apart| *apart >= spent / APART_MIN);
        let transfer = told.map_or(spent, |apart| apart.min(taken));
        let rate =
            (transfer >= TRANSFER_MIN).then(|| f64::from(self.bytes()) / transfer.as_secs_f64());
        if transfer < TRANSFER_LONG && self.bytes() < PROBE_BYTES_MAX {
            self.doubled += 1;
        }
        let is_over = if taken >= ECHO_WAIT_MAX {
            self.misses(rate)
        } else {
            self.takes_in(rate, transfer >= TRANSFER_TELLING)
        };
        let next = f64::from(self.bytes());
        let is_too_long = |rate: f64| next / rate > NEXT_MAX.as_secs_f64();
        is_over || number == LAST || self.rate.is_some_and(is_too_long)
    }

    /// An echo is missing: all that is known is that the link carries less than this. One such silence is borne where the link has been told
    /// of already.
    fn misses(&mut self, rate: Option<f64>) -> bool {
        if !self.telling.is_empty() && self.missed.is_none() {
            self.missed = rate;
            return false;
        }
        let known = [self.rate, rate, self.missed].into_iter().flatten();
        self.rate = known.reduce(f64::min);
        true
    }

    /// Says whether two telling transfers in a row agree. One alone may have met a lost packet, or a device that was busy.
    fn takes_in(&mut self, rate: Option<f64>, is_telling: bool) -> bool {
        let Some(rate) = rate.filter(|_| is_telling) else {
            if self.telling.is_empty() {
                self.rate = rate.or(self.rate);
            }
            return false;
        };
        let before = self.telling.last();
        let agrees = before.is_some_and(|before| rate < FASTER * before && before < FASTER * rate);
        // While its transport begins, each tells more than the one before.
        let rises = self.telling.is_below(rate);
        self.telling.push(rate);
        self.rate = Some(if agrees || rises {
            rate
        } else {
            self.telling.middle()
        });
        agrees
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
        let bodies = match probing.sent {
            None => probing.send(now, RENDEZVOUS),
            Some((number, _)) if probing.due().is_some_and(|due| now >= due) => {
                probing.echoed(now, number, None)
            }
            Some(_) => return,
        };
        self.send_control(successor, epoch, bodies);
        self.say_ready();
    }

    /// The predecessor measures its link to us. Until this stage is built it has to wait: building would be measured as well.
    pub(super) fn probed_by(&mut self, now: Time, from: PeerId, epoch: Epoch, number: u8) {
        // Once training goes on nobody measures any more, and who asks all the same gets no answer.
        let before_training = |active: &&mut Active| !active.training.has_begun();
        let Some(active) = self.under(epoch).filter(before_training) else {
            return;
        };
        let built = active.built;
        let Some(link) = active.links.get_mut(&from) else {
            return;
        };
        let before = link.probed.replace((number, now));
        if built {
            let apart = before.filter(|(before, _)| before.checked_add(1) == Some(number));
            let apart_micros = apart.map(|(_, before)| micros(now.since(before)));
            let echo = Body::Echo {
                number,
                apart_micros,
            };
            self.send_control(from, epoch, [echo]);
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
            let apart_micros = None;
            let echo = Body::Echo {
                number,
                apart_micros,
            };
            self.send_control(peer, epoch, [echo]);
        }
    }

    /// The successor has answered.
    pub(super) fn echoed(
        &mut self,
        now: Time,
        from: PeerId,
        epoch: Epoch,
        number: u8,
        apart_micros: Option<u32>,
    ) {
        let Some(active) = self.under(epoch) else {
            return;
        };
        if active.plan.successor(active.stage) != from {
            return;
        }
        let apart = apart_micros.map(|micros| Duration::from_micros(u64::from(micros)));
        let next = active
            .probing
            .as_mut()
            .map(|probing| probing.echoed(now, number, apart));
        self.send_control(from, epoch, next.unwrap_or_default());
        self.say_ready();
    }

    fn send_control(&mut self, to: PeerId, epoch: Epoch, bodies: impl IntoIterator<Item = Body>) {
        self.output
            .extend(bodies.into_iter().map(|body| Output::Send {
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

    /// What is measured of a link, told by number and bytes after how long a probe's echo comes, and what that tells.
    fn probed(mut echo: impl FnMut(u8, u32) -> (Duration, Option<Duration>)) -> LinkProfile {
        let (mut probing, mut now) = (Probing::default(), Time::ZERO);
        let mut probes = probing.send(now, RENDEZVOUS);
        while !probes.is_empty() {
            let (sent, due) = (now, probing.due());
            let mut next = Vec::new();
            for probe in probes {
                let Body::Probe { number, bytes } = probe else {
                    panic!("{probe:?} measures nothing");
                };
                let (taken, apart) = echo(number, bytes);
                let came = sent + taken;
                let missing = due.filter(|due| came > *due);
                now = missing.unwrap_or(came);
                next = probing.echoed(now, number, apart.filter(|_| missing.is_none()));
            }
            probes = next;
        }
        assert!(probing.over);
        probing.profile(PeerId(7)).expect("it was measured")
    }

    fn rate(link: &LinkProfile) -> f64 {
        link.bytes_per_second.expect("it takes time")
    }

    fn seconds(bytes: u32, bytes_per_second: f64) -> Duration {
        Duration::from_secs_f64(f64::from(bytes) / bytes_per_second)
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// What is measured of a link with this round trip and rate.
    fn measured(round_trip_ms: u64, bytes_per_second: f64, is_apart_told: bool) -> LinkProfile {
        probed(|_, bytes| {
            let transfer = seconds(bytes, bytes_per_second);
            (
                ms(round_trip_ms) + transfer,
                is_apart_told.then_some(transfer),
            )
        })
    }

    #[test]
    fn delay_and_rate_are_told_of_quick_and_of_slow_links() {
        for (round_trip_ms, right) in [(1, 1e8), (10, 1e6), (100, 1.25e6), (600, 2e4)] {
            for is_apart_told in [false, true] {
                let link = measured(round_trip_ms, right, is_apart_told);
                assert_eq!(link.delay_seconds, round_trip_ms as f64 / 2000.0);
                let told = rate(&link);
                assert!((told / right - 1.0).abs() < 0.01, "{told} of {right}");
            }
        }
    }

    #[test]
    fn a_link_whose_echoes_are_late_is_told_of_as_it_is() {
        for (late, right) in [(20, 1.25e6), (100, 1.25e6), (100, 12.5e6)] {
            let late = ms(late);
            // Other probes go the echoes' way: while the empty ones are measured, or while those with bytes are.
            for (empty_late, bytes_late) in [(late, ms(0)), (ms(0), late)] {
                let link = probed(|_, bytes| {
                    let (transfer, is_empty) = (seconds(bytes, right), bytes == 0);
                    let late = if is_empty { empty_late } else { bytes_late };
                    (ms(100) + transfer + late, Some(transfer))
                });
                let told = rate(&link);
                assert!(
                    (told / right - 1.0).abs() < 0.01,
                    "{told} of {right}, {late:?}"
                );
            }
        }
    }

    #[test]
    fn the_empty_probe_before_one_with_bytes_tells_the_delay_as_well() {
        let link = probed(|number, bytes| {
            let late = if number <= EMPTY_LAST { ms(80) } else { ms(0) };
            let transfer = seconds(bytes, 1.25e6);
            (ms(100) + late + transfer, Some(transfer))
        });
        assert_eq!(link.delay_seconds, 0.05);
    }

    #[test]
    fn an_end_that_finds_both_probes_at_once_is_not_believed_and_one_that_lies_only_so_far() {
        for share in [0.0, 0.3, 0.52, 0.9] {
            let busy_once = probed(|number, bytes| {
                let transfer = seconds(bytes, 1.25e6);
                let share = if number == FIRST { share } else { 1.0 };
                (ms(10) + transfer, Some(transfer.mul_f64(share)))
            });
            let told = rate(&busy_once);
            assert!((told / 1.25e6 - 1.0).abs() < 0.01, "{told} with {share}");
        }
        for lie in [0.0, 0.24, 0.26, 1e6] {
            let link = probed(|_, bytes| {
                let transfer = seconds(bytes, 1.25e6);
                (ms(10) + transfer, Some(transfer.mul_f64(lie)))
            });
            let told = rate(&link);
            assert!((0.8..4.0).contains(&(told / 1.25e6)), "{told} for {lie}");
        }
    }

    #[test]
    fn a_quick_link_is_told_of_by_its_longest_transfer() {
        // 25 MB/s: the first transfer, of 2.6 ms, is read as 1 ms, and no other is so wrong.
        let link = probed(|number, bytes| {
            let transfer = match number {
                FIRST => ms(1),
                _ => seconds(bytes, 25e6),
            };
            (Duration::from_micros(500) + transfer, None)
        });
        let told = rate(&link);
        assert!((told / 25e6 - 1.0).abs() < 0.01, "{told}");
    }

    #[test]
    fn a_link_that_carries_a_burst_and_then_hardly_anything_is_not_told_of_as_the_burst() {
        let link = probed(|number, bytes| match (number, bytes) {
            (_, 0) => (ms(10), None),
            (FIRST, _) => (ms(70), None),
            _ => (ECHO_WAIT_MAX, None),
        });
        let told = rate(&link);
        assert!(told < 40_000.0, "{told}");
    }

    #[test]
    fn a_link_that_is_silent_once_is_told_of_as_what_it_carried_before_and_after() {
        let link = probed(|number, bytes| match number == FIRST + 2 {
            true => (ECHO_WAIT_MAX, None),
            false => (ms(10) + seconds(bytes, 1.25e6), None),
        });
        let told = rate(&link);
        assert!((told / 1.25e6 - 1.0).abs() < 0.01, "{told}");
    }

    /// The same of a transport that carries 4 KiB in the first round trip, and twice as much in each further one, until it fills the link.
    fn measured_from_a_slow_start(round_trip: Duration, bytes_per_second: f64) -> LinkProfile {
        let full = bytes_per_second * round_trip.as_secs_f64();
        let mut carried: f64 = 4096.0;
        probed(|_, bytes| {
            let (mut left, mut transfer) = (f64::from(bytes), Duration::ZERO);
            while left > carried {
                left -= carried;
                let seconds = round_trip.as_secs_f64().max(carried / bytes_per_second);
                transfer += Duration::from_secs_f64(seconds);
                carried = (2.0 * carried).min(full.max(4096.0));
            }
            transfer += Duration::from_secs_f64(left / bytes_per_second);
            (round_trip + transfer, Some(transfer))
        })
    }

    #[test]
    fn a_far_link_is_not_told_of_as_slow_as_its_transport_begins() {
        for (round_trip_ms, right) in [(10, 1.25e6), (100, 1.25e6), (100, 5e6), (300, 1.25e6)] {
            let told = rate(&measured_from_a_slow_start(ms(round_trip_ms), right));
            assert!((0.6..1.1).contains(&(told / right)), "{told} of {right}");
        }
    }

    #[test]
    fn a_link_that_swallows_bytes_is_told_of_as_slow_and_not_waited_for() {
        let told = rate(&measured(10, 100.0, true));
        assert!(told < 17_000.0, "{told}");
    }

    #[test]
    fn an_echo_that_was_not_asked_for_changes_nothing() {
        let mut probing = Probing::default();
        let none: [Body; 0] = [];
        assert_eq!(probing.echoed(Time::ZERO, LAST, None), none);
        for sent in [2, FIRST - 1] {
            probing.send(Time::ZERO, sent);
            let before = probing;
            for number in [0, 1, 3, 7, 200, 255] {
                assert_eq!(probing.echoed(Time::ZERO, number, Some(ms(1))), none);
            }
            assert_eq!(probing, before);
        }
    }
}
