// LangChain.js: every kind of message exactly, its own runnables and agents across processes, and its own class on the same table.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { inspect } from "node:util";
import { test } from "node:test";
import { DynamoDBChatMessageHistory } from "chat-memory/langchain";
import { DynamoDBChatMemory } from "chat-memory/langchain/memory";
import { ChatStore } from "chat-memory";
import {
  AIMessage, AIMessageChunk, ChatMessage, FunctionMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage,
} from "@langchain/core/messages";
import { config, credentials, endpoint, needed, peer, region, script, sqliteUrl, table, turnsUrl } from "./support.mjs";

process.env.AWS_ACCESS_KEY_ID ??= "test";
process.env.AWS_SECRET_ACCESS_KEY ??= "test";

/** A history in each layout and in a file. */
const places = {
  sqlite: async () => ({ store: sqliteUrl() }),
  "one item a record": async () => ({ store: await turnsUrl() }),
  "one item a session": async () => ({ tableName: await table("id"), config: config() }),
};

const everyKind = () => [
  new SystemMessage("Be brief."),
  new HumanMessage("Hello"),
  new HumanMessage({
    content: [{ type: "text", text: "What is it?" }, { type: "image_url", image_url: { url: "data:image/png;base64,AA==" } }],
    name: "bob", id: "h1", additional_kwargs: { score: 0.1, deep: { list: [1, null, "x"] } }, response_metadata: { seen: true },
  }),
  new AIMessage({
    content: "", id: "a1", name: "agent",
    tool_calls: [{ name: "weather", args: { city: "Paris", days: 3, exact: 1.5 }, id: "c1", type: "tool_call" }],
    usage_metadata: { input_tokens: 11, output_tokens: 7, total_tokens: 18, input_token_details: { cache_read: 2 } },
    response_metadata: { model: "gpt", finish_reason: "tool_calls", logprobs: null },
  }),
  new ToolMessage({ content: "21 °C", tool_call_id: "c1", name: "weather", artifact: { raw: [1, 2.5] }, status: "success", id: "t1" }),
  new AIMessage({ content: [{ type: "text", text: "It is 21 °C." }], usage_metadata: { input_tokens: 1, output_tokens: 2, total_tokens: 3 } }),
  new AIMessage({ content: "plain \u0000 🦀" }),
  new ChatMessage({ content: "I disagree.", role: "critic" }),
];

for (const [name, place] of Object.entries(places)) {
  test(`${name}: every kind of message comes back equal`, async () => {
    const options = { ...(await place()), sessionId: "s" };
    const history = new DynamoDBChatMessageHistory(options);
    await history.addMessages(everyKind());
    await history.addUserMessage("one more");
    await history.addAIMessage("and its answer");
    const expected = [...everyKind(), new HumanMessage("one more"), new AIMessage("and its answer")];
    assert.deepEqual(await new DynamoDBChatMessageHistory(options).getMessages(), expected);
    await history.clear();
    assert.deepEqual(await history.getMessages(), []);
    await history.addMessages([]);
    assert.deepEqual(await history.getMessages(), []);
  });
}

test("a call that could not be read, a function's result and a chunk", async () => {
  const history = new DynamoDBChatMessageHistory({ store: "memory:", sessionId: "s" });
  const odd = [
    new AIMessage({ content: "", invalid_tool_calls: [{ name: "f", args: "{", id: "c", error: "cut off", type: "invalid_tool_call" }] }),
    new ToolMessage({ content: "error", tool_call_id: "c", status: "error" }),
  ];
  await history.addMessages(odd);
  assert.deepEqual(await history.getMessages(), odd);
  await history.addMessage(new AIMessageChunk({ content: "streamed", usage_metadata: { input_tokens: 1, output_tokens: 2, total_tokens: 3 } }));
  const last = (await history.getMessages()).at(-1);
  assert.deepEqual([last.type, last.content, last.usage_metadata.total_tokens], ["ai", "streamed", 3]);
  const functions = new DynamoDBChatMessageHistory({ store: "memory:", sessionId: "s" });
  const result = [new AIMessage({ content: "", additional_kwargs: { function_call: { name: "f", arguments: "{}" } } }), new FunctionMessage({ content: "42", name: "f" })];
  await functions.addMessages(result);
  assert.deepEqual(await functions.getMessages(), result);
  await assert.rejects(history.addMessage(new RemoveMessage({ id: "x" })), { code: "invalid" });
  await assert.rejects(history.addMessage("Hello"), /not a LangChain message.*new HumanMessage/);
});

test("a turn is one write, and a key makes it safe to repeat", async () => {
  const history = new DynamoDBChatMessageHistory({ store: await turnsUrl(), sessionId: "s" });
  const turn = [new HumanMessage("q"), new AIMessage("a")];
  await history.addMessages(turn);
  const saved = await history.save(turn);
  assert.deepEqual([saved.cost.requests, saved.cost.writeUnits, saved.seq], [1, 1, 1]);
  const keyed = [new HumanMessage("once"), new AIMessage("only")];
  await history.addMessages(keyed, { key: "request-17" });
  assert.ok((await history.save(keyed, { key: "request-17" })).repeated);
  assert.equal((await history.getMessages()).length, 6);
  await assert.rejects(history.addMessages(turn, { keys: "x" }), /no option "keys"/);
});

test("a window by messages, turns or tokens", async () => {
  const store = new ChatStore(sqliteUrl());
  const open = (window) => new DynamoDBChatMessageHistory({ store, sessionId: "s", window });
  for (let n = 0; n < 10; n += 1) await open().addMessages([new HumanMessage(`${n}?`), new AIMessage(`${n}!`)]);
  const contents = async (window) => (await open(window).getMessages()).map(({ content }) => content);
  assert.deepEqual(await contents({ turns: 2 }), ["8?", "8!", "9?", "9!"]);
  assert.deepEqual(await contents({ messages: 1 }), ["9!"]);
  assert.ok((await contents({ tokens: 20 })).length < 6);
  assert.equal((await contents()).length, 20);
  assert.throws(() => open({ last: 3 }), /no option "last"/);
  await assert.rejects(open({ turns: 1, messages: 1 }).getMessages(), /give only one of/);
});

test("a store that CommonJS opened serves the classes of the ES modules", async () => {
  const { ChatStore: Other } = createRequire(import.meta.url)("chat-memory");
  const store = new Other("memory:");
  assert.ok(!(store instanceof ChatStore), "two classes");
  const history = new DynamoDBChatMessageHistory({ store, sessionId: "s" });
  await history.addMessage(new HumanMessage("Hello"));
  assert.equal((await store.load("s")).messages[0].content, "Hello");
});

test("what LangChain.js would turn into an empty object is refused", async () => {
  const history = new DynamoDBChatMessageHistory({ store: "memory:", sessionId: "s" });
  for (const [value, says] of [
    [new Map([[1, 2]]), /"b" is a Map/], [new Date(0), /"b" is a Date.*toISOString/], [new Uint8Array([1]), /"b" is binary data/], [[{ deep: Promise.resolve(1) }], /"deep" is a Promise/],
  ]) {
    await assert.rejects(history.addMessage(new HumanMessage({ content: "x", additional_kwargs: { b: value } })), says);
    await assert.rejects(history.addMessages([new ToolMessage({ content: "x", tool_call_id: "c", artifact: { b: value } })]), says);
  }
  assert.deepEqual(await history.getMessages(), []);
});

test("options: LangChain.js's own, and what is wrong", async () => {
  const tableName = await table("pk", "range");
  const both = { tableName, partitionKey: "pk", sortKey: "range", config: config() };
  const sorted = new DynamoDBChatMessageHistory({ ...both, sessionId: "s" });
  await sorted.addMessage(new HumanMessage("at the sort key's own name"));
  const keyed = new DynamoDBChatMessageHistory({ tableName, partitionKey: "pk", key: { pk: { S: "s" }, range: { S: "range" } }, config: config() });
  assert.equal((await keyed.getMessages()).length, 1);
  const turns = new DynamoDBChatMessageHistory({ ...both, layout: "turns", sessionId: "t" });
  await turns.addMessage(new HumanMessage("one item a record"));
  assert.equal((await turns.getMessages()).length, 1);
  assert.match(new DynamoDBChatMessageHistory(both).sessionId, /^[0-9a-f-]{36}$/);

  const bad = (options, says) => assert.throws(() => new DynamoDBChatMessageHistory(options), (error) => error.code === "invalid" && says.test(error.message));
  bad({ tableName, tablename: "x" }, /write tableName/);
  bad({ tableName, sessionID: "x" }, /write sessionId/);
  bad({}, /needs a tableName, or a store/);
  bad({ tableName, sessionId: 7 }, /sessionId must be a text/);
  bad({ tableName, config: { maxAttempts: 3 } }, /config has no option "maxAttempts"/);
  bad({ tableName, key: { pk: { N: "1" } } }, /attributes that are strings/);
  bad({ tableName, key: { a: { S: "1" }, b: { S: "2" } } }, /partitionKey must name/);
  bad({ store: "memory:", tableName }, /put tableName into that URL/);
  const shown = inspect(new DynamoDBChatMessageHistory({ ...both, config: { region, credentials: { accessKeyId: "AKIAEXAMPLE", secretAccessKey: "hunter2" } } }), { depth: 9, showHidden: true });
  assert.doesNotMatch(shown, /hunter2|AKIA/);
});

test("wrong credentials, a missing table and a dead endpoint are errors with a code", async () => {
  const history = (options) => new DynamoDBChatMessageHistory({ tableName: "none", sessionId: "s", config: config(), ...options });
  await assert.rejects(history({}).addMessage(new HumanMessage("x")), { code: "not_found" });
  // DynamoDB Local accepts any key made of letters and digits only.
  await assert.rejects(history({ config: { ...config(), credentials: { ...credentials, accessKeyId: "no-such-key" } } }).getMessages(), { code: "access_denied" });
  await assert.rejects(history({ config: { ...config(), endpoint: "http://127.0.0.1:9" }, deadline: "2s", requestTimeout: "1s" }).getMessages(), { code: "unavailable" });
});

test("a BufferMemory: chat_history, one write a turn, text or messages", async () => {
  const store = await turnsUrl();
  const memory = new DynamoDBChatMemory({ store, sessionId: "s" });
  await memory.saveContext({ input: "Where to?" }, { output: "To Lisbon." });
  assert.equal((await new ChatStore(store).records("s")).records.length, 1);
  assert.deepEqual(await memory.loadMemoryVariables({}), { chat_history: "Human: Where to?\nAI: To Lisbon." });
  const messages = new DynamoDBChatMemory({ store, sessionId: "s", memoryKey: "history", returnMessages: true, window: { messages: 1 } });
  assert.deepEqual(await messages.loadMemoryVariables({}), { history: [new AIMessage("To Lisbon.")] });
  await memory.clear();
  assert.deepEqual(await memory.loadMemoryVariables({}), { chat_history: "" });
  assert.throws(() => new DynamoDBChatMemory({ store, memorykey: "x" }), /write memoryKey/);
  const { ConversationChain } = await import("@langchain/classic/chains");
  const { FakeListChatModel } = await import("@langchain/core/utils/testing");
  const llm = new FakeListChatModel({ responses: ["To Lisbon."] });
  const chain = new ConversationChain({ llm, memory: new DynamoDBChatMemory({ store, sessionId: "chain", memoryKey: "history" }) });
  await chain.invoke({ input: "Where to?" });
  assert.equal((await new ChatStore(store).records("chain")).records.length, 1);
});

// Each runs twice, as two processes: the second shows what the first stored.
const runnable = (options) => `
  import { DynamoDBChatMessageHistory } from "chat-memory/langchain";
  import { RunnableWithMessageHistory } from "@langchain/core/runnables";
  import { ChatPromptTemplate, MessagesPlaceholder } from "@langchain/core/prompts";
  import { FakeListChatModel } from "@langchain/core/utils/testing";
  const seen = [];
  const prompt = ChatPromptTemplate.fromMessages([["system", "Be brief."], new MessagesPlaceholder("chat_history"), ["human", "{input}"]]);
  const model = new FakeListChatModel({ responses: ["answer to " + process.env.SAY] });
  const chain = new RunnableWithMessageHistory({
    runnable: prompt.pipe((value) => { seen.push(...value.toChatMessages().map(({ content }) => content)); return value; }).pipe(model),
    getMessageHistory: (sessionId) => new DynamoDBChatMessageHistory({ ...${JSON.stringify(options)}, sessionId }),
    inputMessagesKey: "input",
    historyMessagesKey: "chat_history",
  });
  await chain.invoke({ input: process.env.SAY }, { configurable: { sessionId: "s" } });
  console.log(JSON.stringify(seen));`;

// A model that calls the tool once for each question, then answers with its result.
const tooled = `
  import { FakeStreamingChatModel } from "@langchain/core/utils/testing";
  import { AIMessage, HumanMessage } from "@langchain/core/messages";
  import { tool } from "@langchain/core/tools";
  const weather = tool(async ({ city }) => "21 °C in " + city, {
    name: "weather", schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  });
  class Model extends FakeStreamingChatModel {
    bindTools() { return this; }
    async _generate(messages) {
      const last = messages.at(-1);
      const message = last.type === "tool"
        ? new AIMessage({ content: "It is " + last.content, usage_metadata: { input_tokens: messages.length, output_tokens: 1, total_tokens: messages.length + 1 } })
        : new AIMessage({ content: "", tool_calls: [{ name: "weather", args: { city: last.content }, id: "call-" + messages.length, type: "tool_call" }] });
      return { generations: [{ message, text: message.content }] };
    }
    async *_streamResponseChunks() { throw new Error("not streamed"); }
  }
  const model = new Model({});`;

// An agent's loop as its author writes it, with the tool's calls and results stored.
const agent = (options) => `${tooled}
  import { DynamoDBChatMessageHistory } from "chat-memory/langchain";
  const history = new DynamoDBChatMessageHistory({ ...${JSON.stringify(options)}, sessionId: "agent" });
  const before = await history.getMessages();
  const turn = [new HumanMessage(process.env.SAY)];
  for (;;) {
    const answer = await model.invoke([...before, ...turn]);
    turn.push(answer);
    if (answer.tool_calls.length === 0) break;
    for (const call of answer.tool_calls) turn.push(await weather.invoke(call));
  }
  await history.addMessages(turn);
  console.log(JSON.stringify(before.map((m) => [m.type, m.content, m.tool_calls?.[0]?.args?.city, m.tool_call_id])));`;

// LangChain's own executor with a memory, which stores question and answer.
const executor = (options) => `${tooled}
  import { DynamoDBChatMemory } from "chat-memory/langchain/memory";
  import { AgentExecutor, createToolCallingAgent } from "@langchain/classic/agents";
  import { ChatPromptTemplate, MessagesPlaceholder } from "@langchain/core/prompts";
  const memory = new DynamoDBChatMemory({ ...${JSON.stringify(options)}, sessionId: "executor", returnMessages: true, inputKey: "input", outputKey: "output" });
  const { chat_history } = await memory.loadMemoryVariables({});
  const prompt = ChatPromptTemplate.fromMessages([new MessagesPlaceholder("chat_history"), ["human", "{input}"], new MessagesPlaceholder("agent_scratchpad")]);
  const agent = createToolCallingAgent({ llm: model, tools: [weather], prompt, streamRunnable: false });
  const { output } = await new AgentExecutor({ agent, tools: [weather], memory }).invoke({ input: process.env.SAY });
  console.log(JSON.stringify([...chat_history.map((m) => [m.type, m.content]), output]));`;

for (const [name, place] of Object.entries(places)) {
  test(`${name}: RunnableWithMessageHistory and agents with a tool remember across two processes`, async () => {
    const options = await place();
    const say = async (program, SAY) => {
      const { code, out, err } = await script(program(options), { env: { SAY } });
      assert.equal(code, 0, err);
      return JSON.parse(out);
    };
    await say(runnable, "one");
    assert.deepEqual(await say(runnable, "two"), ["Be brief.", "one", "answer to one", "two"]);
    assert.deepEqual(await say(agent, "Paris"), []);
    assert.deepEqual(await say(agent, "Rome"), [
      ["human", "Paris", null, null], ["ai", "", "Paris", null], ["tool", "21 °C in Paris", null, "call-1"], ["ai", "It is 21 °C in Paris", null, null],
    ]);
    assert.deepEqual(await say(executor, "Paris"), ["It is 21 °C in Paris"]);
    assert.deepEqual(await say(executor, "Rome"), [["human", "Paris"], ["ai", "It is 21 °C in Paris"], "It is 21 °C in Rome"]);
  });
}

test("LangChain.js's own class and ours, one script, one table", async () => {
  const original = peer("CHAT_MEMORY_PEER_JS");
  const theirs = original("@langchain/community/stores/message/dynamodb").DynamoDBChatMessageHistory;
  const messages = original("@langchain/core/messages");
  const tableName = await table("id");
  // The script below changes only what a user changes.
  const conversation = async (History, { HumanMessage, AIMessage }, name) => {
    const history = new History({ tableName, sessionId: "shared", partitionKey: "id", config: config() });
    const before = (await history.getMessages()).map(({ type, content }) => `${type ?? "?"}: ${content}`);
    await history.addMessages([new HumanMessage(`${name} asks`), new AIMessage(`${name} answers`)]);
    await history.addUserMessage(`${name} again`);
    return before;
  };
  assert.deepEqual(await conversation(theirs, messages, "theirs"), []);
  const first = ["human: theirs asks", "ai: theirs answers", "human: theirs again"];
  assert.deepEqual(await conversation(DynamoDBChatMessageHistory, { HumanMessage, AIMessage }, "ours"), first);
  const second = ["human: ours asks", "ai: ours answers", "human: ours again"];
  assert.deepEqual(await conversation(theirs, messages, "theirs"), [...first, ...second]);
  assert.deepEqual(await conversation(DynamoDBChatMessageHistory, { HumanMessage, AIMessage }, "ours"), [...first, ...second, ...first]);

  // What their class cannot express is preserved invisibly, and visible to ours again.
  const ours = new DynamoDBChatMessageHistory({ tableName, sessionId: "kinds", config: config() });
  const theirHistory = new theirs({ tableName, sessionId: "kinds", config: config() });
  await ours.addMessages(everyKind());
  await theirHistory.addMessage(new messages.HumanMessage("from the original"));
  assert.ok((await theirHistory.getMessages()).some(({ content }) => content === "from the original"));
  assert.deepEqual((await ours.getMessages()).slice(0, -1), everyKind());
  await theirHistory.clear();
  assert.deepEqual(await ours.getMessages(), []);
});

test("what langchain-core writes in Python is read as LangChain.js has it", async () => {
  const store = new ChatStore("memory:");
  const data = { additional_kwargs: {}, response_metadata: {}, name: null, id: null };
  await store.append("s", [
    { type: "human", data: { content: "q", type: "human", example: false, ...data } },
    { type: "AIMessageChunk", data: { content: "a", type: "AIMessageChunk", ...data, tool_calls: [], invalid_tool_calls: [], usage_metadata: null, tool_call_chunks: [] } },
    { type: "chat", data: { content: "c", type: "chat", role: "critic", ...data } },
  ], { format: "langchain" });
  const messages = await new DynamoDBChatMessageHistory({ store, sessionId: "s" }).getMessages();
  assert.deepEqual(messages.map(({ type, content, name, role }) => [type, content, name, role]), [
    ["human", "q", undefined, undefined], ["ai", "a", undefined, undefined], ["generic", "c", undefined, "critic"],
  ]);
});

test("50 addMessages at once", async () => {
  for (const place of Object.values(places)) {
    const history = new DynamoDBChatMessageHistory({ ...(await place()), sessionId: "s" });
    const turns = Array.from({ length: 50 }, (_, n) => [new HumanMessage(`${n}?`), new AIMessage(`${n}!`)]);
    await Promise.all(turns.map((turn) => history.addMessages(turn)));
    const contents = (await history.getMessages()).map(({ content }) => content);
    assert.equal(contents.length, 100);
    for (let n = 0; n < 50; n += 1) assert.equal(contents[contents.indexOf(`${n}?`) + 1], `${n}!`, "a turn stays together");
  }
});

assert.ok(endpoint && needed("CHAT_MEMORY_PEER_JS"));
