//! The entries of a record as bytes: JSON, or a zstd frame of it; in both layouts.

use std::cell::RefCell;

use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::{Entry, Message};
use zstd::bulk::Decompressor;

/// The maximum number of parts of a record: what four digits can number, since beyond that their sort keys would be out of order.
pub(crate) const MAX_PARTS: usize = 10_000;

/// zstd's default: higher levels gain a few percent on texts of this size at several times the cost.
const ZSTD_LEVEL: i32 = 3;

/// How a payload is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Json,
    Zstd,
}

/// A zstd frame of this JSON.
pub(crate) fn compress(json: &str) -> Result<Vec<u8>, Error> {
    zstd::bulk::compress(json.as_bytes(), ZSTD_LEVEL)
        .map_err(|e| Error::new(ErrorKind::Unavailable, "the messages could not be compressed").with_source(e))
}

/// Decodes the messages in a zstd frame of their JSON array.
pub(crate) fn unpack_messages(frame: Vec<u8>, max_bytes: usize) -> Result<Vec<Message>, String> {
    let entries = unpack(frame, Codec::Zstd, max_bytes).and_then(|text| entries(&text, false))?;
    Ok(entries.into_iter().filter_map(Entry::into_message).collect())
}

/// The number of bytes of JSON to read at most for a record with `max_bytes` of messages.
pub(crate) fn most_bytes(max_bytes: usize) -> usize {
    max_bytes.saturating_add(max_bytes / 8).saturating_add(1024)
}

pub(crate) fn too_many_bytes(limit: usize) -> String {
    format!("there are more than {limit} bytes (raise max_record in the store URL if that is expected)")
}

pub(crate) fn unpack(bytes: Vec<u8>, codec: Codec, max_bytes: usize) -> Result<String, String> {
    let json = match codec {
        Codec::Json => bytes,
        Codec::Zstd => decompress(&bytes, most_bytes(max_bytes))?,
    };
    String::from_utf8(json).map_err(|_| "there is text that is not UTF-8".to_owned())
}

thread_local! {
    /// To begin with a new one takes longer than to decode a record.
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

fn decompress(frame: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    // The size that the frame claims is not trusted: reading stops at the limit in any case.
    if let Ok(Some(claimed)) = zstd::zstd_safe::get_frame_content_size(frame)
        && let Ok(size) = usize::try_from(claimed)
        && size <= limit
        && let Some(json) = DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.as_mut()?.decompress(frame, size).ok())
    {
        return Ok(json);
    }
    // A frame without its size, or one that is damaged: this says why.
    let decoder = zstd::stream::read::Decoder::new(frame).map_err(|e| format!("there is no zstd frame ({e})"))?;
    let mut json = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(decoder, limit as u64 + 1), &mut json)
        .map_err(|e| format!("there is no whole zstd frame ({e})"))?;
    if json.len() > limit { Err(too_many_bytes(limit)) } else { Ok(json) }
}

/// Reads the entries of a JSON list; only a record of a version with `others` holds any but messages.
pub(crate) fn entries(text: &str, others: bool) -> Result<Vec<Entry>, String> {
    let entries: Vec<Entry> = serde_json::from_str(text).map_err(|e| format!("there is no JSON list of objects ({e})"))?;
    // A record without entries is stored without a list.
    if entries.is_empty() {
        return Err("there is no message".to_owned());
    }
    if !others {
        for (n, entry) in entries.iter().enumerate() {
            entry.require_message().map_err(|e| format!("message {} is not a message ({e})", n + 1))?;
        }
    }
    Ok(entries)
}

/// Reads an entry; `others` as in [`entries`].
pub(crate) fn entry(text: &str, others: bool) -> Result<Entry, String> {
    let entry: Entry = serde_json::from_str(text).map_err(|e| {
        let expected = if e.is_data() { "a JSON object" } else { "JSON" };
        format!("is not {expected} ({e})")
    })?;
    if !others {
        entry.require_message().map_err(|e| format!("is not a message ({e})"))?;
    }
    Ok(entry)
}
