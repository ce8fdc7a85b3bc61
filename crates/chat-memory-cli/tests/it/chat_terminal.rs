//! `chat` on a pseudo-terminal: typed keys go in, and what a terminal shows comes out. Nothing waits for a time.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chat_memory_testkit::{Fault, FaultProxy, credentials_env, dynamodb_endpoint, table_name};
use serde_json::{Value, json};

use crate::chat::{SSE, answering, body, chunked, delta, finish, stream};
use crate::common::http::{Do, Request, Server, chunk, head};
use crate::common::terminal::Terminal;
use crate::common::{Place, json_lines};

const CHAT: &[&str] = &["chat", "s", "--model", "m"];

/// An endpoint that numbers its answers.
fn numbering() -> (Server, Place) {
    let answers = AtomicUsize::new(1);
    answering(move |_| chunked(&stream(&["Answer ", &answers.fetch_add(1, Ordering::Relaxed).to_string(), "."]), 1000))
}

fn contents(place: &Place, session: &str) -> Vec<Value> {
    place.messages(session).into_iter().map(|mut message| message["content"].take()).collect()
}

/// The last message of each request.
fn asked(server: &Server) -> Vec<Value> {
    let last = |request: &Request| body(request)["messages"].as_array().and_then(|list| list.last().cloned()).expect("a message");
    server.requests().iter().map(|request| last(request)["content"].take()).collect()
}

fn quit(mut terminal: Terminal) -> String {
    terminal.enter("/quit");
    assert!(terminal.end().success(), "{}", terminal.printed);
    terminal.printed.clone()
}

#[test]
fn lines_are_edited_and_remembered() {
    let (server, place) = numbering();
    let mut terminal = Terminal::start(&place, CHAT, &[]);
    terminal.wait_for("s: new; m at http://");
    // Left, left, and a letter in between.
    terminal.enter("helo\u{1b}[D\u{1b}[Dl");
    terminal.wait_for("Answer 1.");
    terminal.enter("\u{1b}[A!");
    terminal.wait_for("Answer 2.");
    terminal.enter(" not remembered");
    terminal.wait_for("Answer 3.");
    quit(terminal);
    let file = place.path().join(".local/share/chat-memory/chat_history");
    assert_eq!(std::fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    let kept = std::fs::read_to_string(&file).expect("text");
    assert_eq!(kept, "hello\nhello!\n/quit\n");
    // The next chat knows them.
    let mut terminal = Terminal::start(&place, &["chat", "s", "--model", "m"], &[]);
    terminal.enter("\u{1b}[A\u{1b}[A?");
    terminal.wait_for("Answer 4.");
    quit(terminal);
    let mut terminal = Terminal::start(&place, &["chat", "s", "--model", "m", "--no-history"], &[]);
    terminal.enter("\u{1b}[Anothing above");
    terminal.wait_for("Answer 5.");
    quit(terminal);
    assert!(!std::fs::read_to_string(&file).expect("text").contains("above"));
    assert_eq!(asked(&server), ["hello", "hello!", " not remembered", "hello!?", "nothing above"]);
}

#[test]
fn paste_and_new_lines_are_one_question() {
    let (server, place) = numbering();
    let mut terminal = Terminal::start(&place, CHAT, &[]);
    terminal.wait_for_prompt();
    terminal.type_("\u{1b}[200~one\n\n/two\u{1b}[201~");
    terminal.type_(" and\u{1b}\rmore\nend\r");
    terminal.wait_for("Answer 1.");
    quit(terminal);
    assert_eq!(asked(&server), ["one\n\n/two and\nmore\nend"]);
    assert_eq!(contents(&place, "s")[0], "one\n\n/two and\nmore\nend");
}

#[test]
fn ctrl_c_stops_an_answer_and_retry_asks_again() {
    let calls = AtomicUsize::new(0);
    let half = delta(json!({"content": "Half an answer"}));
    let (server, place) = answering(move |_| match calls.fetch_add(1, Ordering::Relaxed) {
        0 => vec![head(SSE, true), chunk(half.as_bytes()), Do::Hang],
        _ => chunked(&stream(&["A whole answer."]), 1000),
    });
    let mut terminal = Terminal::start(&place, CHAT, &[]);
    terminal.enter("Hi");
    terminal.wait_for("Half an answer");
    terminal.type_("\u{3}");
    terminal.wait_for("interrupted: nothing of this turn was stored");
    terminal.wait_for_prompt();
    assert!(place.messages("s").is_empty(), "neither the question nor the part of its answer");
    terminal.type_("/retry\r");
    terminal.wait_for("A whole answer.");
    quit(terminal);
    assert_eq!(asked(&server), ["Hi", "Hi"]);
    assert_eq!(contents(&place, "s"), ["Hi", "A whole answer."]);
}

#[test]
fn ctrl_c_at_the_prompt_discards_and_then_leaves() {
    let (server, place) = numbering();
    let mut terminal = Terminal::start(&place, CHAT, &[]);
    terminal.wait_for_prompt();
    terminal.type_("never sent\u{3}");
    terminal.wait_for("press Ctrl-C again");
    // A question between two presses: the second is a first one again.
    terminal.enter("sent");
    terminal.wait_for("Answer 1.");
    terminal.wait_for_prompt();
    terminal.type_("\u{3}");
    terminal.wait_for("press Ctrl-C again");
    terminal.wait_for_prompt();
    terminal.type_("\u{3}");
    assert!(terminal.end().success());
    assert_eq!(asked(&server), ["sent"]);
    let mut terminal = Terminal::start(&place, CHAT, &[]);
    terminal.wait_for_prompt();
    terminal.type_("\u{4}");
    assert!(terminal.end().success());
    assert!(!terminal.printed.contains("continue with"), "nothing happened");
}

#[test]
fn undo_and_retry_change_the_stored_turn() {
    let (server, place) = numbering();
    let mut terminal = Terminal::start(&place, CHAT, &[]);
    terminal.enter("One");
    terminal.wait_for("Answer 1.");
    terminal.enter("Two");
    terminal.wait_for("Answer 2.");
    terminal.enter("/retry");
    terminal.wait_for("asking again: Two");
    terminal.wait_for("Answer 3.");
    terminal.wait_for_prompt();
    assert_eq!(contents(&place, "s"), ["One", "Answer 1.", "Two", "Answer 3."]);
    terminal.type_("/undo\r");
    terminal.wait_for("removed the last turn: Two");
    quit(terminal);
    assert_eq!(contents(&place, "s"), ["One", "Answer 1."]);
    let sent = |n: usize| body(&server.requests()[n])["messages"].take();
    assert_eq!(sent(2), sent(1), "without the answer that is replaced");
}

#[test]
fn unseen_turns_of_others_are_not_removed() {
    let (_server, place) = numbering();
    let mut terminal = Terminal::start(&place, CHAT, &[]);
    terminal.enter("Mine");
    terminal.wait_for("Answer 1.");
    terminal.wait_for_prompt();
    place.run(&["append", "s", "Theirs"]).done();
    terminal.type_("/undo\r");
    terminal.wait_for("Theirs");
    terminal.wait_for("/undo was not done: another program wrote to the session");
    terminal.wait_for_prompt();
    assert_eq!(contents(&place, "s"), ["Mine", "Answer 1.", "Theirs"]);
    terminal.type_("/undo\r");
    terminal.wait_for("removed the last turn: Theirs");
    quit(terminal);
    assert_eq!(contents(&place, "s"), ["Mine", "Answer 1."]);
}

/// A turn whose append has an unknown outcome may be stored: asking again without looking could store it twice.
#[test]
fn retry_after_an_unknown_outcome_stores_no_second_turn() {
    let is_lost = Arc::new(AtomicBool::new(false));
    let (loses, decides) = (Arc::clone(&is_lost), Arc::clone(&is_lost));
    let answers = AtomicUsize::new(1);
    let (_server, place) = answering(move |_| {
        // From the first answer on, whatever the store is asked arrives, and nothing comes back.
        let n = answers.fetch_add(1, Ordering::Relaxed);
        loses.store(n == 1, Ordering::Relaxed);
        chunked(&stream(&["Answer ", &n.to_string(), "."]), 1000)
    });
    let table = table_name("cli-chat");
    let url =
        |endpoint: &str| format!("dynamodb://{table}?region=us-east-1&deadline=600ms&request_timeout=300ms&endpoint={endpoint}");
    let direct = dynamodb_endpoint();
    let proxy =
        FaultProxy::start(&direct, move |_: &_| if decides.load(Ordering::Relaxed) { Fault::DropAnswer } else { Fault::Pass });
    let place = credentials_env().into_iter().fold(place, |place, (name, value)| place.with(name, value));
    place.run(&["--store", &url(&direct), "table", "create"]).done();
    let proxied = url(&proxy.url());
    let mut terminal = Terminal::start(&place, &["--store", &proxied, "chat", "s", "--model", "m"], &[]);
    terminal.enter("Hi");
    terminal.wait_for("append outcome unknown");
    terminal.wait_for_prompt();
    is_lost.store(false, Ordering::Relaxed);
    terminal.type_("/retry\r");
    terminal.wait_for("/retry was not done: another program wrote to the session");
    terminal.enter("/retry");
    terminal.wait_for("Answer 2.");
    quit(terminal);
    let stored = json_lines(&place.run(&["--store", &url(&direct), "show", "s", "--format", "openai"]).done());
    assert_eq!(stored.iter().map(|message| message["content"].clone()).collect::<Vec<_>>(), ["Hi", "Answer 2."]);
}

#[test]
fn sessions_are_titled_listed_and_switched() {
    let (_server, place) = numbering();
    place.run(&["append", "other", "Where to?", "--title", "Another trip"]).done();
    let mut terminal = Terminal::start(&place, CHAT, &[]);
    terminal.enter("/title A trip");
    terminal.wait_for("title: A trip (stored with the first turn)");
    terminal.enter("Hi");
    terminal.wait_for("Answer 1.");
    terminal.enter("/sessions");
    terminal.wait_for("*  1  ");
    terminal.wait_for("A trip");
    terminal.wait_for("   2  ");
    terminal.wait_for("Another trip");
    terminal.enter("/sessions 7");
    terminal.wait_for("no number 7 in the list: it has 2 sessions; /sessions shows them");
    terminal.enter("/sessions 2");
    terminal.wait_for("other (Another trip): 1 message; m at http://");
    terminal.wait_for("Where to?");
    terminal.enter("/title Lisbon");
    terminal.wait_for("title: Lisbon");
    terminal.enter("/new");
    terminal.wait_for(": new; m at");
    terminal.enter("/sessions s");
    terminal.wait_for("s (A trip): 2 messages; m at http://");
    quit(terminal);
    let listed = place.run(&["sessions"]).done();
    assert!(listed.contains("s  A trip") && listed.contains("other  Lisbon") && listed.lines().count() == 2, "{listed}");
}

#[test]
fn resumed_chat_shows_the_last_turn_and_the_end_its_cost() {
    let usage = format!("data: {}\n\n", json!({"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 3}}));
    let events = [delta(json!({"content": "To Rome."})), finish("stop"), usage, "data: [DONE]\n\n".into()].concat();
    let (_server, place) = answering(move |_| chunked(&events, 9));
    let long = (0..30).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n");
    place.run(&["append", "it's", "Where to?"]).done();
    place.run(&["append", "it's", "--role", "assistant", &long]).done();
    let options = ["--system", "Be brief.", "--turns", "5", "--start-at-user=false", "--owner", "ada"];
    let mut terminal = Terminal::start(&place, &[&["chat", "it's", "--model", "m"], &options[..]].concat(), &[]);
    terminal.wait_for("it's: 2 messages; m at http://");
    terminal.wait_for("/help lists the commands, Ctrl-C stops an answer, Ctrl-D ends the chat");
    terminal.wait_for_prompt();
    let screen = terminal.screen().contents();
    assert!(screen.contains("Where to?") && screen.contains("line 5 …") && !screen.contains("line 6"), "{screen}");
    terminal.type_("And?\r");
    terminal.wait_for("Rome.");
    let printed = quit(terminal);
    assert!(printed.contains("1 turn; store: 3 requests; tokens: 12 read, 3 written"), "{printed}");
    let again = "chat 'it'\\''s' --model m --system 'Be brief.' --owner ada --turns 5 --start-at-user=false";
    assert!(printed.contains(&format!("continue with: chat-memory {again}")), "{printed}");
}

#[test]
fn markdown_is_coloured_and_its_text_stays() {
    let text = "# A title\n\nIt is **bold** and `code`.\n\u{1b}[31m";
    let reasoning = delta(json!({"reasoning": "Hm."}));
    let (server, place) = answering(move |_| chunked(&(reasoning.clone() + &stream(&[text])), 1000));
    let mut terminal = Terminal::start(&place, CHAT, &[]);
    terminal.enter("Hi");
    terminal.wait_for("\\u{1b}[31m");
    let screen = terminal.screen();
    let look = |text: &str| {
        let (row, line) = screen.rows(0, 80).enumerate().find(|(_, line)| line.contains(text)).expect(text);
        let cell = screen.cell(row as u16, line.find(text).expect(text) as u16).expect(text);
        (cell.bold(), cell.dim(), cell.fgcolor() != vt100::Color::Default)
    };
    assert_eq!(
        (look("# A title"), look("**bold**"), look("`code`")),
        ((true, false, true), (true, false, false), (false, false, true))
    );
    assert_eq!((look("It is"), look("Hm.")), ((false, false, false), (false, true, false)));
    quit(terminal);
    assert_eq!(contents(&place, "s")[1], text);
    // Nor does NO_COLOR leave any colour.
    let mut terminal = Terminal::start(&place, &["chat", "t", "--model", "m"], &[("NO_COLOR", "1")]);
    terminal.enter("Hi");
    terminal.wait_for("# A title");
    terminal.wait_for("It is **bold** and `code`.");
    terminal.wait_for_prompt();
    let screen = terminal.screen();
    let cells = (0..40).flat_map(|row| (0..80).filter_map(move |column| screen.cell(row, column)));
    let plain = |cell: &vt100::Cell| !cell.bold() && !cell.dim() && cell.fgcolor() == vt100::Color::Default;
    assert!(cells.into_iter().all(plain), "{}", screen.contents());
    terminal.type_("/quit\r");
    assert!(terminal.end().success());
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn unknown_command_is_named_and_tab_completes_known_ones() {
    let (server, place) = numbering();
    let mut terminal = Terminal::start(&place, CHAT, &[]);
    terminal.enter("/nothing");
    terminal.wait_for("unknown command \"/nothing\"");
    terminal.enter("//nothing");
    terminal.wait_for("Answer 1.");
    terminal.wait_for_prompt();
    terminal.type_("/he\t\r");
    terminal.wait_for("/retry");
    terminal.wait_for("Ctrl-R searches earlier questions.");
    quit(terminal);
    assert_eq!(asked(&server), ["/nothing"]);
}

/// Where lines cannot be edited, such as in an editor's shell.
#[test]
fn dumb_terminal_takes_a_paste_as_one_question() {
    let (server, place) = answering(|_| chunked(&stream(&["Yes."]), 1000));
    let mut terminal = Terminal::start(&place, CHAT, &[("TERM", "dumb")]);
    terminal.wait_for("s: new; m at http://");
    terminal.wait_for("> ");
    terminal.type_("one\ntwo\n");
    terminal.wait_for("(2 lines were pasted; Enter sends them)");
    terminal.type_("three\n");
    terminal.wait_for("Yes.");
    terminal.wait_for("> ");
    terminal.type_("four\\\n");
    terminal.wait_for("… ");
    terminal.type_("five\n");
    terminal.wait_for("Yes.");
    terminal.wait_for("> ");
    terminal.type_("/nothing\n");
    terminal.wait_for("unknown command");
    terminal.wait_for("> ");
    terminal.type_("/quit\n");
    assert!(terminal.end().success());
    assert_eq!(server.requests().len(), 2);
    let asked: Vec<Value> = contents(&place, "s").into_iter().step_by(2).collect();
    assert_eq!(asked, ["one\ntwo\nthree", "four\nfive"]);
}
