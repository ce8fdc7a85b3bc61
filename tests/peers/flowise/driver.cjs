// Flowise's own DynamoDB Chat Memory node, driven by a JSON command a line; answers with a JSON line each. The node has no
// setting for an endpoint: AWS_ENDPOINT_URL_DYNAMODB in the environment leads it to DynamoDB Local.
const { createInterface } = require("node:readline");
const { mapChatMessagesToStoredMessages } = require("@langchain/core/messages");
const { nodeClass } = require(require("node:path").join(__dirname, "node_modules/flowise-components/dist/nodes/memory/DynamoDb/DynamoDb.js"));

async function run({ op, table, session, options = {}, messages = [] }) {
  const inputs = { tableName: table, partitionKey: "id", region: "us-east-1", sessionId: session, memoryKey: "chat_history", ...options };
  const memory = await new nodeClass().init({ inputs }, "", {});
  if (op === "add") return void (await memory.addChatMessages(messages.map(({ text, type }) => ({ text, type })), session));
  if (op === "clear") return void (await memory.clearChatMessages(session));
  return mapChatMessagesToStoredMessages(await memory.getChatMessages(session, true));
}

(async () => {
  for await (const line of createInterface({ input: process.stdin })) {
    let answer;
    try {
      answer = { messages: (await run(JSON.parse(line))) ?? null };
    } catch (error) {
      answer = { error: String(error?.message ?? error) };
    }
    console.log(JSON.stringify(answer));
  }
})();
