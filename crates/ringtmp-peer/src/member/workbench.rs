//! The arithmetic of a run's members without links and clock: for whoever imitates these, as the simulator does.

use super::craft::{Craft, CraftError, Learnt, Made};
use crate::run_file::Run;
use ringtmp_compute::{ComputeError, Executor, Packed};
use ringtmp_core::parameter_server::{Job, MemberIndex, Task};
use ringtmp_data::Dataset;
use std::fmt;
use std::sync::Arc;

/// What all members of a run compute with.
pub struct Workbench {
    job: Arc<Job>,
    crafts: Vec<Craft>,
}

impl fmt::Debug for Workbench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workbench")
            .field("members", &self.crafts.len())
            .finish_non_exhaustive()
    }
}

impl Workbench {
    /// Takes the memory of all members, with the first weights in it.
    ///
    /// # Errors
    ///
    /// What this device cannot hold.
    pub async fn new(
        run: &Run,
        job: &Job,
        dataset: Dataset,
        executor: &Executor,
    ) -> Result<Self, CraftError> {
        let (job, dataset) = (Arc::new(job.clone()), Arc::new(dataset));
        let mut crafts = Vec::new();
        for me in (0..job.layout.members).map(MemberIndex) {
            let mut craft = Craft::new(run, &job, me, Some(dataset.clone()));
            Box::pin(craft.build(executor.clone())).await?;
            crafts.push(craft);
        }
        Ok(Self { job, crafts })
    }

    /// Carries out a member's task on the numbers that it names, in order.
    ///
    /// # Errors
    ///
    /// What cannot be computed.
    ///
    /// # Panics
    ///
    /// If there is no such member, or it has no such task.
    pub async fn work(
        &mut self,
        member: MemberIndex,
        task: &Task,
        inputs: &[Arc<Packed>],
    ) -> Result<Made, CraftError> {
        Box::pin(self.crafts[usize::from(member.0)].work(task, inputs)).await
    }

    /// What the first worker has learnt.
    ///
    /// # Errors
    ///
    /// That its device does not give it.
    pub async fn learnt(&self) -> Result<Learnt, ComputeError> {
        self.crafts[usize::from(self.job.layout.workers[0].0)]
            .learnt()
            .await
    }
}
