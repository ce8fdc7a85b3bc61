// Real conversations, one turn per call: what they cost, and which are read back equal.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { meter } from "../meter.mjs";
import { root } from "../../test/support.mjs";
import { Driver, Refused, tableFor } from "./sides.mjs";

/** The conversations, and where they are from. Found like in the Rust tests. */
export function conversations() {
  const checkout = join(root, "..", "..");
  const shared = join(process.env.CHAT_MEMORY_SHARED || join(checkout, "..", "shared"), "data", "conversations.jsonl");
  const real = Boolean(process.env.CHAT_MEMORY_SHARED) || existsSync(shared);
  const text = readFileSync(real ? shared : join(checkout, "testdata", "conversations.jsonl"), "utf8");
  return { real, list: text.trim().split("\n").map((line) => JSON.parse(line)) };
}

/** Its turns: a user message and everything after it; what comes before the first belongs to it. */
function turns(messages) {
  const all = [];
  let asked = false;
  for (const message of messages) {
    if (all.length === 0 || (message.role === "user" && asked)) all.push([]);
    asked ||= message.role === "user";
    all.at(-1).push(message);
  }
  return all;
}

/** The part of a turn that a side gets: Flowise's node takes one question and one answer, as its chains pass them. */
function given(side, turn) {
  if (side.id !== "flowise") return turn;
  const ask = turn.find(({ role }) => role === "user");
  const reply = turn.findLast(({ role, content }) => role === "assistant" && content);
  return [ask, reply].filter(Boolean);
}

/** A value without what JSON cannot express, and with Python's decimals as numbers if allowed. */
const values = (value, decimals) =>
  JSON.parse(JSON.stringify(value), (_, part) => (decimals && typeof part?.decimal === "string" ? Number(part.decimal) : part));

/** What is compared of a message in LangChain's format: who, what, which calls, which call's result. */
const core = ({ type, data: { content, name, tool_calls, tool_call_id } }) => ({ type, content, name: name ?? undefined, calls: tool_calls ?? [], tool_call_id });

/** Whether the messages read equal those written, one by one; `decimals` accepts Python's decimals as numbers. */
function equal(side, messages, read, decimals) {
  if (side.options) return isDeepStrictEqual(read, messages);
  if (side.turn) return isDeepStrictEqual(values(read, false), values(turns(messages).flatMap(side.turn), false));
  // Flowise's node cannot store a system message, which its chains pass separately; that does not count against it.
  const wanted = side.id === "flowise" ? messages.filter(({ role }) => role !== "system") : messages;
  if (side.id === "flowise") {
    const said = ({ role, content, tool_calls }) => (tool_calls || role === "tool" ? null : [role, content]);
    const heard = ({ type, data }) => [type === "human" ? "user" : "assistant", data.content];
    return isDeepStrictEqual(read.map(heard), wanted.map(said));
  }
  return isDeepStrictEqual(values(read.map(core), decimals), values(wanted.map(side.said).map(core), false));
}

/** What all of them cost one side, and whether each was read back equal. */
export async function conversationsOf(side, list) {
  const meters = await meter(process.env.DYNAMODB_ENDPOINT);
  const driver = new Driver(side, await tableFor(side), meters.endpoint, { decimals: true });
  const outcome = { of: list.length, equal: 0, byValue: 0, writeFailed: 0, readFailed: 0, differs: 0, writeUnits: 0, readUnits: 0 };
  const errors = new Set();
  try {
    // What a process requests only once does not count.
    await driver.add("warm", [{ role: "user", content: "Hello" }]);
    for (const { id, messages } of list) {
      meters.take();
      let failed = false;
      for (const turn of turns(messages)) {
        await driver.add(id, given(side, turn)).catch((error) => {
          if (!(error instanceof Refused)) throw error;
          errors.add(error.message.slice(0, 200));
          failed = true;
        });
      }
      const { writeUnits, readUnits } = meters.take();
      outcome.writeUnits += writeUnits;
      outcome.readUnits += readUnits;
      let read;
      try {
        read = await driver.all(id);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        errors.add(error.message.slice(0, 200));
      }
      if (failed) outcome.writeFailed += 1;
      else if (!read) outcome.readFailed += 1;
      else if (equal(side, messages, read, false)) outcome.equal += 1;
      else if (equal(side, messages, read, true)) outcome.byValue += 1;
      else outcome.differs += 1;
    }
  } finally {
    driver.stop();
    meters.close();
  }
  return { ...outcome, errors: [...errors] };
}
