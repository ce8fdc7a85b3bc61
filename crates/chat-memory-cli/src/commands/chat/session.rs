//! What the commands of a chat do to its session, and what the chat shows of it.

use chat_memory::backend::check_title;
use chat_memory::memory::{Omitted, recall_records};
use chat_memory::store::{Fork, History, Load, Reach, SessionInfo, SessionOrder, SessionQuery, SessionUpdate};
use chat_memory::{Append, ChatStoreExt as _, Content, Entry, Error, ErrorKind, Message, Role, SessionId};

use super::{Chat, Waiting, count};
use crate::commands::session_id;
use crate::commands::sessions::to_json;
use crate::escape::{shell_word, visible_line};
use crate::failure::Failure;
use crate::output::say;
use crate::render::time;

/// How many sessions `/sessions` lists.
const LISTED: usize = 20;

/// How much the recap shows of a message.
const RECAP_LINES: usize = 6;
const RECAP_CHARS: usize = 600;

/// How many turns to read first for `/retry`, if the model gets a window.
const TURNS: usize = 16;

impl Chat<'_> {
    /// Shows which session this is, and how it ends.
    pub(super) async fn show_session(&mut self) -> Result<(), Failure> {
        let waiting = Waiting::for_("reading the session");
        let recalled = recall_records(self.store, &self.session, &self.policy, Load::all());
        let recalled = self.unless_interrupted(recalled).await?;
        let info = self.unless_interrupted(self.info()).await?;
        drop(waiting);
        self.app.add_cost(recalled.history.cost);
        self.seen = Some(recalled.history.position.clone());

        let id = visible_line(self.session.as_str());
        let title = info.and_then(|info| info.title).map(|title| format!(" ({})", visible_line(&title))).unwrap_or_default();
        let messages = recalled.messages().count() as u64;
        let messages = match (messages, recalled.left_out.is_nothing()) {
            (0, true) => "new".to_owned(),
            (n, true) => count(n, "message"),
            (n, false) => format!("the model gets the newest {}", count(n, "message")),
        };
        say(format_args!("{id}{title}: {messages}; {} at {}", self.model, self.endpoint.url()));
        say("/help lists the commands, Ctrl-C stops an answer, Ctrl-D ends the chat");
        let history: Vec<&Message> = recalled.history.messages().collect();
        self.recap(&history)
    }

    /// Shows the last turn, shortened: its question, and the last message that has a text.
    fn recap(&self, messages: &[&Message]) -> Result<(), Failure> {
        let last = messages.iter().rposition(|message| message.begins_turn());
        let Some(at) = last.filter(|_| self.is_terminal) else { return Ok(()) };
        let answer = messages[at + 1..].iter().rev().find(|message| message.role == Role::Assistant);
        let style = self.app.style();
        self.app.out.line(style.faint("the last turn:"))?;
        for message in [Some(&messages[at]), answer].into_iter().flatten() {
            self.app.out.text(style.message(&shortened(message)))?;
        }
        self.app.out.line("")?;
        self.app.out.flush()
    }

    /// The session's entry in the list of sessions, if the store has one.
    async fn info(&self) -> Result<Option<SessionInfo>, Error> {
        match self.store.session(&self.session).await {
            Err(error) if error.is_unsupported() => Ok(None),
            info => info,
        }
    }

    /// Removes the last turn.
    pub(super) async fn undo(&mut self) -> Result<(), Failure> {
        let history = self.last_turn("/undo", &Load::turns(1)).await?;
        let Some(append) = Append::rewind_turns(&history, 1, None::<Entry>)? else {
            say("there is no turn to remove");
            return Ok(());
        };
        let removed = question_of(&history).map(|question| first_line(&question)).unwrap_or_default();
        let appended = self.store.append(&self.session, &append).await?;
        self.app.add_cost(appended.cost);
        self.seen = Some(appended.position);
        self.unanswered = None;
        say(format_args!("removed the last turn: {}", visible_line(&removed)));
        Ok(())
    }

    /// Asks the last question again: the one that got no answer, or the one whose answer the new one replaces.
    pub(super) async fn retry(&mut self) -> Result<Omitted, Failure> {
        if let Some(question) = self.unanswered.take() {
            say(format_args!("asking again: {}", visible_line(&first_line(&question))));
            return self.turn(question, None).await;
        }
        // The model gets what it got then, so what precedes the turn is read too: for a window, as many turns as it needs.
        let mut turns = TURNS;
        let history = loop {
            let load = if matches!(self.policy.reach(), Reach::All) { Load::all() } else { Load::turns(turns) };
            let history = self.last_turn("/retry", &load).await?;
            if history.complete || self.policy.window(before_last_turn(&history)).left_out.older > 0 {
                break history;
            }
            turns *= 4;
        };
        let Some(question) = question_of(&history) else {
            say("there is no question to ask again");
            return Ok(Omitted::default());
        };
        say(format_args!("asking again: {}", visible_line(&first_line(&question))));
        let asked = self.turn(question, Some(&history)).await;
        // The old answer is still there: the next /retry replaces it, and does not add a turn.
        self.unanswered = None;
        asked
    }

    /// Reads the end of the session, with the last turn. If the user has not seen it yet, it is shown, and the command is refused: a
    /// repeat of the command then means that turn.
    async fn last_turn(&mut self, command: &str, load: &Load) -> Result<History, Failure> {
        let waiting = Waiting::for_("reading the session");
        let history = self.unless_interrupted(self.store.load(&self.session, load)).await?;
        drop(waiting);
        self.app.add_cost(history.cost);
        let is_seen = self.seen.as_ref().is_none_or(|seen| *seen == history.position);
        self.seen = Some(history.position.clone());
        if is_seen {
            return Ok(history);
        }
        self.recap(&history.messages().collect::<Vec<_>>())?;
        let refused = format!("{command} was not done: another program wrote to the session; repeat {command} for its last turn");
        Err(Error::new(ErrorKind::Conflict, refused).into())
    }

    /// Prints the title, or sets it.
    pub(super) async fn title(&mut self, title: Option<String>) -> Result<(), Failure> {
        let Some(title) = title else {
            let stored = self.unless_interrupted(self.info()).await?.and_then(|info| info.title);
            match stored.as_ref().or(self.title.as_ref()) {
                Some(title) => say(visible_line(title)),
                None => say("the session has no title; /title TEXT sets it"),
            }
            return Ok(());
        };
        check_title(&title)?;
        let update = SessionUpdate::default().with_title(title.clone());
        let updated = self.unless_interrupted(self.store.update_session(&self.session, &update)).await?;
        if updated.is_some() {
            say(format_args!("title: {}", visible_line(&title)));
        } else {
            say(format_args!("title: {} (stored with the first turn)", visible_line(&title)));
            self.title = Some(title);
        }
        Ok(())
    }

    /// Lists the newest sessions, with the number by which each can be continued.
    pub(super) async fn list_sessions(&mut self) -> Result<(), Failure> {
        let query = |order: SessionOrder| {
            let query = self.owner.clone().map_or_else(SessionQuery::unowned, SessionQuery::of).limit(LISTED);
            if order == SessionOrder::Recent { query.recent() } else { query }
        };
        let order = if self.store.capabilities().last_activity.is_some() { SessionOrder::Recent } else { SessionOrder::Started };
        let waiting = Waiting::for_("listing the sessions");
        let page = self.unless_interrupted(self.store.sessions(&query(order))).await?;
        drop(waiting);
        self.app.add_cost(page.cost);
        let style = self.app.style();
        self.listed = page.sessions.iter().map(|info| info.id.clone()).collect();
        if self.app.json() {
            page.sessions.iter().try_for_each(|info| self.app.out.json(&to_json(info)))?;
            return self.app.out.flush();
        }
        for (n, info) in page.sessions.iter().enumerate() {
            let at = if page.order == SessionOrder::Recent { info.last_at } else { info.created_at.known() };
            let at = at.map(|at| time(at, &style.zone)).unwrap_or_default();
            let name = info.title.as_deref().or(info.first_words.as_deref()).map(visible_line).unwrap_or_default();
            let here = if info.id == self.session { "*" } else { " " };
            self.app.out.line(format_args!("{here}{:3}  {at}  {}  {name}", n + 1, visible_line(info.id.as_str())))?;
        }
        self.app.out.flush()?;
        say(match page.sessions.len() {
            0 => "there are no sessions yet",
            _ => "/sessions N or /sessions ID continues one",
        });
        Ok(())
    }

    /// Continues another session: by its number in the list, or by its id.
    pub(super) async fn switch(&mut self, which: &str) -> Result<(), Failure> {
        let number = which.parse::<usize>().ok();
        let session = match number.and_then(|n| self.listed.get(n.checked_sub(1)?)) {
            Some(session) => session.clone(),
            None => session_id(which)?,
        };
        // A short number is meant as one of the list, unless a session is called so.
        if number.is_some_and(|n| n <= LISTED) && !self.listed.contains(&session) {
            let start = self.unless_interrupted(self.store.start_position(&session)).await?;
            if start.is_some() {
                let listed = count(self.listed.len() as u64, "session");
                return Err(Failure::usage(format!("no number {which} in the list: it has {listed}; /sessions shows them")));
            }
        }
        self.change(session).await
    }

    /// Starts a new session.
    pub(super) async fn start_new(&mut self) -> Result<(), Failure> {
        self.change(SessionId::random()).await
    }

    /// Continues in a copy of the session.
    pub(super) async fn fork(&mut self, up_to: Option<u64>) -> Result<(), Failure> {
        let new = SessionId::random();
        let mut fork = up_to.map_or_else(Fork::new, |seq| Fork::new().up_to(seq));
        if let Some(owner) = &self.owner {
            fork = fork.with_owner(owner.clone());
        }
        let forked = self.unless_interrupted(self.store.fork(&self.session, &new, &fork)).await?;
        self.app.add_cost(forked.cost);
        say(format_args!("forked {} up to record {} ({})", self.session, forked.seq, count(forked.records, "record")));
        self.change(new).await
    }

    async fn change(&mut self, session: SessionId) -> Result<(), Failure> {
        self.session = session;
        (self.title, self.seen, self.unanswered) = (None, None, None);
        self.show_session().await
    }

    /// Prints what the chat took, and how to continue.
    pub(super) fn say_end(&self) {
        let turns = self.done.turns;
        if turns == 0 {
            return;
        }
        let cost = self.app.cost();
        let mut line = format!("{}; store: {}", count(turns, "turn"), count(cost.requests, "request"));
        if cost.read_units > 0.0 || cost.write_units > 0.0 {
            line.push_str(&format!(", {} read units, {} write units", cost.read_units, cost.write_units));
        }
        if self.done.reported > 0 {
            let (of_prompts, of_answers) = self.done.tokens;
            line.push_str(&format!("; tokens: {of_prompts} read, {of_answers} written"));
            if self.done.reported < turns {
                line.push_str(&format!(" (reported for {})", count(self.done.reported, "turn")));
            }
        }
        say(line);
        let chat = format!("chat {}{}", shell_word(self.session.as_str()), self.options);
        say(format_args!("continue with: {}", self.app.command(&chat)));
    }
}

/// The messages before the last turn, oldest first.
pub(super) fn before_last_turn(history: &History) -> Vec<Message> {
    let mut messages: Vec<Message> = history.messages().cloned().collect();
    let end = messages.iter().rposition(Message::begins_turn).unwrap_or(messages.len());
    messages.truncate(end);
    messages
}

/// The message that begins the last turn.
fn question_of(history: &History) -> Option<Message> {
    history.messages().rfind(|message| message.begins_turn()).cloned()
}

fn text_of(message: &Message) -> String {
    match &message.content {
        Some(Content::Text(text)) => text.clone(),
        _ => message.parts().iter().filter_map(|part| part.as_text()).collect::<Vec<_>>().join("\n"),
    }
}

fn first_line(message: &Message) -> String {
    const MOST: usize = 60;
    let text = text_of(message);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    if line.chars().count() <= MOST { line.to_owned() } else { line.chars().take(MOST).chain(['…']).collect() }
}

/// The message with the beginning of its text only.
fn shortened(message: &Message) -> Message {
    let mut message = message.clone();
    if let Some(Content::Text(text)) = &message.content {
        let mut short: String = text.lines().take(RECAP_LINES).collect::<Vec<_>>().join("\n").chars().take(RECAP_CHARS).collect();
        if short.len() < text.trim_end().len() {
            short.push_str(" …");
            message.content = Some(Content::Text(short));
        }
    }
    message
}
