// A proxy in front of DynamoDB Local that counts requests and capacity units, for clients that do not ask for them. It adds
// ReturnConsumedCapacity to each request: DynamoDB Local checks no signature.
import { createServer, request } from "node:http";

/**
 * Starts it; `take` gives the counts since it was last called. `lose` says of each operation whether the answer is lost on the way back.
 *
 * Units of transactions are not taken from DynamoDB Local, which counts fewer than AWS (two a KB of each part): they are only counted, as
 * `transactions`, and who reads the counts must not show units where there are any.
 */
export async function meter(endpoint, { lose = () => false } = {}) {
  const none = () => ({ requests: 0, readUnits: 0, writeUnits: 0, transactions: 0, lost: 0 });
  let counts = none();
  const to = new URL(endpoint);
  const server = createServer(async (incoming, outgoing) => {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const asked = JSON.parse(Buffer.concat(chunks));
    const operation = incoming.headers["x-amz-target"].split(".")[1];
    if (/Item|Query|Scan/.test(operation)) asked.ReturnConsumedCapacity ??= "TOTAL";
    const body = JSON.stringify(asked);
    const headers = { ...incoming.headers, host: to.host, "content-length": Buffer.byteLength(body) };
    const forward = request({ host: to.hostname, port: to.port, method: "POST", path: "/", headers }, async (answer) => {
      const parts = [];
      for await (const part of answer) parts.push(part);
      const text = Buffer.concat(parts);
      counts.requests += 1;
      if (operation.startsWith("Transact")) counts.transactions += 1;
      for (const used of [JSON.parse(text).ConsumedCapacity ?? []].flat()) {
        const units = used.CapacityUnits ?? 0;
        const reads = /^(Get|BatchGet|Query|Scan|TransactGet)/.test(operation);
        counts.readUnits += used.ReadCapacityUnits ?? (reads ? units : 0);
        counts.writeUnits += used.WriteCapacityUnits ?? (reads ? 0 : units);
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
