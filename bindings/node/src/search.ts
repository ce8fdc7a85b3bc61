// Search, page by page.

import { addCost, type Cost, NO_COST } from "./cost.js";
import { invalid } from "./errors.js";
import { checkNames } from "./options.js";
import type { SessionInfo } from "./store.js";

/** What to search, and how far. */
export interface SearchOptions {
  /** Only this owner's sessions. Without it, all sessions. */
  owner?: string;
  /** Only this session; not with `owner`. */
  session?: string;
  /** Only messages sent at this time or later, and sessions active since: a Date, or epoch milliseconds. */
  since?: Date | number;
  /** Only messages sent before this time, and sessions that began before it. */
  until?: Date | number;
  /** Whether to search titles, ids and owners only, and read no messages. */
  titles?: boolean;
  /** Up to n hits; by default all. */
  limit?: number;
}

/** A session, or a message, that was found. */
export interface SearchHit {
  /** The session. In a store without a directory only its id is known. */
  session: SessionInfo;
  /** The message; `null` if the session's title, id or owner was found. */
  message: {
    /** The number of its record. */
    seq: number;
    /** Its place among the record's entries, from 0. */
    index: number;
    /** Its author; `null` for an entry that is not a message. */
    role: string | null;
    /** When it was sent, or else stored, in epoch milliseconds; `null` if unknown. */
    at: number | null;
  } | null;
  /** A part of the text on one line, where `…` marks what was left out; and the same in parts, each with whether it is a match. */
  snippet: { text: string; parts: { text: string; match: boolean }[] };
}

interface Page {
  hits: SearchHit[];
  next: string | null;
  indexed: boolean;
  sessions: number;
  warnings: string[];
  cost: Cost;
}

/** The hits of a search, which can be iterated over once, and what the search took so far. */
export class Search implements AsyncIterableIterator<SearchHit> {
  /** What it cost so far. */
  cost: Cost = NO_COST;
  /** Whether an index was used, so that no session was read; `undefined` before the first page. */
  indexed: boolean | undefined;
  /** How many sessions were read so far. */
  sessions = 0;
  /** What could not be searched so far: one sentence each, with the remedy. */
  warnings: string[] = [];
  readonly #hits: AsyncGenerator<SearchHit, undefined, undefined>;

  /** Only `ChatStore` makes one. */
  constructor(call: (request: object) => Promise<Page>, words: string, options: SearchOptions) {
    checkNames("search", options, ["owner", "session", "since", "until", "titles", "limit"]);
    const { since, until } = options;
    this.#hits = this.#read(call, { ...options, words, since: epochMs("since", since), until: epochMs("until", until) });
  }

  async *#read(call: (request: object) => Promise<Page>, request: { words: string; limit?: number; since?: number; until?: number }): AsyncGenerator<SearchHit, undefined, undefined> {
    let [left, after]: [number | undefined, string | null | undefined] = [request.limit, undefined];
    do {
      const page = await call({ ...request, limit: left, after });
      this.cost = addCost(this.cost, page.cost);
      this.indexed = page.indexed;
      this.sessions += page.sessions;
      this.warnings.push(...page.warnings);
      yield* page.hits;
      if (left !== undefined) left -= page.hits.length;
      after = page.next;
    } while (after !== null && left !== 0);
    return undefined;
  }

  next(): Promise<IteratorResult<SearchHit, undefined>> {
    return this.#hits.next();
  }

  return(): Promise<IteratorResult<SearchHit, undefined>> {
    return this.#hits.return(undefined);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** A time as the engine takes it. */
function epochMs(name: string, time: Date | number | undefined): number | undefined {
  const ms = time instanceof Date ? time.getTime() : time;
  if (ms !== undefined && !Number.isSafeInteger(ms)) {
    throw invalid(`invalid ${name}: expected a Date, or a time in epoch milliseconds`);
  }
  return ms;
}
