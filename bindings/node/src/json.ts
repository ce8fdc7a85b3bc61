// Values as JSON text, for the border to the native part, without a change that would show.
//
// JSON.stringify and JSON.parse alter what a JavaScript number is or is not: -0 becomes 0, NaN becomes null, an integer beyond 2^53 is
// rounded. Here the first crosses as it is, the second is refused, and the third is a BigInt on this side.

import { randomBytes } from "node:crypto";
import { native } from "#native";
import { invalid } from "./errors.js";

/** Stands in front of a number's digits in a string; made anew for each process, so that no text can be taken for one. */
const NUMBER = `${randomBytes(16).toString("hex")}:`;
const NUMBERS = new RegExp(`"${NUMBER}([^"]*)"`, "g");

const INTEGER = native.integerMark();

const MAX_INTEGER = 2n ** 64n - 1n;
const MIN_INTEGER = -(2n ** 63n);

/**
 * The JSON text of a value. Like JSON.stringify, it asks `toJSON` (so that a Date is stored as its text), and leaves out `undefined`.
 *
 * @throws ChatMemoryError `invalid`, for what JSON has no place for: NaN, an infinity, a BigInt beyond 64 bits, a function, a symbol, a
 *   Map, a Set, binary data, half a character, a value that holds itself.
 */
export function encode(value: unknown): string {
  let marked = false;
  const number = (digits: string): string => {
    marked = true;
    return NUMBER + digits;
  };
  const text = stringify(value, (holder, name, found) => {
    switch (typeof found) {
      case "number":
        if (!Number.isFinite(found)) throw invalid(`invalid value in ${place(name)}: ${found} is no number of JSON; send null or a string`);
        if (Object.is(found, -0)) return number("-0.0");
        // With an exponent it is read as what it is, a float, and comes back as a number.
        return Number.isInteger(found) && !Number.isSafeInteger(found) ? number(found.toExponential()) : found;
      case "bigint":
        if (found > MAX_INTEGER || found < MIN_INTEGER) {
          throw invalid(`${place(name)} is an integer of more than 64 bits; store it as a text`);
        }
        return number(found.toString());
      case "function":
      case "symbol":
        throw invalid(`${place(name)} is a ${typeof found}, which JSON cannot hold; leave it out`);
      case "string":
        if (!found.isWellFormed()) {
          throw invalid(
            `invalid value in ${place(name)}: ${half(found)} is half of a character (a lone surrogate), which UTF-8 cannot hold; ` +
              "send the whole character, and cut texts between characters only",
          );
        }
        return found;
      case "object":
        // A Buffer would write itself as a list of its bytes.
        refuseOpaque(name, holder[name]);
        return found;
      default:
        return found;
    }
  });
  return marked ? text.replace(NUMBERS, "$1") : text;
}

type Holder = Record<string, unknown>;

function stringify(value: unknown, replace: (holder: Holder, name: string, found: unknown) => unknown): string {
  try {
    return JSON.stringify(value, function (this: Holder, name: string, found: unknown) {
      return replace(this, name, found);
    });
  } catch (error) {
    // What V8 says of a circle, and of too deep a nesting.
    if (error instanceof TypeError || error instanceof RangeError) {
      throw invalid(`a value cannot be written as JSON: ${error.message.split("\n")[0]}`);
    }
    throw error;
  }
}

/** Objects that JSON.stringify would turn into something that does not come back: `{}` for a Map, a list of bytes for binary data. */
function refuseOpaque(name: string, found: unknown): void {
  const kind =
    found instanceof Map ? "a Map"
    : found instanceof Set ? "a Set"
    : ArrayBuffer.isView(found) || found instanceof ArrayBuffer ? "binary data"
    : undefined;
  if (kind) throw invalid(`${place(name)} is ${kind}, which JSON cannot hold; store an object, a list or a base64 text`);
}

/** The first lone surrogate of a text, as its escape. */
function half(text: string): string {
  const at = text.search(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/);
  return `\\u${text.charCodeAt(at).toString(16)}`;
}

function place(name: string): string {
  return name === "" ? "the value" : `the field ${JSON.stringify(name)}`;
}

/** The value of an answer's JSON text. An integer that a number cannot hold becomes a BigInt. */
export function decode(text: string): unknown {
  if (!text.includes(INTEGER)) return JSON.parse(text);
  return JSON.parse(text, (_, found: unknown) =>
    typeof found === "string" && found.startsWith(INTEGER) ? BigInt(found.slice(INTEGER.length)) : found,
  );
}
