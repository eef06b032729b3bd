import { constants } from 'node:os';
import { OperationalError, realClock } from '#core';
import { inSlices, type Sliced } from '../../slices.ts';
import type { ColumnFailure, Failure } from '../types.ts';
import { errnoName, NETLINK, NetlinkSocket, SOL_NETLINK } from './libc.ts';
import { type Answer, Datagram, decodeAnswer, F, type Message, MessageWriter, NLMSG } from './message.ts';

/**
 * At most as many messages in one send as replies surely fit into the receive buffer (libc.ts makes it 16 MB; 212 kB hold 256). The worker thread that
 * sends stands still from the end of one batch until the loop hands it the next, so there are few of them.
 */
const BATCH = 8192;
/** Such a batch of IPv4 routes with one next hop; libc.ts makes the send buffer larger than this. */
const SEND_BYTES = 512 << 10;
/** No single message of ours is longer, unless it is said: a multipath route of 128 hops is the largest. */
const MESSAGE_MOST = 8 << 10;
/** Writes beyond this many go through a worker thread: the kernel does them inside the send, which would stall the loop. */
const SYNC_MOST = 512;
/** Datagrams of dumps read before the loop gets its turn: many small dumps one after the other must not keep it either. */
const READS_PER_TURN = 8;
const DUMP_TRIES = 5;

/** Writes by number. */
export interface Writes {
  readonly count: number;
  /** Puts one on the wire; a text returned means that it cannot be (a missing interface), and nothing was written. */
  encode(index: number, w: MessageWriter, seq: number): string | null;
  /** errno names that mean "already so" for this write, as ESRCH for a delete. */
  fine(index: number): readonly string[] | undefined;
  /** Bytes that a message has at most. */
  readonly messageMost?: number;
  /** Few writes as well may take the kernel long: all of them go through a worker thread. */
  readonly inWorker?: boolean;
}

/** One write of a list, and its key for error reports. */
export interface Write {
  /** Asked for only when it failed. */
  readonly key: () => string;
  readonly fine?: readonly string[];
  encode(w: MessageWriter, seq: number): string | null;
}

/** Messages in the writer: writes `[from, to)` but those `left` out, numbered on from `seq`. */
interface Batch {
  readonly from: number;
  readonly to: number;
  readonly seq: number;
  readonly left: ReadonlySet<number>;
}

/** Requests and answers over one socket; one at a time, in the order of the calls. */
export class Requester {
  readonly #socket: NetlinkSocket;
  #writer = new MessageWriter(SEND_BYTES);
  /** What it holds may be on its way to the kernel. */
  #other: MessageWriter | undefined;
  /** Longest send that the kernel is known to take. */
  #allowed = SEND_BYTES;
  readonly #read = new Uint8Array(256 << 10);
  #reads = 0;
  #seq = 1;
  #tail: Promise<unknown> = Promise.resolve();

  /** @throws OperationalError KERNEL */
  constructor(protocol: 0 | 12) {
    this.#socket = new NetlinkSocket(protocol);
    this.#socket.option(SOL_NETLINK, NETLINK.CAP_ACK, 1);
    this.#socket.option(SOL_NETLINK, NETLINK.EXT_ACK, 1);
    if (protocol === 0) this.#socket.option(SOL_NETLINK, NETLINK.GET_STRICT_CHK, 1);
  }
  get port(): number {
    return this.#socket.port;
  }
  close(): void {
    void this.#tail.then(() => this.#socket.close());
  }

  /** Sends every write in order; resolves with the refused ones. */
  async write(writes: readonly Write[]): Promise<Failure[]> {
    const refused = await this.writeColumns({
      count: writes.length,
      encode: (index, w, seq) => writes[index].encode(w, seq),
      fine: (index) => writes[index].fine,
    });
    return refused.map(({ index, error, detail }) => ({ key: writes[index].key(), error, detail }));
  }
  /** The same where an object for each write would be too many. */
  writeColumns(writes: Writes): Promise<ColumnFailure[]> {
    return this.#inTurn(() => this.#writeAll(writes));
  }

  /**
   * One transaction: all of it is done, or nothing of it and the refused messages are told. It is sent from a worker thread, because the kernel
   * checks whole tables before it agrees.
   * @param encode writes messages numbered from `first` on and gives the last number, which asks for an answer
   */
  transact(encode: (w: MessageWriter, first: number) => Sliced<number>): Promise<{ first: number; refused: Answer[] }> {
    return this.#inTurn(async () => {
      if (this.#seq > 0x8000_0000) this.#seq = 1;
      const first = this.#next();
      const writer = new MessageWriter(SEND_BYTES);
      const last = await inSlices(realClock, encode(writer, first));
      this.#seq = last + 1;
      if (writer.length > this.#allowed) {
        this.#socket.allowSend(writer.length);
        this.#allowed = writer.length;
      }
      const errno = await this.#socket.sendAsync(writer.bytes, writer.length);
      if (errno !== 0) throw new OperationalError('KERNEL', `netlink send: ${errnoName(errno)}`);
      const refused: Answer[] = [];
      let isConfirmed = false;
      for (const [d, m] of this.#received()) {
        if (m.type !== NLMSG.ERROR || m.seq < first || m.seq > last) continue;
        const answer = decodeAnswer(d, m);
        if (answer.errno !== 0) refused.push(answer);
        isConfirmed ||= m.seq === last;
      }
      if (refused.length === 0 && !isConfirmed)
        throw new OperationalError('KERNEL', 'netlink: the kernel gave no answer to a transaction');
      return { first, refused };
    });
  }

  /**
   * Runs a dump and collects what `each` makes of its messages; begun again when the kernel says that it changed meanwhile.
   * @param absent errno names by which the kernel says that there is nothing of the kind
   * @param inWorker the kernel looks through a large table before its first answer: the question is put from a worker thread
   */
  dump<T>(
    encode: (w: MessageWriter, seq: number) => void,
    each: (d: Datagram, m: Message) => T | null,
    absent: readonly string[] = [],
    inWorker = false,
  ): Promise<T[]> {
    return this.#inTurn(async () => {
      for (let tries = 1; ; tries++) {
        const found: T[] = [];
        const take = (d: Datagram, m: Message) => {
          const one = each(d, m);
          if (one !== null) found.push(one);
        };
        const whole = await this.#dumpOnce(encode, take, absent, inWorker);
        // The last try is taken as it is: its entries are true, and what it missed comes as an event or in the next resync.
        if (whole || tries === DUMP_TRIES) return found;
      }
    });
  }

  /** One question, one message in answer; a refusal is returned as the answer. */
  ask<T>(
    encode: (w: MessageWriter, seq: number) => void,
    decode: (d: Datagram, m: Message) => T,
  ): Promise<T | { refused: Answer }> {
    return this.#inTurn(async () => {
      const seq = this.#next();
      this.#writer.reset();
      encode(this.#writer, seq);
      this.#mustSend();
      for (const [d, m] of this.#received()) {
        if (m.seq !== seq) continue;
        return m.type === NLMSG.ERROR ? { refused: decodeAnswer(d, m) } : decode(d, m);
      }
      throw new OperationalError('KERNEL', 'netlink: the kernel gave no answer to a request');
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work);
    this.#tail = result.catch(() => undefined);
    return result;
  }
  /** The first of so many sequence numbers, which follow each other. */
  #next(count = 1): number {
    if (this.#seq + count > 0xffff_ffff) this.#seq = 1;
    const first = this.#seq;
    this.#seq += count;
    return first;
  }
  #mustSend(): void {
    const errno = this.#socket.send(this.#writer.bytes, this.#writer.length);
    if (errno !== 0) throw new OperationalError('KERNEL', `netlink send: ${errnoName(errno)}`);
  }
  /** The messages queued now. */
  *#received(): IterableIterator<[Datagram, Message]> {
    for (;;) {
      const count = this.#socket.receive(this.#read);
      if (count === 'empty') return;
      if (count === 'overrun') throw new OperationalError('KERNEL', 'netlink: answers were lost (ENOBUFS)');
      const d = new Datagram(this.#read, count);
      for (const m of d.messages()) yield [d, m];
    }
  }

  async #writeAll(writes: Writes): Promise<ColumnFailure[]> {
    const failures: ColumnFailure[] = [];
    const settle = (batch: Batch, errno: number) => {
      if (errno !== 0) refuseAll(batch, errno, 'batch refused', failures);
      else this.#collect(writes, batch, failures);
    };
    // While the kernel does one batch, the next is encoded.
    let sent: { batch: Batch; errno: number | Promise<number> } | undefined;
    try {
      for (let at = 0; at < writes.count; ) {
        const batch = this.#encode(writes, at, failures);
        at = batch.to;
        if (sent) settle(sent.batch, await sent.errno);
        sent = undefined;
        if (this.#writer.length === 0) continue;
        sent = { batch, errno: this.#sendBatch(writes.inWorker || writes.count > SYNC_MOST) };
        [this.#writer, this.#other] = [this.#other ?? new MessageWriter(SEND_BYTES), this.#writer];
      }
    } finally {
      if (sent) settle(sent.batch, await sent.errno);
    }
    return failures;
  }
  #encode(writes: Writes, from: number, failures: ColumnFailure[]): Batch {
    const writer = this.#writer;
    const most = Math.min(writes.count, from + BATCH);
    const seq = this.#next(most - from);
    const left = new Set<number>();
    const room = SEND_BYTES - (writes.messageMost ?? MESSAGE_MOST);
    writer.reset();
    let last = 0;
    let to = from;
    for (; to < most && writer.length <= room; to++) {
      const start = writer.length;
      const missing = writes.encode(to, writer, seq + to - from);
      if (missing === null) last = start;
      else {
        left.add(to);
        if (!writes.fine(to)?.includes('ENODEV')) failures.push({ index: to, error: 'ENODEV', detail: missing });
      }
    }
    // Errors are always answered; an ACK on the last message alone makes a barrier of it.
    if (writer.length > 0) writer.addFlags(last, F.ACK);
    return { from, to, seq, left };
  }
  #sendBatch(large: boolean): number | Promise<number> {
    const { bytes, length } = this.#writer;
    return large ? this.#socket.sendAsync(bytes, length) : this.#socket.send(bytes, length);
  }
  #collect(writes: Writes, batch: Batch, failures: ColumnFailure[]): void {
    const { from, to, seq } = batch;
    try {
      for (const [d, m] of this.#received()) {
        const index = from + m.seq - seq;
        if (m.type !== NLMSG.ERROR || index < from || index >= to) continue;
        const { errno, message } = decodeAnswer(d, m);
        if (errno !== 0 && !writes.fine(index)?.includes(errnoName(errno)))
          failures.push({ index, error: errnoName(errno), detail: message });
      }
    } catch (error) {
      // Which of the batch were done is unknown now: all count as failed, and the caller reads back.
      if (!(error instanceof OperationalError)) throw error;
      refuseAll(batch, constants.errno.ENOBUFS, error.message, failures);
    }
  }

  /** False: the table changed under the dump, so entries may be missing or double. */
  async #dumpOnce(
    encode: (w: MessageWriter, seq: number) => void,
    each: (d: Datagram, m: Message) => void,
    absent: readonly string[],
    inWorker: boolean,
  ): Promise<boolean> {
    const seq = this.#next();
    this.#writer.reset();
    encode(this.#writer, seq);
    const errno = await this.#sendBatch(inWorker);
    if (errno !== 0) throw new OperationalError('KERNEL', `netlink send: ${errnoName(errno)}`);
    let whole = true;
    let isDone = false;
    for (;;) {
      const count = this.#socket.receive(this.#read);
      if (count === 'empty') throw new OperationalError('KERNEL', 'netlink: a dump ended without its closing message');
      if (count === 'overrun') whole = false;
      else {
        const part = readPart(new Datagram(this.#read, count), seq, each, absent);
        whole &&= !part.interrupted;
        isDone = part.done;
      }
      if (++this.#reads % READS_PER_TURN === 0) await new Promise<void>((resolve) => setImmediate(resolve));
      if (isDone) return whole;
    }
  }
}

/** One datagram of a dump. @throws OperationalError KERNEL when the kernel refuses the dump */
function readPart(
  d: Datagram,
  seq: number,
  each: (d: Datagram, m: Message) => void,
  absent: readonly string[],
): { done: boolean; interrupted: boolean } {
  let interrupted = false;
  for (const m of d.messages()) {
    if (m.seq !== seq) continue;
    if (m.flags & F.DUMP_INTR) interrupted = true;
    if (m.type === NLMSG.DONE) return { done: true, interrupted };
    if (m.type === NLMSG.ERROR) {
      const answer = decodeAnswer(d, m);
      if (absent.includes(errnoName(answer.errno))) return { done: true, interrupted };
      throw refusedDump(answer);
    }
    each(d, m);
  }
  return { done: false, interrupted };
}

function refuseAll({ from, to, left }: Batch, errno: number, detail: string, failures: ColumnFailure[]): void {
  for (let index = from; index < to; index++)
    if (!left.has(index)) failures.push({ index, error: errnoName(errno), detail });
}

const refusedDump = ({ errno, message }: Answer): OperationalError =>
  new OperationalError('KERNEL', `netlink dump: ${errnoName(errno)}${message && ` (${message})`}`);
