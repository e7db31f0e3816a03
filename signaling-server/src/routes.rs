//! Which address gives what, and the headers that every answer bears.

use crate::addresses::{Addresses, Opened, Refused};
use crate::assets::{Page, missing_page};
use crate::connection::{self, Cut, Terms};
use crate::data::DataFiles;
use crate::events::{self, Sessions};
use crate::host::{self, Hosts};
use crate::hub::Event;
use crate::metrics::{self, Metrics};
use crate::sockets::Visitor;
use crate::{BUILD_COMMAND, Config, Lan};
use axum::Extension;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State as Extract};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use ringtmp_core::lobby::ConnectionId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

/// What the page may load and talk to: itself, its wasm, its workers, and this server. No other origin, nothing inline.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
     img-src 'self' data: blob:; connect-src 'self'; worker-src 'self' blob:; manifest-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page that is shown first.
const INDEX: &str = "index.html";

/// What a query makes the page do without asking anybody: open a room, or take part in one.
const DEEDS: [&str; 2] = ["create", "join"];

/// Headers of every answer that does not say otherwise itself. Names of files bear no hash, so browsers have to ask each time whether they are still the
/// same (`no-cache`), which a tag answers in a few bytes. The address of a room is its key, so it is never sent as a
/// referrer. The two `cross-origin` policies isolate the page, which gives it finer clocks.
const HEADERS: [(&str, &str); 7] = [
    ("cache-control", "no-cache"),
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
];

/// After how many seconds who has asked too much may ask again: budgets fill within half a minute.
const RETRY_AFTER_S: &str = "5";

/// What answers are made from.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) page: Arc<Page>,
    pub(crate) lan: Arc<Lan>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) data: Option<Arc<DataFiles>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) events: mpsc::Sender<Event>,
    /// One permit a signalling connection.
    pub(crate) places: Arc<Semaphore>,
    pub(crate) addresses: Arc<Addresses>,
    /// Signalling connections that are no WebSockets.
    pub(crate) sessions: Arc<Sessions>,
    /// Numbers signalling connections.
    pub(crate) connections: Arc<AtomicU64>,
    pub(crate) config: Arc<Config>,
}

/// All routes.
pub(crate) fn router(state: State) -> Router {
    let hosts = Arc::clone(&state.hosts);
    let counted = (Arc::clone(&state.addresses), Arc::clone(&state.metrics));
    Router::new()
        .route("/", get(index))
        .route("/r/{room}", get(index))
        .route("/signal", get(signal))
        .route("/signal/events", get(events::listen))
        .route("/signal/send", post(events::send))
        .route("/data/{file}", get(data))
        .route("/lan", get(lan))
        .route("/healthz", get(async || "ok"))
        .route("/metrics", get(scrape))
        .route("/{*path}", get(asset))
        .layer(from_fn_with_state(hosts, host::check))
        .layer(from_fn_with_state(counted, count))
        .layer(map_response(add_headers))
        .with_state(state)
}

pub(crate) async fn add_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        headers.entry(name).or_insert(value);
    }
    response
}

/// Lets an address make so many requests and no more.
pub(crate) async fn count(
    Extract((addresses, metrics)): Extract<(Arc<Addresses>, Arc<Metrics>)>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
    next: Next,
) -> Response {
    if addresses.may_ask(visitor.id()) {
        return next.run(request).await;
    }
    metrics.address_refused.inc();
    let text = "too many requests from your address in a short time: wait a few seconds\n";
    too_many(text.to_owned())
}

fn too_many(text: String) -> Response {
    let later = [(header::RETRY_AFTER, RETRY_AFTER_S)];
    (StatusCode::TOO_MANY_REQUESTS, later, text).into_response()
}

async fn index(Extract(state): Extract<State>, uri: Uri, request: HeaderMap) -> Response {
    page(&state, &uri, &request)
}

async fn asset(
    Extract(state): Extract<State>,
    Path(path): Path<String>,
    uri: Uri,
    request: HeaderMap,
) -> Response {
    match path.as_str() {
        INDEX => page(&state, &uri, &request),
        path => file(&state, path, &request),
    }
}

/// The page. Where another page leads to it, it does nothing of itself: a link elsewhere could else make who follows it open a room
/// and compute. The path alone leads to the form, or to the question before joining.
fn page(state: &State, uri: &Uri, request: &HeaderMap) -> Response {
    if of_no_other_page(request) || !acts(uri) {
        return file(state, INDEX, request);
    }
    let headers = [
        (header::LOCATION, uri.path()),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// Whether the page would act by itself at this address. Nobody has to write our names with percent signs, so a name that has one may
/// be any of them.
fn acts(uri: &Uri) -> bool {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    pairs.any(|pair| {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        DEEDS.contains(&name) || name.contains('%')
    })
}

/// A file of the page.
fn file(state: &State, path: &str, request: &HeaderMap) -> Response {
    let not_found =
        || (StatusCode::NOT_FOUND, "there is nothing at this address\n").into_response();
    match &*state.page {
        Page::Built(assets) => assets.respond(path, request).unwrap_or_else(not_found),
        Page::Missing(source) if path == INDEX => missing_page(source),
        Page::Missing(_) => {
            let text = format!("there is no page: run `{BUILD_COMMAND}`\n");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn data(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    request: HeaderMap,
) -> Response {
    match &state.data {
        Some(files) => files.respond(&name, &request).await,
        None => {
            let text = "this server was started without data (--data DIR or --data FILE)\n";
            (StatusCode::NOT_FOUND, text).into_response()
        }
    }
}

/// Where other devices find this server: told to pages on this very device, whose user may show it to others. Anybody else has
/// no use for the addresses of its networks.
async fn lan(
    Extract(state): Extract<State>,
    Extension(visitor): Extension<Visitor>,
    request: HeaderMap,
) -> Response {
    let is_here = visitor.address.ip().to_canonical().is_loopback();
    if !is_here || !host::names_loopback(&request) {
        let text = "only pages on the server's own device are told its addresses\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let lan = &state.lan;
    let body = serde_json::json!({
        "links": lan.links,
        "certificate_sha256": lan.certificate_sha256,
        "warned_of": lan.is_warned_of,
    });
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, body.to_string()).into_response()
}

async fn scrape(Extract(state): Extract<State>) -> Response {
    match state.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Turns a request into a WebSocket, if there is a place for it.
async fn signal(
    Extract(state): Extract<State>,
    Extension(visitor): Extension<Visitor>,
    mut request: Request,
) -> Response {
    let answer = match create_response_with_body(&request, Body::empty) {
        Ok(answer) => answer,
        Err(error) => {
            let text = format!("this address is for WebSockets: {error}\n");
            return (StatusCode::UPGRADE_REQUIRED, text).into_response();
        }
    };
    let place = match state.admit(&visitor, request.headers()) {
        Ok(place) => place,
        Err(refusal) => return refusal,
    };
    let terms = state.terms(&visitor);
    let (events, metrics) = (state.events.clone(), Arc::clone(&state.metrics));
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        // A socket that breaks before is gone without having been there.
        let Ok(socket) = upgrade.await else { return };
        let socket = connection::open(socket).await;
        match connection::serve(socket, terms, events).await {
            Some(Cut::Silent) => drop(metrics.silent.inc()),
            Some(Cut::Flood) => drop(metrics.floods.inc()),
            None => {}
        }
        drop(place);
    });
    answer
}

/// A signalling connection's place, for as long as this is kept.
#[derive(Debug)]
pub(crate) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_address: Option<Opened>,
}

impl Place {
    pub(crate) fn of(of_all: OwnedSemaphorePermit, of_address: Option<Opened>) -> Self {
        Self {
            _of_all: of_all,
            _of_address: of_address,
        }
    }
}

impl State {
    /// A place for a signalling connection that is asked for, unless it is not ours to give or there is none.
    #[expect(
        clippy::result_large_err,
        reason = "a refusal is the answer itself, made once a request"
    )]
    pub(crate) fn admit(&self, visitor: &Visitor, request: &HeaderMap) -> Result<Place, Response> {
        self.check_origin(request)?;
        let of_address = self.addresses.open(visitor.id()).map_err(|refused| {
            self.metrics.address_refused.inc();
            let text = format!("{refused}\n");
            match refused {
                Refused::TooMany(_) | Refused::TooOften => too_many(text),
            }
        })?;
        let of_all = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            self.metrics.turned_away.inc();
            let connections_max = self.config.connections_max;
            let text = format!(
                "the server already holds {connections_max} connections; try again later\n"
            );
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        })?;
        Ok(Place::of(of_all, of_address))
    }

    /// Whose a new connection is, and what it may do.
    pub(crate) fn terms(&self, visitor: &Visitor) -> Terms {
        Terms {
            connection: self.next_connection(),
            visitor: visitor.id(),
            silence_max: self.config.silence_max,
        }
    }

    /// Refuses pages of other origins.
    #[expect(
        clippy::result_large_err,
        reason = "a refusal is the answer itself, made once a request"
    )]
    pub(crate) fn check_origin(&self, request: &HeaderMap) -> Result<(), Response> {
        if self.config.any_origin || same_origin(request) {
            return Ok(());
        }
        let text = "pages of other origins may not use this server's rooms\n";
        Err((StatusCode::FORBIDDEN, text).into_response())
    }

    fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed))
    }
}

/// Whether a request comes from our own page, or from no page at all: browsers always name the origin of the page that
/// opens a WebSocket or posts, and say where a page that only reads is from; other programs do neither.
fn same_origin(request: &HeaderMap) -> bool {
    if !of_no_other_page(request) {
        return false;
    }
    let Some(origin) = request.get(header::ORIGIN) else {
        return true;
    };
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_ascii_lowercase);
    let host = request.get(header::HOST).and_then(text);
    let origin = text(origin);
    let authority = origin
        .as_deref()
        .and_then(|origin| origin.split_once("://"));
    authority.is_some_and(|(_, authority)| Some(authority) == host.as_deref())
}

/// Whether no page of another origin is behind a request, as far as it says: browsers say it over HTTPS and to their own device.
fn of_no_other_page(request: &HeaderMap) -> bool {
    let site = request.get("sec-fetch-site").map(HeaderValue::as_bytes);
    matches!(site, None | Some(b"same-origin" | b"none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_page_and_programs_without_a_page_may_connect() {
        let allowed = |origin: Option<&'static str>| {
            let mut request = HeaderMap::new();
            request.insert(header::HOST, HeaderValue::from_static("Ring.local:8080"));
            if let Some(origin) = origin {
                request.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            same_origin(&request)
        };
        assert!(allowed(None));
        assert!(allowed(Some("http://ring.local:8080")));
        assert!(!allowed(Some("http://ring.local:8081")));
        assert!(!allowed(Some("http://ring.local")));
        assert!(!allowed(Some("https://elsewhere.example")));
        assert!(!allowed(Some("null")));
        for (site, ours) in [
            ("same-origin", true),
            ("none", true),
            ("same-site", false),
            ("cross-site", false),
        ] {
            let mut request = HeaderMap::new();
            request.insert("sec-fetch-site", HeaderValue::from_static(site));
            assert_eq!(same_origin(&request), ours, "{site}");
        }
    }

    #[test]
    fn what_would_make_the_page_act_is_found_in_a_query_however_it_is_written() {
        let acts = |text: &'static str| acts(&Uri::from_static(text));
        for text in [
            "/?create",
            "/?peers=1&create=1",
            "/r/0123456789abcdef?watch&join",
            "/?%63reate",
            "/?cr%65ate=1&steps=1000000",
        ] {
            assert!(acts(text), "{text}");
        }
        for text in [
            "/",
            "/?",
            "/?lang=de&steps=5",
            "/?name=create",
            "/?name=a%20join",
            "/r/0123456789abcdef?view=projector",
        ] {
            assert!(!acts(text), "{text}");
        }
    }
}
