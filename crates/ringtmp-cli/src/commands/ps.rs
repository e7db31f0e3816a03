//! `ringtmp ps`.

use super::fetch::Export;
use super::join::take_part;
use crate::announce::announce;
use crate::memory::Memory;
use crate::peer::{Carrier, Part, Peer};
use crate::room_url::RoomUrl;
use crate::run_choice::read;
use crate::terminal::doorkeeper;
use anyhow::{Result, bail};
use clap::Args;
use ringtmp_core::parameter_server::Placement;
use ringtmp_core::signal::Role;
use ringtmp_peer::{Entry, ExecutorChoice, Own, Paradigm, RunFile, View};
use ringtmp_transport::ServerAddress;
use std::path::PathBuf;

/// `ringtmp ps`: serve a room's parameters.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// The room's address, such as http://localhost:8080/r/CODE; without it a room is opened, and its address printed
    pub(crate) url: Option<RoomUrl>,
    /// How many servers this process is; each has an equal part of the parameters
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) shards: u16,
    /// The server on which to open a room
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        conflicts_with = "url"
    )]
    pub(crate) server: ServerAddress,
    /// The run of a room that is opened, as TOML; without it an mlp learns digits
    #[arg(long, value_name = "FILE.toml", conflicts_with = "url")]
    pub(crate) run: Option<PathBuf>,
    /// With how many workers a room that is opened starts
    #[arg(long, default_value_t = 2, conflicts_with = "url", value_parser = clap::value_parser!(u16).range(1..=47))]
    pub(crate) workers: u16,
    /// Open a room without a secret: whoever reaches the server and hears the room's code may take part
    #[arg(long, conflicts_with = "url")]
    pub(crate) open: bool,
    /// What computes: auto, gpu or cpu
    #[arg(long, default_value = "cpu")]
    pub(crate) executor: ExecutorChoice,
    /// The device's name for people
    #[arg(long, default_value = "parameter server")]
    pub(crate) name: String,
    /// Leave when the run has finished
    #[arg(long)]
    pub(crate) exit_when_finished: bool,
    /// Write the model to this file once the run has finished; where this process is the only server
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) export: Option<PathBuf>,
}

/// Serves until it is interrupted, or, if asked to, until the run ends.
pub(crate) async fn run(serve: Serve, quiet: bool) -> Result<()> {
    let (server, entry) = match &serve.url {
        Some(url) => (url.server.clone(), Entry::Join(url.link)),
        None => (serve.server.clone(), Entry::Create(file(&serve)?)),
    };
    if serve.export.is_some() && serve.shards > 1 {
        bail!(
            "--export needs all parameters in one place, and each of these servers has a part: let a worker write the model (ringtmp join --export)"
        );
    }
    let (export, models) = serve.export.clone().map(Export::new).unzip();
    let part = |entry, number: u16| Part {
        server: server.to_string(),
        entry,
        role: Role::Server,
        name: match serve.shards {
            1 => serve.name.clone(),
            _ => format!("{} {number}", serve.name),
        },
        executor: serve.executor,
        carrier: Carrier::WebRtc(None),
        weights: None,
        own: Own {
            memory_bytes: Memory::of_this_machine(serve.shards),
            open_room: serve.open,
            decides: doorkeeper::is_there(quiet),
            ..Own::default()
        },
    };
    let mut own = part(entry, 1);
    own.own.models = models;
    let mut first = Peer::start(own)?;
    let link = first.view_until(View::link).await?;
    if serve.url.is_none() {
        let server = server.clone();
        announce(&RoomUrl { server, link });
    }
    let others = (2..=serve.shards).map(|number| Peer::start(part(Entry::Join(link), number)));
    let others: Vec<Peer> = others.collect::<Result<_>>()?;
    let outcome = take_part(first, serve.exit_when_finished, export, quiet).await;
    futures::future::join_all(others.into_iter().map(Peer::leave)).await;
    outcome
}

/// The run of the room that is opened: that of the file, with as many servers as this process is where it does not say.
fn file(serve: &Serve) -> Result<RunFile> {
    let mut file = match &serve.run {
        Some(path) => read(path)?,
        None => RunFile {
            paradigm: Paradigm::ParameterServer,
            ..RunFile::default()
        },
    };
    let shards = serve.shards;
    let table = &mut file.parameter_server;
    if table.placement.is_none() && shards > 1 {
        (table.placement, table.shards) = (Some(Placement::Dedicated), Some(shards));
    }
    let wanted = match (file.paradigm, table.placement()) {
        (Paradigm::Ring | Paradigm::AllReduce, _) => bail!(
            "paradigm = \"{}\" has no parameter server: write paradigm = \"parameter-server\" into the run file, or use ringtmp serve",
            file.paradigm
        ),
        (Paradigm::ParameterServer, Placement::Colocated) => bail!(
            "placement = \"colocated\" has the parameters at the workers: there is nothing for ringtmp ps to serve"
        ),
        (Paradigm::ParameterServer, Placement::Single) => 1,
        (Paradigm::ParameterServer, Placement::Dedicated) => table.shards(),
    };
    if shards > wanted {
        bail!("the run wants {wanted} servers, and this process would be {shards}: see --shards");
    }
    // Servers that come from elsewhere are waited for as well.
    file.start_at_peers = wanted + serve.workers;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        serve: Serve,
    }

    fn file_of(arguments: &[&str]) -> Result<RunFile> {
        let program = ["ps"].iter().chain(arguments);
        file(&Program::try_parse_from(program)?.serve)
    }

    #[test]
    fn a_room_that_is_opened_waits_for_its_servers_and_workers() {
        let one = file_of(&[]).expect("a run");
        assert_eq!(one.paradigm, Paradigm::ParameterServer);
        assert_eq!(
            (one.parameter_server.placement(), one.start_at_peers),
            (Placement::Single, 3)
        );
        let three = file_of(&["--shards", "3", "--workers", "4"]).expect("a run");
        let table = three.parameter_server;
        assert_eq!(
            (table.placement(), table.shards()),
            (Placement::Dedicated, 3)
        );
        assert_eq!(three.start_at_peers, 7);
        three.check().expect("sound");
    }

    #[test]
    fn a_run_that_wants_no_such_server_is_refused_with_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run.toml");
        let path = path.to_str().expect("a path");
        let refused = |toml: &str, more: &[&str]| {
            std::fs::write(path, toml).expect("written");
            let arguments = [&["--run", path][..], more].concat();
            file_of(&arguments).expect_err("no").to_string()
        };
        assert!(refused("", &[]).contains("has no parameter server"));
        assert!(refused("paradigm = 'all-reduce'", &[]).contains("has no parameter server"));
        let server = "paradigm = 'parameter-server'\nparameter_server.placement =";
        assert!(refused(&format!("{server} 'colocated'"), &[]).contains("at the workers"));
        assert!(refused(&format!("{server} 'single'"), &["--shards", "2"]).contains("wants 1"));
        let both = ["http://127.0.0.1:1/r/0000-0000-0000-0000", "--workers", "3"];
        assert!(file_of(&both).is_err(), "a room that is there has its run");
    }
}
