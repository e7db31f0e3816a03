//! Tensors on the host, as they cross a link.

/// The most bytes of a tensor: a frame of the wire holds no more.
pub const TENSOR_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most dimensions of a tensor.
pub const RANK_MAX: usize = 4;

/// How the numbers of a tensor are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// 32-bit floats.
    F32,
    /// 32-bit unsigned integers.
    U32,
    /// 16-bit floats (IEEE 754 binary16).
    F16,
    /// First a scale for each row, a 32-bit float, then all numbers as 8-bit integers, which count scales.
    I8 {
        /// Numbers that share a scale.
        row: usize,
    },
}

impl Format {
    /// Bytes of so many numbers, if they are whole rows and can be counted.
    pub fn bytes(self, elements: usize) -> Option<usize> {
        match self {
            Self::F32 | Self::U32 => elements.checked_mul(4),
            Self::F16 => elements.checked_mul(2),
            Self::I8 { row } => {
                let whole = elements.checked_rem(row)? == 0;
                let scales = whole.then_some(elements / row)?.checked_mul(4)?;
                scales.checked_add(elements)
            }
        }
    }

    /// Words of 32 bits that hold them.
    pub(crate) fn words(self, elements: usize) -> Option<usize> {
        self.bytes(elements).map(|bytes| bytes.div_ceil(4))
    }
}

/// A tensor as bytes: little endian, outermost dimension first.
///
/// The fields are public, so a value may come from remote input unchecked; whoever reads one goes through
/// [`Packed::expect`], [`Packed::f32s`] or [`Packed::u32s`], which refuse what does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// How the numbers are written.
    pub format: Format,
    /// The numbers.
    pub bytes: Vec<u8>,
}

/// Why a tensor is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// More than [`RANK_MAX`] dimensions or [`TENSOR_BYTES_MAX`] bytes, or more than can be counted.
    #[error("its shape {0:?} is over the limits")]
    TooLarge(Vec<usize>),
    /// Bytes and shape do not go together.
    #[error("its shape {shape:?} needs {expected} bytes and it has {actual}")]
    Length {
        /// Its shape.
        shape: Vec<usize>,
        /// By the shape.
        expected: usize,
        /// By count.
        actual: usize,
    },
    /// Numbers with scales that are not whole rows.
    #[error("its shape {shape:?} cannot be written as {format:?}")]
    Rows {
        /// Its shape.
        shape: Vec<usize>,
        /// With the length of a row.
        format: Format,
    },
    /// Not the shape that is taken here.
    #[error("its shape is {actual:?} where {expected:?} is taken")]
    Shape {
        /// As taken.
        expected: Vec<usize>,
        /// As given.
        actual: Vec<usize>,
    },
    /// Not the format that is taken here.
    #[error("it is written as {actual:?} where {expected:?} is taken")]
    Format {
        /// As taken.
        expected: Format,
        /// As given.
        actual: Format,
    },
}

impl Packed {
    /// A tensor of bytes that somebody sent.
    pub fn new(shape: Vec<usize>, format: Format, bytes: Vec<u8>) -> Result<Self, TensorError> {
        let packed = Self {
            shape,
            format,
            bytes,
        };
        packed.check()?;
        Ok(packed)
    }

    /// A tensor of floats.
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Result<Self, TensorError> {
        Self::from_words(shape, Format::F32, bytemuck::cast_slice(values))
    }

    /// A tensor of unsigned integers.
    pub fn from_u32(shape: &[usize], values: &[u32]) -> Result<Self, TensorError> {
        Self::from_words(shape, Format::U32, values)
    }

    /// Its floats.
    pub fn f32s(&self) -> Result<Vec<f32>, TensorError> {
        self.expect_format(Format::F32)?;
        self.check()?;
        Ok(self.words().into_iter().map(f32::from_bits).collect())
    }

    /// Its unsigned integers.
    pub fn u32s(&self) -> Result<Vec<u32>, TensorError> {
        self.expect_format(Format::U32)?;
        self.check()?;
        Ok(self.words())
    }

    /// Its 32-bit words, the last filled up with zeros, if it has this format and shape.
    pub fn expect(&self, shape: &[usize], format: Format) -> Result<Vec<u32>, TensorError> {
        self.expect_format(format)?;
        if self.shape != shape {
            let actual = self.shape.iter().copied().take(2 * RANK_MAX).collect();
            return Err(TensorError::Shape {
                expected: shape.to_vec(),
                actual,
            });
        }
        self.check()?;
        Ok(self.words())
    }

    /// Whether none of its numbers is infinite or NaN, nor becomes so when it is unpacked. Of one whose bytes fit its shape.
    pub fn is_finite(&self) -> bool {
        /// Whether no word has all bits of the exponent.
        fn all_finite<const N: usize>(
            bytes: &[u8],
            exponent: u32,
            word: fn([u8; N]) -> u32,
        ) -> bool {
            let (words, _) = bytes.as_chunks::<N>();
            // The largest rather than the first that is not: a loop that always ends at the end is vectorised.
            let exponents = words.iter().map(|bytes| word(*bytes) & exponent);
            exponents.fold(0, u32::max) < exponent
        }
        let scales = |row: usize| {
            let elements: usize = self.shape.iter().product();
            &self.bytes[..4 * (elements / row)]
        };
        match self.format {
            Format::U32 => true,
            Format::F32 => all_finite(&self.bytes, 0x7f80_0000, u32::from_le_bytes),
            Format::F16 => all_finite(&self.bytes, 0x7c00, |bytes| {
                u16::from_le_bytes(bytes).into()
            }),
            Format::I8 { row } => {
                let (scales, _) = scales(row).as_chunks::<4>();
                let lowest = f32::from(i8::MIN);
                let mut scales = scales.iter().map(|scale| f32::from_le_bytes(*scale));
                scales.all(|scale| (scale * lowest).is_finite())
            }
        }
    }

    pub(crate) fn from_words(
        shape: &[usize],
        format: Format,
        words: &[u32],
    ) -> Result<Self, TensorError> {
        let mut bytes = vec![0; 4 * words.len()];
        let (places, _) = bytes.as_chunks_mut::<4>();
        for (place, word) in places.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        let elements = shape
            .iter()
            .try_fold(1usize, |n, size| n.checked_mul(*size));
        if let Some(used) = elements.and_then(|elements| format.bytes(elements)) {
            bytes.truncate(used);
        }
        Self::new(shape.to_vec(), format, bytes)
    }

    fn check(&self) -> Result<(), TensorError> {
        // Also of what it takes once it is unpacked.
        let elements = self
            .shape
            .iter()
            .try_fold(1usize, |elements, size| elements.checked_mul(*size))
            .filter(|elements| *elements <= TENSOR_BYTES_MAX / 4)
            .filter(|_| self.shape.len() <= RANK_MAX);
        let Some(elements) = elements else {
            let shape = self.shape.iter().copied().take(2 * RANK_MAX).collect();
            return Err(TensorError::TooLarge(shape));
        };
        let format = self.format;
        let (shape, actual) = (self.shape.clone(), self.bytes.len());
        match format.bytes(elements) {
            Some(expected) if expected == actual => Ok(()),
            Some(expected) => Err(TensorError::Length {
                shape,
                expected,
                actual,
            }),
            None => Err(TensorError::Rows { shape, format }),
        }
    }

    fn expect_format(&self, expected: Format) -> Result<(), TensorError> {
        let actual = self.format;
        if actual == expected {
            Ok(())
        } else {
            Err(TensorError::Format { expected, actual })
        }
    }

    fn words(&self) -> Vec<u32> {
        let (words, rest) = self.bytes.as_chunks::<4>();
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        let last = (!rest.is_empty()).then_some(last);
        let all = words.iter().copied().chain(last);
        all.map(u32::from_le_bytes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_read_back_with_their_bits() {
        let values = [1.5, -0.0, f32::NAN, f32::MIN_POSITIVE / 2.0];
        let packed = Packed::from_f32(&[2, 2], &values).expect("four values for 2 x 2");
        assert_eq!(&packed.bytes[..4], &1.5f32.to_le_bytes());
        let back = packed.f32s().expect("floats");
        assert!(
            back.iter()
                .zip(&values)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
        assert!(matches!(packed.u32s(), Err(TensorError::Format { .. })));
    }

    #[test]
    fn shapes_that_do_not_fit_their_bytes_are_refused() {
        let refused = |shape: &[usize], bytes: usize| {
            Packed::new(shape.to_vec(), Format::F32, vec![0; bytes]).is_err()
        };
        assert!(!refused(&[2, 3], 24));
        assert!(refused(&[2, 3], 23));
        assert!(refused(&[usize::MAX, 2], 8), "overflow");
        assert!(
            refused(&[usize::MAX / 4 + 2], 4),
            "overflow that wraps to 4"
        );
        assert!(refused(&[1; RANK_MAX + 1], 4), "rank");
        assert!(refused(&[TENSOR_BYTES_MAX / 4 + 1], 4), "size");
        assert!(!refused(&[], 4), "a scalar");
        assert!(!refused(&[0], 0), "an empty tensor");
    }

    #[test]
    fn what_is_not_finite_is_found_wherever_it_is_and_however_it_is_written() {
        let finite = |format, bytes: &[u8]| {
            let elements = match format {
                Format::I8 { row } => row,
                other => bytes.len() / other.bytes(1).expect("one"),
            };
            Packed::new(vec![elements], format, bytes.to_vec())
                .expect("as many")
                .is_finite()
        };
        let f32s = |values: [f32; 3]| values.map(f32::to_le_bytes).concat();
        assert!(finite(
            Format::F32,
            &f32s([1.0, -f32::MAX, f32::MIN_POSITIVE])
        ));
        assert!(!finite(Format::F32, &f32s([1.0, 2.0, f32::NAN])));
        assert!(!finite(Format::F32, &f32s([f32::NEG_INFINITY, 2.0, 1.0])));
        let f16s = |values: [u16; 3]| values.map(u16::to_le_bytes).concat();
        assert!(finite(Format::F16, &f16s([0x7bff, 0x8000, 0xfbff])));
        assert!(!finite(Format::F16, &f16s([0, 0x7c00, 0])));
        assert!(!finite(Format::F16, &f16s([0, 0, 0xfe00])));
        let i8s = |scale: f32| [&scale.to_le_bytes()[..], &[127, 128]].concat();
        let row = Format::I8 { row: 2 };
        assert!(finite(row, &i8s(0.0)) && finite(row, &i8s(f32::MAX / 129.0)));
        assert!(!finite(row, &i8s(f32::NAN)) && !finite(row, &i8s(f32::MAX / 100.0)));
    }

    #[test]
    fn an_error_about_a_huge_rank_stays_short() {
        let packed = Packed {
            shape: vec![1; 1_000_000],
            format: Format::F32,
            bytes: vec![0; 4],
        };
        let error = packed.expect(&[1], Format::F32).expect_err("wrong shape");
        assert!(error.to_string().len() < 200);
        assert!(
            packed
                .f32s()
                .is_err_and(|error| error.to_string().len() < 200)
        );
    }
}
