// The README's programs, run as they stand there, each after the other on the same tables: what a line says it prints, it prints.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { dynamodb, endpoint, namedTable, root, script, sqliteUrl } from "./support.mjs";

const readme = readFileSync(join(root, "README.md"), "utf8");
const programs = [...readme.matchAll(/^```js\n([^]*?)^```/gm)].map(([, program]) => program);

// The tables of its names, empty, whatever was in them before.
before(async () => {
  await dynamodb("DeleteTable", { TableName: "chats" }).catch(() => undefined);
  await dynamodb("DeleteTable", { TableName: "langchain-chats" }).catch(() => undefined);
  await namedTable("chats", "session_id", "sk");
  await namedTable("langchain-chats", "id");
});

test("the README has programs, and all that it shows in JavaScript is one", () => {
  assert.ok(programs.length >= 5, `${programs.length}`);
});

for (const [n, program] of programs.entries()) {
  test(`README, program ${n + 1}: ${program.split("\n")[0]}`, async () => {
    // In files of their own, and on DynamoDB Local.
    const here = program.replaceAll('"sqlite:chat.db"', JSON.stringify(sqliteUrl()));
    const { code, out, err } = await script(here, { env: { AWS_ENDPOINT_URL_DYNAMODB: endpoint, AWS_REGION: "eu-west-1" } });
    assert.equal(code, 0, err);
    const expected = [...program.matchAll(/\/\/ prints: (.*)$/gm)].map(([, line]) => line);
    assert.ok(expected.length > 0, "a program shows what it does");
    assert.deepEqual(out.trim().split("\n"), expected);
  });
}
