//! What only the host of a room may do, on real pages; and the view for a room full of people.

use super::stage::{pictures, trains};
use super::{JOIN_MAX, RUN_MAX, ring, train, view};
use anyhow::{Context, Result, ensure};
use base64::Engine;
use ringtmp_compute::ModelSpec;
use ringtmp_core::ids::ShortCode;
use ringtmp_core::signal::RoomState;
use ringtmp_peer::{NoticeLevel, View, from_safetensors};
use ringtmp_tests::{BrowserKind, Look, Tab, Theatre};
use sha2::{Digest, Sha256};

/// Texts of the buttons that can be pressed.
async fn buttons(tab: &Tab) -> Result<Vec<String>> {
    let seen = "return [...document.querySelectorAll('button')]
        .filter(button => button.offsetParent !== null).map(button => button.textContent)";
    Ok(serde_json::from_value(tab.execute(seen).await?)?)
}

/// Presses a button in the row of a device, and answers the question that it asks: with a text, or with yes.
async fn of_device(tab: &Tab, name: &str, button: &str, text: Option<&str>) -> Result<()> {
    // Others may have heard of it before this tab.
    let row = format!(
        "return [...document.querySelectorAll('tr.member')]
            .some(row => row.querySelector('.name').textContent === {name:?}
                && [...row.querySelectorAll('button')].some(button => button.textContent === {button:?}))"
    );
    tab.wait_for_script(JOIN_MAX, name, &row).await?;
    let text = text.map_or("null".to_owned(), |text| format!("{text:?}"));
    let script = format!(
        "const row = [...document.querySelectorAll('tr.member')]
            .find(row => row.querySelector('.name').textContent === {name:?});
        [...row.querySelectorAll('button')].find(button => button.textContent === {button:?}).click();
        const dialog = document.querySelector('dialog[open]');
        if ({text} !== null) dialog.querySelector('input').value = {text};
        dialog.querySelector('.primary').click();
        return document.querySelector('dialog[open]') === null"
    );
    ensure!(
        tab.execute(&script).await? == true,
        "the question is answered"
    );
    Ok(())
}

fn names(view: &View) -> Vec<String> {
    let members = view.room.iter().flat_map(|room| &room.members);
    members.map(|member| member.device.name.clone()).collect()
}

#[tokio::test]
async fn the_host_governs_its_room_also_after_a_reload_and_a_guest_cannot() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let settings = "executor=cpu&steps=100000&pace=4e8";
    let (mut tabs, room) = ring(&theatre, &[&browser; 2], settings, 1).await?;
    let third = theatre.joining(&format!("/r/{room}?executor=cpu&name=third"));
    tabs.push(browser.tab(&third).await?);
    let [host, guest, third] = &tabs[..] else {
        anyhow::bail!("three tabs");
    };
    host.wait_for(RUN_MAX, "training", trains).await?;
    guest.wait_for(RUN_MAX, "training", trains).await?;

    // A guest has no buttons for what it may not do, and is refused by name if it asks all the same.
    let seen = buttons(guest).await?;
    for text in ["Pause", "Stop", "Send away"] {
        ensure!(!seen.contains(&text.to_owned()), "{text} is in {seen:?}");
    }
    ensure!(
        seen.iter().filter(|text| *text == "Rename").count() == 1,
        "{seen:?}"
    );
    guest
        .execute(r#"ringtmp.command('{"command":"stop"}')"#)
        .await?;
    let refused = |view: &View| {
        let mut errors = view
            .notices
            .iter()
            .filter(|notice| notice.level == NoticeLevel::Error);
        errors.any(|notice| notice.text.contains("who opened the room, may do that"))
    };
    let told = guest.wait_for(JOIN_MAX, "a refusal", refused).await?;
    ensure!(trains(&told), "the run goes on");

    // Names are for everybody.
    of_device(host, "third", "Rename", Some("bench 3")).await?;
    let renamed = |view: &View| names(view).contains(&"bench 3".to_owned());
    guest.wait_for(JOIN_MAX, "another name", renamed).await?;

    // Who is sent away is told why, and does not come back by itself.
    of_device(host, "bench 3", "Send away", None).await?;
    third
        .wait_for_text(JOIN_MAX, "who opened the room, has sent this device away")
        .await?;
    let two = |view: &View| names(view).len() == 2 && trains(view);
    host.wait_for(RUN_MAX, "a ring of two", two).await?;
    ensure!(third.state().await? == "broken");
    let joined = third
        .execute("return sessionStorage.getItem('joined')")
        .await?;
    ensure!(joined.is_null(), "it is asked again before it takes part");
    pictures(third, "sent-away").await?;

    // After a reload the same tab is the host again.
    host.execute("location.reload()").await?;
    let governs = |view: &View| {
        let room = view.room.as_ref();
        room.is_some_and(|room| room.host.is_some() && room.host == view.me) && trains(view)
    };
    host.wait_for(RUN_MAX, "the host again", governs).await?;
    let seen = buttons(host).await?;
    ensure!(seen.contains(&"Stop".to_owned()), "{seen:?}");
    host.press("Stop").await?;
    let stopped = host.wait_for_text(JOIN_MAX, "stopped on purpose").await?;
    ensure!(
        stopped.contains(" steps"),
        "the result so far is told: {stopped}"
    );
    let done = |view: &View| {
        let room = view.room.as_ref();
        let steps = room
            .and_then(|room| room.result.as_ref())
            .map(|result| result.steps);
        (
            room.map(|room| room.state.clone()),
            steps,
            view.points.len(),
        )
    };
    let stops = |view: &View| matches!(done(view).0, Some(RoomState::Stopped { .. }));
    let stopped = guest.wait_for(JOIN_MAX, "the end", stops).await?;
    let (_, steps, points) = done(&stopped);
    ensure!(steps > Some(0), "{steps:?}");
    // It really stops: nobody makes another step.
    guest
        .execute("return new Promise(done => setTimeout(done, 1500))")
        .await?;
    ensure!(done(&view(guest).await?).2 == points, "no point is added");
    Ok(())
}

/// What sticks out of the window, and the height of the smallest of the three large numbers, in shares of the window's.
const FITS: &str = "
    const shown = [...document.querySelectorAll('h1, dd, .ring svg, .code svg, .plot svg')]
        .filter(element => element.checkVisibility());
    const out = shown.filter(element => {
        const box = element.getBoundingClientRect();
        return box.right > innerWidth + 1 || box.bottom > innerHeight + 1 || box.left < -1 || box.top < -1;
    });
    const list = document.querySelector('dl');
    if (list.scrollWidth > list.clientWidth + 1) out.push(list);
    const numbers = [...document.querySelectorAll('dd')].filter(element => element.checkVisibility());
    const heights = numbers.map(element => parseFloat(getComputedStyle(element).fontSize) / innerHeight);
    return [shown.map(element => element.tagName + element.parentElement.className).join(' '), out.map(element => element.outerHTML.slice(0, 80)).join(), numbers.length, Math.min(...heights)]";

#[tokio::test]
async fn a_projector_shows_ring_curve_numbers_and_code_on_one_screen_and_nothing_to_press()
-> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let settings = "executor=cpu&steps=100000&pace=4e8";
    let (tabs, room) = ring(&theatre, &[&browser; 3], settings, 0).await?;
    let others = theatre.browser(BrowserKind::Chromium).await?;
    let screen = others.tab("about:blank").await?;
    for (width, height) in [(1920, 1080), (1280, 720)] {
        let look = Look {
            width,
            height,
            scale: 1.0,
            dark: false,
        };
        screen.look(look).await?;
        screen
            .goto(&theatre.url(&format!("/r/{room}?view=projector&name=hall")))
            .await?;
        let curve = |view: &View| trains(view) && view.points.len() > 10;
        screen.wait_for(RUN_MAX, "a curve", curve).await?;
        screen.wait_for_text(JOIN_MAX, "slower than it was").await?;
        // What people in the last row can type.
        let short = ShortCode::of(room.room).to_string();
        let (first, second) = short.split_at(3);
        let code = format!("with the code {first}-{second}");
        screen.wait_for_text(JOIN_MAX, &code).await?;
        if let Some(folder) = std::env::var_os("RINGTMP_LOOK") {
            let path = std::path::Path::new(&folder).join(format!("projector-{width}.png"));
            std::fs::write(path, screen.screenshot().await?)?;
        }
        // Whoever drives the page may look between its news and their drawing.
        screen.wait_for_element(JOIN_MAX, ".plot svg").await?;
        let fits = screen.execute(FITS).await?;
        let all = "H1state svgring svgcode DDloss DDaccuracy DDsamples svgplot";
        let kinds = |text: &str| {
            let mut kinds: Vec<String> = text.split(' ').map(str::to_owned).collect();
            kinds.sort();
            kinds
        };
        let shown = fits[0].as_str().unwrap_or_default();
        ensure!(kinds(shown) == kinds(all) && fits[1] == "", "{fits}");
        ensure!(fits[2] == 3 && fits[3].as_f64() > Some(0.07), "{fits}");
        let seen = buttons(&screen).await?;
        ensure!(seen.is_empty(), "{seen:?}");
        let dark = "return getComputedStyle(document.body).backgroundColor";
        let dark = screen.execute(dark).await?;
        ensure!(
            dark == "rgb(13, 17, 20)",
            "dark though the system is light: {dark}"
        );
    }
    ensure!(view(&screen).await?.device.name == "hall");
    // It follows by itself.
    tabs[0].press("Stop").await?;
    screen.wait_for_text(JOIN_MAX, "stopped on purpose").await?;
    let context = screen.text().await?;
    ensure!(!context.contains("Train again"), "{context}");
    tabs.first().context("a tab")?;
    Ok(())
}

#[tokio::test]
async fn the_language_is_the_browsers_or_chosen_and_changes_without_leaving_the_room() -> Result<()>
{
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let settings = "executor=cpu&steps=100000&pace=4e8&lang=de";
    let (tabs, _) = ring(&theatre, &[&browser], settings, 0).await?;
    let before = tabs[0].wait_for(RUN_MAX, "training", trains).await?;
    let german = tabs[0]
        .wait_for_text(JOIN_MAX, "Ein Gerät trainiert das ganze Modell.")
        .await?;
    ensure!(german.contains("Was jedes Gerät tut"), "{german}");
    ensure!(
        tabs[0]
            .execute("return document.documentElement.lang")
            .await?
            == "de"
    );
    pictures(&tabs[0], "german").await?;
    tabs[0].press("English").await?;
    let english = tabs[0]
        .wait_for_text(JOIN_MAX, "One device trains the whole model.")
        .await?;
    ensure!(!english.contains("Gerät"), "{english}");
    let after = tabs[0].wait_for(RUN_MAX, "training", trains).await?;
    ensure!(after.me == before.me, "it is the same member");
    // The choice is remembered, unless an address says otherwise.
    let other = browser.tab(&theatre.url("/")).await?;
    other.wait_for_text(JOIN_MAX, "Create room").await?;
    other.press("Deutsch").await?;
    other.wait_for_text(JOIN_MAX, "Raum öffnen").await?;
    let third = browser.tab(&theatre.url("/")).await?;
    third.wait_for_text(JOIN_MAX, "Raum öffnen").await?;
    Ok(())
}

/// Presses the button that saves layers, and gives the file that the page makes in base 64, behind its name.
const SAVE: &str = "
    const make = URL.createObjectURL, click = HTMLAnchorElement.prototype.click;
    return new Promise(done => {
        let file;
        URL.createObjectURL = blob => { file = blob; return make.call(URL, blob); };
        HTMLAnchorElement.prototype.click = function () {
            const name = this.download, reader = new FileReader();
            reader.onload = () => done([name, reader.result.split(',')[1]]);
            reader.readAsDataURL(file);
        };
        [...document.querySelectorAll('button')].find(button => button.textContent === 'Save my layers').click();
    })";

#[tokio::test]
async fn a_tab_saves_the_layers_that_it_has_trained() -> Result<()> {
    let Some(theatre) = Theatre::open(&[BrowserKind::Chromium]).await? else {
        return Ok(());
    };
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    let (tabs, _) = ring(&theatre, &[&browser], "executor=cpu", 0).await?;
    let result = train(&tabs).await?;
    let saved = tabs[0].execute(SAVE).await?;
    let [name, file]: [String; 2] = serde_json::from_value(saved)?;
    ensure!(name == "mlp.safetensors", "{name}");
    let bytes = base64::engine::general_purpose::STANDARD.decode(file)?;
    let parameters = from_safetensors(&bytes, &ModelSpec::preset("mlp")?)?;
    let mut first = Sha256::new();
    for parameter in &parameters[..2] {
        for value in &parameter.values {
            first.update(value.to_le_bytes());
        }
    }
    let digest = first.finalize();
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(
        digest == result.digests[0].sha256,
        "the weights that the run ended with"
    );
    Ok(())
}
