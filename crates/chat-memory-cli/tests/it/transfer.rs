//! Import and export of real conversations, interrupted and concurrent, on a SQLite file.

use crate::common::{Place, Ran, json_lines, scenarios};
use serde_json::{Value, json};

#[test]
fn real_conversations_round_trip() {
    scenarios::real_data(&Place::sqlite());
}

#[test]
fn killed_import_resumes() {
    scenarios::killed_import(&Place::sqlite());
}

#[test]
fn differing_session_is_reported_and_left_unchanged() {
    let place = Place::sqlite();
    let line = |id: &str, text: &str| json!({"id": id, "messages": [{"role": "user", "content": text}]}).to_string();
    place.run(&["append", "b", "mine"]).done();
    let file = place.file("all.jsonl", [line("a", "1"), line("b", "2"), line("c", "3")].join("\n"));
    let ran = place.run(&["import", &file]);
    ran.fails(3, &["line 2, session b", "other messages than the file"]);
    assert!(!ran.err.contains("modified"), "{}", ran.err);
    assert_eq!(ran.out, "imported 2 turns (2 messages) of 3 sessions, 2 of them new; 1 failed: fix that and run it again\n");
    assert_eq!(place.messages("b"), [json!({"role": "user", "content": "mine"})]);
    let ran = place.run(&["import", &file, "--json"]);
    assert_eq!(ran.code, Some(3));
    let summary: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((&summary["failed"][0]["id"], &summary["failed"][0]["line"]), (&json!("b"), &json!(2)));
    // It is stored alongside what is already there.
    place.run(&["import", &file, "--id-prefix", "archive/"]).done();
    assert_eq!(place.messages("archive/b"), [json!({"role": "user", "content": "2"})]);
}

#[test]
fn export_and_import_keep_session_fields() {
    let (place, other) = (Place::sqlite(), Place::sqlite());
    let line = json!({"id": "a", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}],
        "owner": "ann", "title": "T", "metadata": {"k": 1.5}, "created_at": "2026-05-01T12:00:00.250Z",
        "sent_at": ["2026-05-01T12:00:01.000Z", null]});
    place.run_with(&["import", "-"], line.to_string()).done();
    let out = place.run(&["export", "--owner", "ann"]).done();
    assert_eq!(json_lines(&out), std::slice::from_ref(&line));
    other.run_with(&["import", "-"], out).done();
    assert_eq!(json_lines(&other.run(&["export", "a"]).done()), std::slice::from_ref(&line));
    assert_eq!(json_lines(&other.run(&["export"]).done()), [line]);
    assert_eq!(other.run(&["export", "--unowned"]).done(), "", "it has an owner");
    // A record's own metadata cannot be stored there, and that is reported.
    other.run(&["append", "a", "--metadata", "{\"x\":1}", "Hi"]).done();
    assert!(other.run(&["export", "a"]).err.contains("omitted: the metadata of 1 record"));
}

#[test]
fn export_covers_all_sessions_and_refuses_unknown_ones() {
    let place = Place::sqlite();
    place.run(&["append", "a", "x"]).done();
    place.run(&["append", "b", "--owner", "ada", "y"]).done();
    place.run(&["append", "c", "--owner", "bob", "--title", "T", "z"]).done();
    place.run(&["clear", "c", "--yes"]).done();
    let ids = |arguments: &[&str]| -> Vec<String> {
        let lines = json_lines(&place.run(arguments).done());
        lines.iter().map(|line| line["id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(ids(&["export"]), ["a", "b", "c"]);
    assert_eq!(ids(&["export", "--owner", "ada"]), ["b"]);
    assert_eq!(ids(&["export", "--unowned"]), ["a"]);
    assert_eq!(ids(&["export", "c", "a", "c"]), ["c", "a"], "a session that was cleared is there");
    for named in [&["export", "typo", "a"][..], &["export", "a", "typo"]] {
        let ran = place.run(named);
        ran.fails(1, &["session \"typo\" was not exported", "no such session", "sessions --all", "1 session failed"]);
        assert_eq!(json_lines(&ran.out).len(), 1, "the others are exported");
    }
    place.run(&["delete", "b", "--yes"]).done();
    place.run(&["export", "b"]).fails(1, &["no such session"]);
    assert_eq!(place.run(&["show", "typo"]).done(), "", "an empty history is no error");
}

/// A session that has only an owner and a title counts too.
#[test]
fn empty_session_keeps_its_fields_when_transferred() {
    let (place, other) = (Place::sqlite(), Place::sqlite());
    let line = json!({"id": "a", "messages": [], "owner": "ann", "title": "T", "metadata": {"k": 1},
        "created_at": "2026-05-01T12:00:00.000Z"});
    for _ in 0..2 {
        let said = place.run_with(&["import", "-"], line.to_string()).done();
        assert!(said.starts_with("imported 0 turns (0 messages) of 1 session"), "{said}");
        assert_eq!(json_lines(&place.run(&["export"]).done()), std::slice::from_ref(&line));
    }
    other.run(&["migrate", "--from", &place.store, "--to", &other.store]).done();
    assert_eq!(json_lines(&other.run(&["export"]).done()), [line]);
    assert_eq!(other.run(&["append", "a", "Hi", "--json"]).json()["started"], false);
}

/// The order of sessions and each message's time survive a file and a copy; without times the order of the file is kept.
#[test]
fn transfer_keeps_session_order_and_message_times() {
    let (place, imported, migrated) = (Place::sqlite(), Place::sqlite(), Place::sqlite());
    let line = |id: &str, at: &str| {
        json!({"id": id, "created_at": at, "messages": [{"role": "user", "content": id},
        {"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}], "sent_at": [at, null, "2026-06-01T00:00:00.001Z"]})
    };
    let lines =
        [line("late", "2026-05-03T00:00:00Z"), line("early", "2026-05-01T00:00:00Z"), line("mid", "2026-05-02T00:00:00Z")];
    let text = lines.each_ref().map(ToString::to_string).join("\n");
    place.run_with(&["import", "-", "--jobs", "2"], text).done();
    imported.run_with(&["import", "-"], place.run(&["export"]).done()).done();
    migrated.run(&["migrate", "--from", &place.store, "--to", &migrated.store]).done();
    let exported = json_lines(&place.run(&["export"]).done());
    for other in [&place, &imported, &migrated] {
        let listed = json_lines(&other.run(&["sessions", "--json"]).done());
        assert_eq!(listed.iter().map(|line| &line["id"]).collect::<Vec<_>>(), ["late", "mid", "early"]);
        assert_eq!(json_lines(&other.run(&["export"]).done()), exported);
        let shown = other.run(&["show", "mid", "--json", "--last", "2"]).json();
        assert_eq!(shown["sent_at"], json!([null, "2026-06-01T00:00:00.001Z"]));
        let shown = other.run(&["show", "mid"]).done();
        assert!(shown.contains("2026-05-02 00:00:00") && !shown.contains("1970"), "{shown}");
    }
    let untimed = Place::sqlite();
    let line = |n: usize| json!({"id": format!("s{n}"), "messages": [{"role": "user", "content": "x"}]}).to_string();
    untimed.run_with(&["import", "-"], (0..20).map(line).collect::<Vec<_>>().join("\n")).done();
    let listed = json_lines(&untimed.run(&["sessions", "--json"]).done());
    let want: Vec<_> = (0..20).rev().map(|n| format!("s{n}")).collect();
    assert_eq!(listed.iter().map(|line| line["id"].as_str().expect("an id")).collect::<Vec<_>>(), want);
    assert_eq!(untimed.run(&["show", "s3"]).done(), "[0]\nuser\n  x\n\n", "when it was sent is unknown");
}

/// Ctrl-C ends a command between two appends, says how to continue, and leaves nothing half-written.
#[cfg(unix)]
#[test]
fn interrupted_import_explains_how_to_continue() {
    use std::io::Write;
    let place = Place::sqlite();
    let mut child = place
        .command(["import", "-", "--json"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    let line = |n: usize| json!({"id": format!("s{n}"), "messages": [{"role": "user", "content": "x"}]}).to_string();
    (0..3).for_each(|n| writeln!(stdin, "{}", line(n)).expect("it reads"));
    // It has written these and waits for more. At first there is not even a file.
    while json_lines(&place.run(&["sessions", "--json"]).out).len() < 3 {
        assert!(child.try_wait().expect("it can be asked").is_none(), "the import ended by itself");
    }
    crate::common::interrupt(&child);
    let ran = Ran::from(child.wait_with_output().expect("it ends"));
    ran.fails(130, &["interrupted", "run the same command again", "nothing is stored twice"]);
    let summary: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((&summary["sessions"], &summary["complete"]), (&json!(3), &json!(false)));
    drop(stdin);
    let all = (0..6).map(line).collect::<Vec<_>>().join("\n");
    let summary = place.run_with(&["import", "-", "--json"], all).json();
    assert_eq!((&summary["turns"], &summary["messages_there"], &summary["complete"]), (&json!(3), &json!(3), &json!(true)));
}

/// It writes whole lines, and no more of them.
#[cfg(unix)]
#[test]
fn interrupted_export_ends_with_a_whole_line() {
    use std::io::{BufRead, BufReader, Read};
    let place = Place::sqlite();
    let text = "x".repeat(200_000);
    let line = |n: usize| json!({"id": format!("s{n}"), "messages": [{"role": "user", "content": text}]}).to_string();
    place.run_with(&["import", "-"], (0..30).map(line).collect::<Vec<_>>().join("\n")).done();
    let mut child = place
        .command(["export"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut first = String::new();
    stdout.read_line(&mut first).expect("a line");
    // It cannot continue to write while nobody reads; it reports the interrupt at once.
    crate::common::interrupt(&child);
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    stderr.read_line(&mut said).expect("a line");
    assert!(said.starts_with("interrupted: finishing what has started"), "{said}");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("what was written");
    let mut err = String::new();
    stderr.read_to_string(&mut err).expect("what was said");
    let code = child.wait().expect("it ends").code();
    Ran { code, out: String::new(), err }.fails(130, &["interrupted after", "run the same command again"]);
    assert!(rest.is_empty() || rest.ends_with('\n'));
    assert!(json_lines(&format!("{first}{rest}")).len() < 30);
}

#[test]
fn eight_processes_lose_and_duplicate_nothing() {
    scenarios::eight_processes(&Place::sqlite());
}

/// A hundred turns each, so that the disk is synced once for them; and each turn is a record of its own, as by one append at a time.
#[test]
fn import_and_migrate_write_a_file_in_steps() {
    let (place, other) = (Place::sqlite(), Place::sqlite());
    let turn =
        |n: usize| json!([{"role": "user", "content": format!("{n}?")}, {"role": "assistant", "content": format!("{n}!")}]);
    let messages: Vec<Value> = (0..250).flat_map(|n| turn(n).as_array().cloned().unwrap_or_default()).collect();
    let ran = place.run_with(&["import", "-", "--cost"], json!({"id": "a", "title": "Long", "messages": messages}).to_string());
    assert!(ran.err.starts_with("cost: requests=4 "), "one load and three steps: {}", ran.err);
    assert_eq!(ran.done(), "imported 250 turns (500 messages) of 1 session, 1 of them new\n");
    let (from, to) = (&place.store, &other.store);
    let ran = place.run(&["migrate", "--from", from, "--to", to, "--verify", "--json"]);
    let report: Value = serde_json::from_str(&ran.done()).expect("a report");
    assert_eq!(
        (&report["appends"], &report["messages"], &report["verified"]["messages"]),
        (&json!(250), &json!(500), &json!(500))
    );
    for place in [&place, &other] {
        let shown: Value = serde_json::from_str(&place.run(&["show", "a", "--json"]).done()).expect("a session");
        let records = shown["records"].as_array().expect("records");
        assert_eq!((records.len(), &records[249]["seq"], &records[249]["messages"]), (250, &json!(249), &json!(2)));
    }
}

/// The summary on standard output, and the rest on standard error.
#[test]
fn import_prints_a_summary() {
    let place = Place::sqlite();
    let lines = r#"{"id":"a","messages":[{"role":"user","content":"1"},{"role":"user","content":"2"}]}"#;
    let ran: Ran = place.run_with(&["import", "-", "--cost"], lines);
    assert!(ran.err.starts_with("cost: requests=2 "), "one load, and one step with both turns: {}", ran.err);
    assert_eq!(ran.done(), "imported 2 turns (2 messages) of 1 session, 1 of them new\n");
    assert_eq!(
        place.run_with(&["import", "-"], lines).done(),
        "imported 0 turns (0 messages) of 1 session, 0 of them new; 2 messages already stored\n"
    );
    let ran = place.run(&["export"]);
    assert_eq!(ran.err, "exported 1 session (2 messages)\n");
    let exported = json_lines(&ran.done());
    assert_eq!((&exported[0]["id"], &exported[0]["messages"]), (&json!("a"), &json_lines(lines)[0]["messages"]));
}
