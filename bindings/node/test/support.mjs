// What the tests share: tables on DynamoDB Local, files, processes.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ChatMemoryError } from "chat-memory";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..");
export const endpoint = needed("DYNAMODB_ENDPOINT");
export const region = "us-east-1";
export const credentials = { accessKeyId: "test", secretAccessKey: "test" };

/** A setting that the tests require: without it they fail instead of being skipped. */
export function needed(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; \`cargo xtask test node\` sets it and runs these tests.`);
  return value;
}

/** Another copy of packages: LangChain.js's, Flowise's. */
export const peer = (name) => createRequire(join(needed(name), "package.json"));

/** Calls DynamoDB Local, which checks no signatures. */
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

/** Creates a table with these keys; the second is optional. */
export const table = (...keys) => indexedTable(keys, []);

/** Creates a table with these keys and global indexes (`gsi1`, `gsi2`, …) with these. */
export async function indexedTable(keys, indexes) {
  made += 1;
  const TableName = `node-${process.pid}-${Date.now()}-${made}`;
  await create(TableName, keys, indexes);
  return TableName;
}

/** Creates a table of this name. */
export const namedTable = (TableName, ...keys) => create(TableName, keys, []);

async function create(TableName, keys, indexes) {
  const schema = (names) => names.map((AttributeName, n) => ({ AttributeName, KeyType: n === 0 ? "HASH" : "RANGE" }));
  // Indexes are created with their table: DynamoDB Local may take arbitrarily long to add one later.
  const GlobalSecondaryIndexes = indexes.map((names, n) => ({ IndexName: `gsi${n + 1}`, KeySchema: schema(names), Projection: { ProjectionType: "ALL" } }));
  await dynamodb("CreateTable", {
    TableName,
    BillingMode: "PAY_PER_REQUEST",
    KeySchema: schema(keys),
    AttributeDefinitions: [...keys, ...indexes.flat()].map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
    ...(indexes.length > 0 && { GlobalSecondaryIndexes }),
  });
}

/** Creates a table with one item per record; returns its store URL. */
export async function turnsUrl(more = "") {
  return `dynamodb://${await table("session_id", "sk")}?region=${region}&endpoint=${encodeURIComponent(endpoint)}${more}`;
}

/** The AWS SDK's configuration for DynamoDB Local. */
export const config = () => ({ region, endpoint, credentials });

/** Creates a SQLite file; returns its store URL. */
export const sqliteUrl = () => `sqlite:${join(mkdtempSync(join(tmpdir(), "chat-memory-")), "chat.db")}`;

/** An empty store of each kind, by its URL. */
export const stores = { memory: () => "memory:", sqlite: sqliteUrl, dynamodb: turnsUrl };

/** The expected code and message of an error. */
export const is = (code, says) => (error) => {
  assert.ok(error instanceof ChatMemoryError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, says);
  return true;
};

/** Runs a Node program to its end: its output, its exit status, and its duration. */
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

/** The same for a text that is an ES module in the package's own folder, so that it imports as a user's would. */
export const script = (text, options) => run(["--input-type=module", "-e", text], { cwd: root, ...options });
