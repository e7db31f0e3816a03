//! A budget that fills with time.

use crate::time::Time;

/// So much at once, and so much for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// What may be spent at once.
    pub burst: u32,
    /// What comes back in a second.
    pub per_second: u32,
}

/// A token bucket: full at first, never fuller than its burst. It may go into debt, which then has to be paid back first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    tokens: f64,
    at: Time,
}

impl Bucket {
    /// A full one.
    pub fn full(now: Time, rate: Rate) -> Self {
        Self {
            tokens: f64::from(rate.burst),
            at: now,
        }
    }

    /// What may be spent now; negative in debt.
    pub fn left(&mut self, now: Time, rate: Rate) -> f64 {
        let earned = now.since(self.at).as_secs_f64() * f64::from(rate.per_second);
        self.tokens = (self.tokens + earned).min(f64::from(rate.burst));
        self.at = now;
        self.tokens
    }

    /// Spends `cost` if there is as much; otherwise spends nothing and says so.
    pub fn spend(&mut self, now: Time, rate: Rate, cost: f64) -> bool {
        let enough = self.left(now, rate) >= cost;
        if enough {
            self.tokens -= cost;
        }
        enough
    }

    /// Spends `cost`, into debt if need be: what has been done already has to be paid for.
    pub fn charge(&mut self, now: Time, rate: Rate, cost: f64) {
        self.tokens = self.left(now, rate) - cost;
    }

    /// Whether it is as good as new.
    pub fn is_full(&mut self, now: Time, rate: Rate) -> bool {
        self.left(now, rate) >= f64::from(rate.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const RATE: Rate = Rate {
        burst: 4,
        per_second: 2,
    };

    #[test]
    fn a_bucket_gives_its_burst_and_then_what_comes_back() {
        let mut now = Time::ZERO;
        let mut bucket = Bucket::full(now, RATE);
        assert!(bucket.spend(now, RATE, 3.0) && bucket.spend(now, RATE, 1.0));
        assert!(!bucket.spend(now, RATE, 1.0), "it is empty");
        now = now + Duration::from_millis(500);
        assert!(bucket.spend(now, RATE, 1.0) && !bucket.spend(now, RATE, 1.0));
        now = now + Duration::from_secs(3600);
        assert!(bucket.is_full(now, RATE) && !bucket.spend(now, RATE, 4.1));
    }

    #[test]
    fn a_debt_is_paid_back_before_anything_else() {
        let mut now = Time::ZERO;
        let mut bucket = Bucket::full(now, RATE);
        bucket.charge(now, RATE, 6.0);
        now = now + Duration::from_secs(1);
        assert!(!bucket.spend(now, RATE, 0.5), "the debt is just paid");
        now = now + Duration::from_secs(1);
        assert!(bucket.spend(now, RATE, 2.0));
    }
}
