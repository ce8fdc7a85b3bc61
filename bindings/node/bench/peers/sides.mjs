// Who is compared: how each is started, what its table is, and how it says a message.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { needed } from "../../test/support.mjs";

const version = (folder, name) => JSON.parse(readFileSync(join(folder, "node_modules", name, "package.json"), "utf8")).version;
const pinned = (folder, name) => readFileSync(join(folder, "requirements.txt"), "utf8").match(new RegExp(`^${name}==(.*)$`, "m"))[1];

/** LangChain's stored form of a message of OpenAI's. */
function langchain({ role, content, name, tool_calls, tool_call_id }) {
  const type = { system: "system", user: "human", assistant: "ai", tool: "tool" }[role];
  const data = { content: content ?? "", ...(name && { name }), ...(tool_call_id && { tool_call_id }) };
  if (tool_calls) {
    data.tool_calls = tool_calls.map(({ id, function: { name, arguments: args } }) => ({ name, args: JSON.parse(args), id, type: "tool_call" }));
  }
  return { type, data };
}

/** Flowise's form: it knows who asked and who answered, and nothing else. */
const flowise = ({ role, content }) => ({ text: content, type: role === "user" ? "userMessage" : "apiMessage" });

const stored = ({ data }) => data.content;

/** All of them. `said` is a message as it is given, `text` what of one that came back was said. */
export function sides() {
  const [js, node, python] = ["JS", "FLOWISE", "PYTHON"].map((name) => needed(`CHAT_MEMORY_PEER_${name}`));
  const ours = { start: () => ({ command: [process.execPath, join(import.meta.dirname, "ours.mjs")] }), said: (message) => message, text: ({ content }) => content };
  return [
    {
      id: "js",
      name: "LangChain.js",
      version: `LangChain.js's \`@langchain/community\` ${version(js, "@langchain/community")}`,
      keys: ["id"],
      start: () => ({ command: [process.execPath, "driver.mjs"], cwd: js }),
      said: langchain,
      text: stored,
    },
    {
      id: "flowise",
      name: "Flowise",
      version: `Flowise's *DynamoDB Chat Memory* ${version(node, "flowise-components")}`,
      keys: ["id"],
      start: () => ({ command: [process.execPath, "driver.cjs"], cwd: node }),
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
      said: langchain,
      text: stored,
    },
    { ...ours, id: "turns", name: "ours, `turns`", keys: ["session_id", "sk"], options: {} },
    { ...ours, id: "list64", name: "ours, `list`, 64KB", keys: ["id"], options: { roll: "64KB" } },
    { ...ours, id: "list8", name: "ours, `list`, 8KB", keys: ["id"], options: { roll: "8KB" } },
  ];
}

/** A process of one of them on one table. Each call waits for its answer; an error of the other side is thrown. */
export class Driver {
  #child;
  #lines;
  #side;
  #table;

  constructor(side, table, endpoint, how = {}) {
    const { command: [program, ...args], cwd, env } = side.start(how);
    [this.#side, this.#table] = [side, table];
    // Nothing in the environment may lead it to a real account. Flowise's node takes no endpoint; the AWS SDK does.
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
      // Some packages greet on their output.
      if (!value.startsWith("{")) continue;
      const { error, messages } = JSON.parse(value);
      if (error !== undefined) throw new Refused(error);
      return messages;
    }
  }

  /** Adds messages of OpenAI's form, in one call. */
  add(session, messages) {
    return this.#ask({ op: "add", session, options: this.#options(), messages: messages.map(this.#side.said) });
  }

  /** What a session holds, in the side's own form. */
  all(session) {
    return this.#ask({ op: "read", session, options: this.#options() });
  }

  /** Its newest messages, read as the side can: ours reads those; the others read all, and cut. */
  async last(session, count) {
    return (await this.#ask({ op: "read", session, options: this.#options({ last: count }) })).slice(-count);
  }

  /** Ours alone knows options; the others' classes are as they come. */
  #options(more) {
    return this.#side.options ? { ...this.#side.options, ...more } : {};
  }

  stop() {
    this.#child.kill();
  }
}

/** What a side's class threw. */
export class Refused extends Error {}
