//! What only a browser has; the contract of its links is tested with all others.

use super::page::{ChannelMode, Connections};
use super::{connector, sleep};
use crate::connector::{ConnectRole, ConnectorEvent};
use crate::error::{LinkError, SignallingError};
use crate::signalling::Signalling;
use js_sys::{Array, Object, Reflect};
use ringtmp_core::ids::{Epoch, PeerId};
use std::time::Duration;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::{console_log, wasm_bindgen_test};
use web_sys::{MessageChannel, MessagePort, RtcPeerConnection};

const PEER: PeerId = PeerId(1);
const EPOCH: Epoch = Epoch {
    number: 1,
    incarnation: 0,
};

fn ports() -> [MessagePort; 2] {
    let channel = MessageChannel::new().expect("every browser has it");
    [channel.port1(), channel.port2()]
}

/// Whether this browser moves a data channel through a port, asked without our code.
fn can_transfer() -> bool {
    let peer = RtcPeerConnection::new().expect("every browser has it");
    let moved = Array::of1(&peer.create_data_channel("probe"));
    let can = ports()[0]
        .post_message_with_transferable(&moved, &moved)
        .is_ok();
    peer.close();
    can
}

#[wasm_bindgen_test]
async fn channels_are_transferred_exactly_where_the_browser_can() {
    let can = can_transfer();
    if !can {
        console_log!(
            "SKIP: this browser cannot transfer data channels; the contract ran over posted ones twice"
        );
    }
    let [here, there] = ports();
    let page = Connections::new(here, ChannelMode::Transfer);
    let mut worker = connector(there);
    worker.connect(PEER, ConnectRole::Offer, EPOCH);
    assert!(
        matches!(worker.next().await, ConnectorEvent::Signal { .. }),
        "an offer comes first"
    );
    assert_eq!(
        page.mode(),
        if can {
            ChannelMode::Transfer
        } else {
            ChannelMode::Post
        }
    );
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
    let absent = Signalling::connect("ws://127.0.0.1:9/ws")
        .await
        .expect_err("nobody listens");
    assert!(
        matches!(absent, SignallingError::Unreachable { .. }),
        "{absent}"
    );
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
