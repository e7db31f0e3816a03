//! What a browser gets that speaks plain HTTP to the port of HTTPS, as it does when somebody types the address: the page that
//! explains the warning which comes next, with the link that leads on.

use crate::addresses::Addresses;
use crate::assets::{Page, escape};
use crate::host::{self, Hosts};
use crate::metrics::Metrics;
use crate::routes::{add_headers, count};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Files of the built page that this page shows itself with.
const FILES: [&str; 4] = ["style.css", "dark.css", "icon.svg", "landing.js"];

/// What the landing is made from.
#[derive(Clone)]
pub(crate) struct Landing {
    pub(crate) page: Arc<Page>,
    pub(crate) hosts: Arc<Hosts>,
    /// The fingerprint of a certificate of which browsers warn; none if they do not.
    pub(crate) warned_of: Option<Arc<str>>,
}

pub(crate) fn router(landing: Landing, counted: (Arc<Addresses>, Arc<Metrics>)) -> Router {
    let hosts = Arc::clone(&landing.hosts);
    Router::new()
        .fallback(show)
        .with_state(landing)
        .layer(from_fn_with_state(hosts, host::check))
        .layer(from_fn_with_state(counted, count))
        .layer(map_response(add_headers))
}

async fn show(State(landing): State<Landing>, request: Request) -> Response {
    let name = request.uri().path().trim_start_matches('/');
    let file = match &*landing.page {
        Page::Built(assets) if FILES.contains(&name) => assets.respond(name, request.headers()),
        Page::Built(_) | Page::Missing(_) => None,
    };
    file.unwrap_or_else(|| answer(&landing, &request))
}

fn answer(landing: &Landing, request: &Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let text = "this port speaks HTTPS: use https:// (or wss://)\n";
        return (StatusCode::UPGRADE_REQUIRED, text).into_response();
    }
    let Some(secure) = secure_address(request) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Some(fingerprint) = &landing.warned_of else {
        let Ok(location) = HeaderValue::from_str(&secure) else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        // Not for good: another certificate may be one that browsers warn of.
        return (
            StatusCode::TEMPORARY_REDIRECT,
            [(header::LOCATION, location)],
        )
            .into_response();
    };
    let html = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (html, text(&secure, fingerprint)).into_response()
}

/// The same address over HTTPS. The host was checked.
fn secure_address(request: &Request) -> Option<String> {
    let headers: &HeaderMap = request.headers();
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let path = request.uri().path_and_query()?;
    Some(format!("https://{host}{path}"))
}

fn text(secure: &str, fingerprint: &str) -> String {
    let secure = escape(secure);
    // In groups of eight, so that it can be compared and broken into lines.
    let groups: Vec<_> = fingerprint
        .as_bytes()
        .chunks(8)
        .map(String::from_utf8_lossy)
        .collect();
    let fingerprint = groups.join(" ");
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>RingTMP: one warning comes next</title>
  <link rel="icon" href="/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/style.css">
  <link rel="stylesheet" href="/dark.css" media="(prefers-color-scheme: dark)">
  <script type="module" src="/landing.js"></script>
</head>
<body data-state="landing">
  <div id="app">
    <header class="top"><span class="wordmark">RingTMP</span></header>
    <main class="landing">
      <h1>Your browser will warn you once</h1>
      <p>The page comes from a device on this network, over an encrypted connection. No authority vouches for such addresses, so the browser
        cannot know that it is the right device, and asks you. You can: go on if you know who runs this server.</p>
      <p><a class="button primary" href="{secure}">Continue</a></p>
      <h2>What to press in the warning</h2>
      <dl>
        <dt>Safari on iPhone, iPad and Mac</dt><dd>Show Details, then “visit this website”</dd>
        <dt>Chrome and Edge</dt><dd>Advanced, then “Proceed to …” or “Continue to …”</dd>
        <dt>Firefox</dt><dd>Advanced, then “Accept the Risk and Continue”</dd>
      </dl>
      <h2>Why it is needed</h2>
      <p>Browsers let a page use the GPU, storage and a screen that stays on only over an encrypted connection.</p>
      <h2>To be sure</h2>
      <p>The certificate's SHA-256 fingerprint, as the server's terminal shows it too:</p>
      <p class="fingerprint">{fingerprint}</p>
    </main>
  </div>
</body>
</html>
"#
    )
}
