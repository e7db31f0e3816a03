//! How much of the tensors lane may be under way at once.
//!
//! The crate puts both lanes into one queue, so that whatever tensors wait there a control frame waits behind; yet a link far
//! away has to hold much. So the window follows the link: one and a half times what it delivers in the shortest time that a chunk has
//! taken to be acknowledged, both measured as BBR does (Cardwell et al., "BBR: Congestion-Based Congestion Control", 2016). While too
//! little is under way, what is delivered grows with it, and so the window grows every round trip; once the link is full it stays.
//! With twice as much, as BBR has it, a link of 100 Mbit/s and 100 ms lost packets at its queue's end, and the SCTP below, which
//! finds its way back from a loss by one packet each round trip, then carried a hundredth to a half of that.

use ringtmp_core::wire::CHUNK_BYTES_MAX;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The window at first, and what a socket must be able to hold of what comes at once.
pub(super) const FIRST_BYTES: usize = 256 * 1024;

/// The shortest that chunks are cut (into four, each further one with a byte of its own before it), and the time that they are for: on a
/// slow link 64 KiB take so long that neither what is under way can be measured out nor a control frame slips in between; on a fast one
/// short messages cost the processor.
const PIECE_BYTES_MIN: usize = 16 * 1024 + 1;
const PIECE_SECONDS: f64 = 0.005;

/// What may be under way, beside what the link delivers in a round trip.
const GAIN: f64 = 1.5;

/// How long what is under way beside that may take: queues hold so much and more.
const EXCESS_SECONDS_MAX: f64 = 0.1;

/// How long the shortest round trip is believed. Then the window is halved until a chunk sent since is acknowledged, as BBR looks at
/// its round trip anew: a link that has become longer would be starved, and one whose queue stands would seem longer than it is.
const SOONEST_FOR: Duration = Duration::from_secs(10);

/// 100 Mbit/s with a round trip of 230 ms, and what may be under way besides.
pub(super) const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Chunks of which the fastest delivery counts.
const RATES: usize = 256;

/// A chunk that was handed over and is not acknowledged.
struct Handed {
    at: Instant,
    /// All bytes handed over, with this chunk.
    sent: u64,
    /// All bytes acknowledged before it.
    acknowledged: u64,
    bytes: u64,
}

pub(super) struct Window {
    bytes: usize,
    sent: u64,
    under_way: VecDeque<Handed>,
    /// The shortest time that a chunk took to be acknowledged lately, and when that was.
    soonest: Option<(Duration, Instant)>,
    /// Bytes sent before the window was lowered to see that time again.
    lowered: Option<u64>,
    /// Bytes per second that the link delivers.
    rate: f64,
    /// Of the last chunks: bytes per second delivered while each was under way.
    rates: VecDeque<f64>,
}

impl Window {
    pub(super) fn new() -> Self {
        Self {
            bytes: FIRST_BYTES,
            sent: 0,
            under_way: VecDeque::new(),
            soonest: None,
            lowered: None,
            rate: 0.0,
            rates: VecDeque::with_capacity(RATES),
        }
    }

    /// The bytes that may be under way.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How long the pieces of chunks may be.
    pub(super) fn piece_bytes(&self) -> usize {
        let bytes = self.rate * PIECE_SECONDS;
        (bytes as usize).clamp(PIECE_BYTES_MIN, CHUNK_BYTES_MAX)
    }

    /// Whether a chunk may be handed over while so much is outstanding.
    pub(super) fn has_room(&self, outstanding: usize, chunk: usize) -> bool {
        outstanding == 0 || outstanding + chunk <= self.bytes
    }

    /// A chunk has been handed over, before which so much was outstanding.
    pub(super) fn handed(&mut self, now: Instant, outstanding: usize, chunk: usize) {
        let acknowledged = self.sent.saturating_sub(outstanding as u64);
        self.sent += chunk as u64;
        self.under_way.push_back(Handed {
            at: now,
            sent: self.sent,
            acknowledged,
            bytes: chunk as u64,
        });
    }

    /// So much is outstanding now: learns from the chunks that are not any more.
    pub(super) fn seen(&mut self, now: Instant, outstanding: usize) {
        let acknowledged = self.sent.saturating_sub(outstanding as u64);
        let mut learnt = false;
        while let Some(chunk) = self
            .under_way
            .pop_front_if(|chunk| chunk.sent <= acknowledged)
        {
            // A clock's tick at least: two looks at once tell nothing of a rate.
            let took = now.duration_since(chunk.at).max(Duration::from_micros(50));
            let is_new = self
                .lowered
                .is_some_and(|sent| chunk.sent > sent + chunk.bytes);
            if is_new || self.soonest.is_none_or(|(soonest, _)| took <= soonest) {
                self.soonest = Some((took, now));
                self.lowered = None;
            }
            if self.rates.len() == RATES {
                self.rates.pop_front();
            }
            let delivered = acknowledged - chunk.acknowledged;
            self.rates.push_back(delivered as f64 / took.as_secs_f64());
            learnt = true;
        }
        let Some((soonest, at)) = self.soonest.filter(|_| learnt) else {
            return;
        };
        if now.duration_since(at) > SOONEST_FOR {
            self.lowered.get_or_insert(self.sent);
        }
        self.rate = self.rates.iter().copied().fold(0.0, f64::max);
        let round_trip = soonest.as_secs_f64();
        let excess = (GAIN - 1.0) * round_trip;
        let mut more = self.rate * (round_trip + excess.min(EXCESS_SECONDS_MAX));
        if self.lowered.is_some() {
            more /= 2.0;
        }
        // One piece is sent while another one waits.
        self.bytes = (more as usize).clamp(2 * self.piece_bytes(), BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link that delivers bytes one after the other and acknowledges them after a while, and a sender that always has more; gives the
    /// window after so many chunks, and the bytes per second delivered over the last half.
    fn filled(bytes_per_second: f64, round_trip: Duration, chunks: usize) -> (usize, f64) {
        let start = Instant::now();
        let mut window = Window::new();
        let mut now = start;
        let mut free_at = start;
        let mut acknowledgements: VecDeque<Instant> = VecDeque::new();
        let mut half = start;
        for chunk in 0..chunks {
            let outstanding = |left: &VecDeque<Instant>| left.len() * PIECE_BYTES_MIN;
            while !window.has_room(outstanding(&acknowledgements), PIECE_BYTES_MIN) {
                now = acknowledgements
                    .pop_front()
                    .expect("something is under way")
                    .max(now);
                window.seen(now, outstanding(&acknowledgements));
            }
            window.handed(now, outstanding(&acknowledgements), PIECE_BYTES_MIN);
            free_at = free_at.max(now)
                + Duration::from_secs_f64(PIECE_BYTES_MIN as f64 / bytes_per_second);
            acknowledgements.push_back(free_at + round_trip);
            if chunk == chunks / 2 {
                half = free_at;
            }
        }
        let delivered = (chunks - chunks / 2 - 1) * PIECE_BYTES_MIN;
        let rate = delivered as f64 / free_at.duration_since(half).as_secs_f64();
        (window.bytes(), rate)
    }

    #[test]
    fn a_long_fast_link_is_filled() {
        let (window, rate) = filled(12.5e6, Duration::from_millis(100), 1600);
        assert!(rate > 0.99 * 12.5e6, "{rate}");
        // What is delivered in a round trip, one and a half times, and what a chunk takes itself.
        assert!((1_875_000..2_250_000).contains(&window), "{window}");
    }

    #[test]
    fn a_slow_link_is_not_stuffed() {
        let (window, rate) = filled(1.25e6, Duration::from_millis(10), 800);
        assert!(rate > 0.99 * 1.25e6, "{rate}");
        assert!(window < 60_000, "{window}");
    }

    #[test]
    fn a_link_farther_and_faster_than_any_stays_within_the_bound() {
        let (window, _) = filled(1e9, Duration::from_secs(1), 4000);
        assert_eq!(window, BYTES_MAX);
    }

    #[test]
    fn a_link_that_becomes_longer_is_filled_again() {
        let rate = 2.5e6;
        let (mut window, mut now) = (Window::new(), Instant::now());
        let (mut free_at, began) = (now, now);
        let mut acknowledgements: VecDeque<Instant> = VecDeque::new();
        let (mut late, mut chunks) = (0, 0);
        while now < began + Duration::from_secs(30) {
            // The round trip is five times as long from the fifth second on.
            let seconds = now.duration_since(began).as_secs();
            let round_trip = Duration::from_millis(if seconds < 5 { 20 } else { 100 });
            let outstanding = |left: &VecDeque<Instant>| left.len() * PIECE_BYTES_MIN;
            while !window.has_room(outstanding(&acknowledgements), PIECE_BYTES_MIN) {
                let at = acknowledgements
                    .pop_front()
                    .expect("something is under way");
                now = at.max(now);
                window.seen(now, outstanding(&acknowledgements));
            }
            window.handed(now, outstanding(&acknowledgements), PIECE_BYTES_MIN);
            free_at = free_at.max(now) + Duration::from_secs_f64(PIECE_BYTES_MIN as f64 / rate);
            acknowledgements.push_back(free_at + round_trip);
            if seconds >= 25 {
                late += PIECE_BYTES_MIN;
            }
            chunks += 1;
        }
        let delivered = late as f64 / 5.0;
        assert!(delivered > 0.9 * rate, "{delivered} after {chunks} chunks");
    }

    #[test]
    fn tensors_now_and_then_leave_room_for_the_next() {
        let start = Instant::now();
        let mut window = Window::new();
        for tensor in 0..20 {
            let now = start + Duration::from_secs(tensor);
            window.handed(now, 0, PIECE_BYTES_MIN);
            window.seen(now + Duration::from_millis(5), 0);
        }
        assert!(window.has_room(PIECE_BYTES_MIN, PIECE_BYTES_MIN));
    }
}
