// LangChain's stored messages, as its two languages write them. LangChain.js reads its own; those of Python's langchain-core differ
// in a few places, which are converted here.

import { invalid } from "../errors.js";
import { refuseOpaqueValues } from "../json.js";
import type { StoredMessage } from "../store.js";

/** Anything that can serialise itself as a stored message: every message class of LangChain.js. */
export interface Writes {
  toDict(): { type: string; data: object };
}

/**
 * The stored forms of messages.
 *
 * @throws ChatMemoryError `invalid`, if it is not a message of LangChain.js.
 */
export function toStored(messages: readonly Writes[]): StoredMessage[] {
  if (!Array.isArray(messages)) throw invalid("messages must be a list of LangChain messages");
  return messages.map((message, place) => {
    if (typeof message?.toDict !== "function") {
      throw invalid(`message ${place + 1} is not a LangChain message; make it one, such as new HumanMessage("Hello")`);
    }
    // LangChain.js copies a message's fields, and makes a Map or binary data an object of what it has.
    refuseOpaqueValues({ ...message });
    return message.toDict() as StoredMessage;
  });
}

/** Python's types that LangChain.js names differently. */
const TYPES: Record<string, string> = {
  chat: "generic",
  HumanMessageChunk: "human",
  AIMessageChunk: "ai",
  SystemMessageChunk: "system",
  ToolMessageChunk: "tool",
  FunctionMessageChunk: "function",
  ChatMessageChunk: "generic",
};

/** Makes a stored message one that LangChain.js's `mapStoredMessagesToChatMessages` accepts, and returns it. */
export function forJavaScript<Message extends StoredMessage>(message: Message): Message {
  message.type = TYPES[message.type] ?? message.type;
  const { data } = message;
  // langchain-core writes null where LangChain.js omits the field.
  if (Object.values(data).includes(null)) {
    message.data = Object.fromEntries(Object.entries(data).filter(([, value]) => value !== null)) as Message["data"];
  }
  message.data.content ??= "";
  return message;
}
