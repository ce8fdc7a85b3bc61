// The sides of the comparison: how each is started, what its table is, and how it writes a message.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { indexedTable, needed } from "../../test/support.mjs";

const version = (folder, name) => JSON.parse(readFileSync(join(folder, "node_modules", name, "package.json"), "utf8")).version;
const pinned = (folder, name) => readFileSync(join(folder, "requirements.txt"), "utf8").match(new RegExp(`^${name}==(.*)$`, "m"))[1];

/** LangChain's stored format of an OpenAI message. */
function langchain({ role, content, name, tool_calls, tool_call_id }) {
  const type = { system: "system", user: "human", assistant: "ai", tool: "tool" }[role];
  const data = { content: content ?? "", ...(name && { name }), ...(tool_call_id && { tool_call_id }) };
  if (tool_calls) {
    data.tool_calls = tool_calls.map(({ id, function: { name, arguments: args } }) => ({ name, args: JSON.parse(args), id, type: "tool_call" }));
  }
  return { type, data };
}

/** Flowise's format: it knows who asked and who answered, and nothing else. */
const flowise = ({ role, content }) => ({ text: content, type: role === "user" ? "userMessage" : "apiMessage" });

/** Mastra's format of a turn: an answer is one message, with its calls and their results among its parts. */
function mastra(turn) {
  const said = [];
  for (const { role, content, tool_calls = [], tool_call_id } of turn) {
    if (role === "tool") {
      const called = said.at(-1)?.parts.find(({ toolInvocation }) => toolInvocation?.toolCallId === tool_call_id);
      if (called) Object.assign(called.toolInvocation, { state: "result", result: content });
      continue;
    }
    // Instructions come from the agent at each run; Mastra does not store them.
    if (role === "system") continue;
    if (said.at(-1)?.role !== role) said.push({ role, parts: [] });
    if (content) said.at(-1).parts.push({ type: "text", text: content });
    for (const { id, function: { name, arguments: args } } of tool_calls) {
      said.at(-1).parts.push({ type: "tool-invocation", toolInvocation: { state: "call", toolCallId: id, toolName: name, args: JSON.parse(args) } });
    }
  }
  return said;
}

const stored = ({ data }) => data.content;

/**
 * All sides. `said` converts a message for writing (or `turn` a whole turn), `text` extracts the text of a message read, `keeps`
 * describes what a side stores. `windows`: reads request only the newest messages, instead of all. `readsFirst`: a turn reads the
 * conversation itself.
 */
export function sides() {
  const [js, node, python, mastraAt, langgraph] = ["JS", "FLOWISE", "PYTHON", "MASTRA", "LANGGRAPH"].map((name) => needed(`CHAT_MEMORY_PEER_${name}`));
  const ours = { start: () => ({ command: [process.execPath, join(import.meta.dirname, "ours.mjs")] }), said: (message) => message, text: ({ content }) => content, windows: true };
  return [
    {
      id: "js",
      name: "LangChain.js",
      version: `LangChain.js's \`@langchain/community\` ${version(js, "@langchain/community")}`,
      keys: ["id"],
      start: () => ({ command: [process.execPath, "driver.mjs"], cwd: js }),
      keeps: "all turns in one item, to which each write appends",
      said: langchain,
      text: stored,
    },
    {
      id: "flowise",
      name: "Flowise",
      version: `Flowise's *DynamoDB Chat Memory* ${version(node, "flowise-components")}`,
      keys: ["id"],
      start: () => ({ command: [process.execPath, "driver.cjs"], cwd: node }),
      keeps: "the same item, with a write for the question and one for the answer",
      said: flowise,
      text: stored,
    },
    {
      id: "python",
      name: "LangChain Python",
      version: `LangChain Python's \`langchain-community\` ${pinned(python, "langchain-community")}`,
      keys: ["SessionId"],
      start: ({ decimals }) => ({
        command: ["python3", decimals ? join(import.meta.dirname, "decimals.py") : "driver.py"],
        cwd: python,
        env: { PYTHONPATH: join(python, "packages") },
      }),
      keeps: "all turns in one item, which each write reads and rewrites",
      said: langchain,
      text: stored,
    },
    {
      id: "mastra",
      name: "Mastra",
      version: `\`@mastra/dynamodb\` ${version(mastraAt, "@mastra/dynamodb")} (with \`@mastra/core\` ${version(mastraAt, "@mastra/core")} on Node 24)`,
      keys: ["pk", "sk"],
      indexes: [["gsi1pk", "gsi1sk"], ["gsi2pk", "gsi2sk"]],
      start: () => ({ command: [needed("CHAT_MEMORY_NODE_24"), "driver.mjs"], cwd: mastraAt }),
      keeps: "an item per message, a second time in an index, which it reads by, and an item of the thread, which each write updates",
      turn: mastra,
      text: ({ parts }) => parts.map(({ text }) => text ?? "").join(""),
      windows: true,
    },
    {
      id: "langgraph",
      name: "LangGraph",
      version: `\`langgraph-checkpoint-aws\` ${pinned(langgraph, "langgraph-checkpoint-aws")}'s \`DynamoDBSaver\` (under \`langgraph\` ${pinned(langgraph, "langgraph")}, without S3)`,
      keys: ["PK", "SK"],
      start: () => ({ command: ["python3", "driver.py"], cwd: langgraph, env: { PYTHONPATH: join(langgraph, "packages") } }),
      keeps: "the whole conversation again at each of a run's three checkpoints, each a separate item in addition to its metadata, and what each step wrote",
      said: langchain,
      text: stored,
      readsFirst: true,
    },
    { ...ours, id: "turns", name: "ours, `turns`", keys: ["session_id", "sk"], options: {}, keeps: "an item per turn" },
    { ...ours, id: "list64", name: "ours, `list`, 64KB", keys: ["id"], options: { roll: "64KB" }, keeps: "an item per session as LangChain's classes do, older turns moved out of it at this size" },
    { ...ours, id: "list8", name: "ours, `list`, 8KB", keys: ["id"], options: { roll: "8KB" }, keeps: "the same" },
  ];
}

/** Creates a table for one of them. */
export const tableFor = ({ keys, indexes = [] }) => indexedTable(keys, indexes);

/** A process of one of them on one table. Each call waits for its answer; an error of the other side is thrown. */
export class Driver {
  #child;
  #lines;
  #side;
  #table;

  constructor(side, table, endpoint, how = {}) {
    const { command: [program, ...args], cwd, env } = side.start(how);
    [this.#side, this.#table] = [side, table];
    // Nothing in the environment may lead to a real account. Flowise's node has no option for the endpoint; the AWS SDK does.
    const { AWS_PROFILE, AWS_SESSION_TOKEN, AWS_ENDPOINT_URL, ...own } = process.env;
    const local = { DYNAMODB_ENDPOINT: endpoint, AWS_ENDPOINT_URL_DYNAMODB: endpoint, AWS_REGION: "us-east-1", AWS_DEFAULT_REGION: "us-east-1" };
    const keys = { AWS_ACCESS_KEY_ID: "local", AWS_SECRET_ACCESS_KEY: "local", NODE_NO_WARNINGS: "1" };
    this.#child = spawn(program, args, { cwd, env: { ...own, ...local, ...keys, ...env }, stdio: ["pipe", "pipe", "ignore"] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async #ask(command) {
    this.#child.stdin.write(`${JSON.stringify({ table: this.#table, ...command })}\n`);
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`the process of ${this.#side.name} ended without an answer`);
      // Some packages print a greeting.
      if (!value.startsWith("{")) continue;
      const { error, messages } = JSON.parse(value);
      if (error !== undefined) throw new Refused(error);
      return messages;
    }
  }

  /** Adds messages in OpenAI's format, in one call. */
  add(session, messages) {
    const { turn, said } = this.#side;
    return this.#ask({ op: "add", session, options: this.#options(), messages: turn ? turn(messages) : messages.map(said) });
  }

  /** A session's messages, in the side's own format. */
  all(session) {
    return this.#ask({ op: "read", session, options: this.#options() });
  }

  /** Its newest messages, read in the side's own way: LangChain's classes, Flowise's and LangGraph's read everything and cut. */
  async last(session, count) {
    return (await this.#ask({ op: "read", session, options: this.#options({ last: count }) })).slice(-count);
  }

  /** Only ours has settings; the others' classes are used as they are. */
  #options(more) {
    return { ...this.#side.options, ...(this.#side.windows && more) };
  }

  stop() {
    this.#child.kill();
  }
}

/** The error of a side's class. */
export class Refused extends Error {}
