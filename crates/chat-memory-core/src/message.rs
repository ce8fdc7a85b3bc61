//! Messages: what one author said, with all fields that came with it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json;

pub(crate) mod redacted;
pub(crate) mod refused;
pub(crate) mod tools;

/// The roles, as an error lists them.
const ROLES: &str = "system, user, assistant, tool";

/// The types of LangChain's messages, as an error lists them.
const LANGCHAIN_TYPES: &str = "human, ai, system, tool, function, chat, generic";

/// The author of a [`Message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// Instructions to the model.
    System,
    /// The person, or a program acting for them. A turn starts here.
    User,
    /// The model.
    Assistant,
    /// The result of a tool that the model called.
    Tool,
}

impl Role {
    /// Returns the role's name as in OpenAI's chat messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = MessageError;

    fn from_str(name: &str) -> Result<Self, MessageError> {
        match name {
            "system" => Ok(Self::System),
            "user" => Ok(Self::User),
            "assistant" => Ok(Self::Assistant),
            "tool" => Ok(Self::Tool),
            other => Err(refused::unknown_role(other, ROLES)),
        }
    }
}

/// The content of a message.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Content {
    /// Plain text, of any length, empty included.
    Text(String),
    /// Parts, for instance text and images.
    Parts(Vec<Part>),
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Defines a JSON object that is kept as it came, with accessors for the known fields.
macro_rules! object {
    ($(#[$docs:meta])* $name:ident) => {
        $(#[$docs])*
        #[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Map<String, Value>);

        impl $name {
            /// Returns the object's fields, including unknown ones.
            pub fn fields(&self) -> &Map<String, Value> {
                &self.0
            }
        }

        impl From<Map<String, Value>> for $name {
            fn from(fields: Map<String, Value>) -> Self {
                Self(fields)
            }
        }
    };
}

object!(
    /// One part of a message's content: a JSON object with a `type`, kept as it came.
    Part
);

object!(
    /// A tool call by the model, in the form of OpenAI's chat messages: a JSON object, kept as it came.
    ///
    /// ```
    /// use chat_memory::ToolCall;
    /// let call = ToolCall::function("call_1", "get_weather", r#"{"city": "Paris"}"#);
    /// assert_eq!((call.id(), call.name()), (Some("call_1"), Some("get_weather")));
    /// assert_eq!(call.arguments(), Some(r#"{"city": "Paris"}"#));
    /// ```
    ToolCall
);

impl Part {
    /// Creates a text part.
    pub fn text(text: impl Into<String>) -> Self {
        Self(Map::from_iter([("type".into(), "text".into()), ("text".into(), Value::String(text.into()))]))
    }

    /// Creates an image part from its URL (`https:` or `data:`).
    pub fn image_url(url: impl Into<String>) -> Self {
        let image = Map::from_iter([("url".into(), Value::String(url.into()))]);
        Self(Map::from_iter([("type".into(), "image_url".into()), ("image_url".into(), Value::Object(image))]))
    }

    /// Returns the part's `type`.
    pub fn kind(&self) -> Option<&str> {
        self.0.get("type")?.as_str()
    }

    /// Returns the text of a text part, in any provider's form: Bedrock's and Gemini's have no `type`; the Responses API's are
    /// `input_text` and `output_text`. A model's thoughts do not count as text.
    pub fn as_text(&self) -> Option<&str> {
        Self::text_of(&self.0)
    }

    pub(crate) fn text_of(fields: &Map<String, Value>) -> Option<&str> {
        let is_text = match fields.get("type") {
            None => fields.get("thought").is_none_or(|thought| *thought == Value::Bool(false)),
            Some(kind) => kind.as_str().is_some_and(|kind| matches!(kind, "text" | "input_text" | "output_text")),
        };
        is_text.then(|| fields.get("text")?.as_str()).flatten()
    }
}

impl ToolCall {
    /// Creates a function call. `arguments` is the JSON text that the model wrote, kept byte for byte.
    pub fn function(id: impl Into<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        let function =
            Map::from_iter([("name".into(), Value::String(name.into())), ("arguments".into(), Value::String(arguments.into()))]);
        Self(Map::from_iter([
            ("id".into(), Value::String(id.into())),
            ("type".into(), "function".into()),
            ("function".into(), Value::Object(function)),
        ]))
    }

    /// Returns the call's id, which the tool's result refers to in `tool_call_id`.
    pub fn id(&self) -> Option<&str> {
        self.0.get("id")?.as_str()
    }

    /// Returns the name of the function called.
    pub fn name(&self) -> Option<&str> {
        self.0.get("function")?.get("name")?.as_str()
    }

    /// Returns the arguments, as the text that the model wrote.
    pub fn arguments(&self) -> Option<&str> {
        self.0.get("function")?.get("arguments")?.as_str()
    }
}

/// What one author said in a conversation.
///
/// Its JSON form ([`Message::to_value`]) is that of OpenAI's chat messages. Fields that have no place of their own are kept in
/// [`extra`](Message::extra), so that a message is written exactly as it was read. That includes known fields without a value:
/// `"content": null`, `"name": null` and `"tool_calls": []` are stored in `extra`, too.
///
/// ```
/// use chat_memory::{Message, Role};
/// let text = r#"{"role":"assistant","content":null,"refusal":null,"score":1.0}"#;
/// let message = Message::from_json(text)?;
/// assert_eq!(message.role, Role::Assistant);
/// assert_eq!(message.to_json(), text);
/// # Ok::<(), chat_memory::MessageError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Hash)]
#[non_exhaustive]
pub struct Message {
    /// The author.
    pub role: Role,
    /// What the author said; `None` is usual for an assistant that only calls tools.
    pub content: Option<Content>,
    /// The author's name, or the tool's.
    pub name: Option<String>,
    /// The message's own id, if its writer gave it one.
    pub id: Option<String>,
    /// The tools that an assistant calls.
    pub tool_calls: Vec<ToolCall>,
    /// The call that a tool message answers.
    pub tool_call_id: Option<String>,
    /// All other fields, as they came.
    pub extra: Map<String, Value>,
}

impl Message {
    /// The fields that have a place of their own, in the order in which they are written.
    pub(crate) const FIELDS: [&str; 6] = ["role", "content", "name", "id", "tool_calls", "tool_call_id"];

    /// Creates a message with only a role and content.
    pub fn new(role: Role, content: impl Into<Content>) -> Self {
        Self {
            role,
            content: Some(content.into()),
            name: None,
            id: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
            extra: Map::new(),
        }
    }

    /// Creates instructions to the model.
    pub fn system(content: impl Into<Content>) -> Self {
        Self::new(Role::System, content)
    }

    /// Creates a user's message.
    pub fn user(content: impl Into<Content>) -> Self {
        Self::new(Role::User, content)
    }

    /// Creates a model's answer.
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self::new(Role::Assistant, content)
    }

    /// Creates a model's message that only calls tools.
    pub fn tool_calls(calls: impl IntoIterator<Item = ToolCall>) -> Self {
        let extra = Map::from_iter([("content".to_owned(), Value::Null)]);
        Self { content: None, tool_calls: calls.into_iter().collect(), extra, ..Self::new(Role::Assistant, "") }
    }

    /// Creates the result of the tool call with this id.
    pub fn tool(tool_call_id: impl Into<String>, content: impl Into<Content>) -> Self {
        Self { tool_call_id: Some(tool_call_id.into()), ..Self::new(Role::Tool, content) }
    }

    /// Sets the author's name, or the tool's.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the message's own id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the tools that the assistant calls.
    #[must_use]
    pub fn with_tool_calls(mut self, calls: impl IntoIterator<Item = ToolCall>) -> Self {
        self.tool_calls = calls.into_iter().collect();
        self
    }

    /// Sets the call that the message answers.
    #[must_use]
    pub fn with_tool_call_id(mut self, id: impl Into<String>) -> Self {
        self.tool_call_id = Some(id.into());
        self
    }

    /// Sets a field that has no place of its own.
    #[must_use]
    pub fn with_extra(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(field.into(), value.into());
        self
    }

    /// Returns the message's text: its content if that is text, otherwise its text [parts](Self::parts) joined.
    pub fn text(&self) -> String {
        match &self.content {
            Some(Content::Text(text)) => text.clone(),
            _ => self.parts().iter().filter_map(Part::as_text).collect(),
        }
    }

    /// Returns the parts of the message's content, or the `parts` of a Gemini content. Empty if the content is text.
    pub fn parts(&self) -> Cow<'_, [Part]> {
        match &self.content {
            Some(Content::Parts(parts)) => Cow::Borrowed(parts),
            Some(Content::Text(_)) => Cow::Borrowed(&[]),
            None => {
                let parts = tools::gemini_parts(self).into_iter().flatten().filter_map(Value::as_object);
                Cow::Owned(parts.cloned().map(Part).collect())
            }
        }
    }

    /// Whether this message begins a turn: it is a user's and contains no tool result.
    ///
    /// Anthropic, Bedrock and Gemini put a tool's result into a user's message. Such a message belongs to the turn in which the
    /// tool was called, whatever else it contains: a cut before it would separate the call from its result.
    ///
    /// ```
    /// use chat_memory::Message;
    /// let result = r#"{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "21 °C"}]}"#;
    /// assert!(!Message::from_json(result)?.begins_turn());
    /// assert!(Message::user("And in Rome?").begins_turn());
    /// # Ok::<(), chat_memory::MessageError>(())
    /// ```
    pub fn begins_turn(&self) -> bool {
        tools::begins_turn(self)
    }

    /// Returns the message's JSON form.
    pub fn to_value(&self) -> Value {
        json::value(self)
    }

    /// Returns the text of the message's JSON form.
    pub fn to_json(&self) -> String {
        json::text(self)
    }

    /// Parses a message's JSON form.
    ///
    /// # Errors
    /// [`MessageError`] as [`json::parse`] and [`Message::from_value`].
    pub fn from_json(text: &str) -> Result<Self, MessageError> {
        Self::from_value(json::parse(text).map_err(|e| MessageError::new(e.to_string()))?)
    }

    /// Reads a message's JSON form.
    ///
    /// # Errors
    /// [`MessageError`] if it is not an object, has no known `role`, or has a field of the wrong type; the error names the field.
    pub fn from_value(value: Value) -> Result<Self, MessageError> {
        Self::from_value_among(value, ROLES)
    }

    /// Like [`from_value`](Self::from_value), with the roles that an error lists.
    pub(crate) fn from_value_among(value: Value, roles: &str) -> Result<Self, MessageError> {
        let Value::Object(fields) = value else { return Err(refused::not_an_object(&value)) };
        match role_of(names(&fields)) {
            Ok(role) => Ok(Self::of(role, owned(fields))),
            Err(Unfit::NoRole) => Err(refused::without_role(&fields, roles)),
            Err(Unfit::Field("role", Value::String(name))) => Err(refused::unknown_role(name, roles)),
            Err(Unfit::Field(name, value)) => Err(refused::wrong_field(name, value)),
        }
    }

    /// Reads an object; returns it if it is not a message.
    pub(crate) fn read(fields: Map<String, Value>) -> Result<Self, Map<String, Value>> {
        match role_of(names(&fields)) {
            Ok(role) => Ok(Self::of(role, owned(fields))),
            Err(_) => Err(fields),
        }
    }

    /// Whether these are the fields of a message.
    pub(crate) fn is_form_of(fields: &Map<String, Value>) -> bool {
        role_of(names(fields)).is_ok()
    }

    /// Makes a message of fields that were [checked](role_of).
    pub(crate) fn of(role: Role, fields: impl Iterator<Item = (Cow<'static, str>, Value)>) -> Self {
        let mut message = Self { content: None, ..Self::new(role, "") };
        for (key, value) in fields {
            match (&*key, value) {
                ("role", _) => {}
                ("content", Value::String(text)) => message.content = Some(Content::Text(text)),
                ("content", Value::Array(parts)) => message.content = Some(Content::Parts(objects(parts, Part))),
                ("name", Value::String(name)) => message.name = Some(name),
                ("id", Value::String(id)) => message.id = Some(id),
                ("tool_call_id", Value::String(id)) => message.tool_call_id = Some(id),
                ("tool_calls", Value::Array(calls)) if !calls.is_empty() => message.tool_calls = objects(calls, ToolCall),
                (_, other) => drop(message.extra.insert(key.into_owned(), other)),
            }
        }
        message
    }

    /// Returns how deeply the message's JSON form nests.
    pub(crate) fn depth(&self) -> usize {
        let of_fields = |fields: &Map<String, Value>| 1 + fields.values().map(json::depth).max().unwrap_or(0);
        let parts = match &self.content {
            Some(Content::Parts(parts)) => 1 + parts.iter().map(|part| of_fields(&part.0)).max().unwrap_or(0),
            _ => 0,
        };
        let calls = self.tool_calls.iter().map(|call| 1 + of_fields(&call.0)).max().unwrap_or(0);
        of_fields(&self.extra).max(1 + parts).max(1 + calls)
    }

    /// Checks that the message's JSON form does not nest deeper than [`json::MAX_DEPTH`].
    pub(crate) fn check_depth(&self) -> Result<(), MessageError> {
        if self.depth() > json::MAX_DEPTH { Err(MessageError::new(json::too_deep("message"))) } else { Ok(()) }
    }

    /// Checks that the message can be stored and loaded unchanged.
    ///
    /// # Errors
    /// [`MessageError`] if [`extra`](Message::extra) names a field that is also set directly, or if the JSON nests deeper than
    /// [`json::MAX_DEPTH`].
    pub fn check(&self) -> Result<(), MessageError> {
        self.check_depth()?;
        self.check_fields()
    }

    /// Checks that no field is set twice.
    pub(crate) fn check_fields(&self) -> Result<(), MessageError> {
        // Only such a field can make a difference, so most messages are not read again.
        let taken = self.extra.keys().find(|key| Self::FIELDS.contains(&key.as_str()));
        if let Some(field) = taken
            && Self::from_value(self.to_value())? != *self
        {
            return Err(MessageError::new(format!(
                "invalid extra field {field:?}: the message has a field of its own for it; set that one"
            )));
        }
        Ok(())
    }
}

/// Why fields are not those of a message.
pub(crate) enum Unfit<'a> {
    NoRole,
    /// The name and value of a field of the wrong type, or of an unknown role.
    Field(&'a str, &'a Value),
}

/// Checks that fields are those of a message, and returns its role.
pub(crate) fn role_of<'a>(fields: impl Iterator<Item = (&'a str, &'a Value)>) -> Result<Role, Unfit<'a>> {
    let (mut role, mut unfit) = (None, None);
    for (key, value) in fields {
        let fits = match (key, value) {
            ("role", _) => {
                let known = value.as_str().and_then(|name| name.parse().ok());
                role = Some(known.ok_or(Unfit::Field(key, value))?);
                true
            }
            (_, Value::Null) | ("content", Value::String(_)) => true,
            ("content" | "tool_calls", Value::Array(items)) => items.iter().all(Value::is_object),
            ("name" | "id" | "tool_call_id", value) => value.is_string(),
            (key, _) => !matches!(key, "content" | "tool_calls"),
        };
        if !fits && unfit.is_none() {
            unfit = Some(Unfit::Field(key, value));
        }
    }
    let role = role.ok_or(Unfit::NoRole)?;
    unfit.map_or(Ok(role), Err)
}

fn names(fields: &Map<String, Value>) -> impl Iterator<Item = (&str, &Value)> {
    fields.iter().map(|(key, value)| (key.as_str(), value))
}

fn owned(fields: Map<String, Value>) -> impl Iterator<Item = (Cow<'static, str>, Value)> {
    fields.into_iter().map(|(key, value)| (Cow::Owned(key), value))
}

/// Why a value is not a [`Message`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageError {
    reason: String,
    place: Option<usize>,
}

impl MessageError {
    pub(crate) fn new(reason: String) -> Self {
        Self { reason, place: None }
    }

    /// Sets the value's index in its list.
    pub(crate) fn at(self, place: usize) -> Self {
        Self { place: Some(place), ..self }
    }

    /// Returns the reason, without the place.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns the value's index in its list, from 0, if it was read from one.
    pub fn place(&self) -> Option<usize> {
        self.place
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "message {}: ", place + 1)?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for MessageError {}

/// Returns the objects of a list that contains only objects.
fn objects<T>(values: Vec<Value>, of: fn(Map<String, Value>) -> T) -> Vec<T> {
    let fields = |value| if let Value::Object(fields) = value { Some(of(fields)) } else { None };
    values.into_iter().filter_map(fields).collect()
}

pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
