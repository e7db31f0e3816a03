//! Writes the pictures of `docs/images`: the page on a phone, a tablet and a desktop, light and dark, while it trains and at the
//! end; the view for a projector; and the demo in a terminal. `cargo xtask screenshots` builds what is needed and calls it.

use anyhow::{Context, Result, ensure};
use ringtmp_core::signal::RoomState;
use ringtmp_tests::{Browser, BrowserKind, Look, Tab, Theatre, repository, terminal};
use std::fs;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Long enough to take four pictures while it trains, and for a curve worth a picture.
const STEPS: u32 = 1500;

/// A picture while it trains is taken when the curve has so many points.
const POINTS_SHOWN: usize = 60;

const JOIN_MAX: Duration = Duration::from_secs(60);
const RUN_MAX: Duration = Duration::from_secs(600);

const TERMINAL_ROWS: NonZeroU16 = NonZeroU16::new(32).expect("not zero");
const TERMINAL_COLUMNS: NonZeroU16 = NonZeroU16::new(108).expect("not zero");

/// Of a picture of so many columns, in CSS pixels.
const TERMINAL_WIDTH: u32 = 980;

const PHONE: Look = Look {
    width: 360,
    height: 800,
    scale: 2.0,
    dark: false,
};
const TABLET: Look = Look {
    width: 820,
    height: 1180,
    scale: 1.0,
    dark: false,
};
const PROJECTOR: Look = Look {
    width: 1920,
    height: 1080,
    scale: 1.0,
    dark: true,
};
const DESKTOP: Look = Look {
    width: 1280,
    height: 1440,
    scale: 1.0,
    dark: false,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .context("usage: screenshots FOLDER")?;
    let theatre = Theatre::open(&[BrowserKind::Chromium])
        .await?
        .context("pictures need the built page, Chromium and its driver")?;
    let browser = theatre.browser(BrowserKind::Chromium).await?;
    pictures_of_the_page(&theatre, &browser, &folder).await?;
    picture_of_the_terminal(&browser, &folder).await
}

async fn pictures_of_the_page(theatre: &Theatre, browser: &Browser, folder: &Path) -> Result<()> {
    let first = browser
        .tab(&theatre.url(&format!("/?create&peers=3&steps={STEPS}&name=laptop")))
        .await?;
    let room = first.room(JOIN_MAX).await?;
    let mut others = Vec::new();
    for name in ["phone", "tablet"] {
        let address = theatre.joining(&format!("/r/{room}?name={name}"));
        others.push(browser.tab(&address).await?);
    }
    let trains = |view: &ringtmp_peer::View| {
        let state = view.room.as_ref().map(|room| &room.state);
        state == Some(&RoomState::Training) && view.points.len() >= POINTS_SHOWN
    };
    first.wait_for(RUN_MAX, "training", trains).await?;
    let hall = theatre.browser(BrowserKind::Chromium).await?;
    let address = theatre.url(&format!("/r/{room}?view=projector"));
    let screen = hall.tab(&address).await?;
    screen.look(PROJECTOR).await?;
    screen.wait_for_text(JOIN_MAX, "slower than it was").await?;
    pictures(&first, folder, "training").await?;
    save(&screen, &folder.join("projector.png")).await?;
    drop(screen);
    first.finished(RUN_MAX).await?;
    pictures(&first, folder, "finished").await
}

/// One moment in all sizes and colours.
async fn pictures(tab: &Tab, folder: &Path, moment: &str) -> Result<()> {
    for (device, look) in [("phone", PHONE), ("tablet", TABLET), ("desktop", DESKTOP)] {
        for (colours, dark) in [("light", false), ("dark", true)] {
            tab.look(Look { dark, ..look }).await?;
            save(
                tab,
                &folder.join(format!("{moment}-{device}-{colours}.png")),
            )
            .await?;
        }
    }
    Ok(())
}

async fn save(tab: &Tab, path: &Path) -> Result<()> {
    fs::write(path, tab.screenshot().await?)?;
    println!("{}", path.display());
    Ok(())
}

/// Runs the demo in a terminal of its own, which `script` (util-linux) provides, and draws the last screen.
async fn picture_of_the_terminal(browser: &Browser, folder: &Path) -> Result<()> {
    let program = repository().join(format!(
        "target/debug/ringtmp{}",
        std::env::consts::EXE_SUFFIX
    ));
    let demo = format!(
        "stty rows {TERMINAL_ROWS} cols {TERMINAL_COLUMNS}; exec '{}' demo --headless --no-lan --port 0 --steps 300 --json /dev/null",
        program.display()
    );
    let output = Command::new("script")
        .args([
            "--quiet",
            "--return",
            "--flush",
            "--command",
            &demo,
            "/dev/null",
        ])
        .current_dir(repository())
        .env("TERM", "xterm-256color")
        .stdin(std::process::Stdio::null())
        .output()
        .context("`script` (of util-linux) is needed for the picture of the terminal")?;
    ensure!(
        output.status.success(),
        "the demo failed:\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let page = tempfile::Builder::new().suffix(".html").tempfile()?;
    fs::write(
        page.path(),
        terminal::page(
            "ringtmp demo",
            &output.stdout,
            TERMINAL_ROWS,
            TERMINAL_COLUMNS,
        ),
    )?;
    let address = format!("file://{}", page.path().display());
    let tab = browser.tab(&address).await?;
    let look = |height| Look {
        width: TERMINAL_WIDTH,
        height,
        scale: 2.0,
        dark: true,
    };
    tab.look(look(1)).await?;
    let height = tab
        .execute("return document.documentElement.scrollHeight")
        .await?;
    let height = height.as_u64().context("a height is a number")?;
    tab.look(look(u32::try_from(height)?)).await?;
    save(&tab, &folder.join("terminal.png")).await
}
