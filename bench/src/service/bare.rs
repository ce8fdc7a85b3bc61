//! What someone would write who needs no more than this: an axum handler on bare rusqlite, without keys, limits, logs or metrics. A
//! body's messages are stored as they came, and read back as text.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chat_memory::ChatStore as _;
use chat_memory::store::sqlite::SqliteStore;
use serde_json::{Value, json};

use super::load::session_of;
use crate::Result;
use crate::sqlite::Raw;
use crate::turns::turn;

/// A handler as a process.
#[derive(Debug, clap::Args)]
pub struct Bare {
    /// The SQLite file, which this creates
    file: PathBuf,
    /// How many clients there will be
    clients: usize,
}

impl Bare {
    /// Prints its address and serves until it is killed.
    pub async fn run(self) -> Result<String> {
        let store = SqliteStore::open(&self.file).await?;
        for number in 0..self.clients {
            store.append(&session_of(number)?, &turn(0)).await?;
        }
        let file = Arc::new(File { path: self.file, connections: Mutex::default(), writer: Mutex::default() });
        let app = Router::new().route("/v1/sessions/{session}/messages", get(window).post(append)).with_state(file);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on http://{}", listener.local_addr()?);
        axum::serve(axum::serve::ListenerExt::tap_io(listener, |io| _ = io.set_nodelay(true)), app).await?;
        Ok(String::new())
    }
}

/// The file, and its connections that are not in use.
struct File {
    path: PathBuf,
    connections: Mutex<Vec<Raw>>,
    /// One append at a time, as SQLite wants it.
    writer: Mutex<()>,
}

impl File {
    fn run<T>(&self, work: impl FnOnce(&Raw) -> Result<T>) -> Result<T> {
        let unused = || self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = unused().pop();
        let raw = kept.map_or_else(|| Raw::open(&self.path, true), Ok)?;
        let done = work(&raw);
        unused().push(raw);
        done
    }
}

async fn append(State(file): State<Arc<File>>, Path(session): Path<String>, Json(body): Json<Value>) -> Response {
    on_thread(move || {
        let messages = body["messages"].to_string();
        let _one = file.writer.lock().unwrap_or_else(PoisonError::into_inner);
        file.run(|raw| raw.append(&session, &messages))?;
        Ok((StatusCode::CREATED, Json(json!({ "session": session }))).into_response())
    })
    .await
}

async fn window(State(file): State<Arc<File>>, Path(session): Path<String>) -> Response {
    on_thread(move || {
        let mut texts = file.run(|raw| raw.load(&session))?;
        texts.reverse();
        let messages: Vec<_> = texts.iter().map(|text| text.trim_matches(['[', ']'])).collect();
        let body = format!(r#"{{"messages":[{}]}}"#, messages.join(","));
        Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
    })
    .await
}

async fn on_thread(work: impl FnOnce() -> Result<Response> + Send + 'static) -> Response {
    let failed = |why: String| (StatusCode::INTERNAL_SERVER_ERROR, why).into_response();
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.unwrap_or_else(|why| failed(why.to_string())),
        Err(why) => failed(why.to_string()),
    }
}
