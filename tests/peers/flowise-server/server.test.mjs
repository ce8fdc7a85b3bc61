// Flowise's real server with our node in it: conversations over its API, across a restart and a clear. `cargo xtask flowise` installs
// Flowise and runs this.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ChatStore } from "../../../bindings/node/dist/esm/index.js";
import { credentials, endpoint, needed, region, root, run, table } from "../../../bindings/node/test/support.mjs";
import { fakeModel } from "./model.mjs";

const installed = join(needed("CHAT_MEMORY_FLOWISE"), "node_modules");
const work = mkdtempSync(join(tmpdir(), "flowise-server-"));
const modules = join(work, "node_modules");

// The installer changes Flowise, so this run uses a copy of the changed files, over the installed packages.
mkdirSync(modules);
for (const name of readdirSync(installed)) {
  if (name === "flowise" || name === "flowise-components") cpSync(join(installed, name), join(modules, name), { recursive: true });
  else symlinkSync(join(installed, name), join(modules, name));
}

/** Runs `chat-memory-flowise`. */
async function installer(...args) {
  const { code, out, err } = await run([join(root, "dist/esm/flowise/install.js"), ...args, "--flowise", work]);
  assert.equal(code, 0, err);
  return out;
}

async function freePort() {
  const probe = createServer();
  await new Promise((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** A Flowise server; its database stays in the work folder, so that the next one continues with it. */
class Flowise {
  static async start(env = {}) {
    const flowise = new Flowise();
    flowise.port = await freePort();
    flowise.said = "";
    flowise.cookies = new Map();
    const inherited = Object.fromEntries(["PATH", "LANG"].flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));
    flowise.child = spawn(process.execPath, ["--require", join(import.meta.dirname, "network.cjs"), "bin/run", "start"], {
      cwd: join(modules, "flowise"),
      env: {
        ...inherited,
        HOME: work,
        HOST: "127.0.0.1",
        PORT: String(flowise.port),
        APP_URL: `http://127.0.0.1:${flowise.port}`,
        DATABASE_PATH: join(work, "database"),
        LOG_PATH: join(work, "logs"),
        DISABLE_FLOWISE_TELEMETRY: "true",
        SECURE_COOKIES: "false",
        FLOWISE_MODULES: modules,
        OUTSIDE: join(work, "outside"),
        AWS_EC2_METADATA_DISABLED: "true",
        ...env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [flowise.child.stdout, flowise.child.stderr]) stream.on("data", (data) => (flowise.said += data));
    await new Promise((resolve, reject) => {
      flowise.child.on("error", reject);
      flowise.child.on("exit", (code) => reject(new Error(`Flowise ended with ${code}:\n${flowise.said}`)));
      flowise.child.stdout.on("data", () => flowise.said.includes("is listening at") && resolve());
    });
    return flowise;
  }

  async stop() {
    const ended = new Promise((resolve) => this.child.removeAllListeners("exit").on("exit", resolve));
    this.child.kill("SIGTERM");
    await ended;
  }

  async request(method, path, body) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await fetch(`http://127.0.0.1:${this.port}/api/v1${path}`, {
      method,
      headers: { "content-type": "application/json", "x-request-from": "internal", ...(cookie && { cookie }) },
      body: body && JSON.stringify(body),
    });
    for (const set of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(set);
      this.cookies.set(name, value);
    }
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}\n${this.said.slice(-4000)}`);
    return answer.headers.get("content-type")?.includes("json") ? JSON.parse(text) : text;
  }

  login() {
    return this.request("POST", "/auth/login", account);
  }

  /** A flow of Flowise's own Conversation Chain, its OpenAI chat model and this memory node. */
  async flow(memory, inputs, streaming) {
    const nodes = [];
    const add = async (name, given) => {
      const node = await this.request("GET", `/nodes/${name}`);
      const id = `${name}_0`;
      const { credential, ...own } = given;
      const defaults = Object.fromEntries((node.inputs ?? []).map(({ name, default: value }) => [name, value ?? ""]));
      const output = `${id}-output-${name}-${node.baseClasses.join("|")}`;
      const data = { ...node, id, inputs: { ...defaults, ...own }, credential, inputAnchors: [], inputParams: [], outputAnchors: [], outputs: {} };
      nodes.push({ id, type: "customNode", position: { x: 0, y: 0 }, data });
      return { id, output };
    };
    const model = await add("chatOpenAI", { modelName: "gpt-4o-mini", basepath: chatModel.url, streaming, credential: openAI });
    const kept = await add(memory, { ...inputs, credential: aws });
    const chain = await add("conversationChain", { model: `{{${model.id}.data.instance}}`, memory: `{{${kept.id}.data.instance}}` });
    const edge = (from, to, input) => ({ source: from.id, sourceHandle: from.output, target: to.id, targetHandle: `${to.id}-input-${input}`, type: "buttonedge", id: `${from.id}-${to.id}` });
    const flowData = JSON.stringify({ nodes, edges: [edge(model, chain, "model-BaseChatModel"), edge(kept, chain, "memory-BaseMemory")] });
    const { id } = await this.request("POST", "/chatflows", { name: memory, flowData, type: "CHATFLOW", deployed: true, isPublic: true });
    return id;
  }

  /** Asks a flow; returns what the model was shown and what the user sees. */
  async ask(flow, question, session, more = {}) {
    const before = chatModel.asked.length;
    const body = { question, chatId: session, overrideConfig: { sessionId: session }, ...more };
    const answer = await this.request("POST", `/prediction/${flow}`, body);
    assert.equal(chatModel.asked.length, before + 1, "the model was asked once");
    return { shown: chatModel.asked.at(-1), text: typeof answer === "string" ? streamed(answer) : answer.text };
  }
}

/** The text of an answer that arrived as a stream of events. */
function streamed(events) {
  const datas = [...events.matchAll(/^data:(.*)$/gm)].map(([, data]) => data).filter((data) => data.startsWith("{")).map((data) => JSON.parse(data));
  return datas.filter(({ event }) => event === "token").map(({ data }) => data).join("");
}

const account = { email: "ada@example.com", password: "Analytical-1843" };
let [flowise, chatModel, openAI, aws] = [];

before(async () => {
  chatModel = await fakeModel();
  assert.match(await installer("install"), /Installed the node/);
  assert.match(await installer("install", "--alongside"), /Installed the node/);
  flowise = await Flowise.start();
  await flowise.request("POST", "/account/register", { user: { name: "Ada", email: account.email, credential: account.password } });
  await flowise.login();
  const credential = async (credentialName, plainDataObj) => (await flowise.request("POST", "/credentials", { name: credentialName, credentialName, plainDataObj })).id;
  openAI = await credential("openAIApi", { openAIApiKey: "none" });
  aws = await credential("dynamodbMemoryApi", { accessKey: credentials.accessKeyId, secretAccessKey: credentials.secretAccessKey });
});

async function restart(env) {
  await flowise.stop();
  flowise = await Flowise.start(env);
  await flowise.login();
}

after(async () => {
  await flowise?.stop();
  chatModel?.close();
});

const contents = (loaded) => loaded.messages.map(({ content }) => content);

for (const [keys, node, streaming] of [
  [["id"], "DynamoDBChatMemory", false],
  [["session_id", "sk"], "DynamoDBChatMemory", true],
  [["id"], "DurableDynamoDBChatMemory", true],
]) {
  test(`${node}, keys ${keys.join(" and ")}, ${streaming ? "streaming" : "whole answers"}: a conversation, across a restart and a clear`, async () => {
    const tableName = await table(...keys);
    const store = new ChatStore({ tableName, region, endpoint }, { credentials });
    const flow = await flowise.flow(node, { tableName, partitionKey: keys[0], region, endpoint }, streaming);
    const more = { streaming };
    const ask = (question, session) => flowise.ask(flow, question, session, more);

    assert.deepEqual(await ask("I am Ada.", "one"), { shown: ["I am Ada."], text: "I heard: I am Ada." });
    assert.deepEqual(await ask("I am Bob.", "two"), { shown: ["I am Bob."], text: "I heard: I am Bob." });
    assert.deepEqual((await ask("Who am I?", "one")).shown, ["I am Ada.", "I heard: I am Ada.", "Who am I?"]);

    await restart();
    const one = ["I am Ada.", "I heard: I am Ada.", "Who am I?", "I heard: Who am I?"];
    assert.deepEqual((await ask("And now?", "one")).shown, [...one, "And now?"]);
    const all = [...one, "And now?", "I heard: And now?"];
    assert.deepEqual(contents(await store.load("one")), all);
    if (keys.length === 2) assert.equal((await store.records("one")).records.length, 3, "a question and its answer are one record");

    // As the chat window's button clears a session.
    await flowise.request("DELETE", `/chatmessage/${flow}?chatId=one&sessionId=one`);
    assert.deepEqual(contents(await store.load("one")), []);
    assert.deepEqual(contents(await store.load("two")), ["I am Bob.", "I heard: I am Bob."], "the other session stays");
    assert.deepEqual((await ask("Again?", "one")).shown, ["Again?"]);
    assert.deepEqual(contents(await store.load("one")), ["Again?", "I heard: Again?"]);
  });
}

test("a table that is not there, and a field that cannot work: the user reads what to do, in the words of the node's fields", async () => {
  const refused = async (inputs) => {
    const flow = await flowise.flow("DynamoDBChatMemory", { tableName: "no-such-table", partitionKey: "id", region, endpoint, ...inputs }, false);
    const failed = await flowise.ask(flow, "Hello", "s").catch((error) => error);
    assert.doesNotMatch(failed.message, /store URL|dynamodb:\/\//);
    return failed.message;
  };
  assert.match(await refused({}), /no-such-table/);
  assert.match(await refused({ region: "EU WEST" }), /Region: /);
  assert.match(await refused({ retention: "forever" }), /Retention: /);
});

test("both nodes can be told apart from Flowise's own, which comes back and continues with the same table", async () => {
  const tableName = await table("id");
  const flow = await flowise.flow("DynamoDBChatMemory", { tableName, partitionKey: "id", region, endpoint }, false);
  await flowise.ask(flow, "I am Ada.", "one");
  const looks = async (name) => {
    const { label, description } = await flowise.request("GET", `/nodes/${name}`);
    return { label, description, icon: await flowise.request("GET", `/node-icon/${name}`) };
  };
  const [ours, alongside] = [await looks("DynamoDBChatMemory"), await looks("DurableDynamoDBChatMemory")];
  assert.match(await installer("uninstall"), /own node is back/);
  assert.match(await installer("uninstall", "--alongside"), /Removed/);
  // Flowise's own node has no field for the endpoint.
  await restart({ AWS_ENDPOINT_URL_DYNAMODB: endpoint });
  const theirs = await looks("DynamoDBChatMemory");
  for (const field of ["description", "icon"]) assert.notEqual(ours[field], theirs[field], field);
  for (const field of ["label", "description", "icon"]) assert.notEqual(alongside[field], theirs[field], field);
  assert.deepEqual((await flowise.ask(flow, "Who am I?", "one")).shown, ["I am Ada.", "I heard: I am Ada.", "Who am I?"]);
  const store = new ChatStore({ tableName, region, endpoint }, { credentials });
  assert.deepEqual(contents(await store.load("one")), ["I am Ada.", "I heard: I am Ada.", "Who am I?", "I heard: Who am I?"]);
});

test("nothing but the tokenizer's ranks was asked for outside of this machine", () => {
  const outside = join(work, "outside");
  assert.equal(existsSync(outside) ? readFileSync(outside, "utf8") : "", "");
});
