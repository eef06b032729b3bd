import { createHash, type Hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type Clock, type Family, type Milliseconds, OperationalError } from '#core';
import { inSlices, type Sliced } from '../slices.ts';
import { BoundedCalls } from './bounded-calls.ts';
import { OptionSocket } from './netlink/libc.ts';
import { LITTLE } from './netlink/message.ts';

const TIMEOUT: Milliseconds = 30_000;
/** A table that is replaced meanwhile is asked for again. */
const TRIES = 5;
/** Bytes between two places where it may be interrupted: half a millisecond. */
const PORTION = 512 << 10;

/** IPT_SO_GET_INFO and IPT_SO_GET_ENTRIES (linux/netfilter_ipv4/ip_tables.h); those of IPv6 have the same numbers. */
const GET_INFO = 64;
const GET_ENTRIES = 65;
/** struct ipt_getinfo: the table's name, places of hooks, number of entries, their size. */
const INFO = 84;
const NUMBER_AT = 76;
const SIZE_AT = 80;
/** struct ipt_get_entries: the table's name, the size of the entries, padding; then these. */
const HEADER = 40;
const NAME_LENGTH = 32;

/** How a family is asked, and where in struct ipt_entry or ip6t_entry the offset of the next and the counters (16 bytes) are. */
const KINDS = {
  4: { domain: 2, level: 0, names: '/proc/net/ip_tables_names', next: 90, counters: 96, entry: 112 },
  6: { domain: 10, level: 41, names: '/proc/net/ip6_tables_names', next: 142, counters: 152, entry: 168 },
} as const;

/**
 * What the kernel holds of legacy iptables, without a program: it gives a table as the bytes that it was written by, and so without a word of its rules being
 * understood two looks can be told to be the same. This costs a fifth of reading them by `iptables-save` (docs/BENCH.md).
 */
export class LegacyTables {
  readonly #clock: Clock;
  readonly #calls: BoundedCalls;
  /** Kept, so that the kernel need not clear its pages at each look. */
  readonly #buffers: Record<Family, Buffer> = { 4: Buffer.alloc(0), 6: Buffer.alloc(0) };

  constructor(clock: Clock, timeout = TIMEOUT) {
    this.#clock = clock;
    const late = () => new OperationalError('TIMEOUT', 'the kernel did not tell its tables in time');
    this.#calls = new BoundedCalls(clock, timeout, late);
  }

  /**
   * A digest of all tables of the family in the network namespace of now, counters aside; one at a time for a family. Two that are equal mean that every rule
   * is the same. Undefined, when the kernel cannot be asked so or tables do not stand still: then only reading them tells.
   */
  async fingerprint(family: Family): Promise<string | undefined> {
    try {
      return await this.#calls.run(() => this.#digest(family));
    } catch (error) {
      if (error instanceof OperationalError) return undefined;
      throw error;
    }
  }

  async #digest(family: Family): Promise<string | undefined> {
    const { domain, names } = KINDS[family];
    const hash = createHash('sha256');
    // A table that is not there must not be asked for: that would make it, and every packet would pass it from then on.
    const tables = await tableNames(names);
    if (tables.length === 0) return hash.digest('base64');
    const socket = new OptionSocket(domain);
    try {
      for (const table of tables) {
        const bytes = await this.#read(family, socket, table);
        if (!bytes || !(await inSlices(this.#clock, digestTable(family, bytes, hash)))) return undefined;
      }
    } finally {
      socket.close();
    }
    return hash.digest('base64');
  }

  /** What GET_INFO tells, and what GET_ENTRIES does. */
  async #read(family: Family, socket: OptionSocket, table: string): Promise<Bytes | undefined> {
    const { level } = KINDS[family];
    for (let tries = TRIES; tries > 0; tries--) {
      const info = Buffer.alloc(INFO);
      info.write(table);
      if (!(await socket.read(level, GET_INFO, info))) return undefined;
      const size = number(info, SIZE_AT);
      const entries = this.#buffer(family, HEADER + size);
      // The kernel leaves bytes as they are, behind the end of each name.
      entries.fill(0);
      entries.write(table);
      entries.set(info.subarray(SIZE_AT, SIZE_AT + 4), NAME_LENGTH);
      if (await socket.read(level, GET_ENTRIES, entries)) return { info, entries: entries.subarray(HEADER) };
    }
    return undefined;
  }
  #buffer(family: Family, size: number): Buffer {
    if (this.#buffers[family].length < size) this.#buffers[family] = Buffer.alloc(size + (size >> 3));
    return this.#buffers[family].subarray(0, size);
  }
}

interface Bytes {
  readonly info: Buffer;
  readonly entries: Buffer;
}

/** @returns false: the entries are not laid out as they should be */
function* digestTable(family: Family, { info, entries }: Bytes, hash: Hash): Sliced<boolean> {
  const { next, counters, entry } = KINDS[family];
  const view = new DataView(entries.buffer, entries.byteOffset, entries.length);
  let count = 0;
  let told = 0;
  let at = 0;
  hash.update(info);
  while (at < entries.length) {
    const length = at + entry <= entries.length ? view.getUint16(at + next, LITTLE) : 0;
    if (length < entry || at + length > entries.length) return false;
    // Packets and bytes; as numbers, because a call of fill takes longer than the digest.
    view.setFloat64(at + counters, 0);
    view.setFloat64(at + counters + 8, 0);
    at += length;
    count++;
    if (at - told < PORTION) continue;
    hash.update(entries.subarray(told, at));
    told = at;
    yield;
  }
  hash.update(entries.subarray(told));
  return count === number(info, NUMBER_AT);
}

const number = (bytes: Buffer, at: number): number => (LITTLE ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));

/** The file is missing when the module was never loaded. From a worker thread: the kernel waits for who is writing a table. */
async function tableNames(path: string): Promise<string[]> {
  try {
    return (await readFile(path, 'utf8')).split('\n').filter((line) => line !== '');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new OperationalError('KERNEL', `cannot read ${path}`, { cause: error });
  }
}
