/** Histories for LangChain.js. Needs `@langchain/core`. */
export type { AwsCredentials, AwsCredentialSource } from "../connection.js";
export { ChatMemoryError, type ErrorCode } from "../errors.js";
export type { ClientConfig, Key, SaveOptions, SessionOptions } from "../session.js";
export type { Window } from "../store.js";
export { DynamoDBChatMessageHistory } from "./history.js";
