//! The directory: one entry a session, in partitions of its own, newest first.
//!
//! But for a change of title or metadata, every write to an entry is in one transaction with a record of its session: so the log orders
//! them. The rules are those of docs/design.md, "The directory".

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Map, Value};

use super::append::{Attempt, Plan};
use super::belief::Belief;
use super::item::{self, Life, Links, check_version};
use super::{Patience, Rule, Turns, persist};
use crate::error::Error;
use crate::session::{Owner, SessionId};
use crate::store::directory::{Cursor, place};
use crate::store::dynamodb::names::*;
use crate::store::dynamodb::table::{Attributes, Change, Clock, Item, Key, Range, Table, Updated};
use crate::store::{AppendId, Lasts, Receipt, SessionInfo, SessionOrder, SessionPage, SessionQuery, SessionUpdate};

/// The entries of a page, where the query does not say.
const PAGE: usize = 100;

/// By how much an entry may be listed longer than its session surely lasts: a tenth of the retention, at most this. With the hour below
/// it, an entry is purged no later than the last record of its session, which DynamoDB keeps for a day.
const MOST_MARGIN_S: i64 = 23 * 60 * 60;

/// How long what a delete of nothing wrote lives, in seconds: an hour as any record at the least, so that it is purged no earlier than the
/// positions of before it are too old.
const BLOCKS_S: i64 = 60 * 60;

/// How long DynamoDB keeps an entry after it is hidden, in seconds.
const ENTRY_PURGED_AFTER_S: i64 = 60 * 60;

/// How many sessions a listing looks at, at once.
const LOOKS_AT_ONCE: usize = 16;

/// How often the time of a session's last activity is written, in milliseconds.
const ACTIVITY_MS: i64 = 60 * 60 * 1000;

/// An owner with more sessions is listed by start where the last activity was asked for.
const MOST_BY_ACTIVITY: usize = 1_000;

/// An entry, as it is stored.
pub(super) struct Entry {
    info: SessionInfo,
    /// Until when its session surely lasts. `None` in an entry of the version before: only the session itself tells.
    sure: Option<Lasts>,
    /// From when on it is hidden.
    hidden: Lasts,
}

impl Entry {
    pub(super) fn session(&self) -> SessionId {
        self.info.id.clone()
    }

    /// Whether the version before wrote it.
    pub(super) fn is_before(&self) -> bool {
        self.sure.is_none()
    }

    /// Whether it is to be shown; `None` where its session's newest record tells.
    fn is_shown(&self, now_s: i64) -> Option<bool> {
        match self.sure {
            Some(sure) if !sure.has_passed(now_s) => Some(true),
            Some(_) if self.hidden.has_passed(now_s) => Some(false),
            _ => None,
        }
    }
}

impl<T: Table, C: Clock> Turns<T, C> {
    pub(super) fn entry_key(&self, session: &SessionId, owner: Option<&Owner>, began: i64) -> Key {
        Key { pk: self.settings.partitions.directory(owner, shard(session)), sk: entry_sk(began, session) }
    }

    /// Until when an entry may be listed whose session surely lasts until then.
    fn listed(&self, sure: Lasts) -> Lasts {
        let Lasts::Until(at) = sure else { return Lasts::Forever };
        let retention_s = self.settings.retention_s.map_or(0, |s| i64::try_from(s).unwrap_or(i64::MAX));
        Lasts::Until(at.saturating_add((retention_s / 10).min(MOST_MARGIN_S)))
    }

    /// What an entry says of how long it is listed.
    async fn listing(
        &self,
        sure: Lasts,
        listed: Lasts,
        receipt: &mut Receipt,
        patience: &mut Patience<'_, C>,
    ) -> Result<Vec<(String, Option<AttributeValue>)>, Error> {
        let number = |at: i64| Some(AttributeValue::N(at.to_string()));
        let hidden = listed.seconds();
        let ttl = self.ttl_name(receipt, patience).await?;
        let purged = hidden.map(|at| at.saturating_add(ENTRY_PURGED_AFTER_S));
        Ok(vec![
            (SURE_UNTIL.to_owned(), number(sure.seconds().unwrap_or(0))),
            (EXPIRES_AT.to_owned(), hidden.and_then(number)),
            (ttl, purged.and_then(number)),
        ])
    }

    /// What an append writes behind this end of the log: whether it continues the session, starts one, or ends it.
    pub(super) async fn plan(
        &self,
        attempt: &mut Attempt<'_>,
        belief: &Belief,
        patience: &mut Patience<'_, C>,
    ) -> Result<Plan, Error> {
        let below = belief.links();
        let now = self.clock.now();
        let now_s = now.wall_ms.div_euclid(1000);
        let life = self.life(&attempt.pk, belief, &mut attempt.receipt, patience).await?;
        let is_forced = belief.last_id().is_some_and(|id| attempt.without_entry == Some((id, true)));
        let lives = life.filter(|life| !life.lasts.has_passed(now_s) || !self.keeps(Rule::ExpiredStartsAnew));
        let existed = lives.is_some();
        let entry_below = below.began.or(below.ended).map(|at| self.entry_key(attempt.session, below.owner.as_ref(), at));
        if attempt.ends {
            let links = Links { last_entry: below.entry_before(), ..Links::default() };
            let changes = entry_below.into_iter().map(Change::Delete).collect();
            let blocks_at = below.began.is_none().then_some(now_s + BLOCKS_S);
            if blocks_at.is_some() {
                attempt.ttl = self.ttl_name(&mut attempt.receipt, patience).await?;
            }
            return Ok(Plan { links, changes, blocks_at, existed });
        }
        if let (Some(began), Some(life), false) = (below.began, lives, is_forced) {
            let lasts = if self.keeps(Rule::LatestExpiry) { life.lasts.max(attempt.lasts) } else { attempt.lasts };
            let (mut listed, mut changes) = (life.listed, Vec::new());
            if lasts > listed && self.keeps(Rule::Raise) {
                listed = self.listed(lasts);
                let set = self.listing(lasts, listed, &mut attempt.receipt, patience).await?;
                let key = self.entry_key(attempt.session, below.owner.as_ref(), began);
                changes.push(Change::Update(key, set));
            }
            let links = Links { began: Some(began), owner: below.owner, life: Some(Life { lasts, listed }), ..Links::default() };
            return Ok(Plan { links, changes, blocks_at: None, existed });
        }
        // Later than the entry that ended: nothing that is still under way to that one can meet this one.
        let earliest = below.entry_before().filter(|_| self.keeps(Rule::EntryIsNew)).map_or(i64::MIN, |at| at + 1);
        let began = attempt.began.unwrap_or_else(|| attempt.append.starts_at(attempt.record.created_at)).max(earliest);
        attempt.began = Some(began);
        let owner = attempt.append.owner().cloned();
        let (lasts, listed) = (attempt.lasts, self.listed(attempt.lasts));
        let mut attributes = Attributes::from([(VERSION.to_owned(), AttributeValue::N(FORMAT_VERSION.to_string()))]);
        attributes.extend(attempt.append.title().map(|title| (TITLE.to_owned(), AttributeValue::S(title.to_owned()))));
        let set = match lasts {
            // Without a retention nobody need ask by which attribute the table purges.
            Lasts::Forever => vec![(SURE_UNTIL.to_owned(), Some(AttributeValue::N("0".to_owned())))],
            Lasts::Until(_) => self.listing(lasts, listed, &mut attempt.receipt, patience).await?,
        };
        attributes.extend(set.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let entry = Item { key: self.entry_key(attempt.session, owner.as_ref(), began), attributes };
        let mut changes = vec![Change::Put(entry)];
        changes.extend(entry_below.map(Change::Delete));
        let links = Links { began: Some(began), owner, life: Some(Life { lasts, listed }), ..Links::default() };
        Ok(Plan { links, changes, blocks_at: None, existed })
    }

    /// How long the session lasts that this end of the log belongs to; `None` where there is none.
    async fn life(
        &self,
        pk: &str,
        belief: &Belief,
        receipt: &mut Receipt,
        patience: &mut Patience<'_, C>,
    ) -> Result<Option<Life>, Error> {
        let Some(last) = belief.last.as_ref().filter(|last| last.links.began.is_some()) else { return Ok(None) };
        if last.links.life.is_some() {
            return Ok(last.links.life);
        }
        // A record of the version before: the log tells how long its session lasts, and what its entry says may be wrong.
        let lasts = match last.expires_at {
            None => Lasts::Forever,
            Some(_) => self.longest(pk, &last.links, receipt, patience).await?,
        };
        Ok(Some(Life { lasts, listed: Lasts::Until(i64::MIN) }))
    }

    /// The latest expiry of the records at the log's end that name this entry.
    async fn longest(
        &self,
        pk: &str,
        links: &Links,
        receipt: &mut Receipt,
        patience: &mut Patience<'_, C>,
    ) -> Result<Lasts, Error> {
        const ASKED: [&str; 10] =
            [VERSION, APPEND_ID, CREATED_AT, EXPIRES_AT, REWIND, CLEARED_BY, BEGAN, OWNER, LASTS_UNTIL, LISTED_UNTIL];
        let range = Range { only: Some(&ASKED), ..records(pk.to_owned(), 0, MAX_SEQ) };
        let (mut after, mut longest) = (None, Lasts::Until(i64::MIN));
        loop {
            let page = persist!(patience, self.table.page(&range, after.as_deref(), receipt))?;
            for item in &page.items {
                let head = item::decode_without_messages(item)?;
                if head.links.began != links.began || longest == Lasts::Forever {
                    return Ok(longest);
                }
                if !head.is_stub() {
                    longest = longest.max(head.links.life.map_or(Lasts::of(head.expires_at), |life| life.lasts));
                }
            }
            after = page.after;
            if after.is_none() {
                return Ok(longest);
            }
        }
    }

    /// Notes in its entry that a session is in use, in the first record of each hour of its life. A hint for the order of a list: it is tried
    /// once, and where that fails, the next hour's first record does it.
    pub(super) async fn touch(&self, session: &SessionId, links: &Links, below: &Belief, receipt: &mut Receipt) {
        let (Some(began), Some(last)) = (links.began, &below.last) else { return };
        let now_ms = self.clock.now().wall_ms;
        let hour = |ms: i64| ms.saturating_sub(began).div_euclid(ACTIVITY_MS);
        if last.links.began != links.began || hour(now_ms) <= hour(last.created_at) {
            return;
        }
        let set = [(LAST_AT, Some(AttributeValue::N(now_ms.to_string())))];
        let _ = self.table.update(&self.entry_key(session, links.owner.as_ref(), began), &set, None, receipt).await;
    }

    /// The session that an end of the log belongs to, if it has not expired: when its entry was made.
    async fn living(
        &self,
        pk: &str,
        belief: &Belief,
        receipt: &mut Receipt,
        patience: &mut Patience<'_, C>,
    ) -> Result<Option<i64>, Error> {
        let life = self.life(pk, belief, receipt, patience).await?;
        let now_s = self.clock.now().wall_ms.div_euclid(1000);
        Ok(life.filter(|life| !life.lasts.has_passed(now_s)).and(belief.links().began))
    }

    /// Brings an entry of the version before into today's form, if the session at whose log's end it is named still has it so. Whether it did.
    pub(super) async fn renew_entry(
        &self,
        pk: &str,
        key: &Key,
        end: &Belief,
        receipt: &mut Receipt,
        patience: &mut Patience<'_, C>,
    ) -> Result<bool, Error> {
        let Some(Life { lasts, .. }) = self.life(pk, end, receipt, patience).await? else { return Ok(false) };
        let set = self.listing(lasts, self.listed(lasts), receipt, patience).await?;
        let set: Vec<_> = set.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        // A record that came since has brought it into this form itself, with a later time.
        let updated = persist!(patience, self.table.update(key, &set, Some((SURE_UNTIL, None)), receipt))?;
        Ok(matches!(updated, Updated::Done(_)))
    }

    /// Whether the session of an entry names it, and has not expired.
    async fn has_entry(&self, session: &SessionId, key: &Key, receipt: &mut Receipt) -> Result<bool, Error> {
        let pk = self.settings.partitions.session(session);
        let mut patience = self.patience();
        let belief = self.tail(&pk, receipt, &mut patience).await?;
        let began = self.living(&pk, &belief, receipt, &mut patience).await?;
        Ok(began.is_some_and(|began| self.entry_key(session, belief.links().owner.as_ref(), began) == *key))
    }

    /// Of these entries, those that are to be shown. What cannot be read is named, and keeps nothing else from being shown.
    async fn shown(
        &self,
        items: Vec<(Item, Option<Owner>)>,
        warnings: &mut Vec<String>,
        receipt: &mut Receipt,
    ) -> Result<Vec<SessionInfo>, Error> {
        let now_s = self.clock.now().wall_ms.div_euclid(1000);
        let mut found = Vec::with_capacity(items.len());
        for (item, owner) in &items {
            match entry(item, owner.as_ref()) {
                Ok(read) => {
                    let shown = read.is_shown(now_s);
                    found.push((&item.key, read, shown));
                }
                Err(error) if error.is_corrupt() || error.is_unsupported() => warnings.push(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        let mut asked: Vec<_> = found.iter_mut().filter(|(_, _, shown)| shown.is_none()).collect();
        for batch in asked.chunks_mut(LOOKS_AT_ONCE) {
            let looks = batch.iter().map(|(key, entry, _)| async {
                let mut receipt = Receipt::default();
                (self.has_entry(&entry.info.id, key, &mut receipt).await, receipt)
            });
            for (place, (has, cost)) in futures_util::future::join_all(looks).await.into_iter().enumerate() {
                *receipt += cost;
                batch[place].2 = match has {
                    Err(error) if error.is_corrupt() || error.is_unsupported() => {
                        // Its session cannot be read; the session is there, and listed, and a load of it says what is wrong.
                        Some(true)
                    }
                    has => Some(has? || !self.keeps(Rule::Verify)),
                };
            }
        }
        Ok(found.into_iter().filter(|(_, _, shown)| *shown == Some(true)).map(|(_, entry, _)| entry.info).collect())
    }

    /// The sessions of an owner by last activity, behind a cursor: all entries are read and sorted. `None` where there are too many.
    async fn by_activity(
        &self,
        owner: Option<&Owner>,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Option<SessionPage>, Error> {
        let mut receipt = Receipt::default();
        let (mut found, mut warnings) = (Vec::new(), Vec::new());
        for shard in 0..SHARDS {
            let range = Range { eventual: self.settings.eventual, ..self.entries(owner, shard) };
            let mut after = None;
            loop {
                let mut patience = self.patience();
                let page = persist!(patience, self.table.page(&range, after.as_deref(), &mut receipt))?;
                let items = page.items.into_iter().map(|item| (item, owner.cloned())).collect();
                found.extend(self.shown(items, &mut warnings, &mut receipt).await?);
                // A list that was short when it began is read to its end.
                if found.len() > MOST_BY_ACTIVITY && cursor.is_none() {
                    return Ok(None);
                }
                after = page.after;
                if after.is_none() {
                    break;
                }
            }
        }
        let order = SessionOrder::Recent;
        found.retain(|info| cursor.is_none_or(|cursor| cursor.is_before(info)));
        found.sort_by(|a, b| (place(b, order), &b.id).cmp(&(place(a, order), &a.id)));
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|info| Cursor::after(info, order).to_string());
        let mut page = SessionPage::new(found, next).in_order(order);
        (page.warnings, page.receipt) = (warnings, receipt);
        Ok(Some(page))
    }

    /// The entries of one shard of an owner's, newest first.
    fn entries(&self, owner: Option<&Owner>, shard: u32) -> Range {
        Range {
            pk: self.settings.partitions.directory(owner, shard),
            from: "d#".to_owned(),
            to: "d#~".to_owned(),
            newest_first: true,
            limit: None,
            eventual: false,
            only: None,
        }
    }

    pub(crate) async fn sessions(&self, query: &SessionQuery) -> Result<SessionPage, Error> {
        let limit = query.limit.unwrap_or(PAGE).max(1);
        let after = query.cursor()?;
        if query.order == SessionOrder::Recent
            && after.as_ref().is_none_or(|cursor| !cursor.by_start)
            && let Some(page) = self.by_activity(query.owner.as_ref(), after.as_ref(), limit).await?
        {
            return Ok(page);
        }
        let after = after.map(|Cursor { at, id, .. }| SessionId::new(id).map(|id| entry_sk(at, &id))).transpose()?;
        let mut receipt = Receipt::default();
        let (mut found, mut warnings) = (Vec::new(), Vec::new());
        let mut more = false;
        for shard in 0..SHARDS {
            let mut patience = self.patience();
            let range = Range {
                limit: u32::try_from(limit).ok(),
                eventual: self.settings.eventual,
                ..self.entries(query.owner.as_ref(), shard)
            };
            let (mut after, mut of_shard) = (after.clone(), 0);
            loop {
                let page = persist!(patience, self.table.page(&range, after.as_deref(), &mut receipt))?;
                let items = page.items.into_iter().map(|item| (item, query.owner.clone())).collect();
                let shown = self.shown(items, &mut warnings, &mut receipt).await?;
                of_shard += shown.len();
                found.extend(shown);
                after = page.after;
                if after.is_none() || of_shard >= limit {
                    more |= after.is_some();
                    break;
                }
            }
        }
        // The newest of all shards.
        found.sort_by(|a: &SessionInfo, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        more |= found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|info| Cursor::after_by_start(info, query.order).to_string());
        let mut page = SessionPage::new(found, next);
        (page.warnings, page.receipt) = (warnings, receipt);
        Ok(page)
    }

    /// A page of all entries: one of a scan of the whole table, since no key holds them together.
    pub(crate) async fn every_session(&self, after: Option<&str>) -> Result<SessionPage, Error> {
        let after = after.map(parse_scan).transpose()?;
        let mut receipt = Receipt::default();
        let mut patience = self.patience();
        let only = [VERSION, TITLE, METADATA, EXPIRES_AT, SURE_UNTIL, LAST_AT];
        let page = persist!(patience, self.table.scan(&only, after.as_ref(), &mut receipt))?;
        let (mut items, mut warnings) = (Vec::new(), Vec::new());
        for item in page.items {
            match self.settings.partitions.owner_of_directory(&item.key.pk).map(str::to_owned) {
                None => {}
                Some(owner) if owner.is_empty() => items.push((item, None)),
                Some(owner) => match Owner::new(owner) {
                    Ok(owner) => items.push((item, Some(owner))),
                    Err(e) => warnings.push(format!("{:?} is no partition of the directory: {e}", item.key.pk)),
                },
            }
        }
        let found = self.shown(items, &mut warnings, &mut receipt).await?;
        let mut page = SessionPage::new(found, page.after.as_ref().map(spell_scan));
        (page.warnings, page.receipt) = (warnings, receipt);
        Ok(page)
    }

    /// The key of a session's entry: its last record names it.
    async fn find_entry(&self, session: &SessionId) -> Result<Option<(Key, Option<Owner>)>, Error> {
        let pk = self.settings.partitions.session(session);
        let (mut receipt, mut patience) = (Receipt::default(), self.patience());
        let belief = self.tail(&pk, &mut receipt, &mut patience).await?;
        let began = self.living(&pk, &belief, &mut receipt, &mut patience).await?;
        let owner = belief.links().owner;
        Ok(began.map(|began| (self.entry_key(session, owner.as_ref(), began), owner)))
    }

    pub(crate) async fn session(&self, session: &SessionId) -> Result<Option<SessionInfo>, Error> {
        let Some((key, owner)) = self.find_entry(session).await? else { return Ok(None) };
        let mut patience = self.patience();
        let item = persist!(patience, self.table.get(&key, &mut Receipt::default()))?;
        item.map(|item| entry(&item, owner.as_ref()).map(|entry| entry.info)).transpose()
    }

    pub(crate) async fn update_session(&self, session: &SessionId, update: &SessionUpdate) -> Result<Option<SessionInfo>, Error> {
        update.check()?;
        self.writable()?;
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
        let (mut patience, mut receipt) = (self.patience(), Receipt::default());
        // Each round replaces only what it read, and leaves a mark of its own: so a copy of a request that comes late, or a repeat of one whose
        // answer was lost, takes back no change that others made since.
        while !patience.is_over() {
            let Some((key, owner)) = self.find_entry(session).await? else { return Ok(None) };
            let Some(read) = persist!(patience, self.table.get(&key, &mut receipt))? else { return Ok(None) };
            let seen = read.attributes.get(REV).filter(|_| self.keeps(Rule::PatchAsRead));
            let rev = AttributeValue::B(Blob::new(AppendId::random().as_bytes()));
            let mut set = set.clone();
            set.push((REV, Some(rev.clone())));
            let expected = self.keeps(Rule::PatchAsRead).then_some((REV, seen));
            loop {
                match self.table.update(&key, &set, expected, &mut receipt).await {
                    Ok(Updated::Done(item)) => return entry(&item, owner.as_ref()).map(|entry| Some(entry.info)),
                    Ok(Updated::Changed(item)) if item.attributes.get(REV) == Some(&rev) => {
                        return entry(&item, owner.as_ref()).map(|entry| Some(entry.info));
                    }
                    // Changed, moved or ended since it was read.
                    Ok(Updated::Changed(_) | Updated::Missing) => break,
                    Err(fault) => patience.after(fault).await?,
                }
            }
        }
        Err(Error::new(
            crate::ErrorKind::Unavailable,
            format!("session {session} was not changed: others changed it for {} ms; try again", patience.deadline_ms),
        ))
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

/// Reads an item of the directory; `None` where it lies elsewhere.
pub(super) fn entry_in(partitions: &Partitions, item: &Item) -> Option<Result<Entry, Error>> {
    let pk = &item.key.pk;
    let owner = partitions.owner_of_directory(pk)?;
    let owner = (!owner.is_empty()).then(|| Owner::new(owner)).transpose();
    let owner = owner.map_err(|e| Error::corrupt(format!("{pk:?} is no partition of the directory: {e}")));
    Some(owner.and_then(|owner| entry(item, owner.as_ref())))
}

/// Reads an entry of the directory.
pub(super) fn entry(item: &Item, owner: Option<&Owner>) -> Result<Entry, Error> {
    check_version(item)?;
    let wrong = |what: &str| Error::corrupt(format!("the directory entry {:?} in {:?} has {what}", item.key.sk, item.key.pk));
    let (created_at, id) = entry_of(&item.key.sk).ok_or_else(|| wrong("a key that is not a directory entry's"))?;
    let text = |name: &str| match item.attributes.get(name) {
        None => Ok(None),
        Some(AttributeValue::S(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(&format!("an attribute {name:?} that is not a string"))),
    };
    let number = |name: &str| match item.attributes.get(name) {
        None => Ok(None),
        Some(AttributeValue::N(at)) => {
            at.parse::<i64>().map(Some).map_err(|_| wrong(&format!("an attribute {name:?} that is no time")))
        }
        Some(_) => Err(wrong(&format!("an attribute {name:?} that is not a number"))),
    };
    let metadata: Option<Map<String, Value>> = match text(METADATA)? {
        None => None,
        Some(json) => Some(serde_json::from_str(&json).map_err(|_| wrong("metadata that is not a JSON object"))?),
    };
    let sure = number(SURE_UNTIL)?.map(|at| if at == 0 { Lasts::Forever } else { Lasts::Until(at) });
    let hidden = Lasts::of(number(EXPIRES_AT)?);
    let last_at = Some(number(LAST_AT)?.map_or(created_at, |at| at.max(created_at)));
    let info = SessionInfo { id, owner: owner.cloned(), title: text(TITLE)?, metadata, created_at, last_at };
    Ok(Entry { info, sure, hidden })
}
