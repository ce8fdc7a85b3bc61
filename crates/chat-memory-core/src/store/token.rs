//! The text form of positions, tickets and page cursors: a byte with type and version, then fields of fixed size, in base64.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use super::AppendId;
use crate::timestamp::Timestamp;

/// Spells a token of this version.
pub(super) fn spell(version: u8, fields: &[&[u8]]) -> String {
    BASE64.encode([&[version][..], &fields.concat()].concat())
}

/// The fields of a token that have not been read yet.
pub(super) struct Fields(Vec<u8>);

impl Fields {
    /// Reads the fields of a token of this version; `None` if the text is not one.
    pub(super) fn of(version: u8, text: &str) -> Option<Self> {
        let mut fields = Self(BASE64.decode(text).ok()?);
        (fields.take::<1>()? == [version]).then_some(fields)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub(super) fn time(&mut self) -> Option<Timestamp> {
        self.take().map(i64::from_be_bytes).map(Timestamp::from_millis)
    }

    pub(super) fn id(&mut self) -> Option<AppendId> {
        self.bytes().map(AppendId::from_bytes)
    }

    pub(super) fn bytes(&mut self) -> Option<[u8; 16]> {
        self.take()
    }

    /// Whether all fields were read.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let field = *self.0.first_chunk()?;
        self.0.drain(..N);
        Some(field)
    }
}
