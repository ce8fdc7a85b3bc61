/**
 * What went wrong, in general:
 *
 * | code | what it means |
 * |---|---|
 * | `not_found` | the table, the file or the folder is not there |
 * | `conflict` | the session was modified since the expected position was read; nothing was written, `actual` is the current position |
 * | `in_doubt` | append outcome unknown; retry with `ticket`: it is never stored twice |
 * | `key_reused` | an idempotency key was used before, with other messages |
 * | `too_large` | more bytes than the store accepts |
 * | `invalid` | the call itself is invalid; repeating it cannot help |
 * | `access_denied` | the credentials are missing, refused, expired or lack a permission |
 * | `throttled`, `unavailable` | the service throttled the request, or cannot be reached; nothing was written, and a later call may succeed |
 * | `contended` | conflicts with other writers to the same session lasted until the deadline; nothing was written, and a later call may succeed |
 * | `corrupt` | what is stored cannot be read |
 * | `unsupported` | the store does not support this |
 * | `read_only` | the store is read-only |
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
  | "read_only";

/** Why an operation failed. The message says what is wrong, where, and what to do. */
export class ChatMemoryError extends Error {
  override readonly name = "ChatMemoryError";
  /** What went wrong, in general. */
  readonly code: ErrorCode;
  /** Whether the same call may succeed later, unchanged. */
  readonly retryable: boolean;
  /** For `in_doubt`: the ticket with which any process can retry the append. */
  declare readonly ticket?: string;
  /** For `conflict`: the session's current position. */
  declare readonly actual?: string;

  constructor(code: ErrorCode, message: string, more: { retryable?: boolean; ticket?: string | null; actual?: string | null } = {}) {
    super(message);
    this.code = code;
    this.retryable = more.retryable ?? false;
    if (more.ticket) this.ticket = more.ticket;
    if (more.actual) this.actual = more.actual;
  }
}

/** The error for an invalid call. */
export function invalid(message: string): ChatMemoryError {
  return new ChatMemoryError("invalid", message);
}
