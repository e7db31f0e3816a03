//! How the tensors of a hop are written.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How activations and gradients are written on the link between two stages. Data and labels are not concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TensorCodec {
    /// 32-bit floats: exactly what was computed.
    F32,
    /// 16-bit floats, rounded to the nearest.
    #[default]
    F16,
    /// 8-bit integers with a scale per row: activations rounded to the nearest, gradients at random with the right mean.
    Int8,
}

/// The fewest numbers that share a scale of [`TensorCodec::Int8`], where a sample has as many.
const INT8_ROW_MIN: u64 = 32;

impl TensorCodec {
    /// All of them, the most exact first.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Int8];

    /// The most bytes of a tensor that takes `bytes` in [`TensorCodec::F32`]; scales count as where rows are shortest.
    pub const fn bytes(self, bytes: u64) -> u64 {
        match self {
            Self::F32 => bytes,
            Self::F16 => bytes.div_ceil(2),
            Self::Int8 => bytes.div_ceil(4) + bytes.div_ceil(INT8_ROW_MIN),
        }
    }

    /// Its name in run files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }
}

impl fmt::Display for TensorCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no such codec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no codec: there are f32, f16 and int8")]
pub struct UnknownCodec(String);

impl FromStr for TensorCodec {
    type Err = UnknownCodec;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|codec| codec.name() == text);
        found.ok_or_else(|| UnknownCodec(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_read_back_from_their_names_and_are_ever_smaller() {
        for codec in TensorCodec::ALL {
            assert_eq!(codec.to_string().parse(), Ok(codec));
            let json = serde_json::to_string(&codec).expect("a word");
            assert_eq!(json, format!("\"{codec}\""));
        }
        assert!("bf16".parse::<TensorCodec>().is_err());
        let bytes = TensorCodec::ALL.map(|codec| codec.bytes(4096));
        assert_eq!(bytes, [4096, 2048, 1024 + 128]);
    }
}
