// Runs before `npm pack` and `npm publish`: compiles the code, and refuses an addon that is missing, stale or built for tests.
import { unfit } from "./addon.mjs";

const why = unfit();
if (why) {
  console.error(why);
  process.exit(1);
}
await import("./build.mjs");
