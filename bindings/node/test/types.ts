// Compiled by pack.test.mjs, never run: what a user's TypeScript may rely on.
import { ChatMemoryError, ChatStore, type Cost, type ErrorCode, type Forked, type ForkPlan, type Message, type OwnerDeletion, type Redacted, type SearchHit, type StoredMessage, dynamoDBUrl } from "chat-memory";
import { DynamoDBChatMessageHistory } from "chat-memory/langchain";
import { DynamoDBChatMemory } from "chat-memory/langchain/memory";
import { ChatMemorySaver, type ChatMemorySaverOptions } from "chat-memory/langgraph";
import { END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { AIMessage, type BaseMessage, HumanMessage } from "@langchain/core/messages";

/** Without an index signature, as the types of the packages `openai` and `@anthropic-ai/sdk`. */
interface OwnMessage {
  role: "user" | "assistant";
  content: string | { type: "text"; text: string }[];
}

export async function store(): Promise<void> {
  const store = new ChatStore(dynamoDBUrl({ tableName: "chats", region: "eu-west-1" }), { credentials: async () => ({ accessKeyId: "a", secretAccessKey: "b" }) });
  await store.append("s", [{ role: "user", content: "Hello", anything: 1n }], { key: "k" });
  const messages: Message[] = (await store.load("s", { turns: 2 })).messages;
  const stored: StoredMessage[] = (await store.load("s", { format: "langchain" })).messages;
  const own: OwnMessage[] = [{ role: "user", content: "Hello" }];
  await store.append("s", own);
  await store.appendEntries("s", own);
  // @ts-expect-error a message has a role
  await store.append("s", [{ content: "Hello" }]);
  // @ts-expect-error there is no such option
  await store.load("s", { last: 2 });
  const search = store.search("lisbon", { owner: "ada", since: new Date(), limit: 3 });
  const hits: SearchHit[] = [];
  for await (const hit of search) hits.push(hit);
  const cost: Cost = search.cost;
  const plan: ForkPlan = await store.planFork("s", { at: 3 });
  const redacted: Redacted = await store.redact("s", 0, { message: 0, replacement: "-" });
  const forked: Forked = await store.fork("s", { to: "t", key: "k" });
  const deleted: OwnerDeletion = await store.deleteOwner("ada", { progress: ({ session, error }) => console.log(session, error?.code) });
  console.log(cost, plan.writeUnits, redacted.changed, forked.session, deleted.failed);
  // @ts-expect-error there is no such option
  store.search("lisbon", { title: true });
  const error: unknown = messages.length + stored.length;
  if (error instanceof ChatMemoryError) {
    const code: ErrorCode = error.code;
    const ticket: string | undefined = error.ticket;
    console.log(code, ticket);
  }
}

export async function langchain(): Promise<BaseMessage[]> {
  const history = new DynamoDBChatMessageHistory({ tableName: "chats", sessionId: "s", partitionKey: "id", config: { region: "eu-west-1" }, window: { turns: 3 } });
  await history.addMessages([new HumanMessage("q"), new AIMessage("a")], { key: "k" });
  const memory = new DynamoDBChatMemory({ store: "sqlite:chat.db", returnMessages: true });
  const same: DynamoDBChatMessageHistory = memory.chatHistory;
  // @ts-expect-error there is no such option
  new DynamoDBChatMessageHistory({ table: "chats" });
  return same.getMessages();
}

export async function langgraph(): Promise<BaseMessage[]> {
  const options: ChatMemorySaverOptions = { writeDelay: 0, onConflict: "fork", credentials: async () => ({ accessKeyId: "a", secretAccessKey: "b" }) };
  const checkpointer: ChatMemorySaver = ChatMemorySaver.fromUrl("sqlite:chat.db", options);
  const graph = new StateGraph(MessagesAnnotation).addNode("ask", () => ({ messages: [] })).addEdge(START, "ask").addEdge("ask", END).compile({ checkpointer });
  const state = await graph.invoke({ messages: [new HumanMessage("q")] }, { configurable: { thread_id: "t" } });
  for await (const { checkpoint } of checkpointer.list({}, { limit: 1 })) console.log(checkpoint.id);
  // @ts-expect-error there is no such option
  new ChatMemorySaver({ tableName: "chats" }, { onConflict: "retry" });
  return state.messages;
}
