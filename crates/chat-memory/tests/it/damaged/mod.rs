//! Damages the items of a table or a file in every way. The library must report what is wrong with which session, or the damage
//! must not matter and everything is still there. It never panics, hangs, uses unbounded memory, or returns a shortened or
//! altered history.
#![cfg(all(feature = "dynamodb", feature = "sqlite"))]

mod erasing;
mod file;
mod listed;
mod marks;
mod readable;
mod table;
mod turns;
mod values;

use std::future::Future;
use std::time::Duration;

use chat_memory::store::{Load, SessionQuery};
use chat_memory::{Append, ChatStore, Error, ErrorKind, Message, SessionId};
use serde_json::{Map, Value};

/// What a history shows of a record: its number, its metadata and its messages.
pub type Shown = (u64, Option<Map<String, Value>>, Vec<Message>);

/// How many damages were tried, and their results.
#[derive(Debug, Default)]
pub struct Tally {
    pub tried: usize,
    pub refused: usize,
    pub harmless: usize,
}

impl Tally {
    /// Prints the totals. Fails if fewer damages than expected were tried, refused or harmless, or if too much memory was used.
    pub fn close(&self, what: &str, tried: usize, refused: usize, harmless: usize) {
        println!("{what}: {self:?}");
        let enough = |count, of_all| count >= values::at_least(of_all);
        assert!(
            enough(self.tried, tried) && enough(self.refused, refused) && enough(self.harmless, harmless),
            "{what}: {self:?}"
        );
        check_memory();
    }

    pub fn add(&mut self, other: &Self) {
        self.tried += other.tried;
        self.refused += other.refused;
        self.harmless += other.harmless;
    }
}

/// Checks that all tests of this program together used less than a third of what one of the bombs expands to. Linux only.
fn check_memory() {
    if cfg!(target_os = "linux") {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux reports a process's memory");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        let peak = peak.expect("a peak in kilobytes");
        assert!(peak < 1_000_000, "{peak} kB of memory were in use at once");
    }
}

/// Fails if an operation takes so long that it must be hanging.
pub async fn ends<T>(what: &str, operation: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(Duration::from_secs(60), operation).await;
    ended.unwrap_or_else(|_| panic!("{what} hangs"))
}

/// Returns everything that a load shows.
pub async fn shown(store: &dyn ChatStore, session: &SessionId, load: &Load, what: &str) -> Result<Vec<Shown>, Error> {
    let history = ends(what, store.load(session, load)).await?;
    Ok(history.records.into_iter().map(|record| (record.seq, record.metadata.clone(), record.into_messages())).collect())
}

/// Checks that an error is about the stored data and names the session.
pub fn check_error(error: &Error, session: &SessionId, what: &str) {
    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{what}: {:?}: {error}", error.kind());
    assert!(error.to_string().contains(session.as_str()), "{what} does not name the session: {error}");
    assert!(error.to_string().len() < 2_000, "{what}: an error that repeats the damaged data: {} bytes", error.to_string().len());
}

/// Loads, loads a window, appends, lists, sweeps, and loads again. The result must be one of these histories, each a valid
/// reading of the stored data. A load's error must contain `names`.
pub async fn examine(
    store: &dyn ChatStore,
    session: &SessionId,
    allowed: &[Vec<Shown>],
    names: &str,
    what: &str,
    tally: &mut Tally,
) {
    tally.tried += 1;
    let mut added = 0;
    let whole = shown(store, session, &Load::all(), what).await;
    match &whole {
        Err(error) => {
            check_error(error, session, what);
            assert!(error.to_string().contains(names), "{what} does not name {names:?}: {error}");
            tally.refused += 1;
        }
        Ok(shown) => {
            assert!(allowed.contains(shown), "{what}: a different history was returned without an error: {}", brief(shown));
            tally.harmless += 1;
        }
    }
    match shown(store, session, &Load::last(2), &format!("a window with {what}")).await {
        Err(error) => check_error(&error, session, what),
        Ok(window) => {
            let is_end = |all: &Vec<Shown>| all.ends_with(&window) && (!window.is_empty() || all.is_empty());
            assert!(allowed.iter().any(is_end), "{what}: a window returns a different history: {}", brief(&window));
        }
    }
    let more = Message::user("and more");
    match ends(&format!("an append with {what}"), store.append(session, &Append::new([more.clone()]))).await {
        Err(error) => check_error(&error, session, &format!("an append with {what}")),
        Ok(_) => added = 1,
    }
    if store.capabilities().directory {
        for list in [ends(what, store.sessions(&SessionQuery::unowned())).await, ends(what, store.list_all_sessions(None)).await]
        {
            if let Err(error) = list {
                check_error(&error, session, &format!("a list with {what}"));
            }
        }
    }
    if let Err(error) = ends(&format!("a sweep with {what}"), store.sweep(session)).await {
        check_error(&error, session, &format!("a sweep with {what}"));
    }
    match (whole, shown(store, session, &Load::all(), what).await) {
        (Err(_), Err(error)) => check_error(&error, session, what),
        (Ok(before), Ok(after)) => {
            assert_eq!(after[..after.len() - added], before[..], "{what}: a sweep or an append altered the history");
            assert!(
                added == 0 || after.last().is_some_and(|(.., messages)| *messages == [more]),
                "{what}: the append is not there"
            );
        }
        // Nothing here expires in the meantime or becomes visible again once it is recognised.
        (Ok(_), Err(error)) => panic!("{what}: an append or a sweep made it unreadable: {error}"),
        (Err(error), Ok(_)) => panic!("{what}: the damage went away by itself, it was: {error}"),
    }
}

fn brief(shown: &[Shown]) -> String {
    let record = |(seq, metadata, messages): &Shown| {
        let texts: Vec<_> = messages.iter().map(|message| message.text().chars().take(30).collect::<String>()).collect();
        format!("{seq} {:?} {texts:?}", metadata.is_some())
    };
    shown.iter().map(record).collect::<Vec<_>>().join("; ")
}
