// What the tests share: tables on DynamoDB Local, files, processes.
import { spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..");
export const endpoint = needed("DYNAMODB_ENDPOINT");
export const region = "us-east-1";
export const credentials = { accessKeyId: "test", secretAccessKey: "test" };

/** A setting that the tests cannot do without: they fail, and do not skip. */
export function needed(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; \`cargo xtask test node\` sets it and runs these tests.`);
  return value;
}

/** Another copy of packages: LangChain.js's, Flowise's. */
export const peer = (name) => createRequire(join(needed(name), "package.json"));

/** Calls DynamoDB Local, which checks no signature. */
export async function dynamodb(operation, body) {
  const answer = await fetch(endpoint, {
    method: "POST",
    headers: {
      "content-type": "application/x-amz-json-1.0",
      "x-amz-target": `DynamoDB_20120810.${operation}`,
      authorization: `AWS4-HMAC-SHA256 Credential=test/20260101/${region}/dynamodb/aws4_request, SignedHeaders=host, Signature=0`,
    },
    body: JSON.stringify(body),
  });
  const value = await answer.json();
  if (!answer.ok) throw new Error(`${operation}: ${JSON.stringify(value)}`);
  return value;
}

let made = 0;

/** A new table with these keys, of which the second may be missing. */
export const table = (...keys) => indexedTable(keys, []);

/** A new table with these keys and global indexes (`gsi1`, `gsi2`, …) with these. */
export async function indexedTable(keys, indexes) {
  made += 1;
  const TableName = `node-${process.pid}-${Date.now()}-${made}`;
  await create(TableName, keys, indexes);
  return TableName;
}

/** A table of this name. */
export const namedTable = (TableName, ...keys) => create(TableName, keys, []);

async function create(TableName, keys, indexes) {
  const schema = (names) => names.map((AttributeName, n) => ({ AttributeName, KeyType: n === 0 ? "HASH" : "RANGE" }));
  // Indexes are made with their table: one that is added later may stay in the making for as long as DynamoDB Local likes.
  const GlobalSecondaryIndexes = indexes.map((names, n) => ({ IndexName: `gsi${n + 1}`, KeySchema: schema(names), Projection: { ProjectionType: "ALL" } }));
  await dynamodb("CreateTable", {
    TableName,
    BillingMode: "PAY_PER_REQUEST",
    KeySchema: schema(keys),
    AttributeDefinitions: [...keys, ...indexes.flat()].map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
    ...(indexes.length > 0 && { GlobalSecondaryIndexes }),
  });
}

/** A new table of one item a record, as a store URL. */
export async function turnsUrl(more = "") {
  return `dynamodb://${await table("session_id", "sk")}?region=${region}&endpoint=${encodeURIComponent(endpoint)}${more}`;
}

/** The AWS SDK's configuration for DynamoDB Local. */
export const config = () => ({ region, endpoint, credentials });

/** A new SQLite file, as a store URL. */
export const sqliteUrl = () => `sqlite:${join(mkdtempSync(join(tmpdir(), "chat-memory-")), "chat.db")}`;

/** Runs a program of Node's to its end: its output, how it ended, and how long it took. */
export function run(args, { env = {}, cwd, kill } = {}) {
  return new Promise((resolve, reject) => {
    const start = Date.now();
    const child = spawn(process.execPath, args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    let [out, err] = ["", ""];
    child.stdout.on("data", (data) => {
      out += data;
      if (kill && !child.killed && out.includes(kill.after)) child.kill(kill.signal);
    });
    child.stderr.on("data", (data) => (err += data));
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, out, err, seconds: (Date.now() - start) / 1000 }));
  });
}

/** The same, of a text that is an ES module in the package's own folder, so that it imports as a user's would. */
export const script = (text, options) => run(["--input-type=module", "-e", text], { cwd: root, ...options });
