// The package compared with LangChain.js's own class, in one run on DynamoDB Local: what turns 1, 100 and 500 cost, and what
// reading costs then.
//
//   node bench/beside-langchain.mjs [--turns 500]
//
// `cargo xtask bench` runs it with an optimised addon and writes the table into README.md. Times are means of ten calls and depend
// on the machine; units and requests do not.
import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { meter } from "./meter.mjs";
import { table } from "../test/support.mjs";

const SIDES = [
  { kind: "langchain", name: "LangChain.js", keys: ["id"] },
  { kind: "list", name: "ours, its table", keys: ["id"] },
  { kind: "turns", name: "ours, own table", keys: ["session_id", "sk"] },
];

/** The number of calls that a time is the mean of. */
const REPEATS = 10;

/** Runs one side; returns the cost of each step. */
async function side({ kind, keys }, turns) {
  const meters = await meter(process.env.DYNAMODB_ENDPOINT);
  const child = fork(join(import.meta.dirname, "conversation.mjs"), [kind, await table(...keys), meters.endpoint]);
  await once(child, "message");
  const measure = async (what, times) => {
    meters.take();
    child.send({ what, times });
    const [answer] = await once(child, "message");
    if (answer.error) throw new Error(`${kind}: ${answer.error}`);
    const { requests, readUnits, writeUnits } = meters.take();
    return { ...answer, requests: requests / times, readUnits: readUnits / times, writeUnits: writeUnits / times };
  };
  const steps = {};
  let done = 0;
  for (const at of [1, 100, 500].filter((at) => at <= turns)) {
    if (at - 1 > done) await measure("turns", at - 1 - done);
    const turn = await measure("turns", 1);
    // The first turn also opens the connection and reads the table's schema, so times are of the turns after it.
    const after = await measure("turns", REPEATS);
    done = at + REPEATS;
    steps[`turn ${at}`] = { ...turn, wall: after.wall, cpu: after.cpu };
  }
  if (turns > done) await measure("turns", turns - done);
  // Calls before those that are measured, so that V8 has compiled what either step runs: LangChain.js's class runs the same for both.
  const read = async (what) => {
    await measure(what, REPEATS);
    return measure(what, REPEATS);
  };
  steps["the last 20 messages"] = await read("last");
  steps[`all ${2 * Math.max(turns, done)} messages`] = await read("all");
  child.disconnect();
  meters.close();
  return steps;
}

/** Runs all sides; returns the costs of each. */
export async function compare(turns) {
  const all = [];
  for (const of of SIDES) all.push({ ...of, steps: await side(of, turns) });
  return all;
}

/** The table, in Markdown. */
export function markdown(all) {
  const number = (value) => String(Number(value.toFixed(value >= 100 ? 0 : 1)));
  const cell = ({ requests, readUnits, writeUnits, wall, cpu }, reads) =>
    `${number(requests)} / ${number(reads ? readUnits : writeUnits)} / ${wall.toFixed(1)} ms / ${cpu.toFixed(1)} ms`;
  const lines = [
    `| requests / units / wall time / CPU time | ${all.map(({ name }) => name).join(" | ")} |`,
    `|---|${all.map(() => "---|").join("")}`,
  ];
  for (const step of Object.keys(all[0].steps)) {
    const reads = !step.startsWith("turn");
    lines.push(`| ${reads ? `reading ${step}` : step} | ${all.map(({ steps }) => cell(steps[step], reads)).join(" | ")} |`);
  }
  return lines.join("\n");
}

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({ options: { turns: { type: "string", default: "500" } } });
  console.log(markdown(await compare(Number(values.turns))));
}
