// Bundling: outside of the bundle the package works, and inside of it the error names the cause and the remedy.
import assert from "node:assert/strict";
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { build } from "esbuild";
import { root, run } from "./support.mjs";

/** A project with a program that uses the package, which is installed in it. */
function project() {
  const folder = mkdtempSync(join(tmpdir(), "bundle-"));
  writeFileSync(join(folder, "package.json"), '{"name":"my-app","version":"7.0.0"}');
  writeFileSync(join(folder, "app.mjs"), 'import { ChatStore } from "chat-memory";\nconst store = new ChatStore("memory:");\nstore.load("s").then(({ messages }) => console.log(messages.length));\n');
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(root, join(folder, "node_modules", "chat-memory"));
  return folder;
}

for (const format of ["cjs", "esm"]) {
  const bundle = async (options) => {
    const folder = project();
    const outfile = join(folder, "out", format === "cjs" ? "app.cjs" : "app.mjs");
    const common = { entryPoints: [join(folder, "app.mjs")], outfile, bundle: true, platform: "node", format, logLevel: "silent" };
    const { warnings } = await build({ ...common, ...options });
    assert.deepEqual(warnings, []);
    return outfile;
  };

  test(`esbuild, ${format}: bundled, the error says that it is, and how to leave the package out`, async () => {
    const outfile = await bundle({});
    const { code, err } = await run([outfile]);
    assert.equal(code, 1);
    assert.match(err, /cannot load the addon of chat-memory: a bundler has put the package's code.*, without the addon; leave the package out of the bundle/);
    for (const remedy of ['serverExternalPackages: ["chat-memory"]', "externals", "--external:chat-memory"]) assert.ok(err.includes(remedy), err);
    assert.match(err, /code: 'bundled'/);
    assert.doesNotMatch(err, /no addon for|npm run build:native/);
    // Users who need one file anyway can name the addon's path.
    const [addon] = readdirSync(join(root, "prebuilt")).filter((name) => name.endsWith(".node"));
    const named = await run([outfile], { env: { CHAT_MEMORY_NATIVE: join(root, "prebuilt", addon) } });
    assert.deepEqual([named.code, named.out, named.err], [0, "0\n", ""]);
  });

  test(`esbuild, ${format}: --external:chat-memory works`, async () => {
    const { code, out, err } = await run([await bundle({ external: ["chat-memory"] })]);
    assert.deepEqual([code, out, err], [0, "0\n", ""]);
  });
}

/** A copy of the package with these addons. */
function copied(...addons) {
  const folder = project();
  const copy = join(folder, "node_modules", "other", "node_modules", "chat-memory");
  mkdirSync(copy, { recursive: true });
  cpSync(join(root, "dist"), join(copy, "dist"), { recursive: true });
  for (const name of ["native.cjs", "platform.cjs", "package.json"]) copyFileSync(join(root, name), join(copy, name));
  if (addons.length > 0) mkdirSync(join(copy, "prebuilt"));
  for (const name of addons) writeFileSync(join(copy, "prebuilt", name), "");
  return copy;
}

test("a package without any addon, and one without this platform's, are told from a bundle", async () => {
  const says = async (copy) => (await run(["-e", `try { require(${JSON.stringify(join(copy, "dist", "cjs", "index.js"))}) } catch (error) { console.log(error.code, error.message) }`])).out;
  assert.match(await says(copied()), /^bundled cannot load .*has no addon at all.*; mark chat-memory as external .*, or build it .*npm run build:native/);
  assert.match(await says(copied("chat-memory.plan9-x64.node")), /^unsupported_platform cannot load .*: the package has none for \w+-\w+.* \(only for plan9-x64\); .*npm run build:native/);
});
