//! Devices, as they introduce themselves.

use serde::{Deserialize, Serialize};

/// Train or watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Computes when the plan gives it layers.
    Participant,
    /// Serves parameters, and computes no gradients; only where a run's topology has such servers.
    Server,
    /// Only watches.
    Spectator,
}

/// What kind of process a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A browser tab.
    Tab,
    /// A native process.
    Native,
}

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutorKind {
    /// WGSL compute shaders.
    Gpu,
    /// The CPU.
    Cpu,
}

/// A device as it introduces itself. Texts are cut to [`Device::TEXT_CHARS_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Tab or native process.
    pub kind: DeviceKind,
    /// A name for people, such as "Chromium on Linux".
    pub name: String,
    /// What computes.
    pub executor: ExecutorKind,
    /// The adapter or processor, as far as it is known.
    pub adapter: String,
    /// Bytes that its stage may take; none where nobody said.
    pub memory_bytes: Option<u64>,
    /// What it looks like to people; none where nobody said.
    #[serde(default)]
    pub form: Option<Form>,
}

/// What a device looks like to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Held in a hand.
    Phone,
    /// Used with fingers, and larger than a hand.
    Tablet,
    /// With a keyboard or a mouse.
    Computer,
}

impl Device {
    /// The longest name or adapter that is kept.
    pub const TEXT_CHARS_MAX: usize = 80;

    /// A text of a stranger's, as it may be shown.
    pub(crate) fn clipped_text(text: &str) -> String {
        let shown = text.chars().filter(|c| !c.is_control());
        shown.take(Self::TEXT_CHARS_MAX).collect()
    }
}
