import { FAMILIES, type Family, hasCode, type Log, OperationalError } from '#core';
import { API_VERSION, type IPPool, type Resources } from '#datastore';
import type { AgentConfig } from './settings.ts';

type PoolSettings = Pick<
  AgentConfig,
  | 'noDefaultPools'
  | 'ipv4PoolCidr'
  | 'ipv4PoolBlockSize'
  | 'ipv4PoolVxlan'
  | 'ipv4PoolNatOutgoing'
  | 'ipv6PoolCidr'
  | 'ipv6PoolBlockSize'
  | 'ipv6PoolVxlan'
  | 'ipv6PoolNatOutgoing'
>;

/**
 * Makes the pools that the settings ask for, each only in a cluster that has none of its family: what people have made since, or
 * deleted and made otherwise, is theirs (calico-datastore.md 1.8). Safe to run by many at once.
 * @throws OperationalError CONFIG when a pool cannot be as it is asked for
 */
export async function makeDefaultPools(resources: Resources, settings: PoolSettings, log: Log): Promise<void> {
  const wanted = settings.noDefaultPools ? [] : FAMILIES.filter((family) => settings[`ipv${family}PoolCidr`] !== '');
  if (wanted.length === 0) return;
  const { items, invalid } = await resources.list('IPPool');
  for (const family of wanted) {
    // A pool that cannot be read may be of this family.
    if (invalid.length > 0 || items.some(({ spec }) => spec.cidr.includes(':') === (family === 6))) continue;
    const pool = defaultPool(family, settings);
    try {
      await resources.create<'IPPool'>(pool);
      log.info({ pool: pool.metadata.name, cidr: pool.spec.cidr }, 'first pool of the cluster');
    } catch (error) {
      if (hasCode(error, 'ALREADY_EXISTS')) continue;
      if (!(error instanceof OperationalError) || error.code !== 'VALIDATION') throw error;
      throw new OperationalError('CONFIG', `CALICO_IPV${family}POOL_CIDR and what goes with it: ${error.message}`);
    }
  }
}

const defaultPool = (family: Family, settings: PoolSettings): IPPool => ({
  apiVersion: API_VERSION,
  kind: 'IPPool',
  metadata: { name: `default-ipv${family}-ippool` },
  spec: {
    cidr: settings[`ipv${family}PoolCidr`],
    blockSize: settings[`ipv${family}PoolBlockSize`],
    vxlanMode: settings[`ipv${family}PoolVxlan`],
    natOutgoing: settings[`ipv${family}PoolNatOutgoing`],
    nodeSelector: 'all()',
  },
});
