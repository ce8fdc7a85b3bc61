//! The memory of one session, as LangChain users know it: the next run still has the conversation.
//!
//! `cargo run -p chat-memory-examples --example quickstart` stores it in `quickstart.db`; pass a store URL to
//! store it elsewhere.

use chat_memory::SessionId;
use chat_memory::memory::{BufferMemory, Policy};

#[tokio::main]
async fn main() -> Result<(), chat_memory::Error> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "sqlite:quickstart.db".to_owned());
    let store = chat_memory::open(&url).await?;
    let memory = BufferMemory::builder(store).session(SessionId::new("user-42")?).policy(Policy::last_turns(10)).build()?;

    let saved = memory.save_context([("input", "I am Ada.")], [("output", "Hello, Ada!")]).await?;
    println!("stored the turn as record {}: {}", saved.seq, saved.cost);

    let variables = memory.load_memory_variables().await?;
    println!("{}:\n{}", variables.key(), variables.text());
    println!("loading that took {}", variables.cost);
    Ok(())
}
