//! The program works with the store: it appends, shows, lists, migrates and serves.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-memory-files"));
    command.args(args).env_remove("CHAT_MEMORY_STORE");
    command
}

fn done(args: &[&str]) -> String {
    let Output { status, stdout, stderr } = command(args).output().expect("the program starts");
    assert!(status.success(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("UTF-8")
}

#[test]
fn store_is_appended_to_shown_listed_and_migrated() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = |scheme: &str, name: &str| format!("{scheme}:{}", folder.path().join(name).display());
    let (files, sqlite, again) = (url("files", "a"), url("sqlite", "b.db"), url("files", "c"));
    done(&["--store", &files, "append", "trip", "Where to in May?"]);
    done(&["--store", &files, "append", "trip", "--role", "assistant", "To Lisbon."]);
    let shown = done(&["--store", &files, "show", "trip", "--format", "openai"]);
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(done(&["--store", &files, "sessions"]).contains("trip"));
    for (from, to) in [(&files, &sqlite), (&sqlite, &again)] {
        done(&["migrate", "--from", from, "--to", to, "--verify"]);
        assert_eq!(done(&["--store", to, "show", "trip", "--format", "openai"]), shown, "{from} to {to}");
    }
    let unknown = command(&["--store", "elsewhere:a", "sessions"]).output().expect("the program starts");
    assert!(!unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains("files:FOLDER"), "{unknown:?}");
}

#[test]
fn store_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = format!("files:{}", folder.path().display());
    done(&["--store", &store, "append", "trip", "Where to in May?"]);
    let mut service =
        command(&["--store", &store, "serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(service.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let url = lines.find_map(|line| line.strip_prefix("listening on http://").map(str::to_owned)).expect("where it listens");
    let mut answers = Vec::new();
    for path in ["/v1/sessions/trip/messages", "/console"] {
        let mut stream = TcpStream::connect(&url).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {url}\r\nConnection: close\r\n\r\n").expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answers.push(answer);
    }
    service.kill().and_then(|()| service.wait()).expect("it ends");
    assert!(answers[0].starts_with("HTTP/1.1 200") && answers[0].contains("Where to in May?"), "{}", answers[0]);
    assert!(answers[1].starts_with("HTTP/1.1 200") && answers[1].contains("trip"), "the console: {}", answers[1]);
}
