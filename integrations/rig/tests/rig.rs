//! rig's own agent on this memory: several processes, concurrency, other formats, and cost.

use std::sync::Arc;

use chat_memory::memory::{Policy, recall};
use chat_memory::store::{Append, Load};
use chat_memory::wire::Format;
use chat_memory::{ChatStore, Message as Ours, Role, SessionId, ToolCall};
use chat_memory_rig::ChatMemory;
use chat_memory_testkit::children::example;
use chat_memory_testkit::{dynamodb_url, store_urls};
use futures_util::future::join_all;
use rig_core::completion::Message;
use rig_core::memory::ConversationMemory;
use rig_core::message::{AssistantContent, CallId, Reasoning, ToolCall as RigCall, ToolFunction, ToolName};

async fn open(url: &str) -> Arc<dyn ChatStore> {
    chat_memory::open(url).await.expect("it opens")
}

async fn memory(url: &str) -> ChatMemory {
    ChatMemory::new(open(url).await)
}

fn session(name: &str) -> SessionId {
    SessionId::new(name).expect("a good id")
}

fn turn(n: impl std::fmt::Display) -> Vec<Message> {
    vec![Message::user(format!("{n}?")), Message::assistant(format!("{n}!"))]
}

#[tokio::test]
async fn agent_with_a_tool_remembers_across_processes() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("rig-agent", folder.path()).await {
        assert_eq!(example("rig_agent", &[&url, "How is the weather?"]), "It is 21 °C in Paris. (question 1)");
        assert_eq!(example("rig_agent", &[&url, "And now?"]), "It is 21 °C in Paris. (question 2)");

        // All of it is readable to every other program; a run is one record.
        let history = open(&url).await.load(&session("user-42"), &Load::all()).await.expect("a load");
        assert_eq!(history.records.len(), 2);
        let messages = history.into_messages();
        let roles: Vec<_> = messages.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool, Role::Assistant].repeat(2));
        assert_eq!(messages[2].tool_call_id.as_deref(), messages[1].tool_calls[0].id());
        assert_eq!(Format::OpenAi.write(&messages)[2]["content"], "21 °C in Paris");
        assert_eq!(Format::LangChain.write(&messages)[1]["data"]["tool_calls"][0]["args"]["city"], "Paris");
    }
}

#[tokio::test]
async fn rig_messages_round_trip() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("rig-exact", folder.path()).await {
        let name = ToolName::new("f").expect("a name");
        let call = |id: CallId| {
            AssistantContent::ToolCall(RigCall::new(id, ToolFunction::new(name.clone(), serde_json::json!({"a": 1.0}))))
        };
        let messages = vec![
            Message::System { content: "Be brief.".into() },
            Message::user("Hello \u{0} 🦀"),
            Message::from(AssistantContent::Reasoning(Reasoning::new("Hm."))),
            Message::from(call(CallId::from_wire("call_1"))),
            Message::from(call(CallId::from_wire(""))),
            Message::assistant(""),
        ];
        memory(&url).await.append(&"s".into(), messages.clone()).await.expect("stored");
        assert_eq!(open(&url).await.load(&session("s"), &Load::all()).await.expect("a load").records.len(), 1);
        let everything = open(&url).await.load(&session("s"), &Load::all()).await.expect("a load").into_messages();
        let back: Vec<Message> = chat_memory_rig_form::from_messages(&everything)
            .into_iter()
            .map(|message| serde_json::from_value(message).expect("a message of rig's"))
            .collect();
        assert_eq!(back, messages);
        // The model never sees a call without its result.
        assert_eq!(memory(&url).await.load(&"s".into()).await.expect("a load").len(), 4);
        memory(&url).await.clear(&"s".into()).await.expect("cleared");
        assert!(memory(&url).await.load(&"s".into()).await.expect("a load").is_empty());
        memory(&url).await.append(&"s".into(), Vec::new()).await.expect("nothing is no write");
    }
}

#[tokio::test]
async fn concurrent_runs_lose_nothing_and_keep_turns_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("rig-runs", folder.path()).await {
        let run = async |who: usize| {
            let memory = memory(&url).await;
            for n in 0..20 {
                memory.append(&"shared".into(), turn(format!("{who}/{n}"))).await.expect("stored");
            }
        };
        join_all([run(0), run(1)]).await;
        let found = memory(&url).await.load(&"shared".into()).await.expect("a load");
        assert_eq!(found.len(), 80);
        for who in 0..2 {
            for n in 0..20 {
                let turn = turn(format!("{who}/{n}"));
                assert_eq!(found.windows(2).filter(|pair| *pair == turn).count(), 1, "each turn once, and whole");
            }
        }
    }
}

#[tokio::test]
async fn foreign_messages_are_converted_for_rig() {
    let store = open("memory:").await;
    let calls = Ours::tool_calls([ToolCall::function("call_1", "weather", r#"{"city": "Paris"}"#)]);
    let others = [Ours::user("Where?"), calls, Ours::tool("call_1", "21 °C"), Ours::assistant("In Paris.")];
    store.append(&session("s"), &Append::new(others)).await.expect("stored");
    let found = ChatMemory::new(store).load(&"s".into()).await.expect("a load");
    let found = serde_json::to_value(found).expect("JSON");
    assert_eq!(found[1]["content"][0]["function"]["arguments"]["city"], "Paris");
    assert_eq!(found[2]["content"][0]["name"], "weather");
    assert_eq!(found[3]["content"][0]["text"], "In Paris.");
}

#[tokio::test]
async fn missing_table_error_names_the_table() {
    let url = format!("dynamodb://no-such-table?region=us-east-1&endpoint={}", chat_memory_testkit::dynamodb_endpoint());
    let error = memory(&url).await.append(&"s".into(), turn(1)).await.expect_err("there is no table");
    assert!(error.to_string().contains("no-such-table"), "{error}");
}

/// The cost of a turn through the framework: the library's own cost.
#[tokio::test]
async fn turn_costs_one_write_unit_and_a_window_one_request() {
    let store = open(&dynamodb_url("rig-costs").await).await;
    let memory = ChatMemory::new(store.clone()).with_policy(Policy::last_turns(20));
    for n in 0..200 {
        memory.append(&"s".into(), turn(format!("{n}{}", "x".repeat(300)))).await.expect("stored");
    }
    let history = store.load(&session("s"), &Load::all()).await.expect("a load");
    assert_eq!(history.records.len(), 200);
    let one = Append::new(&history.records[7].entries);
    assert_eq!(store.append(&session("s"), &one).await.expect("stored").cost.write_units, 1.0);
    let window = recall(&store, &session("s"), &Policy::last_turns(20)).await.expect("a load");
    assert_eq!((window.window.messages.len(), window.cost.requests), (40, 1));
    assert_eq!(memory.load(&"s".into()).await.expect("a load").len(), 40);
}
