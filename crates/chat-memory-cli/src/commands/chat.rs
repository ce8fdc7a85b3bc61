//! `chat`

use std::future::Future;
use std::io::{self, IsTerminal as _, Read as _, Write};

use chat_memory::memory::{Omitted, Policy, recall};
use chat_memory::store::{History, Position};
use chat_memory::wire::openai;
use chat_memory::{Append, ChatStore, ChatStoreExt, Error, ErrorKind, Message, Owner, SessionId};
use clap::Args;
use clap_complete::ArgValueCompleter;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::progress::bar;
use super::{count, explain_start, owner, session_id};
use crate::app::App;
use crate::completion;
use crate::endpoint::{Answer, Endpoint, Piece};
use crate::escape::{shell_word, visible};
use crate::failure::Failure;
use crate::output::{may_colour, say};
use crate::render::REASONING;
use crate::window::WindowOptions;

mod command;
mod editor;
mod input;
mod interrupts;
mod markdown;
mod questions;
mod session;

use command::Line;
use input::Input;
use interrupts::Interrupts;
use markdown::Highlighter;

const EXAMPLES: &str = "\
Examples:
  chat-memory chat trip --base-url http://127.0.0.1:11434/v1 --model llama3.2

  export OPENAI_BASE_URL=https://api.openai.com/v1 OPENAI_API_KEY=…
  chat-memory chat trip --model gpt-4o-mini --turns 20
  chat-memory chat --model gpt-4o-mini          a new session; its id is printed
  chat-memory chat trip --model gpt-4o-mini -m 'And in winter?'
  echo 'And in winter?' | chat-memory chat trip --model gpt-4o-mini

  chat-memory chat trip --model gpt-4o-mini -m - < letter.txt

Each text you type is a question. It is stored together with its answer, in one append, when the answer is complete. After Ctrl-C in \
the middle of an answer, or a broken connection, nothing of the turn is stored, and /retry asks again. Ctrl-C at the prompt discards the text; \
pressed twice, it ends the chat, and so do Ctrl-D and /quit. Run it again with the session's id to continue.

Commands: /help, /new, /undo, /retry, /title, /sessions, /fork and /quit. /undo hides the last turn, as `rewind` does; /retry puts the new \
answer in the place of the old one, in one append. Both are refused if another program wrote to the session in the meantime.

On a terminal, Alt-Enter or Ctrl-J begins a new line, and a paste of several lines is one question. Earlier questions are kept in \
chat-memory/chat_history in your data directory (--no-history: not read, not written), unless they begin with a blank. Markdown is coloured, and its marks stay; \
NO_COLOR=1 turns colours off. If standard input or output is not a terminal, each line of standard input is a question, unless -m - takes \
all of it as one; on a terminal that cannot edit lines (TERM=dumb), a line that ends with a backslash continues.

A model's reasoning is printed to standard error, stored with its answer in the field that the endpoint uses \
(reasoning_content or reasoning), and not sent to the model again.

--system is sent with each request and not stored. The model gets the whole history, or the window of --last, \
--turns or --tokens, starting at a user message (--start-at-user=false turns that off). Tools are not run: a model's tool calls are stored and shown.

At the end, a terminal shows the number of turns, what they took of the store (but for looking up titles), and their tokens if the endpoint reports them.

With --json each answer is a line {\"session\", \"seq\", \"position\", \"answer\", \"finish_reason\", \"usage\", \"cost\"}, and nothing is printed before \
the answer is complete; usage is what the endpoint reports, or null.";

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
    /// Do not read or write the file of earlier questions
    #[arg(long)]
    no_history: bool,
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
    let base_url = arguments.base_url.clone().or_else(|| variable("OPENAI_BASE_URL")).ok_or_else(|| {
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
    let options = options(&arguments);
    let message = arguments.message.map(question).transpose()?;
    let interrupts = Interrupts::listen();
    let opening = async { app.store().await };
    let store = tokio::select! {
        store = opening => store?,
        () = interrupts.next() => return Err(interrupted()),
    };
    let session = session.unwrap_or_else(|| {
        let session = SessionId::random();
        // On a terminal, the chat begins with it.
        if message.is_some() || app.json() || !io::stdin().is_terminal() {
            say(format_args!("new session {session}"));
        }
        session
    });
    let mut chat = Chat {
        app,
        store: &*store,
        session,
        title: None,
        owner,
        endpoint,
        model: arguments.model,
        options,
        system: arguments.system,
        policy,
        interrupts,
        is_terminal: false,
        seen: None,
        unanswered: None,
        listed: Vec::new(),
        done: Done::default(),
    };
    match message {
        Some(question) => chat.turn(Message::user(question), None).await.map(drop),
        None => chat.converse(!arguments.no_history).await,
    }
}

/// The options with which the chat can be continued, as a shell reads them.
fn options(arguments: &Arguments) -> String {
    // A user name and password in a URL stay out of what is printed.
    let base_url = arguments.base_url.as_deref().filter(|url| !url.contains('@'));
    let given = [
        ("--model", Some(arguments.model.as_str())),
        ("--base-url", base_url),
        ("--system", arguments.system.as_deref()),
        ("--owner", arguments.owner.as_deref()),
    ];
    let given = given.into_iter().filter_map(|(name, value)| Some(format!(" {name} {}", shell_word(value?))));
    given.chain(arguments.window.given()).collect()
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

const NOTHING: &str = "nothing of this turn was stored";

fn interrupted() -> Failure {
    Failure::Interrupted(format!("interrupted: {NOTHING}"))
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

/// What the chat did.
#[derive(Debug, Default)]
struct Done {
    turns: u64,
    /// The tokens of questions and of answers, and for how many turns the endpoint reported them.
    tokens: (u64, u64),
    reported: u64,
}

struct Chat<'a> {
    app: &'a App,
    store: &'a dyn ChatStore,
    session: SessionId,
    /// The title of a session that has not started yet.
    title: Option<String>,
    owner: Option<Owner>,
    endpoint: Endpoint,
    model: String,
    /// The options with which it can be continued, as a shell reads them.
    options: String,
    system: Option<String>,
    policy: Policy,
    interrupts: Interrupts,
    /// Whether a person types the questions, and sees what is printed.
    is_terminal: bool,
    /// Where the session ended when the user last saw its end.
    seen: Option<Position>,
    /// The last question, if nothing of its turn was stored.
    unanswered: Option<Message>,
    /// The sessions that were listed last, in order.
    listed: Vec<SessionId>,
    done: Done,
}

impl Chat<'_> {
    /// Answers questions from standard input, until it ends.
    async fn converse(&mut self, keeps_history: bool) -> Result<(), Failure> {
        let mut input = Input::new(self.app, keeps_history);
        let terminal = input.is_terminal();
        self.is_terminal = terminal && !self.app.json();
        if self.is_terminal {
            self.show_session().await?;
        }
        let mut told = Omitted::default();
        while let Some(text) = input.next(self.app, &self.interrupts).await? {
            if text.trim().is_empty() {
                continue;
            }
            let line = Line::read(text);
            if line == Line::Quit {
                break;
            }
            let edits_lines = input.edits_lines();
            match self.obey(line, edits_lines).await {
                Ok(None) => {}
                Ok(Some(left_out)) => {
                    if !left_out.is_nothing() && told.is_nothing() {
                        say(format_args!("(the model did not get all messages: {left_out})"));
                        told = left_out;
                    }
                }
                // A user can ask again; a script's other lines would depend on what failed.
                Err(failure) if terminal && !matches!(failure, Failure::Closed) => {
                    say(format_args!("chat-memory: {}", failure.sentence().unwrap_or_default()));
                }
                Err(failure) => return Err(failure),
            }
            if edits_lines {
                self.app.out.line("")?;
                self.app.out.flush()?;
            }
        }
        if self.is_terminal {
            self.say_end();
        }
        Ok(())
    }

    /// Does what a line asks for; returns what the model was not shown, if it was asked.
    async fn obey(&mut self, line: Line, edits_lines: bool) -> Result<Option<Omitted>, Failure> {
        self.interrupts.forget();
        match line {
            Line::Ask(text) => return self.turn(Message::user(text), None).await.map(Some),
            Line::Retry => return self.retry().await.map(Some),
            Line::Help => say(command::help(edits_lines)),
            Line::New => self.start_new().await?,
            Line::Undo => self.undo().await?,
            Line::Title(title) => self.title(title).await?,
            Line::Sessions(None) => self.list_sessions().await?,
            Line::Sessions(Some(which)) => self.switch(&which).await?,
            Line::Fork(up_to) => self.fork(up_to).await?,
            Line::Quit => {}
            Line::Unknown(text) => {
                return Err(Failure::usage(format!(
                    "unknown command {text:?}: /help lists the commands; // in front sends a text that begins with /"
                )));
            }
        }
        Ok(None)
    }

    /// Waits for the result, unless the user interrupts.
    async fn unless_interrupted<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done?),
            () = self.interrupts.next() => Err(interrupted()),
        }
    }

    /// Asks one question and stores it with the complete answer in one append, in place of the last turn of `replaced` if that is
    /// given. Returns what the model was not shown.
    async fn turn(&mut self, question: Message, replaced: Option<&History>) -> Result<Omitted, Failure> {
        // Until the turn is stored.
        self.unanswered = Some(question.clone());
        let (earlier, left_out, position) = match replaced {
            Some(history) => {
                let window = self.policy.window(session::before_last_turn(history));
                (window.messages, window.left_out, history.position.clone())
            }
            None => {
                let waiting = Waiting::for_("reading the session");
                let recalled = self.unless_interrupted(recall(self.store, &self.session, &self.policy)).await?;
                drop(waiting);
                self.app.add_cost(recalled.cost);
                if self.seen.as_ref().is_some_and(|seen| *seen != recalled.position) {
                    say("(another program wrote to the session; the model gets that too)");
                }
                (recalled.window.messages, recalled.window.left_out, recalled.position)
            }
        };
        if earlier.is_empty() && !left_out.is_nothing() {
            say(format_args!("(the model gets no earlier messages: {left_out})"));
        }
        let system = self.system.as_ref().map(|text| Message::system(text.as_str()));
        let shown = system.iter().chain(&earlier).chain([&question]);
        let answer = self.ask(shown.map(openai::for_request).collect()).await?;

        let turn = [question, answer.message.clone()];
        let mut append = match replaced {
            Some(history) => Append::rewind_turns(history, 1, turn.clone())?.unwrap_or_else(|| Append::new(turn)),
            None => Append::new(turn),
        };
        if let Some(owner) = &self.owner {
            append = append.with_owner(owner.clone());
        }
        if let Some(title) = &self.title {
            append = append.with_title(title);
        }
        let waiting = Waiting::for_("storing the turn");
        let appended = tokio::select! {
            appended = self.store.append_with_retry(&self.session, append.clone()) => {
                appended.map_err(|e| {
                    // It may be stored: asking again could store it twice.
                    self.unanswered = self.unanswered.take().filter(|_| !e.is_in_doubt());
                    e.context("the answer above could not be stored with its question")
                })?
            }
            () = self.interrupts.next() => {
                // Likewise.
                self.unanswered = None;
                let session = &self.session;
                return Err(Failure::Interrupted(format!(
                    "append outcome unknown (interrupted): see whether the turn was stored with {}",
                    self.app.command(&format!("show {} --turns 1", shell_word(session.as_str())))
                )));
            }
        };
        drop(waiting);
        self.app.add_cost(appended.cost);
        if appended.seq != position.next() {
            say("(another program wrote to the session meanwhile; the model did not get that)");
        }
        (self.unanswered, self.title, self.seen) = (None, None, Some(appended.position.clone()));
        self.done.add(&answer);
        explain_start(self.app, self.store, &self.session, &append, &appended);
        if self.app.json() {
            self.app.out.json(&json!({
                "session": self.session.as_str(),
                "seq": appended.seq,
                "position": appended.position.to_string(),
                "answer": openai::to_value(&answer.message),
                "finish_reason": answer.finish,
                "usage": answer.usage,
                "cost": self.app.cost(),
            }))?;
            self.app.out.flush()?;
        }
        Ok(left_out)
    }

    /// Asks the model, and prints its answer as it arrives.
    async fn ask(&self, messages: Vec<Value>) -> Result<Answer, Failure> {
        let mut pieces = self.endpoint.ask(&self.model, messages);
        let mut at_line_start = true;
        let mut waiting = Some(Waiting::for_("waiting for the model"));
        let mut reasoning = Reasoning::default();
        let mut highlighter = self.app.out.colours.then(Highlighter::default);
        let outcome = loop {
            let piece = tokio::select! {
                piece = pieces.recv() => piece,
                () = self.interrupts.next() => break Err(interrupted()),
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
                    let text = visible(&text);
                    match &mut highlighter {
                        Some(highlighter) => self.app.out.text(highlighter.push(&text))?,
                        None => self.app.out.text(text)?,
                    }
                    self.app.out.flush()?;
                }
                Some(Ok(Piece::Whole(answer))) => break Ok(*answer),
                Some(Err(sentence)) => break Err(Failure::other(format!("{sentence}; {NOTHING}"))),
                None => break Err(Failure::other(format!("the request ended unexpectedly; {NOTHING}"))),
            }
        };
        drop(waiting);
        reasoning.end();
        if let Some(mut highlighter) = highlighter {
            self.app.out.text(highlighter.end())?;
        }
        if !at_line_start {
            self.app.out.line("")?;
        }
        self.app.out.flush()?;
        let answer = outcome?;
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

impl Done {
    fn add(&mut self, answer: &Answer) {
        self.turns += 1;
        let tokens = |name: &str| answer.usage.as_ref().and_then(|usage| usage[name].as_u64());
        if let (Some(of_prompt), Some(of_answer)) = (tokens("prompt_tokens"), tokens("completion_tokens")) {
            self.tokens.0 += of_prompt;
            self.tokens.1 += of_answer;
            self.reported += 1;
        }
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
