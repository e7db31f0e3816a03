//! `ringtmp idle`: how idle real devices are, beside what the simulator says of them. Peers are paced, so that this machine
//! can be several devices at once; a run in which it could not keep their pace is refused.

mod predict;

pub(crate) use predict::{NATIVE_LINK, behind};

use super::serve::{self, RoomForAll, Running};
use super::sim::{percent, plain};
use crate::arguments::Listen;
use crate::browser::{self, Browser, Looks, Show};
use crate::exit::Failure;
use crate::follow::until_finished;
use crate::interrupt::interrupted;
use crate::page;
use crate::patience::Patience;
use crate::peer::{Carrier, Part, Peer};
use crate::process::Guard;
use crate::result::write_json;
use crate::room_url::RoomUrl;
use crate::speed::Speed;
use crate::terminal::Screen;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use predict::{Emulated, predicted};
use ringtmp_core::schedule::Mode;
use ringtmp_core::signal::{MemberView, Role, RunOutline};
use ringtmp_core::trace::Shares;
use ringtmp_peer::{DataTable, Entry, ExecutorChoice, ModelTable, Own, RunFile, View};
use ringtmp_transport::native::AccessLink;
use serde::Serialize;
use std::path::PathBuf;

/// The version of the JSON below: keys are added, never changed.
const SCHEMA_VERSION: u32 = 1;

/// The share of tasks that may be late before the machine counts as the bottleneck.
const LATE_SHARE_MAX: f64 = 0.02;

#[derive(Args, Debug)]
pub(crate) struct Idle {
    /// Native devices of the ring
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=16))]
    natives: u16,
    /// Browser tabs of the ring
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=16))]
    tabs: u16,
    /// Their speeds, natives first: how many times slower than each other (1,4,4), or operations per second (20M,5M,5M)
    #[arg(long, value_name = "SPEEDS", value_delimiter = ',')]
    pace: Vec<Speed>,
    /// Emulate the link between each device and all others: a delay one way, a rate, or both
    #[arg(long, value_name = "25ms,10mbit")]
    access_link: Option<AccessLink>,
    /// The model
    #[arg(long, default_value = "gpt-nano")]
    preset: String,
    /// What to train on; what goes with the model if not given
    #[arg(long)]
    data: Option<String>,
    /// The schedule
    #[arg(long, default_value = "sync")]
    schedule: Mode,
    /// Micro-batches of a step
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    micro_batches: u16,
    /// Steps to make
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Write the figures to this file ("-" for standard output)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    listen: Listen,
}

/// The figures.
#[derive(Debug, Serialize)]
struct Comparison {
    schema_version: u32,
    schedule: Mode,
    preset: String,
    micro_batches: u16,
    steps: u32,
    /// Head first.
    peers: Vec<Compared>,
    /// The largest difference between both idle shares.
    difference_max: f64,
}

#[derive(Debug, Serialize)]
struct Compared {
    name: String,
    layers: [u16; 2],
    operations_per_second: f64,
    /// From when the ring began until the device's part was done, so with filling and draining.
    idle: f64,
    idle_simulated: f64,
    shares: Shares,
    shares_simulated: Shares,
    tasks: u64,
    /// Tasks that took longer than they should have.
    late: u64,
}

/// Measures, simulates, and tells both.
pub(crate) async fn run(idle: Idle, quiet: bool) -> Result<()> {
    let peers = idle.natives + idle.tabs;
    if peers == 0 {
        bail!("a ring needs at least one native device or tab");
    }
    let run = idle.run_file(peers).check()?;
    let outline = run.descriptor().outline;
    let speeds = idle.speeds(&outline, usize::from(peers))?;
    let program = (idle.tabs > 0).then(browser::find).transpose()?;
    let server = serve::bind(&idle.listen, None, RoomForAll::default())?;
    if idle.tabs > 0 && !server.has_page() {
        let missing = page::missing(idle.listen.www.as_deref());
        return Err(Failure::Missing(missing.to_string()).into());
    }
    let (server, address) = Running::start(server);
    let mut ring = Ring {
        watcher: Peer::start(Part::creator(&address, run.file))?,
        natives: Vec::new(),
        tabs: None,
        guard: Guard::start(),
    };
    let mut screen = Screen::new(quiet);
    let outcome = {
        let play = async {
            ring.fill(&idle, &address, &speeds, program.as_deref())
                .await?;
            ring.until_finished(&mut screen).await
        };
        tokio::select! {
            outcome = play => outcome,
            error = server.failed => Err(error),
            () = interrupted() => Err(Failure::Interrupted.into()),
        }
    };
    screen.leave();
    ring.leave().await;
    drop(server.stop);
    let _ended = server.ended.await;
    let comparison = idle.compare(&outcome?, &outline, &speeds)?;
    match &idle.json {
        Some(path) => write_json(&comparison, path)?,
        None => comparison.print(),
    }
    comparison.refuse_if_late()
}

impl Idle {
    fn run_file(&self, peers: u16) -> RunFile {
        let micro_batch = RunFile::default().micro_batch;
        RunFile {
            model: ModelTable {
                preset: Some(self.preset.clone()),
                ..ModelTable::default()
            },
            data: DataTable {
                set: self.data.clone(),
                ..DataTable::default()
            },
            schedule: self.schedule,
            steps: self.steps,
            batch: micro_batch * u32::from(self.micro_batches),
            micro_batch,
            evaluation_samples: 0,
            start_at_peers: peers,
            ..RunFile::default()
        }
    }

    /// Names of devices with their operations per second, natives first.
    fn speeds(&self, outline: &RunOutline, peers: usize) -> Result<Vec<(String, f64)>> {
        let equal = vec![Speed::Slowness(1.0); peers];
        let pace = if self.pace.is_empty() {
            &equal
        } else {
            &self.pace
        };
        if pace.len() != peers {
            let speeds = pace.len();
            bail!("--pace names {speeds} speeds for {peers} devices: give one for each");
        }
        let natives = (1..=self.natives).map(|number| format!("native {number}"));
        let tabs = (1..=self.tabs).map(|number| format!("tab {number}"));
        let speed = |speed: &Speed| speed.operations_per_second(outline, peers);
        Ok(natives.chain(tabs).zip(pace.iter().map(speed)).collect())
    }

    fn compare(
        &self,
        view: &View,
        outline: &RunOutline,
        speeds: &[(String, f64)],
    ) -> Result<Comparison> {
        let room = view.room.as_ref().context("there is no room")?;
        let plan = room.ring().context("the room had no plan")?;
        let stages: Vec<(&MemberView, f64)> = plan
            .order
            .iter()
            .map(|peer| {
                let member = room.members.iter().find(|member| member.peer == *peer);
                let member = member.ok_or_else(|| anyhow!("a device left before the end"))?;
                let speed = speeds.iter().find(|(name, _)| *name == member.device.name);
                let (_, speed) = speed.context("a device that nobody asked for")?;
                Ok((member, *speed))
            })
            .collect::<Result<_>>()?;
        let emulated = stages.iter().map(|(member, speed)| Emulated {
            operations_per_second: *speed,
            kind: member.device.kind,
        });
        let devices = emulated.collect::<Vec<_>>();
        let simulated = predicted(outline, plan, &devices, self.access_link)?;
        let compared =
            |(((member, speed), pair), simulated): ((&(&MemberView, f64), &[u16]), &Shares)| {
                let report = member.report.as_ref();
                let report =
                    report.with_context(|| format!("{} has told nothing", member.device.name))?;
                let paced = report.paced.unwrap_or_default();
                Ok(Compared {
                    name: member.device.name.clone(),
                    layers: [pair[0], pair[1]],
                    operations_per_second: *speed,
                    idle: report.run.idle(),
                    idle_simulated: simulated.idle(),
                    shares: report.run,
                    shares_simulated: *simulated,
                    tasks: paced.tasks,
                    late: paced.late,
                })
            };
        let stages = stages.iter().zip(plan.cuts.windows(2)).zip(&simulated);
        let peers: Vec<Compared> = stages.map(compared).collect::<Result<_>>()?;
        let differences = peers
            .iter()
            .map(|peer| (peer.idle - peer.idle_simulated).abs());
        Ok(Comparison {
            schema_version: SCHEMA_VERSION,
            schedule: self.schedule,
            preset: self.preset.clone(),
            micro_batches: self.micro_batches,
            steps: self.steps,
            difference_max: differences.fold(0.0, f64::max),
            peers,
        })
    }
}

/// The devices, and who watches them. Whatever was started is ended when this is dropped.
struct Ring {
    watcher: Peer,
    natives: Vec<Peer>,
    tabs: Option<Browser>,
    guard: Guard,
}

impl Ring {
    async fn fill(
        &mut self,
        idle: &Idle,
        address: &str,
        speeds: &[(String, f64)],
        program: Option<&std::path::Path>,
    ) -> Result<()> {
        let link = self.watcher.view_until(View::link).await?;
        let (natives, tabs) = speeds.split_at(usize::from(idle.natives));
        for (name, speed) in natives {
            self.natives.push(Peer::start(Part {
                server: address.to_owned(),
                entry: Entry::Join(link),
                role: Role::Participant,
                name: name.clone(),
                executor: ExecutorChoice::Cpu,
                carrier: Carrier::WebRtc(idle.access_link),
                weights: None,
                own: Own {
                    operations_per_second: Some(*speed),
                    ..Own::default()
                },
            })?);
        }
        if let Some(program) = program {
            let server = address.parse()?;
            let url = RoomUrl { server, link };
            let tab = |(name, speed): &(String, f64)| {
                let name = name.replace(' ', "%20");
                url.page(&format!("join&executor=cpu&name={name}&pace={speed}"))
            };
            let urls: Vec<String> = tabs.iter().map(tab).collect();
            let looks = Looks {
                access_link: idle.access_link,
                ..Looks::here(Show::Headless, ExecutorChoice::Cpu)
            };
            self.tabs = Some(Browser::start(program, &looks, &urls, &mut self.guard).await?);
        }
        Ok(())
    }

    async fn until_finished(&mut self, screen: &mut Screen) -> Result<View> {
        let tabs = &mut self.tabs;
        let trouble = async || match tabs {
            Some(tabs) => Err(Failure::Unfinished(tabs.trouble().await).into()),
            None => std::future::pending().await,
        };
        until_finished(&mut self.watcher, screen, Some(Patience::new()), trouble).await
    }

    async fn leave(self) {
        futures::future::join_all(self.natives.into_iter().map(Peer::leave)).await;
        self.watcher.leave().await;
    }
}

impl Comparison {
    fn print(&self) {
        let mut table = plain(&[
            "device",
            "layers",
            "idle",
            "simulated",
            "difference",
            "for input",
            "for links",
            "for credit",
            "for weights",
            "late",
        ]);
        for peer in &self.peers {
            let (here, there) = (&peer.shares, &peer.shares_simulated);
            let both = |here, there| format!("{} ({})", percent(here), percent(there));
            table.add_row([
                peer.name.clone(),
                format!("{}..{}", peer.layers[0], peer.layers[1]),
                percent(peer.idle),
                percent(peer.idle_simulated),
                format!("{:+.1} points", 100.0 * (peer.idle - peer.idle_simulated)),
                both(here.input, there.input),
                both(here.link, there.link),
                both(here.credit, there.credit),
                both(here.weights, there.weights),
                format!("{} of {}", peer.late, peer.tasks),
            ]);
        }
        outln!("{table}");
    }

    /// A measurement of this machine instead of the devices is none.
    fn refuse_if_late(&self) -> Result<()> {
        let late = |peer: &&Compared| peer.late as f64 > LATE_SHARE_MAX * peer.tasks as f64;
        match self.peers.iter().find(late) {
            None => Ok(()),
            Some(peer) => Err(Failure::Unfinished(format!(
                "this machine was the bottleneck: {} of {} tasks of {} were slower than its pace; use slower devices (--pace) or fewer",
                peer.late, peer.tasks, peer.name
            ))
            .into()),
        }
    }
}
