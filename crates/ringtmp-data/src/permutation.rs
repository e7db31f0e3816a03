//! A random order of a finite set that takes no memory.

use crate::random::{Draws, Purpose};

/// A permutation of `0..count`: a Feistel network over the next even power of two, walked until it comes back into
/// range (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).
#[derive(Clone, Debug)]
pub(crate) struct Permutation {
    count: u32,
    half_bits: u32,
    keys: [u32; ROUNDS],
}

/// Four rounds of a good function are indistinguishable from random (Luby and Rackoff, 1988); small sets have small
/// halves and plain multiplication is no good function, hence twice as many.
const ROUNDS: usize = 8;

impl Permutation {
    /// The order of `count` samples in one pass over them.
    pub(crate) fn new(count: u32, seed: u64, pass: u64) -> Self {
        let mut draws = Draws::new(Purpose::Shuffle, [seed, 0], pass);
        let bits = u32::BITS - count.saturating_sub(1).leading_zeros();
        Self {
            count,
            half_bits: bits.div_ceil(2),
            keys: std::array::from_fn(|_| draws.bits()),
        }
    }

    /// Where `index`, which must be below the count, goes. The domain is less than four times the set (for sets above 1),
    /// so the walk takes less than four rounds of the network on average; it ends because the network is a permutation.
    pub(crate) fn at(&self, index: u32) -> u32 {
        debug_assert!(
            index < self.count,
            "index {index} of a permutation of {}",
            self.count
        );
        let mut place = self.network(index);
        while place >= self.count {
            place = self.network(place);
        }
        place
    }

    fn network(&self, index: u32) -> u32 {
        // At most 16 bits a half, so that no shift overflows.
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (index >> self.half_bits, index & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        left << self.half_bits | right
    }
}

/// Spreads every bit over all bits: xor-shifts and multiplications by odd numbers.
fn mix(bits: u32) -> u32 {
    let bits = (bits ^ bits >> 16).wrapping_mul(0x9e37_79b1);
    let bits = (bits ^ bits >> 15).wrapping_mul(0x85eb_ca77);
    bits ^ bits >> 13
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_met_exactly_once_whatever_the_size() {
        for count in (1..=70).chain([255, 256, 257, 1000, 4095, 4097, 60_000]) {
            let order = Permutation::new(count, 3, 1);
            let mut met = vec![false; count as usize];
            for index in 0..count {
                let place = order.at(index) as usize;
                assert!(
                    !std::mem::replace(&mut met[place], true),
                    "{place} twice of {count}"
                );
            }
        }
        let huge = Permutation::new(u32::MAX, 3, 1);
        assert!((0..100).all(|index| huge.at(index) < u32::MAX));
    }

    #[test]
    fn passes_and_seeds_differ_and_a_place_is_taken_evenly() {
        let orders = |seed, pass| {
            let order = Permutation::new(50, seed, pass);
            (0..50).map(|index| order.at(index)).collect::<Vec<_>>()
        };
        assert_eq!(orders(1, 0), orders(1, 0));
        assert_ne!(orders(1, 0), orders(1, 1));
        assert_ne!(orders(1, 0), orders(2, 0));

        let passes = 60_000;
        for index in [0, 1, 5] {
            let mut counts = [0u32; 6];
            for pass in 0..passes {
                counts[Permutation::new(6, 9, pass).at(index) as usize] += 1;
            }
            // 10,000 expected, standard deviation 91.
            assert!(
                counts.iter().all(|count| (9_500..10_500).contains(count)),
                "seed 9: {counts:?}"
            );
        }
    }
}
