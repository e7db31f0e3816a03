//! Random words as functions of what they are drawn for.

/// A random word from four others: `pcg4d` of Jarzynski and Olano, "Hash functions for GPU rendering", 2020.
pub(super) fn pcg4d(words: [u32; 4]) -> u32 {
    let mut v = words.map(|word| word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let mix = |v: &mut [u32; 4]| {
        for (target, a, b) in [(0, 1, 3), (1, 2, 0), (2, 0, 1), (3, 1, 2)] {
            v[target] = v[target].wrapping_add(v[a].wrapping_mul(v[b]));
        }
    };
    mix(&mut v);
    v = v.map(|word| word ^ (word >> 16));
    mix(&mut v);
    v[0]
}

/// A random word from another, cheap enough to be drawn for every number: `lowbias32` of Wellons, "Prospecting for hash
/// functions", 2018.
#[inline(always)]
pub(super) fn lowbias32(word: u32) -> u32 {
    let word = (word ^ (word >> 16)).wrapping_mul(0x7feb_352d);
    let word = (word ^ (word >> 15)).wrapping_mul(0x846c_a68b);
    word ^ (word >> 16)
}
