//! Tensors packed for a link, and back. Every result is exact or rounded in whole numbers, so that a kernel gives the same bits.

use super::random::{lowbias32, pcg4d};
use crate::packing::Dither;
use crate::platform::{VectorTask, run_vectorised};

/// Packed numbers lie in their words as on the wire, which is little endian.
const _: () = assert!(cfg!(target_endian = "little"));

/// Rows with no number of at least 2^-96 are zeros: far below what training tells from zero, and far enough from where a GPU
/// may flush to zero.
const INT8_MAGNITUDE_BITS_MIN: u32 = (127 - 96) << 23;

/// The largest multiple of 2 that 127 times is below 2^24: no number of a row overflows when it is unpacked.
const INT8_SCALE_MANTISSA_MAX: u32 = 132_104;

const INFINITY_BITS: u32 = 0x7f80_0000;
const NAN_BITS: u32 = 0x7fc0_0000;

/// packed = input as 16-bit floats, two a word; rounded to the nearest, of two equally near the even one. Beyond 65504 it is
/// infinite.
pub(crate) fn pack_f16(input: &[f32], packed: &mut [u32]) {
    struct Task<'a>(&'a [f32], &'a mut [u16]);
    impl VectorTask for Task<'_> {
        #[inline(always)]
        fn run<const LANES: usize>(self) {
            for (half, value) in self.1.iter_mut().zip(self.0) {
                *half = f16_of(*value);
            }
        }
    }
    let halves = bytemuck::cast_slice_mut(packed);
    halves[input.len()..].fill(0);
    run_vectorised(Task(input, halves));
}

/// output = packed, exactly.
pub(crate) fn unpack_f16(packed: &[u32], output: &mut [f32]) {
    struct Task<'a>(&'a [u16], &'a mut [f32]);
    impl VectorTask for Task<'_> {
        #[inline(always)]
        fn run<const LANES: usize>(self) {
            for (value, half) in self.1.iter_mut().zip(self.0) {
                *value = f32_of(*half);
            }
        }
    }
    run_vectorised(Task(bytemuck::cast_slice(packed), output));
}

/// Without a branch, so that a loop over it is vectorised.
#[inline(always)]
fn f16_of(value: f32) -> u16 {
    let bits = value.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let odd = (magnitude >> 13) & 1;
    let normal = magnitude
        .wrapping_sub(112 << 23)
        .wrapping_add(0xfff)
        .wrapping_add(odd)
        >> 13;
    // The numbers from a half to one are as far apart as 16-bit floats below 2^-14: the addition rounds as asked.
    let small = f32::from_bits(magnitude) + 0.5;
    let subnormal = small.to_bits().wrapping_sub(0.5f32.to_bits());
    let finite = if magnitude < 113 << 23 {
        subnormal
    } else {
        normal
    };
    let beyond = if magnitude > INFINITY_BITS {
        0x7e00
    } else {
        0x7c00
    };
    // 65520 is halfway between 65504 and what would be next.
    let half = if magnitude >= 0x477f_f000 {
        beyond
    } else {
        finite
    };
    (half | ((bits >> 16) & 0x8000)) as u16
}

#[inline(always)]
fn f32_of(half: u16) -> f32 {
    let half = u32::from(half);
    let magnitude = half & 0x7fff;
    let normal = (magnitude << 13).wrapping_add(112 << 23);
    // 2^-24 times a whole number below 2^10 is exact.
    let subnormal = (magnitude as f32 * f32::from_bits(103 << 23)).to_bits();
    let finite = if magnitude < 0x400 { subnormal } else { normal };
    let bits = if magnitude >= 0x7c00 {
        (magnitude << 13) | INFINITY_BITS
    } else {
        finite
    };
    f32::from_bits(bits | ((half & 0x8000) << 16))
}

/// The first words of packed = the scale of each row of input: a 127th of its largest magnitude, rounded up to 17 bits, so
/// that whole numbers up to 127 times it are exact; NaN if a number of the row is not finite.
pub(crate) fn int8_scales(input: &[f32], packed: &mut [u32], row: usize) {
    struct Task<'a>(&'a [f32], &'a mut [u32], usize);
    impl VectorTask for Task<'_> {
        #[inline(always)]
        fn run<const LANES: usize>(self) {
            for (scale, row) in self.1.iter_mut().zip(self.0.chunks_exact(self.2)) {
                // As bits magnitudes are in order, infinity and NaN above all others.
                let magnitudes = row.iter().map(|value| value.to_bits() & 0x7fff_ffff);
                *scale = scale_of(magnitudes.fold(0, u32::max));
            }
        }
    }
    run_vectorised(Task(input, packed, row));
}

fn scale_of(magnitude: u32) -> u32 {
    if magnitude >= INFINITY_BITS {
        return NAN_BITS;
    }
    if magnitude < INT8_MAGNITUDE_BITS_MIN {
        return 0;
    }
    let mantissa = (magnitude & 0x007f_ffff) | 0x0080_0000;
    let scale = (mantissa.div_ceil(127) + 1) & !1;
    let scale = scale.min(INT8_SCALE_MANTISSA_MAX) as f32;
    let exponent = magnitude & INFINITY_BITS;
    scale.to_bits() + exponent - (150 << 23)
}

/// The words of packed after its scales = input in whole numbers of its row's scale, -127 to 127, four a word; rounded to the
/// nearest, or up or down at random so that the mean is right.
pub(crate) fn pack_int8(
    dither: Option<(&Dither, &[u32])>,
    input: &[f32],
    packed: &mut [u32],
    row: usize,
) {
    let (scales, values) = packed.split_at_mut(input.len() / row);
    let values: &mut [i8] = bytemuck::cast_slice_mut(values);
    values[input.len()..].fill(0);
    run_vectorised(Quantise {
        dither,
        input,
        scales,
        values,
        row,
    });
}

/// 2^16 / scale, rounded down to 24 bits or so; 0 for a row of zeros or without a scale.
fn inverse_of(scale: u32) -> f64 {
    if scale == 0 || scale >= INFINITY_BITS {
        return 0.0;
    }
    let mantissa = u64::from((scale & 0x007f_ffff) | 0x0080_0000);
    let inverse = ((1 << 47) / mantissa) as f64;
    // 2^(119 - exponent).
    let power = f64::from_bits(u64::from(1023 + 119 - (scale >> 23)) << 52);
    inverse * power
}

struct Quantise<'a> {
    dither: Option<(&'a Dither, &'a [u32])>,
    input: &'a [f32],
    scales: &'a [u32],
    values: &'a mut [i8],
    row: usize,
}

impl VectorTask for Quantise<'_> {
    #[inline(always)]
    fn run<const LANES: usize>(self) {
        let input = self.input.chunks_exact(self.row);
        let rows = input.zip(self.values.chunks_exact_mut(self.row));
        for (i, ((input, values), scale)) in rows.zip(self.scales).enumerate() {
            let inverse = inverse_of(*scale);
            if inverse == 0.0 {
                values.fill(0);
                continue;
            }
            let Some((dither, position)) = self.dither else {
                for (value, input) in values.iter_mut().zip(input) {
                    *value = quantum(*input, inverse, 0x8000);
                }
                continue;
            };
            let first = dither.of_row(position, i * self.row);
            let places = 0..self.row as u32;
            for ((value, input), place) in values.iter_mut().zip(input).zip(places) {
                let random = lowbias32(first.wrapping_add(place)) >> 16;
                *value = quantum(*input, inverse, random);
            }
        }
    }
}

/// Exact until it is cut off: 24 bits times 25, in double precision. Wrapping, though nothing wraps, so that a loop over it is
/// vectorised.
#[inline(always)]
fn quantum(value: f32, inverse: f64, dither: u32) -> i8 {
    /// From here on doubles are whole numbers, whose last bits are theirs.
    const WHOLE: f64 = (1u64 << 52) as f64;
    let fixed = f64::from(value.abs()) * inverse;
    let nearest = fixed + WHOLE;
    let is_above = u32::from(nearest - WHOLE > fixed);
    let below = (nearest.to_bits() as u32).wrapping_sub(is_above);
    let magnitude = (below.wrapping_add(dither) >> 16).min(127);
    let sign = value.to_bits() >> 31;
    // The complement and one more, if it is negative.
    (magnitude ^ sign.wrapping_neg()).wrapping_add(sign) as i8
}

/// output = packed times its row's scale, exactly.
pub(crate) fn unpack_int8(packed: &[u32], output: &mut [f32], row: usize) {
    struct Task<'a>(&'a [u32], &'a [i8], &'a mut [f32], usize);
    impl VectorTask for Task<'_> {
        #[inline(always)]
        fn run<const LANES: usize>(self) {
            let Self(scales, values, output, row) = self;
            let rows = output.chunks_exact_mut(row).zip(values.chunks_exact(row));
            for ((output, values), scale) in rows.zip(scales) {
                let scale = f32::from_bits(*scale);
                for (output, value) in output.iter_mut().zip(values) {
                    *output = f32::from(*value) * scale;
                }
            }
        }
    }
    let (scales, values) = packed.split_at(output.len() / row);
    run_vectorised(Task(scales, bytemuck::cast_slice(values), output, row));
}

impl Dither {
    /// What the dither of a number is drawn from, less its place in the row, for the row that begins at `index`.
    fn of_row(&self, position: &[u32], index: usize) -> u32 {
        let [_, step, first, _] = *position else {
            unreachable!("a position is of four words");
        };
        let sample = first.wrapping_add((index / self.sample) as u32);
        let place = (index % self.sample) as u32;
        pcg4d([self.key, step, sample, 0]).wrapping_add(place)
    }
}
