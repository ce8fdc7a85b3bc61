//! What a list does not say of a session: how many records it has now, and its first words. Both are read from the session itself, since
//! an entry of the directory that had them would have to change with each clear.

use super::item::{self, Body};
use super::{Retry, Turns, retry};
use crate::common::names::{MAX_SEQ, MESSAGES, PARTS, records};
use crate::common::size::item_bytes;
use crate::table::{Clock, Item, Range, Table};
use chat_memory_core::Timestamp;
use chat_memory_core::backend::first_words;
use chat_memory_core::error::Error;
use chat_memory_core::store::{Cost, SessionInfo};

/// How many sessions are read at once.
const AT_ONCE: usize = 8;

/// How many of a session's records are read first, and how many times as many with each further request: their size is known only
/// once they are read.
const READ_FIRST: u64 = 4;
const GROWTH: u64 = 4;

/// How many bytes of a session are read to find its first words: 10 read units. Whether the first record is still in view is known
/// only once all later ones are read.
const MOST_BYTES: usize = 40 * 1024;

/// In how many records in view the first words are searched.
const READ_FOR_WORDS: usize = 3;

/// How many clears are followed to the oldest record that counts.
const MOST_CLEARS: usize = 4;

/// What a session's records say.
struct Contents {
    records: Option<u64>,
    first_words: Option<String>,
}

impl<T: Table, C: Clock> Turns<T, C> {
    /// Adds to these sessions what their records say. One that cannot be read stays as it is: whoever loads it learns why.
    pub(crate) async fn read_contents(&self, sessions: &mut [SessionInfo]) -> Result<Cost, Error> {
        let mut cost = Cost::default();
        for some in sessions.chunks_mut(AT_ONCE) {
            let reads = some.iter().map(|info| async {
                let mut cost = Cost::default();
                (self.contents(info, &mut cost).await, cost)
            });
            let read = futures_util::future::join_all(reads).await;
            for (info, (contents, of_read)) in some.iter_mut().zip(read) {
                cost += of_read;
                match contents {
                    Ok(Some(Contents { records, first_words })) => {
                        if records.is_some() {
                            (info.records, info.records_exact) = (records, true);
                        }
                        info.first_words = first_words;
                    }
                    Ok(None) => {}
                    Err(error) if error.is_corrupt() || error.is_unsupported() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(cost)
    }

    /// What a listed session's records say; `None` if it is not the session that was listed any more, or changes while it is read.
    async fn contents(&self, info: &SessionInfo, cost: &mut Cost) -> Result<Option<Contents>, Error> {
        let (pk, now, mut retry) = (self.common.partitions.session(&info.id), self.clock.now().wall, self.retry());
        let (mut read, mut bytes, mut next) = (0, 0, None);
        // The records in view, newest first, the number of the oldest one that counts, and the one that is wanted next.
        let (mut in_view, mut oldest, mut wanted) = (Vec::new(), 0, Some(MAX_SEQ));
        let mut may_have_hole = true;
        while let Some(to) = wanted {
            let limit = if read == 0 { READ_FIRST } else { (read * GROWTH).min(to + 1) };
            let range = Range { limit: u32::try_from(limit).ok(), eventual: self.common.eventual, ..records(pk.clone(), 0, to) };
            let page = retry!(retry, self.table.page(&range, None, cost))?;
            for found in page.items {
                (read, bytes) = (read + 1, bytes + item_bytes(&found));
                let head = item::decode_without_messages(&found)?;
                let Some(at) = wanted.filter(|at| head.seq <= *at) else { continue };
                let is_newest = next.is_none();
                next.get_or_insert(head.seq + 1);
                // A stub in view is the work of a clear that came since the newest record was read.
                let Body::Record { rewind, .. } = head.body else { return Ok(None) };
                if head.links.began != Some(info.created_at) {
                    if is_newest {
                        return Ok(None);
                    }
                    // The session that was here before.
                    (oldest, wanted) = (head.seq + 1, None);
                    break;
                }
                if head.seq < at && !may_have_hole {
                    return Ok(None);
                }
                may_have_hole = head.expires_at.is_some() || head.after_expiring || rewind.is_some();
                let has_entries = has_entries(&found);
                oldest = rewind.map_or(head.seq, |to| if to == 0 { head.seq + u64::from(!has_entries) } else { to });
                wanted = rewind.unwrap_or(head.seq).checked_sub(1);
                if has_entries && head.expires_at.is_none_or(|at| at > now) {
                    in_view.push(found);
                }
            }
            if page.after.is_none() {
                break;
            }
            let of_one = bytes / usize::try_from(read).unwrap_or(usize::MAX).max(1);
            let left = wanted.map_or(0, |to| usize::try_from(to).unwrap_or(usize::MAX).saturating_add(1));
            if left.saturating_mul(of_one).saturating_add(bytes) > MOST_BYTES {
                let oldest = self.oldest(&pk, info.created_at, next.unwrap_or(0), cost, &mut retry).await?;
                let records = oldest.and_then(|oldest| next?.checked_sub(oldest));
                return Ok(Some(Contents { records, first_words: None }));
            }
        }
        let Some(next) = next else { return Ok(None) };
        let mut words = None;
        for found in in_view.iter().rev().take(READ_FOR_WORDS) {
            let mut head = item::decode(found, self.settings.record)?;
            // What is in several parts is too large to be read for a few words.
            if head.parts().is_some_and(|parts| parts.count > 1) {
                break;
            }
            let Some(record) = self.whole_record(&pk, &mut head, cost, &mut retry).await? else { return Ok(None) };
            words = first_words(&record.entries);
            if words.is_some() {
                break;
            }
        }
        Ok(Some(Contents { records: next.checked_sub(oldest), first_words: words }))
    }

    /// The number of the oldest record since the last clear that was swept, of a session with this start and next number.
    async fn oldest(
        &self,
        pk: &str,
        began: Timestamp,
        next: u64,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<u64>, Error> {
        let mut from = 0;
        for _ in 0..MOST_CLEARS {
            let all = records(pk.to_owned(), from, next.saturating_sub(1));
            let range = Range { limit: Some(1), newest_first: false, eventual: self.common.eventual, ..all };
            let page = retry!(retry, self.table.page(&range, None, cost))?;
            let Some(found) = page.items.first() else { return Ok(None) };
            let head = item::decode_without_messages(found)?;
            match head.body {
                Body::Stub { cleared_by, .. } => from = cleared_by,
                Body::Record { rewind: Some(0), .. } => return Ok(Some(head.seq + u64::from(!has_entries(found)))),
                Body::Record { .. } => return Ok((head.links.began == Some(began)).then_some(head.seq)),
            }
        }
        Ok(None)
    }
}

fn has_entries(item: &Item) -> bool {
    [MESSAGES, PARTS].iter().any(|name| item.attributes.contains_key(*name))
}
