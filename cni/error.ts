import { type ErrorCode, messageOf, OperationalError } from '#core';

/** Codes of the CNI specification, and ours from 100 on. */
export const CNI_CODE = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  environment: 4,
  io: 5,
  decode: 6,
  configuration: 7,
  tryAgain: 11,
  /** STATUS: no ADD can be served. */
  notAvailable: 50,
  exhausted: 100,
  missing: 101,
  kernel: 102,
  denied: 103,
  /** CHECK: the network is not as ADD left it. */
  differs: 104,
  internal: 999,
} as const;

/** What the runtime is told: a code that it may act on, a line for people, and what lies behind it. */
export class CniError extends Error {
  readonly code: number;
  readonly details: string;
  constructor(code: number, message: string, details = '', options?: ErrorOptions) {
    super(message, options);
    this.name = 'CniError';
    this.code = code;
    this.details = details;
  }
}

const CODES: Partial<Record<ErrorCode, number>> = {
  CONFIG: CNI_CODE.configuration,
  VALIDATION: CNI_CODE.configuration,
  UNAVAILABLE: CNI_CODE.tryAgain,
  TIMEOUT: CNI_CODE.tryAgain,
  COMPACTED: CNI_CODE.tryAgain,
  CONFLICT: CNI_CODE.tryAgain,
  EXHAUSTED: CNI_CODE.exhausted,
  NOT_FOUND: CNI_CODE.missing,
  ALREADY_EXISTS: CNI_CODE.missing,
  KERNEL: CNI_CODE.kernel,
  EXEC: CNI_CODE.kernel,
  UNAUTHENTICATED: CNI_CODE.denied,
  PERMISSION: CNI_CODE.denied,
};

/** Whatever was thrown, as an error of the specification. */
export function asCniError(error: unknown): CniError {
  if (error instanceof CniError) return error;
  if (error instanceof OperationalError)
    return new CniError(CODES[error.code] ?? CNI_CODE.internal, error.message, '', { cause: error });
  const details = error instanceof Error ? (error.stack ?? '') : '';
  return new CniError(CNI_CODE.internal, `${messageOf(error)} (this is a defect of tsnet-cni)`, details);
}
