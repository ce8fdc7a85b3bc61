//! Pages of a session's records, newest or oldest first.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

use super::token::{Fields, spell};
use super::{ChatStore, Cost, History, Load, PageCursor, Record};
use crate::error::Error;
use crate::session::SessionId;

/// How many records a page has, newest first. Not messages: a session may have none, but other entries.
const PAGE: usize = 100;

/// The same oldest first, where the whole session is read.
const OLDEST_FIRST: Sizes = Sizes { first: PAGE, page: 500, kept: 4, bytes: 8_000_000 };

/// The first byte of the text form of a cursor: its type and version.
const CURSOR_VERSION: u8 = 0x31;

/// How a session is read oldest first.
#[derive(Clone, Copy)]
struct Sizes {
    /// How many records the first page has. It shows how large the records are.
    first: usize,
    /// How many records any other page has, or fewer if they are large.
    page: usize,
    /// How many of the oldest pages stay in memory, at most. The others are read twice.
    kept: usize,
    /// About how many bytes those have, as stored.
    bytes: u64,
}

impl Sizes {
    /// How many records the page after this one should have.
    fn after(self, page: &History) -> usize {
        let records = page.records.len().max(1) as u64;
        let of_a_record = (page.cost.bytes / records).max(1);
        let fit = (self.bytes / self.kept.max(1) as u64) / of_a_record;
        usize::try_from(fit).unwrap_or(usize::MAX).clamp(1, self.page)
    }
}

/// Where a page of records ended, oldest first. Opaque; converts to and from text (`Display`, `FromStr`), of some 50 bytes for each page
/// that is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardCursor {
    /// The number after the last record that was returned.
    next: u64,
    /// The pages that are left, the newest first. Never empty.
    left: Vec<PageCursor>,
}

/// A page of records, oldest first.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ForwardPage {
    /// The records, which follow those of the page before. There may be none.
    pub records: Vec<Record>,
    /// The cursor of the next page; `None` after the last.
    pub next: Option<ForwardCursor>,
    /// What it cost.
    pub cost: Cost,
}

impl fmt::Display for ForwardCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&spell(CURSOR_VERSION, &[&self.next.to_be_bytes()]))?;
        self.left.iter().try_for_each(|page| write!(f, ".{page}"))
    }
}

impl FromStr for ForwardCursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let (next, left) = text.split_once('.')?;
            let mut fields = Fields::of(CURSOR_VERSION, next)?;
            let next = fields.number()?;
            let left = left.split('.').map(|page| page.parse().ok()).collect::<Option<_>>()?;
            fields.is_empty().then_some(Self { next, left })
        };
        read().ok_or_else(|| {
            Error::invalid("invalid cursor: it is not one of a session's messages, oldest first; start from the first page")
        })
    }
}

/// The records of a session, newest first.
pub(super) fn backwards<'a, S: ChatStore + ?Sized>(store: &'a S, session: &'a SessionId) -> BoxStream<'a, Result<Record, Error>> {
    backwards_by(store, session, PAGE)
}

fn backwards_by<'a, S: ChatStore + ?Sized>(
    store: &'a S,
    session: &'a SessionId,
    page: usize,
) -> BoxStream<'a, Result<Record, Error>> {
    let pages = stream::try_unfold(Some(None), move |before: Option<Option<PageCursor>>| async move {
        let Some(before) = before else { return Ok(None) };
        let mut load = Load::records(page);
        load.before = before;
        let history = store.load(session, &load).await?;
        let older = history.older().filter(|_| !history.records.is_empty());
        let records = stream::iter(history.records.into_iter().rev().map(Ok));
        Ok::<_, Error>(Some((records, older.map(Some))))
    });
    pages.try_flatten().boxed()
}

/// The records of a session, oldest first.
pub(super) fn forwards<'a, S: ChatStore + ?Sized>(store: &'a S, session: &'a SessionId) -> BoxStream<'a, Result<Record, Error>> {
    forwards_by(store, session, OLDEST_FIRST)
}

fn forwards_by<'a, S: ChatStore + ?Sized>(
    store: &'a S,
    session: &'a SessionId,
    sizes: Sizes,
) -> BoxStream<'a, Result<Record, Error>> {
    let pages = stream::try_unfold(Some(None), move |after: Option<Option<ForwardCursor>>| async move {
        let Some(after) = after else { return Ok(None) };
        let page = page_by(store, session, after, sizes).await?;
        Ok::<_, Error>(Some((stream::iter(page.records.into_iter().map(Ok)), page.next.map(Some))))
    });
    pages.try_flatten().boxed()
}

/// A page of the records of a session, oldest first.
pub(super) async fn page_forwards<S: ChatStore + ?Sized>(
    store: &S,
    session: &SessionId,
    after: Option<ForwardCursor>,
) -> Result<ForwardPage, Error> {
    page_by(store, session, after, OLDEST_FIRST).await
}

async fn page_by<S: ChatStore + ?Sized>(
    store: &S,
    session: &SessionId,
    after: Option<ForwardCursor>,
    sizes: Sizes,
) -> Result<ForwardPage, Error> {
    let (records, next, left, cost) = match after {
        None => {
            let Oldest { records, left, cost } = oldest(store, session, sizes).await?;
            (records, 0, left, cost)
        }
        Some(ForwardCursor { next, mut left }) => {
            let mut load = Load::all().since(next);
            load.before = left.pop();
            let history = store.load(session, &load).await?;
            (history.records, next, left, history.cost)
        }
    };
    let next = records.last().map_or(next, |record| record.seq + 1);
    let next = (!left.is_empty()).then_some(ForwardCursor { next, left });
    Ok(ForwardPage { records, next, cost })
}

/// The oldest records of a session.
struct Oldest {
    records: Vec<Record>,
    /// The pages after them, the newest first.
    left: Vec<PageCursor>,
    cost: Cost,
}

/// Reads a session from its newest page to its oldest, and keeps the oldest pages.
async fn oldest<S: ChatStore + ?Sized>(store: &S, session: &SessionId, sizes: Sizes) -> Result<Oldest, Error> {
    let (mut left, mut pages, mut cost) = (Vec::new(), VecDeque::new(), Cost::default());
    let (mut kept, mut size) = (0, sizes.first);
    let mut before = None;
    loop {
        let mut load = Load::records(size);
        load.before = before;
        let history = store.load(session, &load).await?;
        cost += history.cost;
        let older = history.older().filter(|_| !history.records.is_empty());
        // Leaves out of the newest page, if it is read again, what was appended meanwhile.
        let at = &history.position;
        let end = PageCursor::new(at.next(), at.next(), at.read_at());
        kept += history.cost.bytes;
        size = sizes.after(&history);
        pages.push_back((before.unwrap_or(end), history.records, history.cost.bytes));
        while pages.len() > 1
            && (pages.len() > sizes.kept || kept > sizes.bytes)
            && let Some((before, _, bytes)) = pages.pop_front()
        {
            left.push(before);
            kept -= bytes;
        }
        if older.is_none() {
            break;
        }
        before = older;
    }
    let records = pages.into_iter().rev().flat_map(|(_, records, _)| records).collect();
    Ok(Oldest { records, left, cost })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use crate::store::{Append, Appended, Capabilities, ChatStoreExt as _, InMemoryStore};

    /// A session of twenty records, of which a stream by pages of three has been read up to and with record 12.
    #[tokio::test]
    async fn records_backwards_follow_what_is_written_meanwhile() {
        let text = |record: &Record| record.messages().next().map_or_else(String::new, Message::text);
        let saying = |n: u64| Append::new([Message::user(n.to_string())]);
        let nothing: &[u64] = &[];
        let down = (0..=11_u64).rev().collect::<Vec<_>>();
        for (meanwhile, rest) in
            [("nothing", &down[..]), ("appends", &down), ("rewind", &down[7..]), ("clear", nothing), ("restart", nothing)]
        {
            let (store, session) = (InMemoryStore::new(), SessionId::random());
            for n in 0..20 {
                store.append(&session, &saying(n)).await.expect("in memory");
            }
            let mut records = backwards_by(&store, &session, 3);
            for n in (12..20_u64).rev() {
                let record = records.try_next().await.expect("in memory").expect("there are more");
                assert_eq!((record.seq, text(&record)), (n, n.to_string()));
            }
            // The page that ends with record 11 was read already.
            let held = records.try_next().await.expect("in memory").expect("there are more");
            assert_eq!(held.seq, 11, "{meanwhile}");
            match meanwhile {
                "appends" => drop(store.append(&session, &saying(20)).await.expect("in memory")),
                "rewind" => drop(store.rewind_to(&session, 5).await.expect("in memory")),
                "clear" => drop(store.clear(&session).await.expect("in memory")),
                "restart" => {
                    store.clear(&session).await.expect("in memory");
                    store.append(&session, &saying(20)).await.expect("in memory");
                }
                _ => {}
            }
            let left: Vec<_> = records.map_ok(|record| record.seq).try_collect().await.expect("in memory");
            assert_eq!(left, rest.iter().copied().filter(|seq| *seq != 11).collect::<Vec<_>>(), "{meanwhile}");
        }
    }

    /// A session of twenty records, of which a stream by pages of three that keeps one page has been read up to and with record 4.
    #[tokio::test]
    async fn records_forwards_follow_what_is_written_meanwhile() {
        let saying = |n: u64| Append::new([Message::user(n.to_string())]);
        let all: Vec<u64> = (0..20).collect();
        for (meanwhile, rest) in [("nothing", &all[5..]), ("appends", &all[5..]), ("rewind", &all[5..9]), ("clear", &[])] {
            let (store, session) = (InMemoryStore::new(), SessionId::random());
            for n in 0..20 {
                store.append(&session, &saying(n)).await.expect("in memory");
            }
            let mut records = forwards_by(&store, &session, Sizes { first: 3, page: 3, kept: 1, bytes: u64::MAX });
            for n in 0..5 {
                assert_eq!(records.try_next().await.expect("in memory").expect("there are more").seq, n);
            }
            match meanwhile {
                "appends" => drop(store.append(&session, &saying(20)).await.expect("in memory")),
                "rewind" => drop(store.rewind_to(&session, 9).await.expect("in memory")),
                "clear" => drop(store.clear(&session).await.expect("in memory")),
                _ => {}
            }
            let left: Vec<_> = records.map_ok(|record| record.seq).try_collect().await.expect("in memory");
            assert_eq!(left, rest, "{meanwhile}");
        }
        let store = InMemoryStore::new();
        assert!(store.records_forwards(&SessionId::random()).try_next().await.expect("in memory").is_none());
    }

    #[tokio::test]
    async fn page_continues_from_the_text_of_its_cursor() {
        let (store, session) = (InMemoryStore::new(), SessionId::random());
        for n in 0..20_u64 {
            store.append(&session, &Append::new([Message::user(n.to_string())])).await.expect("in memory");
        }
        let (mut after, mut sizes, mut all) = (None, Vec::new(), Vec::new());
        loop {
            let page =
                page_by(&store, &session, after, Sizes { first: 3, page: 3, kept: 2, bytes: u64::MAX }).await.expect("in memory");
            assert!(page.cost.requests > 0);
            sizes.push(page.records.len());
            all.extend(page.records.iter().map(|record| record.seq));
            let Some(next) = page.next else { break };
            after = Some(next.to_string().parse().expect("our own text"));
            assert_eq!(after.as_ref(), Some(&next));
        }
        // Those pages of three are counted from the end.
        assert_eq!((sizes, all), (vec![5, 3, 3, 3, 3, 3], (0..20).collect()));
        for text in ["", "x", "MQ", &spell(CURSOR_VERSION, &[&[0; 8]]), &format!("{}.", spell(CURSOR_VERSION, &[&[0; 8]]))] {
            assert!(text.parse::<ForwardCursor>().is_err_and(|error| error.is_invalid()), "{text:?}");
        }
    }

    /// A store in which each record has ten bytes.
    #[derive(Debug)]
    struct Tens(InMemoryStore);

    #[async_trait::async_trait]
    impl ChatStore for Tens {
        fn capabilities(&self) -> Capabilities {
            self.0.capabilities()
        }

        async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
            self.0.append(session, append).await
        }

        async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
            let mut history = self.0.load(session, load).await?;
            history.cost = Cost::new(1, 10 * history.records.len() as u64);
            Ok(history)
        }
    }

    #[tokio::test]
    async fn no_more_bytes_stay_in_memory_than_allowed() {
        let (store, session) = (Tens(InMemoryStore::new()), SessionId::random());
        for n in 0..20_u64 {
            store.append(&session, &Append::new([Message::user(n.to_string())])).await.expect("in memory");
        }
        // The newest page has three records, the others a fourth of the bytes, but one to three records.
        for (bytes, kept) in [(0, 1), (39, 3), (40, 4), (79, 4), (80, 7), (u64::MAX, 11)] {
            let sizes = Sizes { first: 3, page: 3, kept: 4, bytes };
            assert_eq!(page_by(&store, &session, None, sizes).await.expect("in memory").records.len(), kept, "{bytes}");
            let all: Vec<_> =
                forwards_by(&store, &session, sizes).map_ok(|record| record.seq).try_collect().await.expect("in memory");
            assert_eq!(all, (0..20).collect::<Vec<_>>(), "{bytes}");
        }
    }
}
