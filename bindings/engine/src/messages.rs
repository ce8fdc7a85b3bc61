//! Iteration over the messages of a session, page by page. A page continues from the text that ended the one before, so that a caller
//! holds nothing in between.

use chat_memory::store::{ChatStoreExt, Load, Record};
use chat_memory::wire::{Format, WrittenEntry};
use chat_memory::{ChatStore, Entry, Error, SessionId};
use serde::Deserialize;

use crate::answer::MessagePage;

/// How many records a page has, newest first: little more is read than is iterated over.
const PAGE: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ToIterate {
    session: String,
    format: Format,
    #[serde(default)]
    newest_first: bool,
    /// The `next` of the page before.
    after: Option<String>,
}

impl ToIterate {
    pub(crate) async fn run(self, store: &dyn ChatStore) -> Result<MessagePage, Error> {
        let session = SessionId::stored(self.session)?;
        let written = |record| written(self.format, record);
        if !self.newest_first {
            let after = self.after.map(|text| text.parse()).transpose()?;
            let page = store.page_forwards(&session, after).await?;
            let messages = page.records.into_iter().flat_map(written).collect();
            return Ok(MessagePage { messages, next: page.next.map(|next| next.to_string()) });
        }
        let load = match self.after {
            Some(older) => Load::records(PAGE).before(older.parse()?),
            None => Load::records(PAGE),
        };
        let history = store.load(&session, &load).await?;
        let next = history.older().filter(|_| !history.records.is_empty()).map(|older| older.to_string());
        let messages = history.records.into_iter().rev().flat_map(|record| written(record).rev()).collect();
        Ok(MessagePage { messages, next })
    }
}

/// Writes the messages of a record.
fn written(format: Format, record: Record) -> impl DoubleEndedIterator<Item = WrittenEntry> {
    let messages = record.into_messages().into_iter().map(Entry::from).collect();
    format.write_entries(messages).into_iter().map(|(_, value)| value)
}
