//! Rings of real tabs, each in a browser process of its own, of which one dies at a random moment: whether the others go on, how
//! soon, and whether they end with the weights of a ring that was left in peace.

use crate::browser::{Browser, BrowserKind};
use crate::relay::Relay;
use crate::ring::{shown, watcher};
use crate::tab::Tab;
use crate::theatre::Theatre;
use anyhow::{Context, Result, bail};
use futures::channel::mpsc;
use futures::future::try_join_all;
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::profile::Planning;
use ringtmp_core::secret::RoomLink;
use ringtmp_core::signal::{Recovery, Replication, RoomState, RunResult};
use ringtmp_peer::{Command, Paradigm, RunFile, ServerState, View};
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::LocalSet;

/// Tabs of a ring.
pub const TABS: usize = 4;

/// Updates between two versions that are kept, so that at most ten steps are made again.
pub const EVERY: u16 = 2;

/// Operations per second at which a step of 16 samples takes a ring some 0.8 seconds.
pub const PACE: f64 = 2e9;

/// Until a ring has done what it is waited for: two cores carry four tabs.
const WAIT_MAX: Duration = Duration::from_secs(240);

/// How long a tab sleeps.
const SLEEP: Duration = Duration::from_secs(10);

/// How much a ring has to do.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// A ring, or devices with whole models.
    pub paradigm: Paradigm,
    /// Updates.
    pub steps: u32,
    /// Samples of each, in eight micro-batches.
    pub batch: u32,
    /// Operations per second of the device that each tab stands for, so that on any machine a run outlasts what is done to it;
    /// none for as fast as the machine is.
    pub pace: Option<f64>,
}

/// A run whose end nobody awaits.
const ENDLESS: Work = Work {
    paradigm: Paradigm::Ring,
    steps: 100_000,
    batch: 8,
    pace: None,
};

/// Whether a tab has written all that it is to keep of a version: what it says of it comes last.
const KEEPS: &str = "return (async () => {
    let folder = await navigator.storage.getDirectory();
    folder = await folder.getDirectoryHandle('runs');
    for await (const run of folder.values()) {
        for await (const peer of run.values()) {
            for await (const name of peer.keys()) if (name === 'about') return true;
        }
    }
    return false;
})()";

/// Steps after which a ring is seen to train on.
const TRAINS_ON: u32 = 2;

/// `gpt-nano`, exactly, so that weights can be compared.
fn run_file(work: Work) -> RunFile {
    RunFile {
        paradigm: work.paradigm,
        steps: work.steps,
        batch: work.batch,
        micro_batch: work.batch / 8,
        evaluate_every: 0,
        evaluation_samples: 0,
        codec: CodecChoice::F32,
        planning: Planning::Counted,
        replicate: Replication::Every(EVERY),
        start_at_peers: TABS as u16,
        ..RunFile::of_preset("gpt-nano")
    }
}

/// A run that trains without end, of a model whose layers a fifth device makes a stage of its own of: five blocks do not go
/// evenly into four.
fn five_blocks() -> Result<RunFile> {
    let model = "model = { preset = 'gpt', depth = 5, width = 64, heads = 4, context = 16 }";
    let whole = run_file(ENDLESS);
    Ok(RunFile {
        model: RunFile::parse(model)?.model,
        ..whole
    })
}

/// What came of a round.
#[derive(Clone, Debug)]
pub struct Round {
    /// What the room says of putting the ring together anew, once a time.
    pub recoveries: Vec<Recovery>,
    /// From the kill until all others trained again; none where nothing was killed.
    pub seconds_to_resume: Option<f64>,
    /// The run's result.
    pub result: RunResult,
}

/// Somebody who only watches a room, and opened it.
struct Watcher {
    views: watch::Receiver<Option<View>>,
    commands: mpsc::Sender<Command>,
}

impl Watcher {
    async fn until(&mut self, what: &str, is: impl Fn(&View) -> bool) -> Result<View> {
        shown(&mut self.views, WAIT_MAX, what, is).await
    }

    /// Waits until the ring was put together anew so many times, and all train on; how that was done.
    async fn put_together(&mut self, times: usize, what: &str) -> Result<Vec<Recovery>> {
        self.until(what, |view| recovered(view, times)).await?;
        self.trains_on().await
    }

    /// Waits until the ring has made some more steps; how it was put together until then.
    async fn trains_on(&mut self) -> Result<Vec<Recovery>> {
        let now = self.until("a view", |_| true).await?;
        let view = self.reaches(reached(&now) + TRAINS_ON).await?;
        Ok(view.room.context("a room")?.recoveries)
    }

    async fn reaches(&mut self, step: u32) -> Result<View> {
        let is_time = |view: &View| reached(view) >= step;
        self.until(&format!("step {step}"), is_time).await
    }
}

/// The newest step whose loss is known.
fn reached(view: &View) -> u32 {
    let losses = view.points.iter().filter(|point| point.loss.is_some());
    losses.map(|point| point.step).max().unwrap_or_default()
}

/// Whether the ring was put together anew so many times, and trained again.
fn recovered(view: &View, times: usize) -> bool {
    let recoveries = view.room.iter().flat_map(|room| &room.recoveries);
    let over = recoveries.filter(|recovery| recovery.seconds.is_some());
    over.count() >= times
}

/// Whether there is a version from which a ring can go on.
fn has_stable(view: &View) -> bool {
    let stable = view.room.as_ref().and_then(|room| room.stable);
    stable.is_some_and(|stable| stable.0 > 0)
}

fn has_finished(view: &View) -> bool {
    let state = view.room.as_ref().map(|room| &room.state);
    state == Some(&RoomState::Finished)
}

/// Watches the room of a run, which it opens, while something else goes on.
async fn watching<T, F: Future<Output = Result<T>>>(
    theatre: &Theatre,
    run: RunFile,
    meanwhile: impl FnOnce(Watcher, RoomLink) -> F,
) -> Result<T> {
    let setup = watcher(theatre.url(""), run);
    let (seen, views) = watch::channel(None);
    let (mut leave, commands) = mpsc::channel(1);
    let local = LocalSet::new();
    let peer = local.spawn_local(ringtmp_peer::run(setup, commands, move |view| {
        seen.send_replace(Some(view));
    }));
    let doing = async {
        let mut watcher = Watcher {
            views,
            commands: leave.clone(),
        };
        let view = watcher.until("a room", |view| view.room.is_some()).await?;
        let room = view.link().context("a room")?;
        meanwhile(watcher, room).await
    };
    let done = local.run_until(doing).await;
    leave.try_send(Command::Leave).ok();
    local.run_until(peer).await?.ok();
    done
}

/// The address at which a tab joins the room to do its part of the work.
fn seat(theatre: &Theatre, room: &RoomLink, work: Work) -> String {
    let pace = work.pace.map(|pace| format!("&pace={pace}"));
    let pace = pace.unwrap_or_default();
    theatre.joining(&format!("/r/{room}?executor=cpu{pace}"))
}

/// Opens a tab of the room in each of so many new browsers.
async fn open(theatre: &Theatre, room: RoomLink, work: Work) -> Result<Vec<(Browser, Tab)>> {
    let mut tabs = Vec::new();
    // One after the other, so that who joined first is known.
    let browsers = (0..TABS).map(|_| theatre.browser(BrowserKind::Chromium));
    for browser in try_join_all(browsers).await? {
        let address = seat(theatre, &room, work);
        let tab = browser.tab(&address).await?;
        tabs.push((browser, tab));
    }
    Ok(tabs)
}

/// A ring that is left in peace.
///
/// # Errors
///
/// If it does not finish.
pub async fn undisturbed(theatre: &Theatre, work: Work) -> Result<Round> {
    watching(theatre, run_file(work), async |mut watcher, room| {
        // Nobody is to die: one browser is enough, and nothing need wait.
        let work = Work { pace: None, ..work };
        let browser = theatre.browser(BrowserKind::Chromium).await?;
        let mut tabs = Vec::new();
        for _ in 0..TABS {
            let address = seat(theatre, &room, work);
            tabs.push(browser.tab(&address).await?);
        }
        let view = watcher.until("the end", has_finished).await?;
        round(view, None)
    })
    .await
}

/// A ring of which one tab is killed, after its step `at_step` and so much more.
///
/// # Errors
///
/// If the others do not go on, or do not finish.
pub async fn killed(
    theatre: &Theatre,
    work: Work,
    victim: usize,
    at_step: u32,
    and_then: Duration,
) -> Result<Round> {
    watching(theatre, run_file(work), async |mut watcher, room| {
        let mut tabs = open(theatre, room, work).await?;
        watcher.reaches(at_step).await?;
        // A moment in the middle of whatever is going on.
        tokio::time::sleep(and_then).await;
        let (browser, _tab) = tabs.swap_remove(victim % TABS);
        let killed = Instant::now();
        browser.kill()?;
        let goes_on = |view: &View| recovered(view, 1);
        watcher.until("training after the kill", goes_on).await?;
        let seconds = killed.elapsed().as_secs_f64();
        let view = watcher.until("the end", has_finished).await?;
        round(view, Some(seconds))
    })
    .await
}

/// A ring whose server is killed after its step `at_step`, and with it a tab; another server takes its place a second later.
///
/// # Errors
///
/// If the others do not go on, or do not finish.
pub async fn server_and_tab_killed(
    theatre: &Theatre,
    work: Work,
    victim: usize,
    at_step: u32,
) -> Result<Round> {
    watching(theatre, run_file(work), async |mut watcher, room| {
        let mut tabs = open(theatre, room, work).await?;
        watcher.reaches(at_step).await?;
        let (browser, _tab) = tabs.swap_remove(victim % TABS);
        browser.kill()?;
        theatre.restart_server(Duration::from_secs(1)).await?;
        let view = watcher.until("the end", has_finished).await?;
        round(view, None)
    })
    .await
}

/// A ring whose server alone is killed after its step `at_step`, and replaced a second later; two steps after it has gone on, the
/// user of one tab presses *Leave*.
///
/// # Errors
///
/// If the others do not go on, or do not finish; if the tab is not told that it may go.
pub async fn server_killed_and_tab_left(
    theatre: &Theatre,
    work: Work,
    leaver: usize,
    at_step: u32,
) -> Result<Round> {
    watching(theatre, run_file(work), async |mut watcher, room| {
        let tabs = open(theatre, room, work).await?;
        watcher.reaches(at_step).await?;
        theatre.restart_server(Duration::from_secs(1)).await?;
        watcher.trains_on().await?;
        let (_browser, tab) = &tabs[leaver % TABS];
        // Whoever leaves while the server is away cannot wait for the others to take over.
        let is_back = |view: &View| {
            let state = view.room.as_ref().map(|room| &room.state);
            view.server == ServerState::Connected && state == Some(&RoomState::Training)
        };
        tab.wait_for(WAIT_MAX, "the server again", is_back).await?;
        tab.press("Leave").await?;
        tab.wait_for_text(WAIT_MAX, "You left the room").await?;
        let view = watcher.until("the end", has_finished).await?;
        round(view, None)
    })
    .await
}

/// A ring of which one tab sleeps, as that of a locked phone, for ten seconds, or as long as the others take to train without it;
/// then it wakes. When all train on together, a fifth tab comes; then the page of the ring's head is closed, and it is over when
/// the others train on.
///
/// # Errors
///
/// If the others do not go on, or do not take in who comes.
pub async fn asleep_and_fifth_and_head_closed(
    theatre: &Theatre,
    sleeper: usize,
) -> Result<Vec<Recovery>> {
    watching(theatre, five_blocks()?, async |mut watcher, room| {
        let tabs = open(theatre, room, ENDLESS).await?;
        watcher.until("something to lose", has_stable).await?;
        let (browser, _) = &tabs[sleeper % TABS];
        let asleep = Instant::now();
        browser.freeze()?;
        let without = |view: &View| recovered(view, 1);
        let without = watcher.until("training without it", without).await;
        tokio::time::sleep(SLEEP.saturating_sub(asleep.elapsed())).await;
        browser.thaw()?;
        without?;
        watcher.put_together(2, "training with it again").await?;
        let fifth = theatre.browser(BrowserKind::Chromium).await?;
        let address = seat(theatre, &room, ENDLESS);
        let _fifth = fifth.tab(&address).await?;
        watcher.put_together(3, "training with a fifth").await?;
        let (_browser, head) = &tabs[0];
        head.goto("about:blank").await?;
        watcher.put_together(4, "training without the head").await
    })
    .await
}

/// A ring of which one tab is cut off from all others and from the server for so long, so short that it stays a member.
///
/// # Errors
///
/// If the others do not go on, or do not finish.
pub async fn cut_off(theatre: &Theatre, work: Work, lasts: Duration) -> Result<Round> {
    behind_relay(theatre, work, async |mut watcher, relay| {
        relay.cut(true);
        tokio::time::sleep(lasts).await;
        relay.cut(false);
        let view = watcher.until("the end", has_finished).await?;
        round(view, None)
    })
    .await
}

/// Likewise for so long that the others go on without it. It is over when all train on together.
///
/// # Errors
///
/// If the others do not go on, or do not take it in again.
pub async fn cut_off_for_long(theatre: &Theatre, lasts: Duration) -> Result<Vec<Recovery>> {
    behind_relay(theatre, ENDLESS, async |mut watcher, relay| {
        let cut = Instant::now();
        relay.cut(true);
        let without = |view: &View| recovered(view, 1);
        watcher.until("training without it", without).await?;
        tokio::time::sleep(lasts.saturating_sub(cut.elapsed())).await;
        relay.cut(false);
        watcher.put_together(2, "training with it again").await
    })
    .await
}

/// A ring of which one tab reaches others and server through a relay alone, once it has something to lose.
async fn behind_relay<T, F: Future<Output = Result<T>>>(
    theatre: &Theatre,
    work: Work,
    then: impl FnOnce(Watcher, Rc<Relay>) -> F,
) -> Result<T> {
    watching(theatre, run_file(work), async |mut watcher, room| {
        let relay = Rc::new(Relay::new());
        let browsers = (0..TABS).map(|_| theatre.open_browser());
        let browsers = try_join_all(browsers).await?;
        let address = seat(theatre, &room, work);
        let [alone, others @ ..] = &browsers[..] else {
            bail!("a ring has a tab");
        };
        let mut tabs = Vec::new();
        for browser in others {
            tabs.push(browser.tab(&address).await?);
        }
        let tab = alone.tab("about:blank").await?;
        relay.prepare(&tab).await?;
        let server = relay.stands_for_server(theatre.address()).await?;
        let through = address.replace(&theatre.address().to_string(), &server.to_string());
        tab.goto(&through).await?;
        let goes_on = async {
            watcher.until("something to lose", has_stable).await?;
            then(watcher, relay.clone()).await
        };
        tokio::select! {
            done = goes_on => done,
            failed = relay.stand_between(&tab) => match failed? {},
        }
    })
    .await
}

/// A ring all of whose tabs are killed at once, after its step `at_step`, once every layer lies on their disks; the first so many of
/// them come back, and the first of these goes on with the run from what it lists. How far that was when it began, and the result.
///
/// # Errors
///
/// If nothing is listed, or the run does not go on, or does not finish.
pub async fn all_closed(
    theatre: &Theatre,
    work: Work,
    at_step: u32,
    come_back: usize,
) -> Result<(u32, RunResult)> {
    let profiles = watching(theatre, run_file(work), async |mut watcher, room| {
        let tabs = open(theatre, room, work).await?;
        watcher.reaches(at_step).await?;
        // So that the end does not come before the disks have it.
        watcher.commands.try_send(Command::Pause)?;
        let is_kept = |view: &View| view.room.as_ref().is_some_and(|room| room.kept.is_some());
        watcher.until("steps that are kept", is_kept).await?;
        for (_, tab) in &tabs {
            tab.wait_for_script(WAIT_MAX, "what it keeps", KEEPS)
                .await?;
        }
        let killed = tabs.into_iter().map(|(browser, _tab)| browser.kill());
        killed.collect::<Result<Vec<_>>>()
    });
    let mut profiles = profiles.await?.into_iter().take(come_back);
    let first = profiles.next().context("somebody comes back")?;
    let first = theatre.reopen(BrowserKind::Chromium, first).await?;
    let address = format!("/?executor=cpu&peers={come_back}");
    let tab = first.tab(&theatre.url(&address)).await?;
    tab.wait_for_text(WAIT_MAX, "Kept on this device").await?;
    tab.execute("document.querySelector('.kept-run .primary').click()")
        .await?;
    let room = tab.room(WAIT_MAX).await?;
    let mut others = Vec::new();
    for profile in profiles {
        let browser = theatre.reopen(BrowserKind::Chromium, profile).await?;
        let address = seat(theatre, &room, work);
        let tab = browser.tab(&address).await?;
        others.push((browser, tab));
    }
    let result = tab.finished(WAIT_MAX).await?;
    let view = tab.view().await?.context("a view")?;
    let plan = view
        .room
        .and_then(|room| room.ring().cloned())
        .context("a plan")?;
    Ok((plan.start.0, result))
}

fn round(view: View, seconds_to_resume: Option<f64>) -> Result<Round> {
    let room = view.room.context("a room")?;
    Ok(Round {
        recoveries: room.recoveries,
        seconds_to_resume,
        result: room.result.context("a finished room has a result")?,
    })
}
