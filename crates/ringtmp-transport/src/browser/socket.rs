//! The browser's socket to the signalling server, on a page or in a worker.

use super::event::{Changes, Listener, describe, sleep};
use super::events;
use crate::address::{ServerAddress, SignallingWay};
use crate::error::SignallingError;
use crate::signalling::SocketEnds;
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::select;
use ringtmp_core::signal::SIGNAL_BYTES_MAX;
use std::cell::{Cell, RefCell};
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

/// Connects, by a WebSocket or else by events and posts; from then on a task moves texts between the server and its ends.
pub(crate) async fn open(server: &ServerAddress, ends: SocketEnds) -> Result<(), SignallingError> {
    let url = server.web_socket();
    match server.way {
        SignallingWay::Events => return events::open(server, ends).await,
        SignallingWay::WebSocket => {
            let connected = connect(&url, ends.incoming).await?;
            super::spawn(connected.run(ends.outgoing));
        }
        SignallingWay::Any => match connect(&url, ends.incoming.clone()).await {
            Ok(connected) => super::spawn(connected.run(ends.outgoing)),
            // Browsers do not say why. Those of iOS refuse it where the certificate signs itself, although the page was loaded.
            Err(SignallingError::Unreachable { .. }) => return events::open(server, ends).await,
            Err(error) => return Err(error),
        },
    }
    Ok(())
}

/// An open socket, and what hears it.
struct Connected {
    socket: Socket,
    listeners: [Listener; 4],
}

async fn connect(
    url: &str,
    incoming: mpsc::Sender<Result<String, SignallingError>>,
) -> Result<Connected, SignallingError> {
    let socket =
        WebSocket::new(url).map_err(|thrown| SignallingError::address(url, describe(&thrown)))?;
    let socket = Socket {
        socket,
        state: Rc::default(),
    };
    let listeners = socket.listen(incoming);
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
    match opened {
        true => Ok(Connected { socket, listeners }),
        // A browser does not say why, so that pages cannot probe networks.
        false => Err(SignallingError::unreachable(
            "it does not answer, or refused",
        )),
    }
}

impl Connected {
    async fn run(self, outgoing: mpsc::Receiver<String>) {
        run(&self.socket, outgoing).await;
        drop(self.listeners);
    }
}

/// A socket that is closed when dropped.
struct Socket {
    socket: WebSocket,
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    changes: Changes,
    /// Whether it was open at some time: one that never was has nothing to say of its end.
    opened: Cell<bool>,
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
            Listener::new(&self.socket, "open", move |_| {
                opened.opened.set(true);
                opened.changes.notify();
            }),
            // An error is followed by a close.
            Listener::new(&self.socket, "error", move |_| failed.changes.notify()),
            Listener::new(&self.socket, "close", move |event| {
                let why = event.dyn_ref::<CloseEvent>().map(|event| {
                    format!("{} {}", event.code(), event.reason())
                        .trim_end()
                        .to_owned()
                });
                if closed.opened.get() {
                    let why = SignallingError::closed(why.unwrap_or_default());
                    // A full queue says so itself.
                    let _ = last.borrow_mut().try_send(Err(why));
                }
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
