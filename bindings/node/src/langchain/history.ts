import { BaseListChatMessageHistory } from "@langchain/core/chat_history";
import { type BaseMessage, mapStoredMessagesToChatMessages, type StoredMessage as LangChainStored } from "@langchain/core/messages";
import { type SaveOptions, Session, type SessionOptions } from "../session.js";
import type { Appended, ChatStore } from "../store.js";
import { forJavaScript, toStored } from "./messages.js";

/**
 * The messages of one session, for LangChain.js: the class of the same name, with the same parameters, on a store that stores every
 * message, once and exactly.
 *
 * ```js
 * const history = new DynamoDBChatMessageHistory({ tableName: "chats", sessionId: "user-42", config: { region: "eu-west-1" } });
 * await history.addMessages([new HumanMessage("Where to?"), new AIMessage("To Lisbon.")]);
 * ```
 */
export class DynamoDBChatMessageHistory extends BaseListChatMessageHistory {
  lc_namespace = ["chat_memory", "langchain"];
  readonly #session: Session;

  /** @throws ChatMemoryError `invalid`, for unknown options and for invalid values. */
  constructor(options: SessionOptions) {
    // Nothing is passed to the base class: LangChain would store it in `lc_kwargs`, with the credentials, printable by anyone.
    super();
    this.#session = Session.open(new.target.name, options);
  }

  /** The session's id. */
  get sessionId(): string {
    return this.#session.id;
  }

  /** The store that the session is in, for operations that LangChain lacks: rewinding, titles, listing. */
  get store(): ChatStore {
    return this.#session.store;
  }

  /** The messages, oldest first; with a window, the newest of them. A tool call is never without its result. */
  async getMessages(): Promise<BaseMessage[]> {
    const stored = await this.#session.load();
    return mapStoredMessagesToChatMessages(stored.map(forJavaScript) as unknown as LangChainStored[]);
  }

  /** Adds one message. Add a question and its answer together: see {@link addMessages}. */
  async addMessage(message: BaseMessage): Promise<void> {
    await this.addMessages([message]);
  }

  /** Adds messages in one write: all of them or none. Writes nothing for an empty list. */
  override async addMessages(messages: BaseMessage[], options: SaveOptions = {}): Promise<void> {
    await this.save(messages, options);
  }

  /** The same, and returns what was written, at what cost; `undefined` for an empty list. */
  async save(messages: BaseMessage[], options: SaveOptions = {}): Promise<Appended | undefined> {
    const stored = toStored(messages);
    return stored.length > 0 ? this.#session.append(stored, options) : undefined;
  }

  /** Clears the session's messages at once, and erases them. */
  override async clear(): Promise<void> {
    await this.#session.store.clear(this.#session.id);
  }
}
