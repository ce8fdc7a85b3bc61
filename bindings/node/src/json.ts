// Exact JSON for the interface to the native part.
//
// JSON.stringify and JSON.parse change some JavaScript numbers: -0 becomes 0, NaN becomes null, an integer beyond 2^53 is rounded.
// Here -0 is preserved, NaN is refused, and such an integer is a BigInt in JavaScript.

import { randomBytes } from "node:crypto";
import { types } from "node:util";
import { native } from "#native";
import { invalid } from "./errors.js";

/** The mark before a number's digits in a string; random for each process, so that no text can contain it. */
const NUMBER = `${randomBytes(16).toString("hex")}:`;
const NUMBERS = new RegExp(`"${NUMBER}([^"]*)"`, "g");

const INTEGER = native.integerMark();

const MAX_INTEGER = 2n ** 64n - 1n;
const MIN_INTEGER = -(2n ** 63n);

/**
 * The JSON text of a value. Like JSON.stringify, it calls `toJSON` (so that a Date is stored as its text), and omits `undefined`.
 *
 * @throws ChatMemoryError `invalid`, for what JSON cannot express: NaN, an infinity, a BigInt beyond 64 bits, a function, a symbol,
 * a Map, a Set, a Promise, binary data, half a character, a cyclic value.
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
        if (!Number.isFinite(found)) throw invalid(`invalid value in ${place(name)}: ${found} is not a JSON number; send null or a string`);
        if (Object.is(found, -0)) return number("-0.0");
        // With an exponent it is parsed as a float, and read back as a number.
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
            `invalid value in ${place(name)}: ${half(found)} is half a character (a lone surrogate), which UTF-8 cannot encode; ` +
              "send the whole character, and cut text only between characters",
          );
        }
        return found;
      case "object":
        // A Buffer would serialise itself as a list of its bytes.
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
    // V8's error for a cycle, and for too deep nesting.
    if (error instanceof TypeError || error instanceof RangeError) {
      throw invalid(`a value cannot be written as JSON: ${error.message.split("\n")[0]}`);
    }
    throw error;
  }
}

/** Objects that JSON.stringify would turn into something that is not read back equal: `{}` for a Map, a list of bytes for binary data. */
function refuseOpaque(name: string, found: unknown): void {
  const kind =
    types.isMap(found) ? "a Map"
    : types.isSet(found) ? "a Set"
    : types.isWeakMap(found) || types.isWeakSet(found) ? "a weak collection"
    : types.isPromise(found) ? "a Promise"
    : types.isRegExp(found) ? "a regular expression"
    : types.isNativeError(found) ? "an Error"
    : ArrayBuffer.isView(found) || types.isAnyArrayBuffer(found) ? "binary data"
    : undefined;
  if (!kind) return;
  const instead = kind === "a Promise" ? "await it" : "store an object, a list, a text or a base64 text";
  throw invalid(`${place(name)} is ${kind}, which JSON cannot hold; ${instead}`);
}

/**
 * Refuses values that JSON cannot hold, and a Date, before something else copies them into what it can.
 *
 * @throws ChatMemoryError `invalid`, as {@link encode}.
 */
export function refuseOpaqueValues(value: unknown): void {
  const seen = new Set<object>();
  const look = (name: string, found: unknown): void => {
    if (typeof found !== "object" || found === null || seen.has(found)) return;
    seen.add(found);
    refuseOpaque(name, found);
    if (types.isDate(found)) throw invalid(`${place(name)} is a Date, of which this would lose the time; store its text, toISOString()`);
    for (const [inner, value] of Object.entries(found)) look(Array.isArray(found) ? name : inner, value);
  };
  look("", value);
}

/** The first lone surrogate of a text, as its escape. */
function half(text: string): string {
  const at = text.search(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/);
  return `\\u${text.charCodeAt(at).toString(16)}`;
}

function place(name: string): string {
  return name === "" ? "the value" : `the field ${JSON.stringify(name)}`;
}

/** Parses the JSON text of a response. An integer that a number cannot hold becomes a BigInt. */
export function decode(text: string): unknown {
  if (!text.includes(INTEGER)) return JSON.parse(text);
  return JSON.parse(text, (_, found: unknown) =>
    typeof found === "string" && found.startsWith(INTEGER) ? BigInt(found.slice(INTEGER.length)) : found,
  );
}
