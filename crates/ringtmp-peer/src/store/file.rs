//! A layer as a file that shows when it has been cut or changed.
//!
//! ```text
//!   8 bytes      4 bytes        JSON                            to the last 32 bytes     32 bytes
//!   RINGLAY, 1   its length     what it is: run, plan, layer    the copy (see `vault`)   SHA-256 of all before
//! ```

use super::StoreError;
use crate::platform::{self, Bytes};
use ringtmp_core::ids::{LayerIndex, RoomCode, Version};
use ringtmp_core::kept::{Home, Past};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A name, and the version of the form.
const MARK: [u8; 8] = *b"RINGLAY\x01";

const DIGEST_BYTES: usize = 32;

/// The longest description: 64 devices with long names.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// What a file is longer by than the copy in it, at most.
pub(super) const OVERHEAD_BYTES_MAX: u64 = (12 + HEADER_BYTES_MAX + DIGEST_BYTES) as u64;

/// What a file says it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) run: RoomCode,
    /// Of all in the run file that shapes the weights.
    pub(super) model: String,
    pub(super) past: Past,
    pub(super) version: Version,
    pub(super) layer: LayerIndex,
    pub(super) ring: Vec<Home>,
}

/// A file's bytes, in parts.
pub(super) async fn encode(header: &Header, copy: Bytes) -> Vec<Bytes> {
    let json = serde_json::to_vec(header).expect("it is plain data");
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
    let head = [&MARK[..], &length.to_le_bytes(), &json].concat();
    let mut parts: Vec<Bytes> = vec![Arc::new(head), copy];
    let digest = platform::sha256(&parts).await;
    parts.push(Arc::new(digest.to_vec()));
    parts
}

/// Reads a file; `layer` and `version` are those of its name, for errors.
pub(super) async fn decode(
    mut bytes: Vec<u8>,
    layer: LayerIndex,
    version: Version,
) -> Result<(Header, Vec<u8>), StoreError> {
    let damaged = || StoreError::Damaged {
        layer: usize::from(layer.0) + 1,
        version: version.0,
    };
    let end = bytes.len().checked_sub(DIGEST_BYTES).ok_or_else(damaged)?;
    let digest = bytes.split_off(end);
    let content: Bytes = Arc::new(bytes);
    if platform::sha256(std::slice::from_ref(&content)).await[..] != digest[..] {
        return Err(damaged());
    }
    let rest = content.strip_prefix(&MARK).ok_or_else(damaged)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    let length = u32::from_le_bytes(*length) as usize;
    let (json, copy) = rest.split_at_checked(length).ok_or_else(damaged)?;
    let header = serde_json::from_slice(json).map_err(|_| damaged())?;
    Ok((header, copy.to_vec()))
}
