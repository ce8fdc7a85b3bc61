//! Clients that do random things at random times, and write down what they were told.

use std::sync::{Arc, Mutex};

use serde_json::Map;

use super::world::Client;
use crate::error::Error;
use crate::message::Message;
use crate::session::SessionId;
use crate::store::dynamodb::turns::{Rule, Settings, Turns};
use crate::store::{Append, AppendId, Appended, History, Identity, Load, Position, Reach, Ticket};

/// For how long keys are repeated; a little less than they are good for, as clocks differ.
const REPEATED_MS: i64 = 20 * 60 * 60 * 1000;

/// A logical append: however often it is tried, it must land once at most.
#[derive(Debug, Clone)]
pub(super) struct Op {
    pub(super) number: u64,
    pub(super) append: Append,
    pub(super) started: u64,
    pub(super) started_ms: i64,
    pub(super) acked: Option<Ack>,
    /// A try of it ended in doubt: another may have brought it in since.
    pub(super) in_doubt: bool,
    /// A try of it ended in an error that says that nothing was written.
    pub(super) refused: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Ack {
    pub(super) step: u64,
    pub(super) seq: u64,
    pub(super) id: Option<AppendId>,
}

/// A load, as it was answered.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) started: u64,
    pub(super) ended: u64,
    /// The client's clock at both ends.
    pub(super) clock_ms: (i64, i64),
    pub(super) load: Load,
    pub(super) history: History,
}

/// What all clients wrote down.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) ops: Vec<Op>,
    pub(super) loads: Vec<Seen>,
    pub(super) errors: Vec<String>,
    tickets: Vec<(u64, Ticket)>,
    keys: Vec<u64>,
}

pub(super) struct Actor {
    pub(super) client: Client,
    pub(super) notes: Arc<Mutex<Notes>>,
    pub(super) session: SessionId,
    pub(super) settings: Settings,
    pub(super) broken: Option<Rule>,
}

impl Op {
    /// Whether a later try may have brought it in, after one that was refused.
    pub(super) fn was_repeated(&self) -> bool {
        !matches!(self.append.identity(), Identity::New) || self.in_doubt
    }
}

impl Actor {
    /// Loads everything, for the last check of a schedule.
    pub(super) async fn load_once(self) {
        self.load_by(&self.turns(), Load::all()).await;
    }

    fn turns(&self) -> Turns<Client, Client> {
        let mut turns = Turns::new(self.client.clone(), self.client.clone(), self.settings.clone());
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

    fn clock_ms(&self) -> i64 {
        let world = self.client.world();
        world.now_ms + world.skew_ms[self.client.number]
    }

    fn notes<A>(&self, note: impl FnOnce(&mut Notes) -> A) -> A {
        note(&mut self.notes.lock().expect("no schedule panics while it holds the notes"))
    }

    /// The life of one process: it starts cold and does a few things.
    pub(super) async fn live(self) {
        let turns = self.turns();
        let mut read: Option<Position> = None;
        loop {
            match self.below(100) {
                0..38 if self.below(3) == 0 => self.new_key(&turns).await,
                0..38 => {
                    let appended = self.append(&turns, Append::new(self.messages())).await;
                    read = appended.map(|appended| appended.position).or(read);
                }
                38..46 => {
                    // A position of an earlier read, or append; sometimes of long ago.
                    if let Some(position) = read.clone() {
                        let position =
                            if self.below(2) == 0 { position } else { position.to_string().parse().expect("our own text") };
                        read = self.append(&turns, Append::new(self.messages()).expecting(position)).await.map(|a| a.position);
                    }
                }
                46..52 => self.repeat_key(&turns).await,
                52..60 => self.repeat_ticket(&turns).await,
                60..67 => self.rewind(&turns).await,
                67..74 => {
                    let clear = if self.below(4) == 0 { Append::replace_all(self.messages()) } else { Append::clear() };
                    if self.append(&turns, clear).await.is_some() {
                        self.check("sweep", turns.sweep(&self.session).await);
                    }
                }
                74..76 => drop(self.check("delete", turns.delete(&self.session).await)),
                76 => drop(self.check("sweep of the table", turns.sweep_table(&mut |_| ()).await)),
                77..79 => drop(self.check("sweep", turns.sweep(&self.session).await)),
                79..96 => read = self.load(&turns).await.map(|history| history.position).or(read),
                _ => return,
            }
        }
    }

    fn messages(&self) -> Vec<Message> {
        let number = self.notes(|notes| notes.ops.len());
        let pad = if self.below(12) == 0 { "x".repeat(900) } else { String::new() };
        (0..=self.below(2)).map(|n| Message::user(format!("{number}.{n}{pad}"))).collect()
    }

    fn check<A>(&self, what: &str, result: Result<A, Error>) -> Option<A> {
        match result {
            Ok(answer) => Some(answer),
            Err(error) if error.is_unavailable() || error.is_throttled() || error.is_in_doubt() || error.is_conflict() => None,
            Err(error) if error.is_invalid() && error.to_string().starts_with("the ticket is over a day old") => None,
            Err(error) => {
                self.notes(|notes| notes.errors.push(format!("{what}: {error}")));
                None
            }
        }
    }

    async fn append(&self, turns: &Turns<Client, Client>, append: Append) -> Option<Appended> {
        let (started, started_ms) = self.now();
        let number = self.notes(|notes| {
            let number = notes.ops.len() as u64;
            let append = append.with_metadata(Map::from_iter([("op".to_owned(), number.into())]));
            notes.ops.push(Op { number, append, started, started_ms, acked: None, in_doubt: false, refused: false });
            number
        });
        self.try_op(turns, number, None).await
    }

    async fn try_op(&self, turns: &Turns<Client, Client>, number: u64, ticket: Option<Ticket>) -> Option<Appended> {
        let append = self.notes(|notes| notes.ops[number as usize].append.clone());
        let append = ticket.map_or(append.clone(), |ticket| append.with_ticket(ticket));
        let result = turns.append(&self.session, &append).await;
        let (step, _) = self.now();
        if super::number("CHAT_MEMORY_SIM_SEED").is_some() {
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

    /// A caller that repeats under its key: a new one, or one that any client used before.
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
        self.append(turns, Append::new(self.messages()).with_key(format!("key {number}"))).await;
    }

    async fn repeat_ticket(&self, turns: &Turns<Client, Client>) {
        let pick = self.client.world().rng.usize(..);
        let ticket = self.notes(|notes| (!notes.tickets.is_empty()).then(|| notes.tickets[pick % notes.tickets.len()]));
        if let Some((number, ticket)) = ticket {
            self.try_op(turns, number, Some(ticket)).await;
        }
    }

    async fn rewind(&self, turns: &Turns<Client, Client>) {
        let Some(history) = self.load_by(turns, Load::all()).await else { return };
        if history.records.is_empty() {
            return;
        }
        let pick = self.client.world().rng.usize(..history.records.len());
        let messages = if self.below(2) == 0 { self.messages() } else { Vec::new() };
        let rewind = Append::rewind(&history, history.records[pick].seq, messages).expect("a record that it shows");
        self.append(turns, rewind).await;
    }

    async fn load(&self, turns: &Turns<Client, Client>) -> Option<History> {
        let load = match self.below(3) {
            0 => Load::all(),
            1 => Load::last(self.below(6) as usize),
            _ => Load::reaching(Reach::Turns(self.below(4) as usize)),
        };
        self.load_by(turns, load).await
    }

    async fn load_by(&self, turns: &Turns<Client, Client>, load: Load) -> Option<History> {
        let ((started, _), from_ms) = (self.now(), self.clock_ms());
        let history = self.check("load", turns.load(&self.session, &load).await)?;
        let ((ended, _), to_ms) = (self.now(), self.clock_ms());
        let seen = Seen { started, ended, clock_ms: (from_ms, to_ms), load, history: history.clone() };
        self.notes(|notes| notes.loads.push(seen));
        Some(history)
    }
}
