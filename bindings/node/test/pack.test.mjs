// The package as it is installed: packed, into an empty project, with nothing of the repository around it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { builtLibrary, noteFile, sha256, sourcesHash, unfit } from "../scripts/addon.mjs";
import { machine, mainManifest, platformManifest } from "../scripts/release.mjs";
import platforms from "../platform.cjs";
import { root, run } from "./support.mjs";

const npm = (cwd, ...args) => {
  const { status, stdout, stderr } = spawnSync("npm", [...args, "--no-audit", "--no-fund", "--loglevel=error"], { cwd, encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout;
};

test("npm pack, and npm install of it into an empty project", async () => {
  const project = mkdtempSync(join(tmpdir(), "project-"));
  writeFileSync(join(project, "package.json"), '{"name":"project","private":true}');
  // Without the addon check, which refuses one that was built for tests.
  npm(root, "pack", "--ignore-scripts", "--pack-destination", project);
  const [tarball] = readdirSync(project).filter((name) => name.endsWith(".tgz"));
  // Offline: it needs nothing else.
  npm(project, "install", "--offline", "--ignore-scripts", join(project, tarball));
  const use = (quote) => `
    ${quote}
    (async () => {
      const store = new ChatStore("sqlite:chat.db");
      await store.append("s", [{ role: "user", content: "Hello" }]);
      console.log((await store.load("s")).messages.length);
    })();`;
  const required = await run(["-e", use('const { ChatStore } = require("chat-memory");')], { cwd: project });
  assert.deepEqual([required.code, required.out, required.err], [0, "1\n", ""]);
  const imported = await run(["--input-type=module", "-e", use('import { ChatStore } from "chat-memory";')], { cwd: project });
  assert.deepEqual([imported.code, imported.out, imported.err], [0, "2\n", ""]);
  for (const name of ["flowise", "ai-sdk"]) {
    const { code, err } = await run(["-e", `require("chat-memory/${name}")`], { cwd: project });
    assert.equal(code, 0, err);
  }
  // Missing optional packages are named.
  const missing = await run(["-e", 'require("chat-memory/langchain")'], { cwd: project });
  assert.match(missing.err, /Cannot find module '@langchain\/core/);
  const graphs = await run(["-e", 'require("chat-memory/langgraph")'], { cwd: project });
  assert.match(graphs.err, /Cannot find module '@langchain\/langgraph-checkpoint/);
  const help = spawnSync(join(project, "node_modules", ".bin", "chat-memory-flowise"), ["--help"], { encoding: "utf8" });
  assert.match(help.stdout, /Usage: chat-memory-flowise/);

  const inside = readdirSync(join(project, "node_modules", "chat-memory"));
  assert.ok(readdirSync(join(project, "node_modules", "chat-memory", "prebuilt")).every((name) => name.endsWith(".node")), "no note of the build");
  assert.deepEqual(inside.sort(), ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "dist", "native.cjs", "native.d.cts", "package.json", "platform.cjs", "prebuilt"]);
});

test("the released packages: the main one finds the package of its platform, and without it names it", async () => {
  const packages = mkdtempSync(join(tmpdir(), "released-"));
  const made = spawnSync(process.execPath, ["scripts/release.mjs", packages, "--any-profile"], { cwd: root, encoding: "utf8" });
  assert.equal(made.status, 0, made.stderr);
  const here = platforms.platform();
  const tarballs = readdirSync(packages).filter((name) => name.endsWith(".tgz"));
  const { version } = mainManifest();
  assert.deepEqual(tarballs.sort(), [`chat-memory-${version}.tgz`, `chat-memory-${here}-${version}.tgz`]);
  const project = mkdtempSync(join(tmpdir(), "project-"));
  writeFileSync(join(project, "package.json"), '{"name":"project","private":true}');
  // Offline, the packages of other platforms cannot be had: npm leaves out optional ones.
  npm(project, "install", "--offline", "--ignore-scripts", ...tarballs.map((name) => join(packages, name)));
  const use = ["-e", 'new (require("chat-memory").ChatStore)("memory:").load("s").then(({ messages }) => console.log(messages.length))'];
  const used = await run(use, { cwd: project });
  assert.deepEqual([used.code, used.out, used.err], [0, "0\n", ""]);
  const installed = join(project, "node_modules", "chat-memory");
  assert.ok(!readdirSync(installed).includes("prebuilt"), "the addon is in the platform's package only");
  rmSync(join(project, "node_modules", `chat-memory-${here}`), { recursive: true });
  const without = await run(use, { cwd: project });
  assert.match(without.err, new RegExp(`the package chat-memory-${here} is not installed; install again without --omit=optional`));
});

test("a platform's package is installed on its platform only", () => {
  assert.deepEqual(machine("linux-x64-musl"), { os: ["linux"], cpu: ["x64"], libc: ["musl"] });
  assert.deepEqual(machine("win32-x64-msvc"), { os: ["win32"], cpu: ["x64"] });
  assert.deepEqual(machine("darwin-arm64"), { os: ["darwin"], cpu: ["arm64"] });
  const main = mainManifest();
  assert.deepEqual(Object.keys(main.optionalDependencies), platforms.PLATFORMS.map((platform) => `chat-memory-${platform}`));
  assert.ok(Object.values(main.optionalDependencies).every((version) => version === main.version), "of the same release");
  assert.equal(platformManifest("darwin-x64").main, "chat-memory.darwin-x64.node");
  // Tools that collect an application's files find each by its name.
  const loader = readFileSync(join(root, "native.cjs"), "utf8");
  for (const platform of platforms.PLATFORMS) assert.ok(loader.includes(`"../chat-memory-${platform}"`), platform);
});

test("npm pack refuses a missing addon, a stale one, one of tests, and says what to run", () => {
  const [repository, prebuilt] = [mkdtempSync(join(tmpdir(), "repository-")), mkdtempSync(join(tmpdir(), "prebuilt-"))];
  const refused = (says) => {
    const why = unfit(prebuilt, repository);
    assert.match(why ?? "nothing", says);
    assert.match(why, /run `npm run build:native` in bindings\/node$/);
  };
  refused(/there is no addon in/);
  const files = ["src/lib.rs", "src/new.rs"];
  mkdirSync(join(repository, "src"));
  const source = (text, name = "lib") => writeFileSync(join(repository, "src", `${name}.rs`), text);
  const addon = join(prebuilt, "chat-memory.linux-x64-gnu.node");
  const built = (more = {}) => {
    writeFileSync(addon, "an addon");
    const note = { addon: sha256("an addon"), profile: "release", sources: sourcesHash(files, repository), files, ...more };
    writeFileSync(noteFile("linux-x64-gnu", prebuilt), JSON.stringify(note));
  };
  source("fn a() {}");
  writeFileSync(addon, "an addon");
  refused(/not known what chat-memory.linux-x64-gnu.node was built from/);
  built();
  assert.equal(unfit(prebuilt, repository), undefined);
  // File times do not matter, contents do.
  source("fn a() {}");
  assert.equal(unfit(prebuilt, repository), undefined);
  source("fn b() {}");
  refused(/older than its sources/);
  built();
  source("fn c() {}", "new");
  refused(/older than its sources/);
  built();
  rmSync(join(repository, "src", "new.rs"));
  refused(/older than its sources/);
  built({ profile: "debug" });
  refused(/built for tests \(profile debug\)/);
  built();
  writeFileSync(addon, "another addon");
  refused(/is not the addon that its note was written for/);
  // npm itself runs the check, here on the addon that the tests built.
  const packing = spawnSync("npm", ["pack", "--dry-run"], { cwd: root, encoding: "utf8" });
  const { profile } = JSON.parse(readFileSync(noteFile(readdirSync(join(root, "prebuilt")).find((name) => name.endsWith(".json")).slice("chat-memory.".length, -".json".length)), "utf8"));
  if (profile === "release") assert.equal(packing.status, 0, packing.stderr);
  else assert.match(packing.stderr, /cannot pack: .* was built for tests/);
});

test("build:native takes the addon from where cargo says that it put it, such as CARGO_TARGET_DIR", () => {
  const message = (name, file) => JSON.stringify({ reason: "compiler-artifact", target: { name }, filenames: [file] });
  const lines = [message("serde", "/elsewhere/release/deps/libserde.rlib"), message("chat_memory_node", "/elsewhere/release/libchat_memory_node.so"), '{"reason":"build-finished","success":true}'];
  assert.equal(builtLibrary(lines.join("\n")), "/elsewhere/release/libchat_memory_node.so");
  assert.equal(builtLibrary(lines[0]), undefined);
});

for (const ai of ["ai", "ai-6"]) test(`the types, for both module systems, with ${ai}`, () => {
  const project = mkdtempSync(join(tmpdir(), "types-"));
  writeFileSync(join(project, "package.json"), '{"name":"project","private":true,"type":"module"}');
  // As in an installation: the package among the packages that it supports.
  mkdirSync(join(project, "node_modules"));
  for (const name of readdirSync(join(root, "node_modules"))) {
    if (name !== "ai") symlinkSync(join(root, "node_modules", name), join(project, "node_modules", name));
  }
  symlinkSync(join(root, "node_modules", ai), join(project, "node_modules", "ai"));
  symlinkSync(root, join(project, "node_modules", "chat-memory"));
  for (const [from, to] of [["types.ts", "types.mts"], ["types.ts", "types.cts"], ["types-ai.ts", "types-ai.mts"]]) {
    copyFileSync(join(root, "test", from), join(project, to));
  }
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const args = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--skipLibCheck", "--types", "node", "types.mts", "types.cts", "types-ai.mts"];
  const { status, stdout } = spawnSync(process.execPath, [tsc, ...args], { cwd: project, encoding: "utf8" });
  assert.equal(status, 0, stdout);
});
