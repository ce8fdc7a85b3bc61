// What the tests and the screenshots share: a real running service, and a real browser.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

/** The program under test. Without it the tests fail instead of being skipped. */
const program = process.env.CHAT_MEMORY_PROGRAM;
if (!program) throw new Error("CHAT_MEMORY_PROGRAM does not name the program; `cargo xtask test console` builds it and runs these tests.");

/** The machine's own settings must not affect the service. */
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(CHAT_MEMORY_|AWS_)/.test(name)));

/** Runs the program to its end, and returns what it printed. */
export function run(...args) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    let [out, err] = ["", ""];
    child.stdout.on("data", (data) => (out += data));
    child.stderr.on("data", (data) => (err += data));
    child.once("error", reject);
    child.once("close", (code) => (code === 0 ? resolve(out.trim()) : reject(new Error(`${args.join(" ")} ended with ${code}: ${err}`))));
  });
}

/** A service on a free port. `log` is its standard error. */
export async function serve(...args) {
  const child = spawn(program, ["serve", "--listen", "127.0.0.1:0", ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stderr.on("data", (data) => (log += data));
  const ended = new Promise((resolve) => child.once("close", resolve));
  const lines = createInterface({ input: child.stdout });
  const url = await new Promise((resolve, reject) => {
    lines.on("line", (line) => {
      const found = /^listening on (http:\S+)/.exec(line);
      if (found) resolve(found[1]);
    });
    child.once("error", reject);
    ended.then((code) => reject(new Error(`the service ended with ${code}: ${log}`)));
  });
  return {
    url,
    log: () => log,
    stop: async () => {
      child.kill("SIGTERM");
      await ended;
    },
  };
}

/** A temporary folder, removed when it is closed. */
export function folder() {
  const path = mkdtempSync(join(tmpdir(), "chat-memory-console-"));
  return { path, file: (name) => join(path, name), close: () => rmSync(path, { recursive: true, force: true }) };
}

/** Debian's Chromium, or CHROMIUM if set. */
function executable() {
  const named = process.env.CHROMIUM;
  const inPath = (process.env.PATH ?? "").split(delimiter).flatMap((path) => [join(path, "chromium"), join(path, "chromium-browser")]);
  const found = named ?? inPath.find((path) => existsSync(path));
  if (!found) throw new Error("there is no chromium in PATH; install it, or name it in CHROMIUM");
  return found;
}

/** A headless browser that sends no requests of its own. */
export function browser() {
  return chromium.launch({
    executablePath: executable(),
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** Calls the HTTP API. */
export async function api(url, method, path, body, key) {
  const headers = { "content-type": "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) };
  const answer = await fetch(`${url}/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
  const value = await answer.json();
  if (!answer.ok) throw new Error(`${method} ${path}: ${JSON.stringify(value)}`);
  return value;
}

/** Appends messages through the HTTP API. */
export const append = (url, session, messages, key) =>
  api(url, "POST", `/sessions/${encodeURIComponent(session)}/messages`, { messages }, key);
