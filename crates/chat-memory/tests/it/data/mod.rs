//! Loads the real conversations if their directory exists, otherwise the small sample stored next to the library.

use std::fs;
use std::path::{Path, PathBuf};

use chat_memory::json;
use serde_json::Value;

/// Opens a file of the shared directory if it exists, otherwise our sample. Reports if it is the sample.
fn shared_or_sample(shared: &str, sample: &str) -> (PathBuf, bool) {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = std::env::var_os("CHAT_MEMORY_SHARED").map_or_else(|| crate_root.join("../../../shared"), PathBuf::from);
    let path = folder.join(shared);
    if path.exists() {
        return (path, true);
    }
    let sample = crate_root.join("testdata").join(sample);
    println!("{} is missing, so this runs on the small sample {}", path.display(), sample.display());
    (sample, false)
}

/// Returns the conversations (id and OpenAI chat messages, in order), and whether they are the real ones.
pub fn conversations() -> (Vec<(String, Vec<Value>)>, bool) {
    let (path, real) = shared_or_sample("data/conversations.jsonl", "conversations.jsonl");
    let text = fs::read_to_string(&path).expect("the conversations can be read");
    let conversation = |line: &str| {
        let value = json::parse(line).expect("each line is JSON");
        let id = value["id"].as_str().expect("each conversation has an id").to_owned();
        (id, value["messages"].as_array().expect("each conversation has messages").clone())
    };
    (text.lines().map(conversation).collect(), real)
}

/// Messages stored by LangChain's code: those in a table that its Python class wrote, or our sample of both languages'.
#[allow(dead_code, reason = "not every test that has this module needs it")]
pub fn stored_by_langchain() -> Vec<Value> {
    let (path, real) = shared_or_sample("fixtures/langchainpy-0.4.2.json", "langchain.jsonl");
    let text = fs::read_to_string(&path).expect("the stored messages can be read");
    if !real {
        return text.lines().map(|line| json::parse(line).expect("each line is JSON")).collect();
    }
    let file = json::parse(&text).expect("the fixture is JSON");
    let items = file["table"]["Items"].as_array().expect("a table");
    items.iter().flat_map(|item| item["History"]["L"].as_array().expect("a list")).map(plain).collect()
}

/// Converts DynamoDB's JSON to plain JSON.
fn plain(attribute: &Value) -> Value {
    let (kind, value) = attribute.as_object().and_then(|fields| fields.iter().next()).expect("an attribute has a type");
    match kind.as_str() {
        "M" => value.as_object().expect("a map").iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        "L" => value.as_array().expect("a list").iter().map(plain).collect(),
        "N" => json::parse(value.as_str().expect("a text")).expect("a number"),
        "NULL" => Value::Null,
        _ => value.clone(),
    }
}
