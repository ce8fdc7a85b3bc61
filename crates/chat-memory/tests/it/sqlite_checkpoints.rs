//! Checkpoints in a SQLite file: the conformance suite with each store a handle of its own on the same file, several processes, and
//! URLs.
#![cfg(all(feature = "sqlite", unix))]

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use crate::thread::{id, json, newest, put, saying};
use chat_memory::checkpoints::{self, CheckpointOptions, CheckpointStore, NewCheckpoint};
use chat_memory::store::sqlite::SqliteStore;
use chat_memory::{ErrorKind, SessionId, Timestamp};
use chat_memory_testkit::children::{self, said, say, this_program};

const FILE: &str = "CHAT_MEMORY_TEST_FILE";

/// Runs a process by its role; the other tests start it. By hand, without a role, it does nothing.
///
/// It continues the thread from wherever it is, and tells of each checkpoint that was put.
#[test]
#[ignore = "the other tests run it, in processes of their own"]
fn role() {
    let Some(role) = children::role() else { return println!("no role was given") };
    let path = std::env::var(FILE).expect("a file is given with the role");
    let (who, count) = role.split_once(' ').expect("a writer's name and how many checkpoints it puts");
    let count: usize = count.parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = open(Path::new(&path), CheckpointOptions::default()).await;
        let mut put_by_us = 0;
        while put_by_us < count {
            let newest = newest(&store, &thread()).await;
            let (n, mut text) = newest.as_ref().map_or((0, String::new()), |newest| {
                let n: usize = newest.id[..8].parse().expect("a number");
                (n, String::from_utf8(newest.values["messages"].bytes.clone()).expect("UTF-8"))
            });
            let id = format!("{:08}-{who}", n + 1);
            text.push_str(&said_at(&id));
            let mut new = NewCheckpoint::new(&id, newest.map(|newest| newest.id), json(&id), json("{}"));
            new.versions.insert("messages".into(), id.clone());
            new.values.insert("messages".into(), Some(json(text)));
            match put(&store, &thread(), new).await {
                Ok(_) => {
                    put_by_us += 1;
                    say(id);
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
            }
        }
    });
}

/// What a writer adds to the thread with its checkpoint.
fn said_at(id: &str) -> String {
    format!("{id} {};", noise(id.bytes().map(u64::from).sum(), 600))
}

fn start(who: &str, count: usize, path: &Path) -> Child {
    let mut command = children::start(module_path!(), &this_program(), &format!("{who} {count}"));
    command.env(FILE, path).spawn().expect("a process")
}

/// Checks that a thread is one chain that has all of these checkpoints; returns how many it has.
async fn check_chain(file: &File, acknowledged: &[String]) -> usize {
    let mut list = file.open().await.list(&thread(), "", None, usize::MAX).await.expect("it can be listed").value;
    list.reverse();
    let (mut text, mut parent) = (String::new(), None);
    for checkpoint in &list {
        text.push_str(&said_at(&checkpoint.id));
        assert_eq!((&checkpoint.parent, &checkpoint.values["messages"]), (&parent, &json(text.clone())), "{}", checkpoint.id);
        parent = Some(checkpoint.id.clone());
    }
    for id in acknowledged {
        assert!(list.iter().any(|checkpoint| checkpoint.id == *id), "{id} was acknowledged and is lost");
    }
    list.len()
}

#[tokio::test]
async fn processes_on_one_thread_lose_nothing_and_never_branch() {
    let file = File::new();
    // All at once, with no file yet: the first creates it, and the table.
    let children: Vec<Child> = (0..4).map(|who| start(&who.to_string(), 30, &file.path)).collect();
    let mut acknowledged = Vec::new();
    for mut child in children {
        acknowledged.extend(said(&mut child));
        assert!(child.wait().expect("its end").success(), "a process failed");
    }
    assert_eq!(acknowledged.len(), 4 * 30);
    assert_eq!(check_chain(&file, &acknowledged).await, 4 * 30);
}

#[tokio::test]
async fn acknowledged_checkpoints_survive_kill_9() {
    let file = File::new();
    let mut acknowledged: Vec<String> = Vec::new();
    for (round, until) in [1, 7, 20, 60].into_iter().enumerate() {
        let mut killed = start(&format!("killed-{round}"), 1_000_000, &file.path);
        let mut other = start(&format!("other-{round}"), 20, &file.path);
        let mut lines = said(&mut killed);
        acknowledged.extend(lines.by_ref().take(until));
        killed.kill().expect("SIGKILL");
        acknowledged.extend(lines);
        assert!(!killed.wait().expect("its end").success(), "it ended by itself");
        acknowledged.extend(said(&mut other));
        assert!(other.wait().expect("its end").success(), "the process next to the killed one failed");
        // Each killed process has at most one checkpoint that was not acknowledged.
        let count = check_chain(&file, &acknowledged).await;
        assert!(count <= acknowledged.len() + round + 1, "{count} checkpoints, {} acknowledged", acknowledged.len());
    }
}

#[tokio::test]
async fn checkpoints_are_opened_by_url_with_its_retention() {
    let file = File::new();
    let url = format!("sqlite:{}?retention=2h", file.path.display());
    let store = checkpoints::open(&url, CheckpointOptions::default()).await.expect("it can be opened");
    put(&store, &thread(), saying(1, None, "a")).await.expect("it can be put");
    drop(store);
    let there = newest(&file.open().await, &thread()).await.expect("it is there");
    let left = there.expires_at.expect("it expires").since(Timestamp::now());
    assert!(left > Duration::from_secs(7_100) && left <= Duration::from_secs(7_200), "{left:?}");
    let read_only = checkpoints::open(&format!("{url}&read_only=true"), CheckpointOptions::default()).await.expect("it opens");
    assert_eq!(newest(&read_only, &thread()).await.expect("it is there").id, id(1));
    let tenant = CheckpointOptions::default().with_namespace(Some("tenant".parse().expect("a good name")));
    let tenant = checkpoints::open(&url, tenant).await.expect("it can be opened");
    assert_eq!(newest(&tenant, &thread()).await, None);
    put(&tenant, &thread(), saying(2, None, "b")).await.expect("it can be put");
    for store in [&tenant, &file.open().await] {
        assert_eq!(store.threads(None).await.expect("they can be listed").value.0, [thread()]);
    }
}

/// A file of its own for a test.
struct File {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl File {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { path: folder.path().join("chat.db"), _folder: folder }
    }

    /// Another handle on the file, which remembers nothing.
    async fn open(&self) -> CheckpointStore {
        open(&self.path, CheckpointOptions::default()).await
    }
}

async fn open(path: &Path, options: CheckpointOptions) -> CheckpointStore {
    SqliteStore::open(path).await.expect("the file opens").checkpoints(options)
}

fn thread() -> SessionId {
    SessionId::new("t/1").expect("a good id")
}

fn noise(seed: u64, bytes: usize) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..bytes).map(|_| char::from(random.u8(b'!'..=b'~'))).collect()
}

#[cfg(feature = "conformance")]
mod conformance {
    use super::{File, open};
    use chat_memory::checkpoints::conformance::Table;

    /// Each store has its own connections, as another process would.
    fn table() -> Table {
        let file = std::sync::Arc::new(File::new());
        Table::new(move |options| {
            let file = file.clone();
            async move { Ok(open(&file.path, options).await) }
        })
    }

    chat_memory::checkpoint_conformance_tests! { table: table() }
}
