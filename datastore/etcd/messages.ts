import type { Compare, KeyValue, Span } from '../store.ts';
import { bytes, Fields, message, number } from './protobuf.ts';

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

/** Who the store is and how far it got, to notice when it is another one or was set back. */
export interface Identity {
  clusterId: string;
  revision: bigint;
  term: bigint;
}

export interface RangeAnswer extends Identity {
  readonly entries: readonly KeyValue[];
  /** The last key as it is, which need not be UTF-8. */
  readonly last: Buffer;
  readonly more: boolean;
}

export function rangeAnswer(buffer: Buffer): RangeAnswer {
  let identity: Identity = { clusterId: '', revision: 0n, term: 0n };
  let more = false;
  let last = NOTHING;
  const entries: KeyValue[] = [];
  for (const fields = new Fields(buffer); fields.next(); ) {
    if (fields.field === 1) identity = headerOf(fields.inner);
    else if (fields.field === 2) {
      entries.push(new Entry(fields.inner));
      last = fields.span;
    } else if (fields.field === 3) more = fields.bool;
  }
  return { ...identity, entries, last: keyOf(last), more };
}

function keyOf({ buffer, from, to }: Span): Buffer {
  for (const fields = new Fields(buffer, from, to); fields.next(); ) if (fields.field === 1) return fields.bytes;
  return NOTHING.buffer;
}

function headerOf(fields: Fields): Identity {
  const identity: Identity = { clusterId: '0', revision: 0n, term: 0n };
  while (fields.next()) {
    if (fields.field === 1) identity.clusterId = String(fields.number);
    else if (fields.field === 3) identity.revision = fields.number;
    else if (fields.field === 4) identity.term = fields.number;
  }
  return identity;
}

const NOTHING: Span = { buffer: Buffer.alloc(0), from: 0, to: 0 };

/** A key with its value as it lies in the answer: there may be hundreds of thousands of these, and not each value is wanted as a text. */
class Entry implements KeyValue {
  readonly key: string;
  readonly modRevision: bigint;
  readonly raw: Span;

  constructor(fields: Fields) {
    let key = '';
    let modRevision = 0n;
    let raw = NOTHING;
    while (fields.next()) {
      if (fields.field === 1) key = fields.text;
      else if (fields.field === 3) modRevision = fields.number;
      else if (fields.field === 5) raw = fields.span;
    }
    this.key = key;
    this.modRevision = modRevision;
    this.raw = raw;
  }

  get value(): string {
    const { buffer, from, to } = this.raw;
    return buffer.toString('utf8', from, to);
  }
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
  for (const fields = new Fields(buffer); fields.next(); ) {
    if (fields.field === 1) revision = headerOf(fields.inner).revision;
    else if (fields.field === 2) succeeded = fields.bool;
    else if (fields.field === 3)
      for (const response = fields.inner; response.next(); )
        if (response.field === 1) read.push(rangeAnswer(response.bytes).entries[0] ?? null);
  }
  return { revision, succeeded, read };
}

export const authenticateRequest = (name: string, password: string): Buffer =>
  message(bytes(1, name), bytes(2, password));

/** The token of an AuthenticateResponse, or the version of a StatusResponse: both are the text of field 2. */
export function textOf(buffer: Buffer): string {
  for (const fields = new Fields(buffer); fields.next(); ) if (fields.field === 2) return fields.text;
  return '';
}
