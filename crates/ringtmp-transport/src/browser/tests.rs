//! What only a browser has; the contract of its links is tested with all others.

use super::event::Listener;
use super::page::{ChannelMode, Connections};
use super::{connector, sleep};
use crate::connector::{ConnectRole, ConnectorEvent};
use crate::error::{LinkError, SignallingError};
use crate::signalling::Signalling;
use futures::StreamExt;
use futures::channel::mpsc;
use js_sys::{Array, Object, Reflect};
use ringtmp_core::ids::{Epoch, PeerId};
use std::time::Duration;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::{console_log, wasm_bindgen_test};
use web_sys::{Blob, MessageChannel, MessageEvent, MessagePort, Url, Worker};

const PEER: PeerId = PeerId(1);
const EPOCH: Epoch = Epoch {
    number: 1,
    incarnation: 0,
};

fn ports() -> [MessagePort; 2] {
    let channel = MessageChannel::new().expect("every browser has it");
    [channel.port1(), channel.port2()]
}

/// A worker that says of each message whether it brought two data channels.
const WATCHER: &str =
    "onmessage = ({ data }) => postMessage(data.length === 3 && data.slice(1).every(
    (channel) => channel instanceof RTCDataChannel)); onmessageerror = () => postMessage(false);";

#[wasm_bindgen_test]
async fn channels_go_through_the_worker_where_there_is_one() {
    let script = Array::of1(&JsValue::from_str(WATCHER));
    let url =
        Url::create_object_url_with_blob(&Blob::new_with_str_sequence(&script).expect("text"));
    let watcher = Worker::new(&url.expect("a blob has a URL")).expect("every browser has workers");
    let (sender, mut answers) = mpsc::channel(4);
    let _listener = Listener::new(&watcher, "message", move |event| {
        let data = event.dyn_ref::<MessageEvent>().map(MessageEvent::data);
        // More answers than there is space for are none that this test needs.
        let _ = sender
            .clone()
            .try_send(data.and_then(|data| data.as_bool()));
    });
    let [here, there] = ports();
    let page = Connections::with_worker(here, watcher.clone(), ChannelMode::Transfer);
    let _worker = connector(there);
    match answers.next().await.flatten() {
        Some(true) => assert_eq!(page.mode(), ChannelMode::Transfer),
        Some(false) => {
            console_log!("SKIP: this browser cannot move data channels to a worker at all");
        }
        None => panic!("the page sent something else"),
    }
    watcher.terminate();
}

#[wasm_bindgen_test]
async fn a_page_that_cannot_move_channels_posts_from_the_first_attempt_on() {
    let [here, there] = ports();
    let page = Connections::new(here, ChannelMode::Transfer);
    let mut worker = connector(there);
    worker.connect(PEER, ConnectRole::Offer, EPOCH);
    // Whatever was found out about this browser, it was before the offer.
    assert!(
        matches!(worker.next().await, ConnectorEvent::Signal { .. }),
        "an offer comes first"
    );
    console_log!("through a port, this browser uses {:?}", page.mode());
}

#[wasm_bindgen_test]
async fn a_browser_without_webrtc_is_an_error_with_advice() {
    let global = js_sys::global();
    let name = JsValue::from_str("RTCPeerConnection");
    let original = Reflect::get(&global, &name).expect("a property can be read");
    Reflect::set(&global, &name, &JsValue::UNDEFINED).expect("a page may do this");
    let [here, there] = ports();
    let _page = Connections::new(here, ChannelMode::Transfer);
    let mut worker = connector(there);
    worker.connect(PEER, ConnectRole::Offer, EPOCH);
    let event = worker.next().await;
    Reflect::set(&global, &name, &original).expect("a page may do this");
    match event {
        ConnectorEvent::Failed {
            error: error @ LinkError::Device { .. },
            ..
        } => assert!(!error.advice().is_empty()),
        other => panic!("that cannot be: {other:?}"),
    }
}

#[wasm_bindgen_test]
async fn a_page_that_goes_away_closes_its_connections() {
    let [here, there] = ports();
    let page = Connections::new(here, ChannelMode::Post);
    let mut worker = connector(there);
    worker.connect(PEER, ConnectRole::Offer, EPOCH);
    assert!(
        matches!(worker.next().await, ConnectorEvent::Signal { .. }),
        "an offer comes first"
    );
    assert_eq!(page.connections(), 1);
    let window = web_sys::window().expect("this runs on a page");
    window
        .dispatch_event(&web_sys::Event::new("pagehide").expect("a plain event"))
        .expect("it is dispatched");
    assert_eq!(page.connections(), 0);
}

#[wasm_bindgen_test]
async fn what_a_link_leaves_behind_on_the_page_is_nothing() {
    let [here, there] = ports();
    let page = Connections::new(here, ChannelMode::Transfer);
    let worker = connector(there);
    for number in 0..20 {
        worker.connect(
            PEER,
            ConnectRole::Answer,
            Epoch {
                number,
                incarnation: 0,
            },
        );
    }
    worker.disconnect(PEER);
    while page.connections() > 0 {
        sleep(Duration::from_millis(5)).await;
    }
}

#[wasm_bindgen_test]
async fn an_address_of_no_server_is_told_apart_from_a_mistyped_one() {
    let mistyped = Signalling::connect("nonsense://x")
        .await
        .expect_err("no address");
    assert!(
        matches!(mistyped, SignallingError::Address { .. }),
        "{mistyped}"
    );
    // By either way, and by one after the other.
    for way in ["", "#signalling=events", "#signalling=websocket"] {
        let absent = Signalling::connect(&format!("http://127.0.0.1:9{way}"))
            .await
            .expect_err("nobody listens");
        assert!(
            matches!(absent, SignallingError::Unreachable { .. }),
            "{way}: {absent}"
        );
    }
}

#[wasm_bindgen_test]
fn a_thrown_value_of_any_kind_is_described() {
    let object: JsValue = Object::new().unchecked_into();
    for thrown in [
        JsValue::NULL,
        JsValue::UNDEFINED,
        JsValue::from_f64(1.0),
        object,
    ] {
        assert!(!super::event::describe(&thrown).is_empty());
    }
    let error = js_sys::TypeError::new("why");
    assert_eq!(super::event::describe(&error), "TypeError: why");
}
