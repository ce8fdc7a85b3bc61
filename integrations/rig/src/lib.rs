#![doc = include_str!("../README.md")]

use std::sync::Arc;

use chat_memory::memory::{Policy, recall};
use chat_memory::store::Append;
use chat_memory::{ChatStore, ChatStoreExt, Error, Owner, SessionId};
use chat_memory_rig_form::{from_messages, to_messages};
use rig_core::completion::Message;
use rig_core::id::ConversationId;
use rig_core::memory::{ConversationMemory, MemoryError};
use rig_core::wasm_compat::WasmBoxedFuture;

/// rig's conversations in a store. A conversation is the session of its id; a run of the agent is one record, written completely or
/// not at all.
///
/// ```
/// use std::sync::Arc;
/// use chat_memory::store::InMemoryStore;
/// use chat_memory_rig::ChatMemory;
/// use rig_core::completion::Message;
/// use rig_core::memory::ConversationMemory;
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let memory = ChatMemory::new(Arc::new(InMemoryStore::new()));
/// let turn = vec![Message::user("Where to?"), Message::assistant("To Lisbon.")];
/// memory.append(&"trip".into(), turn.clone()).await?;
/// assert_eq!(memory.load(&"trip".into()).await?, turn);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ChatMemory {
    store: Arc<dyn ChatStore>,
    policy: Policy,
    owner: Option<Owner>,
}

impl ChatMemory {
    /// The memory of all conversations in this store; each is loaded whole.
    pub fn new(store: Arc<dyn ChatStore>) -> Self {
        Self { store, policy: Policy::everything(), owner: None }
    }

    /// The same memory, loading what this policy selects: the newest turns, for instance.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The same memory; conversations that it starts get this owner.
    #[must_use]
    pub fn with_owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn ChatStore> {
        &self.store
    }

    async fn read(&self, conversation: &ConversationId) -> Result<Vec<Message>, MemoryError> {
        let session = session(conversation)?;
        let recalled = recall(&self.store, &session, &self.policy).await.map_err(backend)?;
        let rig = from_messages(&recalled.window.messages);
        rig.into_iter().map(|message| serde_json::from_value(message).map_err(MemoryError::backend)).collect()
    }

    async fn write(&self, conversation: &ConversationId, messages: Vec<Message>) -> Result<(), MemoryError> {
        let session = session(conversation)?;
        let rig = messages.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>().map_err(MemoryError::backend)?;
        if rig.is_empty() {
            return Ok(());
        }
        let append = Append::new(rig.iter().flat_map(to_messages));
        let append = self.owner.iter().cloned().fold(append, Append::with_owner);
        // rig does not retry, so an append with an unknown outcome is retried here.
        self.store.append_with_retry(&session, append).await.map(drop).map_err(backend)
    }
}

fn session(conversation: &ConversationId) -> Result<SessionId, MemoryError> {
    SessionId::new(conversation.as_str()).map_err(backend)
}

fn backend(error: Error) -> MemoryError {
    MemoryError::backend(error)
}

impl ConversationMemory for ChatMemory {
    fn load<'a>(&'a self, conversation_id: &'a ConversationId) -> WasmBoxedFuture<'a, Result<Vec<Message>, MemoryError>> {
        Box::pin(self.read(conversation_id))
    }

    fn append<'a>(
        &'a self,
        conversation_id: &'a ConversationId,
        messages: Vec<Message>,
    ) -> WasmBoxedFuture<'a, Result<(), MemoryError>> {
        Box::pin(self.write(conversation_id, messages))
    }

    fn clear<'a>(&'a self, conversation_id: &'a ConversationId) -> WasmBoxedFuture<'a, Result<(), MemoryError>> {
        Box::pin(async move { self.store.clear(&session(conversation_id)?).await.map(drop).map_err(backend) })
    }
}
