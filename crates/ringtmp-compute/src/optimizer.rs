//! Optimizers: how gradients change weights.

use crate::recording::{Operation, Recording, View};
use serde::{Deserialize, Serialize};

/// An optimizer as a run file names it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerSpec {
    /// Stochastic gradient descent; `torch.optim.SGD` without momentum.
    Sgd {
        /// The step along the gradient, above zero.
        learning_rate: f32,
    },
}

impl OptimizerSpec {
    /// Refuses what cannot train, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Self::Sgd { learning_rate } = self;
        let usable = learning_rate.is_finite() && *learning_rate > 0.0;
        if usable {
            Ok(())
        } else {
            Err(format!("a learning rate of {learning_rate}"))
        }
    }

    /// Updates one run of parameters by its gradients, and sets the gradients to zero.
    pub(crate) fn record_update(
        &self,
        parameters: View,
        gradients: View,
        recording: &mut Recording,
    ) {
        match self {
            Self::Sgd { learning_rate } => {
                recording.push(Operation::Sgd {
                    parameters,
                    gradients,
                    learning_rate: *learning_rate,
                });
            }
        }
    }
}
