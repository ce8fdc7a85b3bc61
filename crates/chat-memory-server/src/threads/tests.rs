use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chat_memory::checkpoints::{CheckpointOptions, InMemoryRows, NewCheckpoint, Typed};

/// What LangGraph's serializers for Python and JavaScript wrote, and how it is read.
fn samples() -> Vec<Value> {
    let samples: Value = serde_json::from_str(include_str!("../../testdata/langgraph.json")).expect("JSON");
    samples.as_array().expect("a list").iter().flat_map(|of| of["values"].as_array().expect("a list").clone()).collect()
}

fn typed(sample: &Value) -> Typed {
    let bytes = BASE64.decode(sample["base64"].as_str().expect("text")).expect("base64");
    Typed::new(sample["kind"].as_str().expect("text"), bytes)
}

#[test]
fn values_of_both_serializers_are_json() {
    for sample in samples() {
        assert_eq!(to_json(&typed(&sample)), sample["json"], "{}", sample["name"]);
    }
}

#[test]
fn messages_of_both_serializers_are_ours() {
    let lists: Vec<_> = samples().into_iter().filter(|sample| sample["name"] == "messages").collect();
    assert_eq!(lists.len(), 2);
    for sample in lists {
        let mut values = Map::from_iter([("messages".to_owned(), to_json(&typed(&sample)))]);
        let messages = take_messages(&mut values);
        let texts: Vec<_> = messages.iter().filter_map(|entry| Some(entry.as_message()?.text())).collect();
        assert_eq!(texts, ["Be brief.", "Where to?", "", "21 °C", "To Rome."]);
        let call = &messages[2].as_message().expect("a message").tool_calls[0];
        assert_eq!((call.name(), call.arguments()), (Some("find"), Some(r#"{"city":"Rome"}"#)));
        assert_eq!(messages[3].as_message().and_then(|of| of.tool_call_id.as_deref()), Some("c1"));
        assert!(values.is_empty());
    }
}

#[test]
fn unreadable_values_are_named() {
    let read = |kind: &str, bytes: &[u8]| to_json(&Typed::new(kind, bytes));
    assert_eq!(read("msgpack+aes", b"abc"), json!({"kind": "msgpack+aes", "bytes": 3, "encrypted": true}));
    assert_eq!(read("pickle", b"abc"), json!({"kind": "pickle", "bytes": 3}));
    // Cut off, and a list in a list and so on.
    for bytes in [&b"\x93\x01"[..], &[0x91; 5_000], b"{"] {
        let kind = if bytes == b"{" { "json" } else { "msgpack" };
        let value = read(kind, bytes);
        assert!(value["error"].is_string() && value["bytes"] == bytes.len(), "{value}");
    }
    // Snapshots in snapshots.
    let mut nested = vec![0xc0];
    for _ in 0..10_000 {
        let length = u32::try_from(nested.len()).expect("small").to_be_bytes();
        nested = [&[0xc9][..], &length, &[7], &nested].concat();
    }
    assert!(read("msgpack", &nested)["error"].as_str().is_some_and(|why| why.contains("100 levels")));
    let deep = "[".repeat(5_000) + &"]".repeat(5_000);
    assert!(read("json", deep.as_bytes())["error"].is_string());
}

#[test]
fn messages_may_have_other_names_and_forms() {
    let human = json!({"type": "human", "data": {"content": "Hi"}});
    let taken = |values: Value| {
        let Value::Object(mut values) = values else { panic!("an object") };
        let roles: Vec<_> =
            take_messages(&mut values).iter().map(|entry| entry.as_message().map(|of| of.role.as_str())).collect();
        (roles, values.keys().cloned().collect::<Vec<_>>())
    };
    assert_eq!(taken(json!({"a": 1, "chat": [human]})), (vec![Some("user")], vec!["a".to_owned()]));
    let forms =
        json!({"messages": ["Hi", ["ai", "Hello"], {"role": "system", "content": "x"}, {"type": "remove", "data": {"id": "1"}}]});
    assert_eq!(taken(forms), (vec![Some("user"), Some("assistant"), Some("system"), None], vec![]));
    assert_eq!(taken(json!({"messages": "none", "n": [1], "empty": []})).0, []);
}

#[test]
fn delta_channel_is_replayed() {
    let message = |id: &str, text: &str| json!({"type": "human", "data": {"id": id, "content": text}});
    let removes = |id: &str| json!({"type": "remove", "data": {"id": id, "content": ""}});
    let (one, two, other) = (message("1", "a"), message("2", "b"), message("1", "c"));
    let replay = |seed: Option<Value>, writes: Vec<Value>| replayed(seed, writes.into_iter());
    assert_eq!(replay(None, vec![json!([one]), two.clone(), json!([other])]), json!([other, two]));
    assert_eq!(replay(Some(json!([one, two])), vec![json!([removes("1")])]), json!([two]));
    assert_eq!(replay(Some(json!([one])), vec![json!([removes("__remove_all__"), two])]), json!([two]));
    assert_eq!(replay(Some(json!([one])), vec![json!({"__overwrite__": [two]}), json!([one])]), json!([two, one]));
    assert_eq!(replay(Some(json!({"n": 1})), vec![json!({"n": 2})]), json!({"snapshot": {"n": 1}, "writes": [{"n": 2}]}));
}

#[tokio::test]
async fn pages_go_through_all_namespaces() {
    let store = CheckpointStore::new(InMemoryRows::new(), CheckpointOptions::default());
    let thread = SessionId::new("trip").expect("an id");
    let mut expected = Vec::new();
    for namespace in ["", "a/b", "child"] {
        for n in 0..60 {
            let value = || Typed::new("json", "{}");
            let parent = (n > 0).then(|| format!("{:03}", n - 1));
            store
                .put(&thread, namespace, NewCheckpoint::new(format!("{n:03}"), parent, value(), value()))
                .await
                .expect("it is put");
        }
        expected.extend((0..60).rev().map(|n| (namespace.to_owned(), format!("{n:03}"))));
    }
    for limit in [1, 7, 59, 60, 61, 180, 1_000] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = checkpoints(&store, &thread, after.as_deref(), limit).await.expect("a page");
            assert!(page.items.len() == limit || page.next.is_none());
            assert!(!page.items.is_empty(), "no page is empty");
            found.extend(page.items.into_iter().map(|of| (of.namespace, of.id)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "limit {limit}");
    }
    let state = state(&store, &thread, Some("007")).await.expect("a state").value.expect("it is there");
    assert_eq!((state.checkpoint.namespace.as_str(), state.checkpoint.created_at), ("", None));
}
