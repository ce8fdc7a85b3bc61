// The README's cost table, compared with LangChain.js, in one run. Only counts are checked, never times.
import assert from "node:assert/strict";
import { test } from "node:test";
import { compare, markdown } from "../bench/beside-langchain.mjs";

test("a turn costs what its bytes cost, however long the conversation is", async () => {
  const all = await compare(100);
  const [theirs, list, turns] = all.map(({ steps }) => steps);
  assert.deepEqual([theirs["turn 1"].writeUnits, theirs["turn 100"].writeUnits], [1, 66]);
  assert.deepEqual([turns["turn 100"].writeUnits, turns["turn 100"].requests], [1, 1]);
  assert.equal(turns["turn 1"].writeUnits, 4, "a session's first turn and its place in the list are one transaction");
  assert.ok(list["turn 100"].writeUnits < 66 && list["turn 100"].requests === 1);
  const last = "the last 20 messages";
  assert.equal(turns[last].requests, 1);
  assert.ok(turns[last].readUnits < theirs[last].readUnits);
  assert.equal(turns[last].messages, 20);
  assert.equal(turns["all 220 messages"].messages, 220);
  console.log(markdown(all));
});
