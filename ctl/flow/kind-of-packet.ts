import { type Family, nearest, OperationalError } from '#core';
import { protocolNumberOf } from '#policy';

/** The flags of `explain` that say what kind of packet is meant. */
export interface PacketFlags {
  readonly protocol?: string;
  readonly port?: string;
  readonly sourcePort?: string;
  readonly icmpType?: string;
  readonly icmpCode?: string;
  readonly ipVersion?: string;
}

/** What the flags say; everything but the addresses. */
export interface PacketKind {
  /** As rules name it: `TCP`, or a number for what has no name. */
  readonly protocol: string | number;
  /** IANA number. */
  readonly number: number;
  readonly port: number | null;
  readonly sourcePort: number | null;
  readonly icmp: { readonly type: number; readonly code: number } | null;
  /** What the flags leave no choice of. */
  readonly family: Family | null;
}

const NAMES: Readonly<Record<number, string>> = {
  1: 'ICMP',
  6: 'TCP',
  17: 'UDP',
  58: 'ICMPv6',
  132: 'SCTP',
  136: 'UDPLite',
};
/** As rules name it: `TCP`, or the number itself for what has no name. */
export const protocolName = (number: number): string | number => NAMES[number] ?? number;
/** Protocols that have ports. */
export const WITH_PORTS: readonly number[] = [6, 17, 132, 136];
/** A port that clients use whose kernel chooses one, both by RFC 6335 and by Linux's default. */
export const EPHEMERAL = 49_152;
/** The type of an echo request, by protocol. */
export const ECHO: Readonly<Record<number, number>> = { 1: 8, 58: 128 };

const wrong = (message: string): OperationalError => new OperationalError('CONFIG', message);

/** Reads the flags; what is wrong with them is a CONFIG error that names the flag. */
export function readPacketKind(flags: PacketFlags): PacketKind {
  const number = protocolOf(flags.protocol ?? 'tcp');
  const protocol = protocolName(number);
  return {
    protocol,
    number,
    ...portsOf(flags, number, protocol),
    icmp: icmpOf(flags, number, protocol),
    family: familyOf(flags.ipVersion, number),
  };
}

function protocolOf(text: string): number {
  const number = /^\d+$/.test(text) ? Number(text) : protocolNumberOf(text as 'TCP');
  if (number !== undefined && Number.isInteger(number) && number >= 1 && number <= 255) return number;
  const names = Object.values(NAMES).map((name) => name.toLowerCase());
  const near = nearest(text, names);
  throw wrong(
    `--protocol '${text}' is not known${near ? `, did you mean '${near}'?` : ''}; give ${names.join(', ')} or a number from 1 to 255`,
  );
}

function portsOf(
  { port, sourcePort }: PacketFlags,
  number: number,
  protocol: string | number,
): Pick<PacketKind, 'port' | 'sourcePort'> {
  if (!WITH_PORTS.includes(number)) {
    const given = port !== undefined ? '--port' : sourcePort !== undefined ? '--source-port' : null;
    if (given === null) return { port: null, sourcePort: null };
    const instead = number in ECHO ? 'it has --icmp-type and --icmp-code' : 'leave it out';
    throw wrong(`${given} means nothing for protocol ${protocol}, which has no ports; ${instead}`);
  }
  if (port === undefined)
    throw wrong(`--port is needed for protocol ${protocol}: the port that the connection is to, such as --port 80`);
  return {
    port: integer('--port', port, 1, 65_535),
    sourcePort: sourcePort === undefined ? EPHEMERAL : integer('--source-port', sourcePort, 1, 65_535),
  };
}

function icmpOf({ icmpType, icmpCode }: PacketFlags, number: number, protocol: string | number): PacketKind['icmp'] {
  const echo = ECHO[number];
  if (echo === undefined) {
    const given = icmpType !== undefined ? '--icmp-type' : icmpCode !== undefined ? '--icmp-code' : null;
    if (given) throw wrong(`${given} means nothing for protocol ${protocol}; give --protocol icmp or icmpv6`);
    return null;
  }
  if (icmpType === undefined && icmpCode !== undefined) throw wrong('--icmp-code needs --icmp-type');
  return {
    type: icmpType === undefined ? echo : integer('--icmp-type', icmpType, 0, 255),
    code: icmpCode === undefined ? 0 : integer('--icmp-code', icmpCode, 0, 255),
  };
}

function familyOf(text: string | undefined, number: number): Family | null {
  if (text !== undefined && text !== '4' && text !== '6') throw wrong(`--ip-version must be 4 or 6, not '${text}'`);
  const asked = text === undefined ? null : text === '4' ? 4 : 6;
  const own = number === 1 ? 4 : number === 58 ? 6 : null;
  if (asked !== null && own !== null && asked !== own)
    throw wrong(`--protocol ${NAMES[number].toLowerCase()} is IPv${own}'s; leave out --ip-version ${asked}`);
  return asked ?? own;
}

function integer(flag: string, text: string, least: number, most: number): number {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw wrong(`${flag} must be a number from ${least} to ${most}, not '${text}'`);
}
