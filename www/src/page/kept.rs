//! The runs that this device keeps, on the first page.

use super::dom::{Dom, listen, set_text};
use crate::kept::{line, problem};
use crate::messages::KEPT_FOLDER;
use crate::words;
use js_sys::Date;
use ringtmp_core::ids::RoomCode;
use ringtmp_peer::{KeptRun, Store};
use std::path::Path;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Element, Window};

/// Shows the runs that are kept here below what is there, if there are any, as soon as the browser has listed them.
pub(super) fn show(
    dom: &Dom,
    parent: &Element,
    go_on: Rc<dyn Fn(RoomCode)>,
) -> Result<(), JsValue> {
    let (dom, parent) = (dom.clone(), parent.clone());
    spawn_local(async move {
        // Where there is no storage nothing is kept; the room says so once it matters.
        let Ok(store) = Store::open(Path::new(KEPT_FOLDER)).await else {
            return;
        };
        let runs = store.runs().await.unwrap_or_default();
        // The form may have been sent meanwhile.
        let is_home = parent.query_selector("form").ok().flatten().is_some();
        if is_home
            && !runs.is_empty()
            && let Err(error) = list(&dom, &parent, &store, &runs, &go_on)
        {
            wasm_bindgen::throw_val(error);
        }
    });
    Ok(())
}

fn list(
    dom: &Dom,
    parent: &Element,
    store: &Store,
    runs: &[KeptRun],
    go_on: &Rc<dyn Fn(RoomCode)>,
) -> Result<(), JsValue> {
    let section = dom.section(parent, "kept", words::KEPT_TITLE.now())?;
    dom.text(&section, "p", "", words::KEPT_DETAIL.now())?;
    let now = (Date::now() / 1000.0) as u64;
    for run in runs {
        let row = dom.child(&section, "div", "kept-run")?;
        row.set_attribute("data-run", &run.id.to_string())?;
        let text = dom.text(&row, "p", "", &line(run, now))?;
        let buttons = dom.child(&row, "div", "controls")?;
        let button = |class: &str, words: &str| {
            let button = dom.text(&buttons, "button", class, words)?;
            button.set_attribute("type", "button")?;
            Ok::<_, JsValue>(button)
        };
        let (id, act) = (run.id, Rc::clone(go_on));
        let resume = button("primary", words::KEPT_GO_ON.now())?;
        listen(&resume, "click", move |_| act(id))?;
        let (store, row) = (store.clone(), row.clone());
        let forget = button("", words::KEPT_FORGET.now())?;
        listen(&forget, "click", move |_| {
            let (store, row, text) = (store.clone(), row.clone(), text.clone());
            spawn_local(async move {
                match store.forget(id).await {
                    Ok(()) => row.remove(),
                    Err(error) => set_text(&text, &problem(&error)),
                }
            });
        })?;
    }
    Ok(())
}

/// Asks the browser to keep what is stored even if it runs short of space. It may ask the user, or say no: then it is kept as long as
/// there is space.
pub(super) fn persist(window: &Window) {
    if !window.is_secure_context() {
        return;
    }
    if let Ok(asked) = window.navigator().storage().persist() {
        spawn_local(async move {
            // Either answer will do.
            JsFuture::from(asked).await.ok();
        });
    }
}
