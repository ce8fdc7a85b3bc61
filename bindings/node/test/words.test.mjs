// Errors name what the user gave: a URL's parameter, an option, a field of Flowise's node.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ChatStore, dynamoDBUrl } from "chat-memory";
import { DynamoDBChatMessageHistory } from "chat-memory/langchain";
import { FLOWISE_WORDS, inWords, OPTION_WORDS, OPTIONS, SESSION_WORDS } from "../dist/esm/words.js";
import { config, endpoint, region, root, table } from "./support.mjs";

process.env.AWS_ACCESS_KEY_ID ??= "test";
process.env.AWS_SECRET_ACCESS_KEY ??= "test";

const ALL = { options: OPTION_WORDS, classes: SESSION_WORDS, flowise: FLOWISE_WORDS };

/** The parts of a message that a user without a URL would not understand; quoted text is a value. */
const foreign = (message) => /(store(?:'s)?|dynamodb:\/\/\w*|DynamoDB) URL|\bthe parameter\b|\b[a-z]+_[a-z_]+\b|\w=\S/.exec(message.replace(/"(?:[^"\\]|\\.)*"/g, '""'))?.[0];

/** The texts of the engine's errors that mention a store URL or a parameter of one, with their gaps filled in. */
function engineTexts() {
  const sources = ["chat-memory-core/src/store", "chat-memory-dynamodb/src"].map((name) => join(root, "../../crates", name));
  // What parses URLs, and what only the program calls.
  const elsewhere = /(^|\/)(url(\.rs|\/)|sqlite|admin\/|iam\.rs|names\.rs|sim\/|tests?(\.rs|\/)|testing\.rs|fuzzing\.rs|debug\.rs)/;
  const named = (source) => readdirSync(source, { recursive: true }).filter((name) => name.endsWith(".rs") && !elsewhere.test(name)).map((name) => join(source, name));
  return sources.flatMap(named).flatMap((name) => {
    const [code] = readFileSync(name, "utf8").split("#[cfg(test)]\nmod tests");
    const lines = code.split("\n").filter((line) => !/^\s*\/\//.test(line)).join("\n");
    return [...lines.matchAll(/"((?:[^"\\]|\\[^])*)"/g)]
      .map(([, text]) => text.replace(/\\\n\s*/g, "").replace(/\{\w*:\?\}/g, '"a b"').replace("{setting}", "partition_key").replace(/\{[^}]*\}/g, "x"))
      .filter((text) => text.includes(" ") && /URL\b/.test(text));
  });
}

test("every text of the engine's that speaks of a store URL has an options' and a fields' form", () => {
  const texts = engineTexts();
  assert.ok(texts.length >= 10, `${texts.length} texts were found`);
  for (const text of texts) {
    for (const [who, words] of Object.entries(ALL)) {
      const said = inWords(words, text);
      assert.equal(foreign(said), undefined, `${who}: ${said}`);
    }
    assert.equal(inWords(undefined, text), text, "who gave a URL reads of it");
  }
});

test("each parameter has its name in each user's words, and values stay as they are", () => {
  for (const [parameter, option] of Object.entries(OPTIONS)) {
    const text = `invalid ${parameter} "x": it is not "${parameter}=x in the store URL"; give ${parameter}=y in the store URL`;
    assert.equal(inWords(OPTION_WORDS, text), `invalid ${option} "x": it is not "${parameter}=x in the store URL"; give ${option}: "y"`);
    for (const words of [SESSION_WORDS, FLOWISE_WORDS]) {
      const said = inWords(words, text);
      assert.ok(said.includes(`it is not "${parameter}=x in the store URL"`), said);
      assert.equal(foreign(said), undefined, said);
    }
  }
  const keys = 'the table "chats" has the keys "pk" and "rk"; give partition_key=pk and sort_key=rk in the store URL';
  assert.equal(inWords(OPTION_WORDS, keys), 'the table "chats" has the keys "pk" and "rk"; give partitionKey: "pk" and sortKey: "rk"');
  assert.match(inWords(FLOWISE_WORDS, keys), /; give Partition Key "pk" and sort key "rk" \(this node has no field for the sort key; .*table create/);
  assert.equal(inWords(SESSION_WORDS, "leave layout=turns out of the store URL to go on"), 'leave layout: "turns" out to go on');
  assert.equal(inWords(SESSION_WORDS, "name it with list_attribute=… in the store URL"), "name it with messageAttributeName: …");
  assert.equal(inWords(FLOWISE_WORDS, 'invalid region "x": expected a name'), 'invalid Region "x": expected a name');
  assert.equal(inWords(OPTION_WORDS, "give one in the store URL (?region=eu-west-1), in the environment"), 'give one (region: "eu-west-1"), in the environment');
});

/** An invalid value for each option. */
const WRONG = {
  tableName: "a table", region: "EU WEST", endpoint: "localhost", profile: "", partitionKey: "", sortKey: "", namespace: "a#b", retention: "forever",
  consistency: "some", layout: "heap", dialect: "perl", listAttribute: "", sortValue: "", ttlAttribute: "", roll: "1", maxRecord: "much", requestTimeout: "0s", deadline: "1",
};

test("a wrong value is named by its option, when it is given", () => {
  assert.deepEqual(Object.keys(WRONG).sort(), ["tableName", ...Object.values(OPTIONS)].filter((name) => name !== "readOnly").sort());
  const good = { tableName: "chats", region };
  for (const [name, value] of Object.entries(WRONG)) {
    const refused = (error) => error.code === "invalid" && foreign(error.message) === undefined;
    for (const make of [dynamoDBUrl, (options) => new ChatStore(options)]) {
      assert.throws(() => make({ ...good, [name]: value }), (error) => refused(error) && (error.message.includes(name) || name === "roll"), `${name}`);
    }
    const theirs = { listAttribute: "messageAttributeName", sortValue: undefined }[name] ?? name;
    if (name === "sortValue") continue;
    assert.throws(() => new DynamoDBChatMessageHistory({ ...good, sessionId: "s", [theirs]: value }), (error) => refused(error) && (error.message.includes(theirs) || name === "roll"), `${name}`);
  }
  assert.throws(() => new ChatStore("dynamodb://chats?region=EU%20WEST"), /invalid region "EU WEST": expected a name/);
});

test("what the table refuses is said in options, too", async () => {
  const tableName = await table("pk", "range");
  const store = new ChatStore({ tableName, region, endpoint });
  await assert.rejects(store.append("s", [{ role: "user", content: "x" }]), (error) => /partitionKey: "pk" and sortKey: "range"/.test(error.message) && !foreign(error.message));
  const history = new DynamoDBChatMessageHistory({ tableName, sessionId: "s", sortKey: "other", config: config() });
  await assert.rejects(history.getMessages(), (error) => foreign(error.message) === undefined && /sortKey|key/.test(error.message));
  const listed = new ChatStore({ tableName: await table("id"), region, endpoint, readOnly: true });
  await assert.rejects(listed.append("s", [{ role: "user", content: "x" }]), (error) => error.code === "read_only" && /readOnly/.test(error.message) && !foreign(error.message));
});
