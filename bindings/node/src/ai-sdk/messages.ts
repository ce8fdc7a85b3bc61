// Converts between the AI SDK's messages and ours. A message of the AI SDK is stored unchanged: its parts are the content, so that
// every reader sees its texts, and the field `ai_sdk` holds its other fields and marks the parts' format. Messages written in
// another format are converted to the AI SDK's.

import { createHash } from "node:crypto";
import type { UIMessage } from "ai";
import { invalid } from "../errors.js";
import { decode, encode } from "../json.js";
import type { HistoryRecord, Message, MessagePart } from "../store.js";

/** A message with the place where it starts: the record's number, and the message's place in the record. */
export interface Placed {
  message: UIMessage;
  seq: number;
  place: number;
}

type Part = UIMessage["parts"][number];

const ROLES: readonly string[] = ["system", "user", "assistant"];

/** The stored form of a message that has an id. */
export function toMessage({ id, role, parts, ...rest }: UIMessage): Message {
  return { role, id, content: parts as MessagePart[], ai_sdk: rest };
}

/**
 * The same values as a load would return them: without `undefined`, with dates as texts. A message without an id has the id "".
 *
 * @throws ChatMemoryError `invalid`, if it is not a list of AI SDK messages.
 */
export function normalized(messages: readonly UIMessage[]): UIMessage[] {
  if (!Array.isArray(messages)) throw invalid("messages must be a list of the AI SDK's UIMessages");
  messages.forEach(check);
  const values = decode(encode(messages)) as UIMessage[];
  const given = values.map((message) => ({ ...message, id: message.id ?? "" }));
  const seen = new Set<string>();
  for (const { id } of given) {
    if (seen.has(id)) throw invalid(`two of the messages have the same id ${JSON.stringify(id)}; give each its own`);
    if (id !== "") seen.add(id);
  }
  return given;
}

function check(message: UIMessage, place: number): void {
  const { id, role, parts } = Object(message) as UIMessage;
  const wrong =
    typeof (id ?? "") !== "string" ? "needs an id that is a text"
    : !ROLES.includes(role) ? `needs one of the roles ${ROLES.join(", ")}`
    : !Array.isArray(parts) ? "needs a list of parts"
    : undefined;
  if (wrong) throw invalid(`message ${place + 1} is not a UIMessage of the AI SDK: it ${wrong}`);
}

/** The messages of a history. The messages of an answer in another format (tool calls, their results) become one. */
export function placed(records: readonly HistoryRecord[]): Placed[] {
  const all: Placed[] = [];
  const ids = new Set<string>();
  let open: UIMessage | undefined;
  for (const { seq, messages } of records) {
    for (const [place, message] of messages.entries()) {
      const own = ownForm(message);
      const isAnswer = message.role === "assistant" || message.role === "tool" || message.role === "function";
      if (own) open = undefined;
      else if (isAnswer && open) {
        continueAnswer(open, message);
        continue;
      }
      const shown = own ?? begin(message, ids);
      if (!own && isAnswer) open = shown;
      else open = undefined;
      ids.add(shown.id);
      all.push({ message: shown, seq, place });
    }
  }
  return all;
}

/** The message as it was given, if it was given in this format. */
function ownForm({ role, id, content, ai_sdk }: Message): UIMessage | undefined {
  if (typeof ai_sdk !== "object" || ai_sdk === null || id === undefined || !Array.isArray(content)) return undefined;
  return { id, role: role as UIMessage["role"], ...ai_sdk, parts: content as unknown as Part[] };
}

function begin(message: Message, taken: ReadonlySet<string>): UIMessage {
  const role = message.role === "user" ? "user" : message.role === "system" || message.role === "developer" ? "system" : "assistant";
  const shown: UIMessage = { id: idOf(message, taken), role, parts: [] };
  if (role === "assistant") continueAnswer(shown, message);
  else shown.parts.push(...contentParts(message));
  return shown;
}

/** The message's own id; without one, an id derived from its content, so that the next load returns the same. */
function idOf(message: Message, taken: ReadonlySet<string>): string {
  if (message.id !== undefined && !taken.has(message.id)) return message.id;
  for (let n = 0; ; n += 1) {
    const id = `msg-${createHash("sha256").update(`${n}${encode(message)}`).digest("hex").slice(0, 20)}`;
    if (!taken.has(id)) return id;
  }
}

function continueAnswer(answer: UIMessage, message: Message): void {
  if (message.role === "tool" || message.role === "function") {
    addResult(answer, message);
    return;
  }
  answer.parts.push({ type: "step-start" }, ...contentParts(message));
  for (const call of message.tool_calls ?? []) {
    answer.parts.push({
      type: "dynamic-tool",
      toolName: call.function?.name ?? "",
      toolCallId: call.id,
      state: "input-available",
      input: argumentsOf(call.function?.arguments),
    });
  }
}

function addResult(answer: UIMessage, message: Message): void {
  const at = answer.parts.findIndex((part) => part.type === "dynamic-tool" && part.toolCallId === message.tool_call_id);
  const call = answer.parts[at];
  const asked = call?.type === "dynamic-tool" ? call : undefined;
  const result: Part = {
    type: "dynamic-tool",
    toolName: asked?.toolName ?? message.name ?? "",
    toolCallId: message.tool_call_id ?? "",
    state: "output-available",
    input: asked?.input ?? null,
    output: message.content ?? null,
  };
  if (at >= 0) answer.parts[at] = result;
  else answer.parts.push(result);
}

/** A model's arguments are JSON text, or should be. */
function argumentsOf(text: string | undefined): unknown {
  try {
    return JSON.parse(text || "{}");
  } catch {
    return text;
  }
}

function contentParts({ content }: Message): Part[] {
  if (typeof content === "string") return content === "" ? [] : [{ type: "text", text: content }];
  return (content ?? []).map((part): Part => {
    if (part.type === "text" && typeof part.text === "string") return { type: "text", text: part.text };
    const url = part.type === "image_url" ? (part.image_url as { url?: unknown } | undefined)?.url : undefined;
    if (typeof url === "string") {
      return { type: "file", mediaType: /^data:([^;,]+)/.exec(url)?.[1] ?? "image/*", url };
    }
    // What the AI SDK has no part for is passed on unchanged, as data.
    return { type: `data-${part.type}`, data: part };
  });
}
