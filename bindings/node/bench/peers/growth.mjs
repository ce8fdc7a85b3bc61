// What a turn and a read cost as the conversation grows, and where it ends.
import { meter } from "../meter.mjs";
import { table } from "../../test/support.mjs";
import { Driver, Refused } from "./sides.mjs";

const LAST = 20;
const question = (n) => ({ role: "user", content: `${n}?`.padEnd(300, "q") });
const answer = (n) => ({ role: "assistant", content: `${n}!`.padEnd(300, "a") });

/** Counts that can be shown: see the meter on transactions. */
function plain(counts, side) {
  if (counts.transactions > 0) throw new Error(`${side.name} made a transaction, whose units DynamoDB Local does not count as AWS does`);
  return counts;
}

/**
 * One conversation of one side, turn by turn: the costs of each write, and of a read after each of the first `readEach` and after each of
 * `marks`; how it ended, if it did.
 */
export async function growth(side, { marks, readEach }) {
  const meters = await meter(process.env.DYNAMODB_ENDPOINT);
  const driver = new Driver(side, await table(...side.keys), meters.endpoint);
  const [writes, reads] = [[], new Map()];
  let [end, milliseconds] = [undefined, 0];
  try {
    // What a process asks but once (the table's keys) is no part of a turn.
    await driver.last("warm", LAST);
    for (let turn = 1; turn <= Math.max(...marks); turn += 1) {
      meters.take();
      const start = performance.now();
      try {
        await driver.add("s", [question(turn), answer(turn)]);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        const kept = (await driver.all("s")).map(side.text);
        end = { turn, error: error.message, kept: kept.length - 2 * (turn - 1) };
        break;
      }
      if (turn <= 100) milliseconds += performance.now() - start;
      writes.push(plain(meters.take(), side));
      if (turn > readEach && !marks.includes(turn)) continue;
      const texts = (await driver.last("s", LAST)).map(side.text);
      reads.set(turn, plain(meters.take(), side));
      const first = Math.max(1, turn - LAST / 2 + 1);
      const wanted = Array.from({ length: turn - first + 1 }, (_, n) => [question(first + n).content, answer(first + n).content]).flat();
      if (JSON.stringify(texts) !== JSON.stringify(wanted)) throw new Error(`${side.name} read other messages than were written, at turn ${turn}`);
    }
  } finally {
    driver.stop();
    meters.close();
  }
  return { writes, reads, end, milliseconds: milliseconds / Math.min(100, writes.length) };
}
