//! What compression saves by message size, and what it costs.
//!
//! Measures what is stored: the library appends, and the SDK reads the item. The uncompressed size is estimated by DynamoDB's rules
//! from an item that is not compressed. The run fails if an item is compressed without saving a unit.

use std::fmt::Write as _;
use std::hint::black_box;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use chat_memory::store::dynamodb::admin::Admin;
use chat_memory::store::dynamodb::{DynamoDbStore, Options};
use chat_memory::store::{Append, ChatStore as _};
use chat_memory::{Message, SessionId};
use chat_memory_testkit::{Conversation, client, shared_conversations, table_name};
use serde_json::Value;

use crate::Result;
use crate::measure::{Ratio, Rounds, alternate};

const SIZES: [usize; 12] = [64, 256, 512, 768, 1_000, 1_500, 2_000, 4_000, 16_000, 64_000, 128_000, 300_000];

/// The zstd level that the library uses.
const LEVEL: i32 = 3;

/// Text of one kind, of any size.
struct Kind {
    name: &'static str,
    text: fn(usize, &str) -> String,
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "conversation",
        text: |size, said| {
            said.chars()
                .cycle()
                .scan(0, |bytes, next| {
                    *bytes += next.len_utf8();
                    (*bytes <= size).then_some(next)
                })
                .collect()
        },
    },
    Kind { name: "one word, again and again", text: |size, _| "word ".chars().cycle().take(size).collect() },
    Kind { name: "random base64", text: |size, _| random(size) },
];

/// Random letters, six bits a byte, like an image in a message.
fn random(size: usize) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut chance = fastrand::Rng::with_seed(size as u64);
    (0..size).map(|_| char::from(LETTERS[chance.usize(..LETTERS.len())])).collect()
}

/// The size and the units of one record.
#[derive(Debug, Clone, Copy, Default)]
struct Units {
    plain: f64,
    stored: f64,
    compressed: bool,
}

/// The CPU time that compression adds to a message.
struct Price {
    size: usize,
    write: Ratio,
    read: Ratio,
}

/// Measures, and returns the result as Markdown.
pub async fn run(rounds: Rounds) -> Result<String> {
    let client = client();
    let options = Options::new(table_name("compression"));
    Admin::from_client(&client, &options)?.create_table().await?;
    let store = Stored { store: DynamoDbStore::from_client(&client, options.clone())?, client, options };
    let conversations = shared_conversations();
    let said = spoken(&conversations);
    let overhead = store.overhead().await?;
    let mut sizes = Vec::new();
    for size in SIZES {
        let mut line = Vec::new();
        for kind in &KINDS {
            let message = Message::user((kind.text)(size, &said));
            line.push(store.append(&format!("{} {size}", kind.name), &[message], overhead).await?);
        }
        sizes.push((size, line));
    }
    let mut real: Vec<Units> = Vec::new();
    let limit = if rounds == Rounds::SMOKE { 3 } else { usize::MAX };
    for conversation in conversations.iter().take(limit) {
        for turn in conversation.turns() {
            real.push(store.append(&format!("real {}", conversation.id), turn, overhead).await?);
        }
    }
    let mut prices = Vec::new();
    for size in [1_500, 16_000, 300_000].into_iter().take(if rounds == Rounds::SMOKE { 1 } else { 3 }) {
        prices.push(price(rounds, size, &said).await?);
    }
    Ok(markdown(rounds, &sizes, &real, &prices))
}

/// All their texts, one after another.
fn spoken(conversations: &[Conversation]) -> String {
    let texts = conversations.iter().flat_map(|conversation| &conversation.messages);
    texts
        .filter(|message| message.role != chat_memory::Role::System)
        .map(|message| message.text().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

struct Stored {
    store: DynamoDbStore,
    client: Client,
    options: Options,
}

impl Stored {
    /// What an item takes in addition to its messages' JSON, from an item small enough to be stored uncompressed.
    async fn overhead(&self) -> Result<u64> {
        let session = SessionId::new("overhead")?;
        let messages = [Message::user("small")];
        self.store.append(&session, &Append::new(messages.clone())).await?;
        let warm = self.store.append(&session, &Append::new(messages.clone())).await?;
        // An element takes one byte and a list three.
        Ok(warm.cost.bytes - json(&messages).len() as u64 + 2 - 4)
    }

    /// Appends as the second record of a session, and returns what it took and would have taken uncompressed.
    async fn append(&self, session: &str, messages: &[Message], overhead: u64) -> Result<Units> {
        let session = SessionId::new(session)?;
        self.store.append(&session, &Append::new([Message::user("warm")])).await?;
        let appended = self.store.append(&session, &Append::new(messages.to_vec())).await?;
        let lengths: u64 = messages.iter().map(|message| message.to_value().to_string().len() as u64 + 1).sum();
        // The session's name is part of the key, and has the same length here.
        let key = session.as_str().len() as u64 - "overhead".len() as u64;
        let plain = (overhead + key + 3 + lengths).div_ceil(1024) as f64;
        let item = self.item(&session, appended.seq).await?;
        let units = Units { plain, stored: appended.cost.write_units, compressed: item.contains_key("codec") };
        // A record above 400 KB is split into parts, and its head takes one more unit.
        let whole = !item.contains_key("parts");
        if whole && (units.stored > units.plain || (units.compressed && units.stored >= units.plain)) {
            return Err(format!("a record of {session} takes {units:?}: compression has lost").into());
        }
        Ok(units)
    }

    async fn item(&self, session: &SessionId, seq: u64) -> Result<std::collections::HashMap<String, AttributeValue>> {
        let names = [("#p", self.options.partition_key_name()), ("#s", self.options.sort_key_name())];
        let mut query =
            self.client.query().table_name(&self.options.table).key_condition_expression("#p = :p AND begins_with(#s, :s)");
        for (name, attribute) in names {
            query = query.expression_attribute_names(name, attribute);
        }
        let query = query.expression_attribute_values(":p", AttributeValue::S(session.to_string()));
        let found = query.expression_attribute_values(":s", AttributeValue::S(format!("t#{seq:012}"))).send().await?;
        let item = found.items.unwrap_or_default().pop();
        item.ok_or_else(|| format!("the record {seq} of {session} is not where docs/formats.md says").into())
    }
}

fn json(messages: &[Message]) -> String {
    Value::Array(messages.iter().map(Message::to_value).collect()).to_string()
}

/// Compares writing a message of this size as JSON and compressing it with only writing it; the same for reading.
async fn price(rounds: Rounds, size: usize, said: &str) -> Result<Price> {
    let messages = [Message::user((KINDS[0].text)(size, said))];
    let text = json(&messages);
    let frame = zstd::bulk::compress(text.as_bytes(), LEVEL)?;
    let write = alternate(
        rounds,
        async || {
            let text = json(black_box(&messages));
            black_box(zstd::bulk::compress(text.as_bytes(), LEVEL)?);
            Ok(())
        },
        async || {
            black_box(json(black_box(&messages)));
            Ok(())
        },
    );
    let write = write.await?;
    let parse = |text: &[u8]| -> Result {
        black_box(serde_json::from_slice::<Value>(black_box(text))?);
        Ok(())
    };
    let length = text.len();
    let read =
        alternate(rounds, async || parse(&zstd::bulk::decompress(black_box(&frame), length)?), async || parse(text.as_bytes()));
    Ok(Price { size, write, read: read.await? })
}

fn markdown(rounds: Rounds, sizes: &[(usize, Vec<Units>)], real: &[Units], prices: &[Price]) -> String {
    let mut page = "# What compression saves\n\n\
        Written by `cargo xtask bench compression`. A record of one message with a text of this size, appended to a `turns` table of DynamoDB \
        Local, which reports what is stored; the uncompressed units are estimated by DynamoDB's rule. **Write units: plain → stored**, \
        and whether it is stored compressed. The run fails if a record is compressed without saving a unit. The \
        conversation is the text of real ones, concatenated; random base64 is similar to images.\n\n"
        .to_owned();
    let names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
    let _ = writeln!(page, "| bytes of text | {} |\n|---|---|---|---|", names.join(" | "));
    for (size, line) in sizes {
        let cells: Vec<_> = line
            .iter()
            .map(|Units { plain, stored, compressed }| match compressed {
                true => format!("{plain} → {stored}, compressed"),
                false => format!("{plain} → {stored}"),
            })
            .collect();
        let _ = writeln!(page, "| {size} | {} |", cells.join(" | "));
    }
    let sum = |of: fn(&Units) -> f64| real.iter().map(of).sum::<f64>();
    let (plain, stored, compressed) =
        (sum(|units| units.plain), sum(|units| units.stored), sum(|units| f64::from(units.compressed)));
    let _ = write!(
        page,
        "\nThe {} turns of the conversations, a record each: {plain} units plain, {stored} stored, {:.0} % less; {compressed} of them are compressed.\n\n\
        ## What it takes\n\n\
        The time of compressing a message compared with writing its JSON, and of decompressing compared with parsing, in one run: {} pairs of \
        rounds, alternating, {} operations a round; the median of the ratios, and the middle half.\n\n\
        | bytes of text | write: with / without | middle half | read: with / without | middle half |\n|---|---|---|---|---|\n",
        real.len(),
        (1.0 - stored / plain) * 100.0,
        rounds.pairs,
        rounds.operations
    );
    for Price { size, write, read } in prices {
        let of = |ratio: &Ratio| format!("{:.1} | {:.1}–{:.1}", ratio.median, ratio.low, ratio.high);
        let _ = writeln!(page, "| {size} | {} | {} |", of(write), of(read));
    }
    page
}
