// The node itself. Its file in Flowise's folder passes in Flowise's own modules, since only that file can resolve them: the base
// class of its memories, its helpers, and its own copy of LangChain.

import { invalid } from "../errors.js";
import { forJavaScript, toStored, type Writes } from "../langchain/messages.js";
import { Session, type SessionOptions } from "../session.js";
import type { StoredMessage, Window } from "../store.js";
import { FLOWISE_WORDS } from "../words.js";
import { ICON_FILE } from "./icon.js";

/** A node's settings in a flow. */
interface NodeData {
  inputs?: Record<string, unknown>;
  credential?: string;
}

/** A message as Flowise's chains save it. */
interface FlowiseMessage {
  text: string;
  type: string;
}

/** A message of Flowise's own copy of LangChain. */
type BaseMessage = Writes;

// The class is known only when Flowise runs; TypeScript accepts a mixin's base class in no other form.
type Class = new (...args: any[]) => any;

/** Flowise's own modules that the node is built on. */
export interface FlowiseParts {
  /** `flowise-components/dist/src/Interface` */
  FlowiseMemory: Class;
  /** `flowise-components/dist/src/utils` */
  getBaseClasses(target: unknown): string[];
  getCredentialData(credential: string, options: object): Promise<Record<string, unknown>>;
  getCredentialParam(name: string, data: Record<string, unknown>, node: NodeData): unknown;
  mapChatMessageToBaseMessage(messages: unknown[], orgId?: string): Promise<BaseMessage[]>;
  convertBaseMessagetoIMessage(messages: BaseMessage[]): unknown[];
  /** `@langchain/classic/memory` */
  BufferMemory: unknown;
  /** `@langchain/core` */
  BaseListChatMessageHistory: Class;
  mapStoredMessagesToChatMessages(stored: unknown[]): BaseMessage[];
  HumanMessage: new (text: string) => BaseMessage;
  AIMessage: new (text: string) => BaseMessage;
}

/** How the node differs from Flowise's own. */
export interface Placing {
  /** Whether the node is next to Flowise's own, with its own name and label, instead of replacing it. */
  alongside: boolean;
}

/** The class that Flowise's node loader looks for. */
export function nodeClass(flowise: FlowiseParts, { alongside }: Placing): Class {
  const name = alongside ? "DurableDynamoDBChatMemory" : "DynamoDBChatMemory";
  const Memory = memoryClass(flowise);

  return class DynamoDBChatMemoryNode {
    label = alongside ? "Durable DynamoDB Chat Memory" : "DynamoDB Chat Memory";
    name = name;
    version = alongside ? 1 : 1.1;
    type = name;
    icon = ICON_FILE;
    category = "Memory";
    description = "By chat-memory: stores a conversation of any length in a DynamoDB table, each message once";
    baseClasses = [name, ...flowise.getBaseClasses(flowise.BufferMemory)];
    credential = {
      label: "Connect Credential",
      name: "credential",
      type: "credential",
      credentialNames: ["dynamodbMemoryApi"],
      optional: true,
    };
    inputs = INPUTS;

    async init(node: NodeData, _: string, options: { orgId?: string }): Promise<unknown> {
      const inputs = read(node.inputs ?? {});
      const credentials = await flowise.getCredentialData(node.credential ?? "", options);
      const accessKeyId = flowise.getCredentialParam("accessKey", credentials, node);
      const secretAccessKey = flowise.getCredentialParam("secretAccessKey", credentials, node);
      const found = accessKeyId && secretAccessKey ? { accessKeyId: String(accessKeyId), secretAccessKey: String(secretAccessKey) } : undefined;
      const session = Session.open("DynamoDB Chat Memory", { ...inputs.session, config: { credentials: found } }, FLOWISE_WORDS);
      return new Memory(session, inputs.memoryKey, options.orgId);
    }
  };
}

const INPUTS = [
  { label: "Table Name", name: "tableName", type: "string" },
  { label: "Partition Key", name: "partitionKey", type: "string" },
  {
    label: "Region",
    name: "region",
    type: "string",
    description: "The AWS region in which the table is",
    placeholder: "us-east-1",
  },
  {
    label: "Session ID",
    name: "sessionId",
    type: "string",
    description: "If it is not given, a random id is used.",
    default: "",
    additionalParams: true,
    optional: true,
  },
  { label: "Memory Key", name: "memoryKey", type: "string", default: "chat_history", additionalParams: true },
  {
    label: "Window",
    name: "windowBy",
    type: "options",
    description: "How much of the conversation the model gets. All of it stays in the table.",
    options: [
      { label: "Everything", name: "everything" },
      { label: "The newest turns", name: "turns" },
      { label: "The newest messages", name: "messages" },
      { label: "The newest tokens", name: "tokens" },
    ],
    default: "everything",
    additionalParams: true,
    optional: true,
  },
  {
    label: "Window Size",
    name: "windowSize",
    type: "number",
    description: "How many turns, messages or tokens",
    placeholder: "20",
    additionalParams: true,
    optional: true,
  },
  {
    label: "Retention",
    name: "retention",
    type: "string",
    description: "How long a message is kept, such as 30d; forever if empty",
    placeholder: "30d",
    additionalParams: true,
    optional: true,
  },
  {
    label: "Endpoint",
    name: "endpoint",
    type: "string",
    description: "Another DynamoDB than AWS's, such as DynamoDB Local",
    placeholder: "http://localhost:8000",
    additionalParams: true,
    optional: true,
  },
];

/** The options from a flow's inputs. Flowise passes empty inputs as empty texts. */
function read(inputs: Record<string, unknown>): { session: SessionOptions; memoryKey: string } {
  const said = (name: string): string | undefined => {
    const value = inputs[name];
    return value === undefined || value === null || value === "" ? undefined : String(value).trim();
  };
  const tableName = said("tableName");
  if (!tableName) throw invalid("DynamoDB Chat Memory: Table Name is empty; name the table");
  const session: SessionOptions = {
    tableName,
    partitionKey: said("partitionKey"),
    region: said("region"),
    sessionId: said("sessionId"),
    retention: said("retention"),
    endpoint: said("endpoint"),
    window: readWindow(said("windowBy"), said("windowSize")),
  };
  return { session, memoryKey: said("memoryKey") ?? "chat_history" };
}

function readWindow(by: string | undefined, size: string | undefined): Window {
  if (by === undefined || by === "everything") return {};
  if (by !== "turns" && by !== "messages" && by !== "tokens") throw invalid(`DynamoDB Chat Memory: there is no window by ${JSON.stringify(by)}`);
  const count = Number(size);
  if (size === undefined || !Number.isSafeInteger(count) || count < 1) {
    throw invalid(`DynamoDB Chat Memory: Window Size must say how many ${by}, as a whole number from 1 on`);
  }
  return { [by]: count };
}

/** What the node provides to chains and agents. */
function memoryClass(flowise: FlowiseParts): Class {
  const History = historyClass(flowise);

  return class DynamoDBChatMemory extends flowise.FlowiseMemory {
    readonly #session: Session;
    readonly #orgId: string | undefined;
    /** Read by Flowise. */
    sessionId: string;

    constructor(session: Session, memoryKey: string, orgId?: string) {
      super({ memoryKey, chatHistory: new History(session) });
      this.#session = session;
      this.#orgId = orgId;
      this.sessionId = session.id;
    }

    /** The session of a run, or the node's own. */
    #of(override: string | undefined): Session {
      return override ? this.#session.in(override) : this.#session;
    }

    async getChatMessages(overrideSessionId = "", returnBaseMessages = false, prependMessages?: unknown[]): Promise<unknown[]> {
      const messages = await loaded(flowise, this.#of(overrideSessionId));
      if (prependMessages?.length) messages.unshift(...(await flowise.mapChatMessageToBaseMessage(prependMessages, this.#orgId)));
      return returnBaseMessages ? messages : flowise.convertBaseMessagetoIMessage(messages);
    }

    /** Saves a turn in one write. */
    async addChatMessages(messages: FlowiseMessage[], overrideSessionId = ""): Promise<void> {
      const input = messages.find((message) => message.type === "userMessage");
      const output = messages.find((message) => message.type === "apiMessage");
      const turn = [input && new flowise.HumanMessage(input.text), output && new flowise.AIMessage(output.text)];
      const stored = toStored(turn.filter((message) => message !== undefined));
      if (stored.length > 0) await this.#of(overrideSessionId).append(stored);
    }

    /** Clears the given session, and only that. */
    async clearChatMessages(overrideSessionId = ""): Promise<void> {
      const session = this.#of(overrideSessionId);
      await session.store.clear(session.id);
    }
  };
}

/** The underlying history, for code that uses the memory as LangChain's `BufferMemory`. */
function historyClass(flowise: FlowiseParts): Class {
  return class DynamoDBChatMessageHistory extends flowise.BaseListChatMessageHistory {
    lc_namespace = ["chat_memory", "flowise"];
    readonly #session: Session;

    constructor(session: Session) {
      super();
      this.#session = session;
    }

    getMessages(): Promise<BaseMessage[]> {
      return loaded(flowise, this.#session);
    }

    async addMessage(message: BaseMessage): Promise<void> {
      await this.addMessages([message]);
    }

    async addMessages(messages: BaseMessage[]): Promise<void> {
      const stored = toStored(messages);
      if (stored.length > 0) await this.#session.append(stored);
    }

    async clear(): Promise<void> {
      await this.#session.store.clear(this.#session.id);
    }
  };
}

async function loaded(flowise: FlowiseParts, session: Session): Promise<BaseMessage[]> {
  const stored: StoredMessage[] = await session.load();
  return flowise.mapStoredMessagesToChatMessages(stored.map(forJavaScript));
}
