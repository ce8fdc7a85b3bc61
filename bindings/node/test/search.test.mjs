// Search, forks, and the deletion of an owner.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatStore } from "chat-memory";
import { is, stores, turnsUrl } from "./support.mjs";

process.env.AWS_ACCESS_KEY_ID ??= "test";
process.env.AWS_SECRET_ACCESS_KEY ??= "test";

const user = (content) => ({ role: "user", content });

/** The hits of a search, each as its session, its record and its text. */
async function found(search) {
  const hits = [];
  for await (const { session, message, snippet } of search) hits.push([session.id, message?.seq ?? null, snippet.text]);
  return hits;
}

for (const [name, url] of Object.entries(stores)) {
  test(`${name}: a search finds messages and titles, each once, in any number of pages`, async () => {
    const store = new ChatStore(await url());
    await store.append("trip", [user("Where to?"), { role: "assistant", content: "To Lisbon, in May." }], { owner: "ada", title: "A trip" });
    await store.append("rome", [user("Not to Lisbon")], { owner: "bob" });
    const search = store.search("LISB may");
    const hits = [];
    for await (const hit of search) hits.push(hit);
    assert.equal(hits.length, 1);
    const [{ session, message, snippet }] = hits;
    assert.deepEqual([session.id, session.owner, session.title], ["trip", "ada", "A trip"]);
    assert.deepEqual({ ...message, at: message.at > 0 }, { seq: 0, index: 1, role: "assistant", at: true });
    assert.equal(snippet.text, "To Lisbon, in May.");
    assert.deepEqual(snippet.parts.filter(({ match }) => match).map(({ text }) => text), ["Lisb", "May"]);
    assert.equal(snippet.parts.map(({ text }) => text).join(""), snippet.text);
    assert.deepEqual([search.indexed, search.sessions, search.warnings], [false, 2, []]);
    if (name !== "memory") assert.ok(search.cost.requests > 0);

    assert.deepEqual(await found(store.search("lisbon", { owner: "bob" })), [["rome", 0, "Not to Lisbon"]]);
    assert.deepEqual(await found(store.search("lisbon", { session: "trip" })), [["trip", 0, "To Lisbon, in May."]]);
    assert.deepEqual(await found(store.search("trip", { titles: true })), [["trip", null, "A trip"]]);
    assert.deepEqual(await found(store.search("lisbon", { until: new Date(Date.now() - 3600_000) })), []);
    assert.equal((await found(store.search("lisbon", { since: Date.now() - 3600_000 }))).length, 2);
    assert.deepEqual(await found(store.search("nowhere")), []);

    // More hits than a page has.
    for (let n = 0; n < 25; n += 1) await store.append("long", Array.from({ length: 10 }, (_, of) => user(`needle ${n * 10 + of}`)));
    const numbers = (await found(store.search("needle"))).map(([, , text]) => Number(text.split(" ")[1]));
    assert.deepEqual(numbers, Array.from({ length: 250 }, (_, n) => 249 - n));
    for (const limit of [1, 100, 150, 250, 1000]) assert.equal((await found(store.search("needle", { limit }))).length, Math.min(limit, 250));
    const few = store.search("needle");
    await few.next();
    await few.return();
    assert.deepEqual(await few.next(), { value: undefined, done: true });
  });

  test(`${name}: a redacted message is nowhere, and its neighbours stay`, async () => {
    const store = new ChatStore(await url());
    const { seq } = await store.append("card", [user("My card is 4111 1111"), { role: "assistant", content: "Thank you." }], { owner: "ada" });
    const listed = await store.session("card");
    assert.deepEqual([listed.records, listed.firstWords], [1, name === "dynamodb" ? null : "My card is 4111 1111"]);
    const contents = async () => (await store.sessions({ owner: "ada", contents: true })).sessions.find(({ id }) => id === "card");
    const { records, recordsExact, firstWords } = await contents();
    assert.deepEqual([records, recordsExact, firstWords], [1, true, "My card is 4111 1111"]);

    const redacted = await store.redact("card", seq, { message: 0, replacement: "[a card]" });
    assert.deepEqual([redacted.changed, redacted.entries], [true, 1]);
    const [question, answer] = (await store.load("card")).messages;
    assert.deepEqual([question.role, question.content, answer.content], ["user", "[a card]", "Thank you."]);
    for await (const hit of store.search("4111")) assert.fail(JSON.stringify(hit));
    assert.equal((await contents()).firstWords, "[a card]");
    assert.equal((await store.redact("card", seq, { message: 0, replacement: "[a card]" })).changed, false);
    assert.equal((await store.redact("card", seq)).changed, true);

    await assert.rejects(store.redact("card", 9), is("not_found", /record 9/));
    await assert.rejects(store.redact("card", seq, { message: 2 }), is("invalid", /2 messages/));
    await assert.rejects(store.redact("card", seq, { replacement: "" }), is("invalid", /replacement/));
    await assert.rejects(store.redact("card", "0"), is("invalid", /seq/));
  });

  test(`${name}: a fork has what its session had, says where it comes from, and is there once`, async () => {
    const store = new ChatStore(await url());
    for (const text of ["Where to?", "To Lisbon.", "How?"]) await store.append("trip", [user(text)], { owner: "ada", title: "A trip" });
    const plan = await store.planFork("trip", { to: "rome", at: 1 });
    assert.deepEqual([plan.from, plan.seq, plan.records, plan.entries, plan.writeUnits !== null], ["trip", 1, 2, 2, name === "dynamodb"]);
    assert.deepEqual((await store.load("rome")).messages, []);

    const forked = await store.fork("trip", { to: "rome", at: 1, title: "Rome instead" });
    assert.deepEqual([forked.session, forked.from, forked.seq, forked.records, forked.entries, forked.repeated], ["rome", "trip", 1, 2, 2, false]);
    await store.append("rome", [user("To Rome.")], { expect: forked.position });
    assert.deepEqual((await store.load("rome")).messages.map(({ content }) => content), ["Where to?", "To Lisbon.", "To Rome."]);
    assert.equal((await store.load("trip")).messages.length, 3);
    const info = await store.session("rome");
    assert.deepEqual([info.owner, info.title, info.forkedFrom], ["ada", "Rome instead", { session: "trip", seq: 1 }]);
    assert.equal((await store.session("trip")).forkedFrom, null);

    await assert.rejects(store.fork("trip", { to: "rome" }), (error) => is("conflict", /"rome"/)(error) && error.actual !== undefined);
    await assert.rejects(store.planFork("trip", { to: "rome" }), is("conflict", /"rome"/));
    await assert.rejects(store.fork("trip", { at: 9 }), is("invalid", /record 9/));
    await assert.rejects(store.fork("empty"), is("invalid", /"empty".*no messages/));

    const once = await store.fork("trip", { key: "a", owner: "bob" });
    const again = await store.fork("trip", { key: "a", owner: "bob" });
    assert.deepEqual([again.session, again.repeated, again.position], [once.session, true, once.position]);
    assert.notEqual((await store.fork("trip")).session, (await store.fork("trip")).session);
    assert.deepEqual((await store.sessions({ owner: "bob" })).sessions.map(({ id }) => id), [once.session]);
  });

  test(`${name}: all sessions of an owner are deleted, and only those`, async () => {
    const store = new ChatStore(await url());
    await Promise.all(Array.from({ length: 130 }, (_, n) => store.append(`s${n}`, [user("x")], { owner: "ada" })));
    await store.append("other", [user("x")], { owner: "bob" });
    const seen = [];
    const report = await store.deleteOwner("ada", { progress: ({ session, records, error }) => seen.push([session, records, error]) });
    assert.deepEqual([report.sessions, report.records, report.failed], [130, 130, []]);
    if (name !== "memory") assert.ok(report.cost.requests > 130);
    assert.deepEqual(seen.sort(), Array.from({ length: 130 }, (_, n) => [`s${n}`, 1, null]).sort());
    assert.deepEqual((await store.sessions({ owner: "ada" })).sessions, []);
    assert.equal((await store.load("other")).messages.length, 1);
    assert.equal((await store.deleteOwner("ada")).sessions, 0);

    await store.append("s", [user("x")], { owner: "ada" });
    const stop = () => {
      throw new Error("enough");
    };
    await assert.rejects(store.deleteOwner("ada", { progress: stop }), /enough/);
  });
}

test("a session that cannot be deleted is reported, with its error", async () => {
  const url = await turnsUrl();
  await new ChatStore(url).append("s", [user("x")], { owner: "ada" });
  const store = new ChatStore(`${url}&read_only=true`);
  const seen = [];
  const { sessions, failed } = await store.deleteOwner("ada", { progress: (done) => seen.push(done) });
  assert.equal(sessions, 0);
  assert.deepEqual(failed.map(({ session, records, error }) => [session, records, error.code]), [["s", 0, "read_only"]]);
  assert.deepEqual(seen, failed);
});

test("what cannot be searched, forked or deleted names the parameter", async () => {
  const store = new ChatStore("memory:");
  const next = (words, options) => store.search(words, options).next();
  await assert.rejects(next("?!"), is("invalid", /nothing to search for in "\?!"/));
  await assert.rejects(next(""), is("invalid", /give words, or a time/));
  await assert.rejects(next(7), is("invalid", /^invalid words: integer `7`, expected a string$/));
  await assert.rejects(next("a", { owner: "ada", session: "trip" }), is("invalid", /session cannot be combined with owner/));
  await assert.rejects(next("a", { limit: 0 }), is("invalid", /invalid limit 0: expected at least 1/));
  await assert.rejects(next("a", { limit: -1 }), is("invalid", /^invalid limit: integer `-1`, expected a whole number$/));
  assert.throws(() => store.search("a", { since: "2026-05-01" }), is("invalid", /^invalid since: expected a Date/));
  assert.throws(() => store.search("a", { until: new Date("never") }), is("invalid", /^invalid until: expected a Date/));
  assert.throws(() => store.search("a", { title: true }), is("invalid", /search has no option "title"; it takes owner, session/));
  await assert.rejects(store.fork("a", { seq: 1 }), is("invalid", /fork has no option "seq"; it takes to, at/));
  await assert.rejects(store.fork("a", { at: "1" }), is("invalid", /^invalid at: string "1", expected a whole number$/));
  await assert.rejects(store.fork("a", { to: "" }), is("invalid", /session id/));
  await assert.rejects(store.deleteOwner(""), is("invalid", /owner/));
  await assert.rejects(store.messages("a", { newestFirst: "yes" }).next(), is("invalid", /^invalid newestFirst: string "yes", expected a boolean$/));
});
