// The package, driven like the others in tests/peers: one JSON command per line, one JSON line per answer.
import { createInterface } from "node:readline";
import { ChatStore, dynamoDBUrl } from "chat-memory";

async function run({ op, table, session, options: { last, roll } = {}, messages }) {
  const store = new ChatStore(dynamoDBUrl({ tableName: table, region: "us-east-1", endpoint: process.env.DYNAMODB_ENDPOINT, ...(roll && { roll }) }));
  if (op === "add") return void (await store.append(session, messages));
  if (last) return (await store.load(session, { messages: last })).messages;
  return (await store.records(session)).records.flatMap(({ messages }) => messages);
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { messages: (await run(JSON.parse(line))) ?? null };
  } catch (error) {
    answer = { error: String(error?.message ?? error) };
  }
  console.log(JSON.stringify(answer));
}
