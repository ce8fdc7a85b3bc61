// Options of constructors: what a user may have misspelt is said, never passed over.

import { invalid } from "./errors.js";

/**
 * Refuses an option that there is not.
 *
 * @throws ChatMemoryError `invalid`, naming the option and those there are.
 */
export function checkNames(what: string, given: object, known: readonly string[]): void {
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || known.includes(name)) continue;
    const near = known.find((other) => other.toLowerCase().replaceAll("_", "") === name.toLowerCase().replaceAll("_", ""));
    const hint = near ? `write ${near}` : `it takes ${known.join(", ")}`;
    throw invalid(`${what} has no option ${JSON.stringify(name)}; ${hint}`);
  }
}

/** An option that is a text, where it is given. */
export function text(what: string, name: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string" || value === "") {
    throw invalid(`${what}: ${name} must be a text with at least one character; leave it out for the default`);
  }
  return value;
}
