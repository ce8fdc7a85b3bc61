/**
 * What went wrong, in general:
 *
 * | code | what it means |
 * |---|---|
 * | `not_found` | the table, the file or the folder is not there |
 * | `conflict` | someone wrote since the expected position was read; nothing was written, `actual` is where the session is now |
 * | `in_doubt` | it is not known whether the append landed; repeat it with `ticket`, which cannot double it |
 * | `key_reused` | an idempotency key was used before, with other messages |
 * | `too_large` | more bytes than the store takes |
 * | `invalid` | the call itself is wrong; repeating it cannot help |
 * | `access_denied` | the credentials are missing, refused, expired or lack a permission |
 * | `throttled`, `unavailable` | the service refuses to go faster, or is not to be reached; nothing was written, and a later call may succeed |
 * | `contended` | other writers to the same session kept this one from getting through in time; nothing was written, and a later call may succeed |
 * | `corrupt` | what is stored cannot be read |
 * | `unsupported` | the store does not do this |
 * | `read_only` | the store was opened for reading only |
 */
export type ErrorCode =
  | "not_found"
  | "conflict"
  | "in_doubt"
  | "key_reused"
  | "too_large"
  | "invalid"
  | "access_denied"
  | "throttled"
  | "contended"
  | "unavailable"
  | "corrupt"
  | "unsupported"
  | "read_only"
  | "other";

/** Why an operation failed. The message says what is wrong, where, and what to do. */
export class ChatMemoryError extends Error {
  override readonly name = "ChatMemoryError";
  /** What went wrong, in general. */
  readonly code: ErrorCode;
  /** Whether the same call may succeed later, with nothing changed. */
  readonly retryable: boolean;
  /** For `in_doubt`: what lets any process finish the append. */
  declare readonly ticket?: string;
  /** For `conflict`: the position at which the session is. */
  declare readonly actual?: string;

  constructor(code: ErrorCode, message: string, more: { retryable?: boolean; ticket?: string | null; actual?: string | null } = {}) {
    super(message);
    this.code = code;
    this.retryable = more.retryable ?? false;
    if (more.ticket) this.ticket = more.ticket;
    if (more.actual) this.actual = more.actual;
  }
}

/** The error for a call that is wrong in itself. */
export function invalid(message: string): ChatMemoryError {
  return new ChatMemoryError("invalid", message);
}
