//! Real conversations in and out, interrupted and at once, on a SQLite file.

mod common;

use std::collections::HashMap;
use std::io::Write;
use std::process::Stdio;

use common::{Place, Ran, json_lines};
use serde_json::{Value, json};

/// The real conversations as the file has them, by id.
fn conversations() -> (String, HashMap<String, Value>) {
    let text = std::fs::read_to_string(chat_memory_testkit::conversations_path()).expect("the file is there");
    (text.clone(), by_id(&text))
}

fn by_id(lines: &str) -> HashMap<String, Value> {
    let lines = json_lines(lines);
    lines.into_iter().map(|mut line| (line["id"].as_str().expect("an id").to_owned(), line["messages"].take())).collect()
}

fn exported(place: &Place) -> HashMap<String, Value> {
    by_id(&place.run(&["export"]).done())
}

/// Each user's message starts a turn; what stands before the first goes with it.
fn turns(conversations: &HashMap<String, Value>) -> usize {
    let users = |messages: &Value| messages.as_array().expect("a list").iter().filter(|m| m["role"] == "user").count();
    conversations.values().map(users).sum()
}

#[test]
fn real_conversations_come_back_equal() {
    real_data(&Place::sqlite());
}

fn real_data(place: &Place) {
    let (text, conversations) = conversations();
    let file = place.file("all.jsonl", &text);
    let summary = place.run(&["import", &file, "--json"]).json();
    assert_eq!(summary["sessions"], conversations.len());
    assert_eq!(summary["turns"], turns(&conversations));
    assert_eq!(summary["failed"], json!([]));
    assert_eq!(exported(place), conversations);
    // One record a turn.
    let id = conversations.keys().next().expect("one at least");
    let shown = place.run(&["show", id, "--json"]).json();
    let records = shown["records"].as_array().expect("a list").len();
    assert_eq!(records, turns(&HashMap::from([(id.clone(), conversations[id].clone())])));

    // Again: all is there.
    let again = place.run(&["import", &file, "--json"]).json();
    assert_eq!((&again["turns"], &again["failed"]), (&json!(0), &json!([])));
    assert_eq!(exported(place), conversations);

    // From one store to another, in another form.
    let other = Place::sqlite();
    let langchain = place.run(&["export", "--format", "langchain"]).done();
    other.run_with(&["import", "-", "--format", "langchain", "--jobs", "3"], langchain).done();
    assert_eq!(exported(&other), conversations);
}

#[test]
fn an_import_that_was_killed_goes_on() {
    killed_import(&Place::sqlite());
}

fn killed_import(place: &Place) {
    let (text, conversations) = conversations();
    let mut child = place.command(["import", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    let half = conversations.len() / 2;
    for line in text.lines().take(half) {
        writeln!(stdin, "{line}").expect("it reads");
    }
    stdin.flush().expect("it reads");
    // It waits for more lines when it is killed, in the middle of some sessions or behind them.
    while json_lines(&place.run(&["sessions", "--json"]).done()).len() < half.div_ceil(3) {}
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    drop(stdin);
    // And one session stands in the middle of a turn.
    let last = json_lines(text.lines().last().expect("a line")).remove(0);
    let id = last["id"].as_str().expect("an id");
    let start: String = last["messages"].as_array().expect("a list").iter().take(2).map(|m| format!("{m}\n")).collect();
    place.run_with(&["append", id, "--file", "-"], start).done();

    let file = place.file("all.jsonl", &text);
    let summary = place.run(&["import", &file, "--json"]).json();
    assert!(summary["turns"].as_u64() < Some(turns(&conversations) as u64), "{summary}");
    assert_eq!(exported(place), conversations);
}

#[test]
fn a_session_that_differs_is_named_and_left_alone() {
    let place = Place::sqlite();
    let line = |id: &str, text: &str| json!({"id": id, "messages": [{"role": "user", "content": text}]}).to_string();
    place.run(&["append", "b", "mine"]).done();
    let file = place.file("all.jsonl", [line("a", "1"), line("b", "2"), line("c", "3")].join("\n"));
    let ran = place.run(&["import", &file]);
    ran.fails(3, &["line 2, session b", "other messages than the file"]);
    assert_eq!(ran.out, "imported 2 turns (2 messages) of 3 sessions; 1 failed: run it again when that is settled\n");
    assert_eq!(place.messages("b"), [json!({"role": "user", "content": "mine"})]);
    let ran = place.run(&["import", &file, "--json"]);
    assert_eq!(ran.code, Some(3));
    let summary: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((&summary["failed"][0]["id"], &summary["failed"][0]["line"]), (&json!("b"), &json!(2)));
    // Beside what is there it finds its place.
    place.run(&["import", &file, "--id-prefix", "archive/"]).done();
    assert_eq!(place.messages("archive/b"), [json!({"role": "user", "content": "2"})]);
}

#[test]
fn what_is_known_of_a_session_travels_too() {
    let (place, other) = (Place::sqlite(), Place::sqlite());
    let line = json!({"id": "a", "messages": [{"role": "user", "content": "Hi"}], "owner": "ann", "title": "T", "metadata": {"k": 1.5}});
    place.run_with(&["import", "-"], line.to_string()).done();
    let out = place.run(&["export", "--owner", "ann"]).done();
    assert_eq!(json_lines(&out), [line.clone()]);
    other.run_with(&["import", "-"], out).done();
    assert_eq!(json_lines(&other.run(&["export", "a"]).done()), [line]);
    assert_eq!(other.run(&["export"]).done(), "", "it has an owner");
    // A record's own metadata has no place there, and that is said.
    other.run(&["append", "a", "--metadata", "{\"x\":1}", "Hi"]).done();
    assert!(other.run(&["export", "a"]).err.contains("left out: the metadata of 1 record"));
    let missing = other.run(&["export", "nobody"]);
    assert!(missing.err.contains("nobody holds no message"), "{}", missing.err);
    assert_eq!(json_lines(&missing.done()), [json!({"id": "nobody", "messages": []})]);
}

#[test]
fn eight_processes_append_to_one_session() {
    eight_processes(&Place::sqlite());
}

fn eight_processes(place: &Place) {
    std::thread::scope(|scope| {
        for process in 0..8 {
            scope.spawn(move || {
                for turn in 0..50 {
                    let lines = [
                        json!({"role": "user", "content": format!("{process}/{turn}?")}),
                        json!({"role": "assistant", "content": format!("{process}/{turn}!")}),
                    ];
                    let lines = lines.map(|line| line.to_string()).join("\n");
                    place.run_with(&["append", "s", "--file", "-"], lines).done();
                }
            });
        }
    });
    let messages: Vec<_> =
        place.messages("s").iter().map(|message| message["content"].as_str().expect("text").to_owned()).collect();
    assert_eq!(messages.len(), 800);
    let mut next = [0; 8];
    for turn in messages.chunks(2) {
        let (process, number) = turn[0].trim_end_matches('?').split_once('/').expect("ours");
        let process: usize = process.parse().expect("ours");
        assert_eq!(number, next[process].to_string(), "each process's turns stand in its order, once");
        assert_eq!(turn[1], format!("{process}/{number}!"), "a turn is never torn");
        next[process] += 1;
    }
    let again: Vec<_> = place.messages("s").iter().map(|m| m["content"].as_str().expect("text").to_owned()).collect();
    assert_eq!(again, messages, "the order stays");
}

/// The summary on standard output, and the rest on standard error.
#[test]
fn an_import_says_what_it_did() {
    let place = Place::sqlite();
    let lines = r#"{"id":"a","messages":[{"role":"user","content":"1"},{"role":"user","content":"2"}]}"#;
    let ran: Ran = place.run_with(&["import", "-", "--cost"], lines);
    assert!(ran.err.starts_with("cost: requests=3 "), "one load and two appends: {}", ran.err);
    assert_eq!(ran.done(), "imported 2 turns (2 messages) of 1 session\n");
    assert_eq!(
        place.run_with(&["import", "-"], lines).done(),
        "imported 0 turns (0 messages) of 1 session; 2 messages were there already\n"
    );
    let ran = place.run(&["export"]);
    assert_eq!(ran.err, "exported 1 session (2 messages)\n");
    assert_eq!(ran.done(), format!("{lines}\n"));
}
