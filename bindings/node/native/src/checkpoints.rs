//! Checkpoints of agents' threads. Their values cross the interface as bytes: they may be large, and need not be text.

use std::sync::Arc;
use std::time::Duration;

use chat_memory::checkpoints::{ChannelHistory, Checkpoint, CheckpointOptions, CheckpointStore, NewCheckpoint, Typed, Write};
use chat_memory::{Error, SessionId};
use chat_memory_bindings::Setup;
use napi::Env;
use napi::bindgen_prelude::{PromiseRaw, Uint8Array};
use napi_derive::napi;
use tokio::sync::OnceCell;

use crate::answer;

/// A serialized value.
#[napi(object)]
pub struct TypedBytes {
    /// The name of its encoding.
    pub kind: String,
    /// Its bytes.
    pub bytes: Uint8Array,
}

/// A channel of a checkpoint that is to be put.
#[napi(object)]
pub struct PutChannel {
    /// Its name.
    pub name: String,
    /// Its version, as text.
    pub version: String,
    /// Whether it has a new value, or none any more. Otherwise it has its parent's.
    pub changed: bool,
    /// The new value.
    pub value: Option<TypedBytes>,
}

/// A checkpoint that is to be put; see the crate's `NewCheckpoint`.
#[napi(object)]
pub struct PutCheckpoint {
    /// Its id.
    pub id: String,
    /// Its parent's.
    pub parent: Option<String>,
    /// Whether it may follow checkpoints that its run has not seen.
    pub fork: bool,
    /// The checkpoint without the values of its channels.
    pub body: TypedBytes,
    /// Its metadata.
    pub metadata: TypedBytes,
    /// The id of its run.
    pub run_id: Option<String>,
    /// All channels that have a version.
    pub channels: Vec<PutChannel>,
    /// The channels whose values are computed from writes.
    pub delta_channels: Vec<String>,
}

/// A task's write that is to be put.
#[napi(object)]
pub struct PutWrite {
    /// Its place among the task's writes; negative for special kinds.
    pub index: i64,
    /// The channel.
    pub channel: String,
    /// What was written.
    pub value: TypedBytes,
}

/// What a task wrote at a checkpoint, which is to be put.
#[napi(object)]
pub struct PutWrites {
    /// The id of the checkpoint.
    pub checkpoint: String,
    /// The id of the task.
    pub task_id: String,
    /// Its path in the graph; may be empty.
    pub task_path: String,
    /// What it wrote.
    pub writes: Vec<PutWrite>,
}

/// A value of a channel.
#[napi(object)]
pub struct ChannelValue {
    /// The channel.
    pub channel: String,
    /// Its value.
    pub value: TypedBytes,
}

/// A task's write.
#[napi(object)]
pub struct StoredWrite {
    /// The id of the task.
    pub task_id: String,
    /// The channel.
    pub channel: String,
    /// What was written.
    pub value: TypedBytes,
}

/// A checkpoint.
#[napi(object)]
pub struct StoredCheckpoint {
    /// Its id.
    pub id: String,
    /// Its parent's.
    pub parent: Option<String>,
    /// The checkpoint without the values of its channels.
    pub body: TypedBytes,
    /// Its metadata.
    pub metadata: TypedBytes,
    /// The values of its channels.
    pub values: Vec<ChannelValue>,
    /// What tasks wrote at it, in the order in which a run applies it.
    pub writes: Vec<StoredWrite>,
    /// Whether it is the newest of its namespace.
    pub is_newest: bool,
}

/// What the ancestors of a checkpoint contributed to a channel.
#[napi(object)]
pub struct StoredHistory {
    /// The writes since the seed, oldest first.
    pub writes: Vec<StoredWrite>,
    /// The value at the nearest ancestor that has one.
    pub seed: Option<TypedBytes>,
}

/// A page of threads.
#[napi(object)]
pub struct ThreadPage {
    /// Their ids; one may come more than once.
    pub threads: Vec<String>,
    /// Where the next page starts.
    pub next: Option<String>,
}

/// The checkpoints in a store, opened at their first use. Methods reject with an error whose message is JSON, as `answer.rs` writes it.
#[napi]
pub struct NativeCheckpoints(Arc<Inner>);

struct Inner {
    setup: Setup,
    options: CheckpointOptions,
    opened: OnceCell<CheckpointStore>,
}

#[napi]
impl NativeCheckpoints {
    /// The checkpoints in a store from `setup`, the JSON that `Setup` describes, where writes wait for at most that many milliseconds for
    /// the next checkpoint. Does not open it yet.
    ///
    /// # Errors
    /// If the store URL or the credentials are invalid.
    #[napi(constructor)]
    pub fn new(setup: String, window: u32) -> napi::Result<Self> {
        let setup = Setup::parse(&setup).map_err(|error| rejected(&error))?;
        let options = CheckpointOptions::default().with_window(Duration::from_millis(window.into()));
        Ok(Self(Arc::new(Inner { setup, options, opened: OnceCell::new() })))
    }

    /// Puts a checkpoint. What it is made of is copied before this returns, so the caller may change it then.
    ///
    /// # Errors
    /// As the store says.
    #[napi]
    pub fn put<'env>(
        &self,
        env: &'env Env,
        thread: String,
        namespace: String,
        checkpoint: PutCheckpoint,
    ) -> napi::Result<PromiseRaw<'env, ()>> {
        let (inner, new) = (self.0.clone(), checkpoint.read());
        env.spawn_future(async move {
            let put = async { inner.store().await?.put(&SessionId::of_thread(thread)?, &namespace, new).await };
            answered(put.await).map(drop)
        })
    }

    /// Puts what a task wrote at a checkpoint. It is copied before this returns.
    ///
    /// # Errors
    /// As the store says.
    #[napi]
    pub fn put_writes<'env>(
        &self,
        env: &'env Env,
        thread: String,
        namespace: String,
        task: PutWrites,
    ) -> napi::Result<PromiseRaw<'env, ()>> {
        let (inner, writes) = (self.0.clone(), task.read());
        let PutWrites { checkpoint, task_id, .. } = task;
        env.spawn_future(async move {
            let put = async {
                let store = inner.store().await?;
                store.put_writes(&SessionId::of_thread(thread)?, &namespace, &checkpoint, &task_id, writes).await
            };
            answered(put.await).map(drop)
        })
    }

    /// Loads the checkpoint with this id, or the newest.
    ///
    /// # Errors
    /// As the store says.
    #[napi]
    pub async fn load(&self, thread: String, namespace: String, id: Option<String>) -> napi::Result<Option<StoredCheckpoint>> {
        let load = async { self.0.store().await?.load(&SessionId::of_thread(thread)?, &namespace, id.as_deref()).await };
        Ok(answered(load.await)?.value.map(StoredCheckpoint::from))
    }

    /// Lists checkpoints of a namespace, newest first: those before this id, at most `limit`.
    ///
    /// # Errors
    /// As the store says.
    #[napi]
    pub async fn list(
        &self,
        thread: String,
        namespace: String,
        before: Option<String>,
        limit: u32,
    ) -> napi::Result<Vec<StoredCheckpoint>> {
        let list = async {
            self.0.store().await?.list(&SessionId::of_thread(thread)?, &namespace, before.as_deref(), limit as usize).await
        };
        Ok(answered(list.await)?.value.into_iter().map(StoredCheckpoint::from).collect())
    }

    /// Returns the namespaces of a thread.
    ///
    /// # Errors
    /// As the store says.
    #[napi]
    pub async fn namespaces(&self, thread: String) -> napi::Result<Vec<String>> {
        let namespaces = async { self.0.store().await?.namespaces(&SessionId::of_thread(thread)?).await };
        Ok(answered(namespaces.await)?.value)
    }

    /// Returns a page of the table's threads.
    ///
    /// # Errors
    /// As the store says.
    #[napi]
    pub async fn threads(&self, after: Option<String>) -> napi::Result<ThreadPage> {
        let threads = async { self.0.store().await?.threads(after.as_deref()).await };
        let (threads, next) = answered(threads.await)?.value;
        Ok(ThreadPage { threads: threads.iter().map(ToString::to_string).collect(), next })
    }

    /// Returns what the ancestors of a checkpoint contributed to channels.
    ///
    /// # Errors
    /// As the store says.
    #[napi]
    pub async fn history(
        &self,
        thread: String,
        namespace: String,
        id: Option<String>,
        channels: Vec<String>,
    ) -> napi::Result<Vec<StoredHistory>> {
        let history =
            async { self.0.store().await?.history(&SessionId::of_thread(thread)?, &namespace, id.as_deref(), &channels).await };
        Ok(answered(history.await)?.value.into_iter().map(StoredHistory::from).collect())
    }

    /// Deletes a thread.
    ///
    /// # Errors
    /// As the store says.
    #[napi]
    pub async fn delete_thread(&self, thread: String) -> napi::Result<()> {
        let delete = async { self.0.store().await?.delete_thread(&SessionId::of_thread(thread)?).await };
        answered(delete.await).map(drop)
    }

    /// Deletes the checkpoints that these runs put on a thread.
    ///
    /// # Errors
    /// As the store says.
    #[napi]
    pub async fn delete_runs(&self, thread: String, runs: Vec<String>) -> napi::Result<()> {
        let delete = async { self.0.store().await?.delete_runs(&SessionId::of_thread(thread)?, &runs).await };
        answered(delete.await).map(drop)
    }

    /// Copies a thread to one that has no checkpoints.
    ///
    /// # Errors
    /// As the store says.
    #[napi]
    pub async fn copy_thread(&self, source: String, target: String) -> napi::Result<()> {
        let copy =
            async { self.0.store().await?.copy_thread(&SessionId::of_thread(source)?, &SessionId::of_thread(target)?).await };
        answered(copy.await).map(drop)
    }

    /// Removes the checkpoints of a thread that its newest ones do not need.
    ///
    /// # Errors
    /// As the store says.
    #[napi]
    pub async fn prune(&self, thread: String) -> napi::Result<()> {
        let prune = async { self.0.store().await?.prune(&SessionId::of_thread(thread)?).await };
        answered(prune.await).map(drop)
    }

    /// Stores all writes that wait.
    ///
    /// # Errors
    /// As the store says.
    #[napi]
    pub async fn flush(&self) -> napi::Result<()> {
        match self.0.opened.get() {
            Some(store) => answered(store.flush().await).map(drop),
            None => Ok(()),
        }
    }
}

impl Inner {
    async fn store(&self) -> Result<&CheckpointStore, Error> {
        self.opened.get_or_try_init(|| self.setup.open_checkpoints(self.options.clone())).await
    }
}

fn answered<T>(result: Result<T, Error>) -> napi::Result<T> {
    result.map_err(|error| rejected(&error))
}

fn rejected(error: &Error) -> napi::Error {
    napi::Error::from_reason(answer::failed(error))
}

impl TypedBytes {
    fn read(&self) -> Typed {
        Typed::new(self.kind.as_str(), self.bytes.to_vec())
    }
}

impl From<Typed> for TypedBytes {
    fn from(typed: Typed) -> Self {
        Self { kind: typed.kind, bytes: typed.bytes.into() }
    }
}

impl PutCheckpoint {
    fn read(self) -> NewCheckpoint {
        let mut new = NewCheckpoint::new(self.id, self.parent, self.body.read(), self.metadata.read());
        (new.fork, new.run_id, new.delta_channels) = (self.fork, self.run_id, self.delta_channels);
        for channel in self.channels {
            if channel.changed {
                new.values.insert(channel.name.clone(), channel.value.as_ref().map(TypedBytes::read));
            }
            new.versions.insert(channel.name, channel.version);
        }
        new
    }
}

impl PutWrites {
    fn read(&self) -> Vec<Write> {
        let write = |write: &PutWrite| {
            Write::new(self.task_id.as_str(), self.task_path.as_str(), write.index, write.channel.as_str(), write.value.read())
        };
        self.writes.iter().map(write).collect()
    }
}

impl From<Checkpoint> for StoredCheckpoint {
    fn from(found: Checkpoint) -> Self {
        let value = |(channel, value): (String, Typed)| ChannelValue { channel, value: value.into() };
        Self {
            id: found.id,
            parent: found.parent,
            body: found.body.into(),
            metadata: found.metadata.into(),
            values: found.values.into_iter().map(value).collect(),
            writes: found.writes.into_iter().map(StoredWrite::from).collect(),
            is_newest: found.is_newest,
        }
    }
}

impl From<Write> for StoredWrite {
    fn from(write: Write) -> Self {
        Self { task_id: write.task_id, channel: write.channel, value: write.value.into() }
    }
}

impl From<ChannelHistory> for StoredHistory {
    fn from(history: ChannelHistory) -> Self {
        Self { writes: history.writes.into_iter().map(StoredWrite::from).collect(), seed: history.seed.map(TypedBytes::from) }
    }
}
