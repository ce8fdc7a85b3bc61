// Notes on the addons in prebuilt/: a file next to each records what it was built from; it is not packed.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const repository = fileURLToPath(new URL("../../../", import.meta.url));

export const prebuilt = fileURLToPath(new URL("../prebuilt", import.meta.url));

export const noteFile = (platform, folder = prebuilt) => join(folder, `chat-memory.${platform}.json`);

export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** A checksum over these files of the repository: their names and contents. A new file counts as soon as one of these mentions it. */
export function sourcesHash(files, root = repository) {
  const hash = createHash("sha256");
  for (const file of files) {
    const path = join(root, file);
    hash.update(`${file}\0${existsSync(path) ? sha256(readFileSync(path)) : "gone"}\n`);
  }
  return hash.digest("hex");
}

/** Finds the addon's file in cargo's messages about what it built (`--message-format=json`). */
export function builtLibrary(messages) {
  const all = messages.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  const [library] = all.flatMap(({ reason, target, filenames }) => (reason === "compiler-artifact" && target.name === "chat_memory_node" ? filenames : []));
  return library;
}

/** The cargo profiles of addons that may be packed. */
const RELEASED = ["release", "dist"];

const BUILD = "run `npm run build:native` in bindings/node";

/** Why the addons in this folder must not be packed; undefined if they may be. */
export function unfit(folder = prebuilt, root = repository) {
  const addons = existsSync(folder) ? readdirSync(folder).filter((name) => /^chat-memory\..*\.node$/.test(name)) : [];
  if (addons.length === 0) return `cannot pack: there is no addon in ${folder}; ${BUILD}`;
  for (const addon of addons) {
    const note = noteFile(addon.replace(/^chat-memory\.|\.node$/g, ""), folder);
    if (!existsSync(note)) return `cannot pack: it is not known what ${addon} was built from; ${BUILD}`;
    const { addon: checksum, profile, sources, files } = JSON.parse(readFileSync(note, "utf8"));
    if (sha256(readFileSync(join(folder, addon))) !== checksum) return `cannot pack: ${addon} is not the addon that its note was written for; ${BUILD}`;
    if (!RELEASED.includes(profile)) return `cannot pack: ${addon} was built for tests (profile ${profile}); ${BUILD}`;
    if (sourcesHash(files, root) !== sources) return `cannot pack: ${addon} is older than its sources; ${BUILD}`;
  }
  return undefined;
}
