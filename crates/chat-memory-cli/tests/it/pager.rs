//! `show` and `sessions` on a pseudo-terminal: they page themselves.

use crate::common::Place;
use crate::common::terminal::Terminal;

fn with_sessions() -> Place {
    let place = Place::sqlite();
    for n in 0..3 {
        place.run(&["append", &format!("session-{n}"), "First line\nSecond line"]).done();
    }
    place
}

/// What the program prints on a terminal with this pager.
fn printed(place: &Place, arguments: &[&str], pager: (&str, &str)) -> String {
    let mut terminal = Terminal::start(place, arguments, &[pager]);
    let status = terminal.end();
    assert!(status.success(), "{arguments:?}: {status}: {}", terminal.printed);
    terminal.printed.clone()
}

const MARK: (&str, &str) = ("CHAT_MEMORY_PAGER", "sed s/^/paged:/");

#[test]
fn long_output_is_paged_on_a_terminal_only() {
    let place = with_sessions();
    for arguments in
        [&["show", "session-1"][..], &["sessions"], &["sessions", "--all"], &["show", "session-1", "--format", "openai"]]
    {
        let paged = printed(&place, arguments, MARK);
        assert!(paged.contains("paged:"), "{arguments:?}: {paged:?}");
        let all = [arguments, &["--no-pager"]].concat();
        assert!(!printed(&place, &all, MARK).contains("paged:"), "{all:?}");
        assert!(!printed(&place, arguments, ("CHAT_MEMORY_PAGER", "")).contains("paged:"));
        // An absent pager keeps nothing from being shown.
        assert!(printed(&place, arguments, ("PAGER", "no-such-pager --x")).contains("session-1") || arguments[0] == "show");
        assert!(!place.run(arguments).done().contains("paged:"), "without a terminal");
    }
    assert!(printed(&place, &["sessions"], ("PAGER", "sed s/^/paged:/")).contains("paged:"));
    assert!(!printed(&place, &["sessions", "--json"], MARK).contains("paged:"));
    assert!(!printed(&place, &["sessions"], ("TERM", "dumb")).contains('\u{1b}'));
}

#[test]
fn leaving_the_pager_is_no_error() {
    let place = Place::sqlite();
    // More than a pipe holds.
    let text = "A line of some length, repeated.\n".repeat(20_000);
    place.run_with(&["append", "s", "-"], &text).done();
    let out = printed(&place, &["show", "s"], ("CHAT_MEMORY_PAGER", "head -n 3"));
    assert_eq!(out.matches("A line").count(), 1, "{out:?}");
    assert!(!out.contains("chat-memory:"), "{out:?}");
}

#[test]
fn remarks_come_after_the_pager() {
    let place = with_sessions();
    place.run(&["append", "session-1", "And a third"]).done();
    let out = printed(&place, &["show", "session-1", "--last", "1"], MARK);
    let (paged, remark) = (out.rfind("paged:").expect("paged"), out.find("left out").expect("a remark"));
    assert!(paged < remark, "{out:?}");
}
