//! The browser's socket to the signalling server, on a page or in a worker.

use super::event::{Changes, Listener, describe, sleep};
use crate::error::SignallingError;
use crate::signalling::SocketEnds;
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::select;
use ringtmp_core::signal::SIGNAL_BYTES_MAX;
use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::JsCast;
use web_sys::{CloseEvent, MessageEvent, WebSocket};

/// How long connecting may take.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes in the browser's buffer above which we wait: a few of the longest messages.
const BUFFERED_BYTES_MAX: u32 = 4 * SIGNAL_BYTES_MAX as u32;

/// How often we look whether the buffer has drained; a `WebSocket` has no event for it.
const BUFFERED_LOOK: Duration = Duration::from_millis(50);

/// Connects; from then on a task moves texts between the socket and its ends.
pub(crate) async fn open(url: &str, ends: SocketEnds) -> Result<(), SignallingError> {
    let socket =
        WebSocket::new(url).map_err(|thrown| SignallingError::address(url, describe(&thrown)))?;
    let socket = Socket {
        socket,
        state: Rc::default(),
    };
    let listeners = socket.listen(ends.incoming);
    let opened = async {
        socket
            .state
            .changes
            .until(|| socket.is_decided().then_some(()))
            .await;
        socket.is_open()
    };
    let opened = match select(pin!(opened), pin!(sleep(SOCKET_TIMEOUT))).await {
        futures::future::Either::Left((opened, _)) => opened,
        futures::future::Either::Right(_) => false,
    };
    if !opened {
        // A browser does not say why, so that pages cannot probe networks.
        return Err(SignallingError::unreachable(
            "it does not answer, or refused",
        ));
    }
    super::spawn(async move {
        run(&socket, ends.outgoing).await;
        drop(listeners);
    });
    Ok(())
}

/// A socket that is closed when dropped.
struct Socket {
    socket: WebSocket,
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    changes: Changes,
    /// Whether more was sent than is read, or what is no text.
    broken: RefCell<Option<SignallingError>>,
}

impl Socket {
    fn is_open(&self) -> bool {
        self.socket.ready_state() == WebSocket::OPEN
    }

    fn is_decided(&self) -> bool {
        self.socket.ready_state() != WebSocket::CONNECTING
    }

    fn is_over(&self) -> bool {
        self.is_decided() && !self.is_open() || self.state.broken.borrow().is_some()
    }

    fn listen(&self, incoming: mpsc::Sender<Result<String, SignallingError>>) -> [Listener; 4] {
        let incoming = Rc::new(RefCell::new(incoming));
        let (opened, failed, closed, heard) =
            (self.state(), self.state(), self.state(), self.state());
        let last = Rc::clone(&incoming);
        [
            Listener::new(&self.socket, "open", move |_| opened.changes.notify()),
            // An error is followed by a close.
            Listener::new(&self.socket, "error", move |_| failed.changes.notify()),
            Listener::new(&self.socket, "close", move |event| {
                let why = event.dyn_ref::<CloseEvent>().map(|event| {
                    format!("{} {}", event.code(), event.reason())
                        .trim_end()
                        .to_owned()
                });
                // A full queue says so itself.
                let _ = last
                    .borrow_mut()
                    .try_send(Err(SignallingError::closed(why.unwrap_or_default())));
                closed.changes.notify();
            }),
            Listener::new(&self.socket, "message", move |event| {
                let text = event
                    .dyn_ref::<MessageEvent>()
                    .and_then(|event| event.data().as_string());
                let text =
                    text.ok_or_else(|| SignallingError::malformed("a message that is no text"));
                let broken = text.as_ref().err().cloned();
                let full = incoming
                    .borrow_mut()
                    .try_send(text)
                    .is_err_and(|error| error.is_full());
                if full || broken.is_some() {
                    let flood = SignallingError::malformed("more messages than this device reads");
                    *heard.broken.borrow_mut() = Some(broken.unwrap_or(flood));
                    incoming.borrow_mut().close_channel();
                    heard.changes.notify();
                }
            }),
        ]
    }

    fn state(&self) -> Rc<State> {
        Rc::clone(&self.state)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Throws only for codes and reasons, of which there are none.
        let _ = self.socket.close();
    }
}

async fn run(socket: &Socket, outgoing: mpsc::Receiver<String>) {
    let over = pin!(
        socket
            .state
            .changes
            .until(|| socket.is_over().then_some(()))
    );
    select(over, pin!(write(socket, outgoing))).await;
}

async fn write(socket: &Socket, mut outgoing: mpsc::Receiver<String>) {
    while let Some(text) = outgoing.next().await {
        while socket.socket.buffered_amount() > BUFFERED_BYTES_MAX {
            sleep(BUFFERED_LOOK).await;
        }
        if let Err(thrown) = socket.socket.send_with_str(&text) {
            return tracing::debug!(
                reason = describe(&thrown),
                "writing to the signalling server"
            );
        }
    }
}
