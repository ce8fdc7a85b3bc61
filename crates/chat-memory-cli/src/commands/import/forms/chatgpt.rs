//! ChatGPT's export: a list of conversations. Each is a tree of messages; the path to the current node is what its reader saw.

use std::collections::HashSet;

use chat_memory::{Content, Error, Message, Part, Role, ToolCall};
use serde_json::{Map, Value, json};

use super::super::conversation::{Draft, Form, plain_title, time_of_seconds};
use super::expected;

/// Parses a conversation: the path to its current node. Regenerated answers and abandoned edits are other branches; they are
/// skipped, and so are messages that ChatGPT hides from its reader.
pub fn read(mut fields: Map<String, Value>) -> Result<Draft, Error> {
    let Some(Value::Object(mapping)) = fields.remove("mapping") else {
        return Err(expected(Form::Chatgpt, "the conversation has no \"mapping\""));
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let mut draft = Draft {
        id: text("conversation_id").or_else(|| text("id")).map(str::to_owned),
        title: text("title").and_then(plain_title),
        started_at: time_of_seconds(fields.get("create_time")),
        ..Draft::default()
    };
    let path = path(&mapping, text("current_node"))?;
    let shown: Vec<&Value> =
        path.into_iter().filter_map(|node| mapping[node].get("message")).filter(|message| is_shown(message)).collect();
    // The call that results may follow.
    let mut call: Option<String> = None;
    for (place, source) in shown.iter().enumerate() {
        let is_answered = shown.get(place + 1).is_some_and(|next| role_of(next) == Some("tool"));
        let message = message(source, is_answered, &mut call)?;
        let sent_at = time_of_seconds(source.get("create_time"));
        match (message, draft.messages.last_mut()) {
            // Several outputs of one call become one result, since a call has one.
            (Made::More(parts), Some(last)) => {
                last.content = Some(Content::Parts([parts_of(last.content.take()), parts].concat()))
            }
            (Made::More(_), None) => {}
            (Made::Message(message), _) => {
                draft.messages.push(message);
                draft.times.push(sent_at);
            }
        }
    }
    Ok(draft)
}

/// The nodes from the root to the current one.
fn path<'a>(mapping: &'a Map<String, Value>, current: Option<&str>) -> Result<Vec<&'a str>, Error> {
    let find = |id: &str| mapping.get_key_value(id).map(|(id, _)| id.as_str());
    let mut at = match current {
        Some(current) => Some(find(current).ok_or_else(|| {
            Error::invalid(format!(
                "the current node {current:?} is not in the mapping: the file is damaged or cut; export it again"
            ))
        })?),
        // Older exports do not name it: the newest branch is what was seen last.
        None => newest_leaf(mapping),
    };
    let (mut path, mut seen) = (Vec::new(), HashSet::new());
    while let Some(id) = at {
        if !seen.insert(id) {
            return Err(Error::invalid(format!("the node {id:?} is its own ancestor: the file is damaged; export it again")));
        }
        path.push(id);
        at = match mapping[id].get("parent").and_then(Value::as_str) {
            None => None,
            Some(parent) => Some(find(parent).ok_or_else(|| {
                Error::invalid(format!("the node {parent:?} is not in the mapping: the file is damaged or cut; export it again"))
            })?),
        };
    }
    path.reverse();
    Ok(path)
}

fn newest_leaf(mapping: &Map<String, Value>) -> Option<&str> {
    let is_leaf = |node: &Value| node.get("children").and_then(Value::as_array).is_none_or(Vec::is_empty);
    let time = |node: &Value| node.get("message").and_then(|message| time_of_seconds(message.get("create_time")));
    let leaves = mapping.iter().filter(|(_, node)| is_leaf(node));
    leaves.max_by_key(|(_, node)| time(node)).map(|(id, _)| id.as_str())
}

fn role_of(message: &Value) -> Option<&str> {
    message.get("author")?.get("role")?.as_str()
}

/// Whether ChatGPT shows it: not its hidden instructions, nor empty messages.
fn is_shown(message: &Value) -> bool {
    let is_hidden = message["metadata"]["is_visually_hidden_from_conversation"] == true;
    let content = &message["content"];
    let says_nothing = match (content["parts"].as_array(), content["text"].as_str()) {
        (Some(parts), _) => parts.iter().all(|part| part.as_str() == Some("")),
        (None, Some(text)) => text.is_empty(),
        (None, None) => content.as_object().is_none_or(Map::is_empty),
    };
    message.is_object() && !is_hidden && !says_nothing
}

enum Made {
    Message(Message),
    /// A continuation of the result before it.
    More(Vec<Part>),
}

fn message(source: &Value, is_answered: bool, call: &mut Option<String>) -> Result<Made, Error> {
    let id = source["id"].as_str().map(str::to_owned);
    let content = content(&source["content"]);
    let name = source["author"]["name"].as_str().map(str::to_owned);
    let named = |mut message: Message| {
        message.id.clone_from(&id);
        message.name.clone_from(&name);
        Made::Message(message)
    };
    let role = role_of(source).unwrap_or_default();
    if role == "tool" {
        return Ok(match call.take() {
            // Taken from now on: what follows continues it.
            Some(open) if !open.is_empty() => {
                *call = Some(String::new());
                named(Message::tool(open, content))
            }
            Some(_) => {
                *call = Some(String::new());
                Made::More(parts_of(Some(content)))
            }
            // No model accepts a result without its call; its text is kept.
            None => named(Message::assistant(content)),
        });
    }
    *call = None;
    let role = match role {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" | "developer" => Role::System,
        other => {
            return Err(Error::invalid(format!(
                "unknown author {other:?} of a message: expected user, assistant, system or tool"
            )));
        }
    };
    let recipient = source["recipient"].as_str().filter(|recipient| *recipient != "all");
    if let (Role::Assistant, Some(tool), true, Some(id)) = (role, recipient, is_answered, &id) {
        let text = Message::assistant(content).text();
        let is_object = serde_json::from_str::<Map<String, Value>>(&text).is_ok();
        let arguments = if is_object { text } else { json!({ "input": text }).to_string() };
        *call = Some(id.clone());
        let made = Message::tool_calls([ToolCall::function(id.clone(), tool, arguments)]);
        return Ok(Made::Message(made.with_id(id)));
    }
    Ok(named(Message::new(role, content)))
}

/// The content of a message: its text, or parts if it has more than text. A part specific to ChatGPT is kept unchanged, under its
/// type.
fn content(content: &Value) -> Content {
    let typed = |object: &Map<String, Value>| {
        let mut part = Map::new();
        part.insert("type".into(), object.get("content_type").cloned().unwrap_or_else(|| "unknown".into()));
        part.extend(
            object.iter().filter(|(name, _)| *name != "content_type" && *name != "type").map(|(n, v)| (n.clone(), v.clone())),
        );
        Part::from(part)
    };
    if let Some(parts) = content["parts"].as_array() {
        return match &parts[..] {
            [Value::String(text)] => Content::Text(text.clone()),
            parts => {
                let part = |part: &Value| match part {
                    Value::String(text) => Part::text(text),
                    Value::Object(fields) => typed(fields),
                    other => Part::text(other.to_string()),
                };
                Content::Parts(parts.iter().filter(|part| part.as_str() != Some("")).map(part).collect())
            }
        };
    }
    match (content["text"].as_str(), content.as_object()) {
        (Some(text), _) => Content::Text(text.to_owned()),
        (None, Some(object)) => Content::Parts(vec![typed(object)]),
        (None, None) => Content::Text(String::new()),
    }
}

fn parts_of(content: Option<Content>) -> Vec<Part> {
    match content {
        Some(Content::Text(text)) => vec![Part::text(text)],
        Some(Content::Parts(parts)) => parts,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use chat_memory::Timestamp;

    use super::*;

    fn node(id: &str, parent: Option<&str>, children: &[&str], message: Value) -> (String, Value) {
        (id.to_owned(), json!({"id": id, "parent": parent, "children": children, "message": message}))
    }

    fn said(id: &str, role: &str, content: Value) -> Value {
        json!({"id": id, "author": {"role": role, "name": null, "metadata": {}}, "create_time": 1_777_636_800.5, "content": content,
            "metadata": {}, "recipient": "all"})
    }

    fn text(text: &str) -> Value {
        json!({"content_type": "text", "parts": [text]})
    }

    fn read_nodes(nodes: Vec<(String, Value)>, current: Option<&str>) -> Result<Draft, String> {
        let mut fields = Map::new();
        fields.insert("mapping".into(), Value::Object(nodes.into_iter().collect()));
        fields.insert("current_node".into(), json!(current));
        read(fields).map_err(|e| e.to_string())
    }

    #[test]
    fn chatgpt_tool_results_and_unknown_content_are_kept() {
        let mut code = said("c", "assistant", json!({"content_type": "code", "language": "python", "text": "print(1)"}));
        code["recipient"] = "python".into();
        let output = |id: &str, text: &str| said(id, "tool", json!({"content_type": "execution_output", "text": text}));
        let image = json!({"content_type": "multimodal_text", "parts": [{"content_type": "image_asset_pointer", "asset_pointer": "file://x"}, "Look"]});
        let thoughts = json!({"content_type": "thoughts", "thoughts": [{"summary": "s"}]});
        let draft = read_nodes(
            vec![
                node("r", None, &["u"], Value::Null),
                node("u", Some("r"), &["c"], said("u", "user", image)),
                node("c", Some("u"), &["o"], code.clone()),
                node("o", Some("c"), &["p"], output("o", "1")),
                node("p", Some("o"), &["t"], output("p", "2")),
                node("t", Some("p"), &["e"], said("t", "assistant", thoughts)),
                node("e", Some("t"), &[], code),
            ],
            Some("e"),
        )
        .expect("good");
        let values: Vec<Value> = draft.messages.iter().map(Message::to_value).collect();
        assert_eq!(values[0]["content"][0], json!({"type": "image_asset_pointer", "asset_pointer": "file://x"}));
        assert_eq!(values[1]["tool_calls"][0]["function"], json!({"name": "python", "arguments": "{\"input\":\"print(1)\"}"}));
        assert_eq!((&values[2]["tool_call_id"], &values[2]["content"][1]["text"]), (&json!("c"), &json!("2")));
        assert_eq!(values[3]["content"], json!([{"type": "thoughts", "thoughts": [{"summary": "s"}]}]));
        // Without a result no model accepts the call again.
        assert_eq!((values[4].get("tool_calls"), &values[4]["content"]), (None, &json!("print(1)")));
        assert_eq!((values.len(), draft.times), (5, vec![Some(Timestamp::from_millis(1_777_636_800_500)); 5]));
    }

    #[test]
    fn damaged_trees_are_errors_and_newest_branch_is_the_default() {
        let leaf = |id: &str, at: f64| {
            let mut message = said(id, "user", text(id));
            message["create_time"] = at.into();
            node(id, Some("r"), &[], message)
        };
        let root = || node("r", None, &["old", "new"], Value::Null);
        let draft = read_nodes(vec![root(), leaf("new", 2e9), leaf("old", 1e9)], None).expect("good");
        assert_eq!(draft.messages[0].text(), "new");
        for (nodes, current, says) in [
            (vec![root()], Some("gone"), "\"gone\" is not in the mapping"),
            (vec![node("a", Some("gone"), &[], Value::Null)], Some("a"), "\"gone\" is not in the mapping"),
            (vec![node("a", Some("b"), &[], Value::Null), node("b", Some("a"), &[], Value::Null)], Some("a"), "its own ancestor"),
            (vec![node("a", None, &[], said("a", "alien", text("x")))], Some("a"), "unknown author \"alien\""),
        ] {
            let error = read_nodes(nodes, current).expect_err(says);
            assert!(error.contains(says), "{error}");
        }
    }
}
