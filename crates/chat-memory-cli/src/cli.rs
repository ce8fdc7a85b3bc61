//! The command line, parsed by clap. Each command's arguments are in its own file.

use std::sync::LazyLock;

use chat_memory::store::dynamodb::FORMAT_VERSION;
use clap::builder::styling::Styles;
use clap::{Parser, Subcommand};

use crate::app::{App, Globals};
use crate::commands::{
    append, chat, clear, completions, delete, doctor, export, fork, iam_policy, import, key, migrate, redact, rewind, search,
    serve, sessions, show, table, threads, title,
};
use crate::failure::Failure;

static VERSION: LazyLock<String> = LazyLock::new(|| format!("{} (record format {FORMAT_VERSION})", env!("CARGO_PKG_VERSION")));

const EXAMPLES: &str = "\
Examples:
  chat-memory append trip 'Where should we go?'        a user's message
  chat-memory append trip --role assistant 'To Rome.'  and the answer
  chat-memory show trip                                read it
  chat-memory show trip --last 20 --format openai      JSON lines, for a model
  chat-memory search lisbon                            find it
  chat-memory chat trip --base-url http://127.0.0.1:11434/v1 --model llama3.2
  chat-memory --store 'dynamodb://chats?region=eu-west-1' sessions
  chat-memory serve --demo                             a console and an HTTP API
  chat-memory export | chat-memory --store dynamodb://chats import -

Sessions:
  A session is one conversation. You choose its id: any text of up to 1,000
  bytes that does not begin with ns#, dir# or ckpt#, such as trip or
  user:42/support. For a new one:
  chat-memory append \"$(uuidgen)\" Hello

Stores:
  --store URL, else the environment variable CHAT_MEMORY_STORE, else a SQLite
  file in your data directory. A URL is one of these:

  sqlite:PATH, and after a ? any of these, with & between them:
    retention=30d  read_only=true  create_parent=true  max_record=16MB
    busy_timeout=10s
  dynamodb://TABLE, by name or ARN, and after a ? any of these:
    region=eu-west-1  endpoint=URL  profile=NAME  namespace=NAME
    partition_key=NAME  sort_key=NAME  consistency=strong|eventual
    retention=30d  read_only=true  max_record=16MB  request_timeout=5s
    deadline=30s
    For a table of Flowise or LangChain (detected from its keys):
    layout=list|turns  dialect=js|python  list_attribute=NAME
    sort_value=VALUE  ttl_attribute=NAME  roll=64KB|off
    Credentials come from AWS's usual sources, never from the URL.
  memory: lasts only as long as the process.

Exit codes:
  0  done
  1  failed
  2  usage error
  3  conflict: the session was modified
  130  interrupted by Ctrl-C";

/// Durable chat memory on DynamoDB or SQLite
#[derive(Debug, Parser)]
#[command(name = "chat-memory", version = VERSION.as_str(), after_long_help = EXAMPLES, after_help = "More, with examples: --help")]
#[command(styles = Styles::plain(), disable_help_subcommand = true, max_term_width = 120)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

/// The command.
#[derive(Debug, Subcommand)]
pub enum Command {
    Append(append::Arguments),
    Show(show::Arguments),
    Chat(chat::Arguments),
    Sessions(sessions::Arguments),
    Search(search::Arguments),
    Threads(threads::Arguments),
    Title(title::Arguments),
    Clear(clear::Arguments),
    Rewind(rewind::Arguments),
    Redact(redact::Arguments),
    Fork(fork::Arguments),
    Delete(delete::Arguments),
    Import(import::Arguments),
    Export(export::Arguments),
    Migrate(migrate::Arguments),
    #[command(subcommand)]
    Table(table::Command),
    IamPolicy(iam_policy::Arguments),
    Doctor(doctor::Arguments),
    Serve(Box<serve::Arguments>),
    #[command(subcommand)]
    Key(key::Command),
    Completions(completions::Arguments),
}

impl Command {
    /// Runs the command.
    pub async fn run(self, app: &App) -> Result<(), Failure> {
        match self {
            Self::Append(arguments) => append::run(app, arguments).await,
            Self::Show(arguments) => show::run(app, arguments).await,
            Self::Chat(arguments) => chat::run(app, arguments).await,
            Self::Sessions(arguments) => sessions::run(app, arguments).await,
            Self::Search(arguments) => search::run(app, arguments).await,
            Self::Threads(arguments) => threads::run(app, arguments).await,
            Self::Title(arguments) => title::run(app, arguments).await,
            Self::Clear(arguments) => clear::run(app, arguments).await,
            Self::Rewind(arguments) => rewind::run(app, arguments).await,
            Self::Redact(arguments) => redact::run(app, arguments).await,
            Self::Fork(arguments) => fork::run(app, arguments).await,
            Self::Delete(arguments) => delete::run(app, arguments).await,
            Self::Import(arguments) => import::run(app, arguments).await,
            Self::Export(arguments) => export::run(app, arguments).await,
            Self::Migrate(arguments) => migrate::run(app, arguments).await,
            Self::Table(command) => table::run(app, command).await,
            Self::IamPolicy(arguments) => iam_policy::run(app, arguments),
            Self::Doctor(arguments) => doctor::run(app, arguments).await,
            Self::Serve(arguments) => serve::run(app, *arguments).await,
            Self::Key(command) => key::run(app, command),
            Self::Completions(arguments) => completions::run(app, arguments),
        }
    }
}
