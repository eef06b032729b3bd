import { type Addr, addrBytes, type Family, Writer } from '#core';
import { ATTRIBUTE, FLAG, nextHopBytes } from './wire/attribute.ts';
import { encodeAttributes } from './wire/attributes-out.ts';
import type { NlriColumns } from './wire/nlri.ts';
import type { PathAttributes, RouterId } from './wire/types.ts';

/**
 * The table as an MRT TABLE_DUMP_V2 (RFC 6396 §4.3), which bgpdump, tshark and the tools of route collectors read. Path identifiers go into the
 * subtypes of RFC 8050.
 */

const TABLE_DUMP_V2 = 13;
const PEER_INDEX_TABLE = 1;
const RIB_UNICAST: Readonly<Record<Family, number>> = { 4: 2, 6: 4 };
const RIB_UNICAST_ADD_PATH: Readonly<Record<Family, number>> = { 4: 8, 6: 10 };
const PEER_ADDRESS_16 = 1;
const PEER_AS_4 = 2;

export interface MrtPeer {
  readonly identifier: RouterId;
  readonly address: Addr;
  readonly asNumber: number;
}

/** One path of a prefix. */
export interface MrtPath {
  /** Index into the peers of the dump. */
  readonly peer: number;
  /** Seconds since 1970 when the path was learned. */
  readonly since: number;
  readonly attributes: PathAttributes;
  /** Null where the session has no add-path. */
  readonly pathId: number | null;
}

/** Writes a dump prefix by prefix; attributes that several prefixes share are encoded once. */
export class MrtDump {
  readonly #out = new Writer(1 << 16);
  readonly #record = new Writer(4096);
  readonly #time: number;
  readonly #encoded = new Map<PathAttributes, Uint8Array>();
  #sequence = 0;

  /**
   * @param time seconds since 1970.
   * @param collector the speaker's own BGP identifier.
   * @param peers at most 65535; routes of the speaker's own need an entry, too.
   */
  constructor(time: number, collector: RouterId, viewName: string, peers: readonly MrtPeer[]) {
    this.#time = time;
    const name = new TextEncoder().encode(viewName);
    const w = this.#begin().u32(collector).u16(name.length).put(name).u16(peers.length);
    for (const { identifier, address, asNumber } of peers) {
      const bytes = addrBytes(address);
      w.u8(PEER_AS_4 | (bytes.length === 16 ? PEER_ADDRESS_16 : 0))
        .u32(identifier)
        .put(bytes)
        .u32(asNumber);
    }
    this.#end(PEER_INDEX_TABLE);
  }

  /** Adds prefix `id` of the columns with its paths; those with and without path identifiers go into records of their own. */
  add(from: NlriColumns, id: number, paths: readonly MrtPath[]): void {
    const plain = paths.filter((path) => path.pathId === null);
    if (plain.length > 0) this.#rib(RIB_UNICAST[from.family], from, id, plain);
    const identified = paths.filter((path) => path.pathId !== null);
    if (identified.length > 0) this.#rib(RIB_UNICAST_ADD_PATH[from.family], from, id, identified);
  }

  /** The whole dump. */
  done(): Uint8Array {
    return this.#out.done();
  }

  #rib(subtype: number, { family, addr, length }: NlriColumns, id: number, paths: readonly MrtPath[]): void {
    const w = this.#begin()
      .u32(this.#sequence++)
      .u8(length[id]);
    const words = family === 4 ? 1 : 4;
    for (let byte = 0; byte < (length[id] + 7) >> 3; byte++)
      w.u8((addr[id * words + (byte >> 2)] >>> (24 - ((byte & 3) << 3))) & 0xff);
    w.u16(paths.length);
    for (const { peer, since, attributes, pathId } of paths) {
      const bytes = this.#attributes(attributes, family);
      w.u16(peer).u32(since);
      if (pathId !== null) w.u32(pathId);
      w.u16(bytes.length).put(bytes);
    }
    this.#end(subtype);
  }

  /** RFC 6396 §4.3.4: four-octet AS numbers, and of MP_REACH_NLRI only the next hop. */
  #attributes(attributes: PathAttributes, family: Family): Uint8Array {
    const known = this.#encoded.get(attributes);
    if (known) return known;
    const inBody = family === 4 && !attributes.nextHop.includes(':');
    const rest = encodeAttributes(attributes, { fourOctetAs: true }, inBody);
    const nextHop = nextHopBytes(attributes);
    const reach = inBody
      ? new Uint8Array(0)
      : Uint8Array.of(FLAG.optional, ATTRIBUTE.MP_REACH_NLRI, 1 + nextHop.length, nextHop.length, ...nextHop);
    const bytes = new Uint8Array(rest.length + reach.length);
    bytes.set(rest);
    bytes.set(reach, rest.length);
    this.#encoded.set(attributes, bytes);
    return bytes;
  }

  #begin(): Writer {
    this.#record.length = 0;
    return this.#record;
  }

  /** RFC 6396 §2: the common header in front of the record. */
  #end(subtype: number): void {
    const body = this.#record.view();
    this.#out.u32(this.#time).u16(TABLE_DUMP_V2).u16(subtype).u32(body.length).put(body);
  }
}
