// What is stored, lost and doubled with several writers on one session, and when responses are lost.
import { meter } from "../meter.mjs";
import { Driver, Refused, tableFor } from "./sides.mjs";

/**
 * Of the messages to be written: how many are stored, how many more than once, how many calls failed, and how many acknowledged ones are
 * missing.
 */
function tally(side, read, written, refused) {
  const texts = read.map(side.text);
  const there = new Set(texts);
  const wanted = [...written, ...refused];
  return {
    of: wanted.length,
    kept: wanted.filter((text) => there.has(text)).length,
    doubled: texts.length - there.size,
    failed: refused.length,
    lost: written.filter((text) => !there.has(text)).length,
  };
}

/** One writer's messages, one per call. */
async function write(driver, texts, written, refused) {
  for (const content of texts) {
    try {
      await driver.add("s", [{ role: "user", content }]);
      written.push(content);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      refused.push(content);
    }
  }
}

/** Several concurrent processes on one session, each with its own messages. */
export async function writers(side, { count, messages }) {
  const endpoint = process.env.DYNAMODB_ENDPOINT;
  const tableName = await tableFor(side);
  const drivers = Array.from({ length: count }, () => new Driver(side, tableName, endpoint));
  const [written, refused] = [[], []];
  try {
    // All are started before the first writes.
    await Promise.all(drivers.map((driver) => driver.all("warm")));
    const texts = (writer) => Array.from({ length: messages }, (_, n) => `${writer}/${n}`);
    await Promise.all(drivers.map((driver, writer) => write(driver, texts(writer), written, refused)));
    return tally(side, await drivers[0].all("s"), written, refused);
  } finally {
    for (const driver of drivers) driver.stop();
  }
}

/** One writer; every other response to a write is lost, so each message's first. */
export async function lostAnswers(side, { messages }) {
  let nth = 0;
  const lose = (operation) => {
    if (!/^(PutItem|UpdateItem|TransactWriteItems)$/.test(operation)) return false;
    nth += 1;
    return nth % 2 === 1;
  };
  const meters = await meter(process.env.DYNAMODB_ENDPOINT, { lose });
  const driver = new Driver(side, await tableFor(side), meters.endpoint);
  const [written, refused] = [[], []];
  try {
    await write(driver, Array.from({ length: messages }, (_, n) => `m${n}`), written, refused);
    const { lost: answers } = meters.take();
    return { ...tally(side, await driver.all("s"), written, refused), answers };
  } finally {
    driver.stop();
    meters.close();
  }
}
