//! Runs whose workers hold whole models.

use super::{Sim, percent, plain};
use crate::result::write_json;
use anyhow::{Result, bail};
use ringtmp_sim::Scenario;
use ringtmp_sim::team::{HashTeam, TeamChoice, TeamReport, simulate_team, team_job};

/// Simulates.
pub(super) fn run(sim: &Sim, choice: TeamChoice) -> Result<()> {
    let scenario = sim.scenario()?;
    let mut reports = Vec::new();
    for number in 0..sim.rings {
        let scenario = Scenario {
            seed: sim.seed.wrapping_add(number.into()),
            ..scenario.clone()
        };
        let mut compute = HashTeam::new(&team_job(&scenario, choice)?);
        let outcome = simulate_team(&scenario, choice, &mut compute)?;
        let hash = compute.hash();
        reports.push(TeamReport::of(&scenario, choice, &outcome, hash));
        if reports.len() == 1 {
            sim.draw(&outcome.trace)?;
        }
    }
    let Some(report) = TeamReport::mean_of(&reports) else {
        bail!("nothing was simulated");
    };
    match &sim.json {
        Some(path) => write_json(&report, path),
        None => {
            print(&report);
            Ok(())
        }
    }
}

pub(super) fn print(report: &TeamReport) {
    let what = match (report.placement, report.tau) {
        (Some(placement), Some(tau)) => format!("{}, {placement}, tau {tau}", report.paradigm),
        (None, _) | (_, None) => report.paradigm.to_owned(),
    };
    let servers = report.idle_servers;
    let servers = servers.map(|idle| format!(", of servers {}", percent(idle)));
    outln!(
        "{what}: idle {} of workers{}, {} of the rate lost",
        percent(report.idle_workers),
        servers.unwrap_or_default(),
        percent(report.rate_lost),
    );
    outln!(
        "{:.2} samples/s; workers that are never idle bound them at {:.2}",
        report.throughput,
        report.bound
    );
    outln!(
        "{:.3} s; mean of {} run(s) from seed {}; weights {}",
        report.seconds,
        report.runs,
        report.seed,
        report.hash
    );
    let mut table = plain(&[
        "device",
        "part",
        "share",
        "parameters",
        "idle",
        "input",
        "link",
        "update",
        "sent",
    ]);
    for (number, member) in report.members.iter().enumerate() {
        let part = match (member.is_worker, member.is_server) {
            (true, true) => "both",
            (true, false) => "worker",
            (false, _) => "server",
        };
        table.add_row([
            number.to_string(),
            part.to_owned(),
            member.micro_batches.to_string(),
            member.parameters.to_string(),
            percent(member.idle),
            percent(member.shares.input),
            percent(member.shares.link),
            percent(member.shares.update),
            format!("{:.2} MB", member.bytes_sent as f64 / 1e6),
        ]);
    }
    outln!("{table}");
}
