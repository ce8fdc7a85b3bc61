//! Places in a log, and the identity of an append.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use uuid::Uuid;

use crate::error::Error;
use crate::session::SessionId;

/// The first byte of a position's and of a ticket's text form: what it is, and in which version.
const POSITION_VERSION: u8 = 0x01;
const TICKET_VERSION: u8 = 0x11;

/// The namespace (in UUIDv5's sense) of ids made of idempotency keys.
const KEY_NAMESPACE: Uuid = Uuid::from_u128(0x7c2b_9d0e_41a5_4f6b_9e38_d51c_06aa_f3b7);

/// The identity of one append: the same id is never stored twice in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppendId(Uuid);

impl AppendId {
    /// A new identity.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The identity that a caller's idempotency key has in a session (UUIDv5 of both).
    pub fn of_key(session: &SessionId, key: &str) -> Self {
        // The length in front keeps ("a", "bc") and ("ab", "c") apart.
        let name = format!("{}:{session}{key}", session.as_str().len());
        Self(Uuid::new_v5(&KEY_NAMESPACE, name.as_bytes()))
    }

    /// The identity with these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The identity's bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for AppendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a session's log was when it was read: the number that comes next, the id of the last record, and the time
/// of the read. Opaque: it travels as text (`Display`, `FromStr`), and an append that
/// [expects](crate::store::Append::expecting) it is refused if anyone wrote since. It is good for a day: where records expire, what
/// was written since may be gone without a trace after that, so DynamoDB's `turns` layout refuses an older one; the other stores
/// take it where it still fits.
///
/// Two positions are equal when they are the same place, whenever they were read.
#[derive(Clone)]
pub struct Position {
    next: u64,
    last: Option<AppendId>,
    read_at: i64,
}

/// An instant by both clocks, since either can stand still: the monotonic one while the machine sleeps, the wall
/// clock when it is set back.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the monotonic clock, in milliseconds since some instant of this process.
    pub mono_ms: u64,
    /// By the wall clock, in epoch milliseconds.
    pub wall_ms: i64,
}

impl Moment {
    /// Now, by this machine's clocks.
    pub fn now() -> Self {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        let mono_ms = START.get_or_init(std::time::Instant::now).elapsed().as_millis() as u64;
        #[cfg(all(feature = "torture", unix))]
        let mono_ms = mono_ms + crate::torture::clocks_ahead_ms().0;
        Self { mono_ms, wall_ms: wall_ms() }
    }

    /// The age at `now`, by whichever clock says more.
    pub fn age_ms(self, now: Self) -> u64 {
        let mono = now.mono_ms.saturating_sub(self.mono_ms);
        // A wall clock that went backwards says nothing of the age: then the monotonic one decides alone.
        let wall = u64::try_from(now.wall_ms.saturating_sub(self.wall_ms)).unwrap_or(0);
        mono.max(wall)
    }
}

/// The wall clock, in epoch milliseconds.
pub fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
    #[cfg(all(feature = "torture", unix))]
    let now = now + crate::torture::clocks_ahead_ms().1;
    now
}

impl Position {
    /// The place after the record `last`, whose number is `next - 1`; `last` is `None` for a log without records. `read_at`
    /// is in epoch milliseconds, from before the read.
    pub fn new(next: u64, last: Option<AppendId>, read_at: i64) -> Self {
        Self { next, last, read_at }
    }

    /// The number that the next record gets.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The id of the last record.
    pub fn last(&self) -> Option<AppendId> {
        self.last
    }

    /// When it was read, in epoch milliseconds.
    pub fn read_at(&self) -> i64 {
        self.read_at
    }
}

impl PartialEq for Position {
    fn eq(&self, other: &Self) -> bool {
        (self.next, self.last) == (other.next, other.last)
    }
}

impl Eq for Position {}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({} after {:?})", self.next, self.last)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![POSITION_VERSION];
        bytes.extend(self.next.to_be_bytes());
        bytes.extend(self.read_at.to_be_bytes());
        if let Some(last) = self.last {
            bytes.extend(last.as_bytes());
        }
        f.write_str(&BASE64.encode(bytes))
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = |bytes: &[u8]| {
            let (version, rest) = bytes.split_first()?;
            let (next, rest) = rest.split_first_chunk()?;
            let (read_at, rest) = rest.split_first_chunk()?;
            let last = if rest.is_empty() { None } else { Some(AppendId::from_bytes(rest.try_into().ok()?)) };
            (*version == POSITION_VERSION).then(|| Self::new(u64::from_be_bytes(*next), last, i64::from_be_bytes(*read_at)))
        };
        let bytes = BASE64.decode(text).ok();
        bytes
            .as_deref()
            .and_then(read)
            .ok_or_else(|| Error::invalid("that is not a position; give one as this program printed it, whole and unaltered"))
    }
}

/// What is needed to finish an append that ended in doubt: its id, the lowest number at which it may have been tried, and
/// when it was first tried. It travels as text, and any process may use it, any number of times, for [a day](Ticket::LIFETIME_MS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    append_id: AppendId,
    lowest: u64,
    tried_at: i64,
}

impl Ticket {
    /// For how long a ticket is good, in milliseconds from its first try: 24 hours. What is left of a cleared or expired
    /// record may be gone after that, so that nothing would tell whether the append had landed.
    pub const LIFETIME_MS: i64 = 24 * 60 * 60 * 1000;

    /// A ticket for the append with this id, which may have been tried at `lowest` or above, from now on.
    pub fn new(append_id: AppendId, lowest: u64) -> Self {
        Self { append_id, lowest, tried_at: wall_ms() }
    }

    /// The same ticket for an append that was first tried at this time, in epoch milliseconds.
    #[must_use]
    pub fn tried_at(self, tried_at: i64) -> Self {
        Self { tried_at, ..self }
    }

    /// Whether the ticket can still tell that its append did not land. Stores ask when they did not find the append.
    ///
    /// # Errors
    /// Invalid, when it is older than [`LIFETIME_MS`](Self::LIFETIME_MS) at `now_ms` (epoch milliseconds).
    pub fn check_age(&self, now_ms: i64) -> Result<(), Error> {
        if now_ms.saturating_sub(self.tried_at) <= Self::LIFETIME_MS {
            return Ok(());
        }
        Err(Error::invalid(
            "the ticket is over a day old, so it can no longer be told whether its append landed; read the session, and append \
             anew if it is not there",
        ))
    }

    /// The append's id.
    pub fn append_id(&self) -> AppendId {
        self.append_id
    }

    /// The lowest number at which it may have been tried. After a purge, numbers start lower again; the time then tells.
    pub fn lowest(&self) -> u64 {
        self.lowest
    }

    /// When it was first tried, in epoch milliseconds by the clock of the process that did.
    pub fn first_tried(&self) -> i64 {
        self.tried_at
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![TICKET_VERSION];
        bytes.extend(self.lowest.to_be_bytes());
        bytes.extend(self.tried_at.to_be_bytes());
        bytes.extend(self.append_id.as_bytes());
        f.write_str(&BASE64.encode(bytes))
    }
}

impl FromStr for Ticket {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = |bytes: &[u8]| {
            let (version, rest) = bytes.split_first()?;
            let (lowest, rest) = rest.split_first_chunk()?;
            let (tried_at, id) = rest.split_first_chunk()?;
            let append_id = AppendId::from_bytes(id.try_into().ok()?);
            let (lowest, tried_at) = (u64::from_be_bytes(*lowest), i64::from_be_bytes(*tried_at));
            (*version == TICKET_VERSION).then_some(Self { append_id, lowest, tried_at })
        };
        let bytes = BASE64.decode(text).ok();
        bytes
            .as_deref()
            .and_then(read)
            .ok_or_else(|| Error::invalid("that is not a ticket; give one as the error printed it, whole and unaltered"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_tickets_travel_as_text() {
        for position in [Position::new(0, None, 17), Position::new(u64::MAX, Some(AppendId::random()), -1)] {
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
    fn a_key_means_another_id_in_another_session() {
        let session = |id: &str| SessionId::new(id).expect("a good id");
        assert_eq!(AppendId::of_key(&session("a"), "k"), AppendId::of_key(&session("a"), "k"));
        assert_ne!(AppendId::of_key(&session("a"), "bk"), AppendId::of_key(&session("ab"), "k"));
    }
}
