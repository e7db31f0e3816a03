//! `ringtmp sim`.

mod real;
pub(crate) use real::RealTeam;
mod team;

use crate::result::write_json;
use crate::speed::Speed;
use anyhow::{Context, Result, bail};
use clap::Args;
use comfy_table::{Table, presets};
use ringtmp_core::parameter_server::{Exchange, MEMBERS_MAX, Placement, Staleness};
use ringtmp_core::plan::LayerCost;
use ringtmp_core::schedule::Mode;
use ringtmp_core::trace::json::{Trace, to_json};
use ringtmp_core::trace::{Span, extent};
use ringtmp_peer::Paradigm;
use ringtmp_sim::any::Tally;
use ringtmp_sim::check::simulate_checked;
use ringtmp_sim::report::Report;
use ringtmp_sim::team::TeamChoice;
use ringtmp_sim::{DeviceSpec, Hop, Hops, Loss, Scenario, timeline};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Steps that a timeline shows: more are too fine to be seen.
const TIMELINE_STEPS: u32 = 3;

#[derive(Args, Debug)]
pub(crate) struct Sim {
    /// Devices: at most 64 of a ring, 1024 of other paradigms
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=MEMBERS_MAX as i64))]
    peers: u16,
    /// How devices train together: ring, parameter-server or all-reduce
    #[arg(long, default_value_t = Paradigm::Ring)]
    paradigm: Paradigm,
    /// Where the parameters of a parameter server are: single, dedicated or colocated
    #[arg(long, default_value_t = Placement::Single)]
    placement: Placement,
    /// How many servers, where they are dedicated
    #[arg(long, value_name = "SERVERS", default_value_t = 2)]
    shards: u16,
    /// How many steps' pushes a parameter server's worker may miss: a number, or infinite
    #[arg(long, value_name = "STEPS", default_value_t = Staleness::Steps(0))]
    tau: Staleness,
    /// Train this run for real under virtual time, where the paradigm is not the ring: layers, micro-batches, steps, codec and the
    /// parameter server are the run's
    #[arg(long, value_name = "FILE.toml", conflicts_with_all = ["faults", "devices", "paradigm", "placement", "shards", "tau", "schedule", "micro_batches", "steps", "clip"])]
    run: Option<PathBuf>,
    /// With --run, how fast the devices are: how many times slower than that which is called 1, or operations per second (20M)
    #[arg(long, default_value = "1", requires = "run")]
    speed: Speed,
    /// With --run, write step, loss and virtual seconds of every step
    #[arg(long, value_name = "FILE.csv", requires = "run")]
    log: Option<PathBuf>,
    /// The schedule of a ring: sync, 2bw, async, or the static rival 1f1b
    #[arg(long, default_value = "sync")]
    schedule: Mode,
    /// Micro-batches of a step
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    micro_batches: u16,
    /// Delay of a hop, in units of one forward
    #[arg(long, default_value_t = 0.0)]
    hop_delay: f64,
    /// Each task takes 1 + J (E - 1) times its time, E exponential of mean 1
    #[arg(long, value_name = "J", default_value_t = 0.0)]
    jitter: f64,
    /// Clip gradients by the norm of all stages' together: each update waits for the sum of their squares
    #[arg(long)]
    clip: bool,
    /// Steps to make
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Makes all draws: the same seed replays the same run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Simulate random rings in which devices crash, sleep, are cut off and return, one for each of --seeds: all that is
    /// checked of them must hold
    #[arg(long, conflicts_with_all = ["devices", "rings", "timeline", "trace"])]
    faults: bool,
    /// With --faults, so many rings; the first has the seed --seed
    #[arg(long, default_value_t = 1000, requires = "faults", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Simulate so many rings, under seeds that follow each other, and tell the means
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rings: u32,
    /// Bytes that a stage may take at each device; credits and put-off W are chosen by it
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    memory: u64,
    /// Bytes per second of a link; without limit if not given
    #[arg(long, value_name = "BYTES")]
    rate: Option<f64>,
    /// Unequal devices: JSON with "devices" and, where they differ, "layers", "links" {"between": [0, 1], ...}, the medium they
    /// share, and "losses" of connections
    #[arg(long, value_name = "FILE")]
    devices: Option<PathBuf>,
    /// Write the figures to this file ("-" for standard output)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the first steps of the first ring to this file, as SVG
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,
    /// Write all tasks, transfers and waits of the first ring to this file, as Chrome trace-event JSON
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// What `--devices` reads.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Devices {
    devices: Vec<DeviceSpec>,
    /// What the layers cost; without them every device has an equal one.
    #[serde(default)]
    layers: Option<Vec<LayerCost>>,
    /// Those that differ from what `--hop-delay` and `--rate` say.
    #[serde(default)]
    links: Vec<Between>,
    /// Connections that break.
    #[serde(default)]
    losses: Vec<Loss>,
    /// What devices with `on_medium` share.
    #[serde(default)]
    medium_bytes_per_second: Option<f64>,
}

/// A link between two devices, counted from 0.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Between {
    between: [usize; 2],
    delay_seconds: f64,
    #[serde(default)]
    bytes_per_second: Option<f64>,
}

impl Devices {
    fn put_into(self, scenario: &mut Scenario) -> Result<()> {
        let count = self.devices.len();
        if count != scenario.devices.len() {
            bail!("it has {count} devices; say --peers {count}");
        }
        scenario.devices = self.devices;
        scenario.medium_bytes_per_second = self.medium_bytes_per_second;
        scenario.losses = self.losses;
        if let Some(layers) = self.layers {
            scenario.outline.layers = layers;
        }
        for link in self.links {
            let [one, other] = link.between;
            if one == other || one.max(other) >= count {
                bail!("there is no link between {one} and {other}: devices are counted from 0");
            }
            let hop = Hop {
                delay_seconds: link.delay_seconds,
                bytes_per_second: link.bytes_per_second,
            };
            scenario.links.set(one, other, hop);
        }
        Ok(())
    }
}

/// Simulates rings in which things go wrong.
fn faults(sim: &Sim) -> Result<()> {
    let mut tally = Tally::default();
    for seed in sim.seed..sim.seed.saturating_add(sim.seeds) {
        let replay = || format!("replay it: ringtmp sim --faults --seed {seed} --seeds 1");
        tally.add(seed).with_context(replay)?;
    }
    if let Some(path) = &sim.json {
        return write_json(&tally, path);
    }
    let Tally {
        rings,
        recovered,
        moved,
        from_disks,
        stopped,
    } = tally;
    outln!(
        "{rings} rings passed every check: {recovered} went on from copies ({moved} of them moved layers), {from_disks} from disks alone, {stopped} stopped since nobody was left, or wait for who does not come back"
    );
    Ok(())
}

/// Simulates.
pub(crate) fn run(sim: &Sim) -> Result<()> {
    if sim.faults {
        return faults(sim);
    }
    if let Some(path) = &sim.run {
        return real::run(sim, path);
    }
    if let Some(choice) = sim.team()? {
        return team::run(sim, choice);
    }
    let scenario = sim.scenario()?;
    scenario.check()?;
    let mut reports = Vec::new();
    for ring in 0..sim.rings {
        let scenario = Scenario {
            seed: sim.seed.wrapping_add(ring.into()),
            ..scenario.clone()
        };
        let outcome = simulate_checked(&scenario)?;
        reports.push(Report::of(&scenario, &outcome));
        if reports.len() == 1 {
            sim.draw(&outcome.trace)?;
        }
    }
    let Some(report) = Report::mean_of(&reports) else {
        bail!("no ring was simulated");
    };
    match &sim.json {
        Some(path) => write_json(&report, path),
        None => {
            print(&report);
            Ok(())
        }
    }
}

impl Sim {
    fn scenario(&self) -> Result<Scenario> {
        let peers = self.peers;
        let (micro_batches, hop_delay) = (self.micro_batches, self.hop_delay);
        let mut scenario =
            Scenario::equal(peers, self.schedule, micro_batches, self.steps, hop_delay);
        scenario.jitter = self.jitter;
        scenario.outline.schedule.clips_gradients = self.clip;
        scenario.links = Hops::all(Hop {
            bytes_per_second: self.rate,
            ..scenario.links.get(0, 0)
        });
        if let Some(path) = &self.devices {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let file: Devices = serde_json::from_str(&text)
                .with_context(|| format!("{} describes no devices", path.display()))?;
            file.put_into(&mut scenario)
                .with_context(|| path.display().to_string())?;
        }
        for device in &mut scenario.devices {
            device.memory_bytes.get_or_insert(self.memory);
        }
        Ok(scenario)
    }

    /// How a team trains, if the paradigm is not the ring; what only rings have is refused then.
    fn team(&self) -> Result<Option<TeamChoice>> {
        let exchange = match self.paradigm {
            Paradigm::Ring => return Ok(None),
            Paradigm::ParameterServer => Exchange::Server,
            Paradigm::AllReduce => Exchange::AllReduce,
        };
        if self.schedule != Mode::Sync {
            let (paradigm, schedule) = (self.paradigm, self.schedule);
            bail!(
                "{paradigm} has no schedule {schedule}: leave out --schedule; --tau is how late weights may be"
            );
        }
        if exchange == Exchange::AllReduce && self.tau != Staleness::default() {
            bail!("all-reduce has no staleness: leave out --tau");
        }
        Ok(Some(TeamChoice {
            exchange,
            placement: self.placement,
            shards: self.shards,
            staleness: self.tau,
        }))
    }

    fn draw(&self, trace: &[Span]) -> Result<()> {
        if let Some(path) = &self.trace {
            let recorded = Trace {
                spans: trace.to_vec(),
                ..Trace::default()
            };
            write(path, &to_json(&recorded))?;
        }
        if let Some(path) = &self.timeline {
            let first_steps = trace.iter().filter(|span| {
                span.activity.is_task()
                    && span.details.step.is_some_and(|step| step < TIMELINE_STEPS)
            });
            let (start, _) = extent(trace);
            let end = first_steps.map(|span| span.end).max().unwrap_or(start);
            write(path, &timeline::svg(trace, start, end))?;
        }
        Ok(())
    }
}

fn print(report: &Report) {
    outln!(
        "{}: idle {} at the bottleneck ({} with filling and draining), {} of the rate lost",
        report.schedule,
        percent(report.idle_bottleneck),
        percent(report.idle_bottleneck_whole_run),
        percent(report.rate_lost),
    );
    outln!(
        "{:.2} samples/s; the busiest device bounds them at {:.2}, the plan at {:.2}",
        report.throughput,
        report.bound,
        report.planned
    );
    outln!(
        "{:.3} s; mean of {} run(s) from seed {}; weights {}",
        report.seconds,
        report.runs,
        report.seed,
        report.hash
    );
    let mut table = plain(&[
        "stage", "device", "layers", "idle", "input", "link", "credit", "weights", "c", "Wmax",
        "slots", "memory", "sent",
    ]);
    for (i, peer) in report.peers.iter().enumerate() {
        let shares = peer.shares;
        table.add_row([
            i.to_string(),
            peer.device.to_string(),
            format!("{}..{}", peer.layers[0], peer.layers[1]),
            percent(peer.idle),
            percent(shares.input),
            percent(shares.link),
            percent(shares.credit),
            percent(shares.weights),
            peer.credit_max.to_string(),
            peer.weights_pending.to_string(),
            peer.slots.to_string(),
            format!("{:.2} MB", peer.memory_bytes as f64 / 1e6),
            format!("{:.2} MB", peer.bytes_sent as f64 / 1e6),
        ]);
    }
    outln!("{table}");
    if !report.spares.is_empty() {
        let spares: Vec<String> = report.spares.iter().map(usize::to_string).collect();
        outln!("without device {}", spares.join(", "));
    }
}

pub(super) fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(header.iter().copied());
    table
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(text: &str) -> Result<Scenario> {
        let mut scenario = Scenario::equal(2, Mode::Sync, 4, 2, 0.0);
        serde_json::from_str::<Devices>(text)?.put_into(&mut scenario)?;
        scenario.check()?;
        Ok(scenario)
    }

    const DEVICES: &str = r#""devices": [{"flops_per_second": [100, 100, 50], "memory_bytes": 9000000}, {"flops_per_second": [25, 25, 25], "on_medium": true}]"#;

    #[test]
    fn a_file_tells_of_devices_layers_links_a_medium_and_losses() {
        let layer =
            r#"{"flops": [1, 1, 1], "parameters": 10, "output_bytes": 4, "stash_bytes": 8}"#;
        let text = format!(
            r#"{{{DEVICES}, "layers": [{layer}, {layer}, {layer}], "links": [{{"between": [1, 0], "delay_seconds": 0.5}}],
            "medium_bytes_per_second": 1e6, "losses": [{{"between": [0, 1], "at_seconds": 2.5}}]}}"#
        );
        let scenario = put(&text).expect("a sound file");
        assert_eq!(scenario.devices[0].memory_bytes, Some(9_000_000));
        assert!(scenario.devices[1].on_medium && scenario.outline.layers.len() == 3);
        assert_eq!(scenario.links.get(0, 1).delay_seconds, 0.5);
        assert_eq!(scenario.medium_bytes_per_second, Some(1e6));
        let error = simulate_checked(&scenario)
            .map(|_| ())
            .expect_err("a lost connection");
        assert!(
            error.to_string().contains("the connection was lost"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_does_not_fit_is_refused_with_the_reason() {
        let refused = |text: String| put(&text).expect_err("not sound").to_string();
        let one = r#"{"devices": [{"flops_per_second": [1, 1, 1]}]}"#.to_owned();
        assert!(refused(one).contains("say --peers 1"));
        let link = r#""links": [{"between": [0, 2], "delay_seconds": 1}]"#;
        assert!(refused(format!("{{{DEVICES}, {link}}}")).contains("no link between 0 and 2"));
        let loss = r#""losses": [{"between": [1, 1], "at_seconds": 1}]"#;
        assert!(refused(format!("{{{DEVICES}, {loss}}}")).contains("lost connection"));
        assert!(refused(format!("{{{DEVICES}, \"speed\": 1}}")).contains("unknown field"));
    }
}
