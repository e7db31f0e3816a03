//! What a page says and offers on behalf of a device that may not last.

use super::{JOIN_MAX, RUN_MAX, view};
use anyhow::{Context, Result, ensure};
use ringtmp_tests::{BrowserKind, Look, Tab, Theatre};
use std::fs;
use std::path::PathBuf;

/// A battery that runs out: no browser lets a test empty the real one.
const EMPTY: &str = "
    const battery = Object.assign(new EventTarget(), { level: 0.12, charging: false });
    Navigator.prototype.getBattery = () => Promise.resolve(battery);
    globalThis.charge = charging => {
        battery.charging = charging;
        battery.dispatchEvent(new Event('chargingchange'));
    };
";

const PHONE: Look = Look {
    width: 360,
    height: 1100,
    scale: 2.0,
    dark: false,
};

const LAPTOP: Look = Look {
    width: 1280,
    height: 900,
    scale: 1.0,
    dark: false,
};

/// Keeps pictures of the page in the folder `RINGTMP_LOOK`, for whoever wants to look at them.
async fn pictures(tab: &Tab, name: &str) -> Result<()> {
    let Some(folder) = std::env::var_os("RINGTMP_LOOK").map(PathBuf::from) else {
        return Ok(());
    };
    fs::create_dir_all(&folder)?;
    for (size, look) in [("phone", PHONE), ("laptop", LAPTOP)] {
        for dark in [false, true] {
            tab.look(Look { dark, ..look }).await?;
            let light = if dark { "dark" } else { "light" };
            let path = folder.join(format!("{name}-{size}-{light}.png"));
            fs::write(path, tab.screenshot().await?)?;
        }
    }
    tab.look(PHONE).await
}

async fn screen(tab: &Tab) -> Result<String> {
    let kept = "const note = document.querySelector('.screen');
        return note && !note.hidden ? note.dataset.screen : 'nothing'";
    let kept = tab.execute(kept).await?;
    Ok(kept.as_str().context("a text")?.to_owned())
}

#[tokio::test]
async fn a_phone_with_a_low_battery_keeps_its_screen_on_and_is_offered_to_hand_its_layers_on()
-> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let (browser, others) = (
        theatre.browser(BrowserKind::Chromium).await?,
        theatre.browser(BrowserKind::Chromium).await?,
    );
    let settings = "peers=3&steps=4000&codec=f32&executor=cpu&planning=counted";
    let first = others
        .tab(&theatre.url(&format!("/?create&{settings}")))
        .await?;
    let room = first.room(JOIN_MAX).await?;
    let address = theatre.joining(&format!("/r/{room}?executor=cpu"));
    let _second = others.tab(&address).await?;
    let phone = browser.tab("about:blank").await?;
    phone.look(PHONE).await?;
    phone.as_phone(EMPTY).await?;
    phone.goto(&address).await?;
    phone.wait_for_text(JOIN_MAX, "battery is at 12").await?;
    let trains = "The screen stays on while this device trains";
    phone.wait_for_text(JOIN_MAX, trains).await?;
    ensure!(screen(&phone).await? == "kept", "the screen is kept on");
    pictures(&phone, "low-battery").await?;
    // The browser takes the lock away from a page that nobody sees; it is asked for again.
    let lets_go =
        "return document.hidden && document.querySelector('.screen').dataset.screen !== 'kept'";
    let keeps =
        "return !document.hidden && document.querySelector('.screen').dataset.screen === 'kept'";
    phone.hide(true).await?;
    phone
        .wait_for_script(JOIN_MAX, "a screen let go of", lets_go)
        .await?;
    phone.hide(false).await?;
    phone
        .wait_for_script(JOIN_MAX, "a screen kept on again", keeps)
        .await?;
    // What is charged is not spoken of.
    phone.execute("charge(true)").await?;
    let text = phone.text().await?;
    ensure!(!text.contains("battery"), "{text}");
    phone.execute("charge(false)").await?;
    let stable = |view: &ringtmp_peer::View| {
        let room = view.room.as_ref();
        let holds = room.and_then(|room| room.ring()?.stage_of(view.me?));
        holds.is_some() && room.is_some_and(|room| room.stable.is_some())
    };
    phone.wait_for(RUN_MAX, "a copy", stable).await?;
    phone.press("Hand my layers on").await?;
    phone.wait_for_text(JOIN_MAX, "You left the room").await?;
    pictures(&phone, "left").await?;
    // The screen is let go of while the page is drawn, which goes on being drawn.
    ensure!(screen(&phone).await? != "kept", "the screen is kept on");
    phone.press("Deutsch").await?;
    phone.wait_for_text(JOIN_MAX, "English").await?;
    let told = first
        .wait_for_text(JOIN_MAX, "hands its layers on and leaves")
        .await?;
    ensure!(told.contains("took over layer"), "{told}");
    ensure!(told.contains("Nothing was lost."), "{told}");
    pictures(&first, "recovered").await?;
    let room = view(&first).await?.room.context("a room")?;
    let last = room.recoveries.last().context("it was told")?;
    ensure!(last.repeated == 0, "{last:?}");
    Ok(())
}
