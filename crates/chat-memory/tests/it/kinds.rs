//! What a provider's API has, of each kind, comes back equal from every store: `testdata/kinds`, made from the public references.
#![cfg(all(feature = "dynamodb", feature = "sqlite"))]

use std::sync::Arc;

use chat_memory::store::{ChatStore, InMemoryStore, Load};
use chat_memory::wire::Format;
use chat_memory::{Append, Entry, SessionId};
use serde_json::Value;

use crate::dynamodb::{direct, session};

/// The values of each kind in a file, and the form in which they are written and read.
fn kinds() -> Vec<(Format, String, Vec<Value>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/kinds");
    let mut kinds = Vec::new();
    for file in std::fs::read_dir(folder).expect("the folder") {
        let path = file.expect("a file").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        // Gemini's, Bedrock's and the AI SDK's messages have no form of their own: they are stored as they are.
        let format = name.parse().unwrap_or(Format::OpenAi);
        let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(&path).expect("a text")).expect("JSON");
        for case in cases {
            let values = case["values"].as_array().expect("values").clone();
            kinds.push((format, format!("{name}: {}", case["kind"]), values));
        }
    }
    assert!(kinds.len() > 50, "{}", kinds.len());
    kinds
}

async fn stores(folder: &std::path::Path) -> Vec<(&'static str, Arc<dyn ChatStore>)> {
    let table = crate::list::table("kinds", None).await;
    let list = crate::list::open(table, |options| options).await.expect("a table of the list layout");
    vec![
        ("memory", Arc::new(InMemoryStore::new())),
        ("sqlite", chat_memory::open(&format!("sqlite:{}", folder.join("chats.db").display())).await.expect("a file")),
        ("turns", Arc::new(direct().await)),
        ("list", Arc::new(list)),
    ]
}

/// The values of a session, record by record, as the service and the packages write them.
async fn loaded(store: &dyn ChatStore, session: &SessionId, format: Format) -> Vec<Value> {
    let records = store.load(session, &Load::all()).await.expect("a load").records;
    let written = records.into_iter().flat_map(|record| format.write_entries(record.entries));
    written.map(|(_, value)| serde_json::to_value(value).expect("JSON")).collect()
}

#[tokio::test]
async fn values_of_each_kind_come_back_equal_from_every_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let kinds = kinds();
    for (name, store) in stores(folder.path()).await {
        for (format, kind, values) in &kinds {
            let session = session("kind");
            let messages = format.read(values.clone()).unwrap_or_else(|e| panic!("{kind}: {e}"));
            store.append(&session, &Append::new(messages)).await.unwrap_or_else(|e| panic!("{name}: {kind}: {e}"));
            assert_eq!(&loaded(&*store, &session, *format).await, values, "{name}: {kind}");
        }
    }
}

/// Each value in a record of its own, as an agent writes them; and as an entry that is no message, where the store has such.
#[tokio::test]
async fn values_of_each_kind_come_back_equal_one_by_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let kinds = kinds();
    for (name, store) in stores(folder.path()).await {
        for (format, kind, values) in &kinds {
            let of_messages = session("kind");
            for value in values {
                let messages = format.read(vec![value.clone()]).unwrap_or_else(|e| panic!("{kind}: {e}"));
                store.append(&of_messages, &Append::new(messages)).await.unwrap_or_else(|e| panic!("{name}: {kind}: {e}"));
            }
            assert_eq!(&loaded(&*store, &of_messages, *format).await, values, "{name}: {kind}");
            // As a window for an agent. A list that must be read again as the same messages may have fields that tell them apart.
            let messages = store.load(&of_messages, &Load::all()).await.expect("a load").into_messages();
            let window = format.write_joined(messages.clone()).into_iter();
            let window: Vec<_> = window.map(|(_, value)| serde_json::to_value(value).expect("JSON")).collect();
            assert_eq!(&window, values, "{name}: {kind}");
            assert_eq!(format.read(format.write(&messages)).as_ref(), Ok(&messages), "{name}: {kind}");
            if store.capabilities().entries {
                let of_entries = session("kind");
                let entries = values.iter().map(|value| Entry::from_value(value.clone()).expect("an object"));
                store.append(&of_entries, &Append::new(entries)).await.unwrap_or_else(|e| panic!("{name}: {kind}: {e}"));
                let found = store.load(&of_entries, &Load::all()).await.expect("a load").into_entries();
                assert_eq!(&found.iter().map(Entry::to_value).collect::<Vec<_>>(), values, "{name}: {kind}");
            }
        }
    }
}
