//! How full this device's battery is, where the browser says so (Chromium does, others do not).

use super::awake::call;
use crate::battery::Battery;
use js_sys::{Promise, Reflect};
use std::cell::Cell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{EventTarget, Window};

/// Follows the battery from now on. `changed` is called with every change.
pub(super) fn follow(window: &Window, changed: impl Fn() + 'static) -> Rc<Cell<Option<Battery>>> {
    let known = Rc::new(Cell::new(None));
    let (told, window) = (Rc::clone(&known), window.clone());
    spawn_local(async move {
        // Without it nothing is offered, which is all there is to do.
        let _unknown = watch(&window, told, Rc::new(changed)).await;
    });
    known
}

async fn watch(
    window: &Window,
    known: Rc<Cell<Option<Battery>>>,
    changed: Rc<dyn Fn()>,
) -> Result<(), JsValue> {
    let promise = call(&window.navigator(), "getBattery", &[])?;
    let manager = JsFuture::from(promise.dyn_into::<Promise>()?).await?;
    let target: EventTarget = manager.clone().unchecked_into();
    let read = move || {
        known.set(read(&manager));
        changed();
    };
    read();
    let again = Closure::<dyn Fn()>::new(read).into_js_value();
    for event in ["levelchange", "chargingchange"] {
        target.add_event_listener_with_callback(event, again.unchecked_ref())?;
    }
    Ok(())
}

fn read(manager: &JsValue) -> Option<Battery> {
    let get = |name: &str| Reflect::get(manager, &name.into()).ok();
    Some(Battery {
        level: get("level")?.as_f64()?,
        charging: get("charging")?.as_bool()?,
    })
}
