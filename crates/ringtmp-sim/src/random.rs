//! Random draws by counter.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The largest draw of [`Draws::exponential`]: bounds how long a task can take. One draw in 65 million is cut by it.
pub const EXPONENTIAL_MAX: f64 = 18.0;

/// A stream of random numbers of its own for every (seed, stream): ChaCha8 (Bernstein, 2008). The same on every platform.
#[derive(Clone, Debug)]
pub struct Draws(ChaCha8Rng);

impl Draws {
    /// The stream of this number under a seed.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(b"ringsims");
        key[8..16].copy_from_slice(&seed.to_le_bytes());
        let mut draws = ChaCha8Rng::from_seed(key);
        draws.set_stream(stream);
        Self(draws)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// An integer of `low..=high`; its bias is below the range over 2^64.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = u128::from(high.saturating_sub(low)) + 1;
        low + ((u128::from(self.bits()) * span) >> 64) as u64
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Exponential of mean 1, cut at [`EXPONENTIAL_MAX`].
    pub fn exponential(&mut self) -> f64 {
        // The software logarithm: a platform's own may differ in the last bit, and a run would not replay elsewhere.
        (-libm::log(1.0 - self.unit())).min(EXPONENTIAL_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_repeat_by_seed_and_stream_and_have_the_moments_they_claim() {
        assert_eq!(Draws::new(1, 2).bits(), Draws::new(1, 2).bits());
        assert_ne!(Draws::new(1, 2).bits(), Draws::new(1, 3).bits());
        assert_ne!(Draws::new(1, 2).bits(), Draws::new(2, 2).bits());
        let mut draws = Draws::new(7, 0);
        let sample: Vec<f64> = (0..100_000).map(|_| draws.exponential()).collect();
        let mean = sample.iter().sum::<f64>() / sample.len() as f64;
        assert!((mean - 1.0).abs() < 0.02, "mean {mean}");
        assert!((0..1000).all(|_| (3..=5).contains(&draws.between(3, 5))));
    }
}
