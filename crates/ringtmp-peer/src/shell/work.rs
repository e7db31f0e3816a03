//! Work: jobs go to the workshop one at a time, and what came of them to the node.

use super::Shell;
use super::record::paced;
use crate::progress::Progress;
use crate::workshop::{Done, Job, WorkError, Workshop};
use futures::future::FutureExt;
use ringtmp_core::ids::{Epoch, LayerIndex, Version};
use ringtmp_core::node::{Input, Outcome};
use ringtmp_core::schedule::Task;
use std::collections::BTreeMap;
use std::time::Duration;

/// A job that is done, and the workshop back.
#[derive(Debug)]
pub(super) struct Worked {
    workshop: Workshop,
    epoch: Epoch,
    result: Result<Done, WorkError>,
    /// Of a task: whether it kept its pace, if it has one.
    late: Option<bool>,
}

impl Shell {
    /// Begins the next job, if there is one and the workshop is here.
    pub(super) fn begin_work(&mut self) {
        if self.jobs.is_empty() && !self.reopen_due {
            return;
        }
        let Some(mut workshop) = self.workshop.take() else {
            return;
        };
        if std::mem::take(&mut self.reopen_due) {
            let is_gone = self.gpu_is_gone;
            let work = async move {
                let result = Ok(Done::Reopened(workshop.reopen(is_gone).await));
                Worked {
                    workshop,
                    epoch: Epoch::default(),
                    result,
                    late: None,
                }
            };
            self.work = work.boxed_local().fuse();
            return;
        }
        let Some(job) = self.jobs.pop_front() else {
            return;
        };
        let clock = self.clock;
        if let Job::Task { task, .. } = &job {
            self.record.task_began(clock.now(), task);
        }
        let work = async move {
            let epoch = job.epoch();
            let (result, late) = match job {
                Job::Task { task, .. } => {
                    let pace = workshop.pace();
                    paced(clock, pace, &task, workshop.work(job)).await
                }
                Job::Measure { .. }
                | Job::Build { .. }
                | Job::Snapshot { .. }
                | Job::Digest { .. } => (workshop.work(job).await, None),
            };
            Worked {
                workshop,
                epoch,
                result,
                late,
            }
        };
        self.work = work.boxed_local().fuse();
    }

    /// What the node is told of a job that is done.
    pub(super) fn worked(&mut self, worked: Worked, progress: &mut Progress) -> Input {
        let Worked {
            workshop,
            epoch,
            result,
            late,
        } = worked;
        self.workshop = Some(workshop);
        self.record.task_ended(self.clock.now(), late);
        self.record.hand_on_if_many(self.node.clock());
        match result {
            Ok(Done::Measured(profile)) => profile.map_or(Input::Tick, Input::Measured),
            Ok(Done::Built) => Input::Built { epoch },
            Ok(Done::Copies {
                version,
                copies,
                took,
            }) => self.copied(epoch, version, copies, took),
            Ok(Done::Task { task, output, told }) => {
                if let Task::Update { step, .. } = task {
                    if self.fresh.updated(step) {
                        progress.fresh(self.fresh.shown());
                    }
                    self.write_again(step, progress);
                }
                let payload = output.map(|tensors| self.payloads.keep(tensors));
                Input::Completed {
                    epoch,
                    task,
                    outcome: Outcome { payload, ..told },
                }
            }
            Ok(Done::Digests(digests, last)) => {
                // Unless another plan has come meanwhile, which goes on.
                if self.node.plan().is_some_and(|plan| plan.epoch == epoch) {
                    self.vault.keep_last(last);
                    self.node.handle(self.clock.now(), Input::HasLast { epoch });
                }
                // The last report, so that what is shown in the end is all there was.
                self.report(progress);
                Input::Digested {
                    epoch,
                    digests,
                    links: self.links.traffic_in_the_end(),
                }
            }
            Ok(Done::Reopened(executor)) => self.reopened(executor, progress),
            Err(error) if error.is_of_device() => {
                self.device_lost(epoch, error.to_string(), progress)
            }
            Err(error) => Input::Failed {
                epoch,
                reason: error.to_string(),
            },
        }
    }

    fn copied(
        &mut self,
        epoch: Epoch,
        version: Version,
        copies: BTreeMap<usize, Vec<u8>>,
        took: Duration,
    ) -> Input {
        let told = copies.iter().map(|(layer, bytes)| {
            let layer = u16::try_from(*layer).unwrap_or(u16::MAX);
            (LayerIndex(layer), bytes.len() as u64)
        });
        let told = told.collect();
        self.vault.keep(version, copies);
        Input::Snapped {
            epoch,
            version,
            copies: told,
            took,
        }
    }
}
