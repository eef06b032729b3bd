import { Parser } from 'binary-parser';
import { assertNever, Bug, copyOf, err, ok, type Result, Writer } from '#core';
import { ERROR, malformed, OPEN_ERROR } from './codes.ts';
import { parseExact } from './exact.ts';
import { decodeUtf8, isPrintable } from './text.ts';
import type {
  AddPathFamily,
  Capability,
  ExtendedNextHop,
  GracefulFamily,
  LongLivedFamily,
  Malformed,
} from './types.ts';

/**
 * Capabilities (RFC 5492 §4), one row each: code, layout and meaning. A capability whose value has the wrong shape is left out with a note,
 * because the session is worth more than the feature; only a broken four-octet AS capability leaves nothing to go on with (RFC 6793).
 */

const CODE: Readonly<Record<Exclude<Capability['name'], 'unknown'>, number>> = {
  multiprotocol: 1,
  'route-refresh': 2,
  'extended-next-hop': 5,
  'extended-message': 6,
  role: 9,
  'graceful-restart': 64,
  'four-octet-as': 65,
  'add-path': 69,
  'enhanced-route-refresh': 70,
  'long-lived-graceful-restart': 71,
  fqdn: 73,
  'software-version': 75,
};

const big = () => new Parser().endianness('big');
const multiprotocol = big().uint16('afi').uint8('reserved').uint8('safi');
const number32 = big().uint32('value');
const restart = big().bit1('restarting').bit1('notification').bit2('reserved').bit12('restartTime');
const gracefulTuple = big().uint16('afi').uint8('safi').uint8('flags');
const addPathTuple = big().uint16('afi').uint8('safi').uint8('mode');
const nextHopTuple = big().uint16('afi').uint16('safi').uint16('nextHopAfi');
const longLivedTuple = big().uint16('afi').uint8('safi').uint8('flags').bit24('staleTime');

/** The items of a list of fixed-size tuples, or undefined when the bytes are not a whole number of them. */
function tuples<T>(parser: Parser, bytes: Uint8Array, size: number): T[] | undefined {
  if (bytes.length % size !== 0) return undefined;
  const items: T[] = [];
  for (let at = 0; at < bytes.length; at += size)
    items.push(parseExact<T>(parser, bytes.subarray(at, at + size), size)!);
  return items;
}

type Decoder = (value: Uint8Array) => Capability | undefined;

const DECODE: Readonly<Record<number, Decoder>> = {
  [CODE.multiprotocol]: (value) => {
    const fields = parseExact<{ afi: number; safi: number }>(multiprotocol, value, 4);
    return fields && { name: 'multiprotocol', afi: fields.afi, safi: fields.safi };
  },
  [CODE['route-refresh']]: (value) => flag('route-refresh', value),
  [CODE['extended-next-hop']]: (value) => {
    const list = tuples<ExtendedNextHop>(nextHopTuple, value, 6);
    // RFC 8950 §4: only IPv4 NLRI with IPv6 next hops are defined; other tuples mean nothing.
    const kept = list?.filter((t) => t.afi === 1 && t.nextHopAfi === 2);
    return (
      kept && {
        name: 'extended-next-hop',
        tuples: kept.map(({ afi, safi, nextHopAfi }) => ({ afi, safi, nextHopAfi })),
      }
    );
  },
  [CODE['extended-message']]: (value) => flag('extended-message', value),
  [CODE.role]: (value) => (value.length === 1 ? { name: 'role', role: value[0] } : undefined),
  [CODE['graceful-restart']]: decodeGracefulRestart,
  [CODE['four-octet-as']]: (value) => {
    const fields = parseExact<{ value: number }>(number32, value, 4);
    return fields && { name: 'four-octet-as', asNumber: fields.value };
  },
  [CODE['add-path']]: (value) => {
    const list = tuples<{ afi: number; safi: number; mode: number }>(addPathTuple, value, 4);
    // RFC 7911 §4: any mode but 1, 2 and 3 makes the tuple void.
    const kept = list?.filter(({ mode }) => mode >= 1 && mode <= 3);
    const family = ({ afi, safi, mode }: { afi: number; safi: number; mode: number }): AddPathFamily => ({
      afi,
      safi,
      receive: (mode & 1) !== 0,
      send: (mode & 2) !== 0,
    });
    return kept && { name: 'add-path', families: kept.map(family) };
  },
  [CODE['enhanced-route-refresh']]: (value) => flag('enhanced-route-refresh', value),
  [CODE['long-lived-graceful-restart']]: (value) => {
    const list = tuples<{ afi: number; safi: number; flags: number; staleTime: number }>(longLivedTuple, value, 7);
    const family = (t: { afi: number; safi: number; flags: number; staleTime: number }): LongLivedFamily => ({
      afi: t.afi,
      safi: t.safi,
      forwarding: (t.flags & 0x80) !== 0,
      staleTime: t.staleTime,
    });
    return list && { name: 'long-lived-graceful-restart', families: list.map(family) };
  },
  [CODE.fqdn]: (value) => {
    const hostname = countedText(value, 0);
    const domain = hostname && countedText(value, hostname.end);
    if (!hostname || !domain || domain.end !== value.length) return undefined;
    return { name: 'fqdn', hostname: hostname.text, domain: domain.text };
  },
  [CODE['software-version']]: (value) => {
    const version = countedText(value, 0);
    return version?.end === value.length ? { name: 'software-version', version: version.text } : undefined;
  },
};

const flag = (name: 'route-refresh' | 'extended-message' | 'enhanced-route-refresh', value: Uint8Array) =>
  value.length === 0 ? { name } : undefined;

function decodeGracefulRestart(value: Uint8Array): Capability | undefined {
  const head = parseExact<{ restarting: number; notification: number; restartTime: number }>(
    restart,
    value.subarray(0, 2),
    2,
  );
  const list = tuples<{ afi: number; safi: number; flags: number }>(gracefulTuple, value.subarray(2), 4);
  if (!head || !list) return undefined;
  return {
    name: 'graceful-restart',
    restarting: head.restarting === 1,
    notification: head.notification === 1,
    restartTime: head.restartTime,
    families: list.map(({ afi, safi, flags }): GracefulFamily => ({ afi, safi, forwarding: (flags & 0x80) !== 0 })),
  };
}

/** A length byte and that many bytes of printable UTF-8; nobody else's text may steer a terminal. */
function countedText(bytes: Uint8Array, at: number): { text: string; end: number } | undefined {
  const end = at + 1 + bytes[at];
  if (at >= bytes.length || end > bytes.length) return undefined;
  const text = decodeUtf8(bytes.subarray(at + 1, end));
  return text !== undefined && isPrintable(text) ? { text, end } : undefined;
}

/** One capability. An error of disposition `ignore` means: leave it out. */
export function decodeCapability(code: number, value: Uint8Array): Result<Capability, Malformed> {
  const decoder = DECODE[code];
  if (!decoder) return ok({ name: 'unknown', code, value: copyOf(value) });
  const capability = decoder(value);
  if (capability) return ok(capability);
  const fatal = code === CODE['four-octet-as'];
  return err(
    malformed(
      fatal ? 'reset' : 'ignore',
      ERROR.open,
      OPEN_ERROR.unspecific,
      `capability ${code} with a malformed value of ${value.length} bytes`,
    ),
  );
}

/** Code, length and value. A value over 255 bytes is a bug: no capability of ours comes near. */
export function encodeCapability(capability: Capability): Uint8Array {
  const value = new Writer(16);
  writeValue(capability, value);
  if (value.length > 255) throw new Bug(`capability ${capability.name} of ${value.length} bytes`);
  const code = capability.name === 'unknown' ? capability.code : CODE[capability.name];
  return new Writer(2 + value.length).u8(code).u8(value.length).put(value.done()).done();
}

function writeValue(c: Capability, w: Writer): void {
  switch (c.name) {
    case 'multiprotocol':
      w.u16(c.afi).u8(0).u8(c.safi);
      return;
    case 'extended-next-hop':
      for (const t of c.tuples) w.u16(t.afi).u16(t.safi).u16(t.nextHopAfi);
      return;
    case 'role':
      w.u8(c.role);
      return;
    case 'graceful-restart':
      w.u16((c.restarting ? 0x8000 : 0) | (c.notification ? 0x4000 : 0) | (c.restartTime & 0xfff));
      for (const f of c.families)
        w.u16(f.afi)
          .u8(f.safi)
          .u8(f.forwarding ? 0x80 : 0);
      return;
    case 'four-octet-as':
      w.u32(c.asNumber);
      return;
    case 'add-path':
      for (const f of c.families)
        w.u16(f.afi)
          .u8(f.safi)
          .u8((f.receive ? 1 : 0) | (f.send ? 2 : 0));
      return;
    case 'long-lived-graceful-restart':
      for (const f of c.families)
        w.u16(f.afi)
          .u8(f.safi)
          .u8(f.forwarding ? 0x80 : 0)
          .u8(f.staleTime >> 16)
          .u16(f.staleTime & 0xffff);
      return;
    case 'fqdn':
      writeText(c.hostname, w);
      writeText(c.domain, w);
      return;
    case 'software-version':
      writeText(c.version, w);
      return;
    case 'unknown':
      w.put(c.value);
      return;
    case 'route-refresh':
    case 'extended-message':
    case 'enhanced-route-refresh':
      return;
    default:
      assertNever(c);
  }
}

function writeText(text: string, w: Writer): void {
  const bytes = new TextEncoder().encode(text);
  w.u8(bytes.length).put(bytes);
}

/** The codes of RFC 5492's registry that tsnet understands, by name. */
export const CAPABILITY_CODE: Readonly<Record<string, number>> = CODE;
