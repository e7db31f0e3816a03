//! `[data]`: what to train on.

use super::RunFileError;
use ringtmp_core::schedule::DataSource;
use ringtmp_data::{DataSpec, Order, Split};
use serde::{Deserialize, Serialize};

/// What to train on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataTable {
    /// Where samples come from: `digits`, `addition`, `idx:LOCATION`, `text:LOCATION` or `csv:LOCATION`. In a room a location is
    /// a path at the signalling server, in `ringtmp train` one on this device. Where it is not given it is `addition` for a
    /// model of text and `digits` for any other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// Whose samples are trained on: `one` (the first device draws them all) or `every` (each device its own, which travel round
    /// the ring to the first).
    pub source: DataSource,
    /// How the data are divided where every device has its own: `even`, or `by-label`, each class at one device.
    pub split: Split,
    /// The order of samples: `shuffled` or `sequential`.
    pub order: Order,
}

impl Default for DataTable {
    fn default() -> Self {
        Self {
            set: None,
            source: DataSource::One,
            split: Split::Even,
            order: Order::Shuffled,
        }
    }
}

impl DataTable {
    /// One set, shuffled.
    pub fn set(set: impl Into<String>) -> Self {
        Self {
            set: Some(set.into()),
            ..Self::default()
        }
    }

    /// What is named, or the usual for a model of text or of numbers.
    pub(super) fn spec(&self, model_takes_text: bool) -> Result<DataSpec, RunFileError> {
        let data = match &self.set {
            Some(set) => set.parse()?,
            None if model_takes_text => DataSpec::Addition,
            None => DataSpec::Digits,
        };
        let has_classes = match data {
            DataSpec::Digits | DataSpec::Idx { .. } | DataSpec::Csv { .. } => true,
            DataSpec::Addition | DataSpec::Text { .. } => false,
        };
        if self.split == Split::Even || has_classes && self.source == DataSource::Every {
            return Ok(data);
        }
        let rule = "even, unless data.source is every and the data have one label a sample";
        Err(RunFileError::out_of_range("data.split", "by-label", rule))
    }
}
