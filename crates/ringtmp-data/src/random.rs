//! Random draws by counter, the same on every platform.
//!
//! A draw is a function of (purpose, seed, counter): each counter is a stream of its own of ChaCha8 (Bernstein, 2008), so
//! any sample can be made without making those before it. Only `+ - * /` and `sqrt` are used to shape the draws, here
//! and in the drawing of digits: IEEE 754 fixes their results, whereas `sin`, `exp` or `powf` come from a libm that
//! differs between native targets and wasm. Rust never fuses `a * b + c` by itself.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What draws are for. Each purpose has streams of its own, so that draws for one never repeat those for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Digits to train on.
    TrainDigit,
    /// Digits held out.
    TestDigit,
    /// The order of classes within a block of digits to train on.
    TrainClasses,
    /// The order of classes within a block of digits held out.
    TestClasses,
    /// The order of a finite set.
    Shuffle,
    /// Where a window of a text begins.
    Window,
}

impl Purpose {
    const fn tag(self) -> [u8; 8] {
        match self {
            Self::TrainDigit => *b"digtrain",
            Self::TestDigit => *b"digtests",
            Self::TrainClasses => *b"clstrain",
            Self::TestClasses => *b"clstests",
            Self::Shuffle => *b"shuffles",
            Self::Window => *b"txwindow",
        }
    }
}

/// A stream of random numbers.
pub(crate) struct Draws(ChaCha8Rng);

impl Draws {
    /// The stream numbered `counter` of a purpose and a pair of seeds.
    pub(crate) fn new(purpose: Purpose, seeds: [u64; 2], counter: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&purpose.tag());
        key[8..16].copy_from_slice(&seeds[0].to_le_bytes());
        key[16..24].copy_from_slice(&seeds[1].to_le_bytes());
        let mut stream = ChaCha8Rng::from_seed(key);
        stream.set_stream(counter);
        Self(stream)
    }

    /// 32 random bits.
    pub(crate) fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// An integer of `0..bound`, by multiplication; its bias is below `bound / 2^32`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.bits()) * u64::from(bound)) >> 32) as u32
    }

    /// Uniform in [0, 1), a multiple of 2^-24.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.bits() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in [low, high).
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Mean 0, variance 1, never beyond 3: the sum of three uniform draws in [-1, 1), close to a normal draw and free of `ln`.
    pub(crate) fn bell(&mut self) -> f32 {
        2.0 * (self.unit() + self.unit() + self.unit()) - 3.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_different_purpose_seed_or_counter_differ_and_each_repeats() {
        let first = |purpose, seeds, counter| Draws::new(purpose, seeds, counter).bits();
        let reference = first(Purpose::TrainDigit, [1, 2], 3);
        assert_eq!(reference, first(Purpose::TrainDigit, [1, 2], 3));
        assert_ne!(reference, first(Purpose::TestDigit, [1, 2], 3));
        assert_ne!(reference, first(Purpose::TrainDigit, [2, 1], 3));
        assert_ne!(reference, first(Purpose::TrainDigit, [1, 0], 3));
        assert_ne!(reference, first(Purpose::TrainDigit, [1, 2], 4));
    }

    #[test]
    fn draws_have_the_moments_they_claim() {
        let mut draws = Draws::new(Purpose::TrainDigit, [7, 0], 0);
        let bells: Vec<f32> = (0..100_000).map(|_| draws.bell()).collect();
        let mean = bells.iter().sum::<f32>() / bells.len() as f32;
        let variance = bells.iter().map(|x| x * x).sum::<f32>() / bells.len() as f32;
        assert!(mean.abs() < 0.02, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.03, "variance {variance}");
        assert!(bells.iter().all(|x| x.abs() <= 3.0));
        assert!((0..10_000).all(|_| draws.below(10) < 10));
        assert!((0..10_000).all(|_| (-2.0..3.0).contains(&draws.between(-2.0, 3.0))));
    }
}
