//! Search.

use chat_memory::store::{SearchHit, SearchPage, SearchQuery, SearchScope};
use chat_memory::{ChatStore, Error, Owner, SessionId, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer;

/// The most hits of a page.
const PAGE: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ToSearch {
    words: String,
    owner: Option<String>,
    session: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    #[serde(default)]
    titles: bool,
    /// How many more hits are wanted.
    limit: Option<usize>,
    /// The `next` of the page before.
    after: Option<String>,
}

impl ToSearch {
    pub(crate) async fn run(self, store: &dyn ChatStore) -> Result<Value, Error> {
        let scope = match (self.owner, self.session) {
            (None, None) => SearchScope::All,
            (Some(owner), None) => SearchScope::Owner(Owner::new(owner)?),
            (None, Some(session)) => SearchScope::Session(SessionId::stored(session)?),
            (Some(_), Some(_)) => {
                return Err(Error::invalid("session cannot be combined with owner: a session has one; leave out the owner"));
            }
        };
        if self.limit == Some(0) {
            return Err(Error::invalid("invalid limit 0: expected at least 1; leave it out for all hits"));
        }
        let limit = self.limit.map_or(PAGE, |limit| limit.min(PAGE));
        let mut query = SearchQuery::new(self.words).within(scope).since(self.since).until(self.until).limit(limit);
        query.titles_only = self.titles;
        query.after = self.after;
        Ok(page(store.search(&query).await?))
    }
}

fn page(page: SearchPage) -> Value {
    json!({
        "hits": page.hits.iter().map(hit).collect::<Vec<_>>(),
        "next": page.next,
        "indexed": page.indexed,
        "sessions": page.sessions,
        "warnings": page.warnings,
        "cost": answer::cost(&page.cost),
    })
}

fn hit(hit: &SearchHit) -> Value {
    let parts: Vec<_> = hit.snippet.parts().map(|(text, is_match)| json!({"text": text, "match": is_match})).collect();
    json!({
        "session": answer::info(&hit.session),
        "message": hit.message.map(|found| json!({
            "seq": found.seq,
            "index": found.index,
            "role": found.role.map(|role| role.as_str()),
            "at": found.at,
        })),
        "snippet": {"text": hit.snippet.text, "parts": parts},
    })
}
