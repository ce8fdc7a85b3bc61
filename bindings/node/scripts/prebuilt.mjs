// Puts the addon that cargo built into prebuilt/, under this platform's name: node scripts/prebuilt.mjs TARGET_FOLDER
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { platform } from "../platform.cjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const [target] = process.argv.slice(2);
if (!target) {
  console.error("usage: node scripts/prebuilt.mjs TARGET_FOLDER, the folder in which cargo built chat-memory-node");
  process.exit(2);
}
const library = { darwin: "libchat_memory_node.dylib", win32: "chat_memory_node.dll" }[process.platform] ?? "libchat_memory_node.so";
const name = `chat-memory.${platform()}.node`;
const folder = join(root, "prebuilt");
mkdirSync(folder, { recursive: true });
const made = join(folder, `.${name}`);
copyFileSync(join(target, library), made);
// Half of it is names for debuggers. Where there is no strip, the addon is larger, and as good.
if (process.platform === "linux") spawnSync("strip", ["--strip-debug", made], { stdio: "ignore" });
rmSync(join(folder, name), { force: true });
renameSync(made, join(folder, name));
console.log(`prebuilt/${name}`);
