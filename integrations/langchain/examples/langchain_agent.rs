//! An agent of langchain-rust with a tool, and a memory that outlives the program. Run it twice on the same store:
//!
//! `cargo run -p chat-memory-langchain --example langchain_agent -- sqlite:chat.db "How is the weather in Paris?"`
//!
//! The model is a fake, so that it runs anywhere; replace it with `OpenAI::default()`.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use chat_memory::SessionId;
use chat_memory::memory::Policy;
use chat_memory_langchain::ChatMemory;
use futures_util::Stream;
use langchain_rust::agent::{AgentExecutor, OpenAiToolAgentBuilder};
use langchain_rust::chain::Chain;
use langchain_rust::language_models::llm::LLM;
use langchain_rust::language_models::{GenerateResult, LLMError};
use langchain_rust::prompt_args;
use langchain_rust::schemas::{Message, MessageType, StreamData, ToolCall};
use langchain_rust::tools::Tool;
use serde_json::Value;

/// Calls the tool once, then answers with its result and the number of messages that it saw.
#[derive(Clone)]
struct FakeModel;

#[async_trait]
impl LLM for FakeModel {
    async fn generate(&self, messages: &[Message]) -> Result<GenerateResult, LLMError> {
        let last = messages.last().ok_or_else(|| LLMError::OtherError("there is no message".into()))?;
        if last.message_type == MessageType::ToolMessage {
            let questions = messages.iter().filter(|message| message.message_type == MessageType::HumanMessage).count();
            let generation = format!("It is {} (question {questions})", last.content);
            return Ok(GenerateResult { generation, ..GenerateResult::default() });
        }
        let call = ToolCall::new(format!("call_{}", messages.len()), "weather", r#"{"input":"Paris"}"#);
        Ok(GenerateResult::default().with_tool_calls(vec![call]))
    }

    async fn stream(&self, _: &[Message]) -> Result<Pin<Box<dyn Stream<Item = Result<StreamData, LLMError>> + Send>>, LLMError> {
        Err(LLMError::OtherError("this model does not stream".into()))
    }
}

struct Weather;

#[async_trait]
impl Tool for Weather {
    fn name(&self) -> String {
        "weather".into()
    }

    fn description(&self) -> String {
        "The weather in a city".into()
    }

    async fn run(&self, city: Value) -> Result<String, Box<dyn Error>> {
        Ok(format!("21 °C in {}", city.as_str().unwrap_or("an unknown city")))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let store = chat_memory::open(args.next().as_deref().unwrap_or("memory:")).await?;
    let question = args.next().unwrap_or_else(|| "How is the weather in Paris?".into());

    let memory = ChatMemory::new(store, SessionId::new("user-42")?).with_policy(Policy::last_turns(20));
    let tools: [Arc<dyn Tool>; 1] = [Arc::new(Weather)];
    let agent = OpenAiToolAgentBuilder::new().tools(&tools).build(FakeModel)?;
    let executor = AgentExecutor::from_agent(agent).with_memory(memory.into());
    println!("{}", executor.invoke(prompt_args! { "input" => question }).await?);
    Ok(())
}
