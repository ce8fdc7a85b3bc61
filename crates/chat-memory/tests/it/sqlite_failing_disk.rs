//! A process whose disk is full: the system refuses each write beyond a file size (`ulimit -f`, error `EFBIG`), which SQLite
//! reports as an I/O error at any point of its files and of a transaction.
//!
//! Each process is this test binary, started again with a role. Not covered: a system that lies (a drive that loses what it
//! acknowledged). docs/guarantees.md describes how to try other faults by hand.
#![cfg(all(feature = "sqlite", unix))]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use chat_memory::store::sqlite::SqliteStore;
use chat_memory::store::{Append, ChatStore, Load, Record, Ticket};
use chat_memory::{Error, Message, SessionId};
use chat_memory_testkit::children::{self, said, say, this_program};

const FILE: &str = "CHAT_MEMORY_TEST_FILE";

/// A process gives up after this many failures.
const FAILURES: usize = 12;

fn session() -> SessionId {
    SessionId::new("s").expect("a good id")
}

fn turn(n: usize) -> Append {
    let text = format!("{n}/ {}", "word ".repeat(n * 97 % 700));
    Append::new([Message::user(text), Message::assistant(format!("answer {n}"))]).with_key(n.to_string())
}

/// Runs a process by its role; the other tests start it. By hand, without a role, it does nothing.
#[test]
#[ignore = "the other tests run it, in processes of their own"]
fn role() {
    let Some(role) = children::role() else { return println!("no role was given") };
    let path = std::env::var(FILE).expect("a file is given with the role");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = match SqliteStore::open(&path).await {
            Ok(store) => store,
            Err(error) => return say(format_args!("closed {error}")),
        };
        if role == "clear" {
            return match store.clear(&session()).await {
                Ok(_) => say("cleared"),
                Err(error) => say(format_args!("failed {error}")),
            };
        }
        let mut failures = 0;
        for n in role.parse::<usize>().expect("a first turn").. {
            // With its repeat, which shares its transaction.
            let (first, repeat) = (turn(n), turn(n));
            let (session, other) = (session(), session());
            let (first, repeat) = tokio::join!(store.append(&session, &first), store.append(&other, &repeat));
            failures += usize::from(first.is_err());
            for result in [first, repeat] {
                match result {
                    Ok(appended) => say(format_args!("landed {n} {}", appended.seq)),
                    Err(error) => match error.ticket() {
                        Some(ticket) => say(format_args!("doubt {n} {ticket}")),
                        None => say(format_args!("refused {n} {error}")),
                    },
                }
            }
            if failures == FAILURES {
                break;
            }
        }
    });
}

/// Runs a role in a process that may make no file larger than n blocks of 512 bytes, until it ends; returns its output.
fn run(role: &str, path: &Path, blocks: u64) -> Vec<String> {
    let plain = children::start(module_path!(), &this_program(), role);
    // The signal that announces it would end a process that does not expect it.
    let script = format!("trap '' XFSZ; ulimit -f {blocks} || exit 9; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(plain.get_program()).args(plain.get_args()).env(FILE, path).current_dir("/");
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("a process");
    let lines = said(&mut child).collect();
    let status = child.wait().expect("its end");
    assert!(status.success(), "the process in the role {role} ended with {status}, of {blocks} blocks: {lines:?}");
    lines
}

/// The output for each turn: its first word, and the rest.
type Told = BTreeMap<usize, Vec<(String, String)>>;

fn told(lines: &[String], told: &mut Told) {
    for line in lines {
        let mut words = line.splitn(3, ' ');
        let [what, n, rest] = [(); 3].map(|()| words.next().unwrap_or_else(|| panic!("{line}")).to_owned());
        told.entry(n.parse().expect("a turn")).or_default().push((what, rest));
    }
}

async fn load(store: &SqliteStore) -> Result<Vec<Vec<Message>>, Error> {
    let history = store.load(&session(), &Load::all()).await?;
    Ok(history.records.into_iter().map(Record::into_messages).collect())
}

#[tokio::test]
async fn acknowledged_appends_are_stored_and_unknown_ones_settled() {
    let (mut landed, mut in_doubt, mut refused) = (0, 0, 0);
    for blocks in [120, 155, 210, 320, 460, 640, 900] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("chat.db");
        let mut all = Told::new();
        // The second run starts where the first failed, with the files as they were left.
        for first in [0, 100_000] {
            let lines = run(&first.to_string(), &path, blocks);
            if lines.iter().all(|line| !line.starts_with("closed")) {
                told(&lines, &mut all);
            }
        }
        // Now there is room again.
        let store = SqliteStore::open(&path).await.unwrap_or_else(|e| panic!("{blocks} blocks: {e}"));
        let records = load(&store).await.unwrap_or_else(|e| panic!("{blocks} blocks: {e}"));
        for (n, outcomes) in &all {
            let at = format!("{blocks} blocks, turn {n}, with outcomes {outcomes:?}");
            let places: Vec<usize> = (0..records.len()).filter(|seq| records[*seq].iter().eq(turn(*n).messages())).collect();
            let word = |word: &str| outcomes.iter().find(|(what, _)| what == word).map(|(_, rest)| rest);
            match (word("landed"), word("doubt")) {
                (Some(seq), _) => assert_eq!(places, [seq.parse::<usize>().expect("a number")], "{at}"),
                (None, Some(ticket)) => {
                    assert!(places.len() <= 1, "{at}");
                    let ticket: Ticket = ticket.parse().expect("our own text");
                    let settled = store.append(&session(), &turn(*n).with_ticket(ticket)).await.expect("a ticket");
                    assert_eq!(settled.repeated, places.len() == 1, "{at}");
                    in_doubt += 1;
                }
                (None, None) => {
                    assert!(places.is_empty(), "{at}");
                    refused += 1;
                }
            }
            landed += usize::from(word("landed").is_some());
        }
        let mut once = load(&store).await.expect("a load");
        let count = once.len();
        once.sort_by_key(|messages| messages[0].text());
        once.dedup();
        assert_eq!(once.len(), count, "{blocks} blocks: a turn is stored twice");
        assert_eq!(store.append(&session(), &turn(999_999)).await.expect("the next append").seq, count as u64);
    }
    println!("{landed} turns landed, {in_doubt} were in doubt, {refused} were refused");
    assert!(
        landed > 50 && in_doubt + refused > 50,
        "some turns must be stored and some must fail: {landed}, {in_doubt}, {refused}"
    );
}

#[tokio::test]
async fn clear_refused_by_the_disk_can_be_made_later() {
    let (mut failed, mut cleared) = (0, 0);
    for blocks in [40, 60, 80, 160, 240, 290, 330, 350, 400, 700] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("chat.db");
        let store = SqliteStore::open(&path).await.expect("a new file");
        for n in 1..60 {
            store.append(&session(), &turn(n)).await.expect("an append");
        }
        let before = load(&store).await.expect("a load");
        drop(store);
        let lines = run("clear", &path, blocks);
        let done = lines == ["cleared"];
        (failed, cleared) = (failed + usize::from(!done), cleared + usize::from(done));
        let store = SqliteStore::open(&path).await.unwrap_or_else(|e| panic!("{blocks} blocks: {e}"));
        let after = load(&store).await.expect("a load");
        let is_clear = after.iter().all(Vec::is_empty);
        println!("{blocks} blocks: {}, cleared: {is_clear}", lines.concat());
        assert!(is_clear || !done && after == before, "{blocks} blocks, {lines:?}: {} records are visible", after.len());
        store.clear(&session()).await.expect("a clear");
        drop(store);
        let bytes = std::fs::read(&path).expect("the file");
        assert!(!bytes.windows(9).any(|window| window == b"word word"), "{blocks} blocks: what was cleared is still in the file");
    }
    println!("{cleared} clears were made, {failed} failed");
    assert!(failed > 0 && cleared > 0, "some of these limits must be too low and some not: {failed}, {cleared}");
}
