//! How the tensors of a hop are written.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How activations and gradients are written on the link between two stages. Data and labels are not concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TensorCodec {
    /// 32-bit floats: exactly what was computed.
    F32,
    /// 16-bit floats, rounded to the nearest.
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
}

/// Which codecs a run asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodecChoice {
    /// [`TensorCodec::F32`] on every hop.
    F32,
    /// [`TensorCodec::F16`] on every hop.
    #[default]
    F16,
    /// [`TensorCodec::Int8`] on every hop.
    Int8,
    /// [`TensorCodec::F16`], but [`TensorCodec::Int8`] on hops whose link would otherwise hold up the ring.
    Auto,
}

impl CodecChoice {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Int8, Self::Auto];

    /// The codec of hops of which nothing is known.
    pub const fn usual(self) -> TensorCodec {
        match self {
            Self::F32 => TensorCodec::F32,
            Self::F16 | Self::Auto => TensorCodec::F16,
            Self::Int8 => TensorCodec::Int8,
        }
    }

    /// Its name in run files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Auto => "auto",
        }
    }
}

impl fmt::Display for CodecChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no such codec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no codec: there are f32, f16, int8 and auto")]
pub struct UnknownCodec(String);

impl FromStr for CodecChoice {
    type Err = UnknownCodec;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|choice| choice.name() == text);
        found.ok_or_else(|| UnknownCodec(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_back_from_their_names() {
        for choice in CodecChoice::ALL {
            assert_eq!(choice.to_string().parse(), Ok(choice));
            let json = serde_json::to_string(&choice).expect("a word");
            assert_eq!(json, format!("\"{choice}\""));
        }
        assert!("bf16".parse::<CodecChoice>().is_err());
    }

    #[test]
    fn codecs_are_ever_smaller() {
        let bytes = TensorCodec::ALL.map(|codec| codec.bytes(4096));
        assert_eq!(bytes, [4096, 2048, 1024 + 128]);
    }
}
