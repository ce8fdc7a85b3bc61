// The connection to the native part: one shared store per configuration, and renewable credentials.

import { createHash } from "node:crypto";
import { type NativeCheckpoints, type NativeStore, native, stores } from "#native";
import { ChatMemoryError, type ErrorCode, invalid } from "./errors.js";
import { decode, encode } from "./json.js";
import { checkNames } from "./options.js";
import { inWords, type Words } from "./words.js";

/** An AWS access key, as the AWS SDK for JavaScript has it. */
export interface AwsCredentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
  /** When temporary credentials expire. */
  expiration?: Date;
}

/** An access key, or a function that returns one, such as those of `@aws-sdk/credential-providers`. */
export type AwsCredentialSource = AwsCredentials | (() => Promise<AwsCredentials>);

/** What the AWS SDK's providers return in addition; not used here. */
const KEY_FIELDS = ["accessKeyId", "secretAccessKey", "sessionToken", "expiration", "credentialScope", "accountId", "$source"];

/** How many stores this process keeps open. Beyond that, the least recently used one is closed. */
const MAX_STORES = 256;

/** How long before their expiry credentials are renewed. */
const RENEW_BEFORE_MS = 5 * 60 * 1000;

/** What of a store is opened: its sessions, or its checkpoints. */
export interface Kind<Opened extends NativeStore | NativeCheckpoints> {
  /** Distinguishes it from others with the same setup. */
  name: string;
  open(setup: string): Opened;
  /** Called before an object is replaced by one with newer credentials. */
  retire?(old: Opened): Promise<void>;
}

const SESSIONS: Kind<NativeStore> = { name: "sessions", open: (setup) => new native.NativeStore(setup) };

/**
 * Opens a store, now or when its credentials are known. The result is asked before each call.
 *
 * @param words how errors name the settings, if they were not given as a URL.
 * @throws ChatMemoryError `invalid`, if the URL or the credentials are invalid.
 */
export function source<Opened extends NativeStore | NativeCheckpoints>(
  kind: Kind<Opened>,
  url: string,
  credentials?: AwsCredentialSource,
  words?: Words,
): () => Opened | Promise<Opened> {
  if (typeof credentials === "function") {
    const renewed = renewedBy(kind, credentials, url, words);
    return () => renewed.store();
  }
  const store = opened(kind, url, credentials, words);
  return () => store;
}

export class Connection {
  readonly #store: () => NativeStore | Promise<NativeStore>;
  readonly #words: Words | undefined;

  /**
   * @param words how errors name the settings, if they were not given as a URL.
   * @throws ChatMemoryError `invalid`, if the URL or the credentials are invalid.
   */
  constructor(url: string, credentials?: AwsCredentialSource, words?: Words) {
    this.#words = words;
    this.#store = source(SESSIONS, url, credentials, words);
  }

  /**
   * Runs an operation of the native part.
   *
   * @throws ChatMemoryError as the operation says.
   */
  async call<Answer>(operation: string, request: object): Promise<Answer> {
    const text = encode(request);
    const store = await this.#store();
    const answer = decode(await store.call(operation, text)) as { ok: Answer } | { error: NativeError };
    if ("error" in answer) throw this.failure(answer.error);
    return answer.ok;
  }

  /** An error of the native part, in the user's words. */
  failure(error: NativeError): ChatMemoryError {
    return thrown(error, this.#words);
  }
}

/** A store whose credentials come from a function, which is called again before they expire. */
class Renewed<Opened extends NativeStore | NativeCheckpoints> {
  readonly #kind: Kind<Opened>;
  readonly #url: string;
  readonly #source: () => Promise<AwsCredentials>;
  #current: Opened | undefined;
  #renewAt = Infinity;
  #renewal: Promise<Opened> | undefined;

  constructor(kind: Kind<Opened>, url: string, source: () => Promise<AwsCredentials>, words: Words | undefined) {
    checkUrl(url, words);
    this.#kind = kind;
    this.#url = url;
    this.#source = source;
  }

  store(): Opened | Promise<Opened> {
    if (this.#current !== undefined && Date.now() < this.#renewAt) return this.#current;
    // One renewal at a time, whoever requests it.
    this.#renewal ??= this.#renew().finally(() => {
      this.#renewal = undefined;
    });
    return this.#renewal;
  }

  async #renew(): Promise<Opened> {
    let found: AwsCredentials;
    try {
      // Missing credentials are refused like incomplete ones: AWS's usual chain might be another account.
      found = (await this.#source()) ?? {};
    } catch (error) {
      const why = error instanceof Error ? error.message : "it gave no reason";
      throw new ChatMemoryError("access_denied", `the credentials function failed (${why}); check what it needs`);
    }
    const old = this.#current;
    const next = opened(this.#kind, this.#url, found);
    try {
      if (old !== undefined && old !== next) await this.#kind.retire?.(old);
    } finally {
      // Also if that failed: the caller gets the error, and the next call uses the new credentials.
      this.#current = next;
      const ends = found.expiration?.getTime();
      // If they expire sooner than that, they are requested each time.
      this.#renewAt = ends === undefined ? Infinity : ends - RENEW_BEFORE_MS;
    }
    return next;
  }
}

/**
 * For each function that returns credentials, the stores opened with it: a history made per request calls it no more often than a single
 * one.
 */
const renewals = new WeakMap<object, Map<string, Renewed<never>>>();

function renewedBy<Opened extends NativeStore | NativeCheckpoints>(
  kind: Kind<Opened>,
  source: () => Promise<AwsCredentials>,
  url: string,
  words: Words | undefined,
): Renewed<Opened> {
  const known = (renewals.get(source) ?? new Map()) as Map<string, Renewed<Opened>>;
  renewals.set(source, known as Map<string, Renewed<never>>);
  const name = `${kind.name} ${url}`;
  const renewed = known.get(name) ?? new Renewed(kind, url, source, words);
  known.set(name, renewed);
  return renewed;
}

/** Returns the open store with these settings, or opens one. Sharing saves handshakes, and shares the cached session ends. */
function opened<Opened extends NativeStore | NativeCheckpoints>(
  kind: Kind<Opened>,
  url: string,
  credentials: AwsCredentials | undefined,
  words?: Words,
): Opened {
  const setup: Record<string, unknown> = { url };
  if (credentials !== undefined) {
    if (typeof credentials !== "object" || credentials === null) {
      throw invalid("credentials must be an object with accessKeyId and secretAccessKey, or a function that returns one");
    }
    checkNames("credentials", credentials, KEY_FIELDS);
    for (const name of ["accessKeyId", "secretAccessKey", "sessionToken"] as const) {
      const value: unknown = credentials[name];
      if (value === undefined && name === "sessionToken") continue;
      if (typeof value !== "string" || value === "") {
        throw invalid(`incomplete credentials: ${name} is missing; give accessKeyId and secretAccessKey, or leave credentials out to use AWS's default chain`);
      }
      setup[name] = value;
    }
  }
  const text = JSON.stringify(setup);
  // A `memory:` store is private to its opener.
  if (url.startsWith("memory:")) return create(kind, text, words);
  const name = createHash("sha256").update(`${kind.name} ${text}`).digest("base64");
  const store = (stores.get(name) as Opened | undefined) ?? create(kind, text, words);
  stores.delete(name);
  stores.set(name, store);
  const [oldest] = stores.keys();
  if (stores.size > MAX_STORES && oldest !== undefined) stores.delete(oldest);
  return store;
}

/**
 * Checks a store URL without opening the store.
 *
 * @throws ChatMemoryError `invalid`, if it is invalid.
 */
export function checkUrl(url: string, words: Words | undefined): void {
  create(SESSIONS, JSON.stringify({ url }), words);
}

function create<Opened extends NativeStore | NativeCheckpoints>(kind: Kind<Opened>, setup: string, words?: Words): Opened {
  try {
    return kind.open(setup);
  } catch (error) {
    throw converted(error, words);
  }
}

/** An error of the native part, which has it as JSON. Any other stays as it is. */
export function converted(error: unknown, words: Words | undefined): unknown {
  if (!(error instanceof Error) || !error.message.startsWith("{")) return error;
  return thrown((JSON.parse(error.message) as { error: NativeError }).error, words);
}

/** An error, as the native part writes it. */
export interface NativeError {
  code: ErrorCode;
  message: string;
  retryable: boolean;
  ticket: string | null;
  actual: string | null;
}

function thrown({ code, message, ...more }: NativeError, words: Words | undefined): ChatMemoryError {
  return new ChatMemoryError(code, inWords(words, message), more);
}
