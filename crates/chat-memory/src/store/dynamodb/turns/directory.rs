//! The directory: one entry a session, in partitions of its own, newest first.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Map, Value};

use super::item::{Links, PURGED_AFTER_S, check_version};
use super::{Turns, persist};
use crate::error::{Error, ErrorKind};
use crate::session::{Owner, SessionId};
use crate::store::directory::Cursor;
use crate::store::dynamodb::names::*;
use crate::store::dynamodb::table::{Attributes, Clock, Created, Fault, Item, Key, NewItem, Range, Table};
use crate::store::{AppendId, Receipt, SessionInfo, SessionOrder, SessionPage, SessionQuery, SessionUpdate};

/// The entries of a page, where the query does not say.
const PAGE: usize = 100;

impl<T: Table, C: Clock> Turns<T, C> {
    pub(super) fn entry_key(&self, session: &SessionId, owner: Option<&Owner>, began: i64) -> Key {
        Key { pk: self.settings.partitions.directory(owner, shard(session)), sk: entry_sk(began, session) }
    }

    /// An entry lives half as long again as a record, and is refreshed by the first record of each half of a record's life: so
    /// it outlives the session's last record, at two writes in a record's life.
    fn entry_expiry(&self) -> Option<i64> {
        let retention_s = i64::try_from(self.settings.retention_s?).ok()?;
        // By the clock at each try: a process that stood still for a day must not shorten an entry's life.
        let now_s = self.clock.now().wall_ms.div_euclid(1000);
        Some(now_s + retention_s + retention_s / 2 + PURGED_AFTER_S)
    }

    /// Whether the record written now is the first of its half of a life, counted from the session's beginning.
    pub(super) fn entry_is_due(&self, began: i64, last_ms: i64) -> bool {
        let Some(retention_s) = self.settings.retention_s else { return false };
        let half_ms = i64::try_from(retention_s).unwrap_or(i64::MAX).saturating_mul(500).max(1);
        let half_of = |ms: i64| ms.saturating_sub(began).div_euclid(half_ms);
        half_of(self.clock.now().wall_ms) > half_of(last_ms)
    }

    async fn with_expiry(&self, attributes: &mut Attributes, receipt: &mut Receipt) -> Result<(), Fault> {
        if let Some(at) = self.entry_expiry() {
            let ttl = self.table.ttl_attribute(receipt).await?;
            attributes.insert(EXPIRES_AT.to_owned(), AttributeValue::N(at.to_string()));
            attributes.insert(ttl, AttributeValue::N((at + PURGED_AFTER_S).to_string()));
        }
        Ok(())
    }

    /// Makes the entry of a start by this append. Whether it is there as this start's own: where another has begun the session in the
    /// same millisecond, its entry stands there, which is not to be shared, since whoever turns out to have lost takes its own away.
    pub(super) async fn start_entry(
        &self,
        session: &SessionId,
        links: &Links,
        title: Option<&str>,
        starter: AppendId,
        receipt: &mut Receipt,
    ) -> Result<bool, Fault> {
        let starter = AttributeValue::B(Blob::new(starter.as_bytes()));
        let there = self.make_entry(session, links, title, Some(starter.clone()), receipt).await?;
        Ok(there.is_none_or(|there| there.attributes.get(APPEND_ID) == Some(&starter)))
    }

    /// Makes an entry, or leaves the one that is there as it is, and returns that.
    async fn make_entry(
        &self,
        session: &SessionId,
        links: &Links,
        title: Option<&str>,
        starter: Option<AttributeValue>,
        receipt: &mut Receipt,
    ) -> Result<Option<Item>, Fault> {
        let Some(began) = links.began else { return Ok(None) };
        let mut attributes = Attributes::from([(VERSION.to_owned(), AttributeValue::N(FORMAT_VERSION.to_string()))]);
        attributes.extend(starter.map(|starter| (APPEND_ID.to_owned(), starter)));
        if let Some(title) = title {
            attributes.insert(TITLE.to_owned(), AttributeValue::S(title.to_owned()));
        }
        self.with_expiry(&mut attributes, receipt).await?;
        let key = self.entry_key(session, links.owner.as_ref(), began);
        // Not over one that is there: a copy of this request that arrives late must not take back a title set since.
        let new = NewItem { item: Item { key, attributes }, beside: None };
        Ok(match self.table.create(&new, receipt).await? {
            Created::Taken(there) => Some(there),
            Created::Done | Created::NotBeside => None,
        })
    }

    pub(super) async fn refresh_entry(&self, session: &SessionId, links: &Links, receipt: &mut Receipt) -> Result<(), Fault> {
        let Some(began) = links.began else { return Ok(()) };
        let mut expiry = Attributes::new();
        self.with_expiry(&mut expiry, receipt).await?;
        let set: Vec<_> = expiry.iter().map(|(name, value)| (name.as_str(), Some(value.clone()))).collect();
        let key = self.entry_key(session, links.owner.as_ref(), began);
        match self.table.update(&key, &set, receipt).await? {
            Some(_) => Ok(()),
            // It was purged early or taken away by hand: a session with messages is listed.
            None => self.make_entry(session, links, None, None, receipt).await.map(drop),
        }
    }

    pub(super) async fn remove_entry(&self, session: &SessionId, links: &Links, receipt: &mut Receipt) -> Result<(), Fault> {
        let Some(began) = links.began else { return Ok(()) };
        self.table.delete(&self.entry_key(session, links.owner.as_ref(), began), receipt).await
    }

    pub(crate) async fn sessions(&self, query: &SessionQuery) -> Result<SessionPage, Error> {
        if query.order != SessionOrder::Started {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "sessions by last activity: a DynamoDB table does not sort them so yet; list them by start",
            ));
        }
        let limit = query.limit.unwrap_or(PAGE).max(1);
        let after = query.cursor()?;
        let after = after.map(|Cursor { at, id, .. }| SessionId::new(id).map(|id| entry_sk(at, &id))).transpose()?;
        let now_s = self.clock.now().wall_ms.div_euclid(1000);
        let mut receipt = Receipt::default();
        let mut found: Vec<SessionInfo> = Vec::new();
        let mut more = false;
        for shard in 0..SHARDS {
            let mut patience = self.patience();
            let range = Range {
                pk: self.settings.partitions.directory(query.owner.as_ref(), shard),
                from: "d#".to_owned(),
                to: "d#~".to_owned(),
                newest_first: true,
                limit: u32::try_from(limit).ok(),
                eventual: self.settings.eventual,
                only: None,
            };
            let (mut after, mut of_shard) = (after.clone(), 0);
            loop {
                let page = persist!(patience, self.table.page(&range, after.as_deref(), &mut receipt))?;
                for item in &page.items {
                    let (info, expires_at) = entry(item, query.owner.as_ref())?;
                    if expires_at.is_none_or(|at| at > now_s) {
                        found.push(info);
                        of_shard += 1;
                    }
                }
                after = page.after;
                if after.is_none() || of_shard >= limit {
                    more |= after.is_some();
                    break;
                }
            }
        }
        // The newest of all shards. Two entries of one session are left by a start that failed half-way: the newer counts.
        found.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        more |= found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|info| Cursor::after(info, SessionOrder::Started).to_string());
        let mut page = SessionPage::new(found, next);
        page.receipt = receipt;
        Ok(page)
    }

    /// A page of all entries: one of a scan of the whole table, since no key holds them together.
    pub(crate) async fn every_session(&self, after: Option<&str>) -> Result<SessionPage, Error> {
        let after = after.map(parse_scan).transpose()?;
        let mut receipt = Receipt::default();
        let mut patience = self.patience();
        let only = [VERSION, TITLE, METADATA, EXPIRES_AT];
        let page = persist!(patience, self.table.scan(&only, after.as_ref(), &mut receipt))?;
        let now_s = self.clock.now().wall_ms.div_euclid(1000);
        let mut found = Vec::new();
        for item in &page.items {
            let Some(owner) = self.settings.partitions.owner_of_directory(&item.key.pk) else { continue };
            let damaged = |e: Error| Error::corrupt(format!("{:?} is no partition of the directory: {e}", item.key.pk));
            let owner = if owner.is_empty() { None } else { Some(Owner::new(owner).map_err(damaged)?) };
            let (info, expires_at) = entry(item, owner.as_ref())?;
            if expires_at.is_none_or(|at| at > now_s) {
                found.push(info);
            }
        }
        let mut page = SessionPage::new(found, page.after.as_ref().map(spell_scan));
        page.receipt = receipt;
        Ok(page)
    }

    /// The key of a session's entry: its last record names it.
    async fn find_entry(&self, session: &SessionId) -> Result<Option<(Key, Option<Owner>)>, Error> {
        let pk = self.settings.partitions.session(session);
        let links = self.tail(&pk, &mut Receipt::default(), &mut self.patience()).await?.links();
        Ok(links.began.map(|began| (self.entry_key(session, links.owner.as_ref(), began), links.owner)))
    }

    pub(crate) async fn session(&self, session: &SessionId) -> Result<Option<SessionInfo>, Error> {
        let Some((key, owner)) = self.find_entry(session).await? else { return Ok(None) };
        let mut patience = self.patience();
        let item = persist!(patience, self.table.get(&key, &mut Receipt::default()))?;
        item.map(|item| entry(&item, owner.as_ref()).map(|(info, _)| info)).transpose()
    }

    pub(crate) async fn update_session(&self, session: &SessionId, update: &SessionUpdate) -> Result<Option<SessionInfo>, Error> {
        update.check()?;
        self.writable()?;
        let Some((key, owner)) = self.find_entry(session).await? else { return Ok(None) };
        let mut set = Vec::new();
        if let Some(title) = &update.title {
            set.push((TITLE, title.clone().map(AttributeValue::S)));
        }
        if let Some(metadata) = &update.metadata {
            let json = metadata.clone().map(|fields| AttributeValue::S(Value::Object(fields).to_string()));
            set.push((METADATA, json));
        }
        if set.is_empty() {
            return self.session(session).await;
        }
        let mut patience = self.patience();
        let item = persist!(patience, self.table.update(&key, &set, &mut Receipt::default()))?;
        item.map(|item| entry(&item, owner.as_ref()).map(|(info, _)| info)).transpose()
    }
}

/// Where a scan goes on, as text.
pub(super) fn spell_scan(key: &Key) -> String {
    BASE64.encode(serde_json::json!([key.pk, key.sk]).to_string())
}

pub(super) fn parse_scan(cursor: &str) -> Result<Key, Error> {
    let read = || {
        let (pk, sk) = serde_json::from_slice(&BASE64.decode(cursor).ok()?).ok()?;
        Some(Key { pk, sk })
    };
    read().ok_or_else(|| Error::invalid("that cursor is not of a listing of all sessions; start from its first page"))
}

/// A directory entry's item, and when it is hidden.
pub(super) fn entry(item: &Item, owner: Option<&Owner>) -> Result<(SessionInfo, Option<i64>), Error> {
    check_version(item)?;
    let wrong = |what: &str| Error::corrupt(format!("the directory entry {:?} in {:?} has {what}", item.key.sk, item.key.pk));
    let (created_at, id) = entry_of(&item.key.sk).ok_or_else(|| wrong("a key that is not a directory entry's"))?;
    let text = |name: &str| match item.attributes.get(name) {
        None => Ok(None),
        Some(AttributeValue::S(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(&format!("an attribute {name:?} that is not a string"))),
    };
    let metadata: Option<Map<String, Value>> = match text(METADATA)? {
        None => None,
        Some(json) => Some(serde_json::from_str(&json).map_err(|_| wrong("metadata that is not a JSON object"))?),
    };
    let expires_at = match item.attributes.get(EXPIRES_AT) {
        Some(AttributeValue::N(at)) => at.parse().ok(),
        _ => None,
    };
    Ok((SessionInfo { id, owner: owner.cloned(), title: text(TITLE)?, metadata, created_at, last_at: None }, expires_at))
}
