import { native } from "#native";
import { type AwsCredentialSource, Connection } from "./connection.js";
import type { Cost } from "./cost.js";
import { invalid } from "./errors.js";
import { checkNames } from "./options.js";
import { deleteOwner, type DeletedSession, type OwnerDeletion } from "./owner.js";
import { Search, type SearchOptions } from "./search.js";
import { type DynamoDBOptions, writtenUrl } from "./url.js";
import { OPTION_WORDS, type Words } from "./words.js";

/** A message in OpenAI's format. Every field is read back as it was given, including those not named here. */
export interface Message {
  /** `model` in a Gemini content, which has `parts` instead of a content. */
  role: "system" | "developer" | "user" | "assistant" | "tool" | "function" | "model";
  content?: string | MessagePart[] | null;
  name?: string;
  id?: string;
  tool_calls?: ToolCall[];
  tool_call_id?: string;
  [field: string]: unknown;
}

/** A part of a message's content. */
export interface MessagePart {
  /** Bedrock's blocks have none. */
  type?: string;
  [field: string]: unknown;
}

/** A tool call by the model. */
export interface ToolCall {
  id: string;
  type: string;
  function?: { name: string; arguments: string };
  [field: string]: unknown;
}

/** An item of OpenAI's Responses API that is not a message: a call, its output, reasoning. It has no role. */
export interface ResponsesItem {
  type: string;
  role?: undefined;
  [field: string]: unknown;
}

/** Any JSON object: a message, a line of an agent's transcript, a summary. Its own id is the text in `id`, else in `uuid`. */
export type Entry = Record<string, unknown>;

/** A message in LangChain's stored format. */
export interface StoredMessage {
  type: string;
  data: { content: unknown; [field: string]: unknown };
}

/** A message of Anthropic's Messages API; role `system` for the system prompt, which the API takes outside the messages. */
export interface AnthropicMessage {
  role: "user" | "assistant" | "system";
  content: string | { type: string; [field: string]: unknown }[];
  [field: string]: unknown;
}

/** The format of messages: OpenAI's chat messages (the default), LangChain's stored messages, Anthropic's messages, or the items of OpenAI's Responses API. */
export type Format = "openai" | "langchain" | "anthropic" | "responses";

/** The messages of a format. */
export type MessageOf<F extends Format> = F extends "langchain"
  ? StoredMessage
  : F extends "anthropic"
    ? AnthropicMessage
    : F extends "responses"
      ? ResponsesItem | Message
      : Message;

/**
 * What is appended as a message may also have a type without an index signature, such as an interface of yours, or a type of the packages `openai`
 * and `@anthropic-ai/sdk`.
 */
export type MessageInput =
  | { role: Message["role"]; content?: string | readonly object[] | null }
  | { type: string; role?: undefined }
  | { id: string; type?: string | null; role?: undefined };

/** Conditions and options of an append. */
export interface AppendOptions<F extends Format = "openai"> {
  format?: F;
  /** An idempotency key: an append repeated under it within a day is stored once. */
  key?: string;
  /** The ticket of an append that ended `in_doubt`: it is stored once, whether the first attempt landed or not. */
  ticket?: string;
  /** A position: the append is refused with `conflict` if the session was modified since. */
  expect?: string;
  /** A small object of your own, stored with the messages. */
  metadata?: Record<string, unknown>;
  /** The owner, if this append starts the session. */
  owner?: string;
  /** The title, if this append starts the session. */
  title?: string;
  /** Whether the messages replace everything in the session. */
  replace?: boolean;
  /** Whether an append whose outcome is unknown is retried with its ticket a few times, for callers that cannot pass on a ticket. */
  surely?: boolean;
}

/** The result of an append. */
export interface Appended {
  /** The record's place in the session, from 0. */
  seq: number;
  /** The position after the record. */
  position: string;
  /** When it was written, in epoch milliseconds. */
  createdAt: number;
  /** Whether an earlier attempt under the same key or ticket had already written it. */
  repeated: boolean;
  /** Whether it started the session. */
  started: boolean;
  cost: Cost;
}

/** The result of an append of what is new. */
export interface AppendedNew {
  /** For each entry whether it was new, and is stored now. */
  new: boolean[];
  /** The record of the new entries; `null` if there were none. */
  seq: number | null;
  /** The position after the record, or of the session as it was read. */
  position: string;
  cost: Cost;
}

/** How much of a history to load: the newest messages, turns or tokens; by default all of it. */
export interface Window {
  /** Up to n messages. */
  messages?: number;
  /** n turns, each from a user message to the next. A user message with a tool result does not start a turn. */
  turns?: number;
  /** As many messages as fit into n tokens. */
  tokens?: number;
  /** How to count tokens: `estimate` (the default), `o200k_base`, `cl100k_base`, or the name of an OpenAI model. */
  counter?: string;
  /** Whether to include the system messages at the very start. The whole history is then read. */
  keepSystem?: boolean;
  /** Whether to start at a user message, as some providers demand. What would come before it is omitted. */
  startAtUser?: boolean;
}

/** The names of a window's options. */
export const WINDOW_OPTIONS: readonly string[] = ["messages", "turns", "tokens", "counter", "keepSystem", "startAtUser"];

/** The result of a load. */
export interface Loaded<F extends Format = "openai"> {
  /** The messages, oldest first. A tool call is never without its result, nor a result without its call. */
  messages: MessageOf<F>[];
  /** The number of their tokens, if the window counts them. */
  tokens: number | null;
  /** What was omitted: older messages, tool calls and results without their counterpart, and whether there is more that was not read. */
  leftOut: { older: number; broken: number; unread: boolean; text: string };
  /** The session's position: pass it as `expect` to an append that must not overwrite another's. */
  position: string;
  cost: Cost;
}

/** What one append wrote. */
export interface HistoryRecord<F extends Format = "openai"> {
  seq: number;
  /** In epoch milliseconds. */
  createdAt: number;
  /** In epoch seconds. */
  expiresAt: number | null;
  metadata: Record<string, unknown> | null;
  /** When each message was sent, in epoch milliseconds; `null` where that is unknown. */
  sentAt: (number | null)[];
  messages: MessageOf<F>[];
  /** All entries, as they are stored, if one of them is not a message. */
  entries?: Entry[];
}

/** The records of a history, oldest first. */
export interface History<F extends Format = "openai"> {
  records: HistoryRecord<F>[];
  /** Whether these are all records. */
  complete: boolean;
  /** Pass it as `before` to read what is older; `null` if there is nothing older. */
  older: string | null;
  position: string;
  cost: Cost;
}

/** Which records to read: all by default. */
export interface RecordsOptions<F extends Format = "openai"> {
  /** At least the newest n messages. */
  messages?: number;
  /** At least the newest n turns. */
  turns?: number;
  /** Only what is older than other records: their `older`. */
  before?: string;
  format?: F;
}

/** A session, as the directory lists it. */
export interface SessionInfo {
  id: string;
  owner: string | null;
  title: string | null;
  metadata: Record<string, unknown> | null;
  /** In epoch milliseconds. */
  createdAt: number;
  /** The time of the last append, in epoch milliseconds; on DynamoDB at most an hour old, and `null` if it is unknown. */
  lastAt: number | null;
  /** How many records it has since its last clear: those that were taken back count. `null` if it is unknown. */
  records: number | null;
  /** Whether `records` is the number now. If not, it had at least as many at `lastAt`, cleared ones included. */
  recordsExact: boolean;
  /** The beginning of its first user's message. `null` if there is none, and on DynamoDB unless a list was asked for `contents`. */
  firstWords: string | null;
  /** Where it was forked from; `null` if it is no fork, or if its metadata was replaced since. */
  forkedFrom: Origin | null;
}

/** A page of sessions. */
export interface SessionPage {
  sessions: SessionInfo[];
  /** The actual order: on DynamoDB, an owner with over 1,000 sessions is listed by start. */
  order: "started" | "recent";
  /** Where the next page continues; `null` after the last. */
  next: string | null;
  cost: Cost;
}

/** What was erased. */
export interface SweepStats {
  records: number;
  cost: Cost;
}

/** What was deleted. */
export interface Deleted extends SweepStats {
  /** Whether the session existed: `false` if it never did, was deleted before or had expired. */
  existed: boolean;
}

/** What to redact, and what to put in its place. */
export interface RedactOptions {
  /** The index of the message in its record, from 0; by default all of them are redacted. */
  message?: number;
  /** Up to 1,024 bytes; by default `[redacted]`. */
  replacement?: string;
}

/** The result of a redaction. */
export interface Redacted {
  /** `false` if the record was redacted in this way before. */
  changed: boolean;
  /** How many messages and other entries changed. */
  entries: number;
  cost: Cost;
}

/** Where a fork comes from. */
export interface Origin {
  /** The session that was forked. It may have been deleted since. */
  session: string;
  /** The number, in that session, of the last record that was copied. */
  seq: number;
}

/** How to fork a session. */
export interface ForkOptions {
  /** The new session; by default a new id: from the key, if there is one, otherwise random. */
  to?: string;
  /** The number of the last record to copy; by default all is copied. */
  at?: number;
  /** The owner of the new session; by default that of the other. */
  owner?: string;
  /** The title of the new session; by default that of the other. */
  title?: string;
  /** An idempotency key: a fork repeated under it within a day finds the session that the first attempt created. */
  key?: string;
}

const FORK_OPTIONS = ["to", "at", "owner", "title", "key"];

/** What a fork would copy. */
export interface ForkPlan {
  /** The session that is forked. */
  from: string;
  /** The number, in that session, of the last record that is copied. */
  seq: number;
  records: number;
  /** How many messages and other entries the records have. */
  entries: number;
  /** An estimate of the write units; `null` if the store has no units. */
  writeUnits: number | null;
  /** What reading cost. */
  cost: Cost;
}

/** The result of a fork. */
export interface Forked {
  /** The new session. */
  session: string;
  /** The session that was forked. */
  from: string;
  /** The number, in that session, of the last record that was copied. */
  seq: number;
  records: number;
  /** How many messages and other entries the records have. */
  entries: number;
  /** The position of the new session. */
  position: string;
  /** Whether an earlier attempt under the same key had already created it. */
  repeated: boolean;
  cost: Cost;
}

const STORE_OPTIONS = ["credentials"];

/** Marks a store, also one of the other module format: ES modules and CommonJS have a class each. */
const STORE = Symbol.for("chat-memory.ChatStore");

/** Whether this is a store, whichever way its module was loaded. */
export function isStore(value: unknown): value is ChatStore {
  return typeof value === "object" && value !== null && STORE in value;
}

/**
 * A store of sessions: a DynamoDB table, or one file.
 *
 * ```js
 * const store = new ChatStore("sqlite:chat.db"); // or "dynamodb://chats?region=eu-central-1"
 * await store.append("trip", [{ role: "user", content: "Where to?" }, { role: "assistant", content: "To Lisbon." }]);
 * const { messages } = await store.load("trip", { turns: 20 });
 * ```
 *
 * Every operation is asynchronous, and may run concurrently with any other, in this process and in others. Opening the same store
 * again costs nothing. Each rejects with a {@link ChatMemoryError}, whose `code` says what can be done.
 */
export class ChatStore {
  readonly #connection: Connection;

  /**
   * @param store a store URL (`sqlite:PATH`, `dynamodb://TABLE?region=…` or `memory:`), which never contains credentials; or the
   * options of a DynamoDB table: `{ tableName: "chats", region: "eu-central-1" }`.
   * @param options `credentials`: an AWS access key, or a function that returns one; by default AWS's usual chain.
   * @param words how errors name the settings; only this package's own classes pass it.
   */
  constructor(store: string | DynamoDBOptions, options: { credentials?: AwsCredentialSource } = {}, words?: Words) {
    Object.defineProperty(this, STORE, { value: true });
    checkNames("ChatStore", options, STORE_OPTIONS);
    if (typeof store === "string") this.#connection = new Connection(store, options.credentials, words);
    else if (typeof store === "object" && store !== null) this.#connection = new Connection(writtenUrl("ChatStore", store), options.credentials, OPTION_WORDS);
    else throw invalid("ChatStore takes a store URL (sqlite:PATH, dynamodb://TABLE or memory:), or an object with a tableName");
  }

  /** Adds messages at the end of a session, as one record: all of them or none. A session starts with its first record. */
  async append<F extends Format = "openai">(session: string, messages: readonly (MessageOf<F> | ResponsesItem | MessageInput)[], options: AppendOptions<F> = {}): Promise<Appended> {
    checkNames("append", options, ["format", "key", "ticket", "expect", "metadata", "owner", "title", "replace", "surely"]);
    return this.#connection.call("append", { format: "openai", ...options, session, messages });
  }

  /**
   * Adds any JSON objects at the end of a session, as one record. Those with the fields of a message are messages, in OpenAI's
   * format; `load` passes over the others, and `records` returns them. A table of Flowise's or LangChain's refuses others.
   */
  async appendEntries(session: string, entries: readonly object[], options: Omit<AppendOptions, "format"> = {}): Promise<Appended> {
    checkNames("appendEntries", options, ["key", "ticket", "expect", "metadata", "owner", "title", "replace", "surely"]);
    return this.#connection.call("append", { format: "openai", ...options, session, entries });
  }

  /**
   * Adds the entries (or messages) whose ids the session does not contain from the last 24 hours, and those without an id. An
   * entry with a known id and another body is refused with `key_reused`. Repeat the call if its outcome is unknown.
   */
  async appendNew(
    session: string,
    entries: readonly object[],
    options: { expect?: string; metadata?: Record<string, unknown>; owner?: string; title?: string } = {},
  ): Promise<AppendedNew> {
    checkNames("appendNew", options, ["expect", "metadata", "owner", "title"]);
    return this.#connection.call("append", { format: "openai", ...options, session, entries, onlyNew: true });
  }

  /** Loads the newest part of a session, as a model should be shown it. A session that was never written to is empty. */
  async load<F extends Format = "openai">(session: string, options: Window & { format?: F } = {}): Promise<Loaded<F>> {
    checkNames("load", options, ["format", ...WINDOW_OPTIONS]);
    return this.#connection.call("load", { format: "openai", ...options, session });
  }

  /** Loads records as they were written, with at least n messages or turns; by default all of them. */
  async records<F extends Format = "openai">(session: string, options: RecordsOptions<F> = {}): Promise<History<F>> {
    checkNames("records", options, ["format", "messages", "turns", "before"]);
    return this.#connection.call("records", { format: "openai", ...options, session });
  }

  /**
   * Iterates over a session's messages, oldest first, in pages, so that a session of any length takes little memory.
   *
   * A history can only be read from its end, as a later record may hide earlier ones. So with `newestFirst` no more is read than is
   * iterated over; oldest first, the first page reads the whole session, and what lies beyond the oldest 2,000 records or 8 MB is read again.
   * What is appended after the first page was read does not come.
   *
   * ```js
   * for await (const message of store.messages("trip")) console.log(message.content);
   * ```
   */
  async *messages<F extends Format = "openai">(
    session: string,
    options: { newestFirst?: boolean; format?: F } = {},
  ): AsyncGenerator<MessageOf<F>, void, undefined> {
    checkNames("messages", options, ["newestFirst", "format"]);
    let after: string | null | undefined;
    do {
      const page: { messages: MessageOf<F>[]; next: string | null } = await this.#connection.call("messages", { format: "openai", ...options, session, after });
      yield* page.messages;
      after = page.next;
    } while (after !== null);
  }

  /** Rewinds by the last `turns` turns; `null` if there were none. */
  async rewind(session: string, turns: number): Promise<Appended | null> {
    return this.#connection.call("rewind", { format: "openai", session, turns });
  }

  /**
   * Replaces the records from number `seq` on with messages. `expect` is the position of the history that returned them; `window`
   * is how many of the newest messages reach back to it, so that no more is read.
   */
  async replaceFrom<F extends Format = "openai">(
    session: string,
    seq: number,
    messages: readonly (MessageOf<F> | ResponsesItem | MessageInput)[],
    options: { expect?: string; window?: number; format?: F } = {},
  ): Promise<Appended> {
    checkNames("replaceFrom", options, ["format", "expect", "window"]);
    return this.#connection.call("rewind", { format: "openai", ...options, session, seq, messages });
  }

  /** Clears a session's messages at once, and erases them. */
  async clear(session: string): Promise<{ position: string; cost: Cost }> {
    return this.#connection.call("clear", { session });
  }

  /** Deletes a session: clears it, and removes it from the directory. Returns whether there was one. */
  async delete(session: string): Promise<Deleted> {
    return this.#connection.call("delete", { session });
  }

  /**
   * Deletes all sessions of an owner, eight at a time, also those that have expired and are not erased yet, until a list shows none. A
   * session that cannot be deleted is reported in `failed`, and the others are deleted nevertheless. If it is interrupted, call it again.
   *
   * Not covered: the threads of a checkpointer, and the owner's name in metadata and in messages of others.
   *
   * @param options `progress`: called for each session, and awaited, so that it may stop the deletion by throwing.
   */
  async deleteOwner(owner: string, options: { progress?: (done: DeletedSession) => unknown } = {}): Promise<OwnerDeletion> {
    checkNames("deleteOwner", options, ["progress"]);
    return deleteOwner(this.#connection, owner, options.progress);
  }

  /**
   * Redacts a record: what its messages say is replaced where it is stored, also if the record was rewound or cleared and is not erased
   * yet. Text, images, the arguments of calls and their results go; the record keeps its number, and messages their roles and ids. Repeating it
   * changes nothing.
   *
   * Not covered: the title and the metadata of the session, forks of it, and the threads of a checkpointer.
   *
   * ```js
   * await store.redact("trip", 12, { message: 0 });
   * ```
   *
   * @param seq the record's number, as `append` and `records` return it.
   */
  async redact(session: string, seq: number, options: RedactOptions = {}): Promise<Redacted> {
    checkNames("redact", options, ["message", "replacement"]);
    return this.#connection.call("redact", { ...options, session, seq });
  }

  /**
   * Forks a session: creates another with a copy of its records, up to `at` or all. It appears in one step, with the owner, the title
   * and the metadata of the session unless the options give others; its `forkedFrom` names the session. What happens to one of them later
   * does not change the other. If the new session exists, it is refused with `conflict`.
   *
   * ```js
   * const { session } = await store.fork("trip", { at: 12, title: "Rome instead" });
   * ```
   */
  async fork(session: string, options: ForkOptions = {}): Promise<Forked> {
    checkNames("fork", options, FORK_OPTIONS);
    return this.#connection.call("fork", { ...options, session });
  }

  /** Reads what `fork` with these options would copy, and estimates what writing that would cost. Writes nothing. */
  async planFork(session: string, options: ForkOptions = {}): Promise<ForkPlan> {
    checkNames("planFork", options, FORK_OPTIONS);
    return this.#connection.call("planFork", { ...options, session });
  }

  /**
   * Searches titles, ids, owners and the text of messages. A hit has all the words, or words that begin with them, in any order and case. What
   * was rewound, cleared or deleted is not found.
   *
   * The hits come in pages, as they are iterated over; the result also has what the search cost so far. From a search index (a SQLite file of
   * `chat-memory search --index`) the best come first. Otherwise the sessions are read: on DynamoDB, without `owner` or `session`, the whole
   * table.
   *
   * ```js
   * for await (const { session, message, snippet } of store.search("lisbon may", { owner: "ada", limit: 20 })) {
   *   console.log(session.id, message?.seq, snippet.text);
   * }
   * ```
   *
   * @param words letters and digits; may be empty if a time is given, which then finds the sessions that were active.
   */
  search(words: string, options: SearchOptions = {}): Search {
    return new Search((request) => this.#connection.call("search", request), words, options);
  }

  /** Erases what earlier clears have hidden, if one was interrupted. */
  async sweep(session: string): Promise<SweepStats> {
    return this.#connection.call("sweep", { session });
  }

  /**
   * A page of an owner's sessions, or of the unowned ones, newest first: by start, or with `recent` by last activity. That is exact
   * in a file and in memory; on DynamoDB, the time of the last activity is at most an hour old.
   *
   * @param options.anyOwner lists the sessions of all owners and the unowned ones in one order; not on DynamoDB, where
   *   `listAllSessions` lists them in none.
   * @param options.contents also reads `firstWords` and the number of records where the list does not have them: on DynamoDB from each
   *   session, for about one read unit if it is short, and ten at most. Of a session of over some 40 KB it gives the number only.
   */
  async sessions(
    options: { owner?: string; anyOwner?: boolean; limit?: number; after?: string; recent?: boolean; contents?: boolean } = {},
  ): Promise<SessionPage> {
    checkNames("sessions", options, ["owner", "anyOwner", "limit", "after", "recent", "contents"]);
    return this.#connection.call("sessions", options);
  }

  /** A page of all sessions. On DynamoDB it reads the whole table. `contents` is that of `sessions`. */
  async listAllSessions(options: { after?: string; contents?: boolean } = {}): Promise<SessionPage> {
    checkNames("listAllSessions", options, ["after", "contents"]);
    return this.#connection.call("listAllSessions", options);
  }

  /** A session's directory entry; `null` if it is not listed. */
  async session(session: string): Promise<SessionInfo | null> {
    return this.#connection.call("session", { session });
  }

  /** Changes a session's directory entry; `null` removes a field. */
  async updateSession(
    session: string,
    update: { title?: string | null; metadata?: Record<string, unknown> | null },
  ): Promise<SessionInfo | null> {
    checkNames("updateSession", update, ["title", "metadata"]);
    return this.#connection.call("updateSession", { ...update, session });
  }
}

/** A new session id, a UUIDv7. */
export function randomSessionId(): string {
  return native.randomSessionId();
}
