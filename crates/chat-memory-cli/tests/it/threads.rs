//! LangGraph's threads: what the program shows of them.

use chat_memory::SessionId;
use chat_memory::checkpoints::{NewCheckpoint, Typed, Write};
use chat_memory_testkit::open_checkpoints;
use serde_json::{Value, json};

use crate::common::{Place, json_lines};

/// Ids as LangGraph makes them, of 2026-11-28 03:40:51 UTC.
const IDS: [&str; 3] =
    ["1f1eadd8-23ec-6f19-bfff-63289bf8f278", "1f1eadd8-240d-6393-8000-0dda4a6764c5", "1f1eadd8-2417-6ebc-8001-8d91d427d305"];

fn json_value(value: &Value) -> Typed {
    Typed::new("json", value.to_string())
}

/// A message as LangGraph.js stores it.
fn message(class: &str, id: &str, content: &str) -> Value {
    json!({"lc": 1, "type": "constructor", "id": ["langchain_core", "messages", class], "kwargs": {
        "content": content, "id": id, "additional_kwargs": {}, "response_metadata": {}}})
}

/// Stores two threads: `trip` with three checkpoints and one of a subgraph, and `other`, which is encrypted.
pub fn fill(place: &Place) {
    let put = async {
        let store = open_checkpoints(&place.store).await;
        let (trip, other) = (SessionId::new("trip").expect("an id"), SessionId::new("other").expect("an id"));
        let messages = [message("HumanMessage", "m0", "Where to?\u{1b}[31m"), message("AIMessage", "m1", "To Rome.")];
        for (at, id) in IDS.iter().enumerate() {
            let metadata = json!({"source": if at == 0 { "input" } else { "loop" }, "step": i64::try_from(at).expect("few") - 1});
            // The last one is a branch.
            let parent = at.checked_sub(1).map(|_| IDS[0].to_owned());
            let mut checkpoint = NewCheckpoint::new(*id, parent, json_value(&json!({"v": 4})), json_value(&metadata));
            checkpoint.fork = at == 2;
            checkpoint.versions.extend([("messages".to_owned(), at.to_string()), ("summary".to_owned(), at.to_string())]);
            checkpoint.values.insert("messages".to_owned(), Some(json_value(&json!(messages[..at.min(2)]))));
            checkpoint.values.insert("summary".to_owned(), Some(json_value(&json!({"about": "Rome"}))));
            store.put(&trip, "", checkpoint).await.expect("it is put");
        }
        let asks = Write::new("task", "", -3, "__interrupt__", json_value(&json!([{"value": "Sure?"}])));
        store.put_writes(&trip, "", IDS[2], "task", vec![asks]).await.expect("they are put");
        let of_child = NewCheckpoint::new(IDS[1], None, json_value(&json!({})), json_value(&json!({})));
        store.put(&trip, "child", of_child).await.expect("it is put");
        let secret = || Typed::new("msgpack+aes", b"secret".to_vec());
        let mut checkpoint = NewCheckpoint::new(IDS[0], None, secret(), secret());
        checkpoint.versions.insert("messages".to_owned(), "1".to_owned());
        checkpoint.values.insert("messages".to_owned(), Some(secret()));
        store.put(&other, "", checkpoint).await.expect("it is put");
        store.close().await.expect("it is closed");
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(put);
}

/// Lists, shows and deletes threads in this store.
pub fn scenario(place: &Place) {
    fill(place);
    let mut ids: Vec<_> =
        json_lines(&place.run(&["threads", "--json"]).done()).into_iter().map(|mut of| of["id"].take()).collect();
    ids.sort_by_key(Value::to_string);
    assert_eq!(ids, ["other", "trip"]);
    assert_eq!(place.run(&["threads", "--limit", "1"]).done().lines().count(), 1);
    assert!(place.run(&["threads"]).done().contains("2026-11-28 03:40:51+00:00  trip\n"));

    let listed = place.run(&["threads", "trip"]).done();
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.len(), 4, "{listed}");
    assert!(lines[0].starts_with(&format!("2026-11-28 03:40:51+00:00  {}  loop 1  ", IDS[2])), "{listed}");
    assert!(lines[0].ends_with(&format!("bytes  after {}", IDS[0])), "{listed}");
    assert!(lines[2].contains("  input -1  ") && lines[3].ends_with("bytes  child"), "{listed}");
    let listed = json_lines(&place.run(&["threads", "trip", "--format", "json", "--limit", "2"]).done());
    assert_eq!((&listed[1]["id"], &listed[1]["parent"], &listed[1]["newest"]), (&json!(IDS[1]), &json!(IDS[0]), &json!(false)));
    assert_eq!((listed.len(), &listed[0]["metadata"]["step"]), (2, &json!(1)));

    let text = place.run(&["show", "--thread", "trip"]).done();
    let (_, rest) = text.split_once('\n').expect("the checkpoint's line");
    assert_eq!(
        rest,
        "user\n  Where to?\\u{1b}[31m\nassistant\n  To Rome.\nsummary\n  {\"about\":\"Rome\"}\nwaiting write to __interrupt__\n  [{\"value\":\"Sure?\"}]\n"
    );
    let last = place.run(&["show", "--thread", "trip", "--last", "1", "--for-model"]);
    assert_eq!(last.err, "(1 older message left out)\n");
    assert_eq!(json_lines(&last.done()), [json!({"role": "assistant", "content": "To Rome."})]);
    let earlier = place.run(&["show", "--thread", "trip", "--checkpoint", IDS[1], "--json"]).json();
    let messages = earlier["messages"].as_array().expect("a list");
    assert_eq!((messages.len(), &messages[0]["content"]), (1, &json!("Where to?\u{1b}[31m")));
    assert_eq!((&earlier["values"], &earlier["checkpoint"]["step"]), (&json!({"summary": {"about": "Rome"}}), &json!(0)));
    place.run(&["show", "--thread", "trip", "--checkpoint", "x"]).fails(1, &["has no checkpoint x", "chat-memory threads trip"]);
    let encrypted = place.run(&["show", "--thread", "other", "--json"]).json();
    assert_eq!(encrypted["values"]["messages"], json!({"kind": "msgpack+aes", "bytes": 6, "encrypted": true}));
    assert_eq!(encrypted["messages"], json!([]));
    let none = place.run(&["show", "--thread", "nobody"]);
    assert_eq!(none.err, "the thread nobody has no checkpoints\n");
    assert_eq!(none.done(), "");

    place.run(&["delete", "--thread", "trip"]).fails(2, &["--yes"]);
    place.run(&["--read-only", "delete", "--thread", "trip", "--yes"]).fails(1, &["read-only"]);
    assert_eq!(place.run(&["delete", "--thread", "trip", "--yes"]).done(), "deleted the thread trip\n");
    assert_eq!(place.run(&["delete", "--thread", "trip", "--yes", "--json"]).json()["existed"], false);
    assert_eq!(place.run(&["threads", "trip"]).done(), "");
    assert_eq!(json_lines(&place.run(&["threads", "--json"]).done()).len(), 1, "a deleted thread is not listed");
}

#[test]
fn threads_are_listed_shown_and_deleted() {
    scenario(&Place::sqlite());
}

#[test]
fn invalid_thread_id_is_called_one() {
    let place = Place::sqlite();
    for (id, says) in [("", "a thread id must not be empty"), ("ckpt#a", "a thread id must not start with \"ckpt#\"")] {
        for command in [&["threads", id][..], &["show", "--thread", id], &["delete", "--thread", id, "--yes"]] {
            let run = place.run(command);
            assert!(!run.err.contains("session"), "{}", run.err);
            run.fails(2, &[says]);
        }
    }
}

#[test]
fn session_and_thread_exclude_each_other() {
    let place = Place::sqlite();
    for command in [
        &["show"][..],
        &["show", "s", "--thread", "t"],
        &["delete", "s", "--thread", "t"],
        &["show", "--thread", "t", "--position"],
    ] {
        place.run(command).fails(2, &["Usage"]);
    }
    place.run(&["show", "s", "--checkpoint", "x"]).fails(2, &["--checkpoint"]);
    assert_eq!(Place::at("").run(&["threads"]).done(), "", "nothing was stored yet");
}
