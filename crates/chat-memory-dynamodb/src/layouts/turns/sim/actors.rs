//! Clients that act at random and record the responses.

use std::sync::{Arc, Mutex};

use serde_json::Map;

use super::lives::Patch;
use super::world::Client;
use super::{Common, LIMITS};
use crate::layouts::turns::{Rule, Turns};
use crate::table::sim::{REPEATED_MS, may_be};
use chat_memory_core::backend::first_words;
use chat_memory_core::error::Error;
use chat_memory_core::message::Message;
use chat_memory_core::store::{
    Append, AppendId, Appended, History, Identity, Load, Position, Reach, Redaction, SessionQuery, SessionUpdate, Ticket,
};
use chat_memory_core::{Owner, SessionId, Timestamp};

/// A logical append: however often it is tried, it must land at most once.
#[derive(Debug, Clone)]
pub(super) struct Op {
    pub(super) number: u64,
    pub(super) session: SessionId,
    pub(super) append: Append,
    /// The appends whose records follow in the same transaction.
    pub(super) more: Vec<Append>,
    pub(super) started: u64,
    pub(super) started_ms: i64,
    pub(super) acked: Option<Ack>,
    /// The outcome of one attempt was unknown: another attempt may have landed it since.
    pub(super) in_doubt: bool,
    /// An attempt failed with an error that says that nothing was written.
    pub(super) refused: bool,
    /// Its attempts, each with its first and last step; without a last step if the process was killed during it.
    pub(super) tries: Vec<(u64, Option<u64>)>,
}

/// A completed delete, with its first and last step.
#[derive(Debug)]
pub(super) struct Deleted {
    pub(super) session: SessionId,
    pub(super) started: u64,
    pub(super) ended: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Ack {
    pub(super) step: u64,
    pub(super) seq: u64,
    /// Of the last of its records.
    pub(super) id: Option<AppendId>,
}

/// A load and its result.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) session: SessionId,
    pub(super) started: u64,
    pub(super) ended: u64,
    /// The client's clock at the start and at the end.
    pub(super) clock: (Timestamp, Timestamp),
    pub(super) load: Load,
    pub(super) history: History,
}

/// A redaction, with its first step and, if it was acknowledged, its last one.
#[derive(Debug)]
pub(super) struct Redacting {
    pub(super) id: AppendId,
    /// The index of the message; `None` for all.
    pub(super) message: Option<usize>,
    pub(super) started: u64,
    pub(super) ended: Option<u64>,
}

/// What all clients recorded.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) redactions: Vec<Redacting>,
    pub(super) ops: Vec<Op>,
    pub(super) loads: Vec<Seen>,
    pub(super) deletes: Vec<Deleted>,
    pub(super) errors: Vec<String>,
    tickets: Vec<(u64, Ticket)>,
    keys: Vec<u64>,
}

pub(super) struct Actor {
    pub(super) client: Client,
    pub(super) notes: Arc<Mutex<Notes>>,
    pub(super) sessions: Vec<SessionId>,
    pub(super) owners: Vec<Option<Owner>>,
    pub(super) settings: Common,
    pub(super) broken: Option<Rule>,
    /// Whether it also appends several records at once.
    pub(super) groups: bool,
    /// Whether it also redacts records.
    pub(super) redacts: bool,
}

impl Op {
    /// Whether a later attempt may have landed after one was refused.
    pub(super) fn was_repeated(&self) -> bool {
        !matches!(self.append.identity(), Identity::New) || self.in_doubt
    }
}

impl Actor {
    /// Loads everything, for the last check of a schedule.
    pub(super) async fn load_once(self) {
        let turns = self.turns();
        for session in &self.sessions {
            self.load_by(&turns, session, Load::all()).await;
        }
        for owner in &self.owners {
            self.list(&turns, owner.as_ref()).await;
        }
        for session in &self.sessions {
            self.read_contents(&turns, session).await;
        }
    }

    /// Reads what a list does not say of a session, and checks that it agrees with a load.
    async fn read_contents(&self, turns: &Turns<Client, Client>, session: &SessionId) {
        let load = async || self.check("load", turns.load(session, &Load::all()).await);
        let Some(before) = load().await else { return };
        let Some(Some(info)) = self.check("session", turns.session(session).await) else { return };
        let mut read = [info];
        if self.check("contents", turns.read_contents(&mut read).await).is_none() {
            return;
        }
        // A write that was held may have arrived meanwhile.
        let Some(after) = load().await.filter(|after| after.records == before.records) else { return };
        let [info] = read;
        let in_view: Vec<_> = after.records.iter().filter(|record| !record.entries.is_empty()).collect();
        let words = in_view.iter().take(3).find_map(|record| first_words(&record.entries));
        let (least, most) = (in_view.len() as u64, after.position.next());
        let is_right = info.first_words.is_none() || info.first_words == words;
        let is_counted = !info.records_exact || info.records.is_some_and(|records| (least..=most).contains(&records));
        if !is_right || !is_counted {
            let why = format!("{session} shows {words:?} and {least} records up to {most}, and its contents are {info:?}");
            self.notes(|notes| notes.errors.push(why));
        }
    }

    pub(super) fn turns(&self) -> Turns<Client, Client> {
        let mut turns = Turns::new(self.client.clone(), self.client.clone(), self.settings.clone(), LIMITS);
        turns.broken.extend(self.broken);
        turns
    }

    fn below(&self, n: u32) -> u32 {
        self.client.world().rng.u32(0..n)
    }

    fn now(&self) -> (u64, i64) {
        let world = self.client.world();
        (world.step, world.now_ms)
    }

    fn clock(&self) -> Timestamp {
        let world = self.client.world();
        Timestamp::from_millis(world.now_ms + world.skew_ms[self.client.number])
    }

    fn notes<A>(&self, note: impl FnOnce(&mut Notes) -> A) -> A {
        note(&mut self.notes.lock().expect("no schedule panics while it holds the notes"))
    }

    /// One of the sessions.
    fn session(&self) -> SessionId {
        self.sessions[self.below(self.sessions.len() as u32) as usize].clone()
    }

    fn owner(&self) -> Option<Owner> {
        self.owners[self.below(self.owners.len() as u32) as usize].clone()
    }

    /// Runs one process: it starts cold and performs a few operations.
    pub(super) async fn live(self) {
        let turns = self.turns();
        let mut read: Option<(SessionId, Position)> = None;
        loop {
            let session = self.session();
            if self.redacts && self.below(5) == 0 {
                self.redact(&turns, &session).await;
                continue;
            }
            match self.below(112) {
                0..38 if self.below(3) == 0 => self.new_key(&turns).await,
                0..38 => {
                    let appended = self.append(&turns, &session, Append::new(self.messages())).await;
                    read = appended.map(|appended| (session, appended.position)).or(read);
                }
                38..46 => {
                    // The position of an earlier read or append; sometimes an old one.
                    if let Some((session, position)) = read.clone() {
                        let position =
                            if self.below(2) == 0 { position } else { position.to_string().parse().expect("our own text") };
                        let append = Append::new(self.messages()).with_expected(position);
                        read = self.append(&turns, &session, append).await.map(|a| (session, a.position));
                    }
                }
                46..52 => self.repeat_key(&turns).await,
                52..60 => self.repeat_ticket(&turns).await,
                60..67 => self.rewind(&turns, &session).await,
                67..74 => {
                    let clear = if self.below(4) == 0 { Append::replace_all(self.messages()) } else { Append::clear() };
                    if self.append(&turns, &session, clear).await.is_some() {
                        self.check("sweep", turns.sweep(&session).await);
                    }
                }
                74..78 => self.delete(&turns, session).await,
                78 => drop(self.check("sweep of the table", turns.sweep_table(&mut |_| ()).await)),
                79..81 => drop(self.check("sweep", turns.sweep(&session).await)),
                81..98 => read = self.load(&turns, &session).await.map(|history| (session, history.position)).or(read),
                98..104 => self.list(&turns, self.owner().as_ref()).await,
                104..107 => self.title(&turns, &session).await,
                _ => return,
            }
        }
    }

    async fn delete(&self, turns: &Turns<Client, Client>, session: SessionId) {
        let (started, _) = self.now();
        if self.check("delete", turns.delete(&session).await).is_some() {
            let (ended, _) = self.now();
            self.notes(|notes| notes.deletes.push(Deleted { session, started, ended }));
        }
    }

    /// Lists an owner's sessions, page by page, and checks that the result is possible.
    async fn list(&self, turns: &Turns<Client, Client>, owner: Option<&Owner>) {
        let begun_at = self.clock();
        let begun = self.client.world().lives.begin(begun_at);
        let mut query = owner.cloned().map_or_else(SessionQuery::unowned, SessionQuery::of).limit(1 + self.below(3) as usize);
        let mut shown = Vec::new();
        loop {
            let Some(page) = self.check("list", turns.sessions(&query).await) else { return };
            if let Some(warning) = page.warnings.first() {
                self.notes(|notes| notes.errors.push(format!("list: {warning}")));
            }
            shown.extend(page.sessions);
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        if crate::table::sim::is_shown() {
            eprintln!("{} client {} lists {owner:?}: {shown:?}", self.now().0, self.client.number);
        }
        let ended_at = self.clock();
        let result = self.client.world().lives.check(owner.map(Owner::as_str), &shown, &begun, ended_at);
        if let Err(why) = result {
            self.notes(|notes| notes.errors.push(format!("a list: {why}")));
        }
    }

    /// Titles a session.
    async fn title(&self, turns: &Turns<Client, Client>, session: &SessionId) {
        let place = {
            let lives = &mut self.client.world().lives;
            let start = lives.event();
            let title = format!("title {}", lives.patches.len());
            lives.patches.push(Patch { title, start, end: None, entry: None });
            lives.patches.len() - 1
        };
        let title = self.client.world().lives.patches[place].title.clone();
        let update = SessionUpdate::default().with_title(title);
        let Some(info) = self.check("title", turns.update_session(session, &update).await) else { return };
        let lives = &mut self.client.world().lives;
        let end = lives.event();
        let patch = &mut lives.patches[place];
        patch.end = Some(end);
        patch.entry = info.map(|info| (info.id.to_string(), info.created_at));
    }

    fn messages(&self) -> Vec<Message> {
        let number = self.notes(|notes| notes.ops.len());
        let pad = if self.below(12) == 0 { "x".repeat(900) } else { String::new() };
        (0..=self.below(2)).map(|n| Message::user(format!("{number}.{n}{pad}"))).collect()
    }

    fn check<A>(&self, what: &str, result: Result<A, Error>) -> Option<A> {
        match result {
            Ok(answer) => Some(answer),
            Err(error) if may_be(&error) => None,
            Err(error) => {
                self.notes(|notes| notes.errors.push(format!("{what}: {error}")));
                None
            }
        }
    }

    async fn append(&self, turns: &Turns<Client, Client>, session: &SessionId, append: Append) -> Option<Appended> {
        let is_group = self.groups && append.rewinds_to().is_none() && self.below(2) == 0;
        let more = if is_group { (0..=self.below(3)).map(|_| Append::new(self.messages())).collect() } else { Vec::new() };
        self.append_with(turns, session, append, more).await
    }

    async fn append_with(
        &self,
        turns: &Turns<Client, Client>,
        session: &SessionId,
        mut append: Append,
        more: Vec<Append>,
    ) -> Option<Appended> {
        let (started, started_ms) = self.now();
        let title = self.below(2) == 0;
        let owner = self.owner();
        let number = self.notes(|notes| {
            let number = notes.ops.len() as u64;
            append = append.clone().with_metadata(Map::from_iter([("op".to_owned(), number.into())]));
            if let Some(owner) = owner {
                append = append.clone().with_owner(owner);
            }
            if title {
                append = append.clone().with_title(format!("start {number}"));
            }
            let session = session.clone();
            notes.ops.push(Op {
                number,
                session,
                append: append.clone(),
                more,
                started,
                started_ms,
                acked: None,
                in_doubt: false,
                refused: false,
                tries: Vec::new(),
            });
            number
        });
        self.try_op(turns, number, None).await
    }

    async fn try_op(&self, turns: &Turns<Client, Client>, number: u64, ticket: Option<Ticket>) -> Option<Appended> {
        let (started, _) = self.now();
        let (append, more, session, attempt) = self.notes(|notes| {
            let op = &mut notes.ops[number as usize];
            op.tries.push((started, None));
            (op.append.clone(), op.more.clone(), op.session.clone(), op.tries.len() - 1)
        });
        let append = ticket.map_or(append.clone(), |ticket| append.with_ticket(ticket));
        let result = match &more[..] {
            [] => turns.append(&session, &append).await,
            more => turns.append_all(&session, &[std::slice::from_ref(&append), more].concat()).await,
        };
        let (step, _) = self.now();
        self.notes(|notes| notes.ops[number as usize].tries[attempt].1 = Some(step));
        if crate::table::sim::is_shown() {
            let from = self.notes(|notes| notes.ops[number as usize].started);
            eprintln!("{from}-{step} client {} op {number} {append:?}: {result:?}", self.client.number);
        }
        self.notes(|notes| {
            let op = &mut notes.ops[number as usize];
            match &result {
                Ok(appended) => {
                    let id = appended.position.last();
                    let ack = Ack { step, seq: appended.seq, id };
                    if let Some(first) = &op.acked
                        && first.seq != ack.seq
                    {
                        notes
                            .errors
                            .push(format!("op {number} was acknowledged as record {} and as record {}", first.seq, ack.seq));
                    }
                    op.acked.get_or_insert(ack);
                }
                Err(error) => match error.ticket() {
                    Some(ticket) => {
                        op.in_doubt = true;
                        notes.tickets.push((number, *ticket));
                    }
                    None if ticket.is_none() => op.refused = true,
                    None => {}
                },
            }
            if let Err(error) = &result
                && error.is_conflict()
                && notes.ops[number as usize].append.expected().is_none()
            {
                notes.errors.push(format!("op {number} expected nothing and met a conflict"));
            }
        });
        self.check("append", result)
    }

    /// Repeats an append under its key: a new key, or one that any client used before.
    async fn repeat_key(&self, turns: &Turns<Client, Client>) {
        let (_, now_ms) = self.now();
        let pick = self.client.world().rng.usize(..);
        let known = self.notes(|notes| {
            let recent = |number: &u64| now_ms - notes.ops[*number as usize].started_ms < REPEATED_MS;
            let recent: Vec<u64> = notes.keys.iter().copied().filter(recent).collect();
            (!recent.is_empty()).then(|| recent[pick % recent.len()])
        });
        match known {
            Some(number) if self.below(3) > 0 => {
                self.try_op(turns, number, None).await;
            }
            _ => self.new_key(turns).await,
        }
    }

    async fn new_key(&self, turns: &Turns<Client, Client>) {
        let number = self.notes(|notes| {
            let number = notes.ops.len() as u64;
            notes.keys.push(number);
            number
        });
        self.append(turns, &self.session(), Append::new(self.messages()).with_key(format!("key {number}"))).await;
    }

    async fn repeat_ticket(&self, turns: &Turns<Client, Client>) {
        let pick = self.client.world().rng.usize(..);
        let ticket = self.notes(|notes| (!notes.tickets.is_empty()).then(|| notes.tickets[pick % notes.tickets.len()]));
        if let Some((number, ticket)) = ticket {
            self.try_op(turns, number, Some(ticket)).await;
        }
    }

    async fn rewind(&self, turns: &Turns<Client, Client>, session: &SessionId) {
        let Some(history) = self.load_by(turns, session, Load::all()).await else { return };
        if history.records.is_empty() {
            return;
        }
        let pick = self.client.world().rng.usize(..history.records.len());
        let messages = if self.below(2) == 0 { self.messages() } else { Vec::new() };
        let rewind = Append::rewind(&history, history.records[pick].seq, messages).expect("a record that it shows");
        self.append(turns, session, rewind).await;
    }

    /// Redacts a record that it sees, or one that it only knows of.
    async fn redact(&self, turns: &Turns<Client, Client>, session: &SessionId) {
        let Some(history) = self.load_by(turns, session, Load::all()).await else { return };
        let pick = self.client.world().rng.u64(..history.position.next().max(1));
        let plan = turns.redact(session, pick, &Redaction::new().dry_run()).await;
        let is_expected = |error: &Error| error.is_not_found() || error.is_contended();
        // A rewind or a clear says nothing that could be redacted.
        let says_nothing = |error: &Error| is_expected(error) || error.is_invalid();
        let Some(plan) = self.check_unless("dry run", plan, says_nothing) else { return };
        let count = plan.before.entries.len();
        let message = (count > 1 && self.below(2) == 0).then(|| self.below(count as u32) as usize);
        let mut redaction = Redaction::new().with_expected(plan.before.append_id);
        if let Some(index) = message {
            redaction = redaction.message(index);
        }
        let (started, _) = self.now();
        let place = self.notes(|notes| {
            notes.redactions.push(Redacting { id: plan.before.append_id, message, started, ended: None });
            notes.redactions.len() - 1
        });
        let redacted = turns.redact(session, pick, &redaction).await;
        if self.check_unless("redact", redacted, is_expected).is_some() {
            let (ended, _) = self.now();
            self.notes(|notes| notes.redactions[place].ended = Some(ended));
        }
    }

    fn check_unless<A>(&self, what: &str, result: Result<A, Error>, is_expected: impl Fn(&Error) -> bool) -> Option<A> {
        match result {
            Err(error) if is_expected(&error) => None,
            result => self.check(what, result),
        }
    }

    async fn load(&self, turns: &Turns<Client, Client>, session: &SessionId) -> Option<History> {
        let load = match self.below(3) {
            0 => Load::all(),
            1 => Load::last(self.below(6) as usize),
            _ => Load::reaching(Reach::Turns(self.below(4) as usize)),
        };
        self.load_by(turns, session, load).await
    }

    async fn load_by(&self, turns: &Turns<Client, Client>, session: &SessionId, load: Load) -> Option<History> {
        let ((started, _), from) = (self.now(), self.clock());
        let history = self.check("load", turns.load(session, &load).await)?;
        let ((ended, _), to) = (self.now(), self.clock());
        let seen = Seen { session: session.clone(), started, ended, clock: (from, to), load, history: history.clone() };
        self.notes(|notes| notes.loads.push(seen));
        Some(history)
    }
}
