//! `ringtmp demo`: a server, a room, tabs of a real browser and native processes, watched from the terminal.

mod cast;

use crate::announce::who_may_take_part;
use crate::arguments::{Demo, Transport};
use crate::browser::{self, Show};
use crate::commands::serve::{self, RoomForAll, Running};
use crate::exit::Failure;
use crate::follow::until_finished;
use crate::interrupt::interrupted;
use crate::network::{self, Invitation};
use crate::page;
use crate::patience::Patience;
use crate::peer::{Part, Peer};
use crate::result::RunReport;
use crate::room_url::RoomUrl;
use crate::terminal::{Screen, doorkeeper};
use anyhow::{Context, Result};
use cast::Cast;
use ringtmp_core::profile::Planning;
use ringtmp_peer::{DataPlace, DataTable, Own, View, open_data};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

/// How long our own server, in this very process, may take to open a room. It takes milliseconds.
const ROOM_MAX: Duration = Duration::from_secs(20);

/// Runs the demo to its end. Whatever was started is ended on every way out.
pub(crate) async fn run(demo: Demo, quiet: bool) -> Result<()> {
    let mut run = demo.run.file()?;
    let peers = demo.tabs + demo.natives;
    run.start_at_peers = peers;
    if demo.run.leaves_planning_open() {
        // All of them share one machine: what they measured would be its load while the others start.
        run.planning = Planning::Counted;
    }
    // What cannot be run is said before anything starts.
    open_data(&run.clone().check()?, &DataPlace::Disk).await?;
    let files = serve_files(&mut run.data);
    if peers == 0 {
        return Err(Failure::Missing("a ring needs at least one tab or native".to_owned()).into());
    }
    let program = if demo.tabs > 0 {
        Some(browser::find()?)
    } else {
        None
    };
    let mut server = serve::bind(&demo.listen, files, RoomForAll::default())
        .context("the demo's server does not start")?;
    if demo.tabs > 0 && !server.has_page() {
        let missing = page::missing(demo.listen.www.as_deref());
        return Err(Failure::Missing(missing.to_string()).into());
    }
    let invitation = network::invite(&mut server, &demo.network, &demo.listen.host_name)?;
    let (server, address) = Running::start(server);
    let mut peer = Peer::start(Part {
        own: Own {
            open_room: demo.open,
            decides: doorkeeper::is_there(quiet),
            ..Own::default()
        },
        ..Part::creator(&address, run)
    })?;
    let mut screen = Screen::new(quiet);
    screen.asks_for(&peer);
    let outcome = {
        let stage = Stage {
            demo: &demo,
            address: &address,
            invitation: invitation.as_ref(),
            program: program.as_deref(),
        };
        let play = play(&stage, &mut peer, &mut screen);
        tokio::select! {
            outcome = play => outcome,
            error = server.failed => Err(error),
        }
    };
    screen.leave();
    peer.leave().await;
    // Its goodbye lets pages say that the server has ended rather than that it was lost.
    drop(server.stop);
    let _ended = server.ended.await;
    outcome
}

/// The folder or file that the server has to show for the run's data, which are then to be found there.
fn serve_files(data: &mut DataTable) -> Option<PathBuf> {
    let (kind, location) = data.set.as_deref()?.split_once(':')?;
    let served = match kind {
        "idx" => "idx:/data",
        "text" => "text:/data/file",
        "csv" => "csv:/data/file",
        _ => return None,
    };
    let location = location.into();
    data.set = Some(served.to_owned());
    Some(location)
}

/// What a demo has to play with.
struct Stage<'a> {
    demo: &'a Demo,
    address: &'a str,
    invitation: Option<&'a Invitation>,
    program: Option<&'a Path>,
}

/// Opens the room, lets everybody in, and watches until the result is there; then, without `--json`, until Ctrl-C.
async fn play(stage: &Stage<'_>, peer: &mut Peer, screen: &mut Screen) -> Result<()> {
    let demo = stage.demo;
    let mut interrupt = pin!(interrupted());
    let link = peer.view_until(View::link);
    let link = tokio::select! {
        link = tokio::time::timeout(ROOM_MAX, link) => link.context("the demo's server opens no room")??,
        () = &mut interrupt => return Err(Failure::Interrupted.into()),
    };
    let server = stage.address.parse()?;
    let url = RoomUrl { server, link };
    // Standard output belongs to the result where that goes there.
    match &demo.json {
        Some(file) if file.as_os_str() == "-" => eprintln!("{url}"),
        _ => screen.print(&url.to_string()),
    }
    screen.say(who_may_take_part(&link));
    if let Some(invitation) = stage.invitation {
        screen.say(&invitation.words(&format!("/r/{link}")));
    }
    let show = match (demo.headed, demo.headless) {
        (true, _) => Show::Headed,
        (_, true) => Show::Headless,
        (false, false) => Show::where_possible(),
    };
    let mut cast = tokio::select! {
        cast = Cast::start(demo, stage.program, &url, show) => cast?,
        () = &mut interrupt => return Err(Failure::Interrupted.into()),
    };
    let trouble = async || Err(Failure::Unfinished(cast.trouble().await).into());
    let view = tokio::select! {
        view = until_finished(peer, screen, Some(Patience::new()), trouble) => view,
        () = &mut interrupt => return Err(Failure::Interrupted.into()),
    };
    let view = match view {
        Ok(view) => view,
        Err(error) => tokio::select! {
            explained = cast.explained(error) => return Err(explained),
            () = &mut interrupt => return Err(Failure::Interrupted.into()),
        },
    };
    if let Some(file) = &demo.json {
        let report = RunReport::of(&view, Transport::Webrtc)
            .context("the room has finished without a result")?;
        return report.write(file);
    }
    screen.say(&format!("The room stays open at {url} until Ctrl-C."));
    tokio::select! {
        error = keep_showing(peer, &mut cast, screen) => Err(error),
        () = &mut interrupt => Ok(()),
    }
}

/// Goes on drawing after the end, as devices leave; a browser that is closed then is nothing to complain about.
async fn keep_showing(peer: &mut Peer, cast: &mut Cast, screen: &mut Screen) -> anyhow::Error {
    let mut trouble = false;
    loop {
        tokio::select! {
            changed = peer.changed() => match changed {
                Ok(()) => {}
                Err(error) => return error,
            },
            words = cast.trouble(), if !trouble => {
                trouble = true;
                screen.say(&words);
            }
        }
        if let Some(view) = peer.view() {
            screen.show(&view);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_served_and_the_run_reads_them_there() {
        let mut digits = DataTable::set("digits");
        assert_eq!(serve_files(&mut digits), None);
        assert_eq!(digits, DataTable::set("digits"));
        for (set, path, served) in [
            ("idx:my/mnist", "my/mnist", "idx:/data"),
            ("text:C:notes.txt", "C:notes.txt", "text:/data/file"),
            ("csv:iris.csv", "iris.csv", "csv:/data/file"),
        ] {
            let mut files = DataTable::set(set);
            assert_eq!(serve_files(&mut files), Some(path.into()));
            assert_eq!(files, DataTable::set(served));
        }
    }
}
