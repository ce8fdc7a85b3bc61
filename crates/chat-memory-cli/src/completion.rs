//! Answers shells that complete a command line. The scripts that `completions` prints run the program with [`VARIABLE`] set; it
//! answers on standard output and exits, and it prints no errors.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use chat_memory::checkpoints::CheckpointOptions;
use chat_memory::store::url::StoreUrl;
use chat_memory::store::{SessionInfo, SessionQuery};
use chat_memory::{ChatStore, Owner, Role};
use chat_memory_server::keys;
use clap::Command;
use clap_complete::CompletionCandidate;
use clap_complete::env::{EnvCompleter, Shells};

use crate::app::{App, Globals};
use crate::escape::visible_line;

mod bash;
mod words;

use words::unquoted;

/// The environment variable through which a shell asks: it contains the shell's name.
pub const VARIABLE: &str = "CHAT_MEMORY_COMPLETE";

/// The time limit for the network: the user waits for the completion.
const PATIENCE: Duration = Duration::from_millis(800);

/// The time limit for a file, which answers in milliseconds unless the machine is very busy.
const PATIENCE_ON_DISK: Duration = Duration::from_secs(5);

/// The most pages of a list to read, if few ids start with the word.
const PAGES: usize = 100;

/// The most session ids to offer.
const MOST: usize = 200;

const SHELLS: &[&dyn EnvCompleter] = &[
    &bash::Bash,
    &clap_complete::env::Elvish,
    &clap_complete::env::Fish,
    &clap_complete::env::Powershell,
    &clap_complete::env::Zsh,
];

/// Answers a shell's question about this command line, if the program was started for one. Returns whether it was.
pub fn answer(command: fn() -> Command) -> bool {
    let Some(shell) = std::env::var_os(VARIABLE).filter(|shell| !shell.is_empty()) else { return false };
    let words: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    // A message on standard error would appear in the line that the user types.
    if let Some(answer) = shell.to_str().and_then(|shell| completions(command(), shell, words)) {
        let _ = std::io::stdout().write_all(&answer);
    }
    true
}

fn completions(mut command: Command, shell: &str, words: Vec<OsString>) -> Option<Vec<u8>> {
    if words.is_empty() {
        return None;
    }
    let mut answer = Vec::new();
    let here = std::env::current_dir().ok();
    Shells(SHELLS).completer(shell)?.write_complete(&mut command, words, here.as_deref(), &mut answer).ok()?;
    Some(answer)
}

/// The script that makes a shell ask. `program` is how this process was started.
pub fn script(shell: &str, program: &OsStr) -> Option<Vec<u8>> {
    const NAME: &str = "chat-memory";
    let mut program = std::path::PathBuf::from(program);
    // The shell may be in another directory when it asks; a program found in PATH stays a name.
    if program.components().count() > 1
        && let Ok(here) = std::env::current_dir()
    {
        program = here.join(program);
    }
    let mut script = Vec::new();
    let shell = Shells(SHELLS).completer(shell)?;
    shell.write_registration(VARIABLE, NAME, NAME, &program.to_string_lossy(), &mut script).ok()?;
    Some(script)
}

/// The roles of messages.
pub fn roles(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = unquoted(current);
    let roles = [Role::User, Role::Assistant, Role::System, Role::Tool].map(|role| role.as_str());
    roles.into_iter().chain(["developer"]).filter(|role| role.starts_with(&current)).map(CompletionCandidate::new).collect()
}

/// The ids of the sessions in the store that the command line names. Writes nothing, creates no file, and has a short time limit.
pub fn sessions(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = unquoted(current);
    let Some((url, runtime)) = store_and_runtime() else { return Vec::new() };
    let patience = if url.scheme() == "dynamodb" { PATIENCE } else { PATIENCE_ON_DISK };
    let mut found = Vec::new();
    let _ = runtime.block_on(async { tokio::time::timeout(patience, find_sessions(url, &current, &mut found)).await });
    // Anything still waiting for a file or the network must not delay the shell.
    runtime.shutdown_background();
    found.iter().map(candidate).collect()
}

/// Finds the sessions whose ids start with this text, until there are enough or the caller gives up.
async fn find_sessions(url: StoreUrl, beginning: &str, found: &mut Vec<SessionInfo>) {
    let store: Arc<dyn ChatStore> = if let Some(file) = url.sqlite() {
        // Opening a missing file would create it, and opening a pipe would block.
        let Ok(about) = std::fs::metadata(url.path()) else { return };
        if !about.is_file() {
            return;
        }
        // Opening a file read-only leaves SQLite's side files behind; a writer removes them.
        let file = file.read_only(about.permissions().readonly()).create_parent(false).busy_timeout(PATIENCE_ON_DISK);
        let Ok(store) = file.open().await else { return };
        Arc::new(store)
    } else {
        let Ok(store) = url.open().await else { return };
        store
    };
    let owner = option("--owner").and_then(|owner| Owner::new(owner).ok());
    // Reading a whole table costs money; a list by owner is a query.
    let all = owner.is_none() && url.scheme() == "sqlite";
    let mut after: Option<String> = None;
    for _ in 0..PAGES {
        let page = if all {
            store.list_all_sessions(after.as_deref()).await
        } else {
            let mut query = owner.clone().map_or_else(SessionQuery::unowned, SessionQuery::of).limit(100);
            query.after = after;
            store.sessions(&query).await
        };
        let Ok(page) = page else { return };
        let offered = |session: &SessionInfo| {
            let id = session.id.as_str();
            // A shell could not insert a line break or a control character.
            id.starts_with(beginning) && !id.contains(char::is_control)
        };
        found.extend(page.sessions.into_iter().filter(offered));
        after = page.next;
        if after.is_none() || found.len() >= MOST {
            break;
        }
    }
    found.truncate(MOST);
}

/// The ids of LangGraph's threads in a SQLite file: on DynamoDB, finding them would read the whole table.
pub fn threads(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = unquoted(current);
    let Some((url, runtime)) = store_and_runtime() else { return Vec::new() };
    let Some(file) = url.sqlite().filter(|_| url.path().is_file()) else { return Vec::new() };
    let found = runtime.block_on(async {
        let work = async {
            let store = file.create(false).busy_timeout(PATIENCE_ON_DISK).open().await.ok()?;
            let page = chat_memory_server::threads::list(&store.checkpoints(CheckpointOptions::default()), None).await.ok()?;
            Some(page.items)
        };
        tokio::time::timeout(PATIENCE_ON_DISK, work).await.ok().flatten().unwrap_or_default()
    });
    runtime.shutdown_background();
    let ids = found.into_iter().map(|thread| thread.id);
    ids.filter(|id| id.starts_with(&current) && !id.contains(char::is_control)).take(MOST).map(CompletionCandidate::new).collect()
}

/// The store that the command line names, and a runtime to read it in.
fn store_and_runtime() -> Option<(StoreUrl, tokio::runtime::Runtime)> {
    let globals = Globals { store: option("--store"), cost: false, read_only: false, json: false, utc: false };
    let url = App::new(globals).store_url().ok()?;
    Some((url, tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().ok()?))
}

fn candidate(session: &SessionInfo) -> CompletionCandidate {
    let title = session.title.as_deref().map(visible_line);
    CompletionCandidate::new(session.id.as_str()).help(title.map(Into::into))
}

/// The ids and names of the API keys in the file that the command line names.
pub fn api_keys(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = unquoted(current);
    let file = option("--keys").or_else(|| std::env::var("CHAT_MEMORY_KEYS").ok().filter(|file| !file.is_empty()));
    let keys = file.and_then(|file| keys::list(file.as_ref()).ok()).unwrap_or_default();
    let names = keys.into_iter().flat_map(|key| [(key.name.clone(), key.id.clone()), (key.id, key.name)]);
    let names = names.filter(|(name, _)| name.starts_with(&current) && !name.contains(char::is_control));
    names.map(|(name, other)| CompletionCandidate::new(name).help(Some(visible_line(&other).into()))).collect()
}

/// The value of an option on the command line that is being completed, as `--store URL` or `--store=URL`.
fn option(name: &str) -> Option<String> {
    let mut words = std::env::args_os().skip_while(|word| word != "--").skip(1).map(|word| unquoted(&word));
    let mut value = None;
    while let Some(word) = words.next() {
        if word == name {
            value = words.next();
        } else if let Some(given) = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
            value = Some(given.to_owned());
        }
    }
    value
}
