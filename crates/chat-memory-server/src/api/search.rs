//! Search.

use axum::Json;
use chat_memory::store::{self, SearchHit, SearchQuery, SearchScope};
use chat_memory::{Owner, SessionId, Timestamp};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::errors::{OfStore, OfValues};
use super::types::{Cost, SessionBody};
use crate::auth::MayRead;
use crate::extract::Params;
use crate::operations;
use crate::problem::Problem;
use crate::time::{Time, date};

/// What to search for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SearchParams {
    /// The words, of letters and digits: a hit has all of them, or words that begin with them, in any order and case. 1,024 bytes and 32 words at
    /// most. Without words, a search of a time finds the sessions that were active in it
    #[param(max_length = 1024, nullable = false, example = "lisbon may")]
    #[serde(default)]
    q: String,
    /// Only this owner's sessions. Without it, all sessions
    #[param(min_length = 1, max_length = 512, nullable = false, example = "ada")]
    owner: Option<String>,
    /// Only this session; not with `owner`
    #[param(min_length = 1, max_length = 1000, nullable = false, example = "trip")]
    session: Option<String>,
    /// Only messages sent at this time or later, and sessions active since. A date, such as 2026-05-01, is its first instant in UTC
    #[param(value_type = Option<String>, format = DateTime, nullable = false, example = "2026-05-01T00:00:00Z")]
    #[serde(default, deserialize_with = "given_time")]
    since: Option<Timestamp>,
    /// Only messages sent before this time, and sessions that began before it; a date as in `since`
    #[param(value_type = Option<String>, format = DateTime, nullable = false)]
    #[serde(default, deserialize_with = "given_time")]
    until: Option<Timestamp>,
    /// Search titles, ids and owners, and read no messages
    #[param(default = json!(false))]
    #[serde(default)]
    titles: bool,
    /// As many hits as a page has at most
    #[param(minimum = 1, maximum = 1000, default = 100, nullable = false)]
    limit: Option<usize>,
    /// The page after this `next`
    #[param(nullable = false)]
    after: Option<String>,
}

fn given_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let expected =
        || D::Error::custom(format!("expected a date such as 2026-05-01, or a time such as 2026-05-01T12:00:00Z, not {text:?}"));
    date(&text).map(Some).ok_or_else(expected)
}

/// A page of hits.
#[derive(Debug, Serialize, ToSchema)]
pub struct SearchBody {
    /// The hits: from an index the best first, sessions before messages; else as they were read, the newest of a session first
    pub hits: Vec<HitBody>,
    /// What `after` takes for the next page, which may have no hits; null after the last
    #[schema(required)]
    pub next: Option<String>,
    /// Whether an index was used, so that no session was read
    pub indexed: bool,
    /// How many sessions were read
    pub sessions: u64,
    /// How many sessions and records could not be read, and were not searched: the service's log names them
    pub unread: usize,
    /// What it cost
    #[schema(value_type = Cost)]
    pub cost: store::Cost,
}

/// A session, or a message, that was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct HitBody {
    /// The session
    pub session: SessionBody,
    /// The message; null if the session's title, id or owner was found
    #[schema(required)]
    pub message: Option<FoundBody>,
    /// A part of the text on one line, in parts; `…` marks what was left out
    pub snippet: Vec<SnippetPart>,
}

/// Where a message was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundBody {
    /// The number of its record
    pub seq: u64,
    /// Its place among the record's entries, from 0
    pub index: usize,
    /// Its author; null for an entry that is not a message
    #[schema(required, example = "assistant")]
    pub role: Option<&'static str>,
    /// When it was sent, or else stored, in UTC; null if unknown
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub at: Option<Time>,
}

/// A part of a snippet.
#[derive(Debug, Serialize, ToSchema)]
pub struct SnippetPart {
    /// The text
    pub text: String,
    /// Whether it is one of the words
    #[serde(rename = "match")]
    pub is_match: bool,
}

impl From<SearchHit> for HitBody {
    fn from(hit: SearchHit) -> Self {
        let parts = hit.snippet.parts().map(|(text, is_match)| SnippetPart { text: text.to_owned(), is_match });
        let message = hit.message.map(|message| FoundBody {
            seq: message.seq,
            index: message.index,
            role: message.role.map(|role| role.as_str()),
            at: message.at.and_then(Time::of),
        });
        Self { snippet: parts.collect(), session: hit.session.into(), message }
    }
}

/// Search sessions and messages
///
/// In titles, ids, owners and the text of messages, of the key's namespace. What was taken back, cleared or deleted is not found. With a search index (a SQLite
/// file of `chat-memory search --index`) a page is complete. Without one, a request reads up to 50 sessions or 4 MB, and `next` continues, even where
/// a page has no hits. On DynamoDB that costs read units, and without `owner` or `session` it reads the whole table. A cursor is good for the key and
/// the search that it was made for.
#[utoipa::path(
    get, path = "/v1/search", tag = "sessions", operation_id = "search",
    params(SearchParams),
    responses((status = 200, description = "A page of hits", body = SearchBody), OfStore, OfValues),
    security(("key" = []))
)]
pub async fn search(MayRead(access): MayRead, Params(params): Params<SearchParams>) -> Result<Json<SearchBody>, Problem> {
    let SearchParams { q, owner, session, since, until, titles, limit, after } = params;
    let bad = |e: chat_memory::Error| Problem::bad_request(e.to_string());
    let scope = match (owner, session) {
        (None, None) => SearchScope::All,
        (Some(owner), None) => SearchScope::Owner(Owner::new(owner).map_err(bad)?),
        (None, Some(session)) => SearchScope::Session(SessionId::stored(session).map_err(bad)?),
        (Some(_), Some(_)) => return Err(Problem::bad_request("session cannot be combined with owner: a session has one")),
    };
    let mut query = SearchQuery::new(q).within(scope).since(since).until(until).limit(super::limit(limit)?);
    query.titles_only = titles;
    let page = operations::search(&access, query, after.as_deref()).await?;
    Ok(Json(SearchBody {
        hits: page.hits.into_iter().map(HitBody::from).collect(),
        next: page.next,
        indexed: page.indexed,
        sessions: page.sessions,
        unread: page.warnings.len(),
        cost: page.cost,
    }))
}
