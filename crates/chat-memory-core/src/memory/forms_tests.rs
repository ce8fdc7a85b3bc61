//! Tests windows and rewinds in each form that people store, by each provider's own rules.
//!
//! A conversation is a script in which a character stands for one or a few messages. [`Form::write`] writes it in a form, and
//! [`Form::takes`] checks what a window shows of it. The check implements the provider's documented rules and shares no code with
//! what it checks.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};

use super::*;
use crate::memory::{TokenCounter, recall};
use crate::message::Message;
use crate::session::SessionId;
use crate::store::{Append, ChatStore, ChatStoreExt, InMemoryStore, Load};
use crate::wire::{Format, openai};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    OpenAi,
    /// OpenAI's older form: one function instead of tools.
    Functions,
    Ollama,
    Anthropic,
    Bedrock,
    Gemini,
    /// Gemini's calls with ids, as its newer models write them.
    GeminiIds,
    Responses,
    AiSdk,
}

const FORMS: [Form; 9] = [
    Form::OpenAi,
    Form::Functions,
    Form::Ollama,
    Form::Anthropic,
    Form::Bedrock,
    Form::Gemini,
    Form::GeminiIds,
    Form::Responses,
    Form::AiSdk,
];

/// Any script: `u`ser, `a`nswer, one `c`all, two calls (`d`), two calls in two messages if the form allows that (`e`), a call
/// with a text (`k`), one that the provider runs (`h`), reasoning (`t`), `r`esults in as few messages as the form allows,
/// `s`pread results, one of the results (`p`), results and a question in one message if the form allows that (`m`), a question
/// before results (`w`), a result of an unknown call (`x`), and the last result once more (`y`).
const ANY: &str = "[uuaacdekhtrrspmwxy]{0,14}";

/// A script that each provider accepts as a whole.
fn sound() -> impl Strategy<Value = String> {
    let step = prop::sample::select(&["cr", "dr", "ds", "er", "es", "kr", "h", "tcr", "tds", "crcr"][..]);
    let end = prop::sample::select(&["a", "", "ta"][..]);
    let turn = (prop::collection::vec(step, 0..3), end).prop_map(|(steps, end)| format!("u{}{end}", steps.concat()));
    prop::collection::vec(turn, 0..5).prop_map(|turns| turns.concat())
}

/// The state of writing: the open calls, and what was said so far.
#[derive(Default)]
struct Script {
    values: Vec<Value>,
    open: Vec<(String, String)>,
    last: Option<(String, String)>,
    made: usize,
    reasoning: usize,
}

impl Script {
    fn calls(&mut self, n: usize) -> Vec<(String, String)> {
        let calls: Vec<_> = (0..n)
            .map(|_| {
                self.made += 1;
                (format!("c{}", self.made), format!("f{}", self.made % 3))
            })
            .collect();
        self.open.extend(calls.iter().cloned());
        calls
    }
}

impl Form {
    fn write(self, script: &str) -> Vec<Message> {
        let values = self.values(script).into_iter();
        values.map(|value| openai::from_value(value).expect("a message that can be stored")).collect()
    }

    fn values(self, script: &str) -> Vec<Value> {
        let mut of = Script::default();
        for c in script.chars() {
            self.step(c, &mut of);
        }
        of.values
    }

    fn step(self, c: char, of: &mut Script) {
        // The older form has one call at a time.
        let few = |n| if self == Self::Functions { 1 } else { n };
        match c {
            'u' => of.values.push(self.user("?")),
            'a' => self.answer("!", of),
            'c' | 'k' => {
                let calls = of.calls(1);
                self.call(&calls, c == 'k', of);
            }
            'd' => {
                let calls = of.calls(few(2));
                self.call(&calls, false, of);
            }
            'e' => {
                let calls = of.calls(few(2));
                let split = matches!(self, Self::Anthropic | Self::Bedrock | Self::Gemini | Self::GeminiIds);
                if split {
                    calls.iter().for_each(|call| self.call(std::slice::from_ref(call), false, of));
                } else {
                    self.call(&calls, false, of);
                }
            }
            'h' => self.hosted(of),
            't' => self.reason(of),
            'r' | 's' | 'm' | 'w' => {
                let results = std::mem::take(&mut of.open);
                of.last = results.last().cloned().or(of.last.take());
                self.results(&results, c, of);
            }
            'p' => {
                let results: Vec<_> = of.open.drain(..of.open.len().min(1)).collect();
                of.last = results.last().cloned().or(of.last.take());
                self.results(&results, 'r', of);
            }
            'x' => self.results(&[("unknown".into(), "f9".into())], 'r', of),
            _ => {
                let last: Vec<_> = of.last.clone().into_iter().collect();
                self.results(&last, 'r', of);
            }
        }
    }

    fn user(self, text: &str) -> Value {
        match self {
            Self::Bedrock => json!({"role": "user", "content": [{"text": text}]}),
            Self::Gemini | Self::GeminiIds => json!({"role": "user", "parts": [{"text": text}]}),
            Self::Responses => json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}),
            _ => json!({"role": "user", "content": text}),
        }
    }

    fn answer(self, text: &str, of: &mut Script) {
        of.values.push(match self {
            Self::Anthropic => json!({"role": "assistant", "content": [{"type": "text", "text": text}]}),
            Self::Bedrock => json!({"role": "assistant", "content": [{"text": text}]}),
            Self::Gemini | Self::GeminiIds => json!({"role": "model", "parts": [{"text": text}]}),
            Self::Responses => {
                json!({"type": "message", "role": "assistant", "id": self.item_id("msg", of), "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}]})
            }
            Self::AiSdk => json!({"role": "assistant", "content": [{"type": "text", "text": text}]}),
            _ => json!({"role": "assistant", "content": text}),
        });
    }

    /// An item's id, which here names the reasoning that it belongs to.
    fn item_id(self, kind: &str, of: &Script) -> String {
        let is_reasoned = of.values.iter().rev().take_while(|value| is_of_model(value)).any(|value| value["type"] == "reasoning");
        if is_reasoned { format!("{kind}_of_rs{}", of.reasoning) } else { format!("{kind}_{}", of.values.len()) }
    }

    fn call(self, calls: &[(String, String)], says: bool, of: &mut Script) {
        let list = |one: &dyn Fn(&str, &str) -> Value, text: Value| -> Vec<Value> {
            says.then_some(text).into_iter().chain(calls.iter().map(|(id, name)| one(id, name))).collect()
        };
        let content = if says { json!("let me see") } else { Value::Null };
        let value = match self {
            Self::OpenAi => json!({"role": "assistant", "content": content, "tool_calls": list(
                &|id, name| json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}}), Value::Null)
                .into_iter().filter(|call| !call.is_null()).collect::<Vec<_>>()}),
            Self::Functions => {
                json!({"role": "assistant", "content": content, "function_call": {"name": calls[0].1, "arguments": "{}"}})
            }
            Self::Ollama => json!({"role": "assistant", "content": "", "tool_calls":
                calls.iter().map(|(_, name)| json!({"function": {"name": name, "arguments": {}}})).collect::<Vec<_>>()}),
            Self::Anthropic => json!({"role": "assistant", "content": list(
                &|id, name| json!({"type": "tool_use", "id": id, "name": name, "input": {}}), json!({"type": "text", "text": "let me see"}))}),
            Self::Bedrock => json!({"role": "assistant", "content": list(
                &|id, name| json!({"toolUse": {"toolUseId": id, "name": name, "input": {}}}), json!({"text": "let me see"}))}),
            Self::Gemini => json!({"role": "model", "parts": list(
                &|_, name| json!({"functionCall": {"name": name, "args": {}}}), json!({"text": "let me see"}))}),
            Self::GeminiIds => json!({"role": "model", "parts": list(
                &|id, name| json!({"function_call": {"id": id, "name": name, "args": {}}}), json!({"text": "let me see"}))}),
            Self::AiSdk => json!({"role": "assistant", "content": list(
                &|id, name| json!({"type": "tool-call", "toolCallId": id, "toolName": name, "input": {}}), json!({"type": "text", "text": "let me see"}))}),
            Self::Responses => {
                if says {
                    self.answer("let me see", of);
                }
                for (at, (id, name)) in calls.iter().enumerate() {
                    let item = self.item_id("fc", of);
                    of.values.push(if at == 1 {
                        json!({"type": "custom_tool_call", "id": item, "call_id": id, "name": name, "input": "x"})
                    } else {
                        json!({"type": "function_call", "id": item, "call_id": id, "name": name, "arguments": "{}", "status": "completed"})
                    });
                }
                return;
            }
        };
        of.values.push(value);
    }

    /// A tool that the provider runs itself.
    fn hosted(self, of: &mut Script) {
        let n = of.values.len();
        match self {
            Self::Anthropic => {
                let call = json!({"type": "server_tool_use", "id": format!("s{n}"), "name": "web_search", "input": {}});
                let result = json!({"type": "web_search_tool_result", "tool_use_id": format!("s{n}"), "content": []});
                // The answer is complete, or paused and continued in the next message.
                if n.is_multiple_of(2) {
                    of.values.push(json!({"role": "assistant", "content": [call, result, {"type": "text", "text": "!"}]}));
                } else {
                    of.values.push(json!({"role": "assistant", "content": [call]}));
                    of.values.push(json!({"role": "assistant", "content": [result, {"type": "text", "text": "!"}]}));
                }
            }
            Self::AiSdk => of.values.push(json!({"role": "assistant", "content": [
                {"type": "tool-call", "toolCallId": format!("s{n}"), "toolName": "web_search", "input": {}, "providerExecuted": true},
                {"type": "tool-result", "toolCallId": format!("s{n}"), "toolName": "web_search", "output": {"type": "json", "value": []}}]})),
            Self::Responses => {
                let id = self.item_id("ws", of);
                of.values.push(json!({"type": "web_search_call", "id": id, "status": "completed", "action": {"type": "search", "query": "x"}}));
            }
            _ => self.answer("!", of),
        }
    }

    fn reason(self, of: &mut Script) {
        if self == Self::Responses {
            of.reasoning += 1;
            of.values.push(
                json!({"type": "reasoning", "id": format!("rs{}", of.reasoning), "summary": [], "encrypted_content": "gAAA"}),
            );
        }
    }

    fn results(self, results: &[(String, String)], how: char, of: &mut Script) {
        let one = |(id, name): &(String, String)| match self {
            Self::OpenAi => json!({"role": "tool", "tool_call_id": id, "content": "21"}),
            Self::Functions => json!({"role": "function", "name": name, "content": "21"}),
            Self::Ollama => json!({"role": "tool", "tool_name": name, "content": "21"}),
            Self::Anthropic => json!({"type": "tool_result", "tool_use_id": id, "content": "21"}),
            Self::Bedrock => json!({"toolResult": {"toolUseId": id, "content": [{"text": "21"}], "status": "success"}}),
            Self::Gemini => json!({"functionResponse": {"name": name, "response": {"result": 21}}}),
            Self::GeminiIds => json!({"function_response": {"id": id, "name": name, "response": {"result": 21}}}),
            Self::AiSdk => {
                json!({"type": "tool-result", "toolCallId": id, "toolName": name, "output": {"type": "text", "value": "21"}})
            }
            Self::Responses => {
                // The two kinds of calls have two kinds of outputs.
                let custom = of.values.iter().any(|value| value["call_id"] == **id && value["type"] == "custom_tool_call");
                let kind = if custom { "custom_tool_call_output" } else { "function_call_output" };
                json!({"type": kind, "call_id": id, "output": "21"})
            }
        };
        let mut written: Vec<Value> = results.iter().map(one).collect();
        let question = match (how, self) {
            ('m' | 'w', Self::Anthropic) => Some(json!({"type": "text", "text": "?"})),
            ('m', Self::Bedrock | Self::Gemini | Self::GeminiIds) => Some(json!({"text": "?"})),
            _ => None,
        };
        if let Some(text) = question {
            written.insert(if how == 'w' { 0 } else { written.len() }, text);
        }
        let wrap = |blocks: &[Value]| match self {
            Self::Anthropic | Self::Bedrock => json!({"role": "user", "content": blocks}),
            Self::Gemini => json!({"role": "function", "parts": blocks}),
            Self::GeminiIds => json!({"role": "user", "parts": blocks}),
            _ => json!({"role": "tool", "content": blocks}),
        };
        match self {
            Self::Anthropic | Self::Bedrock | Self::Gemini | Self::GeminiIds | Self::AiSdk => {
                let size = if how == 's' { 1 } else { written.len().max(1) };
                of.values.extend(written.chunks(size).map(wrap));
            }
            _ => of.values.extend(written),
        }
    }

    /// Whether the provider accepts these messages.
    fn takes(self, messages: &[Value]) -> Result<(), String> {
        match self {
            Self::OpenAi => openai_takes(messages),
            Self::Functions => functions_take(messages),
            Self::Ollama => ollama_takes(messages),
            Self::Anthropic => blocks_take(messages, &anthropic_block),
            Self::Bedrock => blocks_take(messages, &bedrock_block),
            Self::AiSdk => ai_sdk_takes(messages),
            Self::Gemini | Self::GeminiIds => gemini_takes(messages),
            Self::Responses => responses_take(messages),
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn is_of_model(item: &Value) -> bool {
    item["role"] == "assistant" || (item.get("role").is_none() && !text(&item["type"]).ends_with("_output"))
}

/// "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'."
fn openai_takes(messages: &[Value]) -> Result<(), String> {
    let mut open: Vec<String> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        if message["role"] == "tool" {
            let id = text(&message["tool_call_id"]);
            let place = open.iter().position(|call| *call == id).ok_or(format!("{at}: a result without its call"))?;
            open.remove(place);
            continue;
        }
        if !open.is_empty() {
            return Err(format!("{at}: calls are not answered"));
        }
        open = list(&message["tool_calls"]).iter().map(|call| text(&call["id"])).collect();
    }
    if open.is_empty() { Ok(()) } else { Err("the last calls are not answered".into()) }
}

/// A message of role `function` answers the `function_call` directly before it.
fn functions_take(messages: &[Value]) -> Result<(), String> {
    for (at, message) in messages.iter().enumerate() {
        let before = at.checked_sub(1).map_or(&Value::Null, |before| &messages[before]);
        let answers = message["role"] == "function";
        if answers && before["function_call"]["name"] != message["name"] {
            return Err(format!("{at}: a result without its call"));
        }
        let next = messages.get(at + 1).unwrap_or(&Value::Null);
        if message["function_call"].is_object() && next["role"] != "function" {
            return Err(format!("{at}: a call is not answered"));
        }
    }
    Ok(())
}

/// A message's calls are answered by as many tool messages directly after it; a `tool_name` names one of the functions.
fn ollama_takes(messages: &[Value]) -> Result<(), String> {
    let mut open: Vec<String> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        if message["role"] == "tool" {
            let name = text(&message["tool_name"]);
            let place = open.iter().position(|call| *call == name).ok_or(format!("{at}: a result without its call"))?;
            open.remove(place);
            continue;
        }
        if !open.is_empty() {
            return Err(format!("{at}: calls are not answered"));
        }
        open = list(&message["tool_calls"]).iter().map(|call| text(&call["function"]["name"])).collect();
    }
    if open.is_empty() { Ok(()) } else { Err("the last calls are not answered".into()) }
}

/// The role of a block in the rules.
enum Block {
    Call(String),
    Result(String),
    HostedCall(String),
    HostedResult(String),
    Other,
}

fn anthropic_block(block: &Value) -> Block {
    match block["type"].as_str().unwrap_or_default() {
        "tool_use" => Block::Call(text(&block["id"])),
        "tool_result" => Block::Result(text(&block["tool_use_id"])),
        "server_tool_use" | "mcp_tool_use" => Block::HostedCall(text(&block["id"])),
        kind if kind.ends_with("_tool_result") => Block::HostedResult(text(&block["tool_use_id"])),
        _ => Block::Other,
    }
}

fn bedrock_block(block: &Value) -> Block {
    if let Some(call) = block.get("toolUse") {
        Block::Call(text(&call["toolUseId"]))
    } else if let Some(result) = block.get("toolResult") {
        Block::Result(text(&result["toolUseId"]))
    } else {
        Block::Other
    }
}

/// Anthropic: "consecutive user or assistant turns in your request will be combined into a single turn"; "tool result blocks must
/// immediately follow their corresponding tool use blocks"; in the user's message "the tool_result blocks must come FIRST".
/// Bedrock also requires the results of all calls in the next message.
fn blocks_take(messages: &[Value], kind: &dyn Fn(&Value) -> Block) -> Result<(), String> {
    let mut turns: Vec<(bool, Vec<Block>)> = Vec::new();
    for message in messages {
        let of_model = message["role"] == "assistant";
        let blocks = if message["content"].is_string() {
            vec![Block::Other]
        } else {
            list(&message["content"]).iter().map(kind).collect()
        };
        match turns.last_mut() {
            Some((last, all)) if *last == of_model => all.extend(blocks),
            _ => turns.push((of_model, blocks)),
        }
    }
    let mut open: Vec<String> = Vec::new();
    for (at, (of_model, blocks)) in turns.iter().enumerate() {
        let (mut others, mut hosted) = (false, Vec::new());
        for block in blocks {
            match block {
                Block::Call(id) if *of_model => open.push(id.clone()),
                Block::Result(id) if !of_model => {
                    if others {
                        return Err(format!("turn {at}: a result behind something else"));
                    }
                    let place = open.iter().position(|call| call == id).ok_or(format!("turn {at}: a result without its call"))?;
                    open.remove(place);
                }
                Block::HostedCall(id) => hosted.push(id),
                Block::HostedResult(id) => {
                    let place = hosted
                        .iter()
                        .position(|call| *call == id)
                        .ok_or(format!("turn {at}: a hosted result without its call"))?;
                    hosted.remove(place);
                }
                Block::Other => others = true,
                _ => return Err(format!("turn {at}: a block of the other side")),
            }
        }
        if !hosted.is_empty() || (!of_model && !open.is_empty()) {
            return Err(format!("turn {at}: calls are not answered"));
        }
    }
    if open.is_empty() { Ok(()) } else { Err("the last calls are not answered".into()) }
}

/// The AI SDK's check of its prompts: each call has its result before the next message of the user or the assistant.
fn ai_sdk_takes(messages: &[Value]) -> Result<(), String> {
    let mut open: Vec<String> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        if message["role"] != "tool" && !open.is_empty() {
            return Err(format!("{at}: calls are not answered"));
        }
        for part in list(&message["content"]) {
            match part["type"].as_str() {
                Some("tool-call") => open.push(text(&part["toolCallId"])),
                Some("tool-result") => {
                    let id = text(&part["toolCallId"]);
                    let place = open.iter().position(|call| *call == id).ok_or(format!("{at}: a result without its call"))?;
                    open.remove(place);
                }
                _ => {}
            }
        }
        if message["role"] == "tool" && list(&message["content"]).is_empty() {
            return Err(format!("{at}: no result"));
        }
    }
    if open.is_empty() { Ok(()) } else { Err("the last calls are not answered".into()) }
}

/// "Please ensure that function call turn comes immediately after a user turn or after a function response turn", "… that function response
/// turn comes immediately after a function call turn", "… that the number of function response parts is equal to the number of function
/// call parts of the function call turn."
fn gemini_takes(messages: &[Value]) -> Result<(), String> {
    let mut turns: Vec<(bool, Vec<&Value>)> = Vec::new();
    for message in messages {
        let of_model = message["role"] == "model";
        let parts = list(&message["parts"]).iter();
        match turns.last_mut() {
            Some((last, all)) if *last == of_model => all.extend(parts),
            _ => turns.push((of_model, parts.collect())),
        }
    }
    let names = |parts: &[&Value], keys: [&str; 2]| {
        let mut names: Vec<String> = parts
            .iter()
            .filter_map(|part| keys.iter().find_map(|key| part.get(*key)))
            .map(|call| format!("{} {}", call["id"], call["name"]))
            .collect();
        names.sort();
        names
    };
    let mut called: Vec<String> = Vec::new();
    for (at, (of_model, parts)) in turns.iter().enumerate() {
        let calls = names(parts, ["functionCall", "function_call"]);
        let results = names(parts, ["functionResponse", "function_response"]);
        if results != called {
            return Err(format!("turn {at}: {called:?} is answered by {results:?}"));
        }
        let is_result = |part: &&Value| part.get("functionResponse").or(part.get("function_response")).is_some();
        if parts.iter().skip_while(|part| is_result(part)).any(is_result) {
            return Err(format!("turn {at}: a result behind something else"));
        }
        if !calls.is_empty() && (at == 0 || !of_model) {
            return Err(format!("turn {at}: a call that follows no user's turn"));
        }
        called = calls;
    }
    if called.is_empty() { Ok(()) } else { Err("the last calls are not answered".into()) }
}

/// "No tool output found for function call …", "No tool call found for function call output …", "Item '…' of type 'reasoning' was provided
/// without its required following item", "Item '…' of type 'function_call' was provided without its required 'reasoning' item".
fn responses_take(items: &[Value]) -> Result<(), String> {
    let mut open: Vec<String> = Vec::new();
    let mut reasoned = String::new();
    for (at, item) in items.iter().enumerate() {
        let kind = text(&item["type"]);
        if kind.ends_with("_output") {
            let id = text(&item["call_id"]);
            let place = open.iter().position(|call| *call == id).ok_or(format!("{at}: an output without its call"))?;
            open.remove(place);
        } else if !is_of_model(item) {
            if !open.is_empty() {
                return Err(format!("{at}: calls are not answered"));
            }
            reasoned.clear();
        } else if kind == "reasoning" {
            reasoned = text(&item["id"]);
            let next = items[at + 1..].iter().find(|next| next["type"] != "reasoning");
            if !next.is_some_and(is_of_model) {
                return Err(format!("{at}: reasoning without what follows it"));
            }
        } else {
            let id = text(&item["id"]);
            if let Some((_, needed)) = id.split_once("_of_")
                && needed != reasoned
            {
                return Err(format!("{at}: {id} without its reasoning"));
            }
            if let Some(call) = item.get("call_id") {
                open.push(text(call));
            }
        }
    }
    if open.is_empty() { Ok(()) } else { Err("the last calls are not answered".into()) }
}

/// Whether a message is a user's question and not a tool's result, judged by its JSON alone.
fn is_question(value: &Value) -> bool {
    let said = value.to_string();
    value["role"] == "user"
        && !["tool_result", "toolResult", "functionResponse", "function_response"].iter().any(|word| said.contains(word))
}

fn values(messages: &[Message]) -> Vec<Value> {
    messages.iter().map(openai::to_value).collect()
}

/// The forms that have a format of their own.
const FORMATS: [(Form, Format); 3] =
    [(Form::OpenAi, Format::OpenAi), (Form::Anthropic, Format::Anthropic), (Form::Responses, Format::Responses)];

/// The values of a request to the API that has this format.
fn request(format: Format, messages: &[Message]) -> Vec<Value> {
    let request = format.for_request(messages).expect("an API has it");
    request.messages.into_iter().map(|(_, value)| value).collect()
}

fn any_form() -> impl Strategy<Value = Form> {
    prop::sample::select(&FORMS[..])
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let limit = (0..4, 0..16_usize).prop_map(|(kind, n)| match kind {
        0 => Policy::everything(),
        1 => Policy::last_messages(n),
        2 => Policy::last_turns(n),
        _ => Policy::token_budget(n as u64, TokenCounter::custom(|message| 1 + message.text().len() as u64 / 4)),
    });
    (limit, any::<bool>()).prop_map(|(policy, user)| if user { policy.starting_at_user() } else { policy })
}

fn run<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(task)
}

/// Stores a conversation in records of these sizes.
async fn stored(messages: &[Message], sizes: &[usize]) -> (InMemoryStore, SessionId) {
    let (store, session) = (InMemoryStore::new(), SessionId::random());
    let mut rest = messages;
    for size in sizes.iter().cycle() {
        let (record, after) = rest.split_at((*size).min(rest.len()));
        if record.is_empty() {
            break;
        }
        store.append(&session, &Append::new(record.to_vec())).await.expect("stored");
        rest = after;
    }
    (store, session)
}

proptest! {
    // The same cases on every machine. When the rules change, use another seed and more cases.
    #![proptest_config(ProptestConfig { cases: 4_000, rng_seed: RngSeed::Fixed(17), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_window_is_valid_for_the_provider(form in any_form(), script in ANY, policy in any_policy()) {
        let all = form.write(&script);
        let total = all.len();
        let window = policy.window(all);
        let shown = values(&window.messages);
        prop_assert_eq!(form.takes(&shown), Ok(()), "{:?} {}: {:#?}", form, script, shown);
        prop_assert_eq!(window.messages.len() + window.left_out.messages(), total);
        if policy.starts_at_user {
            prop_assert!(shown.first().is_none_or(is_question), "{form:?} {script}: {shown:#?}");
        }
    }

    /// A window leaves out nothing that the provider would accept.
    #[test]
    fn history_valid_for_the_provider_is_shown_whole(form in any_form(), script in ANY) {
        let all = form.write(&script);
        if form.takes(&values(&all)).is_ok() {
            let window = Policy::everything().window(all.clone());
            prop_assert!(window.left_out.is_nothing(), "{form:?} {script}: {}: {:#?}", window.left_out, values(&all));
        }
    }

    #[test]
    fn well_formed_history_is_shown_whole(form in any_form(), script in sound()) {
        let all = form.write(&script);
        prop_assert_eq!(form.takes(&values(&all)), Ok(()), "the checker and the writer differ: {:?} {}", form, script);
        prop_assert!(Policy::everything().window(all).left_out.is_nothing(), "{form:?} {script}");
    }

    #[test]
    fn recall_equals_the_window_of_the_whole_history(form in any_form(), script in ANY, policy in any_policy(), sizes in prop::collection::vec(1..5_usize, 1..6)) {
        let all = form.write(&script);
        let recalled = run(async {
            let (store, session) = stored(&all, &sizes).await;
            recall(&store, &session, &policy).await.expect("loaded")
        });
        let whole = policy.window(all);
        prop_assert_eq!(values(&recalled.window.messages), values(&whole.messages), "{:?} {}", form, script);
        prop_assert_eq!(recalled.window.left_out.broken(), whole.left_out.broken());
        prop_assert_eq!(recalled.window.left_out.does_not_fit, whole.left_out.does_not_fit);
    }

    /// Messages that were read in a format, cut to a window, are a request that the API of that format accepts.
    #[test]
    fn a_window_of_a_formats_messages_is_a_request_that_its_api_takes(
        (form, format) in prop::sample::select(&FORMATS[..]), script in ANY, policy in any_policy(),
    ) {
        let values = form.values(&script);
        let all = format.read(values.clone()).expect("messages");
        prop_assert_eq!(format.write(&all), values);
        let window = policy.window(all);
        let shown = request(format, &window.messages);
        prop_assert_eq!(form.takes(&shown), Ok(()), "{:?} {}: {:#?}", form, script, shown);
        if policy.starts_at_user {
            prop_assert!(shown.first().is_none_or(is_question), "{form:?} {script}: {shown:#?}");
        }
    }

    /// A sound conversation of one format is shown whole, and is a request that the APIs of the others accept, too.
    #[test]
    fn a_sound_history_of_a_format_is_a_request_for_every_api(
        (form, format) in prop::sample::select(&FORMATS[..]), script in sound(), n in 0..9_usize,
    ) {
        let all = format.read(form.values(&script)).expect("messages");
        let window = Policy::everything().window(all.clone());
        prop_assert!(window.left_out.is_nothing(), "{form:?} {script}: {:#?}", all);
        let raw = json!({"raw": true});
        let is_raw = all.iter().any(|message| ["anthropic", "responses"].iter().any(|key| message.extra.get(*key) == Some(&raw)));
        let window = Policy::last_turns(n).window(all);
        // What one form has in several messages, the others do not understand.
        for (other, to) in FORMATS.into_iter().filter(|(_, to)| *to == format || !is_raw) {
            let shown = request(to, &window.messages);
            prop_assert_eq!(other.takes(&shown), Ok(()), "{:?} as {}, {}: {:#?}", form, to, script, shown);
        }
    }

    /// After a rewind by turns, a sound history is sound as stored; any other is sound as shown.
    #[test]
    fn rewind_by_turns_leaves_a_history_valid_for_the_provider(
        form in any_form(), sound in sound(), any in ANY, turns in 1..5_usize, sizes in prop::collection::vec(1..5_usize, 1..6),
    ) {
        for (script, is_sound) in [(&sound, true), (&any, false)] {
            let all = form.write(script);
            let left = run(async {
                let (store, session) = stored(&all, &sizes).await;
                store.rewind_turns(&session, turns).await.expect("rewound");
                store.load(&session, &Load::all()).await.expect("loaded").into_messages()
            });
            prop_assert!(all.starts_with(&left));
            let gone = &values(&all)[left.len()..];
            let questions = values(&all).iter().filter(|value| is_question(value)).count();
            prop_assert_eq!(gone.iter().filter(|value| is_question(value)).count(), turns.min(questions), "{:?} {}", form, script);
            prop_assert!(gone.is_empty() || is_question(&gone[0]));
            if is_sound {
                prop_assert_eq!(form.takes(&values(&left)), Ok(()), "{:?} {}", form, script);
            }
            prop_assert_eq!(form.takes(&values(&Policy::everything().window(left).messages)), Ok(()), "{:?} {}", form, script);
        }
    }
}

/// The four messages of a turn with a tool, as in `faults` for Anthropic, in each form.
#[test]
fn tool_calls_are_never_cut_from_results_in_any_form() {
    let sizes = |form: Form| -> BTreeMap<usize, usize> {
        (1..=4).map(|n| (n, Policy::last_messages(n).window(form.write("ucra")).messages.len())).collect()
    };
    for form in FORMS {
        // Gemini accepts a call only after a user's message.
        let three = if matches!(form, Form::Gemini | Form::GeminiIds) { 1 } else { 3 };
        assert_eq!(sizes(form), BTreeMap::from([(1, 1), (2, 1), (3, three), (4, 4)]), "{form:?}");
        assert_eq!(Policy::last_turns(1).window(form.write("uaucra")).messages.len(), 4, "{form:?}");
    }
}

/// The forms' messages are stored and returned unchanged.
#[test]
fn messages_of_every_form_round_trip() {
    let script = "ucrakraduserahtcratdsxym";
    for form in FORMS {
        for message in form.write(script) {
            message.check().expect("it can be stored");
            let stored = Message::from_value(message.to_value()).expect("it can be read");
            assert_eq!(stored, message);
            let given = openai::to_value(&message);
            assert_eq!(openai::from_value(given.clone()).as_ref(), Ok(&message));
            assert!(given.get(openai::ROLE_KEY).is_none(), "{given}");
            let langchain = crate::wire::langchain::to_value(&message);
            assert_eq!(crate::wire::langchain::from_value(langchain).as_ref(), Ok(&message));
        }
    }
}

fn read(value: Value) -> Message {
    openai::from_value(value).expect("a message")
}

fn broken(messages: &[Value]) -> usize {
    Policy::everything().window(messages.iter().cloned().map(read).collect()).left_out.broken()
}

#[test]
fn calls_without_ids_are_paired_by_name_and_position() {
    let call = |names: &[&str]| {
        let calls: Vec<_> = names.iter().map(|name| json!({"function": {"name": name, "arguments": {}}})).collect();
        json!({"role": "assistant", "content": "", "tool_calls": calls})
    };
    let named = |name: &str| json!({"role": "tool", "tool_name": name, "content": "21"});
    let bare = json!({"role": "tool", "content": "21"});
    for (messages, want) in [
        (vec![call(&["f", "f"]), named("f"), named("f")], 0),
        (vec![call(&["f", "g"]), named("g"), named("f")], 0),
        (vec![call(&["f", "g"]), bare.clone(), bare.clone()], 0),
        (vec![call(&["f", "g"]), bare.clone(), named("g")], 0),
        (vec![call(&["f", "g"]), bare.clone()], 2),
        (vec![call(&["f"]), named("g")], 2),
        (vec![call(&["f"]), bare.clone(), bare.clone()], 3),
        (vec![bare.clone()], 1),
    ] {
        assert_eq!(broken(&messages), want, "{messages:#?}");
    }
    // Ollama's newer calls have ids that its results do not name. An empty id, which adk-rust writes if Gemini gave none, names
    // nothing.
    let with_id = |id: &str| json!({"role": "assistant", "content": "", "tool_calls": [{"id": id, "function": {"name": "f", "arguments": "{}"}}]});
    assert_eq!(broken(&[with_id("call_1"), named("f")]), 0);
    assert_eq!(broken(&[with_id("call_1"), bare]), 2, "OpenAI's form requires the id");
    assert_eq!(broken(&[with_id(""), json!({"role": "tool", "tool_call_id": "", "name": "f", "content": "21"})]), 0);
}

#[test]
fn langchain_duplicated_calls_count_once() {
    let result = json!({"role": "tool", "tool_call_id": "t1", "content": "21"});
    let calls = json!([{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    for doubled in [
        json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}], "tool_calls": calls}),
        json!({"role": "assistant", "content": [{"functionCall": {"name": "f", "args": {}}}], "tool_calls": calls}),
        json!({"role": "assistant", "content": "", "tool_calls": calls, "function_call": {"name": "f", "arguments": "{}"}}),
        json!({"role": "assistant", "content": [{"type": "function_call", "call_id": "t1", "name": "f"}], "tool_calls": calls}),
    ] {
        assert_eq!(broken(&[doubled.clone(), result.clone()]), 0, "{doubled}");
        assert_eq!(broken(std::slice::from_ref(&doubled)), 1, "{doubled}");
    }
}

#[test]
fn ai_sdk_ui_message_contains_its_own_results() {
    let with = |state: &str| {
        json!({"role": "assistant", "id": "m", "ai_sdk": {}, "content": [
            {"type": "tool-weather", "toolCallId": "c1", "state": state, "input": {}, "output": 21}, {"type": "text", "text": "21"}]})
    };
    assert_eq!(broken(&[with("output-available")]), 0);
    assert_eq!(broken(&[with("output-error")]), 0);
    assert_eq!(broken(&[with("input-available"), json!({"role": "user", "content": "?"})]), 1);
}

#[test]
fn unrelated_type_fields_are_ignored() {
    for kind in ["phone_call", "call_output", "reasoning", "function_call", "tool_search_output"] {
        let messages = ["user", "assistant", "user"].map(|role| json!({"role": role, "content": "x", "type": kind}));
        assert_eq!(broken(&messages), 0, "{kind}");
        assert!(read(messages[0].clone()).begins_turn());
    }
}

#[test]
fn server_tool_call_waits_for_its_nested_results() {
    let messages = [
        json!({"role": "user", "content": "?"}),
        json!({"role": "assistant", "content": [
            {"type": "server_tool_use", "id": "s1", "name": "code_execution", "input": {}},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {}, "caller": {"tool_id": "s1"}}]}),
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "21"}]}),
        json!({"role": "assistant", "content": [{"type": "code_execution_tool_result", "tool_use_id": "s1", "content": {}}]}),
    ];
    assert_eq!(broken(&messages), 0);
    assert_eq!(broken(&messages[..3]), 2);
    assert_eq!(Policy::last_messages(2).window(messages.iter().cloned().map(read).collect()).messages.len(), 0);
}

#[test]
fn empty_window_reports_the_limit_it_needs() {
    let ten = TokenCounter::custom(|message| if message.text().is_empty() { 10 } else { 1_200 });
    let window = Policy::token_budget(1_000, ten.clone()).window(vec![Message::user("a"), Message::assistant("long")]);
    assert!(window.messages.is_empty());
    assert_eq!(
        window.left_out.to_string(),
        "the window is empty: the newest message needs 1200 tokens and the limit is 1000; raise the limit to 1200 (2 older messages left out)"
    );
    let window = Policy::last_messages(1).window(Form::Anthropic.write("ucr"));
    assert_eq!(
        window.left_out.to_string(),
        "the window is empty: a tool's call and its results, the newest 2 messages, need 2 messages and the limit is 1; \
         raise the limit to 2 (3 older messages left out)"
    );
    // The note appears only where it applies.
    assert_eq!(
        Policy::token_budget(1_300, ten.clone()).window(vec![Message::user("a"), Message::user("b")]).left_out.does_not_fit,
        None
    );
    assert_eq!(Policy::token_budget(0, ten).window(vec![Message::user("a")]).left_out.does_not_fit, None);
    assert_eq!(Policy::last_messages(0).window(Form::OpenAi.write("ucr")).left_out.does_not_fit, None);
}

#[test]
fn window_starting_at_a_user_reports_omitted_messages() {
    let policy = Policy::last_messages(3).starting_at_user();
    let window = policy.window(Form::OpenAi.write("uaua"));
    assert_eq!((window.messages.len(), window.left_out.older, window.left_out.before_user), (2, 1, 1));
    let window = policy.window(Form::Anthropic.write("ucrcra"));
    assert_eq!(window.messages.len(), 0);
    assert_eq!(window.left_out.to_string(), "3 older messages, 3 messages before the first user's message left out");
    // The conversation begins with a greeting, and the system prompt stays.
    let greeted = vec![Message::system("be brief"), Message::assistant("Hello!"), Message::user("?")];
    let window = Policy::everything().starting_at_user().window(greeted);
    assert_eq!(window.messages, [Message::system("be brief"), Message::user("?")]);
    assert_eq!(window.left_out.to_string(), "1 message before the first user's message left out");
}
