import { expect, test } from 'vitest';
import { silentLog } from '#core';
import { startAgent } from '../../../agent/daemon.ts';
import type { AgentConfig } from '../../../agent/settings.ts';

test('a run directory that cannot be made is said at once, with its flag and what to do', async () => {
  const config = { runDir: '/proc/tsnet/run' } as AgentConfig;
  const started = startAgent({
    config,
    version: '0',
    log: silentLog,
    createSpeaker: () => expect.unreachable(),
    onBeginAgain: () => {},
  });
  await expect(started).rejects.toMatchObject({
    code: 'KERNEL',
    message: expect.stringMatching(/^--run-dir \/proc\/tsnet\/run cannot be made: ENOENT.*TSNET_RUN_DIR$/),
  });
});
