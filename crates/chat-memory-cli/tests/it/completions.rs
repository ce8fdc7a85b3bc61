//! What the shells complete, each with the script that `completions` prints.
#![cfg(unix)]

use std::process::Command;

use crate::common::{Place, Ran};

/// Completes a command line up to the cursor as bash would, and returns what is offered.
fn bash(place: &Place, words: &[&str], line: &str) -> Vec<String> {
    let script = place.run(&["completions", "bash"]).done();
    // What bash does when Tab is pressed, without the keyboard.
    let ask = format!(
        "{script}\nCOMP_WORDS=({})\nCOMP_CWORD={}\nCOMP_LINE={}\nCOMP_POINT=${{#COMP_LINE}}\n\
         spec=$(complete -p chat-memory)\n[[ $spec =~ -F\\ ([^ ]+) ]]\n\
         \"${{BASH_REMATCH[1]}}\" \"${{COMP_WORDS[0]}}\" \"${{COMP_WORDS[COMP_CWORD]}}\"\n\
         ((${{#COMPREPLY[@]}} == 0)) || printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        words.iter().map(|word| single_quoted(word)).collect::<Vec<_>>().join(" "),
        words.len() - 1,
        single_quoted(line),
    );
    let mut shell = Command::new("bash");
    // Without the machine's startup files.
    shell.args(["--norc", "--noprofile", "-c", &ask]).current_dir(place.path()).env_clear();
    shell.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", place.path());
    let ran: Ran = shell.env("CHAT_MEMORY_STORE", &place.store).output().expect("bash starts").into();
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{line}");
    ran.out.lines().map(str::to_owned).collect()
}

fn single_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The words of a line without quotes, split at blanks, `:` and `=` as readline does.
fn readline_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in line.chars() {
        let last = words.last_mut().expect("one at least");
        match c {
            ' ' => words.push(String::new()),
            ':' | '=' => words.extend([c.to_string(), String::new()]),
            c => last.push(c),
        }
    }
    // An empty word remains only at the end, at the cursor.
    let end = words.len() - 1;
    words.iter().enumerate().filter(|(at, word)| *at == end || !word.is_empty()).map(|(_, word)| word.clone()).collect()
}

fn offered(place: &Place, line: &str) -> Vec<String> {
    let words = readline_words(line);
    bash(place, &words.iter().map(String::as_str).collect::<Vec<_>>(), line)
}

fn with_sessions() -> Place {
    let place = Place::sqlite();
    for id in ["trip", "trips/2", "user:42/support", "user:43"] {
        place.run(&["append", id, "Hi", "--title", "A title"]).done();
    }
    place.run(&["append", "owned", "Hi", "--owner", "ada"]).done();
    place
}

#[test]
fn bash_completes_commands_options_and_values() {
    let place = Place::sqlite();
    assert_eq!(offered(&place, "chat-memory ap"), ["append"]);
    let commands = offered(&place, "chat-memory ");
    assert!(["show", "chat", "table", "completions"].iter().all(|name| commands.contains(&(*name).to_owned())), "{commands:?}");
    assert_eq!(offered(&place, "chat-memory table cr"), ["create"]);
    assert_eq!(offered(&place, "chat-memory append trip --idem"), ["--idempotency-key"]);
    assert_eq!(offered(&place, "chat-memory show trip --format o"), ["openai"]);
    assert_eq!(offered(&place, "chat-memory append trip --role "), ["user", "assistant", "system", "tool", "developer"]);
    assert_eq!(offered(&place, "chat-memory append trip --role a"), ["assistant"]);
    assert_eq!(offered(&place, "chat-memory --read-only --store sqlite:chats.db table sw"), ["sweep"]);
}

#[test]
fn bash_completes_session_ids() {
    let place = with_sessions();
    for command in ["show", "append", "chat", "clear", "rewind", "delete", "export"] {
        let mut ids = offered(&place, &format!("chat-memory {command} tr"));
        ids.sort();
        assert_eq!(ids, ["trip", "trips/2"], "{command}");
    }
    assert_eq!(offered(&place, "chat-memory show ow"), ["owned"]);
    assert_eq!(offered(&place, "chat-memory show no"), [""; 0]);
    // After the last colon, which readline keeps.
    let mut ids = offered(&place, "chat-memory show user:4");
    ids.sort();
    assert_eq!(ids, ["42/support", "43"]);
    assert_eq!(offered(&place, "chat-memory --json show --last 2 trips"), ["trips/2"]);
}

#[test]
fn bash_completes_thread_ids() {
    let place = with_sessions();
    crate::threads::fill(&place);
    for command in ["threads tr", "show --thread tr", "delete --thread tr"] {
        assert_eq!(offered(&place, &format!("chat-memory {command}")), ["trip"], "{command}");
    }
}

#[test]
fn bash_never_executes_a_completed_session_id() {
    let place = Place::sqlite();
    place.run(&["append", "x $(touch run); *", "Hi"]).done();
    place.run(&["append", "it's", "Hi"]).done();
    assert_eq!(bash(&place, &["chat-memory", "show", "x"], "chat-memory show x"), ["x\\ \\$\\(touch\\ run\\)\\;\\ \\*"]);
    assert_eq!(bash(&place, &["chat-memory", "show", "'x "], "chat-memory show 'x "), ["x $(touch run); *"]);
    assert_eq!(bash(&place, &["chat-memory", "show", "i"], "chat-memory show i"), ["it\\'s"]);
    assert!(!place.path().join("run").exists());
}

#[test]
fn completed_ids_come_from_the_store_on_the_line() {
    let place = with_sessions();
    place.run(&["--store", "sqlite:other file.db", "append", "elsewhere", "Hi"]).done();
    let words = ["chat-memory", "--store", "'sqlite:other file.db'", "show", ""];
    assert_eq!(bash(&place, &words, "chat-memory --store 'sqlite:other file.db' show "), ["elsewhere"]);
}

/// If there is nothing to read, nothing is created, printed or waited for.
#[test]
fn unreadable_store_offers_no_completions() {
    let place = Place::sqlite();
    let before = names(&place);
    for store in ["sqlite:missing.db", "sqlite:no/such/folder/x.db", "memory:", "mongo://x", "sqlite:"] {
        assert_eq!(offered(&place, &format!("chat-memory --store {store} show x")), [""; 0], "{store}");
    }
    // Nothing answers there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("endpoint=http://{}", listener.local_addr().expect("an address"));
    let store = single_quoted(&format!("dynamodb://chats?{endpoint}&region=eu-west-1"));
    let line = format!("chat-memory --store {store} show x");
    assert_eq!(bash(&place, &["chat-memory", "--store", &store, "show", "x"], &line), [""; 0]);
    assert_eq!(names(&place), before);
}

#[test]
fn completing_ids_creates_no_file() {
    let place = with_sessions();
    let before = names(&place);
    assert_eq!(offered(&place, "chat-memory show ow"), ["owned"]);
    assert_eq!(names(&place), before);
}

fn names(place: &Place) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> =
        std::fs::read_dir(place.path()).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    names
}

/// Ids that a shell must quote, or that it cuts into words.
const ODD: [(&str, &str); 3] = [("us", "user:42/support"), ("it", "it's $(touch run); *"), ("od", "odd=one")];

/// The variables of a shell that finds the program by its name, and shows what it prints.
#[cfg(target_os = "linux")]
fn shell_variables() -> Vec<(&'static str, String)> {
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_chat-memory")).parent().expect("a folder");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    vec![("PATH", path), ("CHAT_MEMORY_PAGER", String::new())]
}

/// Keys are typed into the shell itself: Tab completes the id, and Enter runs the line, which must show that session.
#[cfg(target_os = "linux")]
#[test]
fn tab_completes_session_ids_in_bash_and_zsh() {
    use crate::common::terminal::Terminal;
    let place = Place::sqlite();
    for (n, (_, id)) in ODD.iter().enumerate() {
        place.run(&["append", id, &format!("message-{n}-of-it")]).done();
    }
    place.file("bashrc", "PS1='ready> '\nsource <(chat-memory completions bash)\n");
    let zsh = "PS1='ready> '\nautoload -Uz compinit\ncompinit -u -d $ZDOTDIR/dump\nsource <(chat-memory completions zsh)\n";
    place.file(".zshrc", zsh);
    let folder = place.path().display().to_string();
    let mut variables = shell_variables();
    variables.push(("ZDOTDIR", folder));
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for shell in ["bash --noprofile --rcfile bashrc -i", "zsh -i"] {
        let mut terminal = Terminal::run(&place, shell, &variables);
        for (n, (beginning, _)) in ODD.iter().enumerate() {
            terminal.wait_for("ready> ");
            terminal.type_(&format!("chat-memory show {beginning}\t\r"));
            terminal.wait_for(&format!("message-{n}-of-it"));
        }
        terminal.wait_for("ready> ");
        terminal.type_("exit\r");
        terminal.end();
        assert!(!place.path().join("run").exists(), "{shell} ran an id");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn fish_completes_session_ids() {
    let place = with_sessions();
    for (_, id) in ODD {
        place.run(&["append", id, "Hi"]).done();
    }
    let ask = "chat-memory completions fish | source; for line in $argv; complete -C $line; end";
    let lines = ["chat-memory show ow", "chat-memory show it", "chat-memory show user:4", "chat-memory append trip --role a"];
    let mut shell = Command::new("fish");
    shell.args(["--no-config", "-c", ask]).args(lines).current_dir(place.path()).env_clear();
    shell.env("HOME", place.path()).env("CHAT_MEMORY_STORE", &place.store).envs(shell_variables());
    let ran: Ran = shell.output().expect("fish is there: `cargo xtask test tests` installs it").into();
    let out = ran.done();
    let mut offered: Vec<_> = out.lines().map(|line| line.split('\t').next().unwrap_or_default()).collect();
    offered.sort_unstable();
    assert_eq!(offered, ["assistant", "it's $(touch run); *", "owned", "user:42/support", "user:43"]);
}

/// What the scripts of the shells that are not run here ask.
#[test]
fn other_shells_complete_session_ids() {
    let place = with_sessions();
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = place.run(&["completions", shell]).done();
        assert!(script.contains("CHAT_MEMORY_COMPLETE") && script.contains("chat-memory"), "{shell}: {script}");
        let mut ask = place.command(["--", "chat-memory", "show", "ow"]);
        let ran: Ran =
            ask.env("CHAT_MEMORY_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", "2").output().expect("it starts").into();
        assert!(ran.done().starts_with("owned"), "{shell}");
    }
}
