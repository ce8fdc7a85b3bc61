//! Scenarios for every store.

use std::collections::HashMap;
use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{Place, json_lines};

/// The real conversations in the file, by id.
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

/// Each user message starts a turn; what comes before the first belongs to it.
fn turns(conversations: &HashMap<String, Value>) -> usize {
    let users = |messages: &Value| messages.as_array().expect("a list").iter().filter(|m| m["role"] == "user").count();
    conversations.values().map(users).sum()
}

/// The real conversations are imported, one record per turn, and are read back equal; a second import finds them stored. Returns
/// the first import's summary.
pub fn real_data(place: &Place) -> Value {
    let (text, conversations) = conversations();
    let file = place.file("all.jsonl", &text);
    let summary = place.run(&["import", &file, "--json"]).json();
    assert_eq!(summary["sessions"], conversations.len());
    assert_eq!(summary["turns"], turns(&conversations));
    assert_eq!(summary["failed"], json!([]));
    assert_eq!(exported(place), conversations);
    // One record per turn.
    let id = conversations.keys().next().expect("one at least");
    let shown = place.run(&["show", id, "--json"]).json();
    let records = shown["records"].as_array().expect("a list").len();
    assert_eq!(records, turns(&HashMap::from([(id.clone(), conversations[id].clone())])));

    // Again: everything is there.
    let again = place.run(&["import", &file, "--json"]).json();
    assert_eq!((&again["turns"], &again["failed"]), (&json!(0), &json!([])));
    assert_eq!(exported(place), conversations);

    // From one store to another, in another format.
    let other = Place::sqlite();
    let langchain = place.run(&["export", "--format", "langchain"]).done();
    other.run_with(&["import", "-", "--format", "langchain", "--jobs", "3"], langchain).done();
    assert_eq!(exported(&other), conversations);
    summary
}

/// An import that is killed in the middle and run again stores each conversation completely, and once.
pub fn killed_import(place: &Place) {
    let (text, conversations) = conversations();
    let mut child = place.command(["import", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    let half = conversations.len() / 2;
    for line in text.lines().take(half) {
        writeln!(stdin, "{line}").expect("it reads");
    }
    stdin.flush().expect("it reads");
    // It waits for more lines when it is killed, in the middle of some sessions or after them.
    while json_lines(&place.run(&["sessions", "--json"]).out).len() < half.div_ceil(3) {
        assert!(child.try_wait().expect("it can be asked").is_none(), "the import ended by itself");
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    drop(stdin);
    // And one session ends in the middle of a turn.
    let last = json_lines(text.lines().last().expect("a line")).remove(0);
    let id = last["id"].as_str().expect("an id");
    let start: String = last["messages"].as_array().expect("a list").iter().take(2).map(|m| format!("{m}\n")).collect();
    place.run_with(&["append", id, "--file", "-"], start).done();

    let file = place.file("all.jsonl", &text);
    let summary = place.run(&["import", &file, "--json"]).json();
    assert!(summary["turns"].as_u64() < Some(turns(&conversations) as u64), "{summary}");
    assert_eq!(exported(place), conversations);
}

/// Eight processes append fifty turns each: all are there, once, complete, in one order.
pub fn eight_processes(place: &Place) {
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
        assert_eq!(number, next[process].to_string(), "each process's turns are in its order, once");
        assert_eq!(turn[1], format!("{process}/{number}!"), "a turn is never torn");
        next[process] += 1;
    }
    let again: Vec<_> = place.messages("s").iter().map(|m| m["content"].as_str().expect("text").to_owned()).collect();
    assert_eq!(again, messages, "the order stays");
}
