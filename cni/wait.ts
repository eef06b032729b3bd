import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, sleep } from '#core';
import type { WorkloadEndpoint } from '#datastore';
import type { AttachmentCall } from './call.ts';

const CALICO_DIR = '/var/run/calico/endpoint-status';
/** How often to look; milliseconds. */
const INTERVAL = 20;

/**
 * Waits until the agent says that the endpoint's policy and routes are in place, which it does by a file (calico-datastore.md 5.7). When it does not
 * within the bound, ADD goes on with a warning: until the agent comes, the endpoint is closed, not open.
 */
export async function waitForAgent(call: AttachmentCall, endpoint: WorkloadEndpoint): Promise<void> {
  const { conf, clock, journal, signal } = call;
  const seconds = conf.policy_setup_timeout_seconds ?? 0;
  if (seconds === 0) return;
  const directories = conf.endpoint_status_dir
    ? [conf.endpoint_status_dir]
    : [join(conf.run_dir, 'endpoint-status'), CALICO_DIR];
  const files = directories.map((directory) => join(directory, statusFile(endpoint)));
  const start = clock.now();
  while (clock.now() - start < seconds * 1000 && !signal.aborted) {
    if (files.some((file) => isAbout(file, endpoint, journal))) return;
    await sleep(clock, INTERVAL);
  }
  journal.write('warn', { files, seconds }, 'the agent has not said in time that policy is in place; going on');
}

/** `k8s default%2Fweb-0 eth0`. */
export function statusFile({ metadata, spec }: WorkloadEndpoint): string {
  const workload = `${metadata.namespace}/${spec.pod ?? spec.containerID}`;
  return [spec.orchestrator, workload, spec.endpoint].map(encodeURIComponent).join(' ');
}

/** Whether the file is there and not from an earlier sandbox of the same pod, with other addresses. */
function isAbout(file: string, endpoint: WorkloadEndpoint, journal: AttachmentCall['journal']): boolean {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      journal.write('warn', { file, error: messageOf(error) }, 'status file');
    return false;
  }
  try {
    const { ipNetworks } = JSON.parse(text) as { ipNetworks?: unknown };
    const wanted = endpoint.spec.ipNetworks ?? [];
    return !Array.isArray(ipNetworks) || wanted.every((network) => ipNetworks.includes(network));
  } catch {
    // Some agents leave the file empty: that it is there is what counts.
    return true;
  }
}
