//! Browser events and timers as Rust values that clean up after themselves.

use futures::channel::oneshot;
use js_sys::{Function, Reflect};
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::Duration;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Event, EventTarget};

/// A listener that is removed when dropped.
pub(crate) struct Listener {
    target: EventTarget,
    name: &'static str,
    closure: Closure<dyn FnMut(Event)>,
}

impl Listener {
    pub(crate) fn new(
        target: &EventTarget,
        name: &'static str,
        heard: impl FnMut(Event) + 'static,
    ) -> Self {
        let closure = Closure::<dyn FnMut(Event)>::new(heard);
        // Fails only for what is no function.
        let _ = target.add_event_listener_with_callback(name, closure.as_ref().unchecked_ref());
        Self {
            target: target.clone(),
            name,
            closure,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self
            .target
            .remove_event_listener_with_callback(self.name, self.closure.as_ref().unchecked_ref());
    }
}

/// Wakes everyone who waits for something to become true. One page or worker has one thread, so nothing is missed between
/// looking and waiting.
#[derive(Default)]
pub(crate) struct Changes {
    wakers: RefCell<Vec<Waker>>,
}

impl Changes {
    pub(crate) fn notify(&self) {
        let wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits until `look` finds something, looking after every change.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        poll_fn(|context| {
            if let Some(found) = look() {
                return Poll::Ready(found);
            }
            let mut wakers = self.wakers.borrow_mut();
            if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

/// Waits; a page's timers get slow while it is hidden, a worker's do not.
pub(crate) async fn sleep(duration: Duration) {
    let (done, waiting) = oneshot::channel();
    let callback = Closure::once(move || {
        // Nobody waits any more.
        let _ = done.send(());
    });
    let milliseconds = i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
    let timer = Timer(global_function("setTimeout").and_then(|set| {
        set.call2(
            &JsValue::UNDEFINED,
            callback.as_ref(),
            &JsValue::from(milliseconds),
        )
        .ok()
    }));
    // Without a timer, there is none to wait for.
    if timer.0.is_some() {
        let _ = pin!(waiting).await;
    }
}

/// A timer that is taken back when dropped.
struct Timer(Option<JsValue>);

impl Drop for Timer {
    fn drop(&mut self) {
        if let (Some(timer), Some(clear)) = (&self.0, global_function("clearTimeout")) {
            let _ = clear.call1(&JsValue::UNDEFINED, timer);
        }
    }
}

/// A function of the page or the worker, whichever this is.
fn global_function(name: &str) -> Option<Function> {
    Reflect::get(&js_sys::global(), &JsValue::from_str(name))
        .ok()?
        .dyn_into()
        .ok()
}

/// What a thrown value says, in a line.
pub(crate) fn describe(thrown: &JsValue) -> String {
    let text = |name| {
        Reflect::get(thrown, &JsValue::from_str(name))
            .ok()
            .and_then(|value| value.as_string())
    };
    match (text("name"), text("message")) {
        (Some(name), Some(message)) => format!("{name}: {message}"),
        _ => thrown.as_string().unwrap_or_else(|| format!("{thrown:?}")),
    }
}
