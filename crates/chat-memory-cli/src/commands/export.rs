//! `export`

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chat_memory::store::{History, Load, SessionInfo, SessionQuery};
use chat_memory::wire::Format;
use chat_memory::{ChatStore, Error, SessionId};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::{Map, Value};
use tokio::task::JoinHandle;

use super::{WireFormat, count, owner, session_id};
use crate::app::App;
use crate::failure::Failure;
use crate::output::say;

const EXAMPLES: &str = "\
Examples:
  chat-memory export > all.jsonl           every session that has no owner
  chat-memory export --owner user:42       every session of this owner
  chat-memory export trip user:42/support  these two
  chat-memory export | chat-memory --store dynamodb://chats import -

Each line is a conversation, {\"id\", \"messages\"}, with \"owner\", \"title\" and \"metadata\" where the session has them; `import` \
reads them again. To go on after an interruption, run it again: it only reads. Metadata of single records is not in this form; \
how many were left out is said on standard error.";

/// Write conversations to standard output, one a line
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The sessions; without any, all that have no owner
    #[arg(add = clap_complete::ArgValueCompleter::new(crate::completion::sessions))]
    sessions: Vec<String>,
    /// All sessions of this owner
    #[arg(long, conflicts_with = "sessions")]
    owner: Option<String>,
    /// The form of the messages
    #[arg(long, value_enum, default_value_t)]
    format: WireFormat,
    /// How many sessions to read at once
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
}

/// A session being read, with what the directory says of it.
type Reading = JoinHandle<Result<(SessionId, Option<SessionInfo>, History), Error>>;

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let ids: Vec<_> = arguments.sessions.iter().map(|id| session_id(id)).collect::<Result<_, _>>()?;
    let owner = owner(arguments.owner.as_ref())?;
    let store = app.existing_store().await?;
    let mut export = Export {
        app,
        format: arguments.format.into(),
        jobs: arguments.jobs.into(),
        reading: VecDeque::new(),
        bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
        sessions: 0,
        messages: 0,
        bare: 0,
    };
    export.bar.set_style(super::import::style("{spinner} {msg}"));
    export.bar.enable_steady_tick(Duration::from_millis(250));
    if ids.is_empty() {
        let mut query = owner.map_or_else(SessionQuery::of_nobody, SessionQuery::of);
        loop {
            let page = store.sessions(&query).await?;
            app.spend(page.receipt);
            for info in page.sessions {
                export.start(read(Arc::clone(&store), info.id.clone(), Some(info))).await?;
            }
            match page.next {
                Some(next) => query = query.after(next),
                None => break,
            }
        }
    } else {
        for id in ids {
            export.start(read(Arc::clone(&store), id, None)).await?;
        }
    }
    export.end().await
}

async fn read(
    store: Arc<dyn ChatStore>,
    id: SessionId,
    listed: Option<SessionInfo>,
) -> Result<(SessionId, Option<SessionInfo>, History), Error> {
    let listed = match listed {
        None if store.capabilities().directory => store.session(&id).await?,
        listed => listed,
    };
    let history = store.load(&id, &Load::all()).await.map_err(|e| e.context(format_args!("session {id}")))?;
    Ok((id, listed, history))
}

/// The whole export: sessions are read several at once and written in order.
struct Export<'a> {
    app: &'a App,
    format: Format,
    jobs: usize,
    reading: VecDeque<Reading>,
    bar: ProgressBar,
    sessions: u64,
    messages: u64,
    /// Records whose metadata has no place in a line.
    bare: u64,
}

impl Export<'_> {
    async fn start(
        &mut self,
        read: impl Future<Output = Result<(SessionId, Option<SessionInfo>, History), Error>> + Send + 'static,
    ) -> Result<(), Failure> {
        while self.reading.len() >= self.jobs {
            self.write_next().await?;
        }
        self.reading.push_back(tokio::spawn(read));
        Ok(())
    }

    async fn write_next(&mut self) -> Result<(), Failure> {
        let Some(next) = self.reading.pop_front() else { return Ok(()) };
        let read = next.await.map_err(|e| Failure::other(format!("the reading of a session ended unexpectedly: {e}")))?;
        let (id, listed, history) = read?;
        self.app.spend(history.receipt);
        if listed.is_none() && history.is_empty() {
            self.bar.suspend(|| say(format_args!("{id} holds no message")));
        }
        self.bare += history.records.iter().filter(|record| record.metadata.is_some()).count() as u64;
        let mut fields = Map::new();
        fields.insert("id".into(), id.as_str().into());
        fields.insert("messages".into(), history.messages().map(|message| self.format.write(message)).collect());
        if let Some(SessionInfo { owner, title, metadata, .. }) = listed {
            let mut put = |name: &str, value: Option<Value>| value.map(|value| fields.insert(name.into(), value));
            put("owner", owner.map(|owner| owner.as_str().into()));
            put("title", title.map(Value::String));
            put("metadata", metadata.map(Value::Object));
        }
        self.app.out.json(&Value::Object(fields))?;
        self.sessions += 1;
        self.messages += history.messages().count() as u64;
        self.bar.set_message(self.progress());
        Ok(())
    }

    fn progress(&self) -> String {
        format!("{} ({})", count(self.sessions, "session"), count(self.messages, "message"))
    }

    async fn end(mut self) -> Result<(), Failure> {
        while !self.reading.is_empty() {
            self.write_next().await?;
        }
        self.app.out.flush()?;
        self.bar.finish_and_clear();
        if self.bare > 0 {
            say(format_args!("left out: the metadata of {}, which this form has no place for", count(self.bare, "record")));
        }
        say(format_args!("exported {}", self.progress()));
        Ok(())
    }
}
