//! `ringtmp resume`.

use super::join::take_part;
use crate::announce::announce;
use crate::arguments::Resume;
use crate::kept::usual;
use crate::memory::Memory;
use crate::peer::{Carrier, Part, Peer};
use crate::room_url::RoomUrl;
use crate::terminal::doorkeeper;
use anyhow::{Result, bail};
use ringtmp_core::signal::Role;
use ringtmp_peer::{Entry, Keep, KeptRun, Own, Store, View};
use std::path::Path;
use std::time::SystemTime;

/// Lists the runs that are kept here, forgets one, or goes on with one in a new room.
pub(crate) async fn run(resume: Resume, quiet: bool) -> Result<()> {
    let folder = match &resume.keep {
        Some(folder) => folder.clone(),
        None => usual()?,
    };
    let store = Store::open(&folder).await?;
    let runs = store.runs().await?;
    let Some(wanted) = &resume.run else {
        list(&runs, &folder);
        return Ok(());
    };
    let run = chosen(&runs, wanted)?;
    if resume.forget {
        return Ok(store.forget(run.id).await?);
    }
    let mut peer = Peer::start(Part {
        server: resume.server.to_string(),
        entry: Entry::Resume {
            id: run.id,
            peers: resume.peers,
        },
        role: Role::Participant,
        name: resume.name,
        executor: resume.executor,
        carrier: Carrier::WebRtc(None),
        weights: None,
        own: Own {
            memory_bytes: Memory::of_this_machine(1),
            keep: Some(Keep::at(folder)),
            open_room: resume.open,
            decides: doorkeeper::is_there(quiet),
            ..Own::default()
        },
    })?;
    let link = peer.view_until(View::link).await?;
    let server = resume.server;
    announce(&RoomUrl { server, link });
    take_part(peer, resume.exit_when_finished, None, quiet).await
}

fn list(runs: &[KeptRun], folder: &Path) {
    if runs.is_empty() {
        eprintln!("No runs are kept in {}.", folder.display());
    }
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = since.map_or(0, |since| since.as_secs());
    for run in runs {
        let (id, age) = (run.id, run.age(now));
        let KeptRun {
            name,
            data,
            step,
            steps,
            ..
        } = run;
        outln!("{id}  {name} on {data}, step {step} of {steps}, {age}");
    }
}

/// The run whose code begins so.
fn chosen<'a>(runs: &'a [KeptRun], wanted: &str) -> Result<&'a KeptRun> {
    let wanted = wanted.to_ascii_lowercase();
    let fits = |run: &&KeptRun| run.id.to_string().starts_with(&wanted);
    let mut fitting = runs.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(run), None) => Ok(run),
        (None, _) => {
            bail!("nothing is kept of a run {wanted}; `ringtmp resume` lists those that are")
        }
        (Some(_), Some(_)) => bail!("several runs begin with {wanted}: say more of the code"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_core::ids::RoomCode;

    #[test]
    fn a_run_is_chosen_by_how_its_code_begins_unless_others_begin_so_too() {
        let run = |byte| KeptRun {
            id: RoomCode::from_random([byte; 10]),
            name: "mlp".to_owned(),
            data: "digits".to_owned(),
            step: 1,
            steps: 2,
            when: 0,
        };
        let runs = [run(0), run(1), run(255)];
        assert_eq!(chosen(&runs, "ZZ").expect("one").id, runs[2].id);
        assert!(chosen(&runs, "0").is_err(), "two");
        assert!(chosen(&runs, "y").is_err(), "none");
    }
}
