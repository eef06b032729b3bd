import type { Compare, KeyValue } from '../../store.ts';
import { bytes, fieldsOf, message, number } from './protobuf.ts';

/** etcd's requests and answers (rpc.proto, kv.proto of etcd 3.4; field numbers are the same in all of version 3). */

export interface RangeQuery {
  readonly key: Buffer;
  readonly end?: Buffer;
  readonly limit?: number;
  readonly revision?: bigint;
  readonly keysOnly?: boolean;
}

export const rangeRequest = ({ key, end, limit, revision, keysOnly }: RangeQuery): Buffer =>
  message(
    bytes(1, key),
    ...(end ? [bytes(2, end)] : []),
    number(3, limit ?? 0),
    number(4, revision ?? 0),
    number(8, keysOnly ? 1 : 0),
  );

export interface RangeAnswer {
  readonly revision: bigint;
  readonly entries: readonly KeyValue[];
  readonly more: boolean;
}

export function rangeAnswer(buffer: Buffer): RangeAnswer {
  let revision = 0n;
  let more = false;
  const entries: KeyValue[] = [];
  for (const { field, number: value, bytes: content } of fieldsOf(buffer)) {
    if (field === 1) revision = headerRevision(content);
    else if (field === 2) entries.push(entryOf(content));
    else if (field === 3) more = value !== 0n;
  }
  return { revision, entries, more };
}

function headerRevision(buffer: Buffer): bigint {
  for (const { field, number: value } of fieldsOf(buffer)) if (field === 3) return value;
  return 0n;
}

function entryOf(buffer: Buffer): KeyValue {
  const entry = { key: '', value: '', modRevision: 0n };
  for (const { field, number: value, bytes: content } of fieldsOf(buffer)) {
    if (field === 1) entry.key = content.toString('utf8');
    else if (field === 3) entry.modRevision = value;
    else if (field === 5) entry.value = content.toString('utf8');
  }
  return entry;
}

/** What a transaction does when its compares hold. */
export type Operation =
  | { readonly put: { readonly key: Buffer; readonly value: Buffer } }
  | { readonly delete: Buffer };

const MOD = 2;

/** Compares of mod_revision; when one fails, what each compared key holds is read instead. */
export function txnRequest(compares: readonly Compare[], operations: readonly Operation[]): Buffer {
  return message(
    ...compares.map(({ key, mod }) =>
      // The revision is one of a choice of fields, which is written even when it is 0.
      bytes(1, message(number(2, MOD), bytes(3, key), mod === 0n ? Buffer.from([6 << 3, 0]) : number(6, mod))),
    ),
    ...operations.map((operation) => bytes(2, operationOf(operation))),
    ...compares.map(({ key }) => bytes(3, bytes(1, rangeRequest({ key: Buffer.from(key, 'utf8') })))),
  );
}

const operationOf = (operation: Operation): Buffer =>
  'put' in operation
    ? bytes(2, message(bytes(1, operation.put.key), bytes(2, operation.put.value)))
    : bytes(3, bytes(1, operation.delete));

export interface TxnAnswer {
  readonly revision: bigint;
  readonly succeeded: boolean;
  /** What was read, in order: only when it did not succeed. */
  readonly read: readonly (KeyValue | null)[];
}

export function txnAnswer(buffer: Buffer): TxnAnswer {
  let revision = 0n;
  let succeeded = false;
  const read: (KeyValue | null)[] = [];
  for (const { field, number: value, bytes: content } of fieldsOf(buffer)) {
    if (field === 1) revision = headerRevision(content);
    else if (field === 2) succeeded = value !== 0n;
    else if (field === 3)
      for (const response of fieldsOf(content))
        if (response.field === 1) read.push(rangeAnswer(response.bytes).entries[0] ?? null);
  }
  return { revision, succeeded, read };
}

export const authenticateRequest = (name: string, password: string): Buffer =>
  message(bytes(1, name), bytes(2, password));

/** The token of an AuthenticateResponse, or the version of a StatusResponse: both are the text of field 2. */
export function textOf(buffer: Buffer): string {
  for (const { field, bytes: content } of fieldsOf(buffer)) if (field === 2) return content.toString('utf8');
  return '';
}
