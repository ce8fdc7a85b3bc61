//! langchain-rust's own chain and agent on this memory: several processes, concurrency, other formats, and cost.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use chat_memory::memory::{Policy, recall_with};
use chat_memory::store::{Append, Load};
use chat_memory::wire::Format;
use chat_memory::{ChatStore, Message, Role, SessionId};
use chat_memory_langchain::{ChatMemory, from_message};
use chat_memory_testkit::children::example;
use chat_memory_testkit::{dynamodb_url, store_urls};
use futures_util::Stream;
use futures_util::future::join_all;
use langchain_rust::chain::Chain;
use langchain_rust::chain::builder::ConversationalChainBuilder;
use langchain_rust::language_models::llm::LLM;
use langchain_rust::language_models::{GenerateResult, LLMError};
use langchain_rust::prompt_args;
use langchain_rust::schemas::memory::BaseMemory;
use langchain_rust::schemas::{Message as Theirs, StreamData};

async fn open(url: &str) -> Arc<dyn ChatStore> {
    chat_memory::open(url).await.expect("it opens")
}

fn session(name: &str) -> SessionId {
    SessionId::new(name).expect("a good id")
}

#[tokio::test]
async fn agent_with_a_tool_remembers_across_processes() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("langchain-agent", folder.path()).await {
        assert_eq!(example("langchain_agent", &[&url, "How is the weather?"]), "It is 21 °C in Paris (question 1)");
        assert_eq!(example("langchain_agent", &[&url, "And now?"]), "It is 21 °C in Paris (question 2)");

        // All of it is readable to every other program.
        let history = open(&url).await.load(&session("user-42"), &Load::all()).await.expect("a load");
        let messages: Vec<_> = history.into_messages();
        let roles: Vec<_> = messages.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool, Role::Assistant].repeat(2));
        assert_eq!(messages[1].tool_calls[0].name(), Some("weather"));
        assert_eq!(messages[2].tool_call_id.as_deref(), messages[1].tool_calls[0].id());
        let stored = Format::LangChain.write(&messages);
        assert_eq!(stored[1]["data"]["tool_calls"][0]["args"]["input"], "Paris");
        assert_eq!(Format::OpenAi.write(&messages)[2]["content"], "21 °C in Paris");
    }
}

/// Answers with the number of history lines in the prompt.
#[derive(Clone)]
struct Counting;

#[async_trait]
impl LLM for Counting {
    async fn generate(&self, messages: &[Theirs]) -> Result<GenerateResult, LLMError> {
        let lines = messages.iter().flat_map(|message| message.content.lines());
        let seen = lines.filter(|line| line.starts_with("human: ")).count();
        Ok(GenerateResult { generation: format!("I remember {seen}"), ..GenerateResult::default() })
    }

    async fn stream(&self, _: &[Theirs]) -> Result<Pin<Box<dyn Stream<Item = Result<StreamData, LLMError>> + Send>>, LLMError> {
        Err(LLMError::OtherError("not streamed".into()))
    }
}

#[tokio::test]
async fn conversational_chain_remembers_after_reopening() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("langchain-chain", folder.path()).await {
        for n in 0..3 {
            // Opened again each time, as another process would.
            let memory = ChatMemory::new(open(&url).await, session("chain"));
            let chain = ConversationalChainBuilder::new().llm(Counting).memory(memory.into()).build().expect("a chain");
            let answer = chain.invoke(prompt_args! { "input" => "Hello" }).await.expect("an answer");
            assert_eq!(answer, format!("I remember {n}"));
        }
    }
}

#[tokio::test]
async fn concurrent_runs_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("langchain-runs", folder.path()).await {
        let run = async |who: usize| {
            let mut memory = ChatMemory::new(open(&url).await, session("shared"));
            for n in 0..20 {
                memory.add_user_message(&format!("{who}/{n}?")).await.expect("stored");
                memory.add_ai_message(&format!("{who}/{n}!")).await.expect("stored");
            }
        };
        join_all([run(0), run(1)]).await;
        let found = ChatMemory::new(open(&url).await, session("shared")).messages().await.expect("a load");
        assert_eq!(found.len(), 80);
        for who in 0..2 {
            let own: Vec<_> =
                found.iter().map(|m| m.content.as_str()).filter(|text| text.starts_with(&format!("{who}/"))).collect();
            let expected: Vec<_> = (0..20).flat_map(|n| [format!("{who}/{n}?"), format!("{who}/{n}!")]).collect();
            assert_eq!(own, expected, "each once, in order");
        }
    }
}

#[tokio::test]
async fn cleared_memory_is_empty_and_usable() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("langchain-clear", folder.path()).await {
        let mut memory = ChatMemory::new(open(&url).await, session("s"));
        memory.add_messages([Theirs::new_human_message("q"), Theirs::new_ai_message("a")]).await.expect("stored");
        assert_eq!(memory.messages().await.expect("a load").len(), 2);
        memory.clear().await.expect("cleared");
        assert!(memory.messages().await.expect("a load").is_empty());
        memory.add_user_message(&"again").await.expect("stored");
        assert_eq!(memory.to_string().await.expect("a load"), "human: again");
    }
}

#[tokio::test]
async fn missing_table_error_names_the_table() {
    let url = format!("dynamodb://no-such-table?region=us-east-1&endpoint={}", chat_memory_testkit::dynamodb_endpoint());
    let mut memory = ChatMemory::new(open(&url).await, session("s"));
    let error = memory.add_user_message(&"x").await.expect_err("there is no table").to_string();
    assert!(error.contains("no-such-table"), "{error}");
}

/// The cost of a turn through the framework, and the library's cost for the same.
#[tokio::test]
async fn turn_costs_one_unit_per_message_and_a_window_one_request() {
    let store = open(&dynamodb_url("langchain-costs").await).await;
    let (theirs, ours) = (session("theirs"), session("ours"));
    let (question, answer) = ("q".repeat(300), "a".repeat(300));
    let mut memory = ChatMemory::new(store.clone(), theirs.clone());
    for _ in 0..200 {
        memory.add_user_message(&question).await.expect("stored");
        memory.add_ai_message(&answer).await.expect("stored");
    }
    let turn = Append::new([Message::user(&*question), Message::assistant(&*answer)]);
    store.append(&ours, &turn).await.expect("the first turn");
    assert_eq!(store.append(&ours, &turn).await.expect("a turn").cost.write_units, 1.0);
    let records = store.load(&theirs, &Load::all()).await.expect("a load").records;
    assert_eq!(records.len(), 400, "one record, and so one unit, for each message: the framework saves one at a time");

    let window =
        recall_with(&store, &theirs, &Policy::last_turns(20), Load::all().single_message_records()).await.expect("a load");
    assert_eq!((window.window.messages.len(), window.cost.requests), (40, 1));
    assert_eq!(window.window.messages.iter().map(from_message).count(), 40);
}
