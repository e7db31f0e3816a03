//! A sample's dimensions become one.

use super::{Keeps, Layer, Site};
use crate::recording::{Recording, View};
use serde::{Deserialize, Serialize};

/// All dimensions of a sample become one; `torch.nn.Flatten`. Nothing moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flatten {}

impl Layer for Flatten {
    fn describe(&self) -> String {
        "flatten".to_owned()
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        Ok(vec![input.iter().product()])
    }

    fn flops(&self, _input: &[usize]) -> [f64; 3] {
        [0.0; 3]
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn only_reshapes(&self) -> bool {
        true
    }

    fn record_forward(&self, _site: &Site, _recording: &mut Recording) {}

    fn record_backward_input(&self, _site: &Site, _gradient: View, _recording: &mut Recording) {}
}
