//! Converts between langchain-rust's messages and ours.

use chat_memory::{Content, Message, Part, Role, ToolCall};
use langchain_rust::schemas::{ImageContent, Message as Theirs, MessageType};
use serde_json::{Map, Value};

/// The field of [`Message::extra`] with a langchain-rust message that our format cannot express, as JSON.
const EXACT: &str = "langchain_rust";

/// Converts to our message. [`from_message`] returns an equal one.
///
/// ```
/// use chat_memory_langchain::to_message;
/// use langchain_rust::schemas::Message;
/// let message = to_message(&Message::new_tool_message("21 °C", "call_1"));
/// assert_eq!(message.to_value().to_string(), r#"{"role":"tool","content":"21 °C","tool_call_id":"call_1"}"#);
/// ```
pub fn to_message(theirs: &Theirs) -> Message {
    let mut message = shown(theirs);
    if json(&visible(&message)) != json(theirs) {
        message.extra.insert(EXACT.into(), json(theirs));
    }
    message
}

/// Converts to langchain-rust's message, as far as its format can hold ours: it has no place for names and unknown fields. A part
/// that is neither text nor image becomes its JSON text.
pub fn from_message(message: &Message) -> Theirs {
    let exact = message.extra.get(EXACT).and_then(|value| serde_json::from_value::<Theirs>(value.clone()).ok());
    match exact {
        // The readable message must still match it.
        Some(exact) if to_message(&exact) == *message => exact,
        _ => visible(message),
    }
}

/// What our format can express of it.
fn shown(theirs: &Theirs) -> Message {
    let text = &theirs.content;
    let calls = match &theirs.tool_calls {
        Some(Value::Array(calls)) => calls.iter().filter_map(|call| call.as_object().cloned().map(ToolCall::from)).collect(),
        _ => Vec::new(),
    };
    let images = theirs.images.iter().flatten().map(image);
    let content: Content = match theirs.images {
        Some(_) => {
            let text = (!text.is_empty()).then(|| Part::text(text));
            Content::Parts(text.into_iter().chain(images).collect())
        }
        None => Content::Text(text.clone()),
    };
    let mut message = match theirs.message_type {
        MessageType::SystemMessage => Message::system(content),
        MessageType::HumanMessage => Message::user(content),
        MessageType::AIMessage if text.is_empty() && !calls.is_empty() => Message::tool_calls([]),
        MessageType::AIMessage => Message::assistant(content),
        MessageType::ToolMessage => Message::new(Role::Tool, content),
    };
    match theirs.message_type {
        // In a tool message, their id is the call's id.
        MessageType::ToolMessage => message.tool_call_id.clone_from(&theirs.id),
        _ => message.id.clone_from(&theirs.id),
    }
    message.tool_calls = calls;
    message
}

/// What their format can hold of ours.
fn visible(message: &Message) -> Theirs {
    let (content, images) = match &message.content {
        Some(Content::Text(text)) => (text.clone(), None),
        Some(Content::Parts(parts)) => {
            let images: Vec<_> = parts.iter().filter_map(from_image).collect();
            let texts = parts.iter().filter(|part| from_image(part).is_none());
            let text =
                texts.map(|part| part.as_text().map_or_else(|| Value::from(part.fields().clone()).to_string(), str::to_owned));
            (text.collect(), (!images.is_empty()).then_some(images))
        }
        _ => (String::new(), None),
    };
    let calls = message.tool_calls.iter().map(|call| Value::Object(call.fields().clone()));
    Theirs {
        content,
        message_type: match message.role {
            Role::System => MessageType::SystemMessage,
            Role::Assistant => MessageType::AIMessage,
            Role::Tool => MessageType::ToolMessage,
            _ => MessageType::HumanMessage,
        },
        id: if message.role == Role::Tool { message.tool_call_id.clone() } else { message.id.clone() },
        tool_calls: (!message.tool_calls.is_empty()).then(|| calls.collect()),
        images,
    }
}

fn image(image: &ImageContent) -> Part {
    let mut fields = Map::new();
    fields.insert("url".into(), image.image_url.clone().into());
    if let Some(detail) = &image.detail {
        fields.insert("detail".into(), detail.clone().into());
    }
    Part::from(Map::from_iter([("type".to_owned(), "image_url".into()), ("image_url".to_owned(), fields.into())]))
}

fn from_image(part: &Part) -> Option<ImageContent> {
    let image = part.fields().get("image_url").filter(|_| part.kind() == Some("image_url"))?;
    let text = |name: &str| image.get(name)?.as_str().map(str::to_owned);
    Some(ImageContent { image_url: text("url")?, detail: text("detail") })
}

/// Compares their messages as JSON, since they do not implement equality. Text and JSON values can always be serialised.
fn json(theirs: &Theirs) -> Value {
    serde_json::to_value(theirs).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_message_kind_round_trips() {
        let call = json!([{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1.0}"}}]);
        let plain = Theirs::new_human_message("x");
        let detailed = ImageContent::from("https://example.com/a.png").with_detail("low");
        for theirs in [
            Theirs::new_system_message(""),
            Theirs::new_human_message("Hello \u{0} 🦀"),
            Theirs::new_human_message_with_images(vec!["data:image/png;base64,AA=="]),
            Theirs::new_human_message("What is it?").with_images(vec![detailed]),
            Theirs::new_human_message("none").with_images(Vec::<String>::new()),
            Theirs::new_ai_message(""),
            Theirs::new_ai_message("").with_tool_calls(call.clone()),
            Theirs::new_ai_message("Let me see.").with_tool_calls(call.clone()),
            Theirs::new_ai_message("odd").with_tool_calls(json!([])),
            Theirs::new_ai_message("odd").with_tool_calls(json!({"not": "a list"})),
            Theirs::new_ai_message("odd").with_tool_calls(json!([1, {"id": "c"}])),
            Theirs::new_tool_message("21 °C", "c1"),
            Theirs::new_tool_message("", ""),
            Theirs { id: Some("m1".into()), ..plain.clone() },
            Theirs { message_type: MessageType::ToolMessage, tool_calls: Some(call), ..plain },
        ] {
            let message = to_message(&theirs);
            message.check().expect("it can be stored");
            let read = Message::from_json(&message.to_value().to_string()).expect("it can be read");
            assert_eq!(json(&from_message(&read)), json(&theirs), "{message:?}");
        }
    }

    #[test]
    fn foreign_messages_are_shown_as_far_as_possible() {
        let image = Part::image_url("https://example.com/a.png");
        let audio = Part::from(Map::from_iter([("type".to_owned(), "input_audio".into())]));
        let theirs = from_message(&Message::user(Content::Parts(vec![Part::text("Look: "), image, audio])));
        assert_eq!(theirs.content, r#"Look: {"type":"input_audio"}"#);
        assert_eq!(theirs.images.map(|images| images.len()), Some(1));
        let mut edited = to_message(&Theirs::new_ai_message("odd").with_tool_calls(json!([])));
        edited.content = Some("other".into());
        assert_eq!(from_message(&edited).content, "other", "what is visible counts");
    }
}
