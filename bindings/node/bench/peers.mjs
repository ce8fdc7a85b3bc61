// The package compared with LangChain.js's class, LangChain Python's and Flowise's node, in one run on DynamoDB Local: what a turn
// and a read cost as a conversation grows, where it ends, what is lost and doubled, and which real conversations are read back
// unchanged.
//
//   node bench/peers.mjs [--smoke]
//
// `cargo xtask bench peers` runs it and writes the page into docs/benchmarks.md. Only the counts matter; the few times are rough.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { lostAnswers, writers } from "./peers/faults.mjs";
import { fresh, growth } from "./peers/growth.mjs";
import { page } from "./peers/page.mjs";
import { conversations, conversationsOf } from "./peers/real.mjs";
import { sides } from "./peers/sides.mjs";

export const FULL = {
  marks: [1, 10, 100, 500, 1000, 5000],
  lengths: [10, 100, 500],
  writers: { count: 8, messages: 50 },
  lost: { messages: 50 },
  conversations: Infinity,
};

/** Checks that it works, and what a few turns can show. */
export const SMOKE = { marks: [1, 10, 20], lengths: [10, 20], writers: { count: 2, messages: 5 }, lost: { messages: 5 }, conversations: 3 };

/** Measures every side; returns the results and the page. */
export async function compare(extent) {
  const { real, list } = conversations();
  if (!real) console.error("note: no real conversations (data/conversations.jsonl in ../shared is missing); measuring the sample in testdata/");
  const all = [];
  for (const side of sides()) {
    const say = (what) => console.error(`${side.name}: ${what} …`);
    say("a conversation");
    const grown = await growth(side, { marks: extent.marks, readEach: Math.max(...extent.lengths) });
    if (grown.end) say(`ended at turn ${grown.end.turn}: ${grown.end.error}`);
    say("writers at once");
    const many = await writers(side, extent.writers);
    say("lost answers");
    const lost = await lostAnswers(side, extent.lost);
    say("conversations");
    const told = await conversationsOf(side, list.slice(0, extent.conversations));
    for (const error of told.errors) say(`it said: ${error}`);
    all.push({ ...side, growth: grown, fresh: await fresh(side), writers: many, lost, real: told });
  }
  return { all, text: page(all, extent, real) };
}

/** The plot's data: write units of each turn, at turns evenly spaced on a logarithmic axis. */
function drawing(all) {
  const series = all.map(({ name, growth: { writes } }) => {
    const points = writes.map(({ writeUnits }, n) => [n + 1, writeUnits]);
    return { name: name.replaceAll("`", ""), points: points.filter(([turn], n) => n + 1 === points.length || turn < 50 || turn % Math.ceil(turn / 50) === 0) };
  });
  return { title: "What a turn costs, as the conversation grows", x: "turn", y: "write units", series };
}

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({ options: { smoke: { type: "boolean", default: false } } });
  const { all, text } = await compare(values.smoke ? SMOKE : FULL);
  if (process.env.CHAT_MEMORY_PLOTS) writeFileSync(join(process.env.CHAT_MEMORY_PLOTS, "benchmarks-peers.json"), JSON.stringify(drawing(all)));
  process.stdout.write(text);
}
