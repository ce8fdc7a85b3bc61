//! An OpenAI-compatible endpoint: sends one request, and streams the answer.

use std::io::{BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chat_memory::Message;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use ureq::Agent;

use crate::escape::visible_line;
use crate::failure::Failure;

mod answer;
mod events;
mod halves;

use answer::Assembly;
use events::Events;
use halves::Halves;

/// The timeout for connecting.
const CONNECT: Duration = Duration::from_secs(15);
/// The timeout until the answer starts. A model that must be loaded first takes its time.
const START: Duration = Duration::from_secs(300);
/// How much of an error's body to read.
const ERROR_BYTES: u64 = 64 * 1024;

/// A piece of an answer.
#[derive(Debug)]
pub enum Piece {
    /// More of its text.
    Text(String),
    /// More of the model's reasoning.
    Reasoning(String),
    /// The answer is complete.
    Whole(Box<Answer>),
}

/// A complete answer.
#[derive(Debug)]
pub struct Answer {
    /// The model's message.
    pub message: Message,
    /// Why the model stopped, in the endpoint's words (`stop`, `length`, `tool_calls`, …).
    pub finish: Option<String>,
    /// What the request took, as the endpoint reports it: `prompt_tokens`, `completion_tokens`, …
    pub usage: Option<Value>,
}

/// The endpoint. It contains a secret, so it has no `Debug`.
pub struct Endpoint {
    url: String,
    key: Option<String>,
    agent: Agent,
    /// Whether it has refused to report the usage of a streamed answer, which some endpoints do not know.
    without_usage: Arc<AtomicBool>,
}

impl Endpoint {
    /// The endpoint with this API key and this base URL, which usually ends in `/v1` or is the complete address of its chat
    /// completions.
    pub fn new(base_url: &str, key: Option<String>) -> Result<Self, Failure> {
        let rest = base_url.strip_prefix("http://").or_else(|| base_url.strip_prefix("https://"));
        let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
        match host {
            Some(host) if host.contains('@') => {
                Err(Failure::usage("--base-url must not carry credentials; give the API key as OPENAI_API_KEY"))
            }
            Some(host) if !host.is_empty() => {
                let config = Agent::config_builder()
                    .http_status_as_error(false)
                    .timeout_connect(Some(CONNECT))
                    .timeout_recv_response(Some(START))
                    .build();
                Ok(Self { url: chat_completions(base_url)?, key, agent: config.into(), without_usage: Arc::default() })
            }
            _ => Err(Failure::usage(
                "invalid --base-url: expected a URL such as http://127.0.0.1:11434/v1 or https://api.openai.com/v1",
            )),
        }
    }

    /// The address that requests go to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks a model. The pieces arrive through the channel, which ends with an error of one sentence or the complete answer. When
    /// the receiver is dropped, the connection is closed at the next piece.
    pub fn ask(&self, model: &str, messages: Vec<Value>) -> mpsc::UnboundedReceiver<Result<Piece, String>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let asked = json!({ "model": model, "messages": messages, "stream": true });
        let (agent, without_usage) = (self.agent.clone(), Arc::clone(&self.without_usage));
        let (url, key) = (self.url.clone(), self.key.clone());
        tokio::task::spawn_blocking(move || {
            let send = |reports_usage: bool| {
                let mut asked = asked.clone();
                if reports_usage {
                    asked["stream_options"] = json!({ "include_usage": true });
                }
                let mut request = agent.post(&url).header("content-type", "application/json");
                request = request.header("accept", "text/event-stream, application/json");
                if let Some(key) = &key {
                    request = request.header("authorization", &format!("Bearer {key}"));
                }
                request.send(asked.to_string()).map_err(|error| format!("cannot reach the endpoint {url}: {error}"))
            };
            // The receiver is gone.
            let mut hand_on = |piece: Piece| sender.send(Ok(piece)).is_ok();
            let mut one = |reports_usage: bool| {
                send(reports_usage).and_then(|response| read(response, reports_usage, key.as_deref(), &mut hand_on))
            };
            let mut answer = one(!without_usage.load(Ordering::Relaxed));
            if let Ok(Reply::UnknownUsage) = answer {
                without_usage.store(true, Ordering::Relaxed);
                answer = one(false);
            }
            let last = match answer {
                Ok(Reply::Answer(answer)) => Ok(Piece::Whole(answer)),
                Ok(Reply::Abandoned) => return,
                Ok(Reply::UnknownUsage) => Err("the endpoint refused the same request twice".to_owned()),
                Err(error) => Err(without(key.as_deref(), error)),
            };
            let _ = sender.send(last);
        });
        receiver
    }
}

/// The address of chat completions below this base URL. A query stays at the end, such as Azure's `?api-version=…`.
fn chat_completions(base_url: &str) -> Result<String, Failure> {
    const PATH: &str = "/chat/completions";
    let (path, query) = base_url.split_once('?').map_or((base_url, None), |(path, query)| (path, Some(query)));
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(PATH).unwrap_or(path);
    // Addresses of other APIs, which expect other requests.
    if let Some(other) =
        ["/completions", "/responses", "/messages", "/embeddings", "/models"].iter().find(|end| path.ends_with(**end))
    {
        return Err(Failure::usage(format!(
            "invalid --base-url: it ends in {other:?}, but chat uses {PATH}; give the part before it, such as https://api.openai.com/v1"
        )));
    }
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Ok(format!("{path}{PATH}{query}"))
}

/// How a request ended, unless it failed.
enum Reply {
    Answer(Box<Answer>),
    /// The receiver is gone.
    Abandoned,
    /// The endpoint does not know the option that asks for the usage.
    UnknownUsage,
}

impl From<Option<Answer>> for Reply {
    fn from(answer: Option<Answer>) -> Self {
        answer.map_or(Self::Abandoned, |answer| Self::Answer(Box::new(answer)))
    }
}

/// Reads an answer.
fn read(
    response: ureq::http::Response<ureq::Body>,
    reports_usage: bool,
    key: Option<&str>,
    hand_on: &mut dyn FnMut(Piece) -> bool,
) -> Result<Reply, String> {
    let status = response.status();
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let streams = kind.starts_with("text/event-stream");
    let body = response.into_body().into_with_config().limit(u64::MAX).reader();
    if !status.is_success() {
        let mut text = Vec::new();
        // Includes the reason if it can be read; otherwise only the status.
        let _ = body.take(ERROR_BYTES).read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text);
        let is_about_usage = reports_usage && matches!(status.as_u16(), 400 | 422) && text.contains("stream_options");
        return if is_about_usage { Ok(Reply::UnknownUsage) } else { Err(refusal(status, key, &text)) };
    }
    if streams {
        return stream(body, hand_on).map(Reply::from);
    }
    let (answer, pieces) = whole(body)?;
    Ok(pieces.into_iter().all(hand_on).then_some(answer).into())
}

/// An answer in pieces.
fn stream(body: impl Read, hand_on: &mut dyn FnMut(Piece) -> bool) -> Result<Option<Answer>, String> {
    let (mut assembly, mut halves) = (Assembly::default(), Halves::default());
    for event in Events::new(BufReader::new(body)) {
        let data = event.map_err(|e| format!("connection lost in the middle of the answer ({e})"))?;
        if data == "[DONE]" {
            return assembly.whole().map(Some);
        }
        let event = halves.read(&data).map_err(|e| format!("invalid event from the endpoint: it is not JSON ({e})"))?;
        if !assembly.take(&event)?.into_iter().all(&mut *hand_on) {
            return Ok(None);
        }
    }
    // Some endpoints close without a [DONE], but do report that the model finished.
    if assembly.is_finished() { assembly.whole().map(Some) } else { Err("connection lost in the middle of the answer".into()) }
}

/// An answer in one piece, from an endpoint that does not stream.
fn whole(mut body: impl Read) -> Result<(Answer, Vec<Piece>), String> {
    let mut text = String::new();
    body.read_to_string(&mut text).map_err(|e| format!("connection lost in the middle of the answer ({e})"))?;
    let answer = Halves::default()
        .read(&text)
        .map_err(|_| "invalid answer from the endpoint: it is neither an event stream nor JSON; check the base URL".to_owned())?;
    let mut assembly = Assembly::default();
    let pieces = assembly.take_whole(&answer)?;
    Ok((assembly.whole()?, pieces))
}

/// An endpoint's refusal in one sentence.
fn refusal(status: ureq::http::StatusCode, key: Option<&str>, body: &str) -> String {
    let reason = match serde_json::from_str::<Value>(body) {
        Ok(said) => answer::error_text(&said).unwrap_or_default(),
        Err(_) => String::new(),
    };
    let mut sentence = format!("the endpoint refused with {status}");
    if !reason.is_empty() {
        sentence.push_str(": ");
        // Redact before shortening, or half of a key could remain.
        sentence.push_str(&shortened(&without(key, reason)));
    }
    match status.as_u16() {
        401 | 403 => sentence.push_str(" (the API key is taken from OPENAI_API_KEY)"),
        404 => {
            sentence.push_str(" (check that --model is one of its models, and that --base-url is complete; it often ends in /v1)")
        }
        _ => {}
    }
    sentence
}

/// An endpoint's text, without the key that it may repeat.
fn without(key: Option<&str>, said: String) -> String {
    match key {
        Some(key) if !key.is_empty() => said.replace(key, "…"),
        _ => said,
    }
}

fn shortened(reason: &str) -> String {
    let line = visible_line(reason.trim().trim_end_matches('.'));
    if line.chars().count() <= 300 { line } else { line.chars().take(300).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_url_may_be_the_full_endpoint_url() {
        let url = |base: &str| Endpoint::new(base, None).map(|endpoint| endpoint.url().to_owned()).map_err(|e| e.sentence());
        for base in ["http://h/v1", "http://h/v1/", "http://h/v1/chat/completions", "http://h/v1/chat/completions/"] {
            assert_eq!(url(base).expect("a base URL"), "http://h/v1/chat/completions");
        }
        assert_eq!(url("https://h/v1?api-version=1").expect("a base URL"), "https://h/v1/chat/completions?api-version=1");
        for base in ["http://h/v1/responses", "http://h/v1/messages/", "http://h/v1/completions"] {
            assert!(url(base).expect_err("another API").is_some_and(|said| said.contains("/chat/completions")), "{base}");
        }
    }
}
