// Whether the package that was just built here loads, stores and reads. A release runs it on each platform.
const { equal } = require("node:assert/strict");
const { mkdtempSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { ChatStore } = require("../dist/cjs/index.js");

async function smoke() {
  const store = new ChatStore(`sqlite:${join(mkdtempSync(join(tmpdir(), "smoke-")), "chat.db")}`);
  await store.append("s", [{ role: "user", content: "Hello" }]);
  equal((await store.load("s")).messages.length, 1);
  console.log("the package works here");
}

smoke();
