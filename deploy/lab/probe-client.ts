import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { LabError } from './wait.ts';

/** What a probe can be asked (probe.ts), and what it answers. Durations in milliseconds. */
interface Requests {
  ping: object;
  tcp: { to: string; port: number; from?: string; timeout: number };
  udp: { to: string; port: number; from?: string; count: number; timeout: number };
  heard: object;
  'flow-start': { id: string; to: string; port: number; interval: number };
  'flow-look': { id: string };
  'flow-stop': { id: string };
}
export interface Answers {
  ping: { name: string };
  /** `why`: the error of connect(2), or `timeout`. */
  tcp: { ok: boolean; why: string };
  udp: { answered: number; why: string };
  heard: Record<string, number>;
  'flow-start': object;
  'flow-look': FlowReport;
  'flow-stop': FlowReport;
}
export type Request<K extends keyof Requests = keyof Requests> = { [P in K]: { op: P } & Requests[P] }[K];

export interface FlowReport {
  sent: number;
  received: number;
  /** Sequence numbers, from 0. */
  lost: number[];
  /** Longest time between two answers. */
  longestGap: number;
}

/** Asks a probe by its control socket; many questions may be under way at once. */
export class ProbeClient {
  readonly #path: string;
  #socket: Socket | null = null;
  #seq = 0;
  readonly #waiting = new Map<number, { resolve(value: never): void; reject(error: Error): void }>();

  constructor(path: string) {
    this.#path = path;
  }
  ask<K extends keyof Requests>(op: K, request: Requests[K]): Promise<Answers[K]> {
    this.#socket ??= this.#connect();
    const seq = this.#seq++;
    this.#socket.write(`${JSON.stringify({ seq, op, ...request })}\n`);
    return new Promise((resolve, reject) => {
      this.#waiting.set(seq, { resolve, reject });
    });
  }
  close(): void {
    this.#socket?.destroy();
    this.#socket = null;
  }

  #connect(): Socket {
    const socket = connect(this.#path);
    const broken = (error?: Error) => {
      if (this.#socket === socket) this.#socket = null;
      for (const { reject } of this.#waiting.values())
        reject(new LabError(`probe ${this.#path}: ${error?.message ?? 'connection closed'}`));
      this.#waiting.clear();
    };
    socket.on('error', broken);
    socket.on('close', () => broken());
    createInterface(socket)
      .on('line', (line) => this.#answered(JSON.parse(line)))
      .on('error', () => {}); // reported by the socket itself
    return socket;
  }
  #answered({ seq, value, error }: { seq: number; value: never; error?: string }): void {
    const waiting = this.#waiting.get(seq);
    this.#waiting.delete(seq);
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(new LabError(error));
  }
}
