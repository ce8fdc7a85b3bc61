//! Lists sessions, by start or by last activity; reads and changes the title and metadata of one.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::Value;

use super::directory::of_existing;
use super::entry::{bare_entry, entry, entry_in};
use super::{Rule, Turns, retry};
use crate::common::names::*;
use crate::table::{Clock, Condition, Item, Key, Range, Scan, Table, Updated};
use chat_memory_core::backend::{Cursor, place};
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::{AppendId, Cost, SessionInfo, SessionOrder, SessionPage, SessionQuery, SessionUpdate};
use chat_memory_core::{Owner, SessionId};

/// The default number of entries in a page.
const PAGE: usize = 100;

/// How many sessions a listing reads at once.
const LOOKS_AT_ONCE: usize = 16;

/// An owner with more sessions gets a list by start even if the last activity was requested.
const MOST_BY_ACTIVITY: usize = 1_000;

impl<T: Table, C: Clock> Turns<T, C> {
    /// Whether an entry's session names it and has not expired, unless `expired` ones count, too.
    async fn has_entry(&self, session: &SessionId, key: &Key, expired: bool, cost: &mut Cost) -> Result<bool, Error> {
        let pk = self.common.partitions.session(session);
        let mut retry = self.retry();
        let tail = self.tail(&pk, cost, &mut retry).await?;
        let began = if expired { tail.links().began } else { self.living(&pk, &tail, cost, &mut retry).await? };
        Ok(began.is_some_and(|began| self.entry_key(session, tail.links().owner.as_ref(), began) == *key))
    }

    /// Adds the entries among these items to a page, if they are to be listed, or are `expired` ones that are wanted, too. What cannot be read is named in a warning, and hides
    /// nothing else.
    async fn show(&self, items: &[Item], expired: bool, page: &mut SessionPage) -> Result<(), Error> {
        let now = self.clock.now().wall;
        let mut found = Vec::with_capacity(items.len());
        for item in items {
            match entry_in(&self.common.partitions, item) {
                None => {}
                Some(Ok(entry)) => {
                    let shown = entry.is_shown(now).filter(|shown| *shown || !expired);
                    found.push((&item.key, entry, shown));
                }
                Some(Err(error)) if error.is_corrupt() || error.is_unsupported() => {
                    page.warnings.push(error.to_string());
                    // Its content is lost, but not its session: that is listed if its log names this entry.
                    found.extend(bare_entry(&self.common.partitions, &item.key).map(|entry| (&item.key, entry, None)));
                }
                Some(Err(error)) => return Err(error),
            }
        }
        let mut asked: Vec<_> = found.iter_mut().filter(|(_, _, shown)| shown.is_none()).collect();
        for batch in asked.chunks_mut(LOOKS_AT_ONCE) {
            let looks = batch.iter().map(|(key, entry, _)| async {
                let mut cost = Cost::default();
                (self.has_entry(&entry.info.id, key, expired, &mut cost).await, cost)
            });
            for (place, (has, cost)) in futures_util::future::join_all(looks).await.into_iter().enumerate() {
                page.cost += cost;
                batch[place].2 = match has {
                    // The session exists but cannot be read: it is listed, and loading it reports what is wrong.
                    Err(error) if error.is_corrupt() || error.is_unsupported() => Some(true),
                    has => Some(has? || !self.keeps(Rule::Verify)),
                };
            }
        }
        page.sessions.extend(found.into_iter().filter(|(_, _, shown)| *shown == Some(true)).map(|(_, entry, _)| entry.info));
        Ok(())
    }

    /// Adds sessions of one shard of an owner's directory to a page, newest first, starting after `after`, until there are `limit`
    /// more. Returns whether the shard continues.
    async fn show_shard(
        &self,
        owner: Option<&Owner>,
        shard: u32,
        mut after: Option<String>,
        (limit, expired): (usize, bool),
        page: &mut SessionPage,
    ) -> Result<bool, Error> {
        let range = Range {
            pk: self.common.partitions.directory(owner, shard),
            from: "d#".to_owned(),
            to: "d#~".to_owned(),
            newest_first: true,
            limit: u32::try_from(limit).ok(),
            eventual: self.common.eventual,
            only: None,
        };
        let until = page.sessions.len().saturating_add(limit);
        loop {
            let mut retry = self.retry();
            let read = retry!(retry, self.table.page(&range, after.as_deref(), &mut page.cost))?;
            self.show(&read.items, expired, page).await?;
            after = read.after;
            if after.is_none() || page.sessions.len() >= until {
                return Ok(after.is_some());
            }
        }
    }

    /// An owner's sessions by last activity, after a cursor: reads and sorts all entries. `None` if there are too many.
    async fn by_activity(
        &self,
        query: &SessionQuery,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Option<SessionPage>, Error> {
        let order = SessionOrder::Recent;
        let mut page = SessionPage::new(Vec::new(), None).in_order(order);
        for shard in 0..SHARDS {
            // A list that was short at its first page is read to its end.
            let most = if cursor.is_some() { usize::MAX } else { MOST_BY_ACTIVITY + 1 - page.sessions.len() };
            self.show_shard(query.owner.as_ref(), shard, None, (most, query.expired), &mut page).await?;
            if cursor.is_none() && page.sessions.len() > MOST_BY_ACTIVITY {
                return Ok(None);
            }
        }
        page.sessions.retain(|info| cursor.is_none_or(|cursor| cursor.is_before(info)));
        page.sessions.sort_by(|a, b| (place(b, order), &b.id).cmp(&(place(a, order), &a.id)));
        let more = page.sessions.len() > limit;
        page.sessions.truncate(limit);
        page.next = page.sessions.last().filter(|_| more).map(|info| Cursor::after(info, order).to_string());
        Ok(Some(page))
    }

    pub(crate) async fn sessions(&self, query: &SessionQuery) -> Result<SessionPage, Error> {
        if query.any_owner {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the sessions of all owners cannot be sorted on DynamoDB: each owner's are in partitions of their own; list all in no \
                 order (`chat-memory sessions --all`), or those of an owner",
            ));
        }
        let limit = query.limit.unwrap_or(PAGE).max(1);
        let after = query.cursor()?;
        if query.order == SessionOrder::Recent
            && after.as_ref().is_none_or(|cursor| !cursor.by_start)
            && let Some(page) = self.by_activity(query, after.as_ref(), limit).await?
        {
            return Ok(page);
        }
        let after = after.map(|Cursor { at, id, .. }| SessionId::new(id).map(|id| entry_sk(at, &id))).transpose()?;
        let mut page = SessionPage::new(Vec::new(), None);
        let mut more = false;
        for shard in 0..SHARDS {
            more |= self.show_shard(query.owner.as_ref(), shard, after.clone(), (limit, query.expired), &mut page).await?;
        }
        // The newest of all shards.
        page.sessions.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        more |= page.sessions.len() > limit;
        page.sessions.truncate(limit);
        page.next = page.sessions.last().filter(|_| more).map(|info| Cursor::after_by_start(info, query.order).to_string());
        Ok(page)
    }

    /// A page of all entries: a page of a scan of the whole table, since no key groups them.
    pub(crate) async fn list_all_sessions(&self, after: Option<&str>) -> Result<SessionPage, Error> {
        let after = after.map(parse_scan).transpose()?;
        let mut page = SessionPage::new(Vec::new(), None);
        let mut retry = self.retry();
        let only = [VERSION, TITLE, METADATA, EXPIRES_AT, SURE_UNTIL, LAST_AT, FIRST_SEQ, NEXT_SEQ];
        let scan = Scan { only: Some(&only), ..Scan::default() };
        let read = retry!(retry, self.table.scan(&scan, after.as_ref(), &mut page.cost))?;
        self.show(&read.items, false, &mut page).await?;
        let of_namespaces = read.items.iter().find_map(|item| self.common.partitions.anothers(&item.key.pk));
        page.warnings.extend(of_namespaces.map(not_of_namespaces));
        page.next = read.after.as_ref().map(spell_scan);
        Ok(page)
    }

    /// The key of a session's entry, which its last record names.
    async fn find_entry(&self, session: &SessionId) -> Result<Option<(Key, Option<Owner>)>, Error> {
        let pk = self.common.partitions.session(session);
        let (mut cost, mut retry) = (Cost::default(), self.retry());
        let tail = self.tail(&pk, &mut cost, &mut retry).await?;
        let began = self.living(&pk, &tail, &mut cost, &mut retry).await?;
        let owner = tail.links().owner;
        Ok(began.map(|began| (self.entry_key(session, owner.as_ref(), began), owner)))
    }

    pub(crate) async fn session(&self, session: &SessionId) -> Result<Option<SessionInfo>, Error> {
        let Some((key, owner)) = self.find_entry(session).await? else { return Ok(None) };
        let mut retry = self.retry();
        let item = retry!(retry, self.table.get(&key, false, &mut Cost::default()))?;
        item.map(|item| Ok(entry(&item, owner.as_ref())?.info)).transpose()
    }

    pub(crate) async fn update_session(&self, session: &SessionId, update: &SessionUpdate) -> Result<Option<SessionInfo>, Error> {
        update.check()?;
        self.writable()?;
        let mut set = Vec::new();
        if let Some(title) = &update.title {
            set.push((TITLE.to_owned(), title.clone().map(AttributeValue::S)));
        }
        if let Some(metadata) = &update.metadata {
            let json = metadata.clone().map(|fields| AttributeValue::S(Value::Object(fields).to_string()));
            set.push((METADATA.to_owned(), json));
        }
        if set.is_empty() {
            return self.session(session).await;
        }
        let (mut retry, mut cost) = (self.retry(), Cost::default());
        // Each round replaces only what it read, and leaves a mark of its own. So neither a late copy of a request nor the repeat
        // of one whose response was lost undoes a later change.
        while !retry.is_over() {
            let Some((key, owner)) = self.find_entry(session).await? else { return Ok(None) };
            let Some(read) = retry!(retry, self.table.get(&key, false, &mut cost))? else { return Ok(None) };
            let rev = AttributeValue::B(Blob::new(AppendId::random().as_bytes()));
            let mut update = of_existing(key, set.clone());
            update.set.push((REV.to_owned(), Some(rev.clone())));
            if self.keeps(Rule::PatchAsRead) {
                update.conditions.push(Condition::equals(REV, read.attributes.get(REV).cloned()));
            }
            loop {
                match self.table.update(&update, &mut cost).await {
                    Ok(Updated::Done(item)) => return entry(&item, owner.as_ref()).map(|entry| Some(entry.info)),
                    Ok(Updated::Refused(Some(item))) if item.attributes.get(REV) == Some(&rev) => {
                        return entry(&item, owner.as_ref()).map(|entry| Some(entry.info));
                    }
                    // Changed, moved or ended since it was read.
                    Ok(Updated::Refused(_)) => break,
                    Err(fault) => retry.after(fault).await?,
                }
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("session {session} not updated: other writers changed it for {} ms; retry", retry.deadline.as_millis()),
        ))
    }
}

/// Where a scan continues, as text.
pub(super) fn spell_scan(key: &Key) -> String {
    BASE64.encode(serde_json::json!([key.pk, key.sk]).to_string())
}

pub(super) fn parse_scan(cursor: &str) -> Result<Key, Error> {
    let read = || {
        let (pk, sk) = serde_json::from_slice(&BASE64.decode(cursor).ok()?).ok()?;
        Some(Key { pk, sk })
    };
    read()
        .ok_or_else(|| Error::invalid("invalid cursor: it does not belong to a list of all sessions; start from the first page"))
}
