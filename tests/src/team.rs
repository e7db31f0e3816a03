//! Members of a parameter server, or of all-reduce, in this process: the real shell and links.

use crate::ring::Over;
use futures::future::try_join_all;
use ringtmp_peer::{
    DataPlace, ExecutorChoice, RunFile, Team, TeamError, TeamEvent, TeamResult, TeamSettings,
    open_data, run_member,
};
use std::sync::Arc;
use std::time::Duration;
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
    let all = LocalSet::new();
    let team = all.run_until(team(run, members, over));
    let ended = tokio::time::timeout(RUN_MAX, Box::pin(team)).await;
    ended.expect("the run ends in time")
}

async fn team(
    run: RunFile,
    members: &[ExecutorChoice],
    over: Over,
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
    let mut events = Vec::new();
    let follow = team.follow(|event| events.push(event));
    let members = setups.into_iter().map(|setup| Box::pin(run_member(setup)));
    // Members end once the team does.
    let (result, members) = futures::join!(Box::pin(follow), try_join_all(members));
    members.expect("there is something to compute with");
    Ok((result?, events))
}
