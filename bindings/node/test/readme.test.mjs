// Runs the README's programs in order on the same tables, and checks that each prints what its comments say.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { dynamodb, endpoint, namedTable, root, script, sqliteUrl } from "./support.mjs";

const readme = readFileSync(join(root, "README.md"), "utf8");
const programs = [...readme.matchAll(/^```js\n([^]*?)^```/gm)].map(([, program]) => program);

// The tables that it names, emptied.
before(async () => {
  await dynamodb("DeleteTable", { TableName: "chats" }).catch(() => undefined);
  await dynamodb("DeleteTable", { TableName: "langchain-chats" }).catch(() => undefined);
  await namedTable("chats", "session_id", "sk");
  await namedTable("langchain-chats", "id");
});

test("the README has programs, and all that it shows in JavaScript is one", () => {
  assert.ok(programs.length >= 5, `${programs.length}`);
});

// Programs for both versions of the AI SDK run with both.
const versions = programs.flatMap((program) => (program.includes('from "ai"') ? [["ai", program], ["ai-6", program]] : [[undefined, program]]));

for (const [n, [ai, program]] of versions.entries()) {
  test(`README, program ${n + 1}${ai ? ` with ${ai}` : ""}: ${program.split("\n")[0]}`, async () => {
    if (ai) {
      await dynamodb("DeleteTable", { TableName: "chats" });
      await namedTable("chats", "session_id", "sk");
    }
    // In files of their own, on DynamoDB Local, and with a model that needs no account.
    const model = pathToFileURL(join(import.meta.dirname, "model.mjs")).href;
    const here = program
      .replaceAll('"sqlite:chat.db"', JSON.stringify(sqliteUrl()))
      .replace('from "./model.js"', `from ${JSON.stringify(model)}`)
      .replace('from "ai"', `from "${ai}"`);
    const { code, out, err } = await script(here, { env: { AWS_ENDPOINT_URL_DYNAMODB: endpoint, AWS_REGION: "eu-west-1" } });
    assert.equal(code, 0, err);
    const expected = [...program.matchAll(/\/\/ prints: (.*)$/gm)].map(([, line]) => line);
    assert.ok(expected.length > 0, "a program shows what it does");
    assert.deepEqual(out.trim().split("\n"), expected);
  });
}
