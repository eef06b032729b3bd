import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { type Clock, hasCode, messageOf, silentLog, sleep } from '#core';
import { createResources, Ipam, openStore, type Resources, type Store } from '#datastore';
import { type Conf, storeConfig } from './conf.ts';
import { CNI_CODE, CniError } from './error.ts';
import { type Identity, identityOf } from './identity.ts';
import type { Journal } from './journal.ts';
import type { Attachment, Environment } from './request.ts';

/** The process as the plugin sees it; tests give their own. */
export interface World {
  readonly env: Environment;
  readonly clock: Clock;
  /** Aborted when the runtime loses patience: what was begun is undone. */
  readonly signal: AbortSignal;
}

/** One run of the plugin, with the cluster at hand. */
export interface Call extends World {
  readonly conf: Conf;
  /** The configuration as it came, for plugins that it is passed on to. */
  readonly input: string;
  readonly journal: Journal;
  readonly node: string;
  readonly store: Store;
  readonly resources: Resources;
  readonly ipam: Ipam;
}
export interface AttachmentCall extends Call {
  readonly attachment: Attachment;
  readonly identity: Identity;
}

/** Opens the datastore for as long as `use` takes. */
export async function withCall<T>(
  base: World & Pick<Call, 'conf' | 'input' | 'journal'>,
  use: (call: Call) => Promise<T>,
): Promise<T> {
  const node = nodeName(base.conf);
  const store = await openStore(storeConfig(base.conf, base.env), { clock: base.clock, log: silentLog, brief: true });
  try {
    const resources = createResources(store, base.clock);
    return await use({ ...base, node, store, resources, ipam: new Ipam({ store, resources, clock: base.clock }) });
  } finally {
    await store.close();
  }
}

export const forAttachment = (call: Call, attachment: Attachment): AttachmentCall => ({
  ...call,
  attachment,
  identity: identityOf(attachment, call.conf, call.node, call.env),
});

/**
 * This node's name: `nodename`, the agent's file, `hostname`, the machine's name. A file that the configuration itself names must exist, as
 * with Calico: it says that an agent has run here.
 */
export function nodeName(conf: Conf): string {
  const path = conf.nodename_file ?? '/var/lib/calico/nodename';
  const found = contentOf(path);
  if (!found && !conf.nodename_file_optional && (conf.nodename_file || conf.type === 'calico'))
    throw new CniError(
      CNI_CODE.tryAgain,
      `${path} does not exist; check that the agent is running on this node and has written it`,
    );
  return conf.nodename || found || conf.hostname || hostname().toLowerCase();
}

/** The trimmed text of a small file; empty when there is none. */
export function contentOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw new CniError(CNI_CODE.io, `${path} cannot be read: ${messageOf(error)}`);
  }
}

/** @throws CniError tryAgain while the cluster is not ready for clients (calico-datastore.md 1.8) */
export async function demandReady({ resources }: Call): Promise<void> {
  const information = await resources.get('ClusterInformation', 'default').catch((error: unknown) => {
    if (!hasCode(error, 'NOT_FOUND')) throw error;
    return null;
  });
  if (information?.spec.datastoreReady === true) return;
  const why = information ? 'datastoreReady is not true' : 'there is no ClusterInformation(default)';
  throw new CniError(CNI_CODE.tryAgain, `the cluster is not ready: ${why}; it is made by the first agent that starts`);
}

const GATE = { interval: 5000, limit: 30_000 } as const;

/** Waits for each of the configured URLs to answer 2xx or 3xx. @throws CniError tryAgain */
export async function passGates({ conf, clock, signal }: Call): Promise<void> {
  for (const url of conf.readiness_gates) {
    const end = clock.now() + GATE.limit;
    for (let why = await gate(url); why; why = await gate(url)) {
      if (clock.now() >= end || signal.aborted)
        throw new CniError(CNI_CODE.tryAgain, `readiness gate ${url} does not answer: ${why}`);
      await sleep(clock, GATE.interval);
    }
  }
}

/** Why the gate is closed; null: open. */
async function gate(url: string): Promise<string | null> {
  try {
    const { status } = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(GATE.interval) });
    return status >= 200 && status < 400 ? null : `status ${status}`;
  } catch (error) {
    return messageOf(error);
  }
}
