// A proxy in front of DynamoDB Local that counts requests and capacity units, for clients that do not request them. It adds
// ReturnConsumedCapacity to each request; DynamoDB Local checks no signatures.
import { createServer, request } from "node:http";

/**
 * Starts it. `take` returns the counts since its last call. `lose` decides for each operation whether to lose the response.
 *
 * Two things that DynamoDB Local reports differently from what AWS charges. A write whose condition fails is charged by the size of
 * the existing item, at least one unit. A transaction costs two units per KB for each part, of the larger of the item before and
 * after it; DynamoDB Local reports more for some and less for others. Both are counted here by AWS's published rules.
 */
export async function meter(endpoint, { lose = () => false } = {}) {
  const none = () => ({ requests: 0, readUnits: 0, writeUnits: 0, refused: 0, lost: 0 });
  let counts = none();
  const to = new URL(endpoint);
  const server = createServer(async (incoming, outgoing) => {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const asked = JSON.parse(Buffer.concat(chunks));
    const operation = incoming.headers["x-amz-target"].split(".")[1];
    if (/Item|Query|Scan/.test(operation)) asked.ReturnConsumedCapacity ??= "TOTAL";
    if (asked.ConditionExpression) asked.ReturnValuesOnConditionCheckFailure = "ALL_OLD";
    const parts = operation === "TransactWriteItems" ? asked.TransactItems.map((part) => Object.values(part)[0]) : [];
    const sizes = await Promise.all(parts.map((part) => sizeThere(to, incoming.headers.authorization, part)));
    const body = JSON.stringify(asked);
    const headers = { ...incoming.headers, host: to.host, "content-length": Buffer.byteLength(body) };
    const forward = request({ host: to.hostname, port: to.port, method: "POST", path: "/", headers }, async (answer) => {
      const chunks = [];
      for await (const chunk of answer) chunks.push(chunk);
      const text = Buffer.concat(chunks);
      counts.requests += 1;
      for (const [place, part] of parts.entries()) {
        counts.writeUnits += 2 * units(Math.max(sizes[place], await sizeThere(to, incoming.headers.authorization, part)));
      }
      const { ConsumedCapacity, Item, __type } = JSON.parse(text);
      if (__type?.endsWith("#ConditionalCheckFailedException")) {
        counts.refused += 1;
        counts.writeUnits += units(size(Item ?? {}));
      }
      for (const used of parts.length === 0 ? [ConsumedCapacity ?? []].flat() : []) {
        const all = used.CapacityUnits ?? 0;
        const reads = /^(Get|BatchGet|Query|Scan|TransactGet)/.test(operation);
        counts.readUnits += used.ReadCapacityUnits ?? (reads ? all : 0);
        counts.writeUnits += used.WriteCapacityUnits ?? (reads ? 0 : all);
      }
      if (lose(operation)) {
        counts.lost += 1;
        outgoing.destroy();
        return;
      }
      outgoing.writeHead(answer.statusCode, answer.headers);
      outgoing.end(text);
    });
    forward.on("error", () => outgoing.destroy());
    forward.end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const take = () => {
    const taken = counts;
    counts = none();
    return taken;
  };
  return { endpoint: `http://127.0.0.1:${server.address().port}`, take, close: () => server.close() };
}

/** The write units of a number of bytes. */
const units = (bytes) => Math.max(1, Math.ceil(bytes / 1024));

/** The bytes of what a part of a transaction puts, or of the current item that it refers to. */
async function sizeThere(to, authorization, { TableName, Key, Item }) {
  if (Item) return size(Item);
  const headers = { "x-amz-target": "DynamoDB_20120810.GetItem", "content-type": "application/x-amz-json-1.0", authorization };
  const answer = await fetch(to, { method: "POST", headers, body: JSON.stringify({ TableName, Key, ConsistentRead: true }) });
  return size((await answer.json()).Item ?? {});
}

/** The bytes of an item's attributes, by AWS's published rules. */
function size(attributes) {
  const bytes = (text) => Buffer.byteLength(text);
  const value = ([type, of]) => {
    if (type === "S") return bytes(of);
    if (type === "N") return Math.ceil(of.replace(/\D/g, "").length / 2) + 1;
    if (type === "B") return Buffer.from(of, "base64").length;
    if (type === "L") return 3 + of.reduce((sum, one) => sum + 1 + value(Object.entries(one)[0]), 0);
    if (type === "M") return 3 + Object.keys(of).length + size(of);
    return Array.isArray(of) ? of.reduce((sum, one) => sum + value([type[0], one]), 0) : 1;
  };
  return Object.entries(attributes).reduce((sum, [name, one]) => sum + bytes(name) + value(Object.entries(one)[0]), 0);
}
