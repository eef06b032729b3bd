import {
  type Clock,
  FAMILIES,
  type Family,
  hasCode,
  type Log,
  messageOf,
  OperationalError,
  parseCidr,
  sleep,
} from '#core';
import { API_VERSION, type Node } from '#datastore';
import { MULTIPROTOCOL_ANNOTATION } from './bgp-intent/index.ts';
import { detectAddress, type FoundAddress, type MachineAddresses, statedAddress } from './node-address.ts';
import type { AgentConfig } from './settings.ts';

/** What registration needs of the datastore. */
export interface NodeClient {
  get(name: string): Promise<Node | null>;
  list(): Promise<Node[]>;
  /** @throws OperationalError ALREADY_EXISTS */
  create(node: Node): Promise<Node>;
  /** Compare-and-swap on `metadata.resourceVersion`. @throws OperationalError CONFLICT, NOT_FOUND */
  update(node: Node): Promise<Node>;
}

type Settings = Pick<
  AgentConfig,
  'nodeName' | 'ip' | 'ip6' | 'ipAutodetectionMethod' | 'ip6AutodetectionMethod' | 'as' | 'noBgp'
>;

const FIELDS = { 4: 'ipv4Address', 6: 'ipv6Address' } as const;
const ATTEMPTS = 10;

/**
 * Writes this node's addresses and AS number to its Node resource, and says which addresses it took and why. What others wrote there
 * (labels, tunnel addresses, reflector settings) stays; a Node that is already right is not written.
 * @throws OperationalError CONFIG when no address can be found or another Node has it; datastore errors when writing fails.
 */
export async function registerNode(
  client: NodeClient,
  settings: Settings,
  machine: MachineAddresses,
  clock: Clock,
  log: Log,
): Promise<Node> {
  for (let attempt = 1; ; attempt++) {
    const existing = await client.get(settings.nodeName);
    const found = await addresses(settings, existing, machine);
    const wanted = desiredNode(settings, existing, found);
    await refuseTaken(client, settings.nodeName, found);
    tellAddresses(settings, found, log);
    try {
      if (!existing) return await client.create(wanted);
      return same(existing, wanted) ? existing : await client.update(wanted);
    } catch (error) {
      const lost = hasCode(error, 'CONFLICT') || hasCode(error, 'ALREADY_EXISTS') || hasCode(error, 'NOT_FOUND');
      if (!lost || attempt >= ATTEMPTS) throw error;
      log.debug({ attempt, error: messageOf(error) }, 'somebody else wrote the Node; trying again');
      await sleep(clock, 50 * attempt);
    }
  }
}

type Found = Partial<Record<Family, FoundAddress>>;

/** Which addresses were taken and why; and where a method found none, that is said, too. */
function tellAddresses(settings: Settings, found: Found, log: Log): void {
  for (const family of FAMILIES) {
    const one = found[family];
    const [setting, method] =
      family === 4 ? [settings.ip, settings.ipAutodetectionMethod] : [settings.ip6, settings.ip6AutodetectionMethod];
    if (one) log.info({ family, address: `${one.address}/${one.length}`, why: one.why }, 'node address');
    else if (setting !== 'none')
      // Many machines have one family only; a method that somebody chose was meant to find something.
      log[method === 'first-found' ? 'info' : 'warn']({ family, method }, 'no node address of this family was found');
  }
}

async function addresses(settings: Settings, existing: Node | null, machine: MachineAddresses): Promise<Found> {
  const found: Found = {};
  for (const family of FAMILIES) {
    const setting = family === 4 ? settings.ip : settings.ip6;
    const method = family === 4 ? settings.ipAutodetectionMethod : settings.ip6AutodetectionMethod;
    const address = await oneAddress(setting, method, family, existing, machine);
    if (address) found[family] = address;
  }
  if (!found[4] && !found[6] && !settings.noBgp)
    throw new OperationalError(
      'CONFIG',
      `no address for node ${settings.nodeName}: --ip-autodetection-method ${settings.ipAutodetectionMethod} and --ip6-autodetection-method ${settings.ip6AutodetectionMethod} found none; give --ip or --ip6`,
    );
  return found;
}

async function oneAddress(
  setting: string,
  method: string,
  family: Family,
  existing: Node | null,
  machine: MachineAddresses,
): Promise<FoundAddress | null> {
  if (setting === 'none') return null;
  if (setting !== '' && setting !== 'autodetect') {
    const given = parseCidr(setting);
    return given.ok
      ? { address: given.value.addr, length: given.value.length, why: family === 4 ? '--ip' : '--ip6' }
      : null;
  }
  const stated =
    setting === '' ? statedAddress(existing?.spec.bgp?.[FIELDS[family]], 'the Node resource says so') : null;
  return stated ?? detectAddress(method, family, machine);
}

function desiredNode(settings: Settings, existing: Node | null, found: Found): Node {
  const node: Node = existing
    ? structuredClone(existing)
    : { apiVersion: API_VERSION, kind: 'Node', metadata: { name: settings.nodeName }, spec: {} };
  const bgp = { ...node.spec.bgp };
  for (const family of FAMILIES) {
    const address = found[family];
    if (address) bgp[FIELDS[family]] = `${address.address}/${address.length}`;
    else if ((family === 4 ? settings.ip : settings.ip6) === 'none') delete bgp[FIELDS[family]];
  }
  if (settings.as !== undefined) bgp.asNumber = settings.as;
  // An empty spec.bgp is invalid (calico-datastore.md 2.1).
  if (Object.keys(bgp).length > 0) node.spec.bgp = bgp;
  else delete node.spec.bgp;
  const own = FAMILIES.flatMap((family) =>
    found[family] ? [{ address: found[family].address as string, type: 'CalicoNodeIP' as const }] : [],
  );
  node.spec.addresses = [...own, ...(node.spec.addresses ?? []).filter((a) => a.type !== 'CalicoNodeIP')];
  if (node.spec.addresses.length === 0) delete node.spec.addresses;
  node.metadata.annotations = { ...node.metadata.annotations, [MULTIPROTOCOL_ANNOTATION]: 'true' };
  return node;
}

/** Two nodes with one address would take each other's sessions and routes. */
async function refuseTaken(client: NodeClient, self: string, found: Found): Promise<void> {
  for (const other of await client.list()) {
    if (other.metadata.name === self) continue;
    for (const family of FAMILIES) {
      const theirs = statedAddress(other.spec.bgp?.[FIELDS[family]], '')?.address;
      if (theirs !== undefined && theirs === found[family]?.address)
        throw new OperationalError(
          'CONFIG',
          `address ${theirs} of this node (${self}) is already that of Node(${other.metadata.name}): give another --ip${family === 4 ? '' : '6'} or delete that Node`,
        );
    }
  }
}

const same = (a: Node, b: Node): boolean => JSON.stringify(a) === JSON.stringify(b);
