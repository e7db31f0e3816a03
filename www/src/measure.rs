//! What a link between two tabs carries, measured for `cargo xtask bench-links`, which opens `measure.html` twice and passes the
//! connection messages on. Links are made as in a ring: by the page, for the worker.

use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::{Either, select};
use js_sys::{Date, global};
use ringtmp_core::ids::{Epoch, PeerId};
use ringtmp_core::signal::Signal;
use ringtmp_core::wire::Lane;
use ringtmp_transport::browser::{self, page::ChannelMode, page::Connections};
use ringtmp_transport::{ConnectRole, Connector, ConnectorEvent, Link};
use serde::Serialize;
use std::pin::pin;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::{DedicatedWorkerGlobalScope, MessagePort, Worker};

/// The other tab, whichever it is.
const OTHER: PeerId = PeerId(1);

/// Bytes of a tensor: 32 samples of 8,192 numbers in 32 bits.
const TENSOR_BYTES: usize = 1024 * 1024;

/// Tensors that wait to be sent: some for the channel to take whenever it has room, few enough for the queue's bound.
const WAITING_BYTES: u64 = 4 * TENSOR_BYTES as u64;

/// Connection messages that wait; a connection needs a few.
const SIGNALS_MAX: usize = 64;

/// What the worker tells the page.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Told<'a> {
    /// For the other tab.
    Signal(&'a Signal),
    /// From now on what comes is counted.
    Begun,
    /// What has come in.
    Carried { bytes: u64, seconds: f64 },
    /// Why there is nothing.
    Failed(String),
}

/// The page's part. Connections live until the handle is freed.
#[wasm_bindgen]
pub struct MeasuredConnections {
    _connections: Connections,
}

/// Makes connections for the worker at the other end of a port.
#[wasm_bindgen]
pub fn serve_connections(port: MessagePort, worker: Worker) -> MeasuredConnections {
    MeasuredConnections {
        _connections: Connections::with_worker(port, worker, ChannelMode::Transfer),
    }
}

/// The worker's part.
#[wasm_bindgen]
pub struct LinkMeter {
    signals: mpsc::Sender<Signal>,
}

#[wasm_bindgen]
impl LinkMeter {
    /// Connects to the other tab, and sends to it (who `offers`) or counts for so many seconds what comes.
    #[wasm_bindgen(constructor)]
    pub fn new(port: MessagePort, offers: bool, seconds: f64) -> Self {
        let (signals, delivered) = mpsc::channel(SIGNALS_MAX);
        let connector = browser::connector(port);
        spawn_local(async move {
            if let Err(words) = measure(connector, delivered, offers, seconds).await {
                tell(&Told::Failed(words));
            }
        });
        Self { signals }
    }

    /// Takes a connection message of the other tab, in JSON.
    ///
    /// # Errors
    /// Text that is none, or more of them than a connection needs.
    pub fn deliver(&mut self, json: &str) -> Result<(), JsError> {
        self.signals.try_send(serde_json::from_str(json)?)?;
        Ok(())
    }
}

async fn measure(
    mut connector: Connector,
    mut delivered: mpsc::Receiver<Signal>,
    offers: bool,
    seconds: f64,
) -> Result<(), String> {
    let role = if offers {
        ConnectRole::Offer
    } else {
        ConnectRole::Answer
    };
    connector.connect(OTHER, role, Epoch::default());
    let link = connected(&mut connector, &mut delivered).await?;
    let work = async {
        if offers {
            send(link).await
        } else {
            count(link, seconds).await
        }
    };
    // Late candidates may be the better ones.
    let negotiating = async { connected(&mut connector, &mut delivered).await.map(drop) };
    match select(pin!(work), pin!(negotiating)).await {
        Either::Left((outcome, _)) | Either::Right((outcome, _)) => outcome,
    }
}

/// Passes messages to and fro until there is a link.
async fn connected(
    connector: &mut Connector,
    delivered: &mut mpsc::Receiver<Signal>,
) -> Result<Link, String> {
    loop {
        let event = match select(pin!(connector.next()), delivered.next()).await {
            Either::Left((event, _)) => Either::Left(event),
            Either::Right((signal, _)) => Either::Right(signal),
        };
        match event {
            Either::Left(ConnectorEvent::Signal { signal, .. }) => tell(&Told::Signal(&signal)),
            Either::Left(ConnectorEvent::Connected { link, .. }) => return Ok(link),
            Either::Left(ConnectorEvent::Failed { error, .. }) => return Err(error.to_string()),
            Either::Right(Some(signal)) => connector.deliver(OTHER, signal),
            Either::Right(None) => return Err("the page is gone".to_owned()),
        }
    }
}

/// Keeps tensors waiting until the other tab closes the link, with a word from it for each that has come.
async fn send(mut link: Link) -> Result<(), String> {
    loop {
        while link.sender.traffic().queued < WAITING_BYTES {
            let queued = link.sender.queue(Lane::Tensors, vec![7; TENSOR_BYTES]);
            queued.map_err(|error| error.to_string())?;
        }
        if link.receiver.receive().await.is_err() {
            return Ok(());
        }
    }
}

/// Counts for some seconds, after half as many to get going.
async fn count(mut link: Link, seconds: f64) -> Result<(), String> {
    let begins = Date::now() + 500.0 * seconds;
    let mut started = None;
    let mut bytes = 0;
    loop {
        let received = link.receiver.receive().await;
        let (_, frame) = received.map_err(|error| error.to_string())?;
        let answer = link.sender.queue(Lane::Control, vec![1]);
        answer.map_err(|error| error.to_string())?;
        let now = Date::now();
        let Some(start) = started else {
            if now >= begins {
                started = Some(now);
                tell(&Told::Begun);
            }
            continue;
        };
        bytes += frame.len() as u64;
        let seconds_so_far = (now - start) / 1000.0;
        if seconds_so_far >= seconds {
            tell(&Told::Carried {
                bytes,
                seconds: seconds_so_far,
            });
            return Ok(());
        }
    }
}

/// Posts to the page, as JSON.
pub(crate) fn tell(told: &impl Serialize) {
    let Ok(scope) = global().dyn_into::<DedicatedWorkerGlobalScope>() else {
        return;
    };
    if let Ok(json) = serde_json::to_string(told) {
        // Posting text fails only when the page is gone, and with it whoever could be told.
        drop(scope.post_message(&json.into()));
    }
}
