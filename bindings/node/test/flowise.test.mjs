// Flowise 3: its own node loader finds the node, and its own Conversation Chain holds a conversation through it.
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ChatStore, dynamoDBUrl } from "chat-memory";
import { endpoint, needed, region, root, run, table } from "./support.mjs";

process.env.AWS_ACCESS_KEY_ID ??= "test";
process.env.AWS_SECRET_ACCESS_KEY ??= "test";
// Flowise's own nodes have no setting for an endpoint.
process.env.AWS_ENDPOINT_URL_DYNAMODB = endpoint;

const installed = needed("CHAT_MEMORY_PEER_FLOWISE");

/** A Flowise of its own for each test, since the installer changes it: a copy of its files over the packages that they require. */
function flowise() {
  const folder = mkdtempSync(join(tmpdir(), "flowise-"));
  const modules = join(folder, "node_modules");
  mkdirSync(modules);
  for (const name of readdirSync(join(installed, "node_modules"))) {
    const from = join(installed, "node_modules", name);
    if (name === "flowise" || name === "flowise-components") cpSync(from, join(modules, name), { recursive: true });
    else symlinkSync(from, join(modules, name));
  }
  // What the loader requires of the rest of Flowise's server.
  const server = join(modules, "flowise", "dist");
  mkdirSync(join(server, "utils"));
  writeFileSync(join(server, "utils", "index.js"), "exports.getNodeModulesPackagePath = () => { throw new Error('not asked for') };");
  writeFileSync(join(server, "utils", "logger.js"), "exports.default = { error: (...said) => { throw new Error(said.join(' ')) } };");
  writeFileSync(join(server, "AppConfig.js"), "exports.appConfig = { showCommunityNodes: false };");
  const components = join(modules, "flowise-components");
  return { folder, components, require: createRequire(join(components, "dist", "index.js")), server };
}

const install = (place, ...args) => run([join(root, "dist/esm/flowise/install.js"), ...args, "--flowise", place.folder]);

/** The memory nodes, as Flowise's server finds them when it starts. */
async function loaded({ server, components }) {
  const { NodesPool } = createRequire(join(server, "index.js"))("./NodesPool.js");
  const folder = join(components, "dist", "nodes", "memory");
  const nodes = {};
  for (const name of readdirSync(folder).filter((name) => name.includes("DynamoDb"))) {
    Object.assign(nodes, await new NodesPool().loadNodesFromDir(join(folder, name)));
  }
  return nodes;
}

/** A memory, as a flow with these inputs initialises it. */
async function memory(place, name, inputs, { credential = "", options = {} } = {}) {
  const { filePath } = (await loaded(place))[name];
  const { nodeClass } = place.require(filePath);
  return new nodeClass().init({ inputs: { partitionKey: "id", region, sessionId: "", memoryKey: "chat_history", ...inputs }, credential }, "", options);
}

const turn = (n) => [{ text: `${n}?`, type: "userMessage" }, { text: `${n}!`, type: "apiMessage" }];

test("in place of the original: found by Flowise's loader, with its name, label, inputs and credential, and an icon and a text of its own", async () => {
  const place = flowise();
  const before = (await loaded(place)).DynamoDBChatMemory;
  const { code, out, err } = await install(place, "install");
  assert.equal(code, 0, err);
  assert.match(out, /Installed the node "DynamoDB Chat Memory".*Restart Flowise/);
  assert.match((await install(place, "status")).out, /of chat-memory\n.*not installed/);
  const again = flowiseOf(place);
  const nodes = await loaded(again);
  assert.deepEqual(Object.keys(nodes), ["DynamoDBChatMemory"]);
  const after = nodes.DynamoDBChatMemory;
  for (const field of ["label", "name", "type", "category", "baseClasses", "credential"]) assert.deepEqual(after[field], before[field], field);
  for (const field of ["icon", "description"]) assert.notEqual(after[field], before[field], field);
  assert.notEqual(readFileSync(after.icon, "utf8"), readFileSync(before.icon, "utf8"));
  assert.match(after.description, /chat-memory/);
  // A saved flow has the inputs of the original; all new ones may be missing.
  const old = before.inputs.map(({ name }) => name);
  assert.deepEqual(after.inputs.slice(0, old.length).map(({ name, type, default: value }) => [name, type, value]), before.inputs.map(({ name, type, default: value }) => [name, type, value]));
  assert.ok(after.inputs.slice(old.length).every(({ optional, additionalParams }) => optional && additionalParams));
  assert.deepEqual(after.inputs.slice(old.length).map(({ name }) => name), ["windowBy", "windowSize", "retention", "endpoint"]);

  assert.equal((await install(place, "install")).code, 0, "twice is as good as once");
  assert.match((await install(place, "uninstall")).out, /own node is back/);
  assert.equal((await loaded(flowiseOf(place))).DynamoDBChatMemory.version, before.version);
  assert.ok(!existsSync(after.icon), "nothing of ours stays");
  assert.match((await install(place, "uninstall")).out, /nothing to do/);
});

test("status says that a node does not load, and why, when the package was moved", async () => {
  const place = flowise();
  await install(place, "install");
  await install(place, "install", "--alongside");
  const healthy = await install(place, "status");
  assert.deepEqual([healthy.code, healthy.out], [0, "DynamoDB Chat Memory: of chat-memory\nDurable DynamoDB Chat Memory, next to it: installed\n"]);
  const memory = join(place.components, "dist", "nodes", "memory");
  for (const file of [join(memory, "DynamoDb", "DynamoDb.js"), join(memory, "DurableDynamoDb", "DurableDynamoDb.js")]) {
    writeFileSync(file, readFileSync(file, "utf8").replace(join(root, "dist"), "/moved/away"));
  }
  const moved = await install(place, "status");
  assert.equal(moved.code, 1);
  const says = /: of chat-memory, but it does not load: the package is no longer at \/moved\/away\S+; run `chat-memory-flowise install` again/;
  assert.match(moved.out, says);
  assert.match(moved.out, /next to it: installed, but it does not load: .*run `chat-memory-flowise install --alongside` again/);
  // Installing again repairs it.
  assert.equal((await install(place, "install")).code, 0);
  assert.equal((await install(place, "install", "--alongside")).code, 0);
  assert.equal((await install(place, "status")).code, 0);
  // A deleted original cannot be restored.
  rmSync(join(memory, "DynamoDb", "DynamoDb.js.original"));
  assert.match((await install(place, "uninstall")).err, /cannot restore Flowise's own node: .*is missing; reinstall Flowise/);
});

/** The same folder, seen by a restarted server. */
function flowiseOf(place) {
  for (const file of Object.keys(place.require.cache)) if (file.includes("DynamoDb")) delete place.require.cache[file];
  return place;
}

test("beside the original: a node of its own", async () => {
  const place = flowise();
  assert.match((await install(place, "install", "--alongside")).out, /Installed the node "Durable DynamoDB Chat Memory"/);
  const nodes = await loaded(place);
  assert.deepEqual(Object.keys(nodes).sort(), ["DurableDynamoDBChatMemory", "DynamoDBChatMemory"]);
  assert.equal(nodes.DynamoDBChatMemory.version, 1);
  const [theirs, ours] = ["DynamoDBChatMemory", "DurableDynamoDBChatMemory"].map((name) => nodes[name]);
  for (const field of ["label", "description"]) assert.notEqual(ours[field], theirs[field], field);
  assert.notEqual(readFileSync(ours.icon, "utf8"), readFileSync(theirs.icon, "utf8"));
  assert.equal((await install(place, "uninstall", "--alongside")).code, 0);
  assert.deepEqual(Object.keys(await loaded(flowiseOf(place))), ["DynamoDBChatMemory"]);
});

test("the installer says what is wrong", async () => {
  const nowhere = { folder: mkdtempSync(join(tmpdir(), "nothing-")) };
  const { code, err } = await install(nowhere, "install");
  assert.deepEqual([code, /no Flowise was found in .*--flowise/.test(err)], [1, true], err);
  assert.match((await install(nowhere, "instal")).err, /unknown command instal/);
  assert.equal((await run([join(root, "dist/esm/flowise/install.js")])).code, 2);
  const place = flowise();
  const utils = join(place.components, "dist", "src", "utils.js");
  writeFileSync(utils, "throw new Error('another Flowise')");
  const broken = await install(place, "install");
  assert.deepEqual([broken.code, /does not load in this Flowise \(another Flowise\), so it was removed again/.test(broken.err)], [1, true], broken.err);
  assert.match((await install(place, "status")).out, /Flowise's own/);
});

test("sessions: a turn is one write, an override goes elsewhere, a clear takes only its own", async () => {
  const place = flowise();
  await install(place, "install");
  for (const keys of [["id"], ["session_id", "sk"]]) {
    const tableName = await table(...keys);
    const inputs = { tableName, partitionKey: keys[0], endpoint };
    const store = new ChatStore(dynamoDBUrl({ tableName, region, endpoint }));
    const one = await memory(place, "DynamoDBChatMemory", { ...inputs, sessionId: "one" });
    assert.equal(one.memoryKey, "chat_history");
    const start = await store.append("one", [{ role: "user", content: "before" }]);
    await one.addChatMessages(turn(1));
    if (keys.length === 2) assert.equal((await store.records("one")).records.at(-1).seq, start.seq + 1, "question and answer are one record");
    await one.addChatMessages(turn(2), "two");
    const shown = (found) => found.map(({ type, message }) => `${type}: ${message}`);
    assert.deepEqual(shown(await one.getChatMessages()), ["userMessage: before", "userMessage: 1?", "apiMessage: 1!"]);
    assert.deepEqual(shown(await one.getChatMessages("two")), ["userMessage: 2?", "apiMessage: 2!"]);
    const prepended = await one.getChatMessages("two", true, [{ role: "userMessage", content: "earlier" }, { type: "apiMessage", content: "yes" }]);
    assert.deepEqual(prepended.map((message) => [message.getType(), message.content]), [["human", "earlier"], ["ai", "yes"], ["human", "2?"], ["ai", "2!"]]);
    await one.clearChatMessages("two");
    assert.deepEqual(await one.getChatMessages("two"), []);
    assert.equal((await one.getChatMessages()).length, 3, "the node's own session stays");
    await one.clearChatMessages();
    assert.deepEqual(await one.getChatMessages(), []);

    const [first, second] = [await memory(place, "DynamoDBChatMemory", inputs), await memory(place, "DynamoDBChatMemory", inputs)];
    assert.match(first.sessionId, /^[0-9a-f-]{36}$/);
    assert.notEqual(first.sessionId, second.sessionId);
    // As LangChain's BufferMemory, for nodes that use it that way.
    await first.saveContext({ input: "q" }, { output: "a" });
    assert.deepEqual(await first.loadMemoryVariables({}), { chat_history: "Human: q\nAI: a" });
    await first.clear();
    assert.deepEqual(await first.getChatMessages(), []);
  }
});

test("window, and inputs that are wrong", async () => {
  const place = flowise();
  await install(place, "install");
  const inputs = { tableName: await table("session_id", "sk"), partitionKey: "session_id", endpoint, sessionId: "s" };
  const all = await memory(place, "DynamoDBChatMemory", inputs);
  for (let n = 0; n < 5; n += 1) await all.addChatMessages(turn(n));
  const window = await memory(place, "DynamoDBChatMemory", { ...inputs, windowBy: "turns", windowSize: "2", retention: "30d" });
  assert.deepEqual((await window.getChatMessages("", true)).map(({ content }) => content), ["3?", "3!", "4?", "4!"]);
  const bad = (more, says) =>
    assert.rejects(memory(place, "DynamoDBChatMemory", { ...inputs, ...more }), (error) => says.test(error.message) && !/store URL|dynamodb:\/\//.test(error.message));
  await bad({ tableName: "" }, /Table Name is empty/);
  await bad({ windowBy: "turns" }, /Window Size must say how many turns/);
  await bad({ retention: "forever" }, /^invalid Retention "forever": expected a whole number/);
  await bad({ retention: "5m" }, /expected an hour to a hundred years/);
  await bad({ endpoint: "localhost" }, /^invalid Endpoint: expected a URL/);
  await bad({ region: "EU WEST" }, /^invalid Region "EU WEST": expected a name/);
  await bad({ tableName: "a table" }, /^invalid Table Name "a table": expected/);
  await bad({ partitionKey: "x".repeat(300) }, /^invalid Partition Key /);
  // What shows only when the table is read.
  const elsewhere = { ...inputs, tableName: await table("pk", "range") };
  const misnamed = await memory(place, "DynamoDBChatMemory", elsewhere);
  await assert.rejects(misnamed.getChatMessages(), (error) => /has the key "pk", but "session_id" was given; give Partition Key "pk", or leave it out$/.test(error.message));
  const other = await memory(place, "DynamoDBChatMemory", { ...elsewhere, partitionKey: "pk" });
  await assert.rejects(other.getChatMessages(), (error) => /the table has the sort key "range" too; name the session PARTITION\/SORT .*\(this node has no field for the sort key's value/.test(error.message) && !/store URL/.test(error.message));
});

test("Connect Credential: Flowise's own decrypted, never shown", async () => {
  const place = flowise();
  await install(place, "install");
  process.env.FLOWISE_SECRETKEY_OVERWRITE = "key-of-the-test";
  const secrets = { accessKey: "AKIAEXAMPLE", secretAccessKey: "hunter2" };
  const encryptedData = place.require("crypto-js").AES.encrypt(JSON.stringify(secrets), "key-of-the-test").toString();
  const options = {
    databaseEntities: { Credential: "Credential" },
    appDataSource: { getRepository: () => ({ findOneBy: async ({ id }) => (id === "credential-1" ? { encryptedData } : null) }) },
  };
  const tableName = await table("id");
  const found = await memory(place, "DynamoDBChatMemory", { tableName, endpoint, sessionId: "s" }, { credential: "credential-1", options });
  await found.addChatMessages(turn(1));
  assert.equal((await found.getChatMessages()).length, 2);
  const { inspect } = await import("node:util");
  assert.doesNotMatch(inspect(found, { depth: 9, showHidden: true }), /hunter2|AKIAEXAMPLE/);
});

test("Flowise's own node reads what ours wrote, and ours reads its tables", async () => {
  const [ours, theirs] = [flowise(), flowise()];
  await install(ours, "install");
  const tableName = await table("id");
  const inputs = { tableName, sessionId: "s" };
  const ourMemory = await memory(ours, "DynamoDBChatMemory", { ...inputs, endpoint });
  const theirMemory = await memory(theirs, "DynamoDBChatMemory", inputs);
  await theirMemory.addChatMessages(turn(1));
  await ourMemory.addChatMessages(turn(2));
  await theirMemory.addChatMessages(turn(3));
  const expected = ["1?", "1!", "2?", "2!", "3?", "3!"];
  for (const found of [ourMemory, theirMemory]) assert.deepEqual((await found.getChatMessages("s")).map(({ message }) => message), expected);
});

test("Flowise's Conversation Chain holds a conversation, across a restart", async () => {
  const place = flowise();
  await install(place, "install");
  const tableName = await table("id");
  const program = join(place.components, "converse.cjs");
  writeFileSync(program, readFileSync(join(root, "test", "flowise-chain.cjs")));
  const say = async (input) => {
    const { code, out, err } = await run([program], { env: { TABLE: tableName, INPUT: input, ENDPOINT: endpoint } });
    assert.equal(code, 0, err);
    return JSON.parse(out.trim().split("\n").at(-1));
  };
  assert.deepEqual(await say("I am Ada."), { answer: "I heard: I am Ada.", prompt: ["I am Ada."] });
  assert.deepEqual(await say("Who am I?"), { answer: "I heard: Who am I?", prompt: ["I am Ada.", "I heard: I am Ada.", "Who am I?"] });
});
