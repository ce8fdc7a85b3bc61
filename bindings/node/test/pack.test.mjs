// The package as it would be installed: packed, into an empty project, with nothing of the repository around it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { root, run } from "./support.mjs";

const npm = (cwd, ...args) => {
  const { status, stdout, stderr } = spawnSync("npm", [...args, "--no-audit", "--no-fund", "--loglevel=error"], { cwd, encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout;
};

test("npm pack, and npm install of it into an empty project", async () => {
  const project = mkdtempSync(join(tmpdir(), "project-"));
  writeFileSync(join(project, "package.json"), '{"name":"project","private":true}');
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
  // What is optional is named where it is missing.
  const missing = await run(["-e", 'require("chat-memory/langchain")'], { cwd: project });
  assert.match(missing.err, /Cannot find module '@langchain\/core/);
  const help = spawnSync(join(project, "node_modules", ".bin", "chat-memory-flowise"), ["--help"], { encoding: "utf8" });
  assert.match(help.stdout, /Usage: chat-memory-flowise/);

  const inside = readdirSync(join(project, "node_modules", "chat-memory"));
  assert.deepEqual(inside.sort(), ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "dist", "native.cjs", "native.d.cts", "package.json", "platform.cjs", "prebuilt"]);
});

test("the types, for both module systems", () => {
  const project = mkdtempSync(join(tmpdir(), "types-"));
  writeFileSync(join(project, "package.json"), '{"name":"project","private":true,"type":"module"}');
  // As an installation has it: the package among what it can be used with.
  mkdirSync(join(project, "node_modules"));
  for (const name of readdirSync(join(root, "node_modules"))) symlinkSync(join(root, "node_modules", name), join(project, "node_modules", name));
  symlinkSync(root, join(project, "node_modules", "chat-memory"));
  for (const [from, to] of [["types.ts", "types.mts"], ["types.ts", "types.cts"], ["types-ai.ts", "types-ai.mts"]]) {
    copyFileSync(join(root, "test", from), join(project, to));
  }
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const args = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--skipLibCheck", "--types", "node", "types.mts", "types.cts", "types-ai.mts"];
  const { status, stdout } = spawnSync(process.execPath, [tsc, ...args], { cwd: project, encoding: "utf8" });
  assert.equal(status, 0, stdout);
});
