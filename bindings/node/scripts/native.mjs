// Builds the addon for this machine, and copies it from cargo's target folder (CARGO_TARGET_DIR, cargo's own settings).
import { spawnSync } from "node:child_process";
import { dirname } from "node:path";
import { builtLibrary } from "./addon.mjs";
import { take } from "./prebuilt.mjs";

const args = ["build", "--profile", "dist", "-p", "chat-memory-node", "--message-format=json-render-diagnostics"];
const { status, stdout, error } = spawnSync("cargo", args, { cwd: import.meta.dirname, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], maxBuffer: 2 ** 28 });
if (error) {
  console.error(`cannot build the addon: cargo does not start (${error.message}); install Rust with rustup`);
  process.exit(1);
}
if (status !== 0) process.exit(status ?? 1);
const library = builtLibrary(stdout);
if (!library) {
  console.error("cannot build the addon: cargo named no library chat_memory_node; is bindings/node/native as it was?");
  process.exit(1);
}
take(dirname(library));
