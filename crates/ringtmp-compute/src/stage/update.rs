//! Updates, and the norms of gradients.

use super::Stage;
use crate::error::ComputeError;
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

impl Stage {
    /// Lets the optimizer make the next version of the weights from the newest, in the place of the oldest if there is no room
    /// for one more, and sets the gradients to zero; `step` is counted from 0 over the whole run. The future may complete while
    /// a GPU still works.
    ///
    /// Where gradients are clipped by their norm, it is taken over this stage, which therefore has to hold the whole model;
    /// stages that share one use [`Stage::gradient_squares`] and [`Stage::update_scaled`].
    pub async fn update(&mut self, step: u64) -> Result<(), ComputeError> {
        let Some(norm) = self.config.optimizer.clip_norm else {
            return self.update_scaled(step, 1.0).await;
        };
        if self.config.layers != (0..self.config.model.layers.len()) {
            return Err(ComputeError::Config(
                "gradients are clipped by the norm of all stages' together: use update_scaled"
                    .to_owned(),
            ));
        }
        let squares = self.gradient_squares().await?;
        let sum = squares.iter().map(|squares| squares.sum).sum();
        self.update_scaled(step, clip_factor(sum, norm)).await
    }

    /// The same with all gradients multiplied by `scale` first: [`clip_factor`] of the sum of the squares of all stages, in
    /// the order of layers.
    pub async fn update_scaled(&mut self, step: u64, scale: f32) -> Result<(), ComputeError> {
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

    /// The squares of the gradients so far, parameter by parameter in the order of layers.
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
