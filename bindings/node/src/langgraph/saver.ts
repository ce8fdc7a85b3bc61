// A checkpointer for LangGraph.js. The engine stores what differs between checkpoints, and refuses one whose parent is not the
// newest; this class serializes values and converts configurations.

import { isDeepStrictEqual } from "node:util";
import type { RunnableConfig } from "@langchain/core/runnables";
import {
  BaseCheckpointSaver,
  type ChannelVersions,
  type Checkpoint,
  type CheckpointListOptions,
  type CheckpointMetadata,
  type CheckpointPendingWrite,
  type CheckpointTuple,
  type DeltaChannelHistory,
  getCheckpointId,
  maxChannelVersion,
  type PendingWrite,
  type SerializerProtocol,
  TASKS,
  WRITES_IDX_MAP,
} from "@langchain/langgraph-checkpoint";
import { type NativeCheckpoints, native, type PutWrites, type StoredCheckpoint, type StoredWrite, stores, type TypedBytes } from "#native";
import { type AwsCredentialSource, converted, type Kind, source } from "../connection.js";
import { invalid } from "../errors.js";
import { checkNames } from "../options.js";
import { type DynamoDBOptions, writtenUrl } from "../url.js";
import { OPTION_WORDS, type Words } from "../words.js";

/** How a {@link ChatMemorySaver} stores checkpoints. */
export interface ChatMemorySaverOptions {
  /** An AWS access key, or a function that returns one; by default AWS's usual chain. */
  credentials?: AwsCredentialSource;
  /** Serializes values; by default LangGraph's `JsonPlusSerializer`. */
  serde?: SerializerProtocol;
  /**
   * How many milliseconds a task's writes wait for the next checkpoint, with which they are stored at no cost. A crash loses those that
   * wait, and their task runs again. By default 150; 0 stores them at once. Interrupts, errors and resumes never wait.
   */
  writeDelay?: number;
  /**
   * What happens to a run if another one has put a checkpoint on the thread since it started: it fails with the code `conflict` (the
   * default), or its checkpoints become a branch, whose last one is then the thread's newest.
   */
  onConflict?: "fail" | "fork";
}

const OPTIONS = ["credentials", "serde", "writeDelay", "onConflict"];
const DEFAULT_DELAY_MS = 150;
const MAX_DELAY_MS = 60_000;

/** How many checkpoints to list at a time. */
const PAGE = 20;

/**
 * Marks a config that names a checkpoint which was not the newest when it was loaded: a run that continues from it is a deliberate
 * branch. LangGraph copies a config's fields up to `put`. The mark is a field's name; its value is undefined, so that configs with
 * and without it are equal, and no JSON contains it.
 */
const fork = (id: string): string => `__chat_memory_fork:${id}`;

/** Set by LangGraph for the subgraphs of a run that replays an earlier checkpoint. */
const REPLAY_STATE = "__pregel_replay_state";

/** Those with writes that may still wait. */
const waiting = new WeakSet<NativeCheckpoints>();

/** The checkpoints in a store, where writes wait this long. */
function checkpoints(delay: number): Kind<NativeCheckpoints> {
  return {
    name: `checkpoints after ${delay} ms`,
    open: (setup) => new native.NativeCheckpoints(setup, delay),
    retire: (old) => old.flush(),
  };
}

let flushesAtExit = false;

/** Has waiting writes stored before the process ends by itself. */
function flushAtExit(): void {
  if (flushesAtExit) return;
  flushesAtExit = true;
  process.on("beforeExit", () => {
    for (const store of stores.values()) {
      // Emitted again after each flush: only what was written since is flushed again.
      if (!("flush" in store) || !waiting.delete(store)) continue;
      // What could not be stored ends the process with its error.
      store.flush().catch((error: unknown) => {
        throw converted(error, undefined);
      });
    }
  });
}

/**
 * Stores the checkpoints of LangGraph.js's graphs in a DynamoDB table or in a file. What a turn costs depends on what it added,
 * not on how long the thread is; and of two runs that start from the same checkpoint of a thread, one fails with the code
 * `conflict`.
 *
 * ```js
 * const checkpointer = ChatMemorySaver.fromUrl("sqlite:chat.db"); // or "dynamodb://chats?region=eu-central-1"
 * const graph = builder.compile({ checkpointer });
 * await graph.invoke({ messages: [new HumanMessage("Where to?")] }, { configurable: { thread_id: "trip" } });
 * ```
 */
export class ChatMemorySaver extends BaseCheckpointSaver {
  readonly #store: () => NativeCheckpoints | Promise<NativeCheckpoints>;
  readonly #words: Words | undefined;
  readonly #forks: boolean;
  /** The writes of each namespace that are being serialized, so that a checkpoint is put after them. */
  readonly #writing = new Map<string, Set<Promise<void>>>();

  /**
   * @param store a store URL (`sqlite:PATH`, `dynamodb://TABLE?region=…` or `memory:`), which never contains credentials; or the
   * options of a DynamoDB table: `{ tableName: "chats", region: "eu-central-1" }`.
   * @throws ChatMemoryError `invalid`, for unknown options and for invalid values.
   */
  constructor(store: string | DynamoDBOptions, options: ChatMemorySaverOptions = {}) {
    if (typeof options !== "object" || options === null) throw invalid("ChatMemorySaver takes its options as an object");
    checkNames("ChatMemorySaver", options, OPTIONS);
    const { credentials, serde, writeDelay = DEFAULT_DELAY_MS, onConflict = "fail" } = options;
    if (!Number.isInteger(writeDelay) || writeDelay < 0 || writeDelay > MAX_DELAY_MS) {
      throw invalid(`writeDelay must be a whole number of milliseconds from 0 to ${MAX_DELAY_MS}`);
    }
    if (onConflict !== "fail" && onConflict !== "fork") throw invalid('onConflict must be "fail" or "fork"');
    super(serde);
    this.#forks = onConflict === "fork";
    if (typeof store === "object" && store !== null) this.#words = OPTION_WORDS;
    else if (typeof store !== "string") {
      throw invalid("ChatMemorySaver takes a store URL (sqlite:PATH, dynamodb://TABLE or memory:), or an object with a tableName");
    }
    const url = typeof store === "string" ? store : writtenUrl("ChatMemorySaver", store);
    this.#store = source(checkpoints(writeDelay), url, credentials, this.#words);
    flushAtExit();
  }

  /** Creates a checkpointer from a store URL. */
  static fromUrl(url: string, options: ChatMemorySaverOptions = {}): ChatMemorySaver {
    return new this(url, options);
  }

  /** Loads a checkpoint: the one that the config names, or the newest of its thread and namespace. */
  async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    const { thread, namespace } = place(config);
    if (thread === undefined) return undefined;
    const found = await this.#call((store) => store.load(thread, namespace ?? "", getCheckpointId(config) || undefined));
    return found === null ? undefined : this.#tuple(thread, namespace ?? "", found);
  }

  /**
   * Lists checkpoints: of the config's thread and namespace, or of all threads or namespaces if it names none. Those of a namespace
   * come newest first. Without a thread, the whole table is read.
   *
   * @param options `filter`: fields that a checkpoint's metadata must have; `before`: a config with the id of a later checkpoint;
   * `limit`: the most to return.
   */
  async *list(config: RunnableConfig, options: CheckpointListOptions = {}): AsyncGenerator<CheckpointTuple> {
    const { thread, namespace } = place(config);
    const id = getCheckpointId(config) || undefined;
    const before = (options.before && getCheckpointId(options.before)) || undefined;
    const filter = Object.entries(options.filter ?? {});
    let left = options.limit ?? Infinity;
    if (left <= 0) return;
    for await (const owner of thread === undefined ? this.#threads() : [thread]) {
      for (const at of namespace === undefined ? await this.#call((store) => store.namespaces(owner)) : [namespace]) {
        const size = filter.length > 0 ? PAGE : Math.min(PAGE, left);
        for await (const found of id === undefined ? this.#listed(owner, at, before, size) : this.#one(owner, at, id, before)) {
          const metadata = await this.#loads(found.metadata);
          if (!filter.every(([name, value]) => isDeepStrictEqual(metadata[name], value))) continue;
          yield this.#tuple(owner, at, found, metadata);
          left -= 1;
          if (left <= 0) return;
        }
      }
    }
  }

  /**
   * Stores a checkpoint whose parent is the one that the config names.
   *
   * @throws ChatMemoryError `conflict`, if another run has put a checkpoint on the thread since the parent was loaded. Nothing is
   * stored then.
   */
  async put(config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, newVersions: ChannelVersions): Promise<RunnableConfig> {
    const { thread, namespace = "" } = place(config);
    if (thread === undefined) throw missing("checkpoint not stored", "thread_id");
    const configurable = config.configurable ?? {};
    const parent = getCheckpointId(config) || undefined;
    const { channel_values: values = {}, ...body } = checkpoint;
    // Perhaps a copy of another checkpoint, without new versions: its parent may have other values.
    const isCopy = metadata.source === "fork";
    const counters = metadata.counters_since_delta_snapshot ?? {};
    const channels = Object.entries(checkpoint.channel_versions ?? {}).map(async ([name, version]) => {
      const has = Object.hasOwn(values, name);
      const changed = Object.hasOwn(newVersions, name) || (isCopy && has);
      const value = changed && has ? await this.#dumps(values[name]) : undefined;
      return { name, version: String(version), changed, value };
    });
    const said = metadata as { run_id?: unknown };
    const runId = said.run_id ?? config.metadata?.["run_id"];
    const [bodyBytes, metadataBytes, channelBytes] = await Promise.all([this.#dumps(body), this.#dumps(metadata), Promise.all(channels)]);
    const dumped = {
      id: checkpoint.id,
      parent,
      fork: this.#forks || (parent === undefined ? isCopy || configurable[REPLAY_STATE] !== undefined : fork(parent) in configurable),
      body: bodyBytes,
      metadata: metadataBytes,
      runId: typeof runId === "string" ? runId : undefined,
      channels: channelBytes,
      deltaChannels: Object.keys(counters).filter((name) => !Object.hasOwn(values, name)),
    };
    await Promise.allSettled(this.#writing.get(key(thread, namespace)) ?? []);
    await this.#call((store) => store.put(thread, namespace, dumped));
    return { configurable: { thread_id: thread, checkpoint_ns: namespace, checkpoint_id: checkpoint.id } };
  }

  /** Stores what a task wrote at the checkpoint that the config names. */
  async putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string, taskPath = ""): Promise<void> {
    const { thread, namespace = "" } = place(config);
    const id = getCheckpointId(config);
    if (thread === undefined) throw missing("writes not stored", "thread_id");
    if (id === "") throw missing("writes not stored", "checkpoint_id");
    const stored = this.#putWrites(thread, namespace, { checkpoint: id, taskId, taskPath }, writes);
    const at = key(thread, namespace);
    const writing = this.#writing.get(at) ?? new Set();
    this.#writing.set(at, writing.add(stored));
    try {
      await stored;
    } finally {
      writing.delete(stored);
      if (writing.size === 0) this.#writing.delete(at);
    }
  }

  async #putWrites(thread: string, namespace: string, task: Omit<PutWrites, "writes">, writes: PendingWrite[]): Promise<void> {
    const dumped = writes.map(async ([channel, value], n) => {
      return { index: Object.hasOwn(WRITES_IDX_MAP, channel) ? WRITES_IDX_MAP[channel]! : n, channel, value: await this.#dumps(value) };
    });
    const all = await Promise.all(dumped);
    await this.#call((store) => {
      waiting.add(store);
      return store.putWrites(thread, namespace, { ...task, writes: all });
    });
  }

  /** Deletes all checkpoints of a thread. A run that is under way on it fails at its next checkpoint. */
  deleteThread(threadId: string): Promise<void> {
    return this.#call((store) => store.deleteThread(threadId));
  }

  /** Deletes the checkpoints that runs put on a thread: those whose metadata has one of these as `run_id`. */
  deleteRuns(threadId: string, runIds: string[]): Promise<void> {
    return this.#call((store) => store.deleteRuns(threadId, runIds));
  }

  /** Copies all checkpoints of a thread to one that has none. */
  copyThread(sourceThreadId: string, targetThreadId: string): Promise<void> {
    return this.#call((store) => store.copyThread(sourceThreadId, targetThreadId));
  }

  /** Removes the checkpoints of a thread that its newest ones do not need. */
  prune(threadId: string): Promise<void> {
    return this.#call((store) => store.prune(threadId));
  }

  /** Returns what the ancestors of a checkpoint contributed to channels, in one pass over them. */
  override async getDeltaChannelHistory({ config, channels }: { config: RunnableConfig; channels: string[] }): Promise<Record<string, DeltaChannelHistory>> {
    const { thread, namespace = "" } = place(config);
    if (channels.length === 0) return {};
    const histories = thread === undefined ? [] : await this.#call((store) => store.history(thread, namespace, getCheckpointId(config) || undefined, channels));
    const entries = channels.map(async (channel, n) => {
      const { writes, seed } = histories[n] ?? { writes: [] };
      const history: DeltaChannelHistory = { writes: await this.#writes(writes) };
      if (seed !== undefined) history.seed = await this.#loads(seed);
      return [channel, history] as const;
    });
    return Object.fromEntries(await Promise.all(entries));
  }

  /** Stores all writes that wait for a checkpoint. Call it before `process.exit()`; a process that ends by itself does it. */
  flush(): Promise<void> {
    return this.#call((store) => store.flush());
  }

  /** The same. The store stays open for others that use it. */
  close(): Promise<void> {
    return this.flush();
  }

  async #call<Answer>(operation: (store: NativeCheckpoints) => Promise<Answer>): Promise<Answer> {
    try {
      return await operation(await this.#store());
    } catch (error) {
      throw converted(error, this.#words);
    }
  }

  async *#threads(): AsyncGenerator<string> {
    const seen = new Set<string>();
    let after: string | undefined;
    do {
      const { threads, next } = await this.#call((store) => store.threads(after));
      for (const thread of threads) {
        if (seen.has(thread)) continue;
        seen.add(thread);
        yield thread;
      }
      after = next;
    } while (after !== undefined);
  }

  async *#listed(thread: string, namespace: string, before: string | undefined, size: number): AsyncGenerator<StoredCheckpoint> {
    for (let from = before; ; ) {
      const page = await this.#call((store) => store.list(thread, namespace, from, size));
      yield* page;
      if (page.length < size) return;
      from = page.at(-1)?.id;
    }
  }

  async *#one(thread: string, namespace: string, id: string, before: string | undefined): AsyncGenerator<StoredCheckpoint> {
    if (before !== undefined && id >= before) return;
    const found = await this.#call((store) => store.load(thread, namespace, id));
    if (found !== null) yield found;
  }

  async #tuple(thread: string, namespace: string, found: StoredCheckpoint, metadata?: CheckpointMetadata): Promise<CheckpointTuple> {
    const at = (id: string, isOlder: boolean): RunnableConfig => ({
      configurable: { thread_id: thread, checkpoint_ns: namespace, checkpoint_id: id, ...(isOlder && { [fork(id)]: undefined }) },
    });
    const values = found.values.map(async ({ channel, value }) => [channel, await this.#loads(value)] as const);
    const [body, entries, loaded, pendingWrites] = await Promise.all([
      this.#loads(found.body),
      Promise.all(values),
      metadata ?? this.#loads(found.metadata),
      this.#writes(found.writes),
    ]);
    const checkpoint: Checkpoint = { ...body, channel_values: Object.fromEntries(entries) };
    if (checkpoint.v < 4 && found.parent !== undefined) await this.#migratePendingSends(checkpoint, thread, namespace, found.parent);
    const tuple: CheckpointTuple = { config: at(found.id, !found.isNewest), checkpoint, metadata: loaded, pendingWrites };
    // A parent has a child, so it is not the newest.
    if (found.parent !== undefined) tuple.parentConfig = at(found.parent, true);
    return tuple;
  }

  /** Until version 4, what a step sent to tasks of the next one was no channel of its checkpoint, only a write at its parent. */
  async #migratePendingSends(checkpoint: Checkpoint, thread: string, namespace: string, parent: string): Promise<void> {
    const found = await this.#call((store) => store.load(thread, namespace, parent));
    const sends = found?.writes.filter(({ channel }) => channel === TASKS) ?? [];
    checkpoint.channel_values[TASKS] = await Promise.all(sends.map(({ value }) => this.#loads(value)));
    const versions = Object.values(checkpoint.channel_versions);
    checkpoint.channel_versions[TASKS] = versions.length > 0 ? maxChannelVersion(...versions) : this.getNextVersion(undefined);
  }

  #writes(writes: StoredWrite[]): Promise<CheckpointPendingWrite[]> {
    return Promise.all(writes.map(async ({ taskId, channel, value }): Promise<CheckpointPendingWrite> => [taskId, channel, await this.#loads(value)]));
  }

  async #dumps(value: unknown): Promise<TypedBytes> {
    const [kind, bytes] = await this.serde.dumpsTyped(value);
    return { kind, bytes };
  }

  #loads({ kind, bytes }: TypedBytes) {
    return this.serde.loadsTyped(kind, bytes);
  }
}

const key = (thread: string, namespace: string): string => JSON.stringify([thread, namespace]);

/** The thread and the namespace that a config names. */
function place(config: RunnableConfig): { thread: string | undefined; namespace: string | undefined } {
  const { thread_id: thread, checkpoint_ns: namespace } = (config.configurable ?? {}) as Record<string, unknown>;
  if (thread !== undefined && typeof thread !== "string") throw invalid(`invalid thread_id: it must be a text, not a value of the type ${typeof thread}`);
  if (namespace !== undefined && typeof namespace !== "string") {
    throw invalid(`invalid checkpoint_ns: it must be a text, not a value of the type ${typeof namespace}`);
  }
  return { thread, namespace };
}

function missing(what: string, name: string) {
  return invalid(`${what}: the config has no ${name}; pass { configurable: { ${name}: "…" } }`);
}
