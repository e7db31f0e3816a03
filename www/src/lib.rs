//! The tab.
//!
//! A tab is two halves of one module. The **worker** (`worker`) runs the peer: it computes, keeps its links and talks to
//! the server, and goes on when the tab is hidden. The **page** (`page`) shows what the worker reports and sends back what the user
//! presses; besides that it only makes the connections, since a browser gives them to pages alone, and hands them over.
//! [`messages`] is what the halves say to each other.
//!
//! The modules listed here know no browser, so that they are tested natively: [`address`] reads the page's address,
//! [`shown`] turns a [`ringtmp_peer::View`] into words and numbers, [`ring`], [`curves`] and [`timeline`] lay out the drawings, [`writing`] says what the network writes, [`model`] how the whole model comes, [`replay`] what moves in them, [`mod@format`], [`rate`] and
//! [`traffic`] deal with numbers, [`trace`] keeps what a device did, [`pledge`] says how much memory it gives, [`preflight`] what a visitor sees before joining, [`battery`] when it runs low, [`kept`] what it keeps, [`secrets`] which rooms it comes back to, [`qr`] draws links as codes, and [`words`] holds every text. `page`, `worker`, `measure`, which measures links, and `speed`, which measures stages, exist on wasm only.

pub mod address;
pub mod agent;
pub mod battery;
pub mod curves;
pub mod drawing;
pub mod format;
pub mod kept;
pub mod messages;
pub mod model;
pub mod pledge;
pub mod preflight;
pub mod qr;
pub mod rate;
pub mod replay;
pub mod ring;
pub mod secrets;
pub mod shown;
pub mod timeline;
pub mod trace;
pub mod traffic;
pub mod words;
pub mod writing;

#[cfg(target_arch = "wasm32")]
pub mod measure;
#[cfg(target_arch = "wasm32")]
pub mod page;
#[cfg(target_arch = "wasm32")]
pub mod speed;
#[cfg(target_arch = "wasm32")]
pub mod worker;
