//! A device's part in a plan: how it takes it, and gives it up.

use super::opening::{Free, Opening};
use super::query::Query;
use super::room::RoomMember;
use super::scores::Scores;
use super::team::{News, Post, Word};
use super::user::Holds;
use super::{Courier, Spent, job_of};
use crate::progress::Progress;
use crate::view::LinkState;
use futures::channel::mpsc;
use futures::future::{Fuse, FutureExt, LocalBoxFuture};
use ringtmp_core::parameter_server::{Job, MemberIndex, TeamPlan, TeamStart};
use ringtmp_core::signal::{LinkTraffic, Point};
use ringtmp_core::time::Time;
use std::sync::Arc;

/// News of a member that wait for its room; the member waits when they are too many.
const NEWS_MAX: usize = 256;

/// A part in a plan.
pub(super) struct Seat {
    pub(super) plan: TeamPlan,
    /// Which of its members this device is.
    pub(super) me: MemberIndex,
    pub(super) job: Arc<Job>,
    pub(super) post: Post,
    pub(super) news: mpsc::Receiver<(MemberIndex, News)>,
    pub(super) run: Fuse<LocalBoxFuture<'static, Free>>,
    pub(super) scores: Scores,
    pub(super) points: Vec<Point>,
    pub(super) points_due: Time,
    pub(super) spent: Spent,
    pub(super) links: Vec<LinkTraffic>,
}

impl Seat {
    /// Whether this device is the first of those that compute with the whole model.
    pub(super) fn works_first(&self) -> bool {
        self.job.layout.workers.first() == Some(&self.me)
    }

    /// Asks the member for something; it comes with the news. Whether it can.
    pub(super) fn ask(&mut self, query: Query) -> bool {
        self.post.words.try_send(Word::Query(query)).is_ok()
    }
}

impl RoomMember {
    /// Ends this device's part; what it leaves comes as [`Happening::Free`].
    pub(super) fn stand_up(&mut self) {
        let stop = self.seat.as_mut().and_then(|seat| seat.post.stop.take());
        if let Some(stop) = stop {
            // A word, since whoever only drops it is taken for one who has nothing to say. One that has ended needs none.
            let _ended = stop.send(());
        }
    }

    /// A plan: this device's part in it, after that in any older one.
    pub(super) fn take_seat(&mut self, plan: TeamPlan, progress: &mut Progress) {
        if !self.whom.is_new(&plan) {
            return;
        }
        self.hurry.up();
        self.stand_up();
        self.halted = None;
        self.whom.obeys(&plan);
        let begins_anew = plan.start == TeamStart::Beginning;
        let holds = Holds::of(&plan, self.whom.me);
        self.wants.plan_begins(begins_anew, holds, progress);
        let me = plan.member_of(self.whom.me);
        let (Some(me), Some(executor)) = (me, self.brought.executor.clone()) else {
            return;
        };
        let epoch = plan.epoch;
        let parameters: Vec<u64> = self.run.layers.iter().map(|it| it.parameters).collect();
        let layout = match plan.layout(&parameters, self.run.micro_batches()) {
            Ok(layout) => layout,
            Err(error) => return self.fail(epoch, error.to_string(), None, progress),
        };
        let job = Arc::new(job_of(&self.run, layout));
        if plan.start.step().0 > job.steps {
            let reason = "the plan begins after the last step".to_owned();
            return self.fail(epoch, reason, None, progress);
        }
        let links = job.layout.links(me);
        for member in &links {
            progress.link(plan.order[usize::from(member.0)], LinkState::Connecting);
        }
        let (tell, news) = mpsc::channel(NEWS_MAX);
        let (courier, post) = Courier::new(me, links.len(), tell.clone());
        let free = match (self.free.take(), self.seat.take()) {
            (Some(free), _) => std::future::ready(free).boxed_local(),
            (None, Some(seat)) => seat.run.boxed_local(),
            (None, None) => unreachable!("what makes links is free, or somebody has it"),
        };
        let open = Opening {
            run: self.run.clone(),
            job: job.clone(),
            me,
            plan: plan.clone(),
            place: self.brought.place.clone(),
            courier,
            tell,
            initial: self.brought.initial.clone(),
            traced: self.brought.traced.clone(),
            circumstances: self.brought.circumstances,
            keeps_weights: self.keeps_weights(),
            clock: self.clock,
            room_clock: self.room_clock.clone(),
        };
        self.seat = Some(Seat {
            run: open.run(executor, free).boxed_local().fuse(),
            scores: Scores::of(job.layout.workers.len()),
            plan,
            me,
            job,
            post,
            news,
            points: Vec::new(),
            points_due: Time::ZERO,
            spent: Spent::default(),
            links: Vec::new(),
        });
    }
}
