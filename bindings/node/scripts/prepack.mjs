// Before `npm pack` and `npm publish`: the code is compiled, and an addon that is missing, stale or made for tests is refused.
import { unfit } from "./addon.mjs";

const why = unfit();
if (why) {
  console.error(why);
  process.exit(1);
}
await import("./build.mjs");
