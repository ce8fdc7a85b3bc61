//! Reading: windows, pages, new messages.

use axum::http::Method;
use serde_json::{Value, json};

use super::client::{Api, assistant, encoded, everywhere, messages, texts, user};

#[tokio::test]
async fn unwritten_session_is_empty() {
    everywhere(async |api| {
        for query in
            ["", "?last=5", "?turns=2", "?tokens=9", "?limit=1", "?after=start", "?after=start&order=desc", "?eventual=true"]
        {
            let read = api.get(&format!("{}{query}", messages("nobody"))).await;
            let body = read.ok(200);
            assert_eq!((&body["messages"], &body["next"]), (&json!([]), &Value::Null), "{query}");
            assert!(!read.header("etag").is_empty());
        }
        let first = api.get(&messages("nobody")).await;
        let again = api.raw(Method::GET, &messages("nobody"), &[("if-none-match", first.header("etag"))], "").await;
        assert_eq!(again.status, 304);
        api.get("/v1/sessions/nobody").await.problem(404, "not-found");
    })
    .await;
}

#[tokio::test]
async fn windows_by_messages_turns_or_tokens_keep_calls_whole() {
    everywhere(async |api| {
        let call = json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
        let result = json!({"role": "tool", "tool_call_id": "c", "content": "result"});
        api.turn("s", "one").await;
        api.post(&messages("s"), &[], &json!({"messages": [user("two?"), call, result, assistant("two!")]})).await.ok(201);

        let read = async |query: &str| api.get(&format!("{}{query}", messages("s"))).await.ok(200);
        let count = |body: &Value| body["messages"].as_array().expect("messages").len();
        // A tool call and its result are always returned together.
        assert_eq!(count(&read("?last=1").await), 1);
        let two = read("?last=2").await;
        assert_eq!(two["messages"], json!([assistant("two!")]), "{two}");
        assert!(two["left_out"].is_string() && two["next"].is_null(), "{two}");
        // The record has four messages, one of them in the window.
        let record = &two["records"][0];
        assert_eq!(
            (two["records"].as_array().map(Vec::len), &record["seq"], &record["messages"]),
            (Some(1), &json!(1), &json!(1))
        );
        assert!(record["created_at"].is_string(), "{two}");
        assert_eq!(record["sent_at"], json!([record["created_at"]]));
        let all = read("?last=100").await;
        assert_eq!(count(&all), 6);
        let counts = all["records"].as_array().expect("records").iter().filter_map(|record| record["messages"].as_u64());
        assert_eq!(counts.collect::<Vec<_>>(), [2, 4]);
        assert_eq!(read("?turns=1").await["messages"][0], user("two?"));
        assert_eq!(count(&read("?turns=2&order=desc").await), 6);
        assert_eq!(read("?turns=1&order=desc").await["messages"][0], assistant("two!"));
        assert_eq!(count(&read("?last=0").await) + count(&read("?turns=0").await) + count(&read("?tokens=0").await), 0);
        let tokens = count(&read("?tokens=20").await);
        assert!((1..6).contains(&tokens), "{tokens}");
        assert_eq!(count(&read(&format!("?tokens={}", u64::MAX)).await), 6);
    })
    .await;
}

#[tokio::test]
async fn windows_keep_calls_and_results_together_in_every_form() {
    let of_anthropic = [
        json!({"role": "user", "content": "w?"}),
        json!({"role": "assistant", "content": [{"type": "text", "text": "let me"}, {"type": "tool_use", "id": "t1", "name": "f", "input": {}}]}),
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "21"}]}),
        json!({"role": "assistant", "content": "21C"}),
    ];
    let of_gemini = [
        json!({"role": "user", "parts": [{"text": "w?"}]}),
        json!({"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}),
        json!({"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": 21}}}]}),
        json!({"role": "model", "parts": [{"text": "21C"}]}),
    ];
    let of_responses = [
        json!({"role": "user", "content": "w?"}),
        json!({"type": "function_call", "id": "fc_1", "call_id": "t1", "name": "f", "arguments": "{}", "status": "completed"}),
        json!({"type": "function_call_output", "call_id": "t1", "output": "21"}),
        json!({"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": "21C"}]}),
    ];
    for turn in [of_anthropic, of_gemini, of_responses] {
        let api = Api::at("memory:");
        api.post(&messages("s"), &[], &json!({"messages": turn})).await.ok(201);
        let read = async |query: &str| api.get(&format!("{}{query}", messages("s"))).await.ok(200);
        assert_eq!(read("").await["messages"], json!(turn), "they come back as they went in");
        assert_eq!(read("?last=2").await["messages"], json!(turn[3..]));
        assert_eq!(read("?turns=1").await["messages"], json!(turn));
        let user = read("?last=3&start_at_user=true").await;
        assert_eq!(user["messages"], json!([]), "{user}");
        assert!(user["left_out"].as_str().is_some_and(|said| said.contains("before the first user's message")), "{user}");
        let rewound = api.post("/v1/sessions/s/rewind", &[], &json!({"turns": 1})).await.ok(200);
        assert_eq!(rewound["to"], json!(0), "{rewound}");
        assert_eq!(read("").await["messages"], json!([]), "the turn goes as a whole");
    }
}

#[tokio::test]
async fn token_budget_below_the_newest_message_is_explained() {
    let api = Api::at("memory:");
    api.turn("s", &"many words ".repeat(100)).await;
    let read = api.get(&format!("{}?tokens=20", messages("s"))).await.ok(200);
    assert_eq!(read["messages"], json!([]));
    let said = read["left_out"].as_str().expect("what is left out");
    assert!(
        said.starts_with("the window is empty: the newest message needs ")
            && said.contains("the limit is 20; raise the limit to "),
        "{said}"
    );
}

#[tokio::test]
async fn model_form_has_only_fields_that_endpoints_accept() {
    let api = Api::at("memory:");
    let stored = [
        json!({"role": "user", "content": "?", "id": "m1", "created_at": 7, "metadata": {}}),
        json!({"role": "assistant", "content": null, "refusal": null, "annotations": [], "latency_ms": 3, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}),
        json!({"role": "tool", "tool_call_id": "c", "content": "21", "duration": 1}),
    ];
    api.post(&messages("s"), &[], &json!({"messages": stored})).await.ok(201);
    let want = json!([
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "content": "21", "tool_call_id": "c"},
    ]);
    for query in ["?for_model=true", "?last=3&for_model=true", "?turns=1&for_model=true&format=openai"] {
        assert_eq!(api.get(&format!("{}{query}", messages("s"))).await.ok(200)["messages"], want, "{query}");
    }
    assert_eq!(api.get(&messages("s")).await.ok(200)["messages"], json!(stored));
}

#[tokio::test]
async fn values_of_several_messages_are_counted_and_timed_as_they_are_written() {
    let api = Api::at("memory:");
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "21"});
    let turn = [
        json!({"role": "system", "content": "S"}),
        user("?"),
        json!({"role": "assistant", "content": "Let me see.", "tool_calls": [call("a"), call("b")]}),
    ];
    api.post(&messages("s"), &[], &json!({"messages": turn})).await.ok(201);
    api.post(&messages("s"), &[], &json!({"messages": [result("a"), result("b")]})).await.ok(201);
    let read = async |query: &str| api.get(&format!("{}?{query}", messages("s"))).await.ok(200);
    let counts = |body: &Value| {
        let records = body["records"].as_array().expect("records").iter();
        let counted = records.map(|record| {
            let n = record["messages"].as_u64().expect("a number");
            assert_eq!(record["sent_at"].as_array().map(Vec::len), usize::try_from(n).ok());
            n
        });
        let counted: Vec<_> = counted.collect();
        assert_eq!(counted.iter().sum::<u64>(), body["messages"].as_array().map_or(0, Vec::len) as u64);
        counted
    };
    let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "21"});
    let anthropic = read("format=anthropic").await;
    assert_eq!(
        (counts(&anthropic), &anthropic["messages"][3]),
        (vec![3, 1], &json!({"role": "user", "content": [result("a"), result("b")]}))
    );
    // A message, two calls and two outputs are items of their own.
    assert_eq!(counts(&read("format=responses").await), [5, 2]);
    let request = read("format=anthropic&for_model=true&turns=1").await;
    assert_eq!((counts(&request), &request["system"]), (vec![2, 1], &Value::Null));
    let request = read("format=anthropic&for_model=true").await;
    assert_eq!(
        (counts(&request), &request["system"], &request["messages"][0]),
        (vec![2, 1], &json!("S"), &json!({"role": "user", "content": "?"}))
    );
    assert_eq!(counts(&read("format=responses&for_model=true").await), [5, 2]);

    let wrong = json!({"messages": [{"role": "user", "content": "a"}, {"role": "tool", "tool_call_id": "c", "content": "21"}]});
    let problem = api.post(&format!("{}?format=anthropic", messages("s")), &[], &wrong).await.problem(422, "invalid");
    assert_eq!(problem["pointer"], "/messages/1");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("set the format to openai")), "{problem}");
}

#[tokio::test]
async fn contradictory_or_invalid_parameters_are_refused() {
    let api = Api::at("memory:");
    for query in [
        "last=1&turns=1",
        "last=1&limit=1",
        "start_at_user=true",
        "limit=5&start_at_user=true",
        "for_model=true&format=langchain",
        "tokens=1&after=start",
        "before=x&after=start",
        "limit=0",
        "limit=1001",
        "limit=-1",
        "last=x",
        "last=18446744073709551616",
        "lats=1",
        "last=1&last=2",
        "order=up",
        "format=xml",
        "after=nothing",
        "after=",
        "eventual=1",
        "before=AQ",
    ] {
        let problem = api.get(&format!("{}?{query}", messages("s"))).await.problem(400, "bad-request");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{query}: {problem}");
    }
}

/// A long session in which edits removed some messages, and the messages that remain.
async fn edited(api: &Api, session: &str) -> Vec<String> {
    let mut view: Vec<String> = Vec::new();
    for n in 0..60 {
        let text = format!("{n:02}");
        api.turn(session, &text).await;
        view.extend([format!("{text}?"), format!("{text}!")]);
        if n % 7 == 6 {
            let back = json!({"turns": 2, "messages": [user(&format!("{text} again"))]});
            api.post(&format!("/v1/sessions/{session}/rewind"), &[], &back).await.ok(200);
            // A rewind by turns: each starts with a user message.
            for _ in 0..2 {
                let last = view.iter().rposition(|text| !text.ends_with('!')).expect("a turn");
                view.truncate(last);
            }
            view.push(format!("{text} again"));
        }
    }
    view
}

/// Every page from the first, as (messages, pages).
async fn pages(api: &Api, session: &str, query: &str, parameter: &str) -> Vec<Vec<String>> {
    let first = if parameter == "after" { "&after=start" } else { "" };
    let (mut all, mut cursor) = (Vec::new(), first.to_owned());
    loop {
        let path = format!("{}?{query}{cursor}", messages(session));
        let page = api.get(&path).await.ok(200);
        let counts = page["records"].as_array().expect("records").iter().map(|record| record["messages"].as_u64().unwrap_or(0));
        assert_eq!(counts.sum::<u64>(), texts(&page).len() as u64, "the records are those of the messages");
        all.push(texts(&page));
        let Some(next) = page["next"].as_str() else { return all };
        cursor = format!("&{parameter}={}", encoded(next));
    }
}

#[tokio::test]
async fn pages_cover_a_long_session_in_either_direction() {
    everywhere(async |api| {
        let expected = edited(&api, "long").await;
        assert!(expected.len() > 60, "{}", expected.len());
        for limit in [1, 7, 1000] {
            let older = pages(&api, "long", &format!("limit={limit}"), "before").await;
            assert_eq!(older.iter().rev().flatten().cloned().collect::<Vec<_>>(), expected, "backwards by {limit}");
            let newest_first = pages(&api, "long", &format!("limit={limit}&order=desc"), "before").await;
            let reversed: Vec<_> = expected.iter().rev().cloned().collect();
            assert_eq!(newest_first.concat(), reversed, "newest first by {limit}");
            let oldest_first = pages(&api, "long", &format!("limit={limit}"), "after").await;
            assert_eq!(oldest_first.concat(), expected, "forwards by {limit}");
            assert!(oldest_first.iter().chain(&older).all(|page| page.len() <= limit + 1), "whole records, up to the limit");
        }
        // Without a limit, a hundred messages.
        let newest = api.get(&messages("long")).await.ok(200);
        assert!((100..=101).contains(&texts(&newest).len().max(100)) && texts(&newest).last() == expected.last());
    })
    .await;
}

#[tokio::test]
async fn read_after_a_position_returns_only_newer_records() {
    everywhere(async |api| {
        let first = api.turn("s", "one").await;
        let since = |position: &Value| format!("{}?after={}", messages("s"), position.as_str().expect("a position"));
        let nothing = api.get(&since(&first["position"])).await.ok(200);
        assert_eq!((&nothing["messages"], &nothing["next"]), (&json!([]), &Value::Null));
        let second = api.turn("s", "two").await;
        let new = api.get(&since(&first["position"])).await.ok(200);
        assert_eq!(texts(&new), ["two?", "two!"]);
        assert_eq!(new["records"][0]["seq"], second["seq"]);
        // A rewinding record says so to a client that has what it removed.
        api.post("/v1/sessions/s/rewind", &[], &json!({"to": 0, "messages": [user("instead")]})).await.ok(200);
        let new = api.get(&since(&second["position"])).await.ok(200);
        assert_eq!((texts(&new), &new["records"][0]["rewind"]), (vec!["instead".to_owned()], &json!(0)));
        api.delete(&messages("s")).await.ok(200);
        let new = api.get(&since(&second["position"])).await.ok(200);
        assert_eq!((&new["messages"], &new["records"][0]["rewind"]), (&json!([]), &json!(0)));
        // A position after the end of the session belongs to another session.
        let beyond = chat_memory::store::Position::new(100, None, chat_memory::Timestamp::UNIX_EPOCH).to_string();
        api.get(&since(&json!(beyond))).await.problem(422, "invalid");
    })
    .await;
}

#[tokio::test]
async fn unchanged_session_is_304() {
    everywhere(async |api| {
        api.turn("s", "one").await;
        let path = messages("s");
        let read = api.get(&path).await;
        assert_eq!(read.header("cache-control"), "no-store", "no browser keeps it");
        let tag = read.header("etag").to_owned();
        let given = async |tag: &str| api.raw(Method::GET, &path, &[("if-none-match", tag)], "").await;
        let unchanged = given(&tag).await;
        assert_eq!((unchanged.status.as_u16(), unchanged.bytes.len(), unchanged.header("cache-control")), (304, 0, "no-store"));
        assert!(!unchanged.header("etag").is_empty());
        assert_eq!(given(&format!("\"other\", W/{tag}")).await.status, 304);
        for other in ["\"other\"", "*", "é"] {
            assert_eq!(given(other).await.status, 200, "{other}");
        }
        api.turn("s", "two").await;
        let changed = given(&tag).await;
        assert_eq!(texts(&changed.ok(200)).len(), 4);
        assert_ne!(changed.header("etag"), tag);
        // HEAD has the same headers, and no body.
        let head = api.raw(Method::HEAD, &path, &[], "").await;
        assert_eq!((head.status.as_u16(), head.bytes.len(), head.header("content-type")), (200, 0, "application/json"));
        assert!(!head.header("etag").is_empty());
    })
    .await;
}

#[tokio::test]
async fn all_records_come_as_lines_in_either_order() {
    everywhere(async |api| {
        let lines = async |path: &str| {
            let answer = api.get(path).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("content-type")),
                (200, "application/x-ndjson"),
                "{}",
                answer.text()
            );
            assert!(answer.text().is_empty() || answer.text().ends_with('\n'));
            answer.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<Value>>()
        };
        assert!(lines("/v1/sessions/nobody/records").await.is_empty());
        for n in 0..120 {
            let mut turn = json!({"messages": [user(&format!("q{n}")), assistant(&format!("a{n}"))]});
            if n == 7 {
                turn = json!({"entries": [user("q7"), {"type": "note", "uuid": "n"}, assistant("a7")]});
            }
            api.post(&messages("s"), &[], &turn).await.ok(201);
        }
        let all = lines("/v1/sessions/s/records").await;
        assert_eq!(
            all.iter().map(|record| record["seq"].as_u64().expect("a number")).collect::<Vec<_>>(),
            (0..120).collect::<Vec<_>>()
        );
        assert_eq!(all[7]["content"], json!([user("q7"), assistant("a7")]));
        assert_eq!((&all[7]["messages"], &all[7]["other_entries"]), (&json!(2), &json!(1)));
        let entries = lines("/v1/sessions/s/records?entries=all&order=desc&format=langchain").await;
        assert_eq!(entries[112]["content"][1], json!({"type": "note", "uuid": "n"}));
        assert_eq!(entries[112]["content"][2]["type"], "ai");
        assert_eq!((entries[0]["seq"].as_u64(), entries[119]["seq"].as_u64()), (Some(119), Some(0)));
        api.get("/v1/sessions/s/records?limit=5").await.problem(400, "bad-request");
    })
    .await;
}
