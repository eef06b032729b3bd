import type { Origin } from '../fsm/types.ts';
import type { TcpConnection } from '../transport/types.ts';
import { MAX_MESSAGE } from '../wire/codes.ts';
import { nextFrame } from '../wire/frame.ts';
import { decodeMessage } from '../wire/message.ts';
import type { Malformed, Message, Negotiated } from '../wire/types.ts';
import { UpdateDecoder, type UpdateScratch } from '../wire/update.ts';

export interface LinkEvents {
  /** @returns false when the connection is over and nothing more may be read from it. */
  onMessage(message: Message): boolean;
  onFault(fault: Malformed): void;
  /** Something arrived, and all whole messages of it were handled; `heard`: there was one. */
  onTurn(heard: boolean): void;
}

/** A TCP connection as a row of messages: frames are found and decoded in place, the rest of one waits for its end. */
export class Link {
  readonly id: number;
  readonly origin: Origin;
  readonly tcp: TcpConnection;
  readonly #events: LinkEvents;
  readonly #scratch: UpdateScratch;
  #decoder: UpdateDecoder | null = null;
  #maxMessage = MAX_MESSAGE;
  #rest = new Uint8Array(0);
  #restLength = 0;

  constructor(id: number, origin: Origin, tcp: TcpConnection, scratch: UpdateScratch, events: LinkEvents) {
    this.id = id;
    this.origin = origin;
    this.tcp = tcp;
    this.#scratch = scratch;
    this.#events = events;
  }
  /** From now on messages are read as the two sides have agreed. */
  agree(negotiated: Negotiated): void {
    this.#decoder = new UpdateDecoder(negotiated, this.#scratch);
    this.#maxMessage = negotiated.maxMessage;
  }

  /** Bytes that were read; there is room for a message before `start`. */
  receive(bytes: Uint8Array, start: number, end: number) {
    let at = start - this.#restLength;
    bytes.set(this.#rest.subarray(0, this.#restLength), at);
    this.#restLength = 0;
    const first = at;
    while (at < end) {
      const length = nextFrame(bytes, at, end, this.#maxMessage);
      if (typeof length !== 'number') return this.#events.onFault(length);
      if (length === 0) break;
      if (!this.#handle(bytes, at, at + length)) return;
      at += length;
    }
    this.#keep(bytes, at, end);
    this.#events.onTurn(at > first);
  }

  #handle(bytes: Uint8Array, start: number, end: number): boolean {
    const message = decodeMessage(bytes, start, end, this.#decoder);
    if (message.ok) return this.#events.onMessage(message.value);
    if (message.error.disposition === 'ignore') return true;
    this.#events.onFault(message.error);
    return false;
  }
  #keep(bytes: Uint8Array, at: number, end: number): void {
    const length = end - at;
    if (length > this.#rest.length) this.#rest = new Uint8Array(Math.max(length, MAX_MESSAGE));
    if (length > 0) this.#rest.set(bytes.subarray(at, end));
    this.#restLength = length;
  }
}
