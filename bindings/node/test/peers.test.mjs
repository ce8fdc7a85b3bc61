// The comparison in docs/benchmarks.md, on a few turns. Only counts are checked, never times.
import assert from "node:assert/strict";
import { test } from "node:test";
import { SMOKE, compare } from "../bench/peers.mjs";

test("the peers compared with ours: what each costs, loses and doubles", async () => {
  const { all, text } = await compare(SMOKE);
  const [js, flowise, python, mastra, langgraph, ...ours] = all;
  const units = ({ growth: { writes } }, turn) => writes[turn - 1].writeUnits;
  assert.deepEqual([1, 10, 20].map((turn) => units(js, turn)), [1, 7, 14]);
  assert.equal(flowise.growth.writes[19].requests, 2, "its question and its answer are a write each");
  assert.ok(python.growth.writes[19].readUnits > 0, "it reads everything that it rewrites");
  assert.ok(units(mastra, 20) >= 4, "each message in the table and in an index, and the thread");
  assert.ok(units(langgraph, 20) > units(langgraph, 1), "each checkpoint holds the conversation");
  assert.deepEqual([units(ours[0], 20), ours[0].growth.writes[19].requests], [1, 1]);
  for (const { name, writers, lost, growth } of ours) {
    assert.equal(growth.end, undefined);
    assert.deepEqual([writers.kept, writers.lost, writers.doubled], [10, 0, 0], `${name}: writers at once`);
    assert.deepEqual([lost.kept, lost.lost, lost.doubled], [5, 0, 0], `${name}: lost answers`);
    assert.ok(lost.answers >= 5, "each message's first answer was lost");
  }
  for (const { name, real } of ours) assert.equal(real.equal, real.of, `${name}: conversations`);
  assert.equal(js.lost.doubled, 5, "were it exact, this comparison would be out of date");
  assert.equal(text.match(/\| ours, `turns` \|/g).length, 5, text);
  assert.doesNotMatch(text, /NaN|undefined/);
});
