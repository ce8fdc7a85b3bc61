// LangChain.js's DynamoDBChatMessageHistory, driven by a JSON command a line; answers with a JSON line each.
import { createInterface } from "node:readline";
import { DynamoDBChatMessageHistory } from "@langchain/community/stores/message/dynamodb";
import { mapChatMessagesToStoredMessages, mapStoredMessagesToChatMessages } from "@langchain/core/messages";

const config = { region: process.env.AWS_REGION ?? "us-east-1", endpoint: process.env.DYNAMODB_ENDPOINT };

async function run({ op, table, session, options = {}, messages = [] }) {
  const history = new DynamoDBChatMessageHistory({ tableName: table, sessionId: session, config, ...options });
  if (op === "add") return void (await history.addMessages(mapStoredMessagesToChatMessages(messages)));
  if (op === "clear") return void (await history.clear());
  return mapChatMessagesToStoredMessages(await history.getMessages());
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
