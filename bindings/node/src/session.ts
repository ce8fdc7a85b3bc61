// One session of one store, as the framework adapters use it, opened with the options known from LangChain.js.

import type { AwsCredentialSource } from "./connection.js";
import { invalid } from "./errors.js";
import { checkNames, text } from "./options.js";
import { type Appended, ChatStore, isStore, randomSessionId, type StoredMessage, type Window, WINDOW_OPTIONS } from "./store.js";
import { DYNAMODB_OPTIONS, type DynamoDBOptions, writtenUrl } from "./url.js";
import { SESSION_WORDS, type Words } from "./words.js";

/** The part of the AWS SDK's client configuration that is used here. */
export interface ClientConfig {
  /** The AWS region. */
  region?: string;
  /** An access key, or a function that returns one; by default AWS's usual chain. */
  credentials?: AwsCredentialSource;
  /** The service's URL, for DynamoDB Local. */
  endpoint?: string | URL;
}

/** A string key of an item, as the AWS SDK writes it. */
export type Key = Record<string, { S: string }>;

/**
 * Selects the session and its store. `tableName`, `sessionId`, `partitionKey`, `sortKey`, `messageAttributeName`, `config` and
 * `key` are those of LangChain.js's `DynamoDBChatMessageHistory`; `store` is a store URL in their place; the others are ours.
 */
export interface SessionOptions extends Partial<Omit<DynamoDBOptions, "listAttribute" | "sortValue">> {
  /** A store URL (`sqlite:PATH`, `dynamodb://TABLE?…`, `memory:`), or a store, in place of the table's options. */
  store?: string | ChatStore;
  /** The session; by default a new random one (UUIDv7). */
  sessionId?: string;
  /** The attribute with a session's messages, in a table with one item per session. */
  messageAttributeName?: string;
  /** Region, credentials and endpoint, as the AWS SDK's client takes them. */
  config?: ClientConfig;
  /** The whole key of a session's item, in place of `sessionId`. */
  key?: Key;
  /** How much of the history to load; all of it by default. */
  window?: Window;
  /** The owner of a new session: the directory lists sessions by owner. */
  owner?: string;
  /** The title of a new session. */
  title?: string;
}

const OWN = ["store", "sessionId", "messageAttributeName", "config", "key", "window", "owner", "title"];
const TABLE = DYNAMODB_OPTIONS.filter((name) => name !== "listAttribute" && name !== "sortValue");

/** The names of a session's options. */
export const SESSION_OPTIONS: readonly string[] = [...TABLE, ...OWN];

/** Conditions on an append. */
export interface SaveOptions {
  /** An idempotency key: messages saved repeatedly under it within a day are stored once. */
  key?: string;
  /** The ticket of a save that ended `in_doubt`. */
  ticket?: string;
  /** The position that the session must still be at. */
  expect?: string;
}

/** A session with its store. */
export class Session {
  readonly store: ChatStore;
  readonly id: string;
  readonly window: Window;
  readonly #owner: string | undefined;
  readonly #title: string | undefined;

  private constructor(store: ChatStore, id: string, options: SessionOptions) {
    const window: unknown = options.window ?? {};
    if (typeof window !== "object" || window === null) throw invalid("window must be an object such as { turns: 20 }");
    checkNames("window", window, WINDOW_OPTIONS);
    this.store = store;
    this.id = id;
    this.window = { ...window };
    this.#owner = text("the session", "owner", options.owner);
    this.#title = text("the session", "title", options.title);
  }

  /**
   * Opens a session, without a request to the store yet.
   *
   * @param what the class that the options were given to, for errors.
   * @param words how errors name the options.
   * @throws ChatMemoryError `invalid`, for unknown options and for invalid values.
   */
  static open(what: string, options: SessionOptions, words: Words = SESSION_WORDS): Session {
    if (typeof options !== "object" || options === null) throw invalid(`${what} takes an object with a tableName or a store`);
    checkNames(what, options, SESSION_OPTIONS);
    if (options.store !== undefined) return Session.#ofStore(what, options.store, options);
    if (options.tableName === undefined) throw invalid(`${what} needs a tableName, or a store such as "sqlite:chat.db"`);
    const { region, endpoint, credentials } = clientConfig(what, options.config);
    const key = options.key && readKey(what, options.key, options.partitionKey);
    const said: DynamoDBOptions = { tableName: options.tableName };
    for (const name of TABLE) Object.assign(said, { [name]: options[name as keyof SessionOptions] });
    said.region ??= region;
    said.endpoint ??= endpoint;
    said.partitionKey = key?.partitionKey ?? said.partitionKey;
    said.sortKey = key?.sortKey ?? said.sortKey;
    said.listAttribute = text(what, "messageAttributeName", options.messageAttributeName);
    // LangChain.js stores a session of such a table with the sort key's own name as the sort key's value; `layout: "turns"` means
    // one item per record.
    said.sortValue = key ? key.sortValue : options.layout === "turns" ? undefined : options.sortKey;
    // LangChain.js can read a session that this class starts; a table of Flowise's may use any key name.
    if (options.layout !== "turns") said.dialect ??= "js";
    const store = new ChatStore(writtenUrl(what, said), credentials && { credentials }, words);
    return new Session(store, key?.session ?? sessionId(what, options.sessionId), options);
  }

  static #ofStore(what: string, store: string | ChatStore, options: SessionOptions): Session {
    const also = [...TABLE, "messageAttributeName", "key"].find((name) => options[name as keyof SessionOptions] !== undefined);
    if (also) throw invalid(`${what} has a store, whose URL has the table's settings; put ${also} into that URL, or leave store out`);
    const { credentials, ...rest } = options.config ?? {};
    checkNames(`${what}: with a store, config`, rest, []);
    if (isStore(store)) {
      if (credentials) throw invalid(`${what} has a store that is already open; give the credentials to that`);
      return new Session(store, sessionId(what, options.sessionId), options);
    }
    return new Session(new ChatStore(store, credentials && { credentials }), sessionId(what, options.sessionId), options);
  }

  /** Adds messages as one record: all of them or none. */
  append(messages: StoredMessage[], options: SaveOptions = {}): Promise<Appended> {
    checkNames("a save", options, ["key", "ticket", "expect"]);
    const always = { format: "langchain", surely: true, owner: this.#owner, title: this.#title } as const;
    return this.store.append(this.id, messages, { ...options, ...always });
  }

  /** Loads the window's messages. */
  async load(): Promise<StoredMessage[]> {
    return (await this.store.load(this.id, { ...this.window, format: "langchain" })).messages;
  }

  /** The same for another session of the store. */
  in(session: string): Session {
    return new Session(this.store, session, { window: this.window, owner: this.#owner, title: this.#title });
  }
}

function sessionId(what: string, given: unknown): string {
  return text(what, "sessionId", given) ?? randomSessionId();
}

function clientConfig(what: string, config: ClientConfig | undefined): { region?: string; endpoint?: string; credentials?: AwsCredentialSource } {
  if (config === undefined) return {};
  if (typeof config !== "object" || config === null) throw invalid(`${what}: config must be an object such as { region: "eu-west-1" }`);
  checkNames(`${what}: config`, config, ["region", "credentials", "endpoint"]);
  const { endpoint } = config;
  return {
    region: text(`${what}: config`, "region", config.region),
    endpoint: endpoint instanceof URL ? endpoint.href : text(`${what}: config`, "endpoint", endpoint),
    credentials: config.credentials,
  };
}

/** The names and values in an item's key. */
function readKey(what: string, key: Key, named: string | undefined): { partitionKey: string; session: string; sortKey?: string; sortValue?: string } {
  const entries = Object.entries(key ?? {});
  const bad = entries.find(([, value]) => typeof value?.S !== "string");
  if (bad || entries.length < 1 || entries.length > 2) {
    throw invalid(`${what}: key must be one or two attributes that are strings, such as { id: { S: "session-1" } }`);
  }
  const partition = entries.length === 1 ? entries[0] : entries.find(([name]) => name === (named ?? "id"));
  if (!partition) throw invalid(`${what}: of the two attributes of key, partitionKey must name the one that is the partition key`);
  const sort = entries.find(([name]) => name !== partition[0]);
  const found = { partitionKey: partition[0], session: partition[1].S };
  return sort ? { ...found, sortKey: sort[0], sortValue: sort[1].S } : found;
}
