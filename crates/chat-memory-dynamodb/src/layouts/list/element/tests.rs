//! Round trips of arbitrary messages through DynamoDB's values, and what the originals' readers require.

use proptest::prelude::*;

use super::super::state::mark_of;
use super::*;
use chat_memory_core::wire::arbitrary;

const DIALECTS: [Dialect; 2] = [Dialect::Js, Dialect::Python];

/// DynamoDB's nesting limit for an item, less the levels around an element.
const MAX_DEPTH: usize = 32 - 2;

fn mark() -> Mark {
    json!({ "id": "7", "at": 1_700_000_000_000_u64 }).as_object().cloned().expect("an object")
}

fn depth(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::L(values) => 1 + values.iter().map(depth).max().unwrap_or_default(),
        AttributeValue::M(fields) => 1 + fields.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// What LangChain.js and Flowise do with an element: skip it, or build a message from it, which must not throw.
fn js_can_read(element: &AttributeValue) -> bool {
    let AttributeValue::M(fields) = element else { return true };
    let (Some(AttributeValue::S(kind)), Some(AttributeValue::S(_))) = (fields.get("type"), fields.get("text")) else {
        return true;
    };
    let kwargs = match fields.get("additional_kwargs") {
        None => "{}",
        Some(AttributeValue::S(kwargs)) => kwargs,
        Some(_) => return false,
    };
    let has_role = matches!(fields.get("role"), Some(AttributeValue::S(_)));
    serde_json::from_str::<Map<String, Value>>(kwargs).is_ok()
        && (["human", "ai", "system"].contains(&kind.as_str()) || kind == "generic" && has_role)
}

/// What langchain-core's `messages_from_dict` and its constructors require, as far as types show.
fn python_can_read(element: &AttributeValue) -> bool {
    let AttributeValue::M(fields) = element else { return false };
    let (Some(AttributeValue::S(kind)), Some(AttributeValue::M(data))) = (fields.get("type"), fields.get("data")) else {
        return false;
    };
    let content = match data.get("content") {
        Some(AttributeValue::S(_)) => true,
        Some(AttributeValue::L(parts)) => parts.iter().all(|part| matches!(part, AttributeValue::S(_) | AttributeValue::M(_))),
        _ => false,
    };
    let is_map = |name: &str| matches!(data.get(name), None | Some(AttributeValue::M(_)));
    let is_text = |name: &str| matches!(data.get(name), Some(AttributeValue::S(_)));
    let own = match kind.as_str() {
        "human" | "ai" | "system" | "HumanMessageChunk" | "AIMessageChunk" | "SystemMessageChunk" => true,
        "tool" | "ToolMessageChunk" => is_text("tool_call_id"),
        "chat" | "ChatMessageChunk" => is_text("role"),
        "function" | "FunctionMessageChunk" => is_text("name"),
        _ => false,
    };
    content && own && is_map("additional_kwargs") && is_map("response_metadata")
}

proptest! {
    #[test]
    fn list_element_round_trips_exactly(message in arbitrary::message()) {
        for dialect in DIALECTS {
            let stored = as_stored(encode(dialect, &message, mark()));
            let element = decode(&stored);
            prop_assert_eq!(element, Ok(Element { message: message.clone(), mark: mark() }), "{} as {:?}", dialect, stored);
            prop_assert!(depth(&stored) <= MAX_DEPTH, "{stored:?}");
        }
    }

    #[test]
    fn originals_can_read_written_elements(message in arbitrary::message()) {
        let js = encode(Dialect::Js, &message, mark());
        prop_assert!(js_can_read(&js), "{js:?}");
        let python = encode(Dialect::Python, &message, mark());
        prop_assert!(python_can_read(&python), "{python:?}");
    }

    #[test]
    fn changing_the_mark_keeps_the_message(message in arbitrary::message()) {
        for dialect in DIALECTS {
            let stored = as_stored(encode(dialect, &message, Mark::new()));
            let marked = as_stored(with_mark(dialect, &stored, mark()).expect("a map"));
            prop_assert_eq!(decode(&marked), Ok(Element { message: message.clone(), mark: mark() }));
        }
    }

    /// Elements written by others, whose place for a mark may be taken or missing.
    #[test]
    fn marking_a_foreign_element_keeps_its_message(
        kwargs in prop_oneof![
            Just(None),
            arbitrary::value().prop_map(Some),
            arbitrary::object(arbitrary::value()).prop_map(|kwargs| Some(Value::from(kwargs))),
            arbitrary::object(arbitrary::value()).prop_map(|kwargs| Some(Value::Object(kwargs).to_string().into())),
        ],
        said in arbitrary::text(),
    ) {
        let mut element = json!({ "type": "human", "data": { "content": said } });
        if let Some(kwargs) = kwargs {
            element["data"]["additional_kwargs"] = kwargs;
        }
        let element = as_stored(to_attribute(&element));
        let Ok(Element { message, mark: none }) = decode(&element) else {
            // It does not become readable by losing what is wrong with it.
            for dialect in DIALECTS {
                let Ok(marked) = with_mark(dialect, &element, mark()) else {
                    prop_assert_eq!(mark_of(&element), None, "only a mark that cannot be read keeps another away");
                    continue;
                };
                prop_assert!(decode(&marked).is_err(), "{} as {:?}", dialect, marked);
                prop_assert_eq!(mark_of(&marked), Some(mark()));
            }
            return Ok(());
        };
        prop_assume!(none.is_empty());
        for dialect in DIALECTS {
            let marked = as_stored(with_mark(dialect, &element, mark()).expect("a map"));
            prop_assert_eq!(decode(&marked), Ok(Element { message: message.clone(), mark: mark() }), "{} as {:?}", dialect, marked);
            prop_assert!(dialect == Dialect::Js || python_can_read(&marked), "{marked:?}");
        }
    }

    #[test]
    fn edits_by_an_original_take_precedence(said in arbitrary::text(), edited in arbitrary::text()) {
        let mut message = Message::assistant(said);
        message.extra.insert("score".into(), json!(1.0));
        let AttributeValue::M(mut fields) = encode(Dialect::Js, &message, Mark::new()) else { panic!("a map") };
        fields.insert("text".into(), AttributeValue::S(edited.clone()));
        let read = decode(&AttributeValue::M(fields)).expect("a message").message;
        prop_assert_eq!(read.text(), edited);
    }

    #[test]
    fn decoding_a_foreign_element_never_panics(value in arbitrary::value()) {
        drop(decode(&to_attribute(&value)));
    }
}

/// Found by the properties above on lucky runs.
#[test]
fn fields_resembling_the_mark_are_kept() {
    for note in [json!({ "kwargs": { "chat_memory": null } }), json!({ "absent": ["additional_kwargs"] })] {
        let message = json!({ "role": "system", "content": "", "langchain": note });
        let message = Message::from_value(message).expect("a message");
        for dialect in DIALECTS {
            for first in [Mark::new(), mark()] {
                let stored = as_stored(encode(dialect, &message, first));
                let marked = as_stored(with_mark(dialect, &stored, mark()).expect("a map"));
                assert_eq!(decode(&marked), Ok(Element { message: message.clone(), mark: mark() }), "{dialect:?}");
            }
        }
    }
}

#[test]
fn fast_path_decodes_plain_elements_like_the_full_path() {
    let messages = [Message::user("a"), Message::assistant("b"), Message::system("c")];
    for dialect in DIALECTS {
        for message in &messages {
            for mark in [Mark::new(), mark()] {
                let written = as_stored(encode(dialect, message, mark));
                let AttributeValue::M(fields) = &written else { panic!("a map") };
                assert_eq!(plain(fields).as_ref(), Some(message), "{dialect}");
                assert_eq!(decode_visible(&AttributeValue::M(unmarked(fields))).as_ref(), Ok(message), "{dialect}");
                // With any other field it is no longer plain.
                let mut odd = fields.clone();
                odd.insert("x".to_owned(), AttributeValue::Bool(true));
                assert_eq!(plain(&odd), None, "{dialect}");
            }
        }
    }
    for odd in [Message::user(""), Message::user("a").with_name("ada")] {
        for dialect in DIALECTS {
            let written = as_stored(encode(dialect, &odd, Mark::new()));
            assert_eq!(decode(&written).expect("an element").message, odd);
        }
    }
}
