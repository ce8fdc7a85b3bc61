//! Bad input: each exit code, and the sentence that says what to do.

use crate::common::{Place, Ran};

const USAGE: i32 = 2;
const FAILED: i32 = 1;

/// Every failure prints one line, without control characters.
#[track_caller]
fn fails(ran: &Ran, code: i32, says: &[&str]) {
    ran.fails(code, says);
    assert_eq!(ran.out, "");
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    assert!(ran.err.len() < 1000, "{}", ran.err);
    assert!(!ran.err.trim_end().contains(|c: char| c.is_control()), "{:?}", ran.err);
}

#[test]
fn invalid_session_ids_are_usage_errors() {
    let place = Place::sqlite();
    for (id, says) in [
        ("", "must not be empty"),
        (&"x".repeat(3000), "this one has 3000"),
        ("a\u{1b}[31mb", "control characters"),
        ("a\nb", "control characters"),
        ("ns#acme#a", "\"ns#\""),
        ("dir#a", "\"dir#\""),
    ] {
        for command in
            [&["append", id, "Hi"][..], &["show", id], &["clear", id, "--yes"], &["export", id], &["rewind", id, "--turns", "1"]]
        {
            fails(&place.run(command), USAGE, &["a session id", says]);
        }
    }
    assert!(!place.path().join("chats.db").exists(), "nothing is made for a command that is wrong");
}

#[test]
fn invalid_arguments_are_usage_errors() {
    let place = Place::sqlite();
    fails(&place.run(&["append", "s", "--role", "bot", "Hi"]), USAGE, &["unknown role \"bot\"", "assistant"]);
    fails(&place.run(&["append", "s", "--role", "tool", "Hi"]), USAGE, &["--tool-call-id"]);
    fails(&place.run(&["append", "s", "--expect", "12", "Hi"]), USAGE, &["--expect", "position"]);
    fails(&place.run(&["append", "s", "--ticket", "12", "Hi"]), USAGE, &["--ticket", "ticket"]);
    fails(&place.run(&["append", "s", "--metadata", "[1]", "Hi"]), USAGE, &["--metadata", "object"]);
    fails(&place.run(&["append", "s", "--metadata", "{", "Hi"]), USAGE, &["--metadata", "JSON"]);
    fails(&place.run(&["append", "s", "--owner", "", "Hi"]), USAGE, &["an owner must not be empty"]);
    fails(&place.run(&["append", "s", "--idempotency-key", "", "Hi"]), USAGE, &["idempotency key"]);
    fails(&place.run(&["append", "s"]), USAGE, &["text", "--file", "--entry"]);
    let long = "x".repeat(1025);
    for title in ["a\nb", long.as_str()] {
        for command in [&["append", "s", "Hi", "--title", title][..], &["fork", "s", "t", "--title", title]] {
            fails(&place.run(command), USAGE, &["--title"]);
        }
    }
    fails(&place.run(&["fork", "s", "t", "--idempotency-key", ""]), USAGE, &["idempotency key"]);
    fails(&place.run(&["search", "x", "--after", "y"]), USAGE, &["--after", "cursor"]);
    fails(&place.run(&["search", "!!!"]), USAGE, &["search"]);
    fails(&place.run(&["search", "x", "--since", "2026-05-02", "--until", "2026-05-01"]), USAGE, &["give a later end"]);
    for price in ["--price-per-million=-1", "--price-per-million=NaN"] {
        place.run(&["migrate", "--from", "sqlite:a", "--to", "sqlite:b", price]).fails(USAGE, &["dollars"]);
    }
    place.run(&["threads", "--limit", "0"]).fails(USAGE, &["--limit"]);
    place.run(&["append", "s", "Hi", "--file", "x"]).fails(USAGE, &["--file"]);
    place.run(&["show", "s", "--last", "2", "--turns", "2"]).fails(USAGE, &["--turns"]);
    place.run(&["show", "s", "--last", "-1"]).fails(USAGE, &[]);
    place.run(&["rewind", "s", "--yes"]).fails(USAGE, &["--to"]);
    fails(&place.run(&["table", "check"]), USAGE, &["dynamodb://TABLE"]);
    fails(&place.run(&["iam-policy"]), USAGE, &["dynamodb://TABLE"]);
    fails(&place.run(&["chat", "--model", "m", "-m", "Hi"]), USAGE, &["--base-url", "OPENAI_BASE_URL"]);
}

#[test]
fn store_urls() {
    let place = Place::sqlite();
    for (url, says) in [
        ("chats.db", "sqlite:"),
        ("sqlite:", "missing path"),
        ("sqlite:a?retention=soon", "retention"),
        ("dynamodb://chats?tabel=x", "\"tabel\""),
        ("dynamodb://user:hunter2@chats", "credentials"),
        ("dynamodb://chats?secret_access_key=hunter2", "credentials"),
    ] {
        let ran = place.run(&["--store", url, "sessions"]);
        fails(&ran, USAGE, &["--store", says]);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
        fails(&Place::at(url).run(&["sessions"]), USAGE, &["CHAT_MEMORY_STORE", says]);
    }
}

#[test]
fn malformed_message_files_are_refused_by_line() {
    let place = Place::sqlite();
    let good = r#"{"role":"user","content":"Hi"}"#;
    for (line, says) in [
        ("{\"role\": \"user\"", "the text ends inside an object"),
        ("{\"role\":\"bot\",\"content\":\"Hi\"}", "unknown role \"bot\""),
        ("{\"role\":\"user\",\"content\":\"Hi\",\"n\":1e999}", "beyond the largest 64-bit float"),
        ("{\"role\":\"user\",\"role\":\"user\"}", "twice"),
        ("[1]", "item 1: invalid message: expected a JSON object"),
        ("{\"content\":\"Hi\"}", "role"),
    ] {
        let file = place.file("turn.jsonl", format!("{good}\n\n{line}\n{good}\n"));
        fails(&place.run(&["append", "s", "--file", &file]), FAILED, &["turn.jsonl", "line 3", says]);
    }
    fails(&place.run(&["append", "s", "--file", "none.jsonl"]), FAILED, &["cannot read none.jsonl: ", "; check the path"]);
    fails(&place.run(&["append", "s", "--file", "."]), FAILED, &["cannot read .: it is a folder; "]);
    let empty = place.file("empty.jsonl", "\n");
    fails(&place.run(&["append", "s", "--file", &empty]), FAILED, &["no message"]);
    let bytes = place.file("bytes.jsonl", b"\xff\xfe\n");
    fails(&place.run(&["append", "s", "--file", &bytes]), FAILED, &["line 1", "UTF-8"]);
    assert!(place.messages("s").is_empty(), "no part of a file with an error is stored");
}

/// The same sentences as in the library and the HTTP service, from `testdata/refused.json`.
#[test]
fn refused_input_has_the_same_error_text_everywhere() {
    let place = Place::sqlite();
    let cases: Vec<serde_json::Value> = serde_json::from_str(include_str!("../../../../testdata/refused.json")).expect("a list");
    let hex = |text: &str| -> Vec<u8> {
        text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("hex"), 16).expect("hex")).collect()
    };
    for case in cases {
        let says = case["says"].as_str().expect("a text");
        let text = case["text"].as_str().map(|text| text.as_bytes().to_vec()).or_else(|| case["bytes"].as_str().map(hex));
        let (content, format, place_of) = match text {
            // In a file these are no value at all, or start with one that is read first.
            Some(_) if case["file"] == false => continue,
            Some(text) => (text, "openai", ""),
            None => (case["message"].to_string().into_bytes(), case["format"].as_str().expect("a text"), "line 1: "),
        };
        let file = place.file("bad.jsonl", &content);
        for (name, ran) in [
            ("bad.jsonl", place.run(&["append", "s", "--format", format, "--file", &file])),
            ("-", place.run_with(&["append", "s", "--format", format, "--file", "-"], &content)),
        ] {
            // The depth is a limit of a message, checked after all are read.
            let sentence = if says.starts_with("message nested") { says.to_owned() } else { format!("{name}: {place_of}{says}") };
            fails(&ran, FAILED, &[&sentence]);
        }
    }
    assert!(place.messages("s").is_empty());
}

#[test]
fn message_files_may_be_lines_lists_or_indented() {
    let place = Place::sqlite();
    for (n, text) in [
        "{\"role\":\"user\",\"content\":\"a\"}\n{\"role\":\"user\",\"content\":\"b\"}\n",
        "\u{feff}{\"role\":\"user\",\"content\":\"a\"}\r\n\u{feff}{\"role\":\"user\",\"content\":\"b\"}",
        "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"b\"}]",
        "[\n  {\n    \"role\": \"user\",\n    \"content\": \"a\"\n  },\n  {\n    \"role\": \"user\",\n    \"content\": \"b\"\n  }\n]\n",
        "{\n  \"role\": \"user\",\n  \"content\": \"a\"\n}\n{\n  \"role\": \"user\",\n  \"content\": \"b\"\n}\n",
    ]
    .into_iter()
    .enumerate()
    {
        let session = format!("s{n}");
        place.run_with(&["append", &session, "--file", "-"], text).done();
        let texts: Vec<_> = place.messages(&session).iter().map(|message| message["content"].clone()).collect();
        assert_eq!(texts, ["a", "b"], "{text}");
    }
    let conversations = "[\n {\n  \"id\": \"i1\",\n  \"messages\": [{\"role\": \"user\", \"content\": \"a\"}]\n },\n {\"id\": \"i2\", \"messages\": []}\n]";
    place.run_with(&["import", "-"], conversations).done();
    assert_eq!(place.messages("i1")[0]["content"], "a");
}

#[test]
fn foreign_number_literals_are_accepted() {
    let place = Place::sqlite();
    let text = r#"{"role":"user","content":"x","a":2.98023223876953125E-8,"b":0.10000000000000001,"c":18446744073709551616,"d":1e-400,"e":-0}"#;
    place.run_with(&["append", "s", "--file", "-"], text).done();
    let message = &place.messages("s")[0];
    for (name, float) in [("a", 2.0_f64.powi(-25)), ("b", 0.1), ("c", 18_446_744_073_709_551_616.0), ("d", 0.0), ("e", -0.0)] {
        assert_eq!(message[name].as_f64().map(f64::to_bits), Some(float.to_bits()), "{name}: {message}");
    }
}

#[test]
fn empty_text_argument_is_refused() {
    let place = Place::sqlite();
    fails(&place.run(&["append", "s", ""]), USAGE, &["empty message", "--file"]);
    fails(&place.run(&["append", "s", "--role", "tool", "--tool-call-id", "c", ""]), USAGE, &["empty message", "--file"]);
    fails(&place.run_with(&["append", "s", "-"], ""), FAILED, &["empty message", "standard input", "--file"]);
    for text in ["", " \n"] {
        let chat = ["chat", "s", "--model", "m", "--base-url", "http://127.0.0.1:1/v1", "-m", text];
        fails(&place.run(&chat), USAGE, &["--message"]);
    }
    assert!(!place.path().join("chats.db").exists(), "nothing is made for it");
    // Models do answer like this.
    place.run_with(&["append", "s", "--file", "-"], "{\"role\":\"assistant\",\"content\":\"\"}").done();
    assert_eq!(place.messages("s")[0]["content"], "");
}

#[test]
fn overly_deep_or_large_messages_are_refused() {
    let place = Place::sqlite();
    let deep = format!("{{\"role\":\"user\",\"x\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    fails(&place.run_with(&["append", "s", "--file", "-"], deep), FAILED, &["line 1"]);
    fails(&place.run_with(&["append", "s", "-"], "x".repeat(17_000_000)), FAILED, &["16"]);
    assert!(place.messages("s").is_empty());
    // What is within the limit is read back completely.
    let text = "ä".repeat(500_000);
    place.run_with(&["append", "s", "-"], &text).done();
    assert_eq!(place.messages("s")[0]["content"], text.as_str());
}

#[test]
fn malformed_conversation_files_are_refused_by_line() {
    let place = Place::sqlite();
    let good = |id: &str| format!(r#"{{"id":"{id}","messages":[{{"role":"user","content":"Hi"}}]}}"#);
    for (line, says) in [
        ("{\"id\":", "the text ends where a value is expected"),
        ("{\"id\":\"x\"}", "\"messages\""),
        ("{\"id\":\"\",\"messages\":[]}", "\"id\" is empty"),
        ("{\"id\":\"x\",\"messages\":[{\"role\":\"user\"},{\"role\":\"bot\"}]}", "message 2: unknown role"),
        ("{\"id\":\"x\",\"messages\":[],\"tags\":1}", "\"tags\""),
    ] {
        let file = place.file("all.jsonl", format!("{}\n{line}\n{}\n", good("before"), good("after")));
        let ran = place.run(&["import", &file]);
        ran.fails(FAILED, &["all.jsonl", "line 2", says, "nothing after this was read", "run the import again"]);
        assert_eq!(place.messages("before").len(), 1);
        assert!(place.messages("after").is_empty(), "the import ends at a line that cannot be read");
    }
    let twice = place.file("twice.jsonl", format!("{}\n{}\n", good("same"), good("same")));
    place.run(&["import", &twice]).fails(FAILED, &["line 2", "session same", "line 1"]);
    fails(&place.run(&["import", "none.jsonl"]), FAILED, &["cannot read none.jsonl: ", "; check the path"]);
}

#[test]
fn unusable_sqlite_paths_are_named() {
    let place = Place::sqlite();
    let at = |url: &str| place.run(&["--store", url, "append", "s", "Hi"]);
    fails(&at("sqlite:missing/folder/chats.db"), FAILED, &["there is no folder", "missing/folder"]);
    fails(&at("sqlite:."), FAILED, &["is a folder"]);
    place.file(
        "text.db",
        "This is no database, but a text that is long enough to be one, as SQLite looks at it first.\n".repeat(20),
    );
    fails(&at("sqlite:text.db"), FAILED, &["text.db"]);
    assert!(std::fs::read(place.path().join("text.db")).expect("it is there").starts_with(b"This is no database"));
    // Files cannot be created in the kernel's own file system, even by root.
    #[cfg(target_os = "linux")]
    fails(&at("sqlite:/proc/chats.db"), FAILED, &["/proc/chats.db"]);
}

#[test]
fn corrupt_sqlite_file_is_named() {
    let place = Place::sqlite();
    let text = "x".repeat(200_000);
    for _ in 0..5 {
        place.run_with(&["append", "s", "-"], &text).done();
    }
    let file = place.path().join("chats.db");
    let mut bytes = std::fs::read(&file).expect("it is there");
    let middle = bytes.len() / 10..bytes.len() * 9 / 10;
    bytes[middle].fill(0xa5);
    std::fs::write(&file, bytes).expect("it can be written");
    let ran = place.run(&["show", "s", "--format", "openai"]);
    assert_eq!(ran.code, Some(FAILED), "{}", ran.err);
    ran.fails(FAILED, &["chats.db"]);
}

/// A limit on file sizes simulates a full disk: the write returns an error.
#[cfg(target_os = "linux")]
#[test]
fn full_disk_fails_the_append_and_stores_nothing() {
    let place = Place::sqlite();
    place.run(&["append", "s", "before"]).done();
    let text = place.file("long.txt", "x".repeat(3_000_000));
    let program = env!("CARGO_BIN_EXE_chat-memory");
    let script = format!("trap '' XFSZ; ulimit -f 512; exec {program} append s - < {text}");
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(script).current_dir(place.path()).env_clear().env("CHAT_MEMORY_STORE", &place.store);
    let ran: Ran = shell.output().expect("a shell").into();
    ran.fails(FAILED, &["chats.db"]);
    assert_eq!(place.messages("s").len(), 1, "nothing of it is visible");
    place.run(&["append", "s", "after"]).done();
}

/// The files in a folder.
fn names(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.path()).expect("the folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn mistyped_path_is_an_error_and_creates_no_file() {
    let place = Place::sqlite();
    // If the folder is missing too, the error may name only that.
    for (store, named) in [
        ("sqlite:typo.db", "typo.db"),
        ("sqlite:no/such/typo.db?create_parent=true", "no/such"),
        ("sqlite:typo.db?read_only=true", "typo.db"),
    ] {
        for command in [
            &["show", "s"][..],
            &["show", "s", "--position"],
            &["sessions"],
            &["sessions", "--all"],
            &["export"],
            &["export", "s"],
            &["rewind", "s", "--turns", "1", "--yes"],
            &["clear", "s", "--yes"],
            &["delete", "s", "--yes"],
            &["threads"],
            &["show", "--thread", "s"],
            &["delete", "--thread", "s", "--yes"],
            &["migrate", "--from", store, "--to", "sqlite:copy.db"],
        ] {
            fails(&place.run(&[&["--store", store][..], command].concat()), FAILED, &["there is no ", named]);
        }
    }
    assert_eq!(names(&place), Vec::<String>::new());
}

#[test]
fn default_store_reads_as_empty_before_it_exists() {
    let place = Place::at("");
    for command in [&["show", "s"][..], &["sessions"], &["sessions", "--all"], &["--read-only", "sessions"]] {
        assert_eq!(place.run(command).done(), "", "{command:?}");
    }
    assert_eq!(names(&place), Vec::<String>::new());
    place.run(&["append", "s", "Hi"]).done();
    assert!(place.run(&["show", "s"]).done().contains("Hi"));
}

#[cfg(unix)]
#[test]
fn non_regular_files_are_refused_at_once() {
    let place = Place::sqlite();
    let pipe = place.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let _socket = std::os::unix::net::UnixListener::bind(place.path().join("socket")).expect("a socket");
    std::os::unix::fs::symlink(&pipe, place.path().join("link")).expect("a link");
    for (path, says) in [
        ("pipe", "a named pipe"),
        ("link", "a named pipe"),
        ("socket", "a socket"),
        ("/dev/null", "a device"),
        (".", "is a folder"),
    ] {
        let store = format!("sqlite:{path}");
        for command in
            [&["append", "s", "Hi"][..], &["show", "s"], &["--read-only", "sessions"], &["serve", "--listen", "127.0.0.1:0"]]
        {
            fails(&place.run(&[&["--store", &store][..], command].concat()), FAILED, &[says]);
        }
    }
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["key", "list"], &["key", "new", "--name", "a"]] {
        fails(&place.run(&[command, &["--keys", "pipe"]].concat()), FAILED, &["pipe", "not a regular file"]);
    }
}

/// A port without a listener.
fn closed() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound")
}

/// Each of these would take a minute if the connection were retried until the deadline.
#[test]
fn refused_connection_fails_without_retries() {
    let at = closed();
    let place = Place::at(format!("dynamodb://chats?region=eu-west-1&endpoint=http://{at}&deadline=60s"))
        .with("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        .with("AWS_SECRET_ACCESS_KEY", "secret");
    for command in [
        &["append", "s", "Hi"][..],
        &["show", "s"],
        &["sessions"],
        &["sessions", "--all"],
        &["delete", "s", "--yes"],
        &["threads"],
        &["show", "--thread", "s"],
        &["table", "create"],
        &["table", "sweep"],
    ] {
        let ran = place.run(command);
        ran.fails(FAILED, &["no connection", &at.to_string()]);
    }
}

#[test]
fn usage_errors_are_json_where_that_is_asked_for() {
    let place = Place::sqlite();
    for arguments in [&["--json", "append"][..], &["rewind", "s", "--turns", "0", "--json"], &["--json", "no-such-command"]] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        let said: serde_json::Value = serde_json::from_str(&ran.err).unwrap_or_else(|e| panic!("{e}: {}", ran.err));
        let message = said["error"]["message"].as_str().unwrap_or_default();
        assert!(said["error"]["kind"] == "usage" && !message.is_empty() && !message.starts_with("error"), "{said}");
    }
    // What comes behind -- is text.
    assert!(!place.run(&["append", "s", "a", "b", "--", "--json"]).err.starts_with('{'));
}
