//! Positions in a log, and the ids of appends.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use uuid::Uuid;

use super::token::{Fields, spell};
use crate::error::Error;
use crate::session::SessionId;
use crate::store::Record;
use crate::timestamp::Timestamp;

/// The first byte of the text form of positions and tickets: type and version.
const POSITION_VERSION: u8 = 0x01;
const TICKET_VERSION: u8 = 0x11;

/// The UUIDv5 namespace for ids derived from idempotency keys.
const KEY_NAMESPACE: Uuid = Uuid::from_u128(0x7c2b_9d0e_41a5_4f6b_9e38_d51c_06aa_f3b7);

/// The id of one append: no id is stored twice in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppendId(Uuid);

impl AppendId {
    /// Generates a new id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Derives the id for a caller's idempotency key in a session (UUIDv5 of both).
    pub fn of_key(session: &SessionId, key: &str) -> Self {
        // The length prefix keeps ("a", "bc") and ("ab", "c") apart.
        let name = format!("{}:{session}{key}", session.as_str().len());
        Self(Uuid::new_v5(&KEY_NAMESPACE, name.as_bytes()))
    }

    /// Derives the id of the n-th record after this one, of those that were [appended
    /// together](crate::store::ChatStore::append_all); 0 is this one. So a repeat gives each record the same id again.
    #[must_use]
    pub fn following(self, n: u64) -> Self {
        if n == 0 { self } else { Self(Uuid::new_v5(&self.0, &n.to_be_bytes())) }
    }

    /// Creates the id from these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Returns the id's bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for AppendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The state of a session's log when it was read: the next number, the id of the last record, and the time of the read. Opaque;
/// converts to and from text (`Display`, `FromStr`). An append that [expects](crate::store::Append::with_expected) it is refused if
/// the session was modified since. It is valid for a day: where records expire, later writes may have expired without a trace
/// after that. DynamoDB's `turns` layout refuses an older position; other stores accept it as long as it matches.
///
/// Two positions are equal if they are the same place, regardless of when they were read.
#[derive(Clone)]
pub struct Position {
    next: u64,
    last: Option<AppendId>,
    read_at: Timestamp,
}

/// An instant by both clocks, because either can stand still: the monotonic clock while the machine sleeps, the wall clock when
/// it is set back.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the monotonic clock, in milliseconds since an arbitrary instant in this process.
    pub mono_ms: u64,
    /// By the wall clock.
    pub wall: Timestamp,
}

impl Moment {
    /// Returns the current time by this machine's clocks.
    pub fn now() -> Self {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        let mono_ms = START.get_or_init(std::time::Instant::now).elapsed().as_millis() as u64;
        #[cfg(all(feature = "torture", unix))]
        let mono_ms = mono_ms + crate::torture::clocks_ahead_ms().0;
        Self { mono_ms, wall: Timestamp::now() }
    }

    /// Returns the age at `now`, by the clock that shows the greater age.
    pub fn age(self, now: Self) -> Duration {
        // A wall clock that was set back does not tell the age, so only the monotonic clock counts.
        Duration::from_millis(now.mono_ms.saturating_sub(self.mono_ms)).max(now.wall.since(self.wall))
    }
}

impl Position {
    /// Creates the position after the record `last`, whose number is `next - 1`; `last` is `None` for an empty log. `read_at` is
    /// taken before the read.
    pub fn new(next: u64, last: Option<AppendId>, read_at: Timestamp) -> Self {
        Self { next, last, read_at }
    }

    /// Creates the position after this record.
    pub fn after(record: &Record, read_at: Timestamp) -> Self {
        Self::new(record.seq + 1, Some(record.append_id), read_at)
    }

    /// Returns the number that the next record gets.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Returns the id of the last record.
    pub fn last(&self) -> Option<AppendId> {
        self.last
    }

    /// Returns when it was read.
    pub fn read_at(&self) -> Timestamp {
        self.read_at
    }
}

impl PartialEq for Position {
    fn eq(&self, other: &Self) -> bool {
        (self.next, self.last) == (other.next, other.last)
    }
}

impl Eq for Position {}

impl FromStr for AppendId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.parse().map(Self).map_err(|_| Error::invalid("invalid append id: expected a UUID"))
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({} after {:?})", self.next, self.last)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.last.as_ref().map_or(&[][..], |id| id.as_bytes());
        f.write_str(&spell(POSITION_VERSION, &[&self.next.to_be_bytes(), &self.read_at.as_millis().to_be_bytes(), last]))
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let mut fields = Fields::of(POSITION_VERSION, text)?;
            let (next, read_at) = (fields.number()?, fields.time()?);
            let last = if fields.is_empty() { None } else { Some(fields.id()?) };
            fields.is_empty().then_some(Self { next, last, read_at })
        };
        read().ok_or_else(|| Error::invalid("invalid position token: give one exactly as it was printed"))
    }
}

/// What is needed to finish an append whose outcome is unknown: its id, the lowest number at which it may have been tried, and
/// when it was first tried. Converts to and from text. Any process may use it, any number of times, for [a
/// day](Ticket::LIFETIME).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    append_id: AppendId,
    lowest: u64,
    tried_at: Timestamp,
}

impl Ticket {
    /// How long a ticket is valid from its first attempt: 24 hours. After that, the remains of a cleared or
    /// expired record may be gone, and the outcome can no longer be determined.
    pub const LIFETIME: Duration = Duration::from_hours(24);

    /// Creates a ticket for the append with this id, which may be tried at `lowest` or above from now on.
    pub fn new(append_id: AppendId, lowest: u64) -> Self {
        Self { append_id, lowest, tried_at: Timestamp::now() }
    }

    /// Sets when the append was first tried.
    #[must_use]
    pub fn tried_at(self, tried_at: Timestamp) -> Self {
        Self { tried_at, ..self }
    }

    /// Checks whether the ticket is recent enough to conclude that its append was not stored. Stores call this if they did not
    /// find the append.
    ///
    /// # Errors
    /// Invalid if it is older than [`LIFETIME`](Self::LIFETIME) at `now`.
    pub fn check_age(&self, now: Timestamp) -> Result<(), Error> {
        if now.since(self.tried_at) <= Self::LIFETIME {
            return Ok(());
        }
        Err(Error::invalid(
            "expired ticket: after a day the outcome of its append can no longer be determined; read the session, and append \
             again if the messages are missing",
        ))
    }

    /// Returns the append's id.
    pub fn append_id(&self) -> AppendId {
        self.append_id
    }

    /// Returns the lowest number at which it may have been tried. After a purge, numbers start lower again; then only the time
    /// counts.
    pub fn lowest(&self) -> u64 {
        self.lowest
    }

    /// Returns when it was first tried, by the clock of the process that tried it.
    pub fn first_tried(&self) -> Timestamp {
        self.tried_at
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { append_id, lowest, tried_at } = self;
        f.write_str(&spell(TICKET_VERSION, &[&lowest.to_be_bytes(), &tried_at.as_millis().to_be_bytes(), append_id.as_bytes()]))
    }
}

impl FromStr for Ticket {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let mut fields = Fields::of(TICKET_VERSION, text)?;
            let (lowest, tried_at, append_id) = (fields.number()?, fields.time()?, fields.id()?);
            fields.is_empty().then_some(Self { append_id, lowest, tried_at })
        };
        read().ok_or_else(|| Error::invalid("invalid ticket: give one exactly as the error printed it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_tickets_round_trip_as_text() {
        for position in [
            Position::new(0, None, Timestamp::from_millis(17)),
            Position::new(u64::MAX, Some(AppendId::random()), Timestamp::MIN),
        ] {
            let read: Position = position.to_string().parse().expect("our own text");
            assert_eq!((&read, read.read_at()), (&position, position.read_at()));
        }
        let ticket = Ticket::new(AppendId::random(), 7);
        assert_eq!(ticket.to_string().parse::<Ticket>().expect("our own text"), ticket);
        for bad in ["", "AQ", "!", "AgAAAAAAAAAAAAAAAAAAAAA"] {
            assert!(bad.parse::<Position>().is_err() && bad.parse::<Ticket>().is_err(), "{bad}");
        }
    }

    #[test]
    fn append_id_of_a_key_depends_on_its_session() {
        let session = |id: &str| SessionId::new(id).expect("a good id");
        assert_eq!(AppendId::of_key(&session("a"), "k"), AppendId::of_key(&session("a"), "k"));
        assert_ne!(AppendId::of_key(&session("a"), "bk"), AppendId::of_key(&session("ab"), "k"));
    }
}
