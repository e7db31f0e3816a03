//! The page's end of the worker: starts it, gives it the port of the connections, passes commands on.

use super::hosting;
use crate::address::Address;
use crate::messages::{self, Channels, Entry, FromWorker, LAYERS, Start, TRACE};
use crate::words;
use js_sys::{Array, Uint8Array};
use ringtmp_core::signal::Form;
use ringtmp_peer::Command;
use ringtmp_transport::browser::page::{ChannelMode, Connections};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{
    ErrorEvent, MessageChannel, MessageEvent, Window, Worker, WorkerOptions, WorkerType,
};

/// A worker that runs a peer. Dropping it ends the worker and closes its connections.
pub(super) struct Session {
    worker: Worker,
    connections: Rc<RefCell<Option<Connections>>>,
    channels: Channels,
    /// They live as long as the worker may call them.
    _listeners: [Closure<dyn FnMut(JsValue)>; 2],
}

/// What the session reports.
pub(super) enum Report {
    /// The worker says something.
    Said(FromWorker),
    /// The layers that this device has trained, as safetensors.
    Layers(Uint8Array),
    /// The whole model, after so many steps, as safetensors.
    Model(u32, Uint8Array),
    /// The worker is broken, in words.
    Broken(String),
}

impl Session {
    /// Starts a worker for `entry`. `report` is called with whatever comes from it.
    pub(super) fn start(
        window: &Window,
        address: &Address,
        entry: Entry,
        report: impl Fn(Report) + 'static,
    ) -> Result<Self, JsValue> {
        let start = Start {
            server: window.location().origin()?,
            entry,
            watch: address.watch,
            name: address.name.clone().map_or_else(|| own_name(window), Ok)?,
            executor: address.executor,
            signalling: address.signalling,
            pace: address.pace,
            keep: address.keep,
            memory_bytes: address.memory_bytes,
            medium_bytes_per_second: address.medium_bytes_per_second,
            form: form(window),
            language: words::spoken(),
            host_token: hosting::token(window, &address.place),
            open_room: address.open,
        };
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let worker = Worker::new_with_options("/worker.js", &options)?;
        let connections = Rc::new(RefCell::new(None));
        let channels = address.channels;
        let report = Rc::new(report);

        let hear = {
            let (worker, connections, report) =
                (worker.clone(), Rc::clone(&connections), Rc::clone(&report));
            Closure::<dyn FnMut(JsValue)>::new(move |event: JsValue| {
                if let Some((steps, bytes)) = model(&event) {
                    return report(Report::Model(steps, bytes));
                }
                if let Some(bytes) = layers(&event) {
                    return report(Report::Layers(bytes));
                }
                let message = read(&event);
                if let Ok(FromWorker::Awake) = message {
                    match connect(&worker, &start, channels) {
                        Ok(made) => *connections.borrow_mut() = Some(made),
                        Err(error) => report(Report::Broken(describe(&error))),
                    }
                }
                report(message.map_or_else(Report::Broken, Report::Said));
            })
        };
        let fail = Closure::<dyn FnMut(JsValue)>::new(move |event: JsValue| {
            // A script that cannot be loaded gives a bare event without a message.
            let said = event
                .dyn_ref::<ErrorEvent>()
                .map(ErrorEvent::message)
                .filter(|text| !text.is_empty());
            report(Report::Broken(broken(said)));
        });
        worker.set_onmessage(Some(hear.as_ref().unchecked_ref()));
        worker.set_onerror(Some(fail.as_ref().unchecked_ref()));
        worker.set_onmessageerror(Some(fail.as_ref().unchecked_ref()));
        Ok(Self {
            worker,
            connections,
            channels,
            _listeners: [hear, fail],
        })
    }

    /// Passes a command on to the peer.
    pub(super) fn send(&self, command: &Command) -> Result<(), JsValue> {
        let json =
            serde_json::to_string(command).map_err(|error| JsError::new(&error.to_string()))?;
        self.worker.post_message(&json.into())
    }

    /// Asks for the trace of this device, which comes as [`FromWorker::Trace`].
    pub(super) fn ask_trace(&self) -> Result<(), JsValue> {
        self.worker.post_message(&TRACE.into())
    }

    /// Asks for the layers that this device has trained, which come as [`Report::Layers`].
    pub(super) fn ask_layers(&self) -> Result<(), JsValue> {
        self.worker.post_message(&LAYERS.into())
    }

    /// How data channels reach the worker: what was asked for, or what the browser has shown to be possible.
    pub(super) fn channels(&self) -> Channels {
        match self.connections.borrow().as_ref().map(Connections::mode) {
            Some(ChannelMode::Transfer) => Channels::Transfer,
            Some(ChannelMode::Post) => Channels::Post,
            None => self.channels,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.set_onmessageerror(None);
        self.worker.terminate();
        self.connections.borrow_mut().take();
    }
}

/// What is wrong with a worker of which the browser says this, or nothing.
fn broken(said: Option<String>) -> String {
    match said {
        None => words::WORKER_NOT_LOADED.now().to_owned(),
        Some(said) if messages::is_out_of_memory(&said) => words::MEMORY_USED_UP.now().to_owned(),
        Some(said) => said,
    }
}

/// Makes the page's half of the connections and hands the other half to the worker, with its first message.
fn connect(worker: &Worker, start: &Start, channels: Channels) -> Result<Connections, JsValue> {
    let mode = match channels {
        Channels::Transfer => ChannelMode::Transfer,
        Channels::Post => ChannelMode::Post,
    };
    let pair = MessageChannel::new()?;
    let json = serde_json::to_string(start).map_err(|error| JsError::new(&error.to_string()))?;
    let connections = Connections::with_worker(pair.port1(), worker.clone(), mode);
    let port = pair.port2();
    worker.post_message_with_transfer(&Array::of2(&json.into(), &port), &Array::of1(&port))?;
    Ok(connections)
}

/// The whole model, if that is what the worker sends: `[steps, bytes]`.
fn model(event: &JsValue) -> Option<(u32, Uint8Array)> {
    let parts: Array = event.dyn_ref::<MessageEvent>()?.data().dyn_into().ok()?;
    // As it was written there.
    Some((parts.get(0).as_f64()? as u32, parts.get(1).dyn_into().ok()?))
}

/// The layers of this device, if that is what the worker sends.
fn layers(event: &JsValue) -> Option<Uint8Array> {
    event.dyn_ref::<MessageEvent>()?.data().dyn_into().ok()
}

fn read(event: &JsValue) -> Result<FromWorker, String> {
    let json = event
        .dyn_ref::<MessageEvent>()
        .and_then(|event| event.data().as_string());
    serde_json::from_str(&json.unwrap_or_default()).map_err(|error| error.to_string())
}

/// What this device looks like; nothing where the browser does not tell how it is used.
fn form(window: &Window) -> Option<Form> {
    let coarse = window.match_media("(pointer: coarse)").ok()??.matches();
    let screen = window.screen().ok()?;
    let (width, height) = (screen.width().ok()?, screen.height().ok()?);
    Some(crate::agent::form(coarse, width.min(height)))
}

fn own_name(window: &Window) -> Result<String, JsValue> {
    Ok(crate::agent::device_name(&window.navigator().user_agent()?))
}

/// A JavaScript exception in words.
pub(super) fn describe(error: &JsValue) -> String {
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => error.as_string().unwrap_or_else(|| format!("{error:?}")),
    }
}

/// The pairs of a query.
pub(super) fn pairs(query: &web_sys::UrlSearchParams) -> Vec<(String, String)> {
    let entries = js_sys::try_iter(query).ok().flatten();
    let pair = |entry: JsValue| {
        let entry = entry.dyn_into::<js_sys::Array>().ok()?;
        Some((entry.get(0).as_string()?, entry.get(1).as_string()?))
    };
    entries
        .into_iter()
        .flatten()
        .filter_map(|entry| pair(entry.ok()?))
        .collect()
}
