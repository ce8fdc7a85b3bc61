// The deletion of all sessions of an owner, in steps of the engine's.

import type { Connection, NativeError } from "./connection.js";
import { addCost, type Cost, NO_COST } from "./cost.js";
import type { ChatMemoryError } from "./errors.js";

/** A session of an owner whose sessions are deleted. */
export interface DeletedSession {
  session: string;
  /** How many records were erased. */
  records: number;
  /** Why it could not be deleted; `null` if it was. */
  error: ChatMemoryError | null;
}

/** What a deletion of an owner's sessions did. */
export interface OwnerDeletion {
  /** How many sessions were deleted. */
  sessions: number;
  /** How many records were erased. */
  records: number;
  /** The sessions that could not be deleted, and are left. If there are none, nothing of the owner is listed any more. */
  failed: DeletedSession[];
  cost: Cost;
}

interface Step {
  sessions: { session: string; records: number; error: NativeError | null }[];
  more: boolean;
  cost: Cost;
}

/** Deletes all sessions of an owner. */
export async function deleteOwner(
  connection: Connection,
  owner: string,
  progress?: (done: DeletedSession) => unknown,
): Promise<OwnerDeletion> {
  const report: OwnerDeletion = { sessions: 0, records: 0, failed: [], cost: NO_COST };
  const known = new Set<string>();
  for (let more = true; more; ) {
    const step: Step = await connection.call("deleteOwner", { owner, failed: known.size });
    report.cost = addCost(report.cost, step.cost);
    // Each step tries again what failed before, so the last one knows what is left.
    report.failed = [];
    for (const { session, records, error } of step.sessions) {
      const done = { session, records, error: error && connection.failure(error) };
      if (error) {
        report.failed.push(done);
        if (known.has(session)) continue;
        known.add(session);
      } else {
        report.sessions += 1;
        report.records += records;
      }
      await progress?.(done);
    }
    more = step.more;
  }
  return report;
}
