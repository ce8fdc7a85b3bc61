// Makes the packages that are published, as tarballs: one for each platform whose addon is in prebuilt/, and the main package, which
// names all platforms as optional dependencies: node scripts/release.mjs FOLDER [--all] [--any-profile]
import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import platforms from "../platform.cjs";
import { prebuilt, unfit } from "./addon.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** What npm compares with the machine, so that it installs the package of this platform only. */
export function machine(platform) {
  const [os, cpu, abi] = platform.split("-");
  const libc = { gnu: ["glibc"], musl: ["musl"] }[abi];
  return { os: [os], cpu: [cpu], ...(libc && { libc }) };
}

/** The manifest of a platform's package. */
export function platformManifest(platform) {
  const { version, license, repository, homepage, bugs, engines } = manifest;
  const name = `${manifest.name}-${platform}`;
  const addon = `chat-memory.${platform}.node`;
  const description = `The native part of the package chat-memory for ${platform}; install chat-memory, which depends on it`;
  const keywords = ["chat-memory", "native", platform];
  return { name, version, description, license, repository, homepage, bugs, keywords, engines, ...machine(platform), main: addon, files: [addon, "LICENSE-MIT", "LICENSE-APACHE"] };
}

/** The main package's manifest: without an addon of its own, and without what only the repository needs. */
export function mainManifest() {
  const { scripts, devDependencies, files, ...rest } = manifest;
  const optionalDependencies = Object.fromEntries(platforms.PLATFORMS.map((platform) => [`${manifest.name}-${platform}`, manifest.version]));
  return { ...rest, files: files.filter((name) => !name.startsWith("prebuilt")), optionalDependencies };
}

/** Packs a package in this folder of its own; returns the tarball's name. */
function pack(into, packed, fill) {
  const folder = join(into, packed.name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(packed, undefined, 2)}\n`);
  for (const name of ["LICENSE-MIT", "LICENSE-APACHE"]) copyFileSync(join(root, "..", "..", name), join(folder, name));
  fill(folder);
  const npm = spawnSync("npm", ["pack", "--json", "--pack-destination", into], { cwd: folder, encoding: "utf8", shell: process.platform === "win32" });
  if (npm.status !== 0) throw new Error(`npm pack failed in ${folder}: ${npm.stderr}`);
  const [{ filename, size }] = JSON.parse(npm.stdout);
  console.log(`${filename}: ${(size / 1e6).toFixed(2)} MB`);
}

function main() {
  const options = { all: { type: "boolean" }, "any-profile": { type: "boolean" } };
  const { values, positionals } = parseArgs({ allowPositionals: true, options });
  if (positionals.length !== 1) {
    console.error("usage: node scripts/release.mjs FOLDER [--all], the folder for the tarballs; --all refuses a missing platform, --any-profile takes an addon that was built for tests");
    process.exit(2);
  }
  const into = resolve(positionals[0]);
  const found = platforms.PLATFORMS.filter((platform) => existsSync(join(prebuilt, `chat-memory.${platform}.node`)));
  const missing = platforms.PLATFORMS.filter((platform) => !found.includes(platform));
  const why =
    (values["any-profile"] && found.length > 0 ? undefined : unfit()) ??
    (existsSync(join(root, "dist", "esm")) ? undefined : "cannot pack: the code is not compiled; run `npm run build` in bindings/node") ??
    (values.all && missing.length > 0 ? `cannot pack: no addon for ${missing.join(", ")}; build each on its platform and put it into ${prebuilt}` : undefined);
  if (why) {
    console.error(why);
    process.exit(1);
  }
  for (const platform of found) {
    pack(into, platformManifest(platform), (folder) => {
      const addon = `chat-memory.${platform}.node`;
      copyFileSync(join(prebuilt, addon), join(folder, addon));
      writeFileSync(join(folder, "README.md"), `# chat-memory-${platform}\n\nThe native part of [chat-memory](https://www.npmjs.com/package/chat-memory) for ${platform}. Install \`chat-memory\`: it depends on this package where it is needed.\n`);
    });
  }
  pack(into, mainManifest(), (folder) => {
    for (const name of ["dist", "native.cjs", "native.d.cts", "platform.cjs", "README.md"]) cpSync(join(root, name), join(folder, name), { recursive: true });
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
