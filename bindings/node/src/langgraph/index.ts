/** Checkpoints for LangGraph.js. Needs `@langchain/langgraph-checkpoint`, which `@langchain/langgraph` contains. */
export type { AwsCredentials, AwsCredentialSource } from "../connection.js";
export { ChatMemoryError, type ErrorCode } from "../errors.js";
export type { DynamoDBOptions } from "../url.js";
export { ChatMemorySaver, type ChatMemorySaverOptions } from "./saver.js";
