// The connection to the native part: one shared store per configuration, and renewable credentials.

import { createHash } from "node:crypto";
import { type NativeStore, native, stores } from "#native";
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

export class Connection {
  readonly #store: () => NativeStore | Promise<NativeStore>;
  readonly #words: Words | undefined;

  /**
   * @param words how errors name the settings, if they were not given as a URL.
   * @throws ChatMemoryError `invalid`, if the URL or the credentials are invalid.
   */
  constructor(url: string, credentials?: AwsCredentialSource, words?: Words) {
    this.#words = words;
    if (typeof credentials === "function") {
      const renewed = renewedBy(credentials, url, words);
      this.#store = () => renewed.store();
    } else {
      const store = opened(url, credentials, words);
      this.#store = () => store;
    }
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
    if ("error" in answer) throw thrown(answer.error, this.#words);
    return answer.ok;
  }
}

/** A store whose credentials come from a function, which is called again before they expire. */
class Renewed {
  readonly #url: string;
  readonly #source: () => Promise<AwsCredentials>;
  #current: NativeStore | undefined;
  #renewAt = Infinity;
  #renewal: Promise<NativeStore> | undefined;

  constructor(url: string, source: () => Promise<AwsCredentials>, words: Words | undefined) {
    checkUrl(url, words);
    this.#url = url;
    this.#source = source;
  }

  store(): NativeStore | Promise<NativeStore> {
    if (this.#current !== undefined && Date.now() < this.#renewAt) return this.#current;
    // One renewal at a time, whoever requests it.
    this.#renewal ??= this.#renew().finally(() => {
      this.#renewal = undefined;
    });
    return this.#renewal;
  }

  async #renew(): Promise<NativeStore> {
    let found: AwsCredentials;
    try {
      // Missing credentials are refused like incomplete ones: AWS's usual chain might be another account.
      found = (await this.#source()) ?? {};
    } catch (error) {
      const why = error instanceof Error ? error.message : "it gave no reason";
      throw new ChatMemoryError("access_denied", `the credentials function failed (${why}); check what it needs`);
    }
    this.#current = opened(this.#url, found);
    const ends = found.expiration?.getTime();
    // If they expire sooner than that, they are requested each time.
    this.#renewAt = ends === undefined ? Infinity : ends - RENEW_BEFORE_MS;
    return this.#current;
  }
}

/**
 * For each function that returns credentials, the stores opened with it: a history made per request calls it no more often than a single
 * one.
 */
const renewals = new WeakMap<object, Map<string, Renewed>>();

function renewedBy(source: () => Promise<AwsCredentials>, url: string, words: Words | undefined): Renewed {
  const known = renewals.get(source) ?? new Map<string, Renewed>();
  renewals.set(source, known);
  const renewed = known.get(url) ?? new Renewed(url, source, words);
  known.set(url, renewed);
  return renewed;
}

/** Returns the open store with these settings, or opens one. Sharing saves handshakes, and shares the cached session ends. */
function opened(url: string, credentials: AwsCredentials | undefined, words?: Words): NativeStore {
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
  if (url.startsWith("memory:")) return create(text, words);
  const name = createHash("sha256").update(text).digest("base64");
  const store = stores.get(name) ?? create(text, words);
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
  create(JSON.stringify({ url }), words);
}

function create(setup: string, words?: Words): NativeStore {
  try {
    return new native.NativeStore(setup);
  } catch (error) {
    // The native part returns the error as JSON.
    const said = error instanceof Error && error.message.startsWith("{") ? (JSON.parse(error.message) as { error: NativeError }) : undefined;
    throw said ? thrown(said.error, words) : error;
  }
}

interface NativeError {
  code: ErrorCode;
  message: string;
  retryable: boolean;
  ticket: string | null;
  actual: string | null;
}

function thrown({ code, message, ...more }: NativeError, words: Words | undefined): ChatMemoryError {
  return new ChatMemoryError(code, inWords(words, message), more);
}
