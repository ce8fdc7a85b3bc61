//! The context window of an agent that calls tools: a call and its results are always loaded together.

use chat_memory::memory::{Policy, recall};
use chat_memory::store::{Append, InMemoryStore};
use chat_memory::{ChatStore, Error, Message, SessionId, ToolCall};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let store = InMemoryStore::new();
    let session = SessionId::new("weather")?;
    // A turn with its tool calls is one record: it is stored completely or not at all.
    let turn = [
        Message::user("Is it warmer in Paris or in Rome?"),
        Message::tool_calls([
            ToolCall::function("call_1", "get_weather", r#"{"city": "Paris"}"#),
            ToolCall::function("call_2", "get_weather", r#"{"city": "Rome"}"#),
        ]),
        Message::tool("call_1", "21 °C"),
        Message::tool("call_2", "28 °C"),
        Message::assistant("In Rome: 28 °C against 21 °C."),
    ];
    store.append(&session, &Append::new(turn)).await?;

    for n in 1..=5 {
        let recalled = recall(&store, &session, &Policy::last_messages(n)).await?;
        let shown: Vec<_> = recalled.window.messages.iter().map(|message| message.role.as_str()).collect();
        println!("the last {n}: {shown:?} ({})", recalled.window.left_out);
        assert!(shown.first() != Some(&"tool"), "a provider refuses a result without its call");
    }
    Ok(())
}
