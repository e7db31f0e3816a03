//! The little of the DevTools protocol that opens tabs and hears of their crashes.
//! <https://chromedevtools.github.io/devtools-protocol/tot/Target/>

use crate::browser::{Looks, Show};
use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt};
use ringtmp_transport::native::AccessLink;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// How long the browser may take to answer: it opens tabs in tens of milliseconds, more on a loaded machine.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Messages about targets are a few hundred bytes; behind an access link, what a page says to its server is told as well.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A page without anything.
const EMPTY: &str = "about:blank";

/// In a page of a room: the device's name and what it complains of, or nothing.
const COMPLAINT: &str = "(() => { \
    const all = document.querySelectorAll('.notice[data-level=error] strong'); \
    const name = new URLSearchParams(location.search).get('name') ?? 'a tab'; \
    const said = Array.from(all, (one) => one.textContent).join(' '); \
    return said && `${name}: ${said}`; \
})()";

/// How long a page may take to say what it complains of.
const COMPLAINT_WAIT: Duration = Duration::from_secs(2);

/// The longest complaint that is told on.
const COMPLAINT_CHARS_MAX: usize = 400;

/// As a rate, that there is none.
const NO_LIMIT: f64 = -1.0;

/// Windows of the demo, in CSS pixels: three fit side by side on most screens.
const WINDOW: (u32, u32) = (480, 860);

/// How many windows stand in a row before the next row begins, and how far that one is shifted.
const WINDOWS_A_ROW: usize = 3;
const ROW_SHIFT: u32 = 40;

/// A socket to a browser.
pub(super) struct DevTools {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last_id: u64,
}

/// What the browser says: an answer (with an id) or an event (with a method).
#[derive(Debug, Deserialize)]
struct Said {
    id: Option<u64>,
    method: Option<String>,
    #[serde(default)]
    params: Value,
    #[serde(default)]
    result: Value,
    error: Option<Value>,
}

impl DevTools {
    pub(super) async fn connect(address: &str) -> Result<Self> {
        let limits = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX));
        let connecting = connect_async_with_config(address, Some(limits), true);
        let connected = tokio::time::timeout(ANSWER_MAX, connecting).await;
        let (socket, _) = connected
            .context("the browser does not answer")?
            .context("the browser cannot be spoken to")?;
        Ok(Self { socket, last_id: 0 })
    }

    /// Opens each address, in windows side by side or in tabs of none, in place of the empty tab that is there.
    pub(super) async fn open(&mut self, urls: &[String], looks: &Looks) -> Result<()> {
        self.call("Target.setDiscoverTargets", json!({ "discover": true }))
            .await?;
        let before = self.call("Target.getTargets", json!({})).await?;
        for (index, url) in urls.iter().enumerate() {
            let Some(link) = looks.access_link else {
                let target = target(url, index, looks.show);
                self.call("Target.createTarget", target).await?;
                continue;
            };
            // Behind its link before it asks for anything.
            let target = target(EMPTY, index, looks.show);
            let opened = self.call("Target.createTarget", target).await?;
            self.go_behind(link, &opened["targetId"], url).await?;
        }
        let infos = before["targetInfos"].as_array().into_iter().flatten();
        let empty: Vec<Value> = infos
            .filter(|target| target["type"] == "page" && target["url"] == EMPTY)
            .map(|target| target["targetId"].clone())
            .collect();
        // Closing the last tab would end a browser with windows.
        for id in empty.into_iter().filter(|_| !urls.is_empty()) {
            self.call("Target.closeTarget", json!({ "targetId": id }))
                .await?;
        }
        Ok(())
    }

    /// Has a tab open an address behind an emulated access link. It stays so while this socket is open.
    /// <https://chromedevtools.github.io/devtools-protocol/tot/Network/#method-emulateNetworkConditions>, which goes for data channels
    /// as well.
    async fn go_behind(&mut self, link: AccessLink, target: &Value, url: &str) -> Result<()> {
        let session = self.attach(target).await?;
        self.call_in(session.as_deref(), "Network.enable", json!({}))
            .await?;
        let conditions = "Network.emulateNetworkConditions";
        self.call_in(session.as_deref(), conditions, network(link))
            .await?;
        let navigate = json!({ "url": url });
        self.call_in(session.as_deref(), "Page.navigate", navigate)
            .await?;
        Ok(())
    }

    /// A session to a tab.
    async fn attach(&mut self, target: &Value) -> Result<Option<String>> {
        let attach = json!({ "targetId": target, "flatten": true });
        let attached = self.call("Target.attachToTarget", attach).await?;
        Ok(attached["sessionId"].as_str().map(str::to_owned))
    }

    /// What pages complain of, each with its device's name. Who does not answer at once is passed over: it is asked since something has failed.
    pub(super) async fn complaints(&mut self) -> Result<Vec<String>> {
        let targets = self.call("Target.getTargets", json!({})).await?;
        let infos = targets["targetInfos"].as_array().into_iter().flatten();
        let pages = infos.filter(|target| target["type"] == "page");
        let mut said = Vec::new();
        for page in pages {
            let complaint = self.complaint(&page["targetId"]);
            if let Ok(Ok(told)) = tokio::time::timeout(COMPLAINT_WAIT, complaint).await
                && !told.is_empty()
            {
                said.push(told);
            }
        }
        Ok(said)
    }

    async fn complaint(&mut self, target: &Value) -> Result<String> {
        let session = self.attach(target).await?;
        let evaluate = json!({ "expression": COMPLAINT, "returnByValue": true });
        let told = self.call_in(session.as_deref(), "Runtime.evaluate", evaluate);
        let told = told.await?;
        let told = told["result"]["value"].as_str().unwrap_or_default();
        Ok(told.chars().take(COMPLAINT_CHARS_MAX).collect())
    }

    /// Done, with words, when a tab has crashed; never done once the socket is closed.
    pub(super) async fn crash(&mut self) -> String {
        loop {
            match self.next().await {
                Ok(said) if said.method.as_deref() == Some("Target.targetCrashed") => {
                    let status = said.params["status"].as_str().unwrap_or("no reason given");
                    return format!("a tab has crashed ({status})");
                }
                Ok(_) => {}
                // The browser's end is noticed at its process.
                Err(_) => return std::future::pending().await,
            }
        }
    }

    /// Asks for something and waits for the answer; events that come between are no concern of the callers.
    async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.call_in(None, method, params).await
    }

    /// The same of a tab to which there is a session.
    async fn call_in(
        &mut self,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value> {
        self.last_id += 1;
        let id = self.last_id;
        let mut call = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            call["sessionId"] = session.into();
        }
        let text = call.to_string();
        let answer = async {
            self.socket.send(Message::text(text)).await?;
            loop {
                let said = self.next().await?;
                if said.id == Some(id) {
                    return anyhow::Ok(said);
                }
            }
        };
        let answer = tokio::time::timeout(ANSWER_MAX, answer).await;
        let answer = answer.with_context(|| format!("the browser does not answer {method}"))??;
        match answer.error {
            None => Ok(answer.result),
            Some(error) => bail!("the browser refuses {method}: {error}"),
        }
    }

    async fn next(&mut self) -> Result<Said> {
        loop {
            let message = self
                .socket
                .next()
                .await
                .context("the browser has hung up")??;
            if let Message::Text(text) = message {
                return serde_json::from_str(&text).context("the browser speaks another protocol");
            }
        }
    }
}

/// What a link does to all that a tab sends and receives, each way by itself.
fn network(link: AccessLink) -> Value {
    let rate = link.bytes_per_second.unwrap_or(NO_LIMIT);
    json!({
        "offline": false,
        "latency": link.delay.as_secs_f64() * 1e3,
        "downloadThroughput": rate,
        "uploadThroughput": rate,
    })
}

/// What to open: a window of its own in its place on the screen, or a tab.
fn target(url: &str, index: usize, show: Show) -> Value {
    match show {
        Show::Headless => json!({ "url": url }),
        Show::Headed => {
            let (column, row) = (index % WINDOWS_A_ROW, index / WINDOWS_A_ROW);
            let (column, row) = (
                u32::try_from(column).unwrap_or(0),
                u32::try_from(row).unwrap_or(0),
            );
            json!({
                "url": url,
                "newWindow": true,
                "left": column * WINDOW.0 + row * ROW_SHIFT,
                "top": row * ROW_SHIFT,
                "width": WINDOW.0,
                "height": WINDOW.1,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_without_a_rate_has_none() {
        let network = |link: &str| network(link.parse().expect("a link"));
        let phone = network("4ms,32mbit");
        assert_eq!(phone["latency"], 4.0);
        assert_eq!(phone["uploadThroughput"], 4e6);
        assert_eq!(phone["downloadThroughput"], 4e6);
        assert_eq!(network("25ms")["uploadThroughput"], -1.0);
    }

    #[test]
    fn windows_do_not_cover_each_other_and_tabs_have_none() {
        let windows: Vec<Value> = (0..5).map(|i| target("u", i, Show::Headed)).collect();
        let places: std::collections::BTreeSet<String> = windows
            .iter()
            .map(|window| format!("{}/{}", window["left"], window["top"]))
            .collect();
        assert_eq!(places.len(), windows.len());
        assert_eq!(target("u", 1, Show::Headless), json!({ "url": "u" }));
    }
}
