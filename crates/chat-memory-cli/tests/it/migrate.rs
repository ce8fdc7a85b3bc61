//! `migrate`: the real conversations from a table in Flowise's format to ours, to a file, and back to a list, equal at the end.

use std::path::Path;
use std::process::{Command, Output};

use chat_memory::store::dynamodb::{Credentials, DynamoDbStore, Layout, Options};
use chat_memory::store::{Append, ChatStore, Load};
use chat_memory::{Message, SessionId, Timestamp};
use chat_memory_testkit::{dynamodb_endpoint, shared_conversations, table_name};
use serde_json::Value;

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-memory"));
    command
        .args(arguments)
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_REGION", "us-east-1");
    command.output().expect("the program runs")
}

/// Runs it, and returns its line of JSON.
fn summary(arguments: &[&str]) -> Value {
    let output = run(arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {out}"))
}

fn url(table: &str, more: &str) -> String {
    format!("dynamodb://{table}?region=us-east-1&endpoint={}{more}", dynamodb_endpoint())
}

fn options(table: &str) -> Options {
    let credentials = Credentials::new("local", "local");
    Options::new(table).with_region("us-east-1").with_endpoint(dynamodb_endpoint()).with_credentials(credentials)
}

/// A table with a partition key only, as Flowise and LangChain use.
fn list_table() -> String {
    let name = table_name("migrate");
    let made = run(&["--store", &url(&name, "&layout=list"), "table", "create"]);
    assert!(made.status.success(), "{made:?}");
    name
}

async fn whole(store: &DynamoDbStore, id: &str) -> Vec<Message> {
    store.load(&SessionId::new(id).expect("an id"), &Load::all()).await.expect("a load").into_messages()
}

/// The messages are there nevertheless, and the import has not failed.
#[test]
fn import_reports_fields_that_the_store_cannot_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("one.jsonl");
    let line =
        serde_json::json!({ "id": "s", "messages": [{ "role": "user", "content": "Hi" }], "metadata": { "topic": "greetings" } });
    std::fs::write(&file, line.to_string()).expect("a file");
    let (store, file) = (url(&list_table(), "&layout=list"), file.display().to_string());
    let done = summary(&["--store", &store, "--json", "import", &file]);
    assert_eq!((&done["messages"], &done["described"]), (&1.into(), &1.into()), "{done}");
    let said = run(&["--store", &store, "import", &file]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("1 session with an owner, a title or metadata, which the store cannot hold"), "{said}");
}

/// Neither a copy nor an append writes a part of them.
#[test]
fn a_list_refuses_entries_that_are_not_messages() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = format!("sqlite:{}", folder.path().join("chats.db").display());
    let list = url(&list_table(), "&layout=list");
    for session in ["mixed", "plain"] {
        assert!(run(&["--store", &file, "append", session, "Hi"]).status.success());
    }
    assert!(run(&["--store", &file, "append", "mixed", "--entry", r#"{"type": "summary"}"#]).status.success());
    let migrated = run(&["--json", "migrate", "--from", &file, "--to", &list]);
    let summary: Value = serde_json::from_slice(&migrated.stdout).expect("JSON");
    assert_eq!((migrated.status.code(), &summary["messages"]), (Some(1), &1.into()), "{summary}");
    let failed = summary["failed"].to_string();
    assert!(failed.contains("entries that are not chat messages") && failed.contains("session not copied"), "{failed}");
    let refused = run(&["--store", &list, "append", "mixed", "--entry", r#"{"type": "summary"}"#]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("cannot append entry 1: it is not a chat message"), "{said}");
    let left = run(&["--store", &list, "--json", "show", "mixed"]);
    assert!(String::from_utf8_lossy(&left.stdout).contains(r#""messages":[]"#), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn real_data_survives_migration_through_every_layout() {
    let conversations: Vec<_> = shared_conversations();
    let (flowise, back, turns) = (list_table(), list_table(), table_name("migrate-turns"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = format!("sqlite:{}", folder.path().join("chats.db").display());
    // In Flowise's format, with extra data for what that cannot hold.
    let source = DynamoDbStore::open(options(&flowise).with_layout(Layout::List)).await.expect("a store");
    for conversation in &conversations {
        let session = SessionId::new(&*conversation.id).expect("an id");
        source.append(&session, &Append::new(conversation.messages.clone())).await.expect("an append");
    }
    assert!(run(&["--store", &url(&turns, ""), "table", "create"]).status.success());
    let (from, to) = (url(&flowise, ""), url(&turns, ""));
    let plan = summary(&["--json", "migrate", "--from", &from, "--to", &to, "--dry-run"]);
    assert_eq!(plan["sessions"], conversations.len());
    let copied = summary(&["--json", "migrate", "--from", &from, "--to", &to, "--verify"]);
    assert_eq!((&copied["sessions"], &copied["failed"]), (&plan["sessions"], &Value::Array(Vec::new())));
    assert_eq!((&copied["messages"], &copied["appends"]), (&plan["messages"], &plan["appends"]));
    // The cost matches the prediction, except for a record or two at the edge of a unit: a time that ends in zeros is a byte
    // shorter in DynamoDB, and the times are unknown beforehand.
    let (took, said) = (&copied["cost"]["write_units"], &plan["write_units"]);
    // DynamoDB Local charges more than AWS's two units per KB for the larger items of a transaction, such as each session's first
    // record.
    let off = took.as_f64().zip(said.as_f64()).map(|(took, said)| said - took);
    assert!(off.is_some_and(|off| off <= 2.0), "{plan} {copied}");
    let left = summary(&["--json", "migrate", "--from", &from, "--to", &to, "--dry-run"]);
    assert_eq!((&left["appends"], &left["write_units"]), (&0.into(), &0.0.into()), "what is there need not be written: {left}");
    let again = summary(&["--json", "migrate", "--from", &from, "--to", &to]);
    assert_eq!((&again["messages"], &again["messages_there"]), (&Value::from(0), &copied["messages"]), "nothing is doubled");
    summary(&["--json", "migrate", "--from", &to, "--to", &file, "--verify"]);
    summary(&["--json", "migrate", "--from", &file, "--to", &url(&back, "&layout=list&partition_key=id"), "--verify"]);
    let end = DynamoDbStore::open(options(&back).with_layout(Layout::List)).await.expect("a store");
    for conversation in &conversations {
        assert_eq!(whole(&end, &conversation.id).await, conversation.messages, "{}", conversation.id);
    }
}

#[test]
fn copy_resumes_and_leaves_differing_sessions_unchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| format!("sqlite:{}", Path::new(folder.path()).join(name).display());
    let (from, to) = (path("from.db"), path("to.db"));
    let append = |store: &str, session: &str, text: &str| {
        let output = run(&["--store", store, "append", session, text]);
        assert!(output.status.success(), "{output:?}");
    };
    for session in ["a", "b"] {
        append(&from, session, "one");
        append(&from, session, "two");
    }
    append(&to, "a", "one");
    append(&to, "b", "something else");
    let output = run(&["--json", "migrate", "--from", &from, "--to", &to]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let summary: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&summary["messages"], &summary["messages_there"]), (&1.into(), &1.into()), "{summary}");
    assert_eq!((summary["failed"].as_array().map(Vec::len), &summary["failed"][0]["id"]), (Some(1), &"b".into()), "{summary}");
    let shown = run(&["--store", &to, "show", "b", "--format", "openai"]);
    assert!(!String::from_utf8_lossy(&shown.stdout).contains("two"), "nothing was written to it");
    // One store for both sides, and no store at all, are usage errors.
    assert_eq!(run(&["migrate", "--from", &from, "--to", &from]).status.code(), Some(2));
    assert_eq!(run(&["migrate", "--from", "nowhere", "--to", &from]).status.code(), Some(2));
}

#[test]
fn copy_tells_redactions_of_one_side_from_other_messages() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let (from, to) = (path("from.db"), path("to.db"));
    let done = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success(), "{output:?}");
    };
    done(&["--store", &from, "append", "trip", "My card is 4111", "--title", "Trip"]);
    done(&["--store", &from, "append", "trip", "Thanks", "--role", "assistant"]);
    let migrate = ["migrate", "--from", &from, "--to", &to, "--verify"];
    done(&migrate);
    done(&["--store", &from, "redact", "trip", "0", "--yes"]);
    for arguments in [&migrate[..], &[&migrate[..5], &["--dry-run"]].concat()] {
        let differs = run(arguments);
        let err = String::from_utf8_lossy(&differs.stderr);
        assert_eq!(differs.status.code(), Some(3), "{err}");
        let said = "1 message is redacted at the source only, and the target still has what was said in record 0; nothing w";
        assert!(err.contains(said) && err.contains("redact what is left of them"), "{err}");
    }
    done(&["--store", &to, "redact", "trip", "0", "--message", "0", "--yes", "--replacement", "(a card)"]);
    let verified = run(&migrate);
    let out = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success() && out.contains("except the time and the words of 1 that each side redacted"), "{out}");
    done(&["--store", &to, "redact", "trip", "0", "--message", "1", "--yes"]);
    let differs = run(&migrate);
    let err = String::from_utf8_lossy(&differs.stderr);
    assert!(
        err.contains("1 message is redacted at the target only, and the source still has what was said in record 1;"),
        "{err}"
    );
}

/// A title that changed in the source is copied to the session that is there, and what cannot be copied is reported.
#[tokio::test]
async fn verified_copy_has_the_titles_and_metadata_of_the_source() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let (from, to) = (path("from.db"), path("to.db"));
    assert!(run(&["--store", &from, "append", "trip", "Hello", "--owner", "ada", "--title", "Trip"]).status.success());
    let migrate = ["migrate", "--from", &from, "--to", &to, "--verify"];
    assert!(run(&migrate).status.success());
    let store = chat_memory::open(&from).await.expect("the source");
    let update = chat_memory::store::SessionUpdate::default().with_title("Trip to Rome".to_owned());
    let session = SessionId::new("trip").expect("an id");
    store.update_session(&session, &update).await.expect("a new title");
    assert!(run(&migrate).status.success());
    let listed = summary(&["--store", &to, "--json", "sessions", "--owner", "ada"]);
    assert_eq!(listed["title"], "Trip to Rome");
    // An owner stays as it was.
    assert!(run(&["--store", &to, "delete", "trip", "--yes"]).status.success());
    assert!(run(&["--store", &to, "append", "trip", "Hello", "--owner", "bob"]).status.success());
    let differs = run(&migrate);
    let err = String::from_utf8_lossy(&differs.stderr);
    assert!(differs.status.code() == Some(1) && err.contains("the owner differs: the source has ada, the target bob"), "{err}");
}

/// Kills the copy in the middle, trying until one kill lands there.
#[test]
fn killed_copy_resumes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let from = path("from.db");
    let lines: String = (0..400)
        .map(|n| {
            let messages: Vec<Value> = (0..6)
                .map(|m| serde_json::json!({ "role": if m % 2 == 0 { "user" } else { "assistant" }, "content": format!("{n}/{m}") }))
                .collect();
            format!("{}\n", serde_json::json!({ "id": format!("s{n}"), "messages": messages }))
        })
        .collect();
    let file = folder.path().join("all.jsonl");
    std::fs::write(&file, lines).expect("a file");
    let imported = run(&["--store", &from, "import", &file.display().to_string()]);
    assert!(imported.status.success(), "{imported:?}");
    let messages = 400 * 6;
    for attempt in 0..20 {
        let to = path(&format!("to-{attempt}.db"));
        let migrate = ["--json", "migrate", "--from", &from, "--to", &to, "--verify"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_chat-memory"))
            .args(migrate)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("the program runs");
        std::thread::sleep(std::time::Duration::from_millis(30 * (attempt + 1)));
        child.kill().expect("it can be killed");
        child.wait().expect("it ended");
        let done = summary(&migrate);
        let [there, copied] = ["messages_there", "messages"].map(|key| done[key].as_u64().expect("a count"));
        assert_eq!(there + copied, messages, "{done}");
        if (1..messages).contains(&there) {
            let nothing = summary(&migrate);
            assert_eq!(nothing["messages_there"], messages, "{nothing}");
            return;
        }
    }
    panic!("no kill met the copy in the middle");
}

#[test]
fn migration_copies_owners_and_titles() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let (from, back, turns) = (path("from.db"), path("back.db"), table_name("migrate-owners"));
    let appended = run(&["--store", &from, "append", "trip", "Hello", "--owner", "user:42", "--title", "Lisbon"]);
    assert!(appended.status.success(), "{appended:?}");
    assert!(run(&["--store", &url(&turns, ""), "table", "create"]).status.success());
    summary(&["--json", "migrate", "--from", &from, "--to", &url(&turns, ""), "--verify"]);
    summary(&["--json", "migrate", "--from", &url(&turns, ""), "--to", &back, "--verify", "--session", "trip"]);
    for store in [url(&turns, ""), back] {
        let listed = summary(&["--store", &store, "--json", "sessions", "--owner", "user:42"]);
        let info = listed.as_array().map_or(&listed, |list| &list[0]);
        assert_eq!(
            (&info["id"], &info["owner"], &info["title"]),
            (&"trip".into(), &"user:42".into(), &"Lisbon".into()),
            "{listed}"
        );
    }
}

/// What was compared is printed, and sessions that the target cannot hold do not block the others.
#[test]
fn verified_copy_reports_what_was_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let (from, to) = (path("from.db"), path("to.db"));
    for session in ["a", "b"] {
        assert!(run(&["--store", &from, "append", session, "one"]).status.success());
    }
    let migrate = ["migrate", "--from", &from, "--to", &to, "--verify", "--rename", "b", "c"];
    let ran = run(&migrate);
    let (out, err) = (String::from_utf8_lossy(&ran.stdout).into_owned(), String::from_utf8_lossy(&ran.stderr).into_owned());
    assert!(
        out.ends_with(
            "verified 2 sessions: read again, all fields of 2 messages are equal on both sides, and so are the times at which they \
             were sent\n"
        ),
        "{out}"
    );
    assert!(err.contains("session \"b\" is copied as c"), "{err}");
    let again = summary(&[&["--json"][..], &migrate].concat());
    assert_eq!(
        (&again["messages_there"], &again["renamed"][0]["to"], &again["complete"]),
        (&2.into(), &"c".into(), &true.into())
    );
    assert_eq!(again["verified"], serde_json::json!({"sessions": 2, "messages": 2, "other_times": 0, "redacted": 0}));
}

/// A named session that does not exist is an error, and so is a name that matches none.
#[test]
fn migration_of_a_missing_session_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let (from, to) = (path("from.db"), path("to.db"));
    assert!(run(&["--store", &from, "append", "a", "one"]).status.success());
    let ran = run(&["migrate", "--from", &from, "--to", &to, "--session", "typo", "--session", "a", "--rename", "nosuch", "z"]);
    let (out, err) = (String::from_utf8_lossy(&ran.stdout).into_owned(), String::from_utf8_lossy(&ran.stderr).into_owned());
    assert_eq!(ran.status.code(), Some(1), "{err}");
    assert!(out.starts_with("copied 1 message in 1 append, of 2 sessions; 2 failed"), "{out}");
    assert!(err.contains("session typo: source: there is no such session; check the id"), "{err}");
    assert!(err.contains("session nosuch: no such session among those copied"), "{err}");
    let ran = run(&["migrate", "--from", &from, "--to", &to, "--dry-run", "--rename", "a", "b"]);
    let err = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success() && err.contains("session \"a\" would be copied as b"), "{err}");
}

/// Flowise's callers name sessions as they like.
#[tokio::test(flavor = "multi_thread")]
async fn session_id_refused_by_the_target_is_renamed() {
    let (flowise, folder) = (list_table(), tempfile::tempdir().expect("a folder"));
    let store = DynamoDbStore::open(options(&flowise).with_layout(Layout::List)).await.expect("a store");
    for id in ["good1", "a\nb", "good2"] {
        let session = SessionId::stored(id).expect("an id");
        let sent_at = [Some(Timestamp::from_secs(1_700_000_000))];
        store.append(&session, &Append::new([Message::user(id)]).sent_at(sent_at)).await.expect("an append");
    }
    let to = format!("sqlite:{}", folder.path().join("to.db").display());
    let from = url(&flowise, "");
    let done = summary(&["--json", "migrate", "--from", &from, "--to", &to, "--verify"]);
    assert_eq!((&done["sessions"], &done["messages"], &done["failed"]), (&3.into(), &3.into(), &Value::Array(Vec::new())));
    let renamed = done["renamed"][0]["to"].as_str().expect("an id").to_owned();
    assert!(renamed.starts_with("a%0Ab~"), "{done}");
    // As printed, or verbatim; the times are there, too.
    let given = path_of(&folder, "given.db");
    summary(&["--json", "migrate", "--from", &from, "--to", &given, "--session", "a\nb", "--rename", "a\\nb", "mine"]);
    for (store, id) in [(&to, renamed.as_str()), (&given, "mine")] {
        let shown = summary(&["--store", store, "--json", "show", id]);
        assert_eq!(
            (&shown["messages"][0]["content"], &shown["sent_at"][0]),
            (&"a\nb".into(), &"2023-11-14T22:13:20.000Z".into())
        );
    }
    let exported = run(&["--store", &from, "export"]);
    assert_eq!(String::from_utf8_lossy(&exported.stdout).lines().count(), 3, "{exported:?}");
}

fn path_of(folder: &tempfile::TempDir, name: &str) -> String {
    format!("sqlite:{}", folder.path().join(name).display())
}

#[test]
fn no_two_sessions_are_copied_to_one_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (path_of(&folder, "from.db"), path_of(&folder, "to.db"));
    for id in ["a", "b", "c"] {
        assert!(run(&["--store", &from, "append", id, id]).status.success());
    }
    let migrate = |more: &[&str]| {
        let ran = run(&[&["migrate", "--from", &from, "--to", &to], more].concat());
        (ran.status.code(), String::from_utf8(ran.stderr).expect("UTF-8"))
    };
    for (more, says) in [
        (&["--rename", "a", "q", "--rename", "b", "q"][..], "several sessions the id q"),
        (&["--rename", "a", "q", "--rename", "a", "r"], "names a twice"),
        (&["--rename", "a", "b", "--session", "a", "--session", "b"], "--session copies another of that id"),
    ] {
        let (code, err) = migrate(more);
        assert!(code == Some(2) && err.contains(says), "{more:?}: {err}");
    }
    assert!(!folder.path().join("to.db").exists(), "a usage error writes nothing");
    for more in [&["--dry-run", "--rename", "a", "b"][..], &["--rename", "a", "b"]] {
        let (code, err) = migrate(more);
        assert!(code == Some(1) && err.contains("session a: session not copied as b: the source has another session"), "{err}");
    }
    assert_eq!(summary(&["--store", &to, "--json", "show", "b"])["messages"][0]["content"], "b");
    // Two that swap their ids do not meet.
    let swapped = path_of(&folder, "swapped.db");
    summary(&["--json", "migrate", "--from", &from, "--to", &swapped, "--rename", "a", "b", "--rename", "b", "a"]);
    assert_eq!(summary(&["--store", &swapped, "--json", "show", "b"])["messages"][0]["content"], "a");
}

#[test]
fn read_only_refuses_a_copy_but_not_a_dry_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (path_of(&folder, "from.db"), path_of(&folder, "to.db"));
    assert!(run(&["--store", &from, "append", "a", "one"]).status.success());
    let refused = run(&["--read-only", "migrate", "--from", &from, "--to", &to]);
    let err = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && err.contains("--read-only refuses all writes"), "{err}");
    assert!(!folder.path().join("to.db").exists());
    let tried = run(&["--read-only", "migrate", "--from", &from, "--to", &to, "--dry-run"]);
    assert!(tried.status.success(), "{tried:?}");
    let demo = run(&["--read-only", "serve", "--demo"]);
    let err = String::from_utf8_lossy(&demo.stderr);
    assert!(demo.status.code() == Some(2) && err.contains("leave out one of them"), "{err}");
}

/// Ctrl-C while the target does not answer.
#[cfg(unix)]
#[test]
fn interrupted_copy_explains_how_to_continue() {
    let folder = tempfile::tempdir().expect("a folder");
    let from = path_of(&folder, "from.db");
    assert!(run(&["--store", &from, "append", "a", "one"]).status.success());
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = format!("dynamodb://chats?region=us-east-1&endpoint=http://{}", silent.local_addr().expect("its address"));
    let child = Command::new(env!("CARGO_BIN_EXE_chat-memory"))
        .args(["migrate", "--from", &from, "--to", &to, "--json"])
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program runs");
    let _connection = silent.accept().expect("it asks the target");
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
    let output = child.wait_with_output().expect("it ends");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert!(err.contains("run the same command again to continue"), "{err}");
    let summary: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&summary["complete"], &summary["messages"]), (&false.into(), &0.into()));
}
