//! A device of its own: another host, as far as the network goes, that reaches the host's laptop and nobody else.

use super::stage::trains;
use super::{JOIN_MAX, RUN_MAX, view};
use anyhow::{Context, Result, ensure};
use ringtmp_core::signal::{Role, RunResult};
use ringtmp_tests::hosts::Host;
use ringtmp_tests::program::{Running, ringtmp};
use ringtmp_tests::{Browser, BrowserKind, Theatre, fragment_last, repository};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Updates of the run: seconds of training, beside which the browsers' start is what takes time.
const STEPS: u32 = 20;

/// `ringtmp serve`, as a user starts it, with a folder for its certificate. It ends with the test.
struct Served {
    _process: Running,
    /// Where this machine's own tabs open the page.
    here: String,
    /// Where it invites others to.
    elsewhere: Vec<String>,
}

impl Served {
    fn start(data: &Path) -> Result<Self> {
        let mut command = Command::new(ringtmp()?);
        command
            .args(["serve", "--port", "0", "--lan-port", "0", "--www"])
            .arg(repository().join("dist/www"))
            .env("XDG_DATA_HOME", data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = Running::start(&mut command)?;
        let (out, err) = (process.0.stdout.take(), process.0.stderr.take());
        let mut served = Self {
            _process: process,
            here: String::new(),
            elsewhere: Vec::new(),
        };
        let out = out.context("its output is piped")?;
        BufReader::new(out).read_line(&mut served.here)?;
        served.here = served.here.trim().to_owned();
        let mut lines = BufReader::new(err.context("its words are piped")?).lines();
        for line in lines.by_ref() {
            let line = line?;
            if let Some((_, link)) = line
                .split_once("For other devices in this network: ")
                .or_else(|| line.split_once("  or "))
            {
                served.elsewhere.push(link.trim().to_owned());
            }
            if line.contains("Ctrl-C ends") {
                break;
            }
        }
        // A thread, because it goes on emptying the pipe until the server ends.
        drop(std::thread::spawn(move || lines.for_each(drop)));
        Ok(served)
    }
}

#[tokio::test]
async fn a_phone_on_another_host_opens_the_https_address_taps_once_and_trains_with_the_hosts_tabs()
-> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    // Its wire is there before the server looks which addresses this machine has.
    let Some(host) = Host::new(3)? else {
        return Ok(());
    };
    host.has_a_way_out()?;
    let data = tempfile::tempdir()?;
    let served = Served::start(data.path())?;
    let to_here = format!("https://{}:", host.here);
    let mut invited = served.elsewhere.iter();
    let address = invited
        .find(|link| link.starts_with(&to_here))
        .with_context(|| format!("{:?} do not lead to {}", served.elsewhere, host.here))?;

    let laptop = theatre.browser(BrowserKind::Chromium).await?;
    let settings = format!("peers=3&steps={STEPS}&codec=f32&planning=counted&executor=cpu");
    let first = laptop
        .tab(&format!("{}/?create&{settings}&name=laptop", served.here))
        .await?;
    let room = first.room(JOIN_MAX).await?;
    ensure!(room.secret.is_some(), "the link lets nobody in by itself");
    let second = format!("{}/r/{room}?join&executor=cpu", served.here);
    let second = laptop.tab(&fragment_last(&second)).await?;

    let browser = Browser::start_at(&host).await?;
    let phone = browser.tab("about:blank").await?;
    let opened = Instant::now();
    phone.goto(&format!("{address}/r/{room}")).await?;
    phone.wait_for_text(JOIN_MAX, "Before you join").await?;
    let is_secure = phone.execute("return isSecureContext").await?;
    ensure!(is_secure == true, "a page without its rights");
    let is_in = |view: &ringtmp_peer::View| view.room.is_some();
    let before = phone.wait_for(JOIN_MAX, "the room", is_in).await?;
    ensure!(before.role == Role::Spectator, "it takes part unasked");
    let tapped = Instant::now();
    phone.press("Join").await?;
    phone.wait_for(RUN_MAX, "training", trains).await?;
    println!(
        "the card {:.1} s after the address was opened, training {:.1} s after the tap",
        tapped.duration_since(opened).as_secs_f64(),
        tapped.elapsed().as_secs_f64()
    );

    let mut results: Vec<RunResult> = Vec::new();
    for tab in [&first, &second, &phone] {
        results.push(tab.finished(RUN_MAX).await?);
    }
    ensure!(
        results.iter().all(|result| *result == results[0]) && results[0].steps == STEPS,
        "{results:?}"
    );
    let shown = view(&phone).await?;
    let (me, room) = (shown.me, shown.room.context("a room")?);
    let held = me.and_then(|me| room.ring()?.layers_of(me));
    ensure!(held.is_some(), "it ends without layers: {room:?}");
    ensure!(room.recoveries.is_empty(), "{:?}", room.recoveries);
    let members = room.members;
    let mut links = members.iter().flat_map(|member| &member.links);
    ensure!(links.all(|link| !link.relayed), "{members:?}");
    Ok(())
}
