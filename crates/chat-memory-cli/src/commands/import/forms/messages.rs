//! `{"messages": […]}`: the output of `export`, fine-tuning files, and the requests of Anthropic's API; `{"input"}`, a list or
//! a text: those of OpenAI's Responses API.

use chat_memory::wire::{Format, times_of};
use chat_memory::{Content, Entry, Error, Message, Owner, Part};
use serde_json::{Map, Value, json};

use super::super::conversation::{Draft, Form, OtherEntry, time};
use super::{FORMAT, expected, named};

/// Anthropic's form has the system prompt outside the messages.
const ANTHROPIC: Form = Form::Messages(Format::Anthropic);

/// The Responses API's requests have their items in `input`, and the system prompt in `instructions`.
const RESPONSES: Form = Form::Messages(Format::Responses);

/// The fields of a conversation.
const FIELDS: &str = "id, format, messages, other_entries, owner, title, metadata, created_at, sent_at";

/// Parses a conversation of this format. One without an id is another program's: unknown fields are skipped and reported by name.
/// In one of ours they are refused, since skipping them would lose them.
pub fn read(fields: Map<String, Value>, form: Form) -> Result<Draft, Error> {
    let (mut draft, mut messages, mut others, mut sent_at, mut system) = (Draft::default(), None, None, None, None);
    let is_ours =
        fields.contains_key("id") && (form != ANTHROPIC || fields.contains_key(FORMAT)) && !fields.contains_key("input");
    let format = if let Form::Messages(format) = form { format } else { Format::default() };
    if let Some(named) = named(&fields).filter(|named| *named != format) {
        return Err(Error::invalid(format!(
            "the messages are in the format {named}, as the field \"format\" says, and --format names {format}: leave out --format"
        )));
    }
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("id", Value::String(text)) if text.is_empty() => {
                return Err(Error::invalid(
                    "the field \"id\" is empty: give an id, or leave the field out to derive one from the content",
                ));
            }
            ("id", Value::String(text)) => draft.id = Some(text),
            ("messages", Value::Array(list)) => messages = Some(list),
            ("input", Value::Array(list)) if form == RESPONSES && messages.is_none() => messages = Some(list),
            // A text is short for the user's message.
            ("input", Value::String(text)) if form == RESPONSES && messages.is_none() => {
                messages = Some(vec![json!({"role": "user", "content": text})]);
            }
            (FORMAT, Value::String(name)) if name == format.as_str() => {}
            ("instructions", Value::Null) if form == RESPONSES => {}
            ("instructions", Value::String(text)) if form == RESPONSES => system = Some(Content::Text(text)),
            ("other_entries", Value::Array(list)) => others = Some(list),
            ("owner" | "title" | "metadata" | "created_at" | "sent_at" | "other_entries" | "system", Value::Null) => {}
            ("owner", Value::String(text)) => draft.owner = Some(Owner::new(text)?),
            ("title", Value::String(text)) => draft.title = Some(text),
            ("metadata", Value::Object(fields)) => draft.metadata = Some(fields),
            ("created_at", value) => draft.started_at = time("created_at", &value)?,
            ("sent_at", Value::Array(times)) => sent_at = Some(times),
            ("system", Value::String(text)) if form == ANTHROPIC => system = Some(Content::Text(text)),
            ("system", Value::Array(blocks)) if form == ANTHROPIC => system = Some(Content::Parts(parts(blocks)?)),
            ("id" | "messages" | "other_entries" | "owner" | "title" | "metadata" | "sent_at", _) => {
                return Err(Error::invalid(format!(
                    "the field {name:?} is of the wrong type: id, owner and title are text, messages, other_entries and sent_at lists, metadata an object"
                )));
            }
            _ if is_ours => {
                return Err(Error::invalid(format!(
                    "unknown field {name:?} in a conversation: its fields are {FIELDS}; move it into metadata or leave it out"
                )));
            }
            _ => draft.left_out.push(name),
        }
    }
    let Some(messages) = messages else { return Err(expected(form, "the conversation has no \"messages\"")) };
    if messages.is_empty() && draft.id.is_none() {
        return Err(expected(form, "the conversation has neither an id nor a message"));
    }
    draft.messages.extend(system.map(Message::system));
    let outside = draft.messages.len();
    let given = messages.len();
    let read = format.read_placed(messages)?;
    if let Some(times) = sent_at {
        if times.len() != given {
            let times = times.len();
            return Err(Error::invalid(format!("sent_at has {times} times for {given} messages: give one for each, or null")));
        }
        let times: Vec<_> = times.iter().map(|at| time("sent_at", at)).collect::<Result<_, _>>()?;
        draft.times = vec![None; outside];
        draft.times.extend(times_of(&read, &times));
    }
    draft.messages.extend(read.into_iter().map(|(_, message)| message));
    for (place, value) in others.into_iter().flatten().enumerate() {
        let other = other(value, draft.messages.len(), draft.others.last().map_or(0, |other| other.after));
        draft.others.push(other.map_err(|e| e.context(format_args!("other_entries {}", place + 1)))?);
    }
    Ok(draft)
}

/// Reads an entry that is not a message, which comes after at least `least` of the messages.
fn other(value: Value, messages: usize, least: usize) -> Result<OtherEntry, Error> {
    let fail = |why: &str| {
        Err(Error::invalid(format!("{why}; give {{\"after\": N, \"entry\": {{…}}}}, N messages before it, in order")))
    };
    let Value::Object(mut fields) = value else { return fail("it is not an object") };
    let after = fields.shift_remove("after").and_then(|after| usize::try_from(after.as_u64()?).ok());
    let Some(after) = after.filter(|after| (least..=messages).contains(after)) else {
        return fail(&format!("\"after\" is not a number from {least} to {messages}"));
    };
    let Some(Value::Object(entry)) = fields.shift_remove("entry") else { return fail("\"entry\" is not an object") };
    let sent_at = time("sent_at", &fields.shift_remove("sent_at").unwrap_or_default())?;
    match fields.keys().next() {
        Some(name) => fail(&format!("unknown field {name:?}")),
        None => Ok(OtherEntry { after, entry: Entry::from_object(entry), sent_at }),
    }
}

fn parts(blocks: Vec<Value>) -> Result<Vec<Part>, Error> {
    let part = |block| match block {
        Value::Object(fields) => Ok(Part::from(fields)),
        other => Err(expected(ANTHROPIC, &format!("a block of the system prompt is an object, not {other}"))),
    };
    blocks.into_iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use chat_memory::{Role, Timestamp};

    use super::super::super::conversation::{Conversation, Ids, MadeId};
    use super::super::super::source::{Found, Place};
    use super::*;

    fn read_as(form: Form, text: &str) -> Result<Conversation, String> {
        let found = Found { place: Place { line: 7, nth: None }, value: serde_json::from_str(text).expect("JSON") };
        Conversation::read(found, form, &mut Ids::with_prefix("a/")).map_err(|e| e.to_string())
    }

    fn messages(read: &Conversation) -> Vec<Message> {
        read.entries.iter().filter_map(Entry::as_message).cloned().collect()
    }

    #[test]
    fn conversation_fields_are_parsed() {
        let text = r#"{"id": "x", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}], "owner": "o",
            "title": null, "created_at": "2026-05-01T12:00:00.250Z", "sent_at": [1777636800123, null]}"#;
        let read = read_as(Form::Auto, text).expect("good");
        assert_eq!((read.place.line, read.id.as_str(), read.entries.len(), &read.made_id), (7, "a/x", 2, &None));
        assert_eq!((read.owner.map(|owner| owner.to_string()), read.title), (Some("o".into()), None));
        assert_eq!(
            (read.started_at, read.times),
            (Some(Timestamp::from_millis(1_777_636_800_250)), vec![Some(Timestamp::from_millis(1_777_636_800_123)), None])
        );
    }

    #[test]
    fn malformed_input_errors_name_the_fault() {
        for (text, parts) in [
            ("[]", &["line 7", "JSON object", "expected"][..]),
            (r#"{"role": "user", "content": "x"}"#, &["line 7", "this is a message", "append --file"]),
            (r#"{"tags": []}"#, &["line 7", "\"tags\"", "ShareGPT"]),
            (r#"{"id": "x"}"#, &["line 7", "\"id\"", "\"messages\""]),
            (r#"{"id": 1, "messages": []}"#, &["line 7", "\"id\"", "wrong type"]),
            (r#"{"messages": []}"#, &["line 7", "neither an id nor a message"]),
            (r#"{"id": "x", "messages": [], "tags": []}"#, &["line 7", "\"tags\""]),
            (r#"{"id": "x", "messages": [], "created_at": "May"}"#, &["line 7", "created_at", "\"May\""]),
            (r#"{"id": "x", "messages": [], "sent_at": [1]}"#, &["line 7", "1 times for 0 messages"]),
            (r#"{"id": "x", "messages": [{"role": "user"}], "sent_at": [0]}"#, &["line 7", "sent_at 0"]),
            (r#"{"id": "x", "messages": [{"role": "user"}, {"role": "bot"}]}"#, &["line 7", "message 2", "\"bot\""]),
        ] {
            let error = read_as(Form::Auto, text).expect_err(text);
            parts.iter().for_each(|part| assert!(error.contains(part), "{text}: {error}"));
        }
    }

    #[test]
    fn missing_id_is_derived_from_content_and_refused_id_escaped() {
        let line = |text: &str| Found {
            place: Place { line: 1, nth: None },
            value: serde_json::json!({"messages": [{"role": "user", "content": text}], "tools": []}),
        };
        let read = |ids: &mut Ids, text: &str| Conversation::read(line(text), Form::Auto, ids).expect("good");
        let mut ids = Ids::default();
        let first = read(&mut ids, "a");
        assert_eq!((&first.made_id, &first.left_out[..]), (&Some(MadeId::None), &["tools".to_owned()][..]));
        let (second, other) = (read(&mut ids, "a"), read(&mut ids, "b"));
        assert_eq!(second.id.as_str(), format!("{}-2", first.id), "a second one of equal content");
        assert_ne!(other.id, first.id);
        assert_eq!(read(&mut Ids::default(), "a").id, first.id, "the next run");
        let refused = read_as(Form::Auto, r#"{"id": "x\ny", "messages": []}"#).expect("good");
        assert!(refused.id.as_str().starts_with("a/x%0Ay~"), "{}", refused.id);
        assert_eq!(refused.made_id, Some(MadeId::Refused("a/x\ny".into())));
    }

    #[test]
    fn anthropics_system_prompt_comes_first_and_calls_are_read() {
        let text = r#"{"model": "m", "max_tokens": 9, "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": "w?"},
                {"role": "assistant", "content": [{"type": "text", "text": "let me"}, {"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "21"}]}]}"#;
        let read = read_as(Form::Auto, text).expect("good");
        let messages = messages(&read);
        assert_eq!((messages[0].role, messages[0].text()), (Role::System, "Be brief.".into()));
        assert_eq!(messages[2].tool_calls[0].name(), Some("f"));
        assert_eq!(messages[3], Message::tool("t1", "21"));
        assert_eq!(read.left_out, ["model", "max_tokens"]);
        let plain = read_as(Form::Auto, r#"{"system": "S", "messages": [{"role": "user", "content": "u"}]}"#).expect("good");
        assert_eq!(plain.entries, [Message::system("S"), Message::user("u")].map(Entry::from));
    }

    #[test]
    fn other_programs_forms_are_recognized_and_ours_is_read_as_it_was_written() {
        let request = r#"{"instructions": "S", "input": [{"role": "user", "content": "w?"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "call_id": "c", "output": "21"}]}"#;
        let read = read_as(Form::Auto, request).expect("good");
        assert_eq!(
            (&messages(&read)[..2], messages(&read)[2].tool_calls[0].id()),
            (&[Message::system("S"), Message::user("w?")][..], Some("c"))
        );
        assert_eq!(messages(&read)[3], Message::tool("c", "21"));

        let blocks =
            r#""messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "21"}]}]"#;
        let theirs = read_as(Form::Auto, &format!("{{{blocks}}}")).expect("good");
        assert_eq!(messages(&theirs), [Message::tool("t", "21")]);
        let theirs = read_as(Form::Auto, &format!("{{\"id\": \"x\", {blocks}}}")).expect("good");
        assert_eq!(messages(&theirs), [Message::tool("t", "21")]);
        let ours = format!("{{\"id\": \"x\", \"format\": \"openai\", {blocks}}}");
        let read = read_as(Form::Auto, &ours).expect("good");
        assert_eq!((messages(&read)[0].role, messages(&read)[0].parts().len()), (Role::User, 1));
        let error = read_as(ANTHROPIC, &ours).expect_err("another format than it names");
        assert!(error.contains("in the format openai") && error.contains("--format names anthropic"), "{error}");
    }

    #[test]
    fn input_of_a_request_may_be_a_text() {
        for form in [Form::Auto, RESPONSES] {
            let read = read_as(form, r#"{"model": "m", "instructions": "be nice", "input": "hello"}"#).expect("good");
            assert_eq!(messages(&read), [Message::system("be nice"), Message::user("hello")]);
            assert_eq!(read.left_out, ["model"]);
            let other = read_as(form, r#"{"input": "another"}"#).expect("good");
            assert_ne!(read.id, other.id, "each has an id of its own");
        }
    }

    #[test]
    fn a_value_of_several_messages_has_one_time() {
        let text = r#"{"id": "x", "sent_at": [1777636800123], "messages": [{"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "1"}, {"type": "tool_result", "tool_use_id": "b", "content": "2"}]}]}"#;
        let read = read_as(ANTHROPIC, text).expect("good");
        assert_eq!((read.entries.len(), read.times), (2, vec![Some(Timestamp::from_millis(1_777_636_800_123)); 2]));
    }
}
