//! A temporary store with sample conversations, to try the console.

use std::time::Duration;

use chat_memory::checkpoints::{CheckpointStore, NewCheckpoint, Typed, Write};
use chat_memory::store::url::StoreUrl;
use chat_memory::store::{Append, ChatStore};
use chat_memory::wire::openai;
use chat_memory::{Error, Message, Owner, SessionId};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::app::App;
use crate::failure::Failure;

/// The samples: `[{"id", "title", "owner", "turns": [[message]]}]`, the last of them the newest.
const SAMPLES: &str = include_str!("samples.json");

/// The questions of the quiz: one long session, to show what long sessions cost.
const CAPITALS: &[(&str, &str)] = &[
    ("Albania", "Tirana"),
    ("Armenia", "Yerevan"),
    ("Australia", "Canberra"),
    ("Bhutan", "Thimphu"),
    ("Bolivia", "Sucre"),
    ("Brazil", "Brasília"),
    ("Canada", "Ottawa"),
    ("Chile", "Santiago"),
    ("Costa Rica", "San José"),
    ("Cyprus", "Nicosia"),
    ("Estonia", "Tallinn"),
    ("Ethiopia", "Addis Ababa"),
    ("Fiji", "Suva"),
    ("Georgia", "Tbilisi"),
    ("Ghana", "Accra"),
    ("Iceland", "Reykjavík"),
    ("Jamaica", "Kingston"),
    ("Jordan", "Amman"),
    ("Kenya", "Nairobi"),
    ("Laos", "Vientiane"),
    ("Latvia", "Riga"),
    ("Madagascar", "Antananarivo"),
    ("Malta", "Valletta"),
    ("Mongolia", "Ulaanbaatar"),
    ("Morocco", "Rabat"),
    ("Namibia", "Windhoek"),
    ("Nepal", "Kathmandu"),
    ("New Zealand", "Wellington"),
    ("Norway", "Oslo"),
    ("Oman", "Muscat"),
    ("Palau", "Ngerulmud"),
    ("Paraguay", "Asunción"),
    ("Peru", "Lima"),
    ("Portugal", "Lisbon"),
    ("Rwanda", "Kigali"),
    ("Samoa", "Apia"),
    ("Senegal", "Dakar"),
    ("Slovenia", "Ljubljana"),
    ("Suriname", "Paramaribo"),
    ("Switzerland", "Bern"),
    ("Tajikistan", "Dushanbe"),
    ("Togo", "Lomé"),
    ("Tunisia", "Tunis"),
    ("Turkey", "Ankara"),
    ("Uganda", "Kampala"),
    ("Uruguay", "Montevideo"),
    ("Vanuatu", "Port Vila"),
    ("Vietnam", "Hanoi"),
    ("Zambia", "Lusaka"),
    ("Zimbabwe", "Harare"),
];

/// The store, for as long as this lives.
pub struct Demo {
    folder: TempDir,
}

impl Demo {
    /// A new folder for it.
    pub fn new(app: &App) -> Result<Self, Failure> {
        if app.names_a_store() {
            return Err(Failure::usage("--demo uses its own store: leave out --demo, or --store and CHAT_MEMORY_STORE"));
        }
        if app.refuses_writes() {
            return Err(Failure::usage("--demo cannot store its samples: --read-only refuses all writes; leave out one of them"));
        }
        let folder = TempDir::with_prefix("chat-memory-demo-");
        let folder = folder.map_err(|e| Failure::other(format!("cannot create a temporary folder for the demo: {e}")))?;
        Ok(Self { folder })
    }

    /// The store in it.
    pub fn store(&self) -> Result<StoreUrl, Error> {
        StoreUrl::new("sqlite", self.folder.path().join("demo.db"))
    }

    /// Stores the samples.
    pub async fn fill(&self, store: &dyn ChatStore) -> Result<(), Error> {
        quiz(store).await?;
        let samples: Vec<Value> =
            serde_json::from_str(SAMPLES).map_err(|e| Error::invalid(format!("cannot read the demo's samples: {e}")))?;
        for sample in samples {
            let text = |name: &str| sample[name].as_str().unwrap_or_default();
            // Sessions are ordered by the millisecond in which they started.
            tokio::time::sleep(Duration::from_millis(2)).await;
            let session = SessionId::new(text("id"))?;
            for turn in sample["turns"].as_array().into_iter().flatten() {
                let messages = turn.as_array().into_iter().flatten().cloned().map(openai::from_value);
                let messages = messages.collect::<Result<Vec<Message>, _>>()?;
                let mut append = Append::new(messages).with_title(text("title"));
                if let Some(owner) = sample["owner"].as_str() {
                    append = append.with_owner(Owner::new(owner)?);
                }
                store.append(&session, &append).await?;
            }
        }
        Ok(())
    }
}

/// Stores a thread as LangGraph keeps it: an agent that looks something up and asks before it books.
pub async fn fill_threads(store: &CheckpointStore) -> Result<(), Error> {
    let value = |value: Value| Typed::new("json", value.to_string());
    let message = |class: &str, more: Value| {
        let mut of = json!({"lc": 1, "type": "constructor", "id": ["langchain_core", "messages", class], "kwargs": more});
        of["kwargs"]["additional_kwargs"] = json!({});
        of["kwargs"]["response_metadata"] = json!({});
        of
    };
    let call = json!({"name": "find_trains", "args": {"from": "Porto", "to": "Lisbon"}, "id": "call_1", "type": "tool_call"});
    let messages = [
        message("HumanMessage", json!({"id": "m1", "content": "Book me a train from Porto to Lisbon on Friday morning."})),
        message("AIMessage", json!({"id": "m2", "content": "", "tool_calls": [call], "invalid_tool_calls": []})),
        message(
            "ToolMessage",
            json!({"id": "m3", "content": "[{\"leaves\": \"08:38\", \"arrives\": \"11:50\", \"price\": 25.30}]", "tool_call_id": "call_1"}),
        ),
        message(
            "AIMessage",
            json!({"id": "m4", "content": "The **08:38** arrives at 11:50 and costs € 25.30. Shall I book it?"}),
        ),
    ];
    let thread = SessionId::of_thread("booking-agent")?;
    let mut parent = None;
    for step in 0..=messages.len() {
        let id = uuid::Uuid::now_v7().to_string();
        let metadata = json!({"source": if step == 0 { "input" } else { "loop" }, "step": step as i64 - 1, "parents": {}});
        let mut checkpoint = NewCheckpoint::new(&id, parent, value(json!({"v": 4, "id": id})), value(metadata));
        checkpoint.versions.insert("messages".to_owned(), step.to_string());
        checkpoint.values.insert("messages".to_owned(), Some(value(messages[..step].to_vec().into())));
        if step == messages.len() {
            checkpoint.versions.insert("offer".to_owned(), step.to_string());
            checkpoint.values.insert("offer".to_owned(), Some(value(json!({"train": "08:38", "price": 25.3}))));
        }
        store.put(&thread, "", checkpoint).await?;
        parent = Some(id);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let asks = Write::new("book", "", -3, "__interrupt__", value(json!([{"value": "Book the 08:38 for € 25.30?"}])));
    store.put_writes(&thread, "", &parent.unwrap_or_default(), "book", vec![asks]).await?;
    store.flush().await.map(drop)
}

async fn quiz(store: &dyn ChatStore) -> Result<(), Error> {
    let session = SessionId::new("quiz-capitals")?;
    let title = "Capitals of the world";
    let rules = Message::system(
        "You are a patient quiz master for geography. Ask for one capital at a time, and say whether the answer is right.",
    );
    let first = CAPITALS.first().map(|(land, _)| format!("Gladly. What is the capital of **{land}**?")).unwrap_or_default();
    let opening = [rules, Message::user("Let us play the quiz of capitals."), Message::assistant(first)];
    store.append(&session, &Append::new(opening).with_title(title)).await?;
    for (place, (land, capital)) in CAPITALS.iter().enumerate() {
        let next = CAPITALS
            .get(place + 1)
            .map_or_else(|| "That was the last one.".to_owned(), |(next, _)| format!("And what is the capital of **{next}**?"));
        let answer = format!("Right: {capital} is the capital of {land}. {next}");
        store.append(&session, &Append::new([Message::user(format!("It is {capital}.")), Message::assistant(answer)])).await?;
    }
    Ok(())
}
