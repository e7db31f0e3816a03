//! One page in a browser.

use crate::browser::{BrowserKind, Look, Windows};
use crate::theatre::Theatre;
use anyhow::{Context, Result, bail};
use base64::Engine;
use ringtmp_core::secret::RoomLink;
use ringtmp_core::signal::{RoomState, RunResult};
use ringtmp_peer::View;
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often a page is looked at: well above what looking costs (5 ms), well below what a test takes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The most characters of a page's text in a failure.
const TEXT_CHARS_MAX: usize = 2000;

/// The most lines of a page's console in a failure.
const CONSOLE_LINES_MAX: usize = 30;

/// One page.
pub struct Tab {
    windows: Arc<Windows>,
    handle: String,
    kind: BrowserKind,
}

impl Tab {
    pub(crate) fn new(windows: Arc<Windows>, handle: String, kind: BrowserKind) -> Self {
        Self {
            windows,
            handle,
            kind,
        }
    }

    /// Loads an address.
    ///
    /// # Errors
    ///
    /// What the browser says.
    pub async fn goto(&self, url: &str) -> Result<()> {
        let (session, _guard) = self.windows.at(&self.handle).await?;
        session
            .post("/url", json!({ "url": url }))
            .await
            .with_context(|| format!("cannot load {url}"))?;
        Ok(())
    }

    /// Runs a script, the body of a function, and gives what it returns.
    ///
    /// # Errors
    ///
    /// What the script throws.
    pub async fn execute(&self, script: &str) -> Result<Value> {
        let (session, _guard) = self.windows.at(&self.handle).await?;
        session
            .post("/execute/sync", json!({ "script": script, "args": [] }))
            .await
    }

    /// Presses the button that is seen with this text.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub async fn press(&self, text: &str) -> Result<()> {
        let script = format!(
            "const button = [...document.querySelectorAll('button')]
                .find(button => button.offsetParent !== null && button.textContent === {text:?});
            button?.click();
            return button !== undefined"
        );
        if self.execute(&script).await? != Value::Bool(true) {
            bail!("no button says {text:?}\n{}", self.describe(None).await);
        }
        Ok(())
    }

    /// What the page shows, from `ringtmp.view()`; nothing before its worker has said anything.
    ///
    /// # Errors
    ///
    /// A view that cannot be read.
    pub async fn view(&self) -> Result<Option<View>> {
        let json = self
            .execute("return globalThis.ringtmp?.view() ?? null")
            .await?;
        let Some(text) = json.as_str().filter(|text| *text != "null") else {
            return Ok(None);
        };
        serde_json::from_str(text).context("the page's view is not a View")
    }

    /// The state of the room as the page's style sees it: `data-state` of the body.
    ///
    /// # Errors
    ///
    /// What the browser says.
    pub async fn state(&self) -> Result<String> {
        let value = self
            .execute("return document.body?.dataset.state ?? ''")
            .await?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    /// The text that a person can see.
    ///
    /// # Errors
    ///
    /// What the browser says.
    pub async fn text(&self) -> Result<String> {
        let value = self
            .execute("return document.body?.innerText ?? ''")
            .await?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the view satisfies a condition.
    ///
    /// # Errors
    ///
    /// After `limit`, or as soon as the room has stopped: what the page shows, with a picture of it.
    pub async fn wait_for(
        &self,
        limit: Duration,
        what: &str,
        condition: impl Fn(&View) -> bool,
    ) -> Result<View> {
        let deadline = Instant::now() + limit;
        loop {
            let view = self.view().await?;
            if let Some(view) = view.as_ref().filter(|view| condition(view)) {
                return Ok(view.clone());
            }
            let stopped = view
                .as_ref()
                .is_some_and(|view| matches!(room_state(view), Some(RoomState::Stopped { .. })));
            if stopped || Instant::now() >= deadline {
                let end = if stopped {
                    "the room stopped".to_owned()
                } else {
                    format!("not within {limit:?}")
                };
                bail!(
                    "waited for {what}: {end}\n{}",
                    self.describe(view.as_ref()).await
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the visible text contains one of these.
    ///
    /// # Errors
    ///
    /// After `limit`: what the page shows, with a picture of it.
    pub async fn wait_for_text(&self, limit: Duration, wanted: &str) -> Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            let text = self.text().await?;
            if text.contains(wanted) {
                return Ok(text);
            }
            if Instant::now() >= deadline {
                bail!(
                    "the page does not say {wanted:?} within {limit:?}\n{}",
                    self.describe(None).await
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until there is an element that a CSS selector finds. What the page knows is drawn a little later.
    ///
    /// # Errors
    ///
    /// After `limit`: what the page shows, with a picture of it.
    pub async fn wait_for_element(&self, limit: Duration, selector: &str) -> Result<()> {
        let found = format!("return document.querySelector({selector:?}) !== null");
        self.wait_for_script(limit, selector, &found).await
    }

    /// Waits until a script says `true`.
    ///
    /// # Errors
    ///
    /// After `limit`: what the page shows, with a picture of it.
    pub async fn wait_for_script(&self, limit: Duration, what: &str, script: &str) -> Result<()> {
        let deadline = Instant::now() + limit;
        while self.execute(script).await? != true {
            if Instant::now() >= deadline {
                bail!(
                    "waited for {what}: not within {limit:?}\n{}",
                    self.describe(None).await
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// What leads into the room, once the page is in one.
    ///
    /// # Errors
    ///
    /// As [`Tab::wait_for`].
    pub async fn room(&self, limit: Duration) -> Result<RoomLink> {
        let view = self
            .wait_for(limit, "a room", |view| view.room.is_some())
            .await?;
        view.link().context("it was there")
    }

    /// Waits for the end of the run and gives its result.
    ///
    /// # Errors
    ///
    /// As [`Tab::wait_for`].
    pub async fn finished(&self, limit: Duration) -> Result<RunResult> {
        let view = self
            .wait_for(limit, "the run to finish", |view| {
                room_state(view) == Some(&RoomState::Finished)
            })
            .await?;
        view.room
            .and_then(|room| room.result)
            .context("a finished room has a result")
    }

    /// Shows the page at a size, light or dark. Chromium only.
    ///
    /// # Errors
    ///
    /// What the browser says.
    pub async fn look(&self, look: Look) -> Result<()> {
        let size = json!({
            "width": look.width, "height": look.height, "deviceScaleFactor": look.scale, "mobile": look.width < 600,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await?;
        let scheme = if look.dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", features).await
    }

    /// As for somebody who prefers that nothing moves, or not. Chromium only.
    ///
    /// # Errors
    ///
    /// What the browser says.
    pub async fn still(&self, still: bool) -> Result<()> {
        let value = if still { "reduce" } else { "no-preference" };
        let features =
            json!({ "features": [{ "name": "prefers-reduced-motion", "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", features).await
    }

    /// From the next page on: used with a finger, as a phone, and running a script before anything else. Chromium only.
    ///
    /// # Errors
    ///
    /// What the browser says.
    pub async fn as_phone(&self, script: &str) -> Result<()> {
        let touch = json!({ "enabled": true, "maxTouchPoints": 1 });
        self.devtools("Emulation.setTouchEmulationEnabled", touch)
            .await?;
        self.before_pages(script).await
    }

    /// Hides the page, as another application in front of it would, or shows it again.
    ///
    /// # Errors
    ///
    /// What the browser says.
    pub async fn hide(&self, hidden: bool) -> Result<()> {
        let (session, _guard) = self.windows.at(&self.handle).await?;
        let (command, parameters) = match hidden {
            true => ("/window/minimize", json!({})),
            false => ("/window/rect", json!({ "width": 800, "height": 800 })),
        };
        session.post(command, parameters).await?;
        Ok(())
    }

    /// The pages of an origin may store so many bytes, as long as this tab is open. Chromium only.
    ///
    /// # Errors
    ///
    /// What the browser says.
    pub async fn limit_storage(&self, origin: &str, bytes: u64) -> Result<()> {
        let quota = json!({ "origin": origin, "quotaSize": bytes });
        self.devtools("Storage.overrideQuotaForOrigin", quota).await
    }

    /// From the next page on, runs a script before anything else. Chromium only.
    ///
    /// # Errors
    ///
    /// What the browser says.
    pub async fn before_pages(&self, script: &str) -> Result<()> {
        let source = json!({ "source": script });
        self.devtools("Page.addScriptToEvaluateOnNewDocument", source)
            .await
    }

    /// A picture of the window, as PNG.
    ///
    /// # Errors
    ///
    /// What the browser says.
    pub async fn screenshot(&self) -> Result<Vec<u8>> {
        let (session, _guard) = self.windows.at(&self.handle).await?;
        let answer = session.get("/screenshot").await?;
        let text = answer.as_str().context("a picture is a text in base 64")?;
        Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Result<()> {
        let (session, _guard) = self.windows.at(&self.handle).await?;
        session
            .post(
                "/goog/cdp/execute",
                json!({ "cmd": command, "params": parameters }),
            )
            .await?;
        Ok(())
    }

    /// What is there to see, for a failure. Whatever of it cannot be had is left out.
    async fn describe(&self, view: Option<&View>) -> String {
        let mut words = String::new();
        let state = self.state().await.unwrap_or_default();
        let _ = writeln!(words, "{:?}, data-state {state:?}", self.kind);
        if let Some(view) = view {
            let _ = writeln!(
                words,
                "server {:?}, room {:?}",
                view.server,
                room_state(view)
            );
            let _ = writeln!(words, "links {:?}\nnotices {:?}", view.links, view.notices);
        }
        let text: String = self
            .text()
            .await
            .unwrap_or_default()
            .chars()
            .take(TEXT_CHARS_MAX)
            .collect();
        let _ = writeln!(
            words,
            "-- page\n{text}\n-- console\n{}",
            self.console().await.unwrap_or_default()
        );
        if let Ok(path) = self.save_failure().await {
            let _ = writeln!(words, "-- picture: {path}");
        }
        words
    }

    /// The last lines of the console. Chromium only.
    async fn console(&self) -> Result<String> {
        let (session, _guard) = self.windows.at(&self.handle).await?;
        let entries = session
            .post("/se/log", json!({ "type": "browser" }))
            .await?;
        let entries = entries.as_array().map(Vec::as_slice).unwrap_or_default();
        let last = entries
            .iter()
            .skip(entries.len().saturating_sub(CONSOLE_LINES_MAX));
        Ok(last
            .filter_map(|entry| entry["message"].as_str())
            .collect::<Vec<_>>()
            .join("\n"))
    }

    async fn save_failure(&self) -> Result<String> {
        let picture = self.screenshot().await?;
        let folder = Theatre::failures();
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.png", self.handle));
        fs::write(&path, picture)?;
        Ok(path.display().to_string())
    }
}

fn room_state(view: &View) -> Option<&RoomState> {
    view.room.as_ref().map(|room| &room.state)
}
