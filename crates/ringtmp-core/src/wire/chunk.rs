//! Chunks: frames as messages that every browser accepts.
//!
//! The first chunk of a frame is `0`, the frame's length (32 bits, little endian) and its first bytes; each further one is
//! `1` and more bytes. The lane keeps the order, so nothing else is needed.

use super::frame::limit;
use super::{Lane, WireError};

/// The longest message on a data channel. 16 KiB halves the rate, 256 KiB adds less than a tenth.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;

const FIRST: u8 = 0;
const FURTHER: u8 = 1;
const FIRST_HEADER_BYTES: usize = 5;
const FURTHER_HEADER_BYTES: usize = 1;

/// Cuts a frame into chunks, in order.
pub fn chunks(frame: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let head = frame.len().min(CHUNK_BYTES_MAX - FIRST_HEADER_BYTES);
    let length = u32::try_from(frame.len()).expect("frames are bounded far below 4 GiB");
    let mut first = Vec::with_capacity(FIRST_HEADER_BYTES + head);
    first.push(FIRST);
    first.extend_from_slice(&length.to_le_bytes());
    first.extend_from_slice(&frame[..head]);
    let further = frame[head..]
        .chunks(CHUNK_BYTES_MAX - FURTHER_HEADER_BYTES)
        .map(|bytes| {
            let mut chunk = Vec::with_capacity(FURTHER_HEADER_BYTES + bytes.len());
            chunk.push(FURTHER);
            chunk.extend_from_slice(bytes);
            chunk
        });
    std::iter::once(first).chain(further)
}

/// Cuts a chunk after at most `longest` bytes, more than a header's, for a link on which it would be long under way; gives the chunk of
/// what follows, if there is something left.
pub fn cut(chunk: &mut Vec<u8>, longest: usize) -> Option<Vec<u8>> {
    let rest = chunk.get(longest..).filter(|rest| !rest.is_empty())?;
    let mut further = Vec::with_capacity(FURTHER_HEADER_BYTES + rest.len());
    further.push(FURTHER);
    further.extend_from_slice(rest);
    chunk.truncate(longest);
    Some(further)
}

/// Puts the chunks of one lane together again.
#[derive(Debug)]
pub struct Assembler {
    frame_bytes_max: usize,
    frame: Vec<u8>,
    missing: usize,
}

impl Assembler {
    /// An assembler for the chunks of a lane.
    pub fn new(lane: Lane) -> Self {
        Self {
            frame_bytes_max: lane.frame_bytes_max(),
            frame: Vec::new(),
            missing: 0,
        }
    }

    /// Takes a chunk; gives a frame when it was the last of one. After an error the link must be closed.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Option<Vec<u8>>, WireError> {
        limit("a chunk", chunk.len() as u64, CHUNK_BYTES_MAX as u64)?;
        let (kind, rest) = chunk
            .split_first()
            .ok_or(WireError::Chunks("an empty one"))?;
        let bytes = match *kind {
            FIRST => self.begin(rest)?,
            FURTHER if self.missing > 0 && !rest.is_empty() => rest,
            FURTHER => return Err(WireError::Chunks("one more than its frame has")),
            _ => return Err(WireError::Chunks("an unknown kind")),
        };
        self.missing = self
            .missing
            .checked_sub(bytes.len())
            .ok_or(WireError::Chunks("more bytes than its frame has"))?;
        self.frame.extend_from_slice(bytes);
        Ok((self.missing == 0).then(|| std::mem::take(&mut self.frame)))
    }

    fn begin<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], WireError> {
        if self.missing > 0 {
            return Err(WireError::Chunks(
                "a new frame before the last one was whole",
            ));
        }
        let (length, bytes) = rest
            .split_first_chunk::<4>()
            .ok_or(WireError::Chunks("one without its length"))?;
        let length = u32::from_le_bytes(*length) as usize;
        limit("a frame", length as u64, self.frame_bytes_max as u64)?;
        if length == 0 {
            return Err(WireError::Chunks("an empty frame"));
        }
        // Memory follows what has arrived, not what was announced.
        self.frame = Vec::with_capacity(length.min(4 * CHUNK_BYTES_MAX));
        self.missing = length;
        Ok(bytes)
    }
}
