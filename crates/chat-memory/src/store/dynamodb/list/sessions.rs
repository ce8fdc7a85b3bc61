//! Which sessions there are: found by looking at every item of the table, since the originals keep no directory.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};

use super::{ListTable, Listed, Share, Slice, persist};
use crate::error::Error;
use crate::session::SessionId;
use crate::store::dynamodb::iam::Operation;
use crate::store::dynamodb::names::SEGMENT;
use crate::store::dynamodb::patience::Patience;
use crate::store::dynamodb::table::{Clock, Item, Key};
use crate::store::{Receipt, SessionInfo, SessionPage};

/// How many shares of the table are read at once.
const SHARES: u32 = 4;

/// How far a share has been read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Progress {
    #[serde(rename = "0")]
    Start,
    #[serde(rename = "k")]
    After(String, String),
    #[serde(rename = "e")]
    End,
}

impl<T: ListTable, C: Clock> Listed<T, C> {
    /// A page of the sessions in which there are messages, in no order: one page of each share of the table, read at once.
    pub(crate) async fn every_session(&self, after: Option<&str>) -> Result<SessionPage, Error> {
        let mut progress = match after {
            None => vec![Progress::Start; SHARES as usize],
            Some(cursor) => parse(cursor)?,
        };
        let of = u32::try_from(progress.len()).unwrap_or(SHARES);
        let shares = progress.iter().enumerate().map(|(number, progress)| {
            let number = u32::try_from(number).unwrap_or_default();
            self.share(Share { number, of }, progress.clone())
        });
        let (mut sessions, mut receipt) = (Vec::new(), Receipt::default());
        for (share, read) in futures_util::future::join_all(shares).await.into_iter().enumerate() {
            let (found, next, cost) = read?;
            sessions.extend(found);
            progress[share] = next;
            receipt += cost;
        }
        let is_over = progress.iter().all(|progress| matches!(progress, Progress::End));
        let mut page = SessionPage::new(sessions, (!is_over).then(|| spell(&progress)));
        page.receipt = receipt;
        Ok(page)
    }

    async fn share(&self, share: Share, progress: Progress) -> Result<(Vec<SessionInfo>, Progress, Receipt), Error> {
        let mut receipt = Receipt::default();
        let after = match progress {
            Progress::End => return Ok((Vec::new(), Progress::End, receipt)),
            Progress::Start => None,
            Progress::After(pk, sk) => Some(Key { pk, sk }),
        };
        let mut patience = self.patience();
        let lists = [self.settings.lists.js.as_str(), self.settings.lists.python.as_str()];
        let Slice { items, after } = persist!(patience, self.table.slice(share, &[], &lists, after.as_ref(), &mut receipt))?;
        let sessions = items.iter().filter_map(|item| self.session_of(item)).collect::<Result<_, _>>()?;
        Ok((sessions, after.map_or(Progress::End, |key| Progress::After(key.pk, key.sk)), receipt))
    }

    /// The session of an item; `None` if it is another's, or beside one.
    fn session_of(&self, item: &Item) -> Option<Result<SessionInfo, Error>> {
        let partitions = &self.settings.partitions;
        let id = item.key.pk.strip_prefix(partitions.prefix())?;
        if partitions.is_anothers(&item.key.pk) {
            return None;
        }
        let is_session = match &self.settings.sort_value {
            Some(value) => item.key.sk == *value,
            None => !id.starts_with(SEGMENT),
        };
        let info = |id| SessionInfo { id, owner: None, title: None, metadata: None, created_at: 0, last_at: None };
        is_session.then(|| {
            SessionId::new(id).map(info).map_err(|e| e.context("the table has an item that cannot be named as a session"))
        })
    }

    /// Finds out before the first write whether the credentials allow what a later one will need: rolling, rewinds and sweeps.
    pub(super) async fn try_permissions(&self, receipt: &mut Receipt, patience: &mut Patience<'_, C>) -> Result<(), Error> {
        let key = self.settings.partitions.probe(self.settings.sort_value.is_some());
        let tried = self.tried_out.get_or_try_init(|| async {
            for operation in [Operation::UpdateItem, Operation::GetItem, Operation::PutItem, Operation::DeleteItem] {
                let tried = persist!(patience, self.table.try_out(operation, &key, receipt));
                tried.map_err(|e: Error| {
                    e.context(
                        "this table's layout needs dynamodb:GetItem, UpdateItem, PutItem and DeleteItem before anything is written, \
                         since older parts of long sessions move into items of their own; nothing was written",
                    )
                })?;
            }
            Ok(())
        });
        tried.await.copied()
    }
}

pub(super) fn spell(progress: &[Progress]) -> String {
    BASE64.encode(serde_json::to_string(progress).unwrap_or_default())
}

pub(super) fn parse(cursor: &str) -> Result<Vec<Progress>, Error> {
    let read = || serde_json::from_slice::<Vec<Progress>>(&BASE64.decode(cursor).ok()?).ok();
    let shares = read().filter(|shares| (1..=64).contains(&shares.len()));
    shares.ok_or_else(|| Error::invalid("that cursor is not of a listing of this table; start from its first page"))
}
