//! Members of a parameter server, or of all-reduce, in this process: the real shell and links.

use crate::ring::Over;
use futures::future::try_join_all;
use ringtmp_peer::{
    DataPlace, ExecutorChoice, RunFile, Team, TeamError, TeamEvent, TeamResult, TeamSettings,
    open_data, run_member,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::LocalSet;

/// A team takes about a second; a machine under load some more.
const RUN_MAX: Duration = Duration::from_secs(120);

/// Trains a run by these members.
///
/// # Errors
///
/// Why the run ended early.
///
/// # Panics
///
/// If the run cannot begin, or does not end in time.
pub async fn train_team(
    run: RunFile,
    members: &[ExecutorChoice],
    over: Over,
) -> Result<(TeamResult, Vec<TeamEvent>), TeamError> {
    train_and_lose(run, members, over, None).await
}

/// Likewise, but a member dies, without a word, once a step is done.
///
/// # Errors
///
/// As [`train_team`].
///
/// # Panics
///
/// As [`train_team`].
pub async fn train_and_lose(
    run: RunFile,
    members: &[ExecutorChoice],
    over: Over,
    lost: Option<usize>,
) -> Result<(TeamResult, Vec<TeamEvent>), TeamError> {
    let all = LocalSet::new();
    let team = all.run_until(team(run, members, over, lost));
    let ended = tokio::time::timeout(RUN_MAX, Box::pin(team)).await;
    ended.expect("the run ends in time")
}

async fn team(
    run: RunFile,
    members: &[ExecutorChoice],
    over: Over,
    lost: Option<usize>,
) -> Result<(TeamResult, Vec<TeamEvent>), TeamError> {
    let run = run.check().expect("the run is sound");
    let data = open_data(&run, &DataPlace::Disk).await;
    let settings = TeamSettings {
        run,
        dataset: Arc::new(data.expect("it needs no files")),
        executor: ExecutorChoice::Cpu,
        connectors: over.connectors(members.len()),
        speeds: Vec::new(),
        memory_bytes: None,
        weights: None,
        traced: None,
    };
    let (team, mut setups) = Team::new(settings).expect("the members can share the run");
    for (setup, executor) in setups.iter_mut().zip(members) {
        setup.executor = *executor;
    }
    let (mut events, dies) = (Vec::new(), Notify::new());
    let follow = team.follow(|event| {
        if matches!(event, TeamEvent::Step { .. }) {
            dies.notify_one();
        }
        events.push(event);
    });
    let dies = &dies;
    let members = setups
        .into_iter()
        .enumerate()
        .map(|(number, setup)| async move {
            let lives = Box::pin(run_member(setup));
            if lost != Some(number) {
                return lives.await;
            }
            tokio::select! {
                ended = lives => ended,
                () = dies.notified() => Ok(()),
            }
        });
    // Members end once the team does.
    let (result, members) = futures::join!(Box::pin(follow), try_join_all(members));
    members.expect("there is something to compute with");
    Ok((result?, events))
}
