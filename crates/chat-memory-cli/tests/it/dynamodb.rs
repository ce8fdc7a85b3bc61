//! The program on a DynamoDB table: AWS's own DynamoDB Local, and replayed responses for errors that Local cannot produce.

use crate::common::http::{Server, response};
use crate::common::{Place, json_lines, scenarios};
use chat_memory_testkit::{Fault, FaultProxy, Request, credentials_env, dynamodb_endpoint, table_name};
use serde_json::{Value, json};

/// A place whose store is this table at this endpoint.
fn at(endpoint: &str, table: &str, more: &str) -> Place {
    let place = Place::at(format!("dynamodb://{table}?endpoint={endpoint}{more}"));
    credentials_env().into_iter().fold(place, |place, (name, value)| place.with(name, value))
}

/// A place whose store is a new table.
fn table(prefix: &str) -> Place {
    let place = at(&dynamodb_endpoint(), &table_name(prefix), "");
    place.run(&["table", "create"]).done();
    place
}

fn units(cost: &Value, kind: &str) -> f64 {
    cost[kind].as_f64().expect("a number")
}

#[test]
fn table_create_is_idempotent_and_passes_table_check() {
    let place = at(&dynamodb_endpoint(), &table_name("cli-table"), "");
    place.run(&["table", "check"]).fails(1, &[]);
    assert!(place.run(&["table", "create"]).done().contains("is created and usable"));
    assert!(place.run(&["table", "create"]).done().contains("is already there and usable"));
    assert_eq!(place.run(&["table", "create", "--json"]).json()["created"], false);
    let findings = place.run(&["table", "check", "--json"]).json()["findings"].take();
    let keys = findings.as_array().expect("a list").iter().find(|finding| finding["subject"] == "keys").expect("its keys");
    assert_eq!(keys["severity"], "ok");
    assert!(place.run(&["table", "check"]).done().starts_with("ok "));
}

#[test]
fn iam_policy_follows_the_store_url() {
    let place = Place::at("dynamodb://chats?region=eu-west-1&namespace=acme");
    let policy = place.run(&["iam-policy", "--account", "111122223333"]).json();
    assert_eq!(policy["Statement"][0]["Resource"], "arn:aws:dynamodb:eu-west-1:111122223333:table/chats");
    assert_eq!(policy["Statement"][0]["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"], json!(["ns#acme#*"]));
    let more = place.run(&["iam-policy", "--for", "sessions", "--for", "table-create", "--json"]).done();
    assert!(more.contains("dynamodb:CreateTable") && more.contains("ACCOUNT_ID") && more.lines().count() == 1, "{more}");
    place.run(&["iam-policy", "--account", "12"]).fails(2, &["12 digits"]);
}

#[test]
fn real_conversations_round_trip() {
    let place = table("cli-real");
    let summary = scenarios::real_data(&place);
    // Each session has one entry in the directory, written in the transaction that starts it. DynamoDB Local charges more than
    // AWS's two units per KB for the larger items of a transaction.
    let messages = units(&summary["cost"], "write_units") - 2.0 * summary["started"].as_f64().expect("a number");
    println!("{messages} write units for the messages of {} turns", summary["turns"]);
    assert!(messages <= 3.1 * summary["turns"].as_f64().expect("a number"), "{summary}");
}

#[test]
fn threads_are_listed_shown_and_deleted() {
    crate::threads::scenario(&table("cli-threads"));
}

#[test]
fn killed_import_resumes() {
    scenarios::killed_import(&table("cli-killed"));
}

#[test]
fn eight_processes_lose_and_duplicate_nothing() {
    scenarios::eight_processes(&table("cli-eight"));
}

#[test]
fn eight_processes_lose_nothing_when_answers_are_dropped() {
    let direct = table("cli-proxy");
    let name = direct.store.split(['/', '?']).nth(2).expect("the table's name").to_owned();
    // Every fifth write arrives, but its response is lost.
    let count = std::sync::atomic::AtomicU64::new(0);
    let proxy = FaultProxy::start(&dynamodb_endpoint(), move |request: &Request| {
        let is_write = matches!(request.operation.as_str(), "PutItem" | "TransactWriteItems");
        let n = count.fetch_add(u64::from(is_write), std::sync::atomic::Ordering::Relaxed);
        if is_write && n.is_multiple_of(5) { Fault::DropAnswer } else { Fault::Pass }
    });
    scenarios::eight_processes(&at(&proxy.url(), &name, ""));
    assert!(proxy.count("PutItem") > 400);
}

#[test]
fn turn_costs_the_same_at_any_session_length() {
    let place = table("cli-cost");
    let text = "0123456789".repeat(30);
    let turn = |_| [json!({"role": "user", "content": text}), json!({"role": "assistant", "content": text})];
    let append = || {
        let lines = turn(0).map(|line| line.to_string()).join("\n");
        place.run_with(&["append", "s", "--file", "-", "--json"], lines).json()["cost"].take()
    };
    let first = append();
    assert_eq!(units(&first, "write_units"), 4.0, "the record, and the session's entry in the directory: {first}");
    for length in [100, 1000] {
        // All turns are equal, so what is there is the start of any longer conversation.
        let messages: Vec<_> = (1..length).flat_map(turn).collect();
        place.run_with(&["import", "-"], json!({"id": "s", "messages": messages}).to_string()).done();
        let cost = append();
        assert_eq!(units(&cost, "write_units"), 1.0, "turn {length}: {cost}");
    }
    let cost = place.run(&["show", "s", "--last", "20", "--json"]).json()["cost"].take();
    assert_eq!(cost["requests"], 1);
    assert!(units(&cost, "read_units") <= 3.0, "{cost}");
}

#[test]
fn large_messages_are_kept_and_oversized_ones_refused() {
    let place = table("cli-large");
    let text = "ä🚲 ".repeat(150_000);
    place.run_with(&["append", "s", "-"], &text).done();
    assert_eq!(place.messages("s")[0]["content"], text.as_str());
    let line = |text: &str| json!({"role": "user", "content": text}).to_string();
    let turn = [line(&"a".repeat(1_000_000)), line(&"b".repeat(1_000_000)), line(&text)].join("\n");
    place.run_with(&["append", "s", "--file", "-"], turn).done();
    assert_eq!(place.messages("s").len(), 4);
    place.run_with(&["append", "s", "-"], "x".repeat(17_000_000)).fails(1, &["16"]);
    assert_eq!(place.messages("s").len(), 4);
    place.run(&["clear", "s", "--yes"]).done();
    assert!(place.messages("s").is_empty());
    place.run(&["delete", "s", "--yes"]).done();
    assert_eq!(json_lines(&place.run(&["sessions", "--json"]).done()).len(), 0);
}

#[test]
fn namespaces_separate_sessions() {
    let place = table("cli-names");
    let acme = at(&dynamodb_endpoint(), place.store.split(['/', '?']).nth(2).expect("the table's name"), "&namespace=acme");
    place.run(&["append", "s", "ours"]).done();
    acme.run(&["append", "s", "theirs"]).done();
    assert_eq!(place.messages("s"), [json!({"role": "user", "content": "ours"})]);
    let exported = json_lines(&acme.run(&["export"]).done());
    assert_eq!(
        exported.iter().map(|line| (&line["id"], &line["messages"])).collect::<Vec<_>>(),
        [(&json!("s"), &json!([{"role": "user", "content": "theirs"}]))]
    );
}

#[test]
fn missing_or_mismatched_table_is_named() {
    let endpoint = dynamodb_endpoint();
    let name = table_name("cli-bad");
    let missing = at(&endpoint, &name, "");
    for command in [&["append", "s", "Hi"][..], &["show", "s"], &["sessions"], &["table", "check"]] {
        let ran = missing.run(command);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let said = if command[0] == "table" { &ran.out } else { &ran.err };
        assert!(said.contains(&name) && !said.contains("panicked"), "{command:?}: {said}");
    }
    assert!(missing.run(&["append", "s", "Hi"]).err.contains("table create"), "it says how to make it");
    let other = at(&endpoint, &name, "&partition_key=pk&sort_key=number");
    other.run(&["table", "create"]).done();
    other.run(&["append", "s", "Hi"]).done();
    for command in [&["append", "s", "Hi"][..], &["show", "s"]] {
        missing.run(command).fails(1, &["pk"]);
    }
    missing.run(&["table", "check"]).fails(1, &[]);
}

/// Errors that AWS returns and Local cannot.
#[test]
fn aws_errors_are_one_readable_line() {
    for (kind, message, says) in [
        (
            "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
            "Requested resource not found",
            &["chats", "eu-west-1"][..],
        ),
        (
            "com.amazon.coral.service#UnrecognizedClientException",
            "The security token included in the request is invalid.",
            &["credentials"],
        ),
        ("com.amazon.coral.service#ExpiredTokenException", "The security token included in the request is expired", &["expired"]),
        (
            "com.amazon.coral.service#InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided.",
            &["secret"],
        ),
        (
            "com.amazon.coral.service#AccessDeniedException",
            "User: arn:aws:iam::111122223333:user/x is not authorized to perform: dynamodb:Query on resource: \
             arn:aws:dynamodb:eu-west-1:111122223333:table/chats because no identity-based policy allows the dynamodb:Query action",
            &["dynamodb:Query"],
        ),
    ] {
        let body = json!({"__type": kind, "message": message}).to_string();
        let server = Server::start(move |_| response("400 Bad Request", "application/x-amz-json-1.0", &body));
        let place = at(&server.url(), "chats", "&region=eu-west-1").with("AWS_SECRET_ACCESS_KEY", "hunter2");
        for command in [&["append", "s", "Hi"][..], &["show", "s"], &["sessions"]] {
            let ran = place.run(command);
            ran.fails(1, says);
            assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
            assert!(!ran.err.contains("hunter2"), "{}", ran.err);
        }
    }
}

#[test]
fn unreachable_dynamodb_endpoint_is_named() {
    let place = at("http://127.0.0.1:1", "chats", "&deadline=2s&request_timeout=500ms");
    let ran = place.run(&["append", "s", "Hi"]);
    ran.fails(1, &["127.0.0.1:1"]);
    let place = at("http://127.0.0.1:1", "chats", "&deadline=2s&request_timeout=5s");
    place.run(&["append", "s", "Hi"]).fails(2, &["deadline"]);
    let no_credentials = Place::at("dynamodb://chats?region=eu-west-1").with("AWS_EC2_METADATA_DISABLED", "true");
    no_credentials.run(&["show", "s"]).fails(1, &["credentials"]);
}

#[test]
fn key_pairs_and_odd_ids_are_listed_shown_and_copied() {
    let name = table_name("cli-pairs");
    let made = at(&dynamodb_endpoint(), &name, "&layout=list&partition_key=UserId&sort_key=SessionId");
    made.run(&["table", "create"]).done();
    for (session, text) in [("ada/s1", "hello"), ("ada/s2", "again"), ("bob/s1", "hi"), ("bob/a\nb", "odd")] {
        made.run(&["append", session, text]).done();
    }
    // The table says it all.
    let place = at(&dynamodb_endpoint(), &name, "");
    let mut listed: Vec<String> = place.run(&["sessions", "--all"]).done().lines().map(str::to_owned).collect();
    listed.sort();
    assert_eq!(listed, ["ada/s1  hello", "ada/s2  again", "bob/a\\nb  odd", "bob/s1  hi"]);
    assert!(place.run(&["show", "ada/s2"]).done().contains("again"));
    assert!(place.run(&["show", "bob/a\nb"]).done().contains("odd"));
    assert!(place.run(&["table", "check"]).done().contains("each pair of keys is a session"));
    let copy = Place::sqlite();
    let from = format!("dynamodb://{name}?endpoint={}", dynamodb_endpoint());
    let to = format!("sqlite:{}", copy.path().join("copy.db").display());
    for session in ["ada/s1", "ada/s2", "bob/s1"] {
        place.run(&["migrate", "--from", &from, "--to", &to, "--session", session]).done();
    }
    let copied = place.run(&["--store", &to, "show", "ada/s1"]).done();
    assert!(copied.contains("hello"), "{copied}");
}

#[test]
fn messages_in_another_list_attribute_are_reported() {
    let name = table_name("cli-chat");
    let chat = at(&dynamodb_endpoint(), &name, "&layout=list&list_attribute=chat");
    chat.run(&["table", "create"]).done();
    chat.run(&["append", "there", "hello"]).done();
    let place = at(&dynamodb_endpoint(), &name, "");
    let listed = place.run(&["sessions", "--all"]);
    assert!(listed.err.contains("list_attribute=chat"), "{}", listed.err);
    assert_eq!(listed.done().trim(), "there");
    place.run(&["show", "there"]).fails(1, &["\"chat\"", "list_attribute=chat"]);
    place.run(&["append", "there", "more"]).fails(1, &["list_attribute=chat"]);
    assert!(chat.run(&["show", "there"]).done().contains("hello"));
}
