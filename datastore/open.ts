import { assertNever, type Clock, type Log } from '#core';
import { MemoryStore } from './memory.ts';
import type { Store } from './store.ts';

/** Where the cluster's keys are. */
export type StoreConfig =
  | ({ readonly type: 'etcdv3' } & EtcdConfig)
  | { readonly type: 'directory'; readonly directory: string }
  | { readonly type: 'memory' };

export interface EtcdConfig {
  /** URLs; all `https:` or all `http:`. Tried in turn when one fails. */
  readonly endpoints: readonly string[];
  /** Instead of endpoints: the domain whose SRV records name them. */
  readonly discoverySrv?: string;
  /** Files in PEM; read again when they change. */
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly username?: string;
  readonly password?: string;
}

export interface StoreContext {
  readonly clock: Clock;
  readonly log: Log;
  /** For a program that asks a little and ends: etcd without the half second that a whole client takes to load. */
  readonly brief?: boolean;
}

/**
 * Opens the store that the configuration names. Rejects with CONFIG when the configuration cannot work (a file that is missing, endpoints that
 * mix schemes); an etcd that does not answer is no error here, its calls fail until it does.
 */
export async function openStore(config: StoreConfig, context: StoreContext): Promise<Store> {
  switch (config.type) {
    case 'memory':
      return new MemoryStore(context.clock);
    case 'etcdv3': {
      const found = await withEndpoints(config);
      if (context.brief) {
        const { BriefEtcdStore } = await import('./etcd/brief/store.ts');
        return new BriefEtcdStore(found, context);
      }
      const { EtcdStore } = await import('./etcd/store.ts');
      return new EtcdStore(found, context);
    }
    case 'directory': {
      const { DirectoryStore } = await import('./directory/store.ts');
      return DirectoryStore.open(config.directory, context);
    }
    default:
      return assertNever(config);
  }
}

async function withEndpoints(config: EtcdConfig): Promise<EtcdConfig> {
  if (!config.discoverySrv) return config;
  const { discoverEndpoints } = await import('./etcd/discovery.ts');
  return { ...config, endpoints: await discoverEndpoints(config.discoverySrv) };
}
