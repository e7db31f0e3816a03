//! Tensors on the host, as they cross a link.

/// The most bytes of a tensor: a frame of the wire holds no more.
pub const TENSOR_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most dimensions of a tensor.
pub const RANK_MAX: usize = 4;

/// How the numbers of a tensor are written. Every number takes one word of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// 32-bit floats.
    F32,
    /// 32-bit unsigned integers.
    U32,
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

    /// Its 32-bit words, if it has this format and shape.
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

    pub(crate) fn from_words(
        shape: &[usize],
        format: Format,
        words: &[u32],
    ) -> Result<Self, TensorError> {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Self::new(shape.to_vec(), format, bytes)
    }

    fn check(&self) -> Result<(), TensorError> {
        let bytes = self
            .shape
            .iter()
            .try_fold(4usize, |bytes, size| bytes.checked_mul(*size));
        match bytes {
            Some(expected) if expected <= TENSOR_BYTES_MAX && self.shape.len() <= RANK_MAX => {
                let actual = self.bytes.len();
                if actual == expected {
                    return Ok(());
                }
                Err(TensorError::Length {
                    shape: self.shape.clone(),
                    expected,
                    actual,
                })
            }
            _ => {
                let shape = self.shape.iter().copied().take(2 * RANK_MAX).collect();
                Err(TensorError::TooLarge(shape))
            }
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
        let (words, _) = self.bytes.as_chunks::<4>();
        words.iter().map(|word| u32::from_le_bytes(*word)).collect()
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
