// One conversation of one class, in a process of its own, so that its CPU time can be measured. The parent sends commands and reads
// the counts in between: {"turns": n} saves n turns, {"read": "last" | "all", "times": n} loads. Each is answered with its times.
import { createRequire } from "node:module";
import { join } from "node:path";

const [kind, tableName, endpoint] = process.argv.slice(2);
const config = { region: "us-east-1", endpoint, credentials: { accessKeyId: "test", secretAccessKey: "test" } };
const [question, answer] = ["q".repeat(300), "a".repeat(300)];

async function open() {
  if (kind === "langchain") {
    const original = createRequire(join(process.env.CHAT_MEMORY_PEER_JS, "package.json"));
    const { DynamoDBChatMessageHistory } = original("@langchain/community/stores/message/dynamodb");
    return { ...original("@langchain/core/messages"), make: () => new DynamoDBChatMessageHistory({ tableName, sessionId: "s", config }) };
  }
  const { DynamoDBChatMessageHistory } = await import("chat-memory/langchain");
  const options = { tableName, sessionId: "s", config };
  return { ...(await import("@langchain/core/messages")), make: (window) => new DynamoDBChatMessageHistory({ ...options, window }) };
}

const { HumanMessage, AIMessage, make } = await open();
const history = make();
const window = kind === "langchain" ? undefined : make({ messages: 20 });

const work = {
  turns: () => history.addMessages([new HumanMessage(question), new AIMessage(answer)]),
  // LangChain.js's class can only read everything and cut.
  last: async () => (window ? window.getMessages() : (await history.getMessages()).slice(-20)),
  all: () => history.getMessages(),
};

process.on("message", async ({ what, times }) => {
  const [wall, cpu] = [process.hrtime.bigint(), process.cpuUsage()];
  let result;
  try {
    for (let n = 0; n < times; n += 1) result = await work[what]();
  } catch (error) {
    process.send({ error: error.message });
    return;
  }
  const { user, system } = process.cpuUsage(cpu);
  process.send({
    wall: Number(process.hrtime.bigint() - wall) / 1e6 / times,
    cpu: (user + system) / 1e3 / times,
    messages: result?.length,
  });
});
process.send("ready");
