//! What is said to the user.

use super::dom::{Dom, clear, show};
use crate::{format, words};
use ringtmp_peer::{Notice, NoticeLevel};
use std::cell::RefCell;
use wasm_bindgen::prelude::*;
use web_sys::HtmlElement;

/// The list of notices, read out when one is added.
pub(super) struct Notices {
    dom: Dom,
    list: HtmlElement,
    shown: RefCell<Vec<Notice>>,
}

impl Notices {
    pub(super) fn new(dom: &Dom, parent: &HtmlElement) -> Result<Self, JsValue> {
        let list: HtmlElement = dom.typed(parent, "ul", "notices")?;
        list.set_attribute("role", "log")?;
        list.set_attribute("aria-live", "polite")?;
        show(&list, false);
        Ok(Self {
            dom: dom.clone(),
            list,
            shown: RefCell::default(),
        })
    }

    pub(super) fn update(&self, notices: Vec<Notice>) -> Result<(), JsValue> {
        if *self.shown.borrow() == notices {
            return Ok(());
        }
        clear(&self.list);
        show(&self.list, !notices.is_empty());
        for notice in &notices {
            let (key, level) = match notice.level {
                NoticeLevel::Information => ("information", words::LEVEL_INFORMATION),
                NoticeLevel::Warning => ("warning", words::LEVEL_WARNING),
                NoticeLevel::Error => ("error", words::LEVEL_ERROR),
            };
            let item = self.dom.child(&self.list, "li", "notice")?;
            item.set_attribute("data-level", key)?;
            self.dom.text(&item, "span", "level", level)?;
            let body = self.dom.child(&item, "p", "")?;
            self.dom
                .text(&body, "strong", "", &format::sentence(&notice.text))?;
            if !notice.advice.is_empty() {
                self.dom
                    .text(&body, "span", "", &format!(" {}", notice.advice))?;
            }
        }
        *self.shown.borrow_mut() = notices;
        Ok(())
    }
}
