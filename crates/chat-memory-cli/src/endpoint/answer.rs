//! Assembles a model's message from the pieces in which it is streamed.

use chat_memory::{Message, ToolCall};
use serde_json::Value;

use super::{Answer, Piece};
use crate::render::REASONING;

/// The answer so far.
#[derive(Debug, Default)]
pub struct Assembly {
    text: Option<String>,
    refusal: Option<String>,
    /// The model's reasoning, and the field in which the endpoint sends it.
    reasoning: Option<(&'static str, String)>,
    calls: Vec<Call>,
    finish: Option<String>,
    usage: Option<Value>,
}

/// A tool call so far.
#[derive(Debug, Default)]
struct Call {
    /// Identifies the pieces of one call.
    index: u64,
    id: String,
    name: String,
    arguments: String,
}

impl Assembly {
    /// Takes an event of the stream; returns what it adds.
    pub fn take(&mut self, event: &Value) -> Result<Vec<Piece>, String> {
        if let Some(reason) = error_text(event) {
            return Err(format!("the endpoint aborted the answer: {reason}"));
        }
        self.take_usage(event);
        // The last event may contain only the usage.
        let Some(choice) = event["choices"].get(0) else { return Ok(Vec::new()) };
        if let Some(finish) = choice["finish_reason"].as_str() {
            self.finish = Some(finish.to_owned());
        }
        Ok(self.add(&choice["delta"]))
    }

    /// Takes an answer that came in one piece.
    pub fn take_whole(&mut self, answer: &Value) -> Result<Vec<Piece>, String> {
        if let Some(reason) = error_text(answer) {
            return Err(format!("the endpoint refused: {reason}"));
        }
        self.take_usage(answer);
        let choice = &answer["choices"][0];
        self.finish = choice["finish_reason"].as_str().map(str::to_owned);
        Ok(self.add(&choice["message"]))
    }

    /// Some endpoints report it so far with each event; the last one counts.
    fn take_usage(&mut self, event: &Value) {
        if let Some(usage) = event.get("usage").filter(|usage| usage.is_object()) {
            self.usage = Some(usage.clone());
        }
    }

    fn add(&mut self, delta: &Value) -> Vec<Piece> {
        let mut pieces = Vec::new();
        // Some endpoints send the same text in both fields.
        let reasoned = REASONING.iter().find_map(|field| Some((*field, delta[*field].as_str().filter(|text| !text.is_empty())?)));
        if let Some((field, text)) = reasoned {
            self.reasoning.get_or_insert_with(|| (field, String::new())).1.push_str(text);
            pieces.push(Piece::Reasoning(text.to_owned()));
        }
        if let Some(refusal) = delta["refusal"].as_str() {
            self.refusal.get_or_insert_default().push_str(refusal);
        }
        for (place, piece) in delta["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let index = piece["index"].as_u64().unwrap_or(place as u64);
            let at = self.calls.iter().position(|call| call.index == index).unwrap_or_else(|| {
                self.calls.push(Call { index, ..Call::default() });
                self.calls.len() - 1
            });
            let call = &mut self.calls[at];
            // The id and the name come once, the arguments in pieces.
            if let Some(id) = piece["id"].as_str().filter(|id| !id.is_empty()) {
                id.clone_into(&mut call.id);
            }
            call.name.push_str(piece["function"]["name"].as_str().unwrap_or_default());
            call.arguments.push_str(piece["function"]["arguments"].as_str().unwrap_or_default());
        }
        if let Some(text) = delta["content"].as_str() {
            self.text.get_or_insert_default().push_str(text);
            if !text.is_empty() {
                pieces.push(Piece::Text(text.to_owned()));
            }
        }
        pieces
    }

    /// Whether the endpoint reported that the model is done.
    pub fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// The complete answer.
    pub fn whole(self) -> Result<Answer, String> {
        let Self { text, refusal, reasoning, mut calls, finish, usage } = self;
        calls.sort_by_key(|call| call.index);
        let calls = calls.into_iter().map(|call| ToolCall::function(call.id, call.name, call.arguments));
        let text = text.filter(|text| !text.is_empty());
        let mut message = match (text, calls.len()) {
            (None, 0) if refusal.is_none() => {
                return Err(match (reasoning, finish) {
                    (Some(_), Some(finish)) => format!("the model reasoned and did not answer (finish_reason {finish:?})"),
                    (Some(_), None) => "the model reasoned and did not answer".into(),
                    (None, _) => "empty answer from the endpoint".into(),
                });
            }
            (None, _) => Message::tool_calls(calls),
            (Some(text), _) => Message::assistant(text).with_tool_calls(calls),
        };
        if let Some(refusal) = refusal {
            message.extra.insert("refusal".into(), refusal.into());
        }
        if let Some((field, text)) = reasoning {
            message.extra.insert(field.into(), text.into());
        }
        Ok(Answer { message, finish, usage })
    }
}

/// The text of an `error`, in any of the usual shapes.
pub fn error_text(said: &Value) -> Option<String> {
    let error = said.get("error").filter(|error| !error.is_null())?;
    let text = error.as_str().or_else(|| error.get("message")?.as_str());
    Some(text.map_or_else(|| error.to_string(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn delta(delta: Value) -> Value {
        json!({ "choices": [{ "index": 0, "delta": delta }] })
    }

    #[test]
    fn streamed_tool_calls_are_assembled() {
        let mut assembly = Assembly::default();
        for piece in [
            json!({"role": "assistant", "content": null, "tool_calls": [{"index": 0, "id": "c0", "type": "function", "function": {"name": "a", "arguments": ""}}]}),
            json!({"tool_calls": [{"index": 1, "id": "c1", "function": {"name": "b", "arguments": "{"}}]}),
            json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"x\":"}}]}),
            json!({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}, {"index": 1, "function": {"arguments": "}"}}]}),
        ] {
            assert!(assembly.take(&delta(piece)).expect("a piece").is_empty());
        }
        let message = assembly.whole().expect("a message").message;
        let calls = [ToolCall::function("c0", "a", "{\"x\":1}"), ToolCall::function("c1", "b", "{}")];
        assert_eq!(message, Message::tool_calls(calls));
        message.check().expect("storable");
    }

    #[test]
    fn unstreamed_answer_is_read() {
        let mut assembly = Assembly::default();
        let answer = json!({"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]});
        assembly.take_whole(&answer).expect("an answer");
        let answer = assembly.whole().expect("an answer");
        assert_eq!((answer.message, answer.finish.as_deref()), (Message::assistant("Hi"), Some("stop")));
    }

    #[test]
    fn empty_answers_and_error_events_are_errors() {
        assert!(Assembly::default().whole().is_err());
        let mut assembly = Assembly::default();
        let error = assembly.take(&json!({"error": {"message": "overloaded"}})).expect_err("an error");
        assert!(error.contains("overloaded"));
        assert!(assembly.take(&json!({"choices": [], "usage": {}})).expect("a piece").is_empty());
        assert_eq!(error_text(&json!({"error": "plain"})).as_deref(), Some("plain"));
        assert_eq!(error_text(&json!({"error": null})), None);
    }
}
