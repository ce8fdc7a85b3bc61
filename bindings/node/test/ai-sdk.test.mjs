// The Vercel AI SDK: its own functions make the messages, and read them back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatStore } from "chat-memory";
import { appendMessages, loadConversation, loadMessages, saveMessages } from "chat-memory/ai-sdk";
import * as ai6 from "ai-6";
import * as ai7 from "ai";
import { model } from "./model.mjs";
import { sqliteUrl, turnsUrl } from "./support.mjs";

const { convertToModelMessages, safeValidateUIMessages } = ai7;

process.env.AWS_ACCESS_KEY_ID ??= "test";
process.env.AWS_SECRET_ACCESS_KEY ??= "test";

const user = (id, text) => ({ id, role: "user", parts: [{ type: "text", text }] });
const answer = (id, ...texts) => ({ id, role: "assistant", parts: texts.map((text) => ({ type: "text", text, state: "done" })) });
const ids = (messages) => messages.map(({ id }) => id);

/** Every kind of part. */
const rich = [
  { id: "s1", role: "system", parts: [{ type: "text", text: "Be brief." }] },
  {
    id: "u1", role: "user", metadata: { createdAt: 1.5, tags: ["a"], nested: { deep: null } },
    parts: [{ type: "text", text: "What is it? 🦀\u0000" }, { type: "file", mediaType: "image/png", filename: "a.png", url: "data:image/png;base64,AA==" }],
  },
  {
    id: "a1", role: "assistant", metadata: { totalUsage: { totalTokens: 12 } },
    parts: [
      { type: "step-start" },
      { type: "reasoning", text: "Let me see.", state: "done", providerMetadata: { openai: { itemId: "rs_1" } } },
      { type: "tool-weather", toolCallId: "c1", state: "output-available", input: { city: "Paris", days: 3 }, output: { celsius: 21.5 } },
      { type: "tool-weather", toolCallId: "c2", state: "output-error", input: { city: "?" }, errorText: "no such city" },
      { type: "dynamic-tool", toolName: "search", toolCallId: "c3", state: "output-available", input: { q: "x" }, output: [1, -0, 1e300] },
      { type: "source-url", sourceId: "1", url: "https://example.com", title: "Example" },
      { type: "data-chart", id: "d1", data: { points: [[0, 1]] } },
      { type: "step-start" },
      { type: "text", text: "It is a crab.", state: "done" },
    ],
  },
];

for (const [name, url] of Object.entries({ sqlite: sqliteUrl, dynamodb: turnsUrl })) {
  test(`${name}: every part comes back equal, whole or after a page, and is written once`, async () => {
    const store = new ChatStore(await url());
    assert.deepEqual(await loadMessages(store, "s"), []);
    assert.equal((await saveMessages(store, "s", rich)).written, 3);
    assert.deepEqual(await loadMessages(store, "s"), rich);
    assert.equal((await saveMessages(store, "s", rich)).written, 0, "a repeated save writes nothing");
    assert.ok((await safeValidateUIMessages({ messages: await loadMessages(store, "s") })).success);
    assert.ok((await convertToModelMessages(await loadMessages(store, "s"))).length >= 3);
  });

  test(`${name}: a conversation saved after each answer, as onFinish does`, async () => {
    const store = new ChatStore(await url());
    let messages = [];
    for (let n = 0; n < 30; n += 1) {
      messages = [...(await loadMessages(store, "s")), user(`u${n}`, `${n}?`)];
      await saveMessages(store, "s", messages);
      messages.push(answer(`a${n}`, `${n}!`));
      assert.equal((await saveMessages(store, "s", messages)).written, 1);
    }
    assert.deepEqual(await loadMessages(store, "s"), messages);
    // Only the end of it, as an interface that sends only its last message does.
    assert.equal((await saveMessages(store, "s", [messages.at(-1), user("end", "?")])).written, 1);
    assert.deepEqual(ids(await loadMessages(store, "s", { turns: 2 })), ["u29", "a29", "end"]);
    // Only new ones.
    await saveMessages(store, "s", [answer("fin", "!")]);
    assert.deepEqual(ids(await loadMessages(store, "s", { messages: 2 })), ["end", "fin"]);
    assert.equal((await loadMessages(store, "s")).length, 62);
  });

  test(`${name}: an answer that continues takes its own place; another's place only with a position`, async () => {
    const store = new ChatStore(await url());
    const first = [user("u1", "Delete it"), { id: "a1", role: "assistant", parts: [{ type: "tool-rm", toolCallId: "c", state: "input-available", input: {} }] }];
    await saveMessages(store, "s", first);
    const on = [first[0], { ...first[1], parts: [{ ...first[1].parts[0], state: "output-available", output: "gone" }, { type: "text", text: "Done." }] }];
    await saveMessages(store, "s", on);
    assert.deepEqual(await loadMessages(store, "s"), on);

    // Regenerated: another message in the answer's place.
    const other = [first[0], answer("a2", "No.")];
    await assert.rejects(saveMessages(store, "s", other), (error) => error.code === "conflict" && /"a1"/.test(error.message));
    const { position } = await loadConversation(store, "s");
    await saveMessages(store, "s", other, { expect: position });
    assert.deepEqual(await loadMessages(store, "s"), other);
    // Modified since that position: nothing is lost.
    await assert.rejects(saveMessages(store, "s", [first[0], answer("a3", "?")], { expect: position }), { code: "conflict" });
    await saveMessages(store, "s", [first[0]]);
    assert.deepEqual(await loadMessages(store, "s"), other, "an older state takes nothing away");
    // Removed on purpose.
    await saveMessages(store, "s", [first[0]], { expect: (await loadConversation(store, "s")).position });
    assert.deepEqual(await loadMessages(store, "s"), [first[0]]);
  });

  test(`${name}: many at once: each message once, none lost`, async () => {
    const store = new ChatStore(await url());
    const start = [user("u", "?")];
    await saveMessages(store, "s", start);
    const saved = await Promise.allSettled(Array.from({ length: 4 }, () => saveMessages(store, "s", [...start, answer("a", "!")])));
    assert.deepEqual(saved.map(({ status }) => status), Array(4).fill("fulfilled"));
    assert.equal(saved.reduce((sum, { value }) => sum + value.written, 0), 1);
    await Promise.all(Array.from({ length: 20 }, (_, n) => appendMessages(store, "s", [user(`p${n}`, "x")], { key: `p${n}` })));
    await appendMessages(store, "s", [user("p3", "x")], { key: "p3" });
    assert.equal((await loadMessages(store, "s")).length, 22);
  });
}

test("a long conversation costs no more to save than a short one", async () => {
  const store = new ChatStore(await turnsUrl());
  const counted = [];
  const { append, records } = store;
  store.append = async (...args) => note(await append.apply(store, args));
  store.records = async (...args) => note(await records.apply(store, args));
  const note = (answer) => (counted.push(answer.cost), answer);
  const messages = [];
  for (let n = 0; n < 60; n += 1) {
    messages.push(user(`u${n}`, "x".repeat(300)), answer(`a${n}`, "y".repeat(300)));
    counted.length = 0;
    await saveMessages(store, "s", messages);
    const sum = (name) => counted.reduce((all, cost) => all + cost[name], 0);
    if (n > 3) assert.ok(sum("requests") <= 2 && sum("writeUnits") <= 2 && sum("readUnits") <= 1, JSON.stringify(counted));
  }
});

test("what another form wrote is shown as the AI SDK has it, always with the same ids", async () => {
  const store = new ChatStore("memory:");
  await store.append("s", [
    { role: "developer", content: "Be brief." },
    { role: "user", content: [{ type: "text", text: "Where?" }, { type: "image_url", image_url: { url: "data:image/png;base64,AA==" } }, { type: "input_audio", input_audio: { data: "" } }] },
    { role: "assistant", content: null, tool_calls: [{ id: "c1", type: "function", function: { name: "weather", arguments: '{"city":"Paris"}' } }] },
    { role: "tool", tool_call_id: "c1", content: "21 °C" },
    { role: "assistant", content: "In Paris.", id: "msg_1" },
    { role: "user", content: "Where?" },
  ]);
  const shown = await loadMessages(store, "s");
  assert.deepEqual(shown.map(({ role, parts }) => ({ role, parts })), [
    { role: "system", parts: [{ type: "text", text: "Be brief." }] },
    { role: "user", parts: [
      { type: "text", text: "Where?" }, { type: "file", mediaType: "image/png", url: "data:image/png;base64,AA==" },
      { type: "data-input_audio", data: { type: "input_audio", input_audio: { data: "" } } },
    ] },
    { role: "assistant", parts: [
      { type: "step-start" },
      { type: "dynamic-tool", toolName: "weather", toolCallId: "c1", state: "output-available", input: { city: "Paris" }, output: "21 °C" },
      { type: "step-start" }, { type: "text", text: "In Paris." },
    ] },
    { role: "user", parts: [{ type: "text", text: "Where?" }] },
  ]);
  assert.equal(new Set(ids(shown)).size, shown.length);
  assert.deepEqual(ids(await loadMessages(store, "s")), ids(shown));
  assert.ok((await safeValidateUIMessages({ messages: shown })).success);
  await saveMessages(store, "s", [...shown, answer("a9", "Here.")]);
  assert.equal((await loadMessages(store, "s")).length, 5);
  // And the other way round: other readers can read its texts.
  const { messages } = await store.load("s", { messages: 1 });
  assert.deepEqual(messages[0].content, [{ type: "text", text: "Here.", state: "done" }]);
});

test("what is not a conversation is refused, and nothing is written", async () => {
  const store = new ChatStore("memory:");
  await saveMessages(store, "s", [user("u1", "?"), answer("a1", "!")]);
  const bad = (messages, says) => assert.rejects(saveMessages(store, "s", messages), (error) => error.code === "invalid" && says.test(error.message));
  await bad([user("u2", "?"), { id: 5, role: "assistant", parts: [] }], /message 2 .*needs an id/);
  await bad([{ id: "x", role: "tool", parts: [] }], /roles/);
  await bad([{ id: "x", role: "user", content: "x" }], /list of parts/);
  await bad([user("x", "1"), user("x", "2")], /same id/);
  await bad([user("new", "?"), answer("a1", "!")], /"a1" is stored, but the first/);
  await bad("x", /list/);
  assert.equal((await loadMessages(store, "s")).length, 2);
});

for (const [version, ai] of Object.entries({ 6: ai6, 7: ai7 })) {
  /** One request to a route; returns the messages of the browser afterwards, which gives the answer an id of its own. */
  const route = async (store, messages, { tools, save = saveMessages, ...more } = {}) => {
    const saved = [];
    const result = ai.streamText({ model, messages: await ai.convertToModelMessages(messages), tools });
    const response = result.toUIMessageStreamResponse({
      originalMessages: messages,
      onFinish: async ({ messages }) => void saved.push(await save(store, "s", messages)),
      ...more,
    });
    const events = (await response.text()).split("\n\n").filter((line) => line.startsWith("data: {")).map((line) => JSON.parse(line.slice(6)));
    const errors = events.filter(({ type }) => type === "error");
    assert.deepEqual(errors, []);
    const last = messages.at(-1).role === "assistant" ? messages.at(-1) : undefined;
    let shown;
    for await (const message of ai.readUIMessageStream({ message: last, stream: ReadableStream.from(events) })) shown = message;
    // As JSON, which is how the browser sends it back.
    const received = JSON.parse(JSON.stringify({ ...shown, id: shown.id || `browser-${messages.length}` }));
    return { saved, messages: [...(last ? messages.slice(0, -1) : messages), received] };
  };

  test(`ai ${version}: answers without generateMessageId are stored, each once, and known again under the browser's ids`, async () => {
    const store = new ChatStore(await turnsUrl());
    let messages = [];
    for (let n = 0; n < 5; n += 1) {
      const answered = await route(store, [...messages, user(`u${n}`, "Where to?")]);
      assert.deepEqual(answered.saved.map(({ written }) => written), [2]);
      messages = answered.messages;
      assert.equal((await saveMessages(store, "s", messages)).written, 0, "the browser's conversation is the stored one");
      assert.equal((await saveMessages(store, "s", messages.slice(-1))).written, 0, "its last message, too");
    }
    const stored = await loadMessages(store, "s");
    assert.equal(stored.length, 10);
    assert.equal(new Set(ids(stored)).size, 10);
    assert.ok(ids(stored).every((id) => id !== ""));
    assert.deepEqual(stored.map(({ parts }) => parts), messages.map(({ parts }) => parts));
    // A reloaded page continues with the stored ids.
    const after = await route(store, [...stored, user("u5", "Where to?")]);
    assert.deepEqual(after.saved.map(({ written }) => written), [2]);
    assert.equal((await loadMessages(store, "s")).length, 12);
  });

  test(`ai ${version}: an answer that continues after the browser ran a tool takes its own place`, async () => {
    const store = new ChatStore(await turnsUrl());
    const tools = { place: ai.tool({ description: "Where the user is", inputSchema: ai.jsonSchema({ type: "object", properties: {} }) }) };
    const first = await route(store, [user("u0", "Where to?")], { tools });
    const [question, answer] = first.messages;
    const call = answer.parts.at(-1);
    assert.equal(call.type, "tool-place");
    const done = { ...answer, parts: [...answer.parts.slice(0, -1), { ...call, state: "output-available", output: "Paris" }] };
    const second = await route(store, [question, done], { tools });
    assert.equal(second.saved.length, 1);
    const stored = await loadMessages(store, "s");
    assert.deepEqual(stored.map(({ role }) => role), ["user", "assistant"]);
    assert.equal(stored[1].parts.at(-1).text, "To Lisbon.");
    assert.deepEqual(stored[1].parts, second.messages[1].parts);
  });

  test(`ai ${version}: with generateMessageId an answer has one id here and in the browser; createUIMessageStream gives one by itself`, async () => {
    const store = new ChatStore("memory:");
    const { messages } = await route(store, [user("u0", "Where to?")], { generateMessageId: ai.createIdGenerator() });
    assert.deepEqual(await loadMessages(store, "s"), messages);
    const question = user("u1", "And then?");
    const stream = ai.createUIMessageStream({
      originalMessages: [...messages, question],
      execute: ({ writer }) => void writer.merge(ai.streamText({ model, prompt: "And then?" }).toUIMessageStream()),
      onFinish: async ({ messages }) => void (await saveMessages(store, "s", messages)),
    });
    for await (const part of stream) assert.notEqual(part.type, "error");
    assert.deepEqual(ids(await loadMessages(store, "s")).slice(0, 3), [...ids(messages), "u1"]);
    assert.equal((await loadMessages(store, "s")).length, 4);
  });
}

test("messages without ids: a repeat is known, equal answers elsewhere are not, and nothing is lost", async () => {
  const store = new ChatStore(await turnsUrl());
  const nameless = (role, text) => ({ id: "", role, parts: [{ type: "text", text }] });
  const turn = [nameless("user", "Hi"), nameless("assistant", "Hello")];
  assert.equal((await saveMessages(store, "s", turn)).written, 2);
  assert.equal((await saveMessages(store, "s", turn)).written, 0);
  const more = [...turn, nameless("user", "Again"), nameless("assistant", "Hello")];
  assert.equal((await saveMessages(store, "s", more)).written, 2, "the same words in another place are another message");
  assert.equal((await saveMessages(store, "s", more)).written, 0);
  const stored = await loadMessages(store, "s");
  assert.equal(new Set(ids(stored)).size, 4);
  // A missing id counts as an empty one.
  assert.equal((await saveMessages(store, "s", more.map(({ id, ...message }) => message))).written, 0);
  // Replacing a stored answer is refused, as with ids.
  await assert.rejects(
    saveMessages(store, "s", [...stored.slice(0, 3), nameless("assistant", "Bye")]),
    (error) => error.code === "conflict" && /generateMessageId/.test(error.message),
  );
  // Concurrently: one of them writes.
  const next = [...stored, user("u9", "?"), nameless("assistant", "!")];
  const saved = await Promise.all(Array.from({ length: 4 }, () => saveMessages(store, "s", next)));
  assert.equal(saved.reduce((sum, { written }) => sum + written, 0), 2);
  // Appended: once under a key, each with an id.
  const append = () => appendMessages(store, "s", [nameless("assistant", "Hello")], { key: "k" });
  await append();
  await append();
  await appendMessages(store, "s", [nameless("assistant", "Hello")]);
  const all = await loadMessages(store, "s");
  assert.equal(all.length, 8);
  assert.equal(new Set(ids(all)).size, 8);
});

test("a long conversation of answers without ids costs no more to save than a short one", async () => {
  const store = new ChatStore(await turnsUrl());
  const requests = [];
  const { append, records } = store;
  store.append = async (...args) => note(await append.apply(store, args));
  store.records = async (...args) => note(await records.apply(store, args));
  const note = (answer) => (requests.push(answer.cost.requests), answer);
  const messages = [];
  for (let n = 0; n < 30; n += 1) {
    messages.push(user(`u${n}`, "?"), { ...answer("", "Yes."), metadata: {} });
    requests.length = 0;
    await saveMessages(store, "s", messages);
    // The browser's own id.
    messages.at(-1).id = `browser-${n}`;
    if (n > 3) assert.ok(requests.reduce((sum, n) => sum + n, 0) <= 2, `${requests}`);
  }
  assert.equal((await loadMessages(store, "s")).length, 60);
});
