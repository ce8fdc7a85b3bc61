#!/usr/bin/env node
// chat-memory-flowise: installs the node into an existing Flowise, and uninstalls it.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ICON, ICON_FILE } from "./icon.js";

const HELP = `Puts the DynamoDB Chat Memory node of the package chat-memory into an installed Flowise 3.

Usage: chat-memory-flowise COMMAND [--alongside] [--flowise FOLDER]

Commands:
  install       put it in place of Flowise's own node: saved flows continue on this one
  uninstall     put Flowise's own node back in its place
  status        print which nodes are installed, and whether they load

Options:
  --alongside            a node of its own, "Durable DynamoDB Chat Memory", next to Flowise's
  --flowise FOLDER    where Flowise, or flowise-components, is installed; by default it is looked for
                      in this folder and among the packages installed with npm install -g

Restart Flowise afterwards. An upgrade of Flowise brings its own node back: install again.

Examples:
  chat-memory-flowise install
  chat-memory-flowise install --alongside
  chat-memory-flowise uninstall
  chat-memory-flowise status --flowise /usr/local/lib/node_modules/flowise`;

/** Marks our file, to distinguish it from Flowise's. */
const MARK = "// Made by chat-memory-flowise.";

class Refused extends Error {}

function main(): void {
  const { values, positionals } = parse();
  const [command, ...more] = positionals;
  if (values.help || command === undefined) {
    console.log(HELP);
    if (!values.help) process.exitCode = 2;
    return;
  }
  const run = { install, uninstall, status }[command];
  if (!run || more.length > 0) throw new Refused(`unknown command ${positionals.join(" ")}; chat-memory-flowise --help lists all`);
  const nodes = join(components(values.flowise), "dist", "nodes", "memory");
  run({ original: join(nodes, "DynamoDb"), alongside: values.alongside ? join(nodes, "DurableDynamoDb") : undefined });
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { alongside: { type: "boolean" }, flowise: { type: "string" }, help: { type: "boolean", short: "h" } },
    });
  } catch (error) {
    throw new Refused(`${(error as Error).message}; chat-memory-flowise --help lists all options`);
  }
}

/** The folders of the two nodes; the second only if requested. */
interface Places {
  original: string;
  alongside: string | undefined;
}

function install({ original, alongside }: Places): void {
  const folder = alongside ?? original;
  const file = join(folder, alongside ? "DurableDynamoDb.js" : "DynamoDb.js");
  if (alongside) {
    mkdirSync(folder, { recursive: true });
  } else if (!isOurs(file)) {
    // Not `.js`: Flowise loads every such file as a node.
    renameSync(file, `${file}.original`);
  }
  const here = join(dirname(realpathSync(fileURLToPath(import.meta.url))), "..", "..", "cjs", "flowise", "index.js");
  const text = `"use strict";\n${MARK} \`chat-memory-flowise uninstall${alongside ? " --alongside" : ""}\` removes it.\nmodule.exports = require(${JSON.stringify(here)}).flowiseNode(require, { alongside: ${Boolean(alongside)} });\n`;
  writeFileSync(join(folder, ICON_FILE), ICON);
  writeFileSync(file, text);
  console.log(`Installed the node "${label(file, { original, alongside })}" (${file}). Restart Flowise to use it.`);
}

/** The node's label. Loading the node here reveals at once what would keep Flowise from listing it. */
function label(file: string, places: Places): string {
  try {
    return load(file);
  } catch (error) {
    uninstall(places);
    throw new Refused(`the node does not load in this Flowise (${reason(error)}), so it was removed again`);
  }
}

/** Loads a node's file as Flowise does, and returns its label. */
function load(file: string): string {
  const { nodeClass } = createRequire(file)(file) as { nodeClass: new () => { label: string } };
  return new nodeClass().label;
}

const reason = (error: unknown): string | undefined => (error as Error).message.split("\n")[0];

function uninstall({ original, alongside }: Places): void {
  if (alongside) {
    rmSync(alongside, { recursive: true, force: true });
    console.log("Removed the node next to Flowise's own. Flows that use it no longer run; restart Flowise.");
    return;
  }
  const file = join(original, "DynamoDb.js");
  if (!isOurs(file)) {
    console.log("Flowise's own node is in its place; nothing to do.");
    return;
  }
  if (!existsSync(`${file}.original`)) {
    throw new Refused(`cannot restore Flowise's own node: ${file}.original is missing; reinstall Flowise to get its node back`);
  }
  renameSync(`${file}.original`, file);
  rmSync(join(original, ICON_FILE), { force: true });
  console.log("Flowise's own node is back in its place. Restart Flowise.");
}

function status({ original }: Places): void {
  const file = join(original, "DynamoDb.js");
  const alongside = join(dirname(original), "DurableDynamoDb", "DurableDynamoDb.js");
  console.log(`DynamoDB Chat Memory: ${isOurs(file) ? `of chat-memory${loads(file, "install")}` : "Flowise's own"}`);
  console.log(`Durable DynamoDB Chat Memory, next to it: ${existsSync(alongside) ? `installed${loads(alongside, "install --alongside")}` : "not installed"}`);
}

/** A note if an installed node does not load; the program fails then too. */
function loads(file: string, command: string): string {
  try {
    load(file);
    return "";
  } catch (error) {
    process.exitCode = 1;
    const target = /require\((".*?")\)\.flowiseNode/.exec(readFileSync(file, "utf8"))?.[1];
    const moved = target !== undefined && !existsSync(JSON.parse(target) as string);
    const why = moved ? `the package is no longer at ${JSON.parse(target)}` : reason(error);
    return `, but it does not load: ${why}; run \`chat-memory-flowise ${command}\` again${moved ? " from where the package is now" : ""}`;
  }
}

function isOurs(file: string): boolean {
  return existsSync(file) && readFileSync(file, "utf8").includes(MARK);
}

/** The folder of flowise-components. */
function components(given: string | undefined): string {
  const global = given ? undefined : spawnSync("npm", ["root", "-g"], { encoding: "utf8", shell: process.platform === "win32" }).stdout?.trim();
  const starts = given ? [resolve(given)] : [process.cwd(), join(process.cwd(), "node_modules", "flowise"), ...(global ? [join(global, "flowise")] : [])];
  for (const start of starts) {
    // Flowise's own folder, the folder that it is installed in, and flowise-components itself.
    for (const folder of [start, join(start, "node_modules", "flowise-components"), join(start, "..", "flowise-components")]) {
      if (existsSync(join(folder, "dist", "nodes", "memory", "DynamoDb", "dynamodb.svg"))) return folder;
    }
  }
  throw new Refused(`no Flowise was found in ${starts.join(", ")}; name its folder with --flowise (npm root -g says where npm install -g puts it)`);
}

try {
  main();
} catch (error) {
  const known = error instanceof Refused || (error as NodeJS.ErrnoException).code !== undefined;
  console.error(`error: ${known ? (error as Error).message : (error as Error).stack}`);
  process.exitCode = 1;
}
