// The Vercel AI SDK: its own functions make the messages, and read what comes back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatStore } from "chat-memory";
import { appendMessages, loadConversation, loadMessages, saveMessages } from "chat-memory/ai-sdk";
import { convertToModelMessages, safeValidateUIMessages } from "ai";
import { sqliteUrl, turnsUrl } from "./support.mjs";

process.env.AWS_ACCESS_KEY_ID ??= "test";
process.env.AWS_SECRET_ACCESS_KEY ??= "test";

const user = (id, text) => ({ id, role: "user", parts: [{ type: "text", text }] });
const answer = (id, ...texts) => ({ id, role: "assistant", parts: texts.map((text) => ({ type: "text", text, state: "done" })) });
const ids = (messages) => messages.map(({ id }) => id);

/** Every sort of part there is. */
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
    // Only the end of it, as an interface that sends its last message does.
    assert.equal((await saveMessages(store, "s", [messages.at(-1), user("end", "?")])).written, 1);
    assert.deepEqual(ids(await loadMessages(store, "s", { turns: 2 })), ["u29", "a29", "end"]);
    // Only new ones.
    await saveMessages(store, "s", [answer("fin", "!")]);
    assert.deepEqual(ids(await loadMessages(store, "s", { messages: 2 })), ["end", "fin"]);
    assert.equal((await loadMessages(store, "s")).length, 62);
  });

  test(`${name}: an answer that goes on takes its own place; another's place only with a position`, async () => {
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
    // Somebody wrote since that position: nothing is lost.
    await assert.rejects(saveMessages(store, "s", [first[0], answer("a3", "?")], { expect: position }), { code: "conflict" });
    await saveMessages(store, "s", [first[0]]);
    assert.deepEqual(await loadMessages(store, "s"), other, "an older state takes nothing away");
    // Taken back on purpose.
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
  const note = (answer) => (counted.push(answer.receipt), answer);
  const messages = [];
  for (let n = 0; n < 60; n += 1) {
    messages.push(user(`u${n}`, "x".repeat(300)), answer(`a${n}`, "y".repeat(300)));
    counted.length = 0;
    await saveMessages(store, "s", messages);
    const sum = (name) => counted.reduce((all, receipt) => all + receipt[name], 0);
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
  // And the other way round: its texts are readable to all.
  const { messages } = await store.load("s", { messages: 1 });
  assert.deepEqual(messages[0].content, [{ type: "text", text: "Here.", state: "done" }]);
});

test("what is not a conversation is refused, and nothing is written", async () => {
  const store = new ChatStore("memory:");
  await saveMessages(store, "s", [user("u1", "?"), answer("a1", "!")]);
  const bad = (messages, says) => assert.rejects(saveMessages(store, "s", messages), (error) => error.code === "invalid" && says.test(error.message));
  await bad([user("u2", "?"), { role: "assistant", parts: [] }], /message 2 .*needs an id/);
  await bad([{ id: "x", role: "tool", parts: [] }], /roles/);
  await bad([{ id: "x", role: "user", content: "x" }], /list of parts/);
  await bad([user("x", "1"), user("x", "2")], /same id/);
  await bad([user("new", "?"), answer("a1", "!")], /"a1" is stored, but the first/);
  await bad("x", /list/);
  assert.equal((await loadMessages(store, "s")).length, 2);
});
