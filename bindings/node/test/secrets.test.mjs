// Credentials never leak: not in errors, and not in anything that can be printed of what was opened with them.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { inspect } from "node:util";
import { ChatStore } from "chat-memory";
import { DynamoDBChatMessageHistory } from "chat-memory/langchain";
import { endpoint, region, table } from "./support.mjs";

/** Refuses everyone, as AWS refuses expired credentials. */
const refusing = createServer((request, response) => {
  request.resume();
  const body = { __type: "com.amazon.coral.service#ExpiredTokenException", message: "The security token included in the request is expired" };
  response.writeHead(400, { "content-type": "application/x-amz-json-1.0" }).end(JSON.stringify(body));
});
before(() => new Promise((listens) => refusing.listen(0, "127.0.0.1", listens)));
after(() => refusing.close());

const secrets = () => ({ accessKeyId: "AKIDNODE", secretAccessKey: randomBytes(30).toString("base64"), sessionToken: randomBytes(90).toString("base64") });

/** Everything that can be printed of a value. */
function printed(value) {
  const all = [inspect(value, { depth: Infinity, showHidden: true, getters: true }), String(value), JSON.stringify(value)];
  for (let error = value; error instanceof Error; error = error.cause) all.push(error.message, error.stack ?? "");
  return all.join("\n");
}

/** Checks that a text contains none of the secrets: neither verbatim, nor in hex, in base64, in a URL, nor half of one. */
function assertHidden(credentials, text) {
  for (const name of ["secretAccessKey", "sessionToken"]) {
    const secret = credentials[name];
    const bytes = Buffer.from(secret);
    const half = secret.slice(0, secret.length / 2);
    for (const form of [secret, half, encodeURIComponent(secret), bytes.toString("hex"), bytes.toString("base64url").slice(0, -4), bytes.toString("base64").slice(0, -4)]) {
      assert.ok(!text.includes(form), `${name} is in: ${text.replaceAll(form, "…")}`);
    }
  }
}

const failure = (call) => call.then((value) => assert.fail(`it went well: ${inspect(value)}`), (error) => error);

test("a store and its errors do not show them", async () => {
  const tableName = await table("session_id", "sk");
  const { port } = refusing.address();
  for (const as of [(given) => given, (given) => async () => given]) {
    for (const [url, works] of [[endpoint, true], [`http://127.0.0.1:${port}`, false], ["http://127.0.0.1:1", false]]) {
      const credentials = secrets();
      const store = new ChatStore(`dynamodb://${tableName}?region=${region}&endpoint=${encodeURIComponent(url)}&deadline=2s&request_timeout=1s`, { credentials: as(credentials) });
      const append = store.append("s", [{ role: "user", content: "Hi" }]);
      assertHidden(credentials, printed(works ? await append : await failure(append)));
      if (!works) assertHidden(credentials, printed(await failure(store.load("s"))));
      assertHidden(credentials, printed(store));
      const history = new DynamoDBChatMessageHistory({ tableName, partitionKey: "session_id", sessionId: "s", config: { region, endpoint: url, credentials: as(credentials) }, deadline: "2s", requestTimeout: "1s" });
      if (!works) assertHidden(credentials, printed(await failure(history.getMessages())));
      assertHidden(credentials, printed(history));
    }
  }
});

test("what is wrong with them is said without them", async () => {
  const credentials = secrets();
  const url = `dynamodb://chats?region=${region}&endpoint=http://127.0.0.1:1&deadline=2s&request_timeout=1s`;
  for (const wrong of [{ ...credentials, accessKeyId: "" }, { ...credentials, accessKeyId: 7 }, { ...credentials, secret: credentials.secretAccessKey }, { ...credentials, expiration: "soon" }, credentials.secretAccessKey]) {
    const opening = async () => new ChatStore(url, { credentials: wrong }).load("s");
    assertHidden(credentials, printed(await failure(opening())));
    const getting = async () => new ChatStore(url, { credentials: async () => wrong }).load("s");
    assertHidden(credentials, printed(await failure(getting())));
  }
  const { secretAccessKey } = credentials;
  const password = secretAccessKey.replaceAll(/\W/g, "x");
  for (const wrong of [`${url}&secret=${encodeURIComponent(secretAccessKey)}`, `dynamodb://chats?region=${region}&endpoint=http://user:${password}@127.0.0.1:1`]) {
    const error = await failure((async () => new ChatStore(wrong))());
    assertHidden({ secretAccessKey, sessionToken: password }, printed(error));
  }
});
