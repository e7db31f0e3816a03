//! Elementary functions and sums in a form that compilers turn into vectors and that gives the same bits everywhere.

/// Partial sums of [`sum`]: two vectors of AVX2. A fixed number, since it decides in which order a sum runs.
const LANES: usize = 16;

/// The natural exponential, within 2 units in the last place, from a polynomial of the seventh degree over half a doubling
/// (Cody and Waite, "Software manual for the elementary functions", 1980). Results end at 1.2e-38 and 1.6e38; a NaN stays one.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// 1.5 * 2^23: what is added to it is rounded to a whole number in the low bits.
    const ROUND: f32 = 12_582_912.0;
    /// The high digits of ln 2, whose products with the numbers here are exact, and the rest.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let doublings = rounded - ROUND;
    let r = x - doublings * LN_2.0 - doublings * LN_2.1;
    let mut polynomial = 1.0 / 5040.0;
    for coefficient in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        polynomial = polynomial * r + coefficient;
    }
    polynomial * f32::from_bits(rounded.to_bits().wrapping_add(127) << 23)
}

/// The sum of `term` over two slices of one length, in [`LANES`] partial sums.
#[inline(always)]
pub(super) fn sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            sums[i] += term(a[i], b[i]);
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum += term(*a, *b);
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_exact_to_the_last_digits_over_its_whole_range() {
        for i in -87_000..88_000 {
            let x = i as f32 * 1e-3;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.5e-7, "exp({x}): {error}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 1.3e-38);
        assert_eq!(exp(0.0), 1.0);
    }
}
