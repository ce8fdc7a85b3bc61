//! An agent of rig with a tool, and a memory that outlives the program. Run it twice on the same store:
//!
//! `cargo run -p chat-memory-rig --example rig_agent -- sqlite:chat.db "How is the weather in Paris?"`
//!
//! The model is a script, so that it runs anywhere; replace it with one of rig's providers.

use std::error::Error;

use chat_memory::memory::Policy;
use chat_memory_rig::ChatMemory;
use rig_agent::AgentBuilder;
use rig_core::message::ToolName;
use rig_core::test_utils::{MockCompletionModel, MockTurn};
use rig_core::tool::{DynamicTool, ToolOutput};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let store = chat_memory::open(args.next().as_deref().unwrap_or("memory:")).await?;
    let question = args.next().unwrap_or_else(|| "How is the weather in Paris?".into());

    let memory = ChatMemory::new(store).with_policy(Policy::last_turns(20));
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let weather = DynamicTool::new(ToolName::new("weather")?, "The weather in a city", schema, |arguments: Value| {
        let city = arguments["city"].as_str().unwrap_or("an unknown city").to_owned();
        Box::pin(async move { Ok(ToolOutput::text(format!("21 °C in {city}"))) })
    });
    let id = std::process::id();
    let turns =
        [MockTurn::tool_call(format!("call_{id}"), "weather", json!({"city": "Paris"})), MockTurn::text("It is 21 °C in Paris.")];
    let model = MockCompletionModel::from_turns(turns);
    let agent = AgentBuilder::new(model.clone())
        .memory(memory)
        .conversation("user-42")
        .default_max_turns(4)
        .dynamic_tool(weather)
        .build();
    let answer = agent.prompt(question).await?;
    // What the model saw, without its answer's own tool call and result.
    let shown = model.requests().first().map(|request| serde_json::to_value(&request.chat_history)).transpose()?;
    let questions = shown.iter().filter_map(Value::as_array).flatten().filter(|message| message["content"][0]["type"] == "text");
    let questions = questions.filter(|message| message["role"] == "user").count();
    println!("{} (question {questions})", answer.output());
    Ok(())
}
