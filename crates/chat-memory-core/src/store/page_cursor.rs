//! The cursor of a page of a history.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::token::{Fields, spell};
use super::walk::Passing;
use crate::error::Error;
use crate::timestamp::Timestamp;

/// The first byte of the text form: its type and version, without and with a place.
const CURSOR_VERSION: u8 = 0x21;
const PLACED_VERSION: u8 = 0x22;

/// Where a load stopped; a load of what is [older](super::Load::before) continues from there. Opaque; converts to and from text
/// (`Display`, `FromStr`). It never becomes invalid, but after a [day](Self::LEAPS_FOR) it saves nothing: the load also reads
/// everything newer.
///
/// Records removed, cleared or purged in the meantime are never returned: the load follows the log from its newest record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageCursor {
    next: u64,
    seen: u64,
    read_at: Timestamp,
    place: Option<[u8; 16]>,
}

impl PageCursor {
    /// How long the cursor lets a load skip what was already read: 24 hours. After that, numbers may have
    /// restarted in a store with a retention.
    pub const LEAPS_FOR: Duration = Duration::from_hours(24);

    /// Creates the cursor for what is older than the record numbered `seen`, read at `read_at` when the
    /// log's next number was `next`.
    pub fn new(next: u64, seen: u64, read_at: Timestamp) -> Self {
        Self { next, seen, read_at, place: None }
    }

    /// Adds where the store found the record numbered `seen`. For store authors: a hint, in a form of the store's own, which it
    /// must verify.
    #[must_use]
    pub fn with_place(mut self, place: Option<[u8; 16]>) -> Self {
        self.place = place;
        self
    }

    /// Returns the number of the oldest record that was read, and where the store found it, if it said so.
    pub fn place(&self) -> Option<(u64, [u8; 16])> {
        Some((self.seen, self.place?))
    }

    pub(super) fn passing(self, now: Timestamp) -> Passing {
        let leaps = now.since(self.read_at) <= Self::LEAPS_FOR;
        let came_after = if leaps { self.next } else { 0 };
        Passing { came_after: came_after.max(self.seen.saturating_add(1)), seen: self.seen }
    }
}

impl fmt::Display for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { next, seen, read_at, place } = self;
        let fields = [next.to_be_bytes(), seen.to_be_bytes(), read_at.as_millis().to_be_bytes()].concat();
        f.write_str(&match place {
            None => spell(CURSOR_VERSION, &[&fields]),
            Some(place) => spell(PLACED_VERSION, &[&fields, place]),
        })
    }
}

impl FromStr for PageCursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = |version| {
            let mut fields = Fields::of(version, text)?;
            let cursor = Self::new(fields.number()?, fields.number()?, fields.time()?);
            let place = if version == PLACED_VERSION { Some(fields.bytes()?) } else { None };
            fields.is_empty().then_some(cursor.with_place(place))
        };
        read(CURSOR_VERSION)
            .or_else(|| read(PLACED_VERSION))
            .ok_or_else(|| Error::invalid("invalid page cursor: give one exactly as it was returned"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Position;

    #[test]
    fn page_cursors_round_trip_as_text() {
        let older = PageCursor::new(u64::MAX, 7, Timestamp::from_millis(-1));
        let placed = older.with_place(Some([7; 16]));
        for cursor in [older, placed] {
            assert_eq!(cursor.to_string().parse::<PageCursor>().expect("our own text"), cursor);
        }
        assert_eq!((older.to_string().len(), older.place(), placed.place()), (34, None, Some((7, [7; 16]))));
        assert!(
            "AQ".parse::<PageCursor>().is_err()
                && Position::new(1, None, Timestamp::UNIX_EPOCH).to_string().parse::<PageCursor>().is_err()
        );
    }
}
