//! A small view layer: makes elements, and writes to them only what has changed, so that nothing flickers, selections and
//! focus stay, and screen readers are not told the same thing twice.

use wasm_bindgen::prelude::*;
use web_sys::{Blob, Document, Element, HtmlAnchorElement, HtmlElement, Node, Url};

const SVG: &str = "http://www.w3.org/2000/svg";

/// Makes elements.
#[derive(Clone)]
pub(super) struct Dom {
    document: Document,
}

impl Dom {
    pub(super) fn new(document: Document) -> Self {
        Self { document }
    }

    pub(super) fn document(&self) -> &Document {
        &self.document
    }

    /// An HTML element with a class (or none, if empty).
    pub(super) fn element(&self, tag: &str, class: &str) -> Result<Element, JsValue> {
        let element = self.document.create_element(tag)?;
        if !class.is_empty() {
            element.set_class_name(class);
        }
        Ok(element)
    }

    /// An HTML element as the last child of another.
    pub(super) fn child(&self, parent: &Node, tag: &str, class: &str) -> Result<Element, JsValue> {
        let element = self.element(tag, class)?;
        parent.append_child(&element)?;
        Ok(element)
    }

    /// A child with a text.
    pub(super) fn text(
        &self,
        parent: &Node,
        tag: &str,
        class: &str,
        text: &str,
    ) -> Result<Element, JsValue> {
        let element = self.child(parent, tag, class)?;
        element.set_text_content(Some(text));
        Ok(element)
    }

    /// A child of a particular type.
    pub(super) fn typed<T: JsCast>(
        &self,
        parent: &Node,
        tag: &str,
        class: &str,
    ) -> Result<T, JsValue> {
        Ok(self.child(parent, tag, class)?.dyn_into()?)
    }

    /// An SVG element as the last child of another.
    pub(super) fn svg(
        &self,
        parent: &Node,
        tag: &str,
        attributes: &[(&str, &str)],
    ) -> Result<Element, JsValue> {
        let element = self.document.create_element_ns(Some(SVG), tag)?;
        for (name, value) in attributes {
            element.set_attribute(name, value)?;
        }
        parent.append_child(&element)?;
        Ok(element)
    }

    /// A section under a heading that names it. Returns the section.
    pub(super) fn section(
        &self,
        parent: &Node,
        class: &str,
        heading: &str,
    ) -> Result<Element, JsValue> {
        let section = self.child(parent, "section", class)?;
        let id = format!("heading-{class}");
        self.text(&section, "h2", "", heading)?.set_id(&id);
        section.set_attribute("aria-labelledby", &id)?;
        Ok(section)
    }
}

/// Sets a text if it differs.
pub(super) fn set_text(element: &Element, text: &str) {
    if element.text_content().as_deref() != Some(text) {
        element.set_text_content(Some(text));
    }
}

/// Sets an attribute if it differs.
pub(super) fn set_attribute(element: &Element, name: &str, value: &str) -> Result<(), JsValue> {
    if element.get_attribute(name).as_deref() == Some(value) {
        return Ok(());
    }
    element.set_attribute(name, value)
}

/// Shows or hides an element.
pub(super) fn show(element: &HtmlElement, shown: bool) {
    if element.hidden() == shown {
        element.set_hidden(!shown);
    }
}

/// Removes all children.
pub(super) fn clear(element: &Element) {
    element.set_text_content(None);
}

/// Calls `act` at every event of a kind, as long as the target lives.
pub(super) fn listen(
    target: &web_sys::EventTarget,
    event: &str,
    act: impl FnMut(web_sys::Event) + 'static,
) -> Result<(), JsValue> {
    let closure = Closure::<dyn FnMut(web_sys::Event)>::new(act);
    // Handed to the browser, which frees it with its target.
    target.add_event_listener_with_callback(event, closure.into_js_value().unchecked_ref())
}

/// Gives the user texts and bytes as a file.
pub(super) fn download(
    document: &Document,
    name: &str,
    parts: &js_sys::Array,
) -> Result<(), JsValue> {
    let blob = Blob::new_with_buffer_source_sequence(parts)?;
    let url = Url::create_object_url_with_blob(&blob)?;
    let link: HtmlAnchorElement = document.create_element("a")?.dyn_into()?;
    link.set_href(&url);
    link.set_download(name);
    link.click();
    Url::revoke_object_url(&url)
}
