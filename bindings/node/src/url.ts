// Store URLs: all settings of a store in one line. The crate's page on store URLs describes each parameter.

import { checkUrl } from "./connection.js";
import { invalid } from "./errors.js";
import { checkNames } from "./options.js";
import { OPTION_WORDS, OPTIONS } from "./words.js";

/** How to reach a table, and how sessions are stored in it. Everything but the table's name has a default. */
export interface DynamoDBOptions {
  /** The table's name or ARN. */
  tableName: string;
  /** The AWS region; by default the environment's or the profile's. */
  region?: string;
  /** The service's URL, for DynamoDB Local. */
  endpoint?: string;
  /** A profile of AWS's configuration files. */
  profile?: string;
  /** The partition key's name; by default from the table, `session_id` if it has a sort key too. */
  partitionKey?: string;
  /** The sort key's name; by default `sk`. */
  sortKey?: string;
  /** A prefix of every partition key. */
  namespace?: string;
  /** How long a record is kept: `30d`, `12h`. By default for ever. */
  retention?: string;
  /** With `eventual`, loads may miss the newest records, at half the price. By default `strong`. */
  consistency?: "strong" | "eventual";
  /** Whether to refuse all writes. */
  readOnly?: boolean;
  /**
   * The layout of sessions in the table: `turns` (one item per record) or `list` (one per session, as LangChain's). By default detected
   * from its keys.
   */
  layout?: "turns" | "list";
  /** In the `list` layout, the format of new sessions. By default `js`. */
  dialect?: "js" | "python";
  /** In the `list` layout, the attribute with the messages; by default `messages`. */
  listAttribute?: string;
  /** In the `list` layout, the fixed value of the sort key, in a table that has one. */
  sortValue?: string;
  /** In the `list` layout, the attribute by which a session expires. */
  ttlAttribute?: string;
  /** In the `list` layout, the item size above which older records move to a segment: `64KB` (by default), or `off`. */
  roll?: string;
  /** The largest record: `16MB` by default. */
  maxRecord?: string;
  /** The timeout of one request, after which it is retried: `5s` by default. */
  requestTimeout?: string;
  /** The deadline of an operation: `30s` by default. */
  deadline?: string;
}

/** Each option with its name in a URL. */
const PARAMETERS = Object.entries(OPTIONS).map(([parameter, option]) => [option, parameter] as const);

/** The names of all options. */
export const DYNAMODB_OPTIONS: readonly string[] = ["tableName", ...Object.values(OPTIONS)];

/**
 * The store URL of a DynamoDB table: `dynamodb://chats?region=eu-central-1`.
 *
 * @throws ChatMemoryError `invalid`, for unknown options, for invalid values, and without a table name.
 */
export function dynamoDBUrl(options: DynamoDBOptions): string {
  const url = writtenUrl("dynamoDBUrl", options);
  checkUrl(url, OPTION_WORDS);
  return url;
}

/** The same; opening the store checks the values. */
export function writtenUrl(what: string, options: DynamoDBOptions): string {
  if (typeof options !== "object" || options === null) throw invalid(`${what} takes an object with a tableName`);
  checkNames(what, options, DYNAMODB_OPTIONS);
  const { tableName } = options;
  if (typeof tableName !== "string" || tableName === "") throw invalid("tableName must name the DynamoDB table; give it");
  const said = PARAMETERS.flatMap(([name, parameter]) => {
    const value: unknown = options[name];
    if (value === undefined) return [];
    if (typeof value !== (name === "readOnly" ? "boolean" : "string")) {
      throw invalid(`${name} must be ${name === "readOnly" ? "true or false" : "a text"}, not ${describe(value)}`);
    }
    return [`${parameter}=${encodeURIComponent(String(value))}`];
  });
  const query = said.length > 0 ? `?${said.join("&")}` : "";
  return `dynamodb://${encodeURIComponent(tableName)}${query}`;
}

/** The type of this value; never the value itself, which may be a secret. */
function describe(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "a list" : `a value of the type ${typeof value}`;
}
