import { join } from 'node:path';
import { dumpToFile, readPeer, readRouteQuery, serveControl } from '#bgp';
import { type Log, OperationalError } from '#core';
import type { Bgp } from './bgp.ts';
import type { AgentConfig } from './settings.ts';
import type { NodeStatus } from './status.ts';

/** What the answers are made from. */
export interface ControlParts {
  readonly status: () => NodeStatus;
  /** undefined: the agent does not speak BGP. */
  readonly bgp: Bgp | undefined;
}

/** Answers tsnetctl on the agent's socket in `--run-dir`. @throws OperationalError when it cannot be made */
export const answerQuestions = (
  { runDir }: Pick<AgentConfig, 'runDir'>,
  { status, bgp }: ControlParts,
  log: Log,
): ReturnType<typeof serveControl> =>
  serveControl(
    join(runDir, 'agent.sock'),
    {
      'node.status': status,
      'bgp.peers': () => bgp?.peers() ?? [],
      'bgp.routes': (query) => bgp?.routes(readRouteQuery(query)) ?? [],
      'bgp.refresh': (params) => {
        if (!bgp) throw new OperationalError('NOT_FOUND', 'this agent does not speak BGP');
        bgp.refresh(readPeer(params));
      },
      'bgp.dump': (params) => dumpToFile(params, async () => (await bgp?.dump()) ?? new Uint8Array(0)),
    },
    log,
  );
