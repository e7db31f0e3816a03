//! How a tensor is packed to cross a link: fewer bits for each number.
//!
//! Kernels pack and unpack at the edges of a stage, so that what is read back from a GPU and written to it is as small as what
//! travels. All of it is exact or rounded in whole numbers: WGSL leaves the rounding of `pack2x16float` and of a product to the
//! device, and a ring has to give the same bits wherever it runs.

use crate::cpu;
use crate::operation::{Kernel, Operation};
use crate::recording::{Recording, View};
use crate::stage::draw_key;
use crate::tensor::{Format, Packed, TensorError};

/// How the activations or gradients of one cut between two stages are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Packing {
    /// 32-bit floats, as they are computed.
    #[default]
    F32,
    /// 16-bit floats, rounded to the nearest; up to 65504, 11 bits precise.
    F16,
    /// 8-bit integers with a scale per row: activations rounded to the nearest, gradients at random with the right mean, so that
    /// what is lost in one step is not lost in all (Gupta and others, "Deep learning with limited numerical precision", 2015).
    Int8,
}

/// The fewest numbers of a row, if its sample has as many: a scale then costs at most a bit a number.
const ROW_MIN: usize = 32;

impl Packing {
    /// How a tensor of this shape, (micro-batch, sample shape), is written.
    pub fn format(self, shape: &[usize]) -> Format {
        match self {
            Self::F32 => Format::F32,
            Self::F16 => Format::F16,
            Self::Int8 => Format::I8 { row: row(shape) },
        }
    }

    /// Packs a row of numbers on the host; in whole or half floats, since there are no rows in it that could share a scale (but see
    /// [`pack_rows`]).
    ///
    /// # Errors
    ///
    /// That they are too many, or that this packing needs rows.
    pub fn pack_vector(self, values: &[f32]) -> Result<Packed, TensorError> {
        let shape = [values.len()];
        match self {
            Self::F32 => Packed::from_f32(&shape, values),
            Self::F16 => {
                let mut words = vec![0; values.len().div_ceil(2)];
                cpu::pack_f16(values, &mut words);
                Packed::from_words(&shape, Format::F16, &words)
            }
            Self::Int8 => Err(TensorError::Rows {
                shape: shape.to_vec(),
                format: Format::I8 { row: 0 },
            }),
        }
    }

    /// Packs all of a tensor of this shape; `dither` is for gradients.
    pub(crate) fn record_pack(
        self,
        shape: &[usize],
        dither: Option<(Dither, View)>,
        (input, packed): (View, View),
        recording: &mut Recording,
    ) {
        match self.format(shape) {
            Format::F32 | Format::U32 => {}
            Format::F16 => recording.push(pack_f16(input, packed)),
            Format::I8 { row } => {
                recording.push(int8_scales(input, packed, row));
                recording.push(pack_int8(dither, input, packed, row));
            }
        }
    }

    /// Unpacks all of a tensor of this shape.
    pub(crate) fn record_unpack(
        self,
        shape: &[usize],
        (packed, output): (View, View),
        recording: &mut Recording,
    ) {
        match self.format(shape) {
            Format::F32 | Format::U32 => {}
            Format::F16 => recording.push(unpack_f16(packed, output)),
            Format::I8 { row } => recording.push(unpack_int8(packed, output, row)),
        }
    }
}

/// Packs numbers on the host in 8 bits, so many of them with one scale: zeros fill up the last row. Rounded at random, drawn for
/// a step and for which of its vectors this is.
///
/// # Errors
///
/// That they are too many, or that rows are empty.
pub fn pack_rows(
    values: &[f32],
    row: usize,
    key: u32,
    (step, vector): (u32, u32),
) -> Result<Packed, TensorError> {
    let format = Format::I8 { row };
    let elements = values.len().checked_next_multiple_of(row);
    let shape = [elements.unwrap_or(values.len())];
    let (Some(elements), Some(words)) = (elements, elements.and_then(|it| format.words(it))) else {
        let shape = shape.to_vec();
        return Err(TensorError::Rows { shape, format });
    };
    let mut rows = values.to_vec();
    rows.resize(elements, 0.0);
    let mut packed = vec![0; words];
    let dither = Dither {
        key,
        sample: elements.max(1),
    };
    cpu::int8_scales(&rows, &mut packed, row);
    cpu::pack_int8(
        Some((&dither, &[0, step, vector, 0])),
        &rows,
        &mut packed,
        row,
    );
    Packed::from_words(&shape, format, &packed)
}

/// The numbers that [`Packing::pack_vector`] or [`pack_rows`] packed, with the zeros of the latter.
///
/// # Errors
///
/// That they were packed otherwise, or are not as many as their shape says.
pub fn unpack_vector(packed: &Packed) -> Result<Vec<f32>, TensorError> {
    let words = || packed.expect(&packed.shape, packed.format);
    let zeros = || vec![0.0; packed.shape.iter().product()];
    match packed.format {
        Format::F32 | Format::U32 => packed.f32s(),
        Format::F16 => {
            let (words, mut values) = (words()?, zeros());
            cpu::unpack_f16(&words, &mut values);
            Ok(values)
        }
        Format::I8 { row } => {
            let (words, mut values) = (words()?, zeros());
            cpu::unpack_int8(&words, &mut values, row);
            Ok(values)
        }
    }
}

/// The numbers that share a scale: of a tensor (micro-batch, sample shape) the last dimension, or where that is shorter than
/// [`ROW_MIN`] the last few that are not, such as the plane of an image's channel; never more than a sample.
fn row(shape: &[usize]) -> usize {
    let sample = shape.get(1..).unwrap_or_default();
    let longer = |row: usize, size: &usize| if row < ROW_MIN { row * size } else { row };
    sample.iter().rev().fold(1, longer)
}

/// What random rounding is drawn from, beside the position: so a result depends neither on who packs nor on where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dither {
    /// Of seed and layer.
    pub key: u32,
    /// Numbers of a sample.
    pub sample: usize,
}

/// The key of the gradient that crosses the cut before a layer, or of the layer's own: a function of the seed and the layer alone,
/// and not what the layer itself draws from.
pub fn dither_key(seed: u64, layer: usize) -> u32 {
    const ROUNDING: u64 = 0x726f_756e_6469_6e67;
    draw_key(seed ^ ROUNDING, layer)
}

/// packed = input as 16-bit floats, two a word, the first in the low half.
pub fn pack_f16(input: View, packed: View) -> Operation {
    let elements = input.elements;
    let source = include_str!("../../../shaders/pack_f16.wgsl");
    let words = Format::F16.words(elements);
    Operation::new(
        "pack_f16",
        [(input, Some(elements))],
        [(packed, words)],
        Kernel::new(source, &[elements], packed.elements),
        |[input], [packed], _| cpu::pack_f16(input, bytemuck::cast_slice_mut(packed)),
    )
}

/// output = packed, as [`pack_f16`] writes it.
pub fn unpack_f16(packed: View, output: View) -> Operation {
    let elements = output.elements;
    let source = include_str!("../../../shaders/unpack_f16.wgsl");
    Operation::new(
        "unpack_f16",
        [(packed, Format::F16.words(elements))],
        [(output, Some(elements))],
        Kernel::new(source, &[elements], packed.elements),
        |[packed], [output], _| cpu::unpack_f16(bytemuck::cast_slice(packed), output),
    )
}

/// The first words of packed = a scale for each row of input; see [`pack_int8`].
pub fn int8_scales(input: View, packed: View, row: usize) -> Operation {
    let elements = input.elements;
    let source = include_str!("../../../shaders/int8_scales.wgsl");
    let rows = elements / row.max(1);
    Operation::new(
        "int8_scales",
        [(input, Some(elements))],
        [(packed, Format::I8 { row }.words(elements))],
        Kernel::new(source, &[rows, row], rows),
        move |[input], [packed], _| {
            cpu::int8_scales(input, bytemuck::cast_slice_mut(packed), row);
        },
    )
}

/// packed, behind its scales, = input in whole numbers of the scale of its row, four a word, the first in the lowest byte;
/// rounded to the nearest, or with a dither drawn for the position (4), unsigned words, of which the second is the step and the
/// third the first sample.
pub fn pack_int8(
    dither: Option<(Dither, View)>,
    input: View,
    packed: View,
    row: usize,
) -> Operation {
    let elements = input.elements;
    let source = include_str!("../../../shaders/pack_int8.wgsl");
    let (draw, position) = dither.unzip();
    // Without a position, input stands in its place, since a shader's bindings are always all there.
    let position = position.map_or((input, Some(elements)), |position| (position, Some(4)));
    let sample = draw.map_or(elements, |draw| draw.sample);
    let sizes = [elements, elements / row.max(1), row, sample];
    let mut kernel = Kernel::new(source, &sizes, elements.div_ceil(4));
    kernel.dimensions.push(draw.map_or(0, |draw| draw.key));
    Operation::new(
        "pack_int8",
        [position, (input, Some(elements))],
        [(packed, Format::I8 { row }.words(elements))],
        kernel.constant("DITHER", draw.is_some()),
        move |[position, input], [packed], _| {
            let dither = draw.as_ref();
            let dither = dither.map(|draw| (draw, bytemuck::cast_slice(position)));
            cpu::pack_int8(dither, input, bytemuck::cast_slice_mut(packed), row);
        },
    )
}

/// output = packed, as [`pack_int8`] writes it.
pub fn unpack_int8(packed: View, output: View, row: usize) -> Operation {
    let elements = output.elements;
    let source = include_str!("../../../shaders/unpack_int8.wgsl");
    Operation::new(
        "unpack_int8",
        [(packed, Format::I8 { row }.words(elements))],
        [(output, Some(elements))],
        Kernel::new(
            source,
            &[elements, elements / row.max(1), row],
            elements.div_ceil(4),
        ),
        move |[packed], [output], _| {
            cpu::unpack_int8(bytemuck::cast_slice(packed), output, row);
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_in_8_bits_comes_back_within_a_scale_and_on_average_as_it_was() {
        let values: Vec<f32> = (0..100).map(|i| (i as f32 - 40.5) / 7.0).collect();
        let mut means = vec![0.0; 128];
        let draws = 400;
        for sample in 0..draws {
            let packed = pack_rows(&values, 32, 5, (3, sample)).expect("rows");
            assert_eq!(
                (packed.shape.as_slice(), packed.bytes.len()),
                (&[128][..], 4 * 4 + 128)
            );
            let unpacked = unpack_vector(&packed).expect("its own");
            assert_eq!(unpacked[100..], [0.0; 28]);
            for ((mean, unpacked), value) in means.iter_mut().zip(unpacked).zip(&values) {
                let scale = 60.0 / 7.0 / 127.0;
                assert!((unpacked - value).abs() <= scale, "{unpacked} of {value}");
                *mean += f64::from(unpacked) / f64::from(draws);
            }
        }
        for (mean, value) in means.iter().zip(&values) {
            let error = (mean - f64::from(*value)).abs();
            // Five standard deviations of the mean of so many draws.
            assert!(
                error < 5.0 * 0.034 / f64::from(draws).sqrt(),
                "{mean} of {value}"
            );
        }
        assert_ne!(
            pack_rows(&values, 32, 5, (3, 0)),
            pack_rows(&values, 32, 5, (3, 1))
        );
        assert_ne!(
            pack_rows(&values, 32, 5, (3, 0)),
            pack_rows(&values, 32, 5, (4, 0))
        );
        assert!(pack_rows(&values, 0, 5, (3, 0)).is_err());
        assert_eq!(
            pack_rows(&[], 32, 5, (3, 0)).map(|packed| packed.bytes),
            Ok(Vec::new())
        );
    }

    #[test]
    fn a_row_is_the_last_dimension_unless_that_is_short() {
        assert_eq!(row(&[16, 256]), 256);
        assert_eq!(row(&[8, 64, 96]), 96, "the width of a token");
        assert_eq!(row(&[16, 8, 14, 14]), 14 * 14, "the plane of a channel");
        assert_eq!(row(&[16, 8, 64, 64]), 64, "a line of a large image");
        assert_eq!(row(&[16, 10]), 10, "never more than a sample");
        assert_eq!(row(&[16, 32, 1, 1]), 32);
        assert_eq!(row(&[16]), 1);
    }
}
