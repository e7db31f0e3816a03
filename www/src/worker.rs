//! The worker half: runs the peer and reports to the page.

use crate::messages::{self, COMMANDS_MAX, Entry, Executor, Failure, FromWorker, Start};
use crate::pledge;
use crate::trace::RecentTrace;
use crate::words;
use futures::StreamExt;
use futures::channel::mpsc;
use js_sys::{Array, Reflect, global};
use ringtmp_core::signal::{Refusal, Role};
use ringtmp_peer::{
    Command, DoorFault, ExecutorChoice, Fetched, Keep, Parameter, PeerError, RunFile, Setup,
    Traced, View,
};
use ringtmp_transport::browser;
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent, MessagePort, console};

/// Batches of the trace that wait to be kept, which happens between any two messages.
const TRACED_MAX: usize = 64;

/// Starts the worker: it says that it is awake and waits for the page's first message. Called once, by `worker.js`.
///
/// # Errors
/// If this is no dedicated worker.
#[wasm_bindgen]
pub fn start_worker() -> Result<(), JsValue> {
    let scope: DedicatedWorkerGlobalScope = global().dyn_into()?;
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        console::error_1(&text.as_str().into());
        report_failure(Failure::new(
            words::worker_failed(&text),
            words::WORKER_FAILED_ADVICE.now(),
        ));
    }));
    let commands: RefCell<Option<mpsc::Sender<Command>>> = RefCell::new(None);
    let trace = Rc::new(RefCell::new(RecentTrace::default()));
    let layers: Layers = Rc::default();
    let listen = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
        let mut commands = commands.borrow_mut();
        match commands.as_mut() {
            None => match read_start(&event.data()) {
                Some((start, port)) => {
                    words::speak(start.language);
                    let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
                    *commands = Some(sender);
                    let (traced, batches) = mpsc::channel(TRACED_MAX);
                    spawn_local(keep_trace(Rc::clone(&trace), batches));
                    let (weights, trained) = mpsc::channel(1);
                    spawn_local(keep_layers(Rc::clone(&layers), trained));
                    let (models, fetched) = mpsc::channel(1);
                    spawn_local(report_models(fetched));
                    spawn_local(run(start, port, receiver, traced, (weights, models)));
                }
                None => report_failure(Failure::new(
                    words::START_UNREADABLE.now(),
                    words::WORKER_FAILED_ADVICE.now(),
                )),
            },
            Some(sender) => {
                let text = event.data().as_string().unwrap_or_default();
                if text == messages::TRACE {
                    let json = trace.borrow().to_json();
                    report(&FromWorker::Trace { json });
                } else if text == messages::LAYERS {
                    report_layers(&layers.borrow());
                } else if let Ok(command) = messages::read_command(&text) {
                    // Full: a button pressed sixteen times faster than it can be obeyed. Closed: the peer has ended.
                    let _ = sender.try_send(command);
                }
            }
        }
    });
    scope.set_onmessage(Some(listen.as_ref().unchecked_ref()));
    // The worker listens as long as it lives.
    listen.forget();
    report(&FromWorker::Awake);
    Ok(())
}

/// The page's first message: `[json, port]`.
fn read_start(data: &JsValue) -> Option<(Start, MessagePort)> {
    let parts = data.dyn_ref::<Array>()?;
    let start = serde_json::from_str(&parts.get(0).as_string()?).ok()?;
    Some((start, parts.get(1).dyn_into().ok()?))
}

/// Keeps the newest of what this device did.
async fn keep_trace(trace: Rc<RefCell<RecentTrace>>, mut batches: mpsc::Receiver<Traced>) {
    while let Some(batch) = batches.next().await {
        trace.borrow_mut().take(batch);
    }
}

/// The layers that this device has trained to the end of a run.
type Layers = Rc<RefCell<Vec<Parameter>>>;

/// Keeps those of the latest run.
async fn keep_layers(layers: Layers, mut trained: mpsc::Receiver<Vec<Parameter>>) {
    while let Some(parameters) = trained.next().await {
        *layers.borrow_mut() = parameters;
    }
}

/// Posts them to the page, where there are any.
fn report_layers(layers: &[Parameter]) {
    if layers.is_empty() {
        return;
    }
    let bytes = ringtmp_peer::to_safetensors(layers);
    if let Ok(scope) = global().dyn_into::<DedicatedWorkerGlobalScope>() {
        // Posting fails only when the page is gone, and with it whoever asked.
        drop(scope.post_message(&js_sys::Uint8Array::from(&bytes[..])));
    }
}

/// Posts models that were fetched to the page: `[steps, bytes]`, the bytes moved.
async fn report_models(mut fetched: mpsc::Receiver<Fetched>) {
    while let Some(Fetched { steps, file }) = fetched.next().await {
        let Ok(scope) = global().dyn_into::<DedicatedWorkerGlobalScope>() else {
            return;
        };
        let bytes = js_sys::Uint8Array::from(&file[..]);
        let moved = Array::of1(&bytes.buffer());
        let message = Array::of2(&steps.into(), &bytes);
        // Posting fails only when the page is gone, and with it whoever asked.
        drop(scope.post_message_with_transfer(&message, &moved));
    }
}

async fn run(
    start: Start,
    port: MessagePort,
    commands: mpsc::Receiver<Command>,
    traced: mpsc::Sender<Traced>,
    (weights, models): (mpsc::Sender<Vec<Parameter>>, mpsc::Sender<Fetched>),
) {
    let setup = Setup {
        server: start.signalling.address(&start.server),
        entry: match start.entry {
            Entry::Join(link) => ringtmp_peer::Entry::Join(link),
            Entry::Ask(code) => ringtmp_peer::Entry::Ask(code),
            Entry::Resume { id, peers } => ringtmp_peer::Entry::Resume { id, peers },
            Entry::Create(wish) => ringtmp_peer::Entry::Create(run_file(wish)),
        },
        role: if start.watch {
            Role::Spectator
        } else {
            Role::Participant
        },
        name: start.name,
        executor: match start.executor {
            Executor::Auto => ExecutorChoice::Auto,
            Executor::Gpu => ExecutorChoice::Gpu,
            Executor::Cpu => ExecutorChoice::Cpu,
        },
        connector: browser::connector(port).into(),
        weights: Some(weights),
        own: ringtmp_peer::Own {
            traced: Some(traced),
            models: Some(models),
            operations_per_second: start.pace,
            keep: start.keep.then(|| Keep::at(messages::KEPT_FOLDER)),
            memory_bytes: Some(start.memory_bytes.unwrap_or_else(usual_pledge)),
            medium_bytes_per_second: start.medium_bytes_per_second,
            form: start.form,
            host_token: start.host_token,
            open_room: start.open_room,
            decides: true,
            ..ringtmp_peer::Own::default()
        },
    };
    let publish = |view: View| {
        let view = Box::new(view);
        report(&FromWorker::View { view });
    };
    match ringtmp_peer::run(setup, commands, publish).await {
        Ok(()) => report(&FromWorker::Ended { failure: None }),
        Err(error) => report_failure(Failure {
            sent_away: matches!(error, PeerError::Kicked(_)),
            ..Failure::new(told(&error), advice(&error))
        }),
    }
}

/// What a tab gives of this device's memory.
fn usual_pledge() -> u64 {
    let navigator = Reflect::get(&global(), &"navigator".into());
    let memory = navigator.and_then(|navigator| Reflect::get(&navigator, &"deviceMemory".into()));
    pledge::usual(memory.ok().and_then(|gib| gib.as_f64()))
}

/// Why a peer has ended, in the user's language where that is likely to be seen.
fn told(error: &PeerError) -> String {
    match error {
        PeerError::Door(DoorFault::Denied) => words::DENIED.now().to_owned(),
        PeerError::Door(DoorFault::NoAnswer) => words::NO_ANSWER.now().to_owned(),
        PeerError::Refused(Refusal::NoSuchCode { code }) => words::no_such_code(&code.to_string()),
        PeerError::Refused(Refusal::NobodyToAsk) => words::NOBODY_TO_ASK.now().to_owned(),
        error => error.to_string(),
    }
}

/// What the user can do about an error that does not say it itself.
fn advice(error: &PeerError) -> &'static str {
    match error {
        PeerError::Refused(_) | PeerError::Door(_) => words::REFUSED_ADVICE.now(),
        PeerError::Kicked(_) => words::KICKED_ADVICE.now(),
        PeerError::Signalling(_) | PeerError::Unexpected(_) => words::SIGNALLING_ADVICE.now(),
        PeerError::Compute(_) => words::COMPUTE_ADVICE.now(),
        PeerError::RunFile(_) | PeerError::Store(_) | PeerError::OwnSamples => "",
    }
}

fn run_file(wish: messages::RunWish) -> RunFile {
    let mut run = match wish.preset {
        Some(preset) => RunFile::of_preset(preset),
        None => RunFile::default(),
    };
    run.data.set = wish.data;
    if let Some(source) = wish.source {
        run.data.source = source;
    }
    if let Some(steps) = wish.steps {
        run.steps = steps;
    }
    if let Some(codec) = wish.codec {
        run.codec = codec;
    }
    if let Some(planning) = wish.planning {
        run.planning = planning;
    }
    if let Some(arithmetic) = wish.arithmetic {
        run.arithmetic = arithmetic;
    }
    if let Some(peers) = wish.peers {
        run.start_at_peers = peers;
    }
    run
}

fn report_failure(failure: Failure) {
    report(&FromWorker::Ended {
        failure: Some(failure),
    });
}

/// Posts a message to the page.
fn report(message: &FromWorker) {
    let Ok(scope) = global().dyn_into::<DedicatedWorkerGlobalScope>() else {
        return;
    };
    match serde_json::to_string(message) {
        // Posting text fails only when the page is gone, and with it whoever could be told.
        Ok(json) => drop(scope.post_message(&json.into())),
        Err(error) => {
            wasm_bindgen::throw_str(&format!("a message to the page cannot be written: {error}"))
        }
    }
}
