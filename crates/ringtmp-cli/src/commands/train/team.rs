//! A run by a parameter server, or by all-reduce, of members in this process: the shell and transports that devices have.

use super::bar::Bar;
use super::log::Log;
use super::{Ended, HeldOut, write_norms};
use crate::arguments::{Train, Transport};
use crate::exit::Failure;
use crate::interrupt::interrupted;
use crate::memory::Memory;
use crate::peer::Carrier;
use crate::result::{Evaluation, write_json};
use crate::trace_file::TraceFile;
use anyhow::{Context, Result};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::parameter_server::{Job, MemberIndex, Placement, Staleness};
use ringtmp_core::signal::LayerDigest;
use ringtmp_peer::{
    ConnectorSource, DataPlace, Executor, MemberSetup, Paradigm, Parameter, Run, Score, Solo,
    Spent, Team, TeamEvent, TeamResult, TeamSettings, open_data, run_member,
};
use ringtmp_transport::loopback::LoopbackNetwork;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::task::LocalSet;

/// The version of the form of [`TeamReport`].
const SCHEMA_VERSION: u32 = 1;

/// Trains until the last step, an interruption or an error.
pub(super) async fn train(
    train: &Train,
    run: Run,
    initial: Option<Vec<Parameter>>,
    quiet: bool,
) -> Result<Ended> {
    if let Some(path) = &train.gradient_norms {
        let data = open_data(&run, &DataPlace::Disk).await?;
        let executor = Executor::open(train.executor).await?;
        let mut solo = Solo::new(run.clone(), data, executor).await?;
        if let Some(weights) = &initial {
            solo.set_weights(weights)?;
        }
        write_norms(path, &solo.gradient_norms().await?)?;
    }
    let data = open_data(&run, &DataPlace::Disk).await?;
    let (outline, peers) = (run.descriptor().outline, usize::from(train.peers));
    let speeds = train.pace.iter();
    let trace = train.trace.as_deref().map(TraceFile::create).transpose()?;
    let settings = TeamSettings {
        dataset: Arc::new(data),
        executor: train.executor,
        connectors: connectors(train, run.file.seed),
        speeds: speeds
            .map(|speed| speed.operations_per_second(&outline, peers))
            .collect(),
        memory_bytes: train.memory.map(|Memory(bytes)| bytes),
        weights: initial.map(Into::into),
        traced: trace.as_ref().map(TraceFile::traced),
        run: run.clone(),
    };
    let (team, setups) = Team::new(settings)?;
    let job = team.job().clone();
    let members: Vec<_> = setups.into_iter().map(start).collect::<Result<_>>()?;
    let began = Instant::now();
    let result = {
        let follow = Box::pin(follow(train, team, quiet));
        tokio::select! {
            result = follow => result,
            () = interrupted() => Err(Failure::Interrupted.into()),
        }
    };
    // Their team is gone, which stops them.
    for member in members {
        let _ended = member.await;
    }
    if let Some(trace) = trace {
        trace.finish().await?;
    }
    let (result, evaluations) = result?;
    if let Some(path) = &train.json {
        let seconds = began.elapsed().as_secs_f64();
        let report = TeamReport::of(&run, &job, &result, train.transport, seconds);
        report.with(evaluations).write(path)?;
    }
    Ok(ended(&run, result))
}

fn connectors(train: &Train, seed: u64) -> Vec<ConnectorSource> {
    let carrier = match train.transport {
        Transport::Loopback => Carrier::Loopback(LoopbackNetwork::new(seed)),
        Transport::Webrtc => Carrier::WebRtc(train.access_link),
    };
    (0..train.peers).map(|_| carrier.clone().into()).collect()
}

/// Starts a member on a thread of its own, so that links are never held up by what it computes. Done when it has ended.
fn start(setup: MemberSetup) -> Result<tokio::sync::oneshot::Receiver<()>> {
    let runtime = Handle::current();
    let (end, ended) = tokio::sync::oneshot::channel();
    let run = move || {
        let member = LocalSet::new();
        // Why it could not begin, it has told the team.
        let _told = runtime.block_on(member.run_until(run_member(setup)));
        let _unheard = end.send(());
    };
    std::thread::Builder::new()
        .name("member".to_owned())
        .spawn(run)
        .context("the system gives no thread")?;
    Ok(ended)
}

async fn follow(train: &Train, team: Team, quiet: bool) -> Result<(TeamResult, Vec<Evaluation>)> {
    let mut log = match &train.log {
        Some(path) => Some(Log::open(path, 0)?),
        None => None,
    };
    let mut bar = Bar::new(team.job().steps, 0, quiet);
    let (mut held_out, mut written) = (None, Ok(()));
    let mut evaluations = Vec::new();
    let followed = team.follow(|event| match event {
        TeamEvent::Begun => {}
        TeamEvent::Evaluated { step, score } => {
            held_out = Some(score);
            evaluations.push(Evaluation {
                steps: step,
                accuracy: score.accuracy,
            });
        }
        TeamEvent::Step { step, score } => {
            if let Some(log) = &mut log
                && written.is_ok()
            {
                written = log.write(step, score.loss);
            }
            bar.show(step + 1, &words(score, held_out));
        }
    });
    let result = followed.await;
    bar.end();
    written?;
    let result = result.map_err(|error| Failure::Unfinished(error.to_string()))?;
    Ok((result, evaluations))
}

fn words(score: Score, held_out: Option<Score>) -> String {
    let held_out = held_out.map(|held_out| {
        let percent = 100.0 * held_out.accuracy;
        format!(
            "  held out: loss {:.4}, {percent:.1} % right",
            held_out.loss
        )
    });
    format!("loss {:.4}{}", score.loss, held_out.unwrap_or_default())
}

fn ended(run: &Run, result: TeamResult) -> Ended {
    Ended {
        steps: run.file.steps,
        measure: run.measure(),
        loss: result.last.map(|score| score.loss),
        held_out: result.held_out.map(HeldOut::from),
        weights: result.weights,
        report: None,
        reported: true,
    }
}

/// What came out of a run, for other programs. Keys are added, never changed, within a version.
#[derive(Debug, Serialize)]
struct TeamReport {
    schema_version: u32,
    preset: String,
    paradigm: Paradigm,
    /// Of a parameter server.
    placement: Option<Placement>,
    tau: Option<Staleness>,
    transport: &'static str,
    codec: CodecChoice,
    /// Trained on, each as often as it was.
    samples: u64,
    steps: u32,
    loss_first: Option<f32>,
    loss_last: Option<f32>,
    /// On held-out samples.
    test_loss: Option<f32>,
    /// 0 to 1.
    test_accuracy: Option<f32>,
    /// In their order.
    evaluations: Vec<Evaluation>,
    /// From the start of all members to the end of the last.
    seconds: f64,
    members: Vec<MemberReport>,
    /// By layer.
    digests: Vec<LayerDigest>,
}

#[derive(Debug, Serialize)]
struct MemberReport {
    is_worker: bool,
    is_server: bool,
    /// Of a step.
    micro_batches: u16,
    /// Parameters that it updates.
    parameters: u64,
    /// From its first task to the end of its last.
    seconds: f64,
    busy_seconds: f64,
    /// The share of that time in which it did not compute.
    idle: f64,
    bytes_sent: u64,
    bytes_sent_per_sample: f64,
    /// Tasks that had to keep a pace, and those that the machine was too slow for.
    paced_tasks: u64,
    late_tasks: u64,
}

impl TeamReport {
    fn of(run: &Run, job: &Job, result: &TeamResult, transport: Transport, seconds: f64) -> Self {
        let file = &run.file;
        let is_server = file.paradigm == Paradigm::ParameterServer;
        let table = is_server.then_some(file.parameter_server);
        let samples = u64::from(file.steps) * u64::from(file.batch);
        let members = (0..job.layout.members).zip(&result.spent);
        let member =
            |(me, spent): (u16, &Spent)| MemberReport::of(job, MemberIndex(me), spent, samples);
        Self {
            schema_version: SCHEMA_VERSION,
            preset: file.model.name().to_owned(),
            paradigm: file.paradigm,
            placement: table.map(|table| table.placement()),
            tau: table.map(|table| table.staleness()),
            transport: match transport {
                Transport::Loopback => "loopback",
                Transport::Webrtc => "webrtc",
            },
            codec: file.codec,
            samples,
            steps: file.steps,
            loss_first: result.first.map(|score| score.loss),
            loss_last: result.last.map(|score| score.loss),
            test_loss: result.held_out.map(|score| score.loss),
            test_accuracy: result.held_out.map(|score| score.accuracy),
            evaluations: Vec::new(),
            seconds,
            members: members.map(member).collect(),
            digests: result.digests.clone(),
        }
    }

    fn with(self, evaluations: Vec<Evaluation>) -> Self {
        Self {
            evaluations,
            ..self
        }
    }

    fn write(&self, path: &Path) -> Result<()> {
        write_json(self, path)
    }
}

impl MemberReport {
    fn of(job: &Job, me: MemberIndex, spent: &Spent, samples: u64) -> Self {
        let layout = &job.layout;
        let worker = layout.worker_at(me);
        let owned = layout.ranges_at(me);
        let owned = owned.map(|range| u64::from(layout.ranges[range.0 as usize].elements));
        Self {
            is_worker: worker.is_some(),
            is_server: layout.serves(me),
            micro_batches: worker.map_or(0, |worker| layout.shares[usize::from(worker.0)]),
            parameters: owned.sum(),
            seconds: spent.seconds,
            busy_seconds: spent.busy_seconds,
            idle: 1.0 - spent.busy_seconds / spent.seconds.max(f64::MIN_POSITIVE),
            bytes_sent: spent.bytes_sent,
            bytes_sent_per_sample: spent.bytes_sent as f64 / samples.max(1) as f64,
            paced_tasks: spent.paced,
            late_tasks: spent.late,
        }
    }
}
