//! Redact: replaces what a record says, in its place.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use super::append::written_by;
use super::item::{self, Encoded, PartsOf};
use super::load::TORN_MS;
use super::{Retry, Turns, retry};
use crate::common::names::*;
use crate::common::redact::{Sent, contended, done, send};
use crate::table::{Clock, Condition, Item, Key, Table, Update};
use chat_memory_core::SessionId;
use chat_memory_core::error::Error;
use chat_memory_core::store::{AppendId, Cost, Redacted, Redaction};

impl<T: Table, C: Clock> Turns<T, C> {
    /// Redacts a record. Its item keeps everything but the entries, on the condition that it is the one that was read. The parts of
    /// the old entries are named in the item until they are deleted, so that a repeat, or a sweep, completes that.
    pub(crate) async fn redact(&self, session: &SessionId, seq: u64, redaction: &Redaction) -> Result<Redacted, Error> {
        if !redaction.is_dry_run() {
            self.writable()?;
        }
        redaction.check()?;
        let pk = self.common.partitions.session(session);
        if seq > MAX_SEQ {
            return Err(Redaction::missing(session, seq));
        }
        let key = Key { pk, sk: record_sk(seq) };
        let (mut retry, mut cost) = (self.retry(), Cost::default());
        // A try that may have landed, though its answer was lost and others have written since.
        let mut tried: Option<Redacted> = None;
        loop {
            if retry.is_over() {
                return Err(contended(session, seq));
            }
            let range = records(key.pk.clone(), seq, seq);
            let page = retry!(retry, self.table.page(&range, None, &mut cost))?;
            let Some(item) = page.items.first() else { return Err(Redaction::missing(session, seq)) };
            let mut head = item::decode(item, self.settings.record)?;
            if head.is_stub() {
                return Err(Redaction::erased(session, seq));
            }
            let Some(record) = self.whole_record(&key.pk, &mut head, &mut cost, &mut retry).await? else {
                retry.wait(TORN_MS).await;
                continue;
            };
            let redacted = redaction.apply(session, record, self.clock.now().wall)?;
            if redaction.is_dry_run() {
                return Ok(redacted.with_cost(cost));
            }
            if let Some(left) = &head.old_parts {
                // An earlier redaction was cut off.
                self.erase_old_parts(&key, head.append_id, left, item.attributes.get(REV).cloned(), &mut cost, &mut retry)
                    .await?;
                if redacted.changed {
                    continue;
                }
            }
            if !redacted.changed {
                return Ok(done(redacted, tried).with_cost(cost));
            }
            let ttl = self.ttl_name(&mut cost, &mut retry).await?;
            let encoded = item::encode(&key.pk, &redacted.after, &ttl, self.settings)?;
            let rev = Some(AttributeValue::B(Blob::new(AppendId::random().as_bytes())));
            let sent = self.replace_entries(item, &encoded, &rev, head.parts(), &mut cost, &mut retry).await?;
            if let Sent::Refused { in_doubt } = sent {
                tried = in_doubt.then_some(redacted).or(tried);
                retry.wait(TORN_MS).await;
                continue;
            }
            if let Some(old) = head.parts() {
                self.erase_old_parts(&key, head.append_id, old, rev, &mut cost, &mut retry).await?;
            }
            return Ok(redacted.with_cost(cost));
        }
    }

    /// Puts these entries in place of an item's own, and names the parts of the old ones.
    async fn replace_entries(
        &self,
        read: &Item,
        encoded: &Encoded,
        rev: &Option<AttributeValue>,
        old: Option<&PartsOf>,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<Sent, Error> {
        for part in &encoded.parts {
            let mut part = part.clone();
            // A sweep of the table must not take them for those of an append that died long ago.
            part.attributes.insert(CREATED_AT.to_owned(), millis(self.clock.now().wall));
            retry!(retry, self.table.put(&part, &[], cost))?;
        }
        let as_read = |name: &str| Condition::equals(name, read.attributes.get(name).cloned());
        let replaced = [MESSAGES, CODEC, PARTS, PARTS_ID].map(|name| (name.to_owned(), encoded.attributes.get(name).cloned()));
        let update = Update {
            key: read.key.clone(),
            conditions: [APPEND_ID, CREATED_AT, CLEARED_BY, REV, OLD_PARTS].map(as_read).into(),
            set: replaced
                .into_iter()
                .chain([(REV.to_owned(), rev.clone()), (OLD_PARTS.to_owned(), old.map(item::old_parts))])
                .collect(),
            ..Update::default()
        };
        let written: Vec<_> = encoded.parts.iter().map(|part| part.key.clone()).collect();
        send(&self.table, (&update, REV), &written, cost, retry).await
    }

    /// Deletes the parts of entries that were redacted, and their name from the record.
    async fn erase_old_parts(
        &self,
        key: &Key,
        append_id: AppendId,
        old: &PartsOf,
        rev: Option<AttributeValue>,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<(), Error> {
        let erased = async {
            self.delete_parts(key, old, cost, retry).await?;
            let conditions = vec![written_by(append_id), Condition::equals(REV, rev), Condition::equals(CLEARED_BY, None)];
            let bare = Update { key: key.clone(), conditions, set: vec![(OLD_PARTS.to_owned(), None)], ..Update::default() };
            // If it is refused, another redaction or a sweep has come to it.
            retry!(retry, self.table.update(&bare, cost)).map(drop)
        };
        erased.await.map_err(|e: Error| {
            e.context("the record is redacted, but its old text is not erased yet; repeat the redaction to finish")
        })
    }
}
