import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hasCode } from '#core';
import { DATA_FORMATS, parseFormat, printData } from '../output.ts';
import { type Session, withResources } from '../session.ts';

interface VersionOptions {
  readonly client?: boolean;
  /** Only the number, as `--version` prints it. */
  readonly short?: boolean;
  readonly output?: string;
}

/** The version of this program, from the package it is in. */
export function ownVersion(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    try {
      const { name, version } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as Record<
        string,
        string
      >;
      if (name === 'tsnet') return version;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    const parent = dirname(directory);
    if (parent === directory) return 'unknown';
    directory = parent;
  }
}

/** `version`: of this program, and what the cluster says of itself. */
export async function version(session: Session, options: VersionOptions): Promise<number> {
  const { io } = session;
  const client = { version: ownVersion(), node: process.version };
  if (options.short) {
    io.stdout.write(`${client.version}\n`);
    return 0;
  }
  const { type } = parseFormat(options.output, DATA_FORMATS);
  const cluster = options.client ? undefined : await clusterFacts(session);
  if (type === 'json' || type === 'yaml') {
    await printData(io, type, { client, ...(cluster !== undefined && { cluster }) });
    return 0;
  }
  io.stdout.write(`Client Version:    ${client.version}\nNode.js:           ${client.node}\n`);
  if (cluster)
    io.stdout.write(
      `Cluster Version:   ${cluster.calicoVersion ?? 'not set'}\nCluster Type:      ${cluster.clusterType ?? 'not set'}\nCluster GUID:      ${cluster.clusterGUID ?? 'not set'}\n`,
    );
  else if (cluster === null) io.stdout.write('Cluster Version:   the cluster is not initialised\n');
  return 0;
}

async function clusterFacts(session: Session) {
  return withResources(session, async (resources) => {
    try {
      return (await resources.get('ClusterInformation', 'default')).spec;
    } catch (error) {
      if (hasCode(error, 'NOT_FOUND')) return null;
      throw error;
    }
  });
}
