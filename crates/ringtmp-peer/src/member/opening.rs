//! How a room's device becomes a member.

use super::team::News;
use super::{Courier, Held, MemberSetup, SharedClock, Told, run_seated};
use crate::datasets::{DataError, DataPlace, open_data};
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
        let mut free = free.await;
        if let Err(reason) = self.prepare(&mut free).await {
            let told = News::Told(Told::Aborted {
                culprit: None,
                reason,
            });
            // The room's side is gone, then, and needs to know nothing.
            let _unheard = self.tell.send((self.me, told)).await;
            return free;
        }
        let setup = MemberSetup {
            run: self.run,
            job: self.job,
            me: self.me,
            peers: self.plan.order,
            epoch: self.plan.epoch,
            dataset: free.dataset.clone(),
            executor: self.circumstances.executor,
            connector: free.connector.into(),
            courier: self.courier,
            weights: self.initial,
            operations_per_second: self.circumstances.operations_per_second,
            memory_bytes: self.circumstances.memory_bytes,
            traced: self.traced,
            start: self.plan.start,
            held: free.held,
            keeps_weights: self.keeps_weights,
            clock: self.clock,
            room_clock: Some(self.room_clock),
        };
        let (connector, held) = Box::pin(run_seated(setup, executor)).await;
        Free {
            connector,
            dataset: free.dataset,
            held,
        }
    }

    /// Sees to it that there is what the member begins with. An error is why it cannot begin.
    async fn prepare(&self, free: &mut Free) -> Result<(), String> {
        let (job, start) = (&self.job, self.plan.start);
        free.held.forget_other_pasts(&self.plan.pasts);
        if free.dataset.is_none() {
            let opened = data_for(&self.run, &self.place, job, self.me).await;
            let opened = opened.map_err(|error| error.to_string())?;
            free.dataset = opened.map(Arc::new);
        }
        match free.held.serves(&job.layout, self.me, start) {
            true => Ok(()),
            false => Err("it does not hold what the run is to go on from".to_owned()),
        }
    }
}

/// Opens the data of who draws from them: a server never sees any.
async fn data_for(
    run: &Run,
    place: &DataPlace,
    job: &Job,
    me: MemberIndex,
) -> Result<Option<Dataset>, DataError> {
    match job.layout.worker_at(me) {
        Some(_) => open_data(run, place).await.map(Some),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::job::member_job;
    use crate::run_file::{DataTable, Paradigm, ParameterServerTable, RunFile};
    use ringtmp_core::parameter_server::Placement;

    #[test]
    fn a_server_opens_no_data() {
        let file = RunFile {
            paradigm: Paradigm::ParameterServer,
            parameter_server: ParameterServerTable {
                placement: Some(Placement::Single),
                ..ParameterServerTable::default()
            },
            data: DataTable::set("idx:/nowhere"),
            ..RunFile::default()
        };
        let run = file.check().expect("a run");
        let job = member_job(&run, 3, &[]).expect("a layout");
        let place = DataPlace::Disk;
        let mut servers = 0;
        for me in (0..3).map(MemberIndex) {
            let opened = futures::executor::block_on(data_for(&run, &place, &job, me));
            match job.layout.worker_at(me) {
                Some(_) => assert!(matches!(opened, Err(DataError::NotInFolder { .. }))),
                None => {
                    assert!(opened.expect("nothing is looked for").is_none());
                    servers += 1;
                }
            }
        }
        assert_eq!(servers, 1);
    }
}
