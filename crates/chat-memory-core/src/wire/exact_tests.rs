//! Tests the two laws of every form, on lists.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Format, arbitrary, openai};
use crate::entry::Entry;
use crate::memory::Policy;
use crate::message::{Content, Message, Part, ToolCall};

/// Checks that a list which is read is written again equal, and that its messages can be stored.
fn comes_back(format: Format, values: &[Value]) -> Result<(), TestCaseError> {
    if let Ok(messages) = format.read(values.to_vec()) {
        prop_assert_eq!(format.write(&messages), values, "{:#?}", messages);
        prop_assert!(messages.iter().all(|message| message.check().is_ok()));
    }
    Ok(())
}

/// Changes values as other programs may: fields are added, replaced, or taken from each other.
fn edited(values: impl Strategy<Value = Vec<Value>>) -> impl Strategy<Value = Vec<Value>> {
    (values, vec((any::<prop::sample::Index>(), arbitrary::object(arbitrary::value())), 0..3), any::<bool>()).prop_map(
        |(mut values, changes, turned)| {
            for (at, fields) in changes.into_iter().filter(|_| !values.is_empty()).collect::<Vec<_>>() {
                let at = at.index(values.len());
                values[at].as_object_mut().expect("an object").extend(fields);
            }
            if turned {
                values.reverse();
            }
            values
        },
    )
}

/// An item of a model's message with an empty list of calls, as OpenAI's chat form may have it, before a call of its own: the message
/// would have its calls twice.
#[test]
fn message_item_with_calls_of_the_chat_form_is_kept_as_it_is() {
    let message = json!({"type": "message", "role": "assistant", "content": "Hm.", "tool_calls": []});
    let call = json!({"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"});
    let items = [message, call];
    assert!(Format::Responses.read(items.to_vec()).is_ok());
    comes_back(Format::Responses, &items).expect("it comes back");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_json_is_refused_or_round_trips(value in arbitrary::value()) {
        for format in Format::ALL {
            comes_back(*format, std::slice::from_ref(&value))?;
        }
    }

    #[test]
    fn anthropic_to_messages_and_back_is_equal(values in vec(arbitrary::of_anthropic(), 0..5)) {
        comes_back(Format::Anthropic, &values)?;
    }

    #[test]
    fn responses_to_messages_and_back_is_equal(values in vec(arbitrary::item(), 0..6)) {
        comes_back(Format::Responses, &values)?;
    }

    #[test]
    fn messages_to_any_form_and_back_are_equal(messages in vec(arbitrary::message(), 0..5)) {
        for format in Format::ALL {
            let values = format.write(&messages);
            let read = format.read(values.clone());
            prop_assert_eq!(read.as_ref(), Ok(&messages), "{} {:#?}", format, values);
            let places: Vec<_> = format.write_placed(&messages).into_iter().map(|(place, _)| place).collect();
            prop_assert!(places.is_sorted() && places.iter().all(|place| *place < messages.len()));
            prop_assert_eq!(places.last().copied(), messages.len().checked_sub(1));
            let entries = format.write_entries(messages.iter().map(Entry::from).collect());
            let texts: Vec<_> = entries.iter().map(|(_, value)| serde_json::to_string(value).expect("JSON")).collect();
            prop_assert_eq!(texts, values.iter().map(Value::to_string).collect::<Vec<_>>());
        }
    }

    /// What came from one form is read again equal from each other.
    #[test]
    fn messages_of_one_form_are_exact_in_the_others(blocks in vec(arbitrary::of_anthropic(), 0..4), items in vec(arbitrary::item(), 0..4)) {
        for (from, values) in [(Format::Anthropic, &blocks), (Format::OpenAi, &blocks), (Format::Responses, &items), (Format::OpenAi, &items)] {
            let Ok(messages) = from.read(values.clone()) else { continue };
            for format in Format::ALL {
                let written = format.write(&messages);
                let read = format.read(written.clone());
                prop_assert_eq!(read.as_ref(), Ok(&messages), "{} {} {:#?}", from, format, written);
            }
        }
    }

    #[test]
    fn edited_values_come_back(
        of_anthropic in edited(vec(arbitrary::message(), 1..4).prop_map(|messages| Format::Anthropic.write(&messages))),
        items in edited(vec(arbitrary::message(), 1..4).prop_map(|messages| Format::Responses.write(&messages))),
    ) {
        comes_back(Format::Anthropic, &of_anthropic)?;
        comes_back(Format::Responses, &items)?;
    }
}

/// Returns the conversations of `testdata/wire` for a format: shapes as its provider documents them.
fn fixtures(format: Format) -> Vec<(String, Vec<Value>, Vec<Value>)> {
    let path = format!("{}/../../testdata/wire/{format}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let cases = list(&serde_json::from_str(&text).expect("JSON"));
    cases.iter().map(|case| (case["name"].to_string(), list(&case["values"]), list(&case["roles"]))).collect()
}

#[test]
fn documented_shapes_come_back_and_windows_keep_calls_with_their_results() {
    for format in [Format::Anthropic, Format::Responses] {
        for (name, values, roles) in fixtures(format) {
            let messages = format.read(values.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(messages.iter().map(|message| message.role.as_str()).collect::<Vec<_>>(), roles, "{name}");
            assert_eq!(format.write(&messages), values, "{name}");
            for message in &messages {
                let again = format.write(std::slice::from_ref(message));
                assert_eq!(format.read(again), Ok(vec![message.clone()]), "{name}: a message by itself");
            }
            assert!(Policy::everything().window(messages.clone()).left_out.is_nothing(), "{name}");
            for n in 0..=messages.len() {
                let shown = Policy::last_messages(n).window(messages.clone()).messages;
                let ids = |of: &dyn Fn(&Message) -> Vec<String>| shown.iter().flat_map(of).collect::<Vec<_>>();
                let calls = ids(&|message| message.tool_calls.iter().filter_map(|call| call.id().map(str::to_owned)).collect());
                let answered = |message: &Message| {
                    message.tool_call_id.clone().or_else(|| {
                        ["call_id", "approval_request_id"]
                            .iter()
                            .find_map(|key| Some(message.extra.get(*key)?.as_str()?.to_owned()))
                    })
                };
                assert_eq!(calls, ids(&|message| answered(message).into_iter().collect()), "{name}, {n}");
            }
        }
    }
}

#[test]
fn anthropics_blocks_are_calls_and_results_in_every_form() {
    let (_, values, _) = fixtures(Format::Anthropic).remove(0);
    let messages = Format::Anthropic.read(values).expect("good");
    assert_eq!(messages[2].tool_calls[0].arguments(), Some(r#"{"city":"Lisbon","days":1.0}"#));
    assert_eq!(messages[1].parts()[0], Part::image_url("data:image/png;base64,iVBORw0K"));
    assert_eq!(messages[4].extra["is_error"], true);
    let openai = Format::OpenAi.for_request(&messages).expect("an API").messages;
    assert_eq!(openai[3].1["tool_call_id"], "toolu_01");
    assert_eq!(openai[2].1["tool_calls"][1].as_object().map(serde_json::Map::len), Some(3), "no field of Anthropic's");
    let items = Format::Responses.for_request(&messages).expect("an API").messages;
    let kinds: Vec<_> =
        items.iter().map(|(_, item)| item["type"].as_str().or(item["role"].as_str()).unwrap_or_default()).collect();
    assert_eq!(
        kinds,
        [
            "system",
            "user",
            "assistant",
            "function_call",
            "function_call",
            "function_call_output",
            "function_call_output",
            "user",
            "assistant"
        ]
    );
    let broken = Format::Anthropic.read(fixtures(Format::Anthropic).remove(1).1).expect("good");
    assert_eq!(broken[1].tool_calls[0].arguments(), Some("{\"a\": "));
}

#[test]
fn a_request_to_anthropic_has_the_system_prompt_apart_and_an_answers_results_together() {
    let call = |id: &str| ToolCall::function(id, "f", "");
    let mut named = Message::user("Hi");
    named.name = Some("ada".into());
    let messages = [
        Message::system("A"),
        named,
        Message::tool_calls([call("a"), call("b")]),
        Message::tool("a", "1"),
        Message::tool("b", "2"),
        Message::assistant(""),
        Message::system("B"),
        Message::assistant("!"),
    ];
    let request = Format::Anthropic.for_request(&messages).expect("an API");
    assert_eq!(request.system, Some(json!([{"type": "text", "text": "A"}, {"type": "text", "text": "B"}])));
    let tool_use = |id: &str| json!({"type": "tool_use", "id": id, "name": "f", "input": {}});
    let result = |id: &str, text: &str| json!({"type": "tool_result", "tool_use_id": id, "content": text});
    assert_eq!(
        request.messages,
        [
            (1, json!({"role": "user", "content": "Hi"})),
            (2, json!({"role": "assistant", "content": [tool_use("a"), tool_use("b")]})),
            (4, json!({"role": "user", "content": [result("a", "1"), result("b", "2")]})),
            (7, json!({"role": "assistant", "content": "!"})),
        ]
    );
    let one = Format::Anthropic.for_request(&messages[..2]).expect("an API");
    assert_eq!(one.system, Some("A".into()));
    // What others wrote needs no overlay where Anthropic's form can hold it.
    let written = Format::Anthropic.write(&[Message::user("Hi"), Message::tool_calls([ToolCall::function("a", "f", "{}")])]);
    assert_eq!(written[1], json!({"role": "assistant", "content": [tool_use("a")]}));
}

#[test]
fn errors_name_the_place_and_the_format_that_fits() {
    let user = json!({"role": "user", "content": "a"});
    let openai = json!({"role": "tool", "tool_call_id": "c", "content": "21"});
    let item = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let block = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]});
    let stored = json!({"type": "human", "data": {"content": "a"}});
    for (format, value, reason) in [
        (Format::Anthropic, &openai, "set the format to openai"),
        (Format::Anthropic, &item, "set the format to responses"),
        (Format::Anthropic, &stored, "set the format to langchain"),
        (Format::Responses, &openai, "set the format to openai"),
        (Format::Responses, &stored, "set the format to langchain"),
        (Format::LangChain, &block, "set the format to anthropic"),
        (Format::LangChain, &item, "set the format to responses"),
    ] {
        let valid = if format == Format::LangChain { stored.clone() } else { user.clone() };
        let error = format.read(vec![valid, value.clone()]).expect_err("refused");
        assert_eq!(error.place(), Some(1), "{error}");
        assert!(error.to_string().starts_with("message 2: ") && error.reason().ends_with(reason), "{format}: {error}");
    }
    let taken = json!({"role": "user", "content": "a", "anthropic": {"raw": true}});
    let error = Format::Anthropic.read(vec![user.clone(), user, taken]).expect_err("refused").to_string();
    assert!(error.starts_with("message 3: invalid field \"anthropic\": it is reserved"), "{error}");
}

#[test]
fn deepest_message_can_be_read_back() {
    let nest = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    let max = crate::json::MAX_DEPTH;
    let part = || Part::from(serde_json::Map::from_iter([("deep".to_owned(), nest(max - 3))]));
    let mut messages =
        vec![Message::user("x"), Message::tool("c", Content::Parts(vec![part()])), Message::user(Content::Parts(vec![part()]))];
    messages[0].extra.insert("deep".into(), nest(max - 1));
    messages.push(Message::tool_calls([ToolCall::function("c", "f", json!({"a": nest(max - 1)}).to_string())]));
    for format in Format::ALL {
        for value in format.write(&messages) {
            crate::json::parse_document(value.to_string().as_bytes()).expect("not too deep");
        }
        assert_eq!(format.read(format.write(&messages)).as_ref(), Ok(&messages), "{format}");
    }
}

#[test]
fn a_message_stored_in_openais_form_needs_a_short_overlay() {
    let block = serde_json::json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]});
    let message: Message = openai::from_value(block.clone()).expect("good");
    let mut written = Format::Anthropic.write(std::slice::from_ref(&message));
    assert_eq!(Format::Anthropic.read(written.clone()), Ok(vec![message]));
    let overlay = written[0].as_object_mut().expect("an object").shift_remove("chat_memory");
    assert_eq!((&written[0], overlay), (&block, Some(r#"{"values":1,"messages":["raw"]}"#.into())));
}
