//! A turn with a tool call in a session of rig 0.46, which outlives the program. Run it twice on the same store:
//!
//! `cargo run --ignore-rust-version --example rig_session -- sqlite:chat.db "How is the weather in Paris?"`
//!
//! The model is a fake, so that it runs anywhere.

use std::error::Error;

use chat_memory_rig_session::ChatSession;
use rig_core::message::Message;
use rig_memory::{load_async, save_async};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let store = chat_memory::open(args.next().as_deref().unwrap_or("memory:")).await?;
    let question = args.next().unwrap_or_else(|| "How is the weather in Paris?".into());

    let session = ChatSession::new(store, "user-42")?;
    let mut conversation = load_async(&session, "main").await?;
    conversation.push(Message::user(question));
    // What a model and a tool would return.
    let call = json!({"type": "toolcall", "id": {"provider": "call_1"}, "function": {"name": "weather", "arguments": {"city": "Paris"}}});
    let result = json!({"type": "toolresult", "call": {"provider": "call_1"}, "name": "weather", "content": [{"type": "text", "text": "21 °C"}]});
    conversation.push(serde_json::from_value::<Message>(json!({"role": "assistant", "content": [call]}))?);
    conversation.push(serde_json::from_value::<Message>(json!({"role": "user", "content": [result]}))?);
    conversation.push(Message::assistant("It is 21 °C in Paris."));
    save_async(&session, "main", &mut conversation).await?;

    let answers =
        conversation.messages().iter().filter(|message| ***message == Message::assistant("It is 21 °C in Paris.")).count();
    println!("It is 21 °C in Paris. (question {answers})");
    Ok(())
}
