/** Durable chat memory in a DynamoDB table, or in one file. See the package's README. */
export type { AwsCredentials, AwsCredentialSource } from "./connection.js";
export { ChatMemoryError, type ErrorCode } from "./errors.js";
export {
  type Appended,
  type AppendedNew,
  type AppendOptions,
  ChatStore,
  type Deleted,
  type Entry,
  type Format,
  type History,
  type HistoryRecord,
  type Loaded,
  type Message,
  type MessageOf,
  type MessagePart,
  randomSessionId,
  type RecordsOptions,
  type Cost,
  type ResponsesItem,
  type SessionInfo,
  type SessionPage,
  type StoredMessage,
  type SweepStats,
  type ToolCall,
  type Window,
} from "./store.js";
export { type DynamoDBOptions, dynamoDBUrl } from "./url.js";
