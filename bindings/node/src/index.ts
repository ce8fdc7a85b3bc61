/** Durable chat memory in a DynamoDB table, or in one file. See the package's README. */
export type { AwsCredentials, AwsCredentialSource } from "./connection.js";
export type { Cost } from "./cost.js";
export { ChatMemoryError, type ErrorCode } from "./errors.js";
export type { DeletedSession, OwnerDeletion } from "./owner.js";
export type { Search, SearchHit, SearchOptions } from "./search.js";
export {
  type Appended,
  type AppendedNew,
  type AppendOptions,
  ChatStore,
  type Deleted,
  type Entry,
  type Forked,
  type Redacted,
  type RedactOptions,
  type ForkOptions,
  type ForkPlan,
  type Format,
  type History,
  type HistoryRecord,
  type Loaded,
  type Message,
  type MessageInput,
  type MessageOf,
  type MessagePart,
  type Origin,
  randomSessionId,
  type RecordsOptions,
  type ResponsesItem,
  type SessionInfo,
  type SessionPage,
  type StoredMessage,
  type SweepStats,
  type ToolCall,
  type Window,
} from "./store.js";
export { type DynamoDBOptions, dynamoDBUrl } from "./url.js";
