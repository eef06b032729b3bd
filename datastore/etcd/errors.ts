import { type ErrorCode, messageOf, OperationalError } from '#core';
import { withRemedy } from './remedies.ts';

/** Status codes of gRPC, by their names. */
const Code = {
  CANCELLED: 1,
  DEADLINE_EXCEEDED: 4,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  OUT_OF_RANGE: 11,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;

/** What gRPC rejects with. */
interface Failure {
  readonly code?: number;
  readonly details?: string;
}

const CODES: Partial<Record<number, ErrorCode>> = {
  [Code.UNAVAILABLE]: 'UNAVAILABLE',
  [Code.CANCELLED]: 'UNAVAILABLE',
  [Code.DEADLINE_EXCEEDED]: 'TIMEOUT',
  [Code.UNAUTHENTICATED]: 'UNAUTHENTICATED',
  [Code.PERMISSION_DENIED]: 'PERMISSION',
  [Code.OUT_OF_RANGE]: 'COMPACTED',
  [Code.RESOURCE_EXHAUSTED]: 'EXHAUSTED',
};

/** Texts of etcd's errors that say more than their codes. */
const TEXTS: readonly (readonly [RegExp, ErrorCode])[] = [
  [/user name is empty|authentication failed|invalid user|invalid auth token/, 'UNAUTHENTICATED'],
  [/permission denied/, 'PERMISSION'],
  [/required revision has been compacted|future revision/, 'COMPACTED'],
  // The server's own view of the deadline that a call carries, with no code of its own, when it is faster than ours.
  [/^context deadline exceeded$/, 'TIMEOUT'],
  [/^context canceled$/, 'UNAVAILABLE'],
  [/no leader|leader changed|request timed out|not capable|server stopped/, 'UNAVAILABLE'],
];

/** An error of etcd or of the way to it as one of ours; the endpoint, etcd's own words and what can be done stand in the message. */
export function etcdError(error: unknown, endpoint: string): OperationalError {
  if (error instanceof OperationalError) return error;
  const { code, details } = error as Failure;
  const words = details || messageOf(error);
  const known = TEXTS.find(([pattern]) => pattern.test(words))?.[1] ?? (code === undefined ? undefined : CODES[code]);
  return new OperationalError(known ?? 'PROTOCOL', `etcd at ${endpoint}: ${withRemedy(words, endpoint)}`, {
    cause: error,
  });
}

/** Whether the token was refused, so that a new one may help. */
export const tokenRefused = (error: unknown): boolean =>
  /invalid auth token|revision of auth store is old/.test((error as Failure).details ?? messageOf(error));

/** Whether another endpoint may do better. */
export const endpointFailed = (error: OperationalError): boolean =>
  error.code === 'UNAVAILABLE' || error.code === 'TIMEOUT';
