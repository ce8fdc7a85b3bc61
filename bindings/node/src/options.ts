// Constructor options: a misspelt one is an error, never ignored.

import { invalid } from "./errors.js";

/**
 * Refuses unknown options.
 *
 * @throws ChatMemoryError `invalid`, naming the unknown option and the known ones.
 */
export function checkNames(what: string, given: object, known: readonly string[]): void {
  if (typeof given !== "object" || given === null) {
    throw invalid(`${what} takes an object with ${known.join(", ")}, not ${given === null ? "null" : typeof given}`);
  }
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || known.includes(name)) continue;
    const near = known.find((other) => other.toLowerCase().replaceAll("_", "") === name.toLowerCase().replaceAll("_", ""));
    const hint = near ? `write ${near}` : `it takes ${known.join(", ")}`;
    throw invalid(`${what} has no option ${JSON.stringify(name)}; ${hint}`);
  }
}

/** An optional text. */
export function text(what: string, name: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string" || value === "") {
    throw invalid(`${what}: ${name} must be a text with at least one character; leave it out for the default`);
  }
  return value;
}
