import type { Family } from '#core';
import type { Groups, Membership } from '../groups.ts';

import type { Chunk } from '../rib/chunk.ts';
import { MAX_MESSAGE } from '../wire/codes.ts';
import { UpdateWriter } from '../wire/pack.ts';
import { encodeRouteRefresh } from '../wire/refresh.ts';

interface Channel extends Membership {
  readonly family: Family;
  /** What is said when the peer has everything that is there now. */
  marker: 'end-of-rib' | 'end-of-refresh' | null;
  /** Another refresh was asked for while one runs (catalogue R9). */
  again: boolean;
}

/** What goes to one peer: pulled from its groups as its socket takes it. */
export class Outbound {
  readonly #source: number;
  readonly #groups: Groups;
  readonly #send: (bytes: Uint8Array) => boolean;
  readonly #channels = new Map<Family, Channel>();
  readonly #enhancedRefresh: boolean;
  /** End-of-RIB and routes wait until the speaker has heard its peers (RFC 4724 §4.1). */
  isDeferred = false;
  #blocked = false;

  constructor(source: number, groups: Groups, enhancedRefresh: boolean, send: (bytes: Uint8Array) => boolean) {
    this.#source = source;
    this.#groups = groups;
    this.#enhancedRefresh = enhancedRefresh;
    this.#send = send;
  }
  get channels(): ReadonlyMap<Family, Channel> {
    return this.#channels;
  }
  add(family: Family, joined: Membership): void {
    this.#channels.set(family, { family, ...joined, marker: 'end-of-rib', again: false });
  }
  /** Another group from now on, because policy or next hop has changed; the peer is told the difference. */
  move(family: Family, join: () => Membership): void {
    const before = this.#channels.get(family);
    if (!before) return;
    const joined = join();
    if (joined.group === before.group) {
      joined.group.out.leave(joined.member);
      return;
    }
    this.#channels.set(family, { ...before, ...joined });
    this.#groups.takeBack(before, joined, (bytes) => this.#put(bytes));
  }
  close(): void {
    for (const channel of this.#channels.values()) this.#groups.leave(channel);
    this.#channels.clear();
  }
  drained(): void {
    this.#blocked = false;
  }
  advertised(family: Family): number {
    const channel = this.#channels.get(family);
    return channel ? channel.group.out.advertisedTo(channel.member) : 0;
  }

  /** RFC 2918, RFC 7313: everything once more. */
  refresh(family: Family): void {
    const channel = this.#channels.get(family);
    if (!channel) return;
    if (channel.marker !== null) {
      channel.again = channel.marker === 'end-of-refresh';
      return;
    }
    this.#startRefresh(channel);
  }

  /** Sends what the peer takes now; true: there is more, and it would take it. */
  pump(isSpent: () => boolean): boolean {
    if (this.isDeferred) return false;
    for (const channel of this.#channels.values())
      while (!this.#blocked) {
        const chunk = channel.group.out.next(channel.member);
        if (chunk) this.#write(chunk);
        else if (!this.#mark(channel)) break;
        if (isSpent()) return true;
      }
    return false;
  }

  #startRefresh(channel: Channel): void {
    channel.group.out.restart(channel.member);
    if (!this.#enhancedRefresh) return;
    this.#put(encodeRouteRefresh(channel.family, 'begin'));
    channel.marker = 'end-of-refresh';
  }
  /** End-of-RIB or end of refresh, when it is time; whether there is more to do after it. */
  #mark(channel: Channel): boolean {
    if (channel.marker === null || !channel.group.isFilled) return false;
    if (channel.marker === 'end-of-rib') this.#put(endOfRib(channel.family));
    else this.#put(encodeRouteRefresh(channel.family, 'end'));
    channel.marker = null;
    if (!channel.again) return false;
    channel.again = false;
    this.#startRefresh(channel);
    return true;
  }
  #write(chunk: Chunk): void {
    const { bytes, common } = chunk;
    const skip = chunk.skip.get(this.#source);
    if (!skip) this.#put(bytes.subarray(0, common));
    else {
      this.#put(bytes.subarray(0, skip[0]));
      this.#put(bytes.subarray(skip[1], common));
    }
    const only = chunk.only.get(this.#source);
    if (only) this.#put(bytes.subarray(only[0], only[1]));
  }
  #put(bytes: Uint8Array): void {
    if (bytes.length > 0 && !this.#send(bytes)) this.#blocked = true;
  }
}

function endOfRib(family: Family): Uint8Array {
  const writer = new UpdateWriter(new Uint8Array(MAX_MESSAGE), MAX_MESSAGE);
  writer.endOfRib(family);
  return writer.out.slice(0, writer.at);
}
