//! What a worker does for the user of its device, since it has the whole model at hand: it says what a sample shows, or gives the model as a
//! file, as does a server that has all parameters. Between two tasks, and never while a micro-batch is between F and the end of B, whose activations it would write over; so training
//! computes what it would without.

use super::craft::{Craft, CraftError};
use super::{Done, Shell, Told, Worked};
use crate::predictor::probabilities;
use crate::samples::{self, Entering, position};
use crate::weights::{WeightsError, finite_file};
use futures::future::FutureExt;
use ringtmp_compute::Stage;
use ringtmp_core::ids::{LayerIndex, Step};
use ringtmp_core::parameter_server::Task;
use ringtmp_core::wire::Purpose;
use std::collections::VecDeque;

/// What is wanted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Query {
    /// The model.
    Model,
    /// What a sample shows, or what follows a text.
    Sample {
        /// Counts what is asked.
        number: u32,
        /// About which.
        sample: Entering,
    },
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The model, as safetensors; or why it is of no use.
    Model {
        /// Steps of this worker after which the weights are; where it may be ahead of others, these may lack some.
        steps: Step,
        /// The file.
        file: Result<Vec<u8>, WeightsError>,
    },
    /// What the model says of a sample.
    Answer {
        /// Which question it answers.
        number: u32,
        /// As above.
        steps: Step,
        /// How probable each class is.
        probabilities: Vec<f32>,
    },
    /// The device cannot, or the model says nothing that is of use; and why.
    Failed(String),
}

/// Queries that wait: the newest of each kind, so at most two.
#[derive(Debug, Default)]
pub(super) struct Queries {
    waiting: VecDeque<Query>,
    under_way: bool,
    /// What the member wants done meanwhile.
    task: Option<Task>,
}

impl Queries {
    pub(super) fn put(&mut self, query: Query) {
        let kind = std::mem::discriminant(&query);
        self.waiting
            .retain(|other| std::mem::discriminant(other) != kind);
        self.waiting.push_back(query);
    }

    /// Forgets those that wait.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}

impl Craft {
    /// A task is done.
    pub(super) fn note(&mut self, task: &Task) {
        match task {
            Task::Load { clock, .. } | Task::Evaluate { clock, .. } => self.clock = Some(*clock),
            Task::Forward { clock, .. } => {
                self.clock = Some(*clock);
                self.is_amid = true;
            }
            Task::Backward { .. } => self.is_amid = false,
            Task::BackwardLayer { layer, .. } => self.is_amid = *layer != LayerIndex(0),
            Task::Count {
                range,
                update: Some(update),
                ..
            } => self.note_update(*range, update),
            Task::Merge { .. } | Task::Read { .. } | Task::Copy { .. } | Task::Count { .. } => {}
        }
    }

    /// Whether it can do something else now.
    fn rests(&self) -> bool {
        match self.stage {
            Some(_) => self.clock.is_some() && !self.is_amid,
            None => self.served_after().is_some(),
        }
    }

    /// What a server says that does not work.
    async fn serve(&self, query: &Query) -> Result<Reply, CraftError> {
        let reason = || Reply::Failed("it has no copy of the model to compute with".to_owned());
        let (Query::Model, Some(steps)) = (query, self.served_after()) else {
            return Ok(reason());
        };
        let served = self.served().await?;
        Ok(served.map_or_else(reason, |parameters| {
            let file = finite_file(&parameters);
            Reply::Model { steps, file }
        }))
    }

    async fn reply(&mut self, query: &Query) -> Result<Reply, CraftError> {
        let (Some(stage), Some(steps)) = (&mut self.stage, self.clock) else {
            return self.serve(query).await;
        };
        match query {
            Query::Model => {
                let file = finite_file(&stage.parameters().await?);
                Ok(Reply::Model { steps, file })
            }
            Query::Sample { number, sample } => {
                let (samples, row) = samples::asked(&self.run, sample)?;
                stage.set_position(0, position(&self.run, Purpose::Evaluate, 0, 0))?;
                let logits = Stage::forward(stage, 0, &samples).await?.f32s()?;
                let row = logits.chunks(self.run.classes()).nth(row);
                let finite = row.filter(|row| row.iter().all(|logit| logit.is_finite()));
                Ok(match finite {
                    Some(logits) => Reply::Answer {
                        number: *number,
                        steps,
                        probabilities: probabilities(logits),
                    },
                    None => Reply::Failed(
                        "its numbers are not finite, training has diverged".to_owned(),
                    ),
                })
            }
        }
    }
}

impl Shell {
    /// The member's next task; what the user wants comes before it.
    pub(super) fn begin(&mut self, task: Task) {
        if self.queries.under_way || self.begin_query() {
            self.queries.task = Some(task);
        } else {
            self.begin_task(task);
        }
    }

    /// Begins with what waits, if it can be done now. Whether it has.
    pub(super) fn begin_query(&mut self) -> bool {
        let Some(mut craft) = self.craft.take_if(|craft| craft.rests()) else {
            return false;
        };
        let Some(query) = self.queries.waiting.pop_front() else {
            self.craft = Some(craft);
            return false;
        };
        self.queries.under_way = true;
        let work = async move {
            let reply = craft.reply(&query).await;
            // What is wrong with the device itself is found by the next task.
            let reply = reply.unwrap_or_else(|error| Reply::Failed(error.to_string()));
            let done = Done::Query(reply);
            Worked { craft, done }
        };
        self.work = work.boxed_local().fuse();
        true
    }

    /// It is done; what the member wants comes next, but for what else the user wants.
    pub(super) fn replied(&mut self, reply: Reply) {
        self.queries.under_way = false;
        self.courier.tell(Told::Replied(reply));
        if let Some(task) = self.queries.task.take() {
            self.begin(task);
        }
    }
}
