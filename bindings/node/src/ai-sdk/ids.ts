// Messages without an id. Without `generateMessageId` the AI SDK gives an answer the id "" on the server, and another one in the
// browser. Such a message is identified by its place and its content, and stored under an id derived from both.

import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import type { UIMessage } from "ai";
import { encode } from "../json.js";

/** The prefix of ids that are made here. */
const MADE = "auto-";

/** Whether an id was made here, for a message that had none. */
export const isMade = (id: string): boolean => id.startsWith(MADE);

/**
 * Gives each message its id: the stored message's if it is stored, otherwise its own, otherwise a new one. Saving the same messages
 * again gives the same ids.
 *
 * @param stored the known stored messages, the newest last.
 */
export function identified(stored: readonly UIMessage[], given: readonly UIMessage[]): UIMessage[] {
  const found = adopted(stored, given);
  const taken = new Set([...stored, ...found].map(({ id }) => id));
  return found.map((message, n) => {
    if (message.id !== "") return message;
    // Derived from the message before it too, so that two answers with the same words differ.
    const before = n > 0 ? found[n - 1] : stored.at(-1);
    const named = { ...message, id: madeId(before?.id ?? "", message, taken) };
    taken.add(named.id);
    found[n] = named;
    return named;
  });
}

/** Prepares messages for an append, which reads nothing: a message without an id gets one derived from `seed` and its place. */
export function identifiedBy(seed: string, given: readonly UIMessage[]): UIMessage[] {
  const taken = new Set(given.map(({ id }) => id));
  return given.map((message, n) => {
    if (message.id !== "") return message;
    const named = { ...message, id: madeId(`${seed} ${n}`, message, taken) };
    taken.add(named.id);
    return named;
  });
}

/** Replaces ids of the given messages by those of the stored messages that they are, where one of the two ids is a made one. */
function adopted(stored: readonly UIMessage[], given: readonly UIMessage[]): UIMessage[] {
  const found = [...given];
  const shift = shiftOf(stored, given);
  if (shift === undefined) return found;
  // From the place where both certainly match, in both directions, as long as they agree.
  for (const step of [1, -1]) {
    for (let at = shift.anchor; ; at += step) {
      const [theirs, ours] = [given[at], stored[at + shift.by]];
      if (!theirs || !ours) break;
      if (theirs.id === ours.id) continue;
      if (!same(ours, theirs)) break;
      found[at] = { ...theirs, id: ours.id };
    }
  }
  return found;
}

/** The distance between the place of a given message and its stored place, from a message that is certainly in both. */
function shiftOf(stored: readonly UIMessage[], given: readonly UIMessage[]): { anchor: number; by: number } | undefined {
  const places = new Map(stored.map(({ id }, at) => [id, at]));
  for (let anchor = given.length - 1; anchor >= 0; anchor -= 1) {
    const place = places.get(given[anchor]?.id ?? "");
    if (place !== undefined) return { anchor, by: place - anchor };
  }
  // No id matches: use the longest overlap in which all messages are equal.
  for (let by = -(given.length - 1); by < stored.length; by += 1) {
    const anchor = Math.max(0, -by);
    const overlap = given.slice(anchor, Math.max(0, stored.length - by));
    if (overlap.length > 0 && overlap.every((message, n) => same(stored[anchor + by + n] as UIMessage, message))) return { anchor, by };
  }
  return undefined;
}

/** Whether a given message is a stored one with another id. One of the two ids must be a made or missing one. */
function same(stored: UIMessage, given: UIMessage): boolean {
  if (given.id !== "" && !isMade(stored.id)) return false;
  if (stored.role !== given.role) return false;
  if (isDeepStrictEqual({ ...stored, id: "" }, { ...given, id: "" })) return true;
  // An answer that continued after a tool result arrived has more parts, but the same calls.
  const calls = new Set(callIds(stored));
  return callIds(given).some((id) => calls.has(id));
}

function callIds(message: UIMessage): string[] {
  return message.parts.flatMap((part) => ("toolCallId" in part && typeof part.toolCallId === "string" ? [part.toolCallId] : []));
}

function madeId(seed: string, message: UIMessage, taken: ReadonlySet<string>): string {
  for (let n = 0; ; n += 1) {
    const id = MADE + createHash("sha256").update(encode([n, seed, message])).digest("hex").slice(0, 24);
    if (!taken.has(id)) return id;
  }
}
