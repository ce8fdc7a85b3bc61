//! Clients of ours, and an original, that act at random and record the responses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::Map;

use super::super::element::Dialect;
use super::super::{Listed, Rule, Settings};
use super::world::Client;
use crate::common::sessions::Common;
use crate::table::sim::{REPEATED_MS, may_be, turn};
use chat_memory_core::SessionId;
use chat_memory_core::error::Error;
use chat_memory_core::message::Message;
use chat_memory_core::store::{Append, Appended, History, Identity, Load, PageCursor, Position, Ticket};

/// A logical append: however often it is tried, it must land at most once.
#[derive(Debug, Clone)]
pub(super) struct Op {
    pub(super) number: u64,
    pub(super) append: Append,
    started_ms: i64,
    pub(super) started: u64,
    pub(super) acked: Option<u64>,
    in_doubt: bool,
    pub(super) refused: Option<u64>,
    /// The range of versions within which its expected position was read.
    pub(super) expects: Option<(usize, usize)>,
}

impl Op {
    pub(super) fn was_repeated(&self) -> bool {
        !matches!(self.append.identity(), Identity::New) || self.in_doubt
    }
}

/// A load and its result.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) started: u64,
    pub(super) ended: u64,
    pub(super) texts: Vec<String>,
    pub(super) complete: bool,
    /// Whether it is a page of what is older than an earlier load showed.
    pub(super) is_page: bool,
    pub(super) murky: bool,
}

/// What all clients recorded.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) ops: Vec<Op>,
    pub(super) loads: Vec<Seen>,
    pub(super) errors: Vec<String>,
    tickets: Vec<(u64, Ticket)>,
    keys: Vec<u64>,
    /// The range of versions within which each position was read.
    versions: HashMap<String, (usize, usize)>,
    texts: u64,
}

pub(super) struct Actor {
    pub(super) client: Client,
    pub(super) notes: Arc<Mutex<Notes>>,
    pub(super) session: SessionId,
    pub(super) common: Common,
    pub(super) settings: Settings,
    pub(super) broken: Option<Rule>,
    /// Whether it uses keys and tickets.
    pub(super) repeats: bool,
}

type Sessions = Listed<Client, Client>;

impl Actor {
    fn below(&self, n: u32) -> u32 {
        self.client.world().rng.u32(0..n)
    }

    fn notes<A>(&self, note: impl FnOnce(&mut Notes) -> A) -> A {
        note(&mut self.notes.lock().expect("no schedule panics while it holds the notes"))
    }

    fn text(&self) -> String {
        self.notes(|notes| {
            notes.texts += 1;
            notes.texts.to_string()
        })
    }

    fn messages(&self) -> Vec<Message> {
        let pad = match self.below(40) {
            0 => "x".repeat(6_500),
            1..4 => "x".repeat(700),
            _ => String::new(),
        };
        (0..=self.below(2)).map(|_| Message::user(format!("{}{pad}", self.text()))).collect()
    }

    fn sessions(&self) -> Sessions {
        let mut sessions = Listed::new(self.client.clone(), self.client.clone(), self.common.clone(), self.settings.clone());
        sessions.broken.extend(self.broken);
        sessions
    }

    pub(super) async fn load_once(self) {
        self.load_by(&self.sessions(), Load::all()).await;
    }

    /// Runs an original's process.
    pub(super) async fn live_as_original(self, dialect: Dialect) {
        loop {
            match (self.below(12), dialect) {
                (0, _) => self.client.world().original_clears(),
                (_, Dialect::Js) => {
                    let text = format!("js {}", self.text());
                    self.client.world().js_appends(&text);
                }
                (_, Dialect::Python) => {
                    let read = self.client.world().python_reads();
                    // Usually nobody writes in between, but sometimes someone does.
                    if self.below(3) == 0 {
                        turn().await;
                    }
                    let text = format!("python {}", self.text());
                    self.client.world().python_writes(read, &text);
                }
            }
            for _ in 0..self.below(12) {
                turn().await;
            }
        }
    }

    /// Runs one process: it starts cold and performs a few operations.
    pub(super) async fn live(self) {
        let sessions = self.sessions();
        let (mut read, mut older): (Option<Position>, Option<PageCursor>) = (None, None);
        loop {
            match self.below(100) {
                0..10 => {
                    // Two tasks of one process: each learns the item's generation from the other.
                    let both = [Append::new(self.messages()), Append::new(self.messages())];
                    futures_util::future::join_all(both.map(|append| self.append(&sessions, append))).await;
                }
                10..40 => {
                    let appended = self.append(&sessions, Append::new(self.messages())).await;
                    read = appended.map(|appended| appended.position).or(read);
                }
                40..50 => {
                    if let Some(position) = read.clone() {
                        let append = Append::new(self.messages()).with_expected(position);
                        read = self.append(&sessions, append).await.map(|appended| appended.position);
                    }
                }
                50..64 if !self.repeats => {}
                50..57 => self.repeat_key(&sessions).await,
                57..64 => self.repeat_ticket(&sessions).await,
                64..71 => self.rewind(&sessions).await,
                71..77 => {
                    let clear = if self.below(4) == 0 { Append::replace_all(self.messages()) } else { Append::clear() };
                    if self.append(&sessions, clear).await.is_some() && self.below(2) == 0 {
                        self.check("sweep", sessions.sweep(&self.session).await);
                    }
                }
                77..79 => drop(self.check("delete", sessions.delete(&self.session).await)),
                79 => drop(self.check("sweep of the table", sessions.sweep_table(&mut |_| ()).await)),
                80..96 => {
                    let load = match (self.below(4), older) {
                        (0, _) => Load::all(),
                        (1, _) | (_, None) => Load::last(self.below(6) as usize),
                        (_, Some(older)) => Load::last(1 + self.below(6) as usize).before(older),
                    };
                    if let Some(history) = self.load_by(&sessions, load).await {
                        older = history.older().or(older);
                        read = Some(history.position);
                    }
                }
                _ => return,
            }
        }
    }

    fn check<A>(&self, what: &str, result: Result<A, Error>) -> Option<A> {
        match result {
            Ok(answer) => Some(answer),
            Err(error) if may_be(&error) => None,
            // If rolling is off, or an original fills the item, it eventually becomes full.
            Err(error) if error.is_too_large() => None,
            // A delayed copy of a first append that we cleared and swept, and that an original then cleared as well: its parts are
            // gone.
            Err(error) if error.to_string().contains("a part of record") && !self.client.world().original_clears.is_empty() => {
                None
            }
            Err(error) => {
                if !self.client.world().murky {
                    self.notes(|notes| notes.errors.push(format!("{what}: {error}")));
                }
                None
            }
        }
    }

    async fn append(&self, sessions: &Sessions, append: Append) -> Option<Appended> {
        let (started_ms, started) = {
            let world = self.client.world();
            (world.now_ms, world.step)
        };
        let number = self.notes(|notes| {
            let number = notes.ops.len() as u64;
            let append = append.with_metadata(Map::from_iter([("op".to_owned(), number.into())]));
            let expects = append.expected().and_then(|position| notes.versions.get(&place(position)).copied());
            notes.ops.push(Op { number, append, started_ms, started, acked: None, in_doubt: false, refused: None, expects });
            number
        });
        self.try_op(sessions, number, None).await
    }

    async fn try_op(&self, sessions: &Sessions, number: u64, ticket: Option<Ticket>) -> Option<Appended> {
        let append = self.notes(|notes| notes.ops[number as usize].append.clone());
        let append = ticket.map_or(append.clone(), |ticket| append.with_ticket(ticket));
        let result = sessions.append(&self.session, &append).await;
        if crate::table::sim::is_shown() {
            eprintln!("{} op {number} {append:?}: {result:?}", self.client.world().step);
        }
        let (step, landed) = {
            let world = self.client.world();
            (world.step, world.landings.iter().rfind(|landing| landing.op == number).map(|landing| landing.version + 1))
        };
        self.notes(|notes| {
            let op = &mut notes.ops[number as usize];
            match &result {
                Ok(appended) => {
                    op.acked.get_or_insert(step);
                    if let Some(version) = landed {
                        notes.versions.insert(place(&appended.position), (version, version));
                    }
                }
                Err(error) => match error.ticket() {
                    Some(ticket) => {
                        op.in_doubt = true;
                        notes.tickets.push((number, *ticket));
                    }
                    None if ticket.is_none() => op.refused = Some(step),
                    None => {}
                },
            }
            if let Err(error) = &result
                && error.is_conflict()
                && notes.ops[number as usize].append.expected().is_none()
                && notes.ops[number as usize].append.rewinds_to().is_none()
            {
                notes.errors.push(format!("op {number} expected nothing and met a conflict"));
            }
        });
        self.check("append", result)
    }

    /// Repeats an append under its key: a new key, or one that any client used before.
    async fn repeat_key(&self, sessions: &Sessions) {
        let now_ms = self.client.world().now_ms;
        let pick = self.client.world().rng.usize(..);
        let known = self.notes(|notes| {
            let recent = |number: &u64| now_ms - notes.ops[*number as usize].started_ms < REPEATED_MS;
            let recent: Vec<u64> = notes.keys.iter().copied().filter(recent).collect();
            (!recent.is_empty()).then(|| recent[pick % recent.len()])
        });
        match known {
            Some(number) if self.below(3) > 0 => {
                self.try_op(sessions, number, None).await;
            }
            _ => {
                let number = self.notes(|notes| {
                    let number = notes.ops.len() as u64;
                    notes.keys.push(number);
                    number
                });
                self.append(sessions, Append::new(self.messages()).with_key(format!("key {number}"))).await;
            }
        }
    }

    async fn repeat_ticket(&self, sessions: &Sessions) {
        let pick = self.client.world().rng.usize(..);
        let ticket = self.notes(|notes| (!notes.tickets.is_empty()).then(|| notes.tickets[pick % notes.tickets.len()]));
        if let Some((number, ticket)) = ticket {
            self.try_op(sessions, number, Some(ticket)).await;
        }
    }

    async fn rewind(&self, sessions: &Sessions) {
        let Some(history) = self.load_by(sessions, Load::all()).await else { return };
        if history.records.is_empty() {
            return;
        }
        let pick = self.client.world().rng.usize(..history.records.len());
        let messages = if self.below(2) == 0 { self.messages() } else { Vec::new() };
        let rewind = Append::rewind(&history, history.records[pick].seq, messages).expect("a record that it shows");
        self.append(sessions, rewind).await;
    }

    async fn load_by(&self, sessions: &Sessions, load: Load) -> Option<History> {
        let (started, from, murky) = {
            let world = self.client.world();
            (world.step, world.events.len(), world.murky)
        };
        let is_page = load.before.is_some();
        let history = self.check("load", sessions.load(&self.session, &load).await)?;
        let (ended, to, murky) = {
            let world = self.client.world();
            (world.step, world.events.len(), murky || world.murky)
        };
        let texts = history.messages().map(Message::text).collect();
        let seen = Seen { started, ended, texts, complete: history.complete, is_page, murky };
        self.notes(|notes| {
            notes.loads.push(seen);
            let known = notes.versions.entry(place(&history.position)).or_insert((from, to));
            *known = (known.0.min(from), known.1.max(to));
        });
        Some(history)
    }
}

/// A position without its time.
fn place(position: &Position) -> String {
    format!("{position:?}")
}
