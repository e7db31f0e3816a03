//! How much memory this device gives.

use super::dom::{Dom, clear, listen, show};
use crate::pledge;
use crate::words;
use ringtmp_peer::Command;
use std::cell::Cell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{Element, HtmlElement, HtmlSelectElement};

/// The choice, shown while a plan is still to come.
pub(super) struct Pledge {
    dom: Dom,
    row: HtmlElement,
    select: HtmlSelectElement,
    shown: Cell<Option<u64>>,
}

impl Pledge {
    /// `act` is called with what the user chooses.
    pub(super) fn new(
        dom: &Dom,
        parent: &Element,
        act: Rc<dyn Fn(Command)>,
    ) -> Result<Self, JsValue> {
        let row: HtmlElement = dom.typed(parent, "div", "pledge")?;
        dom.text(&row, "label", "", words::PLEDGE.now())?
            .set_attribute("for", "pledge")?;
        let select: HtmlSelectElement = dom.typed(&row, "select", "")?;
        select.set_id("pledge");
        let chosen = select.clone();
        listen(&select, "change", move |_| {
            let memory_bytes = chosen.value().parse().ok();
            act(Command::Pledge { memory_bytes });
        })?;
        Ok(Self {
            dom: dom.clone(),
            row,
            select,
            shown: Cell::new(None),
        })
    }

    /// Shows what this device gives, or nothing where that changes nothing now.
    pub(super) fn update(&self, memory_bytes: Option<u64>) -> Result<(), JsValue> {
        show(&self.row, memory_bytes.is_some());
        if memory_bytes.is_none() || self.shown.replace(memory_bytes) == memory_bytes {
            return Ok(());
        }
        clear(&self.select);
        for (bytes, text) in pledge::choices(memory_bytes) {
            self.dom
                .text(&self.select, "option", "", &text)?
                .set_attribute("value", &bytes.to_string())?;
        }
        self.select
            .set_value(&memory_bytes.unwrap_or_default().to_string());
        Ok(())
    }
}
