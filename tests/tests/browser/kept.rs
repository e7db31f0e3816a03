//! Tabs that are all closed, and go on with what lies in their browsers' storage.

use super::lost::{WORK, in_peace};
use anyhow::{Context, Result, ensure};
use ringtmp_tests::chaos::{TABS, all_closed};
use ringtmp_tests::{BrowserKind, Theatre};
use std::time::Duration;

const WAIT_MAX: Duration = Duration::from_secs(120);

/// Bytes: less than any version of a stage.
const TOO_LITTLE: u64 = 64 * 1024;

/// Whether the page's storage holds no run.
const EMPTY: &str = "return (async () => {
    const root = await navigator.storage.getDirectory();
    const runs = await root.getDirectoryHandle('runs', { create: true });
    for await (const name of runs.keys()) return false;
    return true;
})()";

#[tokio::test]
async fn a_run_whose_tabs_were_all_closed_goes_on_with_fewer_and_ends_with_the_same_weights()
-> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let whole = in_peace(&theatre).await?;
    let come_back = TABS - 1;
    let (start, result) = all_closed(&theatre, WORK, 4, come_back).await?;
    println!("{come_back} of {TABS} went on from step {start}");
    ensure!(start > 0, "from the beginning");
    ensure!(result.digests == whole.result.digests, "other weights");
    Ok(())
}

#[tokio::test]
async fn two_tabs_of_one_browser_keep_apart_and_one_alone_goes_on_with_what_both_kept() -> Result<()>
{
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let query = "create&executor=cpu&peers=2&steps=600&codec=f32&planning=counted";
    let first = browser.tab(&theatre.url(&format!("/?{query}"))).await?;
    let room = first.room(WAIT_MAX).await?;
    let address = theatre.joining(&format!("/r/{room}?executor=cpu"));
    let _second = browser.tab(&address).await?;
    let kept = |view: &ringtmp_peer::View| {
        let room = view.room.as_ref();
        room.is_some_and(|room| room.kept.is_some())
    };
    first
        .wait_for(WAIT_MAX, "versions that are kept", kept)
        .await?;
    let profile = browser.kill()?;
    let browser = theatre.reopen(BrowserKind::Chromium, profile).await?;
    let address = theatre.url("/?executor=cpu&peers=1");
    let tab = browser.tab(&address).await?;
    let text = tab.wait_for_text(WAIT_MAX, "Kept on this device").await?;
    ensure!(text.contains("of 600, just now"), "{text}");
    tab.execute("document.querySelector('.kept-run .primary').click()")
        .await?;
    tab.finished(WAIT_MAX).await?;
    let view = tab.view().await?.context("a view")?;
    let plan = view
        .room
        .and_then(|room| room.ring().cloned())
        .context("a plan")?;
    ensure!(plan.start.0 > 0 && plan.stages() == 1, "{plan:?}");
    // A run that is over is kept no longer.
    tab.wait_for_script(WAIT_MAX, "an empty storage", EMPTY)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_tab_whose_storage_is_full_says_so_and_trains_on() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let first = browser.tab(&theatre.url("")).await?;
    first.limit_storage(&theatre.url(""), TOO_LITTLE).await?;
    let query = "create&executor=cpu&peers=2&steps=400&codec=f32&planning=counted";
    first.goto(&theatre.url(&format!("/?{query}"))).await?;
    let room = first.room(WAIT_MAX).await?;
    let address = theatre.joining(&format!("/r/{room}?executor=cpu"));
    let _second = browser.tab(&address).await?;
    let text = first.wait_for_text(WAIT_MAX, "the storage is full").await?;
    ensure!(text.contains("The run goes on. Make room"), "{text}");
    let result = first.finished(WAIT_MAX).await?;
    ensure!(result.steps == 400, "{result:?}");
    Ok(())
}
