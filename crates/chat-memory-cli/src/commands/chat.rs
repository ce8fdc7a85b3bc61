//! `chat`

use std::io::{self, BufRead, IsTerminal, Write};

use chat_memory::memory::{LeftOut, Policy, recall};
use chat_memory::wire::openai;
use chat_memory::{Append, ChatStore, ChatStoreExt, Message, Owner, SessionId};
use clap::Args;
use serde_json::{Value, json};
use tokio::signal::ctrl_c;
use tokio::sync::mpsc;

use super::{owner, session_id};
use crate::app::App;
use crate::endpoint::{Answer, Endpoint, Piece};
use crate::failure::Failure;
use crate::output::say;
use crate::render::Style;
use crate::visible::visible;
use crate::window::WindowOptions;

const EXAMPLES: &str = "\
Examples:
  chat-memory chat trip --base-url http://127.0.0.1:11434/v1 --model llama3.2

  export OPENAI_BASE_URL=https://api.openai.com/v1 OPENAI_API_KEY=…
  chat-memory chat trip --model gpt-4o-mini --turns 20
  chat-memory chat --model gpt-4o-mini          a new session; its id is said
  chat-memory chat trip --model gpt-4o-mini -m 'And in winter?'
  echo 'And in winter?' | chat-memory chat trip --model gpt-4o-mini

Each line you type is a question. It is stored together with its answer, in one append, when the answer is whole: Ctrl-C in \
the middle of an answer, or a connection that breaks, leaves nothing of the turn behind. Ctrl-C or Ctrl-D at the prompt ends the \
chat; run it again with the session's id and it goes on.

--system is sent in front of each request and not stored. The model is shown the whole history, or the window that --last, \
--turns or --tokens gives, from a user's message on (--start-at-user=false turns that off). Tools are not run: a model that calls one has its call stored and shown.

With --json each answer is a line {\"session\", \"seq\", \"position\", \"answer\", \"finish_reason\", \"cost\"}, and nothing is printed before \
the answer is whole.";

/// Talk to a model behind any OpenAI-compatible endpoint; the conversation is remembered
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The session's id; without one, a new session
    session: Option<String>,
    /// The endpoint, up to before /chat/completions [env: OPENAI_BASE_URL]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The model
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Instructions to the model
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Ask this, print the answer, and end
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
    #[command(flatten)]
    window: WindowOptions,
    /// If this starts the session: whose it is
    #[arg(long)]
    owner: Option<String>,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let session = arguments.session.as_deref().map(session_id).transpose()?;
    let owner = owner(arguments.owner.as_ref())?;
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let base_url = arguments.base_url.or_else(|| variable("OPENAI_BASE_URL")).ok_or_else(|| {
        Failure::usage("say where the model is: --base-url URL or OPENAI_BASE_URL (OpenAI's own is https://api.openai.com/v1)")
    })?;
    let endpoint = Endpoint::new(&base_url, variable("OPENAI_API_KEY"))?;
    let policy = arguments.window.policy(Some(&arguments.model), true)?;
    let store = app.store().await?;
    let session = session.unwrap_or_else(|| {
        let session = SessionId::random();
        say(format_args!("new session {session}"));
        session
    });
    let chat = Chat { app, store: &*store, session, owner, endpoint, model: arguments.model, system: arguments.system, policy };
    match arguments.message {
        Some(question) => chat.turn(question).await.map(drop),
        None => chat.converse().await,
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
}

impl Chat<'_> {
    /// Questions from standard input, a line each, until it ends.
    async fn converse(&self) -> Result<(), Failure> {
        let terminal = io::stdin().is_terminal();
        let style = Style { colours: self.app.out.colours };
        let mut questions = lines_of_stdin();
        let mut told = LeftOut::default();
        loop {
            if terminal {
                let mut err = io::stderr().lock();
                let _ = write!(err, "{} ", style.author(chat_memory::Role::User, ">"));
                let _ = err.flush();
            }
            let question = tokio::select! {
                line = questions.recv() => line,
                _ = ctrl_c() => None,
            };
            let Some(question) = question else { break };
            let question = question.map_err(|e| Failure::other(format!("standard input cannot be read: {e}")))?;
            if question.trim().is_empty() {
                continue;
            }
            match self.turn(question).await {
                Ok(left_out) => {
                    if !left_out.is_nothing() && told.is_nothing() {
                        say(format_args!("(the model was not shown everything: {left_out})"));
                        told = left_out;
                    }
                }
                // Whoever sits there can ask again; a script's other questions would rest on an answer that is missing.
                Err(Failure::Other(sentence)) if terminal => say(format_args!("chat-memory: {sentence}")),
                Err(failure) => return Err(failure),
            }
        }
        if terminal {
            say("");
        }
        Ok(())
    }

    /// One question and its answer, stored in one append when the answer is whole. Returns what the model was not shown.
    async fn turn(&self, question: String) -> Result<LeftOut, Failure> {
        let question = Message::user(question);
        let recalled = recall(self.store, &self.session, &self.policy).await?;
        self.app.spend(recalled.receipt);
        if recalled.window.messages.is_empty() && !recalled.window.left_out.is_nothing() {
            say(format_args!("(the model is shown nothing of what came before: {})", recalled.window.left_out));
        }
        let system = self.system.as_ref().map(|text| Message::system(text.as_str()));
        let shown = system.iter().chain(&recalled.window.messages).chain([&question]);
        let answer = self.ask(shown.map(openai::for_request).collect()).await?;

        let mut append = Append::new([question, answer.message.clone()]);
        if let Some(owner) = &self.owner {
            append = append.owned_by(owner.clone());
        }
        let appended = self
            .store
            .append_surely(&self.session, append)
            .await
            .map_err(|e| e.context("the answer above could not be stored with its question"))?;
        self.app.spend(appended.receipt);
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

    /// Asks the model, and prints its answer as it comes.
    async fn ask(&self, messages: Vec<Value>) -> Result<Answer, Failure> {
        const NOTHING: &str = "nothing of this turn was stored";
        let mut pieces = self.endpoint.ask(&self.model, messages);
        let mut at_line_start = true;
        let outcome = loop {
            let piece = tokio::select! {
                piece = pieces.recv() => piece,
                _ = ctrl_c() => break Err(format!("interrupted: {NOTHING}")),
            };
            match piece {
                Some(Ok(Piece::Text(text))) if !self.app.json() => {
                    at_line_start = text.ends_with('\n');
                    self.app.out.text(visible(&text))?;
                    self.app.out.flush()?;
                }
                Some(Ok(Piece::Text(_))) => {}
                Some(Ok(Piece::Whole(answer))) => break Ok(*answer),
                Some(Err(sentence)) => break Err(format!("{sentence}; {NOTHING}")),
                None => break Err(format!("the request ended unexpectedly; {NOTHING}")),
            }
        };
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

    /// What there is to say of an answer beside its text.
    fn remark(&self, answer: &Answer) -> Result<(), Failure> {
        if !answer.message.tool_calls.is_empty() || answer.message.extra.contains_key("refusal") {
            let calls = Message { content: None, ..answer.message.clone() };
            self.app.out.text(Style { colours: self.app.out.colours }.message(&calls))?;
        }
        match answer.finish.as_deref() {
            Some("length") => say("(the model stopped at the longest answer it may give)"),
            Some("content_filter") => say("(the endpoint's content filter cut the answer)"),
            Some("tool_calls") | Some("function_call") => say("(tools are not run here)"),
            _ => {}
        }
        Ok(())
    }
}

/// The lines of standard input. They are read in a thread of their own, which may wait there for ever.
fn lines_of_stdin() -> mpsc::Receiver<io::Result<String>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                break;
            }
        }
    });
    receiver
}
