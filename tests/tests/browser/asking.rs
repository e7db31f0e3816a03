//! A device that has only a room's short code asks the host, whose user compares six digits and allows it, or does not.

use super::axe::{axe, check};
use super::stage::pictures;
use super::{JOIN_MAX, RUN_MAX, view};
use anyhow::{Context, Result, ensure};
use ringtmp_core::ids::ShortCode;
use ringtmp_core::signal::Role;
use ringtmp_peer::View;
use ringtmp_tests::{BrowserKind, Tab, Theatre};

/// The digits that a page shows.
async fn digits(tab: &Tab, of: &str) -> Result<String> {
    let shown = format!("document.querySelector('{of} .digits')?.textContent");
    tab.wait_for_script(JOIN_MAX, "six digits", &format!("return !!{shown}"))
        .await?;
    let digits = tab.execute(&format!("return {shown}")).await?;
    Ok(digits.as_str().context("digits")?.to_owned())
}

/// Types a code on the first page, and asks.
async fn asks(tab: &Tab, code: &str) -> Result<()> {
    tab.wait_for_text(JOIN_MAX, "Join with a code").await?;
    let script = format!("document.querySelector('#code').value = '{code}'");
    tab.execute(&script).await?;
    tab.press("Ask to join").await
}

#[tokio::test]
async fn a_device_with_a_code_is_let_in_once_the_host_allows_it_and_comes_back_unasked()
-> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let laptop = theatre.browser(BrowserKind::Chromium).await?;
    let settings = "peers=2&steps=30&codec=f32&planning=counted&executor=cpu&name=laptop";
    let host = laptop
        .tab(&theatre.url(&format!("/?create&{settings}")))
        .await?;
    let link = host.room(JOIN_MAX).await?;
    let short = ShortCode::of(link.room).to_string();
    let (first, second) = short.split_at(3);
    host.wait_for_text(JOIN_MAX, &format!("{first}-{second}"))
        .await?;

    let phone = theatre.browser(BrowserKind::Chromium).await?;
    let guest = phone.tab(&theatre.url("/?executor=cpu&name=phone")).await?;
    asks(&guest, "abc10o").await?;
    guest
        .wait_for_text(JOIN_MAX, "None of them is I, L, O, U, 0 or 1")
        .await?;
    // The first time, the host says no.
    asks(&guest, &short.to_lowercase()).await?;
    host.wait_for_text(JOIN_MAX, "phone (browser tab) asks to take part")
        .await?;
    host.press("Deny").await?;
    guest
        .wait_for_text(JOIN_MAX, "did not let this device in")
        .await?;

    guest
        .goto(&theatre.url("/?executor=cpu&name=phone"))
        .await?;
    asks(&guest, &short).await?;
    let here = digits(&guest, ".asking").await?;
    let there = digits(&host, ".asker").await?;
    ensure!(
        here == there && here.len() == 7,
        "{here} here, {there} there"
    );
    pictures(&guest, "asking").await?;
    pictures(&host, "asked").await?;
    if let Some(axe) = axe()? {
        check(&host, &axe, "the page of a host who is asked").await?;
        check(&guest, &axe, "the page of who asks").await?;
    }
    host.press("Allow").await?;
    let let_in = guest.room(JOIN_MAX).await?;
    ensure!(let_in == link, "it has the link itself now");
    // It is told what will run, and computes nothing before it joins.
    guest.wait_for_text(JOIN_MAX, "Before you join").await?;
    ensure!(view(&guest).await?.role == Role::Spectator, "it looks");
    pictures(&guest, "let-in").await?;
    guest.press("Join").await?;
    let takes_part = |view: &View| view.role == Role::Participant && view.room.is_some();
    guest.wait_for(JOIN_MAX, "its part", takes_part).await?;
    host.finished(RUN_MAX).await?;

    // Neither a reload nor the bare code asks again: this browser knows the secret.
    guest
        .goto(&theatre.url(&format!("/r/{}?watch", link.room)))
        .await?;
    ensure!(guest.room(JOIN_MAX).await? == link, "it is remembered");
    let address = guest
        .execute("return location.pathname + location.search")
        .await?;
    let secret = link.secret.context("a secret")?.to_string();
    ensure!(!address.to_string().contains(&secret), "{address}");
    Ok(())
}
