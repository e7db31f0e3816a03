//! The table of devices.

use super::dialog::Dialog;
use super::dom::{Dom, clear, listen, set_attribute, set_text, show};
use crate::shown::MemberLine;
use crate::words;
use ringtmp_core::ids::PeerId;
use ringtmp_peer::Command;
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{Element, HtmlElement};

/// The table of devices: one row a member, which stays the same element as long as the member is there.
pub(super) struct Members {
    dom: Dom,
    table: HtmlElement,
    body: Element,
    empty: HtmlElement,
    rows: RefCell<Vec<Row>>,
    act: Act,
    dialog: Dialog,
}

type Act = Rc<dyn Fn(Command)>;

struct Row {
    peer: PeerId,
    row: Element,
    number: Element,
    name: Element,
    mine: HtmlElement,
    device: Element,
    layers: Element,
    layers_detail: Element,
    time: Element,
    time_detail: Element,
    status: Element,
    links: Element,
    links_shown: RefCell<Vec<String>>,
    host: HtmlElement,
    rename: HtmlElement,
    kick: HtmlElement,
}

impl Members {
    pub(super) fn new(dom: &Dom, parent: &Element, act: Act) -> Result<Self, JsValue> {
        let section = dom.section(parent, "members", words::MEMBERS_TITLE.now())?;
        // Style sheets lay the table out anew on phones; its roles are named so that it stays a table for screen readers.
        let table: HtmlElement = dom.typed(&section, "table", "")?;
        table.set_attribute("role", "table")?;
        let head = dom.child(&table, "thead", "")?;
        head.set_attribute("role", "rowgroup")?;
        let row = dom.child(&head, "tr", "")?;
        row.set_attribute("role", "row")?;
        for column in [
            words::COLUMN_DEVICE.now(),
            words::COLUMN_LAYERS.now(),
            words::COLUMN_TIME.now(),
            words::COLUMN_STATUS.now(),
            words::COLUMN_LINKS.now(),
        ] {
            let cell = dom.text(&row, "th", "", column)?;
            cell.set_attribute("role", "columnheader")?;
            cell.set_attribute("scope", "col")?;
        }
        let body = dom.child(&table, "tbody", "")?;
        body.set_attribute("role", "rowgroup")?;
        let empty: HtmlElement = dom
            .text(&section, "p", "empty", words::MEMBERS_NONE.now())?
            .dyn_into()?;
        Ok(Self {
            dom: dom.clone(),
            table,
            body,
            empty,
            rows: RefCell::default(),
            act,
            dialog: Dialog::new(dom, parent)?,
        })
    }

    pub(super) fn update(&self, lines: &[MemberLine]) -> Result<(), JsValue> {
        show(&self.table, !lines.is_empty());
        show(&self.empty, lines.is_empty());
        let mut rows = self.rows.borrow_mut();
        rows.retain(|row| {
            let stays = lines.iter().any(|line| line.peer == row.peer);
            if !stays {
                row.row.remove();
            }
            stays
        });
        for (i, line) in lines.iter().enumerate() {
            match rows.iter().position(|row| row.peer == line.peer) {
                Some(at) if at == i => {}
                Some(at) => {
                    let row = rows.remove(at);
                    self.insert(&mut rows, i, row)?;
                }
                None => {
                    let row = Row::new(&self.dom, line.peer, &self.act, &self.dialog)?;
                    self.insert(&mut rows, i, row)?;
                }
            }
            rows[i].update(&self.dom, line)?;
        }
        Ok(())
    }

    fn insert(&self, rows: &mut Vec<Row>, at: usize, row: Row) -> Result<(), JsValue> {
        let next = rows.get(at).map(|next| next.row.as_ref());
        self.body.insert_before(&row.row, next)?;
        rows.insert(at, row);
        Ok(())
    }
}

impl Row {
    fn new(dom: &Dom, peer: PeerId, act: &Act, dialog: &Dialog) -> Result<Self, JsValue> {
        let row = dom.element("tr", "member")?;
        row.set_attribute("role", "row")?;
        row.set_attribute("data-peer", &peer.to_string())?;
        let cell = |class: &str| {
            let cell = dom.child(&row, "td", class)?;
            cell.set_attribute("role", "cell")?;
            Ok::<_, JsValue>(cell)
        };
        let device_cell = dom.child(&*cell("who-cell")?, "div", "device")?;
        let number = dom.child(&device_cell, "span", "number")?;
        let who = dom.child(&device_cell, "div", "who")?;
        let title = dom.child(&who, "div", "title")?;
        let name = dom.child(&title, "span", "name")?;
        let mine: HtmlElement = dom
            .text(&title, "span", "mine", words::THIS_DEVICE.now())?
            .dyn_into()?;
        let host: HtmlElement = dom
            .text(&title, "span", "mine", words::HOST.now())?
            .dyn_into()?;
        let device = dom.child(&who, "div", "detail")?;
        let [rename, kick] = buttons(dom, &who, (peer, &name), act, dialog)?;
        let layers_cell = cell("layers")?;
        let layers = dom.child(&layers_cell, "div", "")?;
        let layers_detail = dom.child(&layers_cell, "div", "detail")?;
        let time_cell = cell("time-cell")?;
        let time = dom.child(&time_cell, "div", "")?;
        let time_detail = dom.child(&time_cell, "div", "detail")?;
        let status = dom.child(&*cell("status")?, "span", "badge")?;
        let links = dom.child(&*cell("links")?, "div", "detail")?;
        let links_shown = RefCell::default();
        Ok(Self {
            peer,
            row,
            number,
            name,
            mine,
            device,
            layers,
            layers_detail,
            time,
            time_detail,
            status,
            links,
            links_shown,
            host,
            rename,
            kick,
        })
    }

    fn update(&self, dom: &Dom, line: &MemberLine) -> Result<(), JsValue> {
        set_text(
            &self.number,
            &line
                .number
                .map_or_else(|| "·".to_owned(), |number| number.to_string()),
        );
        set_text(&self.name, &line.name);
        show(&self.mine, line.mine);
        show(&self.host, line.host);
        for (button, text, shown) in [
            (&self.rename, words::BUTTON_RENAME.now(), line.may_rename),
            (&self.kick, words::BUTTON_KICK.now(), line.may_kick),
        ] {
            show(button, shown);
            set_attribute(button, "aria-label", &words::of_device(text, &line.name))?;
        }
        set_text(&self.device, &line.device);
        set_text(&self.layers, &line.layers);
        set_text(&self.layers_detail, &line.layers_detail);
        set_text(&self.time, &line.time);
        set_text(&self.time_detail, &line.time_detail);
        set_text(&self.status, line.status);
        set_attribute(&self.row, "data-status", line.status_key)?;
        set_attribute(&self.row, "data-mine", if line.mine { "yes" } else { "no" })?;
        set_attribute(
            &self.row,
            "data-link",
            if line.link_failed { "failed" } else { "" },
        )?;
        if *self.links_shown.borrow() != line.links {
            clear(&self.links);
            for link in &line.links {
                dom.text(&self.links, "div", "", link)?;
            }
            (*self.links_shown.borrow_mut()).clone_from(&line.links);
        }
        Ok(())
    }
}

/// What renames a device and what sends it away.
fn buttons(
    dom: &Dom,
    parent: &Element,
    (peer, name): (PeerId, &Element),
    act: &Act,
    dialog: &Dialog,
) -> Result<[HtmlElement; 2], JsValue> {
    let row = dom.child(parent, "div", "of-member")?;
    let button = |text: &str| {
        let button: HtmlElement = dom.text(&row, "button", "quiet", text)?.dyn_into()?;
        button.set_attribute("type", "button")?;
        show(&button, false);
        Ok::<_, JsValue>(button)
    };
    let (rename, kick) = (
        button(words::BUTTON_RENAME.now())?,
        button(words::BUTTON_KICK.now())?,
    );
    let now = |name: &Element| name.text_content().unwrap_or_default();
    let (act_on, ask, named) = (Rc::clone(act), dialog.clone(), name.clone());
    listen(&rename, "click", move |_| {
        let act = Rc::clone(&act_on);
        let rename = move |name| act(Command::Rename { peer, name });
        let (title, button) = (words::RENAME_TITLE.now(), words::BUTTON_RENAME.now());
        if let Err(error) = ask.ask(title, &now(&named), button, rename) {
            wasm_bindgen::throw_val(error);
        }
    })?;
    let (act_on, ask, named) = (Rc::clone(act), dialog.clone(), name.clone());
    listen(&kick, "click", move |_| {
        let act = Rc::clone(&act_on);
        let kick = move || act(Command::Kick { peer });
        let title = words::kick_title(&now(&named));
        if let Err(error) = ask.confirm(&title, words::BUTTON_KICK.now(), kick) {
            wasm_bindgen::throw_val(error);
        }
    })?;
    Ok([rename, kick])
}
