import { BufferMemory, type BufferMemoryInput } from "@langchain/classic/memory";
import { getInputValue, getOutputValue, type InputValues, type OutputValues } from "@langchain/core/memory";
import { AIMessage, type BaseMessage, HumanMessage } from "@langchain/core/messages";
import { checkNames } from "../options.js";
import { SESSION_OPTIONS, type SessionOptions } from "../session.js";
import { DynamoDBChatMessageHistory } from "./history.js";

const BUFFER_OPTIONS = ["memoryKey", "inputKey", "outputKey", "returnMessages", "humanPrefix", "aiPrefix"] as const;

/** The options of a memory: those of the history, and those of LangChain's `BufferMemory`. */
export type DynamoDBChatMemoryOptions = SessionOptions & Pick<BufferMemoryInput, (typeof BUFFER_OPTIONS)[number]>;

/**
 * LangChain's `BufferMemory` over one session. Its memory key is `chat_history` by default; `window` limits what a chain is shown,
 * by messages, turns or tokens.
 *
 * ```js
 * const memory = new DynamoDBChatMemory({ tableName: "chats", sessionId: "user-42", window: { turns: 20 }, returnMessages: true });
 * await memory.saveContext({ input: "Where to?" }, { output: "To Lisbon." });
 * const { chat_history } = await memory.loadMemoryVariables({});
 * ```
 */
export class DynamoDBChatMemory extends BufferMemory {
  declare chatHistory: DynamoDBChatMessageHistory;

  /** @throws ChatMemoryError `invalid`, for unknown options and for invalid values. */
  constructor(options: DynamoDBChatMemoryOptions) {
    checkNames("DynamoDBChatMemory", options, [...SESSION_OPTIONS, ...BUFFER_OPTIONS]);
    const { memoryKey, inputKey, outputKey, returnMessages, humanPrefix, aiPrefix, ...session } = options;
    super({
      memoryKey: memoryKey ?? "chat_history",
      inputKey,
      outputKey,
      returnMessages,
      humanPrefix,
      aiPrefix,
      chatHistory: new DynamoDBChatMessageHistory(session),
    });
  }

  /** The session's id. */
  get sessionId(): string {
    return this.chatHistory.sessionId;
  }

  /** Saves a question and its answer in one write: both or neither. */
  override async saveContext(inputs: InputValues, outputs: OutputValues): Promise<void> {
    const input = message(getInputValue(inputs, this.inputKey), (text) => new HumanMessage(text));
    const output = message(getOutputValue(outputs, this.outputKey), (text) => new AIMessage(text));
    await this.chatHistory.addMessages([input, output]);
  }
}

/** Chains pass a text, or the message itself. */
function message(value: string | BaseMessage, make: (text: string) => BaseMessage): BaseMessage {
  return typeof value === "string" ? make(value) : value;
}
