//! Signalling by server-sent events and posts, for browsers that refuse the WebSocket. Posts go out one at a time, each with all
//! that waits, so that the order is kept.

use super::event::{Changes, Listener, describe, sleep};
use crate::address::ServerAddress;
use crate::error::SignallingError;
use crate::signalling::SocketEnds;
use futures::channel::mpsc;
use futures::future::{Either, select};
use futures::{FutureExt, StreamExt};
use js_sys::{Function, Promise, Reflect};
use ringtmp_core::signal::SIGNAL_BYTES_MAX;
use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{EventSource, Headers, MessageEvent, RequestInit, Response};

/// How long connecting may take, and the answer to a post.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The header of a post that says whose it is.
const SESSION_HEADER: &str = "x-ringtmp-session";

/// Connects; from then on a task moves texts between the server and their ends.
pub(super) async fn open(server: &ServerAddress, ends: SocketEnds) -> Result<(), SignallingError> {
    let url = format!("{}/signal/events", server.origin());
    let source = EventSource::new(&url)
        .map_err(|thrown| SignallingError::address(&url, describe(&thrown)))?;
    let stream = Stream {
        source,
        state: Rc::default(),
    };
    let listeners = stream.listen(ends.incoming.clone());
    let opened = stream
        .state
        .changes
        .until(|| match stream.state.is_over.get() {
            true => Some(None),
            false => stream.state.token.borrow().clone().map(Some),
        });
    let token = match select(pin!(opened), pin!(sleep(ANSWER_MAX))).await {
        Either::Left((token, _)) => token,
        Either::Right(_) => None,
    };
    let Some(token) = token else {
        // A browser does not say why, so that pages cannot probe networks.
        return Err(SignallingError::unreachable(
            "it does not answer, or refused",
        ));
    };
    let url = format!("{}/signal/send", server.origin());
    super::spawn(async move {
        run(&stream, Posts { url, token }, ends).await;
        drop(listeners);
    });
    Ok(())
}

/// A stream of events that is closed when dropped.
struct Stream {
    source: EventSource,
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    changes: Changes,
    token: RefCell<Option<String>>,
    /// Whether the server asks for a sign of life.
    pinged: Cell<bool>,
    is_over: Cell<bool>,
}

impl State {
    fn end(&self) {
        self.is_over.set(true);
        self.changes.notify();
    }
}

impl Stream {
    fn listen(&self, incoming: mpsc::Sender<Result<String, SignallingError>>) -> [Listener; 5] {
        let incoming = Rc::new(RefCell::new(incoming));
        // A full queue says so itself, and a closed one has nobody to tell.
        let tell = move |text| incoming.borrow_mut().try_send(text).is_ok();
        let tell = Rc::new(tell);
        let states = || Rc::clone(&self.state);
        let (begun, heard, pinged, ended, failed) =
            (states(), states(), states(), states(), states());
        let (tell_text, tell_end, tell_failure) = (Rc::clone(&tell), Rc::clone(&tell), tell);
        [
            Listener::new(&self.source, "session", move |event| {
                *begun.token.borrow_mut() = data(&event);
                begun.changes.notify();
            }),
            Listener::new(&self.source, "message", move |event| {
                let text = data(&event)
                    .ok_or_else(|| SignallingError::malformed("an event that is no text"));
                let is_text = text.is_ok();
                if !tell_text(text) || !is_text {
                    heard.end();
                }
            }),
            Listener::new(&self.source, "ping", move |_| {
                pinged.pinged.set(true);
                pinged.changes.notify();
            }),
            Listener::new(&self.source, "end", move |event| {
                let why = data(&event).unwrap_or_default();
                tell_end(Err(SignallingError::closed(why)));
                ended.end();
            }),
            // The stream broke off. It would be opened anew by itself, as another connection; that is for the user to decide.
            Listener::new(&self.source, "error", move |_| {
                if failed.token.borrow().is_some() && !failed.is_over.get() {
                    tell_failure(Err(SignallingError::closed(
                        "the stream of events broke off",
                    )));
                }
                failed.end();
            }),
        ]
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.source.close();
    }
}

fn data(event: &web_sys::Event) -> Option<String> {
    event.dyn_ref::<MessageEvent>()?.data().as_string()
}

async fn run(stream: &Stream, posts: Posts, ends: SocketEnds) {
    let state = &stream.state;
    let over = pin!(state.changes.until(|| state.is_over.get().then_some(())));
    let mut incoming = ends.incoming;
    let wrote = write(state, &posts, ends.outgoing);
    if let Either::Right((Err(error), _)) = select(over, pin!(wrote)).await {
        // Full or closed: what came before says why it ended.
        let _told = incoming.try_send(Err(error));
    }
}

/// Posts what is queued, and signs of life, until the queue closes.
async fn write(
    state: &State,
    posts: &Posts,
    mut outgoing: mpsc::Receiver<String>,
) -> Result<(), SignallingError> {
    loop {
        let pinged = state.changes.until(|| state.pinged.take().then_some(()));
        let mut batch = match select(outgoing.next(), pin!(pinged)).await {
            Either::Left((Some(text), _)) => text,
            Either::Left((None, _)) => return Ok(()),
            Either::Right(((), _)) => String::new(),
        };
        // As much as waits, and no more than the server reads at once: a text more than the longest one.
        while batch.len() < SIGNAL_BYTES_MAX
            && let Some(Some(text)) = outgoing.next().now_or_never()
        {
            batch.push('\n');
            batch.push_str(&text);
        }
        posts.send(&batch).await?;
    }
}

/// Where to post, and as whom.
struct Posts {
    url: String,
    token: String,
}

impl Posts {
    async fn send(&self, texts: &str) -> Result<(), SignallingError> {
        let sent = JsFuture::from(self.fetch(texts).map_err(lost)?);
        match select(pin!(sent), pin!(sleep(ANSWER_MAX))).await {
            Either::Left((answer, _)) => {
                let answer: Response = answer.map_err(lost)?.unchecked_into();
                match answer.ok() {
                    true => Ok(()),
                    false => Err(SignallingError::closed(format_args!(
                        "it answers {} to a post",
                        answer.status()
                    ))),
                }
            }
            Either::Right(_) => Err(SignallingError::closed("it does not answer a post")),
        }
    }

    /// On a page and in a worker alike.
    fn fetch(&self, texts: &str) -> Result<Promise, JsValue> {
        let headers = Headers::new()?;
        headers.append(SESSION_HEADER, &self.token)?;
        let request = RequestInit::new();
        request.set_method("POST");
        request.set_headers(&headers);
        request.set_body(&JsValue::from_str(texts));
        let fetch: Function = Reflect::get(&js_sys::global(), &"fetch".into())?.dyn_into()?;
        let url = JsValue::from_str(&self.url);
        fetch.call2(&JsValue::UNDEFINED, &url, &request)?.dyn_into()
    }
}

fn lost(thrown: JsValue) -> SignallingError {
    SignallingError::closed(describe(&thrown))
}
