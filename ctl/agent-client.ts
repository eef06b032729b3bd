import type { PublishedStatus } from '#agent';
import { OperationalError } from '#core';
import type { Session } from './session.ts';

export interface Where {
  /** This node's published state instead of a socket. */
  readonly node?: string;
  /** The published state of every node. */
  readonly all?: boolean;
}

/** Where the agent of this machine listens, unless `--socket` says otherwise. */
export const socketOf = ({ io, globals }: Session): string =>
  globals.socket ?? `${io.env.TSNET_RUN_DIR || '/var/run/tsnet'}/agent.sock`;

/** Asks the daemon at the socket one question. */
export async function ask<T>(session: Session, method: string, params: object = {}): Promise<T> {
  const { callControl } = await import('#bgp');
  try {
    return (await callControl(socketOf(session), method, params)) as T;
  } catch (error) {
    if (!(error instanceof OperationalError) || error.code !== 'UNAVAILABLE') throw error;
    throw new OperationalError(
      'UNAVAILABLE',
      `${error.message}; is tsnet-agent running here, and are you root? Other nodes: --node NAME or --all`,
      { cause: error },
    );
  }
}

/** What agents last wrote of themselves, by node name; empty for `--all` of a cluster without agents. */
export async function published(session: Session, { node, all }: Where): Promise<Map<string, PublishedStatus>> {
  if (node && all) throw new OperationalError('CONFIG', 'give one --node or --all, not both');
  const [{ STATUS_PREFIX }, { withStore }] = await Promise.all([import('#datastore'), import('./session.ts')]);
  return withStore(session, async (store) => {
    const found = new Map<string, PublishedStatus>();
    for await (const page of store.list(STATUS_PREFIX))
      for (const { key, value } of page) {
        const name = key.slice(STATUS_PREFIX.length);
        if (!node || name === node) found.set(name, parse(key, value));
      }
    if (node && !found.has(node))
      throw new OperationalError(
        'NOT_FOUND',
        `node '${node}' has published no status; is its name right, and does its agent run?`,
      );
    return found;
  });
}

function parse(key: string, value: string): PublishedStatus {
  try {
    const parsed = JSON.parse(value) as PublishedStatus;
    if (typeof parsed.status === 'object' && parsed.status && Array.isArray(parsed.peers)) return parsed;
  } catch {
    // Said below, with the key.
  }
  throw new OperationalError(
    'PROTOCOL',
    `${key} does not hold the status of an agent; delete the key, and its agent writes it again`,
  );
}
