// The package's own classes: exact values, errors, options, concurrency.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { ChatStore, dynamoDBUrl, randomSessionId } from "chat-memory";
import { config, endpoint, is, region, run, script, sqliteUrl, stores, table, turnsUrl } from "./support.mjs";

process.env.AWS_ACCESS_KEY_ID ??= "test";
process.env.AWS_SECRET_ACCESS_KEY ??= "test";

for (const [name, url] of Object.entries(stores)) {
  test(`${name}: entries that are not messages come back as they were, and once by their ids`, async () => {
    const store = new ChatStore(await url());
    const line = (uuid) => ({ type: "progress", uuid, n: [1, 0.5, 18446744073709551615n, -0] });
    const user = { role: "user", content: "Hi" };
    await store.appendEntries("s", [line("a"), user, line("b")]);
    assert.deepEqual((await store.load("s")).messages, [user]);
    const { records } = await store.records("s");
    assert.deepEqual([records[0].messages, records[0].entries], [[user], [line("a"), user, line("b")]]);
    const added = await store.appendNew("s", [line("b"), line("c")]);
    assert.deepEqual([added.new, added.seq], [[false, true], 1]);
    const again = await store.appendNew("s", [line("a"), line("c")]);
    assert.deepEqual([again.new, again.seq], [[false, false], null]);
    await assert.rejects(store.appendNew("s", [{ type: "changed", uuid: "a" }]), is("key_reused", /"a"/));
    await assert.rejects(store.append("s", [line("d")]), is("invalid", /role/));
  });

  test(`${name}: messages are iterated over in either order, in pages, as they were at the start`, async () => {
    const store = new ChatStore(await url());
    // Large enough that an iterator cannot keep them all, even if they are stored compressed.
    const text = (n, of) => `${n}.${of} ${randomBytes(3000).toString("base64")}`;
    const turn = (n) => Array.from({ length: 20 }, (_, of) => ({ role: of % 2 ? "assistant" : "user", content: text(n, of) }));
    const turns = Array.from({ length: 201 }, (_, n) => turn(n));
    const last = turns.pop();
    for (const messages of turns) await store.append("s", messages);
    const all = turns.flat().map(({ content }) => content);
    const collect = async (options, meanwhile) => {
      const contents = [];
      for await (const { content } of store.messages("s", options)) {
        if (contents.length === 0) await meanwhile?.();
        contents.push(content);
      }
      return contents;
    };
    assert.deepEqual(await collect({ newestFirst: true }), [...all].reverse());
    assert.deepEqual(await collect(), all);
    const stored = store.messages("s", { format: "langchain" });
    assert.equal((await stored.next()).value.data.content, all[0]);
    await stored.return();

    assert.deepEqual(await collect({}, () => store.append("s", last)), all, "what is appended meanwhile does not come");
    all.push(...last.map(({ content }) => content));
    // Of the oldest pages, which are read once, everything comes; of the others what is still there, once and in order. A store in memory
    // has no bytes, so that all are kept.
    assert.deepEqual(await collect({}, () => store.rewind("s", 400)), name === "memory" ? all : all.slice(0, 3220));

    const { records, older } = await store.records("s", { messages: 20 });
    const before = await store.records("s", { messages: 20, before: older });
    assert.deepEqual([before.records.length, before.records[0].seq < records[0].seq], [1, true]);
    assert.deepEqual(await collect({ newestFirst: true }), all.slice(0, 3220).reverse());
    await assert.rejects(store.messages("s", { newest: true }).next(), is("invalid", /newest/));
    for await (const message of store.messages("empty")) assert.fail(message);
  });

  test(`${name}: values come back as they were`, async () => {
    const store = new ChatStore(await url());
    const odd = {
      zero: -0, least: 5e-324, most: 1.7976931348623157e308, third: 1 / 3, exact: 9007199254740991, large: 1e300,
      integral: 12345678901234567890, int64: 9223372036854775807n, uint64: 18446744073709551615n, negative: -9223372036854775808n,
      text: "\u0000 \ud83e\udd80 e\u0301 \\u0041 \"", empty: "", none: null, yes: true, nested: [[], {}, [{ "": [null] }]], __proto__x: 1,
    };
    const messages = [
      { role: "user", content: [{ type: "text", text: "What is it?" }, { type: "image_url", image_url: { url: "data:image/png;base64,AA==" } }], odd },
      { role: "assistant", content: null, tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: '{"a": 1.0}' } }] },
      { role: "tool", tool_call_id: "c", content: "" },
      { role: "assistant", content: "x".repeat(100_000), refusal: null },
    ];
    await store.append("s", messages, { metadata: odd });
    const loaded = await store.load("s");
    assert.deepEqual(loaded.messages, messages);
    assert.ok(Object.is(loaded.messages[0].odd.zero, -0));
    assert.deepEqual((await store.records("s")).records[0].metadata, odd);
    assert.deepEqual(Object.keys(loaded.messages[0].odd), Object.keys(odd));
  });

  test(`${name}: every provider's messages come back as they are, and no window tears a call from its result`, async () => {
    const store = new ChatStore(await url());
    const turns = {
      anthropic: [
        { role: "user", content: "w?" },
        { role: "assistant", content: [{ type: "text", text: "let me" }, { type: "tool_use", id: "t1", name: "f", input: {} }] },
        { role: "user", content: [{ type: "tool_result", tool_use_id: "t1", content: "21" }] },
        { role: "assistant", content: "21C" },
      ],
      gemini: [
        { role: "user", parts: [{ text: "w?" }] },
        { role: "model", parts: [{ functionCall: { name: "f", args: {} } }] },
        { role: "user", parts: [{ functionResponse: { name: "f", response: { result: 21 } } }] },
        { role: "model", parts: [{ text: "21C" }] },
      ],
      responses: [
        { role: "user", content: "w?" },
        { type: "function_call", id: "fc_1", call_id: "t1", name: "f", arguments: "{}", status: "completed" },
        { type: "function_call_output", call_id: "t1", output: "21" },
        { type: "message", role: "assistant", id: "msg_1", content: [{ type: "output_text", text: "21C" }] },
      ],
    };
    for (const [form, turn] of Object.entries(turns)) {
      await store.append(form, turn);
      assert.deepEqual((await store.load(form)).messages, turn);
      assert.deepEqual((await store.load(form, { messages: 2 })).messages, turn.slice(3));
      assert.deepEqual((await store.load(form, { turns: 1 })).messages, turn);
      const { messages, leftOut } = await store.load(form, { messages: 3, startAtUser: true });
      assert.deepEqual(messages, []);
      assert.match(leftOut.text, /before the first user's message/);
      await store.rewind(form, 1);
      assert.deepEqual((await store.load(form)).messages, []);
    }
  });

  test(`${name}: a session from its first record to its end`, async () => {
    const store = new ChatStore(await url());
    const turn = (n) => [{ role: "user", content: `${n}?` }, { role: "assistant", content: `${n}!` }];
    const first = await store.append("s", turn(0), { owner: "alice", title: "A trip" });
    assert.ok(first.started && first.seq === 0 && first.cost.requests > 0);
    for (const n of [1, 2, 3]) await store.append("s", turn(n), { key: `turn-${n}` });
    const again = await store.append("s", turn(3), { key: "turn-3" });
    assert.ok(again.repeated && again.seq === 3);
    await assert.rejects(store.append("s", turn(4), { key: "turn-3" }), is("key_reused", /turn-3/));
    await assert.rejects(store.append("s", turn(4), { expect: first.position }), (error) => is("conflict", /reload it and retry/)(error) && error.actual !== undefined);

    const window = await store.load("s", { turns: 2 });
    assert.deepEqual(window.messages, [...turn(2), ...turn(3)]);
    assert.ok(window.leftOut.unread);
    assert.equal((await store.load("s", { messages: 1 })).messages.length, 1);
    assert.ok((await store.load("s", { tokens: 12, counter: "gpt-4o" })).tokens <= 12);

    assert.equal((await store.rewind("s", 1)).seq, 4);
    await store.replaceFrom("s", 2, [{ role: "user", content: "other" }]);
    assert.deepEqual((await store.load("s")).messages.map(({ content }) => content), ["0?", "0!", "1?", "1!", "other"]);

    assert.deepEqual((await store.sessions({ owner: "alice" })).sessions.map(({ id, title }) => [id, title]), [["s", "A trip"]]);
    assert.equal((await store.updateSession("s", { title: null, metadata: { tag: 1 } })).title, null);
    assert.deepEqual((await store.session("s")).metadata, { tag: 1 });
    await store.clear("s");
    assert.deepEqual((await store.load("s")).messages, []);
    await store.delete("s");
    assert.equal(await store.session("s"), null);
    assert.equal((await store.sessions({ owner: "alice" })).sessions.length, 0);
    assert.ok((await store.listAllSessions()).sessions.length <= 1);
    await store.sweep("s");
  });

  test(`${name}: 50 appends at once are all there, once`, async () => {
    const store = new ChatStore(await url());
    const all = Array.from({ length: 50 }, (_, n) => `message ${n}`);
    await Promise.all(all.map((content) => store.append("s", [{ role: "user", content }])));
    const { messages } = await store.load("s");
    assert.deepEqual(messages.map(({ content }) => content).sort(), all.sort());
  });
}

test("what JSON cannot hold is refused, and says where", async () => {
  const store = new ChatStore("memory:");
  const append = (x) => store.append("s", [{ role: "user", content: "x", x }]);
  const circle = {};
  circle.circle = circle;
  for (const [value, says] of [
    [NaN, /"x": NaN is not a JSON number; send null or a string/], [{ y: Infinity }, /"y": Infinity is not a JSON number/], [2n ** 64n, /64 bits/], [new Map(), /a Map/], [[new Set()], /a Set/],
    [Buffer.from("a").buffer, /binary data/], [new Uint8Array(1), /binary data/], [Buffer.from("a"), /binary data/], [() => 1, /a function/], ["\ud800", /"x": \\ud800 is half a character \(a lone surrogate\), which UTF-8 cannot encode; send the whole character/], [circle, /circular/i],
    [Promise.resolve(1), /"x" is a Promise, which JSON cannot hold; await it/], [/a/, /a regular expression/], [new Error("no"), /an Error/], [new WeakMap(), /a weak collection/],
  ]) {
    await assert.rejects(append(value), is("invalid", says));
  }
  await assert.rejects(store.append("s", [{ role: "user" }, { role: "nobody" }]), is("invalid", /message 2.*nobody/));
  await assert.rejects(store.append("s", []), is("invalid", /empty append/));
  await assert.rejects(store.append("", [{ role: "user", content: "x" }]), is("invalid", /session id/));
  assert.deepEqual((await store.load("s")).messages, []);
  await append(new Date(0));
  assert.equal((await store.load("s")).messages[0].x, "1970-01-01T00:00:00.000Z", "a date is stored as its text, as JSON.stringify writes it");
});

test("what is wrong with options rejects the call, as everything else", async () => {
  const store = new ChatStore("memory:");
  for (const call of [
    () => store.load("s", { foo: 1 }), () => store.append("s", [{ role: "user", content: "x" }], null), () => store.records("s", 5), () => store.updateSession("s"),
    () => store.sessions({ most: 1 }), () => store.redact("s", 0, { whole: true }), () => store.fork("s", null), () => store.deleteOwner("ada", { progres: () => 0 }),
  ]) {
    await assert.rejects(call(), (error) => error.code === "invalid" && / (takes|has no option) /.test(error.message));
  }
});

// testdata/refused.json, as in the library, the program and the HTTP service.
test("a message that is refused has the sentence that it has everywhere", async () => {
  const store = new ChatStore("memory:");
  const cases = JSON.parse(readFileSync(new URL("../../../testdata/refused.json", import.meta.url), "utf8"));
  const openai = cases.filter((one) => one.format === "openai" && typeof one.message === "object");
  assert.ok(openai.length > 10);
  for (const { name, message, says } of openai) {
    const refused = (error) => error.code === "invalid" && error.message.includes(says);
    await assert.rejects(store.append("s", [message]), refused, name);
  }
});

test("options that cannot work throw at once", () => {
  assert.throws(() => new ChatStore("chats"), is("invalid", /unknown store/));
  assert.throws(() => new ChatStore(), is("invalid", /takes a store URL/));
  assert.throws(() => new ChatStore("dynamodb://chats?regoin=x"), is("invalid", /regoin/));
  assert.throws(() => new ChatStore("memory:", { credential: {} }), is("invalid", /no option "credential"/));
  assert.throws(() => new ChatStore("dynamodb://chats", { credentials: { accessKeyId: "a" } }), is("invalid", /secretAccessKey is missing/));
  assert.throws(() => new ChatStore("sqlite:x", { credentials: { accessKeyId: "a", secretAccessKey: "b" } }), is("invalid", /leave them out/));
  assert.throws(() => dynamoDBUrl({ tableName: "chats", partition_key: "id" }), is("invalid", /write partitionKey/));
  assert.throws(() => dynamoDBUrl({ tableName: "chats", readOnly: "yes" }), is("invalid", /true or false/));
  assert.equal(dynamoDBUrl({ tableName: "chats", region: "eu-west-1", readOnly: true }), "dynamodb://chats?region=eu-west-1&read_only=true");
  assert.match(randomSessionId(), /^[0-9a-f-]{36}$/);
});

test("import and require give the same stores", async () => {
  const required = createRequire(import.meta.url)("chat-memory");
  const url = sqliteUrl();
  await new required.ChatStore(url).append("s", [{ role: "user", content: "x" }]);
  assert.equal((await new ChatStore(url).load("s")).messages.length, 1);
});

test("what DynamoDB refuses says what to do", async () => {
  const store = new ChatStore(dynamoDBUrl({ tableName: "no-such-table", region, endpoint }));
  await assert.rejects(store.load("s"), is("not_found", /no-such-table/));
  const wrong = new ChatStore(dynamoDBUrl({ tableName: await table("pk", "range"), region, endpoint }));
  await assert.rejects(wrong.append("s", [{ role: "user", content: "x" }]), is("invalid", /partition_key|pk/));
  const dead = new ChatStore("dynamodb://chats?region=us-east-1&endpoint=http://127.0.0.1:9&deadline=2s&request_timeout=1s");
  await assert.rejects(dead.load("s"), (error) => is("unavailable", /127\.0\.0\.1:9/)(error) && error.retryable);
});

test("credentials are renewed by the function that gets them, and appear nowhere", async () => {
  let asked = 0;
  const credentials = async () => {
    asked += 1;
    return { accessKeyId: "AKIAEXAMPLE", secretAccessKey: "hunter2", sessionToken: "hunter3", expiration: new Date(Date.now() + (asked > 1 ? 3600_000 : 0)) };
  };
  const url = await turnsUrl();
  const store = new ChatStore(url, { credentials });
  await store.append("s", [{ role: "user", content: "x" }]);
  await Promise.all([store.load("s"), store.load("s")]);
  await store.load("s");
  assert.equal(asked, 2, "once for those that ended, once more for all after them");
  await new ChatStore(url, { credentials }).load("s");
  assert.equal(asked, 2, "and not again for another store of the same function");
  const { inspect } = await import("node:util");
  assert.doesNotMatch(inspect(store, { depth: 9, showHidden: true }), /hunter|AKIA/);
  const refused = new ChatStore(url, { credentials: () => Promise.reject(new Error("no role")) });
  await assert.rejects(refused.load("s"), is("access_denied", /no role/));
  const none = new ChatStore(url, { credentials: async () => undefined });
  await assert.rejects(none.load("s"), is("invalid", /accessKeyId is missing/));
  const broken = new ChatStore(url, { credentials: async () => ({ accessKeyId: "hunter2" }) });
  await assert.rejects(broken.load("s"), (error) => is("invalid", /secretAccessKey/)(error) && !error.message.includes("hunter2"));
});

test("a process that is asked to end does so, and what was acknowledged is there", async () => {
  const url = await turnsUrl();
  const program = `
    import { ChatStore } from "chat-memory";
    const store = new ChatStore(${JSON.stringify(url)});
    process.on("SIGTERM", async () => {
      await store.append("s", [{ role: "user", content: "last" }]);
      console.log("acknowledged");
      process.exit(0);
    });
    for (let n = 0; ; n += 1) {
      await store.append("s", [{ role: "user", content: String(n) }]);
      console.log("wrote", n);
    }`;
  const { code, signal, out, err } = await script(program, { kill: { after: "wrote 3", signal: "SIGTERM" } });
  assert.deepEqual([code, signal, err], [0, null, ""]);
  const contents = (await new ChatStore(url).load("s")).messages.map(({ content }) => content);
  const acknowledged = out.match(/wrote \d+/g).map((line) => line.slice(6));
  for (const content of [...acknowledged, "last"]) assert.equal(contents.filter((found) => found === content).length, 1, content);
});

test("a process ends at once with operations under way", async () => {
  const url = await turnsUrl();
  const program = `
    import { ChatStore } from "chat-memory";
    const store = new ChatStore(${JSON.stringify(url)});
    for (let n = 0; n < 20; n += 1) store.append("s", [{ role: "user", content: String(n) }]);
    setTimeout(() => process.exit(7), 30);`;
  const { code, signal, err } = await script(program);
  assert.deepEqual([code, signal, err], [7, null, ""]);
});

test("a program that ends by itself is not kept waiting", async () => {
  const program = `
    import { ChatStore } from "chat-memory";
    const store = new ChatStore(${JSON.stringify(await turnsUrl())});
    await store.append("s", [{ role: "user", content: "x" }]);
    const unreachable = new ChatStore("dynamodb://chats?region=us-east-1&endpoint=http://127.0.0.1:9&deadline=1s&request_timeout=500ms");
    const error = await unreachable.append("s", [{ role: "user", content: "x" }]).catch((error) => error);
    console.log(error.code);`;
  const { code, out, err, seconds } = await script(program);
  assert.deepEqual([code, out.trim(), err], [0, "unavailable", ""]);
  assert.ok(seconds < 20, `it took ${seconds} s`);
});

test("where there is no addon, the import says what to do, in one sentence", async () => {
  const { code, err } = await run(["-e", "require('chat-memory')"], { cwd: import.meta.dirname, env: { CHAT_MEMORY_NATIVE: "/nowhere.node" } });
  assert.equal(code, 1);
  assert.match(err, /cannot load the addon of chat-memory: CHAT_MEMORY_NATIVE names "\/nowhere.node", which is not there; name the addon's file, or unset it/);
  const musl = `
    process.report.getReport = () => ({ header: {} });
    try { require("chat-memory"); } catch (error) { console.log(error.code, error.message); }`;
  const { out } = await run(["-e", musl], { cwd: import.meta.dirname, env: { CHAT_MEMORY_NATIVE: "" } });
  assert.match(out, /^unsupported_platform .*: the package has none for linux-\w+-musl \(only for linux-\w+-gnu\); use an image with glibc/);
});

test("the configuration of the tests reaches DynamoDB Local", async () => {
  const { credentials, ...rest } = config();
  const store = new ChatStore(dynamoDBUrl({ tableName: await table("session_id", "sk"), ...rest }), { credentials });
  assert.deepEqual((await store.load("s")).messages, []);
});
