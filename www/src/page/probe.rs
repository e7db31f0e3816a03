//! Asks the browser what this device has, without computing or measuring anything.

use super::awake::call;
use super::session::describe;
use crate::preflight::{Adapter, Limits};
use futures::channel::oneshot;
use futures::future::{Either, select};
use js_sys::{Promise, Reflect};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    RtcDataChannel, RtcDataChannelEvent, RtcPeerConnection, RtcPeerConnectionIceEvent, RtcSdpType,
    RtcSessionDescriptionInit, Window,
};

/// Milliseconds after which a link of this device with itself is given up: it takes tens, a slow phone a second.
const LINK_MS_MAX: i32 = 8_000;

/// The GPU that the browser would give.
pub(super) async fn adapter(window: &Window) -> Adapter {
    let Ok(adapter) = request_adapter(window).await else {
        return Adapter::None;
    };
    if adapter.is_null() || adapter.is_undefined() {
        return Adapter::None;
    }
    let get = |of: &JsValue, name: &str| Reflect::get(of, &name.into()).unwrap_or_default();
    let (info, limits) = (get(&adapter, "info"), get(&adapter, "limits"));
    let text = |name: &str| get(&info, name).as_string().unwrap_or_default();
    let number = |name: &str| get(&limits, name).as_f64().unwrap_or_default();
    let parts = [text("vendor"), text("architecture")];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let is_software = [&adapter, &info]
        .iter()
        .any(|of| get(of, "isFallbackAdapter").is_truthy())
        || text("architecture") == "swiftshader";
    let limits = Limits {
        name: parts.join(" "),
        binding_bytes: number("maxStorageBufferBindingSize") as u64,
        invocations: number("maxComputeInvocationsPerWorkgroup") as u32,
    };
    match is_software {
        true => Adapter::Software(limits),
        false => Adapter::Hardware(limits),
    }
}

async fn request_adapter(window: &Window) -> Result<JsValue, JsValue> {
    let gpu = Reflect::get(&window.navigator(), &"gpu".into())?;
    let promise = call(&gpu, "requestAdapter", &[])?;
    JsFuture::from(promise.dyn_into::<Promise>()?).await
}

/// The bytes that the page's own storage still takes, where the browser tells.
pub(super) async fn storage(window: &Window) -> Result<Option<u64>, String> {
    let get = |of: &JsValue, name: &str| Reflect::get(of, &name.into()).unwrap_or_default();
    let storage = get(&window.navigator(), "storage");
    let ask = async |name: &str| {
        let promise = call(&storage, name, &[])?;
        JsFuture::from(promise.dyn_into::<Promise>()?).await
    };
    ask("getDirectory").await.map_err(|error| reason(&error))?;
    let Ok(estimate) = ask("estimate").await else {
        return Ok(None);
    };
    let quota = get(&estimate, "quota").as_f64();
    let usage = get(&estimate, "usage").as_f64().unwrap_or_default();
    Ok(quota.map(|quota| (quota - usage).max(0.0) as u64))
}

/// Whether the browser can keep the screen on.
pub(super) fn wake_lock(window: &Window) -> bool {
    Reflect::get(&window.navigator(), &"wakeLock".into()).is_ok_and(|lock| lock.is_object())
}

/// What browsers call a missing method says nothing to people.
fn reason(error: &JsValue) -> String {
    match error.dyn_ref::<js_sys::TypeError>() {
        Some(_) => crate::words::STORAGE_UNKNOWN.now().to_owned(),
        None => describe(error),
    }
}

/// Makes a link of this device with itself and waits until it carries a message: milliseconds, or why it does not.
pub(super) async fn link(window: &Window) -> Result<f64, String> {
    let now = || {
        window
            .performance()
            .map_or(0.0, |performance| performance.now())
    };
    let begun = now();
    let pair = Pair::new().map_err(|error| describe(&error))?;
    let late = Promise::new(&mut |resolve, _| {
        // A page without timers waits for as long as it takes.
        let _ = window.set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, LINK_MS_MAX);
    });
    let carried = Box::pin(pair.carry());
    match select(carried, JsFuture::from(late)).await {
        Either::Left((carried, _)) => carried
            .map(|()| now() - begun)
            .map_err(|error| describe(&error)),
        Either::Right(_) => Err(crate::words::LINK_LATE.now().to_owned()),
    }
}

/// Two ends on one page. Dropping it closes them.
struct Pair {
    ends: [RtcPeerConnection; 2],
    /// Says something once it is open.
    channel: RtcDataChannel,
    /// What was heard at the other end.
    heard: RefCell<Option<oneshot::Receiver<()>>>,
    /// They live as long as the connections may call them.
    _listeners: Vec<Closure<dyn FnMut(JsValue)>>,
}

impl Pair {
    fn new() -> Result<Self, JsValue> {
        let ends = [RtcPeerConnection::new()?, RtcPeerConnection::new()?];
        let mut listeners = Vec::new();
        for (from, to) in [(0, 1), (1, 0)] {
            let other = ends[to].clone();
            let found = Closure::<dyn FnMut(JsValue)>::new(move |event: JsValue| {
                let event = event.dyn_into::<RtcPeerConnectionIceEvent>().ok();
                let candidate = event.and_then(|event| event.candidate());
                if let Some(candidate) = candidate {
                    // One that cannot be used is one way less.
                    let _ = other.add_ice_candidate_with_opt_rtc_ice_candidate(Some(&candidate));
                }
            });
            ends[from].set_onicecandidate(Some(found.as_ref().unchecked_ref()));
            listeners.push(found);
        }
        let channel = ends[0].create_data_channel("preflight");
        let speaker = channel.clone();
        let open = Closure::<dyn FnMut(JsValue)>::new(move |_| {
            // One that is closed again is not heard.
            let _ = speaker.send_with_str("here");
        });
        channel.set_onopen(Some(open.as_ref().unchecked_ref()));
        let (tell, heard) = oneshot::channel();
        let tell = Rc::new(RefCell::new(Some(tell)));
        let come = Closure::<dyn FnMut(JsValue)>::new(move |event: JsValue| {
            let Ok(event) = event.dyn_into::<RtcDataChannelEvent>() else {
                return;
            };
            let tell = Rc::clone(&tell);
            let message = Closure::once_into_js(move || {
                if let Some(tell) = tell.borrow_mut().take() {
                    // Nobody waits any more once it was too late.
                    let _ = tell.send(());
                }
            });
            event.channel().set_onmessage(Some(message.unchecked_ref()));
        });
        ends[1].set_ondatachannel(Some(come.as_ref().unchecked_ref()));
        listeners.extend([open, come]);
        Ok(Self {
            ends,
            channel,
            heard: RefCell::new(Some(heard)),
            _listeners: listeners,
        })
    }

    async fn carry(&self) -> Result<(), JsValue> {
        let [one, other] = &self.ends;
        let offer = described(one.create_offer()).await?;
        JsFuture::from(one.set_local_description(&offer)).await?;
        JsFuture::from(other.set_remote_description(&offer)).await?;
        let answer = described(other.create_answer()).await?;
        JsFuture::from(other.set_local_description(&answer)).await?;
        JsFuture::from(one.set_remote_description(&answer)).await?;
        let heard = self.heard.borrow_mut().take();
        if let Some(heard) = heard {
            // Its other half lives as long as the listeners do.
            let _ = heard.await;
        }
        Ok(())
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.channel.set_onopen(None);
        for end in &self.ends {
            end.set_onicecandidate(None);
            end.set_ondatachannel(None);
            end.close();
        }
    }
}

/// A description that was made, as it is to be set.
async fn described(made: Promise) -> Result<RtcSessionDescriptionInit, JsValue> {
    let made = JsFuture::from(made).await?;
    let field = |name: &str| Reflect::get(&made, &name.into()).map(|value| value.as_string());
    let kind = match field("type")?.as_deref() {
        Some("answer") => RtcSdpType::Answer,
        _ => RtcSdpType::Offer,
    };
    let description = RtcSessionDescriptionInit::new(kind);
    description.set_sdp(&field("sdp")?.unwrap_or_default());
    Ok(description)
}
