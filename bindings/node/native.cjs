"use strict";
// Loads the addon for this platform. It is one CommonJS file for both module systems, so that `import` and `require` in one program
// share the stores. A bundler that copies this file leaves the addon behind, so nothing here may rely on what a bundler replaces.

const { PLATFORMS, platform } = require("./platform.cjs");

// In an ES module made by a bundler, `require` finds no built-in modules of Node.
const { existsSync, readdirSync, readFileSync } = process.getBuiltinModule ? process.getBuiltinModule("fs") : require("node:fs");
const { dirname, join } = process.getBuiltinModule ? process.getBuiltinModule("path") : require("node:path");
const { createRequire } = process.getBuiltinModule ? process.getBuiltinModule("module") : require("node:module");

/**
 * Never called. Tools that collect an application's files (Next.js's standalone output, function packagers) find the addon by such lines.
 */
exports.files = () => [
  require("./package.json"),
  require("node:fs").readdirSync(require("node:path").join(__dirname, "prebuilt")),
  require("node:fs").readdirSync(require("node:path").join(__dirname, "../chat-memory-linux-x64-gnu")),
  require("node:fs").readdirSync(require("node:path").join(__dirname, "../chat-memory-linux-x64-musl")),
  require("node:fs").readdirSync(require("node:path").join(__dirname, "../chat-memory-linux-arm64-gnu")),
  require("node:fs").readdirSync(require("node:path").join(__dirname, "../chat-memory-darwin-arm64")),
  require("node:fs").readdirSync(require("node:path").join(__dirname, "../chat-memory-darwin-x64")),
  require("node:fs").readdirSync(require("node:path").join(__dirname, "../chat-memory-win32-x64-msvc")),
];

/** An error with this code: what failed, why, and the remedy. */
function failed(code, why, remedy, cause) {
  return Object.assign(new Error(`cannot load the addon of chat-memory: ${why}; ${remedy}`, cause && { cause }), { code });
}

const BUILD = "build it in the repository with `npm run build:native` in bindings/node";

const EXTERNAL =
  'leave the package out of the bundle: in Next.js serverExternalPackages: ["chat-memory"], in webpack ' +
  'externals: [/^chat-memory(\\/|$)/] with externalsType "module" or "commonjs", in esbuild --external:chat-memory, in Vite ssr.external: ["chat-memory"]';

/** The package's own folder; undefined if this file was copied out of it. */
function ownFolder() {
  if (typeof __dirname !== "string") return undefined;
  try {
    const { name, version } = JSON.parse(readFileSync(join(__dirname, "package.json"), "utf8"));
    return name === "chat-memory" ? { folder: __dirname, version } : undefined;
  } catch {
    return undefined;
  }
}

/** The addon's path, and the version that it must have. */
function locate(here) {
  const given = process.env.CHAT_MEMORY_NATIVE;
  const own = ownFolder();
  if (given) {
    if (existsSync(given)) return { path: given, version: own?.version };
    throw failed("unsupported_platform", `CHAT_MEMORY_NATIVE names ${JSON.stringify(given)}, which is not there`, "name the addon's file, or unset it");
  }
  if (!own) {
    const where = typeof __filename === "string" ? ` into ${JSON.stringify(__filename)}` : "";
    throw failed("bundled", `a bundler has put the package's code${where}, without the addon`, EXTERNAL);
  }
  const prebuilt = join(own.folder, "prebuilt");
  const path = join(prebuilt, `chat-memory.${here}.node`);
  // A build in the repository comes first; an installation has the package of its platform.
  if (existsSync(path)) return { path, version: own.version };
  const installed = ofPlatform(own.folder, here);
  if (installed) return { path: installed, version: own.version };
  const all = existsSync(prebuilt) ? readdirSync(prebuilt).filter((name) => name.endsWith(".node")) : [];
  if (all.length === 0 && released(own.folder)) {
    const [why, remedy] = PLATFORMS.includes(here)
      ? [`the package chat-memory-${here} is not installed`, "install again without --omit=optional (--no-optional), on the platform where it will run"]
      : [`there is no package for ${here} (only for ${PLATFORMS.join(", ")})`, onThisPlatform(here)];
    throw failed("unsupported_platform", why, remedy);
  }
  if (all.length === 0) {
    throw failed(
      "bundled",
      `the package in ${JSON.stringify(own.folder)} has no addon at all, so it was copied or packed without its folder prebuilt`,
      `mark chat-memory as external where a bundler made the copy, or ${BUILD}`,
    );
  }
  const others = all.map((name) => name.replace(/^chat-memory\.|\.node$/g, "")).join(", ");
  throw failed("unsupported_platform", `the package has none for ${here} (only for ${others})`, onThisPlatform(here));
}

/** The addon in the package of this platform, wherever the package manager has put it. */
function ofPlatform(folder, here) {
  try {
    const manifest = createRequire(join(folder, "package.json")).resolve(`chat-memory-${here}/package.json`);
    const path = join(dirname(manifest), `chat-memory.${here}.node`);
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}

/** Whether this is the released package, whose addons are packages of their own, and not one that was packed with its addon. */
function released(folder) {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).optionalDependencies?.["chat-memory-linux-x64-gnu"] !== undefined;
}

function onThisPlatform(here) {
  const glibc = here.endsWith("-musl") ? "use an image with glibc such as node:24-slim, or " : "";
  return `${glibc}${BUILD} on this platform, and set CHAT_MEMORY_NATIVE to its path`;
}

function load() {
  const here = platform();
  const { path, version } = locate(here);
  const loaded = { exports: {} };
  try {
    // What `require` does, if a bundler has removed it.
    process.dlopen(loaded, path);
  } catch (error) {
    throw failed("unsupported_platform", `${JSON.stringify(path)} does not load (${error.message})`, onThisPlatform(here), error);
  }
  const found = loaded.exports.version();
  if (version !== undefined && found !== version) {
    throw failed("unsupported_platform", `${JSON.stringify(path)} is of version ${found}, the package of ${version}`, onThisPlatform(here));
  }
  return loaded.exports;
}

exports.native = load();
exports.stores = new Map();
