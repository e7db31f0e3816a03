//! The members of one process: carries their connection messages, and puts together what they tell.

use super::craft::Learnt;
use super::log::{Lately, Spent};
use super::query::{Query, Reply};
use super::scores::Scores;
use super::{Held, MemberSetup, member_job};
use crate::platform::Clock;
use crate::run_file::Run;
use crate::shell::{ConnectorSource, Traced};
use crate::solo::Score as Outcome;
use futures::channel::{mpsc, oneshot};
use futures::{SinkExt, StreamExt};
use ringtmp_compute::{ExecutorChoice, Parameter};
use ringtmp_core::ids::{Epoch, PeerId, Step};
use ringtmp_core::parameter_server::{
    Job, LayoutError, MemberIndex, Score, TeamStart, WorkerIndex,
};
use ringtmp_core::signal::{LayerDigest, Signal};
use ringtmp_core::wire::Purpose;
use ringtmp_data::Dataset;
use ringtmp_transport::Traffic;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The most connection messages of one link that wait: a description and its candidates, of which a device has one per address.
const SIGNALS_MAX: usize = 64;

/// News that wait for the team; members wait when they are too many.
const NEWS_MAX: usize = 256;

/// What a member tells.
#[derive(Debug)]
pub enum Told {
    /// Its links are open, and its part begins.
    Begun,
    /// What a worker found.
    Score(Score),
    /// How it does, once a second.
    Does {
        /// How it has spent its time until now.
        spent: Spent,
        /// What its links have moved.
        links: Vec<(PeerId, Traffic)>,
        /// What it did lately.
        lately: Lately,
    },
    /// At the collector: all of this version lies with two members.
    Stable(Step),
    /// Nothing comes from a member.
    Suspect(MemberIndex),
    /// A link is gone: it does nothing more.
    LinkLost {
        /// To whom.
        peer: MemberIndex,
        /// Why.
        reason: String,
    },
    /// What its user wanted.
    Replied(Reply),
    /// Its part is done.
    Finished {
        /// How it spent its time.
        spent: Spent,
        /// What it has learnt.
        learnt: Learnt,
    },
    /// It cannot go on.
    Aborted {
        /// Whose fault it is, if another's.
        culprit: Option<MemberIndex>,
        /// Why.
        reason: String,
    },
}

/// What a member is told.
#[derive(Debug)]
pub(crate) enum Word {
    /// A connection message.
    Signal(MemberIndex, Signal),
    /// Whether to begin no new step.
    Hold(bool),
    /// The user of its device wants something.
    Query(Query),
    /// The room hears a member of which nothing comes.
    Vouched(MemberIndex),
    /// The room does not hear it any more.
    Doubted(MemberIndex),
}

/// What a member has to say.
#[derive(Debug)]
pub(crate) enum News {
    Signal { to: MemberIndex, signal: Signal },
    Told(Told),
}

/// A member's way to the others and to whoever follows the run.
#[derive(Debug)]
pub struct Courier {
    me: MemberIndex,
    news: mpsc::Sender<(MemberIndex, News)>,
    /// What the loop has said since it last waited: no more than what one event makes a member say.
    backlog: VecDeque<News>,
    pub(super) incoming: mpsc::Receiver<Word>,
    pub(super) stop: oneshot::Receiver<()>,
}

/// The other end of a member's courier.
#[derive(Debug)]
pub(crate) struct Post {
    /// What the member is told.
    pub(crate) words: mpsc::Sender<Word>,
    /// A word over it stops the member, as does dropping all of this.
    pub(crate) stop: Option<oneshot::Sender<()>>,
}

impl Courier {
    /// That of a member with so many links, and its other end.
    pub(crate) fn new(
        me: MemberIndex,
        links: usize,
        news: mpsc::Sender<(MemberIndex, News)>,
    ) -> (Self, Post) {
        let (words, incoming) = mpsc::channel(SIGNALS_MAX * links.max(1));
        let (stop, stopped) = oneshot::channel();
        let courier = Self {
            me,
            news,
            backlog: VecDeque::new(),
            incoming,
            stop: stopped,
        };
        let stop = Some(stop);
        (courier, Post { words, stop })
    }

    pub(super) fn send(&mut self, to: MemberIndex, signal: Signal) {
        self.backlog.push_back(News::Signal { to, signal });
    }

    pub(super) fn tell(&mut self, told: Told) {
        self.backlog.push_back(News::Told(told));
    }

    /// Hands over what was said.
    pub(super) async fn flush(&mut self) {
        while let Some(news) = self.backlog.pop_front() {
            // Whoever followed the run is gone; the loop notices at its next turn.
            let _unheard = self.news.send((self.me, news)).await;
        }
    }
}

/// Who trains what, and how.
#[derive(Debug)]
pub struct TeamSettings {
    /// The run, whose paradigm is not the ring.
    pub run: Run,
    /// Its data.
    pub dataset: Arc<Dataset>,
    /// What computes at every member.
    pub executor: ExecutorChoice,
    /// What makes the links of each member.
    pub connectors: Vec<ConnectorSource>,
    /// Operations per second of the devices that members emulate; empty if they do not.
    pub speeds: Vec<f64>,
    /// Bytes that each member's part may take; where nobody says, as many as it needs.
    pub memory_bytes: Option<u64>,
    /// Weights to begin from, instead of those that the seed gives.
    pub weights: Option<Arc<[Parameter]>>,
    /// Where to put traces.
    pub traced: Option<mpsc::Sender<Traced>>,
}

/// Something to show of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TeamEvent {
    /// All are linked: training begins.
    Begun,
    /// A step of all workers is done.
    Step {
        /// Which.
        step: u32,
        /// The loss over its samples, of the weights that each was computed with.
        score: Outcome,
    },
    /// An evaluation.
    Evaluated {
        /// Steps done before it.
        step: u32,
        /// On held-out samples.
        score: Outcome,
    },
}

/// What a run leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct TeamResult {
    /// Layers as the last step left them, the same at every worker.
    pub digests: Vec<LayerDigest>,
    /// All weights.
    pub weights: Vec<Parameter>,
    /// Of the first step.
    pub first: Option<Outcome>,
    /// Of the last step.
    pub last: Option<Outcome>,
    /// On held-out samples, at the end.
    pub held_out: Option<Outcome>,
    /// How members spent their time, in their order.
    pub spent: Vec<Spent>,
}

/// Why a run ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TeamError {
    /// A member cannot go on.
    #[error("{0}: {1}")]
    Aborted(String, String),
    /// All have ended, but not with the same weights: a fault of this program.
    #[error("the workers ended with different weights, which cannot be")]
    Disagree,
    /// A member ended without a word.
    #[error("a member's thread has ended; its message is above")]
    Gone,
}

/// The members of one process.
#[derive(Debug)]
pub struct Team {
    job: Arc<Job>,
    news: mpsc::Receiver<(MemberIndex, News)>,
    posts: Vec<Post>,
    begun: usize,
    scores: Scores,
    finished: BTreeMap<MemberIndex, (Spent, Learnt)>,
    result: [Option<Outcome>; 3],
}

impl Team {
    /// Says who does what. Each setup is to be run by [`super::run_member`], on a thread of its own where there are any, and the
    /// team by [`Team::follow`].
    ///
    /// # Errors
    ///
    /// Why so many members cannot share the run.
    pub fn new(settings: TeamSettings) -> Result<(Self, Vec<MemberSetup>), LayoutError> {
        let members = u16::try_from(settings.connectors.len()).unwrap_or(u16::MAX);
        let job = Arc::new(member_job(&settings.run, members, &settings.speeds)?);
        let (tell, news) = mpsc::channel(NEWS_MAX);
        let clock = Clock::start();
        let (mut posts, mut setups) = (Vec::new(), Vec::new());
        let peers: Vec<PeerId> = (0..u64::from(members)).map(PeerId).collect();
        for (me, connector) in settings.connectors.into_iter().enumerate() {
            // Below the number of members, so that it fits.
            let index = MemberIndex(me as u16);
            let links = job.layout.links(index).len();
            let (courier, post) = Courier::new(index, links, tell.clone());
            posts.push(post);
            setups.push(MemberSetup {
                run: settings.run.clone(),
                job: job.clone(),
                me: index,
                peers: peers.clone(),
                epoch: Epoch::default(),
                dataset: Some(settings.dataset.clone()),
                executor: settings.executor,
                connector,
                courier,
                weights: settings.weights.clone(),
                operations_per_second: settings.speeds.get(me).copied(),
                memory_bytes: settings.memory_bytes,
                traced: settings.traced.clone(),
                start: TeamStart::Beginning,
                held: Held::default(),
                keeps_weights: false,
                clock,
                room_clock: None,
            });
        }
        let team = Self {
            scores: Scores::of(job.layout.workers.len()),
            job,
            news,
            posts,
            begun: 0,
            finished: BTreeMap::new(),
            result: [None; 3],
        };
        Ok((team, setups))
    }

    /// Who does what.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Carries messages until all members are done, which are then stopped.
    ///
    /// # Errors
    ///
    /// Which member could not go on, and why.
    pub async fn follow(
        mut self,
        mut show: impl FnMut(TeamEvent),
    ) -> Result<TeamResult, TeamError> {
        while self.finished.len() < usize::from(self.job.layout.members) {
            match self.news.next().await.ok_or(TeamError::Gone)? {
                (from, News::Signal { to, signal }) => self.pass_on(from, to, signal),
                (from, News::Told(told)) => {
                    if let Some(event) = self.told(from, told)? {
                        show(event);
                    }
                }
            }
        }
        self.posts.clear();
        self.ended()
    }

    fn pass_on(&mut self, from: MemberIndex, to: MemberIndex, signal: Signal) {
        if let Some(post) = self.posts.get_mut(usize::from(to.0))
            && post.words.try_send(Word::Signal(from, signal)).is_err()
        {
            // The connection will not come about, which its ends tell.
            tracing::warn!(to = to.0, "a connection message is lost");
        }
    }

    fn told(&mut self, from: MemberIndex, told: Told) -> Result<Option<TeamEvent>, TeamError> {
        match told {
            Told::Begun => {
                self.begun += 1;
                let all = self.begun == usize::from(self.job.layout.members);
                Ok(all.then_some(TeamEvent::Begun))
            }
            Told::Score(score) => Ok(self.score(&score)),
            // Nobody is there who could put the members together anew, nor ask one of them.
            Told::Does { .. } | Told::Stable(_) | Told::Suspect(_) | Told::Replied(_) => Ok(None),
            Told::LinkLost { peer, reason } => {
                let reason = format!("the link to it is lost: {reason}");
                Err(TeamError::Aborted(self.name(peer), reason))
            }
            Told::Finished { spent, learnt } => {
                self.finished.insert(from, (spent, learnt));
                Ok(None)
            }
            Told::Aborted { culprit, reason } => {
                let who = self.name(culprit.unwrap_or(from));
                Err(TeamError::Aborted(who, reason))
            }
        }
    }

    fn name(&self, member: MemberIndex) -> String {
        let number = member.0 + 1;
        match self.job.layout.worker_at(member) {
            Some(WorkerIndex(_)) => format!("device {number}, a worker"),
            None => format!("device {number}, a server"),
        }
    }

    /// What all workers found, once all have told.
    fn score(&mut self, score: &Score) -> Option<TeamEvent> {
        let (step, purpose, score) = self.scores.take(score)?;
        let [first, last, held_out] = &mut self.result;
        Some(match purpose {
            Purpose::Train => {
                first.get_or_insert(score);
                *last = Some(score);
                TeamEvent::Step { step, score }
            }
            Purpose::Evaluate => {
                *held_out = Some(score);
                TeamEvent::Evaluated { step, score }
            }
        })
    }

    fn ended(self) -> Result<TeamResult, TeamError> {
        let mut workers = self.job.layout.workers.iter();
        let learnt = |worker: &MemberIndex| self.finished.get(worker).map(|(_, learnt)| learnt);
        let one = workers.next().and_then(learnt).ok_or(TeamError::Gone)?;
        let same = |worker| learnt(worker).is_some_and(|learnt| learnt.digests == one.digests);
        if !workers.all(same) {
            return Err(TeamError::Disagree);
        }
        let [first, last, held_out] = self.result;
        Ok(TeamResult {
            digests: one.digests.clone(),
            weights: one.weights.clone(),
            first,
            last,
            held_out,
            spent: self.finished.values().map(|(spent, _)| *spent).collect(),
        })
    }
}
