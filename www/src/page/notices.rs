//! What is said to the user.

use super::dom::{Dom, show};
use crate::{format, words};
use ringtmp_peer::{Notice, NoticeLevel};
use std::cell::RefCell;
use wasm_bindgen::prelude::*;
use web_sys::{Element, HtmlElement};

/// The list of notices, read out when one is added: only that one, and not what stood there before.
pub(super) struct Notices {
    dom: Dom,
    list: HtmlElement,
    shown: RefCell<Vec<(Notice, Element)>>,
}

impl Notices {
    pub(super) fn new(dom: &Dom, parent: &HtmlElement) -> Result<Self, JsValue> {
        let list: HtmlElement = dom.typed(parent, "ul", "notices")?;
        // A list that is a log is no list to a screen reader; the attribute alone leaves it one.
        list.set_attribute("aria-live", "polite")?;
        list.set_attribute("aria-relevant", "additions")?;
        list.set_attribute("aria-label", words::NOTICES.now())?;
        show(&list, false);
        Ok(Self {
            dom: dom.clone(),
            list,
            shown: RefCell::default(),
        })
    }

    pub(super) fn update(&self, notices: Vec<Notice>) -> Result<(), JsValue> {
        let mut shown = self.shown.borrow_mut();
        if shown.iter().map(|(notice, _)| notice).eq(&notices) {
            return Ok(());
        }
        show(&self.list, !notices.is_empty());
        let mut before = std::mem::take(&mut *shown);
        for notice in notices {
            let same = before.iter().position(|(other, _)| *other == notice);
            let item = match same {
                Some(at) => before.remove(at).1,
                None => self.item(&notice)?,
            };
            shown.push((notice, item));
        }
        for (_, item) in before {
            item.remove();
        }
        // Only what is not in its place is moved.
        let mut place = self.list.first_element_child();
        for (_, item) in shown.iter() {
            if place.as_ref() == Some(item) {
                place = item.next_element_sibling();
            } else {
                let next = place.as_ref().map(AsRef::as_ref);
                self.list.insert_before(item, next)?;
            }
        }
        Ok(())
    }

    fn item(&self, notice: &Notice) -> Result<Element, JsValue> {
        let (key, level) = match notice.level {
            NoticeLevel::Information => ("information", words::LEVEL_INFORMATION.now()),
            NoticeLevel::Warning => ("warning", words::LEVEL_WARNING.now()),
            NoticeLevel::Error => ("error", words::LEVEL_ERROR.now()),
        };
        let item = self.dom.element("li", "notice")?;
        item.set_attribute("data-level", key)?;
        self.dom.text(&item, "span", "level", level)?;
        let body = self.dom.child(&item, "p", "")?;
        self.dom
            .text(&body, "strong", "", &format::sentence(&notice.text))?;
        if !notice.advice.is_empty() {
            self.dom
                .text(&body, "span", "", &format!(" {}", notice.advice))?;
        }
        Ok(item)
    }
}
