//! Tabs that die, each a browser process of its own.

use anyhow::{Context, Result, bail, ensure};
use ringtmp_core::signal::Recovery;
use ringtmp_peer::Paradigm;
use ringtmp_tests::chaos::{
    EVERY, PACE, Round, TABS, Work, asleep_and_fifth_and_head_closed, cut_off, cut_off_for_long,
    killed, server_and_tab_killed, server_killed_and_tab_left, undisturbed,
};
use ringtmp_tests::{BrowserKind, Theatre};
use std::time::Duration;
use tokio::sync::OnceCell;

/// A quarter of what `cargo xtask chaos` lets them do.
pub(super) const WORK: Work = Work {
    paradigm: Paradigm::Ring,
    steps: 12,
    batch: 16,
    pace: Some(PACE),
};

/// What comes of it in a ring that is left in peace: all tests are held against the same.
pub(super) async fn in_peace(theatre: &Theatre) -> Result<&'static Round> {
    static ROUND: OnceCell<Round> = OnceCell::const_new();
    let round = ROUND.get_or_try_init(|| undisturbed(theatre, WORK)).await?;
    ensure!(round.recoveries.is_empty(), "{:?}", round.recoveries);
    Ok(round)
}

fn same_weights(round: &Round, whole: &Round) -> Result<()> {
    let same = round.result.digests == whole.result.digests;
    ensure!(same, "other weights after {:?}", round.recoveries);
    Ok(())
}

#[tokio::test]
async fn whichever_tab_is_killed_the_others_end_with_the_weights_of_a_ring_left_in_peace()
-> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let whole = in_peace(&theatre).await?;
    // Head, one between, tail: places are by when a tab joined.
    for (victim, at_step, millis) in [(0, 4, 130), (1, 5, 0), (TABS - 1, 3, 310)] {
        let and_then = Duration::from_millis(millis);
        let round = killed(&theatre, WORK, victim, at_step, and_then).await?;
        println!(
            "{victim}: {:?} {:?}",
            round.seconds_to_resume, round.recoveries
        );
        same_weights(&round, whole)?;
        let recovery = round.recoveries.first().context("it was noticed")?;
        ensure!(recovery.step > 0, "from the beginning: {recovery:?}");
        let made_again = u32::from(2 * EVERY);
        ensure!(
            recovery.repeated <= made_again,
            "too much was lost: {recovery:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_tab_that_sleeps_is_done_without_until_it_wakes_a_fifth_comes_and_a_closed_page_says_goodbye()
-> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let recoveries = asleep_and_fifth_and_head_closed(&theatre, 1).await?;
    println!("{recoveries:?}");
    let [lost, joined, fifth, closed] = &recoveries[..] else {
        bail!("lost, taken in, one more, and closed, not {recoveries:?}");
    };
    ensure!(lost.reason.contains("nothing was heard"), "{lost:?}");
    ensure!(joined.reason.contains("joins"), "{joined:?}");
    ensure!(joined.repeated == 0, "waking costs no step: {joined:?}");
    ensure!(fifth.reason.contains("joins"), "{fifth:?}");
    ensure!(fifth.repeated == 0, "coming costs no step: {fifth:?}");
    // Its goodbye and the end of its links are on their way at once: whichever comes first, nobody waits for its silence.
    let at_once = ["left the ring", "the peer closed it"];
    let noticed = at_once.iter().any(|words| closed.reason.contains(words));
    ensure!(noticed, "{closed:?}");
    ensure!(!closed.taken.is_empty(), "{closed:?}");
    Ok(())
}

#[tokio::test]
async fn a_tab_without_network_for_2_s_stays_in_the_ring_and_for_20_s_is_taken_in_again_after_it()
-> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let whole = in_peace(&theatre).await?;
    let round = cut_off(&theatre, WORK, Duration::from_secs(2)).await?;
    println!("{:?}", round.recoveries);
    // Two seconds are as long as silence may last: the ring may go on as if nothing had been, or from the stable version.
    let made_again = |recovery: &Recovery| recovery.repeated <= u32::from(2 * EVERY);
    let stays = |recovery: &Recovery| recovery.taken.is_empty() && made_again(recovery);
    ensure!(round.recoveries.iter().all(stays), "{:?}", round.recoveries);
    ensure!(round.recoveries.len() < 2, "{:?}", round.recoveries);
    same_weights(&round, whole)?;
    let recoveries = cut_off_for_long(&theatre, Duration::from_secs(20)).await?;
    println!("{recoveries:?}");
    let [lost, joined] = &recoveries[..] else {
        bail!("lost once and taken in once, not {recoveries:?}");
    };
    ensure!(lost.step > 0 && made_again(lost), "{lost:?}");
    ensure!(
        joined.repeated == 0,
        "coming back costs no step: {joined:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_killed_and_a_tab_whose_user_presses_leave_cost_nobody_a_step()
-> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let whole = in_peace(&theatre).await?;
    // Between the kill and the press a tab has to find the server again, some steps later.
    let slow = Work {
        pace: Some(PACE / 2.0),
        ..WORK
    };
    let round = server_killed_and_tab_left(&theatre, slow, TABS - 1, 3).await?;
    println!("{:?}", round.recoveries);
    let [recovery] = &round.recoveries[..] else {
        bail!("put together anew once, not {:?}", round.recoveries);
    };
    ensure!(recovery.repeated == 0, "{recovery:?}");
    let hands_on = recovery.reason.contains("hands its layers on and leaves");
    ensure!(hands_on && !recovery.taken.is_empty(), "{recovery:?}");
    same_weights(&round, whole)
}

#[tokio::test]
async fn a_server_and_a_tab_that_are_killed_together_cost_a_few_steps() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let whole = in_peace(&theatre).await?;
    let round = server_and_tab_killed(&theatre, WORK, 2, 4).await?;
    println!("{:?}", round.recoveries);
    ensure!(round.recoveries.len() == 1, "{:?}", round.recoveries);
    same_weights(&round, whole)
}

#[tokio::test]
async fn a_tab_whose_gpu_is_lost_opens_it_again_and_trains_on() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let address = theatre.url("/?create&executor=gpu&steps=60&peers=2&codec=f32&planning=counted");
    let first = browser.tab(&address).await?;
    let room = first.room(super::JOIN_MAX).await?;
    let second = theatre.joining(&format!("/r/{room}?executor=cpu"));
    let _second = browser.tab(&second).await?;
    let trained = |view: &ringtmp_peer::View| {
        let stable = view.room.as_ref().and_then(|room| room.stable);
        stable.is_some_and(|stable| stable.0 > 3)
    };
    first
        .wait_for(super::RUN_MAX, "something to lose", trained)
        .await?;
    first
        .execute(r#"ringtmp.command('{"command":"lose_gpu"}')"#)
        .await?;
    let back = "The GPU is back";
    first.wait_for_text(super::RUN_MAX, back).await?;
    let result = first.finished(super::RUN_MAX).await?;
    ensure!(result.steps == 60, "{result:?}");
    let view = super::view(&first).await?;
    let room = view.room.context("a room")?;
    let [recovery] = &room.recoveries[..] else {
        bail!("put together anew once, not {:?}", room.recoveries);
    };
    println!("{recovery:?}");
    ensure!(recovery.reason.contains("GPU was lost"), "{recovery:?}");
    ensure!(recovery.step > 0 && recovery.moved == 0, "{recovery:?}");
    Ok(())
}
