import { createSocket, type Socket } from 'node:dgram';
import type { FlowReport } from './probe-client.ts';

/** How long the last datagrams may take to come back before they count as lost. */
const SETTLE = 1_000;

/** Numbered datagrams to a UDP echo, one every few milliseconds, and the account of which came back. */
export class Flow {
  readonly #socket: Socket;
  readonly #timer: NodeJS.Timeout;
  readonly #sentAt: number[] = [];
  readonly #back = new Set<number>();
  #longest = 0;
  #last = performance.now();

  constructor(to: string, port: number, interval: number) {
    this.#socket = createSocket(to.includes(':') ? 'udp6' : 'udp4');
    this.#socket.on('error', () => {}); // an unreachable network shows as a datagram that did not come back
    this.#socket.on('message', (bytes) => this.#received(bytes.readUInt32BE(0)));
    this.#timer = setInterval(() => this.#send(to, port), interval);
  }
  report(): FlowReport {
    const received = this.#back.size;
    return { sent: this.#sentAt.length, received, lost: this.#lost(), longestGap: Math.round(this.#longest) };
  }
  async stop(): Promise<FlowReport> {
    clearInterval(this.#timer);
    const end = performance.now() + SETTLE;
    while (this.#back.size < this.#sentAt.length && performance.now() < end)
      await new Promise((r) => setTimeout(r, 20));
    this.#socket.close();
    return this.report();
  }
  #send(to: string, port: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(this.#sentAt.length);
    this.#sentAt.push(performance.now());
    this.#socket.send(bytes, port, to, () => {}); // as above
  }
  #received(seq: number): void {
    const now = performance.now();
    this.#back.add(seq);
    this.#longest = Math.max(this.#longest, now - this.#last);
    this.#last = now;
  }
  /** Numbers of datagrams that are out for longer than they may be. */
  #lost(): number[] {
    const due = performance.now() - SETTLE;
    return this.#sentAt.flatMap((at, seq) => (this.#back.has(seq) || at > due ? [] : [seq]));
  }
}
