//! Updates, and the norms of gradients.

use super::{Stage, StageConfig};
use crate::error::ComputeError;
use crate::model::elements;
use crate::optimizer::clip_factor;
use crate::recording::Instance;

/// The sum of the squares of one parameter's gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientSquares {
    /// The layer, counted in the model.
    pub layer: usize,
    /// The parameter.
    pub name: String,
    /// The sum.
    pub sum: f64,
}

/// Labels of a step of a sound model: the rows of its output.
pub(super) fn labels_max(config: &StageConfig) -> Result<u64, ComputeError> {
    let shapes = config.model.shapes()?;
    let output = shapes.last().and_then(|shape| shape.split_last());
    let rows = output.map_or(1, |(_, rows)| elements(rows));
    Ok((rows * config.batch) as u64)
}

impl Stage {
    /// Lets the optimizer make the next version of the weights from the newest, in the place of the oldest if there is no room
    /// for one more, and sets the gradients to zero; `step` is counted from 0 over the whole run. All labels of the step
    /// counted. The future may complete while a GPU still works.
    ///
    /// Where gradients are clipped by their norm, it is taken over this stage, which therefore has to hold the whole model;
    /// stages that share one use [`Stage::gradient_squares`] and [`Stage::update_with`].
    pub async fn update(&mut self, step: u64) -> Result<(), ComputeError> {
        self.update_of(step, self.labels_max()).await
    }

    /// Likewise, where so many `labels` of the step counted: gradients are those of the mean over them, whatever the cut into
    /// micro-batches (`torch.nn.CrossEntropyLoss` with `ignore_index`, over the whole batch). Where none did, they are zero.
    pub async fn update_of(&mut self, step: u64, labels: u64) -> Result<(), ComputeError> {
        if self.config.optimizer.clip_norm.is_none() {
            return self.update_with(step, labels, None).await;
        }
        if self.config.layers != (0..self.config.model.layers.len()) {
            return Err(ComputeError::Config(
                "gradients are clipped by the norm of all stages' together: use update_with"
                    .to_owned(),
            ));
        }
        let squares = self.gradient_squares().await?;
        let last_first = squares.iter().rev().map(|squares| squares.sum);
        let sum = last_first.fold(0.0, |sum, square| sum + square);
        self.update_with(step, labels, Some(sum)).await
    }

    /// Likewise, of a stage that may hold a part of the model. Where gradients are clipped, `square_sum` is the sum of
    /// [`Stage::gradient_squares`] of all stages, added parameter by parameter, the model's last first.
    pub async fn update_with(
        &mut self,
        step: u64,
        labels: u64,
        square_sum: Option<f64>,
    ) -> Result<(), ComputeError> {
        let mean = self.mean_factor(labels);
        let clip = match (self.config.optimizer.clip_norm, square_sum) {
            (None, _) => 1.0,
            (Some(norm), Some(sum)) => clip_factor(sum * mean * mean, norm),
            (Some(_), None) => {
                let reason = "gradients are clipped, and nobody told the sum of their squares";
                return Err(ComputeError::Config(reason.to_owned()));
            }
        };
        self.update_scaled(step, (mean * f64::from(clip)) as f32)
            .await
    }

    /// What gradients have to be multiplied by where so many labels of a step counted: until the update they are divided by the
    /// number of labels that there can be, since nobody knows during a step how many of them will count.
    pub fn mean_factor(&self, labels: u64) -> f64 {
        match labels {
            0 => 1.0,
            labels => self.labels_max() as f64 / labels as f64,
        }
    }

    /// Labels of a step, whether they count or not: one for each sample, or for each of its tokens.
    pub fn labels_max(&self) -> u64 {
        self.labels_max
    }

    /// An update with all gradients multiplied by `scale` first.
    async fn update_scaled(&mut self, step: u64, scale: f32) -> Result<(), ComputeError> {
        if !scale.is_finite() {
            return Err(ComputeError::NonFiniteGradients);
        }
        let updates = self.versions.newest();
        if step != updates {
            return Err(ComputeError::UpdateOutOfTurn { step, updates });
        }
        let versions = self.versions.advanced();
        let [from, to] = [updates, versions.newest()].map(|version| Instance {
            slot: 0,
            version: versions.place(version),
        });
        for buffer in &self.plan.versioned {
            self.program.copy(*buffer, from, to);
        }
        let numbers = self.config.optimizer.coefficients(step, scale);
        let view = self.plan.coefficients;
        self.program.write(view, to, bytemuck::cast_slice(&numbers));
        self.program.run(self.plan.update, to, &[]).await?;
        self.versions = versions;
        Ok(())
    }

    /// The squares of the gradients so far, before [`Stage::mean_factor`], parameter by parameter in the order of layers.
    pub async fn gradient_squares(&mut self) -> Result<Vec<GradientSquares>, ComputeError> {
        let (recording, views) = &self.plan.squares;
        let words = self
            .program
            .run(*recording, Instance::default(), views)
            .await?;
        let plans = self.plan.parameters.iter();
        let squares = plans.zip(words).map(|(plan, words)| GradientSquares {
            layer: plan.layer,
            name: plan.name.clone(),
            sum: words
                .into_iter()
                .map(|word| f64::from(f32::from_bits(word)))
                .sum(),
        });
        Ok(squares.collect())
    }
}
