//! The browser platform, in two halves.
//!
//! The peer runs in a dedicated worker, because a hidden page's timers and tasks are slowed down. But only a page has
//! `RTCPeerConnection`. So the page keeps a [`page::Connections`], the worker has a [`connector`], and a `MessagePort` joins
//! them with messages of their own. Data channels take one of two ways ([`page::ChannelMode`]):
//!
//! - *transfer*: the page makes them and hands them to the worker in the same task; tensors never pass the page;
//! - *post*: where a browser cannot transfer them, the page keeps them and posts each chunk over, under credits.

pub mod page;

mod channel;
mod description;
mod event;
mod events;
mod path;
mod port;
mod posted;
pub(crate) mod socket;
mod worker;

pub(crate) use event::sleep;
pub(crate) use worker::Backend;

use crate::connector::{Backend as AnyBackend, Connector};
use web_sys::MessagePort;

/// A connector in a worker, whose connections are made by the [`page::Connections`] at the other end of `port`. It asks for
/// them itself, so the page can never hand channels to a worker that does not run yet.
pub fn connector(port: MessagePort) -> Connector {
    Connector::new(AnyBackend::Platform(Backend::new(port)))
}

#[cfg(test)]
mod tests;

pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    wasm_bindgen_futures::spawn_local(task);
}
