//! The name of a dataset, as it stands in a run file.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The most bytes in a location: the length up to which browsers and servers agree to handle an address.
pub const LOCATION_BYTES_MAX: usize = 2048;

/// What to train on. Written as text: `digits` or `idx:LOCATION`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DataSpec {
    /// Digits that the project draws itself.
    Digits,
    /// IDX files in a folder, or below an address; see [`crate::IDX_TRAIN`] and [`crate::IDX_TEST`] for their names.
    Idx {
        /// The folder, or what the address of each file begins with.
        location: String,
    },
}

/// Why a text names no dataset. The writer of the run file can mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataSpecError {
    /// Neither of the known sets.
    #[error(
        "there is no dataset {0:?}; write \"digits\", or \"idx:\" and the folder or address of IDX files"
    )]
    Unknown(String),
    /// `idx:` and nothing after it.
    #[error(
        "\"idx:\" names no place; write the folder or address of the IDX files after the colon"
    )]
    NoLocation,
    /// A location that no folder or address needs.
    #[error(
        "the location after \"idx:\" has {bytes} bytes; at most {LOCATION_BYTES_MAX} are read, so move the files to a shorter path"
    )]
    LocationLength {
        /// Its length.
        bytes: usize,
    },
    /// A location with a line break or the like.
    #[error("the location after \"idx:\" holds the control character {0:?}; remove it")]
    LocationControl(char),
}

impl fmt::Display for DataSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digits => f.write_str("digits"),
            Self::Idx { location } => write!(f, "idx:{location}"),
        }
    }
}

impl FromStr for DataSpec {
    type Err = DataSpecError;

    fn from_str(text: &str) -> Result<Self, DataSpecError> {
        let text = text.trim();
        if text == "digits" {
            return Ok(Self::Digits);
        }
        let Some(location) = text.strip_prefix("idx:").map(str::trim) else {
            return Err(DataSpecError::Unknown(text.chars().take(32).collect()));
        };
        if location.is_empty() {
            return Err(DataSpecError::NoLocation);
        }
        if location.len() > LOCATION_BYTES_MAX {
            return Err(DataSpecError::LocationLength {
                bytes: location.len(),
            });
        }
        match location.chars().find(|character| character.is_control()) {
            Some(control) => Err(DataSpecError::LocationControl(control)),
            None => Ok(Self::Idx {
                location: location.to_owned(),
            }),
        }
    }
}

impl TryFrom<String> for DataSpec {
    type Error = DataSpecError;

    fn try_from(text: String) -> Result<Self, DataSpecError> {
        text.parse()
    }
}

impl From<DataSpec> for String {
    fn from(spec: DataSpec) -> Self {
        spec.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_reads_back_as_it_was_written() {
        for text in [
            "digits",
            "idx:data/mnist",
            "idx:https://example.org/mnist/",
            "idx:C:\\data",
        ] {
            let spec: DataSpec = text.parse().expect("a good spec");
            assert_eq!(spec.to_string(), text);
        }
        let spec: DataSpec = serde_json::from_str("\"idx:x\"").expect("a good spec");
        assert_eq!(serde_json::to_string(&spec).expect("text"), "\"idx:x\"");
        assert!(serde_json::from_str::<DataSpec>("\"idx:\"").is_err());
        assert_eq!(" digits ".parse(), Ok(DataSpec::Digits));
    }

    #[test]
    fn what_names_no_dataset_is_refused_with_advice_of_bounded_length() {
        let refused = |text: &str| text.parse::<DataSpec>().expect_err("a bad spec");
        assert!(matches!(refused("mnist"), DataSpecError::Unknown(_)));
        assert!(matches!(refused(""), DataSpecError::Unknown(_)));
        assert_eq!(refused("idx: "), DataSpecError::NoLocation);
        assert_eq!(refused("idx:a\nb"), DataSpecError::LocationControl('\n'));
        let long = refused(&format!("idx:{}", "x".repeat(1_000_000)));
        assert_eq!(long, DataSpecError::LocationLength { bytes: 1_000_000 });
        assert!(refused(&"y".repeat(1_000_000)).to_string().len() < 200);
    }
}
