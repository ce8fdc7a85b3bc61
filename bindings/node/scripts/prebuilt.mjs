// Copies the addon that cargo built into prebuilt/, under this platform's name, with a record of what it was built from: node
// scripts/prebuilt.mjs TARGET_FOLDER, the folder of cargo's profile such as target/release
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { platform } from "../platform.cjs";
import { noteFile, prebuilt, sha256, sourcesHash } from "./addon.mjs";

const LIBRARY = { darwin: "libchat_memory_node.dylib", win32: "chat_memory_node.dll" }[process.platform] ?? "libchat_memory_node.so";

/** Copies the addon from a cargo folder. */
export function take(target) {
  const library = join(target, LIBRARY);
  if (!existsSync(library)) {
    throw new Error(`no addon in ${JSON.stringify(target)}: there is no ${LIBRARY}; build it with \`cargo build --release -p chat-memory-node\``);
  }
  const name = `chat-memory.${platform()}.node`;
  mkdirSync(prebuilt, { recursive: true });
  const made = join(prebuilt, `.${name}`);
  copyFileSync(library, made);
  // A good part of it is debug symbols. Without `strip`, the addon is larger but works.
  if (process.platform === "linux") spawnSync("strip", [made], { stdio: "ignore" });
  const bytes = readFileSync(made);
  const files = sourcesOf(library);
  const note = { addon: sha256(bytes), profile: basename(resolve(target)), sources: sourcesHash(files), files };
  renameSync(made, join(prebuilt, name));
  writeFileSync(noteFile(platform()), `${JSON.stringify(note, undefined, 1)}\n`);
  const glibc = process.platform === "linux" ? newestGlibc(bytes) : undefined;
  console.log(`prebuilt/${name}: ${(bytes.length / 1e6).toFixed(1)} MB${glibc ? `, for glibc ${glibc} or newer` : ""}`);
}

/** The repository's files that the addon was compiled from, as cargo lists them next to it; relative to the repository. */
function sourcesOf(library) {
  const list = readFileSync(library.replace(/\.\w+$/, ".d"), "utf8");
  const root = fileURLToPath(new URL("../../../", import.meta.url));
  const [, files = ""] = /^[^\n]*?: (.*)$/m.exec(list) ?? [];
  const paths = files.split(/(?<!\\) /).map((path) => resolve(path.replaceAll("\\ ", " ")));
  const inside = paths.filter((path) => path.startsWith(root)).map((path) => path.slice(root.length).replaceAll("\\", "/"));
  const own = inside.filter((path) => /^(bindings|crates)\//.test(path));
  return [...new Set([...own, "Cargo.toml", "Cargo.lock", "bindings/node/native/Cargo.toml", "crates/chat-memory/Cargo.toml"])].sort();
}

/** The newest version of glibc that the addon requires. */
function newestGlibc(bytes) {
  const named = bytes.toString("latin1").matchAll(/GLIBC_2\.(\d+)(?:\.\d+)?\0/g);
  const newest = Math.max(0, ...[...named].map(([, minor]) => Number(minor)));
  return newest > 0 ? `2.${newest}` : undefined;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [target] = process.argv.slice(2);
  if (!target) {
    console.error("usage: node scripts/prebuilt.mjs TARGET_FOLDER, the folder in which cargo built chat-memory-node");
    process.exit(2);
  }
  take(target);
}
