//! `doctor`

use std::path::{Path, PathBuf};

use chat_memory::store::dynamodb::admin::{Admin, Severity};
use chat_memory::store::url::StoreUrl;
use chat_memory::{Error, Timestamp};
use chat_memory_server::keys;
use clap::{Args, CommandFactory as _};
use serde_json::json;

use super::count;
use super::findings::{self, Finding};
use crate::app::{App, open, options};
use crate::cli::Cli;
use crate::failure::{FAILED, Failure};

const EXAMPLES: &str = "\
Examples:
  chat-memory doctor
  chat-memory --store 'dynamodb://chats?region=eu-west-1' doctor
  chat-memory doctor --keys keys.toml --json

Looks at the settings in the environment, the store, and this machine's clock. Of a SQLite file: its permissions, the space on its disk, \
and SQLite's own check of the whole file. Of a DynamoDB table: where the credentials come from, and everything that `table check` checks. With \
--keys, or the variable CHAT_MEMORY_KEYS, also the service's key file. Values of variables are not printed.

It stores nothing. The store is opened as by every command: a SQLite file of an older version is upgraded, unless --read-only is given.

If there is an error, the exit code is 1; warnings and hints can wait. With --json: {\"store\", \"findings\": [{\"severity\", \"subject\", \
\"what\", \"remedy\"}]}; severity is ok, hint, warning or error.";

/// Find out why something does not work: check settings, store, credentials, permissions and clock, and print what to do
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The service's key file [env: CHAT_MEMORY_KEYS]
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
}

/// Below this, a disk is nearly full: SQLite needs room for its log, too.
#[cfg(unix)]
const LITTLE_SPACE: u64 = 100 << 20;

/// Below this, it is full.
#[cfg(unix)]
const NO_SPACE: u64 = 1 << 20;

/// The start of 2026, before which this program did not exist.
const FIRST_DAY: Timestamp = Timestamp::from_millis(1_767_225_600_000);

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let mut found = vec![Finding::fine("program", format!("chat-memory {}", env!("CARGO_PKG_VERSION")))];
    found.extend(settings());
    found.extend(clock());
    let url = app.store_url();
    let mut fits = true;
    match &url {
        Err(failure) => found.push(Finding::new(
            Severity::Error,
            "store",
            failure.sentence().unwrap_or_default(),
            "name the store with --store or CHAT_MEMORY_STORE; `chat-memory --help` lists what a store URL may be",
        )),
        Ok(url) => {
            let source = if app.names_a_store() { "" } else { " (the default)" };
            found.push(Finding::fine("store", format!("the store is {url}{source}")));
            if let Some(options) = options(url) {
                found.push(credentials(url));
                match Admin::open(&options).await {
                    Err(error) => found.push(failed("table", &error)),
                    Ok(admin) => {
                        let of_table = admin.check().await;
                        fits = findings::fits(&of_table);
                        found.extend(of_table.iter().map(Finding::from));
                    }
                }
            } else if url.sqlite().is_some() {
                found.extend(file(url).await);
            } else {
                found.push(match open(url).await {
                    Ok(_) => Finding::fine("store", "it can be opened"),
                    Err(error) => failed("store", &error),
                });
            }
        }
    }
    let from_environment = std::env::var_os("CHAT_MEMORY_KEYS").filter(|file| !file.is_empty()).map(PathBuf::from);
    if let Some(path) = arguments.keys.or(from_environment) {
        found.extend(key_file(&path));
    }
    if app.json() {
        let store = url.ok().map(|url| url.to_string());
        app.out.json(&json!({ "store": store, "findings": findings::to_json(found.iter().cloned()) }))?;
    } else {
        findings::print(app, found.iter().cloned())?;
        app.out.line(conclusion(&found))?;
    }
    let fits = fits && found.iter().all(|finding| finding.severity < Severity::Error);
    if fits { Ok(()) } else { Err(Failure::Printed(FAILED)) }
}

fn conclusion(found: &[Finding]) -> String {
    let n = |severity| found.iter().filter(|finding| finding.severity == severity).count() as u64;
    match (n(Severity::Error), n(Severity::Warning)) {
        (0, 0) => "nothing needs to be done".to_owned(),
        (errors, warnings) => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
    }
}

/// An error of the library, which says what to do after its last semicolon.
fn failed(subject: &'static str, error: &Error) -> Finding {
    let sentence = error.to_string();
    match sentence.rsplit_once("; ") {
        Some((what, remedy)) => Finding::new(Severity::Error, subject, what, remedy),
        None => Finding { severity: Severity::Error, subject, what: sentence, remedy: None },
    }
}

/// The variables that are set, by name, and those that look like one of ours and are none.
fn settings() -> Vec<Finding> {
    const OTHERS: [&str; 15] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_CONFIG_FILE",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_DYNAMODB",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "NO_COLOR",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "PAGER",
    ];
    let ours = variables();
    let set = std::env::vars_os().filter(|(_, value)| !value.is_empty()).filter_map(|(name, _)| name.into_string().ok());
    let mut set: Vec<String> = set.filter(|name| name.starts_with("CHAT_MEMORY_") || OTHERS.contains(&name.as_str())).collect();
    set.sort();
    let (unknown, known): (Vec<_>, Vec<_>) =
        set.into_iter().partition(|name| name.starts_with("CHAT_MEMORY_") && !ours.contains(name));
    let what = match known.is_empty() {
        true => "no setting comes from the environment".to_owned(),
        false => format!("set in the environment: {}", known.join(", ")),
    };
    let unknown = unknown.iter().map(|name| {
        let remedy = "correct its name, or unset it; `chat-memory --help` and `chat-memory serve --help` list the variables";
        Finding::new(Severity::Warning, "settings", format!("{name} is set, and there is no such setting"), remedy)
    });
    [Finding::fine("settings", what)].into_iter().chain(unknown).collect()
}

/// The names of our variables: those of options, and those that are read elsewhere.
fn variables() -> Vec<String> {
    fn of(command: &clap::Command, names: &mut Vec<String>) {
        names.extend(command.get_arguments().filter_map(|argument| Some(argument.get_env()?.to_str()?.to_owned())));
        command.get_subcommands().for_each(|command| of(command, names));
    }
    let mut names: Vec<String> =
        [crate::app::STORE, crate::completion::VARIABLE, crate::pager::VARIABLES[0]].map(str::to_owned).into();
    of(&Cli::command(), &mut names);
    names
}

fn clock() -> Option<Finding> {
    let now = Timestamp::now();
    (now < FIRST_DAY).then(|| {
        let remedy = "set the clock: messages are dated, and expire, by it";
        Finding::new(Severity::Error, "clock", format!("this machine's clock shows {now}"), remedy)
    })
}

/// Where AWS's usual sources have credentials, in their order. Whether they are valid, the table's answer shows.
fn credentials(url: &StoreUrl) -> Finding {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let fine = |source: String| Finding::fine("credentials", format!("AWS credentials come from {source}"));
    if let Some(profile) = url.parameter("profile") {
        return fine(format!("the profile {profile:?}, which the store URL names"));
    }
    match (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) {
        (true, true) if set("AWS_SESSION_TOKEN") => {
            return fine("the environment, with a session token, which expires".to_owned());
        }
        (true, true) => return fine("the environment".to_owned()),
        (false, false) => {}
        (id, _) => {
            let missing = if id { "AWS_SECRET_ACCESS_KEY" } else { "AWS_ACCESS_KEY_ID" };
            let remedy = format!("set {missing} too, or unset both");
            return Finding::new(
                Severity::Warning,
                "credentials",
                format!("{missing} is not set, while its counterpart is"),
                remedy,
            );
        }
    }
    let home = etcetera::home_dir().ok();
    let files = [("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"), ("AWS_CONFIG_FILE", ".aws/config")];
    let files = files.iter().filter_map(|(variable, place)| match std::env::var_os(variable).filter(|file| !file.is_empty()) {
        Some(file) => Some(PathBuf::from(file)),
        None => Some(home.as_ref()?.join(place)),
    });
    let files: Vec<_> = files.filter(|file| file.is_file()).map(|file| file.display().to_string()).collect();
    if set("AWS_PROFILE") || !files.is_empty() {
        let profile = if set("AWS_PROFILE") { "the profile that AWS_PROFILE names" } else { "the default profile" };
        let files = if files.is_empty() { "no file that exists".to_owned() } else { files.join(" and ") };
        return fine(format!("{profile}, in {files}"));
    }
    if set("AWS_WEB_IDENTITY_TOKEN_FILE") {
        return fine("a web identity token (AWS_WEB_IDENTITY_TOKEN_FILE)".to_owned());
    }
    if set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") || set("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
        return fine("the container's role".to_owned());
    }
    Finding::new(
        Severity::Hint,
        "credentials",
        "no AWS credentials are configured here; only the role of an EC2 instance could have some",
        "run `aws configure` or `aws sso login`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    )
}

/// A SQLite file.
async fn file(url: &StoreUrl) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(builder) = url.sqlite() else { return found };
    let path = std::path::absolute(url.path()).unwrap_or_else(|_| url.path().to_owned());
    let Ok(about) = path.metadata() else {
        found.push(Finding::fine("file", format!("{} does not exist yet; the first append creates it", path.display())));
        let folder = path.ancestors().skip(1).find(|folder| folder.is_dir());
        found.extend(folder.map(space).into_iter().flatten());
        return found;
    };
    found.extend(private(&path, &about));
    found.extend(path.parent().map(space).into_iter().flatten());
    if !url.is_read_only() && std::fs::OpenOptions::new().append(true).open(&path).is_err() && about.is_file() {
        let remedy = "change its owner or permissions, or give --read-only to only read";
        found.push(Finding::new(Severity::Error, "file", format!("{} cannot be written", path.display()), remedy));
    }
    let now = Timestamp::now();
    let written = about.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    if written.is_some_and(|at| at.as_millis() as i64 > now.as_millis() + 60_000) {
        let what = format!("the file was last written after now, which is {now} by this machine's clock");
        found.push(Finding::new(Severity::Warning, "clock", what, "check the clock: messages are dated, and expire, by it"));
    }
    let store = match builder.create(false).open().await {
        Ok(store) => store,
        Err(error) => {
            found.push(failed("file", &error));
            return found;
        }
    };
    let damaged = |what: String| {
        let remedy = "restore a backup; what is still legible, `chat-memory export` writes";
        Finding::new(Severity::Error, "file", what, remedy)
    };
    match store.quick_check().await {
        Ok(problems) if problems.is_empty() => {
            found.push(Finding::fine("file", format!("{} is whole ({} bytes)", path.display(), about.len())));
        }
        Ok(problems) => {
            let more = if problems.len() > 1 { format!(", and {} more", problems.len() - 1) } else { String::new() };
            let first = problems.first().map(String::as_str).unwrap_or_default();
            found.push(damaged(format!("{} is damaged: {first}{more}", path.display())));
        }
        Err(error) if error.is_corrupt() => found.push(damaged(error.to_string())),
        Err(error) => found.push(failed("file", &error)),
    }
    found
}

/// Whether only its owner may read a file.
#[cfg(unix)]
fn private(path: &Path, about: &std::fs::Metadata) -> Option<Finding> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = about.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let what = format!("others on this machine have access to the conversations: {} has mode {mode:o}", path.display());
        Finding::new(Severity::Warning, "permissions", what, format!("chmod 600 {}", path.display()))
    })
}

#[cfg(not(unix))]
fn private(_: &Path, _: &std::fs::Metadata) -> Option<Finding> {
    None
}

/// Whether a disk has space left.
#[cfg(unix)]
fn space(folder: &Path) -> Option<Finding> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let what = format!("{} MB are free in {}", free >> 20, folder.display());
    let remedy = "free some: appends fail when the disk is full";
    Some(match free {
        0..NO_SPACE => Finding::new(Severity::Error, "disk", what, remedy),
        NO_SPACE..LITTLE_SPACE => Finding::new(Severity::Warning, "disk", what, remedy),
        _ => Finding::fine("disk", what),
    })
}

#[cfg(not(unix))]
fn space(_: &Path) -> Option<Finding> {
    None
}

/// The service's key file.
fn key_file(path: &Path) -> Vec<Finding> {
    let mut found = Vec::new();
    match keys::list(path) {
        Ok(list) if list.is_empty() => {
            let remedy = format!("create one: chat-memory key new --keys {} --name NAME", path.display());
            found.push(Finding::new(Severity::Warning, "keys", format!("{} has no key", path.display()), remedy));
        }
        Ok(list) => found.push(Finding::fine("keys", format!("{} has {}", path.display(), count(list.len() as u64, "key")))),
        Err(error) => found.push(failed("keys", &error)),
    }
    #[cfg(unix)]
    if let Ok(about) = path.metadata() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o022 != 0 {
            let what = format!("others on this machine may add keys: {} has mode {mode:o}", path.display());
            found.push(Finding::new(Severity::Warning, "keys", what, format!("chmod 600 {}", path.display())));
        }
    }
    found
}
