// A network that loses requests and responses: what was acknowledged is stored, once, and turns stay complete.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { AIMessage, HumanMessage } from "@langchain/core/messages";
import { DynamoDBChatMessageHistory } from "chat-memory/langchain";
import { config, needed, peer, table } from "./support.mjs";

const TURNS = 40;

/** The fault proxy, and its URL. */
let proxy;
let url;

before(async () => {
  const faults = ["--drop-requests", "0.1", "--drop-answers", "0.2", "--duplicates", "0.1", "--seed", "7", "--only", "UpdateItem", "--only", "PutItem", "--only", "TransactWriteItems"];
  proxy = spawn(needed("CHAT_MEMORY_FAULT_PROXY"), faults, { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(proxy.stdout, "data");
  url = String(line).trim();
});

after(() => proxy.kill());

/**
 * Two concurrent writers behind the proxy; returns what is stored afterwards, read directly. The caller decides what happens when a save
 * fails.
 */
async function converse(make, failed) {
  const write = async (who, history) => {
    for (let n = 0; n < TURNS; n += 1) {
      await history.addMessages([new HumanMessage(`${who}/${n}?`), new AIMessage(`${who}/${n}!`)]).catch(failed);
    }
  };
  await Promise.all([write("a", make(url)), write("b", make(url))]);
  return (await make(config().endpoint).getMessages()).map(({ content }) => content);
}

for (const [name, keys, partitionKey] of [["one item a record", ["session_id", "sk"], "session_id"], ["one item a session", ["id"], "id"]]) {
  test(`${name}: each turn once, whole, in its writer's order`, async () => {
    const tableName = await table(...keys);
    // Short, so that the test does not wait for lost responses.
    const times = { requestTimeout: "300ms", deadline: "20s" };
    const contents = await converse((endpoint) => new DynamoDBChatMessageHistory({ tableName, partitionKey, sessionId: "s", config: { ...config(), endpoint }, ...times }));
    assert.equal(contents.length, 4 * TURNS);
    for (const who of ["a", "b"]) {
      const own = contents.filter((text) => text.startsWith(`${who}/`));
      assert.deepEqual(own, Array.from({ length: TURNS }, (_, n) => [`${who}/${n}?`, `${who}/${n}!`]).flat());
    }
    for (let n = 0; n < contents.length; n += 2) assert.equal(contents[n + 1], contents[n].replace("?", "!"), "a turn stays together");
  });
}

test("LangChain.js's own class doubles turns on the same network", async () => {
  const { DynamoDBChatMessageHistory: Theirs } = peer("CHAT_MEMORY_PEER_JS")("@langchain/community/stores/message/dynamodb");
  const tableName = await table("id");
  // It gives up after three attempts; then the next turn follows.
  const goOn = () => undefined;
  const contents = await converse((endpoint) => new Theirs({ tableName, sessionId: "s", config: { ...config(), endpoint } }), goOn);
  assert.ok(new Set(contents).size < contents.length, "were it exact, this comparison would be out of date");
});
