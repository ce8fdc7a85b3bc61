/** What an operation cost, retries included: requests, capacity units as DynamoDB reports them, bytes as stored. */
export interface Cost {
  requests: number;
  readUnits: number;
  writeUnits: number;
  bytes: number;
}

/** The cost of what is in memory only. */
export const NO_COST: Readonly<Cost> = { requests: 0, readUnits: 0, writeUnits: 0, bytes: 0 };

/** The cost of two operations. */
export function addCost(one: Cost, other: Cost): Cost {
  return {
    requests: one.requests + other.requests,
    readUnits: one.readUnits + other.readUnits,
    writeUnits: one.writeUnits + other.writeUnits,
    bytes: one.bytes + other.bytes,
  };
}
