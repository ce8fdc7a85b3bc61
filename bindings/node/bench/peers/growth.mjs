// What a turn and a read cost as the conversation grows, and where it ends.
import { randomUUID } from "node:crypto";
import { meter } from "../meter.mjs";
import { Driver, Refused, tableFor } from "./sides.mjs";

const LAST = 20;
/** If not every turn is followed by a read, the number of turns between two reads, so that an end is noticed in time. */
const CHECKED = 20;
/** A session id of a usual length. Its length is part of the item, and decides which half of a turn is the first that does not fit. */
const SESSION = randomUUID();
const question = (n) => ({ role: "user", content: `${n}?`.padEnd(300, "q") });
const answer = (n) => ({ role: "assistant", content: `${n}!`.padEnd(300, "a") });

/**
 * One conversation of one side, turn by turn: the cost of each write, and of a read after each of the first `readEach` turns and
 * after each of `marks`; and how it ended, if it did.
 */
export async function growth(side, { marks, readEach }) {
  const meters = await meter(process.env.DYNAMODB_ENDPOINT);
  const driver = new Driver(side, await tableFor(side), meters.endpoint);
  const [writes, reads] = [[], new Map()];
  let [end, milliseconds] = [undefined, 0];
  try {
    // What a process requests only once (the table's keys) does not count.
    await driver.add("warm", [question(0), answer(0)]);
    for (let turn = 1; turn <= Math.max(...marks); turn += 1) {
      meters.take();
      const start = performance.now();
      try {
        await driver.add(SESSION, [question(turn), answer(turn)]);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        const kept = (await driver.all(SESSION)).map(side.text);
        end = { turn, error: error.message, kept: kept.length - 2 * (turn - 1) };
        break;
      }
      if (turn <= 100) milliseconds += performance.now() - start;
      writes.push(meters.take());
      if (turn > readEach && turn % CHECKED !== 0 && !marks.includes(turn)) continue;
      const texts = (await driver.last(SESSION, LAST)).map(side.text);
      reads.set(turn, meters.take());
      const first = Math.max(1, turn - LAST / 2 + 1);
      const wanted = Array.from({ length: turn - first + 1 }, (_, n) => [question(first + n).content, answer(first + n).content]).flat();
      if (JSON.stringify(texts) === JSON.stringify(wanted)) continue;
      // Ours must not fail; another side's conversation ends with the first turn that no read returns.
      const error = `${side.name} read other messages than were written, at turn ${turn}`;
      if (side.options) throw new Error(error);
      end = { turn, error, unread: (await driver.all(SESSION)).length };
      break;
    }
  } finally {
    driver.stop();
    meters.close();
  }
  return { writes, reads, end, milliseconds: milliseconds / Math.min(100, writes.length) };
}

/** The cost of the 11th turn for a process that has never seen the session or the table, such as a newly started function. */
export async function fresh(side) {
  const meters = await meter(process.env.DYNAMODB_ENDPOINT);
  const tableName = await tableFor(side);
  const drivers = [];
  try {
    for (const turns of [10, 1]) {
      meters.take();
      const driver = new Driver(side, tableName, meters.endpoint);
      drivers.push(driver);
      for (let turn = 1; turn <= turns; turn += 1) await driver.add(SESSION, [question(turn), answer(turn)]);
    }
    return meters.take();
  } finally {
    for (const driver of drivers) driver.stop();
    meters.close();
  }
}
