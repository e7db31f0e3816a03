//! Where a member's parts put what they want done.

use super::Job;
use super::copies::Due;
use super::interface::{Event, Output, Task};
use super::layout::{MemberIndex, WorkerIndex};
use super::message::Message;
use crate::ids::{PayloadId, Step};
use std::collections::VecDeque;
use std::sync::Arc;

/// A task that came of what others sent, and of whose gradient.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) task: Task,
    /// Whose push is counted.
    pub(super) worker: WorkerIndex,
    /// Labels of what is merged.
    pub(super) labels: u64,
}

impl Work {
    /// A task that nobody's push is part of.
    pub(super) fn of(task: Task) -> Self {
        Self {
            task,
            worker: WorkerIndex(0),
            labels: 0,
        }
    }
}

/// What is to be done, in order.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) job: Arc<Job>,
    pub(super) me: MemberIndex,
    /// For the surroundings.
    pub(super) output: VecDeque<Output>,
    /// From one part of this member to another.
    pub(super) local: VecDeque<(Message, Option<PayloadId>)>,
    /// Tasks for which others wait: they go before the worker's own. At most [`super::PUSHES_AHEAD_MAX`] of each worker and
    /// range, since no more is taken in.
    pub(super) work: VecDeque<Work>,
    /// A worker begins no step from this one on before more is kept twice; none where nothing is copied.
    pub(super) begins_below: Option<Step>,
    /// Which versions are copied.
    pub(super) due: Option<Due>,
}

impl Desk {
    /// Sends without numbers.
    pub(super) fn say(&mut self, to: MemberIndex, message: Message) {
        if to == self.me {
            self.local.push_back((message, None));
            return;
        }
        self.output.push_back(Output::Send {
            to,
            message,
            payload: None,
        });
    }

    /// Sends the same numbers to several, at most once to each, and gives them away.
    pub(super) fn send(&mut self, messages: Vec<(MemberIndex, Message)>, payload: PayloadId) {
        let mut kept = false;
        for (to, message) in messages {
            if to == self.me {
                kept = true;
                self.local.push_back((message, Some(payload)));
            } else {
                self.output.push_back(Output::Send {
                    to,
                    message,
                    payload: Some(payload),
                });
            }
        }
        if !kept {
            self.discard(payload);
        }
    }

    /// Sends numbers that stay here as well.
    pub(super) fn send_copy(&mut self, to: MemberIndex, message: Message, payload: PayloadId) {
        self.output.push_back(Output::Send {
            to,
            message,
            payload: Some(payload),
        });
    }

    pub(super) fn discard(&mut self, payload: PayloadId) {
        self.output.push_back(Output::Discard(payload));
    }

    pub(super) fn event(&mut self, event: Event) {
        self.output.push_back(Output::Event(event));
    }
}
