//! rig's own conformance suite of session stores, and what else this store promises.

use std::io;
use std::sync::Arc;

use chat_memory::ChatStore;
use chat_memory::store::Load;
use chat_memory::wire::Format;
use chat_memory_rig_session::ChatSession;
use chat_memory_testkit::children::example;
use chat_memory_testkit::{dynamodb_url, store_urls};
use rig_core::message::Message;
use rig_memory::{AsyncStore, LogWriteError, load_async, save_async};

async fn open(url: &str) -> Arc<dyn ChatStore> {
    chat_memory::open(url).await.expect("it opens")
}

async fn session(url: &str, name: &str) -> ChatSession {
    ChatSession::new(open(url).await, name).expect("a good name")
}

#[tokio::test]
async fn rig_conformance_suite_passes() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("rig-conformance", folder.path()).await {
        let (a, b) = (session(&url, "s").await, session(&url, "s").await);
        rig_memory::conformance::check_store(&a, &b).await.unwrap_or_else(|violation| panic!("{url}: {violation}"));
    }
}

#[tokio::test]
async fn conversation_is_readable_in_every_format() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("rig-readable", folder.path()).await {
        let rig = session(&url, "s").await;
        let mut conversation = load_async(&rig, "main").await.expect("a new one");
        conversation.extend([Message::user("Where to?"), Message::assistant("To Lisbon.")]);
        save_async(&rig, "main", &mut conversation).await.expect("saved");
        let history = open(&url).await.load(&rig.log("main").expect("an id"), &Load::all()).await.expect("a load");
        let texts: Vec<_> = history.messages().map(|message| message.text()).filter(|text| !text.is_empty()).collect();
        assert_eq!(texts, ["Where to?", "To Lisbon."]);
        let last = history.messages().next_back().expect("a message");
        assert_eq!(Format::LangChain.write(std::slice::from_ref(last))[0]["type"], "ai");
    }
}

#[tokio::test]
async fn arbitrary_bytes_round_trip_and_large_logs_are_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("rig-large", folder.path()).await {
        let rig = session(&url, "s").await;
        let odd: Vec<u8> = (0..=255).cycle().take(1000).collect();
        rig.write_file_async("blobs/a", &odd).await.expect("written");
        assert_eq!(rig.read_file_async("blobs/a").await.expect("read"), odd);
        rig.append_log_async("main", 0, &odd).await.expect("appended");
        let large: Vec<u8> = odd.iter().cycle().take(2_000_000).copied().collect();
        rig.replace_log_async("main", 1000, &large).await.expect("replaced");
        assert!(matches!(rig.append_log_async("main", 1000, b"x").await, Err(LogWriteError::Changed)));
        rig.append_log_async("main", 2_000_000, b"tail").await.expect("appended");
        let read = session(&url, "s").await.read_log_async("main").await.expect("read");
        assert!(read.len() == 2_000_004 && read.starts_with(&large) && read.ends_with(b"tail"));
        let other = session(&url, "t").await.read_log_async("main").await;
        assert!(other.is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
    }
}

#[tokio::test]
async fn missing_table_is_not_a_missing_log() {
    let url = format!("dynamodb://no-such-table?region=us-east-1&endpoint={}", chat_memory_testkit::dynamodb_endpoint());
    let error = session(&url, "s").await.read_log_async("main").await.expect_err("there is no table");
    assert!(error.kind() != io::ErrorKind::NotFound && error.to_string().contains("no-such-table"), "{error}");
    assert!(ChatSession::new(open("memory:").await, "a/b").is_err_and(|error| error.is_invalid()));
}

#[tokio::test]
async fn agent_remembers_across_two_processes() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("rig-session-agent", folder.path()).await {
        assert_eq!(example("rig_session", &[&url, "How is the weather?"]), "It is 21 °C in Paris. (question 1)");
        assert_eq!(example("rig_session", &[&url, "And now?"]), "It is 21 °C in Paris. (question 2)");
    }
}

/// The cost of a save, and the library's cost for the same.
#[tokio::test]
async fn save_cost_follows_its_size() {
    let url = dynamodb_url("rig-session-costs").await;
    let rig = session(&url, "s").await;
    let mut conversation = load_async(&rig, "main").await.expect("a new one");
    for n in 0..200 {
        conversation.extend([Message::user(format!("{n}?")), Message::assistant(format!("{n}!"))]);
        save_async(&rig, "main", &mut conversation).await.expect("saved");
    }
    let history = open(&url).await.load(&rig.log("main").expect("an id"), &Load::last(40)).await.expect("a load");
    assert_eq!(history.cost.requests, 1);
    let turn = chat_memory::store::Append::new(&history.records[3].entries);
    let units = rig.store().append(&rig.log("main").expect("an id"), &turn).await.expect("stored").cost.write_units;
    println!("a turn of rig's takes {units} write units");
    assert!(units <= 2.0);
}
