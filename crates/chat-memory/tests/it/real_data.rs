//! Passes the real conversations through both wire forms and every policy.

use chat_memory::memory::{Policy, TokenCounter, recall};
use chat_memory::store::{Append, ChatStore, InMemoryStore};
use chat_memory::wire::{Format, langchain, openai};
use chat_memory::{Message, Role, SessionId, ToolCall};
use serde_json::Value;

fn messages(values: &[Value]) -> Vec<Message> {
    values.iter().map(|value| openai::from_value(value.clone()).unwrap_or_else(|e| panic!("{value}: {e}"))).collect()
}

#[test]
fn real_messages_round_trip_in_both_forms() {
    let (conversations, real) = crate::data::conversations();
    let (mut count, mut overlays) = (0, 0);
    for (id, values) in &conversations {
        for (value, message) in values.iter().zip(messages(values)) {
            message.check().unwrap_or_else(|e| panic!("{id}: {e}"));
            assert_eq!(openai::to_value(&message), *value, "{id}");

            let stored = langchain::to_value(&message);
            let read = langchain::from_value(stored.clone()).unwrap_or_else(|e| panic!("{id}: {stored}: {e}"));
            assert_eq!(read, message, "{id}: {stored}");
            assert_eq!(langchain::to_value(&read), stored, "{id}");
            count += 1;
            overlays += usize::from(stored["data"]["additional_kwargs"].get(langchain::OVERLAY_KEY).is_some());
        }
    }
    println!("{count} messages, {overlays} of which need an overlay in LangChain's form");
    if real {
        // The 62 have tool calls whose arguments are not written in JSON's most compact form.
        assert_eq!((conversations.len(), count, overlays), (100, 2_658, 62));
    }
}

#[test]
fn json_lines_of_either_form_round_trip() {
    for (id, values) in crate::data::conversations().0 {
        let all = messages(&values);
        for format in Format::ALL {
            let lines: String = format.write(&all).iter().map(|value| format!("{value}\n")).collect();
            let read = format.messages(lines.as_bytes()).unwrap_or_else(|e| panic!("{id}: {e}"));
            assert_eq!(read, all, "{id} as {format}");
        }
    }
}

#[test]
fn messages_stored_by_langchain_round_trip() {
    let stored = crate::data::stored_by_langchain();
    assert!(stored.len() >= 9);
    for value in stored {
        let message = langchain::from_value(value.clone()).unwrap_or_else(|e| panic!("{value}: {e}"));
        assert_eq!(langchain::to_value(&message), value);
        message.check().unwrap_or_else(|e| panic!("{value}: {e}"));
        // In OpenAI's form, which other programs read, the extras are one more field.
        assert_eq!(openai::from_value(openai::to_value(&message)), Ok(message));
    }
}

/// Checks what providers require: each call is answered, once, directly after the message with the call; no other results.
fn assert_untorn(shown: &[Message], what: &str) {
    let mut open: Vec<String> = Vec::new();
    for message in shown {
        let function = message.extra.get("function_call").and_then(|call| call["name"].as_str());
        if message.role == Role::Tool {
            let answered = message.tool_call_id.as_ref().or(message.name.as_ref()).expect("it names its call");
            let at = open.iter().position(|id| id == answered).unwrap_or_else(|| panic!("{what}: a result without its call"));
            open.swap_remove(at);
        } else {
            assert!(open.is_empty(), "{what}: calls without their results: {open:?}");
            open = message.tool_calls.iter().filter_map(ToolCall::id).chain(function).map(str::to_owned).collect();
        }
    }
    assert!(open.is_empty(), "{what}: calls without their results: {open:?}");
}

fn policies(limits: &[usize]) -> Vec<Policy> {
    let mut policies = vec![Policy::everything(), Policy::everything().keeping_system()];
    for &n in limits {
        policies.push(Policy::last_messages(n));
        policies.push(Policy::last_messages(n).keeping_system());
        policies.push(Policy::last_turns(n));
        policies.push(Policy::token_budget(60 * n as u64, TokenCounter::custom(|message| 4 + message.text().len() as u64 / 4)));
    }
    policies
}

#[test]
fn no_policy_splits_a_pair_wherever_a_conversation_stops() {
    let (mut windows, mut unanswered) = (0, 0);
    for (id, values) in crate::data::conversations().0 {
        let all = messages(&values);
        let policies = policies(&[1, 2, 3, 7]);
        for end in 0..=all.len() {
            for policy in &policies {
                let window = policy.window(all[..end].to_vec());
                assert_untorn(&window.messages, &format!("{id}, first {end}, {policy:?}"));
                assert_eq!(window.messages.len() + window.left_out.messages(), end);
                windows += 1;
                unanswered += window.left_out.unanswered;
            }
        }
        let whole = Policy::everything().window(all.clone());
        assert!(whole.left_out.is_nothing(), "{id}: {}", whole.left_out);
        assert_eq!(whole.messages, all);
    }
    println!("{windows} windows; {unanswered} messages left out of them for calls without a result");
    assert!(unanswered > 0, "some conversation must have been stopped between a call and its result");
}

#[test]
fn no_policy_splits_a_pair_with_missing_or_duplicate_messages() {
    for (id, values) in crate::data::conversations().0 {
        let all = messages(&values);
        for at in 0..all.len() {
            let (mut without, mut doubled) = (all.clone(), all.clone());
            without.remove(at);
            doubled.insert(at, all[at].clone());
            for policy in [Policy::everything(), Policy::last_messages(8), Policy::last_turns(2)] {
                for damaged in [&without, &doubled] {
                    let window = policy.window(damaged.clone());
                    assert_untorn(&window.messages, &format!("{id}, message {at}, {policy:?}"));
                }
            }
        }
    }
}

#[tokio::test]
async fn recalled_session_matches_the_window_of_its_history() {
    let store = InMemoryStore::new();
    for (id, values) in crate::data::conversations().0 {
        let (session, all) = (SessionId::new(id.as_str()).expect("a good id"), messages(&values));
        // Turn by turn, as an application would.
        let mut turn = Vec::new();
        for (at, message) in all.iter().enumerate() {
            turn.push(message.clone());
            if all.get(at + 1).is_none_or(|next| next.role == Role::User && turn.iter().any(|m| m.role == Role::User)) {
                store.append(&session, &Append::new(std::mem::take(&mut turn))).await.expect("stored");
            }
        }
        for policy in policies(&[0, 1, 2, 3, 4, 7, 20, 1_000]) {
            let recalled = recall(&store, &session, &policy).await.expect("recalled");
            assert_eq!(recalled.window.messages, policy.window(all.clone()).messages, "{id}, {policy:?}");
            assert_eq!(recalled.cost.requests, 1, "nothing here is broken, so one load fills each window");
        }
    }
}

#[test]
fn request_has_only_fields_known_to_endpoints() {
    let known = ["role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal", "audio"];
    for (id, values) in crate::data::conversations().0 {
        for message in messages(&values) {
            let request = openai::for_request(&message);
            let fields = request.as_object().expect("an object");
            assert!(fields.keys().all(|key| known.contains(&key.as_str())), "{id}: {request}");
            assert_eq!(request["role"], openai::to_value(&message)["role"], "{id}");
            assert_eq!(request.get("content"), Some(&openai::to_value(&message)["content"]), "{id}");
        }
    }
}
