#![doc = include_str!("../README.md")]

mod convert;

use std::sync::Arc;

use async_trait::async_trait;
use chat_memory::memory::{Policy, recall_with};
use chat_memory::store::{Append, Load};
use chat_memory::{ChatStore, ChatStoreExt, Error, Owner, SessionId};
use langchain_rust::schemas::Message;
use langchain_rust::schemas::memory::{BaseMemory, MemoryError};
use tokio::sync::Mutex;

pub use convert::{from_message, to_message};

/// A session as langchain-rust's memory: every kind of message, exactly, in any store.
///
/// The framework gets what the policy selects from the session: everything, or a window, never a tool's result without its call.
/// What the framework adds is written at once, each message as one record, so nothing waits in memory to be lost.
///
/// ```
/// use std::sync::Arc;
/// use chat_memory::memory::Policy;
/// use chat_memory::store::InMemoryStore;
/// use chat_memory::SessionId;
/// use chat_memory_langchain::ChatMemory;
/// use langchain_rust::schemas::memory::BaseMemory;
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let mut memory = ChatMemory::new(Arc::new(InMemoryStore::new()), SessionId::new("user-42")?).with_policy(Policy::last_turns(20));
/// memory.add_user_message(&"Where to?").await?;
/// memory.add_ai_message(&"To Lisbon.").await?;
/// assert_eq!(memory.to_string().await?, "human: Where to?\nai: To Lisbon.");
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ChatMemory {
    store: Arc<dyn ChatStore>,
    session: SessionId,
    policy: Policy,
    owner: Option<Owner>,
}

impl ChatMemory {
    /// The memory of this session, all of it.
    pub fn new(store: Arc<dyn ChatStore>, session: SessionId) -> Self {
        Self { store, session, policy: Policy::everything(), owner: None }
    }

    /// The same memory, loading what this policy selects.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The same memory; a session that it starts gets this owner.
    #[must_use]
    pub fn with_owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// The session.
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// The store, for operations that the framework lacks.
    pub fn store(&self) -> &Arc<dyn ChatStore> {
        &self.store
    }

    /// Adds messages as one record: a turn with its tool calls, all of it or nothing. langchain-rust itself saves message by
    /// message; use this if you have the whole turn.
    ///
    /// # Errors
    /// As [`ChatStoreExt::append_with_retry`].
    pub async fn add_messages(&self, messages: impl IntoIterator<Item = Message>) -> Result<(), Error> {
        let append = Append::new(messages.into_iter().map(|message| to_message(&message)));
        let append = self.owner.iter().cloned().fold(append, Append::with_owner);
        self.store.append_with_retry(&self.session, append).await.map(drop)
    }
}

#[async_trait]
impl BaseMemory for ChatMemory {
    async fn messages(&self) -> Result<Vec<Message>, MemoryError> {
        // The framework saves message by message.
        let load = Load::all().single_message_records();
        let recalled = recall_with(&self.store, &self.session, &self.policy, load).await.map_err(storage)?;
        Ok(recalled.window.messages.iter().map(from_message).collect())
    }

    async fn add_message(&mut self, message: Message) -> Result<(), MemoryError> {
        self.add_messages([message]).await.map_err(storage)
    }

    async fn clear(&mut self) -> Result<(), MemoryError> {
        self.store.clear(&self.session).await.map(drop).map_err(storage)
    }
}

/// langchain-rust's error is only text; ours says what to do, and after an append with an unknown outcome names the ticket to retry
/// with.
fn storage(error: Error) -> MemoryError {
    MemoryError::Storage(error.to_string())
}

impl From<ChatMemory> for Arc<dyn BaseMemory> {
    fn from(memory: ChatMemory) -> Self {
        Arc::new(memory)
    }
}

/// The memory as chains and agents take it.
impl From<ChatMemory> for Arc<Mutex<dyn BaseMemory>> {
    fn from(memory: ChatMemory) -> Self {
        Arc::new(Mutex::new(memory))
    }
}
