// Rewords errors. The engine names settings as in a store URL (`partition_key=`); users who gave options or filled in fields see
// those names instead.

/** How a user names the settings of a store. */
export interface Words {
  /** A setting's name where it is only mentioned; `table` is the table's name. */
  name(parameter: string): string;
  /** A setting with a value; the value is `…` if any will do. */
  assigned(parameter: string, value: string): string;
  /** A note about settings that the user cannot give here; empty if there are none. */
  missing(parameters: string[]): string;
}

/** Each parameter of a DynamoDB store URL, with its option. `listAttribute` and `sortValue` have other names in classes for LangChain. */
export const OPTIONS = {
  region: "region",
  endpoint: "endpoint",
  profile: "profile",
  partition_key: "partitionKey",
  sort_key: "sortKey",
  namespace: "namespace",
  retention: "retention",
  consistency: "consistency",
  read_only: "readOnly",
  layout: "layout",
  dialect: "dialect",
  list_attribute: "listAttribute",
  sort_value: "sortValue",
  ttl_attribute: "ttlAttribute",
  roll: "roll",
  max_record: "maxRecord",
  request_timeout: "requestTimeout",
  deadline: "deadline",
} as const;

function optionWords(names: Record<string, string>): Words {
  const name = (parameter: string): string => names[parameter] ?? parameter;
  return {
    name,
    assigned: (parameter, value) => `${name(parameter)}: ${value === "…" || value === "true" || value === "false" ? value : JSON.stringify(value)}`,
    missing: () => "",
  };
}

/** The words of `ChatStore` and `dynamoDBUrl` with options. */
export const OPTION_WORDS = optionWords({ table: "tableName", ...OPTIONS });

/** Those of the classes for LangChain.js. */
export const SESSION_WORDS: Words = (() => {
  const words = optionWords({ table: "tableName", ...OPTIONS, list_attribute: "messageAttributeName", sort_value: "key" });
  const assigned = (parameter: string, value: string): string =>
    parameter === "sort_value" ? `the sort key's value in key: ${value === "…" ? value : JSON.stringify(value)}` : words.assigned(parameter, value);
  return { ...words, assigned };
})();

/** The labels of the fields in Flowise's node. */
const FIELDS: Record<string, string> = {
  table: "Table Name",
  region: "Region",
  endpoint: "Endpoint",
  partition_key: "Partition Key",
  retention: "Retention",
};

/** Those of Flowise's node, which has fields for only a few settings. */
export const FLOWISE_WORDS: Words = {
  name: (parameter) => FIELDS[parameter] ?? PLAIN[parameter] ?? parameter.replaceAll("_", " "),
  assigned: (parameter, value) => `${FLOWISE_WORDS.name(parameter)} ${value === "…" ? value : JSON.stringify(value)}`,
  missing(parameters) {
    const none = [...new Set(parameters)].filter((parameter) => !(parameter in FIELDS));
    if (none.length === 0) return "";
    const remedy = none.some((parameter) => OF_TABLES.includes(parameter)) ? "; `chat-memory table create` makes a table that needs none" : "";
    return ` (this node has no field for the ${none.map((parameter) => FLOWISE_WORDS.name(parameter)).join(" and the ")}${remedy})`;
  },
};

const PLAIN: Record<string, string> = {
  sort_value: "sort key's value",
  list_attribute: "list attribute",
  ttl_attribute: "TTL attribute",
  max_record: "limit of a record",
};

/** The settings for a table that was created with other settings. */
const OF_TABLES = ["sort_key", "sort_value", "layout", "dialect", "list_attribute", "ttl_attribute"];

const PARAMETER = `(${Object.keys(OPTIONS).join("|")})`;
/** Those whose names are not ordinary words. */
const TECHNICAL = `(${Object.keys(OPTIONS).filter((name) => name.includes("_")).join("|")})`;

/**
 * Rewords a message of the engine. Quoted text is a value, and stays unchanged.
 *
 * @param words undefined for users who gave a store URL.
 */
export function inWords(words: Words | undefined, message: string): string {
  if (!words) return message;
  const mentioned: string[] = [];
  const name = (_: string, parameter: string): string => {
    mentioned.push(parameter);
    return words.name(parameter);
  };
  const assigned = (_: string, parameter: string, value: string): string => {
    mentioned.push(parameter);
    return words.assigned(parameter, value);
  };
  const rules: [RegExp, string | ((match: string, ...found: string[]) => string)][] = [
    [/\binvalid table\b/g, () => `invalid ${words.name("table")}`],
    [/\bin the store(?:'s)? URL \(\?(\w+)=([^)]*)\)/g, (_, parameter = "", value = "") => `(${assigned(_, parameter, value)})`],
    [new RegExp(`\\b(?:the )?parameter ${PARAMETER}\\b`, "g"), name],
    [new RegExp(`\\binvalid ${PARAMETER}\\b`, "g"), (_, parameter = "") => `invalid ${name(_, parameter)}`],
    [new RegExp(`\\b${PARAMETER}=([^\\s,;()]+)`, "g"), assigned],
    [new RegExp(`\`?\\b${TECHNICAL}\\b\`?`, "g"), name],
    [/ (?:in|of) the (?:store(?:'s)?|dynamodb:\/\/|DynamoDB) URL/g, ""],
    [/\b(?:the|a) (?:store(?:'s)?|dynamodb:\/\/|DynamoDB) URL/g, "the settings"],
  ];
  const parts = message.split(/("(?:[^"\\]|\\.)*")/);
  const said = parts.map((part, n) => (n % 2 === 1 ? part : rules.reduce((text, [what, by]) => text.replace(what, by as string), part)));
  return said.join("") + words.missing(mentioned);
}
