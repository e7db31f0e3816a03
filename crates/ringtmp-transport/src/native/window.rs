//! How much of the tensors lane may be under way at once.
//!
//! The crate puts both lanes into one queue, so that whatever tensors wait there a control frame waits behind; yet a link far
//! away has to hold much. So the window follows the link: twice what it delivers in the shortest time that a chunk has taken to be
//! acknowledged, both measured as BBR does (Cardwell et al., "BBR: Congestion-Based Congestion Control", 2016). While too little is
//! under way, what is delivered grows with it, and so the window doubles every round trip; once the link is full it stays.

use ringtmp_core::wire::CHUNK_BYTES_MAX;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The window at first, and what a socket must be able to hold of what comes at once.
pub(super) const FIRST_BYTES: usize = 256 * 1024;

/// One chunk is sent while another one waits.
const BYTES_MIN: usize = 2 * CHUNK_BYTES_MAX;

/// 100 Mbit/s with a round trip of 160 ms, twice.
pub(super) const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Chunks of which the fastest delivery counts.
const RATES: usize = 64;

/// A chunk that was handed over and is not acknowledged.
struct Handed {
    at: Instant,
    /// All bytes handed over, with this chunk.
    sent: u64,
    /// All bytes acknowledged before it.
    acknowledged: u64,
}

pub(super) struct Window {
    bytes: usize,
    sent: u64,
    under_way: VecDeque<Handed>,
    soonest: Option<Duration>,
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
            rates: VecDeque::with_capacity(RATES),
        }
    }

    /// The bytes that may be under way.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
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
            self.soonest = Some(self.soonest.map_or(took, |soonest| soonest.min(took)));
            if self.rates.len() == RATES {
                self.rates.pop_front();
            }
            let delivered = acknowledged - chunk.acknowledged;
            self.rates.push_back(delivered as f64 / took.as_secs_f64());
            learnt = true;
        }
        let Some(soonest) = self.soonest.filter(|_| learnt) else {
            return;
        };
        let rate = self.rates.iter().copied().fold(0.0, f64::max);
        let twice = 2.0 * rate * soonest.as_secs_f64();
        self.bytes = (twice as usize).clamp(BYTES_MIN, BYTES_MAX);
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
            let outstanding = |left: &VecDeque<Instant>| left.len() * CHUNK_BYTES_MAX;
            while !window.has_room(outstanding(&acknowledgements), CHUNK_BYTES_MAX) {
                now = acknowledgements
                    .pop_front()
                    .expect("something is under way")
                    .max(now);
                window.seen(now, outstanding(&acknowledgements));
            }
            window.handed(now, outstanding(&acknowledgements), CHUNK_BYTES_MAX);
            free_at = free_at.max(now)
                + Duration::from_secs_f64(CHUNK_BYTES_MAX as f64 / bytes_per_second);
            acknowledgements.push_back(free_at + round_trip);
            if chunk == chunks / 2 {
                half = free_at;
            }
        }
        let delivered = (chunks - chunks / 2 - 1) * CHUNK_BYTES_MAX;
        let rate = delivered as f64 / free_at.duration_since(half).as_secs_f64();
        (window.bytes(), rate)
    }

    #[test]
    fn a_long_fast_link_is_filled() {
        let (window, rate) = filled(12.5e6, Duration::from_millis(100), 400);
        assert!(rate > 0.99 * 12.5e6, "{rate}");
        // What is delivered in a round trip, twice, and what a chunk takes itself.
        assert!((2_500_000..3_000_000).contains(&window), "{window}");
    }

    #[test]
    fn a_slow_link_is_not_stuffed() {
        let (window, rate) = filled(1.25e6, Duration::from_millis(10), 200);
        assert!(rate > 0.99 * 1.25e6, "{rate}");
        assert!(window < 170_000, "{window}");
    }

    #[test]
    fn a_link_farther_and_faster_than_any_stays_within_the_bound() {
        let (window, _) = filled(1e9, Duration::from_secs(1), 1000);
        assert_eq!(window, BYTES_MAX);
    }

    #[test]
    fn tensors_now_and_then_leave_room_for_the_next() {
        let start = Instant::now();
        let mut window = Window::new();
        for tensor in 0..20 {
            let now = start + Duration::from_secs(tensor);
            window.handed(now, 0, CHUNK_BYTES_MAX);
            window.seen(now + Duration::from_millis(5), 0);
        }
        assert!(window.has_room(CHUNK_BYTES_MAX, CHUNK_BYTES_MAX));
    }
}
