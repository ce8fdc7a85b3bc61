//! What is counted: each driver prepares what it needs, and then repeats one operation.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, header};
use chat_memory::checkpoints::{CheckpointOptions, CheckpointStore, InMemoryRows, NewCheckpoint, Typed};
use chat_memory::store::dynamodb::{DynamoDbStore, Options};
use chat_memory::store::sqlite::SqliteStore;
use chat_memory::store::{ChatStore, InMemoryStore, Load};
use chat_memory::wire::Format;
use chat_memory::{Message, SessionId};
use chat_memory_server::{Options as ServiceOptions, Service, app};
use clap::ValueEnum;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::canned::Canned;
use crate::Result;
use crate::dynamodb::{self, Seen};
use crate::sqlite;
use crate::turns::{LOADED_TURNS, WINDOW, turn};

/// The turns that the SDK's canned answers have: a window.
const CANNED_TURNS: usize = WINDOW / 2;

/// An operation that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Driver {
    SqliteAppend,
    BareSqliteAppend,
    SqliteWindow,
    BareSqliteWindow,
    SqliteHistory,
    DynamodbAppend,
    SdkAppend,
    DynamodbWindow,
    SdkWindow,
    HttpAppend,
    HttpWindow,
    BindingsAppend,
    BindingsOpenai,
    BindingsLangchain,
    CheckpointPut,
    CheckpointLoad,
}

impl Driver {
    /// Prepares, and does the operation this many times.
    pub async fn run(self, operations: usize) -> Result {
        match self {
            Self::SqliteAppend | Self::SqliteWindow | Self::SqliteHistory => self.on_sqlite(operations).await,
            Self::BareSqliteAppend | Self::BareSqliteWindow => self.on_bare_sqlite(operations).await,
            Self::DynamodbAppend | Self::DynamodbWindow | Self::SdkAppend | Self::SdkWindow => self.on_dynamodb(operations).await,
            Self::HttpAppend | Self::HttpWindow => self.over_http(operations).await,
            Self::BindingsAppend | Self::BindingsOpenai | Self::BindingsLangchain => self.by_bindings(operations).await,
            Self::CheckpointPut | Self::CheckpointLoad => self.of_checkpoints(operations).await,
        }
    }

    async fn on_sqlite(self, operations: usize) -> Result {
        let folder = tempfile::tempdir()?;
        let store = SqliteStore::open(folder.path().join("library.db")).await?;
        let session = loaded(&store, LOADED_TURNS).await?;
        match self {
            Self::SqliteAppend => {
                for turn in more(operations) {
                    store.append(&session, &turn).await?;
                }
            }
            _ => {
                let load = if self == Self::SqliteWindow { Load::last(WINDOW) } else { Load::all() };
                for _ in 0..operations {
                    store.load(&session, &load).await?;
                }
            }
        }
        finish()
    }

    async fn on_bare_sqlite(self, operations: usize) -> Result {
        let folder = tempfile::tempdir()?;
        let store = SqliteStore::open(folder.path().join("raw.db")).await?;
        let session = loaded(&store, LOADED_TURNS).await?;
        let raw = sqlite::Raw::open(store.path(), true)?;
        match self {
            Self::BareSqliteAppend => {
                for number in LOADED_TURNS..LOADED_TURNS + operations {
                    raw.append(session.as_str(), &sqlite::texts(number))?;
                }
            }
            _ => {
                for _ in 0..operations {
                    raw.load_parsed(session.as_str())?;
                }
            }
        }
        finish()
    }

    async fn on_dynamodb(self, operations: usize) -> Result {
        let table = Canned::default();
        let options = Options::new("canned");
        let store = DynamoDbStore::from_client(&table.client(), options.clone())?;
        let session = loaded(&store, CANNED_TURNS).await?;
        let window = Load::last(WINDOW);
        let messages = store.load(&session, &window).await?.messages().count();
        if messages != WINDOW {
            return Err(format!("the canned window has {messages} messages").into());
        }
        let (put, query) = table.seen()?;
        table.freeze();
        let seen =
            Seen { put, query, partition_key: options.partition_key_name().into(), sort_key: options.sort_key_name().into() };
        let mut raw = dynamodb::Raw::new(table.client(), seen, "raw");
        match self {
            Self::DynamodbAppend => {
                for turn in more(operations) {
                    store.append(&session, &turn).await?;
                }
            }
            Self::DynamodbWindow => {
                for _ in 0..operations {
                    store.load(&session, &window).await?;
                }
            }
            Self::SdkAppend => {
                for _ in 0..operations {
                    raw.append().await?;
                }
            }
            _ => {
                for _ in 0..operations {
                    let parsed = raw.load_parsed().await?.len();
                    if parsed != WINDOW {
                        return Err(format!("the SDK's window has {parsed} messages").into());
                    }
                }
            }
        }
        finish()
    }

    /// Without sockets: requests are handed to the service's router.
    async fn over_http(self, operations: usize) -> Result {
        let store = Arc::new(InMemoryStore::new());
        loaded(&*store, LOADED_TURNS).await?;
        let router = app(Service::with_store(store, None, ServiceOptions::default())?);
        let path = "/v1/sessions/bench/messages";
        for number in 0..operations {
            let request = Request::builder().header(header::HOST, "localhost:8080");
            let request = if self == Self::HttpAppend {
                let body = json!({"messages": values(LOADED_TURNS + number)}).to_string();
                let request = request.method(Method::POST).uri(path).header(header::CONTENT_TYPE, "application/json");
                request.body(Body::from(body))?
            } else {
                request.uri(format!("{path}?last={WINDOW}")).body(Body::empty())?
            };
            let response = router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
            let (status, body) = (response.status(), to_bytes(response.into_body(), usize::MAX).await?);
            if !status.is_success() {
                return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
            }
        }
        finish()
    }

    /// What Node and Python call, over a store in memory: parameters and results are JSON text.
    async fn by_bindings(self, operations: usize) -> Result {
        let store = InMemoryStore::new();
        loaded(&store, LOADED_TURNS).await?;
        let format = if self == Self::BindingsLangchain { Format::LangChain } else { Format::OpenAi };
        for number in 0..operations {
            let (operation, request) = if self == Self::BindingsAppend {
                let messages = values(LOADED_TURNS + number);
                ("append", json!({"session": "bench", "format": "openai", "messages": messages}))
            } else {
                ("load", json!({"session": "bench", "format": format.as_str(), "messages": WINDOW}))
            };
            let request = chat_memory_bindings::Request::read(operation, request)?;
            serde_json::to_string(&request.run(&store).await?)?;
        }
        finish()
    }

    /// A chat of an agent: each turn appends a question and an answer to the channel `messages`.
    async fn of_checkpoints(self, operations: usize) -> Result {
        let (rows, thread) = (InMemoryRows::new(), SessionId::new("bench")?);
        let store = CheckpointStore::new(rows.clone(), CheckpointOptions::default());
        let (before, puts) = if self == Self::CheckpointPut { (CANNED_TURNS, operations) } else { (LOADED_TURNS, 0) };
        let mut state = Vec::new();
        for number in 0..before + puts {
            state.extend(values(number));
            let json = |value: Value| Typed::new("json", value.to_string());
            let parent = number.checked_sub(1).map(|parent| format!("{parent:06}"));
            let mut checkpoint =
                NewCheckpoint::new(format!("{number:06}"), parent, json(json!({"v": 4})), json(json!({"step": number})));
            checkpoint.versions.insert("messages".into(), number.to_string());
            checkpoint.values.insert("messages".into(), Some(json(Value::Array(state.clone()))));
            store.put(&thread, "", checkpoint).await?;
        }
        if self == Self::CheckpointLoad {
            for _ in 0..operations {
                // A new process: it remembers nothing.
                let store = CheckpointStore::new(rows.clone(), CheckpointOptions::default());
                store.load(&thread, "", None).await?.value.ok_or("the thread has a checkpoint")?;
            }
        }
        finish()
    }
}

/// A session with this many turns.
async fn loaded(store: &impl ChatStore, turns: usize) -> Result<SessionId> {
    let session = SessionId::new("bench")?;
    for number in 0..turns {
        store.append(&session, &turn(number)).await?;
    }
    Ok(session)
}

fn more(operations: usize) -> impl Iterator<Item = chat_memory::Append> {
    (LOADED_TURNS..LOADED_TURNS + operations).map(turn)
}

fn values(number: usize) -> Vec<Value> {
    turn(number).messages().map(Message::to_value).collect()
}

/// Ends the process, so that closing is not counted: SQLite would move its write-ahead log into the file.
fn finish() -> Result {
    std::process::exit(0)
}
