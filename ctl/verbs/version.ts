import { hasCode, VERSION } from '#core';
import { DATA_FORMATS, parseFormat, printData } from '../output.ts';
import { type Session, withResources } from '../session.ts';

interface VersionOptions {
  readonly client?: boolean;
  readonly output?: string;
}

/** `version`: of this program, and what the cluster says of itself. */
export async function version(session: Session, options: VersionOptions): Promise<number> {
  const { io } = session;
  const client = { version: VERSION, node: process.version };
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
