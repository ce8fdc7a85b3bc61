use proptest::prelude::*;

use super::*;
use crate::message::ToolCall;

/// Builds a history from a script: `u`ser, `a`ssistant, `s`ystem, a call of `1`, of `2`, or of both (`c`), the results `x` of 1
/// and `y` of 2.
fn history(short: &str) -> Vec<Message> {
    let call = |ids: &[&str]| Message::tool_calls(ids.iter().map(|id| ToolCall::function(*id, "f", "{}")));
    let message = |(at, c): (usize, char)| {
        let mut message = match c {
            'u' => Message::user("?"),
            'a' => Message::assistant("!"),
            's' => Message::system("be brief"),
            '1' => call(&["1"]),
            '2' => call(&["2"]),
            'c' => call(&["1", "2"]),
            'x' => Message::tool("1", "21"),
            _ => Message::tool("2", "22"),
        };
        message.id = Some(format!("{c}{at}"));
        message
    };
    short.chars().enumerate().map(message).collect()
}

/// Returns the script of the shown messages.
fn shown(window: &Window) -> String {
    window.messages.iter().filter_map(|message| message.id.as_ref()?.chars().next()).collect()
}

fn one_each() -> TokenCounter {
    TokenCounter::custom(|_| 1)
}

#[test]
fn limit_never_splits_a_group() {
    let turn = "u1xa";
    for (n, expected) in [(0, ""), (1, "a"), (2, "a"), (3, "1xa"), (4, "u1xa"), (5, "u1xa")] {
        let window = Policy::last_messages(n).window(history(turn));
        assert_eq!(shown(&window), expected, "last {n}");
        assert_eq!(window.left_out.older, 4 - expected.len());
        assert_eq!(shown(&Policy::token_budget(n as u64, one_each()).window(history(turn))), expected, "budget {n}");
    }
    // A group that does not fit ends the window, even if what is before it would fit.
    assert_eq!(shown(&Policy::last_messages(2).window(history("u1xu"))), "u");
}

#[test]
fn turns_start_at_user_messages() {
    let all = "su1xauau";
    for (n, expected) in [(0, ""), (1, "u"), (2, "uau"), (3, "u1xauau"), (4, "su1xauau"), (9, "su1xauau")] {
        let window = Policy::last_turns(n).window(history(all));
        assert_eq!((shown(&window).as_str(), window.left_out.older), (expected, all.len() - expected.len()), "last {n}");
    }
}

#[test]
fn broken_groups_are_omitted_and_counted() {
    for (given, expected, unanswered, stray, mismatched) in [
        ("u1", "u", 1, 0, 0),
        ("ucxu", "uu", 2, 0, 0),
        ("u1uxa", "uua", 1, 1, 0),
        ("xua", "ua", 0, 1, 0),
        ("u1xxa", "ua", 0, 0, 3),
        ("u1ya", "ua", 0, 0, 2),
        ("ucyxa", "ucyxa", 0, 0, 0),
    ] {
        let window = Policy::everything().window(history(given));
        assert_eq!(shown(&window), expected);
        let Omitted { older, unread, .. } = window.left_out;
        assert_eq!((older, unread), (0, false));
        let counts = (window.left_out.unanswered, window.left_out.stray, window.left_out.mismatched);
        assert_eq!(counts, (unanswered, stray, mismatched), "{given}");
    }
    // Broken groups do not count against the limit.
    let window = Policy::last_messages(2).window(history("uau1"));
    assert_eq!((shown(&window).as_str(), window.left_out.older, window.left_out.unanswered), ("au", 1, 1));
}

#[test]
fn system_messages_are_kept_on_request() {
    let given = "ssuaua";
    assert_eq!(shown(&Policy::last_messages(2).window(history(given))), "ua");
    let window = Policy::last_messages(2).keeping_system().window(history(given));
    assert_eq!((shown(&window).as_str(), window.left_out.older), ("ssua", 2));
    assert_eq!(shown(&Policy::last_turns(1).keeping_system().window(history(given))), "ssua");
    assert_eq!(shown(&Policy::everything().keeping_system().window(history(given))), given);
    let budget = |n| Policy::token_budget(n, one_each()).keeping_system().window(history(given));
    assert_eq!((shown(&budget(3)).as_str(), budget(3).tokens), ("ssa", Some(3)));
    assert_eq!((shown(&budget(1)).as_str(), budget(1).left_out.older), ("s", 5));
    assert!(matches!(Policy::last_messages(2).keeping_system().reach(), Reach::All));
}

#[test]
fn omissions_are_described_in_words() {
    assert_eq!(Omitted::default().to_string(), "nothing left out");
    let left_out = Omitted { older: 12, unanswered: 1, mismatched: 3, unread: true, ..Omitted::default() };
    assert_eq!(
        left_out.to_string(),
        "12 older messages, 1 message of tool calls without a result, 3 messages of tool calls and results that do not match, \
         everything earlier left out"
    );
    assert_eq!((left_out.messages(), left_out.broken(), left_out.is_nothing()), (16, 4, false));
}

/// Whether a provider would accept these messages: each call is answered directly after it, each result has a call.
fn is_untorn(messages: &[Message]) -> bool {
    let mut open: Vec<&str> = Vec::new();
    for message in messages {
        match message.role {
            Role::Tool => match open.iter().position(|id| Some(*id) == message.tool_call_id.as_deref()) {
                Some(at) => drop(open.swap_remove(at)),
                None => return false,
            },
            _ if !open.is_empty() => return false,
            _ => open = message.tool_calls.iter().filter_map(ToolCall::id).collect(),
        }
    }
    open.is_empty()
}

fn any_limit() -> impl Strategy<Value = Policy> {
    (0..4, 0..12_usize).prop_map(|(kind, n)| match kind {
        0 => Policy::everything(),
        1 => Policy::last_messages(n),
        2 => Policy::last_turns(n),
        // Weights differ between messages but are the same for a message in every position.
        _ => Policy::token_budget(n as u64, TokenCounter::custom(|m| 1 + m.tool_calls.len() as u64)),
    })
}

fn any_policy() -> impl Strategy<Value = Policy> {
    (any_limit(), any::<bool>()).prop_map(|(policy, system)| if system { policy.keeping_system() } else { policy })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn windows_are_untorn_and_within_their_limit(given in "[uas12cxy]{0,16}", policy in any_policy()) {
        let all = history(&given);
        let window = policy.window(all.clone());
        prop_assert!(is_untorn(&window.messages), "{given}: {}", shown(&window));
        prop_assert_eq!(window.messages.len() + window.left_out.messages(), all.len());
        // In order, without duplicates.
        let mut rest = all.iter();
        prop_assert!(window.messages.iter().all(|message| rest.any(|other| other == message)));
        let pinned = all.iter().take_while(|m| policy.keeps_system && m.role == Role::System).count();
        match policy.limit() {
            Limit::Everything => prop_assert_eq!(window.left_out.older, 0),
            Limit::Messages(n) => prop_assert!(window.messages.len() <= n + pinned),
            Limit::Turns(n) => prop_assert!(window.messages.iter().filter(|m| m.role == Role::User).count() <= *n),
            Limit::Tokens { budget, counter } => {
                let sum = window.messages.iter().map(|message| counter.count(message)).sum();
                prop_assert!(sum <= *budget);
                prop_assert_eq!(window.tokens, Some(sum));
            }
        }
    }

    /// A settled window does not depend on the older part of the history.
    #[test]
    fn settled_window_ignores_older_history(older in "[uas12cxy]{0,8}", newer in "[uas12cxy]{0,12}", policy in any_limit()) {
        let all = history(&format!("{older}{newer}"));
        let newest = all[older.len()..].to_vec();
        let view = policy.view_of(&newest.iter().collect::<Vec<_>>());
        if view.settled {
            let (part, whole) = (view.window(newest), policy.window(all));
            prop_assert_eq!(part.messages, whole.messages);
            prop_assert_eq!(Omitted { older: 0, ..part.left_out }, Omitted { older: 0, ..whole.left_out });
        }
    }

    /// A window is as large as its limit allows: the next whole group before it would not fit.
    #[test]
    fn window_is_as_large_as_its_limit_allows(given in "[ua1x]{0,16}", n in 0..12_usize) {
        let all = history(&given);
        let window = Policy::last_messages(n).window(all.clone());
        let everything = Policy::everything().window(all).messages;
        let more = everything.len() - window.messages.len();
        prop_assert_eq!(&everything[more..], &window.messages[..]);
        if more > 0 {
            let group = if everything[more - 1].role == Role::Tool { 2 } else { 1 };
            prop_assert!(window.messages.len() + group > n);
        }
    }
}
