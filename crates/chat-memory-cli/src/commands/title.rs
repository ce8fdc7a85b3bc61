//! `title`

use chat_memory::store::SessionUpdate;
use chat_memory::{ChatStore as _, Error, ErrorKind};
use clap::Args;
use clap_complete::ArgValueCompleter;

use super::sessions::to_json;
use super::{no_such_session, stored_session_id};
use crate::app::App;
use crate::completion;
use crate::escape::visible_line;
use crate::failure::{Failure, OnCommandLine};

const EXAMPLES: &str = "\
Examples:
  chat-memory title trip \"A week in May\"
  chat-memory title trip --remove          its first words name it again, where a list knows them

Both replace the title that the session has. With --json: the session, as `sessions --json` prints it.";

/// Give a session a title, or remove it
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The session's id
    #[arg(add = ArgValueCompleter::new(completion::sessions))]
    session: String,
    /// The title: one line of up to 1,024 bytes
    #[arg(required_unless_present = "remove")]
    title: Option<String>,
    /// Remove the title
    #[arg(long, conflicts_with = "title")]
    remove: bool,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let session = stored_session_id(app, &arguments.session)?;
    let update = SessionUpdate::default().with_title(arguments.title.clone());
    update.check().on_command_line()?;
    let store = app.existing_store().await?;
    let Some(info) = store.update_session(&session, &update).await? else {
        let missing = no_such_session(app.given_store());
        return Err(Error::new(ErrorKind::NotFound, format!("cannot title session {:?}: {missing}", session.as_str())).into());
    };
    if app.json() {
        return app.out.json(&to_json(&info));
    }
    let name = visible_line(session.as_str());
    match info.title {
        Some(title) => app.out.line(format_args!("title of {name}: {}", visible_line(&title))),
        None => app.out.line(format_args!("{name} has no title")),
    }
}
