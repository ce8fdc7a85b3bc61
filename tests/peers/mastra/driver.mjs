// @mastra/dynamodb's storage, driven by a JSON command a line; answers with a JSON line each. Messages are in Mastra's own stored form: an
// answer with all its calls and results is one message of parts.
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { DynamoDBStore } from "@mastra/dynamodb";

const credentials = { accessKeyId: "local", secretAccessKey: "local" };
const [stores, threads] = [new Map(), new Set()];
let newest = 0;

/** A server keeps its storage open. */
async function memoryOf(tableName) {
  if (!stores.has(tableName)) {
    const config = { id: tableName, tableName, region: "us-east-1", endpoint: process.env.DYNAMODB_ENDPOINT, credentials };
    const store = new DynamoDBStore({ name: "dynamodb", config });
    await store.init();
    stores.set(tableName, await store.getStore("memory"));
  }
  return stores.get(tableName);
}

/** A conversation is a thread, which is made before its first message, as Mastra's agents do. */
async function thread(memory, threadId) {
  if (threads.has(threadId)) return;
  if (!(await memory.getThreadById({ threadId }))) {
    const now = new Date();
    await memory.saveThread({ thread: { id: threadId, resourceId: "user", title: "", createdAt: now, updatedAt: now, metadata: {} } });
  }
  threads.add(threadId);
}

async function run({ op, table, session, options: { last } = {}, messages = [] }) {
  const memory = await memoryOf(table);
  if (op === "add") {
    await thread(memory, session);
    // Messages are sorted by their time; two of one millisecond would have no order.
    const stamped = messages.map(({ role, parts }) => {
      newest = Math.max(newest + 1, Date.now());
      return { id: randomUUID(), role, createdAt: new Date(newest), threadId: session, resourceId: "user", content: { format: 2, parts } };
    });
    return void (await memory.saveMessages({ messages: stamped }));
  }
  const page = last ? { perPage: last, orderBy: { field: "createdAt", direction: "DESC" } } : { perPage: false };
  const { messages: read } = await memory.listMessages({ threadId: session, ...page });
  const said = read.map(({ role, content: { parts } }) => ({ role, parts }));
  return last ? said.reverse() : said;
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { messages: (await run(JSON.parse(line))) ?? null };
  } catch (error) {
    answer = { error: [error?.message ?? error, error?.cause?.message].filter(Boolean).join(": ") };
  }
  console.log(JSON.stringify(answer));
}
