/**
 * Three kinds of failure, and nothing else:
 * 1. bad input is a `Result`, made where the input is read;
 * 2. the world failed: an `OperationalError` with a stable `code`; the work stays pending and is retried by its loop;
 * 3. our own invariant broke: a `Bug`. The process ends; kernel state stays, and it is fail-closed.
 */

/** Every code that a program or a test may match on; messages are for people and may change. */
export type ErrorCode =
  | 'CONFIG' // a flag, variable or file is wrong: exit 2
  | 'VALIDATION' // a resource is wrong
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'CONFLICT' // compare-and-swap lost
  | 'UNAVAILABLE' // datastore, socket or child not reachable
  | 'TIMEOUT'
  | 'COMPACTED' // the revision asked for is gone
  | 'UNAUTHENTICATED'
  | 'PERMISSION'
  | 'KERNEL' // the kernel refused an operation
  | 'EXEC' // a command failed
  | 'EXHAUSTED' // no address, block or slot left
  | 'PROTOCOL'; // the other side broke the protocol

/** The world failed, or a person asked for something impossible. The message says what, where, and what to do. */
export class OperationalError extends Error {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'OperationalError';
    this.code = code;
  }
}

/** Our own code broke a promise to itself. Never caught except to log and exit. */
export class Bug extends Error {
  constructor(message: string) {
    super(`bug: ${message}`);
    this.name = 'Bug';
  }
}

export const hasCode = (error: unknown, code: ErrorCode): boolean =>
  error instanceof OperationalError && error.code === code;

/** One line for a person, whatever was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Ends a switch over a closed union: a new member is a compile error here. */
export function assertNever(value: never): never {
  throw new Bug(`unexpected ${JSON.stringify(value)}`);
}
