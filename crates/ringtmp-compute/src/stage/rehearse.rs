//! Tasks without a micro-batch, to see what they take.

use super::Stage;
use crate::error::ComputeError;
use crate::recording::{Instance, View};

/// A task that can be rehearsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rehearsal {
    /// F, at the tail with the loss.
    Forward,
    /// B.
    BackwardInput,
    /// W.
    BackwardWeights,
    /// The optimizer's update.
    Update,
}

impl Stage {
    /// Plays a task so many times over whatever its buffers hold, and returns when the device has done all of them. Only one
    /// number is read back at the end, so that a short task is not hidden behind the way to the device and back.
    ///
    /// Weights and gradients mean nothing afterwards: this is for a stage made to be measured.
    ///
    /// # Errors
    ///
    /// What the device cannot compute.
    pub async fn rehearse(&mut self, task: Rehearsal, times: u32) -> Result<(), ComputeError> {
        let recording = match task {
            Rehearsal::Forward => match &self.plan.loss {
                Some((recording, _)) => *recording,
                None => self.plan.forward,
            },
            Rehearsal::BackwardInput => self.plan.backward_input,
            Rehearsal::BackwardWeights => self.plan.backward_weights,
            Rehearsal::Update => self.plan.update,
        };
        let first = Instance::default();
        for _ in 1..times {
            self.program.run(recording, first, &[]).await?;
        }
        // Work is done in the order in which it was handed over, so that any number will do.
        let corner = View {
            elements: 1,
            ..self.plan.coefficients
        };
        self.program.run(recording, first, &[corner]).await?;
        Ok(())
    }
}
