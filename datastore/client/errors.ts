import { OperationalError } from '#core';
import type { AnyResource, Kind } from '../model/index.ts';
import { describeErrors, type FieldError } from '../validate.ts';

/** A resource that may not be written, and each field that is wrong. */
export class ValidationError extends OperationalError {
  readonly errors: readonly FieldError[];
  constructor(subject: string, errors: readonly FieldError[]) {
    super('VALIDATION', `${subject} is not valid: ${describeErrors(errors)}`);
    this.errors = errors;
  }
}

/** `NetworkPolicy(prod/web)`: how every message names a resource. */
export const named = (kind: Kind, name: string, namespace?: string | null): string =>
  `${kind}(${namespace ? `${namespace}/` : ''}${name})`;

export const nameOf = ({ kind, metadata }: AnyResource): string => named(kind, metadata.name, metadata.namespace);

export const notFound = (subject: string) => new OperationalError('NOT_FOUND', `resource does not exist: ${subject}`);

export const alreadyExists = (subject: string) =>
  new OperationalError('ALREADY_EXISTS', `resource already exists: ${subject}`);

export const conflict = (subject: string) =>
  new OperationalError(
    'CONFLICT',
    `update conflict: ${subject} was changed by someone else in the meantime; read it again`,
  );
