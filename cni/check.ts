import { type AttachmentCall, demandReady } from './call.ts';
import { hasOwnIpam } from './conf.ts';
import { delegate } from './delegate.ts';
import { readEndpoint } from './endpoint.ts';
import { CNI_CODE, CniError } from './error.ts';
import { demand } from './exec.ts';
import { hasLink } from './links.ts';
import { decodeResult } from './result.ts';

/** Holds what is there against what ADD said, and names every difference. @throws CniError differs */
export async function check(call: AttachmentCall): Promise<void> {
  const { conf, identity } = call;
  if (conf.prevResult === undefined)
    throw new CniError(
      CNI_CODE.configuration,
      'prevResult: is required for CHECK; the runtime gives what ADD answered',
    );
  await demandReady(call);
  const wanted = decodeResult(conf.prevResult).ips.map(({ address }) => `${address.split('/')[0]}`);
  const differences = [...(await endpointDifferences(call, wanted)), ...(await containerDifferences(call, wanted))];
  if (!hasLink(identity.hostIfname)) differences.push(`the node has no interface ${identity.hostIfname}`);
  if (differences.length > 0)
    throw new CniError(CNI_CODE.differs, `the network of container ${identity.containerId}: ${differences.join('; ')}`);
  if (!hasOwnIpam(conf)) await delegate(call, conf.ipam?.type as string, 'CHECK');
}

async function endpointDifferences(call: AttachmentCall, wanted: readonly string[]): Promise<string[]> {
  const endpoint = await readEndpoint(call);
  if (!endpoint) return ['the datastore has no endpoint'];
  const { containerID, interfaceName, ipNetworks = [] } = endpoint.spec;
  const held = ipNetworks.map((network) => network.split('/')[0]);
  const missing = wanted.filter((address) => !held.includes(address));
  return [
    ...(containerID && containerID !== call.identity.containerId ? [`the endpoint is container ${containerID}'s`] : []),
    ...(interfaceName === call.identity.hostIfname ? [] : [`the endpoint's interface is ${interfaceName}`]),
    ...missing.map((address) => `the endpoint lacks ${address}`),
  ];
}

/** What of `ip -json` is looked at. */
interface Shown {
  readonly flags?: readonly string[];
  readonly addr_info?: readonly { readonly local?: string }[];
}

async function containerDifferences(call: AttachmentCall, wanted: readonly string[]): Promise<string[]> {
  const { netns, ifname } = call.attachment;
  const ask = async (...args: string[]): Promise<Shown[]> => {
    const program = { file: 'nsenter', args: [`--net=${netns}`, '--', 'ip', '-json', ...args] };
    const text = await demand(program, `interface ${ifname} of the container`, call.clock);
    return JSON.parse(text.trim() || '[]') as Shown[];
  };
  const [link] = await ask('addr', 'show', 'dev', ifname);
  const held = (link?.addr_info ?? []).map(({ local }) => local);
  const differences = wanted
    .filter((address) => !held.includes(address))
    .map((address) => `${ifname} lacks ${address}`);
  if (!link?.flags?.includes('UP')) differences.push(`${ifname} is down`);
  for (const family of new Set(wanted.map((address) => (address.includes(':') ? '-6' : '-4'))))
    if ((await ask(family, 'route', 'show', 'default', 'dev', ifname)).length === 0)
      differences.push(`${ifname} has no default route of IPv${family.slice(1)}`);
  return differences;
}
