import { readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Addr, messageOf, nearest, OperationalError, parseAddr } from '#core';
import {
  type BlockUsage,
  type Finding,
  Ipam,
  type IpamConfig,
  type IpamUsage,
  type ReleaseRequest,
  type Resources,
  type Store,
} from '#datastore';
import { grid } from '../grid.ts';
import { painter, printable } from '../io.ts';
import { named } from '../kinds.ts';
import { DATA_FORMATS, parseFormat, printData } from '../output.ts';
import { type Session, withStore } from '../session.ts';

interface Tools {
  readonly ipam: Ipam;
  readonly resources: Resources;
  readonly store: Store;
}

/** IPAM on the configured datastore. */
export async function withIpam<T>(session: Session, use: (tools: Tools) => Promise<T>): Promise<T> {
  const { createResources } = await import('#datastore');
  return withStore(session, (store) => {
    const resources = createResources(store, session.io.clock);
    return use({ store, resources, ipam: new Ipam({ store, resources, clock: session.io.clock }) });
  });
}

const addressOf = (text: string, flag: string): Addr => {
  const parsed = parseAddr(text);
  if (!parsed.ok) throw new OperationalError('CONFIG', `${flag} takes an address: ${parsed.error}`);
  return parsed.value;
};

/** Counts may exceed what a JSON number holds exactly; those become text. */
const countOf = (value: bigint): number | string =>
  value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : String(value);

interface ShowOptions {
  readonly ip?: string;
  readonly showBlocks?: boolean;
  readonly showBorrowed?: boolean;
  readonly showConfiguration?: boolean;
  readonly output?: string;
}

/** `ipam show`: how full pools and blocks are, who borrows, or who holds one address. */
export async function show(session: Session, options: ShowOptions): Promise<number> {
  const { type } = parseFormat(options.output, DATA_FORMATS);
  const data = type === 'json' || type === 'yaml' ? type : null;
  if (options.showConfiguration) return showConfiguration(session, data);
  const usage = await withIpam(session, ({ ipam }) => ipam.usage());
  for (const { cidr, reason } of usage.unreadable)
    session.io.stderr.write(`tsnetctl: warning: block ${cidr} cannot be read: ${reason}\n`);
  if (options.ip !== undefined) return showAddress(session, data, usage, addressOf(options.ip, '--ip'));
  if (data) {
    const pools = usage.pools.map((pool) => ({
      ...pool,
      total: countOf(pool.total),
      inUse: countOf(pool.inUse),
      free: countOf(pool.free),
    }));
    await printData(session.io, data, { ...usage, pools });
  } else if (options.showBorrowed) await showBorrowed(session, usage);
  else await showPools(session, usage, options.showBlocks ?? false);
  return 0;
}

const share = (part: bigint, total: bigint): string => `${part} (${total === 0n ? 0 : Number((part * 100n) / total)}%)`;

async function showPools({ io }: Session, usage: IpamUsage, withBlocks: boolean): Promise<void> {
  const block = ({ cidr, total, inUse, coolingDown, reserved }: BlockUsage): string[] => {
    const size = BigInt(total);
    return [
      'Block',
      cidr,
      String(total),
      share(BigInt(inUse), size),
      share(size - BigInt(inUse + coolingDown + reserved), size),
    ];
  };
  const rows = usage.pools.flatMap((pool) => [
    ['IP Pool', pool.cidr, String(pool.total), share(pool.inUse, pool.total), share(pool.free, pool.total)],
    ...(withBlocks ? pool.blocks.map(block) : []),
  ]);
  if (withBlocks) rows.push(...usage.homeless.map((one) => ['No pool', ...block(one).slice(1)]));
  await grid(io, ['GROUPING', 'CIDR', 'IPS TOTAL', 'IPS IN USE', 'IPS FREE'], rows);
}

const allBlocks = (usage: IpamUsage): BlockUsage[] => [
  ...usage.pools.flatMap((pool) => pool.blocks),
  ...usage.homeless,
];

const holder = (block: BlockUsage, address: Addr): string => {
  const { handle = '', attributes = {} } = block.allocations.find((one) => one.address === address) ?? {};
  return attributes.pod ? `${attributes.namespace}/${attributes.pod}` : (attributes.type ?? handle);
};

async function showBorrowed({ io }: Session, usage: IpamUsage): Promise<void> {
  const rows = allBlocks(usage).flatMap((block) =>
    block.borrowed.map(({ address, by }) => [
      address,
      by,
      block.cidr,
      block.affinity ?? '(none)',
      holder(block, address),
    ]),
  );
  await grid(io, ['IP', 'BORROWING NODE', 'BLOCK', 'BLOCK OWNER', 'ALLOCATED TO'], rows);
}

async function showAddress(
  { io }: Session,
  data: 'json' | 'yaml' | null,
  usage: IpamUsage,
  address: Addr,
): Promise<number> {
  const block = allBlocks(usage).find((one) => one.allocations.some((allocation) => allocation.address === address));
  const found = block?.allocations.find((allocation) => allocation.address === address);
  if (data) {
    await printData(io, data, {
      address,
      assigned: found !== undefined,
      ...(block &&
        found && { block: block.cidr, affinity: block.affinity, handle: found.handle, attributes: found.attributes }),
    });
    return 0;
  }
  if (!block || !found) {
    io.stdout.write(`${address} is not assigned\n`);
    return 0;
  }
  io.stdout.write(
    `IP ${address} is in use\nBlock: ${block.cidr}, owner ${printable(block.affinity ?? '(none)')}\nHandle: ${printable(found.handle)}\n`,
  );
  for (const [key, value] of Object.entries(found.attributes))
    io.stdout.write(`  ${printable(key)}: ${printable(value)}\n`);
  return 0;
}

const PROPERTIES: Record<keyof IpamConfig, string> = {
  strictAffinity: 'StrictAffinity',
  autoAllocateBlocks: 'AutoAllocateBlocks',
  maxBlocksPerHost: 'MaxBlocksPerHost',
  cooldownSeconds: 'IPCooldownSeconds',
};

async function showConfiguration(session: Session, data: 'json' | 'yaml' | null): Promise<number> {
  return printConfiguration(session, data, await withIpam(session, ({ ipam }) => ipam.config()));
}

async function printConfiguration({ io }: Session, data: 'json' | 'yaml' | null, config: IpamConfig): Promise<number> {
  if (data) await printData(io, data, config);
  else
    await grid(
      io,
      ['PROPERTY', 'VALUE'],
      (Object.keys(PROPERTIES) as (keyof IpamConfig)[]).map((key) => [PROPERTIES[key], String(config[key])]),
    );
  return 0;
}

interface ConfigureOptions {
  readonly strictaffinity?: string;
  readonly autoAllocateBlocks?: string;
  readonly maxBlocksPerHost?: string;
  readonly ipCooldownSeconds?: string;
  readonly output?: string;
}

/** `ipam configure`: changes what is given, and prints what holds now. */
export async function configure(session: Session, options: ConfigureOptions): Promise<number> {
  const { type } = parseFormat(options.output, DATA_FORMATS);
  const change: Partial<IpamConfig> = {};
  if (options.strictaffinity !== undefined) change.strictAffinity = truth(options.strictaffinity, '--strictaffinity');
  if (options.autoAllocateBlocks !== undefined)
    change.autoAllocateBlocks = truth(options.autoAllocateBlocks, '--auto-allocate-blocks');
  if (options.maxBlocksPerHost !== undefined)
    change.maxBlocksPerHost = count(options.maxBlocksPerHost, '--max-blocks-per-host');
  if (options.ipCooldownSeconds !== undefined)
    change.cooldownSeconds = count(options.ipCooldownSeconds, '--ip-cooldown-seconds');
  if (Object.keys(change).length === 0)
    throw new OperationalError('CONFIG', 'nothing to configure; for example --strictaffinity=true');
  const config = await withIpam(session, ({ ipam }) => ipam.configure(change));
  return printConfiguration(session, type === 'json' || type === 'yaml' ? type : null, config);
}

function truth(text: string, flag: string): boolean {
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === 'true';
  throw new OperationalError('CONFIG', `${flag} is true or false, not '${text}'`);
}

function count(text: string, flag: string): number {
  if (/^[0-9]{1,9}$/.test(text)) return Number(text);
  throw new OperationalError('CONFIG', `${flag} is a whole number, not '${text}'`);
}

/** `ipam check`: what is wrong with IPAM's keys and what mends it; exit status 1 when anything is. */
export async function check(session: Session, options: { readonly output?: string }): Promise<number> {
  const { io } = session;
  // calicoctl's -o names a file for the report.
  const file = options.output?.endsWith('.json') ? options.output : null;
  const { type } = parseFormat(file ? undefined : options.output, DATA_FORMATS);
  const report = await withIpam(session, ({ ipam }) => ipam.check());
  const data = { ok: report.findings.length === 0, ...report };
  if (file) await writeFile(resolve(io.cwd, file), `${JSON.stringify(data, null, 2)}\n`);
  if (type === 'json' || type === 'yaml') await printData(io, type, data);
  else {
    const paint = painter(io.stdout, io.env);
    for (const { type: problem, subject, message, remedy } of report.findings)
      io.stdout.write(`${paint('red', problem)}: ${printable(`${subject} ${message}`)}\n    ${printable(remedy)}\n`);
    io.stdout.write(
      `${report.blocks} blocks, ${report.allocations} addresses in use, ${report.findings.length} problems\n`,
    );
  }
  return data.ok ? 0 : 1;
}

interface ReleaseOptions {
  readonly ip?: readonly string[];
  readonly fromReport?: readonly string[];
  readonly force?: boolean;
  readonly output?: string;
}

/** `ipam release`: frees addresses; one that a workload uses only with `--force`. */
export async function release(session: Session, options: ReleaseOptions): Promise<number> {
  const { io } = session;
  const { type } = parseFormat(options.output, DATA_FORMATS);
  const requests: ReleaseRequest[] = (options.ip ?? []).map((text) => ({ address: addressOf(text, '--ip') }));
  for (const file of options.fromReport ?? []) requests.push(...(await leaksOf(resolve(io.cwd, file), file)));
  if (requests.length === 0 && !options.fromReport)
    throw new OperationalError('CONFIG', 'which address? Give --ip=ADDRESS or --from-report=FILE');
  const { released, unallocated } = await withIpam(session, async ({ ipam, resources }) => {
    if (!options.force) await refuseUsed(resources, requests);
    return ipam.release(requests);
  });
  if (type === 'json' || type === 'yaml') await printData(io, type, { released, unallocated });
  else {
    for (const address of released) io.stdout.write(`${address} released\n`);
    for (const address of unallocated) io.stderr.write(`tsnetctl: ${address} is not assigned\n`);
  }
  return unallocated.length > 0 ? 1 : 0;
}

/** The leaks of a report, each to be released only if it is still the same allocation. */
async function leaksOf(path: string, file: string): Promise<ReleaseRequest[]> {
  try {
    const { findings } = JSON.parse(await readFile(path, 'utf8')) as { findings: readonly Finding[] };
    return findings.flatMap(({ release: leak }) =>
      leak ? [{ address: addressOf(leak.address, file), handle: leak.handle, sequence: BigInt(leak.sequence) }] : [],
    );
  } catch (error) {
    throw new OperationalError('CONFIG', `${file} is no report of 'tsnetctl ipam check -o json': ${messageOf(error)}`);
  }
}

async function refuseUsed(resources: Resources, requests: readonly ReleaseRequest[]): Promise<void> {
  const wanted = new Set<string>(requests.map(({ address }) => address));
  for (const { kind, metadata, spec } of (await resources.list('WorkloadEndpoint')).items)
    for (const net of spec.ipNetworks ?? []) {
      const address = net.split('/')[0];
      if (!wanted.has(address)) continue;
      const user = named(kind, metadata.name, metadata.namespace);
      throw new OperationalError(
        'CONFLICT',
        `${address} is used by ${user}; delete that first, or add --force to give its address away`,
      );
    }
}

/** The pool that `--cidr` or `--name` means. */
export async function poolOf(resources: Resources, { cidr, name }: { readonly cidr?: string; readonly name?: string }) {
  if ((cidr === undefined) === (name === undefined))
    throw new OperationalError('CONFIG', 'which pool? Give --cidr=CIDR or --name=NAME');
  const { items } = await resources.list('IPPool');
  const pool = items.find((item) => (name === undefined ? item.spec.cidr === cidr : item.metadata.name === name));
  if (pool) return pool;
  const near =
    name === undefined
      ? null
      : nearest(
          name,
          items.map((item) => item.metadata.name),
        );
  throw new OperationalError(
    'NOT_FOUND',
    `no IPPool has ${name === undefined ? `the CIDR ${cidr}` : `the name '${name}'`}${near ? `; did you mean '${near}'?` : ''}`,
  );
}
