// LangGraph.js: its own suite for checkpointers, and real graphs, each compared with LangGraph's MemorySaver.
import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";
import { AIMessage, HumanMessage } from "@langchain/core/messages";
import { FakeListChatModel } from "@langchain/core/utils/testing";
import {
  Annotation, Command, END, interrupt, MemorySaver, MessagesAnnotation, MessagesDeltaValue, Send, START, StateGraph, StateSchema,
} from "@langchain/langgraph";
import { emptyCheckpoint, JsonPlusSerializer, TASKS, uuid6 } from "@langchain/langgraph-checkpoint";
import { ChatMemorySaver } from "chat-memory/langgraph";
import { credentials, dynamodb, endpoint, region, root, run, script, sqliteUrl, table, turnsUrl } from "./support.mjs";

process.env.AWS_ACCESS_KEY_ID ??= "test";
process.env.AWS_SECRET_ACCESS_KEY ??= "test";

/** A store URL of each kind. */
const places = { memory: async () => "memory:", sqlite: async () => sqliteUrl(), DynamoDB: turnsUrl };

/** The same store, opened apart: nothing that the first remembers helps. */
const apart = (url, delay = 149) => ChatMemorySaver.fromUrl(url, { writeDelay: delay });

/** As many empty stores as numbers take the place of {n}. */
const numbered = {
  memory: async () => "memory:",
  sqlite: async () => `sqlite:${join(mkdtempSync(join(tmpdir(), "chat-memory-")), "{n}.db")}`,
  DynamoDB: () => turnsUrl("&namespace=n{n}"),
};

for (const [name, place] of Object.entries(numbered)) {
  test(`${name}: LangGraph's own suite for checkpointers`, async () => {
    const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
    const args = [vitest, "run", "--globals", "--dir", "test", "--reporter=json", "--testTimeout=60000", "--hookTimeout=60000", "langgraph.spec"];
    for (const CHECKPOINTS_DELAY of ["150", "0"]) {
      const { out, err } = await run(args, { cwd: root, env: { CHECKPOINTS_URL: await place(), CHECKPOINTS_DELAY } });
      const { success, numPassedTests, testResults } = JSON.parse(out.slice(out.indexOf("{")));
      const failures = testResults.flatMap(({ assertionResults }) => assertionResults.filter(({ status }) => status === "failed"));
      assert.ok(success, inspect(failures.map(({ fullName, failureMessages }) => [fullName, failureMessages[0]])) + err);
      assert.ok(numPassedTests > 700, `${numPassedTests}`);
    }
  });
}

/** Counts up over all graphs of a scenario, so that ids and contents are the same with each checkpointer. */
const counter = () => {
  let n = 0;
  return (prefix) => `${prefix}${(n += 1)}`;
};

/** A chat whose model answers "1!", "2!" and so on. */
function chat(checkpointer, answer = undefined) {
  const model = new FakeListChatModel({ responses: Array.from({ length: 50 }, (_, n) => `${n + 1}!`) });
  const ask = async ({ messages }) => {
    const { content } = answer ? { content: await answer(messages) } : await model.invoke(messages);
    return { messages: [new AIMessage({ content, id: `a${messages.length}` })] };
  };
  return new StateGraph(MessagesAnnotation).addNode("ask", ask).addEdge(START, "ask").addEdge("ask", END).compile({ checkpointer });
}

const say = (content) => ({ messages: [new HumanMessage({ content, id: `h-${content}` })] });
const on = (thread_id, more = {}) => ({ configurable: { thread_id, ...more } });
const contents = ({ values }) => (values.messages ?? []).map(({ content }) => content);

async function all(generator) {
  const found = [];
  for await (const one of generator) found.push(one);
  return found;
}

/** A thread's history without its ids: for each checkpoint its parent's place in it. */
async function history(graph, config) {
  const states = await all(graph.getStateHistory(config));
  const ids = states.map((state) => state.config.configurable.checkpoint_id);
  return states.map(({ values, next, metadata, parentConfig, tasks }) => ({
    values: JSON.parse(JSON.stringify(values)), next, source: metadata.source, step: metadata.step,
    parent: parentConfig ? ids.indexOf(parentConfig.configurable.checkpoint_id) : undefined,
    tasks: tasks.map(({ name, interrupts, error }) => ({ name, interrupts: interrupts.map(({ value }) => value), error })),
  }));
}

/** Runs a scenario with LangGraph's MemorySaver and with ours on each store: they must show the same. */
function sideBySide(what, scenario) {
  for (const [name, place] of Object.entries(places)) {
    test(`${name}: ${what}, as MemorySaver`, async () => {
      const expected = await scenario(new MemorySaver());
      const url = await place();
      const saver = ChatMemorySaver.fromUrl(url);
      assert.deepEqual(await scenario(saver), expected);
      await saver.close();
    });
  }
}

sideBySide("a chat over turns", async (saver) => {
  const graph = chat(saver);
  for (const n of [1, 2, 3, 4, 5]) await graph.invoke(say(`${n}?`), on("t"));
  await graph.invoke(say("other?"), on("u"));
  const shown = [await history(graph, on("t")), await history(graph, on("u"))];
  const listed = await all(saver.list(on("t"), { filter: { source: "input" }, limit: 3 }));
  shown.push(listed.map(({ checkpoint, metadata }) => [checkpoint.channel_versions, checkpoint.versions_seen, metadata]));
  await saver.deleteThread("t");
  return [...shown, await history(graph, on("t")), contents(await graph.getState(on("u")))];
});

for (const durability of ["sync", "async", "exit"]) {
  sideBySide(`a chat with the durability ${durability}`, async (saver) => {
    const graph = chat(saver);
    for (const n of [1, 2, 3]) await graph.invoke(say(`${n}?`), { ...on("t"), durability });
    return history(graph, on("t"));
  });
}

sideBySide("an interrupt and its answer", async (saver) => {
  const State = Annotation.Root({ log: Annotation({ reducer: (a, b) => a.concat(b), default: () => [] }) });
  const graph = new StateGraph(State)
    .addNode("first", () => ({ log: ["first"] }))
    .addNode("confirm", () => ({ log: [`confirmed: ${interrupt("sure?")}, ${interrupt("really?")}`] }))
    .addNode("beside", () => ({ log: ["beside"] }))
    .addEdge(START, "first").addEdge("first", "confirm").addEdge("first", "beside").addEdge("confirm", END).addEdge("beside", END)
    .compile({ checkpointer: saver });
  const shown = [];
  await graph.invoke({ log: ["start"] }, on("t"));
  shown.push(await history(graph, on("t")));
  await graph.invoke(new Command({ resume: "yes" }), on("t"));
  shown.push(await history(graph, on("t")));
  await graph.invoke(new Command({ resume: "of course" }), on("t"));
  shown.push(await history(graph, on("t")));
  return shown;
});

sideBySide("time travel: forks, updates and copies", async (saver) => {
  const graph = chat(saver, async (messages) => `${messages.at(-1).content}!`);
  for (const n of [1, 2, 3]) await graph.invoke(say(`${n}?`), on("t"));
  const states = await all(graph.getStateHistory(on("t")));
  const after = (n) => states.find((state) => state.next.length === 0 && state.values.messages.length === 2 * n);
  const shown = [];
  // Another second turn.
  await graph.invoke(say("second again?"), after(1).config);
  shown.push(contents(await graph.getState(on("t"))));
  await graph.invoke(say("and on?"), on("t"));
  // An update of an earlier checkpoint, from which a run continues.
  const updated = await graph.updateState(after(2).config, say("edited?"), "ask");
  shown.push(contents(await graph.getState(updated)));
  await graph.invoke(say("after the edit?"), updated);
  // A checkpoint runs again.
  const asked = states.find((state) => state.next[0] === "ask");
  await graph.invoke(null, asked.config);
  shown.push(contents(await graph.getState(on("t"))));
  // Copies: of a later checkpoint, and of the thread's first.
  shown.push(contents(await graph.getState(await graph.updateState(after(2).config, null, "__copy__"))));
  await graph.updateState(states.at(-1).config, null, "__copy__");
  shown.push(await history(graph, on("t")));
  return shown;
});

sideBySide("subgraphs, also in time travel", async (saver) => {
  const State = Annotation.Root({ log: Annotation({ reducer: (a, b) => a.concat(b), default: () => [] }) });
  const shown = [];
  for (const keeps of [undefined, true]) {
    const child = new StateGraph(State)
      .addNode("inner", ({ log }) => ({ log: [`inner after ${log.length}`] }))
      .addNode("asks", () => ({ log: [`child: ${interrupt("child?")}`] }))
      .addEdge(START, "inner").addEdge("inner", "asks").addEdge("asks", END)
      .compile({ checkpointer: keeps });
    const graph = new StateGraph(State)
      .addNode("child", child).addNode("last", () => ({ log: ["last"] }))
      .addEdge(START, "child").addEdge("child", "last").addEdge("last", END)
      .compile({ checkpointer: saver });
    const thread = on(`t-${keeps}`);
    for (const turn of ["1", "2"]) {
      await graph.invoke({ log: [turn] }, thread);
      const { tasks } = await graph.getState(thread, { subgraphs: true });
      shown.push(tasks.map(({ name, state }) => [name, state?.values, state?.next]));
      await graph.invoke(new Command({ resume: `yes ${turn}` }), thread);
    }
    const states = await all(graph.getStateHistory(thread));
    const before = states.find((state) => state.next[0] === "child");
    await graph.invoke(null, before.config);
    await graph.invoke(new Command({ resume: "replayed" }), thread);
    const first = states.findLast((state) => state.next[0] === "child");
    await graph.invoke(null, first.config);
    await graph.invoke(new Command({ resume: "replayed first" }), thread);
    shown.push(await history(graph, thread));
  }
  return shown;
});

sideBySide("tasks that run in parallel, sends and failures", async (saver) => {
  const State = Annotation.Root({ log: Annotation({ reducer: (a, b) => a.concat(b), default: () => [] }) });
  let fails = true;
  const graph = new StateGraph(State)
    .addNode("fan", () => ({ log: ["fan"] }))
    .addNode("work", ({ n }) => {
      if (n === 2 && fails) throw new Error("two fails");
      return { log: [`work ${n}`] };
    })
    .addConditionalEdges("fan", () => [1, 2, 3].map((n) => new Send("work", { n })), ["work"])
    .addEdge(START, "fan").addEdge("work", END)
    .compile({ checkpointer: saver });
  const shown = [await graph.invoke({ log: [] }, on("t")).catch(({ message }) => message)];
  // Those that were done are not done again.
  shown.push(await history(graph, on("t")));
  fails = false;
  shown.push(await graph.invoke(null, on("t")), await history(graph, on("t")));
  return shown;
});

sideBySide("a state whose messages are deltas, also forked", async (saver) => {
  const next = counter();
  const shown = [];
  for (const durability of ["async", "exit"]) {
    const graph = new StateGraph(new StateSchema({ messages: MessagesDeltaValue }))
      .addNode("ask", ({ messages }) => ({ messages: [new AIMessage({ content: `${messages.length}!`, id: next("d") })] }))
      .addEdge(START, "ask").addEdge("ask", END).compile({ checkpointer: saver });
    const thread = { ...on(durability), durability };
    for (const n of [1, 2, 3, 4]) await graph.invoke(say(`${n}?`), thread);
    shown.push(contents(await graph.getState(thread)));
    const states = await all(graph.getStateHistory(thread));
    await graph.invoke(say("forked?"), { ...states.at(-2).config, durability });
    await graph.updateState(states[2].config, say("edited?"), "ask");
    await graph.invoke(say("and on?"), thread);
    shown.push(await history(graph, thread));
  }
  return shown;
});

for (const [name, place] of Object.entries(places)) {
  test(`${name}: of two runs on one thread, one fails, and nothing of it is visible`, async () => {
    const url = await place();
    const savers = [ChatMemorySaver.fromUrl(url), name === "memory" ? undefined : apart(url)];
    savers[1] ??= savers[0];
    await chat(savers[0]).invoke(say("1?"), on("t"));
    // Both have loaded the thread before one of them puts a checkpoint.
    const loaded = deferred();
    let waiting = 0;
    const graphs = savers.map((saver) => {
      const own = Object.create(saver, {
        getTuple: { value: async (config) => {
          const tuple = await saver.getTuple(config);
          if ((waiting += 1) === 2) loaded.resolve();
          await loaded.promise;
          return tuple;
        } },
        ...Object.fromEntries(["put", "putWrites", "list"].map((method) => [method, { value: (...args) => saver[method](...args) }])),
      });
      return chat(own, async (messages) => `${messages.at(-1).content}!`);
    });
    const runs = await Promise.allSettled([graphs[0].invoke(say("a?"), on("t")), graphs[1].invoke(say("b?"), on("t"))]);
    const failed = runs.filter(({ status }) => status === "rejected");
    assert.equal(failed.length, 1, inspect(runs));
    assert.equal(failed[0].reason.code, "conflict");
    assert.match(failed[0].reason.message, /^checkpoint not stored: another run has put .* run it again/);
    const winner = runs[0].status === "fulfilled" ? "a" : "b";
    const graph = chat(name === "memory" ? savers[0] : apart(url, 148));
    const states = await all(graph.getStateHistory(on("t")));
    assert.deepEqual(contents(states[0]), ["1?", "1!", `${winner}?`, `${winner}?!`]);
    assert.equal(states.length, 6);
    assert.ok(!JSON.stringify(states).includes(winner === "a" ? "b?" : "a?"));
    // The run that failed runs again.
    await graph.invoke(say("again?"), on("t"));
    assert.equal(contents(await graph.getState(on("t"))).length, 6);
  });

  test(`${name}: a first turn is put once, whoever starts it`, async () => {
    const url = await place();
    const first = ChatMemorySaver.fromUrl(url);
    const second = name === "memory" ? first : apart(url);
    const meta = { source: "input", step: -1, parents: {} };
    await Promise.all([first.getTuple(on("t")), second.getTuple(on("t"))]);
    await first.put(on("t"), emptyCheckpoint(), meta, {});
    await assert.rejects(second.put(on("t"), emptyCheckpoint(), meta, {}), { code: "conflict", message: /which was empty when this one read it/ });
    await first.deleteThread("t");
    assert.equal(await second.getTuple(on("t")), undefined);
    await second.put(on("t"), emptyCheckpoint(), meta, {});
  });

  test(`${name}: with onConflict: "fork" the later run becomes a branch`, async () => {
    const saver = ChatMemorySaver.fromUrl(await place(), { onConflict: "fork" });
    const head = await saver.put(on("t"), emptyCheckpoint(), { source: "input", step: -1, parents: {} }, {});
    const meta = { source: "loop", step: 0, parents: {} };
    await saver.put(head, emptyCheckpoint(), meta, {});
    await saver.put(head, emptyCheckpoint(), meta, {});
    const tuples = await all(saver.list(on("t")));
    assert.deepEqual(tuples.map(({ parentConfig }) => parentConfig?.configurable.checkpoint_id), [...Array(2).fill(head.configurable.checkpoint_id), undefined]);
  });

  test(`${name}: looking at older checkpoints does not make a run's conflict a branch`, async () => {
    const saver = ChatMemorySaver.fromUrl(await place());
    const meta = { source: "loop", step: 0, parents: {} };
    const head = await saver.put(on("t"), emptyCheckpoint(), meta, {});
    const loaded = await saver.getTuple(on("t"));
    await saver.put(head, emptyCheckpoint(), meta, {});
    // By now it is not the newest, and others load it so.
    const older = await saver.getTuple(head);
    await all(saver.list(on("t")));
    await assert.rejects(saver.put(loaded.config, emptyCheckpoint(), meta, {}), { code: "conflict" });
    await saver.put(older.config, emptyCheckpoint(), meta, {});
    assert.deepEqual(JSON.parse(JSON.stringify(older.config)), loaded.config);
  });

  test(`${name}: a message of 1.5 MB, a state of many channels, binary data`, async () => {
    const url = await place();
    const saver = ChatMemorySaver.fromUrl(url);
    const noise = (bytes, seed) => Array.from({ length: bytes / 8 }, (_, n) => ((n * 2654435761 + seed * 40503) >>> 0).toString(16).padStart(8, "0")).join("");
    const long = noise(1_500_000, 1);
    const graph = chat(saver);
    await graph.invoke(say("1?"), on("t"));
    await graph.invoke(say(long), on("t"));
    await graph.invoke(say("3?"), on("t"));
    const values = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`channel ${n}/ü#`, noise(2_000, n)]));
    values.__proto = new Uint8Array([0, 255, 7]);
    values.nothing = undefined;
    const versions = Object.fromEntries(Object.keys(values).map((name) => [name, 2 ** 53 - 1]));
    const checkpoint = { ...emptyCheckpoint(), channel_values: values, channel_versions: versions };
    const meta = { source: "loop", step: 0, parents: {}, run_id: "r1" };
    const stored = await saver.put(on("many", { checkpoint_ns: "a/b#c|%:d" }), checkpoint, meta, versions);
    await saver.putWrites(stored, [["big", long], ["bytes", new Uint8Array([1, 2])]], "task");
    await saver.flush();
    const again = name === "memory" ? saver : apart(url);
    assert.equal(contents(await chat(again).getState(on("t")))[2], long);
    const tuple = await again.getTuple(stored);
    assert.deepEqual(tuple.checkpoint, checkpoint);
    assert.deepEqual(tuple.metadata, meta);
    assert.deepEqual(tuple.pendingWrites.map(([, channel, value]) => [channel, value.length]), [["big", 1_500_000], ["bytes", 2]]);
    assert.ok(tuple.pendingWrites[1][2] instanceof Uint8Array);
    assert.deepEqual((await all(again.list({}, { filter: { run_id: "r1" } }))).map(({ config }) => config), [stored]);
  });

  test(`${name}: writes come in the order in which a run applies them, the first of each place and the last of a special kind`, async () => {
    const url = await place();
    const saver = ChatMemorySaver.fromUrl(url);
    const config = await saver.put(on("t"), emptyCheckpoint(), { source: "loop", step: 0, parents: {} }, {});
    await saver.putWrites(config, [["c", "z1"], ["c", "z2"]], "z");
    await saver.putWrites(config, [["c", "path"]], "a", "~1");
    await saver.putWrites(config, [["c", "astral"]], "\u{1f980}");
    await saver.putWrites(config, [["c", "private"]], "\uffee");
    await saver.putWrites(config, [["c", "not again"]], "z");
    for (const value of ["e1", "e2"]) await saver.putWrites(config, [["__error__", value]], "z");
    await saver.putWrites(config, [["constructor", "own"]], "y");
    const values = async (from) => (await from.getTuple(config)).pendingWrites.map(([, , value]) => value);
    const expected = ["own", "e2", "z1", "z2", "private", "astral", "path"];
    assert.deepEqual(await values(saver), expected);
    if (name !== "memory") assert.deepEqual(await values(apart(url)), expected);
  });

  test(`${name}: runs are deleted, threads copied and pruned`, async () => {
    const saver = ChatMemorySaver.fromUrl(await place());
    const graph = chat(saver);
    for (const run_id of ["r1", "r2", "r3"]) await graph.invoke(say(`${run_id}?`), { ...on("t"), metadata: { run_id } });
    await saver.copyThread("t", "copy");
    assert.deepEqual(await history(graph, on("copy")), await history(graph, on("t")));
    await assert.rejects(saver.copyThread("t", "copy"), { code: "conflict" });
    await saver.deleteRuns("t", ["r1", "r2"]);
    assert.equal((await history(graph, on("t"))).length, 3);
    assert.equal(contents(await graph.getState(on("t"))).length, 6);
    await saver.prune("copy");
    assert.equal((await history(graph, on("copy"))).length, 1);
    await graph.invoke(say("on?"), on("copy"));
    assert.equal(contents(await graph.getState(on("copy"))).length, 8);
  });
}

function deferred() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}

test("a serializer that takes its time: a checkpoint is put after the writes before it", async () => {
  const order = [];
  class Slow extends JsonPlusSerializer {
    async dumpsTyped(value) {
      if (value === "slow") await new Promise((done) => setTimeout(done, 50));
      order.push(value);
      return super.dumpsTyped(value);
    }
  }
  const saver = ChatMemorySaver.fromUrl("memory:", { serde: new Slow() });
  const meta = { source: "loop", step: 0, parents: {} };
  const config = await saver.put(on("t"), emptyCheckpoint(), meta, {});
  const written = saver.putWrites(config, [["c", "slow"]], "task");
  const next = await saver.put(config, emptyCheckpoint(), meta, {});
  assert.ok(order.includes("slow"), "the put waited");
  await written;
  assert.deepEqual((await saver.getTuple(config)).pendingWrites, [["task", "c", "slow"]]);
  assert.deepEqual((await saver.getTuple(next)).pendingWrites, []);
  const failing = ChatMemorySaver.fromUrl("memory:", { serde: { dumpsTyped: async () => { throw new Error("no"); }, loadsTyped: async () => undefined } });
  await assert.rejects(failing.put(on("t"), emptyCheckpoint(), meta, {}), /^Error: no$/);
  await assert.rejects(failing.putWrites(config, [["c", 1]], "task"), /^Error: no$/);
});

test("a serializer that encrypts: nothing of a thread is stored as it is", async () => {
  const hidden = (bytes) => Buffer.from(bytes.map((byte) => byte ^ 0x5a));
  class Encrypting extends JsonPlusSerializer {
    async dumpsTyped(value) {
      const [kind, bytes] = await super.dumpsTyped(value);
      return [`${kind}+xor`, hidden(bytes)];
    }
    async loadsTyped(kind, bytes) {
      return super.loadsTyped(kind.replace("+xor", ""), hidden(bytes));
    }
  }
  const url = sqliteUrl();
  await chat(ChatMemorySaver.fromUrl(url, { serde: new Encrypting() })).invoke(say("1?"), on("t"));
  assert.deepEqual(contents(await chat(ChatMemorySaver.fromUrl(url, { serde: new Encrypting(), writeDelay: 1 })).getState(on("t"))), ["1?", "1!"]);
  await assert.rejects(apart(url).getTuple(on("t")), /Unknown serialization type: json\+xor/);
});

const writer = (end, delay = 60_000) => `
  import { ChatMemorySaver } from "chat-memory/langgraph";
  import { emptyCheckpoint } from "@langchain/langgraph-checkpoint";
  const saver = ChatMemorySaver.fromUrl(process.env.STORE, { writeDelay: ${delay} });
  const config = await saver.put({ configurable: { thread_id: "t" } }, emptyCheckpoint(), { source: "loop", step: 0, parents: {} }, {});
  await saver.putWrites(config, [["c", "kept"]], "task");
  ${end}`;

test("writes that wait are stored when the process ends by itself, or at close; a killed process loses them", async () => {
  for (const [end, kept] of [["", 1], ["await saver.close(); process.exit(0);", 1], ["process.kill(process.pid, 'SIGKILL');", 0]]) {
    const STORE = sqliteUrl();
    const { code, err } = await script(writer(end), { env: { STORE } });
    assert.equal(code, kept ? 0 : null, err);
    const { pendingWrites } = await ChatMemorySaver.fromUrl(STORE).getTuple(on("t"));
    assert.equal(pendingWrites.length, kept, end);
  }
  const STORE = sqliteUrl();
  await script(writer("process.kill(process.pid, 'SIGKILL');", 0), { env: { STORE } });
  assert.equal((await ChatMemorySaver.fromUrl(STORE).getTuple(on("t"))).pendingWrites.length, 1, "with no delay, none wait");
});

test("both module systems share what is open", async () => {
  const { code, out, err } = await script(`
    import { createRequire } from "node:module";
    import { ChatMemorySaver } from "chat-memory/langgraph";
    import { emptyCheckpoint } from "@langchain/langgraph-checkpoint";
    const Other = createRequire(import.meta.url)("chat-memory/langgraph").ChatMemorySaver;
    const [one, two] = [ChatMemorySaver, Other].map((Saver) => Saver.fromUrl(process.env.STORE, { writeDelay: 60000 }));
    const config = await one.put({ configurable: { thread_id: "t" } }, emptyCheckpoint(), { source: "loop", step: 0, parents: {} }, {});
    await one.putWrites(config, [["c", "waits"]], "task");
    console.log((await two.getTuple(config)).pendingWrites.length);`, { env: { STORE: sqliteUrl() } });
  assert.deepEqual([code, out], [0, "1\n"], err);
});

test("options, and what is wrong", async () => {
  const bad = (says, ...args) => assert.throws(() => new ChatMemorySaver(...args), (error) => error.code === "invalid" && says.test(error.message));
  bad(/no option "writedelay"; write writeDelay/, "memory:", { writedelay: 1 });
  bad(/writeDelay must be a whole number of milliseconds/, "memory:", { writeDelay: 0.5 });
  bad(/writeDelay/, "memory:", { writeDelay: -1 });
  bad(/onConflict must be/, "memory:", { onConflict: "retry" });
  bad(/unknown store|expected sqlite:PATH/, "mongo://x");
  bad(/takes a store URL/, 7);
  bad(/takes its options as an object/, "memory:", null);
  bad(/only a dynamodb:\/\/ store takes credentials/, "memory:", { credentials });
  bad(/incomplete credentials/, "dynamodb://chats", { credentials: { accessKeyId: "x" } });
  bad(/invalid region "EU WEST"/, { tableName: "chats", region: "EU WEST" });
  const saver = ChatMemorySaver.fromUrl("memory:");
  const meta = { source: "loop", step: 0, parents: {} };
  await assert.rejects(saver.put({}, emptyCheckpoint(), meta, {}), { code: "invalid", message: 'checkpoint not stored: the config has no thread_id; pass { configurable: { thread_id: "…" } }' });
  await assert.rejects(saver.putWrites(on("t"), [], "task"), { code: "invalid", message: /^writes not stored: the config has no checkpoint_id/ });
  await assert.rejects(saver.getTuple(on("ns#t")), { code: "invalid", message: /^a thread id must not start with "ns#"/ });
  await assert.rejects(saver.deleteThread(""), { code: "invalid", message: "a thread id must not be empty" });
  await assert.rejects(saver.getTuple(on(7)), { code: "invalid", message: /^invalid thread_id/ });
  await assert.rejects(saver.getTuple(on("t", { checkpoint_id: "a/b" })), { code: "invalid", message: /^invalid checkpoint id/ });
  assert.equal(await saver.getTuple({}), undefined);
  assert.equal(JSON.stringify({ saver }), '{"saver":"[ChatMemorySaver]"}');
});

test("a clock that went back is an error, not a lost turn", async () => {
  const saver = ChatMemorySaver.fromUrl("memory:");
  const meta = { source: "loop", step: 0, parents: {} };
  const earlier = emptyCheckpoint();
  const config = await saver.put(on("t"), emptyCheckpoint(), meta, {});
  await assert.rejects(saver.put(config, earlier, meta, {}), { code: "conflict", message: /is not greater than .* set the clock/ });
});

test("what older versions of LangGraph sent to tasks is found", async () => {
  const saver = ChatMemorySaver.fromUrl("memory:");
  const meta = { source: "loop", step: 0, parents: {} };
  const old = () => ({ ...emptyCheckpoint(), v: 3, channel_versions: { a: 4, b: 7 } });
  const parent = await saver.put(on("t"), old(), meta, {});
  await saver.putWrites(parent, [[TASKS, { node: "n", args: 1 }]], "task");
  const config = await saver.put(parent, old(), meta, {});
  const { checkpoint } = await saver.getTuple(config);
  assert.deepEqual([checkpoint.channel_values[TASKS], checkpoint.channel_versions[TASKS]], [[{ node: "n", args: 1 }], 7]);
});

test("DynamoDB: credentials, also from a function, and a table without a sort key", async () => {
  const url = await turnsUrl();
  let asked = 0;
  const saver = ChatMemorySaver.fromUrl(url, { credentials: async () => {
    asked += 1;
    return { ...credentials, expiration: new Date(Date.now() + 1000) };
  } });
  const graph = chat(saver);
  for (const n of [1, 2, 3]) await graph.invoke(say(`${n}?`), on("t"));
  assert.equal(contents(await chat(ChatMemorySaver.fromUrl(url, { credentials })).getState(on("t"))).length, 6);
  assert.ok(asked > 3, "they expire soon, so they are asked for each time");
  assert.doesNotMatch(inspect(saver, { depth: 9, showHidden: true }), /secretAccessKey/);
  const refused = ChatMemorySaver.fromUrl(url, { credentials: { ...credentials, accessKeyId: "no-such-key" } });
  await assert.rejects(refused.getTuple(on("t")), { code: "access_denied" });
  const flat = new ChatMemorySaver({ tableName: await table("id"), region, endpoint }, { credentials });
  await assert.rejects(flat.getTuple(on("t")), ({ code, message }) => ["invalid", "unsupported"].includes(code) && /sort key/.test(message));
  await assert.rejects(new ChatMemorySaver({ tableName: "none", region, endpoint }, { credentials }).getTuple(on("t")), { code: "not_found" });
});

test("DynamoDB: a turn is three small items, however long the thread is", async () => {
  const TableName = await table("session_id", "sk");
  const saver = new ChatMemorySaver({ tableName: TableName, region, endpoint });
  const graph = chat(saver);
  const turns = 40;
  for (let n = 0; n < turns; n += 1) await graph.invoke(say(`${n}: ${"?".repeat(290)}`), on("t"));
  await saver.flush();
  const { Items } = await dynamodb("Scan", { TableName });
  const sizes = Items.map((item) => Object.values(item).reduce((sum, value) => sum + (value.S ?? value.B ?? value.N ?? "").length, 0));
  // Besides, a few bases, so that a reader needs not read them all.
  assert.ok(Items.length >= 3 * turns && Items.length < 3.2 * turns, `${Items.length} items`);
  assert.ok(sizes.filter((bytes) => bytes > 1_000).length < 0.2 * turns, `${sizes}`);
});
