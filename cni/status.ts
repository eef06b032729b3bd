import { connect } from 'node:net';
import { join } from 'node:path';
import { messageOf } from '#core';
import { type Call, demandReady } from './call.ts';
import { CNI_CODE, CniError } from './error.ts';

/** How long the agent's socket may take; milliseconds. */
const PATIENCE = 3000;

/** Whether an ADD could be served now: the datastore answers and is ready, and the agent runs. @throws CniError notAvailable */
export async function status(call: Call): Promise<void> {
  const unavailable = (why: string, error: unknown) =>
    new CniError(CNI_CODE.notAvailable, `${why}: ${messageOf(error)}`, '', { cause: error });
  await demandReady(call).catch((error: unknown) => {
    throw unavailable('the datastore cannot be used', error);
  });
  const socket = join(call.conf.run_dir, 'agent.sock');
  await answered(socket).catch((error: unknown) => {
    throw unavailable(`the agent does not run on this node; ${socket}`, error);
  });
}

function answered(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.setTimeout(PATIENCE, () => socket.destroy(new Error(`no answer within ${PATIENCE} ms`)));
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('error', reject);
  });
}
