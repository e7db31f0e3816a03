//! What pages show of what their devices do, beside the traces of the same devices.

use super::{JOIN_MAX, RUN_MAX, ring, train, view};
use anyhow::{Context, Result, ensure};
use ringtmp_core::trace::json::{Trace, from_json};
use ringtmp_core::trace::{Span, extent, shares};
use ringtmp_tests::{BrowserKind, Tab, Theatre};

/// Operations per second at which a task of the tabs takes some 10 ms: long beside the grain of timers, and far from what keeps
/// the machine busy.
const PACE: f64 = 4e8;

/// Idle shares of a trace and of the page may differ by this: a trace begins with the first task of all, a page's figure
/// with its device's own first wait.
const IDLE_DIFFERENCE_MAX: f64 = 0.05;

/// What a tab did, from the file that its page offers.
pub(super) async fn trace(tab: &Tab) -> Result<Trace> {
    tab.execute("ringtmp.askTrace()").await?;
    let arrived = tokio::time::timeout(JOIN_MAX, async {
        loop {
            if let Some(json) = tab.execute("return ringtmp.trace()").await?.as_str() {
                return Ok::<_, anyhow::Error>(from_json(json)?);
            }
        }
    });
    arrived.await.context("the page gives no trace")?
}

fn overlap(a: &Span, b: &Span) -> bool {
    a.start < b.end && b.start < a.end
}

/// Two peers share one connection, on which both directions carry activations and gradients.
#[tokio::test]
async fn two_tabs_compute_while_their_link_carries_and_all_pages_show_it() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let settings = format!("executor=cpu&pace={PACE}");
    let (tabs, room) = ring(&theatre, &[&browser], &settings, 1).await?;
    let watcher = browser
        .tab(&theatre.url(&format!("/r/{room}?watch")))
        .await?;
    watcher.room(JOIN_MAX).await?;
    let second = browser
        .tab(&theatre.joining(&format!("/r/{room}?{settings}")))
        .await?;
    let tabs: Vec<Tab> = tabs.into_iter().chain([second]).collect();
    train(&tabs).await?;
    watcher.finished(RUN_MAX).await?;

    let mut spans = Vec::new();
    for tab in &tabs {
        spans.extend(trace(tab).await?.spans);
    }
    let tasks = || spans.iter().filter(|span| span.activity.is_task());
    let transfers = || spans.iter().filter(|span| span.activity.is_transfer());
    for peer in [0, 1] {
        let computes =
            |transfer: &Span| tasks().any(|task| task.peer == peer && overlap(task, transfer));
        let mut sent = transfers().filter(|transfer| transfer.peer == peer);
        ensure!(
            sent.any(computes),
            "peer {peer} computes while its tensors are on their way"
        );
    }
    let (start, end) = extent(&spans);
    let shares = shares(&spans, start, end);

    let shown = view(&watcher)
        .await?
        .room
        .context("the page is in a room")?;
    let plan = shown
        .ring()
        .cloned()
        .context("a finished room has a plan")?;
    let text = watcher.text().await?;
    for (number, peer) in (0..).zip(&plan.order) {
        let member = shown.members.iter().find(|member| member.peer == *peer);
        let report = member.and_then(|member| member.report.as_ref());
        let run = report.context("every device has reported")?.run;
        let of_trace = shares[&number].idle();
        ensure!(
            (run.idle() - of_trace).abs() < IDLE_DIFFERENCE_MAX,
            "peer {number} is idle for {} of its time by its page, {of_trace} by its trace",
            run.idle()
        );
        let words = format!("{:.1}% idle", 100.0 * run.idle());
        ensure!(text.contains(&words), "{words:?} is not in\n{text}");
    }
    for tab in tabs.iter().chain([&watcher]) {
        let drawn = "return ['row', 'forward', 'backward', 'weights', 'activation', 'gradient']
            .map(kind => document.querySelectorAll('.lanes .' + kind).length)";
        let drawn = tab.execute(drawn).await?;
        let counts: Vec<u64> = serde_json::from_value(drawn)?;
        ensure!(
            counts[0] == 2 && counts.iter().all(|count| *count > 0),
            "rows, F, B, W, activations, gradients drawn: {counts:?}"
        );
    }
    Ok(())
}
