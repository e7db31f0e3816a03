//! The name of a dataset, as it stands in a run file.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The most bytes in a location: the length up to which browsers and servers agree to handle an address.
pub const LOCATION_BYTES_MAX: usize = 2048;

/// What to train on. Written as text: `digits`, `addition`, or what kind of files and where: `idx:LOCATION`,
/// `text:LOCATION`, `csv:LOCATION`.
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
    /// Sums of two two-digit numbers.
    Addition,
    /// A text in UTF-8.
    Text {
        /// The file, or its address.
        location: String,
    },
    /// A table in CSV.
    Csv {
        /// The file, or its address.
        location: String,
    },
}

/// Why a text names no dataset. The writer of the run file can mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataSpecError {
    /// None of the known sets.
    #[error(
        "there is no dataset {0:?}; write \"digits\", \"addition\", or \"idx:\", \"text:\" or \"csv:\" and the place of the files"
    )]
    Unknown(String),
    /// A kind of file and no place after it.
    #[error("\"{kind}:\" names no place; write where the files are after the colon")]
    NoLocation {
        /// The kind.
        kind: &'static str,
    },
    /// A location that no folder or address needs.
    #[error(
        "the location after \"{kind}:\" has {bytes} bytes; at most {LOCATION_BYTES_MAX} are read, so move the files to a shorter path"
    )]
    LocationLength {
        /// The kind.
        kind: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A location with a line break or the like.
    #[error("the location after \"{kind}:\" holds the control character {control:?}; remove it")]
    LocationControl {
        /// The kind.
        kind: &'static str,
        /// The character.
        control: char,
    },
}

impl fmt::Display for DataSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digits => f.write_str("digits"),
            Self::Addition => f.write_str("addition"),
            Self::Idx { location } => write!(f, "idx:{location}"),
            Self::Text { location } => write!(f, "text:{location}"),
            Self::Csv { location } => write!(f, "csv:{location}"),
        }
    }
}

impl FromStr for DataSpec {
    type Err = DataSpecError;

    fn from_str(text: &str) -> Result<Self, DataSpecError> {
        let text = text.trim();
        match text.split_once(':') {
            None if text == "digits" => Ok(Self::Digits),
            None if text == "addition" => Ok(Self::Addition),
            Some(("idx", place)) => location("idx", place).map(|location| Self::Idx { location }),
            Some(("text", place)) => {
                location("text", place).map(|location| Self::Text { location })
            }
            Some(("csv", place)) => location("csv", place).map(|location| Self::Csv { location }),
            Some(_) | None => Err(DataSpecError::Unknown(text.chars().take(32).collect())),
        }
    }
}

fn location(kind: &'static str, text: &str) -> Result<String, DataSpecError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(DataSpecError::NoLocation { kind });
    }
    if text.len() > LOCATION_BYTES_MAX {
        return Err(DataSpecError::LocationLength {
            kind,
            bytes: text.len(),
        });
    }
    match text.chars().find(|character| character.is_control()) {
        Some(control) => Err(DataSpecError::LocationControl { kind, control }),
        None => Ok(text.to_owned()),
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
            "addition",
            "text:data/shakespeare.txt",
            "csv:C:\\iris.csv",
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
        assert!(matches!(refused("addition:x"), DataSpecError::Unknown(_)));
        for kind in ["idx", "text", "csv"] {
            let no_place = refused(&format!("{kind}: "));
            assert_eq!(no_place, DataSpecError::NoLocation { kind });
            let control = refused(&format!("{kind}:a\nb"));
            assert_eq!(
                control,
                DataSpecError::LocationControl {
                    kind,
                    control: '\n'
                }
            );
            let bytes = 1_000_000;
            let long = refused(&format!("{kind}:{}", "x".repeat(bytes)));
            assert_eq!(long, DataSpecError::LocationLength { kind, bytes });
        }
        assert!(refused(&"y".repeat(1_000_000)).to_string().len() < 200);
    }
}
