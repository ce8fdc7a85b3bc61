//! Measures what checkpoints of a LangGraph chat cost: three a turn, with the bodies, versions and values that LangGraph 1.2 writes
//! for a graph of one node and `MessagesState`, and 300 bytes each of question and answer.
//!
//! `cargo run --release -p chat-memory-sqlite --example checkpoint_costs -- TEXT [TURNS]`, where TEXT is a file of real English
//! text of at least 600 bytes a turn. Without them, it takes 20 turns of made-up words, to see that it works.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chat_memory::checkpoints::{
    CheckpointOptions, CheckpointStore, Condition, InMemoryRows, NewCheckpoint, Put, Row, RowPage, RowRange, Rows, Typed, Write,
};
use chat_memory::store::Cost;
use chat_memory::store::sqlite::SqliteStore;
use chat_memory::{Error, SessionId};

/// What an item's partition key, sort key and the names of its attributes take in DynamoDB, next to its body.
const ITEM: usize = 40 + 80 + 10;

/// Rows in memory that remember the size of each row put since they were last asked: its sort key and body.
#[derive(Debug, Clone, Default)]
struct Counting {
    rows: InMemoryRows,
    put: Arc<Mutex<Vec<(String, usize)>>>,
}

impl Counting {
    fn take(&self) -> Vec<(String, usize)> {
        std::mem::take(&mut self.put.lock().expect("no panic before"))
    }
}

#[async_trait]
impl Rows for Counting {
    async fn page(&self, partition: &str, range: &RowRange, cost: &mut Cost) -> Result<RowPage, Error> {
        self.rows.page(partition, range, cost).await
    }

    async fn put(&self, partition: &str, row: &Row, condition: Condition, cost: &mut Cost) -> Result<Put, Error> {
        self.put.lock().expect("no panic before").push((row.sort.clone(), row.body.len()));
        self.rows.put(partition, row, condition, cost).await
    }

    async fn delete(&self, partition: &str, sorts: &[String], cost: &mut Cost) -> Result<(), Error> {
        self.rows.delete(partition, sorts, cost).await
    }

    async fn partitions(
        &self,
        prefix: &str,
        after: Option<&str>,
        cost: &mut Cost,
    ) -> Result<(Vec<String>, Option<String>), Error> {
        self.rows.partitions(prefix, after, cost).await
    }
}

/// MessagePack, as far as LangGraph's values need it.
#[derive(Default)]
struct Pack(Vec<u8>);

impl Pack {
    fn head(mut self, short: u8, most: usize, long: u8, n: usize) -> Self {
        if n < most {
            self.0.push(short | n as u8);
        } else {
            self.0.push(long);
            self.0.extend((n as u16).to_be_bytes());
        }
        self
    }

    fn map(self, n: usize) -> Self {
        self.head(0x80, 16, 0xde, n)
    }

    fn array(self, n: usize) -> Self {
        self.head(0x90, 16, 0xdc, n)
    }

    fn text(mut self, text: &str) -> Self {
        match text.len() {
            n @ 0..32 => self.0.push(0xa0 | n as u8),
            n @ 32..256 => self.0.extend([0xd9, n as u8]),
            n => {
                self.0.push(0xda);
                self.0.extend((n as u16).to_be_bytes());
            }
        }
        self.0.extend(text.as_bytes());
        self
    }

    fn texts<'a>(self, texts: impl IntoIterator<Item = &'a str>) -> Self {
        texts.into_iter().fold(self, Self::text)
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn typed(self) -> Typed {
        Typed::new("msgpack", self.0)
    }
}

/// A message as LangGraph's serializer writes it: an extension of the class, its fields and the method that reads them.
fn message(class: (&str, &str, &str), text: &str, id: &str) -> Vec<u8> {
    let is_ai = class.2 == "ai";
    let mut fields = Pack::default().array(4).texts([class.0, class.1]).map(if is_ai { 9 } else { 6 });
    fields = fields.texts(["content", text, "additional_kwargs"]).map(0).text("response_metadata").map(0);
    fields = fields.texts(["type", class.2, "name"]).raw(&[0xc0]).texts(["id", id]);
    if is_ai {
        fields = fields.text("tool_calls").array(0).text("invalid_tool_calls").array(0).text("usage_metadata").raw(&[0xc0]);
    }
    let fields = fields.text("model_validate_json").0;
    let mut message = vec![0xc8];
    message.extend((fields.len() as u16).to_be_bytes());
    message.push(5);
    message.extend(fields);
    message
}

/// A thread as its graph puts it.
struct Graph {
    random: fastrand::Rng,
    text: String,
    at: usize,
    version: usize,
    step: i64,
    /// LangGraph's clock, in units of 100 ns.
    clock: u64,
    parent: Option<String>,
    versions: BTreeMap<&'static str, String>,
    /// By node, what it has seen.
    seen: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
    messages: Vec<u8>,
    count: usize,
}

impl Graph {
    fn new(text: String) -> Self {
        Self {
            random: fastrand::Rng::with_seed(1),
            text,
            at: 0,
            version: 0,
            step: -1,
            clock: 0x1f1_eac2_0000_0000,
            parent: None,
            versions: BTreeMap::new(),
            seen: BTreeMap::from([("__input__", BTreeMap::new())]),
            messages: Vec::new(),
            count: 0,
        }
    }

    fn next_text(&mut self) -> String {
        let mut from = self.at % (self.text.len() - 1_200);
        while !self.text.is_char_boundary(from) {
            from += 1;
        }
        let mut to = from + 300;
        while !self.text.is_char_boundary(to) {
            to += 1;
        }
        self.at = to;
        self.text[from..to].to_owned()
    }

    fn uuid4(&mut self) -> String {
        let n = self.random.u128(..);
        let text = format!("{n:032x}");
        format!("{}-{}-4{}-a{}-{}", &text[..8], &text[8..12], &text[13..16], &text[17..20], &text[20..])
    }

    /// A UUID of version 6 with a random node, as LangGraph makes them: its variant holds the step.
    fn checkpoint_id(&mut self) -> String {
        self.clock += self.random.u64(10_000..60_000_000);
        let time = self.clock;
        let sequence = 0x8000 | (self.step.rem_euclid(0x4000));
        let node = self.random.u64(..) & 0xffff_ffff_ffff;
        format!("{:08x}-{:04x}-6{:03x}-{sequence:04x}-{node:012x}", time >> 28, time >> 12 & 0xffff, time & 0xfff)
    }

    fn bump(&mut self, channels: &[&'static str]) {
        self.version += 1;
        let random = format!("{:.16}", self.random.f64());
        for channel in channels {
            self.versions.insert(channel, format!("{:032}.{random}", self.version));
        }
    }

    fn checkpoint(&mut self, source: &str, updated: &[&str], values: &[(&str, Option<Typed>)]) -> NewCheckpoint {
        let id = self.checkpoint_id();
        let micros = self.clock / 10;
        let (s, us) = (micros / 1_000_000, micros % 1_000_000);
        let at =
            format!("2026-11-{:02}T{:02}:{:02}:{:02}.{us:06}+00:00", 1 + s / 86_400 % 28, s / 3_600 % 24, s / 60 % 60, s % 60);
        let mut body = Pack::default().map(6).text("v").raw(&[4]).texts(["ts", &at, "id", &id, "channel_versions"]);
        body = body.map(self.versions.len());
        body = self.versions.iter().fold(body, |body, (name, version)| body.texts([*name, version]));
        body = body.text("versions_seen").map(self.seen.len());
        for (node, seen) in &self.seen {
            body = body.text(node).map(seen.len());
            body = seen.iter().fold(body, |body, (name, version)| body.texts([*name, version]));
        }
        body = body.text("updated_channels").array(updated.len()).texts(updated.iter().copied());
        let step = self.step.to_be_bytes();
        let metadata = Pack::default().map(3).texts(["source", source, "step"]).raw(&[0xd3]).raw(&step).text("parents").map(0);
        let mut new = NewCheckpoint::new(&id, self.parent.replace(id.clone()), body.typed(), metadata.typed());
        new.versions = self.versions.iter().map(|(name, version)| ((*name).to_owned(), version.clone())).collect();
        new.values = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self.step += 1;
        new
    }

    fn messages(&self) -> Typed {
        Pack::default().array(self.count).raw(&self.messages).typed()
    }

    fn say(&mut self, class: (&str, &str, &str)) -> Vec<u8> {
        let (text, id) = (self.next_text(), self.uuid4());
        let message = message(class, &text, &id);
        self.messages.extend(&message);
        self.count += 1;
        message
    }

    /// The puts of a turn: each checkpoint, with what tasks write at it.
    fn turn(&mut self) -> Vec<(NewCheckpoint, Vec<Write>)> {
        let question = self.say(("langchain_core.messages.human", "HumanMessage", "human"));
        let as_list = |message: &[u8]| Pack::default().array(1).raw(message).typed();
        let null = || Typed::new("null", []);
        self.bump(&["__start__"]);
        let input = Pack::default().map(1).text("messages").array(1).raw(&question).typed();
        let first = self.checkpoint("input", &["__start__"], &[("__start__", Some(input))]);
        let task = self.uuid4();
        let path = "~__pregel_pull, __start__";
        let asked = vec![
            Write::new(&task, path, 0, "messages", as_list(&question)),
            Write::new(&task, path, 1, "branch:to:model", null()),
        ];
        self.seen.insert("__start__", BTreeMap::from([("__start__", self.versions["__start__"].clone())]));
        self.bump(&["__start__", "branch:to:model", "messages"]);
        let values = [("__start__", None), ("branch:to:model", Some(null())), ("messages", Some(self.messages()))];
        let second = self.checkpoint("loop", &["branch:to:model", "messages"], &values);
        let task = self.uuid4();
        self.seen.insert("model", BTreeMap::from([("branch:to:model", self.versions["branch:to:model"].clone())]));
        let answer = self.say(("langchain_core.messages.ai", "AIMessage", "ai"));
        let answered = vec![Write::new(&task, "~__pregel_pull, model", 0, "messages", as_list(&answer))];
        self.bump(&["branch:to:model", "messages"]);
        let values = [("branch:to:model", None), ("messages", Some(self.messages()))];
        let third = self.checkpoint("loop", &["messages"], &values);
        vec![(first, asked), (second, answered), (third, Vec::new())]
    }
}

async fn put(store: &CheckpointStore, thread: &SessionId, (new, writes): (NewCheckpoint, Vec<Write>)) -> Duration {
    let id = new.id.clone();
    let started = Instant::now();
    store.put(thread, "", new).await.expect("it can be put");
    let took = started.elapsed();
    if let Some(task) = writes.first().map(|write| write.task_id.clone()) {
        store.put_writes(thread, "", &id, &task, writes).await.expect("it can be written");
    }
    took
}

fn made_up(bytes: usize) -> String {
    let mut random = fastrand::Rng::with_seed(2);
    (0..bytes).map(|_| if random.u8(..) < 50 { ' ' } else { random.lowercase() }).collect()
}

fn percentile(sorted: &[usize], percent: usize) -> usize {
    sorted[(sorted.len() - 1) * percent / 100]
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let (text, usual) = match args.next() {
        Some(path) => (std::fs::read_to_string(path).expect("a file of text"), 3_000),
        None => (made_up(20 * 600 + 1_200), 20),
    };
    let turns: usize = args.next().map_or(usual, |turns| turns.parse().expect("a number of turns"));
    let thread = SessionId::new("7f3c1c9e-8f0a-4f0e-9a52-0d5a3c0f7e11").expect("a good id");
    let options = || CheckpointOptions::default().with_window(Duration::from_secs(60));
    let rows = Counting::default();
    let store = CheckpointStore::new(rows.clone(), options());
    let mut graph = Graph::new(text.clone());
    let (mut sizes, mut bases, mut took) = (Vec::new(), 0, Duration::ZERO);
    let (mut units, mut since) = (0, 0);
    println!("in memory: bytes of bodies; an item has {ITEM} more, a unit is 1,024");
    println!("  turn | last rows of a turn | units a turn since | bases so far, a turn | cold load | put");
    for turn in 1..=turns {
        let mut last = Vec::new();
        for step in graph.turn() {
            took += put(&store, &thread, step).await;
            for (sort, bytes) in rows.take() {
                units += (bytes + ITEM).div_ceil(1_024);
                if sort.starts_with("b#") {
                    bases += bytes;
                } else {
                    last.push(bytes);
                    sizes.push(bytes);
                }
            }
        }
        if [1, 2, 10, 100, 400, 1_000, 3_000].contains(&turn) || turn == turns {
            let cold = CheckpointStore::new(rows.clone(), options());
            let cost = cold.load(&thread, "", None).await.expect("it can be loaded").cost;
            let (per_turn, per_put) = (units as f64 / (turn - since) as f64, took / (3 * (turn - since)) as u32);
            println!(
                "{turn:>6} | {last:?} | {per_turn:.2} | {bases}, {} | {} in {} | {per_put:?}",
                bases / turn,
                cost.bytes,
                cost.requests
            );
            (units, took, since) = (0, Duration::ZERO, turn);
        }
    }
    sizes.sort_unstable();
    let above = sizes.iter().filter(|bytes| **bytes + ITEM > 1_024).count();
    println!(
        "  rows: 10 % {}, median {}, 90 % {}, largest {}; {above} of {} items above 1,024",
        percentile(&sizes, 10),
        percentile(&sizes, 50),
        percentile(&sizes, 90),
        percentile(&sizes, 100),
        sizes.len()
    );

    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("chat.db");
    let file = SqliteStore::open(&path).await.expect("a new file");
    let store = file.checkpoints(options());
    let mut graph = Graph::new(text);
    println!("in SQLite: turn | put since | file | cold load");
    let (mut took, mut since) = (Duration::ZERO, 0);
    for turn in 1..=turns {
        for step in graph.turn() {
            took += put(&store, &thread, step).await;
        }
        if [1, 100, 400, 1_000, 3_000].contains(&turn) || turn == turns {
            let another = SqliteStore::open(&path).await.expect("the file");
            let started = Instant::now();
            another.checkpoints(options()).load(&thread, "", None).await.expect("it can be loaded");
            let cold = started.elapsed();
            let db = rusqlite::Connection::open(&path).expect("the file");
            let pages: usize = db.pragma_query_value(None, "page_count", |row| row.get(0)).expect("a number");
            println!(
                "{turn:>6} | {:?} | {} KB, {} a turn | {cold:?}",
                took / (3 * (turn - since)) as u32,
                pages * 4,
                pages * 4_096 / turn
            );
            (took, since) = (Duration::ZERO, turn);
        }
    }
    let started = Instant::now();
    let cost = store.delete_thread(&thread).await.expect("it can be deleted");
    println!("  delete: {:?}, {cost}", started.elapsed());
}
