//! Recognizes tool calls and their results in a message, in every form that people store.
//!
//! All other code (windows, turns, rewinds, display) asks this module.
//!
//! | form | calls | results |
//! |---|---|---|
//! | OpenAI's chat messages | `tool_calls`; the older `function_call` | role `tool` with `tool_call_id`; role `function` with `name` |
//! | Ollama | `tool_calls` without ids | role `tool`, with `tool_name` or nothing: by name, then by position |
//! | Anthropic | `tool_use`, `server_tool_use`, `mcp_tool_use` blocks | `tool_result`, `…_tool_result` blocks |
//! | Bedrock Converse | `toolUse` blocks | `toolResult` blocks |
//! | Gemini | `functionCall` parts | `functionResponse` parts: by id, or by name and position |
//! | Responses API | items of type `…_call` with a `call_id`, `mcp_approval_request` | items of type `…_output`, `mcp_approval_response` |
//! | Vercel AI SDK | `tool-call` parts; a `UIMessage`'s tool parts without an output | `tool-result`, `tool-error` parts |
//! | LangChain | as OpenAI's; `tool_call` and `server_tool_call` blocks | as OpenAI's; `server_tool_result` blocks |

use serde_json::{Map, Value};

use super::{Content, Message, Role};
use crate::wire::openai;

/// The order of calls and results that a form allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One message calls; the results follow it directly.
    Chat,
    /// Consecutive messages of the model are one turn for the provider, and so are consecutive results.
    Blocks,
    /// As blocks; in addition, a call directly follows a user's message or other results.
    Gemini,
    /// Calls are messages of their own; other output of the model may come between them and their results.
    Items,
}

/// How a result refers to its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// The call's id, if the form has one. An empty id names nothing.
    id: Option<&'a str>,
    /// The function's name.
    function: Option<&'a str>,
    /// For a result without an id: whether it may answer a call that has one.
    by_name: bool,
    /// For a call: whether the provider runs it, so that the model's own next message may hold the result.
    pub(crate) by_provider: bool,
}

impl<'a> Reference<'a> {
    fn new(id: Option<&'a Value>, function: Option<&'a Value>) -> Self {
        let text = |value: Option<&'a Value>| value.and_then(Value::as_str).filter(|text| !text.is_empty());
        Self { id: text(id), function: text(function), by_name: false, by_provider: false }
    }

    fn by_provider(self, is: bool) -> Self {
        Self { by_provider: is, ..self }
    }

    /// Whether both have the same id.
    pub(crate) fn has_id_of(&self, other: &Self) -> bool {
        self.id.is_some() && self.id == other.id
    }

    /// Returns the index in `open` of the call that this result answers.
    pub(crate) fn answers(&self, open: &[Self]) -> Option<usize> {
        if let Some(id) = self.id
            && let Some(at) = open.iter().position(|call| call.id == Some(id))
        {
            return Some(at);
        }
        // By name; by position if several calls have that name or no name is known.
        open.iter().position(|call| {
            let unnamed = call.id.is_none() || (self.by_name && self.id.is_none());
            unnamed && (self.function.is_none() || call.function.is_none() || self.function == call.function)
        })
    }
}

/// The tool calls and results in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToolUse<'a> {
    pub(crate) form: Form,
    pub(crate) role: Role,
    /// The calls that are not answered in the message itself.
    pub(crate) calls: Vec<Reference<'a>>,
    /// The results of calls that are in other messages.
    pub(crate) results: Vec<Reference<'a>>,
    /// Whether something precedes a result where the provider requires results first.
    pub(crate) misplaced: bool,
    /// Whether it contains anything besides results.
    pub(crate) says_more: bool,
    /// Whether it is the model's reasoning, which the provider accepts only with the output that follows it.
    pub(crate) is_reasoning: bool,
    /// Whether the message may continue what began before it.
    pub(crate) may_continue: bool,
}

/// A piece of a message.
enum Piece<'a> {
    Call(Reference<'a>),
    Result(Reference<'a>),
    /// A result that must come first among a message's blocks.
    FirstResult(Reference<'a>),
    Other,
    /// Not shown to the model.
    Nothing,
}

impl<'a> ToolUse<'a> {
    pub(crate) fn of(message: &'a Message) -> Self {
        let form = form(message);
        let mut of = Self {
            form,
            role: message.role,
            calls: Vec::new(),
            results: Vec::new(),
            misplaced: false,
            says_more: false,
            is_reasoning: is_unroled(message) && item_type(message) == Some("reasoning"),
            may_continue: false,
        };
        for piece in pieces(message) {
            of.add(piece);
        }
        let has_blocks = matches!(message.content, Some(Content::Parts(_))) || form != Form::Chat;
        of.may_continue = !of.results.is_empty() || (message.role == Role::Assistant && has_blocks);
        of
    }

    fn add(&mut self, piece: Piece<'a>) {
        match piece {
            Piece::Call(call) => self.calls.push(call),
            Piece::Result(result) | Piece::FirstResult(result) if result.answers(&self.calls).is_some() => {
                // Answered in the same message: a tool that the provider ran.
                result.answers(&self.calls).map(|at| self.calls.remove(at));
                self.says_more = true;
            }
            Piece::FirstResult(result) => {
                self.misplaced |= self.says_more;
                self.results.push(result);
            }
            Piece::Result(result) => self.results.push(result),
            Piece::Other => self.says_more = true,
            Piece::Nothing => {}
        }
    }

    /// Whether it contains neither tool calls and results nor reasoning.
    pub(crate) fn is_plain(&self) -> bool {
        self.calls.is_empty() && self.results.is_empty() && !self.is_reasoning
    }
}

/// Whether a message calls tools, answers a call or is reasoning, in any form.
pub fn uses_tools(message: &Message) -> bool {
    !ToolUse::of(message).is_plain()
}

/// Whether this message begins a turn: see [`Message::begins_turn`].
pub(crate) fn begins_turn(message: &Message) -> bool {
    message.role == Role::User && !pieces(message).any(|piece| matches!(piece, Piece::Result(_) | Piece::FirstResult(_)))
}

/// Returns a Gemini content's parts.
pub(crate) fn gemini_parts(message: &Message) -> Option<&Vec<Value>> {
    message.extra.get("parts")?.as_array()
}

/// Returns the `type` of an item of the Responses API. A message with a role may have such a field for other reasons.
fn item_type(message: &Message) -> Option<&str> {
    let kind = message.extra.get("type")?.as_str()?;
    (kind == "message" || is_unroled(message) || message.extra.contains_key("call_id")).then_some(kind)
}

/// Whether it is an item of the Responses API other than a message.
pub(crate) fn is_item(message: &Message) -> bool {
    item_type(message).is_some_and(|kind| item(kind, &message.extra, message).is_some())
}

/// Whether it is an item that came without a role.
fn is_unroled(message: &Message) -> bool {
    openai::other_name(message.role, &message.extra) == Some(openai::NO_ROLE)
}

fn form(message: &Message) -> Form {
    let by_provider = |part: &super::Part| matches!(block(part.fields(), false), Piece::Call(call) if call.by_provider);
    let waits = || matches!(&message.content, Some(Content::Parts(parts)) if parts.iter().any(by_provider));
    if message.tool_call_id.is_some() || (!message.tool_calls.is_empty() && !waits()) {
        return Form::Chat;
    }
    let has_calls =
        |parts: &[super::Part]| parts.iter().any(|part| !matches!(block(part.fields(), false), Piece::Other | Piece::Nothing));
    // The AI SDK passes its messages to any provider and does not join messages of the model.
    let of_ai_sdk = |part: &super::Part| matches!(part.kind(), Some("tool-call" | "tool-result" | "tool-error"));
    match &message.content {
        _ if gemini_parts(message).is_some() => Form::Gemini,
        Some(Content::Parts(parts)) if parts.iter().any(of_ai_sdk) => Form::Chat,
        // A complete response of Anthropic's has a type, too.
        Some(Content::Parts(parts)) if has_calls(parts) => Form::Blocks,
        _ if item_type(message).is_some() => Form::Items,
        Some(Content::Parts(_)) => Form::Blocks,
        _ => Form::Chat,
    }
}

/// Returns the pieces of a message, in order.
fn pieces(message: &Message) -> Box<dyn Iterator<Item = Piece<'_>> + '_> {
    let of_assistant = message.role == Role::Assistant;
    if message.role == Role::Tool && message.tool_call_id.as_deref().is_some_and(|id| !id.is_empty()) {
        // Whatever its content holds is the tool's output.
        let id = message.tool_call_id.as_deref();
        return Box::new(std::iter::once(Piece::Result(Reference { id, function: None, by_name: false, by_provider: false })));
    }
    if let Some(parts) = gemini_parts(message) {
        return Box::new(parts.iter().filter_map(Value::as_object).map(|part| block(part, false)));
    }
    if let Some(kind) = item_type(message)
        && let Some(piece) = item(kind, &message.extra, message)
    {
        return Box::new(std::iter::once(piece));
    }
    if let Some(Content::Parts(parts)) = &message.content
        && (message.role != Role::Tool || parts.iter().any(|part| is_result(part.fields())))
    {
        let results_first = message.role == Role::User;
        let blocks = parts.iter().map(move |part| block(part.fields(), results_first));
        // LangChain repeats `tool_calls` in the content, in the provider's form.
        let said = message.tool_calls.iter().filter_map(|call| call.id()).collect::<Vec<_>>();
        let is_repeated = move |call: &Reference<'_>| !said.is_empty() && call.id.is_none_or(|id| said.contains(&id));
        let blocks = blocks.map(move |piece| match piece {
            Piece::Call(call) if is_repeated(&call) => Piece::Other,
            piece => piece,
        });
        return Box::new(blocks.chain(chat_calls(message)));
    }
    match message.role {
        Role::Tool => Box::new(std::iter::once(Piece::Result(chat_result(message)))),
        _ if of_assistant => Box::new(std::iter::once(Piece::Other).chain(chat_calls(message))),
        _ => Box::new(std::iter::once(Piece::Other)),
    }
}

fn chat_calls(message: &Message) -> impl Iterator<Item = Piece<'_>> {
    let calls = message.tool_calls.iter().filter(|_| message.role == Role::Assistant).map(|call| {
        let fields = call.fields();
        let named = |kind: &str| fields.get(kind).and_then(|function| function.get("name"));
        Piece::Call(Reference::new(fields.get("id"), named("function").or_else(|| named("custom"))))
    });
    // If both are present, LangChain wrote the same call twice.
    let function = openai::function_call(message).filter(|_| message.tool_calls.is_empty());
    calls.chain(function.map(|call| Piece::Call(Reference::new(None, call.get("name")))))
}

/// A message of role `tool` or `function` that is a result as a whole and names no call.
fn chat_result(message: &Message) -> Reference<'_> {
    let tool_name = message.extra.get("tool_name").and_then(Value::as_str);
    Reference { id: None, function: tool_name.or(message.name.as_deref()), by_name: tool_name.is_some(), by_provider: false }
}

fn is_result(fields: &Map<String, Value>) -> bool {
    matches!(block(fields, false), Piece::Result(_) | Piece::FirstResult(_))
}

/// Whether a part of a content is a tool call or a result, answered or not.
pub(crate) fn is_tool_part(fields: &Map<String, Value>) -> bool {
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    // A UIMessage's part of a tool is a call and its result in one.
    let is_of_ui = kind == "dynamic-tool" || kind.starts_with("tool-");
    is_of_ui || matches!(block(fields, false), Piece::Call(_) | Piece::Result(_) | Piece::FirstResult(_))
}

/// Classifies a block or part of a content.
fn block(fields: &Map<String, Value>, results_first: bool) -> Piece<'_> {
    let get = |key: &str| fields.get(key);
    let inner = |names: [&str; 2]| names.iter().find_map(|name| fields.get(*name)).and_then(Value::as_object);
    let kind = get("type").and_then(Value::as_str).unwrap_or_default();
    match kind {
        "tool_use" | "tool_call" => Piece::Call(Reference::new(get("id"), get("name"))),
        "server_tool_use" | "mcp_tool_use" | "server_tool_call" => {
            Piece::Call(Reference::new(get("id"), get("name")).by_provider(true))
        }
        "tool_result" if results_first => Piece::FirstResult(Reference::new(get("tool_use_id"), None)),
        "server_tool_result" => Piece::Result(Reference::new(get("tool_call_id"), None)),
        _ if kind == "tool_result" || kind.ends_with("_tool_result") => Piece::Result(Reference::new(get("tool_use_id"), None)),
        // A tool part of a UIMessage holds the result, too.
        _ if get("state").is_some_and(Value::is_string) && (kind == "dynamic-tool" || kind.starts_with("tool-")) => {
            let answered = get("state").and_then(Value::as_str).is_some_and(|state| state.starts_with("output"));
            if answered { Piece::Other } else { Piece::Call(Reference::new(get("toolCallId"), get("toolName"))) }
        }
        "tool-call" => {
            let by_provider = get("providerExecuted") == Some(&Value::Bool(true));
            Piece::Call(Reference::new(get("toolCallId"), get("toolName")).by_provider(by_provider))
        }
        "tool-result" | "tool-error" => Piece::Result(Reference::new(get("toolCallId"), None)),
        "tool-invocation" => match inner(["toolInvocation", "tool_invocation"]) {
            Some(call) if call.get("state").is_none_or(|state| state != "result") => {
                Piece::Call(Reference::new(call.get("toolCallId"), call.get("toolName")))
            }
            _ => Piece::Other,
        },
        _ if kind.ends_with("_call") && get("call_id").is_some_and(Value::is_string) => {
            Piece::Call(Reference::new(get("call_id"), get("name")))
        }
        _ if kind.ends_with("_output") && get("call_id").is_some_and(Value::is_string) => {
            Piece::Result(Reference::new(get("call_id"), None))
        }
        _ => {
            if let Some(call) = inner(["toolUse", "tool_use"]) {
                let by_provider = call.get("type").is_some_and(|kind| kind == "server_tool_use");
                Piece::Call(Reference::new(call.get("toolUseId"), call.get("name")).by_provider(by_provider))
            } else if let Some(result) = inner(["toolResult", "tool_result"]) {
                Piece::Result(Reference::new(result.get("toolUseId"), None))
            } else if let Some(call) = inner(["functionCall", "function_call"]) {
                Piece::Call(Reference::new(call.get("id"), call.get("name")))
            } else if let Some(result) = inner(["functionResponse", "function_response"]) {
                Piece::Result(Reference { by_name: true, ..Reference::new(result.get("id"), result.get("name")) })
            } else if fields.contains_key("cachePoint") {
                Piece::Nothing
            } else {
                Piece::Other
            }
        }
    }
}

/// Classifies an item of the Responses API; `None` if it is a message.
fn item<'a>(kind: &str, fields: &'a Map<String, Value>, message: &'a Message) -> Option<Piece<'a>> {
    let own_id = || message.id.as_deref().filter(|id| !id.is_empty());
    let named = |id: Option<&'a str>, function: Option<&'a str>| Reference { id, function, by_name: false, by_provider: false };
    let call_id = || fields.get("call_id").and_then(Value::as_str).filter(|id| !id.is_empty());
    Some(match kind {
        "message" => return None,
        "mcp_approval_request" => Piece::Call(named(own_id(), None)),
        "mcp_approval_response" => Piece::Result(Reference::new(fields.get("approval_request_id"), None)),
        _ if kind.ends_with("_call") => match call_id() {
            Some(id) => Piece::Call(named(Some(id), message.name.as_deref())),
            // The provider ran it, and the item holds its result.
            None => Piece::Other,
        },
        // A shell's output names its call in `id`.
        _ if role_of_item(kind) == Some(Role::Tool) => Piece::Result(named(call_id().or_else(own_id), None)),
        _ if is_unroled(message) => Piece::Other,
        _ => return None,
    })
}

/// Returns the role of an item of the Responses API that names none; `None` if it is not such an item.
pub(crate) fn role_of_item(kind: &str) -> Option<Role> {
    match kind {
        "mcp_approval_response" => Some(Role::Tool),
        "reasoning" | "mcp_list_tools" | "mcp_approval_request" | "compaction" => Some(Role::Assistant),
        _ if kind.ends_with("_call") => Some(Role::Assistant),
        _ if kind.ends_with("_call_output") || kind == "tool_search_output" => Some(Role::Tool),
        _ => None,
    }
}
