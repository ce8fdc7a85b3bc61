// Like types.ts. The AI SDK exists only as an ES module.
import type { ChatStore } from "chat-memory";
import { loadMessages, saveMessages } from "chat-memory/ai-sdk";
import type { UIMessage } from "ai";

export async function ai(store: ChatStore): Promise<void> {
  const messages: UIMessage[] = await loadMessages(store, "s");
  const { written } = await saveMessages(store, "s", messages, { expect: "position" });
  console.log(written);
}
