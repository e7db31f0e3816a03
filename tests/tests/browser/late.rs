//! Tabs that train on late weights.

use super::timeline::trace;
use super::{JOIN_MAX, RUN_MAX, view};
use anyhow::{Context, Result, ensure};
use ringtmp_core::codec::{CodecChoice, TensorCodec};
use ringtmp_core::profile::Planning;
use ringtmp_core::schedule::Mode;
use ringtmp_core::signal::Replication;
use ringtmp_core::trace::{Activity, Span};
use ringtmp_peer::{DataTable, LinkState, ModelTable, OptimizerTable, RuleName, RunFile};
use ringtmp_tests::{BrowserKind, NativePeer, Tab, Theatre};

const TABS: u16 = 4;

/// Updates of the run: the loss falls to two thirds in half of them.
const STEPS: u32 = 40;

const BATCH: u32 = 8;
const MICRO_BATCH: u32 = 2;

/// The share of the first loss that the mean of the last [`LAST`] has to be below. Knowing how often each character comes,
/// without understanding anything, is 0.9.
const LOSS_PART_MAX: f32 = 0.7;
const LAST: usize = 5;

/// What frames' headers, the curve on the closing link and greetings may add to the bytes of tensors.
const OVERHEAD: f64 = 0.05;

/// Characters of a sample, and numbers of each between any two layers of `gpt-nano`.
const CONTEXT: u64 = 64;
const WIDTH: u64 = 128;

fn run() -> RunFile {
    RunFile {
        model: ModelTable::preset("gpt-nano"),
        data: DataTable::set("addition"),
        schedule: Mode::TwoVersions,
        codec: CodecChoice::Int8,
        // The bytes that are counted here are those of tensors.
        replicate: Replication::Off,
        steps: STEPS,
        batch: BATCH,
        micro_batch: MICRO_BATCH,
        evaluation_samples: 0,
        start_at_peers: TABS,
        planning: Planning::Counted,
        optimizer: OptimizerTable {
            beta1: Some(0.99),
            ..OptimizerTable::new(RuleName::Nadam, 0.002)
        },
        ..RunFile::default()
    }
}

#[tokio::test]
async fn four_tabs_train_a_transformer_with_two_versions_of_the_weights_and_8_bit_integers()
-> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let mut watcher = NativePeer::open(&theatre.url(""), run())?;
    let room = watcher.room(JOIN_MAX).await?;
    let mut tabs = Vec::new();
    for _ in 0..TABS {
        let address = theatre.joining(&format!("/r/{room}?executor=cpu"));
        tabs.push(browser.tab(&address).await?);
    }
    let mut stages = Vec::new();
    for tab in &tabs {
        let result = tab.finished(RUN_MAX).await?;
        ensure!(result.steps == STEPS, "{} steps were made", result.steps);
        stages.push(stage_and_versions(tab).await?);
    }
    // A tab that was opened later may be in the room before another.
    stages.sort_unstable();
    ensure!(
        stages == [0, 1, 2, 3],
        "each tab holds another stage, not {stages:?}"
    );
    for tab in &tabs {
        check_loss(tab).await?;
        check_bytes(tab).await?;
    }
    watcher.leave()
}

/// Checks which weights the tab's tasks used, and gives the number of its stage.
async fn stage_and_versions(tab: &Tab) -> Result<u32> {
    let spans = trace(tab).await?.spans;
    let tasks: Vec<&Span> = spans
        .iter()
        .filter(|span| {
            matches!(
                span.activity,
                Activity::Forward | Activity::BackwardInput | Activity::BackwardWeights
            )
        })
        .collect();
    let micro_batches = (STEPS * BATCH / MICRO_BATCH) as usize;
    ensure!(
        tasks.len() == 3 * micro_batches,
        "{} tasks of {micro_batches} micro-batches",
        tasks.len()
    );
    for task in &tasks {
        let (step, version) = (task.details.step, task.details.weight_version);
        // Those before the last update, from which the first two steps cannot differ.
        let late = step.map(|step| step.saturating_sub(1));
        ensure!(version == late, "{task:?}");
    }
    let stage = tasks.first().context("a stage has tasks")?.peer;
    Ok(stage)
}

async fn check_loss(tab: &Tab) -> Result<()> {
    let losses: Vec<f32> = view(tab)
        .await?
        .points
        .iter()
        .filter_map(|point| point.loss)
        .collect();
    let first = losses.first().context("a run has a first loss")?;
    let last = losses.iter().rev().take(LAST).sum::<f32>() / LAST as f32;
    ensure!(
        losses.iter().all(|loss| loss.is_finite()) && last < LOSS_PART_MAX * first,
        "the loss went from {first} to {last}: {losses:?}"
    );
    Ok(())
}

/// Bytes that the tab's own device has sent: an activation with labels to the right, a gradient to the left.
async fn check_bytes(tab: &Tab) -> Result<()> {
    let view = view(tab).await?;
    let failed = |state: &LinkState| matches!(state, LinkState::Failed { .. });
    ensure!(
        !view.links.iter().any(|link| failed(&link.state)),
        "{:?}",
        view.links
    );
    let room = view.room.as_ref().context("the page is in a room")?;
    let plan = room.ring().context("a finished room has a plan")?;
    ensure!(
        plan.stages() == usize::from(TABS) && plan.codecs == [TensorCodec::Int8; 3],
        "{plan:?}"
    );
    let me = view.me.context("it has an id")?;
    let stage = plan.stage_of(me).context("every tab holds a stage")?;
    let member = room.members.iter().find(|member| member.peer == me);
    let member = member.context("the tab is a member of its room")?;
    let sent: u64 = member.links.iter().map(|link| link.bytes).sum();
    // A byte for each number, and a scale of four for each row.
    let tensor = CONTEXT * (WIDTH + 4);
    let activation = tensor + 4 * CONTEXT;
    let expected = match stage.0 {
        0 => activation,
        3 => tensor,
        _ => activation + tensor,
    };
    let samples = u64::from(STEPS * BATCH);
    let (each, expected) = (sent as f64 / samples as f64, expected as f64);
    ensure!(
        (expected..expected * (1.0 + OVERHEAD)).contains(&each),
        "stage {} has sent {each:.0} bytes a sample, not some {expected}",
        stage.0
    );
    Ok(())
}
