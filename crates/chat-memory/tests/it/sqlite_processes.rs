//! Several processes on one SQLite file: writing at once, killed in the middle, without permission.
//!
//! Each process is this test binary, started again with a role.
#![cfg(all(feature = "sqlite", unix))]

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command};

use chat_memory::store::sqlite::SqliteStore;
use chat_memory::store::{Append, ChatStore, Load};
use chat_memory::{Message, SessionId};
use chat_memory_testkit::children::{self, pair, said, say, this_program};

const FILE: &str = "CHAT_MEMORY_TEST_FILE";

fn session() -> SessionId {
    SessionId::new("shared").expect("a good id")
}

/// A question and its answer, as writer `who` appends them.
fn turn(who: &str, n: usize) -> Append {
    Append::new([Message::user(format!("{who}/{n}/q")), Message::assistant(format!("{who}/{n}/a {}", "x".repeat(600)))])
}

/// Runs a process by its role; the other tests start it. By hand, without a role, it does nothing.
#[test]
#[ignore = "the other tests run it, in processes of their own"]
fn role() {
    let Some(role) = children::role() else { return println!("no role was given") };
    let path = std::env::var(FILE).expect("a file is given with the role");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        if let Some(mode) = role.strip_prefix("open ") {
            let opened = SqliteStore::builder(&path).read_only(mode == "read-only").open().await;
            return match opened {
                Ok(_) => say("opened"),
                Err(e) => say(format_args!("{:?} {e}", e.kind())),
            };
        }
        let (who, turns) = role.split_once(' ').expect("a writer's name and its number of turns");
        let store = SqliteStore::open(&path).await.expect("the file opens");
        for n in 0..turns.parse().expect("a number") {
            let appended = store.append(&session(), &turn(who, n)).await.expect("an append");
            say(format_args!("{n} {}", appended.seq));
        }
    });
}

fn start(program: &Path, role: &str, path: &Path) -> Command {
    let mut command = children::start(module_path!(), program, role);
    command.env(FILE, path);
    command
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path).await.expect("the file opens")
}

#[tokio::test]
async fn eight_processes_lose_and_duplicate_nothing() {
    const WRITERS: usize = 8;
    const TURNS: usize = 50;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("chat.db");
    // All at once, with no file yet: the first creates it.
    let children: Vec<Child> =
        (0..WRITERS).map(|who| start(&this_program(), &format!("{who} {TURNS}"), &path).spawn().expect("a process")).collect();
    let mut told = HashMap::new();
    for (who, mut child) in children.into_iter().enumerate() {
        for said in said(&mut child) {
            let (n, seq) = pair(&said);
            assert_eq!(told.insert(seq, (who, n)), None, "the number {seq} was used twice");
        }
        assert!(child.wait().expect("its end").success(), "process {who} failed");
    }
    let history = open(&path).await.load(&session(), &Load::all()).await.expect("a load");
    assert_eq!((history.records.len(), told.len()), (WRITERS * TURNS, WRITERS * TURNS));
    let mut next = [0; WRITERS];
    for (place, record) in history.records.iter().enumerate() {
        let (who, n) = told[&(place as u64)];
        assert_eq!(record.seq, place as u64);
        assert_eq!(record.entries, turn(&who.to_string(), n).entries(), "record {place}");
        assert_eq!(n, next[who], "process {who}'s own turns are out of order");
        next[who] += 1;
    }
}

#[tokio::test]
async fn acknowledged_appends_survive_kill_9() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("chat.db");
    let mut acknowledged: Vec<(String, usize, u64)> = Vec::new();
    for (round, until) in [1, 7, 20, 33, 50].into_iter().enumerate() {
        // Two at once: one is killed; the other waits for its lock and must get it.
        let mut killed = start(&this_program(), &format!("killed-{round} 1000000"), &path).spawn().expect("a process");
        let mut other = start(&this_program(), &format!("other-{round} 20"), &path).spawn().expect("a process");
        let mut lines = said(&mut killed);
        let mut heard: Vec<String> = lines.by_ref().take(until).collect();
        killed.kill().expect("SIGKILL");
        heard.extend(lines);
        assert!(!killed.wait().expect("its end").success(), "it ended by itself");
        acknowledged.extend(heard.iter().map(|said| pair(said)).map(|(n, seq)| (format!("killed-{round}"), n, seq)));
        acknowledged.extend(said(&mut other).map(|said| pair(&said)).map(|(n, seq)| (format!("other-{round}"), n, seq)));
        assert!(other.wait().expect("its end").success(), "the process next to the killed one failed");

        let store = open(&path).await;
        let history = store.load(&session(), &Load::all()).await.expect("a load");
        for (who, n, seq) in &acknowledged {
            assert_eq!(history.records[*seq as usize].entries, turn(who, *n).entries(), "record {seq}, acknowledged to {who}");
        }
        // Each killed process has at most one append that was not acknowledged, and it is whole.
        let round = round as u64 + 1;
        let records = history.records.len() as u64;
        assert!(records <= acknowledged.len() as u64 + round, "{records} records, {} acknowledged", acknowledged.len());
        assert!(history.records.iter().all(|record| record.entries.len() == 2));
        let next = store.append(&session(), &turn("after", 0)).await.expect("the next append");
        assert_eq!(next.seq, records);
        acknowledged.push(("after".into(), 0, next.seq));
    }
}

/// Opens a file as a user without permissions; as the current user if the tests do not run as root.
fn open_as_nobody(folder: &Path, path: &Path, mode: &str) -> String {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    let is_root = std::fs::metadata(folder).expect("our own folder").uid() == 0;
    // The program itself must be accessible to that user.
    let program = folder.join("program");
    if !program.exists() {
        std::fs::copy(this_program(), &program).expect("a copy of this program");
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("a folder open to all");
    }
    let mut command = start(&program, &format!("open {mode}"), path);
    if is_root {
        command.uid(65_534).gid(65_534);
    }
    let mut child = command.spawn().expect("a process");
    let said: Vec<String> = said(&mut child).collect();
    assert!(child.wait().expect("its end").success());
    said.concat()
}

#[tokio::test]
async fn missing_file_permission_error_names_file_and_remedy() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let set = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("its mode");

    // A read-only directory: no file can be created in it.
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).expect("a folder");
    let path = closed.join("chat.db");
    set(&closed, 0o555);
    let said = open_as_nobody(folder.path(), &path, "read-write");
    assert!(said.starts_with("AccessDenied") && said.contains("chat.db") && said.contains("permissions"), "{said}");

    // A read-only file in it.
    set(&closed, 0o755);
    open(&path).await.append(&session(), &turn("us", 0)).await.expect("an append");
    set(&path, 0o444);
    set(&closed, 0o555);
    let said = open_as_nobody(folder.path(), &path, "read-write");
    assert!(said.starts_with("AccessDenied") && said.contains("chat.db"), "{said}");
    let said = open_as_nobody(folder.path(), &path, "read-only");
    assert!(said.starts_with("AccessDenied") && said.contains("read a copy"), "{said}");

    // A file that cannot be read at all.
    set(&path, 0o000);
    let said = open_as_nobody(folder.path(), &path, "read-only");
    assert!(said.starts_with("AccessDenied") && said.contains("chat.db"), "{said}");
    set(&closed, 0o755);
}
