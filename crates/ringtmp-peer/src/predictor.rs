//! A trained model that tells classes of rows of numbers.

use crate::run_file::Run;
use crate::solo;
use ringtmp_compute::{ComputeError, Executor, Packed, Parameter, Stage, StageConfig};

/// Rows that are worked on at once: enough to keep a device busy, few enough for any.
const ROWS: usize = 32;

/// A trained model.
#[derive(Debug)]
pub struct Predictor {
    /// The whole model.
    stage: Stage,
    /// Of one sample.
    shape: Vec<usize>,
    classes: usize,
}

/// How probable the model holds each class; they add up to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// By class.
    pub probabilities: Vec<f32>,
}

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum PredictorError {
    /// The run's samples are text.
    #[error("the model of this run takes text, not numbers: give it a prompt")]
    Text,
    /// Rows of another length.
    #[error("the file has samples of {found} numbers, the model takes {needed}")]
    Numbers {
        /// In the file.
        found: usize,
        /// In the model.
        needed: usize,
    },
    /// The device cannot compute it.
    #[error(transparent)]
    Compute(#[from] ComputeError),
}

impl Predictor {
    /// A model with these weights.
    ///
    /// # Errors
    ///
    /// That the run is one of text, or what keeps this device from holding its model.
    pub async fn new(
        run: &Run,
        weights: &[Parameter],
        executor: Executor,
    ) -> Result<Self, PredictorError> {
        if run.takes_text() {
            return Err(PredictorError::Text);
        }
        let config = StageConfig {
            micro_batch: ROWS,
            batch: ROWS,
            ..solo::config(run)
        };
        let mut stage = Stage::new(config, executor).await?;
        stage.set_parameters(weights)?;
        Ok(Self {
            stage,
            shape: run.input_shape().to_vec(),
            classes: run.classes(),
        })
    }

    /// Numbers of a row.
    pub fn columns(&self) -> usize {
        self.shape.iter().product()
    }

    /// What rows of `columns` numbers show, one after the other.
    ///
    /// # Errors
    ///
    /// That the model takes other rows, or what the device cannot compute.
    pub async fn predict(
        &mut self,
        numbers: &[f32],
        columns: usize,
    ) -> Result<Vec<Prediction>, PredictorError> {
        let needed = self.columns();
        if columns != needed {
            let found = columns;
            return Err(PredictorError::Numbers { found, needed });
        }
        let shape: Vec<usize> = std::iter::once(ROWS)
            .chain(self.shape.iter().copied())
            .collect();
        let mut predictions = Vec::new();
        for rows in numbers.chunks(ROWS * columns) {
            let mut padded = rows.to_vec();
            padded.resize(ROWS * columns, 0.0);
            let input = Packed::from_f32(&shape, &padded).map_err(ComputeError::Tensor)?;
            let logits = self.stage.forward(0, &input).await?;
            let logits = logits.f32s().map_err(ComputeError::Tensor)?;
            let each = logits.chunks(self.classes).take(rows.len() / columns);
            predictions.extend(each.map(|logits| Prediction {
                probabilities: probabilities(logits),
            }));
        }
        Ok(predictions)
    }
}

impl Prediction {
    /// The likeliest class.
    pub fn class(&self) -> usize {
        likeliest(&self.probabilities)
    }
}

/// The largest number, of equal ones the first.
pub(crate) fn likeliest(numbers: &[f32]) -> usize {
    let mut best = 0;
    for (place, number) in numbers.iter().enumerate() {
        if *number > numbers[best] {
            best = place;
        }
    }
    best
}

/// Softmax.
pub(crate) fn probabilities(logits: &[f32]) -> Vec<f32> {
    let most = logits[likeliest(logits)];
    let weight = |logit: &f32| f64::from(logit - most).exp();
    let sum: f64 = logits.iter().map(weight).sum();
    let share = |logit| (weight(logit) / sum) as f32;
    logits.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_shares_of_the_exponentials_however_large_the_logits() {
        let shares = probabilities(&[500.0, 500.0 + 3f32.ln(), f32::NEG_INFINITY]);
        for (share, expected) in shares.iter().zip([0.25, 0.75, 0.0]) {
            assert!((share - expected).abs() < 1e-5, "{shares:?}");
        }
        assert_eq!(likeliest(&[1.0, 2.0, 2.0]), 1);
    }
}
