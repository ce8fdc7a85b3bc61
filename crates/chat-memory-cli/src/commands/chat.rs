//! `chat`

use std::future::Future;
use std::io::{self, Read as _, Write};

use chat_memory::memory::{Omitted, Policy, recall};
use chat_memory::wire::openai;
use chat_memory::{Append, ChatStore, ChatStoreExt, Error, ErrorKind, Message, Owner, SessionId};
use clap::Args;
use clap_complete::ArgValueCompleter;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::progress::bar;
use super::{explain_start, owner, session_id};
use crate::app::App;
use crate::completion;
use crate::endpoint::{Answer, Endpoint, Piece};
use crate::escape::visible;
use crate::failure::Failure;
use crate::output::{may_colour, say};
use crate::render::REASONING;
use crate::window::WindowOptions;

mod interrupts;
mod questions;

use interrupts::Interrupts;
use questions::{Question, Questions, Typed};

const EXAMPLES: &str = "\
Examples:
  chat-memory chat trip --base-url http://127.0.0.1:11434/v1 --model llama3.2

  export OPENAI_BASE_URL=https://api.openai.com/v1 OPENAI_API_KEY=…
  chat-memory chat trip --model gpt-4o-mini --turns 20
  chat-memory chat --model gpt-4o-mini          a new session; its id is printed
  chat-memory chat trip --model gpt-4o-mini -m 'And in winter?'
  echo 'And in winter?' | chat-memory chat trip --model gpt-4o-mini

  chat-memory chat trip --model gpt-4o-mini -m - < letter.txt

Each line you type is a question. It is stored together with its answer, in one append, when the answer is complete: after Ctrl-C in \
the middle of an answer, or a broken connection, nothing of the turn is stored. /quit, Ctrl-C or Ctrl-D at the prompt ends \
the chat; run it again with the session's id to continue. /help lists the commands.

A question of several lines: paste it, and send it with Enter; or end each line but the last with a backslash; or pass it with -m. \
If standard input is not a terminal, each of its lines is a question, unless -m - takes all of it as one.

A model's reasoning is printed to standard error, stored with its answer in the field that the endpoint uses \
(reasoning_content or reasoning), and not sent to the model again.

--system is sent with each request and not stored. The model gets the whole history, or the window of --last, \
--turns or --tokens, starting at a user message (--start-at-user=false turns that off). Tools are not run: a model's tool calls are stored and shown.

With --json each answer is a line {\"session\", \"seq\", \"position\", \"answer\", \"finish_reason\", \"cost\"}, and nothing is printed before \
the answer is complete.";

/// Chat with a model behind any OpenAI-compatible endpoint; the conversation is stored
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The session's id; without one, a new session
    #[arg(add = ArgValueCompleter::new(completion::sessions))]
    session: Option<String>,
    /// The endpoint's URL, with or without a final /chat/completions [env: OPENAI_BASE_URL]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The model
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Instructions for the model
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Ask this, print the answer, and exit; - reads the question from standard input
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
    #[command(flatten)]
    window: WindowOptions,
    /// The owner, if this starts the session
    #[arg(long)]
    owner: Option<String>,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    // Like an empty line at the prompt, this is not a question; a script whose variable is unset would pay for one.
    if arguments.message.as_deref().is_some_and(|question| question.trim().is_empty()) {
        return Err(Failure::usage(
            "empty question: --message has no text; give the question, or leave --message out to be asked",
        ));
    }
    let session = arguments.session.as_deref().map(session_id).transpose()?;
    let owner = owner(arguments.owner.as_ref())?;
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let base_url = arguments.base_url.or_else(|| variable("OPENAI_BASE_URL")).ok_or_else(|| {
        Failure::usage(
            "missing endpoint of the model: give --base-url URL or OPENAI_BASE_URL (OpenAI's is https://api.openai.com/v1)",
        )
    })?;
    let endpoint = Endpoint::new(&base_url, variable("OPENAI_API_KEY"))?;
    let policy = arguments.window.policy(Some(&arguments.model), true)?;
    // Before the model is asked: its answer costs money, and could not be stored.
    if app.is_read_only()? {
        let cause =
            "chat cannot store the conversation: the store is read-only; leave out --read-only, or read_only in the store URL";
        return Err(Error::new(ErrorKind::ReadOnly, cause).into());
    }
    let message = arguments.message.map(question).transpose()?;
    let interrupts = Interrupts::listen();
    let opening = async { app.store().await };
    let store = tokio::select! {
        store = opening => store?,
        () = interrupts.next() => return Err(interrupted()),
    };
    let session = session.unwrap_or_else(|| {
        let session = SessionId::random();
        say(format_args!("new session {session}"));
        session
    });
    let (model, system) = (arguments.model, arguments.system);
    let chat = Chat { app, store: &*store, session, owner, endpoint, model, system, policy, interrupts };
    match message {
        Some(question) => chat.turn(question).await.map(drop),
        None => chat.converse().await,
    }
}

/// The text of `-m`, or all of standard input without the final line break.
fn question(message: String) -> Result<String, Failure> {
    if message != "-" {
        return Ok(message);
    }
    let mut text = String::new();
    let read = io::stdin().lock().read_to_string(&mut text);
    read.map_err(|e| Failure::other(format!("standard input cannot be read: {e}")))?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

const COMMANDS: &str = "\
/help   this list
/quit   end the chat; so does Ctrl-D
//…     a question that begins with /
A line that ends in \\ continues on the next. Several lines that are pasted are one question: Enter sends it.
Ctrl-C stops an answer; nothing of its turn is stored.";

const NOTHING: &str = "nothing of this turn was stored";

fn interrupted() -> Failure {
    Failure::other(format!("interrupted: {NOTHING}"))
}

/// Shows on a terminal that the program is waiting, until it is dropped.
struct Waiting(ProgressBar);

impl Waiting {
    fn for_(what: &'static str) -> Self {
        Self(bar(None, "{spinner} {msg} ({elapsed})").with_message(what))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

struct Chat<'a> {
    app: &'a App,
    store: &'a dyn ChatStore,
    session: SessionId,
    owner: Option<Owner>,
    endpoint: Endpoint,
    model: String,
    system: Option<String>,
    policy: Policy,
    interrupts: Interrupts,
}

impl Chat<'_> {
    /// Answers questions from standard input, until it ends.
    async fn converse(&self) -> Result<(), Failure> {
        let mut questions = Questions::of_stdin();
        let terminal = questions.terminal;
        if terminal && !self.app.json() {
            self.say_header();
        }
        let mut prompt = ">";
        let mut told = Omitted::default();
        loop {
            if terminal {
                self.prompt(prompt);
            }
            let typed = tokio::select! {
                typed = questions.next() => typed,
                () = self.interrupts.next() => None,
            };
            let Some(typed) = typed else { break };
            let text = match typed.map_err(|e| Failure::other(format!("standard input cannot be read: {e}")))? {
                Typed::Whole(text) => text,
                Typed::Open { pasted } => {
                    if let Some(lines) = pasted {
                        say(format_args!("({lines} lines were pasted; Enter sends them)"));
                    }
                    prompt = "…";
                    continue;
                }
            };
            prompt = ">";
            if text.trim().is_empty() {
                continue;
            }
            let question = match Question::read(text) {
                Question::Ask(text) => text,
                Question::Help => {
                    say(COMMANDS);
                    continue;
                }
                Question::Quit => return Ok(()),
                Question::Unknown(word) => {
                    let sentence = format!(
                        "unknown command {word:?}: /help lists the commands; // in front sends a text that begins with /"
                    );
                    // The author of a script must notice that a line of it was not sent.
                    if !terminal {
                        return Err(Failure::usage(sentence));
                    }
                    say(format_args!("chat-memory: {sentence}"));
                    continue;
                }
            };
            match self.turn(question).await {
                Ok(left_out) => {
                    if !left_out.is_nothing() && told.is_nothing() {
                        say(format_args!("(the model did not get all messages: {left_out})"));
                        told = left_out;
                    }
                }
                // A user can ask again; a script's other questions would depend on a missing answer.
                Err(failure @ (Failure::Other(_) | Failure::Store(_))) if terminal => {
                    say(format_args!("chat-memory: {}", failure.sentence().unwrap_or_default()));
                }
                Err(failure) => return Err(failure),
            }
        }
        if terminal {
            say("");
        }
        Ok(())
    }

    fn say_header(&self) {
        let Self { session, model, endpoint, .. } = self;
        say(format_args!("{session}: {model} at {}; /help lists the commands, Ctrl-D ends the chat", endpoint.url()));
    }

    fn prompt(&self, sign: &str) {
        let mut err = io::stderr().lock();
        let _ = write!(err, "{} ", self.app.style().author(chat_memory::Role::User, sign));
        let _ = err.flush();
    }

    /// Waits for the result, unless the user interrupts.
    async fn unless_interrupted<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done?),
            () = self.interrupts.next() => Err(interrupted()),
        }
    }

    /// Asks one question and stores it with the complete answer in one append. Returns what the model was not shown.
    async fn turn(&self, question: String) -> Result<Omitted, Failure> {
        let question = Message::user(question);
        let waiting = Waiting::for_("reading the session");
        let recalled = self.unless_interrupted(recall(self.store, &self.session, &self.policy)).await?;
        drop(waiting);
        self.app.add_cost(recalled.cost);
        if recalled.window.messages.is_empty() && !recalled.window.left_out.is_nothing() {
            say(format_args!("(the model gets no earlier messages: {})", recalled.window.left_out));
        }
        let system = self.system.as_ref().map(|text| Message::system(text.as_str()));
        let shown = system.iter().chain(&recalled.window.messages).chain([&question]);
        let answer = self.ask(shown.map(openai::for_request).collect()).await?;

        let mut append = Append::new([question, answer.message.clone()]);
        if let Some(owner) = &self.owner {
            append = append.with_owner(owner.clone());
        }
        let waiting = Waiting::for_("storing the turn");
        let appended = tokio::select! {
            appended = self.store.append_with_retry(&self.session, append.clone()) => {
                appended.map_err(|e| e.context("the answer above could not be stored with its question"))?
            }
            () = self.interrupts.next() => {
                let session = &self.session;
                return Err(Failure::other(format!(
                    "append outcome unknown (interrupted): see whether the turn was stored with chat-memory show {session:?} --turns 1",
                    session = session.as_str()
                )));
            }
        };
        drop(waiting);
        self.app.add_cost(appended.cost);
        explain_start(self.app, self.store, &self.session, &append, &appended);
        if self.app.json() {
            self.app.out.json(&json!({
                "session": self.session.as_str(),
                "seq": appended.seq,
                "position": appended.position.to_string(),
                "answer": openai::to_value(&answer.message),
                "finish_reason": answer.finish,
                "cost": self.app.cost(),
            }))?;
            self.app.out.flush()?;
        }
        Ok(recalled.window.left_out)
    }

    /// Asks the model, and prints its answer as it arrives.
    async fn ask(&self, messages: Vec<Value>) -> Result<Answer, Failure> {
        let mut pieces = self.endpoint.ask(&self.model, messages);
        let mut at_line_start = true;
        let mut waiting = Some(Waiting::for_("waiting for the model"));
        let mut reasoning = Reasoning::default();
        let outcome = loop {
            let piece = tokio::select! {
                piece = pieces.recv() => piece,
                () = self.interrupts.next() => break Err(format!("interrupted: {NOTHING}")),
            };
            match piece {
                // Nothing is printed before the answer is complete.
                Some(Ok(Piece::Text(_) | Piece::Reasoning(_))) if self.app.json() => {}
                Some(Ok(Piece::Reasoning(text))) => {
                    waiting = None;
                    reasoning.show(&text);
                }
                Some(Ok(Piece::Text(text))) => {
                    waiting = None;
                    reasoning.end();
                    at_line_start = text.ends_with('\n');
                    self.app.out.text(visible(&text))?;
                    self.app.out.flush()?;
                }
                Some(Ok(Piece::Whole(answer))) => break Ok(*answer),
                Some(Err(sentence)) => break Err(format!("{sentence}; {NOTHING}")),
                None => break Err(format!("the request ended unexpectedly; {NOTHING}")),
            }
        };
        drop(waiting);
        reasoning.end();
        if !at_line_start {
            self.app.out.line("")?;
        }
        let answer = outcome.map_err(Failure::Other)?;
        answer.message.check().map_err(|e| Failure::other(format!("the answer cannot be stored: {e}; {NOTHING}")))?;
        if !self.app.json() {
            self.remark(&answer)?;
        }
        self.app.out.flush()?;
        Ok(answer)
    }

    /// Notes on an answer, in addition to its text.
    fn remark(&self, answer: &Answer) -> Result<(), Failure> {
        if !answer.message.tool_calls.is_empty() || answer.message.extra.contains_key("refusal") {
            let mut calls = answer.message.clone();
            calls.content = None;
            REASONING.iter().for_each(|field| drop(calls.extra.remove(*field)));
            self.app.out.text(self.app.style().message(&calls))?;
        }
        match answer.finish.as_deref() {
            Some("length") => say("(the answer reached the model's length limit)"),
            Some("content_filter") => say("(the endpoint's content filter cut the answer)"),
            Some("tool_calls") | Some("function_call") => say("(tools are not run here)"),
            _ => {}
        }
        Ok(())
    }
}

/// Prints the model's reasoning to standard error, fainter than its answer.
#[derive(Debug, Default)]
struct Reasoning {
    /// Whether the last piece ended within a line.
    open: bool,
    shown: bool,
}

impl Reasoning {
    fn show(&mut self, text: &str) {
        let mut err = io::stderr().lock();
        let shown = visible(text);
        // If standard error is closed, there is nobody to show it to.
        let _ = if may_colour(&err) { write!(err, "\u{1b}[2m{shown}\u{1b}[0m") } else { write!(err, "{shown}") };
        let _ = err.flush();
        (self.open, self.shown) = (!text.ends_with('\n'), true);
    }

    /// Separates it from what follows.
    fn end(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = io::stderr().lock().write_all(if self.open { b"\n\n" } else { b"\n" });
        }
    }
}
