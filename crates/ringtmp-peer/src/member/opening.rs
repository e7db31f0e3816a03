//! How a room's device becomes a member.

use super::team::News;
use super::{Courier, Held, MemberSetup, SharedClock, Told, run_seated};
use crate::datasets::{DataPlace, open_data};
use crate::platform::Clock;
use crate::run_file::Run;
use crate::shell::Traced;
use crate::workshop::Circumstances;
use futures::SinkExt;
use futures::channel::mpsc;
use ringtmp_compute::{Executor, Parameter};
use ringtmp_core::parameter_server::{Job, MemberIndex, TeamPlan};
use ringtmp_data::Dataset;
use ringtmp_transport::Connector;
use std::sync::Arc;

/// What a member leaves to the next.
pub(super) struct Free {
    pub(super) connector: Connector,
    pub(super) dataset: Option<Arc<Dataset>>,
    /// Of the run that it was part of.
    pub(super) held: Held,
}

/// A member that is about to begin.
pub(super) struct Opening {
    pub(super) run: Run,
    pub(super) job: Arc<Job>,
    pub(super) me: MemberIndex,
    pub(super) plan: TeamPlan,
    pub(super) place: DataPlace,
    pub(super) courier: Courier,
    pub(super) tell: mpsc::Sender<(MemberIndex, News)>,
    pub(super) initial: Option<Arc<[Parameter]>>,
    pub(super) traced: Option<mpsc::Sender<Traced>>,
    pub(super) circumstances: Circumstances,
    pub(super) keeps_weights: bool,
    pub(super) clock: Clock,
    pub(super) room_clock: SharedClock,
}

impl Opening {
    pub(super) async fn run(
        mut self,
        executor: Executor,
        free: impl Future<Output = Free>,
    ) -> Free {
        let free = free.await;
        let dataset = match free.dataset {
            Some(dataset) => Ok(dataset),
            None => open_data(&self.run, &self.place).await.map(Arc::new),
        };
        let connector = free.connector;
        let dataset = match dataset {
            Ok(dataset) => dataset,
            Err(error) => {
                let (culprit, reason) = (None, error.to_string());
                let told = News::Told(Told::Aborted { culprit, reason });
                // The room's side is gone, then, and needs to know nothing.
                let _unheard = self.tell.send((self.me, told)).await;
                return Free {
                    connector,
                    dataset: None,
                    held: free.held,
                };
            }
        };
        let start = self.plan.start;
        if !free.held.serves(&self.job.layout, self.me, start) {
            let reason = "it does not hold what the run is to go on from".to_owned();
            let told = News::Told(Told::Aborted {
                culprit: None,
                reason,
            });
            let _unheard = self.tell.send((self.me, told)).await;
            return Free {
                connector,
                dataset: Some(dataset),
                held: free.held,
            };
        }
        let setup = MemberSetup {
            run: self.run,
            job: self.job,
            me: self.me,
            peers: self.plan.order,
            epoch: self.plan.epoch,
            dataset: dataset.clone(),
            executor: self.circumstances.executor,
            connector: connector.into(),
            courier: self.courier,
            weights: self.initial,
            operations_per_second: self.circumstances.operations_per_second,
            memory_bytes: self.circumstances.memory_bytes,
            traced: self.traced,
            start,
            held: free.held,
            keeps_weights: self.keeps_weights,
            clock: self.clock,
            room_clock: Some(self.room_clock),
        };
        let (connector, held) = Box::pin(run_seated(setup, executor)).await;
        Free {
            connector,
            dataset: Some(dataset),
            held,
        }
    }
}
