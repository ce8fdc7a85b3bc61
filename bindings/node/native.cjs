"use strict";
// Loads the addon made for this platform. It is CommonJS, as only `require` loads addons, and one for both module systems, so that
// `import` and `require` in one program share the stores.

const { existsSync, readdirSync } = require("node:fs");
const { join } = require("node:path");
const { platform } = require("./platform.cjs");

const folder = join(__dirname, "prebuilt");

function cannot(why, cause) {
  const has = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".node")) : [];
  const there = has.length > 0 ? has.map((name) => name.replace(/^chat-memory\.|\.node$/g, "")).join(", ") : "none";
  const error = new Error(
    `chat-memory cannot run here: ${why} (addons in this package: ${there}); use an image with glibc such as node:24-slim, or ` +
      "build the addon from the repository with `npm run build:native` in bindings/node and set CHAT_MEMORY_NATIVE to its path.",
    { cause },
  );
  error.code = "unsupported_platform";
  return error;
}

function load() {
  const here = platform();
  const path = process.env.CHAT_MEMORY_NATIVE || join(folder, `chat-memory.${here}.node`);
  if (!existsSync(path)) {
    throw cannot(process.env.CHAT_MEMORY_NATIVE ? `CHAT_MEMORY_NATIVE names a file that is not there` : `it has no addon for ${here}`);
  }
  let native;
  try {
    native = require(path);
  } catch (error) {
    throw cannot(`the addon for ${here} does not load (${error.message})`, error);
  }
  const wanted = require("./package.json").version;
  if (native.version() !== wanted) {
    throw cannot(`the addon is of version ${native.version()}, the package of ${wanted}`);
  }
  return native;
}

exports.native = load();
exports.stores = new Map();
