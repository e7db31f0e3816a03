//! What a member has under way: one thing at a time.

use super::Shell;
use super::craft::{Craft, CraftError, Made};
use super::query::Reply;
use futures::future::FutureExt;
use ringtmp_compute::{Executor, Packed};
use ringtmp_core::parameter_server::{Input, Task};
use std::sync::Arc;

/// What is done, and what it was done with.
pub(super) struct Worked {
    pub(super) craft: Craft,
    pub(super) done: Done,
}

pub(super) enum Done {
    Built(Result<(), CraftError>),
    /// A task; and whether it kept its pace, if it has one.
    Task(Result<Made, CraftError>, Option<bool>),
    /// What the user of the device wanted.
    Query(Reply),
}

impl Shell {
    pub(super) fn build(&mut self, mut craft: Craft, executor: Executor) {
        let work = async move {
            let done = Done::Built(craft.build(executor).await);
            Worked { craft, done }
        };
        self.work = work.boxed_local().fuse();
    }

    pub(super) fn begin_task(&mut self, task: Task) {
        let Some(mut craft) = self.craft.take() else {
            unreachable!("one task at a time, after all is built");
        };
        let inputs: Vec<Arc<Packed>> = match &task {
            Task::Load { weights, .. } => weights.iter().map(|(_, payload)| *payload).collect(),
            Task::Merge { partial, own, .. } => vec![*partial, *own],
            Task::Read { .. } | Task::Copy { .. } => Vec::new(),
            Task::Count { gradient, .. } => vec![*gradient],
            Task::Evaluate { .. }
            | Task::Forward { .. }
            | Task::Backward { .. }
            | Task::BackwardLayer { .. } => Vec::new(),
        }
        .into_iter()
        .map(|payload| self.desk.get(payload))
        .collect();
        self.log.task_began(self.clock.now(), &task);
        let clock = self.clock;
        let work = async move {
            let (result, late) = craft.carry_out(clock, &task, &inputs).await;
            let done = Done::Task(result, late);
            Worked { craft, done }
        };
        self.work = work.boxed_local().fuse();
    }

    pub(super) fn worked(&mut self, worked: Worked) -> Option<Input> {
        self.craft = Some(worked.craft);
        let failed = match worked.done {
            Done::Built(Ok(())) => return Some(Input::Built),
            Done::Query(reply) => {
                self.replied(reply);
                return None;
            }
            Done::Task(result, late) => {
                self.log.task_ended(self.clock.now(), late);
                match result {
                    Ok(made) => {
                        let outcome = self.desk.keep_made(made);
                        return Some(Input::Completed { outcome });
                    }
                    Err(error) => error,
                }
            }
            Done::Built(Err(error)) => error,
        };
        Some(Input::Failed {
            reason: failed.to_string(),
        })
    }
}
