/** Stores the conversations of the Vercel AI SDK: its `UIMessage`s, exactly. */
import { isDeepStrictEqual } from "node:util";
import type { UIMessage } from "ai";
import { ChatMemoryError, invalid } from "../errors.js";
import { checkNames } from "../options.js";
import { type ChatStore, type History, type Message, randomSessionId } from "../store.js";
import { identified, identifiedBy, isMade } from "./ids.js";
import { normalized, type Placed, placed, toMessage } from "./messages.js";

export { ChatMemoryError, type ErrorCode } from "../errors.js";
export { ChatStore } from "../store.js";

/** How many messages a save reads first to find what is already stored: the last turn or two, in whole records. */
const FIRST_LOOK = 4;

/** How often a save retries after another writer came first. */
const LOOKS = 5;

/** A conversation with the position at which it was read. */
export interface Conversation<M extends UIMessage = UIMessage> {
  messages: M[];
  /** Pass it as `expect` to a save that must not overwrite another's. */
  position: string;
}

/** How much of a conversation to load: at least n of the newest messages or turns; by default all of it. */
export interface Reach {
  messages?: number;
  turns?: number;
}

/** The result of a save. */
export interface Saved {
  /** How many messages were written; 0 if all were stored already. */
  written: number;
  /** The position after them. */
  position: string;
}

/**
 * Loads a conversation, oldest message first: what `useChat` takes as `messages`. One that was never saved is empty. Messages
 * written in another format (LangChain's, OpenAI's) are converted to the AI SDK's.
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
 * Saves a conversation as `onFinish` passes it: all of it, or only its end. Messages already stored are recognised by their ids and
 * not written again; the rest is one append. A message that changed under its id (an answer that continued after a tool was
 * approved) replaces the old one.
 *
 * A message without an id (an answer, without `generateMessageId`) is recognised by its place and its content, even when it comes
 * again with the browser's id. It is stored under an id of its own.
 *
 * A repeated save, even of an older state, writes nothing. A save never removes a message that it does not know: if the session has
 * others in the place of new ones, it is a `conflict`. To replace an answer (regenerate), pass `expect`, the position of the load
 * that it is based on; then it is a conflict only if the session was modified since.
 *
 * A save compares only the last few messages if they are unchanged, so a long conversation costs no more than a short one. An older
 * message that changed while the newer ones did not is not noticed.
 *
 * @throws ChatMemoryError `invalid` for values that are not UIMessages, `conflict`, and errors from the store.
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
      // Reading again decides again. With a position given, that is up to the caller.
      const again = error instanceof Crossed && options.expect === undefined && look < LOOKS;
      if (!again) throw error instanceof Crossed ? error.conflict : error;
    }
  }
}

/**
 * Adds messages at the end of a conversation, whatever it contains. Unlike {@link saveMessages} it reads nothing and recognises
 * nothing; but with a `key`, messages saved twice are stored once.
 */
export async function appendMessages(
  store: ChatStore,
  session: string,
  messages: readonly UIMessage[],
  options: { key?: string; expect?: string } = {},
): Promise<Saved> {
  checkNames("appendMessages", options, ["key", "expect"]);
  // With a key, a repeat must be identical to the byte.
  const given = identifiedBy(options.key ?? randomSessionId(), normalized(messages));
  const appended = await store.append(session, given.map(toMessage), { ...options, surely: true });
  return { written: messages.length, position: appended.position };
}

/** Another writer came between the read and the write. */
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

/** @throws ChatMemoryError `conflict`, if a stored message would be removed that is not among the new ones. */
function refuseToLose(stored: Placed[], rest: UIMessage[], actual: string): void {
  const ids = new Set(rest.map(({ id }) => id));
  const stranger = stored.find(({ message }) => !ids.has(message.id));
  if (!stranger) return;
  const made = isMade(stranger.message.id) ? ", and generateMessageId to toUIMessageStream, so that an answer has the same id here and in the browser" : "";
  throw new ChatMemoryError(
    "conflict",
    `the session contains the message ${JSON.stringify(stranger.message.id)}, which these messages omit; reload it, or give expect ` +
      `(the position of the load that these are based on) to replace it${made}`,
    { actual },
  );
}

interface Where {
  /** The first stored message to replace; without one, the messages are appended. */
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
    // A record is replaced as a whole, so its messages before the change are written again.
    const record = history.records.find(({ seq }) => seq === changed.seq);
    const kept = record?.messages.slice(0, changed.place) ?? [];
    const { position } = await store.replaceFrom(session, changed.seq, [...kept, ...messages], { expect, window: reach });
    return { written: messages.length, position };
  } catch (error) {
    throw error instanceof ChatMemoryError && error.code === "conflict" ? new Crossed(error) : error;
  }
}

/**
 * Finds where the given messages and the stored ones match: the place of the same id in both, from which on they are compared.
 * `undefined` if these stored ones do not show it: then more must be read, or, if these are all, none of the given is stored.
 *
 * @throws ChatMemoryError `invalid`, if the given messages start with one that is not stored, and continue with a stored one.
 */
function aligned(stored: Placed[], given: UIMessage[], complete: boolean): { at: number; from: number } | undefined {
  const first = stored[0]?.message.id;
  const from = given.findIndex(({ id }) => id === first);
  // The given messages reach back at least as far as these stored ones: what comes before them was not read, and is assumed
  // unchanged.
  if (from === 0 || (from > 0 && !complete)) return { at: 0, from };
  // The given messages are the end of the conversation.
  const at = stored.findIndex(({ message }) => message.id === given[0]?.id);
  if (at >= 0) return { at, from: 0 };
  const ids = new Set(stored.map(({ message }) => message.id));
  const late = complete ? given.find(({ id }) => ids.has(id)) : undefined;
  if (late) {
    throw invalid(
      `the message ${JSON.stringify(late.id)} is stored, but the first of these is not and would come before it; give the conversation from a stored message on, or only new messages`,
    );
  }
  return undefined;
}
