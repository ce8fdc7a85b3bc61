/** The conversations of the Vercel AI SDK: its `UIMessage`s, exactly. */
import { isDeepStrictEqual } from "node:util";
import type { UIMessage } from "ai";
import { ChatMemoryError, invalid } from "../errors.js";
import { checkNames } from "../options.js";
import { type ChatStore, type History, type Message, randomSessionId } from "../store.js";
import { identified, identifiedBy, isMade } from "./ids.js";
import { normalized, type Placed, placed, toMessage } from "./messages.js";

export { ChatMemoryError, type ErrorCode } from "../errors.js";
export { ChatStore } from "../store.js";

/** How many messages are read at first to see what is stored already: the last turn or two, whole records of them. */
const FIRST_LOOK = 4;

/** How often a save looks again after another writer came between. */
const LOOKS = 5;

/** A conversation with the place at which it was read. */
export interface Conversation<M extends UIMessage = UIMessage> {
  messages: M[];
  /** To be given as `expect` to a save that must not cross another's. */
  position: string;
}

/** How much of a conversation is loaded: at least so many of the newest messages or turns, and all of it where nothing is said. */
export interface Reach {
  messages?: number;
  turns?: number;
}

/** What a save did. */
export interface Saved {
  /** How many messages were written; 0 where all were stored already. */
  written: number;
  /** The position behind them. */
  position: string;
}

/**
 * Loads a conversation, oldest message first: what `useChat` takes as `messages`. One that was never saved is empty. What was written
 * through another form (LangChain's, OpenAI's) is shown as the AI SDK would have it.
 */
export async function loadMessages<M extends UIMessage = UIMessage>(store: ChatStore, session: string, reach: Reach = {}): Promise<M[]> {
  return (await loadConversation<M>(store, session, reach)).messages;
}

/** The same with its position. */
export async function loadConversation<M extends UIMessage = UIMessage>(
  store: ChatStore,
  session: string,
  reach: Reach = {},
): Promise<Conversation<M>> {
  const history = await store.records(session, reach);
  return { messages: placed(history.records).map(({ message }) => message as M), position: history.position };
}

/**
 * Saves a conversation, as `onFinish` hands it over: whole, or only its end. What is stored already is known by its ids and not written
 * again; the rest is one append. A message that has changed under its id (an answer that continued after a tool was approved) takes the
 * place of the old one.
 *
 * A message without an id (an answer, where `generateMessageId` is not given) is known by its place and by what it says, also when it comes
 * again with the browser's id. It is stored under an id of its own.
 *
 * A repeated save, also of an older state, writes nothing. A save never takes away a message that it does not know: if the session holds others where these continue, it is a `conflict`. To put
 * an answer in the place of another (regenerate), give `expect`, the position of the load that it is based on; then it is a
 * conflict only if somebody wrote since.
 *
 * Reading what is stored already stays at the last few messages where they are as they were given, so a long conversation costs no more
 * than a short one. An older message that changed with the newer ones as they were is not looked for.
 *
 * @throws ChatMemoryError `invalid` for what is no UIMessage, `conflict`, and what the store meets.
 */
export async function saveMessages(
  store: ChatStore,
  session: string,
  messages: readonly UIMessage[],
  options: { expect?: string } = {},
): Promise<Saved> {
  checkNames("saveMessages", options, ["expect"]);
  const given = normalized(messages);
  for (let look = 1; ; look += 1) {
    try {
      return await save(store, session, given, options.expect);
    } catch (error) {
      // Another look decides again. With a position given, it is for the caller to look.
      const again = error instanceof Crossed && options.expect === undefined && look < LOOKS;
      if (!again) throw error instanceof Crossed ? error.conflict : error;
    }
  }
}

/**
 * Adds messages at the end of a conversation, whatever is there. Unlike {@link saveMessages} it reads nothing, and knows nothing again: with
 * a `key`, messages saved twice are stored once all the same.
 */
export async function appendMessages(
  store: ChatStore,
  session: string,
  messages: readonly UIMessage[],
  options: { key?: string; expect?: string } = {},
): Promise<Saved> {
  checkNames("appendMessages", options, ["key", "expect"]);
  // With a key, a repeat must be the same to the byte.
  const given = identifiedBy(options.key ?? randomSessionId(), normalized(messages));
  const appended = await store.append(session, given.map(toMessage), { ...options, surely: true });
  return { written: messages.length, position: appended.position };
}

/** Another writer came between the look and the write. */
class Crossed extends Error {
  constructor(readonly conflict: ChatMemoryError) {
    super(conflict.message);
  }
}

async function save(store: ChatStore, session: string, messages: UIMessage[], expect: string | undefined): Promise<Saved> {
  let reach: number | undefined = FIRST_LOOK;
  let history = await store.records(session, { messages: reach });
  let stored = placed(history.records);
  let given = identified(stored.map(({ message }) => message), messages);
  let start = aligned(stored, given, history.complete);
  if (start === undefined) {
    reach = undefined;
    history = await store.records(session);
    stored = placed(history.records);
    given = identified(stored.map(({ message }) => message), messages);
    start = aligned(stored, given, true);
  }
  const { at, from } = start ?? { at: stored.length, from: 0 };
  let same = 0;
  while (at + same < stored.length && isDeepStrictEqual(stored[at + same]?.message, given[from + same])) same += 1;
  const rest = given.slice(from + same);
  const changed = stored[at + same];
  if (rest.length === 0 && (!changed || expect === undefined)) return { written: 0, position: history.position };
  if (changed && expect === undefined) refuseToLose(stored.slice(at + same), rest, history.position);
  return write(store, session, rest.map(toMessage), { changed, history, reach, expect: expect ?? history.position });
}

/** @throws ChatMemoryError `conflict`, where a stored message would go that is not among the new ones. */
function refuseToLose(stored: Placed[], rest: UIMessage[], actual: string): void {
  const ids = new Set(rest.map(({ id }) => id));
  const stranger = stored.find(({ message }) => !ids.has(message.id));
  if (!stranger) return;
  const made = isMade(stranger.message.id) ? ", and generateMessageId to toUIMessageStream, so that an answer has the same id here and in the browser" : "";
  throw new ChatMemoryError(
    "conflict",
    `the session holds the message ${JSON.stringify(stranger.message.id)} where these continue without it; load it again, or give expect ` +
      `(the position of the load that these are based on) to put them in its place${made}`,
    { actual },
  );
}

interface Where {
  /** The first stored message that is to be replaced; with none, the messages go to the end. */
  changed: Placed | undefined;
  /** What was read, and how many messages that reached back. */
  history: History;
  reach: number | undefined;
  expect: string;
}

async function write(store: ChatStore, session: string, messages: Message[], { changed, history, reach, expect }: Where): Promise<Saved> {
  try {
    if (!changed) {
      const { position } = await store.append(session, messages, { expect, surely: true });
      return { written: messages.length, position };
    }
    // A record is replaced whole, so what it has before the change is written again.
    const record = history.records.find(({ seq }) => seq === changed.seq);
    const kept = record?.messages.slice(0, changed.place) ?? [];
    const { position } = await store.replaceFrom(session, changed.seq, [...kept, ...messages], { expect, window: reach });
    return { written: messages.length, position };
  } catch (error) {
    throw error instanceof ChatMemoryError && error.code === "conflict" ? new Crossed(error) : error;
  }
}

/**
 * Where the given messages and the stored ones meet: the place of the same id in both, from which on they are compared. `undefined` where
 * that cannot be told from these stored ones: then more must be read, or, if they are all there are, none of the given is stored.
 *
 * @throws ChatMemoryError `invalid`, when the given start with a message that is not stored, and continue with one that is.
 */
function aligned(stored: Placed[], given: UIMessage[], complete: boolean): { at: number; from: number } | undefined {
  const first = stored[0]?.message.id;
  const from = given.findIndex(({ id }) => id === first);
  // The given reach back as far as these stored ones, or farther: what is before them was read by nobody, and is taken as it is.
  if (from === 0 || (from > 0 && !complete)) return { at: 0, from };
  // The given are the end of it.
  const at = stored.findIndex(({ message }) => message.id === given[0]?.id);
  if (at >= 0) return { at, from: 0 };
  const ids = new Set(stored.map(({ message }) => message.id));
  const late = complete ? given.find(({ id }) => ids.has(id)) : undefined;
  if (late) {
    throw invalid(
      `the message ${JSON.stringify(late.id)} is stored, but the first of these is not and would stand before it; give the conversation from a stored message on, or only new messages`,
    );
  }
  return undefined;
}
