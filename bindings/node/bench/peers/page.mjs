// The section about the peers in docs/benchmarks.md.

/** Published on-demand prices in us-east-1: dollars per unit. */
const DOLLARS = { write: 0.625 / 1e6, read: 0.125 / 1e6 };

const number = (value) => (Number.isInteger(value) ? String(value) : String(Number(value.toFixed(1))));
const thousands = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, ",");
const table = (head, rows) => [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
const sum = (list, of) => list.reduce((total, item) => total + of(item), 0);

/**
 * Dollars for a million turns of sessions of this length, each turn with a read of the last messages; undefined if the session ends
 * before.
 */
function dollars({ growth: { writes, reads }, readsFirst }, length) {
  const turns = writes.slice(0, length);
  if (turns.length < length) return undefined;
  const loads = readsFirst ? [] : turns.map((_, n) => reads.get(n + 1));
  const written = sum(turns, ({ writeUnits }) => writeUnits);
  const read = sum(turns, ({ readUnits }) => readUnits) + sum(loads, ({ readUnits }) => readUnits);
  return ((written * DOLLARS.write + read * DOLLARS.read) / length) * 1e6;
}

function ending({ end, writes }) {
  if (!end) return `not within ${thousands(writes.length)} turns`;
  if (end.unread !== undefined) return `turn ${end.turn}: it is stored, and a read brings ${thousands(end.unread)} older messages without it`;
  if (end.kept < 0) return `turn ${end.turn}, and ${-end.kept} messages before it are gone`;
  return `turn ${end.turn}: ${["nothing of it is stored", "its question is stored, its answer is lost"][end.kept] ?? `${end.kept} of its messages are stored`}`;
}

function dearest({ writes }) {
  const most = Math.max(...writes.map(({ writeUnits }) => writeUnits));
  return `${number(most)} (turn ${thousands(writes.findIndex(({ writeUnits }) => writeUnits === most) + 1)})`;
}

/** `sides` are the sides with their measurements; `extent` is what they did; `real` says whether the conversations are real. */
export function page(sides, extent, real) {
  const { marks, lengths, writers, lost } = extent;
  const names = sides.map(({ name }) => name);
  const columns = (of) => sides.map(of);
  const cost = (counts) => (counts ? `${number(counts.writeUnits)} / ${number(counts.readUnits)} / ${counts.requests}` : "–");
  const readCell = (mark) => ({ growth: { reads } }) => {
    const cost = reads.get(mark);
    return cost ? `${number(cost.readUnits)} / ${cost.requests}` : "–";
  };
  const dollarCell = (length) => (side) => {
    const price = dollars(side, length);
    return price === undefined ? "ends before" : `$${price.toFixed(2)}`;
  };
  return `# Compared with LangChain, Flowise, Mastra and LangGraph

Written by \`cargo xtask bench peers\`, with the drawing, in one run on AWS's DynamoDB Local. ${sides.filter(({ version }) => version).map(({ version }) => version).join(", ")}; each as installed, with its defaults; ours is the npm package's \`ChatStore\` in three forms: the \`turns\` layout (one item per record), and the \`list\` layout (one item per session, which LangChain's classes read too) with the default rolling size and with a small one. Each runs in a separate process, behind a proxy that counts what DynamoDB Local reports. Requests that a process makes only once, when it first writes to a table, are counted only in the line "by a new process". A write that fails its condition is counted as AWS charges it, by the size of the existing item and one unit at least (DynamoDB Local does not report it); a transaction, with which our \`turns\` layout starts a session, is two units per KB of each of its parts. Writes to an index are counted as DynamoDB Local reports them. Units and requests are the same on every machine; times are not, and are a rough figure only.

What each stores: ${sides.map(({ name, keeps }) => `${name}: ${keeps}`).join("; ")}.

## What a turn costs

A question and an answer of 300 bytes each, in a session whose id is a UUID. **Write units / read units / requests** of the turn with this number.

${table(["turn", ...names], [
  ...marks.map((mark) => [thousands(mark), ...columns(({ growth }) => cost(growth.writes[mark - 1]))]),
  ["11, by a new process", ...columns(({ fresh }) => cost(fresh))],
  ["the dearest turn: write units", ...columns(({ growth }) => dearest(growth))],
  ["the conversation ends", ...columns(({ growth }) => ending(growth))],
  [`mean time of turns 1 to ${Math.min(100, marks.at(-1))}`, ...columns(({ growth }) => `${growth.milliseconds.toFixed(0)} ms`)],
])}

![Write units of a turn, as the conversation grows](benchmarks-peers.svg)

From turn 50 on, the drawing has about every fiftieth part of the turns, so not every peak of a rolled list.

The classes of LangChain and Flowise and their connections are created again for each turn here, as in a server that answers a request; Mastra's storage, LangGraph's graph and ours stay open, as intended. That affects the times, not the counts. LangGraph's turn is one run of a graph with one step, which reads the conversation itself; an agent with tools makes more steps, and each is another checkpoint.

## What reading the last 20 messages costs

**Read units / requests**, after the turn with this number. The others read everything and truncate (Mastra's storage truncates by itself). Their reads are eventually consistent, at half the price of our strongly consistent reads (\`consistency: "eventual"\` halves ours, too).

${table(["turn", ...names], marks.map((mark) => [thousands(mark), ...columns(readCell(mark))]))}

## What a million turns cost

At the published on-demand prices in us-east-1, $0.625 a million write units and $0.125 a million read units: sessions of this length, each turn written as above and followed by a read of the last 20 messages, as each side really does it (LangGraph's turn has read already). Storage and transfer are not included.

${table(["turns of a session", ...names], lengths.map((length) => [thousands(length), ...columns(dollarCell(length))]))}

## What is lost and doubled

${writers.count} concurrent processes with ${writers.messages} messages each on one session; then one process with ${lost.messages} messages, where the first answer to each write is lost on its way back and the client tries again.

${table(
  ["", "writers: kept", "acknowledged, and lost", "doubled", "calls that failed", "lost answers: kept", "doubled", "calls that failed"],
  sides.map(({ name, writers, lost }) => [
    name,
    `${writers.kept} of ${writers.of}`,
    writers.lost,
    writers.doubled,
    writers.failed,
    `${lost.kept} of ${lost.of}`,
    lost.doubled,
    lost.failed,
  ]),
)}

## ${real ? "Real conversations" : "Conversations of the project's own sample"}

${sides[0].real.of} conversations${real ? " of agents with customers, most with tool calls" : ", since the real ones were missing"}, written one turn per call. Units are those of all writes (LangChain Python also reads at each). A conversation is equal if it comes back message for message with its text, its calls and its results; with the others, in LangChain's own form. Flowise's node gets the question and the last answer of each turn, since it accepts nothing else. Missing system messages are not counted against it, nor against Mastra, whose answer with all calls and results is one message in its own form. "Numbers changed" is Python's: integers in a call's arguments come back as \`Decimal\`, which \`json.dumps\` refuses.

${table(
  ["", "write units", "read units", "equal", "equal, but numbers changed", "a write failed", "cannot be read", "other messages"],
  sides.map(({ name, real }) => [
    name,
    thousands(number(real.writeUnits)),
    thousands(Math.round(real.readUnits)),
    `${real.equal} of ${real.of}`,
    real.byValue,
    real.writeFailed,
    real.readFailed,
    real.differs,
  ]),
)}
`;
}
