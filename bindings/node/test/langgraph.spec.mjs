// LangGraph's own suite for checkpointers, run by vitest (see langgraph.test.mjs). Each checkpointer starts empty: CHECKPOINTS_URL is a
// store URL in which its number takes the place of {n}.
import { ChatMemorySaver } from "chat-memory/langgraph";
import { deltaChannelHistoryTests, specTest } from "@langchain/langgraph-checkpoint-validation";

const { CHECKPOINTS_URL, CHECKPOINTS_DELAY } = process.env;
let made = 0;

const initializer = {
  checkpointerName: "chat-memory",
  createCheckpointer: () => ChatMemorySaver.fromUrl(CHECKPOINTS_URL.replace("{n}", (made += 1)), { writeDelay: Number(CHECKPOINTS_DELAY) }),
  destroyCheckpointer: (saver) => saver.close(),
};
specTest(initializer);
deltaChannelHistoryTests(initializer);
