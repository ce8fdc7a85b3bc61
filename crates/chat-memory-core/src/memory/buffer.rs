//! `BufferMemory`, with the interface that LangChain's users know.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::policy::{Policy, Window};
use super::recall::{Recall, recall_with};
use crate::error::Error;
use crate::message::{Content, Message, Part, Role, kind_of};
use crate::session::{Owner, SessionId};
use crate::store::{Append, Appended, ChatStore, ClearOutcome, Cost, Load, Position};
use crate::wire::openai;

/// A variable that chains pass next to the input: the stop words. It is never the input.
const STOP: &str = "stop";

/// The memory of one session, with the variables that a prompt chain reads and writes.
///
/// `load_memory_variables` returns the conversation so far, under [`memory_key`](BufferMemoryBuilder::memory_key); `save_context`
/// stores a question and its answer in one append. A [`Policy`] decides what is shown. The cost of a window does not depend on
/// the length of the session.
///
/// ```
/// use chat_memory::memory::{BufferMemory, Policy};
/// use chat_memory::store::InMemoryStore;
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let memory = BufferMemory::builder(InMemoryStore::new()).policy(Policy::last_turns(10)).build()?;
/// memory.save_context([("input", "I am Ada.")], [("output", "Hello, Ada!")]).await?;
///
/// let variables = memory.load_memory_variables().await?;
/// assert_eq!(variables.key(), "chat_history");
/// assert_eq!(variables.text(), "Human: I am Ada.\nAI: Hello, Ada!");
/// assert_eq!(variables.cost.requests, 1);
/// # Ok::<(), chat_memory::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It works with any store, including one chosen at run time:
///
/// ```
/// use std::sync::Arc;
/// use chat_memory::memory::BufferMemory;
/// use chat_memory::store::{ChatStore, InMemoryStore};
/// let store: Arc<dyn ChatStore> = Arc::new(InMemoryStore::new());
/// let memory: BufferMemory = BufferMemory::builder(store).build()?;
/// # Ok::<(), chat_memory::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BufferMemory<S = Arc<dyn ChatStore>> {
    store: S,
    session: SessionId,
    owner: Option<Owner>,
    settings: Settings,
}

#[derive(Debug, Clone)]
struct Settings {
    memory_key: String,
    input_key: Option<String>,
    output_key: Option<String>,
    return_messages: bool,
    human_prefix: String,
    ai_prefix: String,
    policy: Policy,
    eventual: bool,
}

/// Builds a [`BufferMemory`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct BufferMemoryBuilder<S> {
    store: S,
    session: Option<SessionId>,
    owner: Option<Owner>,
    settings: Settings,
}

impl<S: ChatStore> BufferMemoryBuilder<S> {
    /// Sets the session. Without it, a new id is generated (UUIDv7): see [`BufferMemory::session`].
    pub fn session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// Sets the owner of the session if an append of this memory starts it.
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Sets the name of the variable that holds the memory; `chat_history` by default.
    pub fn memory_key(mut self, key: impl Into<String>) -> Self {
        self.settings.memory_key = key.into();
        self
    }

    /// Sets which input is the user's message. Without it, there must be only one input besides the memory's own and `stop`.
    pub fn input_key(mut self, key: impl Into<String>) -> Self {
        self.settings.input_key = Some(key.into());
        self
    }

    /// Sets which output is the answer. Without it, there must be only one output, or one named `output`.
    pub fn output_key(mut self, key: impl Into<String>) -> Self {
        self.settings.output_key = Some(key.into());
        self
    }

    /// Sets whether the variable holds messages, for a chat model, or a single text (the default).
    pub fn return_messages(mut self, messages: bool) -> Self {
        self.settings.return_messages = messages;
        self
    }

    /// Sets the label of a user's message in the text; `Human` by default.
    pub fn human_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.human_prefix = prefix.into();
        self
    }

    /// Sets the label of an assistant's message in the text; `AI` by default.
    pub fn ai_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.ai_prefix = prefix.into();
        self
    }

    /// Sets what is shown; everything by default.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.settings.policy = policy;
        self
    }

    /// Loads at half the price, possibly without the newest records ([`Load::eventually_consistent`]).
    pub fn eventually_consistent(mut self) -> Self {
        self.settings.eventual = true;
        self
    }

    /// Builds the memory.
    ///
    /// # Errors
    /// Invalid if a key is empty, or if the input's key equals the memory's.
    pub fn build(self) -> Result<BufferMemory<S>, Error> {
        let Settings { memory_key, input_key, output_key, .. } = &self.settings;
        let keys = [("memory_key", Some(memory_key)), ("input_key", input_key.as_ref()), ("output_key", output_key.as_ref())];
        if let Some((setting, _)) = keys.iter().find(|(_, key)| key.is_some_and(String::is_empty)) {
            return Err(Error::invalid(format!("{setting} must not be empty")));
        }
        if input_key.as_ref() == Some(memory_key) {
            return Err(Error::invalid(format!("memory_key and input_key must differ; both are {memory_key:?}")));
        }
        let session = self.session.unwrap_or_else(SessionId::random);
        Ok(BufferMemory { store: self.store, session, owner: self.owner, settings: self.settings })
    }
}

impl<S: ChatStore> BufferMemory<S> {
    /// Builds a memory in this store.
    pub fn builder(store: S) -> BufferMemoryBuilder<S> {
        let settings = Settings {
            memory_key: "chat_history".into(),
            input_key: None,
            output_key: None,
            return_messages: false,
            human_prefix: "Human".into(),
            ai_prefix: "AI".into(),
            policy: Policy::everything(),
            eventual: false,
        };
        BufferMemoryBuilder { store, session: None, owner: None, settings }
    }

    /// Returns the session.
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// Returns the store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Loads the conversation so far, through the policy.
    ///
    /// # Errors
    /// As [`ChatStore::load`].
    pub async fn load_memory_variables(&self) -> Result<Variables, Error> {
        let load = if self.settings.eventual { Load::all().eventually_consistent() } else { Load::all() };
        let Recall { window, position, cost } = recall_with(&self.store, &self.session, &self.settings.policy, load).await?;
        let text = self.settings.text_of(&window.messages);
        let Settings { memory_key, return_messages, .. } = &self.settings;
        Ok(Variables { window, position, cost, key: memory_key.clone(), text, return_messages: *return_messages })
    }

    /// Stores a question and its answer in one append: both or neither.
    ///
    /// ```
    /// use chat_memory::memory::BufferMemory;
    /// use chat_memory::store::InMemoryStore;
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let memory = BufferMemory::builder(InMemoryStore::new()).input_key("question").build()?;
    /// let inputs = [("question", "And in Rome?"), ("language", "en")];
    /// let appended = memory.save_context(inputs, [("answer", "28 °C.")]).await?;
    /// assert_eq!((appended.seq, appended.cost.requests), (0, 1));
    /// # Ok::<(), chat_memory::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`turn`](Self::turn) and [`ChatStore::append`]. If the outcome is unknown, the error's [ticket](Error::ticket) finishes
    /// the append: `memory.append_as(memory.turn(inputs, outputs)?.with_ticket(ticket))`.
    pub async fn save_context(
        &self,
        inputs: impl IntoIterator<Item = (impl Into<String>, impl Into<Value>)>,
        outputs: impl IntoIterator<Item = (impl Into<String>, impl Into<Value>)>,
    ) -> Result<Appended, Error> {
        self.append_as(self.turn(inputs, outputs)?).await
    }

    /// Creates the append that [`save_context`](Self::save_context) makes, for callers that add to it: an idempotency key, an
    /// expected position, metadata.
    ///
    /// # Errors
    /// Invalid if it is ambiguous which input is the user's message or which output the answer, or if either is missing or is
    /// neither a text nor a list of content parts.
    pub fn turn(
        &self,
        inputs: impl IntoIterator<Item = (impl Into<String>, impl Into<Value>)>,
        outputs: impl IntoIterator<Item = (impl Into<String>, impl Into<Value>)>,
    ) -> Result<Append, Error> {
        let (question, answer) = self.settings.question_and_answer(variables(inputs), variables(outputs))?;
        Ok(Append::new([Message::user(question), Message::assistant(answer)]))
    }

    /// Stores any messages in one append: tool calls and their results, a system prompt.
    ///
    /// # Errors
    /// As [`ChatStore::append`].
    pub async fn append(&self, messages: impl IntoIterator<Item = Message> + Send) -> Result<Appended, Error> {
        let append = Append::new(messages);
        self.append_as(append).await
    }

    /// Appends to the session, and sets the owner if the append starts it.
    ///
    /// # Errors
    /// As [`ChatStore::append`].
    pub async fn append_as(&self, append: Append) -> Result<Appended, Error> {
        let append = match (&self.owner, append.owner()) {
            (Some(owner), None) => append.with_owner(owner.clone()),
            _ => append,
        };
        self.store.append(&self.session, &append).await
    }

    /// Clears the session.
    ///
    /// # Errors
    /// As [`ChatStore::clear`].
    pub async fn clear(&self) -> Result<ClearOutcome, Error> {
        self.store.clear(&self.session).await
    }
}

fn variables(given: impl IntoIterator<Item = (impl Into<String>, impl Into<Value>)>) -> Map<String, Value> {
    given.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

fn names(variables: &Map<String, Value>) -> String {
    let names: Vec<_> = variables.keys().map(|key| format!("{key:?}")).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

impl Settings {
    /// Takes the user's message from the inputs and the answer from the outputs, by LangChain's rules.
    fn question_and_answer(&self, inputs: Map<String, Value>, outputs: Map<String, Value>) -> Result<(Content, Content), Error> {
        let mut candidates = inputs.clone();
        candidates.retain(|key, _| *key != self.memory_key && key != STOP);
        let question = match (&self.input_key, candidates.len()) {
            (Some(key), _) => key.clone(),
            (None, 1) => names_of(&candidates),
            (None, 0) => {
                return Err(Error::invalid(format!(
                    "missing input: no value to store as the user's message; given: {}",
                    names(&inputs)
                )));
            }
            (None, _) => return Err(ambiguous("input", "the user's message", &candidates)),
        };
        let answer = match (&self.output_key, outputs.len()) {
            (Some(key), _) => key.clone(),
            (None, 1) => names_of(&outputs),
            (None, 0) => return Err(Error::invalid("missing output: no value to store as the answer")),
            (None, _) if outputs.contains_key("output") => "output".to_owned(),
            (None, _) => return Err(ambiguous("output", "the answer", &outputs)),
        };
        Ok((content(&question, "input", inputs)?, content(&answer, "output", outputs)?))
    }

    fn text_of(&self, messages: &[Message]) -> String {
        let lines: Vec<_> = messages.iter().map(|message| self.line_of(message)).collect();
        lines.join("\n")
    }

    fn line_of(&self, message: &Message) -> String {
        let prefix = match message.role {
            Role::User => &self.human_prefix,
            Role::Assistant => &self.ai_prefix,
            Role::System => "System",
            Role::Tool if openai::other_name(message.role, &message.extra) == Some("function") => "Function",
            Role::Tool => "Tool",
        };
        let mut line = format!("{prefix}: {}", message.text());
        let said = |field: &str| openai::function_call(message).and_then(|call| call.get(field)).and_then(Value::as_str);
        let function = said("name").map(|name| (name, said("arguments").unwrap_or_default()));
        let tools = message.tool_calls.iter().map(|call| (call.name().unwrap_or("?"), call.arguments().unwrap_or_default()));
        for (name, arguments) in tools.chain(function) {
            if !line.ends_with(' ') {
                line.push(' ');
            }
            line.push_str(&format!("[calls {name}({arguments})]"));
        }
        line
    }
}

/// Lists the names of the variables.
fn names_of(variables: &Map<String, Value>) -> String {
    variables.keys().next().cloned().unwrap_or_default()
}

fn ambiguous(what: &str, role: &str, variables: &Map<String, Value>) -> Error {
    Error::invalid(format!("ambiguous {what}: {role} may be any of {}; set {what}_key", names(variables)))
}

fn content(key: &str, what: &str, mut variables: Map<String, Value>) -> Result<Content, Error> {
    let given = names(&variables);
    let parts = |items: &[Value]| items.iter().map(|item| item.as_object().cloned().map(Part::from)).collect::<Option<Vec<_>>>();
    match variables.shift_remove(key) {
        Some(Value::String(text)) => Ok(Content::Text(text)),
        Some(Value::Array(items)) => match parts(&items) {
            Some(parts) => Ok(Content::Parts(parts)),
            None => Err(Error::invalid(format!(
                "invalid {what} {key:?}: each item of the list must be a content part, which is an object"
            ))),
        },
        Some(other) => Err(Error::invalid(format!(
            "invalid {what} {key:?}: expected a string or a list of content parts, found {}",
            kind_of(&other)
        ))),
        None => Err(Error::invalid(format!("missing {what} {key:?}; given: {given}"))),
    }
}

/// The result of [`BufferMemory::load_memory_variables`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Variables {
    /// What is shown, and what was left out.
    pub window: Window,
    /// The position of the session's log: pass it to `with_expected` so that an append is refused if the session was modified since.
    pub position: Position,
    /// What it cost.
    pub cost: Cost,
    key: String,
    text: String,
    return_messages: bool,
}

impl Variables {
    /// Returns the variable's name.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the messages, oldest first.
    pub fn messages(&self) -> &[Message] {
        &self.window.messages
    }

    /// Returns the messages as one text, one line each, in LangChain's form: `Human: …`, `AI: …`, `System: …`, `Tool: …`. An
    /// assistant's tool calls follow its text: `[calls get_weather({"city":"Paris"})]`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the variable's value: the text or, if the memory was built to return messages, the list of messages in OpenAI's
    /// form.
    pub fn value(&self) -> Value {
        match self.return_messages {
            true => self.messages().iter().map(openai::to_value).collect(),
            false => self.text.clone().into(),
        }
    }

    /// Returns the variables, as a prompt template accepts them.
    pub fn to_map(&self) -> Map<String, Value> {
        Map::from_iter([(self.key.clone(), self.value())])
    }
}

#[cfg(test)]
#[path = "buffer_tests.rs"]
mod tests;
