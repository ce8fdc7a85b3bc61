import { native } from "#native";
import { type AwsCredentialSource, Connection } from "./connection.js";
import { invalid } from "./errors.js";
import { checkNames } from "./options.js";
import { type DynamoDBOptions, writtenUrl } from "./url.js";
import { OPTION_WORDS, type Words } from "./words.js";

/** A message in OpenAI's form. Every field comes back as it was given, also those that have no name here. */
export interface Message {
  /** `model` in a content of Gemini's, which has `parts` instead of a content. */
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

/** A call of a tool by the model. */
export interface ToolCall {
  id: string;
  type: string;
  function?: { name: string; arguments: string };
  [field: string]: unknown;
}

/** An item of OpenAI's Responses API that is no message: a call, its output, reasoning. It has no role. */
export interface ResponsesItem {
  type: string;
  role?: undefined;
  [field: string]: unknown;
}

/** A message in LangChain's stored form. */
export interface StoredMessage {
  type: string;
  data: { content: unknown; [field: string]: unknown };
}

/** The form in which messages come and go: OpenAI's chat messages (the default), or LangChain's stored messages. */
export type Format = "openai" | "langchain";

/** The messages of a form. */
export type MessageOf<F extends Format> = F extends "langchain" ? StoredMessage : Message;

/** What an operation took, repeats included: requests, capacity units as DynamoDB reports them, bytes as stored. */
export interface Receipt {
  requests: number;
  readUnits: number;
  writeUnits: number;
  bytes: number;
}

/** Conditions on an append, and what goes with it. */
export interface AppendOptions<F extends Format = "openai"> {
  format?: F;
  /** An idempotency key: however often the append is repeated within a day, it is stored once. */
  key?: string;
  /** The ticket of an append that ended `in_doubt`: stored once, whether that one landed or not. */
  ticket?: string;
  /** A position: the append is refused with `conflict` if anyone wrote to the session since. */
  expect?: string;
  /** A small object of your own beside the messages. */
  metadata?: Record<string, unknown>;
  /** The owner, if this append starts the session. */
  owner?: string;
  /** The title, if this append starts the session. */
  title?: string;
  /** Whether the messages take the place of all that is there. */
  replace?: boolean;
  /** Whether an append that ends in doubt is repeated through its ticket a few times, for callers that have nobody to hand a ticket to. */
  surely?: boolean;
}

/** What an append did. */
export interface Appended {
  /** The record's place in the session, from 0. */
  seq: number;
  /** The position behind the record. */
  position: string;
  /** When it was written, in epoch milliseconds. */
  createdAt: number;
  /** Whether an earlier attempt under the same key or ticket had written it already. */
  repeated: boolean;
  /** Whether it started the session. */
  started: boolean;
  receipt: Receipt;
}

/** How much of a history is shown: the newest messages, turns or tokens; all of it where nothing is said. */
export interface Window {
  /** At most so many messages. */
  messages?: number;
  /** So many turns, each from a user's message to the next one's. A user's message that holds a tool's result begins none. */
  turns?: number;
  /** As many messages as have at most so many tokens. */
  tokens?: number;
  /** How tokens are counted: `estimate` (the default), `o200k_base`, `cl100k_base`, or the name of an OpenAI model. */
  counter?: string;
  /** Whether the system messages at the very start are shown too. The whole history is then read. */
  keepSystem?: boolean;
  /** Whether the messages begin at a user's message, as some providers demand. What would stand before it is left out. */
  startAtUser?: boolean;
}

/** The names of a window's options. */
export const WINDOW_OPTIONS: readonly string[] = ["messages", "turns", "tokens", "counter", "keepSystem", "startAtUser"];

/** What was loaded. */
export interface Loaded<F extends Format = "openai"> {
  /** The messages, oldest first. A tool's call is never without its result, nor a result without its call. */
  messages: MessageOf<F>[];
  /** Their tokens, where the window counts them. */
  tokens: number | null;
  /** What is not shown: older messages, tool calls and results that lack each other, and whether there is more that was not read. */
  leftOut: { older: number; broken: number; unread: boolean; text: string };
  /** Where the session was: to be given as `expect` to an append that must not cross another's. */
  position: string;
  receipt: Receipt;
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
}

/** The records of a history, oldest first. */
export interface History<F extends Format = "openai"> {
  records: HistoryRecord<F>[];
  /** Whether they are all there are. */
  complete: boolean;
  position: string;
  receipt: Receipt;
}

/** A session, as the directory lists it. */
export interface SessionInfo {
  id: string;
  owner: string | null;
  title: string | null;
  metadata: Record<string, unknown> | null;
  /** In epoch milliseconds. */
  createdAt: number;
  /** When something was last appended to it, in epoch milliseconds; on DynamoDB at most an hour old, and `null` where it is not known. */
  lastAt: number | null;
}

/** A page of sessions. */
export interface SessionPage {
  sessions: SessionInfo[];
  /** The order that they really are in: on DynamoDB, an owner with over 1,000 sessions is listed by start. */
  order: "started" | "recent";
  /** Where the next page goes on; `null` after the last. */
  next: string | null;
  receipt: Receipt;
}

/** What was erased. */
export interface Swept {
  records: number;
  receipt: Receipt;
}

/** What was deleted. */
export interface Deleted extends Swept {
  /** Whether there was a session: `false` where it never was, was deleted before or had expired. */
  existed: boolean;
}

const STORE_OPTIONS = ["credentials"];

/**
 * A store of sessions: a DynamoDB table, or one file.
 *
 * ```js
 * const store = new ChatStore("sqlite:chat.db"); // or "dynamodb://chats?region=eu-central-1"
 * await store.append("trip", [{ role: "user", content: "Where to?" }, { role: "assistant", content: "To Lisbon." }]);
 * const { messages } = await store.load("trip", { turns: 20 });
 * ```
 *
 * Every operation is asynchronous, and may run at once with any other, in this process and in others. Opening the same store again is
 * free. Each rejects with a {@link ChatMemoryError}, whose `code` says what can be done.
 */
export class ChatStore {
  readonly #connection: Connection;

  /**
   * @param store a store URL (`sqlite:PATH`, `dynamodb://TABLE?region=…` or `memory:`), which never holds credentials; or the options of a
   *   DynamoDB table: `{ tableName: "chats", region: "eu-central-1" }`.
   * @param options `credentials`: an AWS access key, or a function that gets one; by default AWS's usual chain.
   * @param words how errors name the settings; only this package's own classes give it.
   */
  constructor(store: string | DynamoDBOptions, options: { credentials?: AwsCredentialSource } = {}, words?: Words) {
    checkNames("ChatStore", options, STORE_OPTIONS);
    if (typeof store === "string") this.#connection = new Connection(store, options.credentials, words);
    else if (typeof store === "object" && store !== null) this.#connection = new Connection(writtenUrl("ChatStore", store), options.credentials, OPTION_WORDS);
    else throw invalid("ChatStore takes a store URL (sqlite:PATH, dynamodb://TABLE or memory:), or an object with a tableName");
  }

  /** Adds messages at the end of a session, as one record: all of them or none. A session starts with its first record. */
  append<F extends Format = "openai">(session: string, messages: (MessageOf<F> | ResponsesItem)[], options: AppendOptions<F> = {}): Promise<Appended> {
    checkNames("append", options, ["format", "key", "ticket", "expect", "metadata", "owner", "title", "replace", "surely"]);
    return this.#connection.call("append", { format: "openai", ...options, session, messages });
  }

  /** Loads the newest part of a session, as a model should be shown it. A session that was never written to is empty. */
  load<F extends Format = "openai">(session: string, options: Window & { format?: F } = {}): Promise<Loaded<F>> {
    checkNames("load", options, ["format", ...WINDOW_OPTIONS]);
    return this.#connection.call("load", { format: "openai", ...options, session });
  }

  /** Loads records as they were written, at least so many messages or turns of them; all of them where nothing is said. */
  records<F extends Format = "openai">(
    session: string,
    options: { messages?: number; turns?: number; format?: F } = {},
  ): Promise<History<F>> {
    checkNames("records", options, ["format", "messages", "turns"]);
    return this.#connection.call("records", { format: "openai", ...options, session });
  }

  /** Takes back the last `turns` turns; `null` when there were none. */
  rewind(session: string, turns: number): Promise<Appended | null> {
    return this.#connection.call("rewind", { format: "openai", session, turns });
  }

  /**
   * Puts messages in the place of the records from number `seq` on. `expect` is the position of the history that showed them; `window`
   * is how many of the newest messages reach back to it, so that no more is read.
   */
  replaceFrom<F extends Format = "openai">(
    session: string,
    seq: number,
    messages: MessageOf<F>[],
    options: { expect?: string; window?: number; format?: F } = {},
  ): Promise<Appended> {
    checkNames("replaceFrom", options, ["format", "expect", "window"]);
    return this.#connection.call("rewind", { format: "openai", ...options, session, seq, messages });
  }

  /** Forgets a session's messages at once, and erases them. */
  clear(session: string): Promise<{ position: string; receipt: Receipt }> {
    return this.#connection.call("clear", { session });
  }

  /** Forgets a session: clears it, and takes it off the directory. It says whether there was one. */
  delete(session: string): Promise<Deleted> {
    return this.#connection.call("delete", { session });
  }

  /** Erases what earlier clears have hidden and an interrupted one left. */
  sweep(session: string): Promise<Swept> {
    return this.#connection.call("sweep", { session });
  }

  /**
   * A page of an owner's sessions, or of those that have none, newest first: by when they began, or with `recent` by last activity. That
   * is exact in a file and in memory; on DynamoDB, the time of the last activity is at most an hour old.
   */
  sessions(options: { owner?: string; limit?: number; after?: string; recent?: boolean } = {}): Promise<SessionPage> {
    checkNames("sessions", options, ["owner", "limit", "after", "recent"]);
    return this.#connection.call("sessions", options);
  }

  /** A page of all sessions. On DynamoDB it reads the whole table. */
  everySession(options: { after?: string } = {}): Promise<SessionPage> {
    checkNames("everySession", options, ["after"]);
    return this.#connection.call("everySession", options);
  }

  /** What the directory says of a session; `null` if it is not listed. */
  session(session: string): Promise<SessionInfo | null> {
    return this.#connection.call("session", { session });
  }

  /** Changes what the directory says of a session; `null` takes a field away. */
  updateSession(
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
