//! Tabs that train on whole models, with a native server of the parameters.

use super::stage::pictures;
use super::{DRAW_A_ONE, JOIN_MAX, RUN_MAX, view};
use anyhow::{Context, Result, bail, ensure};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::profile::Planning;
use ringtmp_core::signal::{DeviceKind, LayerDigest, Role, RoomState};
use ringtmp_core::trace::Activity;
use ringtmp_peer::{Arithmetic, Asked, Command, ModelState, Paradigm, RunFile, View};
use ringtmp_tests::chaos::{EVERY, PACE, Work, killed};
use ringtmp_tests::ring::{Over, RingDevice, train_ring};
use ringtmp_tests::{BrowserKind, NativePeer, Tab, Theatre};
use std::time::Duration;

const STEPS: u32 = 30;

/// A server and two workers.
const DEVICES: u16 = 3;

fn run() -> RunFile {
    RunFile {
        paradigm: Paradigm::ParameterServer,
        steps: STEPS,
        batch: 64,
        micro_batch: 8,
        codec: CodecChoice::F32,
        arithmetic: Arithmetic::Portable,
        evaluation_samples: 100,
        start_at_peers: DEVICES,
        // Shares that do not depend on the machine's load.
        planning: Planning::Counted,
        ..RunFile::default()
    }
}

/// What native devices end with.
async fn native() -> Vec<LayerDigest> {
    let device = |role| RingDevice {
        role,
        ..ringtmp_peer::ExecutorChoice::Cpu.into()
    };
    let roles = [Role::Server, Role::Participant, Role::Participant];
    let trained = train_ring(run(), &roles.map(device), Over::Loopback { seed: 1 }).await;
    trained.result.digests
}

#[tokio::test]
async fn two_tabs_train_with_a_native_parameter_server_to_the_weights_of_native_devices()
-> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let mut server = NativePeer::open_as_server(&theatre.url(""), run())?;
    let room = server.room(JOIN_MAX).await?;
    let mut tabs = Vec::new();
    for _ in 1..DEVICES {
        let address = theatre.joining(&format!("/r/{room}?executor=cpu"));
        tabs.push(browser.tab(&address).await?);
    }
    let mut results = Vec::new();
    for tab in &tabs {
        results.push(tab.finished(RUN_MAX).await?);
        let text = tab.text().await?;
        ensure!(text.contains("the whole model"), "the page says {text}");
        ensure!(
            text.contains("server of all parameters"),
            "the page says {text}"
        );
        let drawing = tab
            .execute("return document.querySelectorAll('.ring .link').length")
            .await?;
        ensure!(drawing == 0, "{drawing} links of a ring are drawn");
        let view = view(tab).await?;
        let shown = view.room.context("the page is in a room")?;
        let plan = shown.team().context("a plan of whole models")?;
        let me = view.me.context("it has an id")?;
        ensure!(plan.works(me) && !plan.serves(me), "a tab works");
        ensure!(plan.share_of(me) == Some(4), "the plan is {plan:?}");
        ensure!(view.links.len() == 1, "linked to the server alone");
        let native = |peer| {
            let mut members = shown.members.iter();
            members.any(|member| member.peer == peer && member.device.kind == DeviceKind::Native)
        };
        ensure!(
            plan.collector().is_some_and(native),
            "a native device serves"
        );
    }
    let result = results.pop().context("there are tabs")?;
    ensure!(results.iter().all(|other| *other == result), "as the other");
    ensure!(result.steps == STEPS);
    let (first, last) = (result.loss_first, result.loss_last);
    ensure!(
        first
            .zip(last)
            .is_some_and(|(first, last)| last < first - 0.1),
        "the loss went from {first:?} to {last:?}"
    );
    ensure!(
        result.digests == native().await,
        "tabs compute something else"
    );
    server.leave()
}

/// Whether all devices of the plan have told of what they do and of what comes to them: servers of updates and gradients, workers of F and
/// weights.
fn all_did(view: &View) -> bool {
    let Some(room) = &view.room else { return false };
    let Some(plan) = room.team() else {
        return false;
    };
    plan.order.iter().all(|peer| {
        let wanted = match plan.works(*peer) {
            true => [Activity::Forward, Activity::Weights],
            false => [Activity::Update, Activity::Gradient],
        };
        let member = room.members.iter().find(|member| member.peer == *peer);
        let report = member.and_then(|member| member.report.as_ref());
        report.is_some_and(|report| {
            let marks = || report.timeline.marks.iter();
            wanted
                .iter()
                .all(|wanted| marks().any(|mark| mark.0 == *wanted))
        })
    })
}

#[tokio::test]
async fn devices_of_a_parameter_server_show_what_they_did_on_one_axis_of_time() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let endless = RunFile {
        steps: 100_000,
        evaluate_every: 0,
        ..run()
    };
    let mut server = NativePeer::open_as_server(&theatre.url(""), endless)?;
    let room = server.room(JOIN_MAX).await?;
    let mut tabs = Vec::new();
    for _ in 1..DEVICES {
        let address = theatre.joining(&format!("/r/{room}?executor=cpu"));
        tabs.push(browser.tab(&address).await?);
    }
    let tab = &tabs[0];
    tab.wait_for(RUN_MAX, "what all devices did", all_did)
        .await?;
    let drawn = "return document.querySelectorAll('.timeline .row').length === 3
        && document.querySelectorAll('.timeline .row :is(.forward, .update)').length > 2
        && document.querySelectorAll('.timeline .row .activation').length > 1
        && document.querySelectorAll('.timeline .row .gradient').length > 0";
    tab.wait_for_script(JOIN_MAX, "a timeline of three rows", drawn)
        .await?;
    may_ask(tab).await?;
    pictures(tab, "team").await?;
    // In a pause as well, of the weights that the last step left.
    let asked = answered_after(&view(tab).await?).context("it was answered")?;
    let later = |view: &View| view.points.iter().any(|point| point.step > asked);
    tab.wait_for(RUN_MAX, "another step", later).await?;
    server.tell(Command::Pause)?;
    let rests = |view: &View| {
        let state = view.room.as_ref().map(|room| &room.state);
        state == Some(&RoomState::Paused)
    };
    tab.wait_for(JOIN_MAX, "a pause", rests).await?;
    tab.execute(DRAW_A_ONE).await?;
    let newer = |view: &View| answered_after(view) > Some(asked);
    tab.wait_for(JOIN_MAX, "an answer in the pause", newer)
        .await?;
    server.leave()
}

/// Steps after which the model said what a drawing shows, if it has.
fn answered_after(view: &View) -> Option<u32> {
    match &view.asked {
        Some(Asked::Answered {
            step,
            probabilities,
        }) => {
            let sum: f32 = probabilities.iter().sum();
            (probabilities.len() == 10 && (sum - 1.0).abs() < 1e-4).then_some(*step)
        }
        Some(Asked::Waiting | Asked::Entered { .. }) | None => None,
    }
}

/// Who trains on the whole model may ask it and download it, although a native server is the room's host; nothing trains on what it draws.
async fn may_ask(tab: &Tab) -> Result<()> {
    tab.execute(DRAW_A_ONE).await?;
    let answered = |view: &View| answered_after(view).is_some();
    tab.wait_for(JOIN_MAX, "what it shows", answered).await?;
    tab.wait_for_text(JOIN_MAX, "The network takes it for a ")
        .await?;
    let hidden = "return ['.draw-labels', '.draw .primary'].every(it =>
        document.querySelector(it).checkVisibility() === false)";
    ensure!(tab.execute(hidden).await? == true, "nothing to train with");
    tab.press("Download the model").await?;
    let here = |view: &View| matches!(view.model, Some(ModelState::Here { .. }));
    tab.wait_for(JOIN_MAX, "the model", here).await?;
    tab.wait_for_text(JOIN_MAX, "Save the file").await?;
    Ok(())
}

#[tokio::test]
async fn tabs_of_an_all_reduce_go_on_without_one_that_is_killed_from_the_copies_of_the_others()
-> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let work = Work {
        paradigm: Paradigm::AllReduce,
        steps: 12,
        batch: 16,
        pace: Some(PACE),
    };
    let round = killed(&theatre, work, 1, 5, Duration::from_millis(100)).await?;
    let [recovery] = &round.recoveries[..] else {
        bail!("once, not {:?}", round.recoveries);
    };
    println!("{:?} {recovery:?}", round.seconds_to_resume);
    // A part was lost, so that all went back to a version that is kept.
    ensure!(
        recovery.step > 0 && recovery.step.is_multiple_of(EVERY.into()),
        "{recovery:?}"
    );
    ensure!(recovery.moved == 1, "{recovery:?}");
    ensure!(recovery.repeated <= u32::from(2 * EVERY), "{recovery:?}");
    // The room has held those of the three that are left against each other.
    ensure!(round.result.steps == work.steps && !round.result.digests.is_empty());
    Ok(())
}
